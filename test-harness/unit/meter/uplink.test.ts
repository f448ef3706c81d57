import assert from "node:assert/strict";
import { test } from "node:test";
import mqttPacket from "mqtt-packet";
import { Status } from "../../../src/bytes/status.js";
import { createCaptureHeader, decodeCaptureHeader } from "../../../src/messages/capture.js";
import { createControl, decodeControl, encodeControl } from "../../../src/messages/control.js";
import { PlainEnvelope } from "../../../src/messages/envelope.js";
import { createHello, decodeHello } from "../../../src/messages/hello.js";
import { Kind } from "../../../src/messages/kinds.js";
import { decodeProfileHeader } from "../../../src/messages/profile.js";
import { downTopic, onlineTopic, stateTopic, upTopic } from "../../../src/messages/topics.js";
import { type Meter, startMeter } from "../../../src/meter/meter.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { runSeconds, secondOfSamples, TestPlatform } from "./test-platform.js";

const IDENTIFIER = "70b3d50000000001";
const LAYOUT = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 } as const;
const LOAD = secondOfSamples(LAYOUT, 18_400, 1_000);
const MIDNIGHT = 757_382_400;

/** The broker's side of one link, in memory: takes what the meter sent, answers at once, keeps the messages. */
class Broker {
	readonly messages: { topic: string; payload: Buffer; retain: boolean }[] = [];
	readonly subscriptions: string[] = [];
	readonly #platform: TestPlatform;
	readonly #meter: Meter;
	readonly #parser = mqttPacket.parser({ protocolVersion: 4 });
	readonly #answers: Buffer[] = [];
	#isOpen = false;

	constructor(platform: TestPlatform, meter: Meter) {
		this.#platform = platform;
		this.#meter = meter;
		this.#parser.on("packet", (packet) => this.#packet(packet));
	}

	#packet(packet: mqttPacket.Packet): void {
		if (packet.cmd === "connect") {
			assert.equal(packet.will?.topic, onlineTopic(IDENTIFIER));
			this.#answers.push(mqttPacket.generate({ cmd: "connack", returnCode: 0, sessionPresent: false }));
		} else if (packet.cmd === "subscribe") {
			this.subscriptions.push(...packet.subscriptions.map(({ topic }) => topic));
			this.#answers.push(mqttPacket.generate({ cmd: "suback", messageId: packet.messageId!, granted: [1] }));
		} else if (packet.cmd === "publish") {
			this.messages.push({
				topic: packet.topic,
				payload: Buffer.from(packet.payload as Buffer),
				retain: packet.retain,
			});
			this.#answers.push(mqttPacket.generate({ cmd: "puback", messageId: packet.messageId! }));
		} else if (packet.cmd === "pingreq") {
			this.#answers.push(mqttPacket.generate({ cmd: "pingresp" }));
		}
	}

	/** Carries bytes to and fro until both sides are silent. */
	settle(): void {
		for (let n = 0; n < 200; n++) {
			if (this.#platform.linkWanted && !this.#isOpen) {
				this.#isOpen = true;
				this.#meter.linkOpened();
			}
			const sent = this.#platform.sent.splice(0);
			for (const bytes of sent) this.#parser.parse(Buffer.from(bytes));
			const answers = this.#answers.splice(0);
			if (sent.length === 0 && answers.length === 0) return;
			for (const bytes of answers) this.#meter.linkReceived(bytes, bytes.length);
		}
		throw new Error("the meter does not fall silent");
	}

	/** Sends a control message to the meter. */
	control(kind: number, requestId: number, first = 0, second = 0): void {
		const message = new Uint8Array(16);
		const byteLength = encodeControl({ kind, requestId, first, second }, new DataView(message.buffer));
		this.raw(message.subarray(0, byteLength));
	}

	raw(message: Uint8Array): void {
		const sealed = new Uint8Array(message.length + 2);
		new PlainEnvelope().seal(message, message.length, sealed);
		const packet = mqttPacket.generate({
			cmd: "publish",
			topic: downTopic(IDENTIFIER),
			payload: Buffer.from(sealed),
			qos: 1,
			messageId: 7,
			dup: false,
			retain: false,
		});
		this.#meter.linkReceived(packet, packet.length);
		this.settle();
	}

	/** Opened messages of the meter since the last call, as views. */
	take(): DataView[] {
		const envelope = new PlainEnvelope();
		const found: DataView[] = [];
		for (const { topic, payload } of this.messages.splice(0)) {
			if (topic !== upTopic(IDENTIFIER)) continue;
			const into = new Uint8Array(1024);
			assert.equal(envelope.open(payload, payload.length, into), Status.ok);
			found.push(new DataView(into.buffer, 0, envelope.openedByteLength));
		}
		return found;
	}
}

function begin(
	extra: object = {},
	utcOffset = MIDNIGHT + 0.5,
	entropyByte = 7,
): { platform: TestPlatform; meter: Meter; broker: Broker } {
	const platform = new TestPlatform(new FlashSimulator());
	platform.utcOffset = utcOffset;
	platform.bootReason = 3;
	platform.entropyByte = entropyByte;
	const meter = startMeter(
		platform,
		JSON.stringify({
			identifier: IDENTIFIER,
			security: "plain",
			layout: LAYOUT,
			intervalSeconds: 60,
			mqtt: { protocolVersion: 4 },
			...extra,
		}),
	);
	return { platform, meter, broker: new Broker(platform, meter) };
}

/** Seconds with a broker that answers after each. */
function run(world: ReturnType<typeof begin>, seconds: number): void {
	for (let second = 0; second < seconds; second++) {
		runSeconds(world.platform, world.meter, LAYOUT, LOAD, 1);
		world.broker.settle();
	}
}

test("after each connection: online first, then the time is asked for and a hello tells the sequences", () => {
	const world = begin({}, Number.NaN);
	run(world, 3);
	assert.deepEqual(world.broker.subscriptions, [downTopic(IDENTIFIER)]);
	assert.deepEqual(
		{ ...world.broker.messages[0], payload: world.broker.messages[0]?.payload.toString() },
		{ topic: onlineTopic(IDENTIFIER), payload: "1", retain: true },
	);
	const messages = world.broker.take();
	const hello = createHello();
	const said = messages.find((view) => view.getUint8(0) === Kind.hello)!;
	assert.equal(decodeHello(said, said.byteLength, hello), Status.ok);
	assert.equal(hello.bootCount, 1);
	assert.equal(hello.bootReason, 3, "what the board says");
	assert.equal(hello.profileNext, 1);
	assert.equal(hello.utcSeconds, 0xffff_ffff);
	const request = messages.find((view) => view.getUint8(0) === Kind.timeRequest);
	assert.ok(request, "a meter without a clock asks");
	world.broker.control(Kind.time, request.getUint16(2), MIDNIGHT, 250);
	assert.ok(Math.abs(world.platform.clock.utcSeconds() - MIDNIGHT) < 5);
});

test("a time answer counts once, and only with its own number", () => {
	const world = begin({}, Number.NaN);
	run(world, 3);
	const request = world.broker.take().find((view) => view.getUint8(0) === Kind.timeRequest)!;
	world.broker.control(Kind.time, request.getUint16(2) + 1, MIDNIGHT);
	assert.ok(Number.isNaN(world.platform.clock.utcSeconds()));
	world.broker.control(Kind.time, request.getUint16(2), MIDNIGHT);
	const set = world.platform.utcOffset;
	world.broker.control(Kind.time, request.getUint16(2), MIDNIGHT + 1000);
	assert.equal(world.platform.utcOffset, set);
	assert.equal(world.meter.uplink.refusals.counts[Status.outOfOrder], 2);
});

test("an answer that waited at the broker since an earlier boot does not set the clock", () => {
	const before = begin({}, Number.NaN);
	run(before, 3);
	const stale = before.broker.take().find((view) => view.getUint8(0) === Kind.timeRequest)!;
	const after = begin({}, MIDNIGHT + 200, 8);
	run(after, 3);
	assert.ok(after.broker.take().some((view) => view.getUint8(0) === Kind.timeRequest));
	after.broker.control(Kind.time, stale.getUint16(2), MIDNIGHT);
	assert.equal(after.platform.utcOffset, MIDNIGHT + 200);
});

test("a step of a valid clock wants two answers that agree; one alone changes nothing", () => {
	const world = begin({}, MIDNIGHT);
	run(world, 3);
	const ask = (): number =>
		world.broker
			.take()
			.find((view) => view.getUint8(0) === Kind.timeRequest)!
			.getUint16(2);
	const now = (): number => Math.floor(world.platform.clock.utcSeconds());
	world.broker.control(Kind.time, ask(), now() - 182);
	assert.equal(world.platform.utcOffset, MIDNIGHT, "one stale answer");
	world.broker.control(Kind.time, ask(), now());
	assert.equal(world.platform.utcOffset, MIDNIGHT);
	world.broker.control(Kind.time, 0);
	world.broker.control(Kind.time, ask(), now() + 500);
	world.broker.control(Kind.time, ask(), now() + 500);
	assert.ok(Math.abs(world.platform.utcOffset - MIDNIGHT - 500) < 3, "two that agree");
});

test("rows that were made without a broker follow unasked, in order, each once", () => {
	const world = begin();
	runSeconds(world.platform, world.meter, LAYOUT, LOAD, 305);
	run(world, 70);
	const sequences: number[] = [];
	const header = { requestId: 9, rowCount: 0 };
	for (const view of world.broker.take()) {
		if (decodeProfileHeader(view, view.byteLength, header) !== Status.ok) continue;
		assert.equal(header.requestId, 0);
		for (let row = 0; row < header.rowCount; row++) sequences.push(view.getUint32(6 + 44 * row));
	}
	assert.deepEqual(sequences, [1, 2, 3, 4, 5, 6]);
});

test("requests: rows that are there, then an acknowledgement; none there is said; a seventh is refused", () => {
	const world = begin();
	runSeconds(world.platform, world.meter, LAYOUT, LOAD, 130);
	run(world, 2);
	world.broker.take();
	world.broker.control(Kind.profileRequest, 77, 1, 50);
	const kinds = world.broker.take().map((view) => [view.getUint8(0), view.getUint16(2)]);
	assert.deepEqual(kinds, [
		[Kind.profile, 77],
		[Kind.acknowledge, 77],
	]);
	world.broker.control(Kind.profileRequest, 78, 4000, 20);
	const control = createControl();
	const [answer] = world.broker.take();
	assert.equal(decodeControl(answer!, answer!.byteLength, control), Status.ok);
	assert.deepEqual(control, {
		kind: Kind.acknowledge,
		requestId: 78,
		first: Kind.profileRequest,
		second: Status.notFound,
	});
	world.broker.control(Kind.configure, 79, 1);
	assert.equal(world.meter.uplink.readingPeriodMilliseconds, 1000);
	for (const [kind, expected] of [
		[Kind.snapshotRequest, Kind.snapshot],
		[Kind.diagnosticsRequest, Kind.diagnostics],
	] as const) {
		world.broker.take();
		world.broker.control(kind, 80);
		assert.ok(world.broker.take().some((view) => view.getUint8(0) === expected && view.getUint16(2) === 80));
	}
});

test("a capture waits for samples, holds nobody up, and carries two cycles in V and A", () => {
	const world = begin();
	run(world, 3);
	world.broker.take();
	world.broker.control(Kind.captureRequest, 5);
	world.broker.control(Kind.snapshotRequest, 6);
	assert.ok(world.broker.take().some((view) => view.getUint8(0) === Kind.snapshot));
	run(world, 2);
	const capture = world.broker.take().find((view) => view.getUint8(0) === Kind.capture)!;
	const header = createCaptureHeader();
	assert.equal(decodeCaptureHeader(capture, capture.byteLength, header), Status.ok);
	assert.equal(header.requestId, 5);
	assert.equal(header.channelCount, 2);
	let highest = 0;
	for (let row = 0; row < header.rowCount; row++)
		highest = Math.max(highest, (capture.getInt16(24 + 4 * row) * header.microunitsPerCode[0]!) / 1e6);
	assert.ok(Math.abs(highest - 325.3) < 2, `${highest} V`);
	assert.ok(header.rowCount / (header.rowRateMillihertz / 1000) > 0.039);
});

test("hostile messages are counted by status and change nothing", () => {
	const world = begin();
	run(world, 2);
	const before = world.meter.uplink.refusals.counts.slice();
	world.broker.raw(Uint8Array.of(Kind.hello, 1, 0, 0));
	world.broker.raw(Uint8Array.of(Kind.time, 9, 0, 1, 0, 0, 0, 0, 0, 0));
	world.broker.raw(Uint8Array.of(0xff, 0xff, 0xff));
	world.broker.raw(new Uint8Array(900));
	const { counts } = world.meter.uplink.refusals;
	const refused = counts.reduce((sum, count, status) => sum + (status === 0 ? 0 : count - before[status]!), 0);
	assert.equal(refused, 4);
	assert.equal(world.platform.utcOffset, MIDNIGHT + 0.5);
});

test("Home Assistant: every sensor is announced, retained, and the state follows", () => {
	const world = begin({ homeAssistant: true });
	run(world, 15);
	const announced = world.broker.messages.filter(({ topic }) => topic.startsWith("homeassistant/"));
	assert.equal(new Set(announced.map(({ topic }) => topic)).size, 8);
	assert.ok(announced.every(({ retain }) => retain));
	const states = world.broker.messages.filter(({ topic }) => topic === stateTopic(IDENTIFIER));
	assert.ok(states.length >= 1);
	const state = JSON.parse(states.at(-1)!.payload.toString());
	assert.ok(Math.abs(state.power - 805) < 0.5, `${state.power} W`);
	assert.ok(state.import > 0);
});
