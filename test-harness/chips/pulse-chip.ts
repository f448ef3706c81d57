import type { DigitalIo, PulseCountIo, PulseCountIoOptions } from "../../src/front-end/io.js";
import type { PulseChip } from "../../src/front-end/pulse-meter.js";
import type { Device } from "./bench.js";
import { IllegalAccess } from "./illegal-access.js";
import type { Mains } from "./mains.js";

/** CF1 runs at neither rate for so long after SEL changed. */
const SETTLE_MILLISECONDS = 900;

/** HLW8012 or BL0937: pulses of CF and CF1, seen through pulse counters of a host that wrap. */
export class PulseChipModel implements Device {
	/** Pulses that the mains' disturbances make on CF, added by a test. */
	noisePulses = 0;
	readonly #mains: Mains;
	readonly #chip: PulseChip;
	readonly #shuntOhms: number;
	readonly #ratio: number;
	readonly #modulus: number;
	#cf = 0;
	#cf1 = 0;
	#isVoltage = false;
	#wasSelected = false;
	#selectedAt = 0;
	#atMilliseconds = 0;

	constructor(mains: Mains, chip: PulseChip, shuntMicroohms: number, ratio: number, modulus = 2 ** 32) {
		this.#mains = mains;
		this.#chip = chip;
		this.#shuntOhms = shuntMicroohms / 1e6;
		this.#ratio = ratio;
		this.#modulus = modulus;
	}

	get power(): new (
		options: PulseCountIoOptions,
	) => PulseCountIo {
		return this.#counter(() => this.#cf + this.noisePulses);
	}

	get rms(): new (
		options: PulseCountIoOptions,
	) => PulseCountIo {
		return this.#counter(() => this.#cf1);
	}

	get select(): new () => DigitalIo {
		const model = this;
		return class {
			write(value: 0 | 1): void {
				if (value !== 0 && value !== 1) throw new IllegalAccess("SEL is 0 or 1");
				model.#isVoltage = value === model.#chip.selectVoltage;
				model.#selectedAt = model.#atMilliseconds;
				model.#wasSelected = true;
			}
			close(): void {}
		};
	}

	setCounter(count: number): void {
		this.#cf = count;
		this.#cf1 = count;
	}

	advance(nowMilliseconds: number): void {
		const seen = this.#mains.seen(0);
		const from = this.#atMilliseconds;
		this.#atMilliseconds = nowMilliseconds;
		const seconds = (nowMilliseconds - from) / 1000;
		const pinAmperes = seen.amperes * this.#shuntOhms;
		const pinVolts = seen.volts / this.#ratio;
		const perWatt = this.#shuntOhms / this.#ratio;
		this.#cf += Math.abs(seen.watts) * perWatt * this.#chip.powerHertz * seconds;
		if (!this.#wasSelected) return;
		const settled = Math.max(0, nowMilliseconds - Math.max(from, this.#selectedAt + SETTLE_MILLISECONDS)) / 1000;
		const rate = this.#isVoltage ? pinVolts * this.#chip.voltageHertz : pinAmperes * this.#chip.currentHertz;
		// while it settles: something in between
		this.#cf1 += rate * settled + 0.5 * rate * (seconds - settled);
	}

	deadlineMilliseconds(): number {
		return Number.POSITIVE_INFINITY;
	}

	#counter(pulses: () => number): new (options: PulseCountIoOptions) => PulseCountIo {
		const modulus = this.#modulus;
		return class {
			read(): number {
				const count = Math.floor(pulses()) % modulus;
				// a signed 32-bit counter, as hosts have it
				return modulus === 2 ** 32 ? count | 0 : count;
			}
			close(): void {}
		};
	}
}
