import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FirmwareTarget } from "../../../src/messages/firmware-update.js";
import { createDeviceFile } from "../../../src/provisioning/device-file.js";
import { Registry } from "../../head-end/registry.js";
import { calendarRoot } from "../../provisioning/calendar-root.js";
import { FileLock } from "../../provisioning/sealed-file.js";
import { ROOT } from "../../root.js";
import { decodeImageFile } from "../../signer/image-file.js";
import { lmsParameters } from "../../signer/lms-tree.js";
import { SignerFolder } from "../../signer/signer-folder.js";
import { TestKey } from "../firmware-update/world.js";

const FOLDER = mkdtempSync(join(tmpdir(), "wattlock-firmware-"));
after(() => rmSync(FOLDER, { recursive: true }));
const at = (name: string): string => join(FOLDER, name);

function run(...args: string[]): { status: number | null; out: string; error: string } {
	const { status, stdout, stderr } = spawnSync(
		process.execPath,
		[join(ROOT, "test-harness", "wattlock.mjs"), "firmware", ...args],
		{ encoding: "utf8", env: { ...process.env, WATTLOCK_SIGNER_WITNESS: at("witness") } },
	);
	return { status, out: stdout, error: stderr };
}

test("keygen, sign, inspect, verify; each refusal is one line", () => {
	writeFileSync(at("body"), Buffer.alloc(3000, 7));
	const made = run("keygen", at("key"), "--height", "5", "--winternitz", "4", "--key-file", at("lock"));
	assert.equal(made.status, 0, made.error);
	assert.match(made.out, /h = 5, w = 4 .*, 32 signatures/);
	const sign = (...more: string[]) =>
		run(
			"sign",
			at("body"),
			"--folder",
			at("key"),
			"--key-file",
			at("lock"),
			"--target",
			"linux-xs",
			"--security-version",
			"3",
			"--out",
			at("image"),
			...more,
		);
	const signed = sign("--firmware-version", "1.2.3");
	assert.equal(signed.status, 0, signed.error);
	assert.match(signed.out, /1\.2\.3, 3000 bytes, leaf 0; 31 signatures left/);
	const image = decodeImageFile(readFileSync(at("image")), "image");
	assert.equal(image.manifest.target, FirmwareTarget.linuxXs);
	assert.equal(image.manifest.securityVersion, 3);

	assert.match(run("verify", at("image"), "--key", at("key")).out, /: genuine\n$/);
	const spoiled = readFileSync(at("image"));
	spoiled[spoiled.length - 1]! ^= 1;
	writeFileSync(at("spoiled"), spoiled);
	const wrong = run("verify", at("spoiled"), "--key", join(at("key"), "public.key"));
	assert.equal(wrong.status, 1);
	assert.match(wrong.out, /the body is not what was signed/);
	assert.match(run("inspect", at("image")).out, /firmware 1\.2\.3 for linux-xs[\s\S]*leaf 0/);
	assert.match(run("inspect", at("key")).out, /signatures left: 31 of 32/);

	for (const [result, expected] of [
		[sign("--firmware-version", "1.2"), /Allowed: three numbers/],
		[run("inspect", at("nothing")), /cannot be read/],
		[run("inspect", at("lock")), /is no LMS public key/],
		[run("verify", at("body"), "--key", at("key")), /is no firmware image/],
	] as const) {
		assert.equal(result.status, 2, result.error);
		assert.match(result.error, expected);
		assert.ok(result.error.split("\n").filter((line) => line.startsWith("wattlock: ")).length === 1, result.error);
		assert.doesNotMatch(result.error, /at .*\.ts:/, "no stack");
	}
});

test("image files: cut anywhere, or changed in their types, they are refused and nothing is read beyond them", () => {
	const lock = FileLock.ofKeyFile(at("another-lock"), true);
	process.env["WATTLOCK_SIGNER_WITNESS"] = at("witness");
	const key = SignerFolder.create(at("another-key"), lock, lmsParameters(5, 8, 24));
	assert.equal(key.publicKey.length, 48);
	const good = readFileSync(at("image"));
	for (const length of [0, 71, 72, 79, 80, 2000, 2419, 2420, good.length - 1])
		assert.throws(() => decodeImageFile(good.subarray(0, length), "x"), /x (is no|has no|is not)/, `${length}`);
	for (let place = 0; place < 84; place++) {
		const bytes = Buffer.from(good);
		bytes[place]! ^= 0xff;
		try {
			decodeImageFile(bytes, "x");
		} catch (error) {
			assert.match((error as Error).message, /^x /, `byte ${place}`);
		}
	}
});

test("trust tells a registry the key, and what meters already have; send says who does not answer", () => {
	const lock = FileLock.ofKeyFile(at("registry.key"), true);
	const key = new TestKey("trusted");
	writeFileSync(at("trusted.key"), key.publicKey);
	const registry = Registry.create(at("registry"), lock, {
		calendarFirstEpoch: 9000,
		calendarLevels: 2,
		calendarRoot,
		concentrators: [{ identity: 1, domain: 1 }],
	});
	registry.addMeter("02574c0000000001", 1, 1, 9000, createDeviceFile());
	registry.close();
	const trusted = run("trust", at("trusted.key"), "--registry", at("registry"), "--key-file", at("registry.key"));
	assert.equal(trusted.status, 0, trusted.error);
	assert.match(trusted.out, new RegExp(key.identifier.toString("hex")));
	assert.match(trusted.out, /meters that have keys already: 1;/);
	const again = Registry.open(at("registry"), lock);
	assert.deepEqual(Buffer.from(again.updateKey), key.publicKey, "the key is in the registry");
	again.close();
	lock.close();
	const nowhere = run("trust", at("trusted.key"), "--registry", at("nowhere"), "--key-file", at("registry.key"));
	assert.equal(nowhere.status, 2);
	assert.match(nowhere.error, /^wattlock: there is no registry in [^\n]*\n$/);
	const away = run("send", "--image", at("trusted.key"), "--url", "http://127.0.0.1:1");
	assert.equal(away.status, 2);
	assert.match(away.error, /^wattlock: no head end answers at [^\n]*\n$/);
});
