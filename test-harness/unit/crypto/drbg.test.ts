import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { NO_BYTES } from "../../../src/crypto/crypto.js";
import { HmacDrbg, RandomSource, RESEED_INTERVAL, START_UP_BYTES } from "../../../src/crypto/drbg.js";
import {
	HealthTests,
	MIN_ENTROPY_BITS_PER_BYTE,
	PROPORTION_CUTOFF,
	REPETITION_CUTOFF,
} from "../../../src/crypto/health.js";
import type { Entropy } from "../../../src/platform/entropy.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";

const crypto = new NodeCrypto();

/** Bytes of a generator, and how many were taken; stuck, it repeats one byte. */
class TestEntropy implements Entropy {
	taken = 0;
	isStuck = false;
	#state: number;

	constructor(seed: number) {
		this.#state = seed;
	}

	fill(into: Uint8Array): void {
		this.taken += into.length;
		for (let i = 0; i < into.length; i++) {
			this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
			into[i] = this.isStuck ? 7 : this.#state >>> 24;
		}
	}
}

function started(seed: number): { source: RandomSource; entropy: TestEntropy } {
	const entropy = new TestEntropy(seed);
	const source = new RandomSource(crypto, entropy);
	assert.equal(source.start(NO_BYTES, 0), Status.ok);
	return { source, entropy };
}

test("it refuses to run unseeded, and writes nothing then", () => {
	const into = new Uint8Array(16).fill(9);
	const source = new RandomSource(crypto, new TestEntropy(1));
	assert.equal(source.fill(into, 0, 16), Status.busy);
	assert.equal(source.reseed(), Status.busy);
	assert.deepEqual(into, new Uint8Array(16).fill(9));
	assert.equal(new HmacDrbg(crypto).generate(into, 0, 16), Status.busy);
	assert.throws(() => new HmacDrbg(crypto).reseed(into, 16));
});

test("the start-up tests see 1,024 bytes before any is used", () => {
	const { entropy } = started(2);
	assert.ok(entropy.taken >= START_UP_BYTES + 48);
});

test("a source that is stuck from the start never seeds", () => {
	const entropy = new TestEntropy(3);
	entropy.isStuck = true;
	const source = new RandomSource(crypto, entropy);
	assert.equal(source.start(NO_BYTES, 0), Status.corrupt);
	assert.equal(source.fill(new Uint8Array(16), 0, 16), Status.corrupt);
	entropy.isStuck = false;
	assert.equal(source.start(NO_BYTES, 0), Status.corrupt, "a failure stays");
});

test("a source that gets stuck later stops everything at the next reseed", () => {
	const { source, entropy } = started(4);
	const into = new Uint8Array(16);
	assert.equal(source.fill(into, 0, 16), Status.ok);
	entropy.isStuck = true;
	assert.equal(source.reseed(), Status.corrupt);
	into.fill(9);
	assert.equal(source.fill(into, 0, 16), Status.corrupt);
	assert.deepEqual(into, new Uint8Array(16).fill(9));
});

test("it reseeds by itself", () => {
	const { source, entropy } = started(5);
	const before = entropy.taken;
	const into = new Uint8Array(1);
	for (let i = 0; i < RESEED_INTERVAL; i++) assert.equal(source.fill(into, 0, 1), Status.ok);
	assert.equal(entropy.taken, before);
	assert.equal(source.fill(into, 0, 1), Status.ok);
	assert.ok(entropy.taken > before);
	entropy.isStuck = true;
	let status: Status = Status.ok;
	for (let i = 0; i <= RESEED_INTERVAL && status === Status.ok; i++) status = source.fill(into, 0, 1);
	assert.equal(status, Status.corrupt);
});

test("requests, personalisation and seeds tell streams apart; equal ones give equal streams", () => {
	const stream = (seed: number, personalisation: Uint8Array): string => {
		const source = new RandomSource(crypto, new TestEntropy(seed));
		assert.equal(source.start(personalisation, personalisation.length), Status.ok);
		const into = new Uint8Array(100);
		assert.equal(source.fill(into, 0, 33), Status.ok);
		assert.equal(source.fill(into, 33, 67), Status.ok);
		return Buffer.from(into).toString("hex");
	};
	const one = stream(6, Uint8Array.of(1));
	assert.equal(stream(6, Uint8Array.of(1)), one);
	assert.notEqual(stream(7, Uint8Array.of(1)), one);
	assert.notEqual(stream(6, Uint8Array.of(2)), one);
	assert.notEqual(one.slice(0, 66), one.slice(66, 132));
});

test("after close it is unseeded again", () => {
	const { source } = started(8);
	source.close();
	assert.equal(source.fill(new Uint8Array(16), 0, 16), Status.busy);
	assert.equal(source.start(NO_BYTES, 0), Status.ok);
	assert.equal(source.fill(new Uint8Array(16), 0, 16), Status.ok);
});

test("what is too long is a bug of the caller", () => {
	const { source } = started(9);
	assert.throws(() => source.fill(new Uint8Array(5000), 0, 4097));
	assert.throws(() => source.fill(new Uint8Array(5), 0, 6));
	assert.throws(() => source.start(new Uint8Array(33), 33));
	assert.throws(() => new HmacDrbg(crypto).instantiate(new Uint8Array(129), 129));
});

/** The smallest k for which at most k of n trials succeed with probability 1 - alpha. */
function binomialQuantile(n: number, p: number, alpha: number): number {
	const logFactorial = [0];
	for (let i = 1; i <= n; i++) logFactorial[i] = logFactorial[i - 1]! + Math.log(i);
	let tail = 0;
	for (let k = n; ; k--) {
		const log =
			logFactorial[n]! - logFactorial[k]! - logFactorial[n - k]! + k * Math.log(p) + (n - k) * Math.log(1 - p);
		tail += Math.exp(log);
		if (tail > alpha) return k;
	}
}

test("the cutoffs are those of SP 800-90B for 4 bits a byte and one false alarm in 2^30", () => {
	assert.equal(REPETITION_CUTOFF, 1 + Math.ceil(30 / MIN_ENTROPY_BITS_PER_BYTE));
	assert.equal(PROPORTION_CUTOFF, 1 + binomialQuantile(512, 2 ** -MIN_ENTROPY_BITS_PER_BYTE, 2 ** -30));
});

test("repetition count: 8 in a row pass, 9 fail, over the border of two calls", () => {
	for (const [count, isGood] of [
		[REPETITION_CUTOFF - 1, true],
		[REPETITION_CUTOFF, false],
	] as const) {
		const health = new HealthTests();
		const bytes = Uint8Array.of(1, 2, 3, ...new Array<number>(count).fill(5), 6);
		assert.equal(health.check(bytes, 6) && health.check(bytes.subarray(6), bytes.length - 6), isGood);
		assert.equal(health.hasFailed, !isGood);
	}
});

test("adaptive proportion: as often as the cutoff in one window fails, spread over two it passes", () => {
	const window = (start: number, count: number): Uint8Array => {
		const bytes = Uint8Array.from({ length: 512 }, (_, i) => 1 + (i % 100));
		bytes[0] = start;
		for (let i = 1, left = count - 1; left > 0; i += 2, left--) bytes[i] = start;
		return bytes;
	};
	assert.equal(new HealthTests().check(window(200, PROPORTION_CUTOFF), 512), false);
	const health = new HealthTests();
	for (let i = 0; i < 3; i++) assert.equal(health.check(window(200, PROPORTION_CUTOFF - 1), 512), true);
});
