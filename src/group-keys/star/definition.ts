/** How a group key is wrapped for one member. */
export const Wrap = Object.freeze({
	/** AES-128-CCM, tag 8, under a key for each message: KDF(IK, "v", counter). */
	ccm: 0,
	/** AES key wrap (RFC 3394) under the individual key itself: authenticates the key, and nothing of the message. */
	keyWrap: 1,
} as const);
export type Wrap = (typeof Wrap)[keyof typeof Wrap];

/** What a newcomer and a refresh cost. */
export const Renewal = Object.freeze({
	/** A new key goes to the members under the old one, and to the newcomer under his own. */
	underOldKey: 0,
	/** A newcomer gets the present key; a refresh wraps for every member. */
	oneByOne: 1,
} as const);
export type Renewal = (typeof Renewal)[keyof typeof Renewal];

/** A scheme over the star engine. */
export interface StarDefinition {
	readonly schemeNumber: number;
	readonly variant: number;
	readonly wrap: Wrap;
	readonly renewal: Renewal;
	/** The counter is not read but counted along, as published: one lost message parts the two sides for good. */
	readonly isImplicit: boolean;
	/** HKDF with this name stands between the distributed key and its use; empty: none. */
	readonly derivation: Uint8Array;
}

/**
 * Messages of the star: the envelope, then one wrapped key, 24 bytes.
 * | offset | size | field    | unit and range                                                                 |
 * |-------:|-----:|----------|--------------------------------------------------------------------------------|
 * |      0 |   14 | envelope | generation: the one it makes; counter: of the individual key, 0 for all        |
 * |     14 |   24 | wrapped  | the group key under an individual key; for all: under the group key before     |
 *
 * CCM's nonce is group 1, generation 4 and zeros, its associated data the envelope.
 */
export const WRAPPED_BYTES = 24;
export const WRAP_TAG_BYTES = 8;
export const WRAP_NONCE_BYTES = 13;

/**
 * Labels of the star engine in the one-compression KDF, as ASCII.
 * | label | from      | context   | gives                  | bytes |
 * |-------|-----------|-----------|------------------------|------:|
 * | `v` | IK        | counter 2 | key of one wrap        |    16 |
 * | `o` | group key | –         | key that seals its successor | 16 |
 */
export const StarLabel = Object.freeze({ wrap: 0x76, successor: 0x6f } as const);
