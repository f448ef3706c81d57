/// <reference lib="dom" />
import { BarChart, LineChart, ScatterChart } from "echarts/charts";
import {
	AriaComponent,
	DataZoomComponent,
	GridComponent,
	LegendComponent,
	PolarComponent,
	TooltipComponent,
} from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import type { EChartsOption } from "echarts/types/dist/shared";

echarts.use([
	LineChart,
	BarChart,
	ScatterChart,
	GridComponent,
	PolarComponent,
	TooltipComponent,
	LegendComponent,
	DataZoomComponent,
	AriaComponent,
	CanvasRenderer,
]);

export type Option = EChartsOption;

/** The colours of the page, from its style sheet, so that charts follow dark and light. */
export interface Theme {
	text: string;
	soft: string;
	line: string;
	panel: string;
	accent: string;
	importing: string;
	exporting: string;
	phases: [string, string, string];
	neutral: string;
	good: string;
	attention: string;
	bad: string;
	font: string;
}

function readTheme(): Theme {
	const style = getComputedStyle(document.documentElement);
	const value = (name: string): string => style.getPropertyValue(`--${name}`).trim();
	return {
		text: value("text"),
		soft: value("soft"),
		line: value("line"),
		panel: value("panel"),
		accent: value("accent"),
		importing: value("import"),
		exporting: value("export"),
		phases: [value("l1"), value("l2"), value("l3")],
		neutral: value("neutral"),
		good: value("good"),
		attention: value("attention"),
		bad: value("bad"),
		font: getComputedStyle(document.body).fontFamily,
	};
}

let theme: Theme | undefined;
const charts = new Set<Chart>();
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => {
	theme = undefined;
	for (const chart of charts) chart.redraw();
});

export function currentTheme(): Theme {
	theme ??= readTheme();
	return theme;
}

/** An echarts instance in an element, that follows its size and the page's colours. */
export class Chart {
	readonly element: HTMLElement;
	#chart: echarts.ECharts | undefined;
	#build: ((theme: Theme, first: boolean) => Option) | undefined;
	readonly #resize: ResizeObserver;
	#drawn = false;

	constructor(element: HTMLElement, label: string) {
		this.element = element;
		element.setAttribute("role", "img");
		element.setAttribute("aria-label", label);
		this.#resize = new ResizeObserver(() => {
			if (!this.#chart && this.#build && element.clientWidth > 0) this.#draw();
			else this.#chart?.resize();
		});
		this.#resize.observe(element);
		charts.add(this);
	}

	/** Draws, now or as soon as the element has a size. `first` is true when nothing of an earlier drawing stays. */
	set(build: (theme: Theme, first: boolean) => Option): void {
		this.#build = build;
		if (this.element.clientWidth > 0) this.#draw();
	}

	label(text: string): void {
		this.element.setAttribute("aria-label", text);
	}

	redraw(): void {
		if (!this.#build || !this.#chart) return;
		this.#drawn = false;
		this.#chart.clear();
		this.#draw();
	}

	#draw(): void {
		this.#chart ??= echarts.init(this.element, null, { renderer: "canvas" });
		const colours = currentTheme();
		const option = this.#build!(colours, !this.#drawn);
		this.#chart.setOption(
			{
				animation: false,
				textStyle: { fontFamily: colours.font, color: colours.text },
				...option,
			},
			this.#drawn ? { replaceMerge: ["series"] } : { notMerge: true },
		);
		this.#drawn = true;
	}

	dispose(): void {
		charts.delete(this);
		this.#resize.disconnect();
		this.#chart?.dispose();
		this.#chart = undefined;
	}
}

/** Tooltips are drawn on the canvas: the page's policy allows no inline style, which HTML tooltips are made of. */
export function tooltip(colours: Theme, more: object = {}): object {
	return {
		renderMode: "richText",
		confine: true,
		backgroundColor: colours.panel,
		borderColor: colours.line,
		borderWidth: 1,
		padding: [8, 12],
		textStyle: { color: colours.text, fontSize: 12, fontFamily: colours.font, lineHeight: 18 },
		...more,
	};
}

export function axis(colours: Theme, more: object = {}): object {
	return {
		axisLine: { lineStyle: { color: colours.line } },
		axisTick: { lineStyle: { color: colours.line } },
		axisLabel: { color: colours.soft, fontSize: 11, hideOverlap: true },
		nameTextStyle: { color: colours.soft, fontSize: 11 },
		splitLine: { lineStyle: { color: colours.line, opacity: 0.6 } },
		...more,
	};
}

export function legend(colours: Theme, more: object = {}): object {
	return {
		top: 0,
		right: 0,
		icon: "roundRect",
		itemWidth: 12,
		itemHeight: 4,
		itemGap: 14,
		textStyle: { color: colours.soft, fontSize: 12 },
		inactiveColor: colours.line,
		...more,
	};
}

/** The next round number: the end of an axis. */
export function roundUp(value: number): number {
	if (!(value > 0)) return 1;
	const decade = 10 ** Math.floor(Math.log10(value));
	for (const step of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) if (value <= step * decade * 1.0001) return step * decade;
	return 10 * decade;
}
