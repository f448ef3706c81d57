import type { Clock } from "../platform/clock.js";
import type { Link, LinkEvents } from "../platform/link.js";
import type { MqttMachine } from "./mqtt-machine.js";

/**
 * Runs an `MqttMachine` on a host's `Link`: opens and closes it as the machine wants, and keeps the bytes that a full
 * send buffer did not take. The host passes the link's events to this object; the application calls `pump` after it
 * has called `publish`, `subscribe`, `start` or `stop`.
 */
export class MqttLink implements LinkEvents {
	readonly #machine: MqttMachine;
	readonly #link: Link;
	readonly #clock: Clock;
	readonly #buffer: Uint8Array;
	#at = 0;
	#end = 0;
	#isOpen = false;
	#isOpening = false;
	#isCloseAsked = false;
	#isPumping = false;
	#isPumpWanted = false;

	/** @param bufferBytes largest piece given to the link at once; kept here while the link is full */
	constructor(machine: MqttMachine, link: Link, clock: Clock, bufferBytes: number) {
		this.#machine = machine;
		this.#link = link;
		this.#clock = clock;
		this.#buffer = new Uint8Array(bufferBytes);
	}

	linkOpened(): void {
		this.#isOpening = false;
		this.#isCloseAsked = false;
		this.#isOpen = true;
		this.#at = 0;
		this.#end = 0;
		this.#machine.linkOpened(this.#clock.monotonicMilliseconds());
		this.pump();
	}

	linkReceived(bytes: Uint8Array, byteLength: number): void {
		this.#machine.receive(this.#clock.monotonicMilliseconds(), bytes, byteLength);
		this.pump();
	}

	linkWritable(): void {
		this.pump();
	}

	linkClosed(): void {
		this.#isOpening = false;
		this.#isOpen = false;
		this.#at = 0;
		this.#end = 0;
		this.#machine.linkClosed(this.#clock.monotonicMilliseconds());
		this.pump();
	}

	tick(): void {
		this.#machine.tick(this.#clock.monotonicMilliseconds());
		this.pump();
	}

	deadlineMilliseconds(): number {
		return this.#machine.deadlineMilliseconds();
	}

	/** Sends what there is to send and brings the link into the state that the machine wants. May be called from a listener. */
	pump(): void {
		this.#isPumpWanted = true;
		if (this.#isPumping) return; // a link that answers from inside `send`, or a listener
		this.#isPumping = true;
		try {
			while (this.#isPumpWanted) {
				this.#isPumpWanted = false;
				const isEmpty = !this.#isOpen || this.#send();
				if (this.#machine.wantsLink()) {
					if (this.#isOpen || this.#isOpening) continue;
					this.#isOpening = true;
					this.#isCloseAsked = false;
					this.#link.open();
				} else if ((this.#isOpen && (isEmpty || !this.#machine.isClosing)) || this.#isOpening) {
					if (this.#isCloseAsked) continue;
					this.#isCloseAsked = true;
					this.#isOpening = false;
					this.#link.close();
				}
			}
		} finally {
			this.#isPumping = false;
		}
	}

	/** @returns true when nothing is left, false when the link is full */
	#send(): boolean {
		for (;;) {
			if (this.#at === this.#end) {
				this.#at = 0;
				this.#end = this.#machine.transmit(this.#buffer);
				if (this.#end === 0) return true;
			}
			const rest = this.#at === 0 ? this.#buffer : this.#buffer.subarray(this.#at, this.#end);
			const taken = this.#link.send(rest, this.#end - this.#at);
			if (!this.#isOpen) return true; // closed from inside `send`
			this.#at += taken;
			if (taken === 0) return false;
		}
	}
}
