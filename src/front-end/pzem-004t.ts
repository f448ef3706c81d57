import { InvariantError, Status } from "../bytes/status.js";
import { UpCounter } from "./counted-energy.js";
import { type FrontEnd, FrontEndState, GAIN_ONE_Q24, type PhaseCalibration } from "./front-end.js";
import { openIo, type Sensor, type SerialIo, type SerialIoOptions } from "./io.js";
import { modbusCrc, sealModbus } from "./modbus.js";
import { SerialWindow } from "./serial-window.js";

const READ_HOLDING = 0x03;
const READ_INPUT = 0x04;
const WRITE_SINGLE = 0x06;
const EXCEPTION = 0x80;
const ALARM_REGISTER = 0x0001;
const MEASURED_REGISTERS = 10;
/** Every module answers to it; for one module on the line. */
const ANY_ADDRESS = 0xf8;
const QUESTION_BYTES = 8;
const MEASURED_BYTES = 3 + 2 * MEASURED_REGISTERS + 2;
const ALARM_BYTES = 7;
const EXCEPTION_BYTES = 5;
/** 9999.999 kWh, then 0. */
const ENERGY_MODULUS = 10_000_000;
const ANSWER_MILLISECONDS = 200;
const QUIET_MILLISECONDS = 50;

const Step = Object.freeze({ readAlarm: 0, writeAlarm: 1, measure: 2 } as const);
type Step = (typeof Step)[keyof typeof Step];

export interface Pzem004tOptions {
	readonly sensor: Sensor<SerialIo, SerialIoOptions>;
	readonly onWake?: () => void;
}

export interface Pzem004tConfiguration {
	/** 1 to 247, or 248 for the only one on the line. */
	readonly address?: number;
	/** Threshold of the module's own alarm, W: written only when it is another. */
	readonly alarmWatts?: number;
	readonly pollMilliseconds?: number;
	readonly powerWattsMax?: number;
}

/**
 * Peacefair PZEM-004T V3.0, one phase, Modbus RTU over UART 9600 8N1. Asked with 0x04 for input registers 0 to 9, each
 * 16 bits, most significant byte first; of 32-bit values the low register comes first.
 * | register | size | field        | unit and range                                   |
 * |---------:|-----:|--------------|--------------------------------------------------|
 * |        0 |    1 | voltage      | 0.1 V                                            |
 * |        1 |    2 | current      | 0.001 A                                          |
 * |        3 |    2 | power        | 0.1 W, magnitude                                 |
 * |        5 |    2 | energy       | 1 Wh, 0 to 9 999 999; kept over power cuts       |
 * |        7 |    1 | frequency    | 0.1 Hz                                           |
 * |        8 |    1 | power factor | 0.01                                             |
 * |        9 |    1 | alarm        | 0xFFFF: over the threshold of holding register 1 |
 *
 * 0x42 would set the energy to 0 and 0x41 the module's calibration: never sent. A total that goes back is refused, and
 * believed when it comes twice (somebody else reset it). No direction. Memory on XS: 120 slots, 408 bytes of chunks.
 * The phase between the channels cannot be corrected in this module; its own calibration is not documented.
 * @see Peacefair "PZEM-004T V3.0 User Manual", sections 1 and 2; the wrap at 10 000 kWh follows from its range
 */
export class Pzem004t implements FrontEnd {
	readonly abilities = Object.freeze({ offset: true, phase: false });
	isAlarm = false;
	readonly #state = new FrontEndState(1, false);
	readonly #serial: SerialIo;
	readonly #onWake: (() => void) | undefined;
	readonly #window = new SerialWindow(32);
	readonly #question = new Uint8Array(QUESTION_BYTES);
	readonly #counter = new UpCounter(ENERGY_MODULUS);
	#wake = false;
	#deadline = Number.POSITIVE_INFINITY;
	#isAsked = false;
	#step: Step = Step.measure;
	#address = ANY_ADDRESS;
	#alarmWatts = Number.NaN;
	#pollMilliseconds = 1000;
	#pollAtMilliseconds = Number.NEGATIVE_INFINITY;
	#powerWattsMax = 0;
	#countedAtMilliseconds = Number.NaN;

	constructor(options: Pzem004tOptions) {
		this.#onWake = options.onWake;
		this.#serial = openIo(options.sensor, {
			baud: 9600,
			parity: "none",
			stop: 1,
			format: "buffer",
			onReadable: () => {
				this.#wake = true;
				this.#onWake?.();
			},
		});
	}

	configure(configuration: Pzem004tConfiguration = {}): void {
		const {
			address = ANY_ADDRESS,
			alarmWatts = Number.NaN,
			pollMilliseconds = 1000,
			powerWattsMax = 25_000,
		} = configuration;
		if (!(address >= 1 && address <= ANY_ADDRESS) || alarmWatts < 1 || alarmWatts > 0xffff)
			throw new InvariantError("PZEM-004T");
		this.#address = address;
		this.#alarmWatts = alarmWatts;
		this.#pollMilliseconds = pollMilliseconds;
		this.#powerWattsMax = powerWattsMax;
		this.#weigh();
		this.#counter.forget();
		this.#countedAtMilliseconds = Number.NaN;
		this.#step = Number.isNaN(alarmWatts) ? Step.measure : Step.readAlarm;
		this.#isAsked = false;
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
		if (calibration.phaseDelayNanoseconds !== 0) return this.counters.count(Status.unsupported); // PZM-1
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
			this.counters.count(this.#window.length > 0 ? Status.badLength : Status.timedOut); // PZM-2
			this.#isAsked = false;
			this.#window.length = 0;
			this.#state.isReady = false;
			this.#next(nowMilliseconds);
			return;
		}
		this.#ask(nowMilliseconds);
	}

	/** 1 Wh. */
	#weigh(): void {
		this.#state.energies[0]!.setWeight((1000 * this.#state.calibrations[0]!.powerGainQ24) / GAIN_ONE_Q24);
	}

	#next(nowMilliseconds: number): void {
		this.#pollAtMilliseconds += this.#pollMilliseconds;
		if (!(this.#pollAtMilliseconds > nowMilliseconds))
			this.#pollAtMilliseconds = nowMilliseconds + this.#pollMilliseconds;
		this.#deadline = this.#pollAtMilliseconds;
	}

	#ask(nowMilliseconds: number): void {
		const question = this.#question;
		question[0] = this.#address;
		question[2] = 0;
		question[4] = 0;
		if (this.#step === Step.measure) {
			question[1] = READ_INPUT;
			question[3] = 0;
			question[5] = MEASURED_REGISTERS;
		} else if (this.#step === Step.readAlarm) {
			question[1] = READ_HOLDING;
			question[3] = ALARM_REGISTER;
			question[5] = 1;
		} else {
			question[1] = WRITE_SINGLE;
			question[3] = ALARM_REGISTER;
			question[4] = this.#alarmWatts >> 8;
			question[5] = this.#alarmWatts & 255;
		}
		sealModbus(question, 6);
		this.#window.length = 0;
		this.#isAsked = true;
		this.#deadline = nowMilliseconds + ANSWER_MILLISECONDS;
		this.#serial.write(question);
	}

	/** An answer that is not whole and right is dropped whole; the question comes again when the line was quiet. */
	#parse(nowMilliseconds: number): void {
		const window = this.#window;
		while (window.fill(this.#serial) > 0) {
			if (!this.#isAsked) window.length = 0;
			if (window.length < 2) continue;
			const code = window.bytes[1]!;
			let wanted = EXCEPTION_BYTES;
			if (code === READ_INPUT) wanted = MEASURED_BYTES;
			else if (code === READ_HOLDING) wanted = ALARM_BYTES;
			else if (code === WRITE_SINGLE) wanted = QUESTION_BYTES;
			if (window.length < wanted) continue;
			this.#isAsked = false;
			const status = this.#check(wanted);
			if (status === Status.ok) this.#answered(nowMilliseconds);
			else {
				this.counters.count(status);
				if (status === Status.refusedByPeer) this.#next(nowMilliseconds);
				else this.#deadline = nowMilliseconds + QUIET_MILLISECONDS;
			}
			window.length = 0;
		}
	}

	#check(wanted: number): Status {
		const bytes = this.#window.bytes;
		const code = this.#question[1]!;
		if (modbusCrc(bytes, wanted) !== 0) return Status.badChecksum; // PZM-3
		if (bytes[0] !== this.#address) return Status.protocolError; // PZM-4
		if (bytes[1] === (code | EXCEPTION)) return Status.refusedByPeer; // PZM-5
		if (bytes[1] !== code) return Status.protocolError; // PZM-4
		if (code !== WRITE_SINGLE && bytes[2] !== wanted - 5) return Status.badLength; // PZM-6
		return Status.ok;
	}

	#answered(nowMilliseconds: number): void {
		if (this.#step === Step.readAlarm) {
			this.#step = this.#register(0) === this.#alarmWatts ? Step.measure : Step.writeAlarm;
			this.#deadline = nowMilliseconds;
			return;
		}
		if (this.#step === Step.writeAlarm) {
			this.#step = Step.readAlarm;
			this.#deadline = nowMilliseconds;
			return;
		}
		const power = this.#register(3) + 0x1_0000 * this.#register(4);
		const energy = this.#register(5) + 0x1_0000 * this.#register(6);
		if (power > this.#powerWattsMax * 10 || energy >= ENERGY_MODULUS)
			this.counters.count(Status.badValue); // PZM-7
		else this.#take(power, energy, nowMilliseconds);
		this.#next(nowMilliseconds);
	}

	#register(index: number): number {
		const bytes = this.#window.bytes;
		return (bytes[3 + 2 * index]! << 8) | bytes[4 + 2 * index]!;
	}

	#take(power: number, energy: number, nowMilliseconds: number): void {
		const calibration = this.#state.calibrations[0]!;
		const elapsed = Number.isNaN(this.#countedAtMilliseconds) ? 0 : nowMilliseconds - this.#countedAtMilliseconds;
		const status = this.#counter.advance(energy, 2 + (elapsed / 3_600_000) * this.#powerWattsMax);
		if (status === Status.outOfOrder) {
			this.counters.count(status); // PZM-8
			return;
		}
		if (status === Status.corrupt) this.#state.chipReset(); // PZM-9
		this.#countedAtMilliseconds = nowMilliseconds;
		const offset = power > 0 ? calibration.powerOffsetMilliwatts : 0;
		this.#state.energies[0]!.add(this.#counter.delta, offset * elapsed);
		const phase = this.reading.phases[0]!;
		phase.voltageMillivolts = Math.round((this.#register(0) * 100 * calibration.voltageGainQ24) / GAIN_ONE_Q24);
		const current = this.#register(1) + 0x1_0000 * this.#register(2);
		phase.currentMilliamperes = Math.round((current * calibration.currentGainQ24) / GAIN_ONE_Q24);
		phase.powerMilliwatts = Math.round((power * 100 * calibration.powerGainQ24) / GAIN_ONE_Q24) - offset;
		this.reading.frequencyMillihertz = this.#register(7) * 100;
		this.isAlarm = this.#register(9) === 0xffff;
		this.#state.completed(nowMilliseconds);
	}
}
