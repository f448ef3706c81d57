import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../../root.js";
import { leafHash, parametersOfTypes, publicKeyOf, signLeaf, treeOf } from "../../signer/lms-tree.js";

interface Vector {
	readonly source: string;
	readonly publicKey: string;
	readonly message: string;
	readonly signature: string;
}

const VECTORS = JSON.parse(
	readFileSync(join(ROOT, "test-harness", "vectors", "crypto", "lms.json"), "utf8"),
) as readonly Vector[];

/** RFC 8554 appendix F, test case 2, private keys: SEED, which with appendix A gives all the rest. */
const SEEDS: readonly [which: RegExp, seed: string][] = [
	[/test case 2: the top tree/, "558b8966c48ae9cb898b423c83443aae014a72f1b1ab5cc85cf1d892903b5439"],
	[/test case 2: the lower tree/, "a1c4696e2608035a886100d05cd99945eb3370731884a8235e2fb3d4d71f2547"],
];

for (const [which, seed] of SEEDS)
	test(`RFC 8554 appendix F, ${which.source}: the same public key, and the same signature byte for byte`, () => {
		const { publicKey, message, signature } = VECTORS.find(({ source }) => which.test(source))!;
		const key = Buffer.from(publicKey, "hex");
		const expected = Buffer.from(signature, "hex");
		const secret = Buffer.from(seed, "hex");
		const parameters = parametersOfTypes(key.readUInt32BE(0), key.readUInt32BE(4))!;
		const identifier = key.subarray(8, 24);
		const leaves = Array.from({ length: 2 ** parameters.height }, (_, leaf) =>
			leafHash(parameters, identifier, secret, leaf),
		);
		const nodes = treeOf(parameters, identifier, Buffer.concat(leaves));
		assert.equal(publicKeyOf(parameters, identifier, nodes).toString("hex"), publicKey);
		const leaf = expected.readUInt32BE(0);
		const randomizer = expected.subarray(8, 40);
		const made = signLeaf(parameters, identifier, secret, nodes, leaf, randomizer, Buffer.from(message, "hex"));
		assert.ok(made.equals(expected), "the signature");
	});
