/** Data types that the served clusters use. @see Zigbee Cluster Library, 2.6.2 */
export const ZclType = Object.freeze({
	boolean: 0x10,
	bitmap8: 0x18,
	bitmap16: 0x19,
	bitmap32: 0x1b,
	bitmap64: 0x1f,
	uint8: 0x20,
	uint16: 0x21,
	uint24: 0x22,
	uint32: 0x23,
	uint48: 0x25,
	int8: 0x28,
	int16: 0x29,
	int24: 0x2a,
	int32: 0x2b,
	enum8: 0x30,
	enum16: 0x31,
	octetString: 0x41,
	characterString: 0x42,
	utcTime: 0xe2,
} as const);

/** Bytes of a value; 0: none or variable (strings). */
export function typeBytes(type: number): number {
	if (type >= 0x08 && type <= 0x0f) return type - 0x07; // data8 to data64
	if (type === ZclType.boolean) return 1;
	if (type >= 0x18 && type <= 0x1f) return type - 0x17;
	if (type >= 0x20 && type <= 0x27) return type - 0x1f;
	if (type >= 0x28 && type <= 0x2f) return type - 0x27;
	switch (type) {
		case ZclType.enum8:
			return 1;
		case ZclType.enum16:
		case 0x38: // semi-precision
		case 0xe8: // cluster identifier
		case 0xe9: // attribute identifier
			return 2;
		case 0x39: // single precision
		case 0xe0: // time of day
		case 0xe1: // date
		case ZclType.utcTime:
		case 0xea: // BACnet identifier
			return 4;
		case 0x3a: // double precision
		case 0xf0: // EUI-64
			return 8;
		case 0xf1: // 128-bit key
			return 16;
		default:
			return 0;
	}
}

/** Strings, with a length of one byte in front. */
export function isString(type: number): boolean {
	return type === ZclType.octetString || type === ZclType.characterString;
}

/** Types whose reports have a reportable change. */
export function isAnalog(type: number): boolean {
	return (type >= 0x20 && type <= 0x2f) || (type >= 0x38 && type <= 0x3a) || (type >= 0xe0 && type <= 0xe2);
}

export function isSigned(type: number): boolean {
	return type >= 0x28 && type <= 0x2f;
}

/** Writes an integer of up to 8 bytes, little-endian; `value` fits. @returns the offset behind it */
export function writeInteger(into: Uint8Array, at: number, value: number, byteLength: number): number {
	// Two's complement of a negative number: 2^n - |value|, exact for up to 6 bytes.
	let rest = value < 0 ? value + 2 ** (8 * byteLength) : value;
	for (let i = 0; i < byteLength; i++) {
		const next = Math.floor(rest / 256);
		into[at + i] = rest - next * 256;
		rest = next;
	}
	return at + byteLength;
}

/** Reads an integer of up to 6 bytes, little-endian. */
export function readInteger(from: Uint8Array, at: number, byteLength: number, signed: boolean): number {
	let value = 0;
	for (let i = byteLength - 1; i >= 0; i--) value = value * 256 + from[at + i]!;
	return signed && from[at + byteLength - 1]! >= 0x80 ? value - 2 ** (8 * byteLength) : value;
}

/** The value brought into the range of an integer type, with the invalid value (all ones, most negative) left out. */
export function saturate(value: number, type: number): number {
	const bits = 8 * typeBytes(type);
	if (isSigned(type)) {
		const limit = 2 ** (bits - 1) - 1;
		return Math.max(-limit, Math.min(limit, value));
	}
	return Math.max(0, Math.min(2 ** bits - 2, value));
}
