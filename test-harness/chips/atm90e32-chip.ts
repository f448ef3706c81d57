import { crc32 } from "../../src/bytes/crc.js";
import type { Device } from "./bench.js";
import type { SpiBus, SpiPeer } from "./buses.js";
import type { Mains } from "./mains.js";

const UPDATE_MILLISECONDS = 200;
const POWER_STEP_WATTS = 0.00032;

/** Settings behind the key of 0x7F, with their values after a reset. */
const SETTINGS: ReadonlyMap<number, number> = new Map([
	[0x00, 0],
	[0x01, 0x0210],
	[0x02, 0x0654],
	[0x05, 0x143f],
	[0x07, 0x0001],
	[0x08, 0],
	[0x31, 0x0861],
	[0x32, 0xc468],
	[0x33, 0x0087],
	[0x34, 0],
	...[0x35, 0x36, 0x37, 0x38, 0x39, 0x3a].map((at) => [at, 0] as const),
	...[0x41, 0x42, 0x43, 0x44, 0x45, 0x46].map((at) => [at, 0] as const),
	...[0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c].map((at) => [at, 0] as const),
	...[0x61, 0x62, 0x65, 0x66, 0x69, 0x6a].map((at) => [at, 0x8000] as const),
	...[0x63, 0x64, 0x67, 0x68, 0x6b, 0x6c].map((at) => [at, 0] as const),
]);

/**
 * ATM90E32AS on a board whose parts read right with the given Ugain and Igain. Energy registers clear when read and turn
 * over at 2^16; nothing is measured until MeterEn is 1.
 */
export class Atm90e32Chip implements SpiPeer, Device {
	readonly modes = [0, 3];
	readonly hzMax = 1_600_000;
	resetCount = 0;
	readonly #mains: Mains;
	readonly #bus: SpiBus;
	readonly #nominalU: number;
	readonly #nominalI: number;
	#settings = new Map(SETTINGS);
	readonly #measured = new Map<number, number>();
	/** Exact counts of 0x81 to 0x8F, index from 0x80. */
	readonly #energies = new Float64Array(16);
	#access = 0;
	#lastData = 0;
	#digest: number | undefined;
	#atMilliseconds = 0;
	#updateAt = 0;

	constructor(mains: Mains, bus: SpiBus, nominalVoltageGain: number, nominalCurrentGain: number) {
		this.#mains = mains;
		this.#bus = bus;
		this.#nominalU = nominalVoltageGain;
		this.#nominalI = nominalCurrentGain;
		bus.connect(this);
	}

	reset(): void {
		this.resetCount++;
		this.#settings = new Map(SETTINGS);
		this.#energies.fill(0);
		this.#measured.clear();
		this.#access = 0;
		this.#digest = undefined;
	}

	upset(register: number): void {
		this.#settings.set(register, this.#settings.get(register)! ^ 1);
		this.#digest = undefined;
	}

	setting(register: number): number {
		return this.#settings.get(register) ?? Number.NaN;
	}

	advance(nowMilliseconds: number): void {
		while (this.#updateAt <= nowMilliseconds) {
			this.#integrate(this.#updateAt);
			this.#update();
			this.#updateAt += UPDATE_MILLISECONDS;
		}
		this.#integrate(nowMilliseconds);
	}

	deadlineMilliseconds(): number {
		return Number.POSITIVE_INFINITY;
	}

	transfer(bytes: Uint8Array): void {
		if (bytes.length !== 4) return void this.#bus.illegal("ATM90E32: a transfer has 32 bits");
		const isRead = (bytes[0]! & 0x80) !== 0;
		const register = ((bytes[0]! & 0x03) << 8) | bytes[1]!;
		if ((bytes[0]! & 0x7c) !== 0) return void this.#bus.illegal("ATM90E32: address of 10 bits");
		if (!isRead) {
			this.#write(register, (bytes[2]! << 8) | bytes[3]!);
			return;
		}
		const value = this.#read(register);
		if (register !== 0x78) this.#lastData = value;
		bytes[2] = value >> 8;
		bytes[3] = value & 255;
	}

	#read(register: number): number {
		if (register === 0x78) return this.#lastData;
		if (register === 0x7a) {
			const bytes = new Uint8Array(Uint16Array.from([...this.#settings].flat()).buffer);
			this.#digest ??= crc32(bytes, 0, bytes.length) & 0xffff;
			return this.#digest;
		}
		if (register === 0x7f) return this.#access;
		if (register >= 0x80 && register <= 0x8f) {
			const count = Math.floor(this.#energies[register - 0x80]!);
			this.#energies[register - 0x80]! -= count;
			return count % 0x1_0000;
		}
		const value = this.#settings.get(register) ?? this.#measured.get(register);
		const isMeasured = register >= 0xb0 && register <= 0xff;
		if (value === undefined && !isMeasured) this.#bus.illegal(`ATM90E32: no register 0x${register.toString(16)}`);
		return value ?? 0;
	}

	#write(register: number, value: number): void {
		this.#lastData = value;
		if (register === 0x70) {
			if (value === 0x789a) this.reset();
			else this.#bus.illegal("ATM90E32: SoftReset takes 0x789A");
			return;
		}
		if (register === 0x7f) {
			this.#access = value;
			return;
		}
		if (!SETTINGS.has(register)) return void this.#bus.illegal(`ATM90E32: 0x${register.toString(16)} is read-only`);
		if (this.#access !== 0x55aa) return void this.#bus.illegal("ATM90E32: written without the key of 0x7F");
		const isAngle = register === 0x48 || register === 0x4a || register === 0x4c;
		if (isAngle && (value & 0x7c00) !== 0) return void this.#bus.illegal("ATM90E32: reserved bits of Phi");
		if (register === 0x33 && (value & 0xe000) !== 0) return void this.#bus.illegal("ATM90E32: reserved bits of MMode0");
		this.#settings.set(register, value);
		this.#digest = undefined;
	}

	#phase(i: number): { volts: number; amperes: number; watts: number; vars: number } {
		const angle = this.#settings.get(0x48 + 2 * i)!;
		const nanoseconds = ((angle & 0x3ff) / 2_048_000) * 1e9 * ((angle & 0x8000) !== 0 ? 1 : -1);
		const seen = this.#mains.seen(i, nanoseconds);
		const voltageGain = this.#settings.get(0x61 + 4 * i)! / this.#nominalU;
		const currentGain = this.#settings.get(0x62 + 4 * i)! / this.#nominalI;
		const powerGain = 1 + ((this.#settings.get(0x47 + 2 * i)! << 16) >> 16) / 0x8000;
		const all = voltageGain * currentGain * powerGain;
		return {
			volts: seen.volts * voltageGain,
			amperes: seen.amperes * currentGain,
			watts: seen.watts * all,
			vars: seen.vars * all,
		};
	}

	#integrate(nowMilliseconds: number): void {
		const hours = (nowMilliseconds - this.#atMilliseconds) / 3_600_000;
		this.#atMilliseconds = nowMilliseconds;
		if (hours <= 0 || this.#settings.get(0x00) !== 1) return;
		const constant = this.#settings.get(0x31)! * 0x1_0000 + this.#settings.get(0x32)!;
		const countsPerWattHour = (450e9 / constant / 1000) * ((this.#settings.get(0x33)! & 0x0200) !== 0 ? 100 : 10);
		for (let i = 0; i < 3; i++) {
			const { watts, vars } = this.#phase(i);
			if (Math.abs(watts) >= this.#settings.get(0x38)! * POWER_STEP_WATTS)
				this.#energies[(watts < 0 ? 5 : 1) + i]! += Math.abs(watts) * hours * countsPerWattHour;
			if (Math.abs(vars) >= this.#settings.get(0x39)! * POWER_STEP_WATTS)
				this.#energies[(vars < 0 ? 13 : 9) + i]! += Math.abs(vars) * hours * countsPerWattHour;
		}
	}

	#update(): void {
		if (this.#settings.get(0x00) !== 1) return;
		const put = (register: number, value: number): void => {
			this.#measured.set(register, Math.round(value) & 0xffff);
		};
		for (let i = 0; i < 3; i++) {
			const { volts, amperes, watts, vars } = this.#phase(i);
			const active = Math.abs(watts) < this.#settings.get(0x38)! * POWER_STEP_WATTS ? 0 : watts;
			put(0xd9 + i, Math.min(0xffff, volts * 100));
			put(0xdd + i, Math.min(0xffff, amperes * 1000));
			put(0xb1 + i, Math.round(active / POWER_STEP_WATTS) >> 16);
			put(0xc1 + i, Math.round(active / POWER_STEP_WATTS) & 0xffff);
			put(0xb5 + i, Math.round(vars / POWER_STEP_WATTS) >> 16);
			put(0xc5 + i, Math.round(vars / POWER_STEP_WATTS) & 0xffff);
		}
		put(0xf8, this.#mains.frequencyHertz * 100);
	}
}
