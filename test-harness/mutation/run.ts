import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** `node --import tsx test-harness/mutation/run.ts ROOM [FILE...]`: see README.md. */
const STRYKER = "@stryker-mutator/core@9.6.1";
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** What of a room is mutated: what runs on Node at all. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
	"key-store": ["src/key-store/*.ts"],
	crypto: ["src/crypto/{aes-modes,noble-crypto,crypto,drbg,health,equal}.ts"],
};

const [room = "", ...files] = process.argv.slice(2);
const mutate = files.length > 0 ? files : ROOMS[room];
if (!mutate || !(room in ROOMS)) {
	process.stderr.write(`mutation: one of ${Object.keys(ROOMS).join(", ")}, then files of it\n`);
	process.exit(2);
}
const folder = join(ROOT, "build", "mutation");
mkdirSync(folder, { recursive: true });
const config = join(folder, `stryker-${room}.json`);
const settings = {
	testRunner: "in-process",
	plugins: [join(ROOT, "test-harness", "mutation", "in-process-runner.mjs")],
	coverageAnalysis: "perTest",
	buildCommand: `node --import tsx test-harness/mutation/bundle.ts ${room}`,
	mutate,
	ignorePatterns: ["/build", "/docs", "/out", "*.log"],
	// What a message says is no behaviour; frozen tables have no order.
	mutator: { excludedMutations: ["StringLiteral"] },
	disableTypeChecks: true,
	// It wants TypeScript to rewrite a configuration that nothing here reads.
	tsconfigFile: "none.json",
	concurrency: 1,
	// The suite takes seconds, and a mutant that runs for ever should not take minutes.
	timeoutMS: 5_000,
	timeoutFactor: 1.5,
	tempDirName: "build/mutation/tmp",
	reporters: ["clear-text", "json", "progress-append-only"],
	jsonReporter: { fileName: `build/mutation/report-${room}.json` },
	clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
	incremental: true,
	incrementalFile: `build/mutation/incremental-${room}.json`,
	thresholds: { high: 90, low: 85, break: 85 },
};
writeFileSync(config, `${JSON.stringify(settings, undefined, "\t")}\n`);
const environment = {
	...process.env,
	MUTATION_ROOM: room,
	SEED: process.env["SEED"] ?? "24301",
	FUZZ_CASES: process.env["FUZZ_CASES"] ?? "200",
};
const parameters = ["-n", "19", "npx", "--yes", "--package", STRYKER, "stryker", "run", config];
const { status } = spawnSync("nice", parameters, { cwd: ROOT, stdio: "inherit", env: environment });
process.exit(status ?? 2);
