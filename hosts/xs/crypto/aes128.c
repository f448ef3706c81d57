/*
 * See aes128.h. Plane j holds bit j of 32 bytes: bit 8 x row + 2 x column + lane, where lane 0 is the first block and
 * lane 1 the second. ShiftRows is never done: after k rounds row r still waits to be rotated by k x r columns, so
 * MixColumns looks k columns further for the row below, and the round keys are stored rotated the other way. What is
 * left after ten rounds is a rotation by two columns of rows 1 and 3. (Fixslicing: A. Adomnicai, T. Peyrin, "Fixslicing
 * AES-like ciphers", TCHES 2021.) The S-box is the circuit of 115 gates of J. Boyar and R. Peralta, "A new combinational
 * logic minimization technique with applications to cryptology", 2009; its constant 0x63 is left out and lies in the
 * round keys instead, which MixColumns does not change.
 */

#include "aes128.h"

#include "sha256.h"

#include <string.h>

#define ROUNDS 10

static uint32_t load(const uint8_t *bytes)
{
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void store(uint8_t *bytes, uint32_t word)
{
	bytes[0] = (uint8_t)word;
	bytes[1] = (uint8_t)(word >> 8);
	bytes[2] = (uint8_t)(word >> 16);
	bytes[3] = (uint8_t)(word >> 24);
}

/* Exchanges the bits `mask << shift` of a with the bits `mask` of b. */
static inline __attribute__((always_inline)) void exchange(uint32_t *a, uint32_t *b, uint32_t mask, int shift)
{
	uint32_t difference = (*a >> shift ^ *b) & mask;
	*b ^= difference;
	*a ^= difference << shift;
}

/* In each byte, bit i of word j becomes bit j of word i. */
static void transpose(uint32_t *q)
{
	exchange(q, q + 1, 0x55555555, 1);
	exchange(q + 2, q + 3, 0x55555555, 1);
	exchange(q + 4, q + 5, 0x55555555, 1);
	exchange(q + 6, q + 7, 0x55555555, 1);
	exchange(q, q + 2, 0x33333333, 2);
	exchange(q + 1, q + 3, 0x33333333, 2);
	exchange(q + 4, q + 6, 0x33333333, 2);
	exchange(q + 5, q + 7, 0x33333333, 2);
	exchange(q, q + 4, 0x0f0f0f0f, 4);
	exchange(q + 1, q + 5, 0x0f0f0f0f, 4);
	exchange(q + 2, q + 6, 0x0f0f0f0f, 4);
	exchange(q + 3, q + 7, 0x0f0f0f0f, 4);
}

static void load_blocks(uint32_t *q, const uint8_t *first, const uint8_t *second)
{
	for (int column = 0; column < 4; column++, first += 4, second += 4) {
		q[2 * column] = load(first);
		q[2 * column + 1] = load(second);
	}
	transpose(q);
}

static void store_blocks(uint32_t *q, uint8_t *first, uint8_t *second)
{
	transpose(q);
	for (int column = 0; column < 4; column++) {
		store(second + 4 * column, q[2 * column + 1]);
		store(first + 4 * column, q[2 * column]);
	}
}

/* SubBytes, but for the constant. */
static void substitute(uint32_t *q)
{
	uint32_t x0 = q[7], x1 = q[6], x2 = q[5], x3 = q[4], x4 = q[3], x5 = q[2], x6 = q[1], x7 = q[0];

	uint32_t y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5;
	uint32_t t0 = x1 ^ x2, y1 = t0 ^ x7, y4 = y1 ^ x3, y12 = y13 ^ y14;
	uint32_t y2 = y1 ^ x0, y5 = y1 ^ x6, y3 = y5 ^ y8, t1 = x4 ^ y12;
	uint32_t y15 = t1 ^ x5, y20 = t1 ^ x1, y6 = y15 ^ x7, y10 = y15 ^ t0;
	uint32_t y11 = y20 ^ y9, y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8;
	uint32_t y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;

	uint32_t t2 = y12 & y15, t3 = y3 & y6, t4 = t3 ^ t2, t5 = y4 & x7, t6 = t5 ^ t2;
	uint32_t t7 = y13 & y16, t8 = y5 & y1, t9 = t8 ^ t7, t10 = y2 & y7, t11 = t10 ^ t7;
	uint32_t t12 = y9 & y11, t13 = y14 & y17, t14 = t13 ^ t12, t15 = y8 & y10, t16 = t15 ^ t12;
	uint32_t t17 = t4 ^ t14, t18 = t6 ^ t16, t19 = t9 ^ t14, t20 = t11 ^ t16;
	uint32_t t21 = t17 ^ y20, t22 = t18 ^ y19, t23 = t19 ^ y21, t24 = t20 ^ y18;

	uint32_t t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26, t28 = t25 & t27, t29 = t28 ^ t22;
	uint32_t t30 = t23 ^ t24, t31 = t22 ^ t26, t32 = t31 & t30, t33 = t32 ^ t24, t34 = t23 ^ t33;
	uint32_t t35 = t27 ^ t33, t36 = t24 & t35, t37 = t36 ^ t34, t38 = t27 ^ t36, t39 = t29 & t38;
	uint32_t t40 = t25 ^ t39, t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37, t45 = t42 ^ t41;

	uint32_t z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1, z5 = t29 & y7;
	uint32_t z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12, z10 = t37 & y3, z11 = t33 & y4;
	uint32_t z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2, z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

	uint32_t t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12, t51 = z2 ^ z5;
	uint32_t t52 = z7 ^ z8, t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17, t56 = z12 ^ t48, t57 = t50 ^ t53;
	uint32_t t58 = z4 ^ t46, t59 = z3 ^ t54, t60 = t46 ^ t57, t61 = z14 ^ t57, t62 = t52 ^ t58, t63 = t49 ^ t58;
	uint32_t t64 = z4 ^ t59, t65 = t61 ^ t62, t66 = z1 ^ t63, t67 = t64 ^ t65, s3 = t53 ^ t66;

	q[7] = t59 ^ t63;
	q[6] = t64 ^ s3;
	q[5] = t55 ^ t67;
	q[4] = s3;
	q[3] = t51 ^ t66;
	q[2] = t47 ^ t65;
	q[1] = t56 ^ t62;
	q[0] = t48 ^ t60;
}

/* Planes in which 0x63 has a one. */
#define HAS_CONSTANT(j) (0x63 >> (j) & 1)

static inline __attribute__((always_inline)) uint32_t rotate(uint32_t word, int bits)
{
	return word >> bits | word << (32 - bits);
}

/* Each byte, rotated right. */
static inline __attribute__((always_inline)) uint32_t rotate_bytes(uint32_t word, int bits)
{
	uint32_t low = (0xffu >> bits) * 0x01010101u;
	return bits == 0 ? word : (word >> bits & low) | (word << (8 - bits) & ~low);
}

/* The row below, when k ShiftRows are waiting; and the row two below. */
#define BELOW(word, k) rotate_bytes(rotate(word, 8), 2 * (k))
#define TWO_BELOW(word, k) rotate_bytes(rotate(word, 16), 4 * (k) % 8)

/* MixColumns: each row becomes 2 x (row + below) + below + two below + three below. */
static inline __attribute__((always_inline)) void mix(uint32_t *q, int k)
{
	uint32_t sum7 = q[7] ^ BELOW(q[7], k), previous = sum7, below, sum;
#define MIX(j, reduced) \
	below = BELOW(q[j], k); \
	sum = q[j] ^ below; \
	q[j] = below ^ TWO_BELOW(sum, k) ^ previous reduced; \
	previous = sum;
	/* x^8 = x^4 + x^3 + x + 1 */
	MIX(0, )
	MIX(1, ^ sum7)
	MIX(2, )
	MIX(3, ^ sum7)
	MIX(4, ^ sum7)
	MIX(5, )
	MIX(6, )
	MIX(7, )
#undef MIX
}

/* The inverse is MixColumns after adding 4 x (row + two below) to each row. */
static inline __attribute__((always_inline)) void unmix(uint32_t *q, int k)
{
	uint32_t d[8];
	for (int j = 0; j < 8; j++)
		d[j] = q[j] ^ TWO_BELOW(q[j], k);
	q[0] ^= d[6];
	q[1] ^= d[6] ^ d[7];
	q[2] ^= d[0] ^ d[7];
	q[3] ^= d[1] ^ d[6];
	q[4] ^= d[2] ^ d[6] ^ d[7];
	q[5] ^= d[3] ^ d[7];
	q[6] ^= d[4];
	q[7] ^= d[5];
	mix(q, k);
}

static void mix_waiting(uint32_t *q, int round)
{
	switch (round % 4) {
	case 0:
		mix(q, 0);
		break;
	case 1:
		mix(q, 1);
		break;
	case 2:
		mix(q, 2);
		break;
	default:
		mix(q, 3);
		break;
	}
}

static void unmix_waiting(uint32_t *q, int round)
{
	switch (round % 4) {
	case 0:
		unmix(q, 0);
		break;
	case 1:
		unmix(q, 1);
		break;
	case 2:
		unmix(q, 2);
		break;
	default:
		unmix(q, 3);
		break;
	}
}

static inline __attribute__((always_inline)) void add(uint32_t *q, const uint32_t *key)
{
	/* Written out: a loop costs as much again. */
	q[0] ^= key[0], q[1] ^= key[1], q[2] ^= key[2], q[3] ^= key[3];
	q[4] ^= key[4], q[5] ^= key[5], q[6] ^= key[6], q[7] ^= key[7];
}

/* Rows 1 and 3 by two columns: ShiftRows done twice, and its own inverse. */
static inline __attribute__((always_inline)) uint32_t shift_twice(uint32_t x)
{
	return (x & 0x00ff00ff) | (x & 0x0f000f00) << 4 | (x >> 4 & 0x0f000f00);
}

/* Inverse ShiftRows done once. */
static inline __attribute__((always_inline)) uint32_t unshift(uint32_t x)
{
	return (x & 0x000000ff) | (x & 0x00003f00) << 2 | (x >> 6 & 0x00000300) | (x & 0x000f0000) << 4
		| (x >> 4 & 0x000f0000) | (x & 0x03000000) << 6 | (x >> 2 & 0x3f000000);
}

/* One plane of the next round key: `x` of the last one, `s` of its substituted bytes. */
static inline __attribute__((always_inline)) uint32_t expand(uint32_t x, uint32_t s, int j, uint32_t constant)
{
	/* SubWord(RotWord(last column)), moved to the first; then each column adds the one before it. */
	s = rotate(s, 8) >> 6 & 0x03030303;
	if (HAS_CONSTANT(j))
		s ^= 0x03030303;
	x ^= s ^ (constant >> j & 1) * 3;
	x ^= (x & 0x3f3f3f3f) << 2;
	return x ^ (x & 0x0f0f0f0f) << 4;
}

void wattlock_aes_key(wattlock_aes *aes, const uint8_t *key)
{
	uint32_t q[8], s[8];
	uint32_t *planes = aes->planes;
	uint32_t constant = 1;
	load_blocks(q, key, key);
	for (int j = 0; j < 8; j++)
		planes[j] = s[j] = q[j];
	for (int round = 1; round <= ROUNDS; round++) {
		planes += 8;
		substitute(s);
		q[0] = expand(q[0], s[0], 0, constant);
		q[1] = expand(q[1], s[1], 1, constant);
		q[2] = expand(q[2], s[2], 2, constant);
		q[3] = expand(q[3], s[3], 3, constant);
		q[4] = expand(q[4], s[4], 4, constant);
		q[5] = expand(q[5], s[5], 5, constant);
		q[6] = expand(q[6], s[6], 6, constant);
		q[7] = expand(q[7], s[7], 7, constant);
		for (int j = 0; j < 8; j++) {
			uint32_t x = s[j] = q[j];
			if (HAS_CONSTANT(j))
				x = ~x;
			if (round & 2)
				x = shift_twice(x);
			if (round & 1)
				x = unshift(x);
			planes[j] = x;
		}
		constant = constant << 1 ^ (constant >> 7) * 0x11b;
	}
	wattlock_wipe(q, sizeof q);
	wattlock_wipe(s, sizeof s);
}

void wattlock_aes_encrypt(const wattlock_aes *aes, uint8_t *first, uint8_t *second)
{
	uint32_t q[8];
	const uint32_t *planes = aes->planes;
	load_blocks(q, first, second);
	add(q, planes);
	for (int round = 1; round < ROUNDS; round++) {
		substitute(q);
		mix_waiting(q, round);
		add(q, planes += 8);
	}
	substitute(q);
	add(q, planes + 8);
	for (int j = 0; j < 8; j++)
		q[j] = shift_twice(q[j]);
	store_blocks(q, first, second);
	wattlock_wipe(q, sizeof q);
}

/* The linear part of the inverse S-box: bit j is the sum of bits j + 2, j + 5 and j + 7. */
static void unspread(uint32_t *q)
{
	uint32_t p0 = q[0], p1 = q[1], p2 = q[2], p3 = q[3], p4 = q[4], p5 = q[5], p6 = q[6], p7 = q[7];
	q[0] = p2 ^ p5 ^ p7;
	q[1] = p3 ^ p6 ^ p0;
	q[2] = p4 ^ p7 ^ p1;
	q[3] = p5 ^ p0 ^ p2;
	q[4] = p6 ^ p1 ^ p3;
	q[5] = p7 ^ p2 ^ p4;
	q[6] = p0 ^ p3 ^ p5;
	q[7] = p1 ^ p4 ^ p6;
}

/* InvSubBytes by the circuit above: with S' = spread of the inverse in the field, unspread S' unspread undoes S'. */
static void unsubstitute(uint32_t *q)
{
	unspread(q);
	substitute(q);
	unspread(q);
}

void wattlock_aes_decrypt(const wattlock_aes *aes, uint8_t *block)
{
	uint32_t q[8];
	const uint32_t *planes = aes->planes + 8 * ROUNDS;
	load_blocks(q, block, block);
	for (int j = 0; j < 8; j++)
		q[j] = shift_twice(q[j]);
	add(q, planes);
	unsubstitute(q);
	for (int round = ROUNDS - 1; round > 0; round--) {
		add(q, planes -= 8);
		unmix_waiting(q, round);
		unsubstitute(q);
	}
	add(q, planes - 8);
	store_blocks(q, block, block);
	wattlock_wipe(q, sizeof q);
}
