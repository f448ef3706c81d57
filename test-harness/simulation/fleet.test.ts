import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runStart } from "../fleet/start.js";
import { ROOT } from "../root.js";
import { seed } from "../seed.js";
import { tool } from "../tools.js";

const folder = mkdtempSync(join(tmpdir(), "wattlock-fleet-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface Summary {
	readonly ok: boolean;
	readonly chaos: { readonly broker: number; readonly concentrator: number; readonly power: number };
	readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly measured: number | null }[];
	readonly meters: readonly { readonly identifier: string; readonly rows: number; readonly powerCuts: number }[];
}

let runs = 0;

/** A run with failures of every kind; all that is asserted is in its own checks, which fail closed. */
async function survives(options: {
	target: string;
	broker: string;
	protocol: string;
	meters: number;
	minutes: number;
	interval: number;
}): Promise<void> {
	const report = join(folder, String(runs++));
	const code = await runStart({
		...options,
		speed: "max",
		seed: seed >>> 0,
		chaos: ["broker", "concentrator", "power"],
		report,
		quiet: true,
	});
	const summary = JSON.parse(readFileSync(join(report, "summary.json"), "utf8")) as Summary;
	const failed = summary.checks.filter(({ ok }) => !ok).map(({ name, measured }) => `${name}: ${measured}`);
	assert.deepEqual(failed, [], `SEED=${seed}`);
	assert.equal(code, 0);
	assert.ok(summary.ok && summary.checks.length >= 20);
	assert.equal(summary.meters.length, options.meters);
	const { broker, concentrator, power } = summary.chaos;
	assert.ok(broker > 0 && concentrator > 0 && power > 0, `failures made: ${JSON.stringify(summary.chaos)}`);
	assert.ok(summary.meters.some(({ powerCuts }) => powerCuts > 0));
	const perMeter = (options.minutes * 60) / options.interval;
	for (const { identifier, rows } of summary.meters)
		assert.ok(rows >= perMeter * 0.5, `meter ${identifier} has ${rows} rows`);
	assert.match(readFileSync(join(report, "report.html"), "utf8"), /all \d+ checks held/);
	assert.ok(readFileSync(join(report, "readings.jsonl"), "utf8").split("\n").length > options.meters * options.minutes);
}

test("broker killed, concentrator killed -9, meters power-cut: nothing lost or counted twice (in process, aedes)", async () => {
	await survives({ target: "in-process", broker: "aedes", protocol: "3.1.1", meters: 8, minutes: 45, interval: 300 });
});

const { skip: withoutMosquitto } = tool("mosquitto");

test("the same with mosquitto and MQTT 5", { skip: withoutMosquitto }, async () => {
	await survives({ target: "in-process", broker: "mosquitto", protocol: "5", meters: 6, minutes: 30, interval: 60 });
});

const withoutHost = existsSync(join(ROOT, "build", "linux", "wattlock-host"))
	? false
	: "needs the XS host: npx wattlock build";

test("the same on XS, aedes", { skip: withoutHost }, async () => {
	await survives({ target: "linux-xs", broker: "aedes", protocol: "3.1.1", meters: 6, minutes: 30, interval: 300 });
});

test("the same on XS, mosquitto and MQTT 5", { skip: withoutHost || withoutMosquitto }, async () => {
	await survives({ target: "linux-xs", broker: "mosquitto", protocol: "5", meters: 6, minutes: 20, interval: 60 });
});
