import { InvariantError, Status, StatusCounters } from "../bytes/status.js";
import {
	AddressMode,
	CentralizedKey,
	Commissioning,
	CommissioningStatus,
	DeviceState,
	Mt,
	MtItem,
	MtStatus,
	STARTUP_CLEAR_ALL,
} from "./mt-commands.js";
import { MT_FRAME_MAX, MtParser, MtType, sealMtFrame } from "./mt-frame.js";

/** Payload of one unfragmented, secured APS frame; longer messages are cut by the co-processor, with acknowledgement. */
export const UNFRAGMENTED_BYTES_MAX = 82;
/** Longest message that one MT frame can carry. */
export const MESSAGE_BYTES_LIMIT = 230;
/** An install code of 16 bytes and its CRC. */
export const INSTALL_CODE_BYTES = 18;

export interface ZnpSettings {
	/** 1 router (mains meters), 2 end device. */
	readonly logicalType: 1 | 2;
	/** Bit n stands for channel n, 11 to 26. */
	readonly channelMask: number;
	/** Joins this network only, 8 bytes, least significant first; absent: any that is open. */
	readonly extendedPanId?: Uint8Array;
	/** Joins with the key of this code and no other, 18 bytes with CRC; absent: the well-known key. */
	readonly installCode?: Uint8Array;
	readonly endpoint: number;
	readonly profile: number;
	readonly device: number;
	readonly deviceVersion: number;
	readonly inputClusters: readonly number[];
	readonly outputClusters: readonly number[];
	/** Longest message in either direction, 82 to 230 bytes. */
	readonly messageBytesMax: number;
	/** Slots for outgoing messages. */
	readonly outgoingMax: number;
	/** First wait between attempts to join, to come back, and to wake a silent co-processor. */
	readonly backOffMinimumMilliseconds: number;
	readonly backOffMaximumMilliseconds: number;
}

/** A message from the network; one object, filled anew for each. `payload` is valid only during the call. */
export interface IncomingMessage {
	sourceAddress: number;
	sourceEndpoint: number;
	targetEndpoint: number;
	/** 0: none. */
	group: number;
	cluster: number;
	isBroadcast: boolean;
	/** 0 to 255. */
	linkQuality: number;
	payload: Uint8Array;
	/** Where the message begins in `payload`. */
	start: number;
	byteLength: number;
}

/** What the machine tells the application, from inside its calls. */
export interface ZnpListener {
	/** In the network, also again after a lost parent. */
	networkJoined(shortAddress: number): void;
	/** `linkDown`: no parent, the machine comes back by itself. `refusedByPeer`: we were told to leave. `ok`: after `leave`. */
	networkLost(status: Status): void;
	/** An attempt to join ended without success: `notFound` no open network, `refusedByPeer` no key, `timedOut`. */
	joinFailed(status: Status): void;
	message(message: IncomingMessage): void;
	/** `ok` delivered; `notFound` nobody is bound; `linkDown` given up; `unsupported` the co-processor does not take it. */
	sent(handle: number, status: Status): void;
}

const State = Object.freeze({
	stopped: 0,
	/** The co-processor was asked to reset, or is to be asked when the wait is over. */
	resetting: 1,
	probing: 2,
	clearing: 3,
	configuring: 4,
	registering: 5,
	/** Is there a network in the co-processor's memory? Then it takes it up. */
	resuming: 6,
	/** Without a network; joins when it may and the wait is over. */
	idle: 7,
	joining: 8,
	joined: 9,
	orphan: 10,
	recovering: 11,
} as const);
type State = (typeof State)[keyof typeof State];

const SlotState = Object.freeze({ free: 0, queued: 1, requested: 2, sent: 3 } as const);

const RESPONSE_MILLISECONDS = 6_000;
const RESET_MILLISECONDS = 5_000;
const JOIN_MILLISECONDS = 60_000;
const RESUME_MILLISECONDS = 30_000;
const CONFIRM_MILLISECONDS = 30_000;
/** A frame that is cut is given up after so long a silence. */
const STALE_MILLISECONDS = 2_000;
const SEND_ATTEMPTS_MAX = 4;
const SEND_BACK_OFF_MILLISECONDS = 1_000;
/** Messages that wait for their confirmation at the same time. */
const UNCONFIRMED_MAX = 2;
const ACKNOWLEDGED = 0x10;
const RADIUS = 30;
const MARKER_BYTES = 16;
const MARKER_VERSION = 1;
const RETRIEVE_BYTES = 230;

/** Items of the configuration, in the order of writing; the marker comes last. */
const CONFIGURATION = Object.freeze([
	MtItem.logicalType,
	MtItem.panId,
	MtItem.extendedPanId,
	MtItem.channelList,
	MtItem.directCallback,
	MtItem.wattlock,
] as const);

/**
 * Brings a co-processor with TI's ZNP firmware into a Zigbee network and moves messages. A machine without clock,
 * entropy and I/O: the host moves bytes between a UART and `receive` / `transmit`, and calls `tick` at
 * `deadlineMilliseconds()`. After every call: `transmit` until 0.
 *
 * One request is outstanding at a time. No answer in 6 s: asked once more, then the co-processor is reset. A co-processor
 * that resets by itself is configured again, and no queued message is lost. A message is repeated with growing waits, at
 * most four times, then reported as not sent; who sends totals sends the next one instead.
 *
 * Memory is made in the constructor: `(outgoingMax + 1) * messageBytesMax + 18 * outgoingMax` bytes, two frames of 255,
 * two times 96 for counters; about 1.6 KB with four slots of 200.
 */
export class ZnpMachine {
	/** Refusals of what the co-processor sent. */
	readonly counters = new StatusCounters();
	/** Our own EUI-64, least significant byte first; zeros until known. */
	readonly extendedAddress = new Uint8Array(8);
	shortAddress = 0xfffe;
	/** Co-processor resets that we did not ask for. */
	unexpectedResetCount = 0;
	/** Requests that were not answered in time. */
	timeoutCount = 0;
	/** Messages sent again. */
	retryCount = 0;
	/** Times in the network since start. */
	joinCount = 0;
	/** Product, major, minor and maintenance number of the co-processor's firmware. */
	readonly version = new Uint8Array(4);

	readonly #settings: ZnpSettings;
	readonly #listener: ZnpListener;
	readonly #random: () => number;
	readonly #parser = new MtParser();
	readonly #marker = new Uint8Array(MARKER_BYTES);

	#state: State = State.stopped;
	#step = 0;
	#now = 0;
	#wantsNetwork = false;
	/** The configuration was told to go at the reset that is under way. */
	#isClearing = false;
	/** Everything was written; the next look at the mark must find it. */
	#isConfigured = false;
	/** The request to leave is still to be sent. */
	#isLeaving = false;
	#isLeaveOurs = false;
	/** When the present state does something by itself; Infinity: never. */
	#stateAt = Number.POSITIVE_INFINITY;
	#backOff: number;

	// The request that waits for its response.
	#awaited = 0;
	#awaitedUntil = 0;
	#isRepeated = false;

	// What goes out.
	readonly #frame = new Uint8Array(MT_FRAME_MAX);
	#frameAt = 0;
	#frameEnd = 0;
	/** A request was made in a call that may not know the time: its limit starts at the next call that does. */
	#isRequestNew = false;

	// Outgoing messages.
	readonly #slots: Uint8Array;
	readonly #slotState: Uint8Array;
	readonly #slotLength: Uint16Array;
	readonly #slotAddress: Uint16Array;
	readonly #slotCluster: Uint16Array;
	readonly #slotMode: Uint8Array;
	readonly #slotEndpoint: Uint8Array;
	readonly #slotTransaction: Uint8Array;
	readonly #slotAttempts: Uint8Array;
	readonly #slotHandle: Uint16Array;
	readonly #slotOrder: Uint32Array;
	/** Queued: not before; sent: confirmation until. */
	readonly #slotTime: Float64Array;
	#lastHandle = 0;
	#lastOrder = 0;
	#transaction = 0;
	#requestedSlot = -1;

	// A long incoming message that is fetched.
	readonly #long: Uint8Array;
	#longLength = 0;
	#longAt = 0;
	#longTimestamp = 0;
	#isLongWanted = false;
	#isLongToFree = false;
	readonly #incoming: IncomingMessage;
	readonly #longIncoming: IncomingMessage;
	#receivedAt = 0;

	/**
	 * @param random uniform in [0, 1), from the host's entropy; spreads the attempts of a street after a blackout
	 * @throws InvariantError when the settings contradict themselves
	 */
	constructor(settings: ZnpSettings, listener: ZnpListener, random: () => number) {
		const { messageBytesMax, outgoingMax, installCode, extendedPanId } = settings;
		if (messageBytesMax < UNFRAGMENTED_BYTES_MAX || messageBytesMax > MESSAGE_BYTES_LIMIT)
			throw new InvariantError("znp: messageBytesMax");
		if (outgoingMax < 1 || outgoingMax > 32) throw new InvariantError("znp: outgoingMax");
		if (installCode && installCode.length !== INSTALL_CODE_BYTES) throw new InvariantError("znp: install code");
		if (extendedPanId && extendedPanId.length !== 8) throw new InvariantError("znp: extended PAN identifier");
		this.#settings = settings;
		this.#listener = listener;
		this.#random = random;
		this.#backOff = settings.backOffMinimumMilliseconds;
		this.#slots = new Uint8Array(outgoingMax * messageBytesMax);
		this.#slotState = new Uint8Array(outgoingMax);
		this.#slotLength = new Uint16Array(outgoingMax);
		this.#slotAddress = new Uint16Array(outgoingMax);
		this.#slotCluster = new Uint16Array(outgoingMax);
		this.#slotMode = new Uint8Array(outgoingMax);
		this.#slotEndpoint = new Uint8Array(outgoingMax);
		this.#slotTransaction = new Uint8Array(outgoingMax);
		this.#slotAttempts = new Uint8Array(outgoingMax);
		this.#slotHandle = new Uint16Array(outgoingMax);
		this.#slotOrder = new Uint32Array(outgoingMax);
		this.#slotTime = new Float64Array(outgoingMax);
		this.#long = new Uint8Array(messageBytesMax);
		this.#incoming = emptyMessage(this.#parser.frame);
		this.#longIncoming = emptyMessage(this.#long);
		const marker = this.#marker;
		marker[0] = MARKER_VERSION;
		marker[1] = settings.logicalType;
		for (let i = 0; i < 4; i++) marker[2 + i] = (settings.channelMask >>> (8 * i)) & 0xff;
		for (let i = 0; i < 8; i++) marker[6 + i] = extendedPanId?.[i] ?? 0xff;
	}

	get isJoined(): boolean {
		return this.#state === State.joined;
	}

	/** Messages that wait to be sent or confirmed. */
	get pendingCount(): number {
		let count = 0;
		for (let i = 0; i < this.#slotState.length; i++) if (this.#slotState[i] !== SlotState.free) count++;
		return count;
	}

	// ---- what the application wants

	/** Resets and configures the co-processor, and takes up its network if it has one. */
	start(nowMilliseconds: number): void {
		this.#now = nowMilliseconds;
		if (this.#state === State.stopped) this.#resetModule(0);
	}

	/** From now on looks for a network whenever there is none. */
	join(nowMilliseconds: number): void {
		this.#now = nowMilliseconds;
		this.#wantsNetwork = true;
		if (this.#state === State.idle) this.#stateAt = nowMilliseconds;
	}

	/** No more attempts to join a new network; the present one is kept. */
	stopJoining(): void {
		this.#wantsNetwork = false;
		if (this.#state === State.idle) this.#stateAt = Number.POSITIVE_INFINITY;
	}

	/** Leaves the network; `networkLost(ok)` follows. Does not look for another one. */
	leave(nowMilliseconds: number): void {
		this.#now = nowMilliseconds;
		this.#wantsNetwork = false;
		if (this.#state !== State.joined) return;
		this.#isLeaving = true;
		this.#isLeaveOurs = true;
	}

	/**
	 * Queues a message.
	 * @param mode an `AddressMode`: `bindings` sends to whoever is bound to the cluster, `address` is then ignored
	 * @returns its handle, 1 to 65,535; 0 when all slots are taken or the message is too long
	 */
	send(
		mode: number,
		address: number,
		endpoint: number,
		cluster: number,
		bytes: Uint8Array,
		byteLength: number,
	): number {
		const { messageBytesMax } = this.#settings;
		if (byteLength > messageBytesMax) return 0;
		const slot = this.#slotState.indexOf(SlotState.free);
		if (slot < 0) return 0;
		const start = slot * messageBytesMax;
		for (let i = 0; i < byteLength; i++) this.#slots[start + i] = bytes[i]!;
		do {
			this.#lastHandle = this.#lastHandle === 65_535 ? 1 : this.#lastHandle + 1;
		} while (this.#slotHandle.includes(this.#lastHandle));
		this.#slotState[slot] = SlotState.queued;
		this.#slotLength[slot] = byteLength;
		this.#slotMode[slot] = mode;
		this.#slotAddress[slot] = address;
		this.#slotEndpoint[slot] = endpoint;
		this.#slotCluster[slot] = cluster;
		this.#slotAttempts[slot] = 0;
		this.#slotHandle[slot] = this.#lastHandle;
		this.#slotOrder[slot] = ++this.#lastOrder;
		this.#slotTime[slot] = Number.NEGATIVE_INFINITY;
		return this.#lastHandle;
	}

	// ---- Machine

	/** Bytes from the UART, in any pieces. @returns `ok`, or the last refusal; the stream goes on all the same */
	receive(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): Status {
		this.#setNow(nowMilliseconds);
		const parser = this.#parser;
		if (parser.pendingBytes > 0 && nowMilliseconds - this.#receivedAt > STALE_MILLISECONDS) parser.reset();
		this.#receivedAt = nowMilliseconds;
		let status: Status = Status.ok;
		parser.feed(bytes, byteLength);
		while (parser.next()) {
			const result = this.counters.count(this.#received());
			if (result !== Status.ok) status = result;
		}
		return status;
	}

	/** Call when the deadline has passed. */
	tick(nowMilliseconds: number): void {
		this.#setNow(nowMilliseconds);
		if (this.#awaited !== 0 && nowMilliseconds >= this.#awaitedUntil) this.#unanswered();
		const states = this.#slotState;
		for (let slot = 0; slot < states.length; slot++)
			if (states[slot] === SlotState.sent && nowMilliseconds >= this.#slotTime[slot]!)
				this.#failed(slot, MtStatus.transactionExpired);
		if (nowMilliseconds >= this.#stateAt) this.#stateTimedOut();
	}

	/** When `tick` is wanted; Infinity: only on bytes. */
	deadlineMilliseconds(): number {
		if (this.#isRequestNew) return this.#now;
		let at = this.#stateAt;
		if (this.#awaited !== 0) at = Math.min(at, this.#awaitedUntil);
		const states = this.#slotState;
		const isFree = this.#awaited === 0 && this.#state === State.joined && this.#unconfirmed() < UNCONFIRMED_MAX;
		for (let slot = 0; slot < states.length; slot++)
			if (states[slot] === SlotState.sent || (states[slot] === SlotState.queued && isFree))
				at = Math.min(at, this.#slotTime[slot]!);
		return at;
	}

	/** Bytes for the UART. @returns how many were put at the start of `into`, 0 for none; call until 0 */
	transmit(into: Uint8Array): number {
		if (this.#frameAt === this.#frameEnd && !this.#nextFrame()) return 0;
		const count = Math.min(into.length, this.#frameEnd - this.#frameAt);
		for (let i = 0; i < count; i++) into[i] = this.#frame[this.#frameAt + i]!;
		this.#frameAt += count;
		return count;
	}

	// ---- time

	#setNow(nowMilliseconds: number): void {
		this.#now = nowMilliseconds;
		if (!this.#isRequestNew) return;
		this.#isRequestNew = false;
		this.#awaitedUntil = nowMilliseconds + RESPONSE_MILLISECONDS;
	}

	/** The next wait: grows by half to double, up to the maximum. */
	#nextBackOff(): number {
		const { backOffMinimumMilliseconds, backOffMaximumMilliseconds } = this.#settings;
		const wait = this.#backOff * (0.75 + 0.5 * this.#random());
		this.#backOff = Math.max(backOffMinimumMilliseconds, Math.min(this.#backOff * 2, backOffMaximumMilliseconds));
		return wait;
	}

	#enter(state: State, stateAt: number): void {
		this.#state = state;
		this.#step = 0;
		this.#stateAt = stateAt;
	}

	/** Asks the co-processor to reset, after a wait. */
	#resetModule(waitMilliseconds: number): void {
		this.#interrupt();
		this.#isClearing = false;
		if (waitMilliseconds > 0) this.#enter(State.resetting, this.#now + waitMilliseconds);
		else {
			this.#enter(State.resetting, this.#now + RESET_MILLISECONDS);
			this.#step = 1;
		}
	}

	/** Forgets the outstanding request; messages on their way are queued again. */
	#interrupt(): void {
		if (this.#state === State.joined) this.#listener.networkLost(Status.linkDown);
		this.#awaited = 0;
		this.#isRequestNew = false;
		this.#requestedSlot = -1;
		this.#frameAt = this.#frameEnd;
		this.#isLongWanted = false;
		this.#isLongToFree = false;
		const states = this.#slotState;
		for (let slot = 0; slot < states.length; slot++)
			if (states[slot] === SlotState.requested || states[slot] === SlotState.sent) {
				states[slot] = SlotState.queued;
				this.#slotTime[slot] = Number.NEGATIVE_INFINITY;
			}
	}

	#unanswered(): void {
		this.timeoutCount++;
		this.counters.count(Status.timedOut);
		if (!this.#isRepeated) {
			this.#isRepeated = true;
			this.#awaited = 0;
			this.#requeueRequested();
			return;
		}
		this.#resetModule(0);
	}

	#requeueRequested(): void {
		if (this.#requestedSlot >= 0) this.#slotState[this.#requestedSlot] = SlotState.queued;
		this.#requestedSlot = -1;
	}

	#stateTimedOut(): void {
		switch (this.#state) {
			case State.resetting:
				if (this.#step === 1 || this.#step === 2) {
					// Asked, and nothing came back.
					this.counters.count(Status.timedOut);
					this.#enter(State.resetting, this.#now + this.#nextBackOff());
				} else {
					this.#step = 1;
					this.#stateAt = this.#now + RESET_MILLISECONDS;
				}
				return;
			case State.resuming:
			case State.recovering:
				this.counters.count(Status.timedOut);
				this.#enter(State.orphan, this.#now + this.#nextBackOff());
				return;
			case State.idle:
				if (this.#wantsNetwork) this.#enter(State.joining, this.#now + JOIN_MILLISECONDS);
				else this.#stateAt = Number.POSITIVE_INFINITY;
				return;
			case State.joining:
				this.#joinFailed(Status.timedOut);
				return;
			case State.orphan:
				this.#enter(State.recovering, this.#now + RESUME_MILLISECONDS);
				return;
			default:
				this.#stateAt = Number.POSITIVE_INFINITY;
		}
	}

	#joinFailed(status: Status): void {
		this.counters.count(status);
		this.#enter(State.idle, this.#wantsNetwork ? this.#now + this.#nextBackOff() : Number.POSITIVE_INFINITY);
		this.#listener.joinFailed(status);
	}

	// ---- out

	/** Puts a frame together whose data already lie behind the header. */
	#seal(type: number, command: number, dataLength: number): void {
		this.#frameAt = 0;
		this.#frameEnd = sealMtFrame((type << 5) | (command >> 8), command & 0xff, dataLength, this.#frame);
	}

	#request(command: number, dataLength: number): true {
		this.#seal(MtType.synchronousRequest, command, dataLength);
		this.#awaited = command;
		this.#awaitedUntil = this.#now + RESPONSE_MILLISECONDS;
		this.#isRequestNew = true;
		return true;
	}

	#byte(offset: number, value: number): void {
		this.#frame[4 + offset] = value;
	}

	#word(offset: number, value: number): void {
		this.#frame[4 + offset] = value & 0xff;
		this.#frame[5 + offset] = (value >> 8) & 0xff;
	}

	#long32(offset: number, value: number): void {
		this.#word(offset, value & 0xffff);
		this.#word(offset + 2, value >>> 16);
	}

	/** Makes the next frame for the state. @returns false for none */
	#nextFrame(): boolean {
		if (this.#awaited !== 0) return false;
		switch (this.#state) {
			case State.resetting:
				if (this.#step !== 1) return false;
				this.#step = 2;
				this.#byte(0, 1); // soft: the radio is started over, the UART stays
				this.#seal(MtType.asynchronous, Mt.sysResetRequest, 1);
				return true;
			case State.probing:
				return this.#probe();
			case State.clearing:
				this.#word(0, MtItem.startupOption);
				if (this.#step === 0) {
					this.#word(2, 1);
					this.#byte(4, 1);
					this.#byte(5, STARTUP_CLEAR_ALL);
					return this.#request(Mt.sysNvItemInit, 6);
				}
				this.#byte(2, 0);
				this.#byte(3, 1);
				this.#byte(4, STARTUP_CLEAR_ALL);
				return this.#request(Mt.sysNvWrite, 5);
			case State.configuring:
				return this.#configure();
			case State.registering:
				return this.#register();
			case State.resuming:
				if (this.#step === 0) {
					this.#word(0, MtItem.bdbNodeIsOnANetwork);
					this.#byte(2, 0);
					return this.#request(Mt.sysNvRead, 3);
				}
				if (this.#step === 1) {
					this.#word(0, 0);
					return this.#request(Mt.zdoStartupFromApp, 2);
				}
				return this.#step === 3 && this.#request(Mt.utilGetDeviceInformation, 0);
			case State.joining:
				return this.#commission();
			case State.recovering:
				if (this.#step === 0) return this.#request(Mt.bdbRecoverNetwork, 0);
				return this.#step === 3 && this.#request(Mt.utilGetDeviceInformation, 0);
			case State.joined:
				return this.#nextJoined();
			default:
				return false;
		}
	}

	#probe(): boolean {
		switch (this.#step) {
			case 0:
				return this.#request(Mt.sysPing, 0);
			case 1:
				return this.#request(Mt.sysVersion, 0);
			default:
				this.#word(0, MtItem.wattlock);
				this.#byte(2, 0);
				return this.#request(Mt.sysNvRead, 3);
		}
	}

	/** Writes the value of a configuration item. @returns its length */
	#itemValue(item: number, offset: number): number {
		const marker = this.#marker;
		switch (item) {
			case MtItem.logicalType:
				this.#byte(offset, this.#settings.logicalType);
				return 1;
			case MtItem.panId:
				this.#word(offset, 0xffff);
				return 2;
			case MtItem.channelList:
				this.#long32(offset, this.#settings.channelMask);
				return 4;
			case MtItem.extendedPanId:
				for (let i = 0; i < 8; i++) this.#byte(offset + i, marker[6 + i]!);
				return 8;
			case MtItem.directCallback:
				this.#byte(offset, 1);
				return 1;
			default:
				for (let i = 0; i < MARKER_BYTES; i++) this.#byte(offset + i, marker[i]!);
				return MARKER_BYTES;
		}
	}

	/** Even steps make an item that is not there, odd steps write one that is. */
	#configure(): boolean {
		const item = CONFIGURATION[this.#step >> 1]!;
		this.#word(0, item);
		if ((this.#step & 1) === 0) {
			const length = this.#itemValue(item, 5);
			this.#word(2, length);
			this.#byte(4, length);
			return this.#request(Mt.sysNvItemInit, 5 + length);
		}
		const length = this.#itemValue(item, 4);
		this.#byte(2, 0);
		this.#byte(3, length);
		return this.#request(Mt.sysNvWrite, 4 + length);
	}

	#register(): boolean {
		const { endpoint, profile, device, deviceVersion, inputClusters, outputClusters } = this.#settings;
		this.#byte(0, endpoint);
		this.#word(1, profile);
		this.#word(3, device);
		this.#byte(5, deviceVersion);
		this.#byte(6, 0); // latency
		let at = 7;
		this.#byte(at++, inputClusters.length);
		for (let i = 0; i < inputClusters.length; i++, at += 2) this.#word(at, inputClusters[i]!);
		this.#byte(at++, outputClusters.length);
		for (let i = 0; i < outputClusters.length; i++, at += 2) this.#word(at, outputClusters[i]!);
		return this.#request(Mt.afRegister, at);
	}

	#commission(): boolean {
		const { installCode, channelMask } = this.#settings;
		switch (this.#step) {
			case 0:
				this.#byte(0, installCode ? CentralizedKey.installCode : CentralizedKey.defaultGlobal);
				for (let i = 0; i < INSTALL_CODE_BYTES; i++) this.#byte(1 + i, installCode?.[i] ?? 0);
				return this.#request(Mt.bdbSetActiveCentralizedKey, 1 + INSTALL_CODE_BYTES);
			case 1:
			case 2:
				this.#byte(0, this.#step === 1 ? 1 : 0);
				this.#long32(1, this.#step === 1 ? channelMask : 0);
				return this.#request(Mt.bdbSetChannel, 5);
			case 3:
				this.#byte(0, Commissioning.steering);
				return this.#request(Mt.bdbStartCommissioning, 1);
			case 5:
				return this.#request(Mt.utilGetDeviceInformation, 0);
			default:
				return false; // waits for the notification
		}
	}

	#nextJoined(): boolean {
		if (this.#step === 1) return this.#request(Mt.utilGetDeviceInformation, 0);
		if (this.#isLongWanted || this.#isLongToFree) {
			const left = this.#longLength - this.#longAt;
			this.#long32(0, this.#longTimestamp);
			this.#word(4, this.#isLongWanted ? this.#longAt : 0);
			this.#byte(6, this.#isLongWanted ? Math.min(left, RETRIEVE_BYTES) : 0);
			return this.#request(Mt.afDataRetrieve, 7);
		}
		if (this.#isLeaving) {
			this.#word(0, this.shortAddress);
			for (let i = 0; i < 8; i++) this.#byte(2 + i, 0);
			this.#byte(10, 0);
			return this.#request(Mt.zdoManagementLeaveRequest, 11);
		}
		const slot = this.#nextSlot();
		if (slot < 0) return false;
		this.#dataRequest(slot);
		return true;
	}

	#unconfirmed(): number {
		let count = 0;
		for (let slot = 0; slot < this.#slotState.length; slot++) if (this.#slotState[slot] === SlotState.sent) count++;
		return count;
	}

	/** The oldest message whose time has come, -1 for none. */
	#nextSlot(): number {
		if (this.#unconfirmed() >= UNCONFIRMED_MAX) return -1;
		let found = -1;
		for (let slot = 0; slot < this.#slotState.length; slot++) {
			if (this.#slotState[slot] !== SlotState.queued || this.#slotTime[slot]! > this.#now) continue;
			if (found < 0 || this.#slotOrder[slot]! < this.#slotOrder[found]!) found = slot;
		}
		return found;
	}

	#dataRequest(slot: number): void {
		const mode = this.#slotMode[slot]!;
		const length = this.#slotLength[slot]!;
		const start = slot * this.#settings.messageBytesMax;
		this.#transaction = (this.#transaction + 1) & 0xff;
		this.#slotTransaction[slot] = this.#transaction;
		this.#byte(0, mode);
		this.#word(1, mode === AddressMode.bindings ? 0xfffe : this.#slotAddress[slot]!);
		for (let i = 3; i < 9; i++) this.#byte(i, 0);
		this.#byte(9, this.#slotEndpoint[slot]!);
		this.#word(10, 0); // this PAN
		this.#byte(12, this.#settings.endpoint);
		this.#word(13, this.#slotCluster[slot]!);
		this.#byte(15, this.#transaction);
		this.#byte(16, mode === AddressMode.bindings || mode === AddressMode.short ? ACKNOWLEDGED : 0);
		this.#byte(17, RADIUS);
		this.#word(18, length);
		for (let i = 0; i < length; i++) this.#byte(20 + i, this.#slots[start + i]!);
		this.#slotState[slot] = SlotState.requested;
		this.#requestedSlot = slot;
		this.#request(Mt.afDataRequestExtended, 20 + length);
	}

	// ---- in

	#received(): Status {
		const { cmd0, cmd1 } = this.#parser;
		const type = cmd0 >> 5;
		const command = ((cmd0 & 0x1f) << 8) | cmd1;
		if (type === MtType.synchronousResponse) return this.#response(command);
		if (type !== MtType.asynchronous) return Status.badKind; // ZNP-1
		return this.#event(command);
	}

	/** A response, or the co-processor's complaint about a request. */
	#response(command: number): Status {
		const { frame, dataLength } = this.#parser;
		if (command === Mt.rpcError) {
			if (dataLength < 3 || this.#awaited === 0) return Status.outOfOrder; // ZNP-2
			const about = ((frame[5]! & 0x1f) << 8) | frame[6]!;
			if (about !== this.#awaited) return Status.outOfOrder; // ZNP-3
			this.#awaited = 0;
			this.#isRepeated = false;
			this.#refused(about, MtStatus.failure);
			return Status.unsupported;
		}
		if (command !== this.#awaited) return Status.outOfOrder; // ZNP-4: late, after the request was repeated
		this.#awaited = 0;
		this.#isRepeated = false;
		return this.#answered(command, dataLength);
	}

	#answered(command: number, dataLength: number): Status {
		const data = this.#parser.frame;
		switch (command) {
			case Mt.sysPing:
				this.#step = 1;
				return Status.ok;
			case Mt.sysVersion:
				if (dataLength < 5) return this.#bad(Status.badLength); // ZNP-5
				for (let i = 0; i < 4; i++) this.version[i] = data[5 + i]!;
				this.#step = 2;
				return Status.ok;
			case Mt.utilGetDeviceInformation:
				return this.#deviceInformation(dataLength);
			case Mt.afDataRetrieve:
				return this.#retrieved(dataLength);
			default:
		}
		if (dataLength < 1) return this.#bad(Status.badLength); // ZNP-6
		const status = data[4]!;
		switch (command) {
			case Mt.sysNvRead:
				this.#itemRead(status, dataLength);
				return Status.ok;
			case Mt.sysNvItemInit:
				if (status !== MtStatus.success && status !== MtStatus.itemCreated) break;
				if (this.#state === State.clearing) {
					if (status === MtStatus.itemCreated) this.#clear();
					else this.#step = 1;
				} else this.#itemDone(status === MtStatus.itemCreated ? 2 : 1);
				return Status.ok;
			case Mt.sysNvWrite:
				if (status !== MtStatus.success) break;
				if (this.#state === State.clearing) this.#clear();
				else this.#itemDone(1);
				return Status.ok;
			case Mt.afRegister:
				// 0xB8: registered before, which is what we want.
				if (status !== MtStatus.success && status !== MtStatus.noBoundDevice) break;
				this.#enter(State.resuming, this.#now + RESUME_MILLISECONDS);
				return Status.ok;
			case Mt.zdoStartupFromApp:
				// 0 restored; 1 a new network state, which here means that the stored one is gone.
				if (this.#step === 1) this.#step = 2;
				return Status.ok;
			case Mt.bdbSetActiveCentralizedKey:
			case Mt.bdbSetChannel:
			case Mt.bdbStartCommissioning:
				if (status !== MtStatus.success) break;
				if (this.#state === State.joining && this.#step < 4) this.#step++;
				return Status.ok;
			case Mt.bdbRecoverNetwork:
				if (status !== MtStatus.success) break;
				if (this.#step === 0) this.#step = 1;
				return Status.ok;
			case Mt.zdoManagementLeaveRequest:
				this.#isLeaving = false;
				return Status.ok;
			case Mt.afDataRequestExtended:
				this.#requestAnswered(status);
				return Status.ok;
			default:
				return Status.ok;
		}
		this.#refused(command, status);
		return Status.refusedByPeer;
	}

	/** An answer that cannot be one: the co-processor is started over. */
	#bad(status: Status): Status {
		this.#resetModule(this.#nextBackOff());
		return status;
	}

	/** The co-processor does not do what it must. */
	#refused(command: number, status: number): void {
		switch (command) {
			case Mt.afDataRequestExtended:
				this.#requestAnswered(status);
				return;
			case Mt.sysNvRead:
				this.#itemRead(status, 1);
				return;
			case Mt.bdbSetActiveCentralizedKey:
				// Without an install code the well-known key is the default anyway.
				if (!this.#settings.installCode && this.#state === State.joining) this.#step = 1;
				else this.#joinFailed(Status.refusedByPeer);
				return;
			case Mt.bdbSetChannel:
			case Mt.bdbStartCommissioning:
				this.#joinFailed(Status.refusedByPeer);
				return;
			case Mt.bdbRecoverNetwork:
				// Firmware without it, or a co-processor that is already trying: its own start-up does the same.
				this.#resetModule(this.#nextBackOff());
				return;
			case Mt.zdoManagementLeaveRequest:
				this.#isLeaving = false;
				return;
			case Mt.afDataRetrieve:
				this.#isLongWanted = false;
				this.#isLongToFree = false;
				return;
			default:
				this.#resetModule(this.#nextBackOff());
		}
	}

	#clear(): void {
		this.#resetModule(0);
		this.#isClearing = true;
	}

	#itemDone(steps: number): void {
		if (this.#state !== State.configuring) return;
		this.#step += steps;
		if (this.#step >> 1 < CONFIGURATION.length) return;
		this.#resetModule(0);
		this.#isConfigured = true;
	}

	#itemRead(status: number, dataLength: number): void {
		const data = this.#parser.frame;
		if (this.#state === State.probing) {
			let isOurs = status === MtStatus.success && dataLength >= 2 + MARKER_BYTES && data[5] === MARKER_BYTES;
			for (let i = 0; isOurs && i < MARKER_BYTES; i++) isOurs = data[6 + i] === this.#marker[i];
			const wasConfigured = this.#isConfigured;
			this.#isConfigured = false;
			if (isOurs) this.#enter(State.registering, Number.POSITIVE_INFINITY);
			else if (wasConfigured) {
				// Its memory does not keep what is written: not again at once, or its flash wears out.
				this.counters.count(Status.corrupt);
				this.#resetModule(this.#nextBackOff());
			} else this.#enter(State.clearing, Number.POSITIVE_INFINITY);
			return;
		}
		if (this.#state !== State.resuming) return;
		if (status === MtStatus.success && dataLength >= 3 && data[6] === 1) this.#step = 1;
		else this.#enter(State.idle, this.#wantsNetwork ? this.#now : Number.POSITIVE_INFINITY);
	}

	#deviceInformation(dataLength: number): Status {
		const data = this.#parser.frame;
		if (dataLength < 13 || data[4] !== MtStatus.success) return this.#bad(Status.badLength); // ZNP-7
		for (let i = 0; i < 8; i++) this.extendedAddress[i] = data[5 + i]!;
		const state = data[16]!;
		if (state !== DeviceState.endDevice && state !== DeviceState.router) {
			// It changed again meanwhile; the event for it is on its way.
			if (this.#state === State.joined) this.#step = 0;
			else if (this.#state === State.joining) this.#step = 4;
			else this.#step = 2;
			return Status.ok;
		}
		this.shortAddress = data[13]! | (data[14]! << 8);
		this.#enter(State.joined, Number.POSITIVE_INFINITY);
		this.#backOff = this.#settings.backOffMinimumMilliseconds;
		this.joinCount++;
		this.#listener.networkJoined(this.shortAddress);
		return Status.ok;
	}

	// ---- messages out

	#requestAnswered(status: number): void {
		const slot = this.#requestedSlot;
		this.#requestedSlot = -1;
		if (slot < 0 || this.#slotState[slot] !== SlotState.requested) return;
		if (status === MtStatus.success) {
			this.#slotState[slot] = SlotState.sent;
			this.#slotTime[slot] = this.#now + CONFIRM_MILLISECONDS;
		} else this.#failed(slot, status);
	}

	/** Tries again later, or gives up. */
	#failed(slot: number, status: number): void {
		const handle = this.#slotHandle[slot]!;
		const attempts = this.#slotAttempts[slot]! + 1;
		let end: Status = Status.linkDown;
		if (status === MtStatus.noBoundDevice) end = Status.notFound;
		else if (status === MtStatus.invalidParameter || status === 0xa0) end = Status.unsupported;
		else if (attempts < SEND_ATTEMPTS_MAX) {
			this.retryCount++;
			this.#slotAttempts[slot] = attempts;
			this.#slotState[slot] = SlotState.queued;
			const wait = SEND_BACK_OFF_MILLISECONDS * 2 ** (attempts - 1) * (0.75 + 0.5 * this.#random());
			this.#slotTime[slot] = this.#now + wait;
			return;
		}
		this.#free(slot);
		this.counters.count(end);
		this.#listener.sent(handle, end);
	}

	#free(slot: number): void {
		this.#slotState[slot] = SlotState.free;
		this.#slotHandle[slot] = 0;
	}

	#confirmed(status: number, transaction: number): Status {
		for (let slot = 0; slot < this.#slotState.length; slot++) {
			if (this.#slotTransaction[slot] !== transaction) continue;
			const state = this.#slotState[slot];
			if (state !== SlotState.sent && state !== SlotState.requested) continue;
			if (status === MtStatus.success) {
				const handle = this.#slotHandle[slot]!;
				if (this.#requestedSlot === slot) this.#requestedSlot = -1;
				this.#free(slot);
				this.#listener.sent(handle, Status.ok);
			} else if (state === SlotState.sent) this.#failed(slot, status);
			return Status.ok;
		}
		return Status.notFound; // ZNP-8: the second of two bound targets, or one that we gave up
	}

	// ---- events

	#event(command: number): Status {
		const { frame: data, dataLength } = this.#parser;
		switch (command) {
			case Mt.sysResetIndication:
				if (this.#state === State.stopped) return Status.ok;
				if (this.#state !== State.resetting) this.unexpectedResetCount++;
				this.#interrupt();
				this.#enterAfterReset();
				return Status.ok;
			case Mt.zdoStateChangeIndication:
				if (dataLength < 1) return Status.badLength; // ZNP-9
				this.#stateChanged(data[4]!);
				return Status.ok;
			case Mt.bdbCommissioningNotification:
				if (dataLength < 1) return Status.badLength; // ZNP-10
				this.#commissioned(data[4]!);
				return Status.ok;
			case Mt.zdoLeaveIndication:
				return this.#leaveIndicated(dataLength);
			case Mt.afDataConfirm:
				if (dataLength < 3) return Status.badLength; // ZNP-11
				return this.#confirmed(data[4]!, data[6]!);
			case Mt.afIncomingMessage:
				return this.#incomingMessage(dataLength);
			case Mt.afIncomingMessageExtended:
				return this.#incomingExtended(dataLength);
			default:
				return Status.ok; // not our business
		}
	}

	#enterAfterReset(): void {
		// Clearing comes with a reset of its own, after which the items are written.
		this.#enter(this.#isClearing ? State.configuring : State.probing, Number.POSITIVE_INFINITY);
		this.#isClearing = false;
	}

	#stateChanged(state: number): void {
		switch (state) {
			case DeviceState.endDevice:
			case DeviceState.router:
				// Only the step counts: the short address is asked for.
				if (this.#state === State.joining) this.#step = 5;
				else if (this.#state === State.resuming || this.#state === State.recovering) this.#step = 3;
				else if (this.#state === State.orphan) {
					this.#enter(State.recovering, this.#now + RESUME_MILLISECONDS);
					this.#step = 3;
				} else if (this.#state === State.joined) this.#step = 1;
				return;
			case DeviceState.orphan:
				if (this.#state === State.joined) {
					this.#interruptMessages();
					this.#enter(State.orphan, this.#now + this.#nextBackOff());
					this.#listener.networkLost(Status.linkDown);
				} else if (this.#state === State.resuming || this.#state === State.recovering)
					this.#enter(State.orphan, this.#now + this.#nextBackOff());
				return;
			default:
		}
	}

	/** What was asked stays asked; what was sent is sent again after the return. */
	#interruptMessages(): void {
		const states = this.#slotState;
		for (let slot = 0; slot < states.length; slot++)
			if (states[slot] === SlotState.sent) {
				states[slot] = SlotState.queued;
				this.#slotTime[slot] = Number.NEGATIVE_INFINITY;
			}
	}

	#commissioned(status: number): void {
		switch (this.#state) {
			case State.joining:
				if (this.#step < 3 || status === CommissioningStatus.inProgress) return;
				if (status === CommissioningStatus.success || status === CommissioningStatus.networkRestored) {
					if (this.#step !== 5) this.#step = 5;
				} else if (status === CommissioningStatus.noNetwork) this.#joinFailed(Status.notFound);
				else this.#joinFailed(Status.refusedByPeer);
				return;
			case State.recovering:
				if (status === CommissioningStatus.success || status === CommissioningStatus.networkRestored) this.#step = 3;
				else this.#enter(State.orphan, this.#now + this.#nextBackOff());
				return;
			default:
		}
	}

	/** The co-processor says that a device left; only ours counts. */
	#leaveIndicated(dataLength: number): Status {
		const data = this.#parser.frame;
		if (dataLength < 13) return Status.badLength; // ZNP-12
		for (let i = 0; i < 8; i++) if (data[6 + i] !== this.extendedAddress[i]) return Status.ok;
		if (data[16] !== 0) return Status.ok; // it comes back by itself
		const isOurs = this.#isLeaveOurs;
		this.#interruptMessages();
		this.#isLeaving = false;
		this.#isLeaveOurs = false;
		this.shortAddress = 0xfffe;
		this.#enter(State.idle, this.#wantsNetwork ? this.#now + this.#nextBackOff() : Number.POSITIVE_INFINITY);
		this.#listener.networkLost(isOurs ? Status.ok : Status.refusedByPeer);
		return Status.ok;
	}

	#incomingMessage(dataLength: number): Status {
		const data = this.#parser.frame;
		if (dataLength < 17 || dataLength < 17 + data[20]!) return Status.badLength; // ZNP-13
		const message = this.#incoming;
		message.group = data[4]! | (data[5]! << 8);
		message.cluster = data[6]! | (data[7]! << 8);
		message.sourceAddress = data[8]! | (data[9]! << 8);
		message.sourceEndpoint = data[10]!;
		message.targetEndpoint = data[11]!;
		message.isBroadcast = data[12] !== 0;
		message.linkQuality = data[13]!;
		message.start = 21;
		message.byteLength = data[20]!;
		this.#listener.message(message);
		return Status.ok;
	}

	/** A message that is too long for one frame: fetched piece by piece, one message at a time. */
	#incomingExtended(dataLength: number): Status {
		const data = this.#parser.frame;
		if (dataLength < 27) return Status.badLength; // ZNP-14
		const byteLength = data[29]! | (data[30]! << 8);
		const isWhole = dataLength - 27 >= byteLength && byteLength > 0;
		if (!isWhole && (this.#isLongWanted || this.#isLongToFree)) return Status.busy; // ZNP-15: the co-processor lets it expire
		const message = isWhole ? this.#incoming : this.#longIncoming;
		message.group = data[4]! | (data[5]! << 8);
		message.cluster = data[6]! | (data[7]! << 8);
		message.sourceAddress = data[9]! | (data[10]! << 8);
		message.sourceEndpoint = data[17]!;
		message.targetEndpoint = data[20]!;
		message.isBroadcast = data[21] !== 0;
		message.linkQuality = data[22]!;
		message.start = isWhole ? 31 : 0;
		message.byteLength = byteLength;
		if (isWhole) {
			this.#listener.message(message);
			return Status.ok;
		}
		this.#longTimestamp = (data[24]! | (data[25]! << 8) | (data[26]! << 16) | (data[27]! << 24)) >>> 0;
		this.#longAt = 0;
		this.#longLength = byteLength;
		if (byteLength > this.#settings.messageBytesMax) {
			this.#isLongToFree = true;
			return Status.badLength; // ZNP-16
		}
		this.#isLongWanted = true;
		return Status.ok;
	}

	#retrieved(dataLength: number): Status {
		const data = this.#parser.frame;
		if (this.#isLongToFree) {
			this.#isLongToFree = false;
			return Status.ok;
		}
		if (!this.#isLongWanted) return Status.outOfOrder; // ZNP-17
		const count = dataLength < 2 || data[4] !== MtStatus.success ? 0 : data[5]!;
		if (count === 0 || dataLength < 2 + count || this.#longAt + count > this.#longLength) {
			this.#isLongWanted = false;
			this.#isLongToFree = true;
			return Status.badLength; // ZNP-18
		}
		for (let i = 0; i < count; i++) this.#long[this.#longAt + i] = data[6 + i]!;
		this.#longAt += count;
		if (this.#longAt < this.#longLength) return Status.ok;
		this.#isLongWanted = false;
		this.#isLongToFree = true;
		this.#listener.message(this.#longIncoming);
		return Status.ok;
	}
}

function emptyMessage(payload: Uint8Array): IncomingMessage {
	return {
		sourceAddress: 0,
		sourceEndpoint: 0,
		targetEndpoint: 0,
		group: 0,
		cluster: 0,
		isBroadcast: false,
		linkQuality: 0,
		payload,
		start: 0,
		byteLength: 0,
	};
}
