import { InvariantError } from "../../../src/bytes/status.js";
import { type Crypto, NO_BYTES } from "../../../src/crypto/crypto.js";
import { setUint32 } from "../../../src/group-keys/envelope.js";
import { TreeLabel } from "../../../src/group-keys/hora/labels.js";
import {
	CIPHERTEXT_BYTES,
	CONFIRM_BYTES,
	GENERATIONS_MAX,
	HoraType,
	REKEY_HEADER_BYTES,
	slotBytes,
} from "../../../src/group-keys/hora/messages.js";

const KEY = 16;
const DIGEST_BYTES = 20;
/** A node's key is never more generations behind than its one-byte stamp can tell. */
const LAG_MAX = 250;

/** Fresh secrets of a generation, 16 bytes each. */
export type Random = (into: Uint8Array, offset: number) => void;

/** A REKEY or REFRESH, and what it costs. */
export interface Patch {
	readonly message: Uint8Array;
	readonly ciphertexts: number;
}

/**
 * The controller's side of one HORA tree: keys in typed arrays, 34.25 bytes a slot. Ticks are owed and paid when a node is
 * looked at, or in idle time by `settle`; so one eviction touches 2h nodes of however many. The price: what lies in the
 * concentrator's memory may be older than the present generation, until it is settled. Members never owe a tick.
 */
export class HoraTree {
	readonly tree: number;
	readonly levels: number;
	readonly slots: number;
	/** Keys in heap order: inner nodes, then leaves. */
	readonly keys: Uint8Array;
	/** Generation, modulo 256, at which the key of a node was right. */
	readonly stamps: Uint8Array;
	/** A bit for each node: it has members. */
	readonly occupied: Uint8Array;
	g = 0;
	gd = 0;
	lastPatch = 0;
	/** The generation up to which all nodes are settled. */
	#settled = 0;
	#sweep = 1;
	#sweepTo = 0;
	readonly #crypto: Crypto;
	readonly #work = new Uint8Array(64);
	readonly #context = new Uint8Array(8);
	#r = new Uint8Array(64 * KEY);

	constructor(crypto: Crypto, tree: number, levels: number) {
		if (!(levels >= 1 && levels <= 22)) throw new InvariantError("a tree has 2 to 4 194 304 slots");
		this.#crypto = crypto;
		this.tree = tree;
		this.levels = levels;
		this.slots = 2 ** levels;
		this.keys = new Uint8Array(2 * this.slots * KEY);
		this.stamps = new Uint8Array(2 * this.slots);
		this.occupied = new Uint8Array(Math.ceil((2 * this.slots) / 8));
	}

	/** New keys for all inner nodes, as after an ATTACH. */
	start(random: Random): void {
		for (let node = 1; node < this.slots; node++) random(this.keys, KEY * node);
	}

	/** Goes on from arrays that were settled at generation `g`. */
	resume(g: number, gd: number, lastPatch: number): void {
		this.g = g;
		this.gd = gd;
		this.lastPatch = lastPatch;
		this.#settled = g;
	}

	get memoryBytes(): number {
		return this.keys.length + this.stamps.length + this.occupied.length;
	}

	isOccupied(node: number): boolean {
		return ((this.occupied[node >> 3]! >> (node & 7)) & 1) === 1;
	}

	/** The first slot without a member from `from` on, or -1. */
	freeSlot(from = 0): number {
		for (let slot = from; slot < this.slots; slot++) if (!this.isOccupied(this.slots + slot)) return slot;
		return -1;
	}

	#occupy(slot: number, isMember: boolean): void {
		for (let node = this.slots + slot; node >= 1; node >>= 1) {
			const is = node >= this.slots ? isMember : this.isOccupied(2 * node) || this.isOccupied(2 * node + 1);
			const bit = 1 << (node & 7);
			this.occupied[node >> 3] = is ? this.occupied[node >> 3]! | bit : this.occupied[node >> 3]! & ~bit;
		}
	}

	#kdf(key: Uint8Array, at: number, keyBytes: number, label: number, into: Uint8Array, intoAt: number): void {
		this.#crypto.kdf(key, at, keyBytes, label, NO_BYTES, 0, 0, into, intoAt, KEY);
	}

	/** Pays a node's ticks. @returns where its key lies */
	#settleNode(node: number): number {
		const at = KEY * node;
		for (let lag = (this.g - this.stamps[node]!) & 255; lag > 0; lag--)
			this.#kdf(this.keys, at, KEY, TreeLabel.tick, this.keys, at);
		this.stamps[node] = this.g;
		return at;
	}

	/** Pays the ticks of at most `count` nodes, in idle time. @returns whether some are still owed */
	settle(count: number): boolean {
		if (this.#settled === this.g) return false;
		if (this.#sweep === 1) this.#sweepTo = this.g;
		const end = Math.min(2 * this.slots, this.#sweep + count);
		for (; this.#sweep < end; this.#sweep++)
			if (this.#sweep < this.slots || this.isOccupied(this.#sweep)) this.#settleNode(this.#sweep);
			else this.stamps[this.#sweep] = this.g;
		if (this.#sweep < 2 * this.slots) return true;
		this.#sweep = 1;
		this.#settled = this.#sweepTo;
		return this.#settled !== this.g;
	}

	settleAll(): void {
		this.#sweep = 1;
		while (this.settle(2 * this.slots));
	}

	/** Throws when the day has had its 255 generations: gd has one byte, and who made them could batch (4.1 rule 6). */
	tick(): void {
		if (this.gd >= GENERATIONS_MAX) throw new InvariantError("a day has at most 255 generations: batch");
		this.#advance();
	}

	#advance(): void {
		if (this.g - this.#settled >= LAG_MAX) this.settleAll();
		this.g++;
		this.gd++;
	}

	/** The day roll: nodes tick, leaves are those of the new day. */
	startDay(leafKeyOf: (slot: number, into: Uint8Array, offset: number) => void): void {
		this.#advance();
		this.gd = 0;
		for (let slot = 0; slot < this.slots; slot++) {
			const leaf = this.slots + slot;
			if (!this.isOccupied(leaf)) continue;
			leafKeyOf(slot, this.keys, KEY * leaf);
			this.stamps[leaf] = this.g;
		}
	}

	/** A member's leaf key of the present generation takes its slot. */
	enter(slot: number, leafKey: Uint8Array, ofDay: number): void {
		const leaf = this.slots + slot;
		if (this.isOccupied(leaf)) throw new InvariantError("the slot is taken");
		this.keys.set(leafKey.subarray(0, KEY), KEY * leaf);
		for (let i = ofDay; i < this.gd; i++) this.#kdf(this.keys, KEY * leaf, KEY, TreeLabel.tick, this.keys, KEY * leaf);
		this.stamps[leaf] = this.g;
		this.#occupy(slot, true);
	}

	vacate(slot: number): void {
		const leaf = this.slots + slot;
		if (!this.isOccupied(leaf)) throw new InvariantError("the slot is empty");
		this.keys.fill(0, KEY * leaf, KEY * leaf + KEY);
		this.#occupy(slot, false);
	}

	/** The key of a node at the present generation, 16 bytes in `keys` from the answer on. */
	nodeKeyAt(node: number): number {
		return this.#settleNode(node);
	}

	groupKey(into: Uint8Array, offset: number): void {
		this.#kdf(this.keys, this.#settleNode(1), KEY, TreeLabel.groupKey, into, offset);
	}

	/** g - g of the newest patch, as headers carry it. */
	get sincePatch(): number {
		return Math.min(255, this.g - this.lastPatch);
	}

	/**
	 * A generation that empties slots, or refreshes the path of one (HORA section 4, BATCH).
	 * @param slots ascending; they are vacated here unless it is a refresh
	 */
	patch(domain: number, epoch: number, slots: readonly number[], isRefresh: boolean, random: Random): Patch {
		if (slots.length < 1 || slots.length > 255 || (isRefresh && slots.length !== 1))
			throw new InvariantError("a patch has 1 to 255 slots");
		if (!isRefresh) for (const slot of slots) this.vacate(slot);
		this.tick();
		const before = this.lastPatch;
		this.lastPatch = this.g;
		const size = slotBytes(this.levels);
		const touched: number[] = [];
		for (let height = isRefresh ? 0 : 1; height <= this.levels; height++)
			for (let i = slots.length - 1, last = -1; i >= 0; i--) {
				const node = (this.slots + slots[i]!) >> height;
				if (node !== last) touched.push(node);
				last = node;
			}
		const bitmapAt = REKEY_HEADER_BYTES + size * slots.length;
		const ciphertextsAt = bitmapAt + Math.ceil(touched.length / 8);
		const message = new Uint8Array(ciphertextsAt + CIPHERTEXT_BYTES * touched.length + CONFIRM_BYTES);
		message[0] = isRefresh ? HoraType.refresh : HoraType.rekey;
		message[1] = domain >> 8;
		message[2] = domain;
		message[3] = this.tree;
		message[4] = epoch >> 8;
		message[5] = epoch;
		setUint32(message, 6, this.g);
		message[10] = this.gd;
		message[11] = Math.min(255, this.g - before);
		message[12] = slots.length;
		for (const [i, slot] of slots.entries())
			for (let k = 0; k < size; k++) message[REKEY_HEADER_BYTES + size * i + k] = slot >> (8 * (size - 1 - k));
		if (this.#r.length < KEY * touched.length) this.#r = new Uint8Array(2 * KEY * touched.length);
		const rOf = new Map<number, number>();
		const r = this.#r;
		let ciphertexts = 0;
		for (const [i, node] of touched.entries()) {
			const own = KEY * i;
			let target = -1;
			if (node >= this.slots) {
				random(r, own);
				target = node;
			} else {
				const left = 2 * node;
				const hasLeft = this.isOccupied(left);
				const hasRight = this.isOccupied(left + 1);
				const leftR = hasLeft ? rOf.get(left) : undefined;
				const rightR = hasRight ? rOf.get(left + 1) : undefined;
				const source = leftR ?? rightR;
				if (!hasLeft && !hasRight) {
					random(this.keys, KEY * node);
					this.stamps[node] = this.g;
					continue;
				}
				if (source !== undefined) {
					this.#kdf(r, source, KEY, TreeLabel.up, r, own);
					if (leftR !== undefined) target = hasRight ? left + 1 : -1;
					else target = hasLeft ? left : -1;
				} else {
					random(r, own);
					target = hasLeft ? left : left + 1;
				}
			}
			rOf.set(node, own);
			if (target >= 0) {
				message[bitmapAt + (i >> 3)]! |= 0x80 >> (i & 7);
				this.#encrypt(r, own, target, node, message, ciphertextsAt + CIPHERTEXT_BYTES * ciphertexts++);
			}
			if (node < this.slots) {
				const at = this.#settleNode(node);
				this.#work.set(this.keys.subarray(at, at + KEY), 0);
				this.#work.set(r.subarray(own, own + KEY), KEY);
				this.#kdf(this.#work, 0, 2 * KEY, TreeLabel.mix, this.keys, at);
			}
		}
		const confirmAt = ciphertextsAt + CIPHERTEXT_BYTES * ciphertexts;
		this.#crypto.sha256(message, 0, confirmAt, this.#work, 32, DIGEST_BYTES);
		this.groupKey(this.#work, 0);
		const { confirm } = TreeLabel;
		this.#crypto.kdf(this.#work, 0, KEY, confirm, this.#work, 32, DIGEST_BYTES, message, confirmAt, CONFIRM_BYTES);
		this.#work.fill(0);
		this.#r.fill(0);
		return { message: message.subarray(0, confirmAt + CONFIRM_BYTES), ciphertexts };
	}

	#encrypt(r: Uint8Array, at: number, target: number, node: number, into: Uint8Array, intoAt: number): void {
		const work = this.#work;
		this.#kdf(this.keys, this.#settleNode(target), KEY, TreeLabel.kek, work, 0);
		setUint32(this.#context, 0, this.g);
		setUint32(this.#context, 4, node);
		this.#crypto.kdf(work, 0, KEY, TreeLabel.pad, this.#context, 0, 8, work, KEY, KEY);
		for (let k = 0; k < KEY; k++) into[intoAt + k] = r[at + k]! ^ work[KEY + k]!;
	}
}
