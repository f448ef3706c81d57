/* Reads a firmware archive (archive.h) and gives its modules to the engine. The bytes stay where they are. */

#include "archive.h"
#include "host.h"

static uint32_t read32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

const char *wattlock_archive_open(wattlock_archive *archive, const uint8_t *bytes, size_t byteLength)
{
	if (byteLength < WATTLOCK_ARCHIVE_HEADER_BYTES || memcmp(bytes, "WLXA", 4) != 0)
		return "not a firmware archive";
	if (bytes[4] != WATTLOCK_ARCHIVE_VERSION)
		return "another version of the archive format";
	if (bytes[5] != XS_MAJOR_VERSION || bytes[6] != XS_MINOR_VERSION || bytes[7] != XS_PATCH_VERSION)
		return "made for another version of XS";
	if (read32(bytes + 8) != byteLength || read32(bytes + 12) != wattlock_crc32(bytes + 16, byteLength - 16))
		return "damaged";
	if (read32(bytes + 16) != XS_ID_COUNT)
		return "made for an engine with other built-in names";
	const uint8_t *end = bytes + byteLength;
	size_t nameBytes = read32(bytes + 24);
	archive->bytes = bytes;
	archive->byteLength = byteLength;
	archive->names = (const char *)bytes + WATTLOCK_ARCHIVE_HEADER_BYTES;
	archive->nameCount = read32(bytes + 20);
	archive->moduleCount = read32(bytes + 28);
	archive->modules = bytes + WATTLOCK_ARCHIVE_HEADER_BYTES + nameBytes;
	if (nameBytes > byteLength - WATTLOCK_ARCHIVE_HEADER_BYTES)
		return "names longer than the archive";
	size_t names = 0;
	for (size_t i = 0; i < nameBytes; i++)
		names += archive->names[i] == 0;
	if (names != archive->nameCount || (nameBytes > 0 && archive->names[nameBytes - 1] != 0))
		return "names do not match their count";
	const uint8_t *module = archive->modules;
	for (uint32_t i = 0; i < archive->moduleCount; i++) {
		if (end - module < 8)
			return "modules longer than the archive";
		uint64_t length = (uint64_t)read32(module) + read32(module + 4);
		if (length > (uint64_t)(end - module) - 8 || read32(module) == 0 || module[8 + read32(module) - 1] != 0)
			return "modules longer than the archive";
		module += 8 + length;
	}
	return module == end ? NULL : "bytes after the last module";
}

static const wattlock_archive *archive_of(txMachine *the)
{
	/* Only the root machine loads modules: its memory is the first field of wattlock_root. */
	const wattlock_memory *memory = the->context;
	return memory->meter ? NULL : &((const wattlock_root *)memory)->archive;
}

static const uint8_t *find_module(txMachine *the, const char *name, uint32_t *codeLength)
{
	const wattlock_archive *archive = archive_of(the);
	const uint8_t *module = archive ? archive->modules : NULL;
	for (uint32_t i = 0; archive && i < archive->moduleCount; i++) {
		uint32_t nameLength = read32(module);
		*codeLength = read32(module + 4);
		if (strcmp((const char *)module + 8, name) == 0)
			return module + 8 + nameLength;
		module += 8 + nameLength + *codeLength;
	}
	return NULL;
}

txID fxFindModule(txMachine *the, txSlot *realm, txID moduleID, txSlot *slot)
{
	uint32_t codeLength;
	char name[256];
	(void)realm;
	(void)moduleID;
	fxToStringBuffer(the, slot, name, sizeof name);
	return find_module(the, name, &codeLength) ? fxNewNameC(the, name) : XS_NO_ID;
}

void fxLoadModule(txMachine *the, txSlot *module, txID moduleID)
{
	uint32_t codeLength;
	txString name = fxGetKeyName(the, moduleID);
	const uint8_t *code = find_module(the, name, &codeLength);
	if (!code)
		return;
	txScript script;
	memset(&script, 0, sizeof script); /* symbolsBuffer NULL: the names are linked already */
	script.codeBuffer = (txS1 *)code;
	script.codeSize = (txSize)codeLength;
	script.path = name;
	fxResolveModule(the, module, moduleID, &script, NULL, NULL);
}
