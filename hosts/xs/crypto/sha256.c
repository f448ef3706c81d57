/* See sha256.h. Eight rounds are written out, so that the eight working words never move between registers. */

#include "sha256.h"

#include <string.h>

static const uint32_t constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t start[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

void wattlock_wipe(void *bytes, size_t byteLength)
{
	uint8_t *at = bytes, *end = at + byteLength;
	/* By words: the C library of a small target clears byte by byte. */
	while (at < end && ((uintptr_t)at & 3) != 0)
		*at++ = 0;
	for (; end - at >= 4; at += 4)
		*(uint32_t *)(void *)at = 0;
	while (at < end)
		*at++ = 0;
	__asm__ volatile("" : : "r"(bytes) : "memory"); /* the bytes are "used" afterwards: the stores stay */
}

int wattlock_equal(const uint8_t *a, const uint8_t *b, size_t byteLength)
{
	uint32_t difference = 0;
	for (size_t i = 0; i < byteLength; i++)
		difference |= (uint32_t)(a[i] ^ b[i]);
	return (int)((difference - 1) >> 31); /* difference is at most 255 */
}

static uint32_t load(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t rotate(uint32_t word, int bits)
{
	return word >> bits | word << (32 - bits);
}

#define ROUND(a, b, c, d, e, f, g, h, i) \
	do { \
		uint32_t sum = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + k[i] + w[i]; \
		d += sum; \
		h = sum + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b))); \
	} while (0)

static void compress(uint32_t words[8], const uint8_t *block)
{
	uint32_t schedule[64];
	uint32_t a = words[0], b = words[1], c = words[2], d = words[3];
	uint32_t e = words[4], f = words[5], g = words[6], h = words[7];
	const uint32_t *k = constants;
	uint32_t *w = schedule;
	for (int i = 0; i < 16; i++)
		w[i] = load(block + 4 * i);
	for (; w < schedule + 48; w++)
		w[16] = w[0] + (rotate(w[1], 7) ^ rotate(w[1], 18) ^ w[1] >> 3) + w[9]
			+ (rotate(w[14], 17) ^ rotate(w[14], 19) ^ w[14] >> 10);
	for (w = schedule; w < schedule + 64; w += 8, k += 8) {
		ROUND(a, b, c, d, e, f, g, h, 0);
		ROUND(h, a, b, c, d, e, f, g, 1);
		ROUND(g, h, a, b, c, d, e, f, 2);
		ROUND(f, g, h, a, b, c, d, e, 3);
		ROUND(e, f, g, h, a, b, c, d, 4);
		ROUND(d, e, f, g, h, a, b, c, 5);
		ROUND(c, d, e, f, g, h, a, b, 6);
		ROUND(b, c, d, e, f, g, h, a, 7);
	}
	words[0] += a, words[1] += b, words[2] += c, words[3] += d;
	words[4] += e, words[5] += f, words[6] += g, words[7] += h;
	wattlock_wipe(schedule, sizeof schedule);
}

static void copy(uint32_t into[8], const uint32_t from[8])
{
	for (int i = 0; i < 8; i++)
		into[i] = from[i];
}

static void store(const uint32_t words[8], uint8_t *into, size_t intoBytes)
{
	for (size_t i = 0; i < intoBytes; i++)
		into[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
}

void wattlock_sha256_reset(wattlock_sha256 *hash)
{
	copy(hash->words, start);
	hash->lengthLow = hash->lengthHigh = 0;
}

void wattlock_sha256_update(wattlock_sha256 *hash, const uint8_t *data, size_t byteLength)
{
	size_t filled = hash->lengthLow % WATTLOCK_SHA256_BLOCK_BYTES;
	uint64_t length = ((uint64_t)hash->lengthHigh << 32 | hash->lengthLow) + byteLength;
	hash->lengthLow = (uint32_t)length;
	hash->lengthHigh = (uint32_t)(length >> 32);
	if (filled > 0) {
		size_t part = WATTLOCK_SHA256_BLOCK_BYTES - filled;
		if (part > byteLength)
			part = byteLength;
		memcpy(hash->buffer + filled, data, part);
		data += part;
		byteLength -= part;
		if (filled + part < WATTLOCK_SHA256_BLOCK_BYTES)
			return;
		compress(hash->words, hash->buffer);
	}
	for (; byteLength >= WATTLOCK_SHA256_BLOCK_BYTES; byteLength -= WATTLOCK_SHA256_BLOCK_BYTES) {
		compress(hash->words, data);
		data += WATTLOCK_SHA256_BLOCK_BYTES;
	}
	if (byteLength > 0)
		memcpy(hash->buffer, data, byteLength);
}

void wattlock_sha256_digest(wattlock_sha256 *hash, uint8_t *into, size_t intoBytes)
{
	size_t filled = hash->lengthLow % WATTLOCK_SHA256_BLOCK_BYTES;
	uint32_t bits[2] = { hash->lengthHigh << 3 | hash->lengthLow >> 29, hash->lengthLow << 3 };
	hash->buffer[filled++] = 0x80;
	if (filled > WATTLOCK_SHA256_BLOCK_BYTES - 8) {
		memset(hash->buffer + filled, 0, WATTLOCK_SHA256_BLOCK_BYTES - filled);
		compress(hash->words, hash->buffer);
		filled = 0;
	}
	memset(hash->buffer + filled, 0, WATTLOCK_SHA256_BLOCK_BYTES - 8 - filled);
	for (int i = 0; i < 8; i++)
		hash->buffer[WATTLOCK_SHA256_BLOCK_BYTES - 8 + i] = (uint8_t)(bits[i / 4] >> (24 - 8 * (i % 4)));
	compress(hash->words, hash->buffer);
	store(hash->words, into, intoBytes);
	wattlock_wipe(hash, sizeof *hash);
}

void wattlock_hmac_key(wattlock_hmac *hmac, const uint8_t *key, size_t keyBytes)
{
	uint8_t block[WATTLOCK_SHA256_BLOCK_BYTES] = { 0 };
	if (keyBytes > sizeof block) {
		wattlock_sha256 hash;
		wattlock_sha256_reset(&hash);
		wattlock_sha256_update(&hash, key, keyBytes);
		wattlock_sha256_digest(&hash, block, WATTLOCK_SHA256_BYTES);
	} else if (keyBytes > 0) {
		memcpy(block, key, keyBytes);
	}
	for (size_t i = 0; i < sizeof block; i++)
		block[i] ^= 0x36;
	copy(hmac->inner, start);
	compress(hmac->inner, block);
	for (size_t i = 0; i < sizeof block; i++)
		block[i] ^= 0x36 ^ 0x5c;
	copy(hmac->outer, start);
	compress(hmac->outer, block);
	wattlock_wipe(block, sizeof block);
}

static void resume(wattlock_sha256 *hash, const uint32_t words[8])
{
	copy(hash->words, words);
	hash->lengthLow = WATTLOCK_SHA256_BLOCK_BYTES;
	hash->lengthHigh = 0;
}

/* The second half: `hash` holds the inner hash with its message. */
static void finish(const wattlock_hmac *hmac, wattlock_sha256 *hash, uint8_t *into, size_t intoBytes)
{
	uint8_t digest[WATTLOCK_SHA256_BYTES];
	wattlock_sha256_digest(hash, digest, sizeof digest);
	resume(hash, hmac->outer);
	wattlock_sha256_update(hash, digest, sizeof digest);
	wattlock_sha256_digest(hash, into, intoBytes);
	wattlock_wipe(digest, sizeof digest);
}

void wattlock_hmac_sign(const wattlock_hmac *hmac, const uint8_t *data, size_t byteLength, uint8_t *into,
	size_t intoBytes)
{
	wattlock_sha256 hash;
	resume(&hash, hmac->inner);
	wattlock_sha256_update(&hash, data, byteLength);
	finish(hmac, &hash, into, intoBytes);
}

void wattlock_hkdf(const uint8_t *salt, size_t saltBytes, const uint8_t *secret, size_t secretBytes, const uint8_t *info,
	size_t infoBytes, uint8_t *into, size_t intoBytes)
{
	wattlock_hmac hmac;
	wattlock_sha256 hash;
	uint8_t block[WATTLOCK_SHA256_BYTES];
	wattlock_hmac_key(&hmac, salt, saltBytes); /* no salt is a salt of zeros: the same padded key */
	wattlock_hmac_sign(&hmac, secret, secretBytes, block, sizeof block);
	wattlock_hmac_key(&hmac, block, sizeof block);
	for (uint8_t counter = 1; intoBytes > 0; counter++) {
		size_t part = intoBytes < sizeof block ? intoBytes : sizeof block;
		resume(&hash, hmac.inner);
		if (counter > 1)
			wattlock_sha256_update(&hash, block, sizeof block);
		wattlock_sha256_update(&hash, info, infoBytes);
		wattlock_sha256_update(&hash, &counter, 1);
		finish(&hmac, &hash, block, sizeof block);
		memcpy(into, block, part);
		into += part;
		intoBytes -= part;
	}
	wattlock_wipe(block, sizeof block);
	wattlock_wipe(&hmac, sizeof hmac);
}

void wattlock_kdf(const uint8_t *key, size_t keyBytes, uint8_t label, const uint8_t *context, size_t contextBytes,
	uint8_t *into, size_t intoBytes)
{
	uint8_t block[WATTLOCK_SHA256_BLOCK_BYTES] __attribute__((aligned(4)));
	uint32_t words[8];
	uint32_t bits = (uint32_t)(33 + contextBytes) * 8;
	wattlock_wipe(block, sizeof block);
	for (size_t i = 0; i < keyBytes; i++)
		block[i] = key[i];
	block[32] = label;
	for (size_t i = 0; i < contextBytes; i++)
		block[33 + i] = context[i];
	block[33 + contextBytes] = 0x80;
	block[62] = (uint8_t)(bits >> 8);
	block[63] = (uint8_t)bits;
	copy(words, start);
	compress(words, block);
	store(words, into, intoBytes);
	wattlock_wipe(block, sizeof block);
	wattlock_wipe(words, sizeof words);
}
