import { InvariantError, Status } from "../bytes/status.js";
import { type Crypto, checkRange, SHA256_BYTES, type Sha256 } from "./crypto.js";

/**
 * LMS signatures: hash-based, so quantum computers do not break them; stateful, so a signer must never use a leaf twice
 * (test-harness/signer keeps that state). Only verification is here, and only of a single tree (an HSS of one level
 * without its level count), with SHA-256 (n = m = 32) or SHA-256/192 (n = m = 24) and w = 4 or 8.
 *
 * LMS public key: 24 + m bytes, big-endian.
 * | offset | size | field       | unit and range                                                        |
 * |-------:|-----:|-------------|-----------------------------------------------------------------------|
 * |      0 |    4 | lmsType     | m = 32: 5 to 9 for h = 5, 10, 15, 20, 25; m = 24: 10 to 14             |
 * |      4 |    4 | lmotsType   | n = 32: 3 for w = 4, 4 for w = 8; n = 24: 7 for w = 4, 8 for w = 8     |
 * |      8 |   16 | identifier  | I: random, of this key alone                                          |
 * |     24 |    m | root        | T[1]                                                                  |
 *
 * LMS signature: 12 + n + p n + h m bytes; p = 67 (n 32, w 4), 34 (n 32, w 8), 51 (n 24, w 4), 26 (n 24, w 8).
 * | offset            | size | field      | unit and range                                 |
 * |------------------:|-----:|------------|------------------------------------------------|
 * |                 0 |    4 | leaf       | q: 0 to 2^h - 1                                |
 * |                 4 |    4 | lmotsType  | that of the key                                |
 * |                 8 |    n | randomizer | C                                              |
 * |             8 + n |  p n | chains     | y[0] to y[p - 1]                               |
 * |       8 + n + p n |    4 | lmsType    | that of the key                                |
 * |      12 + n + p n |  h m | path       | the sibling of each node, from the leaf upwards |
 * @see RFC 8554 sections 4 and 5, SP 800-208 section 4, RFC 9858
 */
export const LMS_IDENTIFIER_BYTES = 16;
export const LMS_PUBLIC_KEY_BYTES_MAX = 24 + SHA256_BYTES;
/** h = 25, w = 4, n = 32. */
export const LMS_SIGNATURE_BYTES_MAX = 12 + 32 + 67 * 32 + 25 * 32;

/** Where the root of the tree and the like begin in what is hashed: I, then a node or leaf number, then a kind. */
const NUMBER_AT = LMS_IDENTIFIER_BYTES;
const KIND_AT = NUMBER_AT + 4;
const BODY_AT = KIND_AT + 2;
const D_PBLC = 0x8080;
const D_MESG = 0x8181;
const D_LEAF = 0x8282;
const D_INTR = 0x8383;
/** A chain step: I, q, number of the chain 2, step 1, value. */
const STEP_AT = KIND_AT + 2;
const VALUE_AT = STEP_AT + 1;

/** Which part of a signature comes next. */
const Part = Object.freeze({ none: 0, message: 1, chains: 2, type: 3, path: 4, end: 5, refused: 6 } as const);
type Part = (typeof Part)[keyof typeof Part];

/** Compressions of SHA-256 for so many bytes. */
function compressionsOf(byteLength: number): number {
	return Math.ceil((byteLength + 9) / 64);
}

/**
 * Verifies signatures of one public key, streaming over the message first and then over the signature, so neither needs
 * to be in memory as a whole: `begin` with the first `headBytes` of the signature, `message` as often as is wanted,
 * `signature` with the rest in pieces of any length, `finish`. About 300 bytes, made once; nothing is allocated later.
 *
 * Nothing here is secret, so nothing is constant in time. The work is bounded by the key's parameters whatever the
 * signature says: `compressionsMax`. What was spent is in `compressions`.
 */
export class LmsVerifier {
	/** Calls of the SHA-256 compression function since `begin`. */
	compressions = 0;
	readonly #crypto: Crypto;
	readonly #hash: Sha256;
	readonly #root = new Uint8Array(SHA256_BYTES);
	/** I at its start always; what is hashed is built behind it: at most I, 4, 2 and two nodes. */
	readonly #block = new Uint8Array(BODY_AT + 2 * SHA256_BYTES);
	readonly #view = new DataView(this.#block.buffer);
	/** Q and its checksum, from which the steps of the chains are read. */
	readonly #digits = new Uint8Array(SHA256_BYTES + 2);
	/** The piece of the signature that is being taken in: a chain value, a type, a node. */
	readonly #piece = new Uint8Array(SHA256_BYTES);
	#pieceBytes = 0;
	#lmsType = 0;
	#lmotsType = 0;
	#hashBytes = 0;
	#height = 0;
	#width = 0;
	#chainCount = 0;
	#part: Part = Part.none;
	/** Chain or level that comes next. */
	#index = 0;
	#leaf = 0;
	#node = 0;
	#messageBytes = 0;

	constructor(crypto: Crypto) {
		this.#crypto = crypto;
		this.#hash = crypto.createSha256();
	}

	/**
	 * Takes the key in. Until it was `ok` nothing verifies.
	 * @returns `ok`, `unsupported` for types that are not above or do not fit together, or `badLength`
	 */
	setPublicKey(key: Uint8Array, offset: number, byteLength: number): Status {
		checkRange(key, offset, byteLength);
		this.#part = Part.none;
		this.#hashBytes = 0;
		if (byteLength < 24) return Status.badLength; // LMS-1
		const lmsType = readUint32(key, offset);
		const lmotsType = readUint32(key, offset + 4);
		if (lmsType < 5 || lmsType > 14) return Status.unsupported; // LMS-2
		const hashBytes = lmsType < 10 ? 32 : 24;
		const isWide = lmotsType === (hashBytes === 32 ? 4 : 8);
		if (!isWide && lmotsType !== (hashBytes === 32 ? 3 : 7)) return Status.unsupported; // LMS-3
		if (byteLength !== 24 + hashBytes) return Status.badLength; // LMS-4
		this.#lmsType = lmsType;
		this.#lmotsType = lmotsType;
		this.#hashBytes = hashBytes;
		this.#height = 5 * (lmsType < 10 ? lmsType - 4 : lmsType - 9);
		this.#width = isWide ? 8 : 4;
		// RFC 8554 table 1: digits of the hash, and 2 (w = 8) or 3 (w = 4) of its checksum
		this.#chainCount = isWide ? hashBytes + 2 : 2 * hashBytes + 3;
		for (let i = 0; i < LMS_IDENTIFIER_BYTES; i++) this.#block[i] = key[offset + 8 + i]!;
		for (let i = 0; i < hashBytes; i++) this.#root[i] = key[offset + 24 + i]!;
		return Status.ok;
	}

	get hasKey(): boolean {
		return this.#hashBytes !== 0;
	}

	/** Whether 16 bytes are the identifier of the key. */
	isIdentifier(bytes: Uint8Array, offset: number): boolean {
		return this.hasKey && this.#crypto.equal(bytes, offset, this.#block, 0, LMS_IDENTIFIER_BYTES);
	}

	/** Bytes of the signature that `begin` wants. */
	get headBytes(): number {
		return 8 + this.#hashBytes;
	}

	/** Bytes of every signature of the key; 0 without a key. */
	get signatureBytes(): number {
		return this.hasKey ? 12 + (1 + this.#chainCount + this.#height) * this.#hashBytes : 0;
	}

	/** Compressions of one verification at most, besides those of the message itself. */
	get compressionsMax(): number {
		const steps = (1 << this.#width) - 1;
		const keyBytes = BODY_AT + this.#chainCount * this.#hashBytes;
		const nodeBytes = BODY_AT + 2 * this.#hashBytes;
		return this.#chainCount * steps + compressionsOf(keyBytes) + 1 + this.#height * compressionsOf(nodeBytes);
	}

	/**
	 * Begins a verification with the first `headBytes` of a signature: leaf, type, randomizer.
	 * @returns `ok`; `notFound` without a key; `badValue` for a leaf outside the tree; `unsupported` for another type
	 */
	begin(signature: Uint8Array, offset: number): Status {
		this.compressions = 0;
		this.#part = Part.none;
		if (!this.hasKey) return Status.notFound; // LMS-5
		checkRange(signature, offset, this.headBytes);
		const leaf = readUint32(signature, offset);
		if (readUint32(signature, offset + 4) !== this.#lmotsType) return Status.unsupported; // LMS-6
		if (leaf >= 2 ** this.#height) return Status.badValue; // LMS-7
		this.#leaf = leaf;
		this.#part = Part.message;
		this.#pieceBytes = 0;
		this.#messageBytes = 0;
		this.#prefix(leaf, D_MESG);
		this.#hash.reset();
		this.#hash.update(this.#block, 0, BODY_AT);
		this.#hash.update(signature, offset + 8, this.#hashBytes);
		return Status.ok;
	}

	/** A piece of the signed message. */
	message(data: Uint8Array, offset: number, byteLength: number): void {
		if (this.#part !== Part.message) throw new InvariantError("the message comes before the signature");
		this.#hash.update(data, offset, byteLength);
		this.#messageBytes += byteLength;
	}

	/**
	 * What follows in the signature behind its first `headBytes`, in pieces of any length; the first ends the message.
	 * A piece of n bytes costs at most 2^w - 1 compressions, or 15 for w = 4.
	 * @returns `ok`, `badLength` for more than a signature has, `unsupported` for another type
	 */
	signature(data: Uint8Array, offset: number, byteLength: number): Status {
		checkRange(data, offset, byteLength);
		if (this.#part === Part.message) this.#endMessage();
		for (let i = 0; i < byteLength; i++) {
			if (this.#part < Part.chains || this.#part > Part.path) return this.#refuse(Status.badLength); // LMS-8
			this.#piece[this.#pieceBytes++] = data[offset + i]!;
			if (this.#pieceBytes < (this.#part === Part.type ? 4 : this.#hashBytes)) continue;
			this.#pieceBytes = 0;
			if (this.#part === Part.chains) this.#endChain();
			else if (this.#part === Part.path) this.#climb();
			else if (readUint32(this.#piece, 0) !== this.#lmsType)
				return this.#refuse(Status.unsupported); // LMS-9
			else this.#part = Part.path;
		}
		return Status.ok;
	}

	/** @returns `ok`: the signature is that of the message; `badTag`: it is not; `badLength`: it is not whole */
	finish(): Status {
		const part = this.#part;
		this.#part = Part.none;
		if (part !== Part.end) return Status.badLength; // LMS-10
		const isRight = this.#crypto.equal(this.#piece, 0, this.#root, 0, this.#hashBytes);
		return isRight ? Status.ok : Status.badTag; // LMS-11
	}

	/** All of it at once. */
	verify(
		message: Uint8Array,
		messageOffset: number,
		messageBytes: number,
		signature: Uint8Array,
		signatureOffset: number,
		signatureBytes: number,
	): Status {
		checkRange(signature, signatureOffset, signatureBytes);
		if (!this.hasKey) return Status.notFound;
		if (signatureBytes !== this.signatureBytes) return Status.badLength; // LMS-12
		let status = this.begin(signature, signatureOffset);
		if (status !== Status.ok) return status;
		this.message(message, messageOffset, messageBytes);
		const headBytes = this.headBytes;
		status = this.signature(signature, signatureOffset + headBytes, signatureBytes - headBytes);
		return status === Status.ok ? this.finish() : status;
	}

	#refuse(status: Status): Status {
		this.#part = Part.refused;
		return status;
	}

	/** I is there already. */
	#prefix(number: number, kind: number): void {
		this.#view.setUint32(NUMBER_AT, number);
		this.#view.setUint16(KIND_AT, kind);
	}

	/** Q, its checksum, and the hash of the one-time key begun. @see RFC 8554 sections 4.4 and 4.6 */
	#endMessage(): void {
		const n = this.#hashBytes;
		const digits = this.#digits;
		this.#hash.digest(digits, 0, n);
		this.compressions += compressionsOf(BODY_AT + n + this.#messageBytes);
		const most = (1 << this.#width) - 1;
		let sum = 0;
		const count = (n * 8) / this.#width;
		for (let i = 0; i < count; i++) sum += most - this.#digit(i);
		// Shifted left (ls of table 1) so that the three digits of w = 4 begin at its first bit.
		if (this.#width === 4) sum <<= 4;
		digits[n] = sum >> 8;
		digits[n + 1] = sum & 0xff;
		this.#prefix(this.#leaf, D_PBLC);
		this.#hash.update(this.#block, 0, BODY_AT);
		this.#index = 0;
		this.#part = Part.chains;
	}

	/** coef of RFC 8554 section 3.1.3, for w = 8 and w = 4. */
	#digit(index: number): number {
		if (this.#width === 8) return this.#digits[index]!;
		const byte = this.#digits[index >> 1]!;
		return (index & 1) === 0 ? byte >> 4 : byte & 15;
	}

	/** From y to the end of its chain: one compression a step. */
	#endChain(): void {
		const n = this.#hashBytes;
		const block = this.#block;
		const crypto = this.#crypto;
		const last = (1 << this.#width) - 1;
		let step = this.#digit(this.#index);
		this.compressions += last - step;
		this.#prefix(this.#leaf, this.#index);
		for (let i = 0; i < n; i++) block[VALUE_AT + i] = this.#piece[i]!;
		for (; step < last; step++) {
			block[STEP_AT] = step;
			crypto.sha256(block, 0, VALUE_AT + n, block, VALUE_AT, n);
		}
		this.#hash.update(block, VALUE_AT, n);
		if (++this.#index < this.#chainCount) return;
		this.#hash.digest(block, BODY_AT, n);
		this.compressions += compressionsOf(BODY_AT + this.#chainCount * n);
		this.#node = 2 ** this.#height + this.#leaf;
		this.#prefix(this.#node, D_LEAF);
		crypto.sha256(block, 0, BODY_AT + n, this.#piece, 0, n);
		this.compressions++;
		this.#keep();
		this.#index = 0;
		this.#part = Part.type;
	}

	/** The node so far is kept where the digits were: they are of no more use. */
	#keep(): void {
		for (let i = 0; i < this.#hashBytes; i++) this.#digits[i] = this.#piece[i]!;
	}

	/** From a node and its sibling, which is in `#piece`, to their parent. @see RFC 8554 section 5.4.2 */
	#climb(): void {
		const n = this.#hashBytes;
		const block = this.#block;
		const isRight = (this.#node & 1) === 1;
		const ownAt = isRight ? BODY_AT + n : BODY_AT;
		const siblingAt = isRight ? BODY_AT : BODY_AT + n;
		for (let i = 0; i < n; i++) {
			block[ownAt + i] = this.#digits[i]!;
			block[siblingAt + i] = this.#piece[i]!;
		}
		this.#node >>>= 1;
		this.#prefix(this.#node, D_INTR);
		this.#crypto.sha256(block, 0, BODY_AT + 2 * n, this.#piece, 0, n);
		this.compressions += compressionsOf(BODY_AT + 2 * n);
		this.#keep();
		if (++this.#index === this.#height) this.#part = Part.end;
	}
}

function readUint32(bytes: Uint8Array, offset: number): number {
	return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0;
}
