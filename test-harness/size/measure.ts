import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { Rv32Meter, SECURED_SETTINGS } from "../bench/rv32-meter.js";
import { LINUX_FOLDER } from "../build/engine.js";
import { buildRv32Code, type Rv32Code } from "../build/rv32.js";
import { buildRv32Image } from "../build/rv32-image.js";
import { ROOT } from "../root.js";

/** One line of the table. Bytes unless the unit says otherwise. */
export interface SizeRow {
	readonly name: string;
	readonly value: number;
	readonly unit: "B" | "slots";
	readonly note?: string;
}

/** An object of the linker's map to the group that it is shown in. */
function groupOf(object: string): string {
	const name = basename(object);
	if (/^lib(c|m|gcc)/.test(name)) return "C library";
	if (/^xs/.test(name)) return "engine";
	if (/^(sha256|aes128|modes|calls|install)\.o/.test(name)) return "cryptography in C";
	if (/^sample-kernel/.test(name)) return "sample kernel in C";
	return "host";
}

const FLASH = [0x2000_0000, 0x2200_0000] as const;

/** Bytes that each group has in flash: code and constants, from the linker's map. */
export function flashByGroup(map: string): Map<string, number> {
	const groups = new Map<string, number>();
	// " .text.name  0xaddress  0xsize  object"; a long name stands on a line of its own
	const line = /^ (?:\.\S+\s+|\s+)0x([0-9a-f]+)\s+0x([0-9a-f]+) (\/\S.*)$/gm;
	for (const [, address, size, object] of map.slice(map.indexOf("Linker script and memory map")).matchAll(line)) {
		const at = Number.parseInt(address!, 16);
		if (at < FLASH[0] || at >= FLASH[1]) continue;
		const member = /([^/(]+)(?:\([^)]*\))?$/.exec(object!)![1]!;
		const group = groupOf(member);
		groups.set(group, (groups.get(group) ?? 0) + Number.parseInt(size!, 16));
	}
	return groups;
}

/** The room of a module: src/meter/meter.ts is of src/meter. */
export function roomOf(path: string): string {
	const parts = path.split("/");
	if (parts.length === 1) return path;
	if (parts[0] === "node_modules") return parts[1]!.startsWith("@") ? `${parts[1]}/${parts[2]}` : parts[1]!;
	return parts[0] === "src" || parts[0] === "hosts" ? parts.slice(0, 2).join("/") : dirname(path);
}

/** A bundle cut where esbuild says which module begins. */
export function modulesOf(bundle: string): { readonly path: string; readonly text: string }[] {
	const modules: { path: string; text: string }[] = [];
	for (const piece of bundle.split(/^(?=\/\/ \S+\.(?:[cm]?[jt]s)$)/m)) {
		const path = /^\/\/ (\S+)$/m.exec(piece)?.[1];
		modules.push({ path: path && piece.startsWith(`// ${path}`) ? path : "bundle", text: piece });
	}
	return modules;
}

/**
 * Bytecode of each room. The firmware is one module for the engine: each part is compiled by itself, and the whole shared out
 * in those proportions (by itself a name of another module is a global, which is a little longer or shorter).
 */
function bytecodeByRoom(total: number): Map<string, number> {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-size-"));
	try {
		const modules = modulesOf(readFileSync(join(LINUX_FOLDER, "meter.js"), "utf8"));
		const parameters = modules.map(({ text }, index) => {
			const path = join(folder, `${index}.js`);
			writeFileSync(path, text);
			return `m${index}=${path}`;
		});
		const compiler = join(LINUX_FOLDER, "wattlock-xsc");
		const { status, stdout, stderr } = spawnSync(compiler, ["-o", join(folder, "parts"), ...parameters], {
			encoding: "utf8",
		});
		if (status !== 0) throw new Error(`the parts of the bundle do not compile: ${stderr.slice(0, 500)}`);
		const rooms = new Map<string, number>();
		let sum = 0;
		for (const line of stdout.trim().split("\n")) {
			const [module = "", bytes] = line.split(" ");
			const room = roomOf(modules[Number(module.slice(1))]!.path);
			rooms.set(room, (rooms.get(room) ?? 0) + Number(bytes));
			sum += Number(bytes);
		}
		for (const [room, bytes] of rooms) rooms.set(room, Math.round((bytes * total) / sum));
		return rooms;
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

function symbol(code: Rv32Code, name: string): number {
	const value = code.symbols.get(name);
	if (value === undefined) throw new Error(`the image has no symbol ${name}`);
	return value;
}

/** Builds the image and measures it; a minute of a secured meter in the emulator included. */
export async function measureSizes(onProgress: (text: string) => void): Promise<SizeRow[]> {
	const image = await buildRv32Image({ onProgress });
	const code = await buildRv32Code(onProgress);
	const { parts } = image;
	const rows: SizeRow[] = [];
	const add = (name: string, value: number, note?: string, unit: SizeRow["unit"] = "B"): void => {
		rows.push({ name, value, unit, ...(note === undefined ? {} : { note }) });
	};
	const sorted = (groups: ReadonlyMap<string, number>): [string, number][] => [...groups].sort((a, b) => b[1] - a[1]);

	for (const [group, bytes] of sorted(flashByGroup(code.map))) add(`flash: code, ${group}`, bytes);
	add("flash: code", parts.code, "with constants and the start values of variables");
	add("flash: names", parts.archiveNames, "of properties, in the archive");
	const bytecode = parts.archive - parts.archiveNames;
	for (const [room, bytes] of sorted(bytecodeByRoom(bytecode))) add(`flash: bytecode, ${room}`, bytes);
	add("flash: bytecode", bytecode, "executed in place; by room in proportion");
	add("flash: root machine, slots", parts.romSlots, `${image.rootSlots} slots; built-ins and the firmware's functions`);
	add("flash: root machine, chunks", parts.romChunks);
	add("flash: root machine, tables", parts.romTables, `${image.names} names`);
	add("flash: image", parts.image);

	const between = (start: string, end: string): number => symbol(code, end) - symbol(code, start);
	add("RAM: C stack", between("__stack_start", "__trap_stack_top"));
	add("RAM: variables", between("__data_start", "__bss_end"));
	add("RAM: creation", between("__arena_start", "__arena_end"), "slots, chunks and stack of the machine");

	onProgress("a minute of a secured meter");
	await Rv32Meter.with({ image: image.path }, async (meter) => {
		meter.provision();
		await meter.powerOn({ settingsText: SECURED_SETTINGS });
		const booted = await meter.statisticsNow();
		add("heap: slots live after boot", booted.slotsLive, "of 4,927", "slots");
		add("heap: chunks live after boot", booted.chunkBytesLive, "of 78,848");
		meter.load();
		for (let second = 1; second <= 60; second++) await meter.advance(second * 1000);
		const { slotsLive, chunkBytesLive, chunkBytesPeak, stackPeakSlots } = await meter.statisticsNow();
		add("heap: slots live after a minute", slotsLive, "with a broker that grants everything", "slots");
		add("heap: chunks live after a minute", chunkBytesLive);
		add("heap: chunks, high water with garbage", chunkBytesPeak);
		add("heap: stack, high water", stackPeakSlots, "of 512", "slots");
		const { stackPeakBytes, heapPeakBytes } = meter.counters;
		add("RAM: C stack, high water", stackPeakBytes);
		add("RAM: malloc, high water", heapPeakBytes);
		const taken = between("__ram_start", "__heap_start") + heapPeakBytes;
		add("RAM: taken", taken);
		add(
			"RAM: left for TLS and the rest",
			between("__ram_start", "__ram_end") - taken,
			"beside Wi-Fi; see hosts/rv32/rv32.ld",
		);
	});
	onProgress("a minute of collecting at every chance");
	await Rv32Meter.with({ image: image.path, collectOften: true }, async (meter) => {
		meter.provision();
		await meter.powerOn({ settingsText: JSON.stringify({ ...JSON.parse(SECURED_SETTINGS), intervalSeconds: 60 }) });
		meter.load();
		for (let second = 1; second <= 75; second++) {
			if (second === 30) meter.target.linkClosed(0); // a broker that goes and comes back
			await meter.advance(second * 1000);
		}
		if (meter.connections < 2) throw new Error("the meter did not come back to its broker");
		const { slotsPeak, chunkBytesPeak } = await meter.statisticsNow();
		add("heap: slots, live high water", slotsPeak, "within 1/16; boot, a row, a broker that comes back", "slots");
		add("heap: chunks, live high water", chunkBytesPeak, "within 1/16");
	});
	return rows;
}

/** What is held of a row. */
export interface Budget {
	readonly max?: number;
	readonly min?: number;
	/** What the project aims at; missing it is shown and fails nothing. */
	readonly goal?: number;
}

const FOLDER = join(ROOT, "test-harness", "size");

export function readBudgets(): Record<string, Budget> {
	return JSON.parse(readFileSync(join(FOLDER, "budgets.json"), "utf8")) as Record<string, Budget>;
}

export function readRecorded(): Record<string, number> {
	try {
		return JSON.parse(readFileSync(join(FOLDER, "recorded.json"), "utf8")) as Record<string, number>;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
		return {};
	}
}

export function record(rows: readonly SizeRow[]): void {
	mkdirSync(FOLDER, { recursive: true });
	const values = Object.fromEntries(rows.map(({ name, value }) => [name, value]));
	writeFileSync(join(FOLDER, "recorded.json"), `${JSON.stringify(values, undefined, "\t")}\n`);
}

/** @returns a line for each budget that is not kept, and for each that has nothing to hold */
export function overBudget(rows: readonly SizeRow[], budgets: Readonly<Record<string, Budget>>): string[] {
	const values = new Map(rows.map(({ name, value }) => [name, value]));
	const lines: string[] = [];
	for (const [name, { max, min }] of Object.entries(budgets)) {
		const value = values.get(name);
		if (value === undefined) lines.push(`${name}: budgeted and not measured`);
		else if (max !== undefined && value > max) lines.push(`${name}: ${value}, at most ${max}`);
		else if (min !== undefined && value < min) lines.push(`${name}: ${value}, at least ${min}`);
	}
	return lines;
}
