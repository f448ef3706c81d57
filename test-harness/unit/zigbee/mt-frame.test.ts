import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError, Status } from "../../../src/bytes/status.js";
import { encodeMtFrame, MT_DATA_MAX, MT_FRAME_MAX, MtParser, sealMtFrame } from "../../../src/zigbee/mt-frame.js";
import { herdsman } from "../../air/herdsman.js";

const into = new Uint8Array(MT_FRAME_MAX);

function frameOf(cmd0: number, cmd1: number, data: readonly number[]): number[] {
	return [...into.subarray(0, encodeMtFrame(cmd0, cmd1, Uint8Array.from(data), data.length, into))];
}

/** Frames that the parser finds, as [cmd0, cmd1, ...data]. */
function parse(parser: MtParser, bytes: readonly number[]): number[][] {
	const found: number[][] = [];
	parser.feed(Uint8Array.from(bytes), bytes.length);
	while (parser.next()) found.push([parser.cmd0, parser.cmd1, ...parser.frame.subarray(4, 4 + parser.dataLength)]);
	return found;
}

test("frames as TI's document prints them", () => {
	// SYS_PING request and SYS_RESET_REQ, "Z-Stack Monitor and Test API".
	assert.deepEqual(frameOf(0x21, 0x01, []), [0xfe, 0x00, 0x21, 0x01, 0x20]);
	assert.deepEqual(frameOf(0x41, 0x00, [0x01]), [0xfe, 0x01, 0x41, 0x00, 0x01, 0x41]);
	const sealed = new Uint8Array(16);
	sealed[6] = 1;
	assert.equal(sealMtFrame(0x41, 0, 1, sealed, 2), 6, "sealed where the data lie");
	assert.deepEqual([...sealed.subarray(2, 8)], [0xfe, 1, 0x41, 0, 1, 0x41]);
});

test("more than 250 bytes of data are a bug of the caller", () => {
	const long = new Uint8Array(MT_DATA_MAX + 1);
	assert.throws(() => encodeMtFrame(0x21, 1, long, long.length, new Uint8Array(300)), InvariantError);
	assert.throws(() => sealMtFrame(0x21, 1, long.length, new Uint8Array(300)), InvariantError);
});

test("stray bytes, a bad check byte and a bad length cost nothing but themselves", () => {
	const good = frameOf(0x61, 0x01, [0x79, 0x01]);
	const parser = new MtParser();
	assert.deepEqual(parse(parser, [0xef, 0x00, ...good]), [[0x61, 1, 0x79, 1]]);
	assert.equal(parser.strayByteCount, 2);
	const bad = [...good];
	bad[4] = bad[4]! ^ 1;
	assert.deepEqual(parse(parser, [...bad, ...good]), [[0x61, 1, 0x79, 1]]);
	assert.equal(parser.counters.counts[Status.badChecksum], 1);
	assert.deepEqual(parse(parser, [0xfe, 0xfb, ...good]), [[0x61, 1, 0x79, 1]]);
	assert.equal(parser.counters.counts[Status.badLength], 1);
	assert.equal(parser.pendingBytes, 0, "nothing is left over");
});

test("a stray start byte in front of a frame does not swallow it", () => {
	const good = frameOf(0x44, 0x80, [0, 1, 7]);
	const parser = new MtParser();
	// FE FE 03 …: the first FE claims length 0xFE, which is refused at once.
	assert.deepEqual(parse(parser, [0xfe, ...good]), [[0x44, 0x80, 0, 1, 7]]);
	// FE 02 FE 03 44 80 …: the claimed frame ends in the middle of the true one, and its check byte is wrong.
	assert.deepEqual(parse(parser, [0xfe, 0x02, ...good]), [[0x44, 0x80, 0, 1, 7]]);
	// A line cut in the middle of a frame: the next frame is found behind the stump.
	assert.deepEqual(parse(parser, [...good.slice(0, 5), ...good, ...good]), [
		[0x44, 0x80, 0, 1, 7],
		[0x44, 0x80, 0, 1, 7],
	]);
});

test("herdsman's own parser and writer agree byte for byte", { skip: herdsman().skip }, async () => {
	const { Frame, Parser } = herdsman().load("adapter/z-stack/unpi") as {
		Frame: new (type: number, subsystem: number, command: number, data: Buffer) => { toBuffer(): Buffer };
		Parser: new () => {
			on(
				event: "parsed",
				use: (frame: { type: number; subsystem: number; commandID: number; data: Buffer }) => void,
			): void;
			write(bytes: Buffer): void;
		};
	};
	const theirs: number[][] = [];
	const parser = new Parser();
	parser.on("parsed", (frame) => theirs.push([(frame.type << 5) | frame.subsystem, frame.commandID, ...frame.data]));
	const ours: number[][] = [];
	for (let length = 0; length <= MT_DATA_MAX; length++) {
		const data = Array.from({ length }, (_, i) => (i * 37 + length) & 0xff);
		const frame = frameOf(0x24, length, data);
		assert.deepEqual(frame, [...new Frame(1, 4, length, Buffer.from(data)).toBuffer()], `length ${length}`);
		parser.write(Buffer.from(frame));
		ours.push([0x24, length, ...data]);
	}
	assert.deepEqual(theirs, ours);
	assert.deepEqual(
		parse(
			new MtParser(),
			ours.flatMap(([cmd0, cmd1, ...data]) => frameOf(cmd0!, cmd1!, data)),
		),
		ours,
	);
});
