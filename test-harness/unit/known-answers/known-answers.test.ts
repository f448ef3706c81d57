import assert from "node:assert/strict";
import { test } from "node:test";
import { TypeScriptSampleKernel } from "../../../src/metrology/sample-kernel.js";
import { loadKnownAnswers } from "../../vectors/known-answers/load.js";
import { runKnownAnswers } from "../../vectors/known-answers/suite.js";

const KERNELS = {
	TypeScript: (layout: ConstructorParameters<typeof TypeScriptSampleKernel>[0]) => new TypeScriptSampleKernel(layout),
};

test("known answers on Node", async (t) => {
	const answers = loadKnownAnswers();
	const names: string[] = [];
	const checks: Promise<void>[] = [];
	runKnownAnswers(answers, { kernels: KERNELS }, ({ name, vectorCount, failures }) => {
		names.push(name);
		checks.push(t.test(`${name}: ${vectorCount} vectors`, () => assert.deepEqual(failures, [])));
	});
	await Promise.all(checks);
	assert.deepEqual(
		names.sort(),
		Object.keys(answers).sort(),
		"every vector file has its group, and the other way round",
	);
});
