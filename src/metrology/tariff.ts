import { InvariantError } from "../bytes/status.js";
import { TARIFF_COUNT } from "./registers.js";

const DAY_SECONDS = 86_400;
/** 2000-01-01 was a Saturday. */
const FIRST_WEEKDAY = 5;
/** Days from 1970-01-01 to 2000-01-01. */
const EPOCH_DAYS = 10_957;

/** From `minute` after local midnight on, `tariff` (1 to 4) is in force. */
export interface TariffSwitch {
	readonly minute: number;
	readonly tariff: number;
}

/** A season starts each year on a day of local time and lasts until the next one starts. */
export interface Season {
	readonly month: number;
	readonly day: number;
	/** Day types of Monday to Sunday: indices into `dayTypes`. */
	readonly week: readonly number[];
}

/** A day with a day type of its own; `year` absent: every year. */
export interface SpecialDay {
	readonly year?: number;
	readonly month: number;
	readonly day: number;
	readonly dayType: number;
}

export interface TariffCalendarConfiguration {
	/** Local standard time against UTC, minutes. */
	readonly utcOffsetMinutes: number;
	/** EU rule: summer time from 01:00 UTC of the last Sunday of March to 01:00 UTC of the last Sunday of October. */
	readonly summerTime: boolean;
	/** Switches of a day, rising; before the first one the last tariff of the same list is in force. */
	readonly dayTypes: readonly (readonly TariffSwitch[])[];
	/** Rising by date; before the first one the last season of the list is in force. */
	readonly seasons: readonly Season[];
	readonly specialDays: readonly SpecialDay[];
}

/** A calendar date; the object is filled, not made. */
export interface CalendarDate {
	year: number;
	month: number;
	day: number;
}

/**
 * Date of a day counted from 2000-01-01.
 * @see Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days
 */
export function dateOfDay(dayNumber: number, into: CalendarDate): void {
	const z = dayNumber + EPOCH_DAYS + 719_468;
	const era = Math.floor(z / 146_097);
	const dayOfEra = z - era * 146_097;
	const yearOfEra = Math.floor(
		(dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
	);
	const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
	const shifted = Math.floor((5 * dayOfYear + 2) / 153);
	into.day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
	into.month = shifted < 10 ? shifted + 3 : shifted - 9;
	into.year = yearOfEra + era * 400 + (into.month <= 2 ? 1 : 0);
}

/** Day counted from 2000-01-01 of a date (days_from_civil). */
export function dayOfDate(year: number, month: number, day: number): number {
	const y = month <= 2 ? year - 1 : year;
	const era = Math.floor(y / 400);
	const yearOfEra = y - era * 400;
	const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
	const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
	return era * 146_097 + dayOfEra - 719_468 - EPOCH_DAYS;
}

/** 0 Monday to 6 Sunday of a day counted from 2000-01-01. */
export function weekdayOfDay(dayNumber: number): number {
	return (((dayNumber + FIRST_WEEKDAY) % 7) + 7) % 7;
}

/** Day of the last Sunday of a month with 31 days. */
function lastSunday(year: number, month: number): number {
	const last = dayOfDate(year, month, 31);
	return last - ((weekdayOfDay(last) + 1) % 7);
}

/** Whether summer time is in force by the EU rule (Directive 2000/84/EC). */
export function euSummerTime(utcSeconds: number, scratch: CalendarDate): boolean {
	dateOfDay(Math.floor(utcSeconds / DAY_SECONDS), scratch);
	const { year } = scratch;
	return (
		utcSeconds >= lastSunday(year, 3) * DAY_SECONDS + 3600 && utcSeconds < lastSunday(year, 10) * DAY_SECONDS + 3600
	);
}

/**
 * Time-of-use calendar: UTC in, tariff out. Switches are in local time; on the day that clocks go back, the hour that
 * comes twice has the same tariffs twice, and on the day that they go forward a switch within the missing hour happens at
 * its end. The day's result is kept, so that asking each second costs little.
 */
export class TariffCalendar {
	readonly #configuration: TariffCalendarConfiguration;
	readonly #date: CalendarDate = { year: 2000, month: 1, day: 1 };
	#validFrom = 0;
	#validUntil = 0;
	#tariff = 1;
	#summerTime = false;

	/** @throws InvariantError when the calendar refers to what is not there */
	constructor(configuration: TariffCalendarConfiguration) {
		const { dayTypes, seasons, specialDays } = configuration;
		if (dayTypes.length === 0 || seasons.length === 0) throw new InvariantError("tariff calendar is empty");
		for (const switches of dayTypes) {
			if (switches.length === 0) throw new InvariantError("day type without a switch");
			for (let i = 0; i < switches.length; i++) {
				const { minute, tariff } = switches[i]!;
				if (!(minute >= 0 && minute < 1440 && (i === 0 || minute > switches[i - 1]!.minute)))
					throw new InvariantError("tariff switch minute");
				if (!(tariff >= 1 && tariff <= TARIFF_COUNT)) throw new InvariantError("tariff number");
			}
		}
		for (const { week } of seasons)
			if (week.length !== 7 || week.some((type) => dayTypes[type] === undefined))
				throw new InvariantError("season week");
		for (const { dayType } of specialDays)
			if (dayTypes[dayType] === undefined) throw new InvariantError("special day type");
		this.#configuration = configuration;
	}

	/** Tariff in force, 1 to 4; the last known one while the clock is invalid (NaN). */
	tariffAt(utcSeconds: number): number {
		if (!Number.isNaN(utcSeconds)) this.#look(utcSeconds);
		return this.#tariff;
	}

	/** Whether summer time is in force. */
	summerTimeAt(utcSeconds: number): boolean {
		if (!Number.isNaN(utcSeconds)) this.#look(utcSeconds);
		return this.#summerTime;
	}

	/** Until when the last answer holds, s: no need to ask before. */
	get validUntilSeconds(): number {
		return this.#validUntil;
	}

	#look(utcSeconds: number): void {
		if (utcSeconds >= this.#validFrom && utcSeconds < this.#validUntil) return;
		const { utcOffsetMinutes, summerTime } = this.#configuration;
		this.#summerTime = summerTime && euSummerTime(utcSeconds, this.#date);
		const offset = utcOffsetMinutes * 60 + (this.#summerTime ? 3600 : 0);
		const local = utcSeconds + offset;
		const day = Math.floor(local / DAY_SECONDS);
		const second = local - day * DAY_SECONDS;
		const switches = this.#configuration.dayTypes[this.#dayType(day)]!;
		let index = switches.length - 1;
		let from = 0;
		let until = DAY_SECONDS;
		for (let i = 0; i < switches.length; i++) {
			const at = switches[i]!.minute * 60;
			if (at <= second) {
				index = i;
				from = at;
			} else {
				until = at;
				break;
			}
		}
		this.#tariff = switches[index]!.tariff;
		this.#validFrom = day * DAY_SECONDS + from - offset;
		this.#validUntil = day * DAY_SECONDS + until - offset;
		if (!summerTime) return;
		// the answer ends at a change of summer time within it
		const { year } = this.#date;
		for (const month of [3, 10]) {
			const change = lastSunday(year, month) * DAY_SECONDS + 3600;
			if (change > utcSeconds && change < this.#validUntil) this.#validUntil = change;
			if (change <= utcSeconds && change > this.#validFrom) this.#validFrom = change;
		}
	}

	#dayType(day: number): number {
		const { specialDays, seasons } = this.#configuration;
		const date = this.#date;
		dateOfDay(day, date);
		for (const special of specialDays)
			if (
				special.month === date.month &&
				special.day === date.day &&
				(special.year === undefined || special.year === date.year)
			)
				return special.dayType;
		let season = seasons[seasons.length - 1]!;
		for (const candidate of seasons)
			if (date.month > candidate.month || (date.month === candidate.month && date.day >= candidate.day))
				season = candidate;
		return season.week[weekdayOfDay(day)]!;
	}
}

/** A calendar with the same switches on every day; none: tariff 1. */
export function dailyCalendar(
	utcOffsetMinutes: number,
	summerTime: boolean,
	switches: readonly TariffSwitch[],
): TariffCalendarConfiguration {
	const sorted = [...switches].sort((a, b) => a.minute - b.minute);
	return {
		utcOffsetMinutes,
		summerTime,
		dayTypes: [sorted.length === 0 ? [{ minute: 0, tariff: 1 }] : sorted],
		seasons: [{ month: 1, day: 1, week: [0, 0, 0, 0, 0, 0, 0] }],
		specialDays: [],
	};
}
