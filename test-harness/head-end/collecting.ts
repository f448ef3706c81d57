import { Status } from "../../src/bytes/status.js";
import {
	createEventEntry,
	decodeEventEntry,
	decodeEventsHeader,
	EVENT_ENTRY_BYTES,
	EVENTS_HEADER_BYTES,
	type EventEntry,
} from "../../src/messages/events.js";
import { createHello, decodeHello, HELLO_BYTES } from "../../src/messages/hello.js";
import { UTC_INVALID } from "../../src/messages/kinds.js";
import {
	createProfileRow,
	decodeProfileHeader,
	decodeProfileRow,
	PROFILE_HEADER_BYTES,
	PROFILE_ROW_BYTES,
	type ProfileRow,
} from "../../src/messages/profile.js";
import { createReading, decodeReading, ReadingFlag } from "../../src/messages/reading.js";
import type { EventView } from "./api.js";
import type { Fetching } from "./fetching.js";
import type { Fleet } from "./fleet.js";
import { LIMITS } from "./limits.js";
import type { MeterClocks } from "./meter-clocks.js";
import type { LogName, MeterState } from "./meter-state.js";
import { SEQUENCE_LEAP_MAX } from "./sequence-log.js";
import { RecordKind, recordKey, type Write } from "./store.js";
import { CONFLICT_OF, decreases, RECORD_OF, registersOf, stamped } from "./stored-rows.js";
import { eventView, readingView } from "./views.js";

/** Sums and checks for a row next to another: two rows with none stored between them. */
export function countPair(meter: MeterState, series: number, earlier: ProfileRow, later: ProfileRow): void {
	const violation = series * 0x1_0000_0000 + later.sequence;
	if (decreases(earlier, later)) meter.profileViolations.add(violation);
	else meter.profileViolations.delete(violation);
	if (later.sequence !== earlier.sequence + 1 || series !== meter.profile.series) return;
	const before = registersOf(earlier);
	const after = registersOf(later);
	for (let register = 0; register < 4; register++) meter.increments[register]! += after[register]! - before[register]!;
}

/** Keeps the last events of a meter at hand, in order. */
export function rememberEvent(meter: MeterState, event: EventView): void {
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

/** Takes in what meters tell: hellos, readings, rows, events. What must last is on the disk when a promise resolves. */
export class Collecting {
	readonly #fleet: Fleet;
	readonly #fetching: Fetching;
	readonly #clocks: MeterClocks;

	constructor(fleet: Fleet, fetching: Fetching, clocks: MeterClocks) {
		this.#fleet = fleet;
		this.#fetching = fetching;
		this.#clocks = clocks;
	}

	async onHello(meter: MeterState, byteLength: number): Promise<Status> {
		const hello = createHello();
		const status = decodeHello(this.#fleet.openedView, byteLength, hello);
		if (status !== Status.ok) return status;
		for (const [oldest, next] of [
			[hello.profileOldest, hello.profileNext],
			[hello.eventOldest, hello.eventNext],
		] as const)
			if (next < oldest || next - oldest > SEQUENCE_LEAP_MAX) return Status.badValue;
		const now = this.#fleet.clock.utcSeconds();
		this.#fleet.enrol(meter);
		// A boot count that goes back is a meter with other storage, or an old hello that comes late: the probe tells.
		const doubtful = meter.hello !== undefined && hello.bootCount < meter.hello.bootCount;
		meter.hello = hello;
		meter.helloRaw = Buffer.from(this.#fleet.opened.subarray(0, HELLO_BYTES));
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
			if (fetch.active) this.#fetching.finish(meter, fetch.active);
			this.#fetching.resetBackOff(fetch);
			if (outcome === "probe")
				this.#fleet.log(
					`meter ${meter.id}: its ${name} went back to ${hello.profileNext}, asking whether its storage is new`,
				);
		}
		await this.#fleet.store.write([this.#fleet.record(meter)], true);
		this.#fleet.onChange(meter.id, "meter");
		return Status.ok;
	}

	async onReading(meter: MeterState, byteLength: number): Promise<Status> {
		const reading = createReading();
		const status = decodeReading(this.#fleet.openedView, byteLength, reading);
		if (status !== Status.ok) return status;
		const now = this.#fleet.clock.utcSeconds();
		const isNew = !this.#fleet.meters.has(meter.id);
		this.#fleet.enrol(meter);
		const last = meter.lastReading;
		if (last) {
			const sameBoot = reading.bootCount === last.bootCount;
			const older = sameBoot
				? reading.readingIndex <= last.readingIndex
				: reading.bootCount < last.bootCount && meter.hello?.bootCount !== reading.bootCount;
			if (older) {
				meter.duplicateReadings++;
				this.#fleet.messages.duplicates++;
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
		const raw = this.#fleet.opened.slice(0, byteLength);
		const value = Buffer.alloc(14 + byteLength);
		value.writeUIntBE(meter.readingCounter, 0, 6);
		value.writeDoubleBE(now, 6);
		value.set(raw, 14);
		const write = {
			key: recordKey(meter.id, RecordKind.reading, 0, meter.readingCounter % LIMITS.readingsKept),
			value,
		};
		await this.#fleet.store.write(isNew ? [this.#fleet.record(meter), write] : [write], isNew);
		meter.readingCounter++;
		meter.lastReading = reading;
		meter.lastReadingView = readingView(reading, now);
		meter.remember(now, meter.lastReadingView.powerMilliwatts);
		if (reading.utcSeconds !== UTC_INVALID && (reading.flags & ReadingFlag.clockInvalid) === 0) {
			this.#clocks.sample(meter, reading.utcSeconds, now);
		}
		this.#fleet.onChange(meter.id, "reading");
		return Status.ok;
	}

	/** Profile rows or events: both are logs by sequence, and are checked, compared and stored alike. */
	async onRows(meter: MeterState, name: LogName, byteLength: number): Promise<Status> {
		const header = { requestId: 0, rowCount: 0, entryCount: 0 };
		const status =
			name === "profile"
				? decodeProfileHeader(this.#fleet.openedView, byteLength, header)
				: decodeEventsHeader(this.#fleet.openedView, byteLength, header);
		if (status !== Status.ok) return status;
		const count = name === "profile" ? header.rowCount : header.entryCount;
		const rowBytes = name === "profile" ? PROFILE_ROW_BYTES : EVENT_ENTRY_BYTES;
		const headerBytes = name === "profile" ? PROFILE_HEADER_BYTES : EVENTS_HEADER_BYTES;
		const log = meter.log(name);
		const now = this.#fleet.clock.utcSeconds();
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
				const rowStatus = decodeProfileRow(this.#fleet.openedView, index, row);
				if (rowStatus !== Status.ok) {
					refused = rowStatus;
					continue;
				}
				sequence = row.sequence;
			} else {
				event = createEventEntry();
				decodeEventEntry(this.#fleet.openedView, index, event);
				sequence = event.sequence;
			}
			const raw = Buffer.from(
				this.#fleet.opened.subarray(headerBytes + index * rowBytes, headerBytes + (index + 1) * rowBytes),
			);
			if (log.probe) {
				if (asked?.purpose === "probe" && sequence === log.probe.sequence) {
					const stored = this.#fleet.store.get(recordKey(meter.id, RECORD_OF[name], log.series, sequence));
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
				this.#fleet.store.get(recordKey(meter.id, RECORD_OF[name], series, sequence))?.subarray(8);
			if (storedRaw?.equals(raw)) {
				log.duplicates++;
				this.#fleet.messages.duplicates++;
			} else {
				const write = this.#conflictWrite(meter, name, sequence, raw, now);
				log.conflict(sequence);
				if (write) {
					writes.push(write);
					this.#fleet.log(`meter ${meter.id}: ${name} ${sequence} came again with other content, both are kept`);
				}
			}
		}
		if (asked) this.#fetching.progressed(meter, asked);
		const isNew = !this.#fleet.meters.has(meter.id);
		if (isNew && fresh.size === 0) return refused === Status.ok ? Status.notFound : refused;
		this.#fleet.enrol(meter);
		if (isNew) for (const sequence of fresh.keys()) log.stored(sequence, now);
		if (writes.length > 0 || isNew) {
			if (isNew) writes.push(this.#fleet.record(meter));
			await this.#fleet.store.write(writes, true);
			for (const [sequence, { row, event }] of fresh) {
				log.stored(sequence, now);
				if (row) this.#countRow(meter, row);
				if (event) rememberEvent(meter, eventView(log.series, event, now));
			}
			if (asked) asked.progress += fresh.size;
			this.#fleet.onChange(meter.id, name);
		}
		if (refused !== Status.ok) {
			this.#fleet.refusals.count(refused);
			meter.refusals.count(refused);
		}
		return Status.ok;
	}

	/** Where a row goes that differs from the stored one, undefined when the same is kept already or too many are. */
	#conflictWrite(meter: MeterState, name: LogName, sequence: number, raw: Buffer, now: number): Write | undefined {
		if (meter.storedConflicts >= LIMITS.conflictsKept) return undefined;
		for (let ordinal = 0; ordinal < 16; ordinal++) {
			const key = recordKey(meter.id, CONFLICT_OF[name], meter.log(name).series, sequence, ordinal);
			const stored = this.#fleet.store.get(key);
			if (stored === undefined) {
				meter.storedConflicts++;
				return { key, value: stamped(now, raw) };
			}
			if (stored.subarray(8).equals(raw)) return undefined;
		}
		return undefined;
	}

	/** Sums and checks for a row that is now stored. */
	#countRow(meter: MeterState, row: ProfileRow): void {
		const below = meter.profile.present.below(row.sequence);
		const above = meter.profile.present.above(row.sequence);
		const earlier = Number.isNaN(below) ? undefined : this.#fleet.storedRow(meter, below);
		const later = Number.isNaN(above) ? undefined : this.#fleet.storedRow(meter, above);
		if (earlier) countPair(meter, meter.profile.series, earlier, row);
		if (later) countPair(meter, meter.profile.series, row, later);
		if (!meter.newestRow || row.sequence > meter.newestRow.sequence) meter.newestRow = row;
	}
}
