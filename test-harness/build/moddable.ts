import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, delimiter, dirname, extname, join, relative } from "node:path";
import { build } from "esbuild";
import { ROOT } from "../root.js";
import { UserError } from "../user-error.js";
import { KNOWN_ANSWERS, loadKnownAnswers } from "../vectors/known-answers/load.js";
import { mqttPacketPlugin } from "./mqtt-packet-plugin.js";

/** Platforms of the SDK that manifest.json has a host for. */
export const MODDABLE_TARGETS: readonly string[] = ["x-cli-lin"];

const BUILD = join(ROOT, "build", "moddable");
const GENERATED = join(BUILD, "gen");
const JAVASCRIPT = join(BUILD, "js");
const OUT = join(BUILD, "out");

/** Folders whose TypeScript goes into an image. A folder of `src` that is missing in manifest.json is not on the meter. */
const HOST = "hosts/simulator/cli";

export interface ModdableSdk {
	readonly folder: string;
	/** Folder of mcconfig and its companions. */
	readonly tools: string;
}

/** The SDK that `$MODDABLE` names, or one line that says what is missing. */
export function findModdable(): ModdableSdk {
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

/** Writes when the content differs, so that `make` rebuilds no more than it must. */
function writeIfChanged(path: string, content: string): void {
	if (existsSync(path) && readFileSync(path, "utf8") === content) return;
	mkdirSync(dirname(path), { recursive: true });
	writeFileSync(path, content);
}

function filesBelow(folder: string): string[] {
	if (!existsSync(folder)) return [];
	return readdirSync(folder, { recursive: true, encoding: "utf8" })
		.map((name) => join(folder, name))
		.filter((path) => statSync(path).isFile());
}

/** TypeScript of the firmware, the host and the known answers, as paths from the project's folder. */
function firmwareSources(): string[] {
	return ["src", HOST, KNOWN_ANSWERS]
		.flatMap((folder) => filesBelow(join(ROOT, folder)))
		.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))
		.map((path) => relative(ROOT, path))
		.filter((path) => !path.startsWith(KNOWN_ANSWERS) || ["suite.ts", "main.ts"].includes(basename(path)))
		.sort();
}

/** Object literal that is frozen all through, so that preload puts it in flash and no byte of it in RAM. */
function frozenModule(value: unknown): string {
	return (
		"function freeze(value) {\n" +
		'\tif (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze);\n' +
		"\treturn value;\n}\n" +
		`export default freeze(${JSON.stringify(value, undefined, "\t")});\n`
	);
}

/**
 * What manifest.json points at below build/moddable:
 * - `js/`: the TypeScript with its types taken out, one module for each file, folders as in the project. mcconfig can
 *   call `tsc` itself, but one process a file and all at once, and it does not preload by wildcard what is TypeScript.
 *   Types are checked by `npm run check`, stricter than mcconfig would.
 * - `gen/`: one bundle for each npm package, and the known answers.
 */
export async function generateModdable(): Promise<void> {
	const sources = firmwareSources();
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

	const shims = join(ROOT, "src", "mqtt", "shims");
	const alias: Record<string, string> = {};
	for (const file of readdirSync(shims))
		if (file.endsWith(".cjs")) alias[basename(file, extname(file))] = join(shims, file);
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
		alias,
		plugins: [mqttPacketPlugin()],
		logLevel: "silent",
	});
	// esbuild writes `var` for what was `const`: under preload that is RAM. The plugin has seen to it that none is assigned.
	const text = mqttPacket.outputFiles[0]!.text.replace(/^( {4})?var /gm, "$1const ");
	writeIfChanged(join(GENERATED, "mqtt-packet.js"), text);
	writeIfChanged(join(GENERATED, "known-answers.js"), frozenModule(loadKnownAnswers()));
}

export interface ModdableBuild {
	readonly sdk: ModdableSdk;
	/** Manifest, from the project's folder. */
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
 * Runs mcconfig on a manifest whose inputs are generated. Instrumented release: never the debug target, which ends
 * other people's simulators by name.
 */
export async function buildModdable({ sdk, manifest, target, onProgress }: ModdableBuild): Promise<ModdableImage> {
	mkdirSync(OUT, { recursive: true });
	const path = join(ROOT, manifest);
	const name = basename(dirname(path));
	onProgress?.(`Moddable: ${name} for ${target}`);
	const { code, output } = await run(
		join(sdk.tools, "mcconfig"),
		["-i", "-m", "-p", target, "-t", "build", "-o", OUT, path],
		{ ...process.env, MODDABLE: sdk.folder, PATH: `${sdk.tools}${delimiter}${process.env["PATH"] ?? ""}` },
		onProgress,
	);
	writeFileSync(join(BUILD, `${name}.log`), output);
	if (code !== 0) {
		const first =
			output.split("\n").find((line) => /(error|exception|not found)[:!]|\*\*\*/i.test(line)) ?? `exit code ${code}`;
		throw new UserError(`Moddable: ${name} does not build: ${first.trim()} (${join(BUILD, `${name}.log`)})`);
	}
	return {
		program: join(OUT, "bin", "lin", "instrument", name),
		linkerWarnings: output.split("\n").filter((line) => /no const|not frozen/.test(line)),
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
