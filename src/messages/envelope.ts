import { Status } from "../bytes/status.js";

/**
 * The one seam through which every payload passes between application and link. The secured channel takes the place
 * of `PlainEnvelope` behind this interface; metrology, meter application and MQTT do not see the difference.
 */
export interface Envelope {
	/** Bytes that `seal` adds at most. */
	readonly overheadBytesMax: number;
	/**
	 * @param message plain message, kind first
	 * @param into receives the sealed bytes; at least `byteLength + overheadBytesMax`; must not overlap `message`
	 * @returns bytes written, or 0 when nothing may be sealed now (no key, index space used up)
	 */
	seal(message: Uint8Array, byteLength: number, into: Uint8Array): number;
	/** Checks and unwraps. `into` and `openedByteLength` are valid only after `ok`. */
	open(sealed: Uint8Array, byteLength: number, into: Uint8Array): Status;
	readonly openedByteLength: number;
}

/**
 * Plain envelope, version 1: 2 bytes before the message. For tests and for links that are secured below; it protects
 * nothing.
 * | offset | size | field   | unit and range       |
 * |-------:|-----:|---------|----------------------|
 * |      0 |    1 | version | 1                    |
 * |      1 |    1 | scheme  | 0 = plain            |
 * |      2 |    n | message | 2 to 1024 B          |
 */
export const PLAIN_ENVELOPE_BYTES = 2;

export class PlainEnvelope implements Envelope {
	readonly overheadBytesMax = PLAIN_ENVELOPE_BYTES;
	openedByteLength = 0;

	seal(message: Uint8Array, byteLength: number, into: Uint8Array): number {
		if (byteLength + PLAIN_ENVELOPE_BYTES > into.length) return 0;
		into[0] = 1;
		into[1] = 0;
		for (let i = 0; i < byteLength; i++) into[i + PLAIN_ENVELOPE_BYTES] = message[i]!;
		return byteLength + PLAIN_ENVELOPE_BYTES;
	}

	open(sealed: Uint8Array, byteLength: number, into: Uint8Array): Status {
		const plainLength = byteLength - PLAIN_ENVELOPE_BYTES;
		if (plainLength < 2 || plainLength > into.length) return Status.badLength; // ENV-1
		if (sealed[0] !== 1) return Status.badVersion; // ENV-2
		if (sealed[1] !== 0) return Status.unsupported; // ENV-3
		for (let i = 0; i < plainLength; i++) into[i] = sealed[i + PLAIN_ENVELOPE_BYTES]!;
		this.openedByteLength = plainLength;
		return Status.ok;
	}
}
