import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { CALIBRATION_BYTES_MAX, decodeCalibration } from "../../../src/front-end/calibration-record.js";
import { createPhaseCalibration } from "../../../src/front-end/front-end.js";
import { FileCalibrationStore } from "../../calibration/file-store.js";
import { ROOT } from "../../root.js";
import { UserError } from "../../user-error.js";

/** Runs the program as a person does. */
function run(...args: string[]): { code: number | null; text: string; error: string } {
	const path = join(ROOT, "test-harness", "wattlock.mjs");
	const result = spawnSync(process.execPath, [path, "calibrate", ...args], { encoding: "utf8", stdio: "pipe" });
	return { code: result.status, text: result.stdout, error: result.stderr };
}

test("wattlock calibrate: three phases, stored under a sealed counter that each run raises", () => {
	const folder = mkdtempSync(join(tmpdir(), "calibrate-"));
	try {
		const first = run("--chip", "atm90e32", "--yes", "--store", folder, "--seed", "7");
		assert.equal(first.code, 0, first.text);
		assert.equal(first.text.match(/verify/g)?.length, 12, first.text);
		assert.match(first.text, /sealed counter 1\n$/);
		const second = run("--chip", "atm90e32", "--yes", "--store", folder, "--seed", "7", "--phase", "2");
		assert.equal(second.code, 0, second.text);
		assert.match(second.text, /corrections of sealed counter 1 are in force/);
		const seal = JSON.parse(readFileSync(join(folder, "seal.json"), "utf8")) as {
			parameterCounter: number;
			events: { name: string; detail: number }[];
		};
		assert.equal(seal.parameterCounter, 2);
		assert.deepEqual(
			seal.events.map(({ name, detail }) => `${name} ${detail}`),
			["parametersChanged 1", "parametersChanged 2"],
		);
		const store = new FileCalibrationStore(folder);
		const record = new Uint8Array(CALIBRATION_BYTES_MAX);
		const into = [0, 1, 2].map(createPhaseCalibration);
		assert.equal(decodeCalibration(record, store.load(record), 2, into), Status.ok);
		assert.notEqual(into[2]!.phaseDelayNanoseconds, 0, "L3 is kept from the first run");
		writeFileSync(join(folder, "seal.json"), '{ "parameterCounter": 1, "events": [] }');
		const setBack = run("--chip", "atm90e32", "--yes", "--store", folder);
		assert.equal(setBack.code, 2, "a seal that was set back");
		assert.match(setBack.error, /rolledBack/);
		assert.equal(setBack.error.trim().split("\n").length, 1, setBack.error);
		writeFileSync(join(folder, "seal.json"), "[]");
		assert.throws(() => new FileCalibrationStore(folder), UserError);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
});

test("wattlock calibrate: what it does not know is refused", () => {
	const folder = mkdtempSync(join(tmpdir(), "calibrate-"));
	try {
		for (const args of [
			["--chip", "ade9000"],
			["--chip", "bl0942", "--phase", "2", "--store", folder],
		]) {
			const refused = run(...args);
			assert.equal(refused.code, 2, args.join(" "));
			assert.doesNotMatch(refused.error, /\n\s+at /, "no stack");
		}
		assert.match(run("--help").text, /Exit codes: 0 verified/);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
});
