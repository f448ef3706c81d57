/* SHA-256 (FIPS 180-4), and what is built on it: HMAC (RFC 2104), HKDF (RFC 5869), HORA's KDF. No tables that secrets index. */

#ifndef WATTLOCK_SHA256_H
#define WATTLOCK_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define WATTLOCK_SHA256_BYTES 32
#define WATTLOCK_SHA256_BLOCK_BYTES 64

typedef struct {
	uint32_t words[8];
	uint32_t lengthLow; /* bytes so far, 64 bits in two words: the struct needs an alignment of 4 only */
	uint32_t lengthHigh;
	uint8_t buffer[WATTLOCK_SHA256_BLOCK_BYTES];
} wattlock_sha256;

/* The states of the inner and outer hash after the padded key: two compressions saved per message. */
typedef struct {
	uint32_t inner[8];
	uint32_t outer[8];
} wattlock_hmac;

/* Overwrites; the compiler does not leave it out. */
void wattlock_wipe(void *bytes, size_t byteLength);
/* @returns 1 when equal, else 0; the time depends on byteLength alone */
int wattlock_equal(const uint8_t *a, const uint8_t *b, size_t byteLength);

void wattlock_sha256_reset(wattlock_sha256 *hash);
void wattlock_sha256_update(wattlock_sha256 *hash, const uint8_t *data, size_t byteLength);
/* Writes the first `intoBytes` (at most 32) of the digest. The state is spent, and wiped. */
void wattlock_sha256_digest(wattlock_sha256 *hash, uint8_t *into, size_t intoBytes);

void wattlock_hmac_key(wattlock_hmac *hmac, const uint8_t *key, size_t keyBytes);
/* Writes the first `intoBytes` (at most 32) of the tag. `into` may lie in `data`. */
void wattlock_hmac_sign(const wattlock_hmac *hmac, const uint8_t *data, size_t byteLength, uint8_t *into,
	size_t intoBytes);
/* intoBytes at most 255 x 32. `into` overlaps nothing. */
void wattlock_hkdf(const uint8_t *salt, size_t saltBytes, const uint8_t *secret, size_t secretBytes, const uint8_t *info,
	size_t infoBytes, uint8_t *into, size_t intoBytes);
/* SHA-256(key padded with zeros to 32 || label || context): one compression. keyBytes at most 32, contextBytes at most
   22, intoBytes at most 32. `into` may be `key`. */
void wattlock_kdf(const uint8_t *key, size_t keyBytes, uint8_t label, const uint8_t *context, size_t contextBytes,
	uint8_t *into, size_t intoBytes);

#endif
