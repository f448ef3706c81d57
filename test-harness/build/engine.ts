import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import { ROOT } from "../root.js";
import { UserError } from "../user-error.js";
import { CRYPTO_BINDING, CRYPTO_FOLDER, CRYPTO_SOURCES } from "./crypto-sources.js";

/** Where the built things of the Linux host are. */
export const LINUX_FOLDER = join(ROOT, "build", "linux");

export const XS = join(ROOT, "node_modules", "@agoric", "xsnap", "moddable", "xs");
export const INCLUDES: readonly string[] = [join(XS, "includes"), join(XS, "platforms"), join(XS, "sources")];

/** Not ours to have: snapshots and lockdown of the npm package. */
const LEFT_OUT = new Set(["xsSnapshot.c", "xsLockdown.c"]);
/** Only the compiler has the parser. */
const PARSER = new Set([
	"xsLexical.c",
	"xsSyntaxical.c",
	"xsTree.c",
	"xsScope.c",
	"xsCode.c",
	"xsSourceMap.c",
	"xsScript.c",
]);

/** The engine's switches; see hosts/xs/README.md. */
export const DEFINES: readonly string[] = [
	"INCLUDE_XSPLATFORM",
	'XSPLATFORM="xs-platform.h"',
	"mxRun=1",
	"mxParse=1",
	"mxNoConsole=1",
	"mxMetering=1",
	"mxBoundsCheck=1",
];

export interface Unit {
	readonly object: string;
	readonly source: string;
	readonly flags: readonly string[];
}

export interface EngineOptions {
	/** One line for people, when there is something to do. */
	onProgress?(text: string): void;
	/** Built with checks of addresses and of undefined behaviour, beside the usual build; slow. */
	readonly sanitize?: boolean;
}

export interface Engine {
	/** Runs firmware archives: `wattlock-host [--threads N] FIRMWARE`. */
	readonly host: string;
	/** Makes them: `wattlock-xsc -o ARCHIVE name=file.js …`. */
	readonly compiler: string;
}

export function run(program: string, parameters: readonly string[]): Promise<{ code: number; text: string }> {
	return new Promise((resolve, reject) => {
		const child = spawn(program, parameters, { stdio: ["ignore", "pipe", "pipe"] });
		let text = "";
		const take = (piece: Buffer): void => {
			text += piece.toString("utf8");
		};
		child.stdout.on("data", take);
		child.stderr.on("data", take);
		child.on("error", reject);
		child.on("close", (code) => resolve({ code: code ?? 1, text }));
	});
}

/** The C compiler and what it calls itself, or one line that says what to install. */
async function findCompiler(): Promise<{ program: string; version: string }> {
	const program = process.env["CC"] || "cc";
	const how = `install one (Debian: apt-get install gcc libc6-dev; Fedora: dnf install gcc) or set CC`;
	try {
		const { code, text } = await run(program, ["--version"]);
		if (code !== 0) throw new UserError(`the C compiler "${program}" does not run: ${how}`);
		return { program, version: text };
	} catch (error) {
		if (error instanceof UserError) throw error;
		throw new UserError(`no C compiler "${program}": ${how}`);
	}
}

export function digestOf(pieces: Iterable<string | Buffer>): string {
	const hash = createHash("sha256");
	for (const piece of pieces) hash.update(piece).update("\0");
	return hash.digest("hex");
}

export function filesOf(folder: string, ending: string): string[] {
	return readdirSync(folder)
		.filter((name) => name.endsWith(ending))
		.sort()
		.map((name) => join(folder, name));
}

function keyIn(path: string): string {
	return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** Runs at most one task a core; the first failure stops the rest. */
async function inParallel<T>(tasks: readonly T[], work: (task: T) => Promise<void>): Promise<void> {
	let next = 0;
	const worker = async (): Promise<void> => {
		while (next < tasks.length) await work(tasks[next++]!);
	};
	await Promise.all(Array.from({ length: Math.min(availableParallelism(), tasks.length) }, worker));
}

/** Makes `path` with a command that writes to another name first: whoever runs the old one keeps it. */
export async function make(
	compiler: string,
	path: string,
	key: string,
	parameters: (output: string) => readonly string[],
): Promise<void> {
	const output = `${path}.${process.pid}.new`;
	const { code, text } = await run(compiler, parameters(output));
	if (code !== 0) {
		rmSync(output, { force: true });
		throw new UserError(`${basename(path)} does not build:\n${text.trim()}`);
	}
	if (text.trim() !== "") process.stderr.write(text);
	renameSync(output, path);
	writeFileSync(`${path}.key`, key);
}

/**
 * Compiles what has changed: a unit's key is of its source, its flags and `headersKey`.
 * @returns the key of each object, by path
 */
export async function compileUnits(
	compiler: string,
	units: readonly Unit[],
	headersKey: string,
	onProgress?: (text: string) => void,
): Promise<Map<string, string>> {
	const keys = new Map(
		units.map(({ object, source, flags }) => [
			object,
			digestOf([headersKey, compiler, ...flags, readFileSync(source)]),
		]),
	);
	const stale = units.filter(({ object }) => !existsSync(object) || keyIn(`${object}.key`) !== keys.get(object));
	for (const { object } of stale) mkdirSync(dirname(object), { recursive: true });
	let made = 0;
	// The longest first: they would else end alone.
	stale.sort((a, b) => readFileSync(b.source).length - readFileSync(a.source).length);
	await inParallel(stale, async ({ object, source, flags }) => {
		await make(compiler, object, keys.get(object)!, (output) => [...flags, "-c", source, "-o", output]);
		onProgress?.(`engine: ${++made} of ${stale.length} files compiled`);
	});
	return keys;
}

/** Sources of the engine as a host compiles them. */
export function engineSources(): { readonly runtime: string[]; readonly parser: string[] } {
	const all = filesOf(join(XS, "sources"), ".c").filter((path) => !LEFT_OUT.has(basename(path)));
	return {
		runtime: all.filter((path) => !PARSER.has(basename(path))),
		parser: all.filter((path) => PARSER.has(basename(path))),
	};
}

/** Headers that any of our C may include. */
export function engineHeaders(): string[] {
	return [
		...INCLUDES.flatMap((include) => filesOf(include, ".h")),
		...filesOf(join(ROOT, "hosts", "xs"), ".h"),
		...filesOf(CRYPTO_FOLDER, ".h"),
		...filesOf(join(ROOT, "src", "metrology"), ".h"),
	];
}

/** The C that every XS host has. */
export const HOST_SOURCES: readonly string[] = ["memory", "archive", "root", "flash", "board"].map((name) =>
	join(ROOT, "hosts", "xs", `${name}.c`),
);

/**
 * Builds XS from the npm package with our host C, as far as something has changed: by content of sources and headers,
 * flags and compiler version. From clean about 20 s on two cores.
 */
export async function buildEngine(options: EngineOptions = {}): Promise<Engine> {
	if (!existsSync(join(XS, "sources", "xsAll.c")))
		throw new UserError("the XS sources are missing: npm ci --ignore-scripts");
	const folder = options.sanitize ? join(LINUX_FOLDER, "sanitize") : LINUX_FOLDER;
	const compiler = await findCompiler();
	const kernel = join(ROOT, "src", "metrology", "sample-kernel.c");
	const hasKernel = existsSync(kernel);
	const headersKey = digestOf([
		compiler.version,
		...engineHeaders().flatMap((path) => [basename(path), readFileSync(path)]),
	]);

	const optimize = options.sanitize
		? ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
		: ["-O2"];
	const defines = [...DEFINES, `WATTLOCK_KERNEL=${hasKernel ? 1 : 0}`].map((define) => `-D${define}`);
	const includes = INCLUDES.flatMap((include) => ["-isystem", include]);
	// XS itself is made for GNU C and warns freely; ours is C11 without warnings.
	const theirs = ["-std=gnu11", "-w", ...optimize, ...defines, ...includes, "-I", join(ROOT, "hosts", "xs")];
	// The engine's own undefined behaviour is not ours to mend.
	const theirsChecked = options.sanitize ? [...theirs, "-fno-sanitize=undefined"] : theirs;
	const ours = [
		"-std=c11",
		"-D_DEFAULT_SOURCE",
		"-Wall",
		"-Wextra",
		...optimize,
		...defines,
		...includes,
		"-I",
		join(ROOT, "hosts", "xs"),
		"-I",
		CRYPTO_FOLDER,
		"-I",
		join(ROOT, "src", "metrology"),
	];
	const unit = (source: string, flags: readonly string[]): Unit => ({
		object: join(folder, "objects", `${basename(source, ".c")}.o`),
		source,
		flags,
	});
	const sources = engineSources();
	const runtime = sources.runtime.map((path) => unit(path, theirsChecked));
	const parser = sources.parser.map((path) => unit(path, theirsChecked));
	const hostC = HOST_SOURCES.map((path) => unit(path, ours));
	for (const path of [...CRYPTO_SOURCES, ...CRYPTO_BINDING]) hostC.push(unit(path, ours));
	hostC.push(unit(join(ROOT, "hosts", "linux", "main.c"), ours));
	if (hasKernel) hostC.push(unit(kernel, ours));
	const compilerC = unit(join(ROOT, "hosts", "xs", "compiler.c"), ours);

	const units = [...runtime, ...parser, ...hostC, compilerC];
	const keys = await compileUnits(compiler.program, units, headersKey, options.onProgress);

	const programs = [
		{ path: join(folder, "wattlock-xsc"), objects: [...runtime, ...parser, compilerC] },
		{ path: join(folder, "wattlock-host"), objects: [...runtime, ...hostC] },
	];
	for (const { path, objects } of programs) {
		const key = digestOf([...optimize, ...objects.map(({ object }) => keys.get(object)!)]);
		if (existsSync(path) && keyIn(`${path}.key`) === key) continue;
		options.onProgress?.(`engine: linking ${basename(path)}`);
		await make(compiler.program, path, key, (output) => [
			...optimize,
			...objects.map(({ object }) => object),
			"-o",
			output,
			"-lm",
			"-ldl",
			"-lpthread",
		]);
	}
	return { compiler: programs[0]!.path, host: programs[1]!.path };
}
