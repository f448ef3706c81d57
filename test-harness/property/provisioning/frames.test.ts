import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import { createDeviceFile, decodeDeviceFile, encodeDeviceFile } from "../../../src/provisioning/device-file.js";
import { FRAME_PAYLOAD_AT, OpticalFrameReader } from "../../../src/provisioning/optical-frame.js";
import { seed } from "../../seed.js";
import { frameOf } from "../../unit/provisioning/samples.js";

const payload = fc.uint8Array({ minLength: 4, maxLength: 504 });
/** Noise that tends to look like a start. */
const noise = fc.array(fc.oneof(fc.constantFrom(0x57, 0x70, 0, 1, 0xf0), fc.integer({ min: 0, max: 255 })), {
	maxLength: 40,
});

/** All payloads that are found when the bytes come in pieces, and the line is silent at the end. */
function found(bytes: Uint8Array, pieces: readonly number[]): string[] {
	const reader = new OpticalFrameReader();
	const payloads: string[] = [];
	const collect = () => {
		while (reader.payloadBytes > 0) {
			const end = FRAME_PAYLOAD_AT + reader.payloadBytes;
			payloads.push(Buffer.from(reader.bytes.subarray(FRAME_PAYLOAD_AT, end)).toString("hex"));
			reader.next();
		}
	};
	let piece = 0;
	for (let at = 0; at < bytes.length; ) {
		const end = Math.min(bytes.length, at + (pieces[piece++ % pieces.length] ?? 1));
		while (at < end) {
			at += reader.take(bytes, at, end);
			collect();
		}
	}
	while (reader.pendingBytes > 0) {
		reader.expire();
		collect();
	}
	assert.ok(
		reader.bytes.every((byte) => byte === 0),
		"nothing is left in the buffer",
	);
	return payloads;
}

test("every frame is found once, in order, whatever noise stands around it and however it is cut", () => {
	fc.assert(
		fc.property(
			fc.array(fc.tuple(noise, payload), { minLength: 1, maxLength: 5 }),
			noise,
			fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 5 }),
			(parts, tail, pieces) => {
				const bytes = Buffer.concat([
					...parts.flatMap(([before, p]) => [Uint8Array.from(before), frameOf(p)]),
					Uint8Array.from(tail),
				]);
				assert.deepEqual(
					found(bytes, pieces),
					parts.map(([, p]) => Buffer.from(p).toString("hex")),
				);
			},
		),
		{ seed, numRuns: 300 },
	);
});

test("a frame with changed bits is not found, the next one is", () => {
	fc.assert(
		fc.property(payload, payload, fc.nat(), fc.integer({ min: 1, max: 255 }), (first, second, place, change) => {
			const bytes = Buffer.concat([frameOf(first), frameOf(second)]);
			bytes[place % (first.length + 8)]! ^= change;
			assert.deepEqual(found(bytes, [64]), [Buffer.from(second).toString("hex")]);
		}),
		{ seed, numRuns: 300 },
	);
});

test("a device file comes back as it was, and any other byte is refused", () => {
	const anyFile = fc
		.record({
			generation: fc.integer({ min: 1, max: 0xffff }),
			domain: fc.integer({ min: 0, max: 0xfffe }),
			shortAddress: fc.nat(0xffff),
			calendarLevels: fc.integer({ min: 1, max: 16 }),
			calendarFirstEpoch: fc.nat(0xffff),
			teslaIntervalSeconds: fc.integer({ min: 1, max: 43_200 }),
			dayOfCalendar: fc.nat(0xffff),
			id: fc.uint8Array({ minLength: 8, maxLength: 8 }),
			roots: fc.uint8Array({ minLength: 64, maxLength: 64 }),
			calendarRoot: fc.uint8Array({ minLength: 16, maxLength: 16 }),
			updateKey: fc.uint8Array({ minLength: 56, maxLength: 56 }),
		})
		.map(({ dayOfCalendar, ...file }) => ({
			...file,
			epoch: Math.min(0xffff, file.calendarFirstEpoch + (dayOfCalendar % 2 ** file.calendarLevels)),
		}));
	const bytes = new Uint8Array(168);
	const decoded = createDeviceFile();
	fc.assert(
		fc.property(anyFile, fc.nat(167), fc.integer({ min: 1, max: 255 }), (file, place, change) => {
			encodeDeviceFile(file, bytes, 0);
			assert.equal(decodeDeviceFile(bytes, 0, 168, decoded), Status.ok);
			assert.deepEqual(decoded, file);
			bytes[place]! ^= change;
			assert.notEqual(decodeDeviceFile(bytes, 0, 168, decoded), Status.ok, `byte ${place}`);
		}),
		{ seed, numRuns: 500 },
	);
});
