import { extendedBytes, extendedText } from "./mac-frame.js";

export const NwkBroadcast = Object.freeze({ all: 0xffff, receiverOn: 0xfffd, routers: 0xfffc } as const);

export const NwkCommand = Object.freeze({
	leave: 4,
	rejoinRequest: 6,
	rejoinResponse: 7,
} as const);

export interface NwkFrame {
	readonly isCommand: boolean;
	readonly isSecured: boolean;
	readonly target: number;
	readonly source: number;
	radius: number;
	readonly sequence: number;
	readonly targetExtended?: string;
	readonly sourceExtended?: string;
	/** From an end device. */
	readonly isFromEndDevice?: boolean;
	readonly payload: Uint8Array;
}

export function isNwkBroadcast(address: number): boolean {
	return address >= 0xfff8;
}

/** The header without auxiliary header. @see Zigbee specification 3.3.1 */
export function encodeNwkHeader(frame: Omit<NwkFrame, "payload">): Buffer {
	const control =
		(frame.isCommand ? 1 : 0) |
		(2 << 2) |
		(frame.isSecured ? 0x200 : 0) |
		(frame.targetExtended === undefined ? 0 : 0x800) |
		(frame.sourceExtended === undefined ? 0 : 0x1000) |
		(frame.isFromEndDevice ? 0x2000 : 0);
	const bytes = [
		control & 0xff,
		control >> 8,
		frame.target & 0xff,
		frame.target >> 8,
		frame.source & 0xff,
		frame.source >> 8,
		frame.radius,
		frame.sequence,
	];
	if (frame.targetExtended !== undefined) bytes.push(...extendedBytes(frame.targetExtended));
	if (frame.sourceExtended !== undefined) bytes.push(...extendedBytes(frame.sourceExtended));
	return Buffer.from(bytes);
}

/** @returns the header and where it ends; undefined for what is no frame of ours */
export function decodeNwkHeader(
	bytes: Uint8Array,
): { header: Omit<NwkFrame, "payload">; byteLength: number } | undefined {
	if (bytes.length < 8) return undefined;
	const control = bytes[0]! | (bytes[1]! << 8);
	if ((control & 0x3c) !== 8 || (control & 3) > 1) return undefined;
	if ((control & 0x0500) !== 0) return undefined; // multicast and source routes are not sent here
	let at = 8;
	const hasTarget = (control & 0x800) !== 0;
	const hasSource = (control & 0x1000) !== 0;
	if (bytes.length < at + (hasTarget ? 8 : 0) + (hasSource ? 8 : 0)) return undefined;
	const targetExtended = hasTarget ? extendedText(bytes, at) : undefined;
	if (hasTarget) at += 8;
	const sourceExtended = hasSource ? extendedText(bytes, at) : undefined;
	if (hasSource) at += 8;
	return {
		header: {
			isCommand: (control & 3) === 1,
			isSecured: (control & 0x200) !== 0,
			target: bytes[2]! | (bytes[3]! << 8),
			source: bytes[4]! | (bytes[5]! << 8),
			radius: bytes[6]!,
			sequence: bytes[7]!,
			...(targetExtended === undefined ? {} : { targetExtended }),
			...(sourceExtended === undefined ? {} : { sourceExtended }),
			isFromEndDevice: (control & 0x2000) !== 0,
		},
		byteLength: at,
	};
}
