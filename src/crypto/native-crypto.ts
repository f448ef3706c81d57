import { InvariantError, type Status } from "../bytes/status.js";
import {
	AES_KEY_BYTES,
	type Aead,
	type Aes,
	type Crypto,
	checkCcm,
	checkGcm,
	type KeyWrap,
	type Mac,
	type Sha256,
} from "./crypto.js";

/**
 * What a host gives (`hosts/xs/crypto/` in portable C; on an ESP32 the same names over its hardware). A state is a
 * `Uint8Array` of ours with the length that the host names; C keeps nothing between calls. Every function throws for
 * what is a bug of ours; the rest is answered with a status. The parameters are those of `Crypto`, in the same order.
 */
export interface NativeCrypto {
	readonly hashStateBytes: number;
	readonly hmacStateBytes: number;
	readonly aesStateBytes: number;
	sha256(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): number;
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
	): number;
	hashReset(state: Uint8Array): number;
	hashUpdate(state: Uint8Array, data: Uint8Array, offset: number, byteLength: number): number;
	hashDigest(state: Uint8Array, into: Uint8Array, intoOffset: number, intoBytes: number): number;
	hmacKey(state: Uint8Array, key: Uint8Array, keyOffset: number, keyBytes: number): number;
	hmacSign: NativeSign;
	hmacVerify: NativeSign;
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
	): number;
	aesKey(state: Uint8Array, key: Uint8Array, keyOffset: number): number;
	aesBlock(state: Uint8Array, from: Uint8Array, fromOffset: number, into: Uint8Array, intoOffset: number): number;
	gcmSeal: NativeAead;
	gcmOpen: NativeAead;
	ccmSeal: NativeAead;
	ccmOpen: NativeAead;
	cmacSign: NativeSign;
	cmacVerify: NativeSign;
	keyWrap: NativeWrap;
	keyUnwrap: NativeWrap;
	/** @returns 1 when equal, else 0 */
	equal(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, byteLength: number): number;
}

type NativeSign = (
	state: Uint8Array,
	data: Uint8Array,
	offset: number,
	byteLength: number,
	tag: Uint8Array,
	tagOffset: number,
	tagBytes: number,
) => number;

type NativeAead = (
	state: Uint8Array,
	tagBytes: number,
	nonce: Uint8Array,
	nonceOffset: number,
	nonceBytes: number,
	aad: Uint8Array,
	aadOffset: number,
	aadBytes: number,
	from: Uint8Array,
	fromOffset: number,
	byteLength: number,
	into: Uint8Array,
	intoOffset: number,
) => number;

type NativeWrap = (
	state: Uint8Array,
	from: Uint8Array,
	fromOffset: number,
	byteLength: number,
	into: Uint8Array,
	intoOffset: number,
) => number;

/** The host's C behind `Crypto`. One host call for each method; the key objects own their state and wipe it. */
export class WrappedNativeCrypto implements Crypto {
	readonly #native: NativeCrypto;

	constructor(native: NativeCrypto) {
		this.#native = native;
	}

	sha256(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): void {
		this.#native.sha256(data, offset, byteLength, into, intoOffset, intoBytes);
	}

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
	): void {
		this.#native.kdf(
			key,
			keyOffset,
			keyBytes,
			label,
			context,
			contextOffset,
			contextBytes,
			into,
			intoOffset,
			intoBytes,
		);
	}

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
	): Status {
		return this.#native.hkdf(
			salt,
			saltOffset,
			saltBytes,
			secret,
			secretOffset,
			secretBytes,
			info,
			infoOffset,
			infoBytes,
			into,
			intoOffset,
			intoBytes,
		) as Status;
	}

	equal(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, byteLength: number): boolean {
		return this.#native.equal(a, aOffset, b, bOffset, byteLength) === 1;
	}

	createSha256(): Sha256 {
		return new NativeSha256(this.#native);
	}

	createHmac(): Mac {
		return new NativeHmac(this.#native);
	}

	createCmac(): Mac {
		return new NativeCmac(this.#native);
	}

	createAes(): Aes {
		return new NativeAes(this.#native);
	}

	createGcm(nonceBytes: number, tagBytes: number): Aead {
		checkGcm(nonceBytes, tagBytes);
		const native = this.#native;
		return new NativeAeadKey(native, native.gcmSeal, native.gcmOpen, nonceBytes, tagBytes);
	}

	createCcm(nonceBytes: number, tagBytes: number): Aead {
		checkCcm(nonceBytes, tagBytes);
		const native = this.#native;
		return new NativeAeadKey(native, native.ccmSeal, native.ccmOpen, nonceBytes, tagBytes);
	}

	createKeyWrap(): KeyWrap {
		return new NativeKeyWrap(this.#native);
	}
}

class NativeSha256 implements Sha256 {
	readonly #native: NativeCrypto;
	readonly #state: Uint8Array;

	constructor(native: NativeCrypto) {
		this.#native = native;
		this.#state = new Uint8Array(native.hashStateBytes);
		this.reset();
	}

	reset(): void {
		this.#native.hashReset(this.#state);
	}

	update(data: Uint8Array, offset: number, byteLength: number): void {
		this.#native.hashUpdate(this.#state, data, offset, byteLength);
	}

	digest(into: Uint8Array, intoOffset: number, intoBytes: number): void {
		this.#native.hashDigest(this.#state, into, intoOffset, intoBytes);
	}

	close(): void {
		this.#state.fill(0);
	}
}

class NativeHmac implements Mac {
	readonly #native: NativeCrypto;
	readonly #state: Uint8Array;

	constructor(native: NativeCrypto) {
		this.#native = native;
		this.#state = new Uint8Array(native.hmacStateBytes);
	}

	setKey(key: Uint8Array, keyOffset: number, keyBytes: number): void {
		this.#native.hmacKey(this.#state, key, keyOffset, keyBytes);
	}

	sign(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		tagBytes: number,
	): void {
		this.#native.hmacSign(this.#state, data, offset, byteLength, into, intoOffset, tagBytes);
	}

	verify(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		tag: Uint8Array,
		tagOffset: number,
		tagBytes: number,
	): Status {
		return this.#native.hmacVerify(this.#state, data, offset, byteLength, tag, tagOffset, tagBytes) as Status;
	}

	close(): void {
		this.#state.fill(0);
	}
}

class NativeCmac implements Mac {
	readonly #native: NativeCrypto;
	readonly #state: Uint8Array;

	constructor(native: NativeCrypto) {
		this.#native = native;
		this.#state = new Uint8Array(native.aesStateBytes);
	}

	setKey(key: Uint8Array, keyOffset: number, keyBytes: number): void {
		if (keyBytes !== AES_KEY_BYTES) throw new InvariantError("CMAC takes 16 bytes of key");
		this.#native.aesKey(this.#state, key, keyOffset);
	}

	sign(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		tagBytes: number,
	): void {
		this.#native.cmacSign(this.#state, data, offset, byteLength, into, intoOffset, tagBytes);
	}

	verify(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		tag: Uint8Array,
		tagOffset: number,
		tagBytes: number,
	): Status {
		return this.#native.cmacVerify(this.#state, data, offset, byteLength, tag, tagOffset, tagBytes) as Status;
	}

	close(): void {
		this.#state.fill(0);
	}
}

class NativeAes implements Aes {
	readonly #native: NativeCrypto;
	readonly #state: Uint8Array;

	constructor(native: NativeCrypto) {
		this.#native = native;
		this.#state = new Uint8Array(native.aesStateBytes);
	}

	setKey(key: Uint8Array, keyOffset: number): void {
		this.#native.aesKey(this.#state, key, keyOffset);
	}

	encryptBlock(from: Uint8Array, fromOffset: number, into: Uint8Array, intoOffset: number): void {
		this.#native.aesBlock(this.#state, from, fromOffset, into, intoOffset);
	}

	close(): void {
		this.#state.fill(0);
	}
}

class NativeAeadKey implements Aead {
	readonly #native: NativeCrypto;
	readonly #seal: NativeAead;
	readonly #open: NativeAead;
	readonly #nonceBytes: number;
	readonly #tagBytes: number;
	readonly #state: Uint8Array;

	constructor(native: NativeCrypto, seal: NativeAead, open: NativeAead, nonceBytes: number, tagBytes: number) {
		this.#native = native;
		this.#seal = seal;
		this.#open = open;
		this.#nonceBytes = nonceBytes;
		this.#tagBytes = tagBytes;
		this.#state = new Uint8Array(native.aesStateBytes);
	}

	setKey(key: Uint8Array, keyOffset: number): void {
		this.#native.aesKey(this.#state, key, keyOffset);
	}

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
	): Status {
		return this.#seal(
			this.#state,
			this.#tagBytes,
			nonce,
			nonceOffset,
			this.#nonceBytes,
			aad,
			aadOffset,
			aadBytes,
			from,
			fromOffset,
			byteLength,
			into,
			intoOffset,
		) as Status;
	}

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
	): Status {
		return this.#open(
			this.#state,
			this.#tagBytes,
			nonce,
			nonceOffset,
			this.#nonceBytes,
			aad,
			aadOffset,
			aadBytes,
			from,
			fromOffset,
			byteLength,
			into,
			intoOffset,
		) as Status;
	}

	close(): void {
		this.#state.fill(0);
	}
}

class NativeKeyWrap implements KeyWrap {
	readonly #native: NativeCrypto;
	readonly #state: Uint8Array;

	constructor(native: NativeCrypto) {
		this.#native = native;
		this.#state = new Uint8Array(native.aesStateBytes);
	}

	setKey(key: Uint8Array, keyOffset: number): void {
		this.#native.aesKey(this.#state, key, keyOffset);
	}

	wrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status {
		return this.#native.keyWrap(this.#state, from, fromOffset, byteLength, into, intoOffset) as Status;
	}

	unwrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status {
		return this.#native.keyUnwrap(this.#state, from, fromOffset, byteLength, into, intoOffset) as Status;
	}

	close(): void {
		this.#state.fill(0);
	}
}
