import type { Status } from "../../src/bytes/status.js";
import type { Aead, Aes, Crypto, KeyWrap, Mac, Sha256 } from "../../src/crypto/crypto.js";

/** Primitive operations, the same on every machine. */
export interface Work {
	/** SHA-256 compressions. */
	compressions: number;
	/** AES-128 blocks. */
	aesBlocks: number;
	/** AES-128 key expansions. */
	aesKeys: number;
}

/** Blocks that SHA-256 hashes for a message of so many bytes. */
export function compressionsOf(byteLength: number): number {
	return Math.floor((byteLength + 8) / 64) + 1;
}

/** Blocks of CCM, both passes: the first block, associated data with its length, the message, the tag's mask. */
export function ccmBlocks(aadBytes: number, textBytes: number): number {
	return 1 + (aadBytes === 0 ? 0 : Math.ceil((aadBytes + 2) / 16)) + 2 * Math.ceil(textBytes / 16) + 1;
}

/** Counts what another implementation is asked to do. Objects that group keys do not use are handed through uncounted. */
export class CountingCrypto implements Crypto {
	readonly work: Work = { compressions: 0, aesBlocks: 0, aesKeys: 0 };
	readonly #crypto: Crypto;

	constructor(crypto: Crypto) {
		this.#crypto = crypto;
	}

	/** What has been counted since it was last taken. */
	take(): Work {
		const taken = { ...this.work };
		this.work.compressions = 0;
		this.work.aesBlocks = 0;
		this.work.aesKeys = 0;
		return taken;
	}

	sha256(...args: Parameters<Crypto["sha256"]>): void {
		this.work.compressions += compressionsOf(args[2]);
		this.#crypto.sha256(...args);
	}

	kdf(...args: Parameters<Crypto["kdf"]>): void {
		this.work.compressions++;
		this.#crypto.kdf(...args);
	}

	hkdf(...args: Parameters<Crypto["hkdf"]>): Status {
		const [, , saltBytes, , , secretBytes, , , infoBytes, , , intoBytes] = args;
		// HMAC: two blocks of key, the message behind the first, a digest behind the second (RFC 2104, 5869).
		const hmac = (byteLength: number) => compressionsOf(64 + byteLength) + 2;
		this.work.compressions += hmac(secretBytes) + (saltBytes > 64 ? compressionsOf(saltBytes) : 0);
		for (let i = 0; i < Math.ceil(intoBytes / 32); i++)
			this.work.compressions += hmac((i === 0 ? 0 : 32) + infoBytes + 1);
		return this.#crypto.hkdf(...args);
	}

	equal(...args: Parameters<Crypto["equal"]>): boolean {
		return this.#crypto.equal(...args);
	}

	createSha256(): Sha256 {
		return this.#crypto.createSha256();
	}

	createHmac(): Mac {
		return this.#crypto.createHmac();
	}

	createCmac(): Mac {
		return this.#crypto.createCmac();
	}

	createAes(): Aes {
		return this.#crypto.createAes();
	}

	createGcm(nonceBytes: number, tagBytes: number): Aead {
		return this.#crypto.createGcm(nonceBytes, tagBytes);
	}

	createCcm(nonceBytes: number, tagBytes: number): Aead {
		const inner = this.#crypto.createCcm(nonceBytes, tagBytes);
		const { work } = this;
		return {
			setKey(key, keyOffset) {
				work.aesKeys++;
				inner.setKey(key, keyOffset);
			},
			seal(...args) {
				work.aesBlocks += ccmBlocks(args[4], args[7]);
				return inner.seal(...args);
			},
			open(...args) {
				work.aesBlocks += ccmBlocks(args[4], Math.max(0, args[7] - tagBytes));
				return inner.open(...args);
			},
			close: () => inner.close(),
		};
	}

	createKeyWrap(): KeyWrap {
		const inner = this.#crypto.createKeyWrap();
		const { work } = this;
		return {
			setKey(key, keyOffset) {
				work.aesKeys++;
				inner.setKey(key, keyOffset);
			},
			// RFC 3394: six rounds over all 8-byte halves.
			wrap(...args) {
				work.aesBlocks += 6 * (args[2] / 8);
				return inner.wrap(...args);
			},
			unwrap(...args) {
				work.aesBlocks += 6 * (args[2] / 8 - 1);
				return inner.unwrap(...args);
			},
			close: () => inner.close(),
		};
	}
}
