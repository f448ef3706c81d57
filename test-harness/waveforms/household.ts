import type { SampleLayout } from "../../src/platform/sample-kernel.js";
import {
	activePower,
	addSpectrum,
	type BlockShape,
	createSpectrum,
	type PhaseShape,
	rowCountFor,
	type Spectrum,
	setHarmonic,
} from "./block.js";
import type { Random } from "./random.js";

/** A load over time: states that hold until the next change. Times are seconds since the start of the world and never go back. */
export interface LoadSource {
	readonly description: string;
	/** The state in force at `seconds`. */
	shapeAt(seconds: number): BlockShape;
	/** When the state changes next, after the last `shapeAt`; Infinity: never. */
	nextChangeSeconds(): number;
}

/** Below this a phase is either switched off or topped up: metering suppresses creep, and the reference must not. */
const PHASE_WATTS_MIN = 30;

/** Something that draws current from one or three phases, in states that last from seconds to hours. */
interface Appliance {
	/** The phases it is wired to. */
	readonly phases: readonly number[];
	/** Adds its current in phase `phase` at the given voltage. */
	addCurrent(voltage: Spectrum, phase: number, into: Spectrum): void;
	nextChangeSeconds: number;
	/** Moves to the state in force at `seconds` (>= nextChangeSeconds). */
	change(seconds: number): void;
}

/** Current of a resistance that takes `watts` at this voltage: the voltage's own shape. */
function addResistive(voltage: Spectrum, watts: number, into: Spectrum): void {
	addSpectrum(into, voltage, watts / activePower(voltage, voltage));
}

/** Current with the fundamental at `lagRadians` and harmonics as parts of it: [order, part, lag in the harmonic's turns]. */
function addShaped(
	voltage: Spectrum,
	watts: number,
	lagRadians: number,
	harmonics: readonly (readonly [number, number, number])[],
	into: Spectrum,
): void {
	const u1 = Math.hypot(voltage.sine[1]!, voltage.cosine[1]!);
	const i1 = watts / (u1 * Math.cos(lagRadians));
	into.sine[1]! += i1 * Math.cos(lagRadians);
	into.cosine[1]! -= i1 * Math.sin(lagRadians);
	for (const [order, part, lag] of harmonics) {
		into.sine[order]! += i1 * part * Math.cos(lag);
		into.cosine[order]! -= i1 * part * Math.sin(lag);
	}
}

const LED_HARMONICS = [
	[3, 0.78, Math.PI],
	[5, 0.52, 0.2],
	[7, 0.3, Math.PI],
	[9, 0.16, 0.3],
	[11, 0.11, Math.PI],
	[13, 0.08, 0.1],
	[15, 0.05, Math.PI],
] as const;
const MOTOR_HARMONICS = [
	[5, 0.035, 0.4],
	[7, 0.018, 2.1],
] as const;
const CHARGER_HARMONICS = [
	[3, 0.02, 0.5],
	[5, 0.028, 1.1],
	[7, 0.014, 2.6],
	[11, 0.006, 0.2],
] as const;
const INVERTER_HARMONICS = [
	[5, 0.012, 0.7],
	[7, 0.008, 1.9],
	[17, 0.003, 0.1],
] as const;

/** Two states, with seeded lengths of each; `part` scales the power of a new on-time. */
abstract class Switched implements Appliance {
	nextChangeSeconds: number;
	protected readonly random: Random;
	protected on: boolean;
	protected part = 1;
	readonly phases: readonly number[];

	constructor(random: Random, phases: readonly number[], onProbability: number) {
		this.random = random;
		this.phases = phases;
		this.on = random.chance(onProbability);
		this.nextChangeSeconds = random.between(5, this.on ? this.onSeconds() : this.offSeconds());
	}

	change(seconds: number): void {
		this.on = !this.on;
		if (this.on) this.part = this.random.between(0.92, 1.05);
		this.nextChangeSeconds = seconds + (this.on ? this.onSeconds() : this.offSeconds());
	}

	abstract onSeconds(): number;
	abstract offSeconds(): number;
	abstract addCurrent(voltage: Spectrum, phase: number, into: Spectrum): void;
}

class Fridge extends Switched {
	onSeconds(): number {
		return this.random.between(420, 900);
	}
	offSeconds(): number {
		return this.random.between(700, 1900);
	}
	addCurrent(voltage: Spectrum, _phase: number, into: Spectrum): void {
		if (this.on) addShaped(voltage, 95 * this.part, 0.75, MOTOR_HARMONICS, into);
	}
}

class Kettle extends Switched {
	onSeconds(): number {
		return this.random.between(80, 210);
	}
	offSeconds(): number {
		return 120 + this.random.exponential(1500);
	}
	addCurrent(voltage: Spectrum, _phase: number, into: Spectrum): void {
		if (this.on) addResistive(voltage, 2100 * this.part, into);
	}
}

/** Sessions of 40 minutes in which a thermostat switches. */
class Oven extends Switched {
	#sessionEndsSeconds = 0;
	onSeconds(): number {
		return this.random.between(50, 170);
	}
	offSeconds(): number {
		return 40;
	}
	override change(seconds: number): void {
		super.change(seconds);
		if (this.on) {
			if (seconds > this.#sessionEndsSeconds) {
				this.#sessionEndsSeconds = seconds + this.random.between(1500, 3600);
				this.nextChangeSeconds = seconds + this.random.between(300, 520);
			}
		} else {
			const pause = this.random.between(60, 200);
			const ends = seconds + pause >= this.#sessionEndsSeconds;
			this.nextChangeSeconds = seconds + (ends ? 600 + this.random.exponential(3600) : pause);
		}
	}
	addCurrent(voltage: Spectrum, _phase: number, into: Spectrum): void {
		if (this.on) addResistive(voltage, 2600 * this.part, into);
	}
}

class Lights extends Switched {
	onSeconds(): number {
		return this.random.between(500, 2500);
	}
	offSeconds(): number {
		return this.random.between(300, 1500);
	}
	addCurrent(voltage: Spectrum, _phase: number, into: Spectrum): void {
		if (this.on) addShaped(voltage, 84 * this.part, -0.2, LED_HARMONICS, into);
	}
}

/** Washing machine, pump or workshop machine: inductive. */
class Motor extends Switched {
	readonly #watts: number;
	readonly #lagRadians: number;
	constructor(random: Random, phases: readonly number[], watts: number) {
		super(random, phases, 0.5);
		this.#watts = watts;
		this.#lagRadians = random.between(0.45, 0.9);
	}
	onSeconds(): number {
		return this.random.between(90, 600);
	}
	offSeconds(): number {
		return this.random.between(60, 700);
	}
	addCurrent(voltage: Spectrum, _phase: number, into: Spectrum): void {
		if (this.on)
			addShaped(voltage, (this.#watts * this.part) / this.phases.length, this.#lagRadians, MOTOR_HARMONICS, into);
	}
}

class Charger extends Switched {
	readonly #watts: number;
	constructor(random: Random, phases: readonly number[], watts: number) {
		super(random, phases, 0.6);
		this.#watts = watts;
	}
	onSeconds(): number {
		return this.random.between(2400, 14_000);
	}
	offSeconds(): number {
		return this.random.between(900, 9000);
	}
	addCurrent(voltage: Spectrum, _phase: number, into: Spectrum): void {
		if (this.on) addShaped(voltage, (this.#watts * this.part) / this.phases.length, 0.08, CHARGER_HARMONICS, into);
	}
}

/** Photovoltaic inverter: a clear-sky curve by the hour, clouds by the minute, its own power factor. */
class Inverter implements Appliance {
	readonly phases: readonly number[];
	readonly #random: Random;
	readonly #peakWatts: number;
	readonly #lagRadians: number;
	readonly #startOfDaySeconds: number;
	#watts = 0;
	#cloud = 0.8;
	nextChangeSeconds = 0;

	constructor(random: Random, phases: readonly number[], peakWatts: number, startOfDaySeconds: number) {
		this.phases = phases;
		this.#random = random;
		this.#peakWatts = peakWatts;
		this.#lagRadians = random.between(-0.4, 0.4);
		this.#startOfDaySeconds = startOfDaySeconds;
	}

	change(seconds: number): void {
		const hour = ((this.#startOfDaySeconds + seconds) / 3600) % 24;
		const sun = Math.max(0, Math.sin(((hour - 4) * Math.PI) / 15)); // UTC: up from 4 to 19 h
		const target = this.#random.chance(0.3) ? this.#random.between(0.15, 0.5) : this.#random.between(0.7, 1);
		this.#cloud += (target - this.#cloud) * 0.7;
		const watts = hour < 19 && hour > 4 ? this.#peakWatts * sun * this.#cloud : 0;
		this.#watts = watts < 60 ? 0 : watts;
		this.nextChangeSeconds = seconds + (this.#watts === 0 ? 600 : this.#random.between(70, 260));
	}

	addCurrent(voltage: Spectrum, _phase: number, into: Spectrum): void {
		if (this.#watts > 0)
			addShaped(voltage, -this.#watts / this.phases.length, this.#lagRadians, INVERTER_HARMONICS, into);
	}
}

/** Base load: standby power, half of it rectifiers. */
class Base implements Appliance {
	readonly phases: readonly number[];
	readonly #watts: readonly number[];
	nextChangeSeconds = Number.POSITIVE_INFINITY;
	constructor(random: Random, phases: readonly number[]) {
		this.phases = phases;
		this.#watts = phases.map(() => random.between(70, 190));
	}
	change(): void {}
	addCurrent(voltage: Spectrum, phase: number, into: Spectrum): void {
		const watts = this.#watts[this.phases.indexOf(phase)]!;
		addResistive(voltage, watts * 0.6, into);
		addShaped(voltage, watts * 0.4, -0.1, LED_HARMONICS, into);
	}
}

export const HOUSEHOLD_KINDS = ["flat", "house", "solar house", "vehicle", "workshop"] as const;
export type HouseholdKind = (typeof HOUSEHOLD_KINDS)[number];

export interface GridOptions {
	/** Frequency around which this meter's grid moves. */
	readonly nominalHertz: number;
	readonly nominalVolts: number;
	/** Cycles of a block: more is finer in frequency and larger; a multiple of 10. */
	readonly cyclesPerBlock: number;
}

/** The supply of one meter: voltages with harmonics and unbalance, frequency; drawn anew at each load change. */
export class Grid {
	readonly #random: Random;
	readonly #options: GridOptions;
	readonly #unbalance: readonly number[];
	readonly #offsets: readonly number[];
	readonly #thd: number;
	#volts = 1;
	#hertzOffset = 0;

	constructor(random: Random, phaseCount: number, options: GridOptions) {
		this.#random = random;
		this.#options = options;
		this.#unbalance = Array.from({ length: phaseCount }, () => random.between(0.985, 1.015));
		this.#offsets = Array.from({ length: phaseCount }, (_, phase) =>
			phase === 0 ? 0 : (phase * 2 * Math.PI) / 3 + random.between(-0.01, 0.01),
		);
		this.#thd = random.between(0.4, 1.4);
	}

	change(): void {
		this.#volts = Math.min(1.06, Math.max(0.94, this.#volts + this.#random.between(-0.008, 0.008)));
		this.#hertzOffset = Math.min(0.08, Math.max(-0.08, this.#hertzOffset + this.#random.between(-0.02, 0.02)));
	}

	voltage(phase: number): Spectrum {
		const volts = this.#options.nominalVolts * this.#volts * this.#unbalance[phase]!;
		const spectrum = createSpectrum();
		setHarmonic(spectrum, 1, volts, 0);
		setHarmonic(spectrum, 3, volts * 0.006 * this.#thd, 0.3);
		setHarmonic(spectrum, 5, volts * 0.018 * this.#thd, 2.8);
		setHarmonic(spectrum, 7, volts * 0.009 * this.#thd, 0.9);
		setHarmonic(spectrum, 11, volts * 0.004 * this.#thd, 1.7);
		return spectrum;
	}

	shape(voltages: readonly Spectrum[], currents: readonly Spectrum[], samplesPerSecond: number): BlockShape {
		const hertz = this.#options.nominalHertz + this.#hertzOffset;
		return {
			phases: voltages.map((voltage, phase): PhaseShape => {
				return { voltage, current: currents[phase]!, lagRadians: this.#offsets[phase]! };
			}),
			cycleCount: this.#options.cyclesPerBlock,
			rowCount: rowCountFor(hertz, this.#options.cyclesPerBlock, samplesPerSecond),
		};
	}
}

/**
 * Adds resistive load until no phase, and not their sum either, lies between off and `PHASE_WATTS_MIN`: a reference
 * that suppresses nothing can then be held against a meter that suppresses creep.
 */
export function liftFromCreep(voltages: readonly Spectrum[], currents: readonly Spectrum[]): void {
	for (let round = 0; round < 8; round++) {
		let lifted = false;
		let total = 0;
		for (let phase = 0; phase < voltages.length; phase++) {
			const watts = activePower(voltages[phase]!, currents[phase]!);
			if (Math.abs(watts) < PHASE_WATTS_MIN) {
				addResistive(voltages[phase]!, 2.5 * PHASE_WATTS_MIN, currents[phase]!);
				lifted = true;
			}
			total += watts;
		}
		if (!lifted && Math.abs(total) < PHASE_WATTS_MIN) {
			addResistive(voltages[0]!, 4 * PHASE_WATTS_MIN, currents[0]!);
			lifted = true;
		}
		if (!lifted) return;
	}
}

/** A household, or a small workshop, by seed. */
export class Household implements LoadSource {
	readonly description: string;
	readonly #layout: SampleLayout;
	readonly #grid: Grid;
	readonly #appliances: Appliance[] = [];

	constructor(random: Random, layout: SampleLayout, kind: HouseholdKind, grid: GridOptions, startOfDaySeconds: number) {
		this.description = kind;
		this.#layout = layout;
		this.#grid = new Grid(random.child("grid"), layout.phaseCount, grid);
		const all = Array.from({ length: layout.phaseCount }, (_, phase) => phase);
		const any = (): number[] => [random.integer(0, layout.phaseCount - 1)];
		const three = layout.phaseCount === 3;
		const add = (appliance: Appliance): void => void this.#appliances.push(appliance);
		add(new Base(random.child("base"), all));
		add(new Fridge(random.child("fridge"), any(), 0.4));
		add(new Kettle(random.child("kettle"), any(), 0.1));
		add(new Lights(random.child("lights"), any(), 0.6));
		if (kind !== "flat") {
			add(new Oven(random.child("oven"), any(), 0.4));
			add(new Lights(random.child("more lights"), any(), 0.6));
			add(new Motor(random.child("washer"), any(), 450));
		}
		if (kind === "solar house") add(new Inverter(random.child("pv"), all, three ? 9200 : 4200, startOfDaySeconds));
		if (kind === "vehicle") {
			const threePhase = three && random.chance(0.6);
			add(new Charger(random.child("ev"), threePhase ? all : any(), threePhase ? 11_000 : 3680));
			if (random.chance(0.5)) add(new Inverter(random.child("pv"), all, three ? 8000 : 4000, startOfDaySeconds));
		}
		if (kind === "workshop") {
			add(new Motor(random.child("lathe"), all, three ? 5500 : 1900));
			add(new Motor(random.child("pump"), all, three ? 3000 : 1100));
		}
	}

	shapeAt(seconds: number): BlockShape {
		for (const appliance of this.#appliances)
			while (appliance.nextChangeSeconds <= seconds) appliance.change(appliance.nextChangeSeconds);
		this.#grid.change();
		const voltages: Spectrum[] = [];
		const currents: Spectrum[] = [];
		for (let phase = 0; phase < this.#layout.phaseCount; phase++) {
			const voltage = this.#grid.voltage(phase);
			const current = createSpectrum();
			for (const appliance of this.#appliances)
				if (appliance.phases.includes(phase)) appliance.addCurrent(voltage, phase, current);
			voltages.push(voltage);
			currents.push(current);
		}
		liftFromCreep(voltages, currents);
		return this.#grid.shape(voltages, currents, this.#layout.samplesPerSecond);
	}

	nextChangeSeconds(): number {
		let next = Number.POSITIVE_INFINITY;
		for (const appliance of this.#appliances) next = Math.min(next, appliance.nextChangeSeconds);
		return next;
	}
}
