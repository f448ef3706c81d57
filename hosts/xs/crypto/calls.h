/*
 * The functions of `NativeCrypto` (src/crypto/native-crypto.ts), with their checks, but without an engine: the binding
 * to XS and the test program call them through one table. Keys and hash states live in byte arrays of the caller, so C
 * holds nothing between calls and there is nothing to free.
 */

#ifndef WATTLOCK_CRYPTO_CALLS_H
#define WATTLOCK_CRYPTO_CALLS_H

#include <stdint.h>

#define WATTLOCK_CRYPTO_ARGUMENTS_MAX 13

typedef struct {
	uint8_t *bytes;
	uint32_t byteLength;
	int32_t number;
} wattlock_crypto_argument;

/*
 * name, arguments: r bytes that are read, w bytes that are written, k a state that is read, s a state that is written,
 * i an integer. A state is aligned to 4 bytes. The order is that of the interface.
 */
#define WATTLOCK_CRYPTO_FUNCTIONS(X) \
	X(sha256, "riiwii") \
	X(kdf, "riiiriiwii") \
	X(hashReset, "s") \
	X(hashUpdate, "srii") \
	X(hashDigest, "swii") \
	X(hmacKey, "srii") \
	X(hmacSign, "kriiwii") \
	X(hmacVerify, "kriirii") \
	X(hkdf, "riiriiriiwii") \
	X(aesKey, "sri") \
	X(aesBlock, "kriwi") \
	X(gcmSeal, "kiriiriiriiwi") \
	X(gcmOpen, "kiriiriiriiwi") \
	X(ccmSeal, "kiriiriiriiwi") \
	X(ccmOpen, "kiriiriiriiwi") \
	X(cmacSign, "kriiwii") \
	X(cmacVerify, "kriirii") \
	X(keyWrap, "kriiwi") \
	X(keyUnwrap, "kriiwi") \
	X(equal, "ririi")

/* A call answers a status of src/bytes/status.ts, for `equal` 0 or 1, or this: the caller's own mistake. */
#define WATTLOCK_CRYPTO_MISUSE (-1)

typedef int (*wattlock_crypto_call)(const wattlock_crypto_argument *arguments);

typedef struct {
	const char *name;
	const char *arguments;
	wattlock_crypto_call call;
} wattlock_crypto_function;

/* Bytes of a state: properties of the same object. */
typedef struct {
	const char *name;
	uint32_t value;
} wattlock_crypto_constant;

#define WATTLOCK_CRYPTO_INDEX(name, arguments) WATTLOCK_CRYPTO_##name,
enum { WATTLOCK_CRYPTO_FUNCTIONS(WATTLOCK_CRYPTO_INDEX) WATTLOCK_CRYPTO_COUNT };
#undef WATTLOCK_CRYPTO_INDEX

extern const wattlock_crypto_function wattlock_crypto_functions[WATTLOCK_CRYPTO_COUNT];
extern const wattlock_crypto_constant wattlock_crypto_constants[3];

#endif
