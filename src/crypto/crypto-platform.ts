import type { Platform } from "../platform/platform.js";
import type { Crypto } from "./crypto.js";

/** A platform together with the cryptography that its host has: C, hardware, or the TypeScript of `NobleCrypto`. */
export interface CryptoPlatform extends Platform {
	readonly crypto: Crypto;
}
