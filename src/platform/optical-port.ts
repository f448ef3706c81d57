/** The optical port of the case (IEC 62056-21, physical layer): a serial line for whoever stands in front of the meter. */
export interface OpticalPort {
	/** Queues bytes; they are copied. @returns bytes taken; what the line does not take is dropped */
	send(bytes: Uint8Array, byteLength: number): number;
}

export interface OpticalPortEvents {
	/** `bytes` is valid only during the call. */
	opticalReceived(bytes: Uint8Array, byteLength: number): void;
}
