import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { STATUS_COUNT, Status } from "../../../src/bytes/status.js";
import { seed } from "../../seed.js";
import { accept, type Build, builds, bytes, drain, Recorder, SETTINGS, text } from "../../unit/mqtt/machine-harness.js";
import { sequencesToClient } from "../../unit/mqtt/shared-sequences.js";
import { readSharedFile, sharedData } from "../../vectors/shared-data.js";

/** Cases for each build; `FUZZ_CASES` for a longer run. */
const CASES = Number(process.env["FUZZ_CASES"] ?? 20_000);

/** Valid frames of every type a client may meet; enough to start from where the shared data is absent. */
const OWN_SEEDS = [
	"20020000",
	"2003000000",
	"20 14 00 00 11 210002 2700000028 2500 2800 2a00 13000a",
	"40020001",
	"4003000110",
	"400b0001 00 07 26 0001 70 0001 71",
	"9003000101",
	"900400010001",
	"d000",
	"e000",
	"e0018b",
	"30 07 0003 612f62 6869",
	"32 0a 0003 612f62 0007 00 6869",
	"32 18 0005 746f706963 04d2 08 01 00 03 0003 782f79 7061796c",
	"34 09 0003 612f62 0007 6869",
	"50020001",
	"62020001",
	"70020001",
	"b0020001",
	"f000",
].map(bytes);

function seeds(): Uint8Array[] {
	const found: Uint8Array[] = [...OWN_SEEDS];
	const { folder, skip } = sharedData("mqtt");
	if (skip !== false) return found;
	for (const type of readdirSync(join(folder, "valid-raw")))
		for (const file of readdirSync(join(folder, "valid-raw", type)))
			found.push(new Uint8Array(readSharedFile("mqtt", `valid-raw/${type}/${file}`)));
	for (const { messages } of sequencesToClient().sequences)
		for (const message of messages) if (message.isSent) found.push(new Uint8Array(message.bytes));
	return found;
}

/** Mulberry32. */
function generator(state: number): (below: number) => number {
	return (below) => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * below);
	};
}

function mutate(source: Uint8Array, random: (below: number) => number): Uint8Array {
	let result = Array.from(source);
	for (let count = random(4); count > 0; count--) {
		const at = random(result.length + 1);
		switch (random(7)) {
			case 0:
				result[at % Math.max(1, result.length)] = random(256);
				break;
			case 1:
				if (result.length > 0) result[at % result.length]! ^= 1 << random(8);
				break;
			case 2:
				result.splice(at, 0, ...Array.from({ length: random(6) }, () => random(256)));
				break;
			case 3:
				result.splice(at, random(6));
				break;
			case 4:
				result = result.concat(result.slice(at));
				break;
			case 5: // a remaining length that fits again
				if (result.length >= 2 && result.length < 130) result[1] = result.length - 2;
				break;
			default:
				if (result.length > 1) result[1] = [0, 0x7f, 0x80, 0xff][random(4)]!;
		}
	}
	return Uint8Array.from(result);
}

function run({ MqttMachine }: Build, random: (below: number) => number, all: Uint8Array[], seen: number[]): void {
	const protocolVersion = random(2) === 0 ? 4 : 5;
	const recorder = new Recorder();
	const machine = new MqttMachine({ ...SETTINGS, protocolVersion, packetBytesMax: 256 }, recorder, () => 0.5);
	let now = 0;
	const open = (): void => {
		while (!machine.wantsLink()) {
			now = Math.max(now, machine.deadlineMilliseconds());
			machine.tick(now);
		}
		machine.linkOpened(now);
		drain(machine);
	};
	open();
	if (random(5) > 0) accept(machine, protocolVersion, now, random(2) === 0);
	machine.subscribe("c/#", 1);
	for (let i = random(4); i > 0; i--) machine.publish("t", text("body"), 4, 1, false);
	if (random(3) > 0) drain(machine, 1 + random(50));
	for (let i = 1 + random(6); i > 0; i--) {
		const frame = mutate(all[random(all.length)]!, random);
		for (let at = 0; at < frame.length; ) {
			const piece = frame.subarray(at, at + 1 + random(frame.length));
			const status = machine.receive(now, piece, piece.length);
			assert.ok(Number.isInteger(status) && status >= 0 && status < STATUS_COUNT);
			seen[status]!++;
			at += piece.length;
			if (random(3) === 0) drain(machine);
		}
	}
	// Whatever it was: the machine comes back and works.
	drain(machine);
	machine.linkClosed(now);
	open();
	accept(machine, protocolVersion, now);
	recorder.take();
	drain(machine);
	for (let i = 1; i < 40; i++) machine.receive(now, Uint8Array.of(0x40, 2, 0, i), 4);
	const handle = machine.publish("t", text("after"), 5, 1, false);
	assert.notEqual(handle, 0);
	assert.ok(drain(machine).toString("latin1").endsWith("after"));
	assert.equal(machine.receive(now, Uint8Array.of(0x40, 2, handle >> 8, handle & 0xff), 4), Status.ok);
	assert.ok(recorder.take().includes(`published ${handle}`));
}

for (const build of await builds())
	test(`receive: any bytes give a status, and the machine works afterwards (${build.name})`, (t) => {
		const all = seeds();
		const seen = new Array<number>(STATUS_COUNT).fill(0);
		for (let i = 0; i < CASES; i++) {
			try {
				run(build, generator(seed + i), all, seen);
			} catch (error) {
				throw new Error(`SEED=${seed}, case ${i}: replay with SEED=${seed + i} FUZZ_CASES=1`, { cause: error });
			}
		}
		const names = Object.entries(Status).map(([name, code]) => `${name} ${seen[code]}`);
		t.diagnostic(
			`${CASES} cases from ${all.length} frames: ${names.filter((name) => !name.endsWith(" 0")).join(", ")}`,
		);
	});
