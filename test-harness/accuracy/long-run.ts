import { Metrology } from "../../src/metrology/metrology.js";
import { EnergyRegisters, Netting, Register } from "../../src/metrology/registers.js";
import { createSampleKernel } from "../../src/metrology/sample-kernel.js";
import { rowBytes, type SampleLayout } from "../../src/platform/sample-kernel.js";
import { VirtualFrontEnd } from "./front-end.js";
import type { Stimulus } from "./generator.js";
import { configurationFor, DIRECT, FULL_SCALE_VOLTS } from "./measure.js";
import type { AccuracyRow } from "./suite.js";

const LAYOUT: SampleLayout = { phaseCount: 3, neutralCurrent: false, sampleBytes: 3, samplesPerSecond: 2003 };
const BLOCK_ROWS = 256;

/**
 * Drift over 10^6 s. The fast path: the energies of all windows of a shorter run (real samples through the whole path)
 * are given to the registers again and again until 10^6 s are full. That is honest because nothing else in the meter has
 * a memory longer than a window: the kernel keeps a phase and filter states, the windows a fraction below 1 mW·ms. What
 * could drift is the registers, and they get every one of the five million windows. The other side is a BigInt sum.
 */
export function longRun(options: {
	seed: number;
	seconds: number;
	measuredSeconds: number;
	quick: boolean;
}): AccuracyRow[] {
	const loads: readonly { name: string; amperes: number; phi: number; unbalance?: readonly number[] }[] = [
		{ name: "20 mA, PF 1", amperes: 0.02, phi: 0 },
		{ name: "5 A, PF 0.5 ind", amperes: 5, phi: Math.acos(0.5) },
		{ name: "60 A, PF 0.8 cap, export", amperes: 60, phi: Math.PI - Math.acos(0.8) },
	];
	return (options.quick ? loads.slice(1, 2) : loads).map((load) => one(load, options));
}

function one(
	load: { name: string; amperes: number; phi: number },
	options: { seed: number; seconds: number; measuredSeconds: number },
): AccuracyRow {
	const frontEnd = new VirtualFrontEnd({
		layout: LAYOUT,
		fullScaleVolts: FULL_SCALE_VOLTS,
		fullScaleAmperes: DIRECT.fullScaleAmperes,
		seed: options.seed,
	});
	const metrology = new Metrology(createSampleKernel(LAYOUT), configurationFor(DIRECT, frontEnd));
	const stimulus: Stimulus = {
		frequency: 50.37,
		start: 0,
		phases: [0, 1, 2].map((p) => ({
			voltage: 230,
			voltageAngle: (p * 2 * Math.PI) / 3,
			current: load.amperes,
			phi: load.phi,
		})),
	};
	const windows: Float64Array[] = [];
	metrology.listener = {
		windowClosed: () => windows.push(metrology.energies.slice()),
		secondClosed: () => {},
	};
	const block = new Uint8Array(BLOCK_ROWS * rowBytes(LAYOUT));
	while (metrology.rows < options.measuredSeconds * LAYOUT.samplesPerSecond) {
		frontEnd.read(stimulus, block, BLOCK_ROWS);
		metrology.feed(block, BLOCK_ROWS);
	}
	const repeats = Math.ceil((options.seconds * LAYOUT.samplesPerSecond) / metrology.rows);
	const registers = new EnergyRegisters(Netting.vectorSum, 1000);
	let dropped = 0;
	let single = 10_000;
	let exactOnce = 0n;
	for (const energies of windows) exactOnce += BigInt(energies[0]!) + BigInt(energies[1]!) + BigInt(energies[2]!);
	const exported = exactOnce < 0n;
	for (let n = 0; n < repeats; n++)
		for (const energies of windows) {
			registers.add(energies, 3);
			const total = Math.abs(energies[0]! + energies[1]! + energies[2]!);
			dropped += Math.floor(total / 3_600_000);
			single = Math.fround(single + total / 3.6e12);
		}
	const exact = (exported ? -exactOnce : exactOnce) * BigInt(repeats);
	const register = exported ? Register.activeExport : Register.activeImport;
	const other = exported ? Register.activeImport : Register.activeExport;
	const whole = BigInt(registers.value(Netting.vectorSum, register));
	const remainder = registers.remainder(Netting.vectorSum, register);
	const error =
		Number(whole * 3_600_000n + BigInt(remainder) - exact) / 3.6e6 + registers.value(Netting.vectorSum, other);
	const droppedError = dropped - Number(exact) / 3.6e6;
	const singleError = (single - 10_000) * 1e6 - Number(exact) / 3.6e6;
	const red = Math.abs(droppedError) > 1 && Math.abs(singleError) > 1;
	return {
		id: "long-run",
		table: "rules",
		accuracyClass: "all",
		test: `register with its remainder against the exact sum after ${options.seconds.toLocaleString("en")} s (${(repeats * windows.length).toLocaleString("en")} windows)`,
		mark: "D",
		stimulus: load.name,
		truth: `${(Number(exact) / 3.6e6).toFixed(3)} mWh`,
		reading: `${whole} mWh and ${remainder} mW·ms`,
		error,
		limit: 1,
		budget: 1,
		unit: "mWh",
		margin: 1 - Math.abs(error),
		points: 1,
		passed: Math.abs(error) < 1 && red,
		fault: red ? "dropped remainder" : "none",
	};
}
