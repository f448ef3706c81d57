import assert from "node:assert/strict";
import { test } from "node:test";
import { Status, statusName } from "../../../src/bytes/status.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { decodeUnicastHeader, UnicastType } from "../../../src/key-store/unicast.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { CountingCrypto } from "./counting-crypto.js";
import {
	AREA,
	dayValue,
	deviceKey,
	FLASH,
	meterOpen,
	meterSeal,
	newFlash,
	openWorld,
	PROVISIONING,
	provisioned,
	Server,
} from "./world.js";

const DAY = PROVISIONING.epoch;

test("messages pass both ways on both branches; restarts on both sides change nothing", () => {
	const { flash, store } = provisioned();
	for (const branch of [0, 1] as const) {
		const server = new Server(branch);
		for (let i = 0; i < 5; i++) {
			assert.equal(server.open(meterSeal(store, `up ${i}`, branch)), `up ${i}`);
			assert.equal(meterOpen(store, server.seal(`down ${i}`)), `down ${i}`);
		}
		const again = openWorld(flash).store;
		assert.equal(again.upIndex(branch), branch === 0 ? 64 : 128, "resumes at the end of the reservation");
		assert.equal(again.downIndex(branch), 5);
		const restored = new Server(branch, -1);
		assert.equal(restored.unicast.restore(server.saved), Status.ok);
		assert.equal(restored.open(meterSeal(again, "later", branch)), "later");
		assert.equal(meterOpen(again, restored.seal("later")), "later");
		store.open();
		store.witness(0);
	}
});

test("node:crypto and noble talk to each other, and open each other's flash", () => {
	const { flash, store } = provisioned(new NobleCrypto());
	const server = new Server(0, DAY, new NodeCrypto());
	assert.equal(server.open(meterSeal(store, "noble")), "noble");
	const { store: other } = openWorld(flash, new NodeCrypto());
	assert.equal(other.isProvisioned, true);
	assert.equal(meterOpen(other, server.seal("node")), "node");
});

test("every refusal has its status, is counted, and changes nothing", () => {
	const { store, flash } = provisioned();
	const server = new Server(0);
	const first = server.seal("first");
	const second = server.seal("second");
	const image = Buffer.from(flash.image);
	const change = (bytes: Uint8Array, at: number, value: number) => {
		const changed = bytes.slice();
		changed[at] = value;
		return changed;
	};
	const cases: [string, Uint8Array, Status][] = [
		["too short", first.subarray(0, 17), Status.badLength],
		["flags", change(first, 9, 4), Status.badValue],
		["direction", change(first, 9, 0), Status.badKind],
		["domain", change(first, 1, 9), Status.notFound],
		["short address", change(first, 4, 9), Status.notFound],
		["tomorrow", change(first, 6, (DAY + 1) & 0xff), Status.clockInvalid],
		["yesterday, without one", change(first, 6, (DAY - 1) & 0xff), Status.timedOut],
		["far ahead", change(first, 8, 32), Status.outOfOrder],
		["index 65535", change(change(first, 7, 255), 8, 255), Status.badValue],
		["type", change(first, 0, 0x0b), Status.badTag],
		["other branch", change(first, 9, 3), Status.badTag],
		["other index", change(first, 8, 1), Status.badTag],
		["content", change(first, 12, first[12]! ^ 1), Status.badTag],
		["tag", change(first, first.length - 1, first.at(-1)! ^ 128), Status.badTag],
	];
	for (const [name, bytes, wanted] of cases) {
		const before = store.counters.counts[wanted]!;
		assert.equal(meterOpen(store, bytes), wanted, name);
		assert.equal(store.counters.counts[wanted], before + 1, name);
	}
	assert.ok(image.equals(flash.image), "a refusal writes nothing");
	assert.equal(store.openMessage(first, first.length, new Uint8Array(4)), Status.badLength);
	assert.equal(meterOpen(store, second), "second");
	assert.equal(meterOpen(store, second), Status.replayed);
	assert.equal(meterOpen(store, first), Status.replayed, "skipped keys are not kept");
	assert.equal(store.opened.index, 0);
	const into = new Uint8Array(100);
	const extra = Uint8Array.of(1, 2, 3);
	const count = server.unicast.sealMessage(0x0b, extra, 3, into, extra);
	assert.equal(store.openMessage(into, count, new Uint8Array(9)), Status.badTag, "bound bytes are authenticated");
	assert.equal(store.openMessage(into, count, new Uint8Array(9), extra), Status.ok);
});

test("unverified input costs at most 33 compressions, and none for a day without an anchor", () => {
	const crypto = new CountingCrypto();
	const { store } = provisioned(crypto);
	const server = new Server(0);
	let sealed = new Uint8Array(0) as Uint8Array;
	for (let i = 0; i < 32; i++) sealed = server.seal("x");
	assert.equal(server.seal("x").length, 0, "the 33rd waits for an acknowledgement");
	assert.equal(server.unicast.counters.counts[Status.busy], 1);
	const forged = sealed.slice();
	forged[11]! ^= 1;
	crypto.kdfs = 0;
	assert.equal(meterOpen(store, forged), Status.badTag);
	console.log(`forged, 31 ahead: ${crypto.kdfs} compressions`);
	assert.ok(crypto.kdfs <= 33);
	crypto.kdfs = 0;
	forged[6]! += 1;
	assert.equal(meterOpen(store, forged), Status.clockInvalid);
	assert.equal(crypto.kdfs, 0);
	assert.equal(meterOpen(store, sealed), "x");
	server.unicast.acknowledge(32);
	assert.notEqual(server.seal("x").length, 0);
});

test("an epoch moves only with an anchor and only forward", () => {
	const crypto = new CountingCrypto();
	const { store, flash } = provisioned(crypto);
	assert.equal(store.stageEpoch(DAY + 1, false), Status.refusedByPeer);
	assert.equal(store.stageEpoch(DAY, true), Status.replayed);
	assert.equal(store.stageEpoch(DAY - 1, true), Status.replayed);
	assert.equal(store.stageEpoch(65_536, true), Status.badValue);
	assert.throws(() => store.commitEpoch(), /staged/);
	const image = Buffer.from(flash.image);
	assert.equal(store.stageEpoch(DAY + 1, true), Status.ok);
	store.abortStaged();
	assert.equal(store.epoch, DAY);
	assert.ok(image.equals(flash.image));
	const leaf = new Uint8Array(16);
	assert.equal(store.deriveLeafKey(0, leaf, 0), Status.notFound);
	crypto.kdfs = 0;
	assert.equal(store.stageEpoch(DAY + 300, true), Status.ok);
	assert.equal(meterSeal(store, "x").length, 0, "nothing else while a day is staged");
	assert.equal(store.deriveLeafKey(7, leaf, 0), Status.ok);
	const wanted = new Uint8Array(16);
	new NodeCrypto().kdf(dayValue(1, DAY + 300), 0, 32, 0x6c, Uint8Array.of(7), 0, 1, wanted, 0, 16);
	assert.deepEqual(leaf, wanted);
	assert.equal(store.commitEpoch(), Status.ok);
	assert.equal(store.epoch, DAY + 300);
	assert.equal(openWorld(flash).store.epoch, DAY + 300);
	assert.equal(new Server(0, DAY + 300).open(meterSeal(store, "there")), "there");
});

test("yesterday's messages open until the end of interval 1, not those of the day before", () => {
	const { store } = provisioned();
	const server = new Server(0);
	const late = [server.seal("a"), server.seal("b"), server.seal("c")];
	const lateUp = meterSeal(store, "late up");
	assert.equal(store.stageEpoch(DAY + 1, true), Status.ok);
	assert.equal(store.commitEpoch(), Status.ok);
	assert.equal(server.unicast.startDay(DAY + 1, dayValue(0, DAY + 1), 0), Status.ok);
	assert.equal(meterOpen(store, late[0]!), "a");
	assert.equal(meterOpen(store, late[0]!), Status.replayed);
	assert.equal(server.open(lateUp), "late up");
	assert.equal(server.open(lateUp), Status.replayed);
	assert.equal(meterOpen(store, server.seal("today")), "today");
	assert.equal(meterOpen(store, late[1]!), "b");
	assert.equal(store.endYesterday(), Status.ok);
	assert.equal(server.unicast.endYesterday(), Status.ok);
	assert.equal(meterOpen(store, late[2]!), Status.timedOut);
	assert.equal(server.open(lateUp), Status.timedOut);
	assert.equal(store.stageEpoch(DAY + 3, true), Status.ok);
	assert.equal(store.commitEpoch(), Status.ok);
	assert.equal(meterOpen(store, server.seal("two days old")), Status.timedOut, "a jump keeps no chains");
	assert.equal(server.unicast.startDay(DAY, dayValue(0, DAY), 0), Status.replayed);
});

test("a direction is silent after index 65 534, until the next day", () => {
	const { store } = provisioned();
	const into = new Uint8Array(18);
	const header = { type: 0, domain: 0, shortAddress: 0, epoch: 0, index: 0, branch: 0, direction: 0 } as const;
	let count = 0;
	while (store.sealMessage(0, UnicastType.timeRequest, into, 0, into.slice()) > 0) count++;
	assert.equal(count, 65_535);
	assert.equal(store.upIndex(0), 65_535);
	assert.equal(store.counters.counts[Status.storageFull], 1);
	assert.equal(store.sealMessage(1, 8, into, 0, into), 18, "the other branch goes on");
	assert.equal(decodeUnicastHeader(into, 18, { ...header }), Status.ok);
	store.stageEpoch(DAY + 1, true);
	store.commitEpoch();
	assert.equal(store.sealMessage(0, 8, into, 0, into.slice()), 18);
});

test("a server that cannot save neither sends nor delivers, and may try again", () => {
	const { store } = provisioned();
	const server = new Server(1);
	server.refuseSave = true;
	const up = meterSeal(store, "up", 1);
	assert.equal(server.open(up), Status.storageFull);
	assert.equal(server.seal("down").length, 0);
	server.refuseSave = false;
	assert.equal(server.open(up), "up");
	assert.equal(meterOpen(store, server.seal("down")), "down");
	assert.equal(server.unicast.restore(server.saved.subarray(1)), Status.badLength);
	assert.equal(server.unicast.restore(new Uint8Array(60)), Status.badVersion);
});

test("a flash that was put back is found by a witness", () => {
	const { store, flash } = provisioned();
	const old = flash.image;
	const server = new Server(0);
	meterOpen(store, server.seal("one"));
	const witnessed = store.headSequence;
	const tag = new Uint8Array(8);
	store.journal.copyHeadTag(tag, 0);
	assert.notDeepEqual(tag, new Uint8Array(8));
	assert.equal(store.witness(witnessed), Status.ok);
	const { store: back } = openWorld(newFlash({ image: old }), new NodeCrypto(), { isUnwitnessed: true });
	assert.equal(back.witness(witnessed), Status.rolledBack);
	assert.equal(back.isRolledBack, true);
	assert.equal(back.witnessedSequence, witnessed);
	assert.equal(meterSeal(back, "x").length, 0);
	assert.equal(meterSeal(back, "", 1, UnicastType.catchUpRequest).length, 0);
	assert.equal(meterOpen(back, server.seal("two")), Status.rolledBack);
	assert.equal(back.witness(0), Status.rolledBack, "it does not forget");
	assert.equal(back.counters.counts[Status.rolledBack], 5);
	const { store: right } = openWorld(newFlash({ image: flash.image }));
	const same = new Uint8Array(8);
	right.journal.copyHeadTag(same, 0);
	assert.deepEqual(same, tag);
});

test("corrupt and foreign flash: a clear status, no keys, flash as it was, and a way out", () => {
	const { flash } = provisioned();
	const sector = flash.sectorBytes;
	const at = AREA.firstSector * sector;
	const used = [0, 1, 2].map((n) => at + n * sector).find((a) => flash.image[a + 48] !== 0xff)!;
	const spoiled = (offset: number, value: number) => {
		const image = flash.image;
		image[used + offset] = value;
		return newFlash({ image });
	};
	const garbage = newFlash({ image: Uint8Array.from({ length: 5 * sector }, (_, i) => Math.imul(i, 0x9e37) >> 5) });
	const cases: [string, ReturnType<typeof newFlash>, Status, number][] = [
		["blank", newFlash(), Status.notFound, 0x80],
		["another device's key", newFlash({ image: flash.image }), Status.badTag, 0x81],
		["a byte of the record", spoiled(60, flash.image[used + 60]! ^ 1), Status.corrupt, 0x80],
		["commit", spoiled(17, flash.image[used + 17]! ^ 1), Status.corrupt, 0x80],
		["mark", spoiled(9, flash.image[used + 9]! ^ 1), Status.corrupt, 0x80],
		["garbage", garbage, Status.corrupt, 0x80],
	];
	for (const [name, bad, wanted, key] of cases) {
		const before = Buffer.from(bad.image);
		const { store, arena } = openWorld(bad, new NodeCrypto(), { key: deviceKey(key) });
		assert.equal(store.counters.counts[wanted], 1, `${name}: ${[...store.counters.counts]} ${statusName(wanted)}`);
		assert.equal(store.isProvisioned, false, name);
		assert.ok(
			arena.bytes.every((byte) => byte === 0),
			`${name}: nothing is left in memory`,
		);
		assert.ok(before.equals(bad.image), `${name}: flash is as it was`);
		assert.equal(meterSeal(store, "x").length, 0);
		assert.equal(meterOpen(store, new Uint8Array(30)), Status.notFound);
		assert.equal(store.stageEpoch(DAY + 1, true), Status.notFound);
		assert.equal(store.provision({ ...PROVISIONING, epoch: -1 }), Status.badValue);
		assert.equal(store.provision(PROVISIONING), Status.ok, name);
		assert.equal(store.provision(PROVISIONING), Status.busy, name);
		assert.equal(store.witness(0), Status.ok);
		assert.equal(meterOpen(store, new Server(0).seal("again")), "again");
	}
	const newer = spoiled(4, 2);
	const image = newer.image;
	const view = new DataView(image.buffer, used);
	// a good checksum over the newer version, by the same CRC
	let crc = 0xffff_ffff;
	for (let i = 0; i < 12; i++) {
		crc ^= image[used + i]!;
		for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
	}
	view.setUint32(12, ~crc >>> 0);
	const { store } = openWorld(newFlash({ image }));
	assert.equal(store.counters.counts[Status.badVersion], 1);
	assert.equal(store.provision(PROVISIONING), Status.busy, "a newer firmware's keys are not overwritten");
});

test("a flash that refuses: nothing is acted on, the next start has the old state or the new", () => {
	for (let refused = 0; refused < 4; refused++) {
		const { flash, store } = provisioned();
		const server = new Server(0);
		const sealed = server.seal("x");
		let operation = 0;
		const target = flash as { program: typeof flash.program; erase: typeof flash.erase };
		const { program, erase } = flash;
		target.program = (...args) => (operation++ === refused ? Status.timedOut : program.apply(flash, args));
		target.erase = (...args) => (operation++ === refused ? Status.timedOut : erase.apply(flash, args));
		const answer = meterOpen(store, sealed);
		target.program = program;
		target.erase = erase;
		const { store: again } = openWorld(flash);
		assert.equal(again.isProvisioned, true);
		if (answer === "x") assert.equal(again.downIndex(0), 1, `refused ${refused}`);
		else {
			assert.ok(typeof answer === "number" && answer !== Status.ok);
			assert.equal(meterOpen(store, server.seal("y")), Status.corrupt, "stuck until it is opened anew");
			assert.notEqual(meterSeal(store, "up goes on").length, 0, "within what is reserved");
		}
	}
});

test("figures: state, arena, flash and compressions", () => {
	const crypto = new CountingCrypto();
	const { store, arena, flash } = provisioned(crypto);
	const server = new Server(0);
	flash.resetCounters();
	crypto.kdfs = 0;
	assert.equal(meterOpen(store, server.seal("x")), "x");
	const { programs, bytesProgrammed, erases } = flash.counters;
	console.log(`arena ${arena.bytes.length} B, used ${arena.usedBytes}; flash ${FLASH.sectorBytes} B sectors`);
	console.log(`opening: ${programs} programs, ${bytesProgrammed} B, ${erases} erase, ${crypto.kdfs} compressions`);
	assert.deepEqual([programs, bytesProgrammed, erases], [3, 528, 1]);
	crypto.kdfs = 0;
	meterSeal(store, "x");
	console.log(`sealing: ${crypto.kdfs} compressions`);
	assert.equal(crypto.kdfs, 2);
	for (let i = 1; i < 64; i++) meterSeal(store, "x");
	crypto.kdfs = 0;
	meterSeal(store, "x");
	console.log(`sealing with a new reservation: ${crypto.kdfs} compressions`);
	crypto.kdfs = 0;
	store.stageEpoch(DAY + 1, true);
	store.commitEpoch();
	console.log(`day roll: ${crypto.kdfs} compressions`);
	assert.equal(arena.usedBytes, arena.bytes.length);
});
