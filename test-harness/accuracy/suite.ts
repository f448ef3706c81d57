import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { SampleLayout } from "../../src/platform/sample-kernel.js";
import { ROOT } from "../root.js";
import { FAULTS, type Fault } from "./faults.js";
import { randomNumbers } from "./front-end.js";
import { type Harmonic, type PhaseStimulus, type Stimulus, truthOf } from "./generator.js";
import { type LimitRow, readLimits } from "./limits.js";
import { longRun } from "./long-run.js";
import { DIRECT, errorPercent, type Family, LAYOUT, measure, TRANSFORMER } from "./measure.js";
import { measureRecorded } from "./recorded.js";
import { measureRules } from "./rules.js";

/** One line of the report: a table row for one accuracy class, or a rule. */
export interface AccuracyRow {
	readonly id: string;
	readonly table: string;
	/** "class 1", "class B", "all" for a rule. */
	readonly accuracyClass: string;
	readonly test: string;
	/** S, K, S/K or D: how far the limit can be trusted. */
	readonly mark: string;
	/** The stimulus of the worst point. */
	readonly stimulus: string;
	readonly truth: string;
	readonly reading: string;
	/** Percent, or the unit of the rule. */
	readonly error: number;
	/** Limit of the table. */
	readonly limit: number;
	/** What the arithmetic may use of it: a tenth. */
	readonly budget: number;
	readonly unit: string;
	/** 1 - |error| / budget. */
	readonly margin: number;
	readonly points: number;
	readonly passed: boolean;
	/** The seeded fault that turned the row red; "" where faults do not apply. */
	readonly fault: string;
}

export interface AccuracySummary {
	readonly accuracyClass: string;
	readonly rows: number;
	readonly passed: number;
	/** Largest |error| / limit of the rows in percent, and where. */
	readonly worstShareOfLimit: number;
	readonly worstRow: string;
}

export interface AccuracyReport {
	readonly title: string;
	readonly claim: string;
	readonly seed: number;
	readonly quick: boolean;
	/** SHA-256 over the sources of src/metrology, in order of their names. */
	readonly metrologyDigest: string;
	readonly passed: boolean;
	readonly summaries: readonly AccuracySummary[];
	readonly rows: readonly AccuracyRow[];
	/** What was not run, and why. */
	readonly skipped: readonly string[];
	/** Error curves for the plots: percent over the current in A. */
	readonly curves: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[];
	/** Faults, and in how many rows each was the one that showed. */
	readonly faults: Readonly<Record<string, number>>;
}

export interface AccuracyOptions {
	readonly onProgress?: (text: string) => void;
	readonly quick?: boolean;
	readonly seed: number;
}

const CLAIM =
	"This is a computation class: the arithmetic, fed with codes of a virtual front end, keeps within a tenth of the limits " +
	"of the class. It is no type approval, and says nothing about a board without a reference meter beside it.";

/** SHA-256 over the metrology's sources. */
export function metrologyDigest(): string {
	const folder = join(ROOT, "src", "metrology");
	const hash = createHash("sha256");
	for (const name of readdirSync(folder).sort())
		if (/\.(ts|c|h)$/.test(name)) {
			hash.update(`${name}\n`);
			hash.update(readFileSync(join(folder, name)));
		}
	return hash.digest("hex");
}

interface Point {
	readonly label: string;
	readonly stimulus: Stimulus;
	readonly kind: "active" | "reactive";
	readonly family: Family;
	/** The error of this point is subtracted: change of error under influence. */
	readonly reference?: Stimulus;
	readonly int16?: boolean;
	readonly nominal60?: boolean;
}

interface Test {
	readonly id: string;
	readonly table: string;
	readonly test: string;
	readonly mark: string;
	/** Limit in percent by class. */
	readonly limits: ReadonlyMap<string, number>;
	readonly points: readonly Point[];
}

const FREQUENCY = 50.37;

/** "0.05Ib", "Imax", "In", "Imax/sqrt2" in A. */
export function parseCurrent(text: string, family: Family): number {
	const match = /^([0-9.]*)(Ib|In|Imax|Itr|Imin|Ist)$/.exec(text.trim());
	if (!match) throw new Error(`current ${text}`);
	const factor = match[1] === "" ? 1 : Number(match[1]);
	const { baseAmperes, maximumAmperes } = family;
	switch (match[2]) {
		case "Imax":
			return factor * maximumAmperes;
		case "Itr": // Iref = 10 Itr; Ib and In stand for it (In = 20 Itr)
			return (factor * baseAmperes) / (family.name === "direct" ? 10 : 20);
		case "Imin":
			return (factor * baseAmperes * (family.name === "direct" ? 0.5 : 0.2)) / (family.name === "direct" ? 10 : 20);
		case "Ist":
			return factor * family.startingAmperes;
		default:
			return factor * baseAmperes;
	}
}

/** "1", "0.5ind", "0.8cap": current behind voltage, rad. */
export function parseFactor(text: string): number {
	const match = /^([0-9.]+)(ind|cap)?$/.exec(text.trim());
	if (!match) throw new Error(`power factor ${text}`);
	const angle = Math.acos(Number(match[1]));
	return match[2] === "cap" ? -angle : angle;
}

export interface Shape {
	amperes: number;
	phi: number;
	frequency?: number;
	volts?: number;
	/** Phases that carry current; absent: all. */
	only?: readonly number[];
	reversedSequence?: boolean;
	/** Volts of each phase. */
	unbalance?: readonly number[];
	shape?: PhaseStimulus["shape"];
	voltageHarmonics?: readonly Harmonic[];
	currentHarmonics?: readonly Harmonic[];
	ramp?: number;
}

export function threePhase(family: Family, shape: Shape, start: number): Stimulus {
	const phases = [0, 1, 2].map((p): PhaseStimulus => {
		const turn = shape.reversedSequence ? (3 - p) % 3 : p;
		return {
			voltage: shape.unbalance?.[p] ?? shape.volts ?? family.nominalVolts,
			voltageAngle: (turn * 2 * Math.PI) / 3,
			current: shape.only && !shape.only.includes(p) ? 0 : shape.amperes,
			phi: shape.phi,
			...(shape.shape ? { shape: shape.shape } : {}),
			...(shape.voltageHarmonics ? { voltageHarmonics: shape.voltageHarmonics } : {}),
			...(shape.currentHarmonics ? { currentHarmonics: shape.currentHarmonics } : {}),
		};
	});
	return { frequency: shape.frequency ?? FREQUENCY, start, phases, ...(shape.ramp ? { ramp: shape.ramp } : {}) };
}

function limitsOf(row: LimitRow, columns: readonly (readonly [string, string])[]): Map<string, number> {
	const limits = new Map<string, number>();
	for (const [column, name] of columns) {
		const value = Number(row[column]);
		if (Number.isFinite(value)) limits.set(name, value);
	}
	return limits;
}

const DIRECTIONS = [
	["import", 0],
	["export", Math.PI],
] as const;

/** Points of a range of currents: both ends and the geometric middle. */
function currents(from: number, to: number, quick: boolean): number[] {
	if (from === to) return [from];
	return quick ? [from] : [from, Math.sqrt(from * to), to];
}

/** All tests of the tables. */
function buildTests(quick: boolean, seed: number, skipped: string[]): Test[] {
	const random = randomNumbers(seed);
	const start = () => random() * 2 * Math.PI;
	const tests: Test[] = [];
	const point = (kind: Point["kind"], family: Family, shape: Shape, label: string, extra?: Partial<Point>): Point => ({
		label: `${label}, ${(shape.frequency ?? FREQUENCY).toFixed(2)} Hz`,
		stimulus: threePhase(family, shape, start()),
		kind,
		family,
		...extra,
	});
	const loadPoints = (
		family: Family,
		levels: readonly number[],
		factors: readonly string[],
		loads: readonly (readonly number[] | undefined)[],
		extra?: Partial<Point>,
	): Point[] => {
		const points: Point[] = [];
		for (const amperes of levels)
			for (const factor of factors)
				for (const only of loads)
					for (const [direction, turn] of DIRECTIONS)
						points.push(
							point(
								"active",
								family,
								{ amperes, phi: parseFactor(factor) + turn, ...(only ? { only } : {}) },
								`${amperes.toPrecision(3)} A, PF ${factor}, ${direction}${only ? `, L${only.map((p) => p + 1).join("+")}` : ""}`,
								extra,
							),
						);
		return points;
	};
	const loadsOf = (text: string): (readonly number[] | undefined)[] => {
		if (text === "one phase") return quick ? [[0]] : [[0], [1], [2]];
		if (text === "balanced minus one phase")
			return quick
				? [[0, 1]]
				: [
						[1, 2],
						[0, 2],
						[0, 1],
					];
		return [undefined];
	};

	for (const row of readLimits("iec-62053-21.csv")) {
		if (row["class1"] === "starts") continue; // see rules
		const points: Point[] = [];
		for (const [family, from, to] of [
			[DIRECT, row["from_direct"], row["to_direct"]],
			[TRANSFORMER, row["from_ct"], row["to_ct"]],
		] as const) {
			if (quick && family === TRANSFORMER) continue;
			const levels = currents(parseCurrent(from!, family), parseCurrent(to!, family), quick);
			points.push(...loadPoints(family, levels, [row["pf"]!], loadsOf(row["load"]!)));
		}
		tests.push({
			id: row["id"]!,
			table: "IEC 62053-21",
			test: `${row["from_direct"]}..${row["to_direct"]} (${row["from_ct"]}..${row["to_ct"]}), PF ${row["pf"]}, ${row["load"]}`,
			mark: row["mark"]!,
			limits: limitsOf(row, [
				["class1", "1"],
				["class2", "2"],
			]),
			points,
		});
	}
	tests.push(...influences(quick, start, skipped));
	for (const row of readLimits("iec-62053-22.csv")) {
		const id = row["id"]!;
		if (id === "22-08") continue; // see rules
		if (id === "22-i5") {
			skipped.push("22-i5 temperature: arithmetic has none");
			continue;
		}
		const family = TRANSFORMER;
		const columns = [
			["class0.2S", "0.2S"],
			["class0.5S", "0.5S"],
		] as const;
		if (id.includes("-i")) {
			const influence = influencePoints(row["load"]!, row["pf"]!, family, quick, start, 0.5 * family.maximumAmperes);
			// paired cells: the limit of each power factor
			const parts = row["pf"]!.split("|");
			parts.forEach((pf, part) => {
				const limits = new Map<string, number>();
				for (const [column, name] of columns) limits.set(name, Number(row[column]!.split("|")[part]));
				tests.push({
					id: parts.length === 1 ? id : `${id}.${part + 1}`,
					table: "IEC 62053-22",
					test: `influence: ${row["load"]}, PF ${pf}`,
					mark: row["mark"]!,
					limits,
					points: influence.filter((candidate) => candidate.label.includes(`PF ${pf},`)),
				});
			});
			continue;
		}
		const levels = currents(parseCurrent(row["from"]!, family), parseCurrent(row["to"]!, family), quick);
		tests.push({
			id,
			table: "IEC 62053-22",
			test: `${row["from"]}..${row["to"]}, PF ${row["pf"]}, ${row["load"]}`,
			mark: row["mark"]!,
			limits: limitsOf(row, columns),
			points: loadPoints(family, levels, row["pf"]!.split("|"), loadsOf(row["load"]!)),
		});
	}
	if (!quick) tests.push(...europeanTests(loadPoints, skipped));
	tests.push(...reactiveTests(quick, point));
	tests.push(...ownTests(quick, point));
	return tests;
}

function europeanTests(
	loadPoints: (
		family: Family,
		levels: readonly number[],
		factors: readonly string[],
		loads: readonly (readonly number[] | undefined)[],
	) => Point[],
	skipped: string[],
): Test[] {
	const RANGES: Readonly<Record<string, readonly [string, string, readonly string[]]>> = {
		"50470-01": ["Imin", "Itr", ["1"]],
		"50470-02": ["Itr", "Imax", ["1", "0.5ind", "0.8cap"]],
		"r46-01": ["Itr", "Imax", ["1"]],
		"r46-02": ["Itr", "Imax", ["0.5ind", "0.8cap"]],
		"r46-03": ["Imin", "Itr", ["1"]],
		"r46-04": ["Imin", "Itr", ["0.5ind", "0.8cap"]],
	};
	const tests: Test[] = [];
	for (const [file, table, classes] of [
		["en-50470-3-mid.csv", "EN 50470-3", ["A", "B", "C"]],
		["oiml-r46.csv", "OIML R46", ["A", "B", "C", "D"]],
	] as const)
		for (const row of readLimits(file)) {
			const range = RANGES[row["id"]!];
			if (!range) {
				skipped.push(`${row["id"]} ${row["test"]}: temperature or rating, not arithmetic`);
				continue;
			}
			const levels = currents(parseCurrent(range[0], DIRECT), parseCurrent(range[1], DIRECT), false);
			tests.push({
				id: row["id"]!,
				table,
				test: row["test"]!,
				mark: row["mark"]!,
				limits: limitsOf(
					row,
					classes.map((name) => [name, `${table === "OIML R46" ? "R46 " : ""}${name}`] as const),
				),
				points: loadPoints(DIRECT, levels, range[2], [undefined]),
			});
		}
	return tests;
}

function influencePoints(
	influence: string,
	at: string,
	family: Family,
	quick: boolean,
	start: () => number,
	amperes: number,
): Point[] {
	const points: Point[] = [];
	const factors =
		at.includes("ind") || at.startsWith("PF") || at.startsWith("1") ? at.replace("PF ", "").split("|") : ["1"];
	const fifthU: Harmonic[] = [{ order: 5, ratio: 0.1, angle: 0 }];
	const fifthI: Harmonic[] = [{ order: 5, ratio: 0.4, angle: 0 }];
	for (const factor of factors) {
		const phi = parseFactor(/^[0-9]/.test(factor) ? factor : "1");
		for (const [direction, turn] of DIRECTIONS) {
			if (quick && direction === "export") continue;
			const base: Shape = { amperes, phi: phi + turn };
			const reference = threePhase(family, base, start());
			const add = (what: string, shape: Shape, withReference = true): void => {
				points.push({
					label: `${what}, ${amperes.toPrecision(3)} A, PF ${/^[0-9]/.test(factor) ? factor : "1"}, ${direction}`,
					stimulus: threePhase(family, shape, start()),
					kind: "active",
					family,
					...(withReference ? { reference } : {}),
				});
			};
			const { nominalVolts } = family;
			if (influence.startsWith("voltage +-")) {
				add("U -10 %", { ...base, volts: 0.9 * nominalVolts });
				add("U +10 %", { ...base, volts: 1.1 * nominalVolts });
			} else if (influence.startsWith("frequency")) {
				add("49.01 Hz", { ...base, frequency: 49.01 });
				add("51.02 Hz", { ...base, frequency: 51.02 });
			} else if (influence.startsWith("reversed")) add("L1-L3-L2", { ...base, reversedSequence: true });
			else if (influence.startsWith("voltage unbalance")) {
				add("U1 0", { ...base, unbalance: [0, nominalVolts, nominalVolts] });
				add("U1 and U2 0", { ...base, unbalance: [0, 0, nominalVolts] });
			} else if (influence.startsWith("5th"))
				// the current's harmonic turns with the direction, so the true power is 1.04 of the fundamental
				add("5th harmonic", {
					...base,
					voltageHarmonics: fifthU,
					currentHarmonics: turn === 0 ? fifthI : [{ order: 5, ratio: 0.4, angle: Math.PI }],
				});
			else if (influence.startsWith("DC")) add("half wave", { ...base, shape: "halfWave" });
			else if (influence.startsWith("odd")) {
				if (turn === 0) add("90 degrees phase-fired", { ...base, shape: "phaseFired" });
			} else if (influence.startsWith("sub")) add("2 cycles on, 2 off", { ...base, shape: "burst" });
		}
	}
	return points;
}

function influences(quick: boolean, start: () => number, skipped: string[]): Test[] {
	const tests: Test[] = [];
	const currentOf: Readonly<Record<string, number>> = {
		"21-i5": 0.1 * DIRECT.baseAmperes,
		"21-i7": 0.5 * DIRECT.maximumAmperes,
		"21-i8": DIRECT.maximumAmperes / Math.SQRT2,
		"21-i9": 0.5 * DIRECT.baseAmperes,
		"21-i10": 0.5 * DIRECT.baseAmperes,
	};
	for (const row of readLimits("iec-62053-21-influence.csv")) {
		const id = row["id"]!;
		if (id === "21-i11") {
			skipped.push("21-i11 temperature: arithmetic has none");
			continue;
		}
		const amperes = currentOf[id] ?? DIRECT.baseAmperes;
		tests.push({
			id,
			table: "IEC 62053-21",
			test: `influence: ${row["influence"]}, ${row["at"]}`,
			mark: row["mark"]!,
			limits: limitsOf(row, [
				["class1", "1"],
				["class2", "2"],
			]),
			points: influencePoints(row["influence"]!, row["at"]!, DIRECT, quick, start, amperes),
		});
	}
	return tests;
}

type MakePoint = (kind: Point["kind"], family: Family, shape: Shape, label: string, extra?: Partial<Point>) => Point;

function reactiveTests(quick: boolean, point: MakePoint): Test[] {
	const tests: Test[] = [];
	for (const row of readLimits("iec-62053-23-24.csv")) {
		if (row["test"]!.includes("starting")) continue; // see rules
		const ct = row["id"]!.startsWith("24");
		const family = ct ? TRANSFORMER : DIRECT;
		const match = /: ([0-9.]+I[bn])(?: \(.*?\))?\.\.([0-9.]*I[a-z]+) sin ([0-9.]+)/.exec(row["test"]!);
		if (!match) throw new Error(row["test"]!);
		const levels = currents(parseCurrent(match[1]!, family), parseCurrent(match[2]!, family), quick);
		const angle = Math.asin(Number(match[3]));
		const points: Point[] = [];
		for (const amperes of levels)
			for (const [name, phi] of [
				["QI", angle],
				["QII", Math.PI - angle],
				["QIII", Math.PI + angle],
				["QIV", -angle],
			] as const) {
				if (angle > 1.57 && (name === "QII" || name === "QIII")) continue; // sin 1 is one point for each sign
				points.push(
					point("reactive", family, { amperes, phi }, `${amperes.toPrecision(3)} A, sin ${match[3]}, ${name}`),
				);
			}
		tests.push({
			id: row["id"]!,
			table: ct ? "IEC 62053-24" : "IEC 62053-23",
			test: row["test"]!.replace(/^62053-2[34]: /, ""),
			mark: row["mark"]!,
			limits: limitsOf(row, [
				["class2|0.5S", ct ? "reactive 0.5S" : "reactive 2"],
				["class3|1S", ct ? "reactive 1S" : "reactive 3"],
			]),
			points,
		});
	}
	return tests;
}

/** What the tables do not ask for: range of frequency, all quadrants, ramps, 60 Hz, coarse codes. Limits are the base ones. */
function ownTests(quick: boolean, point: MakePoint): Test[] {
	const active = new Map([
		["2", 2],
		["1", 1],
		["0.5S", 0.5],
		["0.2S", 0.2],
	]);
	const reactive = new Map([
		["reactive 0.5S", 0.5],
		["reactive 2", 2],
	]);
	const family = TRANSFORMER;
	const quadrants = [
		["QI", 1],
		["QII", Math.PI - 1],
		["QIII", Math.PI + 1],
		["QIV", -1],
	] as const;
	const frequencies = quick ? [45, 65] : [45, 47.5, 49.9, 50, 50.37, 52.5, 55, 57.3, 60, 62.5, 65];
	const range: Point[] = [];
	const rangeReactive: Point[] = [];
	for (const frequency of frequencies)
		for (const [name, phi] of quadrants) {
			const shape = { amperes: 1, phi, frequency };
			const extra = { nominal60: frequency > 55 };
			range.push(point("active", family, shape, `1 A, ${name}`, extra));
			rangeReactive.push(point("reactive", family, shape, `1 A, ${name}`, extra));
		}
	const both: Point[] = [];
	for (const [name, phi] of [
		["PF 0.8 ind", Math.acos(0.8)],
		["PF 0.8 cap", -Math.acos(0.8)],
		["PF -0.8 (QII)", Math.PI - Math.acos(0.8)],
		["PF -0.8 (QIII)", Math.PI + Math.acos(0.8)],
	] as const)
		both.push(point("active", family, { amperes: 1, phi }, name));
	const ramps = (quick ? [0.5] : [0.5, -0.5, 1, -1]).map((ramp) =>
		point("active", family, { amperes: 1, phi: 1, ramp, frequency: ramp > 0 ? 46 : 58 }, `ramp ${ramp} Hz/s, PF 0.54`),
	);
	const coarse = [0.05, 0.5, 1, 12].map((factor) =>
		point("active", DIRECT, { amperes: factor * 5, phi: 1 }, `${factor} Ib, int16`, { int16: true }),
	);
	const many: Harmonic[] = [3, 5, 7, 9, 11, 13, 15, 21, 25, 31, 39].map((order) => ({
		order,
		ratio: 0.3 / order,
		angle: order,
	}));
	const manyI = many.map(({ order }) => ({ order, ratio: 0.8 / order, angle: order / 2 }));
	const rich = [
		point(
			"active",
			DIRECT,
			{ amperes: 5, phi: 0.5, voltageHarmonics: many, currentHarmonics: manyI },
			"odd harmonics to 39",
		),
	];
	return [
		{ id: "D-f", table: "own", test: "45 to 65 Hz, all quadrants, active", mark: "D", limits: active, points: range },
		{
			id: "D-fq",
			table: "own",
			test: "45 to 65 Hz, all quadrants, reactive",
			mark: "D",
			limits: reactive,
			points: rangeReactive,
		},
		{
			id: "D-pf",
			table: "own",
			test: "both signs of PF 0.8, both directions",
			mark: "D",
			limits: active,
			points: both,
		},
		{ id: "D-ramp", table: "own", test: "frequency ramps", mark: "D", limits: active, points: ramps },
		{
			id: "D-int16",
			table: "own",
			test: "16-bit codes, 110 A full scale",
			mark: "D",
			limits: new Map([
				["2", 2],
				["1", 1],
			]),
			points: coarse,
		},
		{ id: "D-harm", table: "own", test: "eleven odd harmonics in U and I", mark: "D", limits: active, points: rich },
	];
}

interface Outcome {
	readonly error: number;
	readonly label: string;
	readonly truth: number;
	readonly reading: number;
}

/** Half the rate in the quick run; neither lines up with a mains frequency. */
const QUICK_RATE = 4001;

function runPoint(point: Point, seed: number, windows: number, fault?: Fault): Outcome {
	const samplesPerSecond = windows === WINDOWS ? LAYOUT.samplesPerSecond : QUICK_RATE;
	const layout: SampleLayout = { ...LAYOUT, samplesPerSecond, sampleBytes: point.int16 ? 2 : 3 };
	const options = {
		family: point.family,
		layout,
		seed,
		windows,
		fault,
		...(point.nominal60 ? { nominalFrequencyMillihertz: 60_000 } : {}),
	};
	const reading = measure(point.stimulus, options);
	let error = errorPercent(point.stimulus, reading, point.kind);
	if (point.reference) {
		// the reference is measured sound: the fault shows under the influence
		const before = measure(point.reference, { ...options, fault: undefined });
		error -= errorPercent(point.reference, before, point.kind);
	}
	const truth = truthOf(point.stimulus);
	return {
		error,
		label: point.label,
		truth: point.kind === "active" ? truth.power : truth.reactive,
		reading: point.kind === "active" ? reading.power : reading.reactive,
	};
}

/** Windows of one point: 50 are 500 cycles, a whole number of bursts. Low limits and low factors get more. */
const WINDOWS = 50;
const WINDOWS_QUICK = 12;

const FAULT_ORDER: readonly Fault[] = [
	"gain +0.3 %",
	"one-sample delay",
	"fundamental-only P",
	"swapped Q sign",
	"abs() on P",
	"dropped remainder",
	"float32 register",
	"one sample lost per window",
];

/** The first fault that takes some point of a test beyond the widest budget. */
function findFault(test: Test, seed: number, windows: number): string {
	const widest = Math.max(...test.limits.values()) / 10;
	const points = test.points.length <= 2 ? test.points : [test.points[0]!, test.points[test.points.length - 1]!];
	for (const fault of FAULT_ORDER) {
		const reactive = test.points[0]!.kind === "reactive";
		if (reactive && (fault === "fundamental-only P" || fault.includes("register") || fault.includes("remainder")))
			continue;
		for (const point of points) if (Math.abs(runPoint(point, seed, windows, fault).error) > widest) return fault;
	}
	return "none";
}

const breathe = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Runs the suite. @returns the report; `passed` is false when any row failed or no fault turned it red */
export async function runAccuracy(options: AccuracyOptions): Promise<AccuracyReport> {
	const { seed, quick = false, onProgress = () => {} } = options;
	const skipped: string[] = [];
	const rows: AccuracyRow[] = [];
	const tests = buildTests(quick, seed, skipped);
	const windows = quick ? WINDOWS_QUICK : WINDOWS;
	const faults: Record<string, number> = Object.fromEntries(FAULTS.map((fault) => [fault, 0]));
	const found = (fault: string): void => {
		if (fault in faults) faults[fault] = faults[fault]! + 1;
	};
	let done = 0;
	for (const test of tests) {
		onProgress(`accuracy ${++done}/${tests.length} ${test.id}`);
		let worst: Outcome = { error: 0, label: "", truth: 0, reading: 0 };
		for (let i = 0; i < test.points.length; i++) {
			const outcome = runPoint(test.points[i]!, seed + i, windows);
			if (!(Math.abs(outcome.error) <= Math.abs(worst.error)) || worst.label === "") worst = outcome;
			if (i % 4 === 3) await breathe();
		}
		const fault = findFault(test, seed, windows);
		found(fault);
		const unit = test.points[0]?.kind === "reactive" ? "var" : "W";
		for (const [name, limit] of test.limits) {
			const budget = limit / 10;
			rows.push({
				id: test.id,
				table: test.table,
				accuracyClass: `class ${name}`,
				test: test.test,
				mark: test.mark,
				stimulus: worst.label,
				truth: `${worst.truth.toPrecision(8)} ${unit}`,
				reading: `${worst.reading.toPrecision(8)} ${unit}`,
				error: worst.error,
				limit,
				budget,
				unit: "%",
				margin: 1 - Math.abs(worst.error) / budget,
				points: test.points.length,
				passed: Math.abs(worst.error) <= budget && fault !== "none",
				fault,
			});
		}
		await breathe();
	}
	for (const row of await measureRules({ quick, seed, onProgress })) {
		rows.push(row);
		found(row.fault);
	}
	onProgress("accuracy: long run");
	for (const row of longRun({ seed, seconds: 1_000_000, measuredSeconds: quick ? 20 : 200, quick })) {
		rows.push(row);
		found(row.fault);
	}
	const recorded = measureRecorded({ quick, onProgress });
	rows.push(...recorded.rows);
	skipped.push(...recorded.skipped);
	const curves = quick ? [] : errorCurves(seed, onProgress);
	return {
		title: "Wattlock accuracy report",
		claim: CLAIM,
		seed,
		quick,
		metrologyDigest: metrologyDigest(),
		passed: rows.every((row) => row.passed),
		summaries: summarise(rows),
		rows,
		skipped,
		curves,
		faults,
	};
}

function errorCurves(seed: number, onProgress: (text: string) => void): AccuracyReport["curves"] {
	onProgress("accuracy: error curves");
	const curves: { name: string; points: [number, number][] }[] = [];
	for (const [name, phi] of [
		["PF 1", 0],
		["PF 0.5 ind", Math.acos(0.5)],
		["PF 0.8 cap", -Math.acos(0.8)],
	] as const) {
		const points: [number, number][] = [];
		for (let amperes = 0.25; amperes <= 60; amperes *= 2.2) {
			const stimulus = threePhase(DIRECT, { amperes, phi }, 1);
			const reading = measure(stimulus, { family: DIRECT, seed, windows: WINDOWS });
			points.push([amperes, errorPercent(stimulus, reading, "active")]);
		}
		curves.push({ name, points });
	}
	return curves;
}

function summarise(rows: readonly AccuracyRow[]): AccuracySummary[] {
	const byClass = new Map<string, AccuracyRow[]>();
	for (const row of rows) {
		const list = byClass.get(row.accuracyClass) ?? [];
		list.push(row);
		byClass.set(row.accuracyClass, list);
	}
	return [...byClass].map(([accuracyClass, list]) => {
		const share = (row: AccuracyRow) => (row.unit === "%" && row.limit > 0 ? Math.abs(row.error) / row.limit : 0);
		const worst = list.reduce((a, b) => (share(b) > share(a) ? b : a));
		return {
			accuracyClass,
			rows: list.length,
			passed: list.filter((row) => row.passed).length,
			worstShareOfLimit: share(worst),
			worstRow: worst.id,
		};
	});
}
