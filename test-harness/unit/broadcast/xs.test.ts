import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { BroadcastRequest } from "../../broadcast/xs/main.js";
import { cCompiler } from "../../crypto/c-driver.js";
import { buildXsRunner, C6_MEMORY, runOnXs } from "../../crypto/xs-runner.js";
import { ROOT } from "../../root.js";

const { skip } = cCompiler();
const { bench } = JSON.parse(
	readFileSync(join(ROOT, "test-harness", "vectors", "broadcast", "broadcast.json"), "utf8"),
) as { bench: Omit<BroadcastRequest, "crypto" | "times"> };

test("on XS, modules read-only, in the memory of an ESP32-C6: a beacon and a broadcast, again and again", {
	skip,
}, async () => {
	const runner = await buildXsRunner(join(ROOT, "test-harness", "broadcast", "xs", "main.ts"));
	for (const crypto of ["native", "noble"] as const) {
		const requests = [1, 50, 200].map((times) => ({ ...bench, crypto, times }));
		const { answers, memory } = runOnXs(runner, C6_MEMORY, requests);
		assert.deepEqual(
			answers.map(({ answer }) => answer),
			[1, 50, 200],
			crypto,
		);
		const ticks = (answers[2]!.ticks - answers[1]!.ticks) / 150;
		console.log(`${crypto}: ${ticks.toFixed(0)} ticks a round; ${memory.replaceAll("\n", "; ")}`);
	}
});
