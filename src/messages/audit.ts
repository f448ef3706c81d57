import { Status } from "../bytes/status.js";
import { CHAIN_BYTES, COMMAND_ID_BYTES } from "./command.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";
import { getBytes, setBytes } from "./receipt.js";

/**
 * Codes of the event log that belong to commands; all others are in src/metrology/events.ts. Rows with a command's id
 * carry 24 bytes more: commandId 8, value 16.
 * | code           | name                 | detail                                              | commandId, value           |
 * |---------------:|----------------------|-----------------------------------------------------|----------------------------|
 * |         0x0300 | commandReceived      | commandKind, source, index: 1, 1, 2 bytes           | id, digest of the command  |
 * |         0x0301 | refusalsDropped      | source, how many refusals were not logged: 1, 3     | –                          |
 * |         0x0302 | anchorHeld           | 0                                                   | log and row, chain value of the sender |
 * |         0x0303 | loadLimitOpened      | trips                                               | –                          |
 * |         0x0304 | loadLimitLocked      | trips: it stays open until someone closes it        | –                          |
 * |         0x0305 | loadLimitClosed      | trips                                               | –                          |
 * |         0x0306 | demandResponseStart  | dutyPermille                                        | –                          |
 * |         0x0307 | demandResponseEnd    | 0                                                   | –                          |
 * |         0x0308 | demandResponseOptOut | 0                                                   | –                          |
 * |         0x0309 | customerClosed       | 0: with the button                                  | –                          |
 * |         0x030A | controlStateLost     | status: what commands had set is lost               | –                          |
 * |         0x030B | keysDestroyed        | 0                                                   | –                          |
 * | 0x0400 + status | commandDone         | the command's answer                                | id, anchor of the sender   |
 * | 0x0500 + status | commandRefused      | commandKind, source, index: 1, 1, 2 bytes           | id, digest of the command  |
 * | 0x0600 + status | commandInterrupted  | 1: its effect is in force; 0: not known             | id, digest of the command  |
 */
export const AuditCode = Object.freeze({
	commandReceived: 0x0300,
	refusalsDropped: 0x0301,
	anchorHeld: 0x0302,
	loadLimitOpened: 0x0303,
	loadLimitLocked: 0x0304,
	loadLimitClosed: 0x0305,
	demandResponseStart: 0x0306,
	demandResponseEnd: 0x0307,
	demandResponseOptOut: 0x0308,
	customerClosed: 0x0309,
	controlStateLost: 0x030a,
	keysDestroyed: 0x030b,
	commandDone: 0x0400,
	commandRefused: 0x0500,
	commandInterrupted: 0x0600,
} as const);

const NAMES = Object.freeze(
	Object.fromEntries(Object.entries(AuditCode).map(([name, code]) => [code, name])) as Record<number, string>,
);

/** The field name of a code of this table, its status left out; "unknown" for any other. */
export function auditCodeName(code: number): string {
	return NAMES[code >= AuditCode.commandDone ? code & 0xff00 : code] ?? "unknown";
}

/** commandKind, source and index in one signed detail. */
export function commandDetail(commandKind: number, source: number, index: number): number {
	return (commandKind << 24) | (source << 16) | (index & 0xffff);
}

/** How a row is made. */
export const AuditFormat = Object.freeze({
	/** Of a firmware before the chain: nothing vouches for it. */
	unchained: 0,
	event: 1,
	command: 2,
} as const);

/** One row of the audit log. */
export interface AuditRow {
	sequence: number;
	format: number;
	/** UTCTime, `UTC_INVALID` when the clock was invalid. */
	utcSeconds: number;
	code: number;
	detail: number;
	/** Of format `command`. */
	readonly commandId: Uint8Array;
	readonly value: Uint8Array;
}

/**
 * What a chain value is made of: chain_n = first 16 bytes of SHA-256(0x41 ‖ chain_(n-1) 16 ‖ content). The chain begins
 * with 16 zeros. The content of a row, 10 or 34 bytes:
 * | offset | size | field      | unit and range                       |
 * |-------:|-----:|------------|--------------------------------------|
 * |      0 |    4 | utcSeconds | UTCTime                              |
 * |      4 |    2 | code       |                                      |
 * |      6 |    4 | detail     | signed                               |
 * |     10 | 0, 8 | commandId  | of rows with a command's id          |
 * |     18 | 0, 16 | value     | the same                             |
 */
export const CHAIN_INPUT_BYTES_MAX = 1 + CHAIN_BYTES + 10 + COMMAND_ID_BYTES + CHAIN_BYTES;
export const CHAIN_LABEL = 0x41; // A

/**
 * Writes what the chain value of `row` is the hash of.
 * @param previous 16 bytes
 * @param into at least 51 bytes
 * @returns bytes: 27 for an event, one compression; 51 for a row with a command's id, one compression too
 */
export function encodeChainInput(previous: Uint8Array, row: AuditRow, into: DataView): number {
	into.setUint8(0, CHAIN_LABEL);
	setBytes(into, 1, previous);
	into.setUint32(17, row.utcSeconds);
	into.setUint16(21, row.code);
	into.setInt32(23, row.detail);
	if (row.format !== AuditFormat.command) return 27;
	setBytes(into, 27, row.commandId);
	setBytes(into, 35, row.value);
	return CHAIN_INPUT_BYTES_MAX;
}

/**
 * Audit rows, version 1: 26 bytes and the rows. Answers a request, or is sent unasked with each new row. Rows that flash
 * no longer gives end a message; the next one begins behind them.
 * | offset | size | field      | unit and range                                                                 |
 * |-------:|-----:|------------|--------------------------------------------------------------------------------|
 * |      0 |    1 | kind       | 0x11                                                                           |
 * |      1 |    1 | version    | 1                                                                              |
 * |      2 |    2 | requestId  | 0: unasked                                                                     |
 * |      4 |    4 | oldest     | sequence of the oldest row that the meter holds                                |
 * |      8 |   16 | firstChain | chain value of the first row; all 0xFF: the row is not chained                 |
 * |     24 |    1 | rowCount   | 1 to 60                                                                        |
 * |     25 |    1 | reserved   | 0                                                                              |
 * |     26 | 15 or 39 each | rows | as follows                                                                  |
 * |     +0 |    4 | sequence   | rising; a number that is missing was used up by a torn write                   |
 * |     +4 |    1 | format     | 0 not chained, 1 event, 2 with a command's id                                  |
 * |     +5 |    4 | utcSeconds | UTCTime                                                                        |
 * |     +9 |    2 | code       |                                                                                |
 * |    +11 |    4 | detail     | signed                                                                         |
 * |    +15 | 0, 8 | commandId  | format 2                                                                       |
 * |    +23 | 0, 16 | value     | format 2                                                                       |
 */
export const AUDIT_HEADER_BYTES = 26;
export const AUDIT_ROW_BYTES = 15;
export const AUDIT_COMMAND_ROW_BYTES = 39;
export const AUDIT_ROWS_MAX = 60;

export interface AuditHeader {
	requestId: number;
	oldest: number;
	readonly firstChain: Uint8Array;
	rowCount: number;
}

export function createAuditRow(): AuditRow {
	return {
		sequence: 0,
		format: AuditFormat.event,
		utcSeconds: 0,
		code: 0,
		detail: 0,
		commandId: new Uint8Array(COMMAND_ID_BYTES),
		value: new Uint8Array(CHAIN_BYTES),
	};
}

export function createAuditHeader(): AuditHeader {
	return { requestId: 0, oldest: 0, firstChain: new Uint8Array(CHAIN_BYTES), rowCount: 0 };
}

export function encodeAuditHeader(header: AuditHeader, into: DataView): void {
	into.setUint8(0, Kind.audit);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, header.requestId);
	into.setUint32(4, header.oldest);
	setBytes(into, 8, header.firstChain);
	into.setUint8(24, header.rowCount);
	into.setUint8(25, 0);
}

/** Writes a row at `at`. @returns where the next one goes */
export function encodeAuditRow(row: AuditRow, into: DataView, at: number): number {
	into.setUint32(at, row.sequence);
	into.setUint8(at + 4, row.format);
	into.setUint32(at + 5, row.utcSeconds);
	into.setUint16(at + 9, row.code);
	into.setInt32(at + 11, row.detail);
	if (row.format !== AuditFormat.command) return at + AUDIT_ROW_BYTES;
	setBytes(into, at + 15, row.commandId);
	setBytes(into, at + 23, row.value);
	return at + AUDIT_COMMAND_ROW_BYTES;
}

/** Checks the frame and all its rows; they are then read one by one. */
export function decodeAuditHeader(from: DataView, byteLength: number, into: AuditHeader): Status {
	if (byteLength < AUDIT_HEADER_BYTES + AUDIT_ROW_BYTES) return Status.badLength; // AUD-1
	if (from.getUint8(0) !== Kind.audit) return Status.badKind; // AUD-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // AUD-3
	const rowCount = from.getUint8(24);
	if (rowCount < 1 || rowCount > AUDIT_ROWS_MAX || from.getUint8(25) !== 0) return Status.badValue; // AUD-4
	const oldest = from.getUint32(4);
	let at = AUDIT_HEADER_BYTES;
	let before = 0;
	for (let i = 0; i < rowCount; i++) {
		if (at + AUDIT_ROW_BYTES > byteLength) return Status.badLength; // AUD-5
		const sequence = from.getUint32(at);
		const format = from.getUint8(at + 4);
		if (sequence <= before || sequence < oldest || format > AuditFormat.command) return Status.badValue; // AUD-6
		before = sequence;
		at += format === AuditFormat.command ? AUDIT_COMMAND_ROW_BYTES : AUDIT_ROW_BYTES;
	}
	if (at !== byteLength) return Status.badLength; // AUD-7
	into.requestId = from.getUint16(2);
	into.oldest = oldest;
	getBytes(from, 8, into.firstChain);
	into.rowCount = rowCount;
	return Status.ok;
}

/** Reads the row at `at` of a message whose header was `ok`. @returns where the next one is */
export function decodeAuditRow(from: DataView, at: number, into: AuditRow): number {
	into.sequence = from.getUint32(at);
	into.format = from.getUint8(at + 4);
	into.utcSeconds = from.getUint32(at + 5);
	into.code = from.getUint16(at + 9);
	into.detail = from.getInt32(at + 11);
	if (into.format !== AuditFormat.command) {
		into.commandId.fill(0);
		into.value.fill(0);
		return at + AUDIT_ROW_BYTES;
	}
	getBytes(from, at + 15, into.commandId);
	getBytes(from, at + 23, into.value);
	return at + AUDIT_COMMAND_ROW_BYTES;
}

/**
 * Audit request, version 1: 10 bytes.
 * | offset | size | field     | unit and range  |
 * |-------:|-----:|-----------|-----------------|
 * |      0 |    1 | kind      | 0x92            |
 * |      1 |    1 | version   | 1               |
 * |      2 |    2 | requestId |                 |
 * |      4 |    4 | first     | sequence        |
 * |      8 |    2 | count     | 1 or more       |
 */
export const AUDIT_REQUEST_BYTES = 10;

export interface AuditRequest {
	requestId: number;
	first: number;
	count: number;
}

export function createAuditRequest(): AuditRequest {
	return { requestId: 0, first: 0, count: 0 };
}

export function encodeAuditRequest(request: AuditRequest, into: DataView): number {
	into.setUint8(0, Kind.auditRequest);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, request.requestId);
	into.setUint32(4, request.first);
	into.setUint16(8, request.count);
	return AUDIT_REQUEST_BYTES;
}

export function decodeAuditRequest(from: DataView, byteLength: number, into: AuditRequest): Status {
	if (byteLength !== AUDIT_REQUEST_BYTES) return Status.badLength; // AUD-8
	if (from.getUint8(0) !== Kind.auditRequest) return Status.badKind; // AUD-9
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // AUD-10
	if (from.getUint16(8) < 1) return Status.badValue; // AUD-11
	into.requestId = from.getUint16(2);
	into.first = from.getUint32(4);
	into.count = from.getUint16(8);
	return Status.ok;
}

/** The head of the sender's log, as the meter holds it. */
export interface Anchor {
	/** Number of the log 4, row 4: made like a commandId. */
	readonly place: Uint8Array;
	readonly chain: Uint8Array;
}

/**
 * Anchor, version 1: 28 bytes. The head of the sender's log for the meter to keep, when there is no command to carry it;
 * the meter answers with an audit head.
 * | offset | size | field    | unit and range                                |
 * |-------:|-----:|----------|-----------------------------------------------|
 * |      0 |    1 | kind     | 0x93                                          |
 * |      1 |    1 | version  | 1                                             |
 * |      2 |    2 | reserved | 0                                             |
 * |      4 |    8 | place    | number of the sender's log 4, row 4           |
 * |     12 |   16 | chain    | chain value of that row                       |
 */
export const ANCHOR_BYTES = 28;

export function createAnchor(): Anchor {
	return { place: new Uint8Array(COMMAND_ID_BYTES), chain: new Uint8Array(CHAIN_BYTES) };
}

export function encodeAnchor(anchor: Anchor, into: DataView): number {
	into.setUint8(0, Kind.anchor);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, 0);
	setBytes(into, 4, anchor.place);
	setBytes(into, 12, anchor.chain);
	return ANCHOR_BYTES;
}

export function decodeAnchor(from: DataView, byteLength: number, into: Anchor): Status {
	if (byteLength !== ANCHOR_BYTES) return Status.badLength; // ACH-1
	if (from.getUint8(0) !== Kind.anchor) return Status.badKind; // ACH-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // ACH-3
	if (from.getUint16(2) !== 0) return Status.badValue; // ACH-4
	getBytes(from, 4, into.place);
	getBytes(from, 12, into.chain);
	return Status.ok;
}

/** The head of the meter's log, and the newest head of the other side that the meter holds. */
export interface AuditHead {
	oldest: number;
	sequence: number;
	readonly chain: Uint8Array;
	readonly held: Anchor;
}

/**
 * Audit head, version 1: 52 bytes. After every hello, and in answer to an anchor.
 * | offset | size | field     | unit and range                                             |
 * |-------:|-----:|-----------|------------------------------------------------------------|
 * |      0 |    1 | kind      | 0x12                                                       |
 * |      1 |    1 | version   | 1                                                          |
 * |      2 |    2 | reserved  | 0                                                          |
 * |      4 |    4 | oldest    | sequence of the oldest row of the meter's audit log        |
 * |      8 |    4 | sequence  | of its newest row, 0: empty                                |
 * |     12 |   16 | chain     | chain value of that row                                    |
 * |     28 |    8 | heldPlace | newest anchor held: number of the sender's log 4, row 4    |
 * |     36 |   16 | heldChain | its chain value; zeros: none                               |
 */
export const AUDIT_HEAD_BYTES = 52;

export function createAuditHead(): AuditHead {
	return { oldest: 0, sequence: 0, chain: new Uint8Array(CHAIN_BYTES), held: createAnchor() };
}

export function encodeAuditHead(head: AuditHead, into: DataView): number {
	into.setUint8(0, Kind.auditHead);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, 0);
	into.setUint32(4, head.oldest);
	into.setUint32(8, head.sequence);
	setBytes(into, 12, head.chain);
	setBytes(into, 28, head.held.place);
	setBytes(into, 36, head.held.chain);
	return AUDIT_HEAD_BYTES;
}

export function decodeAuditHead(from: DataView, byteLength: number, into: AuditHead): Status {
	if (byteLength !== AUDIT_HEAD_BYTES) return Status.badLength; // ACH-5
	if (from.getUint8(0) !== Kind.auditHead) return Status.badKind; // ACH-6
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // ACH-7
	if (from.getUint16(2) !== 0) return Status.badValue; // ACH-8
	into.oldest = from.getUint32(4);
	into.sequence = from.getUint32(8);
	getBytes(from, 12, into.chain);
	getBytes(from, 28, into.held.place);
	getBytes(from, 36, into.held.chain);
	return Status.ok;
}
