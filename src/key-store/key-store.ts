import { InvariantError, Status, StatusCounters } from "../bytes/status.js";
import { AES_KEY_BYTES, type Crypto, NO_BYTES } from "../crypto/crypto.js";
import type { NorFlash } from "../platform/flash.js";
import { KEY_SECTORS, type SectorRange } from "../storage/layout.js";
import { Arena } from "./arena.js";
import {
	advanceChain,
	type Branch,
	CHAIN_KEY_BYTES,
	checkIndex,
	Direction,
	INDEX_END,
	METER_WINDOW,
	messageKey,
	reservationEnd,
	startChain,
} from "./chains.js";
import { type DeviceKey, Journal } from "./journal.js";
import { Label } from "./labels.js";
import { EPOCH_MAX, jumpOdometer, ODOMETER_STATE_BYTES, ODOMETER_VALUE_BYTES, startOdometer } from "./odometer.js";
import {
	createUnicastHeader,
	decodeUnicastHeader,
	METER_ID_BYTES,
	UNICAST_OVERHEAD_BYTES,
	UnicastSeal,
} from "./unicast.js";

/**
 * Key state, payload version 1 of the key journal: 384 bytes, big-endian. All zeros after a factory reset.
 * | offset | size | field                | unit and range                                                        |
 * |-------:|-----:|----------------------|-----------------------------------------------------------------------|
 * |      0 |    8 | id                   | of the meter                                                          |
 * |      8 |    2 | generation           | of its roots                                                          |
 * |     10 |    2 | domain               |                                                                       |
 * |     12 |    2 | shortAddress         |                                                                       |
 * |     14 |    1 | flags                | bit 0: provisioned; bit 1: receiving chains of the day before are kept |
 * |     15 |    1 | reserved             | 0                                                                     |
 * |     16 |  2×2 | epoch                | of odometer E, N                                                      |
 * |     20 |  2×2 | upIndex              | E, N: end of the reservation, where the meter goes on after power loss |
 * |     24 |  2×2 | downIndex            | E, N: next index to accept                                            |
 * |     28 |  2×2 | yesterdayIndex       | E, N: the same for the day before                                     |
 * |     32 | 2×128 | odometer            | E, N: next sibling of each level                                      |
 * |    288 | 2×16 | upKey                | E, N: chain key at upIndex                                            |
 * |    320 | 2×16 | downKey              | E, N: chain key at downIndex                                          |
 * |    352 | 2×16 | yesterdayKey         | E, N: chain key at yesterdayIndex; zeros when not kept                |
 */
export const KEY_STATE_BYTES = 384;
export const KEY_STATE_VERSION = 1;
const GENERATION = 8;
const DOMAIN = 10;
const SHORT_ADDRESS = 12;
const FLAGS = 14;
const EPOCH = 16;
const UP_INDEX = 20;
const DOWN_INDEX = 24;
const YESTERDAY_INDEX = 28;
const ODOMETER = 32;
const UP_KEY = 288;
const DOWN_KEY = 320;
const YESTERDAY_KEY = 352;
const FLAG_PROVISIONED = 1;
const FLAG_YESTERDAY = 2;

const BRANCHES = 2;
/** State twice, the journal's buffer and keys, one odometer value, one chain key, one message key. */
export const KEY_STORE_ARENA_BYTES =
	2 * KEY_STATE_BYTES + (32 + KEY_STATE_BYTES) + 48 + ODOMETER_VALUE_BYTES + 2 * CHAIN_KEY_BYTES;

/** What a factory gives a meter. `roots` is the caller's to wipe. */
export interface Provisioning {
	/** 8 bytes. */
	readonly id: Uint8Array;
	readonly generation: number;
	readonly domain: number;
	readonly shortAddress: number;
	/** The day of provisioning; no earlier day can be reached. */
	readonly epoch: number;
	/** R_E, then R_N: 64 bytes. */
	readonly roots: Uint8Array;
}

/**
 * The meter's keys: two odometers and the unicast chains of the day, and the journal that holds them. Each change is
 * staged in a copy, written, and taken over when the old record is erased; then the caller acts.
 *
 * Nothing is allocated after construction. A refusal is a `Status`, counted; no secret is in any answer.
 */
export class KeyStore {
	readonly counters = new StatusCounters();
	readonly journal: Journal;
	/** Of the last `openMessage` that answered `ok`. */
	openedByteLength = 0;
	/** Of the last `openMessage` that answered `ok`: type, epoch, index, branch. */
	readonly opened = createUnicastHeader();

	readonly #crypto: Crypto;
	readonly #arena: Arena;
	readonly #view: DataView;
	readonly #live: number;
	readonly #staged: number;
	readonly #value: number;
	readonly #chain: number;
	readonly #message: number;
	readonly #unicast: UnicastSeal;
	readonly #header = createUnicastHeader();
	/** E, N: up to here indices may be used without a record; the live state's upIndex is the next one. */
	readonly #reservedEnd = new Uint16Array(BRANCHES);
	/** What the record that is being written says. */
	readonly #stagedEnd = new Uint16Array(BRANCHES);
	#epochStaged = false;
	#rolledBack = false;
	#mayProvision = false;

	/**
	 * @param area sectors of the journal's own, at least 2; 8 for wear
	 * @param arena with `KEY_STORE_ARENA_BYTES` to give, nobody else's to read
	 */
	constructor(
		crypto: Crypto,
		flash: NorFlash,
		deviceKey: DeviceKey,
		area: SectorRange = KEY_SECTORS,
		arena: Arena = new Arena(KEY_STORE_ARENA_BYTES),
	) {
		this.#crypto = crypto;
		this.#arena = arena;
		this.#live = arena.slot(KEY_STATE_BYTES);
		this.#staged = arena.slot(KEY_STATE_BYTES);
		this.#value = arena.slot(ODOMETER_VALUE_BYTES);
		this.#chain = arena.slot(CHAIN_KEY_BYTES);
		this.#message = arena.slot(AES_KEY_BYTES);
		this.#view = new DataView(arena.bytes.buffer, arena.bytes.byteOffset, arena.bytes.length);
		this.#unicast = new UnicastSeal(crypto);
		this.journal = new Journal(crypto, flash, deviceKey, area, arena, KEY_STATE_BYTES);
	}

	get isProvisioned(): boolean {
		return (this.#arena.bytes[this.#live + FLAGS]! & FLAG_PROVISIONED) !== 0;
	}

	/** The day that both odometers stand at. */
	get epoch(): number {
		return this.#view.getUint16(this.#live + EPOCH);
	}

	/** Next index that the meter seals under. */
	upIndex(branch: Branch): number {
		return this.#view.getUint16(this.#live + UP_INDEX + 2 * branch);
	}

	/** Next index that the meter accepts. */
	downIndex(branch: Branch): number {
		return this.#view.getUint16(this.#live + DOWN_INDEX + 2 * branch);
	}

	/** Counts records. A witness that has seen a larger one knows that flash was put back: see `witness`. */
	get headSequence(): number {
		return this.journal.sequence;
	}

	/**
	 * Reads the record and finishes what a power cut interrupted. Before all else; may be called again.
	 * @returns `ok` (see `isProvisioned`); `notFound` on a new device; `badTag` for another device's flash or key;
	 * `corrupt`, `badVersion`, `badLength` as the journal says. After a refusal the meter has no keys and goes on measuring.
	 */
	open(): Status {
		this.#wipeAll();
		this.#rolledBack = false;
		let status = this.journal.open(this.#live);
		this.#mayProvision = status === Status.notFound || status === Status.badTag || status === Status.corrupt;
		if (status === Status.ok) {
			if (this.journal.payloadVersion !== KEY_STATE_VERSION)
				status = Status.badVersion; // KEY-1
			else if (this.journal.payloadByteLength !== KEY_STATE_BYTES)
				status = Status.badLength; // KEY-2
			else {
				for (let b = 0; b < BRANCHES; b++) this.#reservedEnd[b] = this.upIndex(b as Branch);
				this.#mayProvision = !this.isProvisioned;
				return Status.ok;
			}
		}
		this.#wipeAll();
		return this.counters.count(status);
	}

	/**
	 * Gives the meter its keys. What the flash held before, if it could not be read, is erased.
	 * @returns `ok`; `badValue`; `busy` when it has keys already or a newer firmware's; the status of the flash
	 */
	provision(from: Provisioning): Status {
		const { id, roots, epoch } = from;
		if (
			id.length !== METER_ID_BYTES ||
			roots.length !== 2 * ODOMETER_VALUE_BYTES ||
			!(epoch >= 0 && epoch <= EPOCH_MAX)
		)
			return this.counters.count(Status.badValue); // KEY-3
		if (!this.#mayProvision) return this.counters.count(Status.busy); // KEY-4
		if (this.journal.sequence === 0) {
			const status = this.journal.eraseAll();
			if (status !== Status.ok) return this.counters.count(status);
		}
		const { bytes } = this.#arena;
		const view = this.#view;
		const staged = this.#staged;
		this.#arena.wipe(staged, KEY_STATE_BYTES);
		for (let i = 0; i < METER_ID_BYTES; i++) bytes[staged + i] = id[i]!;
		view.setUint16(staged + GENERATION, from.generation);
		view.setUint16(staged + DOMAIN, from.domain);
		view.setUint16(staged + SHORT_ADDRESS, from.shortAddress);
		bytes[staged + FLAGS] = FLAG_PROVISIONED;
		for (let b = 0; b < BRANCHES; b++) {
			for (let i = 0; i < ODOMETER_VALUE_BYTES; i++) bytes[this.#value + i] = roots[b * ODOMETER_VALUE_BYTES + i]!;
			startOdometer(this.#crypto, bytes, staged + ODOMETER + b * ODOMETER_STATE_BYTES, epoch, this.#value);
			this.#startDay(b, epoch);
		}
		this.#arena.wipe(this.#value, ODOMETER_VALUE_BYTES);
		const status = this.#commit();
		if (status === Status.ok) this.#mayProvision = false;
		return this.counters.count(status);
	}

	/**
	 * Prepares both odometers for a later day, in the copy. Then `deriveLeafKey` as often as there are trees, then
	 * `commitEpoch`, without anything in between.
	 * @param isAnchorVerified the caller has checked the day's ANCHOR against the calendar, and seen that the day began: a
	 * jump is irreversible, so a false date would destroy the keys for good (HORA 3.2)
	 * @returns `ok`; `notFound` without keys; `refusedByPeer` without the anchor; `replayed` for today or earlier; `badValue`
	 */
	stageEpoch(epoch: number, isAnchorVerified: boolean): Status {
		this.abortEpoch();
		if (!this.isProvisioned) return this.counters.count(Status.notFound); // KEY-5
		if (!isAnchorVerified) return this.counters.count(Status.refusedByPeer); // KEY-6
		if (!(epoch >= 0 && epoch <= EPOCH_MAX)) return this.counters.count(Status.badValue); // KEY-7
		const from = this.epoch;
		if (epoch <= from) return this.counters.count(Status.replayed); // KEY-8
		const arena = this.#arena;
		const view = this.#view;
		const staged = this.#staged;
		this.#stage();
		// Yesterday's receiving chains stay for two intervals; those of any earlier day are of no use.
		const isNextDay = epoch === from + 1;
		arena.bytes[staged + FLAGS] = isNextDay ? FLAG_PROVISIONED | FLAG_YESTERDAY : FLAG_PROVISIONED;
		for (let b = 0; b < BRANCHES; b++) {
			const yesterday = staged + YESTERDAY_KEY + b * CHAIN_KEY_BYTES;
			if (isNextDay) arena.copy(yesterday, staged + DOWN_KEY + b * CHAIN_KEY_BYTES, CHAIN_KEY_BYTES);
			else arena.wipe(yesterday, CHAIN_KEY_BYTES);
			view.setUint16(staged + YESTERDAY_INDEX + 2 * b, isNextDay ? this.downIndex(b as Branch) : 0);
			const odometer = staged + ODOMETER + b * ODOMETER_STATE_BYTES;
			jumpOdometer(this.#crypto, arena.bytes, odometer, from, epoch, this.#value);
			this.#startDay(b, epoch);
		}
		this.#epochStaged = true; // V_N stays in its slot for the leaf keys
		return Status.ok;
	}

	/**
	 * L_0 of a tree for the staged day.
	 * @param into receives 16 bytes, the group scheme's own arena
	 * @returns `ok`, or `notFound` when no day is staged
	 */
	deriveLeafKey(tree: number, into: Uint8Array, offset: number): Status {
		if (!this.#epochStaged) return Status.notFound;
		const context = this.#chain;
		const { bytes } = this.#arena;
		bytes[context] = tree;
		this.#crypto.kdf(bytes, this.#value, ODOMETER_VALUE_BYTES, Label.leaf, bytes, context, 1, into, offset, 16);
		return Status.ok;
	}

	/** Writes the staged day. @returns `ok`: the epoch has moved; or the status of the flash: see `Journal.commit` */
	commitEpoch(): Status {
		if (!this.#epochStaged) throw new InvariantError("no day is staged");
		this.#epochStaged = false;
		this.#arena.wipe(this.#value, ODOMETER_VALUE_BYTES);
		return this.counters.count(this.#commit());
	}

	/** Forgets a staged day. */
	abortEpoch(): void {
		this.#epochStaged = false;
		this.#arena.wipe(this.#value, ODOMETER_VALUE_BYTES);
		this.#arena.wipe(this.#staged, KEY_STATE_BYTES);
	}

	/** At the end of interval 1 of a day: erases the receiving chains of the day before. Without any it does nothing. */
	endYesterday(): Status {
		if ((this.#arena.bytes[this.#live + FLAGS]! & FLAG_YESTERDAY) === 0) return Status.ok;
		if (this.#epochStaged) return this.counters.count(Status.busy);
		this.#stage();
		const staged = this.#staged;
		this.#arena.bytes[staged + FLAGS] = FLAG_PROVISIONED;
		this.#arena.wipe(staged + YESTERDAY_KEY, BRANCHES * CHAIN_KEY_BYTES);
		for (let b = 0; b < BRANCHES; b++) this.#view.setUint16(staged + YESTERDAY_INDEX + 2 * b, 0);
		return this.counters.count(this.#commit());
	}

	/**
	 * Seals one message to the head-end or the concentrator under an index that is never used again. Every 64th call
	 * writes a record first.
	 * @param into at least byteLength + 18 bytes; must not overlap `message`
	 * @param bound what the message's type adds to the associated data, at most 16 bytes
	 * @returns bytes written; 0 when nothing may be sealed: no keys, flash put back, the day's indices used up, flash
	 * refuses, a day is staged, `into` too short. `counters` says which.
	 */
	sealMessage(
		branch: Branch,
		type: number,
		message: Uint8Array,
		byteLength: number,
		into: Uint8Array,
		bound: Uint8Array = NO_BYTES,
	): number {
		const status = this.#seal(branch, type, message, byteLength, into, bound);
		this.counters.count(status);
		return status === Status.ok ? byteLength + UNICAST_OVERHEAD_BYTES : 0;
	}

	/**
	 * Opens one message to this meter. When it answers `ok` the index is recorded and the key erased, so the caller may
	 * act: the same message is never opened twice. Costs at most 33 compressions before the tag is known to be false.
	 * @param into at least byteLength - 18 bytes; used only after `ok`
	 * @returns `ok`, and `openedByteLength` and `opened` are set; `badLength`; `badValue` (flags, index 65 535);
	 * `notFound` (no keys, or for another meter); `badKind` (other direction); `clockInvalid` (a day that no anchor has
	 * opened); `timedOut` (an earlier day, its keys are erased); `replayed`; `outOfOrder` (32 or more ahead); `badTag`;
	 * `busy`; or the status of the flash
	 */
	openMessage(sealed: Uint8Array, byteLength: number, into: Uint8Array, bound: Uint8Array = NO_BYTES): Status {
		return this.counters.count(this.#open(sealed, byteLength, into, bound));
	}

	/**
	 * What someone else remembers of this meter's head.
	 * @param sequence the largest `headSequence` that the meter ever reported to it
	 * @returns `ok`; or `replayed` when flash is older than that: nothing is sealed or opened until `open` or new keys
	 */
	witness(sequence: number): Status {
		if (sequence <= this.journal.sequence) return Status.ok;
		this.#rolledBack = true;
		return this.counters.count(Status.replayed); // KEY-9
	}

	/**
	 * Forgets everything: an empty record takes the place of the keys, so that a cut leaves all or nothing, and the count of
	 * records goes on. Flash that cannot be read is erased whole.
	 */
	factoryReset(): Status {
		this.#wipeAll();
		let status: Status = Status.corrupt;
		if (this.journal.sequence > 0) status = this.#commit();
		if (status !== Status.ok) status = this.journal.eraseAll();
		this.#rolledBack = false;
		this.#mayProvision = status === Status.ok;
		return this.counters.count(status);
	}

	#seal(
		branch: Branch,
		type: number,
		message: Uint8Array,
		byteLength: number,
		into: Uint8Array,
		bound: Uint8Array,
	): Status {
		if (!this.isProvisioned) return Status.notFound;
		if (this.#rolledBack) return Status.replayed;
		if (this.#epochStaged) return Status.busy;
		if (!(byteLength >= 0 && byteLength <= 0xffff && byteLength <= message.length)) return Status.badLength;
		if (byteLength + UNICAST_OVERHEAD_BYTES > into.length) return Status.badLength;
		const index = this.upIndex(branch);
		if (index >= INDEX_END) return Status.storageFull;
		if (index >= this.#reservedEnd[branch]!) {
			this.#stage();
			this.#stagedEnd[branch] = reservationEnd(index);
			const status = this.#commit();
			if (status !== Status.ok) return status;
		}
		const { bytes } = this.#arena;
		const key = this.#live + UP_KEY + branch * CHAIN_KEY_BYTES;
		this.#fillHeader(type, index, branch);
		messageKey(this.#crypto, bytes, key, this.#message);
		// The key is gone from the chain before anything is sealed with it.
		advanceChain(this.#crypto, bytes, key, 1);
		this.#view.setUint16(this.#live + UP_INDEX + 2 * branch, index + 1);
		const status = this.#unicast.seal(
			this.#header,
			bytes,
			this.#live,
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

	#fillHeader(type: number, index: number, branch: Branch): void {
		const header = this.#header;
		header.type = type;
		header.domain = this.#view.getUint16(this.#live + DOMAIN);
		header.shortAddress = this.#view.getUint16(this.#live + SHORT_ADDRESS);
		header.epoch = this.epoch;
		header.index = index;
		header.branch = branch;
		header.direction = Direction.up;
	}

	#open(sealed: Uint8Array, byteLength: number, into: Uint8Array, bound: Uint8Array): Status {
		const header = this.opened;
		const view = this.#view;
		const live = this.#live;
		let status = decodeUnicastHeader(sealed, byteLength, header);
		if (status !== Status.ok) return status;
		const textBytes = byteLength - UNICAST_OVERHEAD_BYTES;
		if (textBytes > into.length) return Status.badLength;
		if (!this.isProvisioned) return Status.notFound; // UNI-3
		if (this.#rolledBack) return Status.replayed;
		if (this.#epochStaged) return Status.busy;
		if (header.direction !== Direction.down) return Status.badKind; // UNI-4
		if (header.domain !== view.getUint16(live + DOMAIN) || header.shortAddress !== view.getUint16(live + SHORT_ADDRESS))
			return Status.notFound; // UNI-5
		const { branch, epoch, index } = header;
		const isToday = epoch === this.epoch;
		if (!isToday) {
			if (epoch > this.epoch) return Status.clockInvalid; // UNI-6
			if (epoch + 1 !== this.epoch || (this.#arena.bytes[live + FLAGS]! & FLAG_YESTERDAY) === 0) return Status.timedOut;
		}
		const indexAt = (isToday ? DOWN_INDEX : YESTERDAY_INDEX) + 2 * branch;
		const keyAt = (isToday ? DOWN_KEY : YESTERDAY_KEY) + branch * CHAIN_KEY_BYTES;
		const next = view.getUint16(live + indexAt);
		status = checkIndex(next, index, METER_WINDOW);
		if (status !== Status.ok) return status;

		const arena = this.#arena;
		const { bytes } = arena;
		arena.copy(this.#chain, live + keyAt, CHAIN_KEY_BYTES);
		advanceChain(this.#crypto, bytes, this.#chain, index - next);
		messageKey(this.#crypto, bytes, this.#chain, this.#message);
		status = this.#unicast.open(sealed, byteLength, bytes, live, bound, bytes, this.#message, into);
		arena.wipe(this.#message, AES_KEY_BYTES);
		if (status === Status.ok) {
			this.#stage();
			advanceChain(this.#crypto, bytes, this.#chain, 1);
			arena.copy(this.#staged + keyAt, this.#chain, CHAIN_KEY_BYTES);
			view.setUint16(this.#staged + indexAt, index + 1);
			status = this.#commit();
			if (status === Status.ok) this.openedByteLength = textBytes;
			else into.fill(0, 0, textBytes);
		}
		arena.wipe(this.#chain, CHAIN_KEY_BYTES);
		return status;
	}

	/** Copies the state, to be changed. */
	#stage(): void {
		this.#arena.copy(this.#staged, this.#live, KEY_STATE_BYTES);
		for (let b = 0; b < BRANCHES; b++) this.#stagedEnd[b] = this.#reservedEnd[b]!;
	}

	/** In the copy: the chains of a day out of V_e, with the first indices reserved. */
	#startDay(branch: number, epoch: number): void {
		const { bytes } = this.#arena;
		const staged = this.#staged;
		const view = this.#view;
		const upKey = staged + UP_KEY + branch * CHAIN_KEY_BYTES;
		const downKey = staged + DOWN_KEY + branch * CHAIN_KEY_BYTES;
		startChain(this.#crypto, bytes, this.#value, Direction.up, upKey);
		startChain(this.#crypto, bytes, this.#value, Direction.down, downKey);
		view.setUint16(staged + EPOCH + 2 * branch, epoch);
		view.setUint16(staged + UP_INDEX + 2 * branch, 0);
		view.setUint16(staged + DOWN_INDEX + 2 * branch, 0);
		this.#stagedEnd[branch] = reservationEnd(0);
	}

	/**
	 * Writes the copy, then takes it over. In flash the up chains stand at the end of their reservation: a reader of flash
	 * learns no key of a message that was sealed, and after power loss there is nothing to walk over.
	 */
	#commit(): Status {
		const { bytes } = this.#arena;
		const record = this.journal.begin(this.#staged, KEY_STATE_BYTES);
		for (let b = 0; b < BRANCHES; b++) {
			const index = this.#view.getUint16(record + UP_INDEX + 2 * b);
			const end = this.#stagedEnd[b]!;
			advanceChain(this.#crypto, bytes, record + UP_KEY + b * CHAIN_KEY_BYTES, end - index);
			this.#view.setUint16(record + UP_INDEX + 2 * b, end);
		}
		const status = this.journal.finish(KEY_STATE_BYTES, KEY_STATE_VERSION);
		if (status === Status.ok) {
			this.#arena.copy(this.#live, this.#staged, KEY_STATE_BYTES);
			for (let b = 0; b < BRANCHES; b++) this.#reservedEnd[b] = this.#stagedEnd[b]!;
		}
		this.#arena.wipe(this.#staged, KEY_STATE_BYTES);
		return status;
	}

	#wipeAll(): void {
		this.abortEpoch();
		this.#arena.wipe(this.#live, KEY_STATE_BYTES);
		this.#arena.wipe(this.#chain, CHAIN_KEY_BYTES);
		this.#arena.wipe(this.#message, AES_KEY_BYTES);
		this.#reservedEnd.fill(0);
		this.#stagedEnd.fill(0);
	}
}
