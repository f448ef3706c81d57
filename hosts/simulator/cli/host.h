/* The headless host on the PC: what its C files share. One meter, behind the board channel (docs/BOARD.md). */

#ifndef WATTLOCK_SIMULATOR_HOST_H
#define WATTLOCK_SIMULATOR_HOST_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_BYTES 12
#define FRAME_PAYLOAD_MAX 1048576u
#define EVERY_METER 0xFFFFFFFFu

/* Frames that C itself answers with; the others are named in main.ts. */
#define FRAME_READY 64
#define FRAME_FLASH_PROGRAM 69
#define FRAME_FLASH_ERASE 70
#define FRAME_ABORTED 73
#define FRAME_STATISTICS 74
#define FRAME_POWERED_OFF 75

/* Reasons of `aborted`. */
#define ABORT_OUT_OF_MEMORY 1
#define ABORT_STACK 2
#define ABORT_EXCEPTION 3
#define ABORT_RESTART 4

struct statistics {
	uint32_t slotsLive, slotsPeak, slotBytes, chunkBytesLive, chunkBytesPeak, stackPeakSlots;
};

/* main.c */

/* One frame to the board; head and body are joined. Ends the process when the board is gone. */
void host_send(uint8_t kind, const void *head, size_t headLength, const void *body, size_t bodyLength);
/* The board broke the protocol, or the host cannot go on: one line for people, and exit code 2. */
_Noreturn void host_fail(const char *text);

/* Payload of the frame that was read last. */
const uint8_t *host_frame(uint32_t *byteLength);
/* The machine ends here, from inside a host function; what had to be said has been sent. */
_Noreturn void host_leave(void *machine);

/* board.c */

/* Forgets flash, samples and power cut: the power is off. */
void board_off(void);

/* engine.c; `machine` is an xsMachine. */

const char *engine_main_module(void *preparation);
/* Leaves everything that runs in the machine, back to the host's outermost frame. */
_Noreturn void engine_exit(void *machine);
/* Call after a collection. The peak of the stack is counted in instrumented builds only (mcconfig -i), else 0. */
void engine_statistics(void *machine, struct statistics *statistics);

#endif
