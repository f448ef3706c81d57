import { InvariantError, type Status } from "../bytes/status.js";

export const SHA256_BYTES = 32;
export const AES_KEY_BYTES = 16;
export const AES_BLOCK_BYTES = 16;
/** What key wrap adds. */
export const KEY_WRAP_BYTES = 8;
/** The longest context of `kdf`: with it the message still fits into one compression. */
export const KDF_CONTEXT_BYTES_MAX = 22;
export const HKDF_BYTES_MAX = 255 * SHA256_BYTES;

/** Where no bytes are wanted: no associated data, no context, no salt. */
export const NO_BYTES = new Uint8Array(0);
/** For keys that seal one message only. Long enough for CCM (7 to 13 bytes) and GCM (12). */
export const ZERO_NONCE = new Uint8Array(13);

/**
 * All of the meter's cryptography. Three implementations give the same bytes: `NobleCrypto` (reference, in
 * TypeScript), `WrappedNativeCrypto` (C of the host) and the harness's on node:crypto. docs/DESIGN-CRYPTO.md says why.
 *
 * Rules of every method:
 * - Bytes are given as array, offset and length and are whole messages; nothing is kept but what `setKey` and `update`
 *   say, nothing of the caller's is written but `into`, and no native implementation allocates.
 * - `into` may be the same bytes as `from`; else the two do not overlap, nor `into` the nonce or associated data.
 * - What others can cause is answered with a `Status`. Bytes outside an array, overlaps, lengths that only we choose,
 *   and a key object without a key are bugs: they throw `InvariantError` (on a native host, `RangeError`).
 * - Tags are compared in constant time. What else is constant in time depends on the implementation.
 */
export interface Crypto {
	/** Writes the first `intoBytes` (0 to 32) of the SHA-256 of `data`, and may write into it. @see FIPS 180-4 */
	sha256(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): void;
	/**
	 * The first `intoBytes` (0 to 32) of SHA-256(key padded with zeros to 32 bytes ‖ label ‖ context): one compression.
	 * A ratchet step writes in place: `into` may be `key` or `context`.
	 * @param keyBytes 0 to 32, of HORA 16 or 32
	 * @param label 0 to 255
	 * @param contextBytes 0 to 22
	 */
	kdf(
		key: Uint8Array,
		keyOffset: number,
		keyBytes: number,
		label: number,
		context: Uint8Array,
		contextOffset: number,
		contextBytes: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): void;
	/** HKDF-SHA-256, extract and expand. @returns `ok`, or `badLength` for more than 8160 bytes @see RFC 5869 */
	hkdf(
		salt: Uint8Array,
		saltOffset: number,
		saltBytes: number,
		secret: Uint8Array,
		secretOffset: number,
		secretBytes: number,
		info: Uint8Array,
		infoOffset: number,
		infoBytes: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): Status;
	/** Whether two byte ranges are equal; the time depends on `byteLength` alone. */
	equal(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, byteLength: number): boolean;
	/** For what comes in pieces, such as a firmware image. Starts reset. */
	createSha256(): Sha256;
	/** HMAC-SHA-256: keys of any length, tags of 1 to 32 bytes. @see RFC 2104 */
	createHmac(): Mac;
	/** AES-128-CMAC: keys of 16 bytes, tags of 1 to 16. @see RFC 4493 */
	createCmac(): Mac;
	createAes(): Aes;
	/** @param nonceBytes at least 1, 12 is meant @param tagBytes 4, 8 or 12 to 16 @see SP 800-38D */
	createGcm(nonceBytes: number, tagBytes: number): Aead;
	/**
	 * @param nonceBytes 7 to 13; a message has less than 2^(8 x (15 - nonceBytes)) bytes
	 * @param tagBytes 4, 6, … 16; 0 is the encryption-only CCM* of Zigbee, whose `open` always answers `ok`
	 * @see SP 800-38C, IEEE 802.15.4 annex B
	 */
	createCcm(nonceBytes: number, tagBytes: number): Aead;
	createKeyWrap(): KeyWrap;
}

/** A hash over pieces. */
export interface Sha256 {
	reset(): void;
	update(data: Uint8Array, offset: number, byteLength: number): void;
	/** Writes the first `intoBytes` of the digest and resets. */
	digest(into: Uint8Array, intoOffset: number, intoBytes: number): void;
	/** Overwrites the state; the object is of no use afterwards, until `reset`. */
	close(): void;
}

/** What holds a key: made once at start, keyed as often as is wanted. */
export interface Keyed {
	/** Overwrites whatever key was kept. */
	close(): void;
}

export interface Mac extends Keyed {
	/** Prepares and keeps the key; messages then cost no key expansion. */
	setKey(key: Uint8Array, keyOffset: number, keyBytes: number): void;
	sign(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		tagBytes: number,
	): void;
	/** @returns `ok` or `badTag` */
	verify(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		tag: Uint8Array,
		tagOffset: number,
		tagBytes: number,
	): Status;
}

/** The bare block, for Zigbee's hash and the like. */
export interface Aes extends Keyed {
	/** Takes 16 bytes. */
	setKey(key: Uint8Array, keyOffset: number): void;
	encryptBlock(from: Uint8Array, fromOffset: number, into: Uint8Array, intoOffset: number): void;
}

/** Authenticated encryption; nonce and tag lengths are fixed when it is made. */
export interface Aead extends Keyed {
	/** Takes 16 bytes. */
	setKey(key: Uint8Array, keyOffset: number): void;
	/**
	 * Writes byteLength + tagBytes: the encrypted bytes, then the tag.
	 * @returns `ok`, or `badLength` for a message longer than the mode can take
	 */
	seal(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
	): Status;
	/**
	 * Writes byteLength - tagBytes.
	 * @param byteLength of the encrypted bytes with their tag
	 * @returns `ok`; `badLength`, and nothing is written; or `badTag`, and zeros are written
	 */
	open(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
	): Status;
}

/** AES-128 key wrap with the default initial value. @see RFC 3394, SP 800-38F (KW) */
export interface KeyWrap extends Keyed {
	/** Takes 16 bytes. */
	setKey(key: Uint8Array, keyOffset: number): void;
	/** Writes byteLength + 8. @returns `ok`, or `badLength` unless byteLength is 16, 24, … */
	wrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status;
	/** Writes byteLength - 8. @returns `ok`; `badLength` unless byteLength is 24, 32, …; or `badTag`, and zeros are written */
	unwrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status;
}

/** Throws unless `byteLength` bytes from `offset` lie in `bytes`. */
export function checkRange(bytes: Uint8Array, offset: number, byteLength: number): void {
	if (!(offset >= 0 && byteLength >= 0 && offset + byteLength <= bytes.length))
		throw new InvariantError("bytes outside their array");
}

/** Throws unless the two ranges are the same place or share no byte. */
export function checkOverlap(
	from: Uint8Array,
	fromOffset: number,
	fromBytes: number,
	into: Uint8Array,
	intoOffset: number,
	intoBytes: number,
): void {
	if (from.buffer !== into.buffer || fromBytes === 0 || intoBytes === 0) return;
	const a = from.byteOffset + fromOffset;
	const b = into.byteOffset + intoOffset;
	if (a !== b && a < b + intoBytes && b < a + fromBytes) throw new InvariantError("bytes overlap");
}

/** Throws unless GCM has such nonces and tags. */
export function checkGcm(nonceBytes: number, tagBytes: number): void {
	if (!(nonceBytes >= 1) || !(tagBytes === 4 || tagBytes === 8 || (tagBytes >= 12 && tagBytes <= 16)))
		throw new InvariantError("GCM has no such nonce or tag");
}

/** Throws unless CCM has such nonces and tags. */
export function checkCcm(nonceBytes: number, tagBytes: number): void {
	if (
		!(nonceBytes >= 7 && nonceBytes <= 13) ||
		!(tagBytes >= 0 && tagBytes <= 16) ||
		tagBytes % 2 !== 0 ||
		tagBytes === 2
	)
		throw new InvariantError("CCM has no such nonce or tag");
}

/** Throws unless a tag may have `tagBytes`. */
export function checkTag(tagBytes: number, maximum: number): void {
	if (!(tagBytes >= 1 && tagBytes <= maximum)) throw new InvariantError("no such tag length");
}
