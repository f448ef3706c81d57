import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { Ade7953 } from "../../../src/front-end/ade7953.js";
import { GAIN_ONE_Q24 } from "../../../src/front-end/front-end.js";
import { Ade7953Chip } from "../../chips/ade7953-chip.js";
import { Bench } from "../../chips/bench.js";
import { I2cBus, SpiBus } from "../../chips/buses.js";
import { Mains, type PhaseErrors } from "../../chips/mains.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

const RATIO = 1000;
/** 5 mΩ: 70 A at full scale. */
const MICROOHMS = [5000, 5000];

function setUp(name: string, kind: "spi" | "i2c", errors: readonly PhaseErrors[] = [], pollMilliseconds = 1000) {
	const mains = new Mains(2, errors);
	const bus = kind === "spi" ? new SpiBus(new Random(seed, name)) : new I2cBus(new Random(seed, name));
	const chip = new Ade7953Chip(mains, bus, RATIO, MICROOHMS);
	const driver = new Ade7953(
		bus instanceof SpiBus ? { spi: { io: bus.io }, channelCount: 2 } : { i2c: { io: bus.io }, channelCount: 2 },
	);
	driver.configure({ dividerRatio: RATIO, microohms: MICROOHMS, pollMilliseconds });
	return { mains, bus, chip, driver, bench: new Bench(mains, driver, [chip]) };
}

for (const kind of ["spi", "i2c"] as const) {
	test(`ADE7953 on ${kind}: values of two channels, four quadrants`, () => {
		const { mains, driver, bench, chip } = setUp("values", kind);
		for (const angleDegrees of [30, 120, -150, -60]) {
			mains.set(0, { currentAmperes: 5, angleDegrees });
			mains.set(1, { currentAmperes: 40, angleDegrees: -angleDegrees });
			bench.runSeconds(3);
			for (let i = 0; i < 2; i++) {
				const phase = driver.reading.phases[i]!;
				assert.ok(Math.abs(phase.voltageMillivolts - 230_000) < 5, `${phase.voltageMillivolts} mV`);
				assert.ok(Math.abs(phase.powerMilliwatts / 1000 - mains.watts(i)) < 0.01, `${phase.powerMilliwatts} mW`);
				assert.ok(Math.abs(phase.reactivePowerMillivars / 1000 - mains.vars(i)) < 0.01, "reactive");
			}
			assert.ok(Math.abs(driver.reading.phases[0]!.currentMilliamperes - 5000) < 2, "current");
		}
		assert.ok(Math.abs(driver.reading.frequencyMillihertz - 50_000) < 12, `${driver.reading.frequencyMillihertz}`);
		assert.throws(
			() => driver.configure({ dividerRatio: RATIO, microohms: MICROOHMS, pollMilliseconds: 60_000 }),
			InvariantError,
			"half a turn between polls",
		);
		assert.equal(chip.setting(0x040), 7, "protected");
		assert.equal(chip.setting(0x120), 0x30, "the required setting");
	});

	test(`ADE7953 on ${kind}: a bus that damages bytes costs nothing`, () => {
		const { mains, driver, bench, bus } = setUp("noise", kind);
		mains.set(0, { currentAmperes: 20 });
		bench.runSeconds(3);
		bus.faults = { toDriver: 0.002, toChip: 0.0005 };
		bench.runSeconds(3600);
		bus.faults = {};
		bench.runSeconds(3);
		assert.ok(driver.counters.counts[Status.badChecksum]! > 100, "damage was seen");
		const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
		assert.ok(Math.abs(error) < 2 * 1300, `${error} mWh, ${driver.resetCount} resets`);
		assert.equal(bench.counted[0]!.exportMilliwattHours, 0, "nothing exported");
	});
}

/** What the chip is told to count: nothing below its no-load threshold, 1 W and 1 var unless configured. */
function aboveCreep(power: number): number {
	return Math.abs(power) < 1 ? 0 : power;
}

test("ADE7953: a day of four quadrants, counters wrapping, within a count", () => {
	const { mains, driver, bench, chip } = setUp("day", "spi", [], 5000);
	chip.setCounters(0x7f_ff00);
	bench.runSeconds(2);
	const random = new Random(seed, "load");
	const truth = { active: [0, 0], reactive: [0, 0] };
	const before = bench.counted.map((counted) => ({ ...counted }));
	for (let quarter = 0; quarter < 96; quarter++) {
		for (let i = 0; i < 2; i++) {
			mains.set(i, {
				voltageVolts: 230,
				currentAmperes: random.between(1, 60),
				angleDegrees: random.between(-180, 180),
			});
			truth.active[i]! += aboveCreep(mains.watts(i)) * 250;
			truth.reactive[i]! += aboveCreep(mains.vars(i)) * 250;
		}
		bench.runSeconds(900);
	}
	for (let i = 0; i < 2; i++) mains.set(i, { currentAmperes: 0 });
	bench.runSeconds(10);
	for (let i = 0; i < 2; i++) {
		const counted = bench.counted[i]!;
		const first = before[i]!;
		const active = counted.importMilliwattHours - first.importMilliwattHours - counted.exportMilliwattHours;
		const reactive = counted.importMillivarHours - first.importMillivarHours - counted.exportMillivarHours;
		// about 170 kWh went through: a count, a mWh of remainder for each direction, and 1.4e-7 of the weight
		assert.ok(Math.abs(active - truth.active[i]!) < 30, `${active - truth.active[i]!} mWh`);
		assert.ok(Math.abs(reactive - truth.reactive[i]!) < 30, `${reactive - truth.reactive[i]!} mvarh`);
	}
	assert.equal(driver.resetCount, 0, "resets");
	assert.equal(driver.counters.counts[Status.outOfOrder], 0, "steps refused");
});

test("ADE7953: no load is no energy", () => {
	const { mains, driver, bench } = setUp("creep", "spi");
	mains.set(0, { currentAmperes: 0.003 });
	bench.runSeconds(3600);
	assert.equal(bench.counted[0]!.importMilliwattHours, 0);
	mains.set(0, { currentAmperes: 0.01 });
	bench.runSeconds(3600);
	const error = bench.counted[0]!.importMilliwattHours - 2300;
	assert.ok(Math.abs(error) < 3, `${error} mWh`);
	assert.ok(driver.isReady, "ready");
});

test("ADE7953: a restart, and a setting that turned over, are found and mended", () => {
	const { mains, driver, bench, chip } = setUp("reset", "spi");
	mains.set(0, { currentAmperes: 20, angleDegrees: 180 });
	bench.runSeconds(10);
	for (let i = 1; i <= 10; i++) {
		bench.runSeconds(60.4);
		if (i % 2 === 0) chip.upset(0x282);
		else chip.reset();
		bench.runSeconds(5);
		assert.equal(driver.resetCount, i, "found");
		assert.equal(chip.setting(0x282), 0x40_0000, "gain written again");
		assert.equal(chip.setting(0x004), 0, "read-with-reset off again");
	}
	const lost = mains.exportMilliwattHours[0]! - bench.counted[0]!.exportMilliwattHours;
	assert.ok(lost > -10 && lost < 10 * 1.4 * 1278, `${lost} mWh`);
	assert.equal(bench.counted[0]!.importMilliwattHours, 0, "no direction made up");
});

test("ADE7953: absent, then there", () => {
	for (const kind of ["spi", "i2c"] as const) {
		const { driver, bench, bus } = setUp("absent", kind);
		bus.isCut = true;
		bench.runSeconds(10);
		assert.ok(!driver.isReady, "not ready");
		assert.ok(driver.counters.counts[Status.linkDown]! > 50, "link down");
		bus.isCut = false;
		bench.runSeconds(2);
		assert.ok(driver.isReady, "ready");
		driver.close();
		assert.ok(!bus.isOpen, "closed");
	}
});

test("ADE7953: gain and phase are written to the chip and read back", () => {
	const late = { voltageGain: 1, currentGain: 0.98, currentDelayNanoseconds: 20_106, powerOffsetWatts: 0 };
	const { mains, driver, bench, chip } = setUp("calibration", "spi", [late]);
	mains.set(0, { currentAmperes: 20, angleDegrees: 60 });
	bench.runSeconds(3);
	assert.ok(Math.abs(driver.reading.phases[0]!.powerMilliwatts / 2_300_000 - 1) > 0.02, "wrong before");
	const calibration = {
		...driver.calibration(0),
		powerGainQ24: Math.round(GAIN_ONE_Q24 / 0.98),
		phaseDelayNanoseconds: 20_106,
	};
	assert.equal(driver.setCalibration(0, { ...calibration, phaseDelayNanoseconds: 600_000 }), Status.badValue);
	assert.equal(driver.setCalibration(0, calibration), Status.ok);
	bench.runSeconds(3);
	assert.equal(chip.setting(0x108), 0x200 | 18);
	assert.ok(Math.abs(driver.reading.phases[0]!.powerMilliwatts / 2_300_000 - 1) < 1e-5, "right after");
});
