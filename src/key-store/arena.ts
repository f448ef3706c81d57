import { InvariantError } from "../bytes/status.js";

/**
 * One array for every secret of its owner, made once, cut into slots that never move and are overwritten in place. A
 * copy elsewhere could be left behind by the garbage collector, so nobody slices it or makes a string of it.
 */
export class Arena {
	readonly bytes: Uint8Array;
	#used = 0;

	constructor(byteLength: number) {
		this.bytes = new Uint8Array(byteLength);
	}

	/** How many bytes are given out. */
	get usedBytes(): number {
		return this.#used;
	}

	/** Gives out the next `byteLength` bytes, once and for good. @returns where they start */
	slot(byteLength: number): number {
		const offset = this.#used;
		if (!(byteLength > 0 && offset + byteLength <= this.bytes.length)) throw new InvariantError("arena is full");
		this.#used = offset + byteLength;
		return offset;
	}

	wipe(offset: number, byteLength: number): void {
		this.bytes.fill(0, offset, offset + byteLength);
	}

	copy(into: number, from: number, byteLength: number): void {
		this.bytes.copyWithin(into, from, from + byteLength);
	}
}
