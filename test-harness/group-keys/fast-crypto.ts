import { InvariantError } from "../../src/bytes/status.js";
import { NodeCrypto } from "../crypto/node-crypto.js";

const K = new Int32Array(64);
const H = new Int32Array(8);
for (let candidate = 2, found = 0; found < 64; candidate++) {
	let isPrime = true;
	for (let i = 2; i * i <= candidate; i++) if (candidate % i === 0) isPrime = false;
	if (!isPrime) continue;
	// FIPS 180-4: the first 32 bits of the fractional parts of square and cube roots of primes.
	if (found < 8) H[found] = Math.floor((Math.sqrt(candidate) % 1) * 2 ** 32);
	K[found++] = Math.floor((Math.cbrt(candidate) % 1) * 2 ** 32);
}

/**
 * The same bytes as `NodeCrypto`, with a one-compression KDF that makes no object: a controller of a million leaves does
 * nothing else, and node:crypto takes 4 µs a call. Held against node:crypto by test-harness/unit/group-keys.
 */
export class FastCrypto extends NodeCrypto {
	readonly #w = new Int32Array(64);

	override kdf(
		key: Uint8Array,
		keyOffset: number,
		keyBytes: number,
		label: number,
		context: Uint8Array,
		contextOffset: number,
		contextBytes: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): void {
		if (!(keyOffset >= 0 && contextOffset >= 0 && intoOffset >= 0 && keyBytes <= 32 && contextBytes <= 22))
			throw new InvariantError("more than one compression takes");
		if (keyOffset + keyBytes > key.length || contextOffset + contextBytes > context.length)
			throw new InvariantError("bytes outside their array");
		if (intoOffset + intoBytes > into.length || intoBytes > 32) throw new InvariantError("bytes outside their array");
		const w = this.#w;
		for (let i = 0; i < 8; i++) {
			const at = keyOffset + 4 * i;
			w[i] =
				4 * i + 4 <= keyBytes
					? (key[at]! << 24) | (key[at + 1]! << 16) | (key[at + 2]! << 8) | key[at + 3]!
					: partial(key, keyOffset, keyBytes, 4 * i);
		}
		for (let i = 8; i < 14; i++) w[i] = 0;
		w[8] = label << 24;
		for (let i = 0; i < contextBytes; i++)
			w[8 + ((i + 1) >> 2)]! |= context[contextOffset + i]! << (24 - 8 * ((i + 1) & 3));
		const end = 1 + contextBytes;
		w[8 + (end >> 2)]! |= 0x80 << (24 - 8 * (end & 3));
		w[14] = 0;
		w[15] = 8 * (33 + contextBytes);
		for (let i = 16; i < 64; i++) {
			const x = w[i - 15]!;
			const y = w[i - 2]!;
			const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
			const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
			w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
		}
		let a = H[0]!;
		let b = H[1]!;
		let c = H[2]!;
		let d = H[3]!;
		let e = H[4]!;
		let f = H[5]!;
		let g = H[6]!;
		let h = H[7]!;
		for (let i = 0; i < 64; i++) {
			const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
			const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + w[i]!) | 0;
			const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
			const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
			h = g;
			g = f;
			f = e;
			e = (d + t1) | 0;
			d = c;
			c = b;
			b = a;
			a = (t1 + t2) | 0;
		}
		w[0] = a + H[0]!;
		w[1] = b + H[1]!;
		w[2] = c + H[2]!;
		w[3] = d + H[3]!;
		w[4] = e + H[4]!;
		w[5] = f + H[5]!;
		w[6] = g + H[6]!;
		w[7] = h + H[7]!;
		for (let i = 0; i < intoBytes; i++) into[intoOffset + i] = w[i >> 2]! >>> (24 - 8 * (i & 3));
	}
}

function partial(key: Uint8Array, offset: number, keyBytes: number, from: number): number {
	let word = 0;
	for (let i = from; i < from + 4; i++) word = (word << 8) | (i < keyBytes ? key[offset + i]! : 0);
	return word;
}
