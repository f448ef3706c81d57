import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { SCHEMES } from "../../src/group-keys/registry.js";
import { progress, progressEnd } from "./build.js";
import { integer, listOf } from "./options.js";

const NAMES = SCHEMES.map(({ name }) => name);

function sizes(text: string): number[] {
	return text.split(",").map((part) => {
		const n = Number(part);
		if (!Number.isInteger(Math.log2(n)) || n < 64 || n > 65_536)
			throw new InvalidArgumentError("Allowed: powers of two from 64 to 65536, separated by commas.");
		return n;
	});
}

function write(path: string, text: string): void {
	const file = resolve(path);
	mkdirSync(dirname(file), { recursive: true });
	writeFileSync(file, text);
	process.stdout.write(`written: ${path}\n`);
}

export function addLab(program: Command): Command {
	return program
		.command("lab")
		.description("every group key scheme through the same changes, and against the published figures")
		.option("--schemes <names>", `"all", or some of ${NAMES.join(", ")}`, listOf("all", ...NAMES), ["all"])
		.option("--n <sizes>", "members of the domain: powers of two, separated by commas", sizes, [256, 1024, 16_384])
		.option("--seed <number>", "seed of keys and choices", integer(0, 4_294_967_295), 1)
		.option("--scale", "the controller of a million leaves, too: about a minute and 80 MB", false)
		.option("--json <file>", "write the figures there")
		.option("--html <file>", "write tables and plots there")
		.action(
			async (options: {
				schemes: string[];
				n: number[];
				seed: number;
				scale: boolean;
				json?: string;
				html?: string;
			}) => {
				const { CONTROLLED } = await import("../group-keys/registry.js");
				const { runLab } = await import("../lab/run.js");
				const { writeText, writeHtml } = await import("../lab/report.js");
				process.stdout.write(`SEED=${options.seed}\n`);
				const all = options.schemes.includes("all");
				const schemes = CONTROLLED.filter(({ entry }) => all || options.schemes.includes(entry.name));
				const report = runLab({ schemes, sizes: options.n, seed: options.seed, onProgress: progress });
				progressEnd();
				process.stdout.write(writeText(report));
				if (options.scale) {
					const { runScale, writeScale } = await import("../lab/scale.js");
					const scale = runScale(20, options.seed, progress);
					progressEnd();
					process.stdout.write(writeScale(scale));
				}
				if (options.json) write(options.json, `${JSON.stringify(report, undefined, "\t")}\n`);
				if (options.html) write(options.html, writeHtml(report));
				process.exitCode = report.passed ? 0 : 1;
			},
		);
}
