import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import {
	decodeRegisters,
	EnergyRegisters,
	encodeRegisters,
	Netting,
	REGISTER_BYTES,
	Register,
} from "../../../src/metrology/registers.js";

/** One hour of constant powers in W and var, a window of 200 ms at a time. */
function hour(
	registers: EnergyRegisters,
	watts: readonly number[],
	vars: readonly number[] = watts.map(() => 0),
): void {
	const energies = new Float64Array(3 * watts.length);
	watts.forEach((power, p) => {
		energies[p] = power * 200_000;
		energies[watts.length + p] = vars[p]! * 200_000;
		energies[2 * watts.length + p] = Math.hypot(power, vars[p]!) * 200_000;
	});
	for (let i = 0; i < energies.length; i++) energies[i] = Math.round(energies[i]!);
	for (let window = 0; window < 18_000; window++) registers.add(energies, watts.length);
}

test("netting of +2000, -1500, +300 W for an hour: the example of the design", () => {
	const registers = new EnergyRegisters(Netting.vectorSum, 1000);
	hour(registers, [2000, -1500, 300]);
	assert.equal(registers.value(Netting.perPhase, Register.activeImport), 2_300_000);
	assert.equal(registers.value(Netting.perPhase, Register.activeExport), 1_500_000);
	assert.equal(registers.value(Netting.vectorSum, Register.activeImport), 800_000);
	assert.equal(registers.value(Netting.vectorSum, Register.activeExport), 0);
	assert.equal(registers.phaseMilliwattHours(0, false), 2_000_000);
	assert.equal(registers.phaseMilliwattHours(1, true), 1_500_000);
	assert.equal(registers.phaseMilliwattHours(2, false), 300_000);
	assert.equal(registers.pulses, 800);
});

test("quadrants: each sign of P and Q has one register", () => {
	for (const [watts, vars, register] of [
		[100, 50, Register.reactiveQuadrant1],
		[-100, 50, Register.reactiveQuadrant2],
		[-100, -50, Register.reactiveQuadrant3],
		[100, -50, Register.reactiveQuadrant4],
	] as const) {
		const registers = new EnergyRegisters(Netting.perPhase, 1000);
		hour(registers, [watts], [vars]);
		for (let r = 2; r < 6; r++)
			for (const set of [Netting.perPhase, Netting.vectorSum])
				assert.equal(registers.value(set, r as Register), r === register ? 50_000 : 0);
		assert.equal(registers.reactiveImportMillivarHours, vars > 0 ? 50_000 : 0);
		assert.equal(registers.reactiveExportMillivarHours, vars < 0 ? 50_000 : 0);
	}
});

test("tariffs and pulses follow the legal set and add up to it", () => {
	const registers = new EnergyRegisters(Netting.perPhase, 333);
	for (let tariff = 1; tariff <= 4; tariff++) {
		registers.tariff = tariff;
		hour(registers, [777.7, -123.4, 55.5]);
	}
	const sum = (exported: boolean) =>
		[1, 2, 3, 4].reduce((total, tariff) => total + registers.tariffMilliwattHours(tariff, exported), 0);
	assert.equal(sum(false), registers.activeImportMilliwattHours);
	assert.equal(sum(true), registers.activeExportMilliwattHours);
	const energy = registers.activeImportMilliwattHours + registers.activeExportMilliwattHours;
	assert.equal(registers.pulses, Math.floor((energy * 333) / 1_000_000));
});

test("a register is exact to 2^53 and beyond every 32-bit and float32 trap", () => {
	const registers = new EnergyRegisters(Netting.vectorSum, 1);
	const energies = new Float64Array([0, 0, 0]);
	energies[0] = 9_000_000_000_000; // 2 500 Wh at once
	for (let i = 0; i < 100; i++) registers.add(energies, 1);
	energies[0] = 1;
	for (let i = 0; i < 3_600_000; i++) registers.add(energies, 1);
	assert.equal(registers.value(Netting.vectorSum, Register.activeImport), 250_000_001);
	assert.equal(registers.remainder(Netting.vectorSum, Register.activeImport), 0);
});

test("energy that is no number, too large or a fraction is our mistake, not a register", () => {
	const registers = new EnergyRegisters(Netting.vectorSum, 1000);
	for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
		assert.throws(() => registers.add(new Float64Array([bad, 0, 0]), 1), InvariantError);
	for (const bad of [0, 5, 1.5, Number.NaN])
		assert.throws(() => {
			registers.tariff = bad;
		}, InvariantError);
	assert.throws(() => new EnergyRegisters(Netting.vectorSum, 0), InvariantError);
});

test("registers are restored as they were, and never backwards", () => {
	const registers = new EnergyRegisters(Netting.vectorSum, 1000);
	hour(registers, [1234.5, -67.8, 9.1], [12, -34, 56]);
	const view = new DataView(new ArrayBuffer(REGISTER_BYTES + 3));
	assert.equal(encodeRegisters(registers, view, 3), REGISTER_BYTES);
	const restored = new EnergyRegisters(Netting.vectorSum, 1000);
	assert.equal(decodeRegisters(view, REGISTER_BYTES, restored, 3), Status.ok);
	const again = new DataView(new ArrayBuffer(REGISTER_BYTES));
	encodeRegisters(restored, again);
	assert.deepEqual(Buffer.from(again.buffer), Buffer.from(view.buffer, 3));
	hour(restored, [1, 1, 1]);
	assert.equal(decodeRegisters(view, REGISTER_BYTES, restored, 3), Status.outOfOrder);
	const before = new DataView(new ArrayBuffer(REGISTER_BYTES));
	encodeRegisters(restored, before);
	hour(restored, [1, 1, 1]);
	assert.equal(decodeRegisters(before, REGISTER_BYTES, restored), Status.outOfOrder, "one hour back");
});

test("the storage form of version 1 does not change", () => {
	const registers = new EnergyRegisters(Netting.vectorSum, 1000);
	hour(registers, [1234.5, -67.8, 9.1], [12, -34, 56]);
	const view = new DataView(new ArrayBuffer(REGISTER_BYTES));
	encodeRegisters(registers, view);
	const hex = Buffer.from(view.buffer).toString("hex");
	assert.equal(hex.slice(0, 32), "01010000" + "0000000000000497" + "000c3500");
	assert.equal(hex.slice(32, 56), "000000000012f9d0" + "00000000");
});

test("every refusal of the decoder, with its code", () => {
	const registers = new EnergyRegisters(Netting.vectorSum, 1000);
	hour(registers, [100]);
	const good = new DataView(new ArrayBuffer(REGISTER_BYTES));
	encodeRegisters(registers, good);
	const refuse = (change: (view: DataView) => void, status: Status, byteLength = REGISTER_BYTES): void => {
		const view = new DataView(good.buffer.slice(0));
		change(view);
		const into = new EnergyRegisters(Netting.vectorSum, 1000);
		assert.equal(decodeRegisters(view, byteLength, into), status);
		if (status !== Status.ok) assert.equal(into.activeImportMilliwattHours, 0, "unchanged");
	};
	refuse(() => {}, Status.ok);
	refuse(() => {}, Status.badLength, REGISTER_BYTES - 1);
	refuse((view) => view.setUint8(0, 2), Status.badVersion);
	refuse((view) => view.setUint8(1, 2), Status.badValue);
	refuse((view) => view.setUint16(2, 1), Status.badValue);
	refuse((view) => view.setUint8(4, 0xff), Status.badValue);
	refuse((view) => view.setUint32(12, 1_000_000), Status.badValue);
	refuse((view) => view.setUint8(16, 0xff), Status.badValue);
	refuse((view) => view.setUint32(24, 3_600_000), Status.badValue);
	refuse((view) => view.setUint8(280, 0xff), Status.badValue);
	refuse((view) => view.setUint32(284, view.getUint32(284) + 1), Status.badValue);
});
