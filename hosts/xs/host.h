/*
 * One meter on the XS engine, behind the board channel (docs/BOARD.md). Shared by every host that runs XS: the host
 * gives memory, a way out for frames and a place where frames come from; everything else is here.
 */

#ifndef WATTLOCK_HOST_H
#define WATTLOCK_HOST_H

#include "xsAll.h"

#define WATTLOCK_PROTOCOL_VERSION 2
#define WATTLOCK_FRAME_HEADER_BYTES 12
#define WATTLOCK_PAYLOAD_BYTES_MAX 1048576
#define WATTLOCK_EVERY_METER 0xFFFFFFFFu

/* Board to target. */
enum {
	WATTLOCK_POWER_ON = 1,
	WATTLOCK_FLASH_LOAD = 2,
	WATTLOCK_ADVANCE = 3,
	WATTLOCK_SAMPLES = 4,
	WATTLOCK_LINK_EVENT = 5,
	WATTLOCK_LINK_DATA = 6,
	WATTLOCK_INPUT = 7,
	WATTLOCK_POWER_CUT = 8,
	WATTLOCK_QUERY = 9,
	WATTLOCK_SAMPLES_LOST = 10,
	WATTLOCK_SHUTDOWN = 11,
	WATTLOCK_OPTICAL_DATA = 12,
};

/* Target to board. */
enum {
	WATTLOCK_READY = 64,
	WATTLOCK_DONE = 65,
	WATTLOCK_LINK_OPEN = 66,
	WATTLOCK_LINK_SEND = 67,
	WATTLOCK_LINK_CLOSE = 68,
	WATTLOCK_FLASH_PROGRAM = 69,
	WATTLOCK_FLASH_ERASE = 70,
	WATTLOCK_OUTPUT = 71,
	WATTLOCK_LOG = 72,
	WATTLOCK_ABORTED = 73,
	WATTLOCK_STATISTICS = 74,
	WATTLOCK_POWERED_OFF = 75,
	WATTLOCK_CLOCK_SET = 76,
	WATTLOCK_OPTICAL_SEND = 77,
};

/* Why a machine ended: the reasons of `aborted`, and the power cut. */
enum {
	WATTLOCK_RUNNING = 0,
	WATTLOCK_OUT_OF_MEMORY = 1,
	WATTLOCK_STACK_OVERFLOW = 2,
	WATTLOCK_EXCEPTION = 3,
	WATTLOCK_RESTART = 4,
	WATTLOCK_RUNAWAY = 5,
	WATTLOCK_POWER_LOST = 100,
};

/* The creation of the ESP32-C6: what a machine may never exceed (counts; a slot is 16 bytes there, 32 on 64 bit). */
#define WATTLOCK_CHUNK_BYTES_MAX 78848
#define WATTLOCK_SLOTS_MAX 4928
#define WATTLOCK_STACK_SLOTS 512

#if defined(__linux__)
/* A fleet's machine starts with this and grows by 64 slots up to the limit: 256 + 73 x 64 = 4928. */
#define WATTLOCK_GROWS 1
#define WATTLOCK_SLOTS_INITIAL 256
#define WATTLOCK_CHUNK_BYTES_INITIAL 1024
#define WATTLOCK_PAGE_BYTES 4096
#else
/*
 * On a device the one machine has all of it from the start: the creation of the ESP32-C6, which has no increments. When it
 * is to collect often it grows, as a fleet's does: else nothing would be collected before all is used.
 */
#define WATTLOCK_GROWS 0
#define WATTLOCK_SLOTS_INITIAL (wattlock_collect_often ? 256 : WATTLOCK_SLOTS_MAX)
#define WATTLOCK_CHUNK_BYTES_INITIAL (wattlock_collect_often ? 1024 : WATTLOCK_CHUNK_BYTES_MAX)
#define WATTLOCK_PAGE_BYTES 16
#endif

/* Link and optical data reach the firmware in pieces of at most this, samples in blocks of at most 4096 bytes or 50 ms. */
#define WATTLOCK_LINK_BUFFER_BYTES 512
#define WATTLOCK_BLOCK_BYTES_MAX 4096
#define WATTLOCK_BLOCK_MILLISECONDS 50
#define WATTLOCK_INPUT_COUNT 8

typedef struct wattlock_meter wattlock_meter;
typedef struct wattlock_rows wattlock_rows;
typedef struct wattlock_flash_block wattlock_flash_block;

/* Memory of one machine: address space for the whole limit, touched only as far as it is used. `context` of XS. */
typedef struct {
	wattlock_meter *meter; /* NULL: the root machine */
	txMachine *machine;
	txSlot *idleStack; /* what a machine that does not run has on its stack */
	size_t idleStackCount;
	uint32_t stackPeak;
	uint8_t *base;
	size_t byteLength;
	txSlot *slots;
	size_t slotsUsed;
	size_t slotsMax;
	size_t slotsThreshold; /* collect before growing past this */
	uint8_t *chunks;
	size_t chunksUsed;
	size_t chunksMax;
	size_t chunksThreshold;
	bool collecting; /* the machine is complete: the policy of memory.c holds */
} wattlock_memory;

/* Flash content that is not erased: a hash table of blocks (flash.c). All zero: an erased chip. */
typedef struct {
	wattlock_flash_block *entries;
	size_t entryCount; /* a power of two */
	size_t usedCount;
} wattlock_flash;

/* A firmware archive (archive.c): bytecode that runs in place, and the names it uses. */
typedef struct {
	const uint8_t *bytes;
	size_t byteLength;
	const char *names; /* nameCount strings, one after the other */
	uint32_t nameCount;
	const uint8_t *modules;
	uint32_t moduleCount;
} wattlock_archive;

/* The root machine: built-ins and the firmware's modules, run once and then shared by every meter. */
typedef struct wattlock_root wattlock_root;
struct wattlock_root {
	wattlock_memory memory;
	wattlock_archive archive;
	txMachine *machine;
	/*
	 * The root of an archive out of a meter's flash, `bytes` from malloc, given away; NULL, and why, when it does not
	 * load. Set by a host that starts firmware out of flash; NULL: all meters run what is built in.
	 */
	const wattlock_root *(*image_root)(uint8_t *bytes, size_t byteLength, char *wrong, size_t wrongLength);
	bool boots; /* the firmware says which firmware starts: wattlockBoot */
	txID bootID;
	txID startID;
	txID samplesID;
	txID samplesLostID;
	txID inputChangedID;
	txID tickID;
	txID deadlineID;
	txID linkOpenedID;
	txID linkReceivedID;
	txID linkWritableID;
	txID linkClosedID;
	txID opticalReceivedID;
	uint32_t slotCount;
	uint32_t chunkBytes;
	uint32_t aliasCount;
};

/* Rows waiting to be played. */
typedef struct wattlock_block wattlock_block;
struct wattlock_block {
	wattlock_block *next;
	wattlock_rows *rows;
	uint32_t rowCount;
	uint32_t rowIndex;
	bool repeat;
};

struct wattlock_meter {
	wattlock_memory memory;
	const wattlock_root *root; /* of what runs: what is built in, or an image of its flash */
	const wattlock_root *builtIn;
	void *owner; /* of the host */
	uint32_t index;
	txMachine *machine; /* NULL: off */
	bool hasEnded; /* off, and that has been reported: what was asked before it was known gets no answer of its own */

	int endReason;

	/* Board time in milliseconds; the firmware's own starts at power-on. */
	double nowMilliseconds;
	double powerOnMilliseconds;
	double deadlineMilliseconds;
	/* The same as the firmware said it, in milliseconds since power-on: the sum above may have been rounded. */
	double deadlineAsked;
	double firmwareMilliseconds;
	double utcSecondsAtPowerOn;
	double meteringTicks;

	double collectedMilliseconds; /* when memory was last given back */
	txSlot handlers;
	txSlot sampleBlock;
	txSlot linkBuffer;
	uint32_t bootReason;
	int32_t bootedSlot; /* of src/firmware-update: 0 built in; -1: nothing is started out of flash */
	bool choosing; /* wattlockBoot runs */
	uint32_t imageAddress; /* what it chose */
	uint32_t imageBytes;
	bool typeScriptKernel;
	uint8_t linkState;
	int32_t inputs[WATTLOCK_INPUT_COUNT];

	uint8_t seed[32];
	uint8_t deviceKey[32]; /* what a fuse block holds on a chip */
	uint8_t random[64];
	uint32_t randomUsed;
	uint32_t randomCounter;

	wattlock_flash flash;
	uint64_t flashLoaded; /* end of the highest flashLoad */
	uint32_t sectorBytes;
	uint32_t sectorCount;
	uint32_t flashOperations;
	uint32_t cutAtOperation; /* 0: none */
	uint32_t cutTornBytes;

	wattlock_block *blocks;
	uint32_t rowBytes; /* 0: the firmware has not said */
	double samplesPerSecond;
	double rowNumber; /* of the next row, counted from power-on */
	uint32_t blockRows;
};

/* ---- given by the host ---- */

/* Zeroed address space, touched lazily where the system can; never returns NULL. */
void *wattlock_reserve(size_t byteLength);
void wattlock_release(void *address, size_t byteLength);
/* Makes the bytes zero again and gives their pages back where it can. */
void wattlock_zero(void *address, size_t byteLength);
/* From now on a store into these bytes ends the process. */
void wattlock_protect(void *address, size_t byteLength);
/* One frame to the board; head and body are joined. */
void wattlock_send(wattlock_meter *meter, uint8_t kind, const void *head, size_t headLength, const void *body,
	size_t bodyLength);
/* The board broke the protocol, or the host cannot go on: one line for people, and the end. */
XS_FUNCTION_NORETURN void wattlock_fail(int exitCode, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waveform rows, shared between meters when they are equal. */
wattlock_rows *wattlock_rows_take(const uint8_t *bytes, size_t byteLength);
void wattlock_rows_drop(wattlock_rows *rows);
const uint8_t *wattlock_rows_bytes(const wattlock_rows *rows);
size_t wattlock_rows_length(const wattlock_rows *rows);

/* ---- archive.c ---- */

/* @returns NULL, or why the bytes are no firmware archive of this engine */
const char *wattlock_archive_open(wattlock_archive *archive, const uint8_t *bytes, size_t byteLength);

/* ---- memory.c ---- */

void wattlock_memory_open(wattlock_memory *memory, size_t slots, size_t chunkBytes, size_t stackSlots);
void wattlock_memory_close(wattlock_memory *memory);
/* Puts the machine on the stack of this thread; before anything is done with it. */
void wattlock_enter(wattlock_memory *memory);
/* Set before any machine is made: collects at every chance, to find what a collection at the wrong moment breaks. */
extern bool wattlock_collect_often;
/* Collects everything, compacts, and gives unused pages back. */
void wattlock_collect(txMachine *the);
/* Deepest use of the machine's stack since it was made, in slots. */
uint32_t wattlock_stack_peak(wattlock_memory *memory);
/* Bytes of this thread's stack that the engine may use from here on. */
void wattlock_set_c_stack(size_t byteLength);
/* Ends the machine of this meter from inside a host function; does not return. */
XS_FUNCTION_NORETURN void wattlock_end(txMachine *the, int reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Runs queued promise jobs. */
void wattlock_run_jobs(txMachine *the);
/* What a thrown value says, for people. */
void wattlock_describe_exception(txMachine *the, char *text, size_t byteLength);
/* Why the machine that ends on this thread does so; reported before another one runs. */
extern _Thread_local char wattlock_end_text[512];

/* ---- flash.c ---- */

void wattlock_flash_read(const wattlock_flash *flash, size_t address, uint8_t *into, size_t byteLength);
void wattlock_flash_program(wattlock_flash *flash, size_t address, const uint8_t *from, size_t byteLength);
void wattlock_flash_erase(wattlock_flash *flash, size_t address, size_t byteLength);
void wattlock_flash_close(wattlock_flash *flash);

/* ---- root.c ---- */

/* Runs the module `main` of the archive and shares the result. Ends the process when the firmware does not load. */
void wattlock_root_open(wattlock_root *root, const wattlock_archive *archive);
/* The same for a firmware that must not end the process; one at a time. @returns false, and why, when it does not load */
bool wattlock_root_try(wattlock_root *root, const wattlock_archive *archive, char *wrong, size_t wrongLength);
/* Puts the host functions on an object on the stack; called for the root machine only. */
void wattlock_define_host_functions(txMachine *the);

/* ---- board.c ---- */

void wattlock_meter_open(wattlock_meter *meter, const wattlock_root *root, uint32_t index, void *owner);
/* Takes one frame of this meter and runs it to its end. */
void wattlock_meter_frame(wattlock_meter *meter, uint8_t kind, const uint8_t *payload, size_t byteLength);

#endif
