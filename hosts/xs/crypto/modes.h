/*
 * What is built on the AES block: GCM (SP 800-38D), CCM (SP 800-38C, and CCM* with no tag), CMAC (RFC 4493), key wrap
 * (RFC 3394). Whole messages. Functions that can refuse return a status of src/bytes/status.ts. `into` may be `from`,
 * else the two do not overlap; after a refusal `into` holds zeros.
 */

#ifndef WATTLOCK_MODES_H
#define WATTLOCK_MODES_H

#include "aes128.h"

#include <stddef.h>

enum { WATTLOCK_OK = 0, WATTLOCK_BAD_LENGTH = 1, WATTLOCK_BAD_TAG = 3 };

typedef struct {
	const uint8_t *nonce;
	size_t nonceBytes;
	const uint8_t *aad;
	size_t aadBytes;
	size_t tagBytes;
} wattlock_aead;

/* Nonces of any length from 1, tags of 4, 8 or 12 to 16 bytes. Writes byteLength + tagBytes. */
int wattlock_gcm_seal(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into);
/* byteLength counts the tag, which is not written. */
int wattlock_gcm_open(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into);

/* Nonces of 7 to 13 bytes, tags of 4, 6, ... 16 bytes; 0 (CCM*): encryption alone. */
int wattlock_ccm_seal(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into);
int wattlock_ccm_open(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into);

/* Writes the first intoBytes (at most 16) of the tag. */
void wattlock_cmac(const wattlock_aes *aes, const uint8_t *data, size_t byteLength, uint8_t *into, size_t intoBytes);

/* byteLength: 16, 24, ... Writes byteLength + 8. */
int wattlock_key_wrap(const wattlock_aes *aes, const uint8_t *from, size_t byteLength, uint8_t *into);
/* byteLength: 24, 32, ... Writes byteLength - 8. */
int wattlock_key_unwrap(const wattlock_aes *aes, const uint8_t *from, size_t byteLength, uint8_t *into);

#endif
