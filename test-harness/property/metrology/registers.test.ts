import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import {
	decodeRegisters,
	EnergyRegisters,
	encodeRegisters,
	Netting,
	REGISTER_BYTES,
	Register,
} from "../../../src/metrology/registers.js";
import { seed } from "../../seed.js";

const UNIT = 3_600_000n;

/** A window: mW·ms and mvar·ms of up to three phases; up to 69 kW for 222 ms each. */
const anyWindow = (phases: number) =>
	fc.record({
		active: fc.array(fc.integer({ min: -15_000_000_000, max: 15_000_000_000 }), {
			minLength: phases,
			maxLength: phases,
		}),
		reactive: fc.array(fc.integer({ min: -15_000_000_000, max: 15_000_000_000 }), {
			minLength: phases,
			maxLength: phases,
		}),
		tariff: fc.integer({ min: 1, max: 4 }),
	});

const anyRun = fc
	.integer({ min: 1, max: 3 })
	.chain((phases) =>
		fc.record({ phases: fc.constant(phases), windows: fc.array(anyWindow(phases), { minLength: 1, maxLength: 60 }) }),
	);

function feed(
	registers: EnergyRegisters,
	phases: number,
	window: { active: number[]; reactive: number[]; tariff: number },
): void {
	const energies = new Float64Array(3 * phases);
	for (let p = 0; p < phases; p++) {
		energies[p] = window.active[p]!;
		energies[phases + p] = window.reactive[p]!;
		energies[2 * phases + p] = Math.round(Math.hypot(window.active[p]!, window.reactive[p]!));
	}
	registers.tariff = window.tariff;
	registers.add(energies, phases);
}

function exact(registers: EnergyRegisters, netting: Netting, register: Register): bigint {
	return BigInt(registers.value(netting, register)) * UNIT + BigInt(registers.remainder(netting, register));
}

const positive = (value: bigint): bigint => (value > 0n ? value : 0n);

test("every register is the exact sum; netting identities, tariffs, pulses, monotone", () => {
	fc.assert(
		fc.property(
			anyRun,
			fc.constantFrom(Netting.perPhase, Netting.vectorSum),
			fc.integer({ min: 1, max: 100_000 }),
			(run, legal, constant) => {
				const registers = new EnergyRegisters(legal, constant);
				let perPhase = 0n;
				let vector = 0n;
				let net = 0n;
				const previous = new Float64Array(16);
				for (const window of run.windows) {
					feed(registers, run.phases, window);
					const sum = window.active.reduce((total, value) => total + BigInt(value), 0n);
					for (const value of window.active) perPhase += positive(BigInt(value));
					vector += positive(sum);
					net += sum;
					for (const netting of [Netting.perPhase, Netting.vectorSum])
						for (let r = 0; r < 8; r++) {
							const now = registers.value(netting, r as Register);
							assert.ok(now >= previous[netting * 8 + r]!, "monotone");
							previous[netting * 8 + r] = now;
						}
					let imported = 0;
					let exported = 0;
					for (let tariff = 1; tariff <= 4; tariff++) {
						imported += registers.tariffMilliwattHours(tariff, false);
						exported += registers.tariffMilliwattHours(tariff, true);
					}
					assert.equal(imported, registers.activeImportMilliwattHours, "tariffs add up");
					assert.equal(exported, registers.activeExportMilliwattHours, "tariffs add up");
					const energy = BigInt(imported) + BigInt(exported);
					assert.equal(BigInt(registers.pulses), (energy * BigInt(constant)) / 1_000_000n, "pulses");
				}
				const { activeImport, activeExport } = Register;
				assert.equal(exact(registers, Netting.perPhase, activeImport), perPhase);
				assert.equal(exact(registers, Netting.vectorSum, activeImport), vector);
				for (const netting of [Netting.perPhase, Netting.vectorSum])
					assert.equal(exact(registers, netting, activeImport) - exact(registers, netting, activeExport), net);
				assert.ok(vector <= perPhase);
				assert.ok(
					exact(registers, Netting.vectorSum, activeExport) <= exact(registers, Netting.perPhase, activeExport),
				);
				if (run.phases === 1) assert.equal(vector, perPhase);
			},
		),
		{ seed, numRuns: 300 },
	);
});

test("a window feeds one quadrant of the vector set, and one of each phase's", () => {
	fc.assert(
		fc.property(anyWindow(3), (window) => {
			const registers = new EnergyRegisters(Netting.vectorSum, 1000);
			feed(registers, 3, window);
			const fed = [2, 3, 4, 5].filter((r) => exact(registers, Netting.vectorSum, r as Register) > 0n);
			const sum = window.reactive.reduce((total, value) => total + value, 0);
			assert.equal(fed.length, sum === 0 ? 0 : 1);
			const sets = [0, 1].map((side) => exact(registers, Netting.vectorSum, side as Register) > 0n);
			assert.ok(!(sets[0] && sets[1]), "import and export of one window exclude each other");
			let total = 0n;
			for (let r = 2; r < 6; r++) total += exact(registers, Netting.perPhase, r as Register);
			assert.equal(
				total,
				window.reactive.reduce((all, value) => all + BigInt(Math.abs(value)), 0n),
			);
		}),
		{ seed, numRuns: 500 },
	);
});

test("a million windows of a small power: still within 1 mWh of the exact energy", () => {
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 20_000_000 }), (energy) => {
			const registers = new EnergyRegisters(Netting.vectorSum, 1000);
			const energies = new Float64Array([energy, 0, energy]);
			for (let i = 0; i < 1_000_000; i++) registers.add(energies, 1);
			const error = BigInt(energy) * 1_000_000n - BigInt(registers.activeImportMilliwattHours) * UNIT;
			assert.ok(error >= 0n && error < UNIT);
		}),
		{ seed, numRuns: 3 },
	);
});

test("stored and restored registers are the same, whatever they hold; junk is a status, never a throw", () => {
	fc.assert(
		fc.property(anyRun, fc.uint8Array({ minLength: REGISTER_BYTES, maxLength: REGISTER_BYTES }), (run, junk) => {
			const registers = new EnergyRegisters(Netting.vectorSum, 1000);
			for (const window of run.windows) feed(registers, run.phases, window);
			const view = new DataView(new ArrayBuffer(REGISTER_BYTES));
			encodeRegisters(registers, view);
			const restored = new EnergyRegisters(Netting.vectorSum, 1000);
			assert.equal(decodeRegisters(view, REGISTER_BYTES, restored), Status.ok);
			const again = new DataView(new ArrayBuffer(REGISTER_BYTES));
			encodeRegisters(restored, again);
			assert.deepEqual(new Uint8Array(again.buffer), new Uint8Array(view.buffer));
			const before = new Uint8Array(again.buffer.slice(0));
			if (decodeRegisters(new DataView(junk.buffer), junk.length, restored) !== Status.ok) {
				encodeRegisters(restored, again);
				assert.deepEqual(new Uint8Array(again.buffer), before, "unchanged");
			}
		}),
		{ seed, numRuns: 200 },
	);
});
