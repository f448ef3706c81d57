import type { Status } from "../bytes/status.js";

/**
 * Raw NOR flash: erase sets a sector to ones, program only clears bits. A power cut leaves any part of the running
 * operation done (torn page, half-erased sector); nothing else changes. Addresses count from the storage partition.
 */
export interface NorFlash {
	/** Bytes of one erase sector, a power of two, usually 4096. */
	readonly sectorBytes: number;
	readonly sectorCount: number;
	/** Copies `byteLength` bytes from `address` to the start of `into`. */
	read(address: number, into: Uint8Array, byteLength: number): Status;
	/** Clears bits: the result is old AND new. The call returns when the bytes are in flash. */
	program(address: number, from: Uint8Array, byteLength: number): Status;
	/** Sets the sector to 0xFF. Takes tens of milliseconds on a real chip. */
	erase(sectorIndex: number): Status;
}
