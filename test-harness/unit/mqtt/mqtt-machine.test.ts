import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { MqttMachine } from "../../../src/mqtt/mqtt-machine.js";
import {
	accept,
	bytes,
	connected,
	drain,
	opened,
	packets,
	Recorder,
	receive,
	SETTINGS,
	text,
} from "./machine-harness.js";

const hex = (buffer: Buffer): string => buffer.toString("hex");
const publishQos1 = (machine: MqttMachine, body: string): number =>
	machine.publish("t", text(body), body.length, 1, false);

test("CONNECT carries what the settings say", () => {
	const will = { topic: "w", payload: text("gone"), qos: 1, retain: true } as const;
	assert.equal(
		hex(opened({ username: "u", password: "p", will, keepAliveSeconds: 300 }).connect),
		"102200044d51545404ec012c00076d657465722d3100017700" + "04676f6e65" + "000175" + "000170",
	);
	assert.equal(hex(opened({ cleanSession: true }).connect), "101300044d5154540402003c00076d657465722d31");
	// MQTT 5: session expiry 86,400, receive maximum 64, maximum packet size 512, no problem information.
	assert.equal(
		hex(opened({ protocolVersion: 5 }).connect),
		"102300044d5154540500003c0f" + "1100015180" + "210040" + "2700000200" + "1700" + "00076d657465722d31",
	);
});

test("settings that contradict themselves are our own mistake", () => {
	const make = (settings: object): unknown => new MqttMachine({ ...SETTINGS, ...settings }, new Recorder(), () => 0);
	for (const wrong of [
		{ clientIdentifier: "" },
		{ clientIdentifier: "x".repeat(600) },
		{ packetBytesMax: 20 },
		{ inFlightMax: 0 },
		{ backOffMinimumMilliseconds: 0 },
		{ backOffMaximumMilliseconds: 10 },
		{ password: "p" },
		{ keepAliveSeconds: 70_000 },
	])
		assert.throws(() => make(wrong), InvariantError, JSON.stringify(wrong));
});

test("the first connection is spread over the shortest back-off", () => {
	const machine = new MqttMachine(SETTINGS, new Recorder(), () => 0.75);
	assert.ok(machine.deadlineMilliseconds() <= 0);
	machine.tick(500);
	assert.equal(machine.wantsLink(), false);
	assert.equal(machine.deadlineMilliseconds(), 1_250);
	machine.tick(1_250);
	assert.equal(machine.wantsLink(), true);
});

test("back-off grows with jitter up to its maximum, and starts over after a connection that lasted", () => {
	const recorder = new Recorder();
	const machine = new MqttMachine(SETTINGS, recorder, () => 0.5);
	let now = 0;
	const waits: number[] = [];
	const attempt = (): void => {
		while (!machine.wantsLink()) {
			now = Math.max(now, machine.deadlineMilliseconds());
			machine.tick(now);
		}
	};
	for (let i = 0; i < 12; i++) {
		attempt();
		machine.linkClosed(now);
		waits.push(machine.deadlineMilliseconds() - now);
	}
	assert.deepEqual(waits.slice(0, 4), [2_000, 3_500, 5_750, 9_125]);
	assert.equal(waits.at(-1), 60_000);
	attempt();
	machine.linkOpened(now);
	accept(machine, 4, now);
	machine.linkClosed(now + 59_000); // shorter than the last wait
	assert.equal(machine.deadlineMilliseconds() - now - 59_000, 60_000);
	now += 59_000;
	attempt();
	machine.linkOpened(now);
	accept(machine, 4, now);
	now += 61_000;
	machine.linkClosed(now);
	assert.equal(machine.deadlineMilliseconds() - now, 2_000);
	assert.equal(machine.counters.counts[Status.linkDown], 14);
});

test("a refused connection has its status and a long back-off", () => {
	const cases: [4 | 5, number, Status][] = [
		[4, 1, Status.badVersion],
		[4, 2, Status.badValue],
		[4, 3, Status.busy],
		[4, 4, Status.refusedByPeer],
		[4, 5, Status.refusedByPeer],
		[4, 6, Status.protocolError],
		[5, 0x84, Status.badVersion],
		[5, 0x85, Status.badValue],
		[5, 0x86, Status.refusedByPeer],
		[5, 0x87, Status.refusedByPeer],
		[5, 0x88, Status.busy],
		[5, 0x8a, Status.refusedByPeer],
		[5, 0x9b, Status.unsupported],
	];
	for (const [protocolVersion, code, expected] of cases) {
		const { machine, recorder } = opened({ protocolVersion });
		const connack = Buffer.from(protocolVersion === 5 ? [0x20, 3, 0, code, 0] : [0x20, 2, 0, code]);
		assert.equal(machine.receive(10_010, connack, connack.length), expected);
		assert.equal(machine.lastReasonCode, code);
		assert.equal(machine.wantsLink(), false);
		assert.deepEqual(recorder.take(), [`disconnected ${expected}`]);
		machine.linkClosed(10_020);
		const isLong = expected !== Status.busy && expected !== Status.protocolError;
		assert.equal(machine.deadlineMilliseconds() - 10_020, isLong ? 45_000 : 2_000, `${protocolVersion} ${code}`);
	}
});

test("the host that cannot open, or a broker that says nothing, costs one response time", () => {
	const recorder = new Recorder();
	const machine = new MqttMachine(SETTINGS, recorder, () => 0.5);
	machine.tick(0);
	machine.tick(500);
	assert.equal(machine.deadlineMilliseconds(), 30_500);
	machine.tick(30_500);
	assert.equal(machine.wantsLink(), false);
	machine.tick(40_000);
	machine.linkOpened(40_000);
	drain(machine);
	machine.tick(70_000);
	assert.equal(machine.wantsLink(), false);
	assert.deepEqual(recorder.take(), [`disconnected ${Status.timedOut}`, `disconnected ${Status.timedOut}`]);
});

test("QoS 1 is published once acknowledged, and the window is fixed", () => {
	const { machine, recorder } = connected();
	const handles = ["a", "b", "c", "d"].map((body) => publishQos1(machine, body));
	assert.deepEqual(handles, [1, 2, 3, 4]);
	assert.equal(publishQos1(machine, "e"), 0);
	assert.equal(machine.freeSlots, 0);
	assert.equal(packets(drain(machine)).length, 4);
	receive(machine, 10_001, "40020001 40020003");
	assert.deepEqual(recorder.take(), ["published 1", "published 3"]);
	assert.equal(machine.freeSlots, 1); // 3 is done, but waits behind 2
	receive(machine, 10_001, "40020002");
	assert.equal(machine.freeSlots, 3);
	receive(machine, 10_001, "40020002 40020063");
	assert.equal(machine.counters.counts[Status.notFound], 2);
	assert.equal(machine.isConnected, true);
	assert.throws(() => machine.publish("t", new Uint8Array(512), 512, 1, false), InvariantError);
	for (const topic of ["", "a/+", "#"])
		assert.throws(() => machine.publish(topic, new Uint8Array(1), 1, 1, false), InvariantError);
});

test("an acknowledgement of a message that has not left, in part or whole, takes nothing", () => {
	const { machine, recorder } = connected();
	publishQos1(machine, "body");
	receive(machine, 10_001, "40020001");
	assert.equal(machine.counters.counts[Status.notFound], 1);
	machine.transmit(new Uint8Array(3));
	assert.equal(receive(machine, 10_001, "40020001"), Status.protocolError);
	assert.deepEqual(recorder.take(), [`disconnected ${Status.protocolError}`]);
});

test("QoS 0 is taken while connected only, and leaves its slot when it is sent", () => {
	const { machine } = opened();
	assert.equal(machine.publish("t", text("x"), 1, 0, false), 0);
	accept(machine, 4, 10_000);
	for (let i = 0; i < 4; i++) assert.notEqual(machine.publish("t", text("x"), 1, 0, true), 0);
	assert.equal(machine.publish("t", text("x"), 1, 0, true), 0);
	assert.equal(hex(drain(machine)), "310400017478".repeat(4));
	assert.equal(machine.freeSlots, 4);
});

test("transmit cuts packets to any piece", () => {
	const { machine } = connected();
	for (const body of ["abc", "defg"]) publishQos1(machine, body);
	assert.equal(hex(drain(machine, 1)), "3208000174000161626332090001740002" + "64656667");
});

test("after a lost connection unacknowledged messages go again, in order, DUP where the session goes on", () => {
	for (const sessionPresent of [true, false]) {
		const { machine, recorder } = connected();
		machine.subscribe("c", 1);
		publishQos1(machine, "a");
		publishQos1(machine, "b");
		publishQos1(machine, "c");
		assert.equal(packets(drain(machine)).length, 4);
		receive(machine, 10_001, "9003000401 40020002");
		publishQos1(machine, "d"); // never sent
		machine.linkClosed(11_000);
		machine.tick(20_000);
		machine.linkOpened(20_000);
		drain(machine);
		accept(machine, 4, 20_000, sessionPresent);
		const first = sessionPresent ? "3a" : "32";
		assert.deepEqual(packets(drain(machine)).map(hex), [
			...(sessionPresent ? [] : ["820600060001" + "6301"]),
			`${first}06000174000161`,
			`${first}06000174000363`,
			"3206000174000564",
		]);
		assert.equal(machine.resentCount, 2);
		assert.deepEqual(recorder.take(), [
			"published 2",
			`disconnected ${Status.linkDown}`,
			`connected ${sessionPresent}`,
		]);
	}
});

test("a session from a broker that was told to forget it is refused", () => {
	const { machine } = opened({ cleanSession: true });
	assert.equal(receive(machine, 10_000, "20020100"), Status.protocolError);
});

test("messages come in with their acknowledgement after the listener, duplicates too", () => {
	const { machine, recorder } = connected();
	receive(machine, 10_001, "3207000163123468693a0700016312346869 3004000163 21");
	assert.deepEqual(recorder.take(), ["message c 6869", "message c 6869", "message c 21"]);
	assert.equal(hex(drain(machine)), "4002123440021234");
	assert.equal(machine.isConnected, true);
});

test("subscriptions: made, refused, asked again", () => {
	const { machine, recorder } = connected({ subscriptionMax: 2 });
	assert.equal(machine.subscribe("a", 1), true);
	assert.equal(machine.subscribe("a", 1), true);
	assert.equal(machine.subscribe("b/#", 0), true);
	assert.equal(machine.subscribe("c", 1), false);
	assert.equal(hex(drain(machine)), "820600010001610182080002000362" + "2f2300");
	receive(machine, 10_001, "9003000180 9003000200 9003000900");
	assert.deepEqual(recorder.take(), ["subscriptionRefused a 128"]);
	assert.equal(machine.counters.counts[Status.refusedByPeer], 1);
	machine.linkClosed(10_002);
	machine.tick(30_000);
	machine.linkOpened(30_000);
	drain(machine);
	accept(machine, 4, 30_000, true);
	assert.equal(hex(drain(machine)), "8206000300016101");
	assert.equal(receive(machine, 30_001, "9003000302"), Status.protocolError); // more than was asked for
});

test("MQTT 5: what the broker allows is kept", () => {
	const { machine, recorder } = opened({ protocolVersion: 5, keepAliveSeconds: 60 });
	// receive maximum 2, maximum packet size 40, no retain, no wildcards, keep-alive 10 s
	assert.equal(receive(machine, 10_000, "20 14 00 00 11 210002 2700000028 2500 2800 2a00 13000a"), Status.ok);
	machine.subscribe("a/+", 1);
	machine.subscribe("$share/g/a", 1);
	const large = machine.publish("t", new Uint8Array(60), 60, 1, false);
	const retained = machine.publish("t", text("r"), 1, 1, true);
	publishQos1(machine, "1");
	publishQos1(machine, "2");
	assert.deepEqual(packets(drain(machine)).map(hex), ["320700017400030031", "320700017400040032"]);
	publishQos1(machine, "3");
	assert.equal(drain(machine).length, 0); // two are out
	assert.deepEqual(recorder.take(), [
		"connected false",
		"subscriptionRefused a/+ 162",
		"subscriptionRefused $share/g/a 158",
		`refused ${large} 149`,
		`refused ${retained} 154`,
	]);
	receive(machine, 10_001, "4002000340030004" + "97");
	assert.deepEqual(recorder.take(), ["published 3", "refused 4 151"]);
	assert.equal(packets(drain(machine)).length, 1);
	receive(machine, 10_001, "40020005");
	machine.tick(10_002);
	assert.equal(machine.deadlineMilliseconds(), 10_001 + 7_500);
});

test("MQTT 5: a broker without QoS 1 gets none", () => {
	const { machine, recorder } = opened({ protocolVersion: 5 });
	receive(machine, 10_000, "20 05 00 00 02 24 00");
	publishQos1(machine, "x");
	assert.equal(drain(machine).length, 0);
	assert.deepEqual(recorder.take(), ["connected false", "refused 1 155"]);
});

test("keep-alive: PINGREQ after three quarters, and the link is left when the answer does not come", () => {
	const { machine, recorder } = connected();
	machine.tick(10_000);
	assert.equal(machine.deadlineMilliseconds(), 55_000);
	machine.tick(54_999);
	assert.equal(drain(machine).length, 0);
	machine.tick(55_000);
	assert.equal(hex(drain(machine)), "c000");
	receive(machine, 55_100, "d000");
	assert.equal(machine.deadlineMilliseconds(), 55_100 + 45_000);
	machine.tick(100_100);
	assert.equal(hex(drain(machine)), "c000");
	machine.tick(100_100);
	assert.equal(machine.deadlineMilliseconds(), 130_100);
	machine.tick(130_100);
	assert.deepEqual(recorder.take(), [`disconnected ${Status.timedOut}`]);
	assert.equal(machine.wantsLink(), false);
});

test("a message that is never acknowledged ends the connection, counted from when it left", () => {
	const { machine } = connected({ keepAliveSeconds: 0 });
	machine.tick(10_000);
	assert.equal(machine.deadlineMilliseconds(), Number.POSITIVE_INFINITY);
	publishQos1(machine, "x"); // long after the last call that told the time
	drain(machine);
	machine.tick(500_000);
	assert.equal(machine.isConnected, true);
	assert.equal(machine.deadlineMilliseconds(), 530_000);
	machine.tick(530_000);
	assert.equal(machine.isConnected, false);
	assert.equal(machine.counters.counts[Status.timedOut], 1);
});

test("stop says goodbye and stays away; start comes back", () => {
	for (const protocolVersion of [4, 5] as const) {
		const { machine, recorder } = connected({ protocolVersion });
		publishQos1(machine, "x");
		machine.transmit(new Uint8Array(4));
		machine.stop(10_100);
		assert.equal(machine.wantsLink(), false);
		const rest = hex(drain(machine));
		assert.ok(rest.endsWith(protocolVersion === 5 ? "78e0020000" : "78e000"), rest); // after the packet that was on its way
		machine.linkClosed(10_200);
		assert.equal(machine.deadlineMilliseconds(), Number.POSITIVE_INFINITY);
		assert.equal(machine.freeSlots, 3);
		machine.tick(1_000_000);
		assert.equal(machine.wantsLink(), false);
		machine.start(1_000_000);
		machine.tick(1_000_000);
		assert.equal(machine.wantsLink(), true);
		machine.stop(1_000_001);
		assert.equal(machine.wantsLink(), false);
		assert.deepEqual(recorder.take(), [`disconnected ${Status.ok}`, `disconnected ${Status.ok}`]);
	}
});

test("a packet larger than the buffer: MQTT 5 closes, 3.1.1 reads it over and acknowledges it", () => {
	const large = Buffer.concat([bytes("32 8b04 0001 63 1234"), Buffer.alloc(0x20b - 5)]);
	const five = connected({ protocolVersion: 5 });
	assert.equal(five.machine.receive(10_001, large, large.length), Status.badLength);
	assert.equal(hex(drain(five.machine)), "e0029500");
	for (const piece of [1, 7, 511, 512, 513, 4_096]) {
		const { machine, recorder } = connected();
		const stream = Buffer.concat([large, bytes("30040001632121")]);
		for (let at = 0; at < stream.length; at += piece) {
			const part = stream.subarray(at, at + piece);
			assert.equal(machine.receive(10_001, part, part.length), Status.ok);
		}
		assert.equal(hex(drain(machine)), "40021234");
		assert.deepEqual(recorder.take(), ["message c 21"]);
		assert.equal(machine.skippedCount, 1);
	}
	// Only a PUBLISH, and only up to 64 KiB.
	assert.equal(receive(connected().machine, 10_001, "90 8b04"), Status.badLength);
	assert.equal(receive(connected().machine, 10_001, "30 ffff7f"), Status.badLength);
});

test("more messages at once than acknowledgements can wait for: all are delivered, then the link is left", () => {
	const { machine, recorder } = connected();
	let stream = "";
	for (let i = 1; i <= 66; i++) stream += `32050001 63 ${i.toString(16).padStart(4, "0")}`;
	assert.equal(receive(machine, 10_001, stream), Status.busy);
	assert.equal(recorder.take().filter((event) => event.startsWith("message")).length, 65);
	assert.equal(machine.wantsLink(), false);
});

test("MQTT 5: the broker's DISCONNECT says why", () => {
	for (const [code, expected] of [
		["8b", Status.linkDown],
		["8e", Status.refusedByPeer],
		["89", Status.busy],
		["82", Status.protocolError],
	] as const) {
		const { machine, recorder } = connected({ protocolVersion: 5 });
		assert.equal(receive(machine, 10_001, `e001${code}`), expected);
		assert.equal(drain(machine).length, 0);
		assert.equal(machine.lastReasonCode, Number.parseInt(code, 16));
		assert.deepEqual(recorder.take(), [`disconnected ${expected}`]);
	}
});

test("a listener may publish, subscribe and stop from inside every call", () => {
	const { machine } = (() => {
		const recorder = new Recorder();
		const machine = new MqttMachine(SETTINGS, recorder, () => 0.5);
		recorder.connected = () => {
			machine.subscribe("c", 1);
			publishQos1(machine, "hello");
		};
		recorder.published = () => {
			publishQos1(machine, "again");
		};
		recorder.message = () => machine.stop(10_002);
		recorder.disconnected = () => {
			publishQos1(machine, "later");
		};
		machine.tick(0);
		machine.tick(500);
		machine.linkOpened(10_000);
		drain(machine);
		accept(machine, 4, 10_000);
		return { machine };
	})();
	assert.equal(packets(drain(machine)).length, 2);
	receive(machine, 10_001, "40020001");
	assert.equal(packets(drain(machine)).length, 1);
	assert.equal(receive(machine, 10_002, "3205000163 1234 3004000163 21"), Status.ok);
	assert.equal(hex(drain(machine)), "e000");
	assert.equal(machine.freeSlots, 2);
});

test("packet identifiers wrap and leave out those in use", () => {
	const { machine } = connected({ inFlightMax: 3 });
	const first = publishQos1(machine, "kept");
	drain(machine);
	for (let i = 0; i < 65_600; i++) {
		const handle = publishQos1(machine, "x");
		assert.notEqual(handle, 0);
		assert.notEqual(handle, first);
		drain(machine);
		const puback = Buffer.from([0x40, 2, handle >> 8, handle & 0xff]);
		machine.receive(10_001, puback, 4);
		if (machine.freeSlots === 0) break; // finished ones wait behind the first
	}
	assert.equal(machine.freeSlots, 0);
	const other = connected().machine;
	let last = 0;
	for (let i = 0; i < 65_540; i++) {
		last = publishQos1(other, "x");
		drain(other);
		const puback = Buffer.from([0x40, 2, last >> 8, last & 0xff]);
		other.receive(10_001, puback, 4);
	}
	assert.equal(last, 5);
	assert.equal(other.freeSlots, 4);
});
