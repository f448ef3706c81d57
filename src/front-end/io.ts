/**
 * The IO classes that a host injects: the parts of ECMA-419 (second edition, clauses 9 and 10) that the drivers use.
 * A host hands over its class and the pins in `sensor`; the driver adds what the chip demands (baud, mode, address).
 */

/** Serial (UART). `format` is "buffer". */
export interface SerialIo {
	/** Takes what was received, at most `into.byteLength`. @returns bytes taken; 0 or undefined: none */
	read(into: Uint8Array): number | undefined;
	/** All of it; the drivers never write more than 16 bytes at once. */
	write(bytes: Uint8Array): void;
	close(): void;
}

/** What a driver adds to the pins of its `sensor` when it makes the Serial instance. */
export interface SerialIoOptions {
	readonly baud: number;
	/** ECMA-419 names no parity: a provider without it cannot serve the CSE7766 (see docs/DESIGN-FRONT-ENDS.md). */
	readonly parity: "none" | "even";
	readonly stop: 1 | 2;
	readonly format: "buffer";
	readonly onReadable: () => void;
}

/** SPI: the select pin is active during one `transfer`. */
export interface SpiIo {
	/** Sends the bytes and puts what came back in their place. */
	transfer(bytes: Uint8Array): void;
	close(): void;
}

export interface SpiIoOptions {
	readonly hz: number;
	readonly mode: 0 | 1 | 2 | 3;
	readonly format: "buffer";
}

/** I2C. Both throw when the chip does not answer, as ECMA-419 has it; the drivers turn that into `linkDown`. */
export interface I2cIo {
	write(bytes: Uint8Array, stop?: boolean): void;
	read(into: Uint8Array): number | undefined;
	close(): void;
}

export interface I2cIoOptions {
	readonly hz: number;
	readonly address: number;
	readonly format: "buffer";
}

/** PulseCount. */
export interface PulseCountIo {
	/** Pulses since it was made; a whole number that may wrap at 2^16 or 2^32 (see the driver's option). */
	read(): number;
	close(): void;
}

export interface PulseCountIoOptions {
	readonly format: "number";
}

/** Digital output. */
export interface DigitalIo {
	write(value: 0 | 1): void;
	close(): void;
}

/** An injected IO class; `Options` are what the driver adds, the pins of `sensor` come before them. */
export type IoClass<Io, Options> = new (options: Options) => Io;

/** How a sensor is told its IO: the class and whatever its constructor needs (pins, port). */
export type Sensor<Io, Options> = { readonly io: IoClass<Io, Options> } & Readonly<Record<string, unknown>>;

/** Makes the IO instance: pins of `sensor`, then what the chip demands. */
export function openIo<Io, Options>(sensor: Sensor<Io, Options>, options: Options): Io {
	return new sensor.io({ ...sensor, ...options });
}
