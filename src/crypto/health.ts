/** Bytes of one window of the adaptive proportion test. */
const WINDOW = 512;

/**
 * Entropy that each byte of the source is taken to have at least. Hosts promise whitened bytes (radio noise, getrandom);
 * half of the full 8 bits leaves room for a source that is worse than its data sheet.
 */
export const MIN_ENTROPY_BITS_PER_BYTE = 4;

/** 1 + ⌈30 / 4⌉: so many equal bytes in a row come by chance once in 2^30 bytes. @see SP 800-90B section 4.4.1 */
export const REPETITION_CUTOFF = 9;

/** 1 + the 1 - 2^-30 quantile of the binomial distribution of 512 and 2^-4. @see SP 800-90B section 4.4.2 */
export const PROPORTION_CUTOFF = 71;

/**
 * The two continuous tests of a noise source, byte by byte: repetition count and adaptive proportion. They find a source
 * that is stuck or grossly biased, not one that an attacker has replaced by a good generator of his own.
 */
export class HealthTests {
	#last = -1;
	#repetitions = 0;
	#sample = -1;
	#windowCount = 0;
	#sampleCount = 0;
	#hasFailed = false;

	/** True from the first failure on. */
	get hasFailed(): boolean {
		return this.#hasFailed;
	}

	/** Takes bytes in the order in which the source gave them. @returns false once a test has failed, now or before */
	check(bytes: Uint8Array, byteLength: number): boolean {
		for (let i = 0; i < byteLength; i++) {
			const byte = bytes[i]!;
			if (byte === this.#last) {
				if (++this.#repetitions >= REPETITION_CUTOFF) this.#hasFailed = true;
			} else {
				this.#last = byte;
				this.#repetitions = 1;
			}
			if (this.#windowCount === 0) {
				this.#sample = byte;
				this.#sampleCount = 1;
			} else if (byte === this.#sample && ++this.#sampleCount >= PROPORTION_CUTOFF) this.#hasFailed = true;
			if (++this.#windowCount === WINDOW) this.#windowCount = 0;
		}
		return !this.#hasFailed;
	}

	/** Forgets the bytes it remembers; a failure stays. */
	forget(): void {
		this.#last = -1;
		this.#repetitions = 0;
		this.#sample = -1;
		this.#windowCount = 0;
		this.#sampleCount = 0;
	}
}
