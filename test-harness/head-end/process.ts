import { RealClock, type ServerClock, VirtualClock } from "../clock.js";
import { BrokerLink } from "../concentrator/broker-link.js";
import { openLock } from "../provisioning/sealed-file.js";
import { UserError } from "../user-error.js";
import type { MeterCollection } from "./fleet-views.js";
import type { HeadEnd } from "./head-end.js";
import { Registry } from "./registry.js";
import { HttpServer } from "./server.js";
import { Servers, type ServersOptions } from "./servers.js";
import { Store, StoreError } from "./store.js";

/** Options of the process, one JSON text in its first argument. */
export interface ProcessOptions {
	/** mqtt://host:port */
	brokerUrl: string;
	/** Folder of the store; made when it is not there. */
	storePath: string;
	/** 0: any free one, -1: no server. Default 8080. */
	httpPort?: number;
	/** Default 127.0.0.1. */
	httpHost?: string;
	/** Default "real". */
	clock?: "real" | "virtual";
	/** UTCTime at the start; needed for a virtual clock, shifts a real one. */
	startUtcSeconds?: number;
	/** No lines on standard error but errors. */
	quiet?: boolean;
	/** Identifiers of the meters that may enrol in clear; absent: all. */
	allow?: string[];
	/** Keys and sessions; absent: messages go in clear. */
	security?: SecurityFiles;
	/** Mend a damaged store. */
	repair?: boolean;
}

/** Where the secured channel has its memory. */
export interface SecurityFiles {
	/** Folder of the registry, and of the sessions beside it. */
	registryPath: string;
	/** What opens the registry: one of the two, or WATTLOCK_PASSPHRASE. */
	keyFile?: string;
	passphraseFile?: string;
	/** Folder of the concentrator: what a thief of it gets. */
	concentratorPath: string;
}

/** What a supervising process may send. */
export type ProcessRequest =
	| { type: "advance"; utcSeconds: number }
	| { type: "summary" }
	/** Ask every meter for rows after the last known; wait for `pending` 0 with `advance`. */
	| { type: "collect" }
	| { type: "stop" };

/** What the process answers. */
export type ProcessReply =
	| { type: "ready"; httpPort: number }
	| { type: "error"; message: string }
	| {
			type: "advanced";
			utcSeconds: number;
			/** Messages of meters received and handled completely, since the start of the process. */
			received: number;
			stored: number;
			/** Requests under way or due. */
			pending: number;
			/** Whether the broker answered: everything it had accepted before is in `received`. */
			complete: boolean;
	  }
	| { type: "summary"; meters: MeterCollection[] }
	| { type: "collecting" }
	| { type: "stopped" };

const ADVANCE_MILLISECONDS_MAX = 5000;
const STORE_RETRY_SECONDS = 30;

type ParsedOptions = Required<Omit<ProcessOptions, "startUtcSeconds" | "allow" | "security">> & {
	startUtcSeconds: number | undefined;
	allow: string[] | undefined;
	security: SecurityFiles | undefined;
};

function isPath(value: unknown): boolean {
	return typeof value === "string" && value !== "";
}

function parseOptions(text: string | undefined): ParsedOptions {
	let given: Partial<ProcessOptions>;
	try {
		given = JSON.parse(text ?? "") as Partial<ProcessOptions>;
		if (typeof given !== "object" || given === null) throw new SyntaxError("not an object");
	} catch {
		throw new UserError('head end: give the options as one JSON text, at least {"brokerUrl":…,"storePath":…}');
	}
	const {
		brokerUrl,
		storePath,
		httpPort = 8080,
		httpHost = "127.0.0.1",
		clock = "real",
		startUtcSeconds,
		quiet = false,
		allow,
		repair = false,
		security,
	} = given;
	if (typeof brokerUrl !== "string" || !/^(mqtt|mqtts|tcp|ws|wss):\/\/[^/]+/.test(brokerUrl))
		throw new UserError(`head end: brokerUrl must look like mqtt://host:port, not ${JSON.stringify(brokerUrl)}`);
	if (typeof storePath !== "string" || storePath === "") throw new UserError("head end: storePath must name a folder");
	if (!Number.isInteger(httpPort) || httpPort < -1 || httpPort > 65_535)
		throw new UserError("head end: httpPort must be a whole number from 0 to 65535, or -1 for no server");
	if (clock !== "real" && clock !== "virtual") throw new UserError('head end: clock must be "real" or "virtual"');
	if (startUtcSeconds !== undefined && !(startUtcSeconds >= 0 && startUtcSeconds < 2 ** 32 - 1))
		throw new UserError("head end: startUtcSeconds must be seconds since 2000-01-01T00:00:00Z");
	if (clock === "virtual" && startUtcSeconds === undefined)
		throw new UserError("head end: a virtual clock needs startUtcSeconds");
	if (allow !== undefined && !(Array.isArray(allow) && allow.every((id) => /^[0-9a-f]{16}$/.test(id))))
		throw new UserError("head end: allow must be a list of identifiers of 16 lower-case hexadecimal digits");
	if (security !== undefined && !(isPath(security.registryPath) && isPath(security.concentratorPath)))
		throw new UserError("head end: security must name the folders registryPath and concentratorPath");
	return { brokerUrl, storePath, httpPort, httpHost, clock, startUtcSeconds, quiet, allow, repair, security };
}

/** Sends to the parent, if there is one; the promise resolves when it is on its way. */
function send(reply: ProcessReply): Promise<void> {
	return new Promise((resolve) => {
		if (process.send && process.connected) process.send(reply, () => resolve());
		else resolve();
	});
}

/** @throws UserError: no registry there, or it does not open */
async function openSecurity(files: SecurityFiles): Promise<NonNullable<ServersOptions["secured"]>> {
	const { registryPath, keyFile, passphraseFile, concentratorPath } = files;
	const lock = await openLock(
		{ ...(keyFile === undefined ? {} : { keyFile }), ...(passphraseFile === undefined ? {} : { passphraseFile }) },
		false,
	);
	const registry = Registry.open(registryPath, lock);
	return { registry, concentratorFolder: concentratorPath };
}

/** A running head end with its store, link and server. */
export class HeadEndProcess {
	readonly #store: Store;
	readonly #clock: ServerClock;
	readonly #servers: Servers;
	readonly #headEnd: HeadEnd;
	readonly #link: BrokerLink;
	readonly #server: HttpServer | undefined;
	readonly #log: (line: string) => void;
	#stopping: Promise<void> | undefined;
	/** Requests of the parent, one after the other. */
	#queue: Promise<void> = Promise.resolve();
	httpPort = -1;

	private constructor(
		store: Store,
		clock: ServerClock,
		servers: Servers,
		link: BrokerLink,
		server: HttpServer | undefined,
		log: (line: string) => void,
	) {
		this.#store = store;
		this.#clock = clock;
		this.#servers = servers;
		this.#headEnd = servers.headEnd;
		this.#link = link;
		this.#server = server;
		this.#log = log;
	}

	/** @throws UserError, StoreError: one line for the user */
	static async open(text: string | undefined): Promise<HeadEndProcess> {
		const options = parseOptions(text);
		const log = (line: string): void => {
			if (!options.quiet) process.stderr.write(`head end: ${line}\n`);
		};
		const clock =
			options.clock === "virtual" ? new VirtualClock(options.startUtcSeconds!) : new RealClock(options.startUtcSeconds);
		const store = await Store.open(options.storePath, { repair: options.repair });
		if (options.repair)
			log(
				`store ${store.path}: mended, ${store.dropped} records dropped${store.copiedTo ? `, copy in ${store.copiedTo}` : ""}`,
			);
		let server: HttpServer | undefined;
		let servers: Servers | undefined;
		try {
			const secured = options.security && (await openSecurity(options.security));
			servers = new Servers({ clock, store, log, allow: options.allow, secured });
			const { headEnd } = servers;
			await servers.start();
			const holder: { process?: HeadEndProcess } = {};
			const link = new BrokerLink({
				url: options.brokerUrl,
				clientId: `wattlock-concentrator-${store.instance}`,
				clock,
				log,
				receive: (topic, payload) => servers!.receive(topic, payload),
				onUp: () => servers!.linkUp(),
				onDown: () => servers!.linkDown(),
				onReceiveFailed: (error) => holder.process?.storeFailed(error),
			});
			servers.setLink(link);
			if (options.httpPort >= 0) {
				server = new HttpServer(headEnd);
				await server.listen(options.httpPort, options.httpHost);
			}
			const self = new HeadEndProcess(store, clock, servers, link, server, log);
			holder.process = self;
			self.httpPort = server?.port ?? -1;
			link.start();
			// subscribed, or known to be without a broker, before anybody is told that we are ready: a hello sent before the
			// subscription reaches nobody
			await link.barrier(ADVANCE_MILLISECONDS_MAX);
			return self;
		} catch (error) {
			await server?.close();
			await servers?.close();
			clock.close();
			await store.close();
			throw error;
		}
	}

	/** The store took no more: receiving stops, the meters and the broker keep what comes, and the store is tried again. */
	storeFailed(error: unknown): void {
		if (!(error instanceof StoreError)) {
			// a bug of ours: better a restart from the store than going on with half a state
			process.stderr.write(`head end: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
			process.exit(3);
		}
		process.stderr.write(`head end: ${error.message}\n`);
		const retry = async (): Promise<void> => {
			if (this.#stopping) return;
			try {
				await this.#store.reopen();
				await this.#servers.recover();
			} catch {
				this.#clock.after(STORE_RETRY_SECONDS, () => void retry()); // said once already
				return;
			}
			process.stderr.write(`head end: store ${this.#store.path}: takes writes again, collecting goes on\n`);
			this.#link.resume();
		};
		this.#clock.after(STORE_RETRY_SECONDS, () => void retry());
	}

	/** Handles one message of the parent, after those before it. */
	handle(request: ProcessRequest): void {
		this.#queue = this.#queue.then(async () => {
			switch (request.type) {
				case "advance":
					await this.#advance(request.utcSeconds);
					break;
				case "summary":
					await send({ type: "summary", meters: this.#headEnd.summary() });
					break;
				case "collect":
					this.#headEnd.collect();
					await send({ type: "collecting" });
					break;
				case "stop":
					await this.stop();
					await send({ type: "stopped" });
					process.exit(0);
					break;
				default:
					break; // of a newer parent
			}
		});
	}

	/**
	 * One step of a virtual clock. The convention: the meters have run up to `utcSeconds`, and stand still meanwhile.
	 * First everything that they sent is taken in, then the clock moves and runs what is due, then the answers go out.
	 */
	async #advance(utcSeconds: number): Promise<void> {
		const deadline = performance.now() + ADVANCE_MILLISECONDS_MAX;
		const complete = await this.#link.barrier(deadline - performance.now());
		if (this.#clock instanceof VirtualClock) this.#clock.advance(utcSeconds);
		await this.#servers.stepDone();
		if (this.#link.connected) await this.#link.flushed(deadline - performance.now());
		const { received } = this.#servers;
		const { stored } = this.#headEnd.messages;
		await send({
			type: "advanced",
			utcSeconds: this.#clock.utcSeconds(),
			received,
			stored,
			pending: this.#headEnd.pending,
			complete,
		});
	}

	stop(): Promise<void> {
		this.#stopping ??= (async () => {
			await this.#link.stop();
			await this.#servers.close();
			await this.#server?.close();
			this.#clock.close();
			await this.#store.close();
			this.#log("stopped");
		})();
		return this.#stopping;
	}
}

/** The process: with a parent over IPC, or alone until SIGINT or SIGTERM. */
export async function run(optionsText: string | undefined): Promise<void> {
	let running: HeadEndProcess;
	try {
		running = await HeadEndProcess.open(optionsText);
	} catch (error) {
		if (!(error instanceof UserError) && !(error instanceof StoreError)) throw error;
		process.stderr.write(`${error.message}\n`);
		await send({ type: "error", message: error.message });
		process.exit(2);
	}
	const stop = (): void => {
		running.stop().then(() => process.exit(0));
	};
	// Ctrl-C goes to the whole process group: a parent then sends "stop" in its own order
	process.on("SIGINT", process.send ? () => {} : stop);
	process.on("SIGTERM", stop);
	if (process.send) {
		process.on("message", (request) => running.handle(request as ProcessRequest));
		process.on("disconnect", stop); // the parent is gone
	}
	await send({ type: "ready", httpPort: running.httpPort });
	if (!process.send && running.httpPort >= 0) process.stderr.write(`head end: http://127.0.0.1:${running.httpPort}/\n`);
}
