import type { Status } from "../../src/bytes/status.js";
import type { Way } from "../../src/group-keys/scheme.js";

/** A message of a controller: what goes to the members' `stage`, and what it takes on air. */
export interface Outgoing {
	readonly way: Way;
	/** A meter, or -1: all. */
	readonly to: number;
	readonly bytes: Uint8Array;
	/** With the header and tag of the pairwise channel, or the interval and MAC of the broadcast one. */
	readonly airBytes: number;
	/** Units of one wrapped key. */
	readonly ciphertexts: number;
}

/** Who comes into a group. */
export interface Joiner {
	readonly meter: number;
	/** The leaf key of the day, which the meter has derived itself; without it the join carries one. */
	readonly leafKey?: Uint8Array;
}

/** The leaf key of a meter in a group, when a day begins. */
export type LeafKeyOf = (meter: number, group: number, into: Uint8Array, offset: number) => void;

/** The other end of `GroupKeyScheme`: one concentrator's groups. */
export interface GroupController {
	readonly epoch: number;
	generation(group: number): number;
	members(group: number): readonly number[];
	/** A new day. @returns what is sent because of it */
	startDay(epoch: number, leafKeyOf: LeafKeyOf): readonly Outgoing[];
	/** Leaves and joins of one group as one change. */
	change(group: number, leaves: readonly number[], joins: readonly Joiner[]): readonly Outgoing[];
	/** New keys without an eviction; `meter` is whose keys are in doubt. */
	refresh(group: number, meter: number): readonly Outgoing[];
	/** What brings a meter up to date that missed messages. Empty: the scheme has no such thing. */
	catchUp(meter: number): readonly Outgoing[];
	exportKey(group: number, generation: number, label: Uint8Array, into: Uint8Array): Status;
}

/** Header 10 and tag 8 of a message on the pairwise channel. */
export const PAIRWISE_BYTES = 18;
/** Interval 2 and MAC 10 of a message under a TESLA chain. */
export const TESLA_BYTES = 12;
