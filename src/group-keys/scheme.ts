import type { Status } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";

/** Bytes of every key that a scheme hands down. */
export const GROUP_KEY_BYTES = 16;
/** Group 0 is the whole domain, whose key is the broadcast key; 1 to 255 are demand-response groups. */
export const DOMAIN_GROUP = 0;

/** Scheme numbers of the envelope (key-management.md section 3). A released number never changes its meaning. */
export const SchemeNumber = Object.freeze({
	star: 0x01,
	lkh: 0x02,
	lkhPlus: 0x03,
	oft: 0x04,
	ofc: 0x05,
	liu2013: 0x2b,
	dlms: 0x40,
	matter: 0x41,
	subsetDifference: 0x42,
	completeSubtree: 0x43,
	hora: 0x60,
} as const);

/** How a message came, and so what is known of its sender. */
export const Way = Object.freeze({
	/** Everyone hears it. From the concentrator, where the scheme's transport proves so (HORA: its TESLA MAC held). */
	broadcast: 0,
	/** The opened content of a message on the pairwise channel of this meter and its concentrator. */
	unicast: 1,
} as const);
export type Way = (typeof Way)[keyof typeof Way];

/** Where leaf keys come from, while a day's value is at hand. `KeyStore` of src/key-store is one. */
export interface LeafSource {
	/** @param into receives 16 bytes @returns `ok`, or `notFound` when no day is staged */
	deriveLeafKey(tree: number, into: Uint8Array, offset: number): Status;
}

/** What a meter reserves for at start. */
export interface GroupSizes {
	/** The address of this meter's concentrator. */
	readonly domain: number;
	/** Most slots of the domain, and of a group: powers of two. */
	readonly domainSlotsMax: number;
	readonly groupSlotsMax: number;
	/** Most groups besides the domain. */
	readonly groupsMax: number;
}

/**
 * The member side of a group key scheme. A change is staged, written by the key store as part of its record, and then
 * committed: flash and memory never know different keys. It owns its memory, all of it reserved by the constructor.
 */
export interface GroupKeyScheme {
	readonly schemeNumber: number;
	/** All memory of keys and their counters, staged ones included, reserved once at start. */
	readonly memberStateBytes: number;
	/** The most that `encodeStaged` writes. */
	readonly stagedBytesMax: number;
	/** Day of the leaf keys; 0 where the scheme has none. */
	readonly epoch: number;
	/** The newest generation of a group of which this member holds the key, or -1. */
	generation(group: number): number;
	/**
	 * A day begins: leaf keys are derived now, while they can be.
	 * @param isNew by new keys or under another concentrator: all that was known before is void
	 */
	stageDay(epoch: number, keys: LeafSource, isNew: boolean): void;
	/**
	 * Checks everything, changes nothing. After `ok` comes `encodeStaged`, then `commit` or `abort`.
	 * @returns `ok`; `replayed` for what is known already; `outOfOrder` when something before it was missed, and only a
	 *   catch-up helps; `notFound` for a group this meter is not in; `notAuthorised` when the message evicts this very
	 *   meter; `badTag` when the keys that it leads to are not those of the sender; `busy` while something is staged
	 */
	stage(way: Way, message: Uint8Array, byteLength: number): Status;
	/** Writes what is staged, or the present state when nothing is: what the key store puts on flash. @returns bytes */
	encodeStaged(into: DataView): number;
	/** What is staged takes the old one's place, which is wiped. Cannot fail; generations move here and nowhere else. */
	commit(): void;
	/** What is staged is wiped. */
	abort(): void;
	/** What was written last. @param byteLength 0: nothing is held, all is wiped @returns `ok`, or why not: nothing held */
	restore(from: DataView, byteLength: number): Status;
	/**
	 * A key below the group key: KDF(group key of that generation, label). Copies; never hands out the group key.
	 * @param label the label's byte, then up to 22 of context
	 * @returns `ok`, or `notFound` when no such group or generation is held
	 */
	exportKey(group: number, generation: number, label: Uint8Array, into: Uint8Array): Status;
}

/** A line of the registry. */
export interface SchemeEntry {
	readonly number: number;
	readonly name: string;
	create(crypto: Crypto, sizes: GroupSizes): GroupKeyScheme;
}
