import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
	EVERY_METER,
	FrameReader,
	FrameWriter,
	HEADER_BYTES,
	PAYLOAD_BYTES_MAX,
	ToTarget,
} from "../../board/channel.js";

test("a frame is laid out as docs/BOARD.md says", () => {
	const writer = new FrameWriter();
	const bytes = writer.begin(0x0102, ToTarget.input, 8).u32(2).i32(-3).take();
	assert.equal(bytes.toString("hex"), "080000000201000007000000" + "02000000fdffffff");
	assert.equal(writer.byteLength, 0);
});

test("frames that are not complete, or too long, are mistakes of ours", () => {
	const writer = new FrameWriter();
	assert.throws(() => writer.begin(0, 1, PAYLOAD_BYTES_MAX + 1), RangeError);
	writer.begin(0, 1, 4).u8(1);
	assert.throws(() => writer.take(), /not complete/);
	assert.throws(() => writer.begin(0, 1, 0), /not complete/);
});

const anyFrame = fc.record(
	{
		meter: fc.oneof(fc.nat(), fc.constant(EVERY_METER)),
		kind: fc.integer({ min: 0, max: 255 }),
		payload: fc.uint8Array({ maxLength: 300 }),
	},
	{ noNullPrototype: true },
);

test("property: however the stream is cut, the same frames come out", () => {
	fc.assert(
		fc.property(fc.array(anyFrame), fc.array(fc.integer({ min: 1, max: 50 })), (frames, cuts) => {
			const writer = new FrameWriter();
			for (const { meter, kind, payload } of frames) writer.begin(meter, kind, payload.length).bytes(payload);
			const stream = writer.take();
			const found: { meter: number; kind: number; payload: Uint8Array }[] = [];
			const reader = new FrameReader((meter, kind, payload) => {
				found.push({ meter, kind, payload: Uint8Array.from(payload) });
			});
			let at = 0;
			for (let i = 0; at < stream.length; i++) {
				const end = at + (cuts[i % Math.max(cuts.length, 1)] ?? 7);
				reader.push(stream.subarray(at, end));
				at = end;
			}
			assert.deepEqual(found, frames);
			assert.equal(reader.pendingBytes, 0);
		}),
	);
});

test("what cannot be a frame is refused", () => {
	const refuse = (bytes: number[]): void => {
		assert.throws(() => new FrameReader(() => {}).push(Buffer.from(bytes)), RangeError);
	};
	refuse([1, 0, 16, 0, 0, 0, 0, 0, 65, 0, 0, 0]);
	refuse([0, 0, 0, 0, 0, 0, 0, 0, 65, 0, 0, 1]);
	const reader = new FrameReader(() => assert.fail("no frame yet"));
	reader.push(Buffer.alloc(HEADER_BYTES - 1));
	assert.equal(reader.pendingBytes, HEADER_BYTES - 1);
});
