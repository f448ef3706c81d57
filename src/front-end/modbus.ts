/**
 * CRC-16 of Modbus RTU (reflected, polynomial 0x8005, begins at 0xFFFF), bit by bit: frames are 25 bytes at most.
 * @returns 0 to 65535; on the wire the low byte comes first
 * @see Modbus over Serial Line V1.02, section 2.5.1.2; check value for "123456789" is 0x4B37
 */
export function modbusCrc(bytes: Uint8Array, byteLength: number): number {
	let crc = 0xffff;
	for (let i = 0; i < byteLength; i++) {
		crc ^= bytes[i]!;
		for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >> 1) ^ 0xa001 : crc >> 1;
	}
	return crc;
}

/** Puts the check behind `byteLength` bytes. @returns bytes of the frame */
export function sealModbus(bytes: Uint8Array, byteLength: number): number {
	const crc = modbusCrc(bytes, byteLength);
	bytes[byteLength] = crc & 255;
	bytes[byteLength + 1] = crc >> 8;
	return byteLength + 2;
}
