import type { Crypto } from "../../src/crypto/crypto.js";
import { DLMS, DLMS_SCHEME } from "../../src/group-keys/dlms-global-key/scheme.js";
import { HORA_SCHEME } from "../../src/group-keys/hora/scheme.js";
import {
	LIU_EXPLICIT,
	LIU_EXPLICIT_SCHEME,
	LIU_IMPLICIT,
	LIU_IMPLICIT_SCHEME,
} from "../../src/group-keys/liu-2013/scheme.js";
import { LKH, LKH_4, LKH_4_SCHEME, LKH_SCHEME } from "../../src/group-keys/lkh/scheme.js";
import { LKH_PLUS, LKH_PLUS_SCHEME } from "../../src/group-keys/lkh-plus/scheme.js";
import { MATTER, MATTER_SCHEME } from "../../src/group-keys/matter-epoch-key/scheme.js";
import { OFC, OFC_SCHEME } from "../../src/group-keys/ofc/scheme.js";
import { OFT, OFT_SCHEME } from "../../src/group-keys/oft/scheme.js";
import type { SchemeEntry } from "../../src/group-keys/scheme.js";
import type { StarDefinition } from "../../src/group-keys/star/definition.js";
import type { TreeDefinition } from "../../src/group-keys/tree/definition.js";
import type { GroupController } from "./controller.js";
import { HoraController } from "./hora/controller.js";
import { StarController } from "./star/controller.js";
import { TreeController } from "./tree/controller.js";

export interface ControllerOptions {
	readonly crypto: Crypto;
	readonly domain: number;
	readonly domainSlots: number;
	readonly groupSlots: number;
	readonly entropy: (into: Uint8Array) => void;
}

/** What a class claims; the oracle and the conformance suite hold it to this, both ways. */
export interface Traits {
	/** A newcomer learns no key before his time. */
	readonly joinSecrecy: boolean;
	/** The present state of all members gives no earlier group key. */
	readonly forwardSecrecy: boolean;
	/** No set of outsiders, former and later members together, has a group key between them. */
	readonly collusionSafe: boolean;
	/** One exchange makes a member current that missed any number of messages. */
	readonly returns: boolean;
}

export interface ControlledScheme {
	readonly entry: SchemeEntry;
	/** As result tables name it. */
	readonly title: string;
	readonly traits: Traits;
	createController(options: ControllerOptions): GroupController;
}

function tree(entry: SchemeEntry, definition: TreeDefinition, title: string, collusionSafe = true): ControlledScheme {
	return {
		entry,
		title: `reference profile of ${title}`,
		traits: { joinSecrecy: true, forwardSecrecy: false, collusionSafe, returns: false },
		createController: (options) => new TreeController({ ...options, definition }),
	};
}

function star(
	entry: SchemeEntry,
	definition: StarDefinition,
	title: string,
	traits: Partial<Traits>,
): ControlledScheme {
	return {
		entry,
		title: `reference profile of ${title}`,
		traits: { joinSecrecy: true, forwardSecrecy: true, collusionSafe: true, returns: true, ...traits },
		createController: (options) => new StarController({ ...options, definition }),
	};
}

/** Both ends of every scheme: the one line that the harness needs for it. */
export const CONTROLLED: readonly ControlledScheme[] = [
	{
		entry: HORA_SCHEME,
		title: "HORA",
		traits: { joinSecrecy: true, forwardSecrecy: true, collusionSafe: true, returns: true },
		createController: (options) => new HoraController(options),
	},
	tree(LKH_SCHEME, LKH, "LKH"),
	tree(LKH_4_SCHEME, LKH_4, "LKH, 4-ary"),
	tree(LKH_PLUS_SCHEME, LKH_PLUS, "LKH+"),
	tree(OFT_SCHEME, OFT, "OFT", false),
	tree(OFC_SCHEME, OFC, "OFC"),
	star(LIU_IMPLICIT_SCHEME, LIU_IMPLICIT, "Liu 2013", { forwardSecrecy: false, returns: false }),
	star(LIU_EXPLICIT_SCHEME, LIU_EXPLICIT, "Liu 2013, explicit index", { forwardSecrecy: false }),
	star(DLMS_SCHEME, DLMS, "DLMS global key", { forwardSecrecy: false, joinSecrecy: false }),
	star(MATTER_SCHEME, MATTER, "Matter epoch key", { forwardSecrecy: false, joinSecrecy: false }),
];

export function controlled(name: string): ControlledScheme | undefined {
	return CONTROLLED.find(({ entry }) => entry.name === name);
}
