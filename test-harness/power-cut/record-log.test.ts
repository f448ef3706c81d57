import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import type { RecordLog } from "../../src/storage/record-log.js";
import { FlashSimulator } from "../board/flash-simulator.js";
import {
	distinct,
	hex,
	LogModel,
	openSmall,
	payloadOf,
	SMALL,
	SMALL_SLOTS,
	survives,
	TORN_BYTES,
} from "./log-model.js";

const HELD_MIN = (SMALL.sectorCount - 1) * SMALL_SLOTS;
const STRICT = Object.freeze({ ...SMALL, writeBytes: 16, writeOnce: true });

/** One state to start from: flash content, and what the outside knows of it. */
interface Start {
	readonly image: Uint8Array;
	readonly model: LogModel;
	readonly number: number;
}

/** A log after `count` appends, with a torn one now and then. */
function startAfter(count: number, tornEvery = Number.POSITIVE_INFINITY): Start {
	const flash = new FlashSimulator(STRICT);
	const model = new LogModel();
	let log = openSmall(flash);
	let number = 1;
	for (; number <= count; number++) {
		if (number % tornEvery === 0) {
			flash.powerCut(1, number % 30);
			survives(() => model.append(log, payloadOf(number)));
			flash.restart();
			log = openSmall(flash);
			model.check(log, 0);
		} else {
			assert.equal(model.append(log, payloadOf(number)), Status.ok);
		}
	}
	return { image: flash.image, model, number };
}

/** Runs `action` with a cut at operation 1, 2, … until it gets through; `after` sees each state that a cut left. */
function atEveryCut(
	start: Start,
	tornBytes: number,
	action: (flash: FlashSimulator, model: LogModel) => void,
	after: (flash: FlashSimulator, model: LogModel, where: string) => void,
): number {
	for (let operation = 1; ; operation++) {
		const flash = new FlashSimulator({ ...STRICT, image: start.image });
		const model = start.model.copy();
		flash.powerCut(operation, tornBytes);
		const finished = survives(() => action(flash, model));
		flash.restart();
		after(flash, model, `cut ${operation}, torn ${tornBytes}`);
		if (finished) return operation - 1;
	}
}

/** After any cut: opens, is right, stays right, and goes on for more than a lap. */
function goesOn(flash: FlashSimulator, model: LogModel, number: number, heldMin: number): void {
	let log = openSmall(flash);
	model.check(log, heldMin);
	for (let i = 0; i < 3; i++) assert.equal(model.append(log, payloadOf(number + 1000 + i)), Status.ok);
	log = openSmall(flash);
	model.check(log, heldMin);
}

test("a cut at every operation of an append, at every fill of the ring", () => {
	let cuts = 0;
	const laps = SMALL.sectorCount * SMALL_SLOTS * 2 + 3;
	for (let count = 0; count < laps; count++) {
		const start = startAfter(count, count % 2 === 0 ? 5 : undefined);
		for (const tornBytes of TORN_BYTES) {
			cuts += atEveryCut(
				start,
				tornBytes,
				(flash, model) => {
					const log = openSmall(flash);
					model.append(log, payloadOf(start.number));
					model.append(log, payloadOf(start.number + 1));
				},
				(flash, model) => goesOn(flash, model, start.number, HELD_MIN),
			);
		}
	}
	console.log(`${cuts} cuts`);
	assert.ok(cuts > 2000, `${cuts}`);
});

test("a cut in an append, a cut in the recovery from it, and a cut in the recovery from that", () => {
	let opens = 0;
	// Fills at which the next append takes a new sector: first lap, later lap.
	for (const count of [0, 1, SMALL_SLOTS, 4 * SMALL_SLOTS, 7 * SMALL_SLOTS, 7 * SMALL_SLOTS + 3]) {
		const start = startAfter(count);
		const recover = (level: number, flash: FlashSimulator, model: LogModel): void => {
			if (level === 0) {
				goesOn(flash, model, start.number, HELD_MIN);
				return;
			}
			for (const tornBytes of [0, 1, 8, 16, 33, 100, 256]) {
				atEveryCut(
					{ image: flash.image, model, number: start.number },
					tornBytes,
					(inner) => {
						openSmall(inner);
						opens++;
					},
					(inner, innerModel) => recover(level - 1, inner, innerModel),
				);
			}
		};
		for (const tornBytes of [0, 1, 5, 16, 17, 31, 33, 64, 200, 255, 256])
			atEveryCut(
				start,
				tornBytes,
				(flash, model) => {
					const log = openSmall(flash);
					for (let i = 0; i < 2; i++) model.append(log, payloadOf(start.number + i));
				},
				(flash, model) => recover(2, flash, model),
			);
	}
	console.log(`${opens} recoveries`);
	assert.ok(opens > 1000, `${opens}`);
});

test("a cut at every operation of prepare, and of appends that use what it prepared", () => {
	for (let count = 0; count < 5 * SMALL_SLOTS; count++) {
		const start = startAfter(count);
		for (const tornBytes of TORN_BYTES)
			atEveryCut(
				start,
				tornBytes,
				(flash, model) => {
					const log = openSmall(flash);
					assert.equal(log.prepare(), Status.ok);
					const { erases } = flash.counters;
					model.append(log, payloadOf(start.number));
					assert.equal(flash.counters.erases, erases, "an append after prepare erases nothing");
				},
				(flash, model) => goesOn(flash, model, start.number, HELD_MIN),
			);
	}
});

/** 20 bytes that occur nowhere else. */
function secretOf(number: number): Uint8Array {
	return distinct(number, new Uint8Array(20));
}

/** The order of a key journal: new record in a sector of its own, commit, erase the old, act. */
function journalStep(log: RecordLog, model: LogModel, number: number): void {
	assert.equal(log.startSector(), Status.ok);
	if (model.append(log, secretOf(number)) !== Status.ok) return;
	assert.equal(log.eraseBefore(log.newestSequence), Status.ok);
}

test("journal order: after recovery nothing older than the newest record is left in flash", () => {
	let start: Start = { image: new FlashSimulator(STRICT).image, model: new LogModel(), number: 1 };
	for (let step = 1; step < 12; step++) {
		for (const tornBytes of TORN_BYTES)
			atEveryCut(
				start,
				tornBytes,
				(flash, model) => journalStep(openSmall(flash), model, step + 1000),
				(flash, model) => {
					let log = openSmall(flash);
					assert.equal(log.eraseBefore(log.newestSequence), Status.ok);
					model.check(log, 0);
					const newest = new Uint8Array(SMALL.recordBytes);
					const status = log.readNewest(newest);
					if (step > 1) assert.equal(status, Status.ok, "old or new, never neither");
					const isNew = status === Status.ok && Buffer.from(newest).equals(secretOf(step + 1000));
					const image = Buffer.from(flash.image);
					// A record whose checksum was cut holds the new secret too, but it never was in use.
					if (isNew) assert.ok(image.includes(hex(secretOf(step + 1000)), 0, "hex"));
					if (step > 1)
						assert.equal(image.includes(hex(secretOf(step + 999)), 0, "hex"), !isNew, "old or new, never both");
					journalStep(log, model, step + 5000);
					log = openSmall(flash);
					model.check(log, 0);
				},
			);
		const flash = new FlashSimulator({ ...STRICT, image: start.image });
		journalStep(openSmall(flash), start.model, step + 1000);
		start = { image: flash.image, model: start.model, number: step + 1 };
	}
});

test("the newest good record outlives any number of torn appends", () => {
	for (const tornBytes of [0, 1, 9, 17, 20]) {
		const start = startAfter(3 * SMALL_SLOTS + 2);
		const flash = new FlashSimulator({ ...STRICT, image: start.image });
		const newest = openSmall(flash).newestSequence;
		const into = new Uint8Array(SMALL.recordBytes);
		for (let torn = 0; torn < 200; torn++) {
			const log = openSmall(flash);
			assert.equal(log.newestSequence, newest);
			assert.equal(log.readNewest(into), Status.ok);
			// Let headers through, tear the record.
			const operation = flash.operations;
			const image = flash.image;
			log.append(secretOf(torn), 20);
			const last = flash.operations - operation;
			flash.image = image;
			flash.powerCut(last, tornBytes);
			assert.equal(
				survives(() => openSmall(flash).append(secretOf(torn), 20)),
				false,
			);
			flash.restart();
		}
	}
});
