import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { InvariantError } from "../../../src/bytes/status.js";
import {
	Cell,
	KERNEL_PARAMETER_BYTES,
	KERNEL_SUMS_BYTES,
	TypeScriptSampleKernel,
	WindowFlag,
} from "../../../src/metrology/sample-kernel.js";
import { rowBytes, type SampleLayout } from "../../../src/platform/sample-kernel.js";
import { tool } from "../../tools.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const SOURCES = join(HERE, "..", "..", "..", "src", "metrology");
const seed = Number(process.env["SEED"] ?? 20_260_704);
console.log(`SEED=${seed}`);

/** Deterministic numbers for this test: mulberry32. */
function numbers(start: number): () => number {
	let state = start >>> 0;
	return () => {
		state = (state + 0x6d2b_79f5) >>> 0;
		let t = Math.imul(state ^ (state >>> 15), state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
	};
}

function parameterBlock(
	cycles: number,
	frequency: number,
	mode: number,
	presence: readonly number[],
	delay: readonly number[],
): Uint8Array {
	const bytes = new Uint8Array(KERNEL_PARAMETER_BYTES);
	const view = new DataView(bytes.buffer);
	view.setUint32(0, 1, true);
	view.setUint32(4, cycles, true);
	view.setUint32(8, frequency, true);
	view.setUint32(12, mode, true);
	for (let i = 0; i < 3; i++) {
		view.setInt32(16 + 4 * i, presence[i]!, true);
		view.setInt32(28 + 4 * i, delay[i]!, true);
	}
	return bytes;
}

/** Rows of a layout from codes given per row and channel. */
function encodeRows(layout: SampleLayout, rows: number, code: (row: number, channel: number) => number): Uint8Array {
	const bytes = new Uint8Array(rows * rowBytes(layout));
	const channels = rowBytes(layout) / layout.sampleBytes;
	const limit = layout.sampleBytes === 2 ? 0x7fff : 0x7f_ffff;
	for (let r = 0, at = 0; r < rows; r++)
		for (let c = 0; c < channels; c++) {
			const value = Math.max(-limit - 1, Math.min(limit, Math.round(code(r, c))));
			for (let b = 0; b < layout.sampleBytes; b++) bytes[at++] = (value >> (8 * b)) & 255;
		}
	return bytes;
}

/** Runs the same records through the twin; the answer has the form of the C driver's output. */
class TwinDriver {
	readonly #out: Uint8Array[] = [];
	readonly #records: Uint8Array[] = [];
	#kernel: TypeScriptSampleKernel | undefined;
	readonly #sums = new Uint8Array(KERNEL_SUMS_BYTES);
	windows = 0;
	rows = 0;

	#answer(value: number): void {
		this.#out.push(Uint8Array.from([value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24]));
	}

	init(layout: SampleLayout): void {
		const record = new Uint8Array(21);
		const view = new DataView(record.buffer);
		view.setUint32(1, layout.phaseCount, true);
		view.setUint32(5, layout.neutralCurrent ? 1 : 0, true);
		view.setUint32(9, layout.sampleBytes, true);
		view.setFloat64(13, layout.samplesPerSecond, true);
		this.#records.push(record);
		this.#kernel = new TypeScriptSampleKernel(layout);
		this.#answer(0);
	}

	configure(parameters: Uint8Array): void {
		this.#records.push(Uint8Array.of(1), parameters);
		this.#kernel!.configure(parameters);
		this.#answer(0);
	}

	process(block: Uint8Array, rows: number): void {
		const head = new Uint8Array(5);
		head[0] = 2;
		new DataView(head.buffer).setUint32(1, rows, true);
		this.#records.push(head, block);
		for (let row = 0; row < rows; ) {
			const taken = this.#kernel!.process(block, row, rows, this.#sums);
			assert.ok(taken > 0);
			row += taken;
			this.rows += taken;
			const closed = this.#kernel!.windowClosed();
			this.#answer(taken);
			this.#answer(closed ? 1 : 0);
			if (closed) {
				this.windows++;
				this.#out.push(this.#sums.slice());
			}
		}
	}

	input(): Buffer {
		return Buffer.concat(this.#records);
	}

	output(): Buffer {
		return Buffer.concat(this.#out);
	}
}

const compiler = tool("cc");
const folder = mkdtempSync(join(tmpdir(), "wattlock-kernel-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function compile(name: string, ...options: string[]): string {
	const program = join(folder, name);
	execFileSync(compiler.path, [
		...["-std=c11", "-Wall", "-Wextra", "-Werror", ...options, "-I", SOURCES],
		...[join(HERE, "sample-kernel-driver.c"), join(SOURCES, "sample-kernel.c"), "-o", program],
	]);
	return program;
}

function compare(program: string, twin: TwinDriver, what: string): void {
	const run = spawnSync(program, { input: twin.input(), maxBuffer: 1 << 30 });
	assert.equal(run.status, 0, `${what}: ${run.stderr.toString()}`);
	const expected = twin.output();
	if (run.stdout.equals(expected)) return;
	let at = 0;
	while (run.stdout[at] === expected[at]) at++;
	assert.fail(`${what}: C and TypeScript differ at byte ${at} of ${expected.length}`);
}

type Signal = (row: number, channel: number) => number;

/** One of many shapes: sines with harmonics and noise, full-scale noise, rails, silence, drop-outs, ramps. */
function signal(random: () => number, layout: SampleLayout): { name: string; code: Signal } {
	const full = layout.sampleBytes === 2 ? 0x7fff : 0x7f_ffff;
	const rate = layout.samplesPerSecond;
	const frequency = 38 + 37 * random();
	const ramp = (random() - 0.5) * 4;
	const level = full * 10 ** (-3 * random());
	const harmonic = Math.floor(2 + 39 * random());
	const share = random() < 0.5 ? 0 : 0.5 * random();
	const noise = random() < 0.5 ? 0 : level * 0.1 * random();
	const dc = random() < 0.5 ? 0 : (random() - 0.5) * level;
	const dead = Math.floor(random() * 4);
	const shape = Math.floor(random() * 8);
	const angle = random() * 6;
	const sine: Signal = (row, channel) => {
		const t = row / rate;
		const phase =
			2 * Math.PI * (frequency + (ramp * t) / 2) * t - (2 * Math.PI * (channel >> 1)) / 3 + angle * (channel & 1);
		return level * (Math.sin(phase) + share * Math.sin(harmonic * phase + angle)) + dc + noise * (random() - 0.5);
	};
	if (shape === 0) return { name: "noise", code: () => (random() * 2 - 1) * full };
	if (shape === 1) return { name: "rails", code: () => (random() < 0.5 ? -full - 1 : full) };
	if (shape === 2) return { name: "lowest code", code: () => -full - 1 };
	if (shape === 3) {
		const period = 0.05 + random();
		return {
			name: "drop-outs",
			code: (row, channel) =>
				(row / rate) % period < period / 2 && (channel >> 1) % 3 !== dead ? 0 : sine(row, channel),
		};
	}
	if (shape === 4)
		return { name: "dead phase", code: (row, channel) => (channel === 2 * dead ? 0 : sine(row, channel)) };
	return { name: "sine", code: sine };
}

test("C and TypeScript give the same bits for random and adversarial blocks", { skip: compiler.skip }, () => {
	const program = compile("kernel-o2", "-O2");
	const random = numbers(seed);
	let windows = 0;
	let blocks = 0;
	for (let round = 0; round < 160; round++) {
		const layout: SampleLayout = {
			phaseCount: (1 + Math.floor(random() * 3)) as 1 | 2 | 3,
			neutralCurrent: random() < 0.5,
			sampleBytes: random() < 0.5 ? 2 : 3,
			samplesPerSecond: [500, 600, 1000, 1200, 3999.5, 4000, 8000, 8001, 30_000, 40_000][Math.floor(random() * 10)]!,
		};
		const twin = new TwinDriver();
		twin.init(layout);
		const presence = () => 1 + Math.floor(random() ** 4 * (layout.sampleBytes === 2 ? 20_000 : 5_000_000));
		const delay = () => (random() < 0.4 ? 0 : Math.round((random() * 2 - 1) * 4 * 65_536));
		const configure = () =>
			twin.configure(
				parameterBlock(
					random() < 0.8 ? (random() < 0.5 ? 10 : 12) : 2 + Math.floor(random() * 11),
					[50_000, 60_000, 40_000, 70_000][Math.floor(random() * 4)]!,
					random() < 0.6 ? 0 : random() < 0.5 ? 255 : 1 + Math.floor(random() * 7),
					[presence(), presence(), presence()],
					[delay(), delay(), delay()],
				),
			);
		if (random() < 0.7) configure();
		let row = 0;
		for (let part = 0; part < 3; part++) {
			const shape = signal(random, layout);
			const until =
				row + Math.floor(layout.samplesPerSecond * (0.05 + random() * (layout.samplesPerSecond > 9000 ? 0.3 : 1)));
			while (row < until) {
				const rows = Math.min(until - row, 1 + Math.floor(random() ** 3 * 700));
				const start = row;
				twin.process(
					encodeRows(layout, rows, (r, c) => shape.code(start + r, c)),
					rows,
				);
				row += rows;
				blocks++;
			}
			if (random() < 0.3) configure();
		}
		compare(program, twin, `seed ${seed}, round ${round}, ${JSON.stringify(layout)}`);
		windows += twin.windows;
	}
	console.log(`${blocks} blocks, ${windows} windows`);
	assert.ok(blocks > 5000 && windows > 500);
});

test("C gives the same bits without optimisation and under the sanitizers", { skip: compiler.skip }, (t) => {
	const random = numbers(seed + 1);
	const layout: SampleLayout = { phaseCount: 3, neutralCurrent: true, sampleBytes: 3, samplesPerSecond: 8000 };
	const twin = new TwinDriver();
	twin.init(layout);
	twin.configure(parameterBlock(10, 50_000, 0, [1000, 1000, 1000], [30_000, -200_000, 262_144]));
	for (let i = 0; i < 8; i++) {
		const shape = signal(random, layout);
		twin.process(encodeRows(layout, 2500, shape.code), 2500);
	}
	compare(compile("kernel-o0", "-O0"), twin, "-O0");
	compare(compile("kernel-o3", "-O3"), twin, "-O3");
	let program = "";
	try {
		program = compile("kernel-san", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all");
	} catch {
		t.diagnostic("no sanitizer run-time on this machine");
		return;
	}
	compare(program, twin, "sanitizers");
});

test("results do not depend on where blocks are cut", () => {
	const random = numbers(seed + 2);
	const layout: SampleLayout = { phaseCount: 2, neutralCurrent: true, sampleBytes: 2, samplesPerSecond: 4000 };
	const block = encodeRows(layout, 9000, (r, c) => {
		const level = c === 0 && r > 3000 && r < 6000 ? 0 : 9000;
		return level * Math.sin((2 * Math.PI * 50.37 * r) / 4000 - c) + 200 * random();
	});
	const run = (cut: () => number): string[] => {
		const kernel = new TypeScriptSampleKernel(layout);
		kernel.configure(parameterBlock(10, 50_000, 0, [500, 500, 500], [12_345, -70_000, 0]));
		const sums = new Uint8Array(KERNEL_SUMS_BYTES);
		const windows: string[] = [];
		for (let row = 0; row < 9000; ) {
			const until = Math.min(9000, row + cut());
			while (row < until) {
				row += kernel.process(block, row, until, sums);
				if (kernel.windowClosed()) windows.push(Buffer.from(sums).toString("hex"));
			}
		}
		return windows;
	};
	const whole = run(() => 9000);
	assert.ok(whole.length > 8);
	assert.deepEqual(
		run(() => 1),
		whole,
	);
	assert.deepEqual(
		run(() => 1 + Math.floor(random() * 90)),
		whole,
	);
});

test("the windows' sums are the sums over all samples: none lost, none twice", () => {
	const layout: SampleLayout = { phaseCount: 1, neutralCurrent: false, sampleBytes: 3, samplesPerSecond: 2000 };
	const random = numbers(seed + 3);
	const kernel = new TypeScriptSampleKernel(layout);
	kernel.configure(parameterBlock(10, 50_000, 0, [5000, 5000, 5000], [40_000, 0, 0]));
	const sums = new Uint8Array(KERNEL_SUMS_BYTES);
	const cells = new Float64Array(sums.buffer);
	const codes: number[][] = [];
	const rows = 30_000;
	const block = encodeRows(layout, rows, (r, c) => {
		const quiet = r % 7000 > 5000;
		const code = Math.round(
			(quiet ? 3 : 8_000_000) * Math.sin((2 * Math.PI * 49.3 * r) / 2000 - c) + 300_000 * random(),
		);
		(codes[r] ??= [])[c] = code;
		return code;
	});
	let taken = 0;
	let power = 0n;
	let lagged = 0n;
	let square = 0;
	let counted = 0;
	for (let row = 0; row < rows; ) {
		row += kernel.process(block, row, Math.min(rows, row + 333), sums);
		if (!kernel.windowClosed()) continue;
		assert.equal(cells[Cell.windowCount], counted++);
		taken += cells[Cell.rows]!;
		power += (BigInt(cells[Cell.phase]!) << 32n) + BigInt(cells[Cell.phase + 1]!);
		lagged += (BigInt(cells[Cell.phase + 4]!) << 32n) + BigInt(cells[Cell.phase + 5]!);
		square += cells[Cell.channel + Cell.square]!;
		assert.equal(taken, row);
	}
	let expected = 0n;
	let expectedLagged = 0n;
	let expectedSquare = 0;
	for (let r = 0; r < taken; r++) {
		expected += BigInt(codes[r]![0]!) * BigInt(codes[r]![1]!);
		if (r > 0) expectedLagged += BigInt(codes[r]![0]!) * BigInt(codes[r - 1]![1]!);
		expectedSquare += codes[r]![0]! ** 2;
	}
	assert.equal(power, expected);
	assert.equal(lagged, expectedLagged);
	assert.ok(Math.abs(square / expectedSquare - 1) < 1e-12);
	assert.ok(counted > 60);
});

test("windows are whole cycles from crossing to crossing, 45 to 65 Hz", () => {
	for (const [frequency, nominal, cycles] of [
		[45, 50_000, 10],
		[50.37, 50_000, 10],
		[65, 60_000, 12],
		[57, 60_000, 12],
	] as const) {
		const layout: SampleLayout = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 8001 };
		const kernel = new TypeScriptSampleKernel(layout);
		kernel.configure(parameterBlock(cycles, nominal, 0, [500, 500, 500], [0, 0, 0]));
		const sums = new Uint8Array(KERNEL_SUMS_BYTES);
		const cells = new Float64Array(sums.buffer);
		const block = encodeRows(layout, 16_000, (r) => 20_000 * Math.sin((2 * Math.PI * frequency * r) / 8001 + 1));
		let good = 0;
		for (let row = 0; row < 16_000; ) {
			row += kernel.process(block, row, 16_000, sums);
			if (!kernel.windowClosed() || (cells[Cell.flags]! & WindowFlag.synchronous) === 0) continue;
			good++;
			const span = cells[Cell.rows]! + (cells[Cell.startLagQ16]! - cells[Cell.endLagQ16]!) / 65_536;
			assert.equal(cells[Cell.cycles], cycles);
			if (good > 1)
				assert.ok(Math.abs((cycles * 8001) / span - frequency) < 0.001, `${frequency}: ${(cycles * 8001) / span}`);
		}
		assert.ok(good >= 7, `${frequency} Hz: ${good} windows`);
	}
});

test("without voltage windows run on, and another phase takes over as reference", () => {
	const layout: SampleLayout = { phaseCount: 3, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 };
	const kernel = new TypeScriptSampleKernel(layout);
	kernel.configure(parameterBlock(10, 50_000, 255, [500, 500, 500], [0, 0, 0]));
	const sums = new Uint8Array(KERNEL_SUMS_BYTES);
	const cells = new Float64Array(sums.buffer);
	// 2 s all phases, 2 s without L1, 2 s without all, 2 s with L3 only
	const present = (second: number, phase: number) =>
		second < 2 || (second < 4 && phase > 0) || (second >= 6 && phase === 2);
	const rows = 32_000;
	const block = encodeRows(layout, rows, (r, c) =>
		present(r / 4000, c >> 1) ? 9000 * Math.sin((2 * Math.PI * 50 * r) / 4000 - ((c >> 1) * 2 * Math.PI) / 3) : 0,
	);
	const seen: string[] = [];
	let total = 0;
	for (let row = 0; row < rows; ) {
		row += kernel.process(block, row, rows, sums);
		if (!kernel.windowClosed()) continue;
		total += cells[Cell.rows]!;
		assert.equal(total, row);
		assert.ok(cells[Cell.rows]! <= 1200);
		seen.push(`${cells[Cell.reference]}${(cells[Cell.flags]! & WindowFlag.synchronous) !== 0 ? "s" : "f"}`);
	}
	const runs = seen.filter((value, i) => i === 0 || seen[i - 1] !== value);
	assert.deepEqual(runs, ["0f", "0s", "1f", "1s", "1f", "2f", "2s"], seen.join(" "));
});

test("parameters outside their range are refused, and new ones wait for the window's end", () => {
	const layout: SampleLayout = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 1000 };
	const kernel = new TypeScriptSampleKernel(layout);
	const good = () => parameterBlock(10, 50_000, 0, [500, 500, 500], [0, 0, 0]);
	for (const [offset, value] of [
		[0, 2],
		[4, 1],
		[4, 13],
		[8, 39_999],
		[8, 70_001],
		[12, 8],
		[16, 0],
		[20, 0x80_0000],
		[28, 4 * 65_536 + 1],
		[36, -4 * 65_536 - 1],
		[40, 1],
	] as const) {
		const bytes = good();
		new DataView(bytes.buffer).setInt32(offset, value, true);
		assert.throws(() => kernel.configure(bytes), InvariantError, `offset ${offset} = ${value}`);
	}
	assert.throws(() => kernel.configure(good().subarray(1)), InvariantError);
	const sums = new Uint8Array(KERNEL_SUMS_BYTES);
	const cells = new Float64Array(sums.buffer);
	const block = encodeRows(layout, 1000, () => 0);
	assert.equal(kernel.process(block, 0, 1000, sums.subarray(1)), 0, "sums too short: no row is taken");
	assert.equal(kernel.process(block, 0, 50, sums), 50);
	kernel.configure(parameterBlock(5, 50_000, 0, [500, 500, 500], [0, 0, 0]));
	kernel.process(block, 50, 1000, sums);
	assert.equal(cells[Cell.rows], 200);
	kernel.process(block, 200, 1000, sums);
	assert.equal(cells[Cell.rows], 100);
});
