import { createHash, randomBytes } from "node:crypto";
import { Status, statusName } from "../../src/bytes/status.js";
import { Source, sourceName } from "../../src/commands/authorisation.js";
import { AuditCode, AuditFormat, type AuditHead, type AuditRow, encodeAnchor } from "../../src/messages/audit.js";
import {
	CHAIN_BYTES,
	COMMAND_BYTES_MAX,
	COMMAND_HEADER_BYTES,
	COMMAND_ID_BYTES,
	checkCommandBody,
	commandName,
	createCommandHeader,
	decodeCommandHeader,
	encodeCommandAnchor,
	encodeCommandHeader,
} from "../../src/messages/command.js";
import { Outcome, type Receipt } from "../../src/messages/receipt.js";
import { ChainedFile, type FileVerdict, type HeldChain, readChainedFile, verifyChainedFile } from "./chained-file.js";

/** Log numbers from here on are not given to servers: optical port, flash commands. */
const RESERVED_LOG = 0xffff_fff0;

/** By which way a command goes; it is what the meter will call its source. */
export type Way = "headEnd" | "headEndBroadcast" | "headEndFlash" | "optical";

export type CommandState =
	/** In the log, not yet on its way. */
	| "created"
	/** On its way; no answer yet. */
	| "sent"
	/** Carried out. */
	| "executed"
	/** Carried out, and it did not work. */
	| "failed"
	| "refused"
	| "expired"
	/** Power failed while it was carried out; whether it took effect is in `detail`. */
	| "interrupted"
	/** Its time is over and nothing was heard. */
	| "unknown";

export type ReceiptVerdict =
	| "ok"
	/** No row of this log has that id. */
	| "foreign command"
	/** The command was not for this meter. */
	| "foreign meter"
	/** The meter got other bytes than were sent. */
	| "other bytes"
	/** The meter holds another chain value of the command's row than the log does. */
	| "other anchor"
	/** Somebody else used the id, and was refused. */
	| "intruder"
	/** The meter knows nothing of it. */
	| "not there";

/** What a command became at one meter. */
export interface CommandEntry {
	/** 16 hexadecimal digits. */
	readonly id: string;
	readonly meter: string;
	readonly kind: number;
	readonly way: Way;
	readonly operator: string;
	readonly createdSeconds: number;
	readonly notAfterSeconds: number;
	state: CommandState;
	sentCount: number;
	sentSeconds: number;
	receiptSeconds: number;
	status: number;
	endedSeconds: number;
	detail: number;
	/** Row of the meter's log that ended it. */
	rowSequence: number;
}

export interface CreatedCommand {
	readonly id: string;
	readonly bytes: Uint8Array;
	/** Row of this log. */
	readonly sequence: number;
}

/** An anchor of this log that a meter holds: `place` is made like a commandId. */
export interface HeldAnchor {
	readonly meter: string;
	readonly place: Uint8Array;
	readonly chain: Uint8Array;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** First 16 bytes of SHA-256 of a command without its anchor. */
export function commandDigest(message: Uint8Array): Buffer {
	const text = message.subarray(0, message.length - CHAIN_BYTES);
	return createHash("sha256").update(text).digest().subarray(0, CHAIN_BYTES);
}

/**
 * What a sender ordered, and what became of it: an append-only, chained file, and its own audit log. A row is on disk
 * before the bytes that it stands for are handed out. The id of a command is the number of this log and the row, so an id
 * is never given twice; the row's chain value travels in the command, so every meter that gets one holds a head of this
 * log.
 */
export class CommandLog {
	readonly file: ChainedFile;
	/** 4 random bytes, drawn when the log was begun. */
	readonly logNumber: number;
	readonly #entries = new Map<string, CommandEntry>();
	readonly #digests = new Map<string, string>();
	readonly #byId = new Map<string, CommandEntry[]>();
	/** Newest head of each meter that is in this log. */
	readonly #heads = new Map<string, string>();

	private constructor(file: ChainedFile, logNumber: number) {
		this.file = file;
		this.logNumber = logNumber;
	}

	/** Opens the log or begins one. @throws Error when the file does not fit its chain */
	static open(path: string, utcSeconds: number): CommandLog {
		const file = ChainedFile.open(path);
		if (file.head === 0) {
			let logNumber = 0;
			do logNumber = randomBytes(4).readUInt32BE();
			while (logNumber >= RESERVED_LOG);
			file.append(utcSeconds, "log", { version: 1, log: logNumber });
		}
		const first = file.rows[0]!;
		if (first.type !== "log" || first["version"] !== 1 || typeof first["log"] !== "number")
			throw new Error(`${path} is not a command log of version 1`);
		const log = new CommandLog(file, first["log"]);
		for (const row of file.rows) log.#take(row.type, row.utcSeconds, row);
		if (file.tornBytes > 0) file.append(utcSeconds, "torn", { bytes: file.tornBytes });
		return log;
	}

	close(): void {
		this.file.close();
	}

	// ---- what is ordered

	/**
	 * Writes a command down and makes its bytes; they are the same whenever they are sent again.
	 * @param meters identifiers it is for; of a broadcast all that are to obey it
	 * @param body writes the body, and returns its bytes
	 * @param operator who ordered it
	 * @throws Error when the meter would refuse the body: our own mistake
	 */
	create(
		utcSeconds: number,
		operator: string,
		way: Way,
		meters: readonly string[],
		kind: number,
		notAfterSeconds: number,
		body: (into: DataView, at: number) => number,
	): CreatedCommand {
		const sequence = this.file.head + 1;
		const bytes = new Uint8Array(COMMAND_BYTES_MAX);
		const view = new DataView(bytes.buffer);
		const id = this.placeOf(sequence);
		encodeCommandHeader(kind, id, notAfterSeconds, view);
		const bodyBytes = body(view, COMMAND_HEADER_BYTES);
		const byteLength = encodeCommandAnchor(new Uint8Array(CHAIN_BYTES), bodyBytes, view);
		const header = createCommandHeader();
		let status = decodeCommandHeader(view, byteLength, header);
		if (status === Status.ok) status = checkCommandBody(header, view);
		if (status !== Status.ok) throw new Error(`a meter would refuse this command: ${statusName(status)}`);
		const message = bytes.slice(0, byteLength);
		const row = {
			id: hex(id),
			operator,
			way,
			meters,
			kind,
			name: commandName(kind),
			notAfterSeconds,
			digest: hex(commandDigest(message)),
			body: hex(message.subarray(COMMAND_HEADER_BYTES, byteLength - CHAIN_BYTES)),
		};
		this.#append(utcSeconds, "created", row);
		message.set(this.file.chain(sequence)!, byteLength - CHAIN_BYTES);
		return { id: row.id, bytes: message, sequence };
	}

	/** The bytes of a command that is in the log. */
	bytesOf(id: string): Uint8Array | undefined {
		const row = this.#createdRow(id);
		if (row === undefined) return undefined;
		const body = Buffer.from(row["body"] as string, "hex");
		const bytes = new Uint8Array(COMMAND_HEADER_BYTES + body.length + CHAIN_BYTES);
		const view = new DataView(bytes.buffer);
		encodeCommandHeader(row["kind"] as number, Buffer.from(id, "hex"), row["notAfterSeconds"] as number, view);
		bytes.set(body, COMMAND_HEADER_BYTES);
		encodeCommandAnchor(this.file.chain(row.sequence)!, body.length, view);
		return bytes;
	}

	#createdRow(id: string) {
		if (!/^[0-9a-f]{16}$/.test(id)) return undefined;
		const place = Buffer.from(id, "hex");
		const row = this.file.rows[place.readUInt32BE(4) - 1];
		return place.readUInt32BE(0) === this.logNumber && row?.type === "created" ? row : undefined;
	}

	/** Before the bytes go to the link, each time. */
	sent(utcSeconds: number, id: string): void {
		this.#append(utcSeconds, "sent", { id });
	}

	/** Commands that are to be sent, or sent again: no answer for `retrySeconds`, and time left. */
	due(utcSeconds: number, retrySeconds: number): CommandEntry[] {
		return [...this.#entries.values()].filter(
			(entry) =>
				utcSeconds <= entry.notAfterSeconds &&
				(entry.state === "created" || (entry.state === "sent" && utcSeconds >= entry.sentSeconds + retrySeconds)),
		);
	}

	/** Ends commands whose time is over without an answer. @param graceSeconds for a receipt on its way */
	giveUp(utcSeconds: number, graceSeconds: number): CommandEntry[] {
		const given = [...this.#entries.values()].filter(
			(entry) =>
				(entry.state === "created" || entry.state === "sent") && utcSeconds > entry.notAfterSeconds + graceSeconds,
		);
		for (const { id, meter } of given) this.#append(utcSeconds, "givenUp", { id, meter });
		return given;
	}

	// ---- what came back

	/**
	 * A receipt whose seal was good, so it is of this meter. What it says is written down, with the head of the meter's
	 * log; whether it is believed is the answer.
	 */
	receipt(utcSeconds: number, meter: string, receipt: Receipt): ReceiptVerdict {
		const id = hex(receipt.commandId);
		const verdict = this.#judge(meter, id, receipt);
		const fields = {
			id,
			meter,
			verdict,
			outcome: receipt.outcome,
			status: receipt.status,
			endedSeconds: receipt.endedSeconds,
			detail: receipt.detail,
			digest: hex(receipt.digest),
			rowSequence: receipt.rowSequence,
			senderAnchor: hex(receipt.senderAnchor),
			headSequence: receipt.headSequence,
			headChain: hex(receipt.headChain),
		};
		const entry = this.#entries.get(`${id} ${meter}`);
		// The same again says nothing new, and a meter must not be able to fill the disk.
		const isNew =
			entry === undefined ||
			entry.rowSequence !== receipt.rowSequence ||
			entry.status !== receipt.status ||
			verdict !== "ok";
		if (isNew || this.#heads.get(meter) !== `${receipt.headSequence} ${fields.headChain}`)
			this.#append(utcSeconds, "receipt", fields);
		return verdict;
	}

	#judge(meter: string, id: string, receipt: Receipt): ReceiptVerdict {
		const entries = this.#byId.get(id);
		if (entries === undefined) return "foreign command";
		const entry = this.#entries.get(`${id} ${meter}`);
		if (entry === undefined) return "foreign meter";
		if (receipt.outcome === Outcome.unknown) return "not there";
		if (receipt.outcome === Outcome.refused && receipt.status === Status.notAuthorised) {
			const source = (receipt.detail >>> 16) & 0xff;
			if (source !== Source[entry.way]) return "intruder";
		}
		if (hex(receipt.digest) !== this.#digests.get(id)) return "other bytes";
		if (receipt.outcome === Outcome.executed) {
			const row = Buffer.from(receipt.commandId).readUInt32BE(4);
			if (!this.file.chain(row)!.equals(receipt.senderAnchor)) return "other anchor";
		}
		return "ok";
	}

	/**
	 * The head of a meter's log, whose seal was good: written down when it is new, so that it is anchored here.
	 * @returns how the anchor of this log that the meter holds fits
	 */
	meterHead(utcSeconds: number, meter: string, head: AuditHead): FileVerdict {
		const chain = hex(head.chain);
		if (this.#heads.get(meter) !== `${head.sequence} ${chain}`)
			this.#append(utcSeconds, "meterHead", {
				meter,
				oldest: head.oldest,
				headSequence: head.sequence,
				headChain: chain,
				heldPlace: hex(head.held.place),
				heldChain: hex(head.held.chain),
			});
		return this.checkAnchors([{ meter, place: head.held.place, chain: head.held.chain }]);
	}

	/** Any other act that is to be accounted for: keys given, a meter taken in or out, a verdict shown. */
	note(utcSeconds: number, type: string, fields: Readonly<Record<string, unknown>>): void {
		this.#append(utcSeconds, `note ${type}`, fields);
	}

	// ---- anchors

	/** What a commandId of this log with that row is. */
	placeOf(sequence: number): Uint8Array {
		const place = new Uint8Array(COMMAND_ID_BYTES);
		const view = new DataView(place.buffer);
		view.setUint32(0, this.logNumber);
		view.setUint32(4, sequence);
		return place;
	}

	/** The head of this log as a message for a meter to keep. */
	encodeAnchorMessage(into: DataView): number {
		return encodeAnchor({ place: this.placeOf(this.file.head), chain: this.file.chain(this.file.head)! }, into);
	}

	/** How anchors that meters hold fit the rows in memory; those of other logs are left out. */
	checkAnchors(anchors: readonly HeldAnchor[]): FileVerdict {
		for (const { holder, sequence, chain } of ownAnchors(this.logNumber, anchors)) {
			const own = this.file.chain(sequence);
			if (own === undefined)
				return {
					status: "truncated",
					sequence: this.file.head + 1,
					text: `this log ends with row ${this.file.head}, and ${holder} holds row ${sequence}`,
				};
			if (!own.equals(chain))
				return {
					status: "rewritten",
					sequence,
					text: `row ${sequence}, or one before it, is not what ${holder} holds`,
				};
		}
		return { status: "ok", sequence: this.file.head, text: `${this.file.head} rows` };
	}

	/** Heads of meters' logs that are anchored here, oldest first. */
	anchorsOf(meter: string): { sequence: number; chain: Uint8Array; utcSeconds: number }[] {
		const found: { sequence: number; chain: Uint8Array; utcSeconds: number }[] = [];
		for (const row of this.file.rows)
			if ((row.type === "receipt" || row.type === "meterHead") && row["meter"] === meter)
				found.push({
					sequence: row["headSequence"] as number,
					chain: Buffer.from(row["headChain"] as string, "hex"),
					utcSeconds: row.utcSeconds,
				});
		return found;
	}

	// ---- views

	/** For a page: newest first. */
	view(): readonly Readonly<Record<string, unknown>>[] {
		return [...this.#entries.values()].reverse().map((entry) => ({
			...entry,
			name: commandName(entry.kind),
			statusName: entry.state === "created" || entry.state === "sent" ? "" : statusName(entry.status),
		}));
	}

	entry(id: string, meter: string): CommandEntry | undefined {
		return this.#entries.get(`${id} ${meter}`);
	}

	#append(utcSeconds: number, type: string, fields: Readonly<Record<string, unknown>>): void {
		const row = this.file.append(utcSeconds, type, fields);
		this.#take(type, row.utcSeconds, row);
	}

	/** Takes a row into the state; the same when it is written and when it is read again. */
	#take(type: string, utcSeconds: number, row: Readonly<Record<string, unknown>>): void {
		const id = row["id"] as string;
		switch (type) {
			case "created": {
				const entries = (row["meters"] as string[]).map(
					(meter): CommandEntry => ({
						id,
						meter,
						kind: row["kind"] as number,
						way: row["way"] as Way,
						operator: row["operator"] as string,
						createdSeconds: utcSeconds,
						notAfterSeconds: row["notAfterSeconds"] as number,
						state: "created",
						sentCount: 0,
						sentSeconds: 0,
						receiptSeconds: 0,
						status: 0,
						endedSeconds: 0,
						detail: 0,
						rowSequence: 0,
					}),
				);
				for (const entry of entries) this.#entries.set(`${id} ${entry.meter}`, entry);
				this.#byId.set(id, entries);
				this.#digests.set(id, row["digest"] as string);
				return;
			}
			case "sent":
				for (const entry of this.#byId.get(id) ?? []) {
					if (entry.state === "created") entry.state = "sent";
					entry.sentCount++;
					entry.sentSeconds = utcSeconds;
				}
				return;
			case "givenUp": {
				const entry = this.#entries.get(`${id} ${row["meter"]}`);
				if (entry !== undefined) entry.state = "unknown";
				return;
			}
			case "meterHead":
				this.#heads.set(row["meter"] as string, `${row["headSequence"]} ${row["headChain"]}`);
				return;
			case "receipt": {
				this.#heads.set(row["meter"] as string, `${row["headSequence"]} ${row["headChain"]}`);
				const entry = this.#entries.get(`${id} ${row["meter"]}`);
				if (entry === undefined || row["verdict"] !== "ok") return;
				entry.status = row["status"] as number;
				entry.state = stateOf(row["outcome"] as number, entry.status);
				entry.receiptSeconds = utcSeconds;
				entry.endedSeconds = row["endedSeconds"] as number;
				entry.detail = row["detail"] as number;
				entry.rowSequence = row["rowSequence"] as number;
				return;
			}
			default:
		}
	}
}

function stateOf(outcome: number, status: number): CommandState {
	switch (outcome) {
		case Outcome.executed:
			return status === Status.ok ? "executed" : "failed";
		case Outcome.refused:
			return status === Status.expired ? "expired" : "refused";
		case Outcome.interrupted:
			return "interrupted";
		default:
			return "unknown";
	}
}

function ownAnchors(logNumber: number, anchors: readonly HeldAnchor[]): HeldChain[] {
	return anchors
		.map(({ meter, place, chain }) => {
			const view = Buffer.from(place);
			return { holder: `meter ${meter}`, log: view.readUInt32BE(0), sequence: view.readUInt32BE(4), chain };
		})
		.filter(({ log, sequence }) => log === logNumber && sequence > 0)
		.sort((a, b) => a.sequence - b.sequence);
}

/**
 * Holds the head end's own log against its chain and against what meters hold of it. Changes nothing.
 * @param anchors as the meters tell them now: from `AuditHead.held`, from `anchorsInRows` and from receipts
 * @param logNumber of the log that is looked for; absent: what the file itself says it is
 */
export function verifyOwnLog(path: string, anchors: readonly HeldAnchor[], logNumber?: number): FileVerdict {
	const alone = verifyChainedFile(path);
	if (alone.status === "rewritten") return alone;
	let log = logNumber;
	if (log === undefined && alone.sequence > 0 && alone.status === "ok")
		log = readChainedFile(path)[0]!["log"] as number;
	// A file that is gone or empty cannot say which log it was: then every meter's anchor is one of a log that is lost.
	const held =
		log === undefined
			? anchors.flatMap((anchor) => ownAnchors(Buffer.from(anchor.place).readUInt32BE(0), [anchor]))
			: ownAnchors(log, anchors);
	return verifyChainedFile(path, held);
}

/** Anchors of senders that a meter's log holds: in the rows that end commands, and in rows of their own. */
export function anchorsInRows(meter: string, rows: readonly AuditRow[]): HeldAnchor[] {
	return rows
		.filter(
			({ format, code }) =>
				format === AuditFormat.command && (code === AuditCode.anchorHeld || (code & 0xff00) === AuditCode.commandDone),
		)
		.map(({ commandId, value }) => ({ meter, place: commandId.slice(), chain: value.slice() }));
}

/** Source of a refusal's detail, for a page. */
export function refusalSource(detail: number): string {
	return sourceName((detail >>> 16) & 0xff);
}
