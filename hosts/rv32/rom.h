/*
 * The root machine (hosts/xs/root.c) in flash. The image makes it itself: run once in the emulator with memory in place of
 * flash, it runs the firmware's modules, shares the machine and hands its memory over; test-harness/build/rv32-image.ts
 * does that at two addresses, takes every word that differs for a pointer, and places the result behind the archive.
 *
 * | offset | size | field                                                                      |
 * |-------:|-----:|----------------------------------------------------------------------------|
 * |      0 |    4 | "WLRM"                                                                     |
 * |      4 |    4 | CRC-32 of the code it was made with                                        |
 * |      8 |    4 | CRC-32 in the header of the archive it was made with                       |
 * |     12 |    4 | byteLength with this header                                                |
 * |     16 |    4 | address of the wattlock_root                                               |
 * |     20 |   12 | 0                                                                          |
 */

#ifndef WATTLOCK_ROM_H
#define WATTLOCK_ROM_H

#include "host.h"

#define ROM_HEADER_BYTES 32

/* Kinds of frames between the image and its builder. */
enum { ROM_SEGMENT = 200, ROM_MADE = 201 };

/* @returns NULL, and then `why` says what is wrong with the image behind the code */
const wattlock_root *rom_find(const char **why);
/* Makes the root machine and hands it over; does not return. */
XS_FUNCTION_NORETURN void rom_make(void);
/* The archive in flash, and how long it says it is. */
const uint8_t *rom_archive(size_t *byteLength);
/* While the root machine is made, its memory comes from here. @returns NULL else */
void *rom_reserve(size_t byteLength);

/* Of main.c. */
void send_frame(uint32_t meter, uint8_t kind, const void *head, size_t headLength, const void *body, size_t bodyLength);

#endif
