import { closeSync, existsSync, openSync, readSync, writeSync } from "node:fs";

/** A run of content that is not erased. */
export interface FlashPiece {
	readonly address: number;
	readonly bytes: Uint8Array;
}

/**
 * The flash chip of a virtual board: NOR content that outlives the machine in front of it. Sectors that were never
 * programmed take no memory, so a thousand boards of 1 MiB fit. With a file behind it every operation is written
 * through at once, as a chip would: a process that is killed loses nothing.
 */
export class SparseFlash {
	readonly sectorBytes: number;
	readonly sectorCount: number;
	/** Operations and bytes since the board was made. */
	programs = 0;
	programmedBytes = 0;
	erases = 0;
	readonly #sectors: (Uint8Array | undefined)[];
	#file = -1;

	constructor(sectorBytes: number, sectorCount: number) {
		this.sectorBytes = sectorBytes;
		this.sectorCount = sectorCount;
		this.#sectors = new Array<Uint8Array | undefined>(sectorCount).fill(undefined);
	}

	/** Reads the content from `path` if it exists, and keeps it there from now on. */
	attachFile(path: string): void {
		const isThere = existsSync(path);
		this.#file = openSync(path, isThere ? "r+" : "w+");
		if (!isThere) return;
		for (let index = 0; index < this.sectorCount; index++) {
			const sector = new Uint8Array(this.sectorBytes);
			const count = readSync(this.#file, sector, 0, this.sectorBytes, index * this.sectorBytes);
			// a hole in the file reads as zeros: a whole sector of zeros was never written by a log with CRCs
			if (count === this.sectorBytes && sector.some((byte) => byte !== 0)) this.#sectors[index] = sector;
		}
	}

	closeFile(): void {
		if (this.#file !== -1) closeSync(this.#file);
		this.#file = -1;
	}

	read(address: number, into: Uint8Array, byteLength: number): void {
		for (let done = 0; done < byteLength; ) {
			const offset = (address + done) % this.sectorBytes;
			const count = Math.min(byteLength - done, this.sectorBytes - offset);
			const sector = this.#sectors[Math.floor((address + done) / this.sectorBytes)];
			if (sector === undefined) into.fill(0xff, done, done + count);
			else for (let i = 0; i < count; i++) into[done + i] = sector[offset + i]!;
			done += count;
		}
	}

	/** Clears bits: old AND new. */
	program(address: number, bytes: Uint8Array): void {
		this.programs++;
		this.programmedBytes += bytes.length;
		for (let done = 0; done < bytes.length; ) {
			const index = Math.floor((address + done) / this.sectorBytes);
			const offset = (address + done) % this.sectorBytes;
			const count = Math.min(bytes.length - done, this.sectorBytes - offset);
			const sector = this.#materialise(index);
			for (let i = 0; i < count; i++) sector[offset + i]! &= bytes[done + i]!;
			if (this.#file !== -1) writeSync(this.#file, sector, offset, count, index * this.sectorBytes + offset);
			done += count;
		}
	}

	/** Power fails in a program: `tornBytes` bytes are done, then one byte with its even bits only (docs/BOARD.md). */
	tearProgram(address: number, bytes: Uint8Array, tornBytes: number): void {
		const torn = bytes.slice(0, Math.min(bytes.length, tornBytes + 1));
		if (tornBytes < torn.length) torn[tornBytes]! |= 0xaa;
		this.program(address, torn);
	}

	erase(sectorIndex: number): void {
		this.tearErase(sectorIndex, this.sectorBytes);
	}

	/** Power fails in an erase: the first `tornBytes` bytes are 0xFF. */
	tearErase(sectorIndex: number, tornBytes: number): void {
		this.erases++;
		const sector = this.#sectors[sectorIndex];
		if (sector === undefined) return;
		sector.fill(0xff, 0, tornBytes);
		if (this.#file !== -1) writeSync(this.#file, sector, 0, this.sectorBytes, sectorIndex * this.sectorBytes);
		if (tornBytes >= this.sectorBytes) this.#sectors[sectorIndex] = undefined;
	}

	/** Everything that is not 0xFF, in pieces of at most `pieceBytes`, for the target at power-on. */
	*pieces(pieceBytes = 1024): Generator<FlashPiece> {
		for (let index = 0; index < this.sectorCount; index++) {
			const sector = this.#sectors[index];
			if (sector === undefined) continue;
			for (let offset = 0; offset < this.sectorBytes; offset += pieceBytes) {
				const piece = sector.subarray(offset, offset + pieceBytes);
				if (piece.some((byte) => byte !== 0xff)) yield { address: index * this.sectorBytes + offset, bytes: piece };
			}
		}
	}

	#materialise(index: number): Uint8Array {
		let sector = this.#sectors[index];
		if (sector === undefined) {
			if (index >= this.sectorCount) throw new RangeError(`no flash sector ${index}`);
			sector = new Uint8Array(this.sectorBytes).fill(0xff);
			this.#sectors[index] = sector;
			if (this.#file !== -1) writeSync(this.#file, sector, 0, this.sectorBytes, index * this.sectorBytes);
		}
		return sector;
	}
}
