import {
	BROADCAST_HEADER_BYTES,
	BROADCAST_OVERHEAD_BYTES,
	BROADCAST_PAYLOAD_MAX,
	BroadcastType,
	encodeBroadcastHeader,
	encodeFlash,
	encodeFlashCommit,
	FLASH_A,
	FLASH_B,
	FLASH_BYTES,
	FLASH_COMMIT_BYTES,
	FLASH_COMMIT_COMMIT,
	FLASH_SLOT_MAX,
	type FlashCommit,
} from "../../src/broadcast/broadcast-messages.js";
import { DISCLOSURE_DELAY_DEFAULT } from "../../src/broadcast/broadcast-receiver.js";
import { HASH_BYTES } from "../../src/broadcast/calendar.js";
import { FLASH_CONTEXT_BYTES, FLASH_STEPS, walkFlash } from "../../src/broadcast/flash-commands.js";
import { IntervalTiming } from "../../src/broadcast/interval-timing.js";
import { Label } from "../../src/broadcast/labels.js";
import { ALL_DOMAINS, Chain } from "../../src/broadcast/tesla.js";
import { UserError } from "../user-error.js";
import type { CalendarTree } from "./calendar-tree.js";
import { SenderClock, type SenderStore, type UtcClock } from "./sender-clock.js";
import { SenderCrypto } from "./sender-crypto.js";
import { sign } from "./sign.js";
import { TeslaChain } from "./tesla-chain.js";

/** What a head end remembers of its broadcasts. */
export interface HeadEndBroadcastState {
	/** Number of the furthest interval in which something was sent or disclosed. */
	readonly reached: number;
	/** Day of `counter`, and the next counter of that day. */
	readonly epoch: number;
	readonly counter: number;
	/** The last flash that was shown, and its level; -1: none. */
	readonly flashSlot: number;
	readonly flashLevel: number;
}

const START: HeadEndBroadcastState = { reached: -1, epoch: 0, counter: 0, flashSlot: -1, flashLevel: 0 };
const COUNTER_MAX = 0xffff;

/** A disclosed key: nothing secret any more. */
export interface DisclosedKey {
	readonly epoch: number;
	/** The interval whose key it is. */
	readonly interval: number;
	/** 16 bytes. */
	readonly key: Uint8Array;
}

export interface HeadEndBroadcastOptions {
	/** Seed of the chains of all days and of the flash slots, 32 bytes; the calendar was built from it. */
	readonly seed: Uint8Array;
	readonly calendar: CalendarTree;
	readonly disclosureDelay?: number;
	/** The clock that TIME is answered from, too: see `utcSeconds`. */
	readonly clock: UtcClock;
	readonly store: SenderStore<HeadEndBroadcastState>;
}

/** The head end's broadcasts. Messages are for sending at once: an interval later they are refused. */
export class HeadEndBroadcast {
	readonly timing: IntervalTiming;
	readonly calendar: CalendarTree;
	readonly #crypto = new SenderCrypto();
	readonly #seed: Uint8Array;
	readonly #chain: TeslaChain;
	readonly #clock: SenderClock;
	readonly #store: SenderStore<HeadEndBroadcastState>;
	#state: HeadEndBroadcastState;

	constructor({ seed, calendar, disclosureDelay = DISCLOSURE_DELAY_DEFAULT, clock, store }: HeadEndBroadcastOptions) {
		this.timing = new IntervalTiming(calendar.intervalSeconds, disclosureDelay);
		this.calendar = calendar;
		this.#seed = seed;
		this.#chain = new TeslaChain(this.#crypto, seed, ALL_DOMAINS, Chain.headEnd, this.timing);
		this.#store = store;
		this.#state = store.load() ?? START;
		this.#clock = new SenderClock(clock, this.timing, this.#state.reached);
	}

	/** The time that TIME must be answered with. @throws UserError when the clock went back */
	utcSeconds(): number {
		return this.#clock.utcSeconds();
	}

	/** ANCHOR of the day that runs, never of a later one. */
	anchor(domain: number = ALL_DOMAINS, isShort = false): Uint8Array {
		return this.calendar.anchorFor(this.timing.epochOf(this.#clock.number()), domain, isShort);
	}

	/** The newest key that is everyone's to know; undefined in the first days of the world. Give it to the concentrators. */
	disclosed(): DisclosedKey | undefined {
		const now = this.#clock.number();
		const number = now - this.timing.disclosureDelay;
		const epoch = this.timing.epochOf(number);
		if (number < 0 || !this.calendar.has(epoch)) return undefined;
		this.#reach(now);
		return { epoch, interval: this.timing.intervalOf(number), key: this.#chain.keyOf(number).slice() };
	}

	/** A BCAST of this interval. @param domain whom it is for */
	broadcast(payload: Uint8Array, domain: number = ALL_DOMAINS): Uint8Array {
		if (payload.length > BROADCAST_PAYLOAD_MAX)
			throw new UserError(`a broadcast has up to ${BROADCAST_PAYLOAD_MAX} bytes`);
		return this.#seal(BroadcastType.broadcast, payload, domain);
	}

	/** A FLASH-COMMIT of this interval. Say it again from time to time until its window is over, or its flash was shown. */
	flashCommit(commit: FlashCommit, domain: number = ALL_DOMAINS): Uint8Array {
		const { slot, firstInterval, lastInterval } = commit;
		if (!(slot >= 0 && slot <= FLASH_SLOT_MAX)) throw new UserError("no such flash slot");
		if (!(firstInterval <= lastInterval && lastInterval < this.timing.intervalsADay))
			throw new UserError("no such window");
		const payload = new Uint8Array(FLASH_COMMIT_BYTES);
		encodeFlashCommit(commit, payload, 0);
		const ends = new Uint8Array(2 * HASH_BYTES);
		ends.set(this.#flashValue(commit, 0, FLASH_STEPS));
		ends.set(this.#flashValue(commit, 1, FLASH_STEPS), HASH_BYTES);
		this.#crypto.kdf(
			ends,
			0,
			2 * HASH_BYTES,
			Label.flashCommit,
			payload,
			0,
			FLASH_COMMIT_COMMIT,
			payload,
			FLASH_COMMIT_COMMIT,
			HASH_BYTES,
		);
		return this.#seal(BroadcastType.flashCommit, payload, domain);
	}

	/**
	 * Shows a flash: meters act when it comes. A slot has one level for ever, since two of them would let anyone make all those
	 * between; to repeat it gives the same bytes.
	 */
	flash({ slot, scope }: { slot: number; scope: number }, level: number, domain: number = ALL_DOMAINS): Uint8Array {
		if (!Number.isInteger(level) || level < 0 || level > FLASH_STEPS) throw new UserError("a level is 0 to 255");
		const { flashSlot, flashLevel } = this.#state;
		if (slot < flashSlot) throw new UserError(`slot ${flashSlot} was shown: no lower one is taken any more`);
		if (slot === flashSlot && level !== flashLevel)
			throw new UserError(`slot ${slot} was shown with level ${flashLevel}`);
		this.#save({ flashSlot: slot, flashLevel: level });
		const message = new Uint8Array(FLASH_BYTES);
		encodeFlash({ domain, slot, scope, level }, message);
		message.set(this.#flashValue({ slot, scope }, 0, FLASH_STEPS - level), FLASH_A);
		message.set(this.#flashValue({ slot, scope }, 1, level), FLASH_B);
		return message;
	}

	/** x (chain 0) or y (chain 1) of a slot after some steps. */
	#flashValue({ slot, scope }: { slot: number; scope: number }, chain: 0 | 1, steps: number): Uint8Array {
		const context = Buffer.alloc(FLASH_CONTEXT_BYTES);
		context.writeUInt32BE(slot);
		context[4] = scope;
		context[5] = chain;
		const value = new Uint8Array(HASH_BYTES);
		this.#crypto.kdf(this.#seed, 0, this.#seed.length, Label.flashSeed, context, 0, 6, value, 0, HASH_BYTES);
		walkFlash(this.#crypto, context, chain, 0, steps, value, 0);
		return value;
	}

	#seal(
		type: typeof BroadcastType.broadcast | typeof BroadcastType.flashCommit,
		payload: Uint8Array,
		domain: number,
	): Uint8Array {
		const number = this.#clock.number();
		const epoch = this.timing.epochOf(number);
		const counter = this.#state.epoch === epoch ? this.#state.counter : 0;
		if (counter > COUNTER_MAX) throw new UserError("the counter of the day is used up");
		// Saved before it is used: after a restart the next one is taken.
		this.#save({ epoch, counter: counter + 1 });
		this.#reach(number);
		const message = new Uint8Array(BROADCAST_OVERHEAD_BYTES + payload.length);
		encodeBroadcastHeader({ type, domain, interval: this.timing.intervalOf(number), counter }, message);
		message.set(payload, BROADCAST_HEADER_BYTES);
		sign(this.#crypto, this.#chain, number, message);
		return message;
	}

	#reach(number: number): void {
		this.#clock.reach(number, () => this.#save({ reached: number }));
	}

	#save(change: Partial<HeadEndBroadcastState>): void {
		const state = { ...this.#state, ...change };
		this.#store.save(state);
		this.#state = state;
	}
}
