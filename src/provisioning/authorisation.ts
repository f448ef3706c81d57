import { Status } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import { DEVICE_FILE_BYTES, DEVICE_ID_BYTES } from "./device-file.js";

/** `H20`: the first 20 bytes of SHA-256. */
export const SUBJECT_BYTES = 20;

/**
 * Authorisation, version 1: 22 bytes, big-endian, the message of a COMMAND (0x09) of the end-to-end branch that comes
 * through the optical port: the meter in front of the technician may take this file, or may forget its keys. Whoever
 * has the file alone, or the message alone, can do nothing with it.
 * | offset | size | field   | unit and range                                                             |
 * |-------:|-----:|---------|----------------------------------------------------------------------------|
 * |      0 |    1 | kind    | 0xA0 reseed, 0xA1 decommission                                             |
 * |      1 |    1 | version | 1                                                                          |
 * |      2 |   20 | subject | first bytes of SHA-256 of: the device file; the meter's id 8, generation 2 |
 */
export const AUTHORISATION_BYTES = 22;
const AUTHORISATION_VERSION = 1;

export const AuthorisationKind = Object.freeze({ reseed: 0xa0, decommission: 0xa1 } as const);
export type AuthorisationKind = (typeof AuthorisationKind)[keyof typeof AuthorisationKind];

export interface Authorisation {
	kind: number;
	readonly subject: Uint8Array;
}

export function createAuthorisation(): Authorisation {
	return { kind: 0, subject: new Uint8Array(SUBJECT_BYTES) };
}

/** @param offset where the message starts in `from` @param byteLength of the message */
export function decodeAuthorisation(from: Uint8Array, offset: number, byteLength: number, into: Authorisation): Status {
	if (byteLength !== AUTHORISATION_BYTES || offset + byteLength > from.length) return Status.badLength; // ATH-1
	const kind = from[offset]!;
	if (kind !== AuthorisationKind.reseed && kind !== AuthorisationKind.decommission) return Status.badKind; // ATH-2
	if (from[offset + 1] !== AUTHORISATION_VERSION) return Status.badVersion; // ATH-3
	into.kind = kind;
	for (let i = 0; i < SUBJECT_BYTES; i++) into.subject[i] = from[offset + 2 + i]!;
	return Status.ok;
}

/** @returns bytes written, `AUTHORISATION_BYTES` */
export function encodeAuthorisation(from: Authorisation, into: Uint8Array, offset: number): number {
	into[offset] = from.kind;
	into[offset + 1] = AUTHORISATION_VERSION;
	for (let i = 0; i < SUBJECT_BYTES; i++) into[offset + 2 + i] = from.subject[i]!;
	return AUTHORISATION_BYTES;
}

/** What an authorisation to take this device file names. @param file with `DEVICE_FILE_BYTES` at `offset` */
export function fileSubject(crypto: Crypto, file: Uint8Array, offset: number, into: Uint8Array): void {
	crypto.sha256(file, offset, DEVICE_FILE_BYTES, into, 0, SUBJECT_BYTES);
}

/** What an authorisation to forget the keys of this generation names. */
export function meterSubject(crypto: Crypto, id: Uint8Array, generation: number, into: Uint8Array): void {
	for (let i = 0; i < DEVICE_ID_BYTES; i++) into[i] = id[i]!;
	into[DEVICE_ID_BYTES] = generation >> 8;
	into[DEVICE_ID_BYTES + 1] = generation;
	crypto.sha256(into, 0, DEVICE_ID_BYTES + 2, into, 0, SUBJECT_BYTES);
}

/**
 * Key receipt, version 1: 26 bytes, big-endian, the message of a DATA (0x08) of the end-to-end branch in the answer of the
 * optical port: the meter itself, with its keys, says what it has done. After PROVISION and RESEED it is sealed under
 * the new keys, and so proves that they arrived; after DECOMMISSION it is the last message of the old ones.
 * | offset | size | field      | unit and range                                    |
 * |-------:|-----:|------------|---------------------------------------------------|
 * |      0 |    1 | kind       | 0x20                                              |
 * |      1 |    1 | version    | 1                                                 |
 * |      2 |    1 | request    | 0x04 PROVISION, 0x05 RESEED, 0x06 DECOMMISSION    |
 * |      3 |    1 | reserved   | 0                                                 |
 * |      4 |    2 | generation | of the keys that it is sealed under               |
 * |      6 |   20 | subject    | as in the authorisation                           |
 */
export const KEY_RECEIPT_BYTES = 26;
const KEY_RECEIPT_KIND = 0x20;
const KEY_RECEIPT_VERSION = 1;
const REQUEST_MIN = 4;
const REQUEST_MAX = 6;

export interface KeyReceipt {
	request: number;
	generation: number;
	readonly subject: Uint8Array;
}

export function createKeyReceipt(): KeyReceipt {
	return { request: 0, generation: 0, subject: new Uint8Array(SUBJECT_BYTES) };
}

/** @param offset where the message starts in `from` @param byteLength of the message */
export function decodeKeyReceipt(from: Uint8Array, offset: number, byteLength: number, into: KeyReceipt): Status {
	if (byteLength !== KEY_RECEIPT_BYTES || offset + byteLength > from.length) return Status.badLength; // RCT-1
	if (from[offset] !== KEY_RECEIPT_KIND) return Status.badKind; // RCT-2
	if (from[offset + 1] !== KEY_RECEIPT_VERSION) return Status.badVersion; // RCT-3
	const request = from[offset + 2]!;
	if (request < REQUEST_MIN || request > REQUEST_MAX || from[offset + 3] !== 0) return Status.badValue; // RCT-4
	into.request = request;
	into.generation = (from[offset + 4]! << 8) | from[offset + 5]!;
	for (let i = 0; i < SUBJECT_BYTES; i++) into.subject[i] = from[offset + 6 + i]!;
	return Status.ok;
}

/** @returns bytes written, `KEY_RECEIPT_BYTES` */
export function encodeKeyReceipt(from: KeyReceipt, into: Uint8Array, offset: number): number {
	into[offset] = KEY_RECEIPT_KIND;
	into[offset + 1] = KEY_RECEIPT_VERSION;
	into[offset + 2] = from.request;
	into[offset + 3] = 0;
	into[offset + 4] = from.generation >> 8;
	into[offset + 5] = from.generation;
	for (let i = 0; i < SUBJECT_BYTES; i++) into[offset + 6 + i] = from.subject[i]!;
	return KEY_RECEIPT_BYTES;
}
