import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { tool } from "../tools.js";
import { UserError } from "../user-error.js";
import type { Broker } from "./broker.js";

const START_MILLISECONDS_MAX = 5000;

/** Debian's mosquitto as a child process, with a configuration of its own on a free port of the loopback. */
export class MosquittoBroker implements Broker {
	readonly name = "mosquitto";
	readonly host = "127.0.0.1";
	readonly versions = [4, 5] as const;
	readonly mayBeKilled = true;
	#port = 0;
	#folder = "";
	#child: ChildProcess | undefined;

	get port(): number {
		return this.#port;
	}

	get url(): string {
		return `mqtt://${this.host}:${this.#port}`;
	}

	get isRunning(): boolean {
		return this.#child !== undefined;
	}

	async start(): Promise<void> {
		const { path, skip } = tool("mosquitto");
		if (skip !== false) throw new UserError(`--broker mosquitto ${skip}`);
		if (this.#port === 0) this.#port = await freePort();
		this.#folder ||= mkdtempSync(join(tmpdir(), "wattlock-mosquitto-"));
		const configuration = join(this.#folder, "mosquitto.conf");
		writeFileSync(
			configuration,
			[
				`listener ${this.#port} ${this.host}`,
				"allow_anonymous true",
				"persistence false",
				"set_tcp_nodelay true",
				"max_inflight_messages 1000",
				"max_queued_messages 1000000",
				"log_dest stderr",
				"log_type error",
				"",
			].join("\n"),
		);
		const child = spawn(path, ["-c", configuration], { stdio: ["ignore", "ignore", "pipe"] });
		let lastWords = "";
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			lastWords = (lastWords + text).slice(-500);
		});
		let ended = false;
		child.once("exit", () => {
			ended = true;
			if (this.#child === child) this.#child = undefined;
		});
		child.once("error", () => {
			ended = true;
		});
		this.#child = child;
		for (const end = Date.now() + START_MILLISECONDS_MAX; ; await sleep(10)) {
			if (ended) throw new UserError(`mosquitto ended at once: ${lastWords.trim().split("\n").at(-1) ?? ""}`);
			if (await canConnect(this.host, this.#port)) return;
			if (Date.now() > end) throw new UserError("mosquitto does not answer");
		}
	}

	async kill(): Promise<void> {
		await this.#end("SIGKILL");
	}

	async stop(): Promise<void> {
		await this.#end("SIGTERM");
		if (this.#folder !== "") rmSync(this.#folder, { recursive: true, force: true });
		this.#folder = "";
	}

	async #end(signal: NodeJS.Signals): Promise<void> {
		const child = this.#child;
		if (child === undefined) return;
		this.#child = undefined;
		if (child.exitCode !== null || child.signalCode !== null) return;
		const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
		child.kill(signal);
		const hurry = setTimeout(() => child.kill("SIGKILL"), 1000);
		await gone;
		clearTimeout(hurry);
	}
}

async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const { port } = server.address() as { port: number };
	await new Promise<void>((resolve) => server.close(() => resolve()));
	return port;
}

/** Whether somebody listens there. */
export function canConnect(host: string, port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = connect({ host, port });
		const answer = (isThere: boolean): void => {
			socket.destroy();
			resolve(isThere);
		};
		socket.setTimeout(3000, () => answer(false));
		socket.once("connect", () => answer(true));
		socket.once("error", () => answer(false));
	});
}
