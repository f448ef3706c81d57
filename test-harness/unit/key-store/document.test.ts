import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const ROOT = new URL("../../../", import.meta.url);

/** Rows of Markdown tables, blanks around cells removed. */
function tableRows(text: string): string[] {
	return text
		.split("\n")
		.map((line) => line.replace(/^\s*\* ?/, "").trim())
		.filter((line) => /^\|.*\|$/.test(line) && !/^\|[-: |]+\|$/.test(line))
		.map((line) => line.replace(/\s*\|\s*/g, "|"));
}

test("docs/STORAGE.md has both tables of the key journal, row by row", () => {
	const document = new Set(tableRows(readFileSync(new URL("docs/STORAGE.md", ROOT), "utf8")));
	let rows = 0;
	for (const name of ["journal.ts", "key-store.ts"])
		for (const comment of readFileSync(new URL(`src/key-store/${name}`, ROOT), "utf8").match(/\/\*\*[\s\S]*?\*\//g) ??
			[])
			if (/^\/\*\*\s*\* Key (journal|state)/.test(comment))
				for (const row of tableRows(comment)) {
					assert.ok(document.has(row), `${name}: not in docs/STORAGE.md: ${row}`);
					rows++;
				}
	assert.ok(rows > 35, `${rows} rows`);
});
