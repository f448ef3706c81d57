import assert from "node:assert/strict";
import { test } from "node:test";
import { seed } from "../../seed.js";
import { drain, opened } from "../../unit/mqtt/machine-harness.js";
import { XsMachine } from "../../unit/mqtt/xs-machine.js";
import { generator, mutate, seeds } from "./frames.js";

const CASES = Number(process.env["FUZZ_CASES"] ?? 1_500);

test("receive on XS, preloaded: any bytes are answered as on Node", async (t) => {
	const xs = await XsMachine.start();
	const all = seeds().filter((frame) => frame.length < 900);
	let count = 0;
	try {
		for (let i = 0; i < CASES; i++) {
			const random = generator(seed + i);
			const protocolVersion = random(2) === 0 ? 4 : 5;
			const { machine, recorder } = opened({ protocolVersion, cleanSession: true });
			await xs.ask("n", 0x80 | protocolVersion);
			const frames: Uint8Array[] = [Uint8Array.from(protocolVersion === 5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0])];
			for (let j = 1 + random(4); j > 0; j--) frames.push(mutate(all[random(all.length)]!, random).subarray(0, 900));
			for (const frame of frames) {
				const label = `replay with SEED=${seed + i} FUZZ_CASES=1: ${Buffer.from(frame).toString("hex")}`;
				const status = machine.receive(10_001, frame, frame.length);
				const sent = drain(machine).toString("hex");
				const { answer, events } = await xs.ask("r", 0, frame);
				assert.equal(answer, `${status} ${machine.wantsLink()} ${sent}`, label);
				assert.equal(events.split(",").length, Math.max(1, recorder.take().length), label);
				count++;
				if (!machine.wantsLink()) break;
			}
		}
		const { slotsPeak, chunkBytesPeak } = await xs.statistics();
		t.diagnostic(`${count} frames; peaks: ${slotsPeak} slots, ${chunkBytesPeak} chunk bytes`);
	} finally {
		await xs.stop();
	}
});
