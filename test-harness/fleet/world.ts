import { BootReason } from "../../src/messages/hello.js";
import { Input, Output } from "../../src/platform/board.js";
import { LinkBridge } from "../board/link-bridge.js";
import { type BoardOptions, VirtualBoard } from "../board/virtual-board.js";
import type { Broker } from "../broker/broker.js";
import type { Statistics, Target, TargetEvents } from "../device/target.js";
import { Random } from "../waveforms/random.js";
import type { Advanced, ConcentratorProcess } from "./concentrator-process.js";

export interface WorldOptions {
	readonly seed: number;
	readonly target: Target;
	readonly broker: Broker;
	readonly concentrator?: ConcentratorProcess;
	readonly boards: readonly BoardOptions[];
	readonly startUtcSeconds: number;
	/** Meters are switched on one after the other within this time. */
	readonly powerOnSpreadMilliseconds: number;
	/** Real time that one virtual step waits for a peer that does not answer. */
	readonly settleMillisecondsMax?: number;
	readonly typeScriptKernel?: boolean;
}

/** Something worth a mark on the time axis. */
export interface Occurrence {
	readonly atMilliseconds: number;
	readonly what: "broker" | "concentrator" | "power" | "abort" | "restart";
	readonly text: string;
	readonly meter?: number;
}

/** A message of a meter as it goes out to the broker. `bytes` are valid during the call only. */
export type UpListener = (board: VirtualBoard, payload: Uint8Array, isRepeat: boolean) => void;

/** Reasons of `aborted` (docs/BOARD.md). */
const ABORT_NAMES = ["", "out of memory", "stack", "exception", "restart asked", "runaway"];
const ABORT_RESTART = 4;
const BOOT_REASONS = [
	BootReason.fault,
	BootReason.memoryFull,
	BootReason.fault,
	BootReason.fault,
	BootReason.restart,
	BootReason.watchdog,
];
/** Real time that the end of a run waits for the meters' last words. */
const POWER_DOWN_MILLISECONDS = 500;
/** Time between the warning and the end of power. */
const SUPPLY_FAIL_MILLISECONDS = 20;
/** A machine that ended by itself is started again after this time. */
const RESTART_MILLISECONDS = 2000;
/** Virtual time between two visits to a concentrator that nobody sends anything: its own timers want to run. */
const QUIET_CONCENTRATOR_MILLISECONDS = 10_000;

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Owns time: drives every meter, moves its bytes to and from the broker, keeps flash and clocks of the boards. In
 * virtual time the network is let run empty after each step, so that a step ends with nothing under way.
 */
export class World implements TargetEvents {
	readonly boards: VirtualBoard[];
	readonly timeline: Occurrence[] = [];
	/** Counts since the start. */
	readonly counts = {
		steps: 0,
		settledSteps: 0,
		settleTimeouts: 0,
		aborted: new Array<number>(ABORT_NAMES.length).fill(0),
		upAcknowledged: 0,
		published: 0,
	};
	nowMilliseconds = 0;
	onUp: UpListener = () => {};
	onOccurrence: (occurrence: Occurrence) => void = () => {};
	/** Set when the world cannot go on. */
	failure: Error | undefined;

	readonly #target: Target;
	readonly #broker: Broker;
	readonly #concentrator: ConcentratorProcess | undefined;
	readonly #startUtcSeconds: number;
	readonly #seed: number;
	readonly #settleMillisecondsMax: number;
	readonly #typeScriptKernel: boolean;
	/** Answers that the target owes for each meter, and for all. */
	readonly #owed: Int32Array;
	#stepUntil = 0;
	#lastAdvanced: Advanced | undefined;
	#owedTotal = 0;
	#answered: (() => void) | undefined;
	#networkWake: (() => void) | undefined;
	#networkMoved = false;
	#concentratorDueMilliseconds = 0;
	/** Last idle answer of the concentrator, and what the meters had delivered by then. */
	#receivedBase = Number.NaN;
	#acknowledgedBase = 0;
	readonly #statistics = new Map<number, (statistics: Statistics) => void>();

	constructor(options: WorldOptions) {
		this.#target = options.target;
		this.#broker = options.broker;
		this.#concentrator = options.concentrator;
		this.#startUtcSeconds = options.startUtcSeconds;
		this.#seed = options.seed;
		this.#settleMillisecondsMax = options.settleMillisecondsMax ?? 5000;
		this.#typeScriptKernel = options.typeScriptKernel ?? false;
		this.#owed = new Int32Array(options.boards.length);
		const random = new Random(options.seed, "power-on");
		this.boards = options.boards.map((one) => {
			const board = new VirtualBoard(one, options.startUtcSeconds);
			board.powerReturnsMilliseconds = random.between(0, options.powerOnSpreadMilliseconds);
			board.bridge = new LinkBridge(
				options.broker,
				{
					published: (topic, payload, isRepeat) => {
						this.counts.published++;
						if (topic.endsWith("/up")) this.onUp(board, payload, isRepeat);
					},
					upAcknowledged: () => this.counts.upAcknowledged++,
					connected: () => {},
				},
				() => {
					this.#networkMoved = true;
					this.#networkWake?.();
				},
			);
			return board;
		});
	}

	/** The true time, UTCTime with fractions. */
	get utcSeconds(): number {
		return this.#startUtcSeconds + this.nowMilliseconds / 1000;
	}

	/** Last idle answer of the concentrator. */
	get lastAdvanced(): Advanced | undefined {
		return this.#lastAdvanced;
	}

	async start(): Promise<void> {
		await this.#target.start(this);
	}

	/** Goes on by `milliseconds`, then, in virtual time, lets the network run empty. */
	async step(milliseconds: number, settle: boolean): Promise<void> {
		const until = this.nowMilliseconds + milliseconds;
		this.counts.steps++;
		this.#stepUntil = until;
		for (const board of this.boards) if (!board.isOn) this.#powerOnIfDue(board, until);
		for (const board of this.boards) if (board.isOn) this.#advance(board, until);
		await this.#allAnswered();
		this.nowMilliseconds = until;
		if (settle) await this.#settle();
		else await this.#deliverWaiting();
		if (this.failure !== undefined) throw this.failure;
	}

	/** In real time: gives the meters what the network brings until `untilPerformanceMilliseconds`. */
	async idleUntil(untilPerformanceMilliseconds: number): Promise<void> {
		for (;;) {
			const delivered = await this.#deliverWaiting();
			const rest = untilPerformanceMilliseconds - performance.now();
			if (rest <= 0) return;
			if (!delivered) await this.#networkEvent(rest); // while machines were at work more may have come
		}
	}

	/** Power fails now, or inside the n-th flash operation from now. It returns after `offMilliseconds`. */
	cutPower(board: VirtualBoard, flashOperations: number, tornBytes: number, offMilliseconds: number): void {
		if (!board.isOn) return;
		board.plannedOffMilliseconds = offMilliseconds;
		this.#target.powerCut(board.index, flashOperations, tornBytes);
	}

	/** Power fails after the supply-fail input has told of it: time for one register commit. */
	announcePowerCut(board: VirtualBoard, offMilliseconds: number): void {
		if (!board.isOn) return;
		this.setInput(board, Input.supplyFail, 1);
		if (!board.isOn) return;
		const until = this.nowMilliseconds + SUPPLY_FAIL_MILLISECONDS;
		this.#owe(board.index);
		this.#target.advance(board.index, board.local(until));
		this.#stepUntil = Math.max(this.#stepUntil, until);
		this.cutPower(board, 0, 0, offMilliseconds);
	}

	/** All power ends, told beforehand: every meter commits its registers, so that a kept store goes on from them. */
	async powerDown(): Promise<void> {
		for (const board of this.boards) this.announcePowerCut(board, Number.POSITIVE_INFINITY);
		await Promise.race([this.#allAnswered(), new Promise((resolve) => setTimeout(resolve, POWER_DOWN_MILLISECONDS))]);
	}

	/** Puts bytes on a meter's optical port; the answer comes to `onOptical` of its board. */
	opticalData(board: VirtualBoard, bytes: Uint8Array): void {
		if (board.isOn) this.#target.opticalData(board.index, bytes);
	}

	setInput(board: VirtualBoard, which: number, value: number): void {
		if (board.isOn) this.#target.input(board.index, which, value);
	}

	/** Every meter's load goes to zero for good; its voltage stays. */
	unload(): void {
		for (const board of this.boards) {
			board.isUnloaded = true;
			board.hurryLoad(board.local(this.nowMilliseconds));
		}
	}

	queryStatistics(board: VirtualBoard): Promise<Statistics> {
		return new Promise((resolve) => {
			this.#statistics.set(board.index, resolve);
			this.#target.queryStatistics(board.index);
		});
	}

	/** The concentrator or the broker came or went: counts begin anew. */
	peersChanged(): void {
		this.#receivedBase = Number.NaN;
		this.#networkMoved = true;
		this.#concentratorDueMilliseconds = 0;
	}

	note(what: Occurrence["what"], text: string, meter?: number): void {
		const occurrence: Occurrence = {
			atMilliseconds: this.nowMilliseconds,
			what,
			text,
			...(meter === undefined ? {} : { meter }),
		};
		this.timeline.push(occurrence);
		this.onOccurrence(occurrence);
	}

	async stop(): Promise<void> {
		for (const board of this.boards) {
			board.bridge.cut();
			board.flash.closeFile();
		}
		await this.#target.stop();
	}

	// ---- what the target reports ----

	done(meter: number): void {
		if (!this.boards[meter]!.isLeaving) this.#answer(meter, 1);
	}

	linkOpen(meter: number): void {
		this.#networkMoved = true;
		this.boards[meter]!.bridge.open();
	}

	linkSend(meter: number, bytes: Uint8Array): void {
		this.#networkMoved = true;
		this.boards[meter]!.bridge.send(bytes);
	}

	linkClose(meter: number): void {
		this.#networkMoved = true;
		this.boards[meter]!.bridge.close();
	}

	flashProgram(meter: number, address: number, bytes: Uint8Array): void {
		this.boards[meter]!.flash.program(address, bytes);
	}

	flashErase(meter: number, sectorIndex: number): void {
		this.boards[meter]!.flash.erase(sectorIndex);
	}

	output(meter: number, which: number, value: number): void {
		const board = this.boards[meter]!;
		board.outputs[which] = value;
		if (which === Output.relay) board.setRelay(value !== 0, board.local(this.nowMilliseconds));
	}

	log(meter: number, text: string): void {
		this.boards[meter]!.keepLog(text);
	}

	aborted(meter: number, reason: number, text: string): void {
		const board = this.boards[meter]!;
		if (board.isLeaving || !board.isOn) return;
		this.counts.aborted[reason] = (this.counts.aborted[reason] ?? 0) + 1;
		board.keepLog(`aborted (${ABORT_NAMES[reason] ?? reason}): ${text}`);
		board.bootReason = BOOT_REASONS[reason] ?? BootReason.fault;
		board.powerReturnsMilliseconds = this.nowMilliseconds + RESTART_MILLISECONDS;
		this.note(reason === ABORT_RESTART ? "restart" : "abort", `${ABORT_NAMES[reason] ?? reason}: ${text}`, meter);
		this.#machineGone(board);
	}

	poweredOff(meter: number): void {
		const board = this.boards[meter]!;
		if (board.isLeaving || !board.isOn) return;
		board.powerCuts++;
		board.bootReason = BootReason.powerOn;
		board.powerReturnsMilliseconds = this.nowMilliseconds + board.plannedOffMilliseconds;
		this.note("power", `off for ${(board.plannedOffMilliseconds / 1000).toFixed(0)} s`, meter);
		this.#machineGone(board);
	}

	statistics(meter: number, statistics: Statistics): void {
		this.boards[meter]!.isLeaving = false;
		const resolve = this.#statistics.get(meter);
		this.#statistics.delete(meter);
		resolve?.(statistics);
	}

	opticalSend(meter: number, bytes: Uint8Array): void {
		this.boards[meter]!.onOptical?.(bytes);
	}

	clockSet(meter: number, utcSeconds: number, atMilliseconds: number): void {
		this.boards[meter]!.setClock(utcSeconds, atMilliseconds);
	}

	failed(reason: string): void {
		this.failure ??= new Error(`the ${this.#target.name} target ended: ${reason}`);
		this.#owedTotal = 0;
		this.#answered?.();
	}

	// ---- machines ----

	#powerOnIfDue(board: VirtualBoard, until: number): void {
		const at = Math.max(board.powerReturnsMilliseconds, this.nowMilliseconds);
		if (!(at <= until) || board.isLeaving) return;
		const local = board.local(at);
		board.powerReturnsMilliseconds = Number.NaN;
		board.powerOn(local);
		for (const { address, bytes } of board.flash.pieces()) this.#target.flashLoad(board.index, address, bytes);
		const entropy = new Random(this.#seed, `entropy ${board.index} ${board.starts}`);
		this.#owe(board.index);
		this.#target.powerOn(board.index, {
			nowMilliseconds: local,
			utcSeconds: board.utcSeconds(local),
			sectorBytes: board.flash.sectorBytes,
			sectorCount: board.flash.sectorCount,
			bootReason: board.bootReason,
			typeScriptKernel: this.#typeScriptKernel,
			entropySeed: entropy.bytes(new Uint8Array(32)),
			deviceKey: board.deviceKey,
			settingsText: board.settingsText,
		});
	}

	/** Sends what brings the meter to `until`: changes of load at their times, and the time itself. */
	#advance(board: VirtualBoard, until: number): void {
		const end = board.local(until);
		let local = board.local(this.nowMilliseconds);
		for (;;) {
			const at = board.loadChangeAt(local);
			if (at > end) break;
			if (at > local) {
				this.#owe(board.index);
				this.#target.advance(board.index, at);
				if (!board.isOn) return;
			}
			const block = board.changeLoad(at);
			this.#target.samples(board.index, block.rowCount, true, block.rows);
			local = Math.max(at, local);
		}
		this.#owe(board.index);
		this.#target.advance(board.index, end);
	}

	/** The machine is gone: nothing is owed for it any more, and frames of it count again behind a barrier. */
	#machineGone(board: VirtualBoard): void {
		board.powerOff(board.local(this.#stepUntil)); // at the latest; when in the step it was, nobody tells
		board.bridge.cut();
		this.#networkMoved = true;
		board.isLeaving = true;
		this.#target.queryStatistics(board.index);
		this.#answer(board.index, this.#owed[board.index]!);
	}

	#owe(meter: number): void {
		this.#owed[meter]!++;
		this.#owedTotal++;
	}

	#answer(meter: number, count: number): void {
		const owed = Math.min(count, this.#owed[meter]!);
		this.#owed[meter]! -= owed;
		this.#owedTotal -= owed;
		if (this.#owedTotal === 0) this.#answered?.();
	}

	async #allAnswered(): Promise<void> {
		if (this.#owedTotal > 0 && this.failure === undefined)
			await new Promise<void>((resolve) => {
				this.#answered = resolve;
			});
		this.#answered = undefined;
		if (this.failure !== undefined) throw this.failure;
	}

	// ---- network ----

	/** Gives the machines what their connections brought; time stands still. @returns whether there was any */
	async #deliverWaiting(): Promise<boolean> {
		let delivered = false;
		for (const board of this.boards) {
			if (!board.bridge.hasWaiting) continue;
			delivered = true;
			const waiting = board.bridge.takeWaiting();
			for (const what of waiting) {
				if (!board.isOn) break;
				if (what === "opened") this.#target.linkOpened(board.index);
				else if (what === "closed") this.#target.linkClosed(board.index);
				else if (what === "writable") this.#target.linkWritable(board.index);
				else this.#target.linkData(board.index, what);
			}
			if (!board.isOn) continue;
			this.#owe(board.index);
			this.#target.advance(board.index, board.local(this.nowMilliseconds));
		}
		if (delivered) await this.#allAnswered();
		return delivered;
	}

	/** Until something happens in the network, or the time is over. */
	#networkEvent(milliseconds: number): Promise<void> {
		return new Promise((resolve) => {
			const timer = setTimeout(() => this.#networkWake?.(), milliseconds);
			this.#networkWake = () => {
				clearTimeout(timer);
				this.#networkWake = undefined;
				resolve();
			};
		});
	}

	get #outstanding(): number {
		let outstanding = 0;
		for (const board of this.boards) outstanding += board.bridge.outstanding;
		return outstanding;
	}

	/** Lets the network run empty: no request of a meter without its answer, nothing on its way, the concentrator idle. */
	async #settle(): Promise<void> {
		if (!this.#networkMoved && this.nowMilliseconds < this.#concentratorDueMilliseconds) return;
		this.counts.settledSteps++;
		const deadline = performance.now() + this.#settleMillisecondsMax;
		const expired = (): boolean => performance.now() > deadline;
		for (let quiet = 0; quiet < 2; ) {
			this.#networkMoved = false;
			await immediate();
			if (await this.#deliverWaiting()) {
				quiet = 0;
				continue;
			}
			if (this.failure !== undefined) return;
			if (this.#outstanding > 0) {
				if (expired()) {
					this.counts.settleTimeouts++;
					for (const board of this.boards) board.bridge.tap.ignoreOutstanding();
					break;
				}
				await this.#networkEvent(deadline - performance.now());
				quiet = 0;
				continue;
			}
			if (quiet === 0 && !(await this.#settleConcentrator(deadline))) {
				if (expired()) break;
				continue;
			}
			quiet++;
		}
		this.#networkMoved = false;
	}

	/** @returns true when the concentrator is idle and has all that was delivered */
	async #settleConcentrator(deadline: number): Promise<boolean> {
		const concentrator = this.#concentrator;
		if (concentrator === undefined || !concentrator.isRunning || !this.#broker.isRunning) return true;
		const answer = await concentrator.advance(this.utcSeconds, Math.max(10, deadline - performance.now()));
		this.#lastAdvanced = answer;
		this.#concentratorDueMilliseconds = this.nowMilliseconds + QUIET_CONCENTRATOR_MILLISECONDS;
		if (answer === undefined) {
			if (concentrator.isRunning) this.counts.settleTimeouts++;
			return true;
		}
		if (Number.isNaN(this.#receivedBase)) {
			this.#receivedBase = answer.received;
			this.#acknowledgedBase = this.counts.upAcknowledged;
		}
		const received = answer.received - this.#receivedBase;
		const delivered = this.counts.upAcknowledged - this.#acknowledgedBase;
		if (received >= delivered) {
			this.#receivedBase = answer.received;
			this.#acknowledgedBase = this.counts.upAcknowledged;
			return true;
		}
		if (performance.now() > deadline) {
			this.counts.settleTimeouts++;
			this.#receivedBase = Number.NaN;
			return true;
		}
		await this.#networkEvent(1);
		return false;
	}
}
