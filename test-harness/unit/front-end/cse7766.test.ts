import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { Cse7766 } from "../../../src/front-end/cse7766.js";
import { Bench } from "../../chips/bench.js";
import { Cse7766Chip, TYPICAL_COEFFICIENTS } from "../../chips/cse7766-chip.js";
import { Mains } from "../../chips/mains.js";
import { SerialLine } from "../../chips/serial-line.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

/** mWh of one CF pulse. */
const PULSE = TYPICAL_COEFFICIENTS.power / 3_600_000;

function setUp(name: string, periodMilliseconds?: number) {
	const mains = new Mains();
	const line = new SerialLine(new Random(seed, name));
	const chip = new Cse7766Chip(mains, line, TYPICAL_COEFFICIENTS, periodMilliseconds);
	const driver = new Cse7766({ sensor: { io: line.io } });
	driver.configure();
	return { mains, line, chip, driver, bench: new Bench(mains, driver, [chip, line]) };
}

test("CSE7766: values; magnitude only; no load is 0, not the last value", () => {
	const { mains, driver, bench } = setUp("values");
	mains.set(0, { currentAmperes: 5, angleDegrees: 180 });
	bench.runSeconds(3);
	const phase = driver.reading.phases[0]!;
	assert.ok(Math.abs(phase.voltageMillivolts - 230_000) < 230, `${phase.voltageMillivolts} mV`);
	assert.ok(Math.abs(phase.currentMilliamperes - 5000) < 5, `${phase.currentMilliamperes} mA`);
	assert.ok(Math.abs(phase.powerMilliwatts - 1_150_000) < 500, `${phase.powerMilliwatts} mW`);
	mains.set(0, { currentAmperes: 0.001 });
	bench.runSeconds(2);
	assert.equal(phase.powerMilliwatts, 0);
	assert.equal(phase.currentMilliamperes, 0);
	assert.ok(phase.voltageMillivolts > 229_000, "voltage stays");
	assert.ok(bench.readingCount <= 6, `${bench.readingCount} readings in 5 s`);
});

test("CSE7766: a day within two pulses, the counter wrapping hundreds of times", () => {
	const { mains, bench, driver } = setUp("day", 500);
	const random = new Random(seed, "load");
	bench.runSeconds(2);
	const begin = mains.importMilliwattHours[0]!;
	for (let quarter = 0; quarter < 96; quarter++) {
		mains.set(0, { voltageVolts: random.between(210, 250), currentAmperes: random.between(0.1, 30) });
		bench.runSeconds(900);
	}
	const error = bench.counted[0]!.importMilliwattHours - (mains.importMilliwattHours[0]! - begin);
	// the driver is at most one frame late, of 1 s between readings
	assert.ok(error <= PULSE && error > -2 * PULSE - (250 * 30 * 1.6) / 3.6, `${error} mWh`);
	assert.ok(mains.importMilliwattHours[0]! / PULSE > 2 * 0x1_0000, "wraps");
	assert.equal(driver.resetCount, 0, "resets");
});

test("CSE7766: an hour at the chip's own pace; a silence as long as a whole turn of CF", () => {
	const { mains, bench, chip, line, driver } = setUp("hour");
	chip.setCounter(0x1_ff00);
	mains.set(0, { currentAmperes: 30 });
	bench.runSeconds(3600);
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(error) < 2 * PULSE + (6900 * 1.2) / 3.6, `${error} mWh`);
	line.isCut = true;
	bench.runSeconds(70); // 6.9 kW: 90 000 pulses, more than 2^16
	assert.ok(!driver.isReady, "silence was seen");
	assert.ok(driver.counters.counts[Status.timedOut]! > 60, "and counted");
	line.isCut = false;
	bench.runSeconds(3);
	const after = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(after) < 2 * PULSE + (6900 * 1.2) / 3.6, `${after} mWh after the silence`);
});

test("CSE7766: damaged bytes cost frames, not energy", () => {
	const { mains, bench, line, driver } = setUp("noise");
	mains.set(0, { currentAmperes: 16 });
	bench.runSeconds(2);
	line.faults = { drop: 0.01, flip: 0.01, insert: 0.01 };
	bench.runSeconds(1200);
	line.faults = {};
	bench.runSeconds(3);
	assert.ok(driver.counters.counts[Status.badChecksum]! > 1000, "damage was seen");
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(error) < 2500, `${error} mWh`);
});

test("CSE7766: a chip that restarts begins at 0", () => {
	const { mains, bench, chip, driver } = setUp("reset");
	mains.set(0, { currentAmperes: 16 });
	for (let i = 1; i <= 10; i++) {
		bench.runSeconds(100);
		chip.reset();
		bench.runSeconds(10);
		assert.equal(driver.resetCount, i, "found");
	}
	const lost = mains.importMilliwattHours[0]! - bench.counted[0]!.importMilliwattHours;
	assert.ok(lost > -PULSE && lost < 10 * 200 + 1500, `${lost} mWh`);
});

test("CSE7766: not calibrated, or silent", () => {
	const { bench, chip, driver } = setUp("uncalibrated");
	chip.isCalibrated = false;
	bench.runSeconds(10);
	assert.ok(!driver.isReady && driver.uncalibratedCount > 100, "state 0xAA");
	chip.isPowered = false;
	bench.runSeconds(10);
	assert.ok(driver.counters.counts[Status.timedOut]! >= 9, "silent");
	assert.equal(driver.sample(), undefined);
	driver.close();
	assert.equal(driver.deadlineMilliseconds(), Number.POSITIVE_INFINITY);
});
