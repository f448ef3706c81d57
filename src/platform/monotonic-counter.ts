import type { Status } from "../bytes/status.js";

/**
 * A count of the host's own that no power cut and nobody with access to the storage flash can set back: in a secure
 * element, in one-time bits. It is raised about as often as keys change, some hundred times a day.
 */
export interface MonotonicCounter {
	/** The largest number it was raised to; 0 on a new device; NaN when it cannot be read now. */
	value(): number;
	/**
	 * Durable when it returns. A number that is not larger changes nothing.
	 * @param target 1 to 2^32 - 1
	 */
	raiseTo(target: number): Status;
}
