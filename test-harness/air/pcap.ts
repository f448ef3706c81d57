/** IEEE 802.15.4 with FCS (LINKTYPE_IEEE802_15_4_WITHFCS). */
const LINK_TYPE = 195;

/**
 * A capture in the classic pcap format, kept in memory: 24 bytes of header, then 16 bytes and the frame for each packet.
 * @see https://www.tcpdump.org/manpages/pcap-savefile.5.html
 */
export class PcapWriter {
	readonly #parts: Buffer[] = [];
	frameCount = 0;

	constructor() {
		const header = Buffer.alloc(24);
		header.writeUInt32LE(0xa1b2_c3d4, 0);
		header.writeUInt16LE(2, 4);
		header.writeUInt16LE(4, 6);
		header.writeUInt32LE(65_535, 16);
		header.writeUInt32LE(LINK_TYPE, 20);
		this.#parts.push(header);
	}

	add(nowMicroseconds: number, frame: Uint8Array): void {
		const header = Buffer.alloc(16);
		header.writeUInt32LE(Math.floor(nowMicroseconds / 1_000_000), 0);
		header.writeUInt32LE(nowMicroseconds % 1_000_000, 4);
		header.writeUInt32LE(frame.length, 8);
		header.writeUInt32LE(frame.length, 12);
		this.#parts.push(header, Buffer.from(frame));
		this.frameCount++;
	}

	/** The file so far. */
	bytes(): Buffer {
		return Buffer.concat(this.#parts);
	}

	/** What came since the last call, to append to a file. */
	take(): Buffer {
		const bytes = Buffer.concat(this.#parts);
		this.#parts.length = 0;
		return bytes;
	}
}
