import { getUint53, setUint53 } from "../bytes/integers.js";
import { Status } from "../bytes/status.js";
import type { NorFlash } from "../platform/flash.js";
import { PROFILE_KIND, PROFILE_SECTORS, type SectorRange } from "./layout.js";
import { RecordLog, type RecordLogCounters } from "./record-log.js";

/** One interval of the load profile. Energies are register readings or amounts: the meter decides, storage does not. */
export interface ProfileRow {
	/** s since 2000-01-01T00:00:00Z. */
	intervalStartSeconds: number;
	/** Of the interval as it was measured. */
	durationSeconds: number;
	/** IDIS bits: ERR 0x01, CIV 0x02, DNV 0x04, DST 0x08, CAD 0x20, PDN 0x80. */
	status: number;
	tariff: number;
	activeImportMilliwattHours: number;
	activeExportMilliwattHours: number;
	reactiveImportMillivarHours: number;
	reactiveExportMillivarHours: number;
}

export function createProfileRow(): ProfileRow {
	return {
		intervalStartSeconds: 0,
		durationSeconds: 0,
		status: 0,
		tariff: 0,
		activeImportMilliwattHours: 0,
		activeExportMilliwattHours: 0,
		reactiveImportMillivarHours: 0,
		reactiveExportMillivarHours: 0,
	};
}

/**
 * Load profile row, payload version 1: 40 bytes, big-endian. Log kind "Prof".
 * | offset | size | field                       | unit and range                               |
 * |-------:|-----:|-----------------------------|----------------------------------------------|
 * |      0 |    4 | intervalStartSeconds        | s since 2000-01-01T00:00:00Z                 |
 * |      4 |    2 | durationSeconds             | s, 0 to 65 535                               |
 * |      6 |    1 | status                      | IDIS bits                                    |
 * |      7 |    1 | tariff                      | number of the tariff in force at its end     |
 * |      8 |    8 | activeImportMilliwattHours  | A+, mWh, 0 to 2^53 - 1                       |
 * |     16 |    8 | activeExportMilliwattHours  | A-, mWh, 0 to 2^53 - 1                       |
 * |     24 |    8 | reactiveImportMillivarHours | R+, mvarh, 0 to 2^53 - 1                     |
 * |     32 |    8 | reactiveExportMillivarHours | R-, mvarh, 0 to 2^53 - 1                     |
 */
export const PROFILE_ROW_BYTES = 40;
export const PROFILE_ROW_VERSION = 1;

/** Writes 40 bytes at `offset`. */
export function encodeProfileRow(row: ProfileRow, into: DataView, offset: number): void {
	into.setUint32(offset, row.intervalStartSeconds);
	into.setUint16(offset + 4, row.durationSeconds);
	into.setUint8(offset + 6, row.status);
	into.setUint8(offset + 7, row.tariff);
	setUint53(into, offset + 8, row.activeImportMilliwattHours);
	setUint53(into, offset + 16, row.activeExportMilliwattHours);
	setUint53(into, offset + 24, row.reactiveImportMillivarHours);
	setUint53(into, offset + 32, row.reactiveExportMillivarHours);
}

/** @returns `ok`, or `badValue` when an energy is 2^53 or more; `into` is then not to be used */
export function decodeProfileRow(from: DataView, offset: number, into: ProfileRow): Status {
	into.intervalStartSeconds = from.getUint32(offset);
	into.durationSeconds = from.getUint16(offset + 4);
	into.status = from.getUint8(offset + 6);
	into.tariff = from.getUint8(offset + 7);
	into.activeImportMilliwattHours = getUint53(from, offset + 8);
	into.activeExportMilliwattHours = getUint53(from, offset + 16);
	into.reactiveImportMillivarHours = getUint53(from, offset + 24);
	into.reactiveExportMillivarHours = getUint53(from, offset + 32);
	const sum =
		into.activeImportMilliwattHours +
		into.activeExportMilliwattHours +
		into.reactiveImportMillivarHours +
		into.reactiveExportMillivarHours;
	return Number.isNaN(sum) ? Status.badValue : Status.ok;
}

/** Largest payload that fits a slot of 64 bytes; rows may grow to it without a change of the log. */
const RECORD_BYTES = 52;

/** The load profile in flash: rows with sequences, see `RecordLog`. */
export class ProfileStore {
	readonly log: RecordLog;
	readonly #bytes = new Uint8Array(RECORD_BYTES);
	readonly #view = new DataView(this.#bytes.buffer);

	constructor(flash: NorFlash, area: SectorRange = PROFILE_SECTORS, counters?: RecordLogCounters) {
		this.log = new RecordLog(flash, area.firstSector, area.sectorCount, PROFILE_KIND, RECORD_BYTES, counters);
	}

	/** See `RecordLog.open`. */
	open(): Status {
		return this.log.open();
	}

	get oldestSequence(): number {
		return this.log.oldestSequence;
	}

	get nextSequence(): number {
		return this.log.nextSequence;
	}

	/** Durable when it returns `ok`; the row's sequence is then `nextSequence - 1`. */
	append(row: ProfileRow): Status {
		encodeProfileRow(row, this.#view, 0);
		return this.log.append(this.#bytes, PROFILE_ROW_BYTES, PROFILE_ROW_VERSION);
	}

	/** The same for a row that is already encoded, 40 bytes. */
	appendEncoded(row: Uint8Array): Status {
		return this.log.append(row, PROFILE_ROW_BYTES, PROFILE_ROW_VERSION);
	}

	/** @returns `ok`; else see `RecordLog.read`; `badVersion`, `badLength`, `badValue` for a row that is not ours */
	read(sequence: number, into: ProfileRow): Status {
		return this.#decode(this.log.read(sequence, this.#bytes), into);
	}

	/** The newest good row; its sequence is in `log.readSequence`. */
	readNewest(into: ProfileRow): Status {
		return this.#decode(this.log.readNewest(this.#bytes), into);
	}

	#decode(status: Status, into: ProfileRow): Status {
		if (status !== Status.ok) return status;
		if (this.log.readVersion !== PROFILE_ROW_VERSION) return Status.badVersion;
		if (this.log.readByteLength !== PROFILE_ROW_BYTES) return Status.badLength;
		return decodeProfileRow(this.#view, 0, into);
	}
}
