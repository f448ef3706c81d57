import { rowBytes, type SampleLayout } from "../../src/platform/sample-kernel.js";

/** Highest harmonic order that a spectrum holds: 39 is below half of 4 kHz at 50.9 Hz. */
export const HARMONICS_MAX = 39;

/**
 * A periodic quantity by harmonics, RMS, relative to the phase voltage's own zero crossing:
 * x(t) = sqrt(2) · Σ_h (sine[h]·sin(hωt) + cosine[h]·cos(hωt)). A current that lags by φ has sine I·cos φ, cosine -I·sin φ.
 * Index 0 is not used: blocks carry no DC.
 */
export interface Spectrum {
	readonly sine: Float64Array;
	readonly cosine: Float64Array;
}

export function createSpectrum(): Spectrum {
	return { sine: new Float64Array(HARMONICS_MAX + 1), cosine: new Float64Array(HARMONICS_MAX + 1) };
}

/** Sets harmonic `order` of `into` to `rms` with the phase angle `lagRadians`, counted in that harmonic's own turns. */
export function setHarmonic(into: Spectrum, order: number, rms: number, lagRadians: number): void {
	into.sine[order] = rms * Math.cos(lagRadians);
	into.cosine[order] = -rms * Math.sin(lagRadians);
}

/** into += scale · from */
export function addSpectrum(into: Spectrum, from: Spectrum, scale: number): void {
	for (let order = 1; order <= HARMONICS_MAX; order++) {
		into.sine[order]! += scale * from.sine[order]!;
		into.cosine[order]! += scale * from.cosine[order]!;
	}
}

/** Active power in W that current `i` takes from voltage `u`, both RMS spectra: Σ_h of the products (closed form). */
export function activePower(u: Spectrum, i: Spectrum): number {
	let watts = 0;
	for (let order = 1; order <= HARMONICS_MAX; order++)
		watts += u.sine[order]! * i.sine[order]! + u.cosine[order]! * i.cosine[order]!;
	return watts;
}

export interface PhaseShape {
	readonly voltage: Spectrum;
	readonly current: Spectrum;
	/** Position of the phase in the three-phase system, radians behind phase 1. */
	readonly lagRadians: number;
}

export interface BlockShape {
	readonly phases: readonly PhaseShape[];
	/** Rows of the block; with `cycleCount` it gives the frequency cycleCount · samplesPerSecond / rowCount. */
	readonly rowCount: number;
	readonly cycleCount: number;
}

/** Physical size of one code, as the settings tell the meter. */
export interface CodeScale {
	readonly voltageMicrovoltsPerCode: number;
	readonly currentMicroamperesPerCode: number;
}

/** Means over the netting windows of a block, W. */
export interface ReferencePower {
	/** Signed mean of each phase. */
	readonly phases: readonly number[];
	/** Import and export of each phase: windows of positive and of negative power apart. */
	readonly phaseImport: readonly number[];
	readonly phaseExport: readonly number[];
	/** The same of the sum of the phases, decided once a window (`vectorSum`). */
	readonly sumImport: number;
	readonly sumExport: number;
}

/**
 * One block of rows with a whole number of cycles. It starts at the rising zero crossing of phase 1, so it may be
 * repeated without a step, and blocks of one meter may follow each other.
 */
export interface WaveformBlock {
	readonly rows: Uint8Array;
	readonly rowCount: number;
	readonly cycleCount: number;
	readonly frequencyHertz: number;
	readonly reference: ReferencePower;
	/** RMS of the codes for each phase, V and A. */
	readonly voltages: readonly number[];
	readonly currents: readonly number[];
	/** Codes that did not fit and were limited; a plan that clips is wrong. */
	readonly clipped: number;
}

const NETTING_CYCLES = 10;

const sineTables = new Map<number, Float64Array>();

/** sin(2πk/count), with a quarter more than a turn, so that the cosine is read a quarter ahead when 4 divides `count`. */
function sineTable(count: number): Float64Array {
	let table = sineTables.get(count);
	if (table === undefined) {
		table = Float64Array.from({ length: 2 * count }, (_, k) =>
			k < count ? Math.sin((2 * Math.PI * k) / count) : Math.cos((2 * Math.PI * (k - count)) / count),
		);
		sineTables.set(count, table);
	}
	return table;
}

/** Adds one channel in physical units to `into`: the wave of `spectrum`, delayed by `lagRadians` of the fundamental. */
function addWave(into: Float64Array, spectrum: Spectrum, lagRadians: number, cycleCount: number, factor: number): void {
	const rowCount = into.length;
	const table = sineTable(rowCount);
	for (let order = 1; order <= HARMONICS_MAX; order++) {
		const sine = spectrum.sine[order]!;
		const cosine = spectrum.cosine[order]!;
		if (sine === 0 && cosine === 0) continue;
		// sin(hx - hα) and cos(hx - hα) written over sin(hx), cos(hx): the table then serves every phase
		const turn = order * lagRadians;
		const a = Math.SQRT2 * factor * (sine * Math.cos(turn) + cosine * Math.sin(turn));
		const b = Math.SQRT2 * factor * (cosine * Math.cos(turn) - sine * Math.sin(turn));
		const stride = (order * cycleCount) % rowCount;
		for (let row = 0, index = 0; row < rowCount; row++) {
			into[row]! += a * table[index]! + b * table[index + rowCount]!;
			index += stride;
			if (index >= rowCount) index -= rowCount;
		}
	}
}

/** Rounds to codes in place. @returns how many were limited */
function quantise(wave: Float64Array, codeMax: number): number {
	let clipped = 0;
	for (let row = 0; row < wave.length; row++) {
		let code = Math.round(wave[row]!);
		if (code > codeMax) {
			code = codeMax;
			clipped++;
		} else if (code < -codeMax - 1) {
			code = -codeMax - 1;
			clipped++;
		}
		wave[row] = code;
	}
	return clipped;
}

function rms(codes: Float64Array): number {
	let sum = 0;
	for (let row = 0; row < codes.length; row++) sum += codes[row]! * codes[row]!;
	return Math.sqrt(sum / codes.length);
}

/**
 * Makes the rows of a load state and its reference power. The reference is the double-precision mean of the products
 * of the quantised codes times their scale, for each netting window of 10 cycles (rowCount · 10 / cycleCount rows from
 * the start of the block, edges rounded); import is the mean of max(P, 0) over the windows, export of max(-P, 0). It
 * shares no code with src/metrology.
 */
export function synthesizeBlock(layout: SampleLayout, scale: CodeScale, shape: BlockShape): WaveformBlock {
	const { rowCount, cycleCount, phases } = shape;
	if (phases.length !== layout.phaseCount) throw new Error("a block needs a shape for each phase of the layout");
	if (cycleCount % NETTING_CYCLES !== 0) throw new Error(`cycleCount must be a multiple of ${NETTING_CYCLES}`);
	const codeMax = layout.sampleBytes === 2 ? 32_767 : 8_388_607;
	const voltsPerCode = scale.voltageMicrovoltsPerCode * 1e-6;
	const amperesPerCode = scale.currentMicroamperesPerCode * 1e-6;
	const channels: Float64Array[] = [];
	const neutral = new Float64Array(layout.neutralCurrent ? rowCount : 0);
	let clipped = 0;
	for (const { voltage, current, lagRadians } of phases) {
		const u = new Float64Array(rowCount);
		const i = new Float64Array(rowCount);
		addWave(u, voltage, lagRadians, cycleCount, 1 / voltsPerCode);
		addWave(i, current, lagRadians, cycleCount, 1 / amperesPerCode);
		if (layout.neutralCurrent) for (let row = 0; row < rowCount; row++) neutral[row]! += i[row]!;
		clipped += quantise(u, codeMax) + quantise(i, codeMax);
		channels.push(u, i);
	}
	if (layout.neutralCurrent) {
		clipped += quantise(neutral, codeMax);
		channels.push(neutral);
	}

	const windowCount = cycleCount / NETTING_CYCLES;
	const phaseSum = phases.map(() => 0);
	const phaseImport = phases.map(() => 0);
	const phaseExport = phases.map(() => 0);
	let sumImport = 0;
	let sumExport = 0;
	const wattsPerProduct = voltsPerCode * amperesPerCode;
	for (let window = 0; window < windowCount; window++) {
		const first = Math.round((window * rowCount) / windowCount);
		const end = Math.round(((window + 1) * rowCount) / windowCount);
		let total = 0;
		for (let phase = 0; phase < phases.length; phase++) {
			const u = channels[2 * phase]!;
			const i = channels[2 * phase + 1]!;
			let products = 0;
			for (let row = first; row < end; row++) products += u[row]! * i[row]!;
			const joulesPerSecondShare = (products * wattsPerProduct) / rowCount; // weight of the window in the block
			phaseSum[phase]! += joulesPerSecondShare;
			if (joulesPerSecondShare > 0) phaseImport[phase]! += joulesPerSecondShare;
			else phaseExport[phase]! -= joulesPerSecondShare;
			total += joulesPerSecondShare;
		}
		if (total > 0) sumImport += total;
		else sumExport -= total;
	}

	const rows = new Uint8Array(rowCount * rowBytes(layout));
	packRows(layout, channels, rows);
	return {
		rows,
		rowCount,
		cycleCount,
		frequencyHertz: (cycleCount * layout.samplesPerSecond) / rowCount,
		reference: { phases: phaseSum, phaseImport, phaseExport, sumImport, sumExport },
		voltages: phases.map((_, phase) => rms(channels[2 * phase]!) * voltsPerCode),
		currents: phases.map((_, phase) => rms(channels[2 * phase + 1]!) * amperesPerCode),
		clipped,
	};
}

/** Writes the channels interleaved, two's complement, little-endian (src/platform/sample-kernel.ts). */
function packRows(layout: SampleLayout, channels: readonly Float64Array[], into: Uint8Array): void {
	const rowCount = channels[0]!.length;
	if (layout.sampleBytes === 2) {
		const codes = new Int16Array(into.buffer, into.byteOffset, rowCount * channels.length);
		for (let channel = 0; channel < channels.length; channel++) {
			const wave = channels[channel]!;
			for (let row = 0, at = channel; row < rowCount; row++, at += channels.length) codes[at] = wave[row]!;
		}
		return;
	}
	for (let row = 0, at = 0; row < rowCount; row++) {
		for (const wave of channels) {
			const code = wave[row]!;
			into[at++] = code & 0xff;
			into[at++] = (code >> 8) & 0xff;
			into[at++] = (code >> 16) & 0xff;
		}
	}
}

/** Rows of a block of `cycleCount` cycles whose frequency is nearest to `hertz`. */
export function rowCountFor(hertz: number, cycleCount: number, samplesPerSecond: number): number {
	return Math.round((cycleCount * samplesPerSecond) / hertz);
}
