import { InvariantError, Status } from "../bytes/status.js";
import type { Entropy } from "../platform/entropy.js";
import { type Crypto, checkRange, type Mac, NO_BYTES, SHA256_BYTES } from "./crypto.js";
import { HealthTests } from "./health.js";

/** The longest seed, personalisation or additional input. */
export const SEED_MATERIAL_BYTES_MAX = 128;
/** The standard allows 2^16 bytes in one request; nothing here wants more than a batch of keys. */
export const REQUEST_BYTES_MAX = 4096;
/** Requests between reseeds. The standard allows 2^48. */
export const RESEED_INTERVAL = 1024;
/** Bytes that the start-up tests see before any is used. @see SP 800-90B section 4.3, item 10 */
export const START_UP_BYTES = 1024;

/** Security strength 256: entropy of the strength, and half of that as nonce, all from the source. */
const ENTROPY_BYTES = 32;
const NONCE_BYTES = 16;
/** The source is credited with half of its bits (health.ts): so twice as many bytes are taken. */
const SEED_BYTES = 2 * (ENTROPY_BYTES + NONCE_BYTES);
const RESEED_BYTES = 2 * ENTROPY_BYTES;

/**
 * HMAC_DRBG with SHA-256, the mechanism alone: what it is seeded with is the caller's. No prediction resistance.
 * @see SP 800-90A section 10.1.2
 */
export class HmacDrbg {
	readonly #hmac: Mac;
	/** V, then one byte, then what is mixed in. */
	readonly #buffer = new Uint8Array(SHA256_BYTES + 1 + SEED_MATERIAL_BYTES_MAX);
	readonly #key = new Uint8Array(SHA256_BYTES);
	/** Requests since the last seed; 0: not seeded. */
	#counter = 0;

	constructor(crypto: Crypto) {
		this.#hmac = crypto.createHmac();
	}

	get isSeeded(): boolean {
		return this.#counter > 0;
	}

	/** Whether the next `generate` will refuse until `reseed`. */
	get wantsReseed(): boolean {
		return this.#counter > RESEED_INTERVAL;
	}

	/** Starts from entropy ‖ nonce ‖ personalisation. */
	instantiate(material: Uint8Array, byteLength: number): void {
		this.#key.fill(0);
		this.#hmac.setKey(this.#key, 0, SHA256_BYTES);
		this.#buffer.fill(1, 0, SHA256_BYTES);
		this.#update(material, byteLength);
		this.#counter = 1;
	}

	/** Mixes in entropy ‖ additional input. */
	reseed(material: Uint8Array, byteLength: number): void {
		if (!this.isSeeded) throw new InvariantError("reseed before instantiate");
		this.#update(material, byteLength);
		this.#counter = 1;
	}

	/** @returns `ok`, or `busy`: not seeded, or the reseed is due; then nothing is written */
	generate(
		into: Uint8Array,
		offset: number,
		byteLength: number,
		additional: Uint8Array = NO_BYTES,
		additionalBytes = 0,
	): Status {
		checkRange(into, offset, byteLength);
		if (byteLength > REQUEST_BYTES_MAX) throw new InvariantError("more than one request may ask");
		if (!this.isSeeded || this.wantsReseed) return Status.busy;
		const buffer = this.#buffer;
		if (additionalBytes > 0) this.#update(additional, additionalBytes);
		for (let done = 0; done < byteLength; done += SHA256_BYTES) {
			this.#hmac.sign(buffer, 0, SHA256_BYTES, buffer, 0, SHA256_BYTES);
			const part = byteLength - done < SHA256_BYTES ? byteLength - done : SHA256_BYTES;
			for (let i = 0; i < part; i++) into[offset + done + i] = buffer[i]!;
		}
		this.#update(additional, additionalBytes);
		this.#counter++;
		return Status.ok;
	}

	/** Overwrites the state; `instantiate` starts again. */
	close(): void {
		this.#buffer.fill(0);
		this.#key.fill(0);
		this.#hmac.close();
		this.#counter = 0;
	}

	/** HMAC_DRBG_Update: K = HMAC(K, V ‖ 0 ‖ material), V = HMAC(K, V), and again with 1 when there is material. */
	#update(material: Uint8Array, byteLength: number): void {
		checkRange(material, 0, byteLength);
		if (byteLength > SEED_MATERIAL_BYTES_MAX) throw new InvariantError("too much seed material");
		const buffer = this.#buffer;
		const rounds = byteLength > 0 ? 2 : 1;
		for (let i = 0; i < byteLength; i++) buffer[SHA256_BYTES + 1 + i] = material[i]!;
		for (let round = 0; round < rounds; round++) {
			buffer[SHA256_BYTES] = round;
			this.#hmac.sign(buffer, 0, SHA256_BYTES + 1 + byteLength, this.#key, 0, SHA256_BYTES);
			this.#hmac.setKey(this.#key, 0, SHA256_BYTES);
			this.#hmac.sign(buffer, 0, SHA256_BYTES, buffer, 0, SHA256_BYTES);
		}
		this.#key.fill(0);
		buffer.fill(0, SHA256_BYTES);
	}
}

/**
 * The meter's random bytes: HMAC_DRBG, seeded from the host's source, which is tested before and all the while. After a
 * failed test it has erased itself and refuses for good: only a restart tries again.
 */
export class RandomSource {
	readonly #entropy: Entropy;
	readonly #drbg: HmacDrbg;
	readonly #health = new HealthTests();
	readonly #seed = new Uint8Array(SEED_MATERIAL_BYTES_MAX);

	constructor(crypto: Crypto, entropy: Entropy) {
		this.#entropy = entropy;
		this.#drbg = new HmacDrbg(crypto);
	}

	/**
	 * Tests the source on 1,024 bytes that are then thrown away, and seeds.
	 * @param personalisation what tells this meter from others, such as its id; not secret; at most 32 bytes
	 * @returns `ok`, or `corrupt` when the source fails its tests
	 */
	start(personalisation: Uint8Array, byteLength: number): Status {
		checkRange(personalisation, 0, byteLength);
		if (SEED_BYTES + byteLength > SEED_MATERIAL_BYTES_MAX) throw new InvariantError("personalisation too long");
		for (let done = 0; done < START_UP_BYTES; done += SEED_MATERIAL_BYTES_MAX)
			if (!this.#gather(SEED_MATERIAL_BYTES_MAX)) return Status.corrupt;
		if (!this.#gather(SEED_BYTES)) return Status.corrupt;
		for (let i = 0; i < byteLength; i++) this.#seed[SEED_BYTES + i] = personalisation[i]!;
		this.#drbg.instantiate(this.#seed, SEED_BYTES + byteLength);
		this.#seed.fill(0);
		return Status.ok;
	}

	/** Takes new entropy now; it also happens by itself every `RESEED_INTERVAL` requests. @returns as `fill` */
	reseed(): Status {
		if (this.#health.hasFailed) return Status.corrupt;
		if (!this.#drbg.isSeeded) return Status.busy;
		if (!this.#gather(RESEED_BYTES)) return Status.corrupt;
		this.#drbg.reseed(this.#seed, RESEED_BYTES);
		this.#seed.fill(0);
		return Status.ok;
	}

	/**
	 * Writes random bytes, at most `REQUEST_BYTES_MAX`.
	 * @returns `ok`; `busy` before `start`; `corrupt` once the source has failed. Unless `ok`, nothing is written
	 */
	fill(into: Uint8Array, offset: number, byteLength: number): Status {
		if (this.#drbg.wantsReseed) {
			const status = this.reseed();
			if (status !== Status.ok) return status;
		}
		const status = this.#drbg.generate(into, offset, byteLength);
		return status !== Status.ok && this.#health.hasFailed ? Status.corrupt : status;
	}

	/** Erases the state; `start` begins again, unless the source has failed. */
	close(): void {
		this.#drbg.close();
		this.#seed.fill(0);
		this.#health.forget();
	}

	/** Fetches and tests bytes of the source. @returns false after a failed test; then everything is erased */
	#gather(byteLength: number): boolean {
		const seed = this.#seed;
		seed.fill(0);
		// the source fills whole arrays
		this.#entropy.fill(byteLength === seed.length ? seed : seed.subarray(0, byteLength));
		if (this.#health.check(seed, byteLength)) return true;
		this.close();
		return false;
	}
}
