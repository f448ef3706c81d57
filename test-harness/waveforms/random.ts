/**
 * Seeded generator (sfc32 of Chris Doty-Humphrey, PractRand): the same numbers on every machine. A world makes one
 * per concern (`child`), so that a new draw in one place does not move the others.
 */
export class Random {
	#a: number;
	#b: number;
	#c: number;
	#counter = 1;

	/** @param seed 0 to 2^32 - 1; @param name separates generators of one seed */
	constructor(seed: number, name = "") {
		let hash = 0x811c_9dc5; // FNV-1a
		for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x0100_0193);
		this.#a = seed | 0;
		this.#b = hash | 0;
		this.#c = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) | 0;
		for (let i = 0; i < 16; i++) this.uint32();
	}

	uint32(): number {
		const result = (this.#a + this.#b + this.#counter) | 0;
		this.#counter = (this.#counter + 1) | 0;
		this.#a = this.#b ^ (this.#b >>> 9);
		this.#b = (this.#c + (this.#c << 3)) | 0;
		this.#c = ((this.#c << 21) | (this.#c >>> 11)) + result;
		this.#c |= 0;
		return result >>> 0;
	}

	/** 0 inclusive to 1 exclusive. */
	unit(): number {
		return this.uint32() / 0x1_0000_0000;
	}

	between(minimum: number, maximum: number): number {
		return minimum + (maximum - minimum) * this.unit();
	}

	/** An integer, both ends included. */
	integer(minimum: number, maximum: number): number {
		return minimum + Math.floor(this.unit() * (maximum - minimum + 1));
	}

	chance(probability: number): boolean {
		return this.unit() < probability;
	}

	pick<T>(from: readonly T[]): T {
		return from[this.integer(0, from.length - 1)]!;
	}

	/** Waiting time of a Poisson process. */
	exponential(mean: number): number {
		return -mean * Math.log(1 - this.unit());
	}

	bytes(into: Uint8Array): Uint8Array {
		for (let i = 0; i < into.length; i++) into[i] = this.uint32() >>> 24;
		return into;
	}

	child(name: string): Random {
		return new Random(this.uint32(), name);
	}
}
