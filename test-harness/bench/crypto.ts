import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Aead, type Crypto, type Mac, NO_BYTES, ZERO_NONCE } from "../../src/crypto/crypto.js";
import { NobleCrypto } from "../../src/crypto/noble-crypto.js";
import { CRYPTO_INCLUDES, CRYPTO_SOURCES } from "../build/crypto-sources.js";
import type { Measurement } from "../commands/bench.js";
import { buildDriver, cCompiler } from "../crypto/c-driver.js";
import type { Request } from "../crypto/xs/main.js";
import { buildXsRunner, C6_MEMORY, LARGE_MEMORY, runOnXs, type XsRunner } from "../crypto/xs-runner.js";
import { tool } from "../tools.js";

/** The operations of xs/main.ts, what the driver calls them, and what docs/DESIGN-CRYPTO.md was measured against. */
const OPERATIONS: readonly { name: string; call?: readonly [string, number]; rv32?: string }[] = [
	{ name: "sha256 64", call: ["sha256", 64], rv32: "9,739 (library 8,131)" },
	{ name: "sha256 1024", call: ["sha256", 1024], rv32: "75,378 (library 65,760)" },
	{ name: "kdf", call: ["kdf", 0], rv32: "5,025" },
	{ name: "hmac 64", call: ["hmacSign", 64], rv32: "15,255 (library 13,699)" },
	{ name: "hkdf 32", call: ["hkdf", 32], rv32: "42,311 (library 37,918)" },
	{ name: "aes key", call: ["aesKey", 0], rv32: "6,323 (library 2,459)" },
	{ name: "ccm seal 64", call: ["ccmSeal", 64], rv32: "30,498" },
	{ name: "gcm seal 64", call: ["gcmSeal", 64], rv32: "23,492 (library 13,890)" },
	{ name: "cmac 16", call: ["cmacSign", 16], rv32: "8,527 (library 2,563)" },
	{ name: "reading", rv32: "46,871 in C" },
];

/** Milliseconds for the fastest of some batches: the machine does other things too. */
function microsecondsOf(work: () => void): number {
	for (let i = 0; i < 300; i++) work();
	let best = Number.POSITIVE_INFINITY;
	for (let batch = 0; batch < 7; batch++) {
		const start = performance.now();
		for (let i = 0; i < 300; i++) work();
		best = Math.min(best, (performance.now() - start) / 300);
	}
	return best * 1000;
}

function onNode(crypto: Crypto): ReadonlyMap<string, () => void> {
	const message = new Uint8Array(1200);
	const output = new Uint8Array(1200);
	const keyed = <T extends Mac>(mac: T, byteLength: number): T => {
		mac.setKey(message, 0, byteLength);
		return mac;
	};
	const aead = (key: Aead): Aead => {
		key.setKey(message, 0);
		return key;
	};
	const hmac = keyed(crypto.createHmac(), 32);
	const cmac = keyed(crypto.createCmac(), 16);
	const ccm = aead(crypto.createCcm(13, 8));
	const gcm = aead(crypto.createGcm(12, 16));
	const kdf = (label: number, into: number): void =>
		crypto.kdf(message, 0, 16, label, NO_BYTES, 0, 0, output, into, 16);
	return new Map<string, () => void>([
		["sha256 64", () => crypto.sha256(message, 0, 64, output, 0, 32)],
		["sha256 1024", () => crypto.sha256(message, 0, 1024, output, 0, 32)],
		["kdf", () => kdf(0x6d, 0)],
		["hmac 64", () => hmac.sign(message, 0, 64, output, 0, 32)],
		["hkdf 32", () => crypto.hkdf(message, 0, 16, message, 0, 32, message, 0, 10, output, 0, 32)],
		["aes key", () => ccm.setKey(message, 0)],
		["ccm seal 64", () => ccm.seal(ZERO_NONCE, 0, message, 0, 18, message, 18, 64, output, 0)],
		["gcm seal 64", () => gcm.seal(ZERO_NONCE, 0, message, 0, 13, message, 18, 64, output, 0)],
		["cmac 16", () => cmac.sign(message, 0, 16, output, 0, 16)],
		[
			"reading",
			() => {
				kdf(0x6d, 200);
				kdf(0x63, 300);
				ccm.setKey(output, 200);
				ccm.seal(ZERO_NONCE, 0, message, 100, 18, message, 118, 64, output, 0);
			},
		],
	]);
}

/** Instructions that a program runs, counted by callgrind. */
function instructionsOf(valgrind: string, program: string, parameters: readonly string[], input = ""): number {
	const { stderr, status } = spawnSync(
		valgrind,
		["--tool=callgrind", "--callgrind-out-file=/dev/null", program, ...parameters],
		{ input, encoding: "utf8" },
	);
	const count = /Collected : (\d+)/.exec(stderr)?.[1];
	if (status !== 0 || count === undefined) throw new Error(`callgrind: ${stderr.slice(-300)}`);
	return Number(count);
}

/** Bytes of code and constants of each C file, compiled for size. */
function textSizes(compiler: string, size: string): { name: string; bytes: number }[] {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-size-"));
	const includes = CRYPTO_INCLUDES.flatMap((include) => ["-I", include]);
	const sizes = CRYPTO_SOURCES.map((source) => {
		const object = join(folder, `${basename(source)}.o`);
		spawnSync(compiler, ["-std=c11", "-Os", ...includes, "-c", source, "-o", object]);
		const { stdout } = spawnSync(size, [object], { encoding: "utf8" });
		return { name: basename(source), bytes: Number(stdout.split("\n")[1]!.trim().split(/\s+/)[0]) };
	});
	rmSync(folder, { recursive: true });
	return sizes;
}

/** Instructions of one round of an operation on XS, engine and C together, from two runs of different length. */
function instructionsOnXs(valgrind: string, runner: XsRunner, name: string): number {
	const parameters = [runner.archive, String(LARGE_MEMORY.chunkBytes), String(LARGE_MEMORY.slots)];
	const [few, many] = [20, 220].map((times) => {
		const request: Request = { crypto: "native", repeat: name, times };
		return instructionsOf(valgrind, runner.program, parameters, `${JSON.stringify(request)}\n`);
	});
	return (many! - few!) / 200;
}

export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	const found: Measurement[] = [];
	onProgress("noble on Node");
	const work = onNode(new NobleCrypto());
	for (const { name } of OPERATIONS)
		found.push({ name: `${name}, noble on Node`, value: microsecondsOf(work.get(name)!), unit: "µs" });

	const compiler = cCompiler();
	if (compiler.skip) return [...found, { name: "C and XS", value: 0, unit: "", note: compiler.skip }];
	const size = tool("size");
	if (!size.skip) {
		const sizes = textSizes(compiler.path, size.path);
		for (const { name, bytes } of sizes)
			found.push({ name: `text of ${name}, -Os, this machine`, value: bytes, unit: "B" });
		const sum = sizes.slice(0, 3).reduce((total, { bytes }) => total + bytes, 0);
		found.push({ name: "text of hashes, AES and modes", value: sum, unit: "B", beat: "27,344 (library, RV32)" });
	}

	const valgrind = tool("valgrind");
	if (valgrind.skip) found.push({ name: "instructions of the C", value: 0, unit: "", note: valgrind.skip });
	else {
		const driver = buildDriver(false);
		for (const { name, call, rv32 } of OPERATIONS) {
			if (!call) continue;
			onProgress(`C, ${name}`);
			const [few, many] = ["10", "110"].map((times) =>
				instructionsOf(valgrind.path, driver, ["--count", call[0], String(call[1]), times]),
			);
			found.push({
				name: `${name}, C`,
				value: (many! - few!) / 100,
				unit: "instructions",
				...(rv32 ? { note: `RV32: ${rv32}` } : {}),
			});
		}
	}

	onProgress("XS");
	const runner = await buildXsRunner();
	for (const crypto of ["native", "noble"] as const) {
		const requests = [{ name: "nothing" }, ...OPERATIONS].flatMap(({ name }): Request[] => [
			{ crypto, repeat: name, times: 2 },
			{ crypto, repeat: name, times: 12 },
		]);
		const { answers, memory } = runOnXs(runner, C6_MEMORY, requests);
		for (const [i, { name }] of OPERATIONS.entries())
			found.push({
				name: `${name}, ${crypto} on XS`,
				value: (answers[2 * i + 3]!.ticks - answers[2 * i + 2]!.ticks) / 10,
				unit: "ticks",
				...(name === "reading" ? { note: memory } : {}),
			});
	}
	if (!valgrind.skip)
		for (const name of ["nothing", "kdf", "ccm seal 64", "reading"]) {
			onProgress(`XS under callgrind, ${name}`);
			found.push({
				name: `${name}, native on XS, engine and C`,
				value: instructionsOnXs(valgrind.path, runner, name),
				unit: "instructions",
			});
		}
	found.push({ name: "bytecode of suite and both implementations", value: runner.archiveBytes, unit: "B" });
	return found;
}
