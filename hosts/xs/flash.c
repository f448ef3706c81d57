/*
 * NOR flash of one meter, as the host remembers it for reading: only blocks that are not erased are held. (The board has
 * the flash itself.) A page of memory for each sector touched would cost a meter four times as much.
 */

#include "host.h"

#define BLOCK_BYTES 256

struct wattlock_flash_block {
	uint32_t number; /* of the block, plus one; 0: the entry is free */
	uint8_t *bytes; /* NULL: erased */
};

static size_t place_of(const wattlock_flash *flash, uint32_t number)
{
	size_t place = (number * 2654435761u) & (flash->entryCount - 1);
	while (flash->entries[place].number != 0 && flash->entries[place].number != number + 1)
		place = (place + 1) & (flash->entryCount - 1);
	return place;
}

static uint8_t *find_block(const wattlock_flash *flash, uint32_t number)
{
	return flash->entryCount == 0 ? NULL : flash->entries[place_of(flash, number)].bytes;
}

static void grow(wattlock_flash *flash)
{
	wattlock_flash old = *flash;
	flash->entryCount = old.entryCount == 0 ? 16 : old.entryCount * 2;
	flash->entries = calloc(flash->entryCount, sizeof *flash->entries);
	if (!flash->entries)
		wattlock_fail(1, "out of memory for flash");
	flash->usedCount = 0;
	for (size_t i = 0; i < old.entryCount; i++) {
		if (old.entries[i].bytes) {
			flash->entries[place_of(flash, old.entries[i].number - 1)] = old.entries[i];
			flash->usedCount++;
		}
	}
	free(old.entries);
}

static uint8_t *make_block(wattlock_flash *flash, uint32_t number)
{
	uint8_t *bytes = find_block(flash, number);
	if (bytes)
		return bytes;
	if (flash->usedCount * 4 >= flash->entryCount * 3)
		grow(flash);
	bytes = malloc(BLOCK_BYTES);
	if (!bytes)
		wattlock_fail(1, "out of memory for flash");
	memset(bytes, 0xFF, BLOCK_BYTES);
	size_t place = place_of(flash, number);
	if (flash->entries[place].number == 0) {
		flash->entries[place].number = number + 1;
		flash->usedCount++;
	}
	flash->entries[place].bytes = bytes;
	return bytes;
}

static bool is_erased(const uint8_t *bytes, size_t byteLength)
{
	for (size_t i = 0; i < byteLength; i++) {
		if (bytes[i] != 0xFF)
			return false;
	}
	return true;
}

void wattlock_flash_read(const wattlock_flash *flash, size_t address, uint8_t *into, size_t byteLength)
{
	while (byteLength > 0) {
		size_t offset = address % BLOCK_BYTES;
		size_t length = BLOCK_BYTES - offset < byteLength ? BLOCK_BYTES - offset : byteLength;
		const uint8_t *bytes = find_block(flash, (uint32_t)(address / BLOCK_BYTES));
		if (bytes)
			memcpy(into, bytes + offset, length);
		else
			memset(into, 0xFF, length);
		into += length;
		address += length;
		byteLength -= length;
	}
}

void wattlock_flash_program(wattlock_flash *flash, size_t address, const uint8_t *from, size_t byteLength)
{
	while (byteLength > 0) {
		size_t offset = address % BLOCK_BYTES;
		size_t length = BLOCK_BYTES - offset < byteLength ? BLOCK_BYTES - offset : byteLength;
		if (!is_erased(from, length)) {
			uint8_t *bytes = make_block(flash, (uint32_t)(address / BLOCK_BYTES));
			for (size_t i = 0; i < length; i++)
				bytes[offset + i] &= from[i];
		}
		from += length;
		address += length;
		byteLength -= length;
	}
}

void wattlock_flash_erase(wattlock_flash *flash, size_t address, size_t byteLength)
{
	while (byteLength > 0) {
		size_t offset = address % BLOCK_BYTES;
		size_t length = BLOCK_BYTES - offset < byteLength ? BLOCK_BYTES - offset : byteLength;
		uint8_t *bytes = find_block(flash, (uint32_t)(address / BLOCK_BYTES));
		if (bytes && length == BLOCK_BYTES) {
			free(bytes);
			flash->entries[place_of(flash, (uint32_t)(address / BLOCK_BYTES))].bytes = NULL;
		} else if (bytes) {
			memset(bytes + offset, 0xFF, length);
		}
		address += length;
		byteLength -= length;
	}
}

void wattlock_flash_close(wattlock_flash *flash)
{
	for (size_t i = 0; i < flash->entryCount; i++)
		free(flash->entries[i].bytes);
	free(flash->entries);
	memset(flash, 0, sizeof *flash);
}
