import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { DOMAIN_GROUP } from "../../../src/group-keys/scheme.js";
import { buildXsRunner, C6_MEMORY, runOnXs } from "../../crypto/xs-runner.js";
import type { Outgoing } from "../../group-keys/controller.js";
import { CONTROLLED } from "../../group-keys/registry.js";
import { GroupWorld, WORLD_DOMAIN, WORLD_EPOCH } from "../../group-keys/world.js";
import type { MemberAnswer, MemberRequest } from "../../group-keys/xs/main.js";
import { ROOT } from "../../root.js";
import { seed } from "../../seed.js";

test("members on XS, in the memory of the ESP32-C6: the keys of the controller, with both cryptographies", async () => {
	const runner = await buildXsRunner(join(ROOT, "test-harness", "group-keys", "xs", "main.ts"));
	const SELF = 5;
	const shares: string[] = [];
	for (const scheme of CONTROLLED) {
		const world = new GroupWorld({
			scheme,
			seed,
			domainSlots: 1024,
			groupSlots: 256,
			groupsMax: 3,
			isSimulated: (meter) => meter === SELF,
		});
		const forSelf = (messages: readonly Outgoing[]) =>
			messages
				.filter(({ to }) => to < 0 || to === SELF)
				.map(({ way, bytes }) => ({ way, bytes: Buffer.from(bytes).toString("hex") }));
		const meters = Array.from({ length: 40 }, (_, i) => i);
		const setup = [...world.change(DOMAIN_GROUP, [], meters)];
		for (const group of [1, 2, 3]) setup.push(...world.change(group, [], meters));
		const leafKeys = [0, 1, 2, 3].map((group) => {
			const leafKey = new Uint8Array(16);
			world.keysOf(SELF).deriveLeafKey(group, leafKey, 0);
			return Buffer.from(leafKey).toString("hex");
		});
		const eviction = world.change(DOMAIN_GROUP, [17], []);
		world.assertAgreement(DOMAIN_GROUP, "on Node");
		const sizes = { domain: WORLD_DOMAIN, domainSlotsMax: 1024, groupSlotsMax: 256, groupsMax: 3 };
		const start = { sizes, epoch: WORLD_EPOCH, leafKeys };
		const ticks: number[] = [];
		for (const crypto of ["noble", "native"] as const) {
			const { name } = scheme.entry;
			const requests: MemberRequest[] = [
				{ crypto, scheme: name, start, messages: forSelf(setup) },
				{ crypto, scheme: name, messages: [] },
				{ crypto, scheme: name, messages: forSelf(eviction), isPrepared: true },
				{ crypto, scheme: name, messages: [] },
			];
			const { answers } = runOnXs(runner, C6_MEMORY, requests);
			const { statuses, generation, key, stateBytes } = answers[3]!.answer as MemberAnswer;
			assert.deepEqual(new Set(statuses), new Set([0]), `${name}, ${crypto}: ${statuses.join()}`);
			assert.equal(generation, world.controller.generation(DOMAIN_GROUP));
			assert.equal(key, Buffer.from(world.groupKey(DOMAIN_GROUP)).toString("hex"), `${name}, ${crypto}`);
			assert.equal(stateBytes, world.meter(SELF).scheme.memberStateBytes);
			ticks.push(answers[3]!.ticks - answers[1]!.ticks);
		}
		shares.push(`${scheme.entry.name} ${ticks.join(" / ")} (${((100 * ticks[1]!) / ticks[0]!).toFixed(1)} %)`);
	}
	console.log(
		`metering ticks of an eviction with three groups, TypeScript / native cryptography: ${shares.join("; ")}`,
	);
});
