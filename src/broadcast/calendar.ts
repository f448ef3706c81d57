import { Status } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";

/**
 * ANCHOR (0x02): 22 + 16 × levels bytes, big-endian. Says that a day has begun, and which T_0 the head end's chain has.
 * | offset | size | field    | unit and range                                  |
 * |-------:|-----:|----------|-------------------------------------------------|
 * |      0 |    1 | type     | 0x02                                            |
 * |      1 |    2 | domain   |                                                 |
 * |      3 |    2 | epoch    | days since 2000-01-01                           |
 * |      5 |    1 | levels   | siblings that follow                            |
 * |      6 |   16 | chainKey | T_0 of the head end for this day                |
 * |     22 | 16 each | siblings | from the leaf's up to that below the root    |
 */
export const ANCHOR_TYPE = 0x02;
const HASH_BYTES = 16;
const HEADER_BYTES = 22;

export interface Calendar {
	readonly root: Uint8Array;
	readonly firstEpoch: number;
	readonly levels: number;
}

export interface Anchor {
	epoch: number;
	readonly chainKey: Uint8Array;
}

export function createAnchor(): Anchor {
	return { epoch: 0, chainKey: new Uint8Array(HASH_BYTES) };
}

export function verifyAnchor(
	crypto: Crypto,
	calendar: Calendar,
	from: Uint8Array,
	byteLength: number,
	into: Anchor,
): Status {
	const { levels } = calendar;
	if (levels === 0) return Status.notFound;
	if (byteLength !== HEADER_BYTES + HASH_BYTES * levels) return Status.badLength;
	if (from[0] !== ANCHOR_TYPE || from[5] !== levels) return Status.badKind;
	const epoch = from[3]! * 256 + from[4]!;
	let index = epoch - calendar.firstEpoch;
	if (index < 0 || index >= 2 ** levels) return Status.badValue;
	const node = new Uint8Array(2 * HASH_BYTES);
	const context = new Uint8Array([from[3]!, from[4]!, 0]);
	const left = (index & 1) === 0;
	crypto.kdf(from, 6, HASH_BYTES, 0x79, context, 0, 2, node, left ? 0 : HASH_BYTES, HASH_BYTES);
	let at = left ? 0 : HASH_BYTES;
	for (let height = 1; height <= levels; height++) {
		const sibling = HEADER_BYTES + HASH_BYTES * (height - 1);
		for (let i = 0; i < HASH_BYTES; i++) node[HASH_BYTES - at + i] = from[sibling + i]!;
		index >>= 1;
		context[0] = height;
		context[1] = index >> 8;
		context[2] = index;
		at = (index & 1) === 0 || height === levels ? 0 : HASH_BYTES;
		crypto.kdf(node, 0, 2 * HASH_BYTES, 0x7a, context, 0, 3, node, at, HASH_BYTES);
	}
	if (!crypto.equal(node, 0, calendar.root, 0, HASH_BYTES)) return Status.badTag;
	into.epoch = epoch;
	for (let i = 0; i < HASH_BYTES; i++) into.chainKey[i] = from[6 + i]!;
	return Status.ok;
}
