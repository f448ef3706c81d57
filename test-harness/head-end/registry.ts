import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Label } from "../../src/key-store/labels.js";
import {
	blockSeed,
	EPOCH_MAX,
	nextBlockDay,
	ODOMETER_VALUE_BYTES,
	startOdometer,
} from "../../src/key-store/odometer.js";
import {
	CALENDAR_ROOT_BYTES,
	DEVICE_ID_BYTES,
	type DeviceFile,
	UPDATE_KEY_BYTES,
	wipeDeviceFile,
} from "../../src/provisioning/device-file.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { type FileLock, writeSecret } from "../provisioning/sealed-file.js";
import { UserError } from "../user-error.js";
import { holdExclusively } from "./exclusive-file.js";
import type { DelegatedDay, Delegation } from "./pipe.js";

/**
 * Registry of the head end, version 1, as it lies inside a sealed file (`provisioning/sealed-file.ts`). Big-endian.
 * | offset     | size | field                | unit and range                                               |
 * |-----------:|-----:|----------------------|--------------------------------------------------------------|
 * |          0 |    4 | magic                | "WLrg"                                                       |
 * |          4 |    1 | version              | 1                                                            |
 * |          5 |    1 | calendarLevels       | 1 to 16                                                      |
 * |          6 |    2 | teslaIntervalSeconds | s, 1 to 43 200                                               |
 * |          8 |    2 | calendarFirstEpoch   | d since 2000-01-01                                           |
 * |         10 |    2 | concentratorCount    | m                                                            |
 * |         12 |    4 | meterCount           | n                                                            |
 * |         16 |   32 | masterKey            | MK: secret                                                   |
 * |         48 |   32 | calendarSeed         | of the head end's TESLA chains of all days: secret           |
 * |         80 |   32 | storeKey             | seals the sessions on disk: secret                           |
 * |        112 |   16 | calendarRoot         | public                                                       |
 * |        128 |   56 | updateKey            | LMS public key of firmware; zeros: none yet                  |
 * |        184 | 40 m | concentrators        | identity 4, domain 2, reserved 2, chainSeed 32: secret       |
 * | 184 + 40 m | 22 n | meters               | as below                                                     |
 *
 * A meter: 22 bytes.
 * | offset | size | field            | unit and range                                                             |
 * |-------:|-----:|------------------|----------------------------------------------------------------------------|
 * |      0 |    8 | id               | EUI-64                                                                     |
 * |      8 |    2 | domain           |                                                                            |
 * |     10 |    2 | shortAddress     |                                                                            |
 * |     12 |    2 | generation       | of the keys that the meter is known to have; 0: of none yet                |
 * |     14 |    2 | epoch            | first day of these keys                                                    |
 * |     16 |    2 | newestGeneration | of the newest keys that were made for it; not below generation             |
 * |     18 |    2 | newestEpoch      | first day of those                                                         |
 * |     20 |    1 | state            | 0 active, 1 decommissioned                                                 |
 * |     21 |    1 | reserved         | 0                                                                          |
 */
const MAGIC = 0x574c_7267; // "WLrg"
const VERSION = 1;
const HEADER_BYTES = 184;
const CONCENTRATOR_BYTES = 40;
const METER_BYTES = 22;
const MASTER_KEY = 16;
const CALENDAR_SEED = 48;
const STORE_KEY = 80;
const CALENDAR_ROOT = 112;
const UPDATE_KEY = 128;
const SECRET_BYTES = 32;
const LOCK_MILLISECONDS_MAX = 5000;

export type MeterRegistryState = "active" | "decommissioned";

/** A meter as the head end knows it; nothing secret. */
export interface RegistryMeter {
	/** 16 hexadecimal digits. */
	readonly id: string;
	readonly domain: number;
	readonly shortAddress: number;
	/** Of the newest keys that were made for it. */
	readonly generation: number;
	/** First day of those. */
	readonly epoch: number;
	/** Generation that the meter is known to have; 0: of none yet. Until it is `generation`, both may be in use. */
	readonly confirmedGeneration: number;
	readonly confirmedEpoch: number;
	readonly state: MeterRegistryState;
	readonly isDecommissioned: boolean;
}

/** A concentrator that blocks are delegated to. */
export interface RegistryConcentrator {
	readonly identity: number;
	readonly domain: number;
}

export interface RegistryOptions {
	/** First day of the calendar, d since 2000-01-01. */
	readonly calendarFirstEpoch: number;
	/** Height of its tree: 2^levels days. Default 14: 44 years. */
	readonly calendarLevels?: number;
	/** s. Default 900. */
	readonly teslaIntervalSeconds?: number;
	/**
	 * Root of the calendar that grows from this seed (test-harness/broadcast).
	 * @param seed 32 bytes, valid during the call
	 * @returns 16 bytes
	 */
	readonly calendarRoot: (seed: Uint8Array, firstEpoch: number, levels: number, intervalSeconds: number) => Uint8Array;
	/** LMS public key that firmware is signed with, 56 bytes; absent: no firmware will ever verify. */
	readonly updateKey?: Uint8Array;
	/** Default: one concentrator, identity 1, domain 1. */
	readonly concentrators?: readonly RegistryConcentrator[];
	/** Makes secrets; a test may give its own. */
	readonly random?: (byteLength: number) => Uint8Array;
}

function isWithin(value: number, min: number, max: number): boolean {
	return Number.isInteger(value) && value >= min && value <= max;
}

export function isMeterId(id: string): boolean {
	return /^[0-9a-f]{16}$/.test(id);
}

interface Entry {
	id: string;
	domain: number;
	shortAddress: number;
	generation: number;
	epoch: number;
	newestGeneration: number;
	newestEpoch: number;
	isDecommissioned: boolean;
}

function viewOf(entry: Entry): RegistryMeter {
	return {
		id: entry.id,
		domain: entry.domain,
		shortAddress: entry.shortAddress,
		generation: entry.newestGeneration,
		epoch: entry.newestEpoch,
		confirmedGeneration: entry.generation,
		confirmedEpoch: entry.epoch,
		state: entry.isDecommissioned ? "decommissioned" : "active",
		isDecommissioned: entry.isDecommissioned,
	};
}

export function registryPath(folder: string): string {
	return `${folder}/registry.wlsf`;
}

/**
 * Who has which keys: the one file from which all others follow. It is read whole, and written whole and sealed at each
 * change: new file, fsync, rename, fsync of the folder. Several processes may have it open; each change is made on what
 * the file says then. Everything that changes is durable when a method returns. Failures are `UserError`s of one line.
 */
export class Registry {
	readonly folder: string;
	readonly #path: string;
	readonly #lock: FileLock;
	readonly #crypto = new NodeCrypto();
	/** The head of the file as it is sealed, with all its secrets. */
	readonly #head = Buffer.alloc(HEADER_BYTES);
	#concentrators: { identity: number; domain: number; chainSeed: Buffer }[] = [];
	#meters = new Map<string, Entry>();
	/** Which file was read: its inode changes with each write. */
	#seen = "";
	#isChanging = false;
	/** Changes with every writing and reading, by whomever. */
	revision = 0;

	private constructor(folder: string, lock: FileLock) {
		this.folder = folder;
		this.#path = registryPath(folder);
		this.#lock = lock;
	}

	static exists(folder: string): boolean {
		return existsSync(registryPath(folder));
	}

	/** Begins a registry with new secrets. The lock stays the caller's, who closes it after the registry. */
	static create(folder: string, lock: FileLock, options: RegistryOptions): Registry {
		const {
			calendarFirstEpoch,
			calendarLevels = 14,
			teslaIntervalSeconds = 900,
			concentrators = [{ identity: 1, domain: 1 }],
			random = randomBytes,
		} = options;
		if (Registry.exists(folder)) throw new UserError(`there is a registry in ${folder} already`);
		if (!isWithin(calendarLevels, 1, 16)) throw new UserError("a calendar has 1 to 16 levels");
		if (!isWithin(teslaIntervalSeconds, 1, 43_200)) throw new UserError("a TESLA interval has 1 to 43200 s");
		if (!isWithin(calendarFirstEpoch, 0, EPOCH_MAX)) throw new UserError("the calendar begins with no such day");
		const self = new Registry(folder, lock);
		const head = self.#head;
		head.writeUInt32BE(MAGIC, 0);
		head[4] = VERSION;
		head[5] = calendarLevels;
		head.writeUInt16BE(teslaIntervalSeconds, 6);
		head.writeUInt16BE(calendarFirstEpoch, 8);
		for (const at of [MASTER_KEY, CALENDAR_SEED, STORE_KEY]) head.set(random(SECRET_BYTES), at);
		const root = options.calendarRoot(
			head.subarray(CALENDAR_SEED, CALENDAR_SEED + SECRET_BYTES),
			calendarFirstEpoch,
			calendarLevels,
			teslaIntervalSeconds,
		);
		if (root.length !== CALENDAR_ROOT_BYTES) throw new UserError("a calendar's root has 16 bytes");
		head.set(root, CALENDAR_ROOT);
		if (options.updateKey !== undefined) {
			if (options.updateKey.length !== UPDATE_KEY_BYTES) throw new UserError("an LMS public key has 56 bytes");
			head.set(options.updateKey, UPDATE_KEY);
		}
		self.#concentrators = concentrators.map(({ identity, domain }) => ({
			identity,
			domain,
			chainSeed: Buffer.from(random(SECRET_BYTES)),
		}));
		self.#write();
		return self;
	}

	static open(folder: string, lock: FileLock): Registry {
		const self = new Registry(folder, lock);
		self.#read();
		return self;
	}

	/** Wipes every secret. */
	close(): void {
		this.#head.fill(0);
		for (const { chainSeed } of this.#concentrators) chainSeed.fill(0);
		this.#concentrators = [];
		this.#meters.clear();
	}

	/** Reads again what another process has changed. @returns whether anything was */
	refresh(): boolean {
		if (this.#fileMark() === this.#seen) return false;
		this.#read();
		return true;
	}

	get calendarFirstEpoch(): number {
		return this.#head.readUInt16BE(8);
	}

	get calendarLevels(): number {
		return this.#head[5]!;
	}

	get teslaIntervalSeconds(): number {
		return this.#head.readUInt16BE(6);
	}

	/** 16 bytes, public. */
	get calendarRoot(): Uint8Array {
		return new Uint8Array(this.#head.subarray(CALENDAR_ROOT, CALENDAR_ROOT + CALENDAR_ROOT_BYTES));
	}

	/** 56 bytes, public; zeros: none yet. */
	get updateKey(): Uint8Array {
		return new Uint8Array(this.#head.subarray(UPDATE_KEY, UPDATE_KEY + UPDATE_KEY_BYTES));
	}

	setUpdateKey(key: Uint8Array): void {
		if (key.length !== UPDATE_KEY_BYTES) throw new UserError("an LMS public key has 56 bytes");
		this.#change(() => this.#head.set(key, UPDATE_KEY));
	}

	/** The calendar's seed, 32 bytes of its own; the caller wipes it. */
	calendarSeed(): Uint8Array {
		return new Uint8Array(this.#head.subarray(CALENDAR_SEED, CALENDAR_SEED + SECRET_BYTES));
	}

	/** Seals the head end's sessions on disk, 32 bytes of its own; the caller wipes it. */
	storeKey(): Uint8Array {
		return new Uint8Array(this.#head.subarray(STORE_KEY, STORE_KEY + SECRET_BYTES));
	}

	concentrators(): RegistryConcentrator[] {
		return this.#concentrators.map(({ identity, domain }) => ({ identity, domain }));
	}

	/** Meters in the order in which they were added. */
	list(): RegistryMeter[] {
		return [...this.#meters.values()].map(viewOf);
	}

	meter(id: string): RegistryMeter | undefined {
		const entry = this.#meters.get(id);
		return entry && viewOf(entry);
	}

	/**
	 * Keys for a new meter, or the next generation for one that was decommissioned.
	 * @param epoch first day of the keys
	 * @param into what the meter gets, the caller's to wipe
	 */
	addMeter(id: string, domain: number, shortAddress: number, epoch: number, into: DeviceFile): void {
		if (!isMeterId(id)) throw new UserError(`${id} is no identifier of a meter: 16 lower-case hexadecimal digits`);
		if (!isWithin(domain, 0, 0xfffe)) throw new UserError(`there is no domain ${domain} for meters: 0 to 65534`);
		if (!isWithin(shortAddress, 0, 0xffff)) throw new UserError(`there is no short address ${shortAddress}`);
		this.#checkEpoch(epoch);
		this.#change(() => {
			const known = this.#meters.get(id);
			if (known && !known.isDecommissioned) throw new UserError(`${id} has keys already; renew them`);
			for (const other of this.#meters.values())
				if (!other.isDecommissioned && other.domain === domain && other.shortAddress === shortAddress)
					throw new UserError(`short address ${shortAddress} of domain ${domain} is that of ${other.id}`);
			const newestGeneration = (known?.newestGeneration ?? 0) + 1;
			if (newestGeneration > 0xffff) throw new UserError(`${id} has had all generations of keys`);
			this.#meters.set(id, {
				id,
				domain,
				shortAddress,
				generation: 0,
				epoch,
				newestGeneration,
				newestEpoch: epoch,
				isDecommissioned: false,
			});
		});
		this.#fill(this.#meters.get(id)!, into);
	}

	/** The next generation of keys of a meter. Until `confirmMeter` the head end listens to both. */
	renewMeter(id: string, epoch: number, into: DeviceFile): void {
		this.#checkEpoch(epoch);
		this.#change(() => {
			const entry = this.#active(id);
			if (entry.newestGeneration >= 0xffff) throw new UserError(`${id} has had all generations of keys`);
			entry.newestGeneration++;
			entry.newestEpoch = epoch;
		});
		this.#fill(this.#active(id), into);
	}

	/** The newest keys again, for a device file that got lost on its way. Refused once the meter is known to have them. */
	newestKeys(id: string, into: DeviceFile): void {
		const entry = this.#active(id);
		if (entry.generation === entry.newestGeneration)
			throw new UserError(`${id} has its newest keys, and keys are never given twice; renew them`);
		this.#fill(entry, into);
	}

	/** The meter is known to have the keys of this generation. */
	confirmMeter(id: string, generation: number): void {
		if (this.#active(id).generation === generation) return;
		this.#change(() => {
			const entry = this.#active(id);
			if (generation !== entry.newestGeneration)
				throw new UserError(`generation ${generation} is not the newest that ${id} was given`);
			entry.generation = generation;
			entry.epoch = entry.newestEpoch;
		});
	}

	/** Several changes in one writing: all or none. */
	batch<T>(action: () => T): T {
		if (this.#isChanging) return action();
		let result: T | undefined;
		this.#change(() => {
			result = action();
		});
		return result!;
	}

	/** Nothing of this meter is believed from now on. */
	decommission(id: string): void {
		if (this.#meters.get(id)?.isDecommissioned) return;
		this.#change(() => {
			this.#active(id).isDecommissioned = true;
		});
	}

	/**
	 * V_e of a meter: the value that gives the chains of a day.
	 * @param branch 0 end to end, 1 neighbourhood
	 * @param into receives 32 bytes; the caller wipes them
	 */
	dayValue(id: string, generation: number, branch: 0 | 1, epoch: number, into: Uint8Array, offset: number): void {
		const bytes = Buffer.alloc(5 * ODOMETER_VALUE_BYTES);
		const value = 4 * ODOMETER_VALUE_BYTES;
		this.#root(id, generation, branch, bytes, value);
		startOdometer(this.#crypto, bytes, 0, epoch, value);
		into.set(bytes.subarray(value, value + ODOMETER_VALUE_BYTES), offset);
		bytes.fill(0);
	}

	/**
	 * What a concentrator gets of its meters for the rest of a block of 16 days: of each active meter the value of `epoch`,
	 * which gives that day and those after it in its block. Of a meter that is not known to have its newest keys both. Keys
	 * whose first day lies in a later block are left out.
	 */
	delegate(domain: number, epoch: number): Delegation {
		const block = epoch >> 4;
		const day = epoch & 15;
		const meters: DelegatedDay[] = [];
		const bytes = Buffer.alloc(2 * ODOMETER_VALUE_BYTES);
		const add = ({ id, shortAddress }: Entry, generation: number, firstEpoch: number): void => {
			if (firstEpoch >> 4 > block) return;
			this.#root(id, generation, 1, bytes, 0);
			blockSeed(this.#crypto, bytes, block, 0);
			nextBlockDay(this.#crypto, bytes, 0, 0, day, ODOMETER_VALUE_BYTES);
			const value = new Uint8Array(bytes.subarray(ODOMETER_VALUE_BYTES));
			meters.push({ id, generation, shortAddress, value });
		};
		for (const entry of this.#meters.values()) {
			if (entry.domain !== domain || entry.isDecommissioned) continue;
			if (entry.generation > 0 && entry.generation !== entry.newestGeneration)
				add(entry, entry.generation, entry.epoch);
			add(entry, entry.newestGeneration, entry.newestEpoch);
		}
		bytes.fill(0);
		return { domain, block, day, meters };
	}

	/** The seed of a concentrator's own TESLA chains, 32 bytes of its own; the caller wipes it. */
	concentratorChainSeed(domain: number): Uint8Array {
		const found = this.#concentrators.find((concentrator) => concentrator.domain === domain);
		if (!found) throw new UserError(`the registry knows no concentrator of domain ${domain}`);
		return new Uint8Array(found.chainSeed);
	}

	/** Writes a file beside the registry, sealed as it is. */
	sealFile(name: string, content: Uint8Array): void {
		writeSecret(join(this.folder, name), this.#lock.seal(content));
	}

	/** What `sealFile` wrote, the caller's to wipe; undefined when there is none. */
	openFile(name: string): Buffer | undefined {
		const path = join(this.folder, name);
		return existsSync(path) ? this.#lock.open(readFileSync(path), path) : undefined;
	}

	#checkEpoch(epoch: number): void {
		const end = this.calendarFirstEpoch + 2 ** this.calendarLevels;
		if (!isWithin(epoch, this.calendarFirstEpoch, Math.min(EPOCH_MAX, end - 1)))
			throw new UserError(`day ${epoch} is outside of the calendar: ${this.calendarFirstEpoch} to ${end - 1}`);
	}

	#active(id: string): Entry {
		const entry = this.#meters.get(id);
		if (!entry) throw new UserError(`the registry knows no meter ${id}`);
		if (entry.isDecommissioned) throw new UserError(`${id} was decommissioned`);
		return entry;
	}

	/** R_E or R_N = KDF(MK, "E" or "N", id ‖ generation). */
	#root(id: string, generation: number, branch: 0 | 1, into: Uint8Array, offset: number): void {
		const context = Buffer.alloc(DEVICE_ID_BYTES + 2);
		context.write(id, 0, "hex");
		context.writeUInt16BE(generation, DEVICE_ID_BYTES);
		const label = branch === 0 ? Label.rootEndToEnd : Label.rootNeighbourhood;
		this.#crypto.kdf(this.#head, MASTER_KEY, SECRET_BYTES, label, context, 0, 10, into, offset, ODOMETER_VALUE_BYTES);
	}

	#fill(entry: Entry, into: DeviceFile): void {
		wipeDeviceFile(into);
		into.generation = entry.newestGeneration;
		into.domain = entry.domain;
		into.shortAddress = entry.shortAddress;
		into.epoch = entry.newestEpoch;
		into.calendarFirstEpoch = this.calendarFirstEpoch;
		into.calendarLevels = this.calendarLevels;
		into.teslaIntervalSeconds = this.teslaIntervalSeconds;
		into.id.set(Buffer.from(entry.id, "hex"));
		into.calendarRoot.set(this.calendarRoot);
		into.updateKey.set(this.updateKey);
		this.#root(entry.id, entry.newestGeneration, 0, into.roots, 0);
		this.#root(entry.id, entry.newestGeneration, 1, into.roots, ODOMETER_VALUE_BYTES);
	}

	/** Changes what the file says now, whoever wrote it, and writes it. */
	#change(action: () => void): void {
		if (this.#isChanging) {
			action();
			return;
		}
		const release = holdExclusively(`${this.#path}.lock`, "the registry", LOCK_MILLISECONDS_MAX);
		try {
			this.refresh();
			this.#isChanging = true;
			try {
				action();
				this.#write();
			} catch (error) {
				this.#read(); // whatever was half done is forgotten
				throw error;
			}
		} finally {
			this.#isChanging = false;
			release();
		}
	}

	#fileMark(): string {
		const { ino, mtimeMs, size } = statSync(this.#path);
		return `${ino} ${mtimeMs} ${size}`;
	}

	#write(): void {
		const meters = [...this.#meters.values()];
		const plain = Buffer.alloc(
			HEADER_BYTES + CONCENTRATOR_BYTES * this.#concentrators.length + METER_BYTES * meters.length,
		);
		this.#head.writeUInt16BE(this.#concentrators.length, 10);
		this.#head.writeUInt32BE(meters.length, 12);
		plain.set(this.#head);
		let at = HEADER_BYTES;
		for (const { identity, domain, chainSeed } of this.#concentrators) {
			plain.writeUInt32BE(identity, at);
			plain.writeUInt16BE(domain, at + 4);
			plain.set(chainSeed, at + 8);
			at += CONCENTRATOR_BYTES;
		}
		for (const meter of meters) {
			plain.write(meter.id, at, "hex");
			plain.writeUInt16BE(meter.domain, at + 8);
			plain.writeUInt16BE(meter.shortAddress, at + 10);
			plain.writeUInt16BE(meter.generation, at + 12);
			plain.writeUInt16BE(meter.epoch, at + 14);
			plain.writeUInt16BE(meter.newestGeneration, at + 16);
			plain.writeUInt16BE(meter.newestEpoch, at + 18);
			plain[at + 20] = meter.isDecommissioned ? 1 : 0;
			at += METER_BYTES;
		}
		const sealed = this.#lock.seal(plain);
		plain.fill(0);
		writeSecret(this.#path, sealed);
		this.#seen = this.#fileMark();
		this.revision++;
	}

	#read(): void {
		let sealed: Buffer;
		try {
			this.#seen = this.#fileMark();
			sealed = readFileSync(this.#path);
		} catch {
			throw new UserError(`there is no registry in ${this.folder}`);
		}
		this.revision++;
		const plain = this.#lock.open(sealed, this.#path);
		try {
			this.#parse(plain);
		} finally {
			plain.fill(0);
		}
	}

	#parse(plain: Buffer): void {
		if (plain.length < HEADER_BYTES || plain.readUInt32BE(0) !== MAGIC)
			throw new UserError(`${this.#path} is no registry`);
		if (plain[4] !== VERSION)
			throw new UserError(`${this.#path} was written by a newer wattlock (version ${plain[4]})`);
		const concentratorCount = plain.readUInt16BE(10);
		const meterCount = plain.readUInt32BE(12);
		if (plain.length !== HEADER_BYTES + CONCENTRATOR_BYTES * concentratorCount + METER_BYTES * meterCount)
			throw new UserError(`${this.#path} is damaged`);
		this.#head.set(plain.subarray(0, HEADER_BYTES));
		let at = HEADER_BYTES;
		this.#concentrators = Array.from({ length: concentratorCount }, () => {
			const entry = {
				identity: plain.readUInt32BE(at),
				domain: plain.readUInt16BE(at + 4),
				chainSeed: Buffer.from(plain.subarray(at + 8, at + CONCENTRATOR_BYTES)),
			};
			at += CONCENTRATOR_BYTES;
			return entry;
		});
		this.#meters = new Map();
		for (let index = 0; index < meterCount; index++) {
			const id = plain.toString("hex", at, at + DEVICE_ID_BYTES);
			this.#meters.set(id, {
				id,
				domain: plain.readUInt16BE(at + 8),
				shortAddress: plain.readUInt16BE(at + 10),
				generation: plain.readUInt16BE(at + 12),
				epoch: plain.readUInt16BE(at + 14),
				newestGeneration: plain.readUInt16BE(at + 16),
				newestEpoch: plain.readUInt16BE(at + 18),
				isDecommissioned: plain[at + 20] === 1,
			});
			at += METER_BYTES;
		}
	}
}
