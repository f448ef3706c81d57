import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Status, StatusCounters } from "../../src/bytes/status.js";
import { nextBlockDay, ODOMETER_VALUE_BYTES } from "../../src/key-store/odometer.js";
import { SERVER_STATE_BYTES, ServerUnicast } from "../../src/key-store/server-unicast.js";
import { UNICAST_OVERHEAD_BYTES, UnicastType } from "../../src/key-store/unicast.js";
import {
	CATCHUP_BYTES,
	CATCHUP_KEY,
	CATCHUP_REQUEST_DOWN_NEXT,
	CATCHUP_REQUEST_HEAD,
	CATCHUP_REQUEST_TRAILER_BYTES,
	encodeCatchUp,
	NONCE_BYTES,
} from "../../src/messages/channel.js";
import { MESSAGE_BYTES_MAX } from "../../src/messages/kinds.js";
import { DEVICE_ID_BYTES } from "../../src/provisioning/device-file.js";
import type { CatchUpKey } from "../broadcast/concentrator-broadcast.js";
import type { ServerClock } from "../clock.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { DAY_SECONDS, epochOf } from "../days.js";
import type { Delegation, NeighbourReport } from "../head-end/pipe.js";
import { SealedLog } from "../head-end/sealed-log.js";
import { writeSecret } from "../provisioning/sealed-file.js";

/**
 * Records of the concentrator's log (`sealed-log.ts`), version 1, big-endian. The first byte says what it is.
 * | type | name  | fields                                                                                      |
 * |-----:|-------|---------------------------------------------------------------------------------------------|
 * |    0 | begin | –                                                                                           |
 * |    1 | state | id 8, generation 2, state 60 as of `ServerUnicast`                                          |
 * |    2 | block | id 8, generation 2, domain 2, shortAddress 2, block 2, day 1 that `next` belongs to; 16: none left, next 32 |
 * |    3 | head  | id 8, generation 2, head 4: the largest count of key records seen with these keys           |
 * |    4 | gone  | id 8, generation 2: these keys are of no use any more                                       |
 */
const RecordType = Object.freeze({ begin: 0, state: 1, block: 2, head: 3, gone: 4 } as const);
const NAME_BYTES = DEVICE_ID_BYTES + 2;
const STATE_RECORD_BYTES = 1 + NAME_BYTES + SERVER_STATE_BYTES;
const BLOCK_RECORD_BYTES = 1 + NAME_BYTES + 7 + ODOMETER_VALUE_BYTES;
const HEAD_RECORD_BYTES = 1 + NAME_BYTES + 4;
const BLOCK_DAYS = 16;
const KEY_BYTES = 32;

/** One generation of a meter's neighbourhood keys. */
interface Chain {
	readonly generation: number;
	readonly domain: number;
	readonly shortAddress: number;
	block: number;
	/** Day of the block that `next` belongs to; 16: the block is over. */
	nextDay: number;
	readonly next: Uint8Array;
	readonly unicast: ServerUnicast;
	readonly state: Buffer;
	hasState: boolean;
	/** The largest count of key records that the meter was seen with: a smaller one later is flash that was put back. */
	head: number;
}

interface Neighbour {
	readonly id: string;
	readonly idBytes: Uint8Array;
	/** The newest generation first. */
	chains: Chain[];
	readonly counters: StatusCounters;
}

export interface NeighbourhoodOptions {
	/** The concentrator's folder: nothing of it lies elsewhere. */
	readonly folder: string;
	readonly clock: ServerClock;
	readonly intervalSeconds: number;
	/** Puts a sealed message on its way. Called only when what it cost is on the disk. */
	readonly transmit: (id: string, sealed: Uint8Array) => void;
	/** Something of a meter changed. */
	readonly onReport: (id: string, report: NeighbourReport) => void;
	/** Time and newest key of its own chain; undefined: none yet, or no time may be told. */
	readonly catchUpKey: () => CatchUpKey | undefined;
}

/**
 * The neighbourhood branch of the meters of one concentrator: it knows the values of the days that are left of a block,
 * the chains of today, and which head it has witnessed of each meter. What lies on its disk is opened by the key that
 * lies beside it: a thief of the folder has it all, and it is this and no more.
 */
export class Neighbourhood {
	readonly counters = new StatusCounters();
	readonly #options: NeighbourhoodOptions;
	readonly #crypto = new NodeCrypto();
	readonly #meters = new Map<string, Neighbour>();
	readonly #log: SealedLog;
	readonly #content = new Uint8Array(MESSAGE_BYTES_MAX);
	readonly #sealed = new Uint8Array(MESSAGE_BYTES_MAX);
	readonly #bytes = new Uint8Array(2 * ODOMETER_VALUE_BYTES);
	#outgoing: { id: string; sealed: Buffer }[] = [];
	#isFlushing: Promise<void> | undefined;
	/** Questions that wait for the end of a step of a virtual clock. */
	#questions: { neighbour: Neighbour; chain: Chain; nonce: Buffer }[] = [];

	constructor(options: NeighbourhoodOptions) {
		this.#options = options;
		const { folder } = options;
		mkdirSync(folder, { recursive: true, mode: 0o700 });
		const keyPath = join(folder, "concentrator.key");
		if (!existsSync(keyPath)) writeSecret(keyPath, randomBytes(KEY_BYTES));
		const key = readFileSync(keyPath);
		this.#log = SealedLog.open(
			join(folder, "neighbourhood.log"),
			key,
			(record) => this.#take(record),
			(write) => this.#snapshot(write),
		);
		key.fill(0);
	}

	#neighbour(id: string): Neighbour {
		let neighbour = this.#meters.get(id);
		if (!neighbour) {
			neighbour = {
				id,
				idBytes: new Uint8Array(Buffer.from(id, "hex")),
				chains: [],
				counters: new StatusCounters(),
			};
			this.#meters.set(id, neighbour);
		}
		return neighbour;
	}

	#take(record: Buffer): void {
		const type = record[0];
		if (type === RecordType.begin || record.length < 1 + DEVICE_ID_BYTES) return;
		const neighbour = this.#neighbour(record.toString("hex", 1, 9));
		const generation = record.readUInt16BE(9);
		const known = neighbour.chains.find((chain) => chain.generation === generation);
		if (type === RecordType.block && record.length === BLOCK_RECORD_BYTES) {
			const chain = known ?? this.#chain(neighbour, generation, record.readUInt16BE(11), record.readUInt16BE(13));
			chain.block = record.readUInt16BE(15);
			chain.nextDay = record[17]!;
			chain.next.set(record.subarray(18));
		} else if (type === RecordType.state && record.length === STATE_RECORD_BYTES && known) {
			known.state.set(record.subarray(11));
			known.hasState = known.unicast.restore(known.state) === Status.ok;
		} else if (type === RecordType.head && record.length === HEAD_RECORD_BYTES && known) {
			known.head = record.readUInt32BE(11);
		} else if (type === RecordType.gone) {
			neighbour.chains = neighbour.chains.filter((chain) => chain !== known);
		}
	}

	#chain(neighbour: Neighbour, generation: number, domain: number, shortAddress: number): Chain {
		const chain: Chain = {
			generation,
			domain,
			shortAddress,
			block: -1,
			nextDay: BLOCK_DAYS,
			next: new Uint8Array(ODOMETER_VALUE_BYTES),
			state: Buffer.alloc(SERVER_STATE_BYTES),
			hasState: false,
			head: 0,
			unicast: new ServerUnicast(this.#crypto, {
				branch: 1,
				id: neighbour.idBytes,
				domain,
				shortAddress,
				save: (state) => {
					if (!this.#log.append(stateRecord(neighbour, generation, state))) return false;
					chain.state.set(state);
					chain.hasState = true;
					return true;
				},
			}),
		};
		neighbour.chains.push(chain);
		neighbour.chains.sort((a, b) => b.generation - a.generation);
		return chain;
	}

	#snapshot(write: (record: Uint8Array) => void): void {
		for (const neighbour of this.#meters.values()) {
			for (const chain of neighbour.chains) {
				write(blockRecord(neighbour, chain));
				if (chain.head > 0) write(headRecord(neighbour, chain));
				if (chain.hasState) write(stateRecord(neighbour, chain.generation, chain.state));
			}
		}
	}

	/**
	 * Takes values of a block that begins or goes on today. What is here already stays: it has gone further than what the
	 * head end sends, and what lies before today was erased for good.
	 */
	delegate({ domain, block, day, meters }: Delegation): void {
		for (const { id, generation, shortAddress, value } of meters) {
			const neighbour = this.#neighbour(id);
			const oldest = neighbour.chains[neighbour.chains.length - 1];
			let chain = neighbour.chains.find((other) => other.generation === generation);
			if (chain && (chain.domain !== domain || chain.shortAddress !== shortAddress)) {
				this.#forget(neighbour, chain);
				chain = undefined;
			}
			if (!chain) {
				if (oldest && generation < oldest.generation) continue;
				chain = this.#chain(neighbour, generation, domain, shortAddress);
			}
			if (chain.block < block) {
				chain.block = block;
				chain.nextDay = day;
				chain.next.set(value);
				this.#log.append(blockRecord(neighbour, chain));
			}
			value.fill(0);
		}
		// Generations that are not told of any more are of no use: the meter has shown that it has newer ones.
		const told = new Map<string, Set<number>>();
		for (const { id, generation } of meters) told.set(id, (told.get(id) ?? new Set()).add(generation));
		for (const [id, generations] of told) {
			const neighbour = this.#neighbour(id);
			for (const chain of neighbour.chains) if (!generations.has(chain.generation)) this.#forget(neighbour, chain);
		}
		this.startDay();
	}

	/** A meter is no more. */
	remove(id: string): void {
		const neighbour = this.#meters.get(id);
		for (const chain of neighbour?.chains ?? []) this.#forget(neighbour!, chain);
		this.#log.tryRewrite();
	}

	#forget(neighbour: Neighbour, chain: Chain): void {
		const record = Buffer.alloc(1 + NAME_BYTES);
		record[0] = RecordType.gone;
		writeName(record, neighbour, chain.generation);
		this.#log.append(record);
		chain.next.fill(0);
		chain.state.fill(0);
		neighbour.chains = neighbour.chains.filter((other) => other !== chain);
	}

	/** Brings a chain to today, as far as its block reaches. @returns whether it stands at today */
	#today(neighbour: Neighbour, chain: Chain, today: number): boolean {
		const epoch = chain.hasState ? chain.state.readUInt16BE(2) : -1;
		if (epoch >= today) return epoch === today;
		if (today >> 4 !== chain.block || chain.nextDay >= BLOCK_DAYS) return false;
		const day = today & 15;
		if (day < chain.nextDay) return false;
		const bytes = this.#bytes;
		bytes.set(chain.next);
		nextBlockDay(this.#crypto, bytes, 0, chain.nextDay, day, ODOMETER_VALUE_BYTES);
		const status = chain.unicast.startDay(today, bytes, ODOMETER_VALUE_BYTES);
		if (status === Status.ok) {
			chain.next.set(bytes.subarray(0, ODOMETER_VALUE_BYTES));
			chain.nextDay = day + 1;
			this.#log.append(blockRecord(neighbour, chain));
		}
		bytes.fill(0);
		return status === Status.ok;
	}

	/** At midnight and at the start: today's chains of every meter; the values they came from are erased, on disk as well. */
	startDay(): void {
		const now = this.#options.clock.utcSeconds();
		const today = epochOf(now);
		const isYesterdayOver = now - today * DAY_SECONDS >= 2 * this.#options.intervalSeconds;
		for (const neighbour of this.#meters.values())
			for (const chain of neighbour.chains) {
				this.#today(neighbour, chain, today);
				if (isYesterdayOver) chain.unicast.endYesterday();
			}
		this.#log.tryRewrite();
	}

	/** At the end of interval 1. */
	endYesterday(): void {
		for (const neighbour of this.#meters.values()) for (const chain of neighbour.chains) chain.unicast.endYesterday();
		this.#log.tryRewrite();
	}

	/** A message of the neighbourhood branch. Every answer is counted. */
	receive(id: string, payload: Uint8Array): Status {
		const neighbour = this.#meters.get(id);
		if (!neighbour || neighbour.chains.length === 0) return this.counters.count(Status.notFound);
		const status = neighbour.counters.count(this.counters.count(this.#receive(neighbour, payload)));
		this.#report(neighbour);
		return status;
	}

	#receive(neighbour: Neighbour, payload: Uint8Array): Status {
		if (payload[0] !== UnicastType.catchUpRequest && payload[0] !== UnicastType.neighbour) return Status.badKind;
		const isQuestion = payload[0] === UnicastType.catchUpRequest;
		const byteLength = payload.length - (isQuestion ? CATCHUP_REQUEST_TRAILER_BYTES : 0);
		if (byteLength < UNICAST_OVERHEAD_BYTES || byteLength > this.#content.length) return Status.badLength;
		const trailer = payload.subarray(byteLength);
		const today = epochOf(this.#options.clock.utcSeconds());
		let refused: Status = Status.notFound;
		for (const chain of neighbour.chains) {
			if (!this.#today(neighbour, chain, today)) continue;
			const status = chain.unicast.openMessage(payload, byteLength, this.#content, trailer);
			if (status !== Status.ok) {
				refused = status;
				continue;
			}
			for (const other of neighbour.chains) if (other.generation < chain.generation) this.#forget(neighbour, other);
			if (!isQuestion) return this.#neighbourReceived(chain);
			if (chain.unicast.openedByteLength !== 0) return Status.badLength;
			return this.#catchUpAsked(neighbour, chain, trailer);
		}
		return refused;
	}

	/** Nothing is said over this branch yet but what it acknowledges. */
	#neighbourReceived(chain: Chain): Status {
		if (chain.unicast.openedByteLength < 2) return Status.badLength;
		if (chain.unicast.opened.epoch === chain.unicast.epoch)
			chain.unicast.acknowledge(this.#content[0]! * 256 + this.#content[1]!);
		return Status.ok;
	}

	#catchUpAsked(neighbour: Neighbour, chain: Chain, trailer: Uint8Array): Status {
		const view = new DataView(trailer.buffer, trailer.byteOffset, trailer.length);
		const head = view.getUint32(CATCHUP_REQUEST_HEAD);
		if (chain.unicast.opened.epoch === chain.unicast.epoch)
			chain.unicast.acknowledge(view.getUint16(CATCHUP_REQUEST_DOWN_NEXT));
		if (head > chain.head) {
			chain.head = head;
			if (!this.#log.append(headRecord(neighbour, chain))) return Status.storageFull;
		}
		const question = { neighbour, chain, nonce: Buffer.from(trailer.subarray(0, NONCE_BYTES)) };
		if (this.#options.clock.stepped) this.#questions.push(question);
		else return this.#answer(question);
		return Status.ok;
	}

	#answer({ neighbour, chain, nonce }: { neighbour: Neighbour; chain: Chain; nonce: Buffer }): Status {
		if (!this.#today(neighbour, chain, epochOf(this.#options.clock.utcSeconds()))) return Status.notFound;
		const now = this.#options.catchUpKey();
		if (!now) return Status.clockInvalid;
		const { epoch, interval, milliseconds, keyInterval, key } = now;
		const content = this.#content;
		encodeCatchUp({ epoch, interval, milliseconds, head: chain.head, keyInterval }, new DataView(content.buffer));
		content.set(key, CATCHUP_KEY);
		const count = chain.unicast.sealMessage(UnicastType.catchUp, content, CATCHUP_BYTES, this.#sealed, nonce);
		if (count === 0) return Status.busy;
		this.#outgoing.push({ id: neighbour.id, sealed: Buffer.from(this.#sealed.subarray(0, count)) });
		this.#isFlushing ??= this.#flush();
		return Status.ok;
	}

	/** At the end of a step of a virtual clock. */
	stepDone(): void {
		const questions = this.#questions;
		this.#questions = [];
		for (const question of questions) {
			this.#answer(question);
			this.#report(question.neighbour);
		}
	}

	async #flush(): Promise<void> {
		await new Promise((resolve) => setImmediate(resolve)); // what is sealed together is synced together
		try {
			while (this.#outgoing.length > 0) {
				const ready = this.#outgoing;
				this.#outgoing = [];
				await this.#log.sync(); // head and index, before anybody can act on them
				for (const { id, sealed } of ready) this.#options.transmit(id, sealed);
			}
		} catch {
			this.#outgoing = []; // the log has failed and says so; meters ask again
		} finally {
			this.#isFlushing = undefined;
		}
	}

	/** Resolves when all that was sealed has been handed to `transmit`. */
	async flushed(): Promise<void> {
		while (this.#isFlushing) await this.#isFlushing;
	}

	get failure(): Error | undefined {
		return this.#log.failure;
	}

	recover(): void {
		this.#log.rewrite();
	}

	ids(): string[] {
		return [...this.#meters.keys()];
	}

	report(id: string): NeighbourReport | undefined {
		const neighbour = this.#meters.get(id);
		const chain = neighbour?.chains.find(({ hasState }) => hasState);
		if (!neighbour || !chain) return undefined;
		const { state } = chain;
		const refusals = new Map<number, number>();
		neighbour.counters.counts.forEach((count, status) => {
			if (count > 0 && status !== Status.ok) refusals.set(status, count);
		});
		return {
			epoch: state.readUInt16BE(2),
			downNext: state.readUInt16BE(4),
			acknowledged: state.readUInt16BE(6),
			upNext: state.readUInt16BE(8),
			head: chain.head,
			refusals,
		};
	}

	#report(neighbour: Neighbour): void {
		const report = this.report(neighbour.id);
		if (report) this.#options.onReport(neighbour.id, report);
	}

	async close(): Promise<void> {
		await this.flushed();
		await this.#log.close();
		for (const neighbour of this.#meters.values())
			for (const chain of neighbour.chains) {
				chain.next.fill(0);
				chain.state.fill(0);
			}
	}
}

function writeName(record: Buffer, neighbour: Neighbour, generation: number): void {
	record.set(neighbour.idBytes, 1);
	record.writeUInt16BE(generation, 1 + DEVICE_ID_BYTES);
}

function stateRecord(neighbour: Neighbour, generation: number, state: Uint8Array): Buffer {
	const record = Buffer.alloc(STATE_RECORD_BYTES);
	record[0] = RecordType.state;
	writeName(record, neighbour, generation);
	record.set(state, 1 + NAME_BYTES);
	return record;
}

function blockRecord(neighbour: Neighbour, chain: Chain): Buffer {
	const record = Buffer.alloc(BLOCK_RECORD_BYTES);
	record[0] = RecordType.block;
	writeName(record, neighbour, chain.generation);
	record.writeUInt16BE(chain.domain, 11);
	record.writeUInt16BE(chain.shortAddress, 13);
	record.writeUInt16BE(chain.block, 15);
	record[17] = chain.nextDay;
	record.set(chain.next, 18);
	return record;
}

function headRecord(neighbour: Neighbour, chain: Chain): Buffer {
	const record = Buffer.alloc(HEAD_RECORD_BYTES);
	record[0] = RecordType.head;
	writeName(record, neighbour, chain.generation);
	record.writeUInt32BE(chain.head, 11);
	return record;
}
