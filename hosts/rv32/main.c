/*
 * The host of the emulated RV32 board: one meter, from reset to the end of its power. What host.h asks for is here; what the
 * meter does is in hosts/xs, the same as on Linux.
 */

#include "rom.h"

#include "machine.h"
#include "port.h"

extern uint8_t __stack_start[], __stack_top[], __ram_start[], __heap_start[], __arena_start[], __arena_end[];

/* What the engine may use of the C stack; the rest is for what it does not check. */
#define STACK_MARGIN_BYTES 6144

/* ---- memory ---- */

/* Machine (slots and chunks) and its stack: taken once a power-on, given back at its end. */
static uint8_t slotsAndChunks[WATTLOCK_SLOTS_MAX * sizeof(txSlot)
	+ (WATTLOCK_CHUNK_BYTES_MAX + sizeof(txBlock) + WATTLOCK_PAGE_BYTES - 1) / WATTLOCK_PAGE_BYTES * WATTLOCK_PAGE_BYTES]
	__attribute__((section(".arena"), aligned(16)));
static uint8_t stackSlots[WATTLOCK_STACK_SLOTS * sizeof(txSlot)] __attribute__((section(".arena"), aligned(16)));
static bool areSlotsTaken, isStackTaken;

void wattlock_fail(int exitCode, const char *format, ...)
{
	char text[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	machine_print("rv32: ");
	machine_print(text);
	machine_print("\n");
	machine_exit(exitCode);
}

void *wattlock_reserve(size_t byteLength)
{
	void *made = rom_reserve(byteLength);
	if (made)
		return made;
	if (byteLength == sizeof stackSlots && !isStackTaken) {
		isStackTaken = true;
		memset(stackSlots, 0, sizeof stackSlots);
		return stackSlots;
	}
	if (byteLength > sizeof slotsAndChunks || areSlotsTaken)
		wattlock_fail(1, "no memory for a machine of %zu bytes", byteLength);
	areSlotsTaken = true;
	memset(slotsAndChunks, 0, sizeof slotsAndChunks);
	return slotsAndChunks;
}

void wattlock_release(void *address, size_t byteLength)
{
	(void)byteLength;
	if (address == slotsAndChunks)
		areSlotsTaken = false;
}

void wattlock_zero(void *address, size_t byteLength)
{
	memset(address, 0, byteLength);
}

void wattlock_protect(void *address, size_t byteLength)
{
	/* What is protected here lies in flash when it is used. */
	(void)address;
	(void)byteLength;
}

/* ---- waveform rows, in the board's memory ---- */

struct wattlock_rows {
	uint32_t areaBytes; /* with this header */
	uint32_t byteLength; /* of the rows; FREE: nobody has it */
	uint8_t bytes[];
};

#define FREE 0xFFFFFFFFu
#define FRAME_BYTES (WATTLOCK_FRAME_HEADER_BYTES + WATTLOCK_PAYLOAD_BYTES_MAX)

static uint8_t *const portBytes = (uint8_t *)MACHINE_BOARD_WINDOW + 4096;
static uint8_t *const frame = (uint8_t *)MACHINE_BOARD_WINDOW + 4096 + PORT_BYTES;
static uint8_t *const rowsStart = (uint8_t *)MACHINE_BOARD_WINDOW + 0x00200000;
static uint8_t *const rowsEnd = (uint8_t *)MACHINE_BOARD_WINDOW + MACHINE_BOARD_WINDOW_BYTES;

_Static_assert(4096 + PORT_BYTES + FRAME_BYTES <= 0x00200000, "buffers of the channel lie before the rows");

static wattlock_rows *after(wattlock_rows *rows)
{
	return (wattlock_rows *)((uint8_t *)rows + rows->areaBytes);
}

wattlock_rows *wattlock_rows_take(const uint8_t *bytes, size_t byteLength)
{
	uint32_t wanted = (uint32_t)(sizeof(wattlock_rows) + byteLength + 7) / 8 * 8;
	for (wattlock_rows *rows = (wattlock_rows *)rowsStart; (uint8_t *)rows < rowsEnd; rows = after(rows)) {
		if (rows->byteLength != FREE)
			continue;
		while ((uint8_t *)after(rows) < rowsEnd && after(rows)->byteLength == FREE)
			rows->areaBytes += after(rows)->areaBytes;
		if (rows->areaBytes < wanted)
			continue;
		if (rows->areaBytes >= wanted + sizeof(wattlock_rows)) {
			uint32_t rest = rows->areaBytes - wanted;
			rows->areaBytes = wanted;
			*after(rows) = (wattlock_rows){ .areaBytes = rest, .byteLength = FREE };
		}
		rows->byteLength = (uint32_t)byteLength;
		memcpy(rows->bytes, bytes, byteLength);
		return rows;
	}
	wattlock_fail(1, "more samples than the board has memory for");
}

void wattlock_rows_drop(wattlock_rows *rows)
{
	rows->byteLength = FREE;
}

const uint8_t *wattlock_rows_bytes(const wattlock_rows *rows)
{
	return rows->bytes;
}

size_t wattlock_rows_length(const wattlock_rows *rows)
{
	return rows->byteLength;
}

/* ---- frames ---- */

void send_frame(uint32_t meter, uint8_t kind, const void *head, size_t headLength, const void *body, size_t bodyLength)
{
	uint8_t header[WATTLOCK_FRAME_HEADER_BYTES] = { 0 };
	uint32_t length = (uint32_t)(headLength + bodyLength);
	memcpy(header, &length, 4);
	memcpy(header + 4, &meter, 4);
	header[8] = kind;
	port_send(header, sizeof header);
	port_send(head, headLength);
	port_send(body, bodyLength);
}

/* Before each answer: what this host can count. Kind 202, to the harness and not to the board. */
#define COUNTERS 202

static void send_counters(void)
{
	struct {
		double instructions;
		uint32_t stackPeak, heapPeak;
	} counters = { (double)machine_instructions(), machine_stack_peak(), machine_heap_peak() };
	send_frame(0, COUNTERS, &counters, sizeof counters, NULL, 0);
}

void wattlock_send(wattlock_meter *meter, uint8_t kind, const void *head, size_t headLength, const void *body,
	size_t bodyLength)
{
	bool isAnswer = kind == WATTLOCK_DONE || kind == WATTLOCK_ABORTED || kind == WATTLOCK_POWERED_OFF;
	if (isAnswer && (machine_strap->flags & MACHINE_COUNTERS) != 0)
		send_counters();
	send_frame(meter->index, kind, head, headLength, body, bodyLength);
}

static void receive(uint8_t *into, size_t byteLength)
{
	static const uint8_t *bytes;
	static size_t left;
	while (byteLength > 0) {
		if (left == 0) {
			port_flush();
			left = port_receive(&bytes);
		}
		size_t length = left < byteLength ? left : byteLength;
		memcpy(into, bytes, length);
		bytes += length;
		left -= length;
		into += length;
		byteLength -= length;
	}
}

static void say_ready(const wattlock_root *root)
{
	char text[200];
	uint32_t words[2] = { WATTLOCK_PROTOCOL_VERSION, 1 };
	int length = snprintf(text, sizeof text,
		"XS %d.%d.%d on emulated RV32IMAC; in flash: %lu slots, %lu B of chunks, %zu B of bytecode; %lu aliases",
		XS_MAJOR_VERSION, XS_MINOR_VERSION, XS_PATCH_VERSION, (unsigned long)root->slotCount,
		(unsigned long)root->chunkBytes, root->archive.byteLength, (unsigned long)root->aliasCount);
	send_frame(WATTLOCK_EVERY_METER, WATTLOCK_READY, words, sizeof words, text, (size_t)length);
}

XS_FUNCTION_NORETURN static void serve(const wattlock_root *root)
{
	static wattlock_meter meter;
	wattlock_meter_open(&meter, root, 0, NULL);
	say_ready(root);
	while (true) {
		uint32_t length, index;
		receive(frame, WATTLOCK_FRAME_HEADER_BYTES);
		memcpy(&length, frame, 4);
		memcpy(&index, frame + 4, 4);
		if (length > WATTLOCK_PAYLOAD_BYTES_MAX)
			wattlock_fail(2, "protocol: frame of %lu bytes", (unsigned long)length);
		if (frame[9] != 0 || frame[10] != 0 || frame[11] != 0)
			wattlock_fail(2, "protocol: reserved bytes are not zero");
		receive(frame + WATTLOCK_FRAME_HEADER_BYTES, length);
		if (frame[8] == WATTLOCK_SHUTDOWN) {
			if (length != 0 || index != WATTLOCK_EVERY_METER)
				wattlock_fail(2, "protocol: a shutdown that is none");
			machine_exit(MACHINE_EXIT_BOARD);
		}
		if (index != 0)
			wattlock_fail(2, "protocol: meter %lu on a board with one", (unsigned long)index);
		machine_begin_work();
		wattlock_meter_frame(&meter, frame[8], frame + WATTLOCK_FRAME_HEADER_BYTES, length);
		machine_end_work();
	}
}

int main(void)
{
	const char *why;
	const wattlock_root *root = NULL;
	bool makes = machine_strap->mode == MACHINE_MAKE_ROM;
	machine_begin_work();
	if (!makes)
		machine_lock();
	*(wattlock_rows *)rowsStart = (wattlock_rows){ .areaBytes = (uint32_t)(rowsEnd - rowsStart), .byteLength = FREE };
	wattlock_set_c_stack((size_t)((uint8_t *)__builtin_frame_address(0) - __stack_start) - STACK_MARGIN_BYTES);
	wattlock_collect_often = (machine_strap->flags & MACHINE_COLLECT_OFTEN) != 0;
	/* With mxMultipleThreads no machine makes the one cluster. */
	fxInitializeSharedCluster();
	if (!makes) {
		root = rom_find(&why);
		if (!root)
			wattlock_fail(1, "%s", why);
	}
	machine_end_work();
	port_open(portBytes);
	if (makes)
		rom_make();
	if (machine_strap->strayStore != 0)
		*(volatile uint32_t *)machine_strap->strayStore = 0;
	serve(root);
}
