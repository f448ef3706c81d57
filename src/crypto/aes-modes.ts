import { InvariantError, Status } from "../bytes/status.js";
import {
	AES_BLOCK_BYTES,
	AES_KEY_BYTES,
	type Aead,
	type Aes,
	checkCcm,
	checkGcm,
	checkOverlap,
	checkRange,
	checkTag,
	KEY_WRAP_BYTES,
	type KeyWrap,
	type Mac,
} from "./crypto.js";
import { equalBytes } from "./equal.js";

/** The AES-128 block function with its key; blocks are whole arrays of 16 bytes, changed in place. */
export interface BlockCipher {
	setKey(key: Uint8Array, keyOffset: number): void;
	encrypt(block: Uint8Array): void;
	decrypt(block: Uint8Array): void;
	close(): void;
}

/** A cipher that refuses to work without a key, and what every mode does with it. */
class KeyedCipher {
	readonly cipher: BlockCipher;
	#isKeyed = false;

	constructor(cipher: BlockCipher) {
		this.cipher = cipher;
	}

	setKey(key: Uint8Array, keyOffset: number): void {
		checkRange(key, keyOffset, AES_KEY_BYTES);
		this.cipher.setKey(key, keyOffset);
		this.#isKeyed = true;
	}

	checkKey(): void {
		if (!this.#isKeyed) throw new InvariantError("no key");
	}

	close(): void {
		this.cipher.close();
		this.#isKeyed = false;
	}
}

/** Adds (xor) `byteLength` bytes to the start of `sum`. */
function add(sum: Uint8Array, bytes: Uint8Array, offset: number, byteLength: number): void {
	for (let i = 0; i < byteLength; i++) sum[i] = sum[i]! ^ bytes[offset + i]!;
}

/** Writes `from` plus (xor) the start of `key`. */
function addTo(
	into: Uint8Array,
	intoOffset: number,
	from: Uint8Array,
	fromOffset: number,
	key: Uint8Array,
	byteLength: number,
): void {
	for (let i = 0; i < byteLength; i++) into[intoOffset + i] = from[fromOffset + i]! ^ key[i]!;
}

function copy(into: Uint8Array, intoOffset: number, from: Uint8Array, fromOffset: number, byteLength: number): void {
	for (let i = 0; i < byteLength; i++) into[intoOffset + i] = from[fromOffset + i]!;
}

/** Moves `byteLength` bytes from one place to another of arrays that may be one. */
function move(into: Uint8Array, intoOffset: number, from: Uint8Array, fromOffset: number, byteLength: number): void {
	if (from.byteOffset + fromOffset > into.byteOffset + intoOffset) copy(into, intoOffset, from, fromOffset, byteLength);
	else for (let i = byteLength - 1; i >= 0; i--) into[intoOffset + i] = from[fromOffset + i]!;
}

export class BlockAes extends KeyedCipher implements Aes {
	readonly #block = new Uint8Array(AES_BLOCK_BYTES);

	encryptBlock(from: Uint8Array, fromOffset: number, into: Uint8Array, intoOffset: number): void {
		this.checkKey();
		checkRange(from, fromOffset, AES_BLOCK_BYTES);
		checkRange(into, intoOffset, AES_BLOCK_BYTES);
		copy(this.#block, 0, from, fromOffset, AES_BLOCK_BYTES);
		this.cipher.encrypt(this.#block);
		copy(into, intoOffset, this.#block, 0, AES_BLOCK_BYTES);
		this.#block.fill(0);
	}
}

/** What the four bits that leave a product on the right put in on the left, upper 16 bits. x^128 = x^7 + x^2 + x + 1. */
const REDUCED = Int32Array.from(
	[
		0x0000, 0x1c20, 0x3840, 0x2460, 0x7080, 0x6ca0, 0x48c0, 0x54e0, 0xe100, 0xfd20, 0xd940, 0xc560, 0x9180, 0x8da0,
		0xa9c0, 0xb5e0,
	],
	(bits) => bits << 16,
);

/** The hash of GCM: products by four bits at a time, out of 16 multiples of the hash key. */
class Ghash {
	/** Word w of multiple m at 4 x m + w; word 0 is the first of the block. */
	readonly #multiples = new Int32Array(64);
	readonly #sum = new Uint8Array(AES_BLOCK_BYTES);

	/** @param key the hash key, 16 bytes */
	setKey(key: Uint8Array): void {
		const t = this.#multiples;
		t.fill(0);
		for (let w = 0; w < 4; w++)
			t[32 + w] = (key[4 * w]! << 24) | (key[4 * w + 1]! << 16) | (key[4 * w + 2]! << 8) | key[4 * w + 3]!;
		// half of a multiple: one bit to the right
		for (let m = 4; m > 0; m >>= 1) {
			const from = 8 * m;
			const carry = -(t[from + 3]! & 1) & 0xe100_0000;
			for (let w = 3; w > 0; w--) t[4 * m + w] = (t[from + w]! >>> 1) | (t[from + w - 1]! << 31);
			t[4 * m] = (t[from]! >>> 1) ^ carry;
		}
		for (let m = 2; m < 16; m <<= 1)
			for (let i = 1; i < m; i++) for (let w = 0; w < 4; w++) t[4 * (m + i) + w] = t[4 * m + w]! ^ t[4 * i + w]!;
		this.#sum.fill(0);
	}

	/** Takes bytes, filled up with zeros to whole blocks. */
	update(bytes: Uint8Array, offset: number, byteLength: number): void {
		const sum = this.#sum;
		for (let done = 0; done < byteLength; done += AES_BLOCK_BYTES) {
			const part = byteLength - done < AES_BLOCK_BYTES ? byteLength - done : AES_BLOCK_BYTES;
			add(sum, bytes, offset + done, part);
			this.#multiply();
		}
	}

	/** Takes the block of two lengths in bytes, each below 2^29. */
	updateLengths(first: number, second: number): void {
		const sum = this.#sum;
		for (let i = 0; i < 4; i++) {
			sum[4 + i] = sum[4 + i]! ^ ((first << 3) >>> (24 - 8 * i));
			sum[12 + i] = sum[12 + i]! ^ ((second << 3) >>> (24 - 8 * i));
		}
		this.#multiply();
	}

	/** Writes the hash, 16 bytes, and starts anew. */
	digest(into: Uint8Array): void {
		copy(into, 0, this.#sum, 0, AES_BLOCK_BYTES);
		this.#sum.fill(0);
	}

	close(): void {
		this.#multiples.fill(0);
		this.#sum.fill(0);
	}

	#multiply(): void {
		const t = this.#multiples;
		const sum = this.#sum;
		let z0 = 0;
		let z1 = 0;
		let z2 = 0;
		let z3 = 0;
		for (let i = 31; i >= 0; i--) {
			const byte = sum[i >> 1]!;
			const m = ((i & 1) === 1 ? byte & 15 : byte >> 4) << 2;
			if (i < 31) {
				const out = z3 & 15;
				z3 = (z3 >>> 4) | (z2 << 28);
				z2 = (z2 >>> 4) | (z1 << 28);
				z1 = (z1 >>> 4) | (z0 << 28);
				z0 = (z0 >>> 4) ^ REDUCED[out]!;
			}
			z0 ^= t[m]!;
			z1 ^= t[m + 1]!;
			z2 ^= t[m + 2]!;
			z3 ^= t[m + 3]!;
		}
		for (let i = 0; i < 4; i++) {
			const shift = 24 - 8 * i;
			sum[i] = z0 >>> shift;
			sum[4 + i] = z1 >>> shift;
			sum[8 + i] = z2 >>> shift;
			sum[12 + i] = z3 >>> shift;
		}
	}
}

export class Gcm extends KeyedCipher implements Aead {
	readonly #nonceBytes: number;
	readonly #tagBytes: number;
	readonly #hash = new Ghash();
	readonly #counter = new Uint8Array(AES_BLOCK_BYTES);
	readonly #key = new Uint8Array(AES_BLOCK_BYTES);
	/** The block that hides the tag, then the tag. */
	readonly #mask = new Uint8Array(AES_BLOCK_BYTES);

	constructor(cipher: BlockCipher, nonceBytes: number, tagBytes: number) {
		checkGcm(nonceBytes, tagBytes);
		super(cipher);
		this.#nonceBytes = nonceBytes;
		this.#tagBytes = tagBytes;
	}

	override setKey(key: Uint8Array, keyOffset: number): void {
		super.setKey(key, keyOffset);
		this.#key.fill(0);
		this.cipher.encrypt(this.#key);
		this.#hash.setKey(this.#key);
		this.#key.fill(0);
	}

	override close(): void {
		super.close();
		this.#hash.close();
	}

	seal(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
	): Status {
		this.#check(nonce, nonceOffset, aad, aadOffset, aadBytes, from, fromOffset, byteLength);
		checkRange(into, intoOffset, byteLength + this.#tagBytes);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, byteLength + this.#tagBytes);
		this.#start(nonce, nonceOffset, aad, aadOffset, aadBytes);
		this.#crypt(from, fromOffset, byteLength, into, intoOffset);
		this.#finish(into, intoOffset, byteLength, aadBytes);
		copy(into, intoOffset + byteLength, this.#mask, 0, this.#tagBytes);
		this.#mask.fill(0);
		return Status.ok;
	}

	open(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
	): Status {
		this.#check(nonce, nonceOffset, aad, aadOffset, aadBytes, from, fromOffset, byteLength);
		const textBytes = byteLength - this.#tagBytes;
		if (textBytes < 0) return Status.badLength;
		checkRange(into, intoOffset, textBytes);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, textBytes);
		this.#start(nonce, nonceOffset, aad, aadOffset, aadBytes);
		this.#finish(from, fromOffset, textBytes, aadBytes);
		const isRight = equalBytes(this.#mask, 0, from, fromOffset + textBytes, this.#tagBytes);
		this.#mask.fill(0);
		if (!isRight) {
			into.fill(0, intoOffset, intoOffset + textBytes);
			return Status.badTag;
		}
		this.#crypt(from, fromOffset, textBytes, into, intoOffset);
		return Status.ok;
	}

	#check(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
	): void {
		this.checkKey();
		checkRange(nonce, nonceOffset, this.#nonceBytes);
		checkRange(aad, aadOffset, aadBytes);
		checkRange(from, fromOffset, byteLength);
	}

	#start(nonce: Uint8Array, nonceOffset: number, aad: Uint8Array, aadOffset: number, aadBytes: number): void {
		const counter = this.#counter;
		if (this.#nonceBytes === 12) {
			copy(counter, 0, nonce, nonceOffset, 12);
			counter[12] = counter[13] = counter[14] = 0;
			counter[15] = 1;
		} else {
			this.#hash.update(nonce, nonceOffset, this.#nonceBytes);
			this.#hash.updateLengths(0, this.#nonceBytes);
			this.#hash.digest(counter);
		}
		copy(this.#mask, 0, counter, 0, AES_BLOCK_BYTES);
		this.cipher.encrypt(this.#mask);
		this.#hash.update(aad, aadOffset, aadBytes);
	}

	#crypt(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): void {
		const counter = this.#counter;
		const key = this.#key;
		for (let done = 0; done < byteLength; done += AES_BLOCK_BYTES) {
			for (let i = 15; i >= 12; i--) {
				const next = (counter[i]! + 1) & 0xff;
				counter[i] = next;
				if (next !== 0) break;
			}
			copy(key, 0, counter, 0, AES_BLOCK_BYTES);
			this.cipher.encrypt(key);
			const part = byteLength - done < AES_BLOCK_BYTES ? byteLength - done : AES_BLOCK_BYTES;
			addTo(into, intoOffset + done, from, fromOffset + done, key, part);
		}
		key.fill(0);
	}

	/** Leaves the tag in `#mask`. */
	#finish(sealed: Uint8Array, offset: number, byteLength: number, aadBytes: number): void {
		this.#hash.update(sealed, offset, byteLength);
		this.#hash.updateLengths(aadBytes, byteLength);
		this.#hash.digest(this.#key);
		add(this.#mask, this.#key, 0, AES_BLOCK_BYTES);
		this.#key.fill(0);
	}
}

export class Ccm extends KeyedCipher implements Aead {
	readonly #nonceBytes: number;
	readonly #tagBytes: number;
	readonly #textBytesMax: number;
	readonly #counter = new Uint8Array(AES_BLOCK_BYTES);
	readonly #key = new Uint8Array(AES_BLOCK_BYTES);
	readonly #sum = new Uint8Array(AES_BLOCK_BYTES);

	constructor(cipher: BlockCipher, nonceBytes: number, tagBytes: number) {
		checkCcm(nonceBytes, tagBytes);
		super(cipher);
		this.#nonceBytes = nonceBytes;
		this.#tagBytes = tagBytes;
		this.#textBytesMax = nonceBytes < 12 ? 0x7fff_ffff : 2 ** (8 * (15 - nonceBytes)) - 1;
	}

	seal(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
	): Status {
		this.#check(nonce, nonceOffset, aad, aadOffset, aadBytes, from, fromOffset, byteLength);
		checkRange(into, intoOffset, byteLength + this.#tagBytes);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, byteLength + this.#tagBytes);
		if (byteLength > this.#textBytesMax) return Status.badLength;
		this.#start(nonce, nonceOffset, aad, aadOffset, aadBytes, byteLength);
		this.#crypt(from, fromOffset, byteLength, into, intoOffset, false);
		copy(into, intoOffset + byteLength, this.#sum, 0, this.#tagBytes);
		this.#wipe();
		return Status.ok;
	}

	open(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
	): Status {
		this.#check(nonce, nonceOffset, aad, aadOffset, aadBytes, from, fromOffset, byteLength);
		const textBytes = byteLength - this.#tagBytes;
		if (textBytes < 0 || textBytes > this.#textBytesMax) return Status.badLength;
		checkRange(into, intoOffset, textBytes);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, textBytes);
		this.#start(nonce, nonceOffset, aad, aadOffset, aadBytes, textBytes);
		this.#crypt(from, fromOffset, textBytes, into, intoOffset, true);
		const isRight = equalBytes(this.#sum, 0, from, fromOffset + textBytes, this.#tagBytes);
		this.#wipe();
		if (isRight) return Status.ok;
		into.fill(0, intoOffset, intoOffset + textBytes);
		return Status.badTag;
	}

	#check(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
	): void {
		this.checkKey();
		checkRange(nonce, nonceOffset, this.#nonceBytes);
		checkRange(aad, aadOffset, aadBytes);
		checkRange(from, fromOffset, byteLength);
	}

	#wipe(): void {
		this.#sum.fill(0);
		this.#key.fill(0);
	}

	/** Writes a number into the last bytes of a block, as many as the mode has for lengths and counters. */
	#setLow(block: Uint8Array, value: number): void {
		const count = 15 - this.#nonceBytes;
		for (let i = 0; i < count; i++) block[15 - i] = i < 4 ? value >>> (8 * i) : 0;
	}

	#start(
		nonce: Uint8Array,
		nonceOffset: number,
		aad: Uint8Array,
		aadOffset: number,
		aadBytes: number,
		textBytes: number,
	): void {
		const { cipher } = this;
		const sum = this.#sum;
		const counter = this.#counter;
		counter[0] = 14 - this.#nonceBytes;
		copy(counter, 1, nonce, nonceOffset, this.#nonceBytes);
		this.#setLow(counter, 0);
		copy(sum, 0, counter, 0, AES_BLOCK_BYTES);
		const tagBits = this.#tagBytes > 0 ? ((this.#tagBytes - 2) / 2) << 3 : 0;
		sum[0] = sum[0]! | tagBits | (aadBytes > 0 ? 0x40 : 0);
		this.#setLow(sum, textBytes);
		cipher.encrypt(sum);
		if (aadBytes === 0) return;
		let at = 0;
		if (aadBytes >= 0xff00) {
			sum[0] = sum[0]! ^ 0xff;
			sum[1] = sum[1]! ^ 0xfe;
			sum[2] = sum[2]! ^ (aadBytes >>> 24);
			sum[3] = sum[3]! ^ (aadBytes >>> 16);
			at = 4;
		}
		sum[at] = sum[at]! ^ (aadBytes >>> 8);
		sum[at + 1] = sum[at + 1]! ^ aadBytes;
		at += 2;
		for (let i = 0; i < aadBytes; i++) {
			sum[at] = sum[at]! ^ aad[aadOffset + i]!;
			if (++at === AES_BLOCK_BYTES) {
				cipher.encrypt(sum);
				at = 0;
			}
		}
		if (at > 0) cipher.encrypt(sum);
	}

	/** Leaves the masked tag in `#sum`. */
	#crypt(
		from: Uint8Array,
		fromOffset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		isOpen: boolean,
	): void {
		const { cipher } = this;
		const sum = this.#sum;
		const key = this.#key;
		for (let done = 0, block = 1; done < byteLength; done += AES_BLOCK_BYTES, block++) {
			const part = byteLength - done < AES_BLOCK_BYTES ? byteLength - done : AES_BLOCK_BYTES;
			copy(key, 0, this.#counter, 0, AES_BLOCK_BYTES);
			this.#setLow(key, block);
			cipher.encrypt(key);
			if (!isOpen) add(sum, from, fromOffset + done, part);
			addTo(into, intoOffset + done, from, fromOffset + done, key, part);
			if (isOpen) add(sum, into, intoOffset + done, part);
			cipher.encrypt(sum);
		}
		copy(key, 0, this.#counter, 0, AES_BLOCK_BYTES);
		cipher.encrypt(key);
		add(sum, key, 0, AES_BLOCK_BYTES);
	}
}

/** Times x in the field of CMAC, most significant bit first. */
function twice(block: Uint8Array): void {
	let carry = -(block[0]! >> 7) & 0x87;
	for (let i = AES_BLOCK_BYTES - 1; i >= 0; i--) {
		carry ^= block[i]! << 1;
		block[i] = carry;
		carry >>= 8;
	}
}

export class Cmac implements Mac {
	readonly #keyed: KeyedCipher;
	readonly #sum = new Uint8Array(AES_BLOCK_BYTES);
	readonly #subkey = new Uint8Array(AES_BLOCK_BYTES);

	constructor(cipher: BlockCipher) {
		this.#keyed = new KeyedCipher(cipher);
	}

	setKey(key: Uint8Array, keyOffset: number, keyBytes: number): void {
		if (keyBytes !== AES_KEY_BYTES) throw new InvariantError("CMAC takes 16 bytes of key");
		this.#keyed.setKey(key, keyOffset);
	}

	sign(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		tagBytes: number,
	): void {
		checkTag(tagBytes, AES_BLOCK_BYTES);
		checkRange(into, intoOffset, tagBytes);
		this.#compute(data, offset, byteLength);
		copy(into, intoOffset, this.#sum, 0, tagBytes);
		this.#sum.fill(0);
	}

	verify(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		tag: Uint8Array,
		tagOffset: number,
		tagBytes: number,
	): Status {
		checkTag(tagBytes, AES_BLOCK_BYTES);
		checkRange(tag, tagOffset, tagBytes);
		this.#compute(data, offset, byteLength);
		const isRight = equalBytes(this.#sum, 0, tag, tagOffset, tagBytes);
		this.#sum.fill(0);
		return isRight ? Status.ok : Status.badTag;
	}

	close(): void {
		this.#keyed.close();
	}

	#compute(data: Uint8Array, offset: number, byteLength: number): void {
		this.#keyed.checkKey();
		checkRange(data, offset, byteLength);
		const { cipher } = this.#keyed;
		const sum = this.#sum;
		const subkey = this.#subkey;
		sum.fill(0);
		let done = 0;
		for (; byteLength - done > AES_BLOCK_BYTES; done += AES_BLOCK_BYTES) {
			add(sum, data, offset + done, AES_BLOCK_BYTES);
			cipher.encrypt(sum);
		}
		const left = byteLength - done;
		add(sum, data, offset + done, left);
		subkey.fill(0);
		cipher.encrypt(subkey);
		twice(subkey);
		if (left < AES_BLOCK_BYTES) {
			sum[left] = sum[left]! ^ 0x80;
			twice(subkey);
		}
		add(sum, subkey, 0, AES_BLOCK_BYTES);
		cipher.encrypt(sum);
		subkey.fill(0);
	}
}

export class BlockKeyWrap extends KeyedCipher implements KeyWrap {
	readonly #block = new Uint8Array(AES_BLOCK_BYTES);

	wrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status {
		this.checkKey();
		checkRange(from, fromOffset, byteLength);
		checkRange(into, intoOffset, byteLength + KEY_WRAP_BYTES);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, byteLength + KEY_WRAP_BYTES);
		if (byteLength < 16 || byteLength % 8 !== 0) return Status.badLength;
		const block = this.#block;
		const start = intoOffset + KEY_WRAP_BYTES;
		move(into, start, from, fromOffset, byteLength);
		block.fill(0xa6, 0, 8);
		let step = 0;
		for (let pass = 0; pass < 6; pass++)
			for (let at = 0; at < byteLength; at += 8) {
				copy(block, 8, into, start + at, 8);
				this.cipher.encrypt(block);
				this.#addStep(++step);
				copy(into, start + at, block, 8, 8);
			}
		copy(into, intoOffset, block, 0, 8);
		block.fill(0);
		return Status.ok;
	}

	unwrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status {
		this.checkKey();
		checkRange(from, fromOffset, byteLength);
		const textBytes = byteLength - KEY_WRAP_BYTES;
		if (textBytes < 0) return Status.badLength;
		checkRange(into, intoOffset, textBytes);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, textBytes);
		if (textBytes < 16 || byteLength % 8 !== 0) return Status.badLength;
		const block = this.#block;
		copy(block, 0, from, fromOffset, 8);
		move(into, intoOffset, from, fromOffset + KEY_WRAP_BYTES, textBytes);
		let step = (textBytes / 8) * 6;
		for (let pass = 0; pass < 6; pass++)
			for (let at = textBytes - 8; at >= 0; at -= 8) {
				this.#addStep(step--);
				copy(block, 8, into, intoOffset + at, 8);
				this.cipher.decrypt(block);
				copy(into, intoOffset + at, block, 8, 8);
			}
		let difference = 0;
		for (let i = 0; i < 8; i++) difference |= block[i]! ^ 0xa6;
		block.fill(0);
		if (difference === 0) return Status.ok;
		into.fill(0, intoOffset, intoOffset + textBytes);
		return Status.badTag;
	}

	#addStep(step: number): void {
		const block = this.#block;
		for (let i = 0; i < 4; i++) block[7 - i] = block[7 - i]! ^ (step >>> (8 * i));
	}
}
