/*
 * The bytecode compiler, a host tool: JavaScript modules to a firmware archive (archive.h) that runs in place.
 *
 *   wattlock-xsc -o firmware.wlxa main=bundle.js [name=file.js …]
 *
 * Every name of all modules gets one number, the same on every engine of this version: built-in names keep theirs, others
 * count on from there. Strings and functions become their "archive" instructions, which point into the code.
 */

#include "archive.h"
#include "host.h"
#include "xsScript.h"

#include <stdarg.h>

extern void fxRemapIDs(txMachine *the, txByte *codeBuffer, txSize codeSize, txID *theIDs);

typedef struct {
	uint8_t *bytes;
	size_t byteLength;
	size_t capacity;
} buffer;

static char **names;
static uint32_t nameCount;
static uint32_t *nameIndex; /* open hash table of name number + 1 */
static const uint32_t nameIndexSize = 65536;

XS_FUNCTION_NORETURN static void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fprintf(stderr, "wattlock-xsc: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	exit(1);
}

static void *need(void *memory)
{
	if (!memory)
		fail("out of memory");
	return memory;
}

static void append(buffer *into, const void *bytes, size_t byteLength)
{
	if (into->byteLength + byteLength > into->capacity) {
		into->capacity = (into->byteLength + byteLength) * 2;
		into->bytes = need(realloc(into->bytes, into->capacity));
	}
	memcpy(into->bytes + into->byteLength, bytes, byteLength);
	into->byteLength += byteLength;
}

static void write32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void append32(buffer *into, uint32_t value)
{
	uint8_t bytes[4];
	write32(bytes, value);
	append(into, bytes, 4);
}

static uint32_t *find_name(const char *name)
{
	uint32_t hash = 2166136261u;
	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	while (true) {
		uint32_t *entry = nameIndex + (hash++ % nameIndexSize);
		if (*entry == 0 || strcmp(names[*entry - 1], name) == 0)
			return entry;
	}
}

static void add_name(const char *name)
{
	uint32_t *entry = find_name(name);
	if (*entry)
		return;
	if (nameCount >= 32767)
		fail("more than 32767 names");
	names[nameCount] = need(strdup(name));
	*entry = ++nameCount;
}

/* Number of a name, new ones added. Numbers below XS_ID_COUNT are the engine's own; symbols have no name there. */
static txID number_of(const char *name)
{
	add_name(name);
	return (txID)(*find_name(name) - 1);
}

typedef struct {
	const uint8_t *bytes;
	size_t byteLength;
	size_t offset;
} source;

static int next_byte(void *stream)
{
	source *from = stream;
	return from->offset < from->byteLength ? from->bytes[from->offset++] : C_EOF;
}

static const char *currentPath;

static void report_error(void *console, txString path, txInteger line, txString format, va_list arguments)
{
	(void)console;
	(void)path;
	fprintf(stderr, "%s:%d: ", currentPath, (int)line);
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
}

static txScript *compile(const char *path, source *from)
{
	txParser parser;
	txParserJump jump;
	txScript *volatile script = NULL;
	currentPath = path;
	fxInitializeParser(&parser, NULL, 262144, 1993);
	parser.reportError = report_error;
	parser.reportWarning = report_error;
	parser.firstJump = &jump;
	if (c_setjmp(jump.jmp_buf) == 0) {
		fxParserTree(&parser, from, next_byte, 0, NULL);
		if (parser.errorCount == 0) {
			fxParserHoist(&parser);
			fxParserBind(&parser);
			script = fxParserCode(&parser);
		}
	}
	if (parser.errorCount || !script)
		fail("%s does not compile", path);
	fxTerminateParser(&parser);
	return script;
}

/* From the script's own name numbers to the archive's. */
static void link_names(txScript *script)
{
	txByte *at = script->symbolsBuffer;
	txID count = 0;
	mxDecode2(at, count);
	txID *numbers = need(calloc((size_t)count + 1, sizeof(txID)));
	numbers[0] = XS_NO_ID;
	for (txID i = 1; i < count; i++) {
		numbers[i] = number_of((const char *)at);
		at += strlen((const char *)at) + 1;
	}
	fxRemapIDs(NULL, script->codeBuffer, script->codeSize, numbers);
	free(numbers);
}

static uint32_t read_little_endian(const uint8_t *bytes, int count)
{
	uint32_t value = 0;
	for (int i = 0; i < count; i++)
		value |= (uint32_t)bytes[i] << (8 * i);
	return value;
}

/* Strings and functions stay where they are instead of being copied to chunks. */
static void run_in_place(txScript *script)
{
	uint8_t *at = (uint8_t *)script->codeBuffer;
	uint8_t *end = at + script->codeSize;
	while (at < end) {
		int size = gxCodeSizes[*at];
		uint8_t code = *at;
		if (code >= XS_CODE_CODE_1 && code <= XS_CODE_CODE_4)
			*at = (uint8_t)(code - XS_CODE_CODE_1 + XS_CODE_CODE_ARCHIVE_1);
		else if (code >= XS_CODE_STRING_1 && code <= XS_CODE_STRING_4)
			*at = (uint8_t)(code - XS_CODE_STRING_1 + XS_CODE_STRING_ARCHIVE_1);
		if (size > 0)
			at += size;
		else if (size == 0)
			at += 1 + sizeof(txID);
		else
			at += 1 - size + read_little_endian(at + 1, -size);
	}
	if (at != end)
		fail("%s: the bytecode does not end on an instruction", currentPath);
}

static uint8_t *read_file(const char *path, size_t *byteLength)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		fail("%s: %s", path, strerror(errno));
	buffer content = { 0 };
	uint8_t piece[65536];
	size_t count;
	append(&content, "", 0);
	while ((count = fread(piece, 1, sizeof piece, file)) > 0)
		append(&content, piece, count);
	if (ferror(file))
		fail("%s: %s", path, strerror(errno));
	fclose(file);
	*byteLength = content.byteLength;
	return content.bytes;
}

int main(int argumentCount, char **arguments)
{
	if (argumentCount < 4 || strcmp(arguments[1], "-o") != 0)
		fail("usage: wattlock-xsc -o archive name=file.js …");
	wattlock_set_c_stack(4 * 1024 * 1024);
	names = need(calloc(32768, sizeof(char *)));
	nameIndex = need(calloc(nameIndexSize, sizeof(uint32_t)));
	for (int i = 0; i < XS_ID_COUNT; i++) {
		names[i] = (char *)gxIDStrings[i];
		nameCount = (uint32_t)i + 1;
		if (i >= XS_SYMBOL_ID_COUNT)
			*find_name(gxIDStrings[i]) = nameCount;
	}

	buffer modules = { 0 };
	for (int i = 3; i < argumentCount; i++) {
		char *path = strchr(arguments[i], '=');
		if (!path)
			fail("usage: wattlock-xsc -o archive name=file.js …");
		*path++ = 0;
		source from = { 0 };
		from.bytes = read_file(path, &from.byteLength);
		txScript *script = compile(path, &from);
		link_names(script);
		run_in_place(script);
		append32(&modules, (uint32_t)strlen(arguments[i]) + 1);
		append32(&modules, (uint32_t)script->codeSize);
		append(&modules, arguments[i], strlen(arguments[i]) + 1);
		append(&modules, script->codeBuffer, (size_t)script->codeSize);
		printf("%s %d\n", arguments[i], (int)script->codeSize);
	}

	buffer strings = { 0 }, archive = { 0 };
	append(&strings, "", 0);
	for (uint32_t i = XS_ID_COUNT; i < nameCount; i++)
		append(&strings, names[i], strlen(names[i]) + 1);
	uint8_t head[WATTLOCK_ARCHIVE_HEADER_BYTES] = { 'W', 'L', 'X', 'A', WATTLOCK_ARCHIVE_VERSION, XS_MAJOR_VERSION,
		XS_MINOR_VERSION, XS_PATCH_VERSION };
	write32(head + 8, (uint32_t)(sizeof head + strings.byteLength + modules.byteLength));
	write32(head + 16, XS_ID_COUNT);
	write32(head + 20, nameCount - XS_ID_COUNT);
	write32(head + 24, (uint32_t)strings.byteLength);
	write32(head + 28, (uint32_t)argumentCount - 3);
	append(&archive, head, sizeof head);
	append(&archive, strings.bytes, strings.byteLength);
	append(&archive, modules.bytes, modules.byteLength);
	write32(archive.bytes + 12, wattlock_crc32(archive.bytes + 16, archive.byteLength - 16));

	FILE *file = fopen(arguments[2], "wb");
	if (!file || fwrite(archive.bytes, 1, archive.byteLength, file) != archive.byteLength || fclose(file) != 0)
		fail("%s: %s", arguments[2], strerror(errno));
	return 0;
}

/* ---- the engine's other needs: nothing here runs a machine ---- */

static char *stackLimit;

void wattlock_set_c_stack(size_t byteLength)
{
	stackLimit = (char *)((uintptr_t)__builtin_frame_address(0) - byteLength);
}

char *fxCStackLimit(void)
{
	return stackLimit;
}

void *fxAllocateChunks(txMachine *the, txSize size)
{
	(void)the;
	return c_malloc((size_t)size);
}

void fxFreeChunks(txMachine *the, void *chunks)
{
	(void)the;
	c_free(chunks);
}

txSlot *fxAllocateSlots(txMachine *the, txSize count)
{
	(void)the;
	return c_malloc((size_t)count * sizeof(txSlot));
}

void fxFreeSlots(txMachine *the, void *slots)
{
	(void)the;
	c_free(slots);
}

void fxCreateMachinePlatform(txMachine *the)
{
	(void)the;
}

void fxDeleteMachinePlatform(txMachine *the)
{
	(void)the;
}

void fxQueuePromiseJobs(txMachine *the)
{
	(void)the;
}

txScript *fxParseScript(txMachine *the, void *stream, txGetter getter, txUnsigned flags)
{
	(void)the;
	(void)stream;
	(void)getter;
	(void)flags;
	return NULL;
}

txID fxFindModule(txMachine *the, txSlot *realm, txID moduleID, txSlot *slot)
{
	(void)the;
	(void)realm;
	(void)moduleID;
	(void)slot;
	return XS_NO_ID;
}

void fxLoadModule(txMachine *the, txSlot *module, txID moduleID)
{
	(void)the;
	(void)module;
	(void)moduleID;
}

void fxAbort(txMachine *the, int status)
{
	(void)the;
	fail("the engine stopped with status %d", status);
}
