/*
 * See install.h. All integers are taken first and all bytes after them: taking bytes runs no script and moves nothing,
 * so the pointers hold until the call is done.
 */

#include "install.h"

#include "calls.h"

/* Of xsmc.c; its header is made for code outside the engine. */
txInteger _xsmcGetBuffer(txMachine *the, txSlot *slot, void **data, txUnsigned *count, txBoolean writable);

static txInteger integer_of(txMachine *the, txSlot *slot)
{
	return slot->kind == XS_INTEGER_KIND ? slot->value.integer : fxToInteger(the, slot);
}

static void run(txMachine *the, const wattlock_crypto_function *function)
{
	wattlock_crypto_argument arguments[WATTLOCK_CRYPTO_ARGUMENTS_MAX];
	const char *kinds = function->arguments;
	int count = 0;
	for (; kinds[count]; count++) {
		if (mxArgc <= count)
			mxTypeError("%s: too few arguments", function->name);
		if (kinds[count] == 'i')
			arguments[count].number = integer_of(the, mxArgv(count));
	}
	for (int i = 0; i < count; i++) {
		if (kinds[i] == 'i')
			continue;
		void *bytes = NULL;
		txUnsigned byteLength = 0;
		_xsmcGetBuffer(the, mxArgv(i), &bytes, &byteLength, kinds[i] == 'w' || kinds[i] == 's');
		arguments[i].bytes = bytes;
		arguments[i].byteLength = byteLength;
	}
	int result = function->call(arguments);
	if (result < 0)
		mxRangeError("%s: outside its array, not keyed, or overlapping", function->name);
	mxResult->value.integer = result;
	mxResult->kind = XS_INTEGER_KIND;
}

#define HOST_FUNCTION(name, arguments) \
	static void host_##name(txMachine *the) \
	{ \
		run(the, &wattlock_crypto_functions[WATTLOCK_CRYPTO_##name]); \
	}
WATTLOCK_CRYPTO_FUNCTIONS(HOST_FUNCTION)
#undef HOST_FUNCTION

#define CALLBACK(name, arguments) host_##name,
static const txCallback callbacks[WATTLOCK_CRYPTO_COUNT] = { WATTLOCK_CRYPTO_FUNCTIONS(CALLBACK) };
#undef CALLBACK

/* Takes the value from the stack; the object lies below it. */
static void define(txMachine *the, const char *name)
{
	txSlot *object = the->stack + 1;
	mxPushSlot(object);
	fxDefineID(the, fxNewNameC(the, (txString)name), XS_DONT_DELETE_FLAG | XS_DONT_SET_FLAG,
		XS_DONT_DELETE_FLAG | XS_DONT_SET_FLAG);
	mxPop();
}

void wattlock_crypto_install(txMachine *the)
{
	for (int i = 0; i < WATTLOCK_CRYPTO_COUNT; i++) {
		const wattlock_crypto_function *function = &wattlock_crypto_functions[i];
		fxNewHostFunction(the, callbacks[i], (txInteger)strlen(function->arguments), XS_NO_ID, XS_NO_ID);
		define(the, function->name);
	}
	for (size_t i = 0; i < sizeof wattlock_crypto_constants / sizeof wattlock_crypto_constants[0]; i++) {
		mxPushInteger((txInteger)wattlock_crypto_constants[i].value);
		define(the, wattlock_crypto_constants[i].name);
	}
}
