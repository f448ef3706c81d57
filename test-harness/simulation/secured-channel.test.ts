import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import { RandomSource } from "../../src/crypto/drbg.js";
import { Branch } from "../../src/key-store/chains.js";
import { KeyStore } from "../../src/key-store/key-store.js";
import { CONTENT_PREFIX_BYTES } from "../../src/messages/channel.js";
import { Kind, MESSAGE_BYTES_MAX } from "../../src/messages/kinds.js";
import { allTopic, anchorTopic, downTopic, upTopic } from "../../src/messages/topics.js";
import { SecuredChannel } from "../../src/meter/secured-channel.js";
import { createDeviceFile } from "../../src/provisioning/device-file.js";
import { FlashSimulator } from "../board/flash-simulator.js";
import { VirtualClock } from "../clock.js";
import { Concentrator } from "../concentrator/concentrator.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { Frame, frameMeter, METER_FRAME_BYTES } from "../head-end/pipe.js";
import { Registry } from "../head-end/registry.js";
import { Security } from "../head-end/security.js";
import { calendarRoot } from "../provisioning/calendar-root.js";
import { FileLock } from "../provisioning/sealed-file.js";
import { seed } from "../seed.js";
import { Random } from "../waveforms/random.js";

const METERS = 24;
const DAYS = 30;
const STEP_SECONDS = 120;
const DAY_SECONDS = 86_400;
const FIRST_EPOCH = 9662;
/** The last day has a good network, so that everyone can end current. */
const GOOD_SECONDS = 6 * 3600;
const DOMAIN = 1;
const LEVELS = 6;
const INTERVAL_SECONDS = 900;
const LOSS = 0.1;
const DUPLICATES = 0.05;
const DELAY_SECONDS_MAX = 20;

const crypto = new NodeCrypto();
const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "wattlock-channel-"));
after(() => rmSync(folder, { recursive: true, force: true }));

interface InFlight {
	readonly dueSeconds: number;
	readonly order: number;
	readonly deliver: () => void | Promise<void>;
}

/** A meter without metrology: keys, channel, and a crystal that drifts. */
class SimulatedMeter {
	readonly id: string;
	readonly flash = new FlashSimulator({ sectorCount: 256 });
	readonly deviceKey: { copyTo(into: Uint8Array, offset: number): void };
	readonly driftFactor: number;
	/** Numbers of commands that were given to the application. */
	readonly commands = new Set<number>();
	commandsTwice = 0;
	starts = 0;
	sent = 0;
	channel!: SecuredChannel;
	store!: KeyStore;
	/** True time of power-on, s; when power returns while it is off. */
	onSince = Number.NaN;
	returnsAt = 0;
	#utcOffset = Number.NaN;
	readonly content = new Uint8Array(MESSAGE_BYTES_MAX + CONTENT_PREFIX_BYTES);

	constructor(index: number, random: Random) {
		this.id = `02574c00${(index + 1).toString(16).padStart(8, "0")}`;
		const key = random.bytes(new Uint8Array(32));
		this.deviceKey = { copyTo: (into, offset) => into.set(key, offset) };
		this.driftFactor = 1 + random.between(-100, 100) * 1e-6;
	}

	get isOn(): boolean {
		return !Number.isNaN(this.onSince);
	}

	/** Monotonic milliseconds of its crystal. */
	now(trueSeconds: number): number {
		return (trueSeconds - this.onSince) * 1000 * this.driftFactor;
	}

	powerOn(trueSeconds: number, random: Random): void {
		this.onSince = trueSeconds;
		this.starts++;
		const entropy = random.child(`entropy ${this.id} ${this.starts}`);
		const source = new RandomSource(crypto, { fill: (into) => void entropy.bytes(into) });
		const id = Uint8Array.from(Buffer.from(this.id, "hex"));
		assert.equal(source.start(id, 8), Status.ok, "random source");
		this.store = new KeyStore(crypto, this.flash, this.deviceKey);
		this.store.open();
		this.#utcOffset = Number.NaN; // no real-time clock
		this.channel = new SecuredChannel(
			crypto,
			this.store,
			source,
			this.id,
			{
				timeReceived: (utcSeconds) => {
					this.#utcOffset = utcSeconds - this.clock() / 1000;
				},
				utcSeconds: () => this.#utcOffset + this.clock() / 1000,
				epochChanged: () => {},
				messageReceived: () => Status.ok,
			},
			{ line: () => {} },
		);
	}

	/** Set by the world before each call. */
	clock: () => number = () => 0;
}

test(`secured channel: ${METERS} meters, ${DAYS} days of loss, doubles, reordering, drift and restarts`, async (context) => {
	const began = performance.now();
	const random = new Random(seed >>> 0, "secured channel");
	const clock = new VirtualClock(FIRST_EPOCH * DAY_SECONDS + 8 * 3600);
	const lock = FileLock.ofKeyFile(join(folder, "registry.key"), true);
	const registry = Registry.create(folder, lock, {
		calendarFirstEpoch: FIRST_EPOCH,
		calendarLevels: LEVELS,
		teslaIntervalSeconds: INTERVAL_SECONDS,
		calendarRoot,
		concentrators: [{ identity: 1, domain: DOMAIN }],
	});
	const meters = Array.from(
		{ length: METERS },
		(_, index) => new SimulatedMeter(index, random.child(`meter ${index}`)),
	);
	const byId = new Map(meters.map((meter) => [meter.id, meter]));
	const file = createDeviceFile();
	for (const [index, meter] of meters.entries()) {
		registry.addMeter(meter.id, DOMAIN, index + 1, FIRST_EPOCH, file);
		const store = new KeyStore(crypto, meter.flash, meter.deviceKey);
		store.open();
		assert.equal(store.provision(file), Status.ok, "provision");
	}

	// ---- the air: loses, doubles, delays
	let lossNow = LOSS;
	let queue: InFlight[] = [];
	let order = 0;
	const counts = { up: 0, lost: 0, doubled: 0, restarts: 0, serverRestarts: 0, accepted: 0, refusedUp: 0 };
	/** Most take less than two seconds each way; some are overtaken by many. */
	const delay = (): number => random.between(0, random.chance(0.9) ? 2 : DELAY_SECONDS_MAX);
	const send = (deliver: InFlight["deliver"]): void => {
		if (random.chance(lossNow)) {
			counts.lost++;
			return;
		}
		const copies = random.chance(lossNow > 0 ? DUPLICATES : 0) ? 2 : 1;
		counts.doubled += copies - 1;
		for (let i = 0; i < copies; i++) queue.push({ dueSeconds: clock.utcSeconds() + delay(), order: order++, deliver });
	};

	// ---- the servers, which can be restarted
	const accepted = new Set<string>();
	let acceptedTwice = 0;
	let retained: Uint8Array | undefined;
	const opened = new Uint8Array(MESSAGE_BYTES_MAX);
	let security!: Security;
	let concentrator!: Concentrator;
	const toMeter = (meter: SimulatedMeter, topic: string, payload: Uint8Array): void => {
		if (!meter.isOn) return;
		const now = meter.now(clock.utcSeconds());
		meter.clock = () => now;
		const status = meter.channel.receive(now, topic, payload, payload.length, meter.content);
		if (status !== Status.ok || meter.channel.messageBytes === 0) return;
		const number = new DataView(meter.content.buffer).getUint32(CONTENT_PREFIX_BYTES + 2);
		if (meter.commands.has(number)) meter.commandsTwice++;
		meter.commands.add(number);
	};
	const startServers = (): void => {
		security = new Security({
			registry,
			clock,
			log: () => {},
			pipe: async (frame) => concentrator.fromHeadEnd(frame),
		});
		security.isOnline = (id) => byId.get(id)?.isOn === true;
		concentrator = new Concentrator({
			folder: join(folder, "concentrator"),
			domain: DOMAIN,
			clock,
			intervalSeconds: INTERVAL_SECONDS,
			log: () => {},
			pipe: async (bytes) => {
				const frame = Buffer.from(bytes);
				if (frame[0] !== Frame.up) return;
				const id = frameMeter(frame);
				const status = security.receive(id, frame.subarray(METER_FRAME_BYTES), opened);
				if (status !== Status.ok) counts.refusedUp++;
				else if (security.messageBytes > 0) {
					const name = `${id} ${new DataView(opened.buffer).getUint32(2)}`;
					if (accepted.has(name)) acceptedTwice++;
					accepted.add(name);
					counts.accepted++;
				}
			},
		});
		concentrator.setLink({
			connected: true,
			connects: 1,
			sinceUtcSeconds: 0,
			url: "",
			lastError: null,
			publish(topic, payload, retain) {
				const bytes = Uint8Array.from(payload);
				if (retain === true) retained = bytes;
				for (const meter of meters) {
					const isForAll = topic === allTopic(DOMAIN) || topic === anchorTopic(DOMAIN);
					if (isForAll || topic === downTopic(meter.id)) send(() => toMeter(meter, topic, bytes));
				}
			},
		});
		concentrator.start();
		security.start();
		concentrator.linkUp();
	};
	const stopServers = async (): Promise<void> => {
		await concentrator.close();
		await security.close();
	};
	startServers();

	/** Everything that arrives before `until`, in its order, and what is answered to it. */
	const settle = async (until: number): Promise<void> => {
		for (;;) {
			concentrator.stepDone();
			security.stepDone();
			await concentrator.flushed();
			await security.flushed();
			let first: InFlight | undefined;
			for (const one of queue)
				if (
					one.dueSeconds < until &&
					(first === undefined ||
						one.dueSeconds < first.dueSeconds ||
						(one.dueSeconds === first.dueSeconds && one.order < first.order))
				)
					first = one;
			if (first === undefined) return;
			const next = first;
			queue = queue.filter((one) => one !== next);
			clock.advance(next.dueSeconds);
			await next.deliver();
		}
	};

	// ---- thirty days
	const end = clock.utcSeconds() + DAYS * DAY_SECONDS;
	const sealed = new Uint8Array(MESSAGE_BYTES_MAX + 64);
	let commandNumber = 0;
	let nextServerRestart = clock.utcSeconds() + random.between(0, 2) * DAY_SECONDS;
	const command = (meter: SimulatedMeter): boolean => {
		const message = new Uint8Array(6);
		const view = new DataView(message.buffer);
		view.setUint8(0, Kind.snapshotRequest);
		view.setUint8(1, 1);
		view.setUint32(2, ++commandNumber);
		return security.send(meter.id, message, message.length);
	};
	let now = clock.utcSeconds();
	while (now < end) {
		now += STEP_SECONDS;
		clock.advance(now);
		if (end - now <= GOOD_SECONDS) lossNow = 0;
		if (now >= nextServerRestart && lossNow > 0) {
			nextServerRestart = now + random.between(0.5, 3) * DAY_SECONDS;
			counts.serverRestarts++;
			await stopServers();
			startServers();
		}
		for (const meter of meters) {
			if (!meter.isOn) {
				if (now < meter.returnsAt) continue;
				meter.powerOn(now, random);
				const time = meter.now(now);
				meter.clock = () => time;
				meter.channel.connected(time);
				if (retained !== undefined) toMeter(meter, anchorTopic(DOMAIN), retained);
			} else if (lossNow > 0 && random.chance(STEP_SECONDS / (1.5 * DAY_SECONDS))) {
				counts.restarts++;
				meter.onSince = Number.NaN;
				const away = random.chance(0.1) ? random.between(0, 3 * DAY_SECONDS) : random.between(0, 600);
				meter.returnsAt = Math.min(now + away, end - GOOD_SECONDS);
				continue;
			}
			const time = meter.now(now);
			meter.clock = () => time;
			if (time >= meter.channel.deadlineMilliseconds()) meter.channel.tick(time);
			for (let count = meter.channel.transmit(time, sealed); count > 0; count = meter.channel.transmit(time, sealed)) {
				const bytes = sealed.slice(0, count);
				send(() => concentrator.receive(upTopic(meter.id), bytes));
			}
			if (random.chance(STEP_SECONDS / 1800)) {
				const content = new Uint8Array(CONTENT_PREFIX_BYTES + 64);
				const view = new DataView(content.buffer, CONTENT_PREFIX_BYTES);
				view.setUint8(0, Kind.reading);
				view.setUint32(2, meter.sent);
				const count = meter.channel.seal(content, content.length, sealed);
				if (count === 0) continue;
				meter.sent++;
				counts.up++;
				const bytes = sealed.slice(0, count);
				send(() => concentrator.receive(upTopic(meter.id), bytes));
			}
			if (random.chance(STEP_SECONDS / (6 * 3600))) command(meter);
		}
		await settle(now + STEP_SECONDS);
	}

	// ---- everyone is current, and nothing was taken twice
	const epoch = Math.floor(clock.utcSeconds() / DAY_SECONDS);
	const before = commandNumber;
	for (const meter of meters) assert.ok(command(meter), `a command for ${meter.id} is sealed`);
	await settle(clock.utcSeconds() + 600);
	for (const [index, meter] of meters.entries()) {
		assert.ok(meter.isOn, `${meter.id} is on`);
		assert.equal(meter.store.epoch, epoch, `day of ${meter.id}`);
		assert.ok(meter.channel.isReady, `${meter.id} may seal`);
		assert.ok(meter.commands.has(before + index + 1), `${meter.id} got its last command`);
		assert.equal(meter.commandsTwice, 0, `${meter.id} obeyed twice`);
		assert.ok(meter.store.upIndex(Branch.endToEnd) > 0, `${meter.id} spoke today`);
	}
	assert.equal(acceptedTwice, 0, "messages that the head end took twice");
	assert.ok(counts.restarts > 300 && counts.lost > 5000 && counts.doubled > 2000, JSON.stringify(counts));
	assert.ok(accepted.size > 0.8 * counts.up, JSON.stringify({ ...counts, accepted: accepted.size }));
	await stopServers();
	registry.close();
	lock.close();
	context.diagnostic(`${JSON.stringify(counts)}, ${((performance.now() - began) / 1000).toFixed(1)} s`);
});
