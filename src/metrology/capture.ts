import { InvariantError } from "../bytes/status.js";
import { rowBytes, type SampleLayout } from "../platform/sample-kernel.js";

/** Lowest frequency that a capture of two cycles must hold. */
const LOWEST_HERTZ = 45;
/** Default size of the ring. */
export const CAPTURE_BYTES_DEFAULT = 4096;

/**
 * The last rows as the front end gave them, for bug reports, replay and a waveform view. Blocks are moved as bytes
 * (`copyWithin`, `set`), without a loop of ours; XS still sets typed arrays item by item, 166 000 metering ticks a second
 * at 4 kHz and 7 channels, so a meter on XS may record only while a capture is wanted. A trigger lets some rows follow,
 * then the ring stands still until it is released, with what was before and after.
 * Size: 4 096 bytes hold 73 ms of 7 int16 channels at 4 kHz; 16 cycles at 8 kHz would take 36 KB, a third of the heap,
 * so a board that wants them gives a larger `byteLength`.
 */
export class CaptureRing {
	readonly channelCount: number;
	/** Codes of a capture are raw codes divided by this: 1, or 256 for int24. */
	readonly codeFactor: number;
	/** Rows a second of the last capture, in thousandths. */
	captureRateMillihertz = 0;
	/** Reason of the trigger that the ring stands still for, 0: it runs. */
	triggerCode = 0;
	/** Rows in the ring that came after the trigger. */
	rowsAfterTrigger = 0;
	readonly #sampleBytes: number;
	readonly #rowBytes: number;
	readonly #rate: number;
	readonly #bytes: Uint8Array;
	readonly #capacityRows: number;
	#rows = 0;
	#followingRows = 0;
	#frozen = false;

	constructor(layout: SampleLayout, byteLength = CAPTURE_BYTES_DEFAULT) {
		this.#rowBytes = rowBytes(layout);
		this.#sampleBytes = layout.sampleBytes;
		this.#rate = layout.samplesPerSecond;
		this.channelCount = this.#rowBytes / layout.sampleBytes;
		this.codeFactor = layout.sampleBytes === 2 ? 1 : 256;
		this.#capacityRows = Math.floor(byteLength / this.#rowBytes);
		if (this.#capacityRows < 16) throw new InvariantError("capture ring too small");
		this.#bytes = new Uint8Array(this.#capacityRows * this.#rowBytes);
	}

	/** Rows held now. */
	get rows(): number {
		return this.#rows;
	}

	/** The ring stands still with a triggered capture. */
	get frozen(): boolean {
		return this.#frozen;
	}

	/** Takes a block, as `Metrology.feed` does. */
	record(block: Uint8Array, rowCount: number): void {
		if (this.#frozen) return;
		let rows = rowCount;
		if (this.triggerCode !== 0 && rows >= this.#followingRows) {
			rows = this.#followingRows;
			this.#frozen = true;
		}
		if (rows === 0) return;
		const bytes = this.#bytes;
		const taken = Math.min(rows, this.#capacityRows);
		const length = taken * this.#rowBytes;
		const from = (rows - taken) * this.#rowBytes;
		bytes.copyWithin(0, length);
		const to = bytes.length - length;
		// one view costs less than 10 bytes moved one by one
		bytes.set(from === 0 && block.length === length ? block : block.subarray(from, from + length), to);
		this.#rows = Math.min(this.#capacityRows, this.#rows + rows);
		if (this.triggerCode === 0) return;
		this.rowsAfterTrigger += rows;
		this.#followingRows -= rows;
	}

	/** Rows were lost: what is in the ring does not join what comes. */
	samplesLost(): void {
		if (!this.#frozen) this.#rows = 0;
	}

	/**
	 * Keeps half a ring from before and half from after. Ignored while an earlier trigger is held.
	 * @param code event code, not 0
	 */
	trigger(code: number): void {
		if (this.triggerCode !== 0) return;
		this.triggerCode = code;
		this.rowsAfterTrigger = 0;
		this.#followingRows = Math.floor(this.#capacityRows / 2);
	}

	/** The capture was read; the ring runs again. */
	release(): void {
		this.triggerCode = 0;
		this.#frozen = false;
		this.#rows = 0;
	}

	/**
	 * Writes the last two cycles (all of a triggered capture), decimated to fit, row by row as int16 big-endian.
	 * @param into from `offset` on, at least 2 × channelCount × rowsMax bytes
	 * @returns rows written; `captureRateMillihertz` tells their rate
	 */
	captureInto(into: DataView, offset: number, rowsMax: number): number {
		const wanted = this.#frozen ? this.#rows : Math.min(this.#rows, Math.ceil((2 * this.#rate) / LOWEST_HERTZ));
		if (wanted === 0) return 0;
		const step = Math.ceil(wanted / rowsMax);
		const rows = Math.floor(wanted / step);
		const bytes = this.#bytes;
		const size = this.#sampleBytes;
		let at = offset;
		for (let r = 0; r < rows; r++) {
			// the newest row is the last one written
			let from = bytes.length - ((rows - 1 - r) * step + 1) * this.#rowBytes + size - 2;
			for (let c = 0; c < this.channelCount; c++, from += size, at += 2) {
				into.setUint8(at, bytes[from + 1]!);
				into.setUint8(at + 1, bytes[from]!);
			}
		}
		this.captureRateMillihertz = Math.round((this.#rate * 1000) / step);
		return rows;
	}
}
