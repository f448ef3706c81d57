import type { IntervalTiming } from "../../src/broadcast/interval-timing.js";
import { UserError } from "../user-error.js";

/** Where a sender keeps what must not happen twice. */
export interface SenderStore<State> {
	/** What was saved last; undefined at the first start. */
	load(): State | undefined;
	/** Returns when it would survive a power cut. */
	save(state: State): void;
}

/** Seconds since 2000-01-01, fractions allowed. */
export interface UtcClock {
	utcSeconds(): number;
}

/**
 * The one time of a sender. Disclosures follow it, and the answers that meters set their bound from must come from it too:
 * were an answer behind a disclosure, meters would take what anyone made with the disclosed key. So it knows the furthest
 * interval that was ever acted in, and while the computer's clock is before that it refuses to say any time at all.
 */
export class SenderClock {
	readonly #clock: UtcClock;
	readonly #timing: IntervalTiming;
	#reached: number;

	/** @param reached number of the furthest interval acted in, as saved; -1: none */
	constructor(clock: UtcClock, timing: IntervalTiming, reached: number) {
		this.#clock = clock;
		this.#timing = timing;
		this.#reached = reached;
	}

	/** The time to answer with, s since 2000-01-01. @throws UserError while the clock is behind what was sent */
	utcSeconds(): number {
		const utcSeconds = this.#clock.utcSeconds();
		if (!(utcSeconds >= 0)) throw new UserError("the clock is not set");
		if (this.#reached >= 0 && utcSeconds * 1000 < this.#timing.startMilliseconds(this.#reached))
			throw new UserError(
				"the clock went back behind what was broadcast: nothing is sent, and no time told, until it has caught up",
			);
		return utcSeconds;
	}

	/** The number of the running interval. */
	number(): number {
		return this.#timing.numberAt(this.utcSeconds() * 1000);
	}

	/** Before something is done in an interval: if it is further than ever, it is saved, and only then known here. */
	reach(number: number, save: () => void): void {
		if (number <= this.#reached) return;
		save();
		this.#reached = number;
	}
}
