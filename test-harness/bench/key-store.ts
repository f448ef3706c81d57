import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Measurement } from "../commands/bench.js";
import { cCompiler } from "../crypto/c-driver.js";
import { buildXsRunner, C6_MEMORY, runOnXs, type XsRunner } from "../crypto/xs-runner.js";
import { type KeyStoreRequest, OPERATIONS, type Operation } from "../key-store/xs/main.js";
import { ROOT } from "../root.js";
import { tool } from "../tools.js";

const ENTRY = join(ROOT, "test-harness", "key-store", "xs", "main.ts");
/** What of "seal 64" is the C of the cryptography: callgrind on x86-64 (on RV32: 46,871, docs/DESIGN-CRYPTO.md). */
const C_OF_A_SEAL = 46_313;

/** Ticks of one operation: those of some, less those of none. */
function ticksOf(runner: XsRunner, crypto: "native" | "noble", what: Operation): { ticks: number; stack: string } {
	const times = what === "seal 64, with a reservation" || what === "end yesterday" ? 1 : 8;
	const none: KeyStoreRequest = { crypto, measure: "nothing", times };
	const requests: KeyStoreRequest[] = [
		{ crypto, prepare: what, times },
		{ crypto, measure: what, times },
	];
	const { answers, memory } = runOnXs(runner, C6_MEMORY, [...requests, none]);
	return { ticks: (answers[1]!.ticks - answers[2]!.ticks) / times, stack: /stack peak \d+/.exec(memory)?.[0] ?? "" };
}

/** Instructions of one operation on this machine, engine and C together, from two runs of different length. */
function instructionsOf(valgrind: string, runner: XsRunner, what: Operation): number {
	const { chunkBytes, slots } = C6_MEMORY;
	const [few, many] = [2, 22].map((times) => {
		const requests: KeyStoreRequest[] = [
			{ crypto: "native", prepare: what, times: 22 },
			{ crypto: "native", measure: what, times },
		];
		const { stderr, status } = spawnSync(
			valgrind,
			[
				"--tool=callgrind",
				"--callgrind-out-file=/dev/null",
				...[runner.program, runner.archive, String(chunkBytes), String(slots)],
			],
			{ input: requests.map((request) => `${JSON.stringify(request)}\n`).join(""), encoding: "utf8" },
		);
		const count = /Collected : (\d+)/.exec(stderr)?.[1];
		if (status !== 0 || count === undefined) throw new Error(`callgrind: ${stderr.slice(-300)}`);
		return Number(count);
	});
	return (many! - few!) / 20;
}

export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	const compiler = cCompiler();
	if (compiler.skip) return [{ name: "key store on XS", value: 0, unit: "", note: compiler.skip }];
	const found: Measurement[] = [];
	const runner = await buildXsRunner(ENTRY);
	for (const crypto of ["native", "noble"] as const)
		for (const what of OPERATIONS) {
			if (what === "nothing") continue;
			onProgress(`${what}, ${crypto} on XS`);
			const { ticks, stack } = ticksOf(runner, crypto, what);
			found.push({ name: `${what}, ${crypto} on XS`, value: ticks, unit: "ticks", note: stack });
		}
	const valgrind = tool("valgrind");
	if (valgrind.skip) found.push({ name: "instructions", value: 0, unit: "", note: valgrind.skip });
	else
		for (const what of ["seal 64", "open 64", "refuse one of another day", "use a slot"] as const) {
			onProgress(`${what} under callgrind`);
			found.push({
				name: `${what}, native on XS, engine and C, this machine`,
				value: instructionsOf(valgrind.path, runner, what),
				unit: "instructions",
				...(what === "seal 64" ? { beat: `${2 * C_OF_A_SEAL + 20_000} (x86-64: twice its C and 20,000)` } : {}),
			});
		}
	found.push({ name: "bytecode of key store, scenario and both cryptos", value: runner.archiveBytes, unit: "B" });
	return found;
}
