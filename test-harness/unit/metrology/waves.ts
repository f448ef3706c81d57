import { Metrology, type MetrologyConfiguration } from "../../../src/metrology/metrology.js";
import { createSampleKernel } from "../../../src/metrology/sample-kernel.js";
import { rowBytes, type SampleLayout } from "../../../src/platform/sample-kernel.js";

/** One phase of a test wave; angles in degrees. */
export interface Wave {
	volts?: number;
	amperes?: number;
	/** Current behind voltage. */
	phi?: number;
	/** Voltage behind L1; absent: 0, 120, 240. */
	angle?: number;
	/** Half of each cycle of the current only. */
	halfWave?: boolean;
	dcAmperes?: number;
	/** Order, ratio. */
	voltageHarmonics?: readonly (readonly [number, number])[];
	currentHarmonics?: readonly (readonly [number, number])[];
}

export const TEST_LAYOUT: SampleLayout = {
	phaseCount: 3,
	neutralCurrent: true,
	sampleBytes: 2,
	samplesPerSecond: 4000,
};
const FULL_VOLTS = 450;
const FULL_AMPERES = 110;

export function testConfiguration(
	layout: SampleLayout,
	change: Partial<MetrologyConfiguration> = {},
): MetrologyConfiguration {
	const full = layout.sampleBytes === 2 ? 0x8000 : 0x80_0000;
	return {
		layout,
		nominalVoltageMillivolts: 230_000,
		nominalFrequencyMillihertz: 50_000,
		baseCurrentMilliamperes: 5000,
		maximumCurrentMilliamperes: 60_000,
		voltageMillivoltsPerCode: { numerator: FULL_VOLTS * 1000, denominator: full },
		currentMilliamperesPerCode: { numerator: FULL_AMPERES * 1000, denominator: full },
		removeMean: false,
		nettingMode: "vectorSum",
		pulsesPerKilowattHour: 1000,
		...change,
	};
}

/** A meter on a bench: waves in, seconds out. */
export class Bench {
	readonly layout: SampleLayout;
	readonly metrology: Metrology;
	frequency = 50;
	/** Sum of the phases unless set; A, with its angle behind U1. */
	neutral: { amperes: number; phi: number } | undefined;
	waves: Wave[] = [];
	row = 0;
	/** Called with each block before it is fed. */
	onBlock: ((block: Uint8Array, rows: number) => void) | undefined;
	readonly #block: Uint8Array;

	constructor(layout: SampleLayout = TEST_LAYOUT, change: Partial<MetrologyConfiguration> = {}) {
		this.layout = layout;
		this.metrology = new Metrology(createSampleKernel(layout), testConfiguration(layout, change));
		this.#block = new Uint8Array(200 * rowBytes(layout));
	}

	get seconds(): number {
		return this.row / this.layout.samplesPerSecond;
	}

	get milliseconds(): number {
		return 1000 * this.seconds;
	}

	run(seconds: number): void {
		const { layout } = this;
		const until = this.row + Math.round(seconds * layout.samplesPerSecond);
		while (this.row < until) {
			const rows = Math.min(200, until - this.row);
			const block = rows === 200 ? this.#block : new Uint8Array(rows * rowBytes(layout));
			this.#fill(block, rows);
			this.onBlock?.(block, rows);
			this.metrology.feed(block, rows);
		}
	}

	#fill(block: Uint8Array, rows: number): void {
		const { layout } = this;
		const full = layout.sampleBytes === 2 ? 0x8000 : 0x80_0000;
		let at = 0;
		const put = (share: number): void => {
			const code = Math.max(-full, Math.min(full - 1, Math.round(share * full)));
			for (let b = 0; b < layout.sampleBytes; b++) block[at++] = code >> (8 * b);
		};
		for (let r = 0; r < rows; r++, this.row++) {
			const turn = 2 * Math.PI * this.frequency * (this.row / layout.samplesPerSecond);
			let neutral = 0;
			for (let p = 0; p < layout.phaseCount; p++) {
				const wave = this.waves[p] ?? {};
				const x = turn - ((wave.angle ?? p * 120) * Math.PI) / 180;
				let u = Math.sin(x);
				for (const [order, ratio] of wave.voltageHarmonics ?? []) u += ratio * Math.sin(order * x);
				const y = x - ((wave.phi ?? 0) * Math.PI) / 180;
				let i = Math.sin(y);
				if (wave.halfWave) i = Math.max(0, i);
				for (const [order, ratio] of wave.currentHarmonics ?? []) i += ratio * Math.sin(order * y);
				const amperes = Math.SQRT2 * (wave.amperes ?? 0) * i + (wave.dcAmperes ?? 0);
				neutral += amperes;
				put((Math.SQRT2 * (wave.volts ?? 230) * u) / FULL_VOLTS);
				put(amperes / FULL_AMPERES);
			}
			if (!layout.neutralCurrent) continue;
			const given = this.neutral;
			if (given) neutral = Math.SQRT2 * given.amperes * Math.sin(turn - (given.phi * Math.PI) / 180);
			put(neutral / FULL_AMPERES);
		}
	}
}
