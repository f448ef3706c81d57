import { Status } from "../../src/bytes/status.js";
import { createHello, decodeHello } from "../../src/messages/hello.js";
import type { ProfileRow } from "../../src/messages/profile.js";
import { createReading, decodeReading } from "../../src/messages/reading.js";
import { countPair, rememberEvent } from "./collecting.js";
import type { Fleet } from "./fleet.js";
import { type MeterRecord, MeterState } from "./meter-state.js";
import type { SequenceLog } from "./sequence-log.js";
import { RecordKind, type StoredRecord } from "./store.js";
import { parseEvent, parseRow } from "./stored-rows.js";
import { eventView, readingView } from "./views.js";

/** Rebuilds every position from the store. @throws StoreError */
export async function load(fleet: Fleet): Promise<void> {
	let meter: MeterState | undefined;
	let previous: { series: number; row: ProfileRow } | undefined;
	let readings: { counter: number; receivedUtcSeconds: number; raw: Buffer }[] = [];
	const finish = (): void => {
		if (meter) restoreReadings(meter, readings);
		readings = [];
		previous = undefined;
	};
	for await (const record of fleet.store.records()) {
		if (record.kind === RecordKind.meter) {
			finish();
			meter = restoreMeter(fleet, record);
			continue;
		}
		if (!meter || meter.id !== record.identifier) {
			// rows whose meter record was lost in a repair: the record is rebuilt from them
			finish();
			meter = new MeterState(record.identifier, fleet.clock.utcSeconds());
			fleet.meters.set(meter.id, meter);
		}
		switch (record.kind) {
			case RecordKind.profile: {
				const row = parseRow(record.value.subarray(8));
				if (previous?.series === record.series) countPair(meter, record.series, previous.row, row);
				if (restoreSequence(fleet, meter.profile, record)) meter.newestRow = row;
				previous = { series: record.series, row };
				break;
			}
			case RecordKind.event: {
				restoreSequence(fleet, meter.events, record);
				rememberEvent(
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

function restoreMeter(fleet: Fleet, record: StoredRecord): MeterState {
	const stored = JSON.parse(record.value.toString()) as MeterRecord;
	const meter = new MeterState(record.identifier, stored.enrolledUtcSeconds);
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
	fleet.meters.set(meter.id, meter);
	return meter;
}

/** @returns whether the record belongs to the series in force */
function restoreSequence(fleet: Fleet, log: SequenceLog, record: StoredRecord): boolean {
	if (record.series > log.series)
		// its start was lost in a repair
		log.startSeries(record.sequence, record.sequence, fleet.clock.utcSeconds(), "storage replaced");
	if (record.series < log.series) return false;
	log.stored(record.sequence, fleet.clock.utcSeconds());
	return true;
}

function restoreReadings(
	meter: MeterState,
	readings: { counter: number; receivedUtcSeconds: number; raw: Buffer }[],
): void {
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
