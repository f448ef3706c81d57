import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { HoraMember } from "../../../src/group-keys/hora/member.js";
import { type GroupSizes, Way } from "../../../src/group-keys/scheme.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { FastCrypto } from "../../group-keys/fast-crypto.js";
import { HoraTree } from "../../group-keys/hora/tree.js";

interface Step {
	readonly join?: number;
	readonly leaf?: string;
	readonly g?: number;
	readonly leave?: readonly number[];
	readonly refresh?: readonly number[];
	readonly random?: readonly string[];
	readonly message?: string;
	readonly root?: string;
	readonly ciphertexts?: number;
}
interface Vectors {
	readonly kdf16: { readonly key: string; readonly label: string; readonly is: string };
	readonly mix: { readonly key: string; readonly label: string; readonly is: string };
	readonly histories: readonly {
		readonly slots: number;
		readonly start: readonly string[];
		readonly steps: readonly Step[];
	}[];
}
const vectors = JSON.parse(
	readFileSync(new URL("../../vectors/group-keys/hora.json", import.meta.url), "utf8"),
) as Vectors;
const crypto = new FastCrypto();

function bytes(hex: string): Uint8Array {
	return new Uint8Array(Buffer.from(hex, "hex"));
}
function hex(from: Uint8Array): string {
	return Buffer.from(from).toString("hex");
}

test("the quick KDF is node:crypto's", () => {
	const node = new NodeCrypto();
	for (const keyBytes of [0, 1, 16, 31, 32])
		for (let contextBytes = 0; contextBytes <= 22; contextBytes++) {
			const key = crypto_random(keyBytes);
			const context = crypto_random(contextBytes);
			const a = new Uint8Array(32);
			const b = new Uint8Array(32);
			crypto.kdf(key, 0, keyBytes, contextBytes, context, 0, contextBytes, a, 0, 32);
			node.kdf(key, 0, keyBytes, contextBytes, context, 0, contextBytes, b, 0, 32);
			assert.equal(hex(a), hex(b), `key ${keyBytes}, context ${contextBytes}`);
		}
	assert.throws(
		() => crypto.kdf(new Uint8Array(33), 0, 33, 0, new Uint8Array(0), 0, 0, new Uint8Array(32), 0, 32),
		InvariantError,
	);
	for (const { key, label, is } of [vectors.kdf16, vectors.mix]) {
		const into = new Uint8Array(16);
		const from = bytes(key);
		crypto.kdf(from, 0, from.length, label.charCodeAt(0), from, 0, 0, into, 0, 16);
		assert.equal(hex(into), is);
	}
});

function crypto_random(byteLength: number): Uint8Array {
	return Uint8Array.from({ length: byteLength }, (_, i) => (i * 37 + byteLength * 11 + 5) & 255);
}

function memberOf(slots: number): HoraMember {
	const sizes: GroupSizes = { domain: 1, domainSlotsMax: slots, groupSlotsMax: 2, groupsMax: 0 };
	const member = new HoraMember(crypto, sizes);
	member.stageDay(0, { deriveLeafKey: () => Status.notFound }, true);
	member.commit();
	return member;
}

/** JOIN with the leaf key of the moment. */
function pathsMessage(tree: HoraTree, slot: number): Uint8Array {
	const message = new Uint8Array(5 + 9 + 16 + 16 * tree.levels);
	message.set([0x07, 0, 1, 0, 0, tree.tree]);
	const view = new DataView(message.buffer);
	const leaf = tree.slots + slot;
	view.setUint32(5, leaf | 0x80_0000); // tree 0 is the first byte
	view.setUint32(9, tree.g);
	view.setUint8(13, tree.gd);
	for (let node = leaf, at = 14; node >= 1; node >>= 1, at += 16) {
		const key = tree.nodeKeyAt(node);
		message.set(tree.keys.subarray(key, key + 16), at);
	}
	return message;
}

test("vectors: controller and members agree with the reference, byte for byte", () => {
	let messages = 0;
	let received = 0;
	for (const { slots, start, steps } of vectors.histories) {
		const tree = new HoraTree(crypto, 0, Math.log2(slots));
		let drawn = [...start];
		const random = (into: Uint8Array, offset: number) =>
			into.set(bytes(drawn.shift() ?? assert.fail("no more")), offset);
		tree.start(random);
		const members = new Map<number, HoraMember>();
		for (const step of steps) {
			if (step.join !== undefined) {
				tree.tick();
				const leaf = bytes(step.leaf ?? "");
				crypto.kdf(leaf, 0, 16, 0x74, leaf, 0, 0, leaf, 0, 16);
				tree.enter(step.join, leaf, tree.gd);
				assert.equal(tree.g, step.g);
				const member = memberOf(slots);
				const message = pathsMessage(tree, step.join);
				assert.equal(member.stage(Way.unicast, message, message.length), Status.ok);
				member.commit();
				members.set(step.join, member);
				continue;
			}
			drawn = [...(step.random ?? [])];
			const isRefresh = step.refresh !== undefined;
			const changed = step.refresh ?? step.leave ?? [];
			const { message, ciphertexts } = tree.patch(1, 0, changed, isRefresh, random);
			messages++;
			assert.equal(hex(message), step.message, `${slots} slots, g ${tree.g}`);
			assert.equal(ciphertexts, step.ciphertexts);
			assert.equal(drawn.length, 0);
			const root = tree.nodeKeyAt(1);
			assert.equal(hex(tree.keys.subarray(root, root + 16)), step.root);
			const expected = new Uint8Array(16);
			tree.groupKey(expected, 0);
			crypto.kdf(expected, 0, 16, 0x44, expected, 0, 0, expected, 0, 16);
			for (const [slot, member] of members) {
				const status = member.stage(Way.broadcast, message, message.length);
				if (!isRefresh && changed.includes(slot)) {
					assert.equal(status, Status.notAuthorised);
					members.delete(slot);
					continue;
				}
				assert.equal(status, Status.ok, `${slots} slots, slot ${slot}, g ${tree.g}`);
				member.commit();
				received++;
				const key = new Uint8Array(16);
				assert.equal(member.exportKey(0, tree.g, Uint8Array.of(0x44), key), Status.ok);
				assert.equal(hex(key), hex(expected));
				assert.equal(member.stage(Way.broadcast, message, message.length), Status.replayed);
			}
		}
	}
	console.log(`${messages} messages, received ${received} times`);
	assert.ok(messages >= 60, `${messages} messages`);
});
