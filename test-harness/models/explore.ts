import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../root.js";
import { tool } from "../tools.js";

export interface Rule {
	readonly model: string;
	readonly claim: string;
	/** Under weak fairness: something happens in the end. */
	readonly fair?: boolean;
	/** The rule left out: the claim must then fail. */
	readonly broken: readonly string[];
	/** Other variants in which this claim still holds: it is another rule that they break. */
	readonly kept?: readonly string[];
}

const spin = tool("spin");
const compiler = tool("gcc");
const skip = spin.skip || compiler.skip;

/** Explores all states of a model. @returns how many errors were found, and states stored */
function explore(model: string, variant: string, claim: string, fair: boolean): { errors: number; states: number } {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-model-"));
	const run = (path: string, args: readonly string[]) => execFileSync(path, args, { cwd: folder, encoding: "utf8" });
	try {
		const defines = variant === "" ? [] : [`-D${variant}`];
		run(spin.path, [...defines, "-a", join(ROOT, "test-harness", "models", `${model}.pml`)]);
		run(compiler.path, ["-O1", "-w", "-DNFAIR=5", "-o", "pan", "pan.c"]);
		const report = run(join(folder, "pan"), ["-a", "-m100000", "-N", claim, ...(fair ? ["-f"] : [])]);
		const errors = /errors: (\d+)/.exec(report)?.[1];
		const states = /(\d+) states, stored/.exec(report)?.[1];
		assert.ok(errors !== undefined && states !== undefined, report);
		assert.doesNotMatch(report, /max search depth too small|out of memory/);
		return { errors: Number(errors), states: Number(states) };
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** A test for each rule: its claim holds, and fails when the rule is left out. */
export function testRules(rules: readonly Rule[]): void {
	for (const { model, claim, fair = false, broken, kept = [] } of rules)
		test(`${model}: ${claim} holds; without the rule it fails`, { skip }, () => {
			const { errors, states } = explore(model, "", claim, fair);
			assert.equal(errors, 0);
			assert.ok(states > 20, `${states} states`);
			console.log(`${model} ${claim}: ${states} states`);
			for (const variant of kept) assert.equal(explore(model, variant, claim, fair).errors, 0, `${variant} holds`);
			for (const variant of broken) assert.equal(explore(model, variant, claim, fair).errors, 1, `${variant} fails`);
		});
}
