import type { I2cIo, I2cIoOptions, SpiIo, SpiIoOptions } from "../../src/front-end/io.js";
import type { Random } from "../waveforms/random.js";
import { IllegalAccess } from "./illegal-access.js";

/** Damage on a bus: the probability that one byte has a wrong bit. */
export interface BusFaults {
	readonly toDriver?: number;
	readonly toChip?: number;
}

/** A chip on SPI: it sees a whole transfer, from select to deselect, and answers byte for byte. */
export interface SpiPeer {
	readonly modes: readonly number[];
	readonly hzMax: number;
	transfer(bytes: Uint8Array): void;
}

/** A chip on I2C. */
export interface I2cPeer {
	readonly address: number;
	readonly hzMax: number;
	/** Nobody acknowledges: false. */
	readonly isThere: boolean;
	write(bytes: Uint8Array): void;
	read(into: Uint8Array): void;
}

class Bus {
	faults: BusFaults = {};
	isOpen = false;
	/** Nothing is connected: SPI reads ones, I2C is not acknowledged. */
	isCut = false;
	transferCount = 0;
	readonly #random: Random;

	constructor(random: Random) {
		this.#random = random;
	}

	damage(bytes: Uint8Array, probability: number | undefined): void {
		if (probability === undefined) return;
		for (let i = 0; i < bytes.length; i++)
			if (this.#random.chance(probability)) bytes[i]! ^= 1 << this.#random.integer(0, 7);
	}

	/** Reports a mistake of the driver, unless the bus may have made it. */
	illegal(what: string): void {
		if (this.faults.toChip === undefined) throw new IllegalAccess(what);
	}
}

export class SpiBus extends Bus {
	#peer: SpiPeer | undefined;

	connect(peer: SpiPeer): void {
		this.#peer = peer;
	}

	get io(): new (
		options: SpiIoOptions,
	) => SpiIo {
		const bus = this;
		return class {
			constructor(options: SpiIoOptions) {
				const peer = bus.#peer;
				if (peer === undefined || !peer.modes.includes(options.mode) || options.hz > peer.hzMax)
					throw new IllegalAccess("SPI mode or speed");
				bus.isOpen = true;
			}
			transfer(bytes: Uint8Array): void {
				if (!bus.isOpen) throw new IllegalAccess("used after close");
				bus.transferCount++;
				if (bus.isCut) {
					bytes.fill(255);
					return;
				}
				bus.damage(bytes, bus.faults.toChip);
				bus.#peer!.transfer(bytes);
				bus.damage(bytes, bus.faults.toDriver);
			}
			close(): void {
				bus.isOpen = false;
			}
		};
	}
}

export class I2cBus extends Bus {
	#peer: I2cPeer | undefined;

	connect(peer: I2cPeer): void {
		this.#peer = peer;
	}

	get io(): new (
		options: I2cIoOptions,
	) => I2cIo {
		const bus = this;
		return class {
			constructor(options: I2cIoOptions) {
				const peer = bus.#peer;
				if (peer === undefined || options.address !== peer.address || options.hz > peer.hzMax)
					throw new IllegalAccess("I2C address or speed");
				bus.isOpen = true;
			}
			write(bytes: Uint8Array): void {
				this.#begin();
				const sent = bytes.slice();
				bus.damage(sent, bus.faults.toChip);
				bus.#peer!.write(sent);
			}
			read(into: Uint8Array): number {
				this.#begin();
				bus.#peer!.read(into);
				bus.damage(into, bus.faults.toDriver);
				return into.length;
			}
			close(): void {
				bus.isOpen = false;
			}
			#begin(): void {
				if (!bus.isOpen) throw new IllegalAccess("used after close");
				bus.transferCount++;
				if (bus.isCut || !bus.#peer!.isThere) throw new Error("no acknowledge");
			}
		};
	}
}
