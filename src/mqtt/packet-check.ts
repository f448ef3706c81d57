import { Status } from "../bytes/status.js";
import { isMqttText } from "./utf8.js";

/** Packet types, the high nibble of the first byte. */
export const PacketType = Object.freeze({
	connack: 2,
	publish: 3,
	puback: 4,
	suback: 9,
	pingresp: 13,
	disconnect: 14,
} as const);

/** Shapes of MQTT 5 properties: MQTT 5.0 section 2.2.2.2, table 2-4. */
const Shape = Object.freeze({
	none: 0,
	boolean: 1,
	uint16: 3,
	uint32: 4,
	variable: 5,
	text: 6,
	binary: 7,
	pair: 8,
	topicName: 9,
} as const);

/** A property may stand in these packets from a server; others are never sent to a client. */
const CONNACK = 1;
const PUBLISH = 2;
const ACK = 4; // PUBACK, SUBACK
const DISCONNECT = 8;
const NOT_ZERO = 16;
/** A value is well-formed, but no packet to this client may have it. */
const NEVER = 0;

/**
 * The MQTT 5 properties: index is the identifier, low nibble of the entry the shape, high bits where it is allowed.
 * | identifier | property | shape | from a server in |
 * |-----------:|----------|-------|------------------|
 * | 0x01 | payloadFormatIndicator | byte, 0 or 1 | PUBLISH |
 * | 0x02 | messageExpiryInterval | uint32 | PUBLISH |
 * | 0x03 | contentType | text | PUBLISH |
 * | 0x08 | responseTopic | topic name | PUBLISH |
 * | 0x09 | correlationData | binary | PUBLISH |
 * | 0x0b | subscriptionIdentifier | variable, not 0 | PUBLISH |
 * | 0x11 | sessionExpiryInterval | uint32 | CONNACK |
 * | 0x12 | assignedClientIdentifier | text | never: this client always names itself |
 * | 0x13 | serverKeepAlive | uint16 | CONNACK |
 * | 0x15, 0x16 | authenticationMethod, authenticationData | text, binary | CONNACK |
 * | 0x17 | requestProblemInformation | byte | never |
 * | 0x18 | willDelayInterval | uint32 | never |
 * | 0x19 | requestResponseInformation | byte | never |
 * | 0x1a | responseInformation | text | CONNACK |
 * | 0x1c | serverReference | text | CONNACK, DISCONNECT |
 * | 0x1f | reasonString | text | CONNACK, PUBACK, SUBACK, DISCONNECT |
 * | 0x21 | receiveMaximum | uint16, not 0 | CONNACK |
 * | 0x22 | topicAliasMaximum | uint16 | CONNACK |
 * | 0x23 | topicAlias | uint16 | PUBLISH, but refused: this client allows none |
 * | 0x24 | maximumQoS | byte, 0 or 1 | CONNACK |
 * | 0x25 | retainAvailable | byte, 0 or 1 | CONNACK |
 * | 0x26 | userProperty | pair of texts, any number | all |
 * | 0x27 | maximumPacketSize | uint32, not 0 | CONNACK |
 * | 0x28, 0x29, 0x2a | wildcardSubscription-, subscriptionIdentifiers-, sharedSubscriptionAvailable | byte, 0 or 1 | CONNACK |
 */
const PROPERTIES: readonly number[] = Object.freeze(
	((): number[] => {
		const table = new Array<number>(0x2b).fill(0);
		const set = (identifier: number, shape: number, where: number): void => {
			table[identifier] = shape | (where << 4);
		};
		set(0x01, Shape.boolean, PUBLISH);
		set(0x02, Shape.uint32, PUBLISH);
		set(0x03, Shape.text, PUBLISH);
		set(0x08, Shape.topicName, PUBLISH);
		set(0x09, Shape.binary, PUBLISH);
		set(0x0b, Shape.variable, PUBLISH | NOT_ZERO);
		set(0x11, Shape.uint32, CONNACK);
		set(0x12, Shape.text, NEVER);
		set(0x13, Shape.uint16, CONNACK);
		set(0x15, Shape.text, CONNACK);
		set(0x16, Shape.binary, CONNACK);
		set(0x17, Shape.boolean, NEVER);
		set(0x18, Shape.uint32, NEVER);
		set(0x19, Shape.boolean, NEVER);
		set(0x1a, Shape.text, CONNACK);
		set(0x1c, Shape.text, CONNACK | DISCONNECT);
		set(0x1f, Shape.text, CONNACK | ACK | DISCONNECT);
		set(0x21, Shape.uint16, CONNACK | NOT_ZERO);
		set(0x22, Shape.uint16, CONNACK);
		set(0x23, Shape.uint16, PUBLISH);
		set(0x24, Shape.boolean, CONNACK);
		set(0x25, Shape.boolean, CONNACK);
		set(0x26, Shape.pair, CONNACK | PUBLISH | ACK | DISCONNECT);
		set(0x27, Shape.uint32, CONNACK | NOT_ZERO);
		set(0x28, Shape.boolean, CONNACK);
		set(0x29, Shape.boolean, CONNACK);
		set(0x2a, Shape.boolean, CONNACK);
		return table;
	})(),
);
const USER_PROPERTY = 0x26;
const TOPIC_ALIAS = 0x23;

/**
 * Checks one whole packet from a server before `mqtt-packet` sees it. That parser takes property identifiers twice or
 * in the wrong packet, packet identifier 0, texts that are not UTF-8 and lengths that run past the packet: 252 of the
 * 408 shared packets that are refused here. What passes here it parses, or refuses for a reason code it does not know.
 *
 * Answers: `ok`; `corrupt` for a malformed packet (reason code 0x81); `protocolError` (0x82) for a well-formed one that
 * the standard forbids; `badValue` for a topic alias (0x94); `unsupported` for QoS 2, AUTH and UNSUBACK, which this
 * client never asks for.
 */
export class PacketCheck {
	#bytes: Uint8Array;
	#at = 0;
	#end = 0;

	/** @param bytes the buffer that holds the packet at each later `check` */
	constructor(bytes: Uint8Array) {
		this.#bytes = bytes;
	}

	/**
	 * @param headerBytes size of the fixed header (first byte and remaining length, 2 to 5)
	 * @param byteLength size of the whole packet
	 */
	check(headerBytes: number, byteLength: number, protocolVersion: 4 | 5): Status {
		const bytes = this.#bytes;
		const type = bytes[0]! >> 4;
		const flags = bytes[0]! & 0x0f;
		const isVersion5 = protocolVersion === 5;
		this.#at = headerBytes;
		this.#end = byteLength;
		const size = byteLength - headerBytes;
		if (type !== PacketType.publish && flags !== (type === 6 ? 2 : 0)) return Status.corrupt; // MQTT-1: [MQTT-2.2.2-2]
		switch (type) {
			case PacketType.connack: {
				if (size < 2 || (!isVersion5 && size !== 2)) return Status.corrupt; // MQTT-2
				const sessionPresent = bytes[headerBytes]!;
				const code = bytes[headerBytes + 1]!;
				if (sessionPresent > 1) return Status.corrupt; // MQTT-3: [MQTT-3.2.2-1]
				if (sessionPresent === 1 && code !== 0) return Status.protocolError; // MQTT-4: [MQTT-3.2.2-4]
				this.#at += 2;
				return isVersion5 ? this.#properties(CONNACK, true) : Status.ok;
			}
			case PacketType.publish: {
				const qos = (flags >> 1) & 3;
				if (qos === 3) return Status.corrupt; // MQTT-5: [MQTT-3.3.1-4]
				if (size < 2) return Status.corrupt;
				const topicFrom = headerBytes + 2;
				const topicEnd = topicFrom + ((bytes[headerBytes]! << 8) | bytes[headerBytes + 1]!);
				if (topicEnd + (qos > 0 ? 2 : 0) > byteLength) return Status.corrupt; // MQTT-6
				if (!isMqttText(bytes, topicFrom, topicEnd, true)) return Status.corrupt; // MQTT-7: [MQTT-3.3.2-1], -2
				this.#at = topicEnd;
				if (qos > 0) {
					if (bytes[topicEnd] === 0 && bytes[topicEnd + 1] === 0) return Status.protocolError; // MQTT-8: [MQTT-2.2.1-3]
					this.#at += 2;
				}
				if (isVersion5) {
					const status = this.#properties(PUBLISH, false);
					if (status !== Status.ok) return status;
				}
				if (topicEnd === topicFrom) return Status.protocolError; // MQTT-9: empty topic, and no alias is allowed
				return qos === 2 ? Status.unsupported : Status.ok; // MQTT-10: no subscription asks for QoS 2
			}
			case PacketType.puback: {
				if (size < 2 || (!isVersion5 && size !== 2)) return Status.corrupt;
				if (bytes[headerBytes] === 0 && bytes[headerBytes + 1] === 0) return Status.protocolError;
				this.#at += 3;
				return size > 3 ? this.#properties(ACK, true) : Status.ok;
			}
			case PacketType.suback: {
				if (size < 3) return Status.corrupt;
				if (bytes[headerBytes] === 0 && bytes[headerBytes + 1] === 0) return Status.protocolError;
				this.#at += 2;
				if (isVersion5) {
					const status = this.#properties(ACK, false);
					if (status !== Status.ok) return status;
				}
				return this.#end - this.#at === 1 ? Status.ok : Status.protocolError; // MQTT-11: one topic filter was asked for
			}
			case PacketType.pingresp:
				return size === 0 ? Status.ok : Status.corrupt;
			case PacketType.disconnect:
				if (!isVersion5) return size === 0 ? Status.protocolError : Status.corrupt; // MQTT-12: from clients only
				this.#at += 1;
				return size > 1 ? this.#properties(DISCONNECT, true) : Status.ok;
			case 0:
				return Status.corrupt;
			case 1:
			case 8:
			case 10:
			case 12:
				return Status.protocolError; // MQTT-13: a client's packet from a server
			default:
				return type === 15 && !isVersion5 ? Status.corrupt : Status.unsupported; // MQTT-14: QoS 2, UNSUBACK, AUTH
		}
	}

	/** Checks the property list at `#at` and moves past it. */
	#properties(packet: number, isLast: boolean): Status {
		const length = this.#variable();
		if (length < 0 || this.#at + length > this.#end) return Status.corrupt; // MQTT-15
		if (isLast && this.#at + length !== this.#end) return Status.corrupt; // MQTT-16: bytes after the packet's last field
		const packetEnd = this.#end;
		this.#end = this.#at + length;
		let seenLow = 0;
		let seenHigh = 0;
		while (this.#at < this.#end) {
			const identifier = this.#bytes[this.#at++]!;
			const entry = identifier < PROPERTIES.length ? PROPERTIES[identifier]! : 0;
			const shape = entry & 0x0f;
			if (shape === Shape.none) return Status.corrupt; // MQTT-17: unknown property
			const value = this.#value(shape);
			if (value === -1) return Status.corrupt; // MQTT-18: the value runs past the list, or is no UTF-8
			const where = entry >> 4;
			if ((where & packet) === 0) return Status.protocolError; // MQTT-19: not in this packet
			if (value === -2 || (value === 0 && (where & NOT_ZERO) !== 0)) return Status.protocolError; // MQTT-20
			if (identifier === USER_PROPERTY) continue;
			const bit = 1 << (identifier & 31);
			if (((identifier < 32 ? seenLow : seenHigh) & bit) !== 0) return Status.protocolError; // MQTT-21: twice
			if (identifier < 32) seenLow |= bit;
			else seenHigh |= bit;
		}
		this.#end = packetEnd;
		return (seenHigh & (1 << (TOPIC_ALIAS & 31))) !== 0 ? Status.badValue : Status.ok; // MQTT-22
	}

	/** Moves past one value. @returns a number's value (1 for others), -1 malformed, -2 well-formed but not allowed */
	#value(shape: number): number {
		const bytes = this.#bytes;
		const at = this.#at;
		const left = this.#end - at;
		switch (shape) {
			case Shape.boolean:
				if (left < 1) return -1;
				this.#at += 1;
				return bytes[at]! > 1 ? -2 : bytes[at]!;
			case Shape.uint16:
				if (left < 2) return -1;
				this.#at += 2;
				return (bytes[at]! << 8) | bytes[at + 1]!;
			case Shape.uint32:
				if (left < 4) return -1;
				this.#at += 4;
				return (bytes[at]! | bytes[at + 1]! | bytes[at + 2]! | bytes[at + 3]!) === 0 ? 0 : 1;
			case Shape.variable:
				return this.#variable();
			case Shape.pair:
				return this.#text(true, false) < 0 ? -1 : this.#text(true, false) < 0 ? -1 : 1;
			case Shape.topicName: {
				const size = this.#text(true, false);
				if (size < 0) return -1;
				return size === 0 || !isMqttText(bytes, this.#at - size, this.#at, true) ? -2 : 1;
			}
			default:
				return this.#text(shape === Shape.text, false) < 0 ? -1 : 1;
		}
	}

	/** Moves past a length and that many bytes. @returns the length, -1 when malformed */
	#text(isText: boolean, isTopicName: boolean): number {
		const bytes = this.#bytes;
		if (this.#end - this.#at < 2) return -1;
		const size = (bytes[this.#at]! << 8) | bytes[this.#at + 1]!;
		const from = this.#at + 2;
		if (from + size > this.#end) return -1;
		if (isText && !isMqttText(bytes, from, from + size, isTopicName)) return -1;
		this.#at = from + size;
		return size;
	}

	/** Moves past a variable byte integer, at most 4 bytes and none too many. @returns its value, -1 when malformed */
	#variable(): number {
		let value = 0;
		for (let i = 0; i < 4; i++) {
			if (this.#at >= this.#end) return -1;
			const byte = this.#bytes[this.#at++]!;
			value += (byte & 0x7f) * 2 ** (7 * i);
			if (byte < 0x80) return i > 0 && byte === 0 ? -1 : value; // MQTT-23: [MQTT-1.5.5-1]
		}
		return -1;
	}
}
