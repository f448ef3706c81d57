import assert from "node:assert/strict";
import { test } from "node:test";
import { ANCHOR_TYPE } from "../../../src/broadcast/calendar.js";
import { Status } from "../../../src/bytes/status.js";
import { RandomSource } from "../../../src/crypto/drbg.js";
import { Branch } from "../../../src/key-store/chains.js";
import { KeyStore, type Provisioning } from "../../../src/key-store/key-store.js";
import { startOdometer } from "../../../src/key-store/odometer.js";
import { ServerUnicast } from "../../../src/key-store/server-unicast.js";
import { UnicastType } from "../../../src/key-store/unicast.js";
import {
	CATCHUP_BYTES,
	CATCHUP_REQUEST_DOWN_NEXT,
	CATCHUP_REQUEST_HEAD,
	CATCHUP_REQUEST_TRAILER_BYTES,
	CONTENT_PREFIX_BYTES,
	encodeCatchUp,
	encodeTime,
	NO_KEY_INTERVAL,
	NONCE_BYTES,
	TIME_BYTES,
	TIME_REQUEST_TRAILER_BYTES,
	WHOLE_DAY,
} from "../../../src/messages/channel.js";
import { Kind } from "../../../src/messages/kinds.js";
import { anchorTopic, downTopic } from "../../../src/messages/topics.js";
import { SecuredChannel } from "../../../src/meter/secured-channel.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { Random } from "../../waveforms/random.js";

const crypto = new NodeCrypto();
const IDENTIFIER = "02574c0000000001";
const ID = Uint8Array.from(Buffer.from(IDENTIFIER, "hex"));
const EPOCH = 9662;
const DAY = 86_400;
const LEVELS = 3;
const DOMAIN = 7;

/** Eight days of T_0 and the tree over them (HORA section 2, labels y and z). */
const chainKeys = Array.from({ length: 8 }, (_, i) => new Uint8Array(16).fill(0xa0 + i));
function tree(): Uint8Array[][] {
	const kdf = (key: Uint8Array, label: string, context: number[]): Uint8Array => {
		const into = new Uint8Array(16);
		crypto.kdf(key, 0, key.length, label.charCodeAt(0), Uint8Array.from(context), 0, context.length, into, 0, 16);
		return into;
	};
	const rows = [chainKeys.map((key, i) => kdf(key, "y", [(EPOCH + i) >> 8, (EPOCH + i) & 255]))];
	for (let height = 1; height <= LEVELS; height++) {
		const below = rows[height - 1]!;
		rows.push(
			Array.from({ length: below.length / 2 }, (_, i) =>
				kdf(Buffer.concat([below[2 * i]!, below[2 * i + 1]!]), "z", [height, i >> 8, i & 255]),
			),
		);
	}
	return rows;
}
const rows = tree();

function anchorOf(day: number): Uint8Array {
	const head = Uint8Array.from([ANCHOR_TYPE, DOMAIN >> 8, DOMAIN, (EPOCH + day) >> 8, EPOCH + day, LEVELS]);
	const siblings = Array.from({ length: LEVELS }, (_, height) => rows[height]![(day >> height) ^ 1]!);
	return Uint8Array.from(Buffer.concat([head, chainKeys[day]!, ...siblings]));
}

const PROVISIONING: Provisioning = {
	id: ID,
	generation: 1,
	domain: DOMAIN,
	shortAddress: 3,
	epoch: EPOCH,
	roots: Uint8Array.from({ length: 64 }, (_, i) => i),
	calendarRoot: rows[LEVELS]![0]!,
	calendarFirstEpoch: EPOCH,
	calendarLevels: LEVELS,
	teslaIntervalSeconds: 900,
	updateKey: new Uint8Array(56),
};

function server(branch: Branch): ServerUnicast {
	const unicast = new ServerUnicast(crypto, { branch, id: ID, domain: DOMAIN, shortAddress: 3, save: () => true });
	startDay(unicast, branch, 0);
	return unicast;
}

function startDay(unicast: ServerUnicast, branch: Branch, day: number): void {
	const bytes = new Uint8Array(160);
	bytes.set(PROVISIONING.roots.subarray(32 * branch, 32 * branch + 32), 128);
	startOdometer(crypto, bytes, 0, EPOCH + day, 128);
	assert.equal(unicast.startDay(EPOCH + day, bytes, 128), Status.ok, "startDay");
}

/** One meter's channel, and the two others that it talks with. */
class Scene {
	now = 1000;
	utcSeconds = Number.NaN;
	/** True time at `now` = 0. */
	readonly utcAtZero = EPOCH * DAY + 36_000;
	flash: FlashSimulator;
	store!: KeyStore;
	channel!: SecuredChannel;
	readonly headEnd = server(Branch.endToEnd);
	readonly concentrator = server(Branch.neighbourhood);
	head = 0;
	/** Messages that the head end opened. */
	readonly heard: Uint8Array[] = [];
	readonly lines: string[] = [];
	readonly epochs: number[] = [];
	#starts = 0;
	readonly #sealed = new Uint8Array(1100);
	readonly content = new Uint8Array(1100);

	constructor(flash = new FlashSimulator({ sectorCount: 256 })) {
		this.flash = flash;
		const store = new KeyStore(crypto, this.flash, this.#deviceKey);
		store.open();
		if (!store.isProvisioned) assert.equal(store.provision(PROVISIONING), Status.ok, "provision");
		this.start();
	}

	readonly #deviceKey = { copyTo: (into: Uint8Array, offset: number): void => void into.fill(9, offset, offset + 32) };

	start(): void {
		const entropy = new Random(++this.#starts, "entropy");
		const random = new RandomSource(crypto, { fill: (into) => void entropy.bytes(into) });
		assert.equal(random.start(ID, 8), Status.ok, "random");
		this.store = new KeyStore(crypto, this.flash, this.#deviceKey);
		this.store.open();
		this.channel = new SecuredChannel(
			crypto,
			this.store,
			random,
			IDENTIFIER,
			{
				timeReceived: (utcSeconds) => {
					this.utcSeconds = utcSeconds;
				},
				utcSeconds: () => this.utcSeconds,
				epochChanged: (epoch) => void this.epochs.push(epoch),
				messageReceived: () => Status.ok,
			},
			{ line: (text) => void this.lines.push(text) },
		);
	}

	/** What the channel itself wants to say goes out and is answered, until it is silent. */
	talk(answer = true): void {
		for (let n = 0; n < 10; n++) {
			const byteLength = this.channel.transmit(this.now, this.#sealed);
			if (byteLength === 0) return;
			const reply = this.serve(this.#sealed.slice(0, byteLength));
			if (reply !== undefined && answer) this.give(reply);
		}
	}

	give(bytes: Uint8Array, topic = downTopic(IDENTIFIER)): Status {
		return this.channel.receive(this.now, topic, bytes, bytes.length, this.content);
	}

	/** What concentrator and head end answer. */
	serve(bytes: Uint8Array): Uint8Array | undefined {
		const opened = new Uint8Array(1100);
		const elapsed = this.utcAtZero + this.now / 1000;
		const time = {
			epoch: Math.floor(elapsed / DAY),
			interval: Math.floor((elapsed % DAY) / 900),
			milliseconds: Math.round((elapsed % 900) * 1000),
		};
		if (bytes[0] === UnicastType.catchUpRequest) {
			const sealedBytes = bytes.length - CATCHUP_REQUEST_TRAILER_BYTES;
			const bound = bytes.slice(sealedBytes);
			if (this.concentrator.openMessage(bytes, sealedBytes, opened, bound) !== Status.ok) return undefined;
			const view = new DataView(bound.buffer);
			this.concentrator.acknowledge(view.getUint16(CATCHUP_REQUEST_DOWN_NEXT));
			this.head = Math.max(this.head, view.getUint32(CATCHUP_REQUEST_HEAD));
			const content = new Uint8Array(CATCHUP_BYTES);
			encodeCatchUp({ ...time, head: this.head, keyInterval: NO_KEY_INTERVAL }, new DataView(content.buffer));
			const reply = new Uint8Array(CATCHUP_BYTES + 18);
			const nonce = bound.slice(0, NONCE_BYTES);
			return this.concentrator.sealMessage(UnicastType.catchUp, content, CATCHUP_BYTES, reply, nonce) > 0
				? reply
				: undefined;
		}
		if (bytes[0] === UnicastType.timeRequest) {
			const sealedBytes = bytes.length - TIME_REQUEST_TRAILER_BYTES;
			const nonce = bytes.slice(sealedBytes);
			if (this.headEnd.openMessage(bytes, sealedBytes, opened, nonce) !== Status.ok) return undefined;
			const content = new Uint8Array(TIME_BYTES);
			encodeTime(time, new DataView(content.buffer));
			const reply = new Uint8Array(TIME_BYTES + 18);
			return this.headEnd.sealMessage(UnicastType.time, content, TIME_BYTES, reply, nonce) > 0 ? reply : undefined;
		}
		if (this.headEnd.openMessage(bytes, bytes.length, opened) !== Status.ok) return undefined;
		this.headEnd.acknowledge(opened[0]! * 256 + opened[1]!);
		this.heard.push(opened.slice(CONTENT_PREFIX_BYTES, this.headEnd.openedByteLength));
		return undefined;
	}

	say(text: string): boolean {
		const content = new Uint8Array(CONTENT_PREFIX_BYTES + text.length);
		content.set(Buffer.from(text), CONTENT_PREFIX_BYTES);
		const byteLength = this.channel.seal(content, content.length, this.#sealed);
		if (byteLength > 0) this.serve(this.#sealed.slice(0, byteLength));
		return byteLength > 0;
	}

	command(notAfter: number, message = [Kind.snapshotRequest, 1, 0, 1], from = this.headEnd): Uint8Array {
		const content = Uint8Array.from([notAfter >> 8, notAfter, ...message]);
		const sealed = new Uint8Array(content.length + 18);
		assert.ok(from.sealMessage(UnicastType.command, content, content.length, sealed) > 0, "command sealed");
		return sealed;
	}
}

test("after a start: the witness first, then the time, then messages", () => {
	const scene = new Scene();
	scene.channel.connected(scene.now);
	assert.equal(scene.channel.isReady, false);
	assert.equal(scene.say("too soon"), false, "nothing is sealed before the witness spoke");
	scene.talk();
	assert.equal(scene.channel.isReady, true);
	assert.ok(Math.abs(scene.utcSeconds - (scene.utcAtZero + 1)) < 0.01, `clock ${scene.utcSeconds}`);
	assert.ok(scene.say("reading"), "sealed");
	assert.equal(Buffer.from(scene.heard[0]!).toString(), "reading");
	assert.equal(scene.channel.deadlineMilliseconds() > scene.now, true, "nothing is due at once");
});

test("flash that was put back is found at the next start: the meter stays silent and says so", () => {
	const scene = new Scene();
	scene.channel.connected(scene.now);
	scene.talk();
	const before = scene.flash.image;
	for (let i = 0; i < 200; i++) scene.say("x");
	scene.start();
	scene.channel.connected(scene.now);
	scene.talk();
	assert.equal(scene.channel.isReady, true, "an ordinary start");
	scene.flash = new FlashSimulator({ sectorCount: 256, image: before });
	scene.start();
	scene.channel.connected(scene.now);
	scene.talk();
	assert.equal(scene.channel.isReady, false, "the concentrator does not answer an index that it has seen");
	assert.equal(scene.say("x"), false);
});

test("an answer without the nonce of the open question is refused, and so is one that took too long", () => {
	const scene = new Scene();
	scene.channel.connected(scene.now);
	const asked = new Uint8Array(1100);
	const first = scene.channel.transmit(scene.now, asked);
	const late = scene.serve(asked.slice(0, first))!;
	scene.now += 9000;
	assert.equal(scene.give(late), Status.outOfOrder, "too late");
	scene.now += 2000;
	const second = scene.channel.transmit(scene.now, asked);
	assert.ok(second > 0, "asked again");
	assert.equal(scene.give(late), Status.outOfOrder, "of the question before, which may be answered once");
	assert.equal(scene.give(late), Status.badTag, "and no more than once");
	assert.equal(scene.channel.isReady, false);
	assert.equal(scene.give(scene.serve(asked.slice(0, second))!), Status.ok);
	assert.equal(scene.channel.isReady, true);
});

test("a command: once, in time, from the head end alone", () => {
	const scene = new Scene();
	scene.channel.connected(scene.now);
	assert.equal(scene.give(scene.command(WHOLE_DAY)), Status.busy, "before the witness nothing is opened");
	scene.talk();
	const whole = scene.command(WHOLE_DAY);
	assert.equal(scene.give(whole), Status.ok);
	assert.equal(scene.channel.messageBytes, 4);
	assert.equal(scene.channel.arrival.isExpired, false);
	assert.equal(scene.give(whole), Status.replayed);
	const interval = Math.floor((scene.utcSeconds % DAY) / 900);
	assert.equal(scene.give(scene.command(interval)), Status.ok);
	assert.equal(scene.channel.arrival.isExpired, false, "in its last interval");
	assert.equal(scene.give(scene.command(interval - 1)), Status.ok);
	assert.equal(scene.channel.arrival.isExpired, true);
	const stolen = scene.command(WHOLE_DAY, undefined, scene.concentrator);
	assert.equal(scene.give(stolen), Status.notAuthorised, "under the concentrator's keys");
	assert.equal(scene.channel.messageBytes, 0);
});

test("a day begins with its anchor and with nothing else", () => {
	const scene = new Scene();
	scene.channel.connected(scene.now);
	scene.talk();
	const forged = anchorOf(1);
	forged[6]! ^= 1;
	assert.equal(scene.give(forged, anchorTopic(DOMAIN)), Status.badTag);
	assert.equal(scene.give(anchorOf(0), anchorTopic(DOMAIN)), Status.ok, "today's, heard again");
	assert.deepEqual(scene.epochs, []);
	const yesterday = scene.command(WHOLE_DAY);
	assert.equal(scene.give(anchorOf(1), anchorTopic(DOMAIN)), Status.ok);
	assert.deepEqual(scene.epochs, [EPOCH + 1]);
	assert.equal(scene.give(yesterday), Status.ok, "yesterday's chain is kept for two intervals");
	startDay(scene.headEnd, Branch.endToEnd, 1);
	startDay(scene.concentrator, Branch.neighbourhood, 1);
	assert.ok(scene.say("new day"), "sealed");
	assert.equal(scene.heard.length, 1);
	const old = scene.flash.image;
	scene.now += 2 * 900_000;
	scene.channel.tick(scene.now);
	assert.notDeepEqual(scene.flash.image, old, "yesterday's chain is erased");
	assert.equal(scene.give(anchorOf(7), anchorTopic(DOMAIN)), Status.ok, "days were missed");
	assert.equal(scene.store.epoch, EPOCH + 7);
});

test("bytes of anyone: every answer a status, nothing thrown, nothing opened", () => {
	const scene = new Scene();
	scene.channel.connected(scene.now);
	scene.talk();
	const random = new Random(5, "hostile");
	const good = scene.command(WHOLE_DAY);
	for (let i = 0; i < 3000; i++) {
		const bytes = random.chance(0.5) ? random.bytes(new Uint8Array(random.integer(0, 60))) : good.slice();
		if (bytes.length > 0) bytes[random.integer(0, bytes.length - 1)]! ^= 1 << random.integer(0, 7);
		const topic = random.chance(0.2) ? anchorTopic(DOMAIN) : downTopic(IDENTIFIER);
		assert.notEqual(scene.give(bytes, topic), Status.ok, `case ${i}: ${Buffer.from(bytes).toString("hex")}`);
	}
	assert.equal(scene.give(good), Status.ok, "and the good one still comes through");
});
