import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/** A short stretch of waveform for display, decimated to fit one message. Channels: U1 I1, U2 I2, U3 I3, IN. */
export interface CaptureHeader {
	requestId: number;
	utcSeconds: number;
	/** Rows a second after decimation, mHz: 1 600 000 is 1600 rows a second. */
	rowRateMillihertz: number;
	channelCount: number;
	rowCount: number;
	/** Microvolts or microamperes of one code, for each channel. */
	readonly microunitsPerCode: number[];
}

/**
 * Waveform capture, version 1: 16 + 4 × channelCount + 2 × channelCount × rowCount bytes.
 * | offset | size | field             | unit and range                                   |
 * |-------:|-----:|-------------------|--------------------------------------------------|
 * |      0 |    1 | kind              | 0x05                                             |
 * |      1 |    1 | version           | 1                                                |
 * |      2 |    2 | requestId         |                                                  |
 * |      4 |    4 | utcSeconds        | UTCTime                                          |
 * |      8 |    4 | rowRateMillihertz | rows a second, in thousandths                    |
 * |     12 |    1 | channelCount      | 2 to 7                                           |
 * |     13 |    1 | reserved          | 0                                                |
 * |     14 |    2 | rowCount          | 1 to 256                                         |
 * |     16 | 4 each | microunitsPerCode | µV or µA for each channel, 1 to 2^32 - 1      |
 * |        | 2 each | codes           | signed, row by row                              |
 */
export const CAPTURE_HEADER_BYTES = 16;
export const CAPTURE_CHANNELS_MAX = 7;
export const CAPTURE_ROWS_MAX = 256;

export function createCaptureHeader(): CaptureHeader {
	return {
		requestId: 0,
		utcSeconds: 0,
		rowRateMillihertz: 0,
		channelCount: 0,
		rowCount: 0,
		microunitsPerCode: [0, 0, 0, 0, 0, 0, 0],
	};
}

/** Bytes before the first code. */
export function captureCodesOffset(channelCount: number): number {
	return CAPTURE_HEADER_BYTES + 4 * channelCount;
}

/** Writes everything but the codes, which the caller puts at `captureCodesOffset`. @returns bytes of the whole message */
export function encodeCaptureHeader(header: CaptureHeader, into: DataView): number {
	into.setUint8(0, Kind.capture);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, header.requestId);
	into.setUint32(4, header.utcSeconds);
	into.setUint32(8, header.rowRateMillihertz);
	into.setUint8(12, header.channelCount);
	into.setUint8(13, 0);
	into.setUint16(14, header.rowCount);
	for (let channel = 0; channel < header.channelCount; channel++)
		into.setUint32(CAPTURE_HEADER_BYTES + 4 * channel, header.microunitsPerCode[channel]!);
	return captureCodesOffset(header.channelCount) + 2 * header.channelCount * header.rowCount;
}

export function decodeCaptureHeader(from: DataView, byteLength: number, into: CaptureHeader): Status {
	if (byteLength < CAPTURE_HEADER_BYTES) return Status.badLength; // CAP-1
	if (from.getUint8(0) !== Kind.capture) return Status.badKind; // CAP-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // CAP-3
	const channelCount = from.getUint8(12);
	const rowCount = from.getUint16(14);
	if (channelCount < 2 || channelCount > CAPTURE_CHANNELS_MAX) return Status.badValue; // CAP-4
	if (rowCount < 1 || rowCount > CAPTURE_ROWS_MAX) return Status.badValue; // CAP-5
	if (byteLength !== captureCodesOffset(channelCount) + 2 * channelCount * rowCount) return Status.badLength; // CAP-6
	into.requestId = from.getUint16(2);
	into.utcSeconds = from.getUint32(4);
	into.rowRateMillihertz = from.getUint32(8);
	into.channelCount = channelCount;
	into.rowCount = rowCount;
	for (let channel = 0; channel < channelCount; channel++)
		into.microunitsPerCode[channel] = from.getUint32(CAPTURE_HEADER_BYTES + 4 * channel);
	return Status.ok;
}
