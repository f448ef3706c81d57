import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SparseFlash } from "../../board/sparse-flash.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

function content(flash: SparseFlash): Uint8Array {
	const all = new Uint8Array(flash.sectorBytes * flash.sectorCount);
	flash.read(0, all, all.length);
	return all;
}

test("sparse flash is a plain array of bytes with NOR rules, and its pieces rebuild it", () => {
	const random = new Random(seed, "flash");
	const flash = new SparseFlash(256, 16);
	const plain = new Uint8Array(256 * 16).fill(0xff);
	for (let i = 0; i < 400; i++) {
		if (random.chance(0.15)) {
			const sector = random.integer(0, 15);
			flash.erase(sector);
			plain.fill(0xff, sector * 256, sector * 256 + 256);
			continue;
		}
		const address = random.integer(0, plain.length - 1);
		const bytes = random.bytes(new Uint8Array(random.integer(1, Math.min(600, plain.length - address))));
		flash.program(address, bytes);
		for (let k = 0; k < bytes.length; k++) plain[address + k]! &= bytes[k]!;
	}
	assert.deepEqual(content(flash), plain);
	const rebuilt = new SparseFlash(256, 16);
	for (const { address, bytes } of flash.pieces(100)) rebuilt.program(address, bytes);
	assert.deepEqual(content(rebuilt), plain);
});

test("torn operations leave what docs/BOARD.md says", () => {
	const flash = new SparseFlash(256, 2);
	flash.tearProgram(10, Uint8Array.of(0, 0, 0, 0), 2);
	assert.deepEqual([...content(flash).subarray(9, 15)], [0xff, 0, 0, 0xaa, 0xff, 0xff]);
	flash.program(0, new Uint8Array(256));
	flash.tearErase(0, 100);
	const after = content(flash);
	assert.ok(after.subarray(0, 100).every((byte) => byte === 0xff));
	assert.ok(after.subarray(100, 256).every((byte) => byte === 0));
});

test("with a file behind it, content outlives the process", () => {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-flash-"));
	try {
		const path = join(folder, "chip.bin");
		const first = new SparseFlash(256, 8);
		first.attachFile(path);
		first.program(700, Uint8Array.of(1, 2, 3));
		first.program(5, Uint8Array.of(9));
		first.erase(0);
		const second = new SparseFlash(256, 8); // the first one never closed its file
		second.attachFile(path);
		assert.deepEqual(content(second), content(first));
		first.closeFile();
		second.closeFile();
	} finally {
		rmSync(folder, { recursive: true });
	}
});
