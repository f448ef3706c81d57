import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import type { NorFlash } from "../../../src/platform/flash.js";
import { RecordLog, recordsHeldMin } from "../../../src/storage/record-log.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { distinct, hex, LogModel, survives } from "../../power-cut/log-model.js";
import { seed } from "../../seed.js";

const numRuns = 300;

const KIND = 0x5072_6f70;

type Step =
	| { readonly do: "append"; readonly byteLength: number }
	| { readonly do: "prepare" | "startSector" | "eraseOlder" | "reopen" | "eraseAll" };

interface Cut {
	/** Flash operations after the previous cut. */
	readonly operations: number;
	readonly tornBytes: number;
}

const anyAppend = fc.record({ do: fc.constant("append" as const), byteLength: fc.nat(60) });
const anyOther = fc.record({ do: fc.constantFrom("prepare" as const, "reopen" as const) });
const anyErasing = fc.record({
	do: fc.constantFrom("startSector" as const, "eraseOlder" as const, "eraseAll" as const),
});
const anyCut = fc.record({ operations: fc.integer({ min: 1, max: 40 }), tornBytes: fc.nat(520) });
const anyGeometry = fc.record({
	sectorBytes: fc.constantFrom(256, 512),
	sectorCount: fc.integer({ min: 3, max: 6 }),
	recordBytes: fc.integer({ min: 4, max: 60 }),
	tear: fc.constantFrom("prefix" as const, "scattered" as const),
});

interface World {
	readonly geometry: { sectorBytes: number; sectorCount: number; recordBytes: number; tear: "prefix" | "scattered" };
	readonly steps: readonly Step[];
	readonly cuts: readonly Cut[];
	readonly tearSeed: number;
}

/** Runs the steps; power fails where `cuts` say, also while the log is being opened after an earlier cut. */
function run(world: World, heldMin: number): void {
	const { geometry, steps, cuts } = world;
	const flash = new FlashSimulator({ ...geometry, seed: world.tearSeed, writeBytes: 16, writeOnce: true });
	const model = new LogModel(geometry.recordBytes);
	let cutIndex = 0;
	let log: RecordLog;
	const armNextCut = () => {
		flash.restart();
		const cut = cuts[cutIndex++];
		if (cut !== undefined) flash.powerCut(cut.operations, cut.tornBytes);
	};
	const open = () => {
		for (;;) {
			log = new RecordLog(flash, 0, geometry.sectorCount, KIND, geometry.recordBytes);
			if (survives(() => assert.equal(log.open(), Status.ok))) return;
			armNextCut();
		}
	};
	armNextCut();
	open();
	for (let number = 0; number < steps.length; number++) {
		const step = steps[number]!;
		const through = survives(() => {
			if (step.do === "append") {
				const byteLength = Math.min(step.byteLength, geometry.recordBytes);
				assert.equal(model.append(log, distinct(number, new Uint8Array(byteLength))), Status.ok);
			} else if (step.do === "reopen") {
				open();
			} else if (step.do === "eraseOlder") {
				const { newestSequence, oldestSequence } = log;
				assert.equal(log.eraseBefore(newestSequence), Status.ok);
				assert.ok(log.oldestSequence <= Math.max(oldestSequence, newestSequence), "erased too much");
			} else if (step.do === "eraseAll") {
				model.known.clear();
				assert.equal(log.eraseAll(), Status.ok);
				assert.equal(log.newestSequence, 0);
			} else {
				assert.equal(log[step.do](), Status.ok);
			}
		});
		if (!through) {
			armNextCut();
			open();
		}
		if (!through || number % 8 === 0) model.check(log!, heldMin);
	}
	flash.restart();
	open();
	model.check(log!, heldMin);
	const least = Math.min(...flash.wear);
	const most = Math.max(...flash.wear);
	// Each cut may cost one erase more in one place, and eraseAll erases what was erased.
	const uneven = cutIndex * 2 + steps.filter((step) => step.do === "eraseAll").length;
	assert.ok(most - least <= 2 + uneven, `wear ${[...flash.wear]}`);
}

test("appends, restarts and cuts: all acknowledged are there, the ring holds what it must, no sequence twice", () => {
	fc.assert(
		fc.property(
			fc.record({
				geometry: anyGeometry,
				steps: fc.array(fc.oneof({ arbitrary: anyAppend, weight: 9 }, anyOther), { maxLength: 200, size: "max" }),
				cuts: fc.array(anyCut, { maxLength: 12 }),
				tearSeed: fc.nat(),
			}),
			(world) => {
				const { sectorCount, sectorBytes, recordBytes } = world.geometry;
				run(world, recordsHeldMin(sectorCount, sectorBytes, recordBytes));
			},
		),
		{ seed, numRuns },
	);
});

test("with journal steps and erasing too", () => {
	fc.assert(
		fc.property(
			fc.record({
				geometry: anyGeometry,
				steps: fc.array(fc.oneof({ arbitrary: anyAppend, weight: 5 }, anyOther, anyErasing), {
					maxLength: 120,
					size: "max",
				}),
				cuts: fc.array(anyCut, { maxLength: 12 }),
				tearSeed: fc.nat(),
			}),
			(world) => run(world, 0),
		),
		{ seed, numRuns },
	);
});

test("any garbage on flash: nothing throws, what is damaged is counted, and the log goes on", () => {
	fc.assert(
		fc.property(
			anyGeometry,
			fc.nat(150),
			fc.integer({ min: 0, max: 400 }),
			fc.nat(),
			fc.array(fc.record({ at: fc.nat(3071), bytes: fc.uint8Array({ maxLength: 600 }) }), { maxLength: 4 }),
			(geometry, count, flips, tearSeed, smears) => {
				const flash = new FlashSimulator({ ...geometry, seed: tearSeed });
				const model = new LogModel(geometry.recordBytes);
				const first = new RecordLog(flash, 0, geometry.sectorCount, KIND, geometry.recordBytes);
				first.open();
				for (let i = 0; i < count; i++)
					model.append(first, distinct(i, new Uint8Array(Math.min(geometry.recordBytes, i % 61))));
				const oldest = first.oldestSequence;
				const image = flash.image;
				for (const { at, bytes } of smears) {
					const start = at % image.length;
					image.set(bytes.subarray(0, image.length - start), start);
				}
				flash.image = image;
				flash.flipBits(flips);

				const log = new RecordLog(flash, 0, geometry.sectorCount, KIND, geometry.recordBytes);
				assert.equal(log.open(), Status.ok);
				const into = new Uint8Array(geometry.recordBytes);
				let lost = 0;
				for (let sequence = oldest; sequence <= count; sequence++) {
					const status = log.read(sequence, into);
					if (status !== Status.ok) lost++;
					else assert.equal(hex(into.subarray(0, log.readByteLength)), model.known.get(sequence));
				}
				const { tornRecordsSeen, badRecordsSeen, badSectorsSeen } = log.counters;
				const wiped = log.nextSequence <= count || log.oldestSequence > oldest;
				if (lost > 0 && !wiped) assert.ok(tornRecordsSeen + badRecordsSeen + badSectorsSeen > 0, "not counted");
				for (let i = 0; i < 60; i++) {
					const payload = distinct(1000 + i, new Uint8Array(geometry.recordBytes));
					assert.equal(log.append(payload, payload.length), Status.ok);
					assert.equal(log.readNewest(into), Status.ok);
					assert.equal(log.readSequence, log.nextSequence - 1);
				}
				const again = new RecordLog(flash, 0, geometry.sectorCount, KIND, geometry.recordBytes);
				assert.equal(again.open(), Status.ok);
				assert.equal(again.newestSequence, log.newestSequence);
			},
		),
		{ seed, numRuns: numRuns * 3 },
	);
});

test("flash full of anything is opened and used", () => {
	fc.assert(
		fc.property(anyGeometry, fc.nat(), fc.constantFrom(0x00, 0xff, 0x55, -1), (geometry, flipSeed, fill) => {
			const flash = new FlashSimulator({ ...geometry, seed: flipSeed });
			const image = flash.image;
			if (fill >= 0) image.fill(fill);
			else distinct(flipSeed, image);
			flash.image = image;
			const log = new RecordLog(flash, 0, geometry.sectorCount, KIND, geometry.recordBytes);
			assert.equal(log.open(), Status.ok);
			assert.equal(log.counters.badSectorsSeen, fill === 0xff ? 0 : geometry.sectorCount);
			const into = new Uint8Array(geometry.recordBytes);
			assert.equal(log.readNewest(into), Status.notFound);
			for (let i = 0; i < 50; i++) assert.equal(log.append(into, into.length), Status.ok);
		}),
		{ seed, numRuns },
	);
});

test("flash operations that fail or do half of their work: acknowledged records stay, across restarts", () => {
	fc.assert(
		fc.property(
			anyGeometry,
			fc.integer({ min: 0, max: 400 }),
			fc.array(fc.record({ operation: fc.nat(500), done: fc.nat(260), tells: fc.boolean() }), { maxLength: 25 }),
			(geometry, count, faults) => {
				const flash = new FlashSimulator(geometry);
				const at = new Map(faults.map((fault) => [fault.operation, fault]));
				let operations = 0;
				const faulty: NorFlash = {
					sectorBytes: flash.sectorBytes,
					sectorCount: flash.sectorCount,
					read: (address, into, byteLength) => flash.read(address, into, byteLength),
					program(address, from, byteLength) {
						const fault = at.get(operations++);
						const done = Math.min(fault?.done ?? byteLength, byteLength);
						if (done > 0) flash.program(address, from, done);
						return fault?.tells ? Status.busy : Status.ok;
					},
					erase(sectorIndex) {
						const fault = at.get(operations++);
						if (fault === undefined) return flash.erase(sectorIndex);
						flash.powerCut(1, fault.done);
						survives(() => flash.erase(sectorIndex));
						flash.restart();
						return fault.tells ? Status.busy : Status.ok;
					},
				};
				const model = new LogModel(geometry.recordBytes);
				let log = new RecordLog(faulty, 0, geometry.sectorCount, KIND, geometry.recordBytes);
				assert.equal(log.open(), Status.ok);
				for (let i = 0; i < count; i++) {
					model.append(log, distinct(i, new Uint8Array(geometry.recordBytes)));
					if (i % 13 === 12) log.prepare();
					if (i % 29 !== 28) continue;
					model.check(log, 0);
					log = new RecordLog(faulty, 0, geometry.sectorCount, KIND, geometry.recordBytes);
					assert.equal(log.open(), Status.ok);
					// What stopped the erase of the oldest sector may let it be read again: only the newest must be right.
					const into = new Uint8Array(geometry.recordBytes);
					const newest = Math.max(0, ...model.known.keys());
					assert.ok(log.newestSequence >= newest, `newest ${log.newestSequence} of ${newest}`);
					for (let sequence = log.oldestSequence; sequence <= newest; sequence++) {
						const status = log.read(sequence, into);
						if (status === Status.ok) assert.ok(model.attempted.has(hex(into)), "never written");
						else if (sequence > newest - 3) assert.ok(!model.known.has(sequence), `${sequence} is lost`);
					}
				}
			},
		),
		{ seed, numRuns },
	);
});
