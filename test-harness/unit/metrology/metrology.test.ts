import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError } from "../../../src/bytes/status.js";
import { MeasurementFlag, Metrology, NOT_AVAILABLE, quadrantOf } from "../../../src/metrology/metrology.js";
import { Netting, Register } from "../../../src/metrology/registers.js";
import { createSampleKernel } from "../../../src/metrology/sample-kernel.js";
import type { SampleLayout } from "../../../src/platform/sample-kernel.js";
import { Bench, TEST_LAYOUT, testConfiguration } from "./waves.js";

function near(actual: number, expected: number, tolerance: number, what = ""): void {
	assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual}, expected ${expected} ±${tolerance}`);
}

test("three phases, four quadrants: every value of a second", () => {
	const bench = new Bench();
	bench.frequency = 50.13;
	bench.waves = [
		{ amperes: 10, phi: 30 },
		{ amperes: 5, phi: -60 },
		{ amperes: 8, phi: 150 },
	];
	bench.run(4);
	const { second } = bench.metrology;
	const expected = [
		[10, 30, 1, 866],
		[5, -60, 4, 500],
		[8, 150, 2, -866],
	] as const;
	expected.forEach(([amperes, phi, quadrant, factor], p) => {
		const phase = second.phases[p as 0 | 1 | 2];
		const s = 230 * amperes;
		const angle = (phi * Math.PI) / 180;
		near(phase.voltageMillivolts, 230_000, 120, "U");
		near(phase.currentMilliamperes, amperes * 1000, 10, "I");
		near(phase.powerMilliwatts, s * Math.cos(angle) * 1000, s * 1, "P");
		near(phase.fundamentalPowerMilliwatts, s * Math.cos(angle) * 1000, s * 1, "P1");
		near(phase.reactivePowerMillivars, s * Math.sin(angle) * 1000, s * 1, "Q");
		near(phase.apparentPowerMillivoltAmperes, s * 1000, s * 1, "S");
		near(phase.nonActivePowerMillivoltAmperes, Math.abs(s * Math.sin(angle) * 1000), s * 3, "N");
		near(phase.powerFactorPermille, factor, 1, "PF");
		near(phase.cosPhiPermille, factor, 1, "cos phi");
		near(phase.phaseAngleTenthsDegree, phi * 10, 1, "angle");
		near(phase.voltageAngleTenthsDegree, p * 1200, 1, "voltage angle");
		near(phase.currentMaximumMilliamperes, amperes * 1000, amperes * 10, "highest cycle");
		assert.equal(phase.quadrant, quadrant);
	});
	near(second.frequencyMillihertz, 50_130, 1, "f");
	near(second.rows, 4000, 900);
	assert.equal(second.flags, 0);
	assert.equal(second.quadrant, quadrantOf(second.powerMilliwatts, second.reactivePowerMillivars));
});

test("PF 0, I = 0, U = 0 and full scale give values, not accidents", () => {
	const bench = new Bench();
	bench.waves = [{ amperes: 10, phi: 90 }, { amperes: 0 }, { volts: 0, amperes: 5 }];
	bench.run(3);
	const [a, b, c] = bench.metrology.second.phases;
	near(a.powerFactorPermille, 0, 1);
	near(a.reactivePowerMillivars, 2_300_000, 2000);
	assert.equal(b.powerFactorPermille, NOT_AVAILABLE);
	assert.equal(b.phaseAngleTenthsDegree, NOT_AVAILABLE);
	assert.equal(b.powerMilliwatts, 0);
	assert.equal(c.powerFactorPermille, NOT_AVAILABLE);
	assert.equal(c.voltageAngleTenthsDegree, NOT_AVAILABLE);
	near(c.currentMilliamperes, 5000, 10);
	const full = new Bench();
	full.waves = [{ volts: 400, amperes: 100 }, {}, {}];
	full.run(2);
	assert.equal(full.metrology.second.flags & MeasurementFlag.clipped, MeasurementFlag.clipped);
	for (const value of Object.values(full.metrology.second.phases[0])) assert.ok(Number.isFinite(value));
});

test("no voltage at all: flagged, free-running, values are numbers; voltage back: synchronous within 0.5 s", () => {
	const bench = new Bench();
	bench.waves = [{ amperes: 5 }, { amperes: 5 }, { amperes: 5 }];
	bench.run(2);
	assert.equal(bench.metrology.window.flags, 0);
	bench.waves = [{ volts: 0 }, { volts: 0 }, { volts: 0 }];
	bench.run(2);
	const { window } = bench.metrology;
	assert.equal(
		window.flags,
		MeasurementFlag.noVoltage | MeasurementFlag.unsynchronised | MeasurementFlag.frequencyInvalid,
	);
	assert.equal(window.frequencyMillihertz, 50_000, "held over");
	assert.equal(window.powerMilliwatts, 0);
	bench.waves = [{ amperes: 5 }, { amperes: 5 }, { amperes: 5 }];
	bench.run(0.5);
	assert.equal(bench.metrology.window.flags, 0);
});

test("THD and single harmonics, with the fundamental removed: a pure sine shows none", () => {
	const bench = new Bench();
	bench.waves = [
		{
			amperes: 10,
			voltageHarmonics: [
				[3, 0.05],
				[5, 0.03],
			],
			currentHarmonics: [
				[3, 0.3],
				[5, 0.2],
				[7, 0.1],
			],
		},
		{ amperes: 10 },
		{ amperes: 10, currentHarmonics: [[2, 0.1]] },
	];
	const seen = new Map<number, number[]>();
	bench.metrology.listener = {
		windowClosed: (metrology) => seen.set(metrology.harmonicChannel, [...metrology.harmonics]),
		secondClosed: () => {},
	};
	bench.run(5);
	const { phases } = bench.metrology.second;
	near(phases[0].thdVoltagePermille, 1000 * Math.hypot(0.05, 0.03), 1);
	near(phases[0].thdCurrentPermille, 1000 * Math.hypot(0.3, 0.2, 0.1), 2);
	near(phases[2].thdCurrentPermille, 100, 1);
	for (const value of [phases[1].thdVoltagePermille, phases[1].thdCurrentPermille, phases[2].thdVoltagePermille])
		assert.ok(value <= 3, `pure sine, 16-bit codes: ${value}`);
	const harmonics = seen.get(1)!;
	near(harmonics[1]!, 10_000, 20);
	near(harmonics[3]!, 3000, 10);
	near(harmonics[5]!, 2000, 10);
	near(harmonics[7]!, 1000, 10);
	near(harmonics[9]!, 0, 10);
});

test("a slow mean is removed where it is wished, and stands still while frozen", () => {
	const bench = new Bench(TEST_LAYOUT, { removeMean: true, meanTimeConstantSeconds: 10 });
	bench.waves = [{ amperes: 5, dcAmperes: 2 }, { amperes: 5 }, { amperes: 5 }];
	bench.run(3);
	near(bench.metrology.second.phases[0].currentMilliamperes, 5000, 10, "without the mean");
	near(bench.metrology.second.phases[0].currentMeanMilliamperes, 2000, 20, "but it is told");
	const kept = new Bench();
	kept.waves = bench.waves;
	kept.run(3);
	near(kept.metrology.second.phases[0].currentMilliamperes, 1000 * Math.hypot(5, 2), 10, "DC-capable");
	const frozen = new Bench(TEST_LAYOUT, { removeMean: true });
	frozen.metrology.meanFrozen = true;
	frozen.waves = bench.waves;
	frozen.run(3);
	near(frozen.metrology.second.phases[0].currentMilliamperes, 1000 * Math.hypot(5, 2), 10, "frozen");
});

test("creep: below the limit nothing counts, a load that started keeps counting down to the release", () => {
	const bench = new Bench({ ...TEST_LAYOUT, sampleBytes: 3 });
	const { registers } = bench.metrology;
	const load = (amperes: number, seconds: number): number => {
		const before = registers.value(Netting.vectorSum, Register.activeImport);
		bench.waves = [{ amperes }, { amperes: 0 }, { amperes: 0 }];
		bench.run(seconds);
		return registers.value(Netting.vectorSum, Register.activeImport) - before;
	};
	assert.equal(load(0.007, 20), 0, "0.35 Ist before it started");
	assert.ok(load(0.02, 5) > 0, "Ist");
	assert.ok(load(0.007, 20) > 5, "0.35 Ist after it started");
	load(0.004, 1);
	assert.equal(load(0.004, 20), 0, "0.2 Ist");
	assert.equal(load(0.007, 20), 0, "0.35 Ist again");
});

test("calibration: gain, offset and delay of each channel", () => {
	const layout: SampleLayout = { phaseCount: 1, neutralCurrent: false, sampleBytes: 3, samplesPerSecond: 4000 };
	const bench = new Bench(layout, {
		calibration: [
			{ offsetCodes: 0, gainQ24: Math.round(1.1 * 2 ** 24), delayNanoseconds: 0 },
			{ offsetCodes: Math.round((0.5 / 110) * 2 ** 23), gainQ24: Math.round(0.9 * 2 ** 24), delayNanoseconds: 600_000 },
		],
	});
	// the current comes 600 us early: 10.8 degrees at 50 Hz
	bench.waves = [{ amperes: 10, phi: 60 - 10.8, dcAmperes: 0.5 }];
	bench.run(3);
	const [phase] = bench.metrology.second.phases;
	near(phase.voltageMillivolts, 253_000, 120);
	near(phase.currentMilliamperes, 9000, 5);
	near(phase.powerMilliwatts, 1_138_500, 600);
	near(phase.phaseAngleTenthsDegree, 600, 1);
	near(phase.currentMeanMilliamperes, 0, 2);
});

test("new calibration during the run loses no sample", () => {
	const bench = new Bench();
	bench.waves = [{ amperes: 5 }, { amperes: 5 }, { amperes: 5 }];
	for (let i = 0; i < 10; i++) {
		bench.run(0.77);
		bench.metrology.calibrate(undefined);
	}
	const energy =
		bench.metrology.registers.value(Netting.vectorSum, Register.activeImport) +
		bench.metrology.registers.remainder(Netting.vectorSum, Register.activeImport) / 3.6e6;
	const measured = bench.metrology.rows / 4000;
	near(energy / ((3 * 1150 * measured) / 3.6), 1, 2e-4);
	assert.ok(bench.row - bench.metrology.rows < 1000, "all but the open window");
});

test("lost samples are told, counted, and not invented", () => {
	const bench = new Bench();
	bench.waves = [{ amperes: 5 }, { amperes: 5 }, { amperes: 5 }];
	bench.run(2);
	bench.metrology.samplesLost(123);
	bench.row += 123;
	const flags: number[] = [];
	bench.metrology.listener = { windowClosed: (m) => flags.push(m.window.flags), secondClosed: () => {} };
	bench.run(1);
	assert.equal(bench.metrology.rowsLost, 123);
	assert.equal(flags[0]! & MeasurementFlag.samplesLost, MeasurementFlag.samplesLost);
	assert.equal(flags[1]! & MeasurementFlag.samplesLost, 0);
});

test("60 Hz meters have windows of 12 cycles, and each second is told once", () => {
	const bench = new Bench(TEST_LAYOUT, { nominalFrequencyMillihertz: 60_000, nominalVoltageMillivolts: 120_000 });
	bench.frequency = 60;
	bench.waves = [{ volts: 120, amperes: 5 }, { volts: 120 }, { volts: 120 }];
	let seconds = 0;
	let rows = 0;
	bench.metrology.listener = {
		windowClosed: () => {},
		secondClosed: (m) => {
			seconds++;
			rows += m.second.rows;
		},
	};
	bench.run(10.3);
	assert.equal(seconds, 10);
	assert.equal(bench.metrology.window.rows, 800);
	near(rows, 40_000, 800);
	near(bench.metrology.second.frequencyMillihertz, 60_000, 1);
});

test("a configuration that makes no sense is refused at start", () => {
	const layout: SampleLayout = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 };
	for (const change of [
		{ nominalVoltageMillivolts: 0 },
		{ voltageMillivoltsPerCode: { numerator: 0, denominator: 1 } },
		{ pulsesPerKilowattHour: 0 },
		{ calibration: [{ offsetCodes: 0, gainQ24: 0, delayNanoseconds: 0 }] },
		{ calibration: [{ offsetCodes: 0, gainQ24: 2 ** 24, delayNanoseconds: 2_000_000 }] },
		{ harmonicChannel: 9 },
		{ nominalFrequencyMillihertz: 16_700 },
	])
		assert.throws(() => new Metrology(createSampleKernel(layout), testConfiguration(layout, change)), InvariantError);
});
