import { createHash } from "node:crypto";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { type Crypto, NO_BYTES } from "../../../src/crypto/crypto.js";
import { setUint32 } from "../../../src/group-keys/envelope.js";
import { TreeLabel } from "../../../src/group-keys/hora/labels.js";
import { HoraType, LEAF_KEY_FOLLOWS, PATHS_ENTRY_BYTES } from "../../../src/group-keys/hora/messages.js";
import { DOMAIN_GROUP, Way } from "../../../src/group-keys/scheme.js";
import {
	type GroupController,
	type Joiner,
	type LeafKeyOf,
	type Outgoing,
	PAIRWISE_BYTES,
	TESLA_BYTES,
} from "../controller.js";
import { HoraTree } from "./tree.js";

const KEY = 16;
const SEED_BYTES = 32;
/** Interval 2, T_DC 16, its interval 2: what a CATCHUP carries besides keys. */
const CATCH_UP_BYTES = 20;
const CONTENT_HEADER_BYTES = 5;

/** Someone who comes in, as the journal keeps it. */
export interface Entering {
	readonly meter: number;
	readonly slot: number;
	/** The join carries the leaf key: the meter could not derive it. */
	readonly isCarried: boolean;
	/** L_0 of the day, or the carried key of the present generation. */
	readonly leafKey: Uint8Array;
}

/** One generation of one tree, with everything that decides its bytes: applied twice, it gives the same messages. */
export interface Operation {
	readonly group: number;
	readonly refreshSlot: number;
	/** Ascending. */
	readonly leaves: readonly number[];
	readonly joins: readonly Entering[];
	readonly seed: Uint8Array;
}

export interface HoraControllerOptions {
	readonly crypto: Crypto;
	readonly domain: number;
	readonly domainSlots: number;
	readonly groupSlots: number;
	/** Fresh entropy, as much as is asked for. */
	readonly entropy: (into: Uint8Array) => void;
	/** Makes an operation durable. Called before any message of it is handed out (HORA 4.1 rule 9). */
	readonly journal?: (operation: Operation) => void;
}

/** A tree and who sits in it. */
export class Seats {
	readonly tree: HoraTree;
	readonly slotOf = new Map<number, number>();
	/** -1: nobody. */
	readonly meterOf: Int32Array;
	/** Meters whose leaf key of today was carried by a join. */
	readonly carried = new Set<number>();
	#search = 0;

	constructor(tree: HoraTree) {
		this.tree = tree;
		this.meterOf = new Int32Array(tree.slots).fill(-1);
	}

	/** A slot that is free and not in `taken`. */
	freeSlot(taken: ReadonlySet<number>): number {
		for (let i = 0; i < this.tree.slots; i++) {
			const slot = (this.#search + i) % this.tree.slots;
			if (this.meterOf[slot] !== -1 || taken.has(slot)) continue;
			this.#search = slot + 1;
			return slot;
		}
		throw new InvariantError("the tree is full");
	}
}

/** The concentrator's side of HORA: the domain's tree and one for each group, which move apart. */
export class HoraController implements GroupController {
	readonly options: HoraControllerOptions;
	readonly seats = new Map<number, Seats>();
	/** Hidden; a weak source of entropy alone does not undo an eviction (HORA 4.1 rule 10). */
	readonly hidden = new Uint8Array(SEED_BYTES);
	epoch = 0;
	#counter = 0;
	readonly #context = new Uint8Array(4);

	constructor(options: HoraControllerOptions) {
		this.options = options;
		options.entropy(this.hidden);
	}

	/** The tree of a group, made when it is first asked for. Its first keys come from the hidden seed. */
	seatsOf(group: number): Seats {
		const found = this.seats.get(group);
		if (found) return found;
		const slots = group === DOMAIN_GROUP ? this.options.domainSlots : this.options.groupSlots;
		const made = new Seats(new HoraTree(this.options.crypto, group, Math.ceil(Math.log2(slots))));
		const seed = new Uint8Array(SEED_BYTES);
		this.options.crypto.kdf(this.hidden, 0, SEED_BYTES, 0x53, Uint8Array.of(group), 0, 1, seed, 0, SEED_BYTES);
		made.tree.start(this.#random(seed));
		seed.fill(0);
		this.seats.set(group, made);
		return made;
	}

	/** Fresh keys out of one seed: KDF(seed, "r", count). */
	#random(seed: Uint8Array): (into: Uint8Array, offset: number) => void {
		this.#counter = 0;
		return (into, offset) => {
			setUint32(this.#context, 0, this.#counter++);
			this.options.crypto.kdf(seed, 0, SEED_BYTES, 0x72, this.#context, 0, 4, into, offset, KEY);
		};
	}

	#seed(): Uint8Array {
		const entropy = new Uint8Array(SEED_BYTES);
		this.options.entropy(entropy);
		const seed = createHash("sha256").update(this.hidden).update(entropy).digest();
		this.options.crypto.kdf(this.hidden, 0, SEED_BYTES, TreeLabel.up, NO_BYTES, 0, 0, this.hidden, 0, SEED_BYTES);
		return new Uint8Array(seed);
	}

	generation(group: number): number {
		return this.seats.get(group)?.tree.g ?? -1;
	}

	members(group: number): readonly number[] {
		return [...(this.seats.get(group)?.slotOf.keys() ?? [])];
	}

	startDay(epoch: number, leafKeyOf: LeafKeyOf): readonly Outgoing[] {
		this.epoch = epoch;
		for (const [group, { tree, meterOf, carried }] of this.seats) {
			tree.startDay((slot, into, offset) => leafKeyOf(meterOf[slot]!, group, into, offset));
			carried.clear();
		}
		return this.seats.size === 0 ? [] : [this.headers([...this.seats.keys()])];
	}

	change(group: number, leaves: readonly number[], joins: readonly Joiner[]): readonly Outgoing[] {
		const seats = this.seatsOf(group);
		const out: Outgoing[] = [];
		const slots: number[] = [];
		for (const meter of leaves) {
			const slot = seats.slotOf.get(meter);
			if (slot === undefined) throw new InvariantError(`meter ${meter} is not in group ${group}`);
			slots.push(slot);
		}
		const taken = new Set<number>();
		const entering = joins.map(({ meter, leafKey }): Entering => {
			if (seats.slotOf.has(meter)) throw new InvariantError(`meter ${meter} is in group ${group}`);
			// A slot that is freed in the same batch may be given away too, when no other is free (4.1 rule 8).
			const isFull = seats.slotOf.size + taken.size >= seats.tree.slots;
			const slot = isFull ? slots.find((free) => !taken.has(free)) : seats.freeSlot(taken);
			if (slot === undefined) throw new InvariantError("the tree is full");
			taken.add(slot);
			const key = new Uint8Array(KEY);
			if (leafKey) key.set(leafKey);
			else this.options.entropy(key);
			return { meter, slot, isCarried: !leafKey, leafKey: key };
		});
		// Who leaves the domain leaves every group (4.1 rule 11).
		if (group === DOMAIN_GROUP)
			for (const [other, { slotOf }] of this.seats) {
				const also = leaves.filter((meter) => slotOf.has(meter));
				if (other !== DOMAIN_GROUP && also.length > 0) out.push(...this.change(other, also, []));
			}
		const operation = {
			group,
			refreshSlot: -1,
			leaves: slots.sort((a, b) => a - b),
			joins: entering,
			seed: this.#seed(),
		};
		out.push(...this.apply(operation));
		this.options.journal?.(operation);
		return out;
	}

	refresh(group: number, meter: number): readonly Outgoing[] {
		const slot = this.seatsOf(group).slotOf.get(meter);
		if (slot === undefined) throw new InvariantError(`meter ${meter} is not in group ${group}`);
		const operation = { group, refreshSlot: slot, leaves: [], joins: [], seed: this.#seed() };
		const out = this.apply(operation);
		this.options.journal?.(operation);
		return out;
	}

	/** Carries out an operation, new or out of the journal. */
	apply({ group, refreshSlot, leaves, joins, seed }: Operation): readonly Outgoing[] {
		const seats = this.seatsOf(group);
		const { tree, slotOf, meterOf, carried } = seats;
		const out: Outgoing[] = [];
		const isRefresh = refreshSlot >= 0;
		for (const slot of leaves) {
			slotOf.delete(meterOf[slot]!);
			carried.delete(meterOf[slot]!);
			meterOf[slot] = -1;
		}
		if (isRefresh || leaves.length > 0) {
			const slots = isRefresh ? [refreshSlot] : leaves;
			const { message, ciphertexts } = tree.patch(
				this.options.domain,
				this.epoch,
				slots,
				isRefresh,
				this.#random(seed),
			);
			out.push({ way: Way.broadcast, to: -1, bytes: message, airBytes: message.length + TESLA_BYTES, ciphertexts });
		} else {
			tree.tick();
			out.push(this.headers([group]));
		}
		for (const { meter, slot, isCarried, leafKey } of joins) {
			tree.enter(slot, leafKey, isCarried ? tree.gd : 0);
			slotOf.set(meter, slot);
			meterOf[slot] = meter;
			if (isCarried) carried.add(meter);
		}
		for (const { meter } of joins) out.push(this.#paths(meter, [group]));
		return out;
	}

	/** What the next beacon says of some trees: of the domain in its 56 bytes, of a group in an extension. */
	headers(groups: readonly number[]): Outgoing {
		const bytes = new Uint8Array(CONTENT_HEADER_BYTES + 7 * groups.length);
		this.#contentHeader(HoraType.headers, bytes);
		let at = CONTENT_HEADER_BYTES;
		for (const group of groups) {
			const { tree } = this.seatsOf(group);
			bytes[at] = group;
			setUint32(bytes, at + 1, tree.g);
			bytes[at + 5] = tree.gd;
			bytes[at + 6] = tree.sincePatch;
			at += 7;
		}
		const airBytes = 7 * groups.filter((group) => group !== DOMAIN_GROUP).length;
		return { way: Way.broadcast, to: -1, bytes, airBytes, ciphertexts: 0 };
	}

	#contentHeader(type: number, into: Uint8Array): void {
		into[0] = type;
		into[1] = this.options.domain >> 8;
		into[2] = this.options.domain;
		into[3] = this.epoch >> 8;
		into[4] = this.epoch;
	}

	catchUp(meter: number): readonly Outgoing[] {
		const groups = [...this.seats].filter(([, { slotOf }]) => slotOf.has(meter)).map(([group]) => group);
		return groups.length === 0 ? [] : [this.#paths(meter, groups)];
	}

	/** JOIN or CATCHUP: all keys of a meter in some groups. */
	#paths(meter: number, groups: readonly number[]): Outgoing {
		let size = CONTENT_HEADER_BYTES;
		for (const group of groups) {
			const { tree, carried } = this.seatsOf(group);
			size += PATHS_ENTRY_BYTES + KEY * (tree.levels + (carried.has(meter) ? 1 : 0));
		}
		const bytes = new Uint8Array(size);
		this.#contentHeader(HoraType.paths, bytes);
		let at = CONTENT_HEADER_BYTES;
		for (const group of groups) {
			const { tree, slotOf, carried } = this.seatsOf(group);
			const leaf = tree.slots + slotOf.get(meter)!;
			const isCarried = carried.has(meter);
			bytes[at] = group;
			bytes[at + 1] = (leaf >> 16) | (isCarried ? LEAF_KEY_FOLLOWS : 0);
			bytes[at + 2] = leaf >> 8;
			bytes[at + 3] = leaf;
			setUint32(bytes, at + 4, tree.g);
			bytes[at + 8] = tree.gd;
			at += PATHS_ENTRY_BYTES;
			for (let node = isCarried ? leaf : leaf >> 1; node >= 1; node >>= 1) {
				const key = tree.nodeKeyAt(node);
				bytes.set(tree.keys.subarray(key, key + KEY), at);
				at += KEY;
			}
		}
		const airBytes = size - CONTENT_HEADER_BYTES + CATCH_UP_BYTES + PAIRWISE_BYTES;
		return {
			way: Way.unicast,
			to: meter,
			bytes,
			airBytes,
			ciphertexts: Math.floor((size - CONTENT_HEADER_BYTES) / KEY),
		};
	}

	exportKey(group: number, generation: number, label: Uint8Array, into: Uint8Array): Status {
		const tree = this.seats.get(group)?.tree;
		if (tree?.g !== generation) return Status.notFound;
		const key = new Uint8Array(KEY);
		tree.groupKey(key, 0);
		this.options.crypto.kdf(key, 0, KEY, label[0]!, label, 1, label.length - 1, into, 0, KEY);
		key.fill(0);
		return Status.ok;
	}
}
