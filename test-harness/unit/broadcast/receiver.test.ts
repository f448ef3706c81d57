import assert from "node:assert/strict";
import { test } from "node:test";
import { BroadcastReceiver } from "../../../src/broadcast/broadcast-receiver.js";
import { ALL_DOMAINS } from "../../../src/broadcast/tesla.js";
import { Status } from "../../../src/bytes/status.js";
import { Attacker } from "../../property/broadcast/attacker.js";
import { DAY_SECONDS, DOMAIN, FIRST_EPOCH, Meter, Senders, text } from "./world.js";

const MIDNIGHT = (FIRST_EPOCH + 2) * DAY_SECONDS;

/** A meter that has started an interval ago, so that nothing is refused any more. */
function started(options: ConstructorParameters<typeof Senders>[0] = {}): { senders: Senders; meter: Meter } {
	const senders = new Senders(options);
	const meter = new Meter(senders);
	meter.start();
	next(senders);
	meter.give(senders.beacon());
	return { senders, meter };
}

function next(senders: Senders, intervals = 1): void {
	senders.clock.now += intervals * senders.intervalSeconds;
}

/** So many beacons, one an interval, from the next interval on. */
function beacons(senders: Senders, meter: Meter, count: number): void {
	for (let i = 0; i < count; i++) {
		next(senders);
		assert.equal(meter.tell(senders.beacon()), "ok", `beacon ${i}`);
	}
}

test("a broadcast is handed on when its key comes, d intervals later, once", () => {
	const { senders, meter } = started();
	const message = senders.headEnd.broadcast(text("price 7"));
	assert.equal(meter.tell(message), "ok");
	assert.equal(meter.tell(message), "replayed", "the same bytes again");
	assert.equal(meter.receiver.waitingCount, 2, "the broadcast and the beacon");
	beacons(senders, meter, 1);
	assert.deepEqual(meter.heard, [], "not before its key");
	beacons(senders, meter, 1);
	const { timing } = senders.headEnd;
	const epoch = timing.epochOf(senders.number);
	const interval = timing.intervalOf(senders.number) - 2;
	assert.deepEqual(meter.heard, [
		{ what: "beacon", name: `${epoch}/${interval}`, payload: "" },
		{ what: "broadcast", name: `0/${epoch}/${interval}/0`, payload: "price 7" },
	]);
	assert.equal(meter.tell(message), "expired");
	assert.equal(meter.heard.length, 2);
});

test("without an exchange nothing is taken, but keys are; then what is of before the exchange is refused", () => {
	const senders = new Senders();
	const meter = new Meter(senders);
	const message = senders.headEnd.broadcast(text("early"));
	const beacon = senders.beacon();
	assert.equal(meter.tell(message), "clockInvalid");
	assert.equal(meter.tell(beacon), "clockInvalid");
	assert.equal(meter.receiver.counters.counts[Status.notFound], 1, "no anchor: the head end's key says nothing");
	meter.start();
	assert.equal(meter.tell(message), "replayed", "it may have been acted on before power was lost");
	assert.equal(meter.tell(beacon), "replayed");
	meter.powerLoss();
	meter.start();
	next(senders);
	const later = senders.headEnd.broadcast(text("later"));
	assert.equal(meter.tell(later), "ok");
	assert.equal(meter.tell(message), "replayed");
	beacons(senders, meter, 2);
	assert.deepEqual(
		meter.heard.map(({ payload }) => payload),
		["", "later"].slice(1),
	);
	meter.powerLoss();
	assert.equal(meter.tell(later), "clockInvalid");
	meter.start();
	assert.equal(meter.tell(later), "expired");
});

test("an insider who knows every disclosed key: too late; before that, a wrong MAC", () => {
	const { senders, meter } = started();
	beacons(senders, meter, 1);
	const attacker = new Attacker(senders);
	assert.equal(meter.tell(attacker.forge(senders.number - 2, 9)), "expired");
	assert.throws(() => attacker.forge(senders.number - 1, 9), /nobody knows/);
	const guessed = attacker.forge(senders.number - 2, 9);
	guessed[5]! += 2; // of this interval, under an old key
	assert.equal(meter.tell(guessed), "ok", "kept: nobody can tell yet");
	const genuine = senders.headEnd.broadcast(text("genuine"));
	assert.equal(meter.tell(genuine), "ok");
	const moved = genuine.slice();
	moved[5]! -= 1;
	assert.equal(meter.tell(moved), "ok", "kept as one of the interval before");
	const before = meter.receiver.counters.counts[Status.badTag]!;
	beacons(senders, meter, 2);
	assert.equal(meter.receiver.counters.counts[Status.badTag], before + 2);
	assert.deepEqual(
		meter.heard.filter(({ what }) => what === "broadcast").map(({ payload }) => payload),
		["genuine"],
	);
});

test("a stolen concentrator: it is obeyed about beacons, and cannot speak for the head end or turn its time back", () => {
	const { senders, meter } = started();
	const attacker = new Attacker(senders);
	const { number } = senders;
	assert.equal(meter.tell(attacker.forgeByConcentrator(number, 9)), "ok", "kept");
	const key = senders.headEnd.disclosed()!.key;
	const wrong = key.slice();
	wrong[3]! ^= 1;
	const before = meter.receiver.headEndBound.number(meter.now);
	assert.equal(meter.tell(attacker.beaconByConcentrator(number + 1, 0, wrong)), "ok");
	assert.equal(meter.receiver.counters.counts[Status.badTag], 1, "the head end's key proves itself");
	assert.equal(meter.tell(attacker.beaconByConcentrator(number + 2, 3, key)), "ok", "an interval further each time");
	assert.equal(meter.receiver.headEndBound.number(meter.now), before, "its time moves its own bound alone");
	assert.equal(meter.receiver.concentratorBound.number(meter.now), number + 2);
	assert.equal(meter.tell(attacker.beaconByConcentrator(number - 1, 0, key)), "expired", "and never back");
	assert.equal(meter.tell(attacker.beaconByConcentrator(number + 4, 0, key)), "outOfOrder", "nor far ahead");
	next(senders, 2);
	const byHeadEnd = senders.headEnd.disclosed()!.key;
	meter.give(attacker.beaconByConcentrator(number + 3, 1, byHeadEnd));
	assert.equal(meter.receiver.counters.counts[Status.badTag], 2, "forged: not of the head end's chain");
	assert.deepEqual(meter.names("broadcast"), []);
});

test("a wrong key changes nothing: the right one still comes through", () => {
	const { senders, meter } = started();
	const message = senders.headEnd.broadcast(text("x"));
	meter.give(message);
	next(senders);
	const beacon = senders.beacon();
	for (const at of [14, 29]) {
		const forged = beacon.slice();
		forged[at]! ^= 0x40;
		assert.equal(meter.tell(forged), "badTag");
	}
	const known = beacon.slice();
	known[45]! ^= 1; // the head end's
	assert.equal(meter.tell(known), "ok", "kept: its own key is right");
	assert.match(meter.tell(beacon), /^(ok|storageFull)$/, "one of the two is kept, by lot");
	beacons(senders, meter, 1);
	assert.deepEqual(
		meter.heard.map(({ payload }) => payload).filter((payload) => payload),
		["x"],
	);
	const newest = senders.beacon();
	newest[20]! ^= 1;
	assert.equal(meter.tell(newest), "badTag", "the newest key, but for a bit");
});

test("midnight: the last keys of a day come with the first beacons of the next, T_0 of both chains in time", () => {
	const { senders, meter } = started({ startSeconds: MIDNIGHT - 8 * 900 + 1 });
	beacons(senders, meter, 4);
	const names: string[] = [];
	for (let i = 0; i < 6; i++) {
		beacons(senders, meter, 1);
		if (senders.clock.now >= MIDNIGHT) meter.anchor();
		const message = senders.headEnd.broadcast(text(`${i}`));
		assert.equal(meter.tell(message), "ok", `broadcast ${i}`);
		const { timing } = senders.headEnd;
		const counter = message[6]! * 256 + message[7]!;
		names.push(`0/${timing.epochOf(senders.number)}/${timing.intervalOf(senders.number)}/${counter}`);
	}
	beacons(senders, meter, 2);
	assert.deepEqual(meter.names("broadcast"), names);
	assert.equal(meter.names("beacon").length, 11);
	assert.ok(names.at(-1)!.endsWith("/2/1") || names.at(-1)!.includes(`/${FIRST_EPOCH + 2}/`), names.at(-1));
	assert.equal(meter.receiver.wantsCatchUp, false);
});

test("a meter that heard nothing of tomorrow asks, and goes on", () => {
	const senders = new Senders({ startSeconds: MIDNIGHT - 899 });
	const meter = new Meter(senders);
	meter.start();
	next(senders);
	meter.anchor();
	assert.equal(meter.tell(senders.beacon()), "notFound", "yesterday's last key but one, and a chain nobody told");
	assert.ok(meter.receiver.wantsCatchUp);
	assert.equal(meter.catchUp(), Status.ok, "T_0: today's newest key is yesterday's");
	assert.ok(!meter.receiver.wantsCatchUp);
	assert.equal(meter.tell(senders.beacon()), "ok");
	beacons(senders, meter, 2);
	assert.equal(meter.names("beacon").length, 1);
});

test("days of 1440 intervals: keys up to 96 ahead at once, others once an interval, else the meter asks", () => {
	const { senders, meter } = started({ intervalSeconds: 60 });
	beacons(senders, meter, 1);
	next(senders, 96);
	assert.equal(meter.tell(senders.beacon()), "ok", "96 ahead");
	next(senders, 97);
	// Two walks of 97; then, the keys being genuine, one of 95 and three more for the beacon that waited.
	const cost = meter.crypto.cost(() => assert.equal(meter.tell(senders.beacon()), "ok", "97 ahead"));
	assert.equal(cost, 2 * 97 + 95 + 3);
	const { crypto } = meter;
	next(senders, 200);
	const beacon = senders.beacon();
	const forged = beacon.slice();
	forged[14]! ^= 1;
	assert.equal(
		crypto.cost(() => assert.equal(meter.tell(forged), "badTag")),
		200,
	);
	assert.equal(
		crypto.cost(() => assert.equal(meter.tell(beacon), "outOfOrder", "one try an interval")),
		0,
	);
	assert.ok(meter.receiver.wantsCatchUp);
	assert.equal(meter.catchUp(), Status.ok);
	assert.equal(meter.tell(beacon), "ok");
	// A start in the afternoon: of the head end's chain only T_0 is known.
	meter.powerLoss();
	meter.start();
	next(senders);
	assert.ok(crypto.cost(() => assert.equal(meter.tell(senders.beacon()), "ok")) > 900);
	const message = senders.headEnd.broadcast(text("again"));
	assert.equal(meter.tell(message), "ok");
	beacons(senders, meter, 2);
	assert.equal(meter.names("broadcast").length, 1);
});

test("a sender that lost its counter: the same name is taken once", () => {
	const { senders, meter } = started();
	meter.give(senders.headEnd.broadcast(text("one")));
	senders.headEndStore.saved = undefined;
	senders.headEnd = senders.newHeadEnd();
	assert.equal(meter.tell(senders.headEnd.broadcast(text("two"))), "ok");
	meter.give(senders.headEnd.broadcast(text("three")));
	beacons(senders, meter, 2);
	assert.equal(meter.names("broadcast").length, 2);
	assert.equal(meter.heard.at(-1)!.payload, "three", "in the order of counters");
	assert.ok(meter.receiver.counters.counts[Status.replayed]! >= 1);
});

test("slots: every contender has the same chance, however late; what waits in vain gives way", () => {
	const wins = new Array<number>(12).fill(0);
	for (let round = 0; round < 400; round++) {
		const { senders, meter } = started();
		const messages = wins.map((_, i) => senders.headEnd.broadcast(text(`${i}`)));
		for (const message of messages) meter.give(message);
		beacons(senders, meter, 2);
		const heard = meter.heard.filter(({ what }) => what === "broadcast");
		assert.equal(heard.length, 4);
		for (const { payload } of heard) wins[Number(payload)]!++;
	}
	// Each is drawn with probability 1/3: 133 of 400, standard deviation 9.4.
	for (const [i, count] of wins.entries()) assert.ok(Math.abs(count - 133) < 60, `contender ${i} won ${count} of 400`);

	const { senders, meter } = started({ startSeconds: MIDNIGHT - 4 * 900 });
	for (let i = 0; i < 4; i++) meter.give(senders.headEnd.broadcast(text("never disclosed")));
	next(senders, 10);
	meter.anchor();
	for (let i = 0; i < 4; i++) assert.equal(meter.tell(senders.headEnd.broadcast(text("today"))), "ok");
	assert.equal(meter.receiver.waitingCount, 5);
});

test("other domains, other messages, other sizes", () => {
	const { senders, meter } = started();
	const { headEnd } = senders;
	assert.equal(meter.tell(headEnd.broadcast(text("us"), DOMAIN)), "ok");
	assert.equal(meter.tell(headEnd.broadcast(text("them"), DOMAIN + 1)), "notFound");
	const beacon = senders.beacon();
	beacon[2]! ^= 1;
	assert.equal(meter.tell(beacon), "notFound");
	assert.equal(meter.tell(Uint8Array.of(0x02)), "badKind");
	assert.equal(meter.tell(new Uint8Array(0)), "badLength");
	assert.equal(meter.tell(headEnd.broadcast(text("x")).subarray(0, 17)), "badLength");
	assert.equal(meter.tell(senders.beacon().subarray(0, 50)), "badLength");
	const flagged = headEnd.broadcast(text("flags"));
	flagged[3] = 1;
	assert.equal(meter.tell(flagged), "unsupported");
	const late = headEnd.broadcast(text("late in the day"));
	late[4] = 0;
	late[5] = 200;
	assert.equal(meter.tell(late), "badValue", "no such interval");
	assert.throws(() => headEnd.broadcast(new Uint8Array(257)), /256 bytes/);
	assert.equal(meter.receiver.receive(meter.now, beacon, 100), Status.badLength, "more than there is");
	const odd = new BroadcastReceiver(meter.crypto, { fill: () => Status.ok }, meter, meter, DOMAIN, 1);
	assert.equal(odd.receive(0, beacon, beacon.length), Status.unsupported, "86 400 intervals have no numbers");
});

test("a reply that took more than a quarter of an interval sets nothing", () => {
	const senders = new Senders();
	const meter = new Meter(senders);
	assert.equal(meter.time(225_001), Status.timedOut);
	assert.equal(meter.receiver.headEndTime(0, Number.NaN, 0), Status.badValue);
	assert.ok(!meter.receiver.headEndBound.isSet);
	assert.equal(meter.time(225_000), Status.ok);
	assert.ok(meter.receiver.headEndBound.isSet);
});

test("another concentrator with another chain: an authenticated key replaces what is held", () => {
	const { senders, meter } = started();
	const other = new Uint8Array(16).fill(7);
	const { epoch, interval, keyInterval, key } = senders.concentrator.catchUpKey();
	const { receiver } = meter;
	assert.equal(receiver.concentratorKey(epoch, interval, keyInterval, other, 0), Status.ok);
	assert.equal(meter.tell(senders.beacon()), "badTag");
	assert.equal(receiver.concentratorKey(epoch, interval, keyInterval, key, 0), Status.ok);
	assert.equal(meter.tell(senders.beacon()), "ok");
	assert.equal(receiver.concentratorKey(epoch, 96, keyInterval, key, 0), Status.badValue);
	receiver.forget();
	assert.equal(meter.tell(senders.beacon()), "clockInvalid");
	assert.equal(ALL_DOMAINS, 0xffff);
});

test("even a time that is behind opens no interval whose key is held", () => {
	const { senders, meter } = started();
	beacons(senders, meter, 3);
	const attacker = new Attacker(senders);
	const behind = (senders.clock.now - 2 * 900) * 1000;
	assert.equal(meter.receiver.headEndTime(meter.now, behind, 0), Status.ok);
	assert.equal(meter.receiver.concentratorTime(meter.now, behind, 0), Status.ok);
	assert.equal(meter.tell(attacker.forge(senders.number - 2, 9)), "expired");
	assert.equal(meter.tell(attacker.beaconByConcentrator(senders.number - 2, 255, new Uint8Array(16))), "expired");
});
