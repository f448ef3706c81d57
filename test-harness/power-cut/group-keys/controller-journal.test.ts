import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { DOMAIN_GROUP, Way } from "../../../src/group-keys/scheme.js";
import type { Outgoing } from "../../group-keys/controller.js";
import { JournalledController } from "../../group-keys/hora/journal.js";
import { type ControllerOptions, controlled } from "../../group-keys/registry.js";
import { GroupWorld, seededEntropy } from "../../group-keys/world.js";
import { seed } from "../../seed.js";
import { UserError } from "../../user-error.js";

const PROBE = Uint8Array.of(0x44, 1, 0, 7);

function begin(folder: string): { world: GroupWorld; journalled: JournalledController; options: ControllerOptions } {
	const hora = controlled("hora") ?? assert.fail("hora");
	let journalled: JournalledController | undefined;
	let kept: ControllerOptions | undefined;
	const scheme = {
		...hora,
		createController: (options: ControllerOptions) => {
			kept = options;
			journalled = new JournalledController(folder, options);
			return journalled.controller;
		},
	};
	const world = new GroupWorld({ scheme, seed, domainSlots: 16, groupSlots: 8, groupsMax: 1 });
	assert.ok(journalled && kept);
	return { world, journalled, options: kept };
}

function journalOf(folder: string): string {
	const name = readdirSync(folder).find((file) => file.startsWith("journal-")) ?? assert.fail("no journal");
	return join(folder, name);
}

function domainKey({ controller }: JournalledController): string {
	const key = new Uint8Array(16);
	assert.equal(controller.exportKey(DOMAIN_GROUP, controller.generation(DOMAIN_GROUP), PROBE, key), Status.ok);
	return Buffer.from(key).toString("hex");
}

for (const what of ["leave", "batch", "refresh", "group"] as const)
	test(`a cut at every byte of the journal (${what}): the state before or after, and the same message again`, () => {
		const folder = mkdtempSync(join(tmpdir(), "wattlock-groups-"));
		try {
			const { world, journalled, options } = begin(join(folder, "now"));
			for (let meter = 0; meter < 9; meter++) world.change(DOMAIN_GROUP, [], [meter]);
			world.epoch++;
			for (const meter of world.meters.values()) {
				meter.keys.startDay(world.epoch);
				meter.scheme.stageDay(world.epoch, meter.keys, false);
				meter.scheme.commit();
			}
			const leafKeyOf = (meter: number, group: number, into: Uint8Array, offset: number) =>
				void world.keysOf(meter).deriveLeafKey(group, into, offset);
			world.deliver(journalled.startDay(world.epoch, leafKeyOf));
			world.change(1, [], [2, 3, 4]);
			world.change(DOMAIN_GROUP, [1], []);
			const before = statSync(journalOf(join(folder, "now"))).size;
			const keyBefore = domainKey(journalled);
			world.isLost = () => true; // nothing was sent yet when the power fails
			let out: readonly Outgoing[];
			if (what === "leave") out = world.change(DOMAIN_GROUP, [5], []);
			else if (what === "batch") out = world.change(DOMAIN_GROUP, [5, 6], [11]);
			else if (what === "refresh") out = world.refresh(DOMAIN_GROUP, 5);
			else out = world.change(1, [3], [8]);
			world.isLost = () => false;
			const keyAfter = domainKey(journalled);
			const after = statSync(journalOf(join(folder, "now"))).size;
			journalled.close();
			const sent = out.map(({ bytes }) => Buffer.from(bytes).toString("hex"));
			let kept = 0;
			for (let cut = before; cut <= after; cut++) {
				const copy = join(folder, `cut-${cut}`);
				cpSync(join(folder, "now"), copy, { recursive: true });
				truncateSync(journalOf(copy), cut);
				writeFileSync(join(copy, "state-9.new"), "half a state");
				const entropy = seededEntropy(seed, `restart ${cut}`);
				const again = new JournalledController(copy, { ...options, entropy });
				const context = `seed ${seed}, ${what}, cut at ${cut} of ${before} to ${after}`;
				if (cut < after) assert.equal(domainKey(again), keyBefore, context);
				else {
					kept++;
					assert.equal(domainKey(again), keyAfter, context);
					const pending = again.pending.map(({ bytes }) => Buffer.from(bytes).toString("hex"));
					for (const message of sent) assert.ok(pending.includes(message), `${context}: another message`);
				}
				again.close();
				if (cut === after) {
					// Members that heard nothing are brought along by what is sent again, and the next change goes on from there.
					world.deliver(again.pending);
					const { controller } = new JournalledController(copy, { ...options, entropy });
					world.deliver(controller.change(DOMAIN_GROUP, [7], []));
					const generation = controller.generation(DOMAIN_GROUP);
					const expected = new Uint8Array(16);
					assert.equal(controller.exportKey(DOMAIN_GROUP, generation, PROBE, expected), Status.ok);
					for (const meter of controller.members(DOMAIN_GROUP))
						assert.deepEqual(world.memberKey(meter, DOMAIN_GROUP, generation), expected, `${context}, meter ${meter}`);
					assert.equal(world.memberKey(7, DOMAIN_GROUP, generation), undefined);
				}
				rmSync(copy, { recursive: true });
			}
			assert.equal(kept, 1);
			assert.ok(after - before > 60, "a record was written");
			assert.ok(world.recorded.some(({ way }) => way === Way.broadcast));
		} finally {
			rmSync(folder, { recursive: true });
		}
	});

test("a state that cannot be read is said, not begun anew", () => {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-groups-"));
	try {
		const { journalled, options } = begin(folder);
		journalled.close();
		const state = readdirSync(folder).find((name) => /^state-\d+$/.test(name)) ?? assert.fail("no state");
		truncateSync(join(folder, state), statSync(join(folder, state)).size - 1);
		assert.throws(() => new JournalledController(folder, options), UserError);
	} finally {
		rmSync(folder, { recursive: true });
	}
});
