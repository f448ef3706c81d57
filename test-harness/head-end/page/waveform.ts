/** Amplitude and angle of the fundamental. */
export interface Phasor {
	rms: number;
	/** Radians. */
	angle: number;
}

/** Where `values` first cross zero upwards, in rows with fractions; NaN when they do not. */
export function risingCrossing(values: readonly number[], from = 0): number {
	for (let row = from + 1; row < values.length; row++) {
		const before = values[row - 1]!;
		const after = values[row]!;
		if (before < 0 && after >= 0) return row - 1 + before / (before - after);
	}
	return Number.NaN;
}

/** The fundamental by a sum over as many whole cycles as there are rows for. @returns undefined for less than one cycle */
export function fundamental(values: readonly number[], rowsPerSecond: number, hertz: number): Phasor | undefined {
	const rowsPerCycle = rowsPerSecond / hertz;
	const cycles = Math.floor(values.length / rowsPerCycle);
	if (!(cycles >= 1)) return undefined;
	const rows = Math.round(cycles * rowsPerCycle);
	let real = 0;
	let imaginary = 0;
	for (let row = 0; row < rows; row++) {
		const turn = (2 * Math.PI * row) / rowsPerCycle;
		real += values[row]! * Math.cos(turn);
		imaginary -= values[row]! * Math.sin(turn);
	}
	return { rms: (Math.SQRT2 * Math.hypot(real, imaginary)) / rows, angle: Math.atan2(imaginary, real) };
}
