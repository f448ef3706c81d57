import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { ROOT } from "../root.js";
import { prepare, progress, progressEnd } from "./build.js";

/** One measured figure. Times are medians; nothing is asserted. */
export interface Measurement {
	readonly name: string;
	readonly value: number;
	readonly unit: string;
	/** What it is compared with, where the issue or a design document states a figure to beat. */
	readonly beat?: string;
	readonly note?: string;
}

/** Each module exports `measure(onProgress): Promise<Measurement[]>`. */
const MODULES = [
	"metrology",
	"engine",
	"storage",
	"mqtt",
	"crypto",
	"key-store",
	"broadcast",
	"firmware-update",
	"rv32",
] as const;

export function addBench(program: Command): Command {
	return program
		.command("bench")
		.description("measure cost, memory and speed; prints a table, asserts nothing")
		.argument("[modules...]", `some of: ${MODULES.join(", ")}`)
		.option("--json <file>", "write the figures there too")
		.action(async (chosen: string[], options: { json?: string }) => {
			const unknown = chosen.filter((name) => !(MODULES as readonly string[]).includes(name));
			if (unknown.length > 0) {
				process.stderr.write(`wattlock: bench knows no ${unknown.join(", ")}; allowed: ${MODULES.join(", ")}\n`);
				process.exitCode = 2;
				return;
			}
			await prepare();
			const { default: Table } = await import("cli-table3");
			const all: (Measurement & { module: string })[] = [];
			for (const name of chosen.length > 0 ? chosen : MODULES) {
				const file = join(ROOT, "test-harness", "bench", `${name}.ts`);
				const { measure } = (await import(pathToFileURL(file).href)) as {
					measure(onProgress: (text: string) => void): Promise<Measurement[]>;
				};
				const found = await measure((text) => progress(`${name}: ${text}`));
				for (const row of found) all.push({ module: name, ...row });
			}
			progressEnd();
			const table = new Table({
				head: ["module", "figure", "value", "unit", "to beat", "note"],
				style: { head: [], border: [] },
			});
			for (const { module, name, value, unit, beat, note } of all)
				table.push([module, name, Number(value.toPrecision(5)).toString(), unit, beat ?? "", note ?? ""]);
			process.stdout.write(`${table.toString()}\n`);
			if (options.json) {
				const path = resolve(options.json);
				mkdirSync(dirname(path), { recursive: true });
				const { node } = process.versions;
				writeFileSync(path, `${JSON.stringify({ node, platform: process.platform, figures: all }, undefined, "\t")}\n`);
			}
		});
}
