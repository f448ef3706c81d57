import { Status } from "../bytes/status.js";
import {
	COMMAND_ID_BYTES,
	createDemandResponseEvent,
	createLoadLimit,
	createPrices,
	createTariffTable,
	encodeDemandResponse,
	encodeLoadLimit,
	encodePrices,
	encodeTariffTable,
	NO_TIME,
	readDemandResponse,
	readLoadLimit,
	readPrices,
	readTariffTable,
} from "../messages/command.js";
import { SETTINGS_BYTES_MAX, type SettingsStore } from "../storage/settings-store.js";

/**
 * What commands have set, version 1 of the settings blob: 228 bytes, big-endian.
 * | offset | size | field            | unit and range                                                                  |
 * |-------:|-----:|------------------|---------------------------------------------------------------------------------|
 * |      0 |    1 | flags            | bit 0 disconnected, 1 waits for the button, 2 limiter locked, 3 opted out       |
 * |      1 |    1 | disconnectReason | of the last disconnect                                                          |
 * |      2 |    2 | reserved         | 0                                                                               |
 * |      4 |    8 | lastCommandId    | of the command that this blob shows the effect of                               |
 * |     12 |   18 | loadLimit        | body of a loadLimit command; limitWatts 0: none                                 |
 * |     30 |    2 | reserved         | 0                                                                               |
 * |     32 |    4 | limitEndSeconds  | UTCTime at which its duration is over; 0xFFFFFFFF: until further notice         |
 * |     36 |   16 | demandResponse   | body of a demandResponse command; durationSeconds 0: none                       |
 * |     52 |    8 | responseId       | commandId of that event                                                         |
 * |     60 |    2 | readingSeconds   | s; 0: as at production                                                          |
 * |     62 |    2 | intervalSeconds  | s; 0: as at production                                                          |
 * |     64 |    1 | group            | demand-response group, 0: none                                                  |
 * |     65 |    1 | reserved         | 0                                                                               |
 * |     66 | 2×24 | prices           | in force, next: bodies of a price command with 4 places; tariffCount 0: none    |
 * |    114 | 2×56 | calendars        | in force, next: bodies of a tariffCalendar command with 16 places               |
 * |    226 |    2 | haveCalendars    | one byte each: 1 there is one                                                   |
 */
export const CONTROL_STATE_BYTES = 228;
export const CONTROL_STATE_VERSION = 1;

const FLAG_DISCONNECTED = 1;
const FLAG_BUTTON = 2;
const FLAG_LOCKED = 4;
const FLAG_OPTED_OUT = 8;
const PRICES_AT = 66;
const PRICES_BYTES = 24;
const CALENDARS_AT = 114;
const CALENDAR_BYTES = 56;

/** What commands have set and what must survive a power cut; one blob in the settings store, replaced as a whole. */
export class ControlState {
	isDisconnected = false;
	/** Connected again, but the customer is to close. */
	waitsForButton = false;
	limiterLocked = false;
	hasOptedOut = false;
	disconnectReason = 0;
	readonly lastCommandId = new Uint8Array(COMMAND_ID_BYTES);
	readonly loadLimit = createLoadLimit();
	limitEndSeconds = NO_TIME;
	readonly demandResponse = createDemandResponseEvent();
	readonly responseId = new Uint8Array(COMMAND_ID_BYTES);
	/** 0: as at production. */
	readingSeconds = 0;
	intervalSeconds = 0;
	group = 0;
	readonly prices = createPrices();
	readonly nextPrices = createPrices();
	readonly calendar = createTariffTable();
	readonly nextCalendar = createTariffTable();
	hasCalendar = false;
	hasNextCalendar = false;

	readonly #store: SettingsStore;
	/** As it stands in flash. */
	readonly #stored = new Uint8Array(CONTROL_STATE_BYTES);
	readonly #storedView = new DataView(this.#stored.buffer);
	#isForeign = false;

	constructor(store: SettingsStore) {
		this.#store = store;
		this.#encode(this.#storedView);
	}

	/**
	 * Reads what survived. Before all else.
	 * @returns `ok`, also when nothing was ever set; `badVersion` for a newer firmware's blob, which `save` will not
	 * overwrite; else what the store or the blob's own check says: then nothing is set, and the supply is closed
	 */
	open(): Status {
		let status = this.#store.open();
		if (status !== Status.ok) return status;
		const bytes = new Uint8Array(SETTINGS_BYTES_MAX);
		status = this.#store.load(bytes);
		if (status === Status.notFound) return Status.ok;
		// A cut in the very first save leaves one slot that is not good: nothing was ever set.
		if (status === Status.badChecksum && this.#store.log.nextSequence <= 2) return Status.ok;
		if (status !== Status.ok) return status;
		if (this.#store.version !== CONTROL_STATE_VERSION) {
			this.#isForeign = this.#store.version > CONTROL_STATE_VERSION;
			return Status.badVersion; // CST-1
		}
		if (this.#store.byteLength !== CONTROL_STATE_BYTES) return Status.badLength; // CST-2
		for (let i = 0; i < CONTROL_STATE_BYTES; i++) this.#stored[i] = bytes[i]!;
		this.#decode(this.#storedView);
		return Status.ok;
	}

	/** Makes it durable as it is now. @returns `ok`; else it is again what it was at the last `save` or `open` */
	save(): Status {
		if (this.#isForeign) {
			this.revert();
			return Status.badVersion;
		}
		const bytes = new Uint8Array(CONTROL_STATE_BYTES);
		this.#encode(new DataView(bytes.buffer));
		const status = this.#store.replace(bytes, CONTROL_STATE_BYTES, CONTROL_STATE_VERSION);
		if (status === Status.ok) for (let i = 0; i < CONTROL_STATE_BYTES; i++) this.#stored[i] = bytes[i]!;
		else this.revert();
		return status;
	}

	/** Back to what flash says. */
	revert(): void {
		this.#decode(this.#storedView);
	}

	#encode(view: DataView): void {
		view.setUint8(
			0,
			(this.isDisconnected ? FLAG_DISCONNECTED : 0) |
				(this.waitsForButton ? FLAG_BUTTON : 0) |
				(this.limiterLocked ? FLAG_LOCKED : 0) |
				(this.hasOptedOut ? FLAG_OPTED_OUT : 0),
		);
		view.setUint8(1, this.disconnectReason);
		for (let i = 0; i < COMMAND_ID_BYTES; i++) view.setUint8(4 + i, this.lastCommandId[i]!);
		encodeLoadLimit(this.loadLimit, view, 12);
		view.setUint32(32, this.limitEndSeconds);
		encodeDemandResponse(this.demandResponse, view, 36);
		for (let i = 0; i < COMMAND_ID_BYTES; i++) view.setUint8(52 + i, this.responseId[i]!);
		view.setUint16(60, this.readingSeconds);
		view.setUint16(62, this.intervalSeconds);
		view.setUint8(64, this.group);
		encodePrices(this.prices, view, PRICES_AT);
		encodePrices(this.nextPrices, view, PRICES_AT + PRICES_BYTES);
		encodeTariffTable(this.calendar, view, CALENDARS_AT);
		encodeTariffTable(this.nextCalendar, view, CALENDARS_AT + CALENDAR_BYTES);
		view.setUint8(226, this.hasCalendar ? 1 : 0);
		view.setUint8(227, this.hasNextCalendar ? 1 : 0);
	}

	#decode(view: DataView): void {
		const flags = view.getUint8(0);
		this.isDisconnected = (flags & FLAG_DISCONNECTED) !== 0;
		this.waitsForButton = (flags & FLAG_BUTTON) !== 0;
		this.limiterLocked = (flags & FLAG_LOCKED) !== 0;
		this.hasOptedOut = (flags & FLAG_OPTED_OUT) !== 0;
		this.disconnectReason = view.getUint8(1);
		for (let i = 0; i < COMMAND_ID_BYTES; i++) this.lastCommandId[i] = view.getUint8(4 + i);
		readLoadLimit(view, 12, this.loadLimit);
		this.limitEndSeconds = view.getUint32(32);
		readDemandResponse(view, 36, this.demandResponse);
		for (let i = 0; i < COMMAND_ID_BYTES; i++) this.responseId[i] = view.getUint8(52 + i);
		this.readingSeconds = view.getUint16(60);
		this.intervalSeconds = view.getUint16(62);
		this.group = view.getUint8(64);
		readPrices(view, PRICES_AT, this.prices);
		readPrices(view, PRICES_AT + PRICES_BYTES, this.nextPrices);
		readTariffTable(view, CALENDARS_AT, this.calendar);
		readTariffTable(view, CALENDARS_AT + CALENDAR_BYTES, this.nextCalendar);
		this.hasCalendar = view.getUint8(226) === 1;
		this.hasNextCalendar = view.getUint8(227) === 1;
	}
}
