import type { Status, StatusCounters } from "../bytes/status.js";
import type { DeviceFile } from "./device-file.js";

/** What the meter's keys are like, as the optical port says it. */
export const KeyState = Object.freeze({
	/** New, or decommissioned: takes a device file. */
	unprovisioned: 0,
	provisioned: 1,
	/** There was a record and it cannot be read (damage, another device's flash): takes a device file. */
	unreadable: 2,
	/** Flash is older than what a witness remembers: silent until it gets new keys. */
	rolledBack: 3,
	/** Of a newer firmware: the keys are there, this firmware does not touch them. */
	newer: 4,
} as const);
export type KeyState = (typeof KeyState)[keyof typeof KeyState];

/** What a refusal was about. */
export const Stage = Object.freeze({
	none: 0,
	/** The question itself, or the state of the meter. */
	question: 1,
	deviceFile: 2,
	/** The sealed message of the head end. */
	authorisation: 3,
	/** Key store and flash. */
	keyStore: 4,
} as const);
export type Stage = (typeof Stage)[keyof typeof Stage];

/** Nothing secret. */
export interface MeterIdentity {
	/** 8 bytes. */
	readonly id: Uint8Array;
	firmwareMajor: number;
	firmwareMinor: number;
	firmwarePatch: number;
	keyState: KeyState;
	/** 0 without keys. */
	generation: number;
	/** 0 without keys. */
	epoch: number;
}

/** What a witness compares. */
export interface WitnessState {
	/** Key records that were written. */
	headSequence: number;
	/** The largest that a witness has told of; 0: none has. */
	witnessedSequence: number;
	/** 8 bytes that name the newest record and tell nothing of it; zeros without one. */
	readonly headTag: Uint8Array;
}

/** The longest sealed receipt. */
export const RECEIPT_BYTES_MAX = 64;

/**
 * What the optical port needs of a meter. Arguments are valid only during the call; a device file is wiped after it.
 * Each method changes all or nothing, and has written what it says before it returns.
 */
export interface ProvisioningTarget {
	/** Of the last refusal: what it was about. */
	readonly stage: Stage;
	/** Sealed end to end, by the last `ok`: proof for the head end that the keys were there. Length 0: none. */
	readonly receipt: Uint8Array;
	readonly receiptByteLength: number;
	identify(into: MeterIdentity): void;
	witness(into: WitnessState): void;
	/**
	 * Public registers.
	 * @param what which; 0 is the display, others are the meter's to define
	 * @param end how far it may write
	 * @returns where the written bytes end; `offset` when there is no such thing
	 */
	read(what: number, into: Uint8Array, offset: number, end: number): number;
	/**
	 * First keys.
	 * @param file decoded from the `DEVICE_FILE_BYTES` of `fileBytes` at `fileOffset`
	 * @returns `ok`; or why not: see `KeyStoreProvisioning`
	 */
	provision(file: DeviceFile, fileBytes: Uint8Array, fileOffset: number): Status;
	/**
	 * New keys in place of those that are there.
	 * @param file as above; the authorisation names it by the hash of its bytes
	 * @param sealed COMMAND of the head end that allows it
	 */
	reseed(
		file: DeviceFile,
		fileBytes: Uint8Array,
		fileOffset: number,
		sealed: Uint8Array,
		sealedByteLength: number,
	): Status;
	/** Forgets all keys. */
	decommission(sealed: Uint8Array, sealedByteLength: number): Status;
	/** The head end's ANCHOR of a day, for a meter that has had no network. */
	anchor(message: Uint8Array, byteLength: number): Status;
	/** Refusals of the key store, beside those of the port. */
	readonly counters: StatusCounters;
}

/** Where the count of failed attempts outlives a restart. */
export interface AttemptStore {
	/** 0 to 255; 0 when there is none or it cannot be read. */
	load(): number;
	/** Durable when it returns. @returns false when it could not be written: the count then lives until the restart */
	save(failedAttempts: number): boolean;
}
