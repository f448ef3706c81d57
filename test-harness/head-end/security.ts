import { type Status, statusName } from "../../src/bytes/status.js";
import type { ServerClock } from "../clock.js";
import { DAY_SECONDS, epochOf } from "../days.js";
import type { FleetSecurityView, SecurityView } from "./api.js";
import { Broadcasting } from "./broadcasting.js";
import type { MeterChannel } from "./channel.js";
import { EndToEnd } from "./end-to-end.js";
import { holdExclusively } from "./exclusive-file.js";
import { encodeDelegation, Frame, meterFrame, type NeighbourReport, type Pipe } from "./pipe.js";
import type { Registry } from "./registry.js";
import { SESSIONS_NAME, sessionsLockPath, sessionsPath } from "./session-files.js";
import { refusalsView } from "./views.js";

export interface SecurityOptions {
	readonly registry: Registry;
	readonly clock: ServerClock;
	readonly log: (line: string) => void;
	/** To the concentrator. */
	readonly pipe: Pipe;
}

/** How often another process's changes of the registry are looked for, s. */
const REGISTRY_SECONDS = 2;
const RESEND_CHECK_SECONDS = 10;

/**
 * The secured channel of the head end: end-to-end sessions of all meters, days and their anchors, blocks delegated to
 * concentrators. What lies in the registry's folder is its memory; while it runs no other process has the sessions.
 */
export class Security implements MeterChannel {
	readonly isSecured = true;
	readonly endToEnd: EndToEnd;
	readonly broadcasting: Broadcasting;
	readonly #options: SecurityOptions;
	readonly #release: () => void;
	readonly #reports = new Map<string, NeighbourReport>();
	#anchors = new Map<number, { epoch: number; utcSeconds: number }>();
	#delegatedBlock = -1;
	/** What was seen of the registry last. */
	#revision = -1;
	#active = new Set<string>();
	#closed = false;
	/** Whether a meter can hear. */
	isOnline: (id: string) => boolean = () => false;

	/** @throws UserError when another process has the sessions */
	constructor(options: SecurityOptions) {
		this.#options = options;
		const { registry, clock, log, pipe } = options;
		this.#release = holdExclusively(sessionsLockPath(registry.folder), SESSIONS_NAME);
		this.endToEnd = new EndToEnd({
			registry,
			clock,
			log,
			timeSeconds: () => this.broadcasting.utcSeconds(),
			transmit: (id, sealed) => void pipe(meterFrame(Frame.down, id, sealed)),
		});
		try {
			this.broadcasting = new Broadcasting(registry, clock, pipe, log);
			this.endToEnd.open(sessionsPath(registry.folder));
		} catch (error) {
			this.#release();
			throw error;
		}
	}

	/** Begins today: chains, delegation, anchor; then the schedules. */
	start(): void {
		this.#startDay();
		this.broadcasting.start();
		this.#schedule();
		this.#every(REGISTRY_SECONDS, () => this.#checkRegistry());
		this.#every(RESEND_CHECK_SECONDS, () => this.endToEnd.resendDue(this.isOnline));
	}

	#every(seconds: number, action: () => void): void {
		const again = (): void => {
			if (this.#closed) return;
			action();
			this.#options.clock.after(seconds, again);
		};
		this.#options.clock.after(seconds, again);
	}

	#schedule(): void {
		const { clock, registry } = this.#options;
		const now = clock.utcSeconds();
		const midnight = epochOf(now) * DAY_SECONDS;
		const interval1End = midnight + 2 * registry.teslaIntervalSeconds;
		const next = now < interval1End ? interval1End : midnight + DAY_SECONDS;
		clock.after(next - now, () => {
			if (this.#closed) return;
			if (next === interval1End) this.endToEnd.endYesterday();
			else this.#startDay();
			this.#schedule();
		});
	}

	/** The day has begun: chains first, then the concentrators, then the anchor that tells everyone. */
	#startDay(): void {
		this.endToEnd.startDay();
		const block = epochOf(this.#options.clock.utcSeconds()) >> 4;
		if (block !== this.#delegatedBlock) this.#delegate();
		this.#publishAnchors();
	}

	#delegate(): void {
		const { registry, clock, pipe } = this.#options;
		const epoch = epochOf(clock.utcSeconds());
		this.#delegatedBlock = epoch >> 4;
		for (const { domain } of registry.concentrators()) {
			const delegation = registry.delegate(domain, epoch);
			const frame = encodeDelegation(delegation);
			for (const { value } of delegation.meters) value.fill(0);
			void pipe(frame).finally(() => frame.fill(0));
		}
	}

	#publishAnchors(): void {
		const { registry, clock, pipe, log } = this.#options;
		const now = clock.utcSeconds();
		const epoch = epochOf(now);
		for (const { domain } of registry.concentrators()) {
			const bytes = this.broadcasting.anchor(domain);
			if (!bytes) {
				log(`no anchor for day ${epoch}: meters stay at the day before`);
				continue;
			}
			const frame = Buffer.alloc(5 + bytes.length);
			frame[0] = Frame.anchor;
			frame.writeUInt16BE(domain, 1);
			frame.writeUInt16BE(epoch, 3);
			frame.set(bytes, 5);
			this.#anchors.set(domain, { epoch, utcSeconds: now });
			void pipe(frame);
		}
	}

	/** Somebody, such as `wattlock provision`, may have changed it. */
	#checkRegistry(): void {
		const { registry, log, pipe } = this.#options;
		try {
			registry.refresh();
			if (registry.revision === this.#revision) return;
			this.#revision = registry.revision;
			const active = new Set(registry.list().flatMap(({ id, isDecommissioned }) => (isDecommissioned ? [] : [id])));
			for (const id of this.#active) if (!active.has(id)) void pipe(meterFrame(Frame.remove, id, new Uint8Array(0)));
			this.#active = active;
			this.endToEnd.registryChanged();
			this.#delegate();
		} catch (error) {
			log(`the registry cannot be read: ${(error as Error).message}`);
		}
	}

	// --- MeterChannel

	receive(id: string, payload: Uint8Array, into: Uint8Array): Status {
		return this.endToEnd.receive(id, payload, into);
	}

	get messageBytes(): number {
		return this.endToEnd.messageBytes;
	}

	send(id: string, message: Uint8Array, byteLength: number): boolean {
		return this.endToEnd.send(id, message, byteLength);
	}

	resend(id: string): void {
		this.endToEnd.resend(id);
	}

	stepDone(): void {
		this.endToEnd.stepDone();
	}

	flushed(): Promise<void> {
		return this.endToEnd.flushed();
	}

	get failure(): Error | undefined {
		return this.endToEnd.failure;
	}

	recover(): void {
		this.endToEnd.recover();
	}

	// --- what is shown

	/** What a concentrator says of a meter's neighbourhood branch. */
	reported(id: string, report: NeighbourReport): void {
		this.#reports.set(id, report);
	}

	view(id: string, refusals: Record<string, number>): SecurityView | null {
		const meter = this.#options.registry.meter(id);
		if (!meter) return null;
		const endToEnd = this.endToEnd.view(id) ?? null;
		const report = this.#reports.get(id);
		const today = epochOf(this.#options.clock.utcSeconds());
		const anchor = this.#anchors.get(meter.domain);
		return {
			state: meter.isDecommissioned
				? "decommissioned"
				: endToEnd === null || endToEnd.epoch === null
					? "never heard"
					: endToEnd.accepted === 0
						? "waiting"
						: "open",
			domain: meter.domain,
			shortAddress: meter.shortAddress,
			newestGeneration: meter.generation,
			confirmedGeneration: meter.confirmedGeneration,
			today,
			endToEnd,
			refusals,
			anchorEpoch: anchor?.epoch ?? null,
			anchorUtcSeconds: anchor?.utcSeconds ?? null,
			concentrator: report
				? {
						epoch: report.epoch,
						downNext: report.downNext,
						acknowledged: report.acknowledged,
						upNext: report.upNext,
						witnessedHead: report.head,
						refusals: Object.fromEntries([...report.refusals].map(([status, count]) => [statusName(status), count])),
					}
				: null,
		};
	}

	/** By state of the commands, for the view of all meters. */
	commandCounts: () => Record<string, number> = () => ({});

	fleetView(): FleetSecurityView {
		const { registry, clock } = this.#options;
		const { records, syncs, open, kept } = this.endToEnd.figures;
		return {
			meters: registry.list().filter(({ isDecommissioned }) => !isDecommissioned).length,
			open,
			today: epochOf(clock.utcSeconds()),
			anchorEpoch: [...this.#anchors.values()][0]?.epoch ?? null,
			disclosed: this.broadcasting.counts.disclosed,
			kept,
			refusals: refusalsView(this.endToEnd.counters),
			commands: this.commandCounts(),
			records,
			syncs,
		};
	}

	async close(): Promise<void> {
		this.#closed = true;
		this.broadcasting.close();
		await this.endToEnd.close();
		this.#release();
	}
}
