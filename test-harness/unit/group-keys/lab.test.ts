import assert from "node:assert/strict";
import { test } from "node:test";
import { compressionsOf } from "../../group-keys/counting-crypto.js";
import { CONTROLLED } from "../../group-keys/registry.js";
import { checkBatches } from "../../lab/published.js";
import { writeHtml, writeText } from "../../lab/report.js";
import { runLab } from "../../lab/run.js";
import { seed } from "../../seed.js";

test("the lab at n = 256: every published figure is met, and the page has a row for each scheme", () => {
	const report = runLab({ schemes: CONTROLLED, sizes: [256], seed, onProgress: () => {} });
	const failed = report.checks.filter(({ ok, isGoal }) => !ok && !isGoal);
	assert.deepEqual(failed, [], `seed ${seed}`);
	assert.ok(report.passed);
	assert.ok(report.checks.length >= 35, `${report.checks.length} figures`);
	const hora = report.rows.find(({ scheme }) => scheme === "hora") ?? assert.fail("no hora");
	assert.equal(hora.join.broadcastBytes, 0);
	assert.equal(hora.leave.broadcastBytes, 164);
	const html = writeHtml(report);
	const text = writeText(report);
	for (const { entry, title } of CONTROLLED) {
		assert.ok(html.includes(title), title);
		assert.ok(text.includes(entry.name), entry.name);
	}
	assert.ok(html.includes("<svg"));
});

test("a figure that differs fails", () => {
	const row = { scheme: "lkh", n: 1024, evicted: 16, rounds: 24, mean: 190, deviation: 7, max: 200, meanBytes: 5000 };
	assert.deepEqual(
		checkBatches([row]).map(({ ok }) => ok),
		[false],
	);
	assert.deepEqual(
		checkBatches([{ ...row, mean: 182 }]).map(({ ok }) => ok),
		[true],
	);
	const most = { ...row, scheme: "hora", evicted: 1, mean: 10, deviation: 0, max: 11 };
	assert.deepEqual(
		checkBatches([most]).map(({ ok }) => ok),
		[true, false],
	);
});

test("compressions of a message", () => {
	assert.deepEqual([0, 55, 56, 119, 120].map(compressionsOf), [1, 1, 2, 2, 3]);
});
