import assert from "node:assert/strict";
import { test } from "node:test";
import { type Made, ROM_BASES, relocate } from "../../build/rv32-image.js";

const PLACE = 0x2010_0000;

/** A root machine of three parts, made at one of the two places; `pointers` are word numbers of the slots part. */
function made(run: 0 | 1, slotWords: number[], pointers: readonly number[] = []): Made {
	const base = ROM_BASES[run];
	const words = slotWords.map((word, index) => (pointers.includes(index) ? base + word : word));
	const part = (offset: number, content: number[]): Made["segments"][number] => {
		const bytes = Buffer.from(new Uint32Array(content.map((word) => word >>> 0)).buffer);
		return { start: base + offset, end: base + offset + bytes.length, bytes };
	};
	return {
		segments: [part(0, [1, 2]), part(0x1000, words), part(0x8000, [7])],
		root: base + 4,
		slots: 1,
		chunkBytes: 4,
		aliases: 0,
		names: 0,
	};
}

const FREE = [0, 0x7fff_0000, 0, 0];

test("what two runs have in common stays, what differs by their distance is a pointer into flash", () => {
	// a slot that points at the third part and at the end of its own
	const slots = [0x8000, 0, 0x1010, 0x55];
	const { bytes, root, pointers, partBytes } = relocate(made(0, slots, [0, 2]), made(1, slots, [0, 2]), PLACE);
	assert.equal(root, PLACE + 4);
	assert.equal(pointers, 2);
	assert.deepEqual(partBytes, [8, 16, 4]);
	// parts begin at multiples of 16
	assert.equal(bytes.readUInt32LE(0), 1);
	assert.equal(bytes.readUInt32LE(16), PLACE + 32);
	assert.equal(bytes.readUInt32LE(24), PLACE + 32);
	assert.equal(bytes.readUInt32LE(28), 0x55);
	assert.equal(bytes.readUInt32LE(32), 7);
});

test("free slots are left out, and pointers follow", () => {
	const slots = [...FREE, 0x1030, 0, 0, 0, ...FREE, 0x1010, 0, 0, 0];
	const { bytes, partBytes } = relocate(made(0, slots, [4, 12]), made(1, slots, [4, 12]), PLACE);
	assert.deepEqual(partBytes, [8, 32, 4]);
	assert.equal(bytes.readUInt32LE(16), PLACE + 32);
	assert.equal(bytes.readUInt32LE(32), PLACE + 16);
});

test("anything else stops the build", () => {
	const slots = [0, 0, 0, 0];
	const fails = (first: Made, second: Made, how: RegExp): void => {
		assert.throws(() => relocate(first, second, PLACE), how);
	};
	fails(made(0, slots), made(1, [0, 9, 0, 0]), /0x0 in one run and 0x9 in the other/);
	fails(made(0, [0x4000, 0, 0, 0], [0]), made(1, [0x4000, 0, 0, 0], [0]), /leads to 0x88004000, which is not kept/);
	const free = [0x1010, 0, 0, 0, ...FREE];
	fails(made(0, free, [0]), made(1, free, [0]), /which is not kept/);
	fails(made(0, slots), made(1, [...slots, ...slots]), /different root machines/);
});
