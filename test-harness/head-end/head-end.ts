import { Status } from "../../src/bytes/status.js";
import { createControl, decodeControl } from "../../src/messages/control.js";
import { Kind } from "../../src/messages/kinds.js";
import { downTopic, TOPIC_ROOT } from "../../src/messages/topics.js";
import type { ServerClock } from "../clock.js";
import type { OnlineState } from "./api.js";
import { Asking } from "./asking.js";
import type { Attacks } from "./attacks.js";
import { type MeterChannel, PlainChannel } from "./channel.js";
import { Collecting } from "./collecting.js";
import type { Commanding } from "./commanding.js";
import { Fetching } from "./fetching.js";
import { type Change, Fleet, type HeadEndLink } from "./fleet.js";
import { FleetViews, type MeterCollection } from "./fleet-views.js";
import { LIMITS } from "./limits.js";
import { load } from "./loading.js";
import { MeterClocks } from "./meter-clocks.js";
import { MeterState } from "./meter-state.js";
import { Sending } from "./sending.js";
import { type Store, StoreError } from "./store.js";
import type { Updates } from "./updates.js";

export interface HeadEndOptions {
	readonly clock: ServerClock;
	readonly store: Store;
	readonly log: (line: string) => void;
	/** Only these meters are enrolled; absent: every meter that speaks. */
	readonly allow?: readonly string[] | undefined;
	/** What lies between messages and link; absent: messages in clear. */
	readonly channel?: MeterChannel | undefined;
}

/**
 * Collects from meters: enrols them, stores what they send, finds gaps by sequence and asks until none is left, and
 * keeps their clocks in step. Bytes from a meter never make it throw; a failing store does (`StoreError`), and then
 * the caller stops receiving until `reload`.
 */
export class HeadEnd {
	readonly fleet: Fleet;
	readonly views: FleetViews;
	/** Absent where messages are not secured: nobody is commanded in clear. */
	commanding: Commanding | undefined;
	/** Absent where messages are not secured. */
	attacks: Attacks | undefined;
	/** Absent where messages are not secured: no firmware is sent in clear. */
	updates: Updates | undefined;
	readonly #allow: ReadonlySet<string> | undefined;
	readonly #clocks: MeterClocks;
	readonly #fetching: Fetching;
	readonly #asking: Asking;
	readonly #collecting: Collecting;

	constructor(options: HeadEndOptions) {
		const fleet = new Fleet({
			clock: options.clock,
			store: options.store,
			log: options.log,
		});
		fleet.channel = options.channel ?? new PlainChannel((id, sealed) => fleet.link?.publish(downTopic(id), sealed));
		const sending = new Sending(fleet);
		this.fleet = fleet;
		this.#allow = options.allow ? new Set(options.allow) : undefined;
		this.#clocks = new MeterClocks(fleet, sending);
		this.#fetching = new Fetching(fleet, sending);
		this.#asking = new Asking(fleet, this.#fetching);
		this.#collecting = new Collecting(fleet, this.#fetching, this.#clocks);
		this.views = new FleetViews(fleet, this.#fetching, this.#clocks);
	}

	/** Rebuilds every position from the store and starts the schedules. @throws StoreError */
	async start(): Promise<void> {
		await load(this.fleet);
		this.#every(LIMITS.housekeepingSeconds, () => this.#fetching.housekeep());
		this.#every(LIMITS.clockCheckSeconds, () => this.#clocks.checkClocks());
	}

	#every(seconds: number, action: () => void): void {
		const again = (): void => {
			if (this.fleet.closed) return;
			action();
			this.fleet.clock.after(seconds, again);
		};
		this.fleet.clock.after(seconds, again);
	}

	setLink(link: HeadEndLink): void {
		this.fleet.link = link;
	}

	get messages(): Fleet["messages"] {
		return this.fleet.messages;
	}

	/** Called after every change; must not throw. */
	set onChange(listener: (id: string, change: Change) => void) {
		this.fleet.onChange = listener;
	}

	close(): void {
		this.fleet.closed = true;
		for (const meter of this.fleet.meters.values()) this.#fetching.cancelAll(meter, "the head end stops");
	}

	/** After the store failed and was opened again. @throws StoreError */
	async reload(): Promise<void> {
		for (const meter of this.fleet.meters.values()) this.#fetching.cancelAll(meter, "the store was opened again");
		this.fleet.meters.clear();
		this.#fetching.clear();
		await load(this.fleet);
	}

	/**
	 * One MQTT message. When the promise resolves, everything in it that must last is on the disk, and the message may
	 * be acknowledged. Calls must follow each other, never overlap.
	 * @throws StoreError only
	 */
	async receive(topic: string, payload: Uint8Array): Promise<void> {
		const match = /^([0-9a-f]{16})\/(up|online)$/.exec(topic.slice(TOPIC_ROOT.length + 1));
		if (!topic.startsWith(`${TOPIC_ROOT}/`) || !match) {
			this.fleet.messages.received++;
			this.fleet.refusals.count(Status.badValue);
			return;
		}
		const id = match[1]!;
		if (match[2] === "online") this.online(id, payload.length === 1 && payload[0] === 0x31);
		else await this.up(id, payload);
	}

	/** A meter came or went, as the broker says; a hint only. */
	online(id: string, isOnline: boolean): void {
		const meter = this.fleet.meters.get(id);
		if (!meter) return;
		const wasOnline = meter.onlineFlag;
		meter.onlineFlag = isOnline;
		if (isOnline) {
			if (wasOnline === false) this.fleet.channel.resend(id);
			this.#fetching.enqueueAll(meter);
		}
		this.fleet.onChange(id, "meter");
	}

	/** One message of a meter; as `receive`. @throws StoreError only */
	async up(id: string, payload: Uint8Array): Promise<void> {
		this.fleet.messages.received++;
		const known = this.fleet.meters.get(id);
		if (!known && this.#allow && !this.#allow.has(id)) {
			this.fleet.messages.notEnrolled++;
			return;
		}
		const meter = known ?? new MeterState(id, this.fleet.clock.utcSeconds());
		const status = await this.#receiveSealed(meter, payload, known !== undefined);
		if (this.fleet.channel.failure)
			throw new StoreError("full", `the sessions cannot be written: ${this.fleet.channel.failure.message}`);
		if (status !== Status.ok) {
			this.fleet.refusals.count(status);
			meter.refusals.count(status);
			if (known) this.fleet.onChange(id, "meter");
			return;
		}
		this.fleet.messages.stored++;
	}

	async #receiveSealed(meter: MeterState, payload: Uint8Array, enrolled: boolean): Promise<Status> {
		const { channel } = this.fleet;
		const opened = channel.receive(meter.id, payload, this.fleet.opened);
		if (opened !== Status.ok) return opened;
		const byteLength = channel.messageBytes;
		if (byteLength === 0) {
			meter.lastSeenUtcSeconds = this.fleet.clock.utcSeconds();
			return Status.ok;
		}
		const kind = this.fleet.opened[0]!;
		if (!enrolled) {
			// Only what tells of a meter enrols one. A hello is best, since it tells all positions; a meter that was
			// connected before this head end first started sends it at its next connection only.
			if (kind !== Kind.hello && kind !== Kind.reading && kind !== Kind.profile && kind !== Kind.events)
				return Status.notFound;
			if (this.fleet.meters.size >= LIMITS.metersMax) return Status.storageFull;
		}
		let status: Status;
		switch (kind) {
			case Kind.hello:
				status = await this.#collecting.onHello(meter, byteLength);
				break;
			case Kind.reading:
				status = await this.#collecting.onReading(meter, byteLength);
				break;
			case Kind.profile:
				status = await this.#collecting.onRows(meter, "profile", byteLength);
				break;
			case Kind.events:
				status = await this.#collecting.onRows(meter, "events", byteLength);
				break;
			case Kind.acknowledge:
			case Kind.timeRequest:
				status = await this.#onControl(meter, byteLength);
				break;
			case Kind.capture:
			case Kind.snapshot:
			case Kind.diagnostics:
				status = this.#asking.onAnswer(meter, kind, byteLength);
				break;
			case Kind.receipt:
			case Kind.audit:
			case Kind.auditHead:
				if (!this.commanding) return Status.badKind;
				status = this.commanding.onMessage(meter.id, this.fleet.opened.slice(0, byteLength));
				break;
			case Kind.updateStatus:
				if (!this.updates) return Status.badKind;
				status = this.updates.onStatus(meter.id, this.fleet.openedView, byteLength);
				break;
			default:
				return Status.badKind;
		}
		if (status !== Status.ok) return status;
		meter.lastSeenUtcSeconds = this.fleet.clock.utcSeconds();
		if (meter.onlineFlag === false && kind !== Kind.acknowledge) meter.onlineFlag = true; // a late will of an old connection
		if (kind === Kind.hello) {
			meter.onlineFlag = true;
			channel.resend(meter.id);
			this.updates?.onHello(meter.id);
		}
		this.#fetching.enqueueAll(meter);
		return Status.ok;
	}

	async #onControl(meter: MeterState, byteLength: number): Promise<Status> {
		const control = createControl();
		const status = decodeControl(this.fleet.openedView, byteLength, control);
		if (status !== Status.ok) return status;
		if (control.kind === Kind.timeRequest) {
			const now = this.fleet.clock.utcSeconds();
			if (!this.fleet.clock.stepped && now - meter.lastTimeAnswerUtcSeconds < 1) return Status.busy; // floods get one answer a second
			meter.lastTimeAnswerUtcSeconds = now;
			this.#clocks.sendTime(meter, control.requestId);
			return Status.ok;
		}
		if (control.first === Kind.auditRequest && control.second === Status.notFound) this.commanding?.noRows(meter.id);
		const request = meter.outstanding.get(control.requestId);
		if (!request || request.kind !== control.first) return Status.ok; // of a request given up meanwhile
		await this.#fetching.acknowledged(meter, request, control.second);
		return Status.ok;
	}

	/** The link came up: whatever is missing is asked for. */
	linkUp(): void {
		this.#clocks.linkUp();
		for (const meter of this.fleet.meters.values()) this.#fetching.enqueueAll(meter);
		this.#fetching.pump();
	}

	/** The link went down: answers under way will not come. */
	linkDown(): void {
		for (const meter of this.fleet.meters.values()) this.#fetching.cancelAll(meter, "the broker is not connected");
	}

	/** At the end of a step of a virtual clock, now at its new time: what waited for that is sent. */
	stepDone(): void {
		this.fleet.channel.stepDone();
		this.#clocks.stepDone();
		this.#fetching.pump();
	}

	/** Resolves when all that was sent is with the link. */
	flushed(): Promise<void> {
		return this.fleet.channel.flushed();
	}

	/** Asks every meter for rows and events after the last known; see `Fetching.collect`. */
	collect(): void {
		this.#fetching.collect();
	}

	/** Asks one meter; see `Asking.ask`. */
	ask(id: string, kind: number, first = 0): Promise<unknown> {
		return this.#asking.ask(id, kind, first);
	}

	/** Questions under way or due. */
	get pending(): number {
		return this.#fetching.pending;
	}

	has(id: string): boolean {
		return this.fleet.meters.has(id);
	}

	ids(): string[] {
		return [...this.fleet.meters.keys()].sort();
	}

	state(id: string): OnlineState {
		return this.fleet.state(id);
	}

	/** For a supervising process; see `FleetViews.summary`. */
	summary(): MeterCollection[] {
		return this.views.summary();
	}
}
