import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../root.js";

export const LIMIT_FILES = [
	"iec-62053-21.csv",
	"iec-62053-21-influence.csv",
	"iec-62053-22.csv",
	"en-50470-3-mid.csv",
	"oiml-r46.csv",
	"iec-62053-23-24.csv",
] as const;

/** One row of a limit table, by column name. */
export type LimitRow = Readonly<Record<string, string>>;

/** Reads a limit table; every row has a mark. */
export function readLimits(file: (typeof LIMIT_FILES)[number]): LimitRow[] {
	const text = readFileSync(join(ROOT, "test-harness", "vectors", "accuracy-limits", file), "utf8");
	const [head = "", ...lines] = text.split("\n").filter((line) => line.trim() !== "");
	const names = head.split(",");
	return lines.map((line) => {
		const cells = line.split(",");
		if (cells.length !== names.length)
			throw new Error(`${file}: ${line}: ${cells.length} cells, ${names.length} columns`);
		return Object.fromEntries(names.map((name, i) => [name, cells[i] ?? ""]));
	});
}
