import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { Status, statusName } from "../../src/bytes/status.js";
import { KeyStore } from "../../src/key-store/key-store.js";
import type { NorFlash } from "../../src/platform/flash.js";
import { createDeviceFile, wipeDeviceFile } from "../../src/provisioning/device-file.js";
import type { VirtualBoard } from "../board/virtual-board.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { Registry, type RegistryOptions } from "../head-end/registry.js";
import { FileLock } from "../provisioning/sealed-file.js";
import { UserError } from "../user-error.js";
import { Random } from "../waveforms/random.js";
import type { AuditedMeter } from "./auditor.js";

export interface FleetKeysOptions {
	/** The head end's folder; the registry and its key file lie in it. */
	readonly folder: string;
	readonly epoch: number;
	/** Days that the run may last. */
	readonly days: number;
	readonly teslaIntervalSeconds: number;
	readonly domain: number;
	readonly calendarRoot: RegistryOptions["calendarRoot"];
	/** LMS public key of firmware, 56 bytes; absent: the meters take no firmware. */
	readonly updateKey?: Uint8Array;
	/** Secrets are drawn from it; absent: from the system. */
	readonly seed?: number;
}

/** The registry of a fleet, and the way keys come into its boards' flash: as in a factory that programs the chips. */
export class FleetKeys {
	readonly registry: Registry;
	readonly keyFile: string;
	readonly #options: FleetKeysOptions;
	readonly #lock: FileLock;
	readonly #crypto = new NodeCrypto();

	constructor(options: FleetKeysOptions) {
		this.#options = options;
		mkdirSync(options.folder, { recursive: true });
		this.keyFile = join(options.folder, "registry.key");
		this.#lock = FileLock.ofKeyFile(this.keyFile, !existsSync(this.keyFile));
		if (Registry.exists(options.folder)) {
			this.registry = Registry.open(options.folder, this.#lock);
			if (options.updateKey !== undefined && !Buffer.from(options.updateKey).equals(this.registry.updateKey))
				throw new UserError("the meters of this store were given another update key: name an empty --store");
			return;
		}
		const random = options.seed === undefined ? undefined : new Random(options.seed, "secrets of the head end");
		this.registry = Registry.create(options.folder, this.#lock, {
			calendarFirstEpoch: options.epoch,
			calendarLevels: Math.max(1, Math.ceil(Math.log2(options.days + 2))),
			teslaIntervalSeconds: options.teslaIntervalSeconds,
			calendarRoot: options.calendarRoot,
			concentrators: [{ identity: 1, domain: options.domain }],
			...(options.updateKey === undefined ? {} : { updateKey: options.updateKey }),
			...(random === undefined
				? {}
				: { random: (byteLength: number) => random.bytes(new Uint8Array(byteLength)) as Uint8Array }),
		});
	}

	/** Gives keys to every board whose flash holds none; a kept store has them. */
	provision(boards: readonly VirtualBoard[]): void {
		this.registry.batch(() => this.#provision(boards));
	}

	#provision(boards: readonly VirtualBoard[]): void {
		const { domain, epoch } = this.#options;
		const file = createDeviceFile();
		for (const board of boards) {
			const id = board.settings.identifier;
			const store = new KeyStore(this.#crypto, flashOf(board), {
				copyTo: (into, offset) => into.set(board.deviceKey, offset),
			});
			const status = store.open();
			if (status === Status.ok && store.isProvisioned) continue;
			if (status !== Status.ok && status !== Status.notFound)
				throw new UserError(
					`keys of meter ${id}: ${statusName(status)}; remove its file from the store's folder flash`,
				);
			if (this.registry.meter(id) === undefined) this.registry.addMeter(id, domain, board.index + 1, epoch, file);
			else this.registry.renewMeter(id, epoch, file);
			const provisioned = store.provision(file);
			wipeDeviceFile(file);
			if (provisioned !== Status.ok) throw new UserError(`keys of meter ${id}: ${statusName(provisioned)}`);
			this.registry.confirmMeter(id, store.generation);
		}
	}

	/** What an auditor of this board needs. */
	audited(board: VirtualBoard): AuditedMeter {
		const id = board.settings.identifier;
		const { domain, shortAddress, generation } = this.registry.meter(id)!;
		return {
			id: Uint8Array.from(Buffer.from(id, "hex")),
			domain,
			shortAddress,
			dayValue: (epoch, into) => this.registry.dayValue(id, generation, 0, epoch, into, 0),
		};
	}

	close(): void {
		this.registry.close();
		this.#lock.close();
	}
}

/** The chip of a board as its firmware sees it; the factory has it in hand before the first start. */
function flashOf(board: VirtualBoard): NorFlash {
	const { flash } = board;
	return {
		sectorBytes: flash.sectorBytes,
		sectorCount: flash.sectorCount,
		read(address, into, byteLength) {
			flash.read(address, into, byteLength);
			return Status.ok;
		},
		program(address, from, byteLength) {
			flash.program(address, byteLength === from.length ? from : from.subarray(0, byteLength));
			return Status.ok;
		},
		erase(sectorIndex) {
			flash.erase(sectorIndex);
			return Status.ok;
		},
	};
}
