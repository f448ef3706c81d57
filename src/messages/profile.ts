import { getUint53, setUint53 } from "../bytes/integers.js";
import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/** One interval of the load profile. Register values are those at the end of the interval. */
export interface ProfileRow {
	/** Counts up by one for each row a meter ever stores; never reused. */
	sequence: number;
	/** Start of the interval, UTCTime; aligned to the period. */
	intervalStartSeconds: number;
	/** Part of the interval that was measured, s. */
	durationSeconds: number;
	/** IDIS status bits: 0x80 power down, 0x20 clock adjusted, 0x02 clock invalid, 0x04 doubtful, 0x01 critical, 0x08 summer time. */
	status: number;
	/** Tariff in force at the end, 1 to 8. */
	tariff: number;
	/** Registers at the end, mWh and mvarh. */
	activeEnergyImport: number;
	activeEnergyExport: number;
	reactiveEnergyImport: number;
	reactiveEnergyExport: number;
}

/**
 * Profile rows, version 1: 6 + 44 × rowCount bytes. Answers a request, or is sent unasked with each new row.
 * | offset | size | field                | unit and range                                |
 * |-------:|-----:|----------------------|-----------------------------------------------|
 * |      0 |    1 | kind                 | 0x03                                          |
 * |      1 |    1 | version              | 1                                             |
 * |      2 |    2 | requestId            | 0: unasked                                    |
 * |      4 |    1 | rowCount             | 1 to 20                                       |
 * |      5 |    1 | reserved             | 0                                             |
 * |      6 | 44 each | rows              | as follows                                    |
 * |     +0 |    4 | sequence             |                                               |
 * |     +4 |    4 | intervalStartSeconds | UTCTime                                       |
 * |     +8 |    2 | durationSeconds      | s                                             |
 * |    +10 |    1 | status               | IDIS bits                                     |
 * |    +11 |    1 | tariff               | 1 to 8                                        |
 * |    +12 |    8 | activeEnergyImport   | mWh                                           |
 * |    +20 |    8 | activeEnergyExport   | mWh                                           |
 * |    +28 |    8 | reactiveEnergyImport | mvarh                                         |
 * |    +36 |    8 | reactiveEnergyExport | mvarh                                         |
 */
export const PROFILE_HEADER_BYTES = 6;
export const PROFILE_ROW_BYTES = 44;
export const PROFILE_ROWS_MAX = 20;

export function createProfileRow(): ProfileRow {
	return {
		sequence: 0,
		intervalStartSeconds: 0,
		durationSeconds: 0,
		status: 0,
		tariff: 1,
		activeEnergyImport: 0,
		activeEnergyExport: 0,
		reactiveEnergyImport: 0,
		reactiveEnergyExport: 0,
	};
}

/** Writes the header; `encodeProfileRow` follows for each row. @returns bytes of the whole message */
export function encodeProfileHeader(requestId: number, rowCount: number, into: DataView): number {
	into.setUint8(0, Kind.profile);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, requestId);
	into.setUint8(4, rowCount);
	into.setUint8(5, 0);
	return PROFILE_HEADER_BYTES + rowCount * PROFILE_ROW_BYTES;
}

export function encodeProfileRow(row: ProfileRow, rowIndex: number, into: DataView): void {
	const offset = PROFILE_HEADER_BYTES + rowIndex * PROFILE_ROW_BYTES;
	into.setUint32(offset, row.sequence);
	into.setUint32(offset + 4, row.intervalStartSeconds);
	into.setUint16(offset + 8, row.durationSeconds);
	into.setUint8(offset + 10, row.status);
	into.setUint8(offset + 11, row.tariff);
	setUint53(into, offset + 12, row.activeEnergyImport);
	setUint53(into, offset + 20, row.activeEnergyExport);
	setUint53(into, offset + 28, row.reactiveEnergyImport);
	setUint53(into, offset + 36, row.reactiveEnergyExport);
}

/** Checks the frame; rows are then read one by one. `rowCount` is in `into.rowCount`. */
export function decodeProfileHeader(
	from: DataView,
	byteLength: number,
	into: { requestId: number; rowCount: number },
): Status {
	if (byteLength < PROFILE_HEADER_BYTES) return Status.badLength; // PRF-1
	if (from.getUint8(0) !== Kind.profile) return Status.badKind; // PRF-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // PRF-3
	const rowCount = from.getUint8(4);
	if (rowCount < 1 || rowCount > PROFILE_ROWS_MAX) return Status.badValue; // PRF-4
	if (byteLength !== PROFILE_HEADER_BYTES + rowCount * PROFILE_ROW_BYTES) return Status.badLength; // PRF-5
	into.requestId = from.getUint16(2);
	into.rowCount = rowCount;
	return Status.ok;
}

/** Reads one row of a message whose header was `ok`. */
export function decodeProfileRow(from: DataView, rowIndex: number, into: ProfileRow): Status {
	const offset = PROFILE_HEADER_BYTES + rowIndex * PROFILE_ROW_BYTES;
	for (let register = offset + 12; register < offset + PROFILE_ROW_BYTES; register += 8)
		if (Number.isNaN(getUint53(from, register))) return Status.badValue; // PRF-6
	const tariff = from.getUint8(offset + 11);
	if (tariff < 1 || tariff > 8) return Status.badValue; // PRF-7
	into.sequence = from.getUint32(offset);
	into.intervalStartSeconds = from.getUint32(offset + 4);
	into.durationSeconds = from.getUint16(offset + 8);
	into.status = from.getUint8(offset + 10);
	into.tariff = tariff;
	into.activeEnergyImport = getUint53(from, offset + 12);
	into.activeEnergyExport = getUint53(from, offset + 20);
	into.reactiveEnergyImport = getUint53(from, offset + 28);
	into.reactiveEnergyExport = getUint53(from, offset + 36);
	return Status.ok;
}
