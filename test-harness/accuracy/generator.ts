/**
 * The reference: waveforms whose power is known from their parameters. It shares no code with `src/metrology`; the
 * truth is a closed form and never looks at a sample.
 */

/** Order, ratio to the fundamental, angle at the rising zero crossing of the phase's voltage (rad). */
export interface Harmonic {
	readonly order: number;
	readonly ratio: number;
	readonly angle: number;
}

export type CurrentShape = "sine" | "halfWave" | "phaseFired" | "burst";

export interface PhaseStimulus {
	/** RMS of the fundamental, V. */
	readonly voltage: number;
	/** Of this phase behind L1, rad. */
	readonly voltageAngle: number;
	/** RMS of the fundamental before shaping, A; negative turns the direction. */
	readonly current: number;
	/** Current behind voltage, rad. */
	readonly phi: number;
	readonly shape?: CurrentShape;
	readonly voltageHarmonics?: readonly Harmonic[];
	readonly currentHarmonics?: readonly Harmonic[];
	/** A. */
	readonly currentDc?: number;
}

export interface Stimulus {
	readonly frequency: number;
	/** Hz a second. */
	readonly ramp?: number;
	/** Angle of L1 at time 0, rad. */
	readonly start: number;
	readonly phases: readonly PhaseStimulus[];
}

export interface Truth {
	/** W: fundamental, harmonics and DC. */
	readonly power: number;
	/** var, fundamental only. */
	readonly reactive: number;
}

/** Power of one phase from its parameters. */
export function truthOfPhase(phase: PhaseStimulus): Truth {
	const { voltage, current, phi } = phase;
	let power = voltage * current * Math.cos(phi);
	let reactive = voltage * current * Math.sin(phi);
	switch (phase.shape ?? "sine") {
		case "sine":
			break;
		case "halfWave": // half of the fundamental passes, the rest is orthogonal to a sine voltage
			power /= 2;
			reactive /= 2;
			break;
		case "phaseFired": // at phi 0: from 90 to 180 degrees of each half wave. a1 = -1/pi, b1 = 1/2 of the peak
			power = (voltage * current) / 2;
			reactive = (voltage * current) / Math.PI;
			break;
		case "burst": // two cycles on, two off
			power /= 2;
			reactive /= 2;
			break;
	}
	for (const u of phase.voltageHarmonics ?? [])
		for (const i of phase.currentHarmonics ?? [])
			if (u.order === i.order) power += voltage * u.ratio * current * i.ratio * Math.cos(u.angle - i.angle);
	return { power, reactive };
}

export function truthOf(stimulus: Stimulus): Truth {
	let power = 0;
	let reactive = 0;
	for (const phase of stimulus.phases) {
		const truth = truthOfPhase(phase);
		power += truth.power;
		reactive += truth.reactive;
	}
	return { power, reactive };
}

/** Angle of L1 at a time, rad. */
export function angleAt(stimulus: Stimulus, seconds: number): number {
	return stimulus.start + 2 * Math.PI * (stimulus.frequency + ((stimulus.ramp ?? 0) * seconds) / 2) * seconds;
}

/** Voltage of a phase at an angle of L1, V. */
export function voltageAt(phase: PhaseStimulus, angle: number): number {
	const x = angle - phase.voltageAngle;
	let value = Math.sin(x);
	for (const h of phase.voltageHarmonics ?? []) value += h.ratio * Math.sin(h.order * x + h.angle);
	return Math.SQRT2 * phase.voltage * value;
}

/** Current of a phase at an angle of L1, A. */
export function currentAt(phase: PhaseStimulus, angle: number): number {
	const x = angle - phase.voltageAngle;
	const sine = Math.sin(x - phase.phi);
	let value = sine;
	switch (phase.shape ?? "sine") {
		case "sine":
			break;
		case "halfWave":
			value = Math.max(0, sine);
			break;
		case "phaseFired": {
			const inHalf = x - Math.PI * Math.floor(x / Math.PI);
			value = inHalf >= Math.PI / 2 ? sine : 0;
			break;
		}
		case "burst":
			value = Math.floor(x / (2 * Math.PI)) % 4 < 2 ? sine : 0;
			break;
	}
	for (const h of phase.currentHarmonics ?? []) value += h.ratio * Math.sin(h.order * x + h.angle);
	return Math.SQRT2 * phase.current * value + (phase.currentDc ?? 0);
}
