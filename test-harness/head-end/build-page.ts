import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { ROOT } from "../root.js";

const SOURCE = join(ROOT, "test-harness", "head-end", "page");

/** Where the built page lies. */
export const PAGE_FOLDER = join(ROOT, "build", "page");

/** Puts a file in place whole, so that another process that serves the same folder never sees half of it. */
function place(path: string, content: Uint8Array): void {
	if (existsSync(path) && readFileSync(path).equals(content)) return;
	const temporary = `${path}.${process.pid}.tmp`;
	writeFileSync(temporary, content);
	renameSync(temporary, path);
}

/** Bundles the page into `into`; takes about half a second. @returns the folder */
export async function buildPage(into: string = PAGE_FOLDER): Promise<string> {
	mkdirSync(into, { recursive: true });
	const { outputFiles } = await build({
		entryPoints: [join(SOURCE, "page.ts"), join(SOURCE, "page.css")],
		outdir: into,
		bundle: true,
		minify: true,
		write: false,
		format: "esm",
		target: ["es2022"],
		legalComments: "none",
		logLevel: "silent",
		tsconfigRaw: "{}",
	});
	for (const { path, contents } of outputFiles) place(path, contents);
	for (const name of ["index.html", "icon.svg"]) place(join(into, name), readFileSync(join(SOURCE, name)));
	return into;
}
