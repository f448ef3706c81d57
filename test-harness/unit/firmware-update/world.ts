import { createHash } from "node:crypto";
import { Status } from "../../../src/bytes/status.js";
import { BootLoader } from "../../../src/firmware-update/boot.js";
import { type SecurityVersionStore, UpdateMachine } from "../../../src/firmware-update/update-machine.js";
import {
	createManifest,
	createUpdateStatus,
	decodeManifest,
	decodeUpdateStatus,
	encodeManifest,
	encodeUpdateData,
	encodeUpdateOffer,
	encodeUpdateOrder,
	FirmwareTarget,
	MANIFEST_BYTES,
	type Manifest,
	UPDATE_BLOCK_BYTES,
	type UpdateStatus,
} from "../../../src/messages/firmware-update.js";
import { Kind } from "../../../src/messages/kinds.js";
import type { NorFlash } from "../../../src/platform/flash.js";
import { STORAGE_SECTORS } from "../../../src/storage/layout.js";
import { FlashSimulator, type FlashSimulatorOptions } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { leafHash, lmsParameters, publicKeyOf, signLeaf, treeOf } from "../../signer/lms-tree.js";

/** A small key of fixed bytes: 32 leaves, w = 4. Tests use its leaves as often as they like. */
export class TestKey {
	readonly parameters = lmsParameters(5, 4);
	readonly identifier: Buffer;
	readonly publicKey: Buffer;
	readonly #secret: Buffer;
	readonly #nodes: Buffer;

	constructor(name: string) {
		const bytes = (what: string) => createHash("sha256").update(`${name} ${what}`).digest();
		this.identifier = bytes("identifier").subarray(0, 16);
		this.#secret = bytes("secret");
		const leaves = Array.from({ length: 32 }, (_, leaf) =>
			leafHash(this.parameters, this.identifier, this.#secret, leaf),
		);
		this.#nodes = treeOf(this.parameters, this.identifier, Buffer.concat(leaves));
		this.publicKey = publicKeyOf(this.parameters, this.identifier, this.#nodes);
	}

	sign(message: Uint8Array): Buffer {
		const randomizer = createHash("sha256").update(message).digest();
		return signLeaf(this.parameters, this.identifier, this.#secret, this.#nodes, 7, randomizer, message);
	}
}

export const KEY = new TestKey("firmware");

export interface Image {
	readonly manifest: Uint8Array;
	readonly signature: Uint8Array;
	readonly body: Uint8Array;
	readonly imageId: number;
	readonly blockCount: number;
}

/** Bytes that differ everywhere and are no repetition; some are 0xFF. */
export function bodyOf(byteLength: number, salt: number): Uint8Array {
	let random = salt >>> 0;
	return Uint8Array.from({ length: byteLength }, () => {
		random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
		return random >>> 24;
	});
}

export interface ImageOptions {
	readonly version?: readonly [number, number, number];
	readonly securityVersion?: number;
	readonly target?: number;
	readonly body?: Uint8Array;
	readonly key?: TestKey;
	/** Changes the manifest before it is signed. */
	readonly change?: (manifest: Manifest) => void;
}

export function signImage(options: ImageOptions = {}): Image {
	const body = options.body ?? bodyOf(5000, 1);
	const key = options.key ?? KEY;
	const [major, minor, patch] = options.version ?? [0, 2, 0];
	const manifest: Manifest = {
		...createManifest(),
		major,
		minor,
		patch,
		target: options.target ?? FirmwareTarget.inProcess,
		securityVersion: options.securityVersion ?? 1,
		bodyBytes: body.length,
		builtSeconds: 800_000_000,
		keyIdentifier: key.identifier,
		bodyDigest: createHash("sha256").update(body).digest(),
	};
	options.change?.(manifest);
	const bytes = new Uint8Array(MANIFEST_BYTES);
	encodeManifest(manifest, new DataView(bytes.buffer), 0);
	const imageId = createHash("sha256").update(bytes).digest().readUInt32BE();
	return {
		manifest: bytes,
		signature: Uint8Array.from(key.sign(bytes)),
		body,
		imageId,
		blockCount: Math.ceil(body.length / UPDATE_BLOCK_BYTES),
	};
}

/** Survives power cuts as the key store does. */
export class MemorySecurity implements SecurityVersionStore {
	minimum = 0;
	raises = 0;
	fails = false;

	minimumSecurityVersion(): number {
		return this.minimum;
	}

	raiseSecurityVersion(version: number): Status {
		if (this.fails) return Status.corrupt;
		this.raises++;
		this.minimum = Math.max(this.minimum, version);
		return Status.ok;
	}
}

export const STRICT = Object.freeze({ writeBytes: 16, writeOnce: true });

export function newFlash(options: FlashSimulatorOptions = {}): FlashSimulator {
	return new FlashSimulator({ sectorCount: STORAGE_SECTORS, ...STRICT, ...options });
}

export const BUILT_IN = Object.freeze({ major: 0, minor: 1, patch: 0, securityVersion: 0 });

export interface MeterOptions {
	/** False: a host that starts nothing out of flash. */
	readonly boots?: boolean;
	readonly key?: Uint8Array | undefined;
	readonly trialMilliseconds?: number;
	readonly flash?: NorFlash;
}

/** A meter as far as its update goes: what `boot` starts is what the boot loader chooses. */
export class TestMeter {
	readonly flash: FlashSimulator;
	readonly security: MemorySecurity;
	readonly #options: MeterOptions;
	machine!: UpdateMachine;
	slot = -1;
	version = "";
	now = 0;
	openStatus: Status = Status.ok;
	readonly #bytes = new Uint8Array(1024);
	readonly #view = new DataView(this.#bytes.buffer);

	constructor(flash: FlashSimulator, security = new MemorySecurity(), options: MeterOptions = {}) {
		this.flash = flash;
		this.security = security;
		this.#options = options;
	}

	boot(): this {
		const { boots = true, flash = this.flash } = this.#options;
		const crypto = new NodeCrypto();
		this.now += 1000;
		let running: Pick<Manifest, "major" | "minor" | "patch" | "securityVersion"> = BUILT_IN;
		this.slot = -1;
		if (boots) {
			const loader = new BootLoader(flash, crypto, {
				target: FirmwareTarget.inProcess,
				publicKey: KEY.publicKey,
				minimumSecurityVersion: this.security.minimum,
			});
			this.slot = loader.choose();
			if (this.slot > 0) {
				const manifest = createManifest();
				const head = new Uint8Array(MANIFEST_BYTES);
				flash.read(loader.bodyAddress - 5 * 4096, head, MANIFEST_BYTES);
				decodeManifest(new DataView(head.buffer), 0, manifest);
				running = manifest;
			}
		}
		this.version = `${running.major}.${running.minor}.${running.patch}`;
		this.machine = new UpdateMachine(flash, crypto, this.security, {
			running,
			target: FirmwareTarget.inProcess,
			bootedSlot: this.slot,
			...(this.#options.trialMilliseconds === undefined ? {} : { trialMilliseconds: this.#options.trialMilliseconds }),
		});
		this.openStatus = this.machine.open(this.now);
		const key = "key" in this.#options ? this.#options.key : KEY.publicKey;
		if (key !== undefined) this.machine.setPublicKey(key, 0, key.length);
		return this;
	}

	/** Runs what the machine wants to do. */
	work(): void {
		for (let i = 0; this.machine.deadlineMilliseconds() < this.now + 5000; i++) {
			if (i > 10_000) throw new Error("the work does not end");
			this.now = Math.max(this.now, this.machine.deadlineMilliseconds());
			this.machine.tick(this.now);
		}
	}

	#receive(byteLength: number): Status {
		const copy = this.#bytes.slice(0, byteLength);
		return this.machine.receive(this.now, new DataView(copy.buffer), byteLength);
	}

	raw(bytes: Uint8Array): Status {
		return this.machine.receive(this.now, new DataView(Uint8Array.from(bytes).buffer), bytes.length);
	}

	offer(image: Image, requestId = 1): Status {
		return this.#receive(encodeUpdateOffer(requestId, image.manifest, this.#view));
	}

	signaturePart(image: Image, offset: number, byteLength: number): Status {
		return this.#receive(
			encodeUpdateData(Kind.updateSignature, offset, image.imageId, image.signature, offset, byteLength, this.#view),
		);
	}

	signature(image: Image, from = 0): Status {
		for (let at = from; at < image.signature.length; at += 700) {
			const status = this.signaturePart(image, at, Math.min(700, image.signature.length - at));
			if (status !== Status.ok) return status;
		}
		return Status.ok;
	}

	block(image: Image, index: number, byteLength?: number): Status {
		const at = index * UPDATE_BLOCK_BYTES;
		const count = byteLength ?? Math.max(1, Math.min(UPDATE_BLOCK_BYTES, image.body.length - at));
		const data = new Uint8Array(count);
		data.set(image.body.subarray(at, at + count));
		return this.#receive(encodeUpdateData(Kind.updateBlock, index, image.imageId, data, 0, count, this.#view));
	}

	order(
		kind: typeof Kind.updateActivate | typeof Kind.updateStatusRequest | typeof Kind.updateCancel,
		imageId: number,
		requestId = 2,
	): Status {
		return this.#receive(encodeUpdateOrder(kind, requestId, imageId, this.#view));
	}

	/** The status that is owed, if one is. */
	told(): UpdateStatus | undefined {
		const view = new DataView(new ArrayBuffer(1024));
		const byteLength = this.machine.transmit(view);
		if (byteLength === 0) return undefined;
		const status = createUpdateStatus();
		const decoded = decodeUpdateStatus(view, byteLength, status);
		if (decoded !== Status.ok) throw new Error(`a status that its own decoder refuses: ${decoded}`);
		return status;
	}

	ask(): UpdateStatus {
		this.order(Kind.updateStatusRequest, 0, 99);
		const status = this.told();
		if (status === undefined) throw new Error("no status");
		return status;
	}

	/** Offers, sends what the meter says is missing, in the order that is given, until it is verified. */
	transfer(image: Image, order: (missing: number[]) => number[] = (missing) => missing): void {
		for (let round = 0; round < 50; round++) {
			this.work();
			const status = this.ask();
			if (status.state === 6 || status.state === 7) return;
			if (status.state === 0) this.offer(image);
			else if (status.state === 1) this.signature(image, status.signatureNext);
			else if (status.state === 4) {
				const missing: number[] = [];
				for (let i = 0; i < status.rangeCount; i++)
					for (let n = 0; n < status.ranges[2 * i + 1]!; n++) missing.push(status.ranges[2 * i]! + n);
				for (const index of order(missing)) this.block(image, index);
			}
		}
		throw new Error(`the transfer does not end: ${JSON.stringify(this.ask())}`);
	}

	activate(image: Image): Status {
		return this.order(Kind.updateActivate, image.imageId);
	}
}
