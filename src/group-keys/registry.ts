import { DLMS_SCHEME } from "./dlms-global-key/scheme.js";
import { HORA_SCHEME } from "./hora/scheme.js";
import { LIU_EXPLICIT_SCHEME, LIU_IMPLICIT_SCHEME } from "./liu-2013/scheme.js";
import { LKH_4_SCHEME, LKH_SCHEME } from "./lkh/scheme.js";
import { LKH_PLUS_SCHEME } from "./lkh-plus/scheme.js";
import { MATTER_SCHEME } from "./matter-epoch-key/scheme.js";
import { OFC_SCHEME } from "./ofc/scheme.js";
import { OFT_SCHEME } from "./oft/scheme.js";
import type { SchemeEntry } from "./scheme.js";

/** Every scheme that a meter knows: a folder, and a line here. */
export const SCHEMES: readonly SchemeEntry[] = Object.freeze([
	HORA_SCHEME,
	LKH_SCHEME,
	LKH_4_SCHEME,
	LKH_PLUS_SCHEME,
	OFT_SCHEME,
	OFC_SCHEME,
	LIU_IMPLICIT_SCHEME,
	LIU_EXPLICIT_SCHEME,
	DLMS_SCHEME,
	MATTER_SCHEME,
]);

/** The scheme of that name, if there is one. */
export function findScheme(name: string): SchemeEntry | undefined {
	return SCHEMES.find((entry) => entry.name === name);
}
