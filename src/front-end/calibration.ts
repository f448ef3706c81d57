import { InvariantError, Status } from "../bytes/status.js";
import {
	copyPhaseCalibration,
	createPhaseCalibration,
	type FrontEnd,
	type FrontEndReading,
	GAIN_ONE_Q24,
	isGainCredible,
} from "./front-end.js";

/** What is found at a point, or that it only verifies. */
export const PointKind = Object.freeze({ gain: 0, offset: 1, phase: 2, verify: 3 } as const);
export type PointKind = (typeof PointKind)[keyof typeof PointKind];

/** A load that the reference source has to make. */
export interface CalibrationPoint {
	readonly kind: PointKind;
	/** Of the base current. */
	readonly currentPermille: number;
	/** Positive: current lags (ind); negative: leads (cap). */
	readonly angleDegrees: number;
	/** Largest error at a point that verifies, ppm of the true power: a tenth of the limit of class 1 (IEC 62053-21). */
	readonly limitPpm: number;
}

/**
 * Gain at Ib and PF 1, offset at 0.05 Ib and PF 1 (both together are two-point gain), phase at Ib and PF 0.5 ind, and
 * then four points that were not used. Class 1 allows 1.0 % at all of those, rows 21-02, 21-05, 21-06.
 */
export const CALIBRATION_POINTS: readonly CalibrationPoint[] = Object.freeze([
	Object.freeze({ kind: PointKind.gain, currentPermille: 1000, angleDegrees: 0, limitPpm: 0 }),
	Object.freeze({ kind: PointKind.offset, currentPermille: 50, angleDegrees: 0, limitPpm: 0 }),
	Object.freeze({ kind: PointKind.phase, currentPermille: 1000, angleDegrees: 60, limitPpm: 0 }),
	Object.freeze({ kind: PointKind.verify, currentPermille: 500, angleDegrees: 0, limitPpm: 1000 }),
	Object.freeze({ kind: PointKind.verify, currentPermille: 2000, angleDegrees: 60, limitPpm: 1000 }),
	Object.freeze({ kind: PointKind.verify, currentPermille: 400, angleDegrees: 60, limitPpm: 1000 }),
	Object.freeze({ kind: PointKind.verify, currentPermille: 3000, angleDegrees: -36.87, limitPpm: 1000 }),
]);
/** Where the chip cannot correct the phase, points off PF 1 are held to the class itself. */
const LIMIT_WITHOUT_PHASE_PPM = 10_000;

/** What the reference meter says of the load, while it stands. */
export interface Reference {
	readonly voltageMillivolts: number;
	readonly currentMilliamperes: number;
	readonly powerMilliwatts: number;
	readonly frequencyMillihertz: number;
}

export const CalibrationState = Object.freeze({
	/** The load of `point` is to be made, then `begin`. */
	waiting: 0,
	/** Readings are taken. */
	measuring: 1,
	done: 2,
	/** `status` says why; the corrections are those of before. */
	failed: 3,
} as const);
export type CalibrationState = (typeof CalibrationState)[keyof typeof CalibrationState];

export interface CalibrationSettings {
	/** Readings dropped after a load or a correction changed. */
	readonly settleReadings: number;
	/** Readings averaged at each point. */
	readonly readings: number;
}

/** Farther off than this the load is not the one that was asked for. */
const LOAD_TOLERANCE = 0.1;
/** Most phase delay that is believed: a whole degree at 50 Hz is 56 µs. */
const DELAY_MAX_NANOSECONDS = 300_000;
/** Most offset that is believed, of the power at the gain point. */
const OFFSET_SPAN = 0.02;

/**
 * Finds gain, offset and phase of one phase of a front end, then verifies at points that were not used. Without clock or
 * IO: the caller makes the loads, tells what the reference meter reads, and passes each reading on. Whatever goes wrong,
 * the corrections of before are in force again. Memory: 3 chunks (one array of errors), about 60 slots.
 *
 * With R what the chip measures without corrections, P the truth: P = g·R - o at two currents of PF 1 gives
 * g = (P1 - P2) / (R1 - R2) and o = g·R1 - P1. At PF 0.5 the corrected chip shows M = S·cos(φ + δ) / cos δ, so
 * tan δ = (cos φ - M/S) / sin φ, and the gain, which PF 1 found 1/cos δ too large, is taken back by cos δ.
 */
export class CalibrationProcedure {
	state: CalibrationState = CalibrationState.waiting;
	/** `ok` until it failed. */
	status: Status = Status.ok;
	/** Error of power at each point as measured there, ppm; NaN: not measured. */
	readonly errorsPpm = new Float64Array(CALIBRATION_POINTS.length).fill(Number.NaN);
	/** The corrections found, complete when `done`. */
	readonly found = createPhaseCalibration();
	readonly #before = createPhaseCalibration();
	readonly #target: FrontEnd;
	readonly #phase: number;
	readonly #settings: CalibrationSettings;
	readonly #base: { readonly voltageMillivolts: number; readonly currentMilliamperes: number };
	#index = 0;
	#reference: Reference | undefined;
	#toSettle = 0;
	#taken = 0;
	#voltage = 0;
	#current = 0;
	#power = 0;
	#firstPower = 0;
	/** Power at the gain point as the chip measured it, without corrections. */
	#firstRaw = 0;

	/** @param base voltage and base current Ib of the meter */
	constructor(
		target: FrontEnd,
		phase: number,
		base: { readonly voltageMillivolts: number; readonly currentMilliamperes: number },
		settings: CalibrationSettings,
	) {
		if (!(settings.readings >= 1 && base.currentMilliamperes > 0)) throw new InvariantError("calibration settings");
		this.#target = target;
		this.#phase = phase;
		this.#base = base;
		this.#settings = settings;
		copyPhaseCalibration(target.calibration(phase), this.#before);
		copyPhaseCalibration(this.#before, this.found);
	}

	/** The load that is wanted now; undefined when done or failed. */
	get point(): CalibrationPoint | undefined {
		return this.state <= CalibrationState.measuring ? CALIBRATION_POINTS[this.#index] : undefined;
	}

	get pointIndex(): number {
		return this.#index;
	}

	/** Of all points. */
	get progressPermille(): number {
		if (this.state === CalibrationState.done) return 1000;
		const whole = this.#settings.settleReadings + this.#settings.readings;
		const part = this.state === CalibrationState.measuring ? 1 - this.#toGo / whole : 0;
		return Math.floor((1000 * (this.#index + part)) / CALIBRATION_POINTS.length);
	}

	get #toGo(): number {
		return this.#toSettle + this.#settings.readings - this.#taken;
	}

	/**
	 * The load of `point` stands.
	 * @returns `outOfOrder` when none is waited for; `badValue` when it is not the load that was asked for
	 */
	begin(reference: Reference): Status {
		const point = this.point;
		if (point === undefined || this.state !== CalibrationState.waiting) return Status.outOfOrder; // CPR-1
		const current = (this.#base.currentMilliamperes * point.currentPermille) / 1000;
		const power = ((reference.voltageMillivolts * current) / 1000) * Math.cos((point.angleDegrees * Math.PI) / 180);
		const isWanted =
			Math.abs(reference.voltageMillivolts / this.#base.voltageMillivolts - 1) <= LOAD_TOLERANCE &&
			Math.abs(reference.currentMilliamperes / current - 1) <= LOAD_TOLERANCE &&
			Math.abs(reference.powerMilliwatts / power - 1) <= 2 * LOAD_TOLERANCE &&
			reference.frequencyMillihertz >= 45_000 &&
			reference.frequencyMillihertz <= 65_000;
		if (!isWanted) return Status.badValue; // CPR-2
		this.#reference = reference;
		this.#toSettle = this.#settings.settleReadings;
		this.#taken = this.#voltage = this.#current = this.#power = 0;
		this.state = CalibrationState.measuring;
		return Status.ok;
	}

	/** Each reading of the front end, in order. */
	take(reading: FrontEndReading): void {
		if (this.state !== CalibrationState.measuring) return;
		if (this.#toSettle > 0) {
			this.#toSettle--;
			return;
		}
		const phase = reading.phases[this.#phase]!;
		this.#voltage += phase.voltageMillivolts;
		this.#current += phase.currentMilliamperes;
		this.#power += phase.powerMilliwatts;
		this.#taken++;
		if (this.#taken < this.#settings.readings) return;
		this.#voltage /= this.#taken;
		this.#current /= this.#taken;
		this.#power /= this.#taken;
		const status = this.#measured();
		if (status !== Status.ok) this.cancel(status);
	}

	/** Ends it; the corrections of before are in force again. */
	cancel(status: Status = Status.refusedByPeer): void {
		if (this.state === CalibrationState.done || this.state === CalibrationState.failed) return;
		this.status = status;
		this.state = CalibrationState.failed;
		this.#target.setCalibration(this.#phase, this.#before);
	}

	#measured(): Status {
		const reference = this.#reference!;
		const point = CALIBRATION_POINTS[this.#index]!;
		const error = (this.#power / reference.powerMilliwatts - 1) * 1_000_000;
		this.errorsPpm[this.#index] = error;
		if (!(this.#voltage > 0 && this.#current > 0 && this.#power > 0)) return Status.badValue; // CPR-3: nothing measured, or reversed
		let status: Status = Status.ok;
		if (point.kind === PointKind.gain) status = this.#gain(reference);
		else if (point.kind === PointKind.offset) status = this.#offset(reference);
		else if (point.kind === PointKind.phase) status = this.#angle(reference);
		else {
			const isStrict = this.#target.abilities.phase || point.angleDegrees === 0;
			const limit = isStrict ? point.limitPpm : LIMIT_WITHOUT_PHASE_PPM;
			if (!(Math.abs(error) <= limit)) return Status.badTag; // CPR-4: the verification failed
		}
		if (status !== Status.ok) return status;
		this.#index++;
		const next = CALIBRATION_POINTS[this.#index];
		if (next?.kind === PointKind.offset && !this.#target.abilities.offset) this.#index++;
		if (CALIBRATION_POINTS[this.#index]?.kind === PointKind.phase && !this.#target.abilities.phase) this.#index++;
		this.state = this.#index < CALIBRATION_POINTS.length ? CalibrationState.waiting : CalibrationState.done;
		return Status.ok;
	}

	/** What the chip measured without gain and offset. */
	#raw(): number {
		const { powerGainQ24, powerOffsetMilliwatts } = this.found;
		return ((this.#power + powerOffsetMilliwatts) * GAIN_ONE_Q24) / powerGainQ24;
	}

	#gain(reference: Reference): Status {
		const { found } = this;
		this.#firstPower = reference.powerMilliwatts;
		this.#firstRaw = this.#raw();
		found.voltageGainQ24 = Math.round((found.voltageGainQ24 * reference.voltageMillivolts) / this.#voltage);
		found.currentGainQ24 = Math.round((found.currentGainQ24 * reference.currentMilliamperes) / this.#current);
		found.powerGainQ24 = Math.round((GAIN_ONE_Q24 * this.#firstPower) / this.#firstRaw);
		found.powerOffsetMilliwatts = 0;
		return this.#apply();
	}

	#offset(reference: Reference): Status {
		const { found } = this;
		const gain = (this.#firstPower - reference.powerMilliwatts) / (this.#firstRaw - this.#raw());
		const offset = gain * this.#firstRaw - this.#firstPower;
		if (!(Math.abs(offset) <= OFFSET_SPAN * this.#firstPower)) return Status.badValue; // CPR-5
		found.powerGainQ24 = Math.round(gain * GAIN_ONE_Q24);
		found.powerOffsetMilliwatts = Math.round(offset);
		return this.#apply();
	}

	#angle(reference: Reference): Status {
		const { found } = this;
		const apparent = (reference.voltageMillivolts * reference.currentMilliamperes) / 1000;
		const cosine = reference.powerMilliwatts / apparent;
		const sine = Math.sqrt(1 - cosine * cosine);
		const late = Math.atan((cosine - this.#power / apparent) / sine);
		const nanoseconds = (late / (2 * Math.PI * reference.frequencyMillihertz)) * 1e12;
		found.phaseDelayNanoseconds = Math.round(found.phaseDelayNanoseconds + nanoseconds);
		if (!(Math.abs(found.phaseDelayNanoseconds) <= DELAY_MAX_NANOSECONDS)) return Status.badValue; // CPR-5
		found.powerGainQ24 = Math.round(found.powerGainQ24 * Math.cos(late));
		return this.#apply();
	}

	#apply(): Status {
		const { voltageGainQ24, currentGainQ24, powerGainQ24 } = this.found;
		if (!isGainCredible(voltageGainQ24) || !isGainCredible(currentGainQ24) || !isGainCredible(powerGainQ24))
			return Status.badValue; // CPR-5
		return this.#target.setCalibration(this.#phase, this.found);
	}
}
