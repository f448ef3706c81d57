import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { BL0937, HLW8012, PulseMeter } from "../../../src/front-end/pulse-meter.js";
import { Bench } from "../../chips/bench.js";
import { Mains } from "../../chips/mains.js";
import { PulseChipModel } from "../../chips/pulse-chip.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

const SHUNT = 1000;
const RATIO = 2821;

function setUp(chip = HLW8012, modulus = 2 ** 32) {
	const mains = new Mains();
	const model = new PulseChipModel(mains, chip, SHUNT, RATIO, modulus);
	const driver = new PulseMeter({
		chip,
		power: { io: model.power },
		rms: { io: model.rms },
		select: { io: model.select },
	});
	driver.configure({ shuntMicroohms: SHUNT, dividerRatio: RATIO, counterModulus: modulus });
	const pulse = RATIO / (SHUNT / 1e6) / chip.powerHertz / 3.6;
	return { mains, model, driver, pulse, bench: new Bench(mains, driver, [model]) };
}

for (const [name, chip] of [
	["HLW8012", HLW8012],
	["BL0937", BL0937],
] as const) {
	test(`${name}: values, current and voltage in turn`, () => {
		const { mains, driver, bench } = setUp(chip);
		mains.set(0, { currentAmperes: 8, angleDegrees: 40 });
		bench.runSeconds(30);
		const phase = driver.reading.phases[0]!;
		assert.ok(Math.abs(phase.voltageMillivolts - 230_000) < 1000, `${phase.voltageMillivolts} mV`);
		assert.ok(Math.abs(phase.currentMilliamperes - 8000) < 30, `${phase.currentMilliamperes} mA`);
		const watts = mains.watts(0);
		assert.ok(Math.abs(phase.powerMilliwatts / 1000 - watts) < 0.02 * watts, `${phase.powerMilliwatts} mW`);
		mains.set(0, { angleDegrees: 180 });
		bench.runSeconds(10);
		assert.ok(phase.powerMilliwatts > 0, "no direction");
		mains.set(0, { currentAmperes: 0 });
		bench.runSeconds(60);
		assert.equal(phase.powerMilliwatts, 0, "falls to 0");
	});

	test(`${name}: a day within a pulse, on a counter of 16 bits`, () => {
		const { mains, bench, pulse, driver } = setUp(chip, 2 ** 16);
		const random = new Random(seed, "load");
		for (let quarter = 0; quarter < 96; quarter++) {
			mains.set(0, { voltageVolts: random.between(210, 250), currentAmperes: random.between(0.1, 30) });
			bench.runSeconds(900);
		}
		const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
		assert.ok(error <= 1 && error > -pulse - 1, `${error} mWh, a pulse is ${pulse}`);
		assert.equal(driver.counters.counts[Status.outOfOrder], 0, "no step refused");
	});
}

test("pulses: a signed 32-bit counter wraps", () => {
	const { mains, model, bench } = setUp();
	model.setCounter(2 ** 31 - 100);
	mains.set(0, { currentAmperes: 30 });
	bench.runSeconds(600);
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(error) < 5, `${error} mWh`);
	model.setCounter(2 ** 32 - 100);
});

test("pulses: a burst of noise is refused, single pulses below the threshold are not counted", () => {
	const { mains, model, bench, driver } = setUp();
	bench.runSeconds(60);
	for (let i = 0; i < 20; i++) {
		model.noisePulses++;
		bench.runSeconds(120);
	}
	assert.equal(bench.counted[0]!.importMilliwattHours, 0, "creep");
	assert.equal(driver.creepPulseCount, 20);
	mains.set(0, { currentAmperes: 10 });
	bench.runSeconds(60);
	const before = bench.counted[0]!.importMilliwattHours;
	model.noisePulses += 1_000_000;
	bench.runSeconds(60);
	assert.ok(driver.counters.counts[Status.outOfOrder]! === 1, "refused");
	const counted = bench.counted[0]!.importMilliwattHours - before;
	assert.ok(counted < 2300 / 0.06 && counted > (2300 / 0.06) * 0.95, `${counted} mWh`);
});

test("pulses: a load just above the threshold is counted wholly", () => {
	const { mains, bench, pulse } = setUp();
	mains.set(0, { currentAmperes: 0.004 }); // 0.92 W: a pulse each 13.5 s
	bench.runSeconds(86_400);
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(error <= 1 && error > -pulse - 1, `${error} mWh`);
});
