import { getUint53, setUint53 } from "../bytes/integers.js";
import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/** DLMS units (IEC 62056-6-2 table 4) that occur, with our scale: energies in thousandths of the unit. */
export const Unit = Object.freeze({
	/** W; values in mW. */
	watt: 27,
	/** Wh; values in mWh. */
	wattHour: 30,
	/** varh; values in mvarh. */
	varHour: 32,
	/** VAh; values in mVAh. */
	voltAmpereHour: 31,
} as const);

/** One register by its OBIS value groups C, D, E (A-B are 1-0). */
export interface RegisterEntry {
	c: number;
	d: number;
	e: number;
	unit: number;
	value: number;
}

/**
 * Snapshot of registers, version 1: 10 + 12 × entryCount bytes; answers a snapshot request.
 * | offset | size | field      | unit and range                          |
 * |-------:|-----:|------------|-----------------------------------------|
 * |      0 |    1 | kind       | 0x07                                    |
 * |      1 |    1 | version    | 1                                       |
 * |      2 |    2 | requestId  |                                         |
 * |      4 |    4 | utcSeconds | UTCTime                                 |
 * |      8 |    1 | entryCount | 0 to 80                                 |
 * |      9 |    1 | reserved   | 0                                       |
 * |     10 | 12 each | entries | C 1, D 1, E 1, unit 1, value 8          |
 */
export const SNAPSHOT_HEADER_BYTES = 10;
export const REGISTER_ENTRY_BYTES = 12;
export const REGISTER_ENTRIES_MAX = 80;

export function encodeSnapshotHeader(
	requestId: number,
	utcSeconds: number,
	entryCount: number,
	into: DataView,
): number {
	into.setUint8(0, Kind.snapshot);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, requestId);
	into.setUint32(4, utcSeconds);
	into.setUint8(8, entryCount);
	into.setUint8(9, 0);
	return SNAPSHOT_HEADER_BYTES + entryCount * REGISTER_ENTRY_BYTES;
}

export function encodeRegisterEntry(
	c: number,
	d: number,
	e: number,
	unit: number,
	value: number,
	entryIndex: number,
	into: DataView,
): void {
	const offset = SNAPSHOT_HEADER_BYTES + entryIndex * REGISTER_ENTRY_BYTES;
	into.setUint8(offset, c);
	into.setUint8(offset + 1, d);
	into.setUint8(offset + 2, e);
	into.setUint8(offset + 3, unit);
	setUint53(into, offset + 4, value);
}

export function decodeSnapshotHeader(
	from: DataView,
	byteLength: number,
	into: { requestId: number; utcSeconds: number; entryCount: number },
): Status {
	if (byteLength < SNAPSHOT_HEADER_BYTES) return Status.badLength; // SNP-1
	if (from.getUint8(0) !== Kind.snapshot) return Status.badKind; // SNP-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // SNP-3
	const entryCount = from.getUint8(8);
	if (entryCount > REGISTER_ENTRIES_MAX) return Status.badValue; // SNP-4
	if (byteLength !== SNAPSHOT_HEADER_BYTES + entryCount * REGISTER_ENTRY_BYTES) return Status.badLength; // SNP-5
	into.requestId = from.getUint16(2);
	into.utcSeconds = from.getUint32(4);
	into.entryCount = entryCount;
	return Status.ok;
}

/** Reads one entry of a message whose header was `ok`. */
export function decodeRegisterEntry(from: DataView, entryIndex: number, into: RegisterEntry): Status {
	const offset = SNAPSHOT_HEADER_BYTES + entryIndex * REGISTER_ENTRY_BYTES;
	const value = getUint53(from, offset + 4);
	if (Number.isNaN(value)) return Status.badValue; // SNP-6
	into.c = from.getUint8(offset);
	into.d = from.getUint8(offset + 1);
	into.e = from.getUint8(offset + 2);
	into.unit = from.getUint8(offset + 3);
	into.value = value;
	return Status.ok;
}
