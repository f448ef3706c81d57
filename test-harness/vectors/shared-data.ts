import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..");
const PLACE = process.env["SHARED_DATA"] ? resolve(process.env["SHARED_DATA"]) : resolve(ROOT, "..", "shared", "data");

let digests: Map<string, string> | undefined;

/**
 * The folder of recorded data beside the repository, or the reason why a test that needs it skips.
 * Pass the answer's `skip` to `test(name, { skip }, …)`. `SHARED_DATA_REQUIRED=1` turns the skip into a failure.
 */
export function sharedData(name: string): { folder: string; skip: false } | { folder: ""; skip: string } {
	const folder = join(PLACE, name);
	if (existsSync(folder)) return { folder, skip: false };
	const where = process.env["SHARED_DATA"] ? `SHARED_DATA=${PLACE}` : "../shared/data, SHARED_DATA is not set";
	const skip = `needs shared data "${name}" (looked in ${where})`;
	if (process.env["SHARED_DATA_REQUIRED"] === "1") throw new Error(skip);
	return { folder: "", skip };
}

/** Reads one file of the shared data and holds it against SHA256SUMS: different content is a failure, never a skip. */
export function readSharedFile(name: string, file: string): Buffer {
	const bytes = readFileSync(join(PLACE, name, file));
	digests ??= new Map(
		readFileSync(join(PLACE, "SHA256SUMS"), "utf8")
			.split("\n")
			.filter((line) => line !== "")
			.map((line) => {
				const [digest = "", path = ""] = line.split(/\s+\*?/);
				return [path.replace(/^\.\//, ""), digest];
			}),
	);
	const digest = createHash("sha256").update(bytes).digest("hex");
	if (digests.get(`${name}/${file}`) !== digest)
		throw new Error(`shared data ${name}/${file} is not what SHA256SUMS says`);
	return bytes;
}
