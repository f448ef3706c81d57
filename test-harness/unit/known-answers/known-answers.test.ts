import assert from "node:assert/strict";
import { test } from "node:test";
import { createSampleKernel } from "../../../src/metrology/sample-kernel.js";
import { buildFirmware } from "../../build/firmware.js";
import { LinuxXsTarget } from "../../device/linux-xs.js";
import type { TargetEvents } from "../../device/target.js";
import { writeXsEntry } from "../../vectors/known-answers/bundle.js";
import { loadKnownAnswers } from "../../vectors/known-answers/load.js";
import { runKnownAnswers } from "../../vectors/known-answers/suite.js";

test("known answers on Node", async (t) => {
	const answers = loadKnownAnswers();
	const names: string[] = [];
	const checks: Promise<void>[] = [];
	runKnownAnswers(answers, { kernels: { TypeScript: createSampleKernel } }, ({ name, vectorCount, failures }) => {
		names.push(name);
		checks.push(t.test(`${name}: ${vectorCount} vectors`, () => assert.deepEqual(failures, [])));
	});
	await Promise.all(checks);
	assert.deepEqual(names.sort(), Object.keys(answers).sort(), "every vector file has its group");
});

test("a wrong answer is found in every group", () => {
	// The last hexadecimal digit of each vector's last text is another one, and each number is one more.
	const spoil = (value: unknown): unknown => {
		if (typeof value === "number") return value + 1;
		if (typeof value === "string")
			return /^[0-9a-f]{4,}$/.test(value) ? value.slice(0, -1) + (value.endsWith("0") ? "1" : "0") : value;
		return value;
	};
	const spoiled = JSON.parse(JSON.stringify(loadKnownAnswers()), (name, value) =>
		["crc", "value", "bytes", "sums", "stored", "after", "registers"].includes(name) ? spoil(value) : value,
	);
	runKnownAnswers(spoiled, { kernels: { TypeScript: createSampleKernel } }, ({ name, failures }) =>
		assert.notDeepEqual(failures, [], name),
	);
});

test("known answers on XS for Linux, preloaded, memory of the ESP32-C6", async () => {
	const { archive } = await buildFirmware({ entry: writeXsEntry(), name: "known-answers" });
	const target = new LinuxXsTarget({ archive, threads: 1 });
	const lines: string[] = [];
	await new Promise<void>((resolve, reject) => {
		const fail = (reason: string): void => reject(new Error(reason));
		const nothing = (): void => {};
		const events: TargetEvents = {
			done: (_meter, _now, deadline) => {
				if (deadline === Number.POSITIVE_INFINITY) resolve();
				else target.advance(0, deadline);
			},
			aborted: (_meter, reason, text) => fail(`aborted, reason ${reason}: ${text}; ${lines.join("; ")}`),
			failed: fail,
			log: (_meter, text) => lines.push(text),
			linkOpen: nothing,
			linkSend: nothing,
			linkClose: nothing,
			flashProgram: nothing,
			flashErase: nothing,
			output: nothing,
			poweredOff: nothing,
			statistics: nothing,
			clockSet: nothing,
			opticalSend: nothing,
		};
		target.start(events).then(() => {
			target.powerOn(0, {
				nowMilliseconds: 0,
				utcSeconds: 0,
				sectorBytes: 4096,
				sectorCount: 256,
				bootReason: 0,
				typeScriptKernel: false,
				entropySeed: new Uint8Array(32),
				deviceKey: new Uint8Array(32).fill(1),
				settingsText: "{}",
			});
		}, reject);
	}).finally(() => target.stop());
	assert.equal(lines.at(-1), "0 failures", lines.join("\n"));
	assert.equal(lines.length, Object.keys(loadKnownAnswers()).length + 1, lines.join("\n"));
});
