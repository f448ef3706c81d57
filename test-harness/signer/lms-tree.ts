import { createHash } from "node:crypto";

/**
 * The signing side of LMS: keys, trees, signatures (RFC 8554, SP 800-208). It knows nothing of files and states; who calls
 * `signLeaf` twice with one leaf gives the key away (`SignerFolder` sees to it that nobody does).
 */
export interface LmsParameters {
	readonly lmsType: number;
	readonly lmotsType: number;
	/** n = m: 32, or 24 for SHA-256/192. */
	readonly hashBytes: number;
	readonly height: number;
	/** w: 4 or 8. */
	readonly width: number;
	/** p. */
	readonly chainCount: number;
}

export const LMS_HEIGHTS: readonly number[] = [5, 10, 15, 20];
export const IDENTIFIER_BYTES = 16;
const D_PBLC = 0x8080;
const D_MESG = 0x8181;
const D_LEAF = 0x8282;
const D_INTR = 0x8383;
/** Where the secret starts of chains come from: RFC 8554 appendix A. */
const SECRET_STEP = 0xff;

export function lmsParameters(height: number, width: number, hashBytes = 32): LmsParameters {
	if (!LMS_HEIGHTS.includes(height) || (width !== 4 && width !== 8) || (hashBytes !== 32 && hashBytes !== 24))
		throw new RangeError(`no LMS parameters of height ${height}, width ${width}, ${hashBytes} bytes`);
	const isLong = hashBytes === 32;
	return {
		lmsType: (isLong ? 4 : 9) + height / 5,
		lmotsType: (isLong ? 0 : 4) + (width === 8 ? 4 : 3),
		hashBytes,
		height,
		width,
		chainCount: width === 8 ? hashBytes + 2 : 2 * hashBytes + 3,
	};
}

/** By the types of a public key or a key file; undefined for those that are not supported. */
export function parametersOfTypes(lmsType: number, lmotsType: number): LmsParameters | undefined {
	for (const hashBytes of [32, 24])
		for (const width of [4, 8])
			for (const height of LMS_HEIGHTS) {
				const parameters = lmsParameters(height, width, hashBytes);
				if (parameters.lmsType === lmsType && parameters.lmotsType === lmotsType) return parameters;
			}
	return undefined;
}

export function signatureBytesOf({ hashBytes, chainCount, height }: LmsParameters): number {
	return 12 + hashBytes * (1 + chainCount + height);
}

// ---- one compression of SHA-256 over a chain value: what key generation spends its time with

const K = Int32Array.from({ length: 64 });
const START = Int32Array.from({ length: 8 });
{
	// FIPS 180-4: fractions of square and cube roots of the first primes
	const primes: number[] = [];
	for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);
	const fraction = (x: number): number => ((x - Math.floor(x)) * 0x1_0000_0000) | 0;
	for (const [i, p] of primes.entries()) {
		K[i] = fraction(Math.cbrt(p));
		if (i < 8) START[i] = fraction(Math.sqrt(p));
	}
}
const W = new Int32Array(64);

/** SHA-256 of what is in `W[0..15]`, one block with its padding, into `value`. */
function compress(value: Int32Array): void {
	for (let i = 16; i < 64; i++) {
		const a = W[i - 15]!;
		const b = W[i - 2]!;
		const s0 = ((a >>> 7) | (a << 25)) ^ ((a >>> 18) | (a << 14)) ^ (a >>> 3);
		const s1 = ((b >>> 17) | (b << 15)) ^ ((b >>> 19) | (b << 13)) ^ (b >>> 10);
		W[i] = (W[i - 16]! + s0 + W[i - 7]! + s1) | 0;
	}
	let a = START[0]!;
	let b = START[1]!;
	let c = START[2]!;
	let d = START[3]!;
	let e = START[4]!;
	let f = START[5]!;
	let g = START[6]!;
	let h = START[7]!;
	for (let i = 0; i < 64; i++) {
		const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
		const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + W[i]!) | 0;
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
	value[0] = (a + START[0]!) | 0;
	value[1] = (b + START[1]!) | 0;
	value[2] = (c + START[2]!) | 0;
	value[3] = (d + START[3]!) | 0;
	value[4] = (e + START[4]!) | 0;
	value[5] = (f + START[5]!) | 0;
	value[6] = (g + START[6]!) | 0;
	value[7] = (h + START[7]!) | 0;
}

/** H(I ‖ q ‖ chain ‖ step ‖ value) for steps from `first` to below `end`, in place. */
function runChain(
	identifier: Uint8Array,
	leaf: number,
	chain: number,
	first: number,
	end: number,
	value: Int32Array,
	hashBytes: number,
): void {
	const words = hashBytes / 4;
	const view = new DataView(identifier.buffer, identifier.byteOffset, IDENTIFIER_BYTES);
	const i0 = view.getInt32(0);
	const i1 = view.getInt32(4);
	const i2 = view.getInt32(8);
	const i3 = view.getInt32(12);
	for (let step = first; step < end; step++) {
		W[0] = i0;
		W[1] = i1;
		W[2] = i2;
		W[3] = i3;
		W[4] = leaf;
		// The value starts at byte 23, so each word takes a byte of it and three of the next.
		W[5] = (chain << 16) | (step << 8) | (value[0]! >>> 24);
		for (let i = 0; i < words; i++) W[6 + i] = (value[i]! << 8) | (i + 1 < words ? value[i + 1]! >>> 24 : 0x80);
		for (let i = 6 + words; i < 15; i++) W[i] = 0;
		W[15] = (23 + hashBytes) * 8;
		compress(value);
	}
}

function put(value: Int32Array, into: Buffer, offset: number, hashBytes: number): void {
	for (let i = 0; i < hashBytes / 4; i++) into.writeInt32BE(value[i]!, offset + 4 * i);
}

function take(value: Int32Array, from: Buffer, offset: number, hashBytes: number): void {
	for (let i = 0; i < hashBytes / 4; i++) value[i] = from.readInt32BE(offset + 4 * i);
}

function hash(identifier: Uint8Array, number: number, kind: number, hashBytes: number, ...parts: Uint8Array[]): Buffer {
	const prefix = Buffer.alloc(6);
	prefix.writeUInt32BE(number);
	prefix.writeUInt16BE(kind, 4);
	const digest = createHash("sha256").update(identifier).update(prefix);
	for (const part of parts) digest.update(part);
	return digest.digest().subarray(0, hashBytes);
}

/** T[2^h + leaf]: the hash of the leaf's one-time public key. */
export function leafHash(parameters: LmsParameters, identifier: Uint8Array, secret: Uint8Array, leaf: number): Buffer {
	const { hashBytes, chainCount, width, height } = parameters;
	const value = new Int32Array(8);
	const ends = Buffer.alloc(chainCount * hashBytes);
	const secretBytes = Buffer.from(secret.buffer, secret.byteOffset, secret.byteLength);
	for (let chain = 0; chain < chainCount; chain++) {
		take(value, secretBytes, 0, hashBytes);
		runChain(identifier, leaf, chain, SECRET_STEP, SECRET_STEP + 1, value, hashBytes);
		runChain(identifier, leaf, chain, 0, 2 ** width - 1, value, hashBytes);
		put(value, ends, chain * hashBytes, hashBytes);
	}
	const key = hash(identifier, leaf, D_PBLC, hashBytes, ends);
	return hash(identifier, 2 ** height + leaf, D_LEAF, hashBytes, key);
}

/** All nodes, T[0] (unused) to T[2^(h+1) - 1], from the leaves. */
export function treeOf(parameters: LmsParameters, identifier: Uint8Array, leaves: Uint8Array): Buffer {
	const { hashBytes, height } = parameters;
	const count = 2 ** height;
	const nodes = Buffer.alloc(2 * count * hashBytes);
	nodes.set(leaves.subarray(0, count * hashBytes), count * hashBytes);
	for (let node = count - 1; node >= 1; node--) {
		const children = nodes.subarray(2 * node * hashBytes, (2 * node + 2) * hashBytes);
		nodes.set(hash(identifier, node, D_INTR, hashBytes, children), node * hashBytes);
	}
	return nodes;
}

export function publicKeyOf(parameters: LmsParameters, identifier: Uint8Array, nodes: Uint8Array): Buffer {
	const { lmsType, lmotsType, hashBytes } = parameters;
	const key = Buffer.alloc(24 + hashBytes);
	key.writeUInt32BE(lmsType);
	key.writeUInt32BE(lmotsType, 4);
	key.set(identifier, 8);
	key.set(nodes.subarray(hashBytes, 2 * hashBytes), 24);
	return key;
}

/** Signs with one leaf. NEVER twice with the same. @param randomizer n random bytes */
export function signLeaf(
	parameters: LmsParameters,
	identifier: Uint8Array,
	secret: Uint8Array,
	nodes: Uint8Array,
	leaf: number,
	randomizer: Uint8Array,
	message: Uint8Array,
): Buffer {
	const { lmsType, lmotsType, hashBytes, chainCount, width, height } = parameters;
	const signature = Buffer.alloc(signatureBytesOf(parameters));
	signature.writeUInt32BE(leaf);
	signature.writeUInt32BE(lmotsType, 4);
	signature.set(randomizer.subarray(0, hashBytes), 8);
	const digits = hash(identifier, leaf, D_MESG, hashBytes, randomizer.subarray(0, hashBytes), message);
	const steps = digitsOf(digits, width, chainCount);
	const value = new Int32Array(8);
	const secretBytes = Buffer.from(secret.buffer, secret.byteOffset, secret.byteLength);
	for (let chain = 0; chain < chainCount; chain++) {
		take(value, secretBytes, 0, hashBytes);
		runChain(identifier, leaf, chain, SECRET_STEP, SECRET_STEP + 1, value, hashBytes);
		runChain(identifier, leaf, chain, 0, steps[chain]!, value, hashBytes);
		put(value, signature, 8 + (1 + chain) * hashBytes, hashBytes);
	}
	const typeAt = 8 + (1 + chainCount) * hashBytes;
	signature.writeUInt32BE(lmsType, typeAt);
	let node = 2 ** height + leaf;
	for (let level = 0; level < height; level++) {
		const sibling = node ^ 1;
		signature.set(nodes.subarray(sibling * hashBytes, (sibling + 1) * hashBytes), typeAt + 4 + level * hashBytes);
		node >>>= 1;
	}
	return signature;
}

/** Q and its checksum as digits of w bits. @see RFC 8554 sections 3.1.3 and 4.4 */
function digitsOf(hashed: Buffer, width: number, chainCount: number): number[] {
	const digits: number[] = [];
	for (const byte of hashed) {
		if (width === 8) digits.push(byte);
		else digits.push(byte >> 4, byte & 15);
	}
	const sum = digits.reduce((total, digit) => total + 2 ** width - 1 - digit, 0);
	for (let shift = width * (chainCount - digits.length - 1); shift >= 0; shift -= width)
		digits.push((sum >> shift) & (2 ** width - 1));
	return digits;
}
