import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Metrology } from "../../src/metrology/metrology.js";
import { createSampleKernel, KERNEL_SUMS_BYTES } from "../../src/metrology/sample-kernel.js";
import { rowBytes, type SampleLayout } from "../../src/platform/sample-kernel.js";
import type { Measurement } from "../commands/bench.js";
import { ROOT } from "../root.js";
import { tool } from "../tools.js";

/** Processor time, not time on the wall: other work on the machine disturbs it less. */
export interface KernelFigure {
	readonly implementation: "C" | "TypeScript on Node" | "Metrology.feed on Node";
	readonly channels: number;
	readonly sampleBytes: 2 | 3;
	readonly samplesPerSecond: number;
	readonly nanosecondsPerRow: number;
}

export const BENCH_LAYOUTS: readonly SampleLayout[] = [
	{ phaseCount: 3, neutralCurrent: true, sampleBytes: 2, samplesPerSecond: 8000 },
	{ phaseCount: 3, neutralCurrent: true, sampleBytes: 3, samplesPerSecond: 8000 },
	{ phaseCount: 3, neutralCurrent: true, sampleBytes: 2, samplesPerSecond: 4000 },
	{ phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 },
];

/** One second of a three-phase wave at 50 Hz, a whole number of cycles: it can be repeated. */
export function benchSecond(layout: SampleLayout): Uint8Array {
	const channels = rowBytes(layout) / layout.sampleBytes;
	const bytes = new Uint8Array(layout.samplesPerSecond * rowBytes(layout));
	const level = layout.sampleBytes === 2 ? 20_000 : 5_000_000;
	let at = 0;
	for (let r = 0; r < layout.samplesPerSecond; r++)
		for (let c = 0; c < channels; c++) {
			const turn = (2 * Math.PI * 50 * r) / layout.samplesPerSecond - (2 * Math.PI * (c >> 1)) / 3;
			const code = Math.round(level * (Math.sin(turn - 0.5 * (c & 1)) + 0.05 * Math.sin(5 * turn)));
			for (let b = 0; b < layout.sampleBytes; b++) bytes[at++] = code >> (8 * b);
		}
	return bytes;
}

function figure(
	implementation: KernelFigure["implementation"],
	layout: SampleLayout,
	nanosecondsPerRow: number,
): KernelFigure {
	return {
		implementation,
		channels: rowBytes(layout) / layout.sampleBytes,
		sampleBytes: layout.sampleBytes,
		samplesPerSecond: layout.samplesPerSecond,
		nanosecondsPerRow,
	};
}

/** The twin on Node: best of `rounds`, each `seconds` of signal. */
export function benchTypeScriptKernel(layout: SampleLayout, seconds = 20, rounds = 5): KernelFigure {
	const block = benchSecond(layout);
	const kernel = createSampleKernel(layout);
	const sums = new Uint8Array(KERNEL_SUMS_BYTES);
	const rows = layout.samplesPerSecond;
	let best = Number.POSITIVE_INFINITY;
	for (let round = 0; round < rounds; round++) {
		const start = process.cpuUsage();
		for (let s = 0; s < seconds; s++) for (let row = 0; row < rows; ) row += kernel.process(block, row, rows, sums);
		best = Math.min(best, (process.cpuUsage(start).user * 1000) / (seconds * rows));
	}
	return figure("TypeScript on Node", layout, best);
}

/** Kernel, windows and registers on Node. */
export function benchMetrology(layout: SampleLayout, seconds = 20, rounds = 5): KernelFigure {
	const block = benchSecond(layout);
	const full = layout.sampleBytes === 2 ? 0x8000 : 0x80_0000;
	const metrology = new Metrology(createSampleKernel(layout), {
		layout,
		nominalVoltageMillivolts: 230_000,
		nominalFrequencyMillihertz: 50_000,
		baseCurrentMilliamperes: 5000,
		maximumCurrentMilliamperes: 60_000,
		voltageMillivoltsPerCode: { numerator: 450_000, denominator: full },
		currentMilliamperesPerCode: { numerator: 110_000, denominator: full },
		removeMean: false,
		nettingMode: "vectorSum",
		pulsesPerKilowattHour: 1000,
	});
	let best = Number.POSITIVE_INFINITY;
	for (let round = 0; round < rounds; round++) {
		const start = process.cpuUsage();
		for (let s = 0; s < seconds; s++) metrology.feed(block, layout.samplesPerSecond);
		best = Math.min(best, (process.cpuUsage(start).user * 1000) / (seconds * layout.samplesPerSecond));
	}
	return figure("Metrology.feed on Node", layout, best);
}

const PROGRAM = `
#define _POSIX_C_SOURCE 199309L
#include "sample-kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int argc, char **argv)
{
	const uint32_t phases = (uint32_t)atoi(argv[1]), neutral = (uint32_t)atoi(argv[2]), bytes = (uint32_t)atoi(argv[3]);
	const uint32_t rate = (uint32_t)atoi(argv[4]), seconds = (uint32_t)atoi(argv[5]), rounds = (uint32_t)atoi(argv[6]);
	const size_t length = (size_t)rate * (phases * 2 + neutral) * bytes;
	static uint8_t sums[WATTLOCK_KERNEL_SUMS_BYTES];
	uint8_t *block = malloc(length);
	wattlock_kernel *kernel = malloc(wattlock_kernel_bytes());
	double best = 1e9;
	FILE *file = fopen(argv[7], "rb");
	if (argc < 8 || !file || fread(block, length, 1, file) != 1)
		return 1;
	if (wattlock_kernel_init(kernel, phases, neutral, bytes, rate) != 0)
		return 2;
	for (uint32_t round = 0; round < rounds; round++) {
		struct timespec from, to;
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		for (uint32_t s = 0; s < seconds; s++)
			for (uint32_t row = 0; row < rate;)
				row += wattlock_kernel_process(kernel, block, row, rate, sums, sizeof sums);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
		const double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
		if (ns / ((double)seconds * rate) < best)
			best = ns / ((double)seconds * rate);
	}
	printf("%.3f\\n", best);
	return 0;
}
`;

/** The C kernel, compiled with -O2: best of `rounds`. @returns undefined without a C compiler */
export function benchCKernel(layout: SampleLayout, seconds = 200, rounds = 7): KernelFigure | undefined {
	const compiler = tool("cc");
	if (compiler.skip !== false) return undefined;
	const folder = mkdtempSync(join(tmpdir(), "wattlock-bench-"));
	try {
		const sources = join(ROOT, "src", "metrology");
		const data = join(folder, "second.bin");
		const source = join(folder, "bench.c");
		const program = join(folder, "bench");
		writeFileSync(data, benchSecond(layout));
		writeFileSync(source, PROGRAM);
		execFileSync(compiler.path, [
			"-std=c11",
			"-O2",
			"-I",
			sources,
			source,
			join(sources, "sample-kernel.c"),
			"-o",
			program,
		]);
		const { phaseCount, neutralCurrent, sampleBytes, samplesPerSecond } = layout;
		const options = [phaseCount, neutralCurrent ? 1 : 0, sampleBytes, samplesPerSecond, seconds, rounds].map(String);
		return figure("C", layout, Number(execFileSync(program, [...options, data]).toString()));
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

/** All figures of the metrology. Reports only; nothing here is a test. */
export function benchMetrologyAll(): KernelFigure[] {
	const figures: KernelFigure[] = [];
	for (const layout of BENCH_LAYOUTS) {
		const c = benchCKernel(layout);
		if (c) figures.push(c);
		figures.push(benchTypeScriptKernel(layout), benchMetrology(layout));
	}
	return figures;
}

/** For `wattlock bench metrology`. */
export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	const found: Measurement[] = [];
	for (const layout of BENCH_LAYOUTS) {
		const channels = rowBytes(layout) / layout.sampleBytes;
		const name = `${channels} channels, int${8 * layout.sampleBytes}, ${layout.samplesPerSecond} rows/s`;
		onProgress(name);
		const c = benchCKernel(layout);
		for (const figure of [c, benchTypeScriptKernel(layout), benchMetrology(layout)])
			if (figure)
				found.push({
					name: `${figure.implementation}: ${name}`,
					value: figure.nanosecondsPerRow / channels,
					unit: "ns/sample",
				});
	}
	return found;
}
