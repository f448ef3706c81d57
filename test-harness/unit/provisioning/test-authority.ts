import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Status } from "../../../src/bytes/status.js";
import { Label } from "../../../src/key-store/labels.js";
import { WHOLE_DAY } from "../../../src/messages/channel.js";
import type { DeviceFile } from "../../../src/provisioning/device-file.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import type { KeyAuthority, RegistryEntry } from "../../provisioning/key-authority.js";
import { UserError } from "../../user-error.js";
import { sampleFile } from "./samples.js";
import { TestHeadEnd } from "./world.js";

/** A head end in memory: roots out of a master key as HORA section 2 says, one chain for each generation and day. */
export class TestAuthority implements KeyAuthority {
	readonly masterKey: Buffer;
	readonly meters = new Map<string, { -readonly [key in keyof RegistryEntry]: RegistryEntry[key] }>();
	readonly #chains = new Map<string, TestHeadEnd>();
	anchors = new Map<number, Uint8Array>();

	constructor(seed: string) {
		this.masterKey = createHash("sha256").update(seed).digest();
	}

	list(): readonly RegistryEntry[] {
		return [...this.meters.values()];
	}

	add(meter: { id: string; domain: number; shortAddress: number; epoch: number }, into: DeviceFile): void {
		const known = this.meters.get(meter.id);
		if (known && !known.isDecommissioned) throw new UserError(`${meter.id} is there already`);
		const { id, domain, shortAddress, epoch } = meter;
		this.meters.set(id, {
			id,
			domain,
			shortAddress,
			generation: (known?.generation ?? 0) + 1,
			confirmedGeneration: 0,
			isDecommissioned: false,
		});
		this.#fill(id, epoch, into);
	}

	again(id: string, into: DeviceFile): void {
		const entry = this.#entry(id);
		if (entry.confirmedGeneration === entry.generation) throw new UserError(`${id} has its newest keys`);
		this.#fill(id, 9_000, into);
	}

	renew(id: string, epoch: number, into: DeviceFile): void {
		const entry = this.#entry(id);
		entry.generation++;
		this.#fill(id, epoch, into);
	}

	authorise(id: string, generation: number, epoch: number, message: Uint8Array): Uint8Array {
		const content = new Uint8Array(2 + message.length);
		content.set([WHOLE_DAY >> 8, WHOLE_DAY & 0xff]);
		content.set(message, 2);
		return this.#chain(id, generation, epoch).seal(content);
	}

	open(id: string, generation: number, sealed: Uint8Array): Uint8Array | undefined {
		const { unicast } = this.#chain(id, generation, (sealed[5]! << 8) | sealed[6]!);
		const content = new Uint8Array(sealed.length);
		if (unicast.openMessage(sealed, sealed.length, content) !== Status.ok) return undefined;
		return content.subarray(0, unicast.openedByteLength);
	}

	confirm(id: string, generation: number): void {
		const entry = this.#entry(id);
		assert.equal(entry.generation, generation);
		entry.confirmedGeneration = generation;
	}

	decommission(id: string): void {
		this.#entry(id).isDecommissioned = true;
	}

	anchor(epoch: number): Uint8Array | undefined {
		return this.anchors.get(epoch);
	}

	close(): void {}

	#entry(id: string) {
		const entry = this.meters.get(id);
		if (!entry || entry.isDecommissioned) throw new UserError(`${id} is not in the registry`);
		return entry;
	}

	#fill(id: string, epoch: number, into: DeviceFile): void {
		const { generation, domain, shortAddress } = this.#entry(id);
		const { roots, id: idBytes, ...rest } = sampleFile({ generation, domain, shortAddress, epoch });
		Object.assign(into, { ...rest, calendarRoot: into.calendarRoot, updateKey: into.updateKey });
		into.calendarRoot.set(rest.calendarRoot);
		into.updateKey.set(rest.updateKey);
		into.id.set(Buffer.from(id, "hex"));
		const context = Buffer.from([...into.id, generation >> 8, generation & 0xff]);
		for (const [label, at] of [
			[Label.rootEndToEnd, 0],
			[Label.rootNeighbourhood, 32],
		] as const)
			new NodeCrypto().kdf(this.masterKey, 0, 32, label, context, 0, 10, into.roots, at, 32);
	}

	#chain(id: string, generation: number, epoch: number): TestHeadEnd {
		const name = `${id} ${generation} ${epoch}`;
		const known = this.#chains.get(name);
		if (known) return known;
		const entry = this.#entry(id);
		const file = sampleFile({ id: new Uint8Array(8), roots: new Uint8Array(64) });
		const latest = entry.generation;
		entry.generation = generation;
		this.#fill(id, epoch, file);
		entry.generation = latest;
		const chain = new TestHeadEnd(file);
		this.#chains.set(name, chain);
		return chain;
	}
}
