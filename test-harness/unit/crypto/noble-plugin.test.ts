import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gcm } from "@noble/ciphers/aes.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { build } from "esbuild";
import { NOBLE_PATCHES, noblePlugin, patchNoble } from "../../build/noble-plugin.js";
import { ROOT } from "../../root.js";

const sourceOf = (name: string): string => readFileSync(join(ROOT, "node_modules", "@noble", name), "utf8");

async function bundle(contents: string): Promise<{ text: string; bytes: Map<string, number> }> {
	const { outputFiles, metafile } = await build({
		stdin: { contents, resolveDir: ROOT, loader: "ts" },
		bundle: true,
		write: false,
		format: "esm",
		platform: "neutral",
		target: "es2022",
		plugins: [noblePlugin()],
		metafile: true,
		logLevel: "silent",
	});
	const inputs = Object.values(metafile.outputs)[0]!.inputs;
	return {
		text: outputFiles[0]!.text,
		bytes: new Map(Object.entries(inputs).map(([path, { bytesInOutput }]) => [path, bytesInOutput])),
	};
}

async function load(text: string): Promise<Record<string, unknown>> {
	return (await import(`data:text/javascript;base64,${Buffer.from(text).toString("base64")}`)) as Record<
		string,
		unknown
	>;
}

test("every patch applies to the installed packages", () => {
	for (const name of Object.keys(NOBLE_PATCHES)) assert.ok("text" in patchNoble(name, sourceOf(name)), name);
});

test("a patch that no longer applies stops the build, each one by itself", () => {
	let tried = 0;
	for (const [name, patches] of Object.entries(NOBLE_PATCHES)) {
		let text = sourceOf(name);
		for (const [find, replace] of patches) {
			const match = typeof find === "string" ? find : find.exec(text)![0];
			// one character more in the middle of what is looked for
			const half = match.length >> 1;
			const changed = sourceOf(name).replace(match, () => `${match.slice(0, half)}?${match.slice(half)}`);
			if (changed !== sourceOf(name)) {
				tried++;
				const result = patchNoble(name, changed);
				// a pattern may reach over what is between its ends: then the change goes with it
				if (typeof find === "string") assert.ok("error" in result, `${name}: ${find}`);
			}
			text = text.replace(find, replace);
		}
	}
	assert.ok(tried >= 12, `only ${tried} patches tried`);
});

test("patched hash, HKDF and GCM give what the packages give, at odd lengths too", async () => {
	const { text } = await bundle(
		'export { gcm } from "@noble/ciphers/aes.js"; export { hkdf } from "@noble/hashes/hkdf.js"; export { sha256 } from "@noble/hashes/sha2.js";',
	);
	const patched = (await load(text)) as { gcm: typeof gcm; hkdf: typeof hkdf; sha256: typeof sha256 };
	for (const byteLength of [0, 1, 11, 13, 64, 1024]) {
		const data = Uint8Array.from({ length: byteLength }, (_, i) => 7 * i);
		const key = data.length >= 16 ? data.slice(0, 16) : new Uint8Array(16);
		assert.deepEqual(patched.sha256(data), sha256(data));
		assert.deepEqual(patched.hkdf(patched.sha256, key, data, data, 80), hkdf(sha256, key, data, data, 80));
		const sealed = gcm(key, new Uint8Array(12), data).encrypt(data);
		assert.deepEqual(patched.gcm(key, new Uint8Array(12), data).encrypt(data), sealed);
		assert.deepEqual(patched.gcm(key, new Uint8Array(12), data).decrypt(sealed), data);
	}
});

test("the firmware's bundle holds no merged table, no scratch at module level and nothing that is not used", async () => {
	const { text, bytes } = await bundle('export { NobleCrypto } from "./src/crypto/noble-crypto.js";');
	assert.doesNotMatch(text, /256 \* 256|65536|ZEROS16|HKDF_COUNTER|SHA256_W = new|K512/);
	assert.equal(bytes.get("node_modules/@noble/ciphers/_polyval.js") ?? 0, 0);
	const noble = [...bytes].filter(([path]) => path.includes("@noble")).reduce((sum, [, count]) => sum + count, 0);
	assert.ok(noble < 20_000, `${noble} bytes of noble`);
});
