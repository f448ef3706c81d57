import { InvariantError, Status, StatusCounters } from "../bytes/status.js";
import { AES_KEY_BYTES, type Crypto, NO_BYTES } from "../crypto/crypto.js";
import type { DeviceKey } from "../platform/device-key.js";
import type { NorFlash } from "../platform/flash.js";
import type { MonotonicCounter } from "../platform/monotonic-counter.js";
import { KEY_SECTORS, type SectorRange } from "../storage/layout.js";
import { Arena } from "./arena.js";
import {
	advanceChain,
	Branch,
	CHAIN_KEY_BYTES,
	checkIndex,
	Direction,
	INDEX_END,
	METER_WINDOW,
	messageKey,
	reservationEnd,
	startChain,
	UNACKNOWLEDGED_MAX,
} from "./chains.js";
import { Journal } from "./journal.js";
import { Label } from "./labels.js";
import {
	attachedDay,
	attachOdometer,
	EPOCH_MAX,
	jumpOdometer,
	ODOMETER_STATE_BYTES,
	ODOMETER_VALUE_BYTES,
	startOdometer,
} from "./odometer.js";
import { type LeafKeys, RECORD_PART_BYTES_MAX, type RecordPart } from "./record-part.js";
import {
	createUnicastHeader,
	decodeUnicastHeader,
	METER_ID_BYTES,
	UNICAST_OVERHEAD_BYTES,
	UnicastSeal,
	UnicastType,
	unicastFlags,
} from "./unicast.js";

/**
 * Key state, payload version 2 of the key journal: 480 bytes and those of the part, big-endian. Version 1 is the first
 * 384 bytes alone, and is written back as version 2 with zeros for the rest. After a factory reset only
 * minimumSecurityVersion, calendarRoot and flashSlotNext are not zero.
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
 * |    384 |   16 | calendarRoot         | of the head end's T_0 of every day                                    |
 * |    400 |    2 | calendarFirstEpoch   | day of leaf 0                                                         |
 * |    402 |    1 | calendarLevels       | height of the tree, 1 to 16; 0: no calendar, no day can begin         |
 * |    403 |    1 | reserved             | 0                                                                     |
 * |    404 |    2 | teslaIntervalSeconds | s                                                                     |
 * |    406 |    2 | partBytes            | n, 0 to 768                                                           |
 * |    408 |   56 | updateKey            | LMS public key that firmware is signed with                           |
 * |    464 |    4 | minimumSecurityVersion | no firmware below it is taken                                       |
 * |    468 |    4 | concentrator         | of the last ATTACH; 0: the first one                                  |
 * |    472 |    4 | flashSlotNext        | the highest flash slot that was used, and 1                           |
 * |    476 |  2×2 | upAcknowledged       | E, N: the server has accepted an index just below it, or it is 0      |
 * |    480 |    n | part                 | of the group key scheme, in its own format                            |
 */
export const KEY_STATE_BYTES = 480;
export const KEY_STATE_VERSION = 2;
const KEY_STATE_V1_BYTES = 384;
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
const CALENDAR_ROOT = 384;
const CALENDAR_FIRST_EPOCH = 400;
const CALENDAR_LEVELS = 402;
const TESLA_INTERVAL_SECONDS = 404;
const PART_BYTES = 406;
const UPDATE_KEY = 408;
const MINIMUM_SECURITY_VERSION = 464;
const CONCENTRATOR = 468;
const FLASH_SLOT_NEXT = 472;
const UP_ACKNOWLEDGED = 476;
const FLAG_PROVISIONED = 1;
const FLAG_YESTERDAY = 2;

const BRANCHES = 2;
export const CALENDAR_ROOT_BYTES = 16;
/** The highest tree: 65 536 days. */
const CALENDAR_LEVELS_MAX = 16;
const TESLA_INTERVAL_SECONDS_MAX = 43_200;
/** LMS and LM-OTS type, I, T[1]: RFC 8554 section 5.3. */
export const UPDATE_KEY_BYTES = 56;
const SLOT_MAX = 0xffff_fffe;

/**
 * ATTACH (0x10, end to end, down), sealed content: 26 bytes, big-endian.
 * | offset | size | field        | unit and range                           |
 * |-------:|-----:|--------------|------------------------------------------|
 * |      0 |    2 | domain       | the new one                              |
 * |      2 |    2 | shortAddress | in the new domain                        |
 * |      4 |    2 | epoch        | today: the new keys begin with it        |
 * |      6 |   16 | secret       | s, of the head end                       |
 * |     22 |    4 | concentrator | identity of the new one, 1 to 2^32 - 1   |
 *
 * Departs from HORA section 8: it has a short address, because that of the old domain may be taken in the new one, and
 * the fields stand so that secret and identity are one context.
 */
export const ATTACH_BYTES = 26;
const ATTACH_SHORT_ADDRESS = 2;
const ATTACH_EPOCH = 4;
const ATTACH_SECRET = 6;
const ATTACH_CONCENTRATOR = 22;

/** State twice, the journal's buffer and keys, one odometer value, one chain key, one message key. */
export const KEY_STORE_ARENA_BYTES =
	2 * KEY_STATE_BYTES + (32 + KEY_STATE_BYTES) + 48 + ODOMETER_VALUE_BYTES + 2 * CHAIN_KEY_BYTES;

/** With a part, whose bytes pass through the journal's buffer. */
export function keyStoreArenaBytes(partBytesMax: number): number {
	return KEY_STORE_ARENA_BYTES + Math.ceil(partBytesMax / 16) * 16;
}

/** What a meter gets from the head end, in the factory or at a renewal. `roots` is the caller's to wipe. */
export interface Provisioning {
	/** 8 bytes. */
	readonly id: Uint8Array;
	/** From 1. */
	readonly generation: number;
	readonly domain: number;
	readonly shortAddress: number;
	/** The first day of these keys; no earlier day can be reached. */
	readonly epoch: number;
	/** R_E, then R_N: 64 bytes. */
	readonly roots: Uint8Array;
	/** 16 bytes. */
	readonly calendarRoot: Uint8Array;
	/** At most `epoch`, which the tree reaches. */
	readonly calendarFirstEpoch: number;
	/** 1 to 16. */
	readonly calendarLevels: number;
	/** 1 to 43 200. */
	readonly teslaIntervalSeconds: number;
	/** 56 bytes. */
	readonly updateKey: Uint8Array;
}

function isWithin(value: number, min: number, max: number): boolean {
	return Number.isInteger(value) && value >= min && value <= max;
}

function isComplete(from: Provisioning): boolean {
	return (
		from.id.length === METER_ID_BYTES &&
		from.roots.length === 2 * ODOMETER_VALUE_BYTES &&
		from.calendarRoot.length === CALENDAR_ROOT_BYTES &&
		from.updateKey.length === UPDATE_KEY_BYTES &&
		isWithin(from.generation, 1, 0xffff) &&
		isWithin(from.domain, 0, 0xffff) &&
		isWithin(from.shortAddress, 0, 0xffff) &&
		isWithin(from.calendarLevels, 1, CALENDAR_LEVELS_MAX) &&
		isWithin(from.calendarFirstEpoch, 0, EPOCH_MAX) &&
		isWithin(from.epoch, from.calendarFirstEpoch, EPOCH_MAX) &&
		from.epoch - from.calendarFirstEpoch < 2 ** from.calendarLevels &&
		isWithin(from.teslaIntervalSeconds, 1, TESLA_INTERVAL_SECONDS_MAX)
	);
}

/** The calendar as the meter knows it; not secret. Only the key store writes it. */
export interface CalendarView {
	/** 16 bytes. */
	readonly root: Uint8Array;
	readonly firstEpoch: number;
	/** 0: there is none. */
	readonly levels: number;
}

/** What is staged. */
const Staged = Object.freeze({ nothing: 0, epoch: 1, reseed: 2 } as const);
type Staged = (typeof Staged)[keyof typeof Staged];

/**
 * The meter's keys: two odometers and the unicast chains of the day, and the journal that holds them. Each change is
 * staged in a copy, written, and taken over when the old record is erased; then the caller acts.
 *
 * After `open` nothing but the question for the witness is sealed, and nothing but its answer and authorisations are
 * opened, until `witness` has said `ok`: had the flash been put back, keys would be used for the second time.
 *
 * Nothing is allocated after construction. A refusal is a `Status`, counted; no secret is in any answer.
 */
export class KeyStore implements LeafKeys {
	readonly counters = new StatusCounters();
	readonly journal: Journal;
	/** Of the last `openMessage` that answered `ok`; 0 for what the store has done itself (ATTACH). */
	openedByteLength = 0;
	/** Of the last `openMessage` that answered `ok`: type, epoch, index, branch. */
	readonly opened = createUnicastHeader();
	/** Of the head end, by which days begin. */
	readonly calendar: CalendarView;

	readonly #crypto: Crypto;
	readonly #arena: Arena;
	readonly #view: DataView;
	readonly #live: number;
	readonly #staged: number;
	readonly #value: number;
	readonly #chain: number;
	readonly #message: number;
	readonly #unicast: UnicastSeal;
	readonly #part: RecordPart | undefined;
	/** Where the part's bytes pass through the journal's buffer. */
	readonly #partView: DataView;
	readonly #counter: MonotonicCounter | undefined;
	readonly #calendar = { root: new Uint8Array(CALENDAR_ROOT_BYTES), firstEpoch: 0, levels: 0 };
	/** E, N: up to here indices may be used without a record; the live state's upIndex is the next one. */
	readonly #reservedEnd = new Uint16Array(BRANCHES);
	/** What the record that is being written says. */
	readonly #stagedEnd = new Uint16Array(BRANCHES);
	/** E, N: what the last question was sealed under, and 1: its answer says that the server is there. */
	readonly #questionNext = new Uint16Array(BRANCHES);
	#stagedChange: Staged = Staged.nothing;
	/** V_N of the staged day lies in its slot. */
	#hasDayValue = false;
	#isRolledBack = false;
	#isWitnessed = false;
	#witnessedSequence = 0;
	#mayProvision = false;
	/** Flash held a record that opens, or nothing. */
	#isReadable = false;
	/** New keys since `open`, nothing sealed under them: one message may prove to the technician's head end that they came. */
	#mayProve = false;

	/**
	 * @param area sectors of the journal's own, at least 2; 8 for wear
	 * @param arena with `keyStoreArenaBytes` to give, nobody else's to read
	 * @param part who keeps something in the record, too
	 * @param counter of the host, where it has one
	 */
	constructor(
		crypto: Crypto,
		flash: NorFlash,
		deviceKey: DeviceKey,
		area: SectorRange = KEY_SECTORS,
		arena?: Arena,
		part?: RecordPart,
		counter?: MonotonicCounter,
	) {
		const partBytesMax = part === undefined ? 0 : part.byteLengthMax;
		if (!isWithin(partBytesMax, 0, RECORD_PART_BYTES_MAX)) throw new InvariantError("a part has 768 bytes at most");
		const secrets = arena === undefined ? new Arena(keyStoreArenaBytes(partBytesMax)) : arena;
		const { bytes } = secrets;
		this.#crypto = crypto;
		this.#arena = secrets;
		this.#live = secrets.slot(KEY_STATE_BYTES);
		this.#staged = secrets.slot(KEY_STATE_BYTES);
		this.#value = secrets.slot(ODOMETER_VALUE_BYTES);
		this.#chain = secrets.slot(CHAIN_KEY_BYTES);
		this.#message = secrets.slot(AES_KEY_BYTES);
		this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
		this.#unicast = new UnicastSeal(crypto);
		this.journal = new Journal(crypto, flash, deviceKey, area, secrets, KEY_STATE_BYTES + partBytesMax);
		this.#part = part;
		const partAt = this.journal.payload + KEY_STATE_BYTES;
		this.#partView = new DataView(bytes.buffer, bytes.byteOffset + partAt, partBytesMax);
		this.#counter = counter;
		this.calendar = this.#calendar;
	}

	get isProvisioned(): boolean {
		return (this.#arena.bytes[this.#live + FLAGS]! & FLAG_PROVISIONED) !== 0;
	}

	/** Flash is older than what a witness or the host's counter remembers: nothing is sealed until there are new keys. */
	get isRolledBack(): boolean {
		return this.#isRolledBack;
	}

	/** A witness has confirmed the head since `open` or new keys. */
	get isWitnessed(): boolean {
		return this.#isWitnessed;
	}

	/** The largest head that a witness told of since `open` or new keys; 0: none has. */
	get witnessedSequence(): number {
		return this.#witnessedSequence;
	}

	/** The day that both odometers stand at. */
	get epoch(): number {
		return this.#view.getUint16(this.#live + EPOCH);
	}

	get generation(): number {
		return this.#view.getUint16(this.#live + GENERATION);
	}

	get domain(): number {
		return this.#view.getUint16(this.#live + DOMAIN);
	}

	get shortAddress(): number {
		return this.#view.getUint16(this.#live + SHORT_ADDRESS);
	}

	/** Identity of the concentrator after an ATTACH; 0 before any. */
	get concentrator(): number {
		return this.#view.getUint32(this.#live + CONCENTRATOR);
	}

	/** Of the TESLA chains, s; 0 without a calendar. */
	get intervalSeconds(): number {
		return this.#view.getUint16(this.#live + TESLA_INTERVAL_SECONDS);
	}

	/** The lowest flash slot that was never used. */
	get flashSlotNext(): number {
		return this.#view.getUint32(this.#live + FLASH_SLOT_NEXT);
	}

	/** No firmware with a lower one is taken. It outlives keys, and only goes up. */
	minimumSecurityVersion(): number {
		return this.#view.getUint32(this.#live + MINIMUM_SECURITY_VERSION);
	}

	/** Next index that the meter seals under. */
	upIndex(branch: Branch): number {
		return this.#view.getUint16(this.#live + UP_INDEX + 2 * branch);
	}

	/** Next index that the meter accepts. */
	downIndex(branch: Branch): number {
		return this.#view.getUint16(this.#live + DOWN_INDEX + 2 * branch);
	}

	/**
	 * Messages of a branch since the last one that is known to have arrived. From `UNACKNOWLEDGED_MAX` on only questions
	 * are sealed: ask before.
	 */
	unacknowledged(branch: Branch): number {
		return this.upIndex(branch) - this.#view.getUint16(this.#live + UP_ACKNOWLEDGED + 2 * branch);
	}

	/** Counts records. A witness that has seen a larger one knows that flash was put back: see `witness`. */
	get headSequence(): number {
		return this.journal.sequence;
	}

	/** Whether the keys are those of this meter. @param id 8 bytes */
	hasId(id: Uint8Array): boolean {
		return this.isProvisioned && this.#crypto.equal(this.#arena.bytes, this.#live, id, 0, METER_ID_BYTES);
	}

	/** The public key of firmware, 56 bytes; zeros without keys. */
	copyUpdateKey(into: Uint8Array, offset: number): void {
		const { bytes } = this.#arena;
		for (let i = 0; i < UPDATE_KEY_BYTES; i++) into[offset + i] = bytes[this.#live + UPDATE_KEY + i]!;
	}

	/**
	 * Reads the record and finishes what a power cut interrupted. Before all else; may be called again.
	 * @returns `ok` (see `isProvisioned`); `rolledBack`: there are keys, and the host's counter says that flash is old;
	 * `notFound` on a new device; `badTag` for another device's flash or key; `corrupt`, `badVersion`, `badLength` as the
	 * journal says, or the part. After a refusal the meter has no keys and goes on measuring.
	 */
	open(): Status {
		this.#wipeAll();
		let status = this.journal.open();
		this.#mayProvision = status === Status.notFound || status === Status.badTag || status === Status.corrupt;
		const isBlank = status === Status.notFound;
		if (status === Status.ok) {
			status = this.#takeRecord();
			this.journal.release();
		}
		if (status !== Status.ok) {
			this.#wipeAll();
			this.#isReadable = isBlank;
			return this.counters.count(status);
		}
		this.#isReadable = true;
		this.#unicast.setMeter(this.#arena.bytes, this.#live, this.domain, this.shortAddress);
		for (let b = 0; b < BRANCHES; b++) this.#reservedEnd[b] = this.upIndex(b as Branch);
		this.#publishCalendar();
		this.#mayProvision = !this.isProvisioned;
		return this.counters.count(this.#compareCounter());
	}

	/** Takes over what the journal has read. */
	#takeRecord(): Status {
		const { payload, payloadByteLength, payloadVersion } = this.journal;
		const part = this.#part;
		if (payloadVersion === 1) {
			if (payloadByteLength !== KEY_STATE_V1_BYTES) return Status.badLength; // KEY-1
			this.#arena.copy(this.#live, payload, KEY_STATE_V1_BYTES);
			// What the servers have of these chains is not known, but all of it was accepted or is past.
			for (let b = 0; b < BRANCHES; b++)
				this.#view.setUint16(this.#live + UP_ACKNOWLEDGED + 2 * b, this.upIndex(b as Branch));
			return Status.ok;
		}
		if (payloadVersion !== KEY_STATE_VERSION) return Status.badVersion; // KEY-2
		const partBytes = payloadByteLength - KEY_STATE_BYTES;
		if (partBytes < 0 || partBytes !== this.#view.getUint16(payload + PART_BYTES)) return Status.badLength; // KEY-3
		if (partBytes > this.#partView.byteLength) return Status.badLength; // KEY-4
		this.#arena.copy(this.#live, payload, KEY_STATE_BYTES);
		return part === undefined || partBytes === 0 ? Status.ok : part.restore(this.#partView, partBytes); // KEY-5
	}

	/** Without a record of keys there is nothing that could be old. */
	#compareCounter(): Status {
		const counter = this.#counter;
		if (counter === undefined || !this.isProvisioned) return Status.ok;
		const value = counter.value();
		if (value > this.journal.sequence) {
			this.#isRolledBack = true;
			return Status.rolledBack; // KEY-6
		}
		// A cut between commit and counter. Failing here is no reason to be without keys: the next commit tries again.
		if (value < this.journal.sequence) this.counters.count(counter.raiseTo(this.journal.sequence));
		return Status.ok;
	}

	/**
	 * Gives the meter its keys. What the flash held before, if it could not be read, is erased.
	 * @returns `ok`; `badValue`; `busy` when it has keys already or a newer firmware's; the status of the flash
	 */
	provision(from: Provisioning): Status {
		if (!isComplete(from)) return this.counters.count(Status.badValue); // KEY-7
		if (!this.#mayProvision) return this.counters.count(Status.busy); // KEY-8
		const prepared = this.#prepareFlash();
		if (prepared !== Status.ok) return this.counters.count(prepared);
		this.#stageKeys(from);
		return this.counters.count(this.#commitNewKeys());
	}

	/**
	 * Prepares other keys for a meter that has some, in the copy; then `commitReseed`. The caller has checked that the head
	 * end allows this very file. Both together are atomic: after a cut all keys are the old ones or all are the new ones.
	 * @returns `ok`; `badValue`; `notFound` without keys, or of another meter; `replayed` for a generation that it has or
	 * had; `outOfOrder` when one lies between; `expired` when the keys begin before today
	 */
	stageReseed(from: Provisioning): Status {
		this.abortStaged();
		if (!isComplete(from)) return this.counters.count(Status.badValue); // KEY-9
		if (!this.hasId(from.id)) return this.counters.count(Status.notFound); // KEY-10
		if (from.generation <= this.generation) return this.counters.count(Status.replayed); // KEY-11
		if (from.generation > this.generation + 1) return this.counters.count(Status.outOfOrder); // KEY-12
		if (from.epoch < this.epoch) return this.counters.count(Status.expired); // KEY-13
		this.#stageKeys(from);
		this.#stagedChange = Staged.reseed;
		return Status.ok;
	}

	/** Writes the staged keys: from now on they are the only ones. @returns `ok`, or the status of the flash */
	commitReseed(): Status {
		if (this.#stagedChange !== Staged.reseed) throw new InvariantError("no keys are staged");
		return this.counters.count(this.#commitNewKeys());
	}

	/** A sector for the first record. With a record there is nothing to do: it is replaced. */
	#prepareFlash(): Status {
		return this.journal.sequence === 0 ? this.journal.eraseAll() : Status.ok;
	}

	/** All of the copy out of `from`, and what outlives keys. */
	#stageKeys(from: Provisioning): void {
		const { bytes } = this.#arena;
		const view = this.#view;
		const staged = this.#staged;
		const { id, roots, calendarRoot, updateKey, epoch } = from;
		// Slots belong to a calendar: under another one they begin anew.
		const live = this.#live + CALENDAR_ROOT;
		const slotNext = this.#crypto.equal(bytes, live, calendarRoot, 0, CALENDAR_ROOT_BYTES) ? this.flashSlotNext : 0;
		this.#arena.wipe(staged, KEY_STATE_BYTES);
		for (let i = 0; i < METER_ID_BYTES; i++) bytes[staged + i] = id[i]!;
		view.setUint16(staged + GENERATION, from.generation);
		view.setUint16(staged + DOMAIN, from.domain);
		view.setUint16(staged + SHORT_ADDRESS, from.shortAddress);
		bytes[staged + FLAGS] = FLAG_PROVISIONED;
		for (let i = 0; i < CALENDAR_ROOT_BYTES; i++) bytes[staged + CALENDAR_ROOT + i] = calendarRoot[i]!;
		view.setUint16(staged + CALENDAR_FIRST_EPOCH, from.calendarFirstEpoch);
		bytes[staged + CALENDAR_LEVELS] = from.calendarLevels;
		view.setUint16(staged + TESLA_INTERVAL_SECONDS, from.teslaIntervalSeconds);
		for (let i = 0; i < UPDATE_KEY_BYTES; i++) bytes[staged + UPDATE_KEY + i] = updateKey[i]!;
		view.setUint32(staged + MINIMUM_SECURITY_VERSION, this.minimumSecurityVersion());
		view.setUint32(staged + FLASH_SLOT_NEXT, slotNext);
		for (let b = 0; b < BRANCHES; b++) {
			for (let i = 0; i < ODOMETER_VALUE_BYTES; i++) bytes[this.#value + i] = roots[b * ODOMETER_VALUE_BYTES + i]!;
			startOdometer(this.#crypto, bytes, staged + ODOMETER + b * ODOMETER_STATE_BYTES, epoch, this.#value);
			this.#startDay(b, epoch);
		}
		this.#stageLeafKeys(epoch, true);
		this.#arena.wipe(this.#value, ODOMETER_VALUE_BYTES);
	}

	#commitNewKeys(): Status {
		// The number goes past the host's counter, which may know more records than this flash.
		if (this.#counter !== undefined) this.journal.skipTo(this.#counter.value());
		const status = this.#commit();
		if (status !== Status.ok) return status;
		this.#publishCalendar();
		this.#mayProvision = false;
		this.#isRolledBack = this.#isWitnessed = false;
		this.#witnessedSequence = 0;
		this.#mayProve = true;
		return Status.ok;
	}

	/** While V_N lies in its slot. */
	#stageLeafKeys(epoch: number, isNew: boolean): void {
		if (this.#part === undefined) return;
		this.#hasDayValue = true;
		this.#part.stageDay(epoch, this, isNew);
		this.#hasDayValue = false;
	}

	/**
	 * Prepares both odometers for a later day, in the copy; the part derives its leaf keys. Then `deriveLeafKey` if anybody
	 * else wants one, then `commitEpoch`, without anything in between.
	 * @param isAnchorVerified the caller has checked the day's ANCHOR against the calendar, and seen that the day began: a
	 * jump is irreversible, so a false date would destroy the keys for good (HORA 3.2)
	 * @returns `ok`; `notFound` without keys; `refusedByPeer` without the anchor; `replayed` for today or earlier; `badValue`
	 */
	stageEpoch(epoch: number, isAnchorVerified: boolean): Status {
		this.abortStaged();
		if (!this.isProvisioned) return this.counters.count(Status.notFound); // KEY-14
		if (!isAnchorVerified) return this.counters.count(Status.refusedByPeer); // KEY-15
		if (!isWithin(epoch, 0, EPOCH_MAX)) return this.counters.count(Status.badValue); // KEY-16
		const from = this.epoch;
		if (epoch <= from) return this.counters.count(Status.replayed); // KEY-17
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
		this.#stageLeafKeys(epoch, false);
		this.#stagedChange = Staged.epoch;
		this.#hasDayValue = true; // V_N stays in its slot until the commit
		return Status.ok;
	}

	/** See `LeafKeys`. */
	deriveLeafKey(tree: number, into: Uint8Array, offset: number): Status {
		if (!this.#hasDayValue) return Status.notFound;
		const context = this.#chain;
		const { bytes } = this.#arena;
		bytes[context] = tree;
		this.#crypto.kdf(bytes, this.#value, ODOMETER_VALUE_BYTES, Label.leaf, bytes, context, 1, into, offset, 16);
		return Status.ok;
	}

	/** Writes the staged day. @returns `ok`: the epoch has moved; or the status of the flash: see `Journal.finish` */
	commitEpoch(): Status {
		if (this.#stagedChange !== Staged.epoch) throw new InvariantError("no day is staged");
		return this.counters.count(this.#commit());
	}

	/** Forgets a staged day or staged keys. */
	abortStaged(): void {
		if (this.#stagedChange === Staged.nothing) return;
		if (this.#part !== undefined) this.#part.abort();
		this.#endStaged();
	}

	#endStaged(): void {
		this.#stagedChange = Staged.nothing;
		this.#hasDayValue = false;
		this.#arena.wipe(this.#value, ODOMETER_VALUE_BYTES);
		this.#arena.wipe(this.#staged, KEY_STATE_BYTES);
	}

	/** Writes what the part has staged. @returns `ok`: the part has committed; else it has aborted */
	commitPart(): Status {
		if (!this.isProvisioned) return this.counters.count(Status.notFound);
		if (this.#stagedChange !== Staged.nothing) return this.counters.count(Status.busy);
		this.#stage();
		return this.counters.count(this.#commit());
	}

	/**
	 * Marks a flash-command slot, and all below it, as used. Act after `ok`.
	 * @param slot 0 to 2^32 - 2
	 * @returns `ok`; `notFound` without keys; `badValue`; `replayed` when it was used, or a higher one; `busy`; the flash's
	 */
	useFlashSlot(slot: number): Status {
		if (!this.isProvisioned) return this.counters.count(Status.notFound); // KEY-18
		if (!isWithin(slot, 0, SLOT_MAX)) return this.counters.count(Status.badValue); // KEY-19
		if (slot < this.flashSlotNext) return this.counters.count(Status.replayed); // KEY-20
		if (this.#stagedChange !== Staged.nothing) return this.counters.count(Status.busy);
		this.#stage();
		this.#view.setUint32(this.#staged + FLASH_SLOT_NEXT, slot + 1);
		return this.counters.count(this.#commit());
	}

	/**
	 * Firmware of this security version runs and has proved itself: none below it is taken any more. It may be called
	 * without keys, on flash that is new or was reset.
	 * @returns `ok`, also when it is as high already; `badValue`; `notFound` on flash that could not be read; `busy`; the flash's
	 */
	raiseSecurityVersion(version: number): Status {
		if (!isWithin(version, 0, 0xffff_ffff)) return this.counters.count(Status.badValue); // KEY-21
		if (!this.isProvisioned && !(this.#mayProvision && this.#isReadable)) return this.counters.count(Status.notFound); // KEY-22
		if (version <= this.minimumSecurityVersion()) return this.counters.count(Status.ok);
		if (this.#stagedChange !== Staged.nothing) return this.counters.count(Status.busy);
		const prepared = this.#prepareFlash();
		if (prepared !== Status.ok) return this.counters.count(prepared);
		this.#stage();
		this.#view.setUint32(this.#staged + MINIMUM_SECURITY_VERSION, version);
		return this.counters.count(this.#commit());
	}

	/** At the end of interval 1 of a day: erases the receiving chains of the day before. Without any it does nothing. */
	endYesterday(): Status {
		if ((this.#arena.bytes[this.#live + FLAGS]! & FLAG_YESTERDAY) === 0) return Status.ok;
		if (this.#stagedChange !== Staged.nothing) return this.counters.count(Status.busy);
		this.#stage();
		const staged = this.#staged;
		this.#arena.bytes[staged + FLAGS] = FLAG_PROVISIONED;
		this.#arena.wipe(staged + YESTERDAY_KEY, BRANCHES * CHAIN_KEY_BYTES);
		for (let b = 0; b < BRANCHES; b++) this.#view.setUint16(staged + YESTERDAY_INDEX + 2 * b, 0);
		return this.counters.count(this.#commit());
	}

	/**
	 * Seals one message to the head-end or the concentrator under an index that is never used again. Every 64th call
	 * writes a record first. Before a witness has confirmed the head only its question is sealed (0x06, neighbourhood), and
	 * one 0x08 end to end under new keys: the technician's proof, whose content follows from the keys.
	 * @param into at least byteLength + 18 bytes; must not overlap `message`
	 * @param bound what the message's type adds to the associated data, at most 16 bytes
	 * @returns bytes written; 0 when nothing may be sealed: no keys, not witnessed or too much unacknowledged (`busy`), flash
	 * put back, the day's indices used up, flash refuses, a day is staged, `into` too short. `counters` says which.
	 */
	sealMessage(
		branch: Branch,
		type: number,
		message: Uint8Array,
		byteLength: number,
		into: Uint8Array,
		bound: Uint8Array = NO_BYTES,
	): number {
		if (!this.isProvisioned) return this.#sealRefused(Status.notFound);
		if (this.#stagedChange !== Staged.nothing) return this.#sealRefused(Status.busy);
		if (
			!(byteLength >= 0 && byteLength <= 0xffff && byteLength <= message.length) ||
			byteLength + UNICAST_OVERHEAD_BYTES > into.length
		)
			return this.#sealRefused(Status.badLength);
		const { bytes } = this.#arena;
		const view = this.#view;
		const live = this.#live;
		const indexAt = live + UP_INDEX + 2 * branch;
		const index = view.getUint16(indexAt);
		let status = this.#maySeal(branch, type, index);
		if (status !== Status.ok) return this.#sealRefused(status);
		if (index >= this.#reservedEnd[branch]!) {
			this.#stage();
			this.#stagedEnd[branch] = reservationEnd(index);
			status = this.#commit();
			if (status !== Status.ok) return this.#sealRefused(status);
		}
		const chain = live + UP_KEY + branch * CHAIN_KEY_BYTES;
		const key = this.#message;
		messageKey(this.#crypto, bytes, chain, key);
		// The key is gone from the chain before anything is sealed with it.
		advanceChain(this.#crypto, bytes, chain, 1);
		view.setUint16(indexAt, index + 1);
		if (type === UnicastType.timeRequest || type === UnicastType.catchUpRequest) this.#questionNext[branch] = index + 1;
		const epoch = view.getUint16(live + EPOCH);
		const flags = unicastFlags(branch, Direction.up);
		status = this.#unicast.seal(type, epoch, index, flags, bound, bytes, key, message, byteLength, into);
		this.#arena.wipe(key, AES_KEY_BYTES);
		return this.counters.count(status) === Status.ok ? byteLength + UNICAST_OVERHEAD_BYTES : 0;
	}

	#sealRefused(status: Status): number {
		this.counters.count(status);
		return 0;
	}

	/**
	 * Opens one message to this meter. When it answers `ok` the index is recorded and the key erased, so the caller may
	 * act: the same message is never opened twice. Costs at most 33 compressions before the tag is known to be false.
	 * An ATTACH (0x10) is carried out in the same record; the answer to a question acknowledges all that went before it.
	 * @param into at least byteLength - 18 bytes; used only after `ok`
	 * @returns `ok`, and `openedByteLength` and `opened` are set; `badLength`; `badValue` (flags, index 65 535);
	 * `notFound` (no keys, or for another meter); `busy` (not witnessed, or a day is staged); `rolledBack`; `badKind` (other
	 * direction); `notAuthorised` (ATTACH by the concentrator); `clockInvalid` (a day that no anchor has opened);
	 * `timedOut` (an earlier day, its keys are erased); `replayed`; `outOfOrder` (32 or more ahead); `badTag`; or the
	 * status of the flash. An ATTACH with a false content is used up and answered `badValue`, `badLength` or `expired`.
	 */
	openMessage(sealed: Uint8Array, byteLength: number, into: Uint8Array, bound: Uint8Array = NO_BYTES): Status {
		return this.counters.count(this.#open(sealed, byteLength, into, bound, false));
	}

	/**
	 * The same for a COMMAND (0x09, end to end) of the head end that came by the optical port, and orders nothing but what a
	 * put-back flash does not make worse: other keys, or none. It needs no witness.
	 * @returns as `openMessage`; `badKind` for another type
	 */
	openAuthorisation(sealed: Uint8Array, byteLength: number, into: Uint8Array): Status {
		return this.counters.count(this.#open(sealed, byteLength, into, NO_BYTES, true));
	}

	/**
	 * What someone else remembers of this meter's head, under these keys.
	 * @param sequence the largest `headSequence` that the meter ever reported to it; 0: none
	 * @returns `ok`: from now on everything is sealed and opened; `notFound` without keys; or `rolledBack` when flash is older than that: then nothing
	 * is, until new keys or `open`
	 */
	witness(sequence: number): Status {
		if (!this.isProvisioned) return this.counters.count(Status.notFound);
		if (sequence > this.#witnessedSequence) this.#witnessedSequence = sequence;
		if (sequence > this.journal.sequence) this.#isRolledBack = true;
		this.#isWitnessed = !this.#isRolledBack;
		return this.counters.count(this.#isRolledBack ? Status.rolledBack : Status.ok); // KEY-23
	}

	/**
	 * Forgets all keys: an empty record takes their place, so that a cut leaves all or nothing, and the count of records goes
	 * on. What guards against old firmware and used flash slots stays. Flash that cannot be read is erased whole.
	 */
	factoryReset(): Status {
		this.#wipeSecrets();
		let status: Status = Status.corrupt;
		if (this.journal.sequence > 0) {
			if (this.#counter !== undefined) this.journal.skipTo(this.#counter.value());
			this.#stage();
			status = this.#commit(true);
		}
		if (status !== Status.ok) {
			this.#wipeAll();
			status = this.journal.eraseAll();
		}
		this.#isReadable = this.#mayProvision = status === Status.ok;
		return this.counters.count(status);
	}

	/**
	 * Drops the keys from memory, for a reason that the store does not know (they are of another meter). Flash keeps them
	 * until there are new ones.
	 * @returns `reason`, counted
	 */
	forget(reason: Status): Status {
		this.#wipeSecrets();
		this.#mayProvision = true;
		return this.counters.count(reason);
	}

	#maySeal(branch: Branch, type: number, index: number): Status {
		const isEndToEnd = branch === Branch.endToEnd;
		if (!this.#isWitnessed) {
			if (this.#isRolledBack) return Status.rolledBack;
			const isProof = this.#mayProve && isEndToEnd && type === UnicastType.data && index === 0;
			if (!isProof && (isEndToEnd || type !== UnicastType.catchUpRequest)) return Status.busy;
		}
		if (index >= INDEX_END) return Status.storageFull;
		const acknowledged = this.#view.getUint16(this.#live + UP_ACKNOWLEDGED + 2 * branch);
		if (index - acknowledged < UNACKNOWLEDGED_MAX) return Status.ok;
		return type === (isEndToEnd ? UnicastType.timeRequest : UnicastType.catchUpRequest) ? Status.ok : Status.busy;
	}

	/** Whether this kind of message may be opened now, before anything is spent on it. */
	#mayOpen(isAuthorisation: boolean): Status {
		const { type, branch, direction } = this.opened;
		if (direction !== Direction.down) return Status.badKind; // UNI-4
		const isEndToEnd = branch === Branch.endToEnd;
		if (isAuthorisation) return isEndToEnd && type === UnicastType.command ? Status.ok : Status.badKind; // KEY-24
		if (this.#isRolledBack) return Status.rolledBack;
		if (!this.#isWitnessed && (isEndToEnd || type !== UnicastType.catchUp)) return Status.busy; // KEY-25
		return type === UnicastType.attach && !isEndToEnd ? Status.notAuthorised : Status.ok; // KEY-26
	}

	#open(sealed: Uint8Array, byteLength: number, into: Uint8Array, bound: Uint8Array, isAuthorisation: boolean): Status {
		const header = this.opened;
		const view = this.#view;
		const live = this.#live;
		let status = decodeUnicastHeader(sealed, byteLength, header);
		if (status !== Status.ok) return status;
		const textBytes = byteLength - UNICAST_OVERHEAD_BYTES;
		if (textBytes > into.length) return Status.badLength;
		if (!this.isProvisioned) return Status.notFound; // UNI-3
		if (this.#stagedChange !== Staged.nothing) return Status.busy;
		status = this.#mayOpen(isAuthorisation);
		if (status !== Status.ok) return status;
		if (header.domain !== this.domain || header.shortAddress !== this.shortAddress) return Status.notFound; // UNI-5
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
		status = this.#unicast.open(sealed, byteLength, header, bound, bytes, this.#message, into);
		arena.wipe(this.#message, AES_KEY_BYTES);
		if (status === Status.ok) {
			this.#stage();
			advanceChain(this.#crypto, bytes, this.#chain, 1);
			arena.copy(this.#staged + keyAt, this.#chain, CHAIN_KEY_BYTES);
			view.setUint16(this.#staged + indexAt, index + 1);
			if (isToday) this.#acknowledge(header.type, branch);
			const isAttach = header.type === UnicastType.attach;
			const done: Status = isAttach ? this.#stageAttach(into, textBytes, isToday) : Status.ok;
			status = this.#commit();
			this.openedByteLength = 0;
			if (isAttach || status !== Status.ok) into.fill(0, 0, textBytes);
			else this.openedByteLength = textBytes;
			if (status === Status.ok) status = done;
		}
		arena.wipe(this.#chain, CHAIN_KEY_BYTES);
		return status;
	}

	/** The answer to a question bears its nonce, so the server has accepted the question's index. In the copy. */
	#acknowledge(type: number, branch: Branch): void {
		const isAnswer = type === (branch === Branch.neighbourhood ? UnicastType.catchUp : UnicastType.time);
		const next = this.#questionNext[branch]!;
		if (isAnswer && next > 0) this.#view.setUint16(this.#staged + UP_ACKNOWLEDGED + 2 * branch, next);
	}

	/** In the copy: another concentrator from now on. Nothing that the old one has gives any of these keys. */
	#stageAttach(content: Uint8Array, byteLength: number, isToday: boolean): Status {
		if (byteLength !== ATTACH_BYTES) return Status.badLength; // ATT-1
		const epoch = content[ATTACH_EPOCH]! * 256 + content[ATTACH_EPOCH + 1]!;
		if (!isToday || epoch !== this.epoch) return Status.expired; // ATT-2
		let identity = 0;
		for (let i = 0; i < 4; i++) identity = identity * 256 + content[ATTACH_CONCENTRATOR + i]!;
		if (identity === 0) return Status.badValue; // ATT-3
		const { bytes } = this.#arena;
		const view = this.#view;
		const staged = this.#staged;
		const branch = Branch.neighbourhood;
		for (let i = 0; i < 2; i++) {
			bytes[staged + DOMAIN + i] = content[i]!;
			bytes[staged + SHORT_ADDRESS + i] = content[ATTACH_SHORT_ADDRESS + i]!;
		}
		view.setUint32(staged + CONCENTRATOR, identity);
		const odometer = staged + ODOMETER + branch * ODOMETER_STATE_BYTES;
		attachedDay(this.#crypto, content, ATTACH_SECRET, epoch, bytes, this.#value);
		attachOdometer(this.#crypto, bytes, odometer, epoch, content, ATTACH_SECRET);
		this.#startDay(branch, epoch);
		this.#arena.wipe(staged + YESTERDAY_KEY + branch * CHAIN_KEY_BYTES, CHAIN_KEY_BYTES);
		view.setUint16(staged + YESTERDAY_INDEX + 2 * branch, 0);
		this.#questionNext[branch] = 0;
		this.#stageLeafKeys(epoch, true);
		this.#arena.wipe(this.#value, ODOMETER_VALUE_BYTES);
		return Status.ok;
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
		view.setUint16(staged + UP_ACKNOWLEDGED + 2 * branch, 0);
		this.#stagedEnd[branch] = reservationEnd(0);
	}

	/**
	 * Writes the copy and what the part has staged, then takes both over. In flash the up chains stand at the end of their
	 * reservation: a reader of flash learns no key of a message that was sealed, and after power loss there is nothing to
	 * walk over.
	 * @param isReset the part is dropped
	 */
	#commit(isReset = false): Status {
		const { bytes } = this.#arena;
		const { journal } = this;
		const part = this.#part;
		const view = this.#view;
		journal.begin(this.#staged, KEY_STATE_BYTES);
		const record = journal.payload;
		for (let b = 0; b < BRANCHES; b++) {
			const index = view.getUint16(record + UP_INDEX + 2 * b);
			const end = this.#stagedEnd[b]!;
			advanceChain(this.#crypto, bytes, record + UP_KEY + b * CHAIN_KEY_BYTES, end - index);
			view.setUint16(record + UP_INDEX + 2 * b, end);
		}
		const partBytes = part === undefined || isReset ? 0 : part.encodeStaged(this.#partView);
		view.setUint16(record + PART_BYTES, partBytes);
		let status = journal.finish(KEY_STATE_BYTES + partBytes, KEY_STATE_VERSION);
		// Until the counter knows of it, the record is not safe from being taken away: nobody acts on it.
		if (status === Status.ok && this.#counter !== undefined) status = this.#counter.raiseTo(journal.sequence);
		if (status === Status.ok) {
			const isDay = view.getUint16(this.#staged + EPOCH) !== this.epoch;
			if (isDay) this.#questionNext.fill(0);
			this.#arena.copy(this.#live, this.#staged, KEY_STATE_BYTES);
			for (let b = 0; b < BRANCHES; b++) this.#reservedEnd[b] = this.#stagedEnd[b]!;
			this.#unicast.setMeter(bytes, this.#live, this.domain, this.shortAddress);
			this.#mayProve = false;
			if (part !== undefined) {
				if (isReset) part.restore(this.#partView, 0);
				else part.commit();
			}
		} else if (part !== undefined) part.abort();
		this.#endStaged();
		return status;
	}

	#publishCalendar(): void {
		const { bytes } = this.#arena;
		const calendar = this.#calendar;
		const live = this.#live;
		for (let i = 0; i < CALENDAR_ROOT_BYTES; i++) calendar.root[i] = bytes[live + CALENDAR_ROOT + i]!;
		calendar.firstEpoch = this.#view.getUint16(live + CALENDAR_FIRST_EPOCH);
		calendar.levels = bytes[live + CALENDAR_LEVELS]!;
	}

	/** Everything but what outlives keys: see the table. */
	#wipeSecrets(): void {
		const arena = this.#arena;
		const version = this.minimumSecurityVersion();
		const slotNext = this.flashSlotNext;
		const live = this.#live;
		arena.wipe(live, CALENDAR_ROOT);
		arena.wipe(live + CALENDAR_FIRST_EPOCH, KEY_STATE_BYTES - CALENDAR_FIRST_EPOCH);
		this.#view.setUint32(live + MINIMUM_SECURITY_VERSION, version);
		this.#view.setUint32(live + FLASH_SLOT_NEXT, slotNext);
		this.#endKeys();
	}

	#wipeAll(): void {
		this.#arena.wipe(this.#live, KEY_STATE_BYTES);
		this.#endKeys();
	}

	/** There are no keys in memory, and so nothing that could be said of them. */
	#endKeys(): void {
		this.abortStaged();
		this.#arena.wipe(this.#chain, CHAIN_KEY_BYTES);
		this.#arena.wipe(this.#message, AES_KEY_BYTES);
		this.#reservedEnd.fill(0);
		this.#stagedEnd.fill(0);
		this.#questionNext.fill(0);
		this.#isRolledBack = this.#isWitnessed = this.#mayProve = this.#isReadable = false;
		this.#witnessedSequence = 0;
		this.openedByteLength = 0;
		if (this.#part !== undefined) this.#part.restore(this.#partView, 0);
		this.#calendar.root.fill(0);
		this.#calendar.firstEpoch = this.#calendar.levels = 0;
	}
}
