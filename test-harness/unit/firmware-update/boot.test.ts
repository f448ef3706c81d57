import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { BootLoader, nextBoot } from "../../../src/firmware-update/boot.js";
import {
	copyUpdateRecord,
	createUpdateRecord,
	decodeUpdateRecord,
	encodeUpdateRecord,
	NO_SLOT,
	Stage,
	UPDATE_RECORD_BYTES,
	UpdateJournal,
	type UpdateRecord,
} from "../../../src/firmware-update/journal.js";
import { FirmwareTarget, UpdateResult } from "../../../src/messages/firmware-update.js";
import type { NorFlash } from "../../../src/platform/flash.js";
import { FIRMWARE_A_SECTORS, FIRMWARE_B_SECTORS, UPDATE_SECTORS } from "../../../src/storage/layout.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { KEY, MemorySecurity, newFlash, signImage, TestKey, TestMeter } from "./world.js";

const BYTES = [0, 1, 2, 3, 4, 5, 254, 255];

/** Every record that the decoder takes, of all values of its first four bytes that matter. */
function everyRecord(): UpdateRecord[] {
	const found: UpdateRecord[] = [];
	const view = new DataView(new ArrayBuffer(UPDATE_RECORD_BYTES));
	for (const confirmed of BYTES)
		for (const previous of BYTES)
			for (const candidate of BYTES)
				for (const stage of BYTES) {
					for (const [i, value] of [confirmed, previous, candidate, stage].entries()) view.setUint8(i, value);
					const record = createUpdateRecord();
					if (decodeUpdateRecord(view, UPDATE_RECORD_BYTES, record) === Status.ok) found.push(record);
				}
	return found;
}

const RECORDS = everyRecord();

test("the decision, for every record and whatever is whole", () => {
	// 3 confirmed x previous none or one of 2 others, and without a candidate or with one that is neither x 4 stages
	assert.equal(RECORDS.length, 9 + 4 * (1 * (2 + 1 + 1) + 2 * (1 + 1)));
	const next = createUpdateRecord();
	const again = createUpdateRecord();
	const view = new DataView(new ArrayBuffer(UPDATE_RECORD_BYTES));
	for (const record of RECORDS)
		for (let whole = 0; whole < 4; whole++) {
			const where = `${JSON.stringify(record)}, whole ${whole}`;
			const before = structuredClone(record);
			const isWhole = (slot: number): boolean => {
				assert.ok(slot === 1 || slot === 2, `${where}: asks about slot ${slot}`);
				return (whole & slot) !== 0;
			};
			const slot = nextBoot(record, isWhole, next);
			assert.deepEqual(record, before, `${where}: the record is only read`);
			assert.ok(slot === 0 || isWhole(slot), `${where}: what starts is whole`);
			encodeUpdateRecord(next, view);
			assert.equal(decodeUpdateRecord(view, UPDATE_RECORD_BYTES, again), Status.ok, `${where}: writes a good record`);
			const isTried = record.stage === Stage.armed && isWhole(record.candidateSlot);
			if (isTried) {
				assert.equal(slot, record.candidateSlot, where);
				assert.equal(next.stage, Stage.trial, `${where}: it is marked as tried`);
				assert.equal(next.confirmedSlot, record.confirmedSlot, `${where}: the way back stays`);
			} else {
				assert.equal(slot, next.confirmedSlot, where);
				if (record.confirmedSlot === 0 || isWhole(record.confirmedSlot)) {
					assert.equal(slot, record.confirmedSlot, `${where}: what was confirmed runs as long as it is whole`);
					assert.equal(next.previousSlot, record.previousSlot, where);
				} else assert.equal(next.result, UpdateResult.damaged, where);
				if (record.stage >= Stage.armed) {
					assert.equal(next.candidateSlot, NO_SLOT, `${where}: a candidate that failed is forgotten`);
					assert.ok(next.result === UpdateResult.damaged || next.result === UpdateResult.rolledBack, where);
				}
			}
			// The next start, without anything in between: a trial is rolled back, everything else stays as it is.
			copyUpdateRecord(next, again);
			const second = nextBoot(again, isWhole, createUpdateRecord());
			assert.notEqual(second === record.candidateSlot && isTried, true, `${where}: no second trial`);
			if (!isTried) assert.equal(second, slot, where);
		}
});

/** 0.2.0 confirmed in area A, 0.3.0 confirmed in area B. */
function twice(): TestMeter {
	const meter = new TestMeter(newFlash(), new MemorySecurity()).boot();
	for (const minor of [2, 3]) {
		const image = signImage({ version: [0, minor, 0], securityVersion: 1 });
		meter.transfer(image);
		assert.equal(meter.activate(image), Status.ok);
		meter.boot();
		assert.equal(meter.machine.confirm(), Status.ok);
	}
	meter.boot();
	assert.equal(meter.version, "0.3.0");
	return meter;
}

/** Flips one bit. */
function damage(meter: TestMeter, sector: number, offset: number): void {
	const { image } = meter.flash;
	image[sector * 4096 + offset]! ^= 4;
	meter.flash.image = image;
}

test("damage: the one before runs, then what is built in; a new update mends it", () => {
	const a = FIRMWARE_A_SECTORS.firstSector;
	const b = FIRMWARE_B_SECTORS.firstSector;
	for (const [sector, offset] of [
		[0, 2], // manifest
		[0, 100], // signature
		[0, 4081], // mark
		[5, 0],
		[6, 903], // the last byte
	] as const) {
		const meter = twice();
		damage(meter, b + sector, offset);
		meter.boot();
		assert.equal(meter.version, "0.2.0", `sector ${sector}, byte ${offset}`);
		assert.equal(meter.ask().result, UpdateResult.damaged);
		damage(meter, a + sector, offset);
		meter.boot();
		assert.equal(meter.version, "0.1.0");
		assert.equal(meter.slot, 0);
		const image = signImage({ version: [0, 4, 0] });
		meter.transfer(image);
		meter.activate(image);
		meter.boot();
		assert.equal(meter.version, "0.4.0");
		assert.equal(meter.machine.confirm(), Status.ok);
		assert.equal(meter.boot().version, "0.4.0");
	}
	const meter = twice();
	damage(meter, b + 1, 3); // a mark of the transfer: of no use any more
	damage(meter, b + 6, 1100); // behind the body
	assert.equal(meter.boot().version, "0.3.0");
});

test("an area that was given up for a new image is no way back", () => {
	const meter = twice();
	const image = signImage({ version: [0, 4, 0] });
	assert.equal(meter.offer(image), Status.ok);
	assert.equal(meter.signature(image), Status.ok);
	meter.work();
	damage(meter, FIRMWARE_B_SECTORS.firstSector, 2);
	assert.equal(meter.boot().version, "0.1.0", "not 0.2.0, of which the head is gone, and not half of 0.4.0");
});

test("an armed image that is damaged before its start is not tried", () => {
	const meter = twice();
	const image = signImage({ version: [0, 4, 0] });
	meter.transfer(image);
	meter.activate(image);
	damage(meter, FIRMWARE_A_SECTORS.firstSector + 5, 7);
	meter.boot();
	assert.equal(meter.version, "0.3.0");
	assert.equal(meter.ask().result, UpdateResult.damaged);
});

test("what does not suit the host is not started: target, key, securityVersion, what the host says of the body", () => {
	const crypto = new NodeCrypto();
	const suits = { target: FirmwareTarget.inProcess, publicKey: KEY.publicKey };
	const meter = twice();
	const { image } = meter.flash;
	const choose = (options: ConstructorParameters<typeof BootLoader>[2]): number =>
		new BootLoader(newFlash({ image }), crypto, options).choose();
	assert.equal(choose(suits), 2);
	assert.equal(choose({ target: FirmwareTarget.inProcess }), 2, "hashes alone");
	assert.equal(choose({ ...suits, target: FirmwareTarget.linuxXs }), 0);
	assert.equal(choose({ ...suits, publicKey: new TestKey("another").publicKey }), 0);
	assert.equal(choose({ ...suits, publicKey: new Uint8Array(56) }), 0, "no key");
	assert.equal(choose({ ...suits, minimumSecurityVersion: 1 }), 2);
	assert.equal(choose({ ...suits, minimumSecurityVersion: 2 }), 0);
	const asked: number[] = [];
	const isFirstArea = (address: number, byteLength: number): boolean => {
		asked.push(address / 4096, byteLength);
		return address < FIRMWARE_B_SECTORS.firstSector * 4096;
	};
	assert.equal(choose({ ...suits, canStart: isFirstArea }), 1);
	assert.deepEqual(asked, [293, 5000, 197, 5000]);
});

test("a journal that cannot be read or written: what is built in, and no trial", () => {
	const meter = twice();
	const { image } = meter.flash;
	// every sector of it garbage
	image.fill(0x5a, UPDATE_SECTORS.firstSector * 4096, (UPDATE_SECTORS.firstSector + 4) * 4096);
	assert.equal(new TestMeter(newFlash({ image }), new MemorySecurity()).boot().version, "0.1.0");

	const armed = twice();
	const next = signImage({ version: [0, 4, 0] });
	armed.transfer(next);
	armed.activate(next);
	const failing: NorFlash = {
		sectorBytes: 4096,
		sectorCount: armed.flash.sectorCount,
		read: (address, into, byteLength) => armed.flash.read(address, into, byteLength),
		program: () => Status.corrupt,
		erase: () => Status.corrupt,
	};
	const loader = new BootLoader(failing, new NodeCrypto(), { target: FirmwareTarget.inProcess });
	assert.equal(loader.choose(), 2, "the confirmed one: a trial that cannot be marked does not start");
	assert.equal(loader.bodyBytes, 5000);
	assert.equal(armed.boot().version, "0.4.0", "once flash works, it is tried");
});

test("the journal: records that make no sense are refused, and the log goes round without losing the newest", () => {
	const flash = newFlash();
	const journal = new UpdateJournal(flash);
	assert.equal(journal.open(), Status.ok);
	assert.deepEqual(journal.record, createUpdateRecord());
	for (let i = 1; i <= 2000; i++) {
		journal.record.imageId = i;
		assert.equal(journal.write(), Status.ok);
	}
	const again = new UpdateJournal(flash);
	assert.equal(again.open(), Status.ok);
	assert.equal(again.record.imageId, 2000);
	const wear = [...flash.wear].slice(UPDATE_SECTORS.firstSector, UPDATE_SECTORS.firstSector + 4);
	assert.ok(Math.max(...wear) <= 4, `wear ${wear}`);
	const view = new DataView(new ArrayBuffer(UPDATE_RECORD_BYTES));
	assert.equal(decodeUpdateRecord(view, 11, again.record), Status.badLength);
	again.log.append(new Uint8Array(UPDATE_RECORD_BYTES), UPDATE_RECORD_BYTES, 2);
	assert.equal(new UpdateJournal(flash).open(), Status.badVersion);
});

test("a wrong bit in any record of the journal does not bring back a trial that was confirmed", () => {
	const meter = twice();
	const { image } = meter.flash;
	const first = UPDATE_SECTORS.firstSector * 4096;
	for (let at = first + 32; at < first + 32 + 24 * 32; at++) {
		const changed = image.slice();
		changed[at]! ^= 1 << (at & 7);
		const { version, machine } = new TestMeter(newFlash({ image: changed }), new MemorySecurity()).boot();
		assert.equal(`${version} ${machine.state}`, "0.3.0 0", `byte ${at - first}`);
	}
});
