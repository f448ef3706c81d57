import type { DeviceFile } from "../../src/provisioning/device-file.js";

/** A meter as the head end knows it; nothing secret. */
export interface RegistryEntry {
	/** 16 hexadecimal digits. */
	readonly id: string;
	readonly domain: number;
	readonly shortAddress: number;
	/** Of the newest keys that were made for it. */
	readonly generation: number;
	/** Of the keys that it is known to have; 0: of none yet. */
	readonly confirmedGeneration: number;
	readonly isDecommissioned: boolean;
}

/**
 * What provisioning needs of the head end: who alone makes keys, and alone may let a meter take or forget them. Whatever
 * changes is durable when a method returns. Failures are `UserError`s of one line.
 */
export interface KeyAuthority {
	list(): readonly RegistryEntry[];
	/** Keys for a new meter, or the next generation for one that was decommissioned. Fills `into`; the caller wipes it. */
	add(meter: { id: string; domain: number; shortAddress: number; epoch: number }, into: DeviceFile): void;
	/** The newest keys again, for a device file that got lost; refused once the meter is known to have them. */
	again(id: string, into: DeviceFile): void;
	/** The next generation of keys, from day `epoch` on. Fills `into`; the caller wipes it. */
	renew(id: string, epoch: number, into: DeviceFile): void;
	/**
	 * Seals a COMMAND of the end-to-end branch.
	 * @param generation of the keys that the meter has now
	 * @param epoch the day that the meter stands at
	 * @param message without prefix; it may be obeyed the whole day
	 */
	authorise(id: string, generation: number, epoch: number, message: Uint8Array): Uint8Array;
	/**
	 * Opens a message that the meter sealed under the end-to-end branch of these keys.
	 * @returns the content, prefix first; undefined when it is not of these keys
	 */
	open(id: string, generation: number, sealed: Uint8Array): Uint8Array | undefined;
	/** The meter is known to have the keys of this generation. */
	confirm(id: string, generation: number): void;
	/** The meter has forgotten its keys, or is to be treated so: nothing of it is believed from now on. */
	decommission(id: string): void;
	/** ANCHOR of a day, for a meter that has been without network; undefined: not today or later. */
	anchor(epoch: number): Uint8Array | undefined;
	close(): void;
}
