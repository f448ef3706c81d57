import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import {
	captureCodesOffset,
	createCaptureHeader,
	decodeCaptureHeader,
	encodeCaptureHeader,
} from "../../../src/messages/capture.js";
import { type Control, createControl, decodeControl, encodeControl } from "../../../src/messages/control.js";
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
import { createHello, decodeHello, encodeHello } from "../../../src/messages/hello.js";
import { Kind, MESSAGE_BYTES_MAX, UTC_INVALID, utcField } from "../../../src/messages/kinds.js";
import {
	createProfileRow,
	decodeProfileHeader,
	decodeProfileRow,
	encodeProfileHeader,
	encodeProfileRow,
	PROFILE_ROWS_MAX,
} from "../../../src/messages/profile.js";
import { createReading, decodeReading, encodeReading, type Reading } from "../../../src/messages/reading.js";
import {
	decodeRegisterEntry,
	decodeSnapshotHeader,
	encodeRegisterEntry,
	encodeSnapshotHeader,
} from "../../../src/messages/snapshot.js";
import { seed } from "../../seed.js";

const bytes = new Uint8Array(MESSAGE_BYTES_MAX);
const view = new DataView(bytes.buffer);
const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u53 = fc.maxSafeNat();
const i48 = fc.integer({ min: -(2 ** 47), max: 2 ** 47 - 1 });
const i16 = fc.integer({ min: -0x8000, max: 0x7fff });

test("hello: what goes in comes out", () => {
	const decoded = createHello();
	fc.assert(
		fc.property(
			fc.record({
				bootCount: u32,
				bootReason: u8,
				phaseCount: fc.integer({ min: 1, max: 3 }),
				netting: fc.integer({ min: 0, max: 1 }),
				intervalSeconds: fc.integer({ min: 60, max: 3600 }),
				firmwareMajor: u8,
				firmwareMinor: u8,
				firmwarePatch: u8,
				parameterCounter: u32,
				profileOldest: u32,
				profileNext: u32,
				eventOldest: u32,
				eventNext: u32,
				utcSeconds: u32,
			}),
			(hello) => {
				assert.equal(decodeHello(view, encodeHello(hello, view), decoded), Status.ok);
				assert.deepEqual(decoded, { ...hello });
			},
		),
		{ seed },
	);
});

const anyPhase = fc.record({
	voltageMillivolts: u32,
	currentMilliamperes: u32,
	powerMilliwatts: i48,
	reactivePowerMillivars: i48,
	apparentPowerMillivoltAmperes: i48,
	powerFactorPermille: i16,
	thdVoltagePermille: u16,
	thdCurrentPermille: u16,
	phaseAngleTenthsDegree: i16,
});

test("reading: what goes in comes out, for one to three phases", () => {
	fc.assert(
		fc.property(
			fc.record({
				bootCount: u32,
				readingIndex: u32,
				utcSeconds: u32,
				flags: u16,
				frequencyMillihertz: u32,
				neutralCurrentMilliamperes: u32,
				tariff: fc.integer({ min: 1, max: 8 }),
				phaseCount: fc.integer({ min: 1, max: 3 }),
				phases: fc.tuple(anyPhase, anyPhase, anyPhase),
				activeEnergyImport: u53,
				activeEnergyExport: u53,
				reactiveEnergyImport: u53,
				reactiveEnergyExport: u53,
			}),
			(reading: Reading) => {
				const decoded = createReading();
				assert.equal(decodeReading(view, encodeReading(reading, view), decoded), Status.ok);
				assert.deepEqual(
					decoded.phases.slice(0, reading.phaseCount),
					reading.phases.slice(0, reading.phaseCount).map((phase) => ({ ...phase })),
				);
				assert.deepEqual({ ...decoded, phases: [] }, { ...reading, phases: [] });
			},
		),
		{ seed },
	);
});

test("profile rows and events: as many as fit one message come out as they went in", () => {
	const anyRow = fc.record({
		sequence: u32,
		intervalStartSeconds: u32,
		durationSeconds: u16,
		status: u8,
		tariff: fc.integer({ min: 1, max: 8 }),
		activeEnergyImport: u53,
		activeEnergyExport: u53,
		reactiveEnergyImport: u53,
		reactiveEnergyExport: u53,
	});
	const anyEvent = fc.record({
		sequence: u32,
		utcSeconds: u32,
		code: u16,
		detail: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
	});
	fc.assert(
		fc.property(
			u16,
			fc.array(anyRow, { minLength: 1, maxLength: PROFILE_ROWS_MAX }),
			fc.array(anyEvent, { minLength: 1, maxLength: 60 }),
			(requestId, rows, events) => {
				const header = { requestId: 0, rowCount: 0, entryCount: 0 };
				let byteLength = encodeProfileHeader(requestId, rows.length, view);
				assert.ok(byteLength <= MESSAGE_BYTES_MAX);
				rows.forEach((row, index) => {
					encodeProfileRow(row, index, view);
				});
				assert.equal(decodeProfileHeader(view, byteLength, header), Status.ok);
				assert.deepEqual([header.requestId, header.rowCount], [requestId, rows.length]);
				const row = createProfileRow();
				rows.forEach((expected, index) => {
					assert.equal(decodeProfileRow(view, index, row), Status.ok);
					assert.deepEqual(row, { ...expected });
				});
				byteLength = encodeEventsHeader(requestId, events.length, view);
				assert.ok(byteLength <= MESSAGE_BYTES_MAX);
				events.forEach((entry, index) => {
					encodeEventEntry(entry, index, view);
				});
				assert.equal(decodeEventsHeader(view, byteLength, header), Status.ok);
				const entry = createEventEntry();
				events.forEach((expected, index) => {
					decodeEventEntry(view, index, entry);
					assert.deepEqual(entry, { ...expected });
				});
			},
		),
		{ seed },
	);
});

test("snapshot, diagnostics and capture headers come out as they went in", () => {
	const snapshot = { requestId: 0, utcSeconds: 0, entryCount: 0 };
	const entry = { c: 0, d: 0, e: 0, unit: 0, value: 0 };
	const diagnostic = { key: 0, value: 0 };
	const capture = createCaptureHeader();
	fc.assert(
		fc.property(u16, u32, u53, u8, fc.integer({ min: 2, max: 7 }), (requestId, utcSeconds, value, c, channelCount) => {
			let byteLength = encodeSnapshotHeader(requestId, utcSeconds, 1, view);
			encodeRegisterEntry(c, 8, 1, 30, value, 0, view);
			assert.equal(decodeSnapshotHeader(view, byteLength, snapshot), Status.ok);
			assert.deepEqual(snapshot, { requestId, utcSeconds, entryCount: 1 });
			assert.equal(decodeRegisterEntry(view, 0, entry), Status.ok);
			assert.deepEqual(entry, { c, d: 8, e: 1, unit: 30, value });
			byteLength = encodeDiagnosticsHeader(requestId, 1, view);
			encodeDiagnostic(c, utcSeconds, 0, view);
			assert.equal(decodeDiagnosticsHeader(view, byteLength, snapshot), Status.ok);
			decodeDiagnostic(view, 0, diagnostic);
			assert.deepEqual(diagnostic, { key: c, value: utcSeconds });
			const header = {
				requestId,
				utcSeconds,
				rowRateMillihertz: 1_600_000,
				channelCount,
				rowCount: 60,
				microunitsPerCode: [1, 2, 3, 4, 5, 6, 7],
			};
			byteLength = encodeCaptureHeader(header, view);
			assert.ok(byteLength <= MESSAGE_BYTES_MAX);
			assert.equal(byteLength, captureCodesOffset(channelCount) + channelCount * 120);
			assert.equal(decodeCaptureHeader(view, byteLength, capture), Status.ok);
			assert.deepEqual(
				capture.microunitsPerCode.slice(0, channelCount),
				header.microunitsPerCode.slice(0, channelCount),
			);
		}),
		{ seed },
	);
});

test("control messages: each kind keeps its fields", () => {
	const cases: Control[] = [
		{ kind: Kind.acknowledge, requestId: 7, first: Kind.profileRequest, second: Status.notFound },
		{ kind: Kind.timeRequest, requestId: 8, first: 0, second: 0 },
		{ kind: Kind.time, requestId: 8, first: 848_000_000, second: 999 },
		{ kind: Kind.profileRequest, requestId: 9, first: 4_000_000_000, second: 20 },
		{ kind: Kind.eventsRequest, requestId: 10, first: 0, second: 60 },
		{ kind: Kind.captureRequest, requestId: 11, first: 0, second: 0 },
		{ kind: Kind.snapshotRequest, requestId: 12, first: 0, second: 0 },
		{ kind: Kind.configure, requestId: 13, first: 60, second: 0 },
		{ kind: Kind.diagnosticsRequest, requestId: 65_535, first: 0, second: 0 },
	];
	for (const control of cases) {
		const decoded = createControl();
		assert.equal(decodeControl(view, encodeControl(control, view), decoded), Status.ok);
		assert.deepEqual(decoded, control);
	}
	assert.equal(encodeControl({ kind: Kind.hello, requestId: 0, first: 0, second: 0 }, view), 0);
});

test("hostile bytes: any status, no throw, and a wrong length or version is refused", () => {
	const header = { requestId: 0, rowCount: 0, entryCount: 0, utcSeconds: 0 };
	const decoders: ((from: DataView, byteLength: number) => Status)[] = [
		(from, byteLength) => decodeHello(from, byteLength, createHello()),
		(from, byteLength) => decodeReading(from, byteLength, createReading()),
		(from, byteLength) => {
			const status = decodeProfileHeader(from, byteLength, header);
			if (status === Status.ok) for (let i = 0; i < header.rowCount; i++) decodeProfileRow(from, i, createProfileRow());
			return status;
		},
		(from, byteLength) => {
			const status = decodeEventsHeader(from, byteLength, header);
			if (status === Status.ok)
				for (let i = 0; i < header.entryCount; i++) decodeEventEntry(from, i, createEventEntry());
			return status;
		},
		(from, byteLength) => {
			const status = decodeSnapshotHeader(from, byteLength, header);
			if (status === Status.ok)
				for (let i = 0; i < header.entryCount; i++)
					decodeRegisterEntry(from, i, { c: 0, d: 0, e: 0, unit: 0, value: 0 });
			return status;
		},
		(from, byteLength) => decodeCaptureHeader(from, byteLength, createCaptureHeader()),
		(from, byteLength) => decodeControl(from, byteLength, createControl()),
		(from, byteLength) => {
			const status = decodeDiagnosticsHeader(from, byteLength, header);
			if (status === Status.ok)
				for (let i = 0; i < header.entryCount; i++) decodeDiagnostic(from, i, { key: 0, value: 0 });
			return status;
		},
	];
	const kinds = fc.constantFrom(...Object.values(Kind));
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 200 }), kinds, fc.integer({ min: 0, max: 2 }), (body, kind, version) => {
			const message = Uint8Array.of(kind, version, ...body);
			const exact = new DataView(message.buffer);
			for (const decode of decoders) {
				const status = decode(exact, message.length);
				if (status === Status.ok) assert.equal(version, 1);
			}
		}),
		{ seed, numRuns: 3000 },
	);
	for (const decode of decoders) for (let n = 0; n < 4; n++) assert.notEqual(decode(view, n), Status.ok);
});

test("the plain envelope: round trip, and its three refusals", () => {
	const envelope = new PlainEnvelope();
	const message = Uint8Array.of(1, 2, 3, 4);
	const sealed = new Uint8Array(16);
	const opened = new Uint8Array(8);
	const byteLength = envelope.seal(message, 4, sealed);
	assert.equal(byteLength, 6);
	assert.equal(envelope.open(sealed, byteLength, opened), Status.ok);
	assert.deepEqual(opened.subarray(0, envelope.openedByteLength), message);
	assert.equal(envelope.seal(message, 4, new Uint8Array(5)), 0);
	assert.equal(envelope.open(sealed, 3, opened), Status.badLength);
	assert.equal(envelope.open(sealed, 11, opened), Status.badLength);
	sealed[0] = 2;
	assert.equal(envelope.open(sealed, byteLength, opened), Status.badVersion);
	sealed[0] = 1;
	sealed[1] = 9;
	assert.equal(envelope.open(sealed, byteLength, opened), Status.unsupported);
});

test("utcField: whole seconds, and the mark for an invalid clock", () => {
	assert.equal(utcField(12.9), 12);
	assert.equal(utcField(Number.NaN), UTC_INVALID);
	assert.equal(utcField(-1), UTC_INVALID);
	assert.equal(utcField(2 ** 33), UTC_INVALID);
});
