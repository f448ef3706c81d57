import assert from "node:assert/strict";
import { test } from "node:test";
import { TreeLabel } from "../../../src/group-keys/hora/labels.js";
import { FastCrypto } from "../../group-keys/fast-crypto.js";
import { addVerdict, runHistory, type Verdict } from "../../group-keys/history.js";
import { CONTROLLED, controlled } from "../../group-keys/registry.js";
import { seed } from "../../seed.js";

/** HORA whose keys stand still where they should tick: the design's ablation `noTick`. */
export class NoTickCrypto extends FastCrypto {
	override kdf(...args: Parameters<FastCrypto["kdf"]>): void {
		const [key, keyOffset, keyBytes, label, , , , into, intoOffset] = args;
		if (label === TreeLabel.tick) into.set(key.slice(keyOffset, keyOffset + keyBytes), intoOffset);
		else super.kdf(...args);
	}
}

const HISTORIES = 6;
const EVENTS = 28;

function total(name: string, Crypto?: typeof FastCrypto): Verdict {
	const scheme = controlled(name) ?? assert.fail(name);
	const sum = { generations: 0, toFormer: 0, toLater: 0, toCoalition: 0, toPresent: 0, cannot: 0 };
	for (let i = 0; i < HISTORIES; i++) addVerdict(sum, runHistory(scheme, seed + i, EVENTS, Crypto && new Crypto()));
	console.log(
		`${name}: ${sum.generations} generations; open to former ${sum.toFormer}, later ${sum.toLater}, all outsiders ` +
			`${sum.toCoalition}; earlier keys in present states ${sum.toPresent}; members without ${sum.cannot}`,
	);
	return sum;
}

for (const { entry, title, traits } of CONTROLLED)
	test(`${title}: random histories, closed over by the oracle, are as the class claims and no better`, () => {
		const sum = total(entry.name);
		assert.ok(sum.generations > 60, `${sum.generations} generations`);
		assert.equal(sum.cannot, 0, "members that cannot derive the key");
		assert.equal(sum.toFormer, 0, "open to those who left");
		if (traits.collusionSafe && traits.joinSecrecy) assert.equal(sum.toCoalition, 0, "open to outsiders together");
		else assert.ok(sum.toCoalition > 0, "the known break is not found");
		if (traits.joinSecrecy && traits.collusionSafe) assert.equal(sum.toLater, 0, "open to those who came later");
		if (!traits.joinSecrecy) assert.ok(sum.toLater > 0, "a newcomer finds earlier keys");
		if (traits.forwardSecrecy) assert.equal(sum.toPresent, 0, "earlier keys from present states");
		else assert.ok(sum.toPresent > 0, "the class has no forward secrecy, and the oracle does not see it");
	});

test("HORA without ticks is broken: the oracle sees what it is to see", () => {
	const sum = total("hora", NoTickCrypto);
	assert.equal(sum.cannot, 0);
	assert.ok(sum.toCoalition > 0, "a coalition has the key of a generation between its memberships");
});
