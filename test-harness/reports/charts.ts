import * as echarts from "echarts";
import { allowanceUsed, hasPowerDown } from "../fleet/checks.js";
import type { RunResult } from "./run-result.js";

const INK = "#1d2733";
const QUIET = "#6b7785";
const GRID = "#e4e8ed";
const IMPORT = "#2563a8";
const EXPORT = "#d9822b";
const GOOD = "#2f8f5b";
const BAD = "#c23b3b";
const BROKER = "#7a4bb3";
const CONCENTRATOR = "#0f8b8d";
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

type XAxis = NonNullable<echarts.EChartsOption["xAxis"]>;
type YAxis = NonNullable<echarts.EChartsOption["yAxis"]>;

/** Rows of the link chart; more meters would be lines of a pixel. */
const LINK_ROWS_MAX = 40;

function render(option: echarts.EChartsOption, width: number, height: number): string {
	const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
	chart.setOption({
		animation: false,
		textStyle: { fontFamily: FONT, color: INK },
		...option,
	});
	const svg = chart.renderToSVGString();
	chart.dispose();
	return svg;
}

const EPOCH_MILLISECONDS = Date.UTC(2000, 0, 1);

function utcMilliseconds(result: RunResult, worldMilliseconds: number): number {
	return EPOCH_MILLISECONDS + result.startUtcSeconds * 1000 + worldMilliseconds;
}

function timeAxis(result: RunResult): XAxis {
	return {
		type: "time",
		min: utcMilliseconds(result, 0),
		max: utcMilliseconds(result, result.virtualSeconds * 1000),
		axisLine: { lineStyle: { color: QUIET } },
		axisLabel: {
			color: QUIET,
			hideOverlap: true,
			formatter: result.virtualSeconds > 172_800 ? "{MM}-{dd} {HH}:{mm}" : "{HH}:{mm}",
		},
		splitLine: { show: false },
	} as XAxis;
}

function valueAxis(name: string): YAxis {
	return {
		type: "value",
		name,
		nameTextStyle: { color: QUIET, align: "left" },
		axisLabel: { color: QUIET },
		splitLine: { lineStyle: { color: GRID } },
	} as YAxis;
}

/** Fleet power over time: what the meters said, and what their waveforms carried. */
export function powerChart(result: RunResult, width = 1100, height = 320): string {
	const line = (pick: (point: RunResult["power"][number]) => number): [number, number][] =>
		result.power.map((point) => [
			utcMilliseconds(result, point.atMilliseconds),
			Number((pick(point) / 1000).toFixed(4)),
		]);
	return render(
		{
			grid: { left: 56, right: 20, top: 52, bottom: 30 },
			legend: {
				top: 4,
				left: 0,
				icon: "roundRect",
				itemWidth: 14,
				itemHeight: 3,
				itemGap: 28,
				textStyle: { color: INK },
				data: ["import, meters", "export, meters", "waveforms"],
			},
			xAxis: timeAxis(result),
			yAxis: valueAxis("kW"),
			series: [
				{
					name: "import, meters",
					type: "line",
					step: "end",
					showSymbol: false,
					lineStyle: { width: 1.6, color: IMPORT },
					itemStyle: { color: IMPORT },
					areaStyle: { color: IMPORT, opacity: 0.1 },
					data: line(({ importWatts }) => importWatts),
				},
				{
					name: "export, meters",
					type: "line",
					step: "end",
					showSymbol: false,
					lineStyle: { width: 1.6, color: EXPORT },
					itemStyle: { color: EXPORT },
					areaStyle: { color: EXPORT, opacity: 0.1 },
					data: line(({ exportWatts }) => -exportWatts),
				},
				{
					name: "waveforms",
					type: "line",
					step: "end",
					showSymbol: false,
					lineStyle: { width: 1, color: INK, type: "dotted" },
					itemStyle: { color: INK },
					data: line(({ referenceImportWatts }) => referenceImportWatts),
				},
				{
					name: "waveforms, export",
					type: "line",
					step: "end",
					showSymbol: false,
					lineStyle: { width: 1, color: INK, type: "dotted" },
					itemStyle: { color: INK },
					data: line(({ referenceExportWatts }) => -referenceExportWatts),
				},
			],
		},
		width,
		height,
	);
}

/** Smallest error that the chart tells from none, %. */
const ERROR_FLOOR = 1e-6;

/** Size of each meter's A+ error in percent of its waveform, on a logarithmic scale against the limit of 0.1 %. */
export function errorChart(result: RunResult, width = 1100, height = 300): string {
	const meters = result.meters
		.filter(({ import: plus }) => plus !== null && plus.referenceWattHours >= 1)
		.map((meter) => {
			const { errorWattHours, referenceWattHours, ok } = meter.import!;
			return { percent: (100 * Math.abs(errorWattHours)) / referenceWattHours, cut: meter.powerCuts > 0, ok };
		})
		.sort((a, b) => a.percent - b.percent);
	// decades above the floor on a plain axis: bars of a logarithmic axis would stand on 1
	const decades = (percent: number): number => Math.max(0.04, Math.log10(percent / ERROR_FLOOR));
	const bars = (name: string, colour: string, pick: (meter: (typeof meters)[number]) => boolean): object => ({
		name,
		type: "bar",
		barGap: "-100%",
		barCategoryGap: "25%",
		barMaxWidth: 34,
		itemStyle: { color: colour },
		data: meters.map((meter) => (pick(meter) ? Number(decades(meter.percent).toFixed(4)) : "-")),
	});
	const limit = {
		silent: true,
		symbol: "none",
		label: { color: BAD, formatter: "limit 0.1 %", position: "insideEndTop" },
		lineStyle: { color: BAD, type: "dashed", width: 1.4 },
		data: [{ yAxis: decades(0.1) }],
	};
	const series = [
		{ ...bars("no power cut", GOOD, ({ cut, ok }) => ok && !cut), markLine: limit },
		bars("power cuts (declared loss)", EXPORT, ({ cut, ok }) => ok && cut),
		bars("beyond what is allowed", BAD, ({ ok }) => !ok),
	];
	return render(
		{
			grid: { left: 64, right: 20, top: 56, bottom: 36 },
			legend: { top: 4, left: 0, itemWidth: 12, itemHeight: 10, itemGap: 28, textStyle: { color: INK } },
			xAxis: {
				type: "category",
				data: meters.map((_, index) => String(index + 1)),
				axisLabel: { color: QUIET },
				axisTick: { show: false },
				axisLine: { lineStyle: { color: QUIET } },
				name: "meters in the order of their error",
				nameLocation: "middle",
				nameGap: 24,
				nameTextStyle: { color: QUIET },
			},
			yAxis: {
				type: "value",
				min: 0,
				max: 7,
				interval: 1,
				name: "A+ error / %",
				nameTextStyle: { color: QUIET, align: "left" },
				axisLabel: {
					color: QUIET,
					formatter: (value: number) => (value >= 3 ? String(10 ** (value - 6)) : `1e${value - 6}`),
				},
				splitLine: { lineStyle: { color: GRID } },
			},
			series: series as never,
		},
		width,
		height,
	);
}

/** Load profile of one meter: import up, export down; a row with a power failure is hatched. */
export function profileChart(result: RunResult, meterIndex: number, width = 540, height = 220): string {
	const meter = result.meters[meterIndex]!;
	const rows = meter.rows;
	const wattHours = (now: number, before: number | undefined): number =>
		Number((Math.max(0, now - (before ?? 0)) / 1000).toFixed(3));
	const bar = (value: number, colour: string, cut: boolean): object => ({
		value,
		itemStyle: {
			color: colour,
			...(cut
				? {
						decal: {
							symbol: "rect",
							color: "rgba(255,255,255,.55)",
							dashArrayX: [1, 0],
							dashArrayY: [3, 4],
							rotation: -0.8,
						},
					}
				: {}),
		},
	});
	const label = (seconds: number): string => new Date(EPOCH_MILLISECONDS + seconds * 1000).toISOString().slice(11, 16);
	return render(
		{
			title: {
				text: `${meter.identifier}  ${meter.load}, ${meter.phases === 1 ? "one phase" : "three phases"}`,
				textStyle: { fontSize: 13, fontWeight: 600, color: INK },
				left: 0,
				top: 0,
			},
			grid: { left: 52, right: 10, top: 50, bottom: 26 },
			xAxis: {
				type: "category",
				data: rows.map(({ intervalStartSeconds }) => label(intervalStartSeconds)),
				axisLabel: { color: QUIET },
				axisTick: { show: false },
				axisLine: { lineStyle: { color: QUIET }, onZero: true },
			},
			yAxis: valueAxis("Wh"),
			series: [
				{
					type: "bar",
					stack: "energy",
					barMaxWidth: 28,
					data: rows.map((row, i) =>
						bar(wattHours(row.activeEnergyImport, rows[i - 1]?.activeEnergyImport), IMPORT, hasPowerDown(row)),
					) as never[],
				},
				{
					type: "bar",
					stack: "energy",
					barMaxWidth: 28,
					data: rows.map((row, i) =>
						bar(-wattHours(row.activeEnergyExport, rows[i - 1]?.activeEnergyExport), EXPORT, hasPowerDown(row)),
					) as never[],
				},
			],
		},
		width,
		height,
	);
}

/** When each meter had its connection, with the failures as marks; the troubled meters first. */
export function linkChart(result: RunResult, width = 1100): string {
	const end = result.virtualSeconds * 1000;
	const order = result.meters
		.map((meter, index) => ({ index, trouble: meter.powerCuts * 4 + meter.linkConnects }))
		.sort((a, b) => b.trouble - a.trouble || a.index - b.index)
		.slice(0, LINK_ROWS_MAX);
	const rowHeight = order.length > 20 ? 13 : 18;
	const height = 70 + order.length * rowHeight;
	const bars = order.flatMap(({ index }, row) =>
		result.online[index]!.map(({ from, to }) => [
			row,
			utcMilliseconds(result, Math.min(from, end)),
			utcMilliseconds(result, Math.min(Number.isNaN(to) ? end : to, end)),
		]),
	);
	const cuts = result.timeline.filter(({ what }) => what === "power" || what === "abort");
	const rowOf = new Map(order.map(({ index }, row) => [index, row]));
	const bands = (what: "broker" | "concentrator", colour: string): object[][] => {
		const all = result.timeline.filter((occurrence) => occurrence.what === what);
		const stretches: object[][] = [];
		for (let i = 0; i < all.length; i += 2) {
			const from = all[i]!.atMilliseconds;
			const to = all[i + 1]?.atMilliseconds ?? end;
			stretches.push([
				{ xAxis: utcMilliseconds(result, from), itemStyle: { color: colour, opacity: 0.22 } },
				{ xAxis: utcMilliseconds(result, Math.max(to, from + end / 400)) },
			]);
		}
		return stretches;
	};
	const dot = (what: string): [number, number][] =>
		cuts
			.filter((cut) => cut.what === what && rowOf.has(cut.meter ?? -1) && cut.atMilliseconds <= end)
			.map(({ atMilliseconds, meter }) => [utcMilliseconds(result, atMilliseconds), rowOf.get(meter ?? -1)!]);
	const hasPeers = result.timeline.some(({ what }) => what === "broker" || what === "concentrator");
	return render(
		{
			grid: { left: 142, right: 20, top: 38, bottom: 30 },
			legend: { top: 4, left: 0, itemWidth: 12, itemHeight: 10, itemGap: 28, textStyle: { color: INK } },
			xAxis: timeAxis(result),
			yAxis: {
				type: "category",
				inverse: true,
				data: order.map(({ index }) => result.meters[index]!.identifier),
				axisLabel: {
					color: QUIET,
					fontSize: order.length > 20 ? 9 : 11,
					fontFamily: "ui-monospace, Menlo, Consolas, monospace",
					interval: 0,
				},
				axisTick: { show: false },
				axisLine: { show: false },
			},
			series: [
				{
					name: "connected",
					type: "custom",
					itemStyle: { color: GOOD },
					encode: { x: [1, 2], y: 0 },
					data: bars,
					renderItem: (_parameters, api) => {
						const [x1 = 0, y = 0] = api.coord([api.value(1), api.value(0)]);
						const [x2 = 0] = api.coord([api.value(2), api.value(0)]);
						return {
							type: "rect",
							shape: { x: x1, y: y - rowHeight * 0.3, width: Math.max(1, x2 - x1), height: rowHeight * 0.6 },
							style: { fill: GOOD, opacity: 0.75 },
						};
					},
				},
				{
					name: "power cut",
					type: "scatter",
					symbol: "triangle",
					symbolSize: 8,
					symbolRotate: 180,
					itemStyle: { color: EXPORT },
					data: dot("power"),
				},
				...(dot("abort").length > 0
					? [
							{
								name: "machine aborted",
								type: "scatter" as const,
								symbol: "diamond",
								symbolSize: 9,
								itemStyle: { color: BAD },
								data: dot("abort"),
							},
						]
					: []),
				...(hasPeers
					? [
							{
								name: "broker away",
								type: "line" as const,
								data: [],
								itemStyle: { color: BROKER, opacity: 0.5 },
								lineStyle: { color: BROKER },
								symbol: "rect",
								markArea: { silent: true, data: bands("broker", BROKER) as never },
							},
							{
								name: "concentrator away",
								type: "line" as const,
								data: [],
								itemStyle: { color: CONCENTRATOR, opacity: 0.5 },
								lineStyle: { color: CONCENTRATOR },
								symbol: "rect",
								markArea: { silent: true, data: bands("concentrator", CONCENTRATOR) as never },
							},
						]
					: []),
			],
		},
		width,
		height,
	);
}

/** Meters whose profile is worth showing: the most energy each way, one with a power cut, one of each kind. */
export function sampleMeters(result: RunResult, count = 4): number[] {
	const all = result.meters.map((_, index) => index);
	const by = (score: (index: number) => number): number => [...all].sort((a, b) => score(b) - score(a))[0] ?? 0;
	const wanted = [
		by((index) => result.meters[index]!.export?.referenceWattHours ?? 0),
		by((index) => result.meters[index]!.import?.referenceWattHours ?? 0),
		by((index) => result.meters[index]!.powerCuts),
		by((index) => (result.meters[index]!.load.startsWith("recorded") ? 1 : 0)),
		by((index) => allowanceUsed(result.meters[index]!.import) ?? 0),
		...all,
	];
	return [...new Set(wanted)].slice(0, count);
}
