import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/**
 * Short messages, version 1. Each starts with kind 1 @0, version 1 @1 and requestId 2 @2; the rest:
 * | kind | name               | way  | total | fields                                                        |
 * |-----:|--------------------|------|------:|---------------------------------------------------------------|
 * | 0x06 | acknowledge        | up   |     6 | of kind 1 @4, status 1 @5                                     |
 * | 0x09 | timeRequest        | up   |     4 | –                                                             |
 * | 0x81 | time               | down |    10 | utcSeconds 4 @4, milliseconds 2 @8; requestId 0: unasked      |
 * | 0x82 | profileRequest     | down |    10 | first sequence 4 @4, count 2 @8                               |
 * | 0x83 | eventsRequest      | down |    10 | first sequence 4 @4, count 2 @8                               |
 * | 0x84 | captureRequest     | down |     4 | –                                                             |
 * | 0x85 | snapshotRequest    | down |     4 | –                                                             |
 * | 0x86 | configure          | down |     8 | reading period 2 @4, s, 1 to 3600; reserved 2 @6              |
 * | 0x87 | diagnosticsRequest | down |     4 | –                                                             |
 */
export interface Control {
	kind: number;
	requestId: number;
	/** acknowledge: kind answered; time: utcSeconds; requests: first sequence; configure: reading period, s. */
	first: number;
	/** acknowledge: status; time: milliseconds; requests: count. */
	second: number;
}

const HEADER_BYTES = 4;

export function createControl(): Control {
	return { kind: 0, requestId: 0, first: 0, second: 0 };
}

function controlBytes(kind: number): number {
	switch (kind) {
		case Kind.acknowledge:
			return 6;
		case Kind.time:
		case Kind.profileRequest:
		case Kind.eventsRequest:
			return 10;
		case Kind.configure:
			return 8;
		case Kind.timeRequest:
		case Kind.captureRequest:
		case Kind.snapshotRequest:
		case Kind.diagnosticsRequest:
			return HEADER_BYTES;
		default:
			return 0;
	}
}

/** @returns bytes written, 0 for a kind that is not a control message */
export function encodeControl(control: Control, into: DataView): number {
	const byteLength = controlBytes(control.kind);
	if (byteLength === 0) return 0;
	into.setUint8(0, control.kind);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, control.requestId);
	if (control.kind === Kind.acknowledge) {
		into.setUint8(4, control.first);
		into.setUint8(5, control.second);
	} else if (control.kind === Kind.configure) {
		into.setUint16(4, control.first);
		into.setUint16(6, 0);
	} else if (byteLength === 10) {
		into.setUint32(4, control.first);
		into.setUint16(8, control.second);
	}
	return byteLength;
}

export function decodeControl(from: DataView, byteLength: number, into: Control): Status {
	if (byteLength < HEADER_BYTES) return Status.badLength; // CTL-1
	const kind = from.getUint8(0);
	const expected = controlBytes(kind);
	if (expected === 0) return Status.badKind; // CTL-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // CTL-3
	if (byteLength !== expected) return Status.badLength; // CTL-4
	let first = 0;
	let second = 0;
	if (kind === Kind.acknowledge) {
		first = from.getUint8(4);
		second = from.getUint8(5);
	} else if (kind === Kind.configure) {
		first = from.getUint16(4);
		if (first < 1 || first > 3600) return Status.badValue; // CTL-5
	} else if (expected === 10) {
		first = from.getUint32(4);
		second = from.getUint16(8);
		if (kind === Kind.time && second > 999) return Status.badValue; // CTL-6
		if (kind !== Kind.time && second < 1) return Status.badValue; // CTL-7
	}
	into.kind = kind;
	into.requestId = from.getUint16(2);
	into.first = first;
	into.second = second;
	return Status.ok;
}
