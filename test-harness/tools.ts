import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** What a test may need from outside npm, and the line that brings it. */
const HOW: Readonly<Record<string, string>> = {
	mosquitto: "apt-get install mosquitto",
	chromium: "apt-get install chromium",
	tshark: "apt-get install tshark",
	spin: "apt-get install spin",
	valgrind: "apt-get install valgrind",
	cc: "apt-get install gcc",
	gcc: "apt-get install gcc",
	size: "apt-get install binutils",
	"riscv64-unknown-elf-gcc": "apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
	"qemu-system-riscv32": "apt-get install qemu-system-misc",
	MODDABLE: "build the Moddable SDK and set MODDABLE to its folder",
};

/**
 * A program on PATH (or an SDK folder named by an environment variable), or why a test that needs it skips.
 * `WATTLOCK_REQUIRE_TOOLS=1` (CI) turns a missing Debian package into a failure; the SDK may always be absent.
 */
export function tool(name: string): { path: string; skip: false } | { path: ""; skip: string } {
	const skip = `needs ${name}: ${HOW[name] ?? `put ${name} on PATH`}`;
	if (name === "MODDABLE") {
		const path = process.env["MODDABLE"];
		return path ? { path, skip: false } : { path: "", skip };
	}
	for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"]) {
		try {
			const path = join(folder, name);
			accessSync(path, constants.X_OK);
			return { path, skip: false };
		} catch {
			// not in this folder
		}
	}
	if (process.env["WATTLOCK_REQUIRE_TOOLS"] === "1") throw new Error(skip);
	return { path: "", skip };
}
