import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { checkIndex, maySend, reservationEnd } from "../../../src/key-store/chains.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { dayValue, meterSeal, PROVISIONING, provisioned, Server } from "./world.js";

const DAY = PROVISIONING.epoch;

function changed(bytes: Uint8Array, at: number, value: number): Uint8Array {
	const copy = bytes.slice();
	copy[at] = value;
	return copy;
}

test("windows at their ends", () => {
	const indices: [next: number, index: number, window: number, wanted: Status][] = [
		[0, 0, 32, Status.ok],
		[10, 41, 32, Status.ok],
		[10, 42, 32, Status.outOfOrder],
		[10, 9, 32, Status.replayed],
		[65_534, 65_534, 32, Status.ok],
		[65_535, 65_535, 32, Status.badValue],
	];
	for (const [next, index, window, wanted] of indices)
		assert.equal(checkIndex(next, index, window), wanted, `${index}`);
	assert.deepEqual([0, 65_470, 65_471, 65_472, 65_535].map(reservationEnd), [64, 65_534, 65_535, 65_535, 65_535]);
	const sends: [next: number, acknowledged: number, wanted: boolean][] = [
		[31, 0, true],
		[32, 0, false],
		[65_534, 65_534, true],
		[65_535, 65_534, false],
	];
	for (const [next, acknowledged, wanted] of sends) assert.equal(maySend(next, acknowledged, 32), wanted, `${next}`);
});

test("a server refuses with a status, counts it, and saves nothing", () => {
	const { store } = provisioned();
	const server = new Server(0);
	const first = meterSeal(store, "first");
	const second = meterSeal(store, "second");
	const { saves } = server;
	const cases: [string, Uint8Array, Status][] = [
		["short", first.subarray(0, 17), Status.badLength],
		["flags", changed(first, 9, 4), Status.badValue],
		["way down", changed(first, 9, 2), Status.badKind],
		["other branch", changed(first, 9, 1), Status.badKind],
		["both", changed(first, 9, 3), Status.badKind],
		["domain", changed(first, 2, 9), Status.notFound],
		["short address", changed(first, 3, 9), Status.notFound],
		["tomorrow", changed(first, 6, first[6]! + 1), Status.clockInvalid],
		["yesterday, without one", changed(first, 6, first[6]! - 1), Status.timedOut],
		["tag", changed(first, first.length - 1, first.at(-1)! ^ 1), Status.badTag],
		["4096 ahead", changed(first, 7, 16), Status.outOfOrder],
	];
	for (const [name, bytes, wanted] of cases) {
		const before = server.unicast.counters.counts[wanted]!;
		assert.equal(server.open(bytes), wanted, name);
		assert.equal(server.unicast.counters.counts[wanted], before + 1, name);
	}
	assert.equal(server.saves, saves);
	const exact = new Uint8Array(5);
	assert.equal(server.unicast.openMessage(second, second.length, exact), Status.badLength, "no room");
	assert.equal(server.unicast.openMessage(first, first.length, exact), Status.ok, "just enough room");
	assert.equal(server.unicast.openedByteLength, 5);
	assert.equal(server.open(first), Status.replayed);
	const far = changed(changed(second, 7, 16), 8, 0); // 4096: 4095 beyond the next
	assert.equal(server.open(far), Status.badTag, "the last of the window is looked at");

	const none = new Server(0, -1);
	assert.equal(none.open(first), Status.notFound, "no day has begun");
	assert.equal(none.seal("x").length, 0);
	assert.equal(none.unicast.counters.counts[Status.notFound], 2);
	assert.equal(none.unicast.endYesterday(), Status.ok);
	assert.equal(none.saves, 0, "there was none to end");
});

test("what cannot be sealed: too long for the message, for the room, for a length; nothing is spent on it", () => {
	const { unicast } = new Server(0);
	const { store } = provisioned();
	const message = new Uint8Array(8);
	const room = new Uint8Array(26);
	const large = new Uint8Array(65_536);
	const larger = new Uint8Array(65_600);
	for (const seal of [
		(from: Uint8Array, byteLength: number, into: Uint8Array) => unicast.sealMessage(9, from, byteLength, into),
		(from: Uint8Array, byteLength: number, into: Uint8Array) => store.sealMessage(0, 8, from, byteLength, into),
	]) {
		assert.equal(seal(message, 9, larger), 0, "longer than the message");
		assert.equal(seal(message, -1, larger), 0, "shorter than nothing");
		assert.equal(seal(message, Number.NaN, larger), 0, "no number");
		assert.equal(seal(message, 8, room.subarray(1)), 0, "no room");
		assert.equal(seal(large, 65_536, larger), 0, "64 KiB");
		assert.equal(seal(message, 8, room), 26);
		assert.equal(seal(large, 65_535, larger), 65_553);
	}
	for (const { counters } of [unicast, store]) assert.equal(counters.counts[Status.badLength], 5);
	assert.equal(unicast.downIndex, 2);
	assert.equal(store.upIndex(0), 2);
	assert.throws(() => unicast.sealMessage(9, message, 8, room, new Uint8Array(17)), InvariantError, "too much bound");
	assert.equal(unicast.sealMessage(9, message, 8, room, new Uint8Array(16)), 26);
});

test("bound bytes are in the tag: all of them, and their length", () => {
	const bounds = [new Uint8Array(0), new Uint8Array(1), new Uint8Array(8), new Uint8Array(15), new Uint8Array(16)];
	for (const bound of bounds)
		for (const other of bounds) {
			const { store } = provisioned();
			const sealed = new Server(0).sealBytes(new Uint8Array(3), 9, bound);
			const answer = store.openMessage(sealed, sealed.length, new Uint8Array(3), other);
			assert.equal(
				answer,
				bound.length === other.length ? Status.ok : Status.badTag,
				`${bound.length} ${other.length}`,
			);
		}
});

test("days of a server: only forward, yesterday's chain of the day before alone, counters of the day anew", () => {
	const { store } = provisioned();
	const server = new Server(0);
	const { unicast } = server;
	for (let i = 0; i < 3; i++) server.seal("x");
	const late = [meterSeal(store, "a"), meterSeal(store, "b"), meterSeal(store, "c")];
	assert.equal(server.open(late[0]!), "a");
	assert.equal(unicast.startDay(DAY, dayValue(0, DAY), 0), Status.replayed);
	assert.equal(unicast.startDay(DAY - 1, dayValue(0, DAY - 1), 0), Status.replayed);
	assert.equal(unicast.downIndex, 3);
	assert.equal(unicast.startDay(DAY + 1, dayValue(0, DAY + 1), 0), Status.ok);
	assert.equal(unicast.downIndex, 0);
	store.stageEpoch(DAY + 1, true);
	store.commitEpoch();
	assert.equal(server.open(meterSeal(store, "today")), "today", "from index 0");
	assert.equal(server.open(late[0]!), Status.replayed, "yesterday's place is kept");
	assert.equal(server.open(late[1]!), "b");
	assert.equal(unicast.endYesterday(), Status.ok);
	const { saves, saved } = server;
	assert.deepEqual([...saved.subarray(44)], new Array(16).fill(0), "erased");
	assert.deepEqual([...saved.subarray(10, 12)], [0, 0]);
	assert.equal(unicast.endYesterday(), Status.ok);
	assert.equal(server.saves, saves, "there is none any more");
	assert.equal(server.open(late[2]!), Status.timedOut);
	const old = meterSeal(store, "of the day before the gap");
	assert.equal(unicast.startDay(DAY + 3, dayValue(0, DAY + 3), 0), Status.ok);
	assert.deepEqual([...server.saved.subarray(44)], new Array(16).fill(0), "none after a gap");
	assert.equal(server.saved[1], 1);
	assert.equal(server.open(old), Status.timedOut);
	// The first day of a server is no gap and no day after another.
	const fresh = new Server(0, -1);
	assert.equal(fresh.unicast.startDay(1, dayValue(0, 1), 0), Status.ok);
	assert.equal(fresh.saved[1], 1, "no yesterday");
	assert.equal(new Server(0, -1).unicast.startDay(0, dayValue(0, 0), 0), Status.ok, "day 0 is a day");
	server.refuseSave = true;
	assert.equal(unicast.startDay(DAY + 4, dayValue(0, DAY + 4), 0), Status.storageFull);
	assert.equal(unicast.epoch, DAY + 3);
});

test("acknowledgement goes forward, and never beyond what was sent", () => {
	const server = new Server(0, DAY, new NodeCrypto());
	const { unicast } = server;
	for (let i = 0; i < 32; i++) server.seal("x");
	assert.equal(server.seal("x").length, 0);
	unicast.acknowledge(33);
	assert.equal(server.seal("x").length, 0, "more than was sent");
	unicast.acknowledge(10);
	unicast.acknowledge(5);
	let count = 0;
	while (server.seal("x").length > 0) count++;
	assert.equal(count, 10, "not taken back");
	unicast.acknowledge(42);
	assert.ok(server.seal("x").length > 0, "all of it");
});
