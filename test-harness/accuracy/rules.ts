import { Metrology, type MetrologyConfiguration } from "../../src/metrology/metrology.js";
import { createSampleKernel } from "../../src/metrology/sample-kernel.js";
import { rowBytes, type SampleLayout } from "../../src/platform/sample-kernel.js";
import { type Fault, FaultyKernel } from "./faults.js";
import { VirtualFrontEnd } from "./front-end.js";
import { type Stimulus, truthOf } from "./generator.js";
import { configurationFor, DIRECT, type Family, FULL_SCALE_VOLTS, measure, TRANSFORMER } from "./measure.js";
import type { AccuracyRow } from "./suite.js";

/** Long runs need no harmonics: 1 003 rows a second line up with nothing. */
const SLOW: SampleLayout = { phaseCount: 3, neutralCurrent: false, sampleBytes: 3, samplesPerSecond: 1003 };
const BLOCK_ROWS = 256;

type RuleFault = Fault | "creep limit removed" | "one of the runs off by 0.3 %";

interface Run {
	readonly metrology: Metrology;
	/** s until the first pulse, and until the first mWh; Infinity: none. */
	readonly firstPulseSeconds: number;
	readonly firstEnergySeconds: number;
	readonly seconds: number;
}

function balanced(family: Family, amperes: number, phi: number, volts = family.nominalVolts): Stimulus {
	return {
		frequency: 50.37,
		start: 0.7,
		phases: [0, 1, 2].map((p) => ({
			voltage: volts,
			voltageAngle: (p * 2 * Math.PI) / 3,
			current: amperes,
			phi,
		})),
	};
}

/** Runs from power-on until `until` says so. */
function run(
	stimulus: Stimulus,
	family: Family,
	seed: number,
	until: (metrology: Metrology, seconds: number) => boolean,
	fault?: RuleFault,
): Run {
	const frontEnd = new VirtualFrontEnd({
		layout: SLOW,
		fullScaleVolts: FULL_SCALE_VOLTS,
		fullScaleAmperes: family.fullScaleAmperes,
		seed,
	});
	const kernel = createSampleKernel(SLOW);
	const faulty = fault !== undefined && fault !== "creep limit removed" && fault !== "one of the runs off by 0.3 %";
	let configuration: MetrologyConfiguration = configurationFor(family, frontEnd);
	if (fault === "creep limit removed")
		configuration = {
			...configuration,
			creep: { startMilliwatts: 0, stopMilliwatts: 0, startMillivars: 0, stopMillivars: 0, factorMillivoltAmperes: 0 },
		};
	const metrology = new Metrology(faulty ? new FaultyKernel(kernel, fault) : kernel, configuration);
	if (fault === "gain +0.3 %")
		Object.assign(frontEnd, {
			flaws: frontEnd.flaws.map((flaw, c) => (c % 2 === 0 ? { ...flaw, gain: flaw.gain * 1.003 } : flaw)),
		});
	const block = new Uint8Array(BLOCK_ROWS * rowBytes(SLOW));
	let firstPulseSeconds = Number.POSITIVE_INFINITY;
	let firstEnergySeconds = Number.POSITIVE_INFINITY;
	let stopped = false;
	metrology.listener = {
		windowClosed: () => {
			const seconds = metrology.rows / SLOW.samplesPerSecond;
			const { registers } = metrology;
			if (registers.pulses > 0 && firstPulseSeconds > seconds) firstPulseSeconds = seconds;
			const energy = registers.activeImportMilliwattHours + registers.activeExportMilliwattHours;
			if (energy > 0 && firstEnergySeconds > seconds) firstEnergySeconds = seconds;
			if (until(metrology, seconds)) stopped = true;
		},
		secondClosed: () => {},
	};
	while (!stopped) {
		frontEnd.read(stimulus, block, BLOCK_ROWS);
		metrology.feed(block, BLOCK_ROWS);
	}
	return { metrology, firstPulseSeconds, firstEnergySeconds, seconds: metrology.rows / SLOW.samplesPerSecond };
}

interface Verdict {
	readonly error: number;
	readonly truth: string;
	readonly reading: string;
}

interface Rule {
	readonly id: string;
	readonly test: string;
	readonly mark: string;
	readonly accuracyClass: string;
	readonly stimulus: string;
	readonly unit: string;
	/** |error| must not exceed it. */
	readonly limit: number;
	readonly fault: RuleFault;
	readonly judge: (fault?: RuleFault) => Verdict;
}

/** Registers at the starting current, in the right direction, and the first pulse is in time. */
function starting(family: Family, amperes: number, accuracyClass: string, seed: number, exported: boolean): Rule {
	const tuned: Family = { ...family, startingAmperes: amperes };
	const stimulus = balanced(tuned, amperes, exported ? Math.PI : 0);
	const expected = 3.6e6 / (Math.abs(truthOf(stimulus).power) * tuned.pulsesPerKilowattHour);
	return {
		id: exported ? "start-export" : "start-import",
		test: "starting current: first pulse within 1.5 of the expected time, right direction",
		mark: "K",
		accuracyClass,
		stimulus: `${(amperes * 1000).toPrecision(3)} mA balanced, ${exported ? "export" : "import"}`,
		unit: "× expected time",
		limit: 1.5,
		fault: exported ? "abs() on P" : "creep limit removed",
		judge: (fault) => {
			// for import: the same load with a creep limit above it, as a meter has that never starts
			const late = fault === "creep limit removed" ? { ...tuned, startingAmperes: 4 * amperes } : tuned;
			const result = run(
				stimulus,
				late,
				seed,
				(metrology, seconds) => metrology.registers.pulses > 0 || seconds > 1.6 * expected,
				fault === "creep limit removed" ? undefined : fault,
			);
			const { registers } = result.metrology;
			const right = exported ? registers.activeExportMilliwattHours : registers.activeImportMilliwattHours;
			const wrong = exported ? registers.activeImportMilliwattHours : registers.activeExportMilliwattHours;
			const ratio = wrong > right ? Number.POSITIVE_INFINITY : result.firstPulseSeconds / expected;
			return {
				error: ratio,
				truth: `${expected.toFixed(1)} s`,
				reading: `${result.firstPulseSeconds.toFixed(1)} s, ${right} mWh, ${wrong} mWh the other way`,
			};
		},
	};
}

/** No more than one pulse in the time of the standard, with a little crosstalk on the current inputs. */
function noLoad(family: Family, accuracyClass: string, seed: number, quick: boolean): Rule {
	const volts = 1.15 * family.nominalVolts;
	const { startingAmperes, pulsesPerKilowattHour } = family;
	const minutes = 240_000 / (pulsesPerKilowattHour * 3 * volts * startingAmperes);
	// twice the time of the standard, so that a meter without a creep limit shows
	const seconds = quick ? 60 * minutes : 120 * minutes;
	const stimulus = balanced(family, 0.3 * startingAmperes, 0.2, volts);
	return {
		id: "no-load",
		test: "no load at 1.15 Un: at most one pulse in 240 000 / (k·m·Utest·Ist) minutes",
		mark: "K",
		accuracyClass,
		stimulus: `${volts.toFixed(0)} V, crosstalk of 0.3 Ist, ${(seconds / 60).toFixed(1)} min`,
		unit: "pulses",
		limit: quick ? 0 : 1,
		fault: "creep limit removed",
		judge: (fault) => {
			const { metrology } = run(stimulus, family, seed, (_, now) => now >= seconds, fault);
			const { pulses } = metrology.registers;
			return { error: pulses, truth: "0", reading: `${pulses} pulses` };
		},
	};
}

function rules(quick: boolean, seed: number): Rule[] {
	const list: Rule[] = [
		starting(TRANSFORMER, 0.005, "class 0.2S", seed, false),
		starting(TRANSFORMER, 0.005, "class 0.2S", seed, true),
		noLoad(TRANSFORMER, "class 0.2S", seed, quick),
	];
	if (!quick)
		list.push(
			starting(TRANSFORMER, 0.005, "class 0.5S", seed + 1, false),
			starting(TRANSFORMER, 0.005, "class 0.5S", seed + 1, true),
			noLoad(TRANSFORMER, "class 0.5S", seed + 1, quick),
			starting(DIRECT, 0.02, "class 1", seed, false),
			starting(DIRECT, 0.02, "class 1", seed, true),
			noLoad(DIRECT, "class 1", seed, quick),
			starting(DIRECT, 0.025, "class 2", seed, false),
			starting(DIRECT, 0.025, "class 2", seed, true),
			noLoad({ ...DIRECT, startingAmperes: 0.025 }, "class 2", seed, quick),
		);
	const load = balanced(DIRECT, 5, 0);
	const power = truthOf(load).power;
	list.push({
		id: "initial-start",
		test: "registers within 5 s of Un applied; 95 % of the energy of the first 5 s",
		mark: "K",
		accuracyClass: "all",
		stimulus: "5 A balanced, export",
		unit: "s",
		limit: 5,
		fault: "abs() on P",
		judge: (fault) => {
			const result = run(balanced(DIRECT, 5, Math.PI), DIRECT, seed, (_, now) => now >= 5, fault);
			const energy = result.metrology.registers.activeExportMilliwattHours * 3.6;
			const enough = energy > 0.95 * power * result.seconds;
			return {
				error: enough ? result.firstEnergySeconds : Number.POSITIVE_INFINITY,
				truth: `${(power * result.seconds).toFixed(0)} Ws`,
				reading: `${energy.toFixed(0)} Ws, first after ${result.firstEnergySeconds.toFixed(2)} s`,
			};
		},
	});
	const heavy = balanced(DIRECT, 60, 0.4);
	list.push({
		id: "meter-constant",
		test: "pulses / k equals the energy within one pulse",
		mark: "K",
		accuracyClass: "all",
		stimulus: "60 A balanced, PF 0.92, 60 s",
		unit: "pulses",
		limit: 1,
		fault: "gain +0.3 %",
		judge: (fault) => {
			const result = run(heavy, DIRECT, seed, (_, now) => now >= 60, fault);
			const expected = (truthOf(heavy).power * result.seconds * DIRECT.pulsesPerKilowattHour) / 3.6e6;
			const { pulses } = result.metrology.registers;
			return {
				error: Math.abs(pulses - expected),
				truth: `${expected.toFixed(2)} pulses`,
				reading: `${pulses} pulses`,
			};
		},
	});
	list.push({
		id: "repeatability",
		test: "spread of three runs, limit: a third of 0.2 %, a tenth of that as budget",
		mark: "K",
		accuracyClass: "class 0.2S",
		stimulus: "0.25 A, PF 0.5 ind, three noises",
		unit: "%",
		limit: 0.2 / 30,
		fault: "one of the runs off by 0.3 %",
		judge: (fault) => {
			const stimulus = balanced(TRANSFORMER, 0.25, Math.acos(0.5));
			const truth = truthOf(stimulus).power;
			const readings = [0, 1, 2].map((i) => {
				const off = fault !== undefined && i === 1 ? ("gain +0.3 %" as const) : undefined;
				return measure(stimulus, { family: TRANSFORMER, seed: seed + i, windows: 50, fault: off, noiseCodes: 3 }).power;
			});
			const spread = (100 * (Math.max(...readings) - Math.min(...readings))) / truth;
			return { error: spread, truth: `${truth.toFixed(4)} W`, reading: readings.map((r) => r.toFixed(4)).join(", ") };
		},
	});
	return list;
}

/** Rules of pass or fail, and the fault that each must see. */
export async function measureRules(options: {
	quick: boolean;
	seed: number;
	onProgress: (text: string) => void;
}): Promise<AccuracyRow[]> {
	const rows: AccuracyRow[] = [];
	for (const rule of rules(options.quick, options.seed)) {
		options.onProgress(`accuracy: ${rule.id}, ${rule.accuracyClass}`);
		const verdict = rule.judge();
		const seen = Math.abs(rule.judge(rule.fault).error) > rule.limit;
		rows.push({
			id: rule.id,
			table: "rules",
			accuracyClass: rule.accuracyClass,
			test: rule.test,
			mark: rule.mark,
			stimulus: rule.stimulus,
			truth: verdict.truth,
			reading: verdict.reading,
			error: verdict.error,
			limit: rule.limit,
			budget: rule.limit,
			unit: rule.unit,
			margin: rule.limit === 0 ? (verdict.error === 0 ? 1 : -1) : 1 - Math.abs(verdict.error) / rule.limit,
			points: 1,
			passed: Math.abs(verdict.error) <= rule.limit && seen,
			fault: seen ? rule.fault : "none",
		});
		await new Promise<void>((resolve) => setImmediate(resolve));
	}
	return rows;
}
