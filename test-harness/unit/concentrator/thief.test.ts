import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { ServerUnicast } from "../../../src/key-store/server-unicast.js";
import { UNICAST_OVERHEAD_BYTES, UnicastType } from "../../../src/key-store/unicast.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { SealedLog } from "../../head-end/sealed-log.js";
import { Bench, DOMAIN, START_EPOCH } from "../head-end/bench.js";
import { FakeKeys } from "../head-end/fake-keys.js";
import { until } from "../head-end/fake-meter.js";

/** All that lies in a concentrator's folder, in clear: what a thief has. */
function loot(folder: string): { files: Buffer[]; records: Buffer[] } {
	const records: Buffer[] = [];
	const copy = `${folder}.stolen`;
	cpSync(folder, copy, { recursive: true });
	const key = readFileSync(join(copy, "concentrator.key"));
	SealedLog.open(
		join(copy, "neighbourhood.log"),
		key,
		(record) => records.push(Buffer.from(record)),
		() => {},
	);
	return { files: readdirSync(folder).map((name) => readFileSync(join(folder, name))), records };
}

/** Every stretch of bytes of the loot that could be a key. */
function* stretches(bytes: readonly Buffer[], byteLength: number): Generator<Buffer> {
	for (const each of bytes)
		for (let at = 0; at + byteLength <= each.length; at++) yield each.subarray(at, at + byteLength);
}

test("the folder of a concentrator opens no end-to-end message and commands no meter", async () => {
	const bench = await new Bench(undefined, true).start();
	try {
		const meter = await bench.meter();
		await bench.step(3);
		await meter.connect(bench.broker.url);
		await bench.step(1);
		await until("the witness", () => meter.keys!.store.isWitnessed);
		await bench.settle();
		await meter.sendReading();
		await bench.step(1);
		const reading = meter.said[meter.said.length - 1]!;
		assert.equal(reading[9]! & 1, 0, "an end-to-end message");
		mkdirSync(bench.concentratorFolder, { recursive: true });
		const { files, records } = loot(bench.concentratorFolder);
		assert.ok(records.length >= 3, "there is something to steal");

		// no secret of the head end lies there, whole
		const dayValue = new Uint8Array(32);
		bench.registry!.dayValue(meter.id, 1, 0, START_EPOCH, dayValue, 0);
		const secrets = [
			Buffer.from(dayValue),
			Buffer.from(meter.keys!.file.roots.subarray(0, 32)),
			Buffer.from(meter.keys!.file.roots.subarray(32)),
			Buffer.from(bench.registry!.calendarSeed()),
			Buffer.from(bench.registry!.storeKey()),
		];
		for (const [index, secret] of secrets.entries())
			for (const bytes of [...files, ...records])
				assert.equal(bytes.indexOf(secret), -1, `secret ${index} of the head end lies in the concentrator's folder`);

		// what is there, used as any key of the odometer: as V_e of the end-to-end branch, it opens nothing
		const { id, domain, shortAddress } = meter.keys!.file;
		const crypto = new NodeCrypto();
		const into = new Uint8Array(reading.length);
		let tried = 0;
		for (const value of stretches(records, 32)) {
			const peer = { branch: 0 as const, id, domain, shortAddress, save: () => true };
			const guess = new ServerUnicast(crypto, peer);
			guess.startDay(START_EPOCH, new Uint8Array(value), 0);
			const status = guess.openMessage(reading, reading.length, into);
			assert.notEqual(status, Status.ok, "a key of the loot opens a reading");
			tried++;
		}
		// and as a chain key, put into a state of `ServerUnicast` at each index that the day has had
		const state = records.findLast((record) => record[0] === 1)!;
		for (const key of stretches([state], 16)) {
			const made = Buffer.from(state.subarray(11));
			made.set(key, 28);
			made.writeUInt16BE(reading.readUInt16BE(7), 8);
			const guess = new ServerUnicast(crypto, { branch: 0, id, domain, shortAddress, save: () => true });
			guess.restore(new Uint8Array(made));
			assert.notEqual(guess.openMessage(reading, reading.length, into), Status.ok, "a chain key opens a reading");
			tried++;
		}
		assert.ok(tried > 100, `${tried} keys tried`);

		// The thief has today's neighbourhood chain: messages of that branch he can make, and the meter opens them; but a
		// command of that branch is none.
		const thief = new ServerUnicast(crypto, { branch: 1, id, domain, shortAddress, save: () => true });
		assert.equal(thief.restore(new Uint8Array(state.subarray(11))), Status.ok, "the stolen chain");
		const command = Buffer.from([0xff, 0xff, 0x90, 1, 0, 0]);
		const sealed = Buffer.alloc(command.length + UNICAST_OVERHEAD_BYTES);
		assert.ok(thief.sealMessage(UnicastType.command, command, command.length, sealed) > 0, "sealed by the thief");
		const keys = meter.keys!;
		assert.equal(keys.receive(Buffer.from(sealed)), undefined, "no command comes of it");
		assert.equal(keys.statuses[keys.statuses.length - 1], Status.notAuthorised, "opened, and not obeyed");
		// the same with the head end's branch written into the header
		thief.sealMessage(UnicastType.command, command, command.length, sealed);
		const forged = Buffer.from(sealed);
		forged[9]! &= ~1;
		forged.writeUInt16BE(keys.store.downIndex(0), 7);
		assert.equal(keys.receive(forged), undefined);
		assert.equal(keys.statuses[keys.statuses.length - 1], Status.badTag, "the header is bound");
		// and sealed as end to end under every key that was stolen
		for (const value of stretches(records, 32)) {
			const peer = { branch: 0 as const, id, domain, shortAddress, save: () => true };
			const guess = new ServerUnicast(crypto, peer);
			guess.startDay(START_EPOCH, new Uint8Array(value), 0);
			guess.sealMessage(UnicastType.command, command, command.length, sealed);
			sealed.writeUInt16BE(keys.store.downIndex(0), 7);
			assert.equal(keys.receive(Buffer.from(sealed)), undefined, "no command comes of it");
		}
		assert.equal(keys.statuses.filter((status) => status === Status.notAuthorised).length, 1);
		assert.equal(domain, DOMAIN);
	} finally {
		await bench.close();
	}
});

test("the block that a concentrator holds ends: the next one needs the head end, and yesterday cannot be had from it", async () => {
	const bench = await new Bench(undefined, true, 10_800).start();
	try {
		const meter = await bench.meter();
		await bench.step(3);
		const { records } = loot(bench.concentratorFolder);
		const block = records.find((record) => record[0] === 2)!;
		const nextDay = block[17]!;
		assert.equal(nextDay, (START_EPOCH & 15) + 1, "it holds the value of tomorrow");
		const tomorrow = new Uint8Array(32);
		bench.registry!.dayValue(meter.id, 1, 1, START_EPOCH + 1, tomorrow, 0);
		assert.deepEqual(new Uint8Array(block.subarray(18)), tomorrow, "and nothing else of the odometer");
		// into the next block: the head end delegates it when it begins
		const days = 16 - (START_EPOCH & 15);
		await bench.step(days * 86_400);
		await bench.step(1);
		const report = bench.concentrator.neighbourhood.report(meter.id)!;
		assert.equal(report.epoch, START_EPOCH + days, "the first day of the next block");
		assert.ok(new FakeKeys(meter.keys!.file).store.isProvisioned);
	} finally {
		await bench.close();
	}
});
