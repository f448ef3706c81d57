import { Status } from "../../src/bytes/status.js";
import { PLAIN_ENVELOPE_BYTES, PlainEnvelope } from "../../src/messages/envelope.js";
import { MESSAGE_BYTES_MAX } from "../../src/messages/kinds.js";
import type { FleetSecurityView, SecurityView } from "./api.js";

/** What lies between the messages of all meters and the way to them. */
export interface MeterChannel {
	/** Whether a meter must be in the registry, and shows by its keys that it is the one it says. */
	readonly isSecured: boolean;
	/**
	 * Checks and opens what came from a meter.
	 * @param into receives the message, kind first
	 * @returns `ok`, and `messageBytes` says how long it is; 0: it was for the channel itself
	 */
	receive(id: string, payload: Uint8Array, into: Uint8Array): Status;
	readonly messageBytes: number;
	/** Puts a message on its way. @returns false when that is not possible now */
	send(id: string, message: Uint8Array, byteLength: number): boolean;
	/** The meter is there again: what it has not acknowledged goes out once more. */
	resend(id: string): void;
	/** At the end of a step of a virtual clock. */
	stepDone(): void;
	/** Resolves when all that was sent is with the link. */
	flushed(): Promise<void>;
	/** What stopped its storage, undefined while it works. */
	readonly failure: Error | undefined;
	/** After a failure. @throws what the disk says */
	recover(): void;
	/** @param refusals of the meter, by name */
	view(id: string, refusals: Record<string, number>): SecurityView | null;
	/** Of all meters. */
	fleetView(): FleetSecurityView | null;
}

/** Messages in clear, from anybody: for tests, and to compare costs with. */
export class PlainChannel implements MeterChannel {
	readonly isSecured = false;
	readonly failure = undefined;
	messageBytes = 0;
	readonly #envelope = new PlainEnvelope();
	readonly #sealed = new Uint8Array(MESSAGE_BYTES_MAX + PLAIN_ENVELOPE_BYTES);
	readonly #transmit: (id: string, sealed: Uint8Array) => void;

	constructor(transmit: (id: string, sealed: Uint8Array) => void) {
		this.#transmit = transmit;
	}

	receive(_id: string, payload: Uint8Array, into: Uint8Array): Status {
		if (payload.length > MESSAGE_BYTES_MAX + PLAIN_ENVELOPE_BYTES) return Status.badLength;
		const status = this.#envelope.open(payload, payload.length, into);
		if (status === Status.ok) this.messageBytes = this.#envelope.openedByteLength;
		return status;
	}

	send(id: string, message: Uint8Array, byteLength: number): boolean {
		const count = this.#envelope.seal(message, byteLength, this.#sealed);
		if (count === 0) return false;
		this.#transmit(id, this.#sealed.slice(0, count));
		return true;
	}

	resend(): void {}

	stepDone(): void {}

	recover(): void {}

	view(): null {
		return null;
	}

	fleetView(): null {
		return null;
	}

	flushed(): Promise<void> {
		return Promise.resolve();
	}
}
