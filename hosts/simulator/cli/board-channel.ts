import { Status } from "../../../src/bytes/status.js";
import type { CryptoPlatform } from "../../../src/crypto/crypto-platform.js";
import { WrappedNativeCrypto } from "../../../src/crypto/native-crypto.js";
import { TypeScriptSampleKernel } from "../../../src/metrology/sample-kernel.js";
import type { Board } from "../../../src/platform/board.js";
import type { Clock } from "../../../src/platform/clock.js";
import type { DeviceKey } from "../../../src/platform/device-key.js";
import type { Entropy } from "../../../src/platform/entropy.js";
import type { NorFlash } from "../../../src/platform/flash.js";
import type { Link, LinkEvents } from "../../../src/platform/link.js";
import type { Log } from "../../../src/platform/log.js";
import type { OpticalPort } from "../../../src/platform/optical-port.js";
import type { MeterEvents } from "../../../src/platform/platform.js";
import { rowBytes, type SampleKernel, type SampleLayout } from "../../../src/platform/sample-kernel.js";
import { nativeCrypto } from "./native-crypto.js";
import { NativeKernel } from "./native-kernel.js";
import {
	abort,
	announce,
	entropyFill,
	entropySeed,
	fail,
	flashErase,
	flashLoad,
	flashOpen,
	flashProgram,
	flashRead,
	frameCopy,
	frameLength,
	frameText,
	nextFrame,
	powerCut,
	samplesQueue,
	samplesTake,
	samplesWaiting,
	sendFrame,
	sendStatistics,
	sendText,
} from "./natives.js";

/** Frames of the board channel, see docs/BOARD.md. */
const FromBoard = Object.freeze({
	powerOn: 1,
	flashLoad: 2,
	advance: 3,
	samples: 4,
	linkEvent: 5,
	linkData: 6,
	input: 7,
	powerCut: 8,
	query: 9,
	samplesLost: 10,
	shutdown: 11,
	opticalData: 12,
} as const);
const ToBoard = Object.freeze({
	done: 65,
	linkOpen: 66,
	linkSend: 67,
	linkClose: 68,
	output: 71,
	log: 72,
	clockSet: 76,
	opticalSend: 77,
} as const);

/** Shortest and longest payload of each kind the board sends. */
const PAYLOAD_BYTES: readonly (readonly [number, number])[] = Object.freeze([
	Object.freeze([0, -1] as const),
	Object.freeze([96, 1_048_576] as const),
	Object.freeze([4, 1_048_576] as const),
	Object.freeze([8, 8] as const),
	Object.freeze([8, 1_048_576] as const),
	Object.freeze([1, 1] as const),
	Object.freeze([0, 1_048_576] as const),
	Object.freeze([8, 8] as const),
	Object.freeze([8, 8] as const),
	Object.freeze([4, 4] as const),
	Object.freeze([4, 4] as const),
	Object.freeze([0, 0] as const),
	Object.freeze([0, 1_048_576] as const),
]);

const LinkState = Object.freeze({ closed: 0, opening: 1, open: 2, closing: 3 } as const);
const LinkEvent = Object.freeze({ opened: 0, closed: 1, writable: 2 } as const);

const INPUT_COUNT = 8;
const LINK_PIECE_BYTES = 1024;
const BLOCK_BYTES_MAX = 4096;
const BLOCK_MILLISECONDS = 50;
/** Ticks at one and the same time before the firmware counts as a runaway. */
const EQUAL_TIMES_MAX = 10_000;
const POWER_ON_HEAD_BYTES = 96;
const DEVICE_KEY_BYTES = 32;
const RESTART = 4;
const RUNAWAY = 5;

export type Start = (platform: CryptoPlatform, settingsText: string) => MeterEvents & LinkEvents;

const crypto = Object.freeze(new WrappedNativeCrypto(nativeCrypto));
const opticalPort: OpticalPort = Object.freeze({
	send(bytes: Uint8Array, byteLength: number): number {
		if (byteLength > 0) sendFrame(ToBoard.opticalSend, bytes, byteLength);
		return byteLength;
	},
});

/**
 * One meter behind the board channel on standard input and output: the host's `Platform`, and the loop that turns
 * frames into the meter's events. Within an `advance`, blocks of samples and the meter's deadline come in the order of
 * their times, samples first when they are equal.
 */
export class BoardChannel implements CryptoPlatform, DeviceKey, Clock, Entropy, NorFlash, Link, Board, Log {
	// The one object plays every part of the platform: it saves slots, and all of it is the one channel.
	readonly clock: Clock = this;
	readonly entropy: Entropy = this;
	readonly flash: NorFlash = this;
	readonly link: Link = this;
	readonly deviceKey: DeviceKey = this;
	readonly opticalPort: OpticalPort = opticalPort;
	readonly crypto = crypto;
	readonly board: Board = this;
	readonly log: Log = this;

	sectorBytes = 0;
	sectorCount = 0;
	readonly #start: Start;
	readonly #head = new Uint8Array(POWER_ON_HEAD_BYTES);
	readonly #view = new DataView(this.#head.buffer);
	readonly #deviceKey = new Uint8Array(DEVICE_KEY_BYTES);
	readonly #linkPiece = new Uint8Array(LINK_PIECE_BYTES);
	readonly #inputs = new Int32Array(INPUT_COUNT);
	#block = new Uint8Array(0);
	#meter: (MeterEvents & LinkEvents) | undefined;
	#typeScriptKernel = false;
	#bootReason = 0;
	#linkState: number = LinkState.closed;
	/** Board time, ms; the firmware's own counts from power-on. */
	#now = 0;
	#poweredOnAt = 0;
	#utcAtPowerOn = Number.NaN;
	#firmwareNow = 0;
	#rowBytes = 0;
	#samplesPerSecond = 0;
	#blockRows = 0;
	/** Of the next row, counted from power-on. */
	#rowNumber = 0;

	constructor(start: Start) {
		this.#start = start;
	}

	/** Serves the channel. @returns exit code of the process; a power cut or an abort leaves it from inside */
	run(): number {
		announce();
		for (;;) {
			const kind = nextFrame();
			if (kind === 0 || kind === FromBoard.shutdown) return 0;
			const limits = PAYLOAD_BYTES[kind];
			const byteLength = frameLength();
			if (limits === undefined || byteLength < limits[0] || byteLength > limits[1])
				fail(`board channel: frame of kind ${kind} with ${byteLength} bytes`);
			frameCopy(0, this.#head, Math.min(byteLength, POWER_ON_HEAD_BYTES));
			this.#take(kind, byteLength);
		}
	}

	#take(kind: number, byteLength: number): void {
		const view = this.#view;
		const meter = this.#meter;
		switch (kind) {
			case FromBoard.powerOn:
				if (meter !== undefined) fail("board channel: powerOn, and the power is on");
				this.#powerOn();
				break;
			case FromBoard.flashLoad:
				if (meter !== undefined) fail("board channel: flashLoad, and the power is on");
				flashLoad();
				break;
			case FromBoard.advance:
				if (meter === undefined) powerCut(0, 0);
				else this.#advance(meter, view.getFloat64(0, true));
				break;
			case FromBoard.samples:
				if (this.#samplesPerSecond > 0 && samplesWaiting(1) === 0)
					this.#rowNumber = Math.max(this.#rowNumber, this.#rowsUntilNow());
				samplesQueue();
				break;
			case FromBoard.linkEvent:
				this.#linkEvent(meter, view.getUint8(0));
				break;
			case FromBoard.linkData:
				for (let offset = 0; offset < byteLength && this.#linkState === LinkState.open; offset += LINK_PIECE_BYTES) {
					const pieceLength = Math.min(LINK_PIECE_BYTES, byteLength - offset);
					frameCopy(offset, this.#linkPiece, pieceLength);
					meter?.linkReceived(this.#linkPiece, pieceLength);
				}
				break;
			case FromBoard.opticalData:
				for (let offset = 0; offset < byteLength; offset += LINK_PIECE_BYTES) {
					const pieceLength = Math.min(LINK_PIECE_BYTES, byteLength - offset);
					frameCopy(offset, this.#linkPiece, pieceLength);
					meter?.opticalReceived(this.#linkPiece, pieceLength);
				}
				break;
			case FromBoard.input: {
				const which = view.getUint32(0, true);
				const value = view.getInt32(4, true);
				if (which >= INPUT_COUNT) fail(`board channel: input ${which} does not exist`);
				this.#inputs[which] = value;
				meter?.inputChanged(which, value);
				break;
			}
			case FromBoard.powerCut:
				powerCut(meter === undefined ? 0 : view.getUint32(0, true), view.getUint32(4, true));
				break;
			case FromBoard.query:
				if (view.getUint32(0, true) !== 1) fail("board channel: this query does not exist");
				sendStatistics();
				break;
			case FromBoard.samplesLost: {
				const rowCount = view.getUint32(0, true);
				// The lost rows had their time and their place in the waveform.
				this.#rowNumber += rowCount;
				if (this.#rowBytes > 0) samplesTake(undefined, samplesWaiting(rowCount), this.#rowBytes);
				meter?.samplesLost(rowCount);
				break;
			}
		}
	}

	#powerOn(): void {
		const view = this.#view;
		this.#now = this.#poweredOnAt = view.getFloat64(0, true);
		if (!Number.isFinite(this.#now)) fail("board channel: powerOn at no time");
		this.#utcAtPowerOn = view.getFloat64(8, true);
		this.sectorBytes = view.getUint32(16, true);
		this.sectorCount = view.getUint32(20, true);
		this.#bootReason = view.getUint32(24, true);
		this.#typeScriptKernel = (view.getUint32(28, true) & 1) !== 0;
		flashOpen(this.sectorBytes, this.sectorCount);
		entropySeed(this.#head.subarray(32, 64));
		this.#deviceKey.set(this.#head.subarray(64, 96));
		this.#meter = this.#start(this, frameText(POWER_ON_HEAD_BYTES));
		this.#done(this.#meter);
	}

	#done(meter: MeterEvents): void {
		const view = this.#view;
		view.setFloat64(0, this.#now, true);
		view.setFloat64(8, this.#deadline(meter), true);
		view.setFloat64(16, Number.NaN, true);
		sendFrame(ToBoard.done, this.#head, 24);
	}

	/** Board time of the meter's deadline; NaN, too, is none. */
	#deadline(meter: MeterEvents): number {
		const deadline = meter.deadlineMilliseconds();
		return Number.isNaN(deadline) ? Number.POSITIVE_INFINITY : deadline + this.#poweredOnAt;
	}

	#setNow(nowMilliseconds: number): void {
		// Compared, not `Math.max`: a NaN from the board moves nothing.
		if (nowMilliseconds > this.#now) this.#now = nowMilliseconds;
		const firmwareNow = this.#now - this.#poweredOnAt;
		if (firmwareNow > this.#firmwareNow) this.#firmwareNow = firmwareNow;
	}

	#advance(meter: MeterEvents, until: number): void {
		let equalTimes = 0;
		for (;;) {
			const deadline = this.#deadline(meter);
			const rows = this.#nextRows();
			const samplesAt =
				rows === 0
					? Number.POSITIVE_INFINITY
					: this.#poweredOnAt + ((this.#rowNumber + rows) * 1000) / this.#samplesPerSecond;
			if (samplesAt <= deadline && samplesAt <= until) {
				equalTimes = 0;
				this.#setNow(samplesAt);
				samplesTake(this.#block, rows, this.#rowBytes);
				this.#rowNumber += rows;
				meter.samples(this.#block, rows);
			} else if (deadline <= until) {
				equalTimes = deadline > this.#now ? 0 : equalTimes + 1;
				if (equalTimes > EQUAL_TIMES_MAX) abort(RUNAWAY, "tick does not move the deadline");
				this.#setNow(deadline);
				// Adding and subtracting the time of power-on may round: the meter sees its own deadline as passed.
				this.#firmwareNow = Math.max(this.#firmwareNow, meter.deadlineMilliseconds());
				meter.tick();
			} else break;
		}
		this.#setNow(until);
		this.#done(meter);
	}

	/** First row that has not arrived: row r arrives at power-on + (r + 1) / rate. */
	#rowsUntilNow(): number {
		return Math.floor(((this.#now - this.#poweredOnAt) * this.#samplesPerSecond) / 1000 + 1e-6);
	}

	/** Rows of the next block, as far as they are queued. Blocks end on multiples of their size since power-on. */
	#nextRows(): number {
		if (this.#rowBytes === 0) return 0;
		return samplesWaiting(this.#blockRows - (this.#rowNumber % this.#blockRows));
	}

	createSampleKernel(layout: SampleLayout): SampleKernel {
		this.#rowBytes = rowBytes(layout);
		this.#samplesPerSecond = layout.samplesPerSecond;
		this.#blockRows = Math.max(
			1,
			Math.min(
				Math.floor((layout.samplesPerSecond * BLOCK_MILLISECONDS) / 1000),
				Math.floor(BLOCK_BYTES_MAX / this.#rowBytes),
			),
		);
		this.#rowNumber = this.#rowsUntilNow();
		this.#block = new Uint8Array(this.#blockRows * this.#rowBytes);
		return this.#typeScriptKernel ? new TypeScriptSampleKernel(layout) : new NativeKernel(layout);
	}

	bootReason(): number {
		return this.#bootReason;
	}

	// Clock

	monotonicMilliseconds(): number {
		return this.#firmwareNow;
	}
	utcSeconds(): number {
		return this.#utcAtPowerOn + this.#firmwareNow / 1000;
	}
	setUtcSeconds(utcSeconds: number): void {
		this.#utcAtPowerOn = utcSeconds - this.#firmwareNow / 1000;
		this.#view.setFloat64(0, utcSeconds, true);
		this.#view.setFloat64(8, this.#now, true);
		sendFrame(ToBoard.clockSet, this.#head, 16);
	}

	// Entropy

	fill(into: Uint8Array): void {
		entropyFill(into);
	}

	// DeviceKey

	copyTo(into: Uint8Array, offset: number): void {
		for (let i = 0; i < DEVICE_KEY_BYTES; i++) into[offset + i] = this.#deviceKey[i]!;
	}

	// NorFlash

	read(address: number, into: Uint8Array, byteLength: number): Status {
		return flashRead(address, into, byteLength) === 1 ? Status.ok : Status.badValue;
	}
	program(address: number, from: Uint8Array, byteLength: number): Status {
		return flashProgram(address, from, byteLength) === 1 ? Status.ok : Status.badValue;
	}
	erase(sectorIndex: number): Status {
		return flashErase(sectorIndex) === 1 ? Status.ok : Status.badValue;
	}

	// Link

	open(): void {
		if (this.#linkState === LinkState.opening || this.#linkState === LinkState.open) return;
		this.#linkState = LinkState.opening;
		sendFrame(ToBoard.linkOpen, this.#head, 0);
	}
	send(bytes: Uint8Array, byteLength: number): number {
		if (this.#linkState !== LinkState.open) return 0;
		if (byteLength > 0) sendFrame(ToBoard.linkSend, bytes, byteLength);
		return byteLength;
	}
	close(): void {
		if (this.#linkState === LinkState.closed || this.#linkState === LinkState.closing) return;
		// `closed` follows only if it was open.
		this.#linkState = this.#linkState === LinkState.open ? LinkState.closing : LinkState.closed;
		sendFrame(ToBoard.linkClose, this.#head, 0);
	}
	#linkEvent(meter: LinkEvents | undefined, what: number): void {
		switch (what) {
			case LinkEvent.opened:
				if (this.#linkState !== LinkState.opening) return;
				this.#linkState = LinkState.open;
				meter?.linkOpened();
				break;
			case LinkEvent.closed:
				if (this.#linkState === LinkState.closed) return;
				this.#linkState = LinkState.closed;
				meter?.linkClosed();
				break;
			case LinkEvent.writable:
				if (this.#linkState === LinkState.open) meter?.linkWritable();
				break;
			default:
				fail(`board channel: link event ${what} does not exist`);
		}
	}

	// Board

	input(which: number): number {
		return this.#inputs[which] ?? 0;
	}
	setOutput(which: number, value: number): void {
		this.#view.setUint32(0, which, true);
		this.#view.setInt32(4, value, true);
		sendFrame(ToBoard.output, this.#head, 8);
	}
	restart(): never {
		return abort(RESTART, "restart asked by the firmware");
	}

	// Log

	line(text: string): void {
		sendText(ToBoard.log, text);
	}
}
