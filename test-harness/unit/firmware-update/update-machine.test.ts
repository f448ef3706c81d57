import assert from "node:assert/strict";
import { test } from "node:test";
import { Status, statusName } from "../../../src/bytes/status.js";
import { TRIAL_MILLISECONDS } from "../../../src/firmware-update/update-machine.js";
import {
	BODY_BYTES_MAX,
	FirmwareTarget,
	UPDATE_BLOCK_BYTES,
	UpdateResult,
	UpdateState,
} from "../../../src/messages/firmware-update.js";
import { Kind } from "../../../src/messages/kinds.js";
import { FIRMWARE_A_SECTORS, FIRMWARE_B_SECTORS } from "../../../src/storage/layout.js";
import {
	BUILT_IN,
	bodyOf,
	type Image,
	type ImageOptions,
	KEY,
	MemorySecurity,
	newFlash,
	signImage,
	TestKey,
	TestMeter,
} from "./world.js";

function meter(options: ConstructorParameters<typeof TestMeter>[2] = {}): TestMeter {
	return new TestMeter(newFlash(), new MemorySecurity(), options).boot();
}

function is(actual: Status, expected: Status, what: string): void {
	assert.equal(statusName(actual), statusName(expected), what);
}

/** Up to the first block. */
function accepted(of: TestMeter, image: Image): void {
	is(of.offer(image), Status.ok, "offer");
	is(of.signature(image), Status.ok, "signature");
	of.work();
	assert.equal(of.machine.state, UpdateState.receiving);
}

test("offer, signature, blocks, activation, trial, confirmation; then the next one into the other area", () => {
	const a = meter();
	assert.equal(a.slot, 0);
	const image = signImage({ securityVersion: 3 });
	is(a.offer(image, 77), Status.ok, "offer");
	let told = a.told()!;
	assert.equal(told.requestId, 77);
	assert.equal(told.state, UpdateState.offered);
	assert.equal(told.imageId, image.imageId);
	is(a.block(image, 0), Status.outOfOrder, "no block before the signature");
	is(a.signature(image), Status.ok, "signature");
	is(a.block(image, 0), Status.outOfOrder, "no block before the signature is verified");
	assert.equal(a.machine.state, UpdateState.checking);
	a.work();
	told = a.told()!;
	assert.equal(told.state, UpdateState.receiving);
	assert.deepEqual([...told.ranges.subarray(0, 2)], [0, image.blockCount]);
	for (let i = 0; i < image.blockCount; i++) is(a.block(image, i), Status.ok, `block ${i}`);
	a.work();
	assert.equal(a.machine.state, UpdateState.verified);
	assert.ok(!a.machine.wantsRestart, "it waits for the order");
	is(a.activate(image), Status.ok, "activate");
	assert.ok(!a.machine.wantsRestart, "the answer comes first");
	assert.equal(a.told()!.state, UpdateState.armed);
	assert.ok(a.machine.wantsRestart);

	a.boot();
	assert.equal(a.slot, 1);
	assert.equal(a.version, "0.2.0");
	assert.equal(a.machine.state, UpdateState.trial);
	assert.equal(a.security.minimum, 0, "not before it has proved itself");
	is(a.offer(signImage({ version: [0, 3, 0] })), Status.busy, "no offer during a trial: the way back is needed");
	is(a.order(Kind.updateCancel, image.imageId), Status.busy, "nor a cancellation");
	is(a.machine.confirm(), Status.ok, "confirm");
	is(a.machine.confirm(), Status.outOfOrder, "once");
	assert.equal(a.security.minimum, 3);
	assert.equal(a.ask().result, UpdateResult.confirmed);

	a.boot();
	assert.equal(a.slot, 1);
	assert.equal(a.machine.state, UpdateState.idle);
	is(a.offer(image), Status.replayed, "the same version");
	is(a.offer(signImage({ version: [0, 1, 9], securityVersion: 9 })), Status.expired, "an older one");
	is(a.offer(signImage({ version: [0, 3, 0], securityVersion: 2 })), Status.expired, "an older securityVersion");

	const next = signImage({ version: [1, 0, 0], securityVersion: 3, body: bodyOf(70_000, 2) });
	a.transfer(next);
	is(a.activate(next), Status.ok, "activate");
	a.boot();
	assert.equal(a.slot, 2);
	assert.equal(a.version, "1.0.0");
	is(a.machine.confirm(), Status.ok, "confirm");
	const third = signImage({ version: [1, 0, 1], securityVersion: 4 });
	a.transfer(third);
	a.activate(third);
	a.boot();
	assert.equal(a.slot, 1, "back and forth");
});

test("a trial that is not confirmed is rolled back at the next start, or asks for one when its time is over", () => {
	const a = meter({ trialMilliseconds: 60_000 });
	const image = signImage({ securityVersion: 9 });
	a.transfer(image);
	a.activate(image);
	a.boot();
	assert.equal(a.slot, 1);
	assert.ok(!a.machine.wantsRestart);
	assert.equal(a.machine.deadlineMilliseconds(), a.now + 60_000);
	a.now += 60_000;
	a.machine.tick(a.now);
	assert.ok(a.machine.wantsRestart, "whoever cannot confirm within its time is restarted");
	a.boot();
	assert.equal(a.slot, 0);
	assert.equal(a.version, "0.1.0");
	assert.equal(a.ask().result, UpdateResult.rolledBack);
	assert.equal(a.security.minimum, 0);
	a.boot();
	assert.equal(a.slot, 0);
	a.transfer(image); // it may be tried again
	a.activate(image);
	assert.equal(a.boot().slot, 1);
	assert.equal(TRIAL_MILLISECONDS, 600_000);
});

test("what does not suit is refused with its reason, counted, and changes nothing in flash", () => {
	const a = meter();
	const before = a.flash.image;
	const foreign = new TestKey("another");
	const cases: [string, ImageOptions, Status][] = [
		["an older version", { version: [0, 0, 9] }, Status.expired],
		["the version that runs", { version: [0, 1, 0] }, Status.replayed],
		["another target", { target: FirmwareTarget.linuxXs }, Status.unsupported],
		["another key", { key: foreign }, Status.notAuthorised],
		["no body", { change: (m) => (m.bodyBytes = 0) }, Status.badValue],
		["a body too large", { change: (m) => (m.bodyBytes = BODY_BYTES_MAX + 1) }, Status.storageFull],
	];
	for (const [what, options, expected] of cases) {
		const counted = a.machine.counters.counts[expected]!;
		is(a.offer(signImage(options)), expected, what);
		assert.equal(a.machine.counters.counts[expected], counted + 1, what);
		assert.equal(a.told()!.status, expected, what);
		assert.equal(a.machine.state, UpdateState.idle, what);
	}
	a.security.minimum = 5;
	is(a.offer(signImage({ securityVersion: 4 })), Status.expired, "below the lowest securityVersion");
	a.security.minimum = 0;
	const good = signImage();
	const changed = (at: number): Image => {
		const manifest = good.manifest.slice();
		manifest[at]! ^= 1;
		return { ...good, manifest };
	};
	is(a.offer(changed(0)), Status.badKind, "magic");
	is(a.offer(changed(4)), Status.badVersion, "format");
	is(a.signature(good), Status.notFound, "a signature without an offer");
	is(a.block(good, 0), Status.notFound, "a block without an offer");
	is(a.activate(good), Status.notFound, "activation of nothing");
	is(a.order(Kind.updateCancel, good.imageId), Status.notFound, "cancellation of nothing");
	is(a.raw(Uint8Array.of(0x97, 1, 0, 0)), Status.badKind, "another kind");
	assert.equal(a.told()!.requestId, 0);
	assert.deepEqual(a.flash.image, before);
	assert.ok(a.ask().refusals > 10);

	const keyless = meter({ key: undefined });
	is(keyless.offer(good), Status.notFound, "no key");
});

test("a wrong signature: nothing is written, no block is taken, and the right one is taken afterwards", () => {
	const a = meter();
	const before = a.flash.image;
	const good = signImage();
	const spoiled = good.signature.slice();
	spoiled[600]! ^= 1;
	const foreign = Uint8Array.from(new TestKey("another").sign(good.manifest));
	for (const signature of [spoiled, foreign, signImage({ version: [0, 2, 1] }).signature]) {
		is(a.offer(good), Status.ok, "offer");
		is(a.signature({ ...good, signature }), Status.ok, "its length is right");
		a.work();
		assert.equal(a.machine.state, UpdateState.idle);
		assert.equal(a.told()!.status, Status.badTag);
		is(a.block(good, 0), Status.notFound, "block");
	}
	assert.equal(a.machine.badSignatures, 3);
	// a changed manifest under a good signature
	is(a.offer({ ...good, manifest: signImage({ version: [9, 9, 9] }).manifest }), Status.ok, "offer");
	const raised = signImage({ version: [9, 9, 9] });
	is(a.signature({ ...good, imageId: raised.imageId }), Status.ok, "signature");
	a.work();
	assert.equal(a.machine.state, UpdateState.idle);
	// another type, or a leaf outside the tree: said at once
	for (const [place, value] of [
		[7, 4],
		[3, 32],
	] as const) {
		const bytes = good.signature.slice();
		bytes[place] = value;
		is(a.offer(good), Status.ok, "offer");
		const status = a.signature({ ...good, signature: bytes });
		assert.ok(status === Status.unsupported || status === Status.badValue, statusName(status));
		assert.equal(a.machine.state, UpdateState.idle);
	}
	assert.deepEqual(a.flash.image, before);
	accepted(a, good);
});

test("parts of the signature: in order, twice is once, too much is refused", () => {
	const a = meter();
	const image = signImage();
	is(a.offer(image), Status.ok, "offer");
	is(a.signaturePart(image, 700, 700), Status.outOfOrder, "the second before the first");
	is(a.signaturePart(image, 0, 700), Status.ok, "first");
	is(a.signaturePart(image, 0, 700), Status.ok, "again");
	is(a.signaturePart(image, 400, 700), Status.outOfOrder, "overlapping");
	assert.equal(a.ask().signatureNext, 700);
	is(a.offer(image), Status.ok, "the offer again");
	assert.equal(a.ask().signatureNext, 700, "keeps what is there");
	const longer = { ...image, signature: Buffer.concat([image.signature, Buffer.alloc(8)]) };
	is(a.signaturePart(longer, 700, 768), Status.ok, "second");
	is(a.signaturePart(longer, 1468, 768), Status.ok, "third");
	is(a.signaturePart(longer, 2236, 120), Status.badLength, "more than a signature has");
	is(a.signaturePart({ ...image, imageId: 5 }, 2236, 112), Status.notFound, "of another image");
	is(a.signaturePart(image, 2236, 112), Status.ok, "last");
	a.work();
	assert.equal(a.machine.state, UpdateState.receiving);
	is(a.signaturePart(image, 2236, 112), Status.ok, "again, late");
});

test("blocks: any order, twice is once, wrong ones are refused", () => {
	const a = meter();
	const image = signImage({ body: bodyOf(5000, 3) });
	accepted(a, image);
	is(a.block(image, image.blockCount), Status.badValue, "beyond the end");
	is(a.block(image, 65_535), Status.badValue, "far beyond the end");
	is(a.block(image, 0, 511), Status.badLength, "too short");
	is(a.block(image, 9, UPDATE_BLOCK_BYTES), Status.badLength, "the last one too long");
	is(a.block({ ...image, imageId: 1 }, 0), Status.notFound, "of another image");
	const programs = a.flash.counters.programs;
	is(a.block(image, 9), Status.ok, "the last one first");
	is(a.block(image, 9), Status.ok, "again");
	assert.equal(a.flash.counters.programs, programs + 3, "erase mark, block, mark: once");
	is(a.block(image, 4), Status.ok, "one in the middle");
	const status = a.ask();
	assert.deepEqual([...status.ranges.subarray(0, 2 * status.rangeCount)], [0, 4, 5, 4]);
	assert.equal(status.blocksMissing, 8);
	is(a.activate(image), Status.outOfOrder, "not whole yet");
	for (const index of [8, 0, 7, 1, 6, 2, 5, 3]) is(a.block(image, index), Status.ok, `block ${index}`);
	assert.equal(a.machine.state, UpdateState.hashing);
	a.work();
	assert.equal(a.machine.state, UpdateState.verified);
});

test("an offer in the middle of another: refused once a signature is good; the same one goes on", () => {
	const a = meter();
	const image = signImage();
	const other = signImage({ version: [0, 3, 0] });
	is(a.offer(other), Status.ok, "offer");
	is(a.offer(image), Status.ok, "an offer without a signature stands in nobody's way");
	is(a.signature(image), Status.ok, "signature");
	is(a.offer(other), Status.busy, "while the signature is checked");
	a.work();
	is(a.offer(other), Status.busy, "while blocks come");
	is(a.block(image, 3), Status.ok, "block");
	is(a.offer(image), Status.ok, "the same one");
	assert.equal(a.machine.blocksMissing, image.blockCount - 1);
	is(a.order(Kind.updateCancel, other.imageId), Status.notFound, "cancel what is not there");
	is(a.order(Kind.updateCancel, image.imageId), Status.ok, "cancel");
	assert.equal(a.ask().state, UpdateState.idle);
	a.transfer(other);
	is(a.offer(image), Status.busy, "while one is verified");
	is(a.activate(other), Status.ok, "activate");
	is(a.activate(other), Status.ok, "twice is once");
	is(a.order(Kind.updateCancel, other.imageId), Status.ok, "up to the start it can be called off");
	a.boot();
	assert.equal(a.slot, 0);
});

test("a body that is not what was signed is thrown away", () => {
	const a = meter();
	const image = signImage();
	const wrong = image.body.slice();
	wrong[4999]! ^= 0x80;
	accepted(a, image);
	for (let i = 0; i < image.blockCount; i++) is(a.block({ ...image, body: wrong }, i), Status.ok, `block ${i}`);
	a.work();
	assert.equal(a.machine.state, UpdateState.idle);
	assert.equal(a.told()!.status, Status.corrupt);
	assert.equal(a.machine.badBodies, 1);
	is(a.activate(image), Status.notFound, "activate");
	a.transfer(image);
	assert.equal(a.machine.state, UpdateState.verified);
});

test("a host that starts nothing out of flash takes and verifies, and refuses to activate", () => {
	const a = meter({ boots: false });
	const image = signImage();
	a.transfer(image);
	is(a.activate(image), Status.unsupported, "activate");
	assert.ok(!a.machine.wantsRestart);
	a.boot();
	assert.equal(a.machine.state, UpdateState.verified, "it is kept");
});

test("flash without the areas: every offer is refused, nothing else happens", () => {
	const a = new TestMeter(newFlash({ sectorCount: 256 })).boot();
	assert.equal(a.openStatus, Status.ok);
	is(a.offer(signImage()), Status.unsupported, "offer");
});

test("the largest image fits, and only its area and the journal are written", () => {
	const a = meter();
	const image = signImage({ body: bodyOf(BODY_BYTES_MAX, 5) });
	a.flash.resetCounters();
	a.transfer(image, (missing) => missing.reverse());
	const { programs, erases, bytesProgrammed } = a.flash.counters;
	assert.equal(image.blockCount, 728);
	console.log(`372 736 bytes: ${erases} erases, ${programs} programs, ${bytesProgrammed} bytes`);
	const { image: flash } = a.flash;
	assert.ok(
		flash.subarray(0, 188 * 4096).every((byte) => byte === 0xff),
		"what is before the journal is untouched",
	);
	assert.ok(
		flash.subarray(FIRMWARE_B_SECTORS.firstSector * 4096).every((byte) => byte === 0xff),
		"and the other area",
	);
	const body = (FIRMWARE_A_SECTORS.firstSector + 5) * 4096;
	assert.ok(
		Buffer.from(image.body).equals(flash.subarray(body, body + image.body.length)),
		"the body, from the first byte on",
	);
});

test("the securityVersion of what runs is the lowest that is taken, also when a cut kept it from being stored", () => {
	const a = meter();
	const image = signImage({ securityVersion: 4 });
	a.transfer(image);
	a.activate(image);
	a.boot();
	a.security.fails = true;
	is(a.machine.confirm(), Status.ok, "confirm");
	assert.equal(a.security.minimum, 0);
	a.security.fails = false;
	a.boot();
	assert.equal(a.security.minimum, 4);
	assert.equal(BUILT_IN.securityVersion, 0);
	assert.equal(KEY.publicKey.length, 56);
});
