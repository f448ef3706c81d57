import type { Status } from "../bytes/status.js";

/** Where the leaf keys of a day come from, while its value is at hand. */
export interface LeafKeys {
	/**
	 * L_0 of a tree for the day that is staged.
	 * @param into receives 16 bytes, in an array for secrets
	 * @returns `ok`, or `notFound` when no day is staged
	 */
	deriveLeafKey(tree: number, into: Uint8Array, offset: number): Status;
}

/**
 * Who keeps a part of the key record beside the unicast keys: a group key scheme. Its bytes travel in every commit, so
 * that a day and its leaf keys, or a new concentrator and the end of the old one's trees, are one change. It owns its
 * memory; the store has no copy. `stage…` and `abort` come in pairs with a commit, nothing in between.
 */
export interface RecordPart {
	/** The most that `encodeStaged` writes, at most `RECORD_PART_BYTES_MAX`. A later firmware may raise it, never lower it. */
	readonly byteLengthMax: number;
	/**
	 * A day begins: derive its leaf keys now, and stage them.
	 * @param isNew by new keys or under a new concentrator: everything that was known before is void
	 */
	stageDay(epoch: number, keys: LeafKeys, isNew: boolean): void;
	/** Writes what is staged, or the present state when nothing is. @returns bytes written */
	encodeStaged(into: DataView): number;
	/** What is staged is durable, the old is erased: it takes the old one's place. Cannot fail. */
	commit(): void;
	/** What is staged was not written: it is wiped. */
	abort(): void;
	/**
	 * What was written last. `from` is wiped after the call. A status other than `ok` keeps the store closed.
	 * @param byteLength 0: nothing is held, and everything is wiped
	 */
	restore(from: DataView, byteLength: number): Status;
}

/** 1 024 slots and three groups of 256 need 672 bytes of secrets and their counters. */
export const RECORD_PART_BYTES_MAX = 768;
