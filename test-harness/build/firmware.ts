import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, extname, join, relative } from "node:path";
import { type BuildFailure, build, formatMessages } from "esbuild";
import { ROOT } from "../root.js";
import { UserError } from "../user-error.js";
import { buildEngine, LINUX_FOLDER } from "./engine.js";
import { mqttPacketPlugin } from "./mqtt-packet-plugin.js";
import { noblePlugin } from "./noble-plugin.js";

export interface FirmwareOptions {
	/** The module `main`; default: hosts/linux/main.ts. */
	readonly entry?: string;
	/** Names the archive in build/linux; default: meter. */
	readonly name?: string;
	onProgress?(text: string): void;
}

export interface FirmwareImage {
	/** Path of the archive, for `wattlock-host` and `LinuxXsTarget`. */
	readonly archive: string;
	/** SHA-256 of the archive, hexadecimal. */
	readonly digest: string;
	/** Bytecode of each module. */
	readonly modules: readonly { readonly name: string; readonly bytes: number }[];
}

/** What npm packages expect of Node, in our own words: src/mqtt/shims/X.cjs stands for module X. */
export function shimAliases(): Record<string, string> {
	const shims = join(ROOT, "src", "mqtt", "shims");
	const alias: Record<string, string> = {};
	if (!existsSync(shims)) return alias;
	for (const file of readdirSync(shims))
		if (/\.(js|ts|cjs)$/.test(file)) alias[basename(file, extname(file))] = join(shims, file);
	return alias;
}

const ASSIGNMENT = "(?:=(?![=>])|[-+*/%&|^]=|\\*\\*=|<<=|>>>?=|&&=|\\|\\|=|\\?\\?=)";

/**
 * Names that may be assigned after their declaration, anywhere in the bundle; too many rather than too few. The host
 * takes every other variable of the shared modules as the constant it was before esbuild made `var` of it: a meter then
 * needs no place for a value of its own.
 */
export function assignedNames(text: string): Set<string> {
	const names = new Set<string>();
	const identifier = "[A-Za-z_$][\\w$]*";
	const direct = new RegExp(
		`(?<![\\w$.])(?<!\\b(?:var|let|const|class)\\s+)(${identifier})\\s*(?:${ASSIGNMENT}|\\+\\+|--)` +
			`|(?:\\+\\+|--)\\s*(${identifier})` +
			`|\\bfor\\s*(?:await\\s*)?\\(\\s*(${identifier})\\s+(?:of|in)\\b` +
			`|\\b(?:var|let)\\s+(${identifier})\\s*(?=[;,])`,
		"g",
	);
	for (const match of text.matchAll(direct)) names.add(match[1] ?? match[2] ?? match[3] ?? match[4] ?? "");
	// second and later variables of one declaration look like assignments and are taken as such;
	// of a destructuring, or an index that is assigned, every name in the brackets
	for (const match of text.matchAll(new RegExp(`[\\]}]\\s*${ASSIGNMENT}`, "g"))) {
		let depth = 0;
		let start = match.index;
		for (; start >= 0; start--) {
			const character = text[start]!;
			if (character === "]" || character === "}") depth++;
			else if ((character === "[" || character === "{") && --depth === 0) break;
		}
		for (const [name] of text.slice(Math.max(start, 0), match.index).matchAll(new RegExp(identifier, "g")))
			names.add(name);
	}
	return names;
}

/**
 * Private names of top-level classes become ordinary ones: `#name` of class Meter is `_Meter_name`. XS keeps each private
 * method in every instance (a slot each: 26 for a record log); as an ordinary one it is on the shared prototype. The
 * class in the name keeps a subclass apart from its base. TypeScript has checked by then that nobody else looks inside.
 */
export function exposePrivateNames(text: string): string {
	let owner = "";
	const lines = text.split("\n");
	for (const [index, line] of lines.entries()) {
		if (owner === "") {
			owner = /^(?:(?:var|let|const) )?(?:(\w+) = )?class\b(?: (\w+))?.*\{$/.exec(line)?.slice(1).find(Boolean) ?? "";
			continue;
		}
		if (/^\};?$/.test(line)) {
			owner = "";
			continue;
		}
		if (/^\s*(?:\*|\/\*|\/\/)/.test(line)) continue;
		if (/#[A-Za-z_]\w* in\b/.test(line))
			throw new UserError(`"#name in object" is not supported on XS: ${line.trim()}`);
		lines[index] = line
			.replace(/^( +(?:(?:static|async|get|set) )*\*?)#([A-Za-z_]\w*)(?=\s*[(=;])/, `$1_${owner}_$2`)
			.replace(/\.#([A-Za-z_]\w*)/g, `._${owner}_$1`);
	}
	return lines.join("\n");
}

/** A global is looked for among all globals at each use, a variable of the module is not: 12 % of a meter's time. */
const GLOBALS = ["Math", "Number", "Object", "Uint8Array", "DataView", "Float64Array"];

/** One ES module for XS, of an entry and all it imports, with a list of its variables for the host. */
export async function bundleFirmware(entry: string): Promise<string> {
	try {
		const { outputFiles } = await build({
			entryPoints: [entry],
			bundle: true,
			write: false,
			format: "esm",
			platform: "neutral",
			mainFields: ["module", "main"],
			target: "es2022",
			// XS 13.3 throws "not initialized yet" for `static x = new X()` ahead of instance fields
			supported: { "class-static-field": false },
			alias: shimAliases(),
			plugins: [mqttPacketPlugin(), noblePlugin()],
			banner: { js: GLOBALS.map((name) => `var ${name} = globalThis.${name};`).join("\n") },
			legalComments: "none",
			logLevel: "silent",
			absWorkingDir: ROOT,
		});
		const text = exposePrivateNames(outputFiles[0]!.text);
		return `${text}globalThis.wattlockAssigned = ${JSON.stringify(` ${[...assignedNames(text)].join(" ")} `)};\n`;
	} catch (error) {
		const errors = (error as Partial<BuildFailure>).errors;
		if (!errors) throw error;
		const lines = await formatMessages(errors, { kind: "error", color: false });
		throw new UserError(`the firmware does not bundle:\n${lines.join("").trim()}`);
	}
}

/** Bundles the firmware and compiles it to bytecode that runs in place, if anything in it or the compiler changed. */
export async function buildFirmware(options: FirmwareOptions = {}): Promise<FirmwareImage> {
	const entry = options.entry ?? join(ROOT, "hosts", "linux", "main.ts");
	const name = options.name ?? "meter";
	const { compiler } = await buildEngine(options.onProgress ? { onProgress: options.onProgress } : {});
	const text = await bundleFirmware(entry);
	const archive = join(LINUX_FOLDER, `${name}.wlxa`);
	const key = createHash("sha256").update(readFileSync(compiler)).update(text).digest("hex");
	const keyPath = `${archive}.json`;
	if (existsSync(archive) && existsSync(keyPath)) {
		const known = JSON.parse(readFileSync(keyPath, "utf8")) as { key: string; image: Omit<FirmwareImage, "archive"> };
		if (known.key === key) return { archive, ...known.image };
	}
	options.onProgress?.(`firmware: compiling ${relative(ROOT, entry)}`);
	mkdirSync(LINUX_FOLDER, { recursive: true });
	const source = join(LINUX_FOLDER, `${name}.js`);
	const output = `${archive}.${process.pid}.new`;
	const sourceNow = `${source}.${process.pid}.new`;
	writeFileSync(sourceNow, text);
	renameSync(sourceNow, source);
	const { status, stdout, stderr } = spawnSync(compiler, ["-o", output, `main=${source}`], { encoding: "utf8" });
	if (status !== 0) {
		rmSync(output, { force: true });
		throw new UserError(`the firmware does not compile:\n${stderr.trim()}`);
	}
	const modules = stdout
		.trim()
		.split("\n")
		.map((line) => line.split(" "))
		.map(([module = "", bytes]) => ({ name: module, bytes: Number(bytes) }));
	const digest = createHash("sha256").update(readFileSync(output)).digest("hex");
	renameSync(output, archive);
	writeFileSync(keyPath, JSON.stringify({ key, image: { digest, modules } }));
	return { archive, digest, modules };
}
