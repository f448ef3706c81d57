import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Aedes } from "aedes";
import { tool } from "../../tools.js";

/** A real broker on a free port of the loopback that can be restarted. */
export interface LiveBroker {
	readonly port: number;
	start(): Promise<void>;
	/** Keeps what it persists. */
	stop(): Promise<void>;
	/** Ends it for good. */
	remove(): Promise<void>;
}

/** aedes, as npm has it, in this process. What it keeps is in memory: a restart forgets all sessions. */
export class AedesOnLoopback implements LiveBroker {
	port = 0;
	/** What clients published, over all restarts. */
	readonly seen: { topic: string; body: string }[] = [];
	#aedes: Aedes | undefined;
	#server: Server | undefined;
	readonly #sockets = new Set<Socket>();

	async start(): Promise<void> {
		const aedes = await Aedes.createBroker();
		this.#aedes = aedes;
		aedes.on("publish", ({ topic, payload }, client) => {
			if (client !== null) this.seen.push({ topic, body: payload.toString("utf8") });
		});
		this.#server = createServer((socket) => {
			this.#sockets.add(socket);
			socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
			aedes.handle(socket);
		});
		await new Promise<void>((resolve) => this.#server!.listen(this.port, "127.0.0.1", resolve));
		this.port = (this.#server.address() as { port: number }).port;
	}

	async stop(): Promise<void> {
		for (const socket of this.#sockets) socket.resetAndDestroy();
		await new Promise<void>((resolve) => this.#server!.close(() => resolve()));
		await new Promise<void>((resolve) => this.#aedes!.close(() => resolve()));
		this.#server = undefined;
	}

	async remove(): Promise<void> {
		if (this.#server !== undefined) await this.stop();
	}
}

/** Debian's mosquitto as a child process, with its sessions on disk. */
export class MosquittoOnLoopback implements LiveBroker {
	port = 0;
	readonly #folder = mkdtempSync(join(tmpdir(), "wattlock-mqtt-"));
	#child: ChildProcess | undefined;

	async start(): Promise<void> {
		if (this.port === 0) this.port = await freePort();
		const configuration = join(this.#folder, "mosquitto.conf");
		writeFileSync(
			configuration,
			[
				`listener ${this.port} 127.0.0.1`,
				"allow_anonymous true",
				"persistence true",
				`persistence_location ${this.#folder}/`,
				"max_queued_messages 0",
				"log_dest none",
				"user root",
				"",
			].join("\n"),
		);
		const child = spawn(tool("mosquitto").path, ["-c", configuration], { stdio: "ignore" });
		this.#child = child;
		for (let i = 0; ; i++) {
			if (child.exitCode !== null) throw new Error(`mosquitto ended with ${child.exitCode}`);
			if (await answers(this.port)) return;
			if (i > 200) throw new Error("mosquitto does not answer");
			await sleep(25);
		}
	}

	async stop(): Promise<void> {
		const child = this.#child;
		this.#child = undefined;
		if (child === undefined || child.exitCode !== null) return;
		const gone = new Promise((resolve) => child.once("exit", resolve));
		child.kill("SIGTERM");
		await gone;
	}

	async remove(): Promise<void> {
		await this.stop();
		rmSync(this.#folder, { recursive: true, force: true });
	}
}

async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const { port } = server.address() as { port: number };
	await new Promise<void>((resolve) => server.close(() => resolve()));
	return port;
}

function answers(port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = connectTcp({ host: "127.0.0.1", port });
		socket.once("connect", () => {
			socket.destroy();
			resolve(true);
		});
		socket.once("error", () => resolve(false));
	});
}
