/* What the board gives the meter, as far as it is too large for the machine's heap: flash, samples, entropy. */

#include "xsmc.h"
#include "mc.xs.h"

#include <stdlib.h>
#include <string.h>

#include "host.h"

/* ---- flash ---- */

static uint8_t *gFlash;
static uint32_t gFlashBytes, gFlashReserved;
static uint32_t gSectorBytes;
static uint32_t gOperations, gCutAt, gCutTornBytes;

static void flash_reserve(uint32_t byteLength)
{
	if (byteLength <= gFlashReserved)
		return;
	gFlash = realloc(gFlash, byteLength);
	if (!gFlash)
		host_fail("no memory for the flash");
	memset(gFlash + gFlashReserved, 0xFF, byteLength - gFlashReserved);
	gFlashReserved = byteLength;
}

static uint32_t get_uint32(const uint8_t *from)
{
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void put_uint32(uint8_t *into, uint32_t value)
{
	into[0] = (uint8_t)value;
	into[1] = (uint8_t)(value >> 8);
	into[2] = (uint8_t)(value >> 16);
	into[3] = (uint8_t)(value >> 24);
}

/* Takes the frame's bytes as content of the flash, before power-on. */
void simulator_flash_load(xsMachine *the)
{
	uint32_t byteLength;
	const uint8_t *payload = host_frame(&byteLength);
	if (byteLength < 4)
		host_fail("board channel: flashLoad is too short");
	uint32_t address = get_uint32(payload);
	if (address > 0x10000000u)
		host_fail("board channel: flashLoad beyond 256 MiB");
	flash_reserve(address + byteLength - 4);
	memcpy(gFlash + address, payload + 4, byteLength - 4);
}

/* (sectorBytes, sectorCount) */
void simulator_flash_open(xsMachine *the)
{
	gSectorBytes = xsmcToUnsigned(xsArg(0));
	uint32_t sectorCount = xsmcToUnsigned(xsArg(1));
	if (gSectorBytes == 0 || sectorCount == 0 || sectorCount > 0x10000000u / gSectorBytes)
		host_fail("board channel: powerOn with a bad size of the flash");
	gFlashBytes = gSectorBytes * sectorCount;
	if (gFlashReserved > gFlashBytes)
		host_fail("board channel: flashLoad beyond the flash of powerOn");
	flash_reserve(gFlashBytes);
}

/* (address, into, byteLength). @returns 1, 0 outside the flash */
void simulator_flash_read(xsMachine *the)
{
	uint32_t address = xsmcToUnsigned(xsArg(0));
	uint32_t byteLength = xsmcToUnsigned(xsArg(2));
	void *into;
	xsUnsignedValue room;
	xsmcGetBufferWritable(xsArg(1), &into, &room);
	if (byteLength > room || byteLength > gFlashBytes || address > gFlashBytes - byteLength) {
		xsmcSetInteger(xsResult, 0);
		return;
	}
	memcpy(into, gFlash + address, byteLength);
	xsmcSetInteger(xsResult, 1);
}

/* The power goes off now: says so, and the machine ends. */
static _Noreturn void power_off(xsMachine *the)
{
	uint8_t head[4];
	put_uint32(head, gOperations);
	host_send(FRAME_POWERED_OFF, head, sizeof head, NULL, 0);
	host_leave(the);
}

/* Counts an operation. @returns true when the power is cut inside it */
static int cut_now(void)
{
	gOperations++;
	return gCutAt != 0 && gOperations == gCutAt;
}

static void program(uint32_t address, const uint8_t *from, uint32_t byteLength)
{
	uint8_t head[4];
	put_uint32(head, address);
	host_send(FRAME_FLASH_PROGRAM, head, sizeof head, from, byteLength);
	for (uint32_t i = 0; i < byteLength; i++)
		gFlash[address + i] &= from[i];
}

/* (address, from, byteLength). @returns 1, 0 outside the flash */
void simulator_flash_program(xsMachine *the)
{
	uint32_t address = xsmcToUnsigned(xsArg(0));
	uint32_t byteLength = xsmcToUnsigned(xsArg(2));
	void *bytes;
	xsUnsignedValue room;
	xsmcGetBufferReadable(xsArg(1), &bytes, &room);
	if (byteLength > room || byteLength > gFlashBytes || address > gFlashBytes - byteLength) {
		xsmcSetInteger(xsResult, 0);
		return;
	}
	if (cut_now()) {
		uint32_t whole = gCutTornBytes < byteLength ? gCutTornBytes : byteLength;
		if (whole > 0)
			program(address, bytes, whole);
		if (whole < byteLength) {
			/* Of the next byte the even bits only: the odd ones stay as they are. */
			uint8_t torn = ((const uint8_t *)bytes)[whole] | 0xAA;
			program(address + whole, &torn, 1);
		}
		power_off(the);
	}
	program(address, bytes, byteLength);
	xsmcSetInteger(xsResult, 1);
}

/* (sectorIndex). @returns 1, 0 outside the flash */
void simulator_flash_erase(xsMachine *the)
{
	uint32_t sectorIndex = xsmcToUnsigned(xsArg(0));
	uint8_t head[4];
	if (sectorIndex >= gFlashBytes / gSectorBytes) {
		xsmcSetInteger(xsResult, 0);
		return;
	}
	int cut = cut_now();
	uint8_t *sector = gFlash + (size_t)sectorIndex * gSectorBytes;
	put_uint32(head, sectorIndex);
	host_send(FRAME_FLASH_ERASE, head, sizeof head, NULL, 0);
	if (cut) {
		/* The board takes an erase as a whole: what it did not reach is programmed back. */
		uint32_t done = gCutTornBytes < gSectorBytes ? gCutTornBytes : gSectorBytes;
		if (done < gSectorBytes)
			program((uint32_t)(sector - gFlash) + done, sector + done, gSectorBytes - done);
		power_off(the);
	}
	memset(sector, 0xFF, gSectorBytes);
	xsmcSetInteger(xsResult, 1);
}

/* (flashOperations, tornBytes): 0 cuts now and does not return. */
void simulator_power_cut(xsMachine *the)
{
	uint32_t operations = xsmcToUnsigned(xsArg(0));
	if (operations == 0)
		power_off(the);
	gCutAt = gOperations + operations;
	gCutTornBytes = xsmcToUnsigned(xsArg(1));
}

/* ---- samples ---- */

struct block {
	struct block *next;
	uint32_t rowBytes, rowCount, rowIndex, repeat;
	uint8_t rows[];
};

static struct block *gBlocks;

static void drop_block(void)
{
	struct block *block = gBlocks;
	gBlocks = block->next;
	free(block);
}

/* A block that has ended leaves the queue, a repeating one when another stands behind it. */
static void drop_finished(void)
{
	while (gBlocks && gBlocks->rowIndex == gBlocks->rowCount) {
		if (gBlocks->repeat && !gBlocks->next && gBlocks->rowCount > 0)
			gBlocks->rowIndex = 0;
		else
			drop_block();
	}
}

/* Queues the frame's rows; how long a row is shows when they are taken. */
void simulator_samples_queue(xsMachine *the)
{
	uint32_t byteLength;
	const uint8_t *payload = host_frame(&byteLength);
	if (byteLength < 8)
		host_fail("board channel: samples is too short");
	uint32_t rowCount = get_uint32(payload);
	if (rowCount == 0 ? byteLength != 8 : (byteLength - 8) % rowCount != 0)
		host_fail("board channel: samples are not whole rows");
	struct block *block = malloc(sizeof *block + byteLength - 8);
	struct block **last = &gBlocks;
	if (!block)
		host_fail("no memory for samples");
	block->next = NULL;
	block->rowCount = rowCount;
	block->rowBytes = rowCount == 0 ? 0 : (byteLength - 8) / rowCount;
	block->rowIndex = 0;
	block->repeat = get_uint32(payload + 4) & 1;
	memcpy(block->rows, payload + 8, byteLength - 8);
	while (*last)
		last = &(*last)->next;
	*last = block;
	drop_finished();
}

/* (rowCountMax). @returns rows that could be taken now, at most so many */
void simulator_samples_waiting(xsMachine *the)
{
	uint32_t rowCountMax = xsmcToUnsigned(xsArg(0));
	uint32_t rows = 0;
	for (struct block *block = gBlocks; block && rows < rowCountMax; block = block->next) {
		if (block->repeat && !block->next && block->rowCount > 0)
			rows = rowCountMax;
		else
			rows += block->rowCount - block->rowIndex;
	}
	xsmcSetUnsigned(xsResult, rows < rowCountMax ? rows : rowCountMax);
}

/* (into, rowCount, rowBytes): copies rows that are waiting; without `into` they are lost. */
void simulator_samples_take(xsMachine *the)
{
	uint32_t rowCount = xsmcToUnsigned(xsArg(1));
	uint32_t rowBytes = xsmcToUnsigned(xsArg(2));
	void *buffer;
	xsUnsignedValue room;
	uint8_t *into = NULL;
	if (xsmcTest(xsArg(0))) {
		xsmcGetBufferWritable(xsArg(0), &buffer, &room);
		if (rowBytes == 0 || rowCount > room / rowBytes)
			xsRangeError("samples: outside the buffer");
		into = buffer;
	}
	while (rowCount > 0) {
		struct block *block = gBlocks;
		if (!block)
			xsRangeError("samples: none are waiting");
		if (block->rowBytes != rowBytes)
			host_fail("board channel: samples do not fit the layout of the settings");
		uint32_t count = block->rowCount - block->rowIndex;
		if (count > rowCount)
			count = rowCount;
		if (into) {
			memcpy(into, block->rows + (size_t)block->rowIndex * rowBytes, (size_t)count * rowBytes);
			into += (size_t)count * rowBytes;
		}
		rowCount -= count;
		block->rowIndex += count;
		drop_finished();
	}
}

/* ---- entropy: ChaCha20 keyed with the board's seed (RFC 8439 section 2.3), nonce 0, for simulations ---- */

static uint32_t gSeed[8];
static uint32_t gBlockNumber;
static uint8_t gRandom[64];
static uint32_t gRandomUsed = 64;

static uint32_t rotate(uint32_t value, int bits)
{
	return value << bits | value >> (32 - bits);
}

static void quarter_round(uint32_t *s, int a, int b, int c, int d)
{
	s[a] += s[b], s[d] = rotate(s[d] ^ s[a], 16);
	s[c] += s[d], s[b] = rotate(s[b] ^ s[c], 12);
	s[a] += s[b], s[d] = rotate(s[d] ^ s[a], 8);
	s[c] += s[d], s[b] = rotate(s[b] ^ s[c], 7);
}

static void next_random(void)
{
	uint32_t start[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
	uint32_t state[16];
	memcpy(start + 4, gSeed, sizeof gSeed);
	start[12] = gBlockNumber++;
	memcpy(state, start, sizeof state);
	for (int i = 0; i < 10; i++) {
		quarter_round(state, 0, 4, 8, 12);
		quarter_round(state, 1, 5, 9, 13);
		quarter_round(state, 2, 6, 10, 14);
		quarter_round(state, 3, 7, 11, 15);
		quarter_round(state, 0, 5, 10, 15);
		quarter_round(state, 1, 6, 11, 12);
		quarter_round(state, 2, 7, 8, 13);
		quarter_round(state, 3, 4, 9, 14);
	}
	for (int i = 0; i < 16; i++)
		put_uint32(gRandom + 4 * i, state[i] + start[i]);
	gRandomUsed = 0;
}

/* (seed): 32 bytes. */
void simulator_entropy_seed(xsMachine *the)
{
	void *bytes;
	xsUnsignedValue room;
	xsmcGetBufferReadable(xsArg(0), &bytes, &room);
	if (room != 32)
		xsRangeError("entropy: 32 bytes");
	for (int i = 0; i < 8; i++)
		gSeed[i] = get_uint32((const uint8_t *)bytes + 4 * i);
	gBlockNumber = 0;
	gRandomUsed = 64;
}

/* (into) */
void simulator_entropy_fill(xsMachine *the)
{
	void *buffer;
	xsUnsignedValue room;
	xsmcGetBufferWritable(xsArg(0), &buffer, &room);
	for (uint32_t i = 0; i < room; i++) {
		if (gRandomUsed == 64)
			next_random();
		((uint8_t *)buffer)[i] = gRandom[gRandomUsed++];
	}
}

void board_off(void)
{
	free(gFlash);
	gFlash = NULL;
	gFlashBytes = gFlashReserved = 0;
	gOperations = gCutAt = gCutTornBytes = 0;
	while (gBlocks)
		drop_block();
}
