import { InvariantError, Status } from "../bytes/status.js";
import { getUint32 } from "./envelope.js";
import { DOMAIN_GROUP, GROUP_KEY_BYTES, type GroupSizes } from "./scheme.js";

/**
 * State of a member in the key record: 4 bytes, then one record for each group, the domain first. Big-endian.
 * | offset | size | field  | unit and range                                                               |
 * |-------:|-----:|--------|------------------------------------------------------------------------------|
 * |      0 |    1 | scheme | see `SchemeNumber`                                                           |
 * |      1 |    1 | count  | records that follow                                                          |
 * |      2 |    2 | epoch  | day of the leaf keys                                                         |
 *
 * Record of a group, 44 + 16 × levels bytes:
 * | offset | size | field      | unit and range                                                           |
 * |-------:|-----:|------------|--------------------------------------------------------------------------|
 * |      0 |    1 | group      | 0 the domain                                                             |
 * |      1 |    1 | flags      | bit 0: a leaf key is held; bit 1: joined                                 |
 * |      2 |    4 | leaf       | heap index of the own leaf, which also says the tree's height; star: slot |
 * |      6 |    4 | generation |                                                                          |
 * |     10 |    1 | ofDay      | generations since the leaf key was that of the day's start; star: 0      |
 * |     11 |    1 | olderBy    | generations from the older group key to this, 0: none is held            |
 * |     12 |   16 | leafKey    |                                                                          |
 * |     28 |   16 | older      | older group key                                                          |
 * |     44 | 16 × levels | path | keys that the scheme holds for each level, from the leaf up             |
 */
export const STATE_HEADER_BYTES = 4;
export const RECORD_BYTES = 44;
export const Field = Object.freeze({
	group: 0,
	flags: 1,
	leaf: 2,
	generation: 6,
	ofDay: 10,
	olderBy: 11,
	leafKey: 12,
	older: 28,
	path: 44,
} as const);
export const FLAG_LEAF = 1;
export const FLAG_JOINED = 2;

/** Levels above a leaf of a heap-ordered tree: root 1, children of v from arity × v - arity + 2 on. */
export function levelsOf(arity: number, leaf: number): number {
	let levels = 0;
	for (let node = leaf; node > 1; node = parentOf(arity, node)) levels++;
	return levels;
}

export function parentOf(arity: number, node: number): number {
	return Math.floor((node + arity - 2) / arity);
}

/** Levels that a tree of so many slots needs. */
export function levelsFor(arity: number, slots: number): number {
	let levels = 0;
	for (let reach = 1; reach < slots; reach *= arity) levels++;
	return levels;
}

/** Heap index of the first leaf of a tree of so many levels. */
export function firstLeafOf(arity: number, levels: number): number {
	return 1 + (arity ** levels - 1) / (arity - 1);
}

/**
 * The keys of all groups of one member in one array, twice: the present state and the staged one, which change places at
 * `commit`. Neither ever moves, and the one that is not in use is zeros.
 */
export class PathStore {
	readonly bytes: Uint8Array;
	readonly #scheme: number;
	readonly #arity: number;
	readonly #stateBytes: number;
	readonly #domainLevels: number;
	readonly #groupLevels: number;
	readonly #count: number;
	readonly #workBytes: number;
	#now = 0;
	#isStaged = false;

	/**
	 * @param arity 0: there are no trees, and `leaf` is a number
	 * @param workBytes secret working memory for the scheme, at `workAt`
	 */
	constructor(scheme: number, arity: number, sizes: GroupSizes, workBytes: number) {
		this.#scheme = scheme;
		this.#arity = arity;
		this.#domainLevels = arity === 0 ? 0 : levelsFor(arity, sizes.domainSlotsMax);
		this.#groupLevels = arity === 0 ? 0 : levelsFor(arity, sizes.groupSlotsMax);
		this.#count = 1 + sizes.groupsMax;
		this.#workBytes = workBytes;
		const domain = RECORD_BYTES + GROUP_KEY_BYTES * this.#domainLevels;
		const group = RECORD_BYTES + GROUP_KEY_BYTES * this.#groupLevels;
		this.#stateBytes = STATE_HEADER_BYTES + domain + sizes.groupsMax * group;
		this.bytes = new Uint8Array(2 * this.#stateBytes + workBytes);
		this.bytes[0] = scheme;
		this.bytes[this.#stateBytes] = scheme;
	}

	/** The most that one state takes in the key record. */
	get stateBytes(): number {
		return this.#stateBytes;
	}

	get workAt(): number {
		return 2 * this.#stateBytes;
	}

	get isStaged(): boolean {
		return this.#isStaged;
	}

	/** Where the present state begins. */
	get now(): number {
		return this.#now;
	}

	/** Where the staged state begins. */
	get next(): number {
		return this.#stateBytes - this.#now;
	}

	get recordCount(): number {
		return this.#count;
	}

	/** Levels that a record has room for. */
	levelsMax(group: number): number {
		return group === DOMAIN_GROUP ? this.#domainLevels : this.#groupLevels;
	}

	/** Where record `index` of a state begins; 0 is the domain's. */
	record(state: number, index: number): number {
		if (index === 0) return state + STATE_HEADER_BYTES;
		const domain = RECORD_BYTES + GROUP_KEY_BYTES * this.#domainLevels;
		const group = RECORD_BYTES + GROUP_KEY_BYTES * this.#groupLevels;
		return state + STATE_HEADER_BYTES + domain + (index - 1) * group;
	}

	/** The record of a group that has a leaf key or is joined. @returns where it begins, or -1 */
	find(state: number, group: number): number {
		const { bytes } = this;
		if (group === DOMAIN_GROUP) return this.record(state, 0);
		for (let i = 1; i < this.#count; i++) {
			const at = this.record(state, i);
			if (bytes[at + Field.group] === group && bytes[at + Field.flags] !== 0) return at;
		}
		return -1;
	}

	/** The record of a group in which this member has keys. @returns where it begins, or -1 */
	findJoined(state: number, group: number): number {
		const at = this.find(state, group);
		return at >= 0 && (this.bytes[at + Field.flags]! & FLAG_JOINED) !== 0 ? at : -1;
	}

	/** A free record for a group, marked with its number. @returns where it begins, or -1: all are taken */
	allocate(state: number, group: number): number {
		const { bytes } = this;
		for (let i = 1; i < this.#count; i++) {
			const at = this.record(state, i);
			if (bytes[at + Field.flags] !== 0) continue;
			bytes[at + Field.group] = group;
			return at;
		}
		return -1;
	}

	levelsAt(record: number): number {
		return this.#arity === 0 ? 0 : levelsOf(this.#arity, getUint32(this.bytes, record + Field.leaf));
	}

	/** Wipes record `index` of a state: it is free. */
	clear(state: number, index: number): void {
		const levels = index === 0 ? this.#domainLevels : this.#groupLevels;
		const at = this.record(state, index);
		this.bytes.fill(0, at, at + RECORD_BYTES + GROUP_KEY_BYTES * levels);
	}

	epoch(state: number): number {
		return this.bytes[state + 2]! * 256 + this.bytes[state + 3]!;
	}

	setEpoch(state: number, epoch: number): void {
		this.bytes[state + 2] = epoch >> 8;
		this.bytes[state + 3] = epoch;
	}

	/** The staged state begins as a copy of the present one. @returns where it begins */
	begin(): number {
		if (this.#isStaged) throw new InvariantError("a change is staged already");
		this.#isStaged = true;
		this.bytes.copyWithin(this.next, this.#now, this.#now + this.#stateBytes);
		return this.next;
	}

	commit(): void {
		if (this.#isStaged) this.#now = this.next;
		this.abort();
	}

	abort(): void {
		this.#isStaged = false;
		const { next } = this;
		this.bytes.fill(0, next + 1, next + this.#stateBytes);
		this.bytes[next] = this.#scheme;
		this.wipeWork();
	}

	wipeWork(): void {
		this.bytes.fill(0, this.workAt, this.workAt + this.#workBytes);
	}

	encodeStaged(into: DataView): number {
		const { bytes } = this;
		const state = this.#isStaged ? this.next : this.#now;
		into.setUint8(0, this.#scheme);
		into.setUint16(2, this.epoch(state));
		let count = 0;
		let written = STATE_HEADER_BYTES;
		for (let i = 0; i < this.#count; i++) {
			const at = this.record(state, i);
			if (bytes[at + Field.flags] === 0) continue;
			count++;
			const byteLength = RECORD_BYTES + GROUP_KEY_BYTES * this.levelsAt(at);
			for (let k = 0; k < byteLength; k++) into.setUint8(written + k, bytes[at + k]!);
			written += byteLength;
		}
		into.setUint8(1, count);
		return written;
	}

	restore(from: DataView, byteLength: number): Status {
		this.#isStaged = false;
		this.bytes.fill(0);
		this.bytes[0] = this.#scheme;
		this.bytes[this.#stateBytes] = this.#scheme;
		this.#now = 0;
		if (byteLength === 0) return Status.ok;
		const status = this.#read(from, byteLength);
		if (status !== Status.ok) {
			this.bytes.fill(0);
			this.bytes[0] = this.#scheme;
			this.bytes[this.#stateBytes] = this.#scheme;
		}
		return status;
	}

	#read(from: DataView, byteLength: number): Status {
		const { bytes } = this;
		if (byteLength < STATE_HEADER_BYTES) return Status.badLength; // GKS-1
		if (from.getUint8(0) !== this.#scheme) return Status.unsupported; // GKS-2
		this.setEpoch(0, from.getUint16(2));
		let read = STATE_HEADER_BYTES;
		for (let count = from.getUint8(1); count > 0; count--) {
			if (byteLength - read < RECORD_BYTES) return Status.badLength; // GKS-3
			const group = from.getUint8(read + Field.group);
			const flags = from.getUint8(read + Field.flags);
			if (flags < 1 || flags > (FLAG_LEAF | FLAG_JOINED)) return Status.corrupt; // GKS-4
			const leaf = from.getUint32(read + Field.leaf);
			const levels = this.#arity === 0 ? 0 : levelsOf(this.#arity, leaf);
			if (levels > this.levelsMax(group)) return Status.storageFull; // GKS-5
			const size = RECORD_BYTES + GROUP_KEY_BYTES * levels;
			if (byteLength - read < size) return Status.badLength; // GKS-6
			const known = this.find(0, group);
			const isTwice = known >= 0 && bytes[known + Field.flags] !== 0;
			if (isTwice) return Status.corrupt; // GKS-7
			const at = group === DOMAIN_GROUP ? known : this.allocate(0, group);
			if (at < 0) return Status.storageFull; // GKS-8
			for (let k = 0; k < size; k++) bytes[at + k] = from.getUint8(read + k);
			read += size;
		}
		return read === byteLength ? Status.ok : Status.badLength; // GKS-9
	}
}
