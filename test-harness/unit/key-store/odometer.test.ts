import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { advanceChain, Direction, messageKey, startChain } from "../../../src/key-store/chains.js";
import { Label } from "../../../src/key-store/labels.js";
import {
	blockSeed,
	jumpOdometer,
	nextBlockDay,
	ODOMETER_STATE_BYTES,
	startOdometer,
} from "../../../src/key-store/odometer.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { ROOT } from "../../root.js";
import { CountingCrypto } from "./counting-crypto.js";

interface Vectors {
	root: string;
	days: { epoch: number; value: string; next: string[] }[];
	jumps: { from: number; epoch: number; value: string; next: string[] }[];
	blocks: { block: number; seed: string; last: string }[];
	chains: { direction: "up" | "down"; keys: { index: number; chainKey: string; messageKey: string }[] }[];
	leaves: { tree: number; key: string }[];
}
const vectors: Vectors = JSON.parse(
	readFileSync(join(ROOT, "test-harness", "vectors", "key-store", "odometer.json"), "utf8"),
);

const VALUE = 128;
const ZEROS = "00".repeat(32);
const hexOf = (bytes: Uint8Array, at: number, count: number) =>
	Buffer.from(bytes.buffer, bytes.byteOffset + at, count).toString("hex");

function start(crypto: Crypto, epoch: number): Uint8Array {
	const bytes = new Uint8Array(ODOMETER_STATE_BYTES + 64);
	bytes.set(Buffer.from(vectors.root, "hex"), VALUE);
	startOdometer(crypto, bytes, 0, epoch, VALUE);
	return bytes;
}

for (const [name, crypto] of [
	["node:crypto", new NodeCrypto()],
	["noble", new NobleCrypto()],
] as const) {
	test(`${name}: days, jumps, blocks, chains and leaves of the reference`, () => {
		for (const { epoch, value, next } of vectors.days) {
			const bytes = start(crypto, epoch);
			assert.equal(hexOf(bytes, VALUE, 32), value, `day ${epoch}`);
			next.forEach((wanted, level) => {
				assert.equal(hexOf(bytes, 32 * level, 32), wanted || ZEROS, `day ${epoch}, level ${level}`);
			});
		}
		for (const { from, epoch, value, next } of vectors.jumps) {
			const bytes = start(crypto, from);
			jumpOdometer(crypto, bytes, 0, from, epoch, VALUE);
			assert.equal(hexOf(bytes, VALUE, 32), value, `${from} to ${epoch}`);
			next.forEach((wanted, level) => {
				assert.equal(hexOf(bytes, 32 * level, 32), wanted || ZEROS, `${from} to ${epoch}, level ${level}`);
			});
		}
		for (const { block, seed, last } of vectors.blocks) {
			const bytes = new Uint8Array(64);
			bytes.set(Buffer.from(vectors.root, "hex"));
			blockSeed(crypto, bytes, block, 0);
			assert.equal(hexOf(bytes, 0, 32), seed);
			nextBlockDay(crypto, bytes, 0, 0, 0, 32);
			assert.equal(hexOf(bytes, 32, 32), seed, "day 0 is the seed itself");
			nextBlockDay(crypto, bytes, 0, 1, 15, 32);
			assert.equal(hexOf(bytes, 32, 32), last);
			assert.equal(hexOf(bytes, 0, 32), ZEROS, "nothing after the block");
		}
		for (const { direction, keys } of vectors.chains) {
			const bytes = start(crypto, 40_000);
			startChain(crypto, bytes, VALUE, Direction[direction], 160);
			let at = 0;
			for (const { index, chainKey, messageKey: wanted } of keys) {
				advanceChain(crypto, bytes, 160, index - at);
				at = index;
				messageKey(crypto, bytes, 160, 176);
				assert.equal(hexOf(bytes, 160, 16), chainKey);
				assert.equal(hexOf(bytes, 176, 16), wanted);
			}
		}
		for (const { tree, key } of vectors.leaves) {
			const bytes = start(crypto, 40_000);
			crypto.kdf(bytes, VALUE, 32, Label.leaf, Uint8Array.of(tree), 0, 1, bytes, 160, 16);
			assert.equal(hexOf(bytes, 160, 16), key);
		}
	});
}

test("every jump between boundary days costs at most 67 compressions, the day's output included", () => {
	const crypto = new CountingCrypto();
	const digits = [0, 1, 14, 15];
	const days: number[] = [];
	for (const a of digits)
		for (const b of digits)
			for (const c of digits) for (const d of digits) days.push((a << 12) | (b << 8) | (c << 4) | d);
	let most = 0;
	let jumps = 0;
	const states = new Map(days.map((day) => [day, start(crypto, day)]));
	for (const from of days)
		for (const epoch of days) {
			if (epoch <= from) continue;
			const bytes = states.get(from)!.slice();
			crypto.kdfs = 0;
			jumpOdometer(crypto, bytes, 0, from, epoch, VALUE);
			jumps++;
			if (crypto.kdfs > most) most = crypto.kdfs;
			if (jumps % 16 === 0) assert.deepEqual(bytes, states.get(epoch), `${from} to ${epoch}`);
		}
	console.log(`${jumps} jumps, at most ${most} compressions`);
	assert.ok(most + 1 <= 67);
	assert.equal(most, 62);
});

test("one day costs 2.1 compressions on average", () => {
	const crypto = new CountingCrypto();
	const bytes = start(crypto, 0);
	crypto.kdfs = 0;
	for (let day = 1; day < 4096; day++) jumpOdometer(crypto, bytes, 0, day - 1, day, VALUE);
	const mean = crypto.kdfs / 4095;
	console.log(`mean ${mean.toFixed(2)}`);
	assert.ok(mean < 2.2);
	assert.deepEqual(bytes, start(crypto, 4095));
});

test("an odometer that is asked to go back, or nowhere, is a bug", () => {
	const crypto = new NodeCrypto();
	const bytes = start(crypto, 100);
	for (const epoch of [100, 99, 65_536, Number.NaN])
		assert.throws(() => jumpOdometer(crypto, bytes, 0, 100, epoch, VALUE), /forward/);
	assert.throws(() => startOdometer(crypto, bytes, 0, 65_536, VALUE), /epoch/);
	assert.throws(() => blockSeed(crypto, bytes, 4096, VALUE), /block/);
	assert.throws(() => nextBlockDay(crypto, bytes, 0, 3, 2, VALUE), /16 days/);
});
