import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { NodeRule, type TreeDefinition } from "../tree/definition.js";
import { TreeMember } from "../tree/member.js";

/** Reference profile of LKH+ (Waldvogel et al. 1999): LKH whose joins send nothing to members. */
export const LKH_PLUS: TreeDefinition = Object.freeze({
	schemeNumber: SchemeNumber.lkhPlus,
	variant: 0,
	arity: 2,
	rule: NodeRule.lkhPlus,
});

export const LKH_PLUS_SCHEME: SchemeEntry = Object.freeze({
	number: LKH_PLUS.schemeNumber,
	name: "lkh+",
	create: (crypto, sizes) => new TreeMember(crypto, LKH_PLUS, sizes),
} satisfies SchemeEntry);
