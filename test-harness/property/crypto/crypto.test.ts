import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import type { Aead, Crypto } from "../../../src/crypto/crypto.js";
import { WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { CDriver, cCompiler } from "../../crypto/c-driver.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 0x7fff_ffff));
console.log(`SEED=${seed}`);
const options = { seed, numRuns: 100 };

const { skip } = cCompiler();
const driver = skip ? undefined : new CDriver(true);
after(() => driver?.close());

const oracle = new NodeCrypto();
const others: readonly [string, Crypto][] = [
	["noble", new NobleCrypto()],
	...(driver ? [["C", new WrappedNativeCrypto(driver.native)] as [string, Crypto]] : []),
];

const bytes = (maximum: number) => fc.uint8Array({ maxLength: maximum });
const key = fc.uint8Array({ minLength: 16, maxLength: 16 });

for (const [name, crypto] of others) {
	test(`${name}: hashes equal the oracle's, however a message is cut`, () => {
		const hash = crypto.createSha256();
		fc.assert(
			fc.property(fc.array(bytes(150), { maxLength: 6 }), fc.integer({ min: 0, max: 32 }), (pieces, byteLength) => {
				const whole = Buffer.concat(pieces);
				const wanted = new Uint8Array(byteLength);
				const found = new Uint8Array(byteLength);
				oracle.sha256(whole, 0, whole.length, wanted, 0, byteLength);
				for (const piece of pieces) hash.update(piece, 0, piece.length);
				hash.digest(found, 0, byteLength);
				assert.deepEqual(found, wanted);
			}),
			options,
		);
	});

	test(`${name}: HMAC, CMAC and HKDF equal the oracle's`, () => {
		fc.assert(
			fc.property(
				bytes(100),
				key,
				bytes(200),
				bytes(60),
				fc.integer({ min: 1, max: 100 }),
				(long, short, data, info, n) => {
					for (const [kind, secret, tagBytes] of [
						["createHmac", long, 32],
						["createCmac", short, 16],
					] as const) {
						const [found, wanted] = [crypto, oracle].map((implementation) => {
							const mac = implementation[kind]();
							const tag = new Uint8Array(tagBytes);
							mac.setKey(secret, 0, secret.length);
							mac.sign(data, 0, data.length, tag, 0, tagBytes);
							assert.equal(mac.verify(data, 0, data.length, tag, 0, tagBytes), Status.ok);
							mac.close();
							return tag;
						});
						assert.deepEqual(found, wanted);
					}
					const [found, wanted] = [crypto, oracle].map((implementation) => {
						const into = new Uint8Array(n);
						implementation.hkdf(short, 0, 16, data, 0, data.length, info, 0, info.length, into, 0, n);
						return into;
					});
					assert.deepEqual(found, wanted);
				},
			),
			options,
		);
	});

	const modes: readonly [string, fc.Arbitrary<[number, number]>, (c: Crypto, nonce: number, tag: number) => Aead][] = [
		[
			"GCM",
			fc.tuple(fc.integer({ min: 1, max: 40 }), fc.constantFrom(4, 8, 12, 13, 14, 15, 16)),
			(c, nonceBytes, tagBytes) => c.createGcm(nonceBytes, tagBytes),
		],
		[
			"CCM",
			fc.tuple(fc.integer({ min: 7, max: 13 }), fc.constantFrom(0, 4, 6, 8, 10, 12, 14, 16)),
			(c, nonceBytes, tagBytes) => c.createCcm(nonceBytes, tagBytes),
		],
	];
	for (const [mode, shape, make] of modes)
		test(`${name}: ${mode} equals the oracle's, opens what it sealed, and refuses one bit changed anywhere`, () => {
			fc.assert(
				fc.property(
					shape,
					key,
					fc.uint8Array({ minLength: 40, maxLength: 40 }),
					bytes(70),
					bytes(200),
					fc.nat(),
					([nonceBytes, tagBytes], secret, nonce, aad, text, where) => {
						const [found, wanted] = [crypto, oracle].map((implementation) => {
							const aead = make(implementation, nonceBytes, tagBytes);
							const sealed = new Uint8Array(text.length + tagBytes);
							aead.setKey(secret, 0);
							assert.equal(aead.seal(nonce, 0, aad, 0, aad.length, text, 0, text.length, sealed, 0), Status.ok);
							return sealed;
						});
						assert.deepEqual(found, wanted);
						const aead = make(crypto, nonceBytes, tagBytes);
						aead.setKey(secret, 0);
						const opened = new Uint8Array(text.length);
						const sealed = found!;
						const open = (): Status => aead.open(nonce, 0, aad, 0, aad.length, sealed, 0, sealed.length, opened, 0);
						assert.equal(open(), Status.ok);
						assert.deepEqual(opened, text);
						if (tagBytes === 0) return;
						const at = where % (sealed.length * 8);
						sealed[at >> 3]! ^= 1 << (at & 7);
						assert.equal(open(), Status.badTag);
						assert.deepEqual(opened, new Uint8Array(text.length));
					},
				),
				options,
			);
		});

	test(`${name}: key wrap equals the oracle's and refuses one bit changed anywhere`, () => {
		fc.assert(
			fc.property(key, fc.integer({ min: 2, max: 9 }), bytes(72), fc.nat(), (secret, halves, material, where) => {
				const text = new Uint8Array(8 * halves);
				text.set(material.subarray(0, text.length));
				const [found, wanted] = [crypto, oracle].map((implementation) => {
					const wrap = implementation.createKeyWrap();
					const wrapped = new Uint8Array(text.length + 8);
					wrap.setKey(secret, 0);
					assert.equal(wrap.wrap(text, 0, text.length, wrapped, 0), Status.ok);
					return wrapped;
				});
				assert.deepEqual(found, wanted);
				const wrap = crypto.createKeyWrap();
				wrap.setKey(secret, 0);
				const wrapped = found!;
				const opened = new Uint8Array(text.length);
				assert.equal(wrap.unwrap(wrapped, 0, wrapped.length, opened, 0), Status.ok);
				assert.deepEqual(opened, text);
				const at = where % (wrapped.length * 8);
				wrapped[at >> 3]! ^= 1 << (at & 7);
				assert.equal(wrap.unwrap(wrapped, 0, wrapped.length, opened, 0), Status.badTag);
				assert.deepEqual(opened, new Uint8Array(text.length));
			}),
			options,
		);
	});
}
