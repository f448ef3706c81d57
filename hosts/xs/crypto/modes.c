/* See modes.h. */

#include "modes.h"

#include "sha256.h"

#include <stdbool.h>
#include <string.h>

#define BLOCK WATTLOCK_AES_BLOCK_BYTES

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static uint32_t load(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void store(uint8_t *bytes, uint32_t word)
{
	bytes[0] = (uint8_t)(word >> 24);
	bytes[1] = (uint8_t)(word >> 16);
	bytes[2] = (uint8_t)(word >> 8);
	bytes[3] = (uint8_t)word;
}

static void add(uint8_t *into, const uint8_t *bytes, size_t byteLength)
{
	for (size_t i = 0; i < byteLength; i++)
		into[i] ^= bytes[i];
}

/* Writes `from` + `key`, which may lie in place. */
static void add_to(uint8_t *into, const uint8_t *from, const uint8_t *key, size_t byteLength)
{
	for (size_t i = 0; i < byteLength; i++)
		into[i] = from[i] ^ key[i];
}

/* ---- GCM ---- */

/*
 * Product of two 32-bit polynomials over GF(2) with integer multiplication: of every four bits three are zero, so that
 * at most eight ones meet in a sum and no carry reaches the next bit that counts. No table; the time is constant where
 * the multiplier's is.
 */
static uint64_t multiply32(uint32_t x, uint32_t y)
{
	uint32_t x0 = x & 0x11111111, x1 = x & 0x22222222, x2 = x & 0x44444444, x3 = x & 0x88888888;
	uint32_t y0 = y & 0x11111111, y1 = y & 0x22222222, y2 = y & 0x44444444, y3 = y & 0x88888888;
#define TIMES(a, b) ((uint64_t)(a) * (b))
	uint64_t z0 = TIMES(x0, y0) ^ TIMES(x1, y3) ^ TIMES(x2, y2) ^ TIMES(x3, y1);
	uint64_t z1 = TIMES(x0, y1) ^ TIMES(x1, y0) ^ TIMES(x2, y3) ^ TIMES(x3, y2);
	uint64_t z2 = TIMES(x0, y2) ^ TIMES(x1, y1) ^ TIMES(x2, y0) ^ TIMES(x3, y3);
	uint64_t z3 = TIMES(x0, y3) ^ TIMES(x1, y2) ^ TIMES(x2, y1) ^ TIMES(x3, y0);
#undef TIMES
	return (z0 & 0x1111111111111111) | (z1 & 0x2222222222222222) | (z2 & 0x4444444444444444)
		| (z3 & 0x8888888888888888);
}

/* Product of two words by two (Karatsuba), least significant word first. */
static void multiply64(uint32_t *product, uint32_t x0, uint32_t x1, uint32_t y0, uint32_t y1)
{
	uint64_t low = multiply32(x0, y0), high = multiply32(x1, y1);
	uint64_t middle = multiply32(x0 ^ x1, y0 ^ y1) ^ low ^ high;
	product[0] = (uint32_t)low;
	product[1] = (uint32_t)(low >> 32) ^ (uint32_t)middle;
	product[2] = (uint32_t)(middle >> 32) ^ (uint32_t)high;
	product[3] = (uint32_t)(high >> 32);
}

/* y times h in the field of GCM. Words are least significant first; the most significant bit is the coefficient of 1. */
static void multiply(uint32_t *y, const uint32_t *h)
{
	uint32_t low[4], high[4], middle[4], z[8];
	multiply64(low, y[0], y[1], h[0], h[1]);
	multiply64(high, y[2], y[3], h[2], h[3]);
	multiply64(middle, y[0] ^ y[2], y[1] ^ y[3], h[0] ^ h[2], h[1] ^ h[3]);
	for (int i = 0; i < 4; i++)
		middle[i] ^= low[i] ^ high[i];
	z[0] = low[0], z[1] = low[1];
	z[2] = low[2] ^ middle[0], z[3] = low[3] ^ middle[1];
	z[4] = high[0] ^ middle[2], z[5] = high[1] ^ middle[3];
	z[6] = high[2], z[7] = high[3];
	for (int i = 7; i > 0; i--)
		z[i] = z[i] << 1 | z[i - 1] >> 31;
	z[0] <<= 1;
	for (int i = 0; i < 4; i++) {
		/* x^128 = x^7 + x^2 + x + 1 */
		z[i + 4] ^= z[i] ^ z[i] >> 1 ^ z[i] >> 2 ^ z[i] >> 7;
		z[i + 3] ^= z[i] << 31 ^ z[i] << 30 ^ z[i] << 25;
	}
	memcpy(y, z + 4, 16);
}

typedef struct {
	const wattlock_aes *aes;
	uint32_t h[4];
	uint32_t sum[4];
	uint8_t counter[BLOCK];
	uint8_t mask[BLOCK]; /* the block that hides the tag */
} gcm;

static void absorb(gcm *state, const uint8_t *bytes, size_t byteLength)
{
	while (byteLength > 0) {
		uint8_t block[BLOCK] = { 0 };
		size_t part = smaller(byteLength, BLOCK);
		memcpy(block, bytes, part);
		for (int i = 0; i < 4; i++)
			state->sum[3 - i] ^= load(block + 4 * i);
		multiply(state->sum, state->h);
		bytes += part;
		byteLength -= part;
	}
}

static void absorb_lengths(gcm *state, uint64_t first, uint64_t second)
{
	uint8_t block[BLOCK];
	store(block, (uint32_t)(first >> 29));
	store(block + 4, (uint32_t)first << 3);
	store(block + 8, (uint32_t)(second >> 29));
	store(block + 12, (uint32_t)second << 3);
	absorb(state, block, BLOCK);
}

static void take_sum(gcm *state, uint8_t *into)
{
	for (int i = 0; i < 4; i++)
		store(into + 4 * i, state->sum[3 - i]);
	memset(state->sum, 0, sizeof state->sum);
}

static void next_counter(uint8_t *counter)
{
	store(counter + 12, load(counter + 12) + 1);
}

static void gcm_start(gcm *state, const wattlock_aes *aes, const wattlock_aead *how)
{
	uint8_t hashKey[BLOCK] = { 0 };
	memset(state, 0, sizeof *state);
	state->aes = aes;
	if (how->nonceBytes == 12) {
		memcpy(state->counter, how->nonce, 12);
		state->counter[15] = 1;
		memcpy(state->mask, state->counter, BLOCK);
		wattlock_aes_encrypt(aes, hashKey, state->mask);
	} else {
		wattlock_aes_encrypt(aes, hashKey, hashKey);
	}
	for (int i = 0; i < 4; i++)
		state->h[3 - i] = load(hashKey + 4 * i);
	if (how->nonceBytes != 12) {
		absorb(state, how->nonce, how->nonceBytes);
		absorb_lengths(state, 0, how->nonceBytes);
		take_sum(state, state->counter);
		memcpy(state->mask, state->counter, BLOCK);
		wattlock_aes_encrypt(aes, state->mask, state->mask);
	}
	wattlock_wipe(hashKey, sizeof hashKey);
	absorb(state, how->aad, how->aadBytes);
}

static void gcm_crypt(gcm *state, const uint8_t *from, size_t byteLength, uint8_t *into)
{
	uint8_t key[2 * BLOCK];
	while (byteLength > 0) {
		size_t part = smaller(byteLength, sizeof key);
		next_counter(state->counter);
		memcpy(key, state->counter, BLOCK);
		if (part > BLOCK)
			next_counter(state->counter);
		memcpy(key + BLOCK, state->counter, BLOCK);
		wattlock_aes_encrypt(state->aes, key, key + BLOCK);
		add_to(into, from, key, part);
		from += part;
		into += part;
		byteLength -= part;
	}
	wattlock_wipe(key, sizeof key);
}

static void gcm_tag(gcm *state, const wattlock_aead *how, const uint8_t *sealed, size_t byteLength, uint8_t *tag)
{
	absorb(state, sealed, byteLength);
	absorb_lengths(state, how->aadBytes, byteLength);
	take_sum(state, tag);
	add(tag, state->mask, BLOCK);
}

static bool gcm_allows(const wattlock_aead *how)
{
	size_t tag = how->tagBytes;
	return how->nonceBytes > 0 && (tag == 4 || tag == 8 || (tag >= 12 && tag <= 16));
}

int wattlock_gcm_seal(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into)
{
	gcm state;
	uint8_t tag[BLOCK];
	if (!gcm_allows(how))
		return WATTLOCK_BAD_LENGTH;
	gcm_start(&state, aes, how);
	gcm_crypt(&state, from, byteLength, into);
	gcm_tag(&state, how, into, byteLength, tag);
	memcpy(into + byteLength, tag, how->tagBytes);
	wattlock_wipe(&state, sizeof state);
	return WATTLOCK_OK;
}

int wattlock_gcm_open(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into)
{
	gcm state;
	uint8_t tag[BLOCK];
	if (!gcm_allows(how) || byteLength < how->tagBytes)
		return WATTLOCK_BAD_LENGTH;
	byteLength -= how->tagBytes;
	gcm_start(&state, aes, how);
	gcm_tag(&state, how, from, byteLength, tag);
	bool good = wattlock_equal(tag, from + byteLength, how->tagBytes) != 0;
	if (good)
		gcm_crypt(&state, from, byteLength, into);
	else
		wattlock_wipe(into, byteLength);
	wattlock_wipe(&state, sizeof state);
	wattlock_wipe(tag, sizeof tag); /* the right tag of a forged message is worth something */
	return good ? WATTLOCK_OK : WATTLOCK_BAD_TAG;
}

/* ---- CCM ---- */

/*
 * Each message block needs one encryption for the sum and one for the key stream: the two lanes of AES. The key stream
 * runs one block ahead, because to open a message the sum wants the plain text. Its block 0 hides the tag and comes last.
 */
typedef struct {
	const wattlock_aes *aes;
	size_t lengthBytes; /* q of the standard */
	uint8_t sum[BLOCK];
	uint8_t counter[BLOCK];
	uint8_t key[BLOCK];
} ccm;

static void ccm_pair(ccm *state, uint32_t counter)
{
	memcpy(state->key, state->counter, BLOCK);
	for (size_t i = 0; i < smaller(state->lengthBytes, 4); i++)
		state->key[15 - i] = (uint8_t)(counter >> 8 * i);
	wattlock_aes_encrypt(state->aes, state->sum, state->key);
}

static void ccm_start(ccm *state, const wattlock_aes *aes, const wattlock_aead *how, size_t byteLength)
{
	uint8_t prefix[6];
	size_t prefixBytes = 0, used;
	memset(state, 0, sizeof *state);
	state->aes = aes;
	state->lengthBytes = 15 - how->nonceBytes;
	state->counter[0] = (uint8_t)(state->lengthBytes - 1);
	memcpy(state->counter + 1, how->nonce, how->nonceBytes);
	memcpy(state->sum, state->counter, BLOCK);
	if (how->tagBytes > 0)
		state->sum[0] |= (uint8_t)((how->tagBytes - 2) / 2 << 3);
	if (how->aadBytes > 0)
		state->sum[0] |= 0x40;
	for (size_t i = 0; i < smaller(state->lengthBytes, 4); i++)
		state->sum[15 - i] = (uint8_t)(byteLength >> 8 * i);
	ccm_pair(state, byteLength > 0 ? 1 : 0);
	if (how->aadBytes == 0)
		return;
	if (how->aadBytes >= 0xff00) {
		prefix[prefixBytes++] = 0xff;
		prefix[prefixBytes++] = 0xfe;
		prefix[prefixBytes++] = (uint8_t)(how->aadBytes >> 24);
		prefix[prefixBytes++] = (uint8_t)(how->aadBytes >> 16);
	}
	prefix[prefixBytes++] = (uint8_t)(how->aadBytes >> 8);
	prefix[prefixBytes++] = (uint8_t)how->aadBytes;
	add(state->sum, prefix, prefixBytes);
	used = smaller(how->aadBytes, BLOCK - prefixBytes);
	add(state->sum + prefixBytes, how->aad, used);
	wattlock_aes_encrypt(aes, state->sum, state->sum);
	while (used < how->aadBytes) {
		size_t part = smaller(how->aadBytes - used, BLOCK);
		add(state->sum, how->aad + used, part);
		wattlock_aes_encrypt(aes, state->sum, state->sum);
		used += part;
	}
}

/* Leaves the masked tag in state->key. */
static void ccm_crypt(ccm *state, const uint8_t *from, size_t byteLength, uint8_t *into, bool open)
{
	uint32_t counter = 1;
	while (byteLength > 0) {
		size_t part = smaller(byteLength, BLOCK);
		if (!open)
			add(state->sum, from, part);
		add_to(into, from, state->key, part);
		if (open)
			add(state->sum, into, part);
		from += part;
		into += part;
		byteLength -= part;
		counter++;
		ccm_pair(state, byteLength > 0 ? counter : 0);
	}
	add(state->key, state->sum, BLOCK);
}

static bool ccm_allows(const wattlock_aead *how, size_t byteLength)
{
	if (how->nonceBytes < 7 || how->nonceBytes > 13 || how->tagBytes > 16 || how->tagBytes % 2 != 0 || how->tagBytes == 2)
		return false;
	return how->nonceBytes < 12 || byteLength >> 8 * (15 - how->nonceBytes) == 0;
}

int wattlock_ccm_seal(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into)
{
	ccm state;
	if (!ccm_allows(how, byteLength))
		return WATTLOCK_BAD_LENGTH;
	ccm_start(&state, aes, how, byteLength);
	ccm_crypt(&state, from, byteLength, into, false);
	memcpy(into + byteLength, state.key, how->tagBytes);
	wattlock_wipe(&state, sizeof state);
	return WATTLOCK_OK;
}

int wattlock_ccm_open(const wattlock_aes *aes, const wattlock_aead *how, const uint8_t *from, size_t byteLength,
	uint8_t *into)
{
	ccm state;
	if (byteLength < how->tagBytes || !ccm_allows(how, byteLength - how->tagBytes))
		return WATTLOCK_BAD_LENGTH;
	byteLength -= how->tagBytes;
	ccm_start(&state, aes, how, byteLength);
	ccm_crypt(&state, from, byteLength, into, true);
	bool good = wattlock_equal(state.key, from + byteLength, how->tagBytes) != 0;
	if (!good)
		wattlock_wipe(into, byteLength);
	wattlock_wipe(&state, sizeof state);
	return good ? WATTLOCK_OK : WATTLOCK_BAD_TAG;
}

/* ---- CMAC ---- */

/* Times x in the field of CMAC, most significant bit first. */
static void twice(uint8_t *block)
{
	uint32_t carry = (0u - (block[0] >> 7)) & 0x87;
	for (int i = BLOCK - 1; i >= 0; i--) {
		carry ^= (uint32_t)block[i] << 1;
		block[i] = (uint8_t)carry;
		carry >>= 8;
	}
}

void wattlock_cmac(const wattlock_aes *aes, const uint8_t *data, size_t byteLength, uint8_t *into, size_t intoBytes)
{
	uint8_t sum[BLOCK] = { 0 }, key[BLOCK] = { 0 };
	if (byteLength > BLOCK) {
		/* The subkeys come with the first block, in the other lane. */
		add(sum, data, BLOCK);
		data += BLOCK;
		byteLength -= BLOCK;
		wattlock_aes_encrypt(aes, sum, key);
	} else {
		wattlock_aes_encrypt(aes, key, key);
	}
	for (; byteLength > BLOCK; byteLength -= BLOCK) {
		add(sum, data, BLOCK);
		data += BLOCK;
		wattlock_aes_encrypt(aes, sum, sum);
	}
	add(sum, data, byteLength);
	twice(key);
	if (byteLength < BLOCK) {
		sum[byteLength] ^= 0x80;
		twice(key);
	}
	add(sum, key, BLOCK);
	wattlock_aes_encrypt(aes, sum, sum);
	memcpy(into, sum, intoBytes);
	wattlock_wipe(sum, sizeof sum);
	wattlock_wipe(key, sizeof key);
}

/* ---- key wrap ---- */

int wattlock_key_wrap(const wattlock_aes *aes, const uint8_t *from, size_t byteLength, uint8_t *into)
{
	uint8_t block[BLOCK];
	uint32_t step = 0;
	if (byteLength < 16 || byteLength % 8 != 0)
		return WATTLOCK_BAD_LENGTH;
	memmove(into + 8, from, byteLength);
	memset(block, 0xa6, 8);
	for (int pass = 0; pass < 6; pass++) {
		for (size_t at = 8; at <= byteLength; at += 8) {
			memcpy(block + 8, into + at, 8);
			wattlock_aes_encrypt(aes, block, block);
			store(block + 4, load(block + 4) ^ ++step);
			memcpy(into + at, block + 8, 8);
		}
	}
	memcpy(into, block, 8);
	wattlock_wipe(block, sizeof block);
	return WATTLOCK_OK;
}

int wattlock_key_unwrap(const wattlock_aes *aes, const uint8_t *from, size_t byteLength, uint8_t *into)
{
	uint8_t block[BLOCK];
	uint32_t difference = 0;
	if (byteLength < 24 || byteLength % 8 != 0)
		return WATTLOCK_BAD_LENGTH;
	byteLength -= 8;
	uint32_t step = (uint32_t)(byteLength / 8 * 6);
	memcpy(block, from, 8);
	memmove(into, from + 8, byteLength);
	for (int pass = 0; pass < 6; pass++) {
		for (size_t at = byteLength; at > 0; at -= 8) {
			store(block + 4, load(block + 4) ^ step--);
			memcpy(block + 8, into + at - 8, 8);
			wattlock_aes_decrypt(aes, block);
			memcpy(into + at - 8, block + 8, 8);
		}
	}
	for (int i = 0; i < 8; i++)
		difference |= (uint32_t)(block[i] ^ 0xa6);
	wattlock_wipe(block, sizeof block);
	if (difference != 0) {
		wattlock_wipe(into, byteLength);
		return WATTLOCK_BAD_TAG;
	}
	return WATTLOCK_OK;
}
