import { randomBytes } from "node:crypto";
import {
	closeSync,
	existsSync,
	fstatSync,
	fsyncSync,
	linkSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	renameSync,
	unlinkSync,
	writeSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { Status } from "../../src/bytes/status.js";
import { LmsVerifier } from "../../src/crypto/lms.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import type { FileLock } from "../provisioning/sealed-file.js";
import { writeSecret } from "../provisioning/sealed-file.js";
import { UserError } from "../user-error.js";
import {
	IDENTIFIER_BYTES,
	type LmsParameters,
	leafHash,
	parametersOfTypes,
	publicKeyOf,
	signLeaf,
	treeOf,
} from "./lms-tree.js";

/** Steps of a signature, in order; a test stops the process at each. */
export type SignerStep = "locked" | "claimed" | "renaming" | "reserved" | "witnessed" | "signed";

export interface SignOptions {
	/** The folder was moved to this place and nothing else signs with it any more. */
	readonly moved?: boolean;
	/** Written into the claim, for people. */
	readonly note?: string;
	onStep?(step: SignerStep): void;
}

export interface Signature {
	readonly signature: Buffer;
	readonly leaf: number;
	/** Signatures that the key has left. */
	readonly left: number;
}

interface State {
	readonly format: 1;
	readonly identifier: string;
	/** The first leaf that was never reserved. */
	readonly next: number;
	/** Of this very file: a copy of it has others. */
	readonly inode: string;
}

const PRIVATE = "private.sealed";
const PUBLIC = "public.key";
const LEAVES = "leaves";
const STATE = "state.json";
const CLAIMS = "claims";
const LOCK = "lock";

/** Where this machine remembers how far each key was used, apart from the key's folder. */
export function witnessFolder(): string {
	const given = process.env["WATTLOCK_SIGNER_WITNESS"];
	if (given) return given;
	return join(process.env["XDG_STATE_HOME"] || join(homedir(), ".local", "state"), "wattlock", "signer");
}

/**
 * A signing key for firmware in a folder of its own. Signing twice with one leaf gives forgeries to whoever sees both
 * signatures, so a leaf is used up before its signature is made, in three places, each durable before the next:
 *
 * 1. `claims/N`, made with O_EXCL: two processes, or a state put back, cannot both have leaf N of one folder.
 * 2. `state.json`, written anew, synced, renamed, folder synced. It knows its own inode: a copy is noticed.
 * 3. A witness outside the folder: a folder put back from a backup as a whole is noticed on this machine.
 *
 * What is killed in between loses a leaf and nothing else. What cannot be noticed: a copy that signs on another machine.
 */
export class SignerFolder {
	readonly path: string;
	readonly parameters: LmsParameters;
	readonly publicKey: Buffer;

	private constructor(path: string, parameters: LmsParameters, publicKey: Buffer) {
		this.path = path;
		this.parameters = parameters;
		this.publicKey = publicKey;
	}

	/** Makes a key. @param onProgress leaves done, of how many */
	static create(
		path: string,
		lock: FileLock,
		parameters: LmsParameters,
		onProgress: (done: number, total: number) => void = () => {},
	): SignerFolder {
		if (existsSync(path)) throw new UserError(`${path} is there already: a key is never overwritten`);
		const count = 2 ** parameters.height;
		const identifier = randomBytes(IDENTIFIER_BYTES);
		const secret = randomBytes(parameters.hashBytes);
		const leaves = Buffer.alloc(count * parameters.hashBytes);
		for (let leaf = 0; leaf < count; leaf++) {
			leafHash(parameters, identifier, secret, leaf).copy(leaves, leaf * parameters.hashBytes);
			onProgress(leaf + 1, count);
		}
		const publicKey = publicKeyOf(parameters, identifier, treeOf(parameters, identifier, leaves));
		const secretKey = Buffer.concat([publicKey.subarray(0, 8 + IDENTIFIER_BYTES), secret]);
		mkdirSync(join(path, CLAIMS), { recursive: true, mode: 0o700 });
		writeSecret(join(path, LEAVES), leaves);
		writeSecret(join(path, PUBLIC), publicKey);
		writeState(path, identifier.toString("hex"), 0);
		// The last: without it there is no key.
		writeSecret(join(path, PRIVATE), lock.seal(secretKey));
		secretKey.fill(0);
		secret.fill(0);
		return new SignerFolder(path, parameters, publicKey);
	}

	static open(path: string): SignerFolder {
		const publicKey = readPublicKey(join(path, PUBLIC));
		const parameters = parametersOfTypes(publicKey.readUInt32BE(0), publicKey.readUInt32BE(4))!;
		return new SignerFolder(path, parameters, publicKey);
	}

	get identifier(): string {
		return this.publicKey.subarray(8, 24).toString("hex");
	}

	get leafCount(): number {
		return 2 ** this.parameters.height;
	}

	/** Signatures left, as far as folder and witness know. */
	get left(): number {
		return this.leafCount - Math.min(this.leafCount, this.#next().next);
	}

	/** Signs. Uses up a leaf whether or not it succeeds. */
	sign(lock: FileLock, message: Uint8Array, options: SignOptions = {}): Signature {
		const step = options.onStep ?? (() => {});
		const { hashBytes } = this.parameters;
		// What can go wrong goes wrong before a leaf is used up: passphrase, damage.
		const secretKey = this.#openPrivate(lock);
		try {
			const identifier = this.publicKey.subarray(8, 24);
			const leaves = readFileSync(join(this.path, LEAVES));
			if (leaves.length !== this.leafCount * hashBytes) throw new UserError(`${join(this.path, LEAVES)} is damaged`);
			const nodes = treeOf(this.parameters, identifier, leaves);
			if (!publicKeyOf(this.parameters, identifier, nodes).equals(this.publicKey))
				throw new UserError(`${join(this.path, LEAVES)} is damaged: its root is not that of the public key`);
			const leaf = this.#reserve(options, step);
			const randomizer = randomBytes(hashBytes);
			const secret = secretKey.subarray(8 + IDENTIFIER_BYTES);
			const signature = signLeaf(this.parameters, identifier, secret, nodes, leaf, randomizer, message);
			step("signed");
			// A fault in the computer must not leave it either: two faulty ones of a leaf can be as bad as two good ones.
			if (verify(this.publicKey, message, signature) !== Status.ok)
				throw new UserError("the signature that was made does not verify: nothing is written; check this computer");
			return { signature, leaf, left: this.leafCount - leaf - 1 };
		} finally {
			secretKey.fill(0);
		}
	}

	#openPrivate(lock: FileLock): Buffer {
		const path = join(this.path, PRIVATE);
		const secretKey = lock.open(readFile(path), path);
		if (
			secretKey.length === 24 + this.parameters.hashBytes &&
			secretKey.subarray(0, 24).equals(this.publicKey.subarray(0, 24))
		)
			return secretKey;
		secretKey.fill(0);
		throw new UserError(`${path} is not the private key of ${join(this.path, PUBLIC)}`);
	}

	/** @returns a leaf that nobody else has or will have */
	#reserve(options: SignOptions, step: (step: SignerStep) => void): number {
		const unlock = takeLock(join(this.path, LOCK));
		try {
			step("locked");
			const { next, stated, isOwnFile } = this.#next();
			if (!options.moved) {
				if (!isOwnFile)
					throw new UserError(
						`${join(this.path, STATE)} is a copy: if nothing else signs with this key any more, sign once with --moved`,
					);
				// One more than the state says: killed between claim and state. More than that nobody leaves behind.
				if (next > stated + 1)
					throw new UserError(
						`${join(this.path, STATE)} was put back: it says ${stated} leaves are used, ${next} are; if nothing else signs with this key any more, sign once with --moved`,
					);
			}
			if (next >= this.leafCount)
				throw new UserError(`the key is used up: all of its ${this.leafCount} signatures are made; make a new one`);
			claim(join(this.path, CLAIMS), next, options.note ?? "");
			step("claimed");
			writeState(this.path, this.identifier, next + 1, () => step("renaming"));
			step("reserved");
			const witness = { identifier: this.identifier, next: next + 1 };
			writeSecret(this.#witnessPath, Buffer.from(`${JSON.stringify(witness)}\n`));
			step("witnessed");
			return next;
		} finally {
			unlock();
		}
	}

	get #witnessPath(): string {
		return join(witnessFolder(), `${this.identifier}.json`);
	}

	/** The first leaf that no place knows of, what the state says, and whether it is the file that was written. */
	#next(): { next: number; stated: number; isOwnFile: boolean } {
		const path = join(this.path, STATE);
		const { state, inode } = readState(path);
		if (state.identifier !== this.identifier) throw new UserError(`${path} is of another key`);
		let next = state.next;
		for (const name of readdirSync(join(this.path, CLAIMS))) {
			const leaf = Number(name);
			if (Number.isInteger(leaf)) next = Math.max(next, leaf + 1);
		}
		if (existsSync(this.#witnessPath)) {
			const witness = JSON.parse(readFileSync(this.#witnessPath, "utf8")) as { next: number };
			if (Number.isInteger(witness.next)) next = Math.max(next, witness.next);
		}
		return { next, stated: state.next, isOwnFile: inode === state.inode };
	}
}

/** A public key of 56 or 48 bytes, or the folder that has one. */
export function readPublicKey(path: string): Buffer {
	const inside = join(path, PUBLIC);
	const key = readFile(existsSync(inside) ? inside : path);
	const parameters = key.length >= 24 ? parametersOfTypes(key.readUInt32BE(0), key.readUInt32BE(4)) : undefined;
	if (parameters === undefined || key.length !== 24 + parameters.hashBytes)
		throw new UserError(`${path} is no LMS public key`);
	return key;
}

export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Status {
	const verifier = new LmsVerifier(new NodeCrypto());
	const status = verifier.setPublicKey(publicKey, 0, publicKey.length);
	if (status !== Status.ok) return status;
	return verifier.verify(message, 0, message.length, signature, 0, signature.length);
}

function readFile(path: string): Buffer {
	try {
		return readFileSync(path);
	} catch {
		throw new UserError(`${path} cannot be read`);
	}
}

function inodeOf(descriptor: number): string {
	const { dev, ino } = fstatSync(descriptor, { bigint: true });
	return `${dev}:${ino}`;
}

function readState(path: string): { state: State; inode: string } {
	let descriptor: number;
	try {
		descriptor = openSync(path, "r");
	} catch {
		throw new UserError(`${path} is gone: without it nobody knows which leaves are used; make a new key`);
	}
	try {
		const state = JSON.parse(readFileSync(descriptor, "utf8")) as State;
		if (state.format !== 1 || !Number.isInteger(state.next) || state.next < 0) throw new SyntaxError("state");
		return { state, inode: inodeOf(descriptor) };
	} catch (error) {
		if (error instanceof SyntaxError) throw new UserError(`${path} is damaged: make a new key`);
		throw error;
	} finally {
		closeSync(descriptor);
	}
}

function syncFolder(path: string): void {
	const descriptor = openSync(path, "r");
	try {
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
}

/** A new file with its own inode in it, synced, renamed over the old one, and the folder synced. */
function writeState(folder: string, identifier: string, next: number, beforeRename = () => {}): void {
	const path = join(folder, STATE);
	const temporary = join(folder, `.${STATE}.new`);
	const descriptor = openSync(temporary, "w", 0o600);
	try {
		const state: State = { format: 1, identifier, next, inode: inodeOf(descriptor) };
		writeSync(descriptor, `${JSON.stringify(state)}\n`);
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
	beforeRename();
	renameSync(temporary, path);
	syncFolder(folder);
}

/** Fails when the leaf was ever claimed in this folder. */
function claim(folder: string, leaf: number, note: string): void {
	let descriptor: number;
	try {
		descriptor = openSync(join(folder, String(leaf)), "wx", 0o600);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
		throw new UserError(`leaf ${leaf} was just taken by another process: sign again`);
	}
	try {
		writeSync(descriptor, `${new Date().toISOString()} ${note}\n`);
		fsyncSync(descriptor);
	} finally {
		closeSync(descriptor);
	}
	syncFolder(folder);
}

/** Who holds a lock: a process and when it started, so that a later process of the same number is not taken for it. */
function holderOf(pid: number): string {
	try {
		const text = readFileSync(`/proc/${pid}/stat`, "utf8");
		return `${pid} ${text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? ""}`;
	} catch {
		return String(pid);
	}
}

function isAlive(holder: string): boolean {
	const pid = Number(holder.split(" ")[0]);
	try {
		process.kill(pid, 0);
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EPERM";
	}
	return holderOf(pid) === holder;
}

/**
 * Keeps a second process out while one reserves. A lock whose process is gone is taken over; should two do that at once,
 * `claim` still keeps them apart.
 */
function takeLock(path: string): () => void {
	const own = holderOf(process.pid);
	const temporary = `${path}.${process.pid}`;
	const descriptor = openSync(temporary, "w", 0o600);
	writeSync(descriptor, own);
	closeSync(descriptor);
	try {
		for (let attempt = 0; attempt < 5; attempt++) {
			try {
				// With its content at once: nobody ever sees an empty lock.
				linkSync(temporary, path);
				return () => unlinkSync(path);
			} catch (error) {
				if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
			}
			let holder = "";
			try {
				holder = readFileSync(path, "utf8");
			} catch {
				continue; // released meanwhile
			}
			if (isAlive(holder))
				throw new UserError(`another process (${holder.split(" ")[0]}) is signing with this key: wait and sign again`);
			const stale = `${path}.stale.${process.pid}`;
			try {
				renameSync(path, stale);
				unlinkSync(stale);
			} catch {
				// another process took it over
			}
		}
		throw new UserError(`${path} is contended: sign again`);
	} finally {
		unlinkSync(temporary);
	}
}
