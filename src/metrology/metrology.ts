import { InvariantError } from "../bytes/status.js";
import type { SampleKernel, SampleLayout } from "../platform/sample-kernel.js";
import { EnergyRegisters, Netting } from "./registers.js";
import {
	Cell,
	CHANNEL_MAX,
	DELAY_ROWS_MAX,
	HARMONIC_MAX,
	HARMONIC_SQUARE,
	harmonicUnit,
	KERNEL_PARAMETER_BYTES,
	KERNEL_SUMS_BYTES,
	PHASE_MAX,
	WindowFlag,
} from "./sample-kernel.js";

/** Instead of a factor or an angle when there is too little apparent power to tell. */
export const NOT_AVAILABLE = 0x7fff;

/** An exact ratio of integers. */
export interface Ratio {
	readonly numerator: number;
	readonly denominator: number;
}

/** What calibration found for one channel. Order of use: offset, gain, delay. */
export interface ChannelCalibration {
	/** Subtracted from the codes; fractions of a code are allowed. */
	readonly offsetCodes: number;
	/** Gain against nominal, 2^24 = 1. */
	readonly gainQ24: number;
	/** By how much this channel is delayed to line it up with the others; signed. */
	readonly delayNanoseconds: number;
}

/** Power below which a phase does not count; between stop and start it stays as it was (hysteresis). */
export interface CreepThresholds {
	readonly startMilliwatts: number;
	readonly stopMilliwatts: number;
	readonly startMillivars: number;
	readonly stopMillivars: number;
	/** Apparent power below which factors and angles are not available. */
	readonly factorMillivoltAmperes: number;
}

export interface MetrologyConfiguration {
	readonly layout: SampleLayout;
	readonly nominalVoltageMillivolts: number;
	/** 50 000 or 60 000: windows of 10 or 12 cycles. */
	readonly nominalFrequencyMillihertz: number;
	/** Ib of a direct meter, In of a transformer meter. */
	readonly baseCurrentMilliamperes: number;
	readonly maximumCurrentMilliamperes: number;
	/** mV and mA of one code at nominal gain. */
	readonly voltageMillivoltsPerCode: Ratio;
	readonly currentMilliamperesPerCode: Ratio;
	/** One for each channel in row order; absent: offset 0, gain 1, delay 0. */
	readonly calibration?: readonly ChannelCalibration[];
	/** AC-coupled source: subtract a slow mean. A DC-capable source must not, or half-wave loads are measured wrong. */
	readonly removeMean: boolean;
	readonly meanTimeConstantSeconds?: number;
	/** Registers that are the legal ones; "both" keeps both, as always, and marks vectorSum. */
	readonly nettingMode: "perPhase" | "vectorSum" | "both";
	/** Absent: derived from `startingCurrentMilliamperes`, 0.4 of Ist·Un. */
	readonly creep?: CreepThresholds;
	/** Ist; absent: 0.004 Ib. */
	readonly startingCurrentMilliamperes?: number;
	readonly pulsesPerKilowattHour: number;
	/** RMS from which there is a voltage; absent: 10 % of nominal. */
	readonly presenceMillivolts?: number;
	/** 0 all channels in turn, 1 to 7 one channel, 255 none; absent: 0. */
	readonly harmonicChannel?: number;
}

/** Bits of `Measurement.flags`. */
export const MeasurementFlag = Object.freeze({
	/** Frequency is that of the last good window. */
	frequencyInvalid: 1,
	/** No whole cycles: free-running or short. Active energy is right all the same; RMS and fundamental are less good. */
	unsynchronised: 2,
	/** A code reached the end of its range. */
	clipped: 4,
	/** Rows were lost within or before. */
	samplesLost: 8,
	/** No phase has voltage. */
	noVoltage: 16,
} as const);

/** Values of one phase. Load view: P > 0 is import, Q > 0 when the current lags. */
export interface PhaseMeasurement {
	voltageMillivolts: number;
	currentMilliamperes: number;
	/** Mean of u·i: fundamental, harmonics and DC. */
	powerMilliwatts: number;
	fundamentalPowerMilliwatts: number;
	/** Fundamental only. */
	reactivePowerMillivars: number;
	apparentPowerMillivoltAmperes: number;
	/** sqrt(S² - P²); another quantity than reactive power. */
	nonActivePowerMillivoltAmperes: number;
	/** P / S, sign of P; `NOT_AVAILABLE` below the threshold. */
	powerFactorPermille: number;
	/** cos φ1 of the fundamental; `NOT_AVAILABLE` below the threshold. */
	cosPhiPermille: number;
	/** Current against voltage, + lagging, -1800 to 1800; `NOT_AVAILABLE` below the threshold. */
	phaseAngleTenthsDegree: number;
	/** Voltage behind that of L1 (of the reference when L1 is missing), 0 to 3599; `NOT_AVAILABLE` without voltage. */
	voltageAngleTenthsDegree: number;
	/** 1 to 4. */
	quadrant: number;
	thdVoltagePermille: number;
	thdCurrentPermille: number;
	/** Lowest and highest one-cycle RMS, stepped by half cycles; 0 and 0 if no cycle ended within. */
	voltageMinimumMillivolts: number;
	voltageMaximumMillivolts: number;
	currentMaximumMilliamperes: number;
	/** Mean of the current beside the offset; only told when the mean is not removed. */
	currentMeanMilliamperes: number;
}

/** A basic window, or the windows that end in one second. */
export interface Measurement {
	readonly phases: readonly [PhaseMeasurement, PhaseMeasurement, PhaseMeasurement];
	powerMilliwatts: number;
	fundamentalPowerMilliwatts: number;
	reactivePowerMillivars: number;
	/** Arithmetic sum over the phases. */
	apparentPowerMillivoltAmperes: number;
	/** sqrt(P² + Q²) of the totals. */
	vectorApparentPowerMillivoltAmperes: number;
	nonActivePowerMillivoltAmperes: number;
	powerFactorPermille: number;
	quadrant: number;
	frequencyMillihertz: number;
	neutralCurrentMilliamperes: number;
	/** `MeasurementFlag` bits. */
	flags: number;
	rows: number;
	durationMicroseconds: number;
}

export interface MetrologyEvents {
	/** `metrology.window` is new; registers hold its energy. */
	windowClosed(metrology: Metrology): void;
	/** `metrology.second` is new. */
	secondClosed(metrology: Metrology): void;
}

function createPhase(): PhaseMeasurement {
	return {
		voltageMillivolts: 0,
		currentMilliamperes: 0,
		powerMilliwatts: 0,
		fundamentalPowerMilliwatts: 0,
		reactivePowerMillivars: 0,
		apparentPowerMillivoltAmperes: 0,
		nonActivePowerMillivoltAmperes: 0,
		powerFactorPermille: NOT_AVAILABLE,
		cosPhiPermille: NOT_AVAILABLE,
		phaseAngleTenthsDegree: NOT_AVAILABLE,
		voltageAngleTenthsDegree: NOT_AVAILABLE,
		quadrant: 1,
		thdVoltagePermille: 0,
		thdCurrentPermille: 0,
		voltageMinimumMillivolts: 0,
		voltageMaximumMillivolts: 0,
		currentMaximumMilliamperes: 0,
		currentMeanMilliamperes: 0,
	};
}

export function createMeasurement(): Measurement {
	return {
		phases: [createPhase(), createPhase(), createPhase()],
		powerMilliwatts: 0,
		fundamentalPowerMilliwatts: 0,
		reactivePowerMillivars: 0,
		apparentPowerMillivoltAmperes: 0,
		vectorApparentPowerMillivoltAmperes: 0,
		nonActivePowerMillivoltAmperes: 0,
		powerFactorPermille: NOT_AVAILABLE,
		quadrant: 1,
		frequencyMillihertz: 0,
		neutralCurrentMilliamperes: 0,
		flags: 0,
		rows: 0,
		durationMicroseconds: 0,
	};
}

/** Quadrant of an active and a reactive value, 1 to 4 (I = +P +Q, II = -P +Q, III = -P -Q, IV = +P -Q). */
export function quadrantOf(active: number, reactive: number): number {
	if (active >= 0) return reactive >= 0 ? 1 : 4;
	return reactive >= 0 ? 2 : 3;
}

/** Default creep thresholds: 0.4 of the power at the starting current, released at 0.3. */
export function creepFor(startingCurrentMilliamperes: number, nominalVoltageMillivolts: number): CreepThresholds {
	const power = (startingCurrentMilliamperes * nominalVoltageMillivolts) / 1000;
	return {
		startMilliwatts: 0.4 * power,
		stopMilliwatts: 0.3 * power,
		startMillivars: 0.4 * power,
		stopMillivars: 0.3 * power,
		factorMillivoltAmperes: 0.4 * power,
	};
}

/** Accumulator cells of a window or second: common ones, then 8 for each phase. */
const ROWS = 0;
const SPAN = 1;
const CYCLES = 2;
const NEUTRAL = 3;
const PER_PHASE = 4;
const PHASE_CELLS = 10;
const VOLTAGE = 0;
const CURRENT = 1;
const ACTIVE = 2;
const FUNDAMENTAL = 3;
const REACTIVE = 4;
const VOLTAGE_MINIMUM = 5;
const VOLTAGE_MAXIMUM = 6;
const CURRENT_MAXIMUM = 7;
const MEAN = 8;
const ANGLE = 9;
const ACCUMULATOR_CELLS = PER_PHASE + 3 * PHASE_CELLS;

// Places in `#values`, one array for all: on XS an array of its own costs eight slots.
/** mV or mA of a code, per channel. */
const SCALE = 0;
/** Codes subtracted: offset, or the slow mean. */
const SHIFT = SCALE + CHANNEL_MAX;
const OFFSET = SHIFT + CHANNEL_MAX;
/** Fundamental of each channel in codes (peak): real and imaginary part against the oscillator. */
const REAL = OFFSET + CHANNEL_MAX;
const IMAGINARY = REAL + CHANNEL_MAX;
const THD = IMAGINARY + CHANNEL_MAX;
/** Fractions of a mW·ms carried to the next window. */
const CARRY = THD + CHANNEL_MAX;
const DELAY_Q16 = CARRY + 3 * PHASE_MAX;
/** 1 while a phase is above its creep threshold. */
const ACTIVE_COUNTS = DELAY_Q16 + PHASE_MAX;
const REACTIVE_COUNTS = ACTIVE_COUNTS + PHASE_MAX;
/** Accumulators. */
const WINDOW = REACTIVE_COUNTS + PHASE_MAX;
const SECOND = WINDOW + ACCUMULATOR_CELLS;
const VALUE_CELLS = SECOND + ACCUMULATOR_CELLS;

const TWO_32 = 0x1_0000_0000;

/**
 * From blocks of samples to measured values and registers. Time comes from the number of rows; energy is the sum over
 * all rows, whatever the windows do. Everything is allocated here; `feed` creates nothing.
 * About 3.4 KB of chunk bytes and 160 slots with its registers; the C kernel is outside both.
 */
export class Metrology {
	// The fields of each window come first: XS looks for a field from the object's start.
	readonly #values = new Float64Array(VALUE_CELLS);
	readonly #sums = new Uint8Array(KERNEL_SUMS_BYTES);
	readonly #cells = new Float64Array(this.#sums.buffer);
	readonly #kernel: SampleKernel;
	readonly #phaseCount: number;
	readonly #channelCount: number;
	readonly #rate: number;

	readonly configuration: MetrologyConfiguration;
	readonly registers: EnergyRegisters;
	/** The last whole second. */
	readonly second: Measurement = createMeasurement();
	/** Energy of the last window as it went to the registers: mW·ms, mvar·ms, mVA·ms of each phase. */
	readonly energies: Float64Array;
	/** Amplitudes of the orders 0 to 40 of `harmonicChannel` in mV or mA (RMS); order 0 is unused, 1 the fundamental. */
	readonly harmonics = new Float64Array(HARMONIC_MAX + 1);
	/** Channel that `harmonics` describes, -1: none yet. */
	harmonicChannel = -1;
	/** Told after each window and second. */
	listener: MetrologyEvents | undefined;
	/** Set while a DC tamper is suspected: the slow mean stands still. */
	meanFrozen = false;
	/** Rows measured, and rows reported lost, since start. */
	rows = 0;
	rowsLost = 0;
	windows = 0;

	readonly #creep: CreepThresholds;
	#window: Measurement | undefined;
	#isWindowStale = false;
	readonly #presenceMillivolts: number;
	readonly #codeMaximum: number;
	#meanSeconds = 0;
	#frequency: number;
	#flags = 0;
	#secondFlags = 0;
	#secondIndex = 0;
	#lostPending = false;

	/** @throws InvariantError when the configuration is outside what the parts accept: our own mistake, at start */
	constructor(kernel: SampleKernel, configuration: MetrologyConfiguration) {
		const { layout, nominalVoltageMillivolts, nominalFrequencyMillihertz } = configuration;
		if (!(nominalVoltageMillivolts > 0)) throw new InvariantError("nominal voltage");
		this.configuration = configuration;
		this.#kernel = kernel;
		this.#phaseCount = layout.phaseCount;
		this.#channelCount = layout.phaseCount * 2 + (layout.neutralCurrent ? 1 : 0);
		this.#rate = layout.samplesPerSecond;
		this.#codeMaximum = layout.sampleBytes === 2 ? 0x7fff : 0x7f_ffff;
		this.#frequency = nominalFrequencyMillihertz / 1000;
		this.energies = new Float64Array(3 * layout.phaseCount);
		this.#presenceMillivolts = configuration.presenceMillivolts ?? nominalVoltageMillivolts / 10;
		const starting = configuration.startingCurrentMilliamperes ?? configuration.baseCurrentMilliamperes * 0.004;
		this.#creep = configuration.creep ?? creepFor(starting, nominalVoltageMillivolts);
		const legal = configuration.nettingMode === "perPhase" ? Netting.perPhase : Netting.vectorSum;
		this.registers = new EnergyRegisters(legal, configuration.pulsesPerKilowattHour);
		this.calibrate(configuration.calibration);
	}

	/**
	 * Takes calibration values; the kernel's part holds from the next window on, so no sample is lost.
	 * @param calibration one for each channel, or undefined for nominal values
	 * @throws InvariantError when a value is outside its range
	 */
	calibrate(calibration: readonly ChannelCalibration[] | undefined): void {
		const values = this.#values;
		const { layout, voltageMillivoltsPerCode, currentMilliamperesPerCode } = this.configuration;
		for (let c = 0; c < this.#channelCount; c++) {
			const voltage = c % 2 === 0 && c < 2 * this.#phaseCount;
			const ratio = voltage ? voltageMillivoltsPerCode : currentMilliamperesPerCode;
			const { offsetCodes = 0, gainQ24 = 0x100_0000 } = calibration?.[c] ?? {};
			if (!(gainQ24 > 0 && gainQ24 <= 0x1000_0000)) throw new InvariantError("gainQ24");
			if (!(ratio.numerator > 0 && ratio.denominator > 0)) throw new InvariantError("scale");
			values[SCALE + c] = (ratio.numerator * gainQ24) / (ratio.denominator * 0x100_0000);
			values[OFFSET + c] = offsetCodes;
			values[SHIFT + c] = offsetCodes;
		}
		this.#meanSeconds = 0;
		const bytes = new Uint8Array(KERNEL_PARAMETER_BYTES);
		const view = new DataView(bytes.buffer);
		const nominal = this.configuration.nominalFrequencyMillihertz;
		view.setUint32(0, 1, true);
		view.setUint32(4, nominal >= 55_000 ? 12 : 10, true);
		view.setUint32(8, nominal, true);
		view.setUint32(12, this.configuration.harmonicChannel ?? 0, true);
		for (let p = 0; p < 3; p++) {
			const presence = p < this.#phaseCount ? Math.round(this.#presenceMillivolts / values[SCALE + 2 * p]!) : 1;
			view.setInt32(16 + 4 * p, Math.max(1, Math.min(this.#codeMaximum, presence)), true);
			let delay = 0;
			if (p < this.#phaseCount) {
				const voltage = calibration?.[2 * p]?.delayNanoseconds ?? 0;
				const current = calibration?.[2 * p + 1]?.delayNanoseconds ?? 0;
				delay = Math.round((current - voltage) * layout.samplesPerSecond * 1e-9 * 0x1_0000);
				if (Math.abs(delay) > DELAY_ROWS_MAX * 0x1_0000) throw new InvariantError("delayNanoseconds");
			}
			values[DELAY_Q16 + p] = delay;
			view.setInt32(28 + 4 * p, delay, true);
		}
		this.#kernel.configure(bytes);
	}

	/** The last basic window; valid until the next closes. Worked out when it is asked for: most windows are not. */
	get window(): Measurement {
		this.#window ??= createMeasurement();
		if (this.#isWindowStale) {
			this.#isWindowStale = false;
			this.#present(WINDOW, this.#window, this.#flags);
		}
		return this.#window;
	}

	/** Rows of the last window, without working out the rest. */
	get windowRows(): number {
		return this.#values[WINDOW + ROWS]!;
	}

	/** Lowest one-cycle RMS of a phase in the last window, mV; 0 if no cycle ended within. */
	windowVoltageMinimum(phase: number): number {
		return this.#values[WINDOW + PER_PHASE + phase * PHASE_CELLS + VOLTAGE_MINIMUM]!;
	}

	/** Highest one-cycle RMS of a phase in the last window, mV; 0 if no cycle ended within. */
	windowVoltageMaximum(phase: number): number {
		return this.#values[WINDOW + PER_PHASE + phase * PHASE_CELLS + VOLTAGE_MAXIMUM]!;
	}

	/** mV (voltages) or mA (currents) of one code of a channel. */
	unitsPerCode(channel: number): number {
		return this.#values[SCALE + channel]!;
	}

	/** Codes that are subtracted from a channel now: its offset, or the slow mean. */
	shiftCodes(channel: number): number {
		return this.#values[SHIFT + channel]!;
	}

	/** RMS fundamental of a channel in the last window (mV or mA), real part: against the kernel's oscillator. */
	phasorReal(channel: number): number {
		const values = this.#values;
		return values[REAL + channel]! * values[SCALE + channel]! * Math.SQRT1_2;
	}

	/** Imaginary part of the same. */
	phasorImaginary(channel: number): number {
		const values = this.#values;
		return values[IMAGINARY + channel]! * values[SCALE + channel]! * Math.SQRT1_2;
	}

	/**
	 * Takes a block of rows.
	 * @returns windows closed; the listener was told of each
	 */
	feed(block: Uint8Array, rowCount: number): number {
		const kernel = this.#kernel;
		let closed = 0;
		let row = 0;
		while (row < rowCount) {
			const taken = kernel.process(block, row, rowCount, this.#sums);
			if (taken === 0) throw new InvariantError("kernel took no row");
			row += taken;
			if (!kernel.windowClosed()) continue;
			closed++;
			this.#closeWindow();
		}
		return closed;
	}

	/**
	 * Rows that the front end lost before the next block. Nothing is invented for them: their time passes, their energy is
	 * not counted, and window and second are flagged.
	 */
	samplesLost(rowCount: number): void {
		this.rowsLost += rowCount;
		this.#lostPending = true;
	}

	#closeWindow(): void {
		const cells = this.#cells;
		const values = this.#values;
		const rows = cells[Cell.rows]!;
		const synchronous = (cells[Cell.flags]! & WindowFlag.synchronous) !== 0;
		values.fill(0, WINDOW, SECOND);
		values[WINDOW + ROWS] = rows;
		let flags = this.#lostPending ? MeasurementFlag.samplesLost : 0;
		if (synchronous) {
			const span = rows + (cells[Cell.startLagQ16]! - cells[Cell.endLagQ16]!) / 0x1_0000;
			values[WINDOW + SPAN] = span;
			values[WINDOW + CYCLES] = cells[Cell.cycles]!;
			if (!this.#lostPending) this.#frequency = (cells[Cell.cycles]! * this.#rate) / span;
		} else {
			flags |= MeasurementFlag.unsynchronised | MeasurementFlag.frequencyInvalid;
		}
		this.#lostPending = false;
		this.#flags = flags;
		this.#trackMeans(rows);
		this.#findFundamentals(rows, synchronous);
		this.#findHarmonics(rows);
		let present = false;
		for (let p = 0; p < this.#phaseCount; p++) if (this.#closePhase(p, rows)) present = true;
		if (!present) this.#flags |= MeasurementFlag.noVoltage;
		if (this.#channelCount > 2 * this.#phaseCount) {
			const c = this.#channelCount - 1;
			values[WINDOW + NEUTRAL] = this.#meanSquare(c, rows) * rows;
			this.#watchRange(c);
		}
		this.registers.add(this.energies, this.#phaseCount);
		this.#isWindowStale = true;
		this.windows++;
		this.rows += rows;
		const secondIndex = Math.floor((this.rows + this.rowsLost) / this.#rate);
		this.#gatherSecond();
		this.listener?.windowClosed(this);
		if (secondIndex === this.#secondIndex) return;
		this.#secondIndex = secondIndex;
		this.#present(SECOND, this.second, this.#secondFlags);
		this.#values.fill(0, SECOND, VALUE_CELLS);
		this.#secondFlags = 0;
		this.listener?.secondClosed(this);
	}

	/** Slow mean of each channel: a plain average until it is one time constant old, then an exponential one. */
	#trackMeans(rows: number): void {
		const values = this.#values;
		if (!this.configuration.removeMean || this.meanFrozen) return;
		// a short window is no whole number of cycles: its mean tells nothing
		if ((this.#cells[Cell.flags]! & WindowFlag.locked) !== 0) return;
		const seconds = rows / this.#rate;
		const constant = this.configuration.meanTimeConstantSeconds ?? 10;
		this.#meanSeconds = Math.min(constant, this.#meanSeconds + seconds);
		const share = seconds / this.#meanSeconds;
		for (let c = 0; c < this.#channelCount; c++) {
			const mean = this.#cells[Cell.channel + Cell.channelStride * c]! / rows;
			values[SHIFT + c] = values[SHIFT + c]! + (mean - values[SHIFT + c]!) * Math.min(1, share);
		}
	}

	/** Phasors from the correlations; what the oscillator is off in frequency damps them by a known factor. */
	#findFundamentals(rows: number, synchronous: boolean): void {
		const values = this.#values;
		const cells = this.#cells;
		let factor = 2 / (rows * 32_767);
		if (synchronous) {
			const drift = (this.#frequency / this.#rate - cells[Cell.increment]! / TWO_32) * rows * Math.PI;
			if (Math.abs(drift) > 1e-6 && Math.abs(drift) < 2) factor *= drift / Math.sin(drift);
		}
		for (let c = 0; c < this.#channelCount; c++) {
			const at = Cell.channel + Cell.channelStride * c;
			// against the mean of this window, so that no DC leaks in
			const mean = cells[at]! / rows;
			values[REAL + c] = (cells[at + Cell.cosine]! - mean * cells[Cell.sumCosine]!) * factor;
			values[IMAGINARY + c] = -(cells[at + Cell.sine]! - mean * cells[Cell.sumSine]!) * factor;
		}
	}

	#findHarmonics(rows: number): void {
		const values = this.#values;
		const cells = this.#cells;
		const channel = cells[Cell.harmonicChannel]!;
		if (channel < 0) return;
		const fundamental = Math.hypot(values[REAL + channel]!, values[IMAGINARY + channel]!);
		const highest = cells[Cell.harmonicHighest]!;
		const amplitudes = this.harmonics;
		const scale = values[SCALE + channel]! * Math.SQRT1_2;
		const unit = harmonicUnit(rows, this.configuration.layout.sampleBytes);
		this.harmonicChannel = channel;
		const { sqrt } = Math;
		const root = unit * scale;
		amplitudes.fill(0, highest + 1);
		amplitudes[1] = fundamental * scale;
		let squares = 0;
		let at = Cell.harmonic;
		for (let h = 2; h <= highest; h++) {
			const cosine = cells[at++]!;
			const sine = cells[at++]!;
			const square = (cosine * cosine + sine * sine) * HARMONIC_SQUARE[h]!;
			squares += square;
			amplitudes[h] = sqrt(square) * root;
		}
		squares *= unit * unit;
		// below some codes there is only quantisation
		values[THD + channel] = fundamental < 8 ? 0 : Math.min(65_535, (1000 * Math.sqrt(squares)) / fundamental);
	}

	/** Mean square of a channel about its shift, mV² or mA². */
	#meanSquare(channel: number, rows: number): number {
		const values = this.#values;
		const at = Cell.channel + Cell.channelStride * channel;
		const shift = values[SHIFT + channel]!;
		const scale = values[SCALE + channel]!;
		const square = this.#cells[at + Cell.square]! / rows - shift * ((2 * this.#cells[at]!) / rows - shift);
		return Math.max(0, square) * scale * scale;
	}

	#watchRange(channel: number): void {
		const at = Cell.channel + Cell.channelStride * channel;
		if (this.#cells[at + Cell.maximum]! >= this.#codeMaximum || this.#cells[at + Cell.minimum]! <= -this.#codeMaximum)
			this.#flags |= MeasurementFlag.clipped;
	}

	/** RMS over the worst or best cycle, about the shift (the mean of the window stands for that of the cycle). */
	#cycleRms(channel: number, square: number, rows: number): number {
		const values = this.#values;
		if (square < 0) return 0;
		const shift = values[SHIFT + channel]!;
		const mean = this.#cells[Cell.channel + Cell.channelStride * channel]! / rows;
		return Math.sqrt(Math.max(0, square - shift * (2 * mean - shift))) * values[SCALE + channel]!;
	}

	/** @returns whether the phase has voltage */
	#closePhase(p: number, rows: number): boolean {
		const cells = this.#cells;
		const values = this.#values;
		const u = 2 * p;
		const i = u + 1;
		const atU = Cell.channel + Cell.channelStride * u;
		const atI = atU + Cell.channelStride;
		const base = WINDOW + PER_PHASE + p * PHASE_CELLS;
		const shiftU = values[SHIFT + u]!;
		const shiftI = values[SHIFT + i]!;
		const milliseconds = (rows * 1000) / this.#rate;
		// codes² of a row to mW·ms: mV·mA/1000 for 1000/rate ms
		const energyScale = (values[SCALE + u]! * values[SCALE + i]!) / this.#rate;
		const meanSquareU = this.#meanSquare(u, rows);
		const meanSquareI = this.#meanSquare(i, rows);

		let realI = values[REAL + i]!;
		let imaginaryI = values[IMAGINARY + i]!;
		let realU = values[REAL + u]!;
		let imaginaryU = values[IMAGINARY + u]!;
		const atPower = Cell.phase + Cell.phaseStride * p;
		let high = cells[atPower]!;
		let low = cells[atPower + 1]!;
		const delayQ16 = values[DELAY_Q16 + p]!;
		if (delayQ16 !== 0) {
			const theta = (2 * Math.PI * cells[Cell.increment]!) / TWO_32;
			const whole = Math.floor(Math.abs(delayQ16) / 0x1_0000);
			const fraction = (Math.abs(delayQ16) % 0x1_0000) / 0x1_0000;
			const w0 = ((1 - fraction) * (2 - fraction)) / 2;
			const w1 = fraction * (2 - fraction);
			const w2 = (-fraction * (1 - fraction)) / 2;
			const at = atPower + Cell.lagged;
			high = w0 * cells[at]! + w1 * cells[at + 2]! + w2 * cells[at + 4]!;
			low = w0 * cells[at + 1]! + w1 * cells[at + 3]! + w2 * cells[at + 5]!;
			// what three-point interpolation makes of the fundamental, against what a true delay makes of it
			const delay = whole + fraction;
			const turnReal = Math.cos(theta * delay);
			const turnImaginary = -Math.sin(theta * delay);
			const missReal =
				turnReal -
				w0 * Math.cos(theta * whole) -
				w1 * Math.cos(theta * (whole + 1)) -
				w2 * Math.cos(theta * (whole + 2));
			const missImaginary =
				turnImaginary +
				w0 * Math.sin(theta * whole) +
				w1 * Math.sin(theta * (whole + 1)) +
				w2 * Math.sin(theta * (whole + 2));
			// Re(U·conj(I·miss)) or Re(U·miss·conj(I)): the same with the sign of the imaginary part turned
			const products = realU * realI + imaginaryU * imaginaryI;
			const crossed = (imaginaryU * realI - realU * imaginaryI) * (delayQ16 > 0 ? 1 : -1);
			low += ((products * missReal + crossed * missImaginary) * rows) / 2;
			if (delayQ16 > 0) {
				const real = realI * turnReal - imaginaryI * turnImaginary;
				imaginaryI = realI * turnImaginary + imaginaryI * turnReal;
				realI = real;
			} else {
				const real = realU * turnReal - imaginaryU * turnImaginary;
				imaginaryU = realU * turnImaginary + imaginaryU * turnReal;
				realU = real;
			}
		}
		const level = rows * shiftU * shiftI - shiftU * cells[atI]! - shiftI * cells[atU]!;
		let active = high * (TWO_32 * energyScale) + (low + level) * energyScale;
		const halfRows = (rows / 2) * energyScale;
		let fundamental = (realU * realI + imaginaryU * imaginaryI) * halfRows;
		let reactive = (imaginaryU * realI - realU * imaginaryI) * halfRows;
		const apparent = (Math.sqrt(meanSquareU * meanSquareI) / 1000) * milliseconds;

		const creep = this.#creep;
		const activeFloor = (values[ACTIVE_COUNTS + p] === 0 ? creep.startMilliwatts : creep.stopMilliwatts) * milliseconds;
		const reactiveFloor =
			(values[REACTIVE_COUNTS + p] === 0 ? creep.startMillivars : creep.stopMillivars) * milliseconds;
		values[ACTIVE_COUNTS + p] = Math.abs(active) >= activeFloor ? 1 : 0;
		values[REACTIVE_COUNTS + p] = Math.abs(reactive) >= reactiveFloor ? 1 : 0;
		if (values[ACTIVE_COUNTS + p] === 0) active = fundamental = 0;
		if (values[REACTIVE_COUNTS + p] === 0) reactive = 0;
		const counts = values[ACTIVE_COUNTS + p] !== 0 || values[REACTIVE_COUNTS + p] !== 0;

		this.#carryWhole(p, active);
		this.#carryWhole(this.#phaseCount + p, reactive);
		this.#carryWhole(2 * this.#phaseCount + p, counts ? apparent : 0);
		values[base + VOLTAGE] = meanSquareU * rows;
		values[base + CURRENT] = meanSquareI * rows;
		values[base + ACTIVE] = active;
		values[base + FUNDAMENTAL] = fundamental;
		values[base + REACTIVE] = reactive;
		values[base + VOLTAGE_MINIMUM] = this.#cycleRms(u, cells[atU + Cell.cycleMinimum]!, rows);
		values[base + VOLTAGE_MAXIMUM] = this.#cycleRms(u, cells[atU + Cell.cycleMaximum]!, rows);
		values[base + CURRENT_MAXIMUM] = this.#cycleRms(i, cells[atI + Cell.cycleMaximum]!, rows);
		values[base + MEAN] = (cells[atI]! - rows * values[OFFSET + i]!) * values[SCALE + i]!;
		values[base + ANGLE] = this.#voltageAngle(p);
		this.#watchRange(u);
		this.#watchRange(i);
		const presence = this.#presenceMillivolts;
		return meanSquareU >= presence * presence;
	}

	/** Whole mW·ms go to the registers now, the fraction with the next window: nothing is dropped, no sign is lost. */
	#carryWhole(index: number, energy: number): void {
		const values = this.#values;
		const total = values[CARRY + index]! + energy;
		// towards zero, so that a phase at rest never shows energy in the other direction
		const whole = Math.trunc(total);
		values[CARRY + index] = total - whole;
		this.energies[index] = index >= 2 * this.#phaseCount ? Math.max(0, whole) : whole;
	}

	/** Lag of the voltage behind L1, or behind the reference phase when L1 is missing; tenths of a degree. */
	#voltageAngle(p: number): number {
		const values = this.#values;
		const u = 2 * p;
		const first = Math.hypot(values[REAL]!, values[IMAGINARY]!) * values[SCALE]! * Math.SQRT1_2;
		const own = Math.hypot(values[REAL + u]!, values[IMAGINARY + u]!) * values[SCALE + u]! * Math.SQRT1_2;
		if (own < this.#presenceMillivolts) return NOT_AVAILABLE;
		const r = first >= this.#presenceMillivolts ? 0 : 2 * this.#cells[Cell.reference]!;
		const cross = values[IMAGINARY + r]! * values[REAL + u]! - values[REAL + r]! * values[IMAGINARY + u]!;
		const dot = values[REAL + r]! * values[REAL + u]! + values[IMAGINARY + r]! * values[IMAGINARY + u]!;
		return (Math.round((Math.atan2(cross, dot) * 1800) / Math.PI) + 3600) % 3600;
	}

	#gatherSecond(): void {
		const values = this.#values;
		this.#secondFlags |= this.#flags;
		const first = values[SECOND + ROWS] === 0;
		for (let c = WINDOW; c < WINDOW + PER_PHASE; c++)
			values[c + ACCUMULATOR_CELLS] = values[c + ACCUMULATOR_CELLS]! + values[c]!;
		const end = WINDOW + PER_PHASE + this.#phaseCount * PHASE_CELLS;
		for (let from = WINDOW + PER_PHASE; from < end; from += PHASE_CELLS) {
			const to = from + ACCUMULATOR_CELLS;
			for (let c = 0; c <= REACTIVE; c++) values[to + c] = values[to + c]! + values[from + c]!;
			const minimum = values[from + VOLTAGE_MINIMUM]!;
			if (first || minimum < values[to + VOLTAGE_MINIMUM]!) values[to + VOLTAGE_MINIMUM] = minimum;
			const maximum = values[from + VOLTAGE_MAXIMUM]!;
			if (maximum > values[to + VOLTAGE_MAXIMUM]!) values[to + VOLTAGE_MAXIMUM] = maximum;
			const current = values[from + CURRENT_MAXIMUM]!;
			if (current > values[to + CURRENT_MAXIMUM]!) values[to + CURRENT_MAXIMUM] = current;
			values[to + MEAN] = values[to + MEAN]! + values[from + MEAN]!;
			values[to + ANGLE] = values[from + ANGLE]!;
		}
	}

	/** Values of a window or second from its accumulator, which starts at `at`. */
	#present(at: number, into: Measurement, flags: number): void {
		const values = this.#values;
		const rows = values[at + ROWS]!;
		const milliseconds = (rows * 1000) / this.#rate;
		const threshold = this.#creep.factorMillivoltAmperes;
		let power = 0;
		let fundamental = 0;
		let reactive = 0;
		let apparent = 0;
		for (let p = 0; p < this.#phaseCount; p++) {
			const base = at + PER_PHASE + p * PHASE_CELLS;
			const phase = into.phases[p as 0 | 1 | 2];
			const voltage = Math.sqrt(values[base + VOLTAGE]! / rows);
			const current = Math.sqrt(values[base + CURRENT]! / rows);
			const phasePower = values[base + ACTIVE]! / milliseconds;
			const phaseFundamental = values[base + FUNDAMENTAL]! / milliseconds;
			const phaseReactive = values[base + REACTIVE]! / milliseconds;
			const phaseApparent = (voltage * current) / 1000;
			phase.voltageMillivolts = Math.round(voltage);
			phase.currentMilliamperes = Math.round(current);
			phase.powerMilliwatts = Math.round(phasePower);
			phase.fundamentalPowerMilliwatts = Math.round(phaseFundamental);
			phase.reactivePowerMillivars = Math.round(phaseReactive);
			phase.apparentPowerMillivoltAmperes = Math.round(phaseApparent);
			phase.nonActivePowerMillivoltAmperes = nonActive(phaseApparent, phasePower);
			const enough = phaseApparent >= threshold && phaseApparent > 0;
			phase.powerFactorPermille = enough ? factorPermille(phasePower, phaseApparent) : NOT_AVAILABLE;
			const first = Math.hypot(phaseFundamental, phaseReactive);
			const angle = enough && first >= threshold && first > 0;
			phase.cosPhiPermille = angle ? factorPermille(phaseFundamental, first) : NOT_AVAILABLE;
			phase.phaseAngleTenthsDegree = angle
				? Math.round((Math.atan2(phaseReactive, phaseFundamental) * 1800) / Math.PI)
				: NOT_AVAILABLE;
			phase.voltageAngleTenthsDegree = values[base + ANGLE]!;
			phase.quadrant = quadrantOf(phasePower, phaseReactive);
			phase.thdVoltagePermille = Math.round(values[THD + 2 * p]!);
			phase.thdCurrentPermille = Math.round(values[THD + 2 * p + 1]!);
			phase.voltageMinimumMillivolts = Math.round(values[base + VOLTAGE_MINIMUM]!);
			phase.voltageMaximumMillivolts = Math.round(values[base + VOLTAGE_MAXIMUM]!);
			phase.currentMaximumMilliamperes = Math.round(values[base + CURRENT_MAXIMUM]!);
			phase.currentMeanMilliamperes = Math.round(values[base + MEAN]! / rows);
			power += phasePower;
			fundamental += phaseFundamental;
			reactive += phaseReactive;
			apparent += phaseApparent;
		}
		into.powerMilliwatts = Math.round(power);
		into.fundamentalPowerMilliwatts = Math.round(fundamental);
		into.reactivePowerMillivars = Math.round(reactive);
		into.apparentPowerMillivoltAmperes = Math.round(apparent);
		into.vectorApparentPowerMillivoltAmperes = Math.round(Math.hypot(power, reactive));
		into.nonActivePowerMillivoltAmperes = nonActive(apparent, power);
		into.powerFactorPermille = apparent >= threshold && apparent > 0 ? factorPermille(power, apparent) : NOT_AVAILABLE;
		into.quadrant = quadrantOf(power, reactive);
		const span = values[at + SPAN]!;
		into.frequencyMillihertz = Math.round(
			1000 *
				(span > 0 && (flags & MeasurementFlag.samplesLost) === 0
					? (values[at + CYCLES]! * this.#rate) / span
					: this.#frequency),
		);
		into.neutralCurrentMilliamperes = Math.round(Math.sqrt(values[at + NEUTRAL]! / rows));
		into.flags = flags;
		into.rows = rows;
		into.durationMicroseconds = Math.round(milliseconds * 1000);
	}
}

function nonActive(apparent: number, power: number): number {
	return Math.round(Math.sqrt(Math.max(0, apparent * apparent - power * power)));
}

function factorPermille(power: number, apparent: number): number {
	return Math.max(-1000, Math.min(1000, Math.round((1000 * power) / apparent)));
}
