import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import {
	EVERY_METER,
	FrameReader,
	FrameWriter,
	PAYLOAD_BYTES_MAX,
	PROTOCOL_VERSION,
	ToBoard,
	ToTarget,
} from "../board/channel.js";
import { ROOT } from "../root.js";
import { UserError } from "../user-error.js";
import type { PowerOn, Target, TargetEvents } from "./target.js";

export interface LinuxXsOptions {
	/** The host program; default: what `buildEngine` makes. */
	readonly host?: string;
	/** The firmware; default: what `buildFirmware` makes. */
	readonly archive?: string;
	/** Threads of the host; default: one a core. */
	readonly threads?: number;
	/** Collects garbage at every chance: slow, and finds what a collection at the wrong moment would break. */
	readonly collectOften?: boolean;
	/** The host's whole command line, for a host of another kind behind the same pipes (rv32.ts). */
	readonly arguments?: readonly string[];
	/** Frames that are no part of the board channel: a host of another kind may have some. */
	onPrivateFrame?(kind: number, payload: Buffer): void;
	/** The host ended by itself. @returns whether that was no failure */
	onExit?(code: number | null, said: string): boolean;
}

const FLAG_TYPESCRIPT_KERNEL = 1;
const FLAG_REPEAT = 1;
const LINK_OPENED = 0;
const LINK_CLOSED = 1;
const LINK_WRITABLE = 2;
const QUERY_STATISTICS = 1;
const POWER_ON_HEAD_BYTES = 96;
/** How long a host may take to end by itself. */
const STOP_MILLISECONDS = 5000;

/** The firmware on XS: one Linux process that runs many meters, over pipes. Frames of one tick go out together. */
export class LinuxXsTarget implements Target {
	readonly name = "linux-xs";
	readonly #host: string;
	readonly #arguments: readonly string[];
	readonly #options: LinuxXsOptions;
	readonly #writer = new FrameWriter();
	#description = "XS on Linux, not started";
	#events: TargetEvents | undefined;
	#child: ChildProcess | undefined;
	#exited: Promise<void> = Promise.resolve();
	/** Meters whose end the board has been told of: the host does not answer for them any more. */
	readonly #ended = new Set<number>();
	#isFlushQueued = false;
	#isStopping = false;
	#hasFailed = false;
	#complaint = "";

	constructor(options: LinuxXsOptions = {}) {
		this.#host = options.host ?? join(ROOT, "build", "linux", "wattlock-host");
		this.#options = options;
		this.#arguments = options.arguments ?? [
			...(options.threads === undefined ? [] : ["--threads", String(options.threads)]),
			...(options.collectOften ? ["--collect-often"] : []),
			options.archive ?? join(ROOT, "build", "linux", "meter.wlxa"),
		];
	}

	get description(): string {
		return this.#description;
	}

	/** Of the host process while it runs. */
	get processId(): number | undefined {
		return this.#child?.pid;
	}

	start(events: TargetEvents): Promise<void> {
		if (this.#child) throw new Error("the target is started already");
		this.#events = events;
		this.#isStopping = false;
		this.#hasFailed = false;
		this.#complaint = "";
		this.#ended.clear();
		const child = spawn(this.#host, this.#arguments, { stdio: ["pipe", "pipe", "pipe"] });
		this.#child = child;
		return new Promise((resolve, reject) => {
			let isReady = false;
			const reader = new FrameReader((meter, kind, payload) => {
				if (isReady) {
					this.#receive(meter, kind, payload);
					return;
				}
				if (kind !== ToBoard.ready || payload.readUInt32LE(0) !== PROTOCOL_VERSION)
					throw new RangeError("the host speaks another version of the board channel");
				this.#description = payload.toString("utf8", 8);
				isReady = true;
				resolve();
			});
			child.stdout.on("data", (chunk: Buffer) => {
				if (this.#hasFailed) return;
				try {
					reader.push(chunk);
				} catch (error) {
					if (!(error instanceof RangeError)) throw error;
					this.#fail(`protocol error: ${error.message}`);
					child.kill("SIGKILL");
				}
			});
			child.stderr.setEncoding("utf8").on("data", (text: string) => {
				this.#complaint = (this.#complaint + text).slice(-2000);
			});
			child.stdin.on("error", () => {
				// the exit says why
			});
			this.#exited = new Promise((ended) => {
				child.on("error", (error) => {
					this.#child = undefined;
					reject(new UserError(`the XS host cannot start (${error.message}): npx wattlock build`));
					ended();
				});
				child.on("close", (code, signal) => {
					this.#child = undefined;
					const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
					const said = this.#complaint.trim();
					const reason = said === "" ? `the XS host ended with ${how}` : `${said} (${how})`;
					if (!this.#isStopping && this.#options.onExit?.(code, said)) resolve();
					else if (!isReady) reject(new UserError(reason));
					else if (!this.#isStopping) this.#fail(reason);
					ended();
				});
			});
		});
	}

	flashLoad(meter: number, address: number, bytes: Uint8Array): void {
		for (let from = 0; from < bytes.length; from += PAYLOAD_BYTES_MAX - 4) {
			const piece = bytes.subarray(from, from + PAYLOAD_BYTES_MAX - 4);
			this.#begin(meter, ToTarget.flashLoad, 4 + piece.length)
				.u32(address + from)
				.bytes(piece);
		}
	}

	powerOn(meter: number, options: PowerOn): void {
		if (options.entropySeed.length !== 32) throw new RangeError("the entropy seed has 32 bytes");
		if (options.deviceKey.length !== 32) throw new RangeError("the device key has 32 bytes");
		const settings = Buffer.from(options.settingsText, "utf8");
		this.#ended.delete(meter);
		this.#begin(meter, ToTarget.powerOn, POWER_ON_HEAD_BYTES + settings.length)
			.f64(options.nowMilliseconds)
			.f64(options.utcSeconds)
			.u32(options.sectorBytes)
			.u32(options.sectorCount)
			.u32(options.bootReason)
			.u32(options.typeScriptKernel ? FLAG_TYPESCRIPT_KERNEL : 0)
			.bytes(options.entropySeed)
			.bytes(options.deviceKey)
			.bytes(settings);
	}

	advance(meter: number, untilMilliseconds: number): void {
		if (this.#answeredAsOff(meter)) return;
		this.#begin(meter, ToTarget.advance, 8).f64(untilMilliseconds);
	}

	samples(meter: number, rowCount: number, repeat: boolean, rows: Uint8Array): void {
		const bytesMax = PAYLOAD_BYTES_MAX - 8;
		if (rows.length <= bytesMax) {
			this.#samples(meter, rowCount, repeat, rows);
			return;
		}
		if (repeat) throw new RangeError(`a repeating block has at most ${bytesMax} bytes`);
		const rowBytes = rows.length / rowCount;
		const rowsMax = Math.floor(bytesMax / rowBytes);
		for (let row = 0; row < rowCount; row += rowsMax) {
			const count = Math.min(rowsMax, rowCount - row);
			this.#samples(meter, count, false, rows.subarray(row * rowBytes, (row + count) * rowBytes));
		}
	}

	#samples(meter: number, rowCount: number, repeat: boolean, rows: Uint8Array): void {
		this.#begin(meter, ToTarget.samples, 8 + rows.length)
			.u32(rowCount)
			.u32(repeat ? FLAG_REPEAT : 0)
			.bytes(rows);
	}

	samplesLost(meter: number, rowCount: number): void {
		this.#begin(meter, ToTarget.samplesLost, 4).u32(rowCount);
	}

	linkOpened(meter: number): void {
		this.#begin(meter, ToTarget.linkEvent, 1).u8(LINK_OPENED);
	}

	linkClosed(meter: number): void {
		this.#begin(meter, ToTarget.linkEvent, 1).u8(LINK_CLOSED);
	}

	linkWritable(meter: number): void {
		this.#begin(meter, ToTarget.linkEvent, 1).u8(LINK_WRITABLE);
	}

	linkData(meter: number, bytes: Uint8Array): void {
		for (let from = 0; from < bytes.length; from += PAYLOAD_BYTES_MAX) {
			const piece = bytes.subarray(from, from + PAYLOAD_BYTES_MAX);
			this.#begin(meter, ToTarget.linkData, piece.length).bytes(piece);
		}
	}

	opticalData(meter: number, bytes: Uint8Array): void {
		this.#begin(meter, ToTarget.opticalData, bytes.length).bytes(bytes);
	}

	input(meter: number, which: number, value: number): void {
		this.#begin(meter, ToTarget.input, 8).u32(which).i32(value);
	}

	powerCut(meter: number, flashOperations: number, tornBytes: number): void {
		if (this.#answeredAsOff(meter)) return;
		this.#begin(meter, ToTarget.powerCut, 8).u32(flashOperations).u32(tornBytes);
	}

	queryStatistics(meter: number): void {
		this.#begin(meter, ToTarget.query, 4).u32(QUERY_STATISTICS);
	}

	async stop(): Promise<void> {
		const child = this.#child;
		if (child) {
			this.#isStopping = true;
			this.#begin(EVERY_METER, ToTarget.shutdown, 0);
			this.#flush();
			child.stdin?.end();
			const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MILLISECONDS);
			await this.#exited;
			clearTimeout(timer);
		}
		await this.#exited;
	}

	/** Ends the host at once, whatever it is doing. */
	async kill(): Promise<void> {
		this.#isStopping = true;
		this.#child?.kill("SIGKILL");
		await this.#exited;
	}

	/** A question about a meter that is known to be off is answered here. */
	#answeredAsOff(meter: number): boolean {
		if (!this.#ended.has(meter)) return false;
		queueMicrotask(() => this.#events?.poweredOff(meter, 0));
		return true;
	}

	#begin(meter: number, kind: number, payloadLength: number): FrameWriter {
		if (!this.#isFlushQueued) {
			this.#isFlushQueued = true;
			queueMicrotask(() => this.#flush());
		}
		return this.#writer.begin(meter, kind, payloadLength);
	}

	#flush(): void {
		this.#isFlushQueued = false;
		if (this.#writer.byteLength === 0) return;
		const bytes = this.#writer.take();
		if (this.#child?.stdin?.writable) this.#child.stdin.write(bytes);
	}

	#fail(reason: string): void {
		if (this.#hasFailed) return;
		this.#hasFailed = true;
		this.#events?.failed(reason);
	}

	#receive(meter: number, kind: number, payload: Buffer): void {
		const events = this.#events;
		if (!events) return;
		switch (kind) {
			case ToBoard.done:
				events.done(meter, payload.readDoubleLE(0), payload.readDoubleLE(8), payload.readDoubleLE(16));
				break;
			case ToBoard.linkOpen:
				events.linkOpen(meter);
				break;
			case ToBoard.linkSend:
				events.linkSend(meter, payload);
				break;
			case ToBoard.linkClose:
				events.linkClose(meter);
				break;
			case ToBoard.flashProgram:
				events.flashProgram(meter, payload.readUInt32LE(0), payload.subarray(4));
				break;
			case ToBoard.flashErase:
				events.flashErase(meter, payload.readUInt32LE(0));
				break;
			case ToBoard.output:
				events.output(meter, payload.readUInt32LE(0), payload.readInt32LE(4));
				break;
			case ToBoard.log:
				events.log(meter, payload.toString("utf8"));
				break;
			case ToBoard.aborted:
				this.#ended.add(meter);
				events.aborted(meter, payload.readUInt32LE(0), payload.toString("utf8", 4));
				break;
			case ToBoard.statistics:
				events.statistics(meter, {
					slotsLive: payload.readUInt32LE(0),
					slotsPeak: payload.readUInt32LE(4),
					slotBytes: payload.readUInt32LE(8),
					chunkBytesLive: payload.readUInt32LE(12),
					chunkBytesPeak: payload.readUInt32LE(16),
					stackPeakSlots: payload.readUInt32LE(20),
					meteringTicks: payload.readDoubleLE(24),
				});
				break;
			case ToBoard.poweredOff:
				this.#ended.add(meter);
				events.poweredOff(meter, payload.readUInt32LE(0));
				break;
			case ToBoard.clockSet:
				events.clockSet(meter, payload.readDoubleLE(0), payload.readDoubleLE(8));
				break;
			case ToBoard.opticalSend:
				events.opticalSend(meter, payload);
				break;
			default:
				if (!this.#options.onPrivateFrame) throw new RangeError(`frame of unknown kind ${kind}`);
				this.#options.onPrivateFrame(kind, payload);
		}
	}
}
