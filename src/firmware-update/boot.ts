import { Status } from "../bytes/status.js";
import type { Crypto, Sha256 } from "../crypto/crypto.js";
import { LmsVerifier } from "../crypto/lms.js";
import { UPDATE_BLOCK_BYTES, UpdateResult } from "../messages/firmware-update.js";
import type { NorFlash } from "../platform/flash.js";
import {
	BUILT_IN_SLOT,
	copyUpdateRecord,
	createUpdateRecord,
	NO_SLOT,
	SLOT_A,
	SLOT_B,
	Stage,
	UpdateJournal,
	type UpdateRecord,
} from "./journal.js";
import { FirmwareSlot, isFlashSlot } from "./slot.js";

/**
 * What starts, and what the journal must say before it does. Nothing else decides that, and it depends on nothing but
 * the record and which slots are whole.
 * @param isWhole asked for slots 1 and 2 only: everything in it is what was signed
 * @param into receives the record to write first; equal to `record`: nothing is to be written
 * @returns the slot, 0 to 2
 */
export function nextBoot(record: UpdateRecord, isWhole: (slot: number) => boolean, into: UpdateRecord): number {
	copyUpdateRecord(record, into);
	if (record.stage === Stage.armed) {
		if (isWhole(record.candidateSlot)) {
			into.stage = Stage.trial;
			return record.candidateSlot;
		}
		forget(into, UpdateResult.damaged);
	} else if (record.stage === Stage.trial) forget(into, UpdateResult.rolledBack);
	if (record.confirmedSlot === BUILT_IN_SLOT || isWhole(record.confirmedSlot)) return record.confirmedSlot;
	// What ran is damaged: the one before it, else what is built in.
	const previous = record.previousSlot;
	into.confirmedSlot = isFlashSlot(previous) && isWhole(previous) ? previous : BUILT_IN_SLOT;
	into.previousSlot = NO_SLOT;
	into.result = UpdateResult.damaged;
	return into.confirmedSlot;
}

function forget(record: UpdateRecord, result: UpdateResult): void {
	record.candidateSlot = NO_SLOT;
	record.stage = Stage.none;
	record.result = result;
}

export interface BootOptions {
	/** What this host can run: `FirmwareTarget`. */
	readonly target: number;
	/** LMS public key: signatures are verified at each start as well; absent: hashes alone. */
	readonly publicKey?: Uint8Array;
	/** Firmware below it is not started out of flash. */
	readonly minimumSecurityVersion?: number;
	/** Whether the host can start this body, beyond its being what was signed (an archive of its own engine). */
	readonly canStart?: (address: number, byteLength: number) => boolean;
}

/**
 * The boot decision of a host: made once, before any firmware runs, by what is built in. A candidate is marked as tried
 * before it starts; if that cannot be written it is not started.
 */
export class BootLoader {
	/** Of the chosen slot; 0 for what is built in. */
	bodyAddress = 0;
	bodyBytes = 0;
	/** Undefined on flash that is too small for it. */
	readonly journal: UpdateJournal | undefined;
	readonly #crypto: Crypto;
	readonly #options: BootOptions;
	readonly #hash: Sha256;
	readonly #slots: readonly FirmwareSlot[];
	readonly #verifier: LmsVerifier | undefined;

	constructor(flash: NorFlash, crypto: Crypto, options: BootOptions) {
		const buffer = new Uint8Array(UPDATE_BLOCK_BYTES);
		this.journal = UpdateJournal.fits(flash) ? new UpdateJournal(flash) : undefined;
		this.#crypto = crypto;
		this.#options = options;
		this.#hash = crypto.createSha256();
		this.#slots = [new FirmwareSlot(flash, SLOT_A, buffer), new FirmwareSlot(flash, SLOT_B, buffer)];
		const key = options.publicKey;
		if (key !== undefined) {
			this.#verifier = new LmsVerifier(crypto);
			// A key that cannot be used verifies nothing, so nothing in flash is started.
			this.#verifier.setPublicKey(key, 0, key.length);
		}
	}

	/** @returns 0 for what is built in, 1 or 2 with `bodyAddress` and `bodyBytes` */
	choose(): number {
		this.bodyAddress = 0;
		this.bodyBytes = 0;
		const { journal } = this;
		if (journal === undefined) return BUILT_IN_SLOT;
		// A journal that cannot be read: its record is that of a new meter.
		const status = journal.open();
		const next = createUpdateRecord();
		const { record } = journal;
		let slot = nextBoot(record, (which) => this.isWhole(which), next);
		if (status === Status.ok && !isEqual(record, next)) {
			const isTrial = next.stage === Stage.trial;
			const before = createUpdateRecord();
			copyUpdateRecord(record, before);
			copyUpdateRecord(next, record);
			if (journal.write() !== Status.ok) {
				copyUpdateRecord(before, record);
				if (isTrial) slot = nextBoot(withoutCandidate(before), (which) => this.isWhole(which), next);
			}
		}
		if (isFlashSlot(slot)) {
			const chosen = this.#slots[slot - 1]!;
			this.bodyAddress = chosen.bodyAddress;
			this.bodyBytes = chosen.manifest.bodyBytes;
		}
		return slot;
	}

	/** Whether all of a slot is what was signed, for this host, and not older than is allowed. */
	isWhole(slot: number): boolean {
		const options = this.#options;
		const found = this.#slots[slot - 1];
		if (found === undefined || found.readHead() !== Status.ok) return false;
		if (found.manifest.target !== options.target) return false;
		if (found.manifest.securityVersion < (options.minimumSecurityVersion ?? 0)) return false;
		if (this.#verifier !== undefined && found.checkSignature(this.#verifier) !== Status.ok) return false;
		if (found.checkBody(this.#hash, this.#crypto) !== Status.ok) return false;
		return options.canStart === undefined || options.canStart(found.bodyAddress, found.manifest.bodyBytes);
	}
}

function withoutCandidate(record: UpdateRecord): UpdateRecord {
	forget(record, record.result as UpdateResult);
	return record;
}

function isEqual(a: UpdateRecord, b: UpdateRecord): boolean {
	return (
		a.confirmedSlot === b.confirmedSlot &&
		a.previousSlot === b.previousSlot &&
		a.candidateSlot === b.candidateSlot &&
		a.stage === b.stage &&
		a.result === b.result &&
		a.imageId === b.imageId
	);
}
