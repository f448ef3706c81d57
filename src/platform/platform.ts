import type { Board } from "./board.js";
import type { Clock } from "./clock.js";
import type { DeviceKey } from "./device-key.js";
import type { Entropy } from "./entropy.js";
import type { NorFlash } from "./flash.js";
import type { Link } from "./link.js";
import type { Log } from "./log.js";
import type { OpticalPort, OpticalPortEvents } from "./optical-port.js";
import type { SampleKernel, SampleLayout } from "./sample-kernel.js";

/** All that the meter needs of the world. A host makes one, calls `startMeter`, then reports events to the `Meter`. */
export interface Platform {
	readonly clock: Clock;
	readonly entropy: Entropy;
	readonly flash: NorFlash;
	readonly link: Link;
	readonly opticalPort: OpticalPort;
	readonly deviceKey: DeviceKey;
	readonly board: Board;
	readonly log: Log;
	/** Which firmware the boot loader chose: 0 built in, 1, 2 out of flash; -1 or absent: nothing is started out of flash, and firmware is received, verified, and never activated. */
	readonly bootedSlot?: number;
	/** Makes the per-sample loop: native C where the host has it, else the TypeScript twin. */
	createSampleKernel(layout: SampleLayout): SampleKernel;
}

/** What a host tells the meter. Each call is short and never throws for anything that came from outside. */
export interface MeterEvents extends OpticalPortEvents {
	/** A block of `rowCount` rows arrived. `block` is valid only during the call. */
	samples(block: Uint8Array, rowCount: number): void;
	/** Samples were lost before the next block (buffer overrun). */
	samplesLost(rowCount: number): void;
	inputChanged(which: number, value: number): void;
	/** Call when `deadlineMilliseconds()` has passed. */
	tick(): void;
	/** Monotonic milliseconds at which `tick` is wanted; Infinity: only on events. */
	deadlineMilliseconds(): number;
}
