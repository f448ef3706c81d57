import { InvariantError, Status } from "../bytes/status.js";
import type { EnergyRegisters } from "./registers.js";

/** Status bits of a load profile row (IDIS, class 7 status byte). */
export const ProfileStatus = Object.freeze({
	/** ERR: critical error of the meter. */
	criticalError: 0x01,
	/** CIV: clock invalid. */
	clockInvalid: 0x02,
	/** DNV: data not valid, doubtful. */
	dataNotValid: 0x04,
	/** DST: summer time in force when the interval ended. */
	summerTime: 0x08,
	/** CAD: clock adjusted beyond the limit. */
	clockAdjusted: 0x20,
	/** PDN: power was down in the interval. */
	powerDown: 0x80,
} as const);

/** Status bits with which an interval cannot set a maximum demand. */
export const PROFILE_INCOMPLETE =
	ProfileStatus.powerDown | ProfileStatus.clockAdjusted | ProfileStatus.clockInvalid | ProfileStatus.dataNotValid;

/** One interval; its sequence number is given by storage. Registers are those at its end, of the legal netting set. */
export interface LoadProfileRow {
	/** s since 2000-01-01T00:00:00Z, a multiple of the period. */
	intervalStartSeconds: number;
	/** Measured part, s, rounded, at most 65 535; above the period after a clock was set back. */
	durationSeconds: number;
	status: number;
	/** In force at the end, 1 to 4. */
	tariff: number;
	activeImportMilliwattHours: number;
	activeExportMilliwattHours: number;
	reactiveImportMillivarHours: number;
	reactiveExportMillivarHours: number;
}

export interface LoadProfileEvents {
	/** An interval ended. `row` is reused: store it during the call. */
	intervalEnded(row: LoadProfileRow): void;
}

/**
 * Open interval, storage form version 1: 16 bytes, big-endian. Commit it with the registers.
 * | offset | size | field                | unit and range                                              |
 * |-------:|-----:|----------------------|-------------------------------------------------------------|
 * |      0 |    1 | version              | 1                                                           |
 * |      1 |    1 | status               | IDIS bits gathered so far                                   |
 * |      2 |    2 | reserved             | 0                                                           |
 * |      4 |    4 | intervalStartSeconds | of the open interval; 0xFFFFFFFF: none                      |
 * |      8 |    4 | lastStartSeconds     | start of the last row that ended; 0xFFFFFFFF: none          |
 * |     12 |    4 | elapsedMilliseconds  | measured in the open interval                               |
 */
export const LOAD_PROFILE_STATE_BYTES = 16;
export const LOAD_PROFILE_STATE_VERSION = 1;
const NONE = 0xffff_ffff;

/**
 * A clock set back by up to this keeps the interval open until its end comes again: no time stamp appears twice. Beyond
 * it the wrong clock is taken to have been the old one, and rows go on at the new time, flagged.
 */
export const HOLD_SECONDS_MAX = 3600;

/**
 * Where intervals end, and what is said about them. Energy is in the registers, which a row copies at its end; so
 * whatever the clock does, the differences of rows add up to the registers, and no interval is lost or counted twice.
 * Pure: the clock is an argument. Times are UTC; intervals are aligned to multiples of the period.
 */
export class LoadProfile {
	readonly periodSeconds: number;
	listener: LoadProfileEvents | undefined;
	/** Whether summer time is in force; set before `advance`. */
	summerTime = false;
	readonly row: LoadProfileRow = {
		intervalStartSeconds: 0,
		durationSeconds: 0,
		status: 0,
		tariff: 1,
		activeImportMilliwattHours: 0,
		activeExportMilliwattHours: 0,
		reactiveImportMillivarHours: 0,
		reactiveExportMillivarHours: 0,
	};
	/** Start of the open interval, NaN: none. */
	#start = Number.NaN;
	/** Start of the newest row that ended, NaN: none. */
	#last = Number.NaN;
	#status = 0;
	#elapsedMilliseconds = 0;
	/** Power came back; the open interval of before is still to be closed or continued. */
	#restored = false;

	/** @param periodSeconds 60 to 43 200, a divisor of a day */
	constructor(periodSeconds: number) {
		if (!(periodSeconds >= 60 && periodSeconds <= 43_200 && 86_400 % periodSeconds === 0))
			throw new InvariantError("profile period");
		this.periodSeconds = periodSeconds;
	}

	/** Start of the open interval, s; NaN without a clock. */
	get intervalStartSeconds(): number {
		return this.#start;
	}

	/** Bits gathered for the open interval. */
	get status(): number {
		return this.#status;
	}

	/** Adds status bits to the open interval, e.g. `dataNotValid` after lost samples. */
	mark(bits: number): void {
		this.#status |= bits;
	}

	/**
	 * The clock was set by more than a slew (`clockAdjusted`), or set for the first time. Call before the next `advance`.
	 * @param registers as they are now: the energy so far belongs to the time before
	 */
	clockSet(utcSeconds: number, registers: EnergyRegisters): void {
		this.#status |= ProfileStatus.clockAdjusted;
		if (Number.isNaN(this.#start) || Number.isNaN(utcSeconds)) return;
		if (utcSeconds >= this.#start + this.periodSeconds) {
			this.#end(registers);
			this.#begin(utcSeconds, ProfileStatus.clockAdjusted);
		} else if (utcSeconds < this.#start - HOLD_SECONDS_MAX) {
			this.#end(registers);
			this.#last = Number.NaN;
			this.#begin(utcSeconds, ProfileStatus.clockAdjusted);
		}
	}

	/**
	 * Lets time pass; call for each second or window, after the registers were advanced.
	 * @param utcSeconds now, NaN while the clock is invalid
	 * @param elapsedMilliseconds measured since the last call (from the sample count)
	 */
	advance(utcSeconds: number, elapsedMilliseconds: number, registers: EnergyRegisters): void {
		if (Number.isNaN(utcSeconds)) {
			this.#status |= ProfileStatus.clockInvalid;
			this.#elapsedMilliseconds += elapsedMilliseconds;
			return;
		}
		if (this.#restored) this.#resume(utcSeconds, registers);
		if (Number.isNaN(this.#start)) this.#begin(utcSeconds, this.#status);
		this.#elapsedMilliseconds += elapsedMilliseconds;
		if (utcSeconds < this.#start + this.periodSeconds) return;
		const started = this.#start;
		this.#end(registers);
		this.#begin(utcSeconds, 0);
		// time passed that nobody told of: what is missing stays missing, and the next row says so
		if (this.#start > started + this.periodSeconds) this.#status |= ProfileStatus.dataNotValid;
	}

	/** First time after power came back, with a valid clock. */
	#resume(utcSeconds: number, registers: EnergyRegisters): void {
		this.#restored = false;
		if (Number.isNaN(this.#start)) return;
		const start = this.#start;
		if (utcSeconds >= start + this.periodSeconds) {
			// what was measured before the cut ends as a row of its own, with the registers as they were restored
			this.#end(registers);
			this.#begin(utcSeconds, ProfileStatus.powerDown);
		} else if (utcSeconds < start - HOLD_SECONDS_MAX) {
			this.#status |= ProfileStatus.clockAdjusted;
			this.#end(registers);
			this.#last = Number.NaN;
			this.#begin(utcSeconds, ProfileStatus.powerDown | ProfileStatus.clockAdjusted);
		} else if (utcSeconds < start) {
			this.#status |= ProfileStatus.clockAdjusted;
		}
	}

	#begin(utcSeconds: number, status: number): void {
		let start = Math.floor(utcSeconds / this.periodSeconds) * this.periodSeconds;
		// a time stamp is never used twice: wait inside the next interval
		if (start <= this.#last && start > this.#last - HOLD_SECONDS_MAX) {
			start = this.#last + this.periodSeconds;
			status |= ProfileStatus.clockAdjusted;
		}
		this.#start = start;
		this.#status = status;
		this.#elapsedMilliseconds = 0;
	}

	#end(registers: EnergyRegisters): void {
		const row = this.row;
		row.intervalStartSeconds = this.#start;
		row.durationSeconds = Math.min(65_535, Math.round(this.#elapsedMilliseconds / 1000));
		row.status = this.#status | (this.summerTime ? ProfileStatus.summerTime : 0);
		row.tariff = registers.tariff;
		row.activeImportMilliwattHours = registers.activeImportMilliwattHours;
		row.activeExportMilliwattHours = registers.activeExportMilliwattHours;
		row.reactiveImportMillivarHours = registers.reactiveImportMillivarHours;
		row.reactiveExportMillivarHours = registers.reactiveExportMillivarHours;
		this.#last = this.#start;
		this.listener?.intervalEnded(row);
	}

	/** Writes 16 bytes at `offset`; commit them with the registers. @returns 16 */
	encodeState(into: DataView, offset: number): number {
		into.setUint8(offset, LOAD_PROFILE_STATE_VERSION);
		into.setUint8(offset + 1, this.#status);
		into.setUint16(offset + 2, 0);
		into.setUint32(offset + 4, Number.isNaN(this.#start) ? NONE : this.#start);
		into.setUint32(offset + 8, Number.isNaN(this.#last) ? NONE : this.#last);
		into.setUint32(offset + 12, Math.min(NONE, Math.round(this.#elapsedMilliseconds)));
		return LOAD_PROFILE_STATE_BYTES;
	}

	/**
	 * Power is back: takes the open interval of before. `powerDown` goes to it, and to the interval in which power
	 * returned. Call once, before the first `advance`.
	 * @param newestRowStartSeconds start of the newest row in storage, NaN if there is none: a row that was stored after
	 * the state was committed is not made a second time
	 * @returns `ok`, `badLength`, `badVersion`, `badValue`; the profile is unchanged unless `ok`
	 */
	restoreState(from: DataView, offset: number, byteLength: number, newestRowStartSeconds: number): Status {
		if (byteLength !== LOAD_PROFILE_STATE_BYTES) return Status.badLength; // LPS-1
		if (from.getUint8(offset) !== LOAD_PROFILE_STATE_VERSION) return Status.badVersion; // LPS-2
		const start = from.getUint32(offset + 4);
		const last = from.getUint32(offset + 8);
		if (from.getUint16(offset + 2) !== 0 || (start !== NONE && start % this.periodSeconds !== 0))
			return Status.badValue; // LPS-3
		this.#start = start === NONE ? Number.NaN : start;
		this.#last = last === NONE ? Number.NaN : last;
		this.#status = from.getUint8(offset + 1) | ProfileStatus.powerDown;
		this.#elapsedMilliseconds = from.getUint32(offset + 12);
		if (!Number.isNaN(newestRowStartSeconds)) {
			if (newestRowStartSeconds >= this.#start) {
				this.#start = Number.NaN;
				this.#status = ProfileStatus.powerDown;
				this.#elapsedMilliseconds = 0;
			}
			if (Number.isNaN(this.#last) || newestRowStartSeconds > this.#last) this.#last = newestRowStartSeconds;
		}
		this.#restored = true;
		return Status.ok;
	}
}
