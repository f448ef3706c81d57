import { InvariantError, Status } from "../bytes/status.js";

/** 1 mWh in the unit of the remainder: 2^28. A weight is right to 2^-29 mWh a count. */
const Q28 = 0x1000_0000;
/** 1 mWh in mW·ms. */
const MILLIWATT_MILLISECONDS = 3_600_000;
/** Most counts of one `add`: a whole 24-bit register; count × fraction stays below 2^52. */
export const COUNTS_MAX = 0x100_0000;

/**
 * Energy out of a chip's counter: counts times a weight, in whole mWh (or mvarh), split by sign, with the remainder of
 * each direction carried, so that nothing is lost by rounding however often it is read. 8 fields, no chunk.
 */
export class CountedEnergy {
	/** Not yet taken by `sample`. */
	importMilliwattHours = 0;
	exportMilliwattHours = 0;
	#importRemainderQ28 = 0;
	#exportRemainderQ28 = 0;
	#wholeMilliwattHours = 0;
	#fractionQ28 = 0;

	/** Energy of one count, mWh; what is not yet a whole mWh stays as it is. */
	setWeight(milliwattHoursPerCount: number): void {
		if (!(milliwattHoursPerCount > 0 && milliwattHoursPerCount < 0x10_0000)) throw new InvariantError("energy weight");
		this.#wholeMilliwattHours = Math.floor(milliwattHoursPerCount);
		this.#fractionQ28 = Math.round((milliwattHoursPerCount - this.#wholeMilliwattHours) * Q28);
	}

	/**
	 * @param count a whole number, negative: exported; at most `COUNTS_MAX` either way
	 * @param offsetMilliwattMilliseconds what the chip counted too much since the last call, signed as power is
	 */
	add(count: number, offsetMilliwattMilliseconds = 0): void {
		const isExport = count < 0;
		const magnitude = isExport ? -count : count;
		if (!(magnitude <= COUNTS_MAX)) throw new InvariantError("counts of energy");
		let fraction = magnitude * this.#fractionQ28 + (isExport ? this.#exportRemainderQ28 : this.#importRemainderQ28);
		if (offsetMilliwattMilliseconds !== 0) {
			const offset = Math.round(offsetMilliwattMilliseconds * (Q28 / MILLIWATT_MILLISECONDS));
			fraction += isExport ? offset : -offset;
		}
		let carried = Math.floor(fraction / Q28);
		let whole = magnitude * this.#wholeMilliwattHours + carried;
		if (whole < 0) {
			// an offset of pulses that have not come: owed by the remainder, so that no total ever goes back
			carried -= whole;
			whole = 0;
		}
		fraction -= carried * Q28;
		if (isExport) {
			this.#exportRemainderQ28 = fraction;
			this.exportMilliwattHours += whole;
		} else {
			this.#importRemainderQ28 = fraction;
			this.importMilliwattHours += whole;
		}
	}

	/** What is carried and not yet a whole mWh, in mWh: for tests and diagnostics. */
	get remainderMilliwattHours(): number {
		return (this.#importRemainderQ28 - this.#exportRemainderQ28) / Q28;
	}

	/** Forgets what was taken. */
	taken(): void {
		this.importMilliwattHours = 0;
		this.exportMilliwattHours = 0;
	}
}

/** How far an unsigned counter of `modulus` went from `before` to `after`: -modulus/2 to modulus/2 - 1, over the wrap. */
export function counterDelta(before: number, after: number, modulus: number): number {
	let delta = after - before;
	if (delta >= modulus / 2) delta -= modulus;
	else if (delta < -modulus / 2) delta += modulus;
	return delta;
}

/**
 * A counter in a chip that only goes up, and wraps. A step that the time cannot have held is refused; when the next
 * value tells the same, the chip has begun anew, and counts from 0.
 */
export class UpCounter {
	/** Counts to charge after `advance`. */
	delta = 0;
	readonly #modulus: number;
	#last = Number.NaN;
	#refused = Number.NaN;

	constructor(modulus: number) {
		this.#modulus = modulus;
	}

	/** The next value is where counting begins. */
	forget(): void {
		this.#last = Number.NaN;
		this.#refused = Number.NaN;
	}

	/**
	 * @param count what the chip has now
	 * @param countsMax most that can have come since the last value that was `ok`
	 * @returns `ok`; `outOfOrder`: refused, `delta` is 0; `corrupt`: the chip restarted, `delta` is what it counted since
	 */
	advance(count: number, countsMax: number): Status {
		this.delta = 0;
		if (this.#last >= 0) {
			const step = this.#step(this.#last, count);
			if (!(step <= countsMax)) {
				const isAgain = this.#refused >= 0 && this.#step(this.#refused, count) <= countsMax;
				this.#refused = count;
				if (!isAgain) return Status.outOfOrder; // FEC-2
				this.#refused = Number.NaN;
				this.#last = count;
				this.delta = count <= countsMax ? count : 0;
				return Status.corrupt; // FEC-3
			}
			this.delta = step;
		}
		this.#refused = Number.NaN;
		this.#last = count;
		return Status.ok;
	}

	#step(from: number, to: number): number {
		return to >= from ? to - from : to - from + this.#modulus;
	}
}
