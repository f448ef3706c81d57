import type { Device } from "./bench.js";
import type { Mains } from "./mains.js";
import type { SerialLine, SerialPeer } from "./serial-line.js";

const VREF = 1.218;
const UPDATE_MILLISECONDS = 400;
const PULSE_WATT_SECONDS = 1638.4 * 256;
/** Between two bytes of one command; a longer silence resets the chip's UART. */
const GAP_MILLISECONDS = 20;

/** Reset values of the registers that can be written. */
const RESET: Readonly<Record<number, number>> = {
	18: 0, // I_RMSOS
	20: 0x0b, // WA_CREEP
	21: 0xffff, // I_FAST_RMS_TH
	22: 0x01, // I_FAST_RMS_CYC
	23: 0x03, // FREQ_CYC
	24: 0x24, // OT_FUNX
	25: 0x87, // MODE
	26: 0x02, // GAIN_CR
	28: 0, // SOFT_RESET
	29: 0, // USR_WRPROT
};

/**
 * BL0942 behind its UART, after the register list of datasheet V1.06 as public drivers give it. The input stage is told
 * its shunt and divider; `Mains` says what is there.
 */
export class Bl0942Chip implements SerialPeer, Device {
	readonly baud = 4800;
	readonly parity = "none";
	/** Commands that arrived whole. */
	commandCount = 0;
	isPowered = true;
	readonly #mains: Mains;
	readonly #line: SerialLine;
	readonly #wattPerWatt: number;
	readonly #countsPerVolt: number;
	readonly #countsPerAmpere: number;
	readonly #written = new Map<number, number>();
	readonly #command: number[] = [];
	#lastByteAt = 0;
	#atMilliseconds = 0;
	#updateAt = 0;
	#iRms = 0;
	#vRms = 0;
	#watt = 0;
	#isCreeping = true;
	/** Exact, in counts; the register is its floor modulo 2^24. */
	#pulses = 0;

	constructor(mains: Mains, line: SerialLine, shuntMicroohms: number, dividerRatio: number) {
		this.#mains = mains;
		this.#line = line;
		const shuntMilliohms = shuntMicroohms / 1000;
		this.#countsPerVolt = (73_989 * 1000) / VREF / dividerRatio;
		this.#countsPerAmpere = (305_978 * shuntMilliohms) / VREF;
		this.#wattPerWatt = (3537 * shuntMilliohms * 1000) / (VREF * VREF * dividerRatio);
		this.reset();
		line.connect(this);
	}

	/** Power came back, or SOFT_RESET. */
	reset(startCount = 0): void {
		for (const [register, value] of Object.entries(RESET)) this.#written.set(Number(register), value);
		this.#pulses = startCount;
		this.#command.length = 0;
	}

	/** Puts the energy counter near its end. */
	setCounter(count: number): void {
		this.#pulses = count;
	}

	register(address: number): number {
		switch (address) {
			case 0x03:
				return this.#iRms;
			case 0x04:
				return this.#vRms;
			case 0x06:
				return this.#watt & 0xff_ffff;
			case 0x07:
				return ((Math.floor(this.#pulses) % 0x100_0000) + 0x100_0000) % 0x100_0000;
			case 0x08:
				return Math.round(1_000_000 / this.#mains.frequencyHertz);
			case 0x09:
				return (this.#watt < 0 ? 1 : 0) | (this.#isCreeping ? 2 : 0);
			default: {
				const value = this.#written.get(address);
				if (value === undefined) return 0;
				return value;
			}
		}
	}

	advance(nowMilliseconds: number): void {
		while (this.#updateAt <= nowMilliseconds) {
			this.#integrate(this.#updateAt);
			this.#update();
			this.#updateAt += UPDATE_MILLISECONDS * ((this.#written.get(0x19)! & 0x08) === 0 ? 1 : 2);
		}
		this.#integrate(nowMilliseconds);
	}

	deadlineMilliseconds(): number {
		return Number.POSITIVE_INFINITY;
	}

	receive(byte: number, nowMilliseconds: number): void {
		if (!this.isPowered) return;
		if (nowMilliseconds - this.#lastByteAt > GAP_MILLISECONDS) this.#command.length = 0;
		this.#lastByteAt = nowMilliseconds;
		const command = this.#command;
		command.push(byte);
		const kind = command[0]! & 0xfc;
		if (kind !== 0x58 && kind !== 0xa8) {
			this.#line.illegal(`BL0942 knows no command 0x${command[0]!.toString(16)}`);
			command.length = 0;
			return;
		}
		if (kind === 0x58 && command.length === 2) {
			this.commandCount++;
			this.#answer(command[0]!, command[1]!, nowMilliseconds);
			command.length = 0;
		} else if (kind === 0xa8 && command.length === 6) {
			this.commandCount++;
			this.#write(command);
			command.length = 0;
		}
	}

	#answer(command: number, register: number, nowMilliseconds: number): void {
		if ((command & 3) !== 0) return; // another chip's address
		const bytes: number[] = [];
		let sum = command;
		const put = (value: number, count: number): void => {
			for (let i = 0; i < count; i++) bytes.push((value >> (8 * i)) & 255);
		};
		if (register === 0xaa) {
			bytes.push(0x55);
			for (const each of [0x03, 0x04]) put(this.register(each), 3);
			put(this.register(0x03), 3);
			put(this.register(0x06), 3);
			put(this.register(0x07), 3);
			put(this.register(0x08), 2);
			put(0, 1);
			put(this.register(0x09), 1);
			put(0, 2);
		} else {
			sum += register;
			if (register > 0x09 && !(register in RESET)) {
				this.#line.illegal(`BL0942: no register ${register}`);
				return;
			}
			put(this.register(register), 3);
		}
		for (const byte of bytes) sum += byte;
		bytes.push(~sum & 255);
		this.#line.send(bytes, nowMilliseconds);
	}

	#write(command: readonly number[]): void {
		let sum = 0;
		for (let i = 0; i < 5; i++) sum += command[i]!;
		if (command[5] !== (~sum & 255)) {
			this.#line.illegal("BL0942: a write with a wrong checksum");
			return;
		}
		const register = command[1]!;
		const value = command[2]! | (command[3]! << 8) | (command[4]! << 16);
		if (!(register in RESET)) {
			this.#line.illegal(`BL0942: 0x${register.toString(16)} is read-only or reserved`);
			return;
		}
		if (register === 0x1d) {
			this.#written.set(register, value);
			return;
		}
		if (this.#written.get(0x1d) !== 0x55) {
			this.#line.illegal("BL0942: written while protected");
			return;
		}
		if (register === 0x1c) {
			if (value === 0x5a5a5a) this.reset();
			return;
		}
		if (register === 0x19 && (value & 0x03) !== 0x03) {
			this.#line.illegal("BL0942: reserved bits of MODE");
			return;
		}
		this.#written.set(register, value);
	}

	#integrate(nowMilliseconds: number): void {
		const seconds = (nowMilliseconds - this.#atMilliseconds) / 1000;
		if (seconds <= 0) return;
		this.#atMilliseconds = nowMilliseconds;
		const mode = this.#written.get(0x19)!;
		const watt = this.#mains.seen(0).watts * this.#wattPerWatt;
		if ((mode & 0x04) === 0 || this.#isCreep(watt)) return;
		const pulses = (watt * seconds) / PULSE_WATT_SECONDS;
		this.#pulses += (mode & 0x80) === 0 ? pulses : Math.abs(pulses);
	}

	#isCreep(watt: number): boolean {
		return Math.abs(watt) < (this.#written.get(0x14)! * 3125) / 256;
	}

	#update(): void {
		const seen = this.#mains.seen(0);
		const watt = seen.watts * this.#wattPerWatt;
		this.#isCreeping = this.#isCreep(watt);
		this.#vRms = Math.min(0xff_ffff, Math.round(seen.volts * this.#countsPerVolt));
		this.#iRms = this.#isCreeping ? 0 : Math.min(0xff_ffff, Math.round(seen.amperes * this.#countsPerAmpere));
		this.#watt = this.#isCreeping ? 0 : Math.max(-0x80_0000, Math.min(0x7f_ffff, Math.round(watt)));
	}
}
