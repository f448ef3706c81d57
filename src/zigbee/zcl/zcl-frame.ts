import { Status } from "../../bytes/status.js";

/** Longest ZCL header: with manufacturer code. */
export const ZCL_HEADER_MAX = 5;

export const FrameType = Object.freeze({ global: 0, cluster: 1 } as const);

/** Commands that every cluster has. */
export const ZclCommand = Object.freeze({
	readAttributes: 0x00,
	readAttributesResponse: 0x01,
	writeAttributes: 0x02,
	writeAttributesUndivided: 0x03,
	writeAttributesResponse: 0x04,
	writeAttributesNoResponse: 0x05,
	configureReporting: 0x06,
	configureReportingResponse: 0x07,
	readReportingConfiguration: 0x08,
	readReportingConfigurationResponse: 0x09,
	reportAttributes: 0x0a,
	defaultResponse: 0x0b,
	discoverAttributes: 0x0c,
	discoverAttributesResponse: 0x0d,
	discoverCommandsReceived: 0x11,
	discoverCommandsReceivedResponse: 0x12,
	discoverCommandsGenerated: 0x13,
	discoverCommandsGeneratedResponse: 0x14,
	discoverAttributesExtended: 0x15,
	discoverAttributesExtendedResponse: 0x16,
} as const);

export const ZclStatus = Object.freeze({
	success: 0x00,
	failure: 0x01,
	notAuthorized: 0x7e,
	malformedCommand: 0x80,
	unsupportedClusterCommand: 0x81,
	unsupportedGeneralCommand: 0x82,
	unsupportedManufacturerClusterCommand: 0x83,
	unsupportedManufacturerGeneralCommand: 0x84,
	invalidField: 0x85,
	unsupportedAttribute: 0x86,
	invalidValue: 0x87,
	readOnly: 0x88,
	insufficientSpace: 0x89,
	notFound: 0x8b,
	unreportableAttribute: 0x8c,
	invalidDataType: 0x8d,
	unsupportedCluster: 0xc3,
} as const);

/** The header of a received frame; filled by `decodeZclHeader`. */
export class ZclHeader {
	isClusterCommand = false;
	/** From the server to the client. */
	isFromServer = false;
	isDefaultResponseOff = false;
	/** 0: none. */
	manufacturerCode = 0;
	sequence = 0;
	command = 0;
	/** Where the payload begins, counted from the start of the frame. */
	byteLength = 0;
}

/**
 * ZCL frame.
 * | offset | size | field            | unit and range                                                                  |
 * |-------:|-----:|------------------|---------------------------------------------------------------------------------|
 * |      0 |    1 | frame control    | bits 0-1 type (0 global, 1 cluster), 2 manufacturer, 3 from server, 4 no default response |
 * |      1 |    2 | manufacturerCode | only with bit 2; little-endian, as everything                                   |
 * |  1 (3) |    1 | sequence         | of the request, in an answer                                                    |
 * |  2 (4) |    1 | command          |                                                                                 |
 * |  3 (5) |    n | payload          | by command                                                                      |
 * @see Zigbee Cluster Library, 2.4.1
 */
export function decodeZclHeader(bytes: Uint8Array, start: number, byteLength: number, into: ZclHeader): Status {
	if (byteLength < 3) return Status.badLength; // ZCL-1
	const control = bytes[start]!;
	if ((control & 3) > 1) return Status.badKind; // ZCL-2: reserved frame type
	const isManufacturer = (control & 0x04) !== 0;
	if (isManufacturer && byteLength < 5) return Status.badLength; // ZCL-3
	const at = start + (isManufacturer ? 3 : 1);
	into.isClusterCommand = (control & 3) === FrameType.cluster;
	into.isFromServer = (control & 0x08) !== 0;
	into.isDefaultResponseOff = (control & 0x10) !== 0;
	into.manufacturerCode = isManufacturer ? bytes[start + 1]! | (bytes[start + 2]! << 8) : 0;
	into.sequence = bytes[at]!;
	into.command = bytes[at + 1]!;
	into.byteLength = isManufacturer ? 5 : 3;
	return Status.ok;
}

/** @returns bytes written at the start of `into` */
export function encodeZclHeader(
	isClusterCommand: boolean,
	isFromServer: boolean,
	isDefaultResponseOff: boolean,
	manufacturerCode: number,
	sequence: number,
	command: number,
	into: Uint8Array,
): number {
	let at = 1;
	into[0] =
		(isClusterCommand ? 1 : 0) |
		(manufacturerCode === 0 ? 0 : 0x04) |
		(isFromServer ? 0x08 : 0) |
		(isDefaultResponseOff ? 0x10 : 0);
	if (manufacturerCode !== 0) {
		into[at++] = manufacturerCode & 0xff;
		into[at++] = manufacturerCode >> 8;
	}
	into[at++] = sequence;
	into[at++] = command;
	return at;
}
