import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Command } from "commander";
import { ROOT } from "../root.js";
import { UserError } from "../user-error.js";

function findTests(folder: string, found: string[]): string[] {
	for (const entry of readdirSync(folder, { withFileTypes: true })) {
		const path = join(folder, entry.name);
		if (entry.isDirectory()) findTests(path, found);
		else if (entry.name.endsWith(".test.ts")) found.push(path);
	}
	return found;
}

function run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = process.env): Promise<number> {
	return new Promise((resolve) => {
		const child = spawn(program, args, { cwd: ROOT, stdio: "inherit", env: environment });
		child.on("error", (error) => {
			process.stderr.write(`wattlock: ${program}: ${error.message}\n`);
			resolve(2);
		});
		child.on("exit", (code, signal) => resolve(signal ? 2 : (code ?? 2)));
	});
}

/** Type check, format and lint, and the documents collected from the source. @returns 0, or the first failing exit code */
async function check(write: boolean): Promise<number> {
	const node = process.execPath;
	process.stdout.write("types\n");
	let code = await run(node, [join("node_modules", "typescript", "bin", "tsc"), "-p", "."]);
	if (code !== 0) return code;
	process.stdout.write("format and lint\n");
	const biome = join("node_modules", "@biomejs", "biome", "bin", "biome");
	code = await run(node, [biome, ...(write ? ["check", "--write"] : ["ci"]), "--error-on-warnings", "."]);
	if (code !== 0) return code;
	process.stdout.write("collected documents\n");
	const { collectDocuments } = await import("../build/documents.js");
	const stale = collectDocuments(write);
	if (stale.length > 0) {
		process.stdout.write(`out of date: ${stale.join(", ")} (npm run check -- --write)\n`);
		return 1;
	}
	return 0;
}

export function addCheck(program: Command): Command {
	return program
		.command("check")
		.description("type check, format and lint, documents collected from the source")
		.option("--write", "mend what can be mended", false)
		.action(async (options: { write: boolean }) => {
			process.exitCode = await check(options.write);
		});
}

export function addTest(program: Command): Command {
	return program
		.command("test")
		.description("every test that this machine can run; the rest is listed with the line that would enable it")
		.argument("[words...]", "only test files whose path contains one of these")
		.option("--no-check", "leave out type check, format and lint")
		.action(async (words: string[], options: { check: boolean }) => {
			if (options.check && words.length === 0) {
				const code = await check(false);
				if (code !== 0) {
					process.exitCode = 1;
					return;
				}
			}
			const files = findTests(join(ROOT, "test-harness"), [])
				.map((file) => relative(ROOT, file))
				.filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
				.sort();
			if (files.length === 0) throw new UserError(`no test file matches ${words.join(" ")}`);
			const { prepare } = await import("./build.js");
			await prepare();
			mkdirSync(join(ROOT, "build"), { recursive: true });
			const skipped = join(ROOT, "build", "test-skipped.json");
			const code = await run(process.execPath, [
				"--import",
				"tsx",
				"--test",
				"--test-concurrency=2",
				"--test-reporter=spec",
				"--test-reporter-destination=stdout",
				"--test-reporter=junit",
				`--test-reporter-destination=${join(ROOT, "build", "test-results.xml")}`,
				"--test-reporter=./test-harness/build/skipped-reporter.mjs",
				`--test-reporter-destination=${skipped}`,
				...files,
			]);
			const reasons = new Map<string, number>();
			for (const line of readFileSync(skipped, "utf8").split("\n")) {
				if (line === "") continue;
				const { reason } = JSON.parse(line) as { reason: string };
				reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
			}
			if (reasons.size > 0) {
				process.stdout.write("\nnot run on this machine:\n");
				for (const [reason, count] of [...reasons].sort())
					process.stdout.write(`  ${String(count).padStart(4)}  ${reason}\n`);
			}
			process.exitCode = code === 0 ? 0 : 1;
		});
}
