import { type BroadcastListener, BroadcastReceiver } from "../../../src/broadcast/broadcast-receiver.js";
import { type Anchor, createAnchor, verifyAnchor } from "../../../src/broadcast/calendar.js";
import { Status, statusName } from "../../../src/bytes/status.js";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { CalendarTree } from "../../broadcast/calendar-tree.js";
import { ConcentratorBroadcast, type ConcentratorBroadcastState } from "../../broadcast/concentrator-broadcast.js";
import { HeadEndBroadcast, type HeadEndBroadcastState } from "../../broadcast/head-end-broadcast.js";
import type { SenderStore } from "../../broadcast/sender-clock.js";
import { SenderCrypto } from "../../broadcast/sender-crypto.js";

export const DOMAIN = 0x1234;
export const FIRST_EPOCH = 9_824;
export const LEVELS = 5;
export const DAY_SECONDS = 86_400;
export const HEAD_END_SEED = Uint8Array.from({ length: 32 }, (_, i) => i);
export const CONCENTRATOR_SEED = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);

/** Every compression of KDF and hash, as section 9 of HORA counts them. */
export class CompressionCounter extends SenderCrypto implements Crypto {
	compressions = 0;

	override kdf(...args: Parameters<Crypto["kdf"]>): void {
		this.compressions++;
		super.kdf(...args);
	}

	override sha256(...args: Parameters<Crypto["sha256"]>): void {
		this.compressions += Math.ceil((args[2] + 9) / 64);
		super.sha256(...args);
	}

	/** What one call costs. */
	cost(call: () => void): number {
		const before = this.compressions;
		call();
		return this.compressions - before;
	}
}

/** Keeps what a sender saves, across its restarts. */
export class MemoryStore<State> implements SenderStore<State> {
	saved: State | undefined;
	saves = 0;

	load(): State | undefined {
		return this.saved;
	}

	save(state: State): void {
		this.saved = state;
		this.saves++;
	}
}

/** Time of the senders. */
export class TestClock {
	now: number;

	constructor(now: number) {
		this.now = now;
	}

	utcSeconds(): number {
		return this.now;
	}
}

const calendars = new Map<number, CalendarTree>();

/** Of 32 days; made once for each interval length. */
export function testCalendar(intervalSeconds: number): CalendarTree {
	let calendar = calendars.get(intervalSeconds);
	if (!calendar) {
		calendar = CalendarTree.build(HEAD_END_SEED, { firstEpoch: FIRST_EPOCH, levels: LEVELS, intervalSeconds });
		calendars.set(intervalSeconds, calendar);
	}
	return calendar;
}

export interface SendersOptions {
	readonly intervalSeconds?: number;
	readonly disclosureDelay?: number;
	/** s since 2000-01-01; default: noon of the calendar's second day. */
	readonly startSeconds?: number;
}

/** Head end and concentrator, with one clock and a pipe between them. */
export class Senders {
	readonly clock: TestClock;
	readonly headEndStore = new MemoryStore<HeadEndBroadcastState>();
	readonly concentratorStore = new MemoryStore<ConcentratorBroadcastState>();
	readonly calendar: CalendarTree;
	readonly intervalSeconds: number;
	readonly disclosureDelay: number;
	headEnd: HeadEndBroadcast;
	concentrator: ConcentratorBroadcast;

	constructor({
		intervalSeconds = 900,
		disclosureDelay = 2,
		startSeconds = (FIRST_EPOCH + 1.5) * DAY_SECONDS,
	}: SendersOptions = {}) {
		this.clock = new TestClock(startSeconds);
		this.intervalSeconds = intervalSeconds;
		this.disclosureDelay = disclosureDelay;
		this.calendar = testCalendar(intervalSeconds);
		this.headEnd = this.newHeadEnd();
		this.concentrator = this.newConcentrator();
	}

	newHeadEnd(): HeadEndBroadcast {
		const { calendar, clock, disclosureDelay, headEndStore: store } = this;
		return new HeadEndBroadcast({ seed: HEAD_END_SEED, calendar, clock, disclosureDelay, store });
	}

	newConcentrator(): ConcentratorBroadcast {
		const { clock, intervalSeconds, disclosureDelay, concentratorStore: store } = this;
		const seed = CONCENTRATOR_SEED;
		return new ConcentratorBroadcast({ seed, domain: DOMAIN, intervalSeconds, disclosureDelay, clock, store });
	}

	get number(): number {
		return this.headEnd.timing.numberAt(this.clock.now * 1000);
	}

	/** BEACON of now, with the head end's newest key. */
	beacon(): Uint8Array {
		const key = this.headEnd.disclosed();
		if (key) this.concentrator.headEndKey(key);
		return this.concentrator.beacon();
	}
}

export interface Heard {
	readonly what: "beacon" | "broadcast" | "flash";
	/** `epoch/interval/counter`, or `slot/scope/level`. */
	readonly name: string;
	readonly payload: string;
}

/** A meter's receiver, and what it handed on. */
export class Meter implements BroadcastListener {
	readonly crypto: CompressionCounter;
	readonly heard: Heard[] = [];
	readonly usedSlots: number[] = [];
	/** Survives power loss. */
	nextSlot = 0;
	slotAnswer: Status = Status.ok;
	receiver: BroadcastReceiver;
	readonly senders: Senders;
	readonly #anchor: Anchor = createAnchor();
	readonly #random: () => number;
	/** Monotonic clock = (senders' clock − origin) × rate. */
	originSeconds: number;
	rate = 1;

	constructor(senders: Senders, random: () => number = Math.random, crypto = new CompressionCounter()) {
		this.senders = senders;
		this.crypto = crypto;
		this.#random = random;
		this.originSeconds = senders.clock.now;
		this.receiver = this.#newReceiver();
	}

	#newReceiver(): BroadcastReceiver {
		const { intervalSeconds, disclosureDelay } = this.senders;
		const random = {
			fill: (into: Uint8Array, offset: number, count: number) => {
				for (let i = 0; i < count; i++) into[offset + i] = Math.floor(this.#random() * 256);
				return Status.ok;
			},
		};
		return new BroadcastReceiver(this.crypto, random, this, this, DOMAIN, intervalSeconds, disclosureDelay);
	}

	get now(): number {
		return (this.senders.clock.now - this.originSeconds) * 1000 * this.rate;
	}

	powerLoss(): void {
		this.originSeconds = this.senders.clock.now;
		this.receiver = this.#newReceiver();
	}

	/** All that a start asks for, answered after a round trip that lies wholly before the answer. */
	start(roundTripMilliseconds = 0): void {
		this.anchor();
		this.time(roundTripMilliseconds);
		this.catchUp(roundTripMilliseconds);
	}

	anchor(bytes = this.senders.headEnd.anchor(DOMAIN)): Status {
		const { calendar } = this.senders;
		const status = verifyAnchor(this.crypto, calendar, bytes, bytes.length, this.#anchor);
		if (status === Status.ok) this.receiver.anchored(this.#anchor.epoch, this.#anchor.chainKey);
		return status;
	}

	/** The answer was given `roundTripMilliseconds` ago, and its question was sent right then. */
	time(roundTripMilliseconds = 0): Status {
		const told = Math.floor(this.senders.headEnd.utcSeconds() * 1000 - roundTripMilliseconds);
		return this.receiver.headEndTime(this.now, told, roundTripMilliseconds);
	}

	catchUp(roundTripMilliseconds = 0): Status {
		const { concentrator } = this.senders;
		const told = Math.floor(concentrator.utcSeconds() * 1000 - roundTripMilliseconds);
		const { epoch, interval, keyInterval, key } = concentrator.catchUpKey();
		const status = this.receiver.concentratorTime(this.now, told, roundTripMilliseconds);
		if (status !== Status.ok) return status;
		return this.receiver.concentratorKey(epoch, interval, keyInterval, key, 0);
	}

	give(bytes: Uint8Array): Status {
		return this.receiver.receive(this.now, bytes, bytes.length);
	}

	/** The same by name, for messages of assertions. */
	tell(bytes: Uint8Array): string {
		return statusName(this.give(bytes));
	}

	names(what: Heard["what"]): string[] {
		return this.heard.filter((one) => one.what === what).map((one) => one.name);
	}

	beacon(beacon: { epoch: number; interval: number }): void {
		this.heard.push({ what: "beacon", name: `${beacon.epoch}/${beacon.interval}`, payload: "" });
	}

	broadcast(
		chain: number,
		from: Uint8Array,
		offset: number,
		byteLength: number,
		epoch: number,
		interval: number,
		counter: number,
	): void {
		const payload = Buffer.from(from.subarray(offset, offset + byteLength)).toString("latin1");
		this.heard.push({ what: "broadcast", name: `${chain}/${epoch}/${interval}/${counter}`, payload });
	}

	flash(slot: number, scope: number, level: number): void {
		if (!this.usedSlots.includes(slot)) throw new Error("acted before the slot was used");
		this.heard.push({ what: "flash", name: `${slot}/${scope}/${level}`, payload: "" });
	}

	useSlot(slot: number): Status {
		if (this.slotAnswer !== Status.ok) return this.slotAnswer;
		if (slot < this.nextSlot) return Status.replayed;
		this.nextSlot = slot + 1;
		this.usedSlots.push(slot);
		return Status.ok;
	}
}

export const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value, "latin1"));
