import { Status } from "../../bytes/status.js";
import { Access, ATTRIBUTES, findAttribute } from "./attributes.js";
import { readInteger, writeInteger } from "./data-types.js";

/** Keeps the reporting configuration over power cuts. */
export interface ReportingStore {
	/** @returns bytes that were put at the start of `into`, 0 when nothing is kept */
	load(into: Uint8Array): number;
	/** Replaces what is kept; called after each change. */
	save(bytes: Uint8Array, byteLength: number): void;
}

/** Attributes that can be reported at the same time. */
export const REPORTING_MAX = 32;
const VERSION = 1;
const HEADER_BYTES = 2;
const ENTRY_BYTES = 14;
/** Size of the stored configuration. */
export const REPORTING_BYTES = HEADER_BYTES + REPORTING_MAX * ENTRY_BYTES;
/** No periodic report. */
const MAXIMUM_OFF = 0;

/**
 * The reporting configuration: one row for each reported attribute, in arrays that are made once (32 rows: 1.5 KB).
 *
 * Stored form, version 1, little-endian.
 * | offset     | size | field          | unit and range                             |
 * |-----------:|-----:|----------------|--------------------------------------------|
 * |          0 |    1 | version        | 1                                          |
 * |          1 |    1 | count          | rows, 0 to 32                              |
 * |  2 + 14 i  |    2 | cluster        |                                            |
 * |  4 + 14 i  |    2 | attribute      |                                            |
 * |  6 + 14 i  |    2 | minimumSeconds |                                            |
 * |  8 + 14 i  |    2 | maximumSeconds | 0: only on change                          |
 * | 10 + 14 i  |    6 | change         | in units of the attribute, 0 to 2^48 - 1   |
 */
export class ReportingTable {
	count = 0;
	/** Row in `ATTRIBUTES`. */
	readonly attribute = new Uint16Array(REPORTING_MAX);
	readonly minimumSeconds = new Uint16Array(REPORTING_MAX);
	readonly maximumSeconds = new Uint16Array(REPORTING_MAX);
	readonly change = new Float64Array(REPORTING_MAX);
	/** The value of the last report, NaN: none yet. */
	readonly lastValue = new Float64Array(REPORTING_MAX);
	readonly lastMilliseconds = new Float64Array(REPORTING_MAX);
	/** Of the message that carried the last report, while its outcome is not known. */
	readonly handle = new Uint16Array(REPORTING_MAX);
	readonly #store: ReportingStore;
	readonly #bytes = new Uint8Array(REPORTING_BYTES);

	constructor(store: ReportingStore) {
		this.#store = store;
	}

	/** Takes up what is kept. @returns `ok`, or why it begins empty */
	load(nowMilliseconds: number): Status {
		const bytes = this.#bytes;
		this.count = 0;
		const byteLength = this.#store.load(bytes);
		if (byteLength === 0) return Status.notFound;
		if (bytes[0] !== VERSION) return Status.badVersion; // RPC-1
		if (bytes[1]! > REPORTING_MAX || byteLength !== HEADER_BYTES + bytes[1]! * ENTRY_BYTES) return Status.badLength; // RPC-2
		for (let i = 0; i < bytes[1]!; i++) {
			const at = HEADER_BYTES + i * ENTRY_BYTES;
			const attribute = findAttribute(readInteger(bytes, at, 2, false), readInteger(bytes, at + 2, 2, false));
			// RPC-3: an attribute that this firmware no longer has is left out.
			if (attribute < 0 || (ATTRIBUTES[attribute + 3]! & Access.report) === 0) continue;
			const row = this.count++;
			this.attribute[row] = attribute;
			this.minimumSeconds[row] = readInteger(bytes, at + 4, 2, false);
			this.maximumSeconds[row] = readInteger(bytes, at + 6, 2, false);
			this.change[row] = readInteger(bytes, at + 8, 6, false);
			this.#begin(row, Number.NaN, nowMilliseconds);
		}
		return Status.ok;
	}

	/** @returns the row of an attribute, -1 for none */
	find(attribute: number): number {
		for (let row = 0; row < this.count; row++) if (this.attribute[row] === attribute) return row;
		return -1;
	}

	/**
	 * Sets what is in force for an attribute; call `save` after the last.
	 * @param value what counts as reported now
	 * @returns false when the table is full
	 */
	set(
		attribute: number,
		minimumSeconds: number,
		maximumSeconds: number,
		change: number,
		value: number,
		nowMilliseconds: number,
	): boolean {
		let row = this.find(attribute);
		if (row < 0) {
			if (this.count === REPORTING_MAX) return false;
			row = this.count++;
			this.attribute[row] = attribute;
		}
		this.minimumSeconds[row] = minimumSeconds;
		this.maximumSeconds[row] = maximumSeconds;
		this.change[row] = change;
		this.#begin(row, value, nowMilliseconds);
		return true;
	}

	remove(attribute: number): void {
		const row = this.find(attribute);
		if (row < 0) return;
		const last = --this.count;
		this.attribute[row] = this.attribute[last]!;
		this.minimumSeconds[row] = this.minimumSeconds[last]!;
		this.maximumSeconds[row] = this.maximumSeconds[last]!;
		this.change[row] = this.change[last]!;
		this.lastValue[row] = this.lastValue[last]!;
		this.lastMilliseconds[row] = this.lastMilliseconds[last]!;
		this.handle[row] = this.handle[last]!;
	}

	save(): void {
		const bytes = this.#bytes;
		bytes[0] = VERSION;
		bytes[1] = this.count;
		let at = HEADER_BYTES;
		for (let row = 0; row < this.count; row++) {
			const attribute = this.attribute[row]!;
			at = writeInteger(bytes, at, ATTRIBUTES[attribute]!, 2);
			at = writeInteger(bytes, at, ATTRIBUTES[attribute + 1]!, 2);
			at = writeInteger(bytes, at, this.minimumSeconds[row]!, 2);
			at = writeInteger(bytes, at, this.maximumSeconds[row]!, 2);
			at = writeInteger(bytes, at, this.change[row]!, 6);
		}
		this.#store.save(bytes, at);
	}

	/**
	 * Is a report due? Never sooner than the minimum after the last one, at the maximum in any case, in between when the
	 * value differs from the last reported one by the change (0: at all).
	 */
	isDue(row: number, value: number, nowMilliseconds: number): boolean {
		if (Number.isNaN(value)) return false;
		const elapsed = nowMilliseconds - this.lastMilliseconds[row]!;
		if (elapsed < this.minimumSeconds[row]! * 1_000) return false;
		const maximum = this.maximumSeconds[row]!;
		if (maximum !== MAXIMUM_OFF && elapsed >= maximum * 1_000) return true;
		const last = this.lastValue[row]!;
		if (Number.isNaN(last)) return true;
		const difference = Math.abs(value - last);
		return difference > 0 && difference >= this.change[row]!;
	}

	/** The earliest time at which a row may be due without any change of its value. */
	deadlineMilliseconds(): number {
		let at = Number.POSITIVE_INFINITY;
		for (let row = 0; row < this.count; row++) {
			const seconds = Number.isNaN(this.lastValue[row]!) ? this.minimumSeconds[row]! : this.maximumSeconds[row]!;
			if (seconds === MAXIMUM_OFF && !Number.isNaN(this.lastValue[row]!)) continue;
			at = Math.min(at, this.lastMilliseconds[row]! + seconds * 1_000);
		}
		return at;
	}

	/** A report with this value is on its way. */
	reported(row: number, value: number, nowMilliseconds: number, handle: number): void {
		this.lastValue[row] = value;
		this.lastMilliseconds[row] = nowMilliseconds;
		this.handle[row] = handle;
	}

	/** The outcome of a message: what was not delivered is due again after the minimum. */
	outcome(handle: number, isDelivered: boolean): void {
		for (let row = 0; row < this.count; row++) {
			if (this.handle[row] !== handle) continue;
			this.handle[row] = 0;
			if (!isDelivered) this.lastValue[row] = Number.NaN;
		}
	}

	#begin(row: number, value: number, nowMilliseconds: number): void {
		this.lastValue[row] = value;
		this.lastMilliseconds[row] = nowMilliseconds;
		this.handle[row] = 0;
	}
}
