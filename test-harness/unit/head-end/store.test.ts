import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
	chmodSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	rmSync,
	truncateSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { ClassicLevel } from "classic-level";
import { type Engine, type EngineIterator, RecordKind, recordKey, Store, StoreError } from "../../head-end/store.js";
import { ROOT } from "../../root.js";
import { temporaryFolder } from "./bench.js";

const folder = temporaryFolder();
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(folder, `store-${++count}`);
const ID = "0011223344556677";

function rowWrite(sequence: number, text = `row ${sequence}`): { key: Buffer; value: Buffer } {
	return { key: recordKey(ID, RecordKind.profile, 0, sequence), value: Buffer.from(text) };
}

async function sequences(store: Store): Promise<number[]> {
	const found: number[] = [];
	for await (const record of store.records(ID, RecordKind.profile)) found.push(record.sequence);
	return found;
}

const isStoreError =
	(reason: StoreError["reason"], message: RegExp) =>
	(error: unknown): boolean => {
		assert.ok(error instanceof StoreError, String(error));
		assert.equal(error.reason, reason, error.message);
		assert.match(error.message, message);
		assert.ok(!error.message.includes("\n"));
		return true;
	};

test("records come back in the order of meter, kind, series and sequence", async () => {
	const store = await Store.open(fresh());
	await store.write(
		[5, 300, 70_000, 1].map((sequence) => rowWrite(sequence)),
		true,
	);
	await store.write([{ key: recordKey("ffffffffffffffff", RecordKind.profile, 0, 9), value: Buffer.from("x") }], true);
	await store.write([{ key: recordKey(ID, RecordKind.profile, 1, 0), value: Buffer.from("y") }], true);
	assert.deepEqual(await sequences(store), [1, 5, 300, 70_000, 0]);
	const all: string[] = [];
	for await (const record of store.records())
		all.push(`${record.identifier.slice(0, 2)} ${record.series} ${record.sequence}`);
	assert.deepEqual(all, ["00 0 1", "00 0 5", "00 0 300", "00 0 70000", "00 1 0", "ff 0 9"]);
	const from: number[] = [];
	for await (const record of store.records(ID, RecordKind.profile, 0, 300)) from.push(record.sequence);
	assert.deepEqual(from, [300, 70_000]);
	await store.close();
});

test("the instance name stays, so the MQTT session does", async () => {
	const path = fresh();
	const first = await Store.open(path);
	const { instance } = first;
	await first.close();
	const second = await Store.open(path);
	assert.equal(second.instance, instance);
	assert.match(instance, /^[0-9a-f]{12}$/);
	await second.close();
});

test("another process has it: a clear line", async () => {
	const path = fresh();
	const store = await Store.open(path);
	await assert.rejects(
		Store.open(path),
		isStoreError("locked", /another process uses it; stop that head end or name another/),
	);
	await store.close();
});

test("a store of a later format is not touched", async () => {
	const path = fresh();
	await (await Store.open(path)).close();
	const level = new ClassicLevel<Buffer, Buffer>(path, { keyEncoding: "buffer", valueEncoding: "buffer" });
	const other = await Store.open(fresh());
	// the checksum covers the key, so a record with another version is made by a store that writes it
	const key = Buffer.concat([Buffer.from([0]), Buffer.from("schema")]);
	await other.write([{ key, value: Buffer.from("2") }], true);
	await other.close();
	const source = new ClassicLevel<Buffer, Buffer>(other.path, { keyEncoding: "buffer", valueEncoding: "buffer" });
	const sealed = await source.get(key);
	await source.close();
	await level.put(key, sealed!);
	await level.close();
	await assert.rejects(Store.open(path), isStoreError("newer", /format 2, this program knows 1/));
});

test("a file, and a folder without permission, in the place of the store", async () => {
	const path = fresh();
	writeFileSync(path, "not a store");
	await assert.rejects(Store.open(path), isStoreError("unusable", /not a folder/));
	assert.equal(readFileSync(path, "utf8"), "not a store");
	if (process.getuid?.() === 0) return; // root may write everywhere
	const closed = fresh();
	mkdirSync(closed);
	chmodSync(closed, 0o500);
	await assert.rejects(Store.open(join(closed, "store")), isStoreError("unusable", /no permission/));
});

async function filled(path: string): Promise<void> {
	let store = await Store.open(path);
	for (let sequence = 0; sequence < 2000; sequence++)
		await store.write([rowWrite(sequence, randomBytes(60).toString("latin1"))], sequence % 500 === 499);
	await store.close();
	// a second opening moves the log into a table file
	store = await Store.open(path);
	await store.close();
}

test("without CURRENT the store is told damaged, and not replaced by an empty one", async () => {
	const path = fresh();
	await filled(path);
	const before = readdirSync(path);
	rmSync(join(path, "CURRENT"));
	await assert.rejects(Store.open(path), isStoreError("corrupt", /CURRENT is missing.*start once with "repair"/));
	await new Promise((resolve) => setTimeout(resolve, 100)); // nor behind our back: the binding opens by itself
	assert.deepEqual(readdirSync(path).sort(), before.filter((name) => name !== "CURRENT").sort());
	const store = await Store.open(path, { repair: true });
	assert.equal((await sequences(store)).length, 2000);
	assert.ok(existsSync(store.copiedTo));
	await store.close();
});

test("a damaged manifest: a clear line, and repair brings the rows back", async () => {
	const path = fresh();
	await filled(path);
	const manifest = readdirSync(path).find((name) => name.startsWith("MANIFEST"))!;
	truncateSync(join(path, manifest), 7);
	await assert.rejects(Store.open(path), isStoreError("corrupt", /damaged/));
	const store = await Store.open(path, { repair: true });
	assert.equal((await sequences(store)).length, 2000);
	await store.close();
});

test("damage inside a table: found by checksum when read, and repair keeps the rest", async () => {
	const path = fresh();
	await filled(path);
	const table = readdirSync(path).find((name) => /ldb$/.test(name))!;
	const bytes = readFileSync(join(path, table));
	for (let at = 3000; at < 3040; at++) bytes[at]! ^= 0x5a;
	writeFileSync(join(path, table), bytes);
	const store = await Store.open(path).then(
		async (opened) => {
			await assert.rejects(sequences(opened), isStoreError("corrupt", /damaged/));
			await opened.close();
			return Store.open(path, { repair: true });
		},
		async (error) => {
			isStoreError("corrupt", /damaged/)(error);
			return Store.open(path, { repair: true });
		},
	);
	const kept = await sequences(store);
	assert.ok(kept.length > 500 && kept.length < 2000, `${kept.length} of 2000 kept`);
	await store.close();
});

/** LevelDB in front of a disk that fails when told. */
function failing(path: string, state: { error: Error | undefined }): Engine {
	const level = new ClassicLevel<Buffer, Buffer>(path, { keyEncoding: "buffer", valueEncoding: "buffer" });
	return {
		open: () => level.open(),
		close: () => level.close(),
		getSync: (key) => level.getSync(key),
		batch: (operations, options) =>
			state.error ? Promise.reject(state.error) : level.batch(operations as never, options),
		iterator: (options) => level.iterator(options) as unknown as EngineIterator,
	};
}

test("damage in the index of a table is told as damage too", async () => {
	const path = fresh();
	await filled(path);
	const table = readdirSync(path).find((name) => /ldb$/.test(name))!;
	const bytes = readFileSync(join(path, table));
	for (let at = bytes.length - 600; at < bytes.length - 60; at++) bytes[at]! ^= 0xff;
	writeFileSync(join(path, table), bytes);
	await assert.rejects(
		Store.open(path).then((opened) => sequences(opened).finally(() => opened.close())),
		isStoreError("corrupt", /damaged/),
	);
	const store = await Store.open(path, { repair: true });
	assert.ok(existsSync(join(store.copiedTo, table)), "the copy still has what repair could not read");
	await store.write([rowWrite(1)], true);
	await store.close();
});

test("a full disk: a clear line, nothing more is taken until a reopened store writes again, and nothing is lost", async () => {
	const path = fresh();
	const state: { error: Error | undefined } = { error: undefined };
	const store = await Store.open(path, {}, () => failing(path, state));
	await store.write([rowWrite(1)], true);
	state.error = Object.assign(new Error(`IO error: ${path}/000003.log: No space left on device`), {
		code: "LEVEL_IO_ERROR",
	});
	await assert.rejects(store.write([rowWrite(2)], true), isStoreError("full", /disk is full; free some space/));
	const error = state.error;
	state.error = undefined;
	await assert.rejects(store.write([rowWrite(3)], true), isStoreError("full", /disk is full/), "not before reopen");
	state.error = error;
	await assert.rejects(store.reopen(), isStoreError("full", /disk is full/));
	state.error = undefined;
	await store.reopen();
	assert.equal(store.failure, undefined);
	await store.write([rowWrite(4)], true);
	assert.deepEqual(await sequences(store), [1, 4]);
	await store.close();
	for (const [message, reason] of [
		["IO error: x: Input/output error", "full"],
		["IO error: x: Read-only file system", "unusable"],
	] as const) {
		state.error = new Error(message);
		await assert.rejects(
			Store.open(fresh(), {}, () => failing(fresh(), state)),
			isStoreError(reason, /store/),
		);
	}
});

/** Runs a script that opens a store and writes rows, told what to do by its arguments. */
function writer(path: string, shell?: string): ChildProcess {
	const script = join(ROOT, "test-harness", "unit", "head-end", "store-writer.ts");
	const args = ["--import", "tsx", script, path];
	return shell === undefined
		? spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] })
		: spawn("sh", ["-c", `${shell}; exec "$0" "$@"`, process.execPath, ...args], {
				cwd: ROOT,
				stdio: ["ignore", "pipe", "inherit"],
			});
}

async function output(child: ChildProcess): Promise<string> {
	let text = "";
	child.stdout?.setEncoding("utf8").on("data", (part: string) => {
		text += part;
	});
	await new Promise((resolve) => child.on("close", resolve));
	return text;
}

test("a file system that really takes no more bytes: confirmed rows are there afterwards", async () => {
	const path = fresh();
	// a limit on the size of files stands for the full disk: it needs no rights and fails in the same write
	const text = await output(writer(path, "trap '' XFSZ; ulimit -f 128"));
	const confirmed = [...text.matchAll(/^confirmed (\d+)$/gm)].map((match) => Number(match[1]));
	assert.match(text, /^refused full .*disk is full/m);
	assert.ok(confirmed.length > 50, text.slice(-300));
	const store = await Store.open(path);
	assert.deepEqual((await sequences(store)).slice(0, confirmed.length), confirmed);
	await store.close();
});

test("kill -9 in the middle of writes, ten times: every confirmed row is there", async () => {
	const path = fresh();
	let confirmed: number[] = [];
	for (let round = 0; round < 10; round++) {
		const child = writer(path);
		const text = output(child);
		child.stdout?.once("data", () => setTimeout(() => child.kill("SIGKILL"), 5 + ((round * 37) % 120)));
		const lines = [...(await text).matchAll(/^confirmed (\d+)$/gm)].map((match) => Number(match[1]));
		confirmed = confirmed.concat(lines);
		assert.ok(lines.length > 0, `round ${round}: nothing was written`);
	}
	const store = await Store.open(path);
	const found = new Set(await sequences(store));
	for (const sequence of confirmed) assert.ok(found.has(sequence), `row ${sequence} is lost`);
	assert.ok(found.size - confirmed.length <= 10 * 2, "at most what was under way is there unconfirmed");
	await store.close();
});
