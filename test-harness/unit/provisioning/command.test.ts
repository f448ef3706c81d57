import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createDeviceFile } from "../../../src/provisioning/device-file.js";
import { loadDeviceFile } from "../../provisioning/device-files.js";
import { createAuthority, openAuthority } from "../../provisioning/registry-authority.js";
import { FileLock } from "../../provisioning/sealed-file.js";
import { ROOT } from "../../root.js";
import { newFlash } from "../key-store/world.js";
import { METER_ID } from "./samples.js";
import { TestMeter } from "./world.js";

const folder = mkdtempSync(join(tmpdir(), "wattlock-command-"));
const registry = join(folder, "registry");
const keyFile = join(folder, "owner.key");
const id = Buffer.from(METER_ID).toString("hex");
const DEVICE = join(folder, "batch", `${id}-g1.wldf`);
const flash = newFlash();
let meter = new TestMeter(flash);
let server: Server;
let port = "";

before(async () => {
	// a calendar of 64 days: one of 44 years takes seconds
	const lock = FileLock.ofKeyFile(keyFile, true);
	createAuthority(registry, lock, 7, 6).close();
	server = createServer((socket) => {
		socket.on("data", (bytes) => {
			meter.machine.receive(0, bytes, bytes.length);
			const into = new Uint8Array(64);
			for (let count = meter.machine.transmit(into); count > 0; count = meter.machine.transmit(into))
				socket.write(Buffer.from(into.subarray(0, count)));
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	port = `tcp:127.0.0.1:${(server.address() as { port: number }).port}`;
});
after(() => {
	server.close();
	rmSync(folder, { recursive: true, force: true });
});

const WITH_KEY = ["--key-file", keyFile] as const;
const WITH_REGISTRY = ["--registry", registry, ...WITH_KEY] as const;

function run(...args: readonly string[]): Promise<{ code: number; out: string; error: string }> {
	return new Promise((resolve) => {
		const program = [join(ROOT, "test-harness", "wattlock.mjs"), "provision", ...args];
		execFile(process.execPath, program, { cwd: ROOT }, (failure, out, error) => {
			resolve({ code: failure ? Number(failure.code) : 0, out, error });
		});
	});
}

test("from factory to scrap, as it is typed", async () => {
	let ran = await run(
		"make",
		"--count",
		"2",
		"--domain",
		"7",
		"--first-id",
		id,
		"--out",
		join(folder, "batch"),
		...WITH_REGISTRY,
	);
	assert.deepEqual([ran.code, ran.error], [0, ""]);
	assert.equal(ran.out.trim().split("\n").length, 2);
	assert.ok(existsSync(DEVICE), ran.out);
	const secrets = loadDeviceFile(DEVICE, FileLock.ofKeyFile(keyFile, false)).file.roots.slice();

	ran = await run("write", "--device", DEVICE, "--port", port, ...WITH_REGISTRY);
	assert.deepEqual([ran.code, ran.error], [0, ""]);
	assert.match(ran.out, /acde480000000001 has its keys; its receipt under the new keys was opened/);
	assert.equal(existsSync(DEVICE), false, "the device file is removed");
	assert.equal(meter.keys.generation, 1);

	ran = await run("reseed", "--port", port, ...WITH_REGISTRY);
	assert.deepEqual([ran.code, ran.error], [0, ""]);
	assert.match(ran.out, /has keys of generation 2; its receipt under the new keys was opened/);

	meter = new TestMeter(flash);
	meter.keys.witness(1);
	ran = await run("decommission", "--id", id, "--port", port, ...WITH_REGISTRY);
	assert.deepEqual([ran.code, ran.error], [0, ""]);
	assert.match(ran.out, /has forgotten its keys; its last message was opened/);
	assert.equal(meter.keys.isProvisioned, false);

	ran = await run("list", ...WITH_REGISTRY);
	assert.match(
		ran.out,
		/acde480000000001 domain 7 address 0 generation 2 decommissioned\nacde480000000002 domain 7 address 1 generation 1\n/,
	);
	for (const name of readdirSync(registry))
		for (let at = 0; at < 64; at += 8)
			assert.equal(
				readFileSync(join(registry, name)).indexOf(secrets.subarray(at, at + 8)),
				-1,
				`${name}: a root in the clear`,
			);
});

test("what goes wrong is one line and an exit code", async () => {
	const other = join(folder, "batch", "acde480000000002-g1.wldf");
	let ran = await run("write", "--device", other, "--port", port, ...WITH_KEY);
	assert.deepEqual([ran.code, ran.out], [2, ""]);
	assert.match(ran.error, /^wattlock: the meter in front of the optical head is acde480000000001, not .*\n$/);
	ran = await run("write", "--device", `${other}.written`, "--port", port, ...WITH_KEY);
	assert.match(ran.error, /^wattlock: .* keys are never given twice.*\n$/);
	meter.host.id.set(Buffer.from("acde480000000002", "hex"));
	meter.host.earliest = 0xffff;
	ran = await run("write", "--device", other, "--port", port, ...WITH_KEY);
	assert.deepEqual([ran.code, ran.out], [1, ""], "the meter refused");
	assert.match(
		ran.error,
		/^wattlock: the meter refuses PROVISION: the device file begins on a day that is over .*\(expired\)\n$/,
	);
	assert.ok(existsSync(other), "a refused device file stays");
	ran = await run("decommission", "--id", "acde480000000002", ...WITH_REGISTRY);
	assert.match(ran.error, /^wattlock: give --port .* or --lost .*\n$/);
});

/** A pseudo terminal: what is written to it comes out of `script`, and the other way round. */
async function openTerminal(): Promise<{ path: string; child: ReturnType<typeof spawn> }> {
	const child = spawn("script", ["-qfc", "stty raw -echo; tty; exec sleep 60", "/dev/null"], { stdio: "pipe" });
	let text = "";
	const path = await new Promise<string>((resolve, reject) => {
		child.on("error", reject);
		child.stdout.on("data", (bytes) => {
			text += bytes;
			const found = /(\/dev\/pts\/\d+)\r?\n/.exec(text)?.[1];
			if (found) resolve(found);
		});
	});
	child.stdout.removeAllListeners("data");
	return { path, child };
}

const hasScript = !spawnSync("script", ["--version"]).error;

test("a serial device", { skip: hasScript ? false : "script (util-linux) is not installed" }, async () => {
	const { path, child } = await openTerminal();
	child.stdout!.on("data", (bytes: Buffer) => {
		meter.machine.receive(0, bytes, bytes.length);
		const into = new Uint8Array(512);
		const count = meter.machine.transmit(into);
		child.stdin!.write(Buffer.from(into.subarray(0, count)));
	});
	try {
		const ran = await run("show", "--port", path);
		assert.deepEqual([ran.code, ran.error], [0, ""]);
		assert.match(ran.out, /^acde48000000000\d, firmware 1\.0\.0, has no keys.*\nkey records \d+, witnessed 0/);
	} finally {
		child.kill();
	}
});

test("the chains of authorisations outlive the command, and belong to one process", () => {
	const lock = FileLock.ofKeyFile(keyFile, false);
	const meterId = "acde480000000002";
	const message = Uint8Array.of(0xa0, 1);
	const indices: number[] = [];
	const day = (() => {
		const file = createDeviceFile();
		const authority = openAuthority(registry, lock);
		authority.again(meterId, file);
		authority.close();
		return file.epoch;
	})();
	for (let i = 0; i < 3; i++) {
		const authority = openAuthority(registry, lock);
		const sealed = authority.authorise(meterId, 1, day, message);
		const second = openAuthority(registry, lock);
		assert.throws(() => second.authorise(meterId, 1, day, message), /in use by process/);
		second.close();
		indices.push(sealed[7]! * 256 + sealed[8]!);
		assert.throws(() => authority.authorise(meterId, 1, day - 1, message), /the meter needs the day's ANCHOR/);
		authority.close();
	}
	assert.deepEqual(indices, [0, 1, 2], "an index was used twice");
	const authority = openAuthority(registry, lock);
	authority.authorise(meterId, 1, day + 1, message);
	for (let i = 0; i < 31; i++) authority.authorise(meterId, 1, day + 1, message);
	assert.throws(() => authority.authorise(meterId, 1, day + 1, message), /32 messages of today did not reach/);
	authority.close();
});
