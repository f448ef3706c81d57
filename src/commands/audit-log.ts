import { Status } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import {
	AUDIT_COMMAND_ROW_BYTES,
	AUDIT_HEADER_BYTES,
	AUDIT_ROWS_MAX,
	AuditFormat,
	type AuditRow,
	CHAIN_INPUT_BYTES_MAX,
	createAuditHeader,
	createAuditRow,
	encodeAuditHeader,
	encodeAuditRow,
	encodeChainInput,
} from "../messages/audit.js";
import { CHAIN_BYTES, COMMAND_ID_BYTES } from "../messages/command.js";
import { utcField } from "../messages/kinds.js";
import { createEventRecord, EVENT_EXTRA_BYTES, type EventStore } from "../storage/event-store.js";

/** A message of rows is at most so long: it and what the secured channel adds fit into 1024 bytes. */
export const AUDIT_BYTES_MAX = 1000;

/**
 * The meter's one log of events and commands, each row chained to the one before. Every row goes in by here: a row that
 * went to the store alone would not be in the chain.
 *
 * The chain value is of the content, not of the sequence: a torn write uses up a sequence, and flash that does not keep a
 * record makes `RecordLog` take the next one, after the chain value was made. Order is in the chain; what a sequence was
 * is in the anchors.
 */
export class AuditLog {
	readonly store: EventStore;
	/** Chain value of the newest chained row; 16 zeros when there is none. */
	readonly head = new Uint8Array(CHAIN_BYTES);
	/** Of the last good `read`: the stored chain value. */
	readonly rowChain: Uint8Array;
	/** The sequence after the last one that `encodeRows` has looked at. */
	afterSequence = 0;

	readonly #crypto: Crypto;
	readonly #record = createEventRecord();
	readonly #row = createAuditRow();
	readonly #readRow = createAuditRow();
	readonly #header = createAuditHeader();
	readonly #input = new Uint8Array(CHAIN_INPUT_BYTES_MAX);
	readonly #view = new DataView(this.#input.buffer);
	readonly #chain = new Uint8Array(CHAIN_BYTES);
	readonly #extra = new Uint8Array(EVENT_EXTRA_BYTES);

	constructor(crypto: Crypto, store: EventStore) {
		this.#crypto = crypto;
		this.store = store;
		this.rowChain = this.#record.chain;
	}

	/** Opens the store and finds the head. Before all else; may be called again. See `RecordLog.open`. */
	open(): Status {
		this.head.fill(0);
		const status = this.store.open();
		if (status !== Status.ok) return status;
		if (this.store.readNewest(this.#record) === Status.ok && isChained(this.#record.chain))
			for (let i = 0; i < CHAIN_BYTES; i++) this.head[i] = this.#record.chain[i]!;
		return Status.ok;
	}

	get oldestSequence(): number {
		return this.store.oldestSequence;
	}

	/** Sequence that the next row tries to take. */
	get nextSequence(): number {
		return this.store.nextSequence;
	}

	/** Sequence of the newest good row, 0 when there is none. */
	get headSequence(): number {
		return this.store.log.newestSequence;
	}

	/** An event. Durable when it returns `ok`. One compression, one program. @param utcSeconds NaN: clock not set */
	append(utcSeconds: number, code: number, detail: number): Status {
		return this.#append(utcSeconds, code, detail, undefined);
	}

	/** A row that names a command. @param value 16 bytes, its digest or its sender's anchor: the code says which */
	appendCommand(utcSeconds: number, code: number, detail: number, commandId: Uint8Array, value: Uint8Array): Status {
		const extra = this.#extra;
		for (let i = 0; i < COMMAND_ID_BYTES; i++) this.#row.commandId[i] = extra[i] = commandId[i]!;
		for (let i = 0; i < CHAIN_BYTES; i++) this.#row.value[i] = extra[COMMAND_ID_BYTES + i] = value[i]!;
		return this.#append(utcSeconds, code, detail, extra);
	}

	#append(utcSeconds: number, code: number, detail: number, extra: Uint8Array | undefined): Status {
		const row = this.#row;
		row.format = extra === undefined ? AuditFormat.event : AuditFormat.command;
		row.utcSeconds = utcField(utcSeconds);
		row.code = code;
		row.detail = detail;
		this.chainOf(this.head, row, this.#chain);
		const status = this.store.append(utcSeconds, code, detail, this.#chain, extra);
		if (status !== Status.ok) return status;
		for (let i = 0; i < CHAIN_BYTES; i++) this.head[i] = this.#chain[i]!;
		return Status.ok;
	}

	/** The chain value of a row behind one with `previous`. @param into receives 16 bytes; may be `previous` */
	chainOf(previous: Uint8Array, row: AuditRow, into: Uint8Array): void {
		const byteLength = encodeChainInput(previous, row, this.#view);
		this.#crypto.sha256(this.#input, 0, byteLength, into, 0, CHAIN_BYTES);
	}

	/** @returns `ok`, and `rowChain` is set; else see `EventStore.read` */
	read(sequence: number, into: AuditRow): Status {
		const record = this.#record;
		const status = this.store.read(sequence, record);
		if (status !== Status.ok) return status;
		into.sequence = sequence;
		into.utcSeconds = record.utcSeconds;
		into.code = record.code;
		into.detail = record.detail;
		const { hasExtra, extra } = this.store;
		if (!isChained(record.chain)) into.format = AuditFormat.unchained;
		else into.format = hasExtra ? AuditFormat.command : AuditFormat.event;
		for (let i = 0; i < COMMAND_ID_BYTES; i++) into.commandId[i] = hasExtra ? extra[i]! : 0;
		for (let i = 0; i < CHAIN_BYTES; i++) into.value[i] = hasExtra ? extra[COMMAND_ID_BYTES + i]! : 0;
		return Status.ok;
	}

	/**
	 * Rows from `first` on, as many as fit into a message and follow one another in the chain, one compression each. A slot
	 * that is not good ends the message, and so does a row that does not fit the one before: the next message begins with a
	 * chain value of its own, and the receiver sees what is wrong. `afterSequence` is where the next message begins.
	 * @returns bytes of the message, 0 for no row
	 */
	encodeRows(requestId: number, first: number, count: number, into: DataView): number {
		const end = Math.min(first + count, this.nextSequence);
		const limit = Math.min(AUDIT_BYTES_MAX, into.byteLength);
		const header = this.#header;
		const row = this.#readRow;
		let sequence = Math.max(first, this.oldestSequence);
		let at = AUDIT_HEADER_BYTES;
		let rowCount = 0;
		for (; sequence < end; sequence++) {
			if (rowCount === AUDIT_ROWS_MAX || at + AUDIT_COMMAND_ROW_BYTES > limit) break;
			if (this.read(sequence, row) !== Status.ok) {
				if (rowCount > 0) break;
				continue;
			}
			if (rowCount === 0) for (let i = 0; i < CHAIN_BYTES; i++) header.firstChain[i] = this.rowChain[i]!;
			else if (row.format === AuditFormat.unchained) {
				if (isChained(this.#chain)) break;
			} else {
				this.chainOf(this.#chain, row, this.#chain);
				if (!this.#crypto.equal(this.#chain, 0, this.rowChain, 0, CHAIN_BYTES)) break;
			}
			for (let i = 0; i < CHAIN_BYTES; i++) this.#chain[i] = this.rowChain[i]!;
			at = encodeAuditRow(row, into, at);
			rowCount++;
		}
		this.afterSequence = sequence >= end ? first + count : sequence;
		if (rowCount === 0) return 0;
		header.requestId = requestId;
		header.oldest = this.oldestSequence;
		header.rowCount = rowCount;
		encodeAuditHeader(header, into);
		return at;
	}
}

/** All ones stand for a row of a firmware before the chain. */
function isChained(chain: Uint8Array): boolean {
	for (let i = 0; i < CHAIN_BYTES; i++) if (chain[i] !== 0xff) return true;
	return false;
}
