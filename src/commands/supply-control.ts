import { InvariantError, Status } from "../bytes/status.js";
import { AuditCode } from "../messages/audit.js";
import {
	COMMAND_ID_BYTES,
	CommandKind,
	ConnectMode,
	type DemandResponseEvent,
	encodeDemandResponse,
	encodePrices,
	encodeTariffTable,
	type LoadLimit,
	NO_TIME,
	Parameter,
	type Prices,
	readDemandResponse,
	readPrices,
	readTariffTable,
	type TariffTable,
} from "../messages/command.js";
import type { Actuators, CommandContext } from "./actuators.js";
import type { AuditLog } from "./audit-log.js";
import type { ControlState } from "./control-state.js";
import { DemandResponse, ResponsePhase } from "./demand-response.js";
import { LimiterState, LoadLimiter } from "./load-limiter.js";

/** What the meter itself gives: its relay, and the rooms that commands reach into. */
export interface Device {
	/** Moves the relay and writes relayOpened or relayClosed. @returns `ok` when it is there */
	setRelay(closed: boolean): Status;
	/** From now on these switches are in force. Also at start. */
	calendarChanged(table: TariffTable): void;
	/** 0: as at production. Also at start. */
	configurationChanged(readingSeconds: number, intervalSeconds: number): void;
	synchroniseClock(stepSecondsMax: number): Status;
	readProfile(firstSequence: number, count: number): Status;
	/** `KeyStore.headSequence`. */
	keyHead(): number;
	/** Is to destroy the keys once the receipt has left, or after a minute. */
	decommission(): Status;
}

/** Limits of an event are held to as strictly as this. */
const RESPONSE_OVER_SECONDS = 60;
const RESPONSE_RECONNECT_SECONDS = 300;
const RESPONSE_TRIPS_MAX = 3;

/**
 * The customer's supply and what commands have set: relay, load limit, demand response, prices, calendar, configuration.
 * The relay is closed when nothing wants it open: no disconnect, no wait for the button, no limiter.
 *
 * What is set goes to flash first and is in force when it is there; so a cut leaves old or new, and `holds` tells which.
 */
export class SupplyControl implements Actuators {
	readonly state: ControlState;
	readonly limiter = new LoadLimiter();
	readonly response: DemandResponse;
	/** Of the running event, as of the last `tick`. */
	responsePhase: ResponsePhase = ResponsePhase.idle;
	/** Whether a controlled load may run, as of the last `tick`. */
	loadMayRun = true;

	readonly #device: Device;
	readonly #audit: AuditLog;
	/** For copies of bodies. */
	readonly #copy = new DataView(new ArrayBuffer(64));
	#isClosed = false;
	#isStarted = false;

	/** @param identifier the meter's own 8 bytes */
	constructor(state: ControlState, audit: AuditLog, device: Device, identifier: Uint8Array) {
		if (identifier.length !== COMMAND_ID_BYTES) throw new InvariantError("an identifier has 8 bytes");
		this.state = state;
		this.#audit = audit;
		this.#device = device;
		this.response = new DemandResponse(identifier[6]! * 256 + identifier[7]!);
	}

	/** The relay as it is meant to be. */
	get isClosed(): boolean {
		return this.#isClosed;
	}

	/**
	 * Reads what survived, and puts relay, calendar and configuration there. After `AuditLog.open`.
	 * @returns see `ControlState.open`; what is lost is in the log
	 */
	open(utcSeconds: number): Status {
		const { state } = this;
		const status = state.open();
		if (status !== Status.ok) this.#audit.append(utcSeconds, AuditCode.controlStateLost, status);
		if (state.limiterLocked) this.limiter.lock();
		this.#applyLimiterRules();
		if (state.hasCalendar) this.#device.calendarChanged(state.calendar);
		this.#device.configurationChanged(state.readingSeconds, state.intervalSeconds);
		this.#moveRelay();
		return status;
	}

	// ---- once a second

	/**
	 * @param powerMilliwatts of import, all phases
	 * @param utcSeconds NaN while the clock is not set
	 */
	tick(nowMilliseconds: number, utcSeconds: number, powerMilliwatts: number): void {
		this.#promote(utcSeconds);
		const { state, limiter } = this;
		this.#tickResponse(utcSeconds);
		const limit = Math.min(
			this.#loadLimitMilliwatts(utcSeconds),
			this.response.limitMilliwatts(state.demandResponse, this.responsePhase),
		);
		const before = limiter.state;
		const after = limiter.tick(nowMilliseconds, powerMilliwatts, limit);
		if (after !== before) this.#limiterChanged(before, after, utcSeconds);
		this.#moveRelay();
	}

	#tickResponse(utcSeconds: number): void {
		const { state } = this;
		const event = state.demandResponse;
		const before = this.responsePhase;
		const after = this.response.phase(event, state.hasOptedOut, utcSeconds);
		this.responsePhase = after;
		this.loadMayRun = this.response.loadMayRun(event, after, utcSeconds);
		if (after === before) return;
		if (after === ResponsePhase.active)
			this.#audit.append(utcSeconds, AuditCode.demandResponseStart, event.dutyPermille);
		else if (before === ResponsePhase.active) this.#audit.append(utcSeconds, AuditCode.demandResponseEnd, 0);
		this.#applyLimiterRules();
	}

	#limiterChanged(before: LimiterState, after: LimiterState, utcSeconds: number): void {
		const { trips } = this.limiter;
		const wasOpen = before === LimiterState.open || before === LimiterState.locked;
		if (after === LimiterState.open) this.#audit.append(utcSeconds, AuditCode.loadLimitOpened, trips);
		else if (after === LimiterState.locked) this.#audit.append(utcSeconds, AuditCode.loadLimitLocked, trips);
		else if (wasOpen) this.#audit.append(utcSeconds, AuditCode.loadLimitClosed, trips);
		// Only the lock survives: a trip that ends by itself would wear the flash, and a restart may begin it anew.
		const isLocked = after === LimiterState.locked;
		if (isLocked === this.state.limiterLocked) return;
		this.state.limiterLocked = isLocked;
		this.state.save();
	}

	/** Infinity: none. */
	#loadLimitMilliwatts(utcSeconds: number): number {
		const { loadLimit, limitEndSeconds } = this.state;
		const isOver = limitEndSeconds !== NO_TIME && utcSeconds >= limitEndSeconds;
		const watts = isOver ? loadLimit.thenWatts : loadLimit.limitWatts;
		return watts === 0 ? Number.POSITIVE_INFINITY : watts * 1000;
	}

	#applyLimiterRules(): void {
		const { overSeconds, reconnectSeconds, tripsMax, limitWatts } = this.state.loadLimit;
		if (limitWatts === 0 && this.responsePhase === ResponsePhase.active)
			this.limiter.setRules(RESPONSE_OVER_SECONDS, RESPONSE_RECONNECT_SECONDS, RESPONSE_TRIPS_MAX);
		else this.limiter.setRules(overSeconds, reconnectSeconds, tripsMax);
	}

	/** What was set for later comes into force. Not written: at a restart it comes into force again. */
	#promote(utcSeconds: number): void {
		const { state } = this;
		const copy = this.#copy;
		if (state.nextPrices.tariffCount > 0 && utcSeconds >= state.nextPrices.validFromSeconds) {
			encodePrices(state.nextPrices, copy, 0);
			readPrices(copy, 0, state.prices);
			state.nextPrices.tariffCount = 0;
		}
		if (state.hasNextCalendar && utcSeconds >= state.nextCalendar.validFromSeconds) {
			encodeTariffTable(state.nextCalendar, copy, 0);
			readTariffTable(copy, 0, state.calendar);
			state.hasCalendar = true;
			state.hasNextCalendar = false;
			this.#device.calendarChanged(state.calendar);
		}
	}

	#moveRelay(): Status {
		const { state } = this;
		const closed = !state.isDisconnected && !state.waitsForButton && !this.limiter.isOpen;
		if (this.#isStarted && closed === this.#isClosed) return Status.ok;
		const status = this.#device.setRelay(closed);
		if (status !== Status.ok) return status; // tried again a second later
		this.#isStarted = true;
		this.#isClosed = closed;
		return Status.ok;
	}

	/** Price of a kWh in 1/100 000 of the currency; NaN: none is known. */
	priceOf(tariff: number): number {
		const { prices } = this.state;
		return tariff >= 1 && tariff <= prices.tariffCount ? prices.prices[tariff - 1]! : Number.NaN;
	}

	// ---- the customer

	/**
	 * The button: closes what waits for it, then releases the limiter, then opts out of an event where that is allowed.
	 * @returns whether it did anything
	 */
	buttonPressed(utcSeconds: number): boolean {
		const { state } = this;
		if (!state.isDisconnected && (state.waitsForButton || this.limiter.isOpen)) {
			state.waitsForButton = false;
			state.limiterLocked = false;
			if (state.save() !== Status.ok) return false;
			this.limiter.release();
			this.#audit.append(utcSeconds, AuditCode.customerClosed, 0);
			return this.#moveRelay() === Status.ok;
		}
		if (this.responsePhase === ResponsePhase.active && state.demandResponse.optOutAllowed) {
			state.hasOptedOut = true;
			if (state.save() !== Status.ok) return false;
			this.#audit.append(utcSeconds, AuditCode.demandResponseOptOut, 0);
			this.#tickResponse(utcSeconds);
			return true;
		}
		return false;
	}

	// ---- commands

	connect(mode: number, context: CommandContext): Status {
		const { state } = this;
		state.isDisconnected = false;
		state.waitsForButton = mode === ConnectMode.byButton && !this.#isClosed;
		state.limiterLocked = false;
		const status = this.#save(context);
		if (status !== Status.ok) return status;
		if (!state.waitsForButton) this.limiter.release();
		return this.#moveRelay();
	}

	disconnect(reason: number, context: CommandContext): Status {
		const { state } = this;
		state.isDisconnected = true;
		state.waitsForButton = false;
		state.disconnectReason = reason;
		const status = this.#save(context);
		return status === Status.ok ? this.#moveRelay() : status;
	}

	setLoadLimit(limit: LoadLimit, context: CommandContext): Status {
		const { state } = this;
		let end = NO_TIME;
		if (limit.durationSeconds > 0) {
			if (Number.isNaN(context.utcSeconds)) return Status.clockInvalid;
			end = Math.floor(context.utcSeconds) + limit.durationSeconds;
			if (end >= NO_TIME) return Status.badValue;
		}
		Object.assign(state.loadLimit, limit);
		state.limitEndSeconds = end;
		state.limiterLocked = false;
		const status = this.#save(context);
		if (status !== Status.ok) return status;
		this.limiter.release();
		this.#applyLimiterRules();
		return this.#moveRelay();
	}

	setPrices(prices: Prices, context: CommandContext): Status {
		const { state } = this;
		this.#promote(context.utcSeconds);
		const isNow = prices.validFromSeconds === 0 || context.utcSeconds >= prices.validFromSeconds;
		encodePrices(prices, this.#copy, 0);
		readPrices(this.#copy, 0, isNow ? state.prices : state.nextPrices);
		return this.#save(context);
	}

	setTariffCalendar(table: TariffTable, context: CommandContext): Status {
		const { state } = this;
		this.#promote(context.utcSeconds);
		const isNow = table.validFromSeconds === 0 || context.utcSeconds >= table.validFromSeconds;
		encodeTariffTable(table, this.#copy, 0);
		readTariffTable(this.#copy, 0, isNow ? state.calendar : state.nextCalendar);
		if (isNow) state.hasCalendar = true;
		else state.hasNextCalendar = true;
		const status = this.#save(context);
		if (status === Status.ok && isNow) this.#device.calendarChanged(state.calendar);
		return status;
	}

	demandResponse(event: DemandResponseEvent, context: CommandContext): Status {
		const { state } = this;
		if (event.group !== 0 && event.group !== state.group) return Status.notFound; // for another group
		encodeDemandResponse(event, this.#copy, 0);
		readDemandResponse(this.#copy, 0, state.demandResponse);
		for (let i = 0; i < COMMAND_ID_BYTES; i++) state.responseId[i] = context.commandId[i]!;
		state.hasOptedOut = false;
		const status = this.#save(context);
		if (status === Status.ok) this.#tickResponse(context.utcSeconds);
		return status;
	}

	synchroniseClock(stepSecondsMax: number): Status {
		return this.#device.synchroniseClock(stepSecondsMax);
	}

	configure(parameter: number, value: number, isLast: boolean, context: CommandContext): Status {
		const { state } = this;
		if (parameter === Parameter.readingSeconds) state.readingSeconds = value;
		else if (parameter === Parameter.intervalSeconds) state.intervalSeconds = value;
		else if (parameter === Parameter.group) state.group = value;
		else {
			state.revert();
			return Status.unsupported;
		}
		if (!isLast) return Status.ok;
		const status = this.#save(context);
		if (status === Status.ok) this.#device.configurationChanged(state.readingSeconds, state.intervalSeconds);
		return status;
	}

	readProfile(firstSequence: number, count: number): Status {
		return this.#device.readProfile(firstSequence, count);
	}

	/** The handler has compared the identifier. */
	decommission(): Status {
		return this.#device.decommission();
	}

	answer(commandKind: number): number {
		switch (commandKind) {
			case CommandKind.connect:
			case CommandKind.disconnect:
			case CommandKind.loadLimit:
				return this.#isClosed ? 1 : 0;
			case CommandKind.keyMaintenance:
				return this.#device.keyHead() | 0;
			default:
				return 0;
		}
	}

	holds(commandId: Uint8Array): boolean {
		const { lastCommandId } = this.state;
		for (let i = 0; i < COMMAND_ID_BYTES; i++) if (lastCommandId[i] !== commandId[i]) return false;
		return true;
	}

	#save(context: CommandContext): Status {
		for (let i = 0; i < COMMAND_ID_BYTES; i++) this.state.lastCommandId[i] = context.commandId[i]!;
		return this.state.save();
	}
}
