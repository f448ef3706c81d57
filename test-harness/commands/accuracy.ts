import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { progress, progressEnd } from "./build.js";
import { integer } from "./options.js";

export function addAccuracy(program: Command): Command {
	return program
		.command("accuracy")
		.description("the metrology against the limit tables of the standards: a computation class, not a type approval")
		.option("--quick", "a representative subset, in seconds", false)
		.option("--seed <number>", "seed of noise and odd phases", integer(0, 4_294_967_295), 1)
		.option("--report <folder>", "write accuracy.html and accuracy.json there", "out")
		.action(async (options: { quick: boolean; seed: number; report: string }) => {
			const suite = await import("../accuracy/suite.js");
			const { writeText, writeHtml } = await import("../accuracy/report.js");
			process.stdout.write(`SEED=${options.seed}\n`);
			const report = await suite.runAccuracy({ quick: options.quick, seed: options.seed, onProgress: progress });
			progressEnd();
			const folder = resolve(options.report);
			mkdirSync(folder, { recursive: true });
			writeFileSync(join(folder, "accuracy.json"), `${JSON.stringify(report, undefined, "\t")}\n`);
			writeFileSync(join(folder, "accuracy.html"), writeHtml(report));
			process.stdout.write(writeText(report));
			process.stdout.write(`report: ${join(folder, "accuracy.html")}\n`);
			process.exitCode = report.passed ? 0 : 1;
		});
}
