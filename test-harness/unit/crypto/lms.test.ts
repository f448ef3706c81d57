import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Status, statusName } from "../../../src/bytes/status.js";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { LMS_PUBLIC_KEY_BYTES_MAX, LMS_SIGNATURE_BYTES_MAX, LmsVerifier } from "../../../src/crypto/lms.js";
import { WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { CDriver, cCompiler } from "../../crypto/c-driver.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { ROOT } from "../../root.js";

interface Vector {
	readonly source: string;
	readonly publicKey: string;
	readonly message: string;
	readonly signature: string;
}

const VECTORS = JSON.parse(
	readFileSync(join(ROOT, "test-harness", "vectors", "crypto", "lms.json"), "utf8"),
) as readonly Vector[];

function bytes(hex: string): Uint8Array {
	return Uint8Array.from(Buffer.from(hex, "hex"));
}

function verifierOf(vector: Vector, crypto: Crypto = new NodeCrypto()): LmsVerifier {
	const verifier = new LmsVerifier(crypto);
	const key = bytes(vector.publicKey);
	assert.equal(verifier.setPublicKey(key, 0, key.length), Status.ok, vector.source);
	return verifier;
}

function verify(verifier: LmsVerifier, message: Uint8Array, signature: Uint8Array): Status {
	return verifier.verify(message, 0, message.length, signature, 0, signature.length);
}

function checkAll(crypto: Crypto): void {
	for (const vector of VECTORS) {
		const verifier = verifierOf(vector, crypto);
		const signature = bytes(vector.signature);
		const message = bytes(vector.message);
		assert.equal(verifier.signatureBytes, signature.length, vector.source);
		assert.ok(signature.length <= LMS_SIGNATURE_BYTES_MAX && vector.publicKey.length <= 2 * LMS_PUBLIC_KEY_BYTES_MAX);
		assert.equal(verify(verifier, message, signature), Status.ok, vector.source);
		signature[9]! ^= 0x10;
		assert.equal(verify(verifier, message, signature), Status.badTag, vector.source);
	}
}

test("RFC 8554 and a second implementation: every signature verifies, on node:crypto and in TypeScript", () => {
	assert.ok(VECTORS.filter(({ source }) => source.startsWith("RFC 8554")).length === 4, "all four of the RFC");
	checkAll(new NodeCrypto());
	checkAll(new NobleCrypto());
});

const { skip } = cCompiler();

test("the same through the C of the hosts", { skip }, () => {
	const driver = new CDriver(false);
	try {
		// one vector of each width: a call of the driver is a pipe
		const crypto = new WrappedNativeCrypto(driver.native);
		for (const place of [0, 2, 9]) {
			const vector = VECTORS[place]!;
			assert.equal(
				verify(verifierOf(vector, crypto), bytes(vector.message), bytes(vector.signature)),
				Status.ok,
				vector.source,
			);
		}
	} finally {
		driver.close();
	}
});

/** Counts the compressions that really happen. */
class CountedCrypto extends NodeCrypto {
	compressions = 0;

	override sha256(...args: Parameters<Crypto["sha256"]>): void {
		this.compressions += Math.ceil((args[2] + 9) / 64);
		super.sha256(...args);
	}

	override createSha256(): ReturnType<Crypto["createSha256"]> {
		const hash = super.createSha256();
		let byteLength = 0;
		return {
			reset: () => {
				byteLength = 0;
				hash.reset();
			},
			update: (data, offset, count) => {
				byteLength += count;
				hash.update(data, offset, count);
			},
			digest: (into, offset, count) => {
				this.compressions += Math.ceil((byteLength + 9) / 64);
				byteLength = 0;
				hash.digest(into, offset, count);
			},
			close: () => hash.close(),
		};
	}
}

test("the compressions are counted as they happen, and bounded whatever the signature says", () => {
	for (const vector of VECTORS) {
		const crypto = new CountedCrypto();
		const verifier = verifierOf(vector, crypto);
		assert.equal(verify(verifier, bytes(vector.message), bytes(vector.signature)), Status.ok);
		assert.equal(verifier.compressions, crypto.compressions, vector.source);
		assert.ok(verifier.compressions < verifier.compressionsMax, vector.source);
	}
});

test("every single bit of key, message and signature counts", () => {
	for (const vector of [VECTORS[2]!, VECTORS.at(-1)!]) {
		const key = bytes(vector.publicKey);
		const message = bytes(vector.message);
		const signature = bytes(vector.signature);
		const verifier = new LmsVerifier(new NodeCrypto());
		for (const [name, part, step] of [
			["key", key, 3],
			["message", message, 11],
			["signature", signature, 61],
		] as const)
			for (let bit = 0; bit < part.length * 8; bit += step) {
				part[bit >> 3]! ^= 1 << (bit & 7);
				const status = verifier.setPublicKey(key, 0, key.length) || verify(verifier, message, signature);
				assert.notEqual(status, Status.ok, `${vector.source}: bit ${bit} of the ${name}: ${statusName(status)}`);
				part[bit >> 3]! ^= 1 << (bit & 7);
			}
		assert.equal(verifier.setPublicKey(key, 0, key.length) || verify(verifier, message, signature), Status.ok);
	}
});

test("hostile keys and signatures get a status", () => {
	const vector = VECTORS[0]!;
	const key = bytes(vector.publicKey);
	const message = bytes(vector.message);
	const signature = bytes(vector.signature);
	const verifier = new LmsVerifier(new NodeCrypto());
	assert.equal(verify(verifier, message, signature), Status.notFound);
	assert.equal(verifier.begin(signature, 0), Status.notFound);
	for (const [lmsType, lmotsType, expected] of [
		[4, 4, Status.unsupported],
		[15, 4, Status.unsupported],
		[5, 1, Status.unsupported],
		[5, 8, Status.unsupported], // SP 800-208: one hash function for both
		[10, 4, Status.unsupported],
		[10, 8, Status.badLength], // m = 24 has 48 bytes
		[9, 3, Status.ok],
	] as const) {
		const other = key.slice();
		other[3] = lmsType;
		other[7] = lmotsType;
		assert.equal(verifier.setPublicKey(other, 0, other.length), expected, `${lmsType} ${lmotsType}`);
	}
	assert.equal(verifier.signatureBytes, LMS_SIGNATURE_BYTES_MAX);
	for (const byteLength of [0, 23, 24, 48, 55])
		assert.equal(verifier.setPublicKey(key, 0, byteLength), Status.badLength, `${byteLength}`);
	assert.equal(verifier.setPublicKey(key, 0, key.length), Status.ok);
	for (const byteLength of [0, 4, 40, 1291])
		assert.equal(verifier.verify(message, 0, message.length, signature, 0, byteLength), Status.badLength);
	const changed = (place: number, value: number): Uint8Array => {
		const copy = signature.slice();
		copy[place] = value;
		return copy;
	};
	assert.equal(verify(verifier, message, changed(3, 32)), Status.badValue, "a leaf outside the tree");
	assert.equal(verify(verifier, message, changed(0, 0x80)), Status.badValue);
	assert.equal(verify(verifier, message, changed(7, 3)), Status.unsupported, "another LM-OTS type");
	assert.equal(verify(verifier, message, changed(1128 + 3, 6)), Status.unsupported, "another LMS type");
	assert.equal(verify(verifier, message, changed(3, 6)), Status.badTag, "the neighbour's leaf");
	// in pieces: too much, too little, after a refusal
	assert.equal(verifier.begin(signature, 0), Status.ok);
	assert.equal(verifier.signature(signature, 40, 1252), Status.ok);
	assert.equal(verifier.signature(signature, 0, 1), Status.badLength);
	assert.equal(verifier.finish(), Status.badLength);
	assert.equal(verifier.finish(), Status.badLength);
	assert.equal(verifier.begin(signature, 0), Status.ok);
	assert.equal(verifier.signature(signature, 40, 1251), Status.ok);
	assert.equal(verifier.finish(), Status.badLength);
	assert.equal(verify(verifier, message, signature), Status.ok);
});
