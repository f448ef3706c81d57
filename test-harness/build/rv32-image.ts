import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
	closeSync,
	existsSync,
	ftruncateSync,
	mkdirSync,
	openSync,
	readFileSync,
	renameSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { FrameReader } from "../board/channel.js";
import { UserError } from "../user-error.js";
import { buildFirmware, type FirmwareOptions } from "./firmware.js";
import { buildRv32Code, RV32_FOLDER, type Rv32Code } from "./rv32.js";

/** QEMU's flash chips have this size; their files too. */
export const FLASH_CHIP_BYTES = 0x0200_0000;
/** hosts/rv32/machine.h: the image flash, and what the emulator is told before reset. */
const IMAGE_FLASH = 0x2000_0000;
const STRAPS = 0x8200_0000;
const MODE_MAKE_ROM = 1;

/** hosts/rv32/rom.h. */
const ROM_HEADER_BYTES = 32;
const ROM_SEGMENT = 200;
const ROM_MADE = 201;
/** Where the root machine is made, twice, with this much memory. */
export const ROM_BASES = [0x8800_0000, 0x9000_0000] as const;
const ROM_MEGABYTES = 512;

/** What the parts of an image take in flash, in bytes. */
export interface Rv32Parts {
	readonly code: number;
	/** Of the code: the start values of variables. */
	readonly startValues: number;
	readonly archive: number;
	readonly archiveNames: number;
	/** The root machine: what it allocated (names, tables), slots, chunks. */
	readonly romTables: number;
	readonly romSlots: number;
	readonly romChunks: number;
	readonly image: number;
}

export interface Rv32Image {
	/** Content of the image flash: a sparse file of `FLASH_CHIP_BYTES`. */
	readonly path: string;
	/** SHA-256 of the image, hexadecimal. */
	readonly digest: string;
	readonly parts: Rv32Parts;
	readonly rootSlots: number;
	readonly rootChunkBytes: number;
	readonly aliases: number;
	readonly names: number;
	/** Pointers that were moved to their place in flash. */
	readonly pointers: number;
}

export interface Straps {
	readonly mode?: number;
	readonly romBase?: number;
	readonly flags?: number;
	/** Power fails after so many hundred instructions of work. */
	readonly cutHundreds?: number;
	/** A test of the protection: a store there at start. */
	readonly strayStore?: number;
}

/** The emulator's command line: the same board each time. */
export function emulatorArguments(
	image: string,
	store: string | undefined,
	megabytes: number,
	straps: Straps,
): string[] {
	const words = [
		straps.mode ?? 0,
		straps.romBase ?? 0,
		straps.flags ?? 0,
		straps.cutHundreds ?? 0,
		straps.strayStore ?? 0,
	];
	const escaped = (path: string): string => path.replaceAll(",", ",,");
	return [
		...["-M", "virt", "-m", String(megabytes), "-bios", "none", "-nodefaults", "-display", "none", "-no-reboot"],
		// one instruction is one nanosecond: counts are exact and the same on every run
		...["-icount", "shift=0"],
		...["-semihosting-config", "enable=on,target=native"],
		...["-drive", `if=pflash,unit=0,format=raw,readonly=on,file=${escaped(image)}`],
		...(store === undefined ? [] : ["-drive", `if=pflash,unit=1,format=raw,file.locking=off,file=${escaped(store)}`]),
		...["-chardev", "stdio,id=board,signal=off", "-global", "virtio-mmio.force-legacy=false"],
		...["-device", "virtio-serial-device,max_ports=2", "-device", "virtserialport,chardev=board,nr=1,name=board"],
		...words.flatMap((word, index) => ["-device", `loader,addr=${STRAPS + 4 * index},data=${word},data-len=4`]),
	];
}

export const EMULATOR = "qemu-system-riscv32";

export interface Segment {
	readonly start: number;
	readonly end: number;
	readonly bytes: Buffer;
}

export interface Made {
	readonly segments: readonly Segment[];
	readonly root: number;
	readonly slots: number;
	readonly chunkBytes: number;
	readonly aliases: number;
	readonly names: number;
}

/** Runs the image once with memory in place of flash. */
function makeRom(image: string, romBase: number): Promise<Made> {
	return new Promise((resolve, reject) => {
		const parameters = emulatorArguments(image, undefined, ROM_MEGABYTES, { mode: MODE_MAKE_ROM, romBase });
		const child = spawn(EMULATOR, parameters, { stdio: ["pipe", "pipe", "pipe"] });
		const segments: Segment[] = [];
		let made: Made | undefined;
		let said = "";
		const reader = new FrameReader((_meter, kind, payload) => {
			const word = (index: number): number => payload.readUInt32LE(4 * index);
			if (kind === ROM_SEGMENT)
				segments.push({ start: word(0), end: word(1), bytes: Buffer.from(payload.subarray(8)) });
			else if (kind === ROM_MADE)
				made = { segments, root: word(0), slots: word(1), chunkBytes: word(2), aliases: word(3), names: word(4) };
		});
		child.stdout.on("data", (chunk: Buffer) => reader.push(chunk));
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			said += text;
		});
		child.on("error", (error) => reject(new UserError(`no ${EMULATOR} (${error.message}): install qemu-system-misc`)));
		child.on("close", (code) => {
			if (made) resolve(made);
			else reject(new UserError(`the root machine was not made (exit code ${code}): ${said.trim()}`));
		});
	});
}

interface Relocated {
	readonly bytes: Buffer;
	readonly root: number;
	readonly pointers: number;
	readonly partBytes: readonly number[];
}

/** Bytes of a slot; one that is free in the root machine (rom.c): nothing but the ID 0x7FFF. */
const SLOT_BYTES = 16;
const FREE_SLOT = Buffer.from("000000000000ff7f0000000000000000", "hex");
/** The parts that rom.c hands over: what the engine allocated one by one, stack and slots, chunks. */
const SLOTS_PART = 1;

/** Where the words of a part go when free slots are left out: an offset for each unit, -1 for what is left out. */
class Packing {
	readonly byteLength: number;
	readonly #unit: number;
	readonly #offsets: Int32Array;

	constructor(bytes: Buffer, leaveOutFree: boolean) {
		this.#unit = leaveOutFree ? SLOT_BYTES : 4;
		this.#offsets = new Int32Array(bytes.length / this.#unit + 1);
		let at = 0;
		for (let from = 0; from < bytes.length; from += this.#unit) {
			const isFree = leaveOutFree && FREE_SLOT.compare(bytes, from, from + SLOT_BYTES) === 0;
			this.#offsets[from / this.#unit] = isFree ? -1 : at;
			if (!isFree) at += this.#unit;
		}
		this.#offsets[bytes.length / this.#unit] = at; // the end can be pointed at
		this.byteLength = at;
	}

	/** @returns -1 for what is left out */
	offsetOf(offset: number): number {
		const to = this.#offsets[Math.floor(offset / this.#unit)]!;
		return to < 0 ? -1 : to + (offset % this.#unit);
	}
}

/**
 * Moves what was made in memory to its place in flash. Words that the two runs have in common stay; those that differ by
 * the distance of the two places are pointers. Anything else would be a mistake, and stops the build. Free slots are left
 * out; a pointer at one is a mistake too.
 * @param place address of the first segment in flash; the others follow, each at a multiple of 16
 */
export function relocate(first: Made, second: Made, place: number): Relocated {
	const distance = (ROM_BASES[1] - ROM_BASES[0]) >>> 0;
	if (first.segments.length !== second.segments.length) throw new Error("two runs made different root machines");
	let end = place;
	const parts = first.segments.map(({ start, end: sourceEnd, bytes }, index) => {
		const twin = second.segments[index]!;
		if (twin.bytes.length !== bytes.length || twin.start - start !== distance || bytes.length % 4 !== 0)
			throw new Error(
				`two runs made different root machines: part ${index} has ${bytes.length} and ${twin.bytes.length} bytes`,
			);
		const packing = new Packing(bytes, index === SLOTS_PART);
		const part = { start, end: sourceEnd, bytes, twin: twin.bytes, packing, place: end };
		end += (packing.byteLength + 15) & ~15;
		return part;
	});
	const moved = (pointer: number, where: string): number => {
		const part = parts.find((one) => pointer >= one.start && pointer <= one.end);
		const offset = part?.packing.offsetOf(pointer - part.start) ?? -1;
		if (!part || offset < 0)
			throw new Error(`a pointer ${where} leads to 0x${pointer.toString(16)}, which is not kept`);
		return part.place + offset;
	};
	const result = Buffer.alloc(end - place);
	let pointers = 0;
	for (const [index, part] of parts.entries()) {
		for (let offset = 0; offset < part.bytes.length; offset += 4) {
			const to = part.packing.offsetOf(offset);
			if (to < 0) continue;
			const [word, twin] = [part.bytes.readUInt32LE(offset), part.twin.readUInt32LE(offset)];
			const where = `at 0x${(part.start + offset).toString(16)} (part ${index}, offset ${offset})`;
			if (word !== twin && (twin - word) >>> 0 !== distance)
				throw new Error(`a word ${where} is 0x${word.toString(16)} in one run and 0x${twin.toString(16)} in the other`);
			if (word !== twin) pointers++;
			result.writeUInt32LE(word === twin ? word : moved(word, where), part.place - place + to);
		}
	}
	const partBytes = parts.map(({ packing }) => packing.byteLength);
	return { bytes: result, root: moved(first.root, "to the root"), pointers, partBytes };
}

/** Writes a file of a whole chip that takes only what is in it. */
function writeChip(path: string, bytes: Buffer): void {
	const now = `${path}.${process.pid}.new`;
	const file = openSync(now, "w");
	writeSync(file, bytes);
	ftruncateSync(file, FLASH_CHIP_BYTES);
	closeSync(file);
	renameSync(now, path);
}

function codeAndArchive(code: Rv32Code, archive: Buffer): Buffer {
	const codeEnd = code.symbols.get("__code_end")! - IMAGE_FLASH;
	const archiveAt = code.symbols.get("__archive_start")! - IMAGE_FLASH;
	if (code.bytes.length !== codeEnd)
		throw new Error(`the code has ${code.bytes.length} bytes, the linker says ${codeEnd}`);
	const result = Buffer.alloc((archiveAt + archive.length + 15) & ~15);
	code.bytes.copy(result);
	result.writeUInt32LE(crc32(code.bytes), codeEnd);
	archive.copy(result, archiveAt);
	return result;
}

/**
 * Builds the flash image of the emulated board: code, firmware archive, root machine. The archive is the Linux host's: the
 * same bytecode runs on both.
 */
export async function buildRv32Image(options: FirmwareOptions = {}): Promise<Rv32Image> {
	const name = options.name ?? "meter";
	const code = await buildRv32Code(options.onProgress);
	const firmware = await buildFirmware(options);
	const archive = readFileSync(firmware.archive);
	const head = codeAndArchive(code, archive);
	const path = join(RV32_FOLDER, `${name}.flash`);
	const known = `${path}.json`;
	const key = createHash("sha256")
		.update(head)
		.update(readFileSync(new URL(import.meta.url)))
		.digest("hex");
	if (existsSync(path) && existsSync(known)) {
		const kept = JSON.parse(readFileSync(known, "utf8")) as { key: string; image: Omit<Rv32Image, "path"> };
		if (kept.key === key) return { path, ...kept.image };
	}
	options.onProgress?.(`firmware: making the root machine of ${name} for flash`);
	mkdirSync(RV32_FOLDER, { recursive: true });
	const draft = `${path}.${process.pid}.draft`;
	writeChip(draft, head);
	const [first, second] = await Promise.all([makeRom(draft, ROM_BASES[0]), makeRom(draft, ROM_BASES[1])]);
	const rom = relocate(first, second, IMAGE_FLASH + head.length + ROM_HEADER_BYTES);
	const header = Buffer.alloc(ROM_HEADER_BYTES);
	header.write("WLRM", "latin1");
	header.writeUInt32LE(crc32(code.bytes), 4);
	header.writeUInt32LE(archive.readUInt32LE(12), 8);
	header.writeUInt32LE(ROM_HEADER_BYTES + rom.bytes.length, 12);
	header.writeUInt32LE(rom.root, 16);
	const whole = Buffer.concat([head, header, rom.bytes]);
	const imageMax = code.symbols.get("__image_end")! - IMAGE_FLASH;
	if (whole.length > imageMax) throw new UserError(`the image has ${whole.length} bytes, the flash ${imageMax}`);
	const [tables, slots, chunks] = rom.partBytes;
	const startValues = ["__data_start", "__data_end"].map((symbol) => code.symbols.get(symbol)!);
	const image = {
		digest: createHash("sha256").update(whole).digest("hex"),
		parts: {
			code: code.bytes.length,
			startValues: startValues[1]! - startValues[0]!,
			archive: archive.length,
			archiveNames: archive.readUInt32LE(24),
			romTables: tables!,
			romSlots: slots!,
			romChunks: chunks!,
			image: whole.length,
		},
		rootSlots: first.slots,
		rootChunkBytes: first.chunkBytes,
		aliases: first.aliases,
		names: first.names,
		pointers: rom.pointers,
	};
	writeChip(draft, whole);
	renameSync(draft, path);
	writeFileSync(draft, JSON.stringify({ key, image }));
	renameSync(draft, known);
	return { path, ...image };
}
