import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
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

test("docs/STORAGE.md has every table of the code, row by row", () => {
	const document = new Set(tableRows(readFileSync(new URL("docs/STORAGE.md", ROOT), "utf8")));
	const folder = new URL("src/storage/", ROOT);
	let rows = 0;
	for (const name of readdirSync(folder)) {
		for (const comment of readFileSync(new URL(name, folder), "utf8").match(/\/\*\*[\s\S]*?\*\//g) ?? [])
			for (const row of tableRows(comment)) {
				assert.ok(document.has(row), `${name}: not in docs/STORAGE.md: ${row}`);
				rows++;
			}
	}
	assert.ok(rows > 40, `${rows} rows`);
});
