import type { Settings } from "../../src/meter/settings.js";
import {
	type BlockShape,
	createSpectrum,
	type ReferencePower,
	synthesizeBlock,
	type WaveformBlock,
} from "../waveforms/block.js";
import type { LoadSource } from "../waveforms/household.js";
import type { LinkBridge } from "./link-bridge.js";
import { SparseFlash } from "./sparse-flash.js";

/** Energy that the waveform carried while the meter was on, Wh: the truth that a register is held against. */
export interface ReferenceEnergy {
	/** Of the legal netting mode of the settings. */
	importWattHours: number;
	exportWattHours: number;
	/** Rows played. */
	rows: number;
}

export interface BoardOptions {
	readonly index: number;
	readonly settings: Settings;
	readonly settingsText: string;
	readonly load: LoadSource;
	/** Parts per million that this board's crystal runs fast: its clock and its sampling alike. */
	readonly clockDriftPpm: number;
	/** What the real-time clock is ahead of the truth when the world starts, s; NaN: not set. */
	readonly clockOffsetSeconds: number;
	/** What its fuses hold, 32 bytes. */
	readonly deviceKey: Uint8Array;
	readonly sectorBytes: number;
	readonly sectorCount: number;
}

/** Longest text kept of a meter's log. */
const LOG_LINES_KEPT = 40;

/**
 * Everything of one meter that is not the processor: flash, crystal and real-time clock, sample source, network, power.
 * It keeps no time of its own: the world says what time it is, in milliseconds of the world; the board turns that into
 * the milliseconds of its crystal, which are the ones that the target hears of.
 */
export class VirtualBoard {
	readonly index: number;
	readonly settings: Settings;
	readonly settingsText: string;
	readonly load: LoadSource;
	readonly flash: SparseFlash;
	readonly reference: ReferenceEnergy = { importWattHours: 0, exportWattHours: 0, rows: 0 };
	bridge!: LinkBridge;
	readonly deviceKey: Uint8Array;
	/** What the optical port sends; `bytes` are valid during the call. */
	onOptical: ((bytes: Uint8Array) => void) | undefined;

	isOn = false;
	/** The target has said that the machine is gone, and the barrier behind which no frame of it can come is not back. */
	isLeaving = false;
	starts = 0;
	powerCuts = 0;
	/** Largest |P| of any block played, W: bounds what a power cut without warning may lose. */
	maximumWatts = 0;
	/** World time at which power returns; NaN: nothing planned. */
	powerReturnsMilliseconds = Number.NaN;
	/** How long power stays away after the next cut. */
	plannedOffMilliseconds = 1000;
	bootReason = 0;
	readonly outputs = new Int32Array(8);
	readonly logLines: string[] = [];
	/** Times of the world, ms, in which the machine was on; the last may still run (`to` NaN). */
	readonly onPeriods: { from: number; to: number }[] = [];
	/** Codes of all blocks that did not fit their range: a plan that clips is wrong. */
	clippedCodes = 0;
	/** Set once: the load is off for good, so that registers stand still for the final count. */
	isUnloaded = false;
	/** The relay lets no current through. */
	isRelayOpen = false;

	readonly #driftFactor: number;
	/** Real-time clock: `utc = #utcSeconds + (local - #utcAtLocal) / 1000`. */
	#utcSeconds: number;
	#utcAtLocal = 0;
	#localPowerOn = 0;
	#block: WaveformBlock | undefined;
	/** First row of the block that plays, and of the last time it began anew. */
	#blockStartRow = 0;
	#accountedRow = 0;
	#next: WaveformBlock | undefined;
	#nextStartRow = 0;
	#loadDueMilliseconds = 0;
	/** Drawn last. */
	#shape: BlockShape | undefined;
	/** What plays after the block without current that plays now. */
	#afterPause: WaveformBlock | undefined;

	constructor(options: BoardOptions, startUtcSeconds: number) {
		this.index = options.index;
		this.settings = options.settings;
		this.settingsText = options.settingsText;
		this.load = options.load;
		this.deviceKey = options.deviceKey;
		this.flash = new SparseFlash(options.sectorBytes, options.sectorCount);
		this.#driftFactor = 1 + options.clockDriftPpm * 1e-6;
		this.#utcSeconds = startUtcSeconds + options.clockOffsetSeconds;
	}

	/** Milliseconds of this board's crystal. */
	local(worldMilliseconds: number): number {
		return worldMilliseconds * this.#driftFactor;
	}

	world(localMilliseconds: number): number {
		return localMilliseconds / this.#driftFactor;
	}

	/** What the real-time clock shows; NaN when it lost its time. */
	utcSeconds(localMilliseconds: number): number {
		return this.#utcSeconds + (localMilliseconds - this.#utcAtLocal) / 1000;
	}

	setClock(utcSeconds: number, localMilliseconds: number): void {
		this.#utcSeconds = utcSeconds;
		this.#utcAtLocal = localMilliseconds;
	}

	loseClock(): void {
		this.#utcSeconds = Number.NaN;
	}

	/** The board is on from `localMilliseconds`; rows count from here. */
	powerOn(localMilliseconds: number): void {
		this.isOn = true;
		this.starts++;
		this.onPeriods.push({ from: this.world(localMilliseconds), to: Number.NaN });
		this.#localPowerOn = localMilliseconds;
		this.#block = undefined;
		this.#next = undefined;
		this.#afterPause = undefined;
		this.#accountedRow = 0;
		this.#blockStartRow = 0;
		this.#loadDueMilliseconds = 0; // a block is due at once
	}

	/** Power is gone at `localMilliseconds`: the rows until then were played. */
	powerOff(localMilliseconds: number): void {
		this.account(localMilliseconds);
		this.isOn = false;
		const period = this.onPeriods.at(-1);
		if (period !== undefined) period.to = this.world(localMilliseconds);
		this.#block = undefined;
		this.#next = undefined;
	}

	/**
	 * When the next block may be sent, at or after `fromLocal`, in milliseconds of the crystal; Infinity: never. It is in
	 * the middle of the block that plays, so that no rounding decides whether it is replaced at this end or at the next.
	 */
	loadChangeAt(fromLocal: number): number {
		if (this.#block === undefined) return this.#localPowerOn;
		if (this.#loadDueMilliseconds === Number.POSITIVE_INFINITY) return this.#loadDueMilliseconds;
		const due = Math.max(this.#loadDueMilliseconds, fromLocal);
		const block = this.#next ?? this.#block;
		const startRow = this.#next === undefined ? this.#blockStartRow : this.#nextStartRow;
		const milliseconds = 1000 / this.settings.layout.samplesPerSecond;
		const middle = this.#localPowerOn + (startRow + block.rowCount / 2) * milliseconds;
		const period = block.rowCount * milliseconds;
		return middle + Math.max(0, Math.ceil((due - middle) / period)) * period;
	}

	/** The meter moved its relay: the load follows with the next block. */
	setRelay(closed: boolean, localMilliseconds: number): void {
		if (this.isRelayOpen === !closed) return;
		this.isRelayOpen = !closed;
		this.hurryLoad(localMilliseconds);
	}

	/** Brings the next change of load forward to `localMilliseconds`. */
	hurryLoad(localMilliseconds: number): void {
		this.#loadDueMilliseconds = Math.min(this.#loadDueMilliseconds, localMilliseconds);
	}

	/**
	 * Draws the load in force at `localMilliseconds` (a time given by `loadChangeAt`) and makes its block. Between import
	 * and export one block without current comes first: where a meter's netting window begins is its own affair, and a
	 * window that held some of both would net them.
	 */
	changeLoad(localMilliseconds: number): WaveformBlock {
		this.account(localMilliseconds);
		const isOff = this.isUnloaded || this.isRelayOpen;
		const seconds = this.world(localMilliseconds) / 1000;
		const drawn = isOff ? this.#draw(seconds, true) : (this.#afterPause ?? this.#draw(seconds, false));
		const isPause =
			this.#afterPause === undefined &&
			this.#block !== undefined &&
			changesSign(this.#block.reference, drawn.reference, this.settings.netting === "perPhase");
		this.#afterPause = isPause ? drawn : undefined;
		const block = isPause ? this.#withoutCurrent() : drawn;
		if (isPause) this.#loadDueMilliseconds = localMilliseconds;
		else if (this.isUnloaded) this.#loadDueMilliseconds = Number.POSITIVE_INFINITY;
		else this.#loadDueMilliseconds = this.local(this.load.nextChangeSeconds() * 1000);
		if (this.#block === undefined) {
			this.#block = block;
		} else {
			const played = this.#rowsAt(localMilliseconds) - this.#blockStartRow;
			this.#next = block;
			this.#nextStartRow = this.#blockStartRow + Math.ceil(played / this.#block.rowCount) * this.#block.rowCount;
		}
		return block;
	}

	#draw(seconds: number, isUnloaded: boolean): WaveformBlock {
		const shape = this.load.shapeAt(seconds);
		this.#shape = shape;
		if (isUnloaded) return this.#withoutCurrent();
		const block = synthesizeBlock(this.settings.layout, this.settings, shape);
		this.clippedCodes += block.clipped;
		const { phaseImport, phaseExport } = block.reference;
		this.maximumWatts = Math.max(this.maximumWatts, sumOf(phaseImport), sumOf(phaseExport));
		return block;
	}

	/** The voltages drawn last, and no current. */
	#withoutCurrent(): WaveformBlock {
		const shape = this.#shape!;
		const phases = shape.phases.map((phase) => ({ ...phase, current: createSpectrum() }));
		return synthesizeBlock(this.settings.layout, this.settings, { ...shape, phases });
	}

	/** Import and export power of the block that plays, W, in the legal netting mode; zero when off. */
	get playedWatts(): { importWatts: number; exportWatts: number } {
		const reference = this.#block?.reference;
		if (reference === undefined) return { importWatts: 0, exportWatts: 0 };
		return this.settings.netting === "perPhase"
			? { importWatts: sumOf(reference.phaseImport), exportWatts: sumOf(reference.phaseExport) }
			: { importWatts: reference.sumImport, exportWatts: reference.sumExport };
	}

	/** Adds the rows played until `localMilliseconds` to the reference. */
	account(localMilliseconds: number): void {
		const end = this.#rowsAt(localMilliseconds);
		if (this.#next !== undefined && end >= this.#nextStartRow) {
			this.#play(this.#nextStartRow);
			this.#block = this.#next;
			this.#blockStartRow = this.#nextStartRow;
			this.#next = undefined;
		}
		this.#play(end);
		const block = this.#block;
		if (block !== undefined)
			this.#blockStartRow += Math.floor((end - this.#blockStartRow) / block.rowCount) * block.rowCount;
	}

	keepLog(text: string): void {
		this.logLines.push(text);
		if (this.logLines.length > LOG_LINES_KEPT) this.logLines.shift();
	}

	#rowsAt(localMilliseconds: number): number {
		const elapsed = localMilliseconds - this.#localPowerOn;
		return Math.floor((elapsed * this.settings.layout.samplesPerSecond) / 1000 + 1e-6);
	}

	#play(endRow: number): void {
		const block = this.#block;
		const rows = endRow - this.#accountedRow;
		if (block === undefined || rows <= 0) return;
		this.#accountedRow = endRow;
		const hours = rows / this.settings.layout.samplesPerSecond / 3600;
		const { reference } = block;
		const perPhase = this.settings.netting === "perPhase";
		const importWatts = perPhase ? sumOf(reference.phaseImport) : reference.sumImport;
		const exportWatts = perPhase ? sumOf(reference.phaseExport) : reference.sumExport;
		this.reference.importWattHours += importWatts * hours;
		this.reference.exportWattHours += exportWatts * hours;
		this.reference.rows += rows;
	}
}

/** Whether a netting window that holds some of both would net one against the other. */
function changesSign(from: ReferencePower, to: ReferencePower, perPhase: boolean): boolean {
	if (perPhase) return from.phases.some((watts, phase) => watts * to.phases[phase]! < 0);
	return (from.sumImport - from.sumExport) * (to.sumImport - to.sumExport) < 0;
}

function sumOf(values: readonly number[]): number {
	let sum = 0;
	for (const value of values) sum += value;
	return sum;
}
