import { Status } from "../bytes/status.js";

/**
 * Group key envelope, version 1: 14 bytes before every message of every scheme but HORA, whose own headers carry the same;
 * big-endian, associated data of whatever is sealed behind it (key-management.md section 3).
 * | offset | size | field      | unit and range                                                       |
 * |-------:|-----:|------------|----------------------------------------------------------------------|
 * |      0 |    1 | version    | 1                                                                    |
 * |      1 |    1 | scheme     | see `SchemeNumber`                                                   |
 * |      2 |    1 | kind       | see `MessageKind`, bits 0 to 5; bits 6 and 7: variant of the scheme  |
 * |      3 |    1 | group      | 0 the domain, 1 to 255                                               |
 * |      4 |    2 | epoch      | day; 0 where the scheme has none                                     |
 * |      6 |    4 | generation | of the group key that is used or made                                |
 * |     10 |    2 | counter    | explicit index for the sender and key                                |
 * |     12 |    2 | length     | bytes that follow                                                    |
 */
export const GROUP_ENVELOPE_BYTES = 14;
export const GROUP_ENVELOPE_VERSION = 1;

export const MessageKind = Object.freeze({
	init: 1,
	unicast: 2,
	multicast: 3,
	broadcast: 4,
	join: 5,
	leave: 6,
	batch: 7,
	refresh: 8,
	catchUp: 9,
	request: 10,
	data: 11,
	agreement: 12,
} as const);
export type MessageKind = (typeof MessageKind)[keyof typeof MessageKind];
const KIND_MAX = 12;

export interface GroupEnvelope {
	scheme: number;
	kind: number;
	variant: number;
	group: number;
	epoch: number;
	generation: number;
	counter: number;
	/** Bytes that follow. */
	bodyBytes: number;
}

export function createGroupEnvelope(): GroupEnvelope {
	return { scheme: 0, kind: 0, variant: 0, group: 0, epoch: 0, generation: 0, counter: 0, bodyBytes: 0 };
}

/** Four bytes, big-endian, without an object. */
export function getUint32(from: Uint8Array, offset: number): number {
	const high = from[offset]! * 0x100_0000;
	return high + ((from[offset + 1]! << 16) | (from[offset + 2]! << 8) | from[offset + 3]!);
}

export function setUint32(into: Uint8Array, offset: number, value: number): void {
	into[offset] = Math.floor(value / 0x100_0000);
	into[offset + 1] = (value >> 16) & 255;
	into[offset + 2] = (value >> 8) & 255;
	into[offset + 3] = value & 255;
}

export function encodeGroupEnvelope(envelope: GroupEnvelope, into: Uint8Array): void {
	into[0] = GROUP_ENVELOPE_VERSION;
	into[1] = envelope.scheme;
	into[2] = envelope.kind | (envelope.variant << 6);
	into[3] = envelope.group;
	into[4] = envelope.epoch >> 8;
	into[5] = envelope.epoch;
	setUint32(into, 6, envelope.generation);
	into[10] = envelope.counter >> 8;
	into[11] = envelope.counter;
	into[12] = envelope.bodyBytes >> 8;
	into[13] = envelope.bodyBytes;
}

export function decodeGroupEnvelope(from: Uint8Array, byteLength: number, into: GroupEnvelope): Status {
	if (byteLength < GROUP_ENVELOPE_BYTES || byteLength > from.length) return Status.badLength; // GKE-1
	if (from[0] !== GROUP_ENVELOPE_VERSION) return Status.badVersion; // GKE-2
	const kind = from[2]! & 63;
	if (kind < 1 || kind > KIND_MAX) return Status.badKind; // GKE-3
	const bodyBytes = from[12]! * 256 + from[13]!;
	if (byteLength !== GROUP_ENVELOPE_BYTES + bodyBytes) return Status.badLength; // GKE-4
	into.scheme = from[1]!;
	into.kind = kind;
	into.variant = from[2]! >> 6;
	into.group = from[3]!;
	into.epoch = from[4]! * 256 + from[5]!;
	into.generation = getUint32(from, 6);
	into.counter = from[10]! * 256 + from[11]!;
	into.bodyBytes = bodyBytes;
	return Status.ok;
}
