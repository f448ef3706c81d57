import { Metrology, type MetrologyConfiguration } from "../../src/metrology/metrology.js";
import { Netting, Register } from "../../src/metrology/registers.js";
import { createSampleKernel } from "../../src/metrology/sample-kernel.js";
import { rowBytes, type SampleLayout } from "../../src/platform/sample-kernel.js";
import { type Fault, FaultyKernel } from "./faults.js";
import { VirtualFrontEnd } from "./front-end.js";
import { type Stimulus, truthOf } from "./generator.js";

/** The meter under test: direct (Ib) or over transformers (In). */
export interface Family {
	readonly name: "direct" | "ct";
	readonly nominalVolts: number;
	/** Ib or In, A. */
	readonly baseAmperes: number;
	readonly maximumAmperes: number;
	readonly startingAmperes: number;
	readonly pulsesPerKilowattHour: number;
	readonly fullScaleAmperes: number;
}

export const DIRECT: Family = {
	name: "direct",
	nominalVolts: 230,
	baseAmperes: 5,
	maximumAmperes: 60,
	startingAmperes: 0.02,
	pulsesPerKilowattHour: 1000,
	fullScaleAmperes: 110,
};

export const TRANSFORMER: Family = {
	name: "ct",
	nominalVolts: 230,
	baseAmperes: 5,
	maximumAmperes: 6,
	startingAmperes: 0.005,
	pulsesPerKilowattHour: 10_000,
	fullScaleAmperes: 12,
};

export const FULL_SCALE_VOLTS = 450;

export interface MeasureOptions {
	readonly family: Family;
	readonly layout?: SampleLayout;
	readonly seed: number;
	/** Windows measured, after the first ones. */
	readonly windows: number;
	readonly fault?: Fault | undefined;
	readonly ideal?: boolean;
	readonly noiseCodes?: number;
	readonly jitterSeconds?: number;
	readonly nominalFrequencyMillihertz?: number;
}

export interface Reading {
	/** W and var as the registers say: import less export. */
	readonly power: number;
	readonly reactive: number;
	/** W·s in A+ and A-, var·s in QI to QIV. */
	readonly imported: number;
	readonly exported: number;
	readonly quadrants: readonly [number, number, number, number];
	readonly seconds: number;
	readonly clippedRows: number;
	readonly metrology: Metrology;
}

/** 8 001 rows a second line up with no mains frequency. */
export const LAYOUT: SampleLayout = { phaseCount: 3, neutralCurrent: true, sampleBytes: 3, samplesPerSecond: 8001 };

const BLOCK_ROWS = 256;
const SETTLE_WINDOWS = 4;
/** Start of the faulty float32 register, kWh: where its steps show. */
const FLOAT32_START_KILOWATT_HOURS = 10_000;

export function configurationFor(
	family: Family,
	frontEnd: VirtualFrontEnd,
	nominalFrequencyMillihertz = 50_000,
): MetrologyConfiguration {
	return {
		layout: frontEnd.layout,
		nominalVoltageMillivolts: family.nominalVolts * 1000,
		nominalFrequencyMillihertz,
		baseCurrentMilliamperes: family.baseAmperes * 1000,
		maximumCurrentMilliamperes: family.maximumAmperes * 1000,
		startingCurrentMilliamperes: family.startingAmperes * 1000,
		voltageMillivoltsPerCode: frontEnd.millivoltsPerCode,
		currentMilliamperesPerCode: frontEnd.milliamperesPerCode,
		calibration: frontEnd.calibration(),
		removeMean: false,
		nettingMode: "vectorSum",
		pulsesPerKilowattHour: family.pulsesPerKilowattHour,
	};
}

/** mW·ms of a register with its remainder. */
function exact(metrology: Metrology, register: Register): number {
	const { registers } = metrology;
	return registers.value(Netting.vectorSum, register) * 3_600_000 + registers.remainder(Netting.vectorSum, register);
}

/** Runs the whole path (signal, codes, bytes, kernel, windows, registers) and reads what the registers gained. */
export function measure(stimulus: Stimulus, options: MeasureOptions): Reading {
	const { family, fault } = options;
	const layout = options.layout ?? LAYOUT;
	const frontEnd = new VirtualFrontEnd({
		layout,
		fullScaleVolts: FULL_SCALE_VOLTS,
		fullScaleAmperes: family.fullScaleAmperes,
		seed: options.seed,
		...(options.ideal === undefined ? {} : { ideal: options.ideal }),
		...(options.noiseCodes === undefined ? {} : { noiseCodes: options.noiseCodes }),
		...(options.jitterSeconds === undefined ? {} : { jitterSeconds: options.jitterSeconds }),
	});
	const kernel = createSampleKernel(layout);
	const configuration = configurationFor(family, frontEnd, options.nominalFrequencyMillihertz);
	const metrology = new Metrology(fault ? new FaultyKernel(kernel, fault) : kernel, configuration);
	// after calibration: what nobody knows of
	const flaws = frontEnd.flaws.map((flaw, c) => {
		const current = c % 2 === 1;
		if (fault === "gain +0.3 %" && !current) return { ...flaw, gain: flaw.gain * 1.003 };
		if (fault === "one-sample delay" && current)
			return { ...flaw, skewSeconds: flaw.skewSeconds - 1 / layout.samplesPerSecond };
		return flaw;
	});
	Object.assign(frontEnd, { flaws });
	const registerFault = fault === "dropped remainder" || fault === "float32 register" ? fault : undefined;
	let faultyImported = registerFault === "float32 register" ? FLOAT32_START_KILOWATT_HOURS : 0;
	let faultyExported = faultyImported;
	const faultyStart = faultyImported;

	const block = new Uint8Array(BLOCK_ROWS * rowBytes(layout));
	let windows = 0;
	let startRows = 0;
	const start = new Float64Array(6);
	let clippedRows = 0;
	let lostRows = 0;
	const snapshot = (into: Float64Array): void => {
		for (let r = 0; r < 6; r++) into[r] = exact(metrology, r as Register);
	};
	metrology.listener = {
		windowClosed: () => {
			windows++;
			if (fault === "one sample lost per window") lostRows++;
			if (windows === SETTLE_WINDOWS) {
				snapshot(start);
				startRows = metrology.rows;
			}
			if (registerFault === undefined || windows <= SETTLE_WINDOWS) return;
			const { energies } = metrology;
			const total = energies[0]! + (layout.phaseCount > 1 ? energies[1]! + energies[2]! : 0);
			if (registerFault === "dropped remainder") {
				if (total >= 0) faultyImported += Math.floor(total / 3_600_000);
				else faultyExported += Math.floor(-total / 3_600_000);
			} else if (total >= 0) faultyImported = Math.fround(faultyImported + total / 3.6e12);
			else faultyExported = Math.fround(faultyExported - total / 3.6e12);
		},
		secondClosed: () => {},
	};
	const end = new Float64Array(6);
	while (windows < SETTLE_WINDOWS + options.windows) {
		// the front end loses a row and says nothing; time goes on
		if (lostRows > 0) {
			frontEnd.row += lostRows;
			lostRows = 0;
		}
		clippedRows += frontEnd.read(stimulus, block, BLOCK_ROWS);
		metrology.feed(block, BLOCK_ROWS);
	}
	snapshot(end);
	let lost = 0;
	if (fault === "one sample lost per window") lost = windows - SETTLE_WINDOWS;
	const seconds = (metrology.rows - startRows + lost) / layout.samplesPerSecond;
	const gained = (r: number): number => (end[r]! - start[r]!) / 1e6;
	let imported = gained(Register.activeImport);
	let exported = gained(Register.activeExport);
	if (registerFault !== undefined) {
		const unit = registerFault === "dropped remainder" ? 3.6 : 3.6e6;
		imported = (faultyImported - faultyStart) * unit;
		exported = (faultyExported - faultyStart) * unit;
	}
	const quadrants: [number, number, number, number] = [gained(2), gained(3), gained(4), gained(5)];
	return {
		power: (imported - exported) / seconds,
		reactive: (quadrants[0] + quadrants[1] - quadrants[2] - quadrants[3]) / seconds,
		imported,
		exported,
		quadrants,
		seconds,
		clippedRows,
		metrology,
	};
}

/** Percent by which the reading is off; energy in a wrong direction or quadrant counts as well. */
export function errorPercent(stimulus: Stimulus, reading: Reading, kind: "active" | "reactive"): number {
	const truth = truthOf(stimulus);
	if (kind === "active") {
		const right = truth.power >= 0 ? reading.imported : reading.exported;
		const wrong = truth.power >= 0 ? reading.exported : reading.imported;
		const expected = Math.abs(truth.power) * reading.seconds;
		return (100 * (right - wrong - expected)) / expected;
	}
	const quadrant =
		truth.power >= -1e-9 * Math.abs(truth.reactive) ? (truth.reactive >= 0 ? 0 : 3) : truth.reactive >= 0 ? 1 : 2;
	const expected = Math.abs(truth.reactive) * reading.seconds;
	// at P = 0 noise decides between the two quadrants of one sign of Q
	const balanced = Math.abs(truth.power) < 1e-9 * Math.abs(truth.reactive);
	const sibling = balanced ? [1, 0, 3, 2][quadrant]! : quadrant;
	let right = reading.quadrants[quadrant as 0 | 1 | 2 | 3];
	if (sibling !== quadrant) right += reading.quadrants[sibling as 0 | 1 | 2 | 3];
	const all = reading.quadrants.reduce((sum, value) => sum + value, 0);
	return (100 * (right - (all - right) - expected)) / expected;
}
