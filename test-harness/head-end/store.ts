import { randomBytes } from "node:crypto";
import { cpSync, existsSync, readdirSync, statSync } from "node:fs";
import { crc32 } from "node:zlib";
import { ClassicLevel } from "classic-level";

/**
 * Keys of the store, compared byte by byte, so that one meter's rows of one kind lie together in order.
 * | offset | size | field      | content                                                         |
 * |-------:|-----:|------------|-----------------------------------------------------------------|
 * |      0 |    1 | space      | 0x00 the store itself (then a name), 0x4D a meter               |
 * |      1 |    8 | identifier | EUI-64 of the meter                                             |
 * |      9 |    1 | kind       | see RecordKind                                                  |
 * |     10 |    2 | series     | 0 for the first storage of a meter, one more for each new one   |
 * |     12 |    4 | sequence   | of the row or event; slot of a reading                          |
 * |     16 |    1 | ordinal    | conflicts only: which of the contents that differ, from 0       |
 *
 * Every value ends with a CRC-32 over key and value, 4 bytes, big-endian.
 */
export const RecordKind = Object.freeze({
	/** JSON, see `MeterRecord`. */
	meter: 1,
	/** Received 8 (float64, UTCTime), then the row as on the wire, 44. */
	profile: 2,
	/** Received 8, then the entry as on the wire, 14. */
	event: 3,
	/** As `profile`, for a row that differs from the one stored under the same sequence. */
	profileConflict: 4,
	/** As `event`, likewise. */
	eventConflict: 5,
	/** Counter 6, received 8, then the reading as on the wire; slot = counter modulo the ring's length. */
	reading: 6,
} as const);
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

export const SCHEMA_VERSION = 1;
const METER_SPACE = 0x4d;
const KEY_BYTES = 16;
const CRC_BYTES = 4;
/** A whole store is read in pieces of this size. */
const READ_RECORDS = 1000;
const READ_BYTES = 256 * 1024;

/** Why a store cannot be used. The message is one line and says what to do. */
export class StoreError extends Error {
	override name = "StoreError";
	readonly reason: "locked" | "corrupt" | "full" | "newer" | "unusable";

	constructor(reason: StoreError["reason"], message: string, cause?: unknown) {
		super(message, { cause });
		this.reason = reason;
	}
}

export interface StoredRecord {
	identifier: string;
	kind: number;
	series: number;
	sequence: number;
	ordinal: number;
	/** Without the CRC. */
	value: Buffer;
}

export interface Write {
	key: Buffer;
	/** Without the CRC; absent: delete. */
	value?: Uint8Array;
}

export interface StoreOptions {
	/** Mend a damaged store: keeps a copy beside it, keeps what can be read, drops the rest. */
	repair?: boolean;
}

/** Reads on in pieces; an empty piece is the end. */
export interface EngineIterator {
	nextv(size: number): Promise<[Buffer, Buffer][]>;
	close(): Promise<void>;
}

/** What the store needs of LevelDB; a test puts a failing one in its place. */
export interface Engine {
	open(): Promise<void>;
	close(): Promise<void>;
	getSync(key: Buffer): Buffer | undefined;
	batch(
		operations: ({ type: "put"; key: Buffer; value: Buffer } | { type: "del"; key: Buffer })[],
		options: { sync: boolean },
	): Promise<void>;
	iterator(options: { gte?: Buffer; lt?: Buffer; highWaterMarkBytes?: number }): EngineIterator;
}

export function recordKey(
	identifier: string,
	kind: RecordKind,
	series: number,
	sequence: number,
	ordinal?: number,
): Buffer {
	const key = Buffer.alloc(ordinal === undefined ? KEY_BYTES : KEY_BYTES + 1);
	key[0] = METER_SPACE;
	key.write(identifier, 1, 8, "hex");
	key[9] = kind;
	key.writeUInt16BE(series, 10);
	key.writeUInt32BE(sequence, 12);
	if (ordinal !== undefined) key[KEY_BYTES] = ordinal;
	return key;
}

function metaKey(name: string): Buffer {
	return Buffer.concat([Buffer.from([0]), Buffer.from(name)]);
}

function sealValue(key: Buffer, value: Uint8Array): Buffer {
	const sealed = Buffer.alloc(value.length + CRC_BYTES);
	sealed.set(value);
	sealed.writeUInt32BE(crc32(value, crc32(key)), value.length);
	return sealed;
}

/** @returns the value without its CRC, or undefined when the CRC does not fit */
function openValue(key: Buffer, sealed: Buffer): Buffer | undefined {
	const byteLength = sealed.length - CRC_BYTES;
	if (byteLength < 0) return undefined;
	const expected = crc32(sealed.subarray(0, byteLength), crc32(key));
	return sealed.readUInt32BE(byteLength) === expected ? sealed.subarray(0, byteLength) : undefined;
}

function parseKey(key: Buffer, value: Buffer): StoredRecord | undefined {
	if (key[0] !== METER_SPACE || (key.length !== KEY_BYTES && key.length !== KEY_BYTES + 1)) return undefined;
	return {
		identifier: key.toString("hex", 1, 9),
		kind: key[9]!,
		series: key.readUInt16BE(10),
		sequence: key.readUInt32BE(12),
		ordinal: key.length === KEY_BYTES ? 0 : key[KEY_BYTES]!,
		value,
	};
}

/** All texts of an error and of what caused it. */
function wholeText(error: unknown): string {
	let text = "";
	for (let at = error as { message?: string; code?: string; cause?: unknown } | undefined; at; at = at.cause as never)
		text += ` ${at.code ?? ""} ${at.message ?? ""}`;
	return text;
}

function explain(path: string, error: unknown): StoreError {
	if (error instanceof StoreError) return error;
	const text = wholeText(error);
	if (/LEVEL_LOCKED|already held by process|Resource temporarily unavailable/i.test(text))
		return new StoreError(
			"locked",
			`store ${path}: another process uses it; stop that head end or name another store`,
			error,
		);
	if (/No space left|ENOSPC|File too large|EFBIG|quota|EDQUOT/i.test(text))
		return new StoreError("full", `store ${path}: the disk is full; free some space, collecting then goes on`, error);
	if (/EIO|Input\/output error/i.test(text))
		return new StoreError("full", `store ${path}: the disk does not take writes (I/O error); check the disk`, error);
	if (/Permission denied|EACCES|Read-only file system|EROFS/i.test(text))
		return new StoreError("unusable", `store ${path}: no permission to write there; name another store`, error);
	if (/Not a directory|ENOTDIR|EEXIST|File exists/i.test(text))
		return new StoreError("unusable", `store ${path}: this is not a folder; name another store`, error);
	// a damaged index of a table points outside its file: LevelDB says "Invalid argument"
	if (/LEVEL_CORRUPTION|corrupt|bad block|checksum|CURRENT|No such file|\.(ldb|sst): Invalid argument/i.test(text))
		return corrupt(path, "", error);
	return new StoreError("unusable", `store ${path}: cannot be opened (${text.trim().slice(0, 200)})`, error);
}

function corrupt(path: string, what: string, error?: unknown): StoreError {
	return new StoreError(
		"corrupt",
		`store ${path}: it is damaged${what}; start once with "repair" to keep what is readable (a copy stays beside it), missing rows are then asked from the meters`,
		error,
	);
}

/** A new folder beside `path` for the copy made before a repair. */
function copyPath(path: string): string {
	for (let ordinal = 1; ; ordinal++) {
		const candidate = `${path}.before-repair-${ordinal}`;
		if (!existsSync(candidate)) return candidate;
	}
}

/**
 * LevelDB keeps an existing store only while CURRENT names its manifest: without it, it would silently start an empty
 * one over the old files and then delete them.
 */
function hasOrphans(path: string): boolean {
	if (!existsSync(path)) return false;
	const names = readdirSync(path);
	return !names.includes("CURRENT") && names.some((name) => /^(MANIFEST-|\d+\.(ldb|log|sst)$)/.test(name));
}

/**
 * The embedded, crash-safe store: LevelDB with ordered keys, a checksum in each value, and one writer. A write with
 * `sync` is on the disk when its promise resolves; one without survives kill -9 but not a power cut of the computer.
 */
export class Store {
	readonly path: string;
	/** Chosen once for each store; names the MQTT session that belongs to it. */
	instance = "";
	/** Records that repair dropped because their checksum did not fit. */
	dropped = 0;
	/** Where the copy made before a repair lies, "" without one. */
	copiedTo = "";
	/** Made only when the folder may be opened: LevelDB's binding opens by itself as soon as it is made. */
	#engine!: Engine;
	readonly #makeEngine: () => Engine;
	#open = false;
	#failure: StoreError | undefined;

	private constructor(path: string, makeEngine: () => Engine) {
		this.path = path;
		this.#makeEngine = makeEngine;
	}

	/** @throws StoreError */
	static async open(path: string, options: StoreOptions = {}, makeEngine?: () => Engine): Promise<Store> {
		const store = new Store(
			path,
			makeEngine ??
				(() =>
					new ClassicLevel<Buffer, Buffer>(path, {
						keyEncoding: "buffer",
						valueEncoding: "buffer",
					}) as unknown as Engine),
		);
		try {
			if (existsSync(path) && !statSync(path).isDirectory())
				throw new StoreError("unusable", `store ${path}: this is not a folder; name another store`);
			if (options.repair) await store.#repair();
			else if (hasOrphans(path)) throw corrupt(path, " (CURRENT is missing)");
			store.#engine = store.#makeEngine();
			await store.#engine.open();
			store.#open = true;
			await store.#checkMeta();
			if (options.repair) await store.#dropUnreadable();
		} catch (error) {
			await store.close();
			throw explain(path, error);
		}
		return store;
	}

	async #repair(): Promise<void> {
		if (!existsSync(this.path)) return;
		this.copiedTo = copyPath(this.path);
		cpSync(this.path, this.copiedTo, { recursive: true });
		await ClassicLevel.repair(this.path);
	}

	async #checkMeta(): Promise<void> {
		const schema = this.#getMeta("schema");
		if (schema === undefined) {
			this.instance = randomBytes(6).toString("hex");
			await this.write(
				[
					{ key: metaKey("schema"), value: Buffer.from(String(SCHEMA_VERSION)) },
					{ key: metaKey("instance"), value: Buffer.from(this.instance) },
				],
				true,
			);
			return;
		}
		if (Number(schema) !== SCHEMA_VERSION)
			throw new StoreError(
				"newer",
				`store ${this.path}: written in format ${schema}, this program knows ${SCHEMA_VERSION}; use a newer program or another store`,
			);
		this.instance = this.#getMeta("instance") ?? "";
		if (this.instance === "") throw corrupt(this.path, " (its instance name is missing)");
	}

	#getMeta(name: string): string | undefined {
		const key = metaKey(name);
		const sealed = this.#engine.getSync(key);
		if (sealed === undefined) return undefined;
		const value = openValue(key, sealed);
		if (value === undefined) throw corrupt(this.path, ` (its ${name} record)`);
		return value.toString();
	}

	async #dropUnreadable(): Promise<void> {
		const bad: Buffer[] = [];
		const iterator = this.#engine.iterator({ gte: Buffer.from([METER_SPACE]), highWaterMarkBytes: READ_BYTES });
		for (let part = await iterator.nextv(READ_RECORDS); part.length > 0; part = await iterator.nextv(READ_RECORDS))
			for (const [key, sealed] of part) {
				const value = openValue(key, sealed);
				if (value === undefined || parseKey(key, value) === undefined) bad.push(key);
			}
		await iterator.close();
		this.dropped = bad.length;
		if (bad.length > 0)
			await this.write(
				bad.map((key) => ({ key })),
				true,
			);
	}

	/**
	 * Reads records in the order of their keys.
	 * @param identifier one meter's; absent: all meters'
	 * @throws StoreError `corrupt` at the first record whose checksum does not fit
	 */
	async *records(
		identifier?: string,
		kind?: RecordKind,
		series?: number,
		firstSequence = 0,
	): AsyncGenerator<StoredRecord> {
		let gte: Buffer = Buffer.from([METER_SPACE]);
		let lt: Buffer = Buffer.from([METER_SPACE + 1]);
		if (identifier !== undefined) {
			gte = Buffer.concat([gte, Buffer.from(identifier, "hex")]);
			lt = Buffer.concat([gte, Buffer.from([0xff])]);
			if (kind !== undefined) {
				gte = recordKey(identifier, kind, series ?? 0, series === undefined ? 0 : firstSequence);
				lt =
					series === undefined || series === 0xffff
						? recordKey(identifier, (kind + 1) as RecordKind, 0, 0)
						: recordKey(identifier, kind, series + 1, 0);
			}
		}
		const iterator = this.#engine.iterator({ gte, lt, highWaterMarkBytes: READ_BYTES });
		try {
			for (;;) {
				let part: [Buffer, Buffer][];
				try {
					part = await iterator.nextv(READ_RECORDS);
				} catch (error) {
					throw explain(this.path, error);
				}
				if (part.length === 0) return;
				for (const [key, sealed] of part) {
					const value = openValue(key, sealed);
					const record = value === undefined ? undefined : parseKey(key, value);
					if (record === undefined) throw corrupt(this.path, ` (record ${key.toString("hex")})`);
					yield record;
				}
			}
		} finally {
			await iterator.close();
		}
	}

	/** @returns one value, undefined when there is none @throws StoreError */
	get(key: Buffer): Buffer | undefined {
		let sealed: Buffer | undefined;
		try {
			sealed = this.#engine.getSync(key);
		} catch (error) {
			throw explain(this.path, error);
		}
		if (sealed === undefined) return undefined;
		const value = openValue(key, sealed);
		if (value === undefined) throw corrupt(this.path, ` (record ${key.toString("hex")})`);
		return value;
	}

	/**
	 * All of `writes` or none.
	 * @param sync on the disk when the promise resolves
	 * @throws StoreError; the store then takes nothing more until `reopen` succeeds, since LevelDB's log may end in a torn record
	 */
	async write(writes: readonly Write[], sync: boolean): Promise<void> {
		if (this.#failure) throw this.#failure;
		try {
			await this.#engine.batch(
				writes.map(({ key, value }) =>
					value === undefined
						? { type: "del" as const, key }
						: { type: "put" as const, key, value: sealValue(key, value) },
				),
				{ sync },
			);
		} catch (error) {
			this.#failure ??= explain(this.path, error);
			throw this.#failure;
		}
	}

	/** What stopped the store, undefined while it works. */
	get failure(): StoreError | undefined {
		return this.#failure;
	}

	/** After a failed write: closes, opens again and tries a synchronous write. @throws StoreError when it still fails */
	async reopen(): Promise<void> {
		try {
			if (this.#open) {
				this.#open = false;
				await this.#engine.close();
			}
			this.#engine = this.#makeEngine();
			await this.#engine.open();
			this.#open = true;
			const key = metaKey("reopened");
			await this.#engine.batch([{ type: "put", key, value: sealValue(key, Buffer.from("1")) }], { sync: true });
			this.#failure = undefined;
		} catch (error) {
			this.#failure = explain(this.path, error);
			throw this.#failure;
		}
	}

	async close(): Promise<void> {
		if (!this.#open) return;
		this.#open = false;
		try {
			await this.#engine.close();
		} catch (error) {
			this.#failure ??= explain(this.path, error);
		}
	}
}
