import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { closeSync, existsSync, fsync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { UserError } from "../user-error.js";

/**
 * Sealed log, version 1: a header of 24 bytes, then records, big-endian. What is written last about a thing counts.
 * | offset | size | field    | unit and range                                                        |
 * |-------:|-----:|----------|-----------------------------------------------------------------------|
 * |      0 |    4 | magic    | "WLlg"                                                                |
 * |      4 |    1 | version  | 1                                                                     |
 * |      5 |    3 | reserved | 0                                                                     |
 * |      8 |   16 | salt     | random, of this file: key = HKDF-SHA-256(store key, salt, "wattlock log") |
 *
 * A record: 4 + n + 16 bytes; its nonce is its number in the file, from 0, so none is used twice under one key.
 * | offset | size | field  | unit and range |
 * |-------:|-----:|--------|----------------|
 * |      0 |    4 | n      | 1 to 65 535    |
 * |      4 |    n | sealed | AES-256-GCM    |
 * |  4 + n |   16 | tag    |                |
 *
 * A power cut leaves some records after the last that was synced, or none, or half of one: reading ends at the first that
 * does not open. Each opening writes a new file with a new key, so that what was cut off never shares a nonce with what
 * comes after it, and what was overwritten is gone.
 */
const MAGIC = 0x574c_6c67; // "WLlg"
const HEADER_BYTES = 24;
const TAG_BYTES = 16;
const RECORD_BYTES_MAX = 0xffff;
/** A file is written anew when it is so much larger than what it holds. */
const WASTE_BYTES_MAX = 16 * 1024 * 1024;

function syncFolder(path: string): void {
	const folder = openSync(dirname(path), "r");
	try {
		fsyncSync(folder);
	} finally {
		closeSync(folder);
	}
}

function nonceOf(number: number): Buffer {
	const nonce = Buffer.alloc(12);
	nonce.writeUIntBE(number, 6, 6);
	return nonce;
}

function seal(key: Buffer, number: number, record: Uint8Array): Buffer {
	const cipher = createCipheriv("aes-256-gcm", key, nonceOf(number));
	const size = Buffer.alloc(4);
	size.writeUInt32BE(record.length);
	return Buffer.concat([size, cipher.update(record), cipher.final(), cipher.getAuthTag()]);
}

/** Hands over each record that is to be kept. */
type Snapshot = (write: (record: Uint8Array) => void) => void;

/** One file that only grows until it is written anew, encrypted with a key that lies elsewhere. */
export class SealedLog {
	readonly path: string;
	/** Records since the file was opened, and syncs: for figures. */
	records = 0;
	syncs = 0;
	/** Why the log takes no more, undefined while it works. */
	failure: Error | undefined;
	/** Writes whatever must be kept: called when the file is begun anew. */
	readonly #snapshot: Snapshot;
	readonly #storeKey: Buffer;
	#key: Buffer = Buffer.alloc(0);
	#file = -1;
	#number = 0;
	#bytes = 0;
	#liveBytes = 0;
	/** Records written and not known to be on the disk. */
	#isDirty = false;
	#running: Promise<void> | undefined;
	#next: Promise<void> | undefined;

	private constructor(path: string, storeKey: Uint8Array, snapshot: Snapshot) {
		this.path = path;
		this.#storeKey = Buffer.from(storeKey);
		this.#snapshot = snapshot;
	}

	/**
	 * Reads the file, then begins it anew.
	 * @param storeKey 32 bytes, copied
	 * @param read gets each record in turn, valid during the call
	 * @param snapshot writes what must be kept of what was read
	 * @throws UserError when the file is not one of this key
	 */
	static open(path: string, storeKey: Uint8Array, read: (record: Buffer) => void, snapshot: Snapshot): SealedLog {
		const self = new SealedLog(path, storeKey, snapshot);
		if (existsSync(path)) self.#read(readFileSync(path), read);
		self.rewrite();
		return self;
	}

	#read(content: Buffer, read: (record: Buffer) => void): void {
		if (content.length < HEADER_BYTES || content.readUInt32BE(0) !== MAGIC)
			throw new UserError(`${this.path} is no sealed log of wattlock`);
		if (content[4] !== 1) throw new UserError(`${this.path} was written by a newer wattlock (version ${content[4]})`);
		const key = this.#fileKey(content.subarray(8, HEADER_BYTES));
		let at = HEADER_BYTES;
		for (let number = 0; at + 4 <= content.length; number++) {
			const size = content.readUInt32BE(at);
			const end = at + 4 + size + TAG_BYTES;
			if (size < 1 || size > RECORD_BYTES_MAX || end > content.length) break;
			const decipher = createDecipheriv("aes-256-gcm", key, nonceOf(number), { authTagLength: TAG_BYTES });
			decipher.setAuthTag(content.subarray(end - TAG_BYTES, end));
			const record = decipher.update(content.subarray(at + 4, end - TAG_BYTES));
			try {
				decipher.final();
			} catch {
				record.fill(0);
				// The first record is synced before the file gets its name: it always opens with the right key.
				if (number === 0) throw new UserError(`${this.path} does not open with this key`);
				break;
			}
			read(record);
			record.fill(0);
			at = end;
		}
		key.fill(0);
	}

	#fileKey(salt: Uint8Array): Buffer {
		return Buffer.from(hkdfSync("sha256", this.#storeKey, salt, "wattlock log", 32));
	}

	/**
	 * Writes what must be kept into a new file, synced, in the place of the old one. What was overwritten is gone.
	 * @throws what the disk says; the old file then goes on
	 */
	rewrite(): void {
		const salt = randomBytes(16);
		const key = this.#fileKey(salt);
		const header = Buffer.alloc(HEADER_BYTES);
		header.writeUInt32BE(MAGIC);
		header[4] = 1;
		header.set(salt, 8);
		let number = 0;
		const parts: Buffer[] = [header, seal(key, number++, Uint8Array.of(0))];
		this.#snapshot((record) => parts.push(seal(key, number++, record)));
		const content = Buffer.concat(parts);
		const temporary = `${this.path}.new`;
		const file = openSync(temporary, "w", 0o600);
		try {
			for (let at = 0; at < content.length; ) at += writeSync(file, content, at);
			fsyncSync(file);
			renameSync(temporary, this.path);
			syncFolder(this.path);
		} catch (error) {
			closeSync(file);
			throw error;
		}
		const old = this.#file;
		if (old >= 0 && this.#running === undefined) closeSync(old);
		// a sync of the old file is under way; all that it is for is in the new one
		else if (old >= 0) void this.#running!.catch(() => {}).finally(() => closeSync(old));
		this.#key.fill(0);
		this.#key = key;
		this.#number = number;
		this.#file = file;
		this.#bytes = this.#liveBytes = content.length;
		this.#isDirty = false;
		this.failure = undefined;
	}

	/** As `rewrite`, when it is no harm if the old file goes on. @returns whether it is a new one */
	tryRewrite(): boolean {
		try {
			this.rewrite();
			return true;
		} catch {
			return false; // a full disk: the next record says so, or the next day
		}
	}

	/** Adds a record: it survives the end of this process, and a power cut after `sync`. @returns false: not written */
	append(record: Uint8Array): boolean {
		if (this.failure || this.#file < 0) return false;
		const sealed = seal(this.#key, this.#number++, record);
		try {
			for (let at = 0; at < sealed.length; ) at += writeSync(this.#file, sealed, at);
		} catch (error) {
			// Half a record may lie at the end: nothing after it would be read.
			this.failure = error as Error;
			return false;
		}
		this.#bytes += sealed.length;
		this.records++;
		this.#isDirty = true;
		return true;
	}

	/** To be called now and then, when nothing is half done. @returns whether the file was written anew */
	compact(): boolean {
		if (this.#bytes - this.#liveBytes < Math.max(WASTE_BYTES_MAX, this.#liveBytes)) return false;
		return this.tryRewrite();
	}

	/** Resolves when all that was added before is on the disk; callers share a sync. @throws what the disk says */
	sync(): Promise<void> {
		if (this.failure) return Promise.reject(this.failure);
		if (!this.#isDirty) return this.#running ?? Promise.resolve();
		if (this.#running === undefined) {
			this.#running = this.#sync();
			return this.#running;
		}
		// The sync under way may have begun before the last record: one more follows it, for all who come meanwhile.
		this.#next ??= this.#running
			.catch(() => {})
			.then(() => {
				this.#next = undefined;
				this.#running = this.#sync();
				return this.#running;
			});
		return this.#next;
	}

	/** As `sync`, at once. @throws what the disk says */
	syncNow(): void {
		if (this.failure) throw this.failure;
		fsyncSync(this.#file);
	}

	async #sync(): Promise<void> {
		this.#isDirty = false;
		this.syncs++;
		const file = this.#file;
		try {
			await new Promise<void>((resolve, reject) => fsync(file, (error) => (error ? reject(error) : resolve())));
		} catch (error) {
			// After a failed fsync nobody knows what is on the disk.
			this.failure = error as Error;
			throw error;
		} finally {
			this.#running = undefined;
		}
	}

	async close(): Promise<void> {
		await this.sync().catch(() => {});
		this.closeNow();
	}

	closeNow(): void {
		if (this.#file < 0) return;
		closeSync(this.#file);
		this.#file = -1;
		this.#key.fill(0);
		this.#storeKey.fill(0);
	}
}
