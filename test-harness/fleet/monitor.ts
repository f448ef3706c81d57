import { Status } from "../../src/bytes/status.js";
import { PlainEnvelope } from "../../src/messages/envelope.js";
import { Kind, UTC_INVALID } from "../../src/messages/kinds.js";
import { createReading, decodeReading, NOT_AVAILABLE, type Reading } from "../../src/messages/reading.js";
import type { VirtualBoard } from "../board/virtual-board.js";
import type { Auditor } from "./auditor.js";
import type { World } from "./world.js";

/** What was heard of one meter on its own connection. */
export interface Heard {
	readonly last: Reading;
	readings: number;
	/** Time of the world of the first and last reading, ms. */
	firstMilliseconds: number;
	lastMilliseconds: number;
	/** Registers of the first reading heard, mWh, and the reference energy at that moment, Wh. */
	firstImport: number;
	firstExport: number;
	firstReferenceImport: number;
	firstReferenceExport: number;
	/** Registers that went back while the meter ran: never allowed. */
	stepsBackRunning: number;
	/** Largest step back over a restart, mWh: bounded by what is declared for a power cut. */
	stepBackAfterRestart: number;
	/** Start to first reading, ms of the world. */
	firstReadingAfterMilliseconds: number;
}

/** One point of the fleet's power over time. */
export interface PowerPoint {
	readonly atMilliseconds: number;
	/** What the meters said last, W. */
	readonly importWatts: number;
	readonly exportWatts: number;
	/** What the waveforms carried, W. */
	readonly referenceImportWatts: number;
	readonly referenceExportWatts: number;
	readonly online: number;
}

/** A stretch in which a meter had its connection. */
export interface OnlineStretch {
	from: number;
	to: number;
}

/**
 * Listens to the messages as they leave the meters: for the table, the record of readings and the report. It takes no
 * part in the checks of what the concentrator holds, but those of the registers' course.
 */
export class Monitor {
	readonly heard: Heard[];
	readonly power: PowerPoint[] = [];
	readonly online: OnlineStretch[][];
	/** Messages that could not be read. */
	#refusals = 0;
	readonly #auditors: readonly Auditor[];
	readonly #world: World;
	readonly #writeLine: ((line: string) => void) | undefined;
	readonly #powerEveryMilliseconds: number;
	readonly #opened = new Uint8Array(2048);
	readonly #view = new DataView(this.#opened.buffer);
	readonly #envelope = new PlainEnvelope();
	readonly #reading = createReading();
	#powerDueMilliseconds = 0;

	/**
	 * @param auditors of secured meters, one each; empty: everything travels plain
	 * @param writeLine takes one JSON line for each reading
	 */
	constructor(
		world: World,
		powerEveryMilliseconds: number,
		auditors: readonly Auditor[] = [],
		writeLine?: (line: string) => void,
	) {
		this.#auditors = auditors;
		this.#world = world;
		this.#writeLine = writeLine;
		this.#powerEveryMilliseconds = powerEveryMilliseconds;
		this.online = world.boards.map(() => []);
		this.heard = world.boards.map(() => ({
			last: createReading(),
			readings: 0,
			firstMilliseconds: Number.NaN,
			lastMilliseconds: Number.NaN,
			firstImport: Number.NaN,
			firstExport: Number.NaN,
			firstReferenceImport: Number.NaN,
			firstReferenceExport: Number.NaN,
			stepsBackRunning: 0,
			stepBackAfterRestart: 0,
			firstReadingAfterMilliseconds: Number.NaN,
		}));
		world.onUp = (board, payload, isRepeat) => this.#hear(board, payload, isRepeat);
	}

	/** Messages that could not be opened or read. */
	get refusals(): number {
		return this.#auditors.reduce((sum, { refusals }) => sum + refusals, this.#refusals);
	}

	/** Keys that sealed two messages; null: there are no keys. */
	get keyReuses(): number | null {
		if (this.#auditors.length === 0) return null;
		return this.#auditors.reduce((sum, { keyReuses }) => sum + keyReuses, 0);
	}

	/** Call after each step. */
	sample(): void {
		const now = this.#world.nowMilliseconds;
		for (const board of this.#world.boards) {
			const stretches = this.online[board.index]!;
			const last = stretches.at(-1);
			if (board.bridge.isOpen) {
				if (last === undefined || !Number.isNaN(last.to)) stretches.push({ from: now, to: Number.NaN });
			} else if (last !== undefined && Number.isNaN(last.to)) {
				last.to = now;
			}
		}
		if (now < this.#powerDueMilliseconds) return;
		this.#powerDueMilliseconds = now + this.#powerEveryMilliseconds;
		let importWatts = 0;
		let exportWatts = 0;
		let referenceImportWatts = 0;
		let referenceExportWatts = 0;
		let online = 0;
		for (const board of this.#world.boards) {
			if (board.isOn) board.account(board.local(now));
			const played = board.playedWatts;
			referenceImportWatts += played.importWatts;
			referenceExportWatts += played.exportWatts;
			if (board.bridge.isOpen) online++;
			if (!board.isOn || this.heard[board.index]!.readings === 0) continue;
			const watts = this.watts(board);
			importWatts += watts.importWatts;
			exportWatts += watts.exportWatts;
		}
		this.power.push({
			atMilliseconds: now,
			importWatts,
			exportWatts,
			referenceImportWatts,
			referenceExportWatts,
			online,
		});
	}

	/** Power of the last reading in the legal netting mode, W. */
	watts(board: VirtualBoard): { importWatts: number; exportWatts: number } {
		const { last } = this.heard[board.index]!;
		let importWatts = 0;
		let exportWatts = 0;
		for (let phase = 0; phase < last.phaseCount; phase++) {
			const watts = last.phases[phase as 0 | 1 | 2].powerMilliwatts / 1000;
			if (watts > 0) importWatts += watts;
			else exportWatts -= watts;
		}
		if (board.settings.netting === "perPhase") return { importWatts, exportWatts };
		const net = importWatts - exportWatts;
		return { importWatts: Math.max(0, net), exportWatts: Math.max(0, -net) };
	}

	#hear(board: VirtualBoard, payload: Uint8Array, isRepeat: boolean): void {
		let view = this.#view;
		let byteLength = 0;
		const auditor = this.#auditors[board.index];
		if (auditor !== undefined) {
			if (!auditor.hear(payload, isRepeat)) return;
			view = auditor.view;
			byteLength = auditor.openedByteLength;
		} else {
			if (this.#envelope.open(payload, payload.length, this.#opened) !== Status.ok) {
				this.#refusals++;
				return;
			}
			byteLength = this.#envelope.openedByteLength;
			if (isRepeat) return;
		}
		if (view.getUint8(0) !== Kind.reading) return;
		const reading = this.#reading;
		if (decodeReading(view, byteLength, reading) !== Status.ok) {
			this.#refusals++;
			return;
		}
		const heard = this.heard[board.index]!;
		const { last } = heard;
		const now = this.#world.nowMilliseconds;
		if (heard.readings === 0) {
			const started = board.onPeriods[0]?.from ?? now;
			heard.firstMilliseconds = now;
			heard.firstReadingAfterMilliseconds = now - started;
			heard.firstImport = reading.activeEnergyImport;
			heard.firstExport = reading.activeEnergyExport;
			heard.firstReferenceImport = board.reference.importWattHours;
			heard.firstReferenceExport = board.reference.exportWattHours;
		} else if (reading.bootCount === last.bootCount) {
			if (reading.readingIndex <= last.readingIndex) return; // sent again
			if (
				reading.activeEnergyImport < last.activeEnergyImport ||
				reading.activeEnergyExport < last.activeEnergyExport ||
				reading.reactiveEnergyImport < last.reactiveEnergyImport ||
				reading.reactiveEnergyExport < last.reactiveEnergyExport
			)
				heard.stepsBackRunning++;
		} else {
			heard.stepBackAfterRestart = Math.max(
				heard.stepBackAfterRestart,
				last.activeEnergyImport - reading.activeEnergyImport,
				last.activeEnergyExport - reading.activeEnergyExport,
			);
		}
		heard.readings++;
		heard.lastMilliseconds = now;
		copyReading(reading, last);
		this.#writeLine?.(readingLine(board.settings.identifier, now, reading));
	}
}

function copyReading(from: Reading, into: Reading): void {
	const { phases } = into;
	Object.assign(into, from, { phases });
	for (let phase = 0; phase < 3; phase++) Object.assign(phases[phase as 0 | 1 | 2], from.phases[phase as 0 | 1 | 2]);
}

/** One line of readings.jsonl: the message's own names, units in them; null where the meter had nothing to say. */
export function readingLine(identifier: string, worldMilliseconds: number, reading: Reading): string {
	const phases = reading.phases.slice(0, reading.phaseCount).map((phase) => ({
		...phase,
		powerFactorPermille: phase.powerFactorPermille === NOT_AVAILABLE ? null : phase.powerFactorPermille,
		phaseAngleTenthsDegree: phase.phaseAngleTenthsDegree === NOT_AVAILABLE ? null : phase.phaseAngleTenthsDegree,
	}));
	return JSON.stringify({
		identifier,
		worldMilliseconds: Math.round(worldMilliseconds),
		bootCount: reading.bootCount,
		readingIndex: reading.readingIndex,
		utcSeconds: reading.utcSeconds === UTC_INVALID ? null : reading.utcSeconds,
		flags: reading.flags,
		frequencyMillihertz: reading.frequencyMillihertz,
		neutralCurrentMilliamperes: reading.neutralCurrentMilliamperes,
		tariff: reading.tariff,
		activeEnergyImportMilliwattHours: reading.activeEnergyImport,
		activeEnergyExportMilliwattHours: reading.activeEnergyExport,
		reactiveEnergyImportMillivarHours: reading.reactiveEnergyImport,
		reactiveEnergyExportMillivarHours: reading.reactiveEnergyExport,
		phases,
	});
}
