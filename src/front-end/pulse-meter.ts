import { InvariantError, Status } from "../bytes/status.js";
import { COUNTS_MAX, UpCounter } from "./counted-energy.js";
import { type FrontEnd, FrontEndState, GAIN_ONE_Q24, type PhaseCalibration } from "./front-end.js";
import {
	type DigitalIo,
	type IoClass,
	openIo,
	type PulseCountIo,
	type PulseCountIoOptions,
	type Sensor,
} from "./io.js";

/** What a chip makes of V at its pins: Hz of CF for each V·V, of CF1 for each V; and the level of SEL for voltage. */
export interface PulseChip {
	readonly powerHertz: number;
	readonly currentHertz: number;
	readonly voltageHertz: number;
	readonly selectVoltage: 0 | 1;
}

const HLW8012_VREF = 2.43;
const HLW8012_OSCILLATOR = 3_579_000;
const BL0937_VREF = 1.218;

/**
 * HLW Technology HLW8012 datasheet (2.43 V, 3.579 MHz): F_CF = V1·V2·48/Vref² · f/128, F_CFI = V1·24/Vref · f/512,
 * F_CFU = V2·2/Vref · f/512; SEL 1: voltage. Read through public pages that quote it.
 */
export const HLW8012: PulseChip = Object.freeze({
	powerHertz: (48 / (HLW8012_VREF * HLW8012_VREF)) * (HLW8012_OSCILLATOR / 128),
	currentHertz: (24 / HLW8012_VREF) * (HLW8012_OSCILLATOR / 512),
	voltageHertz: (2 / HLW8012_VREF) * (HLW8012_OSCILLATOR / 512),
	selectVoltage: 1,
});

/** Belling BL0937 (1.218 V), constants through public drivers (ESPHome, Tasmota), which also say that SEL is inverted. */
export const BL0937: PulseChip = Object.freeze({
	powerHertz: 1_721_506 / (BL0937_VREF * BL0937_VREF),
	currentHertz: 94_638 / BL0937_VREF,
	voltageHertz: 15_397 / BL0937_VREF,
	selectVoltage: 0,
});

export interface PulseMeterOptions {
	readonly chip: PulseChip;
	/** Pulses of CF: energy. */
	readonly power: Sensor<PulseCountIo, PulseCountIoOptions>;
	/** Pulses of CF1: current or voltage, as SEL says. */
	readonly rms: Sensor<PulseCountIo, PulseCountIoOptions>;
	readonly select: { readonly io: IoClass<DigitalIo, object> } & Readonly<Record<string, unknown>>;
}

export interface PulseMeterConfiguration {
	readonly shuntMicroohms: number;
	readonly dividerRatio: number;
	/** Where the host's pulse counter wraps: 2^16 or 2^32. */
	readonly counterModulus?: number;
	readonly pollMilliseconds?: number;
	/** Pulses that come slower than this power would make them are not counted, mW. */
	readonly creepMilliwatts?: number;
	readonly powerWattsMax?: number;
}

/** CF1 is wrong for a while after SEL changed. */
const SETTLE_MILLISECONDS = 2000;
const WINDOW_MILLISECONDS = 4000;
/** Power is told from so many pulses at least, or from so much time. */
const POWER_PULSES = 20;
const POWER_MILLISECONDS = 10_000;

/**
 * HLW8012 or BL0937: pulses of CF are energy, their rate is power; CF1 is current and voltage in turn. Energy is exact to
 * a pulse. Power is pulses over the time between two of our readings, over at least 20 pulses or 10 s: one pulse in a
 * second is no power. No pulse for long: not more than one pulse over that time. More pulses than the largest power
 * could make are noise and refused. No direction; no frequency; no line to the chip that could fail visibly: a missing
 * chip reads as no load and no voltage, and the voltage says which. Memory on XS: 108 slots, 288 bytes of chunks.
 * @see `HLW8012`, `BL0937` above
 */
export class PulseMeter implements FrontEnd {
	readonly abilities = Object.freeze({ offset: true, phase: false });
	/** Pulses below the no-load threshold. */
	creepPulseCount = 0;
	readonly #state = new FrontEndState(1, false);
	readonly #chip: PulseChip;
	readonly #power: PulseCountIo;
	readonly #rms: PulseCountIo;
	readonly #select: DigitalIo;
	#counter = new UpCounter(2 ** 32);
	#rmsCounter = new UpCounter(2 ** 32);
	#modulus = 2 ** 32;
	#pollMilliseconds = 1000;
	#deadline = Number.POSITIVE_INFINITY;
	#joulesPerPulse = 0;
	#voltsPerHertz = 0;
	#amperesPerHertz = 0;
	#creepMilliwatts = 0;
	#powerWattsMax = 0;
	#countedAtMilliseconds = Number.NaN;
	/** Of the pulse seen last. */
	#pulseAtMilliseconds = 0;
	#powerPulses = 0;
	#powerSinceMilliseconds = 0;
	#isVoltage = true;
	#selectedAtMilliseconds = 0;
	#windowAtMilliseconds = Number.NaN;
	#rmsPulses = 0;
	#rmsAtMilliseconds = 0;

	constructor(options: PulseMeterOptions) {
		this.#chip = options.chip;
		this.#power = openIo(options.power, { format: "number" });
		this.#rms = openIo(options.rms, { format: "number" });
		this.#select = new options.select.io({ ...options.select });
	}

	configure(configuration: PulseMeterConfiguration): void {
		const { shuntMicroohms, dividerRatio, counterModulus = 2 ** 32 } = configuration;
		if (!(shuntMicroohms > 0 && dividerRatio > 1 && counterModulus >= 2 ** 15)) throw new InvariantError("pulse meter");
		this.#modulus = counterModulus;
		this.#counter = new UpCounter(counterModulus);
		this.#rmsCounter = new UpCounter(counterModulus);
		this.#pollMilliseconds = configuration.pollMilliseconds ?? 1000;
		this.#creepMilliwatts = configuration.creepMilliwatts ?? 400;
		this.#powerWattsMax = configuration.powerWattsMax ?? 25_000;
		const shuntOhms = shuntMicroohms / 1_000_000;
		this.#joulesPerPulse = dividerRatio / shuntOhms / this.#chip.powerHertz;
		this.#voltsPerHertz = dividerRatio / this.#chip.voltageHertz;
		this.#amperesPerHertz = 1 / shuntOhms / this.#chip.currentHertz;
		this.#weigh();
		this.#isVoltage = true;
		this.#countedAtMilliseconds = Number.NaN;
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
		if (calibration.phaseDelayNanoseconds !== 0) return this.counters.count(Status.unsupported); // PUL-1
		const status = this.#state.take(phase, calibration);
		if (status === Status.ok) this.#weigh();
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
		this.#power.close();
		this.#rms.close();
		this.#select.close();
	}

	tick(nowMilliseconds: number): void {
		if (nowMilliseconds < this.#deadline) return;
		if (Number.isNaN(this.#countedAtMilliseconds)) {
			this.#pulseAtMilliseconds = this.#powerSinceMilliseconds = nowMilliseconds;
			this.#countedAtMilliseconds = this.#rmsAtMilliseconds = nowMilliseconds;
			this.#deadline = nowMilliseconds;
			this.#turn(nowMilliseconds, true);
			this.#counter.advance(this.#read(this.#power), 0);
			this.#rmsCounter.advance(this.#read(this.#rms), 0);
			this.#deadline += this.#pollMilliseconds;
			return;
		}
		this.#countPower(nowMilliseconds);
		this.#countRms(nowMilliseconds);
		this.#state.completed(nowMilliseconds);
		this.#deadline += this.#pollMilliseconds;
		if (this.#deadline <= nowMilliseconds) this.#deadline = nowMilliseconds + this.#pollMilliseconds;
	}

	#weigh(): void {
		const gain = this.#state.calibrations[0]!.powerGainQ24 / GAIN_ONE_Q24;
		if (this.#joulesPerPulse > 0) this.#state.energies[0]!.setWeight((this.#joulesPerPulse * gain) / 3.6);
	}

	/** A counter of the host that counts below zero is one that wrapped. */
	#read(io: PulseCountIo): number {
		const count = io.read();
		return count < 0 ? count + this.#modulus : count;
	}

	#countPower(nowMilliseconds: number): void {
		const elapsed = nowMilliseconds - this.#countedAtMilliseconds;
		const countsMax = Math.min(COUNTS_MAX, 2 + ((elapsed / 1000) * this.#powerWattsMax) / this.#joulesPerPulse);
		const status = this.#counter.advance(this.#read(this.#power), countsMax);
		if (status !== Status.ok) this.counters.count(status); // PUL-2
		this.#countedAtMilliseconds = nowMilliseconds;
		const pulses = status === Status.ok ? this.#counter.delta : 0;
		const calibration = this.#state.calibrations[0]!;
		const phase = this.reading.phases[0]!;
		const sincePulse = nowMilliseconds - this.#pulseAtMilliseconds;
		const milliwatts = (this.#joulesPerPulse * 1_000_000 * pulses) / sincePulse;
		if (pulses > 0 && milliwatts < this.#creepMilliwatts) {
			this.creepPulseCount += pulses;
			this.#pulseAtMilliseconds = this.#powerSinceMilliseconds = nowMilliseconds;
			this.#powerPulses = 0;
			phase.powerMilliwatts = 0;
			return;
		}
		const offset = phase.powerMilliwatts > 0 ? calibration.powerOffsetMilliwatts * elapsed : 0;
		this.#state.energies[0]!.add(pulses, offset);
		if (pulses > 0) this.#pulseAtMilliseconds = nowMilliseconds;
		this.#powerPulses += pulses;
		const span = nowMilliseconds - this.#powerSinceMilliseconds;
		const gain = (this.#joulesPerPulse * 1_000_000 * calibration.powerGainQ24) / GAIN_ONE_Q24;
		if (this.#powerPulses >= POWER_PULSES || (this.#powerPulses > 0 && span >= POWER_MILLISECONDS && pulses > 0)) {
			phase.powerMilliwatts = Math.round((gain * this.#powerPulses) / span) - calibration.powerOffsetMilliwatts;
			this.#powerPulses = 0;
			this.#powerSinceMilliseconds = nowMilliseconds;
		} else {
			// not more than one pulse more over the time since the last
			const bound = (gain * (this.#powerPulses + 1)) / span;
			if (bound < this.#creepMilliwatts) phase.powerMilliwatts = 0;
			else if (!(phase.powerMilliwatts <= bound)) phase.powerMilliwatts = Math.round(bound);
		}
	}

	#turn(nowMilliseconds: number, isVoltage: boolean): void {
		this.#isVoltage = isVoltage;
		const level = this.#chip.selectVoltage;
		this.#select.write(isVoltage ? level : level === 1 ? 0 : 1);
		this.#selectedAtMilliseconds = nowMilliseconds;
		this.#windowAtMilliseconds = Number.NaN;
	}

	#countRms(nowMilliseconds: number): void {
		const elapsed = nowMilliseconds - this.#rmsAtMilliseconds;
		this.#rmsAtMilliseconds = nowMilliseconds;
		// the mains side cannot make more than twice 400 V or 100 A
		const status = this.#rmsCounter.advance(this.#read(this.#rms), 2 + elapsed * 100);
		if (status !== Status.ok) {
			this.counters.count(status); // PUL-2
			this.#windowAtMilliseconds = nowMilliseconds;
			this.#rmsPulses = 0;
			return;
		}
		if (Number.isNaN(this.#windowAtMilliseconds)) {
			if (nowMilliseconds - this.#selectedAtMilliseconds < SETTLE_MILLISECONDS) return;
			this.#windowAtMilliseconds = nowMilliseconds;
			this.#rmsPulses = 0;
			return;
		}
		this.#rmsPulses += this.#rmsCounter.delta;
		const span = nowMilliseconds - this.#windowAtMilliseconds;
		if (span < WINDOW_MILLISECONDS) return;
		const hertz = (this.#rmsPulses * 1000) / span;
		const calibration = this.#state.calibrations[0]!;
		const phase = this.reading.phases[0]!;
		if (this.#isVoltage)
			phase.voltageMillivolts = Math.round(
				(hertz * this.#voltsPerHertz * 1000 * calibration.voltageGainQ24) / GAIN_ONE_Q24,
			);
		else
			phase.currentMilliamperes = Math.round(
				(hertz * this.#amperesPerHertz * 1000 * calibration.currentGainQ24) / GAIN_ONE_Q24,
			);
		this.#turn(nowMilliseconds, !this.#isVoltage);
	}
}
