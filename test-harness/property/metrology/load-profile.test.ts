import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import {
	HOLD_SECONDS_MAX,
	LOAD_PROFILE_STATE_BYTES,
	LoadProfile,
	type LoadProfileRow,
	ProfileStatus,
} from "../../../src/metrology/load-profile.js";
import {
	decodeRegisters,
	EnergyRegisters,
	encodeRegisters,
	Netting,
	REGISTER_BYTES,
} from "../../../src/metrology/registers.js";
import { seed } from "../../seed.js";

/** What happens to a meter. */
type Step =
	| { readonly kind: "run"; readonly seconds: number; readonly watts: number }
	| { readonly kind: "cut"; readonly seconds: number; readonly uncommitted: boolean }
	| { readonly kind: "set"; readonly seconds: number }
	| { readonly kind: "invalid"; readonly seconds: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
	{
		weight: 5,
		arbitrary: fc.record({
			kind: fc.constant("run" as const),
			seconds: fc.integer({ min: 1, max: 2000 }),
			watts: fc.integer({ min: -20_000, max: 20_000 }),
		}),
	},
	{
		weight: 2,
		arbitrary: fc.record({
			kind: fc.constant("cut" as const),
			seconds: fc.integer({ min: 0, max: 10_000 }),
			uncommitted: fc.boolean(),
		}),
	},
	{
		weight: 2,
		arbitrary: fc.record({
			kind: fc.constant("set" as const),
			seconds: fc.integer({ min: -HOLD_SECONDS_MAX, max: 20_000 }),
		}),
	},
	{
		weight: 1,
		arbitrary: fc.record({ kind: fc.constant("invalid" as const), seconds: fc.integer({ min: 1, max: 2000 }) }),
	},
);

test("rows add up to the registers under any power cuts and clock sets; no time stamp twice, all aligned", () => {
	fc.assert(
		fc.property(
			fc.array(anyStep, { minLength: 1, maxLength: 30 }),
			fc.constantFrom(60, 300, 900, 3600),
			(steps, period) => {
				let registers = new EnergyRegisters(Netting.vectorSum, 1000);
				let profile = new LoadProfile(period);
				const rows: LoadProfileRow[] = [];
				const listener = { intervalEnded: (row: LoadProfileRow) => void rows.push({ ...row }) };
				profile.listener = listener;
				let utc = 800_000_000 + 123;
				let highest = utc;
				const commit = new DataView(new ArrayBuffer(REGISTER_BYTES + LOAD_PROFILE_STATE_BYTES));
				const save = (): void => {
					encodeRegisters(registers, commit);
					profile.encodeState(commit, REGISTER_BYTES);
				};
				save();
				let measured = 0;
				let stored = rows.length;
				const run = (seconds: number, watts: number, valid: boolean): void => {
					const energies = new Float64Array([watts * 10_000_000, 0, Math.abs(watts) * 10_000_000]);
					for (let s = 0; s < seconds; s += 10) {
						utc += 10;
						registers.add(energies, 1);
						measured += 10;
						profile.advance(valid ? utc : Number.NaN, 10_000, registers);
						// the store writes registers, state and row as one
						if (rows.length !== stored) {
							stored = rows.length;
							save();
						}
					}
				};
				for (const step of steps) {
					switch (step.kind) {
						case "run":
							run(step.seconds, step.watts, true);
							break;
						case "invalid":
							run(step.seconds, 1000, false);
							break;
						case "set":
							// all steps back together stay within the hold: beyond it time stamps may repeat, see below
							highest = Math.max(highest, utc);
							utc = Math.max(highest - HOLD_SECONDS_MAX, utc + step.seconds);
							profile.clockSet(utc, registers);
							if (rows.length !== stored) {
								stored = rows.length;
								save();
							}
							break;
						case "cut": {
							if (!step.uncommitted) save();
							registers = new EnergyRegisters(Netting.vectorSum, 1000);
							profile = new LoadProfile(period);
							profile.listener = listener;
							assert.equal(decodeRegisters(commit, REGISTER_BYTES, registers), Status.ok);
							const newest = rows.at(-1)?.intervalStartSeconds ?? Number.NaN;
							assert.equal(profile.restoreState(commit, REGISTER_BYTES, LOAD_PROFILE_STATE_BYTES, newest), Status.ok);
							utc += step.seconds;
							profile.advance(utc, 0, registers);
							if (rows.length !== stored) {
								stored = rows.length;
								save();
							}
							break;
						}
					}
				}
				let imported = 0;
				let exported = 0;
				let duration = 0;
				const starts = new Set<number>();
				for (const row of rows) {
					assert.equal(row.intervalStartSeconds % period, 0, "aligned");
					assert.ok(!starts.has(row.intervalStartSeconds), `time stamp ${row.intervalStartSeconds} twice`);
					starts.add(row.intervalStartSeconds);
					assert.ok(
						row.activeImportMilliwattHours >= imported && row.activeExportMilliwattHours >= exported,
						"monotone",
					);
					imported = row.activeImportMilliwattHours;
					exported = row.activeExportMilliwattHours;
					duration += row.durationSeconds;
				}
				// what is not in a row yet is in the open interval: nothing lost, nothing twice
				assert.ok(imported <= registers.activeImportMilliwattHours);
				assert.ok(exported <= registers.activeExportMilliwattHours);
				assert.ok(duration <= measured + rows.length, "no second counted twice");
				const end = rows.length;
				run(2 * period + HOLD_SECONDS_MAX + 7200, 1000, true);
				assert.ok(rows.length > end, "rows go on");
				const last = rows.at(-1)!;
				assert.ok(last.activeImportMilliwattHours > imported);
			},
		),
		{ seed, numRuns: 200 },
	);
});

test("a clock that went back by more than the hold, in one step or in many: time stamps repeat, flagged, energy adds up", () => {
	fc.assert(
		fc.property(fc.array(fc.integer({ min: -3000, max: -1000 }), { minLength: 2, maxLength: 8 }), (steps) => {
			const registers = new EnergyRegisters(Netting.vectorSum, 1000);
			const profile = new LoadProfile(900);
			const rows: LoadProfileRow[] = [];
			profile.listener = { intervalEnded: (row) => void rows.push({ ...row }) };
			let utc = 800_000_123;
			const energies = new Float64Array([36_000_000, 0, 36_000_000]);
			const run = (seconds: number): void => {
				for (let s = 0; s < seconds; s += 10) {
					utc += 10;
					registers.add(energies, 1);
					profile.advance(utc, 10_000, registers);
				}
			};
			run(4000);
			for (const step of steps) {
				utc += step;
				profile.clockSet(utc, registers);
				run(300);
			}
			run(12_000);
			let energy = 0;
			const seen = new Set<number>();
			for (const row of rows) {
				assert.ok(
					row.activeImportMilliwattHours > energy || row.durationSeconds === 0,
					"no row takes energy of another",
				);
				energy = row.activeImportMilliwattHours;
				seen.add(row.intervalStartSeconds);
			}
			if (seen.size < rows.length) assert.ok(rows.some((row) => (row.status & ProfileStatus.clockAdjusted) !== 0));
			assert.ok(registers.activeImportMilliwattHours - energy <= 900 * 10, "only the open interval is missing");
		}),
		{ seed, numRuns: 200 },
	);
});
