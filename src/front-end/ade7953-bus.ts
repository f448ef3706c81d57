import { InvariantError, Status } from "../bytes/status.js";
import type { I2cIo, SpiIo } from "./io.js";

/** 7-bit address of every ADE7953. */
export const ADE7953_I2C_ADDRESS = 0x38;
const SPI_READ = 0x80;
const SPI_WRITE = 0x00;

/** Registers of the ADE7953 over SPI or I2C. A failure of the bus is `linkDown`, and `value` is then unused. */
export interface Ade7953Bus {
	/** What the last `read` gave, unsigned. */
	readonly value: number;
	read(register: number, byteLength: number): Status;
	write(register: number, byteLength: number, value: number): Status;
	close(): void;
}

function put(value: number, into: Uint8Array, at: number, byteLength: number): void {
	let rest = value;
	for (let i = at + byteLength - 1; i >= at; i--) {
		into[i] = rest & 255;
		rest = Math.floor(rest / 256);
	}
}

function get(from: Uint8Array, at: number, byteLength: number): number {
	let value = 0;
	for (let i = 0; i < byteLength; i++) value = value * 256 + from[at + i]!;
	return value;
}

/** A transfer: register (2), command (1), then 1 to 4 bytes, most significant first. Four chunks, one for each length. */
export class Ade7953Spi implements Ade7953Bus {
	value = 0;
	readonly #io: SpiIo;
	readonly #frames: readonly Uint8Array[] = [4, 5, 6, 7].map((byteLength) => new Uint8Array(byteLength));

	constructor(io: SpiIo) {
		this.#io = io;
	}

	read(register: number, byteLength: number): Status {
		const frame = this.#frame(register, SPI_READ, byteLength, 0);
		this.#io.transfer(frame);
		this.value = get(frame, 3, byteLength);
		return Status.ok;
	}

	write(register: number, byteLength: number, value: number): Status {
		this.#io.transfer(this.#frame(register, SPI_WRITE, byteLength, value));
		return Status.ok;
	}

	close(): void {
		this.#io.close();
	}

	#frame(register: number, command: number, byteLength: number, value: number): Uint8Array {
		const frame = this.#frames[byteLength - 1];
		if (frame === undefined) throw new InvariantError("ADE7953 register length");
		put(register, frame, 0, 2);
		frame[2] = command;
		put(value, frame, 3, byteLength);
		return frame;
	}
}

/** Written: register (2), 1 to 4 bytes. Read: register (2) without a stop, then 1 to 4 bytes. */
export class Ade7953I2c implements Ade7953Bus {
	value = 0;
	readonly #io: I2cIo;
	readonly #writes: readonly Uint8Array[] = [2, 3, 4, 5, 6].map((byteLength) => new Uint8Array(byteLength));
	readonly #reads: readonly Uint8Array[] = [1, 2, 3, 4].map((byteLength) => new Uint8Array(byteLength));

	constructor(io: I2cIo) {
		this.#io = io;
	}

	read(register: number, byteLength: number): Status {
		const address = this.#writes[0]!;
		const answer = this.#reads[byteLength - 1];
		if (answer === undefined) throw new InvariantError("ADE7953 register length");
		put(register, address, 0, 2);
		try {
			this.#io.write(address, false);
			this.#io.read(answer);
		} catch {
			return Status.linkDown; // ADE-1: no acknowledge
		}
		this.value = get(answer, 0, byteLength);
		return Status.ok;
	}

	write(register: number, byteLength: number, value: number): Status {
		const frame = this.#writes[byteLength];
		if (frame === undefined) throw new InvariantError("ADE7953 register length");
		put(register, frame, 0, 2);
		put(value, frame, 2, byteLength);
		try {
			this.#io.write(frame, true);
		} catch {
			return Status.linkDown; // ADE-1: no acknowledge
		}
		return Status.ok;
	}

	close(): void {
		this.#io.close();
	}
}
