import { StatusCounters } from "../../src/bytes/status.js";
import { MESSAGE_BYTES_MAX } from "../../src/messages/kinds.js";
import type { ProfileRow } from "../../src/messages/profile.js";
import type { ServerClock } from "../clock.js";
import type { OnlineState } from "./api.js";
import type { MeterChannel } from "./channel.js";
import type { MeterRecord, MeterState } from "./meter-state.js";
import { RecordKind, recordKey, type Store, type Write } from "./store.js";
import { parseRow } from "./stored-rows.js";

/** The way to the broker. `publish` is never called while it is down. */
export interface HeadEndLink {
	readonly connected: boolean;
	readonly url: string;
	readonly sinceUtcSeconds: number;
	readonly connects: number;
	readonly lastError: string | null;
	publish(topic: string, payload: Uint8Array): void;
}

export interface FleetOptions {
	readonly clock: ServerClock;
	readonly store: Store;
	readonly log: (line: string) => void;
}

/** What changed, for live views. */
export type Change = "meter" | "reading" | "profile" | "events";

/** The meters, and what all parts of a head end share: time, store, link, counters, the message being worked on. */
export class Fleet {
	readonly clock: ServerClock;
	readonly store: Store;
	readonly log: (line: string) => void;
	/** What lies between messages and link. */
	channel!: MeterChannel;
	link: HeadEndLink | undefined;
	closed = false;
	readonly meters = new Map<string, MeterState>();
	readonly refusals = new StatusCounters();
	readonly messages = { received: 0, stored: 0, sent: 0, duplicates: 0, notEnrolled: 0 };
	/** Called after every change; must not throw. */
	onChange: (id: string, change: Change) => void = () => {};
	/** The message being worked on, kind first. */
	readonly opened = new Uint8Array(MESSAGE_BYTES_MAX);
	readonly openedView = new DataView(this.opened.buffer);

	constructor(options: FleetOptions) {
		this.clock = options.clock;
		this.store = options.store;
		this.log = options.log;
	}

	/** After the first message that held: the meter counts from here on. */
	enrol(meter: MeterState): void {
		if (this.meters.has(meter.id)) return;
		this.meters.set(meter.id, meter);
		this.log(`meter ${meter.id} enrolled`);
	}

	record(meter: MeterState): Write {
		const record: MeterRecord = {
			enrolledUtcSeconds: meter.enrolledUtcSeconds,
			hello: meter.helloRaw?.toString("hex") ?? null,
			helloReceivedUtcSeconds: meter.helloReceivedUtcSeconds,
			profile: meter.profile.toRecord(),
			events: meter.events.toRecord(),
		};
		return { key: recordKey(meter.id, RecordKind.meter, 0, 0), value: Buffer.from(JSON.stringify(record)) };
	}

	online(meter: MeterState): boolean {
		return meter.onlineFlag !== false;
	}

	state(id: string): OnlineState {
		const meter = this.meters.get(id);
		if (!meter || (meter.onlineFlag === undefined && Number.isNaN(meter.lastSeenUtcSeconds))) return "unknown";
		if (meter.onlineFlag === false) return "offline";
		const silent = Math.max(60, 5 * meter.readingPeriodSeconds);
		return this.clock.utcSeconds() - meter.lastSeenUtcSeconds > silent ? "silent" : "online";
	}

	storedRow(meter: MeterState, sequence: number): ProfileRow | undefined {
		if (meter.newestRow?.sequence === sequence) return meter.newestRow;
		const stored = this.store.get(recordKey(meter.id, RecordKind.profile, meter.profile.series, sequence));
		return stored === undefined ? undefined : parseRow(stored.subarray(8));
	}
}
