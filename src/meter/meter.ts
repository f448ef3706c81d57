import { STATUS_COUNT, Status, statusName } from "../bytes/status.js";
import { AuditLog } from "../commands/audit-log.js";
import { Source } from "../commands/authorisation.js";
import { type Arrival, CommandHandler } from "../commands/command-handler.js";
import { ControlState } from "../commands/control-state.js";
import { type Device, SupplyControl } from "../commands/supply-control.js";
import type { CryptoPlatform } from "../crypto/crypto-platform.js";
import { RandomSource } from "../crypto/drbg.js";
import { UpdateMachine } from "../firmware-update/update-machine.js";
import { Branch } from "../key-store/chains.js";
import { KeyStore, UPDATE_KEY_BYTES } from "../key-store/key-store.js";
import { AuditCode } from "../messages/audit.js";
import { captureCodesOffset, createCaptureHeader, encodeCaptureHeader } from "../messages/capture.js";
import type { TariffTable } from "../messages/command.js";
import { Diagnostic, encodeDiagnostic, encodeDiagnosticsHeader } from "../messages/diagnostics.js";
import { FirmwareTarget, UpdateState } from "../messages/firmware-update.js";
import { BootReason, type Hello } from "../messages/hello.js";
import { Kind, MESSAGE_BYTES_MAX, utcField } from "../messages/kinds.js";
import { type Reading, ReadingFlag } from "../messages/reading.js";
import { encodeRegisterEntry, encodeSnapshotHeader, Unit } from "../messages/snapshot.js";
import { CaptureRing } from "../metrology/capture.js";
import { MaximumDemand } from "../metrology/demand.js";
import { EventCode } from "../metrology/events.js";
import { LoadProfile, type LoadProfileEvents, type LoadProfileRow, ProfileStatus } from "../metrology/load-profile.js";
import {
	MeasurementFlag,
	Metrology,
	type MetrologyConfiguration,
	type MetrologyEvents,
} from "../metrology/metrology.js";
import { Netting, Register, TARIFF_COUNT } from "../metrology/registers.js";
import { DEFAULT_TAMPER_LIMITS, Detection, type TamperEvents, TamperMonitor } from "../metrology/tamper.js";
import { dailyCalendar, TariffCalendar } from "../metrology/tariff.js";
import { Input, Output } from "../platform/board.js";
import type { LinkEvents } from "../platform/link.js";
import type { MeterEvents } from "../platform/platform.js";
import { KeyStoreProvisioning, type ProvisioningHost } from "../provisioning/key-store-provisioning.js";
import { OpticalPortMachine } from "../provisioning/optical-port.js";
import type { AttemptStore } from "../provisioning/provisioning-target.js";
import { EventStore } from "../storage/event-store.js";
import { createProfileRow, ProfileStore } from "../storage/profile-store.js";
import { RecordLogCounters } from "../storage/record-log.js";
import { REGISTER_BYTES_MAX, RegisterStore } from "../storage/register-store.js";
import { SettingsStore } from "../storage/settings-store.js";
import type { Channel, ChannelListener } from "./channel.js";
import { decodeMeterState, encodeMeterState, METER_STATE_BYTES, type MeterCounters } from "./meter-state.js";
import { PlainChannel } from "./plain-channel.js";
import { SecuredChannel } from "./secured-channel.js";
import { parseSettings, type Settings } from "./settings.js";
import { LATER, Uplink, type UplinkSource } from "./uplink.js";
import { FIRMWARE_MAJOR, FIRMWARE_MINOR, FIRMWARE_PATCH, FIRMWARE_VERSION, SECURITY_VERSION } from "./version.js";
import { ClockChange, WallClock } from "./wall-clock.js";

/** Samples are copied into the capture ring only when somebody asked: the copy costs more than measuring them. */
const CaptureState = Object.freeze({ idle: 0, recording: 1, ready: 2 } as const);
type CaptureState = (typeof CaptureState)[keyof typeof CaptureState];

/** How long a receipt may take to leave before what it tells of happens. */
const FAREWELL_MILLISECONDS = 60_000;
/** From handing a receipt to the link to the end of what can be sent. */
const FAREWELL_SENT_MILLISECONDS = 5_000;
const OPTICAL_PIECE_BYTES = 128;
/** The port forgets who was there; a lock-out of its own is at most an hour. */
const OPTICAL_IDLE_MILLISECONDS = 3_600_000;
/** New firmware has sent so many messages before it stays. */
const TRIAL_MESSAGES = 3;
const DAY_SECONDS = 86_400;

/** Without a closed second for this long the front end is taken as silent: time goes on, and the interval says so. */
const SILENCE_MILLISECONDS = 3_000;

function metrologyConfiguration(settings: Settings): MetrologyConfiguration {
	return {
		layout: settings.layout,
		nominalVoltageMillivolts: settings.nominalVoltageMillivolts,
		nominalFrequencyMillihertz: settings.nominalFrequencyHertz * 1000,
		baseCurrentMilliamperes: settings.baseCurrentMilliamperes,
		maximumCurrentMilliamperes: settings.maximumCurrentMilliamperes,
		voltageMillivoltsPerCode: { numerator: settings.voltageMicrovoltsPerCode, denominator: 1000 },
		currentMilliamperesPerCode: { numerator: settings.currentMicroamperesPerCode, denominator: 1000 },
		removeMean: true,
		nettingMode: settings.netting,
		pulsesPerKilowattHour: settings.meterConstant,
	};
}

/**
 * One meter: made at each start from its platform and settings; everything that changes is in here. It knows all the
 * rooms and holds no rule of its own but the order of things.
 */
export class Meter
	implements
		MeterEvents,
		LinkEvents,
		UplinkSource,
		ChannelListener,
		Device,
		ProvisioningHost,
		MetrologyEvents,
		LoadProfileEvents,
		TamperEvents
{
	readonly settings: Settings;
	readonly metrology: Metrology;
	readonly uplink: Uplink;

	readonly #platform: CryptoPlatform;
	readonly #id = new Uint8Array(8);
	readonly #wallClock: WallClock;
	/** Of the three stores together. */
	readonly #flashCounters = new RecordLogCounters();
	readonly #registerStore: RegisterStore;
	readonly #profileStore: ProfileStore;
	readonly #eventStore: EventStore;
	readonly #loadProfile: LoadProfile;
	readonly #demand: MaximumDemand;
	/** Events and commands, each row chained to the one before. */
	readonly #audit: AuditLog;
	readonly #commands: CommandHandler;
	readonly #supply: SupplyControl;
	#calendar: TariffCalendar;
	readonly #tamper: TamperMonitor;
	readonly #channel: Channel;
	/** Absent in a plain meter, like the optical port. */
	#keyStore: KeyStore | undefined;
	/** What `KeyStore.open` answered at the start. */
	#keyStatus: Status = Status.ok;
	/** There while somebody is at the port, and while firmware is on its way: half a thousand slots that are seldom used. */
	#opticalPort: OpticalPortMachine | undefined;
	#opticalIdleMilliseconds = 0;
	#update: UpdateMachine | undefined;
	/** There while a capture is wanted: 4 KB that a meter seldom needs. */
	#capture: CaptureRing | undefined;
	#captureState: CaptureState = CaptureState.idle;
	readonly #captureRows: number;
	readonly #state = new Uint8Array(REGISTER_BYTES_MAX);
	readonly #stateView = new DataView(this.#state.buffer);
	readonly #counters: MeterCounters = { bootCount: 0, parameterCounter: 0, opticalFailures: 0 };
	readonly #bootReason: number;
	/** Monotonic time of the last closed second, ms. */
	#secondAt: number;
	#hasSecond = false;
	#carryMicroseconds = 0;
	#pulsesAtStart = 0;
	#readingIndex = 0;
	#storageErrors = 0;
	/** The stored state has a version that this firmware does not know. */
	#isStateForeign = false;
	#isDecommissioned = false;

	/** The relay as it was set last; undefined: not yet since the start. */
	#relayClosed: boolean | undefined;
	/** When keys are destroyed or the meter starts anew, whether or not the receipt has left; Infinity: no such thing. */
	#farewellMilliseconds = Number.POSITIVE_INFINITY;

	constructor(platform: CryptoPlatform, given: Settings) {
		this.#platform = platform;
		for (let i = 0; i < this.#id.length; i++)
			this.#id[i] = Number.parseInt(given.identifier.slice(2 * i, 2 * i + 2), 16);
		const control = new ControlState(new SettingsStore(platform.flash));
		control.open(); // asked again, and counted, by the supply
		const settings = control.intervalSeconds > 0 ? { ...given, intervalSeconds: control.intervalSeconds } : given;
		this.settings = settings;
		this.#bootReason = platform.board.bootReason();
		this.#wallClock = new WallClock(platform.clock);
		this.#secondAt = platform.clock.monotonicMilliseconds();
		this.metrology = new Metrology(platform.createSampleKernel(settings.layout), metrologyConfiguration(settings));
		this.metrology.listener = this;
		this.#loadProfile = new LoadProfile(settings.intervalSeconds);
		this.#loadProfile.listener = this;
		this.#demand = new MaximumDemand(settings.intervalSeconds);
		const { utcOffsetMinutes, summerTime, tariffSwitches, exportAllowed } = settings;
		this.#calendar = new TariffCalendar(dailyCalendar(utcOffsetMinutes, summerTime, tariffSwitches));
		this.#tamper = new TamperMonitor(exportAllowed ? DEFAULT_TAMPER_LIMITS : { exportAllowed });
		this.#tamper.listener = this;
		this.#captureRows = Math.ceil((2 * settings.layout.samplesPerSecond) / (settings.nominalFrequencyHertz - 5));
		const commitMilliseconds = settings.registerCommitSeconds * 1000;
		this.#registerStore = new RegisterStore(platform.flash, commitMilliseconds, undefined, this.#flashCounters);
		this.#profileStore = new ProfileStore(platform.flash, undefined, this.#flashCounters);
		this.#eventStore = new EventStore(platform.flash, undefined, this.#flashCounters);
		this.#audit = new AuditLog(platform.crypto, this.#eventStore);
		this.#supply = new SupplyControl(control, this.#audit, this, this.#id);
		this.#commands = new CommandHandler(platform.crypto, this.#audit, this.#supply, this.#id);
		this.#restore();
		this.#channel = this.#openChannel();
		this.uplink = new Uplink(
			settings,
			FIRMWARE_VERSION,
			platform.clock,
			platform.link,
			this.#random,
			this.#channel,
			this,
			this.#profileStore,
			this.#eventStore,
		);
		for (const which of [Input.cover, Input.terminalCover, Input.magnet])
			this.#tamper.inputChanged(which, platform.board.input(which), platform.clock.monotonicMilliseconds());
		this.uplink.readingPeriodMilliseconds = (control.readingSeconds || settings.readingSeconds) * 1000;
		this.uplink.tick();
	}

	// ---- start

	/** Opens flash, takes up registers and the open interval where they were, and makes the new start durable. */
	#restore(): void {
		this.#stored(this.#audit.open());
		this.#stored(this.#supply.open(this.#wallClock.utcSeconds()));
		this.#stored(this.#commands.open(this.#wallClock.utcSeconds()));
		this.#stored(this.#profileStore.open());
		this.#stored(this.#registerStore.open());
		const loaded = this.#registerStore.load(this.#state);
		let restored: Status = loaded;
		if (loaded === Status.ok) {
			this.#stored(this.#registerStore.finishRow(this.#profileStore));
			const row = createProfileRow();
			const newest = this.#profileStore.readNewest(row);
			restored = decodeMeterState(
				this.#stateView,
				this.#registerStore.byteLength,
				this.#counters,
				this.metrology.registers,
				this.#loadProfile,
				this.#demand,
				newest === Status.ok ? row.intervalStartSeconds : Number.NaN,
			);
		}
		// What a newer firmware left is not buried under what this one can read: it measures, and stores nothing.
		this.#isStateForeign = restored === Status.badVersion;
		this.#counters.bootCount++;
		this.#pulsesAtStart = this.metrology.registers.pulses;
		this.#commit();
		this.#event(EventCode.powerUp, this.#counters.bootCount);
		if (restored !== Status.ok && restored !== Status.notFound) {
			this.#loadProfile.mark(ProfileStatus.criticalError);
			this.#event(EventCode.storageError, restored);
		}
	}

	/** Reads the keys. A meter without any measures and stores, and waits at its optical port. */
	#openChannel(): Channel {
		const { crypto, flash, deviceKey, entropy, log } = this.#platform;
		const { identifier, security } = this.settings;
		if (security === "plain") return new PlainChannel(identifier, this.#random, this);
		const random = new RandomSource(crypto, entropy);
		if (random.start(this.#id, this.#id.length) !== Status.ok) this.#event(EventCode.keysRefused, Status.noEntropy);
		const store = new KeyStore(crypto, flash, deviceKey);
		this.#keyStore = store;
		const channel = new SecuredChannel(crypto, store, random, identifier, this, log);
		let status = store.open();
		this.#keyStatus = status;
		if (status === Status.ok && store.isProvisioned && !store.hasId(this.#id)) status = Status.notAuthorised;
		if (status !== Status.ok && status !== Status.notFound) {
			log.line(`keys: ${statusName(status)}; the meter measures, and waits for keys at its optical port`);
			this.#event(EventCode.keysRefused, status);
		}
		this.#openUpdate();
		this.#closeUpdate();
		return channel;
	}

	/** The machine of an update, with the public key that came with the meter's own keys. */
	#openUpdate(): UpdateMachine | undefined {
		const store = this.#keyStore;
		if (store === undefined || this.#update !== undefined) return this.#update;
		const { flash, crypto, bootedSlot = -1, clock } = this.#platform;
		const update = new UpdateMachine(flash, crypto, store, {
			running: {
				major: FIRMWARE_MAJOR,
				minor: FIRMWARE_MINOR,
				patch: FIRMWARE_PATCH,
				securityVersion: SECURITY_VERSION,
			},
			target: bootedSlot < 0 ? FirmwareTarget.inProcess : FirmwareTarget.linuxXs,
			bootedSlot,
		});
		this.#stored(update.open(clock.monotonicMilliseconds()));
		if (store.isProvisioned) {
			const key = new Uint8Array(UPDATE_KEY_BYTES);
			store.copyUpdateKey(key, 0);
			update.setPublicKey(key, 0, key.length); // a head end without a signer gives zeros: every offer is refused
		}
		this.#update = update;
		return update;
	}

	/** Nothing is on its way any more: what is to be remembered is in flash. */
	#closeUpdate(): void {
		if (this.#update?.state === UpdateState.idle && this.#update.deadlineMilliseconds() === Number.POSITIVE_INFINITY)
			this.#update = undefined;
	}

	/** The channel says: a day began, and its keys are there. */
	epochChanged(epoch: number): void {
		this.#event(EventCode.epochChanged, epoch);
	}

	/** Uniform in [0, 1), for the spread of connections. */
	readonly #random = (): number => {
		const bytes = new Uint8Array(4);
		this.#platform.entropy.fill(bytes);
		return new DataView(bytes.buffer).getUint32(0) / 0x1_0000_0000;
	};

	// ---- storage

	#stored(status: Status): Status {
		if (status !== Status.ok) this.#storageErrors++;
		return status;
	}

	#encodeState(): number {
		const { registers } = this.metrology;
		return encodeMeterState(this.#counters, registers, this.#loadProfile, this.#demand, this.#stateView);
	}

	#commit(): void {
		if (this.#isStateForeign) return;
		const byteLength = this.#encodeState();
		this.#stored(this.#registerStore.commit(this.#platform.clock.monotonicMilliseconds(), this.#state, byteLength));
	}

	#event(code: number, detail: number): void {
		this.#stored(this.#audit.append(this.#wallClock.utcSeconds(), code, detail));
	}

	/** The load profile says: store the row together with the registers, as one. */
	intervalEnded(row: LoadProfileRow): void {
		if (this.#isStateForeign) return;
		const byteLength = this.#encodeState();
		this.#stored(
			this.#registerStore.commitWithRow(
				this.#platform.clock.monotonicMilliseconds(),
				this.#state,
				byteLength,
				row,
				this.#profileStore,
			),
		);
	}

	// ---- samples

	samples(block: Uint8Array, rowCount: number): void {
		if (this.#capture !== undefined && this.#captureState === CaptureState.recording) {
			this.#capture.record(block, rowCount);
			if (this.#capture.rows >= this.#captureRows) this.#captureState = CaptureState.ready;
		}
		this.metrology.feed(block, rowCount);
	}

	samplesLost(rowCount: number): void {
		this.metrology.samplesLost(rowCount);
		this.#capture?.samplesLost();
		this.#demand.spoil();
		this.#loadProfile.mark(ProfileStatus.dataNotValid);
	}

	windowClosed(metrology: Metrology): void {
		this.#tamper.windowClosed(metrology, this.#platform.clock.monotonicMilliseconds());
		metrology.meanFrozen = this.#tamper.dcSuspected;
		this.#platform.board.setOutput(Output.pulseLed, (metrology.registers.pulses - this.#pulsesAtStart) % 0x8000_0000);
	}

	secondClosed(metrology: Metrology): void {
		this.#hasSecond = true;
		this.#carryMicroseconds += metrology.second.durationMicroseconds;
		const elapsedMilliseconds = Math.floor(this.#carryMicroseconds / 1000);
		this.#carryMicroseconds -= elapsedMilliseconds * 1000;
		this.#tamper.secondClosed(metrology, this.#platform.clock.monotonicMilliseconds());
		this.#second(elapsedMilliseconds);
	}

	/** The tamper monitor says: a condition began or ended. */
	tamperEvent(code: number, detail: number): void {
		this.#event(code as EventCode, detail);
	}

	/** Once a second, measured or not. */
	#second(elapsedMilliseconds: number): void {
		const now = this.#platform.clock.monotonicMilliseconds();
		this.#secondAt = now;
		this.#wallClock.tick();
		const utcSeconds = this.#wallClock.utcSeconds();
		const { registers } = this.metrology;
		this.#loadProfile.summerTime = this.#calendar.summerTimeAt(utcSeconds);
		this.#loadProfile.advance(utcSeconds, elapsedMilliseconds, registers);
		this.#demand.advance(utcSeconds, registers.activeImportMilliwattHours, registers.tariff);
		const tariff = this.#calendar.tariffAt(utcSeconds);
		if (tariff !== registers.tariff) {
			this.#event(EventCode.tariffChanged, registers.tariff * 256 + tariff);
			registers.tariff = tariff;
		}
		this.#supply.tick(now, utcSeconds, this.#importMilliwatts());
		if (now >= this.#registerStore.deadlineMilliseconds()) this.#commit();
		if (now >= this.#farewellMilliseconds) this.#farewell();
		this.#judgeTrial();
		if (now >= this.#opticalIdleMilliseconds) this.#opticalPort = undefined;
		this.uplink.pump();
	}

	// ---- events of the host

	inputChanged(which: number, value: number): void {
		const now = this.#platform.clock.monotonicMilliseconds();
		switch (which) {
			case Input.supplyFail:
				if (value === 0 || this.#isStateForeign) break;
				this.#encodeState();
				this.#registerStore.commitPowerFail(now, this.#state, METER_STATE_BYTES);
				this.#event(EventCode.powerDown, 0);
				break;
			case Input.button:
				if (value !== 0) this.#supply.buttonPressed(this.#wallClock.utcSeconds());
				break;
			default:
				this.#tamper.inputChanged(which, value, now);
		}
		this.uplink.pump();
	}

	tick(): void {
		const now = this.#platform.clock.monotonicMilliseconds();
		if (now >= this.#secondAt + SILENCE_MILLISECONDS) {
			this.#loadProfile.mark(ProfileStatus.dataNotValid);
			this.#second(0);
		}
		if (this.#update !== undefined && now >= this.#update.deadlineMilliseconds()) this.#update.tick(now);
		if (this.#opticalPort !== undefined && now >= this.#opticalPort.deadlineMilliseconds()) {
			this.#opticalPort.tick(now);
			this.#answerOpticalPort();
		}
		this.uplink.tick();
	}

	deadlineMilliseconds(): number {
		const optical = this.#opticalPort?.deadlineMilliseconds() ?? Number.POSITIVE_INFINITY;
		const update = this.#update?.deadlineMilliseconds() ?? Number.POSITIVE_INFINITY;
		return Math.min(this.uplink.deadlineMilliseconds(), this.#secondAt + SILENCE_MILLISECONDS, optical, update);
	}

	opticalReceived(bytes: Uint8Array, byteLength: number): void {
		const store = this.#keyStore;
		if (store === undefined) return;
		const now = this.#platform.clock.monotonicMilliseconds();
		if (this.#opticalPort === undefined) {
			const provisioning = new KeyStoreProvisioning(this.#platform.crypto, store, this);
			provisioning.openStatus = store.isProvisioned ? Status.ok : this.#keyStatus;
			this.#opticalPort = new OpticalPortMachine(provisioning, this.#attemptStore(), now);
		}
		this.#opticalIdleMilliseconds = now + OPTICAL_IDLE_MILLISECONDS;
		this.#opticalPort.receive(now, bytes, byteLength);
		this.#answerOpticalPort();
	}

	linkOpened(): void {
		this.uplink.link.linkOpened();
	}

	linkReceived(bytes: Uint8Array, byteLength: number): void {
		this.uplink.link.linkReceived(bytes, byteLength);
	}

	linkWritable(): void {
		this.uplink.link.linkWritable();
	}

	linkClosed(): void {
		this.uplink.link.linkClosed();
	}

	// ---- what channel and uplink ask

	utcSeconds(): number {
		return this.#wallClock.utcSeconds();
	}

	timeReceived(utcSeconds: number, uncertaintySeconds: number): void {
		const before = this.#wallClock.utcSeconds();
		const change = this.#wallClock.correct(utcSeconds, uncertaintySeconds);
		if (change !== ClockChange.stepped && change !== ClockChange.firstSet) return;
		this.#loadProfile.clockSet(utcSeconds, this.metrology.registers);
		this.#demand.spoil();
		this.#event(EventCode.clockSet, change === ClockChange.firstSet ? 0 : Math.trunc(utcSeconds - before));
	}

	// ---- commands

	takes(kind: number): boolean {
		return this.#commands.takes(kind) || (kind >= Kind.updateOffer && kind <= Kind.updateCancel);
	}

	messageReceived(arrival: Arrival, bytes: Uint8Array, offset: number, byteLength: number): Status {
		const now = this.#platform.clock.monotonicMilliseconds();
		if (!this.#commands.takes(bytes[offset]!)) {
			if (arrival.source !== Source.headEnd) return Status.notAuthorised; // UPL-3
			if (arrival.isExpired) return Status.expired; // UPL-4
			const update = this.#openUpdate();
			if (update === undefined) return Status.unsupported; // UPL-5
			return update.receive(now, new DataView(bytes.buffer, bytes.byteOffset + offset, byteLength), byteLength);
		}
		return this.#commands.receive(now, this.#wallClock.utcSeconds(), arrival, bytes, offset, byteLength);
	}

	encodeAnswer(into: DataView): number {
		return this.#commands.hasAnswer ? this.#commands.transmit(into) : (this.#update?.transmit(into) ?? 0);
	}

	/** What the command handler offered; a status of the update is owed no more once it was written. */
	answerSent(): void {
		this.#commands.transmitted();
		if (this.#farewellMilliseconds !== Number.POSITIVE_INFINITY && !this.#commands.hasAnswer)
			this.#farewellMilliseconds = this.#platform.clock.monotonicMilliseconds() + FAREWELL_SENT_MILLISECONDS;
	}

	/** Import of all phases in the last second, legal netting. */
	#importMilliwatts(): number {
		const { phases } = this.metrology.second;
		const perPhase = this.settings.netting === "perPhase";
		let sum = 0;
		for (let index = 0; index < this.settings.layout.phaseCount; index++) {
			const { powerMilliwatts } = phases[index as 0 | 1 | 2];
			if (!perPhase || powerMilliwatts > 0) sum += powerMilliwatts;
		}
		return Math.max(0, sum);
	}

	/** New firmware that has measured, reached its servers and stored without an error stays. */
	#judgeTrial(): void {
		const update = this.#update;
		if (update === undefined) return;
		if (update.wantsRestart) {
			this.#commit();
			this.#event(EventCode.firmwareChanged, update.state);
			this.#platform.board.restart();
		}
		this.#closeUpdate();
		if (update.state !== UpdateState.trial || !this.#channel.isReady || this.#storageErrors > 0) return;
		if (this.#hasSecond && this.uplink.messagesSent >= TRIAL_MESSAGES && update.confirm() === Status.ok)
			this.#event(EventCode.firmwareChanged, update.state);
	}

	setRelay(closed: boolean): Status {
		this.#platform.board.setOutput(Output.relay, closed ? 1 : 0);
		if (this.#relayClosed !== undefined && this.#relayClosed !== closed)
			this.#event(closed ? EventCode.relayClosed : EventCode.relayOpened, 0);
		this.#relayClosed = closed;
		return Status.ok;
	}

	calendarChanged(table: TariffTable): void {
		const switches = Array.from({ length: table.switchCount }, (_, i) => ({
			minute: table.minutes[i]!,
			tariff: table.tariffs[i]!,
		}));
		this.#calendar = new TariffCalendar(dailyCalendar(table.utcOffsetMinutes, table.summerTime, switches));
	}

	/** The length of an interval is taken up by a start: its rows, its grid and its demand belong together. */
	configurationChanged(readingSeconds: number, intervalSeconds: number): void {
		if (this.uplink === undefined) return; // still starting
		this.uplink.readingPeriodMilliseconds = (readingSeconds || this.settings.readingSeconds) * 1000;
		if (intervalSeconds > 0 && intervalSeconds !== this.settings.intervalSeconds) this.#beginFarewell();
	}

	synchroniseClock(): Status {
		this.#channel.requestTime(this.#platform.clock.monotonicMilliseconds());
		return Status.ok;
	}

	readProfile(firstSequence: number, count: number): Status {
		return this.uplink.sendProfile(firstSequence, count);
	}

	keyHead(): number {
		return this.#keyStore?.headSequence ?? 0;
	}

	decommission(): Status {
		if (this.#keyStore === undefined) return Status.unsupported;
		this.#isDecommissioned = true;
		this.#beginFarewell();
		return Status.ok;
	}

	#beginFarewell(): void {
		this.#farewellMilliseconds = this.#platform.clock.monotonicMilliseconds() + FAREWELL_MILLISECONDS;
	}

	/** What a command asked for, once its receipt is on its way. */
	#farewell(): void {
		this.#farewellMilliseconds = Number.POSITIVE_INFINITY;
		if (this.#isDecommissioned) {
			this.#isDecommissioned = false;
			this.#stored(this.#keyStore?.factoryReset() ?? Status.notFound);
			this.keysChanged();
			return;
		}
		this.#commit();
		this.#event(EventCode.restart, BootReason.restart);
		this.#platform.board.restart();
	}

	// ---- keys and the optical port

	/** The optical port gave keys, or a command took them. */
	keysChanged(): void {
		this.#keyStatus = Status.ok;
		const generation = this.#keyStore?.isProvisioned ? this.#keyStore.generation : 0;
		if (generation === 0) this.#event(AuditCode.keysDestroyed, 0);
		else this.#event(EventCode.keysChanged, generation);
		this.#update = undefined; // with another key
		if (this.#channel instanceof SecuredChannel)
			this.#channel.keysChanged(this.#platform.clock.monotonicMilliseconds());
		this.uplink.subscribe();
	}

	get id(): Uint8Array {
		return this.#id;
	}

	get firmwareMajor(): number {
		return FIRMWARE_MAJOR;
	}

	get firmwareMinor(): number {
		return FIRMWARE_MINOR;
	}

	get firmwarePatch(): number {
		return FIRMWARE_PATCH;
	}

	interval(): number {
		const store = this.#keyStore;
		if (store === undefined || store.intervalSeconds === 0) return Number.POSITIVE_INFINITY;
		const seconds = this.#wallClock.utcSeconds() - store.epoch * DAY_SECONDS;
		return Number.isNaN(seconds) ? Number.POSITIVE_INFINITY : Math.floor(seconds / store.intervalSeconds);
	}

	earliestEpoch(): number {
		return 0;
	}

	witnessedSequence(): number {
		return this.#keyStore?.witnessedSequence ?? 0;
	}

	/** What the display shows to everyone: message snapshot, without a request. */
	read(what: number, into: Uint8Array, offset: number, end: number): number {
		if (what !== 0) return offset;
		const view = new DataView(new ArrayBuffer(MESSAGE_BYTES_MAX));
		const byteLength = Math.min(this.encodeSnapshot(0, view), end - offset);
		for (let i = 0; i < byteLength; i++) into[offset + i] = view.getUint8(i);
		return offset + byteLength;
	}

	anchor(message: Uint8Array, byteLength: number): Status {
		if (!(this.#channel instanceof SecuredChannel)) return Status.unsupported;
		return this.#channel.anchorReceived(this.#platform.clock.monotonicMilliseconds(), message, byteLength);
	}

	/** Failed attempts survive a start: they travel with the registers. */
	#attemptStore(): AttemptStore {
		return {
			load: () => this.#counters.opticalFailures,
			save: (failedAttempts) => {
				this.#counters.opticalFailures = failedAttempts;
				this.#commit();
				return !this.#isStateForeign;
			},
		};
	}

	#answerOpticalPort(): void {
		const port = this.#opticalPort;
		if (port === undefined) return;
		const bytes = new Uint8Array(OPTICAL_PIECE_BYTES);
		for (let count = port.transmit(bytes); count > 0; count = port.transmit(bytes))
			this.#platform.opticalPort.send(bytes, count);
	}

	fillHello(into: Hello): void {
		this.#commands.connected();
		if (this.#keyStore !== undefined) this.#commands.announceHead(); // a plain head end does not know it
		into.bootCount = this.#counters.bootCount;
		into.bootReason = this.#bootReason;
		into.phaseCount = this.settings.layout.phaseCount;
		into.netting = this.settings.netting === "perPhase" ? 0 : 1;
		into.intervalSeconds = this.settings.intervalSeconds;
		into.firmwareMajor = FIRMWARE_MAJOR;
		into.firmwareMinor = FIRMWARE_MINOR;
		into.firmwarePatch = FIRMWARE_PATCH;
		into.parameterCounter = this.#counters.parameterCounter;
		into.profileOldest = this.#profileStore.oldestSequence;
		into.profileNext = this.#profileStore.nextSequence;
		into.eventOldest = this.#eventStore.oldestSequence;
		into.eventNext = this.#eventStore.nextSequence;
		into.utcSeconds = utcField(this.#wallClock.utcSeconds());
	}

	fillReading(into: Reading): boolean {
		if (!this.#hasSecond) return false;
		const { second, registers } = this.metrology;
		into.bootCount = this.#counters.bootCount;
		into.readingIndex = this.#readingIndex++;
		into.utcSeconds = utcField(this.#wallClock.utcSeconds());
		into.flags = this.#readingFlags(second.flags);
		into.frequencyMillihertz = second.flags & MeasurementFlag.frequencyInvalid ? 0 : second.frequencyMillihertz;
		into.neutralCurrentMilliamperes = second.neutralCurrentMilliamperes;
		into.tariff = registers.tariff;
		const phaseCount = this.settings.layout.phaseCount;
		into.phaseCount = phaseCount;
		for (let index = 0; index < phaseCount; index++) {
			const from = second.phases[index as 0 | 1 | 2];
			const phase = into.phases[index as 0 | 1 | 2];
			phase.voltageMillivolts = from.voltageMillivolts;
			phase.currentMilliamperes = from.currentMilliamperes;
			phase.powerMilliwatts = from.powerMilliwatts;
			phase.reactivePowerMillivars = from.reactivePowerMillivars;
			phase.apparentPowerMillivoltAmperes = from.apparentPowerMillivoltAmperes;
			phase.powerFactorPermille = from.powerFactorPermille;
			phase.thdVoltagePermille = Math.min(0xffff, from.thdVoltagePermille);
			phase.thdCurrentPermille = Math.min(0xffff, from.thdCurrentPermille);
			phase.phaseAngleTenthsDegree = from.phaseAngleTenthsDegree;
		}
		into.activeEnergyImport = registers.activeImportMilliwattHours;
		into.activeEnergyExport = registers.activeExportMilliwattHours;
		into.reactiveEnergyImport = registers.reactiveImportMillivarHours;
		into.reactiveEnergyExport = registers.reactiveExportMillivarHours;
		return true;
	}

	#readingFlags(measured: number): number {
		const { board } = this.#platform;
		let flags = 0;
		if (Number.isNaN(this.#wallClock.utcSeconds())) flags |= ReadingFlag.clockInvalid;
		if (board.input(Input.cover) !== 0) flags |= ReadingFlag.coverOpen;
		if (this.#tamper.isActive(Detection.magneticField)) flags |= ReadingFlag.magneticField;
		if (this.#tamper.suspected) flags |= ReadingFlag.tamperSuspected;
		if (measured & MeasurementFlag.frequencyInvalid) flags |= ReadingFlag.frequencyInvalid;
		if (measured & MeasurementFlag.clipped) flags |= ReadingFlag.clipped;
		if (measured & MeasurementFlag.noVoltage) flags |= ReadingFlag.noVoltage;
		return flags;
	}

	encodeSnapshot(requestId: number, into: DataView): number {
		const { registers } = this.metrology;
		const legal = registers.legal;
		const other = legal === Netting.perPhase ? Netting.vectorSum : Netting.perPhase;
		let count = 0;
		const add = (c: number, d: number, e: number, unit: number, value: number): void => {
			encodeRegisterEntry(c, d, e, unit, value, count++, into);
		};
		add(1, 8, 0, Unit.wattHour, registers.activeImportMilliwattHours);
		add(2, 8, 0, Unit.wattHour, registers.activeExportMilliwattHours);
		add(3, 8, 0, Unit.varHour, registers.reactiveImportMillivarHours);
		add(4, 8, 0, Unit.varHour, registers.reactiveExportMillivarHours);
		for (let quadrant = 0; quadrant < 4; quadrant++)
			add(
				5 + quadrant,
				8,
				0,
				Unit.varHour,
				registers.value(legal, (Register.reactiveQuadrant1 + quadrant) as Register),
			);
		add(9, 8, 0, Unit.voltAmpereHour, registers.value(legal, Register.apparentImport));
		add(10, 8, 0, Unit.voltAmpereHour, registers.value(legal, Register.apparentExport));
		for (let tariff = 1; tariff <= TARIFF_COUNT; tariff++) {
			add(1, 8, tariff, Unit.wattHour, registers.tariffMilliwattHours(tariff, false));
			add(2, 8, tariff, Unit.wattHour, registers.tariffMilliwattHours(tariff, true));
		}
		for (let phase = 0; phase < this.settings.layout.phaseCount; phase++) {
			add(21 + 20 * phase, 8, 0, Unit.wattHour, registers.phaseMilliwattHours(phase, false));
			add(22 + 20 * phase, 8, 0, Unit.wattHour, registers.phaseMilliwattHours(phase, true));
		}
		add(1, 4, 0, Unit.watt, this.#demand.currentMilliwatts(registers.activeImportMilliwattHours));
		for (let tariff = 1; tariff <= TARIFF_COUNT; tariff++)
			add(1, 6, tariff, Unit.watt, this.#demand.maximumMilliwatts(tariff));
		// The set that is not legal, under manufacturer's value group E 128.
		add(1, 8, 128, Unit.wattHour, registers.value(other, Register.activeImport));
		add(2, 8, 128, Unit.wattHour, registers.value(other, Register.activeExport));
		return encodeSnapshotHeader(requestId, utcField(this.#wallClock.utcSeconds()), count, into);
	}

	encodeDiagnostics(requestId: number, into: DataView): number {
		let count = 0;
		const add = (key: number, value: number): void => {
			encodeDiagnostic(key, value, count++, into);
		};
		add(Diagnostic.uptimeSeconds, Math.floor(this.#platform.clock.monotonicMilliseconds() / 1000));
		add(Diagnostic.bootCount, this.#counters.bootCount);
		add(Diagnostic.windows, this.metrology.windows);
		add(Diagnostic.samplesLost, this.metrology.rowsLost);
		add(Diagnostic.flashErases, this.#flashCounters.erases);
		add(Diagnostic.flashBytesProgrammed, this.#flashCounters.bytesProgrammed);
		add(Diagnostic.tornRecordsSeen, this.#flashCounters.tornRecordsSeen);
		add(Diagnostic.linkConnects, this.uplink.machine.connectionCount);
		add(Diagnostic.messagesSent, this.uplink.messagesSent);
		add(Diagnostic.messagesReceived, this.uplink.messagesReceived);
		add(Diagnostic.storageErrors, this.#storageErrors);
		const keys = this.#keyStore;
		if (keys !== undefined) {
			add(Diagnostic.keyEpoch, keys.epoch);
			add(Diagnostic.keyHead, keys.headSequence);
			add(Diagnostic.keyWitnessed, keys.isWitnessed ? 1 : 0);
			add(Diagnostic.keyUpIndex, keys.upIndex(Branch.endToEnd));
			add(Diagnostic.keyDownIndex, keys.downIndex(Branch.endToEnd));
		}
		for (let status = 1; status < STATUS_COUNT; status++) {
			const seen = this.uplink.refusals.counts[status]! + this.uplink.machine.counters.counts[status]!;
			if (seen > 0) add(Diagnostic.refusals + status, seen);
		}
		return encodeDiagnosticsHeader(requestId, count, into);
	}

	encodeCapture(requestId: number, into: DataView): number {
		const capture = this.#capture;
		if (capture === undefined || this.#captureState !== CaptureState.ready) {
			this.#capture ??= new CaptureRing(this.settings.layout);
			this.#captureState = CaptureState.recording;
			return LATER;
		}
		this.#captureState = CaptureState.idle;
		this.#capture = undefined;
		const header = createCaptureHeader();
		const { channelCount, codeFactor } = capture;
		const at = captureCodesOffset(channelCount);
		const rowsMax = Math.floor((MESSAGE_BYTES_MAX - at) / (2 * channelCount));
		header.rowCount = capture.captureInto(into, at, rowsMax);
		if (header.rowCount === 0) return 0;
		header.requestId = requestId;
		header.utcSeconds = utcField(this.#wallClock.utcSeconds());
		header.rowRateMillihertz = capture.captureRateMillihertz;
		header.channelCount = channelCount;
		for (let channel = 0; channel < channelCount; channel++)
			header.microunitsPerCode[channel] = Math.round(this.metrology.unitsPerCode(channel) * codeFactor * 1000);
		return encodeCaptureHeader(header, into);
	}
}

/** Makes the meter; a host calls this once at each power-on and then reports events to what it returns. */
export function startMeter(platform: CryptoPlatform, settingsText: string): Meter {
	return new Meter(platform, parseSettings(settingsText));
}
