import { Status } from "../../bytes/status.js";
import { type Aead, type Crypto, type KeyWrap, NO_BYTES } from "../../crypto/crypto.js";
import {
	createGroupEnvelope,
	decodeGroupEnvelope,
	GROUP_ENVELOPE_BYTES,
	getUint32,
	MessageKind,
	setUint32,
} from "../envelope.js";
import { Field, FLAG_JOINED, FLAG_LEAF, PathStore } from "../path-store.js";
import {
	DOMAIN_GROUP,
	GROUP_KEY_BYTES,
	type GroupKeyScheme,
	type GroupSizes,
	type LeafSource,
	Way,
} from "../scheme.js";
import { type StarDefinition, StarLabel, WRAP_NONCE_BYTES, WRAP_TAG_BYTES, WRAPPED_BYTES, Wrap } from "./definition.js";

const KEY = GROUP_KEY_BYTES;
const COUNTER_MAX = 0xffff;
const WORK_OPENED = 16;
const WORK_BYTES = 32;

/**
 * The member of a star: an individual key for good, and group keys wrapped under it. Uses of a record's fields: `leaf` of the
 * domain's is the counter of the individual key, `leafKey` of the domain's the individual key, `older` the group key.
 */
export class StarMember implements GroupKeyScheme {
	readonly #crypto: Crypto;
	readonly #definition: StarDefinition;
	readonly #store: PathStore;
	readonly #ccm: Aead;
	readonly #keyWrap: KeyWrap;
	readonly #envelope = createGroupEnvelope();
	readonly #nonce = new Uint8Array(WRAP_NONCE_BYTES);
	readonly #context = new Uint8Array(2);

	constructor(crypto: Crypto, definition: StarDefinition, sizes: GroupSizes) {
		this.#crypto = crypto;
		this.#definition = definition;
		this.#store = new PathStore(definition.schemeNumber, 0, sizes, WORK_BYTES);
		this.#ccm = crypto.createCcm(WRAP_NONCE_BYTES, WRAP_TAG_BYTES);
		this.#keyWrap = crypto.createKeyWrap();
	}

	get schemeNumber(): number {
		return this.#definition.schemeNumber;
	}

	get memberStateBytes(): number {
		return this.#store.bytes.length;
	}

	get stagedBytesMax(): number {
		return this.#store.stateBytes;
	}

	get epoch(): number {
		return 0;
	}

	generation(group: number): number {
		const at = this.#store.findJoined(this.#store.now, group);
		return at < 0 ? -1 : getUint32(this.#store.bytes, at + Field.generation);
	}

	stageDay(_epoch: number, keys: LeafSource, isNew: boolean): void {
		const store = this.#store;
		const state = store.begin();
		if (isNew) for (let i = 0; i < store.recordCount; i++) store.clear(state, i);
		const at = store.record(state, 0);
		if ((store.bytes[at + Field.flags]! & FLAG_LEAF) !== 0) return;
		if (keys.deriveLeafKey(DOMAIN_GROUP, store.bytes, at + Field.leafKey) === Status.ok)
			store.bytes[at + Field.flags] = FLAG_LEAF;
	}

	stage(way: Way, message: Uint8Array, byteLength: number): Status {
		const store = this.#store;
		const { bytes } = store;
		const envelope = this.#envelope;
		if (store.isStaged) return Status.busy; // STM-1
		let status = decodeGroupEnvelope(message, byteLength, envelope);
		if (status !== Status.ok) return status;
		const { schemeNumber, variant } = this.#definition;
		if (envelope.scheme !== schemeNumber || envelope.variant !== variant) return Status.unsupported; // STM-2
		if (envelope.kind < MessageKind.join || envelope.kind > MessageKind.refresh) return Status.badKind; // STM-3
		if (envelope.bodyBytes !== WRAPPED_BYTES) return Status.badLength; // STM-4
		const present = store.findJoined(store.now, envelope.group);
		const held = present < 0 ? -1 : getUint32(bytes, present + Field.generation);
		if (envelope.generation <= held) return Status.replayed; // STM-5
		if (way === Way.broadcast && present < 0) return Status.notFound; // STM-6
		const state = store.begin();
		const known = store.find(state, envelope.group);
		const at = known >= 0 ? known : store.allocate(state, envelope.group);
		if (at < 0)
			status = Status.storageFull; // STM-7
		else status = way === Way.unicast ? this.#openOwn(state, message) : this.#openNext(at, message);
		if (status !== Status.ok) {
			store.abort();
			return way === Way.broadcast && status === Status.badTag && envelope.generation !== held + 1
				? Status.outOfOrder
				: status;
		}
		bytes.copyWithin(at + Field.older, store.workAt + WORK_OPENED, store.workAt + WORK_OPENED + KEY);
		bytes[at + Field.group] = envelope.group;
		bytes[at + Field.flags]! |= FLAG_JOINED;
		setUint32(bytes, at + Field.generation, envelope.generation);
		store.wipeWork();
		return Status.ok;
	}

	/** A key wrapped for this member: under the individual key, and its counter moves. */
	#openOwn(state: number, message: Uint8Array): Status {
		const store = this.#store;
		const { bytes, workAt } = store;
		const { wrap, isImplicit } = this.#definition;
		const own = store.record(state, 0);
		if ((bytes[own + Field.flags]! & FLAG_LEAF) === 0) return Status.outOfOrder; // STM-8
		const last = getUint32(bytes, own + Field.leaf);
		const counter = isImplicit ? last + 1 : this.#envelope.counter;
		if (counter <= last) return Status.replayed; // STM-9
		if (counter > COUNTER_MAX) return Status.expired; // STM-10
		setUint32(bytes, own + Field.leaf, counter);
		if (wrap === Wrap.keyWrap) {
			this.#keyWrap.setKey(bytes, own + Field.leafKey);
			return this.#keyWrap.unwrap(message, GROUP_ENVELOPE_BYTES, WRAPPED_BYTES, bytes, workAt + WORK_OPENED);
		}
		this.#context[0] = counter >> 8;
		this.#context[1] = counter;
		const { wrap: label } = StarLabel;
		this.#crypto.kdf(bytes, own + Field.leafKey, KEY, label, this.#context, 0, 2, bytes, workAt, KEY);
		return this.#open(message);
	}

	/** A key for all, under the one before. */
	#openNext(at: number, message: Uint8Array): Status {
		const { bytes, workAt } = this.#store;
		this.#crypto.kdf(bytes, at + Field.older, KEY, StarLabel.successor, NO_BYTES, 0, 0, bytes, workAt, KEY);
		return this.#open(message);
	}

	#open(message: Uint8Array): Status {
		const { bytes, workAt } = this.#store;
		const nonce = this.#nonce;
		nonce.fill(0);
		nonce[0] = message[3]!;
		for (let i = 0; i < 4; i++) nonce[1 + i] = message[6 + i]!;
		this.#ccm.setKey(bytes, workAt);
		const from = GROUP_ENVELOPE_BYTES;
		return this.#ccm.open(nonce, 0, message, 0, from, message, from, WRAPPED_BYTES, bytes, workAt + WORK_OPENED);
	}

	encodeStaged(into: DataView): number {
		return this.#store.encodeStaged(into);
	}

	commit(): void {
		this.#store.commit();
	}

	abort(): void {
		this.#store.abort();
	}

	restore(from: DataView, byteLength: number): Status {
		return this.#store.restore(from, byteLength);
	}

	exportKey(group: number, generation: number, label: Uint8Array, into: Uint8Array): Status {
		const store = this.#store;
		const { bytes, workAt } = store;
		const at = store.findJoined(store.now, group);
		if (at < 0) return Status.notFound; // STM-11
		if (generation !== getUint32(bytes, at + Field.generation)) return Status.notFound; // STM-12
		bytes.copyWithin(workAt, at + Field.older, at + Field.older + KEY);
		const { derivation } = this.#definition;
		if (derivation.length > 0)
			this.#crypto.hkdf(NO_BYTES, 0, 0, bytes, workAt, KEY, derivation, 0, derivation.length, bytes, workAt, KEY);
		this.#crypto.kdf(bytes, workAt, KEY, label[0]!, label, 1, label.length - 1, into, 0, KEY);
		store.wipeWork();
		return Status.ok;
	}
}
