import type { Beacon } from "../broadcast/broadcast-messages.js";
import { type BroadcastListener, BroadcastReceiver } from "../broadcast/broadcast-receiver.js";
import { type Anchor, createAnchor, encodeAnchorRequest, verifyAnchor } from "../broadcast/calendar.js";
import { Chain } from "../broadcast/tesla.js";
import { Status, StatusCounters, statusName } from "../bytes/status.js";
import { Source } from "../commands/authorisation.js";
import { encodeFlashCommand } from "../commands/flash-command.js";
import { type Crypto, NO_BYTES } from "../crypto/crypto.js";
import type { RandomSource } from "../crypto/drbg.js";
import { Branch, UNACKNOWLEDGED_MAX } from "../key-store/chains.js";
import type { KeyStore } from "../key-store/key-store.js";
import { UNICAST_OVERHEAD_BYTES, UnicastType } from "../key-store/unicast.js";
import {
	CATCHUP_KEY,
	CATCHUP_REQUEST_DOWN_NEXT,
	CATCHUP_REQUEST_HEAD,
	CATCHUP_REQUEST_TRAILER_BYTES,
	CONTENT_PREFIX_BYTES,
	createCatchUp,
	createTimeContent,
	decodeCatchUp,
	decodeTime,
	NONCE_BYTES,
	TIME_REQUEST_TRAILER_BYTES,
	type TimeContent,
	WHOLE_DAY,
} from "../messages/channel.js";
import { allTopic, anchorTopic, downTopic } from "../messages/topics.js";
import type { Log } from "../platform/log.js";
import {
	type Channel,
	type ChannelListener,
	ROUND_TRIP_MAX_MILLISECONDS,
	TIME_PERIOD_MILLISECONDS,
	TIME_RETRY_MILLISECONDS,
} from "./channel.js";

const CATCHUP_RETRY_FIRST_MILLISECONDS = 10_000;
const CATCHUP_RETRY_MAX_MILLISECONDS = 600_000;
const CATCHUP_SPACING_MILLISECONDS = 600_000;
/** After a new day the questions of a domain are spread over this time. */
const SPREAD_MILLISECONDS = 60_000;
/** So many messages without a sign of the head end, and the meter asks for one. */
const ASK_AFTER_MESSAGES = UNACKNOWLEDGED_MAX / 2;
/** A retained anchor comes by itself; one that got lost is asked for after this time. */
const ANCHOR_PATIENCE_SECONDS = 120;
const ANCHOR_RETRY_FIRST_MILLISECONDS = 900_000;
const ANCHOR_RETRY_MAX_MILLISECONDS = 7_200_000;
const DAY_SECONDS = 86_400;
/** An event that a flash command began ends by itself. */
const FLASH_SECONDS = 3600;
/** Yesterday's chains are kept until the end of its second interval (HORA 3.3). */
const YESTERDAY_INTERVALS = 2;

/** A question whose answer must carry its nonce. */
class Question {
	readonly nonce = new Uint8Array(NONCE_BYTES);
	/** NaN: none is open. */
	askedAt = Number.NaN;
	lastAskedAt = Number.NEGATIVE_INFINITY;
	/** Questions that were asked anew without an answer: each may still be answered once, under a nonce that is gone. */
	abandoned = 0;
	due = Number.POSITIVE_INFINITY;

	/** Nobody waits for its answer any more. */
	abandon(): void {
		if (!Number.isNaN(this.askedAt)) this.abandoned++;
		this.askedAt = Number.NaN;
	}
}

/**
 * The secured channel of docs/DESIGN-SECURED-CHANNEL.md: readings and commands end to end with the head end, heads and
 * dates with the concentrator. After each start nothing is sealed before the concentrator has said which head it
 * remembers: had the flash been put back, every message could use a key for the second time.
 */
export class SecuredChannel implements Channel, BroadcastListener {
	readonly overheadBytesMax = UNICAST_OVERHEAD_BYTES;
	messageBytes = 0;
	readonly arrival = { source: Source.headEnd as number, index: 0, isExpired: false };
	/** Refusals of anchors; those of unicast messages are counted by the key store. */
	readonly counters = new StatusCounters();

	readonly #crypto: Crypto;
	readonly #store: KeyStore;
	readonly #random: RandomSource;
	readonly #listener: ChannelListener;
	readonly #log: Log;
	readonly #identifier: string;
	readonly #anchor: Anchor = createAnchor();
	/** Made with the keys: it wants domain and interval. */
	#receiver: BroadcastReceiver | undefined;
	readonly #broadcastArrival = { source: Source.headEndBroadcast as number, index: 0, isExpired: false };
	/** Of the last beacon that was verified. */
	lastBeacon = -1;
	readonly #catchUp = createCatchUp();
	readonly #time = createTimeContent();
	readonly #catchUpQuestion = new Question();
	readonly #timeQuestion = new Question();
	readonly #trailer = new Uint8Array(CATCHUP_REQUEST_TRAILER_BYTES);
	readonly #trailerView = new DataView(this.#trailer.buffer);
	#retryMilliseconds = CATCHUP_RETRY_FIRST_MILLISECONDS;
	#anchorDue = 0;
	#anchorRetryMilliseconds = ANCHOR_RETRY_FIRST_MILLISECONDS;
	/** As the last question told it. */
	#askedHead = 0;
	#isConnected = false;
	#isWitnessed = false;
	/** When yesterday's chains go, if the clock does not say it sooner; Infinity: there are none. */
	#yesterdayEnds = Number.POSITIVE_INFINITY;

	constructor(
		crypto: Crypto,
		store: KeyStore,
		random: RandomSource,
		identifier: string,
		listener: ChannelListener,
		log: Log,
	) {
		this.#crypto = crypto;
		this.#store = store;
		this.#random = random;
		this.#identifier = identifier;
		this.#listener = listener;
		this.#log = log;
	}

	/** The keys were read, or given by the optical port: everything begins anew. */
	keysChanged(nowMilliseconds: number): void {
		this.#isWitnessed = false;
		this.#retryMilliseconds = CATCHUP_RETRY_FIRST_MILLISECONDS;
		this.#catchUpQuestion.askedAt = this.#timeQuestion.askedAt = Number.NaN;
		this.#yesterdayEnds = nowMilliseconds + YESTERDAY_INTERVALS * this.#intervalMilliseconds;
		this.#receiver = undefined;
		if (this.#isConnected) this.connected(nowMilliseconds);
	}

	/** Refusals of broadcasts, beacons and flash commands. */
	get broadcastCounters(): StatusCounters | undefined {
		return this.#receiver?.counters;
	}

	#broadcasts(): BroadcastReceiver | undefined {
		const store = this.#store;
		if (this.#receiver === undefined && store.isProvisioned)
			this.#receiver = new BroadcastReceiver(
				this.#crypto,
				this.#random,
				{ useSlot: (slot) => store.useFlashSlot(slot) },
				this,
				store.domain,
				store.intervalSeconds,
			);
		return this.#receiver;
	}

	get isReady(): boolean {
		return this.#isWitnessed && this.#store.isProvisioned;
	}

	get #intervalMilliseconds(): number {
		return this.#store.intervalSeconds * 1000;
	}

	topics(): readonly string[] {
		const topics = [downTopic(this.#identifier)];
		if (this.#store.isProvisioned) topics.push(anchorTopic(this.#store.domain), allTopic(this.#store.domain));
		return topics;
	}

	connected(nowMilliseconds: number): void {
		this.#isConnected = true;
		if (!this.#store.isProvisioned) return;
		if (!this.#isWitnessed) this.#catchUpQuestion.due = nowMilliseconds;
		if (this.#timeQuestion.due === Number.POSITIVE_INFINITY || Number.isNaN(this.#listener.utcSeconds()))
			this.#timeQuestion.due = nowMilliseconds;
	}

	disconnected(): void {
		this.#isConnected = false;
		this.#catchUpQuestion.abandon();
		this.#timeQuestion.abandon();
	}

	requestTime(nowMilliseconds: number): void {
		this.#timeQuestion.due = nowMilliseconds;
	}

	deadlineMilliseconds(): number {
		if (!this.#isConnected) return this.#yesterdayEnds;
		const due = Math.min(this.#catchUpQuestion.due, this.#yesterdayEnds);
		return this.isReady ? Math.min(due, this.#timeQuestion.due) : due;
	}

	tick(nowMilliseconds: number): void {
		if (nowMilliseconds < this.#yesterdayEnds && !this.#isPastYesterday()) return;
		this.#yesterdayEnds = Number.POSITIVE_INFINITY;
		this.#store.endYesterday();
	}

	#isPastYesterday(): boolean {
		if (this.#yesterdayEnds === Number.POSITIVE_INFINITY) return false;
		const end = this.#store.epoch * DAY_SECONDS + YESTERDAY_INTERVALS * this.#store.intervalSeconds;
		return this.#listener.utcSeconds() >= end;
	}

	/** The clock, which is the head end's, shows a later day than the keys: its anchor got lost. */
	#isDayOver(): boolean {
		const end = (this.#store.epoch + 1) * DAY_SECONDS + ANCHOR_PATIENCE_SECONDS;
		return this.#store.isProvisioned && this.#listener.utcSeconds() >= end;
	}

	// ---- going up

	transmit(nowMilliseconds: number, into: Uint8Array): number {
		if (nowMilliseconds >= this.#anchorDue && this.#isDayOver()) {
			this.#anchorDue = nowMilliseconds + this.#anchorRetryMilliseconds;
			this.#anchorRetryMilliseconds = Math.min(2 * this.#anchorRetryMilliseconds, ANCHOR_RETRY_MAX_MILLISECONDS);
			return encodeAnchorRequest(this.#store.domain, this.#anchor, into);
		}
		// Beacons that do not fit: forged ones can ask for this, so not more often than HORA 4.2 allows.
		if (this.#receiver?.wantsCatchUp === true && this.#catchUpQuestion.due === Number.POSITIVE_INFINITY)
			this.#catchUpQuestion.due = Math.max(
				nowMilliseconds,
				this.#catchUpQuestion.lastAskedAt + CATCHUP_SPACING_MILLISECONDS,
			);
		if (nowMilliseconds >= this.#catchUpQuestion.due) {
			this.#catchUpQuestion.due = nowMilliseconds + this.#retryMilliseconds;
			this.#retryMilliseconds = Math.min(2 * this.#retryMilliseconds, CATCHUP_RETRY_MAX_MILLISECONDS);
			return this.#askCatchUp(nowMilliseconds, into);
		}
		if (nowMilliseconds >= this.#timeQuestion.due && this.isReady) {
			this.#timeQuestion.due = nowMilliseconds + TIME_RETRY_MILLISECONDS;
			return this.#ask(nowMilliseconds, this.#timeQuestion, Branch.endToEnd, UnicastType.timeRequest, into);
		}
		return 0;
	}

	#askCatchUp(nowMilliseconds: number, into: Uint8Array): number {
		const store = this.#store;
		this.#askedHead = store.headSequence;
		this.#trailerView.setUint32(CATCHUP_REQUEST_HEAD, this.#askedHead);
		this.#trailerView.setUint16(CATCHUP_REQUEST_DOWN_NEXT, store.downIndex(Branch.neighbourhood));
		return this.#ask(nowMilliseconds, this.#catchUpQuestion, Branch.neighbourhood, UnicastType.catchUpRequest, into);
	}

	/** Header and tag, then the trailer, which is bound and not sealed. @returns bytes, 0 when nothing may be sealed */
	#ask(nowMilliseconds: number, question: Question, branch: Branch, type: number, into: Uint8Array): number {
		const trailer = this.#trailer;
		const trailerBytes = type === UnicastType.timeRequest ? TIME_REQUEST_TRAILER_BYTES : CATCHUP_REQUEST_TRAILER_BYTES;
		if (this.#random.fill(question.nonce, 0, NONCE_BYTES) !== Status.ok) {
			this.counters.count(Status.noEntropy);
			return 0;
		}
		for (let i = 0; i < NONCE_BYTES; i++) trailer[i] = question.nonce[i]!;
		const bound = type === UnicastType.timeRequest ? question.nonce : trailer;
		const byteLength = this.#store.sealMessage(branch, type, NO_BYTES, 0, into, bound);
		if (byteLength === 0) return 0;
		for (let i = 0; i < trailerBytes; i++) into[byteLength + i] = trailer[i]!;
		question.abandon();
		question.askedAt = question.lastAskedAt = nowMilliseconds;
		return byteLength + trailerBytes;
	}

	seal(content: Uint8Array, contentBytes: number, into: Uint8Array): number {
		if (!this.isReady) return 0;
		// The answer to a question tells that the head end is there; without one, sealing ends before its window does.
		if (this.#store.unacknowledged(Branch.endToEnd) > ASK_AFTER_MESSAGES && Number.isNaN(this.#timeQuestion.askedAt))
			this.#timeQuestion.due = Math.min(
				this.#timeQuestion.due,
				this.#timeQuestion.lastAskedAt + TIME_RETRY_MILLISECONDS,
			);
		const downNext = this.#store.downIndex(Branch.endToEnd);
		content[0] = downNext >> 8;
		content[1] = downNext;
		return this.#store.sealMessage(Branch.endToEnd, UnicastType.data, content, contentBytes, into);
	}

	// ---- coming down

	receive(
		nowMilliseconds: number,
		topic: string,
		payload: Uint8Array,
		byteLength: number,
		content: Uint8Array,
	): Status {
		this.messageBytes = 0;
		if (!this.#store.isProvisioned) return Status.notFound;
		if (topic.endsWith("/all"))
			return this.#broadcasts()?.receive(nowMilliseconds, payload, byteLength) ?? Status.notFound;
		if (topic.endsWith("/anchor"))
			return this.counters.count(this.anchorReceived(nowMilliseconds, payload, byteLength));
		switch (payload[0]) {
			case UnicastType.catchUp:
				return this.#catchUpReceived(nowMilliseconds, payload, byteLength, content);
			case UnicastType.time:
				return this.#timeReceived(nowMilliseconds, payload, byteLength, content);
			case UnicastType.command: {
				const status = this.#store.openMessage(payload, byteLength, content);
				if (status !== Status.ok) return status;
				return this.#commandReceived(content);
			}
			default:
				return Status.badKind; // CHN-3
		}
	}

	#commandReceived(content: Uint8Array): Status {
		const store = this.#store;
		// Whoever holds the neighbourhood keys may not speak with the type of the head end.
		if (store.opened.branch !== Branch.endToEnd) return Status.notAuthorised; // CHN-4
		if (store.openedByteLength <= CONTENT_PREFIX_BYTES) return Status.badLength; // CHN-5
		const { arrival } = this;
		const notAfter = content[0]! * 256 + content[1]!;
		// The clock is authenticated and runs on: while it is not set nobody can say whether it is too late.
		const end = store.opened.epoch * DAY_SECONDS + (notAfter + 1) * store.intervalSeconds;
		arrival.isExpired = notAfter !== WHOLE_DAY && !(this.#listener.utcSeconds() < end);
		arrival.source = Source.headEnd;
		arrival.index = store.opened.index;
		this.messageBytes = store.openedByteLength - CONTENT_PREFIX_BYTES;
		return Status.ok;
	}

	/** An answer to a question that is open and not too old. @returns ms; NaN: it is none */
	#roundTrip(nowMilliseconds: number, question: Question): number {
		const roundTrip = nowMilliseconds - question.askedAt;
		return roundTrip <= ROUND_TRIP_MAX_MILLISECONDS ? roundTrip : Number.NaN;
	}

	/** UTCTime of a time content, ms. */
	#utcMilliseconds({ epoch, interval, milliseconds }: TimeContent): number {
		return (epoch * DAY_SECONDS + interval * this.#store.intervalSeconds) * 1000 + milliseconds;
	}

	/**
	 * A tag that fails under the open nonce may be that of a late answer to an earlier question: out of order, once for each
	 * such question. Any more are what they look like. The key store has counted the tag in either case.
	 */
	#refusedAnswer(status: Status, question: Question): Status {
		if (status !== Status.badTag || question.abandoned === 0) return status;
		question.abandoned--;
		return Status.outOfOrder;
	}

	#timeReceived(nowMilliseconds: number, payload: Uint8Array, byteLength: number, content: Uint8Array): Status {
		const question = this.#timeQuestion;
		const roundTrip = this.#roundTrip(nowMilliseconds, question);
		if (Number.isNaN(roundTrip)) return this.counters.count(Status.outOfOrder); // CHN-7
		let status = this.#store.openMessage(payload, byteLength, content, question.nonce);
		if (status !== Status.ok) return this.#refusedAnswer(status, question);
		if (this.#store.opened.branch !== Branch.endToEnd) return Status.notAuthorised; // CHN-8
		status = decodeTime(viewOf(content), this.#store.openedByteLength, this.#time);
		if (status !== Status.ok) return status;
		question.askedAt = Number.NaN;
		question.due = nowMilliseconds + TIME_PERIOD_MILLISECONDS;
		const utcMilliseconds = this.#utcMilliseconds(this.#time);
		this.#broadcasts()?.headEndTime(nowMilliseconds, utcMilliseconds, roundTrip);
		const half = roundTrip / 2000;
		this.#listener.timeReceived(utcMilliseconds / 1000 + half, half);
		return Status.ok;
	}

	#catchUpReceived(nowMilliseconds: number, payload: Uint8Array, byteLength: number, content: Uint8Array): Status {
		const question = this.#catchUpQuestion;
		const roundTrip = this.#roundTrip(nowMilliseconds, question);
		if (Number.isNaN(roundTrip)) return this.counters.count(Status.outOfOrder); // CHN-9
		const store = this.#store;
		let status = store.openMessage(payload, byteLength, content, question.nonce);
		if (status !== Status.ok) return this.#refusedAnswer(status, question);
		if (store.opened.branch !== Branch.neighbourhood) return Status.badKind; // CHN-10
		status = decodeCatchUp(viewOf(content), store.openedByteLength, this.#catchUp);
		if (status !== Status.ok) return status;
		question.askedAt = Number.NaN;
		question.due = Number.POSITIVE_INFINITY;
		this.#retryMilliseconds = CATCHUP_RETRY_FIRST_MILLISECONDS;
		// Against the head that the question told: what was written since then would hide as many records that were put back.
		const { head } = this.#catchUp;
		status = store.witness(head > this.#askedHead ? Math.max(head, store.headSequence + 1) : head);
		if (status !== Status.ok) {
			this.#log.line(
				`keys: ${statusName(status)}: flash has record ${store.headSequence}, the concentrator saw ${this.#catchUp.head}; new keys by the optical port`,
			);
			return status;
		}
		this.#isWitnessed = true;
		const { epoch, interval, keyInterval } = this.#catchUp;
		const receiver = this.#broadcasts();
		receiver?.concentratorTime(nowMilliseconds, this.#utcMilliseconds(this.#catchUp), roundTrip);
		receiver?.concentratorKey(epoch, interval, keyInterval, content, CATCHUP_KEY);
		return Status.ok;
	}

	/** The head end says that a day has begun: both odometers move (docs/DESIGN-SECURED-CHANNEL.md, Decisions). */
	anchorReceived(nowMilliseconds: number, payload: Uint8Array, byteLength: number): Status {
		const store = this.#store;
		const anchor = this.#anchor;
		let status = verifyAnchor(this.#crypto, store.calendar, payload, byteLength, anchor);
		if (status !== Status.ok) return status;
		this.#broadcasts()?.anchored(anchor.epoch, anchor.chainKey);
		if (anchor.epoch <= store.epoch) return Status.ok; // retained: heard before
		status = store.stageEpoch(anchor.epoch, true);
		if (status === Status.ok) status = store.commitEpoch();
		if (status !== Status.ok) return status;
		this.#anchorRetryMilliseconds = ANCHOR_RETRY_FIRST_MILLISECONDS;
		this.#listener.epochChanged(anchor.epoch);
		this.#yesterdayEnds = nowMilliseconds + YESTERDAY_INTERVALS * this.#intervalMilliseconds;
		this.#catchUpQuestion.due = nowMilliseconds + this.#spread(); // for the concentrator's chain of today
		// Questions of yesterday's chains are lost; those of today are asked when not everybody does.
		this.#timeQuestion.due = nowMilliseconds + this.#spread();
		if (!this.#isWitnessed) this.#catchUpQuestion.due = nowMilliseconds;
		return Status.ok;
	}

	// ---- what everyone hears

	beacon(beacon: Beacon): void {
		this.lastBeacon = beacon.epoch * 65_536 + beacon.interval;
	}

	broadcast(
		chain: Chain,
		from: Uint8Array,
		offset: number,
		byteLength: number,
		_epoch: number,
		_interval: number,
		counter: number,
	): void {
		const arrival = this.#broadcastArrival;
		arrival.source = chain === Chain.headEnd ? Source.headEndBroadcast : Source.concentratorBroadcast;
		arrival.index = counter;
		this.#listener.messageReceived(arrival, from, offset, byteLength);
	}

	flash(slot: number, _scope: number, level: number): void {
		const arrival = this.#broadcastArrival;
		arrival.source = Source.headEndFlash;
		arrival.index = slot;
		const command = new DataView(new ArrayBuffer(64));
		const utcSeconds = this.#listener.utcSeconds();
		const end = utcSeconds + FLASH_SECONDS;
		const byteLength = encodeFlashCommand(slot, level, utcSeconds, end, command);
		this.#listener.messageReceived(arrival, new Uint8Array(command.buffer), 0, byteLength);
	}

	#spread(): number {
		const bytes = this.#trailer;
		return this.#random.fill(bytes, 0, 2) === Status.ok
			? ((bytes[0]! * 256 + bytes[1]!) / 65_536) * SPREAD_MILLISECONDS
			: SPREAD_MILLISECONDS;
	}
}

/** Contents are decoded at once; the view is the only thing made. */
function viewOf(content: Uint8Array): DataView {
	return new DataView(content.buffer, content.byteOffset);
}
