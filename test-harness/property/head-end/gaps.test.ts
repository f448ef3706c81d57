import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { missingRanges, Ranges } from "../../head-end/ranges.js";
import { SequenceLog } from "../../head-end/sequence-log.js";
import { seed } from "../../seed.js";

const SPACE = 64;
const range = fc.tuple(fc.nat(SPACE), fc.nat(12)).map(([first, length]) => ({ first, next: first + length }));
const step = fc.record({ add: fc.boolean(), range });

/** The same set, as plainly as it can be written. */
function naive(steps: readonly { add: boolean; range: { first: number; next: number } }[]): Set<number> {
	const members = new Set<number>();
	for (const { add, range: each } of steps)
		for (let sequence = each.first; sequence < each.next; sequence++)
			if (add) members.add(sequence);
			else members.delete(sequence);
	return members;
}

function build(steps: readonly { add: boolean; range: { first: number; next: number } }[]): Ranges {
	const ranges = new Ranges();
	for (const { add, range: each } of steps)
		if (add) ranges.add(each.first, each.next);
		else ranges.remove(each.first, each.next);
	return ranges;
}

test("ranges hold exactly what was added and not taken out, ordered and joined", () => {
	fc.assert(
		fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
			const members = naive(steps);
			const ranges = build(steps);
			const list = ranges.list();
			assert.equal(ranges.count, members.size);
			for (let index = 0; index < list.length; index++) {
				assert.ok(list[index]!.first < list[index]!.next);
				if (index > 0) assert.ok(list[index - 1]!.next < list[index]!.first, "ranges neither overlap nor touch");
			}
			const sorted = [...members].sort((a, b) => a - b);
			for (let sequence = 0; sequence < SPACE + 14; sequence++) {
				assert.equal(ranges.has(sequence), members.has(sequence), `has ${sequence}`);
				assert.equal(ranges.below(sequence), sorted.filter((each) => each < sequence).pop() ?? Number.NaN);
				assert.equal(ranges.above(sequence), sorted.find((each) => each > sequence) ?? Number.NaN);
			}
			assert.equal(ranges.last(), sorted[sorted.length - 1] ?? Number.NaN);
		}),
		{ seed, numRuns: 400 },
	);
});

test("missing is what is wanted and neither here nor gone, nothing else", () => {
	fc.assert(
		fc.property(
			fc.array(step, { maxLength: 20 }),
			fc.array(step, { maxLength: 10 }),
			range,
			fc.nat(4),
			(presentSteps, goneSteps, wanted, rangesMax) => {
				const present = naive(presentSteps);
				const gone = naive(goneSteps);
				const found = missingRanges(wanted.first, wanted.next, build(presentSteps), build(goneSteps));
				const expected: number[] = [];
				for (let sequence = wanted.first; sequence < wanted.next; sequence++)
					if (!present.has(sequence) && !gone.has(sequence)) expected.push(sequence);
				const listed = found.flatMap(({ first, next }) => Array.from({ length: next - first }, (_, at) => first + at));
				assert.deepEqual(listed, expected);
				assert.deepEqual(
					missingRanges(wanted.first, wanted.next, build(presentSteps), build(goneSteps), rangesMax),
					found.slice(0, rangesMax),
				);
			},
		),
		{ seed, numRuns: 400 },
	);
});

test("however rows are lost, doubled and mixed up: after every missing row was asked, all are here once", () => {
	fc.assert(
		fc.property(
			fc.nat(30),
			fc.integer({ min: 1, max: 80 }),
			fc.array(fc.record({ at: fc.nat(1000), hello: fc.boolean() }), { maxLength: 60 }),
			(oldest, count, deliveries) => {
				const log = new SequenceLog();
				const next = oldest + count;
				log.told(oldest, oldest, false, 0);
				let delivered = oldest;
				for (const { at, hello } of deliveries) {
					// hellos tell the truth of their time; rows come in any order and any number
					delivered = Math.max(delivered, oldest + (at % count) + 1);
					if (hello) assert.equal(log.told(oldest, Math.max(delivered, log.next), false, 0), "agreed");
					else if (log.classify(oldest + (at % count)) === "new") log.stored(oldest + (at % count), 0);
				}
				log.told(oldest, next, false, 0);
				let asked = 0;
				for (let missing = log.missing(1)[0]; missing; missing = log.missing(1)[0]) {
					assert.ok(++asked <= count, "every question makes progress");
					assert.ok(missing.first >= oldest && missing.next <= next, "nothing is asked that does not exist");
					for (let sequence = missing.first; sequence < missing.next; sequence++) log.stored(sequence, 0);
				}
				assert.deepEqual(log.present.list(), [{ first: oldest, next }]);
				assert.equal(log.contiguousNext(), next);
				assert.equal(log.series, 0);
			},
		),
		{ seed, numRuns: 400 },
	);
});

test("a restart knows what was known: position, gone rows and series survive the record", () => {
	fc.assert(
		fc.property(
			fc.nat(20),
			fc.nat(50),
			fc.array(fc.nat(70), { maxLength: 40 }),
			fc.array(range, { maxLength: 5 }),
			(oldest, count, rows, goneRanges) => {
				const log = new SequenceLog();
				log.told(oldest, oldest + count, false, 5);
				for (const each of goneRanges) log.gone.add(each.first, each.next);
				const record = JSON.parse(JSON.stringify(log.toRecord()));
				for (const sequence of rows) log.stored(sequence, 5);
				const again = new SequenceLog();
				again.fromRecord(record);
				for (const sequence of [...new Set(rows)].sort((a, b) => a - b)) again.stored(sequence, 5);
				assert.deepEqual(again.missing(), log.missing());
				assert.equal(again.next, log.next);
				assert.equal(again.first, log.first);
				assert.equal(again.series, log.series);
			},
		),
		{ seed, numRuns: 300 },
	);
});
