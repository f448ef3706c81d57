import type { SerialIo } from "./io.js";

/** The bytes last received on a serial line, in which a driver looks for its frame. Two chunks. */
export class SerialWindow {
	readonly bytes: Uint8Array;
	length = 0;
	readonly #scratch: Uint8Array;

	/** @param capacity at least the longest frame */
	constructor(capacity: number) {
		this.bytes = new Uint8Array(capacity);
		this.#scratch = new Uint8Array(capacity);
	}

	/** Appends what was received; when there is more than room, the oldest bytes go. @returns bytes taken, 0: none left */
	fill(serial: SerialIo): number {
		const count = serial.read(this.#scratch) ?? 0;
		if (count > this.bytes.length - this.length) this.drop(count - (this.bytes.length - this.length));
		for (let i = 0; i < count; i++) this.bytes[this.length++] = this.#scratch[i]!;
		return count;
	}

	/** Forgets the first `count` bytes. */
	drop(count: number): void {
		this.bytes.copyWithin(0, count, this.length);
		this.length -= count;
	}
}
