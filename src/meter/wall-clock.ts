import type { Clock } from "../platform/clock.js";

/** Corrections up to this are slewed, larger ones step with an event; s. */
export const SLEW_LIMIT_SECONDS = 3;
/** Corrections below this, beyond the uncertainty, are not worth a write; s. */
const IGNORE_SECONDS = 0.02;
/** Slew rate, s a second: 3 s take 5 minutes. */
const SLEW_RATE = 0.01;

/** What a time message did. */
export const ClockChange = Object.freeze({ none: 0, slewing: 1, stepped: 2, firstSet: 3 } as const);
export type ClockChange = (typeof ClockChange)[keyof typeof ClockChange];

/**
 * The meter's calendar clock: the board's real-time clock plus a correction that is worked off slowly, so that an
 * interval never shrinks or grows by more than 1 %. Time for energy comes from the sample count, never from here.
 */
export class WallClock {
	readonly #clock: Clock;
	#slewSeconds = 0;
	#lastMonotonicMilliseconds = 0;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#lastMonotonicMilliseconds = clock.monotonicMilliseconds();
	}

	/** s since 2000-01-01T00:00:00Z, NaN until set. */
	utcSeconds(): number {
		return this.#clock.utcSeconds();
	}

	/** Still to be worked off, s. */
	get slewSeconds(): number {
		return this.#slewSeconds;
	}

	/** Works off a part of the pending correction; call about once a second. */
	tick(): void {
		const now = this.#clock.monotonicMilliseconds();
		const elapsed = (now - this.#lastMonotonicMilliseconds) / 1000;
		if (elapsed < 1) return;
		this.#lastMonotonicMilliseconds = now;
		if (this.#slewSeconds === 0) return;
		const limit = elapsed * SLEW_RATE;
		const step = Math.max(-limit, Math.min(limit, this.#slewSeconds));
		this.#slewSeconds -= step;
		if (Math.abs(this.#slewSeconds) < 1e-6) this.#slewSeconds = 0;
		this.#clock.setUtcSeconds(this.#clock.utcSeconds() + step);
	}

	/**
	 * Takes the time of the concentrator.
	 * @param utcSeconds true time now, s, fractions allowed
	 * @param uncertaintySeconds half of the measured round trip: a difference below it tells nothing
	 * @returns what is done about the difference
	 */
	correct(utcSeconds: number, uncertaintySeconds: number): ClockChange {
		const now = this.#clock.utcSeconds();
		if (Number.isNaN(now)) {
			this.#slewSeconds = 0;
			this.#clock.setUtcSeconds(utcSeconds);
			return ClockChange.firstSet;
		}
		const offset = utcSeconds - now;
		if (Math.abs(offset) > SLEW_LIMIT_SECONDS) {
			this.#slewSeconds = 0;
			this.#clock.setUtcSeconds(utcSeconds);
			return ClockChange.stepped;
		}
		if (Math.abs(offset) <= uncertaintySeconds + IGNORE_SECONDS) {
			this.#slewSeconds = 0;
			return ClockChange.none;
		}
		this.#slewSeconds = offset;
		return ClockChange.slewing;
	}
}
