import { createHash } from "node:crypto";
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Bytes of a chain value. */
export const CHAIN_BYTES = 16;
/** Sets the chain of a server's file apart from a meter's. */
const LABEL = Uint8Array.of(0x42); // B

export const NO_CHAIN: Buffer = Buffer.alloc(CHAIN_BYTES);

/** A row as it is read: what every row has, and what its writer put in. */
export interface ChainedRow {
	readonly sequence: number;
	readonly utcSeconds: number;
	readonly type: string;
	readonly [field: string]: unknown;
}

/** What is wrong with a file. */
export interface FileVerdict {
	status: "ok" | "truncated" | "rewritten" | "missing";
	/** First row that is not there or not as it was; of `ok`: how many rows. */
	sequence: number;
	text: string;
}

/** Where the JSON of a line begins. */
const JSON_AT = 2 * CHAIN_BYTES + 1;
/** A line of the file: chain value as 32 hexadecimal digits, a blank, the row as JSON. */
const LINE = /^([0-9a-f]{32}) (\{.*\})$/;

/** First 16 bytes of SHA-256(0x42 ‖ previous ‖ the row's JSON as it is in the file). */
export function chainOf(previous: Uint8Array, json: Uint8Array): Buffer {
	return createHash("sha256").update(LABEL).update(previous).update(json).digest().subarray(0, CHAIN_BYTES);
}

interface Scan {
	rows: ChainedRow[];
	chains: Buffer[];
	/** Bytes of the whole rows that are good. */
	goodBytes: number;
	/** Bytes behind the last line's end: a write that a crash cut off. */
	tornBytes: number;
	verdict: FileVerdict;
}

function scan(path: string): Scan {
	const found: Scan = {
		rows: [],
		chains: [],
		goodBytes: 0,
		tornBytes: 0,
		verdict: { status: "missing", sequence: 1, text: "there is no such file" },
	};
	if (!existsSync(path)) return found;
	const bytes = readFileSync(path);
	let previous: Uint8Array = NO_CHAIN;
	let start = 0;
	for (;;) {
		const end = bytes.indexOf(0x0a, start);
		if (end < 0) break;
		const sequence = found.rows.length + 1;
		const bad = (text: string): Scan => {
			found.verdict = { status: "rewritten", sequence, text: `row ${sequence} ${text}` };
			return found;
		};
		const match = LINE.exec(bytes.toString("utf8", start, end));
		if (match === null) return bad("is not a row");
		const chain = chainOf(previous, bytes.subarray(start + JSON_AT, end));
		if (chain.toString("hex") !== match[1]) return bad("does not fit its chain");
		let row: ChainedRow;
		try {
			row = JSON.parse(match[2]!) as ChainedRow;
		} catch {
			return bad("is not JSON");
		}
		if (row.sequence !== sequence) return bad(`calls itself ${row.sequence}`);
		found.rows.push(row);
		found.chains.push(chain);
		previous = chain;
		start = end + 1;
		found.goodBytes = start;
	}
	found.tornBytes = bytes.length - start;
	found.verdict = { status: "ok", sequence: found.rows.length, text: `${found.rows.length} rows` };
	if (found.tornBytes > 0) found.verdict.text += `, and ${found.tornBytes} bytes of a row that was never finished`;
	return found;
}

/** The good rows of a file. Changes nothing. */
export function readChainedFile(path: string): ChainedRow[] {
	return scan(path).rows;
}

/** A point of a file's chain that someone else holds. */
export interface HeldChain {
	/** Row. */
	readonly sequence: number;
	readonly chain: Uint8Array;
	/** Who holds it. */
	readonly holder: string;
}

/** Holds a file against its own chain, then against what others hold of it. Changes nothing. */
export function verifyChainedFile(path: string, held: readonly HeldChain[] = []): FileVerdict {
	const { verdict, chains } = scan(path);
	if (verdict.status === "rewritten") return verdict;
	const ordered = [...held].sort((a, b) => a.sequence - b.sequence);
	for (const { sequence, chain, holder } of ordered) {
		const own = chains[sequence - 1];
		if (own === undefined)
			return {
				status: "truncated",
				sequence: chains.length + 1,
				text: `the file ends with row ${chains.length}, and ${holder} holds row ${sequence}`,
			};
		if (!own.equals(chain))
			return {
				status: "rewritten",
				sequence,
				text: `row ${sequence}, or one before it, is not what ${holder} holds`,
			};
	}
	return verdict;
}

/**
 * An append-only file whose rows are chained. A row is on disk, synced, when `append` returns. What a crash left of a row
 * behind the last line's end was never acknowledged and is cut off by `open`.
 */
export class ChainedFile {
	readonly path: string;
	readonly rows: ChainedRow[];
	/** Bytes that `open` cut off. */
	readonly tornBytes: number;
	readonly #chains: Buffer[];
	readonly #file: number;
	#closed = false;

	private constructor(path: string, found: Scan) {
		this.path = path;
		this.rows = found.rows;
		this.#chains = found.chains;
		this.tornBytes = found.tornBytes;
		const isNew = !existsSync(path);
		this.#file = openSync(path, "a", 0o600);
		if (found.tornBytes > 0) {
			ftruncateSync(this.#file, found.goodBytes);
			fsyncSync(this.#file);
		}
		if (isNew) syncFolder(path);
	}

	/** @throws Error when the file does not fit its chain: it is evidence, and nothing is written to it */
	static open(path: string): ChainedFile {
		const found = scan(path);
		if (found.verdict.status === "rewritten")
			throw new Error(`${path}: ${found.verdict.text}; nothing is written to it`);
		return new ChainedFile(path, found);
	}

	/** Sequence of the newest row, 0 when there is none. */
	get head(): number {
		return this.rows.length;
	}

	/** Chain value of a row; zeros for row 0; undefined for one that is not there. */
	chain(sequence: number): Buffer | undefined {
		return sequence === 0 ? NO_CHAIN : this.#chains[sequence - 1];
	}

	/** @param fields must not hold `sequence`, `utcSeconds`, `type`; plain JSON @returns the row, durable */
	append(utcSeconds: number, type: string, fields: Readonly<Record<string, unknown>>): ChainedRow {
		if (this.#closed) throw new Error("the log is closed");
		const sequence = this.rows.length + 1;
		const text = JSON.stringify({ sequence, utcSeconds: Math.floor(utcSeconds), type, ...fields });
		const chain = chainOf(this.chain(sequence - 1)!, Buffer.from(text, "utf8"));
		const line = Buffer.from(`${chain.toString("hex")} ${text}\n`, "utf8");
		for (let at = 0; at < line.length; ) at += writeSync(this.#file, line, at);
		fsyncSync(this.#file);
		const row = JSON.parse(text) as ChainedRow;
		this.rows.push(row);
		this.#chains.push(chain);
		return row;
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		closeSync(this.#file);
	}
}

/** So that the file's name is on disk too. */
function syncFolder(path: string): void {
	const folder = openSync(dirname(path), "r");
	try {
		fsyncSync(folder);
	} finally {
		closeSync(folder);
	}
}
