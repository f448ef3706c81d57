import type { Device } from "./bench.js";
import type { Mains } from "./mains.js";
import type { SerialLine, SerialPeer } from "./serial-line.js";

/** 24 bytes of 11 bits at 4800 baud take 55 ms; the gap behind them is our assumption. */
const PERIOD_MILLISECONDS = 60;

export interface Cse7766Coefficients {
	readonly voltage: number;
	readonly current: number;
	readonly power: number;
}

/** Of the order that such chips are made with. */
export const TYPICAL_COEFFICIENTS: Cse7766Coefficients = { voltage: 191_200, current: 16_140, power: 5_364_000 };

/** CSE7766 with 1 mΩ and 1 MΩ : 1 kΩ, which tells what it measures over and over, from its user manual's frame. */
export class Cse7766Chip implements SerialPeer, Device {
	readonly baud = 4800;
	readonly parity = "even";
	coefficients: Cse7766Coefficients;
	/** Below it, W, the power cycle is out of range and CF stands. */
	startWatts = 4;
	isPowered = true;
	isCalibrated = true;
	frameCount = 0;
	readonly #mains: Mains;
	readonly #line: SerialLine;
	readonly #periodMilliseconds: number;
	#pulses = 0;
	#atMilliseconds = 0;
	#frameAt = PERIOD_MILLISECONDS;
	readonly #frame = new Uint8Array(24);

	constructor(
		mains: Mains,
		line: SerialLine,
		coefficients = TYPICAL_COEFFICIENTS,
		periodMilliseconds = PERIOD_MILLISECONDS,
	) {
		this.#mains = mains;
		this.#line = line;
		this.coefficients = coefficients;
		this.#periodMilliseconds = periodMilliseconds;
		line.connect(this);
	}

	reset(): void {
		this.#pulses = 0;
	}

	setCounter(count: number): void {
		this.#pulses = count;
	}

	/** Its pin RX has no function. */
	receive(): void {
		this.#line.illegal("CSE7766: nothing is ever sent to it");
	}

	advance(nowMilliseconds: number): void {
		while (this.#frameAt <= nowMilliseconds) {
			this.#integrate(this.#frameAt);
			if (this.isPowered) this.#send(this.#frameAt);
			this.#frameAt += this.#periodMilliseconds;
		}
		this.#integrate(nowMilliseconds);
	}

	deadlineMilliseconds(): number {
		return this.#frameAt;
	}

	#watts(): number {
		const watts = Math.abs(this.#mains.seen(0).watts);
		return watts < this.startWatts ? 0 : watts;
	}

	#integrate(nowMilliseconds: number): void {
		const seconds = (nowMilliseconds - this.#atMilliseconds) / 1000;
		this.#atMilliseconds = nowMilliseconds;
		if (this.isPowered) this.#pulses += (this.#watts() * seconds) / (this.coefficients.power * 1e-6);
	}

	#send(nowMilliseconds: number): void {
		const { voltage, current, power } = this.coefficients;
		const seen = this.#mains.seen(0);
		const watts = this.#watts();
		const frame = this.#frame;
		const put = (value: number, at: number): void => {
			frame[at] = value >> 16;
			frame[at + 1] = value >> 8;
			frame[at + 2] = value;
		};
		const cycle = (coefficient: number, value: number): number =>
			Math.max(1, Math.min(0xff_ffff, Math.round(coefficient / value)));
		let state = 0x55;
		if (!this.isCalibrated) state = 0xaa;
		else if (watts === 0) state = seen.volts < 10 ? 0xfe : 0xf6;
		frame[0] = state;
		frame[1] = 0x5a;
		put(voltage, 2);
		put(cycle(voltage, Math.max(seen.volts, 0.02)), 5);
		put(current, 8);
		put(cycle(current, Math.max(seen.amperes, 0.001)), 11);
		put(power, 14);
		put(watts === 0 ? 0xff_ffff : cycle(power, watts), 17);
		const pulses = Math.floor(this.#pulses);
		frame[20] = 0x70 | (pulses % 0x2_0000 >= 0x1_0000 ? 0x80 : 0) | 1;
		frame[21] = pulses >> 8;
		frame[22] = pulses;
		let sum = 0;
		for (let i = 2; i < 23; i++) sum += frame[i]!;
		frame[23] = sum;
		this.frameCount++;
		this.#line.send(frame, nowMilliseconds);
	}
}
