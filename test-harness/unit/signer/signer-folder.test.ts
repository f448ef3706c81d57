import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { FileLock } from "../../provisioning/sealed-file.js";
import { ROOT } from "../../root.js";
import { lmsParameters } from "../../signer/lms-tree.js";
import { readPublicKey, SignerFolder, type SignerStep, verify } from "../../signer/signer-folder.js";
import { UserError } from "../../user-error.js";

const FOLDER = mkdtempSync(join(tmpdir(), "wattlock-signer-"));
const KEY_FILE = join(FOLDER, "key-file");
const LOCK = FileLock.ofKeyFile(KEY_FILE, true);
const CHILD = join(ROOT, "test-harness", "unit", "signer", "sign-child.ts");
process.env["WATTLOCK_SIGNER_WITNESS"] = join(FOLDER, "witness");
after(() => rmSync(FOLDER, { recursive: true }));

let made = 0;
function newKey(): SignerFolder {
	made++;
	return SignerFolder.create(join(FOLDER, `key-${made}`), LOCK, lmsParameters(5, 4));
}

const MESSAGE = Buffer.from("what is signed");

function refuses(action: () => unknown, expected: RegExp): void {
	assert.throws(
		action,
		(error) => error instanceof UserError && !error.message.includes("\n") && expected.test(error.message),
	);
}

test("each signature has a leaf of its own, verifies, and is counted; a used-up key refuses", () => {
	const key = newKey();
	assert.equal(key.left, 32);
	for (let i = 0; i < 32; i++) {
		const { signature, leaf, left } = SignerFolder.open(key.path).sign(LOCK, MESSAGE, { note: `number ${i}` });
		assert.equal(leaf, i);
		assert.equal(left, 31 - i);
		assert.equal(verify(key.publicKey, MESSAGE, signature), Status.ok);
		assert.notEqual(verify(key.publicKey, Buffer.from("something else"), signature), Status.ok);
	}
	assert.equal(key.left, 0);
	refuses(() => key.sign(LOCK, MESSAGE), /used up/);
	refuses(() => key.sign(LOCK, MESSAGE, { moved: true }), /used up/);
	assert.match(readFileSync(join(key.path, "claims", "7"), "utf8"), /number 7/);
	assert.ok(readPublicKey(key.path).equals(key.publicKey));
});

const STEPS: readonly SignerStep[] = ["locked", "claimed", "renaming", "reserved", "witnessed", "signed"];

test("killed at each step: no leaf is used twice, and the next signature is made without help", () => {
	const key = newKey();
	const leaves: number[] = [];
	for (const step of STEPS) {
		const { stdout, signal, stderr } = spawnSync(
			process.execPath,
			["--import", "tsx", CHILD, key.path, KEY_FILE, "2", step],
			{ encoding: "utf8", cwd: ROOT },
		);
		assert.equal(signal, "SIGKILL", `${step}: ${stderr}`);
		leaves.push(...stdout.trim().split("\n").map(Number));
		const claims = readdirSync(join(key.path, "claims")).map(Number);
		// From "witnessed" on a signature may have left the process: its leaf must be gone.
		const { leaf } = key.sign(LOCK, MESSAGE);
		assert.ok(!claims.includes(leaf), `${step}: leaf ${leaf} had been claimed`);
		leaves.push(leaf);
		assert.deepEqual(
			readdirSync(key.path).filter((name) => name.startsWith("lock")),
			[],
			`${step}: the lock is gone`,
		);
	}
	assert.equal(new Set(leaves).size, leaves.length, `leaves ${leaves}`);
	assert.equal(leaves.length, 2 * STEPS.length);
	// "locked" lost none, each other step one
	assert.equal(key.left, 32 - leaves.length - (STEPS.length - 1));
});

test("processes that sign at once: no leaf twice", async () => {
	const key = newKey();
	const runs = [1, 2, 3].map(
		() =>
			new Promise<number[]>((resolve, reject) => {
				const child = spawn(process.execPath, ["--import", "tsx", CHILD, key.path, KEY_FILE, "8"], { cwd: ROOT });
				let text = "";
				let wrong = "";
				child.stdout.on("data", (chunk) => (text += chunk));
				child.stderr.on("data", (chunk) => (wrong += chunk));
				child.on("close", (code) =>
					code === 0 ? resolve(text.trim().split("\n").map(Number)) : reject(new Error(wrong)),
				);
			}),
	);
	const leaves = (await Promise.all(runs)).flat();
	assert.equal(leaves.length, 24);
	assert.equal(new Set(leaves).size, 24, `leaves ${leaves}`);
});

test("a state that was put back is noticed: the file, the folder on this machine, and a copy of the folder", () => {
	const key = newKey();
	key.sign(LOCK, MESSAGE);
	const backup = join(FOLDER, "backup");
	cpSync(key.path, backup, { recursive: true });
	for (let i = 0; i < 3; i++) key.sign(LOCK, MESSAGE);

	// a copy of the folder, at another place
	const copy = SignerFolder.open(backup);
	refuses(() => copy.sign(LOCK, MESSAGE), /is a copy.*--moved/);

	// the state file alone, by its bytes: the claims know better, and so does its inode
	const state = join(key.path, "state.json");
	const now = readFileSync(state);
	writeFileSync(state, readFileSync(join(backup, "state.json")));
	refuses(() => key.sign(LOCK, MESSAGE), /is a copy|was put back/);
	writeFileSync(state, now);

	// the whole folder in the place of the old one: the witness of this machine knows better
	const away = `${key.path}-away`;
	renameSync(key.path, away);
	renameSync(backup, key.path);
	refuses(() => key.sign(LOCK, MESSAGE), /is a copy/);
	const { leaf } = key.sign(LOCK, MESSAGE, { moved: true });
	assert.equal(leaf, 4, "behind everything that this machine knows of");
	assert.equal(key.sign(LOCK, MESSAGE).leaf, 5, "from then on it is at home here");

	// on a machine that never saw the key, the copy is still one
	process.env["WATTLOCK_SIGNER_WITNESS"] = join(FOLDER, "another-machine");
	const carried = join(FOLDER, "carried");
	cpSync(key.path, carried, { recursive: true });
	refuses(() => SignerFolder.open(carried).sign(LOCK, MESSAGE), /is a copy/);
	assert.equal(SignerFolder.open(carried).sign(LOCK, MESSAGE, { moved: true }).leaf, 6);
	process.env["WATTLOCK_SIGNER_WITNESS"] = join(FOLDER, "witness");
});

test("moving the folder within its disk is no copy", () => {
	const key = newKey();
	key.sign(LOCK, MESSAGE);
	renameSync(key.path, `${key.path}-moved`);
	assert.equal(SignerFolder.open(`${key.path}-moved`).sign(LOCK, MESSAGE).leaf, 1);
});

test("damage and strangers are said in one line, and cost no leaf", () => {
	const key = newKey();
	const other = newKey();
	const at = (name: string): string => join(key.path, name);
	const whole = new Map(
		["leaves", "private.sealed", "state.json", "public.key"].map((name) => [name, readFileSync(at(name))]),
	);
	const spoil = (name: string, bytes: Uint8Array): void => writeFileSync(at(name), bytes);

	const leaves = Buffer.from(whole.get("leaves")!);
	leaves[100]! ^= 1;
	spoil("leaves", leaves);
	refuses(() => key.sign(LOCK, MESSAGE), /leaves is damaged/);
	spoil("leaves", leaves.subarray(1));
	refuses(() => key.sign(LOCK, MESSAGE), /leaves is damaged/);
	spoil("leaves", whole.get("leaves")!);

	spoil("private.sealed", readFileSync(join(other.path, "private.sealed")));
	refuses(() => key.sign(LOCK, MESSAGE), /is not the private key of/);
	const sealed = Buffer.from(whole.get("private.sealed")!);
	sealed[60]! ^= 1;
	spoil("private.sealed", sealed);
	refuses(() => key.sign(LOCK, MESSAGE), /does not open/);
	spoil("private.sealed", whole.get("private.sealed")!);
	refuses(
		() => key.sign(FileLock.ofPassphrase(Buffer.from("something long enough")), MESSAGE),
		/sealed with a key file/,
	);

	spoil("state.json", Buffer.from("{"));
	refuses(() => key.sign(LOCK, MESSAGE), /state.json is damaged/);
	spoil("state.json", readFileSync(join(other.path, "state.json")));
	refuses(() => key.sign(LOCK, MESSAGE), /is of another key/);
	rmSync(at("state.json"));
	refuses(() => key.sign(LOCK, MESSAGE), /is gone/);

	spoil("public.key", Buffer.alloc(56));
	refuses(() => SignerFolder.open(key.path), /is no LMS public key/);
	refuses(() => SignerFolder.open(join(FOLDER, "nothing")), /cannot be read/);
	refuses(() => SignerFolder.create(key.path, LOCK, lmsParameters(5, 4)), /never overwritten/);
	assert.deepEqual(readdirSync(at("claims")), []);
});

test("a lock whose process is gone is taken over, one whose process lives is not", () => {
	const key = newKey();
	const path = join(key.path, "lock");
	writeFileSync(path, "999999999 1");
	assert.equal(key.sign(LOCK, MESSAGE).leaf, 0);
	assert.ok(!existsSync(path));
	writeFileSync(path, `${process.pid} 1`);
	assert.equal(key.sign(LOCK, MESSAGE).leaf, 1, "another process of the same number");
	const stat = readFileSync(`/proc/${process.ppid}/stat`, "utf8");
	writeFileSync(path, `${process.ppid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`);
	refuses(() => key.sign(LOCK, MESSAGE), /another process \(\d+\) is signing/);
	assert.ok(existsSync(path), "it is left alone");
	rmSync(path);
	assert.equal(key.sign(LOCK, MESSAGE).leaf, 2);
});

test("the secret is in no file but the sealed one", () => {
	const key = newKey();
	const opened = LOCK.open(readFileSync(join(key.path, "private.sealed")), "private.sealed");
	const secret = opened.subarray(24);
	assert.equal(secret.length, 32);
	key.sign(LOCK, MESSAGE);
	for (const name of readdirSync(key.path, { recursive: true, withFileTypes: true }))
		if (name.isFile())
			assert.ok(!readFileSync(join(name.parentPath, name.name)).includes(secret), `${name.name} holds the secret`);
});
