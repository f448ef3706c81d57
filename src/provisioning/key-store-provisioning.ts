import { Status, type StatusCounters } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import { Branch, Direction } from "../key-store/chains.js";
import type { KeyStore } from "../key-store/key-store.js";
import { createUnicastHeader, decodeUnicastHeader, UNICAST_OVERHEAD_BYTES, UnicastType } from "../key-store/unicast.js";
import { CONTENT_PREFIX_BYTES, WHOLE_DAY } from "../messages/channel.js";
import {
	AUTHORISATION_BYTES,
	AuthorisationKind,
	createAuthorisation,
	createKeyReceipt,
	decodeAuthorisation,
	encodeKeyReceipt,
	fileSubject,
	KEY_RECEIPT_BYTES,
	meterSubject,
	SUBJECT_BYTES,
} from "./authorisation.js";
import { DEVICE_ID_BYTES, type DeviceFile } from "./device-file.js";
import { OpticalRequest } from "./optical-port.js";
import {
	KeyState,
	type MeterIdentity,
	type ProvisioningTarget,
	RECEIPT_BYTES_MAX,
	Stage,
	type WitnessState,
} from "./provisioning-target.js";

/** What the meter gives besides its key store. */
export interface ProvisioningHost {
	/** EUI-64 of the hardware, 8 bytes: a device file for another one is refused. */
	readonly id: Uint8Array;
	readonly firmwareMajor: number;
	readonly firmwareMinor: number;
	readonly firmwarePatch: number;
	/** The latest interval that the head end's clock may stand at, of the day `KeyStore.epoch`; Infinity: not known. */
	interval(): number;
	/** No device file that begins on an earlier day is taken; 0: any. */
	earliestEpoch(): number;
	/** See `ProvisioningTarget.read`. */
	read(what: number, into: Uint8Array, offset: number, end: number): number;
	/** Checks an ANCHOR against the calendar and rolls the day. */
	anchor(message: Uint8Array, byteLength: number): Status;
	/** There are keys, other keys, or none any more: the channel begins anew. */
	keysChanged(): void;
}

/**
 * The optical port's way to the key store: who may do what, in which order. A refusal names its stage:
 *
 * | status        | question                     | device file           | authorisation                           | key store |
 * |---------------|------------------------------|-----------------------|-----------------------------------------|-----------|
 * | notFound      | no keys to renew or forget   | of another meter      | for another meter                       |           |
 * | notAuthorised | PROVISION, and it has keys   |                       | from the concentrator; for another file |           |
 * | replayed      |                              | generation is held already | used already                       |           |
 * | outOfOrder    |                              | generation is not the next one | 32 messages or more ahead      |           |
 * | expired       |                              | begins on a day that is over | no longer valid                  |           |
 * | clockInvalid  |                              |                       | of a day that no ANCHOR has opened      |           |
 * | badTag        |                              |                       | not of this head end                    |           |
 *
 * Others are those of the decoders, of `KeyStore.openAuthorisation` and of flash. The device file is looked at before the
 * authorisation is used up.
 */
export class KeyStoreProvisioning implements ProvisioningTarget {
	stage: Stage = Stage.none;
	readonly receipt = new Uint8Array(RECEIPT_BYTES_MAX);
	receiptByteLength = 0;
	/** What `KeyStore.open` answered at the start. */
	openStatus: Status = Status.ok;

	readonly #crypto: Crypto;
	readonly #keys: KeyStore;
	readonly #host: ProvisioningHost;
	readonly #header = createUnicastHeader();
	readonly #content = new Uint8Array(CONTENT_PREFIX_BYTES + AUTHORISATION_BYTES);
	readonly #message = new Uint8Array(CONTENT_PREFIX_BYTES + KEY_RECEIPT_BYTES);
	readonly #authorisation = createAuthorisation();
	readonly #keyReceipt = createKeyReceipt();
	readonly #subject = new Uint8Array(SUBJECT_BYTES);

	constructor(crypto: Crypto, keys: KeyStore, host: ProvisioningHost) {
		this.#crypto = crypto;
		this.#keys = keys;
		this.#host = host;
	}

	get counters(): StatusCounters {
		return this.#keys.counters;
	}

	get keyState(): KeyState {
		if (this.#keys.isRolledBack) return KeyState.rolledBack;
		if (this.#keys.isProvisioned) return KeyState.provisioned;
		const { openStatus } = this;
		if (openStatus === Status.ok || openStatus === Status.notFound) return KeyState.unprovisioned;
		return openStatus === Status.badVersion || openStatus === Status.badLength ? KeyState.newer : KeyState.unreadable;
	}

	identify(into: MeterIdentity): void {
		const host = this.#host;
		const keys = this.#keys;
		for (let i = 0; i < DEVICE_ID_BYTES; i++) into.id[i] = host.id[i]!;
		into.firmwareMajor = host.firmwareMajor;
		into.firmwareMinor = host.firmwareMinor;
		into.firmwarePatch = host.firmwarePatch;
		into.keyState = this.keyState;
		into.generation = keys.isProvisioned ? keys.generation : 0;
		into.epoch = keys.isProvisioned ? keys.epoch : 0;
	}

	witness(into: WitnessState): void {
		into.headSequence = this.#keys.headSequence;
		into.witnessedSequence = this.#keys.witnessedSequence;
		this.#keys.journal.copyHeadTag(into.headTag, 0);
	}

	read(what: number, into: Uint8Array, offset: number, end: number): number {
		return this.#host.read(what, into, offset, end);
	}

	anchor(message: Uint8Array, byteLength: number): Status {
		this.receiptByteLength = 0;
		if (!this.#keys.isProvisioned) return this.#refuse(Stage.question, Status.notFound); // PRV-1
		return this.#refuse(Stage.authorisation, this.#host.anchor(message, byteLength));
	}

	provision(file: DeviceFile, fileBytes: Uint8Array, fileOffset: number): Status {
		this.receiptByteLength = 0;
		const state = this.keyState;
		if (state === KeyState.provisioned || state === KeyState.rolledBack)
			return this.#refuse(Stage.question, Status.notAuthorised); // PRV-2
		if (state === KeyState.newer) return this.#refuse(Stage.keyStore, Status.badVersion); // PRV-3
		if (!this.#isOurs(file)) return this.#refuse(Stage.deviceFile, Status.notFound); // PRV-4
		if (file.epoch < this.#host.earliestEpoch()) return this.#refuse(Stage.deviceFile, Status.expired); // PRV-5
		const status = this.#keys.provision(file);
		if (status !== Status.ok) return this.#refuse(Stage.keyStore, status);
		this.openStatus = Status.ok;
		fileSubject(this.#crypto, fileBytes, fileOffset, this.#subject);
		this.#sealReceipt(OpticalRequest.provision);
		this.#host.keysChanged();
		return Status.ok;
	}

	reseed(
		file: DeviceFile,
		fileBytes: Uint8Array,
		fileOffset: number,
		sealed: Uint8Array,
		sealedByteLength: number,
	): Status {
		this.receiptByteLength = 0;
		const keys = this.#keys;
		if (!keys.isProvisioned) return this.#refuse(Stage.question, Status.notFound); // PRV-6
		if (!this.#isOurs(file)) return this.#refuse(Stage.deviceFile, Status.notFound); // PRV-7
		if (file.generation <= keys.generation) return this.#refuse(Stage.deviceFile, Status.replayed); // PRV-8
		if (file.generation > keys.generation + 1) return this.#refuse(Stage.deviceFile, Status.outOfOrder); // PRV-9
		if (file.epoch < keys.epoch || file.epoch < this.#host.earliestEpoch())
			return this.#refuse(Stage.deviceFile, Status.expired); // PRV-10
		fileSubject(this.#crypto, fileBytes, fileOffset, this.#subject);
		let status = this.#authorise(AuthorisationKind.reseed, sealed, sealedByteLength);
		if (status !== Status.ok) return this.#refuse(Stage.authorisation, status);
		status = keys.stageReseed(file);
		if (status === Status.ok) status = keys.commitReseed();
		if (status !== Status.ok) return this.#refuse(Stage.keyStore, status);
		this.#sealReceipt(OpticalRequest.reseed);
		this.#host.keysChanged();
		return Status.ok;
	}

	decommission(sealed: Uint8Array, sealedByteLength: number): Status {
		this.receiptByteLength = 0;
		const keys = this.#keys;
		if (!keys.isProvisioned) return this.#refuse(Stage.question, Status.notFound); // PRV-11
		meterSubject(this.#crypto, this.#host.id, keys.generation, this.#subject);
		let status = this.#authorise(AuthorisationKind.decommission, sealed, sealedByteLength);
		if (status !== Status.ok) return this.#refuse(Stage.authorisation, status);
		// The last message of these keys. The store seals none before a witness has confirmed its head.
		this.#sealReceipt(OpticalRequest.decommission);
		status = keys.factoryReset();
		if (status !== Status.ok) {
			this.receiptByteLength = 0;
			return this.#refuse(Stage.keyStore, status);
		}
		this.openStatus = Status.ok;
		this.#host.keysChanged();
		return Status.ok;
	}

	#refuse(stage: Stage, status: Status): Status {
		this.stage = status === Status.ok ? Stage.none : stage;
		return status;
	}

	#isOurs(file: DeviceFile): boolean {
		let difference = 0;
		for (let i = 0; i < DEVICE_ID_BYTES; i++) difference |= file.id[i]! ^ this.#host.id[i]!;
		return difference === 0;
	}

	/** Opens and uses up the head end's message; it must be for what `#subject` names. */
	#authorise(kind: AuthorisationKind, sealed: Uint8Array, byteLength: number): Status {
		const header = this.#header;
		let status = decodeUnicastHeader(sealed, byteLength, header);
		if (status !== Status.ok) return status; // PRV-12
		// The concentrator has keys of the other branch: it may not command.
		if (header.branch !== Branch.endToEnd) return Status.notAuthorised; // PRV-13
		if (header.type !== UnicastType.command || header.direction !== Direction.down) return Status.badKind; // PRV-14
		if (byteLength !== this.#content.length + UNICAST_OVERHEAD_BYTES) return Status.badLength; // PRV-15
		status = this.#keys.openAuthorisation(sealed, byteLength, this.#content);
		if (status !== Status.ok) return status;
		const content = this.#content;
		const authorisation = this.#authorisation;
		status = decodeAuthorisation(content, CONTENT_PREFIX_BYTES, AUTHORISATION_BYTES, authorisation);
		if (status !== Status.ok) return status;
		if (authorisation.kind !== kind) return Status.badKind; // PRV-16
		if (!this.#crypto.equal(authorisation.subject, 0, this.#subject, 0, SUBJECT_BYTES)) return Status.notAuthorised; // PRV-17
		const notAfter = (content[0]! << 8) | content[1]!;
		if (header.epoch !== this.#keys.epoch) return Status.expired; // PRV-18
		if (notAfter !== WHOLE_DAY && this.#host.interval() > notAfter) return Status.expired; // PRV-19
		return Status.ok;
	}

	#sealReceipt(request: number): void {
		const keys = this.#keys;
		const message = this.#message;
		const receipt = this.#keyReceipt;
		const downNext = keys.downIndex(Branch.endToEnd);
		message[0] = downNext >> 8;
		message[1] = downNext;
		receipt.request = request;
		receipt.generation = keys.generation;
		for (let i = 0; i < SUBJECT_BYTES; i++) receipt.subject[i] = this.#subject[i]!;
		encodeKeyReceipt(receipt, message, CONTENT_PREFIX_BYTES);
		this.receiptByteLength = keys.sealMessage(Branch.endToEnd, UnicastType.data, message, message.length, this.receipt);
	}
}
