import assert from "node:assert/strict";
import { test } from "node:test";
import { Status, statusName } from "../../../src/bytes/status.js";
import { encodeGroupEnvelope, GROUP_ENVELOPE_BYTES, MessageKind } from "../../../src/group-keys/envelope.js";
import { Field, RECORD_BYTES, STATE_HEADER_BYTES } from "../../../src/group-keys/path-store.js";
import { DOMAIN_GROUP, SchemeNumber, Way } from "../../../src/group-keys/scheme.js";
import { StarLabel } from "../../../src/group-keys/star/definition.js";
import { EngineLabel } from "../../../src/group-keys/tree/definition.js";
import { FastCrypto } from "../../group-keys/fast-crypto.js";
import { Oracle, valuesOf } from "../../group-keys/oracle.js";
import { controlled } from "../../group-keys/registry.js";
import { GroupWorld } from "../../group-keys/world.js";
import { seed } from "../../seed.js";

const crypto = new FastCrypto();

function world(name: string, members: number, oracle?: Oracle): GroupWorld {
	const scheme = controlled(name) ?? assert.fail(name);
	const common = { scheme, seed, domainSlots: 8, groupSlots: 8, groupsMax: 1 };
	const made = new GroupWorld(oracle ? { ...common, controllerCrypto: oracle } : common);
	for (let meter = 0; meter < members; meter++) made.change(DOMAIN_GROUP, [], [meter]);
	return made;
}

function step(key: Uint8Array, label: number): Uint8Array {
	const into = new Uint8Array(16);
	crypto.kdf(key, 0, key.length, label, key, 0, 0, into, 0, 16);
	return into;
}

/** The key of the highest level that a member of an 8-slot tree holds, out of its flash. */
function topOf(flash: Uint8Array): Uint8Array {
	const path = STATE_HEADER_BYTES + Field.path;
	assert.ok(flash.length >= STATE_HEADER_BYTES + RECORD_BYTES + 48);
	return flash.slice(path + 32, path + 48);
}

test("OFT: who left and who came after have the key between them, on bytes (Horng 2002)", () => {
	const w = world("oft", 7);
	const left = w.meter(0).flash.slice(); // in the left half: knows the right half's blinded key
	w.change(DOMAIN_GROUP, [0], []);
	const between = w.groupKey(DOMAIN_GROUP);
	assert.ok(!w.isCurrent(0, DOMAIN_GROUP), "0 alone has it not");
	w.change(DOMAIN_GROUP, [], [7]); // into the right half: is told the left half's blinded key
	const both = new Uint8Array(32);
	both.set(topOf(w.meter(7).flash), 0);
	both.set(topOf(left), 16);
	const probe = new Uint8Array(16);
	const root = step(both, EngineLabel.combine);
	crypto.kdf(step(root, EngineLabel.groupKey), 0, 16, 0x44, Uint8Array.of(1, 0, 7), 0, 3, probe, 0, 16);
	assert.deepEqual(probe, between);
});

for (const name of ["oft", "lkh", "lkh+", "ofc", "hora"])
	test(`the same coalition against ${name}, by the oracle: ${name === "oft" ? "succeeds" : "fails"}`, () => {
		const oracle = new Oracle(new FastCrypto());
		const w = world(name, 7, oracle);
		w.change(DOMAIN_GROUP, [0], []);
		const key = Buffer.from(w.groupKey(DOMAIN_GROUP)).toString("hex");
		w.change(DOMAIN_GROUP, [], [7]);
		oracle.onAir(w.recorded.filter(({ way }) => way === Way.broadcast).map(({ bytes }) => bytes));
		const known = (meters: readonly number[]) => {
			const values = new Set<string>();
			const leafKey = new Uint8Array(16);
			for (const meter of meters) {
				w.keysOf(meter).deriveLeafKey(DOMAIN_GROUP, leafKey, 0);
				values.add(Buffer.from(leafKey).toString("hex"));
				for (const { way, to, bytes } of w.recorded)
					if (way === Way.unicast && to === meter) for (const value of valuesOf(bytes)) values.add(value);
			}
			return values;
		};
		assert.ok(oracle.close(known([3])).has(key), "a member has it");
		assert.ok(!oracle.close(known([0])).has(key), "0 alone has it not");
		assert.ok(!oracle.close(known([7])).has(key), "7 alone has it not");
		assert.equal(oracle.close(known([0, 7])).has(key), name === "oft");
	});

test("Liu 2013: one lost message parts the implicit index for good; the explicit one goes on", () => {
	for (const name of ["liu-2013", "liu-2013-explicit"]) {
		const w = world(name, 6);
		let isDeaf = true;
		w.isLost = (meter) => isDeaf && meter === 1;
		w.change(DOMAIN_GROUP, [0], []);
		isDeaf = false;
		const statuses: string[] = [];
		w.onDeliver = (meter, _message, status) => {
			if (meter.meter === 1) statuses.push(statusName(status));
		};
		w.change(DOMAIN_GROUP, [2], []);
		w.catchUp(1);
		w.change(DOMAIN_GROUP, [3], []);
		w.catchUp(1);
		const isExplicit = name === "liu-2013-explicit";
		assert.equal(w.isCurrent(1, DOMAIN_GROUP), isExplicit, name);
		assert.ok(statuses.filter((status) => status === "ok").length === (isExplicit ? 2 : 0), statuses.join());
	}
});

test("LKH: a lost rekey locks out; HORA: one exchange, whatever was lost", () => {
	for (const name of ["lkh", "hora"]) {
		const w = world(name, 8);
		w.isLost = (meter) => meter === 1;
		w.change(DOMAIN_GROUP, [0], []); // the sibling: every key above 1 is new
		w.isLost = () => false;
		const statuses: string[] = [];
		w.onDeliver = (meter, _message, status) => {
			if (meter.meter === 1) statuses.push(statusName(status));
		};
		for (const meter of [3, 5, 7]) w.change(DOMAIN_GROUP, [meter], []);
		assert.deepEqual(statuses, ["outOfOrder", "outOfOrder", "outOfOrder"], name);
		const answer = w.catchUp(1);
		assert.equal(answer.length, name === "hora" ? 1 : 0);
		assert.equal(w.isCurrent(1, DOMAIN_GROUP), name === "hora");
	}
});

test("a star's refresh under the old key: any member makes one, and the others follow", () => {
	const w = world("liu-2013-explicit", 4);
	const insider = w.meter(2);
	const flash = STATE_HEADER_BYTES + Field.older;
	const groupKey = insider.flash.slice(flash, flash + 16);
	const bytes = new Uint8Array(GROUP_ENVELOPE_BYTES + 24);
	const generation = insider.scheme.generation(DOMAIN_GROUP) + 1;
	const { liu2013: scheme } = SchemeNumber;
	const kind = MessageKind.refresh;
	const rest = { variant: 0, group: 0, epoch: 0, counter: 0, bodyBytes: 24 };
	encodeGroupEnvelope({ scheme, kind, generation, ...rest }, bytes);
	const nonce = new Uint8Array(13);
	nonce[4] = generation;
	const ccm = crypto.createCcm(13, 8);
	ccm.setKey(step(groupKey, StarLabel.successor), 0);
	ccm.seal(nonce, 0, bytes, 0, GROUP_ENVELOPE_BYTES, new Uint8Array(16).fill(0x66), 0, 16, bytes, GROUP_ENVELOPE_BYTES);
	const victim = w.meter(3).scheme;
	assert.equal(statusName(victim.stage(Way.broadcast, bytes, bytes.length)), "ok");
	victim.commit();
	assert.equal(victim.generation(DOMAIN_GROUP), generation, "and has lost the concentrator");
});

test("key wrap binds no context: an old wrap with new numbers is taken again; CCM refuses it", () => {
	for (const name of ["dlms", "liu-2013-explicit"]) {
		const w = world(name, 4);
		w.change(DOMAIN_GROUP, [0], []);
		const old = w.recorded.filter(({ to }) => to === 3).at(-1) ?? assert.fail("no wrap");
		w.change(DOMAIN_GROUP, [1], []);
		const bytes = old.bytes.slice();
		const generation = w.meter(3).scheme.generation(DOMAIN_GROUP) + 1;
		bytes[9] = generation;
		bytes[11] = 200; // a counter far ahead
		const { scheme } = w.meter(3);
		assert.equal(statusName(scheme.stage(Way.unicast, bytes, bytes.length)), name === "dlms" ? "ok" : "badTag");
	}
});

test("HORA: a meter that hears of its own eviction says so, and can wipe what it had", async () => {
	const { HoraMember } = await import("../../../src/group-keys/hora/member.js");
	const w = world("hora", 6);
	w.change(1, [], [2, 3]);
	const statuses: Status[] = [];
	w.onDeliver = (meter, _message, status) => {
		if (meter.meter === 2) statuses.push(status);
	};
	w.change(DOMAIN_GROUP, [2], []);
	assert.deepEqual(statuses.map(statusName), ["notAuthorised", "notAuthorised"], "of the group and of the domain");
	const { scheme } = w.meter(2);
	assert.ok(scheme instanceof HoraMember);
	assert.equal(scheme.stageLeave(DOMAIN_GROUP), Status.ok);
	scheme.commit();
	assert.equal(scheme.generation(DOMAIN_GROUP), -1);
	assert.equal(scheme.generation(1), -1);
	w.change(DOMAIN_GROUP, [], [2]);
	w.assertAgreement(DOMAIN_GROUP, "2 is back the same day");
});
