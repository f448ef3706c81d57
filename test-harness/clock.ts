/** Time as the servers see it: UTCTime in seconds, and timers that run on it. */
export interface ServerClock {
	/** Seconds since 2000-01-01T00:00:00Z, fractions allowed. */
	utcSeconds(): number;
	/** True when time stands still between calls of `advance`: a reception time is then known only to a step. */
	readonly stepped: boolean;
	/** Calls back once, not before `delaySeconds` have passed. @returns takes the call back */
	after(delaySeconds: number, callback: () => void): () => void;
	/** Takes all timers back. */
	close(): void;
}

/** UTCTime 0 as a Unix time, s. */
export const UTC_EPOCH_UNIX_SECONDS = 946_684_800;

/** The computer's time. @param startUtcSeconds shifts it so that it starts there; absent: the true time */
export class RealClock implements ServerClock {
	readonly stepped = false;
	readonly #offsetSeconds: number;
	readonly #timers = new Set<NodeJS.Timeout>();

	constructor(startUtcSeconds?: number) {
		const now = Date.now() / 1000 - UTC_EPOCH_UNIX_SECONDS;
		this.#offsetSeconds = startUtcSeconds === undefined ? 0 : startUtcSeconds - now;
	}

	utcSeconds(): number {
		return Date.now() / 1000 - UTC_EPOCH_UNIX_SECONDS + this.#offsetSeconds;
	}

	after(delaySeconds: number, callback: () => void): () => void {
		const timer = setTimeout(
			() => {
				this.#timers.delete(timer);
				callback();
			},
			Math.min(2 ** 31 - 1, Math.max(0, delaySeconds * 1000)),
		);
		this.#timers.add(timer);
		return () => {
			clearTimeout(timer);
			this.#timers.delete(timer);
		};
	}

	close(): void {
		for (const timer of this.#timers) clearTimeout(timer);
		this.#timers.clear();
	}
}

interface VirtualTimer {
	readonly dueSeconds: number;
	readonly order: number;
	readonly callback: () => void;
}

/** Time that moves only when told, running the timers it passes in order. */
export class VirtualClock implements ServerClock {
	readonly stepped = true;
	#nowSeconds: number;
	#order = 0;
	#timers: VirtualTimer[] = [];

	constructor(startUtcSeconds: number) {
		this.#nowSeconds = startUtcSeconds;
	}

	utcSeconds(): number {
		return this.#nowSeconds;
	}

	after(delaySeconds: number, callback: () => void): () => void {
		const timer = { dueSeconds: this.#nowSeconds + Math.max(0, delaySeconds), order: this.#order++, callback };
		this.#timers.push(timer);
		return () => {
			this.#timers = this.#timers.filter((other) => other !== timer);
		};
	}

	/** Moves to `utcSeconds`; an earlier time changes nothing. */
	advance(utcSeconds: number): void {
		for (;;) {
			let soonest: VirtualTimer | undefined;
			for (const timer of this.#timers)
				if (
					timer.dueSeconds <= utcSeconds &&
					(soonest === undefined ||
						timer.dueSeconds < soonest.dueSeconds ||
						(timer.dueSeconds === soonest.dueSeconds && timer.order < soonest.order))
				)
					soonest = timer;
			if (soonest === undefined) break;
			const due = soonest;
			this.#timers = this.#timers.filter((timer) => timer !== due);
			this.#nowSeconds = Math.max(this.#nowSeconds, due.dueSeconds);
			due.callback();
		}
		this.#nowSeconds = Math.max(this.#nowSeconds, utcSeconds);
	}

	close(): void {
		this.#timers = [];
	}
}
