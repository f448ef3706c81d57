import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { NodeRule, type TreeDefinition } from "../tree/definition.js";
import { TreeMember } from "../tree/member.js";

/** Reference profile of OFT (Sherman, McGrew 2003), without the renewed neighbour leaf: h ciphertexts for a leave. */
export const OFT: TreeDefinition = Object.freeze({
	schemeNumber: SchemeNumber.oft,
	variant: 0,
	arity: 2,
	rule: NodeRule.oft,
});

export const OFT_SCHEME: SchemeEntry = Object.freeze({
	number: OFT.schemeNumber,
	name: "oft",
	create: (crypto, sizes) => new TreeMember(crypto, OFT, sizes),
} satisfies SchemeEntry);
