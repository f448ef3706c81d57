import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/** Why the meter started. */
export const BootReason = Object.freeze({
	powerOn: 0,
	restart: 1,
	watchdog: 2,
	memoryFull: 3,
	update: 4,
	fault: 5,
} as const);

/** First message after every connection: who speaks, and which sequences it holds. */
export interface Hello {
	bootCount: number;
	bootReason: number;
	phaseCount: number;
	/** Netting of the legal registers: 0 per phase, 1 vector sum. */
	netting: number;
	/** Length of a load profile interval, s. */
	intervalSeconds: number;
	firmwareMajor: number;
	firmwareMinor: number;
	firmwarePatch: number;
	/** Raised with every change of a metrological parameter. */
	parameterCounter: number;
	/** Oldest profile row held, and the sequence that the next one will get. */
	profileOldest: number;
	profileNext: number;
	eventOldest: number;
	eventNext: number;
	/** UTCTime, `UTC_INVALID` while the clock is not set. */
	utcSeconds: number;
}

/**
 * Hello, version 1: 40 bytes.
 * | offset | size | field            | unit and range                    |
 * |-------:|-----:|------------------|-----------------------------------|
 * |      0 |    1 | kind             | 0x01                              |
 * |      1 |    1 | version          | 1                                 |
 * |      2 |    4 | bootCount        | counts up by one at each start    |
 * |      6 |    1 | bootReason       | see BootReason                    |
 * |      7 |    1 | phaseCount       | 1 to 3                            |
 * |      8 |    1 | netting          | 0 per phase, 1 vector sum         |
 * |      9 |    1 | reserved         | 0                                 |
 * |     10 |    2 | intervalSeconds  | s, 60 to 3600                     |
 * |     12 |    3 | firmware         | major, minor, patch               |
 * |     15 |    1 | reserved         | 0                                 |
 * |     16 |    4 | parameterCounter | 0 to 2^32 - 1                     |
 * |     20 |    4 | profileOldest    | sequence                          |
 * |     24 |    4 | profileNext      | sequence                          |
 * |     28 |    4 | eventOldest      | sequence                          |
 * |     32 |    4 | eventNext        | sequence                          |
 * |     36 |    4 | utcSeconds       | UTCTime                           |
 */
export const HELLO_BYTES = 40;

export function createHello(): Hello {
	return {
		bootCount: 0,
		bootReason: 0,
		phaseCount: 1,
		netting: 0,
		intervalSeconds: 900,
		firmwareMajor: 0,
		firmwareMinor: 0,
		firmwarePatch: 0,
		parameterCounter: 0,
		profileOldest: 0,
		profileNext: 0,
		eventOldest: 0,
		eventNext: 0,
		utcSeconds: 0,
	};
}

export function encodeHello(hello: Hello, into: DataView): number {
	into.setUint8(0, Kind.hello);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint32(2, hello.bootCount);
	into.setUint8(6, hello.bootReason);
	into.setUint8(7, hello.phaseCount);
	into.setUint8(8, hello.netting);
	into.setUint8(9, 0);
	into.setUint16(10, hello.intervalSeconds);
	into.setUint8(12, hello.firmwareMajor);
	into.setUint8(13, hello.firmwareMinor);
	into.setUint8(14, hello.firmwarePatch);
	into.setUint8(15, 0);
	into.setUint32(16, hello.parameterCounter);
	into.setUint32(20, hello.profileOldest);
	into.setUint32(24, hello.profileNext);
	into.setUint32(28, hello.eventOldest);
	into.setUint32(32, hello.eventNext);
	into.setUint32(36, hello.utcSeconds);
	return HELLO_BYTES;
}

export function decodeHello(from: DataView, byteLength: number, into: Hello): Status {
	if (byteLength !== HELLO_BYTES) return Status.badLength; // HEL-1
	if (from.getUint8(0) !== Kind.hello) return Status.badKind; // HEL-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // HEL-3
	const phaseCount = from.getUint8(7);
	const intervalSeconds = from.getUint16(10);
	if (phaseCount < 1 || phaseCount > 3 || from.getUint8(8) > 1) return Status.badValue; // HEL-4
	if (intervalSeconds < 60 || intervalSeconds > 3600) return Status.badValue; // HEL-5
	into.bootCount = from.getUint32(2);
	into.bootReason = from.getUint8(6);
	into.phaseCount = phaseCount;
	into.netting = from.getUint8(8);
	into.intervalSeconds = intervalSeconds;
	into.firmwareMajor = from.getUint8(12);
	into.firmwareMinor = from.getUint8(13);
	into.firmwarePatch = from.getUint8(14);
	into.parameterCounter = from.getUint32(16);
	into.profileOldest = from.getUint32(20);
	into.profileNext = from.getUint32(24);
	into.eventOldest = from.getUint32(28);
	into.eventNext = from.getUint32(32);
	into.utcSeconds = from.getUint32(36);
	return Status.ok;
}
