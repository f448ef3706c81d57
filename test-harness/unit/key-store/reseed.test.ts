import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import type { Provisioning } from "../../../src/key-store/key-store.js";
import { ServerUnicast } from "../../../src/key-store/server-unicast.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { meterOpen, meterSeal, newFlash, openWorld, PROVISIONING, provisioned, Server } from "./world.js";

const DAY = PROVISIONING.epoch;
/** The device file of a renewal. */
const NEXT: Provisioning = Object.freeze({
	...PROVISIONING,
	generation: 2,
	domain: 0x0a0b,
	shortAddress: 0x0c0d,
	epoch: DAY + 7,
	roots: Uint8Array.from({ length: 64 }, (_, i) => 200 - i),
	teslaIntervalSeconds: 60,
	updateKey: new Uint8Array(56).fill(9),
});

test("provisioning and renewal say no to what is not complete", () => {
	const { store } = openWorld(newFlash());
	const { store: other } = provisioned();
	const wrong: Partial<Provisioning>[] = [
		{ id: new Uint8Array(7) },
		{ roots: new Uint8Array(63) },
		{ calendarRoot: new Uint8Array(17) },
		{ updateKey: new Uint8Array(55) },
		{ generation: 0 },
		{ generation: 65_536 },
		{ domain: -1 },
		{ domain: 65_536 },
		{ shortAddress: 65_536 },
		{ shortAddress: 1.5 },
		{ calendarLevels: 0 },
		{ calendarLevels: 17 },
		{ calendarFirstEpoch: DAY + 8 },
		{ calendarFirstEpoch: -1 },
		{ calendarFirstEpoch: 0, calendarLevels: 15 },
		{ epoch: 65_536 },
		{ epoch: Number.NaN },
		{ teslaIntervalSeconds: 0 },
		{ teslaIntervalSeconds: 43_201 },
	];
	for (const change of wrong) {
		assert.equal(store.provision({ ...PROVISIONING, ...change }), Status.badValue, JSON.stringify(change));
		assert.equal(other.stageReseed({ ...NEXT, ...change }), Status.badValue, JSON.stringify(change));
	}
	assert.equal(store.headSequence, 0, "nothing was written");
	const right: Partial<Provisioning>[] = [
		{ calendarFirstEpoch: 0, calendarLevels: 16, epoch: 65_535 },
		{ calendarFirstEpoch: 40_000, calendarLevels: 1, epoch: 40_001 },
		{ teslaIntervalSeconds: 43_200, generation: 65_535, domain: 65_535, shortAddress: 0 },
	];
	for (const change of right) {
		assert.equal(store.provision({ ...PROVISIONING, ...change }), Status.ok, JSON.stringify(change));
		assert.equal(store.factoryReset(), Status.ok);
	}
});

test("what is public can be read, and is a copy", () => {
	const { store, arena } = provisioned();
	assert.deepEqual(
		[store.generation, store.domain, store.shortAddress, store.concentrator, store.intervalSeconds],
		[1, 0x0102, 0x0304, 0, 900],
	);
	assert.deepEqual(store.calendar, { root: PROVISIONING.calendarRoot, firstEpoch: 32_768, levels: 15 });
	assert.notEqual(store.calendar.root.buffer, arena.bytes.buffer, "not a view into the secrets");
	const key = new Uint8Array(60);
	store.copyUpdateKey(key, 2);
	assert.deepEqual(key, Uint8Array.from([0, 0, ...PROVISIONING.updateKey, 0, 0]));
	assert.equal(store.hasId(PROVISIONING.id), true);
	assert.equal(store.hasId(PROVISIONING.id.map((byte) => byte ^ 1)), false);
	assert.equal(store.forget(Status.notAuthorised), Status.notAuthorised);
	assert.equal(store.isProvisioned, false);
	assert.equal(store.hasId(PROVISIONING.id), false);
	assert.deepEqual(store.calendar, { root: new Uint8Array(16), firstEpoch: 0, levels: 0 });
	assert.ok(!Buffer.from(arena.bytes).includes(Buffer.from(PROVISIONING.id)), "no keys in memory");
	assert.equal(meterSeal(store, "x").length, 0);
	assert.equal(store.raiseSecurityVersion(1), Status.notFound, "the record of the other keys stays");
	assert.equal(store.provision(PROVISIONING), Status.ok, "new keys may be given");
});

test("a renewal replaces everything at once, and only by the next generation of the same meter", () => {
	const { store, flash, arena } = provisioned();
	const server = new Server(0);
	assert.equal(meterOpen(store, server.seal("old")), "old");
	assert.equal(store.useFlashSlot(3), Status.ok);
	assert.equal(store.raiseSecurityVersion(4), Status.ok);
	assert.equal(store.stageReseed({ ...NEXT, id: new Uint8Array(8) }), Status.notFound);
	assert.equal(store.stageReseed({ ...NEXT, generation: 1 }), Status.replayed);
	assert.equal(store.stageReseed({ ...NEXT, generation: 3 }), Status.outOfOrder);
	assert.equal(store.stageReseed({ ...NEXT, epoch: DAY - 1 }), Status.expired);
	assert.throws(() => store.commitReseed(), /staged/);
	assert.equal(openWorld(newFlash()).store.stageReseed(NEXT), Status.notFound);

	const image = Buffer.from(flash.image);
	assert.equal(store.stageReseed(NEXT), Status.ok);
	assert.throws(() => store.commitEpoch(), /staged/);
	assert.equal(meterSeal(store, "x").length, 0, "nothing else while keys are staged");
	assert.equal(store.endYesterday(), Status.ok);
	store.abortStaged();
	assert.ok(image.equals(flash.image));
	assert.equal(meterOpen(store, server.seal("still old")), "still old");

	const old = Buffer.from(arena.bytes.subarray(32, 288)).toString("hex");
	assert.equal(store.stageReseed(NEXT), Status.ok);
	assert.equal(store.commitReseed(), Status.ok);
	for (let at = 0; at < old.length; at += 64)
		if (!/^0+$/.test(old.slice(at, at + 64)))
			assert.ok(
				!Buffer.from(arena.bytes)
					.toString("hex")
					.includes(old.slice(at, at + 64)),
				"an old odometer is left",
			);
	for (const checked of [store, openWorld(flash).store]) {
		assert.deepEqual(
			[checked.generation, checked.domain, checked.shortAddress, checked.epoch, checked.intervalSeconds],
			[2, 0x0a0b, 0x0c0d, DAY + 7, 60],
		);
		assert.equal(checked.flashSlotNext, 4, "the same calendar");
		assert.equal(checked.minimumSecurityVersion(), 4, "outlives keys");
		const key = new Uint8Array(56);
		checked.copyUpdateKey(key, 0);
		assert.deepEqual(key, NEXT.updateKey);
	}
	assert.equal(store.isWitnessed, false, "the witness is asked anew");
	store.witness(0);
	assert.equal(meterOpen(store, server.seal("x")), Status.notFound, "the old keys are gone");
	const renewed = new ServerUnicast(new NodeCrypto(), {
		branch: 0,
		id: NEXT.id,
		domain: NEXT.domain,
		shortAddress: NEXT.shortAddress,
		save: () => true,
	});
	const { store: twin } = openWorld(newFlash());
	assert.equal(twin.provision(NEXT), Status.ok);
	twin.witness(0);
	assert.deepEqual(meterSeal(store, "same"), meterSeal(twin, "same"), "as a meter that never had other keys");
	assert.equal(renewed.counters.counts[Status.ok], 0);
	assert.equal(store.stageReseed(NEXT), Status.replayed, "the same file twice");
	const calendarRoot = new Uint8Array(16).fill(1);
	assert.equal(store.stageReseed({ ...NEXT, generation: 3, calendarRoot }), Status.ok);
	assert.equal(store.commitReseed(), Status.ok);
	assert.equal(store.flashSlotNext, 0, "slots belong to a calendar");
	assert.deepEqual(store.calendar.root, calendarRoot);
});

test("a flash slot and all below it are used once; the mark outlives a reset under the same calendar", () => {
	const { store, flash } = provisioned();
	const head = store.headSequence;
	for (const slot of [-1, 0.5, 0xffff_ffff, Number.NaN]) assert.equal(store.useFlashSlot(slot), Status.badValue);
	assert.equal(store.useFlashSlot(0), Status.ok);
	assert.equal(store.useFlashSlot(0), Status.replayed);
	assert.equal(store.useFlashSlot(7), Status.ok);
	assert.equal(store.useFlashSlot(6), Status.replayed);
	assert.equal(store.headSequence, head + 2, "refusals write nothing");
	assert.equal(store.stageEpoch(DAY + 1, true), Status.ok);
	assert.equal(store.useFlashSlot(8), Status.busy);
	store.abortStaged();
	assert.equal(openWorld(newFlash({ image: flash.image })).store.useFlashSlot(7), Status.replayed);
	assert.equal(store.factoryReset(), Status.ok);
	assert.equal(store.useFlashSlot(9), Status.notFound);
	const { store: again } = openWorld(flash);
	assert.equal(again.provision(PROVISIONING), Status.ok);
	assert.equal(again.flashSlotNext, 8);
	assert.equal(again.useFlashSlot(0xffff_fffe), Status.ok);
	assert.equal(again.useFlashSlot(0xffff_fffe), Status.replayed);
	assert.equal(again.flashSlotNext, 0xffff_ffff);
});

test("the lowest security version goes up only, needs no keys, and outlives a reset", () => {
	const flash = newFlash();
	const { store } = openWorld(flash);
	for (const version of [-1, 2 ** 32, Number.NaN]) assert.equal(store.raiseSecurityVersion(version), Status.badValue);
	assert.equal(store.raiseSecurityVersion(0), Status.ok);
	assert.equal(store.headSequence, 0, "as high already: nothing is written");
	assert.equal(store.raiseSecurityVersion(2), Status.ok);
	assert.equal(store.minimumSecurityVersion(), 2);
	assert.equal(store.raiseSecurityVersion(1), Status.ok);
	assert.equal(store.minimumSecurityVersion(), 2);
	const { store: again } = openWorld(flash);
	assert.equal(again.minimumSecurityVersion(), 2);
	assert.equal(again.isProvisioned, false);
	assert.equal(again.provision(PROVISIONING), Status.ok);
	assert.equal(again.raiseSecurityVersion(0xffff_ffff), Status.ok);
	assert.equal(again.stageEpoch(DAY + 1, true), Status.ok);
	assert.equal(again.raiseSecurityVersion(0xffff_ffff), Status.ok);
	again.abortStaged();
	assert.equal(again.factoryReset(), Status.ok);
	assert.equal(openWorld(flash).store.minimumSecurityVersion(), 0xffff_ffff);
	const image = flash.image;
	const used = image.findIndex((byte, i) => i >= 1024 && i % 1024 === 48 && byte !== 0xff);
	image[used]! ^= 1;
	const { store: broken } = openWorld(newFlash({ image }));
	assert.equal(broken.raiseSecurityVersion(3), Status.notFound, "flash that cannot be read is not overwritten");
	assert.equal(broken.counters.counts[Status.corrupt], 1);
});

test("sealing, opening and rolling between two stages are refused, and staging anew forgets the first", () => {
	const { store } = provisioned();
	const server = new Server(0);
	assert.equal(store.stageReseed({ ...NEXT, epoch: DAY }), Status.ok);
	assert.equal(meterOpen(store, server.seal("x")), Status.busy);
	assert.equal(store.stageEpoch(DAY + 1, true), Status.ok);
	assert.throws(() => store.commitReseed(), /staged/);
	assert.equal(store.commitEpoch(), Status.ok);
	assert.equal(store.generation, 1);
	assert.equal(store.stageEpoch(DAY + 2, true), Status.ok);
	assert.equal(store.endYesterday(), Status.busy);
	store.abortStaged();
	assert.equal(store.endYesterday(), Status.ok);
});
