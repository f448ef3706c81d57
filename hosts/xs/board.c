/*
 * The virtual board as one meter's firmware sees it: frames in, events to the firmware, host functions out. Time is the
 * board's; within an `advance` blocks of samples and the firmware's deadline are delivered in the order of their times,
 * samples first when they are equal, so that a tick on an interval boundary has all of the interval's samples.
 */

#include "host.h"

#include "install.h"

#if WATTLOCK_KERNEL
#include "sample-kernel.h"
#endif

/* xsmc.c has no header of its own for the engine's side. */
extern txInteger _xsmcGetBuffer(txMachine *the, txSlot *slot, void **data, txUnsigned *count, txBoolean writable);

enum { LINK_CLOSED, LINK_OPENING, LINK_OPEN, LINK_CLOSING };
enum { EVENT_OPENED, EVENT_CLOSED, EVENT_WRITABLE };

/* Results of src/bytes/status.ts that this file gives. */
enum { STATUS_OK = 0, STATUS_BAD_LENGTH = 1, STATUS_BAD_VALUE = 7 };

/* Ticks of the runaway guard: 50 M are about 20 s of an ESP32-C6, more than any watchdog waits. */
#define RUNAWAY_TICKS 50000000
/* What a burst of work took is given back this often, in board time. */
#define COLLECT_MILLISECONDS 10000
/* Ticks of the firmware at one and the same time, before it counts as a runaway. */
#define EQUAL_TIMES_MAX 10000

static wattlock_meter *meter_of(txMachine *the)
{
	return ((wattlock_memory *)the->context)->meter;
}

/* A host function called while the module bodies run, which is before any meter exists. */
static wattlock_meter *running_meter(txMachine *the)
{
	wattlock_meter *meter = meter_of(the);
	if (!meter)
		mxTypeError("the host gives nothing while modules are loaded");
	return meter;
}

static uint32_t read32(const uint8_t *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, 4);
	return value;
}

static double read_double(const uint8_t *bytes)
{
	double value;
	memcpy(&value, bytes, 8);
	return value;
}

/* ---- bytes between the firmware and the host ---- */

static uint8_t *bytes_of(txMachine *the, txSlot *slot, uint32_t *byteLength, bool writable)
{
	void *data = NULL;
	txUnsigned count = 0;
	_xsmcGetBuffer(the, slot, &data, &count, writable);
	*byteLength = count;
	return data;
}

/* Argument `index` as bytes, and argument `index` + 1 as how many of them. */
static uint8_t *counted_bytes(txMachine *the, int index, uint32_t *byteLength, bool writable)
{
	if (mxArgc < index + 2)
		mxTypeError("bytes and their length are wanted");
	txInteger count = fxToInteger(the, mxArgv(index + 1));
	uint8_t *bytes = bytes_of(the, mxArgv(index), byteLength, writable);
	if (count < 0 || (uint32_t)count > *byteLength)
		mxRangeError("length beyond the array");
	*byteLength = (uint32_t)count;
	return bytes;
}

static double number_argument(txMachine *the, int index)
{
	return mxArgc > index ? fxToNumber(the, mxArgv(index)) : C_NAN;
}

static void integer_result(txMachine *the, txInteger value)
{
	mxResult->value.integer = value;
	mxResult->kind = XS_INTEGER_KIND;
}

static void number_result(txMachine *the, double value)
{
	mxResult->value.number = value;
	mxResult->kind = XS_NUMBER_KIND;
}

static void boolean_result(txMachine *the, bool value)
{
	mxResult->value.boolean = value;
	mxResult->kind = XS_BOOLEAN_KIND;
}

/* ---- clock and entropy ---- */

static void host_monotonic(txMachine *the)
{
	number_result(the, running_meter(the)->firmwareMilliseconds);
}

static void host_utc(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	number_result(the, meter->utcSecondsAtPowerOn + meter->firmwareMilliseconds / 1000);
}

static void host_set_utc(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	double times[2] = { number_argument(the, 0), meter->nowMilliseconds };
	meter->utcSecondsAtPowerOn = times[0] - meter->firmwareMilliseconds / 1000;
	wattlock_send(meter, WATTLOCK_CLOCK_SET, times, sizeof times, NULL, 0);
}

static uint32_t rotate(uint32_t value, int bits)
{
	return value << bits | value >> (32 - bits);
}

/* One block of the ChaCha20 key stream (RFC 8439 section 2.3): the seed is the key, the nonce is zero. */
static void random_block(wattlock_meter *meter)
{
	static const uint8_t quarters[8][4] = {
		{ 0, 4, 8, 12 }, { 1, 5, 9, 13 }, { 2, 6, 10, 14 }, { 3, 7, 11, 15 },
		{ 0, 5, 10, 15 }, { 1, 6, 11, 12 }, { 2, 7, 8, 13 }, { 3, 4, 9, 14 },
	};
	uint32_t start[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }, words[16];
	memcpy(start + 4, meter->seed, 32);
	start[12] = meter->randomCounter++;
	memcpy(words, start, sizeof words);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 8; i++) {
			uint32_t *a = words + quarters[i][0], *b = words + quarters[i][1];
			uint32_t *c = words + quarters[i][2], *d = words + quarters[i][3];
			*a += *b, *d = rotate(*d ^ *a, 16);
			*c += *d, *b = rotate(*b ^ *c, 12);
			*a += *b, *d = rotate(*d ^ *a, 8);
			*c += *d, *b = rotate(*b ^ *c, 7);
		}
	}
	for (int i = 0; i < 16; i++)
		words[i] += start[i];
	memcpy(meter->random, words, sizeof words);
	meter->randomUsed = 0;
}

static void host_entropy(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	uint32_t byteLength = 0;
	if (mxArgc < 1)
		mxTypeError("bytes are wanted");
	uint8_t *into = bytes_of(the, mxArgv(0), &byteLength, true);
	for (uint32_t i = 0; i < byteLength; i++) {
		if (meter->randomUsed == sizeof meter->random)
			random_block(meter);
		into[i] = meter->random[meter->randomUsed++];
	}
}

/* deviceKey(into, offset): 32 bytes, the same at each start of this device */
static void host_device_key(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	uint32_t byteLength = 0;
	if (mxArgc < 2)
		mxTypeError("bytes and an offset are wanted");
	txInteger offset = fxToInteger(the, mxArgv(1));
	uint8_t *into = bytes_of(the, mxArgv(0), &byteLength, true);
	if (offset < 0 || (uint32_t)offset > byteLength || byteLength - (uint32_t)offset < sizeof meter->deviceKey)
		mxRangeError("no room for the device key");
	memcpy(into + offset, meter->deviceKey, sizeof meter->deviceKey);
}

/* ---- flash ---- */

/* Counts an operation. @returns whether the power fails inside it */
static bool cut_inside(wattlock_meter *meter)
{
	meter->flashOperations++;
	return meter->cutAtOperation != 0 && meter->flashOperations == meter->cutAtOperation;
}

static void program(wattlock_meter *meter, uint32_t address, const uint8_t *from, uint32_t byteLength)
{
	wattlock_flash_program(&meter->flash, address, from, byteLength);
	wattlock_send(meter, WATTLOCK_FLASH_PROGRAM, &address, 4, from, byteLength);
}

static bool flash_holds(const wattlock_meter *meter, double address, uint32_t byteLength)
{
	return address >= 0 && address == c_floor(address)
		&& address + byteLength <= (double)meter->sectorBytes * meter->sectorCount;
}

static void host_flash_read(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	double address = number_argument(the, 0);
	uint32_t byteLength;
	uint8_t *into = counted_bytes(the, 1, &byteLength, true);
	if (!flash_holds(meter, address, byteLength)) {
		integer_result(the, STATUS_BAD_VALUE);
		return;
	}
	wattlock_flash_read(&meter->flash, (size_t)address, into, byteLength);
	integer_result(the, STATUS_OK);
}

static void host_flash_program(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	double address = number_argument(the, 0);
	uint32_t byteLength;
	uint8_t *from = counted_bytes(the, 1, &byteLength, false);
	if (!flash_holds(meter, address, byteLength)) {
		integer_result(the, STATUS_BAD_VALUE);
		return;
	}
	if (cut_inside(meter)) {
		uint32_t whole = meter->cutTornBytes < byteLength ? meter->cutTornBytes : byteLength;
		if (whole > 0)
			program(meter, (uint32_t)address, from, whole);
		if (whole < byteLength) {
			uint8_t half = from[whole] | 0xAA;
			program(meter, (uint32_t)address + whole, &half, 1);
		}
		wattlock_end(the, WATTLOCK_POWER_LOST, "power lost in a program");
	}
	program(meter, (uint32_t)address, from, byteLength);
	integer_result(the, STATUS_OK);
}

static void host_flash_erase(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	double number = number_argument(the, 0);
	if (!(number >= 0 && number < meter->sectorCount && number == c_floor(number))) {
		integer_result(the, STATUS_BAD_VALUE);
		return;
	}
	uint32_t sectorIndex = (uint32_t)number;
	size_t start = (size_t)sectorIndex * meter->sectorBytes;
	bool cut = cut_inside(meter);
	wattlock_send(meter, WATTLOCK_FLASH_ERASE, &sectorIndex, 4, NULL, 0);
	if (cut) {
		/* The board takes an erase as a whole; what was not reached is programmed back, so both sides agree. */
		uint32_t done = meter->cutTornBytes < meter->sectorBytes ? meter->cutTornBytes : meter->sectorBytes;
		for (uint32_t at = done; at < meter->sectorBytes;) {
			uint8_t piece[256];
			uint32_t length = meter->sectorBytes - at < sizeof piece ? meter->sectorBytes - at : sizeof piece;
			uint32_t address = (uint32_t)start + at;
			wattlock_flash_read(&meter->flash, address, piece, length);
			wattlock_send(meter, WATTLOCK_FLASH_PROGRAM, &address, 4, piece, length);
			at += length;
		}
		wattlock_end(the, WATTLOCK_POWER_LOST, "power lost in an erase");
	}
	wattlock_flash_erase(&meter->flash, start, meter->sectorBytes);
	integer_result(the, STATUS_OK);
}

static void host_sector_bytes(txMachine *the)
{
	integer_result(the, (txInteger)running_meter(the)->sectorBytes);
}

static void host_sector_count(txMachine *the)
{
	integer_result(the, (txInteger)running_meter(the)->sectorCount);
}

/* ---- which firmware starts ---- */

static uint8_t *image_bytes(wattlock_meter *meter, uint32_t address, uint32_t byteLength)
{
	uint8_t *bytes = malloc(byteLength);
	if (!bytes)
		wattlock_fail(1, "out of memory for a firmware");
	wattlock_flash_read(&meter->flash, address, bytes, byteLength);
	return bytes;
}

/* Arguments `index` and `index` + 1 as a range of flash that may hold a firmware. */
static bool image_range(txMachine *the, wattlock_meter *meter, int index, uint32_t *address, uint32_t *byteLength)
{
	double from = number_argument(the, index), count = number_argument(the, index + 1);
	if (!(count >= 1 && count <= 0x1000000 && count == c_floor(count)) || !flash_holds(meter, from, (uint32_t)count))
		return false;
	*address = (uint32_t)from;
	*byteLength = (uint32_t)count;
	return true;
}

/* isFirmware(address, byteLength): whether flash holds an archive of this engine there */
static void host_is_firmware(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	uint32_t address, byteLength;
	bool result = false;
	if (image_range(the, meter, 0, &address, &byteLength)) {
		wattlock_archive archive;
		uint8_t *bytes = image_bytes(meter, address, byteLength);
		result = wattlock_archive_open(&archive, bytes, byteLength) == NULL;
		free(bytes);
	}
	boolean_result(the, result);
}

/* startImage(slot, address, byteLength): by wattlockBoot alone */
static void host_start_image(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	double slot = number_argument(the, 0);
	if (!meter->choosing || !(slot >= 1 && slot <= 255)
		|| !image_range(the, meter, 1, &meter->imageAddress, &meter->imageBytes))
		mxRangeError("no such firmware");
	meter->bootedSlot = (int32_t)slot;
}

static void host_booted_slot(txMachine *the)
{
	integer_result(the, running_meter(the)->bootedSlot);
}

/* ---- link, inputs, outputs, log ---- */

static void host_link_open(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	if (meter->linkState == LINK_OPENING || meter->linkState == LINK_OPEN)
		return;
	meter->linkState = LINK_OPENING;
	wattlock_send(meter, WATTLOCK_LINK_OPEN, NULL, 0, NULL, 0);
}

static void host_link_send(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	uint32_t byteLength;
	uint8_t *bytes = counted_bytes(the, 0, &byteLength, false);
	if (meter->linkState != LINK_OPEN)
		byteLength = 0;
	if (byteLength > 0)
		wattlock_send(meter, WATTLOCK_LINK_SEND, NULL, 0, bytes, byteLength);
	integer_result(the, (txInteger)byteLength);
}

static void host_link_close(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	if (meter->linkState == LINK_CLOSED || meter->linkState == LINK_CLOSING)
		return;
	/* `closed` follows only if it was open. */
	meter->linkState = meter->linkState == LINK_OPEN ? LINK_CLOSING : LINK_CLOSED;
	wattlock_send(meter, WATTLOCK_LINK_CLOSE, NULL, 0, NULL, 0);
}

static void host_optical_send(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	uint32_t byteLength;
	uint8_t *bytes = counted_bytes(the, 0, &byteLength, false);
	if (byteLength > 0)
		wattlock_send(meter, WATTLOCK_OPTICAL_SEND, NULL, 0, bytes, byteLength);
	integer_result(the, (txInteger)byteLength);
}

static void host_input(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	double which = number_argument(the, 0);
	integer_result(the, which >= 0 && which < WATTLOCK_INPUT_COUNT ? meter->inputs[(int)which] : 0);
}

static void host_set_output(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	if (mxArgc < 2)
		mxTypeError("an output and its value are wanted");
	int32_t words[2] = { fxToInteger(the, mxArgv(0)), fxToInteger(the, mxArgv(1)) };
	wattlock_send(meter, WATTLOCK_OUTPUT, words, sizeof words, NULL, 0);
}

static void host_restart(txMachine *the)
{
	running_meter(the);
	wattlock_end(the, WATTLOCK_RESTART, "restart asked by the firmware");
}

static void host_log(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	if (mxArgc < 1)
		return;
	txString text = fxToString(the, mxArgv(0));
	size_t length = strlen(text);
	wattlock_send(meter, WATTLOCK_LOG, NULL, 0, text, length < 4096 ? length : 4096);
}

/* ---- samples ---- */

static void host_boot_reason(txMachine *the)
{
	integer_result(the, (txInteger)running_meter(the)->bootReason);
}

static void host_type_script_kernel(txMachine *the)
{
	boolean_result(the, running_meter(the)->typeScriptKernel);
}

static void remember(txMachine *the, txSlot *rooted, const txSlot *from)
{
	rooted->kind = from->kind;
	rooted->value = from->value;
	fxRemember(the, rooted);
}

/* First row that has not arrived at `now`: row r arrives at power-on + (r + 1) / rate. */
static double next_row_at(const wattlock_meter *meter)
{
	double rows = (meter->nowMilliseconds - meter->powerOnMilliseconds) * meter->samplesPerSecond / 1000;
	return c_floor(rows + 1e-6);
}

/* layout(rowBytes, samplesPerSecond): @returns bytes of the block array that the firmware then gives to setSampleBlock */
static void host_layout(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	double rowBytes = number_argument(the, 0), rate = number_argument(the, 1);
	if (!(rowBytes >= 1 && rowBytes <= 64) || !(rate >= 1 && rate <= 100000))
		mxRangeError("no such sample layout");
	meter->rowBytes = (uint32_t)rowBytes;
	meter->samplesPerSecond = rate;
	meter->blockRows = (uint32_t)(rate * WATTLOCK_BLOCK_MILLISECONDS / 1000);
	if (meter->blockRows > WATTLOCK_BLOCK_BYTES_MAX / meter->rowBytes)
		meter->blockRows = WATTLOCK_BLOCK_BYTES_MAX / meter->rowBytes;
	if (meter->blockRows == 0)
		meter->blockRows = 1;
	meter->rowNumber = next_row_at(meter);
	integer_result(the, (txInteger)(meter->blockRows * meter->rowBytes));
}

static void host_set_sample_block(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	uint32_t byteLength = 0;
	if (mxArgc < 1)
		mxTypeError("an array is wanted");
	bytes_of(the, mxArgv(0), &byteLength, true);
	if (byteLength < meter->blockRows * meter->rowBytes)
		mxRangeError("sample block too short");
	remember(the, &meter->sampleBlock, mxArgv(0));
}

static void host_set_link_buffer(txMachine *the)
{
	wattlock_meter *meter = running_meter(the);
	uint32_t byteLength = 0;
	if (mxArgc < 1)
		mxTypeError("an array is wanted");
	bytes_of(the, mxArgv(0), &byteLength, true);
	if (byteLength < WATTLOCK_LINK_BUFFER_BYTES)
		mxRangeError("link buffer too short");
	remember(the, &meter->linkBuffer, mxArgv(0));
}

#if WATTLOCK_KERNEL
static void kernel_deleted(void *data)
{
	free(data);
}

static wattlock_kernel *kernel_argument(txMachine *the)
{
	wattlock_kernel *kernel = mxArgc > 0 ? fxGetHostData(the, mxArgv(0)) : NULL;
	if (!kernel)
		mxTypeError("the sample kernel is closed");
	return kernel;
}
#endif

/* kernelCreate(phaseCount, neutralCurrent, sampleBytes, samplesPerSecond): @returns a handle, undefined without one */
static void host_kernel_create(txMachine *the)
{
#if WATTLOCK_KERNEL
	double phaseCount = number_argument(the, 0), neutral = number_argument(the, 1);
	double sampleBytes = number_argument(the, 2), rate = number_argument(the, 3);
	wattlock_kernel *kernel = calloc(1, wattlock_kernel_bytes());
	if (!kernel)
		wattlock_fail(1, "out of memory for a sample kernel");
	if (wattlock_kernel_init(kernel, (uint32_t)phaseCount, (uint32_t)neutral, (uint32_t)sampleBytes, rate) != 0) {
		free(kernel);
		mxRangeError("no such sample layout");
	}
	fxNewHostObject(the, kernel_deleted);
	fxSetHostData(the, the->stack, kernel);
	mxPullSlot(mxResult);
#else
	(void)the;
#endif
}

static void host_kernel_configure(txMachine *the)
{
#if WATTLOCK_KERNEL
	wattlock_kernel *kernel = kernel_argument(the);
	uint32_t byteLength = 0;
	if (mxArgc < 2)
		mxTypeError("parameters are wanted");
	uint8_t *parameters = bytes_of(the, mxArgv(1), &byteLength, false);
	integer_result(the, wattlock_kernel_configure(kernel, parameters, byteLength));
#else
	(void)the;
#endif
}

/* kernelProcess(kernel, block, rowIndex, rowCount, sums): @returns rows taken */
static void host_kernel_process(txMachine *the)
{
#if WATTLOCK_KERNEL
	wattlock_meter *meter = running_meter(the);
	wattlock_kernel *kernel = kernel_argument(the);
	uint32_t blockLength = 0, sumsLength = 0;
	if (mxArgc < 5)
		mxTypeError("block, rows and sums are wanted");
	txInteger rowIndex = fxToInteger(the, mxArgv(2)), rowCount = fxToInteger(the, mxArgv(3));
	uint8_t *block = bytes_of(the, mxArgv(1), &blockLength, false);
	uint8_t *sums = bytes_of(the, mxArgv(4), &sumsLength, true);
	if (rowIndex < 0 || rowCount < rowIndex || (uint64_t)rowCount * meter->rowBytes > blockLength)
		mxRangeError("rows beyond the block");
	integer_result(the, (txInteger)wattlock_kernel_process(kernel, block, (uint32_t)rowIndex, (uint32_t)rowCount, sums,
		sumsLength));
#else
	(void)the;
#endif
}

static void host_kernel_window_closed(txMachine *the)
{
#if WATTLOCK_KERNEL
	boolean_result(the, wattlock_kernel_window_closed(kernel_argument(the)) != 0);
#else
	(void)the;
#endif
}

static void host_kernel_close(txMachine *the)
{
#if WATTLOCK_KERNEL
	free(kernel_argument(the));
	fxSetHostData(the, mxArgv(0), NULL);
#else
	(void)the;
#endif
}

static const struct {
	const char *name;
	txCallback callback;
	int argumentCount;
} functions[] = {
	{ "monotonic", host_monotonic, 0 },
	{ "utc", host_utc, 0 },
	{ "setUtc", host_set_utc, 1 },
	{ "entropy", host_entropy, 1 },
	{ "deviceKey", host_device_key, 2 },
	{ "flashRead", host_flash_read, 3 },
	{ "flashProgram", host_flash_program, 3 },
	{ "flashErase", host_flash_erase, 1 },
	{ "sectorBytes", host_sector_bytes, 0 },
	{ "sectorCount", host_sector_count, 0 },
	{ "linkOpen", host_link_open, 0 },
	{ "linkSend", host_link_send, 2 },
	{ "linkClose", host_link_close, 0 },
	{ "opticalSend", host_optical_send, 2 },
	{ "isFirmware", host_is_firmware, 2 },
	{ "startImage", host_start_image, 3 },
	{ "bootedSlot", host_booted_slot, 0 },
	{ "bootReason", host_boot_reason, 0 },
	{ "input", host_input, 1 },
	{ "setOutput", host_set_output, 2 },
	{ "restart", host_restart, 0 },
	{ "log", host_log, 1 },
	{ "typeScriptKernel", host_type_script_kernel, 0 },
	{ "layout", host_layout, 2 },
	{ "setSampleBlock", host_set_sample_block, 1 },
	{ "setLinkBuffer", host_set_link_buffer, 1 },
	{ "kernelCreate", host_kernel_create, 4 },
	{ "kernelConfigure", host_kernel_configure, 2 },
	{ "kernelProcess", host_kernel_process, 5 },
	{ "kernelWindowClosed", host_kernel_window_closed, 1 },
	{ "kernelClose", host_kernel_close, 1 },
};

void wattlock_define_host_functions(txMachine *the)
{
	/* The object is on the stack. Cryptography in C lies on it too: NativeCrypto of src/crypto. */
	wattlock_crypto_install(the);
	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		txSlot *object = the->stack;
		fxNewHostFunction(the, functions[i].callback, functions[i].argumentCount, XS_NO_ID, XS_NO_ID);
		mxPushSlot(object);
		fxDefineID(the, fxNewNameC(the, (txString)functions[i].name), XS_DONT_DELETE_FLAG | XS_DONT_SET_FLAG,
			XS_DONT_DELETE_FLAG | XS_DONT_SET_FLAG);
		mxPop();
	}
}

/* ---- running the firmware ---- */

static void drop_blocks(wattlock_meter *meter)
{
	while (meter->blocks) {
		wattlock_block *block = meter->blocks;
		meter->blocks = block->next;
		wattlock_rows_drop(block->rows);
		free(block);
	}
}

static void end_machine(wattlock_meter *meter)
{
	if (meter->machine) {
		wattlock_enter(&meter->memory);
		fxDeleteMachine(meter->machine);
	}
	meter->machine = NULL;
	wattlock_memory_close(&meter->memory);
}

/* The machine is gone, and with it all that lived on its supply. The content of flash is the board's. */
static void power_off(wattlock_meter *meter)
{
	end_machine(meter);
	wattlock_flash_close(&meter->flash);
	meter->flashLoaded = 0;
	drop_blocks(meter);
	meter->rowBytes = 0;
	meter->samplesPerSecond = 0;
	meter->linkState = LINK_CLOSED;
	meter->cutAtOperation = 0;
}

static void report_end(wattlock_meter *meter)
{
	uint32_t operations = meter->flashOperations;
	int reason = meter->endReason;
	power_off(meter);
	meter->hasEnded = true;
	meter->endReason = WATTLOCK_RUNNING;
	if (reason == WATTLOCK_POWER_LOST) {
		wattlock_send(meter, WATTLOCK_POWERED_OFF, &operations, 4, NULL, 0);
	} else {
		uint32_t word = (uint32_t)reason;
		wattlock_send(meter, WATTLOCK_ABORTED, &word, 4, wattlock_end_text, strlen(wattlock_end_text));
	}
}

static void send_done(wattlock_meter *meter)
{
	double words[3] = { meter->nowMilliseconds, meter->deadlineMilliseconds, meter->meteringTicks };
	wattlock_send(meter, WATTLOCK_DONE, words, sizeof words, NULL, 0);
}

static txBoolean within_budget(txMachine *the, txU4 ticks)
{
	(void)the;
	(void)ticks;
	return 0; /* called only when the budget of one event is used up */
}

typedef struct {
	txID handlerID;
	int argumentCount;
	int32_t arguments[2];
	const uint8_t *bytes; /* copied into `buffer`, which then is the first argument */
	uint32_t byteLength;
	txSlot *buffer;
	const char *settingsText; /* the first call of all: wattlockStart(settingsText) */
} wattlock_event;

static void call_handler(txMachine *the, wattlock_meter *meter, const wattlock_event *event)
{
	if (event->settingsText) {
		mxPush(mxGlobal);
		fxCallID(the, meter->root->startID);
		mxPushStringC((txString)event->settingsText);
		fxRunCount(the, 1);
		if (!mxIsReference(the->stack))
			mxTypeError("startMeter gives no meter");
		remember(the, &meter->handlers, the->stack);
		mxPop();
	} else {
		mxPushSlot(&meter->handlers);
		fxCallID(the, event->handlerID);
		if (event->buffer)
			mxPushSlot(event->buffer);
		for (int i = 0; i < event->argumentCount; i++)
			mxPushInteger(event->arguments[i]);
		fxRunCount(the, event->argumentCount + (event->buffer ? 1 : 0));
		mxPop();
	}
	mxPushSlot(&meter->handlers);
	fxCallID(the, meter->root->deadlineID);
	fxRunCount(the, 0);
	double deadline = fxToNumber(the, the->stack);
	mxPop();
	/* NaN is "no deadline" too. */
	meter->deadlineAsked = deadline == deadline ? deadline : C_INFINITY;
}

typedef void (*machine_work)(txMachine *the, wattlock_meter *meter, const void *argument);

/* Does something with the machine that may throw or end it. @returns false when it ended; that has then been reported */
static bool run_guarded(wattlock_meter *meter, machine_work work, const void *argument)
{
	txMachine *the = meter->machine;
	wattlock_enter(&meter->memory);
	txJump end = { .nextJump = NULL };
	fxBeginMetering(the, within_budget, RUNAWAY_TICKS);
	the->firstJump = &end;
	if (c_setjmp(end.buffer) == 0) {
		fxBeginHost(the);
		{
			mxTry(the)
			{
				(*work)(the, meter, argument);
			}
			mxCatch(the)
			{
				meter->endReason = WATTLOCK_EXCEPTION;
				wattlock_describe_exception(the, wattlock_end_text, sizeof wattlock_end_text);
			}
		}
		if (meter->endReason == WATTLOCK_RUNNING)
			fxEndHost(the);
	}
	the->firstJump = NULL;
	meter->meteringTicks += the->meterIndex;
	if (meter->endReason != WATTLOCK_RUNNING) {
		report_end(meter);
		return false;
	}
	return true;
}

static void deliver_event(txMachine *the, wattlock_meter *meter, const void *argument)
{
	const wattlock_event *event = argument;
	if (event->bytes) {
		uint32_t capacity = 0;
		uint8_t *into = bytes_of(the, event->buffer, &capacity, true);
		memcpy(into, event->bytes, event->byteLength < capacity ? event->byteLength : capacity);
	}
	call_handler(the, meter, event);
	wattlock_run_jobs(the);
	fxCheckUnhandledRejections(the, 1);
}

/* Delivers one event at `nowMilliseconds`. @returns false when the machine ended; that has then been reported */
static bool deliver(wattlock_meter *meter, const wattlock_event *event)
{
	if (!run_guarded(meter, deliver_event, event))
		return false;
	/* The firmware counts from power-on, the board does not. */
	meter->deadlineMilliseconds = meter->deadlineAsked + meter->powerOnMilliseconds;
	return true;
}

static void collect_garbage(txMachine *the, wattlock_meter *meter, const void *argument)
{
	(void)meter;
	(void)argument;
	wattlock_collect(the);
}

static void set_now(wattlock_meter *meter, double nowMilliseconds)
{
	if (nowMilliseconds > meter->nowMilliseconds)
		meter->nowMilliseconds = nowMilliseconds;
	double firmware = meter->nowMilliseconds - meter->powerOnMilliseconds;
	if (firmware > meter->firmwareMilliseconds)
		meter->firmwareMilliseconds = firmware;
}

/* Rows of the next block, as far as they are queued; 0: none. Blocks end on multiples of their size since power-on. */
static uint32_t next_rows(const wattlock_meter *meter)
{
	if (meter->rowBytes == 0 || !meter->blocks)
		return 0;
	uint32_t wanted = meter->blockRows - (uint32_t)c_fmod(meter->rowNumber, meter->blockRows);
	uint32_t rows = 0;
	for (const wattlock_block *block = meter->blocks; block && rows < wanted; block = block->next) {
		if (block->repeat && !block->next)
			return block->rowCount > 0 ? wanted : rows;
		rows += block->rowCount - block->rowIndex;
	}
	return rows < wanted ? rows : wanted;
}

/* Takes rows from the queue; `into` may be NULL. */
static void take_rows(wattlock_meter *meter, uint8_t *into, uint32_t rowCount)
{
	uint32_t rowBytes = meter->rowBytes;
	meter->rowNumber += rowCount;
	while (rowCount > 0 && meter->blocks) {
		wattlock_block *block = meter->blocks;
		uint32_t rows = block->rowCount - block->rowIndex;
		if (rows == 0) {
			if (block->repeat && !block->next && block->rowCount > 0) {
				block->rowIndex = 0;
			} else {
				meter->blocks = block->next;
				wattlock_rows_drop(block->rows);
				free(block);
			}
			continue;
		}
		if (rows > rowCount)
			rows = rowCount;
		if (into) {
			memcpy(into, wattlock_rows_bytes(block->rows) + (size_t)block->rowIndex * rowBytes, (size_t)rows * rowBytes);
			into += (size_t)rows * rowBytes;
		}
		block->rowIndex += rows;
		rowCount -= rows;
	}
	/* A block that has ended, with another behind it or nothing to repeat, leaves the queue at once. */
	while (meter->blocks && meter->blocks->rowIndex == meter->blocks->rowCount
		&& (meter->blocks->next || !meter->blocks->repeat)) {
		wattlock_block *block = meter->blocks;
		meter->blocks = block->next;
		wattlock_rows_drop(block->rows);
		free(block);
	}
}

static bool deliver_samples(wattlock_meter *meter, uint32_t rowCount)
{
	uint8_t rows[WATTLOCK_BLOCK_BYTES_MAX];
	take_rows(meter, rows, rowCount);
	if (meter->sampleBlock.kind != XS_REFERENCE_KIND)
		return true;
	wattlock_event event = {
		.handlerID = meter->root->samplesID,
		.buffer = &meter->sampleBlock,
		.bytes = rows,
		.byteLength = rowCount * meter->rowBytes,
		.argumentCount = 1,
		.arguments = { (int32_t)rowCount },
	};
	return deliver(meter, &event);
}

static bool deliver_tick(wattlock_meter *meter)
{
	/* Adding and subtracting the time of power-on may round: the firmware must see its own deadline as passed. */
	wattlock_event event = { .handlerID = meter->root->tickID };
	if (meter->deadlineAsked > meter->firmwareMilliseconds)
		meter->firmwareMilliseconds = meter->deadlineAsked;
	return deliver(meter, &event);
}

static void advance(wattlock_meter *meter, double until)
{
	uint32_t equalTimes = 0;
	while (true) {
		uint32_t rows = next_rows(meter);
		double deadline = meter->deadlineMilliseconds;
		double samplesAt = rows == 0 ? C_INFINITY
			: meter->powerOnMilliseconds + (meter->rowNumber + rows) * 1000 / meter->samplesPerSecond;
		if (samplesAt <= deadline && samplesAt <= until) {
			set_now(meter, samplesAt);
			equalTimes = 0;
			if (!deliver_samples(meter, rows))
				return;
		} else if (deadline <= until) {
			equalTimes = deadline > meter->nowMilliseconds ? 0 : equalTimes + 1;
			set_now(meter, deadline);
			if (equalTimes > EQUAL_TIMES_MAX) {
				meter->endReason = WATTLOCK_RUNAWAY;
				snprintf(wattlock_end_text, sizeof wattlock_end_text, "tick does not move the deadline");
				report_end(meter);
				return;
			}
			if (!deliver_tick(meter))
				return;
		} else {
			break;
		}
	}
	set_now(meter, until);
	if (meter->nowMilliseconds >= meter->collectedMilliseconds + COLLECT_MILLISECONDS) {
		meter->collectedMilliseconds = meter->nowMilliseconds;
		if (!run_guarded(meter, collect_garbage, NULL))
			return;
	}
	send_done(meter);
}

/* ---- frames ---- */

static void choose_firmware(txMachine *the, wattlock_meter *meter, const void *argument)
{
	(void)argument;
	meter->choosing = true;
	mxPush(mxGlobal);
	fxCallID(the, meter->root->bootID);
	fxRunCount(the, 0);
	mxPop();
}

/* A machine of `meter->root`. @returns false when there is no memory for it; that has then been reported */
static bool make_machine(wattlock_meter *meter)
{
	txCreation creation = {
		.initialChunkSize = WATTLOCK_CHUNK_BYTES_INITIAL,
		.incrementalChunkSize = 1024,
		.initialHeapCount = WATTLOCK_SLOTS_INITIAL,
		.incrementalHeapCount = 64,
		.stackCount = WATTLOCK_STACK_SLOTS,
		.initialKeyCount = 32,
		.incrementalKeyCount = 32,
		.nameModulo = (txSize)meter->root->machine->nameModulo,
		.symbolModulo = (txSize)meter->root->machine->symbolModulo,
	};
	meter->memory.meter = meter;
	wattlock_memory_open(&meter->memory, WATTLOCK_SLOTS_MAX, WATTLOCK_CHUNK_BYTES_MAX, WATTLOCK_STACK_SLOTS);
	txMachine *the = fxCloneMachine(&creation, meter->root->machine, "meter", &meter->memory);
	if (!the) {
		meter->endReason = WATTLOCK_OUT_OF_MEMORY;
		snprintf(wattlock_end_text, sizeof wattlock_end_text, "memory full: the machine could not be made");
		report_end(meter);
		return false;
	}
	/* The collector runs when the hooks of memory.c say so, never by itself. */
	the->collectFlag = XS_SKIPPED_COLLECT_FLAG;
	meter->memory.collecting = true;
	meter->machine = the;
	return true;
}

/*
 * What is built in decides, in a machine of its own, what starts: itself or an archive in flash. It has marked a trial
 * before that starts, so whatever goes wrong from here on ends the trial at the next power-on.
 * @returns false when the machine ended; that has then been reported
 */
static bool boot(wattlock_meter *meter)
{
	meter->root = meter->builtIn;
	meter->bootedSlot = -1;
	meter->choosing = false;
	meter->imageBytes = 0;
	if (!meter->root->boots || !meter->root->image_root)
		return true;
	meter->bootedSlot = 0;
	if (!make_machine(meter) || !run_guarded(meter, choose_firmware, NULL))
		return false;
	meter->choosing = false;
	end_machine(meter);
	if (meter->imageBytes == 0)
		return true;
	meter->root = meter->builtIn->image_root(image_bytes(meter, meter->imageAddress, meter->imageBytes),
		meter->imageBytes, wattlock_end_text, sizeof wattlock_end_text);
	if (meter->root)
		return true;
	meter->root = meter->builtIn;
	meter->endReason = WATTLOCK_EXCEPTION;
	report_end(meter);
	return false;
}

static void power_on(wattlock_meter *meter, const uint8_t *payload, size_t byteLength)
{
	static const size_t head = 8 + 8 + 4 * 4 + 32 + 32;
	if (meter->machine)
		wattlock_fail(2, "protocol: powerOn for meter %u, which is on", meter->index);
	meter->nowMilliseconds = read_double(payload);
	meter->powerOnMilliseconds = meter->nowMilliseconds;
	meter->collectedMilliseconds = meter->nowMilliseconds;
	meter->firmwareMilliseconds = 0;
	meter->utcSecondsAtPowerOn = read_double(payload + 8);
	meter->sectorBytes = read32(payload + 16);
	meter->sectorCount = read32(payload + 20);
	meter->bootReason = read32(payload + 24);
	meter->typeScriptKernel = (read32(payload + 28) & 1) != 0;
	memcpy(meter->seed, payload + 32, 32);
	memcpy(meter->deviceKey, payload + 64, 32);
	meter->randomCounter = 0;
	meter->randomUsed = sizeof meter->random;
	meter->meteringTicks = 0;
	meter->deadlineMilliseconds = C_INFINITY;
	meter->flashOperations = 0;
	meter->rowBytes = 0;
	meter->rowNumber = 0;
	meter->handlers.kind = XS_UNDEFINED_KIND;
	meter->sampleBlock.kind = XS_UNDEFINED_KIND;
	meter->linkBuffer.kind = XS_UNDEFINED_KIND;
	meter->handlers.flag = meter->sampleBlock.flag = meter->linkBuffer.flag = 0;
	meter->endReason = WATTLOCK_RUNNING;
	meter->linkState = LINK_CLOSED;
	meter->hasEnded = false;
	uint64_t flashBytes = (uint64_t)meter->sectorBytes * meter->sectorCount;
	if (meter->sectorBytes == 0 || (meter->sectorBytes & (meter->sectorBytes - 1)) != 0 || flashBytes > 0x40000000
		|| meter->flashLoaded > flashBytes)
		wattlock_fail(2, "protocol: flash of %u sectors of %u bytes does not fit what was loaded", meter->sectorCount,
			meter->sectorBytes);
	if (!boot(meter) || !make_machine(meter))
		return;
	meter->meteringTicks = 0;

	size_t textLength = byteLength - head;
	char *settingsText = malloc(textLength + 1);
	if (!settingsText)
		wattlock_fail(1, "out of memory for the settings of a meter");
	memcpy(settingsText, payload + head, textLength);
	settingsText[textLength] = 0;
	wattlock_event event = { .settingsText = settingsText };
	bool runs = deliver(meter, &event);
	free(settingsText);
	if (runs && run_guarded(meter, collect_garbage, NULL))
		send_done(meter);
}

static void queue_samples(wattlock_meter *meter, const uint8_t *payload, size_t byteLength)
{
	uint32_t rowCount = read32(payload);
	uint32_t flags = read32(payload + 4);
	size_t rowsLength = byteLength - 8;
	if (rowCount == 0 ? rowsLength != 0 : rowsLength % rowCount != 0)
		wattlock_fail(2, "protocol: %zu bytes of samples are not %u rows", rowsLength, rowCount);
	if (rowCount > 0 && meter->rowBytes != 0 && rowsLength / rowCount != meter->rowBytes)
		wattlock_fail(2, "protocol: rows of %zu bytes for meter %u, whose rows have %u", rowsLength / rowCount, meter->index,
			meter->rowBytes);
	wattlock_block *block = calloc(1, sizeof *block);
	if (!block)
		wattlock_fail(1, "out of memory for samples");
	block->rows = wattlock_rows_take(payload + 8, rowsLength);
	block->rowCount = rowCount;
	block->repeat = (flags & 1) != 0;
	if (!meter->blocks && meter->samplesPerSecond > 0) {
		double row = next_row_at(meter);
		if (row > meter->rowNumber)
			meter->rowNumber = row;
	}
	wattlock_block **last = &meter->blocks;
	while (*last)
		last = &(*last)->next;
	*last = block;
	take_rows(meter, NULL, 0); /* a repeating block that stood at its end goes now */
}

static void link_event(wattlock_meter *meter, uint8_t what)
{
	wattlock_event event = { .handlerID = XS_NO_ID };
	switch (what) {
	case EVENT_OPENED:
		if (meter->linkState != LINK_OPENING)
			return;
		meter->linkState = LINK_OPEN;
		event.handlerID = meter->root->linkOpenedID;
		break;
	case EVENT_CLOSED:
		if (meter->linkState == LINK_CLOSED)
			return;
		meter->linkState = LINK_CLOSED;
		event.handlerID = meter->root->linkClosedID;
		break;
	default:
		if (meter->linkState != LINK_OPEN)
			return;
		event.handlerID = meter->root->linkWritableID;
		break;
	}
	deliver(meter, &event);
}

static void link_data(wattlock_meter *meter, const uint8_t *bytes, size_t byteLength)
{
	while (byteLength > 0 && meter->machine && meter->linkState == LINK_OPEN) {
		uint32_t length = byteLength < WATTLOCK_LINK_BUFFER_BYTES ? (uint32_t)byteLength : WATTLOCK_LINK_BUFFER_BYTES;
		wattlock_event event = {
			.handlerID = meter->root->linkReceivedID,
			.buffer = &meter->linkBuffer,
			.bytes = bytes,
			.byteLength = length,
			.argumentCount = 1,
			.arguments = { (int32_t)length },
		};
		if (!deliver(meter, &event))
			return;
		bytes += length;
		byteLength -= length;
	}
}

static void optical_data(wattlock_meter *meter, const uint8_t *bytes, size_t byteLength)
{
	while (byteLength > 0 && meter->machine) {
		uint32_t length = byteLength < WATTLOCK_LINK_BUFFER_BYTES ? (uint32_t)byteLength : WATTLOCK_LINK_BUFFER_BYTES;
		wattlock_event event = {
			.handlerID = meter->root->opticalReceivedID,
			.buffer = &meter->linkBuffer,
			.bytes = bytes,
			.byteLength = length,
			.argumentCount = 1,
			.arguments = { (int32_t)length },
		};
		if (!deliver(meter, &event))
			return;
		bytes += length;
		byteLength -= length;
	}
}

static void input(wattlock_meter *meter, uint32_t which, int32_t value)
{
	if (which >= WATTLOCK_INPUT_COUNT)
		wattlock_fail(2, "protocol: input %u does not exist", which);
	meter->inputs[which] = value;
	if (!meter->machine)
		return;
	wattlock_event event = {
		.handlerID = meter->root->inputChangedID,
		.argumentCount = 2,
		.arguments = { (int32_t)which, value },
	};
	deliver(meter, &event);
}

static void samples_lost(wattlock_meter *meter, uint32_t rowCount)
{
	if (!meter->machine)
		return;
	/* The lost rows had their time and their place in the waveform. */
	if (meter->rowBytes != 0)
		take_rows(meter, NULL, rowCount);
	wattlock_event event = {
		.handlerID = meter->root->samplesLostID,
		.argumentCount = 1,
		.arguments = { (int32_t)rowCount },
	};
	deliver(meter, &event);
}

/* An answer for a meter that was never on. One that has ended said so already: `aborted` or `poweredOff` was the answer
   to all that was then on its way. */
static void answer_off(wattlock_meter *meter)
{
	uint32_t operations = 0;
	if (!meter->hasEnded)
		wattlock_send(meter, WATTLOCK_POWERED_OFF, &operations, 4, NULL, 0);
}

static void power_cut(wattlock_meter *meter, uint32_t operations, uint32_t tornBytes)
{
	if (!meter->machine) {
		answer_off(meter);
	} else if (operations == 0) {
		meter->endReason = WATTLOCK_POWER_LOST;
		report_end(meter);
	} else {
		meter->cutAtOperation = meter->flashOperations + operations;
		meter->cutTornBytes = tornBytes;
	}
}

static void query(wattlock_meter *meter, uint32_t what)
{
	struct {
		uint32_t slotsLive, slotsPeak, slotBytes, chunkBytesLive, chunkBytesPeak, stackPeakSlots;
		double meteringTicks;
	} statistics = { .slotBytes = sizeof(txSlot) };
	if (what != 1)
		wattlock_fail(2, "protocol: query %u does not exist", what);
	if (meter->machine) {
		txMachine *the = meter->machine;
		statistics.slotsPeak = (uint32_t)the->peakHeapCount;
		statistics.chunkBytesPeak = (uint32_t)the->peakChunksSize;
		if (!run_guarded(meter, collect_garbage, NULL))
			return;
		statistics.slotsLive = (uint32_t)the->currentHeapCount;
		statistics.chunkBytesLive = (uint32_t)the->currentChunksSize;
		statistics.stackPeakSlots = wattlock_stack_peak(&meter->memory);
		statistics.meteringTicks = meter->meteringTicks;
	}
	wattlock_send(meter, WATTLOCK_STATISTICS, &statistics, sizeof statistics, NULL, 0);
}

void wattlock_meter_open(wattlock_meter *meter, const wattlock_root *root, uint32_t index, void *owner)
{
	memset(meter, 0, sizeof *meter);
	meter->root = meter->builtIn = root;
	meter->index = index;
	meter->owner = owner;
	meter->deadlineMilliseconds = C_INFINITY;
}

/* Shortest and longest payload of each kind the board sends to a meter. */
static const struct {
	uint32_t shortest;
	uint32_t longest;
} lengths[] = {
	[WATTLOCK_POWER_ON] = { 96, WATTLOCK_PAYLOAD_BYTES_MAX },
	[WATTLOCK_FLASH_LOAD] = { 4, WATTLOCK_PAYLOAD_BYTES_MAX },
	[WATTLOCK_ADVANCE] = { 8, 8 },
	[WATTLOCK_SAMPLES] = { 8, WATTLOCK_PAYLOAD_BYTES_MAX },
	[WATTLOCK_LINK_EVENT] = { 1, 1 },
	[WATTLOCK_LINK_DATA] = { 0, WATTLOCK_PAYLOAD_BYTES_MAX },
	[WATTLOCK_INPUT] = { 8, 8 },
	[WATTLOCK_POWER_CUT] = { 8, 8 },
	[WATTLOCK_QUERY] = { 4, 4 },
	[WATTLOCK_SAMPLES_LOST] = { 4, 4 },
	[WATTLOCK_OPTICAL_DATA] = { 0, WATTLOCK_PAYLOAD_BYTES_MAX },
};

void wattlock_meter_frame(wattlock_meter *meter, uint8_t kind, const uint8_t *payload, size_t byteLength)
{
	if (kind == 0 || kind >= sizeof lengths / sizeof lengths[0])
		wattlock_fail(2, "protocol: frame of unknown kind %u", kind);
	if (byteLength < lengths[kind].shortest || byteLength > lengths[kind].longest)
		wattlock_fail(2, "protocol: frame of kind %u with %zu bytes", kind, byteLength);
	switch (kind) {
	case WATTLOCK_POWER_ON:
		power_on(meter, payload, byteLength);
		break;
	case WATTLOCK_FLASH_LOAD: {
		size_t address = read32(payload), length = byteLength - 4;
		if (meter->machine)
			wattlock_fail(2, "protocol: flashLoad for meter %u, which is on", meter->index);
		if (address + length > 0x40000000)
			wattlock_fail(2, "protocol: flashLoad beyond 1 GiB");
		wattlock_flash_erase(&meter->flash, address, length);
		wattlock_flash_program(&meter->flash, address, payload + 4, length);
		if (length > 0 && address + length > meter->flashLoaded)
			meter->flashLoaded = address + length;
		break;
	}
	case WATTLOCK_ADVANCE:
		if (meter->machine)
			advance(meter, read_double(payload));
		else
			answer_off(meter);
		break;
	case WATTLOCK_SAMPLES:
		queue_samples(meter, payload, byteLength);
		break;
	case WATTLOCK_LINK_EVENT:
		if (payload[0] > EVENT_WRITABLE)
			wattlock_fail(2, "protocol: link event %u does not exist", payload[0]);
		if (meter->machine)
			link_event(meter, payload[0]);
		break;
	case WATTLOCK_LINK_DATA:
		link_data(meter, payload, byteLength);
		break;
	case WATTLOCK_INPUT:
		input(meter, read32(payload), (int32_t)read32(payload + 4));
		break;
	case WATTLOCK_POWER_CUT:
		power_cut(meter, read32(payload), read32(payload + 4));
		break;
	case WATTLOCK_QUERY:
		query(meter, read32(payload));
		break;
	case WATTLOCK_SAMPLES_LOST:
		samples_lost(meter, read32(payload));
		break;
	case WATTLOCK_OPTICAL_DATA:
		optical_data(meter, payload, byteLength);
		break;
	}
}
