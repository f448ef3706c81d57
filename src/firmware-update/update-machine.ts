import { crc32 } from "../bytes/crc.js";
import { Status, StatusCounters } from "../bytes/status.js";
import type { Crypto, Sha256 } from "../crypto/crypto.js";
import { LmsVerifier } from "../crypto/lms.js";
import {
	BODY_BYTES_MAX,
	createManifest,
	createUpdateMessage,
	createUpdateStatus,
	decodeManifest,
	decodeUpdateMessage,
	encodeUpdateStatus,
	IMAGE_ID_BYTES,
	MANIFEST_BYTES,
	type Manifest,
	UPDATE_BLOCK_BYTES,
	UPDATE_RANGES_MAX,
	type UpdateMessage,
	UpdateResult,
	UpdateState,
	versionNumber,
} from "../messages/firmware-update.js";
import { Kind } from "../messages/kinds.js";
import type { NorFlash } from "../platform/flash.js";
import { SECTOR_BYTES } from "../storage/layout.js";
import { NO_SLOT, SLOT_A, SLOT_B, Stage, UpdateJournal, type UpdateRecord } from "./journal.js";
import { BLOCKS_IN_SECTOR, FirmwareSlot, MARK_BYTES, MARK_SECTORS } from "./slot.js";

/** The lowest securityVersion that is taken: kept where flash cannot be put back unseen (the key store). */
export interface SecurityVersionStore {
	minimumSecurityVersion(): number;
	/** @returns `ok`: no lower one is taken any more, after any power cut */
	raiseSecurityVersion(version: number): Status;
}

export interface UpdateOptions {
	/** The firmware that runs. */
	readonly running: Pick<Manifest, "major" | "minor" | "patch" | "securityVersion">;
	/** What this host can run: `FirmwareTarget`. */
	readonly target: number;
	/** What the boot loader chose, 0 to 2; -1: this host starts nothing out of flash, so nothing can be activated. */
	readonly bootedSlot: number;
	/** A firmware on trial that has not called `confirm` by then is restarted, and so rolled back; ms. */
	readonly trialMilliseconds?: number;
}

/** Ten minutes: link, time and the first readings are there in one. */
export const TRIAL_MILLISECONDS = 600_000;
/** Work that takes long is done in pieces, this far apart, so that samples and links are served between them. */
const WORK_MILLISECONDS = 20;
/** Of the signature: two chain values of 32 bytes, at most 510 compressions of w = 8. */
const SIGNATURE_PIECE_BYTES = 64;
/** Sectors that are erased before blocks come: the head, and the marks. */
const PREPARED_SECTORS = 1 + MARK_SECTORS;
const MARKS_MAX = (MARK_SECTORS * SECTOR_BYTES) / MARK_BYTES;
const BLOCKS_MAX = Math.ceil(BODY_BYTES_MAX / UPDATE_BLOCK_BYTES);

const Mark = Object.freeze({ void: 1, erased: 2, block: 3 } as const);
type Mark = (typeof Mark)[keyof typeof Mark];

/**
 * A firmware update as the meter sees it: offer, signature, blocks in any order, activation, trial. It writes only the
 * slot that is neither running nor needed as a way back, keeps in the journal what must outlive a power cut, and does
 * long work in pieces in `tick`. What it refuses it counts, and nothing of the meter is disturbed.
 *
 * Nothing is taken before the signature is verified, and the signature only as bytes of known length. After a cut the
 * marks in flash say which blocks are there. Besides the journal about 4 KiB, of which up to 2 988 bytes are the
 * signature's and depend on the key.
 */
export class UpdateMachine {
	/** Answers to received messages, by code. */
	readonly counters = new StatusCounters();
	/** Signatures that were whole and wrong, bodies that were not what was signed, transfers given up for lack of marks. */
	badSignatures = 0;
	badBodies = 0;
	abandoned = 0;
	readonly #flash: NorFlash;
	readonly #crypto: Crypto;
	readonly #options: UpdateOptions;
	readonly #security: SecurityVersionStore;
	readonly #journal: UpdateJournal;
	readonly #verifier: LmsVerifier;
	readonly #hash: Sha256;
	readonly #buffer = new Uint8Array(UPDATE_BLOCK_BYTES);
	readonly #bufferView = new DataView(this.#buffer.buffer);
	/** What is read back, beside `#buffer`: compared by the host, not byte by byte. */
	readonly #check = new Uint8Array(UPDATE_BLOCK_BYTES);
	readonly #slots: readonly FirmwareSlot[];
	/** Bit for each block that is in flash, and for each sector that was erased for this image. */
	readonly #blocks = new Uint8Array(Math.ceil(BLOCKS_MAX / 8));
	readonly #sectors = new Uint8Array(Math.ceil(BLOCKS_MAX / BLOCKS_IN_SECTOR / 8));
	readonly #manifestBytes = new Uint8Array(MANIFEST_BYTES);
	readonly #manifestView = new DataView(this.#manifestBytes.buffer);
	readonly #manifest = createManifest();
	readonly #message: UpdateMessage = createUpdateMessage();
	readonly #status = createUpdateStatus();
	#signature = new Uint8Array(0);
	#state: UpdateState = UpdateState.idle;
	#imageId = 0;
	#slot = NO_SLOT;
	#signatureNext = 0;
	#blockCount = 0;
	#missing = 0;
	#markNext = 0;
	/** How far the work of a state is: bytes of the signature, sectors, bytes of the body. */
	#done = 0;
	#workAt = Number.POSITIVE_INFINITY;
	#trialEnds = Number.POSITIVE_INFINITY;
	#owesStatus = false;
	#requestId = 0;
	#lastStatus: Status = Status.ok;
	#restarts = false;
	#trialFailed = false;
	#isOpen = false;

	constructor(flash: NorFlash, crypto: Crypto, security: SecurityVersionStore, options: UpdateOptions) {
		this.#flash = flash;
		this.#crypto = crypto;
		this.#security = security;
		this.#options = options;
		this.#journal = new UpdateJournal(flash);
		this.#verifier = new LmsVerifier(crypto);
		this.#hash = crypto.createSha256();
		this.#slots = [new FirmwareSlot(flash, SLOT_A, this.#buffer), new FirmwareSlot(flash, SLOT_B, this.#buffer)];
	}

	/**
	 * Reads what a power cut left, and goes on from there. Before anything else; again after `factoryReset` of flash.
	 * @returns `ok`; else the journal cannot be read, and every offer is refused with that status
	 */
	open(nowMilliseconds: number): Status {
		const options = this.#options;
		this.#reset();
		this.#isOpen = false;
		const status = this.#journal.open();
		if (status !== Status.ok) return status;
		this.#isOpen = true;
		const record = this.#journal.record;
		if (record.stage === Stage.trial) {
			if (options.bootedSlot === record.candidateSlot) {
				this.#state = UpdateState.trial;
				this.#imageId = record.imageId;
				this.#slot = record.candidateSlot;
				this.#trialEnds = nowMilliseconds + (options.trialMilliseconds ?? TRIAL_MILLISECONDS);
				return Status.ok;
			}
			// The boot loader passed it over and could not say so.
			this.#forget(UpdateResult.rolledBack);
		}
		if (options.bootedSlot >= 0 && options.bootedSlot !== record.confirmedSlot) {
			// Nor that it passed over the confirmed one. What runs must be known before anything is written.
			if (options.bootedSlot === record.candidateSlot) this.#forget(UpdateResult.none);
			record.confirmedSlot = options.bootedSlot;
			record.previousSlot = NO_SLOT;
			record.result = UpdateResult.damaged;
			const written = this.#journal.write();
			if (written !== Status.ok) {
				this.#isOpen = false;
				return written;
			}
		}
		this.#raise();
		if (record.stage !== Stage.none) this.#resume(nowMilliseconds);
		return Status.ok;
	}

	/**
	 * The key that signs firmware. Without one every offer is refused. Not while an update is on its way.
	 * @returns `ok`, `unsupported`, `badLength`, or `busy` when it would change under an update that is not verified yet
	 */
	setPublicKey(key: Uint8Array, offset: number, byteLength: number): Status {
		if (this.#state >= UpdateState.offered && this.#state <= UpdateState.preparing) return Status.busy;
		const status = this.#verifier.setPublicKey(key, offset, byteLength);
		// Made once: a key of another size comes, if ever, by the optical port.
		if (status === Status.ok && this.#signature.length !== this.#verifier.signatureBytes)
			this.#signature = new Uint8Array(this.#verifier.signatureBytes);
		return status;
	}

	get state(): UpdateState {
		return this.#state;
	}

	/** Blocks that are still to come; 0 unless `receiving`. */
	get blocksMissing(): number {
		return this.#missing;
	}

	/** Whether the meter shall restart now: an image is to be started and that has been told, or a trial has failed. */
	get wantsRestart(): boolean {
		return this.#trialFailed || (this.#restarts && !this.#owesStatus);
	}

	/** Takes one of the six messages of the sender. Any other kind is `badKind`. */
	receive(nowMilliseconds: number, frame: DataView, byteLength: number): Status {
		const message = this.#message;
		let status = decodeUpdateMessage(frame, byteLength, message);
		if (status !== Status.ok) {
			message.kind = 0;
			message.requestId = 0;
		} else status = this.#act(nowMilliseconds, frame, message);
		if (status !== Status.ok || message.kind !== Kind.updateBlock) {
			this.#lastStatus = status;
			this.#requestId = message.requestId;
			this.#owesStatus = true;
		}
		return this.counters.count(status);
	}

	/** Does the next piece of work. */
	tick(nowMilliseconds: number): void {
		if (nowMilliseconds >= this.#trialEnds) {
			this.#trialEnds = Number.POSITIVE_INFINITY;
			this.#trialFailed = true;
		}
		if (nowMilliseconds < this.#workAt) return;
		this.#workAt = nowMilliseconds + WORK_MILLISECONDS;
		const before = this.#state;
		switch (before) {
			case UpdateState.checking:
				this.#checkSignature();
				break;
			case UpdateState.preparing:
				this.#prepare();
				break;
			case UpdateState.hashing:
				this.#hashBody();
				break;
			default:
		}
		if (this.#state !== before) this.#tell();
		if (
			this.#state !== UpdateState.checking &&
			this.#state !== UpdateState.preparing &&
			this.#state !== UpdateState.hashing
		)
			this.#workAt = Number.POSITIVE_INFINITY;
	}

	deadlineMilliseconds(): number {
		return Math.min(this.#workAt, this.#trialEnds);
	}

	/** Writes the status that is owed. @param into at least 288 bytes @returns bytes written, 0: nothing is owed */
	transmit(into: DataView): number {
		if (!this.#owesStatus) return 0;
		this.#owesStatus = false;
		const { running, bootedSlot } = this.#options;
		const status = this.#status;
		status.requestId = this.#requestId;
		status.state = this.#state;
		status.status = this.#lastStatus;
		status.runningSlot = Math.max(bootedSlot, 0);
		status.result = this.#journal.record.result;
		status.major = running.major;
		status.minor = running.minor;
		status.patch = running.patch;
		status.minimumSecurity = this.#security.minimumSecurityVersion();
		status.imageId = this.#imageId;
		status.signatureNext = this.#signatureNext;
		status.blockCount = this.#blockCount;
		status.blocksMissing = this.#missing;
		status.refusals = this.#refusals();
		status.rangeCount = this.#state === UpdateState.receiving ? this.#listMissing(status.ranges) : 0;
		this.#requestId = 0;
		return encodeUpdateStatus(status, into);
	}

	/**
	 * The firmware that runs on trial works: it stays. Its securityVersion becomes the lowest that is taken.
	 * @returns `ok`; `outOfOrder` when nothing is on trial; the flash's: call again
	 */
	confirm(): Status {
		if (this.#state !== UpdateState.trial) return Status.outOfOrder;
		const record = this.#journal.record;
		const { confirmedSlot, candidateSlot, previousSlot } = record;
		record.previousSlot = confirmedSlot;
		record.confirmedSlot = candidateSlot;
		record.candidateSlot = NO_SLOT;
		record.stage = Stage.none;
		record.result = UpdateResult.confirmed;
		const status = this.#journal.write();
		if (status !== Status.ok) {
			record.previousSlot = previousSlot;
			record.confirmedSlot = confirmedSlot;
			record.candidateSlot = candidateSlot;
			record.stage = Stage.trial;
			record.result = UpdateResult.none;
			return status;
		}
		// A second copy: one wrong bit in the first would bring the trial back, and with it the old firmware.
		this.#journal.write();
		this.#reset();
		this.#tell();
		// Cut before this: `open` does it.
		this.#raise();
		return Status.ok;
	}

	// ---- messages

	#act(nowMilliseconds: number, frame: DataView, message: UpdateMessage): Status {
		switch (message.kind) {
			case Kind.updateOffer:
				return this.#offer(frame, message);
			case Kind.updateSignature:
				return this.#takeSignature(nowMilliseconds, frame, message);
			case Kind.updateBlock:
				return this.#takeBlock(nowMilliseconds, frame, message);
			case Kind.updateActivate:
				return this.#activate(message);
			case Kind.updateCancel:
				return this.#cancel(message);
			default:
				return Status.ok;
		}
	}

	#offer(frame: DataView, message: UpdateMessage): Status {
		if (!this.#isOpen) return Status.corrupt; // UPM-1
		if (!this.#verifier.hasKey) return Status.notFound; // UPM-2
		const imageId = this.#idOf(frame, message.dataAt);
		// The same again, after a lost answer or a power cut: the status says what is missing.
		if (this.#state !== UpdateState.idle && imageId === this.#imageId) return Status.ok;
		// Until a signature is good an offer is worth nothing, and must not stand in the way of a better one.
		if (this.#state !== UpdateState.idle && this.#state !== UpdateState.offered) return Status.busy; // UPM-3
		const found = this.#slots[0]!.manifest;
		let status = decodeManifest(frame, message.dataAt, found);
		if (status !== Status.ok) return status;
		status = this.#suits(found);
		if (status !== Status.ok) return status;
		const slot = this.#freeSlot();
		if (!this.#slots[slot - 1]!.exists) return Status.unsupported; // UPM-4
		for (let i = 0; i < MANIFEST_BYTES; i++) this.#manifestBytes[i] = frame.getUint8(message.dataAt + i);
		decodeManifest(this.#manifestView, 0, this.#manifest);
		this.#slot = slot;
		this.#imageId = imageId;
		this.#signatureNext = 0;
		this.#state = UpdateState.offered;
		this.#countBlocks();
		return Status.ok;
	}

	/** Whether a firmware may come after the one that runs. */
	#suits(manifest: Manifest): Status {
		const { running, target } = this.#options;
		if (!this.#verifier.isIdentifier(manifest.keyIdentifier, 0)) return Status.notAuthorised; // UPM-5
		if (manifest.target !== target) return Status.unsupported; // UPM-6
		if (manifest.securityVersion < this.#security.minimumSecurityVersion()) return Status.expired; // UPM-7
		const version = versionNumber(manifest);
		if (version === versionNumber(running)) return Status.replayed; // UPM-8
		if (version < versionNumber(running)) return Status.expired; // UPM-9
		return Status.ok;
	}

	#takeSignature(nowMilliseconds: number, frame: DataView, message: UpdateMessage): Status {
		if (this.#state === UpdateState.idle || message.imageId !== this.#imageId) return Status.notFound; // UPM-10
		// A part that comes twice.
		if (this.#state !== UpdateState.offered || message.place + message.dataBytes <= this.#signatureNext)
			return Status.ok;
		if (message.place !== this.#signatureNext) return Status.outOfOrder; // UPM-11
		if (message.place + message.dataBytes > this.#signature.length) return Status.badLength; // UPM-12
		for (let i = 0; i < message.dataBytes; i++) this.#signature[message.place + i] = frame.getUint8(message.dataAt + i);
		this.#signatureNext += message.dataBytes;
		if (this.#signatureNext < this.#signature.length) return Status.ok;
		const status = this.#verifier.begin(this.#signature, 0);
		if (status !== Status.ok) {
			this.badSignatures++;
			this.#reset();
			return status; // UPM-13
		}
		this.#verifier.message(this.#manifestBytes, 0, MANIFEST_BYTES);
		this.#done = this.#verifier.headBytes;
		this.#work(UpdateState.checking, nowMilliseconds);
		return Status.ok;
	}

	#takeBlock(nowMilliseconds: number, frame: DataView, message: UpdateMessage): Status {
		const index = message.place;
		if (this.#state === UpdateState.idle || message.imageId !== this.#imageId) return Status.notFound; // UPM-14
		if (this.#state < UpdateState.receiving) return Status.outOfOrder; // UPM-15: no block before the signature is good
		if (index >= this.#blockCount) return Status.badValue; // UPM-16
		const expected = Math.min(UPDATE_BLOCK_BYTES, this.#manifest.bodyBytes - index * UPDATE_BLOCK_BYTES);
		if (message.dataBytes !== expected) return Status.badLength; // UPM-17
		if (this.#state !== UpdateState.receiving || hasBit(this.#blocks, index)) return Status.ok;
		const status = this.#writeBlock(index, frame, message.dataAt, expected);
		if (status === Status.ok && this.#missing === 0) this.#startHash(nowMilliseconds);
		return status;
	}

	#activate(message: UpdateMessage): Status {
		if (this.#state === UpdateState.idle || message.imageId !== this.#imageId) return Status.notFound; // UPM-18
		if (this.#state !== UpdateState.verified && this.#state !== UpdateState.armed) return Status.outOfOrder; // UPM-19
		if (this.#options.bootedSlot < 0) return Status.unsupported; // UPM-20
		if (this.#manifest.securityVersion < this.#security.minimumSecurityVersion()) return Status.expired; // UPM-21
		if (this.#state === UpdateState.verified) {
			const status = this.#writeStage(Stage.armed);
			if (status !== Status.ok) return status;
			this.#state = UpdateState.armed;
		}
		this.#restarts = true;
		return Status.ok;
	}

	#cancel(message: UpdateMessage): Status {
		if (this.#state === UpdateState.idle || message.imageId !== this.#imageId) return Status.notFound; // UPM-22
		if (this.#state === UpdateState.trial) return Status.busy; // UPM-23
		return this.#drop();
	}

	// ---- work in pieces

	#work(state: UpdateState, nowMilliseconds: number): void {
		this.#state = state;
		this.#workAt = nowMilliseconds;
	}

	#checkSignature(): void {
		const count = Math.min(SIGNATURE_PIECE_BYTES, this.#signature.length - this.#done);
		let status = this.#verifier.signature(this.#signature, this.#done, count);
		this.#done += count;
		if (status === Status.ok && this.#done < this.#signature.length) return;
		if (status === Status.ok) status = this.#verifier.finish();
		this.#lastStatus = status;
		if (status !== Status.ok) {
			this.badSignatures++;
			this.counters.count(status); // UPM-24
			this.#reset();
			return;
		}
		// The slot is given up as a way back before it is written.
		const record = this.#journal.record;
		const { previousSlot, imageId } = record;
		if (previousSlot === this.#slot) record.previousSlot = NO_SLOT;
		record.candidateSlot = this.#slot;
		record.imageId = this.#imageId;
		record.result = UpdateResult.none;
		status = this.#writeStage(Stage.receiving);
		if (status !== Status.ok) {
			record.previousSlot = previousSlot;
			record.imageId = imageId;
			record.candidateSlot = NO_SLOT;
			this.#fail(status);
			return;
		}
		this.#state = UpdateState.preparing;
		this.#done = 0;
	}

	/** One sector at a time: the old head first, so that a cut leaves no head rather than a wrong one. */
	#prepare(): void {
		const slot = this.#slots[this.#slot - 1]!;
		if (this.#done < PREPARED_SECTORS) {
			const status = this.#flash.erase(slot.sector(this.#done));
			this.#done++;
			if (status !== Status.ok) this.#fail(status);
			return;
		}
		const status = slot.writeHead(this.#manifestBytes, this.#signature, this.#signature.length, this.#imageId);
		if (status !== Status.ok) {
			this.#fail(status);
			return;
		}
		this.#markNext = 0;
		this.#countBlocks();
		this.#state = UpdateState.receiving;
	}

	#startHash(nowMilliseconds: number): void {
		const slot = this.#slots[this.#slot - 1]!;
		const status = slot.readHead();
		if (status !== Status.ok) {
			this.#fail(status);
			return;
		}
		this.#hash.reset();
		this.#done = 0;
		this.#work(UpdateState.hashing, nowMilliseconds);
	}

	/** One sector at a time, read back from flash. */
	#hashBody(): void {
		const slot = this.#slots[this.#slot - 1]!;
		for (let i = 0; i < BLOCKS_IN_SECTOR && this.#done < this.#manifest.bodyBytes; i++) {
			const count = slot.hashPart(this.#hash, this.#done);
			if (count === 0) {
				this.#fail(Status.corrupt);
				return;
			}
			this.#done += count;
		}
		if (this.#done < this.#manifest.bodyBytes) return;
		let status = slot.endHash(this.#hash, this.#crypto);
		if (status !== Status.ok) this.badBodies++;
		else status = this.#writeStage(Stage.verified);
		if (status !== Status.ok) {
			this.counters.count(status); // UPM-25
			this.#fail(status);
			return;
		}
		this.#lastStatus = Status.ok;
		this.#state = UpdateState.verified;
	}

	// ---- flash

	#writeBlock(index: number, frame: DataView, dataAt: number, byteLength: number): Status {
		const slot = this.#slots[this.#slot - 1]!;
		const buffer = this.#buffer;
		const sector = Math.floor(index / BLOCKS_IN_SECTOR);
		const address = slot.bodyAddress + index * UPDATE_BLOCK_BYTES;
		let status: Status = Status.ok;
		if (!hasBit(this.#sectors, sector)) status = this.#eraseSector(sector);
		else if (!this.#isBlank(address)) {
			// Half a block that a cut left: its neighbours go with it, and are asked for again.
			status = this.#mark(Mark.void, sector);
			if (status === Status.ok) this.#voidSector(sector);
			if (status === Status.ok) status = this.#eraseSector(sector);
		}
		if (status === Status.ok && !this.#isBlank(address)) status = Status.notErased;
		if (status !== Status.ok) return this.#giveUpWhenFull(status);
		const padded = Math.ceil(byteLength / MARK_BYTES) * MARK_BYTES;
		buffer.fill(0xff, byteLength, padded);
		// A view costs as much as copying thirty bytes one by one, and is garbage: worth it for a block.
		buffer.set(new Uint8Array(frame.buffer, frame.byteOffset + dataAt, byteLength));
		status = this.#flash.program(address, buffer, padded);
		if (status === Status.ok && !this.#isInFlash(address, padded)) status = Status.corrupt; // UPM-26
		if (status === Status.ok) status = this.#mark(Mark.block, index);
		if (status !== Status.ok) return this.#giveUpWhenFull(status);
		setBit(this.#blocks, index);
		this.#missing--;
		return Status.ok;
	}

	#eraseSector(sector: number): Status {
		const slot = this.#slots[this.#slot - 1]!;
		const status = this.#flash.erase(slot.sector(sector + PREPARED_SECTORS));
		if (status !== Status.ok) return status;
		const marked = this.#mark(Mark.erased, sector);
		if (marked === Status.ok) setBit(this.#sectors, sector);
		return marked;
	}

	/** A block that a cut tears costs up to ten marks. When none is left, the image has to be sent again from its start. */
	#giveUpWhenFull(status: Status): Status {
		if (status !== Status.storageFull) return status;
		this.abandoned++;
		this.#drop();
		return status;
	}

	#mark(kind: Mark, index: number): Status {
		const slot = this.#slots[this.#slot - 1]!;
		if (this.#markNext >= MARKS_MAX) return Status.storageFull;
		const bytes = this.#check;
		bytes.fill(0xff, 0, MARK_BYTES);
		bytes[0] = kind;
		bytes[2] = index >> 8;
		bytes[3] = index & 0xff;
		putUint32(bytes, 4, this.#imageId);
		putUint32(bytes, 12, crc32(bytes, 0, 12));
		const address = slot.address(1, this.#markNext * MARK_BYTES);
		this.#markNext++;
		return this.#flash.program(address, bytes, MARK_BYTES);
	}

	#voidSector(sector: number): void {
		clearBit(this.#sectors, sector);
		for (let i = 0; i < BLOCKS_IN_SECTOR; i++) {
			const index = sector * BLOCKS_IN_SECTOR + i;
			if (!hasBit(this.#blocks, index)) continue;
			clearBit(this.#blocks, index);
			this.#missing++;
		}
	}

	/** From the marks: which blocks are there. 32 reads. */
	#readMarks(): Status {
		const slot = this.#slots[this.#slot - 1]!;
		const bytes = this.#buffer;
		const view = this.#bufferView;
		this.#countBlocks();
		this.#markNext = 0;
		for (let first = 0; first < MARKS_MAX; first += bytes.length / MARK_BYTES) {
			const status = this.#flash.read(slot.address(1, first * MARK_BYTES), bytes, bytes.length);
			if (status !== Status.ok) return status;
			for (let at = 0; at < bytes.length; at += MARK_BYTES) {
				let ones = view.getUint32(at) & view.getUint32(at + 4);
				ones &= view.getUint32(at + 8) & view.getUint32(at + 12);
				if (ones === -1) continue;
				this.#markNext = first + at / MARK_BYTES + 1;
				if (view.getUint32(at + 12) !== crc32(bytes, at, 12)) continue; // UPM-27: torn by a cut
				if (view.getUint32(at + 4) !== this.#imageId) continue; // UPM-28
				this.#readMark(bytes[at]!, view.getUint16(at + 2));
			}
		}
		return Status.ok;
	}

	#readMark(kind: number, index: number): void {
		if (kind === Mark.block) {
			if (index >= this.#blockCount || hasBit(this.#blocks, index)) return;
			setBit(this.#blocks, index);
			this.#missing--;
		} else if (index * BLOCKS_IN_SECTOR < this.#blockCount) {
			this.#voidSector(index);
			if (kind === Mark.erased) setBit(this.#sectors, index);
		}
	}

	/** Whether a block is erased; overwrites `#buffer`. */
	#isBlank(address: number): boolean {
		this.#buffer.fill(0xff);
		return this.#isInFlash(address, UPDATE_BLOCK_BYTES);
	}

	/** Whether flash holds what `#buffer` does. */
	#isInFlash(address: number, byteLength: number): boolean {
		if (this.#flash.read(address, this.#check, byteLength) !== Status.ok) return false;
		return this.#crypto.equal(this.#check, 0, this.#buffer, 0, byteLength);
	}

	// ---- state

	/** Goes on with the candidate of the journal, if it is what the journal says and still suits. */
	#resume(nowMilliseconds: number): void {
		const record = this.#journal.record;
		const slot = this.#slots[record.candidateSlot - 1]!;
		const found = slot.readHead();
		const { manifest } = slot;
		if (
			found !== Status.ok ||
			slot.imageId !== record.imageId ||
			manifest.target !== this.#options.target ||
			manifest.securityVersion < this.#security.minimumSecurityVersion() ||
			versionNumber(manifest) <= versionNumber(this.#options.running)
		) {
			this.#forget(record.result);
			return;
		}
		if (this.#flash.read(slot.address(0, 0), this.#manifestBytes, MANIFEST_BYTES) !== Status.ok) return;
		decodeManifest(this.#manifestView, 0, this.#manifest);
		this.#slot = record.candidateSlot;
		this.#imageId = record.imageId;
		this.#signatureNext = slot.signatureBytes;
		this.#countBlocks();
		if (record.stage === Stage.receiving) {
			this.#state = UpdateState.receiving;
			if (this.#readMarks() !== Status.ok) this.#reset();
			else if (this.#missing === 0) this.#startHash(nowMilliseconds);
		} else {
			this.#missing = 0;
			this.#state = record.stage === Stage.armed ? UpdateState.armed : UpdateState.verified;
		}
	}

	/** Of the two areas one that does not run: what runs is the confirmed one, unless something is on trial. */
	#freeSlot(): number {
		return this.#journal.record.confirmedSlot === SLOT_A ? SLOT_B : SLOT_A;
	}

	#countBlocks(): void {
		this.#blockCount = Math.ceil(this.#manifest.bodyBytes / UPDATE_BLOCK_BYTES);
		this.#missing = this.#blockCount;
		this.#blocks.fill(0);
		this.#sectors.fill(0);
	}

	/** Ends an update that is on its way. */
	#drop(): Status {
		const { stage } = this.#journal.record;
		if (stage !== Stage.none && stage !== Stage.trial) {
			const status = this.#forget(UpdateResult.none);
			if (status !== Status.ok) return status;
		}
		this.#reset();
		return Status.ok;
	}

	/** Work that cannot go on: the image has to be offered again. */
	#fail(status: Status): void {
		this.#drop();
		this.#reset();
		this.#tell();
		this.#lastStatus = status;
	}

	#forget(result: number): Status {
		const record = this.#journal.record;
		const { candidateSlot, stage, result: before } = record;
		record.candidateSlot = NO_SLOT;
		record.stage = Stage.none;
		record.result = result;
		const status = this.#journal.write();
		if (status === Status.ok) return status;
		record.candidateSlot = candidateSlot;
		record.stage = stage;
		record.result = before;
		return status;
	}

	#writeStage(stage: Stage): Status {
		const record: UpdateRecord = this.#journal.record;
		const before = record.stage;
		record.stage = stage;
		const status = this.#journal.write();
		if (status !== Status.ok) record.stage = before;
		return status;
	}

	#raise(): void {
		const { securityVersion } = this.#options.running;
		if (securityVersion > this.#security.minimumSecurityVersion()) this.#security.raiseSecurityVersion(securityVersion);
	}

	#reset(): void {
		this.#state = UpdateState.idle;
		this.#imageId = 0;
		this.#slot = NO_SLOT;
		this.#signatureNext = 0;
		this.#blockCount = 0;
		this.#missing = 0;
		this.#done = 0;
		this.#workAt = Number.POSITIVE_INFINITY;
		this.#trialEnds = Number.POSITIVE_INFINITY;
		this.#restarts = false;
		this.#trialFailed = false;
	}

	#tell(): void {
		this.#owesStatus = true;
		this.#requestId = 0;
	}

	#refusals(): number {
		const { counts } = this.counters;
		let sum = 0;
		for (let i = 1; i < counts.length; i++) sum += counts[i]!;
		return Math.min(sum, 0xffff_ffff);
	}

	#listMissing(ranges: Uint16Array): number {
		let count = 0;
		for (let i = 0; i < this.#blockCount && count < UPDATE_RANGES_MAX; i++) {
			if (hasBit(this.#blocks, i)) continue;
			const first = i;
			while (i < this.#blockCount && !hasBit(this.#blocks, i)) i++;
			ranges[2 * count] = first;
			ranges[2 * count + 1] = i - first;
			count++;
		}
		return count;
	}

	/** First 4 bytes of SHA-256 of a manifest in a frame. */
	#idOf(frame: DataView, at: number): number {
		const buffer = this.#buffer;
		for (let i = 0; i < MANIFEST_BYTES; i++) buffer[i] = frame.getUint8(at + i);
		this.#crypto.sha256(buffer, 0, MANIFEST_BYTES, buffer, 0, IMAGE_ID_BYTES);
		return this.#bufferView.getUint32(0);
	}
}

function hasBit(bits: Uint8Array, index: number): boolean {
	return (bits[index >> 3]! & (1 << (index & 7))) !== 0;
}

function setBit(bits: Uint8Array, index: number): void {
	bits[index >> 3] = bits[index >> 3]! | (1 << (index & 7));
}

function clearBit(bits: Uint8Array, index: number): void {
	bits[index >> 3] = bits[index >> 3]! & ~(1 << (index & 7));
}

function putUint32(bytes: Uint8Array, at: number, value: number): void {
	bytes[at] = value >>> 24;
	bytes[at + 1] = value >>> 16;
	bytes[at + 2] = value >>> 8;
	bytes[at + 3] = value;
}
