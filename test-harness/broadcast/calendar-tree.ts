import { createHash } from "node:crypto";
import { DISCLOSURE_DELAY_DEFAULT } from "../../src/broadcast/broadcast-receiver.js";
import {
	ANCHOR_HEADER_BYTES,
	ANCHOR_TYPE,
	BLOCK_LEVELS,
	CALENDAR_LEVELS_MAX,
	HASH_BYTES,
} from "../../src/broadcast/calendar.js";
import { IntervalTiming } from "../../src/broadcast/interval-timing.js";
import { Label } from "../../src/broadcast/labels.js";
import { ALL_DOMAINS, Chain } from "../../src/broadcast/tesla.js";
import { UserError } from "../user-error.js";
import { SenderCrypto } from "./sender-crypto.js";
import { firstKey } from "./tesla-chain.js";

/**
 * A calendar in a file: 10 + 16 × 2^levels + 32 bytes, big-endian. The leaves alone; the tree is made anew. As secret as the
 * seed: with T_0 of a day to come the date can be moved there.
 * | offset | size | field           | unit and range                          |
 * |-------:|-----:|-----------------|-----------------------------------------|
 * |      0 |    4 | magic           | "WLCA"                                  |
 * |      4 |    1 | version         | 1                                       |
 * |      5 |    1 | levels          | 1 to 16                                 |
 * |      6 |    2 | intervalSeconds | s                                       |
 * |      8 |    2 | firstEpoch      | day of leaf 0                           |
 * |     10 | 16 each | chainKeys    | T_0 of each day                         |
 * |      … |   32 | digest          | SHA-256 of all before it                |
 */
const MAGIC = "WLCA";
const VERSION = 1;
const HEADER_BYTES = 10;
const DIGEST_BYTES = 32;

export interface CalendarSettings {
	readonly firstEpoch: number;
	readonly levels: number;
	readonly intervalSeconds: number;
}

/** The head end's T_0 of every day, and the Merkle tree over them (HORA section 7, 1). */
export class CalendarTree {
	readonly firstEpoch: number;
	readonly levels: number;
	readonly intervalSeconds: number;
	/** Heap order: the root is node 1, the leaves are the last 2^levels. */
	readonly #nodes: Uint8Array;
	readonly #chainKeys: Uint8Array;

	private constructor({ firstEpoch, levels, intervalSeconds }: CalendarSettings, chainKeys: Uint8Array) {
		this.firstEpoch = firstEpoch;
		this.levels = levels;
		this.intervalSeconds = intervalSeconds;
		this.#chainKeys = chainKeys;
		const crypto = new SenderCrypto();
		const count = 2 ** levels;
		const nodes = new Uint8Array(2 * count * HASH_BYTES);
		const context = new Uint8Array(3);
		for (let i = 0; i < count; i++) {
			context[0] = (firstEpoch + i) >> 8;
			context[1] = firstEpoch + i;
			const leaf = (count + i) * HASH_BYTES;
			crypto.kdf(chainKeys, i * HASH_BYTES, HASH_BYTES, Label.calendarLeaf, context, 0, 2, nodes, leaf, HASH_BYTES);
		}
		for (let height = 1; height <= levels; height++)
			for (let i = 0; i < count >> height; i++) {
				const node = (count >> height) + i;
				context[0] = height;
				context[1] = i >> 8;
				context[2] = i;
				const pair = 2 * node * HASH_BYTES;
				const { calendarNode } = Label;
				crypto.kdf(nodes, pair, 2 * HASH_BYTES, calendarNode, context, 0, 3, nodes, node * HASH_BYTES, HASH_BYTES);
			}
		this.#nodes = nodes;
	}

	/**
	 * Makes a calendar: N + 3 compressions a day, about 1 s for 16 384 days of 96 intervals.
	 * @param seed of the head end's chain, 32 bytes
	 * @param onProgress is told now and then how many days are done
	 */
	static build(
		seed: Uint8Array,
		settings: CalendarSettings,
		onProgress: (days: number, ofDays: number) => void = () => {},
	): CalendarTree {
		const { levels, firstEpoch, intervalSeconds } = settings;
		const { intervalsADay } = new IntervalTiming(intervalSeconds, DISCLOSURE_DELAY_DEFAULT);
		if (!Number.isInteger(levels) || levels < 1 || levels > CALENDAR_LEVELS_MAX)
			throw new UserError(`a calendar has 1 to ${CALENDAR_LEVELS_MAX} levels`);
		if (intervalsADay === 0) throw new UserError(`a day cannot be divided into intervals of ${intervalSeconds} s`);
		const count = 2 ** levels;
		if (!Number.isInteger(firstEpoch) || firstEpoch < 0 || firstEpoch + count > 0x1_0000)
			throw new UserError("the calendar reaches beyond the last day");
		const crypto = new SenderCrypto();
		const chainKeys = new Uint8Array(count * HASH_BYTES);
		for (let i = 0; i < count; i++) {
			const day = { domain: ALL_DOMAINS, chain: Chain.headEnd, epoch: firstEpoch + i, intervalsADay };
			chainKeys.set(firstKey(crypto, seed, day), i * HASH_BYTES);
			if (i % 256 === 255) onProgress(i + 1, count);
		}
		if (count < 256) onProgress(count, count);
		return new CalendarTree(settings, chainKeys);
	}

	/** What `toBytes` gave. @throws UserError when it is damaged or of another version */
	static fromBytes(bytes: Uint8Array): CalendarTree {
		const buffer = Buffer.from(bytes);
		const levels = buffer[5] ?? 0;
		const end = HEADER_BYTES + HASH_BYTES * 2 ** levels;
		if (buffer.length < HEADER_BYTES || buffer.toString("latin1", 0, 4) !== MAGIC)
			throw new UserError("this is no calendar");
		if (buffer[4] !== VERSION) throw new UserError(`no calendar of version ${buffer[4]} is known here`);
		if (levels < 1 || levels > CALENDAR_LEVELS_MAX || buffer.length !== end + DIGEST_BYTES)
			throw new UserError("the calendar is cut short");
		const digest = createHash("sha256").update(buffer.subarray(0, end)).digest();
		if (!digest.equals(buffer.subarray(end))) throw new UserError("the calendar is damaged");
		const settings = { levels, intervalSeconds: buffer.readUInt16BE(6), firstEpoch: buffer.readUInt16BE(8) };
		return new CalendarTree(settings, Uint8Array.from(buffer.subarray(HEADER_BYTES, end)));
	}

	toBytes(): Uint8Array {
		const head = Buffer.alloc(HEADER_BYTES);
		head.write(MAGIC, "latin1");
		head[4] = VERSION;
		head[5] = this.levels;
		head.writeUInt16BE(this.intervalSeconds, 6);
		head.writeUInt16BE(this.firstEpoch, 8);
		const digest = createHash("sha256").update(head).update(this.#chainKeys).digest();
		return Buffer.concat([head, this.#chainKeys, digest]);
	}

	/** What meters are provisioned with; 16 bytes. */
	get root(): Uint8Array {
		return this.#node(1);
	}

	has(epoch: number): boolean {
		return Number.isInteger(epoch) && epoch >= this.firstEpoch && epoch < this.firstEpoch + 2 ** this.levels;
	}

	/** T_0 of a day. */
	chainKey(epoch: number): Uint8Array {
		const leaf = this.#leaf(epoch);
		return this.#chainKeys.slice(leaf * HASH_BYTES, (leaf + 1) * HASH_BYTES);
	}

	/**
	 * The ANCHOR of a day, which begins it: whoever lets it out before the day moves every meter there.
	 * @param isShort with the siblings up to the root of 16 days only
	 */
	anchorFor(epoch: number, domain: number = ALL_DOMAINS, isShort = false): Uint8Array {
		let node = 2 ** this.levels + this.#leaf(epoch);
		const siblings = isShort && this.levels > BLOCK_LEVELS ? BLOCK_LEVELS : this.levels;
		const message = Buffer.alloc(ANCHOR_HEADER_BYTES + siblings * HASH_BYTES);
		message[0] = ANCHOR_TYPE;
		message.writeUInt16BE(domain, 1);
		message.writeUInt16BE(epoch, 3);
		message[5] = siblings;
		message.set(this.chainKey(epoch), 6);
		for (let i = 0; i < siblings; i++, node >>= 1)
			message.set(this.#node(node ^ 1), ANCHOR_HEADER_BYTES + i * HASH_BYTES);
		return message;
	}

	#leaf(epoch: number): number {
		if (!this.has(epoch)) throw new UserError(`day ${epoch} is not in the calendar`);
		return epoch - this.firstEpoch;
	}

	#node(node: number): Uint8Array {
		return this.#nodes.slice(node * HASH_BYTES, (node + 1) * HASH_BYTES);
	}
}

/** Root of the calendar that grows from a seed, as `Registry.create` asks for it. */
export function calendarRoot(
	seed: Uint8Array,
	firstEpoch: number,
	levels: number,
	intervalSeconds: number,
): Uint8Array {
	return CalendarTree.build(seed, { firstEpoch, levels, intervalSeconds }).root;
}
