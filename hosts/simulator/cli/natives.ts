/** The C side of this host: main.c (frames), board.c (flash, samples, entropy), kernel.c. */

/** Tells the board once that the host is there. */
export const announce = native<() => void>("simulator_ready");
/** Waits for the next frame. @returns its kind, 0 when the board has gone */
export const nextFrame = native<() => number>("simulator_next_frame");
/** Bytes of the payload of the frame read last. */
export const frameLength = native<() => number>("simulator_frame_length");
export const frameCopy = native<(offset: number, into: Uint8Array, byteLength: number) => void>("simulator_frame_copy");
/** The payload from `offset` to its end as a string. */
export const frameText = native<(offset: number) => string>("simulator_frame_text");
export const sendFrame = native<(kind: number, bytes: Uint8Array, byteLength: number) => void>("simulator_send");
export const sendText = native<(kind: number, text: string) => void>("simulator_send_text");
/** Collects garbage and sends the frame of memory statistics. */
export const sendStatistics = native<() => void>("simulator_send_statistics");
/** The same on standard output, as a line. */
export const traceStatistics = native<() => void>("simulator_trace_statistics");
/** The board broke the protocol: one line on standard error, exit code 2. */
export const fail = native<(text: string) => never>("simulator_fail");
/** Sends `aborted`; the machine ends. */
export const abort = native<(reason: number, text: string) => never>("simulator_abort");

/** Takes the frame's bytes as content of the flash. */
export const flashLoad = native<() => void>("simulator_flash_load");
export const flashOpen = native<(sectorBytes: number, sectorCount: number) => void>("simulator_flash_open");
/** @returns 1, or 0 when a part lies outside the flash; so do `flashProgram` and `flashErase` */
export const flashRead =
	native<(address: number, into: Uint8Array, byteLength: number) => number>("simulator_flash_read");
export const flashProgram =
	native<(address: number, from: Uint8Array, byteLength: number) => number>("simulator_flash_program");
export const flashErase = native<(sectorIndex: number) => number>("simulator_flash_erase");
/** Cuts the power inside a flash operation to come; 0 cuts it now, and the machine ends. */
export const powerCut = native<(flashOperations: number, tornBytes: number) => void>("simulator_power_cut");

/** Queues the frame's rows. */
export const samplesQueue = native<() => void>("simulator_samples_queue");
/** @returns rows that wait, `rowCountMax` at most */
export const samplesWaiting = native<(rowCountMax: number) => number>("simulator_samples_waiting");
/** Takes rows that wait; without `into` they are lost. */
export const samplesTake =
	native<(into: Uint8Array | undefined, rowCount: number, rowBytes: number) => void>("simulator_samples_take");

/** 32 bytes. */
export const entropySeed = native<(seed: Uint8Array) => void>("simulator_entropy_seed");
export const entropyFill = native<(into: Uint8Array) => void>("simulator_entropy_fill");

type KernelFunction<A extends unknown[], R> = { call(kernel: object, ...argumentsOfIt: A): R };
export const kernelCreate =
	native<KernelFunction<[phaseCount: number, neutralCurrent: number, sampleBytes: number, rate: number], void>>(
		"simulator_kernel",
	);
export const kernelConfigure = native<KernelFunction<[parameters: Uint8Array], void>>("simulator_kernel_configure");
export const kernelProcess =
	native<KernelFunction<[block: Uint8Array, rowIndex: number, rowCount: number, sums: Uint8Array], number>>(
		"simulator_kernel_process",
	);
export const kernelWindowClosed = native<KernelFunction<[], boolean>>("simulator_kernel_window_closed");
export const kernelClose = native<KernelFunction<[], void>>("simulator_kernel_close");
