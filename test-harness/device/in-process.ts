import { type Cipher, createCipheriv } from "node:crypto";
import { Status } from "../../src/bytes/status.js";
import type { CryptoPlatform } from "../../src/crypto/crypto-platform.js";
import { parseSettings } from "../../src/meter/settings.js";
import { Input } from "../../src/platform/board.js";
import type { LinkEvents } from "../../src/platform/link.js";
import type { MeterEvents } from "../../src/platform/platform.js";
import { rowBytes, type SampleKernel, type SampleLayout } from "../../src/platform/sample-kernel.js";
import { SparseFlash } from "../board/sparse-flash.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import type { PowerOn, Target, TargetEvents } from "./target.js";

/** The application of `src/meter` and the kernel it is given; tests put small ones in their place. */
export interface Firmware {
	startMeter(platform: CryptoPlatform, settingsText: string): MeterEvents & LinkEvents;
	createSampleKernel(layout: SampleLayout): SampleKernel;
}

/** `aborted` reasons of docs/BOARD.md that can happen without an engine. */
const ABORT_EXCEPTION = 3;
const ABORT_RESTART = 4;
const ABORT_RUNAWAY = 5;

const BLOCK_MILLISECONDS = 50;
const BLOCK_BYTES_MAX = 4096;
/** Ticks of the firmware at one and the same time before it counts as a runaway. */
const EQUAL_TIMES_MAX = 10_000;
/** Bits of the one half-programmed byte that made it into flash: the even ones. */
const NOT_PROGRAMMED = 0xaa;

/** Unwinds the firmware when its power fails; a machine that catches it is off all the same. */
class PowerLost extends Error {
	override name = "PowerLost";
}

class RestartAsked extends Error {
	override name = "RestartAsked";
}

const LinkState = Object.freeze({ closed: 0, opening: 1, open: 2, closing: 3 } as const);

interface QueuedBlock {
	readonly rows: Uint8Array;
	readonly rowCount: number;
	readonly repeat: boolean;
	rowIndex: number;
}

/**
 * The firmware in this Node process, with the TypeScript kernel: what docs/BOARD.md says, to the row and to the torn
 * byte, but without XS, its memory limits and the C kernel. Calls answer before they return.
 */
export class InProcessTarget implements Target {
	readonly name = "in-process";
	readonly description = `Node ${process.version}, TypeScript kernel`;
	readonly #given: Firmware | undefined;
	readonly #machines: (Machine | undefined)[] = [];
	readonly #flashes: (SparseFlash | undefined)[] = [];
	/** `flashLoad` before the first `powerOn` of a meter: the geometry is not known yet. */
	readonly #loads: { address: number; bytes: Uint8Array }[][] = [];
	#firmware: Firmware | undefined;
	#events: TargetEvents | undefined;

	constructor(firmware?: Firmware) {
		this.#given = firmware;
	}

	async start(events: TargetEvents): Promise<void> {
		this.#events = events;
		this.#firmware = this.#given ?? (await loadFirmware());
	}

	async stop(): Promise<void> {
		this.#machines.length = 0;
	}

	flashLoad(meter: number, address: number, bytes: Uint8Array): void {
		(this.#loads[meter] ??= []).push({ address, bytes: bytes.slice() });
	}

	powerOn(meter: number, options: PowerOn): void {
		const events = this.#events;
		if (events === undefined || this.#firmware === undefined) throw new Error("the target is not started");
		if (this.#machines[meter] !== undefined) throw new Error(`protocol: powerOn for meter ${meter}, which is on`);
		let flash = this.#flashes[meter];
		if (flash === undefined || flash.sectorBytes !== options.sectorBytes || flash.sectorCount !== options.sectorCount) {
			flash = new SparseFlash(options.sectorBytes, options.sectorCount);
			this.#flashes[meter] = flash;
		}
		const machine = new Machine(this.#firmware, events, meter, flash, options, () => {
			this.#machines[meter] = undefined;
			this.#flashes[meter] = undefined; // the board's image is the truth; it is loaded again
		});
		for (const { address, bytes } of this.#loads[meter] ?? []) flash.program(address, bytes);
		this.#loads[meter] = [];
		this.#machines[meter] = machine;
		machine.start(options.settingsText);
	}

	advance(meter: number, untilMilliseconds: number): void {
		const machine = this.#machines[meter];
		if (machine === undefined) this.#events?.poweredOff(meter, 0);
		else machine.advance(untilMilliseconds);
	}

	samples(meter: number, rowCount: number, repeat: boolean, rows: Uint8Array): void {
		this.#machines[meter]?.samples(rowCount, repeat, rows);
	}

	samplesLost(meter: number, rowCount: number): void {
		this.#machines[meter]?.samplesLost(rowCount);
	}

	linkOpened(meter: number): void {
		this.#machines[meter]?.linkOpened();
	}

	linkClosed(meter: number): void {
		this.#machines[meter]?.linkClosed();
	}

	linkWritable(meter: number): void {
		this.#machines[meter]?.linkWritable();
	}

	linkData(meter: number, bytes: Uint8Array): void {
		this.#machines[meter]?.linkData(bytes);
	}

	opticalData(meter: number, bytes: Uint8Array): void {
		this.#machines[meter]?.opticalData(bytes);
	}

	input(meter: number, which: number, value: number): void {
		this.#machines[meter]?.input(which, value);
	}

	powerCut(meter: number, flashOperations: number, tornBytes: number): void {
		const machine = this.#machines[meter];
		if (machine === undefined) this.#events?.poweredOff(meter, 0);
		else machine.powerCut(flashOperations, tornBytes);
	}

	queryStatistics(meter: number): void {
		this.#events?.statistics(meter, {
			slotsLive: 0,
			slotsPeak: 0,
			slotBytes: 0,
			chunkBytesLive: 0,
			chunkBytesPeak: 0,
			stackPeakSlots: 0,
			meteringTicks: Number.NaN,
		});
	}
}

/** Loaded at start, so that the harness does without the application where it is not wanted. */
async function loadFirmware(): Promise<Firmware> {
	const { startMeter } = await import("../../src/meter/meter.js");
	const { TypeScriptSampleKernel } = await import("../../src/metrology/sample-kernel.js");
	return { startMeter, createSampleKernel: (layout) => new TypeScriptSampleKernel(layout) };
}

/** It keeps nothing of its own between calls. */
const nodeCrypto = new NodeCrypto();

/** One powered meter: its platform, its sample queue, its time. */
class Machine implements CryptoPlatform {
	readonly crypto: CryptoPlatform["crypto"] = nodeCrypto;
	readonly clock: CryptoPlatform["clock"];
	readonly entropy: CryptoPlatform["entropy"];
	readonly deviceKey: CryptoPlatform["deviceKey"];
	readonly flash: CryptoPlatform["flash"];
	readonly link: CryptoPlatform["link"];
	readonly opticalPort: CryptoPlatform["opticalPort"];
	readonly board: CryptoPlatform["board"];
	readonly log: CryptoPlatform["log"];
	readonly #firmware: Firmware;
	readonly #events: TargetEvents;
	readonly #meter: number;
	readonly #gone: () => void;
	readonly #powerOnMilliseconds: number;
	readonly #inputs = new Int32Array(Object.keys(Input).length);
	#handlers: (MeterEvents & LinkEvents) | undefined;
	#isOn = true;
	/** The end has been reported, or is not to be. */
	#isGone = false;
	#nowMilliseconds: number;
	/** Milliseconds since power-on, as the firmware sees them. */
	#firmwareMilliseconds = 0;
	#utcSecondsAtPowerOn: number;
	#flashOperations = 0;
	#cutAtOperation = 0;
	#cutTornBytes = 0;
	#linkState: number = LinkState.closed;
	#blocks: QueuedBlock[] = [];
	#rowNumber = 0;
	#rowBytes = 0;
	#blockRows = 0;
	#samplesPerSecond = 0;
	#joined = new Uint8Array(0);

	constructor(
		firmware: Firmware,
		events: TargetEvents,
		meter: number,
		chip: SparseFlash,
		options: PowerOn,
		gone: () => void,
	) {
		this.#firmware = firmware;
		this.#events = events;
		this.#meter = meter;
		this.#gone = gone;
		this.#powerOnMilliseconds = options.nowMilliseconds;
		this.#nowMilliseconds = options.nowMilliseconds;
		this.#utcSecondsAtPowerOn = options.utcSeconds;
		this.clock = {
			monotonicMilliseconds: () => this.#firmwareMilliseconds,
			utcSeconds: () => this.#utcSecondsAtPowerOn + this.#firmwareMilliseconds / 1000,
			setUtcSeconds: (utcSeconds) => {
				this.#utcSecondsAtPowerOn = utcSeconds - this.#firmwareMilliseconds / 1000;
				events.clockSet(meter, utcSeconds, this.#nowMilliseconds);
			},
		};
		// ChaCha20's key stream with the seed as key and a nonce of zero: the same bytes as the XS host gives
		let stream: Cipher | undefined;
		this.entropy = {
			fill: (into) => {
				stream ??= createCipheriv("chacha20", options.entropySeed, new Uint8Array(16));
				into.set(stream.update(new Uint8Array(into.length)));
			},
		};
		this.deviceKey = { copyTo: (into, offset) => into.set(options.deviceKey, offset) };
		this.opticalPort = {
			send: (bytes, byteLength) => {
				this.#mustBeOn();
				events.opticalSend(meter, bytes.slice(0, byteLength));
				return byteLength;
			},
		};
		this.flash = {
			sectorBytes: options.sectorBytes,
			sectorCount: options.sectorCount,
			read: (address, into, byteLength) => {
				this.#mustBeOn();
				if (!this.#holds(address, byteLength) || byteLength > into.length) return Status.badValue;
				chip.read(address, into, byteLength);
				return Status.ok;
			},
			program: (address, from, byteLength) => {
				this.#mustBeOn();
				if (!this.#holds(address, byteLength) || byteLength > from.length) return Status.badValue;
				if (this.#cutsInside()) {
					const torn = from.slice(0, Math.min(byteLength, this.#cutTornBytes + 1));
					if (this.#cutTornBytes < torn.length) torn[this.#cutTornBytes]! |= NOT_PROGRAMMED;
					events.flashProgram(meter, address, torn);
					throw this.#losePower("in a program");
				}
				const bytes = byteLength === from.length ? from : from.subarray(0, byteLength);
				chip.program(address, bytes);
				events.flashProgram(meter, address, bytes);
				return Status.ok;
			},
			erase: (sectorIndex) => {
				this.#mustBeOn();
				if (!(sectorIndex >= 0 && sectorIndex < options.sectorCount && Number.isInteger(sectorIndex)))
					return Status.badValue;
				if (this.#cutsInside()) {
					// the board takes an erase as a whole; what was not reached is programmed back
					const address = sectorIndex * options.sectorBytes + Math.min(this.#cutTornBytes, options.sectorBytes);
					const rest = new Uint8Array((sectorIndex + 1) * options.sectorBytes - address);
					chip.read(address, rest, rest.length);
					events.flashErase(meter, sectorIndex);
					if (rest.length > 0) events.flashProgram(meter, address, rest);
					throw this.#losePower("in an erase");
				}
				chip.erase(sectorIndex);
				events.flashErase(meter, sectorIndex);
				return Status.ok;
			},
		};
		this.link = {
			open: () => {
				this.#mustBeOn();
				if (this.#linkState === LinkState.opening || this.#linkState === LinkState.open) return;
				this.#linkState = LinkState.opening;
				events.linkOpen(meter);
			},
			send: (bytes, byteLength) => {
				this.#mustBeOn();
				if (this.#linkState !== LinkState.open || byteLength === 0) return 0;
				events.linkSend(meter, byteLength === bytes.length ? bytes : bytes.subarray(0, byteLength));
				return byteLength;
			},
			close: () => {
				this.#mustBeOn();
				if (this.#linkState === LinkState.closed || this.#linkState === LinkState.closing) return;
				this.#linkState = this.#linkState === LinkState.open ? LinkState.closing : LinkState.closed;
				events.linkClose(meter);
			},
		};
		this.board = {
			bootReason: () => options.bootReason,
			input: (which) => this.#inputs[which] ?? 0,
			setOutput: (which, value) => events.output(meter, which, value | 0),
			restart: () => {
				throw new RestartAsked("restart asked by the firmware");
			},
		};
		this.log = { line: (text) => events.log(meter, text) };
	}

	createSampleKernel(layout: SampleLayout): SampleKernel {
		return this.#firmware.createSampleKernel(layout);
	}

	start(settingsText: string): void {
		const alive = this.#run(() => {
			const { layout } = parseSettings(settingsText);
			this.#rowBytes = rowBytes(layout);
			this.#samplesPerSecond = layout.samplesPerSecond;
			this.#blockRows = Math.max(
				1,
				Math.min(
					Math.floor((layout.samplesPerSecond * BLOCK_MILLISECONDS) / 1000),
					Math.floor(BLOCK_BYTES_MAX / this.#rowBytes),
				),
			);
			this.#joined = new Uint8Array(this.#blockRows * this.#rowBytes);
			this.#handlers = this.#firmware.startMeter(this, settingsText);
		});
		if (alive) this.#done();
	}

	advance(untilMilliseconds: number): void {
		let equalTimes = 0;
		for (;;) {
			const rows = this.#nextRows();
			const deadline = this.#deadline();
			const samplesAt =
				rows === 0
					? Number.POSITIVE_INFINITY
					: this.#powerOnMilliseconds + ((this.#rowNumber + rows) * 1000) / this.#samplesPerSecond;
			if (samplesAt <= deadline && samplesAt <= untilMilliseconds) {
				this.#setNow(samplesAt);
				equalTimes = 0;
				if (!this.#deliverSamples(rows)) return;
			} else if (deadline <= untilMilliseconds) {
				equalTimes = deadline > this.#nowMilliseconds ? 0 : equalTimes + 1;
				this.#setNow(deadline);
				if (equalTimes > EQUAL_TIMES_MAX) {
					this.#end(ABORT_RUNAWAY, "tick does not move the deadline");
					return;
				}
				// adding and subtracting the time of power-on rounds: the firmware must see its own deadline as passed
				const asked = this.#handlers?.deadlineMilliseconds() ?? 0;
				this.#firmwareMilliseconds = Math.max(this.#firmwareMilliseconds, asked);
				if (!this.#run((handlers) => handlers.tick())) return;
			} else {
				break;
			}
		}
		this.#setNow(untilMilliseconds);
		this.#done();
	}

	samples(rowCount: number, repeat: boolean, rows: Uint8Array): void {
		if (rows.length !== rowCount * this.#rowBytes)
			throw new Error(`protocol: ${rows.length} bytes of samples are not ${rowCount} rows`);
		if (this.#blocks.length === 0) this.#rowNumber = Math.max(this.#rowNumber, this.#rowsArrived());
		this.#blocks.push({ rows, rowCount, repeat, rowIndex: 0 });
		this.#dropEnded();
	}

	samplesLost(rowCount: number): void {
		this.#takeRows(undefined, rowCount);
		this.#run((handlers) => handlers.samplesLost(rowCount));
	}

	linkOpened(): void {
		if (this.#linkState !== LinkState.opening) return;
		this.#linkState = LinkState.open;
		this.#run((handlers) => handlers.linkOpened());
	}

	linkClosed(): void {
		if (this.#linkState === LinkState.closed) return;
		this.#linkState = LinkState.closed;
		this.#run((handlers) => handlers.linkClosed());
	}

	linkWritable(): void {
		if (this.#linkState === LinkState.open) this.#run((handlers) => handlers.linkWritable());
	}

	linkData(bytes: Uint8Array): void {
		if (this.#linkState === LinkState.open) this.#run((handlers) => handlers.linkReceived(bytes, bytes.length));
	}

	opticalData(bytes: Uint8Array): void {
		this.#run((handlers) => handlers.opticalReceived(bytes, bytes.length));
	}

	input(which: number, value: number): void {
		this.#inputs[which] = value;
		this.#run((handlers) => handlers.inputChanged(which, value));
	}

	powerCut(flashOperations: number, tornBytes: number): void {
		if (flashOperations === 0) {
			this.#losePower("asked");
			this.#off();
			return;
		}
		this.#cutAtOperation = this.#flashOperations + flashOperations;
		this.#cutTornBytes = tornBytes;
	}

	#deadline(): number {
		return this.#powerOnMilliseconds + (this.#handlers?.deadlineMilliseconds() ?? Number.POSITIVE_INFINITY);
	}

	#done(): void {
		this.#events.done(this.#meter, this.#nowMilliseconds, this.#deadline(), Number.NaN);
	}

	#setNow(nowMilliseconds: number): void {
		this.#nowMilliseconds = Math.max(this.#nowMilliseconds, nowMilliseconds);
		this.#firmwareMilliseconds = Math.max(
			this.#firmwareMilliseconds,
			this.#nowMilliseconds - this.#powerOnMilliseconds,
		);
	}

	/** Calls the firmware. @returns false when the machine is gone */
	#run(call: (handlers: MeterEvents & LinkEvents) => void): boolean {
		if (!this.#isOn) return false;
		try {
			call(this.#handlers as MeterEvents & LinkEvents);
		} catch (error) {
			if (error instanceof RestartAsked) this.#end(ABORT_RESTART, error.message);
			else if (this.#isOn)
				this.#end(ABORT_EXCEPTION, error instanceof Error ? (error.stack ?? error.message) : `${error}`);
		}
		if (!this.#isOn) this.#off();
		return this.#isOn;
	}

	/** The machine ends by itself. */
	#end(reason: number, text: string): void {
		this.#isOn = false;
		this.#isGone = true;
		this.#gone();
		this.#events.aborted(this.#meter, reason, text);
	}

	#losePower(where: string): PowerLost {
		this.#isOn = false;
		return new PowerLost(where);
	}

	/** Reports a lost power once. */
	#off(): void {
		if (this.#isGone) return;
		this.#isGone = true;
		this.#gone();
		this.#events.poweredOff(this.#meter, this.#flashOperations);
	}

	#mustBeOn(): void {
		if (!this.#isOn) throw new PowerLost("off");
	}

	#cutsInside(): boolean {
		this.#flashOperations++;
		return this.#flashOperations === this.#cutAtOperation;
	}

	#holds(address: number, byteLength: number): boolean {
		return (
			Number.isInteger(address) &&
			address >= 0 &&
			address + byteLength <= this.flash.sectorBytes * this.flash.sectorCount
		);
	}

	/** Rows that have arrived at the present time: row r arrives at power-on + (r + 1) / rate. */
	#rowsArrived(): number {
		const elapsed = this.#nowMilliseconds - this.#powerOnMilliseconds;
		return Math.floor((elapsed * this.#samplesPerSecond) / 1000 + 1e-6);
	}

	/** Rows of the next block, as far as they are queued; 0: none. Blocks end on multiples of their size since power-on. */
	#nextRows(): number {
		if (this.#blocks.length === 0) return 0;
		const wanted = this.#blockRows - (this.#rowNumber % this.#blockRows);
		let rows = 0;
		for (let index = 0; index < this.#blocks.length && rows < wanted; index++) {
			const block = this.#blocks[index]!;
			if (block.repeat && index === this.#blocks.length - 1) return block.rowCount > 0 ? wanted : rows;
			rows += block.rowCount - block.rowIndex;
		}
		return Math.min(rows, wanted);
	}

	#deliverSamples(rowCount: number): boolean {
		const block = this.#blocks[0]!;
		let rows: Uint8Array;
		if (block.rowCount - block.rowIndex > rowCount) {
			const start = block.rowIndex * this.#rowBytes;
			rows = block.rows.subarray(start, start + rowCount * this.#rowBytes);
			block.rowIndex += rowCount;
			this.#rowNumber += rowCount;
		} else {
			rows = this.#joined;
			this.#takeRows(rows, rowCount);
		}
		return this.#run((handlers) => handlers.samples(rows, rowCount));
	}

	#takeRows(into: Uint8Array | undefined, rowCount: number): void {
		this.#rowNumber += rowCount;
		let at = 0;
		while (rowCount > 0 && this.#blocks.length > 0) {
			const block = this.#blocks[0]!;
			const rows = Math.min(block.rowCount - block.rowIndex, rowCount);
			if (rows === 0) {
				if (block.repeat && this.#blocks.length === 1 && block.rowCount > 0) block.rowIndex = 0;
				else this.#blocks.shift();
				continue;
			}
			if (into !== undefined) {
				const start = block.rowIndex * this.#rowBytes;
				into.set(block.rows.subarray(start, start + rows * this.#rowBytes), at);
				at += rows * this.#rowBytes;
			}
			block.rowIndex += rows;
			rowCount -= rows;
		}
		this.#dropEnded();
	}

	/** A block that has ended, with another behind it or nothing to repeat, leaves the queue at once. */
	#dropEnded(): void {
		for (;;) {
			const block = this.#blocks[0];
			if (block === undefined || block.rowIndex < block.rowCount) return;
			if (this.#blocks.length === 1 && block.repeat) return;
			this.#blocks.shift();
		}
	}
}
