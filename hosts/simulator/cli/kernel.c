/* The per-sample loop in C (src/metrology/sample-kernel.c) behind the engine: one host object for each kernel. */

#include "xsmc.h"
#include "mc.xs.h"

#include <stdlib.h>

#include "../../../src/metrology/sample-kernel.h"

/* The kernel's own memory follows; 16 bytes keep it aligned. */
typedef struct {
	uint32_t rowBytes;
	uint32_t unused[3];
} kernel_head;

static wattlock_kernel *kernel_of(kernel_head *head)
{
	return (wattlock_kernel *)(head + 1);
}

void simulator_kernel_destructor(void *kernel)
{
	free(kernel);
}

/* this.(phaseCount, neutralCurrent, sampleBytes, samplesPerSecond) */
void simulator_kernel(xsMachine *the)
{
	uint32_t phaseCount = xsmcToUnsigned(xsArg(0));
	uint32_t neutralCurrent = xsmcToUnsigned(xsArg(1));
	uint32_t sampleBytes = xsmcToUnsigned(xsArg(2));
	double samplesPerSecond = xsmcToNumber(xsArg(3));
	kernel_head *head = calloc(1, sizeof *head + wattlock_kernel_bytes());
	if (!head)
		xsUnknownError("kernel: no memory");
	head->rowBytes = (phaseCount * 2 + (neutralCurrent ? 1 : 0)) * sampleBytes;
	if (wattlock_kernel_init(kernel_of(head), phaseCount, neutralCurrent, sampleBytes, samplesPerSecond) != 0) {
		free(head);
		xsRangeError("kernel: layout");
	}
	xsmcSetHostData(xsThis, head);
}

static kernel_head *this_kernel(xsMachine *the)
{
	return xsmcGetHostDataValidate(xsThis, simulator_kernel_destructor);
}

/* this.(parameters) */
void simulator_kernel_configure(xsMachine *the)
{
	kernel_head *head = this_kernel(the);
	void *parameters;
	xsUnsignedValue byteLength;
	xsmcGetBufferReadable(xsArg(0), &parameters, &byteLength);
	if (wattlock_kernel_configure(kernel_of(head), parameters, byteLength) != 0)
		xsRangeError("kernel: parameters");
}

/* this.(block, rowIndex, rowCount, sums): rowCount rows in the block, from rowIndex on. @returns rows taken */
void simulator_kernel_process(xsMachine *the)
{
	kernel_head *head = this_kernel(the);
	uint32_t rowIndex = xsmcToUnsigned(xsArg(1));
	uint32_t rowCount = xsmcToUnsigned(xsArg(2));
	void *block, *sums;
	xsUnsignedValue blockLength, sumsLength;
	xsmcGetBufferReadable(xsArg(0), &block, &blockLength);
	xsmcGetBufferWritable(xsArg(3), &sums, &sumsLength);
	if (rowIndex > rowCount || rowCount > blockLength / head->rowBytes)
		xsRangeError("kernel: rows outside the block");
	xsmcSetInteger(xsResult,
		(int)wattlock_kernel_process(kernel_of(head), block, rowIndex, rowCount, sums, sumsLength));
}

/* this.() */
void simulator_kernel_window_closed(xsMachine *the)
{
	xsmcSetBoolean(xsResult, wattlock_kernel_window_closed(kernel_of(this_kernel(the))));
}

/* this.() */
void simulator_kernel_close(xsMachine *the)
{
	simulator_kernel_destructor(this_kernel(the));
	xsmcSetHostData(xsThis, NULL);
}
