import type { ServerClock } from "../clock.js";
import { Concentrator, type ConcentratorLink } from "../concentrator/concentrator.js";
import { Attacks } from "./attacks.js";
import { Commanding } from "./commanding.js";
import type { HeadEndLink } from "./fleet.js";
import { HeadEnd } from "./head-end.js";
import { decodeLink, decodeReport, Frame, frameMeter, METER_FRAME_BYTES } from "./pipe.js";
import type { Registry } from "./registry.js";
import { Security } from "./security.js";
import type { Store } from "./store.js";
import { Updates } from "./updates.js";

export interface ServersOptions {
	readonly clock: ServerClock;
	readonly store: Store;
	readonly log: (line: string) => void;
	/** Plain messages only: these meters are enrolled; absent: every meter that speaks. */
	readonly allow?: readonly string[] | undefined;
	/** Absent: messages in clear, and no concentrator between head end and broker. */
	readonly secured?:
		| {
				readonly registry: Registry;
				/** The concentrator's own folder. */
				readonly concentratorFolder: string;
		  }
		| undefined;
}

/**
 * Head end and concentrator of a demo, in one process. They share no object: between them are two pipes of bytes, which
 * a socket could take the place of.
 */
export class Servers {
	readonly headEnd: HeadEnd;
	readonly security: Security | undefined;
	readonly concentrator: Concentrator | undefined;
	/** Messages of meters that were taken in, for whichever of the two. */
	received = 0;

	/** @throws UserError */
	constructor(options: ServersOptions) {
		const { clock, store, log, allow, secured } = options;
		if (!secured) {
			this.headEnd = new HeadEnd({ clock, store, log, allow });
			return;
		}
		const { registry, concentratorFolder } = secured;
		const security = new Security({
			registry,
			clock,
			log,
			pipe: async (frame) => this.concentrator?.fromHeadEnd(frame),
		});
		const headEnd = new HeadEnd({ clock, store, log, channel: security });
		this.security = security;
		this.headEnd = headEnd;
		headEnd.commanding = new Commanding({ fleet: headEnd.fleet, security, registry, folder: registry.folder });
		headEnd.updates = new Updates({ fleet: headEnd.fleet, registry, folder: registry.folder });
		const { commanding } = headEnd;
		security.commandCounts = () => commanding.counts();
		headEnd.attacks = new Attacks({ headEnd, concentratorFolder });
		security.isOnline = (id) => headEnd.state(id) === "online";
		const link: { -readonly [Key in keyof HeadEndLink]: HeadEndLink[Key] } = {
			connected: false,
			url: "",
			connects: 0,
			sinceUtcSeconds: clock.utcSeconds(),
			lastError: null,
			publish: () => {}, // what goes down goes through the pipe
		};
		headEnd.setLink(link);
		this.concentrator = new Concentrator({
			folder: concentratorFolder,
			domain: registry.concentrators()[0]!.domain,
			clock,
			intervalSeconds: registry.teslaIntervalSeconds,
			log,
			pipe: async (bytes) => {
				const frame = Buffer.from(bytes);
				if (frame[0] === Frame.up) await headEnd.up(frameMeter(frame), frame.subarray(METER_FRAME_BYTES));
				else if (frame[0] === Frame.online) headEnd.online(frameMeter(frame), frame[METER_FRAME_BYTES] === 1);
				else if (frame[0] === Frame.report) {
					const report = decodeReport(frame);
					if (report) security.reported(frameMeter(frame), report);
				} else if (frame[0] === Frame.link) {
					const wasConnected = link.connected;
					Object.assign(link, decodeLink(frame));
					if (link.connected) headEnd.linkUp();
					else if (wasConnected) headEnd.linkDown();
				}
			},
		});
	}

	/** @throws StoreError */
	async start(): Promise<void> {
		await this.headEnd.start();
		this.concentrator?.start();
		this.security?.start();
		this.headEnd.commanding?.start();
		this.headEnd.updates?.start();
	}

	setLink(link: ConcentratorLink): void {
		if (this.concentrator) this.concentrator.setLink(link);
		else this.headEnd.setLink(link);
	}

	/** One MQTT message; see `HeadEnd.receive`. @throws StoreError */
	async receive(topic: string, payload: Uint8Array): Promise<void> {
		await (this.concentrator ? this.concentrator.receive(topic, payload) : this.headEnd.receive(topic, payload));
		if (topic.endsWith("/up")) this.received++;
	}

	linkUp(): void {
		if (this.concentrator) this.concentrator.linkUp();
		else this.headEnd.linkUp();
	}

	linkDown(): void {
		if (this.concentrator) this.concentrator.linkDown();
		else this.headEnd.linkDown();
	}

	/** At the end of a step of a virtual clock; resolves when all that is to be sent is with the link. */
	async stepDone(): Promise<void> {
		this.concentrator?.stepDone();
		this.headEnd.stepDone();
		await this.flushed();
	}

	/** Resolves when all that was sealed is with the link. */
	async flushed(): Promise<void> {
		await this.concentrator?.flushed();
		await this.headEnd.flushed();
	}

	/** After a store took no more. @throws what the disk says */
	async recover(): Promise<void> {
		if (this.security?.failure) this.security.recover();
		if (this.concentrator?.neighbourhood.failure) this.concentrator.neighbourhood.recover();
		await this.headEnd.reload();
	}

	async close(): Promise<void> {
		this.headEnd.close();
		await this.concentrator?.close();
		this.headEnd.commanding?.close();
		this.headEnd.updates?.close();
		await this.security?.close();
	}
}
