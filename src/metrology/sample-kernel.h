/*
 * The per-sample loop of the meter. Bit-identical to sample-kernel.ts, which holds the layouts of the parameter block
 * and of the sums and is the reference. Portable C11: string.h and stdint.h, no heap, no floating point except two
 * conversions (sample rate in, sums out). See docs/DESIGN-METROLOGY.md.
 */
#ifndef WATTLOCK_SAMPLE_KERNEL_H
#define WATTLOCK_SAMPLE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the parameter block and of the sums of one window. */
#define WATTLOCK_KERNEL_PARAMETER_BYTES 44
#define WATTLOCK_KERNEL_SUMS_BYTES 1536

typedef struct wattlock_kernel wattlock_kernel;

/* Bytes to reserve for one kernel, aligned as for a uint64_t. */
size_t wattlock_kernel_bytes(void);

/* Sets the kernel to its start state for 50 Hz. 0 = ok; else a number outside its range. */
int wattlock_kernel_init(wattlock_kernel *kernel, uint32_t phaseCount, uint32_t neutralCurrent, uint32_t sampleBytes,
	double samplesPerSecond);

/* Takes the parameter block; it holds from the next window on (at once before the first sample). 0 = ok. */
int wattlock_kernel_configure(wattlock_kernel *kernel, const uint8_t *parameters, size_t length);

/* Sums rows until the block ends or a window closes. @returns rows taken; 0 when `sums` is too short. */
uint32_t wattlock_kernel_process(wattlock_kernel *kernel, const uint8_t *block, uint32_t rowIndex, uint32_t rowCount,
	uint8_t *sums, size_t sumsLength);

/* 1: the last `process` ended a window and wrote its sums. */
int wattlock_kernel_window_closed(const wattlock_kernel *kernel);

#ifdef __cplusplus
}
#endif
#endif
