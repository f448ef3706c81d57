/// <reference lib="dom" />
import type {
	CaptureView,
	DiagnosticsView,
	EventView,
	MeterView,
	ProfileView,
	ReadingView,
	SnapshotView,
} from "../api.js";
import { axis, Chart, legend, roundUp, type Theme, tooltip } from "./charts.js";
import { h, panel, setAttribute, setText } from "./dom.js";
import { STATE_WORDS, tile } from "./fleet.js";
import * as format from "./format.js";
import { type Live, request } from "./live.js";
import { drawProfile } from "./profile.js";
import { securityPanel } from "./security.js";
import { fundamental, risingCrossing } from "./waveform.js";

const CAPTURE_MILLISECONDS = 2000;
const READINGS_MAX = 1080;

const PHASE_LINES: readonly [string, (phase: ReadingView["phases"][number]) => string][] = [
	["Voltage", (phase) => format.voltage(phase.voltageMillivolts)],
	["Current", (phase) => format.current(phase.currentMilliamperes)],
	["Active power", (phase) => format.power(phase.powerMilliwatts)],
	["Reactive power", (phase) => format.reactive(phase.reactivePowerMillivars)],
	["Apparent power", (phase) => format.apparent(phase.apparentPowerMillivoltAmperes)],
	["Power factor", (phase) => format.factor(phase.powerFactorPermille)],
	["Angle U to I", (phase) => format.angle(phase.phaseAngleTenthsDegree)],
	["THD of voltage", (phase) => format.percent(phase.thdVoltagePermille)],
	["THD of current", (phase) => format.percent(phase.thdCurrentPermille)],
];

function table(heads: readonly string[], className: string): { root: HTMLElement; body: HTMLElement } {
	const body = h("tbody", {});
	const root = h(
		"div",
		{ class: "scroll" },
		h(
			"table",
			{ class: className },
			h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
			body,
		),
	);
	return { root, body };
}

function facts(): { root: HTMLElement; set(entries: readonly [string, string][]): void } {
	const root = h("dl", { class: "facts" });
	return {
		root,
		set(entries) {
			entries.forEach(([name, value], index) => {
				let item = root.children[index];
				if (!item) {
					item = h("div", {}, h("dt", {}), h("dd", {}));
					root.append(item);
				}
				setText(item.children[0]!, name);
				setText(item.children[1]!, value);
			});
			while (root.children.length > entries.length) root.lastElementChild!.remove();
		},
	};
}

/** A button that asks the meter, says so while it waits, and tells why nothing came. */
function askButton(text: string, note: HTMLElement, ask: () => Promise<void>): HTMLButtonElement {
	const button = h("button", { type: "button", class: "button" }, text);
	button.addEventListener("click", async () => {
		button.disabled = true;
		setText(note, "asking the meter …");
		try {
			await ask();
		} catch (error) {
			setText(note, (error as Error).message);
		}
		button.disabled = false;
	});
	return button;
}

/** One meter in depth. @returns takes the view down */
export function showMeter(main: HTMLElement, live: Live, id: string): () => void {
	document.title = `Wattlock · ${format.identifier(id)}`;
	const path = `/api/meters/${id}`;
	const leaving = new AbortController();
	const charts: Chart[] = [];
	const chart = (element: HTMLElement, label: string): Chart => {
		const made = new Chart(element, label);
		charts.push(made);
		return made;
	};

	// --- head ---
	const state = h("span", { class: "tag" });
	const reasons = h("span", { class: "reasons" });
	const subtitle = h("p", { class: "subtitle" });
	const head = h(
		"div",
		{ class: "meter-head" },
		h("a", { class: "back", href: "#/" }, "← Fleet"),
		h("h1", {}, format.identifier(id)),
		state,
		reasons,
		subtitle,
	);
	const tiles = {
		power: tile("Active power", { class: "lead" }),
		reactive: tile("Reactive power"),
		factor: tile("Power factor"),
		frequency: tile("Frequency"),
		imported: tile("Imported, A+"),
		exported: tile("Exported, A−"),
	};

	// --- waveform ---
	const waveElement = h("div", {
		class: "chart wave",
		"data-empty": "A waveform appears here while the meter answers.",
	});
	const wave = panel("Waveform", { note: "waiting for the meter" }, waveElement);
	const waveChart = chart(waveElement, "waveform of voltages and currents");
	let paused = false;
	const pause = h(
		"button",
		{
			type: "button",
			class: "button",
			"aria-pressed": "false",
			click: () => {
				paused = !paused;
				setText(pause, paused ? "Resume" : "Pause");
				setAttribute(pause, "aria-pressed", String(paused));
				if (!paused) scheduleCapture(0);
			},
		},
		"Pause",
	);
	wave.tools.append(pause);

	// --- phasors and quadrants ---
	const phasorElement = h("div", { class: "chart square", "data-empty": "No reading yet." });
	const phasors = panel("Phasors", {}, phasorElement);
	const phasorChart = chart(phasorElement, "phasor diagram");
	const quadrantElement = h("div", { class: "chart square", "data-empty": "No reading yet." });
	const quadrants = panel("P and Q", { id: "quadrants", note: "four quadrants" }, quadrantElement);
	const quadrantChart = chart(quadrantElement, "active and reactive power in four quadrants");

	// --- phases ---
	const phaseTable = h("table", { class: "phases" });
	const phases = panel("Phases", { class: "flush" }, h("div", { class: "scroll" }, phaseTable));

	// --- power over time ---
	const historyElement = h("div", { class: "chart history", "data-empty": "No reading yet." });
	const history = panel("Power over time", { note: "readings kept by the head end" }, historyElement);
	const historyChart = chart(historyElement, "power per phase over time");

	// --- load profile ---
	const profileElement = h("div", {
		class: "chart profile",
		"data-empty": "No interval yet: the first row comes at the end of the first interval.",
	});
	const profile = panel("Load profile", {}, profileElement);
	const profileChart = chart(profileElement, "energy of each interval");
	profile.tools.append(h("a", { class: "button", href: `${path}/profile.csv`, download: `profile-${id}.csv` }, "CSV"));

	// --- registers, events, link, diagnostics ---
	const registerTable = table(["OBIS", "Register", "Value"], "registers");
	const registers = panel("Registers", { class: "flush" }, registerTable.root);
	registers.tools.append(askButton("Read", registers.note, loadRegisters));
	const eventTable = table(["Time", "Event", "Detail", "No."], "events");
	const noEvents = h("p", { class: "empty" });
	const events = panel("Events", { class: "flush" }, eventTable.root, noEvents);
	const linkFacts = facts();
	const link = panel("Link and sequences", { id: "link" }, linkFacts.root);
	const diagnosticTable = table(["Key", "Counter", "Value"], "diagnostics");
	const diagnostics = panel("Diagnostics", { class: "flush" }, diagnosticTable.root);
	diagnostics.tools.append(askButton("Read", diagnostics.note, loadDiagnostics));

	const security = securityPanel(id, live);

	main.replaceChildren(
		head,
		h("div", { class: "tiles" }, ...Object.values(tiles).map((each) => each.root)),
		h("div", { class: "grid three" }, wave.root, phasors.root, quadrants.root),
		h("div", { class: "grid two" }, history.root, phases.root),
		profile.root,
		...security.roots,
		h("div", { class: "grid lists" }, registers.root, events.root, diagnostics.root),
		link.root,
	);

	// --- what it shows ---
	let meter: MeterView | undefined;
	let readings: ReadingView[] = [];
	let capture: CaptureView | undefined;
	let profileData: ProfileView | undefined;

	function showHead(): void {
		const summary = live.meters.get(id) ?? meter;
		if (!summary) {
			setText(state, live.loaded ? "not known" : "");
			setText(subtitle, live.loaded ? "No such meter has spoken to this head end." : "");
			return;
		}
		setText(state, STATE_WORDS[summary.state]);
		setAttribute(state, "class", `tag ${summary.state === "online" ? summary.health : "bad"}`);
		setText(
			reasons,
			summary.healthReasons
				.map(format.words)
				.filter((text) => text !== summary.state)
				.join(" · "),
		);
		const hello = meter?.hello;
		setText(
			subtitle,
			[
				hello ? `firmware ${hello.firmware}` : "",
				hello ? `${hello.phaseCount} ${hello.phaseCount === 1 ? "phase" : "phases"}` : "",
				hello ? `netting ${hello.netting === "vectorSum" ? "vector sum" : "per phase"}` : "",
				hello ? `intervals of ${hello.intervalSeconds / 60} min` : "",
				summary.reading ? `tariff ${summary.reading.tariff}` : "",
				`seen ${format.ago(summary.lastSeenUtcSeconds, live.now())}`,
			]
				.filter((text) => text !== "")
				.join(" · "),
		);
		// what a meter measured before it went away is not what it measures now; its registers are still the last known
		const reading = summary.state === "online" ? summary.reading : null;
		const registered = summary.reading;
		const split = (text: string): [string, string] => {
			const at = text.lastIndexOf(" ");
			return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
		};
		const direction = !reading
			? ""
			: reading.powerMilliwatts < 0
				? "exporting"
				: reading.powerMilliwatts > 0
					? "importing"
					: "no load";
		tiles.power.set(format.powerParts(reading?.powerMilliwatts), direction);
		tiles.reactive.set(
			split(format.reactive(reading?.reactivePowerMillivars)),
			!reading || reading.reactivePowerMillivars === 0
				? ""
				: reading.reactivePowerMillivars > 0
					? "inductive"
					: "capacitive",
		);
		tiles.factor.set(
			[format.factor(reading?.powerFactorPermille), ""],
			reading ? `quadrant ${quadrantName(reading)}` : "",
		);
		tiles.frequency.set(split(format.frequency(reading?.frequencyMillihertz)));
		tiles.imported.set(
			format.energyParts(registered?.activeEnergyImport),
			format.energy(registered?.reactiveEnergyImport, "kvarh R+"),
		);
		tiles.exported.set(
			format.energyParts(registered?.activeEnergyExport),
			format.energy(registered?.reactiveEnergyExport, "kvarh R−"),
		);
	}

	function showPhases(reading: ReadingView | undefined): void {
		const names = reading?.phases.map((_, index) => `L${index + 1}`) ?? ["L1"];
		const headRow = h(
			"tr",
			{},
			h("td", {}),
			...names.map((name, index) => h("th", { scope: "col", class: `num l${index + 1}` }, name)),
		);
		const lines = PHASE_LINES.map(([name, value]) =>
			h(
				"tr",
				{},
				h("th", { scope: "row" }, name),
				...names.map((_, index) => {
					const phase = reading?.phases[index];
					return h("td", { class: "num" }, phase ? value(phase) : format.NOTHING);
				}),
			),
		);
		if (reading)
			lines.push(
				h(
					"tr",
					{},
					h("th", { scope: "row" }, "Neutral current"),
					h("td", { class: "num", colspan: names.length }, format.current(reading.neutralCurrentMilliamperes)),
				),
			);
		phaseTable.replaceChildren(h("thead", {}, headRow), h("tbody", {}, ...lines));
		setText(phases.note, reading ? format.time(reading.utcSeconds ?? reading.receivedUtcSeconds) : "no reading yet");
	}

	/** Angles of the voltages, degrees: measured from the capture where there is one, else as the phase order says. */
	function voltageAngles(reading: ReadingView): { angles: number[]; measured: boolean } {
		const hertz = (reading.frequencyMillihertz ?? 50_000) / 1000;
		const measured = reading.phases.map((_, index) => {
			const channel = capture?.channels.find(({ name }) => name === `U${index + 1}`);
			return channel && capture ? fundamental(channel.values, capture.rowsPerSecond, hertz) : undefined;
		});
		if (measured.every((phasor) => phasor && phasor.rms > 1)) {
			const zero = measured[0]!.angle;
			return { angles: measured.map((phasor) => ((phasor!.angle - zero) * 180) / Math.PI), measured: true };
		}
		return { angles: reading.phases.map((_, index) => -120 * index), measured: false };
	}

	function showPhasors(reading: ReadingView): void {
		const { angles, measured } = voltageAngles(reading);
		const voltageMax = Math.max(1, ...reading.phases.map((phase) => phase.voltageMillivolts));
		const currentMax = Math.max(1, ...reading.phases.map((phase) => phase.currentMilliamperes));
		setText(
			phasors.note,
			`U ${format.voltage(voltageMax)} · I ${format.current(currentMax)} full scale${measured || reading.phases.length === 1 ? "" : " · 120° assumed"}`,
		);
		phasorChart.label(
			`phasor diagram: ${reading.phases
				.map(
					(phase, index) =>
						`L${index + 1} ${format.voltage(phase.voltageMillivolts)}, ${format.current(phase.currentMilliamperes)}, angle ${format.angle(phase.phaseAngleTenthsDegree)}`,
				)
				.join("; ")}`,
		);
		phasorChart.set((colours) => {
			const arrow = (
				name: string,
				colour: string,
				length: number,
				degrees: number,
				isCurrent: boolean,
				text: string,
			): object => {
				const turn = ((degrees % 360) + 360) % 360;
				return {
					name,
					type: "line",
					coordinateSystem: "polar",
					color: colour,
					lineStyle: { width: isCurrent ? 2.5 : 2.5, type: isCurrent ? [5, 4] : "solid" },
					showAllSymbol: true,
					data: [
						{ value: [0, turn], symbol: "none" },
						{
							value: [length, turn],
							symbol: "triangle",
							symbolSize: isCurrent ? 9 : 11,
							symbolRotate: turn - 90,
							label: {
								show: true,
								formatter: name,
								color: colour,
								fontWeight: 600,
								fontSize: 11,
								position: Math.cos((turn * Math.PI) / 180) < -0.3 ? "left" : "right",
							},
						},
					],
					tooltip: { formatter: text },
				};
			};
			const series: object[] = [];
			reading.phases.forEach((phase, index) => {
				const colour = colours.phases[index]!;
				series.push(
					arrow(
						`U${index + 1}`,
						colour,
						phase.voltageMillivolts / voltageMax,
						angles[index]!,
						false,
						`U${index + 1}: ${format.voltage(phase.voltageMillivolts)}, ${format.number(angles[index]!, 1)}°`,
					),
				);
				if (phase.phaseAngleTenthsDegree !== null && phase.currentMilliamperes > 0) {
					const degrees = angles[index]! - phase.phaseAngleTenthsDegree / 10;
					series.push(
						arrow(
							`I${index + 1}`,
							colour,
							(0.72 * phase.currentMilliamperes) / currentMax,
							degrees,
							true,
							`I${index + 1}: ${format.current(phase.currentMilliamperes)}, ${format.angle(phase.phaseAngleTenthsDegree)} behind U${index + 1}`,
						),
					);
				}
			});
			return {
				tooltip: tooltip(colours, { trigger: "item" }),
				polar: { center: ["50%", "50%"], radius: "76%" },
				angleAxis: {
					type: "value",
					min: 0,
					max: 360,
					interval: 30,
					startAngle: 0,
					clockwise: false,
					axisLine: { lineStyle: { color: colours.line } },
					axisTick: { show: false },
					axisLabel: {
						color: colours.soft,
						fontSize: 10,
						formatter: (value: number) =>
							value % 60 === 0 && value % 360 !== 0 ? `${value > 180 ? value - 360 : value}°` : "",
					},
					splitLine: { lineStyle: { color: colours.line, opacity: 0.5 } },
				},
				radiusAxis: {
					type: "value",
					min: 0,
					max: 1.05,
					axisLine: { show: false },
					axisTick: { show: false },
					axisLabel: { show: false },
					splitLine: { lineStyle: { color: colours.line, opacity: 0.5 } },
				},
				series: series as never,
			};
		});
	}

	function showQuadrants(): void {
		const reading = readings[readings.length - 1];
		if (!reading) return;
		const trail = readings.slice(-60);
		let most = 0;
		for (const each of trail)
			most = Math.max(most, Math.abs(each.powerMilliwatts), Math.abs(each.reactivePowerMillivars));
		const unit = most >= 1e6 ? 1e6 : 1e3;
		const prefix = unit === 1e6 ? "k" : "";
		const limit = roundUp((most * 1.15) / unit);
		quadrantChart.label(
			`operating point: ${format.power(reading.powerMilliwatts)}, ${format.reactive(reading.reactivePowerMillivars)}, quadrant ${quadrantName(reading)}`,
		);
		quadrantChart.set((colours) => {
			const point = (each: { powerMilliwatts: number; reactivePowerMillivars: number }): [number, number] => [
				each.powerMilliwatts / unit,
				each.reactivePowerMillivars / unit,
			];
			const corner = (text: string, x: number, y: number): object => ({
				value: [x * limit * 0.92, y * limit * 0.9],
				label: { show: true, formatter: text, color: colours.soft, fontSize: 13, fontWeight: 600, position: "inside" },
			});
			return {
				grid: { left: 10, right: 22, top: 26, bottom: 10, containLabel: true },
				tooltip: tooltip(colours, { trigger: "item" }),
				xAxis: {
					type: "value",
					name: `P, ${prefix}W`,
					nameLocation: "end",
					nameGap: -6,
					min: -limit,
					max: limit,
					interval: limit,
					...axis(colours, {
						axisLine: { onZero: true, lineStyle: { color: colours.soft } },
						axisTick: { show: false },
					}),
					nameTextStyle: {
						color: colours.soft,
						fontSize: 11,
						align: "right",
						verticalAlign: "top",
						padding: [14, 0, 0, 0],
					},
				},
				yAxis: {
					type: "value",
					name: `Q, ${prefix}var`,
					nameGap: 8,
					min: -limit,
					max: limit,
					interval: limit,
					...axis(colours, {
						axisLine: { show: true, onZero: true, lineStyle: { color: colours.soft } },
						axisTick: { show: false },
					}),
				},
				series: [
					{
						type: "scatter",
						silent: true,
						symbolSize: 0,
						data: [corner("I", 1, 1), corner("II", -1, 1), corner("III", -1, -1), corner("IV", 1, -1)],
						tooltip: { show: false },
					},
					{
						type: "line",
						silent: true,
						showSymbol: false,
						lineStyle: { color: colours.accent, width: 1.5, opacity: 0.35 },
						data: trail.map(point),
					},
					...reading.phases.map((phase, index) => ({
						type: "scatter",
						symbolSize: 9,
						color: colours.phases[index],
						data: [point(phase)],
						tooltip: {
							formatter: `L${index + 1}: ${format.power(phase.powerMilliwatts)}, ${format.reactive(phase.reactivePowerMillivars)}`,
						},
					})),
					{
						type: "line",
						silent: true,
						symbol: "none",
						lineStyle: { color: colours.accent, width: 2 },
						data: [[0, 0], point(reading)],
					},
					{
						type: "scatter",
						symbolSize: 16,
						itemStyle: { color: colours.accent, borderColor: colours.panel, borderWidth: 2 },
						data: [point(reading)],
						tooltip: {
							formatter: `total: ${format.power(reading.powerMilliwatts)}, ${format.reactive(reading.reactivePowerMillivars)}`,
						},
					},
				] as never,
			};
		});
	}

	function showHistory(): void {
		if (readings.length === 0) return;
		const count = readings[readings.length - 1]!.phases.length;
		historyChart.set((colours, first) => {
			const gapSeconds = 120;
			const line = (
				name: string,
				colour: string,
				width: number,
				value: (reading: ReadingView) => number | undefined,
			): object => {
				const data: [number, number | null][] = [];
				let previous = Number.NaN;
				for (const reading of readings) {
					const at = reading.receivedUtcSeconds;
					// a pause is a gap in the line, not a slope across it
					if (at - previous > gapSeconds) data.push([format.milliseconds(previous + 1), null]);
					const milliwatts = value(reading);
					data.push([format.milliseconds(at), milliwatts === undefined ? null : milliwatts / 1e3]);
					previous = at;
				}
				return {
					name,
					type: "line",
					showSymbol: readings.length < 3,
					color: colour,
					lineStyle: { width },
					emphasis: { disabled: true },
					data,
				};
			};
			return {
				grid: { left: 8, right: 16, top: 34, bottom: 46, containLabel: true },
				legend: legend(colours),
				tooltip: tooltip(colours, {
					trigger: "axis",
					valueFormatter: (value: unknown) => (typeof value === "number" ? format.power(value * 1e3) : format.NOTHING),
				}),
				xAxis: { type: "time", ...axis(colours), splitLine: { show: false } },
				yAxis: { type: "value", name: "W", scale: true, ...axis(colours) },
				...(first ? { dataZoom: zoom(colours, Math.max(0, 100 - (36_000 / readings.length || 0))) } : {}),
				series: [
					...Array.from({ length: count }, (_, index) =>
						line(`L${index + 1}`, colours.phases[index]!, 1.5, (reading) => reading.phases[index]?.powerMilliwatts),
					),
					...(count > 1 ? [line("Total", colours.text, 2, (reading) => reading.powerMilliwatts)] : []),
				] as never,
			};
		});
	}

	function showWave(): void {
		const shown = capture;
		if (!shown) return;
		const reference = shown.channels.find(({ name }) => name === "U1")?.values ?? [];
		const crossing = risingCrossing(reference);
		const start = Number.isNaN(crossing) ? 0 : crossing;
		const rowMilliseconds = 1000 / shown.rowsPerSecond;
		const rowCount = shown.channels[0]?.values.length ?? 0;
		waveChart.set((colours) => {
			const limits = (unit: string): number => {
				let most = 0;
				for (const channel of shown.channels)
					if (channel.unit === unit) for (const value of channel.values) most = Math.max(most, Math.abs(value));
				return roundUp(most * 1.05);
			};
			const volts = limits("V");
			const amperes = limits("A");
			return {
				grid: { left: 8, right: 8, top: 46, bottom: 20, containLabel: true },
				legend: legend(colours),
				tooltip: tooltip(colours, {
					trigger: "axis",
					formatter: (items: { seriesName: string; value: [number, number] }[]) =>
						[
							`${format.number(items[0]?.value[0] ?? 0, 2)} ms`,
							...items.map(({ seriesName, value }) =>
								seriesName.startsWith("U")
									? `${seriesName}  ${format.number(value[1], 1)} V`
									: `${seriesName}  ${format.number(value[1], 3)} A`,
							),
						].join("\n"),
				}),
				xAxis: {
					type: "value",
					min: 0,
					max: Math.floor((rowCount - 1 - start) * rowMilliseconds),
					name: "ms",
					nameLocation: "middle",
					nameGap: 20,
					...axis(colours, { axisLine: { onZero: false, lineStyle: { color: colours.line } } }),
					splitLine: { show: false },
				},
				yAxis: [
					{ type: "value", name: "V", min: -volts, max: volts, interval: volts / 2, ...axis(colours) },
					{
						type: "value",
						name: "A",
						min: -amperes,
						max: amperes,
						interval: amperes / 2,
						...axis(colours),
						splitLine: { show: false },
					},
				],
				series: shown.channels.map((channel) => {
					const isCurrent = channel.unit === "A";
					const phase = Number(channel.name.slice(1));
					return {
						name: channel.name,
						type: "line",
						yAxisIndex: isCurrent ? 1 : 0,
						showSymbol: false,
						color: phase ? colours.phases[phase - 1] : colours.neutral,
						lineStyle: { width: isCurrent ? 1.5 : 2, type: isCurrent ? [5, 4] : "solid" },
						emphasis: { disabled: true },
						data: channel.values.map((value, row) => [(row - start) * rowMilliseconds, value]),
					};
				}) as never,
			};
		});
	}

	function showReadings(): void {
		const reading = readings[readings.length - 1];
		showPhases(reading);
		if (!reading) return;
		showPhasors(reading);
		showQuadrants();
		showHistory();
	}

	function showRegisters(snapshot: SnapshotView | null): void {
		const reading = readings[readings.length - 1];
		const lines: [string, string, string][] = snapshot
			? snapshot.registers.map(({ obis, name, unit, value }) => [
					obis,
					name ?? format.NOTHING,
					registerValue(value, unit),
				])
			: reading
				? [
						["1-0:1.8.0", "A+ active import", format.energy(reading.activeEnergyImport)],
						["1-0:2.8.0", "A− active export", format.energy(reading.activeEnergyExport)],
						["1-0:3.8.0", "R+ reactive import", format.energy(reading.reactiveEnergyImport, "kvarh")],
						["1-0:4.8.0", "R− reactive export", format.energy(reading.reactiveEnergyExport, "kvarh")],
					]
				: [];
		registerTable.body.replaceChildren(
			...lines.map(([obis, name, value]) =>
				h("tr", {}, h("td", {}, h("code", {}, obis)), h("td", {}, name), h("td", { class: "num" }, value)),
			),
		);
		if (snapshot) setText(registers.note, `all registers, ${format.time(snapshot.utcSeconds)}`);
		else setText(registers.note, reading ? "of the last reading" : "");
	}

	async function loadRegisters(): Promise<void> {
		showRegisters(await request<SnapshotView>(`${path}/snapshot`, "POST", leaving.signal));
	}

	function showDiagnostics(view: DiagnosticsView | null): void {
		diagnosticTable.body.replaceChildren(
			...(view?.entries ?? []).map(({ key, name, value }) =>
				h(
					"tr",
					{},
					h("td", {}, h("code", {}, `0x${key.toString(16).padStart(3, "0")}`)),
					h("td", {}, format.words(name)),
					h("td", { class: "num" }, format.count(value)),
				),
			),
		);
		if (view) setText(diagnostics.note, format.time(view.receivedUtcSeconds));
	}

	async function loadDiagnostics(): Promise<void> {
		showDiagnostics(await request<DiagnosticsView>(`${path}/diagnostics`, "POST", leaving.signal));
	}

	async function loadEvents(): Promise<void> {
		const list = await request<EventView[]>(`${path}/events?limit=500`, "GET", leaving.signal);
		list.reverse();
		eventTable.body.replaceChildren(
			...list.map((event) =>
				h(
					"tr",
					{},
					h("td", { class: "nowrap" }, event.utcSeconds === null ? "clock invalid" : format.time(event.utcSeconds)),
					h("td", {}, event.name === null ? `code ${event.code}` : format.words(event.name)),
					h("td", { class: "num" }, format.number(event.detail)),
					h("td", { class: "num soft" }, String(event.sequence)),
				),
			),
		);
		setText(events.note, list.length === 0 ? "" : `${format.count(list.length)}, newest first`);
		setText(noEvents, list.length === 0 ? "The meter has reported no event." : "");
	}

	function showLink(): void {
		if (!meter) return;
		const { hello, profile: rows, eventLog, monotone } = meter;
		const refusals = Object.entries(meter.refusals);
		const sound = (count: number, text: string): string => (count === 0 ? "none" : `${format.count(count)} ${text}`);
		linkFacts.set([
			["State", STATE_WORDS[meter.state]],
			["Clock against ours", format.offset(meter.clockOffsetSeconds)],
			["Last hello", hello ? format.time(hello.receivedUtcSeconds) : format.NOTHING],
			[
				"Starts of the meter",
				hello ? `${format.count(hello.bootCount)}, last: ${format.words(hello.bootReason)}` : format.NOTHING,
			],
			["Parameter counter", hello ? format.count(hello.parameterCounter) : format.NOTHING],
			["Readings received", format.count(meter.readings)],
			[
				"Profile rows stored",
				rows.first === null ? format.NOTHING : `${format.count(rows.stored)} (${rows.first} to ${rows.next - 1})`,
			],
			[
				"Complete up to",
				rows.first === null || rows.contiguousNext === rows.first ? format.NOTHING : String(rows.contiguousNext - 1),
			],
			[
				"Rows missing",
				rows.missingCount === 0 ? "none" : `${format.count(rows.missingCount)}: ${format.ranges(rows.missing)}`,
			],
			[
				"Rows lost on the meter",
				rows.goneCount === 0 ? "none" : `${format.count(rows.goneCount)}: ${format.ranges(rows.gone)}`,
			],
			[
				"Events stored",
				`${format.count(eventLog.stored)}${eventLog.missingCount > 0 ? `, ${format.count(eventLog.missingCount)} missing` : ""}`,
			],
			["Duplicates ignored", format.count(rows.duplicates + eventLog.duplicates + meter.duplicateReadings)],
			["Conflicts", sound(rows.conflicts + eventLog.conflicts, `(rows ${rows.conflictSequences.join(", ") || "–"})`)],
			[
				"Registers that went back",
				sound(
					monotone.profile + monotone.readings + monotone.readingsAfterRestart,
					`(${monotone.readingsAfterRestart} after a restart)`,
				),
			],
			[
				"Storage series",
				rows.series === 0
					? "the first"
					: `${rows.series + 1}, ${rows.starts[rows.starts.length - 1]?.reason ?? ""}${rows.checkingSeries ? ", being checked" : ""}`,
			],
			[
				"Questions under way",
				meter.outstanding.length === 0
					? "none"
					: meter.outstanding
							.map(({ kind, attempt }) => `${kind}${attempt > 0 ? ` (attempt ${attempt + 1})` : ""}`)
							.join(", "),
			],
			[
				"Messages refused",
				refusals.length === 0 ? "none" : refusals.map(([name, count]) => `${format.words(name)} ${count}`).join(", "),
			],
		]);
	}

	async function loadMeter(): Promise<void> {
		meter = await request<MeterView>(path, "GET", leaving.signal);
		security.show(meter);
		void quietly(security.refresh());
		showHead();
		showLink();
	}

	async function loadProfile(): Promise<void> {
		profileData = await request<ProfileView>(`${path}/profile`, "GET", leaving.signal);
		setText(profile.note, drawProfile(profileChart, profileData, zoom));
	}

	// --- the waveform is asked for while somebody looks at it ---
	let captureTimer: ReturnType<typeof setTimeout> | undefined;
	let waveSeen = false;
	let capturing = false;
	const waveObserver = new IntersectionObserver((entries) => {
		waveSeen = entries.some((entry) => entry.isIntersecting);
		if (waveSeen) scheduleCapture(0);
	});
	waveObserver.observe(waveElement);
	function scheduleCapture(delay: number): void {
		clearTimeout(captureTimer);
		captureTimer = setTimeout(async () => {
			if (paused || !waveSeen || capturing || leaving.signal.aborted || document.visibilityState !== "visible") return;
			if ((live.meters.get(id) ?? meter)?.state === "offline") {
				setText(wave.note, "the meter is not connected");
				scheduleCapture(3 * CAPTURE_MILLISECONDS);
				return;
			}
			capturing = true;
			let next = CAPTURE_MILLISECONDS;
			try {
				capture = await request<CaptureView>(`${path}/capture`, "POST", leaving.signal);
				setText(
					wave.note,
					`${format.count(capture.rowsPerSecond)} rows/s, ${format.clock(capture.utcSeconds ?? live.now())}`,
				);
				showWave();
				const reading = readings[readings.length - 1];
				if (reading) showPhasors(reading);
			} catch (error) {
				if (leaving.signal.aborted) return;
				setText(wave.note, (error as Error).message);
				next = 3 * CAPTURE_MILLISECONDS;
			} finally {
				capturing = false;
			}
			scheduleCapture(next);
		}, delay);
	}
	const onVisible = (): void => {
		if (document.visibilityState === "visible") scheduleCapture(0);
	};
	document.addEventListener("visibilitychange", onVisible);

	/** Failures of loading are told by the chips and the head; what is shown stays. */
	const quietly = (work: Promise<void>): Promise<void> =>
		work.catch((error: unknown) => {
			if (!leaving.signal.aborted && !meter) setText(subtitle, (error as Error).message);
		});

	async function loadAll(): Promise<void> {
		await quietly(loadMeter());
		if (leaving.signal.aborted || !meter) return;
		await quietly(
			(async () => {
				readings = (await request<ReadingView[]>(`${path}/readings`, "GET", leaving.signal)).slice(-READINGS_MAX);
				showReadings();
			})(),
		);
		showRegisters(meter.lastSnapshot);
		showDiagnostics(meter.lastDiagnostics);
		await Promise.all([quietly(loadProfile()), quietly(loadEvents())]);
		if (meter.state === "online" && !leaving.signal.aborted)
			for (const button of [registers, diagnostics])
				(button.tools.querySelector("button") as HTMLButtonElement).click();
	}

	showHead();
	showPhases(undefined);
	void loadAll();
	let refreshTimer: ReturnType<typeof setTimeout> | undefined;
	const refreshSoon = (): void => {
		refreshTimer ??= setTimeout(() => {
			refreshTimer = undefined;
			void quietly(loadMeter());
		}, 1000);
	};
	const tickTimer = setInterval(showHead, 1000);
	const stop = live.listen({
		fleet: () => void loadAll(),
		meters: (changed) => {
			if (!changed.some((each) => each.id === id)) return;
			showHead();
			refreshSoon();
		},
		readings: (of, more) => {
			if (of !== id) return;
			const last = readings[readings.length - 1];
			const fresh = more.filter(
				(each) => !last || each.bootCount !== last.bootCount || each.readingIndex > last.readingIndex,
			);
			readings = [...readings, ...fresh].slice(-READINGS_MAX);
			showReadings();
		},
		profile: (of) => of === id && void quietly(loadProfile()),
		events: (of) => of === id && void quietly(loadEvents()),
	});

	return () => {
		leaving.abort();
		stop();
		clearInterval(tickTimer);
		clearTimeout(refreshTimer);
		clearTimeout(captureTimer);
		waveObserver.disconnect();
		document.removeEventListener("visibilitychange", onVisible);
		for (const each of charts) each.dispose();
	};
}

function quadrantName(reading: { powerMilliwatts: number; reactivePowerMillivars: number }): string {
	if (reading.powerMilliwatts === 0 && reading.reactivePowerMillivars === 0) return format.NOTHING;
	if (reading.powerMilliwatts >= 0) return reading.reactivePowerMillivars >= 0 ? "I" : "IV";
	return reading.reactivePowerMillivars >= 0 ? "II" : "III";
}

function registerValue(value: number, unit: string): string {
	if (unit === "W") return format.power(value);
	if (/^(Wh|varh|VAh)$/.test(unit)) return format.energy(value, `k${unit}`);
	return `${format.number(value / 1000, 3)} ${unit}`;
}

/** Zooming by wheel and by a slider below the chart. */
export function zoom(colours: Theme, start: number): object[] {
	return [
		{ type: "inside", start, end: 100, zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false },
		{
			type: "slider",
			start,
			end: 100,
			height: 22,
			bottom: 6,
			borderColor: colours.line,
			fillerColor: `${colours.accent}22`,
			handleStyle: { color: colours.panel, borderColor: colours.accent },
			moveHandleStyle: { color: colours.accent, opacity: 0.5 },
			moveHandleSize: 4,
			dataBackground: {
				lineStyle: { color: colours.soft, opacity: 0.5 },
				areaStyle: { color: colours.soft, opacity: 0.1 },
			},
			selectedDataBackground: {
				lineStyle: { color: colours.accent, opacity: 0.6 },
				areaStyle: { color: colours.accent, opacity: 0.1 },
			},
			textStyle: { color: colours.soft, fontSize: 10 },
		},
	];
}
