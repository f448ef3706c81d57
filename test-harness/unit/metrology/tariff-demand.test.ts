import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { DEMAND_STATE_BYTES, MaximumDemand } from "../../../src/metrology/demand.js";
import {
	type CalendarDate,
	dailyCalendar,
	dateOfDay,
	dayOfDate,
	euSummerTime,
	TariffCalendar,
	weekdayOfDay,
} from "../../../src/metrology/tariff.js";

/** s since 2000-01-01T00:00:00Z of an ISO time. */
function utc(text: string): number {
	return (Date.parse(text) - Date.UTC(2000, 0, 1)) / 1000;
}

test("dates agree with the platform's calendar for 120 years", () => {
	const date: CalendarDate = { year: 0, month: 0, day: 0 };
	for (let day = -365; day < 43_830; day++) {
		const expected = new Date(Date.UTC(2000, 0, 1 + day));
		dateOfDay(day, date);
		assert.deepEqual(
			[date.year, date.month, date.day, weekdayOfDay(day)],
			[expected.getUTCFullYear(), expected.getUTCMonth() + 1, expected.getUTCDate(), (expected.getUTCDay() + 6) % 7],
		);
		assert.equal(dayOfDate(date.year, date.month, date.day), day);
	}
});

test("EU summer time starts and ends at 01:00 UTC of the last Sundays", () => {
	const scratch: CalendarDate = { year: 0, month: 0, day: 0 };
	for (const [text, expected] of [
		["2026-03-29T00:59:59Z", false],
		["2026-03-29T01:00:00Z", true],
		["2026-10-25T00:59:59Z", true],
		["2026-10-25T01:00:00Z", false],
		["2024-03-31T01:00:00Z", true],
		["2023-10-29T01:00:00Z", false],
		["2026-12-31T23:59:59Z", false],
	] as const)
		assert.equal(euSummerTime(utc(text), scratch), expected, text);
});

test("a calendar of seasons, weekdays and special days, asked in any order", () => {
	const calendar = () =>
		new TariffCalendar({
			utcOffsetMinutes: 60,
			summerTime: true,
			dayTypes: [
				[
					{ minute: 360, tariff: 1 },
					{ minute: 1320, tariff: 2 },
				],
				[{ minute: 0, tariff: 3 }],
				[
					{ minute: 0, tariff: 4 },
					{ minute: 720, tariff: 1 },
				],
			],
			seasons: [
				{ month: 4, day: 1, week: [0, 0, 0, 0, 0, 1, 1] },
				{ month: 10, day: 1, week: [2, 2, 2, 2, 2, 1, 1] },
			],
			specialDays: [
				{ month: 12, day: 25, dayType: 1 },
				{ year: 2026, month: 7, day: 6, dayType: 2 },
			],
		});
	const cases: readonly (readonly [string, number])[] = [
		["2026-07-01T03:59:59Z", 2], // Wednesday 05:59:59 local
		["2026-07-01T04:00:00Z", 1],
		["2026-07-01T19:59:59Z", 1],
		["2026-07-01T20:00:00Z", 2],
		["2026-07-04T12:00:00Z", 3], // Saturday
		["2026-07-06T09:59:59Z", 4], // special day, 11:59:59 local
		["2026-07-06T10:00:00Z", 1],
		["2027-07-06T10:00:00Z", 1], // no special day in 2027: Tuesday
		["2026-12-25T12:00:00Z", 3],
		["2026-01-05T10:59:59Z", 4], // Monday, season of October, 11:59:59 local
		["2026-01-05T11:00:00Z", 1],
	];
	for (const [text, tariff] of cases) assert.equal(calendar().tariffAt(utc(text)), tariff, text);
	// one calendar that keeps its last answer must say the same
	const kept = calendar();
	for (const [text, tariff] of [...cases, ...[...cases].reverse()])
		assert.equal(kept.tariffAt(utc(text)), tariff, text);
	assert.equal(kept.tariffAt(Number.NaN), kept.tariffAt(utc(cases[0]![0])), "clock invalid: the last one stays");
});

test("the kept answer equals a fresh one over the days around both clock changes", () => {
	const configuration = dailyCalendar(60, true, [
		{ minute: 1320, tariff: 2 },
		{ minute: 150, tariff: 3 },
		{ minute: 360, tariff: 1 },
	]);
	const kept = new TariffCalendar(configuration);
	for (const start of ["2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z", "2026-12-31T00:00:00Z"])
		for (let second = 0; second < 3 * 86_400; second += 300) {
			const now = utc(start) + second;
			const fresh = new TariffCalendar(configuration);
			assert.equal(kept.tariffAt(now), fresh.tariffAt(now));
			assert.equal(kept.summerTimeAt(now), fresh.summerTimeAt(now));
			assert.ok(kept.validUntilSeconds > now);
		}
});

test("a calendar that refers to what is not there is refused", () => {
	const good = dailyCalendar(0, false, []);
	assert.equal(new TariffCalendar(good).tariffAt(0), 1);
	for (const bad of [
		{ ...good, dayTypes: [] },
		{ ...good, dayTypes: [[]] },
		{ ...good, dayTypes: [[{ minute: 1440, tariff: 1 }]] },
		{ ...good, dayTypes: [[{ minute: 0, tariff: 5 }]] },
		{ ...good, seasons: [] },
		{ ...good, seasons: [{ month: 1, day: 1, week: [0, 0, 0, 0, 0, 0, 1] }] },
		{ ...good, specialDays: [{ month: 1, day: 1, dayType: 1 }] },
	])
		assert.throws(() => new TariffCalendar(bad), InvariantError);
});

/** Power over a span of seconds, mW; returns the register. */
class Load {
	energy = 0;
	utc: number;
	readonly demand: MaximumDemand;

	constructor(demand: MaximumDemand, start: number) {
		this.demand = demand;
		this.utc = start;
		demand.advance(this.utc, 0, 1);
	}

	run(seconds: number, milliwatts: number, tariff = 1): void {
		for (let i = 0; i < seconds; i++) {
			this.utc++;
			this.energy += milliwatts / 3600;
			this.demand.advance(this.utc, Math.floor(this.energy), tariff);
		}
	}
}

test("block demand: energy of an interval over its length, the highest stays", () => {
	const demand = new MaximumDemand(900);
	const load = new Load(demand, utc("2026-07-01T12:00:00Z"));
	load.run(900, 1_000_000);
	assert.ok(Math.abs(demand.lastMilliwatts - 1_000_000) <= 4);
	load.run(450, 4_000_000);
	assert.ok(Math.abs(demand.currentMilliwatts(Math.floor(load.energy)) - 2_000_000) <= 8);
	load.run(450, 0);
	load.run(900, 500_000);
	assert.ok(Math.abs(demand.maximumMilliwatts(1) - 2_000_000) <= 8);
	assert.equal(demand.maximumUtcSeconds(1), utc("2026-07-01T12:30:00Z"));
	load.run(900, 3_000_000, 2);
	assert.ok(Math.abs(demand.maximumMilliwatts(2) - 3_000_000) <= 8);
	demand.reset();
	assert.equal(demand.maximumMilliwatts(1), 0);
});

test("sliding demand finds the peak that a block would split", () => {
	const sliding = new MaximumDemand(900, 3);
	const block = new MaximumDemand(900);
	for (const demand of [sliding, block]) {
		const load = new Load(demand, utc("2026-07-01T12:00:00Z"));
		load.run(900, 0);
		load.run(600, 0);
		load.run(900, 2_000_000); // from 12:25 to 12:40
		load.run(1200, 0);
	}
	assert.ok(Math.abs(sliding.maximumMilliwatts(1) - 2_000_000) <= 12);
	assert.ok(Math.abs(block.maximumMilliwatts(1) - 1_333_333) <= 12);
});

test("an interval that was cut cannot set a maximum", () => {
	const demand = new MaximumDemand(900);
	const load = new Load(demand, utc("2026-07-01T12:00:00Z"));
	load.run(300, 9_000_000);
	demand.spoil();
	load.run(600, 9_000_000);
	assert.equal(demand.maximumMilliwatts(1), 0);
	assert.equal(demand.incompleteCount, 1);
	load.run(300, 9_000_000);
	load.utc += 7200; // clock set
	load.run(900, 9_000_000);
	assert.equal(demand.maximumMilliwatts(1), 0, "neither the interval that ended early nor the one that started late");
	load.run(300, 1000);
	demand.advance(Number.NaN, Math.floor(load.energy), 1);
	load.run(900, 9_000_000);
	assert.equal(demand.maximumMilliwatts(1), 0, "clock invalid within");
	load.run(900, 1_000_000);
	assert.ok(demand.maximumMilliwatts(1) > 0);
});

test("maxima are stored and restored", () => {
	const demand = new MaximumDemand(900);
	const load = new Load(demand, utc("2026-07-01T12:00:00Z"));
	load.run(900, 1_234_567);
	const state = new DataView(new ArrayBuffer(DEMAND_STATE_BYTES));
	assert.equal(demand.encodeState(state, 0), DEMAND_STATE_BYTES);
	const restored = new MaximumDemand(900);
	assert.equal(restored.restoreState(state, 0, DEMAND_STATE_BYTES), Status.ok);
	assert.equal(restored.maximumMilliwatts(1), demand.maximumMilliwatts(1));
	assert.equal(restored.maximumUtcSeconds(1), demand.maximumUtcSeconds(1));
	assert.equal(restored.restoreState(state, 0, 1), Status.badLength);
	state.setUint8(0, 9);
	assert.equal(restored.restoreState(state, 0, DEMAND_STATE_BYTES), Status.badVersion);
	for (const [interval, parts] of [
		[7200, 1],
		[900, 16],
		[900, 0],
		[60, 2],
		[1000, 1],
	] as const)
		assert.throws(() => new MaximumDemand(interval, parts), InvariantError);
});
