import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { runScenario, type ScenarioLine } from "../../key-store/scenario.js";

/**
 * Four days of a meter and its servers (test-harness/key-store/scenario.ts), with OpenSSL through node:crypto, on Node.
 * `node --import tsx test-harness/vectors/key-store/known-answers.ts` writes known-answers.json anew.
 */
const FILE = new URL("known-answers.json", import.meta.url);

export function loadKnownAnswers(): readonly ScenarioLine[] {
	return (JSON.parse(readFileSync(FILE, "utf8")) as { lines: ScenarioLine[] }).lines;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
	const source = "known-answers.ts: OpenSSL through node:crypto, Node.js";
	writeFileSync(FILE, `${JSON.stringify({ source, lines: runScenario(new NodeCrypto()) }, undefined, "\t")}\n`);
}
