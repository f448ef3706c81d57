import { Status } from "../bytes/status.js";
import type { NorFlash } from "../platform/flash.js";
import { EVENT_KIND, EVENT_SECTORS, type SectorRange } from "./layout.js";
import { RecordLog, type RecordLogCounters } from "./record-log.js";

/** Instead of a time: the clock was not set. */
export const CLOCK_INVALID = 0xffff_ffff;
/** Bytes of the hash chain value of an event. */
export const EVENT_CHAIN_BYTES = 16;
/** Bytes that an entry of the second format has more. */
export const EVENT_EXTRA_BYTES = 24;

export interface EventRecord {
	/** s since 2000-01-01T00:00:00Z, or `CLOCK_INVALID`. */
	utcSeconds: number;
	/** What happened; the table is the meter's. */
	code: number;
	/** Signed 32 bits, meaning given by the code. */
	detail: number;
	/** Hash chain value, 16 bytes; all 0xFF: none. How it is made: `src/commands/audit-log.ts`. */
	readonly chain: Uint8Array;
}

export function createEventRecord(): EventRecord {
	return { utcSeconds: CLOCK_INVALID, code: 0, detail: 0, chain: new Uint8Array(EVENT_CHAIN_BYTES).fill(0xff) };
}

/**
 * Event, payload version 1: 26 bytes, big-endian. Log kind "Even".
 * | offset | size | field      | unit and range                                            |
 * |-------:|-----:|------------|-----------------------------------------------------------|
 * |      0 |    4 | utcSeconds | s since 2000-01-01T00:00:00Z; 0xFFFFFFFF: clock invalid   |
 * |      4 |    2 | code       | 0 to 65 535                                               |
 * |      6 |    4 | detail     | signed                                                    |
 * |     10 |   16 | chain      | hash chain value; all 0xFF: none                          |
 */
export const EVENT_BYTES = 26;
export const EVENT_VERSION = 1;

/**
 * Command entry, payload version 2: 50 bytes, big-endian. Log kind "Even".
 * | offset | size | field      | unit and range                                            |
 * |-------:|-----:|------------|-----------------------------------------------------------|
 * |      0 |   26 | event      | as version 1                                              |
 * |     26 |    8 | commandId  | of the command that the entry is about                    |
 * |     34 |   16 | value      | its digest, or a chain value of its sender: the code says |
 */
export const COMMAND_EVENT_BYTES = EVENT_BYTES + EVENT_EXTRA_BYTES;
export const COMMAND_EVENT_VERSION = 2;

/** Largest payload that fits a slot of 64 bytes. */
const RECORD_BYTES = 52;

/** The event log in flash, see `RecordLog`. */
export class EventStore {
	readonly log: RecordLog;
	/** Of the last good read, when `hasExtra`: commandId and value. */
	readonly extra = new Uint8Array(EVENT_EXTRA_BYTES);
	hasExtra = false;
	readonly #bytes = new Uint8Array(RECORD_BYTES);
	readonly #view = new DataView(this.#bytes.buffer);

	constructor(flash: NorFlash, area: SectorRange = EVENT_SECTORS, counters?: RecordLogCounters) {
		this.log = new RecordLog(flash, area.firstSector, area.sectorCount, EVENT_KIND, RECORD_BYTES, counters);
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

	/**
	 * Durable when it returns `ok`; the sequence is then `nextSequence - 1`.
	 * @param utcSeconds fractions are dropped; NaN (clock not set) becomes `CLOCK_INVALID`
	 * @param chain 16 bytes, or absent: all 0xFF
	 * @param extra 24 bytes: an entry of version 2; or absent
	 */
	append(utcSeconds: number, code: number, detail: number, chain?: Uint8Array, extra?: Uint8Array): Status {
		const bytes = this.#bytes;
		const valid = utcSeconds >= 0 && utcSeconds < CLOCK_INVALID;
		this.#view.setUint32(0, valid ? Math.floor(utcSeconds) : CLOCK_INVALID);
		this.#view.setUint16(4, code);
		this.#view.setInt32(6, detail);
		for (let i = 0; i < EVENT_CHAIN_BYTES; i++) bytes[10 + i] = chain === undefined ? 0xff : chain[i]!;
		if (extra === undefined) return this.log.append(bytes, EVENT_BYTES, EVENT_VERSION);
		for (let i = 0; i < EVENT_EXTRA_BYTES; i++) bytes[EVENT_BYTES + i] = extra[i]!;
		return this.log.append(bytes, COMMAND_EVENT_BYTES, COMMAND_EVENT_VERSION);
	}

	/** @returns `ok`; else see `RecordLog.read`; `badVersion`, `badLength` for a record that is not ours */
	read(sequence: number, into: EventRecord): Status {
		return this.#decode(this.log.read(sequence, this.#bytes), into);
	}

	/** Whether the row may be one that names this command: a look at 8 unchecked bytes, much cheaper than `read`. */
	mayName(sequence: number, commandId: Uint8Array): boolean {
		const bytes = this.#bytes;
		if (!this.log.peek(sequence, EVENT_BYTES, 8, bytes)) return false;
		for (let i = 7; i >= 0; i--) if (bytes[i] !== commandId[i]) return false;
		return true;
	}

	/** The newest good event; its sequence is in `log.readSequence`. */
	readNewest(into: EventRecord): Status {
		return this.#decode(this.log.readNewest(this.#bytes), into);
	}

	#decode(status: Status, into: EventRecord): Status {
		if (status !== Status.ok) return status;
		const hasExtra = this.log.readVersion === COMMAND_EVENT_VERSION;
		if (this.log.readVersion !== EVENT_VERSION && !hasExtra) return Status.badVersion;
		if (this.log.readByteLength !== (hasExtra ? COMMAND_EVENT_BYTES : EVENT_BYTES)) return Status.badLength;
		into.utcSeconds = this.#view.getUint32(0);
		into.code = this.#view.getUint16(4);
		into.detail = this.#view.getInt32(6);
		for (let i = 0; i < EVENT_CHAIN_BYTES; i++) into.chain[i] = this.#bytes[10 + i]!;
		this.hasExtra = hasExtra;
		if (hasExtra) for (let i = 0; i < EVENT_EXTRA_BYTES; i++) this.extra[i] = this.#bytes[EVENT_BYTES + i]!;
		return Status.ok;
	}
}
