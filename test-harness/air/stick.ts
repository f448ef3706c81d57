import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Air } from "./air.js";
import type { RealTimeDriver } from "./clock.js";
import { type ModuleImage, ZnpModule } from "./znp-module.js";

/**
 * A coordinator stick that hosts reach at tcp://127.0.0.1:port instead of a serial port. One host at a time; a second
 * connection takes the first one's place, as a serial port does not, but a restarted host needs it.
 */
export class TcpStick {
	readonly module: ZnpModule;
	readonly #driver: RealTimeDriver;
	readonly #server: Server;
	readonly #file: string | undefined;
	#socket: Socket | undefined;
	#isDirty = false;

	/** @param file keeps the stick's memory over restarts; read now if it exists */
	constructor(air: Air, driver: RealTimeDriver, extendedAddress: string, file?: string) {
		this.#driver = driver;
		this.#file = file;
		const image = file && existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as ModuleImage) : undefined;
		this.module = new ZnpModule(air, extendedAddress, image);
		this.module.toHost = (frame) => this.#socket?.write(frame);
		this.module.imageChanged = () => {
			this.#isDirty = true;
		};
		this.#server = createServer((socket) => {
			this.#socket?.destroy();
			this.#socket = socket;
			socket.setNoDelay(true);
			socket.on("data", (bytes) => {
				this.#driver.poke();
				this.module.receive(bytes);
				this.#driver.poke();
				this.save();
			});
			socket.on("error", () => {}); // `close` follows
			socket.on("close", () => {
				if (this.#socket === socket) this.#socket = undefined;
			});
		});
	}

	/** @returns the port */
	listen(port: number): Promise<number> {
		return new Promise((resolve, reject) => {
			this.#server.once("error", reject);
			this.#server.listen(port, "127.0.0.1", () => {
				const address = this.#server.address();
				resolve(typeof address === "object" && address ? address.port : port);
			});
		});
	}

	get isConnected(): boolean {
		return this.#socket !== undefined;
	}

	/** Pulls the plug of the host's end. */
	disconnect(): void {
		this.#socket?.destroy();
	}

	/** Writes the memory to its file, whole or not at all. */
	save(): void {
		if (!this.#file || !this.#isDirty) return;
		this.#isDirty = false;
		writeFileSync(`${this.#file}.new`, JSON.stringify(this.module.image));
		renameSync(`${this.#file}.new`, this.#file);
	}

	async close(): Promise<void> {
		this.#socket?.destroy();
		this.module.image.network = this.module.node.memory() ?? this.module.image.network;
		this.#isDirty = true;
		this.save();
		await new Promise<void>((resolve) => this.#server.close(() => resolve()));
	}
}
