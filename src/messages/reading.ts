import { getInt48, getUint53, setInt48, setUint53 } from "../bytes/integers.js";
import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/** Marks a power factor or angle that cannot be given (apparent power below its threshold). */
export const NOT_AVAILABLE = 0x7fff;

/** Bits of `Reading.flags`. */
export const ReadingFlag = Object.freeze({
	clockInvalid: 1,
	relayOpen: 2,
	coverOpen: 4,
	magneticField: 8,
	frequencyInvalid: 16,
	clipped: 32,
	tamperSuspected: 64,
	noVoltage: 128,
} as const);

/** One phase of a reading. */
export interface PhaseReading {
	voltageMillivolts: number;
	currentMilliamperes: number;
	powerMilliwatts: number;
	reactivePowerMillivars: number;
	apparentPowerMillivoltAmperes: number;
	/** -1000 to 1000, `NOT_AVAILABLE`; sign of the active power. */
	powerFactorPermille: number;
	thdVoltagePermille: number;
	thdCurrentPermille: number;
	/** Displacement of the current against the voltage, 0.1 degree, -1800 to 1800, + lagging; `NOT_AVAILABLE`. */
	phaseAngleTenthsDegree: number;
}

/** Instantaneous values and totals at one moment; not stored on the meter. */
export interface Reading {
	/** Counts the readings since start; (bootCount, readingIndex) never repeats. */
	bootCount: number;
	readingIndex: number;
	utcSeconds: number;
	flags: number;
	frequencyMillihertz: number;
	neutralCurrentMilliamperes: number;
	/** Tariff in force, 1 to 8. */
	tariff: number;
	phaseCount: number;
	readonly phases: readonly [PhaseReading, PhaseReading, PhaseReading];
	/** Totals of the legal netting mode, mWh and mvarh. */
	activeEnergyImport: number;
	activeEnergyExport: number;
	reactiveEnergyImport: number;
	reactiveEnergyExport: number;
}

/**
 * Reading, version 1: 64 + 34 × phaseCount bytes.
 * | offset | size | field                      | unit and range                      |
 * |-------:|-----:|----------------------------|-------------------------------------|
 * |      0 |    1 | kind                       | 0x02                                |
 * |      1 |    1 | version                    | 1                                   |
 * |      2 |    4 | bootCount                  |                                     |
 * |      6 |    4 | readingIndex               | counts up by one                    |
 * |     10 |    4 | utcSeconds                 | UTCTime                             |
 * |     14 |    2 | flags                      | see ReadingFlag                     |
 * |     16 |    4 | frequencyMillihertz        | mHz, 0 when invalid                 |
 * |     20 |    4 | neutralCurrentMilliamperes | mA                                  |
 * |     24 |    1 | tariff                     | 1 to 8                              |
 * |     25 |    1 | phaseCount                 | 1 to 3                              |
 * |     26 |    6 | reserved                   | 0                                   |
 * |     32 |    8 | activeEnergyImport         | mWh                                 |
 * |     40 |    8 | activeEnergyExport         | mWh                                 |
 * |     48 |    8 | reactiveEnergyImport       | mvarh                               |
 * |     56 |    8 | reactiveEnergyExport       | mvarh                               |
 * |     64 | 34 each | phases                  | as follows                          |
 * |     +0 |    4 | voltageMillivolts          | mV                                  |
 * |     +4 |    4 | currentMilliamperes        | mA                                  |
 * |     +8 |    6 | powerMilliwatts            | mW, signed, + import                |
 * |    +14 |    6 | reactivePowerMillivars     | mvar, signed, + current lags        |
 * |    +20 |    6 | apparentPower…             | mVA                                 |
 * |    +26 |    2 | powerFactorPermille        | signed, 0x7FFF not available        |
 * |    +28 |    2 | thdVoltagePermille         | 0 to 65535                          |
 * |    +30 |    2 | thdCurrentPermille         | 0 to 65535                          |
 * |    +32 |    2 | phaseAngleTenthsDegree     | signed, 0x7FFF not available        |
 */
export const READING_HEADER_BYTES = 64;
export const READING_PHASE_BYTES = 34;

function createPhaseReading(): PhaseReading {
	return {
		voltageMillivolts: 0,
		currentMilliamperes: 0,
		powerMilliwatts: 0,
		reactivePowerMillivars: 0,
		apparentPowerMillivoltAmperes: 0,
		powerFactorPermille: NOT_AVAILABLE,
		thdVoltagePermille: 0,
		thdCurrentPermille: 0,
		phaseAngleTenthsDegree: NOT_AVAILABLE,
	};
}

export function createReading(): Reading {
	return {
		bootCount: 0,
		readingIndex: 0,
		utcSeconds: 0,
		flags: 0,
		frequencyMillihertz: 0,
		neutralCurrentMilliamperes: 0,
		tariff: 1,
		phaseCount: 1,
		phases: [createPhaseReading(), createPhaseReading(), createPhaseReading()],
		activeEnergyImport: 0,
		activeEnergyExport: 0,
		reactiveEnergyImport: 0,
		reactiveEnergyExport: 0,
	};
}

/** @returns bytes written */
export function encodeReading(reading: Reading, into: DataView): number {
	into.setUint8(0, Kind.reading);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint32(2, reading.bootCount);
	into.setUint32(6, reading.readingIndex);
	into.setUint32(10, reading.utcSeconds);
	into.setUint16(14, reading.flags);
	into.setUint32(16, reading.frequencyMillihertz);
	into.setUint32(20, reading.neutralCurrentMilliamperes);
	into.setUint8(24, reading.tariff);
	into.setUint8(25, reading.phaseCount);
	into.setUint16(26, 0);
	into.setUint32(28, 0);
	setUint53(into, 32, reading.activeEnergyImport);
	setUint53(into, 40, reading.activeEnergyExport);
	setUint53(into, 48, reading.reactiveEnergyImport);
	setUint53(into, 56, reading.reactiveEnergyExport);
	let offset = READING_HEADER_BYTES;
	for (let index = 0; index < reading.phaseCount; index++) {
		const phase = reading.phases[index as 0 | 1 | 2];
		into.setUint32(offset, phase.voltageMillivolts);
		into.setUint32(offset + 4, phase.currentMilliamperes);
		setInt48(into, offset + 8, phase.powerMilliwatts);
		setInt48(into, offset + 14, phase.reactivePowerMillivars);
		setInt48(into, offset + 20, phase.apparentPowerMillivoltAmperes);
		into.setInt16(offset + 26, phase.powerFactorPermille);
		into.setUint16(offset + 28, phase.thdVoltagePermille);
		into.setUint16(offset + 30, phase.thdCurrentPermille);
		into.setInt16(offset + 32, phase.phaseAngleTenthsDegree);
		offset += READING_PHASE_BYTES;
	}
	return offset;
}

export function decodeReading(from: DataView, byteLength: number, into: Reading): Status {
	if (byteLength < READING_HEADER_BYTES) return Status.badLength; // RDG-1
	if (from.getUint8(0) !== Kind.reading) return Status.badKind; // RDG-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // RDG-3
	const phaseCount = from.getUint8(25);
	if (phaseCount < 1 || phaseCount > 3) return Status.badValue; // RDG-4
	if (byteLength !== READING_HEADER_BYTES + phaseCount * READING_PHASE_BYTES) return Status.badLength; // RDG-5
	const tariff = from.getUint8(24);
	if (tariff < 1 || tariff > 8) return Status.badValue; // RDG-6
	for (let offset = 32; offset < READING_HEADER_BYTES; offset += 8)
		if (Number.isNaN(getUint53(from, offset))) return Status.badValue; // RDG-7
	into.bootCount = from.getUint32(2);
	into.readingIndex = from.getUint32(6);
	into.utcSeconds = from.getUint32(10);
	into.flags = from.getUint16(14);
	into.frequencyMillihertz = from.getUint32(16);
	into.neutralCurrentMilliamperes = from.getUint32(20);
	into.tariff = tariff;
	into.phaseCount = phaseCount;
	into.activeEnergyImport = getUint53(from, 32);
	into.activeEnergyExport = getUint53(from, 40);
	into.reactiveEnergyImport = getUint53(from, 48);
	into.reactiveEnergyExport = getUint53(from, 56);
	let offset = READING_HEADER_BYTES;
	for (let index = 0; index < phaseCount; index++) {
		const phase = into.phases[index as 0 | 1 | 2];
		phase.voltageMillivolts = from.getUint32(offset);
		phase.currentMilliamperes = from.getUint32(offset + 4);
		phase.powerMilliwatts = getInt48(from, offset + 8);
		phase.reactivePowerMillivars = getInt48(from, offset + 14);
		phase.apparentPowerMillivoltAmperes = getInt48(from, offset + 20);
		phase.powerFactorPermille = from.getInt16(offset + 26);
		phase.thdVoltagePermille = from.getUint16(offset + 28);
		phase.thdCurrentPermille = from.getUint16(offset + 30);
		phase.phaseAngleTenthsDegree = from.getInt16(offset + 32);
		offset += READING_PHASE_BYTES;
	}
	return Status.ok;
}
