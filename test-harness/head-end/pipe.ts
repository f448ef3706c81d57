import { DEVICE_ID_BYTES } from "../../src/provisioning/device-file.js";

/**
 * What passes between head end and concentrator, big-endian: a byte that says what, then
 * | type | name      | way | fields                                                                                     |
 * |-----:|-----------|-----|--------------------------------------------------------------------------------------------|
 * | 0x01 | up        | to head end | id 8, the message as it came                                                       |
 * | 0x02 | online    | to head end | id 8, 1 or 0                                                                       |
 * | 0x03 | report    | to head end | id 8, epoch 2, downNext 2, acknowledged 2, upNext 2, head 4, then status 1, count 4 each |
 * | 0x04 | link      | to head end | connected 1, connects 4, sinceUtcSeconds 8 (float), length of url 2, url, last error  |
 * | 0x81 | down      | to meters | id 8, the message as it goes                                                         |
 * | 0x82 | anchor    | to meters | domain 2, epoch 2, ANCHOR                                                            |
 * | 0x83 | broadcast | to meters | domain 2, message to all                                                             |
 * | 0x84 | delegate  | to concentrator | domain 2, block 2, day 1, reserved 1, then 44 each: id 8, generation 2, shortAddress 2, value of that day 32 |
 * | 0x85 | remove    | to concentrator | id 8                                                                           |
 * | 0x86 | chainSeed | to concentrator | domain 2, seed of its TESLA chains 32                                          |
 * | 0x87 | disclosed | to concentrator | epoch 2, interval 2, key 16: of the head end's chain, everyone's to know       |
 */
export const Frame = Object.freeze({
	up: 0x01,
	online: 0x02,
	report: 0x03,
	link: 0x04,
	down: 0x81,
	anchor: 0x82,
	broadcast: 0x83,
	delegate: 0x84,
	remove: 0x85,
	chainSeed: 0x86,
	disclosed: 0x87,
} as const);

/**
 * One direction of the way between head end and concentrator: whole frames, in order, and nothing but bytes.
 * @returns resolves when the other end has dealt with the frame: what must last is on its disk
 */
export type Pipe = (frame: Uint8Array) => Promise<void>;

/** Type, meter, and what follows. */
export function meterFrame(type: number, id: string, payload: Uint8Array): Buffer {
	const frame = Buffer.alloc(1 + DEVICE_ID_BYTES + payload.length);
	frame[0] = type;
	frame.write(id, 1, "hex");
	frame.set(payload, 1 + DEVICE_ID_BYTES);
	return frame;
}

export function frameMeter(frame: Buffer): string {
	return frame.toString("hex", 1, 1 + DEVICE_ID_BYTES);
}

export const METER_FRAME_BYTES = 1 + DEVICE_ID_BYTES;

/** What a concentrator knows of a meter's neighbourhood branch; nothing secret. */
export interface NeighbourReport {
	epoch: number;
	downNext: number;
	acknowledged: number;
	upNext: number;
	/** Largest count of key records that it has witnessed. */
	head: number;
	/** By status. */
	refusals: Map<number, number>;
}

export function encodeReport(id: string, report: NeighbourReport): Buffer {
	const payload = Buffer.alloc(12 + 5 * report.refusals.size);
	payload.writeUInt16BE(report.epoch, 0);
	payload.writeUInt16BE(report.downNext, 2);
	payload.writeUInt16BE(report.acknowledged, 4);
	payload.writeUInt16BE(report.upNext, 6);
	payload.writeUInt32BE(report.head, 8);
	let at = 12;
	for (const [status, count] of report.refusals) {
		payload[at] = status;
		payload.writeUInt32BE(Math.min(count, 0xffff_ffff), at + 1);
		at += 5;
	}
	return meterFrame(Frame.report, id, payload);
}

export function decodeReport(frame: Buffer): NeighbourReport | undefined {
	const payload = frame.subarray(METER_FRAME_BYTES);
	if (payload.length < 12 || (payload.length - 12) % 5 !== 0) return undefined;
	const refusals = new Map<number, number>();
	for (let at = 12; at < payload.length; at += 5) refusals.set(payload[at]!, payload.readUInt32BE(at + 1));
	return {
		epoch: payload.readUInt16BE(0),
		downNext: payload.readUInt16BE(2),
		acknowledged: payload.readUInt16BE(4),
		upNext: payload.readUInt16BE(6),
		head: payload.readUInt32BE(8),
		refusals,
	};
}

/** Of the link between concentrator and broker. */
export interface LinkReport {
	connected: boolean;
	connects: number;
	sinceUtcSeconds: number;
	url: string;
	lastError: string | null;
}

export function encodeLink(report: LinkReport): Buffer {
	const url = Buffer.from(report.url);
	const frame = Buffer.alloc(16 + url.length);
	frame[0] = Frame.link;
	frame[1] = report.connected ? 1 : 0;
	frame.writeUInt32BE(report.connects, 2);
	frame.writeDoubleBE(report.sinceUtcSeconds, 6);
	frame.writeUInt16BE(url.length, 14);
	frame.set(url, 16);
	return Buffer.concat([frame, Buffer.from(report.lastError ?? "")]);
}

export function decodeLink(frame: Buffer): LinkReport | undefined {
	if (frame.length < 16) return undefined;
	const urlEnd = 16 + frame.readUInt16BE(14);
	if (urlEnd > frame.length) return undefined;
	return {
		connected: frame[1] === 1,
		connects: frame.readUInt32BE(2),
		sinceUtcSeconds: frame.readDoubleBE(6),
		url: frame.toString("utf8", 16, urlEnd),
		lastError: urlEnd === frame.length ? null : frame.toString("utf8", urlEnd),
	};
}

/** The value of one day, which gives that day and those after it in its block. */
export interface DelegatedDay {
	readonly id: string;
	readonly generation: number;
	readonly shortAddress: number;
	/** 32 bytes; the receiver wipes it. */
	readonly value: Uint8Array;
}

export interface Delegation {
	readonly domain: number;
	/** epoch / 16. */
	readonly block: number;
	/** 0 to 15, the day within the block that the values belong to. */
	readonly day: number;
	readonly meters: readonly DelegatedDay[];
}

const DELEGATE_HEADER_BYTES = 7;
const DELEGATE_METER_BYTES = 44;

export function encodeDelegation(delegation: Delegation): Buffer {
	const frame = Buffer.alloc(DELEGATE_HEADER_BYTES + DELEGATE_METER_BYTES * delegation.meters.length);
	frame[0] = Frame.delegate;
	frame.writeUInt16BE(delegation.domain, 1);
	frame.writeUInt16BE(delegation.block, 3);
	frame[5] = delegation.day;
	let at = DELEGATE_HEADER_BYTES;
	for (const { id, generation, shortAddress, value } of delegation.meters) {
		frame.write(id, at, "hex");
		frame.writeUInt16BE(generation, at + 8);
		frame.writeUInt16BE(shortAddress, at + 10);
		frame.set(value, at + 12);
		at += DELEGATE_METER_BYTES;
	}
	return frame;
}

export function decodeDelegation(frame: Buffer): Delegation | undefined {
	const bytes = frame.length - DELEGATE_HEADER_BYTES;
	if (bytes < 0 || bytes % DELEGATE_METER_BYTES !== 0 || frame[5]! > 15) return undefined;
	return {
		domain: frame.readUInt16BE(1),
		block: frame.readUInt16BE(3),
		day: frame[5]!,
		meters: Array.from({ length: bytes / DELEGATE_METER_BYTES }, (_, index) => {
			const at = DELEGATE_HEADER_BYTES + index * DELEGATE_METER_BYTES;
			return {
				id: frame.toString("hex", at, at + 8),
				generation: frame.readUInt16BE(at + 8),
				shortAddress: frame.readUInt16BE(at + 10),
				value: new Uint8Array(frame.subarray(at + 12, at + DELEGATE_METER_BYTES)),
			};
		}),
	};
}
