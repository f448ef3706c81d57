/** Inputs of the board; the numbers are those of the board channel (docs/BOARD.md). */
export const Input = Object.freeze({
	/** 1: the meter's cover is open. */
	cover: 0,
	/** 1: the terminal cover is open. */
	terminalCover: 1,
	/** Magnetic flux density in microtesla. */
	magnet: 2,
	/** 1: pressed. */
	button: 3,
	/** 1: mains supply is failing; energy for one register commit remains. */
	supplyFail: 4,
} as const);
export type Input = (typeof Input)[keyof typeof Input];

/** Outputs of the board. */
export const Output = Object.freeze({
	/** 1: closed (customer connected). */
	relay: 0,
	/** Count of pulses since power-on, modulo 2^31; the host blinks the metrology LED. */
	pulseLed: 1,
	/** 1: lit. */
	statusLed: 2,
} as const);
export type Output = (typeof Output)[keyof typeof Output];

/** Digital inputs and outputs, as a host gives them. */
export interface Board {
	/** Why the processor started: `BootReason` of src/messages/hello.ts, from the reset cause of the chip. */
	bootReason(): number;
	/** Latest value of an input; changes also arrive as an event, see `Platform`. */
	input(which: Input): number;
	setOutput(which: Output, value: number): void;
	/** Orderly restart; does not return. */
	restart(): never;
}
