import { Status } from "../bytes/status.js";
import { CHAIN_KEY_BYTES, MAC_BYTES } from "./tesla.js";

/** First byte of what goes to all (HORA section 8). Integers are big-endian. */
export const BroadcastType = Object.freeze({
	beacon: 0x01,
	broadcast: 0x0d,
	flashCommit: 0x0e,
	flash: 0x0f,
} as const);
export type BroadcastType = (typeof BroadcastType)[keyof typeof BroadcastType];

/**
 * BEACON (0x01), concentrator to its domain: 56, 71 or 73 bytes.
 * | offset | size | field          | unit and range                                                                   |
 * |-------:|-----:|----------------|----------------------------------------------------------------------------------|
 * |      0 |    1 | type           | 0x01                                                                             |
 * |      1 |    2 | domain         |                                                                                  |
 * |      3 |    2 | epoch          | days since 2000-01-01                                                            |
 * |      5 |    2 | interval       | of the day, i                                                                    |
 * |      7 |    1 | headEndLag     | intervals by which T_HES is older than T_DC; 255: there is none                  |
 * |      8 |    4 | generation     | of the domain's tree                                                             |
 * |     12 |    1 | generationOfDay | generations since the day began                                                 |
 * |     13 |    1 | patchDelta     | generations since the newest patch; 255 or more: 255                             |
 * |     14 |   16 | chainKey       | T of interval i - d of the concentrator's chain, of yesterday's when i < d       |
 * |     30 |   16 | headEndKey     | T of interval i - d - headEndLag of the head end's chain; it proves itself       |
 * |     46 | 0, 17 or 15 | extension | 1, then T_0 of the concentrator's chain of tomorrow, 16; or 2, then groups, 14 |
 * |      … |   10 | mac            | under the concentrator's key of interval i                                       |
 */
export const BEACON_BYTES = 56;
export const BEACON_BYTES_MAX = 73;
export const BEACON_CHAIN_KEY = 14;
export const BEACON_HEAD_END_KEY = 30;
export const BEACON_EXTENSION = 46;
export const NO_HEAD_END_KEY = 255;

export const BeaconExtension = Object.freeze({ none: 0, tomorrow: 1, groups: 2 } as const);
export type BeaconExtension = (typeof BeaconExtension)[keyof typeof BeaconExtension];
const EXTENSION_BYTES: readonly number[] = Object.freeze([0, 17, 15]);

/** The header of a beacon; keys and extension stay in its bytes. */
export interface Beacon {
	domain: number;
	epoch: number;
	interval: number;
	headEndLag: number;
	generation: number;
	generationOfDay: number;
	patchDelta: number;
	extension: BeaconExtension;
}

export function createBeacon(): Beacon {
	return {
		domain: 0,
		epoch: 0,
		interval: 0,
		headEndLag: NO_HEAD_END_KEY,
		generation: 0,
		generationOfDay: 0,
		patchDelta: 0,
		extension: BeaconExtension.none,
	};
}

function uint16(from: Uint8Array, offset: number): number {
	return from[offset]! * 256 + from[offset + 1]!;
}

function uint32(from: Uint8Array, offset: number): number {
	return uint16(from, offset) * 65_536 + uint16(from, offset + 2);
}

function putUint16(into: Uint8Array, offset: number, value: number): void {
	into[offset] = value >> 8;
	into[offset + 1] = value;
}

function putUint32(into: Uint8Array, offset: number, value: number): void {
	putUint16(into, offset, value >>> 16);
	putUint16(into, offset + 2, value & 0xffff);
}

/** Keys and extension are the caller's to write. @returns bytes before the MAC */
export function encodeBeacon(beacon: Beacon, into: Uint8Array): number {
	into[0] = BroadcastType.beacon;
	putUint16(into, 1, beacon.domain);
	putUint16(into, 3, beacon.epoch);
	putUint16(into, 5, beacon.interval);
	into[7] = beacon.headEndLag;
	putUint32(into, 8, beacon.generation);
	into[12] = beacon.generationOfDay;
	into[13] = beacon.patchDelta;
	if (beacon.extension !== BeaconExtension.none) into[BEACON_EXTENSION] = beacon.extension;
	return BEACON_EXTENSION + EXTENSION_BYTES[beacon.extension]!;
}

export function decodeBeacon(from: Uint8Array, offset: number, byteLength: number, into: Beacon): Status {
	const extra = byteLength - BEACON_BYTES;
	if (extra < 0) return Status.badLength; // BCM-1
	if (from[offset] !== BroadcastType.beacon) return Status.badKind; // BCM-2
	const extension = extra === 0 ? BeaconExtension.none : from[offset + BEACON_EXTENSION]!;
	if (extension > BeaconExtension.groups) return Status.unsupported; // BCM-3
	if (extra !== EXTENSION_BYTES[extension]) return Status.badLength; // BCM-4
	into.domain = uint16(from, offset + 1);
	into.epoch = uint16(from, offset + 3);
	into.interval = uint16(from, offset + 5);
	into.headEndLag = from[offset + 7]!;
	into.generation = uint32(from, offset + 8);
	into.generationOfDay = from[offset + 12]!;
	into.patchDelta = from[offset + 13]!;
	into.extension = extension as BeaconExtension;
	return Status.ok;
}

/**
 * BCAST (0x0D), head end to all: 18 to 274 bytes.
 * | offset | size | field    | unit and range                                                              |
 * |-------:|-----:|----------|-----------------------------------------------------------------------------|
 * |      0 |    1 | type     | 0x0D; 0x0E: the payload is a FLASH-COMMIT                                   |
 * |      1 |    2 | domain   | whom it is for; 0xFFFF: all                                                 |
 * |      3 |    1 | flags    | 0                                                                           |
 * |      4 |    2 | interval | of the day; the epoch is told by the clock and bound by the MAC             |
 * |      6 |    2 | counter  | counts up through the day; with epoch and interval it names the message     |
 * |      8 |    n | payload  | n up to 256                                                                 |
 * |  8 + n |   10 | mac      | under the head end's key of the interval                                    |
 */
export const BROADCAST_HEADER_BYTES = 8;
export const BROADCAST_PAYLOAD_MAX = 256;
export const BROADCAST_OVERHEAD_BYTES = BROADCAST_HEADER_BYTES + MAC_BYTES;
export const BROADCAST_BYTES_MAX = BROADCAST_OVERHEAD_BYTES + BROADCAST_PAYLOAD_MAX;

export interface BroadcastHeader {
	type: BroadcastType;
	domain: number;
	interval: number;
	counter: number;
}

export function createBroadcastHeader(): BroadcastHeader {
	return { type: BroadcastType.broadcast, domain: 0, interval: 0, counter: 0 };
}

export function encodeBroadcastHeader(header: BroadcastHeader, into: Uint8Array): void {
	into[0] = header.type;
	putUint16(into, 1, header.domain);
	into[3] = 0;
	putUint16(into, 4, header.interval);
	putUint16(into, 6, header.counter);
}

/** Of a BCAST or FLASH-COMMIT. */
export function decodeBroadcastHeader(from: Uint8Array, byteLength: number, into: BroadcastHeader): Status {
	if (byteLength < BROADCAST_OVERHEAD_BYTES || byteLength > BROADCAST_BYTES_MAX) return Status.badLength; // BCM-5
	const type = from[0]!;
	if (type !== BroadcastType.broadcast && type !== BroadcastType.flashCommit) return Status.badKind; // BCM-6
	const payloadBytes = byteLength - BROADCAST_OVERHEAD_BYTES;
	if (type === BroadcastType.flashCommit && payloadBytes !== FLASH_COMMIT_BYTES) return Status.badLength; // BCM-7
	if (from[3] !== 0) return Status.unsupported; // BCM-8
	into.type = type;
	into.domain = uint16(from, 1);
	into.interval = uint16(from, 4);
	into.counter = uint16(from, 6);
	return Status.ok;
}

/**
 * FLASH-COMMIT (0x0E), payload of a BCAST: 27 bytes; the message has 45. It is said again until its window is over: a meter
 * that lost power has forgotten it.
 * | offset | size | field         | unit and range                                        |
 * |-------:|-----:|---------------|-------------------------------------------------------|
 * |      0 |    4 | slot          | 0 to 2^32 - 2; each is used once, in ascending order  |
 * |      4 |    1 | scope         | tree of the meters that act; 0: all                   |
 * |      5 |    2 | epoch         | of the window                                         |
 * |      7 |    2 | firstInterval | of the window                                         |
 * |      9 |    2 | lastInterval  | of the window                                         |
 * |     11 |   16 | commit        | KDF(x_end ‖ y_end, "q", all of the above)             |
 */
export const FLASH_COMMIT_BYTES = 27;
export const FLASH_COMMIT_COMMIT = 11;
export const FLASH_SLOT_MAX = 0xffff_fffe;

export interface FlashCommit {
	slot: number;
	scope: number;
	epoch: number;
	firstInterval: number;
	lastInterval: number;
}

/** The commit is the caller's to write, at `FLASH_COMMIT_COMMIT`. The first 11 bytes are the context of label `q`. */
export function encodeFlashCommit(commit: FlashCommit, into: Uint8Array, offset: number): void {
	putUint32(into, offset, commit.slot);
	into[offset + 4] = commit.scope;
	putUint16(into, offset + 5, commit.epoch);
	putUint16(into, offset + 7, commit.firstInterval);
	putUint16(into, offset + 9, commit.lastInterval);
}

export function decodeFlashCommit(from: Uint8Array, offset: number, into: FlashCommit): Status {
	const slot = uint32(from, offset);
	const first = uint16(from, offset + 7);
	const last = uint16(from, offset + 9);
	if (slot > FLASH_SLOT_MAX || first > last) return Status.badValue; // BCM-9
	into.slot = slot;
	into.scope = from[offset + 4]!;
	into.epoch = uint16(from, offset + 5);
	into.firstInterval = first;
	into.lastInterval = last;
	return Status.ok;
}

/**
 * FLASH (0x0F), head end to all: 41 bytes. It proves itself by what its commit says, and is acted on at once.
 * | offset | size | field  | unit and range                              |
 * |-------:|-----:|--------|---------------------------------------------|
 * |      0 |    1 | type   | 0x0F                                        |
 * |      1 |    2 | domain | 0xFFFF, or the one it is said in; not bound |
 * |      3 |    4 | slot   |                                             |
 * |      7 |    1 | scope  |                                             |
 * |      8 |    1 | level  | c                                           |
 * |      9 |   16 | a      | x after 255 - c steps                       |
 * |     25 |   16 | b      | y after c steps                             |
 */
export const FLASH_BYTES = 41;
export const FLASH_A = 9;
export const FLASH_B = FLASH_A + CHAIN_KEY_BYTES;

export interface Flash {
	domain: number;
	slot: number;
	scope: number;
	level: number;
}

export function createFlash(): Flash {
	return { domain: 0, slot: 0, scope: 0, level: 0 };
}

/** The two values are the caller's to write. */
export function encodeFlash(flash: Flash, into: Uint8Array): void {
	into[0] = BroadcastType.flash;
	putUint16(into, 1, flash.domain);
	putUint32(into, 3, flash.slot);
	into[7] = flash.scope;
	into[8] = flash.level;
}

export function decodeFlash(from: Uint8Array, byteLength: number, into: Flash): Status {
	if (byteLength !== FLASH_BYTES) return Status.badLength; // BCM-10
	if (from[0] !== BroadcastType.flash) return Status.badKind; // BCM-11
	into.domain = uint16(from, 1);
	into.slot = uint32(from, 3);
	into.scope = from[7]!;
	into.level = from[8]!;
	return Status.ok;
}
