const CRC32_TABLE = Int32Array.from({ length: 16 }, (_, i) => {
	let crc = i;
	for (let bit = 0; bit < 4; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
	return crc;
});

/**
 * CRC-32 (IEEE 802.3, reflected, polynomial 0x04C11DB7), a nibble at a time: 64 bytes of table.
 * @param bytes at least `start + byteLength` bytes
 * @param previous result for the bytes before, to continue; 0 to begin
 * @returns 0 to 2^32 - 1
 * @see ITU-T V.42 section 8.1.1.6.2; check value for "123456789" is 0xCBF43926
 */
export function crc32(bytes: Uint8Array, start: number, byteLength: number, previous = 0): number {
	const table = CRC32_TABLE;
	let crc = ~previous;
	const end = start + byteLength;
	// Signed on the way: XS keeps 32 bits in an integer, and makes a double of anything from 2^31 on.
	for (let i = start; i < end; i++) {
		crc ^= bytes[i]!;
		crc = ((crc >> 4) & 0x0fff_ffff) ^ table[crc & 15]!;
		crc = ((crc >> 4) & 0x0fff_ffff) ^ table[crc & 15]!;
	}
	return ~crc >>> 0;
}
