import Table from "cli-table3";
import { init } from "echarts";
import type { Cost, LabReport, LabRow } from "./run.js";

function round(value: number): string {
	return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

function airBytes(cost: Cost): number {
	return cost.broadcastBytes + cost.unicastBytes;
}

function air(cost: Cost): string {
	if (cost.unicastBytes === 0) return String(cost.broadcastBytes);
	return `${cost.broadcastBytes} + ${cost.unicastBytes}`;
}

const HEAD = [
	"scheme",
	"n",
	"join",
	"leave 1",
	"leave 16",
	"refresh",
	"return",
	"ct of a leave",
	"compr.",
	"AES",
	"flash",
	"RAM",
	"record",
];

function cells(row: LabRow): string[] {
	const { compressionsMean, compressionsMax, aesBlocksMean, flashBytesMean } = row.leave.member;
	return [
		row.scheme,
		String(row.n),
		air(row.join),
		air(row.leave),
		air(row.batch),
		air(row.refresh),
		row.returnBytes === null ? "none" : String(row.returnBytes),
		String(row.leave.ciphertexts),
		`${round(compressionsMean)} (${compressionsMax})`,
		round(aesBlocksMean),
		round(flashBytesMean),
		String(row.memberRamBytes),
		String(row.recordBytes),
	];
}

const LEGEND =
	"Bytes on air, broadcast + unicast, with each scheme's own header, MAC or pairwise seal. Compressions, AES blocks and bytes\n" +
	"of flash: at a member for one eviction, mean (most). RAM and record: domain of n and three groups of 256, both copies\n" +
	"and one. Every row but HORA's is of a reference profile, not of its authors' own protocol.";

/** Tables for a terminal. */
export function writeText(report: LabReport): string {
	const table = new Table({ head: HEAD, style: { head: [], border: [] } });
	for (const row of report.rows) table.push(cells(row));
	const batches = new Table({
		head: ["scheme", "n", "evicted", "ciphertexts, mean", "most", "rounds", "bytes, mean"],
		style: { head: [], border: [] },
	});
	for (const { scheme, n, evicted, mean, max, rounds, meanBytes } of report.batches)
		batches.push([scheme, n, evicted, mean.toFixed(1), max, rounds, meanBytes.toFixed(0)]);
	const lines = [table.toString(), LEGEND, "", "Batch evictions out of a full domain:", batches.toString()];
	if (report.horaWithGroups) {
		const { bytes, member } = report.horaWithGroups;
		const { compressionsMean, compressionsMax } = member;
		lines.push(
			`HORA, 1 024 and three groups of 256: eviction ${bytes} B, ${round(compressionsMean)} (${compressionsMax}) compressions`,
		);
	}
	const failed = report.checks.filter(({ ok }) => !ok);
	lines.push(`${report.checks.length - failed.length} of ${report.checks.length} published figures are met`);
	for (const { name, published, relation, tolerance, measured, isGoal, source } of failed) {
		const limit = relation === "within" ? `${published} ± ${tolerance.toFixed(1)}` : `${relation} ${published}`;
		lines.push(`${isGoal ? "goal missed" : "DIFFERS"}: ${name}: ${round(measured)}, published ${limit} (${source})`);
	}
	return `${lines.join("\n")}\n`;
}

function chart(width: number, height: number, option: object): string {
	const instance = init(null, null, { renderer: "svg", ssr: true, width, height });
	instance.setOption({ animation: false, ...option });
	const svg = instance.renderToSVGString();
	instance.dispose();
	return svg;
}

function names(report: LabReport): string[] {
	return [...new Set(report.rows.map(({ scheme }) => scheme))];
}

/** Bytes of one eviction against the size of the domain. */
function sizesChart(report: LabReport): string {
	return chart(1100, 420, {
		title: {
			text: "Bytes on air to evict one meter, against the size of the domain",
			left: 8,
			textStyle: { fontSize: 14 },
		},
		legend: { top: 26 },
		grid: { left: 80, right: 30, top: 70, bottom: 45 },
		xAxis: { type: "log", name: "n", logBase: 2 },
		yAxis: { type: "log", name: "bytes" },
		series: names(report).map((name) => ({
			name,
			type: "line",
			data: report.rows.filter(({ scheme }) => scheme === name).map(({ n, leave }) => [n, airBytes(leave)]),
		})),
	});
}

/** The four changes at one size. */
function changesChart(report: LabReport, n: number): string {
	const rows = report.rows.filter((row) => row.n === n);
	const changes: readonly [string, (row: LabRow) => Cost][] = [
		["join", ({ join }) => join],
		["leave 1", ({ leave }) => leave],
		["leave 16", ({ batch }) => batch],
		["refresh", ({ refresh }) => refresh],
	];
	return chart(1100, 360, {
		title: { text: `Bytes on air of each change, n = ${n}`, left: 8, textStyle: { fontSize: 14 } },
		legend: { top: 26 },
		grid: { left: 80, right: 30, top: 70, bottom: 45 },
		xAxis: { type: "category", data: rows.map(({ scheme }) => scheme), axisLabel: { interval: 0, fontSize: 10 } },
		yAxis: { type: "log", name: "bytes", min: 10 },
		series: changes.map(([name, pick]) => ({
			name,
			type: "bar",
			data: rows.map((row) => Math.max(10, airBytes(pick(row)))),
		})),
	});
}

function escaped(text: string): string {
	return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function htmlTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
	const line = (cellsOf: readonly string[], tag: string) =>
		`<tr>${cellsOf.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
	return `<table><thead>${line(head, "th")}</thead><tbody>${rows.map((row) => line(row, "td")).join("\n")}</tbody></table>`;
}

/** The page: plots, tables, methods, seed. No request leaves it. */
export function writeHtml(report: LabReport): string {
	const checks = report.checks.map(({ name, published, relation, tolerance, measured, ok, isGoal, source }) => [
		ok ? "met" : isGoal ? "goal missed" : "DIFFERS",
		name,
		round(measured),
		relation === "within" ? `${published} ± ${tolerance.toFixed(1)}` : `${relation} ${published}`,
		source,
	]);
	const titles = [...new Map(report.rows.map(({ scheme, title }) => [scheme, title]))];
	return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Wattlock: group key schemes compared</title>
<style>
body { margin: 0 auto; max-width: 1180px; padding: 24px; font: 14px/1.5 system-ui, sans-serif; color: #1d2733; }
table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; margin: 8px 0 24px; }
th, td { border-bottom: 1px solid #e4e8ed; padding: 3px 8px; text-align: left; }
th { color: #6b7785; font-weight: 500; }
p { max-width: 90ch; color: #4a5562; white-space: pre-line; }
svg { max-width: 100%; height: auto; }
</style></head><body>
<h1>Group key schemes compared</h1>
<p>Seed ${report.seed}. Both ends of every scheme are the code that the meter and the concentrator run; ${SAMPLES_TEXT}
${escaped(LEGEND)}</p>
${htmlTable(["scheme", "is"], titles)}
${report.sizes.length > 1 ? sizesChart(report) : ""}
${report.sizes.map((n) => changesChart(report, n)).join("\n")}
${htmlTable(HEAD, report.rows.map(cells))}
<h2>Against the published figures</h2>
${htmlTable(["", "figure", "measured", "published", "source"], checks)}
</body></html>
`;
}

const SAMPLES_TEXT = "eight members of each domain are simulated in full, the others exist for the concentrator alone.";
