export const ApsType = Object.freeze({ data: 0, command: 1, acknowledgement: 2 } as const);

export const ApsCommand = Object.freeze({
	transportKey: 0x05,
	updateDevice: 0x06,
	removeDevice: 0x07,
	switchKey: 0x09,
	tunnel: 0x0e,
} as const);

export interface ApsFrame {
	readonly type: number;
	readonly isBroadcast?: boolean;
	readonly isSecured?: boolean;
	readonly ackRequest?: boolean;
	readonly group?: number;
	readonly targetEndpoint?: number;
	readonly cluster?: number;
	readonly profile?: number;
	readonly sourceEndpoint?: number;
	readonly counter: number;
	/** Fragmentation: 1 the first block, 2 a later one. */
	readonly fragment?: 1 | 2;
	/** Of the first block: how many there are; of a later block: which it is; of an acknowledgement: the first it covers. */
	readonly block?: number;
	/** Of an acknowledgement: which blocks of the window came. */
	readonly ackBits?: number;
	readonly payload: Uint8Array;
}

/** @see Zigbee specification 2.2.5 */
export function encodeApsHeader(frame: Omit<ApsFrame, "payload">): Buffer {
	const mode = frame.group !== undefined ? 3 : frame.isBroadcast ? 2 : 0;
	const bytes = [
		frame.type |
			(mode << 2) |
			(frame.isSecured ? 0x20 : 0) |
			(frame.ackRequest ? 0x40 : 0) |
			(frame.fragment === undefined ? 0 : 0x80),
	];
	const u16 = (value: number): void => {
		bytes.push(value & 0xff, value >> 8);
	};
	if (frame.type !== ApsType.command) {
		if (frame.group !== undefined) u16(frame.group);
		else bytes.push(frame.targetEndpoint ?? 0);
		u16(frame.cluster ?? 0);
		u16(frame.profile ?? 0);
		bytes.push(frame.sourceEndpoint ?? 0);
	}
	bytes.push(frame.counter);
	if (frame.fragment !== undefined) {
		bytes.push(frame.fragment, frame.block ?? 0);
		if (frame.type === ApsType.acknowledgement) bytes.push(frame.ackBits ?? 0);
	}
	return Buffer.from(bytes);
}

export function decodeApsHeader(
	bytes: Uint8Array,
): { header: Omit<ApsFrame, "payload">; byteLength: number } | undefined {
	if (bytes.length < 2) return undefined;
	const control = bytes[0]!;
	const type = control & 3;
	if (type === 3) return undefined;
	const mode = (control >> 2) & 3;
	let at = 1;
	const take = (): number => bytes[at++] ?? -1;
	const u16 = (): number => take() | (take() << 8);
	let addressing: Partial<ApsFrame> = {};
	if (type !== ApsType.command) {
		// An acknowledgement of a command has the "format" bit and no addresses; none is sent here.
		if (type === ApsType.acknowledgement && (control & 0x10) !== 0) return undefined;
		addressing = mode === 3 ? { group: u16() } : { targetEndpoint: take() };
		addressing = { ...addressing, cluster: u16(), profile: u16(), sourceEndpoint: take() };
	}
	const counter = take();
	let extended: Partial<ApsFrame> = {};
	if (control & 0x80) {
		const fragment = take() & 3;
		if (fragment === 1 || fragment === 2) {
			extended = { fragment, block: take() };
			if (type === ApsType.acknowledgement) extended = { ...extended, ackBits: take() };
		}
	}
	if (at > bytes.length) return undefined;
	return {
		header: {
			type,
			isBroadcast: mode === 2,
			isSecured: (control & 0x20) !== 0,
			ackRequest: (control & 0x40) !== 0,
			...addressing,
			counter,
			...extended,
		},
		byteLength: at,
	};
}
