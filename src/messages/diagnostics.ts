import { getUint48, setUint48 } from "../bytes/integers.js";
import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/** Keys of diagnostic values; 0x100 + status code counts how often a received message was answered with it. */
export const Diagnostic = Object.freeze({
	uptimeSeconds: 1,
	bootCount: 2,
	windows: 3,
	samplesLost: 4,
	flashErases: 5,
	flashBytesProgrammed: 6,
	tornRecordsSeen: 7,
	linkConnects: 8,
	messagesSent: 9,
	messagesReceived: 10,
	storageErrors: 11,
	/** Days since 2000-01-01; 0 without keys. */
	keyEpoch: 12,
	/** Count of key records written. */
	keyHead: 13,
	/** 1: the head was witnessed since the start. */
	keyWitnessed: 14,
	/** Next index that the meter seals under / accepts, end to end. */
	keyUpIndex: 15,
	keyDownIndex: 16,
	refusals: 0x100,
} as const);

/**
 * Diagnostics, version 1: 6 + 8 × entryCount bytes; answers a request.
 * | offset | size | field      | unit and range             |
 * |-------:|-----:|------------|----------------------------|
 * |      0 |    1 | kind       | 0x08                       |
 * |      1 |    1 | version    | 1                          |
 * |      2 |    2 | requestId  |                            |
 * |      4 |    1 | entryCount | 0 to 100                   |
 * |      5 |    1 | reserved   | 0                          |
 * |      6 | 8 each | entries  | key 2, value 6             |
 */
export const DIAGNOSTICS_HEADER_BYTES = 6;
export const DIAGNOSTIC_ENTRY_BYTES = 8;
export const DIAGNOSTIC_ENTRIES_MAX = 100;

export function encodeDiagnosticsHeader(requestId: number, entryCount: number, into: DataView): number {
	into.setUint8(0, Kind.diagnostics);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, requestId);
	into.setUint8(4, entryCount);
	into.setUint8(5, 0);
	return DIAGNOSTICS_HEADER_BYTES + entryCount * DIAGNOSTIC_ENTRY_BYTES;
}

export function encodeDiagnostic(key: number, value: number, entryIndex: number, into: DataView): void {
	const offset = DIAGNOSTICS_HEADER_BYTES + entryIndex * DIAGNOSTIC_ENTRY_BYTES;
	into.setUint16(offset, key);
	setUint48(into, offset + 2, value);
}

export function decodeDiagnosticsHeader(
	from: DataView,
	byteLength: number,
	into: { requestId: number; entryCount: number },
): Status {
	if (byteLength < DIAGNOSTICS_HEADER_BYTES) return Status.badLength; // DIA-1
	if (from.getUint8(0) !== Kind.diagnostics) return Status.badKind; // DIA-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // DIA-3
	const entryCount = from.getUint8(4);
	if (entryCount > DIAGNOSTIC_ENTRIES_MAX) return Status.badValue; // DIA-4
	if (byteLength !== DIAGNOSTICS_HEADER_BYTES + entryCount * DIAGNOSTIC_ENTRY_BYTES) return Status.badLength; // DIA-5
	into.requestId = from.getUint16(2);
	into.entryCount = entryCount;
	return Status.ok;
}

/** Reads one entry of a message whose header was `ok`. */
export function decodeDiagnostic(from: DataView, entryIndex: number, into: { key: number; value: number }): void {
	const offset = DIAGNOSTICS_HEADER_BYTES + entryIndex * DIAGNOSTIC_ENTRY_BYTES;
	into.key = from.getUint16(offset);
	into.value = getUint48(from, offset + 2);
}
