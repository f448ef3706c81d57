import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { test } from "node:test";
import { ROOT } from "../root.js";

/** A room of src, and the rooms it may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
	bytes: [],
	platform: ["bytes"],
	crypto: ["bytes", "platform"],
	messages: ["bytes", "platform"],
	metrology: ["bytes", "platform"],
	storage: ["bytes", "platform"],
	mqtt: ["bytes", "platform"],
	wifi: ["bytes", "platform"],
	zigbee: ["bytes", "platform"],
	"key-store": ["bytes", "platform", "crypto", "storage"],
	"group-keys": ["bytes", "platform", "crypto"],
	"front-end": ["bytes", "platform"],
	broadcast: ["bytes", "platform", "crypto"],
	commands: ["bytes", "platform", "crypto", "messages", "storage"],
	"firmware-update": ["bytes", "platform", "crypto", "messages", "storage"],
	provisioning: ["bytes", "platform", "crypto", "messages", "storage", "key-store"],
	meter: [
		"bytes",
		"platform",
		"crypto",
		"messages",
		"metrology",
		"storage",
		"mqtt",
		"wifi",
		"zigbee",
		"key-store",
		"group-keys",
		"broadcast",
		"commands",
		"firmware-update",
		"provisioning",
		"front-end",
	],
};

/** Packages that firmware may name. */
const PACKAGES = new Set(["mqtt-packet", "@noble/hashes", "@noble/ciphers"]);

function* sources(folder: string): Generator<string> {
	for (const entry of readdirSync(folder, { withFileTypes: true })) {
		const path = join(folder, entry.name);
		if (entry.isDirectory()) yield* sources(path);
		else if (/\.ts$/.test(entry.name) && !entry.name.endsWith(".d.ts")) yield path;
	}
}

function imports(path: string): string[] {
	const text = readFileSync(path, "utf8");
	const found = text.matchAll(/^(?:(?:import|export)\s[^;"]*?from\s+|import\s+)"([^"]+)"|\bimport\("([^"]+)"\)/gm);
	return [...found].map((match) => match[1] ?? match[2] ?? "");
}

test("imports point one way: a room of src names only the rooms below it", () => {
	let checked = 0;
	for (const path of sources(join(ROOT, "src"))) {
		const room = relative(join(ROOT, "src"), path).split("/")[0] ?? "";
		const allowed = MAY_IMPORT[room];
		assert.ok(allowed, `src/${room} is not a known room: add it here with the rooms it may import`);
		for (const specifier of imports(path)) {
			checked++;
			const where = `${relative(ROOT, path)} imports ${specifier}`;
			if (!specifier.startsWith(".")) {
				const name = specifier.startsWith("@") ? specifier.split("/").slice(0, 2).join("/") : specifier.split("/")[0]!;
				assert.ok(PACKAGES.has(name), `${where}: firmware names no such package`);
				continue;
			}
			assert.match(specifier, /\.(js|cjs)$/, `${where}: write the .js ending`);
			const target = relative(join(ROOT, "src"), join(path, "..", specifier)).split("/")[0] ?? "";
			assert.ok(target === room || allowed.includes(target), `${where}: ${room} may name ${allowed.join(", ")}`);
		}
	}
	assert.ok(checked > 50, `only ${checked} imports seen`);
});

test("hosts name src and nothing of the harness", () => {
	for (const path of sources(join(ROOT, "hosts")))
		for (const specifier of imports(path))
			assert.doesNotMatch(specifier, /test-harness|^node:/, `${relative(ROOT, path)} imports ${specifier}`);
});

test("the top level holds what the house says and nothing else", () => {
	const allowed = new Set([
		"manifest.json",
		"package.json",
		"package-lock.json",
		"tsconfig.json",
		"src",
		"hosts",
		"test-harness",
		"docs",
		"README.md",
		"LICENSE",
		"node_modules",
		"build",
		"out",
	]);
	for (const name of readdirSync(ROOT))
		assert.ok(name.startsWith(".") || allowed.has(name), `${name} at the top level`);
});

test("no file of src, hosts or docs names an absolute path or switches a check off", () => {
	for (const folder of ["src", "hosts"])
		for (const path of sources(join(ROOT, folder))) {
			const text = readFileSync(path, "utf8");
			assert.doesNotMatch(text, /@ts-ignore|@ts-nocheck|biome-ignore-all/, relative(ROOT, path));
			assert.doesNotMatch(text, /\benum\s+\w+\s*\{|\bnamespace\s+\w+\s*\{/, relative(ROOT, path));
		}
});
