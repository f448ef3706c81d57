export const MacType = Object.freeze({ beacon: 0, data: 1, acknowledgement: 2, command: 3 } as const);

export const MacCommand = Object.freeze({
	associationRequest: 1,
	associationResponse: 2,
	dataRequest: 4,
	orphanNotification: 6,
	beaconRequest: 7,
} as const);

/** Longest frame on the air, FCS included (aMaxPHYPacketSize). */
export const MAC_FRAME_MAX = 127;
export const BROADCAST_PAN = 0xffff;
export const BROADCAST_ADDRESS = 0xffff;
/** A device that has no short address yet. */
export const NO_SHORT_ADDRESS = 0xfffe;

/** A short address, or an EUI-64 as 16 hexadecimal digits, most significant first. */
export type MacAddress = number | string;

export interface MacFrame {
	readonly type: number;
	readonly sequence: number;
	readonly ackRequest?: boolean;
	readonly framePending?: boolean;
	readonly panId?: number;
	/** PAN of the source where it is not that of the destination. */
	readonly sourcePanId?: number;
	readonly target?: MacAddress;
	readonly source?: MacAddress;
	readonly payload: Uint8Array;
}

/** CRC-16 of IEEE 802.15.4 (ITU-T, reflected, start 0). */
export function frameCheck(bytes: Uint8Array, byteLength: number): number {
	let crc = 0;
	for (let i = 0; i < byteLength; i++) {
		crc ^= bytes[i]!;
		for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x8408 : crc >>> 1;
	}
	return crc;
}

/** EUI-64 digits to the eight bytes on the wire, least significant first. */
export function extendedBytes(address: string): Uint8Array {
	return Uint8Array.from(Buffer.from(address, "hex").reverse());
}

export function extendedText(bytes: Uint8Array, at = 0): string {
	return Buffer.from(bytes.subarray(at, at + 8))
		.reverse()
		.toString("hex");
}

/** An IEEE 802.15.4-2006 frame with its FCS. */
export function encodeMacFrame(frame: MacFrame): Uint8Array {
	const mode = (address: MacAddress | undefined): number =>
		address === undefined ? 0 : typeof address === "number" ? 2 : 3;
	const isOnePan = frame.target !== undefined && frame.source !== undefined && frame.sourcePanId === undefined;
	const control =
		frame.type |
		(frame.framePending ? 0x10 : 0) |
		(frame.ackRequest ? 0x20 : 0) |
		(isOnePan ? 0x40 : 0) |
		(mode(frame.target) << 10) |
		(mode(frame.source) << 14);
	const bytes = [control & 0xff, control >> 8, frame.sequence];
	const address = (value: MacAddress): void => {
		if (typeof value === "number") bytes.push(value & 0xff, value >> 8);
		else bytes.push(...extendedBytes(value));
	};
	const pan = (value: number): void => {
		bytes.push(value & 0xff, value >> 8);
	};
	if (frame.target !== undefined) {
		pan(frame.panId ?? BROADCAST_PAN);
		address(frame.target);
	}
	if (frame.source !== undefined) {
		if (!isOnePan) pan(frame.sourcePanId ?? frame.panId ?? BROADCAST_PAN);
		address(frame.source);
	}
	bytes.push(...frame.payload);
	const check = frameCheck(Uint8Array.from(bytes), bytes.length);
	bytes.push(check & 0xff, check >> 8);
	if (bytes.length > MAC_FRAME_MAX) throw new RangeError(`MAC frame of ${bytes.length} bytes`);
	return Uint8Array.from(bytes);
}

/** @returns undefined for a damaged or unknown frame */
export function decodeMacFrame(bytes: Uint8Array): MacFrame | undefined {
	const end = bytes.length - 2;
	if (end < 3 || frameCheck(bytes, end) !== (bytes[end]! | (bytes[end + 1]! << 8))) return undefined;
	const control = bytes[0]! | (bytes[1]! << 8);
	let at = 3;
	const u16 = (): number => {
		at += 2;
		return bytes[at - 2]! | (bytes[at - 1]! << 8);
	};
	const address = (mode: number): MacAddress | undefined => {
		if (mode === 2) return u16();
		if (mode !== 3) return undefined;
		at += 8;
		return extendedText(bytes, at - 8);
	};
	const targetMode = (control >> 10) & 3;
	const sourceMode = (control >> 14) & 3;
	const panId = targetMode === 0 ? undefined : u16();
	const target = address(targetMode);
	const sourcePanId = sourceMode !== 0 && (control & 0x40) === 0 ? u16() : undefined;
	const source = address(sourceMode);
	if (at > end) return undefined;
	return {
		type: control & 7,
		sequence: bytes[2]!,
		ackRequest: (control & 0x20) !== 0,
		framePending: (control & 0x10) !== 0,
		...(panId === undefined ? {} : { panId }),
		...(sourcePanId === undefined ? {} : { sourcePanId }),
		...(target === undefined ? {} : { target }),
		...(source === undefined ? {} : { source }),
		payload: bytes.slice(at, end),
	};
}
