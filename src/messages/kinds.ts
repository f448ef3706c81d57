/**
 * Application messages between meter and concentrator. Every message starts with two bytes, kind and version, and is
 * big-endian throughout. Kinds below 0x80 go up (meter to concentrator), the others down.
 *
 * Times are UTCTime: s since 2000-01-01T00:00:00Z, 0xFFFFFFFF when the clock is invalid.
 * Energies are mWh, 0 to 2^53 - 1 in 8 bytes. `requestId` is chosen by the asker and echoed.
 */
export const Kind = Object.freeze({
	hello: 0x01,
	reading: 0x02,
	profile: 0x03,
	events: 0x04,
	capture: 0x05,
	acknowledge: 0x06,
	snapshot: 0x07,
	diagnostics: 0x08,
	timeRequest: 0x09,
	receipt: 0x10,
	audit: 0x11,
	auditHead: 0x12,
	updateStatus: 0x18,
	time: 0x81,
	profileRequest: 0x82,
	eventsRequest: 0x83,
	captureRequest: 0x84,
	snapshotRequest: 0x85,
	configure: 0x86,
	diagnosticsRequest: 0x87,
	command: 0x90,
	receiptRequest: 0x91,
	auditRequest: 0x92,
	anchor: 0x93,
	updateOffer: 0x98,
	updateSignature: 0x99,
	updateBlock: 0x9a,
	updateActivate: 0x9b,
	updateStatusRequest: 0x9c,
	updateCancel: 0x9d,
} as const);
export type Kind = (typeof Kind)[keyof typeof Kind];

export const MESSAGE_VERSION = 1;

/** UTCTime when the clock is invalid. */
export const UTC_INVALID = 0xffff_ffff;

/** Largest message, bytes; a meter's buffers are made for it. */
export const MESSAGE_BYTES_MAX = 1024;

/** UTCTime field from a clock in seconds that may be NaN. */
export function utcField(utcSeconds: number): number {
	return utcSeconds >= 0 && utcSeconds < UTC_INVALID ? Math.floor(utcSeconds) : UTC_INVALID;
}
