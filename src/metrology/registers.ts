import { getUint53, setUint53 } from "../bytes/integers.js";
import { InvariantError, Status } from "../bytes/status.js";

/** How the phases of one window meet in the registers; see docs/DESIGN-METROLOGY.md. Both sets are always kept. */
export const Netting = Object.freeze({
	/** Each phase counts on its own: import is the sum over phases of max(P, 0). */
	perPhase: 0,
	/** The phases are summed first (saldierend): import is max(sum of P, 0). */
	vectorSum: 1,
} as const);
export type Netting = (typeof Netting)[keyof typeof Netting];

/** Registers of one netting set, in this order. */
export const Register = Object.freeze({
	/** A+, 1-0:1.8.0, mWh. */
	activeImport: 0,
	/** A-, 1-0:2.8.0, mWh. */
	activeExport: 1,
	/** 1-0:5.8.0 to 1-0:8.8.0, mvarh. */
	reactiveQuadrant1: 2,
	reactiveQuadrant2: 3,
	reactiveQuadrant3: 4,
	reactiveQuadrant4: 5,
	/** 1-0:9.8.0, 1-0:10.8.0, mVAh. */
	apparentImport: 6,
	apparentExport: 7,
} as const);
export type Register = (typeof Register)[keyof typeof Register];

export const SET_REGISTERS = 8;
export const TARIFF_COUNT = 4;
const PHASE_BASE = 2 * SET_REGISTERS;
const REGISTER_COUNT = PHASE_BASE + 6;
/** Places in `#values` behind the registers. */
const REMAINDERS = REGISTER_COUNT;
const TARIFFS = REMAINDERS + REGISTER_COUNT;
/** 1 mWh in mW·ms; the same number for mvarh and mVAh. */
const MILLIWATT_MILLISECONDS = 3_600_000;
/** 1 kWh in mWh. */
const PULSE_UNIT = 1_000_000;

/**
 * Energy registers, storage form version 1: 344 bytes, big-endian.
 * | offset | size   | field          | unit and range                                                             |
 * |-------:|-------:|----------------|----------------------------------------------------------------------------|
 * |      0 |      1 | version        | 1                                                                          |
 * |      1 |      1 | legal          | netting set that tariffs and pulses follow: 0 perPhase, 1 vectorSum        |
 * |      2 |      2 | reserved       | 0                                                                          |
 * |      4 |      8 | pulses         | count, 0 to 2^53 - 1                                                       |
 * |     12 |      4 | pulseRemainder | mWh·(pulses/kWh), 0 to 999 999                                             |
 * |     16 | 22×12  | registers      | 8 + 4 each: mWh (mvarh, mVAh), 0 to 2^53 - 1; remainder, mW·ms,            |
 * |        |        |                | 0 to 3 599 999. perPhase set, vectorSum set (order of `Register`),         |
 * |        |        |                | then A+ of L1 L2 L3, A- of L1 L2 L3                                        |
 * |    280 | 8×8    | tariffs        | mWh: A+ of tariff 1 to 4, A- of tariff 1 to 4                              |
 */
export const REGISTER_BYTES = 344;
export const REGISTER_VERSION = 1;

/**
 * All energy registers of a meter. Each is an integer number of mWh, exact to 2^53, with a remainder that is carried; it
 * only counts up. Signs are split here, once for each window, and the quadrant is decided once for each window and set.
 * 430 bytes of chunks.
 */
export class EnergyRegisters {
	/** Registers, what each has short of a whole unit, tariffs: one array, since each of its own costs XS eight slots. */
	readonly #values = new Float64Array(TARIFFS + 2 * TARIFF_COUNT);
	readonly legal: Netting;
	readonly pulsesPerKilowattHour: number;
	#tariff = 1;
	#pulses = 0;
	#pulseRemainder = 0;

	/** @param legal the set that tariffs, pulses and the plain getters follow */
	constructor(legal: Netting, pulsesPerKilowattHour: number) {
		if (!(pulsesPerKilowattHour >= 1 && pulsesPerKilowattHour <= 1_000_000)) throw new InvariantError("meter constant");
		this.legal = legal;
		this.pulsesPerKilowattHour = pulsesPerKilowattHour;
	}

	/** Tariff in force, 1 to 4. The energy of a window goes to the one set when the window ends. */
	get tariff(): number {
		return this.#tariff;
	}

	set tariff(tariff: number) {
		if (!(Number.isInteger(tariff) && tariff >= 1 && tariff <= TARIFF_COUNT)) throw new InvariantError("tariff");
		this.#tariff = tariff;
	}

	/** mWh (mvarh, mVAh) of one register of one netting set. */
	value(netting: Netting, register: Register): number {
		return this.#values[netting * SET_REGISTERS + register]!;
	}

	/** What is not yet a whole mWh, mW·ms. */
	remainder(netting: Netting, register: Register): number {
		return this.#values[REMAINDERS + netting * SET_REGISTERS + register]!;
	}

	/** A+ of the legal set, mWh. */
	get activeImportMilliwattHours(): number {
		return this.#values[this.legal * SET_REGISTERS]!;
	}

	/** A- of the legal set, mWh. */
	get activeExportMilliwattHours(): number {
		return this.#values[this.legal * SET_REGISTERS + Register.activeExport]!;
	}

	/** R+ = QI + QII of the legal set, mvarh. */
	get reactiveImportMillivarHours(): number {
		const base = this.legal * SET_REGISTERS;
		return this.#values[base + Register.reactiveQuadrant1]! + this.#values[base + Register.reactiveQuadrant2]!;
	}

	/** R- = QIII + QIV of the legal set, mvarh. */
	get reactiveExportMillivarHours(): number {
		const base = this.legal * SET_REGISTERS;
		return this.#values[base + Register.reactiveQuadrant3]! + this.#values[base + Register.reactiveQuadrant4]!;
	}

	/** A+ (`exported` false) or A- of one phase, 0 to 2, mWh. */
	phaseMilliwattHours(phase: number, exported: boolean): number {
		return this.#values[PHASE_BASE + (exported ? 3 : 0) + phase]!;
	}

	/** A+ or A- of tariff 1 to 4, mWh. Their sum is the legal register, always. */
	tariffMilliwattHours(tariff: number, exported: boolean): number {
		return this.#values[TARIFFS + (exported ? TARIFF_COUNT : 0) + tariff - 1]!;
	}

	/** Pulses of the metrology LED since the meter was new: cut from A+ plus A- of the legal set. */
	get pulses(): number {
		return this.#pulses;
	}

	/**
	 * Counts the energy of one window.
	 * @param energies integers, at least 3 × phaseCount: mW·ms of each phase, signed; then mvar·ms of each phase, signed;
	 * then mVA·ms of each phase, not negative
	 */
	add(energies: Float64Array, phaseCount: number): void {
		let active = 0;
		let reactive = 0;
		let apparent = 0;
		for (let p = 0; p < phaseCount; p++) {
			const activeOfPhase = energies[p]!;
			const reactiveOfPhase = energies[phaseCount + p]!;
			const apparentOfPhase = energies[2 * phaseCount + p]!;
			this.#addSet(0, activeOfPhase, reactiveOfPhase, apparentOfPhase);
			if (activeOfPhase >= 0) this.#add(PHASE_BASE + p, activeOfPhase);
			else this.#add(PHASE_BASE + 3 + p, -activeOfPhase);
			active += activeOfPhase;
			reactive += reactiveOfPhase;
			apparent += apparentOfPhase;
		}
		this.#addSet(SET_REGISTERS, active, reactive, apparent);
	}

	#addSet(base: number, active: number, reactive: number, apparent: number): void {
		const exported = active < 0;
		const whole = this.#add(base + (exported ? Register.activeExport : Register.activeImport), Math.abs(active));
		if (reactive >= 0) this.#add(base + (exported ? Register.reactiveQuadrant2 : Register.reactiveQuadrant1), reactive);
		else this.#add(base + (exported ? Register.reactiveQuadrant3 : Register.reactiveQuadrant4), -reactive);
		this.#add(base + (exported ? Register.apparentExport : Register.apparentImport), apparent);
		if (whole === 0 || base !== this.legal * SET_REGISTERS) return;
		// whole mWh only, so that the tariffs add up to the register at any moment
		const tariff = TARIFFS + (exported ? TARIFF_COUNT : 0) + this.#tariff - 1;
		this.#values[tariff] = this.#values[tariff]! + whole;
		const total = this.#pulseRemainder + whole * this.pulsesPerKilowattHour;
		const pulses = Math.floor(total / PULSE_UNIT);
		this.#pulses += pulses;
		this.#pulseRemainder = total - pulses * PULSE_UNIT;
	}

	/** @returns whole mWh that the register grew by */
	#add(index: number, amount: number): number {
		if (!(amount >= 0 && amount <= Number.MAX_SAFE_INTEGER - MILLIWATT_MILLISECONDS))
			throw new InvariantError("energy out of range");
		const values = this.#values;
		const total = values[REMAINDERS + index]! + amount;
		if (total < MILLIWATT_MILLISECONDS) {
			values[REMAINDERS + index] = total;
			return 0;
		}
		const whole = Math.floor(total / MILLIWATT_MILLISECONDS);
		values[index] = values[index]! + whole;
		values[REMAINDERS + index] = total - whole * MILLIWATT_MILLISECONDS;
		return whole;
	}

	/** See `encodeRegisters`. */
	encode(into: DataView, offset: number): number {
		into.setUint8(offset, REGISTER_VERSION);
		into.setUint8(offset + 1, this.legal);
		into.setUint16(offset + 2, 0);
		setUint53(into, offset + 4, this.#pulses);
		into.setUint32(offset + 12, this.#pulseRemainder);
		let at = offset + 16;
		for (let i = 0; i < REGISTER_COUNT; i++, at += 12) {
			setUint53(into, at, this.#values[i]!);
			into.setUint32(at + 8, this.#values[REMAINDERS + i]!);
		}
		for (let i = 0; i < 2 * TARIFF_COUNT; i++, at += 8) setUint53(into, at, this.#values[TARIFFS + i]!);
		return REGISTER_BYTES;
	}

	/** See `decodeRegisters`. */
	decode(from: DataView, offset: number, byteLength: number): Status {
		if (byteLength !== REGISTER_BYTES) return Status.badLength; // REG-1
		if (from.getUint8(offset) !== REGISTER_VERSION) return Status.badVersion; // REG-2
		const legal = from.getUint8(offset + 1);
		if (legal > 1 || from.getUint16(offset + 2) !== 0) return Status.badValue; // REG-3
		const pulses = getUint53(from, offset + 4);
		const pulseRemainder = from.getUint32(offset + 12);
		if (!(pulses >= 0) || pulseRemainder >= PULSE_UNIT) return Status.badValue; // REG-4
		if (pulses < this.#pulses) return Status.outOfOrder; // REG-7
		let imported = 0;
		let exported = 0;
		for (let i = 0; i < 2 * TARIFF_COUNT; i++) {
			const value = getUint53(from, offset + 280 + 8 * i);
			if (!(value >= 0)) return Status.badValue; // REG-5
			if (value < this.#values[TARIFFS + i]!) return Status.outOfOrder; // REG-7
			if (i < TARIFF_COUNT) imported += value;
			else exported += value;
		}
		for (let i = 0; i < REGISTER_COUNT; i++) {
			const at = offset + 16 + 12 * i;
			const value = getUint53(from, at);
			const remainder = from.getUint32(at + 8);
			if (!(value >= 0) || remainder >= MILLIWATT_MILLISECONDS) return Status.badValue; // REG-5
			if (value < this.#values[i]! || (value === this.#values[i]! && remainder < this.#values[REMAINDERS + i]!))
				return Status.outOfOrder; // REG-7
		}
		const base = offset + 16 + 12 * SET_REGISTERS * legal;
		if (legal === this.legal && (imported !== getUint53(from, base) || exported !== getUint53(from, base + 12)))
			return Status.badValue; // REG-6
		for (let i = 0; i < REGISTER_COUNT; i++) {
			this.#values[i] = getUint53(from, offset + 16 + 12 * i);
			this.#values[REMAINDERS + i] = from.getUint32(offset + 24 + 12 * i);
		}
		for (let i = 0; i < 2 * TARIFF_COUNT; i++) this.#values[TARIFFS + i] = getUint53(from, offset + 280 + 8 * i);
		this.#pulses = pulses;
		this.#pulseRemainder = pulseRemainder;
		return Status.ok;
	}
}

/** Writes 344 bytes at `offset`. @returns 344 */
export function encodeRegisters(registers: EnergyRegisters, into: DataView, offset = 0): number {
	return registers.encode(into, offset);
}

/**
 * Restores registers; everything is checked before anything changes.
 * @returns `ok`; `badLength`, `badVersion`, `badValue` (a field out of range, or tariffs that do not add up to their
 * register); `outOfOrder` when any register would go backwards
 */
export function decodeRegisters(from: DataView, byteLength: number, into: EnergyRegisters, offset = 0): Status {
	return into.decode(from, offset, byteLength);
}
