import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { ROOT } from "../root.js";

const SOURCE = join(ROOT, "test-harness", "concentrator", "page");

/** Where the built page lies. */
export const PAGE_FOLDER = join(ROOT, "build", "page");

/** Bundles the page into `into`; takes about half a second. @returns the folder */
export async function buildPage(into: string = PAGE_FOLDER): Promise<string> {
	mkdirSync(into, { recursive: true });
	await build({
		entryPoints: [join(SOURCE, "page.ts"), join(SOURCE, "page.css")],
		outdir: into,
		bundle: true,
		minify: true,
		format: "esm",
		target: ["es2022"],
		legalComments: "none",
		logLevel: "silent",
		tsconfigRaw: "{}",
	});
	for (const name of ["index.html", "icon.svg"]) cpSync(join(SOURCE, name), join(into, name));
	return into;
}
