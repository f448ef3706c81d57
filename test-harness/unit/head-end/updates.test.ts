import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { UPDATE_BLOCK_BYTES } from "../../../src/messages/firmware-update.js";
import { Kind } from "../../../src/messages/kinds.js";
import { VirtualClock } from "../../clock.js";
import type { MeterChannel } from "../../head-end/channel.js";
import { Fleet } from "../../head-end/fleet.js";
import { MeterState } from "../../head-end/meter-state.js";
import type { Registry } from "../../head-end/registry.js";
import type { Store } from "../../head-end/store.js";
import { Updates, type UpdateView } from "../../head-end/updates.js";
import { UserError } from "../../user-error.js";
import {
	bodyOf,
	type Image,
	KEY,
	MemorySecurity,
	type MeterOptions,
	newFlash,
	signImage,
	TestKey,
	TestMeter,
} from "../firmware-update/world.js";

const ID = "02574c0000000001";
const WINDOW = 32;
const folders: string[] = [];
after(() => {
	for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** The head end's side before a real update machine; between them a window of 32 messages that can be shut. */
class Bench {
	readonly folder = mkdtempSync(join(tmpdir(), "wattlock-updates-"));
	readonly clock = new VirtualClock(1_000_000);
	readonly meter: TestMeter;
	readonly sentKinds: number[] = [];
	/** Messages that the channel still takes before the meter has heard them. */
	window = WINDOW;
	/** Messages on their way are lost. */
	isDeaf = false;
	updateKey: Uint8Array = KEY.publicKey;
	updates!: Updates;
	#fleet!: Fleet;
	#queue: Uint8Array[] = [];

	constructor(options: MeterOptions = {}) {
		folders.push(this.folder);
		this.meter = new TestMeter(newFlash(), new MemorySecurity(), options).boot();
		this.start();
	}

	/** Again: as after kill -9, with what lies in the folder. */
	start(): void {
		if (this.#fleet) this.#fleet.closed = true;
		const fleet = new Fleet({ clock: this.clock, store: {} as Store, log: () => {} });
		fleet.link = { connected: true, url: "", sinceUtcSeconds: 0, connects: 1, lastError: null, publish: () => {} };
		fleet.channel = {
			send: (_id: string, message: Uint8Array, byteLength: number) => {
				if (this.#queue.length >= this.window) return false;
				this.#queue.push(message.slice(0, byteLength));
				this.sentKinds.push(message[0]!);
				return true;
			},
		} as unknown as MeterChannel;
		const meter = new MeterState(ID, 0);
		meter.onlineFlag = true;
		fleet.meters.set(ID, meter);
		const registry = {
			updateKey: this.updateKey,
			meter: (id: string) => (id === ID ? { isDecommissioned: false } : undefined),
		} as unknown as Registry;
		this.#fleet = fleet;
		this.updates = new Updates({ fleet, registry, folder: this.folder });
		this.updates.start();
	}

	/** One second: what was sent arrives, the meter works and answers. */
	second(): void {
		this.clock.advance(this.clock.utcSeconds() + 1);
		const arriving = this.#queue;
		this.#queue = [];
		if (!this.isDeaf) for (const message of arriving) this.meter.raw(message);
		this.answer();
		this.meter.work();
		this.answer();
		if (this.meter.machine.wantsRestart) {
			this.meter.boot();
			this.updates.onHello(ID);
		}
	}

	answer(): void {
		const view = new DataView(new ArrayBuffer(1024));
		const byteLength = this.meter.machine.transmit(view);
		if (byteLength > 0) assert.equal(this.updates.onStatus(ID, view, byteLength), Status.ok, "a status is understood");
	}

	order(image: Image, activate = true): void {
		const kept = this.updates.addImage(fileOf(image));
		this.updates.order(ID, kept.image, activate);
	}

	get view(): UpdateView {
		return this.updates.view(ID)!;
	}

	until(what: (view: UpdateView) => boolean, secondsMax = 400): number {
		const from = this.clock.utcSeconds();
		while (!what(this.view)) {
			assert.ok(this.clock.utcSeconds() - from < secondsMax, JSON.stringify(this.view));
			this.second();
		}
		return this.clock.utcSeconds() - from;
	}
}

function fileOf({ manifest, signature, body }: Image): Buffer {
	return Buffer.concat([manifest, signature, body]);
}

function isEnded({ isEnded: ended }: UpdateView): boolean {
	return ended;
}

const IMAGE = signImage({ body: bodyOf(50_000, 3) });

test("offer, signature, blocks, activation, confirmation; every block once", () => {
	const bench = new Bench();
	bench.order(IMAGE);
	bench.until(({ phase }) => phase === "trial" && bench.meter.version === "0.2.0");
	assert.equal(bench.view.isEnded, false, "on trial it is not through");
	bench.meter.machine.confirm();
	bench.until(isEnded);
	assert.equal(bench.view.phase, "confirmed", JSON.stringify(bench.view));
	assert.equal(bench.view.blocks, Math.ceil(50_000 / UPDATE_BLOCK_BYTES));
	assert.equal(bench.view.held, 0);
	assert.deepEqual(bench.view.refusals, {});
	bench.order(IMAGE);
	bench.until(isEnded);
	assert.deepEqual([bench.view.phase, bench.view.reason], ["confirmed", "the meter ran it already"]);
});

test("a window that is nearly full, a meter that hears nothing for a while: it goes on, and ends", () => {
	const bench = new Bench();
	bench.window = 6;
	bench.order(IMAGE);
	bench.until(({ blocksMissing }) => blocksMissing !== null && blocksMissing < 50);
	assert.ok(bench.view.held > 0, "the window held some back");
	bench.isDeaf = true;
	for (let i = 0; i < 30; i++) bench.second();
	const { commands } = bench.view;
	for (let i = 0; i < 25; i++) bench.second();
	assert.ok(bench.view.commands - commands <= 7, "nothing but a question now and then while it does not answer");
	bench.isDeaf = false;
	bench.window = WINDOW;
	bench.until(({ phase }) => phase === "trial");
});

test("the head end dies and starts anew: what it has written is enough", () => {
	const bench = new Bench();
	bench.order(IMAGE);
	bench.until(({ blocksMissing }) => blocksMissing !== null && blocksMissing < 60);
	const missing = bench.view.blocksMissing!;
	bench.start();
	assert.equal(bench.view.phase, "sending", "it knows what it was doing");
	bench.until(({ phase }) => phase === "activating" || phase === "trial");
	assert.ok(bench.sentKinds.filter((kind) => kind === Kind.updateBlock).length <= IMAGE.blockCount + 32, "few twice");
	assert.ok(missing > 0);
	// one whose image is gone says so, and one whose state is damaged does not begin
	const gone = new Bench();
	gone.order(IMAGE);
	rmSync(join(gone.folder, "firmware"), { recursive: true });
	gone.start();
	gone.until(isEnded);
	assert.match(gone.view.reason ?? "", /there is no image/);
	writeFileSync(join(gone.folder, "updates.json"), "{");
	assert.throws(() => gone.start(), UserError);
});

test("a meter on trial that falls back is told as such, and not tried again by itself", () => {
	const bench = new Bench({ trialMilliseconds: 60_000 });
	bench.order(IMAGE);
	bench.until(({ phase }) => phase === "trial" && bench.meter.version === "0.2.0");
	bench.meter.boot(); // power fails
	bench.updates.onHello(ID);
	bench.until(isEnded);
	assert.equal(bench.view.phase, "rolledBack");
	assert.equal(bench.meter.version, "0.1.0");
	const { commands } = bench.view;
	for (let i = 0; i < 100; i++) bench.second();
	assert.equal(bench.view.commands, commands, "silence");
});

test("refusals end it with a reason: older, no key, another target, nothing to boot", () => {
	const cases: [MeterOptions, Image, RegExp][] = [
		[{}, signImage({ version: [0, 0, 9] }), /below the meter's/],
		[{ key: new Uint8Array(56) }, IMAGE, /no update key/],
		[{ key: new TestKey("another").publicKey }, IMAGE, /trusts another update key/],
		[{}, signImage({ target: 1 }), /of this target/],
		[{ boots: false }, IMAGE, /starts nothing out of flash/],
	];
	for (const [options, image, reason] of cases) {
		const bench = new Bench(options);
		bench.order(image);
		bench.until(isEnded);
		assert.equal(bench.view.phase, "failed", String(reason));
		assert.match(bench.view.reason ?? "", reason);
		assert.ok(Object.keys(bench.view.refusals).length > 0, "counted by name");
	}
});

test("it is brought without being started, replaced by another, and cancelled", () => {
	const bench = new Bench();
	bench.order(IMAGE, false);
	bench.until(isEnded);
	assert.equal(bench.view.phase, "stored");
	assert.equal(bench.meter.version, "0.1.0");
	const other = signImage({ version: [0, 3, 0], body: bodyOf(20_000, 4) });
	bench.order(other);
	bench.until(({ blocksMissing }) => blocksMissing !== null && blocksMissing < 30);
	assert.equal(bench.view.firmware, "0.3.0", "in place of what lay there");
	bench.updates.cancel(ID);
	for (let i = 0; i < 5; i++) bench.second();
	assert.equal(bench.view.phase, "cancelled");
	assert.equal(bench.meter.machine.state, 0, "the meter forgot it");
	assert.throws(() => bench.updates.cancel(ID), /no update/);
});

test("an image that no meter of this registry would take is not kept; nor is an unknown meter served", () => {
	const bench = new Bench();
	const spoiled = fileOf(IMAGE);
	spoiled[100]! ^= 1;
	assert.throws(() => bench.updates.addImage(spoiled), /the signature is wrong/);
	assert.throws(() => bench.updates.addImage(fileOf(signImage({ key: new TestKey("another") }))), /another key/);
	assert.throws(() => bench.updates.addImage(Buffer.alloc(40)), UserError);
	assert.deepEqual(bench.updates.images(), []);
	const { image } = bench.updates.addImage(fileOf(IMAGE));
	assert.deepEqual(bench.updates.addImage(fileOf(IMAGE)).image, image, "handed in twice");
	assert.throws(() => bench.updates.order("02574c0000000009", image, true), /knows no meter/);
	assert.throws(() => bench.updates.order(ID, "00000000", true), /no image/);
	// damaged on the disk: not offered any more
	const path = join(bench.folder, "firmware", `${image}.wlfw`);
	const bytes = readFileSync(path);
	bytes[bytes.length - 1]! ^= 1;
	writeFileSync(path, bytes);
	bench.start();
	assert.deepEqual(bench.updates.images(), []);
	bench.updateKey = new Uint8Array(56);
	bench.start();
	assert.throws(() => bench.updates.addImage(fileOf(IMAGE)), /has no update key/);
});

test("a status that is none is refused by its code", () => {
	const bench = new Bench();
	bench.order(IMAGE);
	assert.equal(bench.updates.onStatus(ID, new DataView(new ArrayBuffer(64)), 31), Status.badLength);
	assert.equal(bench.updates.onStatus(ID, new DataView(new ArrayBuffer(64)), 32), Status.badKind);
});
