import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";
import library from "mqtt-packet";
import { mqttPacketPlugin } from "../../build/mqtt-packet-plugin.js";
import { firmwareBundle } from "./firmware-bundle.js";
import { bytes, connected, drain, receive, SETTINGS, text } from "./machine-harness.js";

const bundle = await firmwareBundle();

const PACKETS = [
	{ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clientId: "ä", clean: true, keepalive: 300 },
	{
		cmd: "connect",
		protocolId: "MQTT",
		protocolVersion: 5,
		clientId: "meter",
		clean: false,
		keepalive: 65_535,
		username: "user",
		password: "secret",
		will: { topic: "w/日本", payload: Buffer.from([1, 2]), qos: 1, retain: true },
		properties: { sessionExpiryInterval: 0xffff_fffe, receiveMaximum: 12, maximumPacketSize: 4_000 },
	},
	{ cmd: "publish", topic: "a/𐍈", payload: "text", qos: 1, messageId: 65_535, dup: true, retain: true },
	{ cmd: "publish", topic: "a", payload: Buffer.alloc(300, 7), qos: 0, dup: false, retain: false },
	{ cmd: "puback", messageId: 258, reasonCode: 0 },
	{ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/#", qos: 1 }] },
	{ cmd: "pingreq" },
	{ cmd: "disconnect", reasonCode: 0x82 },
];

test("mqtt-packet with shims and patches encodes as on Node", () => {
	for (const packet of PACKETS)
		for (const protocolVersion of [4, 5]) {
			const expected = library.generate(packet as never, { protocolVersion });
			assert.deepEqual(Buffer.from(bundle.mqttPacket.generate(packet, { protocolVersion })), expected, packet.cmd);
		}
});

test("mqtt-packet with shims and patches parses as on Node, cut anywhere", () => {
	for (const packet of PACKETS)
		for (const protocolVersion of [4, 5]) {
			const encoded = library.generate(packet as never, { protocolVersion });
			const expected: unknown[] = [];
			const whole = library.parser({ protocolVersion } as never);
			whole.on("packet", (parsed) => expected.push(parsed));
			whole.parse(encoded);
			for (let cut = 0; cut < encoded.length; cut++) {
				const found: unknown[] = [];
				const parser = bundle.mqttPacket.parser({ protocolVersion });
				parser.on("packet", (parsed) => found.push(parsed));
				parser.parse(new Uint8Array(encoded.subarray(0, cut)));
				parser.parse(new Uint8Array(encoded.subarray(cut)));
				const plain = (value: unknown): unknown =>
					JSON.parse(JSON.stringify(value, (_, inner) => (ArrayBuffer.isView(inner) ? hex(inner) : inner)));
				assert.deepEqual(found.map(plain), expected.map(withoutBuffers).map(plain));
			}
		}
});

const hex = (view: ArrayBufferView): string =>
	Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("hex");
/** `JSON.stringify` asks a Buffer for its own picture before the replacer sees it. */
function withoutBuffers(value: unknown): unknown {
	if (ArrayBuffer.isView(value)) return new Uint8Array(value as Uint8Array);
	if (Array.isArray(value)) return value.map(withoutBuffers);
	if (typeof value === "object" && value !== null)
		return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutBuffers(inner)]));
	return value;
}

test("user properties of a broker become no property names", () => {
	const parsed: { properties?: object }[] = [];
	const parser = bundle.mqttPacket.parser({ protocolVersion: 5 });
	parser.on("packet", (packet) => parsed.push(packet as { properties?: object }));
	parser.parse(bytes("30 11 0001 61 0c 01 01 26 0003 6b6579 0002 7678 70"));
	assert.deepEqual(Object.keys(parsed[0]!.properties ?? {}), ["payloadFormatIndicator"]);
});

test("the machine runs without Node's globals and changes no module state", (t) => {
	const { machine, recorder } = connected({ ...SETTINGS, protocolVersion: 5 }, bundle.MqttMachine);
	machine.subscribe("meter/1/command", 1);
	machine.publish("meter/1/reading", text("some payload"), 12, 1, false);
	drain(machine);
	receive(machine, 10_001, "90 04 0002 00 01 40 02 0001 32 09 0001 61 1234 00 627574");
	receive(machine, 10_002, "30 02 ff ff");
	assert.deepEqual(recorder.take(), ["published 1", "message a 627574", "disconnected 11"]);
	assert.ok(bundle.moduleArrayCount > 50);
	assert.deepEqual(bundle.changedModuleState(), []);
	t.diagnostic(`${bundle.moduleArrayCount} module-level arrays, none written`);
});

test("mqtt-packet with its shims stays under 80,000 bytes of source", async (t) => {
	const { outputFiles } = await build({
		stdin: { contents: 'export { default } from "mqtt-packet";', resolveDir: process.cwd() },
		bundle: true,
		write: false,
		format: "esm",
		target: "es2022",
		alias: Object.fromEntries(
			["buffer", "bl", "events"].map((name) => [name, `${import.meta.dirname}/../../../src/mqtt/shims/${name}.cjs`]),
		),
		plugins: [mqttPacketPlugin()],
	});
	const size = outputFiles[0]!.contents.length;
	t.diagnostic(`${size} bytes`);
	assert.ok(size < 80_000, `${size}`);
});
