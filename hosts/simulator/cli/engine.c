/* What needs the engine's inner header, which excludes the outer one that the other files use. */

#include "xsAll.h"

#include "host.h"

const char *engine_main_module(void *preparation)
{
	return ((txPreparation *)preparation)->main;
}

void engine_exit(void *machine)
{
	fxExitToHost(machine);
}

void engine_statistics(void *machine, struct statistics *statistics)
{
	txMachine *the = machine;
	memset(statistics, 0, sizeof *statistics);
	statistics->slotBytes = sizeof(txSlot);
	statistics->slotsLive = (uint32_t)the->currentHeapCount;
	statistics->slotsPeak = (uint32_t)the->peakHeapCount;
	statistics->chunkBytesLive = (uint32_t)the->currentChunksSize;
	statistics->chunkBytesPeak = (uint32_t)the->peakChunksSize;
#ifdef mxInstrument
	statistics->stackPeakSlots = (uint32_t)(the->stackTop - the->stackPeak);
#endif
}
