import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeMtFrame, MT_DATA_MAX, MT_FRAME_MAX, MtParser } from "../../../src/zigbee/mt-frame.js";
import { seed } from "../../seed.js";

const anyFrame = fc.record({
	cmd0: fc.integer({ min: 0, max: 255 }),
	cmd1: fc.integer({ min: 0, max: 255 }),
	data: fc.uint8Array({ maxLength: MT_DATA_MAX }),
});

function encode(frames: readonly { cmd0: number; cmd1: number; data: Uint8Array }[]): number[] {
	const into = new Uint8Array(MT_FRAME_MAX);
	return frames.flatMap(({ cmd0, cmd1, data }) => [
		...into.subarray(0, encodeMtFrame(cmd0, cmd1, data, data.length, into)),
	]);
}

/** Feeds `bytes` in pieces of the given sizes and gives what was found. */
function parseInPieces(parser: MtParser, bytes: readonly number[], sizes: readonly number[]): string[] {
	const found: string[] = [];
	for (let at = 0, turn = 0; at < bytes.length; turn++) {
		const size = Math.max(1, sizes[turn % Math.max(1, sizes.length)] ?? bytes.length);
		const piece = Uint8Array.from(bytes.slice(at, at + size));
		parser.feed(piece, piece.length);
		while (parser.next())
			found.push(`${parser.cmd0}.${parser.cmd1}.${parser.frame.subarray(4, 4 + parser.dataLength).join()}`);
		at += size;
	}
	return found;
}

test("frames are found however the stream is split", () => {
	fc.assert(
		fc.property(
			fc.array(anyFrame, { maxLength: 6 }),
			fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 8 }),
			(frames, sizes) => {
				const parser = new MtParser();
				const expected = frames.map(({ cmd0, cmd1, data }) => `${cmd0}.${cmd1}.${data.join()}`);
				assert.deepEqual(parseInPieces(parser, encode(frames), sizes), expected);
				assert.equal(parser.strayByteCount + parser.pendingBytes, 0);
			},
		),
		{ seed },
	);
});

test("after any junk, the second of two good frames longer than the junk's claim is found at the latest", () => {
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 300 }), anyFrame, (junk, frame) => {
			const parser = new MtParser();
			// 256 bytes of good frames are more than any start byte in the junk can claim.
			const tail = Array.from({ length: 60 }, () => ({ cmd0: 0x45, cmd1: 0xc0, data: Uint8Array.of(6) }));
			const found = parseInPieces(parser, [...junk, ...encode([...tail, frame])], [7]);
			const last = `${frame.cmd0}.${frame.cmd1}.${frame.data.join()}`;
			assert.equal(found.at(-1), last);
		}),
		{ seed, numRuns: 60 },
	);
});
