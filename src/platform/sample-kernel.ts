/** How one row of samples lies in memory: channels interleaved, two's complement, little-endian (as ADC DMA leaves it). */
export interface SampleLayout {
	/** Phases measured: 1 to 3. Channel order: U1 I1, U2 I2, U3 I3, then IN if `neutralCurrent`. */
	readonly phaseCount: 1 | 2 | 3;
	readonly neutralCurrent: boolean;
	/** Bytes of one sample: 2 (int16) or 3 (int24, packed). */
	readonly sampleBytes: 2 | 3;
	readonly samplesPerSecond: number;
}

/** Bytes of one row of all channels. */
export function rowBytes(layout: SampleLayout): number {
	return (layout.phaseCount * 2 + (layout.neutralCurrent ? 1 : 0)) * layout.sampleBytes;
}

/**
 * The per-sample loop. Two implementations give identical bits: C (`src/metrology/sample-kernel.c`, behind a host
 * call) and TypeScript (`src/metrology/sample-kernel.ts`, reference and fallback). See docs/DESIGN-METROLOGY.md.
 */
export interface SampleKernel {
	/**
	 * Sums rows until the block ends or a window closes.
	 * @param block the samples; not kept
	 * @param rowIndex first row to take
	 * @param rowCount rows in the block
	 * @param sums receives the raw sums of the closed window as float64 (layout: src/metrology/sample-kernel.ts)
	 * @returns rows taken; if `windowClosed()` is then true, `sums` is valid and the caller comes again with the rest
	 */
	process(block: Uint8Array, rowIndex: number, rowCount: number, sums: Uint8Array): number;
	windowClosed(): boolean;
	/** Writes the kernel's parameters (delays, mean tracking, harmonic channel) from this block; layout as above. */
	configure(parameters: Uint8Array): void;
	close(): void;
}
