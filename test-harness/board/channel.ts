/** Frames of the board channel; docs/BOARD.md says what each means. */

export const PROTOCOL_VERSION = 2;
export const HEADER_BYTES = 12;
export const PAYLOAD_BYTES_MAX = 1_048_576;
/** The meter field of frames that concern all. */
export const EVERY_METER = 0xffff_ffff;

/** Board to target. */
export const ToTarget = Object.freeze({
	powerOn: 1,
	flashLoad: 2,
	advance: 3,
	samples: 4,
	linkEvent: 5,
	linkData: 6,
	input: 7,
	powerCut: 8,
	query: 9,
	samplesLost: 10,
	shutdown: 11,
	opticalData: 12,
} as const);

/** Target to board. */
export const ToBoard = Object.freeze({
	ready: 64,
	done: 65,
	linkOpen: 66,
	linkSend: 67,
	linkClose: 68,
	flashProgram: 69,
	flashErase: 70,
	output: 71,
	log: 72,
	aborted: 73,
	statistics: 74,
	poweredOff: 75,
	clockSet: 76,
	opticalSend: 77,
} as const);

/** Whole frames, one after the other, in one buffer that the stream may keep. */
export class FrameWriter {
	#bytes = Buffer.allocUnsafe(65_536);
	#length = 0;
	#payloadEnd = 0;

	/** Bytes not yet taken. */
	get byteLength(): number {
		return this.#length;
	}

	/** Begins a frame of exactly `payloadLength` bytes; the `u8` … `bytes` calls that follow fill it. */
	begin(meter: number, kind: number, payloadLength: number): this {
		if (payloadLength > PAYLOAD_BYTES_MAX) throw new RangeError(`frame of ${payloadLength} bytes`);
		if (this.#length !== this.#payloadEnd) throw new Error("the frame before is not complete");
		const needed = this.#length + HEADER_BYTES + payloadLength;
		if (needed > this.#bytes.length) {
			const longer = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
			this.#bytes.copy(longer, 0, 0, this.#length);
			this.#bytes = longer;
		}
		const at = this.#length;
		this.#bytes.writeUInt32LE(payloadLength, at);
		this.#bytes.writeUInt32LE(meter, at + 4);
		this.#bytes.writeUInt32LE(kind, at + 8);
		this.#length = at + HEADER_BYTES;
		this.#payloadEnd = needed;
		return this;
	}

	u8(value: number): this {
		this.#bytes[this.#length++] = value;
		return this;
	}

	u32(value: number): this {
		this.#length = this.#bytes.writeUInt32LE(value, this.#length);
		return this;
	}

	i32(value: number): this {
		this.#length = this.#bytes.writeInt32LE(value, this.#length);
		return this;
	}

	f64(value: number): this {
		this.#length = this.#bytes.writeDoubleLE(value, this.#length);
		return this;
	}

	bytes(value: Uint8Array): this {
		this.#bytes.set(value, this.#length);
		this.#length += value.length;
		return this;
	}

	/** All frames so far; the writer goes on with another buffer. */
	take(): Buffer {
		if (this.#length !== this.#payloadEnd) throw new Error("the last frame is not complete");
		const taken = this.#bytes.subarray(0, this.#length);
		this.#bytes = Buffer.allocUnsafe(65_536);
		this.#length = 0;
		this.#payloadEnd = 0;
		return taken;
	}
}

/** @param payload valid during the call only */
export type FrameHandler = (meter: number, kind: number, payload: Buffer) => void;

/** Cuts a byte stream into frames. */
export class FrameReader {
	readonly #handler: FrameHandler;
	#rest: Buffer = Buffer.alloc(0);

	constructor(handler: FrameHandler) {
		this.#handler = handler;
	}

	/** Takes the next bytes of the stream. Throws a RangeError when they cannot be frames. */
	push(chunk: Buffer): void {
		const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
		let at = 0;
		while (bytes.length - at >= HEADER_BYTES) {
			const payloadLength = bytes.readUInt32LE(at);
			if (payloadLength > PAYLOAD_BYTES_MAX) throw new RangeError(`frame of ${payloadLength} bytes`);
			if (bytes.readUInt32LE(at + 8) >>> 8 !== 0) throw new RangeError("reserved bytes are not zero");
			const end = at + HEADER_BYTES + payloadLength;
			if (end > bytes.length) break;
			this.#handler(bytes.readUInt32LE(at + 4), bytes[at + 8]!, bytes.subarray(at + HEADER_BYTES, end));
			at = end;
		}
		this.#rest = at === bytes.length ? Buffer.alloc(0) : bytes.subarray(at);
	}

	/** Bytes of a frame that has only begun. */
	get pendingBytes(): number {
		return this.#rest.length;
	}
}
