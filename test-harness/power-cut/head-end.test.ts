import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import { createDeviceFile } from "../../src/provisioning/device-file.js";
import { VirtualClock } from "../clock.js";
import { EndToEnd } from "../head-end/end-to-end.js";
import { Registry } from "../head-end/registry.js";
import { sessionsPath } from "../head-end/session-files.js";
import { FileLock } from "../provisioning/sealed-file.js";
import { FakeKeys } from "../unit/head-end/fake-keys.js";

const EPOCH = 9259;
const ID = "0200000000000001";
const folder = mkdtempSync(join(tmpdir(), "wattlock-power-cut-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const lock = FileLock.ofKeyFile(join(folder, "registry.key"), true);
const registry = Registry.create(folder, lock, {
	calendarFirstEpoch: EPOCH - 1,
	calendarLevels: 2,
	calendarRoot: () => new Uint8Array(16),
});
const file = createDeviceFile();
registry.addMeter(ID, 1, 5, EPOCH, file);
const clock = new VirtualClock(EPOCH * 86_400 + 40_000);

function open(path: string, transmit: (sealed: Uint8Array) => void = () => {}): EndToEnd {
	const sessions = new EndToEnd({ registry, clock, log: () => {}, transmit: (_id, sealed) => transmit(sealed) });
	sessions.open(path);
	return sessions;
}

const indexOf = (sealed: Uint8Array): number => sealed[7]! * 256 + sealed[8]!;

test("power cut at every byte of the session log: no index that was sent is ever sealed under again", async () => {
	const path = sessionsPath(folder);
	/** What was sent, and how long the file was then: all of that was on the disk. */
	const sent: { index: number; bytes: number }[] = [];
	const keys = new FakeKeys(file);
	keys.store.witness(0);
	const sessions = open(path, (sealed) => {
		sent.push({ index: indexOf(sealed), bytes: statSync(path).size });
		assert.ok(keys.receive(Buffer.from(sealed)), "the meter opens it");
	});
	const into = new Uint8Array(1024);
	const accepted: Buffer[] = [];
	const base = statSync(path).size;
	for (let round = 0; round < 24; round++) {
		for (let count = 1 + (round % 3); count > 0; count--)
			assert.ok(sessions.send(ID, Uint8Array.of(0x90, round), 2), "sealed");
		await sessions.flushed();
		const data = keys.data(Uint8Array.of(2, 1), 2);
		assert.equal(sessions.receive(ID, data, into), Status.ok);
		accepted.push(data);
	}
	// kill -9: everything that was written is there
	const killed = join(folder, "killed.log");
	copyFileSync(path, killed);
	const whole = readFileSync(path);
	assert.ok(sent.length >= 40 && whole.length > base, "enough happened");
	const afterKill = open(killed);
	for (const data of accepted)
		assert.equal(afterKill.receive(ID, data, into), Status.replayed, "accepted a second time after kill -9");
	await afterKill.close();

	const cut = join(folder, "cut.log");
	const step = Math.max(1, Math.floor((whole.length - base) / 400));
	let checked = 0;
	for (let length = base; length <= whole.length; length += step) {
		// the cut leaves a prefix, and behind it what the disk happened to hold
		const torn = Buffer.concat([whole.subarray(0, length), Buffer.alloc(checked % 40, 0xa5)]);
		writeFileSync(cut, torn);
		const used = sent.filter(({ bytes }) => bytes <= length).map(({ index }) => index);
		const first: number[] = [];
		const restarted = open(cut, (sealed) => first.push(indexOf(sealed)));
		const before = new Set(used);
		if (restarted.send(ID, Uint8Array.of(0x91, 1), 2)) {
			await restarted.flushed();
			assert.ok(!before.has(first.at(-1)!), `cut after ${length} bytes: index ${first.at(-1)} was sent before`);
			checked++;
		}
		// what the meter has not acknowledged is still there, and the same
		restarted.resend(ID);
		await restarted.flushed();
		await restarted.close();
	}
	assert.ok(checked > 300, `${checked} cuts checked`);
	await sessions.close();
});

test("without waiting for the disk the same cuts would use an index twice: the test can fail", async () => {
	// The log as it would be had nothing been synced before sending: any shorter prefix may be what is left.
	const path = join(folder, "lazy.log");
	const sent: number[] = [];
	const sessions = open(path, (sealed) => sent.push(indexOf(sealed)));
	const base = statSync(path).size;
	for (let count = 0; count < 5; count++) sessions.send(ID, Uint8Array.of(0x90, 1), 2);
	await sessions.flushed();
	const whole = readFileSync(path);
	writeFileSync(join(folder, "lost.log"), whole.subarray(0, base + Math.floor((whole.length - base) / 2)));
	const again: number[] = [];
	const restarted = open(join(folder, "lost.log"), (sealed) => again.push(indexOf(sealed)));
	restarted.send(ID, Uint8Array.of(0x90, 1), 2);
	await restarted.flushed();
	assert.ok(sent.includes(again[0]!), "half of the log lost: the index is used again");
	await sessions.close();
	await restarted.close();
});
