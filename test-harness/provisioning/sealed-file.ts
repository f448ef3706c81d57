import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scryptSync } from "node:crypto";
import {
	chmodSync,
	closeSync,
	existsSync,
	fstatSync,
	fsyncSync,
	mkdirSync,
	openSync,
	readFileSync,
	readSync,
	renameSync,
	statSync,
	unlinkSync,
	writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../user-error.js";

/**
 * Sealed file, version 1: what is secret and lies on a disk of the head end. 52 + n bytes, big-endian.
 * | offset | size | field      | unit and range                                                                  |
 * |-------:|-----:|------------|---------------------------------------------------------------------------------|
 * |      0 |    4 | magic      | "WLsf"                                                                          |
 * |      4 |    1 | version    | 1                                                                               |
 * |      5 |    1 | source     | 1 passphrase: scrypt (RFC 7914), r 8, p 1; 2 key file of 32 bytes: HKDF-SHA-256 |
 * |      6 |    1 | log2N      | of scrypt, 14 to 20; 0 for a key file                                           |
 * |      7 |    1 | reserved   | 0                                                                               |
 * |      8 |   16 | salt       | random                                                                          |
 * |     24 |   12 | nonce      | random                                                                          |
 * |     36 |    n | sealed     | AES-256-GCM; associated data is all before                                      |
 * | 36 + n |   16 | tag        |                                                                                 |
 */
const MAGIC = 0x574c_7366; // "WLsf"
const HEADER_BYTES = 36;
const TAG_BYTES = 16;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const SOURCE_PASSPHRASE = 1;
const SOURCE_KEY_FILE = 2;
/** 64 MiB and about a quarter of a second for each guess. */
export const SCRYPT_LOG2_N = 16;
const LOG2_N_MIN = 14;
const LOG2_N_MAX = 20;
export const PASSPHRASE_BYTES_MIN = 12;
const HKDF_INFO = "wattlock sealed file";

/** Seals and opens what lies on disk, with one passphrase or one key file. */
export class FileLock {
	readonly #secret: Buffer;
	readonly #source: number;
	readonly #log2N: number;
	/** One for all that this lock seals: a batch of a thousand files costs one scrypt. */
	readonly #salt = randomBytes(SALT_BYTES);
	readonly #keys = new Map<string, Buffer>();

	private constructor(secret: Buffer, source: number, log2N: number) {
		this.#secret = secret;
		this.#source = source;
		this.#log2N = log2N;
	}

	/** @param passphrase is taken over and wiped by `close` */
	static ofPassphrase(passphrase: Buffer, log2N = SCRYPT_LOG2_N): FileLock {
		if (passphrase.length < PASSPHRASE_BYTES_MIN)
			throw new UserError(`a passphrase has at least ${PASSPHRASE_BYTES_MIN} characters`);
		return new FileLock(passphrase, SOURCE_PASSPHRASE, log2N);
	}

	/** @param create makes a new key when there is no such file, readable by its owner alone */
	static ofKeyFile(path: string, create: boolean): FileLock {
		if (create && !existsSync(path)) {
			const key = randomBytes(KEY_BYTES);
			writeSecret(path, key);
			return new FileLock(key, SOURCE_KEY_FILE, 0);
		}
		let descriptor: number;
		try {
			descriptor = openSync(path, "r");
		} catch {
			throw new UserError(`there is no key file ${path}; "provision make --key-file" creates one`);
		}
		try {
			const { mode, size } = fstatSync(descriptor);
			if ((mode & 0o077) !== 0) throw new UserError(`${path} can be read by others: chmod 600 ${path}`);
			if (size !== KEY_BYTES)
				throw new UserError(`${path} is no key file: it has ${size} bytes instead of ${KEY_BYTES}`);
			const key = Buffer.alloc(KEY_BYTES);
			readSync(descriptor, key, 0, KEY_BYTES, 0);
			return new FileLock(key, SOURCE_KEY_FILE, 0);
		} finally {
			closeSync(descriptor);
		}
	}

	seal(plain: Uint8Array): Buffer {
		const header = Buffer.alloc(HEADER_BYTES);
		header.writeUInt32BE(MAGIC, 0);
		header[4] = 1;
		header[5] = this.#source;
		header[6] = this.#log2N;
		this.#salt.copy(header, 8);
		const nonce = randomBytes(12);
		nonce.copy(header, 24);
		const cipher = createCipheriv("aes-256-gcm", this.#key(this.#salt, this.#log2N), nonce).setAAD(header);
		return Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
	}

	/** @param name of the file, for the message. @returns what was sealed, the caller's to wipe */
	open(sealed: Buffer, name: string): Buffer {
		if (sealed.length < HEADER_BYTES + TAG_BYTES || sealed.readUInt32BE(0) !== MAGIC)
			throw new UserError(`${name} is no sealed file of wattlock`);
		if (sealed[4] !== 1) throw new UserError(`${name} was sealed by a newer wattlock (version ${sealed[4]})`);
		const log2N = sealed[6]!;
		if (sealed[5] !== this.#source)
			throw new UserError(
				`${name} is sealed with a ${sealed[5] === SOURCE_KEY_FILE ? "key file (--key-file)" : "passphrase (--passphrase-file)"}`,
			);
		if (this.#source === SOURCE_PASSPHRASE && !(log2N >= LOG2_N_MIN && log2N <= LOG2_N_MAX))
			throw new UserError(`${name} is damaged: no such cost ${log2N}`);
		const header = sealed.subarray(0, HEADER_BYTES);
		const end = sealed.length - TAG_BYTES;
		const key = this.#key(sealed.subarray(8, 8 + SALT_BYTES), log2N);
		const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(24, HEADER_BYTES), {
			authTagLength: TAG_BYTES,
		})
			.setAAD(header)
			.setAuthTag(sealed.subarray(end));
		const plain = decipher.update(sealed.subarray(HEADER_BYTES, end));
		try {
			decipher.final();
		} catch {
			plain.fill(0);
			throw new UserError(
				`${name} does not open: another ${this.#source === SOURCE_KEY_FILE ? "key" : "passphrase"}, or damage`,
			);
		}
		return plain;
	}

	/** Wipes passphrase and keys. */
	close(): void {
		this.#secret.fill(0);
		for (const key of this.#keys.values()) key.fill(0);
		this.#keys.clear();
	}

	#key(salt: Buffer, log2N: number): Buffer {
		const name = `${log2N} ${salt.toString("hex")}`;
		const known = this.#keys.get(name);
		if (known) return known;
		const key =
			this.#source === SOURCE_KEY_FILE
				? Buffer.from(hkdfSync("sha256", this.#secret, salt, HKDF_INFO, KEY_BYTES))
				: scryptSync(this.#secret, salt, KEY_BYTES, { N: 2 ** log2N, r: 8, p: 1, maxmem: 2 ** (log2N + 11) });
		this.#keys.set(name, key);
		return key;
	}
}

/** Writes a file that only its owner may read; after a crash there is the old one or the new one. */
export function writeSecret(path: string, content: Uint8Array): void {
	mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
	const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.new`);
	const descriptor = openSync(temporary, "w", 0o600);
	try {
		chmodSync(temporary, 0o600);
		writeSync(descriptor, content);
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
	renameSync(temporary, path);
	syncFolder(dirname(path));
}

function syncFolder(path: string): void {
	const descriptor = openSync(path, "r");
	try {
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
}

/**
 * Overwrites a file and removes it. What a journalling file system or the wear levelling of a disk keeps of it is still
 * sealed.
 */
export function shred(path: string): void {
	const descriptor = openSync(path, "r+");
	try {
		writeSync(descriptor, randomBytes(fstatSync(descriptor).size), 0, undefined, 0);
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
	unlinkSync(path);
	syncFolder(dirname(path));
}

export interface LockOptions {
	readonly passphraseFile?: string;
	readonly keyFile?: string;
}

/**
 * The lock that the options of a command ask for: `--key-file`, `--passphrase-file`, WATTLOCK_PASSPHRASE, or a prompt.
 * @param isNew something is sealed for the first time: the key file may be created, the prompt asks twice
 */
export async function openLock(options: LockOptions, isNew: boolean): Promise<FileLock> {
	if (options.keyFile !== undefined && options.passphraseFile !== undefined)
		throw new UserError("give either --key-file or --passphrase-file");
	if (options.keyFile !== undefined) return FileLock.ofKeyFile(options.keyFile, isNew);
	if (options.passphraseFile !== undefined) {
		let content: Buffer;
		try {
			content = readFileSync(options.passphraseFile);
			if ((statSync(options.passphraseFile).mode & 0o077) !== 0)
				throw new UserError(`${options.passphraseFile} can be read by others: chmod 600 ${options.passphraseFile}`);
		} catch (error) {
			if (error instanceof UserError) throw error;
			throw new UserError(`there is no passphrase file ${options.passphraseFile}`);
		}
		const end = content.findIndex((byte) => byte === 0x0a || byte === 0x0d);
		return FileLock.ofPassphrase(end < 0 ? content : content.subarray(0, end));
	}
	const given = process.env["WATTLOCK_PASSPHRASE"];
	if (given !== undefined) return FileLock.ofPassphrase(Buffer.from(given));
	if (!process.stdin.isTTY)
		throw new UserError("nobody to ask for a passphrase: give --passphrase-file, --key-file or WATTLOCK_PASSPHRASE");
	const passphrase = await prompt("passphrase: ");
	if (isNew) {
		const again = await prompt("the same again: ");
		const isSame = passphrase.equals(again);
		again.fill(0);
		if (!isSame) throw new UserError("the two passphrases differ");
	}
	return FileLock.ofPassphrase(passphrase);
}

/** Asks on the terminal without showing what is typed. */
function prompt(text: string): Promise<Buffer> {
	const { stdin, stderr } = process;
	stderr.write(text);
	stdin.setRawMode(true);
	stdin.resume();
	return new Promise((resolve, reject) => {
		const typed: number[] = [];
		const done = () => {
			stdin.off("data", onData);
			stdin.setRawMode(false);
			stdin.pause();
			stderr.write("\n");
		};
		const onData = (chunk: Buffer) => {
			for (const byte of chunk) {
				if (byte === 0x0d || byte === 0x0a) {
					done();
					resolve(Buffer.from(typed));
					typed.fill(0);
					return;
				}
				if (byte === 0x03 || byte === 0x04) {
					done();
					reject(new UserError("no passphrase was given"));
					return;
				}
				if (byte === 0x7f || byte === 0x08) typed.pop();
				else typed.push(byte);
			}
		};
		stdin.on("data", onData);
	});
}
