import { createServer, type Server, type Socket } from "node:net";
import { Aedes } from "aedes";
import { UserError } from "../user-error.js";
import type { Broker } from "./broker.js";

/** aedes in this process, on a TCP port of the loopback. It speaks MQTT 3.1.1. */
export class AedesBroker implements Broker {
	readonly name = "aedes";
	readonly host = "127.0.0.1";
	readonly versions = [4] as const;
	readonly mayBeKilled = true;
	#port: number;
	#aedes: Aedes | undefined;
	#server: Server | undefined;
	readonly #sockets = new Set<Socket>();

	/** @param port 0: any free one, kept from the first start on */
	constructor(port = 0) {
		this.#port = port;
	}

	get port(): number {
		return this.#port;
	}

	get url(): string {
		return `mqtt://${this.host}:${this.#port}`;
	}

	get isRunning(): boolean {
		return this.#server !== undefined;
	}

	async start(): Promise<void> {
		const aedes = await Aedes.createBroker({ heartbeatInterval: 3_600_000 });
		const server = createServer({ noDelay: true }, (socket) => {
			this.#sockets.add(socket);
			socket.on("close", () => this.#sockets.delete(socket));
			socket.on("error", () => {}); // a meter without power breaks its connection
			aedes.handle(socket);
		});
		await new Promise<void>((resolve, reject) => {
			server.once("error", (error: NodeJS.ErrnoException) =>
				reject(
					new UserError(
						error.code === "EADDRINUSE" ? `port ${this.#port} for the broker is in use` : `broker: ${error.message}`,
					),
				),
			);
			server.listen(this.#port, this.host, resolve);
		});
		this.#port = (server.address() as { port: number }).port;
		this.#aedes = aedes;
		this.#server = server;
	}

	async kill(): Promise<void> {
		const server = this.#server;
		const aedes = this.#aedes;
		if (server === undefined || aedes === undefined) return;
		this.#server = undefined;
		this.#aedes = undefined;
		for (const socket of this.#sockets) socket.resetAndDestroy();
		this.#sockets.clear();
		await new Promise<void>((resolve) => server.close(() => resolve()));
		await new Promise<void>((resolve) => aedes.close(() => resolve()));
	}

	async stop(): Promise<void> {
		await this.kill();
	}
}
