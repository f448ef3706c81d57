/*
 * A meter's storage on the second flash chip of the emulated board: wattlock_flash of host.h over the command set of
 * Intel's parallel NOR (CFI 0001). QEMU keeps it in a file, word by word, so what a power cut leaves is in the file.
 *
 * Two things of an ESP32-C6's SPI flash QEMU's chip does not have: it erases 256 KiB at once, and programming may set bits
 * again. So a program here is the old content AND the new, and a sector of 4 KiB is erased by programming ones. Both are
 * done in many steps, and the end of the emulator in between leaves them half done.
 */

#include "host.h"

#include "machine.h"

/* Two chips of 16 bits side by side: each command goes to both. */
#define COMMAND(code) ((code) | (uint32_t)(code) << 16)
enum { PROGRAM_WORD = 0x40, PROGRAM_BUFFER = 0xe8, CONFIRM = 0xd0, CLEAR_STATUS = 0x50, READ_ARRAY = 0xff };
#define READY COMMAND(0x80)
#define FAULTS COMMAND(0x3a)

/* Words that one buffered program takes; at most the chip's 2 KiB, within which it must lie. */
#define BUFFER_WORDS 64

static volatile uint32_t *word_at(size_t address)
{
	return (volatile uint32_t *)(MACHINE_STORE_FLASH + (address & ~(size_t)3));
}

static void wait_ready(volatile uint32_t *at)
{
	uint32_t status;
	while (((status = *at) & READY) != READY) {
	}
	if (status & FAULTS)
		wattlock_fail(1, "flash: a program failed with status %08lx", (unsigned long)status);
}

void wattlock_flash_read(const wattlock_flash *flash, size_t address, uint8_t *into, size_t byteLength)
{
	(void)flash;
	memcpy(into, (const uint8_t *)MACHINE_STORE_FLASH + address, byteLength);
}

void wattlock_flash_program(wattlock_flash *flash, size_t address, const uint8_t *from, size_t byteLength)
{
	(void)flash;
	while (byteLength > 0) {
		/* Read in one go: reading and commanding are two modes of the chip. */
		uint32_t words[BUFFER_WORDS];
		volatile uint32_t *at = word_at(address);
		size_t offset = address & 3;
		size_t length = sizeof words - offset < byteLength ? sizeof words - offset : byteLength;
		size_t count = (offset + length + 3) / 4;
		bool changes = false;
		for (size_t i = 0; i < count; i++)
			words[i] = at[i];
		for (size_t i = 0; i < length; i++)
			((uint8_t *)words)[offset + i] &= from[i];
		uint32_t changed[BUFFER_WORDS / 32] = { 0 };
		for (size_t i = 0; i < count; i++) {
			if (words[i] != at[i]) {
				changed[i / 32] |= 1u << (i % 32);
				changes = true;
			}
		}
		for (size_t i = 0; i < count; i++) {
			if ((changed[i / 32] & 1u << (i % 32)) == 0)
				continue;
			at[i] = COMMAND(PROGRAM_WORD);
			at[i] = words[i];
			wait_ready(at + i);
		}
		if (changes) {
			*at = COMMAND(CLEAR_STATUS);
			*at = COMMAND(READ_ARRAY);
		}
		from += length;
		address += length;
		byteLength -= length;
	}
}

void wattlock_flash_erase(wattlock_flash *flash, size_t address, size_t byteLength)
{
	(void)flash;
	if ((address | byteLength) & 255)
		wattlock_fail(1, "flash: an erase that is not of whole pages");
	for (size_t end = address + byteLength; address < end; address += 4 * BUFFER_WORDS) {
		volatile uint32_t *at = word_at(address);
		*at = COMMAND(PROGRAM_BUFFER);
		wait_ready(at);
		*at = COMMAND(BUFFER_WORDS - 1);
		for (size_t i = 0; i < BUFFER_WORDS; i++)
			at[i] = 0xFFFFFFFF;
		*at = COMMAND(CONFIRM);
		wait_ready(at);
		*at = COMMAND(CLEAR_STATUS);
		*at = COMMAND(READ_ARRAY);
	}
}

void wattlock_flash_close(wattlock_flash *flash)
{
	(void)flash; /* the content stays: it is flash */
}
