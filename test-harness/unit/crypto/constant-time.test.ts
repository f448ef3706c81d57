import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { buildDriver, cCompiler } from "../../crypto/c-driver.js";
import { tool } from "../../tools.js";

const valgrind = tool("valgrind");
const skip = cCompiler().skip || valgrind.skip;

/** Places in the C where a branch or an address depends on bytes that were never written: on a key or on data. */
function dependencies(parameters: readonly string[]): string[] {
	const { stderr, status } = spawnSync(valgrind.path, ["-q", buildDriver(false), ...parameters], { encoding: "utf8" });
	assert.equal(status, 0, stderr);
	return [...stderr.matchAll(/at 0x[0-9A-F]+: (\w+)/g)].map((match) => match[1]!);
}

test("valgrind sees a lookup and a branch that depend on a secret", { skip }, () => {
	assert.deepEqual(dependencies(["--leak"]), ["leak", "leak"]);
});

test("C: no branch and no address depends on key or data", { skip }, () => {
	const calls = [
		...["sha256", "kdf", "hashUpdate", "hmacKey", "hmacSign", "hkdf", "aesKey", "aesBlock", "gcmSeal", "ccmSeal"],
		...["cmacSign", "equal", "hmacVerify", "cmacVerify"],
	];
	const parameters = [0, 16, 40, 72].flatMap((byteLength) => calls.flatMap((name) => [name, String(byteLength)]));
	assert.deepEqual(dependencies(["--secret", ...parameters, "keyWrap", "16", "keyWrap", "72"]), []);
});

test("C: where a message is opened, one branch does, on the verdict", { skip }, () => {
	for (const [name, place] of [
		["gcmOpen", "wattlock_gcm_open"],
		["ccmOpen", "wattlock_ccm_open"],
		["keyUnwrap", "wattlock_key_unwrap"],
	] as const)
		assert.deepEqual(dependencies(["--secret", name, "72"]), [place]);
});
