/**
 * A target runs firmware behind the board channel (docs/BOARD.md): Linux XS, in-process Node, later emulated RV32 and
 * boards. The virtual board (`test-harness/board/`) drives it and is the same for all.
 */

export interface PowerOn {
	/** Board time, monotonic milliseconds. */
	readonly nowMilliseconds: number;
	/** Real-time clock, s since 2000-01-01T00:00:00Z; NaN when it lost its time. */
	readonly utcSeconds: number;
	readonly sectorBytes: number;
	readonly sectorCount: number;
	readonly bootReason: number;
	readonly typeScriptKernel: boolean;
	/** 32 bytes; the meter's whole entropy in simulations. */
	readonly entropySeed: Uint8Array;
	/** 32 bytes that a chip has in its fuses: the same at each start of this board, other on every board. */
	readonly deviceKey: Uint8Array;
	readonly settingsText: string;
}

export interface Statistics {
	readonly slotsLive: number;
	readonly slotsPeak: number;
	readonly slotBytes: number;
	readonly chunkBytesLive: number;
	readonly chunkBytesPeak: number;
	readonly stackPeakSlots: number;
	readonly meteringTicks: number;
}

/** What a target reports; one object receives the events of all meters. Byte arrays are valid during the call only. */
export interface TargetEvents {
	done(meter: number, nowMilliseconds: number, deadlineMilliseconds: number, meteringTicks: number): void;
	linkOpen(meter: number): void;
	linkSend(meter: number, bytes: Uint8Array): void;
	linkClose(meter: number): void;
	flashProgram(meter: number, address: number, bytes: Uint8Array): void;
	flashErase(meter: number, sectorIndex: number): void;
	output(meter: number, which: number, value: number): void;
	log(meter: number, text: string): void;
	/** The machine is gone. */
	aborted(meter: number, reason: number, text: string): void;
	poweredOff(meter: number, flashOperations: number): void;
	statistics(meter: number, statistics: Statistics): void;
	clockSet(meter: number, utcSeconds: number, atMilliseconds: number): void;
	/** The optical port sends. */
	opticalSend(meter: number, bytes: Uint8Array): void;
	/** The target itself ended (crash of the host process, or a protocol error): every meter on it is gone. */
	failed(reason: string): void;
}

export interface Target {
	readonly name: "in-process" | "linux-xs" | "rv32";
	readonly description: string;
	/** Starts the host; resolves when it is ready. */
	start(events: TargetEvents): Promise<void>;
	flashLoad(meter: number, address: number, bytes: Uint8Array): void;
	powerOn(meter: number, options: PowerOn): void;
	/** Answered by exactly one of `done`, `aborted`, `poweredOff`. */
	advance(meter: number, untilMilliseconds: number): void;
	samples(meter: number, rowCount: number, repeat: boolean, rows: Uint8Array): void;
	samplesLost(meter: number, rowCount: number): void;
	linkOpened(meter: number): void;
	linkClosed(meter: number): void;
	linkWritable(meter: number): void;
	linkData(meter: number, bytes: Uint8Array): void;
	/** Somebody has put a probe on the optical port and sends. */
	opticalData(meter: number, bytes: Uint8Array): void;
	input(meter: number, which: number, value: number): void;
	/** @param flashOperations 0: now; n: inside the n-th flash operation from now */
	powerCut(meter: number, flashOperations: number, tornBytes: number): void;
	queryStatistics(meter: number): void;
	/** Ends the host and waits until it is gone. */
	stop(): Promise<void>;
}
