import { unsafe } from "@noble/ciphers/aes.js";
import { _SHA256 } from "@noble/hashes/sha2.js";
import { InvariantError, Status } from "../bytes/status.js";
import { BlockAes, type BlockCipher, BlockKeyWrap, Ccm, Cmac, Gcm } from "./aes-modes.js";
import {
	AES_BLOCK_BYTES,
	AES_KEY_BYTES,
	type Aead,
	type Aes,
	type Crypto,
	checkRange,
	checkTag,
	HKDF_BYTES_MAX,
	KDF_CONTEXT_BYTES_MAX,
	type KeyWrap,
	type Mac,
	SHA256_BYTES,
	type Sha256,
} from "./crypto.js";
import { equalBytes } from "./equal.js";

const SHA256_BLOCK_BYTES = 64;

function copy(into: Uint8Array, intoOffset: number, from: Uint8Array, fromOffset: number, byteLength: number): void {
	for (let i = 0; i < byteLength; i++) into[intoOffset + i] = from[fromOffset + i]!;
}

function checkDigest(into: Uint8Array, intoOffset: number, intoBytes: number): void {
	checkRange(into, intoOffset, intoBytes);
	if (intoBytes > SHA256_BYTES) throw new InvariantError("SHA-256 has 32 bytes");
}

/** The compression is @noble/hashes'; a state is copied over another to start it, so that no hash makes an object. */
class NobleSha256 implements Sha256 {
	readonly #fresh = new _SHA256();
	readonly #work = new _SHA256();
	readonly #digest = new Uint8Array(SHA256_BYTES);
	#isOpen = true;

	reset(): void {
		this.start(this.#fresh);
	}

	/** Goes on from the state of another hash. */
	start(from: _SHA256): void {
		from._cloneInto(this.#work);
		this.#isOpen = true;
	}

	update(data: Uint8Array, offset: number, byteLength: number): void {
		checkRange(data, offset, byteLength);
		if (!this.#isOpen) throw new InvariantError("the hash is closed");
		this.#work.update(byteLength === data.length ? data : data.subarray(offset, offset + byteLength));
	}

	digest(into: Uint8Array, intoOffset: number, intoBytes: number): void {
		checkDigest(into, intoOffset, intoBytes);
		if (!this.#isOpen) throw new InvariantError("the hash is closed");
		this.#work.digestInto(this.#digest);
		copy(into, intoOffset, this.#digest, 0, intoBytes);
		this.#digest.fill(0);
		this.#work.destroy();
		this.reset();
	}

	/** Leaves the state after whole blocks in another hash. */
	saveTo(into: _SHA256): void {
		this.#work._cloneInto(into);
	}

	close(): void {
		this.#work.destroy();
		this.#isOpen = false;
	}
}

class NobleHmac implements Mac {
	readonly #hash = new NobleSha256();
	readonly #inner = new _SHA256();
	readonly #outer = new _SHA256();
	readonly #block = new Uint8Array(SHA256_BLOCK_BYTES);
	#isKeyed = false;

	setKey(key: Uint8Array, keyOffset: number, keyBytes: number): void {
		checkRange(key, keyOffset, keyBytes);
		const hash = this.#hash;
		const block = this.#block;
		block.fill(0);
		hash.reset();
		if (keyBytes > SHA256_BLOCK_BYTES) {
			hash.update(key, keyOffset, keyBytes);
			hash.digest(block, 0, SHA256_BYTES);
		} else copy(block, 0, key, keyOffset, keyBytes);
		for (let i = 0; i < SHA256_BLOCK_BYTES; i++) block[i] = block[i]! ^ 0x36;
		hash.update(block, 0, SHA256_BLOCK_BYTES);
		hash.saveTo(this.#inner);
		for (let i = 0; i < SHA256_BLOCK_BYTES; i++) block[i] = block[i]! ^ (0x36 ^ 0x5c);
		hash.reset();
		hash.update(block, 0, SHA256_BLOCK_BYTES);
		hash.saveTo(this.#outer);
		hash.close();
		block.fill(0);
		this.#isKeyed = true;
	}

	sign(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		tagBytes: number,
	): void {
		checkTag(tagBytes, SHA256_BYTES);
		checkRange(into, intoOffset, tagBytes);
		this.start();
		this.update(data, offset, byteLength);
		this.finish(into, intoOffset, tagBytes);
	}

	verify(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		tag: Uint8Array,
		tagOffset: number,
		tagBytes: number,
	): Status {
		checkTag(tagBytes, SHA256_BYTES);
		this.start();
		this.update(data, offset, byteLength);
		this.finish(this.#block, 0, SHA256_BYTES);
		const isRight = equalBytes(this.#block, 0, tag, tagOffset, tagBytes);
		this.#block.fill(0);
		return isRight ? Status.ok : Status.badTag;
	}

	/** For a message in pieces; `finish` ends it. */
	start(): void {
		if (!this.#isKeyed) throw new InvariantError("no key");
		this.#hash.start(this.#inner);
	}

	update(data: Uint8Array, offset: number, byteLength: number): void {
		this.#hash.update(data, offset, byteLength);
	}

	finish(into: Uint8Array, intoOffset: number, intoBytes: number): void {
		this.#hash.digest(this.#block, 0, SHA256_BYTES);
		this.#hash.start(this.#outer);
		this.#hash.update(this.#block, 0, SHA256_BYTES);
		this.#block.fill(0);
		this.#hash.digest(into, intoOffset, intoBytes);
		this.#hash.close();
	}

	close(): void {
		this.#inner.destroy();
		this.#outer.destroy();
		this.#hash.close();
		this.#isKeyed = false;
	}
}

/** The block function is @noble/ciphers'; its words are little-endian, as all our targets are. */
class NobleAes implements BlockCipher {
	readonly #bytes = new Uint8Array(AES_BLOCK_BYTES);
	readonly #words = new Uint32Array(this.#bytes.buffer);
	#encryption: Uint32Array | undefined;
	#decryption: Uint32Array | undefined;
	/** Only key wrap decrypts blocks; the others need no schedule for it. */
	readonly #decrypts: boolean;

	constructor(decrypts: boolean) {
		this.#decrypts = decrypts;
	}

	setKey(key: Uint8Array, keyOffset: number): void {
		this.close();
		copy(this.#bytes, 0, key, keyOffset, AES_KEY_BYTES);
		this.#encryption = unsafe.expandKeyLE(this.#bytes);
		if (this.#decrypts) this.#decryption = unsafe.expandKeyDecLE(this.#bytes);
		this.#bytes.fill(0);
	}

	encrypt(block: Uint8Array): void {
		const words = this.#words;
		copy(this.#bytes, 0, block, 0, AES_BLOCK_BYTES);
		this.#store(unsafe.encrypt(this.#encryption!, words[0]!, words[1]!, words[2]!, words[3]!), block);
	}

	decrypt(block: Uint8Array): void {
		const words = this.#words;
		copy(this.#bytes, 0, block, 0, AES_BLOCK_BYTES);
		this.#store(unsafe.decrypt(this.#decryption!, words[0]!, words[1]!, words[2]!, words[3]!), block);
	}

	close(): void {
		this.#encryption?.fill(0);
		this.#decryption?.fill(0);
		this.#encryption = undefined;
		this.#decryption = undefined;
	}

	#store(result: { s0: number; s1: number; s2: number; s3: number }, block: Uint8Array): void {
		const words = this.#words;
		words[0] = result.s0;
		words[1] = result.s1;
		words[2] = result.s2;
		words[3] = result.s3;
		copy(block, 0, this.#bytes, 0, AES_BLOCK_BYTES);
		words.fill(0);
	}
}

/**
 * The reference, in TypeScript: the SHA-256 compression and the AES block of @noble, everything above them ours.
 * noble's own GCM builds 256 objects for each message, its HKDF and GHASH keep scratch bytes at module level, and it has
 * no CCM (docs/DESIGN-CRYPTO.md). In firmware it must be bundled with `noblePlugin`.
 */
export class NobleCrypto implements Crypto {
	readonly #hash = new NobleSha256();
	readonly #hmac = new NobleHmac();
	readonly #block = new Uint8Array(SHA256_BYTES + 1 + KDF_CONTEXT_BYTES_MAX);

	sha256(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): void {
		// before anything is taken in: a throw leaves no half message behind
		checkDigest(into, intoOffset, intoBytes);
		this.#hash.update(data, offset, byteLength);
		this.#hash.digest(into, intoOffset, intoBytes);
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
		const block = this.#block;
		checkRange(key, keyOffset, keyBytes);
		checkRange(context, contextOffset, contextBytes);
		checkDigest(into, intoOffset, intoBytes);
		if (keyBytes > SHA256_BYTES || contextBytes > KDF_CONTEXT_BYTES_MAX || !(label >= 0 && label <= 255))
			throw new InvariantError("more than one compression takes");
		block.fill(0);
		copy(block, 0, key, keyOffset, keyBytes);
		block[SHA256_BYTES] = label;
		copy(block, SHA256_BYTES + 1, context, contextOffset, contextBytes);
		this.#hash.update(block, 0, SHA256_BYTES + 1 + contextBytes);
		this.#hash.digest(into, intoOffset, intoBytes);
		block.fill(0);
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
		const hmac = this.#hmac;
		const block = this.#block;
		checkRange(info, infoOffset, infoBytes);
		checkRange(into, intoOffset, intoBytes);
		if (intoBytes > HKDF_BYTES_MAX) return Status.badLength;
		hmac.setKey(salt, saltOffset, saltBytes);
		hmac.sign(secret, secretOffset, secretBytes, block, 0, SHA256_BYTES);
		hmac.setKey(block, 0, SHA256_BYTES);
		for (let done = 0, counter = 1; done < intoBytes; done += SHA256_BYTES, counter++) {
			hmac.start();
			if (counter > 1) hmac.update(block, 0, SHA256_BYTES);
			hmac.update(info, infoOffset, infoBytes);
			block[SHA256_BYTES] = counter;
			hmac.update(block, SHA256_BYTES, 1);
			hmac.finish(block, 0, SHA256_BYTES);
			copy(into, intoOffset + done, block, 0, Math.min(SHA256_BYTES, intoBytes - done));
		}
		block.fill(0);
		hmac.close();
		return Status.ok;
	}

	equal(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, byteLength: number): boolean {
		return equalBytes(a, aOffset, b, bOffset, byteLength);
	}

	createSha256(): Sha256 {
		return new NobleSha256();
	}

	createHmac(): Mac {
		return new NobleHmac();
	}

	createCmac(): Mac {
		return new Cmac(new NobleAes(false));
	}

	createAes(): Aes {
		return new BlockAes(new NobleAes(false));
	}

	createGcm(nonceBytes: number, tagBytes: number): Aead {
		return new Gcm(new NobleAes(false), nonceBytes, tagBytes);
	}

	createCcm(nonceBytes: number, tagBytes: number): Aead {
		return new Ccm(new NobleAes(false), nonceBytes, tagBytes);
	}

	createKeyWrap(): KeyWrap {
		return new BlockKeyWrap(new NobleAes(true));
	}
}
