import { crc32 } from "../bytes/crc.js";
import { InvariantError } from "../bytes/status.js";

/**
 * Frame of the optical port: n + 8 bytes, at most 512, big-endian. Whatever stands before a frame is noise.
 * | offset | size | field    | unit and range                                                     |
 * |-------:|-----:|----------|--------------------------------------------------------------------|
 * |      0 |    2 | sync     | 0x57 0x70                                                          |
 * |      2 |    2 | length   | n, of the payload, 4 to 504 B                                      |
 * |      4 |    n | payload  | a question or an answer                                            |
 * |  4 + n |    4 | checksum | CRC-32 of length and payload: against noise, not against forgery   |
 */
export const FRAME_BYTES_MAX = 512;
export const FRAME_PAYLOAD_AT = 4;
const CHECKSUM_BYTES = 4;
const FRAME_OVERHEAD_BYTES = FRAME_PAYLOAD_AT + CHECKSUM_BYTES;
export const FRAME_PAYLOAD_BYTES_MAX = FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES;
export const FRAME_PAYLOAD_BYTES_MIN = 4;
const SYNC_FIRST = 0x57;
const SYNC_SECOND = 0x70;

/** Puts head and checksum around the payload that lies at `FRAME_PAYLOAD_AT` of `frame`. @returns bytes of the frame */
export function closeFrame(frame: Uint8Array, payloadBytes: number): number {
	if (!(payloadBytes >= FRAME_PAYLOAD_BYTES_MIN && payloadBytes <= FRAME_PAYLOAD_BYTES_MAX))
		throw new InvariantError("no such payload on the optical port");
	frame[0] = SYNC_FIRST;
	frame[1] = SYNC_SECOND;
	frame[2] = payloadBytes >> 8;
	frame[3] = payloadBytes;
	const checksum = crc32(frame, 2, payloadBytes + 2);
	const at = FRAME_PAYLOAD_AT + payloadBytes;
	for (let i = 0; i < CHECKSUM_BYTES; i++) frame[at + i] = checksum >>> (24 - 8 * i);
	return payloadBytes + FRAME_OVERHEAD_BYTES;
}

/**
 * Finds frames in a stream of bytes, noise and all. After a false start it looks again from the next byte, so no frame
 * that arrived whole is lost. One buffer of 512 bytes; what is dropped from it is overwritten, for it may be a key.
 */
export class OpticalFrameReader {
	/** The frame starts at 0, its payload at `FRAME_PAYLOAD_AT`. */
	readonly bytes = new Uint8Array(FRAME_BYTES_MAX);
	/** Of the frame that was found; 0: none. */
	payloadBytes = 0;
	/** Starts that turned out to be none: a checksum, a length. Bytes that look like no start are not counted. */
	falseStarts = 0;
	#length = 0;

	/** Bytes of a frame that has begun. */
	get pendingBytes(): number {
		return this.payloadBytes > 0 ? 0 : this.#length;
	}

	/**
	 * Takes bytes until a frame is found: then `payloadBytes` is set, and `next` must be called before more is taken.
	 * @returns bytes taken
	 */
	take(from: Uint8Array, offset: number, end: number): number {
		let at = offset;
		while (at < end && this.payloadBytes === 0) {
			this.bytes[this.#length++] = from[at++]!;
			this.#search();
		}
		return at - offset;
	}

	/** Drops the frame that was found and looks for another one in what came after it. */
	next(): void {
		const frameBytes = this.payloadBytes + FRAME_OVERHEAD_BYTES;
		this.payloadBytes = 0;
		this.#drop(frameBytes < this.#length ? frameBytes : this.#length);
		this.#search();
	}

	/** No byte came for too long: the frame that has begun is none. Call until `payloadBytes` or no `pendingBytes`. */
	expire(): void {
		if (this.payloadBytes > 0 || this.#length === 0) return;
		this.falseStarts++;
		this.#drop(1);
		this.#search();
	}

	/** Forgets and overwrites everything. */
	reset(): void {
		this.bytes.fill(0);
		this.#length = 0;
		this.payloadBytes = 0;
	}

	/** Drops what cannot be the start of a frame. */
	#search(): void {
		const { bytes } = this;
		for (;;) {
			let start = 0;
			while (
				start < this.#length &&
				!(bytes[start] === SYNC_FIRST && (start + 1 === this.#length || bytes[start + 1] === SYNC_SECOND))
			)
				start++;
			if (start > 0) this.#drop(start);
			if (this.#length < FRAME_PAYLOAD_AT) return;
			const payloadBytes = bytes[2]! * 256 + bytes[3]!;
			if (payloadBytes >= FRAME_PAYLOAD_BYTES_MIN && payloadBytes <= FRAME_PAYLOAD_BYTES_MAX) {
				if (this.#length < payloadBytes + FRAME_OVERHEAD_BYTES) return;
				const checksum = crc32(bytes, 2, payloadBytes + 2);
				const at = FRAME_PAYLOAD_AT + payloadBytes;
				let difference = 0;
				for (let i = 0; i < CHECKSUM_BYTES; i++) difference |= bytes[at + i]! ^ ((checksum >>> (24 - 8 * i)) & 0xff);
				if (difference === 0) {
					this.payloadBytes = payloadBytes;
					return;
				}
			}
			this.falseStarts++;
			this.#drop(1);
		}
	}

	#drop(byteLength: number): void {
		const left = this.#length - byteLength;
		this.bytes.copyWithin(0, byteLength, this.#length);
		this.bytes.fill(0, left, this.#length);
		this.#length = left;
	}
}
