import assert from "node:assert/strict";
import { createCipheriv, createHash } from "node:crypto";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { RandomSource } from "../../../src/crypto/drbg.js";
import type { Entropy } from "../../../src/platform/entropy.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { seed } from "../../seed.js";

const DEVICES = 1000;
/** Of each device. 1000 are asked for and take half a minute: BOOTS=1000. */
const BOOTS = Number(process.env["BOOTS"] ?? 200);
const OUTPUT_BYTES = 16;
const crypto = new NodeCrypto();

/** A good source that can be repeated: AES-256-CTR under the seed. */
class SeededEntropy implements Entropy {
	readonly #stream;
	readonly #zeros = Buffer.alloc(1 << 20);
	#pool = Buffer.alloc(0);
	#used = 0;

	constructor(name: string) {
		const key = createHash("sha256").update(`${seed} ${name}`).digest();
		this.#stream = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
	}

	fill(into: Uint8Array): void {
		if (this.#used + into.length > this.#pool.length) {
			this.#pool = this.#stream.update(this.#zeros);
			this.#used = 0;
		}
		into.set(this.#pool.subarray(this.#used, this.#used + into.length));
		this.#used += into.length;
	}
}

function idOf(device: number): Uint8Array {
	const id = Buffer.alloc(8);
	id.writeUInt32BE(0xacde4800, 0);
	id.writeUInt32BE(device, 4);
	return id;
}

/** How many values occur more than once. */
function repeated(values: BigUint64Array): number {
	values.sort();
	let count = 0;
	for (let i = 1; i < values.length; i++) if (values[i] === values[i - 1]) count++;
	return count;
}

test(`${BOOTS} boots of ${DEVICES} devices: no two first outputs alike, none without a seed`, () => {
	const entropy = new SeededEntropy("boots");
	const first = new BigUint64Array(DEVICES * BOOTS);
	const second = new BigUint64Array(DEVICES * BOOTS);
	const output = new Uint8Array(OUTPUT_BYTES);
	const halves = new BigUint64Array(output.buffer);
	let at = 0;
	for (let device = 0; device < DEVICES; device++) {
		const id = idOf(device);
		for (let boot = 0; boot < BOOTS; boot++) {
			const source = new RandomSource(crypto, entropy);
			if (boot === 0) assert.notEqual(source.fill(output, 0, 1), Status.ok, "it runs unseeded");
			if (source.start(id, id.length) !== Status.ok || source.fill(output, 0, OUTPUT_BYTES) !== Status.ok)
				assert.fail(`seed ${seed}: device ${device}, boot ${boot} refuses a good source`);
			first[at] = halves[0]!;
			second[at++] = halves[1]!;
		}
	}
	const all = new BigUint64Array(2 * at);
	all.set(first);
	all.set(second, at);
	assert.equal(repeated(all), 0, `seed ${seed}: outputs that occur twice`);
	console.log(`${all.length} values of 64 bits, all different`);
});

test("devices whose sources give the same bytes still differ, by their ids", () => {
	const values = new BigUint64Array(DEVICES);
	const output = new Uint8Array(8);
	for (let device = 0; device < DEVICES; device++) {
		const source = new RandomSource(crypto, new SeededEntropy("the same"));
		assert.equal(source.start(idOf(device), 8), Status.ok);
		assert.equal(source.fill(output, 0, 8), Status.ok);
		values[device] = Buffer.from(output).readBigUInt64BE();
	}
	assert.equal(repeated(values), 0, `seed ${seed}`);
});

test("a source that is stuck, or gets stuck at any byte of the start, gives no output at all", () => {
	for (let stuckFrom = 0; stuckFrom < 1112; stuckFrom += 37) {
		const good = new SeededEntropy(`stuck ${stuckFrom}`);
		let taken = 0;
		const source = new RandomSource(crypto, {
			fill(into) {
				good.fill(into);
				for (let i = 0; i < into.length; i++) if (taken++ >= stuckFrom) into[i] = 0xa5;
			},
		});
		assert.notEqual(source.start(idOf(1), 8), Status.ok, `stuck from byte ${stuckFrom} and it starts`);
		const output = new Uint8Array(16).fill(9);
		assert.notEqual(source.fill(output, 0, 16), Status.ok, `stuck from byte ${stuckFrom} and it gives output`);
		assert.ok(
			output.every((byte) => byte === 9),
			"nothing is written by a refusal",
		);
	}
});
