import { InvariantError, Status, StatusCounters } from "../bytes/status.js";
import type { Crypto } from "../crypto/crypto.js";
import {
	AuditCode,
	AuditFormat,
	commandDetail,
	createAnchor,
	createAuditHead,
	createAuditRequest,
	createAuditRow,
	decodeAnchor,
	decodeAuditRequest,
	encodeAuditHead,
} from "../messages/audit.js";
import {
	CHAIN_BYTES,
	COMMAND_BYTES_MAX,
	COMMAND_HEADER_BYTES,
	COMMAND_ID_BYTES,
	CommandKind,
	checkCommandBody,
	createCommandHeader,
	createDemandResponseEvent,
	createLoadLimit,
	createPrices,
	createTariffTable,
	decodeCommandHeader,
	NO_TIME,
	readDemandResponse,
	readLoadLimit,
	readPrices,
	readTariffTable,
} from "../messages/command.js";
import { Kind } from "../messages/kinds.js";
import { createReceipt, decodeReceiptRequest, encodeReceipt, Outcome } from "../messages/receipt.js";
import type { Actuators, CommandContext } from "./actuators.js";
import type { AuditLog } from "./audit-log.js";
import {
	isAuthorised,
	isLogOf,
	isReservedLog,
	mayAnchor,
	mayAsk,
	REFUSALS_AN_HOUR,
	SOURCE_COUNT,
} from "./authorisation.js";

/** Receipts that wait to be sent; an older one gives way and must be asked for. */
export const RECEIPTS_WAITING_MAX = 8;
/** A command may be held back and still be obeyed for so long at most. */
export const COMMAND_LIFETIME_SECONDS_MAX = 8 * 86_400;
const HOUR_MILLISECONDS = 3_600_000;
/** Good rows behind which `open` looks for a command that was not ended: acting writes fewer than that. */
const LOOK_BACK_ROWS = 64;
/** An anchor without a command is put into the log at most this often. */
const ANCHOR_SPACING_MILLISECONDS = 600_000;

/** How a message came; filled by the caller and not kept. */
export interface Arrival {
	/** `Source`. */
	source: number;
	/** Unicast index, broadcast counter, flash slot: for the log. */
	index: number;
	/** The interval of its seal is over. */
	isExpired: boolean;
}

interface MutableContext extends CommandContext {
	commandId: Uint8Array;
	nowMilliseconds: number;
	utcSeconds: number;
}

/**
 * The meter's end of commands. A message that comes here has been opened by keys that are now gone, so it comes once;
 * this room sees to it that what it orders is allowed, is done at most once, and is told.
 *
 * Order of a command: row "received" durable, act, row "done" durable, receipt. `open` ends a command that a power cut
 * left without an end as "interrupted"; it is never taken up again. A command whose id is in the log is answered with its
 * receipt and not done again, however it came. Receipts are written from the log, so none says more than the log holds.
 */
export class CommandHandler {
	readonly counters = new StatusCounters();
	readonly audit: AuditLog;

	readonly #crypto: Crypto;
	readonly #actuators: Actuators;
	readonly #identifier: Uint8Array;
	readonly #bytes = new Uint8Array(COMMAND_BYTES_MAX);
	readonly #view = new DataView(this.#bytes.buffer);
	readonly #header = createCommandHeader();
	readonly #digest = new Uint8Array(CHAIN_BYTES);
	readonly #row = createAuditRow();
	readonly #receipt = createReceipt();
	readonly #anchor = createAnchor();
	readonly #head = createAuditHead();
	readonly #request = createAuditRequest();
	readonly #context: MutableContext;

	/** Ids of receipts to be sent, the oldest first. */
	readonly #waiting = new Uint8Array(RECEIPTS_WAITING_MAX * COMMAND_ID_BYTES);
	#waitingCount = 0;
	#headWanted = false;
	/** Rows that were asked for: next and how many are left. */
	#rowsNext = 0;
	#rowsLeft = 0;
	#rowsRequestId = 0;
	/** What the last `transmit` wrote, for `transmitted`. */
	#offered = 0;
	#offeredRowsNext = 0;

	readonly #refusals = new Uint16Array(SOURCE_COUNT);
	readonly #dropped = new Uint32Array(SOURCE_COUNT);
	#hourBegan = Number.NEGATIVE_INFINITY;
	#anchorAllowed = Number.NEGATIVE_INFINITY;

	/** @param identifier the meter's own 8 bytes, as a decommission must name them */
	constructor(crypto: Crypto, audit: AuditLog, actuators: Actuators, identifier: Uint8Array) {
		if (identifier.length !== COMMAND_ID_BYTES) throw new InvariantError("an identifier has 8 bytes");
		this.#crypto = crypto;
		this.audit = audit;
		this.#actuators = actuators;
		this.#identifier = identifier;
		this.#context = { commandId: this.#header.commandId, nowMilliseconds: 0, utcSeconds: Number.NaN };
	}

	/**
	 * Ends what a power cut interrupted, has the receipt of the newest command sent again, finds the newest anchor. After `AuditLog.open` and the actuators' own, and
	 * before anything else is written to the log.
	 * @returns `ok`, or the status of the log when the end could not be written: commands are then not obeyed
	 */
	open(utcSeconds: number): Status {
		const row = this.#row;
		const { audit } = this;
		let isEnded = false;
		let status: Status = Status.ok;
		let isAnchorFound = false;
		let seen = 0;
		this.#head.held.place.fill(0);
		this.#head.held.chain.fill(0);
		for (let sequence = audit.headSequence; sequence >= audit.oldestSequence && seen < LOOK_BACK_ROWS; sequence--) {
			if (audit.read(sequence, row) !== Status.ok) continue;
			seen++;
			if (row.format !== AuditFormat.command) continue;
			const isDone = (row.code & 0xff00) === AuditCode.commandDone;
			if (!isAnchorFound && (isDone || row.code === AuditCode.anchorHeld) && !isReservedLog(row.commandId)) {
				this.#hold(row.commandId, row.value);
				isAnchorFound = true;
			}
			if (!isEnded && row.code === AuditCode.commandReceived) {
				const held = this.#actuators.holds(row.commandId) ? 1 : 0;
				status = audit.appendCommand(utcSeconds, AuditCode.commandInterrupted, held, row.commandId, row.value);
			}
			if (row.code !== AuditCode.anchorHeld) {
				// Told again at each start: the receipt may have been waiting when the power went.
				if (!isEnded && status === Status.ok) this.#enqueue(row.commandId);
				isEnded = true;
			}
			if (isEnded && isAnchorFound) break;
		}
		return status;
	}

	/** Whether a message of this kind is for here. */
	takes(kind: number): boolean {
		return kind === Kind.command || kind === Kind.receiptRequest || kind === Kind.auditRequest || kind === Kind.anchor;
	}

	/**
	 * One opened message. Answers are then to be fetched with `transmit`, and all go to the head end, whoever asked.
	 * @param bytes holds the message from `offset` on; not kept
	 * @returns of a command: `ok` when it was carried out, `replayed` when its id is known, what it was refused with, or how
	 * it failed; of the others: what their decoders say, `notAuthorised`, `busy`
	 */
	receive(
		nowMilliseconds: number,
		utcSeconds: number,
		arrival: Arrival,
		bytes: Uint8Array,
		offset: number,
		byteLength: number,
	): Status {
		return this.counters.count(this.#receive(nowMilliseconds, utcSeconds, arrival, bytes, offset, byteLength));
	}

	#receive(
		nowMilliseconds: number,
		utcSeconds: number,
		arrival: Arrival,
		bytes: Uint8Array,
		offset: number,
		byteLength: number,
	): Status {
		const { source } = arrival;
		if (byteLength < 2 || byteLength > COMMAND_BYTES_MAX) return Status.badLength; // CMH-1
		for (let i = 0; i < byteLength; i++) this.#bytes[i] = bytes[offset + i]!;
		switch (this.#bytes[0]) {
			case Kind.command:
				return this.#command(nowMilliseconds, utcSeconds, arrival, byteLength);
			case Kind.receiptRequest: {
				if (!mayAsk(source)) return Status.notAuthorised; // CMH-2
				const status = decodeReceiptRequest(this.#view, byteLength, this.#header.commandId);
				if (status === Status.ok) this.#enqueue(this.#header.commandId);
				return status;
			}
			case Kind.auditRequest: {
				if (!mayAsk(source)) return Status.notAuthorised; // CMH-3
				const status = decodeAuditRequest(this.#view, byteLength, this.#request);
				if (status !== Status.ok) return status;
				if (this.#rowsLeft > 0) return Status.busy; // CMH-4
				this.#rowsRequestId = this.#request.requestId;
				this.#rowsNext = this.#request.first;
				this.#rowsLeft = this.#request.count;
				return Status.ok;
			}
			case Kind.anchor: {
				if (!mayAnchor(source)) return Status.notAuthorised; // CMH-5
				const status = decodeAnchor(this.#view, byteLength, this.#anchor);
				if (status !== Status.ok) return status;
				this.#headWanted = true;
				if (nowMilliseconds < this.#anchorAllowed) return Status.busy; // CMH-6
				const { place, chain } = this.#anchor;
				const stored = this.audit.appendCommand(utcSeconds, AuditCode.anchorHeld, 0, place, chain);
				if (stored !== Status.ok) return stored;
				this.#anchorAllowed = nowMilliseconds + ANCHOR_SPACING_MILLISECONDS;
				this.#hold(place, chain);
				return Status.ok;
			}
			default:
				return Status.badKind; // CMH-7
		}
	}

	#command(nowMilliseconds: number, utcSeconds: number, arrival: Arrival, byteLength: number): Status {
		const header = this.#header;
		const { source, index } = arrival;
		let status = decodeCommandHeader(this.#view, byteLength, header);
		if (status !== Status.ok) return status; // no id to name it by: counted, and no more
		const { commandKind, commandId } = header;
		this.#crypto.sha256(this.#bytes, 0, byteLength - CHAIN_BYTES, this.#digest, 0, CHAIN_BYTES);
		if (!isAuthorised(source, commandKind) || !isLogOf(source, commandId))
			status = Status.notAuthorised; // CMH-8
		// A known id is not done again and not refused again, or a late copy would take the place of the true receipt.
		else if (this.#find(commandId)) {
			this.#enqueue(commandId);
			return Status.replayed; // CMH-9
		} else status = this.#check(utcSeconds, arrival.isExpired);
		if (status !== Status.ok) return this.#refuse(nowMilliseconds, utcSeconds, source, index, status);

		const detail = commandDetail(commandKind, source, index);
		status = this.audit.appendCommand(utcSeconds, AuditCode.commandReceived, detail, commandId, this.#digest);
		if (status !== Status.ok) return status;
		this.#context.nowMilliseconds = nowMilliseconds;
		this.#context.utcSeconds = utcSeconds;
		const result = this.#act(commandKind);
		const answer = result === Status.ok ? this.#actuators.answer(commandKind) : 0;
		status = this.audit.appendCommand(utcSeconds, AuditCode.commandDone + result, answer, commandId, header.anchor);
		// Without its end in the log there is no receipt now; the next start ends it as interrupted.
		if (status !== Status.ok) return status;
		if (!isReservedLog(commandId)) this.#hold(commandId, header.anchor);
		this.#enqueue(commandId);
		return result;
	}

	/** Body and time of a command that its sender may send. */
	#check(utcSeconds: number, isExpired: boolean): Status {
		const header = this.#header;
		const status = checkCommandBody(header, this.#view);
		if (status !== Status.ok) return status;
		if (isExpired) return Status.expired; // CMH-10
		if (header.notAfterSeconds !== NO_TIME) {
			if (Number.isNaN(utcSeconds)) return Status.clockInvalid; // CMH-11
			if (utcSeconds > header.notAfterSeconds) return Status.expired; // CMH-12
			if (header.notAfterSeconds > utcSeconds + COMMAND_LIFETIME_SECONDS_MAX) return Status.badValue; // CMH-13
		}
		if (header.commandKind === CommandKind.decommission)
			for (let i = 0; i < COMMAND_ID_BYTES; i++)
				if (this.#bytes[COMMAND_HEADER_BYTES + i] !== this.#identifier[i]) return Status.badValue; // CMH-14
		return Status.ok;
	}

	/** One row and one receipt, as long as the source's share of the hour lasts; then it is only counted. */
	#refuse(nowMilliseconds: number, utcSeconds: number, source: number, index: number, status: Status): Status {
		const which = source >= 0 && source < SOURCE_COUNT ? source : SOURCE_COUNT - 1;
		if (nowMilliseconds - this.#hourBegan >= HOUR_MILLISECONDS) {
			this.#hourBegan = nowMilliseconds;
			for (let i = 0; i < SOURCE_COUNT; i++) {
				this.#refusals[i] = 0;
				const dropped = Math.min(this.#dropped[i]!, 0xff_ffff);
				this.#dropped[i] = 0;
				if (dropped > 0) this.audit.append(utcSeconds, AuditCode.refusalsDropped, (i << 24) | dropped);
			}
		}
		if (this.#refusals[which]! >= REFUSALS_AN_HOUR[which]!) {
			this.#dropped[which]!++;
			return status;
		}
		this.#refusals[which]!++;
		const { commandKind, commandId } = this.#header;
		const detail = commandDetail(commandKind, source, index);
		const stored = this.audit.appendCommand(
			utcSeconds,
			AuditCode.commandRefused + status,
			detail,
			commandId,
			this.#digest,
		);
		if (stored === Status.ok) this.#enqueue(commandId);
		return status;
	}

	/** Commands are rare: what their bodies are read into is made for each. */
	#act(commandKind: number): Status {
		const actuators = this.#actuators;
		const view = this.#view;
		const context = this.#context;
		const at = COMMAND_HEADER_BYTES;
		switch (commandKind) {
			case CommandKind.connect:
				return actuators.connect(view.getUint8(at), context);
			case CommandKind.disconnect:
				return actuators.disconnect(view.getUint8(at), context);
			case CommandKind.loadLimit: {
				const limit = createLoadLimit();
				readLoadLimit(view, at, limit);
				return actuators.setLoadLimit(limit, context);
			}
			case CommandKind.price: {
				const prices = createPrices();
				readPrices(view, at, prices);
				return actuators.setPrices(prices, context);
			}
			case CommandKind.tariffCalendar: {
				const table = createTariffTable();
				readTariffTable(view, at, table);
				return actuators.setTariffCalendar(table, context);
			}
			case CommandKind.demandResponse: {
				const event = createDemandResponseEvent();
				readDemandResponse(view, at, event);
				return actuators.demandResponse(event, context);
			}
			case CommandKind.clock:
				return actuators.synchroniseClock(view.getUint32(at), context);
			case CommandKind.configure: {
				const count = view.getUint8(at);
				let status: Status = Status.ok;
				for (let i = 0; i < count && status === Status.ok; i++) {
					const parameter = view.getUint8(at + 1 + 5 * i);
					status = actuators.configure(parameter, view.getUint32(at + 2 + 5 * i), i === count - 1, context);
				}
				return status;
			}
			case CommandKind.profileRead:
				return actuators.readProfile(view.getUint32(at), view.getUint16(at + 4), context);
			case CommandKind.keyMaintenance:
				return Status.ok; // the answer is in the receipt
			case CommandKind.decommission:
				return actuators.decommission(context);
			default:
				return Status.unsupported;
		}
	}

	// ---- what the log knows

	/**
	 * Fills `#receipt` with what the log says of a command: its last row, and the digest of the first. A refusal because the
	 * sender may not send it tells of that sender and not of the command: it counts only when there is nothing else, and
	 * does not make the id known, or a stolen concentrator could use up the ids of the head end.
	 * @returns whether the id is known: such a command is not done again
	 */
	#find(commandId: Uint8Array): boolean {
		const { audit } = this;
		const row = this.#row;
		const receipt = this.#receipt;
		for (let i = 0; i < COMMAND_ID_BYTES; i++) receipt.commandId[i] = commandId[i]!;
		receipt.outcome = Outcome.unknown;
		receipt.status = Status.notFound;
		receipt.rowSequence = 0;
		receipt.endedSeconds = NO_TIME;
		receipt.detail = 0;
		receipt.digest.fill(0);
		receipt.senderAnchor.fill(0);
		let isKnown = false;
		for (let sequence = audit.headSequence; sequence >= audit.oldestSequence; sequence--) {
			if (!audit.store.mayName(sequence, commandId)) continue;
			if (audit.read(sequence, row) !== Status.ok || row.format !== AuditFormat.command) continue;
			if (row.code === AuditCode.anchorHeld || !this.#isSame(row.commandId, commandId)) continue;
			const status = row.code & 0xff;
			switch (row.code & 0xff00) {
				case AuditCode.commandRefused & 0xff00:
					if (status === Status.notAuthorised) {
						if (receipt.rowSequence === 0) this.#ended(sequence, Outcome.refused, status, true);
						break;
					}
					this.#ended(sequence, Outcome.refused, status, true);
					return true;
				case AuditCode.commandDone & 0xff00:
					isKnown = true;
					receipt.digest.fill(0);
					this.#ended(sequence, Outcome.executed, status, false);
					for (let i = 0; i < CHAIN_BYTES; i++) receipt.senderAnchor[i] = row.value[i]!;
					break;
				case AuditCode.commandInterrupted & 0xff00:
					isKnown = true;
					this.#ended(sequence, Outcome.interrupted, status, true);
					break;
				default:
					// The first row of a command. Nothing behind it: it is being carried out, or its end could not be written.
					if (!isKnown) {
						this.#ended(sequence, Outcome.interrupted, Status.busy, true);
						receipt.detail = 0;
					}
					for (let i = 0; i < CHAIN_BYTES; i++) receipt.digest[i] = row.value[i]!;
					return true;
			}
		}
		return isKnown;
	}

	#ended(sequence: number, outcome: number, status: number, hasDigest: boolean): void {
		const receipt = this.#receipt;
		const row = this.#row;
		receipt.rowSequence = sequence;
		receipt.outcome = outcome;
		receipt.status = status;
		receipt.endedSeconds = row.utcSeconds;
		receipt.detail = row.detail;
		if (hasDigest) for (let i = 0; i < CHAIN_BYTES; i++) receipt.digest[i] = row.value[i]!;
	}

	#isSame(a: Uint8Array, b: Uint8Array): boolean {
		for (let i = 0; i < COMMAND_ID_BYTES; i++) if (a[i] !== b[i]) return false;
		return true;
	}

	#hold(place: Uint8Array, chain: Uint8Array): void {
		for (let i = 0; i < COMMAND_ID_BYTES; i++) this.#head.held.place[i] = place[i]!;
		for (let i = 0; i < CHAIN_BYTES; i++) this.#head.held.chain[i] = chain[i]!;
	}

	// ---- answers

	/** After a hello: tells the head of the log. */
	announceHead(): void {
		this.#headWanted = true;
	}

	/** Whether `transmit` has something. */
	get hasAnswer(): boolean {
		return this.#waitingCount > 0 || this.#headWanted || this.#rowsLeft > 0;
	}

	/**
	 * Writes the next answer: receipts, then the head of the log, then rows that were asked for. It stays the next one
	 * until `transmitted`, so that nothing is lost while nothing can be sealed.
	 * @param into at least 1 000 bytes
	 * @returns bytes, 0 for none
	 */
	transmit(into: DataView): number {
		this.#offered = 0;
		if (this.#waitingCount > 0) {
			this.#offered = Kind.receipt;
			return this.encodeReceiptOf(this.#waiting, into);
		}
		if (this.#headWanted) {
			this.#offered = Kind.auditHead;
			return this.encodeHead(into);
		}
		while (this.#rowsLeft > 0) {
			const byteLength = this.audit.encodeRows(this.#rowsRequestId, this.#rowsNext, this.#rowsLeft, into);
			this.#offeredRowsNext = this.audit.afterSequence;
			if (byteLength > 0) {
				this.#offered = Kind.audit;
				return byteLength;
			}
			this.#rowsTaken();
		}
		return 0;
	}

	/** What the last `transmit` wrote is on its way. */
	transmitted(): void {
		if (this.#offered === Kind.receipt) {
			this.#waitingCount--;
			this.#waiting.copyWithin(0, COMMAND_ID_BYTES);
		} else if (this.#offered === Kind.auditHead) this.#headWanted = false;
		else if (this.#offered === Kind.audit) this.#rowsTaken();
		this.#offered = 0;
	}

	/** The link is new: rows that were being sent are asked for again. */
	connected(): void {
		this.#rowsLeft = 0;
	}

	#rowsTaken(): void {
		this.#rowsLeft -= this.#offeredRowsNext - this.#rowsNext;
		this.#rowsNext = this.#offeredRowsNext;
	}

	/** Receipt of any command, as the log stands now. @param commandId 8 bytes from index 0 @returns bytes */
	encodeReceiptOf(commandId: Uint8Array, into: DataView): number {
		const receipt = this.#receipt;
		this.#find(commandId);
		receipt.headSequence = this.audit.headSequence;
		for (let i = 0; i < CHAIN_BYTES; i++) receipt.headChain[i] = this.audit.head[i]!;
		return encodeReceipt(receipt, into);
	}

	/** The head of the meter's log and the anchor that it holds. @returns bytes */
	encodeHead(into: DataView): number {
		const head = this.#head;
		head.oldest = this.audit.oldestSequence;
		head.sequence = this.audit.headSequence;
		for (let i = 0; i < CHAIN_BYTES; i++) head.chain[i] = this.audit.head[i]!;
		return encodeAuditHead(head, into);
	}

	#enqueue(commandId: Uint8Array): void {
		const waiting = this.#waiting;
		for (let n = 0; n < this.#waitingCount; n++) {
			let isSame = true;
			for (let i = 0; i < COMMAND_ID_BYTES && isSame; i++) isSame = waiting[n * COMMAND_ID_BYTES + i] === commandId[i];
			if (isSame) return;
		}
		if (this.#waitingCount === RECEIPTS_WAITING_MAX) {
			waiting.copyWithin(0, COMMAND_ID_BYTES);
			this.#waitingCount--;
			if (this.#offered === Kind.receipt) this.#offered = 0; // what was offered has given way
		}
		for (let i = 0; i < COMMAND_ID_BYTES; i++) waiting[this.#waitingCount * COMMAND_ID_BYTES + i] = commandId[i]!;
		this.#waitingCount++;
	}
}
