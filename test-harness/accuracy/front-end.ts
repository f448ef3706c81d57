import type { ChannelCalibration } from "../../src/metrology/metrology.js";
import { rowBytes, type SampleLayout } from "../../src/platform/sample-kernel.js";
import { angleAt, currentAt, type Stimulus, voltageAt } from "./generator.js";

/** Deterministic numbers, 0 to 1: mulberry32. */
export function randomNumbers(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b_79f5) >>> 0;
		let t = Math.imul(state ^ (state >>> 15), state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
	};
}

/** What a board does to the world: one for each channel. */
export interface ChannelFlaws {
	/** Codes at 0 V or 0 A. */
	readonly offsetCodes: number;
	/** Codes per code of an ideal channel. */
	readonly gain: number;
	/** The sample shows the signal this much later than it says, s. */
	readonly skewSeconds: number;
	/** RMS. */
	readonly noiseCodes: number;
}

/**
 * A virtual converter: signals to integer codes with gain, offset, skew, noise, jitter, clipping and quantisation, in the
 * bytes that a driver would hand over. The meter is calibrated against it as in production: with what the calibration
 * values can express.
 */
export class VirtualFrontEnd {
	readonly layout: SampleLayout;
	readonly flaws: readonly ChannelFlaws[];
	/** Peak of full scale, V and A. */
	readonly fullScaleVolts: number;
	readonly fullScaleAmperes: number;
	readonly #codeMaximum: number;
	readonly #random: () => number;
	readonly #jitterSeconds: number;
	row = 0;

	constructor(options: {
		layout: SampleLayout;
		fullScaleVolts: number;
		fullScaleAmperes: number;
		seed: number;
		/** All flaws zero. */
		ideal?: boolean;
		noiseCodes?: number;
		jitterSeconds?: number;
	}) {
		this.layout = options.layout;
		this.fullScaleVolts = options.fullScaleVolts;
		this.fullScaleAmperes = options.fullScaleAmperes;
		this.#codeMaximum = options.layout.sampleBytes === 2 ? 0x7fff : 0x7f_ffff;
		this.#random = randomNumbers(options.seed);
		this.#jitterSeconds = options.jitterSeconds ?? 0;
		const channels = rowBytes(options.layout) / options.layout.sampleBytes;
		const random = this.#random;
		const wide = options.layout.sampleBytes === 2 ? 1 : 256;
		this.flaws = Array.from({ length: channels }, () =>
			options.ideal
				? { offsetCodes: 0, gain: 1, skewSeconds: 0, noiseCodes: options.noiseCodes ?? 0 }
				: {
						offsetCodes: Math.round((random() - 0.5) * 40 * wide),
						gain: 1 + (random() - 0.5) * 0.04,
						skewSeconds: Math.round((random() - 0.5) * 40_000) * 1e-9,
						noiseCodes: options.noiseCodes ?? 0.5,
					},
		);
	}

	get millivoltsPerCode(): { numerator: number; denominator: number } {
		return { numerator: Math.round(this.fullScaleVolts * 1000), denominator: this.#codeMaximum + 1 };
	}

	get milliamperesPerCode(): { numerator: number; denominator: number } {
		return { numerator: Math.round(this.fullScaleAmperes * 1000), denominator: this.#codeMaximum + 1 };
	}

	/** What calibration would find. */
	calibration(): ChannelCalibration[] {
		return this.flaws.map(({ offsetCodes, gain, skewSeconds }) => ({
			offsetCodes,
			gainQ24: Math.round(0x100_0000 / gain),
			delayNanoseconds: Math.round(skewSeconds * 1e9),
		}));
	}

	/** Two uniform numbers are noise enough; variance 1. */
	#noise(): number {
		return (this.#random() + this.#random() - 1) * Math.sqrt(6);
	}

	/** Writes the codes of the next rows. @returns rows that clipped */
	read(stimulus: Stimulus, into: Uint8Array, rows: number, codes?: Int32Array): number {
		const { layout, flaws } = this;
		const size = layout.sampleBytes;
		const limit = this.#codeMaximum;
		const channels = flaws.length;
		const phases = layout.phaseCount;
		const perVolt = (limit + 1) / this.fullScaleVolts;
		const perAmpere = (limit + 1) / this.fullScaleAmperes;
		let at = 0;
		let clipped = 0;
		for (let r = 0; r < rows; r++, this.row++) {
			const jitter = this.#jitterSeconds === 0 ? 0 : this.#jitterSeconds * this.#noise();
			const time = this.row / layout.samplesPerSecond + jitter;
			let neutral = 0;
			for (let c = 0; c < channels; c++) {
				const flaw = flaws[c]!;
				const angle = angleAt(stimulus, time + flaw.skewSeconds);
				let value = 0;
				if (c < 2 * phases) {
					const phase = stimulus.phases[c >> 1]!;
					if (c % 2 === 0) value = voltageAt(phase, angle) * perVolt;
					else {
						const amperes = currentAt(phase, angle);
						neutral += amperes;
						value = amperes * perAmpere;
					}
				} else value = neutral * perAmpere;
				const noise = flaw.noiseCodes === 0 ? 0 : flaw.noiseCodes * this.#noise();
				let code = Math.round(value * flaw.gain + flaw.offsetCodes + noise);
				if (code > limit || code < -limit - 1) {
					code = code > 0 ? limit : -limit - 1;
					clipped++;
				}
				if (codes) codes[r * channels + c] = code;
				into[at++] = code;
				into[at++] = code >> 8;
				if (size === 3) into[at++] = code >> 16;
			}
		}
		return clipped;
	}
}
