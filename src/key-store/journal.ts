import { crc32 } from "../bytes/crc.js";
import { InvariantError, Status } from "../bytes/status.js";
import { type Aead, type Crypto, type Mac, NO_BYTES } from "../crypto/crypto.js";
import { DEVICE_KEY_BYTES, type DeviceKey } from "../platform/device-key.js";
import type { NorFlash } from "../platform/flash.js";
import type { SectorRange } from "../storage/layout.js";
import type { Arena } from "./arena.js";
import { Label } from "./labels.js";

/**
 * Key journal, format version 1. One record in a sector; big-endian, programmed in whole blocks of 16 bytes, each once
 * between two erases. A sector is erased, marked, and later used once.
 * | offset | size | field         | unit and range                                                              |
 * |-------:|-----:|---------------|-----------------------------------------------------------------------------|
 * |        |      | **mark**      | programmed when the erase has returned                                      |
 * |      0 |    4 | kind          | "Keys"                                                                      |
 * |      4 |    1 | formatVersion | 1                                                                           |
 * |      5 |    3 | reserved      | 0xFF                                                                        |
 * |      8 |    4 | eraseCount    | erases of this sector, from 1; after damage counted on from the largest     |
 * |     12 |    4 | checksum      | CRC-32 of bytes 0 to 11                                                     |
 * |        |      | **commit**    | programmed last, when the record has read back                              |
 * |     16 |    4 | sequence      | counts records, 1 to 2^32 - 2, never reused after it was committed          |
 * |     20 |    2 | byteLength    | n, of the payload                                                           |
 * |     22 |    1 | payloadVersion | of the payload's own format                                                |
 * |     23 |    1 | reserved      | 0                                                                           |
 * |     24 |    4 | bodyChecksum  | CRC-32 of the record: bytes 32 to 47 + n and their padding                  |
 * |     28 |    4 | checksum      | CRC-32 of kind and bytes 16 to 27                                           |
 * |        |      | **record**    | programmed first                                                            |
 * |     32 |   16 | synthetic     | AES-CMAC of: bytes 16 to 23, 8 zeros, bytes 0 to 7, 8 zeros, payload, zeros |
 * |     48 |    n | sealed        | payload, zeros up to a block's end; AES-CTR as in CCM (RFC 3610), nonce = first 13 B of synthetic |
 */
export const JOURNAL_KIND = 0x4b65_7973; // "Keys"
const FORMAT_VERSION = 1;
const BLOCK = 16;
const COMMIT_AT = 16;
const RECORD_AT = 32;
const PAYLOAD_AT = 48;
const SEQUENCE_MAX = 0xffff_fffe;
const NONCE_BYTES = 13;
/** The journal's buffer in the arena: commit, synthetic, payload. */
const BUFFER_HEAD = 32;
/** What is read at a time. A call costs as much as a hundred bytes one by one. */
const WINDOW_BYTES = 256;

/** What `#inspect` says of a sector. */
const Sector = Object.freeze({
	/** Erased, marked, not yet used. */
	clean: 0,
	/** Never used, or an erase that was not marked as complete. */
	blank: 1,
	/** Committed, both checksums right. */
	record: 2,
	/** Anything else: a torn write or erase, or damage. */
	damaged: 3,
	/** Of a format that this firmware does not know. */
	newer: 4,
} as const);
type Sector = (typeof Sector)[keyof typeof Sector];

/** What happened since construction; they only count up. */
export class JournalCounters {
	commits = 0;
	erases = 0;
	programs = 0;
	bytesProgrammed = 0;
	/** Sectors that `open` found unfinished and erased. */
	erasesFinished = 0;
	/** What did not read back as written; another sector was tried. */
	writeFailures = 0;
	flashFailures = 0;
}

function blocks(byteLength: number): number {
	return Math.ceil(byteLength / BLOCK) * BLOCK;
}

/**
 * The one record of a meter's secrets, in flash sectors of its own. Order of every change (HORA section 10): write the
 * new record into an erased sector, commit it, erase the old record, then act. `open` finishes what a power cut
 * interrupted before anything else. So flash holds the newest record and nothing older, and it is never without one.
 *
 * Records are encrypted and authenticated with a synthetic nonce (the MAC of the plaintext, as in RFC 5297). No counter
 * and no random number takes part, so no power cut can make a nonce repeat: equal nonces mean equal plaintexts.
 * Departs from RFC 5297: one MAC instead of S2V (there is one input), and 13 bytes of it as nonce of CCM's counter mode,
 * because that is what `Crypto` has.
 */
export class Journal {
	readonly counters = new JournalCounters();
	/** Of the record in flash; 0: none. */
	sequence = 0;
	/** Of the payload that `open` found. */
	payloadVersion = 0;
	payloadByteLength = 0;
	/** Where in the arena the payload lies: between `begin` and `finish`, and between `open` and `release`. */
	readonly payload: number;

	readonly #crypto: Crypto;
	readonly #flash: NorFlash;
	readonly #deviceKey: DeviceKey;
	readonly #firstSector: number;
	readonly #sectorCount: number;
	readonly #arena: Arena;
	readonly #buffer: number;
	readonly #bufferBytes: number;
	readonly #keys: number;
	readonly #mac: Mac;
	readonly #cipher: Aead;
	readonly #view: DataView;

	/** Not secret: marks, commits, and a window of what is read back. */
	readonly #block = new Uint8Array(RECORD_AT);
	readonly #blockView = new DataView(this.#block.buffer);
	readonly #window = new Uint8Array(WINDOW_BYTES);
	readonly #synthetic = new Uint8Array(BLOCK);
	/** Of each sector: 1 when it may be written. */
	readonly #clean: Uint8Array;
	#current = -1;
	#eraseCountMax = 0;
	/** The next record's number is larger. */
	#floor = 0;
	/** Of the record that `#inspect` looked at. */
	#seenSequence = 0;
	#seenBytes = 0;
	#seenVersion = 0;
	#opened = false;
	/** Flash holds an unknown mixture: nothing is written until `open` has looked again. */
	#stuck = false;

	/** @param payloadBytesMax largest payload; a later firmware may raise it, never lower it */
	constructor(
		crypto: Crypto,
		flash: NorFlash,
		deviceKey: DeviceKey,
		area: SectorRange,
		arena: Arena,
		payloadBytesMax: number,
	) {
		if (area.sectorCount < 2 || area.firstSector < 0 || area.firstSector + area.sectorCount > flash.sectorCount)
			throw new InvariantError("a key journal needs two sectors or more, inside its flash");
		if (PAYLOAD_AT + blocks(payloadBytesMax) > flash.sectorBytes)
			throw new InvariantError("a record must fit into one sector");
		this.#crypto = crypto;
		this.#flash = flash;
		this.#deviceKey = deviceKey;
		this.#firstSector = area.firstSector;
		this.#sectorCount = area.sectorCount;
		this.#arena = arena;
		this.#bufferBytes = BUFFER_HEAD + blocks(payloadBytesMax);
		this.#buffer = arena.slot(this.#bufferBytes);
		this.#keys = arena.slot(DEVICE_KEY_BYTES + BLOCK);
		this.payload = this.#buffer + BUFFER_HEAD;
		this.#mac = crypto.createCmac();
		this.#cipher = crypto.createCcm(NONCE_BYTES, 0);
		this.#view = new DataView(arena.bytes.buffer, arena.bytes.byteOffset + this.#buffer, this.#bufferBytes);
		this.#clean = new Uint8Array(area.sectorCount);
	}

	/**
	 * First 8 bytes of the record's MAC: with `sequence` it names the state for a witness, and tells nothing of it.
	 * @param into receives 8 bytes; zeros without a record
	 */
	copyHeadTag(into: Uint8Array, offset: number): void {
		for (let i = 0; i < 8; i++) into[offset + i] = this.sequence === 0 ? 0 : this.#synthetic[i]!;
	}

	/**
	 * Finds the newest record, then erases all else. Call it before all else; may be called again.
	 * @returns `ok`: the payload lies at `payload` until `release`; `notFound` when nothing was ever written; `badTag` when there are records and this device key opens
	 * none; `corrupt` when there was something and no record is whole; `badVersion` of a newer firmware; `badLength` when
	 * the record is longer than this journal's. After these nothing is changed. Or the status of the flash.
	 */
	open(): Status {
		this.#opened = false;
		this.#stuck = false;
		this.#clean.fill(0);
		this.sequence = 0;
		this.#current = -1;
		this.#eraseCountMax = 0;
		let damaged = false;
		let newer = false;
		let records = 0;
		for (let ring = 0; ring < this.#sectorCount; ring++) {
			const status = this.#inspect(ring);
			if (status < 0) return Status.corrupt;
			if (status === Sector.damaged) damaged = true;
			else if (status === Sector.newer) newer = true;
			else if (status === Sector.record) records++;
		}
		if (newer) return Status.badVersion;
		if (records === 0) {
			this.#opened = true;
			return damaged ? Status.corrupt : Status.notFound;
		}
		// The newest that opens: a foreign sector among ours does not hide ours.
		let below = SEQUENCE_MAX + 1;
		let failure: Status = Status.badTag;
		for (; records > 0; records--) {
			let newest = -1;
			let sequence = 0;
			for (let ring = 0; ring < this.#sectorCount; ring++) {
				const state = this.#inspect(ring);
				if (state < 0) return Status.corrupt;
				if (state === Sector.record && this.#seenSequence > sequence && this.#seenSequence < below) {
					newest = ring;
					sequence = this.#seenSequence;
				}
			}
			if (newest < 0) break;
			below = sequence;
			const status = this.#load(newest);
			if (status === Status.ok) {
				this.#current = newest;
				this.sequence = sequence;
				break;
			}
			failure = status;
		}
		this.#opened = true;
		if (this.#current < 0) return failure;
		const status = this.#eraseOthers(true);
		if (status !== Status.ok) this.release();
		return status;
	}

	/** Wipes the payload that `open` left. */
	release(): void {
		this.#arena.wipe(this.#buffer, this.#bufferBytes);
	}

	/** Records written from now on have numbers above `sequence`: where a counter outside has gone further than flash. */
	skipTo(sequence: number): void {
		if (sequence > this.#floor) this.#floor = sequence;
	}

	/** First half of a commit: copies the payload to `payload`, to be changed until `finish`. */
	begin(from: number, byteLength: number): void {
		if (!this.#opened) throw new InvariantError("commit before open");
		if (!(byteLength >= 0 && BUFFER_HEAD + byteLength <= this.#bufferBytes))
			throw new InvariantError("payload too long");
		this.#arena.wipe(this.#buffer, this.#bufferBytes);
		this.#arena.copy(this.payload, from, byteLength);
	}

	/**
	 * Replaces the record by what lies at `payload`. When it returns `ok` the new one is durable, has been read back, and
	 * the old one is erased. Cost: one erase, three programs.
	 * @param byteLength not less than `begin` was given
	 * @returns `ok`; `storageFull` after 2^32 - 2 records; `corrupt` or the status of the flash: then flash holds the old
	 * record or the new one, the caller does not act, and nothing is written until `open`
	 */
	finish(byteLength: number, payloadVersion: number): Status {
		if (!(BUFFER_HEAD + byteLength <= this.#bufferBytes)) throw new InvariantError("payload too long");
		const status = this.#write(byteLength, payloadVersion);
		this.#arena.wipe(this.#buffer, this.#bufferBytes);
		if (status !== Status.ok) this.#stuck = true;
		return status;
	}

	/** Erases every sector, whatever is in it. Not atomic: a caller that has a record replaces it by an empty one first. */
	eraseAll(): Status {
		this.#opened = true;
		this.#stuck = false;
		this.#current = -1;
		this.sequence = 0;
		return this.#eraseOthers(false);
	}

	#write(byteLength: number, payloadVersion: number): Status {
		if (this.#stuck) return Status.corrupt;
		const last = this.sequence > this.#floor ? this.sequence : this.#floor;
		if (last >= SEQUENCE_MAX) return Status.storageFull;
		const sequence = last + 1;
		const bodyBytes = BLOCK + blocks(byteLength);
		const view = this.#view;
		view.setUint32(0, sequence);
		view.setUint16(4, byteLength);
		view.setUint8(6, payloadVersion);
		this.#seal(byteLength);
		const bytes = this.#arena.bytes;
		view.setUint32(8, crc32(bytes, this.#buffer + BLOCK, bodyBytes));
		view.setUint32(12, this.#commitChecksum(bytes, this.#buffer));

		let ring = -1;
		for (let step = 1; step <= this.#sectorCount && ring < 0; step++) {
			const next = (this.#current + step) % this.#sectorCount;
			if (next === this.#current) continue;
			// A sector that did not keep a mark, in this or an earlier attempt, gets another try only by `open`.
			if (this.#clean[next] === 0) continue;
			this.#clean[next] = 0;
			const address = this.#addressOf(next);
			if (!this.#put(address + RECORD_AT, this.#buffer + BLOCK, bodyBytes)) {
				this.counters.writeFailures++;
				continue;
			}
			if (!this.#put(address + COMMIT_AT, this.#buffer, BLOCK)) {
				// It may read as good one day: it must go before another is written.
				this.counters.writeFailures++;
				const status = this.#eraseSector(next);
				if (status !== Status.ok) return status;
				continue;
			}
			ring = next;
		}
		if (ring < 0) return Status.corrupt;
		const old = this.#current;
		this.#current = ring;
		this.sequence = sequence;
		for (let i = 0; i < BLOCK; i++) this.#synthetic[i] = bytes[this.#buffer + BLOCK + i]!;
		this.counters.commits++;
		return old < 0 ? this.#eraseOthers(true) : this.#eraseSector(old);
	}

	/** Erases and marks every sector but the current one; with `onlyNeeded`, those that are not clean. */
	#eraseOthers(onlyNeeded: boolean): Status {
		let failure: Status = Status.ok;
		for (let ring = 0; ring < this.#sectorCount; ring++) {
			if (ring === this.#current) continue;
			if (onlyNeeded) {
				const state = this.#inspect(ring);
				if (state === Sector.clean) {
					this.#clean[ring] = 1;
					continue;
				}
				if (state !== Sector.blank) this.counters.erasesFinished++;
			}
			const status = this.#eraseSector(ring);
			if (status !== Status.ok) failure = status;
		}
		if (failure !== Status.ok) this.#stuck = true;
		return failure;
	}

	/** Erases and marks. A sector that does not keep the mark holds nothing and is left out from then on. */
	#eraseSector(ring: number): Status {
		this.#clean[ring] = 0;
		this.counters.erases++;
		const count = ++this.#eraseCountMax;
		const status = this.#flash.erase(this.#firstSector + ring);
		if (status !== Status.ok) {
			this.counters.flashFailures++;
			return status;
		}
		if (!this.#isBlank(ring, 0, this.#flash.sectorBytes)) return Status.corrupt;
		const view = this.#blockView;
		this.#block.fill(0xff);
		view.setUint32(0, JOURNAL_KIND);
		view.setUint8(4, FORMAT_VERSION);
		view.setUint32(8, count);
		view.setUint32(12, crc32(this.#block, 0, 12));
		this.counters.programs++;
		this.counters.bytesProgrammed += BLOCK;
		const address = this.#addressOf(ring);
		const programmed = this.#flash.program(address, this.#block, BLOCK);
		if (
			programmed === Status.ok &&
			this.#flash.read(address, this.#window, BLOCK) === Status.ok &&
			this.#crypto.equal(this.#window, 0, this.#block, 0, BLOCK)
		) {
			this.#clean[ring] = 1;
			return Status.ok;
		}
		this.counters.writeFailures++;
		return Status.ok;
	}

	/** Programs bytes of the arena in one call and reads them back. */
	#put(address: number, from: number, byteLength: number): boolean {
		const { bytes } = this.#arena;
		const window = this.#window;
		this.counters.programs++;
		this.counters.bytesProgrammed += byteLength;
		const part = bytes.subarray(from, from + byteLength); // a view: what it shows is sealed already
		if (this.#flash.program(address, part, byteLength) !== Status.ok) {
			this.counters.flashFailures++;
			return false;
		}
		for (let done = 0; done < byteLength; done += window.length) {
			const count = byteLength - done < window.length ? byteLength - done : window.length;
			if (this.#flash.read(address + done, window, count) !== Status.ok) return false;
			if (!this.#crypto.equal(window, 0, bytes, from + done, count)) return false;
		}
		return true;
	}

	#addressOf(ring: number): number {
		return (this.#firstSector + ring) * this.#flash.sectorBytes;
	}

	#isBlank(ring: number, from: number, to: number): boolean {
		const address = this.#addressOf(ring);
		const window = this.#window;
		for (let at = from; at < to; at += window.length) {
			const count = to - at < window.length ? to - at : window.length;
			if (this.#flash.read(address + at, window, count) !== Status.ok) return false;
			// The first is, and each is as the one before it.
			if (window[0] !== 0xff || !this.#crypto.equal(window, 0, window, 1, count - 1)) return false;
		}
		return true;
	}

	/** CRC-32 of the kind and the first 12 bytes at `offset`. */
	#commitChecksum(bytes: Uint8Array, offset: number): number {
		const kind = this.#window;
		for (let i = 0; i < 4; i++) kind[i] = JOURNAL_KIND >>> (24 - 8 * i);
		return crc32(bytes, offset, 12, crc32(kind, 0, 4));
	}

	/** @returns a `Sector`, or -1 when flash cannot be read */
	#inspect(ring: number): Sector | -1 {
		const address = this.#addressOf(ring);
		const view = this.#blockView;
		const { sectorBytes } = this.#flash;
		if (this.#flash.read(address, this.#block, RECORD_AT) !== Status.ok) {
			this.counters.flashFailures++;
			return -1;
		}
		if (view.getUint32(0) !== JOURNAL_KIND || view.getUint32(12) !== crc32(this.#block, 0, 12))
			return this.#isBlank(ring, 0, sectorBytes) ? Sector.blank : Sector.damaged;
		if (view.getUint8(4) !== FORMAT_VERSION) return Sector.newer;
		const eraseCount = view.getUint32(8);
		if (eraseCount > this.#eraseCountMax) this.#eraseCountMax = eraseCount;
		const byteLength = view.getUint16(COMMIT_AT + 4);
		const bodyBytes = BLOCK + blocks(byteLength);
		if (view.getUint32(COMMIT_AT + 12) === this.#commitChecksum(this.#block, COMMIT_AT)) {
			if (RECORD_AT + bodyBytes > sectorBytes) return Sector.damaged;
			const window = this.#window;
			let checksum = 0;
			for (let done = 0; done < bodyBytes; done += window.length) {
				const count = bodyBytes - done < window.length ? bodyBytes - done : window.length;
				if (this.#flash.read(address + RECORD_AT + done, window, count) !== Status.ok) return -1;
				checksum = crc32(window, 0, count, checksum);
			}
			if (checksum !== view.getUint32(COMMIT_AT + 8)) return Sector.damaged;
			this.#seenSequence = view.getUint32(COMMIT_AT);
			this.#seenBytes = byteLength;
			this.#seenVersion = view.getUint8(COMMIT_AT + 6);
			return Sector.record;
		}
		return this.#isBlank(ring, BLOCK, sectorBytes) ? Sector.clean : Sector.damaged;
	}

	/** Reads, opens and checks one record, which stays in the buffer after `ok`. */
	#load(ring: number): Status {
		if (this.#inspect(ring) !== Sector.record) return Status.corrupt;
		const byteLength = this.#seenBytes;
		const bodyBytes = BLOCK + blocks(byteLength);
		if (BLOCK + bodyBytes > this.#bufferBytes) return Status.badLength;
		const { bytes } = this.#arena;
		const address = this.#addressOf(ring) + RECORD_AT;
		const window = this.#window;
		for (let done = 0; done < bodyBytes; done += window.length) {
			const count = bodyBytes - done < window.length ? bodyBytes - done : window.length;
			if (this.#flash.read(address + done, window, count) !== Status.ok) return Status.corrupt;
			bytes.set(count < window.length ? window.subarray(0, count) : window, this.#buffer + BLOCK + done);
		}
		for (let i = 0; i < 8; i++) bytes[this.#buffer + i] = this.#block[COMMIT_AT + i]!;
		for (let i = 0; i < BLOCK; i++) this.#synthetic[i] = bytes[this.#buffer + BLOCK + i]!;
		const status = this.#unseal(byteLength);
		if (status === Status.ok) {
			this.payloadByteLength = byteLength;
			this.payloadVersion = this.#seenVersion;
		} else this.release();
		return status;
	}

	/** Keys both ciphers from the device key, which is wiped. */
	#setKeys(): void {
		const { bytes } = this.#arena;
		const crypto = this.#crypto;
		const device = this.#keys;
		const key = device + DEVICE_KEY_BYTES;
		this.#deviceKey.copyTo(bytes, device);
		crypto.kdf(bytes, device, DEVICE_KEY_BYTES, Label.journalMac, NO_BYTES, 0, 0, bytes, key, BLOCK);
		this.#mac.setKey(bytes, key, BLOCK);
		crypto.kdf(bytes, device, DEVICE_KEY_BYTES, Label.journalCipher, NO_BYTES, 0, 0, bytes, key, BLOCK);
		this.#cipher.setKey(bytes, key);
		this.#arena.wipe(device, DEVICE_KEY_BYTES + BLOCK);
	}

	#forgetKeys(): void {
		this.#mac.close();
		this.#cipher.close();
	}

	/** Buffer bytes 8 to 31 as the MAC takes them: zeros, kind and format, zeros. */
	#setMacHeader(): void {
		const view = this.#view;
		for (let i = 8; i < BUFFER_HEAD; i += 4) view.setUint32(i, 0);
		view.setUint32(16, JOURNAL_KIND);
		view.setUint32(20, FORMAT_VERSION * 0x100_0000 + 0xff_ffff);
	}

	/** Puts the synthetic block over bytes 16 to 31 of the buffer and encrypts the payload behind it, in place. */
	#seal(byteLength: number): void {
		const { bytes } = this.#arena;
		const synthetic = this.#buffer + BLOCK;
		const textBytes = blocks(byteLength);
		this.#setKeys();
		this.#setMacHeader();
		this.#mac.sign(bytes, this.#buffer, BUFFER_HEAD + textBytes, bytes, synthetic, BLOCK);
		this.#crypt(synthetic, textBytes);
		this.#forgetKeys();
	}

	#unseal(byteLength: number): Status {
		const { bytes } = this.#arena;
		const textBytes = blocks(byteLength);
		this.#setKeys();
		this.#crypt(this.#buffer + BLOCK, textBytes);
		this.#setMacHeader();
		const status = this.#mac.verify(bytes, this.#buffer, BUFFER_HEAD + textBytes, this.#synthetic, 0, BLOCK);
		this.#forgetKeys();
		return status;
	}

	/** Counter mode is its own inverse. */
	#crypt(synthetic: number, textBytes: number): void {
		const { bytes } = this.#arena;
		const text = this.#buffer + BUFFER_HEAD;
		const status = this.#cipher.seal(bytes, synthetic, NO_BYTES, 0, 0, bytes, text, textBytes, bytes, text);
		if (status !== Status.ok) throw new InvariantError("record too long for its cipher");
	}
}
