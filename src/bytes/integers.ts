/**
 * Integers wider than 32 bits as plain numbers, exact to 2^53, big-endian on the wire and in flash.
 * XS has no cheap BigInt; two 16/32-bit accesses cost 6 field reads.
 */

/** Reads 6 bytes, 0 to 2^48 - 1. */
export function getUint48(view: DataView, offset: number): number {
	return view.getUint16(offset) * 0x1_0000_0000 + view.getUint32(offset + 2);
}

/** Writes 6 bytes; `value` is an integer, 0 to 2^48 - 1. */
export function setUint48(view: DataView, offset: number, value: number): void {
	const high = Math.floor(value / 0x1_0000_0000);
	view.setUint16(offset, high);
	view.setUint32(offset + 2, value - high * 0x1_0000_0000);
}

/** Reads 8 bytes that hold an integer, 0 to 2^53 - 1; more gives NaN (flash or wire damage). */
export function getUint53(view: DataView, offset: number): number {
	const high = view.getUint32(offset);
	if (high > 0x1f_ffff) return Number.NaN;
	return high * 0x1_0000_0000 + view.getUint32(offset + 4);
}

/** Writes 8 bytes; `value` is an integer, 0 to 2^53 - 1. */
export function setUint53(view: DataView, offset: number, value: number): void {
	const high = Math.floor(value / 0x1_0000_0000);
	view.setUint32(offset, high);
	view.setUint32(offset + 4, value - high * 0x1_0000_0000);
}

/** Reads 6 bytes, two's complement, -2^47 to 2^47 - 1. */
export function getInt48(view: DataView, offset: number): number {
	return view.getInt16(offset) * 0x1_0000_0000 + view.getUint32(offset + 2);
}

/** Writes 6 bytes; `value` is an integer, -2^47 to 2^47 - 1. */
export function setInt48(view: DataView, offset: number, value: number): void {
	const high = Math.floor(value / 0x1_0000_0000);
	view.setInt16(offset, high);
	view.setUint32(offset + 2, value - high * 0x1_0000_0000);
}
