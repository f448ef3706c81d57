import {
	createEventEntry,
	decodeEventEntry,
	EVENT_ENTRY_BYTES,
	EVENTS_HEADER_BYTES,
	type EventEntry,
} from "../../src/messages/events.js";
import {
	createProfileRow,
	decodeProfileRow,
	PROFILE_HEADER_BYTES,
	PROFILE_ROW_BYTES,
	type ProfileRow,
} from "../../src/messages/profile.js";
import type { Reading } from "../../src/messages/reading.js";
import { RecordKind } from "./store.js";

/** Four registers of a row or reading, in the order of the wire. */
export function registersOf(row: ProfileRow | Reading): [number, number, number, number] {
	return [row.activeEnergyImport, row.activeEnergyExport, row.reactiveEnergyImport, row.reactiveEnergyExport];
}

export function decreases(earlier: ProfileRow | Reading, later: ProfileRow | Reading): boolean {
	return (
		later.activeEnergyImport < earlier.activeEnergyImport ||
		later.activeEnergyExport < earlier.activeEnergyExport ||
		later.reactiveEnergyImport < earlier.reactiveEnergyImport ||
		later.reactiveEnergyExport < earlier.reactiveEnergyExport
	);
}

/** Stored rows are framed here to be read by the codec of the wire. */
const rowFrame = new Uint8Array(PROFILE_HEADER_BYTES + PROFILE_ROW_BYTES);
const rowFrameView = new DataView(rowFrame.buffer);

/** Reads one stored row; `raw` is the 44 bytes of the wire. */
export function parseRow(raw: Buffer): ProfileRow {
	rowFrame.set(raw, PROFILE_HEADER_BYTES);
	const row = createProfileRow();
	decodeProfileRow(rowFrameView, 0, row);
	return row;
}

export function parseEvent(raw: Buffer): EventEntry {
	const framed = new DataView(new ArrayBuffer(EVENTS_HEADER_BYTES + EVENT_ENTRY_BYTES));
	new Uint8Array(framed.buffer).set(raw, EVENTS_HEADER_BYTES);
	const entry = createEventEntry();
	decodeEventEntry(framed, 0, entry);
	return entry;
}

/** Received 8, then the bytes of the wire. */
export function stamped(receivedUtcSeconds: number, raw: Uint8Array): Buffer {
	const value = Buffer.alloc(8 + raw.length);
	value.writeDoubleBE(receivedUtcSeconds);
	value.set(raw, 8);
	return value;
}

export const RECORD_OF = { profile: RecordKind.profile, events: RecordKind.event } as const;
export const CONFLICT_OF = { profile: RecordKind.profileConflict, events: RecordKind.eventConflict } as const;
