import { Input } from "../platform/board.js";
import { EventCode } from "./events.js";
import { type Metrology, NOT_AVAILABLE, type PhaseMeasurement } from "./metrology.js";

/** Limits of the detections; absent fields take `DEFAULT_TAMPER_LIMITS`. */
export interface TamperLimits {
	/** Flux density that counts on its own; half of it counts together with even harmonics in a current. */
	readonly magnetMicrotesla: number;
	/** Second and fourth harmonic of a current against its fundamental. */
	readonly evenHarmonicsPermille: number;
	/** Contract allows export: power in the other direction is no tamper. */
	readonly exportAllowed: boolean;
	/** Current below which directions and angles are not judged, permille of Ib. */
	readonly smallCurrentPermille: number;
	/** Zero-sequence voltage of a lost neutral, permille of Un. */
	readonly zeroSequencePermille: number;
	/** Difference of phase and neutral current, permille of the larger one, and permille of Ib that it must exceed. */
	readonly currentDifferencePermille: number;
	readonly currentDifferenceFloorPermille: number;
	/** Phase loss, permille of Un. */
	readonly phaseLossPermille: number;
	readonly thdVoltagePermille: number;
	/** Mean of a current, permille of Imax. */
	readonly dcPermille: number;
	/** Mean against fundamental from which a DC share is taken for a half-wave load: 0.5 of a diode is far above. */
	readonly halfWavePermille: number;
	/** Urms½, permille of Un. */
	readonly dipPermille: number;
	readonly swellPermille: number;
	readonly interruptionPermille: number;
}

export const DEFAULT_TAMPER_LIMITS: TamperLimits = Object.freeze({
	magnetMicrotesla: 50_000,
	evenHarmonicsPermille: 100,
	exportAllowed: true,
	smallCurrentPermille: 50,
	zeroSequencePermille: 150,
	currentDifferencePermille: 50,
	currentDifferenceFloorPermille: 20,
	phaseLossPermille: 500,
	thdVoltagePermille: 120,
	dcPermille: 10,
	halfWavePermille: 300,
	dipPermille: 900,
	swellPermille: 1100,
	interruptionPermille: 50,
});

/** Permille of Un by which a voltage must come back before a dip, swell or interruption ends. */
const HYSTERESIS_PERMILLE = 20;

/** Detections, in the order of `DETECTIONS`. */
export const Detection = Object.freeze({
	magneticField: 0,
	reverseCurrent: 1,
	phaseAssociation: 2,
	neutralMissing: 3,
	currentDifference: 4,
	cover: 5,
	terminalCover: 6,
	phaseLoss: 7,
	phaseSequence: 8,
	harmonics: 9,
	dcInjection: 10,
	halfWaveLoad: 11,
	dip1: 12,
	dip2: 13,
	dip3: 14,
	swell1: 15,
	swell2: 16,
	swell3: 17,
	interruption: 18,
} as const);
export type Detection = (typeof Detection)[keyof typeof Detection];

/** Event code of the begin (the end is one more), delay and clear delay in ms. */
const DETECTIONS: readonly (readonly [number, number, number])[] = Object.freeze<(readonly [number, number, number])[]>(
	[
		Object.freeze([EventCode.magneticFieldStart, 2000, 10_000]),
		Object.freeze([EventCode.reverseCurrentStart, 60_000, 60_000]),
		Object.freeze([EventCode.phaseAssociationStart, 10_000, 10_000]),
		Object.freeze([EventCode.neutralMissingStart, 10_000, 10_000]),
		Object.freeze([EventCode.currentDifferenceStart, 30_000, 30_000]),
		Object.freeze([EventCode.coverOpened, 100, 1000]),
		Object.freeze([EventCode.terminalCoverOpened, 100, 1000]),
		Object.freeze([EventCode.phaseLossStart, 5000, 5000]),
		Object.freeze([EventCode.phaseSequenceStart, 5000, 5000]),
		Object.freeze([EventCode.harmonicsStart, 60_000, 60_000]),
		Object.freeze([EventCode.dcInjectionStart, 60_000, 60_000]),
		Object.freeze([EventCode.halfWaveLoadStart, 10_000, 10_000]),
		Object.freeze([EventCode.dipStart, 0, 0]),
		Object.freeze([EventCode.dipStart, 0, 0]),
		Object.freeze([EventCode.dipStart, 0, 0]),
		Object.freeze([EventCode.swellStart, 0, 0]),
		Object.freeze([EventCode.swellStart, 0, 0]),
		Object.freeze([EventCode.swellStart, 0, 0]),
		Object.freeze([EventCode.interruptionStart, 0, 0]),
	],
);
export const DETECTION_COUNT = DETECTIONS.length;

/** Places in `#values`. When the condition last changed against the state, NaN: it agrees. */
const SINCE = 0;
/** When a detection began, for durations. */
const BEGAN = SINCE + DETECTION_COUNT;
/** 1 while a detection stands. */
const ACTIVE = BEGAN + DETECTION_COUNT;
/** Second and fourth harmonic of each phase current, as last analysed, permille of the fundamental. */
const EVEN_HARMONICS = ACTIVE + DETECTION_COUNT;
const VALUE_CELLS = EVEN_HARMONICS + 3;

export interface TamperEvents {
	/** A condition began or ended; for the event log. Energy is never altered. */
	tamperEvent(code: number, detail: number): void;
}

/** Difference of two angles in tenths of a degree, -1800 to 1799. */
function turn(tenths: number): number {
	return ((((tenths + 1800) % 3600) + 3600) % 3600) - 1800;
}

/**
 * Tamper and power-quality detections. Each has a condition, a delay, a clear delay, an event code and a counter. Give it
 * each window, each second and each input; time is monotonic milliseconds. 600 bytes of chunks.
 */
export class TamperMonitor {
	readonly #values = new Float64Array(VALUE_CELLS).fill(Number.NaN, SINCE, BEGAN);
	listener: TamperEvents | undefined;
	/** How often each detection began, since start. */
	readonly counts = new Uint32Array(DETECTION_COUNT);
	readonly #limits: TamperLimits;
	#magnetMicrotesla = 0;
	#coverOpen = false;
	#terminalCoverOpen = false;

	/** @param limits `DEFAULT_TAMPER_LIMITS` itself is not copied: it is in flash */
	constructor(limits: Partial<TamperLimits> = DEFAULT_TAMPER_LIMITS) {
		this.#limits = limits === DEFAULT_TAMPER_LIMITS ? DEFAULT_TAMPER_LIMITS : { ...DEFAULT_TAMPER_LIMITS, ...limits };
	}

	isActive(detection: Detection): boolean {
		return this.#values[ACTIVE + detection] !== 0;
	}

	/** Any accusation stands (power quality and the half-wave note are none). */
	get suspected(): boolean {
		for (let i = 0; i <= Detection.dcInjection; i++)
			if (this.#values[ACTIVE + i] !== 0 && i !== Detection.harmonics) return true;
		return false;
	}

	/** The slow mean must stand still: see `Metrology.meanFrozen`. */
	get dcSuspected(): boolean {
		return (
			this.#values[ACTIVE + Detection.dcInjection] !== 0 || !Number.isNaN(this.#values[SINCE + Detection.dcInjection]!)
		);
	}

	/** A cover switch or the magnet sensor changed. */
	inputChanged(which: number, value: number, nowMilliseconds: number): void {
		if (which === Input.magnet) this.#magnetMicrotesla = Math.abs(value);
		else if (which === Input.cover) {
			this.#coverOpen = value !== 0;
			this.#judge(Detection.cover, this.#coverOpen, nowMilliseconds, 0);
		} else if (which === Input.terminalCover) {
			this.#terminalCoverOpen = value !== 0;
			this.#judge(Detection.terminalCover, this.#terminalCoverOpen, nowMilliseconds, 0);
		}
	}

	/** Dips, swells, interruptions, covers: from the last window. */
	windowClosed(metrology: Metrology, nowMilliseconds: number): void {
		this.#judge(Detection.cover, this.#coverOpen, nowMilliseconds, 0);
		this.#judge(Detection.terminalCover, this.#terminalCoverOpen, nowMilliseconds, 0);
		this.#gatherEvenHarmonics(metrology);
		const { configuration } = metrology;
		const { phaseCount, samplesPerSecond } = configuration.layout;
		// a short window has no whole cycle to judge
		if (metrology.windowRows * 33 < samplesPerSecond) return;
		const unit = configuration.nominalVoltageMillivolts / 1000;
		const limits = this.#limits;
		let interrupted = true;
		const interruptionLimit =
			limits.interruptionPermille + (this.isActive(Detection.interruption) ? HYSTERESIS_PERMILLE : 0);
		for (let p = 0; p < phaseCount; p++) {
			const lowestMillivolts = metrology.windowVoltageMinimum(p);
			const highestMillivolts = metrology.windowVoltageMaximum(p);
			const lowest = lowestMillivolts / unit;
			const highest = highestMillivolts / unit;
			const dip = (Detection.dip1 + p) as Detection;
			const swell = (Detection.swell1 + p) as Detection;
			const dipLimit = limits.dipPermille + (this.isActive(dip) ? HYSTERESIS_PERMILLE : 0);
			const swellLimit = limits.swellPermille - (this.isActive(swell) ? HYSTERESIS_PERMILLE : 0);
			const dipDetail = p * 0x100_0000 + Math.round(lowestMillivolts / 100);
			const swellDetail = p * 0x100_0000 + Math.round(highestMillivolts / 100);
			this.#judge(dip, lowest < dipLimit, nowMilliseconds, dipDetail);
			this.#judge(swell, highest > swellLimit, nowMilliseconds, swellDetail);
			if (lowest >= interruptionLimit) interrupted = false;
		}
		this.#judge(Detection.interruption, interrupted, nowMilliseconds, 0);
	}

	/** All that needs longer than a window: from the last second. */
	secondClosed(metrology: Metrology, nowMilliseconds: number): void {
		const limits = this.#limits;
		const { configuration, second } = metrology;
		const { phaseCount, neutralCurrent } = configuration.layout;
		const magnet = this.#magnetMicrotesla;
		let distorted = false;
		for (let p = 0; p < phaseCount; p++)
			if (this.#values[EVEN_HARMONICS + p]! >= limits.evenHarmonicsPermille) distorted = true;
		this.#judge(
			Detection.magneticField,
			magnet >= limits.magnetMicrotesla || (magnet * 2 >= limits.magnetMicrotesla && distorted),
			nowMilliseconds,
			magnet,
		);
		const small = (configuration.baseCurrentMilliamperes * limits.smallCurrentPermille) / 1000;
		const nominal = configuration.nominalVoltageMillivolts;
		let reversed = 0;
		let importing = 0;
		let lost = 0;
		let live = 0;
		let thd = 0;
		let mean = 0;
		let halfWave = 0;
		for (let p = 0; p < phaseCount; p++) {
			const phase = second.phases[p as 0 | 1 | 2];
			const bit = 1 << p;
			if (phase.currentMilliamperes > small) {
				if (phase.powerMilliwatts < 0) reversed |= bit;
				else if (phase.powerMilliwatts > 0) importing |= bit;
			}
			if (phase.voltageMillivolts * 1000 < nominal * limits.phaseLossPermille) lost |= bit;
			else live |= bit;
			if (live & bit) thd = Math.max(thd, phase.thdVoltagePermille);
			const dc = Math.abs(phase.currentMeanMilliamperes);
			if (dc * 1000 > configuration.maximumCurrentMilliamperes * limits.dcPermille) {
				// a diode: mean 0.9 of the fundamental (RMS), and a second harmonic of 0.42; DC from elsewhere has neither
				const c = 2 * p + 1;
				const fundamental = Math.hypot(metrology.phasorReal(c), metrology.phasorImaginary(c));
				const diode = distorted && dc * 1000 > fundamental * limits.halfWavePermille && dc < fundamental;
				if (diode) halfWave = Math.max(halfWave, dc);
				else mean = Math.max(mean, dc);
			}
		}
		const reverse =
			reversed !== 0 && !limits.exportAllowed && (importing !== 0 || phaseCount === 1 || reversed === live);
		this.#judge(Detection.reverseCurrent, reverse, nowMilliseconds, reversed);
		// all phases without voltage is an interruption, not the loss of a phase
		this.#judge(Detection.phaseLoss, lost !== 0 && live !== 0, nowMilliseconds, lost);
		this.#judge(Detection.harmonics, thd > limits.thdVoltagePermille, nowMilliseconds, thd);
		this.#judge(Detection.dcInjection, mean !== 0, nowMilliseconds, mean);
		this.#judge(Detection.halfWaveLoad, halfWave !== 0, nowMilliseconds, halfWave);
		if (phaseCount === 3) {
			const all = lost === 0;
			const angle = second.phases[1].voltageAngleTenthsDegree;
			this.#judge(
				Detection.phaseSequence,
				all && angle !== NOT_AVAILABLE && Math.abs(turn(angle - 2400)) < 300,
				nowMilliseconds,
				0,
			);
			const order = all ? suggestedOrder(second.phases, small) : 0;
			this.#judge(Detection.phaseAssociation, order !== 0, nowMilliseconds, order);
			const zero = this.#zeroSequenceMillivolts(metrology);
			this.#judge(
				Detection.neutralMissing,
				live !== 0 && (live & (live - 1)) !== 0 && zero * 1000 > nominal * limits.zeroSequencePermille && all,
				nowMilliseconds,
				Math.round(zero),
			);
		}
		if (neutralCurrent) {
			const difference = this.#currentDifferenceMilliamperes(metrology);
			this.#judge(Detection.currentDifference, difference > 0, nowMilliseconds, Math.round(difference));
		}
		metrology.meanFrozen = this.dcSuspected;
	}

	#gatherEvenHarmonics(metrology: Metrology): void {
		const channel = metrology.harmonicChannel;
		const { phaseCount } = metrology.configuration.layout;
		if (channel < 0 || channel % 2 === 0 || channel >= 2 * phaseCount) return;
		const { harmonics } = metrology;
		const small = metrology.configuration.baseCurrentMilliamperes / 20;
		this.#values[EVEN_HARMONICS + (channel - 1) / 2] =
			harmonics[1]! > small ? (1000 * Math.hypot(harmonics[2]!, harmonics[4]!)) / harmonics[1]! : 0;
	}

	/** Third part of the vector sum of the voltages. */
	#zeroSequenceMillivolts(metrology: Metrology): number {
		let real = 0;
		let imaginary = 0;
		for (let p = 0; p < 3; p++) {
			real += metrology.phasorReal(2 * p);
			imaginary += metrology.phasorImaginary(2 * p);
		}
		return Math.hypot(real, imaginary) / 3;
	}

	/** How much phase and neutral current differ, 0 while within the limits. Fundamentals, so triplen harmonics are out. */
	#currentDifferenceMilliamperes(metrology: Metrology): number {
		const { phaseCount } = metrology.configuration.layout;
		let real = 0;
		let imaginary = 0;
		for (let p = 0; p < phaseCount; p++) {
			real += metrology.phasorReal(2 * p + 1);
			imaginary += metrology.phasorImaginary(2 * p + 1);
		}
		const neutral = 2 * phaseCount;
		// the neutral's sensor may look either way
		const minus = Math.hypot(real - metrology.phasorReal(neutral), imaginary - metrology.phasorImaginary(neutral));
		const plus = Math.hypot(real + metrology.phasorReal(neutral), imaginary + metrology.phasorImaginary(neutral));
		const difference = Math.min(minus, plus);
		const larger = Math.max(
			Math.hypot(real, imaginary),
			Math.hypot(metrology.phasorReal(neutral), metrology.phasorImaginary(neutral)),
		);
		const limits = this.#limits;
		const floor = (metrology.configuration.baseCurrentMilliamperes * limits.currentDifferenceFloorPermille) / 1000;
		return difference > floor && difference * 1000 > larger * limits.currentDifferencePermille ? difference : 0;
	}

	#judge(detection: Detection, condition: boolean, nowMilliseconds: number, detail: number): void {
		const values = this.#values;
		const active = values[ACTIVE + detection] !== 0;
		if (condition === active) {
			values[SINCE + detection] = Number.NaN;
			return;
		}
		if (Number.isNaN(values[SINCE + detection]!)) values[SINCE + detection] = nowMilliseconds;
		const [code, delay, clearDelay] = DETECTIONS[detection]!;
		const began = values[SINCE + detection]!;
		if (nowMilliseconds - began < (condition ? delay : clearDelay)) return;
		values[SINCE + detection] = Number.NaN;
		values[ACTIVE + detection] = condition ? 1 : 0;
		if (condition) {
			values[BEGAN + detection] = began;
			this.counts[detection] = this.counts[detection]! + 1;
			this.listener?.tamperEvent(code, detail);
			return;
		}
		const timed = detection >= Detection.dip1;
		const duration = Math.min(0x7fff_ffff, Math.round(began - values[BEGAN + detection]!));
		this.listener?.tamperEvent(code + 1, timed ? duration : detail);
	}
}

/**
 * Wiring fault: two phases have their currents swapped, so their angles are off by +120 and -120 degrees against the
 * third one; or all three are rotated.
 * @returns the currents' order as digits (213: the current at input 1 belongs to U2), 0: nothing wrong
 */
function suggestedOrder(phases: readonly PhaseMeasurement[], smallMilliamperes: number): number {
	for (let p = 0; p < 3; p++) {
		const phase = phases[p]!;
		if (phase.currentMilliamperes <= smallMilliamperes || phase.phaseAngleTenthsDegree === NOT_AVAILABLE) return 0;
	}
	for (let good = 0; good < 3; good++) {
		const a = (good + 1) % 3;
		const b = (good + 2) % 3;
		const own = phases[good]!.phaseAngleTenthsDegree;
		// the third phase must look like a load, or its angle tells nothing about the others
		if (Math.abs(own) > 600) continue;
		const offA = turn(phases[a]!.phaseAngleTenthsDegree - own);
		const offB = turn(phases[b]!.phaseAngleTenthsDegree - own);
		if (Math.abs(turn(offA - 1200)) > 250 || Math.abs(turn(offB + 1200)) > 250) continue;
		// 123 with the digits at a and b exchanged
		return 123 + (b - a) * (10 ** (2 - a) - 10 ** (2 - b));
	}
	return 0;
}
