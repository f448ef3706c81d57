/// <reference lib="dom" />
import type { ProfileRowView, ProfileView } from "../api.js";
import { axis, type Chart, legend, type Theme, tooltip } from "./charts.js";
import * as format from "./format.js";

/** One interval of the time axis. */
interface Slot {
	utcSeconds: number;
	row: ProfileRowView | undefined;
	/** Why there is no row: asked for, lost on the meter, or the meter was off. */
	hole: "missing" | "lost" | "off" | undefined;
}

const SLOTS_MAX = 8000;

const HOLE_WORDS = {
	missing: "missing, being asked for",
	lost: "lost on the meter",
	off: "no interval: the meter was off",
};

const HOLE_NAMES = { missing: "Missing", lost: "Lost", off: "Meter off" } as const;

/** Which mark a status gets, the gravest first. */
const MARKS: readonly [name: string, text: string, colour: keyof Theme][] = [
	["critical", "critical error", "bad"],
	["clockInvalid", "clock invalid", "bad"],
	["doubtful", "doubtful", "attention"],
	["powerDown", "power was down", "attention"],
	["clockAdjusted", "clock adjusted", "accent"],
];

/** Lays the rows of the newest series on a time axis of equal slots; where rows are not, the reason is told by sequence. */
export function profileSlots(view: ProfileView): Slot[] {
	const series = view.rows[view.rows.length - 1]?.series ?? 0;
	const rows = view.rows
		.filter((row) => row.series === series)
		.sort((a, b) => a.intervalStartSeconds - b.intervalStartSeconds);
	const interval = view.intervalSeconds ?? 900;
	const slots: Slot[] = [];
	const inRanges = (ranges: ProfileView["missing"], from: number, to: number): boolean =>
		ranges.some(({ first, next }) => first < to && next > from);
	let previous: ProfileRowView | undefined;
	for (const row of rows) {
		if (previous) {
			const from = previous.sequence + 1;
			const hole = inRanges(view.missing, from, row.sequence)
				? "missing"
				: inRanges(view.gone, from, row.sequence)
					? "lost"
					: "off";
			for (
				let at = previous.intervalStartSeconds + interval;
				at < row.intervalStartSeconds && slots.length < SLOTS_MAX;
				at += interval
			)
				slots.push({ utcSeconds: at, row: undefined, hole });
		}
		slots.push({ utcSeconds: row.intervalStartSeconds, row, hole: undefined });
		previous = row;
	}
	if (previous && inRanges(view.missing, previous.sequence + 1, Number.POSITIVE_INFINITY)) {
		const { first, next } = view.missing[view.missing.length - 1]!;
		const count = Math.min(200, next - Math.max(first, previous.sequence + 1));
		for (let index = 1; index <= count; index++)
			slots.push({ utcSeconds: previous.intervalStartSeconds + index * interval, row: undefined, hole: "missing" });
	}
	return slots.slice(-SLOTS_MAX);
}

/** @returns a line that says what is shown */
export function drawProfile(
	chart: Chart,
	view: ProfileView,
	zoom: (colours: Theme, start: number) => object[],
): string {
	const slots = profileSlots(view);
	if (slots.length === 0) return "no interval yet";
	const interval = view.intervalSeconds ?? 900;
	const perDay = 86_400 / interval;
	const kilowattHours = (value: number | null | undefined): number | null => (value == null ? null : value / 1e6);
	const marked = slots.flatMap((slot, index) => {
		const mark = slot.row && MARKS.find(([name]) => slot.row!.statusNames.includes(name));
		return mark ? [{ index, mark }] : [];
	});
	let imported = 0;
	let exported = 0;
	for (const { row } of slots) {
		imported += row?.activeEnergyImportIncrement ?? 0;
		exported += row?.activeEnergyExportIncrement ?? 0;
	}
	const lost = slots.filter(({ hole }) => hole === "missing" || hole === "lost").length;
	const summary = `${format.count(slots.filter((slot) => slot.row).length)} intervals of ${interval / 60} min, ${format.energy(imported)} in, ${format.energy(exported)} out${lost > 0 ? `, ${format.count(lost)} not here` : ""}`;
	chart.label(`load profile: ${summary}`);
	chart.set((colours, first) => {
		const holeColour = { missing: colours.attention, lost: colours.bad, off: colours.soft };
		return {
			grid: { left: 8, right: 16, top: 34, bottom: 46, containLabel: true },
			legend: legend(colours),
			tooltip: tooltip(colours, {
				trigger: "axis",
				axisPointer: { type: "shadow", shadowStyle: { color: colours.soft, opacity: 0.12 } },
				formatter: (items: { dataIndex: number }[] | { dataIndex: number }) => {
					const slot = slots[(Array.isArray(items) ? items[0] : items)?.dataIndex ?? -1];
					if (!slot) return "";
					const when = `${format.day(slot.utcSeconds)} ${format.clock(slot.utcSeconds, false)} – ${format.clock(slot.utcSeconds + interval, false)}`;
					if (!slot.row) return `${when}\n${HOLE_WORDS[slot.hole ?? "off"]}`;
					const { row } = slot;
					return [
						when,
						`import  ${format.energy(row.activeEnergyImportIncrement)}`,
						`export  ${format.energy(row.activeEnergyExportIncrement)}`,
						`A+  ${format.energy(row.activeEnergyImport)}`,
						`A−  ${format.energy(row.activeEnergyExport)}`,
						`row ${row.sequence}, tariff ${row.tariff}, measured ${row.durationSeconds} s`,
						...(row.statusNames.length > 0 ? [row.statusNames.map(format.words).join(", ")] : []),
					].join("\n");
				},
			}),
			xAxis: [
				{
					type: "category",
					data: slots.map((slot) => `${format.day(slot.utcSeconds).slice(5)} ${format.clock(slot.utcSeconds, false)}`),
					...axis(colours, { axisLine: { onZero: false, lineStyle: { color: colours.line } } }),
					axisTick: { show: false },
				},
				{ type: "category", data: slots.map((_, index) => index), show: false },
			],
			yAxis: [
				{ type: "value", name: "kWh", ...axis(colours) },
				{ type: "value", min: 0, max: 1, show: false },
			],
			...(first
				? {
						dataZoom: zoom(colours, Math.max(0, 100 - (100 * 2 * perDay) / slots.length)).map((each) => ({
							...each,
							xAxisIndex: [0, 1],
						})),
					}
				: {}),
			series: [
				// behind the bars, on axes of their own: where intervals are not, and why
				...(["missing", "lost", "off"] as const).flatMap((kind) =>
					slots.some((slot) => slot.hole === kind)
						? [
								{
									name: HOLE_NAMES[kind],
									type: "bar",
									stack: "holes",
									xAxisIndex: 1,
									yAxisIndex: 1,
									barWidth: "101%",
									color: holeColour[kind],
									itemStyle: { opacity: kind === "off" ? 0.12 : 0.28 },
									emphasis: { disabled: true },
									data: slots.map((slot) => (slot.hole === kind ? 1 : null)),
								},
							]
						: [],
				),
				{
					name: "Import",
					type: "bar",
					stack: "energy",
					color: colours.importing,
					barCategoryGap: "18%",
					data: slots.map((slot) => kilowattHours(slot.row?.activeEnergyImportIncrement)),
				},
				{
					name: "Export",
					type: "bar",
					stack: "energy",
					color: colours.exporting,
					data: slots.map((slot) => {
						const value = kilowattHours(slot.row?.activeEnergyExportIncrement);
						return value === null ? null : -value;
					}),
				},
				{
					name: "Status",
					type: "scatter",
					symbol: "triangle",
					symbolSize: 9,
					color: colours.attention,
					z: 5,
					data: marked.map(({ index, mark }) => ({
						value: [index, Math.max(0, kilowattHours(slots[index]!.row?.activeEnergyImportIncrement) ?? 0)],
						symbolOffset: [0, -8],
						itemStyle: { color: colours[mark[2]] },
					})),
					tooltip: { show: false },
				},
			] as never,
		};
	});
	return summary;
}
