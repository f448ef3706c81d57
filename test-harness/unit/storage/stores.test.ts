import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { CLOCK_INVALID, createEventRecord, EventStore } from "../../../src/storage/event-store.js";
import * as layout from "../../../src/storage/layout.js";
import { createProfileRow, ProfileStore } from "../../../src/storage/profile-store.js";
import { RecordLog, recordsHeldMin } from "../../../src/storage/record-log.js";
import { declaredLossMilliwattHours, RegisterStore } from "../../../src/storage/register-store.js";
import { SettingsStore } from "../../../src/storage/settings-store.js";
import { FlashSimulator } from "../../board/flash-simulator.js";

const STRICT = Object.freeze({ writeBytes: 16, writeOnce: true });

test("the plan: areas follow one another, fill the partition, and hold what they say", () => {
	const areas = [
		layout.SETTINGS_SECTORS,
		layout.REGISTER_SECTORS,
		layout.PROFILE_SECTORS,
		layout.EVENT_SECTORS,
		layout.KEY_SECTORS,
		layout.UPDATE_SECTORS,
		layout.FIRMWARE_A_SECTORS,
		layout.FIRMWARE_B_SECTORS,
	];
	let next = 0;
	for (const area of areas) {
		assert.equal(area.firstSector, next);
		next += area.sectorCount;
	}
	assert.equal(next, layout.STORAGE_SECTORS);
	assert.equal(layout.STORAGE_SECTORS * layout.SECTOR_BYTES, 1536 * 1024);
	assert.equal(recordsHeldMin(layout.REGISTER_SECTORS.sectorCount, 4096, 560), 441);
	assert.equal(recordsHeldMin(layout.PROFILE_SECTORS.sectorCount, 4096, 52), 5985);
	assert.equal(recordsHeldMin(layout.EVENT_SECTORS.sectorCount, 4096, 52), 945);
	assert.equal(recordsHeldMin(layout.UPDATE_SECTORS.sectorCount, 4096, 12), 381);
});

test("profile: rows come back as they were, to the largest energy", () => {
	const flash = new FlashSimulator(STRICT);
	const store = new ProfileStore(flash);
	assert.equal(store.open(), Status.ok);
	const row = createProfileRow();
	row.intervalStartSeconds = 0xffff_fffe;
	row.durationSeconds = 65_535;
	row.status = 0xa5;
	row.tariff = 4;
	row.activeImportMilliwattHours = Number.MAX_SAFE_INTEGER;
	row.activeExportMilliwattHours = 0x1_0000_0000;
	row.reactiveImportMillivarHours = 1;
	assert.equal(store.append(row), Status.ok);
	const again = new ProfileStore(flash);
	again.open();
	const read = createProfileRow();
	assert.equal(again.read(1, read), Status.ok);
	assert.deepEqual(read, row);
	assert.equal(again.readNewest(read), Status.ok);
	assert.equal(again.read(2, read), Status.notFound);
});

test("profile: a record that is not a row is refused", () => {
	const flash = new FlashSimulator();
	const area = layout.PROFILE_SECTORS;
	const log = new RecordLog(flash, area.firstSector, area.sectorCount, layout.PROFILE_KIND, 52);
	log.open();
	const bytes = new Uint8Array(52);
	log.append(bytes, 40, 2);
	log.append(bytes, 39, 1);
	bytes[8] = 0xff;
	log.append(bytes, 40, 1);
	const store = new ProfileStore(flash);
	store.open();
	const row = createProfileRow();
	assert.equal(store.read(1, row), Status.badVersion);
	assert.equal(store.read(2, row), Status.badLength);
	assert.equal(store.read(3, row), Status.badValue);
});

test("events: time, code, detail, chain; a clock that is not set is told", () => {
	const flash = new FlashSimulator(STRICT);
	const store = new EventStore(flash);
	assert.equal(store.open(), Status.ok);
	const chain = Uint8Array.from({ length: 16 }, (_, i) => i);
	assert.equal(store.append(123.9, 0xfffe, -2_147_483_648, chain), Status.ok);
	assert.equal(store.append(Number.NaN, 1, 2), Status.ok);
	assert.equal(store.append(-1, 1, 2), Status.ok);
	const event = createEventRecord();
	assert.equal(store.read(1, event), Status.ok);
	assert.deepEqual(event, { utcSeconds: 123, code: 0xfffe, detail: -2_147_483_648, chain });
	assert.equal(store.readNewest(event), Status.ok);
	assert.equal(event.utcSeconds, CLOCK_INVALID);
	assert.deepEqual([...event.chain], new Array(16).fill(0xff));
	assert.equal(store.read(2, event), Status.ok);
	assert.equal(event.utcSeconds, CLOCK_INVALID);
});

test("events: a row that names a command; found by its id, also across sectors", () => {
	const flash = new FlashSimulator(STRICT);
	const store = new EventStore(flash);
	assert.equal(store.open(), Status.ok);
	const extra = Uint8Array.from({ length: 24 }, (_, i) => i + 1);
	const chain = new Uint8Array(16).fill(9);
	for (let i = 1; i <= 200; i++) {
		extra[7] = i;
		assert.equal(store.append(1, 0x0300, i, chain, i % 2 === 0 ? extra : undefined), Status.ok);
	}
	const event = createEventRecord();
	for (let i = 1; i <= 200; i++) {
		extra[7] = i;
		assert.equal(store.read(i, event), Status.ok);
		assert.equal(store.hasExtra, i % 2 === 0);
		if (store.hasExtra) assert.deepEqual(store.extra, extra);
		assert.equal(store.mayName(i, extra), i % 2 === 0, `row ${i}`);
		extra[7] = i + 1;
		assert.ok(!store.mayName(i, extra), `row ${i}, another id`);
	}
	assert.ok(!store.mayName(0, extra) && !store.mayName(201, extra), "no such rows");
});

test("registers: a new meter, a full one, a lost one are told apart", () => {
	const flash = new FlashSimulator(STRICT);
	const store = new RegisterStore(flash);
	assert.equal(store.open(), Status.ok);
	const into = new Uint8Array(512);
	assert.equal(store.load(into), Status.notFound);
	const registers = new Uint8Array(512).fill(3);
	assert.equal(store.commit(0, registers, 513), Status.badLength);
	for (let i = 0; i < 1000; i++) {
		registers[0] = i;
		registers[1] = i >> 8;
		assert.equal(store.commit(i, registers, 512), Status.ok);
	}
	const again = new RegisterStore(flash);
	again.open();
	assert.equal(again.load(into), Status.ok);
	assert.equal(again.byteLength, 512);
	assert.deepEqual(into, registers);
	assert.equal(again.load(new Uint8Array(511)), Status.badLength);

	// The newest commit damaged: the one before counts.
	const image = flash.image;
	const newest = Buffer.from(image).lastIndexOf(Buffer.from(registers));
	image[newest + 100]! ^= 1;
	flash.image = image;
	assert.equal(again.open(), Status.ok);
	assert.equal(again.load(into), Status.ok);
	assert.equal(into[0], (registers[0]! - 1) & 0xff);
	assert.equal(again.log.counters.tornRecordsSeen, 1);

	// All records damaged, headers good.
	for (let sector = 4; sector < 68; sector++)
		for (let slot = 0; slot < 7; slot++) image[sector * 4096 + 32 + slot * 576 + 20]! ^= 1;
	image[newest + 100]! ^= 3;
	flash.image = image;
	assert.equal(again.open(), Status.ok);
	assert.equal(again.load(into), Status.badChecksum);
	assert.equal(again.commit(0, registers, 512), Status.ok);
	assert.equal(again.load(into), Status.ok);
});

test("registers: a row whose append failed goes along with every commit until it is in", () => {
	const flash = new FlashSimulator({ ...STRICT, sectorCount: 8 });
	const profile = new ProfileStore(flash, { firstSector: 0, sectorCount: 4 });
	const registers = new RegisterStore(flash, 60_000, { firstSector: 4, sectorCount: 4 });
	profile.open();
	registers.open();
	const bytes = new Uint8Array(10).fill(1);
	const row = createProfileRow();
	row.intervalStartSeconds = 900;
	const append = profile.appendEncoded;
	profile.appendEncoded = () => Status.busy;
	assert.equal(registers.commitWithRow(0, bytes, 10, row, profile), Status.busy);
	assert.equal(registers.commit(1, bytes, 10), Status.ok);
	assert.equal(registers.commitWithRow(2, bytes, 10, row, profile), Status.busy, "one row at a time");
	profile.appendEncoded = append;
	const profileAgain = new ProfileStore(flash, { firstSector: 0, sectorCount: 4 });
	const registersAgain = new RegisterStore(flash, 60_000, { firstSector: 4, sectorCount: 4 });
	profileAgain.open();
	registersAgain.open();
	const into = new Uint8Array(512);
	assert.equal(registersAgain.load(into), Status.ok);
	assert.equal(registersAgain.byteLength, 10);
	for (let twice = 0; twice < 2; twice++) assert.equal(registersAgain.finishRow(profileAgain), Status.ok);
	assert.equal(profileAgain.nextSequence, 2);
	assert.equal(profileAgain.readNewest(row), Status.ok);
	assert.equal(row.intervalStartSeconds, 900);
});

test("registers: the commit of a newer firmware is not buried", () => {
	const flash = new FlashSimulator(STRICT);
	const area = layout.REGISTER_SECTORS;
	const log = new RecordLog(flash, area.firstSector, area.sectorCount, layout.REGISTER_KIND, 560);
	log.open();
	log.append(new Uint8Array(100), 100, 2);
	const store = new RegisterStore(flash);
	assert.equal(store.open(), Status.ok);
	assert.equal(store.load(new Uint8Array(512)), Status.badVersion);
	assert.equal(store.commit(0, new Uint8Array(100), 100), Status.badVersion);
	assert.equal(store.commitPowerFail(0, new Uint8Array(100), 100), Status.badVersion);
	assert.equal(store.log.nextSequence, 2);
});

test("the declared loss: power x (period + 1 s)", () => {
	assert.equal(declaredLossMilliwattHours(3_600_000, 59_000), 60_000);
	assert.equal(declaredLossMilliwattHours(41_400_000, 60_000), 701_500);
});

test("settings: one blob, with a version, replaced", () => {
	const flash = new FlashSimulator(STRICT);
	const store = new SettingsStore(flash);
	assert.equal(store.open(), Status.ok);
	const into = new Uint8Array(1024);
	assert.equal(store.load(into), Status.notFound);
	assert.equal(store.replace(new Uint8Array(1025), 1025, 1), Status.badLength);
	for (let i = 0; i < 20; i++) assert.equal(store.replace(new Uint8Array(1024).fill(i), 1024 - i, i), Status.ok);
	assert.equal(store.load(into), Status.ok);
	assert.equal(store.byteLength, 1005);
	assert.equal(store.version, 19);
	assert.equal(into[0], 19);
	// Second copy: damage to the first, then to the newest, is survived.
	for (const offset of [32 + 100, 32 + 1040 + 100]) {
		const image = flash.image;
		for (let sector = 0; sector < 4; sector++) image[sector * 4096 + offset] = 0;
		const damaged = new FlashSimulator({ image });
		const again = new SettingsStore(damaged);
		assert.equal(again.open(), Status.ok);
		assert.equal(again.load(into), Status.ok);
		assert.equal(into[500], 19);
	}
	assert.deepEqual([...flash.wear.subarray(0, 4)], [6, 6, 6, 5]);
});
