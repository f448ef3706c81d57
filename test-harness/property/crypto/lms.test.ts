import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import { LmsVerifier } from "../../../src/crypto/lms.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { ROOT } from "../../root.js";
import { seed } from "../../seed.js";

const VECTORS = (
	JSON.parse(readFileSync(join(ROOT, "test-harness", "vectors", "crypto", "lms.json"), "utf8")) as Record<
		"publicKey" | "message" | "signature",
		string
	>[]
).map(({ publicKey, message, signature }) => ({
	key: Uint8Array.from(Buffer.from(publicKey, "hex")),
	message: Uint8Array.from(Buffer.from(message, "hex")),
	signature: Uint8Array.from(Buffer.from(signature, "hex")),
}));

test("in pieces of any length it is the same verification", () => {
	const verifier = new LmsVerifier(new NodeCrypto());
	fc.assert(
		fc.property(
			fc.constantFrom(...VECTORS.filter(({ signature }) => signature.length > 1300)),
			fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 20 }),
			fc.option(fc.nat()),
			({ key, message, signature }, cuts, spoiled) => {
				assert.equal(verifier.setPublicKey(key, 0, key.length), Status.ok);
				const bytes = signature.slice();
				const headBytes = verifier.headBytes;
				// beyond the head, so that only the result can tell
				const place = spoiled === null ? -1 : 8 + (spoiled % (headBytes - 8));
				if (place >= 0) bytes[place]! ^= 1;
				assert.equal(verifier.begin(bytes, 0), Status.ok);
				for (let done = 0, i = 0; done < message.length; i++) {
					const count = Math.min(cuts[i] ?? 64, message.length - done);
					verifier.message(message, done, count);
					done += count;
				}
				for (let done = headBytes, i = 0; done < bytes.length; i++) {
					const count = Math.min(cuts[i] ?? 100, bytes.length - done);
					assert.equal(verifier.signature(bytes, done, count), Status.ok);
					done += count;
				}
				assert.equal(verifier.finish(), place >= 0 ? Status.badTag : Status.ok);
			},
		),
		{ seed, numRuns: 60 },
	);
});

test("noise is refused within the stated work, and the next good signature verifies", () => {
	const verifier = new LmsVerifier(new NodeCrypto());
	const { key, message, signature } = VECTORS.find((vector) => vector.signature.length === 1380)!;
	fc.assert(
		fc.property(
			fc.uint8Array({ minLength: 48, maxLength: 56 }),
			fc.uint8Array({ maxLength: 2000 }),
			fc.boolean(),
			(otherKey, noise, keepsKey) => {
				const used = keepsKey ? key : otherKey;
				if (verifier.setPublicKey(used, 0, used.length) === Status.ok) {
					const status = verifier.verify(message, 0, message.length, noise, 0, noise.length);
					assert.notEqual(status, Status.ok);
					const head = verifier.headBytes;
					if (noise.length >= head && verifier.begin(noise, 0) === Status.ok) {
						verifier.signature(noise, head, noise.length - head);
						assert.notEqual(verifier.finish(), Status.ok);
						assert.ok(verifier.compressions <= verifier.compressionsMax + 2, `${verifier.compressions}`);
					}
				}
				assert.equal(verifier.setPublicKey(key, 0, key.length), Status.ok);
				assert.equal(verifier.verify(message, 0, message.length, signature, 0, signature.length), Status.ok);
			},
		),
		{ seed, numRuns: 100 },
	);
});
