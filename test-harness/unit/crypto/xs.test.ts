import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { cCompiler } from "../../crypto/c-driver.js";
import { fromKat, fromWycheproof, KAT_FILES, WYCHEPROOF_FILES } from "../../crypto/load-vectors.js";
import type { CryptoVectors, SuiteResult } from "../../crypto/vector-suite.js";
import type { Request } from "../../crypto/xs/main.js";
import {
	buildXsRunner,
	C6_MEMORY,
	LARGE_MEMORY,
	runOnXs,
	type XsMemory,
	type XsRunner,
} from "../../crypto/xs-runner.js";
import { loadCore } from "../../vectors/crypto/generate.js";
import { readSharedFile, sharedData } from "../../vectors/shared-data.js";

const { skip } = cCompiler();
const wycheproof = sharedData("crypto-wycheproof");
const kat = sharedData("crypto-kat");
let runner: XsRunner;

/** One request for each vector, so that a machine of the C6's size holds them. */
function requestsOf(crypto: "noble" | "native", vectors: CryptoVectors): Request[] {
	return Object.entries(vectors).flatMap(([kind, list]) =>
		(list as readonly unknown[]).map((vector) => ({ crypto, vectors: { [kind]: [vector] } })),
	);
}

function check(memory: XsMemory, requests: readonly Request[], countMin: number, collectsOften = false): void {
	const { answers } = runOnXs(runner, memory, requests, collectsOften);
	const results = answers.map(({ answer }) => answer as SuiteResult);
	assert.deepEqual(results.flatMap(({ failures }) => failures).slice(0, 20), []);
	const count = results.reduce((sum, result) => sum + result.count, 0);
	assert.ok(count >= countMin, `only ${count} vectors`);
}

for (const crypto of ["native", "noble"] as const)
	describe(`crypto on XS, modules read-only: ${crypto}`, { skip }, () => {
		before(async () => {
			runner ??= await buildXsRunner();
		});

		// a vector's hexadecimal text and its copies are larger than the work itself
		const small = (requests: Request[]): Request[] =>
			requests.filter((request) => JSON.stringify(request).length < 6000);

		test("core vectors in the memory of an ESP32-C6", () =>
			check(C6_MEMORY, small(requestsOf(crypto, loadCore())), 180));
		test("what is refused, then the core vectors on the same objects", () =>
			check(LARGE_MEMORY, [{ crypto, misuse: true }, ...requestsOf(crypto, loadCore())], 240));
		test("core vectors while the collector runs at every chance", () => {
			const short = requestsOf(crypto, loadCore()).filter((request) => JSON.stringify(request).length < 700);
			check(LARGE_MEMORY, short, 100, true);
		});
		test("random bytes from a source that passes its tests", () => {
			const { answers } = runOnXs(runner, C6_MEMORY, [{ crypto, repeat: "random", times: 1 }]);
			assert.equal(answers[0]!.answer, 0);
		});
		for (const kind of Object.keys(WYCHEPROOF_FILES) as (keyof typeof WYCHEPROOF_FILES)[])
			test(`Wycheproof ${kind}`, { skip: wycheproof.skip }, () => {
				const text = readSharedFile("crypto-wycheproof", WYCHEPROOF_FILES[kind]).toString("utf8");
				check(LARGE_MEMORY, requestsOf(crypto, fromWycheproof(kind, text)), 40);
			});
		for (const kind of Object.keys(KAT_FILES) as (keyof typeof KAT_FILES)[])
			test(`NIST and RFC ${kind}`, { skip: kat.skip }, () => {
				const text = readSharedFile("crypto-kat", KAT_FILES[kind]).toString("utf8");
				check(LARGE_MEMORY, requestsOf(crypto, fromKat(kind, text)), 1);
			});
	});
