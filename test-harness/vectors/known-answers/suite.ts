import { crc32 } from "../../../src/bytes/crc.js";
import { getInt48, getUint48, getUint53, setInt48, setUint48, setUint53 } from "../../../src/bytes/integers.js";
import { Status, statusName } from "../../../src/bytes/status.js";
import {
	type CaptureHeader,
	captureCodesOffset,
	createCaptureHeader,
	decodeCaptureHeader,
	encodeCaptureHeader,
} from "../../../src/messages/capture.js";
import { createControl, decodeControl, encodeControl } from "../../../src/messages/control.js";
import {
	decodeDiagnostic,
	decodeDiagnosticsHeader,
	encodeDiagnostic,
	encodeDiagnosticsHeader,
} from "../../../src/messages/diagnostics.js";
import { PlainEnvelope } from "../../../src/messages/envelope.js";
import {
	createEventEntry,
	decodeEventEntry,
	decodeEventsHeader,
	encodeEventEntry,
	encodeEventsHeader,
} from "../../../src/messages/events.js";
import { createHello, decodeHello, encodeHello, type Hello } from "../../../src/messages/hello.js";
import {
	createProfileRow,
	decodeProfileHeader,
	decodeProfileRow,
	encodeProfileHeader,
	encodeProfileRow,
	type ProfileRow,
} from "../../../src/messages/profile.js";
import { createReading, decodeReading, encodeReading, type Reading } from "../../../src/messages/reading.js";
import {
	decodeRegisterEntry,
	decodeSnapshotHeader,
	encodeRegisterEntry,
	encodeSnapshotHeader,
} from "../../../src/messages/snapshot.js";
import { Metrology, type MetrologyConfiguration } from "../../../src/metrology/metrology.js";
import { decodeRegisters, EnergyRegisters, encodeRegisters, REGISTER_BYTES } from "../../../src/metrology/registers.js";
import { PacketCheck } from "../../../src/mqtt/packet-check.js";
import { type IncomingPacket, type OutgoingPacket, packetLibrary } from "../../../src/mqtt/packet-library.js";
import { PacketWriter } from "../../../src/mqtt/packet-writer.js";
import type { NorFlash } from "../../../src/platform/flash.js";
import { rowBytes, type SampleKernel, type SampleLayout } from "../../../src/platform/sample-kernel.js";
import {
	createProfileRow as createStoredRow,
	decodeProfileRow as decodeStoredRow,
	encodeProfileRow as encodeStoredRow,
	PROFILE_ROW_BYTES,
	type ProfileRow as StoredRow,
} from "../../../src/storage/profile-store.js";
import { RecordLog } from "../../../src/storage/record-log.js";

/*
 * The known answers, checked by the firmware's own code on whatever engine this runs: no Node, no I/O, and nothing at
 * module level that changes. Bytes are lower-case hexadecimal.
 */

type Fields = Readonly<Record<string, unknown>>;

interface Named {
	/** Where the answer comes from. */
	readonly source: string;
}

interface MessageVector extends Named {
	readonly message: string;
	readonly fields: Fields;
	readonly bytes: string;
}

interface RefusedVector extends Named {
	readonly message: string;
	readonly bytes: string;
	readonly status: string;
}

export interface KernelVector extends Named {
	readonly layout: SampleLayout;
	/** Parameter block. */
	readonly parameters: string;
	/** Rows that are played again and again. */
	readonly rows: string;
	/** Rows given in one call. */
	readonly rowsPerCall: number;
	/** Rows until each window closes, and its sums (192 float64, little-endian, zeros at the end left out). */
	readonly windows: readonly { readonly rowCount: number; readonly sums: string }[];
}

export interface KnownAnswers {
	readonly crc: readonly (Named & { readonly data: string; readonly crc: number })[];
	readonly integers: readonly (Named & { readonly type: string; readonly bytes: string; readonly value: number })[];
	readonly messages: { readonly accepted: readonly MessageVector[]; readonly refused: readonly RefusedVector[] };
	readonly envelope: {
		readonly sealed: readonly (Named & { readonly message: string; readonly bytes: string })[];
		readonly refused: readonly (Named & { readonly bytes: string; readonly status: string })[];
	};
	readonly kernel: readonly KernelVector[];
	readonly metrology: readonly (Named & {
		readonly configuration: MetrologyConfiguration;
		/** Rows that are played again and again. */
		readonly rows: string;
		readonly rowsPerBlock: number;
		readonly blockCount: number;
		readonly windows: number;
		/** Of the last whole second. */
		readonly second: Fields;
		/** The registers, stored. */
		readonly registers: string;
	})[];
	readonly registers: readonly (Named & {
		readonly legal: 0 | 1;
		readonly pulsesPerKilowattHour: number;
		readonly phaseCount: number;
		/** Energies of each window, see `EnergyRegisters.add`, and the tariff in force. */
		readonly windows: readonly { readonly tariff: number; readonly energies: readonly number[] }[];
		/** How often the windows are counted, all in turn. */
		readonly rounds: number;
		readonly stored: string;
	})[];
	readonly profile: readonly (Named & { readonly row: Fields; readonly bytes: string })[];
	readonly recordLog: readonly (Named & {
		readonly sectorBytes: number;
		readonly sectorCount: number;
		readonly kind: number;
		readonly recordBytes: number;
		/** Content of the flash before `open`. */
		readonly before: string;
		/** Payloads appended. */
		readonly appended: readonly string[];
		readonly after: string;
		readonly oldestSequence: number;
		readonly nextSequence: number;
		readonly newestSequence: number;
		/** Payload of each sequence from the oldest on, or the name of the status. */
		readonly records: readonly string[];
	})[];
	readonly mqtt: {
		readonly written: readonly (Named & {
			readonly protocolVersion: 4 | 5;
			readonly packet: Fields;
			readonly bytes: string;
		})[];
		readonly read: readonly (Named & {
			readonly protocolVersion: 4 | 5;
			readonly bytes: string;
			readonly packet: Fields;
		})[];
		readonly refused: readonly (Named & {
			readonly protocolVersion: 4 | 5;
			readonly bytes: string;
			readonly status: string;
		})[];
	};
}

/** What the engine's host offers besides the firmware. */
export interface SuiteOptions {
	/** Kernels to check against the same answers, by name. */
	readonly kernels: Readonly<Record<string, (layout: SampleLayout) => SampleKernel>>;
}

const DIGITS = "0123456789abcdef";

export function bytesOf(hex: string): Uint8Array {
	const bytes = new Uint8Array(hex.length / 2);
	for (let i = 0; i < bytes.length; i++) bytes[i] = DIGITS.indexOf(hex[2 * i]!) * 16 + DIGITS.indexOf(hex[2 * i + 1]!);
	return bytes;
}

export function hexOf(bytes: Uint8Array, byteLength = bytes.length): string {
	let hex = "";
	for (let i = 0; i < byteLength; i++) hex += DIGITS[bytes[i]! >> 4]! + DIGITS[bytes[i]! & 15]!;
	return hex;
}

function viewOf(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Failures of one group, and how many vectors it has looked at. */
class Findings {
	readonly failures: string[] = [];
	vectorCount = 0;
	#source = "";

	vector(source: string): void {
		this.vectorCount++;
		this.#source = source;
	}

	equal(what: string, actual: unknown, expected: unknown): void {
		if (same(actual, expected)) return;
		const from = firstDifference(actual, expected);
		const where = from > 0 ? ` from character ${from} on` : "";
		this.failures.push(
			`${this.#source}: ${what} is${where} ${show(actual).slice(from, from + SHOWN_MAX)}, ` +
				`not ${show(expected).slice(from, from + SHOWN_MAX)}`,
		);
	}
}

const SHOWN_MAX = 100;

function show(value: unknown): string {
	return typeof value === "object" ? (JSON.stringify(value) ?? "") : String(value);
}

/** For what is too long to be shown whole. */
function firstDifference(actual: unknown, expected: unknown): number {
	const a = show(actual);
	const b = show(expected);
	if (a.length <= SHOWN_MAX && b.length <= SHOWN_MAX) return 0;
	let i = 0;
	while (i < a.length && a[i] === b[i]) i++;
	return i;
}

/** Like `===`, but by content for what the vectors hold; what is not in `expected` does not count. */
function same(actual: unknown, expected: unknown): boolean {
	if (typeof expected !== "object" || expected === null) return Object.is(actual, expected);
	if (typeof actual !== "object" || actual === null) return false;
	const has = actual as Record<string, unknown>;
	const wants = expected as Record<string, unknown>;
	return Object.keys(wants).every((name) => same(has[name], wants[name]));
}

function statusOf(status: number): string {
	return statusName(status);
}

function checkCrc(answers: KnownAnswers, findings: Findings): void {
	for (const { source, data, crc } of answers.crc) {
		findings.vector(source);
		const bytes = bytesOf(data);
		findings.equal("CRC-32", crc32(bytes, 0, bytes.length), crc);
		const half = bytes.length >> 1;
		findings.equal("CRC-32 in two parts", crc32(bytes, half, bytes.length - half, crc32(bytes, 0, half)), crc);
	}
}

function checkIntegers(answers: KnownAnswers, findings: Findings): void {
	for (const { source, type, bytes, value } of answers.integers) {
		findings.vector(source);
		const into = new Uint8Array(bytes.length / 2);
		const read = type === "uint48" ? getUint48 : type === "int48" ? getInt48 : getUint53;
		const write = type === "uint48" ? setUint48 : type === "int48" ? setInt48 : setUint53;
		findings.equal(`${type} read`, read(viewOf(bytesOf(bytes)), 0), value);
		write(viewOf(into), 0, value);
		findings.equal(`${type} written`, hexOf(into), bytes);
	}
}

interface ListFields {
	readonly requestId: number;
	readonly utcSeconds: number;
	readonly entries: readonly Fields[];
	readonly rows: readonly ProfileRow[];
	readonly codes: readonly number[];
}

/** Encodes the vector's fields. @returns bytes written */
function encodeMessage(message: string, fields: Fields, into: DataView): number {
	const list = fields as unknown as ListFields;
	switch (message) {
		case "hello":
			return encodeHello(fields as unknown as Hello, into);
		case "reading":
			return encodeReading(fields as unknown as Reading, into);
		case "control":
			return encodeControl({ ...createControl(), ...fields }, into);
		case "profile":
			list.rows.forEach((row, i) => {
				encodeProfileRow(row, i, into);
			});
			return encodeProfileHeader(list.requestId, list.rows.length, into);
		case "events":
			list.entries.forEach((entry, i) => {
				encodeEventEntry({ ...createEventEntry(), ...entry }, i, into);
			});
			return encodeEventsHeader(list.requestId, list.entries.length, into);
		case "snapshot":
			list.entries.forEach(({ c, d, e, unit, value }, i) => {
				encodeRegisterEntry(c as number, d as number, e as number, unit as number, value as number, i, into);
			});
			return encodeSnapshotHeader(list.requestId, list.utcSeconds, list.entries.length, into);
		case "diagnostics":
			list.entries.forEach(({ key, value }, i) => {
				encodeDiagnostic(key as number, value as number, i, into);
			});
			return encodeDiagnosticsHeader(list.requestId, list.entries.length, into);
		case "capture": {
			const header = fields as unknown as CaptureHeader;
			const offset = captureCodesOffset(header.channelCount);
			list.codes.forEach((code, i) => {
				into.setInt16(offset + 2 * i, code);
			});
			return encodeCaptureHeader(header, into);
		}
		default:
			return -1;
	}
}

/** Decodes into fields that look like a vector's. */
function decodeMessage(message: string, from: DataView, byteLength: number): { status: Status; fields: unknown } {
	const list = { requestId: -1, utcSeconds: -1, entryCount: -1, rowCount: -1, entries: [] as unknown[] };
	let status: Status;
	switch (message) {
		case "hello": {
			const hello = createHello();
			status = decodeHello(from, byteLength, hello);
			return { status, fields: hello };
		}
		case "reading": {
			const reading = createReading();
			status = decodeReading(from, byteLength, reading);
			return { status, fields: reading };
		}
		case "control": {
			const control = createControl();
			status = decodeControl(from, byteLength, control);
			return { status, fields: control };
		}
		case "profile": {
			const rows: ProfileRow[] = [];
			status = decodeProfileHeader(from, byteLength, list);
			for (let i = 0; status === Status.ok && i < list.rowCount; i++) {
				rows.push(createProfileRow());
				status = decodeProfileRow(from, i, rows[i]!);
			}
			return { status, fields: { requestId: list.requestId, rows } };
		}
		case "events":
			status = decodeEventsHeader(from, byteLength, list);
			for (let i = 0; status === Status.ok && i < list.entryCount; i++) {
				const entry = createEventEntry();
				decodeEventEntry(from, i, entry);
				list.entries.push(entry);
			}
			return { status, fields: list };
		case "snapshot":
			status = decodeSnapshotHeader(from, byteLength, list);
			for (let i = 0; status === Status.ok && i < list.entryCount; i++) {
				const entry = { c: -1, d: -1, e: -1, unit: -1, value: -1 };
				status = decodeRegisterEntry(from, i, entry);
				list.entries.push(entry);
			}
			return { status, fields: list };
		case "diagnostics":
			status = decodeDiagnosticsHeader(from, byteLength, list);
			for (let i = 0; status === Status.ok && i < list.entryCount; i++) {
				const entry = { key: -1, value: -1 };
				decodeDiagnostic(from, i, entry);
				list.entries.push(entry);
			}
			return { status, fields: list };
		default: {
			const header = createCaptureHeader();
			status = decodeCaptureHeader(from, byteLength, header);
			const codes: number[] = [];
			if (status === Status.ok)
				for (let offset = captureCodesOffset(header.channelCount); offset < byteLength; offset += 2)
					codes.push(from.getInt16(offset));
			return { status, fields: { ...header, codes } };
		}
	}
}

function checkMessages(answers: KnownAnswers, findings: Findings): void {
	const into = new Uint8Array(1024);
	for (const { source, message, fields, bytes } of answers.messages.accepted) {
		findings.vector(source);
		into.fill(0xee);
		const byteLength = encodeMessage(message, fields, viewOf(into));
		findings.equal(`${message} encoded`, hexOf(into, Math.max(0, byteLength)), bytes);
		const decoded = decodeMessage(message, viewOf(bytesOf(bytes)), bytes.length / 2);
		findings.equal(`${message} decoded`, statusOf(decoded.status), "ok");
		findings.equal(`${message} decoded`, decoded.fields, fields);
	}
	for (const { source, message, bytes, status } of answers.messages.refused) {
		findings.vector(source);
		findings.equal(
			`${message} ${bytes}`,
			statusOf(decodeMessage(message, viewOf(bytesOf(bytes)), bytes.length / 2).status),
			status,
		);
	}
}

function checkEnvelope(answers: KnownAnswers, findings: Findings): void {
	const into = new Uint8Array(64);
	for (const { source, message, bytes } of answers.envelope.sealed) {
		findings.vector(source);
		const envelope = new PlainEnvelope();
		findings.equal("sealed", hexOf(into, envelope.seal(bytesOf(message), message.length / 2, into)), bytes);
		findings.equal("opened", statusOf(envelope.open(bytesOf(bytes), bytes.length / 2, into)), "ok");
		findings.equal("opened", hexOf(into, envelope.openedByteLength), message);
	}
	for (const { source, bytes, status } of answers.envelope.refused) {
		findings.vector(source);
		findings.equal(bytes, statusOf(new PlainEnvelope().open(bytesOf(bytes), bytes.length / 2, into)), status);
	}
}

function checkKernel(answers: KnownAnswers, findings: Findings, options: SuiteOptions): void {
	for (const vector of answers.kernel)
		for (const name of Object.keys(options.kernels)) {
			findings.vector(`${vector.source} (${name})`);
			const kernel = options.kernels[name]!(vector.layout);
			kernel.configure(bytesOf(vector.parameters));
			playWindows(kernel, vector, (index, rowCount, sums) => {
				const window = vector.windows[index]!;
				findings.equal(`rows of window ${index}`, rowCount, window.rowCount);
				findings.equal(`sums of window ${index}`, hexOf(sums).slice(0, window.sums.length), window.sums);
				for (let i = window.sums.length / 2; i < sums.length; i++)
					if (sums[i] !== 0) findings.equal(`byte ${i} of the sums of window ${index}`, sums[i], 0);
			});
			kernel.close();
		}
}

/** Plays a vector's rows until as many windows have closed as it has, and hands each out. */
export function playWindows(
	kernel: SampleKernel,
	vector: KernelVector,
	closed: (index: number, rowCount: number, sums: Uint8Array) => void,
): void {
	const rows = bytesOf(vector.rows);
	const rowLength = rowBytes(vector.layout);
	const rowsOfCycle = rows.length / rowLength;
	const block = new Uint8Array(vector.rowsPerCall * rowLength);
	const sums = new Uint8Array(1536);
	let played = 0;
	let taken = 0;
	let windowStart = 0;
	for (let index = 0; index < vector.windows.length; ) {
		for (let row = 0; row < vector.rowsPerCall; row++) {
			const from = ((played + row) % rowsOfCycle) * rowLength;
			for (let i = 0; i < rowLength; i++) block[row * rowLength + i] = rows[from + i]!;
		}
		for (let at = 0; at < vector.rowsPerCall && index < vector.windows.length; ) {
			const count = kernel.process(block, at, vector.rowsPerCall, sums);
			at += count;
			taken += count;
			if (kernel.windowClosed()) {
				closed(index++, taken - windowStart, sums);
				windowStart = taken;
			} else if (count === 0) return;
		}
		played += vector.rowsPerCall;
		if (played > 100_000) return;
	}
}

function checkMetrology(answers: KnownAnswers, findings: Findings, options: SuiteOptions): void {
	for (const vector of answers.metrology)
		for (const name of Object.keys(options.kernels)) {
			findings.vector(`${vector.source} (${name})`);
			const kernel = options.kernels[name]!(vector.configuration.layout);
			const metrology = playMetrology(kernel, vector);
			const stored = new Uint8Array(REGISTER_BYTES);
			encodeRegisters(metrology.registers, viewOf(stored));
			findings.equal("windows", metrology.windows, vector.windows);
			findings.equal("second", metrology.second, vector.second);
			findings.equal("registers", hexOf(stored), vector.registers);
			kernel.close();
		}
}

/** Plays a vector's blocks through kernel and metrology. */
export function playMetrology(
	kernel: SampleKernel,
	vector: {
		readonly configuration: MetrologyConfiguration;
		readonly rows: string;
		readonly rowsPerBlock: number;
		readonly blockCount: number;
	},
): Metrology {
	const metrology = new Metrology(kernel, vector.configuration);
	const rows = bytesOf(vector.rows);
	const block = new Uint8Array(vector.rowsPerBlock * rowBytes(vector.configuration.layout));
	let from = 0;
	for (let i = 0; i < vector.blockCount; i++) {
		for (let at = 0; at < block.length; at++) {
			block[at] = rows[from++]!;
			if (from === rows.length) from = 0;
		}
		metrology.feed(block, vector.rowsPerBlock);
	}
	return metrology;
}

function checkRegisters(answers: KnownAnswers, findings: Findings): void {
	for (const vector of answers.registers) {
		findings.vector(vector.source);
		const registers = new EnergyRegisters(vector.legal, vector.pulsesPerKilowattHour);
		for (let round = 0; round < vector.rounds; round++)
			for (const { tariff, energies } of vector.windows) {
				registers.tariff = tariff;
				registers.add(Float64Array.from(energies), vector.phaseCount);
			}
		const into = new Uint8Array(REGISTER_BYTES);
		findings.equal("byte length", encodeRegisters(registers, viewOf(into)), REGISTER_BYTES);
		findings.equal("stored", hexOf(into), vector.stored);
		const again = new EnergyRegisters(vector.legal, vector.pulsesPerKilowattHour);
		const status = decodeRegisters(viewOf(bytesOf(vector.stored)), REGISTER_BYTES, again);
		findings.equal("restored", statusOf(status), "ok");
		encodeRegisters(again, viewOf(into.fill(0)));
		findings.equal("restored and stored", hexOf(into), vector.stored);
	}
}

function checkProfile(answers: KnownAnswers, findings: Findings): void {
	for (const { source, row, bytes } of answers.profile) {
		findings.vector(source);
		const into = new Uint8Array(PROFILE_ROW_BYTES + 3);
		encodeStoredRow(row as unknown as StoredRow, viewOf(into), 3);
		findings.equal("row encoded", hexOf(into.subarray(3)), bytes);
		const decoded = createStoredRow();
		findings.equal("row decoded", statusOf(decodeStoredRow(viewOf(bytesOf(bytes)), 0, decoded)), "ok");
		findings.equal("row decoded", decoded, row);
	}
}

/** NOR flash in memory: program clears bits, erase sets a sector to ones. */
class MemoryFlash implements NorFlash {
	readonly sectorBytes: number;
	readonly sectorCount: number;
	readonly bytes: Uint8Array;

	constructor(bytes: Uint8Array, sectorBytes: number) {
		this.bytes = bytes;
		this.sectorBytes = sectorBytes;
		this.sectorCount = bytes.length / sectorBytes;
	}
	read(address: number, into: Uint8Array, byteLength: number): Status {
		for (let i = 0; i < byteLength; i++) into[i] = this.bytes[address + i]!;
		return Status.ok;
	}
	program(address: number, from: Uint8Array, byteLength: number): Status {
		for (let i = 0; i < byteLength; i++) this.bytes[address + i]! &= from[i]!;
		return Status.ok;
	}
	erase(sectorIndex: number): Status {
		this.bytes.fill(0xff, sectorIndex * this.sectorBytes, (sectorIndex + 1) * this.sectorBytes);
		return Status.ok;
	}
}

function checkRecordLog(answers: KnownAnswers, findings: Findings): void {
	for (const vector of answers.recordLog) {
		findings.vector(vector.source);
		const flash = new MemoryFlash(bytesOf(vector.before), vector.sectorBytes);
		const log = new RecordLog(flash, 0, vector.sectorCount, vector.kind, vector.recordBytes);
		findings.equal("open", statusOf(log.open()), "ok");
		for (const payload of vector.appended)
			findings.equal("append", statusOf(log.append(bytesOf(payload), payload.length / 2)), "ok");
		findings.equal("flash", hexOf(flash.bytes), vector.after);
		const again = new RecordLog(flash, 0, vector.sectorCount, vector.kind, vector.recordBytes);
		findings.equal("open again", statusOf(again.open()), "ok");
		for (const each of [log, again]) {
			findings.equal("oldest sequence", each.oldestSequence, vector.oldestSequence);
			findings.equal("next sequence", each.nextSequence, vector.nextSequence);
			findings.equal("newest sequence", each.newestSequence, vector.newestSequence);
			const into = new Uint8Array(vector.recordBytes);
			vector.records.forEach((record, i) => {
				const status = each.read(each.oldestSequence + i, into);
				const found = status === Status.ok ? hexOf(into, each.readByteLength) : statusOf(status);
				findings.equal(`record ${i}`, found, record);
			});
		}
	}
}

/** A vector's packet as `mqtt-packet` takes it: payloads are bytes. */
function packetOf(fields: Fields): OutgoingPacket {
	const packet: Record<string, unknown> = { ...fields };
	for (const name of Object.keys(packet)) {
		const value = packet[name];
		if (name === "payload") packet[name] = bytesOf(value as string);
		else if (name === "will") packet[name] = packetOf(value as Fields);
	}
	return packet as OutgoingPacket;
}

/** Size of the fixed header: first byte and remaining length. */
function headerBytesOf(bytes: Uint8Array): number {
	let headerBytes = 2;
	while (headerBytes < 5 && (bytes[headerBytes - 1]! & 0x80) !== 0) headerBytes++;
	return headerBytes;
}

function checkMqtt(answers: KnownAnswers, findings: Findings): void {
	const into = new Uint8Array(512);
	for (const { source, protocolVersion, packet, bytes } of answers.mqtt.written) {
		findings.vector(source);
		const byteLength = new PacketWriter(protocolVersion).encode(packetOf(packet), into, 3, into.length);
		findings.equal("written", hexOf(into.subarray(3, 3 + byteLength)), bytes);
	}
	for (const { source, protocolVersion, bytes, packet } of answers.mqtt.read) {
		findings.vector(source);
		const given = bytesOf(bytes);
		const status = new PacketCheck(given).check(headerBytesOf(given), given.length, protocolVersion);
		findings.equal("check", statusOf(status), "ok");
		let seen: IncomingPacket | undefined;
		const parser = packetLibrary.parser({ protocolVersion });
		parser.on("packet", (found) => {
			seen = found;
		});
		parser.parse(given);
		const payload = seen?.payload;
		findings.equal("read", payload ? { ...seen, payload: hexOf(payload) } : seen, packet);
	}
	for (const { source, protocolVersion, bytes, status } of answers.mqtt.refused) {
		findings.vector(source);
		const given = bytesOf(bytes);
		const found = new PacketCheck(given).check(headerBytesOf(given), given.length, protocolVersion);
		findings.equal(`check of ${bytes}`, statusOf(found), status);
	}
}

type Check = (answers: KnownAnswers, findings: Findings, options: SuiteOptions) => void;

const GROUPS: readonly { readonly name: string; readonly check: Check }[] = Object.freeze([
	Object.freeze({ name: "crc", check: checkCrc }),
	Object.freeze({ name: "integers", check: checkIntegers }),
	Object.freeze({ name: "messages", check: checkMessages }),
	Object.freeze({ name: "envelope", check: checkEnvelope }),
	Object.freeze({ name: "kernel", check: checkKernel }),
	Object.freeze({ name: "metrology", check: checkMetrology }),
	Object.freeze({ name: "registers", check: checkRegisters }),
	Object.freeze({ name: "profile", check: checkProfile }),
	Object.freeze({ name: "recordLog", check: checkRecordLog }),
	Object.freeze({ name: "mqtt", check: checkMqtt }),
]);

export interface GroupResult {
	readonly name: string;
	readonly vectorCount: number;
	readonly failures: readonly string[];
}

export const GROUP_COUNT = GROUPS.length;

/** Checks the vectors of one group. */
export function runGroup(index: number, answers: KnownAnswers, options: SuiteOptions): GroupResult {
	const { name, check } = GROUPS[index]!;
	const findings = new Findings();
	try {
		check(answers, findings, options);
	} catch (error) {
		findings.failures.push(`thrown: ${error}`);
	}
	if (findings.vectorCount === 0) findings.failures.push("no vectors");
	return { name, vectorCount: findings.vectorCount, failures: findings.failures };
}

/**
 * Checks every vector.
 * @param report called once for each group, in order
 * @returns failures in all
 */
export function runKnownAnswers(
	answers: KnownAnswers,
	options: SuiteOptions,
	report: (group: GroupResult) => void,
): number {
	let failureCount = 0;
	for (let index = 0; index < GROUP_COUNT; index++) {
		const group = runGroup(index, answers, options);
		failureCount += group.failures.length;
		report(group);
	}
	return failureCount;
}

/** One line for people, and one for each failure. */
export function describeGroup({ name, vectorCount, failures }: GroupResult): string {
	const lines = [`${failures.length === 0 ? "ok  " : "FAIL"} ${name}: ${vectorCount} vectors`];
	for (const failure of failures) lines.push(`     ${failure}`);
	return lines.join("\n");
}
