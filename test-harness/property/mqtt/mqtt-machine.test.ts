import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import library from "mqtt-packet";
import { Status } from "../../../src/bytes/status.js";
import { encodeUtf8, isMqttText } from "../../../src/mqtt/utf8.js";
import { seed } from "../../seed.js";
import { accept, connected, drain, opened, packets, text } from "../../unit/mqtt/machine-harness.js";

const topicName = fc
	.string({ unit: "binary", minLength: 1, maxLength: 20 })
	.filter(
		(value) =>
			isMqttText(text(value), 0, text(value).length, true) && Buffer.from(value, "utf8").toString("utf8") === value,
	);

/** What a broker may send, and now and then bytes that it may not. */
const fromBroker = (protocolVersion: 4 | 5): fc.Arbitrary<Buffer> =>
	fc.oneof(
		{
			weight: 4,
			arbitrary: fc
				.record({
					cmd: fc.constant("publish"),
					topic: topicName,
					payload: fc.uint8Array({ maxLength: 600 }).map((value) => Buffer.from(value)),
					qos: fc.constantFrom(0, 1),
					messageId: fc.integer({ min: 1, max: 65_535 }),
					dup: fc.boolean(),
					retain: fc.boolean(),
				})
				.map((packet) => library.generate(packet as never, { protocolVersion })),
		},
		{ weight: 4, arbitrary: fc.integer({ min: 1, max: 6 }).map((id) => Buffer.from([0x40, 2, 0, id])) },
		{ weight: 1, arbitrary: fc.constant(Buffer.from([0xd0, 0])) },
		{ weight: 1, arbitrary: fc.uint8Array({ maxLength: 12 }).map((value) => Buffer.from(value)) },
	);

test("any cut of the stream gives the same result", () => {
	for (const protocolVersion of [4, 5] as const)
		fc.assert(
			fc.property(
				fc.array(fromBroker(protocolVersion), { maxLength: 12 }),
				fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
				(frames, sizes) => {
					const stream = Buffer.concat(frames);
					const run = (pieces: () => number): unknown => {
						const { machine, recorder } = connected({ protocolVersion });
						for (const body of ["a", "b", "c"]) machine.publish("t", text(body), 1, 1, false);
						drain(machine);
						let status: Status = Status.ok;
						for (let at = 0; at < stream.length && status === Status.ok; ) {
							const piece = stream.subarray(at, at + pieces());
							status = machine.receive(10_001, piece, piece.length);
							at += piece.length;
						}
						return {
							status,
							events: recorder.events,
							counters: [...machine.counters.counts],
							wantsLink: machine.wantsLink(),
							sent: drain(machine).toString("hex"),
						};
					};
					assert.deepEqual(
						run(() => sizes.next().value!),
						run(() => Number.POSITIVE_INFINITY),
					);
				},
			),
			{ seed, numRuns: 300 },
		);
});

test("any size of the pieces that leave gives the same bytes", () => {
	fc.assert(
		fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }), (sizes) => {
			const run = (size: (i: number) => number): string => {
				const { machine } = connected({ inFlightMax: 8 });
				machine.subscribe("a/b", 1);
				for (let i = 0; i < 8; i++)
					machine.publish(`t/${i}`, new Uint8Array(i * 9).fill(i), i * 9, i % 3 === 0 ? 0 : 1, false);
				const sent: Buffer[] = [];
				for (let i = 0; ; i++) {
					const piece = new Uint8Array(size(i));
					const count = machine.transmit(piece);
					if (count === 0) return Buffer.concat(sent).toString("hex");
					sent.push(Buffer.from(piece.subarray(0, count)));
				}
			};
			assert.equal(
				run((i) => sizes[i % sizes.length]!),
				run(() => 4_096),
			);
		}),
		{ seed, numRuns: 200 },
	);
});

test("what is published is what mqtt-packet reads at the other end", () => {
	for (const protocolVersion of [4, 5] as const)
		fc.assert(
			fc.property(
				topicName,
				fc.uint8Array({ maxLength: 300 }),
				fc.constantFrom(0 as const, 1 as const),
				fc.boolean(),
				(topic, payload, qos, retain) => {
					const { machine } = connected({ protocolVersion });
					const handle = machine.publish(topic, payload, payload.length, qos, retain);
					const seen: { topic: string; payload: Buffer; qos: number; retain: boolean; messageId?: number }[] = [];
					const parser = library.parser({ protocolVersion } as never);
					parser.on("packet", (packet) => seen.push(packet as never));
					parser.parse(drain(machine));
					assert.equal(seen.length, 1);
					assert.equal(seen[0]!.topic, topic);
					assert.deepEqual(new Uint8Array(seen[0]!.payload), payload);
					assert.equal(seen[0]!.qos, qos);
					assert.equal(seen[0]!.retain, retain);
					if (qos === 1) assert.equal(seen[0]!.messageId, handle);
				},
			),
			{ seed, numRuns: 300 },
		);
});

test("messages leave in the order of publish, over any losses of the link, and none beyond the window", () => {
	fc.assert(
		fc.property(fc.array(fc.constantFrom("publish", "send", "acknowledge", "lose"), { maxLength: 60 }), (steps) => {
			const { machine, recorder } = connected({ inFlightMax: 5 });
			let now = 10_000;
			let accepted = 0;
			let published = 0;
			let out: number[] = []; // handles on the wire of this connection, not acknowledged
			let bodies: number[] = [];
			const send = (): void => {
				for (const packet of packets(drain(machine))) {
					if (packet[0]! >> 4 !== 3) continue;
					out.push(packet.readUInt16BE(5));
					bodies.push(packet[7]!);
				}
			};
			for (const step of steps) {
				if (step === "publish") {
					const handle = machine.publish("t", Uint8Array.of(accepted & 0xff), 1, 1, false);
					assert.equal(handle !== 0, accepted - published < 5);
					if (handle !== 0) accepted++;
				} else if (step === "send") send();
				else if (step === "acknowledge" && out.length > 0) {
					const handle = out.shift()!;
					machine.receive(now, Buffer.from([0x40, 2, handle >> 8, handle & 0xff]), 4);
				} else if (step === "lose") {
					machine.linkClosed(now);
					now = machine.deadlineMilliseconds();
					machine.tick(now);
					machine.linkOpened(now);
					drain(machine);
					accept(machine, 4, now, true);
					out = [];
					bodies = [];
				}
				published += recorder.take().filter((event) => event.startsWith("published")).length;
				// On each connection the bodies count up by one from the oldest unacknowledged.
				for (let i = 1; i < bodies.length; i++) assert.equal(bodies[i], (bodies[i - 1]! + 1) & 0xff);
			}
			assert.ok(opened().machine.wantsLink());
		}),
		{ seed, numRuns: 500 },
	);
});

/** Control characters and the two non-characters of the first plane. */
const isRefused = (code: number): boolean =>
	code < 0x20 || (code >= 0x7f && code <= 0x9f) || code === 0xfffe || code === 0xffff;

test("UTF-8: encoded as Node does, judged as MQTT wants", () => {
	fc.assert(
		fc.property(fc.string({ unit: "binary", maxLength: 30 }), fc.uint8Array({ maxLength: 8 }), (value, noise) => {
			const into = new Uint8Array(200);
			const end = encodeUtf8(value, into, 3, 200);
			const expected = Buffer.from(value, "utf8");
			assert.deepEqual(Buffer.from(into.subarray(3, end)), expected);
			assert.equal(encodeUtf8(value, into, 0, expected.length) >= 0, true);
			if (expected.length > 0) assert.equal(encodeUtf8(value, into, 0, expected.length - 1), -1);
			for (const sample of [expected, Buffer.from(noise)]) {
				let decoded: string | undefined;
				try {
					decoded = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(sample);
				} catch {
					decoded = undefined;
				}
				const isAllowed =
					decoded !== undefined && !Array.from(decoded, (character) => character.codePointAt(0)!).some(isRefused);
				assert.equal(isMqttText(sample, 0, sample.length, false), isAllowed, sample.toString("hex"));
				assert.equal(isMqttText(sample, 0, sample.length, true), isAllowed && !/[#+]/.test(decoded!));
			}
		}),
		{ seed, numRuns: 2_000 },
	);
});
