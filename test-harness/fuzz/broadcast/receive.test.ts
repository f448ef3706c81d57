import assert from "node:assert/strict";
import { test } from "node:test";
import { createAnchor, decodeAnchorRequest, verifyAnchor } from "../../../src/broadcast/calendar.js";
import { STATUS_COUNT, Status } from "../../../src/bytes/status.js";
import { Attacker } from "../../property/broadcast/attacker.js";
import { seed } from "../../seed.js";
import {
	CompressionCounter,
	DAY_SECONDS,
	FIRST_EPOCH,
	Meter,
	Senders,
	testCalendar,
	text,
} from "../../unit/broadcast/world.js";
import { generator, mutate } from "../mqtt/frames.js";

/** HORA section 9. */
const BEACON_BOUND = 2 * 96 + 2;
const FLASH_BOUND = 256;
const FLASH_TRIES = 8;
const ANCHOR_BOUND = 15;
const BEACON = 0x01;
const FLASH = 0x0f;

/** A meter in the middle of things, a committed flash whose window runs, and a message of each kind. */
function scene(random: (below: number) => number, intervalSeconds = 900) {
	const senders = new Senders({ intervalSeconds, startSeconds: (FIRST_EPOCH + 1.1) * DAY_SECONDS });
	const meter = new Meter(senders, () => random(256) / 256);
	meter.start();
	const { timing } = senders.headEnd;
	const epoch = timing.epochOf(senders.number);
	const firstInterval = timing.intervalOf(senders.number);
	const commit = { slot: 7, scope: 1, epoch, firstInterval, lastInterval: timing.intervalsADay - 1 };
	const messages: Uint8Array[] = [];
	for (let i = 0; i < 4; i++) {
		senders.clock.now += intervalSeconds;
		const said = i === 0 ? senders.headEnd.flashCommit(commit) : senders.headEnd.broadcast(text("price"));
		for (const message of [said, senders.beacon()]) {
			meter.give(message);
			messages.push(message);
		}
	}
	messages.push(senders.headEnd.flash(commit, 100));
	assert.equal(meter.receiver.flashCommands.pendingCount, 1);
	return { senders, meter, messages };
}

test("any bytes: a status, no throw, nothing acted on, within the compressions of HORA section 9", () => {
	const random = generator(seed);
	let worstBeacon = 0;
	let worstFlash = 0;
	const statuses = new Set<string>();
	for (let round = 0; round < 60; round++) {
		const { senders, meter, messages } = scene(random, round % 2 === 0 ? 900 : 60);
		const attacker = new Attacker(senders);
		// The longer nothing came, the further a forged key has to be walked.
		senders.clock.now += random(60) * senders.intervalSeconds;
		const acted = meter.heard.length;
		let inMinute = 0;
		let minute = Number.NEGATIVE_INFINITY;
		for (let i = 0; i < 120; i++) {
			senders.clock.now += random(3);
			if (meter.now - minute >= 60_000) {
				minute = meter.now;
				inMinute = 0;
			}
			const { number } = senders;
			const known = [
				() => attacker.forge(number - 2 - random(4), random(9)),
				() => attacker.beaconByConcentrator(number - random(2), random(2), messages[0]!.subarray(0, 16)),
			][random(8)];
			const source = known?.() ?? messages[random(messages.length)]!;
			const message =
				random(20) === 0 ? Uint8Array.from({ length: random(80) }, () => random(256)) : mutate(source, random);
			// Keys that are genuine are the next test's; a flash is genuine in all that matters when its a, b and level are.
			const differ = (at: number) => {
				if (message[at] === source[at]) message[at]! ^= 1 + random(255);
			};
			if (message[0] === BEACON) for (const at of [14, 30]) differ(at);
			if (message[0] === FLASH) differ(9 + random(32));
			let status = "";
			const waiting = meter.receiver.waitingCount;
			const cost = meter.crypto.cost(() => (status = meter.tell(message)));
			statuses.add(status);
			const where = `seed ${seed}, round ${round}, message ${i}, ${status}`;
			assert.ok(meter.receiver.waitingCount >= waiting, `${where}: something was driven out unread`);
			if (message[0] === BEACON) {
				assert.ok(cost <= BEACON_BOUND, `${where}: ${cost}`);
				worstBeacon = Math.max(worstBeacon, cost);
			} else if (message[0] === FLASH) {
				assert.ok(cost <= FLASH_BOUND, `${where}: ${cost}`);
				worstFlash = Math.max(worstFlash, cost);
				inMinute += cost;
				assert.ok(inMinute <= 2 * FLASH_TRIES * FLASH_BOUND, `${where}: ${inMinute} in a minute`);
			} else assert.equal(cost, 0, where);
		}
		assert.equal(meter.heard.length, acted, `seed ${seed}, round ${round}: acted on what was forged`);
		assert.deepEqual(meter.usedSlots, [], `seed ${seed}, round ${round}`);
	}
	console.log(`beacons up to ${worstBeacon} compressions, flashes ${worstFlash}; ${[...statuses].sort().join(" ")}`);
	assert.ok(statuses.size >= 7, [...statuses].join(" "));
	assert.ok(worstFlash === FLASH_BOUND, "some flash was tried");
});

test("a flood of beacons that look right: 96 compressions a chain, and once an interval a whole day of 1440", () => {
	const random = generator(seed + 1);
	for (const { intervalSeconds, ahead } of [
		{ intervalSeconds: 900, ahead: 70 },
		{ intervalSeconds: 60, ahead: 96 },
		{ intervalSeconds: 60, ahead: 97 },
		{ intervalSeconds: 60, ahead: 700 },
	]) {
		const { senders, meter } = scene(random, intervalSeconds);
		senders.clock.now += ahead * intervalSeconds;
		const genuine = senders.beacon();
		const where = `seed ${seed}, ${ahead} ahead`;
		const flood = (key: number): { worst: number; longWalks: number } => {
			let worst = 0;
			let longWalks = 0;
			for (let i = 0; i < 30; i++) {
				const message = genuine.slice();
				message[key + random(16)]! ^= 1 << random(8);
				const cost = meter.crypto.cost(() => meter.give(message));
				if (cost > BEACON_BOUND) longWalks++;
				else worst = Math.max(worst, cost);
			}
			return { worst, longWalks };
		};
		const forged = flood(14);
		assert.equal(forged.longWalks, ahead > 2 * 96 ? 1 : 0, where);
		assert.equal(forged.worst, ahead > 2 * 96 ? 0 : ahead, where);
		if (ahead > 96) continue;
		// Somebody heard the beacon that the meter missed, and shows its key beside a false one of the head end.
		meter.give(genuine);
		meter.powerLoss();
		meter.start();
		const { worst, longWalks } = flood(30);
		assert.equal(longWalks, intervalSeconds === 60 ? 1 : 0, where);
		assert.ok(worst <= 96, `${where}: ${worst}`);
		console.log(`${ahead} ahead: ${forged.worst} and ${worst} compressions`);
	}
});

test("what a genuine key costs: two walks, and four broadcasts and d + 1 beacons hashed once, however many came", () => {
	const random = generator(seed + 2);
	const { senders, meter } = scene(random);
	senders.clock.now += 900;
	for (let i = 0; i < 500; i++) {
		const message = senders.headEnd.broadcast(new Uint8Array(256).fill(random(256)));
		message[20]! ^= 1;
		meter.give(message);
		const beacon = senders.beacon();
		beacon[8 + random(6)]! ^= 1 << random(8);
		meter.give(beacon);
	}
	senders.clock.now += 1800;
	const beacon = senders.beacon();
	const cost = meter.crypto.cost(() => assert.equal(meter.tell(beacon), "ok"));
	// Two keys 2 or 3 ahead; broadcasts: MAC key 1, then 4 × (hash of 269 bytes: 5, MAC 1); beacons: MAC keys, 3 × (hash 2, MAC 1).
	const bound = 2 * 3 + (1 + 4 * (5 + 1)) + 3 * (1 + 3) + 2 * 3;
	console.log(`a genuine beacon after a flood of 1000: ${cost} compressions`);
	assert.ok(cost <= bound, `${cost}, more than ${bound}`);
	assert.ok(cost > 24, `${cost}: the slots were full`);
});

test("anchors: any bytes, at most 15 compressions, and what is held stays", () => {
	const random = generator(seed + 3);
	const calendar = testCalendar(900);
	const checked = { root: calendar.root, firstEpoch: FIRST_EPOCH, levels: 14 };
	const crypto = new CompressionCounter();
	const anchor = createAnchor();
	const request = { domain: 0, epoch: 0, holdsBlock: false };
	const source = Uint8Array.from({ length: 246 }, () => random(256));
	source.set([2, 0, 0, FIRST_EPOCH >> 8, FIRST_EPOCH & 255, 14]);
	let worst = 0;
	for (let i = 0; i < 5000; i++) {
		const message = mutate(random(2) === 0 ? source : source.subarray(0, 86), random);
		if (random(3) === 0) message[5] = 4;
		let status: number = STATUS_COUNT;
		const cost = crypto.cost(() => {
			status = verifyAnchor(crypto, checked, message, message.length, anchor);
		});
		assert.ok(status > Status.ok && status < STATUS_COUNT, `seed ${seed}, anchor ${i}`);
		assert.ok(cost <= ANCHOR_BOUND, `seed ${seed}, anchor ${i}: ${cost}`);
		worst = Math.max(worst, cost);
		decodeAnchorRequest(message, random(10), request);
	}
	assert.equal(worst, ANCHOR_BOUND);
	assert.equal(anchor.epoch, 0);
	assert.equal(anchor.block, -1);
});
