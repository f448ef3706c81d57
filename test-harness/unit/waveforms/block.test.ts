import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_SETTINGS } from "../../../src/meter/settings.js";
import { seed } from "../../seed.js";
import { sharedData } from "../../vectors/shared-data.js";
import {
	activePower,
	createSpectrum,
	type PhaseShape,
	rowCountFor,
	setHarmonic,
	synthesizeBlock,
} from "../../waveforms/block.js";
import { HOUSEHOLD_KINDS, Household } from "../../waveforms/household.js";
import { Random } from "../../waveforms/random.js";
import {
	loadRecordedCycles,
	loadRecordedMinutes,
	RecordedAppliances,
	RecordedHousehold,
} from "../../waveforms/recorded.js";

const LAYOUT = DEFAULT_SETTINGS.layout;
const GRID = { nominalHertz: 50.03, nominalVolts: 230, cyclesPerBlock: 50 };

function phase(volts: number, amperes: number, lagRadians: number, index: number): PhaseShape {
	const voltage = createSpectrum();
	const current = createSpectrum();
	setHarmonic(voltage, 1, volts, 0);
	setHarmonic(voltage, 5, volts * 0.03, 0.4);
	setHarmonic(current, 1, amperes, lagRadians);
	setHarmonic(current, 5, amperes * 0.2, 1.1);
	return { voltage, current, lagRadians: (index * 2 * Math.PI) / 3 };
}

test("the reference power of a block is the closed form of its harmonics, within quantisation", () => {
	const phases = [phase(231, 9, 0.5, 0), phase(228, 14, -0.3, 1), phase(233, 4, 2.6, 2)];
	const rowCount = rowCountFor(50.03, 50, 4000);
	const block = synthesizeBlock(LAYOUT, DEFAULT_SETTINGS, { phases, rowCount, cycleCount: 50 });
	assert.equal(block.clipped, 0);
	assert.ok(Math.abs(block.frequencyHertz - 50.03) < 0.0063);
	let sum = 0;
	phases.forEach(({ voltage, current }, index) => {
		const watts = activePower(voltage, current);
		sum += watts;
		assert.ok(Math.abs(block.reference.phases[index]! - watts) < 0.02, `${block.reference.phases[index]} ${watts}`);
	});
	assert.ok(block.reference.phases[2]! < 0);
	assert.ok(Math.abs(block.reference.phaseExport[2]! + block.reference.phases[2]!) < 1e-9);
	assert.ok(Math.abs(block.reference.sumImport - sum) < 0.05);
	assert.equal(block.reference.sumExport, 0);
	assert.ok(Math.abs(block.voltages[0]! - 231 * Math.hypot(1, 0.03)) < 0.01);
	assert.ok(Math.abs(block.currents[1]! - 14 * Math.hypot(1, 0.2)) < 0.005);
});

test("the reference is what the packed rows say: products of the codes, int16 and int24", () => {
	for (const sampleBytes of [2, 3] as const) {
		const layout = { ...LAYOUT, sampleBytes };
		const scale =
			sampleBytes === 2 ? DEFAULT_SETTINGS : { voltageMicrovoltsPerCode: 50, currentMicroamperesPerCode: 14 };
		const phases = [phase(231, 9, 0.5, 0), phase(228, 14, -0.3, 1), phase(233, 4, 2.6, 2)];
		const { rows, rowCount, reference } = synthesizeBlock(layout, scale, { phases, rowCount: 4003, cycleCount: 50 });
		const channels = 7;
		const code = (row: number, channel: number): number => {
			const at = (row * channels + channel) * sampleBytes;
			return sampleBytes === 2
				? ((rows[at]! | (rows[at + 1]! << 8)) << 16) >> 16
				: ((rows[at]! | (rows[at + 1]! << 8) | (rows[at + 2]! << 16)) << 8) >> 8;
		};
		for (let p = 0; p < 3; p++) {
			let products = 0;
			for (let row = 0; row < rowCount; row++) products += code(row, 2 * p) * code(row, 2 * p + 1);
			const watts = (products / rowCount) * scale.voltageMicrovoltsPerCode * scale.currentMicroamperesPerCode * 1e-12;
			assert.ok(Math.abs(watts - reference.phases[p]!) < 1e-6);
		}
		// the neutral carries the sum of the currents
		let worst = 0;
		for (let row = 0; row < rowCount; row++)
			worst = Math.max(worst, Math.abs(code(row, 6) - code(row, 1) - code(row, 3) - code(row, 5)));
		assert.ok(worst <= 2, `neutral off by ${worst} codes`);
		assert.ok(Math.abs(code(0, 0)) < 900 * (sampleBytes === 2 ? 1 : 250), "starts at a zero crossing of phase 1");
	}
});

test("households: no code clips, no phase lies in creep, and loads change at a human pace", () => {
	const random = new Random(seed, "households");
	for (const kind of HOUSEHOLD_KINDS)
		for (const phaseCount of [1, 3] as const) {
			const layout = { ...LAYOUT, phaseCount };
			const load = new Household(random.child(kind), layout, kind, GRID, 36_000);
			let seconds = 0;
			let changes = 0;
			let exported = 0;
			for (; seconds < 4 * 3600; changes++) {
				const shape = load.shapeAt(seconds);
				let sum = 0;
				for (const { voltage, current } of shape.phases) {
					const watts = activePower(voltage, current);
					assert.ok(Math.abs(watts) >= 29, `${kind}: ${watts} W`);
					sum += watts;
				}
				exported = Math.min(exported, sum);
				if (changes % 16 === 0) assert.equal(synthesizeBlock(layout, DEFAULT_SETTINGS, shape).clipped, 0);
				const next = load.nextChangeSeconds();
				assert.ok(next > seconds);
				seconds = next;
			}
			assert.ok(changes > 10 && changes < 4 * 3600, `${kind}: ${changes} changes in four hours`);
			if (kind === "solar house") assert.ok(exported < -300, `the sun gives ${exported} W`);
		}
});

test("one seed is one household, another seed is another", () => {
	const run = (one: number): string => {
		const load = new Household(new Random(one, "x"), LAYOUT, "house", GRID, 0);
		const watts: number[] = [];
		for (let seconds = 0; seconds < 3600; seconds = load.nextChangeSeconds())
			watts.push(
				load.shapeAt(seconds).phases.reduce((sum, { voltage, current }) => sum + activePower(voltage, current), 0),
			);
		return watts.join();
	};
	assert.equal(run(5), run(5));
	assert.notEqual(run(5), run(6));
});

const plaid = sharedData("waveforms-plaid");
test("recorded appliance cycles keep their power when resampled", { skip: plaid.skip }, () => {
	const cycles = loadRecordedCycles();
	assert.ok(cycles.length > 30);
	for (const { voltage, current, index } of cycles) {
		assert.ok(Math.abs(voltage.cosine[1]!) < 1e-9, `cycle ${index} starts at the rising zero crossing`);
		const phases = [{ voltage, current, lagRadians: 0 }];
		const layout = { ...LAYOUT, phaseCount: 1 as const };
		const block = synthesizeBlock(layout, DEFAULT_SETTINGS, { phases, rowCount: 4000, cycleCount: 50 });
		const watts = activePower(voltage, current);
		assert.ok(Math.abs(block.reference.phases[0]! - watts) < Math.max(0.05, 2e-4 * watts), `cycle ${index}`);
	}
	const load = new RecordedAppliances(new Random(seed, "plaid"), LAYOUT, GRID, cycles);
	for (let i = 0, seconds = 0; i < 20; i++, seconds = load.nextChangeSeconds())
		assert.equal(synthesizeBlock(LAYOUT, DEFAULT_SETTINGS, load.shapeAt(seconds)).clipped, 0);
});

const uci = sharedData("consumption-uci");
test("recorded minutes are played with their active and reactive power", { skip: uci.skip }, () => {
	const minutes = loadRecordedMinutes();
	assert.equal(minutes.length, 6156);
	const layout = { ...LAYOUT, phaseCount: 1 as const };
	const load = new RecordedHousehold(new Random(seed, "uci"), layout, GRID, minutes);
	const known = new Set(minutes.map(({ watts }) => Math.round(watts)));
	for (let i = 0, seconds = 0; i < 30; i++, seconds = load.nextChangeSeconds()) {
		assert.equal(seconds, i * 60);
		const [one] = load.shapeAt(seconds).phases;
		assert.ok(one && known.has(Math.round(activePower(one.voltage, one.current))));
	}
});
