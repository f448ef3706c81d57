import { type OutgoingPacket, type PacketSink, packetLibrary } from "./packet-library.js";
import { encodeUtf8 } from "./utf8.js";

/**
 * Encodes one packet with `mqtt-packet` straight into a given stretch of bytes, without the list of pieces and the
 * copy that `mqtt-packet`'s own `generate` makes.
 */
export class PacketWriter implements PacketSink {
	#into: Uint8Array | undefined;
	#offset = 0;
	#limit = 0;
	#failed = false;
	readonly #settings: { readonly protocolVersion: 4 | 5 };

	constructor(protocolVersion: 4 | 5) {
		this.#settings = { protocolVersion };
	}

	/** @returns the packet's bytes, or 0 when it does not fit between `offset` and `limit` or is not a valid packet */
	encode(packet: OutgoingPacket, into: Uint8Array, offset: number, limit: number): number {
		this.#into = into;
		this.#offset = offset;
		this.#limit = limit;
		this.#failed = false;
		try {
			packetLibrary.writeToStream(packet, this, this.#settings);
		} catch {
			this.#failed = true; // answered with 0: the caller knows whether that is a bug
		}
		this.#into = undefined;
		return this.#failed ? 0 : this.#offset - offset;
	}

	/** Called by `mqtt-packet`. */
	write(piece: string | Uint8Array): boolean {
		if (this.#failed || this.#into === undefined) return false;
		if (typeof piece === "string") {
			const end = encodeUtf8(piece, this.#into, this.#offset, this.#limit);
			if (end < 0) this.#failed = true;
			else this.#offset = end;
		} else if (this.#offset + piece.length > this.#limit) this.#failed = true;
		else {
			this.#into.set(piece, this.#offset);
			this.#offset += piece.length;
		}
		return !this.#failed;
	}

	/** Called by `mqtt-packet` for a packet it cannot encode. */
	destroy(): void {
		this.#failed = true;
	}
}
