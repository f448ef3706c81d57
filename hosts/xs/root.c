/*
 * The root machine. Moddable's linker runs the firmware's modules at build time and writes the result to flash; here the
 * host does the same in memory at start: built-ins and modules live once, read-only, and every meter is a clone that
 * holds only what it changes. Three things make the root fit to be shared:
 *
 * 1. The global object's property cache would be written by clones: it is unlinked.
 * 2. Functions, prototypes, buffers and collections are frozen, as Moddable's linker does, so that a clone cannot change
 *    them and needs no alias for them. Plain objects and arrays of modules, and variables that the bundle assigns, stay
 *    changeable: each costs a clone 8 bytes, and a copy when it is written.
 * 3. Strings, names, code and big integers in collected chunks become kinds that the collector of a clone leaves alone;
 *    else it would mark, and move, chunks that are not its own.
 *
 * After that the memory is write-protected: a store into it is a bug and ends the process, as it would on flash.
 */

#include "host.h"

static void root_imported(txMachine *the)
{
	(void)the;
}

/* Why the firmware does not load; empty: it does, so far. Roots are opened one at a time. */
static char failure[512];

static void root_failed(txMachine *the)
{
	if (mxArgc > 0)
		mxException = *mxArgv(0);
	wattlock_describe_exception(the, failure, sizeof failure);
}

static void freeze_instance(txSlot *instance)
{
	txSlot *property = instance->next;
	instance->flag |= XS_DONT_PATCH_FLAG;
	while (property) {
		if (property->kind != XS_ACCESSOR_KIND)
			property->flag |= XS_DONT_SET_FLAG;
		property->flag |= XS_DONT_DELETE_FLAG;
		property = property->next;
	}
}

/* Whether an instance is one that Moddable's linker freezes by its kind. */
static bool frozen_by_kind(const txSlot *instance)
{
	const txSlot *internal = instance->next;
	if (!internal || !(internal->flag & XS_INTERNAL_FLAG))
		return false;
	switch (internal->kind) {
	case XS_CALLBACK_KIND:
	case XS_CALLBACK_X_KIND:
	case XS_CODE_KIND:
	case XS_CODE_X_KIND:
	case XS_ARRAY_BUFFER_KIND:
	case XS_TYPED_ARRAY_KIND:
	case XS_DATA_VIEW_KIND:
	case XS_MAP_KIND:
	case XS_SET_KIND:
	case XS_WEAK_MAP_KIND:
	case XS_WEAK_SET_KIND:
	case XS_DATE_KIND:
	case XS_REGEXP_KIND:
	case XS_MODULE_KIND:
	case XS_ERROR_KIND:
	case XS_PROMISE_KIND:
	case XS_BOOLEAN_KIND:
	case XS_NUMBER_KIND:
	case XS_STRING_KIND:
	case XS_STRING_X_KIND:
	case XS_SYMBOL_KIND:
	case XS_BIGINT_KIND:
		return true;
	default:
		return false;
	}
}

typedef void (*slot_visitor)(txMachine *the, txSlot *slot);

static void each_slot(txMachine *the, slot_visitor visit)
{
	for (txSlot *heap = the->firstHeap; heap; heap = heap->next) {
		for (txSlot *slot = heap + 1; slot < heap->value.reference; slot++)
			visit(the, slot);
	}
}

/* An object that existed before any module ran: Math, JSON and their like, and every prototype. */
static void freeze_built_in(txMachine *the, txSlot *slot)
{
	if (slot->kind != XS_INSTANCE_KIND || slot == mxGlobal.value.reference)
		return;
	bool plain = !slot->next || !(slot->next->flag & XS_INTERNAL_FLAG);
	if (frozen_by_kind(slot) || (plain && slot->value.instance.prototype))
		freeze_instance(slot);
	if (slot->value.instance.prototype && slot->value.instance.prototype != mxGlobal.value.reference)
		freeze_instance(slot->value.instance.prototype);
}

/* Of what modules made: functions, the prototypes of classes, buffers, collections. */
static void freeze_made(txMachine *the, txSlot *slot)
{
	if (slot->kind != XS_INSTANCE_KIND)
		return;
	if (frozen_by_kind(slot))
		freeze_instance(slot);
	if (mxIsFunction(slot)) {
		for (txSlot *property = slot->next; property; property = property->next) {
			if (property->ID == mxID(_prototype) && property->kind == XS_REFERENCE_KIND)
				freeze_instance(property->value.reference);
		}
	}
	/* The global object stays: it is the prototype of each clone's. */
	txSlot *prototype = slot->value.instance.prototype;
	if (prototype && prototype != mxGlobal.value.reference)
		freeze_instance(prototype);
}

/* Names that the bundle assigns somewhere after their declaration: " a b c ". NULL: not known, all may be. */
static char *assignedNames;

static bool is_assigned(txMachine *the, txID id)
{
	if (!assignedNames || id == XS_NO_ID)
		return true;
	const char *name = fxGetKeyName(the, id);
	size_t length = name ? strlen(name) : 0;
	for (const char *at = length > 0 ? strstr(assignedNames, name) : NULL; at; at = strstr(at + 1, name)) {
		if (at[-1] == ' ' && at[length] == ' ')
			return true;
	}
	return length == 0;
}

/* XS_DERIVED_FLAG means nothing on a variable; here, for a moment: some scope assigns it. */
static void mark_assigned(txMachine *the, txSlot *slot)
{
	if (slot->kind == XS_CLOSURE_KIND && slot->value.closure && is_assigned(the, slot->ID))
		slot->value.closure->flag |= XS_DERIVED_FLAG;
}

/* A variable that nothing assigns is a constant, whatever it was declared as: esbuild makes `var` of top-level `const`. */
static void settle_variable(txMachine *the, txSlot *slot)
{
	(void)the;
	if (slot->kind == XS_CLOSURE_KIND && slot->value.closure && !(slot->value.closure->flag & XS_DERIVED_FLAG)
		&& slot->value.closure->kind >= XS_UNDEFINED_KIND)
		slot->value.closure->flag |= XS_DONT_SET_FLAG;
}

/* A scope is never changed as an object, its variables are. (Sharing takes the flag back where a variable may change.) */
static void settle_scope(txMachine *the, txSlot *slot)
{
	(void)the;
	if (slot->kind != XS_INSTANCE_KIND || !slot->next || slot->next->ID != XS_ENVIRONMENT_BEHAVIOR
		|| !(slot->next->flag & XS_INTERNAL_FLAG))
		return;
	freeze_instance(slot);
}

static void unmark_assigned(txMachine *the, txSlot *slot)
{
	(void)the;
	if (slot->kind == XS_CLOSURE_KIND && slot->value.closure)
		slot->value.closure->flag &= ~XS_DERIVED_FLAG;
}

static void settle_kind(txSlot *slot)
{
	switch (slot->kind) {
	case XS_STRING_KIND:
		slot->kind = XS_STRING_X_KIND;
		break;
	case XS_KEY_KIND:
		slot->kind = XS_KEY_X_KIND;
		break;
	case XS_CODE_KIND:
		slot->kind = XS_CODE_X_KIND;
		break;
	case XS_BIGINT_KIND:
		slot->kind = XS_BIGINT_X_KIND;
		break;
	case XS_REGEXP_KIND:
		slot->value.regexp.data = NULL; /* scratch of a match: NULL lets each match bring its own */
		break;
	default:
		break;
	}
}

static void settle_slot(txMachine *the, txSlot *slot)
{
	(void)the;
	settle_kind(slot);
	if (slot->kind == XS_ARRAY_KIND && slot->value.array.address) {
		txChunk *chunk = (txChunk *)((txByte *)slot->value.array.address - sizeof(txChunk));
		txIndex count = (txIndex)((size_t)chunk->size / sizeof(txSlot));
		if (count > slot->value.array.length)
			count = slot->value.array.length;
		for (txIndex i = 0; i < count; i++)
			settle_kind(slot->value.array.address + i);
	}
}

static void unlink_global_cache(txMachine *the)
{
	txSlot *global = mxGlobal.value.reference;
	txSlot *cache = global->next;
	if (cache && cache->kind == XS_GLOBAL_KIND) {
		global->next = cache->next;
		global->flag &= ~XS_EXOTIC_FLAG;
	}
}

/* A number that a clone's method call uses; made in the root, so that it is the same everywhere. */
static txID name_of(txMachine *the, const char *name)
{
	return fxNewNameC(the, (txString)name);
}

static void import_main(txMachine *the, wattlock_root *root)
{
	fxBeginHost(the);
	{
		mxTry(the)
		{
			txSlot *realm = mxModuleInstanceInternal(mxProgram.value.reference)->value.module.realm;
			fxNewObject(the);
			wattlock_define_host_functions(the);
			mxPush(mxGlobal);
			fxDefineID(the, name_of(the, "wattlockHost"), XS_DONT_ENUM_FLAG, XS_DONT_ENUM_FLAG);
			mxPop();
			mxPushStringC("main");
			fxRunImport(the, realm, XS_NO_ID);
			mxDub();
			fxCallID(the, mxID(_then));
			fxNewHostFunction(the, root_imported, 1, XS_NO_ID, XS_NO_ID);
			fxNewHostFunction(the, root_failed, 1, XS_NO_ID, XS_NO_ID);
			mxRunCount(2);
			mxPop();
			mxPop();
			wattlock_run_jobs(the);
			mxPush(mxGlobal);
			mxGetID(name_of(the, "wattlockStart"));
			if (failure[0] == 0 && (!mxIsReference(the->stack) || !mxIsFunction(the->stack->value.reference)))
				snprintf(failure, sizeof failure, "its module main does not call installFirmware");
			mxPop();
			mxPush(mxGlobal);
			mxGetID(name_of(the, "wattlockBoot"));
			root->boots = mxIsReference(the->stack) && mxIsFunction(the->stack->value.reference);
			mxPop();
			mxPush(mxGlobal);
			mxGetID(name_of(the, "wattlockAssigned"));
			if (mxIsStringPrimitive(the->stack))
				assignedNames = strdup(the->stack->value.string);
			mxPop();
		}
		mxCatch(the)
		{
			wattlock_describe_exception(the, failure, sizeof failure);
		}
	}
	fxEndHost(the);
}

static bool not_opened(wattlock_root *root, char *wrong, size_t wrongLength)
{
	snprintf(wrong, wrongLength, "%s", failure);
	if (root->machine)
		fxDeleteMachine(root->machine);
	root->machine = NULL;
	wattlock_memory_close(&root->memory);
	return false;
}

void wattlock_root_open(wattlock_root *root, const wattlock_archive *archive)
{
	char wrong[sizeof failure];
	if (!wattlock_root_try(root, archive, wrong, sizeof wrong))
		wattlock_fail(1, "firmware does not load: %s", wrong);
}

bool wattlock_root_try(wattlock_root *root, const wattlock_archive *archive, char *wrong, size_t wrongLength)
{
	txCreation creation = {
		.initialChunkSize = 262144,
		.incrementalChunkSize = 65536,
		.initialHeapCount = 16384,
		.incrementalHeapCount = 4096,
		.stackCount = 4096,
		.initialKeyCount = 4096,
		.incrementalKeyCount = 256,
		/* Each clone has a copy of the two tables. */
		.nameModulo = 61,
		.symbolModulo = 1,
	};
	memset(root, 0, sizeof *root);
	failure[0] = 0;
	free(assignedNames);
	assignedNames = NULL;
	root->archive = *archive;
	wattlock_memory_open(&root->memory, 262144, 16777216, (size_t)creation.stackCount);
	txMachine *the = fxCreateMachine(&creation, "root", &root->memory, XS_NO_ID);
	if (!the) {
		snprintf(failure, sizeof failure, "the engine could not be made: out of memory");
		return not_opened(root, wrong, wrongLength);
	}
	root->machine = the;

	/* The archive's names come first, so that they get the numbers which the compiler gave them. */
	const char *name = archive->names;
	for (uint32_t i = 0; i < archive->nameCount; i++) {
		if (fxNewNameX(the, (txString)name) != XS_ID_COUNT + i) {
			snprintf(failure, sizeof failure, "the name \"%.100s\" is out of order", name);
			return not_opened(root, wrong, wrongLength);
		}
		name += strlen(name) + 1;
	}
	root->bootID = name_of(the, "wattlockBoot");
	root->startID = name_of(the, "wattlockStart");
	root->samplesID = name_of(the, "samples");
	root->samplesLostID = name_of(the, "samplesLost");
	root->inputChangedID = name_of(the, "inputChanged");
	root->tickID = name_of(the, "tick");
	root->deadlineID = name_of(the, "deadlineMilliseconds");
	root->linkOpenedID = name_of(the, "linkOpened");
	root->linkReceivedID = name_of(the, "linkReceived");
	root->linkWritableID = name_of(the, "linkWritable");
	root->linkClosedID = name_of(the, "linkClosed");
	root->opticalReceivedID = name_of(the, "opticalReceived");

	/* Before the modules run, so that they meet frozen built-ins as on the device, and again for what they make. */
	each_slot(the, freeze_built_in);
	import_main(the, root);
	if (failure[0] != 0)
		return not_opened(root, wrong, wrongLength);

	unlink_global_cache(the);
	each_slot(the, freeze_made);
	each_slot(the, mark_assigned);
	each_slot(the, settle_variable);
	each_slot(the, unmark_assigned);
	each_slot(the, settle_scope);
	fxShareMachine(the);
	each_slot(the, settle_slot);
	for (txSlot *slot = the->stack; slot < the->stackTop; slot++)
		settle_kind(slot);
	root->slotCount = (uint32_t)the->currentHeapCount;
	root->chunkBytes = (uint32_t)the->currentChunksSize;
	root->aliasCount = the->aliasCount;
	wattlock_protect(root->memory.base, root->memory.byteLength);
	return true;
}
