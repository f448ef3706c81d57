import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { Renewal, type StarDefinition, Wrap } from "../star/definition.js";
import { StarMember } from "../star/member.js";

/** "GroupKey v1.0" */
const DERIVATION: readonly number[] = [71, 114, 111, 117, 112, 75, 101, 121, 32, 118, 49, 46, 48];

/** Reference profile of Matter's epoch keys: by unicast, and HKDF between the epoch key and its use. */
export const MATTER: StarDefinition = Object.freeze({
	schemeNumber: SchemeNumber.matter,
	variant: 0,
	wrap: Wrap.ccm,
	renewal: Renewal.oneByOne,
	isImplicit: false,
	derivation: Uint8Array.from(DERIVATION),
});

export const MATTER_SCHEME: SchemeEntry = Object.freeze({
	number: MATTER.schemeNumber,
	name: "matter",
	create: (crypto, sizes) => new StarMember(crypto, MATTER, sizes),
} satisfies SchemeEntry);
