import { Status } from "../bytes/status.js";
import type { IntervalTiming } from "./interval-timing.js";

/** The local oscillator is at most this much too slow. */
export const DRIFT_PARTS_PER_MILLION = 100;
/** True time for local time: 1 / (1 - drift), which is more than HORA's 1 + drift. */
const TRUE_FOR_LOCAL = 1 / (1 - DRIFT_PARTS_PER_MILLION / 1_000_000);
/** Answers give whole milliseconds, rounded down. */
const ANSWER_RESOLUTION_MILLISECONDS = 1;

/**
 * U of one chain: an upper bound on its sender's time. A packet whose key the sender may have disclosed by U is refused,
 * so U may be too late, at the price of honest packets, and never too early.
 *
 * - It runs with the monotonic clock and its drift bound.
 * - A verified disclosed key moves it forward (`advance`), never back.
 * - Only a nonce exchange sets it (`set`), with the whole round trip added.
 * - At start it is infinite: nothing is accepted. Of what was sent up to the first exchange the meter may have acted on
 *   anything before it lost power, so those intervals stay refused, and no flash write is needed.
 * @see HORA section 6; test-harness/models/clock.pml
 */
export class ClockBound {
	readonly #timing: IntervalTiming;
	/** U at `#setAt`, ms since 2000-01-01. */
	#bound = Number.POSITIVE_INFINITY;
	#setAt = 0;
	/** Intervals up to this number are refused. */
	#refusedUntil = Number.POSITIVE_INFINITY;

	constructor(timing: IntervalTiming) {
		this.#timing = timing;
	}

	/** Whether there was an exchange. */
	get isSet(): boolean {
		return this.#bound !== Number.POSITIVE_INFINITY;
	}

	/** U, ms since 2000-01-01. */
	milliseconds(nowMilliseconds: number): number {
		return this.#bound + (nowMilliseconds - this.#setAt) * TRUE_FOR_LOCAL;
	}

	/** The number of the interval in which U lies; Infinity before the first exchange. */
	number(nowMilliseconds: number): number {
		return this.#timing.numberAt(this.milliseconds(nowMilliseconds));
	}

	/**
	 * The answer of a nonce exchange with the sender.
	 * @param nowMilliseconds when the answer came, monotonic
	 * @param utcMilliseconds the sender's time in it, ms since 2000-01-01
	 * @param roundTripMilliseconds since the question was sent
	 * @returns `ok`; `badValue`; `timedOut` after more than a quarter of an interval: ask again
	 */
	set(nowMilliseconds: number, utcMilliseconds: number, roundTripMilliseconds: number): Status {
		if (!(utcMilliseconds >= 0 && roundTripMilliseconds >= 0)) return Status.badValue; // CLB-1
		if (roundTripMilliseconds > 250 * this.#timing.intervalSeconds) return Status.timedOut; // CLB-2
		const isFirst = !this.isSet;
		this.#bound = utcMilliseconds + ANSWER_RESOLUTION_MILLISECONDS + roundTripMilliseconds * TRUE_FOR_LOCAL;
		this.#setAt = nowMilliseconds;
		if (isFirst) this.#refusedUntil = this.number(nowMilliseconds);
		return Status.ok;
	}

	/** The sender has reached an interval. Before the first exchange this says nothing. */
	advance(nowMilliseconds: number, number: number): void {
		const start = this.#timing.startMilliseconds(number);
		if (!this.isSet || start <= this.milliseconds(nowMilliseconds)) return;
		this.#bound = start;
		this.#setAt = nowMilliseconds;
	}

	/**
	 * Whether a packet of an interval may be kept until its key comes: U < i + d, in intervals.
	 * @returns `ok`; `clockInvalid` before the first exchange; `expired`: its key may be known; `replayed`: of before the first
	 * exchange; `outOfOrder`: of an interval that its sender has not reached
	 */
	check(nowMilliseconds: number, number: number): Status {
		if (!this.isSet) return Status.clockInvalid; // CLB-3
		const latest = this.number(nowMilliseconds);
		if (latest >= number + this.#timing.disclosureDelay) return Status.expired; // CLB-4
		if (number <= this.#refusedUntil) return Status.replayed; // CLB-5
		return number > latest + 1 ? Status.outOfOrder : Status.ok; // CLB-6
	}

	/** As after power loss. */
	forget(): void {
		this.#bound = Number.POSITIVE_INFINITY;
		this.#refusedUntil = Number.POSITIVE_INFINITY;
	}
}
