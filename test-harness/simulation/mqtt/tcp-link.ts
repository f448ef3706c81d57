import { connect, type Socket } from "node:net";
import { MqttLink } from "../../../src/mqtt/mqtt-link.js";
import { type MqttListener, MqttMachine, type MqttSettings } from "../../../src/mqtt/mqtt-machine.js";
import type { Link, LinkEvents } from "../../../src/platform/link.js";

/** A `Link` over TCP on the loopback. */
class TcpLink implements Link {
	events: LinkEvents | undefined;
	#socket: Socket | undefined;
	readonly #port: number;

	constructor(port: number) {
		this.#port = port;
	}

	open(): void {
		if (this.#socket !== undefined) return;
		const socket = connect({ host: "127.0.0.1", port: this.#port, noDelay: true });
		this.#socket = socket;
		socket.on("connect", () => this.events!.linkOpened());
		socket.on("data", (bytes) => this.#socket === socket && this.events!.linkReceived(bytes, bytes.length));
		socket.on("drain", () => this.#socket === socket && this.events!.linkWritable());
		socket.on("error", () => {}); // `close` follows
		socket.on("close", () => {
			if (this.#socket !== socket) return;
			this.#socket = undefined;
			this.events!.linkClosed();
		});
	}

	send(bytes: Uint8Array, byteLength: number): number {
		const socket = this.#socket;
		if (socket === undefined || socket.writableNeedDrain || socket.destroyed) return 0;
		socket.write(Buffer.from(bytes.subarray(0, byteLength)));
		return byteLength;
	}

	close(): void {
		this.#socket?.end();
	}

	/** Breaks the connection without a goodbye. */
	break(): void {
		this.#socket?.resetAndDestroy();
	}
}

/** The machine on a real socket and a real clock. */
export class LiveClient implements MqttListener {
	readonly machine: MqttMachine;
	readonly driver: MqttLink;
	readonly link: TcpLink;
	/** Handles, in the order of their PUBACKs. */
	readonly acknowledged: number[] = [];
	readonly messages: { topic: string; body: string }[] = [];
	readonly sessions: boolean[] = [];
	readonly ended: number[] = [];
	#timer: NodeJS.Timeout | undefined;
	#isDone = false;

	constructor(settings: MqttSettings, port: number, random: () => number) {
		this.link = new TcpLink(port);
		this.machine = new MqttMachine(settings, this, random);
		const clock = {
			monotonicMilliseconds: () => performance.now(),
			utcSeconds: () => Number.NaN,
			setUtcSeconds: () => {},
		};
		this.driver = new MqttLink(this.machine, this.link, clock, 1_024);
		this.link.events = {
			linkOpened: () => this.#step(() => this.driver.linkOpened()),
			linkReceived: (bytes, byteLength) => this.#step(() => this.driver.linkReceived(bytes, byteLength)),
			linkWritable: () => this.#step(() => this.driver.linkWritable()),
			linkClosed: () => this.#step(() => this.driver.linkClosed()),
		};
		this.#step(() => this.driver.tick());
	}

	/** Publishes QoS 1. @returns false when the window is full */
	publish(topic: string, body: string): boolean {
		const payload = Buffer.from(body);
		const isTaken = this.machine.publish(topic, payload, payload.length, 1, false) !== 0;
		if (isTaken) this.#step(() => this.driver.pump());
		return isTaken;
	}

	subscribe(topicFilter: string): void {
		this.machine.subscribe(topicFilter, 1);
		this.#step(() => this.driver.pump());
	}

	/** Says goodbye. */
	stop(): void {
		this.machine.stop(performance.now());
		this.#step(() => this.driver.pump());
	}

	/** The power fails: nothing more happens here. */
	powerOff(): void {
		this.#isDone = true;
		clearTimeout(this.#timer);
		this.link.events = { linkOpened() {}, linkReceived() {}, linkWritable() {}, linkClosed() {} };
		this.link.break();
	}

	connected(sessionPresent: boolean): void {
		this.sessions.push(sessionPresent);
	}
	disconnected(status: number): void {
		this.ended.push(status);
	}
	published(handle: number): void {
		this.acknowledged.push(handle);
	}
	refused(handle: number, reasonCode: number): void {
		throw new Error(`message ${handle} refused: ${reasonCode}`);
	}
	message(topic: string, payload: Uint8Array, byteLength: number): void {
		this.messages.push({ topic, body: Buffer.from(payload.subarray(0, byteLength)).toString("utf8") });
	}
	subscriptionRefused(topicFilter: string, reasonCode: number): void {
		throw new Error(`subscription ${topicFilter} refused: ${reasonCode}`);
	}

	#step(call: () => void): void {
		if (this.#isDone) return;
		call();
		clearTimeout(this.#timer);
		const deadline = this.driver.deadlineMilliseconds();
		if (Number.isFinite(deadline))
			this.#timer = setTimeout(() => this.#step(() => this.driver.tick()), Math.max(1, deadline - performance.now()));
	}
}
