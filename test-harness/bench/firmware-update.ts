import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Measurement } from "../commands/bench.js";
import { cCompiler } from "../crypto/c-driver.js";
import { buildXsRunner, C6_MEMORY, LARGE_MEMORY, runOnXs } from "../crypto/xs-runner.js";
import { ROOT } from "../root.js";
import type { LmsRequest } from "../signer/xs/main.js";

interface Vector {
	readonly source: string;
	readonly publicKey: string;
	readonly message: string;
	readonly signature: string;
}

/** Verification of an update's signature on XS, in metering ticks: what is done, less its preparation. */
export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	const compiler = cCompiler();
	if (compiler.skip) return [{ name: "update signature on XS", value: 0, unit: "", note: compiler.skip }];
	const runner = await buildXsRunner(join(ROOT, "test-harness", "signer", "xs", "main.ts"));
	const path = join(ROOT, "test-harness", "vectors", "crypto", "lms.json");
	const vectors = JSON.parse(readFileSync(path, "utf8")) as Vector[];
	const found: Measurement[] = [];
	for (const crypto of ["native", "noble"] as const)
		for (const { source, publicKey, message, signature } of [vectors[0]!, vectors.at(-1)!]) {
			onProgress(`${source}, ${crypto}`);
			const request: LmsRequest = { crypto, times: 0, publicKey, message, signature };
			const memory = crypto === "native" ? C6_MEMORY : LARGE_MEMORY;
			const { answers } = runOnXs(runner, memory, [request, { ...request, times: 2 }]);
			const bytes = signature.length / 2;
			found.push({
				name: `verify an update signature of ${bytes} B, ${crypto} on XS`,
				value: (answers[1]!.ticks - answers[0]!.ticks) / 2,
				unit: "ticks",
				note: `${String(answers[1]!.answer)} compressions; ${source.split(":")[0]}`,
			});
		}
	return found;
}
