import assert from "node:assert/strict";
import { test } from "node:test";
import { accept, builds, drain, opened, packets, text } from "./machine-harness.js";
import { type Sequence, sequencesToClient } from "./shared-sequences.js";

/** Sequences whose verdict is not ours, each with the reason. */
const DEPARTURES: readonly { matches(sequence: Sequence): boolean; why: string; isRun: boolean; count: number }[] = [
	{ matches: (s) => s.version === 3, why: "MQTT 3.1, which this client does not speak", isRun: false, count: 1 },
	{
		matches: (s) => /^(34|3C) QoS 2 Dup/.test(s.name),
		why: "QoS 2 flow: this client asks for QoS 1 at most and leaves a broker that sends more",
		isRun: true,
		count: 4,
	},
	{
		matches: (s) => s.group === "v5.0 CONNACK" && s.name === "20 long",
		why: "a byte after CONNACK's properties: mosquitto overlooks it, MQTT 5.0 section 3.2.3 knows no payload",
		isRun: true,
		count: 1,
	},
];
/** The broker's side expects 0x82 (protocol error) for QoS 3 if a packet identifier follows; [MQTT-3.3.1-4] says malformed. */
const REASON_DIFFERS = "36 QoS 3 (with mid) [MQTT-3.3.1-4]";

const shared = sequencesToClient();

for (const { name, MqttMachine } of await builds())
	test(`the shared sequences to a client get their verdict (${name})`, { skip: shared.skip }, (t) => {
		const departures = DEPARTURES.map(() => 0);
		let asExpected = 0;
		let answers = 0;
		for (const sequence of shared.sequences) {
			const index = DEPARTURES.findIndex((departure) => departure.matches(sequence));
			if (index >= 0) departures[index]!++;
			if (index >= 0 && !DEPARTURES[index]!.isRun) continue;
			const protocolVersion = sequence.version === 5 ? 5 : 4;
			const { machine } = opened({ protocolVersion, cleanSession: true }, MqttMachine);
			if (sequence.isConnected) accept(machine, protocolVersion, 10_000);
			if (sequence.isPublishing) {
				assert.equal(machine.publish("test/publish", text("message"), 7, 1, false), 1);
				const [publish] = packets(drain(machine));
				assert.equal(publish!.toString("latin1", 2, 18), "\0\x0ctest/publish\0\x01");
			}
			const sent: Buffer[] = [];
			const label = `${sequence.group}: ${sequence.name}`;
			for (const message of sequence.messages) {
				if (message.isSent) {
					machine.receive(10_001, message.bytes, message.bytes.length);
					sent.push(...packets(drain(machine)));
				} else if (index < 0) {
					const answer = sent.shift();
					assert.ok(answer !== undefined, `${label}: no answer`);
					// MQTT 5 lets a DISCONNECT leave out an empty property list; mqtt-packet writes it.
					const plain = answer[0] === 0xe0 && answer.length === 4 ? Buffer.from([0xe0, 1, answer[2]!]) : answer;
					if (sequence.name === REASON_DIFFERS) assert.equal(plain.toString("hex"), "e00181", label);
					else assert.deepEqual(plain, message.bytes, label);
					answers++;
				}
			}
			const expectDisconnect = index >= 0 ? true : sequence.expectDisconnect;
			assert.equal(!machine.wantsLink(), expectDisconnect, label);
			if (index < 0) asExpected++;
		}
		assert.deepEqual(
			departures,
			DEPARTURES.map(({ count }) => count),
		);
		t.diagnostic(`${asExpected} of ${shared.sequences.length} sequences as expected, ${answers} answers compared`);
		DEPARTURES.forEach(({ why, isRun }, i) => {
			t.diagnostic(`${departures[i]} ${isRun ? "end with a disconnect" : "not run"}: ${why}`);
		});
	});
