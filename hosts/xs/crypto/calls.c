/* See calls.h. What comes from outside is answered with a status; what only a bug of ours can be, with misuse. */

#include "calls.h"

#include "modes.h"
#include "sha256.h"

#include <stdbool.h>
#include <stddef.h>

/* What a state holds: one that was never keyed, or was wiped, holds none of these. */
enum { HASH = 0x48415348, HMAC = 0x484d4143, AES = 0x41455320 };

typedef struct {
	uint32_t kind;
	wattlock_sha256 hash;
} hash_state;

typedef struct {
	uint32_t kind;
	wattlock_hmac hmac;
} hmac_state;

typedef struct {
	uint32_t kind;
	wattlock_aes aes;
} aes_state;

typedef const wattlock_crypto_argument *arguments;

/* The bytes of argument `at`, from the offset in the next one. @returns NULL unless `byteLength` of them are there */
static uint8_t *bytes_at(arguments a, int at, int64_t byteLength)
{
	int64_t offset = a[at + 1].number;
	if (offset < 0 || byteLength < 0 || offset + byteLength > a[at].byteLength)
		return NULL;
	return a[at].bytes + offset;
}

/* The same, with the length in the argument after that. */
static uint8_t *counted(arguments a, int at)
{
	return bytes_at(a, at, a[at + 2].number);
}

static void *state_at(arguments a, uint32_t stateBytes)
{
	return a[0].byteLength == stateBytes && ((uintptr_t)a[0].bytes & 3) == 0 ? a[0].bytes : NULL;
}

static bool is_within(int32_t number, int32_t maximum)
{
	return number >= 0 && number <= maximum;
}

/* Whether two areas share bytes. */
static bool overlap(const uint8_t *a, size_t aBytes, const uint8_t *b, size_t bBytes)
{
	return aBytes > 0 && bBytes > 0 && a < b + bBytes && b < a + aBytes;
}

static int call_sha256(arguments a)
{
	wattlock_sha256 hash;
	uint8_t *data = counted(a, 0), *into = counted(a, 3);
	if (!data || !into || !is_within(a[5].number, WATTLOCK_SHA256_BYTES))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_sha256_reset(&hash);
	wattlock_sha256_update(&hash, data, (size_t)a[2].number);
	wattlock_sha256_digest(&hash, into, (size_t)a[5].number);
	return WATTLOCK_OK;
}

static int call_kdf(arguments a)
{
	uint8_t *key = counted(a, 0), *context = counted(a, 4), *into = counted(a, 7);
	if (!key || !context || !into || !is_within(a[2].number, 32) || !is_within(a[3].number, 255)
		|| !is_within(a[6].number, 22) || !is_within(a[9].number, WATTLOCK_SHA256_BYTES))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_kdf(key, (size_t)a[2].number, (uint8_t)a[3].number, context, (size_t)a[6].number, into,
		(size_t)a[9].number);
	return WATTLOCK_OK;
}

static hash_state *hash_at(arguments a)
{
	hash_state *state = state_at(a, sizeof(hash_state));
	return state && state->kind == HASH ? state : NULL;
}

static int call_hashReset(arguments a)
{
	hash_state *state = state_at(a, sizeof(hash_state));
	if (!state)
		return WATTLOCK_CRYPTO_MISUSE;
	state->kind = HASH;
	wattlock_sha256_reset(&state->hash);
	return WATTLOCK_OK;
}

static int call_hashUpdate(arguments a)
{
	hash_state *state = hash_at(a);
	uint8_t *data = counted(a, 1);
	if (!state || !data || overlap(data, (size_t)a[3].number, a[0].bytes, sizeof(hash_state)))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_sha256_update(&state->hash, data, (size_t)a[3].number);
	return WATTLOCK_OK;
}

static int call_hashDigest(arguments a)
{
	hash_state *state = hash_at(a);
	uint8_t *into = counted(a, 1);
	if (!state || !into || !is_within(a[3].number, WATTLOCK_SHA256_BYTES)
		|| overlap(into, (size_t)a[3].number, a[0].bytes, sizeof(hash_state)))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_sha256_digest(&state->hash, into, (size_t)a[3].number);
	wattlock_sha256_reset(&state->hash);
	return WATTLOCK_OK;
}

static const wattlock_hmac *hmac_at(arguments a)
{
	const hmac_state *state = state_at(a, sizeof(hmac_state));
	return state && state->kind == HMAC ? &state->hmac : NULL;
}

static int call_hmacKey(arguments a)
{
	hmac_state *state = state_at(a, sizeof(hmac_state));
	uint8_t *key = counted(a, 1);
	if (!state || !key || overlap(key, (size_t)a[3].number, a[0].bytes, sizeof(hmac_state)))
		return WATTLOCK_CRYPTO_MISUSE;
	state->kind = HMAC;
	wattlock_hmac_key(&state->hmac, key, (size_t)a[3].number);
	return WATTLOCK_OK;
}

static int call_hmacSign(arguments a)
{
	const wattlock_hmac *hmac = hmac_at(a);
	uint8_t *data = counted(a, 1), *into = counted(a, 4);
	if (!hmac || !data || !into || !is_within(a[6].number, WATTLOCK_SHA256_BYTES)
		|| overlap(into, (size_t)a[6].number, a[0].bytes, sizeof(hmac_state)))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_hmac_sign(hmac, data, (size_t)a[3].number, into, (size_t)a[6].number);
	return WATTLOCK_OK;
}

static int call_hmacVerify(arguments a)
{
	const wattlock_hmac *hmac = hmac_at(a);
	uint8_t *data = counted(a, 1), *tag = counted(a, 4), right[WATTLOCK_SHA256_BYTES];
	if (!hmac || !data || !tag || a[6].number == 0 || !is_within(a[6].number, WATTLOCK_SHA256_BYTES))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_hmac_sign(hmac, data, (size_t)a[3].number, right, sizeof right);
	int same = wattlock_equal(right, tag, (size_t)a[6].number);
	wattlock_wipe(right, sizeof right);
	return same ? WATTLOCK_OK : WATTLOCK_BAD_TAG;
}

static int call_hkdf(arguments a)
{
	uint8_t *salt = counted(a, 0), *secret = counted(a, 3), *info = counted(a, 6), *into = counted(a, 9);
	if (!salt || !secret || !info || !into || overlap(into, (size_t)a[11].number, info, (size_t)a[8].number))
		return WATTLOCK_CRYPTO_MISUSE;
	if (a[11].number > 255 * WATTLOCK_SHA256_BYTES)
		return WATTLOCK_BAD_LENGTH;
	wattlock_hkdf(salt, (size_t)a[2].number, secret, (size_t)a[5].number, info, (size_t)a[8].number, into,
		(size_t)a[11].number);
	return WATTLOCK_OK;
}

static const wattlock_aes *aes_at(arguments a)
{
	const aes_state *state = state_at(a, sizeof(aes_state));
	return state && state->kind == AES ? &state->aes : NULL;
}

static bool in_state(arguments a, const uint8_t *into, size_t byteLength)
{
	return overlap(into, byteLength, a[0].bytes, sizeof(aes_state));
}

static int call_aesKey(arguments a)
{
	aes_state *state = state_at(a, sizeof(aes_state));
	uint8_t *key = bytes_at(a, 1, WATTLOCK_AES_KEY_BYTES);
	if (!state || !key || in_state(a, key, WATTLOCK_AES_KEY_BYTES))
		return WATTLOCK_CRYPTO_MISUSE;
	state->kind = AES;
	wattlock_aes_key(&state->aes, key);
	return WATTLOCK_OK;
}

static int call_aesBlock(arguments a)
{
	const wattlock_aes *aes = aes_at(a);
	uint8_t *from = bytes_at(a, 1, WATTLOCK_AES_BLOCK_BYTES), *into = bytes_at(a, 3, WATTLOCK_AES_BLOCK_BYTES);
	uint8_t block[WATTLOCK_AES_BLOCK_BYTES];
	if (!aes || !from || !into || in_state(a, into, WATTLOCK_AES_BLOCK_BYTES))
		return WATTLOCK_CRYPTO_MISUSE;
	for (int i = 0; i < WATTLOCK_AES_BLOCK_BYTES; i++)
		block[i] = from[i];
	wattlock_aes_encrypt(aes, block, block);
	for (int i = 0; i < WATTLOCK_AES_BLOCK_BYTES; i++)
		into[i] = block[i];
	wattlock_wipe(block, sizeof block);
	return WATTLOCK_OK;
}

typedef int (*aead_call)(const wattlock_aes *, const wattlock_aead *, const uint8_t *, size_t, uint8_t *);

static int call_aead(arguments a, aead_call call, bool open)
{
	const wattlock_aes *aes = aes_at(a);
	const uint8_t *nonce = counted(a, 2), *aad = counted(a, 5), *from = counted(a, 8);
	int32_t tagBytes = a[1].number, byteLength = a[10].number;
	if (!aes || !nonce || !aad || !from || !is_within(tagBytes, 16))
		return WATTLOCK_CRYPTO_MISUSE;
	int64_t intoBytes = (int64_t)byteLength + (open ? -tagBytes : tagBytes);
	if (intoBytes < 0)
		return WATTLOCK_BAD_LENGTH;
	uint8_t *into = bytes_at(a, 11, intoBytes);
	size_t written = (size_t)intoBytes;
	if (!into || (into != from && overlap(into, written, from, (size_t)byteLength)) || in_state(a, into, written)
		|| overlap(into, written, nonce, (size_t)a[4].number) || overlap(into, written, aad, (size_t)a[7].number))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_aead how = { nonce, (size_t)a[4].number, aad, (size_t)a[7].number, (size_t)tagBytes };
	return call(aes, &how, from, (size_t)byteLength, into);
}

static int call_gcmSeal(arguments a)
{
	return call_aead(a, wattlock_gcm_seal, false);
}

static int call_gcmOpen(arguments a)
{
	return call_aead(a, wattlock_gcm_open, true);
}

static int call_ccmSeal(arguments a)
{
	return call_aead(a, wattlock_ccm_seal, false);
}

static int call_ccmOpen(arguments a)
{
	return call_aead(a, wattlock_ccm_open, true);
}

static int call_cmacSign(arguments a)
{
	const wattlock_aes *aes = aes_at(a);
	uint8_t *data = counted(a, 1), *into = counted(a, 4);
	if (!aes || !data || !into || !is_within(a[6].number, WATTLOCK_AES_BLOCK_BYTES)
		|| in_state(a, into, (size_t)a[6].number))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_cmac(aes, data, (size_t)a[3].number, into, (size_t)a[6].number);
	return WATTLOCK_OK;
}

static int call_cmacVerify(arguments a)
{
	const wattlock_aes *aes = aes_at(a);
	uint8_t *data = counted(a, 1), *tag = counted(a, 4), right[WATTLOCK_AES_BLOCK_BYTES];
	if (!aes || !data || !tag || a[6].number == 0 || !is_within(a[6].number, WATTLOCK_AES_BLOCK_BYTES))
		return WATTLOCK_CRYPTO_MISUSE;
	wattlock_cmac(aes, data, (size_t)a[3].number, right, sizeof right);
	int same = wattlock_equal(right, tag, (size_t)a[6].number);
	wattlock_wipe(right, sizeof right);
	return same ? WATTLOCK_OK : WATTLOCK_BAD_TAG;
}

static int call_wrap(arguments a, int (*call)(const wattlock_aes *, const uint8_t *, size_t, uint8_t *), int growth)
{
	const wattlock_aes *aes = aes_at(a);
	const uint8_t *from = counted(a, 1);
	if (!aes || !from)
		return WATTLOCK_CRYPTO_MISUSE;
	int64_t intoBytes = (int64_t)a[3].number + growth;
	if (intoBytes < 0)
		return WATTLOCK_BAD_LENGTH;
	uint8_t *into = bytes_at(a, 4, intoBytes);
	if (!into || (into != from && overlap(into, (size_t)intoBytes, from, (size_t)a[3].number))
		|| in_state(a, into, (size_t)intoBytes))
		return WATTLOCK_CRYPTO_MISUSE;
	return call(aes, from, (size_t)a[3].number, into);
}

static int call_keyWrap(arguments a)
{
	return call_wrap(a, wattlock_key_wrap, 8);
}

static int call_keyUnwrap(arguments a)
{
	return call_wrap(a, wattlock_key_unwrap, -8);
}

static int call_equal(arguments a)
{
	uint8_t *left = bytes_at(a, 0, a[4].number), *right = bytes_at(a, 2, a[4].number);
	if (!left || !right)
		return WATTLOCK_CRYPTO_MISUSE;
	return wattlock_equal(left, right, (size_t)a[4].number);
}

#define FUNCTION(name, arguments) { #name, arguments, call_##name },
const wattlock_crypto_function wattlock_crypto_functions[WATTLOCK_CRYPTO_COUNT] = {
	WATTLOCK_CRYPTO_FUNCTIONS(FUNCTION)
};
#undef FUNCTION

const wattlock_crypto_constant wattlock_crypto_constants[3] = {
	{ "hashStateBytes", sizeof(hash_state) },
	{ "hmacStateBytes", sizeof(hmac_state) },
	{ "aesStateBytes", sizeof(aes_state) },
};
