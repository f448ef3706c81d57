import { Status, StatusCounters } from "../bytes/status.js";
import { Source } from "../commands/authorisation.js";
import type { Arrival } from "../commands/command-handler.js";
import { CONTENT_PREFIX_BYTES } from "../messages/channel.js";
import { type Control, createControl, decodeControl, encodeControl } from "../messages/control.js";
import { createEventEntry, EVENT_ENTRIES_MAX, encodeEventEntry, encodeEventsHeader } from "../messages/events.js";
import { createHello, encodeHello, type Hello } from "../messages/hello.js";
import { Kind, MESSAGE_BYTES_MAX } from "../messages/kinds.js";
import {
	createProfileRow as createWireRow,
	encodeProfileHeader,
	encodeProfileRow,
	PROFILE_ROWS_MAX,
} from "../messages/profile.js";
import { createReading, encodeReading, type Reading } from "../messages/reading.js";
import { onlineTopic, stateTopic, upTopic } from "../messages/topics.js";
import { MqttLink } from "../mqtt/mqtt-link.js";
import { type MqttListener, MqttMachine } from "../mqtt/mqtt-machine.js";
import type { Clock } from "../platform/clock.js";
import type { Link } from "../platform/link.js";
import { createEventRecord, type EventStore } from "../storage/event-store.js";
import { createProfileRow, type ProfileStore } from "../storage/profile-store.js";
import { type Channel, SUBSCRIPTIONS_MAX } from "./channel.js";
import { discoveryPayload, discoveryTopic, sensorCount, statePayload } from "./home-assistant.js";
import type { Settings } from "./settings.js";

/** An answer that is not ready: the uplink asks again with the next second. */
export const LATER = -1;

/** What the uplink asks of the meter. */
export interface UplinkSource {
	fillHello(into: Hello): void;
	/** @returns false while there is nothing good to publish (no window yet, registers not loaded) */
	fillReading(into: Reading): boolean;
	/** Writes a whole message. @returns bytes */
	encodeSnapshot(requestId: number, into: DataView): number;
	/** @returns bytes, or `LATER` while samples are gathered */
	encodeCapture(requestId: number, into: DataView): number;
	encodeDiagnostics(requestId: number, into: DataView): number;
	/** Whether a message of this kind is for `messageReceived`. */
	takes(kind: number): boolean;
	/** A command, or a question about commands. */
	messageReceived(arrival: Arrival, bytes: Uint8Array, offset: number, byteLength: number): Status;
	/** Receipts and audit rows that are due. @returns bytes, 0 for none */
	encodeAnswer(into: DataView): number;
	/** What `encodeAnswer` wrote last is on its way. */
	answerSent(): void;
}

/** A request that is being answered, a message at a time. */
interface Request {
	kind: number;
	requestId: number;
	/** profile and events: next sequence and how many are left. */
	next: number;
	left: number;
	answered: boolean;
}

/** Slots for outgoing messages; with the two buffers of the machine 5 × 1152 bytes. */
const IN_FLIGHT_MAX = 3;
const PACKET_BYTES_MAX = 1152;
/** A reading goes to the link in one piece, the largest message in three. */
const LINK_BUFFER_BYTES = 512;
/** Requests that wait for their turn; one more is answered with `busy`. */
const REQUESTS_MAX = 6;
/** Payloads of the retained online topic. */
const ONLINE = Uint8Array.of(0x31);
const OFFLINE = Uint8Array.of(0x30);

/**
 * The meter's side of the talk with the head end: what is said when, over one MQTT connection. Rows and events come
 * from flash, so that whatever a lost link, a full window or a restart leaves out is still there to be asked for.
 */
export class Uplink implements MqttListener {
	readonly machine: MqttMachine;
	readonly link: MqttLink;
	/** How received messages were answered. */
	readonly refusals = new StatusCounters();
	messagesSent = 0;
	messagesReceived = 0;
	/** Publish a reading this often, ms. */
	readingPeriodMilliseconds: number;

	readonly #clock: Clock;
	readonly #channel: Channel;
	readonly #source: UplinkSource;
	readonly #profile: ProfileStore;
	readonly #events: EventStore;
	readonly #settings: Settings;
	readonly #firmware: string;
	readonly #upTopic: string;
	readonly #onlineTopic: string;
	readonly #stateTopic: string;

	/** The prefix of the channel, then the message. */
	readonly #content = new Uint8Array(CONTENT_PREFIX_BYTES + MESSAGE_BYTES_MAX);
	/** Of the message. */
	readonly #view = new DataView(this.#content.buffer, CONTENT_PREFIX_BYTES);
	readonly #sealed: Uint8Array;
	readonly #control: Control = createControl();

	/** At most `REQUESTS_MAX`, in the order of their turns. */
	readonly #requests: Request[] = [];
	#onlineWanted = false;
	#helloWanted = false;
	#discoveryNext = Number.POSITIVE_INFINITY;
	/** The reading that Home Assistant is still to be told. */
	#stateReading: Reading | undefined;
	/** Next row and event to be sent unasked. */
	#profileNext: number;
	#eventNext: number;
	#readingDue = 0;

	constructor(
		settings: Settings,
		firmware: string,
		clock: Clock,
		link: Link,
		random: () => number,
		channel: Channel,
		source: UplinkSource,
		profile: ProfileStore,
		events: EventStore,
	) {
		this.#settings = settings;
		this.#firmware = firmware;
		this.#clock = clock;
		this.#channel = channel;
		this.#source = source;
		this.#profile = profile;
		this.#events = events;
		this.#profileNext = profile.nextSequence;
		this.#eventNext = events.nextSequence;
		this.#upTopic = upTopic(settings.identifier);
		this.#onlineTopic = onlineTopic(settings.identifier);
		this.#stateTopic = stateTopic(settings.identifier);
		this.#sealed = new Uint8Array(this.#content.length + channel.overheadBytesMax);
		this.readingPeriodMilliseconds = settings.readingSeconds * 1000;
		const { username, password, ...mqtt } = settings.mqtt;
		this.machine = new MqttMachine(
			{
				...mqtt,
				...(username === undefined ? {} : { username }),
				...(password === undefined ? {} : { password }),
				clientIdentifier: `wl-${settings.identifier}`,
				will: { topic: this.#onlineTopic, payload: OFFLINE, qos: 1, retain: true },
				backOffMinimumMilliseconds: 1000,
				backOffMaximumMilliseconds: 60_000,
				inFlightMax: IN_FLIGHT_MAX,
				packetBytesMax: PACKET_BYTES_MAX,
				subscriptionMax: SUBSCRIPTIONS_MAX,
			},
			this,
			random,
		);
		this.subscribe();
		this.link = new MqttLink(this.machine, link, clock, LINK_BUFFER_BYTES);
	}

	/** Subscribes to what the channel wants to hear; again after it got keys. */
	subscribe(): void {
		for (const topic of this.#channel.topics()) this.machine.subscribe(topic, 1);
	}

	// ---- what the MQTT machine tells

	connected(_sessionPresent: boolean): void {
		const now = this.#clock.monotonicMilliseconds();
		this.#onlineWanted = true;
		this.#helloWanted = true;
		this.#requests.length = 0; // the concentrator asks again after a hello
		this.#readingDue = now;
		if (this.#settings.homeAssistant) this.#discoveryNext = 0;
		this.#channel.connected(now);
		this.#fill();
	}

	disconnected(_status: Status): void {
		this.#channel.disconnected();
	}

	published(_handle: number): void {
		this.#fill();
	}

	refused(_handle: number, _reasonCode: number): void {
		// The rows and events in it are still in flash, and the concentrator sees the gap.
		this.refusals.count(Status.refusedByPeer);
		this.#fill();
	}

	subscriptionRefused(_topicFilter: string, _reasonCode: number): void {
		this.refusals.count(Status.refusedByPeer);
	}

	message(topic: string, payload: Uint8Array, byteLength: number): void {
		this.messagesReceived++;
		this.refusals.count(this.#received(topic, payload, byteLength));
		this.#fill();
	}

	#received(topic: string, payload: Uint8Array, byteLength: number): Status {
		const now = this.#clock.monotonicMilliseconds();
		const channel = this.#channel;
		let status = channel.receive(now, topic, payload, byteLength, this.#content);
		if (status !== Status.ok || channel.messageBytes === 0) return status;
		const { arrival, messageBytes } = channel;
		if (this.#source.takes(this.#view.getUint8(0)))
			return this.#source.messageReceived(arrival, this.#content, CONTENT_PREFIX_BYTES, messageBytes);
		if (arrival.source !== Source.headEnd) return Status.notAuthorised; // UPL-1
		if (arrival.isExpired) return Status.expired; // UPL-2
		const control = this.#control;
		status = decodeControl(this.#view, messageBytes, control);
		if (status !== Status.ok) return status;
		switch (control.kind) {
			case Kind.configure:
				this.readingPeriodMilliseconds = control.first * 1000;
				this.#readingDue = now;
				return this.#enqueue(Kind.configure, 0);
			case Kind.profileRequest:
			case Kind.eventsRequest:
				return this.#enqueue(control.kind, control.second);
			case Kind.captureRequest:
			case Kind.snapshotRequest:
			case Kind.diagnosticsRequest:
				return this.#enqueue(control.kind, 1);
			default:
				return Status.badKind; // a message that goes up
		}
	}

	#enqueue(kind: number, left: number): Status {
		if (this.#requests.length === REQUESTS_MAX) return Status.busy;
		const { requestId, first } = this.#control;
		this.#requests.push({ kind, requestId, next: first, left, answered: false });
		return Status.ok;
	}

	/** Answers as if the head end had asked, under request 0. */
	sendProfile(firstSequence: number, count: number): Status {
		this.#control.requestId = 0;
		this.#control.first = firstSequence;
		return this.#enqueue(Kind.profileRequest, count);
	}

	// ---- what the meter tells

	/** There is a new row or event, or the period of readings ended: sends what can be sent. */
	pump(): void {
		this.#fill();
		this.link.pump();
	}

	tick(): void {
		this.#channel.tick(this.#clock.monotonicMilliseconds());
		this.link.tick();
		this.pump();
	}

	deadlineMilliseconds(): number {
		const deadline = this.link.deadlineMilliseconds();
		if (!this.machine.isConnected || this.machine.freeSlots === 0) return deadline;
		const due = this.#channel.deadlineMilliseconds();
		return this.#channel.isReady ? Math.min(deadline, due, this.#readingDue) : Math.min(deadline, due);
	}

	/** Fills the window in order of importance. Nothing is kept while the link is down: it is in flash, or it is stale. */
	#fill(): void {
		while (this.machine.isConnected && this.machine.freeSlots > 0) if (!this.#sendNext()) return;
	}

	/** @returns false when nothing is left to send */
	#sendNext(): boolean {
		const now = this.#clock.monotonicMilliseconds();
		if (this.#onlineWanted) {
			this.#onlineWanted = false;
			this.machine.publish(this.#onlineTopic, ONLINE, 1, 1, true);
			return true;
		}
		const own = this.#channel.transmit(now, this.#sealed);
		if (own > 0) {
			this.machine.publish(this.#upTopic, this.#sealed, own, 1, false);
			return true;
		}
		if (!this.#channel.isReady) return false;
		if (this.#helloWanted) {
			const hello = createHello();
			this.#source.fillHello(hello);
			if (this.#send(encodeHello(hello, this.#view))) this.#helloWanted = false;
			return !this.#helloWanted;
		}
		const answer = this.#source.encodeAnswer(this.#view);
		if (answer > 0) {
			if (!this.#send(answer)) return false;
			this.#source.answerSent();
			return true;
		}
		if (this.#requests.length > 0 && this.#answer()) return true;
		if (this.#eventNext < this.#events.nextSequence) {
			const count = this.#encodeEvents(0, this.#eventNext, this.#events.nextSequence - this.#eventNext);
			this.#eventNext = this.#afterSequence;
			return count === 0 || this.#send(count);
		}
		if (this.#profileNext < this.#profile.nextSequence) {
			const count = this.#encodeRows(0, this.#profileNext, this.#profile.nextSequence - this.#profileNext);
			this.#profileNext = this.#afterSequence;
			return count === 0 || this.#send(count);
		}
		if (now >= this.#readingDue) {
			this.#readingDue = now + this.readingPeriodMilliseconds;
			const reading = createReading();
			if (!this.#source.fillReading(reading)) return true;
			if (this.#settings.homeAssistant) this.#stateReading = reading;
			return this.#send(encodeReading(reading, this.#view));
		}
		if (this.#discoveryNext < sensorCount(this.#settings.layout.phaseCount)) {
			const index = this.#discoveryNext++;
			const { identifier } = this.#settings;
			this.#publishText(discoveryTopic(identifier, index), discoveryPayload(identifier, index, this.#firmware), true);
			return true;
		}
		if (this.#stateReading !== undefined) {
			const text = statePayload(this.#stateReading);
			this.#stateReading = undefined;
			this.#publishText(this.#stateTopic, text, false);
			return true;
		}
		return false;
	}

	#send(byteLength: number): boolean {
		const sealedLength = this.#channel.seal(this.#content, CONTENT_PREFIX_BYTES + byteLength, this.#sealed);
		if (sealedLength === 0) return false;
		if (this.machine.publish(this.#upTopic, this.#sealed, sealedLength, 1, false) === 0) return false;
		this.messagesSent++;
		return true;
	}

	#publishText(topic: string, text: string, retain: boolean): void {
		const byteLength = Math.min(text.length, this.#sealed.length);
		for (let i = 0; i < byteLength; i++) this.#sealed[i] = text.charCodeAt(i); // ASCII only
		this.machine.publish(topic, this.#sealed, byteLength, 1, retain);
	}

	// ---- answers

	/** One message of the request whose turn it is. */
	#answer(): boolean {
		const request = this.#requests[0]!;
		let byteLength = 0;
		if (request.left > 0) {
			switch (request.kind) {
				case Kind.profileRequest:
					byteLength = this.#encodeRows(request.requestId, request.next, request.left);
					request.left -= this.#afterSequence - request.next;
					request.next = this.#afterSequence;
					break;
				case Kind.eventsRequest:
					byteLength = this.#encodeEvents(request.requestId, request.next, request.left);
					request.left -= this.#afterSequence - request.next;
					request.next = this.#afterSequence;
					break;
				case Kind.captureRequest:
					byteLength = this.#source.encodeCapture(request.requestId, this.#view);
					if (byteLength === LATER) return this.#rotate(request);
					request.left = 0;
					break;
				case Kind.snapshotRequest:
					byteLength = this.#source.encodeSnapshot(request.requestId, this.#view);
					request.left = 0;
					break;
				default:
					byteLength = this.#source.encodeDiagnostics(request.requestId, this.#view);
					request.left = 0;
			}
			if (byteLength > 0) {
				request.answered = true;
				return this.#send(byteLength);
			}
			if (request.left > 0) return true;
		}
		const acknowledge = createControl();
		acknowledge.kind = Kind.acknowledge;
		acknowledge.requestId = request.requestId;
		acknowledge.first = request.kind;
		acknowledge.second = request.answered || request.kind === Kind.configure ? Status.ok : Status.notFound;
		this.#requests.shift();
		return this.#send(encodeControl(acknowledge, this.#view));
	}

	/** Puts a request that must wait behind the others. @returns whether another one can be answered now */
	#rotate(request: Request): boolean {
		if (this.#requests.length === 1) return false;
		this.#requests.shift();
		this.#requests.push(request);
		return this.#requests[0]!.kind !== Kind.captureRequest;
	}

	/** The sequence after the last one that the two encoders below have looked at. */
	#afterSequence = 0;

	/** Rows from `first` on, as many as fit, those that flash does not hold left out. @returns bytes, 0 for no row */
	#encodeRows(requestId: number, first: number, count: number): number {
		const profile = this.#profile;
		const end = Math.min(first + count, profile.nextSequence);
		let sequence = Math.max(first, profile.oldestSequence);
		let rowCount = 0;
		const row = createProfileRow();
		const wire = createWireRow();
		for (; sequence < end && rowCount < PROFILE_ROWS_MAX; sequence++) {
			if (profile.read(sequence, row) !== Status.ok) continue;
			wire.sequence = sequence;
			wire.intervalStartSeconds = row.intervalStartSeconds;
			wire.durationSeconds = row.durationSeconds;
			wire.status = row.status;
			wire.tariff = row.tariff;
			wire.activeEnergyImport = row.activeImportMilliwattHours;
			wire.activeEnergyExport = row.activeExportMilliwattHours;
			wire.reactiveEnergyImport = row.reactiveImportMillivarHours;
			wire.reactiveEnergyExport = row.reactiveExportMillivarHours;
			encodeProfileRow(wire, rowCount++, this.#view);
		}
		// Beyond what there is: the whole range is done.
		this.#afterSequence = sequence >= end ? first + count : sequence;
		return rowCount === 0 ? 0 : encodeProfileHeader(requestId, rowCount, this.#view);
	}

	#encodeEvents(requestId: number, first: number, count: number): number {
		const events = this.#events;
		const end = Math.min(first + count, events.nextSequence);
		let sequence = Math.max(first, events.oldestSequence);
		let entryCount = 0;
		const event = createEventRecord();
		const entry = createEventEntry();
		for (; sequence < end && entryCount < EVENT_ENTRIES_MAX; sequence++) {
			if (events.read(sequence, event) !== Status.ok) continue;
			entry.sequence = sequence;
			entry.utcSeconds = event.utcSeconds;
			entry.code = event.code;
			entry.detail = event.detail;
			encodeEventEntry(entry, entryCount++, this.#view);
		}
		this.#afterSequence = sequence >= end ? first + count : sequence;
		return entryCount === 0 ? 0 : encodeEventsHeader(requestId, entryCount, this.#view);
	}
}
