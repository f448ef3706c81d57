import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { Atm90e32 } from "../../../src/front-end/atm90e32.js";
import { GAIN_ONE_Q24 } from "../../../src/front-end/front-end.js";
import { Atm90e32Chip } from "../../chips/atm90e32-chip.js";
import { Bench } from "../../chips/bench.js";
import { SpiBus } from "../../chips/buses.js";
import { Mains, type PhaseErrors } from "../../chips/mains.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

const U = 7305;
const I = 27_961;
const CONFIGURATION = { voltageGains: [U, U, U], currentGains: [I, I, I] };

function setUp(name: string, errors: readonly PhaseErrors[] = []) {
	const mains = new Mains(3, errors);
	const bus = new SpiBus(new Random(seed, name));
	const chip = new Atm90e32Chip(mains, bus, U, I);
	const driver = new Atm90e32({ sensor: { io: bus.io } });
	driver.configure(CONFIGURATION);
	return { mains, bus, chip, driver, bench: new Bench(mains, driver, [chip]) };
}

test("ATM90E32: values of three phases, signed, and locked settings", () => {
	const { mains, driver, bench, chip } = setUp("values");
	mains.frequencyHertz = 49.97;
	for (const angleDegrees of [20, 140, -100, -40]) {
		for (let i = 0; i < 3; i++) mains.set(i, { voltageVolts: 228 + i, currentAmperes: 10 + i, angleDegrees });
		bench.runSeconds(3);
		for (let i = 0; i < 3; i++) {
			const phase = driver.reading.phases[i]!;
			assert.equal(phase.voltageMillivolts, 228_000 + 1000 * i);
			assert.equal(phase.currentMilliamperes, 10_000 + 1000 * i);
			assert.ok(Math.abs(phase.powerMilliwatts / 1000 - mains.watts(i)) < 0.001, `${phase.powerMilliwatts} mW`);
			assert.ok(Math.abs(phase.reactivePowerMillivars / 1000 - mains.vars(i)) < 0.001, "reactive");
		}
	}
	assert.equal(driver.reading.frequencyMillihertz, 49_970);
	assert.ok(driver.isReady && chip.setting(0x00) === 1, "measuring");
	assert.throws(() => driver.configure({ ...CONFIGURATION, pollMilliseconds: 60_000 }), InvariantError);
});

test("ATM90E32: a day of three phases in four quadrants, to the count", () => {
	const { mains, driver, bench } = setUp("day");
	const random = new Random(seed, "load");
	bench.runSeconds(2);
	driver.configure({ ...CONFIGURATION, pollMilliseconds: 10_000, powerWattsMax: 16_000 });
	const reactive = [0, 0, 0];
	for (let quarter = 0; quarter < 96; quarter++) {
		for (let i = 0; i < 3; i++) {
			mains.set(i, { currentAmperes: random.between(1, 60), angleDegrees: random.between(-180, 180) });
			reactive[i]! += mains.vars(i) * 250;
		}
		bench.runSeconds(900);
	}
	for (let i = 0; i < 3; i++) mains.set(i, { currentAmperes: 0 });
	bench.runSeconds(20);
	for (let i = 0; i < 3; i++) {
		const counted = bench.counted[i]!;
		const imported = counted.importMilliwattHours - mains.importMilliwattHours[i]!;
		const exported = counted.exportMilliwattHours - mains.exportMilliwattHours[i]!;
		assert.ok(imported < 1 && imported > -5, `import ${imported} mWh`);
		assert.ok(exported < 1 && exported > -5, `export ${exported} mWh`);
		const error = counted.importMillivarHours - counted.exportMillivarHours - reactive[i]!;
		assert.ok(Math.abs(error) < 10, `${error} mvarh`);
	}
	assert.equal(driver.resetCount, 0, "resets");
});

test("ATM90E32: a damaged answer of a register that clears on read loses nothing", () => {
	const { mains, driver, bench, bus } = setUp("noise");
	mains.set(0, { currentAmperes: 20 });
	bench.runSeconds(3);
	bus.faults = { toDriver: 0.003 };
	bench.runSeconds(3600);
	bus.faults = {};
	mains.set(0, { currentAmperes: 0 });
	bench.runSeconds(3);
	assert.ok(driver.counters.counts[Status.badChecksum]! > 100, "damage was seen");
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(error) < 10, `${error} mWh`);
	assert.equal(bench.counted[0]!.exportMilliwattHours, 0, "nothing exported");
});

test("ATM90E32: damage both ways never writes a setting unseen", () => {
	const { mains, driver, bench, bus, chip } = setUp("both");
	mains.set(1, { currentAmperes: 20 });
	bench.runSeconds(3);
	bus.faults = { toDriver: 0.0005, toChip: 0.0005 };
	bench.runSeconds(3600);
	bus.faults = {};
	bench.runSeconds(3);
	assert.ok(driver.isReady, "ready");
	assert.equal(chip.setting(0x61), U);
	assert.equal(chip.setting(0x33), 0x0287);
	const error = bench.counted[1]!.importMilliwattHours - mains.importMilliwattHours[1]!;
	// a read that went to a register of energy by a turned bit of its address takes that energy along
	assert.ok(error < 1300 && error > -50_000, `${error} mWh`);
});

test("ATM90E32: a chip that restarts, a setting that turned over, a processor that restarts", () => {
	const { mains, driver, bench, chip, bus } = setUp("reset");
	mains.set(2, { currentAmperes: 20, angleDegrees: 180 });
	bench.runSeconds(5);
	for (let i = 1; i <= 6; i++) {
		bench.runSeconds(30.4);
		if (i % 2 === 0) chip.upset(0x6a);
		else chip.reset();
		bench.runSeconds(5);
		assert.equal(driver.resetCount, i, "found");
		assert.equal(chip.setting(0x6a), I, "written again");
	}
	const lost = mains.exportMilliwattHours[2]! - bench.counted[2]!.exportMilliwattHours;
	assert.ok(lost > -10 && lost < 6 * 2 * 1278, `${lost} mWh`);
	const resets = chip.resetCount;
	const again = new Atm90e32({ sensor: { io: bus.io } });
	again.configure(CONFIGURATION);
	for (let i = 0; i < 10; i++) again.tick(bench.nowMilliseconds + 50 * i);
	assert.equal(chip.resetCount, resets, "a running chip is left alone");
	const taken = again.sample()!.phases[2]!.exportMilliwattHours;
	assert.ok(taken <= 1300, `${taken} mWh since the last read`);
});

test("ATM90E32: absent, then there", () => {
	const { driver, bench, bus } = setUp("absent");
	bus.isCut = true;
	bench.runSeconds(10);
	assert.ok(!driver.isReady && driver.counters.counts[Status.linkDown]! > 50, "link down");
	bus.isCut = false;
	bench.runSeconds(2);
	assert.ok(driver.isReady, "ready");
	driver.close();
	assert.ok(!bus.isOpen, "closed");
});

test("ATM90E32: gains and phase go to the chip without a reset, power apart from U and I", () => {
	const late = { voltageGain: 1.01, currentGain: 0.98, currentDelayNanoseconds: -9766, powerOffsetWatts: 0 };
	const { mains, driver, bench, chip } = setUp("calibration", [late]);
	mains.set(0, { currentAmperes: 20, angleDegrees: 60 });
	bench.runSeconds(3);
	const resets = chip.resetCount;
	const calibration = {
		voltageGainQ24: Math.round(GAIN_ONE_Q24 / 1.01),
		currentGainQ24: Math.round(GAIN_ONE_Q24 / 0.98),
		powerGainQ24: Math.round(GAIN_ONE_Q24 / 1.01 / 0.98),
		powerOffsetMilliwatts: 0,
		phaseDelayNanoseconds: -9766,
	};
	assert.equal(driver.setCalibration(0, { ...calibration, phaseDelayNanoseconds: 500_000 }), Status.badValue);
	assert.equal(driver.setCalibration(0, calibration), Status.ok);
	bench.runSeconds(3);
	const phase = driver.reading.phases[0]!;
	assert.ok(Math.abs(phase.powerMilliwatts / 2_300_000 - 1) < 3e-5, `${phase.powerMilliwatts} mW`);
	assert.ok(Math.abs(phase.voltageMillivolts / 230_000 - 1) < 1e-4, `${phase.voltageMillivolts} mV`);
	assert.ok(Math.abs(phase.currentMilliamperes / 20_000 - 1) < 1e-4, `${phase.currentMilliamperes} mA`);
	assert.equal(chip.resetCount, resets, "no reset");
});
