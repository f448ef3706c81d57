export const DAY_MILLISECONDS = 86_400_000;
/** Indices of the day's chain have two bytes: T_0 to T_N, and N is at most this. */
export const INTERVALS_A_DAY_MAX = 0xfffe;

/**
 * How a day is divided. Intervals are counted in two ways: by epoch and interval of the day, as on the wire, and by one
 * number, `epoch × intervalsADay + interval`, to compare them.
 */
export class IntervalTiming {
	readonly intervalSeconds: number;
	/** N. The last interval is shorter when the day is no multiple of it. 0: the day cannot be divided so. */
	readonly intervalsADay: number;
	/** d: the key of interval i is disclosed in interval i + d. */
	readonly disclosureDelay: number;

	constructor(intervalSeconds: number, disclosureDelay: number) {
		this.intervalSeconds = intervalSeconds;
		this.disclosureDelay = disclosureDelay;
		const count = intervalSeconds > 0 ? Math.ceil(86_400 / intervalSeconds) : 0;
		// The first d intervals disclose yesterday's last keys, and no beacon is both.
		this.intervalsADay = count <= INTERVALS_A_DAY_MAX && count > 2 * disclosureDelay ? count : 0;
	}

	numberOf(epoch: number, interval: number): number {
		return epoch * this.intervalsADay + interval;
	}

	/** The interval number in which a moment of UTC lies, given in ms since 2000-01-01; Infinity stays so. */
	numberAt(utcMilliseconds: number): number {
		const epoch = Math.floor(utcMilliseconds / DAY_MILLISECONDS);
		if (!Number.isFinite(epoch)) return epoch;
		const ofDay = utcMilliseconds - epoch * DAY_MILLISECONDS;
		return epoch * this.intervalsADay + Math.floor(ofDay / (1000 * this.intervalSeconds));
	}

	epochOf(number: number): number {
		return Math.floor(number / this.intervalsADay);
	}

	intervalOf(number: number): number {
		return number % this.intervalsADay;
	}

	/** When an interval begins, ms since 2000-01-01. */
	startMilliseconds(number: number): number {
		return this.epochOf(number) * DAY_MILLISECONDS + this.intervalOf(number) * 1000 * this.intervalSeconds;
	}
}
