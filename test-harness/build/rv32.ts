import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ROOT } from "../root.js";
import { tool } from "../tools.js";
import { UserError } from "../user-error.js";
import { CRYPTO_BINDING, CRYPTO_FOLDER, CRYPTO_SOURCES } from "./crypto-sources.js";
import {
	compileUnits,
	DEFINES,
	digestOf,
	engineHeaders,
	engineSources,
	filesOf,
	HOST_SOURCES,
	INCLUDES,
	type Unit,
} from "./engine.js";

/** Where the built things of the emulated board are. */
export const RV32_FOLDER = join(ROOT, "build", "rv32");
export const RV32_SOURCES = join(ROOT, "hosts", "rv32");

const GCC = "riscv64-unknown-elf-gcc";
/** How to get the toolchain: Debian has it all. */
const HOW =
	"install gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-system-misc (Debian: apt-get install …)";

/** `rv32imac` and nothing behind it: with `_zicsr` GCC 12 picks the library of a 64-bit core. */
const ARCHITECTURE = ["--specs=picolibc.specs", "-march=rv32imac", "-mabi=ilp32"];
const OPTIMIZE = ["-Os", "-ffunction-sections", "-fdata-sections", "-fno-common"];

export interface Rv32Code {
	readonly elf: string;
	/** What goes into flash: code, constants and the start values of variables. */
	readonly bytes: Buffer;
	/** Addresses by name, of the linker script and the code. */
	readonly symbols: ReadonlyMap<string, number>;
	/** The linker's map, which says what each object gave. */
	readonly map: string;
}

/** Why a test that needs the emulated board skips, or false. In CI a missing package is a failure; see `tool`. */
export function rv32Skip(): string | false {
	const missing = tool(GCC).skip || tool("qemu-system-riscv32").skip;
	if (missing) return missing;
	if (spawnSync(GCC, [...ARCHITECTURE, "-E", "-x", "c", "/dev/null"]).status === 0) return false;
	const skip = `needs picolibc for ${GCC}: apt-get install picolibc-riscv64-unknown-elf`;
	if (process.env["WATTLOCK_REQUIRE_TOOLS"] === "1") throw new Error(skip);
	return skip;
}

function output(program: string, parameters: readonly string[]): string {
	const { status, stdout, stderr, error } = spawnSync(program, parameters, { encoding: "utf8", maxBuffer: 1 << 28 });
	if (error) throw new UserError(`no ${program}: ${HOW}`);
	if (status !== 0) throw new UserError(`${program} failed:\n${stderr.trim()}`);
	return stdout;
}

/**
 * Builds engine and host for RV32IMAC, the instruction set of the ESP32-C6, as far as something has changed. From clean
 * about 10 s on two cores.
 */
export async function buildRv32Code(onProgress?: (text: string) => void): Promise<Rv32Code> {
	const version = output(GCC, ["--version"]);
	if (spawnSync(GCC, [...ARCHITECTURE, "-E", "-x", "c", "/dev/null"]).status !== 0)
		throw new UserError(`no C library for ${GCC}: ${HOW}`);
	const headersKey = digestOf([
		version,
		...[...engineHeaders(), ...filesOf(RV32_SOURCES, ".h")].flatMap((path) => [basename(path), readFileSync(path)]),
	]);
	const include = (folders: readonly string[]): string[] => folders.flatMap((folder) => ["-I", folder]);
	const common = [
		...ARCHITECTURE,
		...OPTIMIZE,
		...[...DEFINES, "WATTLOCK_KERNEL=1"].map((define) => `-D${define}`),
		...INCLUDES.flatMap((folder) => ["-isystem", folder]),
		...include([join(ROOT, "hosts", "xs")]),
	];
	const theirs = ["-std=gnu11", "-w", ...common];
	// uint32_t is `unsigned long` here: %u is right in width and wrong in name
	const ours = [
		...["-std=gnu11", "-Wall", "-Wextra", "-Wno-format", ...common],
		...include([CRYPTO_FOLDER, join(ROOT, "src", "metrology")]),
	];
	const unit = (source: string, flags: readonly string[]): Unit => ({
		object: join(RV32_FOLDER, "objects", `${basename(source).replace(/\.[cS]$/, "")}.o`),
		source,
		flags,
	});
	const shared = HOST_SOURCES.filter((path) => basename(path) !== "flash.c"); // here flash is a chip
	const units = [
		...engineSources().runtime.map((path) => unit(path, theirs)),
		...[
			...shared,
			...CRYPTO_SOURCES,
			...CRYPTO_BINDING,
			...filesOf(RV32_SOURCES, ".c"),
			...filesOf(RV32_SOURCES, ".S"),
		].map((path) => unit(path, ours)),
		unit(join(ROOT, "src", "metrology", "sample-kernel.c"), ours),
	];
	const keys = await compileUnits(GCC, units, headersKey, onProgress);
	const elf = join(RV32_FOLDER, "wattlock.elf");
	const script = join(RV32_SOURCES, "rv32.ld");
	const key = digestOf([readFileSync(script), ...OPTIMIZE, ...units.map(({ object }) => keys.get(object)!)]);
	const [map, binary, names] = [`${elf}.map`, `${elf}.bin`, `${elf}.symbols`];
	mkdirSync(RV32_FOLDER, { recursive: true });
	if (!existsSync(names) || !existsSync(`${elf}.key`) || readFileSync(`${elf}.key`, "utf8") !== key) {
		onProgress?.("engine: linking the RV32 image");
		// others may build the same just now: each file comes into its place whole
		const now = (path: string): string => `${path}.${process.pid}.new`;
		const parts = [...ARCHITECTURE, ...OPTIMIZE, "-nostartfiles", "-T", script, "-Wl,--gc-sections"];
		const objects = units.map(({ object }) => object);
		output(GCC, [...parts, `-Wl,-Map=${now(map)}`, ...objects, "-o", now(elf), "-lm"]);
		const sections = [".text", ".data", ".tdata"].flatMap((section) => ["-j", section]);
		output("riscv64-unknown-elf-objcopy", ["-O", "binary", ...sections, now(elf), now(binary)]);
		writeFileSync(now(names), output("riscv64-unknown-elf-nm", [now(elf)]));
		writeFileSync(now(`${elf}.key`), key);
		for (const path of [elf, map, binary, names, `${elf}.key`]) renameSync(now(path), path);
	}
	const symbols = new Map<string, number>();
	for (const line of readFileSync(names, "utf8").split("\n")) {
		const [address, , name] = line.split(" ");
		if (name) symbols.set(name, Number.parseInt(address!, 16));
	}
	return { elf, bytes: readFileSync(binary), symbols, map: readFileSync(map, "utf8") };
}
