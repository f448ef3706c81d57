import type { Air } from "./air.js";
import type { Timer } from "./clock.js";
import type { ZnpModule } from "./znp-module.js";

/** What firmware has on its UART: `ZnpMachine`, or `ZigbeeMeter` around it. */
export interface HostedMachine {
	receive(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): unknown;
	tick(nowMilliseconds: number): void;
	deadlineMilliseconds(): number;
	transmit(into: Uint8Array): number;
}

/** Joins a firmware's machine to a virtual co-processor: moves bytes and keeps the deadlines, in virtual time. */
export class MachineHost {
	readonly module: ZnpModule;
	/** Every byte that the firmware wrote, if wanted. */
	record: ((bytes: Uint8Array) => void) | undefined;
	readonly #air: Air;
	readonly #machine: HostedMachine;
	readonly #into = new Uint8Array(64);
	#timer: Timer | undefined;

	constructor(air: Air, machine: HostedMachine, module: ZnpModule) {
		this.#air = air;
		this.#machine = machine;
		this.module = module;
		module.toHost = (frame) => {
			machine.receive(air.clock.nowMilliseconds, frame, frame.length);
			this.turn();
		};
	}

	/** After anything happened: the bytes, then the next deadline. */
	turn(): void {
		for (let count = this.#machine.transmit(this.#into); count > 0; count = this.#machine.transmit(this.#into)) {
			this.record?.(this.#into.subarray(0, count));
			this.module.receive(this.#into, count);
		}
		this.#timer?.cancel();
		const deadline = this.#machine.deadlineMilliseconds();
		if (deadline === Number.POSITIVE_INFINITY) return;
		// Rounded up: a tick a fraction of a microsecond early would find nothing to do, for ever.
		const wait = Math.max(1, Math.ceil((deadline - this.#air.clock.nowMilliseconds) * 1_000));
		this.#timer = this.#air.clock.after(wait, () => {
			this.#machine.tick(this.#air.clock.nowMilliseconds);
			this.turn();
		});
	}

	/** The firmware has no power any more. */
	stop(): void {
		this.#timer?.cancel();
		this.module.toHost = () => {};
	}
}
