import assert from "node:assert/strict";
import { test } from "node:test";
import { FAULTS } from "../../accuracy/faults.js";
import { VirtualFrontEnd } from "../../accuracy/front-end.js";
import { currentAt, type PhaseStimulus, truthOfPhase, voltageAt } from "../../accuracy/generator.js";
import { LIMIT_FILES, readLimits } from "../../accuracy/limits.js";
import { DIRECT, errorPercent, measure, TRANSFORMER } from "../../accuracy/measure.js";
import { writeHtml, writeText } from "../../accuracy/report.js";
import { parseCurrent, parseFactor, runAccuracy, threePhase } from "../../accuracy/suite.js";
import { sharedData } from "../../vectors/shared-data.js";

test("every row of the limit tables has a mark", () => {
	for (const file of LIMIT_FILES)
		for (const row of readLimits(file)) assert.match(row["mark"] ?? "", /^(S|K|S\/K)$/, `${file} ${row["id"]}`);
});

test("currents and power factors are read as the tables write them", () => {
	assert.equal(parseCurrent("0.05Ib", DIRECT), 0.25);
	assert.equal(parseCurrent("Imax", DIRECT), 60);
	assert.equal(parseCurrent("0.01In", TRANSFORMER), 0.05);
	assert.ok(Math.abs(parseFactor("0.5ind") - Math.PI / 3) < 1e-15);
	assert.ok(Math.abs(parseFactor("0.8cap") + Math.acos(0.8)) < 1e-15);
});

test("the closed forms of the generator against numerical integration of its own signals", () => {
	const base: PhaseStimulus = { voltage: 230, voltageAngle: 0.4, current: 7, phi: 0.9 };
	const harmonics = [
		{ order: 3, ratio: 0.2, angle: 0.5 },
		{ order: 5, ratio: 0.1, angle: -1 },
	];
	const shapes: PhaseStimulus[] = [
		base,
		{ ...base, phi: Math.PI + 0.3 },
		{
			...base,
			voltageHarmonics: harmonics,
			currentHarmonics: [
				{ order: 5, ratio: 0.4, angle: 1 },
				{ order: 7, ratio: 0.2, angle: 0 },
			],
		},
		{ ...base, shape: "halfWave" },
		{ ...base, shape: "burst" },
		{ ...base, phi: 0, shape: "phaseFired" },
	];
	for (const phase of shapes) {
		const steps = 400_000;
		let power = 0;
		let reactive = 0;
		for (let k = 0; k < steps; k++) {
			const angle = phase.voltageAngle + ((k + 0.5) / steps) * 8 * Math.PI;
			power += voltageAt(phase, angle) * currentAt(phase, angle);
			// fundamental only: against the voltage's fundamental a quarter later
			reactive -= Math.SQRT2 * phase.voltage * Math.cos(angle - phase.voltageAngle) * currentAt(phase, angle);
		}
		const truth = truthOfPhase(phase);
		assert.ok(Math.abs(power / steps - truth.power) < 0.01, `${phase.shape}: ${power / steps} ${truth.power}`);
		assert.ok(
			Math.abs(reactive / steps - truth.reactive) < 0.01,
			`${phase.shape}: ${reactive / steps} ${truth.reactive}`,
		);
	}
});

test("second oracle: compensated sums of the codes agree with the registers to 10^-9", () => {
	// ideal front end, so that the codes alone decide; the window's rows are known
	const stimulus = threePhase(DIRECT, { amperes: 7, phi: 1 }, 0.3);
	const reading = measure(stimulus, { family: DIRECT, seed: 5, windows: 20, ideal: true });
	const { metrology } = reading;
	const frontEnd = new VirtualFrontEnd({
		layout: metrology.configuration.layout,
		fullScaleVolts: 450,
		fullScaleAmperes: DIRECT.fullScaleAmperes,
		seed: 5,
		ideal: true,
	});
	const codes = new Int32Array(metrology.rows * 7);
	frontEnd.read(stimulus, new Uint8Array(metrology.rows * 21), metrology.rows, codes);
	let sum = 0;
	let lost = 0;
	for (let r = 0; r < metrology.rows; r++)
		for (let p = 0; p < 3; p++) {
			const product = codes[7 * r + 2 * p]! * codes[7 * r + 2 * p + 1]!;
			const next = sum + product;
			lost += Math.abs(sum) >= Math.abs(product) ? sum - next + product : product - next + sum;
			sum = next;
		}
	const scale = ((450 / 2 ** 23) * (DIRECT.fullScaleAmperes / 2 ** 23)) / 8001;
	const { registers } = metrology;
	const energy = (registers.value(1, 0) * 3_600_000 + registers.remainder(1, 0)) / 1e6;
	assert.ok(Math.abs(energy / ((sum + lost) * scale) - 1) < 1e-9, `${energy} ${(sum + lost) * scale}`);
});

test("each seeded fault is seen by a stimulus made for it", () => {
	const family = DIRECT;
	const fifth = [{ order: 5, ratio: 0.4, angle: 0 }];
	for (const fault of FAULTS) {
		const q = fault === "swapped Q sign";
		const phi = fault === "abs() on P" ? Math.PI : fault === "one-sample delay" ? Math.acos(0.5) : q ? 1 : 0;
		const shape = {
			amperes: 5,
			phi,
			...(fault === "fundamental-only P"
				? { voltageHarmonics: [{ order: 5, ratio: 0.1, angle: 0 }], currentHarmonics: fifth }
				: {}),
		};
		const stimulus = threePhase(family, shape, 1);
		const layout = { phaseCount: 3, neutralCurrent: false, sampleBytes: 3, samplesPerSecond: 2003 } as const;
		const kind = q ? "reactive" : "active";
		const sound = errorPercent(stimulus, measure(stimulus, { family, seed: 1, windows: 20, layout }), kind);
		const faulty = errorPercent(stimulus, measure(stimulus, { family, seed: 1, windows: 20, layout, fault }), kind);
		assert.ok(Math.abs(sound) < 0.02, `sound: ${sound} %`);
		assert.ok(Math.abs(faulty) > 0.05, `${fault}: ${faulty} %`);
	}
});

test("quick accuracy run: every row within a tenth of its limit, and red under a fault", async (t) => {
	const report = await runAccuracy({ quick: true, seed: 1 });
	for (const line of report.skipped) t.diagnostic(`skipped: ${line}`);
	const failed = report.rows.filter((row) => !row.passed);
	assert.deepEqual(failed, []);
	assert.ok(report.passed && report.rows.length > 80);
	for (const name of ["class 2", "class 1", "class 0.5S", "class 0.2S", "class reactive 2"])
		assert.ok(
			report.summaries.some((summary) => summary.accuracyClass === name),
			name,
		);
	if (sharedData("waveforms-plaid").skip === false) assert.ok(report.rows.some((row) => row.id === "plaid-p"));
	const text = writeText(report);
	assert.match(text, /no type approval/);
	assert.match(text, /all rows are within their budget/);
	const html = writeHtml(report);
	assert.match(html, /<svg/);
	assert.ok(!/(src|href)="https?:/.test(html), "self-contained");
	assert.ok(html.includes(report.metrologyDigest));
});
