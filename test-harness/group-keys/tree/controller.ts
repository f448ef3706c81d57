import { InvariantError, Status } from "../../../src/bytes/status.js";
import { type Aead, type Crypto, NO_BYTES } from "../../../src/crypto/crypto.js";
import { encodeGroupEnvelope, GROUP_ENVELOPE_BYTES, MessageKind, setUint32 } from "../../../src/group-keys/envelope.js";
import { firstLeafOf, levelsFor, parentOf } from "../../../src/group-keys/path-store.js";
import { DOMAIN_GROUP, Way } from "../../../src/group-keys/scheme.js";
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
	type TreeDefinition,
} from "../../../src/group-keys/tree/definition.js";
import { type GroupController, type Joiner, type LeafKeyOf, type Outgoing, PAIRWISE_BYTES } from "../controller.js";

const KEY = 16;

export interface TreeControllerOptions {
	readonly crypto: Crypto;
	readonly definition: TreeDefinition;
	readonly domainSlots: number;
	readonly groupSlots: number;
	readonly entropy: (into: Uint8Array) => void;
}

/** One tree of LKH, LKH+, OFT or OFC: secrets by heap index, and who sits where. */
class Tree {
	readonly first: number;
	readonly last: number;
	/** LKH, OFC: K_v. OFT: X_v. Leaves: of members. */
	readonly keys: Uint8Array;
	readonly members: Uint32Array;
	readonly leafOf = new Map<number, number>();
	readonly arity: number;
	readonly levels: number;
	generation = 0;
	#search: number;

	constructor(arity: number, slots: number) {
		this.arity = arity;
		this.levels = levelsFor(arity, slots);
		this.first = firstLeafOf(arity, this.levels);
		this.last = this.first + arity ** this.levels - 1;
		this.keys = new Uint8Array(KEY * (this.last + 1));
		this.members = new Uint32Array(this.last + 1);
		this.#search = this.first;
	}

	/** Members below a node, itself included, more by `count`, up to the root. */
	add(leaf: number, count: number): void {
		for (let node = leaf; node > 1; node = parentOf(this.arity, node)) this.members[node]! += count;
		this.members[1]! += count;
	}

	freeLeaf(): number {
		for (let i = this.first; i <= this.last; i++) {
			const leaf = this.#search;
			this.#search = leaf === this.last ? this.first : leaf + 1;
			if (this.members[leaf] === 0) return leaf;
		}
		throw new InvariantError("the tree is full");
	}

	firstChild(node: number): number {
		return this.arity * node - this.arity + 2;
	}

	/** Inner nodes above some leaves, lower ones first. */
	above(leaves: readonly number[]): number[] {
		const found: number[] = [];
		let level = [...new Set(leaves)];
		for (let i = 0; i < this.levels; i++) {
			level = [...new Set(level.map((node) => parentOf(this.arity, node)))].sort((a, b) => b - a);
			found.push(...level);
		}
		return found;
	}
}

/** Gathers the entries of one rekey message. */
class Entries {
	readonly parts: { readonly node: number; readonly key: Uint8Array; readonly secret: Uint8Array }[] = [];

	add(node: number, key: Uint8Array, secret: Uint8Array): void {
		this.parts.push({ node, key: key.slice(), secret: secret.slice() });
	}
}

/** The concentrator's side of the classic key trees. */
export class TreeController implements GroupController {
	readonly #options: TreeControllerOptions;
	readonly #ccm: Aead;
	readonly #trees = new Map<number, Tree>();
	/** Who was ever in the domain: who comes back is given a new leaf key, not the one for good. */
	readonly #known = new Set<number>();
	readonly epoch = 0;

	constructor(options: TreeControllerOptions) {
		this.#options = options;
		this.#ccm = options.crypto.createCcm(NONCE_BYTES, ENTRY_TAG_BYTES);
	}

	#treeOf(group: number): Tree {
		const found = this.#trees.get(group);
		if (found) return found;
		const { definition, domainSlots, groupSlots } = this.#options;
		const made = new Tree(definition.arity, group === DOMAIN_GROUP ? domainSlots : groupSlots);
		this.#options.entropy(made.keys);
		if (definition.rule === NodeRule.oft) for (let node = made.first - 1; node >= 1; node--) this.#combine(made, node);
		this.#trees.set(group, made);
		return made;
	}

	#key(tree: Tree, node: number): Uint8Array {
		return tree.keys.subarray(KEY * node, KEY * node + KEY);
	}

	#derive(key: Uint8Array, label: number): Uint8Array {
		const into = new Uint8Array(KEY);
		this.#options.crypto.kdf(key, 0, key.length, label, NO_BYTES, 0, 0, into, 0, KEY);
		return into;
	}

	#fresh(): Uint8Array {
		const into = new Uint8Array(KEY);
		this.#options.entropy(into);
		return into;
	}

	#combine(tree: Tree, node: number): void {
		const both = new Uint8Array(2 * KEY);
		both.set(this.#derive(this.#key(tree, 2 * node), EngineLabel.blind), 0);
		both.set(this.#derive(this.#key(tree, 2 * node + 1), EngineLabel.blind), KEY);
		this.#key(tree, node).set(this.#derive(both, EngineLabel.combine));
	}

	generation(group: number): number {
		return this.#trees.get(group)?.generation ?? -1;
	}

	members(group: number): readonly number[] {
		return [...(this.#trees.get(group)?.leafOf.keys() ?? [])];
	}

	/** Leaf keys are for good. */
	startDay(_epoch: number, _leafKeyOf: LeafKeyOf): readonly Outgoing[] {
		return [];
	}

	change(group: number, leaves: readonly number[], joins: readonly Joiner[]): readonly Outgoing[] {
		const tree = this.#treeOf(group);
		const { rule } = this.#options.definition;
		const out: Outgoing[] = [];
		if (group === DOMAIN_GROUP)
			for (const [other, { leafOf }] of this.#trees) {
				const also = leaves.filter((meter) => leafOf.has(meter));
				if (other !== DOMAIN_GROUP && also.length > 0) out.push(...this.change(other, also, []));
			}
		const changed: number[] = [];
		for (const meter of leaves) {
			const leaf = tree.leafOf.get(meter);
			if (leaf === undefined) throw new InvariantError(`meter ${meter} is not in group ${group}`);
			tree.leafOf.delete(meter);
			tree.add(leaf, -1);
			changed.push(leaf);
		}
		const entering = joins.map(({ meter, leafKey }) => {
			const leaf = tree.freeLeaf();
			const isCarried = leafKey === undefined || this.#known.has(meter);
			this.#key(tree, leaf).set(isCarried ? this.#fresh() : leafKey);
			if (group === DOMAIN_GROUP) this.#known.add(meter);
			tree.leafOf.set(meter, leaf);
			tree.add(leaf, 1);
			return { meter, leaf, isCarried };
		});
		const joined = entering.map(({ leaf }) => leaf);
		// LKH's newcomers take part in the rekey with their leaf key; the others are handed their path afterwards.
		if (rule === NodeRule.lkh)
			for (const { meter, leaf, isCarried } of entering)
				out.push(this.#join(tree, group, meter, leaf, isCarried, false));
		tree.generation++;
		if (rule === NodeRule.lkhPlus && leaves.length === 0) out.push(this.#hash(tree, group, joined));
		else {
			const entries = new Entries();
			if (rule === NodeRule.oft) this.#updateBlinded(tree, changed, joined, entries);
			else if (rule === NodeRule.ofc) this.#updateChain(tree, changed, joined, entries);
			else this.#updateKeys(tree, [...changed, ...joined], entries);
			let kind: number = MessageKind.batch;
			if (joined.length === 0 && changed.length === 1) kind = MessageKind.leave;
			else if (changed.length === 0) kind = MessageKind.join;
			if (entries.parts.length > 0) out.push(this.#rekey(tree, group, kind, entries));
		}
		if (rule !== NodeRule.lkh)
			for (const { meter, leaf, isCarried } of entering)
				out.push(this.#join(tree, group, meter, leaf, isCarried, true));
		return out;
	}

	refresh(group: number, meter: number): readonly Outgoing[] {
		const tree = this.#treeOf(group);
		const leaf = tree.leafOf.get(meter);
		if (leaf === undefined) throw new InvariantError(`meter ${meter} is not in group ${group}`);
		tree.generation++;
		const entries = new Entries();
		const { rule } = this.#options.definition;
		if (rule === NodeRule.oft) {
			const secret = this.#fresh();
			entries.add(leaf + OWN_SECRET, this.#derive(this.#key(tree, leaf), EngineLabel.seal), secret);
			this.#key(tree, leaf).set(secret);
			this.#updateBlinded(tree, [], [leaf], entries);
		} else if (rule === NodeRule.ofc) this.#updateChain(tree, [leaf], [], entries);
		else this.#updateKeys(tree, [leaf], entries);
		return [this.#rekey(tree, group, MessageKind.refresh, entries)];
	}

	/** LKH: every ancestor new, under each live child. */
	#updateKeys(tree: Tree, leaves: readonly number[], entries: Entries): void {
		for (const node of tree.above(leaves)) {
			this.#key(tree, node).set(this.#fresh());
			const first = tree.firstChild(node);
			for (let child = first; child < first + tree.arity; child++)
				if (tree.members[child]! > 0) entries.add(child, this.#key(tree, child), this.#key(tree, node));
		}
	}

	/** OFC: a new r at the lowest, one-way up; to whom it is not known from below, under the key of the child. */
	#updateChain(tree: Tree, left: readonly number[], joined: readonly number[], entries: Entries): void {
		const r = new Map<number, Uint8Array>();
		for (const leaf of joined) r.set(leaf, this.#fresh());
		for (const node of tree.above([...left, ...joined])) {
			const live = [2 * node, 2 * node + 1].filter((child) => tree.members[child]! > 0);
			const source = live.find((child) => r.has(child));
			const own = source === undefined ? this.#fresh() : this.#derive(r.get(source)!, EngineLabel.up);
			if (live.length > 0) r.set(node, own);
			for (const child of live)
				if (child !== source && !joined.includes(child)) entries.add(child, this.#key(tree, child), own);
			this.#key(tree, node).set(this.#derive(own, EngineLabel.nodeKey));
		}
	}

	/** OFT: blinded keys of changed nodes to their siblings, and the path computed anew. */
	#updateBlinded(tree: Tree, left: readonly number[], joined: readonly number[], entries: Entries): void {
		const touched = new Set([...left, ...joined]);
		for (const node of tree.above([...touched])) {
			touched.add(node);
			const children = [2 * node, 2 * node + 1];
			const isChanged = (child: number) => touched.has(child) && tree.members[child]! > 0;
			for (const child of children) {
				const sibling = child ^ 1;
				if (!touched.has(child) || tree.members[sibling] === 0) continue;
				const isEmptied = tree.members[child] === 0;
				if (isEmptied && isChanged(sibling)) continue;
				if (isEmptied) this.#key(tree, child).set(this.#fresh());
				const key = this.#derive(this.#key(tree, sibling), EngineLabel.seal);
				entries.add(child, key, this.#derive(this.#key(tree, child), EngineLabel.blind));
			}
			// An emptied subtree keeps its value until its sibling, if that does not change, is told another.
			if (tree.members[node]! > 0) this.#combine(tree, node);
		}
	}

	#envelope(tree: Tree, group: number, kind: number, bodyBytes: number): Uint8Array {
		if (bodyBytes > 0xffff) throw new InvariantError("more than one message takes");
		const { schemeNumber: scheme, variant } = this.#options.definition;
		const bytes = new Uint8Array(GROUP_ENVELOPE_BYTES + bodyBytes);
		const { generation } = tree;
		encodeGroupEnvelope({ scheme, kind, variant, group, epoch: 0, generation, counter: 0, bodyBytes }, bytes);
		return bytes;
	}

	#rekey(tree: Tree, group: number, kind: number, { parts }: Entries): Outgoing {
		const bytes = this.#envelope(tree, group, kind, ENTRY_BYTES * parts.length);
		const nonce = new Uint8Array(NONCE_BYTES);
		nonce[0] = group;
		setUint32(nonce, 1, tree.generation);
		let at = GROUP_ENVELOPE_BYTES;
		for (const { node, key, secret } of parts) {
			setUint32(bytes, at, node);
			setUint32(nonce, 5, node);
			this.#ccm.setKey(key, 0);
			const into = at + ENTRY_NODE_BYTES;
			this.#ccm.seal(nonce, 0, bytes, 0, GROUP_ENVELOPE_BYTES, secret, 0, KEY, bytes, into);
			at += ENTRY_BYTES;
		}
		return { way: Way.broadcast, to: -1, bytes, airBytes: bytes.length, ciphertexts: parts.length };
	}

	/** LKH+: which leaves are new, and nothing else. */
	#hash(tree: Tree, group: number, leaves: readonly number[]): Outgoing {
		for (const node of tree.above(leaves))
			this.#key(tree, node).set(this.#derive(this.#key(tree, node), EngineLabel.hash));
		const bytes = this.#envelope(tree, group, MessageKind.join, ENTRY_NODE_BYTES * leaves.length);
		for (const [i, leaf] of leaves.entries()) setUint32(bytes, GROUP_ENVELOPE_BYTES + ENTRY_NODE_BYTES * i, leaf);
		return { way: Way.broadcast, to: -1, bytes, airBytes: bytes.length, ciphertexts: 0 };
	}

	#join(tree: Tree, group: number, meter: number, leaf: number, isCarried: boolean, hasPath: boolean): Outgoing {
		const keys = (isCarried ? 1 : 0) + (hasPath ? tree.levels : 0);
		const bytes = this.#envelope(tree, group, MessageKind.join, JOIN_HEADER_BYTES + KEY * keys);
		bytes[GROUP_ENVELOPE_BYTES] = (isCarried ? JOIN_LEAF_KEY : 0) | (hasPath ? JOIN_PATH : 0);
		setUint32(bytes, GROUP_ENVELOPE_BYTES + 1, leaf);
		let at = GROUP_ENVELOPE_BYTES + JOIN_HEADER_BYTES;
		if (isCarried) {
			bytes.set(this.#key(tree, leaf), at);
			at += KEY;
		}
		const isOft = this.#options.definition.rule === NodeRule.oft;
		for (let node = leaf; hasPath && node > 1; at += KEY) {
			const parent = parentOf(tree.arity, node);
			const key = isOft ? this.#derive(this.#key(tree, node ^ 1), EngineLabel.blind) : this.#key(tree, parent);
			bytes.set(key, at);
			node = parent;
		}
		return { way: Way.unicast, to: meter, bytes, airBytes: bytes.length + PAIRWISE_BYTES, ciphertexts: keys };
	}

	/** The class has none: who missed a rekey is thrown out and taken in again. */
	catchUp(_meter: number): readonly Outgoing[] {
		return [];
	}

	exportKey(group: number, generation: number, label: Uint8Array, into: Uint8Array): Status {
		const tree = this.#trees.get(group);
		if (tree?.generation !== generation) return Status.notFound;
		const key = this.#derive(this.#key(tree, 1), EngineLabel.groupKey);
		this.#options.crypto.kdf(key, 0, KEY, label[0]!, label, 1, label.length - 1, into, 0, KEY);
		key.fill(0);
		return Status.ok;
	}
}
