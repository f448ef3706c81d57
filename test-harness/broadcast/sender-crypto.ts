import { type Crypto, checkRange, KDF_CONTEXT_BYTES_MAX, SHA256_BYTES } from "../../src/crypto/crypto.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { BlockHash } from "./block-hash.js";

/** node:crypto, but for the one-compression KDF, of which chains and calendars take millions. */
export class SenderCrypto extends NodeCrypto implements Crypto {
	readonly #hash = new BlockHash();

	override kdf(
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
		checkRange(key, keyOffset, keyBytes);
		checkRange(context, contextOffset, contextBytes);
		checkRange(into, intoOffset, intoBytes);
		if (keyBytes > SHA256_BYTES || contextBytes > KDF_CONTEXT_BYTES_MAX || !(label >= 0 && label <= 255))
			throw new RangeError("more than one compression takes");
		const { block } = this.#hash;
		for (let i = 0; i < keyBytes; i++) block[i] = key[keyOffset + i]!;
		block.fill(0, keyBytes, SHA256_BYTES);
		block[SHA256_BYTES] = label;
		for (let i = 0; i < contextBytes; i++) block[SHA256_BYTES + 1 + i] = context[contextOffset + i]!;
		this.#hash.digest(SHA256_BYTES + 1 + contextBytes, into, intoOffset, intoBytes);
		block.fill(0);
	}
}
