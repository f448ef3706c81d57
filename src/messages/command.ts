import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION, UTC_INVALID } from "./kinds.js";

/** What a command orders. A released number never changes meaning. */
export const CommandKind = Object.freeze({
	connect: 1,
	disconnect: 2,
	loadLimit: 3,
	price: 4,
	tariffCalendar: 5,
	demandResponse: 6,
	clock: 7,
	configure: 8,
	profileRead: 9,
	keyMaintenance: 10,
	decommission: 11,
} as const);
export type CommandKind = (typeof CommandKind)[keyof typeof CommandKind];

const NAMES: readonly string[] = Object.freeze(["", ...Object.keys(CommandKind)]);

/** The field name of a command kind, or "unknown". */
export function commandName(kind: number): string {
	return NAMES[kind] || "unknown";
}

/** The sender's log and the row of the command in it: 4 random bytes drawn with the log, and the row's sequence. */
export const COMMAND_ID_BYTES = 8;
/** First 16 bytes of SHA-256: chain values of both logs, digests of commands. */
export const CHAIN_BYTES = 16;
/** Instead of a time: no limit of time. */
export const NO_TIME = 0xffff_ffff;

/**
 * Command, version 1: 32 + n bytes. The digest of a command, in receipts and logs, is the first 16 bytes of SHA-256 of
 * the message without its anchor.
 * | offset | size | field           | unit and range                                                          |
 * |-------:|-----:|-----------------|-------------------------------------------------------------------------|
 * |      0 |    1 | kind            | 0x90                                                                    |
 * |      1 |    1 | version         | 1                                                                       |
 * |      2 |    1 | commandKind     | see the table of bodies                                                 |
 * |      3 |    1 | reserved        | 0                                                                       |
 * |      4 |    8 | commandId       | number of the sender's log 4, row of the command in that log 4 (from 1) |
 * |     12 |    4 | notAfterSeconds | UTCTime: not executed later; 0xFFFFFFFF: the day of the seal is enough   |
 * |     16 |    n | body            | by commandKind                                                          |
 * | 16 + n |   16 | anchor          | chain value of that row of the sender's log                             |
 */
export const COMMAND_HEADER_BYTES = 16;
export const COMMAND_OVERHEAD_BYTES = COMMAND_HEADER_BYTES + CHAIN_BYTES;

/**
 * Bodies of commands, version 1.
 * | commandKind         | bytes  | fields                                                                                       |
 * |---------------------|-------:|----------------------------------------------------------------------------------------------|
 * | 1 connect           |      1 | mode 1 @0: 0 close at once, 1 the customer closes with the button                            |
 * | 2 disconnect        |      1 | reason 1 @0: 0 none given, 1 unpaid, 2 moved out, 3 on request, 4 danger, 5 fraud            |
 * | 3 loadLimit         |     18 | limitWatts 4 @0, 0: lift it; durationSeconds 4 @4, 0: until further notice; overSeconds 2 @8, |
 * |                     |        | 1 to 3600; reconnectSeconds 2 @10, 0: never by itself; tripsMax 1 @12, 1 to 255; reserved 1 @13; |
 * |                     |        | thenWatts 4 @14: limit after durationSeconds, 0: none                                        |
 * | 4 price             | 8 + 4n | validFromSeconds 4 @0; currency 2 @4, ISO 4217 number; tariffCount n 1 @6, 1 to 4; reserved 1 @7; |
 * |                     |        | for each tariff signed 4 @8: 1/100 000 of the currency a kWh                                 |
 * | 5 tariffCalendar    | 8 + 3n | validFromSeconds 4 @0; utcOffsetMinutes signed 2 @4, -720 to 840; flags 1 @6, bit 0: EU summer time; |
 * |                     |        | switchCount n 1 @7, 0 to 16; for each switch, rising: minute 2, 0 to 1439; tariff 1, 1 to 4  |
 * | 6 demandResponse    |     16 | startSeconds 4 @0; durationSeconds 4 @4, 0: ends the event that runs; limitWatts 4 @8, 0: none; |
 * |                     |        | dutyPermille 2 @12, 0 to 1000; group 1 @14, 0: all; flags 1 @15, bit 0: the customer may opt out |
 * | 7 clock             |      4 | stepSecondsMax 4 @0: ask for the time now, and take a step of at most this                   |
 * | 8 configure         | 1 + 5n | count n 1 @0, 1 to 8; for each: parameter 1, value 4                                         |
 * | 9 profileRead       |      6 | first sequence 4 @0, count 2 @4, 1 or more: rows as after profileRequest                     |
 * | 10 keyMaintenance   |      1 | action 1 @0: 1 report the head of the key journal                                            |
 * | 11 decommission     |      8 | id 8 @0: of the meter itself                                                                 |
 */
export const TARIFFS_MAX = 4;
export const SWITCHES_MAX = 16;
export const CONFIGURE_COUNT_MAX = 8;
/** The longest is a tariff calendar with 16 switches. */
export const COMMAND_BODY_BYTES_MAX = 8 + 3 * SWITCHES_MAX;
export const COMMAND_BYTES_MAX = COMMAND_OVERHEAD_BYTES + COMMAND_BODY_BYTES_MAX;

export const ConnectMode = Object.freeze({ atOnce: 0, byButton: 1 } as const);
export const DISCONNECT_REASON_MAX = 5;

/**
 * Parameters of a configure command.
 * | parameter | name            | unit and range                                     |
 * |----------:|-----------------|----------------------------------------------------|
 * |         1 | readingSeconds  | a reading is published this often, s, 1 to 3600    |
 * |         2 | intervalSeconds | load profile interval, s, 60 to 3600, divides 3600 |
 * |         3 | group           | demand-response group, 0 to 255; 0: none           |
 */
export const Parameter = Object.freeze({ readingSeconds: 1, intervalSeconds: 2, group: 3 } as const);

export const KeyAction = Object.freeze({ reportHead: 1 } as const);

/** What every command has; the body is read by the functions below. */
export interface CommandHeader {
	commandKind: number;
	readonly commandId: Uint8Array;
	notAfterSeconds: number;
	bodyBytes: number;
	readonly anchor: Uint8Array;
}

export interface LoadLimit {
	limitWatts: number;
	durationSeconds: number;
	overSeconds: number;
	reconnectSeconds: number;
	tripsMax: number;
	thenWatts: number;
}

export interface Prices {
	validFromSeconds: number;
	currency: number;
	tariffCount: number;
	/** 1/100 000 of the currency a kWh, of tariff 1 to 4. */
	readonly prices: Int32Array;
}

/** The same switches on every day, as `dailyCalendar` of src/metrology takes them. */
export interface TariffTable {
	validFromSeconds: number;
	utcOffsetMinutes: number;
	summerTime: boolean;
	switchCount: number;
	readonly minutes: Uint16Array;
	readonly tariffs: Uint8Array;
}

export interface DemandResponseEvent {
	startSeconds: number;
	durationSeconds: number;
	limitWatts: number;
	dutyPermille: number;
	group: number;
	optOutAllowed: boolean;
}

export function createCommandHeader(): CommandHeader {
	return {
		commandKind: 0,
		commandId: new Uint8Array(COMMAND_ID_BYTES),
		notAfterSeconds: NO_TIME,
		bodyBytes: 0,
		anchor: new Uint8Array(CHAIN_BYTES),
	};
}

export function createLoadLimit(): LoadLimit {
	return { limitWatts: 0, durationSeconds: 0, overSeconds: 60, reconnectSeconds: 0, tripsMax: 1, thenWatts: 0 };
}

export function createPrices(): Prices {
	return { validFromSeconds: NO_TIME, currency: 0, tariffCount: 0, prices: new Int32Array(TARIFFS_MAX) };
}

export function createTariffTable(): TariffTable {
	return {
		validFromSeconds: NO_TIME,
		utcOffsetMinutes: 0,
		summerTime: false,
		switchCount: 0,
		minutes: new Uint16Array(SWITCHES_MAX),
		tariffs: new Uint8Array(SWITCHES_MAX),
	};
}

export function createDemandResponseEvent(): DemandResponseEvent {
	return { startSeconds: 0, durationSeconds: 0, limitWatts: 0, dutyPermille: 1000, group: 0, optOutAllowed: false };
}

// ---- the frame

/** Writes the first 16 bytes; the body goes behind them. */
export function encodeCommandHeader(
	commandKind: number,
	commandId: Uint8Array,
	notAfterSeconds: number,
	into: DataView,
): void {
	into.setUint8(0, Kind.command);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint8(2, commandKind);
	into.setUint8(3, 0);
	for (let i = 0; i < COMMAND_ID_BYTES; i++) into.setUint8(4 + i, commandId[i]!);
	into.setUint32(12, notAfterSeconds);
}

/** Writes the anchor behind a body of `bodyBytes`. @returns bytes of the whole message */
export function encodeCommandAnchor(anchor: Uint8Array, bodyBytes: number, into: DataView): number {
	for (let i = 0; i < CHAIN_BYTES; i++) into.setUint8(COMMAND_HEADER_BYTES + bodyBytes + i, anchor[i]!);
	return COMMAND_OVERHEAD_BYTES + bodyBytes;
}

/** Checks the frame alone: who may send it is asked before its body is looked at, see `checkCommandBody`. */
export function decodeCommandHeader(from: DataView, byteLength: number, into: CommandHeader): Status {
	if (byteLength < COMMAND_OVERHEAD_BYTES || byteLength > COMMAND_BYTES_MAX) return Status.badLength; // CMD-1
	if (from.getUint8(0) !== Kind.command) return Status.badKind; // CMD-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // CMD-3
	if (from.getUint8(3) !== 0) return Status.badValue; // CMD-4
	into.commandKind = from.getUint8(2);
	for (let i = 0; i < COMMAND_ID_BYTES; i++) into.commandId[i] = from.getUint8(4 + i);
	into.notAfterSeconds = from.getUint32(12);
	into.bodyBytes = byteLength - COMMAND_OVERHEAD_BYTES;
	for (let i = 0; i < CHAIN_BYTES; i++) into.anchor[i] = from.getUint8(byteLength - CHAIN_BYTES + i);
	return Status.ok;
}

/** Bytes of the body that its own counts ask for; -1 for a kind that is not known, -2 when it is too short to tell. */
function expectedBytes(kind: number, from: DataView, at: number, bodyBytes: number): number {
	switch (kind) {
		case CommandKind.connect:
		case CommandKind.disconnect:
		case CommandKind.keyMaintenance:
			return 1;
		case CommandKind.loadLimit:
			return 18;
		case CommandKind.price:
			return bodyBytes < 8 ? -2 : 8 + 4 * from.getUint8(at + 6);
		case CommandKind.tariffCalendar:
			return bodyBytes < 8 ? -2 : 8 + 3 * from.getUint8(at + 7);
		case CommandKind.demandResponse:
			return 16;
		case CommandKind.clock:
			return 4;
		case CommandKind.configure:
			return bodyBytes < 1 ? -2 : 1 + 5 * from.getUint8(at);
		case CommandKind.profileRead:
			return 6;
		case CommandKind.decommission:
			return COMMAND_ID_BYTES;
		default:
			return -1;
	}
}

function isParameterInRange(parameter: number, value: number): boolean {
	switch (parameter) {
		case Parameter.readingSeconds:
			return value >= 1 && value <= 3600;
		case Parameter.intervalSeconds:
			return value >= 60 && value <= 3600 && 3600 % value === 0;
		case Parameter.group:
			return value <= 255;
		default:
			return false;
	}
}

/** Checks a body whose header was `ok`, all of it: after `ok` the functions below cannot fail. */
export function checkCommandBody(header: CommandHeader, from: DataView): Status {
	const at = COMMAND_HEADER_BYTES;
	const expected = expectedBytes(header.commandKind, from, at, header.bodyBytes);
	if (expected === -1) return Status.badKind; // CMD-5
	if (expected !== header.bodyBytes) return Status.badLength; // CMD-6
	switch (header.commandKind) {
		case CommandKind.connect:
			if (from.getUint8(at) > ConnectMode.byButton) return Status.badValue; // CMD-7
			break;
		case CommandKind.disconnect:
			if (from.getUint8(at) > DISCONNECT_REASON_MAX) return Status.badValue; // CMD-8
			break;
		case CommandKind.loadLimit: {
			const overSeconds = from.getUint16(at + 8);
			if (overSeconds < 1 || overSeconds > 3600) return Status.badValue; // CMD-9
			if (from.getUint8(at + 12) < 1 || from.getUint8(at + 13) !== 0) return Status.badValue; // CMD-10
			break;
		}
		case CommandKind.price: {
			const count = from.getUint8(at + 6);
			if (count < 1 || count > TARIFFS_MAX || from.getUint8(at + 7) !== 0) return Status.badValue; // CMD-11
			break;
		}
		case CommandKind.tariffCalendar: {
			const offset = from.getInt16(at + 4);
			if (offset < -720 || offset > 840 || from.getUint8(at + 6) > 1) return Status.badValue; // CMD-12
			const count = from.getUint8(at + 7);
			if (count > SWITCHES_MAX) return Status.badValue; // CMD-13
			let before = -1;
			for (let i = 0; i < count; i++) {
				const minute = from.getUint16(at + 8 + 3 * i);
				const tariff = from.getUint8(at + 10 + 3 * i);
				if (minute <= before || minute > 1439) return Status.badValue; // CMD-14
				if (tariff < 1 || tariff > TARIFFS_MAX) return Status.badValue; // CMD-15
				before = minute;
			}
			break;
		}
		case CommandKind.demandResponse:
			if (from.getUint16(at + 12) > 1000 || from.getUint8(at + 15) > 1) return Status.badValue; // CMD-16
			if (from.getUint32(at) + from.getUint32(at + 4) >= UTC_INVALID) return Status.badValue; // CMD-17
			break;
		case CommandKind.configure: {
			const count = from.getUint8(at);
			if (count < 1 || count > CONFIGURE_COUNT_MAX) return Status.badValue; // CMD-18
			for (let i = 0; i < count; i++)
				if (!isParameterInRange(from.getUint8(at + 1 + 5 * i), from.getUint32(at + 2 + 5 * i))) return Status.badValue; // CMD-19
			break;
		}
		case CommandKind.profileRead:
			if (from.getUint16(at + 4) < 1) return Status.badValue; // CMD-20
			break;
		case CommandKind.keyMaintenance:
			if (from.getUint8(at) !== KeyAction.reportHead) return Status.badValue; // CMD-21
			break;
		default:
	}
	return Status.ok;
}

// ---- bodies, at an offset: they are also how the settings store keeps them. Each encoder returns the bytes written.

export function encodeLoadLimit(limit: LoadLimit, into: DataView, at: number): number {
	into.setUint32(at, limit.limitWatts);
	into.setUint32(at + 4, limit.durationSeconds);
	into.setUint16(at + 8, limit.overSeconds);
	into.setUint16(at + 10, limit.reconnectSeconds);
	into.setUint8(at + 12, limit.tripsMax);
	into.setUint8(at + 13, 0);
	into.setUint32(at + 14, limit.thenWatts);
	return 18;
}

export function readLoadLimit(from: DataView, at: number, into: LoadLimit): void {
	into.limitWatts = from.getUint32(at);
	into.durationSeconds = from.getUint32(at + 4);
	into.overSeconds = from.getUint16(at + 8);
	into.reconnectSeconds = from.getUint16(at + 10);
	into.tripsMax = from.getUint8(at + 12);
	into.thenWatts = from.getUint32(at + 14);
}

export function encodePrices(prices: Prices, into: DataView, at: number): number {
	into.setUint32(at, prices.validFromSeconds);
	into.setUint16(at + 4, prices.currency);
	into.setUint8(at + 6, prices.tariffCount);
	into.setUint8(at + 7, 0);
	for (let i = 0; i < prices.tariffCount; i++) into.setInt32(at + 8 + 4 * i, prices.prices[i]!);
	return 8 + 4 * prices.tariffCount;
}

export function readPrices(from: DataView, at: number, into: Prices): void {
	const tariffCount = Math.min(from.getUint8(at + 6), TARIFFS_MAX);
	into.validFromSeconds = from.getUint32(at);
	into.currency = from.getUint16(at + 4);
	into.tariffCount = tariffCount;
	for (let i = 0; i < TARIFFS_MAX; i++) into.prices[i] = i < tariffCount ? from.getInt32(at + 8 + 4 * i) : 0;
}

export function encodeTariffTable(table: TariffTable, into: DataView, at: number): number {
	into.setUint32(at, table.validFromSeconds);
	into.setInt16(at + 4, table.utcOffsetMinutes);
	into.setUint8(at + 6, table.summerTime ? 1 : 0);
	into.setUint8(at + 7, table.switchCount);
	for (let i = 0; i < table.switchCount; i++) {
		into.setUint16(at + 8 + 3 * i, table.minutes[i]!);
		into.setUint8(at + 10 + 3 * i, table.tariffs[i]!);
	}
	return 8 + 3 * table.switchCount;
}

export function readTariffTable(from: DataView, at: number, into: TariffTable): void {
	const switchCount = Math.min(from.getUint8(at + 7), SWITCHES_MAX);
	into.validFromSeconds = from.getUint32(at);
	into.utcOffsetMinutes = from.getInt16(at + 4);
	into.summerTime = from.getUint8(at + 6) !== 0;
	into.switchCount = switchCount;
	for (let i = 0; i < SWITCHES_MAX; i++) {
		into.minutes[i] = i < switchCount ? from.getUint16(at + 8 + 3 * i) : 0;
		into.tariffs[i] = i < switchCount ? from.getUint8(at + 10 + 3 * i) : 0;
	}
}

export function encodeDemandResponse(event: DemandResponseEvent, into: DataView, at: number): number {
	into.setUint32(at, event.startSeconds);
	into.setUint32(at + 4, event.durationSeconds);
	into.setUint32(at + 8, event.limitWatts);
	into.setUint16(at + 12, event.dutyPermille);
	into.setUint8(at + 14, event.group);
	into.setUint8(at + 15, event.optOutAllowed ? 1 : 0);
	return 16;
}

export function readDemandResponse(from: DataView, at: number, into: DemandResponseEvent): void {
	into.startSeconds = from.getUint32(at);
	into.durationSeconds = from.getUint32(at + 4);
	into.limitWatts = from.getUint32(at + 8);
	into.dutyPermille = from.getUint16(at + 12);
	into.group = from.getUint8(at + 14);
	into.optOutAllowed = from.getUint8(at + 15) !== 0;
}
