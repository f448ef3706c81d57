import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Plugin } from "esbuild";

type Patch = readonly [find: string | RegExp, replace: string];

/**
 * What is changed in `mqtt-packet` 9.0.2 for an engine where module state is read-only flash and property names are
 * never freed. Each patch must change the text, or the build stops: a new version of the package is looked at by hand.
 */
const PATCHES: Readonly<Record<string, readonly Patch[]>> = {
	"numbers.js": [
		["const cache = {}\n", "const cache = Object.freeze({})\n"], // 65,536 Buffers: "memory full"
		[/function generateCache \(\) \{\n[\s\S]*?\n\}\n/, "function generateCache () {}\n"],
	],
	"writeToStream.js": [
		["let writeNumber = writeNumberCached\nlet toGenerate = true\n", "const writeNumber = writeNumberGenerated\n"],
		[/ {2}if \(toGenerate\) \{\n[\s\S]*?\n {2}\}\n/, ""],
		[/Object\.defineProperty\(generate, 'cacheNumbers', \{\n[\s\S]*?\n\}\)\n/, "generate.cacheNumbers = false\n"],
		[/function writeNumberCached \(stream, number\) \{\n[\s\S]*?\n\}\n/, ""],
		["const numCache = numbers.cache\n", ""],
		["const generateCache = numbers.generateCache\n", ""],
		["const varByteIntCache = {}\n", ""],
		[
			/ {2}let buffer = varByteIntCache\[num\]\n\n {2}if \(!buffer\) \{\n[\s\S]*?\n {2}\}\n/,
			"  const buffer = genBufVariableByteInt(num)\n",
		],
		["const nextTick = require('process-nextick-args').nextTick\n", ""],
		[/ {2}if \(stream\.cork\) \{\n[\s\S]*?\n {2}\}\n/, ""],
		[/function uncork \(stream\) \{\n[\s\S]*?\n\}\n/, ""],
		["const debug = require('debug')('mqtt-packet:writeToStream')\n", ""],
		[/^ *debug\(.*\)\n/gm, ""],
	],
	"parser.js": [
		// A broker's user properties would become property names, and XS never forgets one.
		[
			/ {8}if \(!result\[name\]\) \{\n {10}result\[name\] = Object\.create\(null\)\n[\s\S]*?\n {8}continue\n/,
			"        this._parseByType(constants.propertiesTypes[name])\n        continue\n",
		],
		["const debug = require('debug')('mqtt-packet:parser')\n", ""],
		[/^ *debug\(.*\)\n/gm, ""],
	],
	"constants.js": [
		[
			/$(?![\s\S])/,
			"\nconst freeze = (value) => {\n" +
				"  if (typeof value !== 'object' || value instanceof Uint8Array || Object.isFrozen(value)) return\n" +
				"  Object.freeze(value)\n  for (const key of Object.keys(value)) freeze(value[key])\n}\nfreeze(protocol)\n",
		],
	],
};

/** Words that must be gone afterwards. */
const GONE = /\bdebug\b|varByteIntCache|toGenerate|^let /m;

/** For esbuild: `mqtt-packet` with its caches, its log lines and its user properties taken out. */
export function mqttPacketPlugin(): Plugin {
	return {
		name: "mqtt-packet",
		setup(build) {
			const applied = new Set<string>();
			build.onStart(() => applied.clear());
			build.onLoad({ filter: /[\\/]mqtt-packet[\\/][^\\/]+\.js$/ }, ({ path }) => {
				const name = basename(path);
				let text = readFileSync(path, "utf8").replace(/\r\n/g, "\n");
				for (const [find, replace] of PATCHES[name] ?? []) {
					const patched = text.replace(find, () => replace);
					if (patched === text) return { errors: [{ text: `mqtt-packet patch does not apply to ${name}: ${find}` }] };
					text = patched;
				}
				const left = GONE.exec(text);
				if (left !== null) return { errors: [{ text: `mqtt-packet: "${left[0]}" is still in ${name}` }] };
				applied.add(name);
				return { contents: text, loader: "js" };
			});
			build.onEnd((result) => {
				if (applied.size === 0 || result.errors.length > 0) return; // mqtt-packet is not in this bundle
				const missing = Object.keys(PATCHES).filter((name) => !applied.has(name));
				if (missing.length > 0)
					result.errors.push({
						id: "",
						pluginName: "mqtt-packet",
						text: `mqtt-packet: not seen: ${missing.join(", ")}`,
						location: null,
						notes: [],
						detail: undefined,
					});
			});
		},
	};
}
