/** Phases that a meter may have. */
export const PHASES_MAX = 3;
/** Tariffs that are served as tiers. */
export const TARIFFS_MAX = 4;

/** Bits of `MeterSnapshot.status`: those of the metering cluster's Status attribute for electricity. */
export const MeterStatusBit = Object.freeze({
	checkMeter: 0x01,
	tamperDetect: 0x04,
	powerFailure: 0x08,
	powerQuality: 0x10,
	serviceDisconnectOpen: 0x40,
} as const);

/**
 * What one window of the metrology gave, filled anew by `MeterData.capture`. NaN: not known (or not fitted); the
 * attribute is then answered with a failure and not reported. All numbers of one snapshot are of one window.
 */
export class MeterSnapshot {
	/** Registers, mWh and mvarh, 0 and up. */
	activeEnergyImportMilliwattHours = Number.NaN;
	activeEnergyExportMilliwattHours = Number.NaN;
	reactiveEnergyImportMillivarHours = Number.NaN;
	reactiveEnergyExportMillivarHours = Number.NaN;
	/** By tariff, from index 0 for tariff 1. */
	readonly tariffImportMilliwattHours = new Float64Array(TARIFFS_MAX).fill(Number.NaN);
	readonly tariffExportMilliwattHours = new Float64Array(TARIFFS_MAX).fill(Number.NaN);
	/** Sums over the phases; import is positive. */
	activePowerMilliwatts = Number.NaN;
	/** Lagging is positive. */
	reactivePowerMillivars = Number.NaN;
	apparentPowerMillivoltamperes = Number.NaN;
	/** By phase. */
	readonly voltageMillivolts = new Float64Array(PHASES_MAX).fill(Number.NaN);
	readonly currentMilliamperes = new Float64Array(PHASES_MAX).fill(Number.NaN);
	readonly phaseActivePowerMilliwatts = new Float64Array(PHASES_MAX).fill(Number.NaN);
	readonly phaseReactivePowerMillivars = new Float64Array(PHASES_MAX).fill(Number.NaN);
	readonly phaseApparentPowerMillivoltamperes = new Float64Array(PHASES_MAX).fill(Number.NaN);
	neutralCurrentMilliamperes = Number.NaN;
	frequencyMillihertz = Number.NaN;
	/** `MeterStatusBit`s. */
	status = 0;
	/** Tamper and other bits that a utility defines, 0 to 2^32 - 1. */
	extendedStatus = 0;
}

/** What the cluster server asks of the meter. */
export interface MeterData {
	/** Fills `into` with the last window; called at most once for each answer and each report. */
	capture(into: MeterSnapshot): void;
	/** Seconds of one interval of the load profile; 0: there is none. */
	readonly profileIntervalSeconds: number;
	/**
	 * Intervals of the load profile, the newest first.
	 * @param isExport false: import
	 * @param endUtcSeconds the newest wanted ends at or before this, s since 2000-01-01T00:00:00Z; 0: the newest there is
	 * @param into receives mWh; NaN for an interval that is not known
	 * @returns how many were given, at most `count`; `profileEndUtcSeconds` is then the end of the first
	 */
	readProfile(isExport: boolean, endUtcSeconds: number, count: number, into: Float64Array): number;
	readonly profileEndUtcSeconds: number;
	/** The coordinator's clock, s since 2000-01-01T00:00:00Z; it is a hint, and the meter judges it. */
	setUtcSeconds(utcSeconds: number): void;
	/** Somebody wants to see which meter this is; 0: no longer. */
	identify(seconds: number): void;
}
