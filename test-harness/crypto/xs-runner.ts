import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { CRYPTO_BINDING, CRYPTO_FOLDER, CRYPTO_SOURCES } from "../build/crypto-sources.js";
import { buildEngine, LINUX_FOLDER } from "../build/engine.js";
import { assignedNames } from "../build/firmware.js";
import { noblePlugin } from "../build/noble-plugin.js";
import { ROOT } from "../root.js";

const FOLDER = join(ROOT, "test-harness", "crypto", "xs");
export const CRYPTO_ENTRY = join(FOLDER, "main.ts");
const BUILD = join(ROOT, "build", "crypto");
const XS = join(ROOT, "node_modules", "@agoric", "xsnap", "moddable", "xs");

/** What is linked besides the engine without its parser; the rest of the host has its stand-in in runner.c. */
const HOST_OBJECTS = ["memory", "archive", "root"];
const PARSER = ["xsLexical", "xsSyntaxical", "xsTree", "xsScope", "xsCode", "xsSourceMap", "xsScript"];

/** As engine.ts compiles our own C. */
const FLAGS = [
	...["-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-O2", "-DINCLUDE_XSPLATFORM"],
	...['-DXSPLATFORM="xs-platform.h"', "-DmxRun=1", "-DmxParse=1", "-DmxNoConsole=1", "-DmxMetering=1"],
	...["-DmxBoundsCheck=1", "-isystem", join(XS, "includes"), "-isystem", join(XS, "platforms")],
	...["-isystem", join(XS, "sources"), "-I", join(ROOT, "hosts", "xs"), "-I", CRYPTO_FOLDER],
];

/** What a machine may grow to. */
export interface XsMemory {
	readonly chunkBytes: number;
	readonly slots: number;
}

/** The creation of the ESP32-C6. */
export const C6_MEMORY: XsMemory = Object.freeze({ chunkBytes: 78_848, slots: 4_928 });
export const LARGE_MEMORY: XsMemory = Object.freeze({ chunkBytes: 16_777_216, slots: 262_144 });

export interface XsRunner {
	readonly program: string;
	readonly archive: string;
	/** Bytecode in bytes. */
	readonly archiveBytes: number;
}

function run(program: string, parameters: readonly string[]): void {
	const { status, stderr } = spawnSync(program, parameters, { encoding: "utf8" });
	if (status !== 0) throw new Error(`${program} failed:\n${stderr}`);
}

/**
 * Builds a module with noble's patches, and a program that runs it on the engine of the Linux host.
 * @param entry a module that sets `wattlockStart`, as xs/main.ts does
 */
export async function buildXsRunner(entry: string = CRYPTO_ENTRY): Promise<XsRunner> {
	const { compiler } = await buildEngine();
	const { outputFiles } = await build({
		entryPoints: [entry],
		bundle: true,
		write: false,
		format: "esm",
		platform: "neutral",
		mainFields: ["module", "main"],
		target: "es2022",
		supported: { "class-static-field": false },
		plugins: [noblePlugin()],
		legalComments: "none",
		logLevel: "silent",
		absWorkingDir: ROOT,
	});
	const bundle = outputFiles[0]!.text;
	const text = `${bundle}globalThis.wattlockAssigned = ${JSON.stringify(` ${[...assignedNames(bundle)].join(" ")} `)};\n`;
	mkdirSync(BUILD, { recursive: true });
	const objects = join(LINUX_FOLDER, "objects");
	const linked = readdirSync(objects)
		.filter((name) => name.endsWith(".o"))
		.map((name) => name.slice(0, -2))
		.filter((name) => (/^xs|^dtoa$/.test(name) ? !PARSER.includes(name) : HOST_OBJECTS.includes(name)))
		.map((name) => join(objects, `${name}.o`));
	const sources = [join(FOLDER, "runner.c"), ...CRYPTO_SOURCES, ...CRYPTO_BINDING];
	const hash = createHash("sha256").update(text).update(FLAGS.join(" "));
	for (const file of [...sources, ...linked]) hash.update(readFileSync(file));
	for (const name of readdirSync(CRYPTO_FOLDER).filter((name) => name.endsWith(".h")))
		hash.update(readFileSync(join(CRYPTO_FOLDER, name)));
	const key = hash.digest("hex").slice(0, 16);
	const program = join(BUILD, `runner-${key}`);
	const archive = join(BUILD, `runner-${key}.wlxa`);
	if (!existsSync(archive)) {
		const source = join(BUILD, `runner-${key}.js`);
		writeFileSync(source, text);
		run(process.env["CC"] || "cc", [...FLAGS, ...sources, ...linked, "-o", program, "-lm", "-ldl", "-lpthread"]);
		run(compiler, ["-o", archive, `main=${source}`]);
	}
	return { program, archive, archiveBytes: readFileSync(archive).length };
}

export interface XsAnswer {
	readonly ticks: number;
	readonly answer: unknown;
}

/** Runs requests on one machine, in turn. @returns the answers and what the machine says of its memory */
export function runOnXs(
	runner: XsRunner,
	memory: XsMemory,
	requests: readonly object[],
	collectsOften = false,
): { readonly answers: readonly XsAnswer[]; readonly memory: string } {
	const { status, stdout, stderr } = spawnSync(
		runner.program,
		[runner.archive, String(memory.chunkBytes), String(memory.slots), ...(collectsOften ? ["often"] : [])],
		{
			input: requests.map((request) => `${JSON.stringify(request)}\n`).join(""),
			encoding: "utf8",
			maxBuffer: 1 << 28,
		},
	);
	if (status !== 0) throw new Error(`the XS runner ended with ${String(status)}: ${stderr}`);
	const answers = stdout
		.trim()
		.split("\n")
		.map((line) => {
			const [ticks = "", text = ""] = line.split("\t");
			if (text.startsWith("exception")) throw new Error(`on XS: ${text}`);
			return { ticks: Number(ticks), answer: JSON.parse(text) as unknown };
		});
	return { answers, memory: stderr.trim() };
}
