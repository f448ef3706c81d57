import type { DemandResponseEvent } from "../messages/command.js";

export const ResponsePhase = Object.freeze({
	/** No event, or one that is over. */
	idle: 0,
	/** It is still to come. */
	scheduled: 1,
	active: 2,
	/** The customer opted out of it. */
	optedOut: 3,
} as const);
export type ResponsePhase = (typeof ResponsePhase)[keyof typeof ResponsePhase];

/** A controlled load runs for its share of each such period. */
export const DUTY_PERIOD_SECONDS = 1800;

/**
 * One demand-response event: when it is active, what it limits, and whether a controlled load may run now. The machine
 * keeps no clock and no copy: what it says follows from event, opt-out and time, so that a restart changes nothing.
 */
export class DemandResponse {
	/**
	 * Where in the period this meter's share begins, s: taken from its identifier, so that the loads of a street are not
	 * all on at once.
	 */
	readonly phaseSeconds: number;

	constructor(phaseSeconds: number) {
		this.phaseSeconds = phaseSeconds % DUTY_PERIOD_SECONDS;
	}

	/** @param utcSeconds NaN while the clock is not set: an event is then neither begun nor ended, and none is active */
	phase(event: DemandResponseEvent, hasOptedOut: boolean, utcSeconds: number): ResponsePhase {
		const { startSeconds, durationSeconds } = event;
		if (durationSeconds === 0 || Number.isNaN(utcSeconds)) return ResponsePhase.idle;
		if (utcSeconds >= startSeconds + durationSeconds) return ResponsePhase.idle;
		if (hasOptedOut) return ResponsePhase.optedOut;
		return utcSeconds >= startSeconds ? ResponsePhase.active : ResponsePhase.scheduled;
	}

	/** Infinity: the event sets none. */
	limitMilliwatts(event: DemandResponseEvent, phase: ResponsePhase): number {
		return phase === ResponsePhase.active && event.limitWatts > 0 ? event.limitWatts * 1000 : Number.POSITIVE_INFINITY;
	}

	/** Whether a load under control may run. */
	loadMayRun(event: DemandResponseEvent, phase: ResponsePhase, utcSeconds: number): boolean {
		if (phase !== ResponsePhase.active) return true;
		const second = (utcSeconds + this.phaseSeconds) % DUTY_PERIOD_SECONDS;
		return second * 1000 < event.dutyPermille * DUTY_PERIOD_SECONDS;
	}
}
