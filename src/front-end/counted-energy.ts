import { InvariantError } from "../bytes/status.js";

/** 1 mWh in the unit of the remainder: 2^28. A weight is right to 2^-29 mWh a count. */
const Q28 = 0x1000_0000;
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

	/** @param count a whole number, negative: exported; at most `COUNTS_MAX` either way */
	add(count: number): void {
		const magnitude = count < 0 ? -count : count;
		if (!(magnitude <= COUNTS_MAX)) throw new InvariantError("counts of energy");
		const fraction = magnitude * this.#fractionQ28 + (count < 0 ? this.#exportRemainderQ28 : this.#importRemainderQ28);
		const carried = Math.floor(fraction / Q28);
		const whole = magnitude * this.#wholeMilliwattHours + carried;
		if (count < 0) {
			this.#exportRemainderQ28 = fraction - carried * Q28;
			this.exportMilliwattHours += whole;
		} else {
			this.#importRemainderQ28 = fraction - carried * Q28;
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
