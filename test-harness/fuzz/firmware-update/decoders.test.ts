import assert from "node:assert/strict";
import { test } from "node:test";
import { STATUS_COUNT, Status } from "../../../src/bytes/status.js";
import {
	createUpdateRecord,
	decodeUpdateRecord,
	encodeUpdateRecord,
	UPDATE_RECORD_BYTES,
} from "../../../src/firmware-update/journal.js";
import {
	createManifest,
	createUpdateMessage,
	createUpdateStatus,
	decodeManifest,
	decodeUpdateMessage,
	decodeUpdateStatus,
	encodeUpdateData,
	encodeUpdateOffer,
	encodeUpdateOrder,
	encodeUpdateStatus,
	UpdateState,
} from "../../../src/messages/firmware-update.js";
import { Kind } from "../../../src/messages/kinds.js";
import { FIRMWARE_A_SECTORS, UPDATE_SECTORS } from "../../../src/storage/layout.js";
import { seed } from "../../seed.js";
import { bodyOf, MemorySecurity, newFlash, signImage, TestMeter } from "../../unit/firmware-update/world.js";

const CASES = Number(process.env["FUZZ_CASES"] ?? 10_000);

let random = seed >>> 0;
function below(limit: number): number {
	random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
	return Math.floor((random / 0x1_0000_0000) * limit);
}

const IMAGE = signImage({ body: bodyOf(3000, 1) });

function frame(encode: (into: DataView) => number): Uint8Array {
	const bytes = new Uint8Array(1024);
	return bytes.slice(0, encode(new DataView(bytes.buffer)));
}

const FRAMES: readonly Uint8Array[] = [
	frame((into) => encodeUpdateOffer(1, IMAGE.manifest, into)),
	frame((into) => encodeUpdateData(Kind.updateSignature, 0, IMAGE.imageId, IMAGE.signature, 0, 768, into)),
	frame((into) => encodeUpdateData(Kind.updateSignature, 768, IMAGE.imageId, IMAGE.signature, 768, 768, into)),
	frame((into) => encodeUpdateData(Kind.updateSignature, 1536, IMAGE.imageId, IMAGE.signature, 1536, 768, into)),
	frame((into) => encodeUpdateData(Kind.updateSignature, 2304, IMAGE.imageId, IMAGE.signature, 2304, 44, into)),
	...[0, 1, 2, 3, 4].map((i) =>
		frame((into) => encodeUpdateData(Kind.updateBlock, i, IMAGE.imageId, IMAGE.body, i * 512, 512, into)),
	),
	frame((into) => encodeUpdateData(Kind.updateBlock, 5, IMAGE.imageId, IMAGE.body, 2560, 440, into)),
	frame((into) => encodeUpdateOrder(Kind.updateActivate, 2, IMAGE.imageId, into)),
	frame((into) => encodeUpdateOrder(Kind.updateStatusRequest, 3, 0, into)),
	frame((into) => encodeUpdateOrder(Kind.updateCancel, 4, IMAGE.imageId, into)),
];

function mutated(): Uint8Array {
	const bytes = Buffer.from(FRAMES[below(FRAMES.length)]!);
	switch (below(6)) {
		case 0:
			bytes[below(bytes.length)]! ^= 1 << below(8);
			return bytes;
		case 1:
			bytes[below(Math.min(12, bytes.length))] = below(256);
			return bytes;
		case 2:
			return bytes.subarray(0, below(bytes.length));
		case 3:
			return Buffer.concat([bytes, Buffer.alloc(1 + below(300), below(256))]);
		case 4:
			return Buffer.from(Array.from({ length: below(300) }, () => below(256)));
		default:
			return bytes;
	}
}

/** A view that ends where the message ends: reading past it throws. */
function viewOf(bytes: Uint8Array): DataView {
	return new DataView(Uint8Array.from(bytes).buffer);
}

function isStatus(value: number): boolean {
	return Number.isInteger(value) && value >= 0 && value < STATUS_COUNT;
}

test("every decoder answers any bytes with a status, and reads nothing beyond them", () => {
	const message = createUpdateMessage();
	const manifest = createManifest();
	const status = createUpdateStatus();
	const record = createUpdateRecord();
	const sample = frame((into) =>
		encodeUpdateStatus({ ...status, blockCount: 9, rangeCount: 2, ranges: Uint16Array.of(1, 2, 4, 5) }, into),
	);
	const view = new DataView(new ArrayBuffer(UPDATE_RECORD_BYTES));
	for (let i = 0; i < CASES; i++) {
		const bytes = mutated();
		assert.ok(isStatus(decodeUpdateMessage(viewOf(bytes), bytes.length, message)));
		assert.ok(isStatus(decodeManifest(viewOf(bytes), 0, manifest)));
		const told = Uint8Array.from(sample);
		told[below(told.length)] = below(256);
		const cut = told.subarray(0, below(10) === 0 ? below(told.length) : told.length);
		if (decodeUpdateStatus(viewOf(cut), cut.length, status) === Status.ok)
			for (let n = 0; n < status.rangeCount; n++)
				assert.ok(status.ranges[2 * n]! + status.ranges[2 * n + 1]! <= status.blockCount);
		for (let n = 0; n < UPDATE_RECORD_BYTES; n++) view.setUint8(n, below(3) === 0 ? below(256) : below(6));
		if (decodeUpdateRecord(view, UPDATE_RECORD_BYTES, record) === Status.ok) {
			const again = new DataView(new ArrayBuffer(UPDATE_RECORD_BYTES));
			encodeUpdateRecord(record, again);
			for (let n = 0; n < 5; n++) assert.equal(again.getUint8(n), view.getUint8(n), `seed ${seed}, case ${i}`);
		}
	}
});

test("a machine under damaged messages: a status for each, bounded work, and a good update afterwards", () => {
	const flash = newFlash();
	const security = new MemorySecurity();
	let meter = new TestMeter(flash, security).boot();
	for (let i = 0; i < CASES / 4; i++) {
		const bytes = mutated();
		const status = meter.raw(bytes);
		assert.ok(isStatus(status), `seed ${seed}, case ${i}`);
		if (below(3) === 0) meter.work();
		if (below(5) === 0) meter.told();
		if (meter.machine.state === UpdateState.armed && below(3) === 0) {
			meter.boot();
			meter.boot();
			assert.equal(meter.version, "0.1.0", `seed ${seed}, case ${i}: nothing confirmed it`);
		}
		if (below(500) === 0) meter = new TestMeter(flash, security).boot();
	}
	if (meter.machine.state === UpdateState.trial) meter.boot();
	meter.order(Kind.updateCancel, meter.ask().imageId);
	meter.transfer(IMAGE);
	assert.equal(meter.activate(IMAGE), Status.ok);
	assert.equal(meter.boot().version, "0.2.0");
});

test("a meter with noise in its journal and areas starts, and takes an update", () => {
	const { image } = (() => {
		const meter = new TestMeter(newFlash(), new MemorySecurity()).boot();
		meter.transfer(IMAGE);
		meter.activate(IMAGE);
		meter.boot();
		meter.machine.confirm();
		return meter.flash;
	})();
	const first = UPDATE_SECTORS.firstSector * 4096;
	const length = (FIRMWARE_A_SECTORS.firstSector + 7) * 4096 - first;
	for (let i = 0; i < Math.max(50, CASES / 100); i++) {
		const flash = newFlash({ image, seed: seed + i });
		if (i % 5 === 0) flash.flipBits(1 + below(2000), first, length);
		else flash.flipBits(1 + below(3), first + below(4) * 4096, 200);
		const meter = new TestMeter(flash, new MemorySecurity()).boot();
		assert.ok(meter.version === "0.1.0" || meter.version === "0.2.0", `seed ${seed}, case ${i}`);
		// the records that confirmed it are gone: it is tried again
		if (meter.machine.state === UpdateState.trial) meter.machine.confirm();
		const next = signImage({ version: [0, 5, 0], body: bodyOf(700, i) });
		meter.transfer(next);
		assert.equal(meter.activate(next), Status.ok);
		assert.equal(meter.boot().version, "0.5.0", `seed ${seed}, case ${i}`);
	}
});
