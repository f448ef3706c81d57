/*
 * Runs the C kernel over records from standard input and answers on standard output, for the comparison with the
 * TypeScript twin. Little-endian hosts. Records: u8 0, u32 phases, u32 neutral, u32 bytes, f64 rate: init;
 * u8 1, 44 bytes: configure; u8 2, u32 rows, rows: process. Answers: u32 result; of process, for each call,
 * u32 rows taken, u32 closed, and the sums if closed.
 */
#include "sample-kernel.h"

#include <stdio.h>
#include <stdlib.h>

static void get(void *into, size_t length)
{
	if (length != 0 && fread(into, length, 1, stdin) != 1)
		exit(3);
}

static void put32(uint32_t value)
{
	fwrite(&value, 4, 1, stdout);
}

int main(void)
{
	static uint8_t sums[WATTLOCK_KERNEL_SUMS_BYTES];
	wattlock_kernel *kernel = malloc(wattlock_kernel_bytes());
	uint32_t rowBytes = 0;
	int operation;
	while ((operation = getchar()) != EOF) {
		if (operation == 0) {
			uint32_t layout[3];
			double rate;
			get(layout, sizeof layout);
			get(&rate, sizeof rate);
			rowBytes = (layout[0] * 2 + layout[1]) * layout[2];
			put32((uint32_t)wattlock_kernel_init(kernel, layout[0], layout[1], layout[2], rate));
		} else if (operation == 1) {
			uint8_t parameters[WATTLOCK_KERNEL_PARAMETER_BYTES];
			get(parameters, sizeof parameters);
			put32((uint32_t)wattlock_kernel_configure(kernel, parameters, sizeof parameters));
		} else {
			uint32_t rows, row = 0;
			get(&rows, 4);
			uint8_t *block = malloc((size_t)rows * rowBytes + 1);
			get(block, (size_t)rows * rowBytes);
			while (row < rows) {
				const uint32_t taken = wattlock_kernel_process(kernel, block, row, rows, sums, sizeof sums);
				const int closed = wattlock_kernel_window_closed(kernel);
				put32(taken);
				put32((uint32_t)closed);
				if (closed)
					fwrite(sums, sizeof sums, 1, stdout);
				if (taken == 0)
					return 4;
				row += taken;
			}
			free(block);
		}
	}
	free(kernel);
	return 0;
}
