import { join } from "node:path";
import { CalendarTree } from "../broadcast/calendar-tree.js";
import { HeadEndBroadcast, type HeadEndBroadcastState } from "../broadcast/head-end-broadcast.js";
import type { ServerClock } from "../clock.js";
import { Frame, type Pipe } from "./pipe.js";
import type { Registry } from "./registry.js";
import { stateFile } from "./state-file.js";

const CALENDAR_FILE = "calendar.wlsf";

/** The calendar of a registry: out of its sealed file, or made anew and kept there. */
export function openCalendar(registry: Registry): CalendarTree {
	const { calendarFirstEpoch: firstEpoch, calendarLevels: levels, teslaIntervalSeconds: intervalSeconds } = registry;
	const kept = registry.openFile(CALENDAR_FILE);
	if (kept) {
		const calendar = CalendarTree.fromBytes(kept);
		kept.fill(0);
		if (Buffer.from(calendar.root).equals(registry.calendarRoot)) return calendar;
	}
	const seed = registry.calendarSeed();
	const calendar = CalendarTree.build(seed, { firstEpoch, levels, intervalSeconds });
	seed.fill(0);
	const bytes = calendar.toBytes();
	registry.sealFile(CALENDAR_FILE, bytes);
	bytes.fill(0);
	return calendar;
}

/** What the head end says to all: the day's anchor, disclosed keys, broadcasts. */
export class Broadcasting {
	readonly sender: HeadEndBroadcast;
	readonly counts = { disclosed: 0, broadcasts: 0 };
	readonly #clock: ServerClock;
	readonly #pipe: Pipe;
	readonly #registry: Registry;
	readonly #log: (line: string) => void;
	#closed = false;
	#hasComplained = false;

	/** @throws UserError */
	constructor(registry: Registry, clock: ServerClock, pipe: Pipe, log: (line: string) => void) {
		this.#registry = registry;
		this.#clock = clock;
		this.#pipe = pipe;
		this.#log = log;
		this.sender = new HeadEndBroadcast({
			seed: registry.calendarSeed(),
			calendar: openCalendar(registry),
			clock,
			store: stateFile<HeadEndBroadcastState>(join(registry.folder, "broadcast.json")),
		});
	}

	/** Tells the concentrators their seeds, and discloses a key at the beginning of each interval. */
	start(): void {
		for (const { domain } of this.#registry.concentrators()) {
			const frame = Buffer.alloc(35);
			frame[0] = Frame.chainSeed;
			frame.writeUInt16BE(domain, 1);
			const seed = this.#registry.concentratorChainSeed(domain);
			frame.set(seed, 3);
			seed.fill(0);
			void this.#pipe(frame).finally(() => frame.fill(0));
		}
		this.#interval();
	}

	#interval(): void {
		if (this.#closed) return;
		try {
			const disclosed = this.sender.disclosed();
			if (disclosed) {
				const frame = Buffer.alloc(21);
				frame[0] = Frame.disclosed;
				frame.writeUInt16BE(disclosed.epoch, 1);
				frame.writeUInt16BE(disclosed.interval, 3);
				frame.set(disclosed.key, 5);
				this.counts.disclosed++;
				void this.#pipe(frame);
			}
			this.#hasComplained = false;
		} catch (error) {
			if (!this.#hasComplained) this.#log((error as Error).message);
			this.#hasComplained = true;
		}
		const { timing } = this.sender;
		const now = this.#clock.utcSeconds();
		const next = timing.startMilliseconds(timing.numberAt(now * 1000) + 1) / 1000;
		this.#clock.after(Math.max(0.001, next - now), () => this.#interval());
	}

	/** The time that answers must carry. @returns NaN while the clock is behind what was broadcast */
	utcSeconds(): number {
		try {
			return this.sender.utcSeconds();
		} catch {
			return Number.NaN;
		}
	}

	/** The ANCHOR of the day that runs; undefined when the calendar does not have it, or the clock went back. */
	anchor(domain: number): Uint8Array | undefined {
		try {
			return this.sender.anchor(domain);
		} catch {
			return undefined;
		}
	}

	/** Seals a payload under the head end's chain and hands it to the concentrators of a domain. @throws UserError */
	broadcast(payload: Uint8Array, domain: number): void {
		this.counts.broadcasts++;
		this.#publish(this.sender.broadcast(payload, domain), domain);
	}

	/** Hands bytes for everyone to the concentrators. */
	#publish(message: Uint8Array, domain: number): void {
		const frame = Buffer.alloc(3 + message.length);
		frame[0] = Frame.broadcast;
		frame.writeUInt16BE(domain, 1);
		frame.set(message, 3);
		void this.#pipe(frame);
	}

	close(): void {
		this.#closed = true;
	}
}
