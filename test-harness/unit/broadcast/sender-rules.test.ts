import assert from "node:assert/strict";
import { test } from "node:test";
import { IntervalTiming } from "../../../src/broadcast/interval-timing.js";
import { ALL_DOMAINS, Chain } from "../../../src/broadcast/tesla.js";
import { SenderCrypto } from "../../broadcast/sender-crypto.js";
import { TeslaChain } from "../../broadcast/tesla-chain.js";
import { CONCENTRATOR_SEED, DAY_SECONDS, DOMAIN, FIRST_EPOCH, HEAD_END_SEED, Meter, Senders, text } from "./world.js";

test("no key leaves before its time: every 16 bytes that are sent are looked up among those still secret", () => {
	for (const disclosureDelay of [1, 2, 3]) {
		const startSeconds = (FIRST_EPOCH + 2) * DAY_SECONDS - 5 * 3600;
		const senders = new Senders({ intervalSeconds: 3600, disclosureDelay, startSeconds });
		const { timing } = senders.headEnd;
		const crypto = new SenderCrypto();
		const chains = [
			new TeslaChain(crypto, HEAD_END_SEED, ALL_DOMAINS, Chain.headEnd, timing),
			new TeslaChain(crypto, CONCENTRATOR_SEED, DOMAIN, Chain.concentrator, timing),
		];
		for (let step = 0; step < 40; step++) {
			senders.clock.now += 900;
			const now = senders.number;
			const secret = new Set<string>();
			for (const chain of chains)
				for (let ahead = now - disclosureDelay + 1; ahead < now + 24; ahead++)
					secret.add(Buffer.from(chain.keyOf(ahead)).toString("hex"));
			const { concentrator, headEnd } = senders;
			const told = [
				senders.beacon(),
				headEnd.broadcast(text("hello")),
				headEnd.anchor(),
				headEnd.disclosed()!.key,
				concentrator.catchUpKey().key,
			];
			for (const message of told)
				for (let at = 0; at + 16 <= message.length; at++) {
					const piece = Buffer.from(message.subarray(at, at + 16)).toString("hex");
					assert.ok(!secret.has(piece), `a secret key at byte ${at} of a message, step ${step}`);
				}
		}
	}
});

test("a clock that went back: nothing is sent and no time told until it has caught up, restarts included", () => {
	const senders = new Senders();
	const meter = new Meter(senders);
	meter.start();
	senders.beacon();
	const set = senders.clock.now;
	senders.clock.now -= 1800;
	for (const attempt of ["running", "restarted"]) {
		const { headEnd, concentrator } = senders;
		for (const [what, call] of Object.entries({
			time: () => headEnd.utcSeconds(),
			"time of the concentrator": () => concentrator.utcSeconds(),
			catchUp: () => concentrator.catchUpKey(),
			disclosed: () => headEnd.disclosed(),
			broadcast: () => headEnd.broadcast(text("x")),
			beacon: () => concentrator.beacon(),
			anchor: () => headEnd.anchor(),
		}))
			assert.throws(call, /went back/, `${what}, ${attempt}`);
		senders.headEnd = senders.newHeadEnd();
		senders.concentrator = senders.newConcentrator();
	}
	senders.clock.now = set;
	assert.equal(senders.headEnd.utcSeconds(), set);
	senders.beacon();
	senders.clock.now = Number.NaN;
	assert.throws(() => senders.headEnd.utcSeconds(), /not set/);
});

test("the counter is saved before it is used, begins anew each day, and survives a restart", () => {
	const senders = new Senders({ startSeconds: (FIRST_EPOCH + 2) * DAY_SECONDS - 10 });
	const counterOf = (message: Uint8Array) => message[6]! * 256 + message[7]!;
	assert.equal(counterOf(senders.headEnd.broadcast(text("a"))), 0);
	const { save } = senders.headEndStore;
	senders.headEndStore.save = () => {
		throw new Error("the disk is full");
	};
	for (let i = 0; i < 2; i++) assert.throws(() => senders.headEnd.broadcast(text("b")), /disk is full/);
	for (let i = 0; i < 2; i++) {
		senders.clock.now += 900;
		assert.throws(() => senders.headEnd.disclosed(), /disk is full/);
		assert.throws(() => senders.headEnd.disclosed(), /disk is full/, "not disclosed before it is saved");
		senders.clock.now -= 900;
	}
	senders.headEndStore.save = save;
	senders.headEnd = senders.newHeadEnd();
	assert.equal(counterOf(senders.headEnd.broadcast(text("c"))), 1);
	senders.clock.now += 20;
	assert.equal(counterOf(senders.headEnd.broadcast(text("d"))), 0);
	senders.headEndStore.saved = { ...senders.headEndStore.saved!, counter: 0x1_0000 };
	senders.headEnd = senders.newHeadEnd();
	assert.throws(() => senders.headEnd.broadcast(text("e")), /used up/);
});

test("an anchor is only of the day that runs", () => {
	const senders = new Senders({ startSeconds: (FIRST_EPOCH + 2) * DAY_SECONDS - 1 });
	assert.deepEqual(senders.headEnd.anchor(DOMAIN), senders.calendar.anchorFor(FIRST_EPOCH + 1, DOMAIN));
	senders.clock.now += 1;
	assert.deepEqual(senders.headEnd.anchor(DOMAIN), senders.calendar.anchorFor(FIRST_EPOCH + 2, DOMAIN));
});

test("one save an interval and one a broadcast", () => {
	const senders = new Senders();
	for (let i = 0; i < 3; i++) senders.beacon();
	assert.equal(senders.headEndStore.saves, 1);
	assert.equal(senders.concentratorStore.saves, 1);
	senders.headEnd.broadcast(text("x"));
	assert.equal(senders.headEndStore.saves, 2);
	senders.clock.now += 900;
	senders.beacon();
	assert.equal(senders.headEndStore.saves, 3);
});

test("the concentrator's clock behind the head end's: an older key goes into the beacon, never a newer one", () => {
	const senders = new Senders();
	const { headEnd, concentrator } = senders;
	const at = senders.clock.now;
	senders.clock.now = at + 900;
	concentrator.headEndKey(headEnd.disclosed()!);
	senders.clock.now = at;
	const early = concentrator.beacon();
	senders.headEndStore.saved = undefined;
	const { key } = senders.newHeadEnd().disclosed()!;
	assert.equal(early[7], 0);
	assert.deepEqual(Buffer.from(early.subarray(30, 46)), Buffer.from(key));
	senders.clock.now = at + 4 * 900;
	assert.equal(concentrator.beacon()[7], 3, "lag");
	senders.clock.now = at + 300 * 900;
	assert.equal(concentrator.beacon()[7], 255, "too old to say");
});

test("a day is divided as settings say, or not at all", () => {
	for (const [seconds, count] of [
		[900, 96],
		[60, 1440],
		[2, 43_200],
		[7, 12_343],
		[1, 0],
		[0, 0],
		[43_200, 0],
		[21_600, 0],
		[17_280, 5],
	] as const) {
		const timing = new IntervalTiming(seconds, 2);
		assert.equal(timing.intervalsADay, count, `${seconds} s`);
		if (count === 0) continue;
		for (const ofDay of [0, seconds - 0.001, seconds, 86_399.999]) {
			const number = timing.numberAt((3 * 86_400 + ofDay) * 1000);
			assert.equal(timing.epochOf(number), 3);
			assert.equal(timing.intervalOf(number), Math.floor(ofDay / seconds));
			assert.ok(timing.startMilliseconds(number) <= (3 * 86_400 + ofDay) * 1000);
		}
	}
	assert.equal(new IntervalTiming(900, 2).numberAt(Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
});
