import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { crc32 } from "../../../src/bytes/crc.js";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import type { NorFlash } from "../../../src/platform/flash.js";
import { RecordLog, recordsHeldMin, slotBytesOf } from "../../../src/storage/record-log.js";
import { FlashSimulator, PowerCut } from "../../board/flash-simulator.js";
import { distinct, hex, LogModel, openSmall, payloadOf, SMALL, SMALL_SLOTS } from "../../power-cut/log-model.js";

const STRICT = Object.freeze({ ...SMALL, writeBytes: 16, writeOnce: true });

test("a new log is empty; records count from 1 and come back after a restart", () => {
	const flash = new FlashSimulator(STRICT);
	let log = openSmall(flash);
	const into = new Uint8Array(SMALL.recordBytes);
	assert.equal(log.nextSequence, 1);
	assert.equal(log.oldestSequence, 1);
	assert.equal(log.newestSequence, 0);
	assert.equal(log.readNewest(into), Status.notFound);
	assert.equal(log.append(Uint8Array.of(1, 2, 3), 3, 9), Status.ok);
	assert.equal(log.append(Uint8Array.of(4), 0), Status.ok);
	log = openSmall(flash);
	assert.equal(log.nextSequence, 3);
	assert.equal(log.read(1, into), Status.ok);
	assert.deepEqual([...into.subarray(0, log.readByteLength)], [1, 2, 3]);
	assert.equal(log.readVersion, 9);
	assert.equal(log.readNewest(into), Status.ok);
	assert.equal(log.readByteLength, 0);
	assert.equal(log.readSequence, 2);
	assert.equal(log.read(3, into), Status.notFound);
	assert.equal(log.read(0, into), Status.notFound);
	assert.equal(log.read(Number.NaN, into), Status.notFound);
});

test("every bit of the first sector is where the tables say", () => {
	const flash = new FlashSimulator(STRICT);
	openSmall(flash).append(Uint8Array.of(0xaa, 0xbb), 2, 7);
	const view = new DataView(flash.image.buffer);
	assert.equal(view.getUint32(0), SMALL.kind);
	assert.equal(view.getUint8(4), 1);
	assert.equal(view.getUint8(5), 2);
	assert.equal(view.getUint16(6), 0xffff);
	assert.equal(view.getUint32(8), 1);
	assert.equal(view.getUint32(12), crc32(flash.image, 0, 12));
	assert.equal(view.getUint32(16), 1);
	assert.equal(view.getUint32(28), crc32(flash.image, 0, 28));
	assert.equal(view.getUint32(32), 1);
	assert.equal(view.getUint16(36), 2);
	assert.equal(view.getUint8(38), 7);
	assert.equal(view.getUint8(39), 0xff);
	assert.equal(view.getUint16(40), 0xaabb);
	const covered = new Uint8Array(14);
	covered.set(flash.image.subarray(0, 4));
	covered.set(flash.image.subarray(32, 42), 4);
	assert.equal(view.getUint32(42), crc32(covered, 0, 14));
	assert.ok(
		flash.image.subarray(46).every((byte) => byte === 0xff),
		"the rest is blank",
	);
});

test("the ring keeps the newest, one program per record, erases evenly", () => {
	const flash = new FlashSimulator(STRICT);
	const model = new LogModel();
	const log = openSmall(flash);
	const laps = 50;
	for (let i = 0; i < laps * SMALL.sectorCount * SMALL_SLOTS; i++) assert.equal(model.append(log, payloadOf(i)), 0);
	model.check(log, (SMALL.sectorCount - 1) * SMALL_SLOTS);
	assert.deepEqual([...flash.wear], [laps, laps, laps, laps]);
	assert.equal(log.counters.erases, laps * SMALL.sectorCount);
	assert.equal(log.counters.programs, laps * SMALL.sectorCount * (SMALL_SLOTS + 2));
	assert.equal(log.counters.bytesProgrammed, flash.counters.bytesProgrammed);
	// The erase count is carried in the sector.
	assert.equal(new DataView(flash.image.buffer).getUint32(8), laps);
});

test("sizes: slots are whole blocks, and the caller's mistakes are refused", () => {
	assert.equal(slotBytesOf(0), 32);
	assert.equal(slotBytesOf(20), 32);
	assert.equal(slotBytesOf(21), 48);
	assert.equal(slotBytesOf(52), 64);
	assert.equal(recordsHeldMin(96, 4096, 52), 95 * 63);
	const flash = new FlashSimulator(SMALL);
	assert.throws(() => new RecordLog(flash, 0, 2, 1, 20), InvariantError);
	assert.throws(() => new RecordLog(flash, 1, 4, 1, 20), InvariantError);
	assert.throws(() => new RecordLog(flash, 0, 4, 1, 250), InvariantError);
	assert.throws(() => new RecordLog(flash, 0, 4, 1, 20).append(payloadOf(1), 1), InvariantError);
	const log = openSmall(flash);
	assert.equal(log.append(new Uint8Array(30), 21), Status.badLength);
	assert.equal(log.append(new Uint8Array(3), 4), Status.badLength);
	assert.equal(log.append(new Uint8Array(3), -1), Status.badLength);
	assert.equal(log.append(new Uint8Array(20), 20), Status.ok);
	assert.equal(log.read(1, new Uint8Array(19)), Status.badLength);
	assert.equal(log.nextSequence, 2);
});

test("sequences end at 2^32 - 2 and are not begun again", () => {
	const flash = new FlashSimulator(SMALL);
	openSmall(flash).append(payloadOf(1), 4);
	const image = flash.image;
	const view = new DataView(image.buffer);
	view.setUint32(16, 0xffff_fffc);
	view.setUint32(28, crc32(image, 0, 28));
	image.fill(0xff, 32);
	flash.image = image;
	let log = openSmall(flash);
	assert.equal(log.nextSequence, 0xffff_fffc);
	for (let i = 0; i < 3; i++) assert.equal(log.append(payloadOf(i), 4), Status.ok);
	assert.equal(log.append(payloadOf(4), 4), Status.storageFull);
	log = openSmall(flash);
	assert.equal(log.newestSequence, 0xffff_fffe);
	assert.equal(log.append(payloadOf(4), 4), Status.storageFull);
});

test("one wrong bit anywhere costs at most one record; in the oldest header, that sector; and it is counted", () => {
	for (const count of [3, SMALL_SLOTS, 2 * SMALL_SLOTS + 1, 4 * SMALL_SLOTS, 6 * SMALL_SLOTS + 3]) {
		const flash = new FlashSimulator(SMALL);
		const log = openSmall(flash);
		for (let i = 1; i <= count; i++) log.append(payloadOf(i), payloadOf(i).length);
		const image = flash.image;
		const oldest = log.oldestSequence;
		const oldestHeader = (Math.ceil(oldest / SMALL_SLOTS - 1 / SMALL_SLOTS) % SMALL.sectorCount) * SMALL.sectorBytes;
		const into = new Uint8Array(SMALL.recordBytes);
		for (let bit = 0; bit < image.length * 8; bit++) {
			const place = bit >> 3;
			image[place]! ^= 1 << (bit & 7);
			flash.image = image;
			const damaged = openSmall(flash);
			assert.ok(damaged.nextSequence > count, `bit ${bit}: next ${damaged.nextSequence} of ${count}`);
			let lost = 0;
			for (let sequence = oldest; sequence <= count; sequence++) if (damaged.read(sequence, into) !== 0) lost++;
			const inOldestHeader = place >= oldestHeader && place < oldestHeader + 32;
			assert.ok(lost <= (inOldestHeader ? SMALL_SLOTS : 1), `bit ${bit}: ${lost} lost`);
			const { tornRecordsSeen, badRecordsSeen, badSectorsSeen } = damaged.counters;
			if (lost > 0) assert.ok(tornRecordsSeen + badRecordsSeen + badSectorsSeen > 0, `bit ${bit}: not counted`);
			assert.equal(damaged.append(payloadOf(1000), 4), Status.ok);
			assert.equal(damaged.readNewest(into), Status.ok);
			image[place]! ^= 1 << (bit & 7);
		}
	}
});

/** Flash with places that do not do what they should. */
class BadFlash implements NorFlash {
	readonly inner: FlashSimulator;
	readonly sectorBytes: number;
	readonly sectorCount: number;
	failPrograms = 0;
	failErases = 0;
	failReads = 0;
	/** Programs to this sector are lost. */
	deafSector = -1;
	/** A bit of this byte never erases. */
	stuckByte = -1;
	/** Erases of this sector do nothing. */
	lockedSector = -1;
	/** And say so. */
	lockedStatus: Status = Status.ok;

	constructor(inner: FlashSimulator) {
		this.inner = inner;
		this.sectorBytes = inner.sectorBytes;
		this.sectorCount = inner.sectorCount;
	}

	read(address: number, into: Uint8Array, byteLength: number): Status {
		if (this.failReads > 0) {
			this.failReads--;
			return Status.busy;
		}
		const status = this.inner.read(address, into, byteLength);
		if (this.stuckByte >= address && this.stuckByte < address + byteLength) into[this.stuckByte - address]! &= 0xfe;
		return status;
	}

	program(address: number, from: Uint8Array, byteLength: number): Status {
		if (this.failPrograms > 0) {
			this.failPrograms--;
			return Status.busy;
		}
		if (Math.floor(address / this.sectorBytes) === this.deafSector) return Status.ok;
		return this.inner.program(address, from, byteLength);
	}

	erase(sectorIndex: number): Status {
		if (this.failErases > 0) {
			this.failErases--;
			return Status.busy;
		}
		return sectorIndex === this.lockedSector ? this.lockedStatus : this.inner.erase(sectorIndex);
	}
}

test("flash that refuses or forgets: another place is tried, nothing acknowledged is lost, all is counted", () => {
	for (const prepare of [
		(bad: BadFlash) => (bad.deafSector = 1),
		(bad: BadFlash) => (bad.stuckByte = SMALL.sectorBytes * 2 + 100),
		(bad: BadFlash) => (bad.stuckByte = SMALL.sectorBytes + 5),
		(bad: BadFlash) => (bad.failPrograms = 2),
		(bad: BadFlash) => (bad.failErases = 2),
		(bad: BadFlash) => (bad.lockedSector = 2),
		(bad: BadFlash) => {
			bad.lockedSector = 3;
			bad.lockedStatus = Status.busy;
		},
	]) {
		const bad = new BadFlash(new FlashSimulator(SMALL));
		const model = new LogModel();
		const log = new RecordLog(bad, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
		assert.equal(log.open(), Status.ok);
		for (let i = 0; i < 100; i++) {
			if (i === 40) prepare(bad);
			assert.equal(model.append(log, payloadOf(i)), Status.ok, `append ${i}`);
			if (i % 9 === 0) assert.equal(log.prepare(), Status.ok);
			if (i % 10 === 5) {
				model.check(log, Math.min(i, SMALL_SLOTS));
				const same = new RecordLog(bad, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
				assert.equal(same.open(), Status.ok);
				model.copy().check(same, Math.min(i, SMALL_SLOTS));
			}
		}
		model.check(log, SMALL_SLOTS);
		assert.ok(log.counters.writeFailures + log.counters.flashFailures > 0, "counted");
		const again = new RecordLog(bad, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
		assert.equal(again.open(), Status.ok);
		model.check(again, SMALL_SLOTS);
	}
});

test("a sector that can be neither erased nor spoilt stops the log; nothing is lost", () => {
	const bad = new BadFlash(new FlashSimulator(SMALL));
	const model = new LogModel();
	const log = new RecordLog(bad, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
	assert.equal(log.open(), Status.ok);
	for (let i = 0; i < 6 * SMALL_SLOTS; i++) model.append(log, payloadOf(i));
	bad.lockedSector = bad.deafSector = 2;
	for (let i = 0; i < 5; i++) assert.equal(log.append(payloadOf(100), 4), Status.notErased);
	assert.equal(log.prepare(), Status.notErased);
	model.check(log, 2 * SMALL_SLOTS);
	const again = new RecordLog(bad, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
	assert.equal(again.open(), Status.ok);
	for (let sequence = 4 * SMALL_SLOTS + 1; sequence <= 6 * SMALL_SLOTS; sequence++)
		assert.equal(again.read(sequence, new Uint8Array(20)), Status.ok);
	bad.lockedSector = bad.deafSector = -1;
	assert.equal(log.append(payloadOf(100), 4), Status.ok);
});

test("flash that is gone answers with a status", () => {
	const bad = new BadFlash(new FlashSimulator(SMALL));
	const log = new RecordLog(bad, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
	assert.equal(log.open(), Status.ok);
	assert.equal(log.append(payloadOf(1), 4), Status.ok);
	bad.failPrograms = bad.failErases = 1000;
	assert.equal(log.append(payloadOf(2), 4), Status.busy);
	assert.equal(log.startSector(), Status.busy);
	assert.equal(log.eraseAll(), Status.busy);
	bad.failReads = 1000;
	assert.notEqual(new RecordLog(bad, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes).open(), Status.ok);
});

test("a newer format is neither read nor overwritten, until all is erased", () => {
	const flash = new FlashSimulator(SMALL);
	openSmall(flash).append(payloadOf(1), 4);
	const image = flash.image;
	image[4] = 2;
	new DataView(image.buffer).setUint32(12, crc32(image, 0, 12));
	flash.image = image;
	const log = new RecordLog(flash, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
	assert.equal(log.open(), Status.badVersion);
	assert.equal(log.append(payloadOf(1), 4), Status.badVersion);
	assert.equal(log.prepare(), Status.badVersion);
	assert.equal(log.startSector(), Status.badVersion);
	assert.equal(log.eraseBefore(100), Status.ok);
	assert.equal(log.readNewest(new Uint8Array(20)), Status.notFound);
	assert.deepEqual(flash.image, image);
	assert.equal(log.eraseAll(), Status.ok);
	assert.equal(log.append(payloadOf(1), 4), Status.ok);
	assert.equal(openSmall(flash).nextSequence, 2);
});

test("records of a smaller size stay readable after an update that makes them larger", () => {
	const flash = new FlashSimulator(STRICT);
	const old = openSmall(flash);
	for (let i = 1; i <= 10; i++) old.append(payloadOf(i), 4);
	old.startSector();
	const log = new RecordLog(flash, 0, SMALL.sectorCount, SMALL.kind, 60);
	assert.equal(log.open(), Status.ok);
	assert.equal(log.nextSequence, 11);
	const into = new Uint8Array(60);
	assert.equal(log.append(new Uint8Array(60).fill(5), 60), Status.ok);
	for (let sequence = 1; sequence <= 11; sequence++) assert.equal(log.read(sequence, into), Status.ok, `${sequence}`);
	assert.equal(log.readByteLength, 60);
	// The other way round is refused record by record; counting goes on.
	const smaller = openSmall(flash);
	assert.equal(smaller.nextSequence, 12);
	assert.equal(smaller.read(11, into), Status.unsupported);
	assert.equal(smaller.read(10, into), Status.ok);
	assert.equal(smaller.append(payloadOf(12), 4), Status.ok);
});

test("eraseBefore erases whole sectors only, never the newest record; eraseAll goes on counting", () => {
	const flash = new FlashSimulator(STRICT);
	const log = openSmall(flash);
	for (let i = 1; i <= 3 * SMALL_SLOTS; i++) log.append(payloadOf(i), 4);
	assert.equal(log.eraseBefore(SMALL_SLOTS), Status.ok);
	assert.equal(log.oldestSequence, 1);
	assert.equal(log.eraseBefore(SMALL_SLOTS + 1), Status.ok);
	assert.equal(log.oldestSequence, SMALL_SLOTS + 1);
	const { erases } = flash.counters;
	assert.equal(log.eraseBefore(1_000_000), Status.ok);
	assert.equal(log.oldestSequence, 2 * SMALL_SLOTS + 1);
	assert.equal(flash.counters.erases, erases + 1);
	assert.equal(openSmall(flash).oldestSequence, 2 * SMALL_SLOTS + 1);
	// Sectors erased early are not erased again when they are used.
	const before = flash.counters.erases;
	for (let i = 0; i < 3 * SMALL_SLOTS; i++) log.append(payloadOf(i), 4);
	assert.equal(flash.counters.erases, before + 1);
	const next = log.nextSequence;
	assert.equal(log.eraseAll(), Status.ok);
	assert.equal(log.nextSequence, next);
	assert.equal(log.oldestSequence, next);
	assert.equal(openSmall(flash).nextSequence, next);
});

test("a record in the place of another is not taken for it", () => {
	const flash = new FlashSimulator(SMALL);
	const log = openSmall(flash);
	for (let i = 1; i <= 3; i++) log.append(new Uint8Array(20).fill(i), 20);
	const image = flash.image;
	image.copyWithin(32 + 32, 32, 64);
	flash.image = image;
	const moved = openSmall(flash);
	const into = new Uint8Array(20);
	assert.equal(moved.read(1, into), Status.ok);
	assert.equal(moved.read(2, into), Status.badChecksum);
	assert.equal(moved.read(3, into), Status.ok);
	assert.equal(moved.counters.badRecordsSeen, 1);
});

test("eraseBefore spares the newest good record when only torn ones follow", () => {
	const flash = new FlashSimulator(STRICT);
	const log = openSmall(flash);
	for (let i = 1; i <= SMALL_SLOTS; i++) log.append(payloadOf(i), 4);
	log.prepare();
	flash.powerCut(2, 9);
	assert.throws(() => log.append(payloadOf(99), 4), PowerCut);
	flash.restart();
	const again = openSmall(flash);
	assert.equal(again.nextSequence, SMALL_SLOTS + 2);
	assert.equal(again.newestSequence, SMALL_SLOTS);
	assert.equal(again.counters.tornRecordsSeen, 1);
	assert.equal(again.eraseBefore(1000), Status.ok);
	assert.equal(again.readNewest(new Uint8Array(20)), Status.ok);
	assert.equal(again.readSequence, SMALL_SLOTS);
});

test("a sector that was erased ahead and is no longer blank is erased again before it is used", () => {
	const flash = new FlashSimulator(SMALL);
	const log = openSmall(flash);
	for (let i = 1; i <= SMALL_SLOTS; i++) log.append(payloadOf(i), 4);
	log.prepare();
	assert.deepEqual([...flash.wear], [1, 1, 0, 0]);
	const image = flash.image;
	image[SMALL.sectorBytes + 200]! ^= 4;
	flash.image = image;
	const again = openSmall(flash);
	assert.equal(again.append(payloadOf(8), 4), Status.ok);
	assert.deepEqual([...flash.wear], [1, 2, 0, 0]);
	assert.equal(openSmall(flash).nextSequence, SMALL_SLOTS + 2);
});

test("open alone finishes an interrupted erase, whatever part of the sector is left", () => {
	for (const tornBytes of [1, 15, 16, 31, 32, 33, 100, 255]) {
		const flash = new FlashSimulator(STRICT);
		const log = openSmall(flash);
		const secret = distinct(tornBytes, new Uint8Array(20));
		for (let i = 1; i <= SMALL_SLOTS; i++) log.append(secret, 20);
		log.append(payloadOf(1), 4);
		flash.powerCut(1, tornBytes);
		assert.throws(() => log.eraseBefore(log.newestSequence), PowerCut);
		flash.restart();
		assert.equal(Buffer.from(flash.image).includes(hex(secret), 0, "hex"), tornBytes < 240);
		const again = openSmall(flash);
		assert.equal(Buffer.from(flash.image).includes(hex(secret), 0, "hex"), false);
		assert.equal(again.counters.erasesFinished, 1);
		assert.equal(again.oldestSequence, SMALL_SLOTS + 1);
	}
});

test("no expression in the methods allocates", () => {
	for (const name of ["record-log", "register-store", "profile-store", "event-store", "settings-store"]) {
		const source = readFileSync(new URL(`../../../src/storage/${name}.ts`, import.meta.url), "utf8");
		const methods = source.slice(source.indexOf("open(): Status {"));
		assert.ok(methods.length > 400, "methods found");
		const found = methods
			.replace(/\/\*[\s\S]*?\*\/|\/\/.*|throw new InvariantError/g, "")
			.match(/\bnew \w+|\.(subarray|slice|map|filter|concat)\(|\.\.\.|for \((const|let) [^;]* of|=> [{(]/);
		assert.equal(found, null, name);
	}
});
