import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/** One entry of the event log. Codes: `src/metrology/events.ts`. */
export interface EventEntry {
	sequence: number;
	/** UTCTime, `UTC_INVALID` when the clock was invalid. */
	utcSeconds: number;
	code: number;
	/** Meaning depends on the code. */
	detail: number;
}

/**
 * Event entries, version 1: 6 + 14 × entryCount bytes. Answers a request, or is sent unasked with each new event.
 * | offset | size | field      | unit and range |
 * |-------:|-----:|------------|----------------|
 * |      0 |    1 | kind       | 0x04           |
 * |      1 |    1 | version    | 1              |
 * |      2 |    2 | requestId  | 0: unasked     |
 * |      4 |    1 | entryCount | 1 to 60        |
 * |      5 |    1 | reserved   | 0              |
 * |      6 | 14 each | entries | as follows     |
 * |     +0 |    4 | sequence   |                |
 * |     +4 |    4 | utcSeconds | UTCTime        |
 * |     +8 |    2 | code       |                |
 * |    +10 |    4 | detail     | signed         |
 */
export const EVENTS_HEADER_BYTES = 6;
export const EVENT_ENTRY_BYTES = 14;
export const EVENT_ENTRIES_MAX = 60;

export function createEventEntry(): EventEntry {
	return { sequence: 0, utcSeconds: 0, code: 0, detail: 0 };
}

/** Writes the header; `encodeEventEntry` follows for each entry. @returns bytes of the whole message */
export function encodeEventsHeader(requestId: number, entryCount: number, into: DataView): number {
	into.setUint8(0, Kind.events);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, requestId);
	into.setUint8(4, entryCount);
	into.setUint8(5, 0);
	return EVENTS_HEADER_BYTES + entryCount * EVENT_ENTRY_BYTES;
}

export function encodeEventEntry(entry: EventEntry, entryIndex: number, into: DataView): void {
	const offset = EVENTS_HEADER_BYTES + entryIndex * EVENT_ENTRY_BYTES;
	into.setUint32(offset, entry.sequence);
	into.setUint32(offset + 4, entry.utcSeconds);
	into.setUint16(offset + 8, entry.code);
	into.setInt32(offset + 10, entry.detail);
}

export function decodeEventsHeader(
	from: DataView,
	byteLength: number,
	into: { requestId: number; entryCount: number },
): Status {
	if (byteLength < EVENTS_HEADER_BYTES) return Status.badLength; // EVT-1
	if (from.getUint8(0) !== Kind.events) return Status.badKind; // EVT-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // EVT-3
	const entryCount = from.getUint8(4);
	if (entryCount < 1 || entryCount > EVENT_ENTRIES_MAX) return Status.badValue; // EVT-4
	if (byteLength !== EVENTS_HEADER_BYTES + entryCount * EVENT_ENTRY_BYTES) return Status.badLength; // EVT-5
	into.requestId = from.getUint16(2);
	into.entryCount = entryCount;
	return Status.ok;
}

/** Reads one entry of a message whose header was `ok`. */
export function decodeEventEntry(from: DataView, entryIndex: number, into: EventEntry): void {
	const offset = EVENTS_HEADER_BYTES + entryIndex * EVENT_ENTRY_BYTES;
	into.sequence = from.getUint32(offset);
	into.utcSeconds = from.getUint32(offset + 4);
	into.code = from.getUint16(offset + 8);
	into.detail = from.getInt32(offset + 10);
}
