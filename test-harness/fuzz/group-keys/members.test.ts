import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { createGroupEnvelope, decodeGroupEnvelope, encodeGroupEnvelope } from "../../../src/group-keys/envelope.js";
import { DOMAIN_GROUP, Way } from "../../../src/group-keys/scheme.js";
import { CountingCrypto } from "../../group-keys/counting-crypto.js";
import { FastCrypto } from "../../group-keys/fast-crypto.js";
import { CONTROLLED } from "../../group-keys/registry.js";
import { GroupWorld, seededEntropy, seededNumbers } from "../../group-keys/world.js";
import { seed } from "../../seed.js";

const ROUNDS = 1500;

for (const scheme of CONTROLLED)
	test(`${scheme.title}: changed, cut, grown and spliced messages: a status, no other state, bounded work`, () => {
		const counting = new CountingCrypto(new FastCrypto());
		const world = new GroupWorld({
			scheme,
			seed,
			domainSlots: 16,
			groupSlots: 8,
			groupsMax: 1,
			memberCrypto: counting,
			isSimulated: (meter) => meter === 0 || meter === 9,
		});
		for (let meter = 0; meter < 12; meter++) world.change(DOMAIN_GROUP, [], [meter]);
		world.change(1, [], [0, 2, 3]);
		world.isLost = (meter) => meter === 0;
		for (const meter of [4, 5]) world.change(DOMAIN_GROUP, [meter], []);
		world.refresh(DOMAIN_GROUP, 6);
		const corpus = world.recorded.map(({ way, bytes }) => ({ way, bytes }));
		const { scheme: member } = world.meter(0);
		const generation = member.generation(DOMAIN_GROUP);
		const record = () => {
			const bytes = new Uint8Array(member.stagedBytesMax);
			return Buffer.from(bytes.subarray(0, member.encodeStaged(new DataView(bytes.buffer)))).toString("hex");
		};
		const before = record();
		const below = seededNumbers(seed, `fuzz ${scheme.entry.name}`);
		const random = seededEntropy(seed, `fuzz ${scheme.entry.name}`);
		const counts = new Map<Status, number>();
		let most = 0;
		for (let round = 0; round < ROUNDS; round++) {
			const { way, bytes } = corpus[below(corpus.length)]!;
			const into = new Uint8Array(1024);
			into.set(bytes.subarray(0, 1024));
			let byteLength = Math.min(1024, bytes.length);
			for (let edits = 1 + below(3); edits > 0; edits--) {
				const at = below(Math.max(1, byteLength));
				const kind = below(6);
				if (kind === 0) into[at]! ^= 1 << below(8);
				else if (kind === 1) into[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)]!;
				else if (kind === 2) byteLength = below(byteLength + 1);
				else if (kind === 3) byteLength = Math.min(1024, byteLength + below(64));
				else if (kind === 4) random(into.subarray(at, Math.min(1024, at + 1 + below(24))));
				else {
					const other = corpus[below(corpus.length)]!.bytes;
					into.set(other.subarray(at, at + 40), at);
				}
			}
			const how = below(8) === 0 ? (way === Way.unicast ? Way.broadcast : Way.unicast) : way;
			counting.take();
			const status = member.stage(how, into, byteLength);
			most = Math.max(most, counting.take().compressions);
			counts.set(status, (counts.get(status) ?? 0) + 1);
			assert.equal(member.generation(DOMAIN_GROUP), generation, `seed ${seed}, round ${round}`);
			if (status === Status.ok) member.abort();
			assert.equal(record(), before, `seed ${seed}, round ${round}: refused, and changed`);
		}
		console.log(
			`${scheme.entry.name}: ${[...counts].map(([status, count]) => `${status}: ${count}`).join(", ")}; most ${most}`,
		);
		// Ticks of one byte's worth of generations for a tree of four levels and its leaf, a patch, and the message's hash.
		assert.ok(most <= 255 * 5 + 40, `${most} compressions for one message`);
	});

test("key records: changed and cut, they are refused or read, and never throw", () => {
	const below = seededNumbers(seed, "records");
	for (const scheme of CONTROLLED) {
		const world = new GroupWorld({ scheme, seed, domainSlots: 16, groupSlots: 8, groupsMax: 1 });
		for (let meter = 0; meter < 4; meter++) world.change(DOMAIN_GROUP, [], [meter]);
		world.change(1, [], [0, 2]);
		const { flash } = world.meter(0);
		for (let round = 0; round < 300; round++) {
			const bytes = flash.slice();
			for (let i = below(4); i >= 0; i--) bytes[below(60)] = below(256);
			const byteLength = below(3) === 0 ? below(bytes.length + 1) : bytes.length;
			const member = world.newMember();
			const status = member.restore(new DataView(bytes.buffer), byteLength);
			assert.ok(status >= 0 && member.generation(DOMAIN_GROUP) >= -1, `${scheme.entry.name}, round ${round}`);
			if (status !== Status.ok) assert.equal(member.generation(DOMAIN_GROUP), -1, "refused, and kept something");
		}
		const member = world.newMember();
		assert.equal(member.restore(new DataView(flash.slice().buffer), flash.length), Status.ok);
	}
});

test("envelope: what is encoded decodes to itself, any other bytes to a status", () => {
	const random = seededEntropy(seed, "envelope");
	const bytes = new Uint8Array(64);
	const again = new Uint8Array(64);
	const envelope = createGroupEnvelope();
	let read = 0;
	for (let round = 0; round < 4000; round++) {
		random(bytes);
		if (round % 2 === 0) bytes.set([1, bytes[1]!, 1 + (bytes[2]! % 12)], 0);
		if (round % 4 === 0) bytes.set([0, 50], 12);
		if (decodeGroupEnvelope(bytes, 64, envelope) !== Status.ok) continue;
		read++;
		encodeGroupEnvelope(envelope, again);
		assert.deepEqual(again.subarray(0, 14), bytes.subarray(0, 14));
	}
	assert.ok(read >= 900, `${read} decoded`);
});
