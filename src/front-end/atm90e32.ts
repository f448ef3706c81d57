import { InvariantError, Status } from "../bytes/status.js";
import { type FrontEnd, FrontEndState, GAIN_ONE_Q24, type PhaseCalibration } from "./front-end.js";
import { openIo, type Sensor, type SpiIo, type SpiIoOptions } from "./io.js";

/** Registers used; those of phases B and C follow at the distance that the docstring names. */
const Register = Object.freeze({
	meterEnable: 0x00,
	pulseConstantHigh: 0x31,
	pulseConstantLow: 0x32,
	mode0: 0x33,
	mode1: 0x34,
	startActive: 0x35,
	startReactive: 0x36,
	phaseActive: 0x38,
	phaseReactive: 0x39,
	powerGain: 0x47,
	phaseAngle: 0x48,
	voltageGain: 0x61,
	currentGain: 0x62,
	softReset: 0x70,
	lastData: 0x78,
	digest: 0x7a,
	access: 0x7f,
	activeForward: 0x81,
	activeReverse: 0x85,
	reactiveForward: 0x89,
	reactiveReverse: 0x8d,
	activeHigh: 0xb1,
	reactiveHigh: 0xb5,
	activeLow: 0xc1,
	reactiveLow: 0xc5,
	voltage: 0xd9,
	current: 0xdd,
	frequency: 0xf8,
} as const);

const PHASES = 3;
const READ = 0x80;
const RESET_CODE = 0x789a;
const OPEN = 0x55aa;
const LOCKED = 0;
/** 450 000 000 000 / 3200 impulses for each kWh. */
const PULSE_CONSTANT = 140_625_000;
/** 0.01 of an impulse, mWh. */
const ENERGY_STEP = 1_000_000 / 3200 / 100;
const ENERGY_MODULUS = 0x1_0000;
/** Three phases on, CF2 reactive, energy registers in 0.01 impulse. */
const MODE0 = 0x0287;
const MODE0_60_HERTZ = 0x1000;
const POWER_STEP_WATTS = 0.00032;
const PHASE_STEP_NANOSECONDS = 1_000_000_000 / 2_048_000;
const PHASE_MAX = 1023;
const PHASE_DELAYS_VOLTAGE = 0x8000;
const RETRY_MILLISECONDS = 100;
const SETTLE_MILLISECONDS = 20;
const TRIES = 3;
/** Settings that change what the energy registers mean: they come first, and only behind a reset. */
const MEANING_COUNT = 3;

/** Settings that are alike for all phases, then gain, angle, U and I gain of each. */
const SETTINGS: readonly number[] = Object.freeze([
	Register.pulseConstantHigh,
	Register.pulseConstantLow,
	Register.mode0,
	Register.mode1,
	Register.startActive,
	Register.startReactive,
	Register.phaseActive,
	Register.phaseReactive,
	...[0, 1, 2].flatMap((phase) => [
		Register.powerGain + 2 * phase,
		Register.phaseAngle + 2 * phase,
		Register.voltageGain + 4 * phase,
		Register.currentGain + 4 * phase,
	]),
	Register.meterEnable,
]);
const PHASE_SETTINGS = 8;

const Step = Object.freeze({ start: 0, golden: 1, poll: 2 } as const);
type Step = (typeof Step)[keyof typeof Step];

export interface Atm90e32Options {
	readonly sensor: Sensor<SpiIo, SpiIoOptions>;
}

export interface Atm90e32Configuration {
	/** Register values that make a board of nominal parts read right: Ugain and Igain of the three phases. */
	readonly voltageGains: readonly number[];
	readonly currentGains: readonly number[];
	/** PGA of the current channels (MMode1), 0: 1, 0x15: 2, 0x2A: 4. */
	readonly currentAmplification?: number;
	/** 1; more when the chip is told a smaller current, because its register ends at 65.535 A. */
	readonly currentScale?: number;
	readonly nominalHertz?: 50 | 60;
	readonly pollMilliseconds?: number;
	/** No-load threshold of one phase, mW. */
	readonly creepMilliwatts?: number;
	/** Of one phase. */
	readonly powerWattsMax?: number;
}

/**
 * Microchip (Atmel) ATM90E32AS: three phases; active and reactive energy, each direction apart; SPI, 32 bits a transfer.
 *
 * | what                          | register (phases A B C)  | scale                                              |
 * |-------------------------------|--------------------------|----------------------------------------------------|
 * | energies, clear on read       | 0x81 to 0x83, 85, 89, 8D | 0.01 impulse of 3200/kWh = 3.125 mWh, 16 bits      |
 * | mean P, Q: high, low word     | 0xB1, 0xB5; 0xC1, 0xC5   | 0.00032 W, signed 32 bits                          |
 * | URMS, IRMS                    | 0xD9, 0xDD               | 0.01 V, 0.001 A                                    |
 * | frequency                     | 0xF8                     | 0.01 Hz                                            |
 * | PQGain (2 apart)              | 0x47                     | 1 + value / 2^15, signed                           |
 * | Phi (2 apart)                 | 0x48                     | 0.488 µs a step, bit 15: the voltage is delayed    |
 * | Ugain, Igain (4 apart)        | 0x61, 0x62               | proportional                                       |
 *
 * An energy register is 0 after it was read: each read is held against LastSPIData, and where they differ LastSPIData
 * is asked again, so that a damaged answer loses nothing. The register turns over silently after 204.8 Wh: polls must
 * be faster than that. Values of two words are read high, low, high. The chip measures nothing behind a reset until it
 * is enabled, so what its energy registers hold is always ours; a running chip that still has our settings (the
 * processor restarted) is not reset, and what it counted meanwhile is taken. MeterEn and the chip's digest over its
 * settings are compared at each poll. Memory on XS: 175 slots, 1 024 bytes of chunks.
 * @see Atmel M90E32AS datasheet 46003 and application note 46103A: parts were found in public places; the register list
 * through the public drivers of ESPHome and CircuitSetup (MIT); PQGain, Phi and 0.01 impulse from general knowledge of it
 */
export class Atm90e32 implements FrontEnd {
	readonly abilities = Object.freeze({ offset: true, phase: true });
	readonly #state = new FrontEndState(PHASES, true);
	readonly #spi: SpiIo;
	readonly #frame = new Uint8Array(4);
	readonly #values = new Float64Array(SETTINGS.length);
	#voltageGains: readonly number[] = [];
	#currentGains: readonly number[] = [];
	#currentScale = 1;
	#step: Step = Step.start;
	#deadline = Number.POSITIVE_INFINITY;
	#value = 0;
	#golden = 0;
	#pollMilliseconds = 1000;
	#countedAtMilliseconds = Number.NaN;
	#powerWattsMax = 0;
	#wasRunning = false;

	constructor(options: Atm90e32Options) {
		this.#spi = openIo(options.sensor, { hz: 200_000, mode: 3, format: "buffer" });
	}

	configure(configuration: Atm90e32Configuration): void {
		const { voltageGains, currentGains, currentScale = 1, pollMilliseconds = 1000 } = configuration;
		const { powerWattsMax = 25_000, creepMilliwatts = 1000 } = configuration;
		if (voltageGains.length !== PHASES || currentGains.length !== PHASES || !(currentScale >= 1))
			throw new InvariantError("ATM90E32 gains");
		if ((powerWattsMax / currentScale) * pollMilliseconds >= ENERGY_MODULUS * ENERGY_STEP * 3600)
			throw new InvariantError("ATM90E32: its energy registers would turn over between two polls");
		this.#voltageGains = voltageGains;
		this.#currentGains = currentGains;
		this.#currentScale = currentScale;
		this.#pollMilliseconds = pollMilliseconds;
		this.#powerWattsMax = powerWattsMax;
		const values = this.#values;
		values[0] = PULSE_CONSTANT >>> 16;
		values[1] = PULSE_CONSTANT & 0xffff;
		values[2] = MODE0 | (configuration.nominalHertz === 60 ? MODE0_60_HERTZ : 0);
		values[3] = configuration.currentAmplification ?? 0;
		const threshold = Math.round(creepMilliwatts / 1000 / currentScale / POWER_STEP_WATTS);
		if (threshold > 0xffff) throw new InvariantError("ATM90E32 creep threshold");
		for (let i = 4; i < PHASE_SETTINGS; i++) values[i] = threshold;
		values[SETTINGS.length - 1] = 1;
		for (let i = 0; i < PHASES; i++) {
			if (!this.#settle(i)) throw new InvariantError("ATM90E32 gains");
			this.#state.energies[i]!.setWeight(ENERGY_STEP * currentScale);
			this.#state.reactiveEnergies[i]!.setWeight(ENERGY_STEP * currentScale);
		}
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
			return this.counters.count(Status.badValue); // ATM-1
		const status = this.#state.take(phase, calibration);
		if (status !== Status.ok || this.#voltageGains.length === 0) return status;
		if (!this.#settle(phase)) return this.counters.count(Status.badValue); // ATM-2
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
		this.#spi.close();
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
				status = this.#read(Register.digest);
				if (status === Status.ok) {
					this.#golden = this.#value;
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
				if (status === Status.corrupt) {
					this.#state.chipReset(); // ATM-3
					this.#step = Step.start;
					this.#deadline = nowMilliseconds;
					return;
				}
		}
		this.counters.count(status);
		this.#state.isReady = false;
		this.#step = this.#step === Step.poll ? Step.poll : Step.start;
		this.#deadline = nowMilliseconds + RETRY_MILLISECONDS;
	}

	/** Gain, angle, Ugain, Igain of a phase. U and I gains also act on power: PQGain holds what is left. */
	#settle(phase: number): boolean {
		const calibration = this.#state.calibrations[phase]!;
		const at = PHASE_SETTINGS + 4 * phase;
		const nominalVoltage = this.#voltageGains[phase]!;
		const nominalCurrent = this.#currentGains[phase]!;
		const voltage = Math.round((nominalVoltage * calibration.voltageGainQ24) / GAIN_ONE_Q24);
		const current = Math.round((nominalCurrent * calibration.currentGainQ24) / GAIN_ONE_Q24);
		if (!(voltage >= 1 && voltage <= 0xffff && current >= 1 && current <= 0xffff)) return false;
		const acting = (voltage / nominalVoltage) * (current / nominalCurrent);
		const gain = Math.round((calibration.powerGainQ24 / GAIN_ONE_Q24 / acting - 1) * 0x8000);
		if (!(gain >= -0x8000 && gain < 0x8000)) return false;
		const delay = calibration.phaseDelayNanoseconds;
		const steps = Math.round(Math.abs(delay) / PHASE_STEP_NANOSECONDS);
		const values = this.#values;
		values[at] = gain & 0xffff;
		values[at + 1] = delay > 0 && steps > 0 ? PHASE_DELAYS_VOLTAGE | steps : steps;
		values[at + 2] = voltage;
		values[at + 3] = current;
		return true;
	}

	#transfer(register: number, value: number): void {
		const frame = this.#frame;
		frame[0] = register >> 8;
		frame[1] = register & 255;
		frame[2] = value >> 8;
		frame[3] = value & 255;
		this.#spi.transfer(frame);
		this.#value = (frame[2]! << 8) | frame[3]!;
	}

	#ask(register: number): number {
		this.#transfer(register | (READ << 8), 0);
		return this.#value;
	}

	/** A register into `#value`, held against what the chip says it answered; good for those that clear on read. */
	#read(register: number): Status {
		const first = this.#ask(register);
		let last = this.#ask(Register.lastData);
		if (first === last) return Status.ok;
		for (let i = 0; i < TRIES; i++) {
			this.counters.count(Status.badChecksum); // ATM-4
			const again = this.#ask(Register.lastData);
			if (again === last || again === first) return Status.ok;
			last = again;
		}
		return Status.linkDown; // ATM-5
	}

	/** Writes and reads back. */
	#write(register: number, value: number): Status {
		for (let i = 0; i < TRIES; i++) {
			this.#transfer(register, value);
			const status = this.#read(register);
			if (status !== Status.ok) return status;
			if (this.#value === value) return Status.ok;
		}
		return Status.badValue; // ATM-6
	}

	#writeSettings(): Status {
		if (this.#write(Register.access, OPEN) !== Status.ok) return Status.linkDown; // ATM-5
		for (let i = 0; i < MEANING_COUNT; i++) {
			const status = this.#read(SETTINGS[i]!);
			if (status !== Status.ok) return status;
			if (this.#value === this.#values[i]) continue;
			this.#transfer(Register.softReset, RESET_CODE);
			this.#wasRunning = false;
			if (this.#write(Register.access, OPEN) !== Status.ok) return Status.linkDown; // ATM-5
			break;
		}
		for (let i = 0; i < SETTINGS.length; i++) {
			let status = this.#read(SETTINGS[i]!);
			if (status === Status.ok && this.#value !== this.#values[i]) status = this.#write(SETTINGS[i]!, this.#values[i]!);
			if (status !== Status.ok) return status;
		}
		return this.#write(Register.access, LOCKED);
	}

	#poll(nowMilliseconds: number): Status {
		if (Number.isNaN(this.#countedAtMilliseconds)) this.#countedAtMilliseconds = nowMilliseconds;
		const elapsed = nowMilliseconds - this.#countedAtMilliseconds;
		// before the first poll of all nobody knows for how long it ran
		const watts = this.#powerWattsMax / this.#currentScale;
		const countsMax = this.#wasRunning ? 4 + (watts * elapsed) / 3600 / ENERGY_STEP : ENERGY_MODULUS;
		if (countsMax > ENERGY_MODULUS) this.counters.count(Status.outOfOrder); // ATM-7: may have turned over unseen
		for (let i = 0; i < PHASES; i++) {
			const status = this.#pollPhase(i, countsMax, this.#wasRunning ? elapsed : 0);
			if (status !== Status.ok) return status;
		}
		this.#countedAtMilliseconds = nowMilliseconds;
		this.#wasRunning = true;
		let status = this.#read(Register.frequency);
		if (status !== Status.ok) return status;
		this.reading.frequencyMillihertz = this.#value * 10;
		status = this.#read(Register.meterEnable);
		if (status !== Status.ok) return status;
		if (this.#value !== 1) return Status.corrupt; // ATM-3
		status = this.#read(Register.digest);
		if (status !== Status.ok) return status;
		if (this.#value !== this.#golden) return Status.corrupt; // ATM-3
		this.#state.completed(nowMilliseconds);
		return Status.ok;
	}

	#pollPhase(i: number, countsMax: number, elapsed: number): Status {
		const phase = this.reading.phases[i]!;
		const calibration = this.#state.calibrations[i]!;
		let status = this.#word32(Register.activeHigh + i, Register.activeLow + i);
		if (status !== Status.ok) return status;
		const active = this.#value * POWER_STEP_WATTS * 1000 * this.#currentScale;
		status = this.#word32(Register.reactiveHigh + i, Register.reactiveLow + i);
		if (status !== Status.ok) return status;
		phase.reactivePowerMillivars = Math.round(this.#value * POWER_STEP_WATTS * 1000 * this.#currentScale);
		const offset = active === 0 ? 0 : calibration.powerOffsetMilliwatts;
		phase.powerMilliwatts = Math.round(active) - offset;
		status = this.#charge(i, true, countsMax, offset * elapsed, active < 0);
		if (status === Status.ok) status = this.#charge(i, false, countsMax, 0, false);
		if (status === Status.ok) status = this.#read(Register.voltage + i);
		if (status !== Status.ok) return status;
		phase.voltageMillivolts = this.#value * 10;
		status = this.#read(Register.current + i);
		phase.currentMilliamperes = Math.round(this.#value * this.#currentScale);
		return status;
	}

	/** Both directions of one energy: each register is 0 behind its read, so it is charged at once. */
	#charge(i: number, isActive: boolean, countsMax: number, offset: number, isExport: boolean): Status {
		const energy = (isActive ? this.#state.energies : this.#state.reactiveEnergies)[i]!;
		let status = this.#read((isActive ? Register.activeForward : Register.reactiveForward) + i);
		if (status !== Status.ok) return status;
		if (this.#value <= countsMax) energy.add(this.#value, isExport ? 0 : offset);
		else this.counters.count(Status.badValue); // ATM-8
		status = this.#read((isActive ? Register.activeReverse : Register.reactiveReverse) + i);
		if (status !== Status.ok) return status;
		const isCredible = this.#value <= countsMax;
		if (!isCredible)
			this.counters.count(Status.badValue); // ATM-8
		else if (this.#value > 0) energy.add(-this.#value, isExport ? offset : 0);
		return status;
	}

	/** Signed 32 bits of two registers into `#value`; again when the high word moved in between. */
	#word32(high: number, low: number): Status {
		let status = this.#read(high);
		for (let i = 0; i < TRIES && status === Status.ok; i++) {
			const before = this.#value;
			status = this.#read(low);
			if (status !== Status.ok) return status;
			const word = this.#value;
			status = this.#read(high);
			if (status !== Status.ok || this.#value !== before) continue;
			this.#value = (before << 16) | word;
			return Status.ok;
		}
		return status === Status.ok ? Status.busy : status; // ATM-9
	}
}
