import { randomInt } from "node:crypto";
import { Status, statusName } from "../../src/bytes/status.js";
import {
	closeFrame,
	FRAME_PAYLOAD_AT,
	FRAME_PAYLOAD_BYTES_MAX,
	OpticalFrameReader,
} from "../../src/provisioning/optical-frame.js";
import {
	ANSWER_FLAG,
	ANSWER_HEADER_BYTES,
	IDENTITY_BYTES,
	OPTICAL_VERSION,
	OpticalRequest,
	QUESTION_HEADER_BYTES,
	REFUSAL_BYTES,
	WITNESS_BYTES,
} from "../../src/provisioning/optical-port.js";
import { type KeyState, Stage } from "../../src/provisioning/provisioning-target.js";
import { UserError } from "../user-error.js";
import type { OpticalLine } from "./optical-line.js";

export interface OpticalIdentity {
	/** 16 hexadecimal digits. */
	readonly id: string;
	readonly firmware: string;
	readonly keyState: KeyState;
	readonly generation: number;
	readonly epoch: number;
	readonly failedAttempts: number;
	/** By name of the status. */
	readonly refusals: Readonly<Record<string, { readonly port: number; readonly keyStore: number }>>;
}

export interface OpticalWitness {
	readonly headSequence: number;
	readonly witnessedSequence: number;
	/** 16 hexadecimal digits. */
	readonly headTag: string;
}

/** The meter said no. The message is one line that says what to do, and holds no key material. */
export class OpticalRefusal extends UserError {
	override name = "OpticalRefusal";
	readonly request: OpticalRequest;
	readonly status: number;
	readonly stage: number;
	readonly retryAfterSeconds: number;

	constructor(request: OpticalRequest, status: number, stage: number, retryAfterSeconds: number) {
		super(refusalText(request, status, stage, retryAfterSeconds));
		this.request = request;
		this.status = status;
		this.stage = stage;
		this.retryAfterSeconds = retryAfterSeconds;
	}
}

/** The meter said nothing, or nothing that is an answer. */
export class OpticalSilence extends UserError {
	override name = "OpticalSilence";
}

const DEVICE_FILE_TEXTS: Readonly<Record<number, string>> = {
	[Status.badLength]: "the device file has another length: it is not whole; make it again",
	[Status.badKind]: "this is no device file",
	[Status.badVersion]: "the meter's firmware does not know this version of the device file; update one of the two",
	[Status.badChecksum]: "the device file was damaged on its way; try again, and make it again if that does not help",
	[Status.badValue]: "the device file says something impossible (generation, calendar, interval); make it again",
	[Status.notFound]: "the device file is another meter's; take the file with the id of this meter",
	[Status.replayed]: "the meter has keys of this generation already; renew the registry entry and take the new file",
	[Status.outOfOrder]: "the generation of the device file is not the next one; renew from what the meter says it has",
	[Status.expired]: "the device file begins on a day that is over for this meter; make it again with a later --epoch",
};

const AUTHORISATION_TEXTS: Readonly<Record<number, string>> = {
	[Status.badLength]: "the authorisation is not whole; ask the head end for it again",
	[Status.badKind]: "the authorisation is for something else (reseed and decommission are not interchangeable)",
	[Status.badVersion]: "the meter's firmware does not know this version of the authorisation; update one of the two",
	[Status.badTag]: "the authorisation is not this head end's, or not for this meter's keys",
	[Status.notFound]: "the authorisation is for another meter",
	[Status.notAuthorised]: "the authorisation is for another device file, or not from the head end",
	[Status.replayed]: "the authorisation was used already; ask the head end for a new one",
	[Status.outOfOrder]: "the head end has sent 32 messages or more that this meter never got; wait for the next day",
	[Status.clockInvalid]: "the meter has not heard that this day began; give it the day's ANCHOR first (--anchor)",
	[Status.timedOut]: "the authorisation is of a day that is over; ask the head end for a new one",
	[Status.expired]: "the authorisation is no longer valid; ask the head end for a new one",
};

const ANCHOR_TEXTS: Readonly<Record<number, string>> = {
	[Status.badTag]: "the ANCHOR is not of this meter's calendar",
	[Status.replayed]: "the meter knows this day already",
	[Status.notFound]: "the meter has no keys yet; provision it first",
};

const KEY_STORE_TEXTS: Readonly<Record<number, string>> = {
	[Status.busy]: "the key store is in the middle of something else; try again",
	[Status.corrupt]: "the meter's flash cannot be written; restart the meter and try again, then send it in",
	[Status.storageFull]: "the meter's key journal is used up; send it in",
	[Status.badVersion]: "the keys are of a newer firmware; update the meter first",
	[Status.noEntropy]: "the meter's random source has failed; send it in",
};

function questionText(request: OpticalRequest, status: number, retryAfterSeconds: number): string | undefined {
	if (status === Status.busy) return `too many failed attempts: the meter refuses for another ${retryAfterSeconds} s`;
	if (status === Status.notAuthorised && request === OpticalRequest.provision)
		return "the meter has keys already; renew them (provision reseed) or have it forget them (provision decommission)";
	if (status === Status.notFound && request === OpticalRequest.read) return "the meter has no such register";
	if (status === Status.notFound) return "the meter has no keys; provision it first (provision write)";
	if (status === Status.unsupported) return "the meter's firmware does not know this request; update it";
	if (status === Status.badVersion)
		return "the meter's firmware speaks another version of this protocol; update one of the two";
	return undefined;
}

const REQUEST_NAMES: Readonly<Record<number, string>> = Object.freeze({
	[OpticalRequest.identify]: "IDENTIFY",
	[OpticalRequest.read]: "READ",
	[OpticalRequest.witness]: "WITNESS",
	[OpticalRequest.provision]: "PROVISION",
	[OpticalRequest.reseed]: "RESEED",
	[OpticalRequest.decommission]: "DECOMMISSION",
	[OpticalRequest.anchor]: "ANCHOR",
});

/** One line for a refusal: what was refused, why, what to do. */
export function refusalText(request: OpticalRequest, status: number, stage: number, retryAfterSeconds = 0): string {
	const text =
		stage === Stage.question
			? questionText(request, status, retryAfterSeconds)
			: stage === Stage.deviceFile
				? DEVICE_FILE_TEXTS[status]
				: stage === Stage.authorisation
					? ((request === OpticalRequest.anchor ? ANCHOR_TEXTS : AUTHORISATION_TEXTS)[status] ??
						KEY_STORE_TEXTS[status])
					: KEY_STORE_TEXTS[status];
	const wait = status !== Status.busy && retryAfterSeconds > 0 ? `; next attempt in ${retryAfterSeconds} s` : "";
	return `the meter refuses ${REQUEST_NAMES[request] ?? request}: ${text ?? "see docs/PROVISIONING.md"} (${statusName(status)})${wait}`;
}

export interface OpticalClientOptions {
	/** How long one answer may take; a change erases and writes flash. */
	readonly timeoutMilliseconds?: number;
	/** Questions in all before the client gives up. */
	readonly attempts?: number;
	/** Of the first question; others count up. Random, so that two clients do not take each other's answers. */
	readonly sequence?: number;
}

interface Answer {
	readonly status: number;
	readonly stage: number;
	readonly retryAfterSeconds: number;
	readonly body: Buffer;
}

/**
 * The asking side of the optical port. One question at a time; it is repeated byte for byte when no answer comes, and
 * the meter acts on it once. A refusal of the meter is thrown as `OpticalRefusal`, silence as `OpticalSilence`.
 */
export class OpticalClient {
	/** Questions that had to be asked again. */
	repeats = 0;
	readonly #line: OpticalLine;
	readonly #timeoutMilliseconds: number;
	readonly #attempts: number;
	readonly #reader = new OpticalFrameReader();
	#sequence: number;
	#waiting: ((payload: Buffer) => void) | undefined;
	#failed: ((reason: string) => void) | undefined;
	#closedReason: string | undefined;

	constructor(line: OpticalLine, options: OpticalClientOptions = {}) {
		this.#line = line;
		this.#timeoutMilliseconds = options.timeoutMilliseconds ?? 3000;
		this.#attempts = options.attempts ?? 4;
		this.#sequence = options.sequence ?? randomInt(0x1_0000);
		line.onReceived((bytes) => this.#received(bytes));
		line.onClosed((reason) => {
			this.#closedReason = reason;
			this.#failed?.(reason);
		});
	}

	async identify(): Promise<OpticalIdentity> {
		const body = await this.#ask(OpticalRequest.identify);
		const count = body[17] ?? 0;
		if (body.length !== IDENTITY_BYTES + count * REFUSAL_BYTES) throw strange(OpticalRequest.identify);
		const refusals: Record<string, { port: number; keyStore: number }> = {};
		for (let i = 0; i < count; i++) {
			const at = IDENTITY_BYTES + i * REFUSAL_BYTES;
			refusals[statusName(body[at]!)] = { port: body.readUInt32BE(at + 1), keyStore: body.readUInt32BE(at + 5) };
		}
		return {
			id: body.toString("hex", 0, 8),
			firmware: `${body[8]}.${body[9]}.${body[10]}`,
			keyState: body[11] as KeyState,
			generation: body.readUInt16BE(12),
			epoch: body.readUInt16BE(14),
			failedAttempts: body[16]!,
			refusals,
		};
	}

	/** What the meter shows to everyone; 0 is the display. */
	read(what: number): Promise<Buffer> {
		return this.#ask(OpticalRequest.read, Uint8Array.of(what));
	}

	async witness(): Promise<OpticalWitness> {
		const body = await this.#ask(OpticalRequest.witness);
		if (body.length !== WITNESS_BYTES) throw strange(OpticalRequest.witness);
		return {
			headSequence: body.readUInt32BE(0),
			witnessedSequence: body.readUInt32BE(4),
			headTag: body.toString("hex", 8),
		};
	}

	/** @returns the sealed receipt; empty when the meter gave none */
	provision(file: Uint8Array): Promise<Buffer> {
		return this.#ask(OpticalRequest.provision, file);
	}

	/** @returns the sealed receipt; empty when the meter gave none */
	reseed(file: Uint8Array, authorisation: Uint8Array): Promise<Buffer> {
		return this.#ask(OpticalRequest.reseed, file, authorisation);
	}

	/** @returns the sealed receipt; empty when the meter gave none */
	decommission(authorisation: Uint8Array): Promise<Buffer> {
		return this.#ask(OpticalRequest.decommission, authorisation);
	}

	async anchor(message: Uint8Array): Promise<void> {
		await this.#ask(OpticalRequest.anchor, message);
	}

	close(): void {
		this.#reader.reset();
		this.#line.close();
	}

	async #ask(request: OpticalRequest, ...body: readonly Uint8Array[]): Promise<Buffer> {
		const payloadBytes = QUESTION_HEADER_BYTES + body.reduce((sum, part) => sum + part.length, 0);
		if (payloadBytes > FRAME_PAYLOAD_BYTES_MAX)
			throw new UserError(`${payloadBytes} bytes do not fit into one question; at most ${FRAME_PAYLOAD_BYTES_MAX} do`);
		const sequence = this.#sequence;
		this.#sequence = (sequence + 1) & 0xffff;
		const frame = new Uint8Array(payloadBytes + FRAME_PAYLOAD_AT + 4);
		frame.set([OPTICAL_VERSION, request, sequence >> 8, sequence & 0xff], FRAME_PAYLOAD_AT);
		let at = FRAME_PAYLOAD_AT + QUESTION_HEADER_BYTES;
		for (const part of body) {
			frame.set(part, at);
			at += part.length;
		}
		closeFrame(frame, payloadBytes);
		try {
			for (let attempt = 1; attempt <= this.#attempts; attempt++) {
				if (attempt > 1) this.repeats++;
				const answer = await this.#exchange(frame, request, sequence);
				if (answer === undefined) continue;
				if (answer.status !== Status.ok)
					throw new OpticalRefusal(request, answer.status, answer.stage, answer.retryAfterSeconds);
				return answer.body;
			}
		} finally {
			frame.fill(0); // it may have held a device file
		}
		throw new OpticalSilence(
			`no answer from the meter in ${this.#attempts} attempts: set the optical head on the port and check --port`,
		);
	}

	/** @returns undefined when no answer came in time */
	#exchange(frame: Uint8Array, request: OpticalRequest, sequence: number): Promise<Answer | undefined> {
		return new Promise((resolve, reject) => {
			const settle = () => {
				clearTimeout(timer);
				this.#waiting = undefined;
				this.#failed = undefined;
			};
			const fail = (reason: string) => {
				settle();
				reject(new OpticalSilence(`the line to the meter is gone: ${reason}`));
			};
			const timer = setTimeout(() => {
				settle();
				resolve(undefined);
			}, this.#timeoutMilliseconds);
			this.#failed = fail;
			this.#waiting = (payload) => {
				const isOurs =
					payload.length >= ANSWER_HEADER_BYTES &&
					payload[0] === OPTICAL_VERSION &&
					payload[1] === (ANSWER_FLAG | request) &&
					payload.readUInt16BE(2) === sequence;
				if (!isOurs) return; // an echo, or the answer to an earlier question
				settle();
				resolve({
					status: payload[4]!,
					stage: payload[5]!,
					retryAfterSeconds: payload.readUInt16BE(6),
					body: payload.subarray(ANSWER_HEADER_BYTES),
				});
			};
			if (this.#closedReason !== undefined) fail(this.#closedReason);
			else {
				this.#reader.reset(); // what was left of an earlier answer
				this.#line.send(frame);
			}
		});
	}

	#received(bytes: Uint8Array): void {
		const reader = this.#reader;
		for (let at = 0; at < bytes.length; ) {
			at += reader.take(bytes, at, bytes.length);
			while (reader.payloadBytes > 0) {
				const end = FRAME_PAYLOAD_AT + reader.payloadBytes;
				const payload = Buffer.from(reader.bytes.slice(FRAME_PAYLOAD_AT, end));
				reader.next();
				this.#waiting?.(payload);
			}
		}
	}
}

function strange(request: OpticalRequest): OpticalSilence {
	return new OpticalSilence(
		`the answer to ${REQUEST_NAMES[request]} cannot be read: the meter's firmware is another version`,
	);
}
