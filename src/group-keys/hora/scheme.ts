import { type SchemeEntry, SchemeNumber } from "../scheme.js";
import { HoraMember } from "./member.js";

/** The project's own suite: odometer leaves, mixed trees that tick (docs/DESIGN-GROUP-KEYS.md). */
export const HORA_SCHEME: SchemeEntry = Object.freeze({
	number: SchemeNumber.hora,
	name: "hora",
	create: (crypto, sizes) => new HoraMember(crypto, sizes),
} satisfies SchemeEntry);
