/** What the tap tells about the packets that pass it. Byte arrays are valid during the call only. */
export interface TapEvents {
	/** A QoS 1 message of the meter; `isRepeat` when it carries the DUP flag. */
	published(topic: string, payload: Uint8Array, isRepeat: boolean): void;
	/** The broker took over one message that was published to a topic that ends in "/up". */
	upAcknowledged(): void;
	connected(): void;
}

const Packet = Object.freeze({
	connect: 1,
	connack: 2,
	publish: 3,
	puback: 4,
	subscribe: 8,
	suback: 9,
	unsubscribe: 10,
	unsuback: 11,
	pingreq: 12,
	pingresp: 13,
	disconnect: 14,
} as const);

const latin1 = new TextDecoder("latin1");

/**
 * Reads along on both directions of one MQTT connection, just enough to know which requests of the client still wait
 * for their answer: so virtual time can stand still until the network has done its work. Junk is passed by.
 */
export class MqttTap {
	readonly #events: TapEvents;
	/** Packet identifiers that wait for PUBACK: 1 when on an "/up" topic, else 0. */
	readonly #publishes = new Map<number, number>();
	#connects = 0;
	#subscribes = 0;
	#pings = 0;
	#version = 4;
	#ignored = 0;
	readonly #out = new PacketReader();
	readonly #in = new PacketReader();

	constructor(events: TapEvents) {
		this.#events = events;
	}

	/** Requests of the meter that the broker has not answered. */
	get outstanding(): number {
		const all = this.#connects + this.#subscribes + this.#pings + this.#publishes.size;
		if (all < this.#ignored) this.#ignored = all;
		return all - this.#ignored;
	}

	/** A peer that does not answer is not waited for again: what is outstanding now no longer counts. */
	ignoreOutstanding(): void {
		this.#ignored = this.#connects + this.#subscribes + this.#pings + this.#publishes.size;
	}

	reset(): void {
		this.#publishes.clear();
		this.#connects = 0;
		this.#subscribes = 0;
		this.#pings = 0;
		this.#ignored = 0;
		this.#out.reset();
		this.#in.reset();
	}

	/** Bytes from the meter to the broker. */
	outgoing(bytes: Uint8Array): void {
		this.#out.feed(bytes);
		while (this.#out.next()) {
			const { bytes: packet, start, end, flags } = this.#out;
			switch (this.#out.type) {
				case Packet.connect:
					this.#version = packet[start + 2 + packet[start + 1]!] ?? 4;
					this.#connects++;
					break;
				case Packet.publish:
					this.#publish(packet, start, end, flags);
					break;
				case Packet.subscribe:
				case Packet.unsubscribe:
					this.#subscribes++;
					break;
				case Packet.pingreq:
					this.#pings++;
					break;
				default:
					break;
			}
		}
	}

	/** Bytes from the broker to the meter. */
	incoming(bytes: Uint8Array): void {
		this.#in.feed(bytes);
		while (this.#in.next()) {
			switch (this.#in.type) {
				case Packet.connack:
					this.#connects = 0;
					this.#events.connected();
					break;
				case Packet.puback: {
					const identifier = this.#in.bytes[this.#in.start]! * 256 + this.#in.bytes[this.#in.start + 1]!;
					const isUp = this.#publishes.get(identifier);
					if (isUp === undefined) break;
					this.#publishes.delete(identifier);
					if (isUp === 1) this.#events.upAcknowledged();
					break;
				}
				case Packet.suback:
				case Packet.unsuback:
					this.#subscribes = Math.max(0, this.#subscribes - 1);
					break;
				case Packet.pingresp:
					this.#pings = 0;
					break;
				default:
					break;
			}
		}
	}

	#publish(packet: Uint8Array, start: number, end: number, flags: number): void {
		const topicLength = packet[start]! * 256 + packet[start + 1]!;
		let at = start + 2 + topicLength;
		const qos = (flags >> 1) & 3;
		const topic = latin1.decode(packet.subarray(start + 2, at));
		if (qos > 0) {
			const identifier = packet[at]! * 256 + packet[at + 1]!;
			at += 2;
			this.#publishes.set(identifier, topic.endsWith("/up") ? 1 : 0);
		}
		if (this.#version === 5) {
			let length = 0;
			let shift = 0;
			let byte: number;
			do {
				byte = packet[at++]!;
				length += (byte & 0x7f) << shift;
				shift += 7;
			} while (byte >= 0x80 && shift < 28);
			at += length;
		}
		if (at <= end) this.#events.published(topic, packet.subarray(at, end), (flags & 8) !== 0);
	}
}

/** Cuts a stream into MQTT packets; a packet inside one piece is not copied. */
class PacketReader {
	bytes = new Uint8Array(0);
	type = 0;
	flags = 0;
	/** Variable header and payload. */
	start = 0;
	end = 0;
	#at = 0;

	reset(): void {
		this.bytes = new Uint8Array(0);
		this.#at = 0;
	}

	feed(piece: Uint8Array): void {
		const rest = this.bytes.length - this.#at;
		if (rest === 0) {
			this.bytes = piece as Uint8Array<ArrayBuffer>;
		} else {
			const joined = new Uint8Array(rest + piece.length);
			joined.set(this.bytes.subarray(this.#at));
			joined.set(piece, rest);
			this.bytes = joined;
		}
		this.#at = 0;
	}

	/** @returns true when `type`, `flags`, `start`, `end` describe the next whole packet */
	next(): boolean {
		let at = this.#at + 1;
		let length = 0;
		for (let shift = 0; shift < 28; shift += 7) {
			if (at >= this.bytes.length) return this.#keep();
			const byte = this.bytes[at++]!;
			length += (byte & 0x7f) * 2 ** shift;
			if (byte < 0x80) break;
		}
		if (at + length > this.bytes.length) return this.#keep();
		const first = this.bytes[this.#at]!;
		this.type = first >> 4;
		this.flags = first & 15;
		this.start = at;
		this.end = at + length;
		this.#at = this.end;
		return true;
	}

	/** The caller's piece is valid during its call only: what is left of it is copied. */
	#keep(): false {
		if (this.#at > 0 || this.bytes.length > 0) {
			this.bytes = Uint8Array.from(this.bytes.subarray(this.#at)); // `slice` of a Buffer would not copy
			this.#at = 0;
		}
		return false;
	}
}
