import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { CHIPS } from "../../calibration/simulated-bench.js";
import { cCompiler } from "../../crypto/c-driver.js";
import { buildXsRunner, LARGE_MEMORY, runOnXs } from "../../crypto/xs-runner.js";
import { ROOT } from "../../root.js";
import { seed } from "../../seed.js";

const compiler = cCompiler();
const skip = compiler.skip ?? false;

test("all drivers, their chips and the calibration give the same on XS as on Node", { skip }, async () => {
	const runner = await buildXsRunner(join(ROOT, "test-harness", "chips", "xs", "main.ts"));
	const chips = CHIPS.filter((chip) => chip !== "bl0937"); // it is the HLW8012 with other constants
	const { answers } = runOnXs(
		runner,
		LARGE_MEMORY,
		chips.map((chip) => ({ calibrate: chip, seed })),
	);
	Object.assign(globalThis, { wattlockStart: undefined });
	const { calibrateToText } = await import("../../chips/xs/main.js");
	for (const [i, chip] of chips.entries()) assert.equal(answers[i]!.answer, calibrateToText(chip, seed), chip);
});
