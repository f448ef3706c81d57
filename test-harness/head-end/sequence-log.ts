import { missingRanges, type Range, Ranges } from "./ranges.js";

/** How far a sequence may lie from what is known of a meter: 60 days of one-minute rows, ten times over. Farther is a lie or damage. */
export const SEQUENCE_LEAP_MAX = 2 ** 20;

/** Why a meter's storage is counted as a new one. */
export type SeriesReason = "first" | "tail lost" | "storage replaced";

export interface SeriesStart {
	series: number;
	firstSequence: number;
	utcSeconds: number;
	reason: SeriesReason;
}

/** What of a log is kept in the meter's record; the rest is rebuilt from the rows. */
export interface SequenceLogRecord {
	starts: SeriesStart[];
	/** Of the series in force: first sequence wanted. */
	first: number;
	/** Known next sequence. */
	next: number;
	gone: Range[];
}

/**
 * Where the meter's storage went back behind what it told before. It is asked for the newest row we hold: the same row
 * means a late duplicate of an old hello, anything else that the storage was lost.
 */
export interface Probe {
	stage: 1 | 2;
	/** Sequence asked for. */
	sequence: number;
	helloOldest: number;
	helloNext: number;
	/** Next sequence after rows that came while the question was open; they are not stored and asked for afterwards. */
	deferredNext: number;
}

/**
 * Which sequences of one log of one meter (load profile or events) are here, missing or gone. Pure bookkeeping: it
 * neither stores nor asks.
 */
export class SequenceLog {
	series = 0;
	starts: SeriesStart[] = [];
	/** First sequence wanted, NaN until the meter spoke. */
	first = Number.NaN;
	/** One more than the last sequence known to exist. */
	next = 0;
	present = new Ranges();
	/** Told as not there by the meter: holes that stay holes. */
	gone = new Ranges();
	probe: Probe | undefined;
	duplicates = 0;
	conflicts = 0;
	/** Sequences under which a row came that differs from the stored one, the newest last; bounded. */
	conflictSequences: number[] = [];

	get started(): boolean {
		return !Number.isNaN(this.first);
	}

	/** Rows wanted and not here. */
	missing(rangesMax?: number): Range[] {
		return this.started ? missingRanges(this.first, this.next, this.present, this.gone, rangesMax) : [];
	}

	missingCount(): number {
		let count = 0;
		for (const range of this.missing()) count += range.next - range.first;
		return count;
	}

	/** Rows are complete from `first` up to here. */
	contiguousNext(): number {
		if (!this.started) return 0;
		return this.missing(1)[0]?.first ?? this.next;
	}

	start(first: number, next: number, utcSeconds: number): void {
		this.first = first;
		this.next = Math.max(first, next);
		if (this.starts.length === 0) this.starts.push({ series: 0, firstSequence: first, utcSeconds, reason: "first" });
	}

	/** Rows below belong to the series before. */
	#floor(): number {
		const start = this.starts[this.starts.length - 1];
		return start?.reason === "tail lost" ? start.firstSequence : 0;
	}

	/** What a row with this sequence would be. `older`: of the series before; `outside`: too far from what is known. */
	classify(sequence: number): "new" | "present" | "older" | "outside" {
		if (!this.started) return "new";
		if (this.present.has(sequence)) return "present";
		if (sequence < this.#floor()) return "older";
		if (sequence > this.next + SEQUENCE_LEAP_MAX || sequence < this.first - SEQUENCE_LEAP_MAX) return "outside";
		return "new";
	}

	/** A row is in the store. */
	stored(sequence: number, utcSeconds: number): void {
		if (!this.started) this.start(sequence, sequence + 1, utcSeconds);
		this.present.add(sequence);
		this.gone.remove(sequence);
		if (sequence >= this.next) this.next = sequence + 1;
		if (sequence < this.first) this.first = sequence;
	}

	/**
	 * The meter told what it holds.
	 * @param doubtful other signs say that its storage is not the one known
	 * @returns `probe` when its word contradicts rows that are here: then `probe` is set and the meter must be asked
	 */
	told(oldest: number, next: number, doubtful: boolean, utcSeconds: number): "agreed" | "probe" {
		if (!this.started) {
			this.start(oldest, next, utcSeconds);
			return "agreed";
		}
		if (next < this.next || doubtful) {
			if (this.present.count === 0) {
				this.gone = new Ranges();
				this.start(oldest, next, utcSeconds);
				return "agreed";
			}
			this.probe = {
				stage: 1,
				sequence: this.present.last(),
				helloOldest: oldest,
				helloNext: next,
				deferredNext: this.probe?.deferredNext ?? 0,
			};
			return "probe";
		}
		this.probe = undefined;
		this.next = next;
		this.#toldOldest(oldest);
		return "agreed";
	}

	#toldOldest(oldest: number): void {
		const from = Math.max(oldest, this.#floor());
		if (from < this.first) this.first = Math.max(from, this.first - SEQUENCE_LEAP_MAX);
		for (const range of this.missing()) {
			if (range.first >= oldest) break;
			this.gone.add(range.first, Math.min(range.next, oldest));
		}
	}

	/** The probe showed the same row: nothing was lost, an old hello came late. */
	probeAgreed(): void {
		const probe = this.probe;
		if (!probe) return;
		this.probe = undefined;
		this.next = Math.max(this.next, probe.helloNext, probe.deferredNext);
		this.#toldOldest(probe.helloOldest);
	}

	/** The row asked for is not there, or is another one. @returns what to do next */
	probeDenied(): "ask again" | { firstSequence: number; next: number; reason: SeriesReason } {
		const probe = this.probe!;
		const newest = probe.helloNext - 1;
		if (
			probe.stage === 1 &&
			probe.helloNext > probe.helloOldest &&
			newest < probe.sequence &&
			this.present.has(newest)
		) {
			probe.stage = 2;
			probe.sequence = newest;
			return "ask again";
		}
		return {
			firstSequence: probe.helloOldest,
			next: Math.max(probe.helloNext, probe.deferredNext),
			reason: "storage replaced",
		};
	}

	/**
	 * In stage 2: the newest row the meter still has is one of ours, so only the rows after it were lost. The new series
	 * starts at the first row that is not here, so that holes before the loss are still filled.
	 */
	probeTailLost(): { firstSequence: number; next: number; reason: SeriesReason } {
		const probe = this.probe!;
		return {
			firstSequence: Math.min(probe.helloNext, this.contiguousNext()),
			next: Math.max(probe.helloNext, probe.deferredNext),
			reason: "tail lost",
		};
	}

	/** Counts from here on as another storage; rows of the old one stay as they are. */
	startSeries(firstSequence: number, next: number, utcSeconds: number, reason: SeriesReason): void {
		this.probe = undefined;
		this.series++;
		this.present = new Ranges();
		this.gone = new Ranges();
		this.first = firstSequence;
		this.next = Math.max(firstSequence, next);
		this.starts.push({ series: this.series, firstSequence, utcSeconds, reason });
	}

	conflict(sequence: number): void {
		this.conflicts++;
		if (!this.conflictSequences.includes(sequence)) this.conflictSequences.push(sequence);
		if (this.conflictSequences.length > 100) this.conflictSequences.shift();
	}

	toRecord(): SequenceLogRecord {
		return { starts: this.starts, first: this.first, next: this.next, gone: this.gone.list() };
	}

	/** Takes up a stored record; rows are then added with `restored`. */
	fromRecord(record: SequenceLogRecord): void {
		this.starts = record.starts;
		this.series = record.starts[record.starts.length - 1]?.series ?? 0;
		this.first = record.first ?? Number.NaN; // JSON has no NaN
		this.next = record.next;
		for (const range of record.gone) this.gone.add(range.first, range.next);
	}
}
