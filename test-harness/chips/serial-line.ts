import type { SerialIo, SerialIoOptions } from "../../src/front-end/io.js";
import type { Random } from "../waveforms/random.js";
import type { Device } from "./bench.js";
import { IllegalAccess } from "./illegal-access.js";

/** Damage done to bytes on their way, each with its probability for one byte. */
export interface LineFaults {
	readonly drop?: number;
	readonly flip?: number;
	/** A byte of noise before this one. */
	readonly insert?: number;
	/** Bytes to the chip are damaged too; the chip then drops what it would else report as our mistake. */
	readonly bothWays?: boolean;
}

/** The other end: a chip. */
export interface SerialPeer {
	readonly baud: number;
	readonly parity: "none" | "even";
	/** One byte from the driver, wholly received at this time. */
	receive(byte: number, nowMilliseconds: number): void;
}

/**
 * A UART between driver and chip in virtual time: each byte takes its bits, in both directions; a receiver wakes its
 * driver when a burst is over (a UART's FIFO with its time-out), or 16 bytes are in. Faults come from a seed.
 */
export class SerialLine implements Device {
	faults: LineFaults = {};
	isCut = false;
	/** Bytes that went either way. */
	toChipCount = 0;
	toDriverCount = 0;
	#random: Random;
	#peer: SerialPeer | undefined;
	#millisecondsPerByte = 0;
	#options: SerialIoOptions | undefined;
	readonly #toChip: { at: number; byte: number }[] = [];
	readonly #toDriver: { at: number; byte: number }[] = [];
	readonly #fifo: number[] = [];
	#chipFree = 0;
	#driverFree = 0;
	#nowMilliseconds = 0;
	#isOpen = false;

	constructor(random: Random) {
		this.#random = random;
	}

	connect(peer: SerialPeer): void {
		this.#peer = peer;
		this.#millisecondsPerByte = ((peer.parity === "even" ? 11 : 10) * 1000) / peer.baud;
	}

	/** Reports a mistake of the driver, unless the line may have made it. */
	illegal(what: string): void {
		if (this.faults.bothWays !== true) throw new IllegalAccess(what);
	}

	get isOpen(): boolean {
		return this.#isOpen;
	}

	/** The class to give to a driver as `io`. */
	get io(): new (
		options: SerialIoOptions,
	) => SerialIo {
		const line = this;
		return class {
			constructor(options: SerialIoOptions) {
				line.#open(options);
			}
			read(into: Uint8Array): number {
				const count = Math.min(into.length, line.#fifo.length);
				for (let i = 0; i < count; i++) into[i] = line.#fifo[i]!;
				line.#fifo.splice(0, count);
				return count;
			}
			write(bytes: Uint8Array): void {
				line.#fromDriver(bytes);
			}
			close(): void {
				line.#isOpen = false;
			}
		};
	}

	/** The chip sends; its first byte begins now, or when the last one has left. */
	send(bytes: Uint8Array | readonly number[], nowMilliseconds: number): void {
		this.#chipFree = Math.max(this.#chipFree, nowMilliseconds);
		for (const byte of bytes) {
			if (this.faults.insert !== undefined && this.#random.chance(this.faults.insert))
				this.#queue(this.#random.integer(0, 255));
			if (this.faults.drop !== undefined && this.#random.chance(this.faults.drop)) {
				this.#chipFree += this.#millisecondsPerByte;
				continue;
			}
			const isFlipped = this.faults.flip !== undefined && this.#random.chance(this.faults.flip);
			this.#queue(isFlipped ? byte ^ (1 << this.#random.integer(0, 7)) : byte);
		}
	}

	advance(nowMilliseconds: number): void {
		this.#nowMilliseconds = nowMilliseconds;
		while (this.#toChip.length > 0 && this.#toChip[0]!.at <= nowMilliseconds) {
			const { byte, at } = this.#toChip.shift()!;
			this.#peer?.receive(byte, at);
		}
		let count = 0;
		while (count < this.#toDriver.length && this.#toDriver[count]!.at <= nowMilliseconds) count++;
		if (count === 0) return;
		for (const { byte } of this.#toDriver.splice(0, count)) this.#fifo.push(byte);
		this.toDriverCount += count;
		if (this.#isOpen) this.#options?.onReadable();
		else this.#fifo.length = 0;
	}

	deadlineMilliseconds(): number {
		const chip =
			this.#toChip.length > 0 ? this.#toChip[Math.min(15, this.#toChip.length - 1)]!.at : Number.POSITIVE_INFINITY;
		if (this.#toDriver.length === 0) return chip;
		let last = 0;
		while (
			last < 15 &&
			last + 1 < this.#toDriver.length &&
			this.#toDriver[last + 1]!.at - this.#toDriver[last]!.at < 2 * this.#millisecondsPerByte
		)
			last++;
		return Math.min(chip, this.#toDriver[last]!.at);
	}

	#open(options: SerialIoOptions): void {
		const peer = this.#peer;
		if (peer === undefined) throw new Error("no chip on this line");
		if (options.baud !== peer.baud || options.parity !== peer.parity)
			throw new IllegalAccess(`the chip has ${peer.baud} baud, parity ${peer.parity}`);
		this.#options = options;
		this.#isOpen = true;
	}

	#queue(byte: number): void {
		this.#chipFree += this.#millisecondsPerByte;
		if (!this.isCut) this.#toDriver.push({ at: this.#chipFree, byte });
	}

	#fromDriver(bytes: Uint8Array): void {
		if (!this.#isOpen) throw new IllegalAccess("written after close");
		this.#driverFree = Math.max(this.#driverFree, this.#nowMilliseconds);
		for (const byte of bytes) {
			this.#driverFree += this.#millisecondsPerByte;
			this.toChipCount++;
			if (this.isCut) continue;
			const faults = this.faults.bothWays === true ? this.faults : {};
			if (faults.drop !== undefined && this.#random.chance(faults.drop)) continue;
			const isFlipped = faults.flip !== undefined && this.#random.chance(faults.flip);
			this.#toChip.push({ at: this.#driverFree, byte: isFlipped ? byte ^ (1 << this.#random.integer(0, 7)) : byte });
		}
	}
}
