import type { IntervalTiming } from "../../src/broadcast/interval-timing.js";
import { Label } from "../../src/broadcast/labels.js";
import { CHAIN_CONTEXT_BYTES, CHAIN_KEY_BYTES, type Chain, startContext, stepKey } from "../../src/broadcast/tesla.js";
import { InvariantError } from "../../src/bytes/status.js";
import type { Crypto } from "../../src/crypto/crypto.js";

const SEED_BYTES = 32;
const DAY_CONTEXT_BYTES = 5;

/** Whose chain, and of which day. */
export interface ChainDay {
	readonly domain: number;
	readonly chain: Chain;
	readonly epoch: number;
	/** N. */
	readonly intervalsADay: number;
}

/** T_N of a day, from the seed of all days. */
export function lastKey(crypto: Crypto, seed: Uint8Array, { domain, chain, epoch }: ChainDay): Uint8Array {
	if (seed.length !== SEED_BYTES) throw new InvariantError("a chain's seed has 32 bytes");
	const context = new Uint8Array(CHAIN_CONTEXT_BYTES);
	const key = new Uint8Array(CHAIN_KEY_BYTES);
	startContext(context, domain, chain, epoch);
	crypto.kdf(seed, 0, SEED_BYTES, Label.daySeed, context, 0, DAY_CONTEXT_BYTES, key, 0, CHAIN_KEY_BYTES);
	return key;
}

/** T_0 of a day: N + 1 compressions. */
export function firstKey(crypto: Crypto, seed: Uint8Array, day: ChainDay): Uint8Array {
	const key = lastKey(crypto, seed, day);
	const context = new Uint8Array(CHAIN_CONTEXT_BYTES);
	startContext(context, day.domain, day.chain, day.epoch);
	for (let i = day.intervalsADay; i > 0; i--) stepKey(crypto, Label.previousKey, context, i, key, 0, key, 0);
	return key;
}

interface Pebble {
	readonly startIncrement: number;
	readonly destinationIncrement: number;
	position: number;
	destination: number;
	key: Uint8Array;
}

/**
 * T_first, T_(first+1), … T_N in turn, each with at most about 2·log2 N compressions and log2 N kept keys, though the chain is
 * made from its end: keys at the powers of two are kept, and each that was passed moves on to where it is wanted next, two
 * steps at a time. A chain whose length is no power of two is the end of a longer one. To begin costs N - first at most.
 * @see M. Jakobsson, "Fractal Hash Sequence Representation and Traversal", ISIT 2002
 */
export class KeyTraversal {
	readonly #crypto: Crypto;
	readonly #context = new Uint8Array(CHAIN_CONTEXT_BYTES);
	/** How many positions the longer chain has before T_0. */
	readonly #before: number;
	readonly #length: number;
	#pebbles: Pebble[];
	#current = 0;

	/** @param end T_N; @param first index of the first key that `next` gives, 1 to N */
	constructor(crypto: Crypto, end: Uint8Array, day: ChainDay, first = 1) {
		const { intervalsADay: count } = day;
		if (!(first >= 1 && first <= count)) throw new InvariantError("the chain has no such key");
		this.#crypto = crypto;
		startContext(this.#context, day.domain, day.chain, day.epoch);
		const levels = Math.max(1, Math.ceil(Math.log2(count)));
		this.#length = 2 ** levels;
		this.#before = this.#length - count;
		this.#pebbles = Array.from({ length: levels }, (_, j) => ({
			startIncrement: 3 * 2 ** (j + 1),
			destinationIncrement: 2 * 2 ** (j + 1),
			position: 2 ** (j + 1),
			destination: 2 ** (j + 1),
			key: new Uint8Array(CHAIN_KEY_BYTES),
		}));
		// Where the pebbles are depends on no key: they are moved first, and their keys put under them in one walk.
		while (this.#current < this.#before + first - 1) this.#move(false);
		const key = end.slice();
		for (let index = count; index >= 1; index--) {
			for (const pebble of this.#pebbles) if (pebble.position === this.#before + index) pebble.key.set(key);
			if (this.#pebbles.every((pebble) => pebble.position >= this.#before + index)) break;
			stepKey(crypto, Label.previousKey, this.#context, index, key, 0, key, 0);
		}
		key.fill(0);
	}

	/** Keys that are kept. */
	get keptCount(): number {
		return this.#pebbles.length;
	}

	/** Index of the key that `next` gives. */
	get nextIndex(): number {
		return this.#current + 1 - this.#before;
	}

	/** The next key, or undefined after T_N. The array is the caller's. */
	next(): Uint8Array | undefined {
		return this.#current < this.#length ? this.#move(true) : undefined;
	}

	#move(isReal: boolean): Uint8Array | undefined {
		this.#current++;
		for (const pebble of this.#pebbles) {
			if (pebble.position === pebble.destination) continue;
			pebble.position -= 2;
			if (isReal) for (const ahead of [2, 1]) this.#hash(pebble.key, pebble.position + ahead);
		}
		const nearest = this.#pebbles[0]!;
		const output = isReal ? nearest.key.slice() : undefined;
		if (this.#current % 2 === 1) {
			if (output) this.#hash(output, nearest.position);
			return output;
		}
		nearest.position += nearest.startIncrement;
		nearest.destination += nearest.destinationIncrement;
		if (nearest.destination > this.#length) {
			nearest.key.fill(0);
			this.#pebbles.shift();
		} else if (isReal) {
			const there = this.#pebbles.find((other) => other !== nearest && other.position === nearest.position);
			if (!there) throw new InvariantError("no key to copy");
			nearest.key.set(there.key);
		}
		this.#pebbles.sort((a, b) => a.destination - b.destination);
		return output;
	}

	#hash(key: Uint8Array, position: number): void {
		stepKey(this.#crypto, Label.previousKey, this.#context, position - this.#before, key, 0, key, 0);
	}
}

/** The keys of a day as a sender wants them: mostly the next, sometimes one of the last few. */
class DayKeys {
	readonly #crypto: Crypto;
	readonly #end: Uint8Array;
	readonly #day: ChainDay;
	readonly #recentMax: number;
	#traversal: KeyTraversal | undefined;
	/** Newest last. */
	readonly #recent: Uint8Array[] = [];
	#newest = 0;

	constructor(crypto: Crypto, seed: Uint8Array, day: ChainDay, recentMax: number) {
		this.#crypto = crypto;
		this.#day = day;
		this.#end = lastKey(crypto, seed, day);
		this.#recentMax = recentMax;
	}

	key(index: number): Uint8Array {
		if (index > this.#newest + 2 * this.#recentMax || index <= this.#newest - this.#recent.length) {
			const first = Math.max(1, index - this.#recentMax + 1);
			this.#traversal = new KeyTraversal(this.#crypto, this.#end, this.#day, first);
			this.#recent.length = 0;
			this.#newest = first - 1;
		}
		this.#traversal ??= new KeyTraversal(this.#crypto, this.#end, this.#day);
		while (this.#newest < index) {
			const key = this.#traversal.next();
			if (!key) throw new InvariantError("the chain has no such key");
			this.#recent.push(key);
			if (this.#recent.length > this.#recentMax) this.#recent.shift()!.fill(0);
			this.#newest++;
		}
		return this.#recent[this.#recent.length - 1 - (this.#newest - index)]!;
	}
}

/** A sender's chain over all days: from its seed alone, at any time. Keys are handed out as they are asked for: `when` is the sender's business. */
export class TeslaChain {
	readonly domain: number;
	readonly chain: Chain;
	readonly timing: IntervalTiming;
	readonly #crypto: Crypto;
	readonly #seed: Uint8Array;
	/** Yesterday and today. */
	readonly #days = new Map<number, DayKeys>();

	constructor(crypto: Crypto, seed: Uint8Array, domain: number, chain: Chain, timing: IntervalTiming) {
		if (timing.intervalsADay === 0) throw new InvariantError("the day cannot be divided so");
		this.#crypto = crypto;
		this.#seed = seed;
		this.domain = domain;
		this.chain = chain;
		this.timing = timing;
	}

	/** T_(i+1) of the interval with this number; the array stays the chain's. */
	keyOf(number: number): Uint8Array {
		const epoch = this.timing.epochOf(number);
		let keys = this.#days.get(epoch);
		if (!keys) {
			keys = new DayKeys(this.#crypto, this.#seed, this.#day(epoch), this.timing.disclosureDelay + 1);
			this.#days.set(epoch, keys);
			for (const old of this.#days.keys()) if (old < epoch - 1) this.#days.delete(old);
		}
		return keys.key(this.timing.intervalOf(number) + 1);
	}

	/** T_0 of a day. */
	anchorOf(epoch: number): Uint8Array {
		return firstKey(this.#crypto, this.#seed, this.#day(epoch));
	}

	#day(epoch: number): ChainDay {
		return { domain: this.domain, chain: this.chain, epoch, intervalsADay: this.timing.intervalsADay };
	}
}
