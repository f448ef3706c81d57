import {
	BEACON_BYTES_MAX,
	BEACON_CHAIN_KEY,
	BEACON_EXTENSION,
	BEACON_HEAD_END_KEY,
	BeaconExtension,
	encodeBeacon,
	NO_HEAD_END_KEY,
} from "../../src/broadcast/broadcast-messages.js";
import { DISCLOSURE_DELAY_DEFAULT } from "../../src/broadcast/broadcast-receiver.js";
import { IntervalTiming } from "../../src/broadcast/interval-timing.js";
import { Label } from "../../src/broadcast/labels.js";
import {
	ALL_DOMAINS,
	CHAIN_CONTEXT_BYTES,
	Chain,
	MAC_BYTES,
	startContext,
	stepKey,
} from "../../src/broadcast/tesla.js";
import type { DisclosedKey } from "./head-end-broadcast.js";
import { SenderClock, type SenderStore, type UtcClock } from "./sender-clock.js";
import { SenderCrypto } from "./sender-crypto.js";
import { sign } from "./sign.js";
import { TeslaChain } from "./tesla-chain.js";

/** T_0 of tomorrow goes with every fourth beacon from noon on. */
const TOMORROW_EVERY = 4;
/** Keys of the head end that are kept, for one that is ahead of this clock. */
const HEAD_END_KEYS = 4;

/** What a concentrator remembers of its broadcasts. */
export interface ConcentratorBroadcastState {
	/** Number of the furthest interval in which something was sent or disclosed. */
	readonly reached: number;
}

/** The domain tree's header, and groups if there are any. */
export interface BeaconContent {
	readonly generation: number;
	readonly generationOfDay: number;
	readonly patchDelta: number;
	/** Extension `groups`, 14 bytes; gives way to tomorrow's T_0. */
	readonly groups?: Uint8Array;
}

const NO_TREE: BeaconContent = { generation: 0, generationOfDay: 0, patchDelta: 0 };

/** What CATCHUP says of the chain: see `encodeCatchUp` of src/messages/channel.ts. */
export interface CatchUpKey {
	readonly epoch: number;
	readonly interval: number;
	readonly milliseconds: number;
	/** 0xFFFF: the key is T_0 of the epoch. */
	readonly keyInterval: number;
	/** 16 bytes. */
	readonly key: Uint8Array;
}

export interface ConcentratorBroadcastOptions {
	/** Seed of its chains of all days, 32 bytes. */
	readonly seed: Uint8Array;
	readonly domain: number;
	readonly intervalSeconds: number;
	readonly disclosureDelay?: number;
	/** The clock that CATCHUP is answered from, too: see `utcSeconds`. */
	readonly clock: UtcClock;
	readonly store: SenderStore<ConcentratorBroadcastState>;
}

/** The concentrator's beacons. It learns a key of the head end only when everyone may. */
export class ConcentratorBroadcast {
	readonly timing: IntervalTiming;
	readonly domain: number;
	readonly #crypto = new SenderCrypto();
	readonly #chain: TeslaChain;
	readonly #clock: SenderClock;
	readonly #store: SenderStore<ConcentratorBroadcastState>;
	/** Newest last. */
	readonly #headEndKeys: { readonly number: number; readonly key: Uint8Array }[] = [];

	constructor(options: ConcentratorBroadcastOptions) {
		const { seed, domain, intervalSeconds, disclosureDelay = DISCLOSURE_DELAY_DEFAULT, clock, store } = options;
		this.timing = new IntervalTiming(intervalSeconds, disclosureDelay);
		this.domain = domain;
		this.#chain = new TeslaChain(this.#crypto, seed, domain, Chain.concentrator, this.timing);
		this.#store = store;
		this.#clock = new SenderClock(clock, this.timing, store.load()?.reached ?? -1);
	}

	/** The time that CATCHUP must be answered with. @throws UserError when the clock went back */
	utcSeconds(): number {
		return this.#clock.utcSeconds();
	}

	/** A key that the head end has disclosed. It is not checked here: meters do, and a wrong one is of no use. */
	headEndKey({ epoch, interval, key }: DisclosedKey): void {
		const number = this.timing.numberOf(epoch, interval);
		const keys = this.#headEndKeys;
		if (keys.length > 0 && number <= keys[keys.length - 1]!.number) return;
		keys.push({ number, key: key.slice() });
		if (keys.length > HEAD_END_KEYS) keys.shift();
	}

	/** BEACON of this interval, for sending at once and, if wished, again while the interval lasts. */
	beacon(content: BeaconContent = NO_TREE): Uint8Array {
		const number = this.#clock.number();
		const epoch = this.timing.epochOf(number);
		const interval = this.timing.intervalOf(number);
		const keyNumber = number - this.timing.disclosureDelay;
		const isTomorrows = interval >= this.timing.intervalsADay / 2 && interval % TOMORROW_EVERY === 0;
		const extension = isTomorrows
			? BeaconExtension.tomorrow
			: content.groups
				? BeaconExtension.groups
				: BeaconExtension.none;
		const bytes = new Uint8Array(BEACON_BYTES_MAX);
		const headEnd = this.#headEndKeyUpTo(keyNumber);
		const headEndLag = headEnd ? keyNumber - headEnd.number : NO_HEAD_END_KEY;
		const { generation, generationOfDay, patchDelta } = content;
		const signed = encodeBeacon(
			{ domain: this.domain, epoch, interval, headEndLag, generation, generationOfDay, patchDelta, extension },
			bytes,
		);
		this.#reach(number);
		bytes.set(this.#chain.keyOf(keyNumber), BEACON_CHAIN_KEY);
		if (headEnd) bytes.set(headEnd.key, BEACON_HEAD_END_KEY);
		if (isTomorrows) bytes.set(this.#chain.anchorOf(epoch + 1), BEACON_EXTENSION + 1);
		else if (content.groups) bytes.set(content.groups, BEACON_EXTENSION + 1);
		const message = bytes.slice(0, signed + MAC_BYTES);
		sign(this.#crypto, this.#chain, number, message);
		return message;
	}

	/**
	 * Time and newest key for a CATCHUP. In the first d intervals of a day the newest key is yesterday's and says nothing of
	 * today: T_0 is given instead.
	 */
	catchUpKey(): CatchUpKey {
		const utcMilliseconds = this.#clock.utcSeconds() * 1000;
		const number = this.timing.numberAt(utcMilliseconds);
		const epoch = this.timing.epochOf(number);
		const interval = this.timing.intervalOf(number);
		const milliseconds = Math.floor(utcMilliseconds - this.timing.startMilliseconds(number));
		const { disclosureDelay } = this.timing;
		this.#reach(number);
		if (interval < disclosureDelay)
			return { epoch, interval, milliseconds, keyInterval: 0xffff, key: this.#chain.anchorOf(epoch) };
		const key = this.#chain.keyOf(number - disclosureDelay).slice();
		return { epoch, interval, milliseconds, keyInterval: interval - disclosureDelay, key };
	}

	/** The newest key of the head end that this clock, too, says is disclosed. */
	#headEndKeyUpTo(number: number): { number: number; key: Uint8Array } | undefined {
		for (let i = this.#headEndKeys.length - 1; i >= 0; i--) {
			const held = this.#headEndKeys[i]!;
			if (held.number <= number) return number - held.number < NO_HEAD_END_KEY ? held : undefined;
		}
		// All are newer: the head end's clock is ahead. Older keys of the day follow from them.
		const [oldest] = this.#headEndKeys;
		const epoch = this.timing.epochOf(number);
		if (!oldest || this.timing.epochOf(oldest.number) !== epoch) return undefined;
		const context = new Uint8Array(CHAIN_CONTEXT_BYTES);
		const key = oldest.key.slice();
		startContext(context, ALL_DOMAINS, Chain.headEnd, epoch);
		for (let i = oldest.number; i > number; i--)
			stepKey(this.#crypto, Label.previousKey, context, this.timing.intervalOf(i) + 1, key, 0, key, 0);
		return { number, key };
	}

	#reach(number: number): void {
		this.#clock.reach(number, () => this.#store.save({ reached: number }));
	}
}
