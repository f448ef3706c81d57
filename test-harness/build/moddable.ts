import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { build } from "esbuild";
import { ROOT } from "../root.js";
import { UserError } from "../user-error.js";
import { answersModule, writeIfChanged } from "../vectors/known-answers/bundle.js";
import { KNOWN_ANSWERS } from "../vectors/known-answers/load.js";
import { shimAliases } from "./firmware.js";
import { mqttPacketPlugin } from "./mqtt-packet-plugin.js";

/** Platforms of the SDK that manifest.json has a host for. */
export const MODDABLE_TARGETS: readonly string[] = ["x-cli-lin"];

/** Manifests, from the project's folder. */
export const METER_MANIFEST = "manifest.json";
export const KNOWN_ANSWERS_MANIFEST = `${KNOWN_ANSWERS}/manifest.json`;

const BUILD = join(ROOT, "build", "moddable");
const GENERATED = join(BUILD, "gen");
const JAVASCRIPT = join(BUILD, "js");
const OUT = join(BUILD, "out");

export interface ModdableSdk {
	readonly folder: string;
	/** Folder of mcconfig and its companions. */
	readonly tools: string;
}

/** The SDK that `$MODDABLE` names, or one line that says what is missing. */
export function findModdable(): ModdableSdk {
	if (/\s/.test(ROOT)) throw new UserError(`the SDK's makefiles cannot build in ${ROOT}: its path has a space`);
	const folder = process.env["MODDABLE"];
	if (!folder) throw new UserError("MODDABLE is not set: build the Moddable SDK and set MODDABLE to its folder");
	if (!existsSync(join(folder, "xs", "includes", "xs.h")))
		throw new UserError(`MODDABLE is ${folder}, which holds no Moddable SDK (no xs/includes/xs.h)`);
	const tools = join(folder, "build", "bin", "lin", "release");
	if (!existsSync(join(tools, "mcconfig")) || !existsSync(join(tools, "xsl")))
		throw new UserError(
			`the tools of the Moddable SDK are not built: make -C $MODDABLE/build/makefiles/lin (${folder})`,
		);
	return { folder, tools };
}

function filesBelow(folder: string): string[] {
	if (!existsSync(folder)) return [];
	return readdirSync(folder, { recursive: true, encoding: "utf8" })
		.map((name) => join(folder, name))
		.filter((path) => statSync(path).isFile());
}

/** Modules that are not TypeScript of ours: bundles below build/moddable/gen, each named in a manifest. */
const BUNDLED: readonly string[] = ["mqtt-packet", "known-answers"];
const ENTRIES: readonly string[] = ["hosts/simulator/cli/main.ts", `${KNOWN_ANSWERS}/main.ts`];

/** The TypeScript that the two images reach from their main modules, as paths from the project's folder. */
async function reachedSources(): Promise<string[]> {
	const { metafile } = await build({
		absWorkingDir: ROOT,
		entryPoints: [...ENTRIES],
		outdir: JAVASCRIPT,
		bundle: true,
		packages: "external",
		write: false,
		metafile: true,
		format: "esm",
		logLevel: "silent",
	});
	for (const { imports } of Object.values(metafile.outputs))
		for (const { path, external } of imports)
			if (external && !BUNDLED.includes(path))
				throw new UserError(
					`the firmware names the package ${path}, which has no bundle for Moddable yet: see test-harness/build/moddable.ts`,
				);
	return Object.keys(metafile.inputs).sort();
}

/**
 * What manifest.json points at below build/moddable:
 * - `js/`: the TypeScript that is reached from the main modules, its types taken out, one module for each file, folders
 *   as in the project. mcconfig can call `tsc` itself, but one process a file and all at once, and it does not preload
 *   by wildcard what is TypeScript. Types are checked by `npm run check`, stricter than mcconfig would.
 * - `gen/`: one bundle for each npm package, and the known answers.
 */
export async function generateModdable(): Promise<void> {
	const sources = await reachedSources();
	const { outputFiles } = await build({
		absWorkingDir: ROOT,
		entryPoints: sources,
		outbase: ".",
		outdir: JAVASCRIPT,
		bundle: false,
		write: false,
		format: "esm",
		target: "es2022",
		logLevel: "silent",
	});
	const wanted = new Set(outputFiles.map(({ path }) => path));
	for (const path of filesBelow(JAVASCRIPT)) if (!wanted.has(path)) rmSync(path);
	for (const { path, text } of outputFiles) writeIfChanged(path, text);
	// mcconfig wants each folder that manifest.json names, even an empty one.
	const { modules } = JSON.parse(readFileSync(join(ROOT, METER_MANIFEST), "utf8")) as {
		modules: Record<string, string>;
	};
	for (const name of Object.keys(modules))
		if (name.endsWith("/*")) mkdirSync(join(JAVASCRIPT, dirname(name)), { recursive: true });

	const mqttPacket = await build({
		stdin: {
			contents: 'import mqttPacket from "mqtt-packet"; export default Object.freeze(mqttPacket);',
			resolveDir: ROOT,
			loader: "js",
		},
		bundle: true,
		write: false,
		format: "esm",
		target: "es2022",
		alias: shimAliases(),
		plugins: [mqttPacketPlugin()],
		logLevel: "silent",
	});
	// esbuild writes `var` for what was `const`: under preload that is RAM. The plugin has seen to it that none is assigned.
	const text = mqttPacket.outputFiles[0]!.text.replace(/^( {4})?var /gm, "$1const ");
	writeIfChanged(join(GENERATED, "mqtt-packet.js"), text);
	writeIfChanged(join(GENERATED, "known-answers.js"), answersModule());
}

export interface ModdableBuild {
	readonly sdk: ModdableSdk;
	/** From the project's folder. */
	readonly manifest: string;
	readonly target: string;
	readonly onProgress?: (text: string) => void;
}

export interface ModdableImage {
	readonly program: string;
	/** Lines of the linker about module state that costs RAM or is not frozen. */
	readonly linkerWarnings: readonly string[];
}

/**
 * Runs mcconfig and make on a manifest whose inputs are generated. Instrumented release: never the debug target, which
 * ends other people's simulators by name.
 */
export async function buildModdable({ sdk, manifest, target, onProgress }: ModdableBuild): Promise<ModdableImage> {
	mkdirSync(OUT, { recursive: true });
	const path = join(ROOT, manifest);
	const name = basename(dirname(path));
	onProgress?.(`Moddable: ${name} for ${target}`);
	const environment = {
		...process.env,
		MODDABLE: sdk.folder,
		PATH: `${sdk.tools}${delimiter}${process.env["PATH"] ?? ""}`,
	};
	const generated = await run(join(sdk.tools, "mcconfig"), ["-i", "-p", target, "-o", OUT, path], environment);
	// mcconfig -m would start as many compilers as there are files: only a variable given to make holds its makefile back.
	const makefile = join(OUT, "tmp", "lin", "instrument", name, "makefile");
	const jobs = `MAKEFLAGS=--jobs=${availableParallelism()} --silent`;
	const { code, output: made } =
		generated.code === 0 ? await run("make", ["-f", makefile, jobs, "build"], environment, onProgress) : generated;
	const output = generated.code === 0 ? generated.output + made : made;
	writeFileSync(join(BUILD, `${name}.log`), output);
	// The linker speaks only when it runs: what it said last still holds.
	const linkerLog = join(BUILD, `${name}-linker.log`);
	if (output.includes("# xsl modules"))
		writeFileSync(
			linkerLog,
			output
				.split("\n")
				.filter((line) => /no const|not frozen/.test(line))
				.join("\n"),
		);
	if (code !== 0) {
		const first =
			output.split("\n").find((line) => /(error|exception|not found)[:!]|\*\*\*/i.test(line)) ?? `exit code ${code}`;
		throw new UserError(`Moddable: ${name} does not build: ${first.trim()} (${join(BUILD, `${name}.log`)})`);
	}
	return {
		program: join(OUT, "bin", "lin", "instrument", name),
		linkerWarnings: existsSync(linkerLog) ? readFileSync(linkerLog, "utf8").split("\n").filter(Boolean) : [],
	};
}

function run(
	program: string,
	args: readonly string[],
	environment: NodeJS.ProcessEnv,
	onProgress?: (text: string) => void,
): Promise<{ code: number; output: string }> {
	return new Promise((resolve, reject) => {
		const child = spawn(program, args, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
		let output = "";
		let lines = 0;
		const collect = (text: string): void => {
			output += text;
			for (const line of text.split("\n"))
				if (line.startsWith("# ") && ++lines % 10 === 0) onProgress?.(`Moddable: ${line.slice(2)}`);
		};
		child.stdout.setEncoding("utf8").on("data", collect);
		child.stderr.setEncoding("utf8").on("data", collect);
		child.on("error", (error) => reject(new UserError(`${program}: ${error.message}`)));
		child.on("close", (code) => resolve({ code: code ?? 2, output }));
	});
}
