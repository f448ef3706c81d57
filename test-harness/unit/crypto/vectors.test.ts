import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { CDriver, cCompiler } from "../../crypto/c-driver.js";
import { fromKat, fromWycheproof, KAT_FILES, WYCHEPROOF_FILES } from "../../crypto/load-vectors.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { type CryptoVectors, runMisuseSuite, runVectorSuite } from "../../crypto/vector-suite.js";
import { generateCore, loadCore, longAssociatedData } from "../../vectors/crypto/generate.js";
import { readSharedFile, sharedData } from "../../vectors/shared-data.js";

const { skip: withoutCompiler } = cCompiler();
const wycheproof = sharedData("crypto-wycheproof");
const kat = sharedData("crypto-kat");
let driver: CDriver | undefined;

/** Built with checks of addresses and of undefined behaviour: every vector then also looks for a byte too far. */
function openDriver(): Crypto {
	driver ??= new CDriver(true);
	return new WrappedNativeCrypto(driver.native);
}

after(() => driver?.close());

function check(crypto: Crypto, vectors: CryptoVectors, countMin: number): void {
	const { count, failures } = runVectorSuite(crypto, vectors);
	assert.deepEqual(failures.slice(0, 20), [], `${failures.length} failures`);
	assert.ok(count >= countMin, `only ${count} vectors`);
}

/** How many vectors of each file there are at least, so that a loader which finds none is noticed. */
const WYCHEPROOF_COUNTS = { gcm: 100, ccm: 170, keyWrap: 42, cmac: 102, hmac: 174, hkdf: 86 };
const KAT_COUNTS = { sha256: 190, hmac: 5, cmac: 5, hkdf: 3, keyWrap: 1, drbg: 100 };

test("core.json is what its generator writes", () => {
	assert.deepEqual(loadCore(), JSON.parse(JSON.stringify(generateCore())));
});

for (const [name, skip, open] of [
	["node:crypto", false, (): Crypto => new NodeCrypto()],
	["noble", false, (): Crypto => new NobleCrypto()],
	["C", withoutCompiler, openDriver],
] as const)
	describe(`crypto on ${name}`, { skip }, () => {
		test("core vectors", () => check(open(), loadCore(), 180));
		test("associated data of 65,536 bytes", () => check(open(), { ccm: [longAssociatedData()] }, 1));
		test("what is refused, and that it leaves nothing behind", () => {
			const crypto = open();
			assert.deepEqual(runMisuseSuite(crypto).failures, []);
			check(crypto, loadCore(), 180);
		});
		for (const kind of Object.keys(WYCHEPROOF_FILES) as (keyof typeof WYCHEPROOF_FILES)[])
			test(`Wycheproof ${kind}`, { skip: wycheproof.skip }, () => {
				const text = readSharedFile("crypto-wycheproof", WYCHEPROOF_FILES[kind]).toString("utf8");
				const vectors = fromWycheproof(kind, text);
				// OpenSSL takes nonces of at most 128 bytes
				const gcm = vectors.gcm?.filter(({ nonce }) => name !== "node:crypto" || nonce.length <= 256);
				check(open(), gcm ? { gcm } : vectors, WYCHEPROOF_COUNTS[kind]);
			});
		for (const kind of Object.keys(KAT_FILES) as (keyof typeof KAT_FILES)[])
			test(`NIST and RFC ${kind}`, { skip: kat.skip }, () => {
				const text = readSharedFile("crypto-kat", KAT_FILES[kind]).toString("utf8");
				check(open(), fromKat(kind, text), KAT_COUNTS[kind]);
			});
	});
