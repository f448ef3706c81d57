import {
	type CatchUpKey,
	ConcentratorBroadcast,
	type ConcentratorBroadcastState,
} from "../broadcast/concentrator-broadcast.js";
import type { SenderStore } from "../broadcast/sender-clock.js";
import type { ServerClock } from "../clock.js";

export interface BeaconsOptions {
	readonly seed: Uint8Array;
	readonly domain: number;
	readonly intervalSeconds: number;
	readonly clock: ServerClock;
	readonly log: (line: string) => void;
	readonly store: SenderStore<ConcentratorBroadcastState>;
	readonly publish: (beacon: Uint8Array) => void;
}

/** A beacon comes so long after its interval began: the head end's key of the interval is then here. */
const AFTER_SECONDS = 1;

/** One beacon in each interval, and what a catch-up says of the chain. */
export class Beacons {
	sent = 0;
	readonly #options: BeaconsOptions;
	readonly #sender: ConcentratorBroadcast;
	#closed = false;
	#hasComplained = false;

	constructor(options: BeaconsOptions) {
		this.#options = options;
		const { seed, domain, intervalSeconds, clock, store } = options;
		this.#sender = new ConcentratorBroadcast({ seed, domain, intervalSeconds, clock, store });
	}

	start(): void {
		const { clock, log, publish } = this.#options;
		const { timing } = this.#sender;
		const again = (): void => {
			if (this.#closed) return;
			try {
				publish(this.#sender.beacon());
				this.sent++;
				this.#hasComplained = false;
			} catch (error) {
				if (!this.#hasComplained) log((error as Error).message);
				this.#hasComplained = true;
			}
			const now = clock.utcSeconds();
			const next = timing.startMilliseconds(timing.numberAt(now * 1000) + 1) / 1000 + AFTER_SECONDS;
			clock.after(Math.max(0.001, next - now), again);
		};
		clock.after(AFTER_SECONDS, again);
	}

	headEndKey(epoch: number, interval: number, key: Uint8Array): void {
		this.#sender.headEndKey({ epoch, interval, key });
	}

	/** @returns undefined while the clock is behind what was sent */
	catchUpKey(): CatchUpKey | undefined {
		try {
			return this.#sender.catchUpKey();
		} catch {
			return undefined;
		}
	}

	close(): void {
		this.#closed = true;
	}
}
