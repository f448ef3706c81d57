import { InvariantError, Status } from "../../../src/bytes/status.js";
import { type Aead, type Crypto, type KeyWrap, NO_BYTES } from "../../../src/crypto/crypto.js";
import { encodeGroupEnvelope, GROUP_ENVELOPE_BYTES, MessageKind, setUint32 } from "../../../src/group-keys/envelope.js";
import { DOMAIN_GROUP, Way } from "../../../src/group-keys/scheme.js";
import {
	Renewal,
	type StarDefinition,
	StarLabel,
	WRAP_NONCE_BYTES,
	WRAP_TAG_BYTES,
	WRAPPED_BYTES,
	Wrap,
} from "../../../src/group-keys/star/definition.js";
import type { GroupController, Joiner, LeafKeyOf, Outgoing } from "../controller.js";

const KEY = 16;

export interface StarControllerOptions {
	readonly crypto: Crypto;
	readonly definition: StarDefinition;
	readonly entropy: (into: Uint8Array) => void;
}

interface Star {
	readonly members: Set<number>;
	readonly key: Uint8Array;
	generation: number;
}

/** The concentrator's side of the star: an individual key and a counter for each meter, a key for each group. */
export class StarController implements GroupController {
	readonly #options: StarControllerOptions;
	readonly #ccm: Aead;
	readonly #keyWrap: KeyWrap;
	readonly #individual = new Map<number, { readonly key: Uint8Array; counter: number }>();
	readonly #stars = new Map<number, Star>();
	readonly epoch = 0;

	constructor(options: StarControllerOptions) {
		this.#options = options;
		this.#ccm = options.crypto.createCcm(WRAP_NONCE_BYTES, WRAP_TAG_BYTES);
		this.#keyWrap = options.crypto.createKeyWrap();
	}

	#starOf(group: number): Star {
		const found = this.#stars.get(group);
		if (found) return found;
		const made = { members: new Set<number>(), key: new Uint8Array(KEY), generation: 0 };
		this.#options.entropy(made.key);
		this.#stars.set(group, made);
		return made;
	}

	generation(group: number): number {
		return this.#stars.get(group)?.generation ?? -1;
	}

	members(group: number): readonly number[] {
		return [...(this.#stars.get(group)?.members ?? [])];
	}

	startDay(_epoch: number, _leafKeyOf: LeafKeyOf): readonly Outgoing[] {
		return [];
	}

	change(group: number, leaves: readonly number[], joins: readonly Joiner[]): readonly Outgoing[] {
		const star = this.#starOf(group);
		const { renewal } = this.#options.definition;
		const out: Outgoing[] = [];
		if (group === DOMAIN_GROUP)
			for (const [other, { members }] of this.#stars) {
				const also = leaves.filter((meter) => members.has(meter));
				if (other !== DOMAIN_GROUP && also.length > 0) out.push(...this.change(other, also, []));
			}
		for (const meter of leaves)
			if (!star.members.delete(meter)) throw new InvariantError(`meter ${meter} is not in group ${group}`);
		if (group === DOMAIN_GROUP) {
			for (const { meter, leafKey } of joins) {
				if (!leafKey) throw new InvariantError("the domain needs the individual key");
				// Who comes back has the same key, which is for good; its counter goes on.
				if (!this.#individual.has(meter)) this.#individual.set(meter, { key: leafKey.slice(), counter: 0 });
			}
		}
		const before = [...star.members];
		for (const { meter } of joins) star.members.add(meter);
		if (leaves.length > 0) {
			this.#renew(star);
			for (const meter of star.members) out.push(this.#wrap(star, group, meter, MessageKind.leave));
			return out;
		}
		if (renewal === Renewal.underOldKey && before.length > 0) out.push(this.#successor(star, group, MessageKind.join));
		for (const { meter } of joins) out.push(this.#wrap(star, group, meter, MessageKind.join));
		return out;
	}

	refresh(group: number, _meter: number): readonly Outgoing[] {
		const star = this.#starOf(group);
		if (this.#options.definition.renewal === Renewal.underOldKey)
			return [this.#successor(star, group, MessageKind.refresh)];
		this.#renew(star);
		return [...star.members].map((meter) => this.#wrap(star, group, meter, MessageKind.refresh));
	}

	catchUp(meter: number): readonly Outgoing[] {
		const groups = [...this.#stars].filter(([, { members }]) => members.has(meter));
		return groups.map(([group, star]) => this.#wrap(star, group, meter, MessageKind.leave));
	}

	#renew(star: Star): void {
		this.#options.entropy(star.key);
		star.generation++;
	}

	#envelope(star: Star, group: number, kind: number, counter: number): Uint8Array {
		const { schemeNumber: scheme, variant } = this.#options.definition;
		const bytes = new Uint8Array(GROUP_ENVELOPE_BYTES + WRAPPED_BYTES);
		const { generation } = star;
		const bodyBytes = WRAPPED_BYTES;
		encodeGroupEnvelope({ scheme, kind, variant, group, epoch: 0, generation, counter, bodyBytes }, bytes);
		return bytes;
	}

	#seal(key: Uint8Array, star: Star, group: number, bytes: Uint8Array): void {
		const nonce = new Uint8Array(WRAP_NONCE_BYTES);
		nonce[0] = group;
		setUint32(nonce, 1, star.generation);
		this.#ccm.setKey(key, 0);
		const at = GROUP_ENVELOPE_BYTES;
		this.#ccm.seal(nonce, 0, bytes, 0, at, star.key, 0, KEY, bytes, at);
	}

	/** The group key for one meter, under its own. */
	#wrap(star: Star, group: number, meter: number, kind: number): Outgoing {
		const own = this.#individual.get(meter);
		if (!own) throw new InvariantError(`meter ${meter} is not in the domain`);
		own.counter++;
		const bytes = this.#envelope(star, group, kind, own.counter);
		if (this.#options.definition.wrap === Wrap.keyWrap) {
			this.#keyWrap.setKey(own.key, 0);
			this.#keyWrap.wrap(star.key, 0, KEY, bytes, GROUP_ENVELOPE_BYTES);
		} else {
			const key = new Uint8Array(KEY);
			const counter = Uint8Array.of(own.counter >> 8, own.counter);
			this.#options.crypto.kdf(own.key, 0, KEY, StarLabel.wrap, counter, 0, 2, key, 0, KEY);
			this.#seal(key, star, group, bytes);
		}
		return { way: Way.unicast, to: meter, bytes, airBytes: bytes.length, ciphertexts: 1 };
	}

	/** A new group key for all, under the old. */
	#successor(star: Star, group: number, kind: number): Outgoing {
		const key = new Uint8Array(KEY);
		this.#options.crypto.kdf(star.key, 0, KEY, StarLabel.successor, NO_BYTES, 0, 0, key, 0, KEY);
		this.#renew(star);
		const bytes = this.#envelope(star, group, kind, 0);
		this.#seal(key, star, group, bytes);
		return { way: Way.broadcast, to: -1, bytes, airBytes: bytes.length, ciphertexts: 1 };
	}

	exportKey(group: number, generation: number, label: Uint8Array, into: Uint8Array): Status {
		const star = this.#stars.get(group);
		if (star?.generation !== generation) return Status.notFound;
		const { crypto, definition } = this.#options;
		const key = star.key.slice();
		const { derivation } = definition;
		if (derivation.length > 0) crypto.hkdf(NO_BYTES, 0, 0, key, 0, KEY, derivation, 0, derivation.length, key, 0, KEY);
		crypto.kdf(key, 0, KEY, label[0]!, label, 1, label.length - 1, into, 0, KEY);
		key.fill(0);
		return Status.ok;
	}
}
