import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeterResult } from "../../fleet/checks.js";
import type { ProfileRowView } from "../../head-end/api.js";
import { reportPage, summaryOf } from "../../reports/report.js";
import type { RunResult } from "../../reports/run-result.js";

function meter(index: number, ok: boolean): MeterResult {
	const comparison = {
		referenceWattHours: 100,
		registerWattHours: 100.01,
		errorWattHours: 0.01,
		allowedBelowWattHours: 0.1,
		allowedAboveWattHours: 0.1,
		ok,
	};
	const row = (start: number, energy: number): ProfileRowView =>
		({
			intervalStartSeconds: start,
			status: 0x80,
			activeEnergyImport: energy,
			activeEnergyExport: 0,
		}) as ProfileRowView;
	return {
		identifier: `02574c000000000${index}`,
		phases: 3,
		netting: "vectorSum",
		load: "<house>",
		starts: 1,
		powerCuts: index,
		readings: 5,
		import: comparison,
		export: index === 1 ? null : comparison,
		intervalsExpected: 2,
		intervalsMissing: [],
		intervalsDoubled: [],
		rows: [row(900, 10_000), row(1800, 20_000)],
		sumDifferenceImport: 0,
		sumDifferenceExport: null,
		clockErrorSeconds: 0.1,
		flashErases: 1,
		flashProgrammedBytes: 2,
		linkConnects: 1,
		collection: null,
		diagnostics: null,
	};
}

function result(ok: boolean): RunResult {
	return {
		seed: 7,
		command: 'start --report "<x>"',
		versions: { wattlock: "0", commit: "", node: "v", target: "t", broker: "b" },
		startUtcSeconds: 800_000_000,
		virtualSeconds: 1800,
		wallSeconds: 3,
		isRealTime: false,
		meterDaysPerSecond: 0.01,
		stepMilliseconds: 1000,
		intervalSeconds: 900,
		chaos: { broker: 1, concentrator: 0, power: 1 },
		timeline: [
			{ atMilliseconds: 1000, what: "broker", text: "killed" },
			{ atMilliseconds: 9000, what: "broker", text: "started again" },
			{ atMilliseconds: 5000, what: "power", text: "off", meter: 1 },
		],
		power: [
			{
				atMilliseconds: 0,
				importWatts: 1,
				exportWatts: 2,
				referenceImportWatts: 3,
				referenceExportWatts: 4,
				online: 1,
			},
		],
		online: [[{ from: 0, to: 800 }], [{ from: 100, to: Number.NaN }]],
		counts: { steps: 1, settledSteps: 1, settleTimeouts: 0, aborted: [0], upAcknowledged: 0, published: 0 },
		meters: [meter(0, ok), meter(1, true)],
		checks: [
			{ name: "a <check>", relation: "at most", limit: 1, measured: ok ? 0.5 : null, unit: "x", ok, note: "why & how" },
		],
	};
}

test("the page stands alone, escapes what it shows, and says the verdict", () => {
	const page = reportPage(result(true));
	assert.match(page, /all 1 checks held/);
	assert.doesNotMatch(page, /<house>|<check>|"<x>"/);
	assert.match(page, /a &#60;check&#62;/);
	// nothing that a browser would fetch or run
	assert.doesNotMatch(page, /<script|<link|<img|<iframe|@import|url\(\s*["']?http|(?:src|href)="(?!#)/);
	assert.ok((page.match(/<svg/g) ?? []).length >= 4);
	assert.doesNotMatch(page, /NaN|undefined/);
	const failed = reportPage(result(false));
	assert.match(failed, /1 of 1 checks failed/);
	assert.match(failed, /not evaluated/);
});

test("summary.json fails closed and counts rows instead of copying them", () => {
	const good = JSON.parse(JSON.stringify(summaryOf(result(true))));
	assert.equal(good.version, 1);
	assert.equal(good.ok, true);
	assert.equal(good.meters[0].rows, 2);
	assert.equal(good.power, undefined);
	assert.equal(JSON.parse(JSON.stringify(summaryOf(result(false)))).ok, false);
});
