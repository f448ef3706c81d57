/*
 * Firmware archive, version 1: what the compiler (compiler.c) writes and every XS host runs in place. Little-endian.
 *
 * | offset | size | field                                                                      |
 * |-------:|-----:|----------------------------------------------------------------------------|
 * |      0 |    4 | "WLXA"                                                                     |
 * |      4 |    1 | version, 1                                                                 |
 * |      5 |    3 | XS version (major, minor, patch): bytecode of another one is refused       |
 * |      8 |    4 | byteLength of the archive                                                  |
 * |     12 |    4 | CRC-32 (reflected 0xEDB88320) of everything from offset 16                 |
 * |     16 |    4 | firstName: number that the engine must give to the first name below        |
 * |     20 |    4 | nameCount                                                                  |
 * |     24 |    4 | nameBytes, then                                                            |
 * |     28 |    4 | moduleCount                                                                |
 * |     32 |    n | nameCount strings, each ended by 0                                         |
 * |        |      | per module: u32 name length with its 0, u32 code length, name, code        |
 */

#ifndef WATTLOCK_ARCHIVE_H
#define WATTLOCK_ARCHIVE_H

#define WATTLOCK_ARCHIVE_VERSION 1
#define WATTLOCK_ARCHIVE_HEADER_BYTES 32

#include <stddef.h>
#include <stdint.h>

static inline uint32_t wattlock_crc32(const uint8_t *bytes, size_t byteLength)
{
	uint32_t crc = 0xFFFFFFFF;
	for (size_t i = 0; i < byteLength; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0xEDB88320 & (0u - (crc & 1)));
	}
	return ~crc;
}

#endif
