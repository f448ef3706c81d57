import assert from "node:assert/strict";
import { createDecipheriv, hkdfSync, scryptSync } from "node:crypto";
import {
	chmodSync,
	existsSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { deviceFileName, loadDeviceFile, saveDeviceFile } from "../../provisioning/device-files.js";
import { FileLock, openLock, shred, writeSecret } from "../../provisioning/sealed-file.js";
import { fileBytes, sampleFile } from "./samples.js";

const folder = mkdtempSync(join(tmpdir(), "wattlock-sealed-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const PASSPHRASE = "correct horse battery staple";
const passphraseLock = (text = PASSPHRASE) => FileLock.ofPassphrase(Buffer.from(text), 14);
const plain = Buffer.from("two root secrets of thirty-two bytes each");

test("a sealed file is what its table says, opened by node:crypto alone", () => {
	const sealed = passphraseLock().seal(plain);
	assert.equal(sealed.length, 52 + plain.length);
	assert.equal(sealed.toString("hex", 0, 8), "574c736601010e00");
	const key = scryptSync(PASSPHRASE, sealed.subarray(8, 24), 32, { N: 2 ** 14, r: 8, p: 1 });
	const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(24, 36));
	decipher.setAAD(sealed.subarray(0, 36)).setAuthTag(sealed.subarray(-16));
	assert.deepEqual(Buffer.concat([decipher.update(sealed.subarray(36, -16)), decipher.final()]), plain);

	const path = join(folder, "keys", "batch.key");
	const byKey = FileLock.ofKeyFile(path, true).seal(plain);
	assert.equal(byKey.toString("hex", 0, 8), "574c736601020000");
	const derived = Buffer.from(
		hkdfSync("sha256", readFileSync(path), byKey.subarray(8, 24), "wattlock sealed file", 32),
	);
	const other = createDecipheriv("aes-256-gcm", derived, byKey.subarray(24, 36));
	other.setAAD(byKey.subarray(0, 36)).setAuthTag(byKey.subarray(-16));
	assert.deepEqual(Buffer.concat([other.update(byKey.subarray(36, -16)), other.final()]), plain);
});

test("any changed byte, another passphrase, another kind of lock: one line, no content", () => {
	const sealed = passphraseLock().seal(plain);
	const lock = passphraseLock();
	assert.deepEqual(lock.open(sealed, "x.wldf"), plain);
	for (let at = 0; at < sealed.length; at += at < 36 ? 3 : 7) {
		if (at === 6) continue; // the cost: another would only take long
		const changed = Buffer.from(sealed);
		changed[at]! ^= 1;
		assert.throws(() => lock.open(changed, "x.wldf"), /^UserError: x\.wldf /, `byte ${at}`);
	}
	const cost = Buffer.from(sealed);
	cost[6] = 30;
	assert.throws(() => lock.open(cost, "x.wldf"), /damaged: no such cost/);
	assert.throws(() => lock.open(sealed.subarray(0, 51), "x.wldf"), /no sealed file/);
	assert.throws(
		() => passphraseLock("correct horse battery stable").open(sealed, "x"),
		/another passphrase, or damage/,
	);
	const byKey = FileLock.ofKeyFile(join(folder, "a.key"), true);
	assert.throws(() => byKey.open(sealed, "x"), /sealed with a passphrase/);
	assert.throws(() => lock.open(byKey.seal(plain), "x"), /sealed with a key file/);
	assert.throws(() => FileLock.ofPassphrase(Buffer.from("short")), /at least 12 characters/);
});

test("no two sealings alike, and no secret of the file in the clear", () => {
	const lock = passphraseLock();
	const seen = new Set<string>();
	for (let i = 0; i < 200; i++) seen.add(lock.seal(plain).toString("hex", 24, 36));
	assert.equal(seen.size, 200, "a nonce came twice");
	assert.equal(lock.seal(plain).indexOf(plain.subarray(0, 8)), -1);
});

test("key files are the owner's alone", () => {
	const path = join(folder, "own.key");
	assert.throws(() => FileLock.ofKeyFile(path, false), /there is no key file/);
	FileLock.ofKeyFile(path, true);
	assert.equal(statSync(path).mode & 0o777, 0o600);
	const sealed = FileLock.ofKeyFile(path, true).seal(plain);
	assert.deepEqual(FileLock.ofKeyFile(path, false).open(sealed, "x"), plain, "create does not replace");
	chmodSync(path, 0o640);
	assert.throws(() => FileLock.ofKeyFile(path, false), /can be read by others: chmod 600/);
	writeFileSync(join(folder, "long.key"), Buffer.alloc(33), { mode: 0o600 });
	assert.throws(() => FileLock.ofKeyFile(join(folder, "long.key"), false), /33 bytes instead of 32/);
});

test("the passphrase comes from a file, the environment or a terminal, and nowhere else", async () => {
	const file = join(folder, "passphrase");
	writeFileSync(file, `${PASSPHRASE}\n`, { mode: 0o600 });
	const lock = await openLock({ passphraseFile: file }, true);
	assert.deepEqual(lock.open(lock.seal(plain), "x"), plain);
	const given = process.env["WATTLOCK_PASSPHRASE"];
	try {
		process.env["WATTLOCK_PASSPHRASE"] = PASSPHRASE;
		const other = await openLock({}, false);
		assert.deepEqual(other.open(lock.seal(plain), "x"), plain);
		delete process.env["WATTLOCK_PASSPHRASE"];
		if (!process.stdin.isTTY) await assert.rejects(openLock({}, false), /nobody to ask for a passphrase/);
	} finally {
		if (given !== undefined) process.env["WATTLOCK_PASSPHRASE"] = given;
	}
	await assert.rejects(openLock({ passphraseFile: file, keyFile: file }, false), /either/);
	await assert.rejects(openLock({ passphraseFile: join(folder, "none") }, false), /there is no passphrase file/);
	chmodSync(file, 0o644);
	await assert.rejects(openLock({ passphraseFile: file }, false), /can be read by others/);
	lock.close();
});

test("device files: saved sealed, once, for the owner; loaded; overwritten before they are removed", () => {
	const lock = passphraseLock();
	const file = sampleFile({ generation: 3 });
	const path = saveDeviceFile(join(folder, "batch"), file, lock);
	assert.equal(path, join(folder, "batch", "acde480000000001-g3.wldf"));
	assert.equal(deviceFileName(file), "acde480000000001-g3.wldf");
	assert.equal(statSync(path).mode & 0o777, 0o600);
	assert.throws(() => saveDeviceFile(join(folder, "batch"), file, lock), /is there already/);
	const loaded = loadDeviceFile(path, lock);
	assert.deepEqual(loaded.file, file);
	assert.ok(loaded.bytes.equals(fileBytes(file)));
	assert.equal(readFileSync(path).indexOf(Buffer.from(file.roots.subarray(0, 8))), -1, "a secret in the clear");
	writeSecret(join(folder, "batch", "other.wldf"), lock.seal(Buffer.alloc(168)));
	assert.throws(() => loadDeviceFile(join(folder, "batch", "other.wldf"), lock), /holds no device file .*badKind/);
	assert.throws(() => loadDeviceFile(join(folder, "none"), lock), /there is no device file/);
	shred(path);
	assert.equal(existsSync(path), false);
	assert.deepEqual(readdirSync(join(folder, "batch")), ["other.wldf"], "no temporary file is left");
});
