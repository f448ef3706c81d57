import { InvariantError } from "../bytes/status.js";
import type { SampleKernel, SampleLayout } from "../platform/sample-kernel.js";

/**
 * Parameter block of a kernel, version 1: 44 bytes, little-endian.
 * | offset | size | field                      | unit and range                                                    |
 * |-------:|-----:|----------------------------|-------------------------------------------------------------------|
 * |      0 |    4 | version                    | 1                                                                 |
 * |      4 |    4 | cyclesPerWindow            | 2 to 12; 10 at 50 Hz, 12 at 60 Hz                                 |
 * |      8 |    4 | nominalFrequencyMillihertz | 40 000 to 70 000                                                  |
 * |     12 |    4 | harmonicChannel            | 0 one after the other, 1 to 7 that channel, 255 none              |
 * |     16 | 3×4  | presenceCodes              | per phase: RMS codes from which there is a voltage, 1 to 2^23 - 1 |
 * |     28 | 3×4  | delayQ16                   | per phase, signed rows / 2^16, at most 4 rows: the current is     |
 * |        |      |                            | delayed against the voltage (negative: the voltage)               |
 * |     40 |    4 | reserved                   | 0                                                                 |
 */
export const KERNEL_PARAMETER_BYTES = 44;

/**
 * Sums of one window, version 1: 192 cells of float64, little-endian, all integers.
 * | cell    | field             | meaning                                                                            |
 * |--------:|-------------------|------------------------------------------------------------------------------------|
 * |       0 | rows              | rows in the window                                                                 |
 * |       1 | flags             | `WindowFlag` bits                                                                  |
 * |       2 | cycles            | rising crossings of the reference; whole cycles if synchronous                     |
 * |       3 | startLagQ16       | rows / 2^16 from the crossing to the last row before the window                    |
 * |       4 | endLagQ16         | the same at its end: length in rows = rows + (startLagQ16 - endLagQ16) / 2^16      |
 * |       5 | increment         | oscillator, 2^32 = one cycle a row                                                 |
 * |    6, 7 | sumCosine, sumSine | of the oscillator, Q15                                                            |
 * |       8 | reference         | phase that gave the crossings, 0 to 2                                              |
 * |       9 | harmonicChannel   | channel analysed, -1 none                                                          |
 * |      10 | harmonicHighest   | highest order analysed (0.45 of the sample rate, at most 40)                       |
 * |      11 | halfCycles        | one-cycle values that entered the extremes                                         |
 * |      12 | windowCount       | windows closed before this one                                                     |
 * | 16 + 8c | channel c         | Σx, Σx², Σx·cos, Σx·sin (Q15), lowest and highest code, lowest and highest mean    |
 * |         |                   | square over one cycle (stepped by half cycles; floor; -1: none ended in the window)|
 * | 72 + 8p | phase p           | Σu·i as floor(S / 2^32), S mod 2^32; the same with the delayed channel at whole    |
 * |         |                   | lags L, L + 1, L + 2 (three pairs; 0 without a delay), L = floor(abs(delay))       |
 * | 96 + 2j | order h = j + 2   | of `harmonicChannel`, without the mean and fundamental of the window before:       |
 * |         |                   | Σr·cos, Σr·sin at h times the oscillator; see `harmonicUnit`                       |
 */
export const KERNEL_SUMS_BYTES = 1536;

/** Cell numbers of the sums; offsets within a channel or a phase follow their base. */
export const Cell = Object.freeze({
	rows: 0,
	flags: 1,
	cycles: 2,
	startLagQ16: 3,
	endLagQ16: 4,
	increment: 5,
	sumCosine: 6,
	sumSine: 7,
	reference: 8,
	harmonicChannel: 9,
	harmonicHighest: 10,
	halfCycles: 11,
	windowCount: 12,
	channel: 16,
	channelStride: 8,
	sum: 0,
	square: 1,
	cosine: 2,
	sine: 3,
	minimum: 4,
	maximum: 5,
	cycleMinimum: 6,
	cycleMaximum: 7,
	phase: 72,
	phaseStride: 8,
	power: 0,
	lagged: 2,
	harmonic: 96,
} as const);

/** Bits of cell 1. */
export const WindowFlag = Object.freeze({
	/** Whole cycles from crossing to crossing: frequency and fundamental are good. */
	synchronous: 1,
	/** Another phase became the reference within the window. */
	referenceChanged: 2,
	/** The window is short: it ended because the reference was found. */
	locked: 4,
	/** The crossings stopped within the window. */
	referenceLost: 8,
	/** The window started at a crossing. */
	startsAtCrossing: 16,
} as const);

/**
 * Phase steps of a cycle in the harmonic analysis: divisible by four for the folding, and no divisor of usual rates, so
 * that samples fall evenly between steps.
 */
export const HARMONIC_BINS = 244;
export const HARMONIC_MAX = 40;
export const CHANNEL_MAX = 7;
export const PHASE_MAX = 3;
/** Largest delay between the channels of a phase. */
export const DELAY_ROWS_MAX = 4;

const RUN = 32;
const HISTORY = 8;
const WIDTH = HISTORY + RUN;
const SINCE_MAX = 0x7fff;
const TWO_32 = 0x1_0000_0000;
const TWO_31 = 0x8000_0000;
const HARMONIC_OFF = 255;
const BIN_WEIGHT = 32;
const REST_MAX = 0x7_ffff;

/** round(32767·cos(2πi/1024)); the C has the same numbers as a literal. 2 KB of flash. */
const COSINE_Q15 = Int16Array.from({ length: 1024 }, (_, i) => Math.round(32_767 * Math.cos((2 * Math.PI * i) / 1024)));

/** round(32767·cos(2πi/244)). 488 bytes of flash. */
const BIN_COSINE_Q15 = Int16Array.from({ length: HARMONIC_BINS }, (_, i) =>
	Math.round(32_767 * Math.cos((2 * Math.PI * i) / HARMONIC_BINS)),
);

/** Amplitude (peak) in codes of any order per unit of the sums of a window of `rows`, before its damping. */
export function harmonicUnit(rows: number, sampleBytes: number): number {
	// int24 codes lose four bits on the way
	return (2 * (sampleBytes === 2 ? 1 : 16)) / (rows * 32_767 * BIN_WEIGHT);
}

/**
 * What the square of the sums of order `h` is multiplied with: sharing a sample between two phase steps damps it by
 * sinc²(h/244). 328 bytes of flash.
 */
export const HARMONIC_SQUARE = Float64Array.from({ length: HARMONIC_MAX + 1 }, (_, h) => {
	const x = (Math.PI * h) / HARMONIC_BINS;
	return h === 0 ? 0 : (Math.sin(x) / x) ** -4;
});

/** floor(dividend / divisor), exact for a dividend within ±2^53 and a quotient within ±2^32. */
function divide(dividend: number, divisor: number): number {
	let quotient = Math.floor(dividend / divisor);
	const rest = dividend - quotient * divisor;
	if (rest < 0) quotient--;
	else if (rest >= divisor) quotient++;
	return quotient;
}

/** floor(16·dividend / divisor) for a dividend within ±2^53. */
function divideQ4(dividend: number, divisor: number): number {
	const whole = divide(dividend, divisor);
	return whole * 16 + divide((dividend - whole * divisor) * 16, divisor);
}

/**
 * floor((high·2^32 + low) / divisor), for a sum of 0 to 2^63, a divisor below 2^16 and a quotient below 2^53.
 * Long division by 16-bit digits.
 */
function divideWide(high: number, low: number, divisor: number): number {
	const q3 = divide(high, divisor);
	let rest = (high - q3 * divisor) * 0x1_0000 + Math.floor(low / 0x1_0000);
	const q2 = Math.floor(rest / divisor);
	rest = (rest - q2 * divisor) * 0x1_0000 + (low % 0x1_0000);
	const q1 = Math.floor(rest / divisor);
	return q3 * TWO_32 + q2 * 0x1_0000 + q1;
}

/** Coefficient of a one-pole filter, w / (1 + w) with w = 2π·corner / rate. */
function onePoleQ15(cornerMillihertz: number, rate1024: number): number {
	const corner = 6283 * cornerMillihertz;
	return divide(corner * 0x8000, corner + 1_000_000 * Math.floor(rate1024 / 1024));
}

/**
 * The per-sample loop in TypeScript: reference for sample-kernel.c, and fallback where a host has no C. Every result
 * is an integer sum, so both give the same bits however the rows are grouped; blocks may be cut anywhere.
 * State: 6.3 KB of chunk bytes.
 */
export class TypeScriptSampleKernel implements SampleKernel {
	readonly #phaseCount: number;
	readonly #channelCount: number;
	readonly #sampleBytes: number;
	readonly #rowBytes: number;
	readonly #rate1024: number;

	#cyclesPerWindow = 10;
	#nominalFrequencyMillihertz = 50_000;
	#harmonicMode = 0;
	/** presenceCodes of 3 phases, delayQ16 of 3 phases; then what is staged: cycles, frequency, mode, the same six. */
	readonly #perPhase = new Int32Array(6);
	readonly #staged = new Int32Array(9);
	#stagedValid = false;

	#highPassQ15 = 0;
	#lowPassQ15 = 0;
	#inputScale = 0;
	#periodMinimumQ16 = 0;
	#periodMaximumQ16 = 0;
	#lostRows = 0;
	#windowRowsMaximum = 0;
	#armLevel = 0;

	#phase = 0;
	#increment = 0;
	#rowsToHalf = 0;

	#reference = 0;
	#referenceHalves = 0;
	#highPass = 0;
	#lowPass1 = 0;
	#lowPass2 = 0;
	#armed = false;
	#crossingKnown = false;
	#synchronous = false;
	#sinceCrossing = 0;
	#lagQ16 = 0;
	#lockCount = 0;
	#lockPeriodQ16 = 0;
	#ends = false;

	#closed = false;
	#windowCount = 0;
	#rows = 0;
	#cycles = 0;
	#flags = 0;
	#startLagQ16 = 0;
	#freeRunRows = 0;
	#halves = 0;
	#startIncrement = 0;
	#halfRows = 0;
	#previousHalfRows = 0;
	#harmonicChannel = HARMONIC_OFF;

	/** The sums as they are handed over; those below 2^53 are kept here. */
	readonly #cells = new Float64Array(KERNEL_SUMS_BYTES / 8);
	readonly #cellBytes = new Uint8Array(this.#cells.buffer);
	/** Sums above 2^53 as pairs high·2^32 + low: 7 squares, 3 powers, 9 lagged, 7 half squares, 7 previous halves. */
	readonly #wide = new Float64Array(2 * 33);
	readonly #bins = new Int32Array(HARMONIC_BINS + 1);
	/** Cosine and sine amplitude (codes / 16) and mean of the analysed channel in the window before. */
	#predictedCosineQ4 = 0;
	#predictedSineQ4 = 0;
	#predictedMean = 0;
	/** Codes of a pass, channel by channel: 8 rows from before, then up to 32. */
	readonly #codes = new Int32Array(CHANNEL_MAX * WIDTH);
	readonly #oscillator = new Int16Array(2 * RUN);
	readonly #folded = new Float64Array(4 * (HARMONIC_BINS / 4 + 1));

	/** @throws InvariantError when the layout is outside 1 to 3 phases, 2 or 3 bytes, 500 to 40 000 rows a second */
	constructor(layout: SampleLayout) {
		const { phaseCount, neutralCurrent, sampleBytes, samplesPerSecond } = layout;
		if (!(phaseCount >= 1 && phaseCount <= 3) || !(sampleBytes === 2 || sampleBytes === 3))
			throw new InvariantError("sample layout");
		if (!(samplesPerSecond >= 500 && samplesPerSecond <= 40_000)) throw new InvariantError("samples per second");
		this.#phaseCount = phaseCount;
		this.#channelCount = phaseCount * 2 + (neutralCurrent ? 1 : 0);
		this.#sampleBytes = sampleBytes;
		this.#rowBytes = this.#channelCount * sampleBytes;
		this.#rate1024 = Math.floor(samplesPerSecond * 1024);
		this.#perPhase.fill(sampleBytes === 2 ? 512 : 131_072, 0, PHASE_MAX);
		this.#apply();
		this.#start();
	}

	configure(parameters: Uint8Array): void {
		if (parameters.length !== KERNEL_PARAMETER_BYTES) throw new InvariantError("kernel parameter length");
		const view = new DataView(parameters.buffer, parameters.byteOffset, KERNEL_PARAMETER_BYTES);
		if (view.getUint32(0, true) !== 1) throw new InvariantError("kernel parameter version");
		const cycles = view.getUint32(4, true);
		const frequency = view.getUint32(8, true);
		const mode = view.getUint32(12, true);
		for (let i = 0; i < PHASE_MAX; i++) {
			const presence = view.getInt32(16 + 4 * i, true);
			const delay = view.getInt32(28 + 4 * i, true);
			if (presence < 1 || presence > 0x7f_ffff) throw new InvariantError("presenceCodes");
			if (Math.abs(delay) > DELAY_ROWS_MAX * 0x1_0000) throw new InvariantError("delayQ16");
		}
		if (view.getUint32(40, true) !== 0) throw new InvariantError("kernel parameter reserved");
		if (cycles < 2 || cycles > 12) throw new InvariantError("cyclesPerWindow");
		if (frequency < 40_000 || frequency > 70_000) throw new InvariantError("nominalFrequencyMillihertz");
		if (mode > CHANNEL_MAX && mode !== HARMONIC_OFF) throw new InvariantError("harmonicChannel");
		this.#staged[0] = cycles;
		this.#staged[1] = frequency;
		this.#staged[2] = mode;
		for (let i = 0; i < 6; i++) this.#staged[3 + i] = view.getInt32(16 + 4 * i, true);
		if (this.#windowCount === 0 && this.#rows === 0) {
			this.#unstage();
			this.#apply();
			this.#start();
		} else {
			this.#stagedValid = true;
		}
	}

	windowClosed(): boolean {
		return this.#closed;
	}

	close(): void {}

	process(block: Uint8Array, rowIndex: number, rowCount: number, sums: Uint8Array): number {
		let row = rowIndex;
		this.#closed = false;
		if (sums.length < KERNEL_SUMS_BYTES) return 0;
		while (row < rowCount) {
			const limit = this.#synchronous ? this.#windowRowsMaximum : this.#freeRunRows;
			let run = rowCount - row;
			if (run > RUN) run = RUN;
			if (run > this.#rowsToHalf) run = this.#rowsToHalf;
			if (this.#rows < limit && run > limit - this.#rows) run = limit - this.#rows;
			if (this.#synchronous && this.#sinceCrossing <= this.#lostRows && run > this.#lostRows + 1 - this.#sinceCrossing)
				run = this.#lostRows + 1 - this.#sinceCrossing;
			this.#takeRows(block, row, run);
			run = this.#followReference(run);
			this.#accumulate(run);
			row += run;
			this.#rowsToHalf -= run;
			if (this.#rowsToHalf === 0) {
				this.#endHalf();
				this.#rowsToHalf = this.#halfLength();
			}
			if (!this.#ends && this.#synchronous && this.#sinceCrossing > this.#lostRows) {
				this.#synchronous = false;
				this.#crossingKnown = false;
				this.#lockCount = this.#lockPeriodQ16 = 0;
				this.#flags |= WindowFlag.referenceLost;
			}
			if (this.#ends || this.#rows >= (this.#synchronous ? this.#windowRowsMaximum : this.#freeRunRows)) {
				this.#closeWindow(this.#ends);
				sums.set(this.#cellBytes);
				this.#clearWindow();
				break;
			}
		}
		return row - rowIndex;
	}

	#unstage(): void {
		this.#cyclesPerWindow = this.#staged[0]!;
		this.#nominalFrequencyMillihertz = this.#staged[1]!;
		this.#harmonicMode = this.#staged[2]!;
		for (let i = 0; i < 6; i++) this.#perPhase[i] = this.#staged[3 + i]!;
		this.#stagedValid = false;
	}

	#apply(): void {
		const rate = this.#rate1024;
		const nominal = this.#nominalFrequencyMillihertz;
		this.#highPassQ15 = onePoleQ15(Math.floor(nominal / 3) * 4, rate);
		this.#lowPassQ15 = onePoleQ15(nominal * 2, rate);
		this.#inputScale = this.#sampleBytes === 2 ? 8192 : 32;
		this.#periodMinimumQ16 = divide(rate * 64, 75);
		this.#periodMaximumQ16 = divide(rate * 64, 38);
		this.#lostRows = divide(rate, 1024 * 38) + 1;
		this.#windowRowsMaximum = divide(divide(rate * 3, 10_240) * this.#cyclesPerWindow, 10) + 1;
		this.#freeRunRows = divide(rate * this.#cyclesPerWindow * 1000, nominal * 1024);
		this.#armLevel = divide(this.#perPhase[this.#reference]! * this.#inputScale, 4);
	}

	#start(): void {
		const wide = divide(this.#nominalFrequencyMillihertz * 0x10_0000_0000, 125 * this.#rate1024);
		this.#increment = wide * 8;
		this.#rowsToHalf = this.#halfLength();
		this.#harmonicChannel = HARMONIC_OFF;
		this.#chooseHarmonicChannel();
		this.#clearWindow();
	}

	#halfLength(): number {
		const left = TWO_31 - (this.#phase % TWO_31);
		return divide(left + this.#increment - 1, this.#increment);
	}

	#clearWindow(): void {
		const cells = this.#cells;
		this.#rows = this.#cycles = this.#halves = 0;
		this.#startIncrement = this.#increment;
		cells.fill(0);
		this.#wide.fill(0, 0, 2 * 19);
		this.#bins.fill(0);
		for (let c = 0; c < this.#channelCount; c++) {
			const at = Cell.channel + Cell.channelStride * c;
			cells[at + Cell.minimum] = 0x7fff_ffff;
			cells[at + Cell.maximum] = -0x8000_0000;
			cells[at + Cell.cycleMinimum] = cells[at + Cell.cycleMaximum] = -1;
		}
	}

	#chooseHarmonicChannel(): void {
		const mode = this.#harmonicMode;
		if (mode === 0)
			this.#harmonicChannel = this.#harmonicChannel + 1 < this.#channelCount ? this.#harmonicChannel + 1 : 0;
		else this.#harmonicChannel = mode <= this.#channelCount ? mode - 1 : HARMONIC_OFF;
	}

	/** Adds an integer of at most 2^53 to pair `index`. */
	#addWide(index: number, value: number): void {
		const wide = this.#wide;
		const low = wide[2 * index + 1]! + value;
		const carry = Math.floor(low / TWO_32);
		wide[2 * index] = wide[2 * index]! + carry;
		wide[2 * index + 1] = low - carry * TWO_32;
	}

	#takeRows(block: Uint8Array, row: number, rows: number): void {
		const codes = this.#codes;
		const channelCount = this.#channelCount;
		let at = row * this.#rowBytes;
		if (this.#sampleBytes === 2) {
			for (let i = HISTORY; i < HISTORY + rows; i++)
				for (let c = 0; c < channelCount; c++, at += 2)
					codes[c * WIDTH + i] = ((block[at]! << 16) | (block[at + 1]! << 24)) >> 16;
		} else {
			for (let i = HISTORY; i < HISTORY + rows; i++)
				for (let c = 0; c < channelCount; c++, at += 3)
					codes[c * WIDTH + i] = ((block[at]! << 8) | (block[at + 1]! << 16) | (block[at + 2]! << 24)) >> 8;
		}
	}

	/** Runs the reference filter until `rows` or the crossing that ends the window. @returns rows taken; sets `#ends` */
	#followReference(rows: number): number {
		const codes = this.#codes;
		const start = this.#reference * 2 * WIDTH + HISTORY;
		const scale = this.#inputScale;
		const highPassQ15 = this.#highPassQ15;
		const lowPassQ15 = this.#lowPassQ15;
		const armLevel = this.#armLevel;
		let highPass = this.#highPass;
		let lowPass1 = this.#lowPass1;
		let lowPass2 = this.#lowPass2;
		let armed = this.#armed;
		let since = this.#sinceCrossing;
		let ends = false;
		let i = 0;
		while (i < rows) {
			const input = codes[start + i]! * scale;
			const before = lowPass2;
			i++;
			highPass += Math.floor(((input - highPass) * highPassQ15) / 0x8000);
			lowPass1 += Math.floor(((input - highPass - lowPass1) * lowPassQ15) / 0x8000);
			lowPass2 += Math.floor(((lowPass1 - lowPass2) * lowPassQ15) / 0x8000);
			if (since < SINCE_MAX) since++;
			if (lowPass2 < -armLevel) armed = true;
			if (!armed || lowPass2 < 0) continue;
			armed = false;
			const lag = divide(lowPass2 * 0x1_0000, lowPass2 - before);
			const period = since * 0x1_0000 + this.#lagQ16 - lag;
			if (this.#synchronous) {
				if (period < this.#periodMinimumQ16) continue;
				this.#cycles++;
				if (this.#cycles === this.#cyclesPerWindow) ends = true;
			} else if (this.#crossingKnown && period >= this.#periodMinimumQ16 && period <= this.#periodMaximumQ16) {
				this.#lockPeriodQ16 += period;
				this.#lockCount++;
				if (this.#lockCount === 2) ends = true;
			} else {
				this.#lockCount = this.#lockPeriodQ16 = 0;
			}
			this.#crossingKnown = true;
			this.#lagQ16 = lag;
			since = 0;
			if (ends) break;
		}
		this.#highPass = highPass;
		this.#lowPass1 = lowPass1;
		this.#lowPass2 = lowPass2;
		this.#armed = armed;
		this.#sinceCrossing = since;
		this.#ends = ends;
		return i;
	}

	#accumulate(rows: number): void {
		const cells = this.#cells;
		const codes = this.#codes;
		const oscillator = this.#oscillator;
		const channelCount = this.#channelCount;
		const increment = this.#increment;
		let phase = this.#phase;
		let sumCosine = 0;
		let sumSine = 0;
		for (let i = 0; i < rows; i++) {
			const index = phase >>> 22;
			const cosine = COSINE_Q15[index]!;
			const sine = COSINE_Q15[(index + 768) & 1023]!;
			oscillator[i] = cosine;
			oscillator[RUN + i] = sine;
			sumCosine += cosine;
			sumSine += sine;
			phase += increment;
			if (phase >= TWO_32) phase -= TWO_32;
		}
		cells[Cell.sumCosine] = cells[Cell.sumCosine]! + sumCosine;
		cells[Cell.sumSine] = cells[Cell.sumSine]! + sumSine;
		for (let c = 0; c < channelCount; c++) {
			const from = c * WIDTH + HISTORY;
			let sum = 0;
			let square = 0;
			let cosine = 0;
			let sine = 0;
			let minimum = codes[from]!;
			let maximum = minimum;
			for (let i = 0; i < rows; i++) {
				const code = codes[from + i]!;
				sum += code;
				square += code * code;
				cosine += code * oscillator[i]!;
				sine += code * oscillator[RUN + i]!;
				if (code < minimum) minimum = code;
				if (code > maximum) maximum = code;
			}
			const at = Cell.channel + Cell.channelStride * c;
			cells[at] = cells[at]! + sum;
			cells[at + Cell.cosine] = cells[at + Cell.cosine]! + cosine;
			cells[at + Cell.sine] = cells[at + Cell.sine]! + sine;
			if (minimum < cells[at + Cell.minimum]!) cells[at + Cell.minimum] = minimum;
			if (maximum > cells[at + Cell.maximum]!) cells[at + Cell.maximum] = maximum;
			this.#addWide(c, square);
			this.#addWide(19 + c, square);
		}
		for (let p = 0; p < this.#phaseCount; p++) {
			const voltage = 2 * p * WIDTH + HISTORY;
			const current = voltage + WIDTH;
			this.#addWide(7 + p, this.#product(voltage, current, rows));
			const delay = this.#perPhase[3 + p]!;
			if (delay === 0) continue;
			const still = delay > 0 ? voltage : current;
			const delayed = (delay > 0 ? current : voltage) - Math.floor(Math.abs(delay) / 0x1_0000);
			for (let j = 0; j < 3; j++) this.#addWide(10 + 3 * p + j, this.#product(still, delayed - j, rows));
		}
		if (this.#harmonicChannel < CHANNEL_MAX) this.#fillBins(rows);
		this.#phase = phase;
		for (let c = 0; c < channelCount; c++) {
			const to = c * WIDTH;
			for (let i = 0; i < HISTORY; i++) codes[to + i] = codes[to + i + rows]!;
		}
		this.#rows += rows;
		this.#halfRows += rows;
	}

	/**
	 * Adds a pass to the phase steps of the harmonic analysis. What the last window predicts (mean and fundamental) is
	 * taken off first, so that it cannot leak into the harmonics; each row is shared between its two nearest steps.
	 */
	#fillBins(rows: number): void {
		const codes = this.#codes;
		const bins = this.#bins;
		const oscillator = this.#oscillator;
		const from = this.#harmonicChannel * WIDTH + HISTORY;
		const cosineQ4 = this.#predictedCosineQ4;
		const sineQ4 = this.#predictedSineQ4;
		const mean = this.#predictedMean;
		const increment = this.#increment;
		const drop = this.#sampleBytes === 2 ? 1 : 16;
		let phase = this.#phase;
		for (let i = 0; i < rows; i++) {
			const fundamental = cosineQ4 * oscillator[i]! + sineQ4 * oscillator[RUN + i]! + 0x4_0000;
			let rest = Math.floor((codes[from + i]! - mean - Math.floor(fundamental / 0x8_0000)) / drop);
			if (rest > REST_MAX) rest = REST_MAX;
			else if (rest < -REST_MAX) rest = -REST_MAX;
			const position = (phase >>> 16) * HARMONIC_BINS;
			const bin = position >> 16;
			const weight = (position >> 11) & (BIN_WEIGHT - 1);
			bins[bin] = bins[bin]! + rest * (BIN_WEIGHT - weight);
			bins[bin + 1] = bins[bin + 1]! + rest * weight;
			phase += increment;
			if (phase >= TWO_32) phase -= TWO_32;
		}
	}

	/** What the window that ends predicts for the channel that is analysed next. */
	#predict(): void {
		const channel = this.#harmonicChannel;
		if (channel >= CHANNEL_MAX) return;
		const at = Cell.channel + Cell.channelStride * channel;
		const scale = this.#rows * 32_767;
		this.#predictedCosineQ4 = divideQ4(2 * this.#cells[at + Cell.cosine]!, scale);
		this.#predictedSineQ4 = divideQ4(2 * this.#cells[at + Cell.sine]!, scale);
		this.#predictedMean = divide(this.#cells[at]!, this.#rows);
	}

	/** At most 32 products of 2^46: below 2^51. */
	#product(a: number, b: number, rows: number): number {
		const codes = this.#codes;
		let sum = 0;
		for (let i = 0; i < rows; i++) sum += codes[a + i]! * codes[b + i]!;
		return sum;
	}

	/** Mean square of the last half cycle against the presence level of that phase. */
	#present(phase: number): boolean {
		const at = 2 * (26 + 2 * phase);
		const presence = this.#perPhase[phase]!;
		return divideWide(this.#wide[at]!, this.#wide[at + 1]!, this.#previousHalfRows) >= presence * presence;
	}

	#endHalf(): void {
		const cells = this.#cells;
		const wide = this.#wide;
		if (this.#previousHalfRows !== 0) {
			const rows = this.#halfRows + this.#previousHalfRows;
			for (let c = 0; c < this.#channelCount; c++) {
				const half = 2 * (19 + c);
				const previous = 2 * (26 + c);
				let low = wide[half + 1]! + wide[previous + 1]!;
				let high = wide[half]! + wide[previous]!;
				if (low >= TWO_32) {
					low -= TWO_32;
					high++;
				}
				const mean = divideWide(high, low, rows);
				const at = Cell.channel + Cell.channelStride * c;
				if (cells[at + Cell.cycleMinimum]! < 0 || mean < cells[at + Cell.cycleMinimum]!)
					cells[at + Cell.cycleMinimum] = mean;
				if (mean > cells[at + Cell.cycleMaximum]!) cells[at + Cell.cycleMaximum] = mean;
			}
			this.#halves++;
		}
		wide.copyWithin(2 * 26, 2 * 19, 2 * 26);
		wide.fill(0, 2 * 19, 2 * 26);
		this.#previousHalfRows = this.#halfRows;
		this.#halfRows = 0;
		this.#referenceHalves++;
		if (!this.#ends && !this.#synchronous && this.#phaseCount > 1)
			this.#chooseReference(!this.#present(this.#reference));
	}

	#chooseReference(lost: boolean): void {
		for (let step = 1; step < this.#phaseCount; step++) {
			const candidate = (this.#reference + step) % this.#phaseCount;
			if (!this.#present(candidate)) continue;
			if (!lost && this.#referenceHalves < 64) return;
			this.#reference = candidate;
			this.#referenceHalves = 0;
			this.#highPass = this.#lowPass1 = this.#lowPass2 = 0;
			this.#armed = this.#crossingKnown = false;
			this.#sinceCrossing = this.#lockCount = this.#lockPeriodQ16 = 0;
			this.#armLevel = divide(this.#perPhase[candidate]! * this.#inputScale, 4);
			this.#flags |= WindowFlag.referenceChanged;
			return;
		}
	}

	#closeWindow(atCrossing: boolean): void {
		const cells = this.#cells;
		const wide = this.#wide;
		const whole = atCrossing && this.#synchronous && (this.#flags & WindowFlag.startsAtCrossing) !== 0;
		if (whole) this.#flags |= WindowFlag.synchronous;
		else if (atCrossing) this.#flags |= WindowFlag.locked;
		cells[Cell.rows] = this.#rows;
		cells[Cell.flags] = this.#flags;
		cells[Cell.cycles] = this.#cycles;
		cells[Cell.startLagQ16] = this.#startLagQ16;
		cells[Cell.endLagQ16] = atCrossing ? this.#lagQ16 : 0;
		cells[Cell.increment] = this.#startIncrement;
		cells[Cell.reference] = this.#reference;
		cells[Cell.harmonicChannel] = this.#harmonicChannel < CHANNEL_MAX ? this.#harmonicChannel : -1;
		cells[Cell.halfCycles] = this.#halves;
		cells[Cell.windowCount] = this.#windowCount;
		for (let c = 0; c < this.#channelCount; c++)
			cells[Cell.channel + Cell.channelStride * c + Cell.square] = wide[2 * c]! * TWO_32 + wide[2 * c + 1]!;
		for (let p = 0; p < this.#phaseCount; p++) {
			const at = Cell.phase + Cell.phaseStride * p;
			cells[at] = wide[2 * (7 + p)]!;
			cells[at + 1] = wide[2 * (7 + p) + 1]!;
			for (let j = 0; j < 6; j++) cells[at + Cell.lagged + j] = wide[2 * (10 + 3 * p) + j]!;
		}
		if (this.#harmonicChannel < CHANNEL_MAX) this.#analyseHarmonics();
		// adding 0 turns -0, which integer C does not know, into 0
		for (let i = 0; i < cells.length; i++) cells[i] = cells[i]! + 0;
		if (whole) {
			const spanQ16 = this.#rows * 0x1_0000 + this.#startLagQ16 - this.#lagQ16;
			this.#increment = divide(this.#cycles * 0x1_0000_0000_0000, spanQ16);
			this.#freeRunRows = this.#rows;
		} else if (atCrossing) {
			this.#increment = divide(0x2_0000_0000_0000, this.#lockPeriodQ16);
		}
		this.#synchronous = atCrossing;
		this.#rowsToHalf = this.#halfLength();
		if (this.#stagedValid) {
			const freeRunRows = this.#freeRunRows;
			const sameWindow = this.#staged[0] === this.#cyclesPerWindow;
			this.#unstage();
			this.#apply();
			if (sameWindow) this.#freeRunRows = freeRunRows;
		}
		this.#windowCount = (this.#windowCount + 1) >>> 0;
		this.#startLagQ16 = atCrossing ? this.#lagQ16 : 0;
		this.#chooseHarmonicChannel();
		this.#predict();
		this.#flags = atCrossing ? WindowFlag.startsAtCrossing : 0;
		this.#closed = true;
	}

	/** Correlates the phase steps with the orders 2 to 40; folding leaves a quarter of the products. */
	#analyseHarmonics(): void {
		const bins = this.#bins;
		const folded = this.#folded;
		const half = HARMONIC_BINS / 2;
		const quarter = half / 2;
		const stride = quarter + 1;
		bins[0] = bins[0]! + bins[HARMONIC_BINS]!;
		for (let b = 0; b <= quarter; b++) {
			const mirror = half - b;
			const even = bins[b]! + bins[b + half]!;
			const odd = bins[b]! - bins[b + half]!;
			const alone = b === 0 || b === quarter;
			const evenMirror = alone ? 0 : bins[mirror]! + bins[mirror + half]!;
			const oddMirror = alone ? 0 : bins[mirror]! - bins[mirror + half]!;
			folded[b] = even + evenMirror;
			folded[stride + b] = even - evenMirror;
			folded[2 * stride + b] = odd - oddMirror;
			folded[3 * stride + b] = odd + oddMirror;
		}
		const highest = Math.min(HARMONIC_MAX, divide(1_932_735_283, this.#startIncrement));
		this.#cells[Cell.harmonicHighest] = highest;
		for (let h = 2; h <= highest; h++) {
			const from = (h & 1) * 2 * stride;
			let cosine = 0;
			let sine = 0;
			let index = 0;
			let sineIndex = HARMONIC_BINS - quarter;
			for (let b = 0; b <= quarter; b++) {
				cosine += folded[from + b]! * BIN_COSINE_Q15[index]!;
				sine += folded[from + stride + b]! * BIN_COSINE_Q15[sineIndex]!;
				index += h;
				if (index >= HARMONIC_BINS) index -= HARMONIC_BINS;
				sineIndex += h;
				if (sineIndex >= HARMONIC_BINS) sineIndex -= HARMONIC_BINS;
			}
			this.#cells[Cell.harmonic + 2 * (h - 2)] = cosine;
			this.#cells[Cell.harmonic + 2 * (h - 2) + 1] = sine;
		}
	}
}

/** The kernel for hosts without the C. */
export function createSampleKernel(layout: SampleLayout): SampleKernel {
	return new TypeScriptSampleKernel(layout);
}
