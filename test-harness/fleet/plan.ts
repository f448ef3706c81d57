import { DEFAULT_SETTINGS, parseSettings, type Settings } from "../../src/meter/settings.js";
import { SECTOR_BYTES, STORAGE_SECTORS } from "../../src/storage/layout.js";
import type { BoardOptions } from "../board/virtual-board.js";
import { type GridOptions, HOUSEHOLD_KINDS, Household, type LoadSource } from "../waveforms/household.js";
import { Random } from "../waveforms/random.js";
import {
	loadRecordedCycles,
	loadRecordedMinutes,
	RecordedAppliances,
	type RecordedCycle,
	RecordedHousehold,
	type RecordedMinute,
} from "../waveforms/recorded.js";

export interface PlanOptions {
	/** Decides what meters there are. */
	readonly planSeed: number;
	/** Decides loads, clocks and chaos of this run. */
	readonly seed: number;
	readonly meters: number;
	readonly startUtcSeconds: number;
	readonly intervalSeconds: number;
	readonly readingSeconds: number;
	readonly registerCommitSeconds: number;
	readonly mqtt: Settings["mqtt"];
	/** Meters have keys; else everything travels plain, to compare costs with. */
	readonly secured: boolean;
	/** Use recorded waveforms and loads where the shared data are present. */
	readonly recorded: boolean;
	/** Cycles of a block: 50 is fine in frequency, 10 is small. */
	readonly cyclesPerBlock: number;
}

/** EUI-64, locally administered, that only depends on the index: a kept store knows its meters again. */
export function identifierOf(index: number): string {
	return `02574c00${(index + 1).toString(16).padStart(8, "0")}`;
}

/**
 * The meters of a world: three in five with three phases, every third of the rest of the properties drawn from the
 * plan's seed. One in eight plays recorded appliance cycles and one in eight recorded minutes where the data are there.
 */
export function planFleet(options: PlanOptions): BoardOptions[] {
	const cycles = options.recorded ? loadRecordedCycles() : [];
	const minutes = options.recorded ? loadRecordedMinutes() : [];
	return Array.from({ length: options.meters }, (_, index) => planMeter(options, index, cycles, minutes));
}

function planMeter(
	options: PlanOptions,
	index: number,
	cycles: readonly RecordedCycle[],
	minutes: readonly RecordedMinute[],
): BoardOptions {
	const kept = new Random(options.planSeed, `meter ${index}`);
	const random = new Random(options.seed, `meter ${index}`);
	const threePhase = kept.chance(0.6);
	const given = {
		identifier: identifierOf(index),
		security: options.secured ? "secured" : "plain",
		layout: {
			...DEFAULT_SETTINGS.layout,
			phaseCount: threePhase ? 3 : 1,
			neutralCurrent: threePhase || kept.chance(0.5),
		},
		netting: kept.chance(0.7) ? "vectorSum" : "perPhase",
		intervalSeconds: options.intervalSeconds,
		readingSeconds: options.readingSeconds,
		registerCommitSeconds: options.registerCommitSeconds,
		mqtt: options.mqtt,
	};
	const settingsText = JSON.stringify(given);
	const settings = parseSettings(settingsText);
	const grid: GridOptions = {
		nominalHertz: random.between(49.85, 50.15),
		nominalVolts: settings.nominalVoltageMillivolts / 1000,
		cyclesPerBlock: options.cyclesPerBlock,
	};
	const { layout } = settings;
	let load: LoadSource;
	if (index % 8 === 2 && cycles.length > 0) load = new RecordedAppliances(random.child("load"), layout, grid, cycles);
	else if (index % 8 === 5 && minutes.length > 0)
		load = new RecordedHousehold(random.child("load"), layout, grid, minutes);
	else
		load = new Household(
			random.child("load"),
			layout,
			HOUSEHOLD_KINDS[(index + kept.integer(0, 1)) % HOUSEHOLD_KINDS.length]!,
			grid,
			options.startUtcSeconds % 86_400,
		);
	return {
		index,
		settings,
		settingsText,
		load,
		clockDriftPpm: random.between(-40, 40),
		clockOffsetSeconds: random.between(-1.2, 1.2),
		deviceKey: new Random(options.planSeed, `fuses ${index}`).bytes(new Uint8Array(32)),
		sectorBytes: SECTOR_BYTES,
		sectorCount: STORAGE_SECTORS,
	};
}
