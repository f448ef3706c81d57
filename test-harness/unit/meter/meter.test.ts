import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { createReading } from "../../../src/messages/reading.js";
import { startMeter } from "../../../src/meter/meter.js";
import { FIRMWARE_VERSION } from "../../../src/meter/version.js";
import { createProfileRow, ProfileStore } from "../../../src/storage/profile-store.js";
import { RegisterStore } from "../../../src/storage/register-store.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { ROOT } from "../../root.js";
import { runSeconds, secondOfSamples, TestPlatform } from "./test-platform.js";

const SETTINGS = JSON.stringify({
	identifier: "70b3d50000000001",
	security: "plain",
	layout: { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 },
	intervalSeconds: 60,
});
const LAYOUT = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 } as const;
/** 18 400 codes × 12.5 mV = 230 V; 1 000 codes × 3.5 mA = 3.5 A; 805 W at PF 1. */
const LOAD = secondOfSamples(LAYOUT, 18_400, 1_000);
/** 2024-01-01T00:00:00Z, s since 2000. */
const MIDNIGHT = 757_382_400;

function rows(flash: FlashSimulator) {
	const store = new ProfileStore(flash);
	store.open();
	const found = [];
	for (let sequence = store.oldestSequence; sequence < store.nextSequence; sequence++) {
		const row = createProfileRow();
		if (store.read(sequence, row) === 0) found.push({ sequence, ...row });
	}
	return found;
}

test("ten minutes of a steady load: values, registers, and a row for each minute that adds up", () => {
	const flash = new FlashSimulator();
	const platform = new TestPlatform(flash);
	platform.utcOffset = MIDNIGHT + 0.5;
	const meter = startMeter(platform, SETTINGS);
	const reading = createReading();
	assert.equal(meter.fillReading(reading), false, "unavailable, not 0, before the first second");
	runSeconds(platform, meter, LAYOUT, LOAD, 601);
	assert.equal(meter.fillReading(reading), true);
	const phase = reading.phases[0];
	assert.ok(Math.abs(phase.voltageMillivolts - 230_000) < 20, `${phase.voltageMillivolts} mV`);
	assert.ok(Math.abs(phase.currentMilliamperes - 3_500) < 2, `${phase.currentMilliamperes} mA`);
	assert.ok(Math.abs(phase.powerMilliwatts - 805_000) < 200, `${phase.powerMilliwatts} mW`);
	assert.equal(phase.powerFactorPermille, 1000);
	assert.ok(Math.abs(reading.frequencyMillihertz - 50_000) < 5);
	const expected = (805_000 * 600) / 3600;
	assert.ok(Math.abs(reading.activeEnergyImport - expected) / expected < 0.003, `${reading.activeEnergyImport} mWh`);
	assert.equal(reading.activeEnergyExport, 0);
	const stored = rows(flash);
	assert.equal(stored.length, 10);
	for (let i = 0; i < stored.length; i++) {
		assert.equal(stored[i]!.intervalStartSeconds, MIDNIGHT + 60 * i);
		assert.equal(stored[i]!.sequence, i + 1);
		if (i === 0) continue;
		const increment = stored[i]!.activeImportMilliwattHours - stored[i - 1]!.activeImportMilliwattHours;
		assert.ok(Math.abs(increment - 805_000 / 60) < 50, `${increment} mWh in minute ${i}`);
		assert.equal(stored[i]!.status & 0x82, 0);
	}
});

test("power returns: registers go on where they were committed, the interval says power was down, boots are counted", () => {
	const flash = new FlashSimulator();
	let imported = 0;
	for (let boot = 1; boot <= 5; boot++) {
		const platform = new TestPlatform(flash);
		platform.utcOffset = MIDNIGHT + boot * 100;
		const meter = startMeter(platform, SETTINGS);
		const { registers } = meter.metrology;
		assert.ok(
			registers.activeImportMilliwattHours >= imported - (805_000 * 62) / 3600,
			"loss within the declared bound",
		);
		runSeconds(platform, meter, LAYOUT, LOAD, 70);
		assert.ok(registers.activeImportMilliwattHours > imported);
		imported = registers.activeImportMilliwattHours;
		const reading = createReading();
		meter.fillReading(reading);
		assert.equal(reading.bootCount, boot);
	}
	const stored = rows(flash);
	assert.ok(stored.length >= 5);
	assert.ok(stored.some((row) => row.status & 0x80));
	for (let i = 1; i < stored.length; i++) {
		assert.ok(stored[i]!.intervalStartSeconds > stored[i - 1]!.intervalStartSeconds, "no interval twice");
		assert.ok(stored[i]!.activeImportMilliwattHours >= stored[i - 1]!.activeImportMilliwattHours, "monotone");
	}
});

test("a silent front end: time goes on, rows are marked doubtful, nothing is counted", () => {
	const flash = new FlashSimulator();
	const platform = new TestPlatform(flash);
	platform.utcOffset = MIDNIGHT;
	const meter = startMeter(platform, SETTINGS);
	for (let second = 0; second < 190; second++) {
		platform.now += 1000;
		while (meter.deadlineMilliseconds() <= platform.now) meter.tick();
	}
	const stored = rows(flash);
	assert.equal(stored.length, 3);
	for (const row of stored) {
		assert.equal(row.activeImportMilliwattHours, 0);
		assert.ok(row.status & 0x04);
	}
});

test("a state of a newer firmware is not buried: the meter measures, says so, and stores nothing", () => {
	const flash = new FlashSimulator();
	const platform = new TestPlatform(flash);
	platform.utcOffset = MIDNIGHT;
	runSeconds(platform, startMeter(platform, SETTINGS), LAYOUT, LOAD, 65);
	const store = new RegisterStore(flash);
	store.open();
	const state = new Uint8Array(512);
	store.load(state);
	state[0] = 9;
	assert.equal(store.commit(0, state, store.byteLength), Status.ok);
	const commits = store.log.nextSequence;
	const later = new TestPlatform(flash);
	later.utcOffset = MIDNIGHT + 100;
	const meter = startMeter(later, SETTINGS);
	runSeconds(later, meter, LAYOUT, LOAD, 200);
	assert.ok(meter.metrology.registers.activeImportMilliwattHours > 0, "it measures");
	const after = new RegisterStore(flash);
	after.open();
	assert.equal(after.log.nextSequence, commits);
	assert.equal(after.load(state), Status.ok);
	assert.equal(state[0], 9);
});

test("the firmware's version is the package's", () => {
	const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
	assert.equal(FIRMWARE_VERSION, version);
});
