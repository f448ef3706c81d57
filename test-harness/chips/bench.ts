import type { FrontEnd } from "../../src/front-end/front-end.js";
import type { Mains } from "./mains.js";

/** Something that lives in virtual time: a chip, a serial line. */
export interface Device {
	advance(nowMilliseconds: number): void;
	/** When it next does something of its own accord. */
	deadlineMilliseconds(): number;
}

/** What a driver was charged with, over a run. */
export interface Counted {
	importMilliwattHours: number;
	exportMilliwattHours: number;
	importMillivarHours: number;
	exportMillivarHours: number;
}

/** Virtual time for mains, chips, lines and one driver; takes each reading and adds up its energies. */
export class Bench {
	nowMilliseconds = 0;
	readonly counted: Counted[] = [];
	readingCount = 0;
	readonly #mains: Mains;
	readonly #devices: readonly Device[];
	readonly #driver: FrontEnd;

	constructor(mains: Mains, driver: FrontEnd, devices: readonly Device[]) {
		this.#mains = mains;
		this.#driver = driver;
		this.#devices = devices;
		for (let i = 0; i < mains.loads.length; i++)
			this.counted.push({
				importMilliwattHours: 0,
				exportMilliwattHours: 0,
				importMillivarHours: 0,
				exportMillivarHours: 0,
			});
	}

	runSeconds(seconds: number): void {
		this.runUntil(this.nowMilliseconds + seconds * 1000);
	}

	runUntil(endMilliseconds: number): void {
		let idle = 0;
		for (;;) {
			let next = this.#driver.deadlineMilliseconds();
			for (const device of this.#devices) next = Math.min(next, device.deadlineMilliseconds());
			if (next > endMilliseconds) break;
			if (next <= this.nowMilliseconds) {
				if (++idle > 1000) throw new Error(`no progress at ${this.nowMilliseconds} ms`);
			} else {
				idle = 0;
				this.nowMilliseconds = next;
			}
			this.#advance();
			if (this.#driver.deadlineMilliseconds() <= this.nowMilliseconds) this.#driver.tick(this.nowMilliseconds);
			this.#take();
		}
		this.nowMilliseconds = endMilliseconds;
		this.#advance();
		this.#take();
	}

	#advance(): void {
		this.#mains.advance(this.nowMilliseconds);
		for (const device of this.#devices) device.advance(this.nowMilliseconds);
	}

	#take(): void {
		const reading = this.#driver.sample();
		if (reading === undefined) return;
		this.readingCount++;
		for (let i = 0; i < this.counted.length; i++) {
			const counted = this.counted[i]!;
			const phase = reading.phases[i]!;
			counted.importMilliwattHours += phase.importMilliwattHours;
			counted.exportMilliwattHours += phase.exportMilliwattHours;
			counted.importMillivarHours += phase.importMillivarHours;
			counted.exportMillivarHours += phase.exportMillivarHours;
		}
	}
}
