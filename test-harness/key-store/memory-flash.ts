import { Status } from "../../src/bytes/status.js";
import type { NorFlash } from "../../src/platform/flash.js";

/** Flash in an array, without faults, for engines where nothing of Node is at hand. */
export class MemoryFlash implements NorFlash {
	readonly sectorBytes: number;
	readonly sectorCount: number;
	readonly bytes: Uint8Array;

	constructor(sectorBytes: number, sectorCount: number) {
		this.sectorBytes = sectorBytes;
		this.sectorCount = sectorCount;
		this.bytes = new Uint8Array(sectorBytes * sectorCount).fill(0xff);
	}

	read(address: number, into: Uint8Array, byteLength: number): Status {
		into.set(this.bytes.subarray(address, address + byteLength));
		return Status.ok;
	}

	/** Bits are only cleared where something was written before; the journal never does that, so it is a bug here. */
	program(address: number, from: Uint8Array, byteLength: number): Status {
		if (this.bytes[address] !== 0xff || this.bytes[address + byteLength - 1] !== 0xff) return Status.notErased;
		this.bytes.set(from.subarray(0, byteLength), address);
		return Status.ok;
	}

	erase(sectorIndex: number): Status {
		this.bytes.fill(0xff, sectorIndex * this.sectorBytes, (sectorIndex + 1) * this.sectorBytes);
		return Status.ok;
	}
}
