import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

/** Versions that the tests were written against. */
export const HERDSMAN_VERSION = "10.9.5";
export const CONVERTERS_VERSION = "26.112.0";

const HOW =
	`needs zigbee-herdsman: npm install --prefix FOLDER zigbee-herdsman@${HERDSMAN_VERSION} ` +
	`zigbee-herdsman-converters@${CONVERTERS_VERSION}, then set HERDSMAN=FOLDER`;

/** A loader of herdsman's modules, or why a test that needs them skips. Looked up as a package, then in `HERDSMAN`. */
export function herdsman():
	| { load(path: string): unknown; loadConverters(path: string): unknown; skip: false }
	| { load(path: string): never; loadConverters(path: string): never; skip: string } {
	const places = [import.meta.url];
	const folder = process.env["HERDSMAN"];
	if (folder) places.push(join(resolve(folder), "package.json"));
	for (const place of places) {
		if (place !== import.meta.url && !existsSync(join(resolve(folder ?? ""), "node_modules", "zigbee-herdsman")))
			continue;
		const require = createRequire(place);
		try {
			const found = require.resolve("zigbee-herdsman");
			const root = found.slice(0, found.lastIndexOf("zigbee-herdsman") + "zigbee-herdsman".length);
			return {
				load: (path) => require(path === "" ? found : join(root, "dist", path)) as unknown,
				loadConverters: (path) => require(`zigbee-herdsman-converters${path}`) as unknown,
				skip: false,
			};
		} catch {
			// not installed here
		}
	}
	if (process.env["WATTLOCK_REQUIRE_TOOLS"] === "1") throw new Error(HOW);
	const missing = (): never => {
		throw new Error(HOW);
	};
	return { load: missing, loadConverters: missing, skip: HOW };
}
