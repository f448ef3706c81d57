import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { bytes, drain, opened } from "./machine-harness.js";
import { sequencesToClient } from "./shared-sequences.js";
import { XsMachine } from "./xs-machine.js";

let xs: XsMachine;

before(async () => {
	xs = await XsMachine.start();
});

after(async () => {
	await (xs as XsMachine | undefined)?.stop();
});

/** One exchange on XS and on Node: what was answered and heard must be equal. */
async function compare(protocolVersion: 4 | 5, frames: readonly Uint8Array[], isPublishing: boolean): Promise<void> {
	const { machine, recorder, connect } = opened({ protocolVersion, cleanSession: true });
	recorder.message = (topic, payload, byteLength) => {
		const codes = Array.from(topic, (character) => `${character.codePointAt(0)!.toString(16)}.`).join("");
		recorder.events.push(`message ${codes} ${Buffer.from(payload).toString("hex", 0, byteLength)}`);
	};
	assert.equal((await xs.ask("n", 0x80 | protocolVersion)).answer, connect.toString("hex"));
	if (isPublishing) {
		machine.publish("meter/1/reading", new Uint8Array(64).fill(0x5a), 64, 1, false);
		await xs.ask("p", 0);
		machine.publish("aé€𐍈", new Uint8Array(64).fill(0x5a), 64, 1, false);
		await xs.ask("p", 1);
	}
	for (const frame of frames) {
		const status = machine.receive(10_001, frame, frame.length);
		const sent = drain(machine).toString("hex");
		const found = await xs.ask("r", 0, frame);
		const label = Buffer.from(frame).toString("hex");
		assert.equal(found.answer, `${status} ${machine.wantsLink()} ${sent}`, label);
		assert.equal(found.events, recorder.take().join(","), label);
	}
}

test("XS, preloaded: an exchange with messages both ways is as on Node", async () => {
	for (const protocolVersion of [4, 5] as const) {
		const five = protocolVersion === 5;
		await compare(
			protocolVersion,
			[
				bytes(five ? "20 14 00 00 11 210002 2700000400 2501 2801 2a01 13000a" : "20020000"),
				bytes("40020001"),
				bytes(five ? "32 0b 0004 612fc3a9 0007 00 6869" : "32 0a 0004 612fc3a9 0007 6869"),
				bytes(five ? "30 0b 0004 f0908d88 00 c3a9c3a9" : "30 06 0004 f0908d88"),
				bytes("d000"),
				five ? bytes("e0018e") : bytes("3002ffff"),
			],
			true,
		);
	}
});

const shared = sequencesToClient();

test("XS, preloaded: the shared sequences to a client are as on Node", { skip: shared.skip }, async (t) => {
	let count = 0;
	for (const sequence of shared.sequences) {
		if (sequence.version === 3) continue;
		const connack = sequence.version === 5 ? bytes("2003000000") : bytes("20020000");
		const frames = sequence.messages.filter(({ isSent }) => isSent).map((message) => message.bytes);
		await compare(sequence.version, [...(sequence.isConnected ? [connack] : []), ...frames], sequence.isPublishing);
		count++;
	}
	const { slotsPeak, chunkBytesPeak, stackPeakSlots } = await xs.statistics();
	t.diagnostic(
		`${count} sequences; peaks: ${slotsPeak} slots, ${chunkBytesPeak} chunk bytes, ${stackPeakSlots} stack slots`,
	);
});
