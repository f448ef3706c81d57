/**
 * The host's own secret, 32 bytes, other on every device and never in the storage flash: out of a fuse block, or out of
 * a chip that computes it. It is asked for at each use and wiped, so that memory need not hold it.
 */
export interface DeviceKey {
	/** Writes 32 bytes. */
	copyTo(into: Uint8Array, offset: number): void;
}

export const DEVICE_KEY_BYTES = 32;
