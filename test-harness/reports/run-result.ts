import type { ChaosKind } from "../fleet/chaos.js";
import type { Check, MeterResult } from "../fleet/checks.js";
import type { OnlineStretch, PowerPoint } from "../fleet/monitor.js";
import type { Occurrence, World } from "../fleet/world.js";

/** All that a run leaves behind: the report draws it, and summary.json holds the greater part of it. */
export interface RunResult {
	readonly seed: number;
	/** Arguments of the command line. */
	readonly command: string;
	readonly versions: {
		readonly wattlock: string;
		/** Commit, "+" when the tree had changes; empty where git is not there. */
		readonly commit: string;
		readonly node: string;
		readonly target: string;
		readonly broker: string;
	};
	/** UTCTime at the start of the world. */
	readonly startUtcSeconds: number;
	/** Meters' time of the main part. */
	readonly virtualSeconds: number;
	/** Real time that the main part took. */
	readonly wallSeconds: number;
	readonly isRealTime: boolean;
	readonly meterDaysPerSecond: number;
	readonly stepMilliseconds: number;
	readonly intervalSeconds: number;
	/** Failures that were made, by kind. */
	readonly chaos: Readonly<Record<ChaosKind, number>>;
	readonly timeline: readonly Occurrence[];
	readonly power: readonly PowerPoint[];
	/** For each meter the times of the world, ms, in which it had its connection. */
	readonly online: readonly (readonly OnlineStretch[])[];
	readonly counts: World["counts"];
	readonly meters: readonly MeterResult[];
	readonly checks: readonly Check[];
}
