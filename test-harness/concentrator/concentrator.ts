import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Status, StatusCounters } from "../../src/bytes/status.js";
import { Branch, Direction } from "../../src/key-store/chains.js";
import { createUnicastHeader, decodeUnicastHeader, UnicastType } from "../../src/key-store/unicast.js";
import { CATCHUP_REQUEST_TRAILER_BYTES } from "../../src/messages/channel.js";
import { allTopic, anchorTopic, downTopic, TOPIC_ROOT } from "../../src/messages/topics.js";
import type { ServerClock } from "../clock.js";
import { DAY_SECONDS, epochOf } from "../days.js";
import {
	decodeDelegation,
	encodeLink,
	encodeReport,
	Frame,
	frameMeter,
	type LinkReport,
	METER_FRAME_BYTES,
	meterFrame,
	type Pipe,
} from "../head-end/pipe.js";
import { stateFile } from "../head-end/state-file.js";
import { StoreError } from "../head-end/store.js";
import { writeSecret } from "../provisioning/sealed-file.js";
import { Beacons } from "./beacons.js";
import { Neighbourhood } from "./neighbourhood.js";

/** The way to the broker. */
export interface ConcentratorLink extends LinkReport {
	publish(topic: string, payload: Uint8Array, retain?: boolean): void;
}

export interface ConcentratorOptions {
	/** The concentrator's own folder: what a thief gets. */
	readonly folder: string;
	readonly domain: number;
	readonly clock: ServerClock;
	/** Of the TESLA chains, s. */
	readonly intervalSeconds: number;
	readonly log: (line: string) => void;
	/** To the head end. */
	readonly pipe: Pipe;
}

/** ANCHOR-REQ (HORA section 8), type of the message; 6 bytes: type 1, domain 2, epoch held 2, block held 1. */
const ANCHOR_REQUEST = 0x03;
const ANCHOR_REQUEST_BYTES = 6;
/** Longest message that is relayed: the trailer of a question is the most that stands behind a tag. */
const RELAY_BYTES_MAX = 1024 + 2 + 18 + CATCHUP_REQUEST_TRAILER_BYTES;

/**
 * Relays end-to-end messages as bytes, keeps the neighbourhood branch, and says to everyone what the head end gives it
 * to say. It holds no object of the head end: frames of bytes go both ways.
 */
export class Concentrator {
	readonly neighbourhood: Neighbourhood;
	/** Of the relay: what came and was not passed on. */
	readonly refusals = new StatusCounters();
	readonly messages = { relayedUp: 0, relayedDown: 0, neighbour: 0, anchors: 0 };
	readonly #options: ConcentratorOptions;
	readonly #header = createUnicastHeader();
	readonly #anchorPath: string;
	readonly #seedPath: string;
	#beacons: Beacons | undefined;
	#link: ConcentratorLink | undefined;
	#anchor: Buffer | undefined;
	#anchorPublishedInterval = Number.NEGATIVE_INFINITY;
	#isStarted = false;
	#closed = false;

	/** @throws UserError when its folder is not its own */
	constructor(options: ConcentratorOptions) {
		this.#options = options;
		this.neighbourhood = new Neighbourhood({
			folder: options.folder,
			clock: options.clock,
			intervalSeconds: options.intervalSeconds,
			transmit: (id, sealed) => this.#publish(downTopic(id), sealed),
			onReport: (id, report) => void options.pipe(encodeReport(id, report)),
			catchUpKey: () => this.#beacons?.catchUpKey(),
		});
		this.#seedPath = join(options.folder, "chain.seed");
		if (existsSync(this.#seedPath)) this.#openBeacons();
		this.#anchorPath = join(options.folder, "anchor");
		if (existsSync(this.#anchorPath)) this.#anchor = readFileSync(this.#anchorPath);
	}

	setLink(link: ConcentratorLink): void {
		this.#link = link;
	}

	/** Today's chains, and the schedules. */
	start(): void {
		this.neighbourhood.startDay();
		this.#schedule();
		this.#beacons?.start();
		this.#isStarted = true;
	}

	#schedule(): void {
		const { clock, intervalSeconds } = this.#options;
		const now = clock.utcSeconds();
		const midnight = epochOf(now) * DAY_SECONDS;
		const interval1End = midnight + 2 * intervalSeconds;
		const next = now < interval1End ? interval1End : midnight + DAY_SECONDS;
		// The day of the timer, not of the clock: a timer that runs a little early must not miss it.
		clock.after(next - now, () => {
			if (this.#closed) return;
			if (next === interval1End) this.neighbourhood.endYesterday();
			else this.neighbourhood.startDay();
			this.#schedule();
		});
	}

	#publish(topic: string, payload: Uint8Array, retain = false): void {
		if (this.#link?.connected) this.#link.publish(topic, payload, retain);
	}

	/**
	 * One MQTT message. The promise resolves when the head end, or this one, has taken it in for good.
	 * @throws what the head end's store says, or this one's
	 */
	async receive(topic: string, payload: Uint8Array): Promise<void> {
		const match = /^([0-9a-f]{16})\/(up|online)$/.exec(topic.slice(TOPIC_ROOT.length + 1));
		if (!topic.startsWith(`${TOPIC_ROOT}/`) || !match) {
			this.refusals.count(Status.badValue);
			return;
		}
		const id = match[1]!;
		if (match[2] === "online") {
			const isOnline = payload.length === 1 && payload[0] === 0x31;
			await this.#options.pipe(meterFrame(Frame.online, id, Uint8Array.of(isOnline ? 1 : 0)));
			return;
		}
		if (payload[0] === ANCHOR_REQUEST && payload.length === ANCHOR_REQUEST_BYTES) {
			this.#anchorAsked();
			return;
		}
		// Only who it is for is looked at, to know which way it goes; the header is checked by who has its keys.
		const status = this.#destination(payload);
		if (status !== Status.ok) {
			this.refusals.count(status);
			return;
		}
		if (this.#header.branch === Branch.endToEnd) {
			this.messages.relayedUp++;
			await this.#options.pipe(meterFrame(Frame.up, id, payload));
			return;
		}
		this.messages.neighbour++;
		this.neighbourhood.receive(id, payload);
		if (this.neighbourhood.failure)
			throw new StoreError("full", `the concentrator cannot write: ${this.neighbourhood.failure.message}`);
	}

	#destination(payload: Uint8Array): Status {
		if (payload.length > RELAY_BYTES_MAX) return Status.badLength;
		const status = decodeUnicastHeader(payload, payload.length, this.#header);
		if (status !== Status.ok) return status;
		if (this.#header.direction !== Direction.up) return Status.badKind;
		const isQuestion = this.#header.type === UnicastType.catchUpRequest;
		return isQuestion && this.#header.branch !== Branch.neighbourhood ? Status.badKind : Status.ok;
	}

	/** A frame of the head end. */
	async fromHeadEnd(bytes: Uint8Array): Promise<void> {
		const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
		switch (frame[0]) {
			case Frame.down:
				if (frame.length <= METER_FRAME_BYTES) break;
				this.messages.relayedDown++;
				this.#publish(downTopic(frameMeter(frame)), frame.subarray(METER_FRAME_BYTES));
				break;
			case Frame.anchor:
				if (frame.readUInt16BE(1) === this.#options.domain) this.#takeAnchor(Buffer.from(frame.subarray(5)));
				break;
			case Frame.broadcast:
				if (frame.readUInt16BE(1) === this.#options.domain)
					this.#publish(allTopic(this.#options.domain), frame.subarray(3));
				break;
			case Frame.delegate: {
				const delegation = decodeDelegation(frame);
				if (delegation?.domain === this.#options.domain) this.neighbourhood.delegate(delegation);
				break;
			}
			case Frame.chainSeed:
				if (frame.readUInt16BE(1) === this.#options.domain && frame.length === 35) this.#takeSeed(frame.subarray(3));
				break;
			case Frame.disclosed:
				if (frame.length === 21)
					this.#beacons?.headEndKey(frame.readUInt16BE(1), frame.readUInt16BE(3), frame.subarray(5));
				break;
			case Frame.remove:
				this.neighbourhood.remove(frameMeter(frame));
				break;
			default:
				this.refusals.count(Status.badKind); // of a newer head end
		}
	}

	#takeSeed(seed: Buffer): void {
		if (existsSync(this.#seedPath) && readFileSync(this.#seedPath).equals(seed)) return;
		writeSecret(this.#seedPath, seed);
		this.#beacons?.close();
		this.#openBeacons();
		if (this.#isStarted) this.#beacons?.start();
	}

	#openBeacons(): void {
		const { folder, domain, intervalSeconds, clock, log } = this.#options;
		this.#beacons = new Beacons({
			seed: readFileSync(this.#seedPath),
			domain,
			intervalSeconds,
			clock,
			log,
			store: stateFile(join(folder, "broadcast.json")),
			publish: (beacon) => this.#publish(allTopic(domain), beacon),
		});
	}

	/** Beacons sent since the start. */
	get beacons(): number {
		return this.#beacons?.sent ?? 0;
	}

	#takeAnchor(anchor: Buffer): void {
		if (this.#anchor?.equals(anchor) === true) return;
		this.#anchor = anchor;
		const temporary = `${this.#anchorPath}.new`;
		writeFileSync(temporary, anchor, { mode: 0o600 });
		renameSync(temporary, this.#anchorPath); // public: whatever a power cut leaves, the head end says it again
		this.#publishAnchor();
	}

	#publishAnchor(): void {
		if (!this.#anchor || !this.#link?.connected) return;
		this.messages.anchors++;
		this.#publish(anchorTopic(this.#options.domain), this.#anchor, true);
	}

	/** A meter that hears nothing retained asks: answered to all, once an interval (HORA R22). */
	#anchorAsked(): void {
		const { clock, intervalSeconds } = this.#options;
		const interval = Math.floor(clock.utcSeconds() / intervalSeconds);
		if (interval === this.#anchorPublishedInterval) {
			this.refusals.count(Status.busy);
			return;
		}
		this.#anchorPublishedInterval = interval;
		this.#publishAnchor();
	}

	/** Of the day, as it was published last; undefined before any. */
	get anchorEpoch(): number | undefined {
		return this.#anchor && this.#anchor.length >= 5 ? this.#anchor.readUInt16BE(3) : undefined;
	}

	linkUp(): void {
		this.#publishAnchor();
		this.#linkChanged();
		for (const id of this.neighbourhood.ids()) {
			const report = this.neighbourhood.report(id);
			if (report) void this.#options.pipe(encodeReport(id, report));
		}
	}

	linkDown(): void {
		this.#linkChanged();
	}

	#linkChanged(): void {
		if (this.#link) void this.#options.pipe(encodeLink(this.#link));
	}

	stepDone(): void {
		this.neighbourhood.stepDone();
	}

	flushed(): Promise<void> {
		return this.neighbourhood.flushed();
	}

	async close(): Promise<void> {
		this.#closed = true;
		this.#beacons?.close();
		await this.neighbourhood.close();
	}
}
