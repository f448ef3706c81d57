import type { Aead, Crypto, Mac } from "../../../src/crypto/crypto.js";
import { NO_BYTES, ZERO_NONCE } from "../../../src/crypto/crypto.js";
import { RandomSource } from "../../../src/crypto/drbg.js";
import { type NativeCrypto, WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { type CryptoVectors, runMisuseSuite, runVectorSuite } from "../vector-suite.js";

/** What the runner is asked, one JSON object a line. */
export type Request =
	| { readonly crypto: "noble" | "native"; readonly vectors: CryptoVectors }
	| { readonly crypto: "noble" | "native"; readonly misuse: true }
	| { readonly crypto: "noble" | "native"; readonly repeat: string; readonly times: number };

const root = globalThis as unknown as {
	readonly wattlockHost: NativeCrypto;
	wattlockStart: (line: string) => string;
};

/** The objects of one implementation, made on the first request: module level is read-only here. */
class Bench {
	readonly crypto: Crypto;
	readonly #message = new Uint8Array(1200);
	readonly #output = new Uint8Array(1200);
	readonly #hmac: Mac;
	readonly #cmac: Mac;
	readonly #ccm: Aead;
	readonly #gcm: Aead;

	constructor(crypto: Crypto) {
		this.crypto = crypto;
		this.#hmac = crypto.createHmac();
		this.#cmac = crypto.createCmac();
		this.#ccm = crypto.createCcm(13, 8);
		this.#gcm = crypto.createGcm(12, 16);
		this.#hmac.setKey(this.#message, 0, 32);
		this.#cmac.setKey(this.#message, 0, 16);
		this.#ccm.setKey(this.#message, 0);
		this.#gcm.setKey(this.#message, 0);
	}

	repeat(what: string, times: number): void {
		const crypto = this.crypto;
		const message = this.#message;
		const output = this.#output;
		for (let i = 0; i < times; i++)
			switch (what) {
				case "nothing":
					break;
				case "sha256 64":
					crypto.sha256(message, 0, 64, output, 0, 32);
					break;
				case "sha256 1024":
					crypto.sha256(message, 0, 1024, output, 0, 32);
					break;
				case "kdf":
					crypto.kdf(message, 0, 16, 0x6d, NO_BYTES, 0, 0, output, 0, 16);
					break;
				case "hmac 64":
					this.#hmac.sign(message, 0, 64, output, 0, 32);
					break;
				case "hkdf 32":
					crypto.hkdf(message, 0, 16, message, 0, 32, message, 0, 10, output, 0, 32);
					break;
				case "aes key":
					this.#ccm.setKey(message, 0);
					break;
				case "ccm seal 64":
					this.#ccm.seal(ZERO_NONCE, 0, message, 0, 18, message, 18, 64, output, 0);
					break;
				case "gcm seal 64":
					this.#gcm.seal(ZERO_NONCE, 0, message, 0, 13, message, 18, 64, output, 0);
					break;
				case "cmac 16":
					this.#cmac.sign(message, 0, 16, output, 0, 16);
					break;
				case "reading":
					// one HORA message: message key, next chain key, key schedule, seal
					crypto.kdf(message, 0, 16, 0x6d, NO_BYTES, 0, 0, output, 200, 16);
					crypto.kdf(message, 0, 16, 0x63, NO_BYTES, 0, 0, message, 0, 16);
					this.#ccm.setKey(output, 200);
					this.#ccm.seal(ZERO_NONCE, 0, message, 100, 18, message, 118, 64, output, 0);
					break;
				default:
					throw new RangeError(what);
			}
	}

	/** Entropy that counts: only the machinery is measured. */
	random(): number {
		let next = 0;
		const source = new RandomSource(this.crypto, {
			fill(into) {
				for (let i = 0; i < into.length; i++) into[i] = next = (next * 109 + 89) & 0xff;
			},
		});
		return source.start(NO_BYTES, 0) * 100 + source.fill(this.#output, 0, 32);
	}
}

class State {
	noble: Bench | undefined;
	native: Bench | undefined;
	get(name: "noble" | "native"): Bench {
		if (name === "noble") return (this.noble ??= new Bench(new NobleCrypto()));
		return (this.native ??= new Bench(new WrappedNativeCrypto(root.wattlockHost)));
	}
}

/** Answers in JSON: a suite's result, or "done". */
root.wattlockStart = (line) => {
	const request = JSON.parse(line) as Request;
	const clone = globalThis as unknown as { wattlockState?: State };
	const bench = (clone.wattlockState ??= new State()).get(request.crypto);
	if ("vectors" in request) return JSON.stringify(runVectorSuite(bench.crypto, request.vectors));
	if ("misuse" in request) return JSON.stringify(runMisuseSuite(bench.crypto));
	if (request.repeat === "random") return JSON.stringify(bench.random());
	bench.repeat(request.repeat, request.times);
	return '"done"';
};
