import assert from "node:assert/strict";
import { test } from "node:test";
import mqttPacket, { type Packet } from "mqtt-packet";
import { MqttTap } from "../../board/mqtt-tap.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

for (const protocolVersion of [4, 5] as const)
	test(`the tap knows what is outstanding, however the bytes are cut (MQTT version ${protocolVersion})`, () => {
		const random = new Random(seed, "tap");
		const bytes = (packet: Packet): Buffer => mqttPacket.generate(packet, { protocolVersion });
		const seen: string[] = [];
		let acknowledged = 0;
		const tap = new MqttTap({
			published: (topic, payload, isRepeat) => seen.push(`${topic} ${Buffer.from(payload)} ${isRepeat}`),
			upAcknowledged: () => acknowledged++,
			connected: () => seen.push("connected"),
		});
		const feed = (one: (piece: Uint8Array) => void, whole: Buffer): void => {
			for (let at = 0; at < whole.length; ) {
				const count = random.integer(1, random.chance(0.3) ? 3 : 200);
				const piece = Buffer.from(whole.subarray(at, at + count));
				one(piece);
				piece.fill(0xee); // valid during the call only
				at += count;
			}
		};
		const out = (packet: Packet): void => feed((piece) => tap.outgoing(piece), bytes(packet));
		const back = (packet: Packet): void => feed((piece) => tap.incoming(piece), bytes(packet));
		const publish = (messageId: number, topic: string, dup: boolean, payload: string): Packet => ({
			cmd: "publish",
			messageId,
			topic,
			payload,
			qos: 1,
			dup,
			retain: false,
			...(protocolVersion === 5 ? { properties: { messageExpiryInterval: 60 } } : {}),
		});

		out({ cmd: "connect", clientId: "m", protocolId: "MQTT", protocolVersion, clean: false, keepalive: 60 });
		assert.equal(tap.outstanding, 1);
		back({ cmd: "connack", returnCode: 0, reasonCode: 0, sessionPresent: false });
		assert.equal(tap.outstanding, 0);
		out({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/down", qos: 1 }] });
		out(publish(2, "a/up", false, "one"));
		out(publish(3, "a/state", false, "x".repeat(300)));
		out({ cmd: "pingreq" });
		assert.equal(tap.outstanding, 4);
		back({ cmd: "suback", messageId: 1, granted: [1] });
		back({ cmd: "puback", messageId: 3, reasonCode: 0 });
		assert.equal(acknowledged, 0);
		back({ cmd: "puback", messageId: 2, reasonCode: 0 });
		back({ cmd: "puback", messageId: 2, reasonCode: 0 }); // again: nothing
		assert.equal(acknowledged, 1);
		back({ cmd: "pingresp" });
		back(publish(9, "a/down", false, "to the meter"));
		assert.equal(tap.outstanding, 0);
		out(publish(4, "a/up", true, "again"));
		assert.equal(tap.outstanding, 1);
		tap.ignoreOutstanding();
		assert.equal(tap.outstanding, 0);
		out(publish(5, "a/up", false, "two"));
		assert.equal(tap.outstanding, 1);
		tap.reset();
		assert.equal(tap.outstanding, 0);
		assert.deepEqual(seen, [
			"connected",
			"a/up one false",
			`a/state ${"x".repeat(300)} false`,
			"a/up again true",
			"a/up two false",
		]);
	});

test("junk does not hold the tap up or make it throw", () => {
	const random = new Random(seed, "junk");
	const tap = new MqttTap({ published: () => {}, upAcknowledged: () => {}, connected: () => {} });
	for (let i = 0; i < 3000; i++) {
		const piece = random.bytes(new Uint8Array(random.integer(0, 40)));
		if (random.chance(0.5)) tap.outgoing(piece);
		else tap.incoming(piece);
		if (random.chance(0.02)) tap.reset();
	}
});
