import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BROADCAST_BENCH_COMPRESSIONS } from "../broadcast/bench-entry.js";
import type { Measurement } from "../commands/bench.js";
import { cCompiler } from "../crypto/c-driver.js";
import { buildXsRunner, C6_MEMORY, LARGE_MEMORY, runOnXs } from "../crypto/xs-runner.js";
import { ROOT } from "../root.js";

/** A beacon, a broadcast and the beacon that shows their keys, on XS, in metering ticks; what is prepared is not counted. */
export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	const compiler = cCompiler();
	if (compiler.skip) return [{ name: "broadcast on XS", value: 0, unit: "", note: compiler.skip }];
	const runner = await buildXsRunner(join(ROOT, "test-harness", "broadcast", "xs", "main.ts"));
	const path = join(ROOT, "test-harness", "vectors", "broadcast", "broadcast.json");
	const { bench } = JSON.parse(readFileSync(path, "utf8")) as { readonly bench: object };
	return (["native", "noble"] as const).map((crypto) => {
		onProgress(`${crypto} on XS`);
		const memory = crypto === "native" ? C6_MEMORY : LARGE_MEMORY;
		const { answers } = runOnXs(runner, memory, [
			{ ...bench, crypto, times: 0 },
			{ ...bench, crypto, times: 0 },
			{ ...bench, crypto, times: 8 },
		]);
		return {
			name: `verify a beacon and a broadcast up to handing on, ${crypto} on XS`,
			value: (answers[2]!.ticks - answers[1]!.ticks) / 8,
			unit: "ticks",
			note: `${BROADCAST_BENCH_COMPRESSIONS} compressions`,
		};
	});
}
