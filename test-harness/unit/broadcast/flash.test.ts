import assert from "node:assert/strict";
import { test } from "node:test";
import type { FlashCommit } from "../../../src/broadcast/broadcast-messages.js";
import { Status } from "../../../src/bytes/status.js";
import { Meter, Senders } from "./world.js";

/** A meter that holds the commits, two intervals after they were said; their windows are relative to that moment. */
function committed(...windows: readonly { slot: number; scope?: number; first: number; last: number }[]): {
	senders: Senders;
	meter: Meter;
	commits: FlashCommit[];
} {
	const senders = new Senders();
	const meter = new Meter(senders);
	meter.start();
	senders.clock.now += 900;
	const { timing } = senders.headEnd;
	const then = senders.number + 2;
	const commits = windows.map(({ slot, scope = 1, first, last }) => ({
		slot,
		scope,
		epoch: timing.epochOf(then),
		firstInterval: timing.intervalOf(then) + first,
		lastInterval: timing.intervalOf(then) + last,
	}));
	for (const commit of commits) assert.equal(meter.tell(senders.headEnd.flashCommit(commit)), "ok");
	senders.clock.now += 1800;
	meter.give(senders.beacon());
	return { senders, meter, commits };
}

test("a flash acts at once, once, after its slot is used for good", () => {
	const { senders, meter, commits } = committed({ slot: 5, first: 0, last: 3 });
	const flash = senders.headEnd.flash(commits[0]!, 100);
	meter.slotAnswer = Status.storageFull;
	assert.equal(meter.tell(flash), "storageFull");
	assert.deepEqual(meter.heard, [], "flash memory refused: the meter does not act");
	meter.slotAnswer = Status.ok;
	assert.equal(
		meter.crypto.cost(() => assert.equal(meter.tell(flash), "ok")),
		256,
	);
	assert.deepEqual(meter.usedSlots, [5]);
	assert.deepEqual(meter.names("flash"), ["5/1/100"]);
	assert.equal(
		meter.crypto.cost(() => assert.equal(meter.tell(flash), "notFound")),
		0,
	);
	// After power loss the commit is said again; the slot is still used.
	meter.powerLoss();
	meter.start();
	senders.clock.now += 900;
	assert.equal(meter.tell(senders.headEnd.flashCommit(commits[0]!)), "ok");
	for (let i = 0; i < 2; i++) {
		senders.clock.now += 900;
		meter.give(senders.beacon());
	}
	assert.equal(meter.receiver.flashCommands.pendingCount, 1);
	assert.equal(meter.tell(flash), "replayed");
	assert.equal(meter.receiver.flashCommands.pendingCount, 0);
	assert.equal(meter.names("flash").length, 1);
});

test("not before its window, not after it, not without a time", () => {
	const { senders, meter, commits } = committed({ slot: 1, first: 1, last: 2 });
	const flash = senders.headEnd.flash(commits[0]!, 1);
	assert.equal(
		meter.crypto.cost(() => assert.equal(meter.tell(flash), "outOfOrder")),
		0,
	);
	senders.clock.now += 3 * 900;
	assert.equal(
		meter.crypto.cost(() => assert.equal(meter.tell(flash), "expired")),
		0,
	);
	assert.deepEqual(meter.usedSlots, []);
	meter.powerLoss();
	assert.equal(meter.tell(flash), "notFound");
});

test("another level, slot or scope is refused; eight tries a minute", () => {
	const { senders, meter, commits } = committed({ slot: 9, first: 0, last: 3 });
	const flash = senders.headEnd.flash(commits[0]!, 100);
	const changed = (at: number, by: number): Uint8Array => {
		const other = flash.slice();
		other[at]! += by;
		return other;
	};
	assert.equal(meter.tell(changed(6, 1)), "notFound", "slot");
	assert.equal(meter.tell(changed(7, 1)), "notFound", "scope");
	assert.equal(meter.tell(changed(8, 1)), "badTag", "a higher level");
	assert.equal(meter.tell(changed(8, -1)), "badTag", "a lower level");
	for (let i = 0; i < 6; i++) assert.equal(meter.tell(changed(9 + i, 1)), "badTag", `try ${i + 3}`);
	assert.equal(
		meter.crypto.cost(() => assert.equal(meter.tell(flash), "busy")),
		0,
	);
	assert.equal(meter.tell(flash.subarray(0, 40)), "badLength");
	senders.clock.now += 60;
	assert.equal(meter.tell(flash), "ok");
	assert.deepEqual(meter.names("flash"), ["9/1/100"]);
});

test("two commits wait; a third must wait for one of them to be over; one of the same slot replaces it", () => {
	const { senders, meter, commits } = committed(
		{ slot: 1, first: 0, last: 0 },
		{ slot: 2, first: 0, last: 9 },
		{ slot: 3, first: 0, last: 9 },
		{ slot: 2, first: 0, last: 8 },
	);
	const { flashCommands, counters } = meter.receiver;
	assert.equal(flashCommands.pendingCount, 2);
	assert.equal(counters.counts[Status.storageFull], 1);
	senders.clock.now += 900;
	assert.equal(meter.tell(senders.headEnd.flashCommit(commits[2]!)), "ok");
	for (let i = 0; i < 2; i++) {
		senders.clock.now += 900;
		meter.give(senders.beacon());
	}
	assert.equal(flashCommands.pendingCount, 2, "the first one is over");
	assert.equal(meter.tell(senders.headEnd.flash(commits[2]!, 0)), "ok");
	assert.equal(meter.tell(senders.headEnd.flashCommit(commits[1]!)), "ok");
	assert.throws(() => senders.headEnd.flash(commits[1]!, 0), /no lower one/);
	for (let i = 0; i < 2; i++) {
		senders.clock.now += 900;
		meter.give(senders.beacon());
	}
	assert.ok(counters.counts[Status.replayed]! > 0, "its slot is below one that was used");
});

test("windows that make no sense", () => {
	const { senders, meter, commits } = committed({ slot: 1, first: -2, last: -1 });
	assert.ok(meter.receiver.counters.counts[Status.expired]! > 0, "over before it was known");
	assert.equal(meter.receiver.flashCommands.pendingCount, 0);
	const { headEnd } = senders;
	assert.throws(() => headEnd.flashCommit({ ...commits[0]!, firstInterval: 5, lastInterval: 4 }), /window/);
	assert.throws(() => headEnd.flashCommit({ ...commits[0]!, lastInterval: 96 }), /window/);
	assert.throws(() => headEnd.flashCommit({ ...commits[0]!, slot: 0xffff_ffff }), /slot/);
	const bytes = new Uint8Array(27);
	bytes[8] = 1; // first 1, last 0
	assert.equal(meter.receiver.flashCommands.commit(meter.now, bytes, 0), Status.badValue);
	bytes[10] = 200;
	assert.equal(meter.receiver.flashCommands.commit(meter.now, bytes, 0), Status.badValue, "no such interval");
});

test("a head end shows one level of a slot, whatever happens to it", () => {
	const { senders, commits } = committed({ slot: 4, first: 0, last: 3 });
	const first = senders.headEnd.flash(commits[0]!, 7);
	senders.headEnd = senders.newHeadEnd();
	assert.deepEqual(senders.headEnd.flash(commits[0]!, 7), first, "again, the same bytes");
	assert.throws(() => senders.headEnd.flash(commits[0]!, 8), /level 7/);
	assert.throws(() => senders.headEnd.flash({ slot: 6, scope: 0 }, 256), /0 to 255/);
});
