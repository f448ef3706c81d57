import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { cCompiler } from "../../crypto/c-driver.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { buildXsRunner, C6_MEMORY, LARGE_MEMORY, runOnXs, type XsRunner } from "../../crypto/xs-runner.js";
import { runScenario, type ScenarioLine } from "../../key-store/scenario.js";
import type { KeyStoreRequest } from "../../key-store/xs/main.js";
import { ROOT } from "../../root.js";
import { loadKnownAnswers } from "../../vectors/key-store/known-answers.js";

const wanted = loadKnownAnswers();
const { skip } = cCompiler();

for (const crypto of [new NodeCrypto(), new NobleCrypto()])
	test(`four days of a meter, ${crypto.constructor.name} on Node`, () => {
		assert.deepEqual(runScenario(crypto), wanted);
	});

describe("four days of a meter on XS, modules read-only", { skip }, () => {
	let runner: XsRunner;
	before(async () => {
		runner = await buildXsRunner(join(ROOT, "test-harness", "key-store", "xs", "main.ts"));
	});
	// The answers together are larger than the small machine. With noble the scenario needs some slots more than the stack
	// of 512 has; its cryptography runs on XS in unit/crypto, and each operation of the key store in the benchmark.
	const LINES = 40;
	test("C, in the memory of an ESP32-C6", () => {
		const found = [];
		for (let from = 0; from < wanted.length; from += LINES) {
			const request: KeyStoreRequest = { crypto: "native", scenario: true, from, to: from + LINES };
			found.push(...(runOnXs(runner, C6_MEMORY, [request]).answers[0]!.answer as ScenarioLine[]));
		}
		assert.deepEqual(found, wanted);
	});
	test("C, while the collector runs at every chance", () => {
		const request: KeyStoreRequest = { crypto: "native", scenario: true, from: 0, to: wanted.length };
		assert.deepEqual(runOnXs(runner, LARGE_MEMORY, [request], true).answers[0]!.answer, wanted);
	});
});
