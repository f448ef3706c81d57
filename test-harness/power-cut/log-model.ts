import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Status } from "../../src/bytes/status.js";
import { RECORD_OVERHEAD_BYTES, RecordLog, SECTOR_HEADER_BYTES } from "../../src/storage/record-log.js";
import { type FlashSimulator, PowerCut } from "../board/flash-simulator.js";

/** Small enough to cut everywhere: 256-byte sectors hold 7 records of 20 bytes. */
export const SMALL = Object.freeze({ sectorBytes: 256, sectorCount: 4, recordBytes: 20, kind: 0x5465_7374 });
export const SMALL_SLOTS = Math.floor(
	(SMALL.sectorBytes - SECTOR_HEADER_BYTES) / (SMALL.recordBytes + RECORD_OVERHEAD_BYTES),
);

/** Torn lengths: nothing, single bytes, both sides of each 16-byte block and field, all. */
export const TORN_BYTES: readonly number[] = [
	0, 1, 3, 4, 5, 7, 8, 11, 12, 15, 16, 17, 19, 20, 27, 28, 31, 32, 33, 63, 64, 100, 128, 224, 255, 256,
];

/** Runs `action`; false when power failed in it. Anything else that is thrown is thrown on. */
export function survives(action: () => void): boolean {
	try {
		action();
		return true;
	} catch (error) {
		if (error instanceof PowerCut) return false;
		throw error;
	}
}

/** What the outside knows about a log, through any number of reboots; held against the log after each `open`. */
export class LogModel {
	/** Records that were acknowledged or have been read once: they must stay until they are erased as oldest. */
	readonly known = new Map<number, string>();
	/** Everything that was ever tried, as hex. */
	readonly attempted = new Set<string>();
	readonly #into: Uint8Array;
	#nextSeen = 1;
	#oldestSeen = 1;

	constructor(recordBytes: number = SMALL.recordBytes) {
		this.#into = new Uint8Array(recordBytes);
	}

	/** A model of the same past, so that many futures can be tried from it. */
	copy(): LogModel {
		const copy = new LogModel(this.#into.length);
		for (const [sequence, text] of this.known) copy.known.set(sequence, text);
		for (const text of this.attempted) copy.attempted.add(text);
		copy.#nextSeen = this.#nextSeen;
		copy.#oldestSeen = this.#oldestSeen;
		return copy;
	}

	/** Appends; a power cut passes through, and leaves the record possible, not certain. */
	append(log: RecordLog, payload: Uint8Array): Status {
		const text = hex(payload);
		this.attempted.add(text);
		const status = log.append(payload, payload.length);
		if (status !== Status.ok) return status;
		const sequence = log.nextSequence - 1;
		assert.ok(sequence >= this.#nextSeen, `sequence ${sequence} was given out before`);
		assert.ok(!this.known.has(sequence), `sequence ${sequence} is known`);
		assert.equal(log.newestSequence, sequence);
		this.known.set(sequence, text);
		this.#nextSeen = log.nextSequence;
		return status;
	}

	/** Everything an opened log must fulfil. `heldMin`: how many sequences it must at least still hold. */
	check(log: RecordLog, heldMin: number): void {
		const { oldestSequence: oldest, nextSequence: next } = log;
		assert.ok(next >= this.#nextSeen, `next went back from ${this.#nextSeen} to ${next}`);
		assert.ok(oldest >= this.#oldestSeen, `oldest went back from ${this.#oldestSeen} to ${oldest}`);
		assert.ok(oldest <= Math.max(1, next - heldMin), `oldest ${oldest}, next ${next}: holds less than ${heldMin}`);
		let newest = 0;
		for (let sequence = oldest; sequence < next; sequence++) {
			const status = log.read(sequence, this.#into);
			const known = this.known.get(sequence);
			if (status === Status.ok) {
				const text = hex(this.#into.subarray(0, log.readByteLength));
				assert.equal(log.readSequence, sequence);
				assert.ok(this.attempted.has(text), `record ${sequence} was never written`);
				if (known !== undefined) assert.equal(text, known, `record ${sequence} changed`);
				this.known.set(sequence, text);
				newest = sequence;
			} else {
				assert.equal(known, undefined, `record ${sequence} is lost (status ${status})`);
				assert.ok(status === Status.badChecksum || status === Status.notFound, `status ${status}`);
			}
		}
		assert.equal(log.newestSequence, newest);
		const answer = log.readNewest(this.#into);
		if (newest > 0) {
			assert.equal(answer, Status.ok);
			assert.equal(log.readSequence, newest);
		} else {
			assert.equal(answer, oldest === next ? Status.notFound : Status.badChecksum);
		}
		assert.equal(log.read(oldest - 1, this.#into), Status.notFound);
		assert.equal(log.read(next, this.#into), Status.notFound);
		this.#nextSeen = next;
		this.#oldestSeen = oldest;
	}
}

export function openSmall(flash: FlashSimulator): RecordLog {
	const log = new RecordLog(flash, 0, SMALL.sectorCount, SMALL.kind, SMALL.recordBytes);
	assert.equal(log.open(), Status.ok);
	return log;
}

/** A payload that tells its number, of varying length, also with bytes 0xFF at its end. */
export function payloadOf(number: number, byteLengthMax: number = SMALL.recordBytes): Uint8Array {
	const bytes = new Uint8Array(4 + (Math.imul(number, 7) % (byteLengthMax - 3)));
	bytes.fill(number % 3 === 0 ? 0xff : number & 0xff);
	new DataView(bytes.buffer).setUint32(0, number);
	return bytes;
}

/** Fills `bytes` with a sequence that is found in no other number's. */
export function distinct(number: number, bytes: Uint8Array): Uint8Array {
	const digest = createHash("shake256", { outputLength: bytes.length }).update(String(number)).digest();
	bytes.set(digest);
	return bytes;
}

export function hex(bytes: Uint8Array): string {
	return Buffer.from(bytes).toString("hex");
}
