import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { InvariantError, Status } from "../../src/bytes/status.js";
import {
	AES_BLOCK_BYTES,
	AES_KEY_BYTES,
	type Aead,
	type Aes,
	type Crypto,
	checkCcm,
	checkGcm,
	checkOverlap,
	checkRange,
	checkTag,
	HKDF_BYTES_MAX,
	KDF_CONTEXT_BYTES_MAX,
	type KeyWrap,
	type Mac,
	SHA256_BYTES,
	type Sha256,
} from "../../src/crypto/crypto.js";

const NO_IV = Buffer.alloc(0);
const KEY_WRAP_IV = Buffer.alloc(8, 0xa6);

/** A copy of part of an array, once it is known to be there. */
function piece(bytes: Uint8Array, offset: number, byteLength: number): Buffer {
	checkRange(bytes, offset, byteLength);
	return Buffer.from(bytes.subarray(offset, offset + byteLength));
}

function put(into: Uint8Array, intoOffset: number, bytes: Uint8Array, intoBytes = bytes.length): void {
	checkRange(into, intoOffset, intoBytes);
	if (intoBytes > bytes.length) throw new InvariantError("more than there is");
	into.set(bytes.subarray(0, intoBytes), intoOffset);
}

/** What every object that holds a key does. */
abstract class NodeKeyed {
	#key: Buffer | undefined;

	setKey(key: Uint8Array, keyOffset: number, keyBytes = AES_KEY_BYTES): void {
		this.#key?.fill(0);
		this.#key = piece(key, keyOffset, keyBytes);
	}

	get key(): Buffer {
		if (!this.#key) throw new InvariantError("no key");
		return this.#key;
	}

	close(): void {
		this.#key?.fill(0);
		this.#key = undefined;
	}
}

function encryptBlock(key: Buffer, block: Uint8Array): Buffer {
	const cipher = createCipheriv("aes-128-ecb", key, NO_IV).setAutoPadding(false);
	return Buffer.concat([cipher.update(block), cipher.final()]);
}

class NodeSha256 implements Sha256 {
	#hash = createHash("sha256");

	reset(): void {
		this.#hash = createHash("sha256");
	}

	update(data: Uint8Array, offset: number, byteLength: number): void {
		this.#hash.update(piece(data, offset, byteLength));
	}

	digest(into: Uint8Array, intoOffset: number, intoBytes: number): void {
		put(into, intoOffset, this.#hash.digest(), intoBytes);
		this.reset();
	}

	close(): void {
		this.#hash.destroy();
		this.#hash.digest();
	}
}

abstract class NodeMac extends NodeKeyed implements Mac {
	readonly #tagBytesMax: number;

	constructor(tagBytesMax: number) {
		super();
		this.#tagBytesMax = tagBytesMax;
	}

	abstract compute(data: Buffer): Buffer;

	sign(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		tagBytes: number,
	): void {
		checkTag(tagBytes, this.#tagBytesMax);
		put(into, intoOffset, this.compute(piece(data, offset, byteLength)), tagBytes);
	}

	verify(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		tag: Uint8Array,
		tagOffset: number,
		tagBytes: number,
	): Status {
		checkTag(tagBytes, this.#tagBytesMax);
		const right = this.compute(piece(data, offset, byteLength)).subarray(0, tagBytes);
		return timingSafeEqual(right, piece(tag, tagOffset, tagBytes)) ? Status.ok : Status.badTag;
	}
}

class NodeHmac extends NodeMac {
	constructor() {
		super(SHA256_BYTES);
	}

	override compute(data: Buffer): Buffer {
		return createHmac("sha256", this.key).update(data).digest();
	}
}

function twice(block: Buffer): Buffer {
	const value = BigInt(`0x${block.toString("hex")}`) << 1n;
	const reduced = value >> 128n ? (value & ((1n << 128n) - 1n)) ^ 0x87n : value;
	return Buffer.from(reduced.toString(16).padStart(32, "0"), "hex");
}

/** Node has no CMAC: the last block of CBC, with the subkeys of RFC 4493. */
class NodeCmac extends NodeMac {
	constructor() {
		super(AES_BLOCK_BYTES);
	}

	override setKey(key: Uint8Array, keyOffset: number, keyBytes: number): void {
		if (keyBytes !== AES_KEY_BYTES) throw new InvariantError("CMAC takes 16 bytes of key");
		super.setKey(key, keyOffset);
	}

	override compute(data: Buffer): Buffer {
		const first = twice(encryptBlock(this.key, Buffer.alloc(AES_BLOCK_BYTES)));
		const isWhole = data.length > 0 && data.length % AES_BLOCK_BYTES === 0;
		const padded = isWhole
			? Buffer.from(data)
			: Buffer.alloc((Math.floor(data.length / AES_BLOCK_BYTES) + 1) * AES_BLOCK_BYTES);
		if (!isWhole) {
			data.copy(padded);
			padded[data.length] = 0x80;
		}
		const subkey = isWhole ? first : twice(first);
		const last = padded.length - AES_BLOCK_BYTES;
		for (let i = 0; i < AES_BLOCK_BYTES; i++) padded[last + i]! ^= subkey[i]!;
		const cipher = createCipheriv("aes-128-cbc", this.key, Buffer.alloc(AES_BLOCK_BYTES)).setAutoPadding(false);
		return Buffer.concat([cipher.update(padded), cipher.final()]).subarray(last);
	}
}

class NodeAes extends NodeKeyed implements Aes {
	encryptBlock(from: Uint8Array, fromOffset: number, into: Uint8Array, intoOffset: number): void {
		put(into, intoOffset, encryptBlock(this.key, piece(from, fromOffset, AES_BLOCK_BYTES)));
	}
}

interface Sealed {
	readonly text: Buffer;
	readonly tag: Buffer;
}

abstract class NodeAead extends NodeKeyed implements Aead {
	readonly nonceBytes: number;
	readonly tagBytes: number;
	abstract readonly textBytesMax: number;

	constructor(nonceBytes: number, tagBytes: number) {
		super();
		this.nonceBytes = nonceBytes;
		this.tagBytes = tagBytes;
	}

	abstract encrypt(nonce: Buffer, aad: Buffer, text: Buffer): Sealed;
	abstract decrypt(nonce: Buffer, aad: Buffer, sealed: Sealed): Buffer | undefined;

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
		const bytes = piece(from, fromOffset, byteLength);
		checkRange(into, intoOffset, byteLength + this.tagBytes);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, byteLength + this.tagBytes);
		if (byteLength > this.textBytesMax) return Status.badLength;
		const { text, tag } = this.encrypt(
			piece(nonce, nonceOffset, this.nonceBytes),
			piece(aad, aadOffset, aadBytes),
			bytes,
		);
		into.set(text, intoOffset);
		into.set(tag, intoOffset + byteLength);
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
		const bytes = piece(from, fromOffset, byteLength);
		const textBytes = byteLength - this.tagBytes;
		if (textBytes < 0 || textBytes > this.textBytesMax) return Status.badLength;
		checkRange(into, intoOffset, textBytes);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, textBytes);
		const text = this.decrypt(piece(nonce, nonceOffset, this.nonceBytes), piece(aad, aadOffset, aadBytes), {
			text: bytes.subarray(0, textBytes),
			tag: bytes.subarray(textBytes),
		});
		if (text) into.set(text, intoOffset);
		else into.fill(0, intoOffset, intoOffset + textBytes);
		return text ? Status.ok : Status.badTag;
	}
}

class NodeGcm extends NodeAead {
	override readonly textBytesMax = 0x7fff_ffff;

	override encrypt(nonce: Buffer, aad: Buffer, bytes: Buffer): Sealed {
		const cipher = createCipheriv("aes-128-gcm", this.key, nonce, { authTagLength: this.tagBytes }).setAAD(aad);
		const text = Buffer.concat([cipher.update(bytes), cipher.final()]);
		return { text, tag: cipher.getAuthTag() };
	}

	override decrypt(nonce: Buffer, aad: Buffer, { text, tag }: Sealed): Buffer | undefined {
		const decipher = createDecipheriv("aes-128-gcm", this.key, nonce, { authTagLength: this.tagBytes });
		decipher.setAAD(aad).setAuthTag(tag);
		try {
			return Buffer.concat([decipher.update(text), decipher.final()]);
		} catch {
			return undefined; // what a bad tag is to node:crypto
		}
	}
}

class NodeCcm extends NodeAead {
	override readonly textBytesMax: number;

	constructor(nonceBytes: number, tagBytes: number) {
		super(nonceBytes, tagBytes);
		this.textBytesMax = nonceBytes < 12 ? 0x7fff_ffff : 2 ** (8 * (15 - nonceBytes)) - 1;
	}

	override encrypt(nonce: Buffer, aad: Buffer, bytes: Buffer): Sealed {
		if (this.tagBytes === 0) return { text: this.#counterMode(nonce, bytes), tag: NO_IV };
		const cipher = createCipheriv("aes-128-ccm", this.key, nonce, { authTagLength: this.tagBytes });
		cipher.setAAD(aad, { plaintextLength: bytes.length });
		const text = cipher.update(bytes);
		cipher.final();
		return { text, tag: cipher.getAuthTag() };
	}

	override decrypt(nonce: Buffer, aad: Buffer, { text, tag }: Sealed): Buffer | undefined {
		if (this.tagBytes === 0) return this.#counterMode(nonce, text);
		const decipher = createDecipheriv("aes-128-ccm", this.key, nonce, { authTagLength: this.tagBytes });
		decipher.setAuthTag(tag);
		decipher.setAAD(aad, { plaintextLength: text.length });
		try {
			const bytes = decipher.update(text);
			decipher.final();
			return bytes;
		} catch {
			return undefined;
		}
	}

	/** CCM* without a tag, which OpenSSL refuses: counter mode from block 1. */
	#counterMode(nonce: Buffer, bytes: Buffer): Buffer {
		const counter = Buffer.alloc(AES_BLOCK_BYTES);
		counter[0] = 14 - nonce.length;
		nonce.copy(counter, 1);
		counter[15] = 1;
		return createCipheriv("aes-128-ctr", this.key, counter).update(bytes);
	}
}

class NodeKeyWrap extends NodeKeyed implements KeyWrap {
	wrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status {
		const { key } = this;
		const bytes = piece(from, fromOffset, byteLength);
		checkRange(into, intoOffset, byteLength + 8);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, byteLength + 8);
		if (byteLength < 16 || byteLength % 8 !== 0) return Status.badLength;
		const cipher = createCipheriv("id-aes128-wrap", key, KEY_WRAP_IV);
		put(into, intoOffset, Buffer.concat([cipher.update(bytes), cipher.final()]));
		return Status.ok;
	}

	unwrap(from: Uint8Array, fromOffset: number, byteLength: number, into: Uint8Array, intoOffset: number): Status {
		const { key } = this;
		const bytes = piece(from, fromOffset, byteLength);
		if (byteLength < 8) return Status.badLength;
		checkRange(into, intoOffset, byteLength - 8);
		checkOverlap(from, fromOffset, byteLength, into, intoOffset, byteLength - 8);
		if (byteLength < 24 || byteLength % 8 !== 0) return Status.badLength;
		try {
			const decipher = createDecipheriv("id-aes128-wrap", key, KEY_WRAP_IV);
			put(into, intoOffset, Buffer.concat([decipher.update(bytes), decipher.final()]));
			return Status.ok;
		} catch {
			into.fill(0, intoOffset, intoOffset + byteLength - 8);
			return Status.badTag;
		}
	}
}

/** The oracle: OpenSSL through node:crypto. Speed and allocation are no concern here. */
export class NodeCrypto implements Crypto {
	sha256(
		data: Uint8Array,
		offset: number,
		byteLength: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): void {
		put(
			into,
			intoOffset,
			createHash("sha256")
				.update(piece(data, offset, byteLength))
				.digest(),
			intoBytes,
		);
	}

	kdf(
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
		if (keyBytes > SHA256_BYTES || contextBytes > KDF_CONTEXT_BYTES_MAX || !(label >= 0 && label <= 255))
			throw new InvariantError("more than one compression takes");
		const padded = Buffer.alloc(SHA256_BYTES);
		piece(key, keyOffset, keyBytes).copy(padded);
		const message = Buffer.concat([padded, Buffer.of(label), piece(context, contextOffset, contextBytes)]);
		put(into, intoOffset, createHash("sha256").update(message).digest(), intoBytes);
	}

	hkdf(
		salt: Uint8Array,
		saltOffset: number,
		saltBytes: number,
		secret: Uint8Array,
		secretOffset: number,
		secretBytes: number,
		info: Uint8Array,
		infoOffset: number,
		infoBytes: number,
		into: Uint8Array,
		intoOffset: number,
		intoBytes: number,
	): Status {
		checkRange(into, intoOffset, intoBytes);
		if (intoBytes > HKDF_BYTES_MAX) return Status.badLength;
		const bytes = hkdfSync(
			"sha256",
			piece(secret, secretOffset, secretBytes),
			piece(salt, saltOffset, saltBytes),
			piece(info, infoOffset, infoBytes),
			intoBytes,
		);
		into.set(new Uint8Array(bytes), intoOffset);
		return Status.ok;
	}

	equal(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number, byteLength: number): boolean {
		return timingSafeEqual(piece(a, aOffset, byteLength), piece(b, bOffset, byteLength));
	}

	createSha256(): Sha256 {
		return new NodeSha256();
	}

	createHmac(): Mac {
		return new NodeHmac();
	}

	createCmac(): Mac {
		return new NodeCmac();
	}

	createAes(): Aes {
		return new NodeAes();
	}

	createGcm(nonceBytes: number, tagBytes: number): Aead {
		checkGcm(nonceBytes, tagBytes);
		return new NodeGcm(nonceBytes, tagBytes);
	}

	createCcm(nonceBytes: number, tagBytes: number): Aead {
		checkCcm(nonceBytes, tagBytes);
		return new NodeCcm(nonceBytes, tagBytes);
	}

	createKeyWrap(): KeyWrap {
		return new NodeKeyWrap();
	}
}
