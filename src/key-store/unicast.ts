import { InvariantError, Status } from "../bytes/status.js";
import { type Aead, type Crypto, ZERO_NONCE } from "../crypto/crypto.js";
import type { Branch, Direction } from "./chains.js";

/**
 * Unicast header: 10 bytes, big-endian, before the sealed content and its tag of 8 bytes (AES-128-CCM, nonce zero, a key
 * for each message). Associated data is the header, the meter's id (8 bytes, not sent) and what the message's own type
 * adds (a nonce of an earlier request).
 * | offset | size | field        | unit and range                                                                   |
 * |-------:|-----:|--------------|----------------------------------------------------------------------------------|
 * |      0 |    1 | type         | 0x07 to 0x11: what the content is; not looked at here                            |
 * |      1 |    2 | domain       | of the concentrator                                                              |
 * |      3 |    2 | shortAddress | of the meter in its domain                                                       |
 * |      5 |    2 | epoch        | day of the chain                                                                 |
 * |      7 |    2 | index        | in the chain, 0 to 65 534                                                        |
 * |      9 |    1 | flags        | bit 0: branch, 0 end to end, 1 neighbourhood; bit 1: direction, 0 up, 1 down; else 0 |
 * |     10 |    n | content      | sealed                                                                           |
 * | 10 + n |    8 | tag          |                                                                                  |
 */
export const UNICAST_HEADER_BYTES = 10;
export const UNICAST_TAG_BYTES = 8;
export const UNICAST_OVERHEAD_BYTES = UNICAST_HEADER_BYTES + UNICAST_TAG_BYTES;
export const METER_ID_BYTES = 8;
/** The most that a message type adds to the associated data. */
export const BOUND_BYTES_MAX = 16;
const BOUND_AT = UNICAST_HEADER_BYTES + METER_ID_BYTES;

const FLAG_NEIGHBOURHOOD = 1;
const FLAG_DOWN = 2;

/** Message types in this header (HORA section 8). */
export const UnicastType = Object.freeze({
	/** Meter to concentrator: which head do you remember? */
	catchUpRequest: 0x06,
	catchUp: 0x07,
	/** Meter to head-end. */
	data: 0x08,
	/** Head-end to meter. */
	command: 0x09,
	/** Meter to head-end, and back. */
	timeRequest: 0x0a,
	time: 0x0b,
	/** Head-end to meter: another concentrator. The key store does what it says. */
	attach: 0x10,
	/** Meter to concentrator, and back: HORA's table has no general message on the N branch. */
	neighbour: 0x11,
} as const);

export interface UnicastHeader {
	type: number;
	domain: number;
	shortAddress: number;
	epoch: number;
	index: number;
	branch: Branch;
	direction: Direction;
}

export function createUnicastHeader(): UnicastHeader {
	return { type: 0, domain: 0, shortAddress: 0, epoch: 0, index: 0, branch: 0, direction: 0 };
}

/** The last byte of the header. */
export function unicastFlags(branch: Branch, direction: Direction): number {
	return branch * FLAG_NEIGHBOURHOOD + direction * FLAG_DOWN;
}

export function encodeUnicastHeader(header: UnicastHeader, into: Uint8Array): void {
	into[0] = header.type;
	into[1] = header.domain >> 8;
	into[2] = header.domain;
	into[3] = header.shortAddress >> 8;
	into[4] = header.shortAddress;
	into[5] = header.epoch >> 8;
	into[6] = header.epoch;
	into[7] = header.index >> 8;
	into[8] = header.index;
	into[9] = unicastFlags(header.branch, header.direction);
}

export function decodeUnicastHeader(from: Uint8Array, byteLength: number, into: UnicastHeader): Status {
	if (!(byteLength >= UNICAST_OVERHEAD_BYTES && byteLength <= from.length)) return Status.badLength; // UNI-1
	const flags = from[9]!;
	if (flags > (FLAG_NEIGHBOURHOOD | FLAG_DOWN)) return Status.badValue; // UNI-2
	into.type = from[0]!;
	into.domain = (from[1]! << 8) | from[2]!;
	into.shortAddress = (from[3]! << 8) | from[4]!;
	into.epoch = (from[5]! << 8) | from[6]!;
	into.index = (from[7]! << 8) | from[8]!;
	into.branch = (flags & FLAG_NEIGHBOURHOOD) === 0 ? 0 : 1;
	into.direction = (flags & FLAG_DOWN) === 0 ? 0 : 1;
	return Status.ok;
}

/**
 * Seals and opens one message under one message key; the cipher forgets the key at once. Of one peer: what is the same in
 * each of its messages stands ready.
 */
export class UnicastSeal {
	readonly #ccm: Aead;
	/** Associated data: header, id, and what the type adds. */
	readonly #bound = new Uint8Array(BOUND_AT + BOUND_BYTES_MAX);
	readonly #view = new DataView(this.#bound.buffer);
	readonly #headerBytes = this.#bound.subarray(0, UNICAST_HEADER_BYTES);

	constructor(crypto: Crypto) {
		this.#ccm = crypto.createCcm(ZERO_NONCE.length, UNICAST_TAG_BYTES);
	}

	/** The meter at the one or the other end. @param id 8 bytes at `idOffset`, copied */
	setMeter(id: Uint8Array, idOffset: number, domain: number, shortAddress: number): void {
		for (let i = 0; i < METER_ID_BYTES; i++) this.#bound[UNICAST_HEADER_BYTES + i] = id[idOffset + i]!;
		this.#view.setUint16(1, domain);
		this.#view.setUint16(3, shortAddress);
	}

	/** Writes header, sealed content and tag: byteLength + 18 bytes. @returns `ok`, or `badLength` for 64 KiB and more */
	seal(
		type: number,
		epoch: number,
		index: number,
		flags: number,
		bound: Uint8Array,
		key: Uint8Array,
		keyOffset: number,
		message: Uint8Array,
		byteLength: number,
		into: Uint8Array,
	): Status {
		const ccm = this.#ccm;
		const associated = this.#bound;
		const boundBytes = this.#bind(type, epoch, index, flags, bound);
		into.set(this.#headerBytes);
		ccm.setKey(key, keyOffset);
		const at = UNICAST_HEADER_BYTES;
		const status = ccm.seal(ZERO_NONCE, 0, associated, 0, boundBytes, message, 0, byteLength, into, at);
		ccm.close();
		return status;
	}

	/**
	 * Writes byteLength - 18 bytes.
	 * @param header as `decodeUnicastHeader` gave it, of this meter's domain and address
	 * @returns `ok`; `badTag`, and zeros are written
	 */
	open(
		sealed: Uint8Array,
		byteLength: number,
		header: UnicastHeader,
		bound: Uint8Array,
		key: Uint8Array,
		keyOffset: number,
		into: Uint8Array,
	): Status {
		const ccm = this.#ccm;
		const flags = unicastFlags(header.branch, header.direction);
		const boundBytes = this.#bind(header.type, header.epoch, header.index, flags, bound);
		ccm.setKey(key, keyOffset);
		const at = UNICAST_HEADER_BYTES;
		const status = ccm.open(ZERO_NONCE, 0, this.#bound, 0, boundBytes, sealed, at, byteLength - at, into, 0);
		ccm.close();
		return status;
	}

	#bind(type: number, epoch: number, index: number, flags: number, bound: Uint8Array): number {
		const into = this.#bound;
		const view = this.#view;
		const { length } = bound;
		into[0] = type;
		view.setUint16(5, epoch);
		view.setUint16(7, index);
		into[9] = flags;
		if (length === 0) return BOUND_AT;
		if (length > BOUND_BYTES_MAX) throw new InvariantError("too much associated data");
		into.set(bound, BOUND_AT);
		return BOUND_AT + length;
	}
}
