/** How the key of a node comes about. */
export const NodeRule = Object.freeze({
	/** Random; new for every ancestor at each change, under each live child (RFC 2627). */
	lkh: 0,
	/** As LKH, but at a join all ancestors' keys are hashed and nothing is sent to members. */
	lkhPlus: 1,
	/** X_v = f(g(X_left), g(X_right)); members hold the blinded keys beside their path (Sherman, McGrew 2003). */
	oft: 2,
	/** K_v from r_v, and r of the parent from r_v one-way (Canetti et al. 1999). */
	ofc: 3,
} as const);
export type NodeRule = (typeof NodeRule)[keyof typeof NodeRule];

/** A scheme over the tree engine. */
export interface TreeDefinition {
	readonly schemeNumber: number;
	/** In the top bits of the envelope's kind. */
	readonly variant: number;
	readonly arity: number;
	readonly rule: NodeRule;
}

/**
 * Labels of the tree engine in the one-compression KDF, as ASCII.
 * | label | from            | context | gives                                    | bytes |
 * |-------|-----------------|---------|------------------------------------------|------:|
 * | `h`   | K_v             | –       | K_v after a join (LKH+)                  |    16 |
 * | `F`   | r_v             | –       | r one level up (OFC)                     |    16 |
 * | `v`   | r_v             | –       | K_v (OFC)                                |    16 |
 * | `b`   | X_v             | –       | blinded X_v (OFT)                        |    16 |
 * | `f`   | B_left ‖ B_right | –      | X_v (OFT)                                |    16 |
 * | `e`   | X_v             | –       | key that seals for the members below (OFT) |  16 |
 * | `g`   | key of the root | –       | group key                                |    16 |
 */
export const EngineLabel = Object.freeze({
	hash: 0x68,
	up: 0x46,
	nodeKey: 0x76,
	blind: 0x62,
	combine: 0x66,
	seal: 0x65,
	groupKey: 0x67,
} as const);

/**
 * Rekey message of the tree engine: the envelope, then an entry for each ciphertext, lower nodes first.
 * | offset | size | field      | unit and range                                                                  |
 * |-------:|-----:|------------|---------------------------------------------------------------------------------|
 * |      0 |   14 | envelope   | kind join, leave, batch or refresh; generation: the one it makes                |
 * |     14 | 28 each | entries | node 4; then 16 sealed and a tag of 8: AES-128-CCM, associated data the envelope |
 *
 * The nonce is group 1, generation 4, node 4 and zeros. LKH: `node` is the child under whose key the key of its parent is
 * sealed. OFC: the same with r of the parent. OFT: the blinded key of `node` under the key of its sibling; with bit 31
 * set, the new secret of a leaf under its old one. LKH+ at a join: `node` is a leaf that is new, and no ciphertext follows.
 */
export const ENTRY_BYTES = 28;
export const OWN_SECRET = 0x8000_0000;
export const ENTRY_NODE_BYTES = 4;
export const SEALED_BYTES = 24;
export const ENTRY_TAG_BYTES = 8;
export const NONCE_BYTES = 13;

/**
 * Join message of the tree engine, the opened content of the pairwise channel.
 * | offset | size | field    | unit and range                                                            |
 * |-------:|-----:|----------|---------------------------------------------------------------------------|
 * |      0 |   14 | envelope | kind join; generation: of the keys that follow                            |
 * |     14 |    1 | flags    | bit 0: a leaf key follows; bit 1: a path follows                          |
 * |     15 |    4 | leaf     | heap index: the height of the tree is in it                               |
 * |     19 | 0 or 16 | leafKey |                                                                        |
 * |        | 16 each | path  | from the leaf up: node keys; OFT: blinded keys of the siblings            |
 */
export const JOIN_HEADER_BYTES = 5;
export const JOIN_LEAF_KEY = 1;
export const JOIN_PATH = 2;
