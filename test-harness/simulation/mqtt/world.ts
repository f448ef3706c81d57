import assert from "node:assert/strict";
import library from "mqtt-packet";
import type { Status } from "../../../src/bytes/status.js";
import { MqttLink } from "../../../src/mqtt/mqtt-link.js";
import { type MqttListener, MqttMachine, type MqttSettings } from "../../../src/mqtt/mqtt-machine.js";
import type { Link, LinkEvents } from "../../../src/platform/link.js";

/** Mulberry32, in [0, 1). */
export function generator(state: number): () => number {
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
	};
}

/** Virtual time: a queue of calls. */
export class Timeline {
	now = 0;
	#order = 0;
	readonly #calls: { at: number; order: number; call: () => void }[] = [];

	after(milliseconds: number, call: () => void): void {
		const entry = { at: this.now + Math.max(0, milliseconds), order: this.#order++, call };
		let low = 0;
		for (let high = this.#calls.length; low < high; ) {
			const middle = (low + high) >> 1;
			const other = this.#calls[middle]!;
			if (other.at < entry.at || (other.at === entry.at && other.order < entry.order)) low = middle + 1;
			else high = middle;
		}
		this.#calls.splice(low, 0, entry);
	}

	runUntil(end: number): void {
		while (this.#calls.length > 0 && this.#calls[0]!.at <= end) {
			const { at, call } = this.#calls.shift()!;
			this.now = at;
			call();
		}
		this.now = end;
	}
}

/** One TCP connection: two byte streams that may be slow, cut, or swallowed. */
class Pipe {
	isCut = false;
	isSwallowing = false;
	/** When the last byte of each direction arrives. */
	up = 0;
	down = 0;
	session: BrokerConnection | undefined;
}

export interface Weather {
	/** Mean time between losses of a link; Infinity for none. */
	readonly lossEveryMilliseconds: number;
	/** Of those, how many only swallow bytes, in thousandths: half-open. */
	readonly halfOpenPerMille: number;
	readonly latencyMilliseconds: number;
	readonly bytesPerSecond: number;
	/** Mean time between restarts of the broker. */
	readonly restartEveryMilliseconds: number;
	readonly restartMilliseconds: number;
}

interface Packet {
	cmd: string;
	messageId: number;
	topic: string;
	payload: Buffer;
	qos: number;
	dup: boolean;
	clean: boolean;
	clientId: string;
	protocolVersion: number;
	subscriptions: { topic: string; qos: number }[];
	will?: { topic: string; payload: Buffer };
}

interface Session {
	readonly filters: Map<string, number>;
	/** QoS 1 messages to the client, oldest first; `messageId` 0: not sent yet. */
	readonly queue: { topic: string; payload: Buffer; messageId: number; wasSent: boolean }[];
	nextIdentifier: number;
	/** Packet identifiers that came in, with their bodies: a second time must be marked DUP. */
	readonly seen: Map<number, string>;
}

/** A broker that takes MQTT strictly: any departure of the client fails the simulation. */
class SimulatedBroker {
	isUp = true;
	sessions = new Map<string, Session>();
	readonly received: { topic: string; body: string; dup: boolean }[] = [];
	readonly wills: string[] = [];
	connections = new Set<BrokerConnection>();

	queueToClients(topic: string, body: string): void {
		for (const session of this.sessions.values())
			if (session.filters.has(topic))
				session.queue.push({ topic, payload: Buffer.from(body), messageId: 0, wasSent: false });
		for (const connection of this.connections) connection.sendQueue();
	}
}

class BrokerConnection {
	readonly #world: World;
	readonly #broker: SimulatedBroker;
	readonly #pipe: Pipe;
	readonly #parser: ReturnType<typeof library.parser>;
	#session: Session | undefined;
	#version: 4 | 5;
	#isAlive = true;
	#will: { topic: string; payload: Buffer } | undefined;

	constructor(world: World, broker: SimulatedBroker, pipe: Pipe, version: 4 | 5) {
		this.#world = world;
		this.#broker = broker;
		this.#pipe = pipe;
		this.#version = version;
		this.#parser = library.parser({ protocolVersion: version } as never);
		this.#parser.on("packet", (packet) => this.#packet(packet as unknown as Packet));
		this.#parser.on("error", (error) => assert.fail(`the client sent what mqtt-packet refuses: ${String(error)}`));
	}

	receive(bytes: Buffer): void {
		if (this.#isAlive) this.#parser.parse(bytes);
	}

	/** The connection is gone, as the broker sees it. */
	lost(): void {
		if (!this.#isAlive) return;
		this.#isAlive = false;
		this.#broker.connections.delete(this);
		if (this.#will !== undefined) this.#broker.wills.push(this.#will.topic);
	}

	sendQueue(): void {
		const session = this.#session;
		if (session === undefined || !this.#isAlive) return;
		for (const entry of session.queue) {
			if (entry.messageId !== 0) continue;
			if (session.queue.filter(({ messageId }) => messageId !== 0).length >= 16) return;
			entry.messageId = session.nextIdentifier;
			session.nextIdentifier = (session.nextIdentifier % 65_535) + 1;
			this.#send({ cmd: "publish", qos: 1, retain: false, dup: entry.wasSent, ...entry });
			entry.wasSent = true;
		}
	}

	#send(packet: object): void {
		this.#world.fromBroker(this.#pipe, library.generate(packet as never, { protocolVersion: this.#version }));
	}

	#packet(packet: Packet): void {
		assert.equal(packet.cmd === "connect", this.#session === undefined, "CONNECT is the first packet and the only one");
		const session = this.#session;
		switch (packet.cmd) {
			case "connect": {
				for (const other of this.#broker.connections) other.lost(); // taken over
				this.#broker.connections.add(this);
				let kept = this.#broker.sessions.get(packet.clientId);
				if (packet.clean) kept = undefined;
				const isPresent = kept !== undefined;
				kept ??= { filters: new Map(), queue: [], nextIdentifier: 1, seen: new Map() };
				for (const entry of kept.queue) entry.messageId = 0;
				this.#broker.sessions.set(packet.clientId, kept);
				this.#session = kept;
				if (!isPresent) kept.seen.clear();
				this.#will = packet.will;
				this.#send({ cmd: "connack", sessionPresent: isPresent, returnCode: 0, reasonCode: 0 });
				this.sendQueue();
				break;
			}
			case "publish": {
				const body = packet.payload.toString("utf8");
				if (packet.qos === 1) {
					if (session!.seen.get(packet.messageId) === body) assert.ok(packet.dup, `${body} again without DUP`);
					session!.seen.set(packet.messageId, body);
				}
				this.#broker.received.push({ topic: packet.topic, body, dup: packet.dup });
				if (packet.qos === 1) this.#send({ cmd: "puback", messageId: packet.messageId, reasonCode: 0 });
				break;
			}
			case "puback": {
				const index = session!.queue.findIndex(({ messageId }) => messageId === packet.messageId);
				assert.ok(index >= 0, "PUBACK for nothing");
				session!.queue.splice(index, 1);
				this.sendQueue();
				break;
			}
			case "subscribe":
				for (const { topic, qos } of packet.subscriptions) session!.filters.set(topic, qos);
				this.#send({ cmd: "suback", messageId: packet.messageId, granted: packet.subscriptions.map(({ qos }) => qos) });
				break;
			case "pingreq":
				this.#send({ cmd: "pingresp" });
				break;
			case "disconnect":
				this.#will = undefined;
				break;
			default:
				assert.fail(`the client sent ${packet.cmd}`);
		}
	}
}

/** The client's side: `Link` with a small send buffer. */
class SimulatedLink implements Link {
	events: LinkEvents | undefined;
	pipe: Pipe | undefined;
	#isOpening = false;
	#waiting = 0;
	readonly #world: World;

	constructor(world: World) {
		this.#world = world;
	}

	open(): void {
		if (this.pipe !== undefined || this.#isOpening) return;
		this.#isOpening = true;
		const { timeline, weather } = this.#world;
		timeline.after(weather.latencyMilliseconds * 2, () => {
			if (!this.#isOpening) return;
			this.#isOpening = false;
			if (!this.#world.broker.isUp) {
				this.events!.linkClosed();
				return;
			}
			this.#waiting = 0;
			this.pipe = this.#world.connect();
			this.events!.linkOpened();
		});
	}

	send(bytes: Uint8Array, byteLength: number): number {
		const pipe = this.pipe;
		if (pipe === undefined) return 0;
		const taken = Math.min(byteLength, 200 - this.#waiting);
		if (taken <= 0) return 0;
		this.#waiting += taken;
		const copy = Buffer.from(bytes.subarray(0, taken));
		if (pipe.isSwallowing) return taken; // the peer's window closes after 200 bytes
		const { timeline, weather } = this.#world;
		pipe.up = Math.max(pipe.up, timeline.now) + (taken / weather.bytesPerSecond) * 1_000;
		const leaves = pipe.up - timeline.now;
		timeline.after(leaves, () => {
			if (pipe !== this.pipe || pipe.isSwallowing) return;
			const wasFull = this.#waiting >= 200;
			this.#waiting -= taken;
			if (wasFull) this.events!.linkWritable();
		});
		timeline.after(leaves + weather.latencyMilliseconds, () => {
			if (!pipe.isCut && !pipe.isSwallowing) pipe.session?.receive(copy);
		});
		return taken;
	}

	close(): void {
		this.#isOpening = false;
		const pipe = this.pipe;
		if (pipe === undefined) return;
		this.pipe = undefined;
		// What was sent before still arrives; then the broker sees the end.
		this.#world.timeline.after(
			Math.max(0, pipe.up - this.#world.timeline.now) + this.#world.weather.latencyMilliseconds,
			() => {
				pipe.isCut = true;
				pipe.session?.lost();
			},
		);
		this.#world.timeline.after(0, () => this.events!.linkClosed());
	}

	/** The network takes the connection away. */
	cut(pipe: Pipe): void {
		pipe.isCut = true;
		if (this.pipe !== pipe) return;
		this.pipe = undefined;
		this.events!.linkClosed();
	}
}

/** A client, a broker and a network between them, in virtual time; one random generator decides everything. */
export class World {
	readonly timeline = new Timeline();
	readonly broker = new SimulatedBroker();
	readonly machine: MqttMachine;
	readonly driver: MqttLink;
	readonly random: () => number;
	weather: Weather;
	/** Bodies in the order in which `publish` took them, by topic. */
	readonly accepted = new Map<string, string[]>();
	readonly published = new Set<string>();
	readonly delivered: string[] = [];
	readonly ended: Status[] = [];
	#outstanding = 0;
	#wake = 0;
	readonly #handles = new Map<number, string>();
	readonly #link: SimulatedLink;
	readonly #settings: MqttSettings;
	readonly #keepSessions: boolean;
	readonly #pipes = new Set<Pipe>();

	constructor(seed: number, settings: MqttSettings, weather: Weather, keepSessions: boolean) {
		this.random = generator(seed);
		this.weather = weather;
		this.#settings = settings;
		this.#keepSessions = keepSessions;
		this.#link = new SimulatedLink(this);
		const listener: MqttListener = {
			connected: () => {},
			disconnected: (status) => this.ended.push(status),
			published: (handle) => {
				const body = this.#handles.get(handle);
				assert.ok(body !== undefined, "published twice, or never taken");
				this.#handles.delete(handle);
				this.published.add(body);
				this.#outstanding--;
			},
			refused: () => assert.fail("refused"),
			message: (_topic, payload, byteLength) => {
				this.delivered.push(Buffer.from(payload.subarray(0, byteLength)).toString("utf8"));
			},
			subscriptionRefused: () => assert.fail("subscription refused"),
		};
		this.machine = new MqttMachine(settings, listener, this.random);
		this.driver = new MqttLink(
			this.machine,
			this.#link,
			{ monotonicMilliseconds: () => this.timeline.now, utcSeconds: () => Number.NaN, setUtcSeconds: () => {} },
			160,
		);
		this.#link.events = {
			linkOpened: () => this.#step(() => this.driver.linkOpened()),
			linkReceived: (bytes, byteLength) => this.#step(() => this.driver.linkReceived(bytes, byteLength)),
			linkWritable: () => this.#step(() => this.driver.linkWritable()),
			linkClosed: () => this.#step(() => this.driver.linkClosed()),
		};
		this.machine.subscribe("command", 1);
		this.#step(() => this.driver.tick());
		this.#scheduleRestart();
	}

	/** Tries to publish one more body. @returns false when the window was full */
	publish(topic: string, body: string): boolean {
		const payload = Buffer.from(body);
		const handle = this.machine.publish(topic, payload, payload.length, 1, false);
		assert.equal(handle === 0, this.machine.freeSlots === 0 && handle === 0);
		if (handle === 0) {
			assert.ok(this.#outstanding >= 1, "an empty window is not full");
			return false;
		}
		this.#outstanding++;
		assert.ok(this.#outstanding <= this.#settings.inFlightMax, "more than the window");
		this.#handles.set(handle, body);
		const list = this.accepted.get(topic) ?? [];
		list.push(body);
		this.accepted.set(topic, list);
		this.#step(() => this.driver.pump());
		return true;
	}

	get outstanding(): number {
		return this.#outstanding;
	}

	connect(): Pipe {
		const pipe = new Pipe();
		pipe.session = new BrokerConnection(this, this.broker, pipe, this.#settings.protocolVersion);
		this.#pipes.add(pipe);
		if (Number.isFinite(this.weather.lossEveryMilliseconds)) {
			this.timeline.after(-Math.log(1 - this.random()) * this.weather.lossEveryMilliseconds, () => this.#lose(pipe));
		}
		return pipe;
	}

	fromBroker(pipe: Pipe, bytes: Buffer): void {
		if (pipe.isCut || pipe.isSwallowing) return;
		// Cut anywhere, as TCP does.
		for (let at = 0; at < bytes.length; ) {
			const piece = bytes.subarray(at, at + 1 + Math.floor(this.random() * bytes.length));
			at += piece.length;
			pipe.down = Math.max(pipe.down, this.timeline.now) + (piece.length / this.weather.bytesPerSecond) * 1_000;
			this.timeline.after(pipe.down - this.timeline.now + this.weather.latencyMilliseconds, () => {
				if (this.#link.pipe !== pipe || pipe.isCut || pipe.isSwallowing) return;
				this.#link.events!.linkReceived(piece, piece.length);
			});
		}
	}

	#lose(pipe: Pipe): void {
		if (pipe.isCut) return;
		if (this.random() * 1_000 < this.weather.halfOpenPerMille) {
			pipe.isSwallowing = true;
			return; // nobody is told; the client has to find out, the broker when the client comes back
		}
		this.#link.cut(pipe);
		this.timeline.after(this.random() * 60_000, () => pipe.session?.lost());
	}

	#scheduleRestart(): void {
		if (!Number.isFinite(this.weather.restartEveryMilliseconds)) return;
		this.timeline.after(-Math.log(1 - this.random()) * this.weather.restartEveryMilliseconds, () => {
			this.broker.isUp = false;
			for (const pipe of this.#pipes) {
				pipe.session?.lost();
				this.#link.cut(pipe);
			}
			this.#pipes.clear();
			if (!this.#keepSessions) this.broker.sessions.clear();
			this.timeline.after(this.weather.restartMilliseconds, () => {
				this.broker.isUp = true;
				this.#scheduleRestart();
			});
		});
	}

	/** Calls the machine, then sets the alarm for its next deadline. */
	#step(call: () => void): void {
		call();
		const wake = ++this.#wake;
		const deadline = this.driver.deadlineMilliseconds();
		if (!Number.isFinite(deadline)) return;
		this.timeline.after(deadline - this.timeline.now, () => {
			if (wake === this.#wake) this.#step(() => this.driver.tick());
		});
	}
}
