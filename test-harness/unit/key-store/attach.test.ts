import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import type { KeyStore } from "../../../src/key-store/key-store.js";
import { attachedDay, attachedNext, blockSeed, nextBlockDay } from "../../../src/key-store/odometer.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { TestPart } from "./test-part.js";
import {
	attachContent,
	dayValue,
	meterOpen,
	meterSeal,
	newFlash,
	openWorld,
	PROVISIONING,
	provisioned,
	Server,
} from "./world.js";

const DAY = PROVISIONING.epoch; // 40 000 = 2500 × 16: the first day of a block
const ATTACH = 0x10;
const DOMAIN = 0x1112;
const ADDRESS = 0x1314;

const sha256 = (...parts: (Uint8Array | string)[]) => {
	const hash = createHash("sha256");
	for (const part of parts) hash.update(part);
	return new Uint8Array(hash.digest());
};
const SECRET = attachContent(0).subarray(6, 22);
const IDENTITY = attachContent(0).subarray(22);

/** V_e after an ATTACH on day `attached`, as HORA section 5 says it, without the code of the key store. */
function attachedValue(attached: number, epoch: number): Uint8Array {
	if (epoch === attached) return sha256(SECRET, new Uint8Array(16), "i", Uint8Array.of(epoch >> 8, epoch), IDENTITY);
	if (epoch >> 4 !== attached >> 4) return dayValue(1, epoch);
	let value = sha256(dayValue(1, attached + 1), "b", SECRET, IDENTITY);
	for (let day = attached + 1; day < epoch; day++) value = sha256(value, "n");
	return value;
}

function serverWith(value: Uint8Array, epoch: number): Server {
	const server = new Server(1, -1, new NodeCrypto(), DOMAIN, ADDRESS);
	assert.equal(server.unicast.startDay(epoch, value, 0), Status.ok, "day");
	return server;
}

function roll(store: KeyStore, epoch: number): void {
	if (epoch === store.epoch) return;
	assert.equal(store.stageEpoch(epoch, true), Status.ok, "stage");
	assert.equal(store.commitEpoch(), Status.ok, "commit");
}

/** Both ways, on a branch. */
function talks(store: KeyStore, server: Server, branch: 0 | 1): boolean {
	return server.open(meterSeal(store, "up", branch)) === "up" && meterOpen(store, server.seal("down")) === "down";
}

for (const attached of [DAY, DAY + 3, DAY + 14, DAY + 15])
	test(`ATTACH on day ${attached & 15} of a block: the new concentrator's keys, the next block as ever`, () => {
		const { store, flash } = provisioned();
		roll(store, attached);
		const head = new Server(0, attached);
		const old = new Server(1, attached);
		assert.ok(talks(store, old, 1), "before");
		const late = old.seal("of the old concentrator");
		const before = store.headSequence;
		const attach = head.sealBytes(attachContent(attached), ATTACH);
		const into = new Uint8Array(26).fill(7);
		assert.equal(store.openMessage(attach, attach.length, into), Status.ok);
		assert.equal(store.openedByteLength, 0, "nothing is left to do");
		assert.deepEqual(into, new Uint8Array(26), "the secret is not left with the caller");
		assert.equal(store.headSequence, before + 1, "index and keys are one record");
		assert.deepEqual([store.domain, store.shortAddress, store.concentrator], [DOMAIN, ADDRESS, 0xfedc_ba98]);
		assert.equal(store.unacknowledged(1), 0);
		for (const epoch of [attached, attached + 1, attached + 2, attached + 16, attached + 17]) {
			roll(store, epoch);
			assert.ok(talks(store, serverWith(attachedValue(attached, epoch), epoch), 1), `day ${epoch}`);
			const { store: again } = openWorld(newFlash({ image: flash.image }));
			assert.equal(again.concentrator, 0xfedc_ba98, "kept");
			assert.equal(
				meterOpen(again, head.moved(DOMAIN, ADDRESS).seal("x")) === "x",
				epoch <= attached + 1,
				"end to end",
			);
		}
		assert.equal(meterOpen(store, late), Status.notFound);
		assert.equal(meterOpen(store, attach), Status.notFound, "not twice");
	});

test("what the old concentrator holds opens nothing after an ATTACH, what the new one gets opens nothing before", () => {
	const { store } = provisioned();
	roll(store, DAY + 5);
	const crypto = new NodeCrypto();
	// The old one: value of today and of tomorrow, out of the seed of the block.
	const old = new Uint8Array(64);
	old.set(PROVISIONING.roots.subarray(32));
	blockSeed(crypto, old, DAY >> 4, 0);
	nextBlockDay(crypto, old, 0, 0, 5, 32);
	const head = new Server(0, DAY + 5);
	assert.equal(meterOpen(store, head.sealBytes(attachContent(DAY + 5), ATTACH)), "");
	assert.equal(meterOpen(store, serverWith(old.slice(32), DAY + 5).seal("x")), Status.badTag);
	nextBlockDay(crypto, old, 0, 6, 6, 32);
	roll(store, DAY + 6);
	assert.equal(meterOpen(store, serverWith(old.slice(32), DAY + 6).seal("x")), Status.badTag);
	assert.equal(serverWith(old.slice(32), DAY + 6).open(meterSeal(store, "secret", 1)), Status.badTag);
	// The new one: the functions that the head end uses.
	const fresh = new Uint8Array(64);
	fresh.set(dayValue(1, DAY + 6));
	attachedNext(crypto, fresh, 0, attachContent(0), 6);
	assert.deepEqual(fresh.slice(0, 32), attachedValue(DAY + 5, DAY + 6));
	attachedDay(crypto, attachContent(0), 6, DAY + 5, fresh, 32);
	assert.deepEqual(fresh.slice(32), attachedValue(DAY + 5, DAY + 5));
	assert.ok(talks(store, serverWith(fresh.slice(0, 32), DAY + 6), 1));
});

test("an ATTACH that is not right is used up and changes nothing else; only the head end can make one", () => {
	const { store } = provisioned();
	const head = new Server(0);
	const wrong = (change: (content: Uint8Array) => Uint8Array) =>
		meterOpen(store, head.sealBytes(change(attachContent(DAY)), ATTACH));
	assert.equal(
		wrong((content) => content.subarray(1)),
		Status.badLength,
	);
	assert.equal(
		wrong((content) => new Uint8Array([...content, 0])),
		Status.badLength,
	);
	assert.equal(
		wrong((content) => content.with(5, content[5]! ^ 1)),
		Status.expired,
	);
	assert.equal(
		wrong((content) => content.fill(0, 22)),
		Status.badValue,
	);
	assert.equal(store.downIndex(0), 4, "used up");
	assert.equal(store.concentrator, 0);
	assert.ok(talks(store, new Server(1), 1), "the old concentrator is still the one");
	const forged = new Server(1);
	forged.seal("x");
	assert.equal(meterOpen(store, forged.sealBytes(attachContent(DAY), ATTACH)), Status.notAuthorised);
	const late = head.sealBytes(attachContent(DAY), ATTACH);
	roll(store, DAY + 1);
	assert.equal(meterOpen(store, late), Status.expired, "of yesterday");
	assert.equal(store.domain, PROVISIONING.domain);
});

test("after an ATTACH and a second one in the same block both steps count", () => {
	const { store } = provisioned();
	const head = new Server(0);
	assert.equal(meterOpen(store, head.sealBytes(attachContent(DAY), ATTACH)), "");
	const again = head.moved(DOMAIN, ADDRESS);
	const content = attachContent(DAY);
	content[25] = 0x77;
	assert.equal(meterOpen(store, again.sealBytes(content, ATTACH)), "");
	roll(store, DAY + 1);
	const value = sha256(attachedValue(DAY, DAY + 1), "b", SECRET, content.subarray(22));
	assert.ok(talks(store, serverWith(value, DAY + 1), 1));
});

test("a part begins anew with an ATTACH and with new keys, goes on with a day, and is gone after a reset", () => {
	const part = new TestPart();
	const { store, flash } = provisioned(new NodeCrypto(), { part });
	const leaf = (value: Uint8Array, tree: number) => sha256(value, "l", Uint8Array.of(tree)).subarray(0, 16);
	const expect = (generation: number, value: Uint8Array, where: string) => {
		const stored = new TestPart();
		openWorld(newFlash({ image: flash.image }), new NodeCrypto(), { part: stored });
		assert.deepEqual(stored.state, part.state, `${where}: flash and memory agree`);
		assert.equal(part.generation, generation, where);
		assert.deepEqual(part.state.subarray(4), Uint8Array.from([...leaf(value, 0), ...leaf(value, 1)]), where);
		assert.equal(part.staged, undefined, `${where}: nothing is left staged`);
	};
	expect(0, dayValue(1, DAY), "provisioned");
	roll(store, DAY + 1);
	expect(1, dayValue(1, DAY + 1), "next day");
	part.stageGeneration();
	assert.equal(store.commitPart(), Status.ok);
	expect(2, dayValue(1, DAY + 1), "a message of the group");
	const head = new Server(0, DAY + 1);
	assert.equal(meterOpen(store, head.seal("x")), "x");
	expect(2, dayValue(1, DAY + 1), "a message of the head end");
	store.stageEpoch(DAY + 2, true);
	assert.equal(store.commitPart(), Status.busy);
	store.abortStaged();
	expect(2, dayValue(1, DAY + 1), "a day that did not come");
	assert.equal(meterOpen(store, head.sealBytes(attachContent(DAY + 1), ATTACH)), "");
	expect(0, attachedValue(DAY + 1, DAY + 1), "attached");
	assert.equal(store.deriveLeafKey(0, new Uint8Array(16), 0), Status.notFound, "the day's value is gone");
	const roots = PROVISIONING.roots.map((byte) => byte ^ 0xff);
	assert.equal(store.stageReseed({ ...PROVISIONING, generation: 2, epoch: DAY + 1, roots }), Status.ok);
	assert.equal(store.commitReseed(), Status.ok);
	assert.equal(part.generation, 0);
	assert.equal(store.factoryReset(), Status.ok);
	assert.equal(part.state.length, 0);
	assert.equal(store.commitPart(), Status.notFound);
	const { store: empty } = openWorld(flash, new NodeCrypto(), { part });
	assert.equal(empty.counters.counts[Status.ok], 1);
	assert.equal(part.state.length, 0);
});

test("a record with a part that this firmware has no room for, or that the part refuses, is left alone", () => {
	const { flash } = provisioned(new NodeCrypto(), { part: new TestPart() });
	const image = Buffer.from(flash.image);
	const cases: [TestPart | undefined, Status][] = [
		[undefined, Status.badLength],
		[new TestPart(20), Status.badLength],
		[Object.assign(new TestPart(), { refuse: Status.badVersion }), Status.badVersion],
	];
	for (const [part, wanted] of cases) {
		const { store, arena } = openWorld(flash, new NodeCrypto(), part === undefined ? {} : { part });
		assert.equal(store.counters.counts[wanted], 1, `status ${wanted}`);
		assert.equal(store.isProvisioned, false);
		assert.ok(
			arena.bytes.every((byte) => byte === 0),
			"nothing is left in memory",
		);
		assert.equal(store.provision(PROVISIONING), Status.busy, "a newer firmware's keys are not overwritten");
		assert.ok(image.equals(flash.image), "flash is as it was");
		if (part) assert.equal(part.state.length, 0, "the part was wiped");
	}
	const larger = new TestPart(64);
	assert.equal(openWorld(flash, new NodeCrypto(), { part: larger }).store.isProvisioned, true);
	assert.equal(larger.state.length, 36, "a larger one is fine");
	assert.throws(() => openWorld(flash, new NodeCrypto(), { part: new TestPart(769) }), /768/);
});

test("a part aborts with the store: flash that refuses, a day or keys that are not taken", () => {
	const part = new TestPart();
	const counter = { refuses: false, value: () => 0, raiseTo: () => (counter.refuses ? Status.timedOut : Status.ok) };
	const { store } = provisioned(new NodeCrypto(), { part, counter });
	const before = part.state.slice();
	counter.refuses = true;
	part.stageGeneration();
	assert.equal(store.commitPart(), Status.timedOut);
	assert.equal(part.staged, undefined, "aborted");
	assert.equal(store.stageEpoch(DAY + 1, true), Status.ok);
	assert.equal(store.commitEpoch(), Status.timedOut);
	assert.equal(part.staged, undefined, "aborted with the day");
	assert.equal(store.epoch, DAY);
	assert.equal(store.stageReseed({ ...PROVISIONING, generation: 2 }), Status.ok);
	assert.notEqual(part.staged, undefined);
	store.abortStaged();
	assert.equal(part.staged, undefined, "aborted with the keys");
	assert.deepEqual(part.state, before);
	counter.refuses = false;
	part.stageGeneration();
	assert.equal(store.commitPart(), Status.ok);
	assert.equal(part.generation, 1);
	const { restores } = part;
	assert.equal(store.factoryReset(), Status.ok);
	assert.ok(part.restores > restores, "told that nothing is held");
});

test("the end of yesterday and an ATTACH leave nothing of the receiving chains of the day before", () => {
	const crypto = new NodeCrypto();
	const chain = (branch: 0 | 1) => {
		const bytes = new Uint8Array(48);
		bytes.set(dayValue(branch, DAY));
		crypto.kdf(bytes, 0, 32, 0x77, bytes, 0, 0, bytes, 32, 16);
		return Buffer.from(bytes.subarray(32));
	};
	for (const how of ["end of yesterday", "attach"]) {
		const { store, arena, flash } = provisioned();
		roll(store, DAY + 1);
		for (const branch of [0, 1] as const) assert.ok(Buffer.from(arena.bytes).includes(chain(branch)), "kept");
		if (how === "attach") {
			const head = new Server(0, DAY + 1);
			assert.equal(meterOpen(store, head.sealBytes(attachContent(DAY + 1), ATTACH)), "");
		} else assert.equal(store.endYesterday(), Status.ok);
		for (const bytes of [arena.bytes, openWorld(flash).arena.bytes]) {
			assert.equal(Buffer.from(bytes).includes(chain(1)), false, `${how}: neighbourhood`);
			assert.equal(Buffer.from(bytes).includes(chain(0)), how === "attach", `${how}: end to end`);
		}
	}
});
