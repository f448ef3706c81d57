import { randomInt } from "node:crypto";
import { StatusCounters } from "../../src/bytes/status.js";
import type { Hello } from "../../src/messages/hello.js";
import type { ProfileRow } from "../../src/messages/profile.js";
import type { Reading } from "../../src/messages/reading.js";
import type { DiagnosticsView, EventView, ReadingView, SnapshotView } from "./api.js";
import type { AskError } from "./asking.js";
import { LIMITS } from "./limits.js";
import { SequenceLog, type SequenceLogRecord } from "./sequence-log.js";

export type LogName = "profile" | "events";

export interface Outstanding {
	readonly requestId: number;
	readonly kind: number;
	readonly log: LogName | undefined;
	readonly purpose: "fetch" | "back" | "probe" | "peek" | "ask";
	readonly first: number;
	readonly count: number;
	readonly sentUtcSeconds: number;
	readonly attempt: number;
	/** New rows that this request brought. */
	progress: number;
	/** What the probe showed: the row asked for is the one stored. */
	probeSame: boolean | undefined;
	cancelTimer: () => void;
}

export interface Fetch {
	active: Outstanding | undefined;
	attempt: number;
	notBeforeSeconds: number;
	cancelTimer: (() => void) | undefined;
	/** Ask for what comes after the last known sequence. */
	peek: boolean;
	/** Nothing older than the first row known: the meter said so. Asked only while no hello told it. */
	backDone: boolean;
	/** First sequence of the range that the meter last said it does not have, and how often in a row. */
	deniedFirst: number;
	deniedTimes: number;
}

export interface Ask {
	readonly promise: Promise<unknown>;
	readonly resolve: (value: unknown) => void;
	readonly reject: (error: AskError) => void;
	cancelTimer: () => void;
}

export interface OffsetSample {
	low: number;
	high: number;
}

export interface MeterRecord {
	enrolledUtcSeconds: number;
	hello: string | null;
	helloReceivedUtcSeconds: number;
	profile: SequenceLogRecord;
	events: SequenceLogRecord;
}

/** All that the head end knows of one meter. */
export class MeterState {
	readonly id: string;
	enrolledUtcSeconds: number;
	hello: Hello | undefined;
	helloRaw: Buffer | undefined;
	helloReceivedUtcSeconds = 0;
	readonly profile = new SequenceLog();
	readonly events = new SequenceLog();
	readonly fetch: Record<LogName, Fetch>;
	readonly outstanding = new Map<number, Outstanding>();
	readonly asks = new Map<number, Ask>();
	#requestId: number;

	/** "1" or "0" of the online topic, undefined until one came. */
	onlineFlag: boolean | undefined;
	lastSeenUtcSeconds = Number.NaN;

	readingCounter = 0;
	duplicateReadings = 0;
	lastReading: Reading | undefined;
	lastReadingView: ReadingView | undefined;
	/** Time received and power of the last readings, a ring. */
	readonly historyUtcSeconds = new Float64Array(LIMITS.historyPoints).fill(Number.NaN);
	readonly historyMilliwatts = new Float64Array(LIMITS.historyPoints);
	historyCount = 0;
	/** Mean seconds between readings. */
	readingPeriodSeconds = 10;

	offsets: OffsetSample[] = [];
	lastPeekUtcSeconds = Number.NEGATIVE_INFINITY;
	lastTimeAnswerUtcSeconds = Number.NEGATIVE_INFINITY;

	/** Row with the greatest sequence of the series in force. */
	newestRow: ProfileRow | undefined;
	/** Rows whose registers are below those of the row before, as series × 2^32 + sequence. */
	readonly profileViolations = new Set<number>();
	readingViolations = 0;
	readingViolationsAfterRestart = 0;
	/** Register differences between rows that follow each other, series in force. */
	increments: [number, number, number, number] = [0, 0, 0, 0];
	storedConflicts = 0;

	/** The last events, oldest first; bounded. */
	recentEvents: EventView[] = [];

	readonly refusals = new StatusCounters();
	lastSnapshot: SnapshotView | undefined;
	lastDiagnostics: DiagnosticsView | undefined;

	constructor(id: string, enrolledUtcSeconds: number) {
		this.id = id;
		this.enrolledUtcSeconds = enrolledUtcSeconds;
		// anywhere: answers to the process before this one may still be on their way
		this.#requestId = randomInt(0x1_0000);
		const fetch = (): Fetch => ({
			active: undefined,
			attempt: 0,
			notBeforeSeconds: Number.NEGATIVE_INFINITY,
			cancelTimer: undefined,
			peek: false,
			backDone: false,
			deniedFirst: Number.NaN,
			deniedTimes: 0,
		});
		this.fetch = { profile: fetch(), events: fetch() };
	}

	/** 1 to 65535, not one that is under way. */
	nextRequestId(): number {
		do this.#requestId = (this.#requestId % 0xffff) + 1;
		while (this.outstanding.has(this.#requestId));
		return this.#requestId;
	}

	log(name: LogName): SequenceLog {
		return name === "profile" ? this.profile : this.events;
	}

	remember(receivedUtcSeconds: number, milliwatts: number): void {
		const slot = this.historyCount % LIMITS.historyPoints;
		this.historyUtcSeconds[slot] = receivedUtcSeconds;
		this.historyMilliwatts[slot] = milliwatts;
		this.historyCount++;
	}

	/** Oldest first. */
	history(pointsMax: number): { utcSeconds: number; milliwatts: number }[] {
		const points = Math.min(pointsMax, this.historyCount, LIMITS.historyPoints);
		return Array.from({ length: points }, (_, index) => {
			const slot = (this.historyCount - points + index) % LIMITS.historyPoints;
			return { utcSeconds: this.historyUtcSeconds[slot]!, milliwatts: this.historyMilliwatts[slot]! };
		});
	}
}
