/*
 * Runs a module on XS as a meter runs it, without a board: the root machine loads the archive and becomes read-only, a
 * clone with the memory of an ESP32-C6 (or more) calls `wattlockStart(line)` for each line of standard input and prints
 * metering ticks, a tab and the answer. `runner ARCHIVE CHUNK-BYTES SLOTS [often]`; with `often` it collects at every
 * chance. What is linked: the engine, memory.c, archive.c and root.c of hosts/xs, and the cryptography; `wattlockHost`
 * has nothing else.
 */

#define _GNU_SOURCE

#include "host.h"

#include "install.h"

#include <sys/mman.h>

#define LINE_BYTES (16 * 1024 * 1024)
#define C_STACK_BYTES (1024 * 1024)

static wattlock_root root;
static wattlock_meter meter;

void wattlock_fail(int exitCode, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fprintf(stderr, "runner: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	_exit(exitCode);
}

void *wattlock_reserve(size_t byteLength)
{
	void *address = mmap(NULL, byteLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (address == MAP_FAILED)
		wattlock_fail(1, "no address space");
	return address;
}

void wattlock_release(void *address, size_t byteLength)
{
	munmap(address, byteLength);
}

void wattlock_zero(void *address, size_t byteLength)
{
	memset(address, 0, byteLength);
}

void wattlock_protect(void *address, size_t byteLength)
{
	if (mprotect(address, byteLength, PROT_READ) != 0)
		wattlock_fail(1, "the root cannot be protected");
}

void wattlock_define_host_functions(txMachine *the)
{
	wattlock_crypto_install(the);
}

static txBoolean never_stop(txMachine *the, txU4 ticks)
{
	(void)the;
	(void)ticks;
	return 1;
}

static void run_line(txMachine *the, const char *line)
{
	txJump end = { .nextJump = NULL };
	fxBeginMetering(the, never_stop, 0x7FFFFFFF);
	the->firstJump = &end;
	if (c_setjmp(end.buffer) == 0) {
		fxBeginHost(the);
		{
			mxTry(the)
			{
				mxPush(mxGlobal);
				fxCallID(the, root.startID);
				mxPushStringC((txString)line);
				fxRunCount(the, 1);
				wattlock_run_jobs(the);
				printf("%.0f\t%s\n", (double)the->meterIndex, fxToString(the, the->stack));
				mxPop();
			}
			mxCatch(the)
			{
				char text[512];
				wattlock_describe_exception(the, text, sizeof text);
				printf("0\texception: %s\n", text);
			}
		}
		fxEndHost(the);
	}
	the->firstJump = NULL;
	if (meter.endReason != WATTLOCK_RUNNING)
		wattlock_fail(3, "%s", wattlock_end_text);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static wattlock_archive archive;
	if (argc != 4 && argc != 5)
		wattlock_fail(2, "usage: runner ARCHIVE CHUNK-BYTES SLOTS [often]");
	wattlock_collect_often = argc == 5;
	FILE *file = fopen(argv[1], "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0)
		wattlock_fail(2, "the archive does not open");
	long length = ftell(file);
	rewind(file);
	uint8_t *bytes = malloc((size_t)length);
	char *line = malloc(LINE_BYTES);
	if (!bytes || !line || fread(bytes, 1, (size_t)length, file) != (size_t)length)
		wattlock_fail(2, "the archive does not read");
	fclose(file);
	const char *complaint = wattlock_archive_open(&archive, bytes, (size_t)length);
	if (complaint)
		wattlock_fail(2, "%s", complaint);
	wattlock_set_c_stack(C_STACK_BYTES);
	fxInitializeSharedCluster();
	wattlock_root_open(&root, &archive);
	size_t chunkBytes = strtoul(argv[2], NULL, 10), slots = strtoul(argv[3], NULL, 10);
	txCreation creation = {
		.initialChunkSize = WATTLOCK_CHUNK_BYTES_INITIAL,
		.incrementalChunkSize = 1024,
		.initialHeapCount = WATTLOCK_SLOTS_INITIAL,
		.incrementalHeapCount = 64,
		.stackCount = WATTLOCK_STACK_SLOTS,
		.initialKeyCount = 32,
		.incrementalKeyCount = 32,
		.nameModulo = (txSize)root.machine->nameModulo,
		.symbolModulo = (txSize)root.machine->symbolModulo,
	};
	wattlock_memory_open(&meter.memory, slots, chunkBytes, WATTLOCK_STACK_SLOTS);
	meter.memory.meter = &meter;
	txMachine *the = fxCloneMachine(&creation, root.machine, "meter", &meter.memory);
	if (!the)
		wattlock_fail(3, "memory full: the machine could not be made");
	the->collectFlag = XS_SKIPPED_COLLECT_FLAG;
	meter.memory.collecting = true;
	meter.machine = the;
	while (fgets(line, LINE_BYTES, stdin)) {
		line[strcspn(line, "\n")] = 0;
		run_line(the, line);
	}
	wattlock_collect(the);
	fprintf(stderr, "live slots %u, chunk bytes %u; heap slots %zu, chunk bytes %zu; stack peak %u slots; root aliases %u\n",
		(unsigned)the->currentHeapCount, (unsigned)the->currentChunksSize, meter.memory.slotsUsed,
		meter.memory.chunksUsed, (unsigned)wattlock_stack_peak(&meter.memory), (unsigned)root.aliasCount);
	return 0;
}
