import type { AttemptStore } from "./provisioning-target.js";

/** Attempts that fail without consequence: a wrong file is taken sooner or later. */
export const FREE_ATTEMPTS = 3;
export const LOCK_OUT_SECONDS_MAX = 3600;
const ATTEMPTS_MAX = 255;

/** How long the port refuses after so many failures in a row: 0, 0, 0, 1, 2, 4, … s, from the sixteenth on one hour. */
export function lockOutSeconds(failedAttempts: number): number {
	if (failedAttempts <= FREE_ATTEMPTS) return 0;
	const doublings = failedAttempts - FREE_ATTEMPTS - 1;
	return doublings > 11 ? LOCK_OUT_SECONDS_MAX : 2 ** doublings;
}

/**
 * Slows down whoever tries authorisations at the optical port. An attempt counts before it is looked at, so that cutting
 * the power in the middle gains nothing; success forgets all failures, and nothing else does. A restart begins the
 * lock-out of the stored count anew. Writes to flash: one for each attempt, so at most 24 a day at the end.
 */
export class AttemptLimit {
	failedAttempts: number;
	readonly #store: AttemptStore;
	#untilMilliseconds: number;

	constructor(store: AttemptStore, nowMilliseconds: number) {
		this.#store = store;
		const found = store.load();
		this.failedAttempts = found >= 0 && found <= ATTEMPTS_MAX ? found : 0;
		this.#untilMilliseconds = nowMilliseconds + 1000 * lockOutSeconds(this.failedAttempts);
	}

	/** @returns milliseconds to wait, 0: an attempt may be made */
	remainingMilliseconds(nowMilliseconds: number): number {
		return nowMilliseconds < this.#untilMilliseconds ? this.#untilMilliseconds - nowMilliseconds : 0;
	}

	/** Counts an attempt as failed; `succeed` takes it back. Call only when nothing remains to wait. */
	begin(nowMilliseconds: number): void {
		if (this.failedAttempts < ATTEMPTS_MAX) this.failedAttempts++;
		this.#untilMilliseconds = nowMilliseconds + 1000 * lockOutSeconds(this.failedAttempts);
		this.#store.save(this.failedAttempts);
	}

	succeed(nowMilliseconds: number): void {
		this.failedAttempts = 0;
		this.#untilMilliseconds = nowMilliseconds;
		this.#store.save(0);
	}
}
