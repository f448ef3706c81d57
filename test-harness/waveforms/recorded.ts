import type { SampleLayout } from "../../src/platform/sample-kernel.js";
import { readSharedFile, sharedData } from "../vectors/shared-data.js";
import { type BlockShape, createSpectrum, HARMONICS_MAX, type Spectrum } from "./block.js";
import { Grid, type GridOptions, type LoadSource, liftFromCreep } from "./household.js";
import type { Random } from "./random.js";

/** One recorded mains cycle by its harmonics: voltage near 120 V, current of one appliance. */
export interface RecordedCycle {
	readonly appliance: string;
	readonly index: number;
	readonly voltage: Spectrum;
	readonly current: Spectrum;
}

/** One minute of a recorded household. */
export interface RecordedMinute {
	readonly watts: number;
	readonly vars: number;
	readonly volts: number;
}

/** Harmonics 1 to 39 of one cycle of samples, RMS; the mean is left out on purpose (blocks carry no DC). */
function harmonicsOf(samples: Float64Array): Spectrum {
	const spectrum = createSpectrum();
	const count = samples.length;
	for (let order = 1; order <= HARMONICS_MAX; order++) {
		let sine = 0;
		let cosine = 0;
		for (let k = 0; k < count; k++) {
			const angle = (2 * Math.PI * ((order * k) % count)) / count;
			sine += samples[k]! * Math.sin(angle);
			cosine += samples[k]! * Math.cos(angle);
		}
		spectrum.sine[order] = (Math.SQRT2 * sine) / count;
		spectrum.cosine[order] = (Math.SQRT2 * cosine) / count;
	}
	return spectrum;
}

/** Turns a cycle so that the fundamental of its voltage rises through zero at the start. */
function align(voltage: Spectrum, current: Spectrum): void {
	const lag = Math.atan2(-voltage.cosine[1]!, voltage.sine[1]!);
	for (const spectrum of [voltage, current])
		for (let order = 1; order <= HARMONICS_MAX; order++) {
			const sine = spectrum.sine[order]!;
			const cosine = spectrum.cosine[order]!;
			const turn = order * lag;
			spectrum.sine[order] = sine * Math.cos(turn) - cosine * Math.sin(turn);
			spectrum.cosine[order] = cosine * Math.cos(turn) + sine * Math.sin(turn);
		}
}

/** The PLAID cycles of the shared data with more than 25 W, or none when the data are not there. */
export function loadRecordedCycles(): RecordedCycle[] {
	const place = sharedData("waveforms-plaid");
	if (place.skip !== false) return [];
	const cycles: RecordedCycle[] = [];
	const lines = readSharedFile("waveforms-plaid", "plaid_cycles.csv").toString("utf8").trimEnd().split("\n");
	for (const line of lines.slice(1)) {
		const cells = line.split(",");
		const samples = Float64Array.from(cells.slice(4), Number);
		const voltage = harmonicsOf(samples.subarray(0, 500));
		const current = harmonicsOf(samples.subarray(500, 1000));
		align(voltage, current);
		let watts = 0;
		for (let order = 1; order <= HARMONICS_MAX; order++)
			watts += voltage.sine[order]! * current.sine[order]! + voltage.cosine[order]! * current.cosine[order]!;
		if (watts > 25) cycles.push({ appliance: cells[2]!, index: Number(cells[0]), voltage, current });
	}
	return cycles;
}

/** The recorded minutes of the shared data, or none when the data are not there. */
export function loadRecordedMinutes(): RecordedMinute[] {
	const place = sharedData("consumption-uci");
	if (place.skip !== false) return [];
	const text = readSharedFile("consumption-uci", "household_2006-12-16_to_2006-12-20.txt").toString("utf8");
	const minutes: RecordedMinute[] = [];
	for (const line of text.trimEnd().split("\n").slice(1)) {
		const cells = line.split(";");
		const minute = { watts: 1000 * Number(cells[2]), vars: 1000 * Number(cells[3]), volts: Number(cells[4]) };
		if (Number.isFinite(minute.watts) && Number.isFinite(minute.vars) && Number.isFinite(minute.volts))
			minutes.push(minute);
	}
	return minutes;
}

function scaled(spectrum: Spectrum, factor: number): Spectrum {
	return { sine: spectrum.sine.map((x) => x * factor), cosine: spectrum.cosine.map((x) => x * factor) };
}

/** Recorded appliance cycles, voltage scaled from 120 V to the nominal one ("scaled": power scales with it). */
export class RecordedAppliances implements LoadSource {
	readonly description = "recorded appliances (PLAID, scaled)";
	readonly #random: Random;
	readonly #layout: SampleLayout;
	readonly #grid: Grid;
	readonly #volts: number;
	readonly #cycles: readonly RecordedCycle[];
	#next = 0;

	constructor(random: Random, layout: SampleLayout, grid: GridOptions, cycles: readonly RecordedCycle[]) {
		this.#random = random;
		this.#layout = layout;
		this.#grid = new Grid(random.child("grid"), layout.phaseCount, grid);
		this.#volts = grid.nominalVolts;
		this.#cycles = cycles;
	}

	shapeAt(seconds: number): BlockShape {
		this.#next = seconds + this.#random.between(40, 150);
		this.#grid.change();
		const voltages: Spectrum[] = [];
		const currents: Spectrum[] = [];
		for (let phase = 0; phase < this.#layout.phaseCount; phase++) {
			const cycle = this.#random.pick(this.#cycles);
			voltages.push(scaled(cycle.voltage, this.#volts / 120));
			currents.push(scaled(cycle.current, 1));
		}
		liftFromCreep(voltages, currents);
		return this.#grid.shape(voltages, currents, this.#layout.samplesPerSecond);
	}

	nextChangeSeconds(): number {
		return this.#next;
	}
}

/** Recorded minutes of a household as load: P, Q and U of each minute on phase 1, a third shared out on three phases. */
export class RecordedHousehold implements LoadSource {
	readonly description = "recorded household (UCI minutes)";
	readonly #layout: SampleLayout;
	readonly #grid: Grid;
	readonly #minutes: readonly RecordedMinute[];
	readonly #first: number;
	#next = 0;

	constructor(random: Random, layout: SampleLayout, grid: GridOptions, minutes: readonly RecordedMinute[]) {
		this.#layout = layout;
		this.#grid = new Grid(random.child("grid"), layout.phaseCount, grid);
		this.#minutes = minutes;
		this.#first = random.integer(0, minutes.length - 1);
	}

	shapeAt(seconds: number): BlockShape {
		const index = Math.floor(seconds / 60);
		this.#next = (index + 1) * 60;
		const minute = this.#minutes[(this.#first + index) % this.#minutes.length]!;
		const count = this.#layout.phaseCount;
		const voltages: Spectrum[] = [];
		const currents: Spectrum[] = [];
		for (let phase = 0; phase < count; phase++) {
			const grid = this.#grid.voltage(phase);
			const voltage = scaled(grid, minute.volts / grid.sine[1]!);
			const share = count === 1 ? 1 : [0.5, 0.3, 0.2][phase]!;
			const current = createSpectrum();
			current.sine[1] = (share * minute.watts) / minute.volts;
			current.cosine[1] = (-share * minute.vars) / minute.volts;
			voltages.push(voltage);
			currents.push(current);
		}
		liftFromCreep(voltages, currents);
		return this.#grid.shape(voltages, currents, this.#layout.samplesPerSecond);
	}

	nextChangeSeconds(): number {
		return this.#next;
	}
}
