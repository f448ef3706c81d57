import { Status } from "../bytes/status.js";
import { Kind, MESSAGE_VERSION } from "./kinds.js";

/**
 * Firmware image, format 1: manifest, LMS signature of the manifest, body. The manifest names the body by its hash, so
 * signing it signs all; what an image file is on disk is what travels and what lies in flash.
 *
 * Manifest: 72 bytes.
 * | offset | size | field           | unit and range                                                               |
 * |-------:|-----:|-----------------|------------------------------------------------------------------------------|
 * |      0 |    4 | magic           | "WLFW"                                                                       |
 * |      4 |    1 | formatVersion   | 1                                                                            |
 * |      5 |    3 | version         | of the firmware: major, minor, patch                                         |
 * |      8 |    4 | target          | what runs it: see FirmwareTarget                                             |
 * |     12 |    4 | securityVersion | never goes back on a meter; raised when an older firmware must not come back |
 * |     16 |    4 | bodyBytes       | 1 to 372 736                                                                 |
 * |     20 |    4 | builtSeconds    | UTCTime, for people                                                          |
 * |     24 |   16 | keyIdentifier   | I of the LMS public key that verifies it                                     |
 * |     40 |   32 | bodyDigest      | SHA-256 of the body                                                          |
 *
 * The imageId of an image is the first 4 bytes of SHA-256 of its manifest.
 */
export const MANIFEST_BYTES = 72;
const MANIFEST_MAGIC = 0x574c_4657;
export const MANIFEST_FORMAT = 1;
export const BODY_DIGEST_AT = 40;
export const KEY_IDENTIFIER_AT = 24;
export const BODY_DIGEST_BYTES = 32;
export const IMAGE_ID_BYTES = 4;
/** 91 sectors of 4 KiB. */
export const BODY_BYTES_MAX = 372_736;

/** What a body is for. A released number never changes meaning. */
export const FirmwareTarget = Object.freeze({
	/** Archive of XS bytecode (hosts/xs/archive.h) for a machine of 64 bits, as the Linux host runs it. */
	linuxXs: 1,
	/** Archive of XS bytecode for a machine of 32 bits. */
	microcontrollerXs: 2,
	/** Anything: tests in one process, where nothing is booted. */
	inProcess: 3,
} as const);
export type FirmwareTarget = (typeof FirmwareTarget)[keyof typeof FirmwareTarget];

/**
 * Firmware update, version 1. Each message starts with kind 1 @0 and version 1 @1; the rest:
 * | kind | name                | way  | total | fields                                                                   |
 * |-----:|---------------------|------|------:|--------------------------------------------------------------------------|
 * | 0x98 | updateOffer         | down |    76 | requestId 2 @2, manifest 72 @4                                           |
 * | 0x99 | updateSignature     | down | 8 + n | offset 2 @2 in the signature, imageId 4 @4, n bytes of it, 1 to 768      |
 * | 0x9A | updateBlock         | down | 8 + n | blockIndex 2 @2, imageId 4 @4, bytes of the body from 512 x blockIndex: 512, in the last block what is left |
 * | 0x9B | updateActivate      | down |     8 | requestId 2 @2, imageId 4 @4: start it now                               |
 * | 0x9C | updateStatusRequest | down |     4 | requestId 2 @2                                                           |
 * | 0x9D | updateCancel        | down |     8 | requestId 2 @2, imageId 4 @4: forget it                                  |
 */
export const UPDATE_BLOCK_BYTES = 512;
export const UPDATE_SIGNATURE_PART_BYTES_MAX = 768;
export const UPDATE_HEADER_BYTES = 8;
export const UPDATE_OFFER_BYTES = 4 + MANIFEST_BYTES;

/** How far an update is. */
export const UpdateState = Object.freeze({
	/** Nothing is on its way. */
	idle: 0,
	/** A manifest was accepted; the signature is expected next. */
	offered: 1,
	/** The signature is being verified. */
	checking: 2,
	/** A place in flash is being erased. */
	preparing: 3,
	/** The signature is good: blocks are expected. */
	receiving: 4,
	/** All blocks are there; the body is being hashed. */
	hashing: 5,
	/** The body is the one that was signed: `updateActivate` starts it. */
	verified: 6,
	/** It will be tried at the next start. */
	armed: 7,
	/** It runs, and has not proved itself yet. */
	trial: 8,
} as const);
export type UpdateState = (typeof UpdateState)[keyof typeof UpdateState];

/** How the last update ended. */
export const UpdateResult = Object.freeze({
	none: 0,
	/** It runs and has proved itself. */
	confirmed: 1,
	/** It was started and did not confirm itself: the one before runs again. */
	rolledBack: 2,
	/** A firmware in flash was no longer what had been verified, and was passed over at a start. */
	damaged: 3,
} as const);
export type UpdateResult = (typeof UpdateResult)[keyof typeof UpdateResult];

export interface Manifest {
	major: number;
	minor: number;
	patch: number;
	target: number;
	securityVersion: number;
	bodyBytes: number;
	/** UTCTime. */
	builtSeconds: number;
	readonly keyIdentifier: Uint8Array;
	readonly bodyDigest: Uint8Array;
}

export function createManifest(): Manifest {
	return {
		major: 0,
		minor: 0,
		patch: 0,
		target: 0,
		securityVersion: 0,
		bodyBytes: 0,
		builtSeconds: 0,
		keyIdentifier: new Uint8Array(BODY_DIGEST_AT - KEY_IDENTIFIER_AT),
		bodyDigest: new Uint8Array(BODY_DIGEST_BYTES),
	};
}

/** Writes 72 bytes at `offset`. */
export function encodeManifest(manifest: Manifest, into: DataView, offset: number): void {
	into.setUint32(offset, MANIFEST_MAGIC);
	into.setUint8(offset + 4, MANIFEST_FORMAT);
	into.setUint8(offset + 5, manifest.major);
	into.setUint8(offset + 6, manifest.minor);
	into.setUint8(offset + 7, manifest.patch);
	into.setUint32(offset + 8, manifest.target);
	into.setUint32(offset + 12, manifest.securityVersion);
	into.setUint32(offset + 16, manifest.bodyBytes);
	into.setUint32(offset + 20, manifest.builtSeconds);
	for (let i = 0; i < manifest.keyIdentifier.length; i++)
		into.setUint8(offset + KEY_IDENTIFIER_AT + i, manifest.keyIdentifier[i]!);
	for (let i = 0; i < BODY_DIGEST_BYTES; i++) into.setUint8(offset + BODY_DIGEST_AT + i, manifest.bodyDigest[i]!);
}

/** Reads 72 bytes at `offset`. Whether the firmware suits the meter is asked elsewhere. */
export function decodeManifest(from: DataView, offset: number, into: Manifest): Status {
	if (from.byteLength - offset < MANIFEST_BYTES) return Status.badLength; // UPD-1
	if (from.getUint32(offset) !== MANIFEST_MAGIC) return Status.badKind; // UPD-2
	if (from.getUint8(offset + 4) !== MANIFEST_FORMAT) return Status.badVersion; // UPD-3
	const bodyBytes = from.getUint32(offset + 16);
	if (bodyBytes < 1) return Status.badValue; // UPD-4
	if (bodyBytes > BODY_BYTES_MAX) return Status.storageFull; // UPD-5
	into.major = from.getUint8(offset + 5);
	into.minor = from.getUint8(offset + 6);
	into.patch = from.getUint8(offset + 7);
	into.target = from.getUint32(offset + 8);
	into.securityVersion = from.getUint32(offset + 12);
	into.bodyBytes = bodyBytes;
	into.builtSeconds = from.getUint32(offset + 20);
	for (let i = 0; i < into.keyIdentifier.length; i++)
		into.keyIdentifier[i] = from.getUint8(offset + KEY_IDENTIFIER_AT + i);
	for (let i = 0; i < BODY_DIGEST_BYTES; i++) into.bodyDigest[i] = from.getUint8(offset + BODY_DIGEST_AT + i);
	return Status.ok;
}

/** Major, minor and patch as one number that grows with them. */
export function versionNumber(version: Pick<Manifest, "major" | "minor" | "patch">): number {
	return version.major * 65_536 + version.minor * 256 + version.patch;
}

/** What the six messages of the sender have in common. */
export interface UpdateMessage {
	kind: number;
	/** Of offer, activate, status request, cancel. */
	requestId: number;
	/** Of signature (offset) and block (blockIndex). */
	place: number;
	/** Not of offer and status request. */
	imageId: number;
	/** Where manifest, signature or block begin in the message, and how many bytes they are. */
	dataAt: number;
	dataBytes: number;
}

export function createUpdateMessage(): UpdateMessage {
	return { kind: 0, requestId: 0, place: 0, imageId: 0, dataAt: 0, dataBytes: 0 };
}

/** Writes an offer around a manifest of 72 bytes. @returns bytes written */
export function encodeUpdateOffer(requestId: number, manifest: Uint8Array, into: DataView): number {
	into.setUint8(0, Kind.updateOffer);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, requestId);
	for (let i = 0; i < MANIFEST_BYTES; i++) into.setUint8(4 + i, manifest[i]!);
	return UPDATE_OFFER_BYTES;
}

/** Writes a part of the signature, or a block of the body. @returns bytes written */
export function encodeUpdateData(
	kind: typeof Kind.updateSignature | typeof Kind.updateBlock,
	place: number,
	imageId: number,
	data: Uint8Array,
	offset: number,
	byteLength: number,
	into: DataView,
): number {
	into.setUint8(0, kind);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, place);
	into.setUint32(4, imageId);
	for (let i = 0; i < byteLength; i++) into.setUint8(UPDATE_HEADER_BYTES + i, data[offset + i]!);
	return UPDATE_HEADER_BYTES + byteLength;
}

/** @returns bytes written */
export function encodeUpdateOrder(
	kind: typeof Kind.updateActivate | typeof Kind.updateStatusRequest | typeof Kind.updateCancel,
	requestId: number,
	imageId: number,
	into: DataView,
): number {
	into.setUint8(0, kind);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, requestId);
	if (kind === Kind.updateStatusRequest) return 4;
	into.setUint32(4, imageId);
	return UPDATE_HEADER_BYTES;
}

/** Checks kind, version and length of any of the six; what they ask for is checked by who does it. */
export function decodeUpdateMessage(from: DataView, byteLength: number, into: UpdateMessage): Status {
	if (byteLength < 4) return Status.badLength; // UPD-6
	const kind = from.getUint8(0);
	let expected: number;
	switch (kind) {
		case Kind.updateOffer:
			expected = UPDATE_OFFER_BYTES;
			break;
		case Kind.updateSignature:
		case Kind.updateBlock: {
			const most = kind === Kind.updateBlock ? UPDATE_BLOCK_BYTES : UPDATE_SIGNATURE_PART_BYTES_MAX;
			if (byteLength <= UPDATE_HEADER_BYTES || byteLength > UPDATE_HEADER_BYTES + most) return Status.badLength; // UPD-7
			expected = byteLength;
			break;
		}
		case Kind.updateActivate:
		case Kind.updateCancel:
			expected = UPDATE_HEADER_BYTES;
			break;
		case Kind.updateStatusRequest:
			expected = 4;
			break;
		default:
			return Status.badKind; // UPD-8
	}
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // UPD-9
	if (byteLength !== expected) return Status.badLength; // UPD-10
	const isData = kind === Kind.updateSignature || kind === Kind.updateBlock;
	into.kind = kind;
	into.requestId = isData ? 0 : from.getUint16(2);
	into.place = isData ? from.getUint16(2) : 0;
	into.dataAt = kind === Kind.updateOffer ? 4 : UPDATE_HEADER_BYTES;
	into.dataBytes = isData || kind === Kind.updateOffer ? byteLength - into.dataAt : 0;
	into.imageId = byteLength >= UPDATE_HEADER_BYTES && kind !== Kind.updateOffer ? from.getUint32(4) : 0;
	return Status.ok;
}

/**
 * Update status, version 1: 32 + 4 × rangeCount bytes. Answers every message but blocks, and is sent unasked when a
 * block was refused and when the state changes. Whoever sends the image needs nothing else to begin, go on, or begin again.
 * | offset | size | field           | unit and range                                                           |
 * |-------:|-----:|-----------------|--------------------------------------------------------------------------|
 * |      0 |    1 | kind            | 0x18                                                                     |
 * |      1 |    1 | version         | 1                                                                        |
 * |      2 |    2 | requestId       | of what is answered; 0: unasked                                          |
 * |      4 |    1 | state           | see UpdateState                                                          |
 * |      5 |    1 | status          | of the last message but blocks, or of a block that was refused since      |
 * |      6 |    1 | runningSlot     | 0: what the host has built in; 1, 2: areas A, B of flash                 |
 * |      7 |    1 | result          | of the last update: see UpdateResult                                     |
 * |      8 |    3 | running         | version that runs: major, minor, patch                                   |
 * |     11 |    1 | rangeCount      | 0 to 64                                                                  |
 * |     12 |    4 | minimumSecurity | no image with a lower securityVersion is taken                           |
 * |     16 |    4 | imageId         | of the image on its way, or on trial; 0: none                            |
 * |     20 |    2 | signatureNext   | offset in the signature that is expected next                            |
 * |     22 |    2 | blockCount      | of the image on its way                                                  |
 * |     24 |    2 | blocksMissing   |                                                                          |
 * |     26 |    2 | reserved        | 0                                                                        |
 * |     28 |    4 | refusals        | messages refused since the start                                         |
 * |     32 | 4 each | missing       | first block 2, how many 2: rising; the first 64 ranges when there are more |
 */
export const UPDATE_STATUS_HEADER_BYTES = 32;
export const UPDATE_RANGES_MAX = 64;

export interface UpdateStatus {
	requestId: number;
	state: number;
	status: number;
	runningSlot: number;
	result: number;
	major: number;
	minor: number;
	patch: number;
	minimumSecurity: number;
	imageId: number;
	signatureNext: number;
	blockCount: number;
	blocksMissing: number;
	refusals: number;
	rangeCount: number;
	/** First block and count, in turn. */
	readonly ranges: Uint16Array;
}

export function createUpdateStatus(): UpdateStatus {
	return {
		requestId: 0,
		state: 0,
		status: 0,
		runningSlot: 0,
		result: 0,
		major: 0,
		minor: 0,
		patch: 0,
		minimumSecurity: 0,
		imageId: 0,
		signatureNext: 0,
		blockCount: 0,
		blocksMissing: 0,
		refusals: 0,
		rangeCount: 0,
		ranges: new Uint16Array(2 * UPDATE_RANGES_MAX),
	};
}

/** @returns bytes written, at most 288 */
export function encodeUpdateStatus(status: UpdateStatus, into: DataView): number {
	into.setUint8(0, Kind.updateStatus);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, status.requestId);
	into.setUint8(4, status.state);
	into.setUint8(5, status.status);
	into.setUint8(6, status.runningSlot);
	into.setUint8(7, status.result);
	into.setUint8(8, status.major);
	into.setUint8(9, status.minor);
	into.setUint8(10, status.patch);
	into.setUint8(11, status.rangeCount);
	into.setUint32(12, status.minimumSecurity);
	into.setUint32(16, status.imageId);
	into.setUint16(20, status.signatureNext);
	into.setUint16(22, status.blockCount);
	into.setUint16(24, status.blocksMissing);
	into.setUint16(26, 0);
	into.setUint32(28, status.refusals);
	for (let i = 0; i < 2 * status.rangeCount; i++) into.setUint16(UPDATE_STATUS_HEADER_BYTES + 2 * i, status.ranges[i]!);
	return UPDATE_STATUS_HEADER_BYTES + 4 * status.rangeCount;
}

export function decodeUpdateStatus(from: DataView, byteLength: number, into: UpdateStatus): Status {
	if (byteLength < UPDATE_STATUS_HEADER_BYTES) return Status.badLength; // UPD-11
	if (from.getUint8(0) !== Kind.updateStatus) return Status.badKind; // UPD-12
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // UPD-13
	const rangeCount = from.getUint8(11);
	if (rangeCount > UPDATE_RANGES_MAX) return Status.badValue; // UPD-14
	if (byteLength !== UPDATE_STATUS_HEADER_BYTES + 4 * rangeCount) return Status.badLength; // UPD-15
	if (from.getUint8(4) > UpdateState.trial || from.getUint16(26) !== 0) return Status.badValue; // UPD-16
	const blockCount = from.getUint16(22);
	let end = 0;
	for (let i = 0; i < rangeCount; i++) {
		const first = from.getUint16(UPDATE_STATUS_HEADER_BYTES + 4 * i);
		const count = from.getUint16(UPDATE_STATUS_HEADER_BYTES + 4 * i + 2);
		// rising, not empty, within the image: whoever sends by them ends
		if (first < end || count < 1 || first + count > blockCount) return Status.badValue; // UPD-17
		end = first + count;
		into.ranges[2 * i] = first;
		into.ranges[2 * i + 1] = count;
	}
	into.requestId = from.getUint16(2);
	into.state = from.getUint8(4);
	into.status = from.getUint8(5);
	into.runningSlot = from.getUint8(6);
	into.result = from.getUint8(7);
	into.major = from.getUint8(8);
	into.minor = from.getUint8(9);
	into.patch = from.getUint8(10);
	into.minimumSecurity = from.getUint32(12);
	into.imageId = from.getUint32(16);
	into.signatureNext = from.getUint16(20);
	into.blockCount = blockCount;
	into.blocksMissing = from.getUint16(24);
	into.refusals = from.getUint32(28);
	into.rangeCount = rangeCount;
	return Status.ok;
}
