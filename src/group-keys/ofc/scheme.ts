import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { NodeRule, type TreeDefinition } from "../tree/definition.js";
import { TreeMember } from "../tree/member.js";

/** Reference profile of OFC (Canetti et al. 1999): h ciphertexts for a leave, path by unicast for a join. */
export const OFC: TreeDefinition = Object.freeze({
	schemeNumber: SchemeNumber.ofc,
	variant: 0,
	arity: 2,
	rule: NodeRule.ofc,
});

export const OFC_SCHEME: SchemeEntry = Object.freeze({
	number: OFC.schemeNumber,
	name: "ofc",
	create: (crypto, sizes) => new TreeMember(crypto, OFC, sizes),
} satisfies SchemeEntry);
