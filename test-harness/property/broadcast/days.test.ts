import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import { generator, mutate } from "../../fuzz/mqtt/frames.js";
import { seed } from "../../seed.js";
import { DAY_SECONDS, FIRST_EPOCH, Meter, Senders, text } from "../../unit/broadcast/world.js";
import { Attacker, EVIL } from "./attacker.js";

interface Days {
	readonly randomness: number;
	readonly intervalSeconds: number;
	readonly disclosureDelay: number;
	/** Of the first day, before its midnight. */
	readonly intervalsBefore: number;
	readonly intervalsAfter: number;
	readonly lossPercent: number;
	readonly copies: number;
	/** Intervals. */
	readonly delayMax: number;
	/** Of the meter's oscillator, -100 to 100. */
	readonly driftPpm: number;
	readonly powerLosses: number;
	readonly attacks: number;
	readonly isConcentratorStolen: boolean;
	readonly senderRestarts: number;
}

interface Event {
	readonly at: number;
	readonly run: () => void;
}

/** Plays the days and checks what must always hold. */
class Play {
	readonly senders: Senders;
	readonly meter: Meter;
	readonly sent = new Map<string, string>();
	readonly beacons = new Set<string>();
	readonly #days: Days;
	readonly #random: (below: number) => number;
	readonly #attacker: Attacker;
	readonly #recorded: Uint8Array[] = [];
	#events: Event[] = [];
	#isOn = true;
	readonly start: number;
	readonly end: number;

	constructor(days: Days) {
		const { intervalSeconds, disclosureDelay, intervalsBefore, intervalsAfter } = days;
		const midnight = (FIRST_EPOCH + 2) * DAY_SECONDS;
		this.start = midnight - intervalsBefore * intervalSeconds;
		this.end = midnight + intervalsAfter * intervalSeconds;
		this.#days = days;
		this.#random = generator(days.randomness);
		this.senders = new Senders({ intervalSeconds, disclosureDelay, startSeconds: this.start });
		this.meter = new Meter(this.senders, () => this.#random(256) / 256);
		this.meter.rate = 1 + days.driftPpm / 1e6;
		this.#attacker = new Attacker(this.senders);
	}

	run(): void {
		const { intervalSeconds, powerLosses, attacks, senderRestarts } = this.#days;
		const { senders, meter } = this;
		const span = this.end - this.start;
		this.#boot();
		for (let at = this.start; at < this.end; at += intervalSeconds) {
			this.#at(at + 0.05 * this.#fraction() * intervalSeconds, () => this.#air(senders.beacon(), "beacon"));
			if (this.#random(2) === 0) this.#at(at + this.#fraction() * intervalSeconds, () => this.#broadcast());
			this.#at(at + this.#fraction() * intervalSeconds, () => this.#catchUpWhenWanted());
			if (at % DAY_SECONDS < intervalSeconds) this.#at(at + 0.1 * intervalSeconds, () => this.#isOn && meter.anchor());
			if (this.#random(20) === 0)
				this.#at(at + this.#fraction() * intervalSeconds, () => this.#isOn && this.#exchange());
		}
		const anywhere = (count: number, run: () => void) => {
			for (let i = 0; i < count; i++) this.#at(this.start + this.#fraction() * span, run);
		};
		anywhere(attacks, () => this.#attack());
		anywhere(senderRestarts, () => {
			senders.headEnd = senders.newHeadEnd();
			senders.concentrator = senders.newConcentrator();
		});
		anywhere(powerLosses, () => {
			this.#isOn = false;
			this.#at(senders.clock.now + this.#fraction() * 3 * intervalSeconds, () => this.#boot());
		});
		this.#events.sort((a, b) => a.at - b.at);
		for (let event = this.#events.shift(); event && event.at < this.end; event = this.#events.shift()) {
			senders.clock.now = Math.max(senders.clock.now, event.at);
			event.run();
			this.#check();
		}
	}

	#fraction(): number {
		return this.#random(1_000_000) / 1_000_000;
	}

	#at(at: number, run: () => void): void {
		const event = { at, run };
		const after = this.#events.findIndex((other) => other.at > at);
		if (after < 0) this.#events.push(event);
		else this.#events.splice(after, 0, event);
	}

	#boot(): void {
		this.#isOn = true;
		this.meter.powerLoss();
		this.meter.anchor();
		this.#exchange();
	}

	#exchange(): void {
		const quarter = 250 * this.#days.intervalSeconds;
		assert.equal(this.meter.time(this.#random(quarter)), Status.ok);
		assert.equal(this.meter.catchUp(this.#random(quarter)), Status.ok);
	}

	#broadcast(): void {
		const { headEnd } = this.senders;
		const payload = `tariff ${this.sent.size}`;
		const message = headEnd.broadcast(text(payload));
		const { timing } = headEnd;
		const { number } = this.senders;
		const counter = message[6]! * 256 + message[7]!;
		const name = `0/${timing.epochOf(number)}/${timing.intervalOf(number)}/${counter}`;
		assert.ok(!this.sent.has(name), `${name} was used before`);
		this.sent.set(name, payload);
		this.#air(message, "broadcast");
	}

	#air(message: Uint8Array, kind: "beacon" | "broadcast"): void {
		const { lossPercent, copies, delayMax, intervalSeconds } = this.#days;
		if (kind === "beacon") {
			const { timing } = this.senders.headEnd;
			const { number } = this.senders;
			this.beacons.add(`${timing.epochOf(number)}/${timing.intervalOf(number)}`);
		}
		this.#recorded.push(message);
		for (let copy = 0; copy < copies; copy++) {
			if (this.#random(100) < lossPercent) continue;
			const delay = this.#fraction() * delayMax * intervalSeconds;
			this.#at(this.senders.clock.now + delay, () => this.#isOn && this.meter.give(message));
		}
	}

	#attack(): void {
		const { senders } = this;
		const { isConcentratorStolen, disclosureDelay } = this.#days;
		const now = senders.number;
		const forged = (): Uint8Array => {
			const recorded = this.#recorded[this.#random(this.#recorded.length)];
			switch (this.#random(isConcentratorStolen ? 6 : 3)) {
				case 0:
					return this.#attacker.forge(now - disclosureDelay - this.#random(3), this.#random(4));
				case 1:
					return recorded ? mutate(recorded, this.#random) : new Uint8Array(1);
				case 2:
					return recorded ?? new Uint8Array(1);
				case 3:
					return this.#attacker.forgeByConcentrator(now - 2 + this.#random(4), this.#random(4));
				default: {
					// A stolen concentrator may say any time, and show any key.
					const key = senders.headEnd.disclosed()?.key ?? new Uint8Array(16);
					if (this.#random(2) === 0) key[this.#random(16)]! ^= 1;
					return this.#attacker.beaconByConcentrator(now - 4 + this.#random(9), this.#random(3), key);
				}
			}
		};
		const message = forged();
		if (this.#isOn) this.meter.give(message);
	}

	/** The meter asks when it must, a while later. */
	#catchUpWhenWanted(): void {
		if (this.#isOn && this.meter.receiver.wantsCatchUp) this.#exchange();
	}

	#check(): void {
		const { meter, senders } = this;
		const replay = JSON.stringify(this.#days);
		for (const bound of [meter.receiver.headEndBound, meter.receiver.concentratorBound])
			if (bound.isSet) assert.ok(bound.milliseconds(meter.now) >= senders.clock.now * 1000, `U is behind: ${replay}`);
		for (const { what, name, payload } of meter.heard.splice(0)) {
			const key = `${what} ${name}`;
			// A stolen concentrator shows its own keys early: after power loss its beacon may come again. They are its to say.
			if (what === "broadcast" || !this.#days.isConcentratorStolen)
				assert.ok(!this.#acted.has(key), `${key} twice: ${replay}`);
			this.#acted.add(key);
			assert.notEqual(payload, EVIL, replay);
			if (what === "broadcast") assert.equal(this.sent.get(name), payload, `${name}: ${replay}`);
			else if (!this.#days.isConcentratorStolen) assert.ok(this.beacons.has(name), `${name}: ${replay}`);
		}
	}

	readonly #acted = new Set<string>();

	wasActedOn(what: string, name: string): boolean {
		return this.#acted.has(`${what} ${name}`);
	}

	get actedCount(): number {
		return this.#acted.size;
	}
}

const anyDays = fc.record<Days>({
	randomness: fc.integer({ min: 1, max: 0x7fff_ffff }),
	intervalSeconds: fc.constantFrom(60, 900, 3600),
	disclosureDelay: fc.constantFrom(1, 2, 3),
	intervalsBefore: fc.integer({ min: 1, max: 24 }),
	intervalsAfter: fc.integer({ min: 8, max: 48 }),
	lossPercent: fc.integer({ min: 0, max: 60 }),
	copies: fc.integer({ min: 1, max: 3 }),
	delayMax: fc.double({ min: 0, max: 3, noNaN: true }),
	driftPpm: fc.integer({ min: -100, max: 100 }),
	powerLosses: fc.integer({ min: 0, max: 4 }),
	attacks: fc.integer({ min: 0, max: 200 }),
	isConcentratorStolen: fc.boolean(),
	senderRestarts: fc.integer({ min: 0, max: 3 }),
});

test("whatever air, power and adversary do: only what the head end said, once, and U is never behind", () => {
	let acted = 0;
	fc.assert(
		fc.property(anyDays, (days) => {
			const play = new Play(days);
			play.run();
			acted += play.actedCount;
		}),
		{ seed, numRuns: 60 },
	);
	assert.ok(acted > 200, `only ${acted} messages were acted on: the test would see little`);
	console.log(`${acted} messages acted on`);
});

test("with a fair link everything is acted on, through midnight and whatever the clock drifts", () => {
	fc.assert(
		fc.property(
			anyDays.map((days) => ({
				...days,
				disclosureDelay: 2,
				// Every fourth beacon of the afternoon tells the concentrator's chain of tomorrow.
				intervalsBefore: Math.max(6, days.intervalsBefore),
				lossPercent: 0,
				delayMax: 0.2,
				powerLosses: 0,
				attacks: 0,
				senderRestarts: 0,
			})),
			(days) => {
				const play = new Play(days);
				play.run();
				const { timing } = play.senders.headEnd;
				const last = timing.numberAt(play.end * 1000) - 4;
				const first = timing.numberAt(play.start * 1000);
				// Those of the interval of the start are refused, and the last ones wait for their key.
				const due = (name: string, at: number) => {
					const [epoch, interval] = name.split("/").slice(at).map(Number);
					const number = timing.numberOf(epoch!, interval!);
					return number > first + 1 && number < last;
				};
				for (const name of play.sent.keys())
					if (due(name, 1)) assert.ok(play.wasActedOn("broadcast", name), `${name}: ${JSON.stringify(days)}`);
				for (const name of play.beacons)
					if (due(name, 0)) assert.ok(play.wasActedOn("beacon", name), `${name}: ${JSON.stringify(days)}`);
			},
		),
		{ seed, numRuns: 30 },
	);
});
