import { Cell, KERNEL_SUMS_BYTES } from "../../src/metrology/sample-kernel.js";
import type { SampleKernel } from "../../src/platform/sample-kernel.js";

/** Faults put in on purpose: a row of the report that none of them turns red proves nothing. */
export const FAULTS = [
	"gain +0.3 %",
	"one-sample delay",
	"dropped remainder",
	"swapped Q sign",
	"abs() on P",
	"fundamental-only P",
	"one sample lost per window",
	"float32 register",
] as const;
export type Fault = (typeof FAULTS)[number];

/** A kernel whose sums are spoilt on the way out. */
export class FaultyKernel implements SampleKernel {
	readonly #kernel: SampleKernel;
	readonly #fault: Fault;
	readonly #cells = new Float64Array(KERNEL_SUMS_BYTES / 8);
	readonly #bytes = new Uint8Array(this.#cells.buffer);

	constructor(kernel: SampleKernel, fault: Fault) {
		this.#kernel = kernel;
		this.#fault = fault;
	}

	process(block: Uint8Array, rowIndex: number, rowCount: number, sums: Uint8Array): number {
		const taken = this.#kernel.process(block, rowIndex, rowCount, sums);
		if (!this.#kernel.windowClosed()) return taken;
		this.#bytes.set(sums);
		const cells = this.#cells;
		for (let p = 0; p < 3; p++) {
			const u = Cell.channel + Cell.channelStride * 2 * p;
			const i = u + Cell.channelStride;
			const at = Cell.phase + Cell.phaseStride * p;
			switch (this.#fault) {
				case "swapped Q sign":
					cells[u + Cell.sine] = -cells[u + Cell.sine]!;
					cells[i + Cell.sine] = -cells[i + Cell.sine]!;
					break;
				case "abs() on P":
					for (let pair = at; pair < at + Cell.phaseStride; pair += 2) {
						const value = Math.abs(cells[pair]! * 0x1_0000_0000 + cells[pair + 1]!);
						cells[pair] = Math.floor(value / 0x1_0000_0000);
						cells[pair + 1] = value - cells[pair]! * 0x1_0000_0000;
					}
					break;
				case "fundamental-only P": {
					const scale = 2 / (cells[Cell.rows]! * 32_767 * 32_767);
					const product =
						cells[u + Cell.cosine]! * cells[i + Cell.cosine]! + cells[u + Cell.sine]! * cells[i + Cell.sine]!;
					const value = product * scale;
					for (let pair = at; pair < at + Cell.phaseStride; pair += 2) {
						cells[pair] = Math.floor(value / 0x1_0000_0000);
						cells[pair + 1] = value - cells[pair]! * 0x1_0000_0000;
					}
					break;
				}
				default:
					break;
			}
		}
		if (this.#fault === "swapped Q sign") cells[Cell.sumSine] = -cells[Cell.sumSine]!;
		sums.set(this.#bytes);
		return taken;
	}

	windowClosed(): boolean {
		return this.#kernel.windowClosed();
	}

	configure(parameters: Uint8Array): void {
		this.#kernel.configure(parameters);
	}

	close(): void {
		this.#kernel.close();
	}
}
