import type { NativeCrypto } from "../../../src/crypto/native-crypto.js";

const stateBytes = native<(index: number) => number>("simulator_crypto_state_bytes");

/** The cryptography in C (hosts/xs/crypto, bound by crypto.c). Sizes are asked for late: nothing may be called before the image runs. */
export const nativeCrypto: NativeCrypto = Object.freeze({
	get hashStateBytes(): number {
		return stateBytes(0);
	},
	get hmacStateBytes(): number {
		return stateBytes(1);
	},
	get aesStateBytes(): number {
		return stateBytes(2);
	},
	sha256: native<NativeCrypto["sha256"]>("simulator_crypto_sha256"),
	kdf: native<NativeCrypto["kdf"]>("simulator_crypto_kdf"),
	hashReset: native<NativeCrypto["hashReset"]>("simulator_crypto_hashReset"),
	hashUpdate: native<NativeCrypto["hashUpdate"]>("simulator_crypto_hashUpdate"),
	hashDigest: native<NativeCrypto["hashDigest"]>("simulator_crypto_hashDigest"),
	hmacKey: native<NativeCrypto["hmacKey"]>("simulator_crypto_hmacKey"),
	hmacSign: native<NativeCrypto["hmacSign"]>("simulator_crypto_hmacSign"),
	hmacVerify: native<NativeCrypto["hmacVerify"]>("simulator_crypto_hmacVerify"),
	hkdf: native<NativeCrypto["hkdf"]>("simulator_crypto_hkdf"),
	aesKey: native<NativeCrypto["aesKey"]>("simulator_crypto_aesKey"),
	aesBlock: native<NativeCrypto["aesBlock"]>("simulator_crypto_aesBlock"),
	gcmSeal: native<NativeCrypto["gcmSeal"]>("simulator_crypto_gcmSeal"),
	gcmOpen: native<NativeCrypto["gcmOpen"]>("simulator_crypto_gcmOpen"),
	ccmSeal: native<NativeCrypto["ccmSeal"]>("simulator_crypto_ccmSeal"),
	ccmOpen: native<NativeCrypto["ccmOpen"]>("simulator_crypto_ccmOpen"),
	cmacSign: native<NativeCrypto["cmacSign"]>("simulator_crypto_cmacSign"),
	cmacVerify: native<NativeCrypto["cmacVerify"]>("simulator_crypto_cmacVerify"),
	keyWrap: native<NativeCrypto["keyWrap"]>("simulator_crypto_keyWrap"),
	keyUnwrap: native<NativeCrypto["keyUnwrap"]>("simulator_crypto_keyUnwrap"),
	equal: native<NativeCrypto["equal"]>("simulator_crypto_equal"),
});
