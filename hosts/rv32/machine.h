/*
 * The emulated board: QEMU's `virt` with a 32-bit core, as far as this host uses it. Addresses are QEMU's, sizes those of
 * an ESP32-C6 with 4 MB of flash: the linker script (rv32.ld) and the PMP entries keep to them.
 */

#ifndef WATTLOCK_MACHINE_H
#define WATTLOCK_MACHINE_H

#include <stddef.h>
#include <stdint.h>

/* pflash0: the firmware image, read-only. pflash1: what a meter stores. */
#define MACHINE_IMAGE_FLASH 0x20000000u
#define MACHINE_STORE_FLASH 0x22000000u
#define MACHINE_FLASH_BYTES 0x02000000u

/* The chip's RAM, as rv32.ld has it. */
#define MACHINE_RAM 0x80000000u

/*
 * Memory of the virtual board, not of the chip: the frame that is on its way, waveform rows that wait to be played (a
 * converter makes them on a real board), buffers of the channel.
 */
#define MACHINE_BOARD_WINDOW 0x82000000u
#define MACHINE_BOARD_WINDOW_BYTES 0x02000000u

/* Written by the emulator before reset: -device loader,addr=…,data=…,data-len=4. */
typedef struct {
	uint32_t mode;
	uint32_t romBase; /* where the image of the root machine is made; mode MACHINE_MAKE_ROM only */
	uint32_t flags;
	uint32_t cutHundreds; /* power fails after so many hundred instructions of work; 0: never */
	uint32_t strayStore; /* a test of the protection: a store there at start; 0: none */
} machine_straps;

enum { MACHINE_RUN = 0, MACHINE_MAKE_ROM = 1 };
enum { MACHINE_COUNTERS = 1, MACHINE_COLLECT_OFTEN = 2 };

#define machine_strap ((const volatile machine_straps *)MACHINE_BOARD_WINDOW)

/* How the emulator ends. */
enum { MACHINE_EXIT_BOARD = 0, MACHINE_EXIT_FAILED = 1, MACHINE_EXIT_PROTOCOL = 2, MACHINE_EXIT_TRAP = 3, MACHINE_EXIT_CUT = 4 };

/* Locks the memory map: code cannot be written, RAM not executed, and nothing else exists. For good. */
void machine_lock(void);
/* Text for people: standard error of the emulator. */
void machine_print(const char *text);
/* Ends the emulator at once, in the middle of whatever goes on. */
void machine_exit(int code) __attribute__((noreturn));
/* Lets interrupts of a device wake `machine_idle`. */
void machine_listen(uint32_t interrupt);
/* Sleeps until a device that is listened to asks for attention. Time asleep is not counted. */
void machine_idle(void);
/* Instructions since reset that were not spent asleep or waiting for the board; exact with -icount shift=0. */
uint64_t machine_instructions(void);
/* Work begins or ends: counted, and cut short when the straps say so. */
void machine_begin_work(void);
void machine_end_work(void);
/* Deepest use of the C stack so far, in bytes. */
uint32_t machine_stack_peak(void);
/* Where `malloc` takes from: the chip's heap, unless the root machine is being made. */
void machine_set_heap(void *start, void *end);
void *machine_heap_used(void);
/* The most the chip's heap ever gave, in bytes. */
uint32_t machine_heap_peak(void);

#endif
