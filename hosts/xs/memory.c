/*
 * Memory of the machines. One reservation holds slots and chunks of a machine up to its limit; pages are touched
 * as the machine grows, so a thousand small machines stay small and each can still grow to exactly the limit.
 *
 * XS collects only when its slots or chunks have run out, and then goes on with whatever that freed: near the limit, or
 * in a small heap that grows in steps, it collects again and again for a handful of slots (13.3.0 clears its trashing
 * flag in every forced collection). So its own collections are switched off, and the allocation hooks below, which XS
 * calls at the very points where it would have collected, decide between collecting and growing. At the limit they
 * behave as a heap of fixed size does on the device: memory is full when live data does not fit, and not before.
 */

#include "host.h"

bool wattlock_collect_often;
_Thread_local char wattlock_end_text[512];

static _Thread_local char *threadStackLimit;

void wattlock_set_c_stack(size_t byteLength)
{
	threadStackLimit = (char *)((uintptr_t)__builtin_frame_address(0) - byteLength);
}

char *fxCStackLimit(void)
{
	return threadStackLimit;
}

static size_t round_up(size_t value, size_t unit)
{
	return (value + unit - 1) / unit * unit;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

void wattlock_memory_open(wattlock_memory *memory, size_t slots, size_t chunkBytes, size_t stackSlots)
{
	const size_t page = WATTLOCK_PAGE_BYTES;
	/* Only the root machine has a stack of its own. */
	size_t stackBytes = memory->meter ? 0 : round_up(stackSlots * sizeof(txSlot), page);
	size_t slotBytes = round_up(slots * sizeof(txSlot), page);
	memory->slotsMax = slots;
	memory->chunksMax = chunkBytes + sizeof(txBlock);
	memory->byteLength = stackBytes + slotBytes + round_up(memory->chunksMax, page);
	memory->base = wattlock_reserve(memory->byteLength);
	memory->slots = (txSlot *)(memory->base + stackBytes);
	memory->slotsUsed = 0;
	memory->slotsThreshold = WATTLOCK_SLOTS_INITIAL;
	memory->chunks = memory->base + stackBytes + slotBytes;
	memory->chunksUsed = 0;
	memory->chunksThreshold = 4096;
	memory->collecting = false;
	memory->machine = NULL;
	memory->idleStack = NULL;
	memory->idleStackCount = 0;
	memory->stackPeak = 0;
}

/*
 * The machines of a thread take turns on one stack: between two events a machine has some twenty slots there, which are
 * kept aside while another one runs. The part that was used is zeroed then, so the depth can be read off: a frame in use
 * is not zeros, and 64 empty slots in a row mean that nothing was ever deeper. (Looking from the far end would find what
 * number conversion leaves there.)
 */
static _Thread_local txSlot *threadStack;
static _Thread_local wattlock_memory *threadOccupant;

static uint32_t used_depth(const txSlot *stackTop)
{
	static const txSlot empty;
	uint32_t peak = 0, depth = 0, run = 0;
	while (depth < WATTLOCK_STACK_SLOTS && run < 64) {
		depth++;
		if (memcmp(stackTop - depth, &empty, sizeof empty) == 0) {
			run++;
		} else {
			run = 0;
			peak = depth;
		}
	}
	return peak;
}

/* @param keep whether the machine goes on later */
static void leave_stack(bool keep)
{
	wattlock_memory *memory = threadOccupant;
	threadOccupant = NULL;
	if (!memory)
		return;
	txSlot *stackTop = threadStack + WATTLOCK_STACK_SLOTS;
	uint32_t depth = used_depth(stackTop);
	if (depth > memory->stackPeak)
		memory->stackPeak = depth;
	if (keep) {
		size_t count = (size_t)(stackTop - memory->machine->stack);
		if (count > memory->idleStackCount) {
			memory->idleStack = realloc(memory->idleStack, count * sizeof(txSlot));
			if (!memory->idleStack)
				wattlock_fail(1, "out of memory for the stack of a meter");
		}
		memory->idleStackCount = count;
		memcpy(memory->idleStack, stackTop - count, count * sizeof(txSlot));
	}
	memset(stackTop - depth, 0, depth * sizeof(txSlot));
}

void wattlock_enter(wattlock_memory *memory)
{
	if (threadOccupant == memory)
		return;
	leave_stack(true);
	threadOccupant = memory;
	if (memory->idleStackCount > 0)
		memcpy(threadStack + WATTLOCK_STACK_SLOTS - memory->idleStackCount, memory->idleStack,
			memory->idleStackCount * sizeof(txSlot));
}

uint32_t wattlock_stack_peak(wattlock_memory *memory)
{
	uint32_t depth = threadOccupant == memory ? used_depth(threadStack + WATTLOCK_STACK_SLOTS) : 0;
	return depth > memory->stackPeak ? depth : memory->stackPeak;
}

void wattlock_memory_close(wattlock_memory *memory)
{
	if (threadOccupant == memory)
		leave_stack(false);
	free(memory->idleStack);
	memory->idleStack = NULL;
	memory->idleStackCount = 0;
	if (memory->base)
		wattlock_release(memory->base, memory->byteLength);
	memory->base = NULL;
	memory->machine = NULL;
}

static bool within(const wattlock_memory *memory, const uint8_t *address)
{
	return address >= memory->base && address < memory->base + memory->byteLength;
}

/*
 * A clone that writes a shared object first gets a copy of it (fxAliasInstance), and while that is made the copy holds
 * pointers into the shared machine: collecting then would mark what is not its own. An array waits for its new chunk and
 * its old address is no longer read: it is cleared. Private fields are still read: there is no collecting just then.
 */
static bool may_collect(txMachine *the)
{
	const txMachine *shared = the->sharedMachine;
	const wattlock_memory *memory = shared ? shared->context : NULL;
	for (txID i = 0; memory && i < the->aliasCount; i++) {
		for (txSlot *slot = the->aliasArray[i]; slot; slot = slot->next) {
			const uint8_t *from = NULL;
			if (slot->kind == XS_ARRAY_KIND)
				from = (const uint8_t *)slot->value.array.address;
			else if (slot->kind == XS_PRIVATE_KIND)
				from = (const uint8_t *)slot->value.private.first;
			while (from && slot->kind == XS_PRIVATE_KIND && !within(memory, from))
				from = (const uint8_t *)((const txSlot *)from)->next;
			if (!within(memory, from))
				continue;
			if (slot->kind == XS_PRIVATE_KIND)
				return false;
			slot->value.array.address = NULL;
		}
	}
	return true;
}

static void collect(txMachine *the, txFlag flags)
{
	if (!may_collect(the))
		return;
	the->collectFlag |= XS_COLLECTING_FLAG;
	fxCollect(the, flags);
	the->collectFlag &= ~XS_COLLECTING_FLAG;
	/* The sweep leaves the highest free slot first; the lowest first keeps a machine together, so its end can be cut. */
	txSlot *reversed = NULL;
	for (txSlot *slot = the->freeHeap; slot;) {
		txSlot *next = slot->next;
		slot->next = reversed;
		reversed = slot;
		slot = next;
	}
	the->freeHeap = reversed;
}

/* Gives back free slots at the end of the heap, in the steps in which it grows. Right after a collection. */
static void cut_slots(txMachine *the, wattlock_memory *memory)
{
	static const txID isFree = 0x7FFF;
	for (txSlot *slot = the->freeHeap; slot; slot = slot->next)
		slot->ID = isFree;
	size_t used = memory->slotsUsed;
	while (used > WATTLOCK_SLOTS_INITIAL && memory->slots[used - 1].ID == isFree)
		used--;
	used = WATTLOCK_SLOTS_INITIAL + round_up(used - WATTLOCK_SLOTS_INITIAL, 64);
	if (used >= memory->slotsUsed)
		return;
	txSlot *end = memory->slots + used;
	txSlot **last = &the->freeHeap;
	for (txSlot *slot = the->freeHeap; slot; slot = slot->next) {
		if (slot < end) {
			*last = slot;
			last = &slot->next;
		}
	}
	*last = NULL;
	the->firstHeap->value.reference = end;
	the->maximumHeapCount -= (txSize)(memory->slotsUsed - used);
	wattlock_zero(end, (memory->slotsUsed - used) * sizeof(txSlot));
	memory->slotsUsed = used;
}

void wattlock_collect(txMachine *the)
{
	wattlock_memory *memory = the->context;
	txBlock *block = the->firstBlock;
	collect(the, XS_COMPACT_FLAG);
	if (memory->collecting) {
		cut_slots(the, memory);
		size_t live = (size_t)the->currentHeapCount;
		/* Slots that are free inside count: a machine at rest need not grow for what the next seconds drop. */
		size_t wanted = live + live / 16 + 64;
		memory->slotsThreshold = smaller(wanted > memory->slotsUsed ? wanted : memory->slotsUsed, memory->slotsMax);
	}
	/* Where machines grow, what lies behind the last chunk is given back, but for a little to go on with. */
	size_t keep = round_up((size_t)((uint8_t *)block->current - memory->chunks) + 256, 8);
	if (WATTLOCK_GROWS && memory->collecting && keep < memory->chunksUsed) {
		size_t page = round_up(keep, 4096);
		the->maximumChunksSize -= (txSize)(memory->chunksUsed - keep);
		block->limit = (txByte *)memory->chunks + keep;
		memory->chunksUsed = keep;
		memory->chunksThreshold = smaller(keep + 1024, memory->chunksMax);
		if (page < round_up(memory->chunksMax, 4096))
			wattlock_zero(memory->chunks + page, round_up(memory->chunksMax, 4096) - page);
	}
}

void *fxAllocateChunks(txMachine *the, txSize size)
{
	wattlock_memory *memory = the->context;
	txBlock *block = the->firstBlock;
	size_t wanted = (size_t)size;
	if (memory->collecting && (wattlock_collect_often || memory->chunksUsed + wanted > memory->chunksThreshold)) {
		size_t need = wanted - sizeof(txBlock);
		collect(the, XS_COMPACT_FLAG | XS_ORGANIC_FLAG);
		size_t free = (size_t)(block->limit - block->current);
		size_t live = (size_t)the->currentChunksSize;
		bool fits = memory->chunksUsed + wanted <= memory->chunksMax;
		if (free >= need && (!fits || free >= need + live / 16 + 256)) {
			/* The caller lengthens the block by `size`: shorten it first, and nothing has grown. */
			block->limit -= wanted;
			the->maximumChunksSize -= size;
			return block->limit;
		}
		if (!fits) {
			wattlock_end(the, WATTLOCK_OUT_OF_MEMORY, "memory full: chunk of %zu bytes, %zu bytes live of %d", need, live,
				WATTLOCK_CHUNK_BYTES_MAX);
		}
		memory->chunksThreshold = smaller(memory->chunksUsed + wanted + live / 16 + 256, memory->chunksMax);
	}
	if (memory->chunksUsed + wanted > memory->chunksMax)
		return NULL;
	uint8_t *result = memory->chunks + memory->chunksUsed;
	memory->chunksUsed += wanted;
	return result;
}

void fxFreeChunks(txMachine *the, void *chunks)
{
	(void)the;
	(void)chunks; /* goes with the reservation */
}

txSlot *fxAllocateSlots(txMachine *the, txSize count)
{
	wattlock_memory *memory = the->context;
	size_t wanted = (size_t)count;
	if (!the->stackBottom) {
		memory->machine = the;
		if (!memory->meter)
			return (txSlot *)memory->base;
		if (!threadStack)
			threadStack = wattlock_reserve(WATTLOCK_STACK_SLOTS * sizeof(txSlot));
		wattlock_enter(memory);
		return threadStack;
	}
	if (memory->collecting && (wattlock_collect_often || memory->slotsUsed + wanted > memory->slotsThreshold)) {
		collect(the, XS_ORGANIC_FLAG);
		size_t live = (size_t)the->currentHeapCount;
		size_t free = memory->slotsUsed - 1 - live;
		bool fits = memory->slotsUsed + wanted <= memory->slotsMax;
		if (free > 0 && (!fits || free >= live / 16 + 16))
			return (void *)-1; /* nothing has grown: the caller tries again */
		if (!fits)
			wattlock_end(the, WATTLOCK_OUT_OF_MEMORY, "memory full: all %zu slots are live", memory->slotsMax - 1);
		memory->slotsThreshold = smaller(memory->slotsUsed + wanted, memory->slotsMax);
	}
	if (memory->slotsUsed + wanted > memory->slotsMax)
		return NULL;
	txSlot *result = memory->slots + memory->slotsUsed;
	memory->slotsUsed += wanted;
	return result;
}

void fxFreeSlots(txMachine *the, void *slots)
{
	(void)the;
	(void)slots;
}

void fxCreateMachinePlatform(txMachine *the)
{
	the->promiseJobs = 0;
	the->waiterCondition = NULL;
	the->waiterData = NULL;
	the->waiterLink = NULL;
}

void fxDeleteMachinePlatform(txMachine *the)
{
	(void)the;
}

void fxQueuePromiseJobs(txMachine *the)
{
	the->promiseJobs = 1;
}

void wattlock_run_jobs(txMachine *the)
{
	while (the->promiseJobs) {
		the->promiseJobs = 0;
		fxRunPromiseJobs(the);
	}
}

/* The runtime has no parser: eval and Function are syntax errors. */
txScript *fxParseScript(txMachine *the, void *stream, txGetter getter, txUnsigned flags)
{
	(void)the;
	(void)stream;
	(void)getter;
	(void)flags;
	return NULL;
}

/* Cut between characters, not inside one. */
static void cut_text(char *text, size_t byteLength)
{
	size_t length = strlen(text);
	if (length + 1 < byteLength)
		return;
	while (length > 0 && ((uint8_t)text[length - 1] & 0xC0) == 0x80)
		length--;
	if (length > 0 && (uint8_t)text[length - 1] >= 0xC0)
		length--;
	text[length] = 0;
}

/* The stack of an error, or what the value says as a string; may throw. */
static void write_exception(txMachine *the, txSlot *exception, char *text, size_t byteLength)
{
	if (mxIsReference(exception)) {
		mxPushSlot(exception);
		mxGetID(mxID(_stack));
		if (mxIsStringPrimitive(the->stack))
			snprintf(text, byteLength, "%s", the->stack->value.string);
		mxPop();
	}
	if (text[0] == 0)
		snprintf(text, byteLength, "%s", fxToString(the, exception));
}

static void try_write_exception(txMachine *the, txSlot *exception, char *text, size_t byteLength)
{
	mxTry(the)
	{
		write_exception(the, exception, text, byteLength);
	}
	mxCatch(the)
	{
	}
}

void wattlock_describe_exception(txMachine *the, char *text, size_t byteLength)
{
	text[0] = 0;
	mxPush(mxException);
	try_write_exception(the, the->stack, text, byteLength);
	mxPop();
	if (text[0] == 0)
		snprintf(text, byteLength, "an exception that cannot be shown");
	cut_text(text, byteLength);
}

void wattlock_end(txMachine *the, int reason, const char *format, ...)
{
	wattlock_memory *memory = the->context;
	wattlock_meter *meter = memory->meter;
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (!meter)
		wattlock_fail(1, "firmware does not load: %s", text);
	if (meter->endReason == WATTLOCK_RUNNING) {
		meter->endReason = reason;
		memcpy(wattlock_end_text, text, sizeof text);
	}
	fxExitToHost(the);
}

/* What XS calls when it cannot go on. */
void fxAbort(txMachine *the, int status)
{
	char text[512];
	switch (status) {
	case XS_NOT_ENOUGH_MEMORY_EXIT:
		wattlock_end(the, WATTLOCK_OUT_OF_MEMORY, "memory full");
	case XS_NO_MORE_KEYS_EXIT:
		wattlock_end(the, WATTLOCK_OUT_OF_MEMORY, "memory full: no more property names");
	case XS_STACK_OVERFLOW_EXIT:
		wattlock_end(the, WATTLOCK_STACK_OVERFLOW, "stack overflow (%d slots)", WATTLOCK_STACK_SLOTS);
	case XS_TOO_MUCH_COMPUTATION_EXIT:
		wattlock_end(the, WATTLOCK_RUNAWAY, "one event took more than %u metering ticks", (unsigned)the->meterCount);
	case XS_UNHANDLED_EXCEPTION_EXIT:
	case XS_UNHANDLED_REJECTION_EXIT:
		wattlock_describe_exception(the, text, sizeof text);
		wattlock_end(the, WATTLOCK_EXCEPTION, "%s: %.400s",
			status == XS_UNHANDLED_REJECTION_EXIT ? "unhandled rejection" : "in a promise job", text);
	default:
		wattlock_end(the, WATTLOCK_EXCEPTION, "the engine stopped with status %d", status);
	}
}
