import { connect, type Socket } from "node:net";
import { MqttTap, type TapEvents } from "./mqtt-tap.js";

/** Something the network did, kept until the world gives it to the machine. */
export type LinkOccurrence = "opened" | "closed" | "writable" | Buffer;

export interface BridgePlace {
	readonly host: string;
	readonly port: number;
}

const HIGH_WATER_BYTES = 64 * 1024;

/**
 * Joins the link of one machine to a real TCP connection. Bytes of the machine go out at once; what comes from the
 * network waits in `takeOccurrence` order until the world is ready to deliver it.
 */
export class LinkBridge {
	readonly tap: MqttTap;
	/** Bytes since the board was made. */
	sentBytes = 0;
	receivedBytes = 0;
	connects = 0;
	readonly #place: BridgePlace;
	readonly #wake: () => void;
	#socket: Socket | undefined;
	#isOpen = false;
	#isFull = false;
	/** The machine has been told "opened" of the present connection, so it must hear "closed" too. */
	#isKnownOpen = false;
	#waiting: LinkOccurrence[] = [];

	/** @param wake called whenever something waits, or an answer came */
	constructor(place: BridgePlace, tapEvents: TapEvents, wake: () => void) {
		this.#place = place;
		this.tap = new MqttTap(tapEvents);
		this.#wake = wake;
	}

	get isOpen(): boolean {
		return this.#isOpen;
	}

	get hasWaiting(): boolean {
		return this.#waiting.length > 0;
	}

	/** Answers that the network still owes: the connection itself, and the requests in it. */
	get outstanding(): number {
		if (this.#socket === undefined) return 0;
		return this.#isOpen ? this.tap.outstanding : 1;
	}

	/** All that waits, in order. */
	takeWaiting(): LinkOccurrence[] {
		const waiting = this.#waiting;
		this.#waiting = [];
		for (const what of waiting)
			if (what === "opened") this.#isKnownOpen = true;
			else if (what === "closed") this.#isKnownOpen = false;
		return waiting;
	}

	/** The machine asks for a connection; ignored while there is one. */
	open(): void {
		if (this.#socket !== undefined) return;
		this.tap.reset();
		const socket = connect({ host: this.#place.host, port: this.#place.port, noDelay: true });
		this.#socket = socket;
		socket.on("connect", () => {
			if (this.#socket !== socket) return;
			this.#isOpen = true;
			this.connects++;
			this.#occur("opened");
		});
		socket.on("data", (bytes) => {
			if (this.#socket !== socket) return;
			this.receivedBytes += bytes.length;
			this.tap.incoming(bytes);
			this.#occur(bytes);
		});
		socket.on("drain", () => {
			if (this.#socket !== socket || !this.#isFull) return;
			this.#isFull = false;
			this.#occur("writable");
		});
		socket.on("error", () => {}); // "close" follows and tells the machine
		socket.on("close", () => {
			if (this.#socket === socket) this.#gone();
		});
	}

	/** Bytes of the machine; copied. Lost when there is no connection, as on a wire. */
	send(bytes: Uint8Array): void {
		if (this.#socket === undefined || !this.#isOpen) return;
		this.sentBytes += bytes.length;
		this.tap.outgoing(bytes);
		this.#socket.write(Buffer.from(bytes));
		if (this.#socket.writableLength > HIGH_WATER_BYTES) this.#isFull = true;
	}

	/** The machine closes; "closed" follows if it was open. */
	close(): void {
		const socket = this.#socket;
		if (socket === undefined) return;
		if (!this.#isKnownOpen) {
			this.#forget(); // what it has not heard of, it need not hear
			socket.destroy();
			return;
		}
		socket.end();
		socket.setTimeout(1000, () => socket.destroy()); // a peer that keeps its half open
		this.#gone();
	}

	/** Power is gone: the connection breaks without a goodbye, and nobody is told. */
	cut(): void {
		const socket = this.#socket;
		this.#forget();
		socket?.resetAndDestroy();
	}

	#forget(): void {
		this.#socket = undefined;
		this.#isOpen = false;
		this.#isKnownOpen = false;
		this.#isFull = false;
		this.#waiting = [];
		this.tap.reset();
	}

	#gone(): void {
		this.#socket = undefined;
		this.#isOpen = false;
		this.#isFull = false;
		this.tap.reset();
		this.#occur("closed");
	}

	#occur(what: LinkOccurrence): void {
		if (what === "writable" && this.#waiting.includes("writable")) return;
		this.#waiting.push(what);
		this.#wake();
	}
}
