import { Status, StatusCounters } from "../../src/bytes/status.js";
import { NO_BYTES } from "../../src/crypto/crypto.js";
import { METER_WINDOW } from "../../src/key-store/chains.js";
import { SERVER_STATE_BYTES, ServerUnicast } from "../../src/key-store/server-unicast.js";
import { UNICAST_OVERHEAD_BYTES, UnicastType } from "../../src/key-store/unicast.js";
import {
	CONTENT_PREFIX_BYTES,
	encodeTime,
	NONCE_BYTES,
	TIME_BYTES,
	TIME_REQUEST_TRAILER_BYTES,
	WHOLE_DAY,
} from "../../src/messages/channel.js";
import { MESSAGE_BYTES_MAX } from "../../src/messages/kinds.js";
import { DEVICE_ID_BYTES } from "../../src/provisioning/device-file.js";
import type { ServerClock } from "../clock.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { DAY_SECONDS, epochOf, timeContent } from "../days.js";
import type { Registry, RegistryMeter } from "./registry.js";
import { SealedLog } from "./sealed-log.js";

/**
 * Records of the head end's session log (`sealed-log.ts`), version 1, big-endian. The first byte says what it is.
 * | type | name  | fields                                                                                   |
 * |-----:|-------|------------------------------------------------------------------------------------------|
 * |    0 | begin | –                                                                                        |
 * |    1 | state | id 8, generation 2, state 60 as of `ServerUnicast`                                       |
 * |    2 | kept  | id 8, generation 2, epoch 2, index 2, the sealed message: sent again until acknowledged  |
 * |    3 | gone  | id 8, generation 2: these keys are of no use any more                                    |
 */
const RecordType = Object.freeze({ begin: 0, state: 1, kept: 2, gone: 3 } as const);
const STATE_RECORD_BYTES = 11 + SERVER_STATE_BYTES;
const KEPT_HEADER_BYTES = 15;
/** Where `ServerUnicast` has in its state what is not secret. */
const STATE_EPOCH = 2;
const STATE_DOWN = 4;
const STATE_ACKNOWLEDGED = 6;
const STATE_UP = 8;

/**
 * Answers for the time may take this much of the meter's window of 32: each is sealed for one question and is of no use
 * a second time, so unlike commands they cannot be repeated, and 32 lost ones would shut the branch for the day.
 */
const TIME_WINDOW = METER_WINDOW - 8;
const RESEND_FIRST_SECONDS = 30;
const RESEND_MAX_SECONDS = 600;
/** One question for the time a second is answered. */
const TIME_ANSWER_SECONDS = 1;

interface Kept {
	readonly index: number;
	readonly sealed: Buffer;
}

/** One generation of a meter's keys. */
class Chain {
	readonly generation: number;
	readonly unicast: ServerUnicast;
	/** As it was saved last: the newest is what counts. */
	readonly state = Buffer.alloc(SERVER_STATE_BYTES);
	hasState = false;
	kept: Kept[] = [];
	resendAtSeconds = Number.POSITIVE_INFINITY;
	resendSeconds = RESEND_FIRST_SECONDS;

	constructor(generation: number, unicast: ServerUnicast) {
		this.generation = generation;
		this.unicast = unicast;
	}

	get epoch(): number {
		return this.hasState ? this.state.readUInt16BE(STATE_EPOCH) : -1;
	}

	get downNext(): number {
		return this.state.readUInt16BE(STATE_DOWN);
	}

	get acknowledged(): number {
		return this.state.readUInt16BE(STATE_ACKNOWLEDGED);
	}

	get upNext(): number {
		return this.state.readUInt16BE(STATE_UP);
	}
}

/** What may be shown of a meter's end-to-end branch. */
export interface EndToEndView {
	generation: number;
	/** Days since 2000-01-01; null before the first message of these keys. */
	epoch: number | null;
	downNext: number;
	acknowledged: number;
	upNext: number;
	/** Messages sealed, kept and sent again until the meter has acknowledged them. */
	kept: number;
	resent: number;
	/** Answers and commands that were not sealed because the meter's window was full. */
	held: number;
	accepted: number;
	lastAcceptedUtcSeconds: number | null;
}

class Session {
	readonly id: string;
	readonly idBytes: Uint8Array;
	/** By generation, the newest first; one, or two while it is not known which the meter has. */
	chains: Chain[] = [];
	accepted = 0;
	resent = 0;
	held = 0;
	lastAcceptedUtcSeconds = Number.NaN;
	lastTimeAnswerSeconds = Number.NEGATIVE_INFINITY;

	constructor(id: string) {
		this.id = id;
		this.idBytes = new Uint8Array(Buffer.from(id, "hex"));
	}
}

export interface EndToEndOptions {
	readonly registry: Registry;
	readonly clock: ServerClock;
	readonly log: (line: string) => void;
	/** Puts a sealed message on its way. Called only when what it cost is on the disk. */
	readonly transmit: (id: string, sealed: Uint8Array) => void;
	/** The time that is told: it must not be behind what was broadcast (HORA section 6). NaN: none may be told. */
	readonly timeSeconds?: () => number;
}

/**
 * The head end's end of every meter's end-to-end branch. An index is on the disk before the message that uses it is
 * handed to `transmit`, and an index that was accepted is written before its message is acted on; so neither kill -9 nor
 * a power cut makes an index be used twice. After a power cut a message that had been accepted and not synced may be
 * accepted again: rows and readings are known by their own numbers.
 */
export class EndToEnd {
	/** Refusals of all meters. */
	readonly counters = new StatusCounters();
	readonly #registry: Registry;
	readonly #clock: ServerClock;
	readonly #line: (line: string) => void;
	readonly #transmit: (id: string, sealed: Uint8Array) => void;
	readonly #timeSeconds: () => number;
	readonly #crypto = new NodeCrypto();
	readonly #sessions = new Map<string, Session>();
	#log!: SealedLog;
	/** Sealed, waiting for the disk. */
	#outgoing: { id: string; sealed: Buffer }[] = [];
	#isFlushing: Promise<void> | undefined;
	readonly #record = Buffer.alloc(STATE_RECORD_BYTES);
	readonly #content = new Uint8Array(MESSAGE_BYTES_MAX + CONTENT_PREFIX_BYTES);
	readonly #sealed = new Uint8Array(MESSAGE_BYTES_MAX + CONTENT_PREFIX_BYTES + UNICAST_OVERHEAD_BYTES);
	readonly #value = new Uint8Array(32);
	/** Questions for the time that wait for the end of a step of a virtual clock. */
	#timeQuestions: { session: Session; chain: Chain; nonce: Buffer }[] = [];
	/** Of the last `open` that answered `ok`: bytes of the message in `into`; 0: it was for the channel itself. */
	messageBytes = 0;
	/** Of that message: rises with the order in which the meter sealed. */
	openedOrder = 0;

	constructor(options: EndToEndOptions) {
		this.#registry = options.registry;
		this.#clock = options.clock;
		this.#line = options.log;
		this.#transmit = options.transmit;
		this.#timeSeconds = options.timeSeconds ?? (() => options.clock.utcSeconds());
	}

	/** @param path of the session log @throws UserError */
	open(path: string): void {
		const storeKey = this.#registry.storeKey();
		const states = new Map<string, Buffer>();
		const kept = new Map<string, { epoch: number; index: number; sealed: Buffer }[]>();
		this.#log = SealedLog.open(
			path,
			storeKey,
			(record) => {
				const name = record.toString("hex", 1, 11);
				if (record[0] === RecordType.state && record.length === STATE_RECORD_BYTES) {
					const state = Buffer.from(record.subarray(11));
					states.get(name)?.fill(0);
					states.set(name, state);
				} else if (record[0] === RecordType.kept && record.length > KEPT_HEADER_BYTES) {
					const list = kept.get(name) ?? [];
					list.push({
						epoch: record.readUInt16BE(11),
						index: record.readUInt16BE(13),
						sealed: Buffer.from(record.subarray(KEPT_HEADER_BYTES)),
					});
					kept.set(name, list);
				} else if (record[0] === RecordType.gone) {
					states.get(name)?.fill(0);
					states.delete(name);
					kept.delete(name);
				}
			},
			(write) => {
				this.#restore(states, kept);
				states.clear(); // the log is begun anew more than once
				this.#snapshot(write);
			},
		);
		storeKey.fill(0);
	}

	#restore(states: Map<string, Buffer>, kept: Map<string, { epoch: number; index: number; sealed: Buffer }[]>): void {
		for (const [name, state] of states) {
			const id = name.slice(0, 16);
			const generation = Number.parseInt(name.slice(16), 16);
			const session = this.#sessions.get(id) ?? new Session(id);
			const meter = this.#registry.meter(id);
			if (meter === undefined || meter.isDecommissioned) continue;
			const chain = this.#chain(session, meter, generation);
			state.copy(chain.state);
			chain.hasState = chain.unicast.restore(state) === Status.ok;
			state.fill(0);
			for (const { epoch, index, sealed } of kept.get(name) ?? [])
				if (epoch === chain.epoch && index >= chain.acknowledged) chain.kept.push({ index, sealed });
			session.chains.push(chain);
			session.chains.sort((a, b) => b.generation - a.generation);
			this.#sessions.set(id, session);
		}
	}

	#snapshot(write: (record: Uint8Array) => void): void {
		for (const session of this.#sessions.values())
			for (const chain of session.chains) {
				if (!chain.hasState) continue;
				write(this.#stateRecord(session, chain.generation, chain.state));
				for (const each of chain.kept) write(keptRecord(session.id, chain.generation, chain.epoch, each));
			}
	}

	#stateRecord(session: Session, generation: number, state: Uint8Array): Buffer {
		const record = this.#record;
		record[0] = RecordType.state;
		record.set(session.idBytes, 1);
		record.writeUInt16BE(generation, 9);
		record.set(state, 11);
		return record;
	}

	/** Forgets what the registry says is over: old generations, decommissioned meters. */
	registryChanged(): void {
		for (const [id, session] of this.#sessions) {
			const meter = this.#registry.meter(id);
			for (const chain of session.chains) {
				const { generation } = chain;
				if (meter && !meter.isDecommissioned && generation >= meter.confirmedGeneration) continue;
				this.#forget(session, chain);
			}
			if (session.chains.length === 0) this.#sessions.delete(id);
		}
	}

	#forget(session: Session, chain: Chain): void {
		const record = Buffer.alloc(11);
		record[0] = RecordType.gone;
		record.set(session.idBytes, 1);
		record.writeUInt16BE(chain.generation, 9);
		this.#log.append(record);
		chain.state.fill(0);
		chain.state[0] = 1;
		chain.unicast.restore(chain.state); // a state without keys
		chain.hasState = false;
		session.chains = session.chains.filter((other) => other !== chain);
	}

	/** @returns undefined for a meter that the registry does not know, or no more */
	#session(id: string): Session | undefined {
		const meter = this.#registry.meter(id);
		if (!meter || meter.isDecommissioned) return undefined;
		let session = this.#sessions.get(id);
		if (!session) {
			session = new Session(id);
			this.#sessions.set(id, session);
		}
		const wanted = meter.confirmedGeneration > 0 ? [meter.generation, meter.confirmedGeneration] : [meter.generation];
		for (const generation of wanted)
			if (!session.chains.some((chain) => chain.generation === generation))
				session.chains.push(this.#chain(session, meter, generation));
		if (session.chains.length > 1) session.chains.sort((a, b) => b.generation - a.generation);
		return session;
	}

	#chain(session: Session, { domain, shortAddress }: RegistryMeter, generation: number): Chain {
		const chain: Chain = new Chain(
			generation,
			new ServerUnicast(this.#crypto, {
				branch: 0,
				id: session.idBytes,
				domain,
				shortAddress,
				save: (state) => {
					if (!this.#log.append(this.#stateRecord(session, generation, state))) return false;
					chain.state.set(state);
					chain.hasState = true;
					return true;
				},
			}),
		);
		return chain;
	}

	/** Brings a chain to today; its keys may begin later. @returns whether it stands at today */
	#today(session: Session, chain: Chain, today: number): boolean {
		if (chain.epoch >= today) return chain.epoch === today;
		const meter = this.#registry.meter(session.id);
		if (!meter) return false;
		const first = chain.generation === meter.generation ? meter.epoch : meter.confirmedEpoch;
		if (today < first) return false;
		this.#registry.dayValue(session.id, chain.generation, 0, today, this.#value, 0);
		const status = chain.unicast.startDay(today, this.#value, 0);
		this.#value.fill(0);
		if (status !== Status.ok) return false;
		chain.kept = []; // of yesterday: whoever sent them seals them anew
		chain.resendAtSeconds = Number.POSITIVE_INFINITY;
		return true;
	}

	/** At midnight, and at the start: every meter's chains of today; yesterday's go at the end of interval 1. */
	startDay(): void {
		const now = this.#clock.utcSeconds();
		const today = epochOf(now);
		const isYesterdayOver = now - today * DAY_SECONDS >= 2 * this.#registry.teslaIntervalSeconds;
		for (const session of this.#sessions.values())
			for (const chain of session.chains) {
				this.#today(session, chain, today);
				if (isYesterdayOver) chain.unicast.endYesterday();
			}
		this.#log.tryRewrite(); // what was overwritten is gone from the disk, too
	}

	/** At the end of interval 1: yesterday's receiving chains are erased, from the file as well. */
	endYesterday(): void {
		for (const session of this.#sessions.values()) for (const chain of session.chains) chain.unicast.endYesterday();
		this.#log.tryRewrite();
	}

	/**
	 * Opens what came from a meter. After `ok` the index is used up.
	 * @param into receives the message, kind first; `messageBytes` says how long; 0: it was for the channel itself
	 */
	receive(id: string, payload: Uint8Array, into: Uint8Array): Status {
		this.messageBytes = 0;
		const status = this.#receive(id, payload, into);
		return this.counters.count(status);
	}

	#receive(id: string, payload: Uint8Array, into: Uint8Array): Status {
		if (payload.length > this.#sealed.length + TIME_REQUEST_TRAILER_BYTES) return Status.badLength;
		const session = this.#session(id);
		if (!session) return Status.notFound;
		const now = this.#clock.utcSeconds();
		const today = epochOf(now);
		const isTime = payload[0] === UnicastType.timeRequest;
		const byteLength = payload.length - (isTime ? TIME_REQUEST_TRAILER_BYTES : 0);
		if (byteLength < UNICAST_OVERHEAD_BYTES) return Status.badLength;
		const nonce = isTime ? payload.subarray(byteLength) : NO_BYTES;
		let refused: Status = Status.notFound;
		for (const chain of session.chains) {
			// A meter is at yesterday until it has heard the anchor; a server that starts late gives it yesterday's chain.
			if (!this.#today(session, chain, today)) continue;
			const status = chain.unicast.openMessage(payload, byteLength, this.#content, nonce);
			if (status !== Status.ok) {
				refused = status;
				continue;
			}
			if (session.chains.length > 1 || chain.generation !== this.#registry.meter(id)?.confirmedGeneration)
				this.#confirm(session, chain);
			this.openedOrder = chain.unicast.opened.epoch * 0x1_0000 + chain.unicast.opened.index;
			session.accepted++;
			session.lastAcceptedUtcSeconds = now;
			return isTime ? this.#timeAsked(session, chain, nonce) : this.#dataReceived(chain, into);
		}
		return refused;
	}

	/** The meter has shown which keys it has. */
	#confirm(session: Session, chain: Chain): void {
		if (chain.generation === this.#registry.meter(session.id)?.generation) {
			this.#registry.confirmMeter(session.id, chain.generation);
			for (const other of session.chains) if (other !== chain) this.#forget(session, other);
			this.#line(`meter ${session.id}: has its keys of generation ${chain.generation}`);
		}
	}

	#dataReceived(chain: Chain, into: Uint8Array): Status {
		const { unicast } = chain;
		if (unicast.opened.type !== UnicastType.data) return Status.badKind;
		const messageBytes = unicast.openedByteLength - CONTENT_PREFIX_BYTES;
		if (messageBytes < 2 || messageBytes > into.length) return Status.badLength;
		const content = this.#content;
		if (unicast.opened.epoch === chain.epoch) this.#acknowledged(chain, content[0]! * 256 + content[1]!);
		into.set(content.subarray(CONTENT_PREFIX_BYTES, CONTENT_PREFIX_BYTES + messageBytes));
		this.messageBytes = messageBytes;
		return Status.ok;
	}

	#acknowledged(chain: Chain, next: number): void {
		chain.unicast.acknowledge(next);
		if (next > chain.acknowledged && next <= chain.downNext) chain.state.writeUInt16BE(next, STATE_ACKNOWLEDGED);
		if (chain.kept.length === 0) return;
		chain.kept = chain.kept.filter(({ index }) => index >= next);
		chain.resendSeconds = RESEND_FIRST_SECONDS;
		if (chain.kept.length === 0) chain.resendAtSeconds = Number.POSITIVE_INFINITY;
	}

	#timeAsked(session: Session, chain: Chain, nonce: Uint8Array): Status {
		if (chain.unicast.openedByteLength !== 0) return Status.badLength;
		const question = { session, chain, nonce: Buffer.from(nonce) };
		if (this.#clock.stepped) {
			this.#timeQuestions.push(question); // the answer carries the time of the end of the step
			return Status.ok;
		}
		const now = this.#clock.utcSeconds();
		if (now - session.lastTimeAnswerSeconds < TIME_ANSWER_SECONDS) return Status.busy;
		session.lastTimeAnswerSeconds = now;
		this.#answerTime(question);
		return Status.ok;
	}

	#answerTime({ session, chain, nonce }: { session: Session; chain: Chain; nonce: Buffer }): void {
		const now = this.#timeSeconds();
		if (
			Number.isNaN(now) ||
			!this.#today(session, chain, epochOf(now)) ||
			chain.downNext - chain.acknowledged >= TIME_WINDOW
		) {
			session.held++;
			return;
		}
		encodeTime(timeContent(now, this.#registry.teslaIntervalSeconds), new DataView(this.#content.buffer));
		this.#seal(session, chain, UnicastType.time, TIME_BYTES, nonce.subarray(0, NONCE_BYTES));
	}

	/** At the end of a step of a virtual clock. */
	stepDone(): void {
		const questions = this.#timeQuestions;
		this.#timeQuestions = [];
		for (const question of questions) this.#answerTime(question);
	}

	/**
	 * Seals a message as a COMMAND, keeps it until it is acknowledged, and sends it when that is on the disk.
	 * @param notAfter last interval of the day in which the meter may act; 0xFFFF: the whole day
	 * @returns false when nothing may be sealed now: 32 messages are not acknowledged, or there are no keys for today
	 */
	send(id: string, message: Uint8Array, byteLength: number, notAfter: number = WHOLE_DAY): boolean {
		const session = this.#session(id);
		const chain = session && this.#sendingChain(session);
		if (!session || !chain) return false;
		const content = this.#content;
		content[0] = notAfter >> 8;
		content[1] = notAfter;
		content.set(message.subarray(0, byteLength), CONTENT_PREFIX_BYTES);
		return this.#seal(session, chain, UnicastType.command, CONTENT_PREFIX_BYTES + byteLength, NO_BYTES);
	}

	/** The chain of the keys that the meter is known to have; else that of the only ones it can have. */
	#sendingChain(session: Session): Chain | undefined {
		const confirmed = this.#registry.meter(session.id)?.confirmedGeneration ?? 0;
		const chain = session.chains.find(({ generation }) => generation === confirmed) ?? session.chains[0];
		return chain && this.#today(session, chain, epochOf(this.#clock.utcSeconds())) ? chain : undefined;
	}

	/** Of what lies in the content buffer. */
	#seal(session: Session, chain: Chain, type: number, byteLength: number, bound: Uint8Array): boolean {
		const index = chain.downNext;
		const count = chain.unicast.sealMessage(type, this.#content, byteLength, this.#sealed, bound);
		if (count === 0) {
			session.held++;
			return false;
		}
		const sealed = Buffer.from(this.#sealed.subarray(0, count));
		if (bound.length === 0) {
			const kept = { index, sealed };
			if (!this.#log.append(keptRecord(session.id, chain.generation, chain.epoch, kept))) return false;
			chain.kept.push(kept);
			chain.resendAtSeconds = Math.min(chain.resendAtSeconds, this.#clock.utcSeconds() + chain.resendSeconds);
		}
		this.#queue(session.id, sealed);
		return true;
	}

	/**
	 * Seals a COMMAND for a technician who brings it to the meter himself. It is durable that the index is used.
	 * @param generation of the keys that the meter has
	 * @param epoch the day that the meter stands at
	 * @returns undefined when 32 messages are not acknowledged, or these keys are at another day already
	 */
	authorise(id: string, generation: number, epoch: number, message: Uint8Array): Uint8Array | undefined {
		const session = this.#session(id);
		const chain = session?.chains.find((each) => each.generation === generation);
		if (!session || !chain || !this.#today(session, chain, epoch)) return undefined;
		const content = this.#content;
		content[0] = WHOLE_DAY >> 8;
		content[1] = WHOLE_DAY & 0xff;
		content.set(message, CONTENT_PREFIX_BYTES);
		const byteLength = CONTENT_PREFIX_BYTES + message.length;
		const count = chain.unicast.sealMessage(UnicastType.command, content, byteLength, this.#sealed);
		if (count === 0) return undefined;
		this.#log.syncNow();
		return this.#sealed.slice(0, count);
	}

	/** The day that the keys of a generation stand at; -1: at none yet. */
	epochOf(id: string, generation: number): number {
		return this.#session(id)?.chains.find((each) => each.generation === generation)?.epoch ?? -1;
	}

	/**
	 * Opens a DATA message that a technician brought from the meter.
	 * @returns the content, prefix first; undefined when it is not of these keys
	 */
	openBrought(id: string, generation: number, sealed: Uint8Array): Uint8Array | undefined {
		const chain = this.#session(id)?.chains.find((each) => each.generation === generation);
		if (!chain?.hasState || sealed.length > this.#sealed.length) return undefined;
		if (chain.unicast.openMessage(sealed, sealed.length, this.#content) !== Status.ok) return undefined;
		if (chain.unicast.openedByteLength < CONTENT_PREFIX_BYTES) return undefined;
		this.#acknowledged(chain, this.#content[0]! * 256 + this.#content[1]!);
		return this.#content.slice(0, chain.unicast.openedByteLength);
	}

	/** Sends again what a meter has not acknowledged: it is back, or has been silent about it for too long. */
	resend(id: string): void {
		const session = this.#sessions.get(id);
		if (!session) return;
		for (const chain of session.chains) this.#resend(session, chain);
	}

	#resend(session: Session, chain: Chain): void {
		if (chain.epoch !== epochOf(this.#clock.utcSeconds())) return;
		for (const { sealed } of chain.kept) {
			session.resent++;
			this.#queue(session.id, sealed);
		}
		if (chain.kept.length > 0) chain.resendAtSeconds = this.#clock.utcSeconds() + chain.resendSeconds;
	}

	/** @param isOnline whether a meter can hear */
	resendDue(isOnline: (id: string) => boolean): void {
		const now = this.#clock.utcSeconds();
		for (const session of this.#sessions.values())
			for (const chain of session.chains) {
				if (now < chain.resendAtSeconds || !isOnline(session.id)) continue;
				chain.resendSeconds = Math.min(RESEND_MAX_SECONDS, 2 * chain.resendSeconds);
				this.#resend(session, chain);
			}
		this.#log.compact();
	}

	#queue(id: string, sealed: Buffer): void {
		this.#outgoing.push({ id, sealed });
		this.#isFlushing ??= this.#flush();
	}

	async #flush(): Promise<void> {
		// A turn of the event loop, so that what is sealed together is synced together.
		await new Promise((resolve) => setImmediate(resolve));
		try {
			while (this.#outgoing.length > 0) {
				const ready = this.#outgoing;
				this.#outgoing = [];
				await this.#log.sync();
				for (const { id, sealed } of ready) this.#transmit(id, sealed);
			}
		} catch {
			this.#outgoing = []; // the log has failed, and says so; what was kept is sent again from there
		} finally {
			this.#isFlushing = undefined;
		}
	}

	/** Resolves when all that was sealed has been handed to `transmit`. */
	async flushed(): Promise<void> {
		while (this.#isFlushing) await this.#isFlushing;
	}

	/** What stopped the log, undefined while it works. */
	get failure(): Error | undefined {
		return this.#log.failure;
	}

	/** After a failure: begins the log anew. @throws what the disk says */
	recover(): void {
		this.#log.rewrite();
	}

	/** Sessions that were heard since the start, messages kept, records and syncs of the log. */
	get figures(): { open: number; kept: number; records: number; syncs: number } {
		let open = 0;
		let kept = 0;
		for (const session of this.#sessions.values()) {
			if (session.accepted > 0) open++;
			for (const chain of session.chains) kept += chain.kept.length;
		}
		return { open, kept, records: this.#log.records, syncs: this.#log.syncs };
	}

	view(id: string): EndToEndView | undefined {
		const session = this.#session(id);
		const confirmed = this.#registry.meter(id)?.confirmedGeneration ?? 0;
		const chain = session?.chains.find(({ generation }) => generation === confirmed) ?? session?.chains[0];
		if (!session || !chain) return undefined;
		return {
			generation: chain.generation,
			epoch: chain.hasState ? chain.epoch : null,
			downNext: chain.downNext,
			acknowledged: chain.acknowledged,
			upNext: chain.upNext,
			kept: chain.kept.length,
			resent: session.resent,
			held: session.held,
			accepted: session.accepted,
			lastAcceptedUtcSeconds: Number.isNaN(session.lastAcceptedUtcSeconds) ? null : session.lastAcceptedUtcSeconds,
		};
	}

	/** Where nothing waits to be sent. */
	closeNow(): void {
		this.#log.closeNow();
		for (const session of this.#sessions.values()) for (const chain of session.chains) chain.state.fill(0);
	}

	async close(): Promise<void> {
		await this.flushed();
		await this.#log.close();
		for (const session of this.#sessions.values()) for (const chain of session.chains) chain.state.fill(0);
	}
}

function keptRecord(id: string, generation: number, epoch: number, { index, sealed }: Kept): Buffer {
	const record = Buffer.alloc(KEPT_HEADER_BYTES + sealed.length);
	record[0] = RecordType.kept;
	record.write(id, 1, DEVICE_ID_BYTES, "hex");
	record.writeUInt16BE(generation, 9);
	record.writeUInt16BE(epoch, 11);
	record.writeUInt16BE(index, 13);
	record.set(sealed, KEPT_HEADER_BYTES);
	return record;
}
