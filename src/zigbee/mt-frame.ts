import { InvariantError, Status, StatusCounters } from "../bytes/status.js";

/** Start of frame. */
export const MT_START = 0xfe;
/** Longest data of one frame, 0 to 250 bytes. */
export const MT_DATA_MAX = 250;
/** Longest frame: start, length, command (2), data, check byte. */
export const MT_FRAME_MAX = MT_DATA_MAX + 5;

/** Bits 7 to 5 of the first command byte. */
export const MtType = Object.freeze({
	poll: 0,
	synchronousRequest: 1,
	asynchronous: 2,
	synchronousResponse: 3,
} as const);
export type MtType = (typeof MtType)[keyof typeof MtType];

/**
 * TI Monitor and Test (MT) frame on the UART between a host and its Zigbee co-processor.
 * | offset | size | field   | unit and range                                                            |
 * |-------:|-----:|---------|---------------------------------------------------------------------------|
 * |      0 |    1 | start   | 0xFE                                                                      |
 * |      1 |    1 | length  | bytes of data, 0 to 250                                                   |
 * |      2 |    1 | cmd0    | type << 5, subsystem (see `mt-commands.ts`)                               |
 * |      3 |    1 | cmd1    | command within the subsystem                                              |
 * |      4 |    n | data    | integers little-endian                                                    |
 * |  4 + n |    1 | check   | XOR of all bytes from length to the last byte of data                     |
 * @see TI "Z-Stack Monitor and Test API", section 2.1.1 (general serial packet)
 * @param into at least `at + dataLength + 5` bytes
 * @param data the first `dataLength` bytes are taken; may be the same array as `into`, if it already lies at `at + 4`
 * @returns bytes written
 */
export function encodeMtFrame(
	cmd0: number,
	cmd1: number,
	data: Uint8Array,
	dataLength: number,
	into: Uint8Array,
	at = 0,
): number {
	if (dataLength > MT_DATA_MAX) throw new InvariantError("mt: data longer than 250 bytes");
	let check = dataLength ^ cmd0 ^ cmd1;
	for (let i = 0; i < dataLength; i++) {
		const byte = data[i]!;
		check ^= byte;
		into[at + 4 + i] = byte;
	}
	into[at] = MT_START;
	into[at + 1] = dataLength;
	into[at + 2] = cmd0;
	into[at + 3] = cmd1;
	into[at + 4 + dataLength] = check;
	return dataLength + 5;
}

/** Seals a frame whose data already lie at `at + 4` of `frame`. @returns bytes of the frame */
export function sealMtFrame(cmd0: number, cmd1: number, dataLength: number, frame: Uint8Array, at = 0): number {
	if (dataLength > MT_DATA_MAX) throw new InvariantError("mt: data longer than 250 bytes");
	let check = dataLength ^ cmd0 ^ cmd1;
	for (let i = 0; i < dataLength; i++) check ^= frame[at + 4 + i]!;
	frame[at] = MT_START;
	frame[at + 1] = dataLength;
	frame[at + 2] = cmd0;
	frame[at + 3] = cmd1;
	frame[at + 4 + dataLength] = check;
	return dataLength + 5;
}

/**
 * Finds frames in a stream of bytes that may be split, merged and damaged. After a wrong check byte or length the
 * search begins again one byte behind the refused start byte, so that a frame hidden behind a stray 0xFE is found.
 * Memory: one buffer of 255 bytes and the counters.
 *
 * ```ts
 * parser.feed(bytes, byteLength);
 * while (parser.next()) use(parser.cmd0, parser.cmd1, parser.frame, parser.dataLength); // data from frame[4]
 * ```
 */
export class MtParser {
	/** `badLength`: length beyond 250; `badChecksum`: wrong check byte. */
	readonly counters = new StatusCounters();
	/** Bytes that belonged to no frame. */
	strayByteCount = 0;
	/** Of the present frame, valid after `next` returned true and until it is called again. Data begin at index 4. */
	readonly frame = new Uint8Array(MT_FRAME_MAX);
	cmd0 = 0;
	cmd1 = 0;
	dataLength = 0;
	#filled = 0;
	/** Bytes of `frame` that the caller has had; removed by the next call. */
	#taken = 0;
	#source: Uint8Array | undefined;
	#sourceAt = 0;
	#sourceEnd = 0;

	/** Gives the parser bytes to read; they are kept by reference until `next` returned false. */
	feed(bytes: Uint8Array, byteLength: number): void {
		this.#source = bytes;
		this.#sourceAt = 0;
		this.#sourceEnd = byteLength;
	}

	/** Forgets half a frame: the other end was reset, or the line was silent for long. */
	reset(): void {
		this.strayByteCount += this.#filled - this.#taken;
		this.#filled = 0;
		this.#taken = 0;
	}

	/** Bytes of an unfinished frame. */
	get pendingBytes(): number {
		return this.#filled - this.#taken;
	}

	/** @returns true when the fields hold the next whole frame, false when the fed bytes are used up */
	next(): boolean {
		const frame = this.frame;
		if (this.#taken > 0) this.#drop(this.#taken);
		this.#taken = 0;
		for (;;) {
			// What is left in the buffer comes first: after a refusal it may hold whole frames.
			if (this.#filled >= 2 && frame[1]! > MT_DATA_MAX) {
				this.#refuse(Status.badLength); // MTF-1
				continue;
			}
			const wanted = this.#filled < 2 ? 2 : frame[1]! + 5;
			if (this.#filled >= wanted && wanted > 2) {
				let check = 0;
				for (let i = 1; i < wanted; i++) check ^= frame[i]!;
				if (check !== 0) {
					this.#refuse(Status.badChecksum); // MTF-2
					continue;
				}
				this.cmd0 = frame[2]!;
				this.cmd1 = frame[3]!;
				this.dataLength = wanted - 5;
				this.#taken = wanted;
				this.counters.count(Status.ok);
				return true;
			}
			if (this.#source === undefined || this.#sourceAt === this.#sourceEnd) {
				this.#source = undefined;
				return false;
			}
			const byte = this.#source[this.#sourceAt++]!;
			if (this.#filled === 0 && byte !== MT_START) this.strayByteCount++;
			else frame[this.#filled++] = byte;
		}
	}

	/** Takes one start byte back and looks for the next behind it. */
	#refuse(status: Status): void {
		this.counters.count(status);
		const frame = this.frame;
		let at = 1;
		while (at < this.#filled && frame[at] !== MT_START) at++;
		this.strayByteCount += at;
		this.#drop(at);
	}

	/** Moves what lies behind the first `count` bytes to the front, then skips to a start byte. */
	#drop(count: number): void {
		const frame = this.frame;
		while (count < this.#filled && frame[count] !== MT_START) {
			count++;
			this.strayByteCount++;
		}
		for (let i = count; i < this.#filled; i++) frame[i - count] = frame[i]!;
		this.#filled -= count;
	}
}
