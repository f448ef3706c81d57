import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
	closeSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	openSync,
	readFileSync,
	readSync,
	rmSync,
	writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NativeCrypto } from "../../src/crypto/native-crypto.js";
import { CRYPTO_FOLDER, CRYPTO_INCLUDES, CRYPTO_SOURCES } from "../build/crypto-sources.js";
import { ROOT } from "../root.js";
import { tool } from "../tools.js";
import { UserError } from "../user-error.js";

const DRIVER = join(ROOT, "test-harness", "crypto", "driver.c");
const HEADERS = ["sha256.h", "aes128.h", "modes.h", "calls.h"].map((name) => join(CRYPTO_FOLDER, name));
const BUILD = join(ROOT, "build", "crypto");

/** The C compiler, or why a test that needs one skips. */
export function cCompiler(): { path: string; skip: false } | { path: ""; skip: string } {
	return tool(process.env["CC"] || "cc");
}

const CHECKED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/** Builds the driver when its sources changed. @param isChecked with checks of addresses and undefined behaviour */
export function buildDriver(isChecked: boolean): string {
	const { path: compiler, skip } = cCompiler();
	if (skip) throw new UserError(skip);
	const flags = ["-std=c11", "-Wall", "-Wextra", ...(isChecked ? CHECKED : ["-Os"])];
	const hash = createHash("sha256").update([compiler, ...flags].join(" "));
	for (const source of [...HEADERS, ...CRYPTO_SOURCES, DRIVER]) hash.update(readFileSync(source));
	const program = join(BUILD, `driver-${hash.digest("hex").slice(0, 16)}`);
	if (existsSync(program)) return program;
	mkdirSync(BUILD, { recursive: true });
	const includes = CRYPTO_INCLUDES.flatMap((folder) => ["-I", folder]);
	const sources = [...CRYPTO_SOURCES, DRIVER];
	const { status, stderr } = spawnSync(compiler, [...flags, ...includes, ...sources, "-o", program], {
		encoding: "utf8",
	});
	if (status !== 0) throw new UserError(`the crypto driver does not build:\n${stderr}`);
	return program;
}

/** The C of `hosts/xs/crypto` in a process of its own; calls wait for their answer. */
export class CDriver {
	readonly #child: ChildProcess;
	readonly #folder: string;
	readonly #to: number;
	readonly #from: number;
	readonly native: NativeCrypto;

	constructor(isChecked: boolean) {
		const program = buildDriver(isChecked);
		const { stdout, status } = spawnSync(program, ["--functions"], { encoding: "utf8" });
		if (status !== 0) throw new Error("the crypto driver does not run");
		this.#folder = mkdtempSync(join(tmpdir(), "wattlock-crypto-"));
		const pipes = ["to", "from"].map((name) => join(this.#folder, name));
		if (spawnSync("mkfifo", pipes).status !== 0) throw new Error("mkfifo failed");
		this.#child = spawn(program, pipes, { stdio: ["ignore", "inherit", "inherit"] });
		this.#child.unref();
		this.#to = openSync(pipes[0]!, "w");
		this.#from = openSync(pipes[1]!, "r");
		const native: Record<string, unknown> = {};
		stdout
			.trim()
			.split("\n")
			.forEach((line, number) => {
				const [name = "", kinds = "", value] = line.split(" ");
				native[name] =
					kinds === "="
						? Number(value)
						: (...values: (number | Uint8Array)[]) => this.#call(number, name, kinds, values);
			});
		this.native = native as unknown as NativeCrypto;
	}

	close(): void {
		closeSync(this.#to);
		closeSync(this.#from);
		rmSync(this.#folder, { recursive: true });
	}

	#call(number: number, name: string, kinds: string, values: readonly (number | Uint8Array)[]): number {
		const arrays: Uint8Array[] = [];
		const request: Uint8Array[] = [];
		const word = (value: number): void => {
			const bytes = Buffer.alloc(4);
			bytes.writeInt32LE(value | 0);
			request.push(bytes);
		};
		for (const [i, kind] of [...kinds].entries()) {
			const value = values[i];
			if (kind === "i") {
				if (typeof value !== "number") throw new TypeError(`${name}: argument ${i} is no number`);
				word(value);
				continue;
			}
			if (!(value instanceof Uint8Array)) throw new TypeError(`${name}: argument ${i} is no Uint8Array`);
			let place = arrays.indexOf(value);
			if (place < 0) place = arrays.push(value) - 1;
			request.push(Uint8Array.of(place));
		}
		const callArguments = request.splice(0);
		request.push(Uint8Array.of(number, arrays.length));
		for (const array of arrays) {
			word(array.length);
			request.push(array);
		}
		request.push(...callArguments);
		const bytes = Buffer.concat(request);
		for (let done = 0; done < bytes.length; ) done += writeSync(this.#to, bytes, done);
		const answer = this.#read(4 + arrays.reduce((sum, { length }) => sum + length, 0));
		let at = 4;
		for (const array of arrays) {
			array.set(answer.subarray(at, at + array.length));
			at += array.length;
		}
		const result = answer.readInt32LE();
		if (result < 0) throw new RangeError(`${name}: outside its array, not keyed, or overlapping`);
		return result;
	}

	#read(byteLength: number): Buffer {
		const bytes = Buffer.alloc(byteLength);
		for (let done = 0; done < byteLength; ) {
			const count = readSync(this.#from, bytes, done, byteLength - done, null);
			if (count === 0) throw new Error("the crypto driver ended");
			done += count;
		}
		return bytes;
	}
}
