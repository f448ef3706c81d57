import { Status } from "../bytes/status.js";
import { AES_KEY_BYTES, type Crypto, NO_BYTES } from "../crypto/crypto.js";
import { Label } from "./labels.js";
import { ODOMETER_VALUE_BYTES } from "./odometer.js";

export const CHAIN_KEY_BYTES = 16;
/** A direction is silent for the rest of the day when its next index is this; it is never used itself. */
export const INDEX_END = 0xffff;
/** A meter accepts index c when it is less than this ahead; its senders stay within it. */
export const METER_WINDOW = 32;
/** The same of a server. */
export const SERVER_WINDOW = 4096;
/**
 * A meter with so many messages that no server has acknowledged asks and sends nothing else: what is left of the server's
 * window is for the questions.
 */
export const UNACKNOWLEDGED_MAX = 3072;
/** Indices that a meter reserves in one record. */
export const RESERVATION = 64;

/** The two odometers of a meter. */
export const Branch = Object.freeze({
	/** E: head-end and meter, end to end. */
	endToEnd: 0,
	/** N: concentrator and meter. */
	neighbourhood: 1,
} as const);
export type Branch = (typeof Branch)[keyof typeof Branch];

export const Direction = Object.freeze({ up: 0, down: 1 } as const);
export type Direction = (typeof Direction)[keyof typeof Direction];

/**
 * ck_0 of a direction.
 * @param value where V_e lies in `bytes`
 * @param chain receives 16 bytes
 */
export function startChain(
	crypto: Crypto,
	bytes: Uint8Array,
	value: number,
	direction: Direction,
	chain: number,
): void {
	const label = direction === Direction.up ? Label.chainUp : Label.chainDown;
	crypto.kdf(bytes, value, ODOMETER_VALUE_BYTES, label, NO_BYTES, 0, 0, bytes, chain, CHAIN_KEY_BYTES);
}

/** Moves a chain key `count` indices on, in place. */
export function advanceChain(crypto: Crypto, bytes: Uint8Array, chain: number, count: number): void {
	for (let i = count; i > 0; i--)
		crypto.kdf(bytes, chain, CHAIN_KEY_BYTES, Label.nextChainKey, NO_BYTES, 0, 0, bytes, chain, CHAIN_KEY_BYTES);
}

/** The key of the one message with the chain key's index. */
export function messageKey(crypto: Crypto, bytes: Uint8Array, chain: number, into: number): void {
	crypto.kdf(bytes, chain, CHAIN_KEY_BYTES, Label.messageKey, NO_BYTES, 0, 0, bytes, into, AES_KEY_BYTES);
}

/**
 * Whether a receiver takes an index, before it spends a compression on it.
 * @param next m, the receiver's next index
 * @returns `ok`; `badValue` for the index that is never used; `replayed`; `outOfOrder` when it is `window` or more ahead
 */
export function checkIndex(next: number, index: number, window: number): Status {
	if (index >= INDEX_END) return Status.badValue; // UNI-7
	if (index < next) return Status.replayed; // UNI-8
	return index - next < window ? Status.ok : Status.outOfOrder; // UNI-9
}

/** Where a reservation that starts at `next` ends. */
export function reservationEnd(next: number): number {
	return next + RESERVATION < INDEX_END ? next + RESERVATION : INDEX_END;
}

/**
 * Whether a sender to a meter may use its next index: without this rule 32 losses in a row would part both sides for the
 * day.
 * @param acknowledged the receiver's next index as far as the sender knows
 */
export function maySend(next: number, acknowledged: number, window: number): boolean {
	return next < INDEX_END && next - acknowledged < window;
}
