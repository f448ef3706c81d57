import { InvariantError } from "../../bytes/status.js";

/** What attributes are multiplied by and divided by to give volts, amperes, watts and kWh. Constant for a device's life. */
export interface Scale {
	readonly voltageMultiplier: number;
	readonly voltageDivisor: number;
	readonly currentMultiplier: number;
	readonly currentDivisor: number;
	/** Power of a phase, 16 bits with sign. */
	readonly phasePowerMultiplier: number;
	readonly phasePowerDivisor: number;
	/** Sum over phases, 32 bits; a host takes 8,388,607 at most. */
	readonly totalPowerMultiplier: number;
	readonly totalPowerDivisor: number;
	/** Energy in kWh and demand in kW share it; demand has 24 bits with sign. */
	readonly meteringDivisor: number;
}

const UINT16_MAX = 0xfffe;
const INT16_MAX = 0x7fff;
const INT24_MAX = 0x7f_ffff;

/** The largest power of ten not above `start` with which `largest * power` still fits; a fraction below 1 is a multiplier. */
function fit(largest: number, limit: number, start: number): number {
	let power = start;
	while (Math.ceil(largest * power) > limit) power /= 10;
	return power;
}

/**
 * The finest scale with which the largest load fits every attribute.
 * @param voltageMaxMillivolts highest phase voltage
 * @param currentMaxMilliamperes Imax of a phase, on the primary side of transformers
 * @see docs/DESIGN-ZIGBEE.md, "Scale"
 */
export function chooseScale(phaseCount: number, voltageMaxMillivolts: number, currentMaxMilliamperes: number): Scale {
	if (!(phaseCount >= 1 && phaseCount <= 3 && voltageMaxMillivolts > 0 && currentMaxMilliamperes > 0))
		throw new InvariantError("zcl: scale of nothing");
	const volts = voltageMaxMillivolts / 1_000;
	const amperes = currentMaxMilliamperes / 1_000;
	const watts = volts * amperes;
	const voltage = fit(volts, UINT16_MAX, 10);
	const current = fit(amperes, UINT16_MAX, 100);
	const phase = fit(watts, INT16_MAX, 10);
	const total = fit(watts * phaseCount, INT24_MAX, 1);
	const metering = fit((watts * phaseCount) / 1_000, INT24_MAX, 1_000);
	return Object.freeze({
		voltageMultiplier: Math.max(1, Math.round(1 / voltage)),
		voltageDivisor: Math.max(1, Math.round(voltage)),
		currentMultiplier: Math.max(1, Math.round(1 / current)),
		currentDivisor: Math.max(1, Math.round(current)),
		phasePowerMultiplier: Math.max(1, Math.round(1 / phase)),
		phasePowerDivisor: Math.max(1, Math.round(phase)),
		totalPowerMultiplier: Math.max(1, Math.round(1 / total)),
		totalPowerDivisor: Math.max(1, Math.round(total)),
		meteringDivisor: Math.max(1, Math.round(metering)),
	});
}
