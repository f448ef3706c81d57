import { crc32 } from "../bytes/crc.js";
import { Status } from "../bytes/status.js";
import type { Crypto, Sha256 } from "../crypto/crypto.js";
import { LMS_SIGNATURE_BYTES_MAX, type LmsVerifier } from "../crypto/lms.js";
import {
	BODY_DIGEST_BYTES,
	createManifest,
	decodeManifest,
	MANIFEST_BYTES,
	UPDATE_BLOCK_BYTES,
} from "../messages/firmware-update.js";
import type { NorFlash } from "../platform/flash.js";
import { FIRMWARE_A_SECTORS, FIRMWARE_B_SECTORS, SECTOR_BYTES, type SectorRange } from "../storage/layout.js";
import { SLOT_A, SLOT_B } from "./journal.js";

/**
 * Firmware area, version 1: 96 sectors.
 * | sectors | holds                                                                                          |
 * |---------|------------------------------------------------------------------------------------------------|
 * | 0       | manifest (72 bytes), its LMS signature, 0xFF; at 4080 the head mark, which commits them         |
 * | 1-4     | marks of the transfer: 1 024 of 16 bytes, one after the other                                   |
 * | 5-95    | body, from the first byte on: bytecode runs in place                                           |
 *
 * Head mark: 16 bytes, big-endian.
 * | offset | size | field          | unit and range                                                           |
 * |-------:|-----:|----------------|--------------------------------------------------------------------------|
 * |      0 |    4 | magic          | "Slot"                                                                   |
 * |      4 |    2 | signatureBytes | 1 to 2 988                                                               |
 * |      6 |    2 | reserved       | 0xFFFF                                                                   |
 * |      8 |    4 | imageId        | first 4 bytes of SHA-256 of the manifest                                 |
 * |     12 |    4 | checksum       | CRC-32 of manifest, signature and bytes 0 to 11                          |
 *
 * Mark of the transfer: 16 bytes, big-endian. What a mark says holds until a later one of its sector says otherwise.
 * | offset | size | field    | unit and range                                                                     |
 * |-------:|-----:|----------|------------------------------------------------------------------------------------|
 * |      0 |    1 | kind     | 1: the sector is going to be erased; 2: it was erased; 3: the block was written     |
 * |      1 |    1 | reserved | 0xFF                                                                               |
 * |      2 |    2 | index    | of the sector in the body, or of the block                                         |
 * |      4 |    4 | imageId  |                                                                                    |
 * |      8 |    4 | reserved | 0xFF                                                                               |
 * |     12 |    4 | checksum | CRC-32 of bytes 0 to 11                                                            |
 */
export const MARK_SECTORS = 4;
export const BODY_SECTOR = 1 + MARK_SECTORS;
export const MARK_BYTES = 16;
export const HEAD_MARK_AT = SECTOR_BYTES - MARK_BYTES;
const HEAD_MAGIC = 0x536c_6f74;
export const BLOCKS_IN_SECTOR = SECTOR_BYTES / UPDATE_BLOCK_BYTES;

/** One of the two areas of firmware in flash: its head, and the check of all of it. */
export class FirmwareSlot {
	/** After `readHead` was `ok`. */
	readonly manifest = createManifest();
	imageId = 0;
	signatureBytes = 0;
	readonly #flash: NorFlash;
	readonly #area: SectorRange;
	/** Scratch, shared with whoever made the slot: 512 bytes. */
	readonly #buffer: Uint8Array;
	readonly #view: DataView;

	/** @param slot 1 or 2 @param buffer 512 bytes, used only during calls */
	constructor(flash: NorFlash, slot: number, buffer: Uint8Array) {
		this.#flash = flash;
		this.#area = slot === SLOT_A ? FIRMWARE_A_SECTORS : FIRMWARE_B_SECTORS;
		this.#buffer = buffer;
		this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
	}

	/** Whether the flash is large enough to have it, and of the sectors that the plan is for. */
	get exists(): boolean {
		const { firstSector, sectorCount } = this.#area;
		return firstSector + sectorCount <= this.#flash.sectorCount && this.#flash.sectorBytes === SECTOR_BYTES;
	}

	/** Number in flash of a sector of the area. */
	sector(index: number): number {
		return this.#area.firstSector + index;
	}

	/** Address in flash of a byte of the area. */
	address(sector: number, offset: number): number {
		return (this.#area.firstSector + sector) * SECTOR_BYTES + offset;
	}

	get bodyAddress(): number {
		return this.address(BODY_SECTOR, 0);
	}

	get bodyBytesMax(): number {
		return (this.#area.sectorCount - BODY_SECTOR) * SECTOR_BYTES;
	}

	/** Writes a head into a first sector that is erased. @returns `ok`: it is committed, and reads back */
	writeHead(manifest: Uint8Array, signature: Uint8Array, signatureBytes: number, imageId: number): Status {
		const buffer = this.#buffer;
		let checksum = crc32(manifest, 0, MANIFEST_BYTES);
		checksum = crc32(signature, 0, signatureBytes, checksum);
		const byteLength = MANIFEST_BYTES + signatureBytes;
		for (let done = 0; done < byteLength; done += buffer.length) {
			const count = Math.min(buffer.length, byteLength - done);
			const padded = Math.ceil(count / MARK_BYTES) * MARK_BYTES;
			buffer.fill(0xff, count, padded);
			for (let i = 0; i < count; i++) {
				const at = done + i;
				buffer[i] = at < MANIFEST_BYTES ? manifest[at]! : signature[at - MANIFEST_BYTES]!;
			}
			const status = this.#flash.program(this.address(0, done), buffer, padded);
			if (status !== Status.ok) return status;
		}
		const view = this.#view;
		view.setUint32(0, HEAD_MAGIC);
		view.setUint16(4, signatureBytes);
		view.setUint16(6, 0xffff);
		view.setUint32(8, imageId);
		view.setUint32(12, crc32(buffer, 0, 12, checksum));
		const status = this.#flash.program(this.address(0, HEAD_MARK_AT), buffer, MARK_BYTES);
		if (status !== Status.ok) return status;
		return this.readHead();
	}

	/** @returns `ok`; `notFound` when none was committed; `badChecksum`; what `decodeManifest` says */
	readHead(): Status {
		const buffer = this.#buffer;
		const view = this.#view;
		if (!this.exists) return Status.notFound;
		let status = this.#flash.read(this.address(0, HEAD_MARK_AT), buffer, MARK_BYTES);
		if (status !== Status.ok) return status;
		const signatureBytes = view.getUint16(4);
		if (view.getUint32(0) !== HEAD_MAGIC) return Status.notFound; // UPS-1
		if (signatureBytes < 1 || signatureBytes > LMS_SIGNATURE_BYTES_MAX) return Status.badChecksum; // UPS-2
		const imageId = view.getUint32(8);
		const wanted = view.getUint32(12);
		let checksum = 0;
		const byteLength = MANIFEST_BYTES + signatureBytes;
		for (let done = 0; done < byteLength; done += buffer.length) {
			const count = Math.min(buffer.length, byteLength - done);
			status = this.#flash.read(this.address(0, done), buffer, count);
			if (status !== Status.ok) return status;
			checksum = crc32(buffer, 0, count, checksum);
		}
		status = this.#flash.read(this.address(0, HEAD_MARK_AT), buffer, MARK_BYTES);
		if (status !== Status.ok) return status;
		if (crc32(buffer, 0, 12, checksum) !== wanted) return Status.badChecksum; // UPS-3
		status = this.#flash.read(this.address(0, 0), buffer, MANIFEST_BYTES);
		if (status !== Status.ok) return status;
		status = decodeManifest(view, 0, this.manifest);
		if (status !== Status.ok) return status;
		if (this.manifest.bodyBytes > this.bodyBytesMax) return Status.storageFull; // UPS-4
		this.imageId = imageId;
		this.signatureBytes = signatureBytes;
		return Status.ok;
	}

	/** Verifies the signature in flash. After `readHead`. */
	checkSignature(verifier: LmsVerifier): Status {
		const buffer = this.#buffer;
		if (!verifier.isIdentifier(this.manifest.keyIdentifier, 0)) return Status.notAuthorised; // UPS-5
		if (this.signatureBytes !== verifier.signatureBytes) return Status.badLength; // UPS-6
		const headBytes = verifier.headBytes;
		let status = this.#flash.read(this.address(0, 0), buffer, MANIFEST_BYTES + headBytes);
		if (status !== Status.ok) return status;
		status = verifier.begin(buffer, MANIFEST_BYTES);
		if (status !== Status.ok) return status;
		verifier.message(buffer, 0, MANIFEST_BYTES);
		for (let done = headBytes; done < this.signatureBytes; done += buffer.length) {
			const count = Math.min(buffer.length, this.signatureBytes - done);
			status = this.#flash.read(this.address(0, MANIFEST_BYTES + done), buffer, count);
			if (status === Status.ok) status = verifier.signature(buffer, 0, count);
			if (status !== Status.ok) return status;
		}
		return verifier.finish();
	}

	/** Takes the next part of the body into the hash. @returns bytes taken, 0 when flash fails */
	hashPart(hash: Sha256, offset: number): number {
		const count = Math.min(this.#buffer.length, this.manifest.bodyBytes - offset);
		if (this.#flash.read(this.bodyAddress + offset, this.#buffer, count) !== Status.ok) return 0;
		hash.update(this.#buffer, 0, count);
		return count;
	}

	/** Ends the hash of the body. @returns `ok`: it is the one that was signed; else `corrupt` */
	endHash(hash: Sha256, crypto: Crypto): Status {
		hash.digest(this.#buffer, 0, BODY_DIGEST_BYTES);
		const isRight = crypto.equal(this.#buffer, 0, this.manifest.bodyDigest, 0, BODY_DIGEST_BYTES);
		return isRight ? Status.ok : Status.corrupt; // UPS-7
	}

	/** Hashes the whole body at once: for boot loaders. After `readHead`. */
	checkBody(hash: Sha256, crypto: Crypto): Status {
		hash.reset();
		for (let done = 0; done < this.manifest.bodyBytes; ) {
			const count = this.hashPart(hash, done);
			if (count === 0) return Status.corrupt;
			done += count;
		}
		return this.endHash(hash, crypto);
	}
}

export function isFlashSlot(slot: number): boolean {
	return slot === SLOT_A || slot === SLOT_B;
}
