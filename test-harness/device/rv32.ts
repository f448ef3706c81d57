import { spawnSync } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RV32_FOLDER } from "../build/rv32.js";
import { EMULATOR, emulatorArguments, FLASH_CHIP_BYTES, type Straps } from "../build/rv32-image.js";
import { UserError } from "../user-error.js";
import { LinuxXsTarget } from "./linux-xs.js";
import type { PowerOn, Target, TargetEvents } from "./target.js";

export interface Rv32Options {
	/** Content of the image flash; default: what `buildRv32Image` makes of the meter. */
	readonly image?: string;
	/** Counts instructions, stack and heap; see `counters`. */
	readonly counters?: boolean;
	/** Collects garbage at every chance. */
	readonly collectOften?: boolean;
	/** Tests of the protection: a store at this address at start. */
	readonly strayStore?: number;
}

/** What one emulated board can count since its power-on. */
export interface Rv32Counters {
	/** Instructions of work: neither asleep nor taking in what the board sends. The same on every run. */
	readonly instructions: number;
	/** Deepest use of the C stack, in bytes. */
	readonly stackPeakBytes: number;
	/** What `malloc` ever took, in bytes. */
	readonly heapPeakBytes: number;
}

/** hosts/rv32/machine.h and main.c. */
const FLAG_COUNTERS = 1;
const FLAG_COLLECT_OFTEN = 2;
const EXIT_TRAP = 3;
const EXIT_CUT = 4;
const COUNTERS_FRAME = 202;
const MEMORY_MEGABYTES = 128;
/** `aborted` for a trap: on a board the chip's fault handler would restart it. */
const REASON_EXCEPTION = 3;

/** One board: the emulator while it has power, and its flash, which stays. */
interface Board {
	readonly store: string;
	/** What the board was told is in the flash. */
	content: Buffer;
	sectorBytes: number;
	loads: { address: number; bytes: Buffer }[];
	host: LinuxXsTarget | undefined;
	isOn: boolean;
	operations: number;
	counters: Rv32Counters | undefined;
	cutHundreds: number;
}

/**
 * The firmware on emulated RV32IMAC: one emulator for each meter, started at power-on and ended with the power. What the
 * flash chip has is a file; a cut that ends the emulator leaves it as it was at that instruction.
 */
export class Rv32Target implements Target {
	readonly name = "rv32";
	readonly #options: Rv32Options;
	readonly #image: string;
	readonly #boards = new Map<number, Board>();
	#description = "emulated RV32IMAC, not started";
	#folder = "";
	#events: TargetEvents | undefined;

	constructor(options: Rv32Options = {}) {
		this.#options = options;
		this.#image = options.image ?? join(RV32_FOLDER, "meter.flash");
	}

	get description(): string {
		return this.#description;
	}

	async start(events: TargetEvents): Promise<void> {
		const { stdout, status } = spawnSync(EMULATOR, ["--version"], { encoding: "utf8" });
		if (status !== 0) throw new UserError(`no ${EMULATOR}: install qemu-system-misc`);
		if (!existsSync(this.#image)) throw new UserError(`no image ${this.#image}: npx wattlock build rv32`);
		this.#description = `XS on emulated RV32IMAC (${stdout.split("\n")[0]}), one emulator a meter`;
		this.#folder = mkdtempSync(join(tmpdir(), "wattlock-rv32-"));
		this.#events = events;
	}

	#board(meter: number): Board {
		let board = this.#boards.get(meter);
		if (!board) {
			board = {
				store: join(this.#folder, `store-${meter}.flash`),
				content: Buffer.alloc(0),
				sectorBytes: 0,
				loads: [],
				host: undefined,
				isOn: false,
				operations: 0,
				counters: undefined,
				cutHundreds: 0,
			};
			this.#boards.set(meter, board);
		}
		return board;
	}

	flashLoad(meter: number, address: number, bytes: Uint8Array): void {
		this.#board(meter).loads.push({ address, bytes: Buffer.from(bytes) });
	}

	powerOn(meter: number, options: PowerOn): void {
		const board = this.#board(meter);
		if (board.isOn) throw new Error(`meter ${meter} is on`);
		board.content = Buffer.alloc(options.sectorBytes * options.sectorCount, 0xff);
		if (board.content.length > FLASH_CHIP_BYTES) throw new RangeError("more flash than the chip has");
		board.sectorBytes = options.sectorBytes;
		for (const { address, bytes } of board.loads) bytes.copy(board.content, address);
		board.loads = [];
		const file = openSync(board.store, existsSync(board.store) ? "r+" : "w+");
		writeSync(file, board.content, 0, board.content.length, 0);
		ftruncateSync(file, FLASH_CHIP_BYTES);
		closeSync(file);
		board.operations = 0;
		board.counters = undefined;
		board.isOn = true;
		const { counters, collectOften, strayStore } = this.#options;
		const straps: Straps = {
			flags: (counters ? FLAG_COUNTERS : 0) | (collectOften ? FLAG_COLLECT_OFTEN : 0),
			strayStore: strayStore ?? 0,
			cutHundreds: board.cutHundreds,
		};
		board.cutHundreds = 0;
		const host = new LinuxXsTarget({
			host: EMULATOR,
			arguments: emulatorArguments(this.#image, board.store, MEMORY_MEGABYTES, straps),
			onPrivateFrame: (kind, payload) => {
				if (kind !== COUNTERS_FRAME) throw new RangeError(`frame of unknown kind ${kind}`);
				board.counters = {
					instructions: payload.readDoubleLE(0),
					stackPeakBytes: payload.readUInt32LE(8),
					heapPeakBytes: payload.readUInt32LE(12),
				};
			},
			onExit: (code, said) => this.#ended(meter, board, code, said),
		});
		board.host = host;
		host.start(this.#eventsOf(meter, board)).catch((error: Error) => this.#events?.failed(error.message));
		host.powerOn(0, options);
	}

	/** An emulator ended by itself. @returns whether that is the board's business and no failure of ours */
	#ended(meter: number, board: Board, code: number | null, said: string): boolean {
		if (!board.isOn) return true;
		if (code !== EXIT_CUT && code !== EXIT_TRAP) return false;
		this.#reconcile(meter, board);
		board.isOn = false;
		if (code === EXIT_CUT) this.#events?.poweredOff(meter, board.operations);
		else this.#events?.aborted(meter, REASON_EXCEPTION, said);
		return true;
	}

	#eventsOf(meter: number, board: Board): TargetEvents {
		const events = this.#events!;
		const off = (tell: () => void): void => {
			if (!board.isOn) return;
			board.isOn = false;
			void board.host?.kill();
			tell();
		};
		return {
			done: (_, now, deadline, ticks) => events.done(meter, now, deadline, ticks),
			linkOpen: () => events.linkOpen(meter),
			linkSend: (_, bytes) => events.linkSend(meter, bytes),
			linkClose: () => events.linkClose(meter),
			flashProgram: (_, address, bytes) => {
				board.operations++;
				for (let i = 0; i < bytes.length; i++) board.content[address + i]! &= bytes[i]!;
				events.flashProgram(meter, address, bytes);
			},
			flashErase: (_, sectorIndex) => {
				board.operations++;
				board.content.fill(0xff, sectorIndex * board.sectorBytes, (sectorIndex + 1) * board.sectorBytes);
				events.flashErase(meter, sectorIndex);
			},
			output: (_, which, value) => events.output(meter, which, value),
			log: (_, text) => events.log(meter, text),
			aborted: (_, reason, text) => off(() => events.aborted(meter, reason, text)),
			poweredOff: (_, operations) => off(() => events.poweredOff(meter, operations)),
			statistics: (_, statistics) => events.statistics(meter, statistics),
			clockSet: (_, utcSeconds, atMilliseconds) => events.clockSet(meter, utcSeconds, atMilliseconds),
			opticalSend: (_, bytes) => events.opticalSend(meter, bytes),
			failed: (reason) => events.failed(`meter ${meter}: ${reason}`),
		};
	}

	/** What the flash has and the board has not heard of: it goes out as erases and programs. */
	#reconcile(meter: number, board: Board): void {
		const { content, sectorBytes } = board;
		const now = Buffer.alloc(content.length);
		const file = openSync(board.store, "r");
		readSync(file, now, 0, now.length, 0);
		closeSync(file);
		for (let at = 0; at < now.length; at += sectorBytes) {
			const sector = now.subarray(at, at + sectorBytes);
			const known = content.subarray(at, at + sectorBytes);
			if (sector.equals(known)) continue;
			if (sector.some((byte, i) => (byte & ~known[i]!) !== 0)) this.#events?.flashErase(meter, at / sectorBytes);
			this.#events?.flashProgram(meter, at, sector);
			sector.copy(known);
		}
	}

	/** The next power-on of this meter lasts for so many hundred instructions of work; then the emulator ends. */
	cutAfter(meter: number, hundredInstructions: number): void {
		this.#board(meter).cutHundreds = hundredInstructions;
	}

	/** Ends the emulator from outside, in the middle of whatever it is doing. `poweredOff` follows. */
	async killEmulator(meter: number): Promise<void> {
		const board = this.#board(meter);
		if (!board.isOn) return;
		board.isOn = false;
		await board.host?.kill();
		this.#reconcile(meter, board);
		this.#events?.poweredOff(meter, board.operations);
	}

	/** Of the last answer; undefined before the first, and without the option. */
	counters(meter: number): Rv32Counters | undefined {
		return this.#boards.get(meter)?.counters;
	}

	/** The meter's emulator, or one that takes nothing. */
	#host(meter: number): LinuxXsTarget | undefined {
		const board = this.#boards.get(meter);
		return board?.isOn ? board.host : undefined;
	}

	/** A question to a meter without power is answered here. */
	#ask(meter: number, ask: (host: LinuxXsTarget) => void): void {
		const host = this.#host(meter);
		if (host) ask(host);
		else queueMicrotask(() => this.#events?.poweredOff(meter, 0));
	}

	advance(meter: number, untilMilliseconds: number): void {
		this.#ask(meter, (host) => host.advance(0, untilMilliseconds));
	}

	samples(meter: number, rowCount: number, repeat: boolean, rows: Uint8Array): void {
		this.#host(meter)?.samples(0, rowCount, repeat, rows);
	}

	samplesLost(meter: number, rowCount: number): void {
		this.#host(meter)?.samplesLost(0, rowCount);
	}

	linkOpened(meter: number): void {
		this.#host(meter)?.linkOpened(0);
	}

	linkClosed(meter: number): void {
		this.#host(meter)?.linkClosed(0);
	}

	linkWritable(meter: number): void {
		this.#host(meter)?.linkWritable(0);
	}

	linkData(meter: number, bytes: Uint8Array): void {
		this.#host(meter)?.linkData(0, bytes);
	}

	opticalData(meter: number, bytes: Uint8Array): void {
		this.#host(meter)?.opticalData(0, bytes);
	}

	input(meter: number, which: number, value: number): void {
		this.#host(meter)?.input(0, which, value);
	}

	powerCut(meter: number, flashOperations: number, tornBytes: number): void {
		this.#ask(meter, (host) => host.powerCut(0, flashOperations, tornBytes));
	}

	queryStatistics(meter: number): void {
		const host = this.#host(meter);
		if (host) host.queryStatistics(0);
		else
			queueMicrotask(() =>
				this.#events?.statistics(meter, {
					...{ slotsLive: 0, slotsPeak: 0, slotBytes: 16, chunkBytesLive: 0, chunkBytesPeak: 0 },
					...{ stackPeakSlots: 0, meteringTicks: 0 },
				}),
			);
	}

	async stop(): Promise<void> {
		const hosts = [...this.#boards.values()].map((board) => {
			board.isOn = false;
			return board.host?.stop();
		});
		await Promise.all(hosts);
		this.#boards.clear();
		if (this.#folder !== "") rmSync(this.#folder, { recursive: true, force: true });
		this.#folder = "";
	}
}
