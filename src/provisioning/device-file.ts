import { crc32 } from "../bytes/crc.js";
import { Status } from "../bytes/status.js";

/**
 * Device file, version 1: 168 bytes, big-endian. What a meter gets from the head end, in the factory or at a renewal.
 * It holds the meter's two root secrets in clear: on disk it is encrypted (docs/PROVISIONING.md), here it is on its way
 * through the optical port to the meter that the technician stands in front of.
 * | offset | size | field                | unit and range                                                          |
 * |-------:|-----:|----------------------|-------------------------------------------------------------------------|
 * |      0 |    4 | magic                | "WLdf"                                                                  |
 * |      4 |    1 | version              | 1                                                                       |
 * |      5 |    1 | calendarLevels       | height of the calendar's tree, 1 to 16                                  |
 * |      6 |    2 | teslaIntervalSeconds | s, 1 to 43 200                                                          |
 * |      8 |    8 | id                   | of the meter, its EUI-64                                                |
 * |     16 |    2 | generation           | of the roots, from 1                                                    |
 * |     18 |    2 | domain               | of the concentrator; 0xFFFF is the head end's own                       |
 * |     20 |    2 | shortAddress         | of the meter in its domain                                              |
 * |     22 |    2 | epoch                | d since 2000-01-01: the first day of these keys                         |
 * |     24 |    2 | calendarFirstEpoch   | d since 2000-01-01: leaf 0 of the calendar; at most epoch               |
 * |     26 |    2 | reserved             | 0                                                                       |
 * |     28 | 2×32 | roots                | R_E, R_N: secret                                                        |
 * |     92 |   16 | calendarRoot         | of the head end's T_0 of every day                                      |
 * |    108 |   56 | updateKey            | LMS public key that firmware is signed with (RFC 8554 section 5.3)      |
 * |    164 |    4 | checksum             | CRC-32 of all before: against damage on the way, not against forgery    |
 */
export const DEVICE_FILE_BYTES = 168;
export const DEVICE_FILE_MAGIC = 0x574c_6466; // "WLdf"
export const DEVICE_FILE_VERSION = 1;
export const DEVICE_ID_BYTES = 8;
export const ROOTS_BYTES = 64;
export const CALENDAR_ROOT_BYTES = 16;
export const UPDATE_KEY_BYTES = 56;
const ID = 8;
const ROOTS = 28;
const CALENDAR_ROOT = 92;
const UPDATE_KEY = 108;
const CHECKSUM = 164;
const CALENDAR_LEVELS_MAX = 16;
const TESLA_INTERVAL_SECONDS_MAX = 43_200;
/** The domain number of the head end's own chain: no meter lives there. */
const HEAD_END_DOMAIN = 0xffff;

/** A device file, decoded. It goes where `KeyStore.provision` wants a `Provisioning`. */
export interface DeviceFile {
	generation: number;
	domain: number;
	shortAddress: number;
	epoch: number;
	calendarFirstEpoch: number;
	calendarLevels: number;
	teslaIntervalSeconds: number;
	readonly id: Uint8Array;
	/** R_E, then R_N. Secret: `wipeDeviceFile` when it is done with. */
	readonly roots: Uint8Array;
	readonly calendarRoot: Uint8Array;
	readonly updateKey: Uint8Array;
}

export function createDeviceFile(): DeviceFile {
	return {
		generation: 0,
		domain: 0,
		shortAddress: 0,
		epoch: 0,
		calendarFirstEpoch: 0,
		calendarLevels: 0,
		teslaIntervalSeconds: 0,
		id: new Uint8Array(DEVICE_ID_BYTES),
		roots: new Uint8Array(ROOTS_BYTES),
		calendarRoot: new Uint8Array(CALENDAR_ROOT_BYTES),
		updateKey: new Uint8Array(UPDATE_KEY_BYTES),
	};
}

/** Overwrites the secrets, and the rest with them. */
export function wipeDeviceFile(file: DeviceFile): void {
	file.generation = 0;
	file.domain = 0;
	file.shortAddress = 0;
	file.epoch = 0;
	file.calendarFirstEpoch = 0;
	file.calendarLevels = 0;
	file.teslaIntervalSeconds = 0;
	file.id.fill(0);
	file.roots.fill(0);
	file.calendarRoot.fill(0);
	file.updateKey.fill(0);
}

function copy(from: Uint8Array, fromOffset: number, into: Uint8Array, intoOffset: number, byteLength: number): void {
	for (let i = 0; i < byteLength; i++) into[intoOffset + i] = from[fromOffset + i]!;
}

function get16(from: Uint8Array, at: number): number {
	return (from[at]! << 8) | from[at + 1]!;
}

function get32(from: Uint8Array, at: number): number {
	return get16(from, at) * 0x1_0000 + get16(from, at + 2);
}

function set16(into: Uint8Array, at: number, value: number): void {
	into[at] = value >> 8;
	into[at + 1] = value;
}

/**
 * @param offset where the file starts in `from`
 * @param into used only after `ok`; before that it may hold part of the file: wipe it in any case
 * @returns `ok`; `badLength`; `badKind` for something else than a device file; `badVersion`; `badChecksum` when it was
 * damaged on the way; `badValue`
 */
export function decodeDeviceFile(from: Uint8Array, offset: number, byteLength: number, into: DeviceFile): Status {
	if (byteLength !== DEVICE_FILE_BYTES || offset + byteLength > from.length) return Status.badLength; // DEV-1
	if (get32(from, offset) !== DEVICE_FILE_MAGIC) return Status.badKind; // DEV-2
	if (from[offset + 4] !== DEVICE_FILE_VERSION) return Status.badVersion; // DEV-3
	if (get32(from, offset + CHECKSUM) !== crc32(from, offset, CHECKSUM)) return Status.badChecksum; // DEV-4
	const levels = from[offset + 5]!;
	const intervalSeconds = get16(from, offset + 6);
	const generation = get16(from, offset + 16);
	const domain = get16(from, offset + 18);
	const epoch = get16(from, offset + 22);
	const firstEpoch = get16(from, offset + 24);
	if (levels < 1 || levels > CALENDAR_LEVELS_MAX) return Status.badValue; // DEV-5
	if (intervalSeconds < 1 || intervalSeconds > TESLA_INTERVAL_SECONDS_MAX) return Status.badValue; // DEV-6
	if (generation < 1 || domain === HEAD_END_DOMAIN) return Status.badValue; // DEV-7
	if (epoch < firstEpoch || epoch - firstEpoch >= 2 ** levels) return Status.badValue; // DEV-8
	if (get16(from, offset + 26) !== 0) return Status.badValue; // DEV-9
	into.calendarLevels = levels;
	into.teslaIntervalSeconds = intervalSeconds;
	into.generation = generation;
	into.domain = domain;
	into.shortAddress = get16(from, offset + 20);
	into.epoch = epoch;
	into.calendarFirstEpoch = firstEpoch;
	copy(from, offset + ID, into.id, 0, DEVICE_ID_BYTES);
	copy(from, offset + ROOTS, into.roots, 0, ROOTS_BYTES);
	copy(from, offset + CALENDAR_ROOT, into.calendarRoot, 0, CALENDAR_ROOT_BYTES);
	copy(from, offset + UPDATE_KEY, into.updateKey, 0, UPDATE_KEY_BYTES);
	return Status.ok;
}

/** @returns bytes written, `DEVICE_FILE_BYTES` */
export function encodeDeviceFile(file: DeviceFile, into: Uint8Array, offset: number): number {
	set16(into, offset, DEVICE_FILE_MAGIC >>> 16);
	set16(into, offset + 2, DEVICE_FILE_MAGIC & 0xffff);
	into[offset + 4] = DEVICE_FILE_VERSION;
	into[offset + 5] = file.calendarLevels;
	set16(into, offset + 6, file.teslaIntervalSeconds);
	copy(file.id, 0, into, offset + ID, DEVICE_ID_BYTES);
	set16(into, offset + 16, file.generation);
	set16(into, offset + 18, file.domain);
	set16(into, offset + 20, file.shortAddress);
	set16(into, offset + 22, file.epoch);
	set16(into, offset + 24, file.calendarFirstEpoch);
	set16(into, offset + 26, 0);
	copy(file.roots, 0, into, offset + ROOTS, ROOTS_BYTES);
	copy(file.calendarRoot, 0, into, offset + CALENDAR_ROOT, CALENDAR_ROOT_BYTES);
	copy(file.updateKey, 0, into, offset + UPDATE_KEY, UPDATE_KEY_BYTES);
	const checksum = crc32(into, offset, CHECKSUM);
	set16(into, offset + CHECKSUM, checksum >>> 16);
	set16(into, offset + CHECKSUM + 2, checksum & 0xffff);
	return DEVICE_FILE_BYTES;
}
