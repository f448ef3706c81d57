import { Status } from "../bytes/status.js";
import type { NorFlash } from "../platform/flash.js";
import { SECTOR_BYTES, UPDATE_KIND, UPDATE_SECTORS } from "../storage/layout.js";
import { RecordLog } from "../storage/record-log.js";

/** The firmware that the host has built in: always there, never written. */
export const BUILT_IN_SLOT = 0;
export const SLOT_A = 1;
export const SLOT_B = 2;
export const NO_SLOT = 255;

/** How far the candidate is, as far as it must outlive a power cut. */
export const Stage = Object.freeze({
	/** There is no candidate. */
	none: 0,
	/** Its slot may hold anything. */
	receiving: 1,
	/** Its body is the one that was signed. */
	verified: 2,
	/** It is to be tried at the next start. */
	armed: 3,
	/** It was started: if it is found so at a start, it has failed. */
	trial: 4,
} as const);
export type Stage = (typeof Stage)[keyof typeof Stage];

/**
 * Update record, payload version 1: 12 bytes, big-endian. Log kind "Updt"; the newest good record says which firmware is
 * started. No record: slot 0, nothing else.
 * | offset | size | field         | unit and range                                                                 |
 * |-------:|-----:|---------------|--------------------------------------------------------------------------------|
 * |      0 |    1 | confirmedSlot | 0 built in, 1 area A, 2 area B: what runs when no candidate is tried            |
 * |      1 |    1 | previousSlot  | the one before, still whole: taken when the confirmed one is damaged; 255: none |
 * |      2 |    1 | candidateSlot | 1, 2; 255: none                                                                |
 * |      3 |    1 | stage         | of the candidate: 0 none, 1 receiving, 2 verified, 3 armed, 4 trial             |
 * |      4 |    1 | result        | of the last update: see UpdateResult                                           |
 * |      5 |    3 | reserved      | 0                                                                              |
 * |      8 |    4 | imageId       | of the candidate; without one, of the last                                     |
 */
export const UPDATE_RECORD_BYTES = 12;
export const UPDATE_RECORD_VERSION = 1;

export interface UpdateRecord {
	confirmedSlot: number;
	previousSlot: number;
	candidateSlot: number;
	stage: number;
	result: number;
	imageId: number;
}

export function createUpdateRecord(): UpdateRecord {
	return {
		confirmedSlot: BUILT_IN_SLOT,
		previousSlot: NO_SLOT,
		candidateSlot: NO_SLOT,
		stage: Stage.none,
		result: 0,
		imageId: 0,
	};
}

export function copyUpdateRecord(from: UpdateRecord, into: UpdateRecord): void {
	into.confirmedSlot = from.confirmedSlot;
	into.previousSlot = from.previousSlot;
	into.candidateSlot = from.candidateSlot;
	into.stage = from.stage;
	into.result = from.result;
	into.imageId = from.imageId;
}

export function encodeUpdateRecord(record: UpdateRecord, into: DataView): void {
	into.setUint8(0, record.confirmedSlot);
	into.setUint8(1, record.previousSlot);
	into.setUint8(2, record.candidateSlot);
	into.setUint8(3, record.stage);
	into.setUint8(4, record.result);
	into.setUint8(5, 0);
	into.setUint16(6, 0);
	into.setUint32(8, record.imageId);
}

/** Takes only records that make sense: a candidate has a stage and is not what runs. */
export function decodeUpdateRecord(from: DataView, byteLength: number, into: UpdateRecord): Status {
	if (byteLength !== UPDATE_RECORD_BYTES) return Status.badLength; // UPJ-1
	const confirmed = from.getUint8(0);
	const previous = from.getUint8(1);
	const candidate = from.getUint8(2);
	const stage = from.getUint8(3);
	if (confirmed > SLOT_B) return Status.badValue; // UPJ-2
	if ((previous > SLOT_B && previous !== NO_SLOT) || previous === confirmed) return Status.badValue; // UPJ-3
	if (stage > Stage.trial) return Status.badValue; // UPJ-4
	if (stage === Stage.none ? candidate !== NO_SLOT : candidate !== SLOT_A && candidate !== SLOT_B)
		return Status.badValue; // UPJ-5
	if (candidate !== NO_SLOT && (candidate === confirmed || candidate === previous)) return Status.badValue; // UPJ-6
	into.confirmedSlot = confirmed;
	into.previousSlot = previous;
	into.candidateSlot = candidate;
	into.stage = stage;
	into.result = from.getUint8(4);
	into.imageId = from.getUint32(8);
	return Status.ok;
}

/** The record, and its log in flash. The boot loader and the firmware write it in turn, never at once. */
export class UpdateJournal {
	readonly log: RecordLog;
	readonly record = createUpdateRecord();
	readonly #bytes = new Uint8Array(UPDATE_RECORD_BYTES);
	readonly #view = new DataView(this.#bytes.buffer);

	/** Whether the flash is of the plan that has a place for it. */
	static fits(flash: NorFlash): boolean {
		return (
			flash.sectorBytes === SECTOR_BYTES && flash.sectorCount >= UPDATE_SECTORS.firstSector + UPDATE_SECTORS.sectorCount
		);
	}

	constructor(flash: NorFlash) {
		const { firstSector, sectorCount } = UPDATE_SECTORS;
		this.log = new RecordLog(flash, firstSector, sectorCount, UPDATE_KIND, UPDATE_RECORD_BYTES);
	}

	/** @returns `ok`, also when there is no record; else `record` is that of a new meter: what is built in runs */
	open(): Status {
		const record = this.record;
		copyUpdateRecord(createUpdateRecord(), record);
		let status = this.log.open();
		if (status !== Status.ok) return status;
		status = this.log.readNewest(this.#bytes);
		if (status === Status.notFound) return Status.ok;
		if (status !== Status.ok) return status;
		if (this.log.readVersion !== UPDATE_RECORD_VERSION) return Status.badVersion; // UPJ-7
		return decodeUpdateRecord(this.#view, this.log.readByteLength, record);
	}

	/** Makes `record` durable. @returns `ok`: it is */
	write(): Status {
		encodeUpdateRecord(this.record, this.#view);
		return this.log.append(this.#bytes, UPDATE_RECORD_BYTES, UPDATE_RECORD_VERSION);
	}
}
