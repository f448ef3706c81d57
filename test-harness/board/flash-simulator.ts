import { Status } from "../../src/bytes/status.js";
import type { NorFlash } from "../../src/platform/flash.js";

/** Thrown out of the flash call in which power failed, and by every later call until `restart`. */
export class PowerCut extends Error {
	override name = "PowerCut";
}

/** Bits of the one half-programmed byte that made it into flash: the even ones (docs/BOARD.md, powerCut). */
const HALF_PROGRAMMED = 0x55;

export interface FlashSimulatorOptions {
	readonly sectorBytes?: number;
	readonly sectorCount?: number;
	/** Of scattered tears and injected bit flips; nothing else is random. */
	readonly seed?: number;
	/** Content at first; absent or short: the rest is 0xFF. */
	readonly image?: Uint8Array;
	/** Smallest unit the chip may be written in, and alignment of it; a breach throws `RangeError` (a bug of ours). */
	readonly writeBytes?: number;
	/** Refuse to program a byte that is not 0xFF (flash encryption, flash with error correction): throws `RangeError`. */
	readonly writeOnce?: boolean;
	/**
	 * `prefix`: exactly docs/BOARD.md. `scattered`: any subset of the bits of the running operation is done, as a real
	 * chip may leave it: pages are not programmed in order, an erase leaves any mixture of old bits, ones and zeros.
	 */
	readonly tear?: "prefix" | "scattered";
}

/** Counts since construction or `resetCounters`. */
export class FlashCounters {
	reads = 0;
	bytesRead = 0;
	programs = 0;
	bytesProgrammed = 0;
	erases = 0;
}

/**
 * Raw NOR flash in memory: erase sets to ones, program ANDs, power can fail inside any operation, wear is counted.
 * Survives its firmware: after a cut, call `restart` and open the stores again on the same object.
 */
export class FlashSimulator implements NorFlash {
	readonly sectorBytes: number;
	readonly sectorCount: number;
	readonly counters = new FlashCounters();
	/** Erases of each sector since the simulator was made; an interrupted one counts. */
	readonly wear: Uint32Array;
	/** Programs and erases since construction, the cut one included. */
	operations = 0;
	/** Power failed and `restart` has not been called. */
	off = false;
	readonly #bytes: Uint8Array;
	readonly #writeBytes: number;
	readonly #writeOnce: boolean;
	readonly #scattered: boolean;
	#random: number;
	#operationsUntilCut = 0;
	#tornBytes = 0;

	constructor(options: FlashSimulatorOptions = {}) {
		this.sectorBytes = options.sectorBytes ?? 4096;
		this.sectorCount = options.sectorCount ?? 256;
		this.#writeBytes = options.writeBytes ?? 1;
		this.#writeOnce = options.writeOnce ?? false;
		this.#scattered = options.tear === "scattered";
		this.#random = (options.seed ?? 1) >>> 0;
		this.wear = new Uint32Array(this.sectorCount);
		this.#bytes = new Uint8Array(this.sectorBytes * this.sectorCount).fill(0xff);
		if (options.image !== undefined) this.#bytes.set(options.image.subarray(0, this.#bytes.length));
	}

	/** A copy of the whole content. */
	get image(): Uint8Array {
		return this.#bytes.slice();
	}

	set image(image: Uint8Array) {
		this.#bytes.fill(0xff);
		this.#bytes.set(image);
	}

	/**
	 * Power fails inside the n-th program or erase from now.
	 * @param flashOperations 1: the next; 0: at once, before any
	 * @param tornBytes of a program: bytes done, then one with half of its bits; of an erase: first bytes that are 0xFF
	 */
	powerCut(flashOperations: number, tornBytes: number): void {
		this.#operationsUntilCut = flashOperations;
		this.#tornBytes = tornBytes;
		if (flashOperations === 0) this.off = true;
	}

	/** Power is back; no cut is armed. */
	restart(): this {
		this.off = false;
		this.#operationsUntilCut = 0;
		return this;
	}

	resetCounters(): void {
		Object.assign(this.counters, new FlashCounters());
	}

	read(address: number, into: Uint8Array, byteLength: number): Status {
		this.#check(address, into, byteLength);
		this.counters.reads++;
		this.counters.bytesRead += byteLength;
		into.set(this.#bytes.subarray(address, address + byteLength));
		return Status.ok;
	}

	program(address: number, from: Uint8Array, byteLength: number): Status {
		this.#check(address, from, byteLength);
		if (address % this.#writeBytes !== 0 || byteLength % this.#writeBytes !== 0 || byteLength === 0)
			throw new RangeError(`program of ${byteLength} bytes at ${address} is not in units of ${this.#writeBytes}`);
		const bytes = this.#bytes;
		if (this.#writeOnce)
			for (let i = 0; i < byteLength; i++)
				if (bytes[address + i] !== 0xff) throw new RangeError(`byte ${address + i} is programmed twice`);
		this.counters.programs++;
		this.counters.bytesProgrammed += byteLength;
		if (!this.#cutsNow()) {
			for (let i = 0; i < byteLength; i++) bytes[address + i]! &= from[i]!;
			return Status.ok;
		}
		if (this.#scattered) {
			for (let i = 0; i < byteLength; i++) bytes[address + i]! &= from[i]! | this.#randomBits();
		} else {
			const done = Math.min(this.#tornBytes, byteLength);
			for (let i = 0; i < done; i++) bytes[address + i]! &= from[i]!;
			if (done < byteLength) bytes[address + done]! &= from[done]! | (0xff ^ HALF_PROGRAMMED);
		}
		throw new PowerCut(`in a program of ${byteLength} bytes at ${address}`);
	}

	erase(sectorIndex: number): Status {
		if (this.off) throw new PowerCut("off");
		if (!Number.isInteger(sectorIndex) || sectorIndex < 0 || sectorIndex >= this.sectorCount)
			throw new RangeError(`no sector ${sectorIndex}`);
		this.counters.erases++;
		this.wear[sectorIndex]!++;
		const start = sectorIndex * this.sectorBytes;
		if (!this.#cutsNow()) {
			this.#bytes.fill(0xff, start, start + this.sectorBytes);
			return Status.ok;
		}
		if (this.#scattered) {
			// A chip programs all to zero first, then erases: old bits, zeros and ones in any mixture, one phase per cut.
			const zeroing = this.#randomBits() < 64;
			for (let i = start; i < start + this.sectorBytes; i++)
				if (zeroing) this.#bytes[i]! &= this.#randomBits();
				else this.#bytes[i]! |= this.#randomBits();
		} else {
			this.#bytes.fill(0xff, start, start + Math.min(this.#tornBytes, this.sectorBytes));
		}
		throw new PowerCut(`in the erase of sector ${sectorIndex}`);
	}

	/** Inverts `count` bits at places chosen by the seed, in `byteLength` bytes from `address`. */
	flipBits(count: number, address = 0, byteLength = this.#bytes.length - address): void {
		for (let i = 0; i < count; i++) {
			const place = address + Math.floor((this.#next() / 0x1_0000_0000) * byteLength);
			this.#bytes[place]! ^= 1 << (this.#next() & 7);
		}
	}

	#cutsNow(): boolean {
		this.operations++;
		if (this.#operationsUntilCut === 0) return false;
		this.#operationsUntilCut--;
		this.off = this.#operationsUntilCut === 0;
		return this.off;
	}

	#check(address: number, bytes: Uint8Array, byteLength: number): void {
		if (this.off) throw new PowerCut("off");
		if (!(address >= 0 && byteLength >= 0 && byteLength <= bytes.length && address + byteLength <= this.#bytes.length))
			throw new RangeError(`flash access of ${byteLength} bytes at ${address}`);
	}

	/** xorshift32 with a golden-ratio step, so that seed 0 works too. */
	#next(): number {
		this.#random = (this.#random + 0x9e37_79b9) >>> 0;
		let x = this.#random;
		x = Math.imul(x ^ (x >>> 16), 0x21f0_aaad);
		x = Math.imul(x ^ (x >>> 15), 0x735a_2d97);
		return (x ^ (x >>> 15)) >>> 0;
	}

	#randomBits(): number {
		return this.#next() & 0xff;
	}
}
