import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import { CountedEnergy, counterDelta, UpCounter } from "../../../src/front-end/counted-energy.js";
import { seed } from "../../seed.js";

const MODULUS = 2 ** 24;

test("counted energy: however it is cut into reads, nothing is lost and nothing goes back", () => {
	fc.assert(
		fc.property(
			fc.double({ min: 1e-3, max: 5000, noNaN: true }),
			fc.array(fc.integer({ min: -5000, max: 5000 }), { maxLength: 200 }),
			(weight, counts) => {
				const cut = new CountedEnergy();
				cut.setWeight(weight);
				let imported = 0;
				let exported = 0;
				for (const count of counts) {
					cut.add(count);
					assert.ok(cut.importMilliwattHours >= 0 && cut.exportMilliwattHours >= 0, "goes back");
					imported += cut.importMilliwattHours;
					exported += cut.exportMilliwattHours;
					cut.taken();
				}
				const whole = new CountedEnergy();
				whole.setWeight(weight);
				whole.add(counts.reduce((sum, count) => sum + Math.max(count, 0), 0));
				whole.add(counts.reduce((sum, count) => sum + Math.min(count, 0), 0));
				assert.equal(imported, whole.importMilliwattHours, "import");
				assert.equal(exported, whole.exportMilliwattHours, "export");
			},
		),
		{ seed },
	);
});

test("counted energy: an offset is taken off to the last part, and no total goes back", () => {
	fc.assert(
		fc.property(
			fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -900_000, max: 900_000 })), {
				maxLength: 200,
			}),
			(reads) => {
				const energy = new CountedEnergy();
				energy.setWeight(187);
				let total = 0;
				let exact = 0;
				for (const [count, offset] of reads) {
					energy.add(count, offset);
					exact += count * 187 - offset / 3_600_000;
					assert.ok(energy.importMilliwattHours >= 0, "goes back");
					total += energy.importMilliwattHours;
					energy.taken();
					assert.ok(Math.abs(total + energy.remainderMilliwattHours - exact) < 1e-5, "lost");
				}
			},
		),
		{ seed },
	);
});

test("counter delta: any walk of less than half a turn a step, over the wrap in both directions", () => {
	fc.assert(
		fc.property(
			fc.integer({ min: 0, max: MODULUS - 1 }),
			fc.array(fc.integer({ min: -MODULUS / 2, max: MODULUS / 2 - 1 }), { maxLength: 50 }),
			(start, steps) => {
				let at = start;
				for (const step of steps) {
					const next = (((at + step) % MODULUS) + MODULUS) % MODULUS;
					assert.equal(counterDelta(at, next, MODULUS), step);
					at = next;
				}
			},
		),
		{ seed },
	);
});

test("up counter: a restart costs what came since the last value, wherever it comes", () => {
	fc.assert(
		fc.property(
			fc.integer({ min: 0, max: 65_535 }),
			fc.array(fc.tuple(fc.integer({ min: 0, max: 100 }), fc.boolean()), { minLength: 1, maxLength: 100 }),
			(start, steps) => {
				const counter = new UpCounter(65_536);
				let at = start;
				let truth = 0;
				let charged = 0;
				let restarts = 0;
				assert.equal(counter.advance(at, 0), Status.ok);
				for (const [step, isRestart] of steps) {
					if (isRestart) {
						restarts++;
						at = 0;
					}
					truth += step;
					at = (at + step) % 65_536;
					// twice, as the next polls of a chip that does not move would be
					for (let i = 0; i < 3; i++) {
						counter.advance(at, 100);
						charged += counter.delta;
					}
				}
				assert.ok(charged <= truth + 100 * restarts, `charged ${charged} of ${truth}`);
				if (restarts === 0) assert.equal(charged, truth);
			},
		),
		{ seed },
	);
});
