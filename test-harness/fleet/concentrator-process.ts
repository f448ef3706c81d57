import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { MeterCollection } from "../head-end/fleet-views.js";
import type { SecurityFiles } from "../head-end/process.js";
import { UserError } from "../user-error.js";

export interface ConcentratorOptions {
	readonly brokerUrl: string;
	readonly storePath: string;
	/** 0: any free one, -1: no page. */
	readonly httpPort: number;
	readonly clock: "real" | "virtual";
	readonly startUtcSeconds: number;
	readonly quiet: boolean;
	/** Keys; absent: everything travels in clear. */
	readonly security?: SecurityFiles;
}

/** Counts of the concentrator when it had nothing left to do at that time. */
export interface Advanced {
	readonly utcSeconds: number;
	readonly received: number;
	readonly stored: number;
	/** Requests under way or due. */
	readonly pending: number;
	/** Everything that the broker had accepted before is in `received`. */
	readonly complete: boolean;
}

const START_MILLISECONDS_MAX = 30_000;
const STOP_MILLISECONDS_MAX = 1500;

interface Waiter {
	readonly type: string;
	readonly resolve: (message: Record<string, unknown> | undefined) => void;
}

/**
 * The concentrator as a child process: so that it can be killed with -9 in the middle of its work, and so that its load
 * is on another core. Questions to a child that is gone are answered with undefined.
 */
export class ConcentratorProcess {
	/** Port of the page, 0 when there is none. */
	httpPort = 0;
	starts = 0;
	/** Called when the child ends without having been told to. */
	onUnexpectedEnd: (how: string) => void = () => {};
	readonly #options: ConcentratorOptions;
	readonly #script: string;
	#child: ChildProcess | undefined;
	#waiters: Waiter[] = [];
	#isEnding = false;
	#lastWords = "";

	/** @param script the module to fork; another one in tests */
	constructor(options: ConcentratorOptions, script = fileURLToPath(new URL("../head-end/main.ts", import.meta.url))) {
		this.#options = options;
		this.#script = script;
	}

	get isRunning(): boolean {
		return this.#child !== undefined;
	}

	/** Starts, or starts again; the page keeps its port. @param utcSeconds the time at which a virtual clock begins */
	async start(utcSeconds = this.#options.startUtcSeconds): Promise<void> {
		const httpPort = this.httpPort > 0 ? this.httpPort : this.#options.httpPort;
		const options = { ...this.#options, httpPort, startUtcSeconds: utcSeconds };
		const child = fork(this.#script, [JSON.stringify(options)], {
			execArgv: ["--import", import.meta.resolve("tsx")], // not from where the user stands
			stdio: ["ignore", "ignore", "pipe", "ipc"],
		});
		this.#child = child;
		this.#isEnding = false;
		this.starts++;
		this.#lastWords = "";
		child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			this.#lastWords = (this.#lastWords + text).slice(-4000);
		});
		child.on("message", (message: Record<string, unknown>) => {
			const index = this.#waiters.findIndex(
				({ type }) => type === message["type"] || (type === "ready" && message["type"] === "error"),
			);
			if (index >= 0) this.#waiters.splice(index, 1)[0]?.resolve(message);
		});
		child.once("error", () => this.#ended(child, "could not be started"));
		child.once("exit", (code, signal) => this.#ended(child, signal ?? `exit code ${code}`));
		const ready = await this.#answer("ready", START_MILLISECONDS_MAX);
		if (ready === undefined || ready["type"] === "error") {
			await this.kill();
			const lines = this.#lastWords.trim().split("\n");
			const lastLine = lines.findLast((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1);
			throw new UserError(`concentrator: ${ready?.["message"] ?? (lastLine || "does not start")}`);
		}
		this.httpPort = Number(ready["httpPort"] ?? 0);
	}

	/** Sets the virtual clock and waits until the concentrator is idle. */
	async advance(utcSeconds: number, waitMilliseconds: number): Promise<Advanced | undefined> {
		if (!this.#send({ type: "advance", utcSeconds })) return undefined;
		return (await this.#answer("advanced", waitMilliseconds)) as Advanced | undefined;
	}

	/** What it holds of each meter. */
	async summary(waitMilliseconds = 20_000): Promise<MeterCollection[] | undefined> {
		if (!this.#send({ type: "summary" })) return undefined;
		const answer = (await this.#answer("summary", waitMilliseconds)) as { meters: MeterCollection[] } | undefined;
		return answer?.meters;
	}

	/** Makes it ask every meter for rows after the last known; `pending` of `advance` tells when it is done. */
	async collect(): Promise<void> {
		if (this.#send({ type: "collect" })) await this.#answer("collecting", 5000);
	}

	/** A GET (or, with a body, a POST) of its HTTP interface; undefined when it gives no good answer. */
	async http(path: string, method: "GET" | "POST" = "GET"): Promise<unknown> {
		if (this.httpPort <= 0) return undefined;
		try {
			const answer = await fetch(`http://127.0.0.1:${this.httpPort}${path}`, { method });
			return answer.ok ? await answer.json() : undefined;
		} catch {
			return undefined; // it is away: whoever asked treats that as not answered
		}
	}

	/** As by kill -9. */
	async kill(): Promise<void> {
		await this.#end((child) => child.kill("SIGKILL"), STOP_MILLISECONDS_MAX);
	}

	/** Asks it to end; does not wait longer than 1.5 s. */
	async stop(): Promise<void> {
		await this.#end((child) => {
			if (child.connected) child.send({ type: "stop" }, () => {});
			else child.kill("SIGTERM");
		}, STOP_MILLISECONDS_MAX);
	}

	async #end(ask: (child: ChildProcess) => void, waitMilliseconds: number): Promise<void> {
		const child = this.#child;
		if (child === undefined) return;
		this.#isEnding = true;
		const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
		ask(child);
		const hurry = setTimeout(() => child.kill("SIGKILL"), waitMilliseconds);
		if (child.exitCode === null && child.signalCode === null) await gone;
		clearTimeout(hurry);
	}

	#send(message: object): boolean {
		const child = this.#child;
		if (child === undefined || this.#isEnding || !child.connected) return false;
		child.send(message, () => {}); // an error means that it is gone: its exit answers those who wait
		return true;
	}

	#answer(type: string, waitMilliseconds: number): Promise<Record<string, unknown> | undefined> {
		return new Promise((resolve) => {
			const waiter: Waiter = {
				type,
				resolve: (message) => {
					clearTimeout(timer);
					resolve(message);
				},
			};
			const timer = setTimeout(() => {
				this.#waiters = this.#waiters.filter((other) => other !== waiter);
				resolve(undefined);
			}, waitMilliseconds);
			this.#waiters.push(waiter);
		});
	}

	#ended(child: ChildProcess, how: string): void {
		if (this.#child !== child) return;
		const wasAsked = this.#isEnding;
		this.#child = undefined;
		const waiters = this.#waiters;
		this.#waiters = [];
		for (const { resolve } of waiters) resolve(undefined);
		if (!wasAsked) this.onUnexpectedEnd(`${how}${this.#lastWords === "" ? "" : `: ${this.#lastWords.trim()}`}`);
	}
}
