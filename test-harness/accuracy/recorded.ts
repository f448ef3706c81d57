import { Metrology, type MetrologyConfiguration } from "../../src/metrology/metrology.js";
import { Netting, Register } from "../../src/metrology/registers.js";
import { createSampleKernel } from "../../src/metrology/sample-kernel.js";
import type { SampleLayout } from "../../src/platform/sample-kernel.js";
import { readSharedFile, sharedData } from "../vectors/shared-data.js";
import type { AccuracyRow } from "./suite.js";

/** Recorded waveforms show that we compute what the samples say, not that a board measures correctly. */
const LIMIT_PERCENT = 0.1;

const NO_CREEP = {
	startMilliwatts: 0,
	stopMilliwatts: 0,
	startMillivars: 0,
	stopMillivars: 0,
	factorMillivoltAmperes: 0,
};
const FULL = 0x7f_ffff;

function numbers(line: string): number[] {
	return line.split(",").map(Number);
}

function row(
	id: string,
	test: string,
	stimulus: string,
	truth: string,
	reading: string,
	error: number,
	points: number,
	limit = LIMIT_PERCENT,
): AccuracyRow {
	return {
		id,
		table: "recorded waveforms",
		accuracyClass: "recorded",
		test,
		mark: "D",
		stimulus,
		truth,
		reading,
		error,
		limit,
		budget: limit,
		unit: "%",
		margin: 1 - Math.abs(error) / limit,
		points,
		passed: Math.abs(error) <= limit,
		fault: "",
	};
}

interface Worst {
	error: number;
	stimulus: string;
	truth: string;
	reading: string;
}

function worse(worst: Worst, error: number, stimulus: string, truth: string, reading: string): Worst {
	return worst.stimulus !== "" && Math.abs(error) <= Math.abs(worst.error)
		? worst
		: { error, stimulus, truth, reading };
}

/** 63 cycles of appliances, each repeated; the reference is the arithmetic of one cycle with its DC. */
function plaid(quick: boolean): AccuracyRow[] {
	const cycles = readSharedFile("waveforms-plaid", "plaid_cycles.csv").toString("utf8").trimEnd().split("\n").slice(1);
	const [head = "", ...references] = readSharedFile("waveforms-plaid", "plaid_reference.csv")
		.toString("utf8")
		.trimEnd()
		.split("\n");
	const names = head.split(",");
	const layout: SampleLayout = { phaseCount: 1, neutralCurrent: false, sampleBytes: 3, samplesPerSecond: 30_000 };
	const none: Worst = { error: 0, stimulus: "", truth: "", reading: "" };
	let voltage = none;
	let current = none;
	let power = none;
	let reactive = none;
	let distortion = none;
	let count = 0;
	for (let n = 0; n < cycles.length; n += quick ? 8 : 1) {
		count++;
		const cells = cycles[n]!.split(",");
		const samples = cells.slice(4).map(Number);
		const reference = Object.fromEntries(references[n]!.split(",").map((value, i) => [names[i]!, value]));
		const want = (name: string): number => Number(reference[name]);
		const peak = Math.max(...samples.slice(500).map(Math.abs));
		const fullAmperes = Math.ceil(peak * 1.2);
		const configuration: MetrologyConfiguration = {
			layout,
			nominalVoltageMillivolts: 120_000,
			nominalFrequencyMillihertz: 60_000,
			baseCurrentMilliamperes: 5000,
			maximumCurrentMilliamperes: 30_000,
			voltageMillivoltsPerCode: { numerator: 300_000, denominator: FULL + 1 },
			currentMilliamperesPerCode: { numerator: fullAmperes * 1000, denominator: FULL + 1 },
			removeMean: false,
			nettingMode: "vectorSum",
			creep: NO_CREEP,
			pulsesPerKilowattHour: 1000,
		};
		const metrology = new Metrology(createSampleKernel(layout), configuration);
		const cycle = new Uint8Array(500 * 6);
		for (let k = 0; k < 500; k++) {
			const u = Math.round((samples[k]! / 300) * (FULL + 1));
			const i = Math.round((samples[500 + k]! / fullAmperes) * (FULL + 1));
			cycle.set([u & 255, (u >> 8) & 255, (u >> 16) & 255, i & 255, (i >> 8) & 255, (i >> 16) & 255], 6 * k);
		}
		// THD needs a few windows: channels take turns, and each is analysed against the window before
		for (let k = 0; k < 12 * 8; k++) metrology.feed(cycle, 500);
		const [phase] = metrology.window.phases;
		const name = `${cells[2]} (row ${cells[0]})`;
		const apparent = want("vrms_V") * want("irms_A");
		const check = (worst: Worst, got: number, truth: number, scale: number, unit: string): Worst =>
			worse(worst, (100 * (got - truth)) / scale, name, `${truth} ${unit}`, `${got} ${unit}`);
		voltage = check(voltage, phase.voltageMillivolts / 1000, want("vrms_V"), want("vrms_V"), "V");
		// to the mA that is shown
		const amperes = phase.currentMilliamperes / 1000;
		current = check(
			current,
			Math.abs(amperes - want("irms_A")) <= 0.0005 ? want("irms_A") : amperes,
			want("irms_A"),
			want("irms_A"),
			"A",
		);
		power = check(power, phase.powerMilliwatts / 1000, want("p_W"), apparent, "W");
		reactive = check(reactive, phase.reactivePowerMillivars / 1000, want("q1_var"), apparent, "var");
		distortion = check(distortion, phase.thdCurrentPermille / 1000, want("thd_i"), 1 + want("thd_i"), "");
	}
	return [
		row("plaid-u", "RMS voltage", voltage.stimulus, voltage.truth, voltage.reading, voltage.error, count),
		row("plaid-i", "RMS current (shown in mA)", current.stimulus, current.truth, current.reading, current.error, count),
		row("plaid-p", "active power, percent of S", power.stimulus, power.truth, power.reading, power.error, count),
		row(
			"plaid-q",
			"reactive power Q1, percent of S",
			reactive.stimulus,
			reactive.truth,
			reactive.reading,
			reactive.error,
			count,
		),
		row(
			"plaid-thd",
			"THD of the current, percent of 1 + THD",
			distortion.stimulus,
			distortion.truth,
			distortion.reading,
			distortion.error,
			count,
			0.5,
		),
	];
}

/** Six seconds of a transformer bay, load and then none: energy of the registers against plain sums of the samples. */
function substation(): AccuracyRow[] {
	const lines = readSharedFile("waveforms-comtrade", "substation60hz.csv")
		.toString("utf8")
		.trimEnd()
		.split("\n")
		.slice(1);
	const layout: SampleLayout = { phaseCount: 3, neutralCurrent: false, sampleBytes: 3, samplesPerSecond: 1200 };
	const metrology = new Metrology(createSampleKernel(layout), {
		layout,
		nominalVoltageMillivolts: 230_000,
		nominalFrequencyMillihertz: 60_000,
		baseCurrentMilliamperes: 5000,
		maximumCurrentMilliamperes: 60_000,
		voltageMillivoltsPerCode: { numerator: 450_000, denominator: FULL + 1 },
		currentMilliamperesPerCode: { numerator: 20_000, denominator: FULL + 1 },
		removeMean: false,
		nettingMode: "both",
		creep: NO_CREEP,
		pulsesPerKilowattHour: 1000,
	});
	const block = new Uint8Array(lines.length * 18);
	const products: number[] = [];
	let at = 0;
	for (const line of lines) {
		const [, vr, vs, vt, ir, is, it] = numbers(line);
		const pairs = [vr!, ir!, vs!, is!, vt!, it!].map((value, c) => (c % 2 === 0 ? value / 567 : value / 40));
		products.push(pairs[0]! * pairs[1]! + pairs[2]! * pairs[3]! + pairs[4]! * pairs[5]!);
		for (let c = 0; c < 6; c++) {
			const code = Math.round((pairs[c]! / (c % 2 === 0 ? 450 : 20)) * (FULL + 1));
			block[at++] = code;
			block[at++] = code >> 8;
			block[at++] = code >> 16;
		}
	}
	metrology.feed(block, lines.length);
	// Neumaier's compensated sum over the rows that closed windows
	let sum = 0;
	let lost = 0;
	for (let r = 0; r < metrology.rows; r++) {
		const next = sum + products[r]!;
		lost += Math.abs(sum) >= Math.abs(products[r]!) ? sum - next + products[r]! : products[r]! - next + sum;
		sum = next;
	}
	const truth = (sum + lost) / 1200;
	const { registers } = metrology;
	const energy = (netting: Netting): number =>
		(3.6e6 * (registers.value(netting, Register.activeImport) - registers.value(netting, Register.activeExport)) +
			registers.remainder(netting, Register.activeImport) -
			registers.remainder(netting, Register.activeExport)) /
		1e6;
	const reading = energy(Netting.vectorSum);
	const perPhase = energy(Netting.perPhase);
	// our reading of the file against the reference that came with it
	const [, ...reference] = readSharedFile("waveforms-comtrade", "substation60hz_reference.csv")
		.toString("utf8")
		.trimEnd()
		.split("\n");
	const expected = reference.reduce((total, line) => total + numbers(line)[11]! * 240, 0) / (567 * 40 * 1200);
	const all = products.reduce((total, value) => total + value, 0) / 1200;
	return [
		row(
			"substation-p",
			"active energy over load, breaker opening, no load",
			"3 phases, 1 200 Hz, DC offset",
			`${truth.toFixed(3)} Ws`,
			`${reading.toFixed(3)} Ws`,
			(100 * (reading - truth)) / truth,
			1,
			0.001,
		),
		row(
			"substation-net",
			"import - export is the same in both netting modes",
			"the same",
			`${reading.toFixed(6)} Ws`,
			`${perPhase.toFixed(6)} Ws`,
			(100 * (perPhase - reading)) / reading,
			1,
			0.001,
		),
		row(
			"substation-ref",
			"the samples read against the reference table",
			"30 windows of 240 samples",
			`${expected.toFixed(3)} Ws`,
			`${all.toFixed(3)} Ws`,
			(100 * (all - expected)) / expected,
			1,
			0.001,
		),
	];
}

/** Waveforms of `../shared/data`, as far as they are there. */
export function measureRecorded(options: { quick: boolean; onProgress: (text: string) => void }): {
	rows: AccuracyRow[];
	skipped: string[];
} {
	const rows: AccuracyRow[] = [];
	const skipped: string[] = [];
	for (const [name, run] of [
		["waveforms-plaid", () => plaid(options.quick)],
		["waveforms-comtrade", substation],
	] as const) {
		const place = sharedData(name);
		options.onProgress(`accuracy: ${name}`);
		if (place.skip === false) rows.push(...run());
		else skipped.push(place.skip);
	}
	return { rows, skipped };
}
