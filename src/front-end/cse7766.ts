import { InvariantError, Status } from "../bytes/status.js";
import { UpCounter } from "./counted-energy.js";
import { type FrontEnd, FrontEndState, GAIN_ONE_Q24, type PhaseCalibration } from "./front-end.js";
import { openIo, type Sensor, type SerialIo, type SerialIoOptions } from "./io.js";
import { SerialWindow } from "./serial-window.js";

const FRAME_BYTES = 24;
const STATE_GOOD = 0x55;
const HEAD = 0x5a;
/** State 0xF0 and these bits: a cycle is out of range, or the coefficients are damaged. */
const VOLTAGE_OUT = 0x08;
const CURRENT_OUT = 0x04;
const POWER_OUT = 0x02;
const COEFFICIENTS_BAD = 0x01;
/** Adj: which cycles are complete, and what turns over with each wrap of CF. */
const VOLTAGE_COMPLETE = 0x40;
const CURRENT_COMPLETE = 0x20;
const POWER_COMPLETE = 0x10;
const CARRY = 0x80;
const COUNTER_MODULUS = 0x2_0000;
const SILENCE_MILLISECONDS = 1000;

export interface Cse7766Options {
	readonly sensor: Sensor<SerialIo, SerialIoOptions>;
	readonly onWake?: () => void;
}

export interface Cse7766Configuration {
	/** 1000: the 1 mΩ that the chip's coefficients are made for. */
	readonly shuntMicroohms?: number;
	/** 1: the 1 MΩ : 1 kΩ divider that the coefficients are made for. */
	readonly voltageFactor?: number;
	/** A reading is given at most so often; frames come about every 60 ms. */
	readonly readingMilliseconds?: number;
	readonly powerWattsMax?: number;
}

/**
 * Chipsea CSE7766 (and HLW8032 of the same frame), one phase, UART 4800 8E1, sends without being asked and takes nothing.
 * Frame: 24 bytes, integers most significant byte first.
 * | offset | size | field          | unit and range                                                             |
 * |-------:|-----:|----------------|----------------------------------------------------------------------------|
 * |      0 |    1 | state          | 0x55; 0xAA: not calibrated; 0xF0 \| bits: a cycle out of range (8 voltage, |
 * |        |      |                | 4 current, 2 power), 1: coefficients damaged                               |
 * |      1 |    1 | head           | 0x5A                                                                       |
 * |      2 |    3 | voltageCoeff   | V = voltageCoeff / voltageCycle                                            |
 * |      5 |    3 | voltageCycle   | µs                                                                         |
 * |      8 |    3 | currentCoeff   | A                                                                          |
 * |     11 |    3 | currentCycle   | µs                                                                         |
 * |     14 |    3 | powerCoeff     | W; one CF pulse is powerCoeff W·µs                                         |
 * |     17 |    3 | powerCycle     | µs                                                                         |
 * |     20 |    1 | adj            | 0x40, 0x20, 0x10: voltage, current, power cycle complete; 0x80 turns over  |
 * |        |      |                | when CF wraps                                                              |
 * |     21 |    2 | CF             | pulses of energy, modulo 2^16                                              |
 * |     23 |    1 | check          | sum of bytes 2 to 22, low 8 bits                                           |
 *
 * Coefficients are constants of the chip: a frame is believed when they are those of the frame before, which no damage
 * that passes the 8-bit sum repeats. No direction: power and energy are magnitudes, all counted as import. A power cycle
 * out of range is no load: power 0, and CF stands. Memory on XS: 112 slots, 384 bytes of chunks.
 *
 * The phase between the channels cannot be corrected in this chip.
 * @see Chipsea CSE7766 User Manual Rev. 1.2 (2017-08), sections 3.4 (serial port), 3.6 (CF), 3.7 (calculation): its
 * title page and history were read, the tables through the public driver of ESPHome and the CSE7759B datasheet
 */
export class Cse7766 implements FrontEnd {
	readonly abilities = Object.freeze({ offset: true, phase: false });
	/** Frames with state 0xAA or damaged coefficients. */
	uncalibratedCount = 0;
	readonly #state = new FrontEndState(1, false);
	readonly #serial: SerialIo;
	readonly #onWake: (() => void) | undefined;
	readonly #window = new SerialWindow(32);
	readonly #counter = new UpCounter(COUNTER_MODULUS);
	#wake = false;
	#deadline = Number.POSITIVE_INFINITY;
	#shuntFactor = 1;
	#voltageFactor = 1;
	#readingMilliseconds = 1000;
	#readingAtMilliseconds = Number.NEGATIVE_INFINITY;
	#powerWattsMax = 0;
	/** The coefficients of the last frame, and of the weight in force. */
	#voltageCoefficient = 0;
	#currentCoefficient = 0;
	#powerCoefficient = 0;
	#weighedCoefficient = 0;
	#countedAtMilliseconds = Number.NaN;

	constructor(options: Cse7766Options) {
		this.#onWake = options.onWake;
		this.#serial = openIo(options.sensor, {
			baud: 4800,
			parity: "even",
			stop: 1,
			format: "buffer",
			onReadable: () => {
				this.#wake = true;
				this.#onWake?.();
			},
		});
	}

	configure(configuration: Cse7766Configuration = {}): void {
		const {
			shuntMicroohms = 1000,
			voltageFactor = 1,
			readingMilliseconds = 1000,
			powerWattsMax = 25_000,
		} = configuration;
		if (!(shuntMicroohms > 0 && voltageFactor > 0)) throw new InvariantError("CSE7766");
		this.#shuntFactor = 1000 / shuntMicroohms;
		this.#voltageFactor = voltageFactor;
		this.#readingMilliseconds = readingMilliseconds;
		this.#powerWattsMax = powerWattsMax;
		this.#counter.forget();
		this.#countedAtMilliseconds = Number.NaN;
		this.#voltageCoefficient = this.#currentCoefficient = this.#powerCoefficient = 0;
		this.#deadline = Number.NEGATIVE_INFINITY;
	}

	get reading() {
		return this.#state.reading;
	}

	get counters() {
		return this.#state.counters;
	}

	get resetCount() {
		return this.#state.resetCount;
	}

	get isReady() {
		return this.#state.isReady;
	}

	calibration(phase: number): PhaseCalibration {
		return this.#state.calibrations[phase]!;
	}

	setCalibration(phase: number, calibration: PhaseCalibration): Status {
		if (calibration.phaseDelayNanoseconds !== 0) return this.counters.count(Status.unsupported); // CSE-1
		const status = this.#state.take(phase, calibration);
		if (status === Status.ok && this.#powerCoefficient > 0) this.#weigh();
		return status;
	}

	sample() {
		return this.#state.sample();
	}

	deadlineMilliseconds(): number {
		return this.#wake ? Number.NEGATIVE_INFINITY : this.#deadline;
	}

	close(): void {
		this.#deadline = Number.POSITIVE_INFINITY;
		this.#wake = false;
		this.#serial.close();
	}

	tick(nowMilliseconds: number): void {
		if (this.#deadline === Number.NEGATIVE_INFINITY) this.#deadline = nowMilliseconds + SILENCE_MILLISECONDS;
		if (this.#wake) {
			this.#wake = false;
			this.#parse(nowMilliseconds);
		}
		if (nowMilliseconds < this.#deadline) return;
		this.counters.count(Status.timedOut); // CSE-2
		this.#state.isReady = false;
		this.#deadline = nowMilliseconds + SILENCE_MILLISECONDS;
	}

	#weigh(): void {
		const factor = this.#shuntFactor * this.#voltageFactor * (this.#state.calibrations[0]!.powerGainQ24 / GAIN_ONE_Q24);
		this.#weighedCoefficient = this.#powerCoefficient;
		this.#state.energies[0]!.setWeight((this.#powerCoefficient / 3_600_000) * factor);
	}

	/** A frame begins anywhere: after a refusal the search goes on one byte further. */
	#parse(nowMilliseconds: number): void {
		const window = this.#window;
		const bytes = window.bytes;
		while (window.fill(this.#serial) > 0)
			while (window.length >= FRAME_BYTES) {
				const state = bytes[0]!;
				if (bytes[1] !== HEAD || !(state === STATE_GOOD || state === 0xaa || state >= 0xf0)) {
					window.drop(1);
					continue;
				}
				let sum = 0;
				for (let i = 2; i < FRAME_BYTES - 1; i++) sum += bytes[i]!;
				if ((sum & 255) !== bytes[FRAME_BYTES - 1]) {
					this.counters.count(Status.badChecksum); // CSE-3
					window.drop(1);
					continue;
				}
				this.#frame(state, nowMilliseconds);
				window.drop(FRAME_BYTES);
			}
	}

	#unsigned(at: number): number {
		const bytes = this.#window.bytes;
		return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
	}

	#frame(state: number, nowMilliseconds: number): void {
		if (state === 0xaa || (state >= 0xf0 && (state & COEFFICIENTS_BAD) !== 0)) {
			this.uncalibratedCount++;
			this.counters.count(Status.corrupt); // CSE-4
			return;
		}
		const voltageCoefficient = this.#unsigned(2);
		const currentCoefficient = this.#unsigned(8);
		const powerCoefficient = this.#unsigned(14);
		const isKnown =
			voltageCoefficient === this.#voltageCoefficient &&
			currentCoefficient === this.#currentCoefficient &&
			powerCoefficient === this.#powerCoefficient;
		this.#voltageCoefficient = voltageCoefficient;
		this.#currentCoefficient = currentCoefficient;
		this.#powerCoefficient = powerCoefficient;
		if (!isKnown) {
			this.counters.count(Status.badValue); // CSE-5
			return;
		}
		if (powerCoefficient === 0) return;
		if (Number.isNaN(this.#countedAtMilliseconds)) this.#countedAtMilliseconds = nowMilliseconds;
		if (powerCoefficient !== this.#weighedCoefficient) this.#weigh();
		this.#deadline = nowMilliseconds + SILENCE_MILLISECONDS;
		const flags = state >= 0xf0 ? state : 0;
		const adj = this.#window.bytes[20]!;
		const calibration = this.#state.calibrations[0]!;
		const power = this.#measured(powerCoefficient, 17, (flags & POWER_OUT) !== 0, (adj & POWER_COMPLETE) !== 0);
		const powerFactor = this.#shuntFactor * this.#voltageFactor * (calibration.powerGainQ24 / GAIN_ONE_Q24);
		this.#charge(nowMilliseconds, power > 0 ? calibration.powerOffsetMilliwatts : 0);
		const phase = this.reading.phases[0]!;
		if (power > 0) phase.powerMilliwatts = Math.round(power * powerFactor) - calibration.powerOffsetMilliwatts;
		else if (power === 0) phase.powerMilliwatts = 0;
		const voltage = this.#measured(voltageCoefficient, 5, (flags & VOLTAGE_OUT) !== 0, (adj & VOLTAGE_COMPLETE) !== 0);
		if (voltage >= 0)
			phase.voltageMillivolts = Math.round((voltage * this.#voltageFactor * calibration.voltageGainQ24) / GAIN_ONE_Q24);
		const isNoCurrent = (flags & (CURRENT_OUT | POWER_OUT)) !== 0;
		const current = this.#measured(currentCoefficient, 11, isNoCurrent, (adj & CURRENT_COMPLETE) !== 0);
		if (current >= 0)
			phase.currentMilliamperes = Math.round((current * this.#shuntFactor * calibration.currentGainQ24) / GAIN_ONE_Q24);
		if (nowMilliseconds - this.#readingAtMilliseconds < this.#readingMilliseconds) return;
		this.#readingAtMilliseconds = nowMilliseconds;
		this.#state.completed(nowMilliseconds);
	}

	/** Thousandths of the unit; 0: out of range; NaN: its cycle is not complete, the last value stands. */
	#measured(coefficient: number, at: number, isOut: boolean, isComplete: boolean): number {
		if (isOut) return 0;
		const cycle = this.#unsigned(at);
		return isComplete && cycle > 0 ? (coefficient * 1000) / cycle : Number.NaN;
	}

	#charge(nowMilliseconds: number, offsetMilliwatts: number): void {
		const bytes = this.#window.bytes;
		const count = ((bytes[20]! & CARRY) !== 0 ? 0x1_0000 : 0) + ((bytes[21]! << 8) | bytes[22]!);
		const elapsed = nowMilliseconds - this.#countedAtMilliseconds;
		const joulesPerPulse = this.#powerCoefficient * 1e-6 * this.#shuntFactor * this.#voltageFactor;
		const countsMax = 4 + ((elapsed / 1000) * this.#powerWattsMax) / joulesPerPulse;
		const status = this.#counter.advance(count, countsMax);
		if (status === Status.outOfOrder) {
			this.counters.count(status); // CSE-6
			return;
		}
		if (status === Status.corrupt) this.#state.chipReset(); // CSE-7
		this.#countedAtMilliseconds = nowMilliseconds;
		this.#state.energies[0]!.add(this.#counter.delta, offsetMilliwatts * elapsed);
	}
}
