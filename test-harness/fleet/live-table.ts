import { NOT_AVAILABLE } from "../../src/messages/reading.js";
import type { MeterCollection } from "../head-end/fleet-views.js";
import type { Monitor } from "./monitor.js";
import type { World } from "./world.js";

const COLUMNS = [
	["meter", 16],
	["ph", 2],
	["U / V", 7],
	["I / A", 8],
	["P / W", 9],
	["PF", 6],
	["A+ / kWh", 11],
	["A− / kWh", 11],
	["link", 7],
	["rows", 5],
	["gaps", 4],
] as const;

function line(cells: readonly string[]): string {
	return COLUMNS.map(([, width], column) => {
		const cell = cells[column] ?? "";
		return column === 0 || column === 8 ? cell.padEnd(width) : cell.padStart(width);
	})
		.join("  ")
		.trimEnd();
}

/** The table of a live run: one line for each meter, as many as fit. */
export function tableLines(
	world: World,
	monitor: Monitor,
	collections: ReadonlyMap<string, MeterCollection>,
	linesMax: number,
): string[] {
	const lines = [line(COLUMNS.map(([title]) => title)), "─".repeat(COLUMNS.reduce((sum, [, w]) => sum + w + 2, -2))];
	for (const board of world.boards) {
		if (lines.length >= linesMax - 1 && board.index < world.boards.length - 1) {
			lines.push(`… and ${world.boards.length - board.index} more: see the page`);
			break;
		}
		const { identifier } = board.settings;
		const { last, readings } = monitor.heard[board.index]!;
		const collection = collections.get(identifier);
		const link = board.starts === 0 ? "" : board.isOn ? (board.bridge.isOpen ? "online" : "offline") : "no power";
		const rows = collection === undefined ? "" : String(collection.profileStored);
		const gaps =
			collection === undefined
				? ""
				: String(collection.missing.reduce((sum, { first, next }) => sum + next - first, 0));
		if (readings === 0) {
			lines.push(
				line([identifier, String(board.settings.layout.phaseCount), "", "", "", "", "", "", link, rows, gaps]),
			);
			continue;
		}
		const phases = last.phases.slice(0, last.phaseCount);
		const volts = phases.reduce((sum, { voltageMillivolts }) => sum + voltageMillivolts, 0) / phases.length / 1000;
		const amperes = phases.reduce((sum, { currentMilliamperes }) => sum + currentMilliamperes, 0) / 1000;
		const watts = phases.reduce((sum, { powerMilliwatts }) => sum + powerMilliwatts, 0) / 1000;
		const apparent = phases.reduce((sum, p) => sum + p.apparentPowerMillivoltAmperes, 0) / 1000;
		const hasFactor = phases.some(({ powerFactorPermille }) => powerFactorPermille !== NOT_AVAILABLE) && apparent > 0;
		lines.push(
			line([
				identifier,
				String(last.phaseCount),
				volts.toFixed(1),
				amperes.toFixed(2),
				watts.toFixed(1),
				hasFactor ? (watts / apparent).toFixed(3) : "–",
				(last.activeEnergyImport / 1e6).toFixed(4),
				(last.activeEnergyExport / 1e6).toFixed(4),
				link,
				rows,
				gaps,
			]),
		);
	}
	return lines;
}

/** Draws lines over the lines drawn before on a terminal; elsewhere prints them once in a while. */
export class Screen {
	readonly isTerminal: boolean;
	#drawn = 0;
	#plainDueMilliseconds = 0;
	readonly #out: NodeJS.WriteStream;

	constructor(out: NodeJS.WriteStream = process.stdout) {
		this.#out = out;
		this.isTerminal = out.isTTY === true;
	}

	get rows(): number {
		return this.isTerminal ? (this.#out.rows ?? 24) : 60;
	}

	/** @param plainEveryMilliseconds where there is no terminal */
	draw(lines: readonly string[], plainEveryMilliseconds: number): void {
		if (!this.isTerminal) {
			const now = performance.now();
			if (now < this.#plainDueMilliseconds) return;
			this.#plainDueMilliseconds = now + plainEveryMilliseconds;
			this.#out.write(`${lines.join("\n")}\n`);
			return;
		}
		const width = this.#out.columns ?? 80;
		const back = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : "";
		this.#out.write(`${back}${lines.map((text) => `\u001b[2K${text.slice(0, width)}\n`).join("")}\u001b[J`);
		this.#drawn = lines.length;
	}

	/** What was drawn stays; the next drawing begins below. */
	keep(): void {
		this.#drawn = 0;
	}
}
