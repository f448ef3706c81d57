export const LimiterState = Object.freeze({
	/** No limit. */
	off: 0,
	/** Closed, and the power is looked at. */
	watching: 1,
	/** Open after too much power; closes by itself when its time is over. */
	open: 2,
	/** Open too often: stays so until someone closes it. */
	locked: 3,
} as const);
export type LimiterState = (typeof LimiterState)[keyof typeof LimiterState];

/** Trips are forgotten after so long without one. */
export const TRIP_MEMORY_MILLISECONDS = 3_600_000;

/**
 * Power above the limit for `overSeconds` without a pause opens the relay. It closes again after `reconnectSeconds`, at
 * most `tripsMax` times within an hour, then it stays open. Time and power are arguments; nothing is allocated.
 */
export class LoadLimiter {
	state: LimiterState = LimiterState.off;
	/** Since the last hour without one. */
	trips = 0;
	#overMilliseconds = 60_000;
	#reconnectMilliseconds = 0;
	#tripsMax = 1;
	/** When the power went above the limit, when the relay opened, when it closed; NaN: not. */
	#overSince = Number.NaN;
	#openSince = Number.NaN;
	#closedSince = Number.NaN;

	/** @param reconnectSeconds 0: never by itself @param tripsMax the trip that locks, 1 or more */
	setRules(overSeconds: number, reconnectSeconds: number, tripsMax: number): void {
		this.#overMilliseconds = overSeconds * 1000;
		this.#reconnectMilliseconds = reconnectSeconds * 1000;
		this.#tripsMax = tripsMax;
	}

	get isOpen(): boolean {
		return this.state === LimiterState.open || this.state === LimiterState.locked;
	}

	/** Somebody who may do so closes: trips are forgotten. */
	release(): void {
		this.state = LimiterState.off;
		this.trips = 0;
		this.#overSince = this.#openSince = this.#closedSince = Number.NaN;
	}

	/** As it was before the power went. */
	lock(): void {
		this.state = LimiterState.locked;
	}

	/**
	 * Once a second.
	 * @param powerMilliwatts of import; export is negative
	 * @param limitMilliwatts Infinity: no limit, and what was open closes
	 * @returns the new state; `isOpen` says what the relay is to do
	 */
	tick(nowMilliseconds: number, powerMilliwatts: number, limitMilliwatts: number): LimiterState {
		if (limitMilliwatts === Number.POSITIVE_INFINITY) {
			if (this.state !== LimiterState.off) this.release();
			return this.state;
		}
		switch (this.state) {
			case LimiterState.off:
				this.state = LimiterState.watching;
				this.#closedSince = nowMilliseconds;
				break;
			case LimiterState.open:
				if (this.#reconnectMilliseconds > 0 && nowMilliseconds - this.#openSince >= this.#reconnectMilliseconds) {
					this.state = LimiterState.watching;
					this.#overSince = Number.NaN;
					this.#closedSince = nowMilliseconds;
				}
				return this.state;
			case LimiterState.locked:
				return this.state;
			default:
		}
		if (this.trips > 0 && nowMilliseconds - this.#closedSince >= TRIP_MEMORY_MILLISECONDS) this.trips = 0;
		if (!(powerMilliwatts > limitMilliwatts)) {
			this.#overSince = Number.NaN;
			return this.state;
		}
		if (Number.isNaN(this.#overSince)) this.#overSince = nowMilliseconds;
		if (nowMilliseconds - this.#overSince >= this.#overMilliseconds) {
			this.trips++;
			this.#openSince = nowMilliseconds;
			this.#overSince = Number.NaN;
			const isLast = this.trips >= this.#tripsMax || this.#reconnectMilliseconds === 0;
			this.state = isLast ? LimiterState.locked : LimiterState.open;
		}
		return this.state;
	}
}
