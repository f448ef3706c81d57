/*
 * The headless host on the PC: its own main() in place of the SDK's simulator. It makes a machine of the image's
 * `creation`, imports the main module and calls its default export. That returns the exit code of the process, or a
 * negative number when the power went off: then the next machine is made. Frames of the board channel go through
 * standard input and output; trace() of an application that does not speak the channel goes to standard output too.
 */

#include "xsmc.h"
#include "mc.xs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

static uint8_t *gPayload;
static uint32_t gPayloadLength;
static int gReady;
static int gChannel = STDOUT_FILENO;
static xsMachine *gMachine;

_Noreturn void host_fail(const char *text)
{
	fprintf(stderr, "wattlock: %s\n", text);
	exit(2);
}

static void write_all(const void *bytes, size_t byteLength)
{
	const uint8_t *from = bytes;
	while (byteLength > 0) {
		ssize_t count = write(gChannel, from, byteLength);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			exit(0); /* the board has gone: nobody is left to tell */
		from += count;
		byteLength -= (size_t)count;
	}
}

/* @returns 1, or 0 when the stream ended before the first byte */
static int read_all(void *bytes, size_t byteLength)
{
	uint8_t *into = bytes;
	size_t have = 0;
	while (have < byteLength) {
		ssize_t count = read(STDIN_FILENO, into + have, byteLength - have);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			if (have == 0)
				return 0;
			host_fail("board channel: the stream ended inside a frame");
		}
		have += (size_t)count;
	}
	return 1;
}

static void put_uint32(uint8_t *into, uint32_t value)
{
	into[0] = (uint8_t)value;
	into[1] = (uint8_t)(value >> 8);
	into[2] = (uint8_t)(value >> 16);
	into[3] = (uint8_t)(value >> 24);
}

static uint32_t get_uint32(const uint8_t *from)
{
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

void host_send(uint8_t kind, const void *head, size_t headLength, const void *body, size_t bodyLength)
{
	uint8_t header[FRAME_HEADER_BYTES + 64] = { 0 };
	if (headLength > 64)
		host_fail("board channel: head too long");
	put_uint32(header, (uint32_t)(headLength + bodyLength));
	put_uint32(header + 4, kind == FRAME_READY ? EVERY_METER : 0);
	header[8] = kind;
	memcpy(header + FRAME_HEADER_BYTES, head, headLength);
	write_all(header, FRAME_HEADER_BYTES + headLength);
	if (bodyLength > 0)
		write_all(body, bodyLength);
}

_Noreturn void host_leave(void *machine)
{
	xsMachine *the = machine;
	the->exitStatus = xsDebuggerExit; /* any code but "normal", which would count as an unhandled exception */
	engine_exit(machine);
}

/* ---- host functions: frames ---- */

/* Says once that the host is there. */
void simulator_ready(xsMachine *the)
{
	static const char description[] = "Moddable SDK, x-cli-lin";
	uint8_t head[8];
	if (gReady)
		return;
	gReady = 1;
	/* The engine reports full memory by printf(): that must not land between frames. */
	gChannel = dup(STDOUT_FILENO);
	if (gChannel < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		host_fail("no file descriptor for the board channel");
	put_uint32(head, 2);
	put_uint32(head + 4, 1);
	host_send(FRAME_READY, head, sizeof head, description, sizeof description - 1);
}

/* Waits for the next frame. @returns its kind, 0 at the end of the stream */
void simulator_next_frame(xsMachine *the)
{
	uint8_t header[FRAME_HEADER_BYTES];
	if (!gPayload && !(gPayload = malloc(FRAME_PAYLOAD_MAX)))
		host_fail("no memory for a frame");
	if (!read_all(header, sizeof header)) {
		xsmcSetInteger(xsResult, 0);
		return;
	}
	gPayloadLength = get_uint32(header);
	if (gPayloadLength > FRAME_PAYLOAD_MAX)
		host_fail("board channel: frame longer than 1 048 576 bytes");
	if (get_uint32(header + 4) != 0 && get_uint32(header + 4) != EVERY_METER)
		host_fail("board channel: this host has meter 0 only");
	if (header[8] == 0 || header[9] || header[10] || header[11])
		host_fail("board channel: bad frame header");
	if (gPayloadLength > 0 && !read_all(gPayload, gPayloadLength))
		host_fail("board channel: the stream ended inside a frame");
	xsmcSetInteger(xsResult, header[8]);
}

const uint8_t *host_frame(uint32_t *byteLength)
{
	*byteLength = gPayloadLength;
	return gPayload;
}

/* @returns bytes of the frame's payload */
void simulator_frame_length(xsMachine *the)
{
	xsmcSetInteger(xsResult, (int)gPayloadLength);
}

/* (offset, into, byteLength): copies from the payload. */
void simulator_frame_copy(xsMachine *the)
{
	uint32_t offset = xsmcToUnsigned(xsArg(0));
	uint32_t byteLength = xsmcToUnsigned(xsArg(2));
	void *into;
	xsUnsignedValue room;
	xsmcGetBufferWritable(xsArg(1), &into, &room);
	if (byteLength > room || offset > gPayloadLength || byteLength > gPayloadLength - offset)
		xsRangeError("frame: outside the payload");
	memcpy(into, gPayload + offset, byteLength);
}

/* (offset): the rest of the payload as a string. */
void simulator_frame_text(xsMachine *the)
{
	uint32_t offset = xsmcToUnsigned(xsArg(0));
	if (offset > gPayloadLength)
		xsRangeError("frame: outside the payload");
	xsmcSetStringBuffer(xsResult, (char *)gPayload + offset, (xsIntegerValue)(gPayloadLength - offset));
}

/* (kind, bytes, byteLength): sends a frame. */
void simulator_send(xsMachine *the)
{
	uint8_t kind = (uint8_t)xsmcToUnsigned(xsArg(0));
	uint32_t byteLength = xsmcToUnsigned(xsArg(2));
	void *bytes;
	xsUnsignedValue room;
	xsmcGetBufferReadable(xsArg(1), &bytes, &room);
	if (byteLength > room)
		xsRangeError("frame: outside the buffer");
	host_send(kind, NULL, 0, bytes, byteLength);
}

/* (kind, text): sends a frame with a string. */
void simulator_send_text(xsMachine *the)
{
	uint8_t kind = (uint8_t)xsmcToUnsigned(xsArg(0));
	const char *text = xsmcToString(xsArg(1));
	host_send(kind, NULL, 0, text, strlen(text));
}

/* (text): the board broke the protocol. */
void simulator_fail(xsMachine *the)
{
	host_fail(xsmcToString(xsArg(0)));
}

static void send_aborted(uint32_t reason, const char *text)
{
	uint8_t head[4];
	put_uint32(head, reason);
	host_send(FRAME_ABORTED, head, sizeof head, text, strlen(text));
}

/* (reason, text): the machine ends here and says so; does not return. */
void simulator_abort(xsMachine *the)
{
	send_aborted(xsmcToUnsigned(xsArg(0)), xsmcToString(xsArg(1)));
	host_leave(the);
}

/* Collects garbage and sends the memory statistics. */
void simulator_send_statistics(xsMachine *the)
{
	struct statistics statistics;
	uint8_t payload[32];
	const double notMetered = __builtin_nan("");
	xsCollectGarbage();
	engine_statistics(the, &statistics);
	put_uint32(payload, statistics.slotsLive);
	put_uint32(payload + 4, statistics.slotsPeak);
	put_uint32(payload + 8, statistics.slotBytes);
	put_uint32(payload + 12, statistics.chunkBytesLive);
	put_uint32(payload + 16, statistics.chunkBytesPeak);
	put_uint32(payload + 20, statistics.stackPeakSlots);
	memcpy(payload + 24, &notMetered, 8);
	host_send(FRAME_STATISTICS, payload, sizeof payload, NULL, 0);
}

/* One line with the same figures, for an application that does not speak the channel. */
void simulator_trace_statistics(xsMachine *the)
{
	struct statistics statistics;
	xsCollectGarbage();
	engine_statistics(the, &statistics);
	printf("memory after collection: %u slots, %u bytes of chunks; highest: %u slots, %u bytes, stack %u slots\n",
		statistics.slotsLive, statistics.chunkBytesLive, statistics.slotsPeak, statistics.chunkBytesPeak,
		statistics.stackPeakSlots);
}

/* ---- the engine's ways out ---- */

const void *mcGetResource(xsMachine *the, const char *path, size_t *size)
{
	if (size)
		*size = 0;
	return NULL;
}

void fxAbort(xsMachine *the, int status)
{
	const char *why = fxAbortString(status);
	if (the != gMachine || !gReady) {
		fprintf(stderr, "wattlock: %s\n", why);
		exit(1);
	}
	switch (status) {
	case xsNotEnoughMemoryExit:
	case xsNoMoreKeysExit:
		send_aborted(ABORT_OUT_OF_MEMORY, why);
		break;
	case xsJavaScriptStackOverflowExit:
	case xsNativeStackOverflowExit:
		send_aborted(ABORT_STACK, why);
		break;
	default:
		send_aborted(ABORT_EXCEPTION, why);
		break;
	}
	host_leave(the);
}

static int run_machine(void)
{
	int result = -1;
	gMachine = xsPrepareMachine(NULL, xsPreparation(), "meter", NULL, NULL);
	if (!gMachine)
		host_fail("no memory for the machine");
	xsBeginHostExit(gMachine);
	{
		xsmcVars(1);
		xsTry
		{
			xsVar(0) = xsAwaitImport(engine_main_module(xsPreparation()), XS_IMPORT_DEFAULT);
			xsVar(0) = xsCallFunction0(xsVar(0), xsGlobal);
			result = xsmcToInteger(xsVar(0));
		}
		xsCatch
		{
			const char *text = xsmcToString(xsException);
			if (gReady)
				send_aborted(ABORT_EXCEPTION, text);
			else {
				fprintf(stderr, "wattlock: %s\n", text);
				exit(1);
			}
		}
	}
	xsEndHostExit(gMachine);
	xsDeleteMachine(gMachine);
	gMachine = NULL;
	return result;
}

int main(void)
{
	int result;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((result = run_machine()) < 0)
		board_off();
	return result;
}
