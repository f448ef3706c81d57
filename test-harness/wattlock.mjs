#!/usr/bin/env node
// The first file that runs on a fresh clone: plain JavaScript, nothing but Node's own modules. It installs the
// dependencies when they are missing or out of date, then hands over to wattlock.ts.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

function fail(text) {
	process.stderr.write(`wattlock: ${text}\n`);
	process.exit(2);
}

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19))
	fail(`needs Node 20.19 or newer, this is ${process.versions.node}: install a newer Node and start again`);

const modules = join(root, "node_modules");
const stamp = join(modules, ".wattlock");
const wanted = createHash("sha256")
	.update(readFileSync(join(root, "package-lock.json")))
	.update(process.versions.modules)
	.digest("hex");
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
	process.stderr.write("wattlock: installing dependencies (npm ci), once\n");
	const windows = process.platform === "win32";
	const result = spawnSync(
		windows ? "npm.cmd" : "npm",
		["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
		{ cwd: root, stdio: ["ignore", process.stderr, process.stderr], shell: windows },
	);
	if (result.error) fail(`npm could not be started (${result.error.message}): put npm on PATH`);
	if (result.status !== 0)
		fail("npm ci failed: see above; check the network and the free disk space, then start again");
	writeFileSync(stamp, wanted);
}

const { register } = await import("tsx/esm/api");
register();
const { main } = await import("./wattlock.ts");
await main(process.argv);
