import { NO_BYTES } from "../../crypto/crypto.js";
import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { Renewal, type StarDefinition, Wrap } from "../star/definition.js";
import { StarMember } from "../star/member.js";

/** Reference profile of Liu et al. 2013 with the explicit index that repairs it. */
export const LIU_EXPLICIT: StarDefinition = Object.freeze({
	schemeNumber: SchemeNumber.liu2013,
	variant: 0,
	wrap: Wrap.ccm,
	renewal: Renewal.underOldKey,
	isImplicit: false,
	derivation: NO_BYTES,
});

export const LIU_EXPLICIT_SCHEME: SchemeEntry = Object.freeze({
	number: LIU_EXPLICIT.schemeNumber,
	name: "liu-2013-explicit",
	create: (crypto, sizes) => new StarMember(crypto, LIU_EXPLICIT, sizes),
} satisfies SchemeEntry);

/** As published: both sides count along, and the counter on the wire is not looked at. Falls apart at the first loss. */
export const LIU_IMPLICIT: StarDefinition = Object.freeze({ ...LIU_EXPLICIT, variant: 1, isImplicit: true });

export const LIU_IMPLICIT_SCHEME: SchemeEntry = Object.freeze({
	number: LIU_IMPLICIT.schemeNumber,
	name: "liu-2013",
	create: (crypto, sizes) => new StarMember(crypto, LIU_IMPLICIT, sizes),
} satisfies SchemeEntry);
