import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { NodeRule, type TreeDefinition } from "../tree/definition.js";
import { TreeMember } from "../tree/member.js";

/** Reference profile of LKH, RFC 2627 (Wallner, Harder, Agee 1999): 2h - 1 ciphertexts for a leave, 2h for a join. */
export const LKH: TreeDefinition = Object.freeze({
	schemeNumber: SchemeNumber.lkh,
	variant: 0,
	arity: 2,
	rule: NodeRule.lkh,
});

export const LKH_SCHEME: SchemeEntry = Object.freeze({
	number: LKH.schemeNumber,
	name: "lkh",
	create: (crypto, sizes) => new TreeMember(crypto, LKH, sizes),
} satisfies SchemeEntry);

/** The same with four children a node: less to hold, 4h - 1 ciphertexts over half the levels. */
export const LKH_4: TreeDefinition = Object.freeze({ ...LKH, variant: 1, arity: 4 });

export const LKH_4_SCHEME: SchemeEntry = Object.freeze({
	number: LKH_4.schemeNumber,
	name: "lkh-4",
	create: (crypto, sizes) => new TreeMember(crypto, LKH_4, sizes),
} satisfies SchemeEntry);
