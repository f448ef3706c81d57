import { InvariantError, Status } from "../bytes/status.js";
import { ADE7953_I2C_ADDRESS, type Ade7953Bus, Ade7953I2c, Ade7953Spi } from "./ade7953-bus.js";
import { COUNTS_MAX, type CountedEnergy, counterDelta } from "./counted-energy.js";
import { type FrontEnd, FrontEndState, GAIN_ONE_Q24, type PhaseCalibration } from "./front-end.js";
import { type I2cIo, type I2cIoOptions, openIo, type Sensor, type SpiIo, type SpiIoOptions } from "./io.js";

/** Registers used; of those at 0x2xx the 24-bit form. */
const Register = Object.freeze({
	disableNoLoad: 0x001,
	lineCycleMode: 0x004,
	gainVoltage: 0x007,
	gainCurrentA: 0x008,
	gainCurrentB: 0x009,
	writeProtect: 0x040,
	unlock: 0x0fe,
	config: 0x102,
	phaseA: 0x108,
	phaseB: 0x109,
	period: 0x10e,
	requiredSetting: 0x120,
	lastAddress: 0x1fe,
	noLoadActive: 0x203,
	noLoadReactive: 0x204,
	powerA: 0x212,
	powerB: 0x213,
	reactiveA: 0x214,
	reactiveB: 0x215,
	currentA: 0x21a,
	currentB: 0x21b,
	voltage: 0x21c,
	energyA: 0x21e,
	energyB: 0x21f,
	reactiveEnergyA: 0x220,
	reactiveEnergyB: 0x221,
	powerGainA: 0x282,
	reactiveGainA: 0x283,
	powerGainB: 0x28e,
	reactiveGainB: 0x28f,
	interruptStatus: 0x32d,
	interruptStatusReset: 0x32e,
	checksum: 0x37f,
} as const);

/** LAST_RWDATA for 1, 2, 3 and 4 bytes. */
const LAST_DATA: readonly number[] = Object.freeze([0x0ff, 0x1ff, 0x2ff, 0x3ff]);
const UNLOCK = 0xad;
const REQUIRED = 0x0030;
/** High-pass filters on, checksum on, interface locked to this bus. */
const CONFIG = 0x0104;
const INTERRUPT_RESET = 0x10_0000;
/** ±500 mV of the input stage, as RMS. */
const FULL_SCALE_VOLTS = 0.5 / Math.SQRT2;
const FULL_SCALE_RMS = 9_032_007;
const FULL_SCALE_POWER = 4_862_401;
/** Counts of an energy register in one second at full scale: it turns over in 81 s. */
const FULL_SCALE_ENERGY = 206_900;
const GAIN_ONE = 0x40_0000;
const PHASE_STEP_NANOSECONDS = 1117;
const PHASE_MAX = 511;
const PHASE_ADVANCE = 0x200;
/** Hz = this / (period + 1). */
const PERIOD_CLOCK = 223_750;
const POWER_UP_MILLISECONDS = 100;
const SETTLE_MILLISECONDS = 50;
const TRIES = 3;

const SETTINGS: readonly number[] = Object.freeze([
	Register.config,
	Register.lineCycleMode,
	Register.gainVoltage,
	Register.gainCurrentA,
	Register.gainCurrentB,
	Register.noLoadActive,
	Register.noLoadReactive,
	Register.disableNoLoad,
	Register.powerGainA,
	Register.reactiveGainA,
	Register.powerGainB,
	Register.reactiveGainB,
	Register.phaseA,
	Register.phaseB,
	Register.writeProtect,
]);
/** Bytes of each of them. */
const SETTING_BYTES: readonly number[] = Object.freeze([2, 1, 1, 1, 1, 3, 3, 1, 3, 3, 3, 3, 2, 2, 1]);

const Step = Object.freeze({ start: 0, golden: 1, poll: 2 } as const);
type Step = (typeof Step)[keyof typeof Step];

export interface Ade7953Options {
	/** One of both. */
	readonly spi?: Sensor<SpiIo, SpiIoOptions>;
	readonly i2c?: Sensor<I2cIo, I2cIoOptions>;
	/** 1: current channel A; 2: A and B, each with the one voltage, as two phases of the reading. */
	readonly channelCount?: 1 | 2;
}

export interface Ade7953Configuration {
	/** Mains voltage / voltage at the pins VP, VN. */
	readonly dividerRatio: number;
	/** Volts at the pins for each ampere, of channel A and B, as a resistance. */
	readonly microohms: readonly number[];
	readonly pollMilliseconds?: number;
	/** No-load threshold, mW. */
	readonly creepMilliwatts?: number;
	readonly powerWattsMax?: number;
}

/**
 * Analog Devices ADE7953: one voltage, two currents; active, reactive energy with sign; over SPI or I2C.
 *
 * | what                 | register     | scale                                                          |
 * |----------------------|--------------|----------------------------------------------------------------|
 * | VRMS, IRMSA, IRMSB   | 0x21C, A, B  | 9 032 007 at 500 mV peak                                       |
 * | AWATT, AVAR (B: + 1) | 0x212, 0x214 | 4 862 401 at full scale, signed                                |
 * | AENERGY, RENERGY     | 0x21E, 0x220 | 206 900 a second at full scale, signed, modulo 2^24            |
 * | Period               | 0x10E        | 223 750 / (period + 1) Hz                                      |
 * | AWGAIN, AVARGAIN     | 0x282, 0x283 | 0x400000 is 1                                                  |
 * | PHCALA               | 0x108        | 1.117 µs a step, sign in bit 9 (set: the current is advanced)  |
 * | AP_NOLOAD            | 0x203        | 65536 - Y/1.4, Y = full scale / threshold                      |
 *
 * The energy registers are left to run (RSTREAD off), so that a lost answer loses nothing. Each read is held against
 * LAST_ADD and LAST_RWDATA. After configuration everything is read back, write protection goes on, and the chip's own
 * checksum over its settings is kept: when it differs, or the RESET interrupt stands, the chip restarted and all is
 * written again. Phase and power gain are the chip's; gains of U and I and the offset are applied here.
 * Memory on XS: 170 slots, 936 bytes of chunks.
 * @see Analog Devices ADE7953 data sheet Rev. B: tables 13 to 25, pages 18 (power-up), 57 and 58 (communication
 * verification, checksum) were read; scales, SPI and I2C framing and AP_NOLOAD from the same sheet through public drivers; full scale and PHCAL from memory, to be held against the data sheet
 */
export class Ade7953 implements FrontEnd {
	readonly abilities = Object.freeze({ offset: true, phase: true });
	readonly #state: FrontEndState;
	readonly #bus: Ade7953Bus;
	readonly #channelCount: 1 | 2;
	readonly #values = new Float64Array(SETTINGS.length);
	readonly #lastCounts = new Float64Array(4).fill(Number.NaN);
	/** Raw registers of a poll, until the chip is known to be sound: V, I, P, Q, E, R of A, then of B. */
	readonly #raw = new Float64Array(12);
	readonly #wattsPerCount = new Float64Array(2);
	readonly #amperesPerCount = new Float64Array(2);
	#voltsPerCount = 0;
	#step: Step = Step.start;
	#deadline = Number.POSITIVE_INFINITY;
	#golden = 0;
	#pollMilliseconds = 1000;
	#countedAtMilliseconds = 0;
	#creepMilliwatts = 0;
	#powerWattsMax = 0;
	#isConfigured = false;

	constructor(options: Ade7953Options) {
		if (options.spi !== undefined)
			this.#bus = new Ade7953Spi(openIo(options.spi, { hz: 1_000_000, mode: 0, format: "buffer" }));
		else if (options.i2c !== undefined)
			this.#bus = new Ade7953I2c(openIo(options.i2c, { hz: 400_000, address: ADE7953_I2C_ADDRESS, format: "buffer" }));
		else throw new InvariantError("ADE7953 without a bus");
		this.#channelCount = options.channelCount ?? 1;
		this.#state = new FrontEndState(this.#channelCount, true);
	}

	configure(configuration: Ade7953Configuration): void {
		const { dividerRatio, microohms } = configuration;
		if (!(dividerRatio > 1)) throw new InvariantError("ADE7953 divider");
		this.#pollMilliseconds = configuration.pollMilliseconds ?? 1000;
		this.#creepMilliwatts = configuration.creepMilliwatts ?? 1000;
		this.#powerWattsMax = configuration.powerWattsMax ?? 40_000;
		this.#voltsPerCount = (FULL_SCALE_VOLTS * dividerRatio) / FULL_SCALE_RMS;
		for (let i = 0; i < this.#channelCount; i++) {
			const ohms = (microohms[i] ?? 0) / 1_000_000;
			if (!(ohms > 0)) throw new InvariantError("ADE7953 current sensor");
			const watts = (FULL_SCALE_VOLTS * dividerRatio * FULL_SCALE_VOLTS) / ohms;
			if ((this.#powerWattsMax / watts) * FULL_SCALE_ENERGY * this.#pollMilliseconds >= (COUNTS_MAX / 2) * 1000)
				throw new InvariantError("ADE7953: its energy registers would turn over between two polls");
			this.#amperesPerCount[i] = FULL_SCALE_VOLTS / ohms / FULL_SCALE_RMS;
			this.#wattsPerCount[i] = watts / FULL_SCALE_POWER;
			const milliwattHours = watts / FULL_SCALE_ENERGY / 3.6;
			this.#state.energies[i]!.setWeight(milliwattHours);
			this.#state.reactiveEnergies[i]!.setWeight(milliwattHours);
		}
		this.#isConfigured = true;
		this.#settle();
		this.#lastCounts.fill(Number.NaN);
		this.#step = Step.start;
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
		if (!(Math.abs(calibration.phaseDelayNanoseconds) <= PHASE_MAX * PHASE_STEP_NANOSECONDS))
			return this.counters.count(Status.badValue); // ADE-2
		const status = this.#state.take(phase, calibration);
		if (status !== Status.ok || !this.#isConfigured) return status;
		this.#settle();
		this.#state.isReady = false;
		this.#step = Step.start;
		this.#deadline = Number.NEGATIVE_INFINITY;
		return status;
	}

	sample() {
		return this.#state.sample();
	}

	deadlineMilliseconds(): number {
		return this.#deadline;
	}

	close(): void {
		this.#deadline = Number.POSITIVE_INFINITY;
		this.#bus.close();
	}

	tick(nowMilliseconds: number): void {
		if (nowMilliseconds < this.#deadline) return;
		let status: Status;
		switch (this.#step) {
			case Step.start:
				status = this.#writeSettings();
				if (status === Status.ok) {
					this.#step = Step.golden;
					this.#deadline = nowMilliseconds + SETTLE_MILLISECONDS;
					return;
				}
				break;
			case Step.golden:
				status = this.#read(Register.checksum, 4);
				if (status === Status.ok) {
					this.#golden = this.#bus.value;
					this.#step = Step.poll;
					this.#deadline = nowMilliseconds;
					return;
				}
				break;
			default:
				status = this.#poll(nowMilliseconds);
				if (status === Status.ok) {
					this.#deadline = (this.#deadline > 0 ? this.#deadline : nowMilliseconds) + this.#pollMilliseconds;
					if (this.#deadline <= nowMilliseconds) this.#deadline = nowMilliseconds + this.#pollMilliseconds;
					return;
				}
		}
		this.counters.count(status);
		this.#state.isReady = false;
		this.#deadline = nowMilliseconds + POWER_UP_MILLISECONDS;
	}

	/** The values of `SETTINGS`, in its order. */
	#settle(): void {
		const values = this.#values;
		values[0] = CONFIG;
		values[5] = this.#noLoad();
		values[6] = values[5];
		for (let i = 0; i < 2; i++) {
			const calibration = this.#state.calibrations[Math.min(i, this.#channelCount - 1)]!;
			const gain = i < this.#channelCount ? Math.round((GAIN_ONE * calibration.powerGainQ24) / GAIN_ONE_Q24) : GAIN_ONE;
			values[8 + 2 * i] = gain;
			values[9 + 2 * i] = gain;
			const steps = Math.round(Math.abs(calibration.phaseDelayNanoseconds) / PHASE_STEP_NANOSECONDS);
			values[12 + i] = calibration.phaseDelayNanoseconds > 0 && steps > 0 ? PHASE_ADVANCE | steps : steps;
		}
		values[14] = 0x07;
	}

	#noLoad(): number {
		const watts = this.#wattsPerCount[0]! * FULL_SCALE_POWER;
		const ratio = watts / (this.#creepMilliwatts / 1000);
		return Math.max(1, Math.round(65_536 - ratio / 1.4));
	}

	/** A register, held against what the chip says it answered. */
	#read(register: number, byteLength: number): Status {
		for (let i = 0; i < TRIES; i++) {
			let status = this.#bus.read(register, byteLength);
			if (status !== Status.ok) return status;
			const value = this.#bus.value;
			status = this.#bus.read(Register.lastAddress, 2);
			if (status !== Status.ok) return status;
			const isThere = this.#bus.value === register;
			status = this.#bus.read(LAST_DATA[byteLength - 1]!, byteLength);
			if (status !== Status.ok) return status;
			if (isThere && this.#bus.value === value) return Status.ok;
			this.counters.count(Status.badChecksum); // ADE-3
		}
		return Status.linkDown; // ADE-4
	}

	#writeSettings(): Status {
		let status = this.#read(Register.interruptStatusReset, 4); // also clears RESET
		if (status !== Status.ok) return status;
		status = this.#write(Register.writeProtect, 1, 0);
		if (status !== Status.ok) return status;
		status = this.#bus.write(Register.unlock, 1, UNLOCK);
		if (status === Status.ok) status = this.#bus.write(Register.requiredSetting, 2, REQUIRED);
		if (status !== Status.ok) return status;
		status = this.#write(Register.disableNoLoad, 1, 0x07); // as the thresholds demand
		if (status !== Status.ok) return status;
		for (let i = 0; i < SETTINGS.length; i++) {
			status = this.#write(SETTINGS[i]!, SETTING_BYTES[i]!, this.#values[i]!);
			if (status !== Status.ok) return status;
		}
		return Status.ok;
	}

	/** Writes and reads back. */
	#write(register: number, byteLength: number, value: number): Status {
		for (let i = 0; i < TRIES; i++) {
			let status = this.#bus.write(register, byteLength, value);
			if (status !== Status.ok) return status;
			status = this.#read(register, byteLength);
			if (status !== Status.ok) return status;
			if (this.#bus.value === value) return Status.ok;
		}
		return Status.badValue; // ADE-5
	}

	#poll(nowMilliseconds: number): Status {
		for (let i = 0; i < this.#channelCount; i++) {
			const at = 6 * i;
			let status = this.#take(Register.voltage, at);
			if (status === Status.ok) status = this.#take(Register.currentA + i, at + 1);
			if (status === Status.ok) status = this.#take(Register.powerA + i, at + 2);
			if (status === Status.ok) status = this.#take(Register.reactiveA + i, at + 3);
			if (status === Status.ok) status = this.#take(Register.energyA + i, at + 4);
			if (status === Status.ok) status = this.#take(Register.reactiveEnergyA + i, at + 5);
			if (status !== Status.ok) return status;
		}
		let status = this.#read(Register.period, 2);
		if (status !== Status.ok) return status;
		const period = this.#bus.value;
		status = this.#read(Register.interruptStatus, 4);
		if (status !== Status.ok) return status;
		const isRestarted = (this.#bus.value & INTERRUPT_RESET) !== 0;
		let isSound = !isRestarted;
		if (isSound) {
			status = this.#read(Register.checksum, 4);
			if (status !== Status.ok) return status;
			isSound = this.#bus.value === this.#golden;
		}
		if (isSound) {
			this.#charge(nowMilliseconds);
			this.#publish(period, nowMilliseconds);
			return Status.ok;
		}
		this.#state.chipReset(); // ADE-6
		// what it counted since it restarted, when the reads themselves set it to 0; or a setting alone was lost
		if (isRestarted) this.#chargeRestarted(nowMilliseconds);
		else this.#charge(nowMilliseconds);
		this.#step = Step.start;
		this.#deadline = Number.NEGATIVE_INFINITY;
		return Status.ok;
	}

	/** A 24-bit register into `raw`; powers and energies with their sign. */
	#take(register: number, at: number): Status {
		const status = this.#read(register, 3);
		const value = this.#bus.value;
		this.#raw[at] = at % 6 < 2 || value < 0x80_0000 ? value : value - 0x100_0000;
		return status;
	}

	#countsMax(channel: number, nowMilliseconds: number): number {
		const seconds = (nowMilliseconds - this.#countedAtMilliseconds) / 1000;
		const perSecond = this.#powerWattsMax / (this.#wattsPerCount[channel]! * (FULL_SCALE_POWER / FULL_SCALE_ENERGY));
		return Math.min(COUNTS_MAX / 2, 4 + seconds * perSecond);
	}

	#charge(nowMilliseconds: number): void {
		const elapsed = nowMilliseconds - this.#countedAtMilliseconds;
		for (let i = 0; i < this.#channelCount; i++) {
			const countsMax = this.#countsMax(i, nowMilliseconds);
			const offset = this.#raw[6 * i + 2] === 0 ? 0 : this.#state.calibrations[i]!.powerOffsetMilliwatts;
			this.#step24(this.#state.energies[i]!, 2 * i, this.#raw[6 * i + 4]!, countsMax, offset * elapsed);
			this.#step24(this.#state.reactiveEnergies[i]!, 2 * i + 1, this.#raw[6 * i + 5]!, countsMax, 0);
		}
		this.#countedAtMilliseconds = nowMilliseconds;
	}

	#step24(energy: CountedEnergy, index: number, count: number, countsMax: number, offset: number): void {
		const last = this.#lastCounts[index]!;
		this.#lastCounts[index] = count;
		if (Number.isNaN(last)) return;
		const delta = counterDelta(last, count, COUNTS_MAX);
		if (Math.abs(delta) <= countsMax) energy.add(delta, offset);
		else this.counters.count(Status.outOfOrder); // ADE-7
	}

	#chargeRestarted(nowMilliseconds: number): void {
		for (let i = 0; i < this.#channelCount; i++) {
			const countsMax = this.#countsMax(i, nowMilliseconds);
			const isCounting = !Number.isNaN(this.#lastCounts[2 * i]!);
			const energy = this.#raw[6 * i + 4]!;
			const reactive = this.#raw[6 * i + 5]!;
			if (isCounting && Math.abs(energy) <= countsMax) this.#state.energies[i]!.add(energy);
			if (isCounting && Math.abs(reactive) <= countsMax) this.#state.reactiveEnergies[i]!.add(reactive);
		}
		this.#lastCounts.fill(Number.NaN);
		this.#countedAtMilliseconds = nowMilliseconds;
	}

	#publish(period: number, nowMilliseconds: number): void {
		const raw = this.#raw;
		for (let i = 0; i < this.#channelCount; i++) {
			const calibration = this.#state.calibrations[i]!;
			const phase = this.reading.phases[i]!;
			const offset = raw[6 * i + 2] === 0 ? 0 : calibration.powerOffsetMilliwatts;
			phase.voltageMillivolts = Math.round(
				(raw[6 * i]! * this.#voltsPerCount * 1000 * calibration.voltageGainQ24) / GAIN_ONE_Q24,
			);
			phase.currentMilliamperes = Math.round(
				(raw[6 * i + 1]! * this.#amperesPerCount[i]! * 1000 * calibration.currentGainQ24) / GAIN_ONE_Q24,
			);
			phase.powerMilliwatts = Math.round(raw[6 * i + 2]! * this.#wattsPerCount[i]! * 1000) - offset;
			phase.reactivePowerMillivars = Math.round(raw[6 * i + 3]! * this.#wattsPerCount[i]! * 1000);
		}
		this.reading.frequencyMillihertz = Math.round((PERIOD_CLOCK * 1000) / (period + 1));
		this.#state.completed(nowMilliseconds);
	}
}
