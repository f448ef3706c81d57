import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { createEventRecord, EventStore } from "../../../src/storage/event-store.js";
import { createProfileRow, type ProfileRow, ProfileStore } from "../../../src/storage/profile-store.js";
import { RecordLog } from "../../../src/storage/record-log.js";
import { RegisterStore } from "../../../src/storage/register-store.js";
import { SettingsStore } from "../../../src/storage/settings-store.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { hex } from "../../power-cut/log-model.js";

/** Flash as a released firmware left it: see vectors/storage/generate.ts. */
function load<T>(name: string): { flash: FlashSimulator; expected: T } {
	const file = new URL(`../../vectors/storage/${name}.json`, import.meta.url);
	const vector = JSON.parse(readFileSync(file, "utf8")) as {
		sectorBytes: number;
		sectorCount: number;
		expected: T;
		image: string[];
	};
	const image = new Uint8Array(vector.sectorBytes * vector.sectorCount).fill(0xff);
	for (const line of vector.image) {
		const [address = "", bytes = ""] = line.split(": ");
		image.set(Buffer.from(bytes, "hex"), Number.parseInt(address, 16));
	}
	const { sectorBytes, sectorCount } = vector;
	return {
		flash: new FlashSimulator({ sectorBytes, sectorCount, image, writeBytes: 16, writeOnce: true }),
		expected: vector.expected,
	};
}

test("record log, format 1", () => {
	const { flash, expected } = load<{
		kind: number;
		recordBytes: number;
		oldestSequence: number;
		newestSequence: number;
		nextSequence: number;
		records: Record<string, { version: number; payload: string }>;
	}>("record-log-v1");
	const log = new RecordLog(flash, 0, flash.sectorCount, expected.kind, expected.recordBytes);
	assert.equal(log.open(), Status.ok);
	assert.equal(log.oldestSequence, expected.oldestSequence);
	assert.equal(log.newestSequence, expected.newestSequence);
	assert.equal(log.nextSequence, expected.nextSequence);
	const into = new Uint8Array(expected.recordBytes);
	let gaps = 0;
	for (let sequence = log.oldestSequence; sequence < log.nextSequence; sequence++) {
		const record = expected.records[sequence];
		const status = log.read(sequence, into);
		assert.equal(status, record === undefined ? Status.badChecksum : Status.ok, `record ${sequence}`);
		if (record === undefined) {
			gaps++;
			continue;
		}
		assert.equal(hex(into.subarray(0, log.readByteLength)), record.payload);
		assert.equal(log.readVersion, record.version);
	}
	assert.ok(gaps > 0, "the image has a torn record");
	assert.equal(log.append(into, 5), Status.ok);
	assert.equal(log.nextSequence, expected.nextSequence + 1);
});

test("load profile, format 1", () => {
	const { flash, expected } = load<{ rows: { sequence: number; row: ProfileRow }[] }>("profile-v1");
	const store = new ProfileStore(flash, { firstSector: 0, sectorCount: flash.sectorCount });
	assert.equal(store.open(), Status.ok);
	assert.equal(store.oldestSequence, expected.rows[0]?.sequence);
	const row = createProfileRow();
	for (const { sequence, row: wanted } of expected.rows) {
		assert.equal(store.read(sequence, row), Status.ok);
		assert.deepEqual(row, wanted);
	}
	assert.equal(store.nextSequence, expected.rows.at(-1)!.sequence + 1);
});

test("events, format 1", () => {
	const { flash, expected } = load<{ events: { utcSeconds: number; code: number; detail: number; chain: string }[] }>(
		"events-v1",
	);
	const store = new EventStore(flash, { firstSector: 0, sectorCount: flash.sectorCount });
	assert.equal(store.open(), Status.ok);
	const event = createEventRecord();
	for (const [i, wanted] of expected.events.entries()) {
		assert.equal(store.read(i + 1, event), Status.ok);
		assert.deepEqual({ ...event, chain: hex(event.chain) }, wanted);
	}
});

test("registers, format 1: a torn commit behind, a row still to be written", () => {
	const { flash, expected } = load<{ registers: string; row: ProfileRow; rowSequence: number }>("registers-v1");
	const profile = new ProfileStore(flash, { firstSector: 0, sectorCount: 3 });
	const store = new RegisterStore(flash, 60_000, { firstSector: 3, sectorCount: 3 });
	assert.equal(profile.open(), Status.ok);
	assert.equal(store.open(), Status.ok);
	const into = new Uint8Array(512);
	assert.equal(store.load(into), Status.ok);
	assert.equal(hex(into.subarray(0, store.byteLength)), expected.registers);
	assert.equal(store.log.counters.tornRecordsSeen, 1);
	assert.equal(store.finishRow(profile), Status.ok);
	const row = createProfileRow();
	assert.equal(profile.read(expected.rowSequence, row), Status.ok);
	assert.deepEqual(row, expected.row);
});

test("settings, format 1: the old blob was being erased", () => {
	const { flash, expected } = load<{ version: number; blob: string }>("settings-v1");
	const store = new SettingsStore(flash, { firstSector: 0, sectorCount: 4 });
	assert.equal(store.open(), Status.ok);
	const into = new Uint8Array(1024);
	assert.equal(store.load(into), Status.ok);
	assert.equal(store.version, expected.version);
	assert.equal(hex(into.subarray(0, store.byteLength)), expected.blob);
	assert.equal(store.log.counters.erasesFinished, 1);
});
