import { crc32 } from "../bytes/crc.js";
import { Status } from "../bytes/status.js";
import { isGainCredible, type PhaseCalibration } from "./front-end.js";

/**
 * Corrections of a front end as they are kept, version 1: 12 + 20 × phaseCount bytes, big-endian.
 * | offset | size | field                 | unit and range                                              |
 * |-------:|-----:|-----------------------|-------------------------------------------------------------|
 * |      0 |    1 | version               | 1                                                           |
 * |      1 |    1 | phaseCount            | 1 to 3                                                      |
 * |      2 |    2 | reserved              | 0                                                           |
 * |      4 |    4 | parameterCounter      | sealed counter that this change raised, 1 to 2^32 - 1       |
 * |      8 |    4 | voltageGainQ24        | true / measured · 2^24, within 25 % of 2^24; of phase 1     |
 * |     12 |    4 | currentGainQ24        |                                                             |
 * |     16 |    4 | powerGainQ24          |                                                             |
 * |     20 |    4 | powerOffsetMilliwatts | mW, signed, taken off behind the gain                       |
 * |     24 |    4 | phaseDelayNanoseconds | ns, signed, by which the current is late                    |
 * |        |      |                       | 20 bytes alike for each further phase                       |
 * |    end |    4 | check                 | CRC-32 of all bytes before                                  |
 */
export const CALIBRATION_VERSION = 1;
const HEADER_BYTES = 8;
const PHASE_BYTES = 20;
export const CALIBRATION_BYTES_MAX = HEADER_BYTES + 3 * PHASE_BYTES + 4;

export function encodeCalibration(
	calibrations: readonly PhaseCalibration[],
	parameterCounter: number,
	into: Uint8Array,
): number {
	const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
	view.setUint8(0, CALIBRATION_VERSION);
	view.setUint8(1, calibrations.length);
	view.setUint16(2, 0);
	view.setUint32(4, parameterCounter);
	let at = HEADER_BYTES;
	for (const calibration of calibrations) {
		view.setUint32(at, calibration.voltageGainQ24);
		view.setUint32(at + 4, calibration.currentGainQ24);
		view.setUint32(at + 8, calibration.powerGainQ24);
		view.setInt32(at + 12, calibration.powerOffsetMilliwatts);
		view.setInt32(at + 16, calibration.phaseDelayNanoseconds);
		at += PHASE_BYTES;
	}
	view.setUint32(at, crc32(into, 0, at));
	return at + 4;
}

/**
 * @param sealedCounter the meter's own: a record that claims more was made with a seal that was set back since
 * @param into as many as the front end has phases; changed only when `ok`
 */
export function decodeCalibration(
	from: Uint8Array,
	byteLength: number,
	sealedCounter: number,
	into: readonly PhaseCalibration[],
): Status {
	if (byteLength < HEADER_BYTES + 4 || byteLength > from.length) return Status.badLength; // CAR-1
	const view = new DataView(from.buffer, from.byteOffset, from.byteLength);
	if (view.getUint8(0) !== CALIBRATION_VERSION) return Status.badVersion; // CAR-2
	const phaseCount = view.getUint8(1);
	if (phaseCount !== into.length || view.getUint16(2) !== 0) return Status.badValue; // CAR-3
	if (byteLength !== HEADER_BYTES + PHASE_BYTES * phaseCount + 4) return Status.badLength; // CAR-1
	if (view.getUint32(byteLength - 4) !== crc32(from, 0, byteLength - 4)) return Status.badChecksum; // CAR-4
	const counter = view.getUint32(4);
	if (counter === 0) return Status.badValue; // CAR-3
	if (counter > sealedCounter) return Status.rolledBack; // CAR-5
	for (let i = 0; i < phaseCount; i++) {
		const at = HEADER_BYTES + PHASE_BYTES * i;
		for (let gain = 0; gain < 12; gain += 4) if (!isGainCredible(view.getUint32(at + gain))) return Status.badValue; // CAR-3
	}
	for (let i = 0; i < phaseCount; i++) {
		const at = HEADER_BYTES + PHASE_BYTES * i;
		const calibration = into[i]!;
		calibration.voltageGainQ24 = view.getUint32(at);
		calibration.currentGainQ24 = view.getUint32(at + 4);
		calibration.powerGainQ24 = view.getUint32(at + 8);
		calibration.powerOffsetMilliwatts = view.getInt32(at + 12);
		calibration.phaseDelayNanoseconds = view.getInt32(at + 16);
	}
	return Status.ok;
}

/** Where corrections are kept, and the seal that every change of them breaks visibly. A host or the meter gives it. */
export interface CalibrationStore {
	/** Sealed counter of metrological parameters. */
	parameterCounter(): number;
	/** Raises it by one, durably, and logs `parametersChanged` with the new count. @returns `ok` when both are done */
	raiseParameterCounter(): Status;
	/** Old or new after a power cut, never neither. */
	replace(record: Uint8Array, byteLength: number): Status;
	/** @returns bytes of the record, 0 when there is none */
	load(into: Uint8Array): number;
}

/**
 * Keeps new corrections. The seal is broken first: a power cut behind it leaves a count too many, never a change that
 * nothing tells of.
 */
export function storeCalibration(
	store: CalibrationStore,
	calibrations: readonly PhaseCalibration[],
	buffer: Uint8Array,
): Status {
	const status = store.raiseParameterCounter();
	if (status !== Status.ok) return status;
	const byteLength = encodeCalibration(calibrations, store.parameterCounter(), buffer);
	return store.replace(buffer, byteLength);
}
