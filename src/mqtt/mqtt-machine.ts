import { InvariantError, Status, StatusCounters } from "../bytes/status.js";
import { InFlight } from "./in-flight.js";
import { PacketCheck, PacketType } from "./packet-check.js";
import { type IncomingPacket, type OutgoingPacket, type PacketParser, packetLibrary } from "./packet-library.js";
import { PacketWriter } from "./packet-writer.js";

export interface MqttWill {
	readonly topic: string;
	readonly payload: Uint8Array;
	readonly qos: 0 | 1;
	readonly retain: boolean;
}

export interface MqttSettings {
	/** 1 to 65,535 bytes of UTF-8; 23 letters and digits are what every broker must take. */
	readonly clientIdentifier: string;
	/** 4 is MQTT 3.1.1. */
	readonly protocolVersion: 4 | 5;
	/** True: the broker forgets subscriptions and messages at each connection. */
	readonly cleanSession: boolean;
	/** MQTT 5, without `cleanSession`: how long the broker keeps the session after the link is lost. */
	readonly sessionExpirySeconds: number;
	/** 0 to 65,535; 0 switches it off, and a half-open link is then found by unanswered messages alone. */
	readonly keepAliveSeconds: number;
	readonly username?: string;
	/** Needs `username`. */
	readonly password?: string;
	/** What the broker publishes for this client when the link is lost without `stop`. */
	readonly will?: MqttWill;
	/** First wait before a new connection; also the spread of the first connection after start. */
	readonly backOffMinimumMilliseconds: number;
	readonly backOffMaximumMilliseconds: number;
	/** How long the broker may take for CONNACK, PINGRESP, the next PUBACK or SUBACK, and the host to open. Default 30,000. */
	readonly responseTimeoutMilliseconds?: number;
	/** Slots for outgoing messages. */
	readonly inFlightMax: number;
	/** Largest packet in either direction, all headers included, and size of a slot. At least 128. */
	readonly packetBytesMax: number;
	/** Different topic filters. Default 8. */
	readonly subscriptionMax?: number;
}

/** What the machine tells the application, from inside `receive`, `tick`, `transmit` or `linkClosed`. */
export interface MqttListener {
	/** The broker took the connection. With `sessionPresent` false the machine makes all subscriptions again by itself. */
	connected(sessionPresent: boolean): void;
	/** An attempt or a connection ended; `ok` after `stop`. The machine comes back by itself unless stopped. */
	disconnected(status: Status): void;
	/** The PUBACK for this handle came: the broker has the message. */
	published(handle: number): void;
	/** The broker has not taken this message and will not (MQTT 5 reason code, 0x80 or more). The slot is free again. */
	refused(handle: number, reasonCode: number): void;
	/**
	 * A message arrived; `payload` is valid only during the call. QoS 1 is acknowledged when this returns. It may come
	 * again (resent by the broker), so the application looks at its own sequence numbers.
	 */
	message(topic: string, payload: Uint8Array, byteLength: number): void;
	/** The broker refused a subscription (SUBACK 0x80 and more); it is asked again at the next connection. */
	subscriptionRefused(topicFilter: string, reasonCode: number): void;
}

/** States of the connection. */
const State = Object.freeze({
	stopped: 0,
	/** Back-off runs. */
	waiting: 1,
	/** The host is asked to open the link. */
	opening: 2,
	/** CONNECT is on its way, CONNACK not here. */
	connecting: 3,
	connected: 4,
	/** The host is asked to close the link. */
	closing: 5,
} as const);
type State = (typeof State)[keyof typeof State];

const SubscriptionState = Object.freeze({ wanted: 0, sent: 1, granted: 2, refused: 3 } as const);
type SubscriptionState = (typeof SubscriptionState)[keyof typeof SubscriptionState];

interface Subscription {
	readonly topicFilter: string;
	readonly qos: 0 | 1;
	state: SubscriptionState;
	packetIdentifier: number;
}

/** PUBACKs that wait for the link; announced to an MQTT 5 broker as receive maximum. A power of two. */
const ACKNOWLEDGE_MAX = 64;
/** MQTT 3.1.1: a larger PUBLISH than the buffer is skipped up to this size; beyond, the link is closed. */
const SKIP_BYTES_MAX = 65_536;
const RESPONSE_TIMEOUT_MILLISECONDS = 30_000;
const SUBSCRIPTION_MAX = 8;

/** MQTT 5 reason codes that this machine makes or acts upon. */
const Reason = Object.freeze({
	malformedPacket: 0x81,
	protocolError: 0x82,
	receiveMaximumExceeded: 0x93,
	topicAliasInvalid: 0x94,
	packetTooLarge: 0x95,
	retainNotSupported: 0x9a,
	qosNotSupported: 0x9b,
	sharedSubscriptionsNotSupported: 0x9e,
	wildcardSubscriptionsNotSupported: 0xa2,
	unspecifiedError: 0x80,
} as const);

/** The reason code with which the machine leaves an MQTT 5 broker. */
function reasonOf(status: Status): number {
	switch (status) {
		case Status.ok:
			return 0;
		case Status.corrupt:
			return Reason.malformedPacket;
		case Status.badLength:
			return Reason.packetTooLarge;
		case Status.badValue:
			return Reason.topicAliasInvalid;
		case Status.busy:
			return Reason.receiveMaximumExceeded;
		case Status.timedOut:
			return Reason.unspecifiedError;
		default:
			return Reason.protocolError;
	}
}

/** What a CONNACK refusal means: version `badVersion`, identifier `badValue`, no time `busy`, rights `refusedByPeer`. */
function statusOfConnack(protocolVersion: 4 | 5, code: number): Status {
	if (protocolVersion === 4) {
		switch (code) {
			case 1:
				return Status.badVersion;
			case 2:
				return Status.badValue;
			case 3:
				return Status.busy;
			case 4:
			case 5:
				return Status.refusedByPeer;
			default:
				return Status.protocolError;
		}
	}
	switch (code) {
		case 0x84:
			return Status.badVersion;
		case 0x85:
			return Status.badValue;
		case 0x88: // server unavailable
		case 0x89: // server busy
		case 0x97: // quota exceeded
		case 0x9f: // connection rate exceeded
			return Status.busy;
		case 0x80:
		case 0x83:
		case 0x86: // bad user name or password
		case 0x87: // not authorized
		case 0x8a: // banned
		case 0x8c: // bad authentication method
		case 0x90:
		case 0x95:
		case 0x99:
		case 0x9c: // use another server
		case 0x9d: // server moved
			return Status.refusedByPeer;
		case 0x9a: // retain not supported (will)
		case 0x9b: // QoS not supported (will)
			return Status.unsupported;
		default:
			return Status.protocolError;
	}
}

/**
 * An MQTT client, 3.1.1 and 5.0, QoS 0 and 1, as a machine without clock, entropy and I/O. The host (or `MqttLink`)
 * opens the link while `wantsLink()`, moves bytes by `receive` and `transmit`, and calls `tick` at
 * `deadlineMilliseconds()`. After every call: `transmit` until 0, then close the link if `wantsLink()` is false.
 *
 * Memory is made in the constructor: `(inFlightMax + 2) * packetBytesMax` bytes, 16 for each slot, 128 for waiting
 * PUBACKs, 80 for counters, and the topic filters. Between calls nothing else is kept, whatever the broker sends.
 */
export class MqttMachine {
	readonly counters = new StatusCounters();
	/** The reason or return code of the last CONNACK refusal or DISCONNECT from the broker; 0 for none. */
	lastReasonCode = 0;
	/** Connections that the broker took since start. */
	connectionCount = 0;
	/** QoS 1 messages sent again after a lost connection. */
	resentCount = 0;
	/** Too large messages of an MQTT 3.1.1 broker that were acknowledged unread. */
	skippedCount = 0;

	readonly #settings: MqttSettings;
	readonly #listener: MqttListener;
	readonly #random: () => number;
	readonly #responseTimeout: number;
	readonly #subscriptionMax: number;

	#state: State = State.waiting;
	#now = 0;
	/** When the present state is left by itself. */
	#stateUntil = Number.NEGATIVE_INFINITY;
	#isStarted = false;
	#isStopping = false;
	#isLinkOpen = false;
	/** Negative: not in this connection. */
	#connectedAt = -1;
	#endStatus: Status = Status.ok;
	#backOff: number;

	// From the CONNACK.
	#keepAliveMilliseconds = 0;
	#sendMaximum = 0;
	#sendBytesMax = 0;
	#takesQos1 = true;
	#takesRetain = true;
	#takesWildcards = true;
	#takesShared = true;

	// Receiving: one packet at a time.
	readonly #incoming: Uint8Array;
	#filled = 0;
	#headerBytes = 0;
	#expected = 0;
	#skip = 0;
	readonly #check: PacketCheck;
	#parser: PacketParser;
	#parsed: IncomingPacket | undefined;
	#parsedCount = 0;
	#isParseError = false;

	// Sending: the packet that is on its way to the link.
	readonly #control: Uint8Array;
	readonly #writer: PacketWriter;
	#source: Uint8Array;
	#sourceAt = 0;
	#sourceEnd = 0;
	/** The slot of which a part is still to be handed over, -1 for none. */
	#sourceSlot = -1;

	// What is to be sent.
	readonly #inFlight: InFlight;
	readonly #subscriptions: Subscription[] = [];
	readonly #acknowledge = new Uint16Array(ACKNOWLEDGE_MAX);
	#acknowledgeHead = 0;
	#acknowledgeCount = 0;
	#isConnectWanted = false;
	#isPingWanted = false;
	#isGoodbyeWanted = false;
	#lastIdentifier = 0;

	// Time-outs. Bytes go out in `transmit`, which is not told the time: the next call that is told it sets the clock.
	#hasSent = false;
	#sentAt = 0;
	#receivedAt = 0;
	#isPingOut = false;
	#pingAt = 0;
	/** QoS 1 messages and subscriptions that wait for their acknowledgement. */
	#outstanding = 0;
	#isProgressNew = false;
	#progressAt = 0;

	/**
	 * @param random uniform in [0, 1), from the host's entropy; spreads the connections of a fleet
	 * @throws InvariantError when the settings contradict themselves
	 */
	constructor(settings: MqttSettings, listener: MqttListener, random: () => number) {
		const { packetBytesMax, inFlightMax, protocolVersion } = settings;
		if (!(packetBytesMax >= 128 && packetBytesMax <= 0x0fff_ffff)) throw new InvariantError("mqtt: packetBytesMax");
		if (!(inFlightMax >= 1 && inFlightMax <= 1_024)) throw new InvariantError("mqtt: inFlightMax");
		if (settings.clientIdentifier === "") throw new InvariantError("mqtt: clientIdentifier");
		if (!(settings.backOffMinimumMilliseconds > 0)) throw new InvariantError("mqtt: backOffMinimumMilliseconds");
		if (!(settings.backOffMaximumMilliseconds >= settings.backOffMinimumMilliseconds))
			throw new InvariantError("mqtt: backOffMaximumMilliseconds");
		this.#settings = settings;
		this.#listener = listener;
		this.#random = random;
		this.#responseTimeout = settings.responseTimeoutMilliseconds ?? RESPONSE_TIMEOUT_MILLISECONDS;
		this.#subscriptionMax = settings.subscriptionMax ?? SUBSCRIPTION_MAX;
		this.#backOff = settings.backOffMinimumMilliseconds;
		this.#incoming = new Uint8Array(packetBytesMax);
		this.#check = new PacketCheck(this.#incoming);
		this.#parser = this.#makeParser();
		this.#control = new Uint8Array(packetBytesMax);
		this.#source = this.#control;
		this.#writer = new PacketWriter(protocolVersion);
		this.#inFlight = new InFlight(inFlightMax, packetBytesMax);
		if (!this.#encodeControl(this.#connectPacket()))
			throw new InvariantError("mqtt: CONNECT does not fit or is invalid");
		this.#sourceAt = this.#sourceEnd;
	}

	/** True between the broker's CONNACK and the end of the connection. */
	get isConnected(): boolean {
		return this.#state === State.connected;
	}

	/** True while the last bytes (MQTT 5 DISCONNECT) may still go out before the host closes the link. */
	get isClosing(): boolean {
		return this.#state === State.closing;
	}

	/** Free slots for `publish`. */
	get freeSlots(): number {
		return this.#inFlight.countMax - this.#inFlight.count;
	}

	/** What the host does with the link: true: open it, or leave it open; false: close it, or leave it closed. */
	wantsLink(): boolean {
		return this.#state === State.opening || this.#state === State.connecting || this.#state === State.connected;
	}

	/** The link is open, nothing has been sent on it. */
	linkOpened(now: number): void {
		this.#advance(now);
		this.#isLinkOpen = true;
		if (this.#state !== State.opening) return; // not asked for any more: `wantsLink` is false, the host closes it
		this.#state = State.connecting;
		this.#stateUntil = this.#now + this.#responseTimeout;
		this.#isConnectWanted = true;
		this.#receivedAt = this.#now;
		this.#sentAt = this.#now;
	}

	/** The link is closed, or could not be opened. Bytes that were not sent are gone. */
	linkClosed(now: number): void {
		this.#advance(now);
		this.#isLinkOpen = false;
		if (this.#state === State.closing) this.#retryLater();
		else if (this.#state >= State.opening) {
			this.#end(this.counters.count(Status.linkDown));
			this.#retryLater();
		}
	}

	/**
	 * Bytes from the broker, cut anywhere.
	 * @returns `ok`, or why the connection ends: `corrupt`, `protocolError`, `badLength` (larger than
	 * `packetBytesMax`), `badValue` (topic alias), `unsupported`, `busy`, or a refusal by the broker (`badVersion`,
	 * `badValue`, `busy`, `refusedByPeer`); `linkDown` when there is no connection to receive on
	 */
	receive(now: number, bytes: Uint8Array, byteLength: number): Status {
		this.#advance(now);
		if (this.#state !== State.connecting && this.#state !== State.connected) return Status.linkDown;
		this.#receivedAt = this.#now;
		const incoming = this.#incoming;
		for (let at = 0; at < byteLength; ) {
			if (this.#expected === 0) {
				const byte = bytes[at++]!;
				incoming[this.#filled++] = byte;
				if (this.#filled === 1 || (byte >= 0x80 && this.#filled < 5)) continue;
				const status = this.#header(byte);
				if (status !== Status.ok) return this.#fail(status);
			}
			if (this.#filled < this.#expected) {
				const count = Math.min(this.#expected - this.#filled, byteLength - at);
				if (count > 0) incoming.set(bytes.subarray(at, at + count), this.#filled);
				this.#filled += count;
				at += count;
				if (this.#filled < this.#expected) break;
			}
			if (this.#skip > 0) {
				const count = Math.min(this.#skip, byteLength - at);
				this.#skip -= count;
				at += count;
				if (this.#skip > 0) break;
				const status = this.#skipped();
				if (status !== Status.ok) return this.#fail(status);
			} else if (this.#filled === this.#expected) {
				const status = this.#packet();
				if (this.#state !== State.connected) return status;
			} else continue;
			this.#filled = 0;
			this.#expected = 0;
		}
		return Status.ok;
	}

	/** To be called at or after `deadlineMilliseconds()`; earlier does no harm. */
	tick(now: number): void {
		this.#advance(now);
		switch (this.#state) {
			case State.waiting:
				if (!this.#isStarted) {
					// Power comes back to a whole street at once: the first connections are spread, too.
					this.#isStarted = true;
					this.#stateUntil = this.#now + this.#random() * this.#settings.backOffMinimumMilliseconds;
				}
				if (this.#now >= this.#stateUntil) {
					this.#state = State.opening;
					this.#stateUntil = this.#now + this.#responseTimeout;
				}
				break;
			case State.opening:
				if (this.#now < this.#stateUntil) break;
				this.#end(this.counters.count(Status.timedOut));
				this.#retryLater();
				break;
			case State.connecting:
				if (this.#now >= this.#stateUntil) this.#fail(Status.timedOut);
				break;
			case State.closing:
				if (this.#now >= this.#stateUntil) this.#retryLater(); // the host never told that it closed
				break;
			case State.connected: {
				if (this.#outstanding > 0 && this.#now >= this.#progressAt + this.#responseTimeout) {
					this.#fail(Status.timedOut);
					break;
				}
				if (this.#isPingOut) {
					if (this.#now >= this.#pingAt + this.#responseTimeout) this.#fail(Status.timedOut);
				} else if (this.#keepAliveMilliseconds > 0 && this.#now >= this.#pingDueAt()) {
					this.#isPingOut = true;
					this.#isPingWanted = true;
					this.#pingAt = this.#now;
				}
				break;
			}
			default:
		}
	}

	/** When `tick` is wanted, on the clock of the `now` arguments; Infinity: only on events. */
	deadlineMilliseconds(): number {
		switch (this.#state) {
			case State.stopped:
				return Number.POSITIVE_INFINITY;
			case State.connected: {
				if (this.#hasSent) return this.#now;
				let deadline = Number.POSITIVE_INFINITY;
				if (this.#outstanding > 0) deadline = this.#progressAt + this.#responseTimeout;
				if (this.#isPingOut) return Math.min(deadline, this.#pingAt + this.#responseTimeout);
				if (this.#keepAliveMilliseconds > 0) return Math.min(deadline, this.#pingDueAt());
				return deadline;
			}
			default:
				return this.#stateUntil;
		}
	}

	/**
	 * The next bytes for the link, several packets at once if they fit.
	 * @param into any size; filled from its start
	 * @returns bytes put into `into`; call until 0. The link must take all of them: nothing is sent twice on a connection
	 */
	transmit(into: Uint8Array): number {
		if (!this.#isLinkOpen) return 0;
		let filled = 0;
		while (filled < into.length) {
			if (this.#sourceAt === this.#sourceEnd && !this.#nextSource()) break;
			const count = Math.min(into.length - filled, this.#sourceEnd - this.#sourceAt);
			into.set(this.#source.subarray(this.#sourceAt, this.#sourceAt + count), filled);
			this.#sourceAt += count;
			filled += count;
			if (this.#sourceAt === this.#sourceEnd && this.#sourceSlot >= 0) {
				if (!this.#inFlight.isQos1(this.#sourceSlot)) this.#inFlight.finish(this.#sourceSlot);
				this.#sourceSlot = -1;
			}
		}
		if (filled > 0) this.#hasSent = true;
		return filled;
	}

	/**
	 * Takes a message into a slot. QoS 1 is taken whether connected or not, and stays until its PUBACK, over any
	 * number of connections. QoS 0 is taken only while connected, and is gone with the connection.
	 * @param payload copied
	 * @returns a handle for `published` and `refused`, or 0: the window is full, or QoS 0 and not connected
	 * @throws InvariantError when topic and payload do not fit into a slot, or the topic is empty or has a wildcard
	 */
	publish(topic: string, payload: Uint8Array, byteLength: number, qos: 0 | 1, retain: boolean): number {
		if (qos === 0 && this.#state !== State.connected) return 0;
		const inFlight = this.#inFlight;
		const slot = inFlight.next();
		if (slot < 0) return 0;
		if (topic === "" || topic.includes("#") || topic.includes("+")) throw new InvariantError("mqtt: topic name");
		const messageId = this.#nextIdentifier();
		const from = slot * inFlight.slotBytes;
		const size = this.#writer.encode(
			{
				cmd: "publish",
				topic,
				payload: byteLength === payload.length ? payload : payload.subarray(0, byteLength),
				qos,
				retain,
				dup: false,
				messageId,
			},
			inFlight.bytes,
			from,
			from + inFlight.slotBytes,
		);
		if (size === 0) throw new InvariantError("mqtt: message larger than packetBytesMax");
		inFlight.add(size, messageId, qos);
		return messageId;
	}

	/**
	 * Asks for a topic filter, now and after each connection where the broker does not remember it.
	 * @returns false when `subscriptionMax` filters are there already
	 */
	subscribe(topicFilter: string, qos: 0 | 1): boolean {
		for (let i = 0; i < this.#subscriptions.length; i++) {
			const known = this.#subscriptions[i]!;
			if (known.topicFilter === topicFilter && known.qos === qos) return true;
		}
		if (this.#subscriptions.length >= this.#subscriptionMax) return false;
		this.#subscriptions.push({ topicFilter, qos, state: SubscriptionState.wanted, packetIdentifier: 0 });
		return true;
	}

	/** Says goodbye (the broker drops the will) and stays away until `start`. Messages in slots are kept. */
	stop(now: number): void {
		this.#advance(now);
		this.#isStopping = true;
		if (this.#state === State.connected) this.#leave(Status.ok, true);
		else if (this.#state === State.connecting) this.#leave(Status.ok, false);
		else if (this.#state !== State.closing) {
			const wasOpening = this.#state === State.opening;
			this.#state = State.stopped;
			if (wasOpening) this.#listener.disconnected(Status.ok);
		}
	}

	/** Undoes `stop`. A new machine is started. */
	start(now: number): void {
		this.#advance(now);
		this.#isStopping = false;
		if (this.#state !== State.stopped) return;
		this.#state = State.waiting;
		this.#stateUntil = this.#now;
	}

	// ---- time

	#advance(now: number): void {
		if (now > this.#now) this.#now = now;
		if (this.#hasSent) {
			this.#hasSent = false;
			this.#sentAt = this.#now;
			if (this.#isProgressNew) {
				this.#isProgressNew = false;
				this.#progressAt = this.#now;
			}
		}
	}

	/** Three quarters of the keep-alive after the last byte in either direction, so that a half-open link is found. */
	#pingDueAt(): number {
		return Math.min(this.#sentAt, this.#receivedAt) + this.#keepAliveMilliseconds * 0.75;
	}

	// ---- the end of a connection

	/** Leaves because of `status`. @returns `status`, counted */
	#fail(status: Status): Status {
		this.counters.count(status);
		this.#leave(status, this.#settings.protocolVersion === 5 && this.#state === State.connected);
		return status;
	}

	#leave(status: Status, withGoodbye: boolean): void {
		this.#isGoodbyeWanted = withGoodbye;
		if (!withGoodbye) this.#sourceAt = this.#sourceEnd; // not even the rest of a packet
		this.#endStatus = status;
		this.#state = State.closing;
		this.#stateUntil = this.#now + this.#responseTimeout;
		this.#filled = 0;
		this.#expected = 0;
		this.#skip = 0;
		this.#listener.disconnected(status);
	}

	/** The link went without being asked to. */
	#end(status: Status): void {
		this.#endStatus = status;
		this.#state = State.closing;
		this.#listener.disconnected(status);
	}

	/** The link is closed: forgets what belonged to the connection and sets the time of the next one. */
	#retryLater(): void {
		this.#sourceSlot = -1;
		this.#sourceAt = 0;
		this.#sourceEnd = 0;
		this.#filled = 0;
		this.#expected = 0;
		this.#skip = 0;
		this.#isConnectWanted = false;
		this.#isPingWanted = false;
		this.#isPingOut = false;
		this.#isGoodbyeWanted = false;
		this.#acknowledgeCount = 0;
		this.#outstanding = 0;
		this.#isProgressNew = false;
		this.#hasSent = false;
		this.#inFlight.connectionLost();
		for (let i = 0; i < this.#subscriptions.length; i++) {
			const subscription = this.#subscriptions[i]!;
			if (subscription.state !== SubscriptionState.granted) subscription.state = SubscriptionState.wanted;
		}
		if (this.#isStopping) {
			this.#state = State.stopped;
			return;
		}
		const { backOffMinimumMilliseconds: minimum, backOffMaximumMilliseconds: maximum } = this.#settings;
		const lived = this.#connectedAt >= 0 ? this.#now - this.#connectedAt : 0;
		this.#connectedAt = -1;
		if (isRefusal(this.#endStatus)) {
			// Nothing that this machine could change by itself: half to all of the maximum.
			this.#backOff = maximum * (0.5 + 0.5 * this.#random());
		} else {
			// Decorrelated jitter. A connection that lived longer than the last wait starts over, so a broker that
			// accepts and closes at once, or two clients with one name, do not make a tight loop.
			const last = lived > this.#backOff ? minimum : this.#backOff;
			this.#backOff = Math.min(maximum, minimum + this.#random() * (3 * last - minimum));
		}
		this.#state = State.waiting;
		this.#stateUntil = this.#now + this.#backOff;
	}

	// ---- receiving

	#makeParser(): PacketParser {
		const parser = packetLibrary.parser({ protocolVersion: this.#settings.protocolVersion });
		parser.on("packet", (packet) => {
			this.#parsed = packet;
			this.#parsedCount++;
		});
		parser.on("error", () => {
			this.#isParseError = true;
		});
		return parser;
	}

	/** The last byte of the remaining length is here. */
	#header(lastByte: number): Status {
		const incoming = this.#incoming;
		if (lastByte >= 0x80 || (lastByte === 0 && this.#filled > 2)) return Status.corrupt; // MQTT-24: [MQTT-1.5.5-1]
		let size = 0;
		for (let i = this.#filled - 1; i >= 1; i--) size = size * 128 + (incoming[i]! & 0x7f);
		this.#headerBytes = this.#filled;
		const total = this.#filled + size;
		const isPublish = incoming[0]! >> 4 === PacketType.publish;
		if (this.#state === State.connecting && incoming[0]! >> 4 !== PacketType.connack) return Status.protocolError; // MQTT-25
		if (total <= incoming.length) {
			this.#expected = total;
			return Status.ok;
		}
		// MQTT-26. An MQTT 5 broker knows packetBytesMax. An older one does not, and would send a stored message again
		// and again, so there it is read over and acknowledged.
		if (!isPublish || this.#settings.protocolVersion === 5 || total > SKIP_BYTES_MAX) return Status.badLength;
		this.#expected = incoming.length;
		this.#skip = total - incoming.length;
		return Status.ok;
	}

	/** A too large PUBLISH has passed; its beginning is in the buffer. */
	#skipped(): Status {
		const incoming = this.#incoming;
		const qos = (incoming[0]! >> 1) & 3;
		const at = this.#headerBytes + 2 + ((incoming[this.#headerBytes]! << 8) | incoming[this.#headerBytes + 1]!);
		if (qos > 1 || at + 2 > incoming.length) return Status.badLength;
		const identifier = (incoming[at]! << 8) | incoming[at + 1]!;
		if (qos === 1 && identifier === 0) return Status.protocolError;
		this.skippedCount++;
		this.counters.count(Status.badLength);
		return qos === 1 ? this.#queueAcknowledge(identifier) : Status.ok;
	}

	/** One whole packet is in the buffer. */
	#packet(): Status {
		const { protocolVersion } = this.#settings;
		const checked = this.#check.check(this.#headerBytes, this.#expected, protocolVersion);
		if (checked !== Status.ok) return this.#fail(checked);
		this.#parsed = undefined;
		this.#parsedCount = 0;
		this.#isParseError = false;
		let isWhole = false;
		try {
			isWhole = this.#parser.parse(this.#incoming.subarray(0, this.#expected)) === 0;
		} catch {
			this.#isParseError = true;
		}
		const packet = this.#parsed as IncomingPacket | undefined;
		this.#parsed = undefined;
		if (this.#isParseError || !isWhole || this.#parsedCount !== 1 || packet === undefined) {
			this.#parser = this.#makeParser(); // it may hold half a packet
			return this.#fail(Status.corrupt);
		}
		if (this.#state === State.connecting)
			return packet.cmd === "connack" ? this.#connack(packet) : this.#fail(Status.protocolError);
		switch (packet.cmd) {
			case "publish":
				return this.#message(packet);
			case "puback":
				return this.#puback(packet);
			case "suback":
				return this.#suback(packet);
			case "pingresp":
				this.#isPingOut = false;
				this.#isPingWanted = false;
				return Status.ok;
			case "disconnect":
				return this.#disconnectedByPeer(packet.reasonCode ?? 0);
			default:
				return this.#fail(Status.protocolError); // a second CONNACK
		}
	}

	#connack(packet: IncomingPacket): Status {
		const settings = this.#settings;
		const code = (settings.protocolVersion === 5 ? packet.reasonCode : packet.returnCode) ?? -1;
		if (code !== 0) {
			this.lastReasonCode = code;
			return this.#fail(statusOfConnack(settings.protocolVersion, code));
		}
		const isSessionPresent = packet.sessionPresent === true;
		// MQTT-27: [MQTT-3.2.2-1]. Without cleanSession a session is taken up even after this client lost its memory:
		// the filters are in the firmware, and unacknowledged messages are in the meter's store with their own numbers.
		if (isSessionPresent && settings.cleanSession) return this.#fail(Status.protocolError);
		const properties = packet.properties;
		this.#keepAliveMilliseconds = (properties?.serverKeepAlive ?? settings.keepAliveSeconds) * 1_000;
		this.#sendMaximum = properties?.receiveMaximum ?? 65_535;
		this.#sendBytesMax = properties?.maximumPacketSize ?? 0x1000_0000;
		this.#takesQos1 = properties?.maximumQoS !== 0;
		this.#takesRetain = properties?.retainAvailable !== false;
		this.#takesWildcards = properties?.wildcardSubscriptionAvailable !== false;
		this.#takesShared = properties?.sharedSubscriptionAvailable !== false;
		this.#state = State.connected;
		this.#connectedAt = this.#now;
		this.connectionCount++;
		this.lastReasonCode = 0;
		this.resentCount += this.#inFlight.connectionAccepted(isSessionPresent);
		for (let i = 0; i < this.#subscriptions.length; i++) {
			const subscription = this.#subscriptions[i]!;
			if (!isSessionPresent) subscription.state = SubscriptionState.wanted;
		}
		this.#listener.connected(isSessionPresent);
		return Status.ok;
	}

	#message(packet: IncomingPacket): Status {
		const payload = packet.payload;
		const topic = packet.topic;
		if (payload === null || topic === null) return this.#fail(Status.corrupt);
		this.#listener.message(topic, payload, payload.length);
		if (packet.qos === 0 || this.#state !== State.connected) return Status.ok;
		const status = this.#queueAcknowledge(packet.messageId ?? 0);
		return status === Status.ok ? Status.ok : this.#fail(status);
	}

	/** @returns `busy` when the broker sends faster than acknowledgements can leave: it sends this message again later */
	#queueAcknowledge(identifier: number): Status {
		if (this.#acknowledgeCount === ACKNOWLEDGE_MAX) return Status.busy; // MQTT-28
		this.#acknowledge[(this.#acknowledgeHead + this.#acknowledgeCount++) & (ACKNOWLEDGE_MAX - 1)] = identifier;
		return Status.ok;
	}

	#puback(packet: IncomingPacket): Status {
		const inFlight = this.#inFlight;
		const handle = packet.messageId ?? 0;
		const slot = inFlight.find(handle);
		if (slot < 0 || !inFlight.isSent(slot) || !inFlight.isQos1(slot)) {
			this.counters.count(Status.notFound); // MQTT-29: late or invented; harmless
			return Status.ok;
		}
		if (slot === this.#sourceSlot) return this.#fail(Status.protocolError); // MQTT-30
		inFlight.finish(slot);
		this.#progress();
		const reasonCode = packet.reasonCode ?? 0;
		if (reasonCode < 0x80) this.#listener.published(handle);
		else {
			this.counters.count(Status.refusedByPeer);
			this.#listener.refused(handle, reasonCode);
		}
		return Status.ok;
	}

	#suback(packet: IncomingPacket): Status {
		const identifier = packet.messageId ?? 0;
		const code = packet.granted?.[0] ?? 0x80;
		for (let i = 0; i < this.#subscriptions.length; i++) {
			const subscription = this.#subscriptions[i]!;
			if (subscription.state !== SubscriptionState.sent || subscription.packetIdentifier !== identifier) continue;
			if (code < 0x80 && code > subscription.qos) return this.#fail(Status.protocolError); // MQTT-31: [MQTT-3.8.4-8]
			this.#progress();
			if (code < 0x80) subscription.state = SubscriptionState.granted;
			else this.#refuseSubscription(subscription, code);
			return Status.ok;
		}
		this.counters.count(Status.notFound);
		return Status.ok;
	}

	#refuseSubscription(subscription: Subscription, reasonCode: number): void {
		subscription.state = SubscriptionState.refused;
		this.counters.count(Status.refusedByPeer);
		this.#listener.subscriptionRefused(subscription.topicFilter, reasonCode);
	}

	/** MQTT 5: the broker says why it closes. */
	#disconnectedByPeer(reasonCode: number): Status {
		this.lastReasonCode = reasonCode;
		let status: Status = Status.linkDown;
		switch (reasonCode) {
			case 0x87: // not authorized
			case 0x8e: // session taken over: another client has our name
			case 0x98: // administrative action
			case 0x9c: // use another server
			case 0x9d: // server moved
				status = Status.refusedByPeer;
				break;
			case 0x89: // server busy
			case 0x96: // message rate too high
			case 0x97: // quota exceeded
			case 0x9f: // connection rate exceeded
				status = Status.busy;
				break;
			case 0x81:
			case 0x82:
			case 0x93:
			case 0x94:
			case 0x95:
				status = Status.protocolError;
				break;
			default:
		}
		this.counters.count(status);
		this.#leave(status, false); // [MQTT-3.14.4-1]: nothing more is sent
		return status;
	}

	/** An acknowledgement came. */
	#progress(): void {
		this.#outstanding--;
		this.#progressAt = this.#now;
	}

	// ---- sending

	/** Something that will be acknowledged goes out. */
	#expectAcknowledgement(): void {
		if (this.#outstanding++ === 0) {
			this.#progressAt = this.#now;
			this.#isProgressNew = true;
		}
	}

	/** Chooses the next packet. @returns false for none */
	#nextSource(): boolean {
		switch (this.#state) {
			case State.connecting:
				if (!this.#isConnectWanted) return false;
				this.#isConnectWanted = false;
				return this.#sendControl(this.#connectPacket());
			case State.closing:
				if (!this.#isGoodbyeWanted) return false;
				this.#isGoodbyeWanted = false;
				return this.#sendControl({ cmd: "disconnect", reasonCode: reasonOf(this.#endStatus) });
			case State.connected:
				// A listener may have called `stop`: then the goodbye is next.
				return this.#nextConnectedSource() || (this.isClosing && this.#nextSource());
			default:
				return false;
		}
	}

	#nextConnectedSource(): boolean {
		if (this.#acknowledgeCount > 0) {
			const messageId = this.#acknowledge[this.#acknowledgeHead]!;
			this.#acknowledgeHead = (this.#acknowledgeHead + 1) & (ACKNOWLEDGE_MAX - 1);
			this.#acknowledgeCount--;
			return this.#sendControl({ cmd: "puback", messageId, reasonCode: 0 });
		}
		if (this.#isPingWanted) {
			this.#isPingWanted = false;
			return this.#sendControl({ cmd: "pingreq" });
		}
		for (let i = 0; i < this.#subscriptions.length; i++) {
			const subscription = this.#subscriptions[i]!;
			if (subscription.state !== SubscriptionState.wanted) continue;
			if (this.#sendSubscribe(subscription)) return true;
			if (this.#state !== State.connected) return false;
		}
		const inFlight = this.#inFlight;
		for (let slot = inFlight.firstQueued(); slot >= 0; slot = inFlight.firstQueued()) {
			const reasonCode = this.#whyNot(slot);
			if (reasonCode !== 0) {
				const handle = inFlight.identifier(slot);
				inFlight.finish(slot);
				this.counters.count(Status.unsupported);
				this.#listener.refused(handle, reasonCode);
				if (this.#state !== State.connected) return false;
				continue;
			}
			const isQos1 = inFlight.isQos1(slot);
			if (isQos1 && this.#outstanding >= this.#sendMaximum) return false;
			if (isQos1) this.#expectAcknowledgement();
			inFlight.markSent(slot);
			this.#source = inFlight.bytes;
			this.#sourceAt = slot * inFlight.slotBytes;
			this.#sourceEnd = this.#sourceAt + inFlight.byteLength(slot);
			this.#sourceSlot = slot;
			return true;
		}
		return false;
	}

	/** The reason code for which this message must not go to this broker; 0: it may. */
	#whyNot(slot: number): number {
		const inFlight = this.#inFlight;
		if (inFlight.byteLength(slot) > this.#sendBytesMax) return Reason.packetTooLarge;
		if (!this.#takesQos1 && inFlight.isQos1(slot)) return Reason.qosNotSupported;
		if (!this.#takesRetain && inFlight.isRetain(slot)) return Reason.retainNotSupported;
		return 0;
	}

	#sendSubscribe(subscription: Subscription): boolean {
		const { topicFilter, qos } = subscription;
		if (!this.#takesShared && topicFilter.startsWith("$share/")) {
			this.#refuseSubscription(subscription, Reason.sharedSubscriptionsNotSupported);
			return false;
		}
		if (!this.#takesWildcards && (topicFilter.includes("#") || topicFilter.includes("+"))) {
			this.#refuseSubscription(subscription, Reason.wildcardSubscriptionsNotSupported);
			return false;
		}
		const messageId = this.#nextIdentifier();
		const size = this.#encodeControl({ cmd: "subscribe", messageId, subscriptions: [{ topic: topicFilter, qos }] });
		if (!size || this.#sourceEnd > this.#sendBytesMax) {
			this.#sourceAt = this.#sourceEnd;
			this.#refuseSubscription(subscription, Reason.packetTooLarge);
			return false;
		}
		subscription.packetIdentifier = messageId;
		subscription.state = SubscriptionState.sent;
		this.#expectAcknowledgement();
		return true;
	}

	#sendControl(packet: OutgoingPacket): boolean {
		if (!this.#encodeControl(packet)) throw new InvariantError("mqtt: " + packet.cmd + " cannot be encoded");
		return true;
	}

	/** Makes a packet in the control buffer the next source. @returns false when it does not fit */
	#encodeControl(packet: OutgoingPacket): boolean {
		const size = this.#writer.encode(packet, this.#control, 0, this.#control.length);
		this.#source = this.#control;
		this.#sourceAt = 0;
		this.#sourceEnd = size;
		return size > 0;
	}

	#connectPacket(): OutgoingPacket {
		const settings = this.#settings;
		const packet: Record<string, unknown> & { cmd: string } = {
			cmd: "connect",
			protocolId: "MQTT",
			protocolVersion: settings.protocolVersion,
			clean: settings.cleanSession,
			clientId: settings.clientIdentifier,
			keepalive: settings.keepAliveSeconds,
		};
		if (settings.username !== undefined) packet["username"] = settings.username;
		if (settings.password !== undefined) packet["password"] = settings.password;
		if (settings.will !== undefined) packet["will"] = settings.will;
		if (settings.protocolVersion === 5) {
			packet["properties"] = {
				sessionExpiryInterval: settings.cleanSession ? 0 : settings.sessionExpirySeconds,
				receiveMaximum: ACKNOWLEDGE_MAX,
				maximumPacketSize: settings.packetBytesMax,
				requestProblemInformation: false,
			};
		}
		return packet;
	}

	/** A packet identifier that is not in use [MQTT-2.2.1-3]. */
	#nextIdentifier(): number {
		for (;;) {
			this.#lastIdentifier = this.#lastIdentifier >= 65_535 ? 1 : this.#lastIdentifier + 1;
			const identifier = this.#lastIdentifier;
			if (this.#inFlight.find(identifier) >= 0) continue;
			let isFree = true;
			for (let i = 0; i < this.#subscriptions.length; i++) {
				const subscription = this.#subscriptions[i]!;
				if (subscription.state === SubscriptionState.sent && subscription.packetIdentifier === identifier)
					isFree = false;
			}
			if (isFree) return identifier;
		}
	}
}

/** A CONNACK or DISCONNECT that only a person can help: long back-off. */
function isRefusal(status: Status): boolean {
	return (
		status === Status.badVersion ||
		status === Status.badValue ||
		status === Status.refusedByPeer ||
		status === Status.unsupported
	);
}
