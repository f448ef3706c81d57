import { NO_BYTES } from "../../crypto/crypto.js";
import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { Renewal, type StarDefinition, Wrap } from "../star/definition.js";
import { StarMember } from "../star/member.js";

/** Reference profile of the global broadcast key of DLMS/COSEM (IEC 62056-5-3): wrapped under each key-encrypting key. */
export const DLMS: StarDefinition = Object.freeze({
	schemeNumber: SchemeNumber.dlms,
	variant: 0,
	wrap: Wrap.keyWrap,
	renewal: Renewal.oneByOne,
	isImplicit: false,
	derivation: NO_BYTES,
});

export const DLMS_SCHEME: SchemeEntry = Object.freeze({
	number: DLMS.schemeNumber,
	name: "dlms",
	create: (crypto, sizes) => new StarMember(crypto, DLMS, sizes),
} satisfies SchemeEntry);
