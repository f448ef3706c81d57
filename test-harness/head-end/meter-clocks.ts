import { Kind, UTC_INVALID, utcField } from "../../src/messages/kinds.js";
import { ReadingFlag } from "../../src/messages/reading.js";
import type { Fleet } from "./fleet.js";
import { LIMITS } from "./limits.js";
import type { MeterState, OffsetSample } from "./meter-state.js";
import type { Sending } from "./sending.js";

/** Keeps the meters' clocks in step: answers questions for the time, watches the stamps of readings. */
export class MeterClocks {
	readonly #fleet: Fleet;
	readonly #sending: Sending;
	/** Time messages that wait for the end of a step, so that they carry its time. */
	#timeAnswers: { meter: MeterState; requestId: number }[] = [];
	#openSamples: { meter: MeterState; stamp: number; at: number }[] = [];
	#linkUpUtcSeconds = Number.NEGATIVE_INFINITY;

	constructor(fleet: Fleet, sending: Sending) {
		this.#fleet = fleet;
		this.#sending = sending;
	}

	linkUp(): void {
		this.#linkUpUtcSeconds = this.#fleet.clock.utcSeconds();
		for (const meter of this.#fleet.meters.values()) meter.offsets = [];
	}

	/** A reading came with a valid stamp. */
	sample(meter: MeterState, stamp: number, now: number): void {
		if (this.#fleet.clock.stepped) this.#openSamples.push({ meter, stamp, at: now });
		else this.#addOffset(meter, stamp, now, now);
	}

	/** The reading was stamped with whole seconds somewhere between `from` and `to` on our clock. */
	#addOffset(meter: MeterState, stamp: number, from: number, to: number): void {
		meter.offsets.push({ low: stamp - to, high: stamp + 1 - from });
		if (meter.offsets.length > 30) meter.offsets.shift();
	}

	sendTime(meter: MeterState, requestId: number): void {
		if (this.#fleet.clock.stepped) {
			this.#timeAnswers.push({ meter, requestId });
			return;
		}
		this.#sendTimeNow(meter, requestId);
	}

	#sendTimeNow(meter: MeterState, requestId: number): void {
		const now = this.#fleet.clock.utcSeconds();
		const whole = Math.floor(now);
		this.#sending.send(meter, Kind.time, requestId, utcField(whole), Math.floor((now - whole) * 1000));
		meter.offsets = [];
	}

	checkClocks(): void {
		if (this.#fleet.channel.isSecured) return; // a meter of the secured channel asks by itself: time without its nonce is none
		if (!this.#fleet.link?.connected || this.#fleet.clock.utcSeconds() - this.#linkUpUtcSeconds < 60) return;
		for (const meter of this.#fleet.meters.values()) {
			if (this.#fleet.state(meter.id) !== "online" || !meter.lastReading) continue;
			const invalid =
				meter.lastReading.utcSeconds === UTC_INVALID || (meter.lastReading.flags & ReadingFlag.clockInvalid) !== 0;
			const offset = this.clockOffset(meter);
			if (!invalid && (meter.offsets.length < 3 || offset === null)) continue;
			if (!invalid && Math.abs(offset!) <= LIMITS.clockOffsetMaxSeconds) continue;
			this.#fleet.log(
				`meter ${meter.id}: clock ${invalid ? "invalid" : `off by ${offset!.toFixed(1)} s`}, sending the time`,
			);
			this.sendTime(meter, 0);
		}
	}

	/**
	 * Meter's clock minus ours, s; null without samples. A delay on the way makes a clock look slow, so the least delayed
	 * sample counts. What lies within the resolution of the stamps (1 s, and the step of a virtual clock) is 0.
	 */
	clockOffset(meter: MeterState): number | null {
		let best: OffsetSample | undefined;
		for (const sample of meter.offsets) if (!best || sample.low > best.low) best = sample;
		if (!best) return null;
		return best.low > 0 ? best.low : Math.min(0, best.high);
	}

	/** At the end of a step of a virtual clock, now at its new time: what waited for that is sent. */
	stepDone(): void {
		const now = this.#fleet.clock.utcSeconds();
		for (const { meter, stamp, at } of this.#openSamples) this.#addOffset(meter, stamp, at, now);
		this.#openSamples = [];
		const answers = this.#timeAnswers;
		this.#timeAnswers = [];
		for (const { meter, requestId } of answers) this.#sendTimeNow(meter, requestId);
	}
}
