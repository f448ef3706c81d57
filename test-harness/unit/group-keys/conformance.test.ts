import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Status, statusName } from "../../../src/bytes/status.js";
import { SCHEMES } from "../../../src/group-keys/registry.js";
import { DOMAIN_GROUP, Way } from "../../../src/group-keys/scheme.js";
import { CONTROLLED, type ControlledScheme } from "../../group-keys/registry.js";
import { GroupWorld } from "../../group-keys/world.js";
import { seed } from "../../seed.js";

const GROUP = 3;

function world(scheme: ControlledScheme, members = 10): GroupWorld {
	const made = new GroupWorld({ scheme, seed, domainSlots: 16, groupSlots: 8, groupsMax: 2 });
	for (let meter = 0; meter < members; meter++) made.change(DOMAIN_GROUP, [], [meter]);
	made.change(GROUP, [], [0, 1, 2, 3, 4]);
	return made;
}

test("both registries name the same schemes, each name and number once", () => {
	assert.deepEqual(
		CONTROLLED.map(({ entry }) => entry),
		SCHEMES,
	);
	assert.equal(new Set(SCHEMES.map(({ name }) => name)).size, SCHEMES.length);
});

for (const scheme of CONTROLLED)
	describe(scheme.title, () => {
		test("join, batch, refresh and leave: every member agrees, and nobody else", () => {
			const w = world(scheme);
			w.assertAgreement(DOMAIN_GROUP, "joined");
			w.assertAgreement(GROUP, "joined");
			w.change(DOMAIN_GROUP, [2], []);
			w.assertAgreement(DOMAIN_GROUP, "2 left");
			w.assertAgreement(GROUP, "2 left the domain");
			assert.ok(!w.controller.members(GROUP).includes(2), "who leaves the domain leaves its groups");
			w.change(DOMAIN_GROUP, [4, 5, 6], [11, 12]);
			w.assertAgreement(DOMAIN_GROUP, "batch");
			w.refresh(DOMAIN_GROUP, 7);
			w.assertAgreement(DOMAIN_GROUP, "refreshed");
			w.change(GROUP, [0], []);
			w.assertAgreement(GROUP, "0 left the group");
			w.assertAgreement(DOMAIN_GROUP, "0 left the group");
			w.change(GROUP, [], [0]);
			w.assertAgreement(GROUP, "0 is back");
			w.nextDay();
			w.assertAgreement(DOMAIN_GROUP, "next day");
			w.assertAgreement(GROUP, "next day");
			w.change(DOMAIN_GROUP, [0], []);
			w.assertAgreement(DOMAIN_GROUP, "0 left");
			w.assertAgreement(GROUP, "0 left");
		});

		test("groups switch, and a third does not fit", () => {
			const w = world(scheme);
			w.change(GROUP, [1], []);
			w.change(GROUP + 1, [], [1, 3]);
			w.assertAgreement(GROUP, "1 switched");
			w.assertAgreement(GROUP + 1, "1 switched");
			const statuses: Status[] = [];
			w.onDeliver = (meter, message, status) => {
				if (meter.meter === 3 && message.way === Way.unicast) statuses.push(status);
			};
			w.change(GROUP + 2, [], [3]);
			assert.deepEqual(statuses.map(statusName), ["storageFull"]);
			w.assertAgreement(DOMAIN_GROUP, "a third group");
		});

		test("staged is not committed: power may fail before, and after", () => {
			const w = world(scheme);
			const { scheme: member } = w.meter(7);
			const before = member.generation(DOMAIN_GROUP);
			w.isLost = (meter) => meter === 7;
			const out = w.change(DOMAIN_GROUP, [9], []);
			const mine = out.find(({ to }) => to === -1 || to === 7) ?? assert.fail("nothing for 7");
			assert.equal(statusName(member.stage(mine.way, mine.bytes, mine.bytes.length)), "ok");
			assert.equal(member.generation(DOMAIN_GROUP), before, "staged changes nothing");
			assert.equal(member.stage(mine.way, mine.bytes, mine.bytes.length), Status.busy);
			assert.ok(!w.isCurrent(7, DOMAIN_GROUP));
			const bytes = new Uint8Array(member.stagedBytesMax);
			const written = member.encodeStaged(new DataView(bytes.buffer));
			w.restart(7);
			assert.equal(w.meter(7).scheme.generation(DOMAIN_GROUP), before, "the cut came before the write");
			w.meter(7).flash = bytes.slice(0, written);
			w.restart(7);
			assert.ok(w.isCurrent(7, DOMAIN_GROUP), "the cut came after the write");
			const { scheme: again } = w.meter(7);
			assert.equal(again.stage(mine.way, mine.bytes, mine.bytes.length), Status.replayed);
			// A staged change that is not written leaves nothing behind.
			member.abort();
			assert.equal(member.generation(DOMAIN_GROUP), before);
			assert.equal(statusName(member.stage(mine.way, mine.bytes, mine.bytes.length)), "ok");
			member.commit();
			assert.equal(member.generation(DOMAIN_GROUP), w.controller.generation(DOMAIN_GROUP));
		});

		test("replayed, reordered and another scheme's messages change nothing", () => {
			const w = world(scheme);
			w.change(DOMAIN_GROUP, [9], []);
			w.refresh(DOMAIN_GROUP, 5);
			const generation = w.controller.generation(DOMAIN_GROUP);
			for (const meter of [0, 5, 8])
				for (const message of [...w.recorded].reverse()) {
					if (message.to >= 0 && message.to !== meter) continue;
					const status = w.deliverTo(w.meter(meter), message);
					assert.ok(status !== Status.ok, `meter ${meter} takes an old message`);
				}
			w.assertAgreement(DOMAIN_GROUP, "after a replay of everything");
			w.assertAgreement(GROUP, "after a replay of everything");
			assert.equal(w.controller.generation(DOMAIN_GROUP), generation);
			for (const other of CONTROLLED) {
				if (other === scheme) continue;
				const foreign = world(other);
				for (const message of foreign.recorded)
					assert.ok(w.deliverTo(w.meter(0), message) !== Status.ok, `takes a message of ${other.entry.name}`);
			}
			w.assertAgreement(DOMAIN_GROUP, "after messages of other schemes");
		});

		test("any changed bit of a rekey is refused, or leads to no key of its own", () => {
			const w = world(scheme, 7);
			w.isLost = (meter) => meter === 5;
			const out = w.change(DOMAIN_GROUP, [6], []);
			const good = out.find(({ to }) => to === -1 || to === 5) ?? assert.fail("nothing for 5");
			const { scheme: member } = w.meter(5);
			let accepted = 0;
			for (let bit = 0; bit < 8 * good.bytes.length; bit++) {
				const bytes = good.bytes.slice();
				bytes[bit >> 3]! ^= 1 << (bit & 7);
				if (member.stage(good.way, bytes, bytes.length) === Status.ok) accepted++;
				member.abort();
			}
			// Key wrap binds nothing of the envelope; a tree's tags bind all that this member opens. HORA's tag binds all.
			if (scheme.entry.name === "hora") assert.equal(accepted, 0);
			for (let byteLength = 0; byteLength < good.bytes.length; byteLength++)
				assert.ok(member.stage(good.way, good.bytes, byteLength) !== Status.ok, `${byteLength} bytes are enough`);
			assert.equal(statusName(w.deliverTo(w.meter(5), good)), "ok");
			assert.ok(w.isCurrent(5, DOMAIN_GROUP));
		});

		test("loss: the class's own way back, or none", () => {
			const w = world(scheme);
			w.isLost = (meter) => meter === 0;
			w.change(DOMAIN_GROUP, [7], []);
			w.change(DOMAIN_GROUP, [1], [12]);
			w.change(GROUP, [2], []);
			w.refresh(DOMAIN_GROUP, 3);
			w.isLost = () => false;
			assert.ok(!w.isCurrent(0, DOMAIN_GROUP), "it has missed them");
			w.catchUp(0);
			const { returns } = scheme.traits;
			assert.equal(w.isCurrent(0, DOMAIN_GROUP), returns, "domain");
			assert.equal(w.isCurrent(0, GROUP), returns, "group");
			if (!returns) {
				w.change(DOMAIN_GROUP, [8], []);
				if (scheme.entry.name === "liu-2013") assert.ok(!w.isCurrent(0, DOMAIN_GROUP), "apart for good");
				return;
			}
			w.change(DOMAIN_GROUP, [8], []);
			w.assertAgreement(DOMAIN_GROUP, "after the return");
			w.change(GROUP, [], [6]);
			w.assertAgreement(GROUP, "after the return");
		});

		test("eviction evicts: with all that was ever on air the evicted meter gets no later key", () => {
			const w = world(scheme);
			w.change(DOMAIN_GROUP, [0], []);
			const evicted = w.meter(0);
			const held = evicted.scheme.generation(DOMAIN_GROUP);
			for (let round = 0; round < 3; round++) {
				w.change(DOMAIN_GROUP, [round + 4], []);
				w.refresh(DOMAIN_GROUP, 9);
				// Everything again, in both orders, also what was for others.
				for (const message of [...w.recorded, ...[...w.recorded].reverse()]) w.deliverTo(evicted, message);
				assert.ok(!w.isCurrent(0, DOMAIN_GROUP), `round ${round}`);
				assert.ok(!w.isCurrent(0, GROUP), `round ${round}, group`);
			}
			assert.ok(evicted.scheme.generation(DOMAIN_GROUP) >= held);
		});

		test("memory is what was reserved, and the record is as long as it may be", () => {
			const w = world(scheme);
			for (const { scheme: member, flash } of w.meters.values()) {
				assert.ok(flash.length <= member.stagedBytesMax, `${flash.length} > ${member.stagedBytesMax}`);
				assert.ok(member.memberStateBytes >= 2 * member.stagedBytesMax);
			}
		});
	});
