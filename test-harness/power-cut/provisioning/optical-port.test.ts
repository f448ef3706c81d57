import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import type { DeviceFile } from "../../../src/provisioning/device-file.js";
import { type FlashSimulator, PowerCut } from "../../board/flash-simulator.js";
import { seed } from "../../seed.js";
import { AREA, newFlash } from "../../unit/key-store/world.js";
import { MemoryAttempts, sampleFile } from "../../unit/provisioning/samples.js";
import { TestHeadEnd, TestMeter } from "../../unit/provisioning/world.js";

const roots = (seedByte: number) => Uint8Array.from({ length: 64 }, (_, i) => (seedByte + 37 * i) & 0xff);
const FIRST = sampleFile({ roots: roots(1) });
const SECOND = sampleFile({ generation: 2, epoch: 9_010, roots: roots(2) });
const THIRD = sampleFile({ generation: 3, epoch: 9_010, roots: roots(3) });

const TORN: readonly { tornBytes: number; tear: "prefix" | "scattered"; seed: number }[] = [
	...[0, 1, 16, 200, 1024].map((tornBytes) => ({ tornBytes, tear: "prefix" as const, seed })),
	...[1, 2, 3].map((n) => ({ tornBytes: 0, tear: "scattered" as const, seed: seed + n })),
];

/** Generation that the meter can prove to have: it opens what the head end seals under those keys; 0: it has none. */
function provenGeneration(meter: TestMeter, where: string): number {
	const { keys } = meter;
	if (!keys.isProvisioned) return 0;
	const file = keys.generation === 1 ? FIRST : keys.generation === 2 ? SECOND : THIRD;
	const headEnd = new TestHeadEnd(file);
	for (let i = keys.downIndex(0); i > 0; i--) headEnd.seal(new Uint8Array(24));
	const content = new Uint8Array(64);
	const sealed = headEnd.seal(new Uint8Array(24));
	const status = keys.openAuthorisation(sealed, sealed.length, content);
	assert.equal(status, Status.ok, `${where}: generation ${keys.generation} in the record and other keys behind it`);
	return keys.generation;
}

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

/** Every secret that ever was: roots, and whatever a key store holds between start and reset. */
class SecretsThatWere {
	readonly #parts: Buffer[] = [];

	add(...files: readonly DeviceFile[]): void {
		for (const file of files)
			for (let at = 0; at < 64; at += 8) this.#parts.push(Buffer.from(file.roots.subarray(at, at + 8)));
	}

	/** The arena's content in pieces of 8 bytes, those that look like keys. */
	addArena(bytes: Uint8Array): void {
		for (let at = 0; at + 8 <= bytes.length; at += 8) {
			const part = bytes.subarray(at, at + 8);
			if (new Set(part).size > 5) this.#parts.push(Buffer.from(part));
		}
	}

	/** All blocks of 16 bytes of a flash image that hold something: old records, sealed as they are. */
	addImage(flash: FlashSimulator): void {
		const { image, sectorBytes } = flash;
		for (let sector = AREA.firstSector; sector < AREA.firstSector + AREA.sectorCount; sector++)
			for (let at = 32; at < sectorBytes; at += 16) {
				const from = sector * sectorBytes + at;
				const block = image.subarray(from, from + 16);
				if (new Set(block).size > 5) this.#parts.push(Buffer.from(block));
			}
	}

	check(flash: FlashSimulator, where: string): void {
		const image = Buffer.from(flash.image);
		assert.ok(this.#parts.length > 50, "too few secrets to look for");
		for (const part of this.#parts) assert.equal(image.indexOf(part), -1, `${where}: ${part.length} bytes are left`);
	}
}

interface Operation {
	readonly name: string;
	readonly before: number;
	readonly after: number;
	prepare(): Uint8Array;
	act(meter: TestMeter): boolean;
}

function imageWith(change: (meter: TestMeter) => void): Uint8Array {
	const flash = newFlash();
	change(new TestMeter(flash));
	return flash.image;
}

const provisioned = () => imageWith((meter) => assert.equal(meter.provision(FIRST).status, Status.ok));
const decommissioned = () =>
	imageWith((meter) => {
		assert.equal(meter.provision(FIRST).status, Status.ok);
		assert.equal(meter.decommission(new TestHeadEnd(FIRST).mayForget()).status, Status.ok);
	});

const OPERATIONS: readonly Operation[] = [
	{
		name: "PROVISION of a new meter",
		before: 0,
		after: 1,
		prepare: () => newFlash().image,
		act: (meter) => meter.provision(FIRST).status === Status.ok,
	},
	{
		name: "PROVISION after DECOMMISSION",
		before: 0,
		after: 2,
		prepare: decommissioned,
		act: (meter) => meter.provision(SECOND).status === Status.ok,
	},
	{
		name: "RESEED",
		before: 1,
		after: 2,
		prepare: provisioned,
		act: (meter) => meter.reseed(SECOND, new TestHeadEnd(FIRST).mayTake(SECOND)).status === Status.ok,
	},
	{
		name: "DECOMMISSION",
		before: 1,
		after: 0,
		prepare: provisioned,
		act: (meter) => meter.decommission(new TestHeadEnd(FIRST).mayForget()).status === Status.ok,
	},
];

for (const { name, before, after, prepare, act } of OPERATIONS)
	test(`${name}: a cut at every flash operation leaves the old keys or the new ones, and the next step works`, () => {
		const image = prepare();
		let cuts = 0;
		for (const options of TORN)
			for (let operation = 1, finished = false; !finished; operation++) {
				const where = `${name}, seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}`;
				const flash = newFlash({ ...options, image });
				const attempts = new MemoryAttempts();
				const meter = new TestMeter(flash, attempts);
				flash.powerCut(operation, options.tornBytes);
				let acted = false;
				finished = survives(() => {
					acted = act(meter);
				});
				assert.equal(acted, finished, where);
				if (!finished) cuts++;
				flash.restart();
				const again = new TestMeter(flash, attempts);
				const generation = provenGeneration(again, where);
				if (finished) assert.equal(generation, after, where);
				else assert.ok(generation === before || generation === after, `${where}: generation ${generation}`);
				assert.equal(attempts.stored, finished ? 0 : 1, `${where}: the attempt counts`);

				// The technician goes on from what IDENTIFY says, with a new authorisation where one was used up.
				if (generation === before) {
					const next = new TestMeter(flash, attempts);
					if (before === 0) assert.equal(next.provision(after === 1 ? FIRST : SECOND).status, Status.ok, where);
					else {
						const headEnd = new TestHeadEnd(FIRST);
						for (let i = next.keys.downIndex(0); i > 0; i--) headEnd.seal(new Uint8Array(24));
						const answer =
							after === 0 ? next.decommission(headEnd.mayForget()) : next.reseed(SECOND, headEnd.mayTake(SECOND));
						assert.equal(answer.status, Status.ok, where);
					}
				}
				assert.equal(provenGeneration(new TestMeter(flash, attempts), where), after, where);
			}
		console.log(`${name}: ${cuts} cuts`);
		assert.ok(cuts > 20, `only ${cuts} cuts`);
	});

test("after DECOMMISSION flash holds no byte of a secret, whenever power failed before", () => {
	let images = 0;
	for (const options of TORN)
		for (let operation = 0, finished = false; !finished; operation++) {
			const where = `seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}`;
			const secrets = new SecretsThatWere();
			secrets.add(FIRST, SECOND, THIRD);
			const flash = newFlash(options);
			const attempts = new MemoryAttempts();
			let meter = new TestMeter(flash, attempts);
			assert.equal(meter.provision(FIRST).status, Status.ok);
			secrets.addArena(meter.arena.bytes);
			secrets.addImage(flash);
			assert.equal(meter.reseed(SECOND, new TestHeadEnd(FIRST).mayTake(SECOND)).status, Status.ok);
			secrets.addArena(meter.arena.bytes);
			secrets.addImage(flash);
			if (operation > 0) flash.powerCut(operation, options.tornBytes);
			finished = survives(() => meter.decommission(new TestHeadEnd(SECOND).mayForget())) && operation > 0;
			flash.restart();
			meter = new TestMeter(flash, attempts);
			if (meter.keys.isProvisioned) {
				secrets.addArena(meter.arena.bytes);
				secrets.addImage(flash);
				const headEnd = new TestHeadEnd(SECOND);
				for (let i = meter.keys.downIndex(0); i > 0; i--) headEnd.seal(new Uint8Array(24));
				assert.equal(meter.decommission(headEnd.mayForget()).status, Status.ok, where);
			}
			assert.equal(meter.keys.isProvisioned, false, where);
			secrets.check(flash, where);
			images++;
			if (!finished) continue;
			assert.equal(meter.provision(THIRD).status, Status.ok, where);
		}
	console.log(`${images} images searched`);
});
