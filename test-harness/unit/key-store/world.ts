import assert from "node:assert/strict";
import { Status } from "../../../src/bytes/status.js";
import type { Crypto } from "../../../src/crypto/crypto.js";
import { Arena } from "../../../src/key-store/arena.js";
import { KeyStore, keyStoreArenaBytes, type Provisioning } from "../../../src/key-store/key-store.js";
import { startOdometer } from "../../../src/key-store/odometer.js";
import type { RecordPart } from "../../../src/key-store/record-part.js";
import { ServerUnicast } from "../../../src/key-store/server-unicast.js";
import type { DeviceKey } from "../../../src/platform/device-key.js";
import type { MonotonicCounter } from "../../../src/platform/monotonic-counter.js";
import { FlashSimulator, type FlashSimulatorOptions } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";

export const AREA = Object.freeze({ firstSector: 1, sectorCount: 3 });
/** One sector on each side that must stay as it is. */
export const FLASH = Object.freeze({ sectorBytes: 1024, sectorCount: 5, writeBytes: 16, writeOnce: true });

export function deviceKey(first = 0x80): DeviceKey {
	return {
		copyTo(into, offset) {
			for (let i = 0; i < 32; i++) into[offset + i] = first + i;
		},
	};
}

export const PROVISIONING: Provisioning = Object.freeze({
	id: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]),
	generation: 1,
	domain: 0x0102,
	shortAddress: 0x0304,
	epoch: 40_000,
	roots: Uint8Array.from({ length: 64 }, (_, i) => i),
	calendarRoot: Uint8Array.from({ length: 16 }, (_, i) => 0xc0 + i),
	calendarFirstEpoch: 32_768,
	calendarLevels: 15,
	teslaIntervalSeconds: 900,
	updateKey: Uint8Array.from({ length: 56 }, (_, i) => 0x40 + i),
});

export interface World {
	readonly flash: FlashSimulator;
	readonly store: KeyStore;
	readonly arena: Arena;
}

export interface Extras {
	readonly key?: DeviceKey;
	readonly part?: RecordPart;
	readonly counter?: MonotonicCounter;
	/** No witness has spoken yet. */
	readonly isUnwitnessed?: boolean;
}

/** A store on flash, opened, and confirmed by a witness that knows nothing. */
export function openWorld(flash: FlashSimulator, crypto: Crypto = new NodeCrypto(), extras: Extras = {}): World {
	const { key = deviceKey(), part, counter, isUnwitnessed = false } = extras;
	const arena = new Arena(keyStoreArenaBytes(part?.byteLengthMax ?? 0));
	const store = new KeyStore(crypto, flash, key, AREA, arena, part, counter);
	store.open();
	if (!isUnwitnessed && store.isProvisioned) store.witness(0);
	return { flash, store, arena };
}

export function newFlash(options: FlashSimulatorOptions = {}): FlashSimulator {
	return new FlashSimulator({ ...FLASH, ...options });
}

export function provisioned(crypto: Crypto = new NodeCrypto(), extras: Extras = {}): World {
	const world = openWorld(newFlash(), crypto, extras);
	assert.equal(world.store.provision(PROVISIONING), Status.ok, "provision");
	if (extras.isUnwitnessed !== true) assert.equal(world.store.witness(0), Status.ok, "witness");
	return world;
}

/** V_e of a branch, as its server knows it. */
export function dayValue(branch: 0 | 1, epoch: number, crypto: Crypto = new NodeCrypto()): Uint8Array {
	const bytes = new Uint8Array(160);
	bytes.set(PROVISIONING.roots.subarray(32 * branch, 32 * branch + 32), 128);
	startOdometer(crypto, bytes, 0, epoch, 128);
	return bytes.slice(128);
}

/** What an ATTACH says: domain 0x1112, address 0x1314, secret 10, 11, …, identity 0xfedcba98. */
export function attachContent(epoch: number): Uint8Array {
	const secret = Array.from({ length: 16 }, (_, i) => 0x10 + i);
	return Uint8Array.from([0x11, 0x12, 0x13, 0x14, epoch >> 8, epoch, ...secret, 0xfe, 0xdc, 0xba, 0x98]);
}

export class Server {
	readonly unicast: ServerUnicast;
	readonly #branch: 0 | 1;
	saved = new Uint8Array(0);
	saves = 0;
	refuseSave = false;

	constructor(
		branch: 0 | 1,
		epoch: number = PROVISIONING.epoch,
		crypto: Crypto = new NodeCrypto(),
		domain: number = PROVISIONING.domain,
		shortAddress: number = PROVISIONING.shortAddress,
	) {
		this.#branch = branch;
		this.unicast = new ServerUnicast(crypto, {
			branch,
			id: PROVISIONING.id,
			domain,
			shortAddress,
			save: (state) => {
				if (this.refuseSave) return false;
				this.saved = state.slice();
				this.saves++;
				return true;
			},
		});
		if (epoch >= 0) assert.equal(this.unicast.startDay(epoch, dayValue(branch, epoch), 0), Status.ok);
	}

	seal(text: string, type = 0x09): Uint8Array {
		return this.sealBytes(Buffer.from(text), type);
	}

	sealBytes(bytes: Uint8Array, type: number, bound?: Uint8Array): Uint8Array {
		const into = new Uint8Array(bytes.length + 18);
		return into.slice(0, this.unicast.sealMessage(type, bytes, bytes.length, into, bound));
	}

	/** The same state, for a meter that has another address now. */
	moved(domain: number, shortAddress: number): Server {
		const moved = new Server(this.#branch, -1, new NodeCrypto(), domain, shortAddress);
		assert.equal(moved.unicast.restore(this.saved), Status.ok, "restore");
		moved.saved = this.saved;
		return moved;
	}

	open(sealed: Uint8Array): string | Status {
		const into = new Uint8Array(200);
		const status = this.unicast.openMessage(sealed, sealed.length, into);
		return status === Status.ok ? Buffer.from(into.subarray(0, this.unicast.openedByteLength)).toString() : status;
	}
}

export function meterSeal(store: KeyStore, text: string, branch: 0 | 1 = 0, type = 0x08): Uint8Array {
	const into = new Uint8Array(text.length + 18);
	return into.slice(0, store.sealMessage(branch, type, Buffer.from(text), text.length, into));
}

export function meterOpen(store: KeyStore, sealed: Uint8Array): string | Status {
	const into = new Uint8Array(200);
	const status = store.openMessage(sealed, sealed.length, into);
	if (status === Status.ok) return Buffer.from(into.subarray(0, store.openedByteLength)).toString();
	return status;
}
