import { Status } from "../bytes/status.js";
import { CHAIN_BYTES, COMMAND_ID_BYTES } from "./command.js";
import { Kind, MESSAGE_VERSION, UTC_INVALID } from "./kinds.js";

/** What became of a command. */
export const Outcome = Object.freeze({
	/** The log holds nothing of it: it never came, or it is older than the log. */
	unknown: 0,
	/** Carried out; `status` tells how it ended. */
	executed: 1,
	/** Not carried out; `status` tells why. */
	refused: 2,
	/** Power failed while it was carried out. `detail` 1: what survives shows its effect; 0: it is not known. */
	interrupted: 3,
} as const);
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export interface Receipt {
	outcome: number;
	/** `Status`. */
	status: number;
	readonly commandId: Uint8Array;
	/** UTCTime of the row that ended it. */
	endedSeconds: number;
	/** The command's answer: position of the relay, head of the key journal. Of a refusal: commandKind, source, index. */
	detail: number;
	/** Of the command as the meter understood it; zeros when the log does not hold it. */
	readonly digest: Uint8Array;
	/** Row of the meter's audit log that ended the command, 0: none. */
	rowSequence: number;
	/** Newest row of the meter's audit log, and its chain value: the anchor for the sender. */
	headSequence: number;
	readonly headChain: Uint8Array;
	/** The sender's anchor as it came with the command; zeros when it is not held. */
	readonly senderAnchor: Uint8Array;
}

/**
 * Receipt, version 1: 76 bytes. Written from the meter's audit log, so that it says nothing that the log does not.
 * | offset | size | field        | unit and range                                                           |
 * |-------:|-----:|--------------|--------------------------------------------------------------------------|
 * |      0 |    1 | kind         | 0x10                                                                     |
 * |      1 |    1 | version      | 1                                                                        |
 * |      2 |    1 | outcome      | 0 unknown, 1 executed, 2 refused, 3 interrupted                          |
 * |      3 |    1 | status       | src/bytes/status.ts                                                      |
 * |      4 |    8 | commandId    |                                                                          |
 * |     12 |    4 | endedSeconds | UTCTime                                                                  |
 * |     16 |    4 | detail       | signed; the command's answer; refused: commandKind 1, source 1, index 2   |
 * |     20 |   16 | digest       | of the command as it came                                                |
 * |     36 |    4 | rowSequence  | row of the meter's audit log that ended it, 0: none                      |
 * |     40 |    4 | headSequence | newest row of the meter's audit log                                      |
 * |     44 |   16 | headChain    | its chain value                                                          |
 * |     60 |   16 | senderAnchor | the anchor that came with the command                                    |
 */
export const RECEIPT_BYTES = 76;

/**
 * Receipt request, version 1: 12 bytes.
 * | offset | size | field     | unit and range |
 * |-------:|-----:|-----------|----------------|
 * |      0 |    1 | kind      | 0x91           |
 * |      1 |    1 | version   | 1              |
 * |      2 |    2 | reserved  | 0              |
 * |      4 |    8 | commandId |                |
 */
export const RECEIPT_REQUEST_BYTES = 12;

export function createReceipt(): Receipt {
	return {
		outcome: Outcome.unknown,
		status: Status.notFound,
		commandId: new Uint8Array(COMMAND_ID_BYTES),
		endedSeconds: UTC_INVALID,
		detail: 0,
		digest: new Uint8Array(CHAIN_BYTES),
		rowSequence: 0,
		headSequence: 0,
		headChain: new Uint8Array(CHAIN_BYTES),
		senderAnchor: new Uint8Array(CHAIN_BYTES),
	};
}

/** Writes `bytes` at `at`. */
export function setBytes(into: DataView, at: number, bytes: Uint8Array): void {
	for (let i = 0; i < bytes.length; i++) into.setUint8(at + i, bytes[i]!);
}

/** Fills `bytes` from `at`. */
export function getBytes(from: DataView, at: number, bytes: Uint8Array): void {
	for (let i = 0; i < bytes.length; i++) bytes[i] = from.getUint8(at + i);
}

export function encodeReceipt(receipt: Receipt, into: DataView): number {
	into.setUint8(0, Kind.receipt);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint8(2, receipt.outcome);
	into.setUint8(3, receipt.status);
	setBytes(into, 4, receipt.commandId);
	into.setUint32(12, receipt.endedSeconds);
	into.setInt32(16, receipt.detail);
	setBytes(into, 20, receipt.digest);
	into.setUint32(36, receipt.rowSequence);
	into.setUint32(40, receipt.headSequence);
	setBytes(into, 44, receipt.headChain);
	setBytes(into, 60, receipt.senderAnchor);
	return RECEIPT_BYTES;
}

export function decodeReceipt(from: DataView, byteLength: number, into: Receipt): Status {
	if (byteLength !== RECEIPT_BYTES) return Status.badLength; // RCP-1
	if (from.getUint8(0) !== Kind.receipt) return Status.badKind; // RCP-2
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // RCP-3
	const outcome = from.getUint8(2);
	const rowSequence = from.getUint32(36);
	if (outcome > Outcome.interrupted) return Status.badValue; // RCP-4
	if ((outcome === Outcome.unknown) !== (rowSequence === 0)) return Status.badValue; // RCP-5
	if (rowSequence > from.getUint32(40)) return Status.badValue; // RCP-6
	into.outcome = outcome;
	into.status = from.getUint8(3);
	getBytes(from, 4, into.commandId);
	into.endedSeconds = from.getUint32(12);
	into.detail = from.getInt32(16);
	getBytes(from, 20, into.digest);
	into.rowSequence = rowSequence;
	into.headSequence = from.getUint32(40);
	getBytes(from, 44, into.headChain);
	getBytes(from, 60, into.senderAnchor);
	return Status.ok;
}

export function encodeReceiptRequest(commandId: Uint8Array, into: DataView): number {
	into.setUint8(0, Kind.receiptRequest);
	into.setUint8(1, MESSAGE_VERSION);
	into.setUint16(2, 0);
	setBytes(into, 4, commandId);
	return RECEIPT_REQUEST_BYTES;
}

/** @param commandId receives 8 bytes */
export function decodeReceiptRequest(from: DataView, byteLength: number, commandId: Uint8Array): Status {
	if (byteLength !== RECEIPT_REQUEST_BYTES) return Status.badLength; // RCP-7
	if (from.getUint8(0) !== Kind.receiptRequest) return Status.badKind; // RCP-8
	if (from.getUint8(1) !== MESSAGE_VERSION) return Status.badVersion; // RCP-9
	if (from.getUint16(2) !== 0) return Status.badValue; // RCP-10
	getBytes(from, 4, commandId);
	return Status.ok;
}
