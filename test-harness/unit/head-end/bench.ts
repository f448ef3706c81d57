import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDeviceFile, wipeDeviceFile } from "../../../src/provisioning/device-file.js";
import { VirtualClock } from "../../clock.js";
import { BrokerLink } from "../../concentrator/broker-link.js";
import type { Concentrator } from "../../concentrator/concentrator.js";
import type { MeterCollection } from "../../head-end/fleet-views.js";
import type { HeadEnd } from "../../head-end/head-end.js";
import { Registry } from "../../head-end/registry.js";
import type { Security } from "../../head-end/security.js";
import { Servers } from "../../head-end/servers.js";
import { Store } from "../../head-end/store.js";
import { calendarRoot } from "../../provisioning/calendar-root.js";
import { FileLock } from "../../provisioning/sealed-file.js";
import { FakeKeys } from "./fake-keys.js";
import { FakeMeter, TestBroker } from "./fake-meter.js";

export const START_UTC = 800_000_000;
/** The day of START_UTC; it begins 22 h 13 min 20 s before. */
export const START_EPOCH = 9259;
export const DOMAIN = 7;

/** A fresh folder under the system's temporary one. */
export function temporaryFolder(): string {
	return mkdtempSync(join(tmpdir(), "wattlock-head-end-"));
}

/** A head end with a virtual clock, a real store and a real broker, in this process. */
export class Bench {
	readonly folder = temporaryFolder();
	broker!: TestBroker;
	clock!: VirtualClock;
	store!: Store;
	headEnd!: HeadEnd;
	link!: BrokerLink;
	readonly meters: FakeMeter[] = [];
	readonly lines: string[] = [];
	readonly allow: string[] | undefined;
	readonly secured: boolean;
	readonly teslaIntervalSeconds: number;
	registry: Registry | undefined;
	servers!: Servers;

	constructor(allow?: string[], secured = false, teslaIntervalSeconds = 900) {
		this.allow = allow;
		this.secured = secured;
		this.teslaIntervalSeconds = teslaIntervalSeconds;
	}

	get security(): Security {
		return this.servers.security!;
	}

	get concentrator(): Concentrator {
		return this.servers.concentrator!;
	}

	get registryFolder(): string {
		return join(this.folder, "registry");
	}

	get concentratorFolder(): string {
		return join(this.folder, "concentrator");
	}

	async start(): Promise<this> {
		this.broker = await TestBroker.start();
		this.clock = new VirtualClock(START_UTC);
		await this.startHeadEnd();
		return this;
	}

	async startHeadEnd(): Promise<void> {
		this.store = await Store.open(join(this.folder, "store"));
		const clock = new VirtualClock(this.clock.utcSeconds());
		this.clock = clock;
		if (this.secured) {
			const lock = FileLock.ofKeyFile(join(this.registryFolder, "registry.key"), true);
			this.registry = Registry.exists(this.registryFolder)
				? Registry.open(this.registryFolder, lock)
				: Registry.create(this.registryFolder, lock, {
						calendarFirstEpoch: START_EPOCH - 1,
						calendarLevels: 6,
						teslaIntervalSeconds: this.teslaIntervalSeconds,
						calendarRoot,
						concentrators: [{ identity: 1, domain: DOMAIN }],
					});
		}
		const servers = new Servers({
			clock,
			store: this.store,
			log: (line) => this.lines.push(line),
			allow: this.allow,
			secured: this.registry && {
				registry: this.registry,
				concentratorFolder: this.concentratorFolder,
			},
		});
		this.servers = servers;
		this.headEnd = servers.headEnd;
		await servers.start();
		this.link = new BrokerLink({
			url: this.broker.url,
			clientId: `wattlock-concentrator-${this.store.instance}`,
			clock,
			log: (line) => this.lines.push(line),
			receive: (topic, payload) => servers.receive(topic, payload),
			onUp: () => servers.linkUp(),
			onDown: () => servers.linkDown(),
			onReceiveFailed: (error) => this.lines.push(`failed: ${error}`),
		});
		servers.setLink(this.link);
		this.link.start();
		await this.link.barrier(5000);
	}

	async stopHeadEnd(): Promise<void> {
		await this.link.stop();
		await this.servers.close();
		this.clock.close();
		await this.store.close();
	}

	/** A meter of this bench, connected. */
	async meter(id = `00${(this.meters.length + 1).toString(16).padStart(14, "0")}`): Promise<FakeMeter> {
		const meter = new FakeMeter(id);
		if (this.registry) {
			const file = createDeviceFile();
			this.registry.addMeter(id, DOMAIN, this.meters.length, START_EPOCH, file);
			meter.keys = new FakeKeys(file);
			wipeDeviceFile(file);
		}
		meter.clock = () => this.clock.utcSeconds();
		this.meters.push(meter);
		return meter;
	}

	/** One step: what was sent is taken in, then the clock moves on. */
	async step(seconds = 1): Promise<void> {
		await this.link.barrier(2000);
		this.clock.advance(this.clock.utcSeconds() + seconds);
		await this.servers.stepDone();
		await this.link.flushed(2000);
	}

	/** Steps until nothing is under way or wanted any more. */
	async settle(stepSeconds = 1, stepsMax = 400): Promise<void> {
		for (let steps = 0; steps < stepsMax; steps++) {
			await this.step(stepSeconds);
			await new Promise((resolve) => setTimeout(resolve, 3)); // the fake meters answer
			await this.link.barrier(2000);
			if (this.headEnd.pending === 0) return;
		}
		throw new Error(`still ${this.headEnd.pending} pending after ${stepsMax} steps`);
	}

	summary(id: string): MeterCollection {
		const found = this.headEnd.summary().find((meter) => meter.id === id);
		if (!found) throw new Error(`meter ${id} is not enrolled`);
		return found;
	}

	async close(): Promise<void> {
		for (const meter of this.meters) await meter.close();
		await this.stopHeadEnd();
		await this.broker.stop();
		rmSync(this.folder, { recursive: true, force: true });
	}
}
