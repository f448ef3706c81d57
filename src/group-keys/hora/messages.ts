import { Status } from "../../bytes/status.js";
import { getUint32 } from "../envelope.js";

/**
 * REKEY (0x04) and REFRESH (0x05), without the interval and MAC that the DC's TESLA chain puts behind: big-endian.
 * | offset | size | field      | unit and range                                                             |
 * |-------:|-----:|------------|----------------------------------------------------------------------------|
 * |      0 |    1 | type       | 0x04, 0x05                                                                 |
 * |      1 |    2 | domain     |                                                                            |
 * |      3 |    1 | tree       | 0 the domain, 1 to 255 a demand-response group                             |
 * |      4 |    2 | epoch      | day                                                                        |
 * |      6 |    4 | g          | generation that this makes                                                 |
 * |     10 |    1 | gd         | generations since the day began                                            |
 * |     11 |    1 | sincePatch | g minus the generation of the patch before; 255: or more                   |
 * |     12 |    1 | count      | slots that follow, at least 1; REFRESH: 1                                  |
 * |     13 | 2 or 3 each | slots | ascending; 3 bytes in a tree of more than 65 536                        |
 * |        |    n | bitmap     | a bit for each touched node, descending heap index, from the highest bit on: it has a ciphertext |
 * |        | 16 each | ciphertexts | r of the node, xor a pad, for each set bit in turn                     |
 * |        |    8 | conf       | KDF(GK_g, "s", H20 of all before)                                          |
 */
export const HoraType = Object.freeze({
	rekey: 0x04,
	refresh: 0x05,
	/** JOIN and CATCHUP have the same content. */
	paths: 0x07,
	/** Not on air: what the meter takes out of a verified beacon. */
	headers: 0x12,
} as const);
export const REKEY_HEADER_BYTES = 13;
export const CONFIRM_BYTES = 8;
export const CIPHERTEXT_BYTES = 16;
/** Generations that a member ticks forward, and the largest value of the one-byte differences. */
export const GENERATIONS_MAX = 255;

export function slotBytes(levels: number): number {
	return levels > 16 ? 3 : 2;
}

export function getSlot(from: Uint8Array, offset: number, size: number): number {
	return size === 2
		? from[offset]! * 256 + from[offset + 1]!
		: from[offset]! * 65_536 + from[offset + 1]! * 256 + from[offset + 2]!;
}

export interface RekeyHeader {
	type: number;
	domain: number;
	tree: number;
	epoch: number;
	g: number;
	gd: number;
	sincePatch: number;
	count: number;
}

export function createRekeyHeader(): RekeyHeader {
	return { type: 0, domain: 0, tree: 0, epoch: 0, g: 0, gd: 0, sincePatch: 0, count: 0 };
}

export function decodeRekeyHeader(from: Uint8Array, byteLength: number, into: RekeyHeader): Status {
	if (byteLength < REKEY_HEADER_BYTES || byteLength > from.length) return Status.badLength; // HRK-1
	const type = from[0]!;
	if (type !== HoraType.rekey && type !== HoraType.refresh) return Status.badKind; // HRK-2
	into.type = type;
	into.domain = from[1]! * 256 + from[2]!;
	into.tree = from[3]!;
	into.epoch = from[4]! * 256 + from[5]!;
	into.g = getUint32(from, 6);
	into.gd = from[10]!;
	into.sincePatch = from[11]!;
	into.count = from[12]!;
	if (into.count < 1 || (type === HoraType.refresh && into.count !== 1)) return Status.badValue; // HRK-3
	return Status.ok;
}

/**
 * JOIN and CATCHUP: the keys of one meter, sealed on its pairwise channel: what that channel's header says (type, domain,
 * epoch), then an entry for each tree.
 * | offset | size | field   | unit and range                                                                |
 * |-------:|-----:|---------|-------------------------------------------------------------------------------|
 * |      0 |    1 | type    | 0x07                                                                          |
 * |      1 |    2 | domain  |                                                                               |
 * |      3 |    2 | epoch   | day                                                                           |
 * |      5 |    n | entries |                                                                               |
 *
 * Entry, 9 + 16 × levels bytes, or 16 more:
 * | offset | size | field | unit and range                                                                  |
 * |-------:|-----:|-------|---------------------------------------------------------------------------------|
 * |      0 |    1 | tree  |                                                                                 |
 * |      1 |    3 | leaf  | heap index of the leaf, slots + slot: says the height of the tree too; bit 23: a leaf key follows |
 * |      4 |    4 | g     |                                                                                 |
 * |      8 |    1 | gd    |                                                                                 |
 * |      9 | 0 or 16 | leafKey | of this gd: for a meter that came into the tree in the middle of a day     |
 * |        | 16 each | path | node keys from the parent of the leaf to the root                            |
 *
 * Departs from HORA section 8, which has slot 2 and Δ* 1 in the same room: a slot alone does not tell the height, and so not
 * where the next entry begins; 2 bytes end at 65 536 slots; and Δ* is of no use to who has just become current.
 */
export const PATHS_HEADER_BYTES = 5;
export const PATHS_ENTRY_BYTES = 9;
export const LEAF_KEY_FOLLOWS = 0x80;

/**
 * Headers of trees, as a verified beacon carries them.
 * | offset | size | field      | unit and range                                    |
 * |-------:|-----:|------------|---------------------------------------------------|
 * |      0 |    1 | type       | 0x12                                              |
 * |      1 |    2 | domain     |                                                   |
 * |      3 |    2 | epoch      | day                                               |
 * |      5 | 7 each | headers  | tree 1, g 4, gd 1, sincePatch 1: g minus that of the newest patch, 255: or more |
 */
export const HEADERS_HEADER_BYTES = 5;
export const HEADERS_ENTRY_BYTES = 7;
