/* See rom.h. */

#include "rom.h"

#include "archive.h"
#include "machine.h"
#include "port.h"

extern const uint8_t __code_end[], __archive_start[], __image_end[];

/* Room for what the engine allocates one by one; slots and chunks come after it. */
#define HEAP_BYTES 0x00800000u

static uint8_t *reserveAt;

static uint32_t read32(const uint8_t *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, 4);
	return value;
}

const uint8_t *rom_archive(size_t *byteLength)
{
	*byteLength = memcmp(__archive_start, "WLXA", 4) == 0 ? read32(__archive_start + 8) : 0;
	return __archive_start;
}

const wattlock_root *rom_find(const char **why)
{
	size_t archiveBytes;
	const uint8_t *archive = rom_archive(&archiveBytes);
	const uint8_t *rom = archive + (archiveBytes + 15) / 16 * 16;
	*why = NULL;
	if (archiveBytes == 0)
		*why = "no firmware behind the code";
	else if ((uint32_t)rom + ROM_HEADER_BYTES > (uint32_t)__image_end || memcmp(rom, "WLRM", 4) != 0)
		*why = "no root machine behind the firmware";
	else if (read32(rom + 4) != read32(__code_end))
		*why = "the root machine was made with other code";
	else if (read32(rom + 8) != read32(archive + 12))
		*why = "the root machine was made with other firmware";
	return *why ? NULL : (const wattlock_root *)read32(rom + 16);
}

void *rom_reserve(size_t byteLength)
{
	if (!reserveAt)
		return NULL;
	void *result = reserveAt;
	reserveAt += byteLength;
	return result;
}

/* A value of one word leaves what was in the other: it may point at what is not kept. */
static void clear_rest(txSlot *slot)
{
	uint32_t *words = (uint32_t *)&slot->value;
	switch (slot->kind) {
	case XS_UNINITIALIZED_KIND:
	case XS_UNDEFINED_KIND:
	case XS_NULL_KIND:
		words[0] = 0;
		words[1] = 0;
		break;
	case XS_BOOLEAN_KIND:
	case XS_INTEGER_KIND:
	case XS_STRING_KIND:
	case XS_STRING_X_KIND:
	case XS_SYMBOL_KIND:
	case XS_REFERENCE_KIND:
	case XS_CLOSURE_KIND:
		words[1] = 0;
		break;
	default:
		break;
	}
}

/* What a chunk has behind the value in it, the same way. */
static void clear_slack(const wattlock_memory *memory, void *value, size_t valueBytes)
{
	uint8_t *bytes = value;
	if (bytes < memory->chunks || bytes >= memory->chunks + memory->chunksUsed)
		return;
	const txChunk *chunk = (txChunk *)(bytes - sizeof(txChunk));
	uint8_t *end = (uint8_t *)chunk + chunk->size;
	if (bytes + valueBytes < end)
		memset(bytes + valueBytes, 0, (size_t)(end - bytes) - valueBytes);
}

static void clear_rests(txMachine *the, const wattlock_memory *memory)
{
	for (txSlot *slot = the->stack; slot < the->stackTop; slot++)
		clear_rest(slot);
	for (txSlot *slot = memory->slots + 1; slot < memory->slots + memory->slotsUsed; slot++) {
		clear_rest(slot);
		if (slot->kind == XS_STRING_X_KIND || slot->kind == XS_KEY_X_KIND)
			clear_slack(memory, slot->value.string, strlen(slot->value.string) + 1);
		if (slot->kind != XS_ARRAY_KIND || !slot->value.array.address)
			continue;
		const txChunk *chunk = (txChunk *)((txByte *)slot->value.array.address - sizeof(txChunk));
		txSlot *end = (txSlot *)((txByte *)chunk + chunk->size);
		for (txSlot *item = slot->value.array.address; item + 1 <= end; item++) {
			/* Items hold their index where other slots hold the next one; behind the last there is nothing. */
			if ((txIndex)(item - slot->value.array.address) < fxGetIndexSize(the, slot))
				clear_rest(item);
			else
				memset(item, 0, sizeof *item);
		}
	}
}

/* Free slots hold nothing, those at the end are left out, and nothing points at what is left out. */
static void settle(wattlock_root *root)
{
	txMachine *the = root->machine;
	wattlock_memory *memory = &root->memory;
	static const txSlot empty;
	for (txSlot *slot = the->freeHeap; slot;) {
		txSlot *next = slot->next;
		*slot = empty;
		slot->ID = 0x7FFF;
		slot = next;
	}
	the->freeHeap = NULL;
	while (memory->slotsUsed > 1 && memory->slots[memory->slotsUsed - 1].ID == 0x7FFF)
		memory->slotsUsed--;
	the->firstHeap->value.reference = memory->slots + memory->slotsUsed;
	clear_rests(the, memory);
	the->firstBlock->limit = the->firstBlock->current;
	memory->chunksUsed = (size_t)((uint8_t *)the->firstBlock->current - memory->chunks + 15) / 16 * 16;
	memset(the->firstBlock->current, 0, (size_t)(memory->chunks + memory->chunksUsed - (uint8_t *)the->firstBlock->current));
	the->stackBottom = the->stack;
	/* In flash chunks follow slots at once. */
	memory->base = (uint8_t *)the->stack;
	memory->byteLength = (size_t)((uint8_t *)(memory->slots + memory->slotsUsed) - memory->base) + memory->chunksUsed;
}

static void hand_over(const void *start, const void *end)
{
	uint32_t words[2] = { (uint32_t)start, (uint32_t)end };
	const uint8_t *at = start;
	send_frame(0, ROM_SEGMENT, words, sizeof words, at, (size_t)((const uint8_t *)end - at));
}

void rom_make(void)
{
	wattlock_archive archive;
	size_t archiveBytes;
	const uint8_t *bytes = rom_archive(&archiveBytes);
	const char *wrong = wattlock_archive_open(&archive, bytes, archiveBytes);
	if (wrong)
		wattlock_fail(1, "the firmware: %s", wrong);
	uint8_t *base = (uint8_t *)machine_strap->romBase;
	machine_set_heap(base, base + HEAP_BYTES);
	reserveAt = base + HEAP_BYTES;
	wattlock_root *root = calloc(1, sizeof *root);
	wattlock_root_open(root, &archive);
	settle(root);
	const wattlock_memory *memory = &root->memory;
	uint32_t words[5] = { (uint32_t)root, root->slotCount, root->chunkBytes, root->aliasCount,
		(uint32_t)root->machine->keyIndex };
	hand_over(base, machine_heap_used());
	hand_over(root->machine->stack, memory->slots + memory->slotsUsed);
	hand_over(memory->chunks, memory->chunks + memory->chunksUsed);
	send_frame(0, ROM_MADE, words, sizeof words, NULL, 0);
	port_flush();
	machine_exit(MACHINE_EXIT_BOARD);
}
