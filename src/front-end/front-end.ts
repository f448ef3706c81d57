import { Status, StatusCounters } from "../bytes/status.js";
import { CountedEnergy } from "./counted-energy.js";

/** One phase of a reading. NaN: the chip does not give it, or has not yet. 8 fields. */
export class PhaseReading {
	voltageMillivolts = Number.NaN;
	currentMilliamperes = Number.NaN;
	/** Active power, negative: exported. Chips without direction give its magnitude. */
	powerMilliwatts = Number.NaN;
	/** Fundamental reactive power, positive: current lags. */
	reactivePowerMillivars = Number.NaN;
	/** Since the sample before, from the chip's counter, whole mWh; the remainder stays with the driver. */
	importMilliwattHours = 0;
	exportMilliwattHours = 0;
	/** Whole mvarh since the sample before; 0 where the chip does not count them. */
	importMillivarHours = 0;
	exportMillivarHours = 0;
}

/** What `sample` gives: one object for each driver, overwritten by the next `sample`. */
export class FrontEndReading {
	readonly phases: readonly PhaseReading[];
	frequencyMillihertz = Number.NaN;
	/** Monotonic time when the registers were read. */
	atMilliseconds = 0;
	/** Readings since start, counts up by one. */
	sequence = 0;

	constructor(phaseCount: number) {
		const phases: PhaseReading[] = [];
		for (let i = 0; i < phaseCount; i++) phases.push(new PhaseReading());
		this.phases = phases;
	}
}

/** 1 in the scale of gains. */
export const GAIN_ONE_Q24 = 0x100_0000;

/** Corrections of one phase. Where the chip has registers for them they are written there, else the driver applies them. */
export interface PhaseCalibration {
	/** True value / measured value of an uncorrected chip, times 2^24. */
	voltageGainQ24: number;
	currentGainQ24: number;
	powerGainQ24: number;
	/** Taken from active power after the gain, in mW, signed. */
	powerOffsetMilliwatts: number;
	/** By how much the current channel is late against the voltage channel, ns, signed. */
	phaseDelayNanoseconds: number;
}

export function createPhaseCalibration(): PhaseCalibration {
	return {
		voltageGainQ24: GAIN_ONE_Q24,
		currentGainQ24: GAIN_ONE_Q24,
		powerGainQ24: GAIN_ONE_Q24,
		powerOffsetMilliwatts: 0,
		phaseDelayNanoseconds: 0,
	};
}

export function copyPhaseCalibration(from: PhaseCalibration, into: PhaseCalibration): void {
	into.voltageGainQ24 = from.voltageGainQ24;
	into.currentGainQ24 = from.currentGainQ24;
	into.powerGainQ24 = from.powerGainQ24;
	into.powerOffsetMilliwatts = from.powerOffsetMilliwatts;
	into.phaseDelayNanoseconds = from.phaseDelayNanoseconds;
}

/** What a chip (with its driver) can correct. */
export interface CalibrationAbilities {
	/** Energy and power can be moved by a constant. */
	readonly offset: boolean;
	/** The delay between the channels can be corrected. */
	readonly phase: boolean;
}

/** What all drivers have in common, beside `configure`, which is each chip's own. */
export interface FrontEnd {
	readonly reading: FrontEndReading;
	/** How often each refusal happened; `ok` counts good readings. */
	readonly counters: StatusCounters;
	/** Restarts of the chip and lost settings that were found; each cost at most one polling period of energy. */
	readonly resetCount: number;
	/** The chip holds our configuration (read back) and gave a good reading since. */
	readonly isReady: boolean;
	readonly abilities: CalibrationAbilities;
	/** The corrections in force. */
	calibration(phase: number): PhaseCalibration;
	/** Takes new corrections; they are in force when `isReady` is true again. @returns `badValue`: beyond what can be set */
	setCalibration(phase: number, calibration: PhaseCalibration): Status;
	/** The newest reading; undefined when there was none since the last call. */
	sample(): FrontEndReading | undefined;
	/** Call when `deadlineMilliseconds()` has passed. */
	tick(nowMilliseconds: number): void;
	/** -Infinity: at once (bytes arrived). */
	deadlineMilliseconds(): number;
	close(): void;
}

/** No gain further from 1 than this is believed: 25 %. */
const GAIN_SPAN_Q24 = GAIN_ONE_Q24 / 4;

export function isGainCredible(gainQ24: number): boolean {
	return Number.isInteger(gainQ24) && Math.abs(gainQ24 - GAIN_ONE_Q24) <= GAIN_SPAN_Q24;
}

/** The part of every driver that does not depend on the chip. */
export class FrontEndState {
	readonly counters = new StatusCounters();
	readonly reading: FrontEndReading;
	readonly energies: readonly CountedEnergy[];
	/** Empty where the chip counts no reactive energy. */
	readonly reactiveEnergies: readonly CountedEnergy[];
	readonly calibrations: readonly PhaseCalibration[];
	resetCount = 0;
	isReady = false;
	#isNew = false;

	constructor(phaseCount: number, reactive: boolean) {
		const energies: CountedEnergy[] = [];
		const reactiveEnergies: CountedEnergy[] = [];
		const calibrations: PhaseCalibration[] = [];
		for (let i = 0; i < phaseCount; i++) {
			energies.push(new CountedEnergy());
			if (reactive) reactiveEnergies.push(new CountedEnergy());
			calibrations.push(createPhaseCalibration());
		}
		this.energies = energies;
		this.reactiveEnergies = reactiveEnergies;
		this.calibrations = calibrations;
		this.reading = new FrontEndReading(phaseCount);
	}

	/** All registers of a reading are in. */
	completed(nowMilliseconds: number): void {
		this.counters.count(Status.ok);
		this.reading.atMilliseconds = nowMilliseconds;
		this.reading.sequence++;
		this.isReady = true;
		this.#isNew = true;
	}

	/** A restart of the chip was found. */
	chipReset(): void {
		this.counters.count(Status.corrupt);
		this.resetCount++;
		this.isReady = false;
	}

	/** Moves the energies that were counted since the last call into the reading. */
	sample(): FrontEndReading | undefined {
		if (!this.#isNew) return undefined;
		this.#isNew = false;
		const phases = this.reading.phases;
		for (let i = 0; i < phases.length; i++) {
			const phase = phases[i]!;
			const energy = this.energies[i]!;
			phase.importMilliwattHours = energy.importMilliwattHours;
			phase.exportMilliwattHours = energy.exportMilliwattHours;
			energy.taken();
			const reactive = this.reactiveEnergies[i];
			if (reactive === undefined) continue;
			phase.importMillivarHours = reactive.importMilliwattHours;
			phase.exportMillivarHours = reactive.exportMilliwattHours;
			reactive.taken();
		}
		return this.reading;
	}

	/** Checks and takes corrections; the driver has its own limits beside these. */
	take(phase: number, calibration: PhaseCalibration): Status {
		const into = this.calibrations[phase];
		if (into === undefined) return this.counters.count(Status.notFound);
		if (
			!isGainCredible(calibration.voltageGainQ24) ||
			!isGainCredible(calibration.currentGainQ24) ||
			!isGainCredible(calibration.powerGainQ24) ||
			!Number.isInteger(calibration.powerOffsetMilliwatts) ||
			!Number.isInteger(calibration.phaseDelayNanoseconds)
		)
			return this.counters.count(Status.badValue); // FEC-1
		copyPhaseCalibration(calibration, into);
		return Status.ok;
	}
}
