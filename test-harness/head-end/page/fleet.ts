/// <reference lib="dom" />
import type { MeterSummaryView, PowerPointView, ReadingView } from "../api.js";
import { axis, Chart, legend, tooltip } from "./charts.js";
import { h, panel, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";
import { type Live, request } from "./live.js";
import { fleetSecurityPanel } from "./security.js";

type Key = "id" | "state" | "power" | "voltage" | "pf" | "import" | "export" | "seen" | "offset" | "gaps" | "events";

interface Column {
	key: Key;
	title: string;
	numeric: boolean;
	help?: string;
	/** For sorting; null goes last. */
	value(meter: MeterSummaryView): number | string | null;
}

const HEALTH_ORDER = { bad: 0, attention: 1, unknown: 2, good: 3 } as const;

/** The reading, while it tells what is; what a meter measured before it went away is not shown as if it were now. */
export function present(meter: MeterSummaryView): ReadingView | null {
	return meter.state === "online" ? meter.reading : null;
}

export function meanVoltage(meter: MeterSummaryView): number | null {
	const phases = present(meter)?.phases ?? [];
	if (phases.length === 0) return null;
	return phases.reduce((sum, phase) => sum + phase.voltageMillivolts, 0) / phases.length;
}

const COLUMNS: readonly Column[] = [
	{ key: "id", title: "Meter", numeric: false, value: (meter) => meter.id },
	{ key: "state", title: "State", numeric: false, value: (meter) => HEALTH_ORDER[meter.health] },
	{ key: "power", title: "Power", numeric: true, value: (meter) => present(meter)?.powerMilliwatts ?? null },
	{ key: "voltage", title: "Voltage", numeric: true, help: "mean of the phases", value: meanVoltage },
	{
		key: "pf",
		title: "PF",
		numeric: true,
		help: "power factor",
		value: (m) => present(m)?.powerFactorPermille ?? null,
	},
	{
		key: "import",
		title: "A+",
		numeric: true,
		help: "energy imported",
		value: (m) => m.reading?.activeEnergyImport ?? null,
	},
	{
		key: "export",
		title: "A−",
		numeric: true,
		help: "energy exported",
		value: (m) => m.reading?.activeEnergyExport ?? null,
	},
	{ key: "seen", title: "Last seen", numeric: true, value: (meter) => meter.lastSeenUtcSeconds },
	{
		key: "offset",
		title: "Clock",
		numeric: true,
		help: "clock of the meter against ours",
		value: (m) => m.clockOffsetSeconds,
	},
	{
		key: "gaps",
		title: "Gaps",
		numeric: true,
		help: "intervals and events missing now",
		value: (m) => m.profileMissing + m.eventsMissing,
	},
	{ key: "events", title: "Events", numeric: true, value: (meter) => meter.events },
];

export const STATE_WORDS = { online: "online", silent: "silent", offline: "offline", unknown: "not seen" } as const;

/** One meter of the table; its cells are written again only where they changed. */
class Row {
	readonly element: HTMLTableRowElement;
	readonly #cells = new Map<Key, HTMLElement>();
	readonly #dot = h("span", { class: "dot" });
	readonly #spark = h("div", { class: "spark" });
	#chart: Chart | undefined;
	#visible = false;
	#history: readonly number[] = [];
	meter: MeterSummaryView;

	constructor(meter: MeterSummaryView) {
		this.meter = meter;
		const link = h("a", { href: `#/meter/${meter.id}`, class: "id" }, format.identifier(meter.id));
		this.element = h("tr", { "data-id": meter.id });
		for (const column of COLUMNS) {
			const value = h("span", {});
			const cell =
				column.key === "id"
					? h("th", { scope: "row", class: "c-id" }, this.#dot, link)
					: h(
							"td",
							{ class: `c-${column.key}${column.numeric ? " num" : ""}`, "data-label": column.title },
							column.key === "power" ? this.#spark : undefined,
							value,
						);
			this.#cells.set(column.key, value);
			this.element.append(cell);
		}
		// the whole line is a target for the pointer; the link inside is the one for keys and readers
		this.element.addEventListener("click", (event) => {
			if (!(event.target as Element).closest("a")) location.hash = `#/meter/${meter.id}`;
		});
		this.update(meter, Number.NaN);
	}

	update(meter: MeterSummaryView, now: number): void {
		this.meter = meter;
		const { reading } = meter;
		const set = (key: Key, text: string): void => setText(this.#cells.get(key)!, text);
		setAttribute(this.#dot, "class", `dot ${meter.health}`);
		setAttribute(this.element, "class", meter.state === "offline" ? "away" : "");
		set("state", meter.healthReasons[0] ? format.words(meter.healthReasons[0]) : STATE_WORDS[meter.state]);
		setAttribute(this.#cells.get("state")!, "class", `tag ${meter.health}`);
		setAttribute(this.#cells.get("state")!, "title", meter.healthReasons.map(format.words).join(", ") || "all is well");
		set("power", format.power(present(meter)?.powerMilliwatts));
		set("voltage", format.voltage(meanVoltage(meter)));
		set("pf", format.factor(present(meter)?.powerFactorPermille));
		set("import", format.energy(reading?.activeEnergyImport));
		set("export", format.energy(reading?.activeEnergyExport));
		set("offset", format.offset(meter.clockOffsetSeconds));
		const gaps = meter.profileMissing + meter.eventsMissing;
		set(
			"gaps",
			meter.profileGone > 0 ? `${format.count(gaps)} (${format.count(meter.profileGone)} lost)` : format.count(gaps),
		);
		setAttribute(this.#cells.get("gaps")!, "class", gaps > 0 ? "tag attention" : "");
		set("events", format.count(meter.events));
		this.tick(now);
		if (meter.powerHistoryMilliwatts !== this.#history) {
			this.#history = meter.powerHistoryMilliwatts;
			if (this.#visible) this.#draw();
		}
	}

	tick(now: number): void {
		setText(
			this.#cells.get("seen")!,
			Number.isNaN(now) ? format.NOTHING : format.ago(this.meter.lastSeenUtcSeconds, now),
		);
	}

	/** Charts exist only for lines that can be seen: a fleet may have thousands. */
	show(visible: boolean): void {
		this.#visible = visible;
		if (visible) this.#draw();
		else {
			this.#chart?.dispose();
			this.#chart = undefined;
		}
	}

	#draw(): void {
		this.#chart ??= new Chart(this.#spark, "power of the last readings");
		this.#chart.set((colours) => ({
			grid: { left: 1, right: 1, top: 3, bottom: 3 },
			xAxis: { type: "category", show: false, boundaryGap: false },
			yAxis: { type: "value", show: false, scale: true, min: (range) => Math.min(range.min, range.max - 1) },
			series: [
				{
					type: "line",
					data: [...this.#history],
					showSymbol: false,
					silent: true,
					lineStyle: { width: 1.5, color: colours.accent },
					areaStyle: { color: colours.accent, opacity: 0.12, origin: "start" },
				},
			],
		}));
	}

	dispose(): void {
		this.#chart?.dispose();
	}
}

function tile(
	title: string,
	attributes: { class?: string } = {},
): { root: HTMLElement; set(parts: [string, string], note?: string): void } {
	const value = h("b", {}, format.NOTHING);
	const unit = h("i", {});
	const note = h("small", {});
	const root = h(
		"div",
		{ class: `tile ${attributes.class ?? ""}` },
		h("span", {}, title),
		h("p", {}, value, " ", unit),
		note,
	);
	return {
		root,
		set([text, unitText], noteText = "") {
			setText(value, text);
			setText(unit, unitText);
			setText(note, noteText);
		},
	};
}

export { tile };

/** The fleet at a glance. @returns takes the view down */
export function showFleet(main: HTMLElement, live: Live): () => void {
	document.title = "Wattlock · fleet";
	const tiles = {
		power: tile("Power now", { class: "lead" }),
		meters: tile("Meters online"),
		imported: tile("Energy imported, A+"),
		exported: tile("Energy exported, A−"),
		rows: tile("Load profile rows"),
		missing: tile("Missing now"),
	};
	const chartElement = h("div", { class: "chart fleet-power" });
	const powerPanel = panel("Power of all meters", { id: "fleet-power", note: "last hour" }, chartElement);
	const chart = new Chart(chartElement, "power of all meters over the last hour");

	const body = h("tbody", {});
	const heads = new Map<Key, HTMLTableCellElement>();
	let sort: { key: Key; down: boolean } = { key: "id", down: false };
	const headRow = h("tr", {});
	for (const column of COLUMNS) {
		const button = h(
			"button",
			{
				type: "button",
				title: column.help,
				click: () => {
					sort = { key: column.key, down: sort.key === column.key ? !sort.down : column.numeric };
					arrange();
				},
			},
			column.title,
		);
		const cell = h("th", { scope: "col", class: `c-${column.key}${column.numeric ? " num" : ""}` }, button);
		heads.set(column.key, cell);
		headRow.append(cell);
	}
	const search = h("input", {
		type: "search",
		placeholder: "Find a meter",
		"aria-label": "Find a meter by identifier or state",
		input: () => arrange(),
	});
	const empty = h("p", { class: "empty" });
	const table = panel(
		"Meters",
		{ class: "flush" },
		h("div", { class: "scroll" }, h("table", { class: "fleet" }, h("thead", {}, headRow), body)),
		empty,
	);
	table.tools.append(search);

	const security = fleetSecurityPanel();

	main.replaceChildren(
		h("h1", { class: "unseen" }, "Fleet"),
		h("div", { class: "tiles" }, ...Object.values(tiles).map((each) => each.root)),
		powerPanel.root,
		security.root,
		table.root,
	);

	const rows = new Map<string, Row>();
	const seen = new IntersectionObserver(
		(entries) => {
			for (const entry of entries) rows.get((entry.target as HTMLElement).dataset["id"]!)?.show(entry.isIntersecting);
		},
		{ rootMargin: "200px" },
	);

	function arrange(): void {
		const wanted = search.value.trim().toLowerCase().replace(/\s/g, "");
		const column = COLUMNS.find(({ key }) => key === sort.key)!;
		const list = [...rows.values()].filter(
			({ meter }) =>
				wanted === "" || meter.id.includes(wanted) || meter.state.includes(wanted) || meter.health.includes(wanted),
		);
		list.sort((a, b) => {
			const left = column.value(a.meter);
			const right = column.value(b.meter);
			if (left === null || right === null) return left === right ? 0 : left === null ? 1 : -1;
			const order = left < right ? -1 : left > right ? 1 : a.meter.id < b.meter.id ? -1 : 1;
			return sort.down ? -order : order;
		});
		for (const [key, cell] of heads)
			setAttribute(cell, "aria-sort", key !== sort.key ? "none" : sort.down ? "descending" : "ascending");
		list.forEach((row, index) => {
			if (body.children[index] !== row.element) body.insertBefore(row.element, body.children[index] ?? null);
		});
		while (body.children.length > list.length) body.lastElementChild!.remove();
		setText(table.note, rows.size === list.length ? "" : `${list.length} of ${rows.size}`);
		setText(
			empty,
			!live.loaded
				? "Connecting …"
				: rows.size === 0
					? "No meter has said hello yet. A meter shows up here with its first message."
					: list.length === 0
						? "No meter fits the search."
						: "",
		);
	}

	function update(meters: Iterable<MeterSummaryView>): void {
		const now = live.now();
		let added = false;
		for (const meter of meters) {
			const row = rows.get(meter.id);
			if (row) row.update(meter, now);
			else {
				const fresh = new Row(meter);
				fresh.tick(now);
				rows.set(meter.id, fresh);
				seen.observe(fresh.element);
				added = true;
			}
		}
		if (added) arrange();
	}

	function status(): void {
		security.show(live.status);
		const totals = live.status?.totals;
		if (!totals) return;
		tiles.power.set(
			format.powerParts(totals.powerMilliwatts),
			totals.powerMilliwatts === null
				? "no meter online"
				: `${format.power(totals.powerImportMilliwatts)} in · ${format.power(totals.powerExportMilliwatts)} out`,
		);
		tiles.meters.set(
			[`${totals.online}`, `of ${totals.meters}`],
			totals.online === totals.meters ? "all there" : `${totals.meters - totals.online} away`,
		);
		const hasReading = [...live.meters.values()].some((meter) => meter.reading !== null);
		tiles.imported.set(format.energyParts(hasReading ? totals.activeEnergyImport : null), "sum of the registers");
		tiles.exported.set(format.energyParts(hasReading ? totals.activeEnergyExport : null), "sum of the registers");
		tiles.rows.set([format.count(totals.profileRows), "rows"], `${format.count(totals.events)} events`);
		tiles.missing.set(
			[format.count(totals.missing), ""],
			totals.missing === 0 ? "nothing to ask for" : "being asked for",
		);
		setAttribute(tiles.missing.root, "class", `tile ${totals.missing > 0 ? "attention" : ""}`);
	}

	let points: PowerPointView[] = [];
	async function loadPower(): Promise<void> {
		try {
			points = await request<PowerPointView[]>("/api/power?seconds=3600&points=240");
		} catch {
			return; // the chips tell that the server is away
		}
		chart.set((colours) => {
			const series = (name: string, colour: string, value: (point: PowerPointView) => number | null): object => ({
				name,
				type: "line",
				showSymbol: false,
				color: colour,
				lineStyle: { width: 2 },
				areaStyle: { opacity: 0.14 },
				emphasis: { disabled: true },
				data: points.map((point) => [format.milliseconds(point.utcSeconds), value(point)]),
			});
			return {
				grid: { left: 8, right: 16, top: 34, bottom: 4, containLabel: true },
				legend: legend(colours),
				tooltip: tooltip(colours, {
					trigger: "axis",
					valueFormatter: (value: unknown) =>
						typeof value === "number" ? format.power(Math.abs(value) * 1e6) : format.NOTHING,
				}),
				xAxis: {
					type: "time",
					...axis(colours),
					min: format.milliseconds(points[0]?.utcSeconds ?? 0),
					max: format.milliseconds(points[points.length - 1]?.utcSeconds ?? 0),
					splitLine: { show: false },
				},
				yAxis: { type: "value", name: "kW", ...axis(colours) },
				series: [
					series("Import", colours.importing, (point) =>
						point.importMilliwatts === null ? null : point.importMilliwatts / 1e6,
					),
					series("Export", colours.exporting, (point) =>
						point.exportMilliwatts === null ? null : -point.exportMilliwatts / 1e6,
					),
				] as never,
			};
		});
	}

	update(live.meters.values());
	arrange();
	status();
	void loadPower();
	const powerTimer = setInterval(() => void (document.visibilityState === "visible" && loadPower()), 5000);
	const tickTimer = setInterval(() => {
		for (const row of rows.values()) row.tick(live.now());
	}, 1000);
	const stop = live.listen({
		fleet: () => {
			for (const [id, row] of rows)
				if (!live.meters.has(id)) {
					row.dispose();
					row.element.remove();
					rows.delete(id);
				}
			update(live.meters.values());
			arrange();
			status();
		},
		status,
		meters: update,
	});
	return () => {
		stop();
		clearInterval(powerTimer);
		clearInterval(tickTimer);
		seen.disconnect();
		for (const row of rows.values()) row.dispose();
		chart.dispose();
	};
}
