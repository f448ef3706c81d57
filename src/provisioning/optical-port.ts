import { InvariantError, STATUS_COUNT, Status, StatusCounters } from "../bytes/status.js";
import { AttemptLimit } from "./attempt-limit.js";
import {
	createDeviceFile,
	DEVICE_FILE_BYTES,
	DEVICE_ID_BYTES,
	decodeDeviceFile,
	wipeDeviceFile,
} from "./device-file.js";
import {
	closeFrame,
	FRAME_BYTES_MAX,
	FRAME_PAYLOAD_AT,
	FRAME_PAYLOAD_BYTES_MAX,
	OpticalFrameReader,
} from "./optical-frame.js";
import {
	type AttemptStore,
	type MeterIdentity,
	type ProvisioningTarget,
	Stage,
	type WitnessState,
} from "./provisioning-target.js";

/**
 * Question of the optical port, version 1: 4 + n bytes, the payload of a frame.
 * | offset | size | field    | unit and range                                                          |
 * |-------:|-----:|----------|-------------------------------------------------------------------------|
 * |      0 |    1 | version  | 1                                                                       |
 * |      1 |    1 | request  | 0x01 to 0x07, below                                                     |
 * |      2 |    2 | sequence | the asker's; a question that is repeated within 30 s is not acted on again |
 * |      4 |    n | body     | of the request                                                          |
 *
 * | request | name         | body of the question                    | body of an answer `ok`                 |
 * |---------|--------------|-----------------------------------------|----------------------------------------|
 * | 0x01    | IDENTIFY     | –                                       | identity                               |
 * | 0x02    | READ         | what 1                                  | what the meter shows to everyone       |
 * | 0x03    | WITNESS      | –                                       | headSequence 4, witnessedSequence 4, headTag 8 |
 * | 0x04    | PROVISION    | device file 168                         | receipt, sealed, or nothing            |
 * | 0x05    | RESEED       | device file 168, sealed authorisation   | receipt under the new keys, or nothing |
 * | 0x06    | DECOMMISSION | sealed authorisation                    | receipt under the keys that are gone, or nothing |
 * | 0x07    | ANCHOR       | ANCHOR of a day                         | –                                      |
 */
export const OpticalRequest = Object.freeze({
	identify: 0x01,
	read: 0x02,
	witness: 0x03,
	provision: 0x04,
	reseed: 0x05,
	decommission: 0x06,
	anchor: 0x07,
} as const);
export type OpticalRequest = (typeof OpticalRequest)[keyof typeof OpticalRequest];

/**
 * Answer of the optical port, version 1: 8 + n bytes, the payload of a frame.
 * | offset | size | field             | unit and range                                                     |
 * |-------:|-----:|-------------------|--------------------------------------------------------------------|
 * |      0 |    1 | version           | 1                                                                  |
 * |      1 |    1 | request           | 0x80 and the request                                               |
 * |      2 |    2 | sequence          | of the question                                                    |
 * |      4 |    1 | status            | see `Status`                                                       |
 * |      5 |    1 | stage             | of a refusal: 1 question, 2 device file, 3 authorisation, 4 key store |
 * |      6 |    2 | retryAfterSeconds | s, rounded up: how long PROVISION, RESEED, DECOMMISSION are refused  |
 * |      8 |    n | body              | empty unless `ok`                                                  |
 */
export const OPTICAL_VERSION = 1;
export const QUESTION_HEADER_BYTES = 4;
export const ANSWER_HEADER_BYTES = 8;
export const ANSWER_FLAG = 0x80;

/**
 * Identity, body of the answer to IDENTIFY: 18 + 9n bytes. Nothing in it is secret.
 * | offset | size | field          | unit and range                                                          |
 * |-------:|-----:|----------------|-------------------------------------------------------------------------|
 * |      0 |    8 | id             | EUI-64 of the meter                                                     |
 * |      8 |    3 | firmware       | major, minor, patch                                                     |
 * |     11 |    1 | keyState       | 0 unprovisioned, 1 provisioned, 2 unreadable, 3 rolled back, 4 of a newer firmware |
 * |     12 |    2 | generation     | of its keys; 0 without                                                  |
 * |     14 |    2 | epoch          | d since 2000-01-01; 0 without keys                                      |
 * |     16 |    1 | failedAttempts | in a row                                                                |
 * |     17 |    1 | refusalCount   | n                                                                       |
 * | 18 + 9i |   1 | status         | of refusal i                                                            |
 * | 19 + 9i |   4 | portCount      | so often by the optical port, since the start                           |
 * | 23 + 9i |   4 | keyStoreCount  | so often by the key store, since the start                              |
 */
export const IDENTITY_BYTES = 18;
export const REFUSAL_BYTES = 9;
export const WITNESS_BYTES = 16;

/** No byte for so long: what has begun is not a frame. @see IEC 62056-21 section 6.5.2, which allows 1500 ms */
export const BYTE_GAP_MILLISECONDS = 1500;
/** A repeated question is answered again, without being acted on, for so long. */
export const REPEAT_MILLISECONDS = 30_000;

/** An ANCHOR with 16 siblings has 278 bytes, an authorisation 42. */
const MESSAGE_BYTES_MAX = 288;
const BODY_AT = FRAME_PAYLOAD_AT + ANSWER_HEADER_BYTES;
const BODY_END = FRAME_PAYLOAD_AT + FRAME_PAYLOAD_BYTES_MAX;

function set32(into: Uint8Array, at: number, value: number): void {
	for (let i = 0; i < 4; i++) into[at + i] = value >>> (24 - 8 * i);
}

/**
 * The meter's side of the optical port: one question, one answer. It waits for nobody, allocates nothing after
 * construction (1.5 KiB), and overwrites every device file that passed through it.
 */
export class OpticalPortMachine {
	/** Answers by status, `ok` among them. */
	readonly counters = new StatusCounters();
	/** Bytes that came while an answer was on its way; the port is half-duplex. */
	bytesDropped = 0;
	/** Questions that were repeated and answered from memory. */
	repeats = 0;

	readonly #target: ProvisioningTarget;
	readonly #limit: AttemptLimit;
	readonly #reader = new OpticalFrameReader();
	readonly #answer = new Uint8Array(FRAME_BYTES_MAX);
	readonly #sealed = new Uint8Array(MESSAGE_BYTES_MAX);
	readonly #file = createDeviceFile();
	readonly #identity: MeterIdentity = {
		id: new Uint8Array(DEVICE_ID_BYTES),
		firmwareMajor: 0,
		firmwareMinor: 0,
		firmwarePatch: 0,
		keyState: 0,
		generation: 0,
		epoch: 0,
	};
	readonly #witness: WitnessState = { headSequence: 0, witnessedSequence: 0, headTag: new Uint8Array(8) };
	/** Of the answer in `#answer`; it stays there for a repeated question. */
	#answerBytes = 0;
	#sentBytes = 0;
	#lastByteMilliseconds = 0;
	/** Checksum of the question that `#answer` answers, if it was one that changes something; -1: none. */
	#questionChecksum = -1;
	#answeredMilliseconds = 0;
	#stage: Stage = Stage.none;

	/** @param nowMilliseconds monotonic; a lock-out that was stored begins anew here */
	constructor(target: ProvisioningTarget, attempts: AttemptStore, nowMilliseconds: number) {
		this.#target = target;
		this.#limit = new AttemptLimit(attempts, nowMilliseconds);
	}

	/** Starts that turned out to be noise. */
	get falseStarts(): number {
		return this.#reader.falseStarts;
	}

	/**
	 * Takes what the line brought. A whole question is acted on before this returns, flash writes and all; then
	 * `transmit` has the answer.
	 */
	receive(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): void {
		this.#lastByteMilliseconds = nowMilliseconds;
		let at = 0;
		while (at < byteLength && this.#sentBytes === this.#answerBytes) {
			at += this.#reader.take(bytes, at, byteLength);
			this.#handle(nowMilliseconds);
		}
		this.bytesDropped += byteLength - at;
	}

	/** Call when the deadline has passed. */
	tick(nowMilliseconds: number): void {
		if (nowMilliseconds < this.deadlineMilliseconds()) return;
		while (this.#reader.pendingBytes > 0) {
			this.#reader.expire();
			this.#handle(nowMilliseconds);
		}
	}

	/** Infinity: nothing has begun. */
	deadlineMilliseconds(): number {
		return this.#reader.pendingBytes > 0
			? this.#lastByteMilliseconds + BYTE_GAP_MILLISECONDS
			: Number.POSITIVE_INFINITY;
	}

	/** @returns bytes to send, 0 for none; call until 0 */
	transmit(into: Uint8Array): number {
		const left = this.#answerBytes - this.#sentBytes;
		const count = left < into.length ? left : into.length;
		for (let i = 0; i < count; i++) into[i] = this.#answer[this.#sentBytes + i]!;
		this.#sentBytes += count;
		return count;
	}

	/** Looks at the frames that were found. */
	#handle(now: number): void {
		const reader = this.#reader;
		while (reader.payloadBytes > 0) {
			const isQuestion = (reader.bytes[FRAME_PAYLOAD_AT + 1]! & ANSWER_FLAG) === 0;
			if (isQuestion) {
				this.#answerQuestion(now);
				reader.reset();
				return;
			}
			reader.next(); // an echo of our own light
		}
	}

	#answerQuestion(now: number): void {
		const { bytes, payloadBytes } = this.#reader;
		const request = bytes[FRAME_PAYLOAD_AT + 1]!;
		const changes =
			request === OpticalRequest.provision ||
			request === OpticalRequest.reseed ||
			request === OpticalRequest.decommission;
		const end = FRAME_PAYLOAD_AT + payloadBytes;
		const checksum = ((bytes[end]! << 24) | (bytes[end + 1]! << 16) | (bytes[end + 2]! << 8) | bytes[end + 3]!) >>> 0;
		if (changes && checksum === this.#questionChecksum && now - this.#answeredMilliseconds < REPEAT_MILLISECONDS) {
			this.repeats++;
			this.#sentBytes = 0;
			return;
		}
		this.#questionChecksum = -1;
		this.#stage = Stage.question;
		const answer = this.#answer;
		answer.fill(0);
		let bodyEnd = BODY_AT;
		let status: Status = Status.badVersion; // OPT-1
		if (bytes[FRAME_PAYLOAD_AT] === OPTICAL_VERSION) {
			if (changes) {
				status = this.#change(now, request, end);
				if (status === Status.ok) bodyEnd = this.#putReceipt();
			} else {
				bodyEnd = this.#ask(request, end);
				if (bodyEnd >= BODY_AT) status = Status.ok;
				else {
					status = -bodyEnd as Status;
					bodyEnd = BODY_AT;
				}
			}
		}
		this.counters.count(status);
		answer[FRAME_PAYLOAD_AT] = OPTICAL_VERSION;
		answer[FRAME_PAYLOAD_AT + 1] = ANSWER_FLAG | request;
		answer[FRAME_PAYLOAD_AT + 2] = bytes[FRAME_PAYLOAD_AT + 2]!;
		answer[FRAME_PAYLOAD_AT + 3] = bytes[FRAME_PAYLOAD_AT + 3]!;
		answer[FRAME_PAYLOAD_AT + 4] = status;
		answer[FRAME_PAYLOAD_AT + 5] = status === Status.ok ? Stage.none : this.#stage;
		const waitSeconds = Math.ceil(Math.round(this.#limit.remainingMilliseconds(now)) / 1000);
		answer[FRAME_PAYLOAD_AT + 6] = waitSeconds >> 8;
		answer[FRAME_PAYLOAD_AT + 7] = waitSeconds;
		this.#answerBytes = closeFrame(answer, bodyEnd - FRAME_PAYLOAD_AT);
		this.#sentBytes = 0;
		if (changes) {
			this.#questionChecksum = checksum;
			this.#answeredMilliseconds = now;
		}
	}

	/** Questions that change nothing that is worth a lock-out. @returns where the body ends, or minus a status */
	#ask(request: number, end: number): number {
		const { bytes } = this.#reader;
		const at = FRAME_PAYLOAD_AT + QUESTION_HEADER_BYTES;
		const byteLength = end - at;
		switch (request) {
			case OpticalRequest.identify:
				return byteLength === 0 ? this.#putIdentity() : -Status.badLength; // OPT-2
			case OpticalRequest.read: {
				if (byteLength !== 1) return -Status.badLength; // OPT-3
				const bodyEnd = this.#target.read(bytes[at]!, this.#answer, BODY_AT, BODY_END);
				if (bodyEnd > BODY_END) throw new InvariantError("more than fits into an answer");
				return bodyEnd > BODY_AT ? bodyEnd : -Status.notFound; // OPT-4
			}
			case OpticalRequest.witness:
				return byteLength === 0 ? this.#putWitness() : -Status.badLength; // OPT-5
			case OpticalRequest.anchor: {
				if (byteLength > MESSAGE_BYTES_MAX) return -Status.badLength; // OPT-10
				for (let i = 0; i < byteLength; i++) this.#sealed[i] = bytes[at + i]!;
				const status = this.#target.anchor(this.#sealed, byteLength);
				if (status === Status.ok) return BODY_AT;
				this.#stage = this.#target.stage;
				return -status;
			}
			default:
				return -Status.unsupported; // OPT-6
		}
	}

	/** Questions that need an authorisation, or an empty meter. */
	#change(now: number, request: number, end: number): Status {
		const limit = this.#limit;
		if (limit.remainingMilliseconds(now) > 0) return Status.busy; // OPT-7
		const { bytes } = this.#reader;
		const target = this.#target;
		const at = FRAME_PAYLOAD_AT + QUESTION_HEADER_BYTES;
		let status: Status = Status.ok;
		let sealedAt = at;
		if (request !== OpticalRequest.decommission) {
			this.#stage = Stage.deviceFile;
			if (end - at < DEVICE_FILE_BYTES) return Status.badLength; // OPT-8
			sealedAt += DEVICE_FILE_BYTES;
			if (request === OpticalRequest.provision && sealedAt !== end) return Status.badLength; // OPT-9
			status = decodeDeviceFile(bytes, at, DEVICE_FILE_BYTES, this.#file);
		}
		if (status === Status.ok && end - sealedAt > MESSAGE_BYTES_MAX) {
			this.#stage = Stage.authorisation;
			status = Status.badLength; // OPT-11
		}
		if (status === Status.ok) {
			const sealed = this.#sealed;
			const sealedBytes = end - sealedAt;
			for (let i = 0; i < sealedBytes; i++) sealed[i] = bytes[sealedAt + i]!;
			limit.begin(now);
			if (request === OpticalRequest.provision) status = target.provision(this.#file, bytes, at);
			else if (request === OpticalRequest.decommission) status = target.decommission(sealed, sealedBytes);
			else status = target.reseed(this.#file, bytes, at, sealed, sealedBytes);
			if (status === Status.ok) limit.succeed(now);
			else this.#stage = target.stage;
		}
		wipeDeviceFile(this.#file);
		return status;
	}

	#putReceipt(): number {
		const { receipt, receiptByteLength } = this.#target;
		for (let i = 0; i < receiptByteLength; i++) this.#answer[BODY_AT + i] = receipt[i]!;
		return BODY_AT + receiptByteLength;
	}

	#putIdentity(): number {
		const into = this.#answer;
		const identity = this.#identity;
		this.#target.identify(identity);
		for (let i = 0; i < DEVICE_ID_BYTES; i++) into[BODY_AT + i] = identity.id[i]!;
		into[BODY_AT + 8] = identity.firmwareMajor;
		into[BODY_AT + 9] = identity.firmwareMinor;
		into[BODY_AT + 10] = identity.firmwarePatch;
		into[BODY_AT + 11] = identity.keyState;
		into[BODY_AT + 12] = identity.generation >> 8;
		into[BODY_AT + 13] = identity.generation;
		into[BODY_AT + 14] = identity.epoch >> 8;
		into[BODY_AT + 15] = identity.epoch;
		into[BODY_AT + 16] = this.#limit.failedAttempts;
		let at = BODY_AT + IDENTITY_BYTES;
		let count = 0;
		const port = this.counters.counts;
		const keyStore = this.#target.counters.counts;
		for (let status = 1; status < STATUS_COUNT; status++) {
			if ((port[status]! === 0 && keyStore[status]! === 0) || at + REFUSAL_BYTES > BODY_END) continue;
			into[at] = status;
			set32(into, at + 1, port[status]!);
			set32(into, at + 5, keyStore[status]!);
			at += REFUSAL_BYTES;
			count++;
		}
		into[BODY_AT + 17] = count;
		return at;
	}

	#putWitness(): number {
		const into = this.#answer;
		const witness = this.#witness;
		this.#target.witness(witness);
		set32(into, BODY_AT, witness.headSequence);
		set32(into, BODY_AT + 4, witness.witnessedSequence);
		for (let i = 0; i < 8; i++) into[BODY_AT + 8 + i] = witness.headTag[i]!;
		return BODY_AT + WITNESS_BYTES;
	}
}
