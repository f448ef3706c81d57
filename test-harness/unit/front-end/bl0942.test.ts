import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { Bl0942 } from "../../../src/front-end/bl0942.js";
import { GAIN_ONE_Q24 } from "../../../src/front-end/front-end.js";
import { Bench } from "../../chips/bench.js";
import { Bl0942Chip } from "../../chips/bl0942-chip.js";
import { Mains } from "../../chips/mains.js";
import { SerialLine } from "../../chips/serial-line.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

const SHUNT = 1000;
const RATIO = (5 * 390 + 0.51) / 0.51;
/** One pulse of CF, mWh: what a total may be short of. */
const PULSE = ((1638.4 * 256 * 1.218 * 1.218 * RATIO) / 3537 / 1 / 1000 / 3600) * 1000;

function setUp(name: string) {
	const mains = new Mains();
	const line = new SerialLine(new Random(seed, name));
	const chip = new Bl0942Chip(mains, line, SHUNT, RATIO);
	const driver = new Bl0942({ sensor: { io: line.io } });
	driver.configure({ shuntMicroohms: SHUNT, dividerRatio: RATIO });
	return { mains, line, chip, driver, bench: new Bench(mains, driver, [chip, line]) };
}

test("BL0942: values, sign and frequency", () => {
	const { mains, driver, bench, chip } = setUp("values");
	mains.set(0, { currentAmperes: 5, angleDegrees: 60 });
	bench.runSeconds(5);
	assert.ok(driver.isReady, "ready");
	assert.equal(chip.register(0x1d), 0, "locked again");
	const phase = driver.reading.phases[0]!;
	assert.ok(Math.abs(phase.voltageMillivolts - 230_000) < 40, `${phase.voltageMillivolts} mV`);
	assert.ok(Math.abs(phase.currentMilliamperes - 5000) < 2, `${phase.currentMilliamperes} mA`);
	assert.ok(Math.abs(phase.powerMilliwatts - 575_000) < 5, `${phase.powerMilliwatts} mW`);
	assert.equal(driver.reading.frequencyMillihertz, 50_000);
	mains.set(0, { angleDegrees: 180 });
	mains.frequencyHertz = 59.88;
	bench.runSeconds(5);
	assert.ok(Math.abs(phase.powerMilliwatts + 1_150_000) < 5, `${phase.powerMilliwatts} mW exported`);
	assert.ok(Math.abs(driver.reading.frequencyMillihertz - 59_880) < 4, "frequency");
});

test("BL0942: a day of changing load, both directions, within two pulses", () => {
	const { mains, driver, bench } = setUp("day");
	const random = new Random(seed, "load");
	for (let quarter = 0; quarter < 96; quarter++) {
		mains.set(0, {
			voltageVolts: random.between(210, 250),
			currentAmperes: random.between(0.05, 30),
			angleDegrees: random.pick([0, 30, -20, 60, 170]),
		});
		bench.runSeconds(900);
	}
	mains.set(0, { currentAmperes: 0 });
	bench.runSeconds(2);
	const imported = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	const exported = bench.counted[0]!.exportMilliwattHours - mains.exportMilliwattHours[0]!;
	// each change of direction leaves the part of a pulse on the other side: both totals may be off, their difference not
	assert.ok(Math.abs(imported - exported) <= 2 * PULSE, `net ${imported - exported} mWh`);
	assert.ok(Math.abs(imported) <= 100 * PULSE, `import ${imported} mWh`);
	assert.equal(driver.resetCount, 0, "resets");
	assert.ok(bench.readingCount > 86_000, `${bench.readingCount} readings`);
});

test("BL0942: the counter wraps at 2^24, up and down", () => {
	const { mains, driver, bench, chip } = setUp("wrap");
	chip.setCounter(0xff_fff0);
	mains.set(0, { currentAmperes: 30 });
	for (const angleDegrees of [0, 180, 0, 180]) {
		mains.set(0, { angleDegrees });
		bench.runSeconds(600);
	}
	const { importMilliwattHours, exportMilliwattHours } = bench.counted[0]!;
	assert.ok(Math.abs(importMilliwattHours - mains.importMilliwattHours[0]!) < 20 * PULSE, "import");
	assert.ok(Math.abs(exportMilliwattHours - mains.exportMilliwattHours[0]!) < 20 * PULSE, "export");
	assert.equal(driver.counters.counts[Status.outOfOrder], 0, "no step refused");
});

test("BL0942: below the creep threshold nothing is counted", () => {
	const { mains, driver, bench } = setUp("creep");
	mains.set(0, { currentAmperes: 0.0005 });
	bench.runSeconds(3600);
	assert.equal(bench.counted[0]!.importMilliwattHours, 0);
	assert.equal(driver.reading.phases[0]!.powerMilliwatts, 0);
});

test("BL0942: a chip that restarts is configured again and loses at most a poll", () => {
	const { mains, driver, bench, chip } = setUp("reset");
	mains.set(0, { currentAmperes: 20, angleDegrees: 180 });
	for (let i = 1; i <= 5; i++) {
		bench.runSeconds(601.3);
		chip.reset();
		bench.runSeconds(5);
		assert.equal(driver.resetCount, i, "found");
		assert.equal(chip.register(0x19), 0x0f, "configured again");
	}
	const lost = mains.exportMilliwattHours[0]! - bench.counted[0]!.exportMilliwattHours;
	// one second at 4.6 kW is 1278 mWh
	assert.ok(lost > -PULSE && lost < 5 * (1.4 * 1278 + 2 * PULSE), `lost ${lost} mWh`);
	assert.equal(bench.counted[0]!.importMilliwattHours, 0, "no direction made up");
});

test("BL0942: noise on the line costs readings, not energy", () => {
	const { mains, driver, bench, line } = setUp("noise");
	mains.set(0, { currentAmperes: 16 });
	bench.runSeconds(10);
	line.faults = { drop: 0.005, flip: 0.005, insert: 0.005, bothWays: true };
	bench.runSeconds(3600);
	line.faults = {};
	bench.runSeconds(10);
	const { counts } = driver.counters;
	assert.ok(counts[Status.badChecksum]! > 100, "damage was seen");
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(error) < 2000, `${error} mWh`);
});

test("BL0942: no chip, a cut line, and back", () => {
	const { mains, driver, bench, line, chip } = setUp("missing");
	chip.isPowered = false;
	bench.runSeconds(60);
	assert.ok(!driver.isReady, "not ready");
	assert.ok(driver.counters.counts[Status.timedOut]! >= 50, "timed out");
	assert.equal(driver.sample(), undefined);
	chip.isPowered = true;
	mains.set(0, { currentAmperes: 10 });
	bench.runSeconds(10);
	assert.ok(driver.isReady, "ready");
	const before = bench.counted[0]!.importMilliwattHours;
	line.isCut = true;
	bench.runSeconds(600);
	assert.ok(!driver.isReady, "cut");
	line.isCut = false;
	bench.runSeconds(5);
	const error = bench.counted[0]!.importMilliwattHours - before - (2300 * 605_000) / 3600;
	assert.ok(Math.abs(error) < 2 * PULSE + 700, `the counter went on while the line was cut: ${error} mWh`);
	driver.close();
	assert.ok(!line.isOpen, "closed");
});

test("BL0942: gains of a calibration, and what it cannot do", () => {
	const { mains, driver, bench } = setUp("calibration");
	const calibration = { ...driver.calibration(0), powerGainQ24: Math.round(GAIN_ONE_Q24 * 1.02) };
	assert.equal(driver.setCalibration(0, { ...calibration, phaseDelayNanoseconds: 10 }), Status.unsupported);
	assert.equal(driver.setCalibration(0, { ...calibration, voltageGainQ24: 2 * GAIN_ONE_Q24 }), Status.badValue);
	assert.equal(driver.setCalibration(0, calibration), Status.ok);
	mains.set(0, { currentAmperes: 20 });
	bench.runSeconds(3600);
	const ratio = bench.counted[0]!.importMilliwattHours / mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(ratio - 1.02) < 0.0005, `${ratio}`);
});
