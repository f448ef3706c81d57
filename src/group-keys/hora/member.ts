import { Status } from "../../bytes/status.js";
import { type Crypto, NO_BYTES } from "../../crypto/crypto.js";
import { getUint32, setUint32 } from "../envelope.js";
import { Field, FLAG_JOINED, FLAG_LEAF, levelsOf, PathStore } from "../path-store.js";
import {
	DOMAIN_GROUP,
	GROUP_KEY_BYTES,
	type GroupKeyScheme,
	type GroupSizes,
	type LeafSource,
	SchemeNumber,
	Way,
} from "../scheme.js";
import { TreeLabel } from "./labels.js";
import {
	CIPHERTEXT_BYTES,
	CONFIRM_BYTES,
	createRekeyHeader,
	decodeRekeyHeader,
	GENERATIONS_MAX,
	getSlot,
	HEADERS_ENTRY_BYTES,
	HEADERS_HEADER_BYTES,
	HoraType,
	LEAF_KEY_FOLLOWS,
	PATHS_ENTRY_BYTES,
	PATHS_HEADER_BYTES,
	REKEY_HEADER_BYTES,
	slotBytes,
} from "./messages.js";

const KEY = GROUP_KEY_BYTES;
const DIGEST_BYTES = 20;

/**
 * What a member needs of a REKEY or REFRESH, public, whatever the message's size: it is this that waits for the key of its
 * MAC. 56 + 16 × levels bytes at most, with the caller's interval and MAC behind.
 * | offset | size | field      | unit and range                                                          |
 * |-------:|-----:|------------|-------------------------------------------------------------------------|
 * |      0 |    1 | tree       |                                                                         |
 * |      1 |    1 | gd         |                                                                         |
 * |      2 |    2 | epoch      |                                                                         |
 * |      4 |    4 | g          |                                                                         |
 * |      8 |    1 | sincePatch |                                                                         |
 * |      9 |    1 | isEvicted  | 1: the own slot leaves                                                  |
 * |     10 |    4 | touched    | bit k: the own node k levels above the leaf gets a new r                |
 * |     14 |    4 | mine       | bit k: and its ciphertext is for this member                            |
 * |     18 |   20 | digest     | H20 of the message up to the tag                                        |
 * |     38 |    8 | conf       |                                                                         |
 * |     46 | 16 each | ciphertexts | for each bit of `mine`, from the leaf up                            |
 */
const Extract = Object.freeze({
	tree: 0,
	gd: 1,
	epoch: 2,
	g: 4,
	sincePatch: 8,
	isEvicted: 9,
	touched: 10,
	mine: 14,
	digest: 18,
	confirm: 38,
	ciphertexts: 46,
} as const);

/** Working memory: K_v ‖ r_v, which is hashed as one; a key of the moment; a pad. */
const WORK_R = 16;
const WORK_KEY = 32;
const WORK_PAD = 48;
const WORK_BYTES = 64;

/** The member of HORA's trees: ticks, patches and paths of several trees that move apart (HORA section 4). */
export class HoraMember implements GroupKeyScheme {
	readonly schemeNumber = SchemeNumber.hora;
	readonly #crypto: Crypto;
	readonly #store: PathStore;
	readonly #header = createRekeyHeader();
	readonly #context = new Uint8Array(8);
	readonly #confirm = new Uint8Array(CONFIRM_BYTES);
	readonly #extract: Uint8Array;
	/** The concentrator's; the owner changes it after an ATTACH. */
	domain: number;

	constructor(crypto: Crypto, sizes: GroupSizes) {
		this.#crypto = crypto;
		this.domain = sizes.domain;
		this.#store = new PathStore(SchemeNumber.hora, 2, sizes, WORK_BYTES);
		const levels = Math.max(this.#store.levelsMax(0), this.#store.levelsMax(1));
		this.#extract = new Uint8Array(Extract.ciphertexts + CIPHERTEXT_BYTES * Math.max(1, levels));
	}

	get memberStateBytes(): number {
		return this.#store.bytes.length + this.#extract.length;
	}

	get stagedBytesMax(): number {
		return this.#store.stateBytes;
	}

	get epoch(): number {
		return this.#store.epoch(this.#store.now);
	}

	generation(group: number): number {
		const at = this.#store.findJoined(this.#store.now, group);
		return at < 0 ? -1 : getUint32(this.#store.bytes, at + Field.generation);
	}

	/** Trees of which a leaf key is held are those of which the member is. Node keys wait for a verified header (4.1). */
	stageDay(epoch: number, keys: LeafSource, isNew: boolean): void {
		const store = this.#store;
		const state = store.begin();
		for (let i = 0; i < store.recordCount; i++) {
			const at = store.record(state, i);
			const group = i === 0 ? DOMAIN_GROUP : store.bytes[at + Field.group]!;
			const isHeld = (store.bytes[at + Field.flags]! & FLAG_JOINED) !== 0;
			if (isNew || !isHeld) store.clear(state, i);
			if (i !== 0 && (isNew || !isHeld)) continue;
			store.bytes[at + Field.ofDay] = 0;
			const status = keys.deriveLeafKey(group, store.bytes, at + Field.leafKey);
			const flags = store.bytes[at + Field.flags]! & ~FLAG_LEAF;
			store.bytes[at + Field.flags] = status === Status.ok ? flags | FLAG_LEAF : flags;
		}
		store.setEpoch(state, epoch);
	}

	stage(way: Way, message: Uint8Array, byteLength: number): Status {
		if (this.#store.isStaged) return Status.busy; // HRM-1
		if (byteLength < 1 || byteLength > message.length) return Status.badLength; // HRM-2
		const type = message[0]!;
		if (type === HoraType.paths)
			return way === Way.unicast ? this.#stagePaths(message, byteLength) : Status.notAuthorised; // HRM-3
		if (way !== Way.broadcast) return Status.badKind; // HRM-4
		if (type === HoraType.headers) return this.#stageHeaders(message, byteLength);
		const status = this.extract(message, byteLength, this.#extract, 0);
		return status === Status.ok ? this.stageExtract(this.#extract, 0) : status;
	}

	/**
	 * Takes out of a REKEY or REFRESH, not yet verified, what this member will need: no secret is looked at, nothing changes,
	 * and the work is at most 256 × levels steps and one hash of the message.
	 * @param into receives at most `extractBytesMax` bytes
	 */
	extract(message: Uint8Array, byteLength: number, into: Uint8Array, offset: number): Status {
		const header = this.#header;
		const status = decodeRekeyHeader(message, byteLength, header);
		if (status !== Status.ok) return status;
		if (header.domain !== this.domain) return Status.notAuthorised; // HRM-5
		const store = this.#store;
		const at = store.findJoined(store.now, header.tree);
		if (at < 0) return Status.notFound; // HRM-6
		const own = getUint32(store.bytes, at + Field.leaf);
		const levels = store.levelsAt(at);
		const slots = 2 ** levels;
		const size = slotBytes(levels);
		const { count } = header;
		const bitmapAt = REKEY_HEADER_BYTES + size * count;
		if (byteLength < bitmapAt + 1 + CONFIRM_BYTES) return Status.badLength; // HRM-7
		let before = -1;
		let isOwn = false;
		for (let i = 0; i < count; i++) {
			const slot = getSlot(message, REKEY_HEADER_BYTES + size * i, size);
			if (slot <= before || slot >= slots) return Status.badValue; // HRM-8
			if (slots + slot === own) isOwn = true;
			before = slot;
		}
		const isRefresh = header.type === HoraType.refresh;
		for (let i = 0; i < Extract.digest; i++) into[offset + i] = 0;
		// Touched nodes, level by level from the leaves, each level from the right: descending heap index.
		let touchedCount = 0;
		let ciphertextCount = 0;
		let mineCount = 0;
		let isChildTouched = false;
		let isSiblingTouched = false;
		for (let height = isRefresh ? 0 : 1; height <= levels; height++) {
			const ownNode = Math.floor(own / 2 ** height);
			let isTouched = false;
			let isNextSiblingTouched = false;
			let last = -1;
			for (let i = count - 1; i >= 0; i--) {
				const slot = getSlot(message, REKEY_HEADER_BYTES + size * i, size);
				const node = Math.floor((slots + slot) / 2 ** height);
				if (node === last) continue;
				last = node;
				const byte = bitmapAt + (touchedCount >> 3);
				if (byte >= byteLength - CONFIRM_BYTES) return Status.badLength; // HRM-9
				const hasCiphertext = ((message[byte]! >> (7 - (touchedCount & 7))) & 1) === 1;
				touchedCount++;
				if (node === (ownNode ^ 1)) isNextSiblingTouched = true;
				if (node === ownNode) {
					isTouched = true;
					into[offset + Extract.touched + (height >> 3)]! |= 1 << (height & 7);
					const child = Math.floor(own / 2 ** (height - 1));
					const isMine = height === 0 || !isChildTouched || ((child & 1) === 1 && isSiblingTouched);
					if (hasCiphertext && isMine) {
						into[offset + Extract.mine + (height >> 3)]! |= 1 << (height & 7);
						// The place among the ciphertexts, for the pass below; there are at most as many as levels.
						const place = offset + Extract.ciphertexts + CIPHERTEXT_BYTES * mineCount++;
						into[place] = ciphertextCount >> 8;
						into[place + 1] = ciphertextCount;
					}
				}
				if (hasCiphertext) ciphertextCount++;
			}
			isChildTouched = isTouched;
			isSiblingTouched = isNextSiblingTouched;
		}
		const ciphertextsAt = bitmapAt + ((touchedCount + 7) >> 3);
		const confirmAt = ciphertextsAt + CIPHERTEXT_BYTES * ciphertextCount;
		if (byteLength !== confirmAt + CONFIRM_BYTES) return Status.badLength; // HRM-10
		const unused = (8 - (touchedCount & 7)) & 7;
		if ((message[ciphertextsAt - 1]! & ((1 << unused) - 1)) !== 0) return Status.badValue; // HRM-11
		for (let i = 0; i < mineCount; i++) {
			const place = offset + Extract.ciphertexts + CIPHERTEXT_BYTES * i;
			const from = ciphertextsAt + CIPHERTEXT_BYTES * (into[place]! * 256 + into[place + 1]!);
			for (let k = 0; k < CIPHERTEXT_BYTES; k++) into[place + k] = message[from + k]!;
		}
		into[offset + Extract.tree] = header.tree;
		into[offset + Extract.gd] = header.gd;
		into[offset + Extract.epoch] = header.epoch >> 8;
		into[offset + Extract.epoch + 1] = header.epoch;
		setUint32(into, offset + Extract.g, header.g);
		into[offset + Extract.sincePatch] = header.sincePatch;
		into[offset + Extract.isEvicted] = isOwn && !isRefresh ? 1 : 0;
		this.#crypto.sha256(message, 0, confirmAt, into, offset + Extract.digest, DIGEST_BYTES);
		for (let i = 0; i < CONFIRM_BYTES; i++) into[offset + Extract.confirm + i] = message[confirmAt + i]!;
		return Status.ok;
	}

	get extractBytesMax(): number {
		return this.#extract.length;
	}

	/** Stages what `extract` wrote, once the message's MAC has been verified. See `stage`. */
	stageExtract(from: Uint8Array, offset: number): Status {
		const store = this.#store;
		const { bytes } = store;
		if (store.isStaged) return Status.busy; // HRM-12
		const tree = from[offset + Extract.tree]!;
		const present = store.findJoined(store.now, tree);
		if (present < 0) return Status.notFound; // HRM-13
		const g = getUint32(from, offset + Extract.g);
		const held = getUint32(bytes, present + Field.generation);
		if (g <= held) return Status.replayed; // HRM-14
		const epoch = from[offset + Extract.epoch]! * 256 + from[offset + Extract.epoch + 1]!;
		if (epoch < this.epoch) return Status.expired; // HRM-15
		if (epoch > this.epoch) return Status.outOfOrder; // HRM-16
		if (from[offset + Extract.isEvicted] === 1) return Status.notAuthorised; // HRM-17
		if (held < g - from[offset + Extract.sincePatch]!) return Status.outOfOrder; // HRM-18
		// The staged copy of the record.
		const at = store.begin() + (present - store.now);
		let status = this.#tick(at, g, from[offset + Extract.gd]!);
		if (status === Status.ok) status = this.#patch(at, g, from, offset);
		if (status === Status.ok) status = this.#checkConfirm(at, from, offset);
		if (status !== Status.ok) store.abort();
		else store.wipeWork();
		return status;
	}

	#step(key: number, keyBytes: number, label: number, into: number): void {
		const { bytes } = this.#store;
		this.#crypto.kdf(bytes, key, keyBytes, label, NO_BYTES, 0, 0, bytes, into, KEY);
	}

	/** Where the key of the own node `height` levels above the leaf lies; 0: the leaf key. */
	#nodeKey(at: number, height: number): number {
		return height === 0 ? at + Field.leafKey : at + Field.path + KEY * (height - 1);
	}

	/**
	 * Brings a staged record to generation g by ticks alone, and keeps the group key before.
	 * @returns `ok`, or `outOfOrder`: too far, or a day's count that cannot be
	 */
	#tick(at: number, g: number, gd: number): Status {
		const { bytes } = this.#store;
		const held = getUint32(bytes, at + Field.generation);
		const heldOfDay = bytes[at + Field.ofDay]!;
		if (g - held > GENERATIONS_MAX || gd < heldOfDay) return Status.outOfOrder; // HRM-19
		if ((bytes[at + Field.flags]! & FLAG_LEAF) === 0) return Status.outOfOrder; // HRM-20
		const levels = this.#store.levelsAt(at);
		this.#step(this.#nodeKey(at, levels), KEY, TreeLabel.groupKey, at + Field.older);
		bytes[at + Field.olderBy] = g - held;
		for (let height = 1; height <= levels; height++) {
			const key = this.#nodeKey(at, height);
			for (let i = held; i < g; i++) this.#step(key, KEY, TreeLabel.tick, key);
		}
		this.#tickLeaf(at, gd);
		setUint32(bytes, at + Field.generation, g);
		return Status.ok;
	}

	#tickLeaf(at: number, gd: number): void {
		const { bytes } = this.#store;
		const leaf = at + Field.leafKey;
		for (let i = bytes[at + Field.ofDay]!; i < gd; i++) this.#step(leaf, KEY, TreeLabel.tick, leaf);
		bytes[at + Field.ofDay] = gd;
	}

	/** Leaf to root: r out of the own ciphertext or from the level below, mixed into the node's key. */
	#patch(at: number, g: number, from: Uint8Array, offset: number): Status {
		const { bytes, workAt } = this.#store;
		const levels = this.#store.levelsAt(at);
		const own = getUint32(bytes, at + Field.leaf);
		let ciphertext = offset + Extract.ciphertexts;
		let hasR = false;
		for (let height = 0; height <= levels; height++) {
			const bit = 1 << (height & 7);
			if ((from[offset + Extract.touched + (height >> 3)]! & bit) === 0) continue;
			if ((from[offset + Extract.mine + (height >> 3)]! & bit) !== 0) {
				// Under the KEK of the child below, after its own patch; a refreshed leaf's under that of the leaf itself.
				this.#step(this.#nodeKey(at, Math.max(0, height - 1)), KEY, TreeLabel.kek, workAt + WORK_KEY);
				setUint32(this.#context, 0, g);
				setUint32(this.#context, 4, Math.floor(own / 2 ** height));
				const { pad } = TreeLabel;
				this.#crypto.kdf(bytes, workAt + WORK_KEY, KEY, pad, this.#context, 0, 8, bytes, workAt + WORK_PAD, KEY);
				for (let i = 0; i < KEY; i++)
					bytes[workAt + WORK_R + i] = from[ciphertext + i]! ^ bytes[workAt + WORK_PAD + i]!;
				ciphertext += CIPHERTEXT_BYTES;
				hasR = true;
			} else if (hasR) this.#step(workAt + WORK_R, KEY, TreeLabel.up, workAt + WORK_R);
			else return Status.badTag; // HRM-21: nothing here is for this member
			if (height === 0) continue;
			const key = this.#nodeKey(at, height);
			bytes.copyWithin(workAt, key, key + KEY);
			this.#step(workAt, 2 * KEY, TreeLabel.mix, key);
		}
		return hasR ? Status.ok : Status.badTag; // HRM-22
	}

	#checkConfirm(at: number, from: Uint8Array, offset: number): Status {
		const { bytes, workAt } = this.#store;
		const root = this.#nodeKey(at, this.#store.levelsAt(at));
		this.#step(root, KEY, TreeLabel.groupKey, workAt + WORK_KEY);
		const digest = offset + Extract.digest;
		const { confirm } = TreeLabel;
		const into = this.#confirm;
		this.#crypto.kdf(bytes, workAt + WORK_KEY, KEY, confirm, from, digest, DIGEST_BYTES, into, 0, CONFIRM_BYTES);
		const isRight = this.#crypto.equal(into, 0, from, offset + Extract.confirm, CONFIRM_BYTES);
		return isRight ? Status.ok : Status.badTag; // HRM-23
	}

	#stagePaths(message: Uint8Array, byteLength: number): Status {
		if (byteLength < PATHS_HEADER_BYTES + PATHS_ENTRY_BYTES) return Status.badLength; // HRM-24
		if (message[1]! * 256 + message[2]! !== this.domain) return Status.notAuthorised; // HRM-25
		const epoch = message[3]! * 256 + message[4]!;
		if (epoch < this.epoch) return Status.expired; // HRM-26
		if (epoch > this.epoch) return Status.outOfOrder; // HRM-27
		const store = this.#store;
		const state = store.begin();
		let status: Status = Status.ok;
		let isNews = false;
		let read = PATHS_HEADER_BYTES;
		while (read < byteLength && status === Status.ok) {
			if (byteLength - read < PATHS_ENTRY_BYTES)
				status = Status.badLength; // HRM-28
			else {
				const hasLeafKey = (message[read + 1]! & LEAF_KEY_FOLLOWS) !== 0;
				const leaf = (message[read + 1]! & 0x7f) * 65_536 + message[read + 2]! * 256 + message[read + 3]!;
				const levels = levelsOf(2, leaf);
				const size = PATHS_ENTRY_BYTES + KEY * (levels + (hasLeafKey ? 1 : 0));
				if (levels === 0 || byteLength - read < size)
					status = Status.badLength; // HRM-29
				else {
					status = this.#readPath(state, message, read, leaf, levels, hasLeafKey);
					// What is known already does no harm beside what is new.
					if (status === Status.ok) isNews = true;
					else if (status === Status.replayed) status = Status.ok;
				}
				read += size;
			}
		}
		if (status === Status.ok && !isNews) status = Status.replayed; // HRM-30
		if (status !== Status.ok) store.abort();
		return status;
	}

	#readPath(state: number, from: Uint8Array, read: number, leaf: number, levels: number, hasLeafKey: boolean): Status {
		const store = this.#store;
		const { bytes } = store;
		const tree = from[read]!;
		if (levels > store.levelsMax(tree)) return Status.storageFull; // HRM-31
		const known = store.find(state, tree);
		const at = known >= 0 ? known : store.allocate(state, tree);
		if (at < 0) return Status.storageFull; // HRM-32
		const g = getUint32(from, read + 4);
		const gd = from[read + 8]!;
		const isJoined = (bytes[at + Field.flags]! & FLAG_JOINED) !== 0;
		const held = getUint32(bytes, at + Field.generation);
		if (isJoined && g <= held) return Status.replayed; // HRM-33
		let path = read + PATHS_ENTRY_BYTES;
		if (hasLeafKey) {
			for (let i = 0; i < KEY; i++) bytes[at + Field.leafKey + i] = from[path + i]!;
			path += KEY;
			bytes[at + Field.ofDay] = gd;
		} else {
			if ((bytes[at + Field.flags]! & FLAG_LEAF) === 0) return Status.outOfOrder; // HRM-34: no leaf key of today
			if (gd < bytes[at + Field.ofDay]!) return Status.outOfOrder; // HRM-35
			this.#tickLeaf(at, gd);
		}
		const root = this.#nodeKey(at, store.levelsAt(at));
		if (isJoined && g - held <= GENERATIONS_MAX) {
			this.#step(root, KEY, TreeLabel.groupKey, at + Field.older);
			bytes[at + Field.olderBy] = g - held;
		} else {
			bytes.fill(0, at + Field.older, at + Field.older + KEY);
			bytes[at + Field.olderBy] = 0;
		}
		const room = KEY * store.levelsMax(tree);
		bytes.fill(0, at + Field.path, at + Field.path + room);
		for (let i = 0; i < KEY * levels; i++) bytes[at + Field.path + i] = from[path + i]!;
		bytes[at + Field.group] = tree;
		bytes[at + Field.flags] = FLAG_LEAF | FLAG_JOINED;
		setUint32(bytes, at + Field.leaf, leaf);
		setUint32(bytes, at + Field.generation, g);
		return Status.ok;
	}

	/** Ticks of several trees, as the beacon says. Trees of others are passed over; one that needs a catch-up stays as it is. */
	#stageHeaders(message: Uint8Array, byteLength: number): Status {
		const entries = byteLength - HEADERS_HEADER_BYTES;
		if (entries <= 0 || entries % HEADERS_ENTRY_BYTES !== 0) return Status.badLength; // HRM-36
		if (message[1]! * 256 + message[2]! !== this.domain) return Status.notAuthorised; // HRM-37
		const epoch = message[3]! * 256 + message[4]!;
		if (epoch < this.epoch) return Status.expired; // HRM-38
		if (epoch > this.epoch) return Status.outOfOrder; // HRM-39
		const store = this.#store;
		const state = store.begin();
		let isNews = false;
		let isBehind = false;
		for (let read = HEADERS_HEADER_BYTES; read < byteLength; read += HEADERS_ENTRY_BYTES) {
			const at = store.findJoined(state, message[read]!);
			if (at < 0) continue;
			const g = getUint32(message, read + 1);
			const held = getUint32(store.bytes, at + Field.generation);
			if (g <= held) continue;
			if (held < g - message[read + 6]!) isBehind = true;
			else if (this.#tick(at, g, message[read + 5]!) === Status.ok) isNews = true;
			else isBehind = true;
		}
		if (isNews) return Status.ok;
		store.abort();
		return isBehind ? Status.outOfOrder : Status.replayed; // HRM-40
	}

	/** Whether a header shows that a patch was missed: it is time for a catch-up. */
	needsCatchUp(tree: number, g: number, sincePatch: number): boolean {
		const held = this.generation(tree);
		return held >= 0 && held < g - Math.min(sincePatch, GENERATIONS_MAX);
	}

	/** Two intervals after a change of keys: the older group keys are to be forgotten. @returns `notFound`: none is held */
	stageForget(): Status {
		const store = this.#store;
		if (store.isStaged) return Status.busy; // HRM-41
		const state = store.begin();
		let isHeld = false;
		for (let i = 0; i < store.recordCount; i++) {
			const at = store.record(state, i);
			if (store.bytes[at + Field.olderBy] !== 0) isHeld = true;
			store.bytes[at + Field.olderBy] = 0;
			store.bytes.fill(0, at + Field.older, at + Field.older + KEY);
		}
		if (isHeld) return Status.ok;
		store.abort();
		return Status.notFound;
	}

	/**
	 * The meter knows that it has left a group, or the domain with all: every key of theirs is wiped but today's leaf key of
	 * the domain, which the concentrator may take it back with. @returns `notFound`: it was in none
	 */
	stageLeave(tree: number): Status {
		const store = this.#store;
		if (store.isStaged) return Status.busy; // HRM-42
		const present = store.findJoined(store.now, tree);
		if (present < 0) return Status.notFound; // HRM-43
		const { bytes } = store;
		const state = store.begin();
		for (let i = 0; i < store.recordCount; i++) {
			const at = store.record(state, i);
			if (tree !== DOMAIN_GROUP && at - state !== present - store.now) continue;
			if (i !== 0) {
				store.clear(state, i);
				continue;
			}
			bytes[at + Field.flags]! &= ~FLAG_JOINED;
			bytes.fill(0, at + Field.leaf, at + Field.ofDay);
			bytes[at + Field.olderBy] = 0;
			bytes.fill(0, at + Field.older, at + Field.path + KEY * store.levelsMax(DOMAIN_GROUP));
		}
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
		if (at < 0) return Status.notFound; // HRM-44
		const held = getUint32(store.bytes, at + Field.generation);
		const olderBy = store.bytes[at + Field.olderBy]!;
		let key = at + Field.older;
		if (generation === held) {
			key = store.workAt + WORK_KEY;
			this.#step(this.#nodeKey(at, store.levelsAt(at)), KEY, TreeLabel.groupKey, key);
		} else if (olderBy === 0 || generation !== held - olderBy) return Status.notFound; // HRM-45
		this.#crypto.kdf(store.bytes, key, KEY, label[0]!, label, 1, label.length - 1, into, 0, KEY);
		store.wipeWork();
		return Status.ok;
	}
}
