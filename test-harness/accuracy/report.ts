import { init } from "echarts";
import type { AccuracyReport, AccuracyRow } from "./suite.js";

function percent(value: number): string {
	if (!Number.isFinite(value)) return "-";
	return value === 0 ? "0" : Math.abs(value) < 0.001 ? value.toExponential(1) : value.toFixed(4);
}

function pad(text: string, width: number): string {
	return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);
}

/** JSON of the whole report. */
export function writeJson(report: AccuracyReport): string {
	return `${JSON.stringify(report, undefined, "\t")}\n`;
}

/** A table for a terminal. */
export function writeText(report: AccuracyReport): string {
	const lines = [
		report.title,
		report.claim,
		`seed ${report.seed}, metrology ${report.metrologyDigest.slice(0, 16)}`,
		"",
	];
	lines.push(
		`${pad("row", 15)} ${pad("class", 19)} ${pad("mark", 4)} ${pad("error", 10)} ${pad("budget", 8)} ${pad("limit", 7)} ${pad("unit", 6)} ${pad("margin", 7)} ${pad("fault seen", 26)} test`,
	);
	for (const row of report.rows) {
		const mark = row.passed ? " " : "!";
		lines.push(
			`${mark}${pad(row.id, 14)} ${pad(row.accuracyClass, 19)} ${pad(row.mark, 4)} ${pad(percent(row.error), 10)} ${pad(percent(row.budget), 8)} ${pad(percent(row.limit), 7)} ${pad(row.unit, 6)} ${pad(`${(100 * row.margin).toFixed(0)} %`, 7)} ${pad(row.fault, 26)} ${row.test}`,
		);
	}
	lines.push("", `${pad("class", 22)} ${pad("rows", 6)} ${pad("passed", 7)} worst share of the limit`);
	for (const summary of report.summaries)
		lines.push(
			`${pad(summary.accuracyClass, 22)} ${pad(String(summary.rows), 6)} ${pad(String(summary.passed), 7)} ${(100 * summary.worstShareOfLimit).toFixed(2)} % (${summary.worstRow})`,
		);
	for (const line of report.skipped) lines.push(`skipped: ${line}`);
	lines.push(report.passed ? "all rows are within their budget" : "SOME ROWS ARE NOT WITHIN THEIR BUDGET", "");
	return lines.join("\n");
}

function escapeHtml(text: string): string {
	return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

function chart(width: number, height: number, option: object): string {
	const instance = init(null, null, { renderer: "svg", ssr: true, width, height });
	instance.setOption({ animation: false, ...option });
	const svg = instance.renderToSVGString();
	instance.dispose();
	return svg;
}

function shareChart(report: AccuracyReport): string {
	const rows = report.rows.filter((row) => row.unit === "%" && row.table !== "recorded waveforms");
	const classes = [...new Set(rows.map((row) => row.accuracyClass))];
	const ids = [...new Set(rows.map((row) => row.id))];
	return chart(1100, 420, {
		title: {
			text: "Error against the class limit (logarithmic; the budget is 10 %)",
			left: 8,
			textStyle: { fontSize: 14 },
		},
		legend: { top: 26, type: "scroll" },
		grid: { left: 60, right: 20, top: 70, bottom: 70 },
		xAxis: { type: "category", data: ids, axisLabel: { rotate: 60, interval: 0, fontSize: 10 } },
		yAxis: { type: "log", min: 0.0001, max: 100, name: "% of limit" },
		series: classes.map((name) => ({
			name,
			type: "scatter",
			symbolSize: 8,
			data: rows
				.filter((row) => row.accuracyClass === name)
				.map((row) => [row.id, Math.max(0.0001, (100 * Math.abs(row.error)) / row.limit)]),
			...(name === classes[0]
				? {
						markLine: {
							silent: true,
							symbol: "none",
							data: [{ yAxis: 10, name: "budget" }],
							lineStyle: { color: "#c00" },
						},
					}
				: {}),
		})),
	});
}

function curveChart(report: AccuracyReport): string {
	if (report.curves.length === 0) return "";
	return chart(1100, 360, {
		title: { text: "Error over current, direct meter 5(60) A, 24-bit codes", left: 8, textStyle: { fontSize: 14 } },
		legend: { top: 26 },
		grid: { left: 70, right: 20, top: 60, bottom: 45 },
		xAxis: { type: "log", name: "A", min: 0.2, max: 60 },
		yAxis: { type: "value", name: "%" },
		series: report.curves.map(({ name, points }) => ({ name, type: "line", data: points })),
	});
}

function tableRow(row: AccuracyRow): string {
	const cells = [
		row.id,
		row.table,
		row.accuracyClass,
		row.test,
		row.stimulus,
		row.truth,
		row.reading,
		percent(row.error),
		percent(row.limit),
		percent(row.budget),
		row.unit,
		`${(100 * row.margin).toFixed(1)} %`,
		row.mark,
		row.fault,
		row.passed ? "pass" : "FAIL",
	];
	return `<tr class="${row.passed ? "pass" : "fail"}">${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}</tr>`;
}

/** One self-contained page with plots. */
export function writeHtml(report: AccuracyReport): string {
	const heads = [
		"row",
		"table",
		"class",
		"test",
		"worst stimulus",
		"truth",
		"reading",
		"error",
		"limit",
		"budget",
		"unit",
		"margin",
		"mark",
		"fault seen",
		"",
	];
	const summaries = report.summaries
		.map(
			(s) =>
				`<tr><td>${escapeHtml(s.accuracyClass)}</td><td>${s.rows}</td><td>${s.passed}</td><td>${(100 * s.worstShareOfLimit).toFixed(3)} %</td><td>${escapeHtml(s.worstRow)}</td></tr>`,
		)
		.join("");
	const faults = Object.entries(report.faults)
		.map(([name, count]) => `<tr><td>${escapeHtml(name)}</td><td>${count}</td></tr>`)
		.join("");
	return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(report.title)}</title>
<style>
body{font:14px/1.45 system-ui,sans-serif;margin:24px auto;max-width:1500px;padding:0 16px;color:#1b1f24;background:#fff}
table{border-collapse:collapse;font-size:12px;margin:12px 0}td,th{border:1px solid #d5d9de;padding:3px 7px;text-align:left;vertical-align:top}
th{background:#f2f4f6}tr.fail td{background:#fde8e8}.claim{background:#fff8e1;border-left:4px solid #e0a800;padding:8px 12px;max-width:900px}
.verdict{font-weight:600}.scroll{overflow-x:auto}svg{max-width:100%;height:auto}
</style></head><body>
<h1>${escapeHtml(report.title)}</h1>
<p class="claim">${escapeHtml(report.claim)}</p>
<p class="verdict">${report.passed ? "All rows are within their budget." : "Some rows are not within their budget."}</p>
<p>Seed ${report.seed}${report.quick ? ", quick subset" : ""}. Metrology code SHA-256 <code>${report.metrologyDigest}</code>.
Budget: a tenth of the limit of the class; rules have their limit. Marks: S read in a source, K general knowledge (check against the paid text), D own decision.</p>
<h2>Classes</h2><table><tr><th>class</th><th>rows</th><th>passed</th><th>worst share of the limit</th><th>row</th></tr>${summaries}</table>
${shareChart(report)}
${curveChart(report)}
<h2>Rows</h2><div class="scroll"><table><tr>${heads.map((head) => `<th>${head}</th>`).join("")}</tr>
${report.rows.map(tableRow).join("\n")}
</table></div>
<h2>Seeded faults</h2><p>Every row must go red under at least one; counted is the first that did.</p><table><tr><th>fault</th><th>rows</th></tr>${faults}</table>
<h2>Not run</h2><ul>${report.skipped.map((line) => `<li>${escapeHtml(line)}</li>`).join("")}</ul>
</body></html>
`;
}
