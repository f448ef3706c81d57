import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { allowanceUsed, type Check, type MeterResult } from "../fleet/checks.js";
import { UserError } from "../user-error.js";
import { errorChart, linkChart, powerChart, profileChart, sampleMeters } from "./charts.js";
import type { RunResult } from "./run-result.js";

/**
 * Writes `report.html` and `summary.json`; `readings.jsonl` grew during the run.
 *
 * summary.json, version 1:
 * | field              | meaning                                                                                 |
 * |--------------------|-----------------------------------------------------------------------------------------|
 * | version            | 1                                                                                       |
 * | ok                 | every check held                                                                        |
 * | seed, command      | replay it                                                                               |
 * | versions           | wattlock, commit ("+": tree with changes), node, target, broker                         |
 * | startUtcSeconds    | s since 2000-01-01T00:00:00Z; virtualSeconds, wallSeconds: main part, meters' and real  |
 * | meterDaysPerSecond | meters × virtual days / wallSeconds                                                     |
 * | chaos              | failures made, by kind                                                                  |
 * | counts             | steps; settledSteps: with traffic; settleTimeouts; aborted by reason (docs/BOARD.md)    |
 * | checks             | rows { name, relation, limit, measured, unit, ok, note }; measured null: not evaluated  |
 * | meters             | one for each meter, see `MeterResult`; without its rows, with their count               |
 * | timeline           | { atMilliseconds, what, text, meter } of the world's failures and restarts              |
 *
 * readings.jsonl: one reading a line as the meter sent it, the wire's names with units (src/messages/reading.ts);
 * `worldMilliseconds` since the start of the world; null where the meter had nothing to say. A reading that was sent
 * again is there once.
 * @throws UserError when the folder does not take the files
 */
export async function writeReport(folder: string, result: RunResult): Promise<void> {
	try {
		writeFileSync(join(folder, "summary.json"), `${JSON.stringify(summaryOf(result), null, "\t")}\n`);
		writeFileSync(join(folder, "report.html"), reportPage(result));
	} catch (error) {
		throw new UserError(`--report ${folder}: ${(error as Error).message}`);
	}
}

export function summaryOf(result: RunResult): object {
	const { meters, timeline, checks, power: _power, online: _online, ...rest } = result;
	return {
		version: 1,
		ok: checks.every(({ ok }) => ok),
		...rest,
		checks,
		meters: meters.map(({ rows, ...meter }) => ({ ...meter, rows: rows.length })),
		timeline,
	};
}

function escaped(text: string): string {
	return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function number(value: number | null, digits = 4): string {
	if (value === null || !Number.isFinite(value)) return "–";
	if (value === 0) return "0";
	if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
	const magnitude = Math.abs(value);
	return magnitude < 0.001 || magnitude >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

function checkRow(check: Check): string {
	const relation = { "at most": "≤", exactly: "=", "at least": "≥" }[check.relation];
	return (
		`<tr class="${check.ok ? "held" : "failed"}"><td><span class="mark">${check.ok ? "✓" : "✗"}</span></td>` +
		`<td>${escaped(check.name)}${check.note === "" ? "" : `<small>${escaped(check.note)}</small>`}</td>` +
		`<td class="n">${check.measured === null ? "not evaluated" : number(check.measured)}</td>` +
		`<td class="n">${relation} ${number(check.limit)}</td><td>${escaped(check.unit)}</td></tr>`
	);
}

function meterRow(meter: MeterResult): string {
	const energy = (comparison: MeterResult["import"]): string => {
		if (comparison === null) return '<td class="n">–</td><td class="n">–</td><td class="n">–</td>';
		const used = allowanceUsed(comparison) ?? 0;
		const { referenceWattHours, registerWattHours, errorWattHours } = comparison;
		const percent = referenceWattHours < 1 ? null : (100 * errorWattHours) / referenceWattHours;
		return (
			`<td class="n">${registerWattHours.toFixed(3)}</td><td class="n">${percent === null ? "–" : percent.toFixed(4)}</td>` +
			`<td class="n${used > 1 ? " bad" : ""}">${used.toFixed(3)}</td>`
		);
	};
	return (
		`<tr><td class="id">${meter.identifier}</td><td>${escaped(meter.load)}</td><td class="n">${meter.phases}</td>` +
		`<td>${escaped(meter.netting)}</td>${energy(meter.import)}${energy(meter.export)}` +
		`<td class="n">${meter.rows.length}</td><td class="n">${meter.readings}</td><td class="n">${meter.powerCuts}</td>` +
		`<td class="n">${meter.linkConnects}</td><td class="n">${meter.clockErrorSeconds.toFixed(2)}</td></tr>`
	);
}

function fact(name: string, value: string): string {
	return `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`;
}

function timeText(seconds: number): string {
	if (seconds < 120) return `${seconds.toFixed(1)} s`;
	if (seconds < 7200) return `${(seconds / 60).toFixed(1)} min`;
	return `${(seconds / 3600).toFixed(1)} h`;
}

/** The page: no request leaves it, and nothing in it moves. */
export function reportPage(result: RunResult): string {
	const failed = result.checks.filter(({ ok }) => !ok).length;
	const ok = failed === 0;
	const chaos = Object.entries(result.chaos)
		.filter(([, count]) => count > 0)
		.map(([kind, count]) => `${kind} ${count}×`)
		.join(", ");
	const energy = (pick: (meter: MeterResult) => MeterResult["import"]): string => {
		const wattHours = result.meters.reduce((sum, meter) => sum + (pick(meter)?.registerWattHours ?? 0), 0);
		return `${(wattHours / 1000).toFixed(3)} kWh`;
	};
	const start = new Date(Date.UTC(2000, 0, 1) + result.startUtcSeconds * 1000)
		.toISOString()
		.slice(0, 19)
		.replace("T", " ");
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Wattlock: ${result.meters.length} meters, seed ${result.seed}, ${ok ? "all checks held" : `${failed} checks failed`}</title>
<style>
:root { color-scheme: light; --ink: #1d2733; --quiet: #6b7785; --line: #e4e8ed; --good: #2f8f5b; --bad: #c23b3b; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
header { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: center; margin-bottom: 20px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em; }
h1 small { display: block; font-size: 14px; font-weight: 400; color: var(--quiet); letter-spacing: 0; }
h2 { font-size: 17px; margin: 0 0 2px; }
p { margin: 0 0 12px; color: var(--quiet); max-width: 78ch; }
.verdict { margin-left: auto; padding: 8px 16px; border-radius: 999px; font-weight: 600; color: #fff; background: var(--good); }
.verdict.failed { background: var(--bad); }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin-bottom: 18px; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 14px 20px; margin: 0; }
dt { color: var(--quiet); font-size: 12px; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; display: block; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px 24px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--quiet); font-weight: 500; border-bottom: 1px solid var(--line); padding: 4px 8px; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); padding: 4px 8px; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td small { display: block; color: var(--quiet); }
.n { text-align: right; white-space: nowrap; }
.id { font-family: ui-monospace, Menlo, Consolas, monospace; }
.mark { display: inline-block; width: 20px; height: 20px; line-height: 20px; text-align: center; border-radius: 50%; color: #fff; font-size: 12px; background: var(--good); }
.failed .mark { background: var(--bad); }
.failed td { background: #fdf3f2; }
.bad { color: var(--bad); font-weight: 700; }
footer { color: var(--quiet); font-size: 12px; }
@media (max-width: 560px) { .pair { grid-template-columns: 1fr; } }
</style>
</head>
<body><main>
<header><h1>Wattlock fleet run<small>${escaped(start)} UTC of the meters, ${timeText(result.virtualSeconds)}</small></h1>
<div class="verdict${ok ? "" : " failed"}">${ok ? `all ${result.checks.length} checks held` : `${failed} of ${result.checks.length} checks failed`}</div></header>
<section><dl>
${fact("meters", String(result.meters.length))}
${fact("seed", String(result.seed))}
${fact("meters' time", timeText(result.virtualSeconds))}
${fact("real time", timeText(result.wallSeconds))}
${fact("speed", `${Number(result.meterDaysPerSecond.toPrecision(3))} meter-days/s`)}
${fact(
	"imported",
	energy((meter) => meter.import),
)}
${fact(
	"exported",
	energy((meter) => meter.export),
)}
${fact("readings", String(result.meters.reduce((sum, { readings }) => sum + readings, 0)))}
${fact("profile rows", String(result.meters.reduce((sum, { rows }) => sum + rows.length, 0)))}
${fact("failures made", chaos === "" ? "none" : chaos)}
${fact("firmware runs on", result.versions.target)}
${fact("broker", result.versions.broker)}
${fact("version", `${result.versions.wattlock}${result.versions.commit === "" ? "" : `, commit ${result.versions.commit}`}`)}
${fact("Node", result.versions.node)}
</dl></section>
<section><h2>Power of the fleet</h2>
<p>Sum of the meters' last readings in their legal netting mode, import above and export below zero; dotted: what their waveforms carry.</p>
${powerChart(result)}</section>
<section><h2>Energy against the waveform</h2>
<p>Each register is held against the double-precision integral of the quantised waveform that the meter was given.
Logarithmic: each line is ten times the one below. A power cut may cost up to one commit period of energy, as declared.</p>
${errorChart(result)}</section>
<section><h2>Load profiles</h2>
<p>Increments of the rows that the concentrator holds; blue import, orange export, hatched: power failed in the interval.</p>
<div class="pair">${sampleMeters(result)
		.map((index) => `<div>${profileChart(result, index)}</div>`)
		.join("\n")}</div></section>
<section><h2>Links</h2>
<p>When meters had their connection to the broker${result.meters.length > 40 ? " (the 40 with the most trouble)" : ""}, and what was made to fail.</p>
${linkChart(result)}</section>
<section><h2>Checks</h2><div class="scroll"><table><thead><tr><th></th><th>check</th><th class="n">measured</th><th class="n">limit</th><th>unit</th></tr></thead>
<tbody>${result.checks.map(checkRow).join("\n")}</tbody></table></div></section>
<section><h2>Meters</h2><div class="scroll"><table><thead><tr><th>meter</th><th>load</th><th class="n">phases</th><th>netting</th>
<th class="n">A+ / Wh</th><th class="n">error / %</th><th class="n">× limit</th><th class="n">A− / Wh</th><th class="n">error / %</th><th class="n">× limit</th>
<th class="n">rows</th><th class="n">readings</th><th class="n">cuts</th><th class="n">connects</th><th class="n">clock / s</th></tr></thead>
<tbody>${result.meters.map(meterRow).join("\n")}</tbody></table></div></section>
<footer>wattlock ${escaped(result.command)} · replay with --seed ${result.seed}. A simulation of boards: it shows that the firmware computes what its samples say, not that a board measures correctly.</footer>
</main></body></html>
`;
}
