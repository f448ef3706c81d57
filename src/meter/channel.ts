import type { Status } from "../bytes/status.js";
import type { Arrival } from "../commands/command-handler.js";

/**
 * What lies between the meter's messages and the link: keys, time, and the questions that both need. Messages lie in
 * content buffers, `CONTENT_PREFIX_BYTES` from their start, so that nothing is copied to make room for the prefix.
 */
export interface Channel {
	/** Bytes that `seal` adds to a content at most. */
	readonly overheadBytesMax: number;
	/** Messages may be sealed. Until then only what `transmit` gives goes out. */
	readonly isReady: boolean;
	/** Topics to be subscribed; at most `SUBSCRIPTIONS_MAX`. Asked once at start and after new keys. */
	topics(): readonly string[];
	/** The link is up, and what was asked before is lost. */
	connected(nowMilliseconds: number): void;
	disconnected(): void;
	/** @returns bytes of the channel's own message that is due, 0 for none */
	transmit(nowMilliseconds: number, into: Uint8Array): number;
	/** When `transmit` or `tick` wants to be called; Infinity: not by itself. */
	deadlineMilliseconds(): number;
	tick(nowMilliseconds: number): void;
	/**
	 * @param content the message begins at `CONTENT_PREFIX_BYTES`; the prefix is written here
	 * @param contentBytes prefix and message
	 * @param into at least contentBytes + overheadBytesMax
	 * @returns bytes written, 0 when nothing may be sealed now
	 */
	seal(content: Uint8Array, contentBytes: number, into: Uint8Array): number;
	/**
	 * Checks and opens what came on a topic.
	 * @param content receives prefix and message
	 * @returns `ok`: then `messageBytes` says how long the message is; 0: it was for the channel itself
	 */
	receive(nowMilliseconds: number, topic: string, payload: Uint8Array, byteLength: number, content: Uint8Array): Status;
	readonly messageBytes: number;
	/** How the message that `receive` gave last came. */
	readonly arrival: Arrival;
	/** Asks for the time at the next occasion. */
	requestTime(nowMilliseconds: number): void;
}

export const SUBSCRIPTIONS_MAX = 3;

export interface ChannelListener {
	/** The keys of a new day are in force. */
	epochChanged(epoch: number): void;
	/** Now it is `utcSeconds`, give or take `uncertaintySeconds`. The answer is known to be fresh. */
	timeReceived(utcSeconds: number, uncertaintySeconds: number): void;
	/** NaN: not set. */
	utcSeconds(): number;
	/** A message that came by another way than `receive`: a broadcast, a flash command. @param bytes valid during the call */
	messageReceived(arrival: Arrival, bytes: Uint8Array, offset: number, byteLength: number): Status;
}

export const TIME_PERIOD_MILLISECONDS = 3_600_000;
export const TIME_RETRY_MILLISECONDS = 30_000;
/** An answer that took longer tells too little. */
export const ROUND_TRIP_MAX_MILLISECONDS = 8_000;
