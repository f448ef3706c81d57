import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Status } from "../../src/bytes/status.js";
import { SERVER_STATE_BYTES, ServerUnicast } from "../../src/key-store/server-unicast.js";
import { UNICAST_OVERHEAD_BYTES, UnicastType } from "../../src/key-store/unicast.js";
import { CONTENT_PREFIX_BYTES, WHOLE_DAY } from "../../src/messages/channel.js";
import { DEVICE_ID_BYTES, type DeviceFile } from "../../src/provisioning/device-file.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { holdExclusively } from "../head-end/exclusive-file.js";
import { Registry } from "../head-end/registry.js";
import { UserError } from "../user-error.js";
import { calendarRoot } from "./calendar-root.js";
import type { KeyAuthority, RegistryEntry } from "./key-authority.js";
import { today } from "./operations.js";
import { type FileLock, writeSecret } from "./sealed-file.js";

/**
 * Chains of the optical port, version 1, as they lie inside a sealed file: 8 + 70 n bytes, big-endian.
 * | offset  | size | field      | unit and range                                                      |
 * |--------:|-----:|------------|---------------------------------------------------------------------|
 * |       0 |    4 | magic      | "WLch"                                                              |
 * |       4 |    1 | version    | 1                                                                   |
 * |       5 |    3 | reserved   | 0                                                                   |
 * |  8 + 70i |   8 | id         | of meter i                                                          |
 * | 16 + 70i |   2 | generation |                                                                     |
 * | 18 + 70i |  60 | state      | of `ServerUnicast`, end to end                                      |
 */
const MAGIC = 0x574c_6368; // "WLch"
const HEADER_BYTES = 8;
const ENTRY_BYTES = DEVICE_ID_BYTES + 2 + SERVER_STATE_BYTES;

/**
 * The head end of one technician's command: the registry, and the end-to-end chains under which authorisations are
 * sealed. Each index is durable before it is used. While it is open no other process has the chains: two that seal under
 * one index would use a key twice.
 */
class RegistryAuthority implements KeyAuthority {
	readonly #registry: Registry;
	readonly #lock: FileLock;
	readonly #path: string;
	readonly #release: () => void;
	readonly #states = new Map<string, Buffer>();
	readonly #chains = new Map<string, ServerUnicast>();
	readonly #crypto = new NodeCrypto();

	constructor(registry: Registry, lock: FileLock) {
		this.#registry = registry;
		this.#lock = lock;
		this.#path = join(registry.folder, "chains.wlsf");
		this.#release = holdExclusively(join(registry.folder, "chains.lock"), "the chains of the head end");
		try {
			this.#load();
		} catch (error) {
			this.close();
			throw error;
		}
	}

	list(): readonly RegistryEntry[] {
		return this.#registry.list();
	}

	add(meter: { id: string; domain: number; shortAddress: number; epoch: number }, into: DeviceFile): void {
		this.#registry.addMeter(meter.id, meter.domain, meter.shortAddress, meter.epoch, into);
	}

	again(id: string, into: DeviceFile): void {
		this.#registry.newestKeys(id, into);
	}

	renew(id: string, epoch: number, into: DeviceFile): void {
		this.#registry.renewMeter(id, epoch, into);
	}

	authorise(id: string, generation: number, epoch: number, message: Uint8Array): Uint8Array {
		const chain = this.#chain(id, generation, epoch);
		if (chain.epoch !== epoch)
			throw new UserError(
				`the head end stands at day ${chain.epoch} of this meter's keys, the meter at ${epoch}: the meter needs the day's ANCHOR`,
			);
		const content = new Uint8Array(CONTENT_PREFIX_BYTES + message.length);
		content[0] = WHOLE_DAY >> 8;
		content[1] = WHOLE_DAY & 0xff;
		content.set(message, CONTENT_PREFIX_BYTES);
		const sealed = new Uint8Array(content.length + UNICAST_OVERHEAD_BYTES);
		if (chain.sealMessage(UnicastType.command, content, content.length, sealed) === 0)
			throw new UserError(`32 authorisations of today did not reach ${id}; it takes the next one tomorrow`);
		return sealed;
	}

	open(id: string, generation: number, sealed: Uint8Array): Uint8Array | undefined {
		const chain = this.#chain(id, generation, 0);
		const content = new Uint8Array(sealed.length);
		if (chain.openMessage(sealed, sealed.length, content) !== Status.ok) return undefined;
		if (chain.openedByteLength < CONTENT_PREFIX_BYTES) return undefined;
		chain.acknowledge(content[0]! * 256 + content[1]!);
		return content.subarray(0, chain.openedByteLength);
	}

	confirm(id: string, generation: number): void {
		this.#registry.confirmMeter(id, generation);
	}

	decommission(id: string): void {
		this.#registry.decommission(id);
		for (const name of this.#states.keys()) if (name.startsWith(id)) this.#forget(name);
		this.#save();
	}

	anchor(_epoch: number): Uint8Array | undefined {
		return undefined;
	}

	close(): void {
		for (const state of this.#states.values()) state.fill(0);
		this.#states.clear();
		this.#chains.clear();
		this.#registry.close();
		this.#release();
	}

	/** The chain of these keys, at `epoch` or at a later day where it stands already. */
	#chain(id: string, generation: number, epoch: number): ServerUnicast {
		const name = `${id}${generation}`;
		let chain = this.#chains.get(name);
		if (!chain) {
			const meter = this.#registry.meter(id);
			if (!meter) throw new UserError(`the registry knows no meter ${id}`);
			const { domain, shortAddress } = meter;
			const idBytes = new Uint8Array(Buffer.from(id, "hex"));
			chain = new ServerUnicast(this.#crypto, {
				branch: 0,
				id: idBytes,
				domain,
				shortAddress,
				save: (state) => {
					const kept = this.#states.get(name) ?? Buffer.alloc(SERVER_STATE_BYTES);
					kept.set(state);
					this.#states.set(name, kept);
					this.#save();
					return true;
				},
			});
			const state = this.#states.get(name);
			if (state && chain.restore(state) !== Status.ok) throw new UserError(`${this.#path} is of another version`);
			this.#chains.set(name, chain);
		}
		if (!this.#states.has(name) || chain.epoch < epoch) {
			const value = new Uint8Array(32);
			this.#registry.dayValue(id, generation, 0, epoch, value, 0);
			chain.startDay(epoch, value, 0);
			value.fill(0);
		}
		return chain;
	}

	#forget(name: string): void {
		this.#states.get(name)?.fill(0);
		this.#states.delete(name);
		this.#chains.delete(name);
	}

	#load(): void {
		if (!existsSync(this.#path)) return;
		const plain = this.#lock.open(readFileSync(this.#path), this.#path);
		if (
			plain.length < HEADER_BYTES ||
			(plain.length - HEADER_BYTES) % ENTRY_BYTES !== 0 ||
			plain.readUInt32BE(0) !== MAGIC
		)
			throw new UserError(`${this.#path} holds no chains`);
		if (plain[4] !== 1) throw new UserError(`${this.#path} was written by a newer wattlock`);
		for (let at = HEADER_BYTES; at < plain.length; at += ENTRY_BYTES) {
			const name = `${plain.toString("hex", at, at + DEVICE_ID_BYTES)}${plain.readUInt16BE(at + DEVICE_ID_BYTES)}`;
			this.#states.set(name, Buffer.from(plain.subarray(at + DEVICE_ID_BYTES + 2, at + ENTRY_BYTES)));
		}
		plain.fill(0);
	}

	#save(): void {
		const plain = Buffer.alloc(HEADER_BYTES + ENTRY_BYTES * this.#states.size);
		plain.writeUInt32BE(MAGIC, 0);
		plain[4] = 1;
		let at = HEADER_BYTES;
		for (const [name, state] of this.#states) {
			plain.write(name.slice(0, 16), at, "hex");
			plain.writeUInt16BE(Number(name.slice(16)), at + DEVICE_ID_BYTES);
			plain.set(state, at + DEVICE_ID_BYTES + 2);
			at += ENTRY_BYTES;
		}
		const sealed = this.#lock.seal(plain);
		plain.fill(0);
		writeSecret(this.#path, sealed);
	}
}

export function openAuthority(folder: string, lock: FileLock): KeyAuthority {
	return new RegistryAuthority(Registry.open(folder, lock), lock);
}

/** Begins a registry with a new master key, and a calendar that begins yesterday. @param domain of its concentrator */
export function createAuthority(folder: string, lock: FileLock, domain: number, calendarLevels = 14): KeyAuthority {
	const registry = Registry.create(folder, lock, {
		calendarFirstEpoch: today() - 1,
		calendarLevels,
		calendarRoot,
		concentrators: [{ identity: 1, domain }],
	});
	return new RegistryAuthority(registry, lock);
}
