import { Status } from "../bytes/status.js";

/**
 * What lies inside and behind the unicast messages of the secured channel (HORA section 8, as laid out in
 * docs/DESIGN-SECURED-CHANNEL.md). The header and the seal are src/key-store/unicast.ts. Big-endian.
 */

/** `notAfter` of a command that may be obeyed the whole day. */
export const WHOLE_DAY = 0xffff;

/**
 * Content of DATA (0x08) and of NEIGHBOUR (0x11) going up: 2 bytes before the message.
 * | offset | size | field    | unit and range                                                    |
 * |-------:|-----:|----------|-------------------------------------------------------------------|
 * |      0 |    2 | downNext | next index of the branch that the meter accepts; all below are in |
 * |      2 |    n | message  | kind first                                                        |
 *
 * Content of COMMAND (0x09): 2 bytes before the message.
 * | offset | size | field    | unit and range                                                         |
 * |-------:|-----:|----------|------------------------------------------------------------------------|
 * |      0 |    2 | notAfter | last interval of the header's epoch to act in; 0xFFFF: the whole day   |
 * |      2 |    n | message  | kind first                                                             |
 */
export const CONTENT_PREFIX_BYTES = 2;

/**
 * Content of TIME (0x0B): 8 bytes. The nonce of the question is bound.
 * | offset | size | field        | unit and range                     |
 * |-------:|-----:|--------------|------------------------------------|
 * |      0 |    2 | epoch        | days since 2000-01-01              |
 * |      2 |    2 | interval     | of the day                         |
 * |      4 |    4 | milliseconds | since the interval began           |
 */
export const TIME_BYTES = 8;

export interface TimeContent {
	epoch: number;
	interval: number;
	milliseconds: number;
}

export function createTimeContent(): TimeContent {
	return { epoch: 0, interval: 0, milliseconds: 0 };
}

export function encodeTime(time: TimeContent, into: DataView, offset = 0): void {
	into.setUint16(offset, time.epoch);
	into.setUint16(offset + 2, time.interval);
	into.setUint32(offset + 4, time.milliseconds);
}

export function decodeTime(from: DataView, byteLength: number, into: TimeContent): Status {
	if (byteLength !== TIME_BYTES) return Status.badLength; // CHN-1
	decodeTimeFields(from, into);
	return Status.ok;
}

function decodeTimeFields(from: DataView, into: TimeContent): void {
	into.epoch = from.getUint16(0);
	into.interval = from.getUint16(2);
	into.milliseconds = from.getUint32(4);
}

/**
 * Content of CATCHUP (0x07): 30 bytes. The nonce of the question is bound. Trees follow in a later version of HORA's
 * message: a receiver takes what it knows and ignores what comes after.
 * | offset | size | field        | unit and range                                                  |
 * |-------:|-----:|--------------|-----------------------------------------------------------------|
 * |      0 |    8 | time         | as in TIME, by the concentrator's clock                         |
 * |      8 |    4 | head         | largest count of key records that this meter was seen with      |
 * |     12 |    2 | keyInterval  | interval whose disclosed key follows; 0xFFFF: T_0 of the epoch   |
 * |     14 |   16 | chainKey     | of that interval, of the concentrator's chain                   |
 */
export const CATCHUP_BYTES = 30;
export const NO_KEY_INTERVAL = 0xffff;
export const CATCHUP_KEY = 14;

export interface CatchUp extends TimeContent {
	head: number;
	keyInterval: number;
}

export function createCatchUp(): CatchUp {
	return { epoch: 0, interval: 0, milliseconds: 0, head: 0, keyInterval: NO_KEY_INTERVAL };
}

/** The chain key is the caller's to write, at `CATCHUP_KEY`. */
export function encodeCatchUp(catchUp: CatchUp, into: DataView): void {
	encodeTime(catchUp, into);
	into.setUint32(8, catchUp.head);
	into.setUint16(12, catchUp.keyInterval);
}

/** The chain key stays where it is, at `CATCHUP_KEY`. */
export function decodeCatchUp(from: DataView, byteLength: number, into: CatchUp): Status {
	if (byteLength < CATCHUP_BYTES) return Status.badLength; // CHN-2
	decodeTimeFields(from, into);
	into.head = from.getUint32(8);
	into.keyInterval = from.getUint16(12);
	return Status.ok;
}

/**
 * Trailer of TIME-REQ (0x0A), behind its tag and bound: 8 bytes.
 * | offset | size | field | unit and range         |
 * |-------:|-----:|-------|------------------------|
 * |      0 |    8 | nonce | random, of this question |
 *
 * Trailer of CATCHUP-REQ (0x06), behind its tag and bound: 14 bytes.
 * | offset | size | field    | unit and range                                                    |
 * |-------:|-----:|----------|-------------------------------------------------------------------|
 * |      0 |    8 | nonce    | random, of this question                                          |
 * |      8 |    4 | head     | count of key records of the meter                                 |
 * |     12 |    2 | downNext | next index of the neighbourhood branch that the meter accepts     |
 */
export const NONCE_BYTES = 8;
export const TIME_REQUEST_TRAILER_BYTES = NONCE_BYTES;
export const CATCHUP_REQUEST_TRAILER_BYTES = 14;
export const CATCHUP_REQUEST_HEAD = 8;
export const CATCHUP_REQUEST_DOWN_NEXT = 12;
