import { InvariantError, Status } from "../bytes/status.js";
import { COUNTS_MAX, counterDelta } from "./counted-energy.js";
import { type FrontEnd, FrontEndState, GAIN_ONE_Q24, type PhaseCalibration } from "./front-end.js";
import { openIo, type Sensor, type SerialIo, type SerialIoOptions } from "./io.js";
import { SerialWindow } from "./serial-window.js";

/** Registers used, of 24 bits, least significant byte first. */
const Register = Object.freeze({
	wattCreep: 0x14,
	mode: 0x19,
	userWriteProtect: 0x1d,
	packet: 0xaa,
} as const);

const READ = 0x58;
const WRITE = 0xa8;
const UNLOCK = 0x55;
const PACKET_HEAD = 0x55;
const PACKET_BYTES = 23;
const ANSWER_BYTES = 4;
/** CF pulses on, RMS every 800 ms, CF_CNT adds with its sign; after a reset it reads 0x87. */
const MODE_OURS = 0x0f;
const MODE_AFTER_RESET = 0x87;
const COUNTER_MODULUS = COUNTS_MAX;
/** Reference voltage of the chip, V. */
const VREF = 1.218;
/** Bytes with gaps longer than this belong to different frames. */
const ANSWER_MILLISECONDS = 200;
const WINDOW_BYTES = 32;
const QUIET_MILLISECONDS = 50;

const Step = Object.freeze({
	unlock: 0,
	mode: 1,
	readMode: 2,
	creep: 3,
	readCreep: 4,
	lock: 5,
	packet: 6,
	verify: 7,
	idle: 8,
} as const);
type Step = (typeof Step)[keyof typeof Step];

export interface Bl0942Options {
	readonly sensor: Sensor<SerialIo, SerialIoOptions>;
	/** The host calls `tick` soon after this: bytes arrived. */
	readonly onWake?: () => void;
}

export interface Bl0942Configuration {
	/** Current sensor: V across the chip's pins for each A, as a resistance. */
	readonly shuntMicroohms: number;
	/** Mains voltage / voltage at the pin: (R1 + R2) / R2. */
	readonly dividerRatio: number;
	/** 0 to 3, pins A1 A2 of the TSSOP14L; the SSOP10L has 0. */
	readonly address?: number;
	readonly pollMilliseconds?: number;
	/** No-load threshold, mW. */
	readonly creepMilliwatts?: number;
	/** More power than this is not believed, W. */
	readonly powerWattsMax?: number;
}

/**
 * Shanghai Belling BL0942, one phase, UART 4800 8N1 (pin SCLK_BPS low).
 * Packet of all measured values, read by 0x58 | address, 0xAA: 23 bytes, integers least significant byte first.
 * | offset | size | field      | unit and range                                                        |
 * |-------:|-----:|------------|-----------------------------------------------------------------------|
 * |      0 |    1 | head       | 0x55                                                                  |
 * |      1 |    3 | I_RMS      | Vref / 305978 mV at the current pins, unsigned                        |
 * |      4 |    3 | V_RMS      | Vref / 73989 mV at the voltage pin, unsigned                          |
 * |      7 |    3 | I_FAST_RMS | not used                                                              |
 * |     10 |    3 | WATT       | Vref² / 3537 mV², signed                                              |
 * |     13 |    3 | CF_CNT     | pulses of 1638.4 · 256 WATT·s, modulo 2^24; with its sign in our MODE |
 * |     16 |    2 | FREQ       | 1 000 000 / Hz                                                        |
 * |     18 |    1 | reserved   |                                                                       |
 * |     19 |    1 | STATUS     | bit 0: reverse, bit 1: below the creep threshold                      |
 * |     20 |    2 | reserved   |                                                                       |
 * |     22 |    1 | check      | NOT (0x58 \| address + all bytes before), low 8 bits                  |
 *
 * A single register (READ, register) answers 3 bytes and NOT (command + register + bytes); a write (0xA8 | address,
 * register, 3 bytes, check) is not answered, so each is read back. The packet is taken only when MODE, read after it,
 * still is ours: a chip that restarted reads 0x87. Its counter then began at 0 and counted without sign; that energy is
 * taken with the sign of WATT, and the configuration is written again. Memory on XS: 144 slots, 472 bytes of chunks.
 *
 * The phase between the channels cannot be corrected in this chip.
 * @see Shanghai Belling BL0942 datasheet V1.06, sections 3 (registers) and 4 (UART); read through the public
 * drivers of ESPHome and OpenBeken, which cite it; the algebraic CF_CNT of MODE bit 7 = 0 is from the latter alone
 */
export class Bl0942 implements FrontEnd {
	readonly abilities = Object.freeze({ offset: true, phase: false });
	readonly #state = new FrontEndState(1, false);
	readonly #serial: SerialIo;
	readonly #onWake: (() => void) | undefined;
	readonly #window = new SerialWindow(WINDOW_BYTES);
	readonly #sent = new Uint8Array(6);
	readonly #question = new Uint8Array(2);
	#wake = false;
	#step: Step = Step.idle;
	#deadline = Number.POSITIVE_INFINITY;
	/** When the present question is lost. */
	#isAsked = false;
	#pollMilliseconds = 1000;
	#address = 0;
	#creep = 0;
	#voltsPerCount = 0;
	#amperesPerCount = 0;
	#wattsPerCount = 0;
	#powerWattsMax = 0;
	#lastCount = Number.NaN;
	#lastAtMilliseconds = 0;
	#pollAtMilliseconds = 0;
	/** The packet is here and waits for MODE. */
	#packetAtMilliseconds = 0;
	#isSuspect = false;
	/** A step of the counter that was refused; NaN: none. */
	#refusedCount = Number.NaN;
	readonly #packet = new Uint8Array(PACKET_BYTES);

	constructor(options: Bl0942Options) {
		this.#onWake = options.onWake;
		this.#serial = openIo(options.sensor, {
			baud: 4800,
			parity: "none",
			stop: 1,
			format: "buffer",
			onReadable: () => this.#readable(),
		});
	}

	configure(configuration: Bl0942Configuration): void {
		const { shuntMicroohms, dividerRatio, address = 0, creepMilliwatts = 200, powerWattsMax = 25_000 } = configuration;
		if (!(shuntMicroohms > 0 && dividerRatio > 1 && address >= 0 && address <= 3)) throw new InvariantError("BL0942");
		const shuntMilliohms = shuntMicroohms / 1000;
		this.#address = address;
		this.#pollMilliseconds = configuration.pollMilliseconds ?? 1000;
		this.#voltsPerCount = (VREF * dividerRatio) / 73_989 / 1000;
		this.#amperesPerCount = VREF / 305_978 / shuntMilliohms;
		this.#wattsPerCount = (VREF * VREF * dividerRatio) / 3537 / shuntMilliohms / 1000;
		// WA_CREEP = threshold of WATT · 256 / 3125
		this.#creep = Math.round((creepMilliwatts / 1000 / this.#wattsPerCount) * (256 / 3125));
		if (this.#creep > 255) throw new InvariantError("BL0942 creep threshold");
		this.#powerWattsMax = powerWattsMax;
		this.#weigh();
		this.#lastCount = Number.NaN;
		this.#begin(Step.unlock);
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
		if (calibration.phaseDelayNanoseconds !== 0) return this.counters.count(Status.unsupported); // BLC-1
		const status = this.#state.take(phase, calibration);
		if (status === Status.ok) this.#weigh();
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
		if (this.#wake) {
			this.#wake = false;
			this.#parse(nowMilliseconds);
		}
		if (nowMilliseconds < this.#deadline) return;
		if (this.#isAsked) {
			this.counters.count(this.#window.length > 0 ? Status.badLength : Status.timedOut); // BLC-2
			this.#isAsked = false;
			this.#window.length = 0;
			this.#state.isReady = false;
			this.#retry(nowMilliseconds);
			return;
		}
		this.#ask(nowMilliseconds);
	}

	/** One count is one pulse of 1638.4 · 256 WATT·s. */
	#weigh(): void {
		const gain = this.#state.calibrations[0]!.powerGainQ24 / GAIN_ONE_Q24;
		if (this.#wattsPerCount > 0) this.#state.energies[0]!.setWeight((1638.4 * 256 * this.#wattsPerCount * gain) / 3.6);
	}

	#begin(step: Step): void {
		this.#isSuspect = false;
		this.#step = step;
		this.#isAsked = false;
		this.#window.length = 0;
		this.#deadline = Number.NEGATIVE_INFINITY;
	}

	/** The next try comes with the next poll; the configuration is then asked for first. */
	#retry(nowMilliseconds: number): void {
		if (this.#step === Step.packet || this.#step === Step.verify) this.#step = Step.packet;
		else this.#step = Step.unlock;
		this.#scheduleNext(nowMilliseconds);
	}

	#scheduleNext(nowMilliseconds: number): void {
		this.#pollAtMilliseconds += this.#pollMilliseconds;
		if (!(this.#pollAtMilliseconds > nowMilliseconds))
			this.#pollAtMilliseconds = nowMilliseconds + this.#pollMilliseconds;
		this.#deadline = this.#pollAtMilliseconds;
	}

	#ask(nowMilliseconds: number): void {
		switch (this.#step) {
			case Step.unlock:
				this.#pollAtMilliseconds = nowMilliseconds;
				this.#write(Register.userWriteProtect, UNLOCK);
				this.#then(Step.mode, nowMilliseconds);
				return;
			case Step.mode:
				this.#write(Register.mode, MODE_OURS);
				this.#then(Step.readMode, nowMilliseconds);
				return;
			case Step.creep:
				this.#write(Register.wattCreep, this.#creep);
				this.#then(Step.readCreep, nowMilliseconds);
				return;
			case Step.lock:
				this.#write(Register.userWriteProtect, 0);
				this.#then(Step.packet, nowMilliseconds);
				return;
			case Step.readMode:
			case Step.verify:
				this.#read(Register.mode, nowMilliseconds);
				return;
			case Step.readCreep:
				this.#read(Register.wattCreep, nowMilliseconds);
				return;
			case Step.packet:
				this.#read(Register.packet, nowMilliseconds);
				return;
			default:
				this.#deadline = Number.POSITIVE_INFINITY;
		}
	}

	/** A write has no answer: the next question follows when its 6 bytes have left, 13 ms at 4800 baud. */
	#then(step: Step, nowMilliseconds: number): void {
		this.#step = step;
		this.#deadline = nowMilliseconds + 20;
	}

	#read(register: number, nowMilliseconds: number): void {
		const question = this.#question;
		question[0] = READ | this.#address;
		question[1] = register;
		this.#window.length = 0;
		this.#isAsked = true;
		this.#deadline = nowMilliseconds + ANSWER_MILLISECONDS;
		this.#serial.write(question);
	}

	#write(register: number, value: number): void {
		const sent = this.#sent;
		sent[0] = WRITE | this.#address;
		sent[1] = register;
		sent[2] = value & 255;
		sent[3] = (value >> 8) & 255;
		sent[4] = (value >> 16) & 255;
		let sum = 0;
		for (let i = 0; i < 5; i++) sum += sent[i]!;
		sent[5] = ~sum & 255;
		this.#serial.write(sent);
	}

	#readable(): void {
		this.#wake = true;
		this.#onWake?.();
	}

	/**
	 * Takes what arrived. One byte of checksum passes one damaged answer in 256, so nothing is searched for in a damaged
	 * one: it is dropped whole and asked for again. Only bytes before the head of a packet are skipped.
	 */
	#parse(nowMilliseconds: number): void {
		const window = this.#window;
		while (window.fill(this.#serial) > 0) {
			if (!this.#isAsked) window.length = 0; // nobody asked, or refused already
			const isPacket = this.#step === Step.packet;
			while (isPacket && window.length > 0 && window.bytes[0] !== PACKET_HEAD) window.drop(1);
			if (window.length < (isPacket ? PACKET_BYTES : ANSWER_BYTES)) continue;
			this.#isAsked = false;
			if (this.#isAnswer(isPacket ? PACKET_BYTES : ANSWER_BYTES)) this.#answered(nowMilliseconds);
			else {
				this.counters.count(Status.badChecksum); // BLC-3
				this.#askAgain(nowMilliseconds);
			}
			window.length = 0;
		}
	}

	/** When the line has been quiet for some bytes. */
	#askAgain(nowMilliseconds: number): void {
		this.#deadline = nowMilliseconds + QUIET_MILLISECONDS;
	}

	#isAnswer(wanted: number): boolean {
		const received = this.#window.bytes;
		let sum = this.#question[0]!;
		if (wanted === PACKET_BYTES) {
			if (received[0] !== PACKET_HEAD) return false;
		} else sum += this.#question[1]!;
		for (let i = 0; i < wanted - 1; i++) sum += received[i]!;
		return received[wanted - 1] === (~sum & 255);
	}

	#answered(nowMilliseconds: number): void {
		const received = this.#window.bytes;
		const value = received[0]! | (received[1]! << 8) | (received[2]! << 16);
		switch (this.#step) {
			case Step.readMode:
				this.#step = value === MODE_OURS ? Step.creep : Step.unlock;
				if (this.#step === Step.unlock) {
					this.counters.count(Status.badValue); // BLC-4
					this.#scheduleNext(nowMilliseconds);
				} else this.#deadline = nowMilliseconds;
				return;
			case Step.readCreep:
				this.#step = value === this.#creep ? Step.lock : Step.unlock;
				if (this.#step === Step.unlock) {
					this.counters.count(Status.badValue); // BLC-4
					this.#scheduleNext(nowMilliseconds);
				} else this.#deadline = nowMilliseconds;
				return;
			case Step.packet:
				for (let i = 0; i < PACKET_BYTES; i++) this.#packet[i] = received[i]!;
				this.#packetAtMilliseconds = nowMilliseconds;
				this.#step = Step.verify;
				this.#deadline = nowMilliseconds;
				return;
			case Step.verify:
				if (value === MODE_OURS) {
					this.#isSuspect = false;
					this.#takePacket();
					this.#step = Step.packet;
					this.#scheduleNext(nowMilliseconds);
				} else if (value !== MODE_AFTER_RESET) {
					this.counters.count(Status.badValue); // BLC-4
					this.#askAgain(nowMilliseconds);
				} else if (!this.#isSuspect) {
					this.#isSuspect = true; // a restart is believed when it is read twice
					this.#askAgain(nowMilliseconds);
				} else {
					this.#state.chipReset(); // BLC-5
					this.#takeCounterAfterReset();
					this.#begin(Step.unlock);
				}
				return;
			default:
		}
	}

	#unsigned(at: number): number {
		const packet = this.#packet;
		return packet[at]! | (packet[at + 1]! << 8) | (packet[at + 2]! << 16);
	}

	/** Most pulses that the time since the last reading allows. */
	#countsMax(): number {
		const seconds = (this.#packetAtMilliseconds - this.#lastAtMilliseconds) / 1000;
		return 2 + (seconds * this.#powerWattsMax) / this.#wattsPerCount / (1638.4 * 256);
	}

	#takePacket(): void {
		const count = this.#unsigned(13);
		const energy = this.#state.energies[0]!;
		const calibration = this.#state.calibrations[0]!;
		const watt = (this.#unsigned(10) << 8) >> 8;
		const offset = watt === 0 ? 0 : calibration.powerOffsetMilliwatts;
		if (this.#lastCount >= 0) {
			const delta = counterDelta(this.#lastCount, count, COUNTER_MODULUS);
			if (Math.abs(delta) <= this.#countsMax())
				energy.add(delta, offset * (this.#packetAtMilliseconds - this.#lastAtMilliseconds));
			else {
				this.counters.count(Status.outOfOrder); // BLC-6
				// damage that the checksum let through is gone with the next packet; what stays is a new beginning
				const again = Math.abs(counterDelta(this.#refusedCount, count, COUNTER_MODULUS));
				this.#refusedCount = count;
				if (!(again <= this.#countsMax())) return;
			}
		}
		this.#refusedCount = Number.NaN;
		this.#lastCount = count;
		this.#lastAtMilliseconds = this.#packetAtMilliseconds;
		const phase = this.reading.phases[0]!;
		phase.voltageMillivolts = this.#scaled(this.#unsigned(4), this.#voltsPerCount, calibration.voltageGainQ24);
		phase.currentMilliamperes = this.#scaled(this.#unsigned(1), this.#amperesPerCount, calibration.currentGainQ24);
		phase.powerMilliwatts = this.#scaled(watt, this.#wattsPerCount, calibration.powerGainQ24) - offset;
		const period = this.#packet[16]! | (this.#packet[17]! << 8);
		this.reading.frequencyMillihertz = period > 0 ? Math.round(1_000_000_000 / period) : Number.NaN;
		this.#state.completed(this.#packetAtMilliseconds);
	}

	#scaled(count: number, unitsPerCount: number, gainQ24: number): number {
		return Math.round((count * unitsPerCount * gainQ24 * 1000) / GAIN_ONE_Q24);
	}

	/** A restarted chip counts from 0, without sign: the direction is that of its power now. */
	#takeCounterAfterReset(): void {
		const count = this.#unsigned(13);
		if (this.#lastCount >= 0 && count <= this.#countsMax()) {
			const isExport = (this.#packet[12]! & 0x80) !== 0;
			this.#state.energies[0]!.add(isExport ? -count : count);
		}
		this.#lastCount = Number.NaN; // until MODE is ours again the counter knows no sign
	}
}
