/*
 * The portable C behind two pipes, for tests on Node: `driver IN OUT`. A request is one byte for the function (its place
 * in calls.h), one byte for the count of arrays, each array as u32 length and bytes, then the arguments: for bytes one
 * byte, the place of the array, else an i32. The answer is the i32 result and every array again. Numbers little-endian.
 * Each array is an allocation of its own length, so that a build with checks of addresses finds a byte too far.
 * `driver --functions` prints names, kinds of arguments and constants. `driver --count NAME BYTES TIMES` runs one call
 * again and again, for instruction counts. `driver --secret NAME BYTES…` runs calls whose keys and data are memory that
 * was never written: valgrind then reports every branch and every address that depends on them; `driver --leak` has one
 * of each.
 */

#include "calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *text)
{
	fprintf(stderr, "driver: %s\n", text);
	exit(2);
}

static void read_all(FILE *in, void *into, size_t byteLength)
{
	if (byteLength > 0 && fread(into, 1, byteLength, in) != byteLength)
		fail("request cut off");
}

static void answer(FILE *in, FILE *out, int number)
{
	wattlock_crypto_argument arguments[WATTLOCK_CRYPTO_ARGUMENTS_MAX];
	uint8_t *arrays[WATTLOCK_CRYPTO_ARGUMENTS_MAX];
	uint32_t lengths[WATTLOCK_CRYPTO_ARGUMENTS_MAX];
	uint8_t count = 0, place = 0;
	if (number >= WATTLOCK_CRYPTO_COUNT)
		fail("no such function");
	read_all(in, &count, 1);
	if (count > WATTLOCK_CRYPTO_ARGUMENTS_MAX)
		fail("too many arrays");
	for (int i = 0; i < count; i++) {
		read_all(in, &lengths[i], 4);
		arrays[i] = malloc(lengths[i] > 0 ? lengths[i] : 1);
		if (!arrays[i])
			fail("out of memory");
		read_all(in, arrays[i], lengths[i]);
	}
	const wattlock_crypto_function *function = &wattlock_crypto_functions[number];
	for (int i = 0; function->arguments[i]; i++) {
		if (function->arguments[i] == 'i') {
			read_all(in, &arguments[i].number, 4);
			continue;
		}
		read_all(in, &place, 1);
		if (place >= count)
			fail("no such array");
		arguments[i].bytes = arrays[place];
		arguments[i].byteLength = lengths[place];
	}
	int32_t result = function->call(arguments);
	fwrite(&result, 4, 1, out);
	for (int i = 0; i < count; i++) {
		fwrite(arrays[i], 1, lengths[i], out);
		free(arrays[i]);
	}
	if (fflush(out) != 0)
		fail("the answer cannot be written");
}

static void print_functions(void)
{
	for (int i = 0; i < WATTLOCK_CRYPTO_COUNT; i++)
		printf("%s %s\n", wattlock_crypto_functions[i].name, wattlock_crypto_functions[i].arguments);
	for (size_t i = 0; i < sizeof wattlock_crypto_constants / sizeof wattlock_crypto_constants[0]; i++)
		printf("%s = %u\n", wattlock_crypto_constants[i].name, (unsigned)wattlock_crypto_constants[i].value);
}

/* Kinds of keyed states, by the function that keys them. */
static int keying(const char *name)
{
	if (strncmp(name, "hash", 4) == 0)
		return WATTLOCK_CRYPTO_hashReset;
	return strncmp(name, "hmac", 4) == 0 ? WATTLOCK_CRYPTO_hmacKey : WATTLOCK_CRYPTO_aesKey;
}

/* Arguments for a call on a message of `byteLength`: every array is at hand, every other length fits the function. */
static void count_calls(const char *name, int32_t byteLength, long times, int isSecret)
{
	static uint8_t state[1024] __attribute__((aligned(8)));
	uint8_t *bytes[8];
	for (int i = 0; i < 8; i++) {
		bytes[i] = isSecret ? malloc(4096) : calloc(1, 4096);
		if (!bytes[i])
			fail("out of memory");
	}
	int number = 0;
	while (number < WATTLOCK_CRYPTO_COUNT && strcmp(wattlock_crypto_functions[number].name, name) != 0)
		number++;
	if (number == WATTLOCK_CRYPTO_COUNT || byteLength < 0 || byteLength > 4000)
		fail("no such function or length");
	wattlock_crypto_argument key[4] = { { .bytes = state }, { .bytes = bytes[7], .byteLength = 64 }, { .number = 0 },
		{ .number = 16 } };
	const wattlock_crypto_function *function = &wattlock_crypto_functions[number];
	for (int i = 0; i < 3; i++) {
		key[0].byteLength = wattlock_crypto_constants[i].value;
		if (wattlock_crypto_functions[keying(name)].call(key) == 0)
			break;
	}
	const char *kinds = function->arguments;
	wattlock_crypto_argument arguments[WATTLOCK_CRYPTO_ARGUMENTS_MAX];
	memset(arguments, 0, sizeof arguments);
	int arrays = 0;
	for (int i = 0; kinds[i]; i++) {
		if (kinds[i] == 'k' || kinds[i] == 's') {
			arguments[i] = key[0];
		} else if (kinds[i] != 'i') {
			arguments[i].bytes = bytes[arrays++];
			arguments[i].byteLength = 4096;
		}
	}
	/* Lengths follow array and offset; what is not the message has a length of its own. */
	if (strcmp(kinds, "kiriiriiriiwi") == 0) {
		int isCcm = name[0] == 'c';
		arguments[1].number = isCcm ? 8 : 16;
		arguments[4].number = isCcm ? 13 : 12;
		arguments[7].number = 18;
		arguments[10].number = byteLength;
	} else if (strcmp(name, "kdf") == 0) {
		arguments[2].number = 16;
		arguments[3].number = 'm';
		arguments[9].number = 16;
	} else if (strcmp(name, "hkdf") == 0) {
		arguments[2].number = 16;
		arguments[5].number = 32;
		arguments[8].number = 10;
		arguments[11].number = byteLength;
	} else if (strcmp(name, "equal") == 0) {
		arguments[4].number = byteLength;
	} else if (strcmp(name, "sha256") == 0) {
		arguments[2].number = byteLength;
		arguments[5].number = 32;
	} else if (strcmp(name, "aesKey") != 0 && strcmp(name, "aesBlock") != 0) {
		arguments[3].number = byteLength;
		if (kinds[4] && kinds[5] && kinds[6])
			arguments[6].number = 16;
	}
	for (long i = 0; i < times; i++) {
		if (function->call(arguments) < 0)
			fail("a call of the count was refused");
	}
}

/* What the two reports look like: a lookup and a branch that depend on a secret. */
static __attribute__((noinline)) void leak(void)
{
	static const volatile uint8_t table[256] = { 1 };
	uint8_t *volatile place = malloc(1); /* volatile: the compiler need not know that it was never written */
	uint8_t *secret = place;
	if (!secret)
		fail("out of memory");
	if (table[*secret] == 1)
		puts("looked up");
	if (*secret & 1)
		puts("branched");
	free(secret);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--leak") == 0) {
		leak();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--functions") == 0) {
		print_functions();
		return 0;
	}
	if (argc == 5 && strcmp(argv[1], "--count") == 0) {
		count_calls(argv[2], atoi(argv[3]), atol(argv[4]), 0);
		return 0;
	}
	if (argc >= 4 && strcmp(argv[1], "--secret") == 0) {
		for (int i = 2; i + 1 < argc; i += 2)
			count_calls(argv[i], atoi(argv[i + 1]), 1, 1);
		return 0;
	}
	if (argc != 3)
		fail("usage: driver IN OUT");
	FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
	if (!in || !out)
		fail("the pipes do not open");
	for (int number = fgetc(in); number != EOF; number = fgetc(in))
		answer(in, out, number);
	return 0;
}
