import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Status } from "../../src/bytes/status.js";
import type { Crypto } from "../../src/crypto/crypto.js";
import { DOMAIN_GROUP, type GroupKeyScheme, type LeafSource } from "../../src/group-keys/scheme.js";
import { Label } from "../../src/key-store/labels.js";
import { jumpOdometer, ODOMETER_STATE_BYTES, startOdometer } from "../../src/key-store/odometer.js";
import type { GroupController, Outgoing } from "./controller.js";
import { FastCrypto } from "./fast-crypto.js";
import type { ControlledScheme } from "./registry.js";

/** Bytes without end out of a seed. */
export function seededEntropy(seed: number, name: string): (into: Uint8Array) => void {
	let count = 0;
	return (into) => {
		for (let at = 0; at < into.length; at += 32) {
			const block = createHash("sha256").update(`${seed} ${name} ${count++}`).digest();
			into.set(block.subarray(0, Math.min(32, into.length - at)), at);
		}
	};
}

/** A number below `bound`, out of a seed. */
export function seededNumbers(seed: number, name: string): (bound: number) => number {
	const entropy = seededEntropy(seed, name);
	const bytes = new Uint8Array(4);
	return (bound) => {
		entropy(bytes);
		return Math.floor((new DataView(bytes.buffer).getUint32(0) / 2 ** 32) * bound);
	};
}

/** The neighbourhood odometer of one meter, and the leaf keys of its day. The concentrator's copy is the same object's. */
export class MeterKeys implements LeafSource {
	readonly #crypto: Crypto;
	readonly #bytes = new Uint8Array(ODOMETER_STATE_BYTES + 32);
	#epoch: number;

	constructor(crypto: Crypto, root: Uint8Array, epoch: number) {
		this.#crypto = crypto;
		this.#bytes.set(root, ODOMETER_STATE_BYTES);
		this.#epoch = epoch;
		startOdometer(crypto, this.#bytes, 0, epoch, ODOMETER_STATE_BYTES);
	}

	startDay(epoch: number): void {
		if (epoch === this.#epoch) return;
		jumpOdometer(this.#crypto, this.#bytes, 0, this.#epoch, epoch, ODOMETER_STATE_BYTES);
		this.#epoch = epoch;
	}

	deriveLeafKey(tree: number, into: Uint8Array, offset: number): Status {
		const { leaf } = Label;
		this.#crypto.kdf(this.#bytes, ODOMETER_STATE_BYTES, 32, leaf, Uint8Array.of(tree), 0, 1, into, offset, 16);
		return Status.ok;
	}
}

/** A meter with its group keys, and the flash that they lie on. */
export interface SimulatedMeter {
	readonly meter: number;
	scheme: GroupKeyScheme;
	keys: MeterKeys;
	/** What was written last. */
	flash: Uint8Array;
	flashBytesWritten: number;
	commits: number;
}

export interface WorldOptions {
	readonly scheme: ControlledScheme;
	readonly seed: number;
	readonly domainSlots: number;
	readonly groupSlots: number;
	readonly groupsMax: number;
	/** The members' and the controller's cryptography; a tracer or a counter may stand in front. */
	readonly memberCrypto?: Crypto;
	readonly controllerCrypto?: Crypto;
	/** Meters that are simulated; others exist for the controller alone. */
	readonly isSimulated?: (meter: number) => boolean;
}

export const WORLD_DOMAIN = 0x00d1;
export const WORLD_EPOCH = 0x1000;
const PROBE = Uint8Array.of(0x44, 1, 0, 7);

/** One concentrator's groups and their members over an air that forgets what it is told to. */
export class GroupWorld {
	readonly options: WorldOptions;
	readonly crypto: Crypto = new FastCrypto();
	readonly controller: GroupController;
	readonly meters = new Map<number, SimulatedMeter>();
	/** Every message that was ever on air. */
	readonly recorded: Outgoing[] = [];
	/** Says which messages a meter does not hear. */
	isLost: (meter: number, message: Outgoing) => boolean = () => false;
	/** Called before a message reaches a meter. */
	onDeliver: (meter: SimulatedMeter, message: Outgoing, status: Status) => void = () => {};
	epoch = WORLD_EPOCH;
	readonly #keysOf = new Map<number, MeterKeys>();

	constructor(options: WorldOptions) {
		this.options = options;
		const { domainSlots, groupSlots } = options;
		this.controller = options.scheme.createController({
			crypto: options.controllerCrypto ?? this.crypto,
			domain: WORLD_DOMAIN,
			domainSlots,
			groupSlots,
			entropy: seededEntropy(options.seed, "controller"),
		});
		this.controller.startDay(this.epoch, () => {});
	}

	keysOf(meter: number): MeterKeys {
		const found = this.#keysOf.get(meter);
		if (found) {
			found.startDay(this.epoch);
			return found;
		}
		const root = new Uint8Array(32);
		seededEntropy(this.options.seed, `root ${meter}`)(root);
		const made = new MeterKeys(this.options.memberCrypto ?? this.crypto, root, this.epoch);
		this.#keysOf.set(meter, made);
		return made;
	}

	/** A meter of this domain, in none of its groups yet. */
	meter(meter: number): SimulatedMeter {
		const found = this.meters.get(meter);
		if (found) return found;
		const scheme = this.newMember();
		const keys = this.keysOf(meter);
		const made = { meter, scheme, keys, flash: new Uint8Array(0), flashBytesWritten: 0, commits: 0 };
		scheme.stageDay(this.epoch, keys, true);
		this.#commit(made);
		this.meters.set(meter, made);
		return made;
	}

	newMember(): GroupKeyScheme {
		const { scheme, domainSlots, groupSlots, groupsMax, memberCrypto } = this.options;
		const domainSlotsMax = domainSlots;
		const sizes = { domain: WORLD_DOMAIN, domainSlotsMax, groupSlotsMax: groupSlots, groupsMax };
		return scheme.entry.create(memberCrypto ?? this.crypto, sizes);
	}

	#commit(meter: SimulatedMeter): void {
		const bytes = new Uint8Array(meter.scheme.stagedBytesMax);
		const written = meter.scheme.encodeStaged(new DataView(bytes.buffer));
		meter.flash = bytes.slice(0, written);
		meter.flashBytesWritten += written;
		meter.commits++;
		meter.scheme.commit();
	}

	/** Power fails and comes back: the member is made anew from its flash. */
	restart(meter: number): void {
		const found = this.meter(meter);
		found.scheme = this.newMember();
		const view = new DataView(found.flash.slice().buffer);
		assert.equal(found.scheme.restore(view, found.flash.length), Status.ok, "flash reads back");
	}

	/** One message to one meter, as it would come over the link. */
	deliverTo(meter: SimulatedMeter, message: Outgoing): Status {
		const status = meter.scheme.stage(message.way, message.bytes, message.bytes.length);
		if (status === Status.ok) this.#commit(meter);
		this.onDeliver(meter, message, status);
		return status;
	}

	deliver(messages: readonly Outgoing[]): void {
		for (const message of messages) {
			this.recorded.push(message);
			for (const meter of message.to < 0 ? this.meters.values() : [this.meters.get(message.to)])
				if (meter && !this.isLost(meter.meter, message)) this.deliverTo(meter, message);
		}
	}

	change(group: number, leaves: readonly number[], joins: readonly number[]): readonly Outgoing[] {
		const isSimulated = this.options.isSimulated ?? (() => true);
		const joiners = joins.map((meter) => {
			if (isSimulated(meter)) this.meter(meter);
			if (group !== DOMAIN_GROUP) return { meter };
			const leafKey = new Uint8Array(16);
			this.keysOf(meter).deriveLeafKey(group, leafKey, 0);
			return { meter, leafKey };
		});
		const out = this.controller.change(group, leaves, joiners);
		this.deliver(out);
		return out;
	}

	refresh(group: number, meter: number): readonly Outgoing[] {
		const out = this.controller.refresh(group, meter);
		this.deliver(out);
		return out;
	}

	/** Midnight: the meters hear of it by the anchor, all at once, and the concentrator rolls with them. */
	nextDay(): readonly Outgoing[] {
		this.epoch++;
		for (const meter of this.meters.values()) {
			meter.keys.startDay(this.epoch);
			meter.scheme.stageDay(this.epoch, meter.keys, false);
			this.#commit(meter);
		}
		const out = this.controller.startDay(this.epoch, (meter, group, into, offset) => {
			this.keysOf(meter).deriveLeafKey(group, into, offset);
		});
		this.deliver(out);
		return out;
	}

	catchUp(meter: number): readonly Outgoing[] {
		const out = this.controller.catchUp(meter);
		this.deliver(out);
		return out;
	}

	/** A key below the present group key, on the controller's side. */
	groupKey(group: number): Uint8Array {
		const key = new Uint8Array(16);
		const { controller } = this;
		assert.equal(controller.exportKey(group, controller.generation(group), PROBE, key), Status.ok);
		return key;
	}

	/** The same on a meter's side, or `undefined` when it has none of that generation. */
	memberKey(meter: number, group: number, generation = this.controller.generation(group)): Uint8Array | undefined {
		const key = new Uint8Array(16);
		const status = this.meter(meter).scheme.exportKey(group, generation, PROBE, key);
		return status === Status.ok ? key : undefined;
	}

	/** Whether a meter holds the present key of a group. */
	isCurrent(meter: number, group: number): boolean {
		const key = this.memberKey(meter, group);
		return key !== undefined && Buffer.compare(key, this.groupKey(group)) === 0;
	}

	/** Every simulated member has the group's key, and nobody else. */
	assertAgreement(group: number, context: string): void {
		const members = new Set(this.controller.members(group));
		for (const { meter, scheme } of this.meters.values()) {
			const generation = `has ${scheme.generation(group)} of ${this.controller.generation(group)}`;
			const where = `${this.options.scheme.entry.name}, ${context}, meter ${meter}, group ${group}: ${generation}`;
			assert.equal(this.isCurrent(meter, group), members.has(meter), where);
		}
	}
}
