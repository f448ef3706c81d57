import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildEngine } from "../../build/engine.js";
import { assignedNames, buildFirmware, bundleFirmware, exposePrivateNames } from "../../build/firmware.js";
import { ROOT } from "../../root.js";
import { UserError } from "../../user-error.js";

const TRIAL = join(ROOT, "test-harness", "unit", "device", "firmware", "trial.ts");

test("names that are assigned anywhere are found, those only declared are not", () => {
	const found = assignedNames(`
var fixed = 1;
const table = [1, 2], twin = 3;
var counter = 0;
function bump() { counter++; --other; total += 1; this.field = 2; object.other2 = 1; }
let later;
[first, second] = pair;
({ third, fourth: renamed } = pair);
for (item of list) use(item);
for (const own of list) use(own);
list[index] = 4;
if (same === 1 || less <= 2 || more => 3) use();
mixed ||= 2; shifted >>>= 1;
class Thing { size = 1; }
`);
	for (const name of ["counter", "other", "total", "later", "first", "second", "third", "renamed", "item"])
		assert.ok(found.has(name), name);
	for (const name of ["index", "mixed", "shifted"]) assert.ok(found.has(name), name);
	for (const name of ["fixed", "table", "pair", "object", "own", "list", "same", "less", "Thing", "bump", "field"])
		assert.ok(!found.has(name), name);
});

test("private names become names of their class, nothing else changes", () => {
	const text = exposePrivateNames(`var Base = class {
  #count = 0;
  static #made = 1;
  /** Uses \`#count\`. */
  get #twice() {
    return this.#count * 2;
  }
  add(other) {
    this.#count += other?.#count ?? this.#twice; // #count
    return "#count";
  }
};
class Derived extends Base {
  #count;
}
var outside = "#count";
`);
	assert.equal(
		text,
		`var Base = class {
  _Base_count = 0;
  static _Base_made = 1;
  /** Uses \`#count\`. */
  get _Base_twice() {
    return this._Base_count * 2;
  }
  add(other) {
    this._Base_count += other?._Base_count ?? this._Base_twice; // #count
    return "#count";
  }
};
class Derived extends Base {
  _Derived_count;
}
var outside = "#count";
`,
	);
	assert.throws(() => exposePrivateNames("class A {\n  has(x) { return #a in x; }\n}"), UserError);
});

test("a bundle has no private names, no imports and a list of its variables", async () => {
	const text = await bundleFirmware(join(ROOT, "hosts", "linux", "main.ts"));
	assert.doesNotMatch(text, /^import /m);
	assert.doesNotMatch(text, /^\s+(?:static )?#\w+[ (;]/m);
	assert.match(text, /globalThis\.wattlockAssigned = " .+ ";\n$/);
});

test("the same sources give the same archive, and are not compiled again", async () => {
	const first = await buildFirmware({ entry: TRIAL, name: "trial" });
	assert.match(first.digest, /^[0-9a-f]{64}$/);
	assert.equal(first.modules[0]?.name, "main");
	const { mtimeMs } = statSync(first.archive);
	const said: string[] = [];
	const second = await buildFirmware({ entry: TRIAL, name: "trial", onProgress: (text) => said.push(text) });
	assert.deepEqual(second, first);
	assert.equal(statSync(second.archive).mtimeMs, mtimeMs);
	assert.deepEqual(said, []);
});

test("mistakes in the source are shown where they are", async () => {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-firmware-"));
	try {
		const entry = join(folder, "main.ts");
		writeFileSync(entry, 'import "./missing.js";\n');
		await assert.rejects(buildFirmware({ entry, name: "mistake" }), /missing\.js/);
		writeFileSync(entry, "var a = 08; with (a) {}\n");
		await assert.rejects(buildFirmware({ entry, name: "mistake" }), UserError);
	} finally {
		rmSync(folder, { recursive: true });
	}
});

test("the host refuses archives that are damaged or of another engine, with one line", async () => {
	const { host } = await buildEngine();
	const { archive } = await buildFirmware({ entry: TRIAL, name: "trial" });
	const good = readFileSync(archive);
	const folder = mkdtempSync(join(tmpdir(), "wattlock-archive-"));
	const refused = (bytes: Uint8Array): string => {
		const path = join(folder, "bad.wlxa");
		writeFileSync(path, bytes);
		const { status, stderr } = spawnSync(host, [path], { input: "", encoding: "utf8" });
		assert.equal(status, 1);
		assert.match(stderr, /^wattlock-host: [^\n]+\n$/);
		return stderr;
	};
	const changed = (offset: number, value: number): Uint8Array => {
		const bytes = Uint8Array.from(good);
		bytes[offset] = value;
		return bytes;
	};
	try {
		assert.match(refused(new Uint8Array(0)), /empty/);
		assert.match(refused(good.subarray(0, 20)), /not a firmware archive/);
		assert.match(refused(changed(4, 2)), /another version of the archive/);
		assert.match(refused(changed(5, 12)), /another version of XS/);
		assert.match(refused(changed(200, good[200]! ^ 1)), /damaged/);
		assert.match(refused(good.subarray(0, good.length - 1)), /damaged/);
	} finally {
		rmSync(folder, { recursive: true });
	}
	assert.match(spawnSync(host, ["--threads", "0", archive], { encoding: "utf8" }).stderr, /from 1 to 256/);
	assert.match(spawnSync(host, [], { encoding: "utf8" }).stderr, /usage/);
});
