import assert from "node:assert/strict";
import { test } from "node:test";
import { rv32Skip } from "../../build/rv32.js";
import { flashByGroup, measureSizes, modulesOf, overBudget, readBudgets, roomOf } from "../../size/measure.js";

test("the linker's map: code and constants by the object they come from, RAM left out", () => {
	const map = [
		"Discarded input sections",
		" .text.unused   0x20000000     0x9999 /build/objects/xsRun.o",
		"Linker script and memory map",
		" .text.fxRunID  0x20000100       0x40 /build/objects/xsRun.o",
		" .text.wattlock_meter_frame_of_a_long_name",
		"                0x20000140       0x20 /build/objects/board.o",
		" *fill*         0x20000160        0x4 ",
		" .rodata        0x20000164       0x10 /usr/lib/ilp32/libc.a(libc_string_memcpy.c.o)",
		" .text          0x20000174        0x8 /build/objects/sha256.o",
		" .text          0x2000017c        0x8 /build/objects/sample-kernel.o",
		" .bss           0x80000000      0x100 /build/objects/main.o",
	].join("\n");
	assert.deepEqual(Object.fromEntries(flashByGroup(map)), {
		engine: 0x40,
		host: 0x20,
		"C library": 0x10,
		"cryptography in C": 8,
		"sample kernel in C": 8,
	});
});

test("a bundle is cut into its modules, and a module belongs to a room", () => {
	const modules = modulesOf(
		"var a;\n// src/bytes/crc.ts\nvar b;\n// a comment\n// node_modules/mqtt-packet/parser.js\nvar c;\n",
	);
	assert.deepEqual(
		modules.map(({ path }) => roomOf(path)),
		["bundle", "src/bytes", "mqtt-packet"],
	);
	assert.equal(roomOf("node_modules/@noble/hashes/sha2.js"), "@noble/hashes");
	assert.equal(roomOf("src/key-store/key-store.ts"), "src/key-store");
});

test("budgets: at most, at least, and nothing budgeted that is not measured", () => {
	const rows = [
		{ name: "image", value: 100, unit: "B" },
		{ name: "left", value: 10, unit: "B" },
	] as const;
	assert.deepEqual(overBudget(rows, { image: { max: 100, goal: 50 }, left: { min: 10 } }), []);
	assert.deepEqual(overBudget(rows, { image: { max: 99 }, left: { min: 11 }, lost: { max: 1 } }), [
		"image: 100, at most 99",
		"left: 10, at least 11",
		"lost: budgeted and not measured",
	]);
});

const skip = rv32Skip();

test("the firmware keeps its budgets of flash and RAM", { skip }, async () => {
	const rows = await measureSizes(() => {});
	assert.deepEqual(overBudget(rows, readBudgets()), []);
	const value = (name: string): number => rows.find((row) => row.name === name)!.value;
	const sum = (prefix: string): number =>
		rows.filter(({ name }) => name.startsWith(`${prefix}, `)).reduce((total, row) => total + row.value, 0);
	assert.ok(Math.abs(sum("flash: code") - value("flash: code")) < 2048, "groups of code make up the code");
	assert.ok(Math.abs(sum("flash: bytecode") - value("flash: bytecode")) < 100, "rooms make up the bytecode");
});
