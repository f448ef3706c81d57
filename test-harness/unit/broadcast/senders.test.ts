import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { createAnchor, verifyAnchor } from "../../../src/broadcast/calendar.js";
import { IntervalTiming } from "../../../src/broadcast/interval-timing.js";
import { Label } from "../../../src/broadcast/labels.js";
import { ALL_DOMAINS, CHAIN_CONTEXT_BYTES, Chain, startContext, stepKey } from "../../../src/broadcast/tesla.js";
import { Status } from "../../../src/bytes/status.js";
import { BlockHash } from "../../broadcast/block-hash.js";
import { CalendarTree, calendarRoot } from "../../broadcast/calendar-tree.js";
import { SenderCrypto } from "../../broadcast/sender-crypto.js";
import { type ChainDay, firstKey, KeyTraversal, lastKey, TeslaChain } from "../../broadcast/tesla-chain.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { CompressionCounter, HEAD_END_SEED } from "./world.js";

const EPOCH = 9_824;

/** T_0 to T_N, by node:crypto, step by step. */
function wholeChain(end: Uint8Array, day: ChainDay): Uint8Array[] {
	const crypto = new NodeCrypto();
	const context = new Uint8Array(CHAIN_CONTEXT_BYTES);
	startContext(context, day.domain, day.chain, day.epoch);
	const keys = [end];
	for (let i = day.intervalsADay; i > 0; i--) {
		const key = new Uint8Array(16);
		stepKey(crypto, Label.previousKey, context, i, keys[0]!, 0, key, 0);
		keys.unshift(key);
	}
	return keys;
}

test("the one-block hash is node:crypto's SHA-256 at every length", () => {
	const hash = new BlockHash();
	const digest = new Uint8Array(32);
	for (let length = 0; length <= 55; length++)
		for (let round = 0; round < 4; round++) {
			const message = randomBytes(length);
			hash.block.set(message);
			hash.digest(length, digest, 0, 32);
			const expected = createHash("sha256").update(message).digest("hex");
			assert.equal(Buffer.from(digest).toString("hex"), expected, `${message.toString("hex")}`);
		}
});

test("the senders' KDF is node:crypto's", () => {
	const one = new SenderCrypto();
	const other = new NodeCrypto();
	for (let round = 0; round < 50; round++) {
		const key = randomBytes(round % 33);
		const context = randomBytes(round % 23);
		const [a, b] = [new Uint8Array(32), new Uint8Array(32)];
		one.kdf(key, 0, key.length, round, context, 0, context.length, a, 0, 32);
		other.kdf(key, 0, key.length, round, context, 0, context.length, b, 0, 32);
		assert.deepEqual(a, b, `${key.toString("hex")} ${round} ${context.toString("hex")}`);
	}
});

test("the traversal gives every key from every start, with logarithmic storage and work", () => {
	const rows: string[] = [];
	for (const intervalsADay of [5, 24, 96, 128, 288, 1440]) {
		const crypto = new CompressionCounter();
		const day = { domain: ALL_DOMAINS, chain: Chain.headEnd, epoch: EPOCH, intervalsADay };
		const end = lastKey(crypto, HEAD_END_SEED, day);
		const keys = wholeChain(end, day);
		assert.deepEqual(firstKey(crypto, HEAD_END_SEED, day), keys[0]);
		const levels = Math.ceil(Math.log2(intervalsADay));
		let most = 0;
		let sum = 0;
		let kept = 0;
		const starts = intervalsADay > 300 ? [1, 2, 719, 1439, 1440] : keys.keys();
		for (const first of starts) {
			if (first === 0) continue;
			const traversal = new KeyTraversal(crypto, end, day, first);
			kept = Math.max(kept, traversal.keptCount);
			for (let index = first; index <= intervalsADay; index++) {
				assert.equal(traversal.nextIndex, index);
				let key: Uint8Array | undefined;
				const cost = crypto.cost(() => (key = traversal.next()));
				assert.deepEqual(key, keys[index], `T_${index} of ${intervalsADay}, begun at ${first}`);
				most = Math.max(most, cost);
				if (first === 1) sum += cost;
			}
			assert.equal(traversal.next(), undefined);
		}
		const mean = sum / intervalsADay;
		rows.push(`N ${intervalsADay}: ${kept} keys kept, ${mean.toFixed(2)} compressions a key, at most ${most}`);
		assert.ok(kept <= levels, `${kept} keys for ${intervalsADay}`);
		assert.ok(most <= 2 * levels && mean <= levels, rows.at(-1));
	}
	console.log(rows.join("\n"));
});

test("a chain gives any key at any time, from its seed alone", () => {
	const timing = new IntervalTiming(900, 2);
	const crypto = new CompressionCounter();
	const chain = new TeslaChain(crypto, HEAD_END_SEED, ALL_DOMAINS, Chain.headEnd, timing);
	const days = [EPOCH, EPOCH + 1].map((epoch) => {
		const day = { domain: ALL_DOMAINS, chain: Chain.headEnd, epoch, intervalsADay: 96 };
		return wholeChain(lastKey(crypto, HEAD_END_SEED, day), day);
	});
	const start = timing.numberOf(EPOCH, 0);
	for (const offset of [0, 1, 2, 0, 50, 49, 48, 51, 95, 96, 97, 95, 94, 98, 150, 10, 191])
		assert.deepEqual(chain.keyOf(start + offset), days[Math.floor(offset / 96)]![(offset % 96) + 1], `${offset}`);
	assert.deepEqual(chain.anchorOf(EPOCH + 1), days[1]![0]);
	let most = 0;
	for (let offset = 0; offset < 192; offset++)
		most = Math.max(
			most,
			crypto.cost(() => {
				chain.keyOf(start + offset);
				chain.keyOf(start + Math.max(0, offset - 2));
			}),
		);
	assert.ok(most <= 96 + 14, `${most}: a new day costs its chain, a new interval a few steps`);
});

test("a calendar of 16 384 days: seconds, and its file gives the same", () => {
	const settings = { firstEpoch: EPOCH, levels: 14, intervalSeconds: 900 };
	const told: number[] = [];
	const began = performance.now();
	const calendar = CalendarTree.build(HEAD_END_SEED, settings, (days) => told.push(days));
	console.log(`16 384 days of 96 intervals: ${((performance.now() - began) / 1000).toFixed(2)} s`);
	assert.equal(told.at(-1), 16_384);
	const bytes = calendar.toBytes();
	const again = CalendarTree.fromBytes(bytes);
	assert.deepEqual(again.root, calendar.root);
	const crypto = new CompressionCounter();
	const anchor = createAnchor();
	const checked = { root: calendar.root, firstEpoch: EPOCH, levels: 14 };
	for (const day of [0, 1, 4095, 16_383]) {
		const message = again.anchorFor(EPOCH + day);
		assert.equal(message.length, 246);
		let status: Status = Status.busy;
		const cost = crypto.cost(() => (status = verifyAnchor(crypto, checked, message, message.length, anchor)));
		assert.equal(status, Status.ok, `day ${day}`);
		assert.equal(cost, 15);
		assert.deepEqual(anchor.chainKey, calendar.chainKey(EPOCH + day));
	}
	for (const at of [0, 4, 5, 7, 100, bytes.length - 1]) {
		const damaged = bytes.slice();
		damaged[at]! ^= 1;
		assert.throws(() => CalendarTree.fromBytes(damaged), /calendar/, `byte ${at}`);
	}
	assert.throws(() => CalendarTree.fromBytes(bytes.subarray(0, 1000)), /calendar/);
	assert.throws(() => again.anchorFor(EPOCH - 1), /not in the calendar/);
	assert.deepEqual(calendarRoot(HEAD_END_SEED, EPOCH, 3, 3600).length, 16);
});
