import type { SampleKernel, SampleLayout } from "../../../src/platform/sample-kernel.js";
import { kernelClose, kernelConfigure, kernelCreate, kernelProcess, kernelWindowClosed } from "./natives.js";

/** The per-sample loop in C. */
export class NativeKernel extends Native("simulator_kernel_destructor") implements SampleKernel {
	constructor(layout: SampleLayout) {
		super();
		kernelCreate.call(
			this,
			layout.phaseCount,
			layout.neutralCurrent ? 1 : 0,
			layout.sampleBytes,
			layout.samplesPerSecond,
		);
	}
	process(block: Uint8Array, rowIndex: number, rowCount: number, sums: Uint8Array): number {
		return kernelProcess.call(this, block, rowIndex, rowCount, sums);
	}
	windowClosed(): boolean {
		return kernelWindowClosed.call(this);
	}
	configure(parameters: Uint8Array): void {
		kernelConfigure.call(this, parameters);
	}
	close(): void {
		kernelClose.call(this);
	}
}
