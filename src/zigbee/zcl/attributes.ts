import { ZclType } from "./data-types.js";

export const ClusterId = Object.freeze({
	basic: 0x0000,
	identify: 0x0003,
	time: 0x000a,
	metering: 0x0702,
	electricalMeasurement: 0x0b04,
} as const);

/** What may be done with an attribute. */
export const Access = Object.freeze({ read: 1, write: 2, report: 4 } as const);

const R = Access.read;
const RW = Access.read | Access.write;
const RP = Access.read | Access.report;
const T = ZclType;
const B = ClusterId.basic;
const M = ClusterId.metering;
const E = ClusterId.electricalMeasurement;

/** Needs the phase: a meter of one phase does not have it. */
export const isOfLaterPhase = (cluster: number, id: number): boolean =>
	cluster === E && (id >> 8 === 0x09 || id >> 8 === 0x0a);

/** Attributes that only frames with our manufacturer code name. */
export const REACTIVE_ENERGY_IMPORT = 0xf000;
export const REACTIVE_ENERGY_EXPORT = 0xf001;
export const isManufacturerAttribute = (cluster: number, id: number): boolean => cluster === M && id >= 0xf000;

/** Fields of a row of `ATTRIBUTES`. */
export const ATTRIBUTE_FIELDS = 4;

/**
 * Every attribute of the server: cluster, identifier, type, access; ascending in each cluster. Types are those of the
 * Zigbee Cluster Library and Smart Energy. CurrentSummation and the tiers are reportable although the library's table
 * leaves that open: it is what users ask of a meter.
 */
export const ATTRIBUTES: readonly number[] = Object.freeze(
	[
		[B, 0x0000, T.uint8, R],
		[B, 0x0001, T.uint8, R],
		[B, 0x0002, T.uint8, R],
		[B, 0x0003, T.uint8, R],
		[B, 0x0004, T.characterString, R],
		[B, 0x0005, T.characterString, R],
		[B, 0x0006, T.characterString, R],
		[B, 0x0007, T.enum8, R],
		[B, 0x4000, T.characterString, R],
		[B, 0xfffd, T.uint16, R],
		[ClusterId.identify, 0x0000, T.uint16, RW],
		[ClusterId.identify, 0xfffd, T.uint16, R],
		[M, 0x0000, T.uint48, RP],
		[M, 0x0001, T.uint48, RP],
		[M, 0x0006, T.int8, RP],
		[M, 0x0100, T.uint48, RP],
		[M, 0x0101, T.uint48, RP],
		[M, 0x0102, T.uint48, RP],
		[M, 0x0103, T.uint48, RP],
		[M, 0x0104, T.uint48, RP],
		[M, 0x0105, T.uint48, RP],
		[M, 0x0106, T.uint48, RP],
		[M, 0x0107, T.uint48, RP],
		[M, 0x0200, T.bitmap8, RP],
		[M, 0x0204, T.bitmap64, RP],
		[M, 0x0300, T.enum8, R],
		[M, 0x0301, T.uint24, R],
		[M, 0x0302, T.uint24, R],
		[M, 0x0303, T.bitmap8, R],
		[M, 0x0304, T.bitmap8, R],
		[M, 0x0306, T.bitmap8, R],
		[M, 0x0308, T.octetString, R],
		[M, 0x0400, T.int24, RP],
		[M, REACTIVE_ENERGY_IMPORT, T.uint48, RP],
		[M, REACTIVE_ENERGY_EXPORT, T.uint48, RP],
		[M, 0xfffd, T.uint16, R],
		[E, 0x0000, T.bitmap32, R],
		[E, 0x0300, T.uint16, RP],
		[E, 0x0303, T.uint16, RP],
		[E, 0x0304, T.int32, RP],
		[E, 0x0305, T.int32, RP],
		[E, 0x0306, T.uint32, RP],
		[E, 0x0400, T.uint16, R],
		[E, 0x0401, T.uint16, R],
		[E, 0x0402, T.uint32, R],
		[E, 0x0403, T.uint32, R],
		[E, 0x0505, T.uint16, RP],
		[E, 0x0508, T.uint16, RP],
		[E, 0x050b, T.int16, RP],
		[E, 0x050e, T.int16, RP],
		[E, 0x050f, T.uint16, RP],
		[E, 0x0510, T.int8, RP],
		[E, 0x0600, T.uint16, R],
		[E, 0x0601, T.uint16, R],
		[E, 0x0602, T.uint16, R],
		[E, 0x0603, T.uint16, R],
		[E, 0x0604, T.uint16, R],
		[E, 0x0605, T.uint16, R],
		[E, 0x0905, T.uint16, RP],
		[E, 0x0908, T.uint16, RP],
		[E, 0x090b, T.int16, RP],
		[E, 0x090e, T.int16, RP],
		[E, 0x090f, T.uint16, RP],
		[E, 0x0910, T.int8, RP],
		[E, 0x0a05, T.uint16, RP],
		[E, 0x0a08, T.uint16, RP],
		[E, 0x0a0b, T.int16, RP],
		[E, 0x0a0e, T.int16, RP],
		[E, 0x0a0f, T.uint16, RP],
		[E, 0x0a10, T.int8, RP],
		[E, 0xfffd, T.uint16, R],
	].flat(),
);

/** @returns the row of an attribute in `ATTRIBUTES` (its first index), -1 for none */
export function findAttribute(cluster: number, id: number): number {
	const table = ATTRIBUTES;
	for (let at = 0; at < table.length; at += ATTRIBUTE_FIELDS)
		if (table[at] === cluster && table[at + 1] === id) return at;
	return -1;
}

export function hasCluster(cluster: number): boolean {
	const table = ATTRIBUTES;
	for (let at = 0; at < table.length; at += ATTRIBUTE_FIELDS) if (table[at] === cluster) return true;
	return false;
}
