import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import {
	LOAD_PROFILE_STATE_BYTES,
	LoadProfile,
	type LoadProfileRow,
	ProfileStatus,
} from "../../../src/metrology/load-profile.js";
import { EnergyRegisters, Netting } from "../../../src/metrology/registers.js";

const { powerDown, clockAdjusted, clockInvalid, summerTime, dataNotValid } = ProfileStatus;
/** 2026-07-01T12:00:00Z. */
const NOON = 836_222_400;

class World {
	registers = new EnergyRegisters(Netting.vectorSum, 1000);
	profile = new LoadProfile(900);
	rows: LoadProfileRow[] = [];
	utc = NOON;

	constructor() {
		this.listen();
	}

	listen(): void {
		this.profile.listener = { intervalEnded: (row) => this.rows.push({ ...row }) };
	}

	/** Lets seconds pass with 1 kW: 277.8 mWh each. */
	run(seconds: number, valid = true): void {
		const energies = new Float64Array([1_000_000 * 1000, 0, 1_000_000 * 1000]);
		for (let i = 0; i < seconds; i++) {
			this.utc++;
			this.registers.add(energies, 1);
			this.profile.advance(valid ? this.utc : Number.NaN, 1000, this.registers);
		}
	}

	set(utc: number): void {
		this.utc = utc;
		this.profile.clockSet(utc, this.registers);
	}

	/** Power goes and comes back after some seconds. */
	powerCut(seconds: number, newestRow = this.rows.at(-1)?.intervalStartSeconds ?? Number.NaN): void {
		const state = new DataView(new ArrayBuffer(LOAD_PROFILE_STATE_BYTES));
		this.profile.encodeState(state, 0);
		this.profile = new LoadProfile(900);
		this.listen();
		assert.equal(this.profile.restoreState(state, 0, LOAD_PROFILE_STATE_BYTES, newestRow), Status.ok);
		this.utc += seconds;
		this.profile.advance(this.utc, 0, this.registers);
	}

	starts(): number[] {
		return this.rows.map((row) => (row.intervalStartSeconds - NOON) / 60);
	}
}

test("one row a period, aligned, with the registers at its end", () => {
	const world = new World();
	world.run(3700);
	assert.deepEqual(world.starts(), [0, 15, 30, 45]);
	for (const row of world.rows) {
		assert.equal(row.status, 0);
		assert.ok(Math.abs(row.durationSeconds - 900) <= 1);
	}
	const increments = world.rows.map(
		(row, i) => row.activeImportMilliwattHours - (world.rows[i - 1]?.activeImportMilliwattHours ?? 0),
	);
	for (const increment of increments.slice(1)) assert.equal(increment, 250_000);
});

test("power loss within an interval: the row goes on, flagged PDN", () => {
	const world = new World();
	world.run(1000);
	world.powerCut(120);
	world.run(1500);
	assert.deepEqual(world.starts(), [0, 15]);
	assert.equal(world.rows[1]!.status, powerDown);
	assert.equal(world.rows[1]!.durationSeconds, 780);
});

test("power loss over intervals: what was measured ends as its own row, missing rows stay missing", () => {
	const world = new World();
	world.run(1000);
	const before = world.registers.activeImportMilliwattHours;
	world.powerCut(3600);
	assert.deepEqual(world.starts(), [0, 15]);
	assert.equal(world.rows[1]!.status, powerDown);
	assert.equal(world.rows[1]!.activeImportMilliwattHours, before);
	world.run(900);
	assert.deepEqual(world.starts(), [0, 15, 75]);
	assert.equal(world.rows[2]!.status, powerDown, "power came back within it");
	world.run(900);
	assert.equal(world.rows[3]!.status, 0);
});

test("a row that was stored after the state was committed is not made twice", () => {
	const world = new World();
	world.run(890);
	const state = new DataView(new ArrayBuffer(LOAD_PROFILE_STATE_BYTES));
	world.profile.encodeState(state, 0);
	world.run(20);
	assert.deepEqual(world.starts(), [0]);
	world.profile = new LoadProfile(900);
	world.listen();
	assert.equal(world.profile.restoreState(state, 0, LOAD_PROFILE_STATE_BYTES, NOON), Status.ok);
	world.run(1800);
	assert.deepEqual(world.starts(), [0, 15, 30]);
});

test("clock set forward: the interval ends, missing rows stay missing, both sides are flagged CAD", () => {
	const world = new World();
	world.run(100);
	world.set(NOON + 2 * 3600 + 10);
	world.run(1800);
	assert.deepEqual(world.starts(), [0, 120, 135]);
	assert.deepEqual(
		world.rows.map((row) => row.status),
		[clockAdjusted, clockAdjusted, 0],
	);
});

test("clock set back a little: the interval stays open, no time stamp twice", () => {
	const world = new World();
	world.run(1000);
	world.set(NOON + 300);
	world.run(3000);
	assert.deepEqual(world.starts(), [0, 15, 30]);
	assert.equal(world.rows[1]!.status, clockAdjusted);
	assert.equal(world.rows[1]!.durationSeconds, 100 + 1500);
});

test("clock set back by a day: rows go on at the new time, flagged", () => {
	const world = new World();
	world.run(1000);
	world.set(NOON - 86_400 + 10);
	world.run(1800);
	assert.deepEqual(world.starts(), [0, 15, -1440, -1425]);
	assert.equal(world.rows[1]!.status, clockAdjusted);
	assert.equal(world.rows[2]!.status, clockAdjusted);
	assert.equal(world.rows[3]!.status, 0);
});

test("clock invalid: no row without a time, CIV in the one that follows, energy in the registers", () => {
	const world = new World();
	world.run(1000);
	world.run(5000, false);
	assert.equal(world.rows.length, 1);
	world.run(10);
	assert.deepEqual(world.starts(), [0, 15]);
	assert.equal(world.rows[1]!.status & clockInvalid, clockInvalid);
	assert.equal(world.rows[1]!.durationSeconds, 101 + 5000);
	assert.equal(
		world.profile.intervalStartSeconds,
		NOON + 5400,
		"the interval in which the clock was there again is open",
	);
});

test("a meter without a clock from the start makes its first row after the clock is set", () => {
	const world = new World();
	world.run(500, false);
	world.set(NOON + 950);
	world.run(900);
	assert.deepEqual(world.starts(), [15]);
	assert.equal(world.rows[0]!.status, clockInvalid | clockAdjusted);
});

test("summer time and doubtful data are told", () => {
	const world = new World();
	world.profile.summerTime = true;
	world.run(100);
	world.profile.mark(dataNotValid);
	world.run(1800);
	assert.deepEqual(
		world.rows.map((row) => row.status),
		[summerTime | dataNotValid, summerTime],
	);
});

test("a stall over intervals shows as a hole, and the next row says so", () => {
	const world = new World();
	world.run(100);
	world.utc += 3600;
	world.run(1000);
	assert.deepEqual(world.starts(), [0, 60]);
	assert.equal(world.rows[1]!.status, dataNotValid);
});

test("refusals of the stored state, and of a period that does not fit a day", () => {
	const world = new World();
	world.run(10);
	const state = new DataView(new ArrayBuffer(LOAD_PROFILE_STATE_BYTES));
	world.profile.encodeState(state, 0);
	const refuse = (offset: number, value: number, status: Status): void => {
		const view = new DataView(state.buffer.slice(0));
		view.setUint8(offset, value);
		assert.equal(new LoadProfile(900).restoreState(view, 0, LOAD_PROFILE_STATE_BYTES, Number.NaN), status);
	};
	refuse(0, 2, Status.badVersion);
	refuse(2, 1, Status.badValue);
	refuse(7, 1, Status.badValue);
	assert.equal(new LoadProfile(900).restoreState(state, 0, 15, Number.NaN), Status.badLength);
	for (const bad of [0, 59, 700, 86_400]) assert.throws(() => new LoadProfile(bad), InvariantError);
});
