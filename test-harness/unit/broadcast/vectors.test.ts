import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
	createBeacon,
	createBroadcastHeader,
	createFlash,
	decodeBeacon,
	decodeBroadcastHeader,
	decodeFlash,
} from "../../../src/broadcast/broadcast-messages.js";
import { createAnchor, verifyAnchor } from "../../../src/broadcast/calendar.js";
import { IntervalTiming } from "../../../src/broadcast/interval-timing.js";
import { Label } from "../../../src/broadcast/labels.js";
import {
	ALL_DOMAINS,
	CHAIN_CONTEXT_BYTES,
	Chain,
	startContext,
	stepKey,
	TeslaReceiver,
} from "../../../src/broadcast/tesla.js";
import { Status } from "../../../src/bytes/status.js";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { BROADCAST_BENCH_COMPRESSIONS, BroadcastBench } from "../../broadcast/bench-entry.js";
import { SenderCrypto } from "../../broadcast/sender-crypto.js";
import { firstKey, TeslaChain } from "../../broadcast/tesla-chain.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { ROOT } from "../../root.js";
import { CompressionCounter, Meter, Senders } from "./world.js";

interface BeaconVector {
	interval: number;
	headEndLag: number;
	generation: number;
	generationOfDay: number;
	patchDelta: number;
	extension?: string;
	bytes: string;
}

interface Vectors {
	seeds: { headEnd: string; concentrator: string };
	domain: number;
	firstEpoch: number;
	levels: number;
	intervalsADay: number;
	disclosureDelay: number;
	epoch: number;
	keys: { chain: Chain; epoch: number; index: number; key: string }[];
	shortDay: { chain: Chain; epoch: number; intervalsADay: number; key: string }[];
	macKeys: { chain: Chain; interval: number; key: string }[];
	calendar: { root: string; anchors: { epoch: number; bytes: string }[]; short: { epoch: number; bytes: string }[] };
	beacons: BeaconVector[];
	broadcasts: { interval: number; counter: number; domain: number; payload: string; bytes: string }[];
	flash: {
		slot: number;
		scope: number;
		firstInterval: number;
		lastInterval: number;
		interval: number;
		commit: string;
		levels: { level: number; bytes: string }[];
	};
	bench: Record<"headEndKey" | "concentratorKey" | "first" | "broadcast" | "second", string>;
}

const vectors: Vectors = JSON.parse(
	readFileSync(join(ROOT, "test-harness", "vectors", "broadcast", "broadcast.json"), "utf8"),
);
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const CRYPTOS: readonly Crypto[] = [new NobleCrypto(), new NodeCrypto(), new SenderCrypto()];
const { epoch, domain } = vectors;
const timing = new IntervalTiming(86_400 / vectors.intervalsADay, vectors.disclosureDelay);
const seedOf = (chain: Chain) => bytesOf(chain === Chain.headEnd ? vectors.seeds.headEnd : vectors.seeds.concentrator);
const domainOf = (chain: Chain) => (chain === Chain.headEnd ? ALL_DOMAINS : domain);

/** Senders whose time is the middle of an interval of the vectors' day. */
function sendersAt(interval: number): Senders {
	return new Senders({ startSeconds: epoch * 86_400 + (interval + 0.5) * 900 });
}

for (const crypto of CRYPTOS) {
	const name = crypto.constructor.name;

	test(`${name}: keys and MAC keys of both chains`, () => {
		for (const { chain, epoch: day, index, key } of vectors.keys) {
			const sender = new TeslaChain(crypto, seedOf(chain), domainOf(chain), chain, timing);
			const found = index === 0 ? sender.anchorOf(day) : sender.keyOf(timing.numberOf(day, index - 1));
			assert.equal(hexOf(found), key, `T_${index} of chain ${chain}`);
		}
		for (const { chain, interval, key } of vectors.macKeys) {
			const sender = new TeslaChain(crypto, seedOf(chain), domainOf(chain), chain, timing);
			const context = new Uint8Array(CHAIN_CONTEXT_BYTES);
			const found = new Uint8Array(16);
			startContext(context, domainOf(chain), chain, epoch);
			stepKey(crypto, Label.macKey, context, interval + 1, sender.keyOf(timing.numberOf(epoch, interval)), 0, found, 0);
			assert.equal(hexOf(found), key, `interval ${interval} of chain ${chain}`);
		}
	});

	test(`${name}: anchors, long and short, and no other day's`, () => {
		const { root, anchors, short } = vectors.calendar;
		const calendar = { root: bytesOf(root), firstEpoch: vectors.firstEpoch, levels: vectors.levels };
		const anchor = createAnchor();
		for (const { bytes, epoch: day } of short)
			assert.equal(
				verifyAnchor(crypto, calendar, bytesOf(bytes), 86, anchor),
				Status.notFound,
				`${day}: no block held`,
			);
		for (const { bytes, epoch: day } of anchors) {
			const message = bytesOf(bytes);
			assert.equal(verifyAnchor(crypto, calendar, message, message.length, anchor), Status.ok, `day ${day}`);
			assert.equal(anchor.epoch, day);
			assert.equal(hexOf(anchor.chainKey), bytes.slice(12, 44));
			message[4]! ^= 1;
			assert.equal(verifyAnchor(crypto, calendar, message, message.length, anchor), Status.badTag, `not ${day ^ 1}`);
			assert.equal(anchor.epoch, day, "left as it was");
		}
		for (const { bytes, epoch: day } of short) {
			const message = bytesOf(bytes);
			const [first] = anchors;
			const last = anchors.at(-1)!;
			verifyAnchor(crypto, calendar, bytesOf(last.bytes), last.bytes.length / 2, anchor);
			assert.equal(verifyAnchor(crypto, calendar, message, 86, anchor), Status.notFound, "another block is held");
			verifyAnchor(crypto, calendar, bytesOf(first!.bytes), first!.bytes.length / 2, anchor);
			assert.equal(verifyAnchor(crypto, calendar, message, 86, anchor), Status.ok, `day ${day}, short`);
			assert.equal(anchor.epoch, day);
			message[30]! ^= 1;
			assert.equal(verifyAnchor(crypto, calendar, message, 86, anchor), Status.badTag);
			const other = { ...calendar, root: new Uint8Array(16) };
			assert.equal(verifyAnchor(crypto, other, bytesOf(bytes), 86, anchor), Status.notFound, "of another calendar");
		}
	});

	test(`${name}: every message verifies`, () => {
		const receiver = new TeslaReceiver(crypto, timing, Chain.headEnd, ALL_DOMAINS);
		const ofDomain = new TeslaReceiver(crypto, timing, Chain.concentrator, domain);
		for (const { chain, index, key } of vectors.keys)
			if (index === 0 || index === 96)
				assert.ok((chain === 0 ? receiver : ofDomain).anchor(epoch, index, bytesOf(key), 0), `T_${index}`);
		const check = (chain: TeslaReceiver, interval: number, hex: string): boolean => {
			const message = bytesOf(hex);
			const covered = new Uint8Array(5 + message.length);
			covered.set([epoch >> 8, epoch & 255, chain.domain >> 8, chain.domain & 255, 0]);
			covered.set(message, 5);
			return chain.isGenuine(epoch, interval, covered, 0, covered.length - 10);
		};
		for (const { interval, bytes } of vectors.beacons)
			assert.ok(check(ofDomain, interval, bytes), `beacon ${interval}`);
		for (const { interval, bytes } of vectors.broadcasts) {
			assert.ok(check(receiver, interval, bytes), `broadcast ${interval}`);
			assert.ok(!check(receiver, interval - 1, bytes), "not under another interval's key");
		}
		assert.ok(check(receiver, vectors.flash.interval, vectors.flash.commit), "flash commit");
	});
}

test("T_0 of a day of 1440 intervals", () => {
	for (const { chain, epoch: day, intervalsADay, key } of vectors.shortDay)
		assert.equal(
			hexOf(firstKey(new SenderCrypto(), seedOf(chain), { domain: domainOf(chain), chain, epoch: day, intervalsADay })),
			key,
		);
});

test("senders give the same bytes: calendar, beacons, broadcasts, flash", () => {
	const { calendar, beacons, broadcasts, flash } = vectors;
	const senders = sendersAt(0);
	assert.equal(hexOf(senders.calendar.root), calendar.root);
	for (const { epoch: day, bytes } of calendar.anchors)
		assert.equal(hexOf(senders.calendar.anchorFor(day, domain)), bytes, `day ${day}`);
	for (const { epoch: day, bytes } of calendar.short)
		assert.equal(hexOf(senders.calendar.anchorFor(day, domain, true)), bytes, `day ${day}`);
	for (const { interval, headEndLag, generation, generationOfDay, patchDelta, extension, bytes } of beacons) {
		const now = sendersAt(interval - (headEndLag === 255 ? 0 : headEndLag));
		if (headEndLag !== 255) now.concentrator.headEndKey(now.headEnd.disclosed()!);
		now.clock.now = sendersAt(interval).clock.now;
		const groups = extension?.length === 28 ? { groups: bytesOf(extension) } : {};
		const content = { generation, generationOfDay, patchDelta, ...groups };
		assert.equal(hexOf(now.concentrator.beacon(content)), bytes, `beacon ${interval}`);
	}
	for (const { interval, counter, domain: to, payload, bytes } of broadcasts) {
		const { headEnd } = sendersAt(interval);
		for (let i = 0; i < counter; i++) headEnd.broadcast(new Uint8Array(0));
		assert.equal(hexOf(headEnd.broadcast(bytesOf(payload), to)), bytes, `broadcast ${interval}/${counter}`);
	}
	const { slot, scope, firstInterval, lastInterval } = flash;
	const { headEnd } = sendersAt(flash.interval);
	assert.equal(hexOf(headEnd.flashCommit({ slot, scope, epoch, firstInterval, lastInterval })), flash.commit);
	for (const { level, bytes } of flash.levels)
		assert.equal(hexOf(sendersAt(40).headEnd.flash({ slot, scope }, level)), bytes, `level ${level}`);
});

test("the fields of every message", () => {
	for (const { bytes, extension = "", interval, ...fields } of vectors.beacons) {
		const beacon = createBeacon();
		const kind = extension === "" ? 0 : extension.length === 32 ? 1 : 2;
		assert.equal(decodeBeacon(bytesOf(bytes), 0, bytes.length / 2, beacon), Status.ok);
		assert.deepEqual(beacon, { domain, epoch, interval, extension: kind, ...fields });
	}
	for (const { bytes, interval, counter, domain: to } of vectors.broadcasts) {
		const header = createBroadcastHeader();
		assert.equal(decodeBroadcastHeader(bytesOf(bytes), bytes.length / 2, header), Status.ok);
		assert.deepEqual(header, { type: 0x0d, domain: to, interval, counter });
	}
	for (const { bytes, level } of vectors.flash.levels) {
		const flash = createFlash();
		assert.equal(decodeFlash(bytesOf(bytes), 41, flash), Status.ok);
		assert.deepEqual(flash, { domain: ALL_DOMAINS, slot: 7, scope: 3, level });
	}
});

test("a meter acts on the vectors' flash, at each level, and at no other", () => {
	for (const { level, bytes } of vectors.flash.levels) {
		const senders = sendersAt(vectors.flash.interval - 1);
		const meter = new Meter(senders);
		meter.start();
		senders.clock.now += 900;
		assert.equal(meter.tell(bytesOf(vectors.flash.commit)), "ok");
		senders.clock.now += 1800;
		assert.equal(meter.tell(senders.beacon()), "ok");
		const other = bytesOf(bytes);
		other[8] = level === 255 ? 254 : level + 1;
		assert.equal(meter.tell(other), "badTag");
		assert.equal(meter.tell(bytesOf(bytes)), "ok");
		assert.deepEqual(meter.names("flash"), [`7/3/${level}`]);
	}
});

test("what the benchmark runs: a beacon and a broadcast, from their bytes to the listener", () => {
	const { headEndKey, concentratorKey, first, broadcast, second } = vectors.bench;
	const messages = {
		epoch,
		headEndKey: bytesOf(headEndKey),
		concentratorKey: bytesOf(concentratorKey),
		first: bytesOf(first),
		broadcast: bytesOf(broadcast),
		second: bytesOf(second),
	};
	const crypto = new CompressionCounter();
	const bench = new BroadcastBench(crypto, messages);
	for (let i = 0; i < 3; i++)
		assert.equal(
			crypto.cost(() => assert.ok(bench.run(), `run ${i}`)),
			BROADCAST_BENCH_COMPRESSIONS,
		);
});
