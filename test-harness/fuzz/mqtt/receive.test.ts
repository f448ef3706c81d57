import assert from "node:assert/strict";
import { test } from "node:test";
import { STATUS_COUNT, Status } from "../../../src/bytes/status.js";
import { seed } from "../../seed.js";
import { accept, type Build, builds, drain, Recorder, SETTINGS, text } from "../../unit/mqtt/machine-harness.js";
import { generator, mutate, seeds } from "./frames.js";

/** Cases for each build; `FUZZ_CASES` for a longer run. */
const CASES = Number(process.env["FUZZ_CASES"] ?? 10_000);

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
