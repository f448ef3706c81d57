import type { Socket } from "node:net";
import fastifyStatic from "@fastify/static";
import fastifyWebsocket from "@fastify/websocket";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { WebSocket } from "ws";
import { Kind } from "../../src/messages/kinds.js";
import { UTC_EPOCH_UNIX_SECONDS } from "../clock.js";
import { UserError } from "../user-error.js";
import type { AttackKind, LiveMessage, ProfileRowView, ReadingView } from "./api.js";
import { AskError } from "./asking.js";
import { ATTACK_KINDS } from "./attacks.js";
import { buildPage } from "./build-page.js";
import type { Order } from "./command-orders.js";
import type { Commanding } from "./commanding.js";
import { addFirmwareRoutes } from "./firmware-routes.js";
import type { Change } from "./fleet.js";
import type { HeadEnd } from "./head-end.js";
import { StoreError } from "./store.js";

const CONTENT_SECURITY_POLICY = [
	"default-src 'none'",
	"script-src 'self'",
	"style-src 'self'",
	"img-src 'self'",
	"connect-src 'self'",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
].join("; ");

/** Changes are gathered this long before they are pushed. */
const LIVE_MILLISECONDS = 200;
const STATUS_MILLISECONDS = 2000;
/** A live client that reads too slowly is cut off rather than buffered without end. */
const LIVE_BUFFER_BYTES_MAX = 4 * 1024 * 1024;
const LIVE_CLIENTS_MAX = 64;

/** ISO 8601 of a UTCTime. */
export function isoTime(utcSeconds: number): string {
	return new Date((utcSeconds + UTC_EPOCH_UNIX_SECONDS) * 1000).toISOString();
}

/** UTCTime from a query: ISO 8601 or seconds since 2000. NaN when it is neither. */
export function parseTime(text: string): number {
	if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
	return Date.parse(text) / 1000 - UTC_EPOCH_UNIX_SECONDS;
}

const CSV_COLUMNS = [
	"series",
	"sequence",
	"intervalStart",
	"durationSeconds",
	"status",
	"statusNames",
	"tariff",
	"activeEnergyImportMilliwattHours",
	"activeEnergyExportMilliwattHours",
	"reactiveEnergyImportMillivarHours",
	"reactiveEnergyExportMillivarHours",
	"activeEnergyImportIncrementMilliwattHours",
	"activeEnergyExportIncrementMilliwattHours",
	"received",
];

/** Rows as CSV, RFC 4180; what is not available is empty. */
export function profileCsv(rows: readonly ProfileRowView[]): string {
	const lines = rows.map((row) =>
		[
			row.series,
			row.sequence,
			isoTime(row.intervalStartSeconds),
			row.durationSeconds,
			row.status,
			row.statusNames.join(" "),
			row.tariff,
			row.activeEnergyImport,
			row.activeEnergyExport,
			row.reactiveEnergyImport,
			row.reactiveEnergyExport,
			row.activeEnergyImportIncrement ?? "",
			row.activeEnergyExportIncrement ?? "",
			isoTime(row.receivedUtcSeconds),
		].join(","),
	);
	return `${[CSV_COLUMNS.join(","), ...lines].join("\r\n")}\r\n`;
}

class HttpError extends Error {
	readonly statusCode: number;

	constructor(statusCode: number, message: string) {
		super(message);
		this.statusCode = statusCode;
	}
}

type Query = Record<string, string | string[] | undefined>;

function queryTime(request: FastifyRequest, name: string, otherwise: number): number {
	const text = (request.query as Query)[name];
	if (text === undefined || text === "") return otherwise;
	const time = typeof text === "string" ? parseTime(text) : Number.NaN;
	if (Number.isNaN(time))
		throw new HttpError(400, `${name} must be a time in ISO 8601, or seconds since 2000-01-01T00:00:00Z`);
	return time;
}

function queryInteger(
	request: FastifyRequest,
	name: string,
	minimum: number,
	maximum: number,
	otherwise: number,
): number {
	const text = (request.query as Query)[name];
	if (text === undefined || text === "") return otherwise;
	const value = Number(text);
	if (!Number.isInteger(value) || value < minimum || value > maximum)
		throw new HttpError(400, `${name} must be a whole number from ${minimum} to ${maximum}`);
	return value;
}

/** The body of a command: its name, its fields, and for how long it is good. */
function orderOf(body: unknown): { order: Order; validSeconds: unknown } {
	if (typeof body !== "object" || body === null || typeof (body as { name?: unknown }).name !== "string")
		throw new HttpError(400, 'a command is {"name": …} with its fields');
	const { validSeconds, ...order } = body as Order & { validSeconds?: unknown };
	return { order: order as Order, validSeconds };
}

/** What the user can mend is answered with 400 and one line. */
function asked<T>(action: () => T): T {
	try {
		return action();
	} catch (error) {
		if (error instanceof UserError) throw new HttpError(400, error.message);
		throw error;
	}
}

/** The HTTP and WebSocket interface, and the page. */
export class HttpServer {
	readonly #headEnd: HeadEnd;
	readonly #sockets = new Set<Socket>();
	readonly #fastify: FastifyInstance = fastify({ forceCloseConnections: true, bodyLimit: 16_384 });
	readonly #live = new Set<WebSocket>();
	readonly #changed = new Map<string, Set<Change>>();
	readonly #readings = new Map<string, ReadingView[]>();
	#liveTimer: NodeJS.Timeout | undefined;
	#statusTimer: NodeJS.Timeout | undefined;
	#hosts: ReadonlySet<string> | undefined;
	port = -1;

	constructor(headEnd: HeadEnd) {
		this.#headEnd = headEnd;
	}

	/**
	 * @param port 0: any free one
	 * @throws UserError when the port cannot be had
	 */
	async listen(port: number, host: string): Promise<void> {
		const server = this.#fastify;
		server.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
			const code = error instanceof StoreError ? 503 : (error.statusCode ?? 500);
			if (code >= 500 && !(error instanceof StoreError) && !(error instanceof HttpError))
				process.stderr.write(`head end: ${error.stack ?? error.message}\n`);
			reply.code(code).send({ error: error.message });
		});
		server.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: "no such address" }));
		server.addHook("onRequest", async (request) => this.#checkOrigin(request));
		server.addHook("onSend", async (_request, reply, payload) => {
			reply.headers({
				"content-security-policy": CONTENT_SECURITY_POLICY,
				"x-content-type-options": "nosniff",
				"referrer-policy": "no-referrer",
				"cross-origin-resource-policy": "same-origin",
				"cross-origin-opener-policy": "same-origin",
			});
			if (!reply.hasHeader("cache-control")) reply.header("cache-control", "no-store");
			return payload;
		});
		server.server.on("connection", (socket) => {
			this.#sockets.add(socket);
			socket.on("close", () => this.#sockets.delete(socket));
		});
		await server.register(fastifyWebsocket, { options: { maxPayload: 4096 } });
		await server.register(fastifyStatic, { root: await buildPage(), cacheControl: false });
		this.#routes();
		try {
			await server.listen({ port, host });
		} catch (error) {
			await this.close();
			const { code } = error as NodeJS.ErrnoException;
			if (code === "EADDRINUSE")
				throw new UserError(`port ${port} on ${host} is in use; name another with --port (0: any free one)`);
			if (code === "EACCES")
				throw new UserError(`no permission for port ${port} on ${host}; name one above 1023 with --port`);
			if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
				throw new UserError(`${host} is no address of this computer; leave httpHost out for 127.0.0.1`);
			throw error;
		}
		const address = server.server.address();
		this.port = typeof address === "object" && address !== null ? address.port : port;
		// Only names of this computer, so that a foreign page cannot reach us through a name of its own.
		if (host === "127.0.0.1" || host === "localhost" || host === "::1")
			this.#hosts = new Set(["localhost", "127.0.0.1", "[::1]"].map((name) => `${name}:${this.port}`));
		this.#headEnd.onChange = (id, change) => this.#onChange(id, change);
		this.#statusTimer = setInterval(() => {
			if (this.#live.size > 0) this.#push({ type: "status", status: this.#headEnd.views.statusView() });
		}, STATUS_MILLISECONDS);
	}

	async close(): Promise<void> {
		clearTimeout(this.#liveTimer);
		clearInterval(this.#statusTimer);
		this.#headEnd.onChange = () => {};
		for (const socket of this.#live) socket.terminate();
		// a refused upgrade leaves a socket that is no longer the HTTP server's: without this, close would wait for it
		for (const socket of this.#sockets) socket.destroy();
		await this.#fastify.close();
	}

	/** Requests of other sites' pages are refused: by name of the host, and by origin where a browser tells it. */
	#checkOrigin(request: FastifyRequest): void {
		const host = request.headers.host ?? "";
		if (this.#hosts && !this.#hosts.has(host)) throw new HttpError(403, "this server answers to its own address only");
		const origin = request.headers.origin;
		if (origin !== undefined && origin !== `http://${host}`)
			throw new HttpError(403, "requests of other sites are refused");
	}

	/** There is no login: whoever reaches the port can act. So nobody acts from anywhere but this computer. */
	#mayAct(): void {
		if (!this.#hosts) throw new HttpError(403, "commands and attacks are taken on the loopback only");
	}

	#id(request: FastifyRequest): string {
		const { id } = request.params as { id: string };
		if (!this.#headEnd.has(id)) throw new HttpError(404, "no such meter");
		return id;
	}

	#routes(): void {
		const server = this.#fastify;
		const headEnd = this.#headEnd;
		server.get("/api/status", () => headEnd.views.statusView());
		server.get("/api/meters", () => headEnd.ids().map((id) => headEnd.views.summaryView(id)));
		server.get("/api/meters/:id", (request) => headEnd.views.meterView(this.#id(request)));
		server.get("/api/power", (request) =>
			headEnd.views.powerView(
				queryInteger(request, "seconds", 60, 86_400, 3600),
				queryInteger(request, "points", 10, 2000, 360),
			),
		);
		const profile = async (request: FastifyRequest, reply: FastifyReply, csv: boolean): Promise<unknown> => {
			const id = this.#id(request);
			const view = await headEnd.views.profileView(
				id,
				queryTime(request, "from", 0),
				queryTime(request, "to", Number.POSITIVE_INFINITY),
			);
			if (!csv) return view;
			reply.header("content-disposition", `attachment; filename="profile-${id}.csv"`);
			return reply.type("text/csv; charset=utf-8").send(profileCsv(view?.rows ?? []));
		};
		server.get("/api/meters/:id/profile", (request, reply) =>
			profile(request, reply, /^text\/csv\b/.test(request.headers.accept ?? "")),
		);
		server.get("/api/meters/:id/profile.csv", (request, reply) => profile(request, reply, true));
		server.get("/api/meters/:id/events", (request) =>
			headEnd.views.eventsView(this.#id(request), queryInteger(request, "limit", 1, 100_000, 10_000)),
		);
		server.get("/api/meters/:id/readings", (request) =>
			headEnd.views.readingsView(this.#id(request), queryTime(request, "since", 0)),
		);
		const ask = async (id: string, kind: number, first = 0): Promise<unknown> => {
			try {
				return await headEnd.ask(id, kind, first);
			} catch (error) {
				if (!(error instanceof AskError)) throw error;
				const code = { unknown: 404, offline: 503, timedOut: 504, refused: 502 }[error.reason];
				throw new HttpError(code, error.message);
			}
		};
		server.post("/api/meters/:id/capture", (request) => ask(this.#id(request), Kind.captureRequest));
		server.post("/api/meters/:id/snapshot", (request) => ask(this.#id(request), Kind.snapshotRequest));
		server.post("/api/meters/:id/diagnostics", (request) => ask(this.#id(request), Kind.diagnosticsRequest));
		server.post("/api/meters/:id/configure", (request) => {
			const body = request.body as { readingSeconds?: unknown } | null | undefined;
			const seconds = body?.readingSeconds;
			if (!Number.isInteger(seconds) || (seconds as number) < 1 || (seconds as number) > 3600)
				throw new HttpError(400, "readingSeconds must be a whole number from 1 to 3600");
			return ask(this.#id(request), Kind.configure, seconds as number);
		});
		const commanding = (): Commanding => {
			if (!headEnd.commanding) throw new HttpError(409, "messages are not secured here: nobody is commanded in clear");
			return headEnd.commanding;
		};
		server.get("/api/commands", () => commanding().commands());
		server.get("/api/meters/:id/commands", (request) => commanding().commands(this.#id(request)));
		server.get("/api/meters/:id/audit", (request) => commanding().auditView(this.#id(request)));
		server.post("/api/meters/:id/commands", (request, reply) => {
			this.#mayAct();
			const { order, validSeconds } = orderOf(request.body);
			reply.code(202);
			return asked(() => commanding().sendCommand(this.#id(request), order, "page", validSeconds));
		});
		server.post("/api/domains/:domain/commands", (request, reply) => {
			this.#mayAct();
			const domain = Number((request.params as { domain: string }).domain);
			const { order, validSeconds } = orderOf(request.body);
			reply.code(202);
			return asked(() => commanding().broadcastCommand(domain, order, "page", validSeconds));
		});
		server.post("/api/attacks", async (request) => {
			this.#mayAct();
			if (!headEnd.attacks) throw new HttpError(409, "messages are not secured here: there is nothing to attack");
			const { meter, kind } = (request.body ?? {}) as { meter?: unknown; kind?: unknown };
			if (typeof meter !== "string" || !headEnd.has(meter)) throw new HttpError(404, "no such meter");
			if (!ATTACK_KINDS.includes(kind as AttackKind))
				throw new HttpError(400, `kind must be one of ${ATTACK_KINDS.join(", ")}`);
			try {
				return await headEnd.attacks.run(meter, kind as AttackKind);
			} catch (error) {
				if (error instanceof UserError) throw new HttpError(409, error.message);
				if (error instanceof AskError) throw new HttpError(503, error.message);
				throw error;
			}
		});
		addFirmwareRoutes(server, headEnd, () => this.#mayAct());
		server.get("/api/live", { websocket: true }, (socket) => this.#join(socket));
	}

	#join(socket: WebSocket): void {
		if (this.#live.size >= LIVE_CLIENTS_MAX) {
			socket.close(1013, "too many live views");
			return;
		}
		socket.on("error", () => socket.terminate());
		socket.on("close", () => this.#live.delete(socket));
		this.#live.add(socket);
		this.#sendTo(socket, JSON.stringify({ type: "status", status: this.#headEnd.views.statusView() } as LiveMessage));
		const meters = this.#headEnd.ids().map((id) => this.#headEnd.views.summaryView(id)!);
		this.#sendTo(socket, JSON.stringify({ type: "fleet", meters } as LiveMessage));
	}

	#sendTo(socket: WebSocket, text: string): void {
		if (socket.bufferedAmount > LIVE_BUFFER_BYTES_MAX) socket.terminate();
		else socket.send(text);
	}

	#push(message: LiveMessage): void {
		const text = JSON.stringify(message);
		for (const socket of this.#live) this.#sendTo(socket, text);
	}

	#onChange(id: string, change: Change): void {
		if (this.#live.size === 0) return;
		let changes = this.#changed.get(id);
		if (!changes) this.#changed.set(id, (changes = new Set()));
		changes.add(change);
		if (change === "reading") {
			const reading = this.#headEnd.views.latestReading(id);
			const readings = this.#readings.get(id) ?? [];
			if (reading) readings.push(reading);
			if (readings.length > 20) readings.shift();
			this.#readings.set(id, readings);
		}
		this.#liveTimer ??= setTimeout(() => this.#pushChanges(), LIVE_MILLISECONDS);
	}

	#pushChanges(): void {
		this.#liveTimer = undefined;
		const meters = [...this.#changed.keys()].flatMap((id) => this.#headEnd.views.summaryView(id) ?? []);
		if (meters.length > 0) this.#push({ type: "meters", meters });
		for (const [id, changes] of this.#changed) {
			const readings = this.#readings.get(id);
			if (readings) this.#push({ type: "readings", id, readings });
			if (changes.has("profile")) this.#push({ type: "profile", id });
			if (changes.has("events")) this.#push({ type: "events", id });
		}
		this.#changed.clear();
		this.#readings.clear();
	}
}
