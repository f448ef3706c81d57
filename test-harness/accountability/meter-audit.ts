import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { Status, statusName } from "../../src/bytes/status.js";
import { sourceName } from "../../src/commands/authorisation.js";
import {
	AUDIT_HEADER_BYTES,
	AuditCode,
	AuditFormat,
	type AuditRow,
	auditCodeName,
	CHAIN_INPUT_BYTES_MAX,
	createAuditHeader,
	createAuditRow,
	decodeAuditHeader,
	decodeAuditRow,
	encodeChainInput,
} from "../../src/messages/audit.js";
import { CHAIN_BYTES, commandName } from "../../src/messages/command.js";
import { eventName } from "../../src/metrology/events.js";

export type AuditStatus =
	/** Everything that is here fits. */
	| "ok"
	/** The log was longer once. */
	| "truncated"
	/** A row is not what it was, or does not fit the rows before it. */
	| "rewritten"
	/** Rows are missing and the chain does not go on behind them: not yet fetched, or lost on the meter. */
	| "gap";

export interface AuditFinding {
	readonly status: AuditStatus;
	/** First row that is wrong or missing. */
	readonly sequence: number;
	readonly text: string;
}

/** For a page. */
export interface AuditVerdict extends AuditFinding {
	/** Everything found, the gravest first. */
	readonly findings: readonly AuditFinding[];
	readonly rowCount: number;
	readonly firstSequence: number;
	readonly lastSequence: number;
	/** Newest row that an anchor vouches for, 0: none. */
	readonly anchoredSequence: number;
	/** Rows that the verifier lacks; to be asked for. */
	readonly missing: readonly { readonly first: number; readonly count: number }[];
}

interface Held {
	readonly row: AuditRow;
	/** Content, for comparison. */
	readonly content: string;
	/** As the meter gave it or as it follows from the message; of an unchained row undefined. */
	readonly chain: Buffer | undefined;
}

interface Anchor {
	readonly sequence: number;
	readonly chain: Buffer;
	/** Rises with the order in which the meter sealed. */
	readonly order: number;
	readonly from: string;
}

const GRAVITY: readonly AuditStatus[] = ["rewritten", "truncated", "gap", "ok"];
const NO_CHAIN = Buffer.alloc(CHAIN_BYTES);
/** More are thinned out. */
const ANCHORS_MAX = 1000;

/** Chain value of a row behind one with `previous`, by node:crypto. */
export function rowChain(previous: Uint8Array, row: AuditRow): Buffer {
	const input = new Uint8Array(CHAIN_INPUT_BYTES_MAX);
	const byteLength = encodeChainInput(previous, row, new DataView(input.buffer));
	return createHash("sha256").update(input.subarray(0, byteLength)).digest().subarray(0, CHAIN_BYTES);
}

/**
 * One meter's audit log as the head end has been told it, held against its chain, against what was told before, and
 * against the heads that the meter once stated in receipts and hellos. What is found stays found.
 */
export class MeterAudit {
	readonly meter: string;
	readonly #path: string | undefined;
	readonly #rows = new Map<number, Held>();
	readonly #anchors: Anchor[] = [];
	/** Rows that came with another content than before, or with another chain value. */
	readonly #conflicts: AuditFinding[] = [];
	#order = 0;
	/** Oldest row that the meter said it holds. */
	#oldest = 1;

	/** @param path a file in which messages with new rows are kept, one a line; absent: memory only */
	constructor(meter: string, path?: string) {
		this.meter = meter;
		this.#path = path;
		if (path === undefined || !existsSync(path)) return;
		for (const line of readFileSync(path, "utf8").split("\n"))
			if (/^([0-9a-f]{2})+$/.test(line)) this.#add(Buffer.from(line, "hex"));
	}

	/** An `audit` message whose seal was good. @returns what the decoder says */
	addMessage(bytes: Uint8Array): Status {
		const { size } = this.#rows;
		const conflicts = this.#conflicts.length;
		const status = this.#add(bytes);
		const isNews = this.#rows.size !== size || this.#conflicts.length !== conflicts;
		if (status === Status.ok && isNews && this.#path !== undefined)
			appendFileSync(this.#path, `${Buffer.from(bytes).toString("hex")}\n`);
		return status;
	}

	#add(bytes: Uint8Array): Status {
		const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
		const header = createAuditHeader();
		const status = decodeAuditHeader(view, bytes.length, header);
		if (status !== Status.ok) return status;
		this.#oldest = Math.max(this.#oldest, header.oldest);
		let at = AUDIT_HEADER_BYTES;
		let previous: Buffer = Buffer.from(header.firstChain);
		for (let i = 0; i < header.rowCount; i++) {
			const row = createAuditRow();
			at = decodeAuditRow(view, at, row);
			if (row.format === AuditFormat.unchained) {
				this.#hold(row, undefined);
				continue;
			}
			if (i > 0) previous = rowChain(previous, row);
			this.#hold(row, previous);
		}
		return Status.ok;
	}

	#hold(row: AuditRow, chain: Buffer | undefined): void {
		const { sequence } = row;
		const input = new Uint8Array(CHAIN_INPUT_BYTES_MAX);
		const byteLength = encodeChainInput(NO_CHAIN, row, new DataView(input.buffer));
		const content = Buffer.from(input.subarray(0, byteLength)).toString("hex");
		const before = this.#rows.get(sequence);
		if (before === undefined) {
			this.#rows.set(sequence, { row, content, chain });
			return;
		}
		if (before.content !== content) this.#conflict(sequence, `row ${sequence} came with another content than before`);
		else if ((before.chain === undefined) !== (chain === undefined) || (chain && !before.chain!.equals(chain)))
			this.#conflict(sequence, `row ${sequence} came with another chain value than before`);
	}

	#conflict(sequence: number, text: string): void {
		if (this.#conflicts.length < 100 && !this.#conflicts.some((found) => found.text === text))
			this.#conflicts.push({ status: "rewritten", sequence, text });
	}

	/**
	 * A head of the log that the meter stated under a good seal.
	 * @param order rises with the order in which the meter sealed, such as epoch x 65 536 + index; absent: it came last
	 */
	addAnchor(sequence: number, chain: Uint8Array, from: string, order = this.#order + 1): void {
		if (sequence === 0) return;
		this.#order = Math.max(this.#order, order);
		const same = this.#anchors.some((anchor) => anchor.sequence === sequence && anchor.chain.equals(chain));
		const last = this.#anchors[this.#anchors.length - 1];
		if (same && last !== undefined && last.sequence === sequence) return;
		this.#anchors.push({ sequence, chain: Buffer.from(chain), order, from });
		if (last !== undefined && order < last.order) this.#anchors.sort((a, b) => a.order - b.order);
		if (this.#anchors.length > ANCHORS_MAX) this.#forgetAnchors();
	}

	/** Anchors that rows here agree with say nothing that the rows do not; every second one of them goes. */
	#forgetAnchors(): void {
		const highest = Math.max(...this.#anchors.map(({ sequence }) => sequence));
		const kept = this.#anchors.filter(
			({ sequence, chain }, i) =>
				i % 2 === 0 || sequence === highest || !this.#rows.get(sequence)?.chain?.equals(chain),
		);
		this.#anchors.splice(0, this.#anchors.length, ...kept);
	}

	/** The oldest row that the meter holds, from an audit head. */
	toldOldest(oldest: number): void {
		this.#oldest = Math.max(this.#oldest, oldest);
	}

	/** Rows in order. */
	rows(): AuditRow[] {
		return this.#ordered().map(({ row }) => row);
	}

	#ordered(): Held[] {
		return [...this.#rows.values()].sort((a, b) => a.row.sequence - b.row.sequence);
	}

	verify(): AuditVerdict {
		const findings: AuditFinding[] = [...this.#conflicts];
		const ordered = this.#ordered();
		const missing = this.#checkLinks(ordered, findings);
		const anchoredSequence = this.#checkAnchors(findings, missing);
		findings.sort((a, b) => GRAVITY.indexOf(a.status) - GRAVITY.indexOf(b.status) || a.sequence - b.sequence);
		const last = ordered[ordered.length - 1]?.row.sequence ?? 0;
		const main = findings[0] ?? {
			status: "ok" as const,
			sequence: last,
			text: `${ordered.length} rows fit, ${anchoredSequence === 0 ? "none is anchored" : `anchored up to ${anchoredSequence}`}`,
		};
		return {
			...main,
			findings,
			rowCount: ordered.length,
			firstSequence: ordered[0]?.row.sequence ?? 0,
			lastSequence: last,
			anchoredSequence,
			missing,
		};
	}

	/** Each row against the one before it. @returns rows that are missing */
	#checkLinks(ordered: readonly Held[], findings: AuditFinding[]): { first: number; count: number }[] {
		const missing: { first: number; count: number }[] = [];
		let before: Held | undefined;
		for (const held of ordered) {
			const { sequence } = held.row;
			const previous = before;
			before = held;
			if (held.chain === undefined) {
				if (previous?.chain !== undefined)
					findings.push({
						status: "rewritten",
						sequence,
						text: `row ${sequence} has no chain value and follows one that has`,
					});
				continue;
			}
			if (previous === undefined) {
				// The first row ever has a known predecessor; any other first one is taken as it comes, anchors vouch for it.
				if (sequence === 1 && !rowChain(NO_CHAIN, held.row).equals(held.chain))
					findings.push({ status: "rewritten", sequence, text: "row 1 does not begin the chain" });
				continue;
			}
			const from = previous.chain ?? NO_CHAIN;
			if (rowChain(from, held.row).equals(held.chain)) continue;
			// Flash did not say at once that the row was good, and it was written again behind.
			if (previous.chain?.equals(held.chain) && previous.content === held.content) continue;
			const first = previous.row.sequence + 1;
			if (first === sequence) {
				findings.push({
					status: "rewritten",
					sequence,
					text: `row ${sequence} does not follow from row ${sequence - 1}`,
				});
				continue;
			}
			// Told as older than what the meter holds: it cannot be asked for any more.
			const isOver = sequence <= this.#oldest;
			if (!isOver) missing.push({ first, count: sequence - first });
			findings.push({
				status: "gap",
				sequence: first,
				text: isOver
					? `rows ${first} to ${sequence - 1} were overwritten before they came`
					: `rows ${first} to ${sequence - 1} are missing, and the chain does not go on behind them`,
			});
		}
		return missing;
	}

	/** Rows against stated heads, and heads against one another. @returns the newest row that an anchor vouches for */
	#checkAnchors(findings: AuditFinding[], missing: { first: number; count: number }[]): number {
		let anchored = 0;
		let highest: Anchor | undefined;
		for (const anchor of this.#anchors) {
			const { sequence, chain, from } = anchor;
			if (highest !== undefined && sequence < highest.sequence)
				findings.push({
					status: "truncated",
					sequence: sequence + 1,
					text: `${from} says that the log ends with row ${sequence}; ${highest.from} said ${highest.sequence}`,
				});
			else if (highest !== undefined && sequence === highest.sequence && !chain.equals(highest.chain))
				findings.push({
					status: "rewritten",
					sequence,
					text: `${from} states another chain value of row ${sequence} than ${highest.from}`,
				});
			if (highest === undefined || sequence > highest.sequence) highest = anchor;
			const held = this.#rows.get(sequence);
			if (held === undefined) continue;
			if (held.chain?.equals(chain)) anchored = Math.max(anchored, sequence);
			else
				findings.push({
					status: "rewritten",
					sequence,
					text: `row ${sequence}, or one before it, is not what ${from} stated`,
				});
		}
		const last = Math.max(0, ...this.#rows.keys());
		if (highest !== undefined && highest.sequence > last)
			missing.push({
				first: Math.max(last + 1, this.#oldest),
				count: highest.sequence - Math.max(last, this.#oldest - 1),
			});
		return anchored;
	}

	/**
	 * The meter was asked for all rows up to its newest and has answered: what an anchor names and did not come is gone.
	 * @param newest sequence of the newest row that came, or that the meter states now
	 */
	answered(newest: number): void {
		for (const { sequence, from } of this.#anchors)
			if (sequence > newest)
				this.#lost({
					status: "truncated",
					sequence: newest + 1,
					text: `the log ends with row ${newest}; ${from} stated row ${sequence}`,
				});
	}

	#lost(finding: AuditFinding): void {
		if (!this.#conflicts.some(({ text }) => text === finding.text)) this.#conflicts.push(finding);
	}

	/** For a page: newest first. */
	view(limit = 200): readonly Readonly<Record<string, unknown>>[] {
		const { anchoredSequence } = this.verify();
		return this.#ordered()
			.slice(-limit)
			.reverse()
			.map(({ row, chain }) => ({
				sequence: row.sequence,
				utcSeconds: row.utcSeconds,
				code: row.code,
				name: rowName(row.code),
				text: rowText(row),
				detail: row.detail,
				commandId: row.format === AuditFormat.command ? Buffer.from(row.commandId).toString("hex") : undefined,
				chain: chain?.toString("hex"),
				anchored: row.sequence <= anchoredSequence,
			}));
	}
}

/** The name of a code of either table. */
export function rowName(code: number): string {
	const name = auditCodeName(code);
	return name === "unknown" ? eventName(code) : name;
}

/** What a row says, in words. */
export function rowText(row: AuditRow): string {
	const kind = commandName((row.detail >>> 24) & 0xff);
	const source = sourceName((row.detail >>> 16) & 0xff);
	switch (row.code >= AuditCode.commandDone ? row.code & 0xff00 : row.code) {
		case AuditCode.commandReceived:
			return `${kind} from ${source}`;
		case AuditCode.commandRefused:
			return `${kind} from ${source} refused: ${statusName(row.code & 0xff)}`;
		case AuditCode.commandDone:
			return `done: ${statusName(row.code & 0xff)}, answer ${row.detail}`;
		case AuditCode.commandInterrupted:
			return `interrupted, ${row.detail === 1 ? "its effect is in force" : "whether it took effect is not known"}`;
		case AuditCode.refusalsDropped:
			return `${row.detail & 0xff_ffff} more from ${sourceName((row.detail >>> 24) & 0xff)}`;
		default:
			return `${rowName(row.code)} ${row.detail}`;
	}
}
