import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import type { KeyStore } from "../../../src/key-store/key-store.js";
import type { MonotonicCounter } from "../../../src/platform/monotonic-counter.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { meterOpen, meterSeal, newFlash, openWorld, PROVISIONING, provisioned, Server } from "./world.js";

const DAY = PROVISIONING.epoch;
const NEXT = Object.freeze({
	...PROVISIONING,
	generation: 2,
	roots: Uint8Array.from({ length: 64 }, (_, i) => 200 - i),
});

class HostCounter implements MonotonicCounter {
	at = 0;
	refuses = false;
	raises = 0;
	value(): number {
		return this.at;
	}
	raiseTo(target: number): Status {
		this.raises++;
		if (this.refuses) return Status.timedOut;
		if (target > this.at) this.at = target;
		return Status.ok;
	}
}

/** What the store answers to a seal: 0 bytes and a count of one status. */
function refusal(store: KeyStore, branch: 0 | 1, type: number): Status | "sealed" {
	const before = [...store.counters.counts];
	const count = store.sealMessage(branch, type, new Uint8Array(4), 4, new Uint8Array(22));
	const status = store.counters.counts.findIndex((seen, code) => seen !== before[code]);
	assert.equal(count > 0, status === Status.ok, "bytes and status agree");
	return status === Status.ok ? "sealed" : (status as Status);
}

test("before the witness has spoken only its question is sealed and only its answer is opened", () => {
	const { flash } = provisioned();
	const { store } = openWorld(flash, new NodeCrypto(), { isUnwitnessed: true });
	assert.equal(store.isWitnessed, false);
	const servers = [new Server(0), new Server(1)];
	for (const branch of [0, 1] as const)
		for (let type = 0; type < 256; type++)
			if (branch !== 1 || type !== 0x06)
				assert.equal(refusal(store, branch, type), Status.busy, `seal ${branch} ${type}`);
	assert.equal(store.headSequence, 1, "and nothing was written");
	for (const branch of [0, 1] as const)
		for (const type of [0x06, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x11, 0x07])
			if (branch !== 1 || type !== 0x07) {
				const answer = meterOpen(store, servers[branch]!.seal("x", type));
				assert.equal(answer, Status.busy, `open ${branch} ${type}`);
			}
	assert.equal(refusal(store, 1, 0x06), "sealed");
	const answer = servers[1]!.seal("answer", 0x07);
	assert.equal(meterOpen(store, answer), "answer");
	assert.equal(store.isWitnessed, false, "the caller decides what the answer says");
	assert.equal(refusal(store, 0, 0x08), Status.busy);
	assert.equal(store.witness(store.headSequence), Status.ok);
	assert.equal(store.isWitnessed, true);
	assert.equal(refusal(store, 0, 0x08), "sealed");
	assert.equal(refusal(store, 1, 0x11), "sealed");
	assert.equal(meterOpen(store, servers[0]!.seal("command")), "command");
	store.open();
	assert.equal(refusal(store, 0, 0x08), Status.busy, "again after each start");
	assert.equal(openWorld(newFlash(), new NodeCrypto(), { isUnwitnessed: true }).store.witness(0), Status.notFound);
});

test("new keys seal one proof for the technician, and then wait for the witness", () => {
	const { store } = provisioned(new NodeCrypto(), { isUnwitnessed: true });
	assert.equal(refusal(store, 0, 0x09), Status.busy, "not another type");
	assert.equal(refusal(store, 1, 0x08), Status.busy, "not the other branch");
	assert.equal(refusal(store, 0, 0x08), "sealed");
	assert.equal(refusal(store, 0, 0x08), Status.busy, "not twice");
	store.open();
	assert.equal(refusal(store, 0, 0x08), Status.busy, "not after a start");
	assert.equal(store.stageReseed(NEXT), Status.ok);
	assert.equal(store.commitReseed(), Status.ok);
	assert.equal(refusal(store, 0, 0x08), "sealed", "after new keys again");
	const { store: rolled } = provisioned(new NodeCrypto(), { isUnwitnessed: true });
	rolled.stageEpoch(DAY + 1, true);
	rolled.commitEpoch();
	assert.equal(refusal(rolled, 0, 0x08), Status.busy, "not under the keys of a later day");
});

test("an authorisation of the optical port opens without a witness, and on flash that was put back", () => {
	const { flash } = provisioned();
	const { store } = openWorld(flash, new NodeCrypto(), { isUnwitnessed: true });
	const server = new Server(0);
	const into = new Uint8Array(20);
	const open = (bytes: Uint8Array) => store.openAuthorisation(bytes, bytes.length, into);
	assert.equal(open(server.seal("command")), Status.ok);
	assert.equal(Buffer.from(into.subarray(0, store.openedByteLength)).toString(), "command");
	assert.equal(open(server.seal("x", 0x08)), Status.badKind, "another type");
	assert.equal(open(new Server(1).seal("x", 0x09)), Status.badKind, "of the concentrator");
	const used = server.seal("used up");
	assert.equal(open(used), Status.ok);
	assert.equal(open(used), Status.replayed);
	assert.equal(store.witness(1000), Status.rolledBack);
	assert.equal(meterOpen(store, server.seal("x")), Status.rolledBack);
	assert.equal(open(server.seal("x")), Status.ok);
	assert.equal(store.stageReseed(NEXT), Status.ok);
	assert.equal(store.commitReseed(), Status.ok);
	assert.equal(store.isRolledBack, false, "new keys, new life");
	assert.equal(store.witnessedSequence, 0);
	assert.equal(store.witness(0), Status.ok);
});

test("a counter of the host finds flash that was put back, at once and without a network", () => {
	const counter = new HostCounter();
	const { flash, store } = provisioned(new NodeCrypto(), { counter });
	const old = flash.image;
	const server = new Server(0);
	assert.equal(meterOpen(store, server.seal("one")), "one");
	assert.equal(counter.at, store.headSequence);
	assert.equal(counter.at, 2);
	assert.equal(openWorld(flash, new NodeCrypto(), { counter }).store.isRolledBack, false);

	const back = openWorld(newFlash({ image: old }), new NodeCrypto(), { counter, isUnwitnessed: true }).store;
	assert.equal(back.counters.counts[Status.rolledBack], 1);
	assert.equal(back.isProvisioned, true, "the keys are there for an authorisation");
	assert.equal(back.witness(0), Status.rolledBack, "no witness can make that good");
	assert.equal(refusal(back, 1, 0x06), Status.rolledBack);
	assert.equal(meterOpen(back, server.seal("two")), Status.rolledBack);
	assert.equal(back.stageReseed(NEXT), Status.ok);
	assert.equal(back.commitReseed(), Status.ok);
	assert.equal(back.headSequence, 3, "past what the counter knew");
	assert.equal(back.open(), Status.ok);
	assert.equal(back.isRolledBack, false);
	assert.equal(back.generation, 2);

	const wiped = openWorld(newFlash(), new NodeCrypto(), { counter }).store;
	assert.equal(wiped.provision(PROVISIONING), Status.ok);
	assert.equal(wiped.headSequence, 4, "an erased flash as well");
	assert.equal(wiped.open(), Status.ok);
	assert.equal(wiped.factoryReset(), Status.ok);
	assert.equal(counter.at, 5);
	const empty = openWorld(newFlash({ image: old }), new NodeCrypto(), { counter, isUnwitnessed: true }).store;
	assert.equal(empty.factoryReset(), Status.ok);
	assert.equal(empty.headSequence, 6);
});

test("a cut between record and counter is made good at the next start; a counter that refuses stops the act", () => {
	const counter = new HostCounter();
	const { flash, store } = provisioned(new NodeCrypto(), { counter });
	const server = new Server(0);
	const sealed = server.seal("one");
	counter.refuses = true;
	assert.equal(meterOpen(store, sealed), Status.timedOut);
	assert.equal(store.downIndex(0), 0, "not acted on");
	assert.equal(store.headSequence, 2);
	assert.equal(counter.at, 1);
	const { store: refused } = openWorld(flash, new NodeCrypto(), { counter });
	assert.equal(refused.isProvisioned, true, "the meter has its keys");
	assert.equal(refused.counters.counts[Status.timedOut], 1);
	assert.equal(refusal(refused, 0, 0x08), Status.timedOut, "no reservation without the counter");
	counter.refuses = false;
	const { store: again } = openWorld(flash, new NodeCrypto(), { counter });
	assert.equal(counter.at, again.headSequence);
	assert.equal(meterOpen(again, sealed), Status.replayed, "recorded, and never acted on");
	assert.equal(refusal(again, 0, 0x08), "sealed");
	counter.at = Number.NaN;
	const { store: blind } = openWorld(flash, new NodeCrypto(), { counter, isUnwitnessed: true });
	assert.equal(blind.isRolledBack, false, "a counter that cannot be read leaves it to the witness");
	assert.equal(refusal(blind, 0, 0x08), Status.busy);
});

test("unacknowledged messages: the answer to a question acknowledges, and without any only questions go on", () => {
	const { store, flash } = provisioned();
	const server = new Server(0);
	const nonce = Uint8Array.from({ length: 8 }, (_, i) => i);
	for (let i = 0; i < 5; i++) meterSeal(store, "x");
	assert.equal(store.unacknowledged(0), 5);
	assert.equal(meterOpen(store, server.seal("t", 0x0b)), "t", "an answer without a question");
	assert.equal(store.unacknowledged(0), 5);
	meterSeal(store, "", 0, 0x0a);
	meterSeal(store, "x");
	const into = new Uint8Array(8);
	const answer = server.sealBytes(Uint8Array.of(1), 0x0b, nonce);
	assert.equal(store.openMessage(answer, answer.length, into, nonce), Status.ok);
	assert.equal(store.unacknowledged(0), 1, "what came after the question");
	assert.equal(openWorld(flash).store.unacknowledged(0), 64 - 6, "kept, and counted from the end of the reservation");
	const other = new Server(1);
	meterSeal(store, "x", 1);
	meterSeal(store, "", 1, 0x06);
	assert.equal(meterOpen(store, other.seal("t", 0x0b)), "t");
	assert.equal(store.unacknowledged(1), 2, "the answer of the other branch is no answer");
	assert.equal(meterOpen(store, other.seal("c", 0x07)), "c");
	assert.equal(store.unacknowledged(1), 0);

	let sealed = 0;
	while (meterSeal(store, "x").length > 0) sealed++;
	assert.equal(sealed, 3071);
	assert.equal(store.unacknowledged(0), 3072);
	assert.equal(refusal(store, 0, 0x08), Status.busy);
	assert.equal(refusal(store, 1, 0x11), "sealed", "the other branch goes on");
	assert.equal(refusal(store, 0, 0x0a), "sealed");
	server.unicast.acknowledge(server.unicast.downIndex);
	assert.equal(meterOpen(store, server.seal("t", 0x0b)), "t");
	assert.equal(store.unacknowledged(0), 0);
	assert.equal(refusal(store, 0, 0x08), "sealed");
	// A question of yesterday is not answered by today's message of that type.
	meterSeal(store, "", 0, 0x0a);
	store.stageEpoch(DAY + 1, true);
	store.commitEpoch();
	assert.equal(store.unacknowledged(0), 0);
	meterSeal(store, "x");
	const today = new Server(0, DAY + 1);
	assert.equal(meterOpen(store, today.seal("t", 0x0b)), "t");
	assert.equal(store.unacknowledged(0), 1);
});
