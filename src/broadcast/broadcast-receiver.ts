import { InvariantError, Status, StatusCounters } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import {
	BEACON_BYTES_MAX,
	BEACON_CHAIN_KEY,
	BEACON_EXTENSION,
	BEACON_HEAD_END_KEY,
	type Beacon,
	BeaconExtension,
	BROADCAST_BYTES_MAX,
	BROADCAST_HEADER_BYTES,
	BROADCAST_OVERHEAD_BYTES,
	BroadcastType,
	createBeacon,
	createBroadcastHeader,
	decodeBeacon,
	decodeBroadcastHeader,
	NO_HEAD_END_KEY,
} from "./broadcast-messages.js";
import { ClockBound } from "./clock-bound.js";
import { FlashCommands, type FlashSlots } from "./flash-commands.js";
import { IntervalTiming } from "./interval-timing.js";
import { ALL_DOMAINS, Chain, GAP_MAX, MAC_BYTES, MAC_PREFIX_BYTES, TeslaReceiver, writeMacPrefix } from "./tesla.js";

/** Broadcasts of the head end that wait for their key. */
export const SLOTS = 4;
const SLOT_BYTES = MAC_PREFIX_BYTES + BROADCAST_BYTES_MAX;
const BEACON_SLOT_BYTES = MAC_PREFIX_BYTES + BEACON_BYTES_MAX;
const RANDOM_BYTES = 32;
export const DISCLOSURE_DELAY_DEFAULT = 2;
const DISCLOSURE_DELAY_MAX = 4;

/** What waits in a slot. */
const Held = Object.freeze({ nothing: 0, unverified: 1, genuine: 2 } as const);

/** Where random replacement draws from: `RandomSource` of src/crypto/drbg.ts. */
export interface RandomBytes {
	fill(into: Uint8Array, offset: number, byteLength: number): Status;
}

/** Hears what is verified, in the order of intervals, and each thing once. It must not call the receiver. */
export interface BroadcastListener {
	/** The header of a beacon, d intervals after it was sent. Bytes of an extension `groups` are in `from`. */
	beacon(beacon: Beacon, from: Uint8Array, extensionOffset: number): void;
	/** What the head end says to all. The bytes are the receiver's: copy what is kept. */
	broadcast(
		chain: Chain,
		from: Uint8Array,
		offset: number,
		byteLength: number,
		epoch: number,
		interval: number,
		counter: number,
	): void;
	/** A flash command; its slot is marked as used in flash. */
	flash(slot: number, scope: number, level: number): void;
}

/**
 * The meter's end of authenticated broadcast: keeps what came until its key is disclosed, checks it, and hands it on. Time
 * is an argument and nothing is asked for, so it wants no `tick`.
 *
 * Unverified input costs at most 2 × 96 compressions (beacon), none (broadcast), 256 eight times a minute (flash), and never
 * changes state; what waits in the slots is hashed once, when its genuine key came. All memory is made in the constructor:
 * 4 × 279 bytes for broadcasts, (d + 1) × 78 for beacons, 2 × 141 for the chains, 159 for flash commands, 96 of counters, 112
 * that say what is where: 1 999 bytes with d = 2.
 * @see HORA sections 6, 7, 9; docs/DESIGN-BROADCAST.md
 */
export class BroadcastReceiver {
	/** Every answer of `receive`, and `badTag` and `replayed` for what is found out when keys come. */
	readonly counters = new StatusCounters();
	/** U of each sender. */
	readonly headEndBound: ClockBound;
	readonly concentratorBound: ClockBound;
	readonly flashCommands: FlashCommands;
	readonly #timing: IntervalTiming;
	readonly #headEnd: TeslaReceiver;
	readonly #concentrator: TeslaReceiver;
	readonly #domain: number;
	readonly #random: RandomBytes;
	readonly #listener: BroadcastListener;

	/** Per slot: prefix and message, length of the message, interval number, counter, what is held. */
	readonly #slots = new Uint8Array(SLOTS * SLOT_BYTES);
	readonly #slotLength = new Uint16Array(SLOTS);
	readonly #slotNumber = new Float64Array(SLOTS);
	readonly #slotHeld = new Uint8Array(SLOTS);
	/** Those that wait, and those that had no luck, since a key was last disclosed. */
	#contenders = 0;
	readonly #header = createBroadcastHeader();

	/** A slot for each of the last d + 1 intervals. */
	readonly #beaconSlots: number;
	readonly #beacons: Uint8Array;
	readonly #beaconLength: Uint8Array;
	readonly #beaconNumber: Float64Array;
	readonly #beaconHeld: Uint8Array;
	readonly #beaconContenders: Uint16Array;
	readonly #beacon = createBeacon();
	/** Number of the last beacon that was handed on; -1: none. */
	#lastBeacon = -1;
	#wantsCatchUp = false;

	readonly #pool = new Uint8Array(RANDOM_BYTES);
	#poolLeft = 0;

	/**
	 * @param intervalSeconds of both chains; an interval that no message can number makes every answer `unsupported`
	 * @param disclosureDelay d, 1 to 4
	 */
	constructor(
		crypto: Crypto,
		random: RandomBytes,
		slots: FlashSlots,
		listener: BroadcastListener,
		domain: number,
		intervalSeconds: number,
		disclosureDelay: number = DISCLOSURE_DELAY_DEFAULT,
	) {
		if (!(disclosureDelay >= 1 && disclosureDelay <= DISCLOSURE_DELAY_MAX)) throw new InvariantError("no such delay");
		this.#random = random;
		this.#listener = listener;
		this.#domain = domain;
		this.#timing = new IntervalTiming(intervalSeconds, disclosureDelay);
		this.headEndBound = new ClockBound(this.#timing);
		this.concentratorBound = new ClockBound(this.#timing);
		this.#headEnd = new TeslaReceiver(crypto, this.#timing, Chain.headEnd, ALL_DOMAINS);
		this.#concentrator = new TeslaReceiver(crypto, this.#timing, Chain.concentrator, domain);
		this.flashCommands = new FlashCommands(crypto, this.#timing, this.headEndBound, slots);
		this.#beaconSlots = disclosureDelay + 1;
		this.#beacons = new Uint8Array(this.#beaconSlots * BEACON_SLOT_BYTES);
		this.#beaconLength = new Uint8Array(this.#beaconSlots);
		this.#beaconNumber = new Float64Array(this.#beaconSlots);
		this.#beaconHeld = new Uint8Array(this.#beaconSlots);
		this.#beaconContenders = new Uint16Array(this.#beaconSlots);
	}

	/**
	 * Whether a beacon came that the meter cannot verify before the concentrator has told its newest key (CATCHUP). Forged
	 * beacons can bring this about: ask no more often than HORA section 4.2 says.
	 */
	get wantsCatchUp(): boolean {
		return this.#wantsCatchUp;
	}

	/** Broadcasts and beacons that wait for their key. */
	get waitingCount(): number {
		let count = 0;
		for (let i = 0; i < SLOTS; i++) if (this.#slotHeld[i] !== Held.nothing) count++;
		for (let i = 0; i < this.#beaconSlots; i++) if (this.#beaconHeld[i] !== Held.nothing) count++;
		return count;
	}

	// ---- what other messages have proven

	/**
	 * A verified ANCHOR: the head end's chain of a day. Also that of a day which had begun before, as after each start.
	 * @param chainKey T_0, 16 bytes
	 */
	anchored(epoch: number, chainKey: Uint8Array): void {
		if (this.#timing.intervalsADay > 0 && !this.#headEnd.hasDay(epoch)) this.#headEnd.anchor(epoch, 0, chainKey, 0);
	}

	/**
	 * The head end's answer to a question with a nonce (TIME).
	 * @param utcMilliseconds its time in the answer, ms since 2000-01-01, and the whole round trip
	 * @returns `ok`; `timedOut`: too slow, ask again; `badValue`
	 */
	headEndTime(nowMilliseconds: number, utcMilliseconds: number, roundTripMilliseconds: number): Status {
		return this.headEndBound.set(nowMilliseconds, utcMilliseconds, roundTripMilliseconds);
	}

	/** The same of the concentrator (CATCHUP). */
	concentratorTime(nowMilliseconds: number, utcMilliseconds: number, roundTripMilliseconds: number): Status {
		return this.concentratorBound.set(nowMilliseconds, utcMilliseconds, roundTripMilliseconds);
	}

	/**
	 * The concentrator's newest key, out of CATCHUP: at most N compressions. What contradicts the chain that is held replaces
	 * it: the concentrator began anew.
	 * @param epoch of the answer
	 * @param keyInterval interval whose key it is; 0xFFFF: T_0 of the epoch; one that is later in the day than `interval` is
	 * yesterday's
	 * @param interval of the answer
	 * @returns `ok`, or `badValue`
	 */
	concentratorKey(epoch: number, interval: number, keyInterval: number, from: Uint8Array, offset: number): Status {
		const { intervalsADay } = this.#timing;
		const isStart = keyInterval === 0xffff;
		if (interval >= intervalsADay || !(isStart || keyInterval < intervalsADay)) return Status.badValue; // BCR-1
		const day = !isStart && keyInterval > interval ? epoch - 1 : epoch;
		const index = isStart ? 0 : keyInterval + 1;
		if (!this.#concentrator.anchor(day, index, from, offset)) {
			this.#concentrator.forget();
			this.#beaconHeld.fill(Held.nothing);
			this.#concentrator.anchor(day, index, from, offset);
		}
		this.#wantsCatchUp = false;
		this.#settleBeacons();
		return Status.ok;
	}

	/** As after power loss: keys, times and what waits. For new keys of the meter make a new receiver. */
	forget(): void {
		this.#headEnd.forget();
		this.#concentrator.forget();
		this.headEndBound.forget();
		this.concentratorBound.forget();
		this.flashCommands.forget();
		this.#slotHeld.fill(Held.nothing);
		this.#beaconHeld.fill(Held.nothing);
		this.#contenders = 0;
		this.#lastBeacon = -1;
	}

	// ---- what comes over the air

	/**
	 * BEACON, BCAST, FLASH-COMMIT or FLASH.
	 * @returns `ok`: it is kept until its key comes, or, a flash, was acted on; `badLength`, `badKind`, `badValue`,
	 * `unsupported`: no such message; `notFound`: of another domain, or nothing to verify it against; `clockInvalid`: no exchange
	 * since start; `expired`: too late; `replayed`: kept already, or of before the first exchange; `outOfOrder`: of an interval to
	 * come, or a key too far ahead (catch up); `badTag`: a wrong key or proof; `storageFull`: others drew the slots; `busy`: too
	 * many flash tries
	 */
	receive(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): Status {
		return this.counters.count(this.#receive(nowMilliseconds, bytes, byteLength));
	}

	#receive(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): Status {
		if (byteLength < 1 || byteLength > bytes.length) return Status.badLength; // BCR-2
		if (this.#timing.intervalsADay === 0) return Status.unsupported; // BCR-3
		switch (bytes[0]) {
			case BroadcastType.beacon:
				return this.#beaconReceived(nowMilliseconds, bytes, byteLength);
			case BroadcastType.broadcast:
			case BroadcastType.flashCommit:
				return this.#broadcastReceived(nowMilliseconds, bytes, byteLength);
			case BroadcastType.flash:
				return this.#flashReceived(nowMilliseconds, bytes, byteLength);
			default:
				return Status.badKind; // BCR-4
		}
	}

	#flashReceived(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): Status {
		const status = this.flashCommands.receive(nowMilliseconds, bytes, byteLength);
		const { slot, scope, level } = this.flashCommands.received;
		if (status === Status.ok) this.#listener.flash(slot, scope, level);
		return status;
	}

	#broadcastReceived(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): Status {
		const header = this.#header;
		const { intervalsADay } = this.#timing;
		const decoded = decodeBroadcastHeader(bytes, byteLength, header);
		if (decoded !== Status.ok) return decoded;
		if (header.domain !== ALL_DOMAINS && header.domain !== this.#domain) return Status.notFound; // BCR-5
		if (header.interval >= intervalsADay) return Status.badValue; // BCR-6
		if (!this.headEndBound.isSet) return Status.clockInvalid; // BCR-7
		const latest = this.headEndBound.number(nowMilliseconds);
		// An interval later than now + 1 belongs to yesterday (HORA section 8).
		let epoch = this.#timing.epochOf(latest);
		if (header.interval > this.#timing.intervalOf(latest) + 1) epoch--;
		const number = this.#timing.numberOf(epoch, header.interval);
		const status = this.headEndBound.check(nowMilliseconds, number);
		if (status !== Status.ok) return status; // BCR-8
		if (this.#headEnd.isDisclosed(epoch, header.interval)) return Status.expired; // BCR-9
		if (this.#isHeld(bytes, byteLength, number)) return Status.replayed; // BCR-10
		const slot = this.#chooseSlot(latest);
		if (slot < 0) return Status.storageFull; // BCR-11
		const at = slot * SLOT_BYTES;
		writeMacPrefix(this.#slots, at, epoch, ALL_DOMAINS, 0);
		for (let i = 0; i < byteLength; i++) this.#slots[at + MAC_PREFIX_BYTES + i] = bytes[i]!;
		this.#slotLength[slot] = byteLength;
		this.#slotNumber[slot] = number;
		this.#slotHeld[slot] = Held.unverified;
		return Status.ok;
	}

	/** Whether the very same bytes wait already: they are sent more than once, and count once. */
	#isHeld(bytes: Uint8Array, byteLength: number, number: number): boolean {
		for (let slot = 0; slot < SLOTS; slot++) {
			if (this.#slotHeld[slot] === Held.nothing || this.#slotNumber[slot] !== number) continue;
			if (this.#slotLength[slot] !== byteLength) continue;
			if (isSame(this.#slots, slot * SLOT_BYTES + MAC_PREFIX_BYTES, bytes, byteLength)) return true;
		}
		return false;
	}

	/**
	 * A free slot, or one whose key will not come any more; else the n-th contender gets a random one with probability 4/n, so
	 * that all of them have the same chance, whenever they came. @returns -1: it had no luck
	 */
	#chooseSlot(latest: number): number {
		if (this.#contenders < 0xffff) this.#contenders++;
		for (let i = 0; i < SLOTS; i++)
			if (this.#slotHeld[i] === Held.nothing || this.#isForlorn(this.#slotNumber[i]!, latest)) return i;
		const drawn = this.#draw(this.#contenders);
		return drawn < SLOTS ? drawn : -1;
	}

	/** A key is not disclosed after the first d intervals of the next day, and hardly later than the gap that is walked. */
	#isForlorn(number: number, latest: number): boolean {
		const { disclosureDelay, intervalsADay } = this.#timing;
		const isYesterdays = this.#timing.epochOf(number) < this.#timing.epochOf(latest);
		return (
			latest > number + GAP_MAX + disclosureDelay || (isYesterdays && latest % intervalsADay >= 2 * disclosureDelay)
		);
	}

	/** 0 to limit - 1; limit at most 65 535. Without randomness the last, which no slot has. */
	#draw(limit: number): number {
		if (this.#poolLeft < 2) {
			if (this.#random.fill(this.#pool, 0, RANDOM_BYTES) !== Status.ok) return limit - 1;
			this.#poolLeft = RANDOM_BYTES;
		}
		this.#poolLeft -= 2;
		const value = this.#pool[this.#poolLeft]! * 256 + this.#pool[this.#poolLeft + 1]!;
		return Math.floor((value * limit) / 65_536);
	}

	// ---- beacons

	#beaconReceived(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): Status {
		const beacon = this.#beacon;
		const { intervalsADay, disclosureDelay } = this.#timing;
		const decoded = decodeBeacon(bytes, 0, byteLength, beacon);
		if (decoded !== Status.ok) return decoded;
		if (beacon.domain !== this.#domain) return Status.notFound; // BCR-12
		const { epoch, interval, headEndLag } = beacon;
		if (interval >= intervalsADay) return Status.badValue; // BCR-13
		const bound = this.concentratorBound;
		const number = this.#timing.numberOf(epoch, interval);
		// One interval of tolerance, as elsewhere: a key that shows that U is too early moves it.
		if (bound.isSet && number > bound.number(nowMilliseconds) + 1) return Status.outOfOrder; // BCR-14
		const keyNumber = number - disclosureDelay;
		const key = this.#disclosed(nowMilliseconds, Chain.concentrator, keyNumber, bytes, BEACON_CHAIN_KEY);
		if (key === Status.outOfOrder) this.#wantsCatchUp = true;
		if (key === Status.badTag || key === Status.outOfOrder) return key; // BCR-15
		if (headEndLag !== NO_HEAD_END_KEY) {
			const headEndKey = this.#disclosed(
				nowMilliseconds,
				Chain.headEnd,
				keyNumber - headEndLag,
				bytes,
				BEACON_HEAD_END_KEY,
			);
			if (headEndKey !== Status.ok && headEndKey !== Status.replayed) this.counters.count(headEndKey);
		}
		// Only now: a key is welcome however late it comes, what it is sent with is not.
		const status = bound.check(nowMilliseconds, number);
		if (status !== Status.ok) return status; // BCR-16
		if (!this.#concentrator.hasDay(epoch)) {
			this.#wantsCatchUp = true;
			return Status.notFound; // BCR-17
		}
		if (this.#concentrator.isDisclosed(epoch, interval)) return Status.expired; // BCR-18
		return this.#keepBeacon(bytes, byteLength, number, epoch);
	}

	#keepBeacon(bytes: Uint8Array, byteLength: number, number: number, epoch: number): Status {
		const slot = number % this.#beaconSlots;
		const at = slot * BEACON_SLOT_BYTES;
		const isTaken = this.#beaconHeld[slot] !== Held.nothing && this.#beaconNumber[slot] === number;
		if (isTaken) {
			if (this.#beaconLength[slot] === byteLength && isSame(this.#beacons, at + MAC_PREFIX_BYTES, bytes, byteLength))
				return Status.replayed; // BCR-19
			const contenders = Math.min(this.#beaconContenders[slot]! + 1, 0xffff);
			this.#beaconContenders[slot] = contenders;
			if (this.#draw(contenders) !== 0) return Status.storageFull; // BCR-20
		} else this.#beaconContenders[slot] = 1;
		writeMacPrefix(this.#beacons, at, epoch, this.#domain, 0);
		for (let i = 0; i < byteLength; i++) this.#beacons[at + MAC_PREFIX_BYTES + i] = bytes[i]!;
		this.#beaconLength[slot] = byteLength;
		this.#beaconNumber[slot] = number;
		this.#beaconHeld[slot] = Held.unverified;
		return Status.ok;
	}

	// ---- when a key comes

	/** A key that a beacon shows, of an interval by number; when it is genuine and new, what waited for it is checked. */
	#disclosed(nowMilliseconds: number, chain: Chain, number: number, bytes: Uint8Array, offset: number): Status {
		if (number < 0) return Status.notFound;
		const isHeadEnd = chain === Chain.headEnd;
		const receiver = isHeadEnd ? this.#headEnd : this.#concentrator;
		const epoch = this.#timing.epochOf(number);
		const index = this.#timing.intervalOf(number) + 1;
		const status = receiver.disclose(nowMilliseconds, epoch, index, bytes, offset);
		if (status !== Status.ok) return status;
		const bound = isHeadEnd ? this.headEndBound : this.concentratorBound;
		bound.advance(nowMilliseconds, number + this.#timing.disclosureDelay);
		if (isHeadEnd) this.#settleBroadcasts(nowMilliseconds);
		else this.#settleBeacons();
		return Status.ok;
	}

	#settleBroadcasts(nowMilliseconds: number): void {
		// Downwards, as the chain is walked; then what is genuine upwards, as it was sent.
		for (;;) {
			const slot = this.#nextDisclosed(this.#headEnd, SLOTS, this.#slotHeld, this.#slotNumber);
			if (slot < 0) break;
			const number = this.#slotNumber[slot]!;
			const epoch = this.#timing.epochOf(number);
			const signed = MAC_PREFIX_BYTES + this.#slotLength[slot]! - MAC_BYTES;
			const interval = this.#timing.intervalOf(number);
			const isGenuine = this.#headEnd.isGenuine(epoch, interval, this.#slots, slot * SLOT_BYTES, signed);
			this.#slotHeld[slot] = isGenuine ? Held.genuine : Held.nothing;
			if (!isGenuine) this.counters.count(Status.badTag); // BCR-21
		}
		let last = -1;
		for (;;) {
			let slot = -1;
			let lowest = Number.POSITIVE_INFINITY;
			for (let i = 0; i < SLOTS; i++) {
				const order = this.#slotNumber[i]! * 65_536 + this.#counterOf(i);
				if (this.#slotHeld[i] !== Held.genuine || order >= lowest) continue;
				slot = i;
				lowest = order;
			}
			if (slot < 0) break;
			// Freed after the listener had it: the bytes are in the slot.
			if (lowest === last)
				this.counters.count(Status.replayed); // BCR-22
			else this.#handOn(nowMilliseconds, slot);
			last = lowest;
			this.#slotHeld[slot] = Held.nothing;
		}
		this.#contenders = 0;
		for (let i = 0; i < SLOTS; i++) if (this.#slotHeld[i] !== Held.nothing) this.#contenders++;
	}

	#handOn(nowMilliseconds: number, slot: number): void {
		const at = slot * SLOT_BYTES + MAC_PREFIX_BYTES;
		const payload = at + BROADCAST_HEADER_BYTES;
		if (this.#slots[at] === BroadcastType.flashCommit) {
			this.counters.count(this.flashCommands.commit(nowMilliseconds, this.#slots, payload));
			return;
		}
		const number = this.#slotNumber[slot]!;
		this.#listener.broadcast(
			Chain.headEnd,
			this.#slots,
			payload,
			this.#slotLength[slot]! - BROADCAST_OVERHEAD_BYTES,
			this.#timing.epochOf(number),
			this.#timing.intervalOf(number),
			this.#counterOf(slot),
		);
	}

	#counterOf(slot: number): number {
		const at = slot * SLOT_BYTES + MAC_PREFIX_BYTES + 6;
		return this.#slots[at]! * 256 + this.#slots[at + 1]!;
	}

	#settleBeacons(): void {
		for (;;) {
			const slot = this.#nextDisclosed(this.#concentrator, this.#beaconSlots, this.#beaconHeld, this.#beaconNumber);
			if (slot < 0) break;
			const number = this.#beaconNumber[slot]!;
			const epoch = this.#timing.epochOf(number);
			const signed = MAC_PREFIX_BYTES + this.#beaconLength[slot]! - MAC_BYTES;
			const interval = this.#timing.intervalOf(number);
			const at = slot * BEACON_SLOT_BYTES;
			const isGenuine = this.#concentrator.isGenuine(epoch, interval, this.#beacons, at, signed);
			this.#beaconHeld[slot] = isGenuine ? Held.genuine : Held.nothing;
			if (!isGenuine) this.counters.count(Status.badTag); // BCR-23
		}
		for (;;) {
			let slot = -1;
			for (let i = 0; i < this.#beaconSlots; i++)
				if (this.#beaconHeld[i] === Held.genuine && (slot < 0 || this.#beaconNumber[i]! < this.#beaconNumber[slot]!))
					slot = i;
			if (slot < 0) return;
			this.#beaconHeld[slot] = Held.nothing;
			if (this.#beaconNumber[slot]! > this.#lastBeacon) this.#handOnBeacon(slot);
		}
	}

	#handOnBeacon(slot: number): void {
		const beacon = this.#beacon;
		const at = slot * BEACON_SLOT_BYTES + MAC_PREFIX_BYTES;
		decodeBeacon(this.#beacons, at, this.#beaconLength[slot]!, beacon);
		this.#lastBeacon = this.#beaconNumber[slot]!;
		const extension = at + BEACON_EXTENSION + 1;
		if (beacon.extension === BeaconExtension.tomorrow)
			this.#concentrator.anchor(beacon.epoch + 1, 0, this.#beacons, extension);
		this.#listener.beacon(beacon, this.#beacons, extension);
	}

	/** Of what waits under a disclosed key, the latest. @returns its slot, or -1 */
	#nextDisclosed(chain: TeslaReceiver, count: number, held: Uint8Array, numbers: Float64Array): number {
		let found = -1;
		for (let i = 0; i < count; i++) {
			if (held[i] !== Held.unverified) continue;
			const number = numbers[i]!;
			if (!chain.isDisclosed(this.#timing.epochOf(number), this.#timing.intervalOf(number))) continue;
			if (found < 0 || number > numbers[found]!) found = i;
		}
		return found;
	}
}

function isSame(held: Uint8Array, offset: number, bytes: Uint8Array, byteLength: number): boolean {
	for (let i = 0; i < byteLength; i++) if (held[offset + i] !== bytes[i]) return false;
	return true;
}
