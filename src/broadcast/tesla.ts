import { Status } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import type { IntervalTiming } from "./interval-timing.js";
import { Label } from "./labels.js";

export const CHAIN_KEY_BYTES = 16;
export const MAC_BYTES = 10;
const DIGEST_BYTES = 20;
/** A disclosed key this far beyond the newest one is always looked at; further ones once an interval. */
export const GAP_MAX = 96;
/** Yesterday, today, and tomorrow as soon as it is announced. */
const DAYS = 3;
const NONE = -1;

/** The two chains of a day. */
export const Chain = Object.freeze({
	/** Prices, group commands, flash commits; its T_0 is in the calendar. */
	headEnd: 0,
	/** Beacons and key maintenance of one domain. */
	concentrator: 1,
} as const);
export type Chain = (typeof Chain)[keyof typeof Chain];

/** The domain of the head end's chain, and of what it says to everyone. */
export const ALL_DOMAINS = 0xffff;

/** Context of labels `T` and `a`. */
export const CHAIN_CONTEXT_BYTES = 7;

/** Domain, chain and epoch; the index follows with every step. */
export function startContext(context: Uint8Array, domain: number, chain: Chain, epoch: number): void {
	context[0] = domain >> 8;
	context[1] = domain;
	context[2] = chain;
	context[3] = epoch >> 8;
	context[4] = epoch;
}

/** One step of the chain in place: T_index becomes T_(index-1), or the MAC key of interval index-1. 1 compression. */
export function stepKey(
	crypto: Crypto,
	label: number,
	context: Uint8Array,
	index: number,
	from: Uint8Array,
	fromOffset: number,
	into: Uint8Array,
	intoOffset: number,
): void {
	context[5] = index >> 8;
	context[6] = index;
	crypto.kdf(
		from,
		fromOffset,
		CHAIN_KEY_BYTES,
		label,
		context,
		0,
		CHAIN_CONTEXT_BYTES,
		into,
		intoOffset,
		CHAIN_KEY_BYTES,
	);
}

/**
 * What a MAC covers before the message itself: 5 bytes, big-endian, not sent.
 * | offset | size | field  | unit and range                                                    |
 * |-------:|-----:|--------|-------------------------------------------------------------------|
 * |      0 |    2 | epoch  | of the interval, days since 2000-01-01                            |
 * |      2 |    2 | domain | of the chain: 0xFFFF is the head end's                            |
 * |      4 |    1 | tree   | whom it is for: 0 is everyone                                     |
 */
export const MAC_PREFIX_BYTES = 5;

export function writeMacPrefix(into: Uint8Array, offset: number, epoch: number, domain: number, tree: number): void {
	into[offset] = epoch >> 8;
	into[offset + 1] = epoch;
	into[offset + 2] = domain >> 8;
	into[offset + 3] = domain;
	into[offset + 4] = tree;
}

/**
 * The MAC: KDF(MAC key, "A", H20(prefix ‖ message)), 10 bytes. Compressions: 1, and those of the hash.
 * @param offset where the prefix begins
 * @param byteLength of prefix and message
 * @param work 20 bytes for the digest
 */
export function writeMac(
	crypto: Crypto,
	macKey: Uint8Array,
	macKeyOffset: number,
	from: Uint8Array,
	offset: number,
	byteLength: number,
	work: Uint8Array,
	into: Uint8Array,
	intoOffset: number,
): void {
	crypto.sha256(from, offset, byteLength, work, 0, DIGEST_BYTES);
	crypto.kdf(macKey, macKeyOffset, CHAIN_KEY_BYTES, Label.mac, work, 0, DIGEST_BYTES, into, intoOffset, MAC_BYTES);
}

/**
 * The meter's end of one chain: T_N → … → T_0 for each day, T_(i-1) = KDF(T_i, "T", …). Interval i (from 0) uses T_(i+1),
 * which is disclosed in interval i + d; the last d of a day in the first d beacons of the next, so yesterday is kept.
 * Nothing here is secret: a key is known to everyone before the meter has it. 141 bytes of arrays.
 */
export class TeslaReceiver {
	readonly #crypto: Crypto;
	readonly #timing: IntervalTiming;
	readonly #chain: Chain;
	readonly #domain: number;
	/** Per day: its epoch or -1, index of the newest verified key, that key. */
	readonly #epochs = new Int32Array(DAYS).fill(NONE);
	readonly #indexes = new Int32Array(DAYS);
	readonly #keys = new Uint8Array(DAYS * CHAIN_KEY_BYTES);
	readonly #context = new Uint8Array(CHAIN_CONTEXT_BYTES);
	/** A key on its way down, and where it is; the MAC key that was made last, and of which interval. */
	readonly #work = new Uint8Array(CHAIN_KEY_BYTES);
	#workEpoch = NONE;
	#workIndex = 0;
	readonly #macKey = new Uint8Array(CHAIN_KEY_BYTES);
	readonly #digest = new Uint8Array(DIGEST_BYTES);
	readonly #mac = new Uint8Array(MAC_BYTES);
	#macEpoch = NONE;
	#macInterval = NONE;
	/** When the last key beyond `GAP_MAX` was looked at, monotonic ms. */
	#longWalkAt = Number.NEGATIVE_INFINITY;

	constructor(crypto: Crypto, timing: IntervalTiming, chain: Chain, domain: number) {
		this.#crypto = crypto;
		this.#timing = timing;
		this.#chain = chain;
		this.#domain = domain;
	}

	get domain(): number {
		return this.#domain;
	}

	/** Number of the interval whose key is the newest verified one of an epoch; NaN: no key of that day is verified. */
	newestOf(epoch: number): number {
		const day = this.#day(epoch);
		return day === NONE || this.#indexes[day] === 0 ? Number.NaN : this.#indexes[day]! - 1;
	}

	/** Whether the key of an interval is known: whoever speaks under it now may be anyone. */
	isDisclosed(epoch: number, interval: number): boolean {
		const day = this.#day(epoch);
		return day !== NONE && interval < this.#indexes[day]!;
	}

	/** Whether there is a key of that day to verify others against. */
	hasDay(epoch: number): boolean {
		return this.#day(epoch) !== NONE;
	}

	/**
	 * A key of the chain that its owner vouched for by other means: T_0 out of the calendar or a verified beacon, or the newest
	 * key in an answer of the concentrator. The oldest day makes room for a new one.
	 * @param index 0 to N: T_0 to T_N
	 * @returns false when it contradicts what is held: nothing was changed
	 */
	anchor(epoch: number, index: number, from: Uint8Array, offset: number): boolean {
		let day = this.#day(epoch);
		if (day === NONE) {
			day = 0;
			for (let i = 1; i < DAYS; i++) if (this.#epochs[i]! < this.#epochs[day]!) day = i;
			if (epoch < this.#epochs[day]!) return true; // older than all: of no use
			this.#take(day, epoch, index, from, offset);
			return true;
		}
		const newer = this.#indexes[day]!;
		if (index > newer) {
			if (!this.#leadsTo(epoch, index, from, offset, newer, this.#keys, day * CHAIN_KEY_BYTES)) return false;
			this.#take(day, epoch, index, from, offset);
			return true;
		}
		return this.#leadsTo(epoch, newer, this.#keys, day * CHAIN_KEY_BYTES, index, from, offset);
	}

	/**
	 * A key that someone says was disclosed: at most `GAP_MAX` compressions, or N once an interval.
	 * @param index 1 to N
	 * @returns `ok`: it is newer and right, and is held now; `replayed`: nothing new; `badTag`: it is not of this chain;
	 * `notFound`: no anchor of that day; `outOfOrder`: too far ahead for now, the meter should ask
	 */
	disclose(nowMilliseconds: number, epoch: number, index: number, from: Uint8Array, offset: number): Status {
		const day = this.#day(epoch);
		if (day === NONE) return Status.notFound; // TSL-1
		const newest = this.#indexes[day]!;
		const held = day * CHAIN_KEY_BYTES;
		if (index < newest) return Status.replayed;
		if (index === newest)
			return this.#crypto.equal(from, offset, this.#keys, held, CHAIN_KEY_BYTES) ? Status.replayed : Status.badTag; // TSL-2
		if (index - newest > GAP_MAX) {
			if (nowMilliseconds - this.#longWalkAt < 1000 * this.#timing.intervalSeconds) return Status.outOfOrder; // TSL-3
			this.#longWalkAt = nowMilliseconds;
		}
		if (!this.#leadsTo(epoch, index, from, offset, newest, this.#keys, held)) return Status.badTag; // TSL-4
		this.#take(day, epoch, index, from, offset);
		return Status.ok;
	}

	/**
	 * Checks a MAC whose key `isDisclosed`. Asked in descending order of intervals, all of them together walk the chain once.
	 * @param offset where the prefix begins; the MAC follows prefix and message
	 * @param byteLength of prefix and message
	 */
	isGenuine(epoch: number, interval: number, from: Uint8Array, offset: number, byteLength: number): boolean {
		const day = this.#day(epoch);
		if (day === NONE || interval >= this.#indexes[day]!) return false;
		if (this.#macEpoch !== epoch || this.#macInterval !== interval) this.#makeMacKey(day, epoch, interval);
		const mac = this.#mac;
		writeMac(this.#crypto, this.#macKey, 0, from, offset, byteLength, this.#digest, mac, 0);
		return this.#crypto.equal(mac, 0, from, offset + byteLength, MAC_BYTES);
	}

	/** Forgets every key. */
	forget(): void {
		this.#epochs.fill(NONE);
		this.#workEpoch = this.#macEpoch = NONE;
	}

	#day(epoch: number): number {
		for (let i = 0; i < DAYS; i++) if (this.#epochs[i] === epoch) return i;
		return NONE;
	}

	#take(day: number, epoch: number, index: number, from: Uint8Array, offset: number): void {
		this.#epochs[day] = epoch;
		this.#indexes[day] = index;
		for (let i = 0; i < CHAIN_KEY_BYTES; i++) this.#keys[day * CHAIN_KEY_BYTES + i] = from[offset + i]!;
		this.#workEpoch = NONE;
	}

	/** Whether the key at `from`, index `index`, hashes down to the one at `to`, index `target`. */
	#leadsTo(
		epoch: number,
		index: number,
		from: Uint8Array,
		offset: number,
		target: number,
		to: Uint8Array,
		toOffset: number,
	): boolean {
		this.#startWalk(epoch, index, from, offset);
		this.#walkTo(target);
		const isRight = this.#crypto.equal(this.#work, 0, to, toOffset, CHAIN_KEY_BYTES);
		this.#workEpoch = NONE;
		return isRight;
	}

	#startWalk(epoch: number, index: number, from: Uint8Array, offset: number): void {
		for (let i = 0; i < CHAIN_KEY_BYTES; i++) this.#work[i] = from[offset + i]!;
		this.#workEpoch = epoch;
		this.#workIndex = index;
	}

	#walkTo(target: number): void {
		const work = this.#work;
		startContext(this.#context, this.#domain, this.#chain, this.#workEpoch);
		for (let i = this.#workIndex; i > target; i--)
			stepKey(this.#crypto, Label.previousKey, this.#context, i, work, 0, work, 0);
		this.#workIndex = target;
	}

	#makeMacKey(day: number, epoch: number, interval: number): void {
		const index = interval + 1;
		if (this.#workEpoch !== epoch || this.#workIndex < index)
			this.#startWalk(epoch, this.#indexes[day]!, this.#keys, day * CHAIN_KEY_BYTES);
		this.#walkTo(index);
		stepKey(this.#crypto, Label.macKey, this.#context, index, this.#work, 0, this.#macKey, 0);
		this.#macEpoch = epoch;
		this.#macInterval = interval;
	}
}
