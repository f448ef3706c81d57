/*
 * The C of hosts/xs/crypto as functions that a module binds by name (natives.ts). All integers are taken first and all
 * bytes after them: taking bytes runs no script and moves nothing, so the pointers hold until the call is done.
 */

#include "xsmc.h"
#include "mc.xs.h"

#include "../../xs/crypto/calls.h"

static void run(xsMachine *the, const wattlock_crypto_function *function)
{
	wattlock_crypto_argument arguments[WATTLOCK_CRYPTO_ARGUMENTS_MAX];
	const char *kinds = function->arguments;
	int count = 0;
	for (; kinds[count]; count++) {
		if (xsmcArgc <= count)
			xsTypeError("crypto: too few arguments");
		if (kinds[count] == 'i')
			arguments[count].number = xsmcToInteger(xsArg(count));
	}
	for (int i = 0; i < count; i++) {
		if (kinds[i] == 'i')
			continue;
		void *bytes = NULL;
		xsUnsignedValue byteLength = 0;
		if (kinds[i] == 'w' || kinds[i] == 's')
			xsmcGetBufferWritable(xsArg(i), &bytes, &byteLength);
		else
			xsmcGetBufferReadable(xsArg(i), &bytes, &byteLength);
		arguments[i].bytes = bytes;
		arguments[i].byteLength = byteLength;
	}
	int result = function->call(arguments);
	if (result < 0)
		xsRangeError("crypto: outside its array, not keyed, or overlapping");
	xsmcSetInteger(xsResult, result);
}

#define HOST_FUNCTION(name, arguments) \
	void simulator_crypto_##name(xsMachine *the) \
	{ \
		run(the, &wattlock_crypto_functions[WATTLOCK_CRYPTO_##name]); \
	}
WATTLOCK_CRYPTO_FUNCTIONS(HOST_FUNCTION)
#undef HOST_FUNCTION

/* (index): bytes of a state, in the order of `wattlock_crypto_constants` */
void simulator_crypto_state_bytes(xsMachine *the)
{
	int index = xsmcToInteger(xsArg(0));
	if (index < 0 || index >= (int)(sizeof wattlock_crypto_constants / sizeof wattlock_crypto_constants[0]))
		xsRangeError("crypto: no such state");
	xsmcSetInteger(xsResult, (int)wattlock_crypto_constants[index].value);
}
