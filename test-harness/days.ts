import type { TimeContent } from "../src/messages/channel.js";

export const DAY_SECONDS = 86_400;

/** The day of a UTCTime: days since 2000-01-01, in UTC. */
export function epochOf(utcSeconds: number): number {
	return Math.floor(utcSeconds / DAY_SECONDS);
}

/** A UTCTime as the secured channel says it. */
export function timeContent(utcSeconds: number, intervalSeconds: number): TimeContent {
	const epoch = epochOf(utcSeconds);
	const ofDay = utcSeconds - epoch * DAY_SECONDS;
	const interval = Math.floor(ofDay / intervalSeconds);
	return { epoch, interval, milliseconds: Math.floor((ofDay - interval * intervalSeconds) * 1000) };
}
