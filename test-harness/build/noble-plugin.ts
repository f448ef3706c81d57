import { readFileSync } from "node:fs";
import type { Plugin } from "esbuild";

type Patch = readonly [find: string | RegExp, replace: string];

const GCM_SCRATCH = "ZEROS16.set(data.subarray(blocks * BLOCK_SIZE));";
const OWN_SCRATCH = "const ZEROS16 = new Uint8Array(16), ZEROS32 = u32(ZEROS16);\n            ";

/**
 * What is changed in @noble/hashes and @noble/ciphers 2.4.0 for an engine where module state is read-only flash. Each
 * patch must apply exactly once, or the build stops: a new version of a package is looked at by hand. Files are named
 * "package/file".
 */
export const NOBLE_PATCHES: Readonly<Record<string, readonly Patch[]>> = {
	// The message schedule becomes part of the hash.
	"hashes/sha2.js": [
		["const SHA256_W = /* @__PURE__ */ new Uint32Array(64);\n", ""],
		[
			"    H = 0;\n    constructor(outputLen, IV) {",
			"    H = 0;\n    W = new Uint32Array(64);\n    constructor(outputLen, IV) {",
		],
		[
			"    process(view, offset) {\n        // Extend the first 16 words into the remaining 48",
			"    process(view, offset) {\n        const SHA256_W = this.W;\n        // Extend the first 16 words into the remaining 48",
		],
		["clean(SHA256_W);", "clean(this.W);"],
	],
	"hashes/hkdf.js": [
		["const HKDF_COUNTER = /* @__PURE__ */ Uint8Array.of(0);\n", ""],
		[/export function expand\([^)]*\) \{\n/, "$&    const HKDF_COUNTER = Uint8Array.of(0);\n"],
	],
	"ciphers/_polyval.js": [
		["const ZEROS16 = /* @__PURE__ */ new Uint8Array(16);\n", ""],
		["const ZEROS32 = /* @__PURE__ */ u32(ZEROS16);\n", ""],
		[`${GCM_SCRATCH}\n            // Tail blocks`, `${OWN_SCRATCH}${GCM_SCRATCH}\n            // Tail blocks`],
		[`${GCM_SCRATCH}\n            this._`, `${OWN_SCRATCH}${GCM_SCRATCH}\n            this._`],
	],
	// 1.31 MB of merged tables become the 8 KB that they are made of.
	"ciphers/aes.js": [
		[
			/ {4}\/\/ Pre-xor adjacent lanes[\s\S]*? {4}return \{ sbox, sbox2, T0, T1, T2, T3, T01, T23 \};\n/,
			"    return Object.freeze({ sbox, sbox2: sbox, T0, T1, T2, T3, T01: Object.freeze([T0, T1]), T23: Object.freeze([T2, T3]) });\n",
		],
		[
			/ {4}return \(T01\[\(\(s0 << 8\)[\s\S]*?\]\);\n/,
			"    return T01[0][s0 & 0xff] ^ T01[1][(s1 >>> 8) & 0xff] ^ T23[0][(s2 >>> 16) & 0xff] ^ T23[1][s3 >>> 24];\n",
		],
		[
			/ {4}return \(sbox2\[\(s0 & 0xff\) \| \(s1 & 0xff00\)\] \|\n.*\n/,
			"    return sbox2[s0 & 0xff] | (sbox2[(s1 >>> 8) & 0xff] << 8) | (sbox2[(s2 >>> 16) & 0xff] << 16) | (sbox2[s3 >>> 24] << 24);\n",
		],
		// only what src/crypto calls: the rest would be kept for its sake
		[
			/export const unsafe = \/\* @__PURE__ \*\/ Object\.freeze\(\{[\s\S]*?\}\);\n/,
			"export const unsafe = /* @__PURE__ */ Object.freeze({ expandKeyLE, expandKeyDecLE, encrypt, decrypt });\n",
		],
	],
};

/** What must be gone from each file afterwards. */
const GONE: Readonly<Record<string, RegExp>> = {
	"hashes/sha2.js": /^const SHA256_W\b/m,
	"hashes/hkdf.js": /^const HKDF_COUNTER\b/m,
	"ciphers/_polyval.js": /^const ZEROS/m,
	"ciphers/aes.js": /256 \* 256/,
};

/** Changes the text of one file of the packages. @returns the text, or which patch does not apply */
export function patchNoble(name: string, text: string): { text: string } | { error: string } {
	let changed = text.replace(/\r\n/g, "\n");
	for (const [find, replace] of NOBLE_PATCHES[name] ?? []) {
		const count = changed.split(find).length - 1;
		if (count !== 1) return { error: `noble patch applies ${count} times to ${name}: ${find}` };
		changed = changed.replace(find, replace);
	}
	const left = GONE[name]?.exec(changed);
	return left ? { error: `noble: "${left[0]}" is still in ${name}` } : { text: changed };
}

/** For esbuild: the packages of noble so that they run preloaded, with their tables in flash. */
export function noblePlugin(): Plugin {
	return {
		name: "noble",
		setup(build) {
			const seen = new Set<string>();
			build.onStart(() => seen.clear());
			build.onLoad({ filter: /[\\/]@noble[\\/](hashes|ciphers)[\\/]\w+\.js$/ }, ({ path }) => {
				const [folder = "", file = ""] = path.split(/[\\/]/).slice(-2);
				const name = `${folder}/${file}`;
				seen.add(name);
				const patched = patchNoble(name, readFileSync(path, "utf8"));
				if ("error" in patched) return { errors: [{ text: patched.error }] };
				return { contents: patched.text, loader: "js" };
			});
			build.onEnd((result) => {
				if (seen.size === 0 || result.errors.length > 0) return; // noble is not in this bundle
				for (const name of ["hashes/sha2.js", "ciphers/aes.js"])
					if (!seen.has(name))
						result.errors.push({
							id: "",
							pluginName: "noble",
							text: `noble: ${name} was not seen`,
							location: null,
							notes: [],
							detail: undefined,
						});
			});
		},
	};
}
