import { Status } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import { Label } from "./labels.js";

/**
 * ANCHOR (0x02): 22 + 16 × levels bytes, big-endian. Says that a day has begun, and which T_0 the head end's chain has.
 * | offset | size | field    | unit and range                                                             |
 * |-------:|-----:|----------|----------------------------------------------------------------------------|
 * |      0 |    1 | type     | 0x02                                                                       |
 * |      1 |    2 | domain   | not bound: the calendar is the same everywhere                             |
 * |      3 |    2 | epoch    | days since 2000-01-01                                                      |
 * |      5 |    1 | levels   | siblings that follow: the height of the tree, or 4 in the short form       |
 * |      6 |   16 | chainKey | T_0 of the head end for this day                                           |
 * |     22 | 16 each | siblings | from the leaf's up to that below the root, of the calendar or the block |
 */
export const ANCHOR_TYPE = 0x02;
export const HASH_BYTES = 16;
export const ANCHOR_HEADER_BYTES = 22;
const CHAIN_KEY = 6;
/** The short form: a proof up to the root of 16 days, for meters that hold it. */
export const BLOCK_LEVELS = 4;
export const CALENDAR_LEVELS_MAX = 16;
export const ANCHOR_BYTES_MAX = ANCHOR_HEADER_BYTES + HASH_BYTES * CALENDAR_LEVELS_MAX;
const NO_BLOCK = -1;

/** What was provisioned. The highest tree that an index of two bytes reaches has 16 levels; HORA's has 14. */
export interface Calendar {
	/** 16 bytes. */
	readonly root: Uint8Array;
	/** Day of leaf 0. */
	readonly firstEpoch: number;
	/** 0: there is none. */
	readonly levels: number;
}

/** The last verified anchor, the root of its block, and the room to verify the next: 99 bytes of arrays. */
export interface Anchor {
	epoch: number;
	/** T_0, 16 bytes. */
	readonly chainKey: Uint8Array;
	/** Which 16 days `blockRoot` is the root of, counted from leaf 0; -1: none is held. */
	block: number;
	readonly blockRoot: Uint8Array;
	/** Root of the calendar that the block was proven with. */
	readonly calendarRoot: Uint8Array;
	readonly node: Uint8Array;
	readonly stagedBlock: Uint8Array;
	readonly context: Uint8Array;
}

export function createAnchor(): Anchor {
	return {
		epoch: 0,
		chainKey: new Uint8Array(HASH_BYTES),
		block: NO_BLOCK,
		blockRoot: new Uint8Array(HASH_BYTES),
		calendarRoot: new Uint8Array(HASH_BYTES),
		node: new Uint8Array(2 * HASH_BYTES),
		stagedBlock: new Uint8Array(HASH_BYTES),
		context: new Uint8Array(3),
	};
}

function copy(into: Uint8Array, from: Uint8Array, offset: number): void {
	for (let i = 0; i < HASH_BYTES; i++) into[i] = from[offset + i]!;
}

/**
 * Checks an ANCHOR: 1 + levels compressions, 5 in the short form. Whether the day has begun is for the caller to know
 * (docs/DESIGN-SECURED-CHANNEL.md).
 * @param into takes epoch, T_0 and the root of the block after `ok`, and is else as it was
 * @returns `ok`; `notFound` without a calendar, or for a short form of a block that is not held; `badLength`; `badKind`;
 * `badValue`; `badTag`
 * @see HORA section 7, 1
 */
export function verifyAnchor(
	crypto: Crypto,
	calendar: Calendar,
	from: Uint8Array,
	byteLength: number,
	into: Anchor,
): Status {
	const { levels } = calendar;
	if (levels === 0) return Status.notFound; // CAL-1
	if (byteLength < ANCHOR_HEADER_BYTES) return Status.badLength; // CAL-2
	const siblings = from[5]!;
	if (from[0] !== ANCHOR_TYPE) return Status.badKind; // CAL-3
	if (byteLength !== ANCHOR_HEADER_BYTES + HASH_BYTES * siblings) return Status.badLength; // CAL-4
	const isShort = siblings === BLOCK_LEVELS && levels > BLOCK_LEVELS;
	if (siblings !== levels && !isShort) return Status.badValue; // CAL-5
	const epoch = from[3]! * 256 + from[4]!;
	const leaf = epoch - calendar.firstEpoch;
	if (leaf < 0 || leaf >= 2 ** levels) return Status.badValue; // CAL-6
	const block = leaf >> BLOCK_LEVELS;
	const isHeld = into.block === block && crypto.equal(into.calendarRoot, 0, calendar.root, 0, HASH_BYTES);
	if (isShort && !isHeld) return Status.notFound; // CAL-7
	climb(crypto, from, siblings, leaf, into);
	const root = isShort ? into.blockRoot : calendar.root;
	if (!crypto.equal(into.node, 0, root, 0, HASH_BYTES)) return Status.badTag; // CAL-8
	into.epoch = epoch;
	copy(into.chainKey, from, CHAIN_KEY);
	if (!isShort && levels > BLOCK_LEVELS) {
		into.block = block;
		copy(into.blockRoot, into.stagedBlock, 0);
		copy(into.calendarRoot, calendar.root, 0);
	}
	return Status.ok;
}

/** From the leaf to the node above the last sibling, which is left in `work.node`; that of the block is kept in passing. */
function climb(crypto: Crypto, from: Uint8Array, siblings: number, leaf: number, work: Anchor): void {
	const { node, context } = work;
	let index = leaf;
	// Each result is written to the side of the pair that its index says; the last one goes to the left.
	let at = siblings > 0 && (index & 1) === 1 ? HASH_BYTES : 0;
	context[0] = from[3]!;
	context[1] = from[4]!;
	crypto.kdf(from, CHAIN_KEY, HASH_BYTES, Label.calendarLeaf, context, 0, 2, node, at, HASH_BYTES);
	for (let height = 1; height <= siblings; height++) {
		const sibling = ANCHOR_HEADER_BYTES + HASH_BYTES * (height - 1);
		for (let i = 0; i < HASH_BYTES; i++) node[HASH_BYTES - at + i] = from[sibling + i]!;
		index >>= 1;
		context[0] = height;
		context[1] = index >> 8;
		context[2] = index;
		at = height < siblings && (index & 1) === 1 ? HASH_BYTES : 0;
		crypto.kdf(node, 0, 2 * HASH_BYTES, Label.calendarNode, context, 0, 3, node, at, HASH_BYTES);
		if (height === BLOCK_LEVELS) copy(work.stagedBlock, node, at);
	}
}

/**
 * ANCHOR-REQ (0x03): 6 bytes, big-endian. For links without retained messages; answered by an ANCHOR to all, at most one
 * an interval. Departs from HORA section 8, whose byte for the block cannot name one of 1024.
 * | offset | size | field  | unit and range                                                         |
 * |-------:|-----:|--------|------------------------------------------------------------------------|
 * |      0 |    1 | type   | 0x03                                                                   |
 * |      1 |    2 | domain |                                                                        |
 * |      3 |    2 | epoch  | of the last verified anchor                                            |
 * |      5 |    1 | block  | 1: the root of the block of that epoch is held; 0: the long form, please |
 */
export const ANCHOR_REQUEST_TYPE = 0x03;
export const ANCHOR_REQUEST_BYTES = 6;

export interface AnchorRequest {
	domain: number;
	epoch: number;
	holdsBlock: boolean;
}

/** @returns bytes written */
export function encodeAnchorRequest(domain: number, anchor: Anchor, into: Uint8Array): number {
	into[0] = ANCHOR_REQUEST_TYPE;
	into[1] = domain >> 8;
	into[2] = domain;
	into[3] = anchor.epoch >> 8;
	into[4] = anchor.epoch;
	into[5] = anchor.block === NO_BLOCK ? 0 : 1;
	return ANCHOR_REQUEST_BYTES;
}

export function decodeAnchorRequest(from: Uint8Array, byteLength: number, into: AnchorRequest): Status {
	if (byteLength !== ANCHOR_REQUEST_BYTES) return Status.badLength; // CAL-9
	if (from[0] !== ANCHOR_REQUEST_TYPE) return Status.badKind; // CAL-10
	if (from[5]! > 1) return Status.badValue; // CAL-11
	into.domain = from[1]! * 256 + from[2]!;
	into.epoch = from[3]! * 256 + from[4]!;
	into.holdsBlock = from[5] === 1;
	return Status.ok;
}
