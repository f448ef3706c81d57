import assert from "node:assert/strict";
import { test } from "node:test";
import { STATUS_COUNT, Status, statusName } from "../../../src/bytes/status.js";
import { createUnicastHeader, decodeUnicastHeader, encodeUnicastHeader } from "../../../src/key-store/unicast.js";
import { seed } from "../../seed.js";
import { CountingCrypto } from "../../unit/key-store/counting-crypto.js";
import { attachContent, meterSeal, PROVISIONING, provisioned, Server } from "../../unit/key-store/world.js";
import { generator, mutate } from "../mqtt/frames.js";

/** `FUZZ_CASES` for a longer run. */
const CASES = Number(process.env["FUZZ_CASES"] ?? 20_000);
const DAY = PROVISIONING.epoch;
/** HORA section 9: what unverified input may cost. */
const COMPRESSIONS_MAX = 33;
const SERVER_COMPRESSIONS_MAX = 4097;

/** A valid message, changed where decoders decide: sometimes a field of the header, sometimes anything. */
function hostile(source: Uint8Array, random: (below: number) => number): Uint8Array {
	if (random(2) === 0) return mutate(source, random);
	const bytes = source.slice();
	const field = random(8);
	const at = [0, 2, 4, 6, 8, 9, 7, 10 + random(Math.max(1, bytes.length - 10))][field]!;
	if (at < bytes.length) bytes[at] = random(3) === 0 ? random(256) : bytes[at]! + random(5) - 2;
	return bytes;
}

function tally(seen: readonly number[]): string {
	return seen.flatMap((count, status) => (count > 0 ? [`${statusName(status)} ${count}`] : [])).join(", ");
}

test("header: any bytes decode or not, and what decodes is encoded to the same bytes", () => {
	const random = generator(seed);
	const header = createUnicastHeader();
	for (let i = 0; i < CASES; i++) {
		const bytes = Uint8Array.from({ length: random(40) }, () => random(256));
		if (random(2) === 0 && bytes.length > 9) bytes[9]! &= 3;
		const byteLength = random(bytes.length + 4);
		const status = decodeUnicastHeader(bytes, byteLength, header);
		const isFine = byteLength >= 18 && byteLength <= bytes.length && bytes[9]! < 4;
		assert.equal(status === Status.ok, isFine, `seed ${seed}, case ${i}`);
		if (!isFine) continue;
		const again = new Uint8Array(10);
		encodeUnicastHeader(header, again);
		assert.deepEqual(again, bytes.slice(0, 10), `seed ${seed}, case ${i}`);
	}
});

test("meter: a forgery costs at most 33 compressions and one opening, changes nothing, and is never delivered", () => {
	const random = generator(seed);
	const crypto = new CountingCrypto();
	const { store, flash, arena } = provisioned(crypto);
	const servers = [new Server(0), new Server(1)];
	const lateServer = new Server(0);
	lateServer.seal("before the day's end");
	assert.equal(store.stageEpoch(DAY + 1, true), Status.ok);
	assert.equal(store.commitEpoch(), Status.ok);
	const today = [new Server(0, DAY + 1), new Server(1, DAY + 1)];
	const genuine: Uint8Array[] = [];
	for (const server of [...servers, ...today]) {
		for (let i = 0; i < 5; i++) genuine.push(server.seal(`message ${i}`, [0x09, 0x0b, 0x07, 0x11, 0x08][i]));
		genuine.push(server.sealBytes(attachContent(DAY + 1), 0x10));
		for (let i = 0; i < 25; i++) server.seal("x");
		genuine.push(server.seal("31 ahead"));
	}
	genuine.push(meterSeal(store, "of its own"));
	const known = new Set(genuine.map((bytes) => Buffer.from(bytes).toString("hex")));
	const before = Buffer.from(arena.bytes);
	const image = Buffer.from(flash.image);
	const into = new Uint8Array(400);
	const seen = new Array<number>(STATUS_COUNT).fill(0);
	let most = 0;
	for (let i = 0; i < CASES; i++) {
		const bytes = hostile(genuine[random(genuine.length)]!, random);
		if (known.has(Buffer.from(bytes).toString("hex"))) continue;
		const where = `seed ${seed}, case ${i}: ${Buffer.from(bytes).toString("hex")}`;
		crypto.kdfs = crypto.opens = 0;
		const status =
			random(10) > 0
				? store.openMessage(bytes, bytes.length, into)
				: store.openAuthorisation(bytes, bytes.length, into);
		seen[status]!++;
		assert.notEqual(status, Status.ok, where);
		most = Math.max(most, crypto.kdfs);
		assert.ok(crypto.kdfs <= COMPRESSIONS_MAX && crypto.opens <= 1, `${where}: ${crypto.kdfs} compressions`);
		if (status !== Status.badTag) assert.equal(crypto.kdfs + crypto.opens, 0, `${where}: ${statusName(status)}`);
	}
	console.log(`at most ${most} compressions; ${tally(seen)}`);
	assert.ok(before.equals(arena.bytes), "memory is as it was, scratch and all");
	assert.ok(image.equals(flash.image), "flash is as it was");
	assert.ok(seen[Status.badTag]! > CASES / 20, "some reached the cipher");
	assert.ok(most === 32, `the far end of the window was reached: ${most}`);
	// The genuine ones still open.
	assert.equal(store.openMessage(genuine[0]!, genuine[0]!.length, into), Status.ok);
});

test("server: a forgery costs at most its window, changes nothing, and is never delivered", () => {
	const random = generator(seed);
	const crypto = new CountingCrypto();
	const { store } = provisioned();
	const server = new Server(0, DAY, crypto);
	const genuine: Uint8Array[] = [];
	for (let i = 0; i < 40; i++) genuine.push(meterSeal(store, `message ${i}`));
	const saved = Buffer.from(server.saved);
	const into = new Uint8Array(400);
	const seen = new Array<number>(STATUS_COUNT).fill(0);
	for (let i = 0; i < CASES / 10; i++) {
		const source = genuine[random(genuine.length)]!;
		const bytes = hostile(source, random);
		if (genuine.some((one) => Buffer.from(one).equals(bytes))) continue;
		const where = `seed ${seed}, case ${i}: ${Buffer.from(bytes).toString("hex")}`;
		crypto.kdfs = crypto.opens = 0;
		const status = server.unicast.openMessage(bytes, bytes.length, into);
		seen[status]!++;
		assert.notEqual(status, Status.ok, where);
		assert.ok(crypto.kdfs <= SERVER_COMPRESSIONS_MAX && crypto.opens <= 1, `${where}: ${crypto.kdfs} compressions`);
		if (status !== Status.badTag) assert.equal(crypto.kdfs + crypto.opens, 0, `${where}: ${statusName(status)}`);
	}
	console.log(tally(seen));
	assert.ok(saved.equals(server.saved), "nothing was saved");
	assert.equal(server.open(genuine[39]!), "message 39");
});
