import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { test } from "node:test";
import { buildEngine } from "../../build/engine.js";
import { ROOT } from "../../root.js";

test("the engine is built once and then left alone", async () => {
	const { host, compiler } = await buildEngine();
	accessSync(host, constants.X_OK);
	accessSync(compiler, constants.X_OK);
	const said: string[] = [];
	assert.deepEqual(await buildEngine({ onProgress: (text) => said.push(text) }), { host, compiler });
	assert.deepEqual(said, []);
});

test("without a C compiler one line says what to install", () => {
	const script =
		'import("./test-harness/build/engine.ts").then((m) => m.buildEngine()).catch((e) => console.log(e.message))';
	const { stdout } = spawnSync(process.execPath, ["--import", "tsx", "-e", script], {
		cwd: ROOT,
		encoding: "utf8",
		env: { ...process.env, CC: "no-such-compiler" },
	});
	assert.match(stdout, /^no C compiler "no-such-compiler": install one \(Debian: apt-get install [^\n]+ or set CC\n$/);
});
