import { Status } from "../bytes/status.js";
import { DEMAND_STATE_BYTES, type MaximumDemand } from "../metrology/demand.js";
import { LOAD_PROFILE_STATE_BYTES, type LoadProfile } from "../metrology/load-profile.js";
import { type EnergyRegisters, REGISTER_BYTES } from "../metrology/registers.js";

/**
 * Meter state, version 1: 414 bytes, big-endian: what a register commit carries (docs/STORAGE.md).
 * | offset | size | field            | unit and range                                    |
 * |-------:|-----:|------------------|---------------------------------------------------|
 * |      0 |    1 | version          | 1                                                 |
 * |      1 |    1 | opticalFailures  | failed attempts at the optical port in a row      |
 * |      2 |    2 | reserved         | 0                                                 |
 * |      4 |    4 | bootCount        | starts of this meter                              |
 * |      8 |    4 | parameterCounter | changes of metrological parameters                |
 * |     12 |  344 | registers        | energy registers, with their own version          |
 * |    356 |   16 | openInterval     | load profile state, with its own version          |
 * |    372 |   42 | maximumDemand    | maxima of each tariff, with their own version     |
 */
export const METER_STATE_BYTES = 12 + REGISTER_BYTES + LOAD_PROFILE_STATE_BYTES + DEMAND_STATE_BYTES;
const METER_STATE_VERSION = 1;
const REGISTERS_AT = 12;
const PROFILE_AT = REGISTERS_AT + REGISTER_BYTES;
const DEMAND_AT = PROFILE_AT + LOAD_PROFILE_STATE_BYTES;

/** The part of the state that no other room owns. */
export interface MeterCounters {
	bootCount: number;
	parameterCounter: number;
	opticalFailures: number;
}

/** Writes 414 bytes. */
export function encodeMeterState(
	counters: MeterCounters,
	registers: EnergyRegisters,
	profile: LoadProfile,
	demand: MaximumDemand,
	into: DataView,
): number {
	into.setUint32(0, METER_STATE_VERSION * 0x100_0000 + counters.opticalFailures * 0x1_0000);
	into.setUint32(4, counters.bootCount);
	into.setUint32(8, counters.parameterCounter);
	registers.encode(into, REGISTERS_AT);
	profile.encodeState(into, PROFILE_AT);
	demand.encodeState(into, DEMAND_AT);
	return METER_STATE_BYTES;
}

/**
 * Restores a state at start.
 * @param newestRowStartSeconds start of the newest row in storage, NaN for none
 * @returns `ok`; `badLength`, `badVersion`, or what the parts refuse; the parts before it are then restored
 */
export function decodeMeterState(
	from: DataView,
	byteLength: number,
	counters: MeterCounters,
	registers: EnergyRegisters,
	profile: LoadProfile,
	demand: MaximumDemand,
	newestRowStartSeconds: number,
): Status {
	if (byteLength !== METER_STATE_BYTES) return Status.badLength; // MST-1
	if (from.getUint8(0) !== METER_STATE_VERSION) return Status.badVersion; // MST-2
	counters.opticalFailures = from.getUint8(1);
	counters.bootCount = from.getUint32(4);
	counters.parameterCounter = from.getUint32(8);
	let status = registers.decode(from, REGISTERS_AT, REGISTER_BYTES);
	if (status !== Status.ok) return status;
	status = demand.restoreState(from, DEMAND_AT, DEMAND_STATE_BYTES);
	if (status !== Status.ok) return status;
	return profile.restoreState(from, PROFILE_AT, LOAD_PROFILE_STATE_BYTES, newestRowStartSeconds);
}
