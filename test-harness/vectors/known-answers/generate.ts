import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import mqttPacket from "mqtt-packet";
import { encodeRegisters, REGISTER_BYTES } from "../../../src/metrology/registers.js";
import {
	KERNEL_PARAMETER_BYTES,
	KERNEL_SUMS_BYTES,
	TypeScriptSampleKernel,
} from "../../../src/metrology/sample-kernel.js";
import type { SampleKernel, SampleLayout } from "../../../src/platform/sample-kernel.js";
import { ROOT } from "../../root.js";
import { KNOWN_ANSWERS } from "./load.js";
import { bytesOf, hexOf, type KernelVector, playMetrology, playWindows } from "./suite.js";

/*
 * Writes the vectors for which there is no published source: node --import tsx test-harness/vectors/known-answers/generate.ts
 *
 * The bytes are put together here from the tables of docs/WIRE.md and docs/STORAGE.md with Node's Buffer and BigInt, not
 * by the firmware's code, so that the two hold each other. Where that cannot be (see `kernel`), the source says so.
 */

type Field = readonly [byteLength: number, value: number | bigint];

/** Big-endian fields, two's complement when negative. */
function bytes(...fields: readonly (Field | Buffer)[]): Buffer {
	return Buffer.concat(
		fields.map((field) => {
			if (Buffer.isBuffer(field)) return field;
			const [byteLength, value] = field;
			const modulus = 1n << BigInt(8 * byteLength);
			return Buffer.from(((BigInt(value) + modulus) % modulus).toString(16).padStart(2 * byteLength, "0"), "hex");
		}),
	);
}

const hex = (buffer: Buffer): string => buffer.toString("hex");
const WIRE = "docs/WIRE.md";

/** Bytes 1, 2, 3, …: whatever is read at a wrong place shows. */
function counting(byteLength: number, from = 1): Buffer {
	return Buffer.from(Array.from({ length: byteLength }, (_, i) => (from + i) & 0xff));
}

function crc(): unknown {
	const published = [
		{
			source: "ITU-T V.42 section 8.1.1.6.2; check value of CRC-32 for the digits 1 to 9",
			data: hex(Buffer.from("123456789")),
			crc: 0xcbf4_3926,
		},
		{ source: "no data: all ones, complemented", data: "", crc: 0 },
		{
			source: "ISO 3309 / PNG (RFC 2083 section 3.4): chunk type IEND",
			data: hex(Buffer.from("IEND")),
			crc: 0xae42_6082,
		},
	];
	const computed = [Buffer.alloc(11), Buffer.alloc(32, 0xff), counting(13), counting(64, 250), counting(255)];
	const all = [
		...published,
		...computed.map((data) => ({
			source: `zlib's crc32, ${data.length} bytes`,
			data: hex(data),
			crc: crc32(data),
		})),
	];
	for (const vector of all)
		if (crc32(Buffer.from(vector.data, "hex")) !== vector.crc) throw new Error(`zlib does not agree: ${vector.source}`);
	return all;
}

function integers(): unknown {
	const vectors: unknown[] = [];
	const add = (type: string, byteLength: number, values: readonly number[]): void => {
		for (const value of values)
			vectors.push({ source: `${type} by BigInt`, type, bytes: hex(bytes([byteLength, value])), value });
	};
	add("uint48", 6, [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x1234_5678_9abc, 2 ** 48 - 1]);
	add("int48", 6, [0, -1, -(2 ** 32), -(2 ** 32) - 1, -123_456_789_012, 2 ** 47 - 1, -(2 ** 47)]);
	add("uint53", 8, [0, 2 ** 32 - 1, 2 ** 32, 0x1f_ffff_0000_0001, Number.MAX_SAFE_INTEGER]);
	vectors.push({
		source: "2^53 is not exact any more: NaN",
		type: "uint53-over",
		bytes: "0020000000000000",
		value: null,
	});
	return vectors.filter((vector) => (vector as { value: unknown }).value !== null);
}

interface MessageVector {
	source: string;
	message: string;
	fields: Record<string, unknown>;
	bytes: string;
}

function messages(): unknown {
	const accepted: MessageVector[] = [];
	const refused: { source: string; message: string; bytes: string; status: string }[] = [];
	const accept = (message: string, fields: Record<string, unknown>, encoded: Buffer): Buffer => {
		accepted.push({ source: `${WIRE}, ${message}`, message, fields, bytes: hex(encoded) });
		return encoded;
	};
	const refuse = (check: string, message: string, encoded: Buffer, status: string): void => {
		refused.push({ source: `docs/CHECKS.md, ${check}`, message, bytes: hex(encoded), status });
	};
	/** The same bytes with one field changed. */
	const changed = (from: Buffer, offset: number, ...fields: Field[]): Buffer => {
		const copy = Buffer.from(from);
		bytes(...fields).copy(copy, offset);
		return copy;
	};

	const hello = accept(
		"hello",
		{
			bootCount: 0x0102_0304,
			bootReason: 3,
			phaseCount: 3,
			netting: 1,
			intervalSeconds: 900,
			firmwareMajor: 1,
			firmwareMinor: 22,
			firmwarePatch: 133,
			parameterCounter: 0xfedc_ba98,
			profileOldest: 17,
			profileNext: 0x8000_0001,
			eventOldest: 1,
			eventNext: 0xffff_fffe,
			utcSeconds: 0xffff_ffff,
		},
		bytes(
			[1, 1],
			[1, 1],
			[4, 0x0102_0304],
			[1, 3],
			[1, 3],
			[1, 1],
			[1, 0],
			[2, 900],
			[1, 1],
			[1, 22],
			[1, 133],
			[1, 0],
			[4, 0xfedc_ba98],
			[4, 17],
			[4, 0x8000_0001],
			[4, 1],
			[4, 0xffff_fffe],
			[4, 0xffff_ffff],
		),
	);
	refuse("HEL-1", "hello", hello.subarray(0, 39), "badLength");
	refuse("HEL-1", "hello", Buffer.concat([hello, Buffer.alloc(1)]), "badLength");
	refuse("HEL-2", "hello", changed(hello, 0, [1, 2]), "badKind");
	refuse("HEL-3", "hello", changed(hello, 1, [1, 2]), "badVersion");
	refuse("HEL-4", "hello", changed(hello, 7, [1, 4]), "badValue");
	refuse("HEL-4", "hello", changed(hello, 8, [1, 2]), "badValue");
	refuse("HEL-5", "hello", changed(hello, 10, [2, 59]), "badValue");

	const phase = (n: number) => ({
		voltageMillivolts: 230_000 + n,
		currentMilliamperes: 4_000_000_000 + n,
		powerMilliwatts: n === 1 ? -9_876_543_210 : 1_150_000 * n,
		reactivePowerMillivars: n === 2 ? -(2 ** 47) : 12 * n,
		apparentPowerMillivoltAmperes: 2 ** 40 + n,
		powerFactorPermille: n === 0 ? 0x7fff : -1000 + n,
		thdVoltagePermille: 25 + n,
		thdCurrentPermille: 65_535 - n,
		phaseAngleTenthsDegree: n === 2 ? 0x7fff : -1800 + n,
	});
	const phaseBytes = (n: number): Buffer => {
		const p = phase(n);
		return bytes(
			[4, p.voltageMillivolts],
			[4, p.currentMilliamperes],
			[6, p.powerMilliwatts],
			[6, p.reactivePowerMillivars],
			[6, p.apparentPowerMillivoltAmperes],
			[2, p.powerFactorPermille],
			[2, p.thdVoltagePermille],
			[2, p.thdCurrentPermille],
			[2, p.phaseAngleTenthsDegree],
		);
	};
	let reading: Buffer = Buffer.alloc(0);
	for (const phaseCount of [1, 3]) {
		const numbers = Array.from({ length: phaseCount }, (_, i) => i);
		reading = accept(
			"reading",
			{
				bootCount: 7,
				readingIndex: 0x0a0b_0c0d,
				utcSeconds: 850_000_001,
				flags: 0x81,
				frequencyMillihertz: 49_987,
				neutralCurrentMilliamperes: 123,
				tariff: 8,
				phaseCount,
				phases: numbers.map(phase),
				activeEnergyImport: Number.MAX_SAFE_INTEGER,
				activeEnergyExport: 2 ** 32,
				reactiveEnergyImport: 1,
				reactiveEnergyExport: 0,
			},
			bytes(
				[1, 2],
				[1, 1],
				[4, 7],
				[4, 0x0a0b_0c0d],
				[4, 850_000_001],
				[2, 0x81],
				[4, 49_987],
				[4, 123],
				[1, 8],
				[1, phaseCount],
				[6, 0],
				[8, Number.MAX_SAFE_INTEGER],
				[8, 2 ** 32],
				[8, 1],
				[8, 0],
				...numbers.map(phaseBytes),
			),
		);
	}
	refuse("RDG-1", "reading", reading.subarray(0, 63), "badLength");
	refuse("RDG-2", "reading", changed(reading, 0, [1, 0x82]), "badKind");
	refuse("RDG-3", "reading", changed(reading, 1, [1, 0]), "badVersion");
	refuse("RDG-4", "reading", changed(reading, 25, [1, 0]), "badValue");
	refuse("RDG-5", "reading", reading.subarray(0, reading.length - 1), "badLength");
	refuse("RDG-6", "reading", changed(reading, 24, [1, 9]), "badValue");
	refuse("RDG-7", "reading", changed(reading, 40, [8, 2n ** 53n]), "badValue");

	const control = (kind: number, requestId: number, first: number, second: number, ...rest: Field[]): Buffer =>
		accept("control", { kind, requestId, first, second }, bytes([1, kind], [1, 1], [2, requestId], ...rest));
	control(0x06, 0xfffe, 0x84, 18, [1, 0x84], [1, 18]);
	control(0x09, 1, 0, 0);
	const time = control(0x81, 0, 850_000_002, 999, [4, 850_000_002], [2, 999]);
	const request = control(0x82, 2, 0xffff_ffff, 20, [4, 0xffff_ffff], [2, 20]);
	control(0x83, 3, 1, 65_535, [4, 1], [2, 65_535]);
	const capture = control(0x84, 4, 0, 0);
	control(0x85, 5, 0, 0);
	const configure = control(0x86, 6, 3600, 0, [2, 3600], [2, 0]);
	control(0x87, 7, 0, 0);
	refuse("CTL-1", "control", capture.subarray(0, 3), "badLength");
	refuse("CTL-2", "control", changed(capture, 0, [1, 0x88]), "badKind");
	refuse("CTL-3", "control", changed(capture, 1, [1, 2]), "badVersion");
	refuse("CTL-4", "control", Buffer.concat([capture, Buffer.alloc(1)]), "badLength");
	refuse("CTL-5", "control", changed(configure, 4, [2, 3601]), "badValue");
	refuse("CTL-6", "control", changed(time, 8, [2, 1000]), "badValue");
	refuse("CTL-7", "control", changed(request, 8, [2, 0]), "badValue");

	const row = (n: number) => ({
		sequence: 40 + n,
		intervalStartSeconds: 850_000_500 + 900 * n,
		durationSeconds: 900 - n,
		status: 0xa2 + n,
		tariff: 1 + n,
		activeEnergyImport: 2 ** 33 + n,
		activeEnergyExport: n,
		reactiveEnergyImport: Number.MAX_SAFE_INTEGER - n,
		reactiveEnergyExport: 0,
	});
	const rowBytes = (n: number): Buffer => {
		const r = row(n);
		return bytes(
			[4, r.sequence],
			[4, r.intervalStartSeconds],
			[2, r.durationSeconds],
			[1, r.status],
			[1, r.tariff],
			[8, r.activeEnergyImport],
			[8, r.activeEnergyExport],
			[8, r.reactiveEnergyImport],
			[8, r.reactiveEnergyExport],
		);
	};
	const profile = accept(
		"profile",
		{ requestId: 9, rows: [row(0), row(1)] },
		bytes([1, 3], [1, 1], [2, 9], [1, 2], [1, 0], rowBytes(0), rowBytes(1)),
	);
	refuse("PRF-1", "profile", profile.subarray(0, 5), "badLength");
	refuse("PRF-2", "profile", changed(profile, 0, [1, 4]), "badKind");
	refuse("PRF-3", "profile", changed(profile, 1, [1, 9]), "badVersion");
	refuse("PRF-4", "profile", changed(profile, 4, [1, 0]), "badValue");
	refuse("PRF-5", "profile", changed(profile, 4, [1, 3]), "badLength");
	refuse("PRF-6", "profile", changed(profile, 6 + 44 + 12, [8, 2n ** 53n]), "badValue");
	refuse("PRF-7", "profile", changed(profile, 6 + 11, [1, 0]), "badValue");

	const entry = (n: number) => ({ sequence: n, utcSeconds: 0xffff_ffff - n, code: 300 + n, detail: -1 - n });
	const events = accept(
		"events",
		{ requestId: 0, entries: [entry(1), entry(2)] },
		bytes(
			[1, 4],
			[1, 1],
			[2, 0],
			[1, 2],
			[1, 0],
			...[1, 2].flatMap((n): Field[] => [
				[4, n],
				[4, 0xffff_ffff - n],
				[2, 300 + n],
				[4, -1 - n],
			]),
		),
	);
	refuse("EVT-1", "events", events.subarray(0, 4), "badLength");
	refuse("EVT-2", "events", changed(events, 0, [1, 3]), "badKind");
	refuse("EVT-3", "events", changed(events, 1, [1, 0]), "badVersion");
	refuse("EVT-4", "events", changed(events, 4, [1, 61]), "badValue");
	refuse("EVT-5", "events", changed(events, 4, [1, 1]), "badLength");

	const snapshot = accept(
		"snapshot",
		{
			requestId: 11,
			utcSeconds: 850_000_003,
			entries: [
				{ c: 1, d: 8, e: 0, unit: 30, value: Number.MAX_SAFE_INTEGER },
				{ c: 2, d: 8, e: 1, unit: 30, value: 5 },
			],
		},
		bytes(
			[1, 7],
			[1, 1],
			[2, 11],
			[4, 850_000_003],
			[1, 2],
			[1, 0],
			[1, 1],
			[1, 8],
			[1, 0],
			[1, 30],
			[8, Number.MAX_SAFE_INTEGER],
			[1, 2],
			[1, 8],
			[1, 1],
			[1, 30],
			[8, 5],
		),
	);
	refuse("SNP-1", "snapshot", snapshot.subarray(0, 9), "badLength");
	refuse("SNP-2", "snapshot", changed(snapshot, 0, [1, 8]), "badKind");
	refuse("SNP-3", "snapshot", changed(snapshot, 1, [1, 2]), "badVersion");
	refuse("SNP-4", "snapshot", changed(snapshot, 8, [1, 81]), "badValue");
	refuse("SNP-5", "snapshot", changed(snapshot, 8, [1, 3]), "badLength");
	refuse("SNP-6", "snapshot", changed(snapshot, 14, [8, 2n ** 53n]), "badValue");

	const diagnostics = accept(
		"diagnostics",
		{
			requestId: 12,
			entries: [
				{ key: 2, value: 2 ** 48 - 1 },
				{ key: 0x103, value: 1 },
			],
		},
		bytes([1, 8], [1, 1], [2, 12], [1, 2], [1, 0], [2, 2], [6, 2 ** 48 - 1], [2, 0x103], [6, 1]),
	);
	refuse("DIA-1", "diagnostics", diagnostics.subarray(0, 5), "badLength");
	refuse("DIA-2", "diagnostics", changed(diagnostics, 0, [1, 7]), "badKind");
	refuse("DIA-3", "diagnostics", changed(diagnostics, 1, [1, 2]), "badVersion");
	refuse("DIA-4", "diagnostics", changed(diagnostics, 4, [1, 101]), "badValue");
	refuse("DIA-5", "diagnostics", changed(diagnostics, 4, [1, 1]), "badLength");

	const codes = [0, 1, -1, 32_767, -32_768, 258];
	const waveform = accept(
		"capture",
		{
			requestId: 13,
			utcSeconds: 850_000_004,
			rowRateMillihertz: 1_600_000,
			channelCount: 2,
			rowCount: 3,
			microunitsPerCode: [12_500, 0xffff_ffff],
			codes,
		},
		bytes(
			[1, 5],
			[1, 1],
			[2, 13],
			[4, 850_000_004],
			[4, 1_600_000],
			[1, 2],
			[1, 0],
			[2, 3],
			[4, 12_500],
			[4, 0xffff_ffff],
			...codes.map((code): Field => [2, code]),
		),
	);
	refuse("CAP-1", "capture", waveform.subarray(0, 15), "badLength");
	refuse("CAP-2", "capture", changed(waveform, 0, [1, 6]), "badKind");
	refuse("CAP-3", "capture", changed(waveform, 1, [1, 2]), "badVersion");
	refuse("CAP-4", "capture", changed(waveform, 12, [1, 8]), "badValue");
	refuse("CAP-5", "capture", changed(waveform, 14, [2, 257]), "badValue");
	refuse("CAP-6", "capture", changed(waveform, 14, [2, 2]), "badLength");
	return { accepted, refused };
}

function envelope(): unknown {
	const sealed = [2, 11, 13, 60].map((byteLength) => ({
		source: `${WIRE}, plain envelope around ${byteLength} bytes`,
		message: hex(counting(byteLength)),
		bytes: `0100${hex(counting(byteLength))}`,
	}));
	const refused = [
		{ source: "docs/CHECKS.md, ENV-1", bytes: "010001", status: "badLength" },
		{
			source: "docs/CHECKS.md, ENV-1: longer than the receiver's buffer",
			bytes: `0100${hex(counting(65))}`,
			status: "badLength",
		},
		{ source: "docs/CHECKS.md, ENV-2", bytes: "02000101", status: "badVersion" },
		{ source: "docs/CHECKS.md, ENV-3", bytes: "01010101", status: "unsupported" },
	];
	return { sealed, refused };
}

function storedProfile(): unknown {
	const row = {
		intervalStartSeconds: 0xfedc_ba98,
		durationSeconds: 65_535,
		status: 0xa7,
		tariff: 2,
		activeImportMilliwattHours: Number.MAX_SAFE_INTEGER,
		activeExportMilliwattHours: 2 ** 32 + 1,
		reactiveImportMillivarHours: 3,
		reactiveExportMillivarHours: 2 ** 40,
	};
	const encoded = bytes(
		[4, 0xfedc_ba98],
		[2, 65_535],
		[1, 0xa7],
		[1, 2],
		[8, Number.MAX_SAFE_INTEGER],
		[8, 2 ** 32 + 1],
		[8, 3],
		[8, 2 ** 40],
	);
	return [{ source: "docs/STORAGE.md, load profile row", row, bytes: hex(encoded) }];
}

function recordLog(): unknown {
	const kind = 0x4b41_4e53;
	const sectorBytes = 256;
	const sectorCount = 3;
	const recordBytes = 20;
	const slotBytes = 32;
	const header = (eraseCount: number, firstSequence: number | undefined): Buffer => {
		const blockA = bytes([4, kind], [1, 1], [1, slotBytes / 16], [2, 0xffff], [4, eraseCount]);
		const a = bytes(blockA, [4, crc32(blockA)]);
		if (firstSequence === undefined) return Buffer.concat([a, Buffer.alloc(16, 0xff)]);
		const rest = bytes(a, [4, firstSequence], [8, 0xffff_ffff_ffff_ffffn]);
		return bytes(rest, [4, crc32(rest)]);
	};
	const record = (sequence: number, payload: Buffer): Buffer => {
		const body = bytes([4, sequence], [2, payload.length], [1, 1], [1, 0xff], payload);
		return bytes(body, [4, crc32(bytes([4, kind], body))]);
	};
	const slot = (content: Buffer): Buffer => Buffer.concat([content, Buffer.alloc(slotBytes - content.length, 0xff)]);
	const sector = (...content: Buffer[]): Buffer => {
		const used = Buffer.concat(content);
		return Buffer.concat([used, Buffer.alloc(sectorBytes - used.length, 0xff)]);
	};
	const payloads = Array.from({ length: 19 }, (_, i) => counting([20, 0, 11, 13, 1][i % 5]!, i + 1));
	const records = payloads.map((payload, i) => slot(record(i + 1, payload)));
	const common = { sectorBytes, sectorCount, kind, recordBytes };
	const source = "docs/STORAGE.md, sector header and record, CRC by zlib";
	const blank = Buffer.alloc(sectorBytes * sectorCount, 0xff);
	/** A torn append: the checksum is missing. */
	const torn = slot(record(10, payloads[9]!).subarray(0, 10));
	return [
		{
			source: `${source}: ten records on blank flash; a sector of unknown wear takes its neighbour's count`,
			...common,
			before: hex(blank),
			appended: payloads.slice(0, 10).map(hex),
			after: hex(
				Buffer.concat([
					sector(header(1, 1), ...records.slice(0, 7)),
					sector(header(2, 8), ...records.slice(7, 10)),
					sector(),
				]),
			),
			oldestSequence: 1,
			nextSequence: 11,
			newestSequence: 10,
			records: [...payloads.slice(0, 10).map(hex), "notFound"],
		},
		{
			source: `${source}: a torn record is passed over, its sequence used up`,
			...common,
			before: hex(
				Buffer.concat([
					sector(header(5, 1), ...records.slice(0, 7)),
					sector(header(4, 8), ...records.slice(7, 9), torn),
					sector(header(4, undefined)),
				]),
			),
			appended: [hex(payloads[10]!)],
			after: hex(
				Buffer.concat([
					sector(header(5, 1), ...records.slice(0, 7)),
					sector(header(4, 8), ...records.slice(7, 9), torn, records[10]!),
					sector(header(4, undefined)),
				]),
			),
			oldestSequence: 1,
			nextSequence: 12,
			newestSequence: 11,
			records: [...payloads.slice(0, 9).map(hex), "badChecksum", hex(payloads[10]!)],
		},
		{
			source: `${source}: the oldest sector is erased for the newest records`,
			...common,
			before: hex(
				Buffer.concat([
					sector(header(9, 8), ...records.slice(7, 14)),
					sector(header(8, 15), ...records.slice(14, 18)),
					sector(header(8, 1), ...records.slice(0, 7)),
				]),
			),
			appended: [hex(payloads[18]!)],
			after: hex(
				Buffer.concat([
					sector(header(9, 8), ...records.slice(7, 14)),
					sector(header(8, 15), ...records.slice(14, 19)),
					sector(header(8, 1), ...records.slice(0, 7)),
				]),
			),
			oldestSequence: 1,
			nextSequence: 20,
			newestSequence: 19,
			records: payloads.map(hex),
		},
	];
}

function kernel(): unknown {
	const vectors: KernelVector[] = [];
	const triangle = (step: number, period: number, amplitude: number, shift: number): number => {
		const at = (((step + shift) % period) + period) % period;
		const quarter = period / 4;
		if (at < quarter) return Math.round((amplitude * at) / quarter);
		if (at < 3 * quarter) return Math.round((amplitude * (2 * quarter - at)) / quarter);
		return Math.round((amplitude * (at - 4 * quarter)) / quarter);
	};
	const add = (name: string, layout: SampleLayout, period: number, rowsPerCall: number): void => {
		const channelCount = layout.phaseCount * 2 + (layout.neutralCurrent ? 1 : 0);
		const scale = layout.sampleBytes === 2 ? 1 : 256;
		const rows = Buffer.alloc(period * channelCount * layout.sampleBytes);
		const codes: number[][] = [];
		for (let row = 0; row < period; row++) {
			codes.push([]);
			for (let channel = 0; channel < channelCount; channel++) {
				const voltage = channel < layout.phaseCount * 2 && channel % 2 === 0;
				const shift = -Math.floor(channel / 2) * Math.round(period / 3) - (voltage ? 0 : 3);
				const code = triangle(row, period, (voltage ? 26_000 : 1_500 + 100 * channel) * scale, shift);
				codes[row]!.push(code);
				rows.writeIntLE(code, (row * channelCount + channel) * layout.sampleBytes, layout.sampleBytes);
			}
		}
		const parameters = Buffer.alloc(KERNEL_PARAMETER_BYTES);
		const view = new DataView(parameters.buffer, parameters.byteOffset, parameters.length);
		view.setUint32(0, 1, true);
		view.setUint32(4, 10, true);
		view.setUint32(8, 50_000, true);
		view.setUint32(12, 2, true);
		for (let phase = 0; phase < 3; phase++) {
			view.setInt32(16 + 4 * phase, 500 * scale, true);
			view.setInt32(28 + 4 * phase, phase === 0 ? 40_000 : -10_000, true);
		}
		const windows: { rowCount: number; sums: string }[] = [];
		const vector: KernelVector = {
			source: `${name}: sums by BigInt for Σx, Σx², Σu·i; the other cells are those of the TypeScript kernel`,
			layout,
			parameters: hex(parameters),
			rows: hex(rows),
			rowsPerCall,
			windows: Array.from({ length: 3 }, () => ({ rowCount: 0, sums: "" })),
		};
		const reference: SampleKernel = new TypeScriptSampleKernel(layout);
		reference.configure(bytesOf(vector.parameters));
		let firstRow = 0;
		playWindows(reference, vector, (index, rowCount, sums) => {
			checkPlainSums(codes, layout, firstRow, rowCount, sums, `${name}, window ${index}`);
			firstRow += rowCount;
			let end = KERNEL_SUMS_BYTES;
			while (end > 0 && sums[end - 1] === 0) end--;
			windows.push({ rowCount, sums: hexOf(sums, end) });
		});
		if (windows.length !== 3) throw new Error(`${name}: ${windows.length} windows`);
		vectors.push({ ...vector, windows });
	};
	add(
		"one phase, int16, 4 kHz",
		{ phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 },
		80,
		73,
	);
	add(
		"three phases and neutral, int24, 2 kHz",
		{ phaseCount: 3, neutralCurrent: true, sampleBytes: 3, samplesPerSecond: 2000 },
		40,
		61,
	);
	return vectors;
}

/** Holds the kernel's cells of plain sums against BigInt. */
function checkPlainSums(
	codes: readonly (readonly number[])[],
	layout: SampleLayout,
	firstRow: number,
	rowCount: number,
	sums: Uint8Array,
	where: string,
): void {
	const cells = new DataView(sums.buffer, sums.byteOffset, sums.byteLength);
	const expect = (cell: number, value: bigint, what: string): void => {
		const found = cells.getFloat64(8 * cell, true);
		if (found !== Number(value)) throw new Error(`${where}: ${what} is ${found}, by BigInt ${value}`);
	};
	const channelCount = codes[0]!.length;
	const sum = Array.from({ length: channelCount }, () => 0n);
	const square = Array.from({ length: channelCount }, () => 0n);
	const product = Array.from({ length: layout.phaseCount }, () => 0n);
	for (let row = firstRow; row < firstRow + rowCount; row++) {
		const values = codes[row % codes.length]!.map(BigInt);
		values.forEach((value, channel) => {
			sum[channel]! += value;
			square[channel]! += value * value;
		});
		for (let phase = 0; phase < layout.phaseCount; phase++)
			product[phase]! += values[2 * phase]! * values[2 * phase + 1]!;
	}
	expect(0, BigInt(rowCount), "rows");
	for (let channel = 0; channel < channelCount; channel++) {
		// The neutral current is always channel 6.
		const cell = 16 + 8 * (channel === layout.phaseCount * 2 ? 6 : channel);
		expect(cell, sum[channel]!, `Σx of channel ${channel}`);
		expect(cell + 1, square[channel]!, `Σx² of channel ${channel}`);
	}
	for (let phase = 0; phase < layout.phaseCount; phase++) {
		expect(72 + 8 * phase, product[phase]! >> 32n, `Σu·i of phase ${phase}, high`);
		expect(73 + 8 * phase, product[phase]! & 0xffff_ffffn, `Σu·i of phase ${phase}, low`);
	}
}

/**
 * Codes of one cycle: sines with a lag for each current, phases 120 degrees apart, and the current's third harmonic.
 * The expected values are the firmware's; before they are written they are held against sums in double precision over
 * the same codes.
 */
function metrology(): unknown {
	const layout: SampleLayout = { phaseCount: 3, neutralCurrent: true, sampleBytes: 2, samplesPerSecond: 2000 };
	const period = 40;
	const vectors: unknown[] = [];
	for (const [name, sign, lag] of [
		["import, lagging", 1, 0.5],
		["export, leading", -1, -0.8],
	] as const) {
		const rows = Buffer.alloc(period * 14);
		const codes: number[][] = [];
		for (let row = 0; row < period; row++) {
			const values: number[] = [];
			let neutral = 0;
			for (let phase = 0; phase < 3; phase++) {
				const angle = (2 * Math.PI * row) / period - (phase * 2 * Math.PI) / 3;
				const current = Math.round(sign * (2000 + 300 * phase) * (Math.sin(angle - lag) + 0.1 * Math.sin(3 * angle)));
				values.push(Math.round(26_000 * Math.sin(angle)), current);
				neutral += current;
			}
			values.push(neutral);
			values.forEach((value, channel) => {
				rows.writeInt16LE(value, row * 14 + channel * 2);
			});
			codes.push(values);
		}
		const given = {
			configuration: {
				layout,
				nominalVoltageMillivolts: 230_000,
				nominalFrequencyMillihertz: 50_000,
				baseCurrentMilliamperes: 5000,
				maximumCurrentMilliamperes: 60_000,
				voltageMillivoltsPerCode: { numerator: 25, denominator: 2 },
				currentMilliamperesPerCode: { numerator: 7, denominator: 2 },
				removeMean: true,
				nettingMode: "vectorSum" as const,
				pulsesPerKilowattHour: 1000,
			},
			rows: hex(rows),
			rowsPerBlock: 200,
			blockCount: 22,
		};
		const found = playMetrology(new TypeScriptSampleKernel(layout), given);
		const mean = (of: (values: number[]) => number): number =>
			codes.reduce((sum, values) => sum + of(values), 0) / period;
		const near = (what: string, actual: number, expected: number): void => {
			if (Math.abs(actual - expected) > 1 + Math.abs(expected) * 2e-5)
				throw new Error(`metrology, ${name}: ${what} is ${actual}, in double precision ${expected}`);
		};
		const { second } = found;
		near("frequency", second.frequencyMillihertz, 50_000);
		near("neutral current", second.neutralCurrentMilliamperes, 3.5 * Math.sqrt(mean((values) => values[6]! ** 2)));
		for (let phase = 0; phase < 3; phase++) {
			const { voltageMillivolts, currentMilliamperes, powerMilliwatts } = second.phases[phase as 0 | 1 | 2];
			near("voltage", voltageMillivolts, 12.5 * Math.sqrt(mean((values) => values[2 * phase]! ** 2)));
			near("current", currentMilliamperes, 3.5 * Math.sqrt(mean((values) => values[2 * phase + 1]! ** 2)));
			near(
				"power",
				powerMilliwatts,
				(12.5 * 3.5 * mean((values) => values[2 * phase]! * values[2 * phase + 1]!)) / 1000,
			);
		}
		const stored = new Uint8Array(REGISTER_BYTES);
		encodeRegisters(found.registers, new DataView(stored.buffer));
		vectors.push({
			source: `${name}: of the firmware on Node; V, A, W and Hz held against sums in double precision`,
			...given,
			windows: found.windows,
			second,
			registers: hexOf(stored),
		});
	}
	return vectors;
}

function registers(): unknown {
	const vectors: unknown[] = [];
	for (const legal of [0, 1] as const)
		for (const phaseCount of [1, 3]) {
			const pulsesPerKilowattHour = 1000 + legal;
			const windows = [
				{ tariff: 1, energies: [700_000_001, 13, 3_599_999] },
				{ tariff: 2, energies: [-123_456_789, 250_000_000, -1] },
				{ tariff: 4, energies: [2 ** 40, -(2 ** 41), 2 ** 39] },
				{ tariff: 1, energies: [0, 0, -3_600_000] },
			].map(({ tariff, energies: active }) => {
				const reactive = active.map((value, phase) => Math.trunc(value / 3) * (phase === 1 ? -1 : 1) - phase);
				const apparent = active.map((value, phase) => Math.abs(value) + 17 * phase);
				return { tariff, energies: [active, reactive, apparent].flatMap((values) => values.slice(0, phaseCount)) };
			});
			const rounds = 7;
			vectors.push({
				source: `docs/STORAGE.md, energy registers, by BigInt: ${phaseCount} phases, legal set ${legal}`,
				legal,
				pulsesPerKilowattHour,
				phaseCount,
				windows,
				rounds,
				stored: hex(countByBigInt(legal, BigInt(pulsesPerKilowattHour), phaseCount, windows, rounds)),
			});
		}
	return vectors;
}

/** The stored form of registers that counted the windows, with nothing rounded on the way. */
function countByBigInt(
	legal: 0 | 1,
	pulsesPerKilowattHour: bigint,
	phaseCount: number,
	windows: readonly { readonly tariff: number; readonly energies: readonly number[] }[],
	rounds: number,
): Buffer {
	const unit = 3_600_000n;
	/** mW·ms of: the perPhase set, the vectorSum set, A+ and A- of each phase. */
	const totals = Array.from({ length: 22 }, () => 0n);
	const tariffs = Array.from({ length: 8 }, () => 0n);
	const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);
	const count = (set: 0 | 1, active: bigint, reactive: bigint, apparent: bigint, tariff: number): void => {
		const exported = active < 0n;
		const register = 8 * set + (exported ? 1 : 0);
		const before = totals[register]! / unit;
		totals[register]! += magnitude(active);
		const quadrant = reactive >= 0n ? (exported ? 1 : 0) : exported ? 2 : 3;
		totals[8 * set + 2 + quadrant]! += magnitude(reactive);
		totals[8 * set + (exported ? 7 : 6)]! += apparent;
		if (set === legal) tariffs[(exported ? 4 : 0) + tariff - 1]! += totals[register]! / unit - before;
	};
	for (let round = 0; round < rounds; round++)
		for (const { tariff, energies } of windows) {
			const sums = [0n, 0n, 0n];
			for (let phase = 0; phase < phaseCount; phase++) {
				const [active, reactive, apparent] = [0, 1, 2].map((kind) => BigInt(energies[kind * phaseCount + phase]!)) as [
					bigint,
					bigint,
					bigint,
				];
				count(0, active, reactive, apparent, tariff);
				totals[16 + phase + (active < 0n ? 3 : 0)]! += magnitude(active);
				sums[0]! += active;
				sums[1]! += reactive;
				sums[2]! += apparent;
			}
			count(1, sums[0]!, sums[1]!, sums[2]!, tariff);
		}
	const counted = totals[8 * legal]! / unit + totals[8 * legal + 1]! / unit;
	const pulseUnits = counted * pulsesPerKilowattHour;
	return bytes(
		[1, 1],
		[1, legal],
		[2, 0],
		[8, pulseUnits / 1_000_000n],
		[4, pulseUnits % 1_000_000n],
		...totals.flatMap((total): Field[] => [
			[8, total / unit],
			[4, total % unit],
		]),
		...tariffs.map((value): Field => [8, value]),
	);
}

function mqtt(): unknown {
	const text = (value: string): Buffer => bytes([2, Buffer.byteLength(value)], Buffer.from(value));
	const packet = (first: number, ...content: Buffer[]): Buffer => {
		const body = Buffer.concat(content);
		const length: number[] = [];
		let left = body.length;
		do {
			length.push((left % 128) + (left > 127 ? 128 : 0));
			left = Math.floor(left / 128);
		} while (left > 0);
		return Buffer.concat([Buffer.from([first, ...length]), body]);
	};
	const written: { source: string; protocolVersion: 4 | 5; packet: Record<string, unknown>; bytes: string }[] = [];
	const write = (section: string, protocolVersion: 4 | 5, fields: Record<string, unknown>, encoded: Buffer): void => {
		const plain = { ...fields } as Record<string, unknown>;
		if (typeof plain["payload"] === "string") plain["payload"] = Buffer.from(plain["payload"], "hex");
		if (plain["will"]) {
			const will = { ...(plain["will"] as Record<string, unknown>) };
			plain["will"] = { ...will, payload: Buffer.from(will["payload"] as string, "hex") };
		}
		const byPackage = mqttPacket.generate(plain as unknown as mqttPacket.Packet, { protocolVersion });
		if (!byPackage.equals(encoded))
			throw new Error(`mqtt-packet does not agree: ${section}: ${hex(byPackage)} is not ${hex(encoded)}`);
		written.push({
			source: `MQTT ${protocolVersion === 4 ? "3.1.1" : "5.0"} section ${section}; equal to mqtt-packet 9 on Node`,
			protocolVersion,
			packet: fields,
			bytes: hex(encoded),
		});
	};
	const identifier = "0011223344556677";
	const topic = `wattlock/v1/${identifier}/online`;
	for (const protocolVersion of [4, 5] as const) {
		const five = protocolVersion === 5;
		const none = five ? bytes([1, 0]) : Buffer.alloc(0);
		write(
			"3.1",
			protocolVersion,
			{
				cmd: "connect",
				protocolId: "MQTT",
				protocolVersion,
				clean: false,
				clientId: identifier,
				keepalive: 60,
				username: "meter",
				password: "pass",
				...(five ? { properties: { sessionExpiryInterval: 86_400 } } : {}),
				will: { topic, payload: "30", qos: 1, retain: true },
			},
			packet(
				0x10,
				text("MQTT"),
				bytes([1, protocolVersion], [1, 0x80 | 0x40 | 0x20 | 0x08 | 0x04], [2, 60]),
				five ? bytes([1, 5], [1, 0x11], [4, 86_400]) : Buffer.alloc(0),
				text(identifier),
				none,
				text(topic),
				bytes([2, 1], [1, 0x30]),
				text("meter"),
				text("pass"),
			),
		);
		for (const byteLength of [0, 11, 13, 64, 127, 200]) {
			const payload = counting(byteLength);
			const qos = byteLength % 2;
			write(
				"3.3",
				protocolVersion,
				{
					cmd: "publish",
					topic: "wattlock/v1/é/up",
					payload: hex(payload),
					qos,
					dup: qos === 1,
					retain: qos === 0,
					...(qos === 1 ? { messageId: 0xfffe } : {}),
				},
				packet(
					0x30 | (qos === 1 ? 8 | 2 : 1),
					text("wattlock/v1/é/up"),
					qos === 1 ? bytes([2, 0xfffe]) : Buffer.alloc(0),
					none,
					payload,
				),
			);
		}
		write(
			"3.4",
			protocolVersion,
			{ cmd: "puback", messageId: 258 },
			packet(0x40, bytes([2, 258]), five ? bytes([1, 0], [1, 0]) : none),
		);
		write(
			"3.8",
			protocolVersion,
			{ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/down", qos: 1 }] },
			packet(0x82, bytes([2, 1]), none, text("a/down"), bytes([1, 1])),
		);
		write("3.12", protocolVersion, { cmd: "pingreq" }, packet(0xc0));
	}
	write("3.14", 4, { cmd: "disconnect" }, packet(0xe0));

	const read: unknown[] = [];
	const readable = (
		section: string,
		protocolVersion: 4 | 5,
		encoded: Buffer,
		fields: Record<string, unknown>,
	): void => {
		read.push({
			source: `MQTT ${protocolVersion === 4 ? "3.1.1" : "5.0"} section ${section}`,
			protocolVersion,
			bytes: hex(encoded),
			packet: fields,
		});
	};
	readable("3.2", 4, packet(0x20, bytes([1, 1], [1, 0])), { cmd: "connack", sessionPresent: true, returnCode: 0 });
	readable("3.2", 5, packet(0x20, bytes([1, 0], [1, 0], [1, 8], [1, 0x21], [2, 20], [1, 0x27], [4, 1024])), {
		cmd: "connack",
		sessionPresent: false,
		reasonCode: 0,
		properties: { receiveMaximum: 20, maximumPacketSize: 1024 },
	});
	for (const byteLength of [0, 11, 13, 64, 1000])
		for (const protocolVersion of [4, 5] as const)
			readable(
				"3.3",
				protocolVersion,
				packet(
					0x32,
					text("wattlock/v1/é/down"),
					bytes([2, 513]),
					protocolVersion === 5 ? bytes([1, 0]) : Buffer.alloc(0),
					counting(byteLength),
				),
				{
					cmd: "publish",
					qos: 1,
					dup: false,
					retain: false,
					topic: "wattlock/v1/é/down",
					messageId: 513,
					...(byteLength > 0 ? { payload: hex(counting(byteLength)) } : {}),
				},
			);
	readable("3.4", 4, packet(0x40, bytes([2, 65_535])), { cmd: "puback", messageId: 65_535 });
	readable("3.4", 5, packet(0x40, bytes([2, 9], [1, 0x97], [1, 0])), { cmd: "puback", messageId: 9, reasonCode: 0x97 });
	readable("3.9", 4, packet(0x90, bytes([2, 1], [1, 1])), { cmd: "suback", messageId: 1, granted: [1] });
	readable("3.9", 5, packet(0x90, bytes([2, 1], [1, 0], [1, 0x87])), { cmd: "suback", messageId: 1, granted: [0x87] });
	readable("3.13", 4, packet(0xd0), { cmd: "pingresp" });

	const refused = [
		{ source: "MQTT-2.2.2-2: flags of CONNACK", protocolVersion: 4, bytes: "21020000", status: "corrupt" },
		{
			source: "MQTT-3.2.2-4: a session, and a refusal",
			protocolVersion: 4,
			bytes: "20020105",
			status: "protocolError",
		},
		{ source: "MQTT-3.3.1-4: QoS 3", protocolVersion: 4, bytes: "36050001610001", status: "corrupt" },
		{
			source: "MQTT-2.2.1-3: packet identifier 0",
			protocolVersion: 5,
			bytes: "3206000161000000",
			status: "protocolError",
		},
		{ source: "MQTT-3.3.2-1: a topic that is not UTF-8", protocolVersion: 4, bytes: "30040001c3ff", status: "corrupt" },
		{ source: "MQTT-3.3.2-2: a wildcard in a topic name", protocolVersion: 4, bytes: "3003000123", status: "corrupt" },
	];
	return { written, read, refused };
}

/** One vector a line: small, and a difference is easy to see. */
function format(value: unknown, depth = 0): string {
	const indent = "\t".repeat(depth + 1);
	if (Array.isArray(value) && depth < 2)
		return `[\n${value.map((item) => indent + JSON.stringify(item)).join(",\n")}\n${"\t".repeat(depth)}]`;
	if (typeof value === "object" && value !== null && depth === 0)
		return `{\n${Object.entries(value)
			.map(([name, item]) => `${indent}${JSON.stringify(name)}: ${format(item, 1)}`)
			.join(",\n")}\n}`;
	return JSON.stringify(value);
}

const groups: Readonly<Record<string, () => unknown>> = {
	crc,
	integers,
	messages,
	envelope,
	kernel,
	metrology,
	registers,
	profile: storedProfile,
	recordLog,
	mqtt,
};
for (const [name, make] of Object.entries(groups))
	writeFileSync(join(ROOT, KNOWN_ANSWERS, `${name}.json`), `${format(make())}\n`);
