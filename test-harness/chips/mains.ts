/** What flows through one phase; RMS values. */
export interface PhaseLoad {
	readonly voltageVolts: number;
	readonly currentAmperes: number;
	/** Positive: the current lags. Beyond ±90 degrees: exported. */
	readonly angleDegrees: number;
}

/** Errors of the parts around a chip, the same for all time: what calibration is there to find. */
export interface PhaseErrors {
	/** The chip sees this times the true voltage. */
	readonly voltageGain: number;
	readonly currentGain: number;
	/** The chip sees the current this much late. */
	readonly currentDelayNanoseconds: number;
	/** The chip sees this much power more. */
	readonly powerOffsetWatts: number;
}

export const NO_ERRORS: PhaseErrors = {
	voltageGain: 1,
	currentGain: 1,
	currentDelayNanoseconds: 0,
	powerOffsetWatts: 0,
};

/** What a chip sees of one phase. */
export interface Seen {
	readonly volts: number;
	readonly amperes: number;
	readonly watts: number;
	readonly vars: number;
}

/** The truth: steady sine loads that change at times of the test's choosing, and the energy that went through. */
export class Mains {
	frequencyHertz = 50;
	readonly loads: PhaseLoad[];
	/** Energies so far, mWh. */
	readonly importMilliwattHours: number[];
	readonly exportMilliwattHours: number[];
	readonly #errors: PhaseErrors[];
	#atMilliseconds = 0;

	constructor(phaseCount = 1, errors: readonly PhaseErrors[] = []) {
		this.loads = Array.from({ length: phaseCount }, () => ({ voltageVolts: 230, currentAmperes: 0, angleDegrees: 0 }));
		this.importMilliwattHours = new Array<number>(phaseCount).fill(0);
		this.exportMilliwattHours = new Array<number>(phaseCount).fill(0);
		this.#errors = Array.from({ length: phaseCount }, (_, i) => errors[i] ?? NO_ERRORS);
	}

	/** From now on; the caller has brought the bench to now before. */
	set(phase: number, load: Partial<PhaseLoad>): void {
		this.loads[phase] = { ...this.loads[phase]!, ...load };
	}

	watts(phase: number): number {
		const { voltageVolts, currentAmperes, angleDegrees } = this.loads[phase]!;
		return voltageVolts * currentAmperes * Math.cos((angleDegrees * Math.PI) / 180);
	}

	vars(phase: number): number {
		const { voltageVolts, currentAmperes, angleDegrees } = this.loads[phase]!;
		return voltageVolts * currentAmperes * Math.sin((angleDegrees * Math.PI) / 180);
	}

	/** @param correctionNanoseconds by which the chip itself shifts the voltage later (or the current earlier) */
	seen(phase: number, correctionNanoseconds = 0): Seen {
		const { voltageVolts, currentAmperes, angleDegrees } = this.loads[phase]!;
		const errors = this.#errors[phase]!;
		const late = (errors.currentDelayNanoseconds - correctionNanoseconds) * 1e-9;
		const angle = (angleDegrees * Math.PI) / 180 + 2 * Math.PI * this.frequencyHertz * late;
		const volts = voltageVolts * errors.voltageGain;
		const amperes = currentAmperes * errors.currentGain;
		const offset = errors.powerOffsetWatts;
		return {
			volts,
			amperes,
			watts: volts * amperes * Math.cos(angle) + offset,
			vars: volts * amperes * Math.sin(angle),
		};
	}

	advance(nowMilliseconds: number): void {
		const hours = (nowMilliseconds - this.#atMilliseconds) / 3_600_000;
		if (hours < 0) throw new Error("time goes back");
		this.#atMilliseconds = nowMilliseconds;
		for (let i = 0; i < this.loads.length; i++) {
			const milliwattHours = this.watts(i) * 1000 * hours;
			if (milliwattHours >= 0) this.importMilliwattHours[i]! += milliwattHours;
			else this.exportMilliwattHours[i]! -= milliwattHours;
		}
	}
}
