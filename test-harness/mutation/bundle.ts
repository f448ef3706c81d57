import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";

/**
 * One file out of a room's tests and the code that they test: `bundle.ts ROOM`, in the folder that it lies in. Stryker
 * runs it once, in its copy of the tree, on code that holds all mutants; which one is on, the environment says.
 */
const FOLDER = dirname(fileURLToPath(import.meta.url));
const ROOT = join(FOLDER, "..", "..");
const room = process.argv[2] ?? "";

const plugin: Plugin = {
	name: "in-one-process",
	setup(build) {
		build.onResolve({ filter: /^node:test$/ }, () => ({ path: join(FOLDER, "test-runner.ts") }));
		// Vectors are found beside the file that reads them, not beside the bundle.
		build.onLoad({ filter: /test-harness\/.*\.ts$/ }, ({ path }) => {
			const text = readFileSync(path, "utf8");
			return { contents: text.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href)), loader: "ts" };
		});
	},
};

await build({
	entryPoints: [join(FOLDER, `${room}.ts`)],
	outfile: join(ROOT, "build", "mutation", `${room}.mjs`),
	bundle: true,
	format: "esm",
	platform: "node",
	target: "node20",
	packages: "external",
	plugins: [plugin],
	logLevel: "error",
	absWorkingDir: ROOT,
});
