import { randomInt } from "node:crypto";
import { Status, StatusCounters } from "../../src/bytes/status.js";
import { type Control, createControl, decodeControl, encodeControl } from "../../src/messages/control.js";
import { type Envelope, PlainEnvelope } from "../../src/messages/envelope.js";
import {
	createEventEntry,
	decodeEventEntry,
	decodeEventsHeader,
	EVENT_ENTRIES_MAX,
	EVENT_ENTRY_BYTES,
	EVENTS_HEADER_BYTES,
	type EventEntry,
} from "../../src/messages/events.js";
import { createHello, decodeHello, HELLO_BYTES, type Hello } from "../../src/messages/hello.js";
import { Kind, MESSAGE_BYTES_MAX, UTC_INVALID, utcField } from "../../src/messages/kinds.js";
import {
	createProfileRow,
	decodeProfileHeader,
	decodeProfileRow,
	PROFILE_HEADER_BYTES,
	PROFILE_ROW_BYTES,
	PROFILE_ROWS_MAX,
	type ProfileRow,
} from "../../src/messages/profile.js";
import { createReading, decodeReading, type Reading, ReadingFlag } from "../../src/messages/reading.js";
import { downTopic, TOPIC_ROOT } from "../../src/messages/topics.js";
import type { ServerClock } from "../clock.js";
import type {
	CaptureView,
	DiagnosticsView,
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
	SnapshotView,
	StatusView,
} from "./api.js";
import { SEQUENCE_LEAP_MAX, SequenceLog, type SequenceLogRecord } from "./sequence-log.js";
import { RecordKind, recordKey, type Store, type StoredRecord, StoreError, type Write } from "./store.js";
import {
	captureView,
	diagnosticsView,
	eventView,
	helloView,
	profileRowView,
	readingView,
	refusalsView,
	snapshotView,
	utcView,
} from "./views.js";

/** The way to the broker. `publish` is never called while it is down. */
export interface HeadEndLink {
	readonly connected: boolean;
	readonly url: string;
	readonly sinceUtcSeconds: number;
	readonly connects: number;
	readonly lastError: string | null;
	publish(topic: string, payload: Uint8Array): void;
}

export interface HeadEndOptions {
	readonly clock: ServerClock;
	readonly store: Store;
	readonly log: (line: string) => void;
	/** Only these meters are enrolled; absent: every meter that speaks. */
	readonly allow?: readonly string[] | undefined;
	/** The channel of one meter. */
	readonly envelopeFor?: ((identifier: string) => Envelope) | undefined;
}

/** What changed, for live views. */
export type Change = "meter" | "reading" | "profile" | "events";

/** Settings that bound what one meter, or all, may cost. */
export const LIMITS = Object.freeze({
	metersMax: 10_000,
	/** Rows or events asked for at once: 5 messages of rows. */
	profileRowsPerRequest: 100,
	eventsPerRequest: 240,
	/** Requests under way over all meters. */
	outstandingMax: 100,
	/** Requests a second over all meters, and how many may be saved up. */
	requestsPerSecond: 50,
	requestBurst: 100,
	answerSeconds: 30,
	askSeconds: 10,
	backOffFirstSeconds: 5,
	backOffMaxSeconds: 300,
	readingsKept: 1080,
	historyPoints: 360,
	conflictsKept: 200,
	clockCheckSeconds: 900,
	clockOffsetMaxSeconds: 3,
	housekeepingSeconds: 30,
});

/** A question for rows that perhaps do not exist is not repeated for ever. */
const PEEK_ATTEMPTS_MAX = 5;

type LogName = "profile" | "events";

/** Why a request of the interface got no answer. */
export class AskError extends Error {
	override name = "AskError";
	readonly reason: "unknown" | "offline" | "timedOut" | "refused";

	constructor(reason: AskError["reason"], message: string) {
		super(message);
		this.reason = reason;
	}
}

interface Outstanding {
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

interface Fetch {
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

interface Ask {
	readonly promise: Promise<unknown>;
	readonly resolve: (value: unknown) => void;
	readonly reject: (error: AskError) => void;
	cancelTimer: () => void;
}

interface OffsetSample {
	low: number;
	high: number;
}

interface MeterRecord {
	enrolledUtcSeconds: number;
	hello: string | null;
	helloReceivedUtcSeconds: number;
	profile: SequenceLogRecord;
	events: SequenceLogRecord;
}

/** Four registers of a row or reading, in the order of the wire. */
function registersOf(row: ProfileRow | Reading): [number, number, number, number] {
	return [row.activeEnergyImport, row.activeEnergyExport, row.reactiveEnergyImport, row.reactiveEnergyExport];
}

function decreases(earlier: ProfileRow | Reading, later: ProfileRow | Reading): boolean {
	return (
		later.activeEnergyImport < earlier.activeEnergyImport ||
		later.activeEnergyExport < earlier.activeEnergyExport ||
		later.reactiveEnergyImport < earlier.reactiveEnergyImport ||
		later.reactiveEnergyExport < earlier.reactiveEnergyExport
	);
}

/** Stored rows are framed here to be read by the codec of the wire. */
const rowFrame = new Uint8Array(PROFILE_HEADER_BYTES + PROFILE_ROW_BYTES);
const rowFrameView = new DataView(rowFrame.buffer);

/** Reads one stored row; `raw` is the 44 bytes of the wire. */
function parseRow(raw: Buffer): ProfileRow {
	rowFrame.set(raw, PROFILE_HEADER_BYTES);
	const row = createProfileRow();
	decodeProfileRow(rowFrameView, 0, row);
	return row;
}

function parseEvent(raw: Buffer): EventEntry {
	const framed = new DataView(new ArrayBuffer(EVENTS_HEADER_BYTES + EVENT_ENTRY_BYTES));
	new Uint8Array(framed.buffer).set(raw, EVENTS_HEADER_BYTES);
	const entry = createEventEntry();
	decodeEventEntry(framed, 0, entry);
	return entry;
}

/** Received 8, then the bytes of the wire. */
function stamped(receivedUtcSeconds: number, raw: Uint8Array): Buffer {
	const value = Buffer.alloc(8 + raw.length);
	value.writeDoubleBE(receivedUtcSeconds);
	value.set(raw, 8);
	return value;
}

const RECORD_OF = { profile: RecordKind.profile, events: RecordKind.event } as const;
const CONFLICT_OF = { profile: RecordKind.profileConflict, events: RecordKind.eventConflict } as const;

/** All that the head end knows of one meter. */
class MeterState {
	readonly id: string;
	readonly envelope: Envelope;
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

	constructor(id: string, envelope: Envelope, enrolledUtcSeconds: number) {
		this.id = id;
		this.envelope = envelope;
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

/**
 * Collects from meters: enrols them, stores what they send, finds gaps by sequence and asks until none is left, and
 * keeps their clocks in step. Bytes from a meter never make it throw; a failing store does (`StoreError`), and then
 * the caller stops receiving until `reload`.
 */
export class HeadEnd {
	readonly #clock: ServerClock;
	readonly #store: Store;
	readonly #log: (line: string) => void;
	readonly #allow: ReadonlySet<string> | undefined;
	readonly #envelopeFor: (identifier: string) => Envelope;
	#link: HeadEndLink | undefined;
	readonly #meters = new Map<string, MeterState>();
	/** Fetches that may be sent, in the order in which they came: fair between meters. */
	readonly #ready = new Set<Fetch>();
	readonly #readyOwner = new Map<Fetch, { meter: MeterState; name: LogName }>();
	#outstanding = 0;
	#tokens: number = LIMITS.requestBurst;
	#tokensAtSeconds: number;
	#cancelPump: (() => void) | undefined;
	#linkUpUtcSeconds = Number.NEGATIVE_INFINITY;
	/** Time messages that wait for the end of a step, so that they carry its time. */
	#timeAnswers: { meter: MeterState; requestId: number }[] = [];
	#openSamples: { meter: MeterState; stamp: number; at: number }[] = [];
	#closed = false;

	readonly refusals = new StatusCounters();
	readonly messages = { received: 0, stored: 0, sent: 0, duplicates: 0, notEnrolled: 0 };
	/** Called after every change; must not throw. */
	onChange: (id: string, change: Change) => void = () => {};

	readonly #opened = new Uint8Array(MESSAGE_BYTES_MAX);
	readonly #openedView = new DataView(this.#opened.buffer);
	readonly #outgoing = new Uint8Array(64);
	readonly #outgoingView = new DataView(this.#outgoing.buffer);
	readonly #sealed = new Uint8Array(512);
	readonly #control: Control = createControl();

	constructor(options: HeadEndOptions) {
		this.#clock = options.clock;
		this.#store = options.store;
		this.#log = options.log;
		this.#allow = options.allow ? new Set(options.allow) : undefined;
		this.#envelopeFor = options.envelopeFor ?? (() => new PlainEnvelope());
		this.#tokensAtSeconds = this.#clock.utcSeconds();
	}

	/** Rebuilds every position from the store and starts the schedules. @throws StoreError */
	async start(): Promise<void> {
		await this.#load();
		this.#every(LIMITS.housekeepingSeconds, () => this.#housekeep());
		this.#every(LIMITS.clockCheckSeconds, () => this.#checkClocks());
	}

	#every(seconds: number, action: () => void): void {
		const again = (): void => {
			if (this.#closed) return;
			action();
			this.#clock.after(seconds, again);
		};
		this.#clock.after(seconds, again);
	}

	setLink(link: HeadEndLink): void {
		this.#link = link;
	}

	close(): void {
		this.#closed = true;
		for (const meter of this.#meters.values()) this.#cancelAll(meter, "the head end stops");
	}

	/** After the store failed and was opened again. @throws StoreError */
	async reload(): Promise<void> {
		for (const meter of this.#meters.values()) this.#cancelAll(meter, "the store was opened again");
		this.#meters.clear();
		this.#ready.clear();
		this.#readyOwner.clear();
		this.#outstanding = 0;
		await this.#load();
	}

	async #load(): Promise<void> {
		let meter: MeterState | undefined;
		let previous: { series: number; row: ProfileRow } | undefined;
		let readings: { counter: number; receivedUtcSeconds: number; raw: Buffer }[] = [];
		const finish = (): void => {
			if (meter) this.#restoreReadings(meter, readings);
			readings = [];
			previous = undefined;
		};
		for await (const record of this.#store.records()) {
			if (record.kind === RecordKind.meter) {
				finish();
				meter = this.#restoreMeter(record);
				continue;
			}
			if (!meter || meter.id !== record.identifier) {
				// rows whose meter record was lost in a repair: the record is rebuilt from them
				finish();
				meter = new MeterState(record.identifier, this.#envelopeFor(record.identifier), this.#clock.utcSeconds());
				this.#meters.set(meter.id, meter);
			}
			switch (record.kind) {
				case RecordKind.profile: {
					const row = parseRow(record.value.subarray(8));
					if (previous?.series === record.series) this.#countPair(meter, record.series, previous.row, row);
					if (this.#restoreSequence(meter.profile, record)) meter.newestRow = row;
					previous = { series: record.series, row };
					break;
				}
				case RecordKind.event: {
					this.#restoreSequence(meter.events, record);
					this.#rememberEvent(
						meter,
						eventView(record.series, parseEvent(record.value.subarray(8)), record.value.readDoubleBE()),
					);
					break;
				}
				case RecordKind.profileConflict:
				case RecordKind.eventConflict:
					meter.log(record.kind === RecordKind.profileConflict ? "profile" : "events").conflict(record.sequence);
					meter.storedConflicts++;
					break;
				case RecordKind.reading:
					readings.push({
						counter: record.value.readUIntBE(0, 6),
						receivedUtcSeconds: record.value.readDoubleBE(6),
						raw: Buffer.from(record.value.subarray(14)),
					});
					break;
				default:
					break; // a later kind of the same format
			}
		}
		finish();
	}

	#restoreMeter(record: StoredRecord): MeterState {
		const stored = JSON.parse(record.value.toString()) as MeterRecord;
		const meter = new MeterState(record.identifier, this.#envelopeFor(record.identifier), stored.enrolledUtcSeconds);
		if (stored.hello) {
			const raw = Buffer.from(stored.hello, "hex");
			const hello = createHello();
			if (decodeHello(new DataView(raw.buffer, raw.byteOffset, raw.length), raw.length, hello) === Status.ok) {
				meter.hello = hello;
				meter.helloRaw = raw;
				meter.helloReceivedUtcSeconds = stored.helloReceivedUtcSeconds;
			}
		}
		meter.profile.fromRecord(stored.profile);
		meter.events.fromRecord(stored.events);
		this.#meters.set(meter.id, meter);
		return meter;
	}

	/** @returns whether the record belongs to the series in force */
	#restoreSequence(log: SequenceLog, record: StoredRecord): boolean {
		if (record.series > log.series)
			// its start was lost in a repair
			log.startSeries(record.sequence, record.sequence, this.#clock.utcSeconds(), "storage replaced");
		if (record.series < log.series) return false;
		log.stored(record.sequence, this.#clock.utcSeconds());
		return true;
	}

	#restoreReadings(meter: MeterState, readings: { counter: number; receivedUtcSeconds: number; raw: Buffer }[]): void {
		readings.sort((a, b) => a.counter - b.counter);
		for (const { counter, receivedUtcSeconds, raw } of readings) {
			const reading = createReading();
			if (decodeReading(new DataView(raw.buffer, raw.byteOffset, raw.length), raw.length, reading) !== Status.ok)
				continue;
			const view = readingView(reading, receivedUtcSeconds);
			meter.readingCounter = counter + 1;
			meter.lastReading = reading;
			meter.lastReadingView = view;
			meter.lastSeenUtcSeconds = receivedUtcSeconds;
			meter.remember(receivedUtcSeconds, view.powerMilliwatts);
		}
	}

	#record(meter: MeterState): Write {
		const record: MeterRecord = {
			enrolledUtcSeconds: meter.enrolledUtcSeconds,
			hello: meter.helloRaw?.toString("hex") ?? null,
			helloReceivedUtcSeconds: meter.helloReceivedUtcSeconds,
			profile: meter.profile.toRecord(),
			events: meter.events.toRecord(),
		};
		return { key: recordKey(meter.id, RecordKind.meter, 0, 0), value: Buffer.from(JSON.stringify(record)) };
	}

	// --- what comes in ---

	/**
	 * One MQTT message. When the promise resolves, everything in it that must last is on the disk, and the message may
	 * be acknowledged. Calls must follow each other, never overlap.
	 * @throws StoreError only
	 */
	async receive(topic: string, payload: Uint8Array): Promise<void> {
		const match = /^([0-9a-f]{16})\/(up|online)$/.exec(topic.slice(TOPIC_ROOT.length + 1));
		if (!topic.startsWith(`${TOPIC_ROOT}/`) || !match) {
			this.messages.received++;
			this.refusals.count(Status.badValue);
			return;
		}
		const id = match[1]!;
		if (match[2] === "online") {
			const meter = this.#meters.get(id);
			if (!meter) return;
			meter.onlineFlag = payload.length === 1 && payload[0] === 0x31;
			if (meter.onlineFlag) this.#enqueueAll(meter);
			this.onChange(id, "meter");
			return;
		}
		this.messages.received++;
		const known = this.#meters.get(id);
		if (!known && this.#allow && !this.#allow.has(id)) {
			this.messages.notEnrolled++;
			return;
		}
		const meter = known ?? new MeterState(id, this.#envelopeFor(id), this.#clock.utcSeconds());
		const status = await this.#receiveSealed(meter, payload, known !== undefined);
		if (status !== Status.ok) {
			this.refusals.count(status);
			meter.refusals.count(status);
			if (known) this.onChange(id, "meter");
			return;
		}
		this.messages.stored++;
	}

	async #receiveSealed(meter: MeterState, payload: Uint8Array, enrolled: boolean): Promise<Status> {
		if (payload.length > MESSAGE_BYTES_MAX + meter.envelope.overheadBytesMax) return Status.badLength;
		const opened = meter.envelope.open(payload, payload.length, this.#opened);
		if (opened !== Status.ok) return opened;
		const byteLength = meter.envelope.openedByteLength;
		const kind = this.#opened[0]!;
		if (!enrolled) {
			// Only what tells of a meter enrols one. A hello is best, since it tells all positions; a meter that was
			// connected before this head end first started sends it at its next connection only.
			if (kind !== Kind.hello && kind !== Kind.reading && kind !== Kind.profile && kind !== Kind.events)
				return Status.notFound;
			if (this.#meters.size >= LIMITS.metersMax) return Status.storageFull;
		}
		let status: Status;
		switch (kind) {
			case Kind.hello:
				status = await this.#onHello(meter, byteLength);
				break;
			case Kind.reading:
				status = await this.#onReading(meter, byteLength);
				break;
			case Kind.profile:
				status = await this.#onRows(meter, "profile", byteLength);
				break;
			case Kind.events:
				status = await this.#onRows(meter, "events", byteLength);
				break;
			case Kind.acknowledge:
			case Kind.timeRequest:
				status = await this.#onControl(meter, byteLength);
				break;
			case Kind.capture:
			case Kind.snapshot:
			case Kind.diagnostics:
				status = this.#onAnswer(meter, kind, byteLength);
				break;
			default:
				return Status.badKind;
		}
		if (status !== Status.ok) return status;
		meter.lastSeenUtcSeconds = this.#clock.utcSeconds();
		if (meter.onlineFlag === false && kind !== Kind.acknowledge) meter.onlineFlag = true; // a late will of an old connection
		if (kind === Kind.hello) meter.onlineFlag = true;
		this.#enqueueAll(meter);
		return Status.ok;
	}

	/** After the first message that held: the meter counts from here on. */
	#enrol(meter: MeterState): void {
		if (this.#meters.has(meter.id)) return;
		this.#meters.set(meter.id, meter);
		this.#log(`meter ${meter.id} enrolled`);
	}

	async #onHello(meter: MeterState, byteLength: number): Promise<Status> {
		const hello = createHello();
		const status = decodeHello(this.#openedView, byteLength, hello);
		if (status !== Status.ok) return status;
		for (const [oldest, next] of [
			[hello.profileOldest, hello.profileNext],
			[hello.eventOldest, hello.eventNext],
		] as const)
			if (next < oldest || next - oldest > SEQUENCE_LEAP_MAX) return Status.badValue;
		const now = this.#clock.utcSeconds();
		this.#enrol(meter);
		// A boot count that goes back is a meter with other storage, or an old hello that comes late: the probe tells.
		const doubtful = meter.hello !== undefined && hello.bootCount < meter.hello.bootCount;
		meter.hello = hello;
		meter.helloRaw = Buffer.from(this.#opened.subarray(0, HELLO_BYTES));
		meter.helloReceivedUtcSeconds = now;
		for (const name of ["profile", "events"] as const) {
			const log = meter.log(name);
			const outcome = log.told(
				name === "profile" ? hello.profileOldest : hello.eventOldest,
				name === "profile" ? hello.profileNext : hello.eventNext,
				doubtful,
				now,
			);
			const fetch = meter.fetch[name];
			if (fetch.active) this.#finish(meter, fetch.active);
			this.#resetBackOff(fetch);
			if (outcome === "probe")
				this.#log(
					`meter ${meter.id}: its ${name} went back to ${hello.profileNext}, asking whether its storage is new`,
				);
		}
		await this.#store.write([this.#record(meter)], true);
		this.onChange(meter.id, "meter");
		return Status.ok;
	}

	async #onReading(meter: MeterState, byteLength: number): Promise<Status> {
		const reading = createReading();
		const status = decodeReading(this.#openedView, byteLength, reading);
		if (status !== Status.ok) return status;
		const now = this.#clock.utcSeconds();
		const isNew = !this.#meters.has(meter.id);
		this.#enrol(meter);
		const last = meter.lastReading;
		if (last) {
			const sameBoot = reading.bootCount === last.bootCount;
			const older = sameBoot
				? reading.readingIndex <= last.readingIndex
				: reading.bootCount < last.bootCount && meter.hello?.bootCount !== reading.bootCount;
			if (older) {
				meter.duplicateReadings++;
				this.messages.duplicates++;
				return Status.ok;
			}
			if (decreases(last, reading)) {
				if (sameBoot) meter.readingViolations++;
				else meter.readingViolationsAfterRestart++;
			}
			const elapsed = now - (meter.lastReadingView?.receivedUtcSeconds ?? now);
			if (elapsed > 0 && elapsed < 3600)
				meter.readingPeriodSeconds +=
					(elapsed - meter.readingPeriodSeconds) * (elapsed > meter.readingPeriodSeconds ? 0.3 : 0.1);
		}
		const raw = this.#opened.slice(0, byteLength);
		const value = Buffer.alloc(14 + byteLength);
		value.writeUIntBE(meter.readingCounter, 0, 6);
		value.writeDoubleBE(now, 6);
		value.set(raw, 14);
		const write = {
			key: recordKey(meter.id, RecordKind.reading, 0, meter.readingCounter % LIMITS.readingsKept),
			value,
		};
		await this.#store.write(isNew ? [this.#record(meter), write] : [write], isNew);
		meter.readingCounter++;
		meter.lastReading = reading;
		meter.lastReadingView = readingView(reading, now);
		meter.remember(now, meter.lastReadingView.powerMilliwatts);
		if (reading.utcSeconds !== UTC_INVALID && (reading.flags & ReadingFlag.clockInvalid) === 0) {
			if (this.#clock.stepped) this.#openSamples.push({ meter, stamp: reading.utcSeconds, at: now });
			else this.#addOffset(meter, reading.utcSeconds, now, now);
		}
		this.onChange(meter.id, "reading");
		return Status.ok;
	}

	/** The reading was stamped with whole seconds somewhere between `from` and `to` on our clock. */
	#addOffset(meter: MeterState, stamp: number, from: number, to: number): void {
		meter.offsets.push({ low: stamp - to, high: stamp + 1 - from });
		if (meter.offsets.length > 30) meter.offsets.shift();
	}

	/** Profile rows or events: both are logs by sequence, and are checked, compared and stored alike. */
	async #onRows(meter: MeterState, name: LogName, byteLength: number): Promise<Status> {
		const header = { requestId: 0, rowCount: 0, entryCount: 0 };
		const status =
			name === "profile"
				? decodeProfileHeader(this.#openedView, byteLength, header)
				: decodeEventsHeader(this.#openedView, byteLength, header);
		if (status !== Status.ok) return status;
		const count = name === "profile" ? header.rowCount : header.entryCount;
		const rowBytes = name === "profile" ? PROFILE_ROW_BYTES : EVENT_ENTRY_BYTES;
		const headerBytes = name === "profile" ? PROFILE_HEADER_BYTES : EVENTS_HEADER_BYTES;
		const log = meter.log(name);
		const now = this.#clock.utcSeconds();
		const request = meter.outstanding.get(header.requestId);
		const asked = request && request.log === name ? request : undefined;

		let refused: Status = Status.ok;
		const writes: Write[] = [];
		const fresh = new Map<number, { raw: Buffer; row: ProfileRow | undefined; event: EventEntry | undefined }>();
		for (let index = 0; index < count; index++) {
			let sequence: number;
			let row: ProfileRow | undefined;
			let event: EventEntry | undefined;
			if (name === "profile") {
				row = createProfileRow();
				const rowStatus = decodeProfileRow(this.#openedView, index, row);
				if (rowStatus !== Status.ok) {
					refused = rowStatus;
					continue;
				}
				sequence = row.sequence;
			} else {
				event = createEventEntry();
				decodeEventEntry(this.#openedView, index, event);
				sequence = event.sequence;
			}
			const raw = Buffer.from(
				this.#opened.subarray(headerBytes + index * rowBytes, headerBytes + (index + 1) * rowBytes),
			);
			if (log.probe) {
				if (asked?.purpose === "probe" && sequence === log.probe.sequence) {
					const stored = this.#store.get(recordKey(meter.id, RECORD_OF[name], log.series, sequence));
					asked.probeSame = stored?.subarray(8).equals(raw) ?? false;
				} else log.probe.deferredNext = Math.max(log.probe.deferredNext, sequence + 1);
				continue;
			}
			const kind = fresh.has(sequence) ? "present" : log.classify(sequence);
			if (kind === "outside") {
				refused = Status.outOfOrder;
				continue;
			}
			if (kind === "new") {
				fresh.set(sequence, { raw, row, event });
				writes.push({ key: recordKey(meter.id, RECORD_OF[name], log.series, sequence), value: stamped(now, raw) });
				continue;
			}
			const series = kind === "older" ? log.series - 1 : log.series;
			const storedRaw =
				fresh.get(sequence)?.raw ??
				this.#store.get(recordKey(meter.id, RECORD_OF[name], series, sequence))?.subarray(8);
			if (storedRaw?.equals(raw)) {
				log.duplicates++;
				this.messages.duplicates++;
			} else {
				const write = this.#conflictWrite(meter, name, sequence, raw, now);
				log.conflict(sequence);
				if (write) {
					writes.push(write);
					this.#log(`meter ${meter.id}: ${name} ${sequence} came again with other content, both are kept`);
				}
			}
		}
		if (asked) this.#progressed(meter, asked);
		const isNew = !this.#meters.has(meter.id);
		if (isNew && fresh.size === 0) return refused === Status.ok ? Status.notFound : refused;
		this.#enrol(meter);
		if (isNew) for (const sequence of fresh.keys()) log.stored(sequence, now);
		if (writes.length > 0 || isNew) {
			if (isNew) writes.push(this.#record(meter));
			await this.#store.write(writes, true);
			for (const [sequence, { row, event }] of fresh) {
				log.stored(sequence, now);
				if (row) this.#countRow(meter, row);
				if (event) this.#rememberEvent(meter, eventView(log.series, event, now));
			}
			if (asked) asked.progress += fresh.size;
			this.onChange(meter.id, name);
		}
		if (refused !== Status.ok) {
			this.refusals.count(refused);
			meter.refusals.count(refused);
		}
		return Status.ok;
	}

	/** Where a row goes that differs from the stored one, undefined when the same is kept already or too many are. */
	#conflictWrite(meter: MeterState, name: LogName, sequence: number, raw: Buffer, now: number): Write | undefined {
		if (meter.storedConflicts >= LIMITS.conflictsKept) return undefined;
		for (let ordinal = 0; ordinal < 16; ordinal++) {
			const key = recordKey(meter.id, CONFLICT_OF[name], meter.log(name).series, sequence, ordinal);
			const stored = this.#store.get(key);
			if (stored === undefined) {
				meter.storedConflicts++;
				return { key, value: stamped(now, raw) };
			}
			if (stored.subarray(8).equals(raw)) return undefined;
		}
		return undefined;
	}

	#storedRow(meter: MeterState, sequence: number): ProfileRow | undefined {
		if (meter.newestRow?.sequence === sequence) return meter.newestRow;
		const stored = this.#store.get(recordKey(meter.id, RecordKind.profile, meter.profile.series, sequence));
		return stored === undefined ? undefined : parseRow(stored.subarray(8));
	}

	/** Sums and checks for a row that is now stored. */
	#countRow(meter: MeterState, row: ProfileRow): void {
		const below = meter.profile.present.below(row.sequence);
		const above = meter.profile.present.above(row.sequence);
		const earlier = Number.isNaN(below) ? undefined : this.#storedRow(meter, below);
		const later = Number.isNaN(above) ? undefined : this.#storedRow(meter, above);
		if (earlier) this.#countPair(meter, meter.profile.series, earlier, row);
		if (later) this.#countPair(meter, meter.profile.series, row, later);
		if (!meter.newestRow || row.sequence > meter.newestRow.sequence) meter.newestRow = row;
	}

	/** Two rows with none stored between them. */
	#countPair(meter: MeterState, series: number, earlier: ProfileRow, later: ProfileRow): void {
		const violation = series * 0x1_0000_0000 + later.sequence;
		if (decreases(earlier, later)) meter.profileViolations.add(violation);
		else meter.profileViolations.delete(violation);
		if (later.sequence !== earlier.sequence + 1 || series !== meter.profile.series) return;
		const before = registersOf(earlier);
		const after = registersOf(later);
		for (let register = 0; register < 4; register++)
			meter.increments[register]! += after[register]! - before[register]!;
	}

	#rememberEvent(meter: MeterState, event: EventView): void {
		const events = meter.recentEvents;
		let at = events.length;
		while (
			at > 0 &&
			(events[at - 1]!.series > event.series ||
				(events[at - 1]!.series === event.series && events[at - 1]!.sequence > event.sequence))
		)
			at--;
		events.splice(at, 0, event);
		if (events.length > 50) events.shift();
	}

	async #onControl(meter: MeterState, byteLength: number): Promise<Status> {
		const control = createControl();
		const status = decodeControl(this.#openedView, byteLength, control);
		if (status !== Status.ok) return status;
		if (control.kind === Kind.timeRequest) {
			const now = this.#clock.utcSeconds();
			if (!this.#clock.stepped && now - meter.lastTimeAnswerUtcSeconds < 1) return Status.busy; // floods get one answer a second
			meter.lastTimeAnswerUtcSeconds = now;
			this.#sendTime(meter, control.requestId);
			return Status.ok;
		}
		const request = meter.outstanding.get(control.requestId);
		if (!request || request.kind !== control.first) return Status.ok; // of a request given up meanwhile
		await this.#acknowledged(meter, request, control.second);
		return Status.ok;
	}

	async #acknowledged(meter: MeterState, request: Outstanding, status: number): Promise<void> {
		this.#finish(meter, request);
		if (request.purpose === "ask") {
			const ask = meter.asks.get(request.kind);
			if (!ask) return;
			if (status === Status.ok && request.kind !== Kind.configure) return; // the answer itself decides
			meter.asks.delete(request.kind);
			ask.cancelTimer();
			if (status === Status.ok) ask.resolve({ ok: true });
			else ask.reject(new AskError("refused", `meter ${meter.id} answered with status ${status}`));
			return;
		}
		const name = request.log!;
		const fetch = meter.fetch[name];
		const log = meter.log(name);
		if (request.purpose === "probe") {
			await this.#probeAnswered(meter, name, request, status);
			return;
		}
		if (request.purpose === "peek" || (request.purpose === "back" && status === Status.notFound)) {
			if (request.purpose === "back") fetch.backDone = true;
			this.#resetBackOff(fetch);
			this.#enqueue(meter, name);
			return;
		}
		if (status === Status.ok && request.progress > 0) {
			this.#resetBackOff(fetch);
			fetch.deniedFirst = Number.NaN;
		} else if (status === Status.notFound && request.purpose === "fetch") {
			fetch.deniedTimes = fetch.deniedFirst === request.first ? fetch.deniedTimes + 1 : 1;
			fetch.deniedFirst = request.first;
			if (fetch.deniedTimes >= 2) {
				// said twice: the rows are not on the meter, the hole stays and is told as such
				for (const range of log.missing()) {
					const first = Math.max(range.first, request.first);
					const next = Math.min(range.next, request.first + request.count);
					if (first < next) log.gone.add(first, next);
				}
				fetch.deniedFirst = Number.NaN;
				this.#resetBackOff(fetch);
				this.#log(
					`meter ${meter.id}: ${name} ${request.first} to ${request.first + request.count - 1} are not on the meter`,
				);
				await this.#store.write([this.#record(meter)], true);
				this.onChange(meter.id, name);
			} else this.#backOff(meter, name);
		} else this.#backOff(meter, name);
		this.#enqueue(meter, name);
	}

	async #probeAnswered(meter: MeterState, name: LogName, request: Outstanding, status: number): Promise<void> {
		const log = meter.log(name);
		const probe = log.probe;
		if (!probe || probe.sequence !== request.first) return;
		if (status !== Status.ok && status !== Status.notFound) {
			this.#backOff(meter, name);
			this.#enqueue(meter, name);
			return;
		}
		if (status === Status.ok && request.probeSame === undefined) {
			// "ok" without the row: it was lost on the way
			this.#backOff(meter, name);
			this.#enqueue(meter, name);
			return;
		}
		const same = request.probeSame === true;
		if (same && probe.stage === 1) log.probeAgreed();
		else {
			const next = same ? log.probeTailLost() : log.probeDenied();
			if (next !== "ask again") {
				log.startSeries(next.firstSequence, next.next, this.#clock.utcSeconds(), next.reason);
				if (name === "profile") {
					meter.newestRow = undefined;
					meter.increments = [0, 0, 0, 0];
				}
				this.#log(`meter ${meter.id}: ${name} continues as series ${log.series} (${next.reason})`);
			}
		}
		this.#resetBackOff(meter.fetch[name]);
		await this.#store.write([this.#record(meter)], true);
		this.onChange(meter.id, name);
		this.#enqueue(meter, name);
	}

	#onAnswer(meter: MeterState, kind: number, byteLength: number): Status {
		if (byteLength < 4) return Status.badLength;
		const requestId = this.#openedView.getUint16(2);
		const now = this.#clock.utcSeconds();
		let answer: CaptureView | SnapshotView | DiagnosticsView | Status;
		let requestKind: number;
		if (kind === Kind.capture) {
			answer = captureView(this.#openedView, byteLength);
			requestKind = Kind.captureRequest;
		} else if (kind === Kind.snapshot) {
			answer = snapshotView(this.#openedView, byteLength);
			requestKind = Kind.snapshotRequest;
		} else {
			answer = diagnosticsView(this.#openedView, byteLength, now);
			requestKind = Kind.diagnosticsRequest;
		}
		if (typeof answer === "number") return answer;
		if (kind === Kind.snapshot) meter.lastSnapshot = answer as SnapshotView;
		if (kind === Kind.diagnostics) meter.lastDiagnostics = answer as DiagnosticsView;
		const request = meter.outstanding.get(requestId);
		const ask = meter.asks.get(requestKind);
		if (!ask || request?.kind !== requestKind) return Status.ok; // nobody waits any more
		this.#finish(meter, request);
		meter.asks.delete(requestKind);
		ask.cancelTimer();
		ask.resolve(answer);
		return Status.ok;
	}

	// --- what goes out ---

	#send(meter: MeterState, kind: number, requestId: number, first: number, second: number): boolean {
		if (!this.#link?.connected) return false;
		const control = this.#control;
		control.kind = kind;
		control.requestId = requestId;
		control.first = first;
		control.second = second;
		const byteLength = encodeControl(control, this.#outgoingView);
		const sealedLength = meter.envelope.seal(this.#outgoing, byteLength, this.#sealed);
		if (sealedLength === 0) return false;
		this.messages.sent++;
		this.#link.publish(downTopic(meter.id), this.#sealed.slice(0, sealedLength));
		return true;
	}

	#sendTime(meter: MeterState, requestId: number): void {
		if (this.#clock.stepped) {
			this.#timeAnswers.push({ meter, requestId });
			return;
		}
		this.#sendTimeNow(meter, requestId);
	}

	#sendTimeNow(meter: MeterState, requestId: number): void {
		const now = this.#clock.utcSeconds();
		const whole = Math.floor(now);
		this.#send(meter, Kind.time, requestId, utcField(whole), Math.floor((now - whole) * 1000));
		meter.offsets = [];
	}

	#online(meter: MeterState): boolean {
		return meter.onlineFlag !== false;
	}

	/** What to ask next of one log, undefined when there is nothing. */
	#wanted(meter: MeterState, name: LogName): Pick<Outstanding, "purpose" | "first" | "count"> | undefined {
		const log = meter.log(name);
		if (log.probe) return { purpose: "probe", first: log.probe.sequence, count: 1 };
		const range = log.missing(1)[0];
		if (range) {
			const most = name === "profile" ? LIMITS.profileRowsPerRequest : LIMITS.eventsPerRequest;
			return { purpose: "fetch", first: range.first, count: Math.min(most, range.next - range.first) };
		}
		if (!meter.hello && log.started && log.first > 0 && log.series === 0 && !meter.fetch[name].backDone) {
			const first = Math.max(0, log.first - LIMITS.profileRowsPerRequest);
			return { purpose: "back", first, count: log.first - first };
		}
		if (meter.fetch[name].peek)
			return {
				purpose: "peek",
				first: log.next,
				count: name === "profile" ? PROFILE_ROWS_MAX : EVENT_ENTRIES_MAX,
			};
		return undefined;
	}

	#enqueueAll(meter: MeterState): void {
		this.#enqueue(meter, "profile");
		this.#enqueue(meter, "events");
	}

	#enqueue(meter: MeterState, name: LogName): void {
		const fetch = meter.fetch[name];
		if (this.#closed || fetch.active || this.#ready.has(fetch) || !this.#online(meter)) return;
		if (!this.#meters.has(meter.id) || this.#clock.utcSeconds() < fetch.notBeforeSeconds) return;
		if (!this.#wanted(meter, name)) return;
		this.#ready.add(fetch);
		this.#readyOwner.set(fetch, { meter, name });
		this.#pump();
	}

	/** Sends what may be sent: one request for each waiting log in turn, within the limits over all meters. */
	#pump(): void {
		if (!this.#link?.connected || this.#closed) return;
		const now = this.#clock.utcSeconds();
		const elapsed = Math.max(0, now - this.#tokensAtSeconds);
		this.#tokens = Math.min(LIMITS.requestBurst, this.#tokens + elapsed * LIMITS.requestsPerSecond);
		this.#tokensAtSeconds = now;
		for (const fetch of this.#ready) {
			if (this.#outstanding >= LIMITS.outstandingMax) return; // the next answer pumps again
			if (this.#tokens < 1) {
				this.#cancelPump ??= this.#clock.after(1.01 / LIMITS.requestsPerSecond, () => {
					this.#cancelPump = undefined;
					this.#pump();
				});
				return;
			}
			this.#ready.delete(fetch);
			const { meter, name } = this.#readyOwner.get(fetch)!;
			this.#readyOwner.delete(fetch);
			const wanted = this.#wanted(meter, name);
			if (!wanted || fetch.active) continue;
			this.#tokens--;
			if (wanted.purpose === "peek") fetch.peek = false;
			const kind = name === "profile" ? Kind.profileRequest : Kind.eventsRequest;
			fetch.active = this.#request(meter, kind, name, wanted, fetch.attempt);
			if (!fetch.active) this.#backOff(meter, name);
		}
	}

	#request(
		meter: MeterState,
		kind: number,
		log: LogName | undefined,
		wanted: Pick<Outstanding, "purpose" | "first" | "count">,
		attempt: number,
	): Outstanding | undefined {
		const requestId = meter.nextRequestId();
		if (!this.#send(meter, kind, requestId, wanted.first, wanted.count)) return undefined;
		const request: Outstanding = {
			...wanted,
			requestId,
			kind,
			log,
			sentUtcSeconds: this.#clock.utcSeconds(),
			attempt,
			progress: 0,
			probeSame: undefined,
			cancelTimer: () => {},
		};
		meter.outstanding.set(requestId, request);
		this.#outstanding++;
		this.#progressed(meter, request);
		return request;
	}

	/** Gives a request its time anew: something of the answer came. */
	#progressed(meter: MeterState, request: Outstanding): void {
		if (!meter.outstanding.has(request.requestId)) return;
		request.cancelTimer();
		const seconds = request.purpose === "ask" ? LIMITS.askSeconds : LIMITS.answerSeconds;
		request.cancelTimer = this.#clock.after(seconds, () => {
			this.#finish(meter, request);
			if (request.log) {
				if (request.progress > 0) this.#resetBackOff(meter.fetch[request.log]);
				else this.#backOff(meter, request.log);
				if (request.purpose === "peek" && request.attempt < PEEK_ATTEMPTS_MAX) meter.fetch[request.log].peek = true;
				this.#enqueue(meter, request.log);
			}
		});
	}

	#finish(meter: MeterState, request: Outstanding): void {
		request.cancelTimer();
		if (!meter.outstanding.delete(request.requestId)) return;
		this.#outstanding--;
		if (request.log && meter.fetch[request.log].active === request) meter.fetch[request.log].active = undefined;
		this.#pump();
	}

	#resetBackOff(fetch: Fetch): void {
		fetch.attempt = 0;
		fetch.notBeforeSeconds = Number.NEGATIVE_INFINITY;
		fetch.cancelTimer?.();
		fetch.cancelTimer = undefined;
	}

	/** Waits longer after each failure; the jitter differs between meters and attempts, and is the same in a replay. */
	#backOff(meter: MeterState, name: LogName): void {
		const fetch = meter.fetch[name];
		const seconds = Math.min(LIMITS.backOffMaxSeconds, LIMITS.backOffFirstSeconds * 2 ** fetch.attempt);
		fetch.attempt = Math.min(fetch.attempt + 1, 16);
		const hash = (Number.parseInt(meter.id.slice(-6), 16) * 31 + fetch.attempt * 7919) % 1000;
		const delay = seconds * (0.75 + hash / 2000);
		fetch.notBeforeSeconds = this.#clock.utcSeconds() + delay;
		fetch.cancelTimer?.();
		fetch.cancelTimer = this.#clock.after(delay + 0.001, () => {
			fetch.cancelTimer = undefined;
			this.#enqueue(meter, name);
		});
	}

	#cancelAll(meter: MeterState, why: string): void {
		for (const request of [...meter.outstanding.values()]) {
			request.cancelTimer();
			meter.outstanding.delete(request.requestId);
			this.#outstanding--;
			if (request.purpose === "peek") meter.fetch[request.log!].peek = true;
		}
		for (const fetch of Object.values(meter.fetch)) {
			fetch.active = undefined;
			this.#resetBackOff(fetch);
		}
		for (const ask of meter.asks.values()) {
			ask.cancelTimer();
			ask.reject(new AskError("offline", why));
		}
		meter.asks.clear();
	}

	/** The link came up: whatever is missing is asked for. */
	linkUp(): void {
		this.#linkUpUtcSeconds = this.#clock.utcSeconds();
		for (const meter of this.#meters.values()) {
			meter.offsets = [];
			this.#enqueueAll(meter);
		}
		this.#pump();
	}

	/** The link went down: answers under way will not come. */
	linkDown(): void {
		for (const meter of this.#meters.values()) this.#cancelAll(meter, "the broker is not connected");
	}

	// --- schedules ---

	#housekeep(): void {
		for (const meter of this.#meters.values()) {
			const state = this.state(meter.id);
			if (state === "silent") this.onChange(meter.id, "meter");
			if (state !== "online" || !meter.hello || !meter.lastReading) continue;
			// Rows are sent once, unasked. When the meter's own clock says that the next one must exist and it did not
			// come, it was lost, and no later row has told so yet.
			const clock = meter.lastReading.utcSeconds;
			const interval = meter.hello.intervalSeconds;
			const expectedUtcSeconds = meter.newestRow ? meter.newestRow.intervalStartSeconds + 2 * interval : Number.NaN;
			if (clock === UTC_INVALID || !(clock > expectedUtcSeconds + 30)) continue;
			if (clock - meter.lastPeekUtcSeconds < interval) continue;
			meter.lastPeekUtcSeconds = clock;
			this.#peek(meter);
		}
	}

	#peek(meter: MeterState): void {
		meter.fetch.profile.peek = true;
		meter.fetch.events.peek = true;
		this.#enqueueAll(meter);
	}

	/** Asks every meter for rows and events after the last known: the end of a run has no later row that would show a loss. */
	collect(): void {
		for (const meter of this.#meters.values()) if (this.#online(meter)) this.#peek(meter);
	}

	#checkClocks(): void {
		if (!this.#link?.connected || this.#clock.utcSeconds() - this.#linkUpUtcSeconds < 60) return;
		for (const meter of this.#meters.values()) {
			if (this.state(meter.id) !== "online" || !meter.lastReading) continue;
			const invalid =
				meter.lastReading.utcSeconds === UTC_INVALID || (meter.lastReading.flags & ReadingFlag.clockInvalid) !== 0;
			const offset = this.#clockOffset(meter);
			if (!invalid && (meter.offsets.length < 3 || offset === null)) continue;
			if (!invalid && Math.abs(offset!) <= LIMITS.clockOffsetMaxSeconds) continue;
			this.#log(`meter ${meter.id}: clock ${invalid ? "invalid" : `off by ${offset!.toFixed(1)} s`}, sending the time`);
			this.#sendTime(meter, 0);
		}
	}

	/**
	 * Meter's clock minus ours, s; null without samples. A delay on the way makes a clock look slow, so the least delayed
	 * sample counts. What lies within the resolution of the stamps (1 s, and the step of a virtual clock) is 0.
	 */
	#clockOffset(meter: MeterState): number | null {
		let best: OffsetSample | undefined;
		for (const sample of meter.offsets) if (!best || sample.low > best.low) best = sample;
		if (!best) return null;
		return best.low > 0 ? best.low : Math.min(0, best.high);
	}

	/** At the end of a step of a virtual clock, now at its new time: what waited for that is sent. */
	stepDone(): void {
		const now = this.#clock.utcSeconds();
		for (const { meter, stamp, at } of this.#openSamples) this.#addOffset(meter, stamp, at, now);
		this.#openSamples = [];
		const answers = this.#timeAnswers;
		this.#timeAnswers = [];
		for (const { meter, requestId } of answers) this.#sendTimeNow(meter, requestId);
		this.#pump();
	}

	// --- questions of the interface ---

	/**
	 * Asks a meter; callers that ask the same at the same time share one request.
	 * @param kind captureRequest, snapshotRequest, diagnosticsRequest or configure
	 * @throws AskError
	 */
	ask(id: string, kind: number, first = 0): Promise<unknown> {
		const meter = this.#meters.get(id);
		if (!meter) return Promise.reject(new AskError("unknown", `no meter ${id}`));
		const asked = meter.asks.get(kind);
		if (asked) return asked.promise;
		if (!this.#online(meter)) return Promise.reject(new AskError("offline", `meter ${id} is not connected`));
		const request = this.#request(meter, kind, undefined, { purpose: "ask", first, count: 0 }, 0);
		if (!request) return Promise.reject(new AskError("offline", "the broker is not connected"));
		let resolve: (value: unknown) => void = () => {};
		let reject: (error: AskError) => void = () => {};
		const promise = new Promise<unknown>((yes, no) => {
			resolve = yes;
			reject = no;
		});
		const cancelTimer = this.#clock.after(LIMITS.askSeconds, () => {
			meter.asks.delete(kind);
			this.#finish(meter, request);
			reject(new AskError("timedOut", `meter ${id} did not answer within ${LIMITS.askSeconds} s`));
		});
		meter.asks.set(kind, { promise, resolve, reject, cancelTimer });
		return promise;
	}

	// --- views ---

	get pending(): number {
		let waiting = 0;
		for (const meter of this.#meters.values())
			for (const name of ["profile", "events"] as const)
				if (!meter.fetch[name].active && this.#online(meter) && this.#wanted(meter, name)) waiting++;
		return waiting + this.#outstanding;
	}

	has(id: string): boolean {
		return this.#meters.has(id);
	}

	ids(): string[] {
		return [...this.#meters.keys()].sort();
	}

	state(id: string): OnlineState {
		const meter = this.#meters.get(id);
		if (!meter || (meter.onlineFlag === undefined && Number.isNaN(meter.lastSeenUtcSeconds))) return "unknown";
		if (meter.onlineFlag === false) return "offline";
		const silent = Math.max(60, 5 * meter.readingPeriodSeconds);
		return this.#clock.utcSeconds() - meter.lastSeenUtcSeconds > silent ? "silent" : "online";
	}

	#health(meter: MeterState): { health: Health; reasons: string[] } {
		const bad: string[] = [];
		const attention: string[] = [];
		const state = this.state(meter.id);
		if (state === "offline") bad.push("offline");
		if (state === "silent") bad.push("no message lately");
		if (meter.profile.conflicts + meter.events.conflicts > 0) bad.push("conflicting rows");
		if (meter.profileViolations.size + meter.readingViolations > 0) bad.push("a register went back");
		if (meter.readingViolationsAfterRestart > 0) attention.push("a register was lower after a restart");
		if (meter.profile.gone.count > 0) attention.push("intervals lost on the meter");
		if (meter.profile.missingCount() > 0) attention.push("intervals missing");
		if (meter.profile.series > 0) attention.push("storage was replaced");
		if (meter.profile.probe || meter.events.probe) attention.push("storage went back, asking");
		const offset = this.#clockOffset(meter);
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
		const meter = this.#meters.get(id);
		if (!meter) return undefined;
		const { health, reasons } = this.#health(meter);
		return {
			id,
			enrolledUtcSeconds: meter.enrolledUtcSeconds,
			state: this.state(id),
			health,
			healthReasons: reasons,
			lastSeenUtcSeconds: Number.isNaN(meter.lastSeenUtcSeconds) ? null : meter.lastSeenUtcSeconds,
			clockOffsetSeconds: this.#clockOffset(meter),
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
		const meter = this.#meters.get(id);
		const summary = this.summaryView(id);
		if (!meter || !summary) return undefined;
		return {
			...summary,
			hello: meter.hello ? helloView(meter.hello, meter.helloReceivedUtcSeconds) : null,
			profile: this.#logView(meter, "profile"),
			eventLog: this.#logView(meter, "events"),
			monotone: {
				profile: meter.profileViolations.size,
				readings: meter.readingViolations,
				readingsAfterRestart: meter.readingViolationsAfterRestart,
			},
			refusals: refusalsView(meter.refusals),
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
		const meter = this.#meters.get(id);
		if (!meter) return undefined;
		const rows: ProfileRowView[] = [];
		let previous: { series: number; row: ProfileRow } | undefined;
		for await (const record of this.#store.records(id, RecordKind.profile)) {
			const row = parseRow(record.value.subarray(8));
			const before =
				previous?.series === record.series && previous.row.sequence === row.sequence - 1 ? previous.row : undefined;
			previous = { series: record.series, row };
			if (row.intervalStartSeconds < from || row.intervalStartSeconds > to) continue;
			rows.push(profileRowView(record.series, row, record.value.readDoubleBE(), before));
			if (rows.length > rowsMax) rows.shift();
		}
		const conflicts: ProfileRowView[] = [];
		for await (const record of this.#store.records(id, RecordKind.profileConflict))
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
		if (!this.#meters.has(id)) return undefined;
		const events: EventView[] = [];
		for await (const record of this.#store.records(id, RecordKind.event)) {
			events.push(eventView(record.series, parseEvent(record.value.subarray(8)), record.value.readDoubleBE()));
			if (events.length > limit) events.shift();
		}
		return events;
	}

	/** Kept readings received after `since`, oldest first. @throws StoreError */
	async readingsView(id: string, since: number): Promise<ReadingView[] | undefined> {
		if (!this.#meters.has(id)) return undefined;
		const readings: { counter: number; view: ReadingView }[] = [];
		for await (const record of this.#store.records(id, RecordKind.reading)) {
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
		return this.#meters.get(id)?.lastReadingView;
	}

	/** Power of all meters together over the last `seconds`, each meter's last reading held until it is too old. */
	powerView(seconds: number, points: number): PowerPointView[] {
		const now = this.#clock.utcSeconds();
		const step = seconds / points;
		const start = Math.floor((now - seconds) / step) * step;
		const view: PowerPointView[] = Array.from({ length: points + 1 }, (_, index) => ({
			utcSeconds: start + (index + 1) * step,
			importMilliwatts: null,
			exportMilliwatts: null,
			meters: 0,
		}));
		for (const meter of this.#meters.values()) {
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
			meters: this.#meters.size,
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
		for (const meter of this.#meters.values()) {
			totals.profileRows += meter.profile.present.count;
			totals.events += meter.events.present.count;
			totals.missing += meter.profile.missingCount() + meter.events.missingCount();
			totals.activeEnergyImport += meter.lastReading?.activeEnergyImport ?? 0;
			totals.activeEnergyExport += meter.lastReading?.activeEnergyExport ?? 0;
			if (this.state(meter.id) !== "online") continue;
			totals.online++;
			if (!meter.lastReadingView) continue;
			const power = meter.lastReadingView.powerMilliwatts;
			totals.powerMilliwatts = (totals.powerMilliwatts ?? 0) + power;
			totals.powerImportMilliwatts = (totals.powerImportMilliwatts ?? 0) + Math.max(0, power);
			totals.powerExportMilliwatts = (totals.powerExportMilliwatts ?? 0) + Math.max(0, -power);
		}
		return {
			utcSeconds: this.#clock.utcSeconds(),
			broker: {
				url: this.#link?.url ?? "",
				connected: this.#link?.connected ?? false,
				sinceUtcSeconds: this.#link?.sinceUtcSeconds ?? 0,
				connects: this.#link?.connects ?? 0,
				lastError: this.#link?.lastError ?? null,
			},
			store: {
				path: this.#store.path,
				working: this.#store.failure === undefined,
				error: this.#store.failure?.message ?? null,
			},
			totals,
			messages: { ...this.messages },
			requests: { outstanding: this.#outstanding, waiting: this.#ready.size },
			refusals: refusalsView(this.refusals),
		};
	}

	/** For a supervising process: what was collected from each meter, and how sound it is. */
	summary(): MeterCollection[] {
		return this.ids().map((id) => {
			const meter = this.#meters.get(id)!;
			const last = meter.lastReading;
			return {
				id,
				online: this.state(id),
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
				clockOffsetSeconds: this.#clockOffset(meter),
				refusals: refusalsView(meter.refusals),
			};
		});
	}

	#edgeRegisters(meter: MeterState, edge: "first" | "last"): number[] | null {
		const present = meter.profile.present;
		const sequence = edge === "last" ? present.last() : (present.list()[0]?.first ?? Number.NaN);
		const row = Number.isNaN(sequence) ? undefined : this.#storedRow(meter, sequence);
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

export { StoreError };
