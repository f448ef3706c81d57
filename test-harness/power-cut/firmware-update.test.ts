import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import { UpdateResult, UpdateState } from "../../src/messages/firmware-update.js";
import { Kind } from "../../src/messages/kinds.js";
import { FIRMWARE_A_SECTORS, UPDATE_SECTORS } from "../../src/storage/layout.js";
import { type FlashSimulator, PowerCut } from "../board/flash-simulator.js";
import { seed } from "../seed.js";
import { bodyOf, type Image, MemorySecurity, newFlash, signImage, TestMeter } from "../unit/firmware-update/world.js";

const TORN: readonly { tornBytes: number; tear: "prefix" | "scattered"; seed: number }[] = [
	...[0, 1, 16, 200, 511].map((tornBytes) => ({ tornBytes, tear: "prefix" as const, seed })),
	...[1, 2, 3].map((n) => ({ tornBytes: 0, tear: "scattered" as const, seed: seed + n })),
];
const OLD = signImage({ version: [0, 2, 0], securityVersion: 1, body: bodyOf(4500, 10) });
const NEW = signImage({ version: [0, 3, 0], securityVersion: 2, body: bodyOf(9300, 11) });

/** False when power failed in it. */
function survives(action: () => void): boolean {
	try {
		action();
		return true;
	} catch (error) {
		if (error instanceof PowerCut) return false;
		throw error;
	}
}

/** What a sender and a meter have told each other: it must hold after any cut. */
interface Told {
	blocks: number;
	verified: boolean;
	armed: boolean;
	confirmed: boolean;
}

/** From wherever the meter is to the new firmware, confirmed. */
function update(meter: TestMeter, image: Image, told: Told): void {
	for (let round = 0; round < 20; round++) {
		meter.work();
		const status = meter.ask();
		if (meter.version === "0.3.0" && status.state === UpdateState.idle) return;
		switch (status.state) {
			case UpdateState.idle:
				// dropped by a cut before its head was written, or after a trial that a cut ended
				told.blocks = 0;
				assert.equal(meter.offer(image), Status.ok, "offer");
				break;
			case UpdateState.offered:
				assert.equal(meter.signature(image, status.signatureNext), Status.ok, "signature");
				break;
			case UpdateState.receiving:
				for (let i = 0; i < image.blockCount; i++)
					if (meter.block(image, (i * 7) % image.blockCount) === Status.ok) told.blocks++;
				break;
			case UpdateState.verified:
				told.verified = true;
				if (meter.activate(image) === Status.ok) told.armed = true;
				break;
			case UpdateState.armed:
				meter.boot();
				break;
			case UpdateState.trial:
				if (meter.machine.confirm() === Status.ok) told.confirmed = true;
				break;
			default:
		}
	}
	throw new Error(`no end: ${JSON.stringify(meter.ask())}`);
}

/** 0.2.0 runs, confirmed, out of area A. */
function start(): { image: Uint8Array; minimum: number } {
	const meter = new TestMeter(newFlash(), new MemorySecurity()).boot();
	meter.transfer(OLD);
	assert.equal(meter.activate(OLD), Status.ok);
	meter.boot();
	assert.equal(meter.machine.confirm(), Status.ok);
	return { image: meter.flash.image, minimum: meter.security.minimum };
}

const { image: START, minimum: START_MINIMUM } = start();
const AREA_A = FIRMWARE_A_SECTORS.firstSector * 4096;
const OLD_AREA = Buffer.from(START.subarray(AREA_A, AREA_A + FIRMWARE_A_SECTORS.sectorCount * 4096));
const UNTOUCHED = Buffer.alloc(UPDATE_SECTORS.firstSector * 4096, 0xff);

function check(meter: TestMeter, told: Told, where: string): void {
	assert.ok(meter.version === "0.2.0" || meter.version === "0.3.0", `${where}: ${meter.version} runs`);
	const state = meter.machine.state;
	if (meter.version === "0.3.0") {
		assert.ok(told.armed || told.verified, `${where}: it was not even verified`);
		assert.ok(state === UpdateState.trial || state === UpdateState.idle, `${where}: state ${state}`);
	} else assert.ok(!told.confirmed, `${where}: it had proved itself`);
	if (told.confirmed) assert.equal(meter.version, "0.3.0", where);
	const { image } = meter.flash;
	assert.ok(OLD_AREA.equals(image.subarray(AREA_A, AREA_A + OLD_AREA.length)), `${where}: the way back was touched`);
	assert.ok(UNTOUCHED.equals(image.subarray(0, UNTOUCHED.length)), `${where}: something else was touched`);
}

function restart(flash: FlashSimulator, security: MemorySecurity): TestMeter {
	flash.restart();
	return new TestMeter(flash, security).boot();
}

test("a cut at every flash operation of an update, and one more in what follows", () => {
	let random = seed;
	let cuts = 0;
	const results = new Map<string, number>();
	for (const options of TORN)
		for (let operation = 1, finished = false; !finished; operation++) {
			const where = `seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}`;
			const flash = newFlash({ ...options, image: START });
			const security = new MemorySecurity();
			security.minimum = START_MINIMUM;
			const told: Told = { blocks: 0, verified: false, armed: false, confirmed: false };
			let meter = new TestMeter(flash, security).boot();
			flash.powerCut(operation, options.tornBytes);
			finished = survives(() => update(meter, NEW, told));
			if (!finished) cuts++;
			meter = restart(flash, security);
			check(meter, told, where);
			const status = meter.ask();
			if (status.state === UpdateState.receiving)
				assert.ok(
					status.blocksMissing <= NEW.blockCount - told.blocks,
					`${where}: ${told.blocks} blocks were acknowledged, ${status.blocksMissing} are missing`,
				);
			results.set(`${meter.version} ${status.state} ${status.result}`, 1);

			// once more, anywhere in the rest
			random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fff_ffff;
			const second = 1 + ((random >>> 8) % 60);
			flash.powerCut(second, options.tornBytes);
			if (!survives(() => update(meter, NEW, told))) cuts++;
			meter = restart(flash, security);
			check(meter, told, `${where}, then ${second}`);

			update(meter, NEW, told);
			meter = restart(flash, security);
			assert.equal(meter.version, "0.3.0", where);
			assert.equal(security.minimum, 2, where);
			check(meter, told, `${where}, at last`);
		}
	console.log(`${cuts} cuts; after them: ${[...results.keys()].sort().join(", ")}`);
	// old idle, old receiving, old verified, new on trial, new confirmed were all seen
	for (const expected of ["0.2.0 0", "0.2.0 4", "0.2.0 6", "0.3.0 8", "0.3.0 0"])
		assert.ok(
			[...results.keys()].some((key) => key.startsWith(expected)),
			`${expected} never happened`,
		);
});

test("a cut at every flash operation of the start itself: a trial is tried once, or not at all", () => {
	const prepared = restart(newFlash({ image: START }), new MemorySecurity());
	prepared.transfer(NEW);
	assert.equal(prepared.activate(NEW), Status.ok);
	const armed = prepared.flash.image;
	let trials = 0;
	for (const options of TORN)
		for (let operation = 1, finished = false; !finished; operation++) {
			const where = `seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}`;
			const flash = newFlash({ ...options, image: armed });
			const security = new MemorySecurity();
			flash.powerCut(operation, options.tornBytes);
			finished = survives(() => {
				new TestMeter(flash, security).boot();
			});
			const meter = restart(flash, security);
			if (finished) {
				assert.equal(meter.version, "0.2.0", `${where}: it had started once`);
				assert.equal(meter.ask().result, UpdateResult.rolledBack, where);
			} else if (meter.version === "0.3.0") {
				trials++;
				assert.equal(meter.machine.state, UpdateState.trial, where);
				assert.equal(restart(flash, security).version, "0.2.0", `${where}: not confirmed`);
			} else assert.equal(meter.version, "0.2.0", where);
		}
	assert.ok(trials > 0, "a torn mark of a trial lets it be tried");
});

test("a torn block costs its sector, and a cut while that is erased costs no more", () => {
	for (const options of TORN.slice(3, 6))
		for (let operation = 1; operation <= 5; operation++) {
			const where = `seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}`;
			const flash = newFlash({ ...options, image: START });
			const security = new MemorySecurity();
			let meter = new TestMeter(flash, security).boot();
			meter.offer(NEW);
			meter.signature(NEW);
			meter.work();
			for (let i = 1; i < 8; i++) assert.equal(meter.block(NEW, i), Status.ok);
			flash.powerCut(1, 300);
			assert.ok(!survives(() => meter.block(NEW, 0)), where);
			meter = restart(flash, security);
			flash.powerCut(operation, options.tornBytes);
			survives(() => meter.block(NEW, 0));
			meter = restart(flash, security);
			meter.transfer(NEW);
			assert.equal(meter.machine.badBodies, 0, `${where}: a block was taken for whole that is not`);
		}
});

test("a cut while an area is prepared that holds another image: that one does not come back", () => {
	const other = signImage({ version: [0, 9, 0], securityVersion: 2, body: bodyOf(3000, 12) });
	const prepared = restart(newFlash({ image: START }), new MemorySecurity());
	prepared.transfer(other);
	assert.equal(prepared.order(Kind.updateCancel, other.imageId), Status.ok);
	const { image } = prepared.flash;
	for (const options of TORN.slice(3, 6))
		for (let operation = 1, finished = false; !finished; operation++) {
			const where = `seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}`;
			const flash = newFlash({ ...options, image });
			let meter = new TestMeter(flash, new MemorySecurity()).boot();
			flash.powerCut(operation, options.tornBytes);
			finished = survives(() => {
				meter.offer(NEW);
				meter.signature(NEW);
				meter.work();
			});
			meter = restart(flash, meter.security);
			const { state, imageId } = meter.ask();
			if (state !== UpdateState.idle) {
				assert.equal(state, UpdateState.receiving, where);
				assert.equal(imageId, NEW.imageId, `${where}: the other image is on its way again`);
			}
			meter.transfer(NEW);
			assert.equal(meter.machine.badBodies, 0, where);
		}
});

test("a supply that fails in every block: the transfer goes on, or is given up and begun again", () => {
	const flash = newFlash({ image: START, tear: "scattered", seed });
	const security = new MemorySecurity();
	security.minimum = START_MINIMUM;
	let meter = restart(flash, security);
	let abandoned = 0;
	let begun = 0;
	let cuts = 0;
	for (let cut = 0; abandoned === 0; cut++) {
		assert.ok(cut < 2000, "the marks are used up some time");
		survives(() => {
			meter.work();
			const status = meter.ask();
			if (status.state === UpdateState.idle) {
				begun++;
				meter.offer(NEW);
				meter.signature(NEW);
				meter.work();
			}
			const { blocksMissing, ranges } = meter.ask();
			flash.powerCut(cut % 5 === 0 ? 1 : 2, 100);
			if (blocksMissing > 0) meter.block(NEW, ranges[0]!);
		});
		abandoned += meter.machine.abandoned;
		cuts++;
		meter = restart(flash, security);
		assert.equal(meter.version, "0.2.0");
	}
	console.log(`given up after ${cuts} cuts; begun ${begun} times`);
	meter.transfer(NEW);
	assert.equal(meter.machine.state, UpdateState.verified);
});
