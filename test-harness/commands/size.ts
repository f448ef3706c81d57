import type { Command } from "commander";
import { progress, progressEnd } from "./build.js";

/** A difference as people read it. */
function difference(now: number, before: number | undefined): string {
	if (before === undefined) return "new";
	return now === before ? "" : `${now > before ? "+" : "−"}${Math.abs(now - before).toLocaleString("en-US")}`;
}

export function addSize(program: Command): Command {
	return program
		.command("size")
		.description("flash and RAM of the firmware on RV32, held against its budgets; exit code 1 when one is exceeded")
		.option("--record", "keep the figures: the next table shows what changed since", false)
		.action(async (options: { record: boolean }) => {
			const { measureSizes, overBudget, readBudgets, readRecorded, record } = await import("../size/measure.js");
			const rows = await measureSizes(progress);
			progressEnd();
			const [budgets, before] = [readBudgets(), readRecorded()];
			const { default: Table } = await import("cli-table3");
			const table = new Table({
				head: ["what", "now", "changed", "budget", "goal", "note"],
				colAligns: ["left", "right", "right", "right", "right", "left"],
				style: { head: [], border: [] },
			});
			const count = (value: number | undefined): string => value?.toLocaleString("en-US") ?? "";
			for (const { name, value, unit, note } of rows) {
				const { max, min, goal } = budgets[name] ?? {};
				const bound = max !== undefined ? `≤ ${count(max)}` : min !== undefined ? `≥ ${count(min)}` : "";
				const shown = `${count(value)}${unit === "B" ? "" : ` ${unit}`}`;
				table.push([name, shown, difference(value, before[name]), bound, count(goal), note ?? ""]);
			}
			for (const name of Object.keys(before))
				if (!rows.some((row) => row.name === name)) table.push([name, "gone", `−${count(before[name])}`, "", "", ""]);
			process.stdout.write(`${table.toString()}\n`);
			if (options.record) record(rows);
			const over = overBudget(rows, budgets);
			for (const line of over) process.stdout.write(`over budget: ${line}\n`);
			if (over.length > 0) process.exitCode = 1;
		});
}
