import type { VirtualBoard } from "../board/virtual-board.js";
import type { ProfileRowView } from "../head-end/api.js";
import type { MeterCollection } from "../head-end/fleet-views.js";
import type { Monitor } from "./monitor.js";
import type { World } from "./world.js";

/**
 * One row of the verdict. `measured` null: it could not be evaluated, and then `ok` is false. `limit` is the largest
 * value allowed unless `relation` says otherwise.
 */
export interface Check {
	readonly name: string;
	readonly limit: number;
	readonly relation: "at most" | "exactly" | "at least";
	readonly measured: number | null;
	readonly unit: string;
	readonly ok: boolean;
	/** Which meter, and why. */
	readonly note: string;
}

/** Energy of one direction of one meter against its waveform. */
export interface EnergyComparison {
	readonly referenceWattHours: number;
	/** What the register counted, Wh. */
	readonly registerWattHours: number;
	readonly errorWattHours: number;
	/** How far below and above the reference the register may be, Wh. */
	readonly allowedBelowWattHours: number;
	readonly allowedAboveWattHours: number;
	readonly ok: boolean;
}

/** Everything known of one meter at the end, for the checks and the report. */
export interface MeterResult {
	readonly identifier: string;
	readonly phases: number;
	readonly netting: string;
	readonly load: string;
	readonly starts: number;
	readonly powerCuts: number;
	readonly readings: number;
	readonly import: EnergyComparison | null;
	readonly export: EnergyComparison | null;
	/** Intervals that must have a row, and those that have none or more than one. */
	readonly intervalsExpected: number;
	readonly intervalsMissing: readonly number[];
	readonly intervalsDoubled: readonly number[];
	readonly rows: readonly ProfileRowView[];
	/** Register less the sum of its increments, mWh. */
	readonly sumDifferenceImport: number | null;
	readonly sumDifferenceExport: number | null;
	readonly clockErrorSeconds: number;
	readonly flashErases: number;
	readonly flashProgrammedBytes: number;
	readonly linkConnects: number;
	readonly collection: MeterCollection | null;
	readonly diagnostics: Readonly<Record<string, number>> | null;
}

/** 0.1 %: what the issue allows between a register and the integral of its waveform. */
export const ENERGY_LIMIT = 0.001;
/** A register counts whole mWh, and one direction of one netting mode has a remainder of less than one. */
const RESOLUTION_WATT_HOURS = 0.002;
export const CLOCK_LIMIT_SECONDS = 3;
/** An interval in which the meter was on for less than this may have a row or none. */
const INTERVAL_SECONDS_MIN = 5;
const POWER_DOWN = 0x80;
/**
 * Right answers when peers die in the middle of a conversation: no connection, an answer that came too late, a message
 * that is repeated until it is acknowledged and was heard before, what is said to all before the time is known.
 */
const REFUSALS_OF_CHAOS = new Set([
	"linkDown",
	"outOfOrder",
	"busy",
	"timedOut",
	"notFound",
	"replayed",
	"clockInvalid",
]);

export interface CompareOptions {
	readonly stepMilliseconds: number;
	/** The meters began with empty flash in this run; else registers are compared from the first reading on. */
	readonly fresh: boolean;
}

/** Compares one register with the reference of its waveform. */
export function compareEnergy(
	board: VirtualBoard,
	registerMilliwattHours: number,
	direction: "import" | "export",
	heard: Monitor["heard"][number],
	options: CompareOptions,
): EnergyComparison {
	const isImport = direction === "import";
	let reference = isImport ? board.reference.importWattHours : board.reference.exportWattHours;
	let register = registerMilliwattHours / 1000;
	let slack = RESOLUTION_WATT_HOURS;
	if (!options.fresh) {
		reference -= isImport ? heard.firstReferenceImport : heard.firstReferenceExport;
		register -= (isImport ? heard.firstImport : heard.firstExport) / 1000;
		slack += (board.maximumWatts * 2) / 3600; // the first reading and the reference are up to 2 s apart
	}
	// declared: what was counted since the last commit; and when in its step power failed, nobody tells
	const lostSeconds = board.settings.registerCommitSeconds + options.stepMilliseconds / 1000;
	const lost = (board.powerCuts * board.maximumWatts * lostSeconds) / 3600;
	const allowedAboveWattHours = ENERGY_LIMIT * reference + slack;
	const allowedBelowWattHours = allowedAboveWattHours + lost;
	const errorWattHours = register - reference;
	return {
		referenceWattHours: reference,
		registerWattHours: register,
		errorWattHours,
		allowedBelowWattHours,
		allowedAboveWattHours,
		ok: errorWattHours >= -allowedBelowWattHours && errorWattHours <= allowedAboveWattHours,
	};
}

/**
 * Which interval starts must have exactly one row, by the times the meter was on (less the commit period before a power
 * cut, whose loss is declared), and what is wrong with the rows. An interval that ends after `endUtcSeconds` is not over.
 */
export function judgeIntervals(
	board: VirtualBoard,
	rows: readonly ProfileRowView[],
	startUtcSeconds: number,
	endUtcSeconds: number,
): { expected: number; missing: number[]; doubled: number[] } {
	const length = board.settings.intervalSeconds;
	const onSeconds = new Map<number, number>();
	for (const { from, to } of board.onPeriods) {
		const begin = startUtcSeconds + from / 1000;
		const isCut = !Number.isNaN(to);
		// what was measured since the last commit is declared lost with a cut
		const kept = isCut ? startUtcSeconds + to / 1000 - board.settings.registerCommitSeconds : endUtcSeconds;
		const end = Math.min(kept, endUtcSeconds);
		for (let at = Math.floor(begin / length) * length; at < end; at += length) {
			const on = Math.min(end, at + length) - Math.max(begin, at);
			onSeconds.set(at, (onSeconds.get(at) ?? 0) + on);
		}
	}
	const count = new Map<number, number>();
	for (const { intervalStartSeconds } of rows)
		count.set(intervalStartSeconds, (count.get(intervalStartSeconds) ?? 0) + 1);
	const missing: number[] = [];
	const doubled: number[] = [];
	let expected = 0;
	for (const [at, on] of onSeconds) {
		if (at + length > endUtcSeconds || on < INTERVAL_SECONDS_MIN) continue;
		expected++;
		if (!count.has(at)) missing.push(at);
	}
	for (const [at, rowCount] of count) if (rowCount > 1) doubled.push(at);
	return { expected, missing, doubled };
}

function row(
	name: string,
	relation: Check["relation"],
	limit: number,
	measured: number | null,
	unit: string,
	note = "",
): Check {
	const holds =
		measured !== null &&
		Number.isFinite(measured) &&
		(relation === "at most" ? measured <= limit : relation === "exactly" ? measured === limit : measured >= limit);
	return { name, relation, limit, measured: Number.isFinite(measured) ? measured : null, unit, ok: holds, note };
}

/** The worst meter of a quantity; null when one of them has none. */
function worst(
	results: readonly MeterResult[],
	of: (result: MeterResult) => number | null,
): { value: number | null; identifier: string } {
	let value: number | null = results.length > 0 ? Number.NEGATIVE_INFINITY : null;
	let identifier = "";
	for (const result of results) {
		const one = of(result);
		if (one === null || Number.isNaN(one)) return { value: null, identifier: result.identifier };
		if (value !== null && one > value) {
			value = one;
			identifier = result.identifier;
		}
	}
	return { value, identifier };
}

function total(results: readonly MeterResult[], of: (result: MeterResult) => number | null): number | null {
	let sum = 0;
	for (const result of results) {
		const one = of(result);
		if (one === null || Number.isNaN(one)) return null;
		sum += one;
	}
	return sum;
}

/** Share of its allowance that a comparison uses: 1 is the limit. */
export function allowanceUsed(comparison: EnergyComparison | null): number | null {
	if (comparison === null) return null;
	const { errorWattHours, allowedBelowWattHours, allowedAboveWattHours } = comparison;
	return errorWattHours < 0 ? -errorWattHours / allowedBelowWattHours : errorWattHours / allowedAboveWattHours;
}

function lengthOf(ranges: readonly { first: number; next: number }[] | undefined): number | null {
	return ranges === undefined ? null : ranges.reduce((sum, { first, next }) => sum + next - first, 0);
}

function refusalsOf(result: MeterResult, withChaos: boolean): number | null {
	if (result.collection === null || result.diagnostics === null) return null;
	const counted = (name: string): boolean => !(withChaos && REFUSALS_OF_CHAOS.has(name));
	let sum = 0;
	for (const [name, count] of Object.entries(result.collection.refusals)) if (counted(name)) sum += count;
	for (const [name, count] of Object.entries(result.diagnostics))
		if (name.startsWith("refusals ") && counted(name.slice("refusals ".length))) sum += count;
	return sum;
}

export interface CheckOptions {
	/** False in real time: registers go on counting after the last row, so only its own registers are compared. */
	readonly registersStandStill: boolean;
	/** The meters began with empty flash in this run. */
	readonly fresh: boolean;
	/** Something was made to fail. */
	readonly withChaos: boolean;
}

/** All rows of the verdict. */
export function judge(world: World, monitor: Monitor, results: readonly MeterResult[], options: CheckOptions): Check[] {
	const meters = results.length;
	const of = (name: string): string => (name === "" ? "" : `worst: ${name}`);
	const collected = (field: (collection: MeterCollection) => number | null): number | null =>
		total(results, ({ collection }) => (collection === null ? null : field(collection)));
	const importUsed = worst(results, (result) => allowanceUsed(result.import));
	const exportUsed = worst(results, (result) => allowanceUsed(result.export));
	const noCuts = options.fresh ? results.filter(({ powerCuts }) => powerCuts === 0) : [];
	const plainError = (comparison: EnergyComparison | null): number | null => {
		if (comparison === null) return null;
		const { errorWattHours, referenceWattHours } = comparison;
		return (100 * Math.max(0, Math.abs(errorWattHours) - RESOLUTION_WATT_HOURS)) / Math.max(0.001, referenceWattHours);
	};
	const plain = worst(noCuts, (result) => {
		const plus = plainError(result.import);
		const minus = plainError(result.export);
		return plus === null || minus === null ? null : Math.max(plus, minus);
	});
	const clock = worst(results, ({ clockErrorSeconds }) => Math.abs(clockErrorSeconds));
	const sums = worst(results, ({ sumDifferenceImport, sumDifferenceExport }) =>
		sumDifferenceImport === null || sumDifferenceExport === null
			? null
			: Math.max(Math.abs(sumDifferenceImport), Math.abs(sumDifferenceExport)),
	);
	const back = worst(results, (result) => {
		const board = world.boards.find(({ settings }) => settings.identifier === result.identifier);
		const heard = board === undefined ? undefined : monitor.heard[board.index];
		if (board === undefined || heard === undefined) return null;
		return heard.stepBackAfterRestart / 1000 / ((board.maximumWatts * board.settings.registerCommitSeconds) / 3600);
	});
	const [, memory = 0, stack = 0, exception = 0, , runaway = 0] = world.counts.aborted;
	return [
		row("meters enrolled", "exactly", meters, results.filter(({ collection }) => collection !== null).length, "meters"),
		row("meters that reported", "exactly", meters, results.filter(({ readings }) => readings > 0).length, "meters"),
		row(
			"intervals expected from the meters",
			"at least",
			meters,
			total(results, (r) => r.intervalsExpected),
			"rows",
		),
		row(
			"intervals without a row",
			"exactly",
			0,
			total(results, (r) => r.intervalsMissing.length),
			"intervals",
		),
		row(
			"intervals counted twice",
			"exactly",
			0,
			total(results, (r) => r.intervalsDoubled.length),
			"intervals",
		),
		row(
			"gaps in the sequence of rows",
			"exactly",
			0,
			collected((c) => lengthOf(c.missing)),
			"rows",
		),
		row(
			"sequence numbers spent on rows that a power cut tore (stored again under the next)",
			"at most",
			results.reduce((sum, { powerCuts }) => sum + powerCuts, 0),
			collected((c) => lengthOf(c.gone)),
			"numbers",
		),
		row(
			"rows that contradict stored ones",
			"exactly",
			0,
			collected((c) => c.conflicts + c.eventConflicts),
			"rows",
		),
		row(
			"storage found replaced",
			"exactly",
			0,
			collected((c) => c.series),
			"times",
		),
		row(
			"registers that step back in the profile",
			"exactly",
			0,
			collected((c) => c.monotone.profile),
			"rows",
		),
		row(
			"registers that step back while a meter runs",
			"exactly",
			0,
			monitor.heard.reduce((sum, { stepsBackRunning }) => sum + stepsBackRunning, 0),
			"readings",
		),
		row(
			"step back after a power cut, of what is declared",
			"at most",
			1,
			back.value === null ? null : Math.max(0, back.value),
			"× Pmax · commit period",
			of(back.identifier),
		),
		row(
			"A+ against the waveform, of what is allowed (0.1 % + declared loss)",
			"at most",
			1,
			importUsed.value,
			"× limit",
			of(importUsed.identifier),
		),
		row(
			"A− against the waveform, of what is allowed (0.1 % + declared loss)",
			"at most",
			1,
			exportUsed.value,
			"× limit",
			of(exportUsed.identifier),
		),
		...(noCuts.length > 0
			? [
					row(
						"A+ and A− against the waveform, meters without a power cut",
						"at most",
						100 * ENERGY_LIMIT,
						plain.value,
						"%",
						of(plain.identifier),
					),
				]
			: []),
		row(
			options.registersStandStill
				? "register less the sum of its profile increments"
				: "last row less the sum of the profile increments",
			"exactly",
			0,
			sums.value,
			"mWh",
			of(sums.identifier),
		),
		row("clock against true time", "at most", CLOCK_LIMIT_SECONDS, clock.value, "s", of(clock.identifier)),
		row("machines aborted", "exactly", 0, memory + stack + exception + runaway, "times"),
		row(
			"samples lost",
			"exactly",
			0,
			total(results, (r) => r.diagnostics?.["samplesLost"] ?? null),
			"rows",
		),
		row(
			"messages refused by meters and concentrator",
			"exactly",
			0,
			total(results, (result) => refusalsOf(result, options.withChaos)),
			"messages",
		),
		row("messages the harness could not read", "exactly", 0, monitor.refusals, "messages"),
		...(monitor.keyReuses === null
			? []
			: [row("keys that sealed two messages", "exactly", 0, monitor.keyReuses, "keys")]),
		row(
			"waveform codes out of range",
			"exactly",
			0,
			world.boards.reduce((sum, { clippedCodes }) => sum + clippedCodes, 0),
			"codes",
		),
		row("network waited for in vain", "exactly", 0, world.counts.settleTimeouts, "times"),
	];
}

/** Whether a row says that power was away in it. */
export function hasPowerDown(row: ProfileRowView): boolean {
	return (row.status & POWER_DOWN) !== 0;
}
