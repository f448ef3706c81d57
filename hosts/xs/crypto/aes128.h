/*
 * AES-128 (FIPS 197) without tables: bitsliced, two blocks at a time, so that neither instructions nor addresses depend
 * on key or data. Why, and what it costs: docs/DESIGN-CRYPTO.md.
 */

#ifndef WATTLOCK_AES128_H
#define WATTLOCK_AES128_H

#include <stdint.h>

#define WATTLOCK_AES_BLOCK_BYTES 16
#define WATTLOCK_AES_KEY_BYTES 16

/* Round keys as bit planes: 11 rounds of 8 words. */
typedef struct {
	uint32_t planes[88];
} wattlock_aes;

void wattlock_aes_key(wattlock_aes *aes, const uint8_t *key);
/* Encrypts two blocks in place; the second costs nothing. `second` may be `first`: then one block is encrypted. */
void wattlock_aes_encrypt(const wattlock_aes *aes, uint8_t *first, uint8_t *second);
/* Decrypts one block in place. */
void wattlock_aes_decrypt(const wattlock_aes *aes, uint8_t *block);

#endif
