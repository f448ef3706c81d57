import { Status } from "../../src/bytes/status.js";
import type { ProfileRow } from "../../src/messages/profile.js";
import { createReading, decodeReading } from "../../src/messages/reading.js";
import type {
	EventView,
	Health,
	LogView,
	MeterSummaryView,
	MeterView,
	OnlineState,
	PowerPointView,
	ProfileRowView,
	ProfileView,
	ReadingView,
	StatusView,
} from "./api.js";
import type { Fetching } from "./fetching.js";
import type { Fleet } from "./fleet.js";
import { LIMITS } from "./limits.js";
import type { MeterClocks } from "./meter-clocks.js";
import type { LogName, MeterState } from "./meter-state.js";
import { RecordKind } from "./store.js";
import { parseEvent, parseRow, registersOf } from "./stored-rows.js";
import { eventView, helloView, profileRowView, readingView, refusalsView, utcView } from "./views.js";

/** What a head end shows of its meters. */
export class FleetViews {
	readonly #fleet: Fleet;
	readonly #fetching: Fetching;
	readonly #clocks: MeterClocks;

	constructor(fleet: Fleet, fetching: Fetching, clocks: MeterClocks) {
		this.#fleet = fleet;
		this.#fetching = fetching;
		this.#clocks = clocks;
	}

	#health(meter: MeterState): { health: Health; reasons: string[] } {
		const bad: string[] = [];
		const attention: string[] = [];
		const state = this.#fleet.state(meter.id);
		if (state === "offline") bad.push("offline");
		if (state === "silent") bad.push("no message lately");
		if (meter.profile.conflicts + meter.events.conflicts > 0) bad.push("conflicting rows");
		if (meter.profileViolations.size + meter.readingViolations > 0) bad.push("a register went back");
		if (meter.readingViolationsAfterRestart > 0) attention.push("a register was lower after a restart");
		if (meter.profile.gone.count > 0) attention.push("intervals lost on the meter");
		if (meter.profile.missingCount() > 0) attention.push("intervals missing");
		if (meter.profile.series > 0) attention.push("storage was replaced");
		if (meter.profile.probe || meter.events.probe) attention.push("storage went back, asking");
		const offset = this.#clocks.clockOffset(meter);
		if (offset !== null && Math.abs(offset) > LIMITS.clockOffsetMaxSeconds) attention.push("clock off");
		const flags = meter.lastReadingView?.flags ?? [];
		for (const flag of ["coverOpen", "magneticField", "tamperSuspected"]) if (flags.includes(flag)) bad.push(flag);
		for (const flag of ["clockInvalid", "relayOpen", "noVoltage", "clipped"])
			if (flags.includes(flag)) attention.push(flag);
		const health =
			state === "unknown" ? "unknown" : bad.length > 0 ? "bad" : attention.length > 0 ? "attention" : "good";
		return { health, reasons: [...bad, ...attention] };
	}

	summaryView(id: string): MeterSummaryView | undefined {
		const meter = this.#fleet.meters.get(id);
		if (!meter) return undefined;
		const { health, reasons } = this.#health(meter);
		return {
			id,
			enrolledUtcSeconds: meter.enrolledUtcSeconds,
			state: this.#fleet.state(id),
			health,
			healthReasons: reasons,
			lastSeenUtcSeconds: Number.isNaN(meter.lastSeenUtcSeconds) ? null : meter.lastSeenUtcSeconds,
			clockOffsetSeconds: this.#clocks.clockOffset(meter),
			reading: meter.lastReadingView ?? null,
			powerHistoryMilliwatts: meter.history(60).map((point) => point.milliwatts),
			readings: meter.readingCounter,
			profileMissing: meter.profile.missingCount(),
			profileGone: meter.profile.gone.count,
			eventsMissing: meter.events.missingCount(),
			events: meter.events.present.count,
			lastEvent: meter.recentEvents[meter.recentEvents.length - 1] ?? null,
			conflicts: meter.profile.conflicts + meter.events.conflicts,
			monotoneViolations: meter.profileViolations.size + meter.readingViolations + meter.readingViolationsAfterRestart,
			series: meter.profile.series,
		};
	}

	#logView(meter: MeterState, name: LogName): LogView {
		const log = meter.log(name);
		return {
			series: log.series,
			starts: log.starts,
			first: log.started ? log.first : null,
			next: log.next,
			contiguousNext: log.contiguousNext(),
			stored: log.present.count,
			missing: log.missing(50),
			missingCount: log.missingCount(),
			gone: log.gone.list().slice(0, 50),
			goneCount: log.gone.count,
			duplicates: log.duplicates,
			conflicts: log.conflicts,
			conflictSequences: log.conflictSequences,
			checkingSeries: log.probe !== undefined,
			outstanding: meter.fetch[name].active ? 1 : 0,
		};
	}

	meterView(id: string): MeterView | undefined {
		const meter = this.#fleet.meters.get(id);
		const summary = this.summaryView(id);
		if (!meter || !summary) return undefined;
		const refusals = refusalsView(meter.refusals);
		return {
			...summary,
			security: this.#fleet.channel.view(id, refusals),
			hello: meter.hello ? helloView(meter.hello, meter.helloReceivedUtcSeconds) : null,
			profile: this.#logView(meter, "profile"),
			eventLog: this.#logView(meter, "events"),
			monotone: {
				profile: meter.profileViolations.size,
				readings: meter.readingViolations,
				readingsAfterRestart: meter.readingViolationsAfterRestart,
			},
			refusals,
			duplicateReadings: meter.duplicateReadings,
			outstanding: [...meter.outstanding.values()].map((request) => ({
				kind: `${request.purpose} ${request.log ?? ""}`.trim(),
				sentUtcSeconds: request.sentUtcSeconds,
				attempt: request.attempt,
			})),
			lastSnapshot: meter.lastSnapshot ?? null,
			lastDiagnostics: meter.lastDiagnostics ?? null,
		};
	}

	/**
	 * Stored rows of all series whose interval starts within `from` to `to`, in the order of series and sequence.
	 * @throws StoreError
	 */
	async profileView(id: string, from: number, to: number, rowsMax = 50_000): Promise<ProfileView | undefined> {
		const meter = this.#fleet.meters.get(id);
		if (!meter) return undefined;
		const rows: ProfileRowView[] = [];
		let previous: { series: number; row: ProfileRow } | undefined;
		for await (const record of this.#fleet.store.records(id, RecordKind.profile)) {
			const row = parseRow(record.value.subarray(8));
			const before =
				previous?.series === record.series && previous.row.sequence === row.sequence - 1 ? previous.row : undefined;
			previous = { series: record.series, row };
			if (row.intervalStartSeconds < from || row.intervalStartSeconds > to) continue;
			rows.push(profileRowView(record.series, row, record.value.readDoubleBE(), before));
			if (rows.length > rowsMax) rows.shift();
		}
		const conflicts: ProfileRowView[] = [];
		for await (const record of this.#fleet.store.records(id, RecordKind.profileConflict))
			conflicts.push(
				profileRowView(record.series, parseRow(record.value.subarray(8)), record.value.readDoubleBE(), undefined),
			);
		return {
			intervalSeconds: meter.hello?.intervalSeconds ?? null,
			rows,
			conflicts,
			missing: meter.profile.missing(1000),
			gone: meter.profile.gone.list().slice(0, 1000),
		};
	}

	/** Stored events, newest last. @throws StoreError */
	async eventsView(id: string, limit = 10_000): Promise<EventView[] | undefined> {
		if (!this.#fleet.meters.has(id)) return undefined;
		const events: EventView[] = [];
		for await (const record of this.#fleet.store.records(id, RecordKind.event)) {
			events.push(eventView(record.series, parseEvent(record.value.subarray(8)), record.value.readDoubleBE()));
			if (events.length > limit) events.shift();
		}
		return events;
	}

	/** Kept readings received after `since`, oldest first. @throws StoreError */
	async readingsView(id: string, since: number): Promise<ReadingView[] | undefined> {
		if (!this.#fleet.meters.has(id)) return undefined;
		const readings: { counter: number; view: ReadingView }[] = [];
		for await (const record of this.#fleet.store.records(id, RecordKind.reading)) {
			const received = record.value.readDoubleBE(6);
			if (!(received > since)) continue;
			const raw = Buffer.from(record.value.subarray(14));
			const reading = createReading();
			if (decodeReading(new DataView(raw.buffer, raw.byteOffset, raw.length), raw.length, reading) === Status.ok)
				readings.push({ counter: record.value.readUIntBE(0, 6), view: readingView(reading, received) });
		}
		return readings.sort((a, b) => a.counter - b.counter).map(({ view }) => view);
	}

	latestReading(id: string): ReadingView | undefined {
		return this.#fleet.meters.get(id)?.lastReadingView;
	}

	/** Power of all meters together over the last `seconds`, each meter's last reading held until it is too old. */
	powerView(seconds: number, points: number): PowerPointView[] {
		const now = this.#fleet.clock.utcSeconds();
		const step = seconds / points;
		const start = Math.floor((now - seconds) / step) * step;
		const view: PowerPointView[] = Array.from({ length: points + 1 }, (_, index) => ({
			utcSeconds: start + (index + 1) * step,
			importMilliwatts: null,
			exportMilliwatts: null,
			meters: 0,
		}));
		for (const meter of this.#fleet.meters.values()) {
			const hold = Math.max(60, 3 * meter.readingPeriodSeconds);
			const history = meter.history(LIMITS.historyPoints);
			let at = 0;
			for (const point of view) {
				if (point.utcSeconds > now + step) break;
				while (at + 1 < history.length && history[at + 1]!.utcSeconds <= point.utcSeconds) at++;
				const sample = history[at];
				if (!sample || sample.utcSeconds > point.utcSeconds || point.utcSeconds - sample.utcSeconds > hold) continue;
				point.importMilliwatts = (point.importMilliwatts ?? 0) + Math.max(0, sample.milliwatts);
				point.exportMilliwatts = (point.exportMilliwatts ?? 0) + Math.max(0, -sample.milliwatts);
				point.meters++;
			}
		}
		return view.filter((point) => point.utcSeconds <= now + step);
	}

	statusView(): StatusView {
		const totals: StatusView["totals"] = {
			meters: this.#fleet.meters.size,
			online: 0,
			powerMilliwatts: null,
			powerImportMilliwatts: null,
			powerExportMilliwatts: null,
			activeEnergyImport: 0,
			activeEnergyExport: 0,
			profileRows: 0,
			events: 0,
			missing: 0,
		};
		for (const meter of this.#fleet.meters.values()) {
			totals.profileRows += meter.profile.present.count;
			totals.events += meter.events.present.count;
			totals.missing += meter.profile.missingCount() + meter.events.missingCount();
			totals.activeEnergyImport += meter.lastReading?.activeEnergyImport ?? 0;
			totals.activeEnergyExport += meter.lastReading?.activeEnergyExport ?? 0;
			if (this.#fleet.state(meter.id) !== "online") continue;
			totals.online++;
			if (!meter.lastReadingView) continue;
			const power = meter.lastReadingView.powerMilliwatts;
			totals.powerMilliwatts = (totals.powerMilliwatts ?? 0) + power;
			totals.powerImportMilliwatts = (totals.powerImportMilliwatts ?? 0) + Math.max(0, power);
			totals.powerExportMilliwatts = (totals.powerExportMilliwatts ?? 0) + Math.max(0, -power);
		}
		return {
			utcSeconds: this.#fleet.clock.utcSeconds(),
			broker: {
				url: this.#fleet.link?.url ?? "",
				connected: this.#fleet.link?.connected ?? false,
				sinceUtcSeconds: this.#fleet.link?.sinceUtcSeconds ?? 0,
				connects: this.#fleet.link?.connects ?? 0,
				lastError: this.#fleet.link?.lastError ?? null,
			},
			store: {
				path: this.#fleet.store.path,
				working: this.#fleet.store.failure === undefined,
				error: this.#fleet.store.failure?.message ?? null,
			},
			totals,
			messages: { ...this.#fleet.messages },
			security: this.#fleet.channel.fleetView(),
			requests: { outstanding: this.#fetching.outstanding, waiting: this.#fetching.waiting },
			refusals: refusalsView(this.#fleet.refusals),
		};
	}

	/** For a supervising process: what was collected from each meter, and how sound it is. */
	summary(): MeterCollection[] {
		return [...this.#fleet.meters.keys()].sort().map((id) => {
			const meter = this.#fleet.meters.get(id)!;
			const last = meter.lastReading;
			return {
				id,
				online: this.#fleet.state(id),
				series: meter.profile.series,
				seriesStarts: meter.profile.starts,
				profileFirst: meter.profile.started ? meter.profile.first : null,
				profileNext: meter.profile.next,
				profileStored: meter.profile.present.count,
				missing: meter.profile.missing(),
				gone: meter.profile.gone.list(),
				duplicatesIgnored: meter.profile.duplicates + meter.events.duplicates + meter.duplicateReadings,
				conflicts: meter.profile.conflicts,
				eventConflicts: meter.events.conflicts,
				monotoneViolations:
					meter.profileViolations.size + meter.readingViolations + meter.readingViolationsAfterRestart,
				monotone: {
					profile: meter.profileViolations.size,
					readings: meter.readingViolations,
					readingsAfterRestart: meter.readingViolationsAfterRestart,
				},
				eventFirst: meter.events.started ? meter.events.first : null,
				eventNext: meter.events.next,
				eventsStored: meter.events.present.count,
				eventsMissing: meter.events.missing(),
				readings: meter.readingCounter,
				lastReadingUtcSeconds: last ? utcView(last.utcSeconds) : null,
				lastRegisters: last ? registersOf(last) : null,
				firstRowRegisters: this.#edgeRegisters(meter, "first"),
				lastRowRegisters: this.#edgeRegisters(meter, "last"),
				lastRowEndUtcSeconds: meter.newestRow
					? meter.newestRow.intervalStartSeconds + (meter.hello?.intervalSeconds ?? 0)
					: null,
				increments: [...meter.increments],
				bootCount: meter.hello?.bootCount ?? null,
				clockOffsetSeconds: this.#clocks.clockOffset(meter),
				refusals: refusalsView(meter.refusals),
			};
		});
	}

	#edgeRegisters(meter: MeterState, edge: "first" | "last"): number[] | null {
		const present = meter.profile.present;
		const sequence = edge === "last" ? present.last() : (present.list()[0]?.first ?? Number.NaN);
		const row = Number.isNaN(sequence) ? undefined : this.#fleet.storedRow(meter, sequence);
		return row ? registersOf(row) : null;
	}
}

/** One meter of the summary over IPC. Registers: A+, A-, R+, R-, in mWh and mvarh. */
export interface MeterCollection {
	id: string;
	online: OnlineState;
	/** 0: the storage first seen; more: how often the meter's storage was replaced or lost its tail. */
	series: number;
	seriesStarts: { series: number; firstSequence: number; utcSeconds: number; reason: string }[];
	/** Of the series in force, as all that follows. */
	profileFirst: number | null;
	profileNext: number;
	profileStored: number;
	missing: { first: number; next: number }[];
	/** The meter says that it does not have them. */
	gone: { first: number; next: number }[];
	duplicatesIgnored: number;
	conflicts: number;
	eventConflicts: number;
	/** The three below together. */
	monotoneViolations: number;
	monotone: { profile: number; readings: number; readingsAfterRestart: number };
	eventFirst: number | null;
	eventNext: number;
	eventsStored: number;
	eventsMissing: { first: number; next: number }[];
	/** Since enrolment, restarts of the head end included. */
	readings: number;
	lastReadingUtcSeconds: number | null;
	lastRegisters: number[] | null;
	firstRowRegisters: number[] | null;
	lastRowRegisters: number[] | null;
	lastRowEndUtcSeconds: number | null;
	/** Sum over rows that follow each other of the register differences: without gaps, last row minus first row. */
	increments: number[];
	bootCount: number | null;
	clockOffsetSeconds: number | null;
	refusals: Record<string, number>;
}
