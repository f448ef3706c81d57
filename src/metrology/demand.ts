import { getUint48, setUint48 } from "../bytes/integers.js";
import { InvariantError, Status } from "../bytes/status.js";
import { TARIFF_COUNT } from "./registers.js";

/**
 * Maxima, storage form version 1: 42 bytes, big-endian.
 * | offset | size | field             | unit and range                                                   |
 * |-------:|-----:|-------------------|------------------------------------------------------------------|
 * |      0 |    1 | version           | 1                                                                |
 * |      1 |    1 | reserved          | 0                                                                |
 * |      2 | 4×10 | tariff 1 to 4     | maximumMilliwatts 6; its end 4, s since 2000-01-01T00:00:00Z     |
 */
export const DEMAND_STATE_BYTES = 42;
export const DEMAND_STATE_VERSION = 1;

/** Places in `#values`: maxima of each tariff, when their intervals ended, energy of the past parts. */
const MAXIMUM = 0;
const MAXIMUM_UTC = MAXIMUM + TARIFF_COUNT;
const PARTS = MAXIMUM_UTC + TARIFF_COUNT;

/** Most sub-intervals of a sliding demand. */
export const SUB_INTERVALS_MAX = 15;

/**
 * Maximum demand: energy of a demand interval / its nominal length, aligned to the clock. Block: one sub-interval.
 * Sliding: `subIntervals` parts, the interval moves on by one part. An interval that was cut (power loss, clock set) is
 * counted but cannot set a maximum. Give it a register that only counts up, e.g. A+ of the legal set.
 */
export class MaximumDemand {
	readonly intervalSeconds: number;
	readonly subIntervals: number;
	/** Demand of the last complete interval, mW (1-0:1.5.0). */
	lastMilliwatts = 0;
	/** Intervals that could not set a maximum. */
	incompleteCount = 0;
	readonly #partSeconds: number;
	/** mW, s since 2000-01-01T00:00:00Z, mWh (NaN: the part was not whole). */
	readonly #values: Float64Array;
	#partIndex = 0;
	#partStart = Number.NaN;
	#startEnergy = 0;
	#whole = false;

	/** @param intervalSeconds 60 to 3600, divides a day; each part is at least 60 s */
	constructor(intervalSeconds: number, subIntervals = 1) {
		const part = intervalSeconds / subIntervals;
		if (!(subIntervals >= 1 && subIntervals <= SUB_INTERVALS_MAX && Number.isInteger(subIntervals)))
			throw new InvariantError("demand sub-intervals");
		if (!(intervalSeconds <= 3600 && part >= 60 && Number.isInteger(part) && 86_400 % part === 0))
			throw new InvariantError("demand interval");
		this.intervalSeconds = intervalSeconds;
		this.subIntervals = subIntervals;
		this.#partSeconds = part;
		this.#values = new Float64Array(PARTS + subIntervals).fill(Number.NaN, PARTS);
	}

	/** Highest demand under a tariff (1 to 4) since the last reset, mW (1-0:1.6.0). */
	maximumMilliwatts(tariff: number): number {
		return this.#values[MAXIMUM + tariff - 1]!;
	}

	/** When the interval of that maximum ended, s since 2000-01-01T00:00:00Z; 0 without one. */
	maximumUtcSeconds(tariff: number): number {
		return this.#values[MAXIMUM_UTC + tariff - 1]!;
	}

	/** Energy so far of the running interval / its nominal length, mW (1-0:1.4.0). */
	currentMilliwatts(energyMilliwattHours: number): number {
		if (Number.isNaN(this.#partStart)) return 0;
		let energy = energyMilliwattHours - this.#startEnergy;
		// the newest parts, one fewer than make an interval
		for (let i = 1; i < this.subIntervals; i++) {
			const part = this.#values[PARTS + ((this.#partIndex + this.subIntervals - i) % this.subIntervals)]!;
			if (!Number.isNaN(part)) energy += part;
		}
		return Math.round((energy * 3600) / this.intervalSeconds);
	}

	/** The running interval was cut (power loss, clock set, doubtful data): it cannot set a maximum. */
	spoil(): void {
		this.#whole = false;
	}

	/**
	 * Lets time pass; call at least once a second.
	 * @param utcSeconds now; NaN while the clock is invalid, which spoils the interval
	 * @param energyMilliwattHours the register now
	 * @param tariff in force now, 1 to 4
	 * @returns true when an interval ended
	 */
	advance(utcSeconds: number, energyMilliwattHours: number, tariff: number): boolean {
		if (Number.isNaN(utcSeconds)) {
			this.#whole = false;
			return false;
		}
		const part = Math.floor(utcSeconds / this.#partSeconds) * this.#partSeconds;
		if (part === this.#partStart) return false;
		const ended = !Number.isNaN(this.#partStart);
		const follows = part === this.#partStart + this.#partSeconds;
		if (ended) this.#endPart(energyMilliwattHours, tariff, part, follows);
		// the first part after start is whole only if it starts on time
		this.#whole = follows || utcSeconds - part < 1;
		this.#partStart = part;
		this.#startEnergy = energyMilliwattHours;
		return ended;
	}

	#endPart(energyMilliwattHours: number, tariff: number, end: number, follows: boolean): void {
		const values = this.#values;
		values[PARTS + this.#partIndex] = this.#whole && follows ? energyMilliwattHours - this.#startEnergy : Number.NaN;
		this.#partIndex = (this.#partIndex + 1) % this.subIntervals;
		let energy = 0;
		for (let i = 0; i < this.subIntervals; i++) energy += values[PARTS + i]!;
		if (Number.isNaN(energy)) {
			this.incompleteCount++;
			return;
		}
		const milliwatts = Math.round((energy * 3600) / this.intervalSeconds);
		this.lastMilliwatts = milliwatts;
		if (milliwatts <= this.#values[MAXIMUM + tariff - 1]!) return;
		this.#values[MAXIMUM + tariff - 1] = milliwatts;
		this.#values[MAXIMUM_UTC + tariff - 1] = end;
	}

	/** End of a billing period: the maxima start again; the running interval goes on. */
	reset(): void {
		this.#values.fill(0, MAXIMUM, PARTS);
	}

	/** Writes 42 bytes at `offset`. @returns 42 */
	encodeState(into: DataView, offset: number): number {
		into.setUint8(offset, DEMAND_STATE_VERSION);
		into.setUint8(offset + 1, 0);
		for (let i = 0; i < TARIFF_COUNT; i++) {
			setUint48(into, offset + 2 + 10 * i, this.#values[MAXIMUM + i]!);
			into.setUint32(offset + 8 + 10 * i, this.#values[MAXIMUM_UTC + i]!);
		}
		return DEMAND_STATE_BYTES;
	}

	/** @returns `ok`, `badLength`, `badVersion`, `badValue`; unchanged unless `ok` */
	restoreState(from: DataView, offset: number, byteLength: number): Status {
		if (byteLength !== DEMAND_STATE_BYTES) return Status.badLength; // DMD-1
		if (from.getUint8(offset) !== DEMAND_STATE_VERSION) return Status.badVersion; // DMD-2
		if (from.getUint8(offset + 1) !== 0) return Status.badValue; // DMD-3
		for (let i = 0; i < TARIFF_COUNT; i++) {
			this.#values[MAXIMUM + i] = getUint48(from, offset + 2 + 10 * i);
			this.#values[MAXIMUM_UTC + i] = from.getUint32(offset + 8 + 10 * i);
		}
		return Status.ok;
	}
}
