import { Status } from "../../bytes/status.js";
import { type Aead, type Crypto, NO_BYTES } from "../../crypto/crypto.js";
import {
	createGroupEnvelope,
	decodeGroupEnvelope,
	GROUP_ENVELOPE_BYTES,
	getUint32,
	MessageKind,
	setUint32,
} from "../envelope.js";
import { Field, FLAG_JOINED, FLAG_LEAF, levelsOf, PathStore, parentOf } from "../path-store.js";
import {
	DOMAIN_GROUP,
	GROUP_KEY_BYTES,
	type GroupKeyScheme,
	type GroupSizes,
	type LeafSource,
	Way,
} from "../scheme.js";
import {
	ENTRY_BYTES,
	ENTRY_NODE_BYTES,
	ENTRY_TAG_BYTES,
	EngineLabel,
	JOIN_HEADER_BYTES,
	JOIN_LEAF_KEY,
	JOIN_PATH,
	NONCE_BYTES,
	NodeRule,
	OWN_SECRET,
	SEALED_BYTES,
	type TreeDefinition,
} from "./definition.js";

const KEY = GROUP_KEY_BYTES;
/** Working memory: two keys side by side, the second also r; the key that opens; what it opens. */
const WORK_RIGHT = 16;
const WORK_KEY = 32;
const WORK_OPENED = 48;
const WORK_BYTES = 64;

/** The member of LKH, LKH+, OFT and OFC: reference profiles of the classic key trees (docs/SCHEMES.md). */
export class TreeMember implements GroupKeyScheme {
	readonly #crypto: Crypto;
	readonly #definition: TreeDefinition;
	readonly #store: PathStore;
	readonly #ccm: Aead;
	readonly #envelope = createGroupEnvelope();
	readonly #nonce = new Uint8Array(NONCE_BYTES);

	constructor(crypto: Crypto, definition: TreeDefinition, sizes: GroupSizes) {
		this.#crypto = crypto;
		this.#definition = definition;
		this.#store = new PathStore(definition.schemeNumber, definition.arity, sizes, WORK_BYTES);
		this.#ccm = crypto.createCcm(NONCE_BYTES, ENTRY_TAG_BYTES);
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

	/** The leaf key of the domain is taken once and never changes: that is the class. Those of groups come with the join. */
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
		const envelope = this.#envelope;
		if (store.isStaged) return Status.busy; // TRM-1
		const status = decodeGroupEnvelope(message, byteLength, envelope);
		if (status !== Status.ok) return status;
		const { schemeNumber, variant } = this.#definition;
		if (envelope.scheme !== schemeNumber || envelope.variant !== variant) return Status.unsupported; // TRM-2
		const { kind } = envelope;
		if (kind < MessageKind.join || kind > MessageKind.refresh) return Status.badKind; // TRM-3
		if (way === Way.unicast) return kind === MessageKind.join ? this.#stageJoin(message) : Status.badKind; // TRM-4
		const present = store.findJoined(store.now, envelope.group);
		if (present < 0) return Status.notFound; // TRM-5
		const held = getUint32(store.bytes, present + Field.generation);
		if (envelope.generation <= held) return Status.replayed; // TRM-6
		const { rule } = this.#definition;
		const isHashed = rule === NodeRule.lkhPlus && kind === MessageKind.join;
		const isGap = envelope.generation !== held + 1;
		// A missed hash or blinded key shows nowhere: the member would go on with wrong keys.
		if (isGap && (isHashed || rule === NodeRule.oft)) return Status.outOfOrder; // TRM-7
		const entry = isHashed ? ENTRY_NODE_BYTES : ENTRY_BYTES;
		const { bodyBytes } = envelope;
		if (bodyBytes === 0 || bodyBytes % entry !== 0) return Status.badLength; // TRM-8
		const at = store.begin() + (present - store.now);
		let result: Status;
		if (isHashed) result = this.#hashPaths(at, message, bodyBytes);
		else if (rule === NodeRule.oft) result = this.#readBlinded(at, message, bodyBytes);
		else if (rule === NodeRule.ofc) result = this.#readChain(at, message, bodyBytes);
		else result = this.#readKeys(at, message, bodyBytes);
		if (result === Status.ok) {
			setUint32(store.bytes, at + Field.generation, envelope.generation);
			this.#keepGroupKey(at);
			store.wipeWork();
			return Status.ok;
		}
		store.abort();
		// Under a key that this member has not: it was evicted, or it missed the message that brought the key.
		return result === Status.badTag && isGap ? Status.outOfOrder : result;
	}

	#step(key: number, keyBytes: number, label: number, into: number): void {
		const { bytes } = this.#store;
		this.#crypto.kdf(bytes, key, keyBytes, label, NO_BYTES, 0, 0, bytes, into, KEY);
	}

	#nodeKey(at: number, height: number): number {
		return height === 0 ? at + Field.leafKey : at + Field.path + KEY * (height - 1);
	}

	/** Opens an entry into the working memory. */
	#open(message: Uint8Array, entry: number, key: number): Status {
		const { bytes, workAt } = this.#store;
		const nonce = this.#nonce;
		nonce.fill(0);
		nonce[0] = message[3]!;
		for (let i = 0; i < 4; i++) nonce[1 + i] = message[6 + i]!;
		for (let i = 0; i < 4; i++) nonce[5 + i] = message[entry + i]!;
		this.#ccm.setKey(bytes, key);
		const from = entry + ENTRY_NODE_BYTES;
		const opened = workAt + WORK_OPENED;
		return this.#ccm.open(nonce, 0, message, 0, GROUP_ENVELOPE_BYTES, message, from, SEALED_BYTES, bytes, opened);
	}

	/** The entry that names a node, from `entry` on. @returns where it begins, or -1 */
	#findEntry(message: Uint8Array, bodyBytes: number, node: number): number {
		const end = GROUP_ENVELOPE_BYTES + bodyBytes;
		for (let entry = GROUP_ENVELOPE_BYTES; entry < end; entry += ENTRY_BYTES)
			if (getUint32(message, entry) === node) return entry;
		return -1;
	}

	/** LKH: each own node's new key under that of the own child, which may be new itself. */
	#readKeys(at: number, message: Uint8Array, bodyBytes: number): Status {
		const { arity } = this.#definition;
		const { bytes, workAt } = this.#store;
		const levels = this.#store.levelsAt(at);
		let child = getUint32(bytes, at + Field.leaf);
		let isChanged = false;
		for (let height = 1; height <= levels; height++) {
			const entry = this.#findEntry(message, bodyBytes, child);
			if (entry >= 0) {
				const status = this.#open(message, entry, this.#nodeKey(at, height - 1));
				if (status !== Status.ok) return status;
				const key = this.#nodeKey(at, height);
				bytes.copyWithin(key, workAt + WORK_OPENED, workAt + WORK_OPENED + KEY);
				isChanged = true;
			} else if (isChanged) return Status.badTag; // TRM-9: what is above a changed node changes
			child = parentOf(arity, child);
		}
		return isChanged ? Status.ok : Status.badTag; // TRM-10
	}

	/** OFC: r out of an entry, or one-way out of r below; the key out of r. */
	#readChain(at: number, message: Uint8Array, bodyBytes: number): Status {
		const { bytes, workAt } = this.#store;
		const levels = this.#store.levelsAt(at);
		let child = getUint32(bytes, at + Field.leaf);
		let hasR = false;
		for (let height = 1; height <= levels; height++) {
			const entry = this.#findEntry(message, bodyBytes, child);
			if (entry >= 0) {
				const status = this.#open(message, entry, this.#nodeKey(at, height - 1));
				if (status !== Status.ok) return status;
				bytes.copyWithin(workAt + WORK_RIGHT, workAt + WORK_OPENED, workAt + WORK_OPENED + KEY);
				hasR = true;
			} else if (hasR) this.#step(workAt + WORK_RIGHT, KEY, EngineLabel.up, workAt + WORK_RIGHT);
			if (hasR) this.#step(workAt + WORK_RIGHT, KEY, EngineLabel.nodeKey, this.#nodeKey(at, height));
			child = parentOf(2, child);
		}
		return hasR ? Status.ok : Status.badTag; // TRM-11
	}

	/** OFT: from the own secret up; a new blinded sibling is sealed under what has just been computed. */
	#readBlinded(at: number, message: Uint8Array, bodyBytes: number): Status {
		const { bytes, workAt } = this.#store;
		const levels = this.#store.levelsAt(at);
		const own = getUint32(bytes, at + Field.leaf);
		const x = workAt + WORK_KEY;
		let isChanged = false;
		const renewed = this.#findEntry(message, bodyBytes, own + OWN_SECRET);
		if (renewed >= 0) {
			this.#step(at + Field.leafKey, KEY, EngineLabel.seal, x);
			const status = this.#open(message, renewed, x);
			if (status !== Status.ok) return status;
			bytes.copyWithin(at + Field.leafKey, workAt + WORK_OPENED, workAt + WORK_OPENED + KEY);
			isChanged = true;
		}
		bytes.copyWithin(x, at + Field.leafKey, at + Field.leafKey + KEY);
		let child = own;
		for (let height = 1; height <= levels; height++) {
			const entry = this.#findEntry(message, bodyBytes, child ^ 1);
			const blinded = this.#nodeKey(at, height);
			if (entry >= 0) {
				this.#step(x, KEY, EngineLabel.seal, workAt);
				const status = this.#open(message, entry, workAt);
				if (status !== Status.ok) return status;
				bytes.copyWithin(blinded, workAt + WORK_OPENED, workAt + WORK_OPENED + KEY);
				isChanged = true;
			}
			this.#combine(x, blinded, (child & 1) === 1);
			child >>= 1;
		}
		return isChanged ? Status.ok : Status.badTag; // TRM-12
	}

	/** X of the parent out of the own X and the sibling's blinded key, in place. */
	#combine(x: number, blinded: number, isRight: boolean): void {
		const { bytes, workAt } = this.#store;
		this.#step(x, KEY, EngineLabel.blind, workAt + (isRight ? KEY : 0));
		bytes.copyWithin(workAt + (isRight ? 0 : KEY), blinded, blinded + KEY);
		this.#step(workAt, 2 * KEY, EngineLabel.combine, x);
	}

	/** LKH+: a new leaf, and the keys above it are hashed. */
	#hashPaths(at: number, message: Uint8Array, bodyBytes: number): Status {
		const { arity } = this.#definition;
		const { bytes } = this.#store;
		const levels = this.#store.levelsAt(at);
		let node = getUint32(bytes, at + Field.leaf);
		for (let height = 1; height <= levels; height++) {
			node = parentOf(arity, node);
			if (!this.#isAbove(node, height, levels, message, bodyBytes)) continue;
			const key = this.#nodeKey(at, height);
			this.#step(key, KEY, EngineLabel.hash, key);
		}
		return Status.ok;
	}

	/** Whether a node lies above one of the leaves that a message names. */
	#isAbove(node: number, height: number, levels: number, message: Uint8Array, bodyBytes: number): boolean {
		const { arity } = this.#definition;
		for (let read = 0; read < bodyBytes; read += ENTRY_NODE_BYTES) {
			let other = getUint32(message, GROUP_ENVELOPE_BYTES + read);
			if (levelsOf(arity, other) !== levels) continue;
			for (let i = 0; i < height; i++) other = parentOf(arity, other);
			if (other === node) return true;
		}
		return false;
	}

	/** OFT's group key takes a walk up the path, so it is kept; it lies where others keep an older one. */
	#keepGroupKey(at: number): void {
		if (this.#definition.rule !== NodeRule.oft) return;
		const { bytes, workAt } = this.#store;
		const x = workAt + WORK_KEY;
		bytes.copyWithin(x, at + Field.leafKey, at + Field.leafKey + KEY);
		let child = getUint32(bytes, at + Field.leaf);
		const levels = this.#store.levelsAt(at);
		for (let height = 1; height <= levels; height++, child >>= 1)
			this.#combine(x, this.#nodeKey(at, height), (child & 1) === 1);
		this.#step(x, KEY, EngineLabel.groupKey, at + Field.older);
	}

	#stageJoin(message: Uint8Array): Status {
		const { group, generation, bodyBytes } = this.#envelope;
		if (bodyBytes < JOIN_HEADER_BYTES) return Status.badLength; // TRM-13
		const flags = message[GROUP_ENVELOPE_BYTES]!;
		const leaf = getUint32(message, GROUP_ENVELOPE_BYTES + 1);
		const store = this.#store;
		const { bytes } = store;
		const levels = levelsOf(this.#definition.arity, leaf);
		if (levels === 0) return Status.badValue; // TRM-14
		if (levels > store.levelsMax(group)) return Status.storageFull; // TRM-15
		const hasLeafKey = (flags & JOIN_LEAF_KEY) !== 0;
		const hasPath = (flags & JOIN_PATH) !== 0;
		const expected = JOIN_HEADER_BYTES + KEY * ((hasLeafKey ? 1 : 0) + (hasPath ? levels : 0));
		if (flags > (JOIN_LEAF_KEY | JOIN_PATH) || bodyBytes !== expected) return Status.badLength; // TRM-16
		const present = store.findJoined(store.now, group);
		if (present >= 0 && generation <= getUint32(bytes, present + Field.generation)) return Status.replayed; // TRM-17
		const state = store.begin();
		const known = store.find(state, group);
		const at = known >= 0 ? known : store.allocate(state, group);
		let status: Status = Status.ok;
		if (at < 0)
			status = Status.storageFull; // TRM-18
		else if (!hasLeafKey && (bytes[at + Field.flags]! & FLAG_LEAF) === 0) status = Status.outOfOrder; // TRM-19
		if (status !== Status.ok) {
			store.abort();
			return status;
		}
		let read = GROUP_ENVELOPE_BYTES + JOIN_HEADER_BYTES;
		if (hasLeafKey) {
			for (let i = 0; i < KEY; i++) bytes[at + Field.leafKey + i] = message[read + i]!;
			read += KEY;
		}
		bytes.fill(0, at + Field.path, at + Field.path + KEY * store.levelsMax(group));
		if (hasPath) for (let i = 0; i < KEY * levels; i++) bytes[at + Field.path + i] = message[read + i]!;
		bytes[at + Field.flags] = FLAG_LEAF | FLAG_JOINED;
		setUint32(bytes, at + Field.leaf, leaf);
		setUint32(bytes, at + Field.generation, generation);
		if (hasPath) this.#keepGroupKey(at);
		store.wipeWork();
		return Status.ok;
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
		const at = store.findJoined(store.now, group);
		if (at < 0) return Status.notFound; // TRM-20
		if (generation !== getUint32(store.bytes, at + Field.generation)) return Status.notFound; // TRM-21
		let key = at + Field.older;
		if (this.#definition.rule !== NodeRule.oft) {
			key = store.workAt + WORK_KEY;
			this.#step(this.#nodeKey(at, store.levelsAt(at)), KEY, EngineLabel.groupKey, key);
		}
		this.#crypto.kdf(store.bytes, key, KEY, label[0]!, label, 1, label.length - 1, into, 0, KEY);
		store.wipeWork();
		return Status.ok;
	}
}
