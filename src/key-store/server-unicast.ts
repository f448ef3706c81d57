import { Status, StatusCounters } from "../bytes/status.js";
import { AES_KEY_BYTES, type Crypto, NO_BYTES } from "../crypto/crypto.js";
import { Arena } from "./arena.js";
import {
	advanceChain,
	type Branch,
	CHAIN_KEY_BYTES,
	checkIndex,
	Direction,
	METER_WINDOW,
	maySend,
	messageKey,
	SERVER_WINDOW,
	startChain,
} from "./chains.js";
import { ODOMETER_VALUE_BYTES } from "./odometer.js";
import {
	createUnicastHeader,
	decodeUnicastHeader,
	UNICAST_OVERHEAD_BYTES,
	UnicastSeal,
	unicastFlags,
} from "./unicast.js";

/**
 * A server's state for one branch of one meter, version 1: 60 bytes, big-endian. Where it is kept, it is kept encrypted.
 * | offset | size | field          | unit and range                                                     |
 * |-------:|-----:|----------------|--------------------------------------------------------------------|
 * |      0 |    1 | version        | 1                                                                  |
 * |      1 |    1 | flags          | bit 0: a day has begun; bit 1: the receiving chain of the day before is kept |
 * |      2 |    2 | epoch          |                                                                    |
 * |      4 |    2 | downIndex      | next index to send                                                 |
 * |      6 |    2 | acknowledged   | the meter's next index, as far as it is known                      |
 * |      8 |    2 | upIndex        | next index to accept                                               |
 * |     10 |    2 | yesterdayIndex | the same for the day before                                        |
 * |     12 |   16 | downKey        | chain key at downIndex                                             |
 * |     28 |   16 | upKey          | chain key at upIndex                                               |
 * |     44 |   16 | yesterdayKey   | chain key at yesterdayIndex; zeros when not kept                   |
 */
export const SERVER_STATE_BYTES = 60;
const FLAGS = 1;
const EPOCH = 2;
const DOWN_INDEX = 4;
const ACKNOWLEDGED = 6;
const UP_INDEX = 8;
const YESTERDAY_INDEX = 10;
const DOWN_KEY = 12;
const UP_KEY = 28;
const YESTERDAY_KEY = 44;
const FLAG_DAY = 1;
const FLAG_YESTERDAY = 2;

export interface ServerPeer {
	readonly branch: Branch;
	/** 8 bytes, the meter's. */
	readonly id: Uint8Array;
	readonly domain: number;
	readonly shortAddress: number;
	/**
	 * Makes the state durable before it returns: before a message is sent, and before one that was opened is acted on.
	 * `state` is valid only during the call. @returns false when that failed: the message is then not sent or not opened
	 */
	save(state: Uint8Array): boolean;
}

/** The other end of a meter's `KeyStore`, for one branch: the head-end's or the concentrator's. */
export class ServerUnicast {
	readonly counters = new StatusCounters();
	/** Of the last `openMessage` that answered `ok`. */
	openedByteLength = 0;
	readonly opened = createUnicastHeader();
	readonly #crypto: Crypto;
	readonly #peer: ServerPeer;
	readonly #arena = new Arena(2 * SERVER_STATE_BYTES + AES_KEY_BYTES + ODOMETER_VALUE_BYTES);
	readonly #view = new DataView(this.#arena.bytes.buffer);
	readonly #live = this.#arena.slot(SERVER_STATE_BYTES);
	readonly #staged = this.#arena.slot(SERVER_STATE_BYTES);
	readonly #message = this.#arena.slot(AES_KEY_BYTES);
	readonly #value = this.#arena.slot(ODOMETER_VALUE_BYTES);
	readonly #stagedBytes = this.#arena.bytes.subarray(this.#staged, this.#staged + SERVER_STATE_BYTES);
	readonly #unicast: UnicastSeal;

	constructor(crypto: Crypto, peer: ServerPeer) {
		this.#crypto = crypto;
		this.#peer = peer;
		this.#unicast = new UnicastSeal(crypto);
		this.#unicast.setMeter(peer.id, 0, peer.domain, peer.shortAddress);
		this.#arena.bytes[this.#live] = 1;
	}

	get epoch(): number {
		return this.#view.getUint16(this.#live + EPOCH);
	}

	get downIndex(): number {
		return this.#view.getUint16(this.#live + DOWN_INDEX);
	}

	/** Takes over a state that `save` was given. @returns `ok`, `badLength`, `badVersion` */
	restore(state: Uint8Array): Status {
		if (state.length !== SERVER_STATE_BYTES) return this.counters.count(Status.badLength);
		if (state[0] !== 1) return this.counters.count(Status.badVersion);
		for (let i = 0; i < SERVER_STATE_BYTES; i++) this.#arena.bytes[this.#live + i] = state[i]!;
		return Status.ok;
	}

	/**
	 * Starts a day. The receiving chain of the day before stays until `endYesterday`.
	 * @param value V_e lies here, 32 bytes; the caller wipes it
	 * @returns `ok`; `replayed` for a day that is not later; `storageFull` when it was not saved
	 */
	startDay(epoch: number, value: Uint8Array, offset: number): Status {
		const { bytes } = this.#arena;
		const hasDay = (bytes[this.#live + FLAGS]! & FLAG_DAY) !== 0;
		if (hasDay && epoch <= this.epoch) return this.counters.count(Status.replayed);
		const staged = this.#stage();
		const isNextDay = hasDay && epoch === this.epoch + 1;
		bytes[staged + FLAGS] = isNextDay ? FLAG_DAY | FLAG_YESTERDAY : FLAG_DAY;
		if (isNextDay) this.#arena.copy(staged + YESTERDAY_KEY, this.#live + UP_KEY, CHAIN_KEY_BYTES);
		else this.#arena.wipe(staged + YESTERDAY_KEY, CHAIN_KEY_BYTES);
		this.#view.setUint16(staged + YESTERDAY_INDEX, isNextDay ? this.#view.getUint16(this.#live + UP_INDEX) : 0);
		this.#view.setUint16(staged + EPOCH, epoch);
		this.#view.setUint16(staged + DOWN_INDEX, 0);
		this.#view.setUint16(staged + ACKNOWLEDGED, 0);
		this.#view.setUint16(staged + UP_INDEX, 0);
		for (let i = 0; i < ODOMETER_VALUE_BYTES; i++) bytes[this.#value + i] = value[offset + i]!;
		startChain(this.#crypto, bytes, this.#value, Direction.down, staged + DOWN_KEY);
		startChain(this.#crypto, bytes, this.#value, Direction.up, staged + UP_KEY);
		this.#arena.wipe(this.#value, ODOMETER_VALUE_BYTES);
		return this.counters.count(this.#save());
	}

	/** At the end of interval 1: erases the receiving chain of the day before. */
	endYesterday(): Status {
		if ((this.#arena.bytes[this.#live + FLAGS]! & FLAG_YESTERDAY) === 0) return Status.ok;
		const staged = this.#stage();
		this.#arena.bytes[staged + FLAGS] = FLAG_DAY;
		this.#arena.wipe(staged + YESTERDAY_KEY, CHAIN_KEY_BYTES);
		this.#view.setUint16(staged + YESTERDAY_INDEX, 0);
		return this.counters.count(this.#save());
	}

	/** The meter has confirmed everything below `next`, in a message that was opened. Kept with the next `save`. */
	acknowledge(next: number): void {
		if (next <= this.downIndex && next > this.#view.getUint16(this.#live + ACKNOWLEDGED))
			this.#view.setUint16(this.#live + ACKNOWLEDGED, next);
	}

	/**
	 * Seals one message to the meter; the caller keeps the bytes and repeats them until they are acknowledged.
	 * @returns bytes written; 0 when nothing may be sealed: no day, 32 messages not acknowledged, not saved
	 */
	sealMessage(
		type: number,
		message: Uint8Array,
		byteLength: number,
		into: Uint8Array,
		bound: Uint8Array = NO_BYTES,
	): number {
		const status = this.#seal(type, message, byteLength, into, bound);
		this.counters.count(status);
		return status === Status.ok ? byteLength + UNICAST_OVERHEAD_BYTES : 0;
	}

	/** Opens one message of the meter; statuses as of `KeyStore.openMessage`. */
	openMessage(sealed: Uint8Array, byteLength: number, into: Uint8Array, bound: Uint8Array = NO_BYTES): Status {
		return this.counters.count(this.#open(sealed, byteLength, into, bound));
	}

	#seal(type: number, message: Uint8Array, byteLength: number, into: Uint8Array, bound: Uint8Array): Status {
		const { bytes } = this.#arena;
		if ((bytes[this.#live + FLAGS]! & FLAG_DAY) === 0) return Status.notFound;
		if (!(byteLength >= 0 && byteLength <= 0xffff && byteLength <= message.length)) return Status.badLength;
		if (byteLength + UNICAST_OVERHEAD_BYTES > into.length) return Status.badLength;
		const index = this.downIndex;
		if (!maySend(index, this.#view.getUint16(this.#live + ACKNOWLEDGED), METER_WINDOW)) return Status.busy;
		const flags = unicastFlags(this.#peer.branch, Direction.down);
		const staged = this.#stage();
		messageKey(this.#crypto, bytes, staged + DOWN_KEY, this.#message);
		advanceChain(this.#crypto, bytes, staged + DOWN_KEY, 1);
		this.#view.setUint16(staged + DOWN_INDEX, index + 1);
		let status = this.#save();
		if (status === Status.ok)
			status = this.#unicast.seal(
				type,
				this.epoch,
				index,
				flags,
				bound,
				bytes,
				this.#message,
				message,
				byteLength,
				into,
			);
		this.#arena.wipe(this.#message, AES_KEY_BYTES);
		return status;
	}

	#open(sealed: Uint8Array, byteLength: number, into: Uint8Array, bound: Uint8Array): Status {
		const { bytes } = this.#arena;
		const header = this.opened;
		const peer = this.#peer;
		let status = decodeUnicastHeader(sealed, byteLength, header);
		if (status !== Status.ok) return status;
		const textBytes = byteLength - UNICAST_OVERHEAD_BYTES;
		if (textBytes > into.length) return Status.badLength;
		const flags = bytes[this.#live + FLAGS]!;
		if ((flags & FLAG_DAY) === 0) return Status.notFound;
		if (header.direction !== Direction.up || header.branch !== peer.branch) return Status.badKind;
		if (header.domain !== peer.domain || header.shortAddress !== peer.shortAddress) return Status.notFound;
		const isToday = header.epoch === this.epoch;
		if (!isToday) {
			if (header.epoch > this.epoch) return Status.clockInvalid;
			if (header.epoch + 1 !== this.epoch || (flags & FLAG_YESTERDAY) === 0) return Status.timedOut;
		}
		const indexAt = isToday ? UP_INDEX : YESTERDAY_INDEX;
		const keyAt = isToday ? UP_KEY : YESTERDAY_KEY;
		const next = this.#view.getUint16(this.#live + indexAt);
		status = checkIndex(next, header.index, SERVER_WINDOW);
		if (status !== Status.ok) return status;
		const staged = this.#stage();
		advanceChain(this.#crypto, bytes, staged + keyAt, header.index - next);
		messageKey(this.#crypto, bytes, staged + keyAt, this.#message);
		status = this.#unicast.open(sealed, byteLength, header, bound, bytes, this.#message, into);
		this.#arena.wipe(this.#message, AES_KEY_BYTES);
		if (status === Status.ok) {
			advanceChain(this.#crypto, bytes, staged + keyAt, 1);
			this.#view.setUint16(staged + indexAt, header.index + 1);
			status = this.#save();
			if (status === Status.ok) this.openedByteLength = textBytes;
			else into.fill(0, 0, textBytes);
		}
		this.#arena.wipe(staged, SERVER_STATE_BYTES);
		return status;
	}

	#stage(): number {
		this.#arena.copy(this.#staged, this.#live, SERVER_STATE_BYTES);
		return this.#staged;
	}

	#save(): Status {
		const isSaved = this.#peer.save(this.#stagedBytes);
		if (isSaved) this.#arena.copy(this.#live, this.#staged, SERVER_STATE_BYTES);
		this.#arena.wipe(this.#staged, SERVER_STATE_BYTES);
		return isSaved ? Status.ok : Status.storageFull;
	}
}
