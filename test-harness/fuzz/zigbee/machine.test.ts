import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMtFrame, MT_FRAME_MAX } from "../../../src/zigbee/mt-frame.js";
import { chooseScale } from "../../../src/zigbee/zcl/scale.js";
import { ZigbeeMeter } from "../../../src/zigbee/zigbee-meter.js";
import { describeDevice, FixedLoad, MemoryStore } from "../../air/virtual-meter.js";
import { seed } from "../../seed.js";
import { generator } from "../mqtt/frames.js";

/** Responses and events that the machine knows, with their usual data, to be changed. */
const KNOWN: readonly [number, number, string][] = [
	[0x41, 0x80, "000201020701"],
	[0x61, 0x01, "7905"],
	[0x61, 0x02, "02010207012a8d3401"],
	[0x61, 0x08, "0001 01"],
	[0x61, 0x08, "0010 010100f8ff07ffffffffffffffff0000"],
	[0x61, 0x07, "09"],
	[0x61, 0x09, "00"],
	[0x64, 0x00, "00"],
	[0x64, 0x02, "00"],
	[0x44, 0x80, "000101"],
	[0x44, 0x81, "0000020700000101 00c8 00 00000000 01 08 1021000000000400 000001"],
	[0x44, 0x82, "000002070200000000000000000100000100c80011223344013000"],
	[0x64, 0x12, "0010 00112233445566778899aabbccddeeff"],
	[0x65, 0x40, "00"],
	[0x45, 0xc0, "07"],
	[0x45, 0xc0, "06"],
	[0x45, 0xc0, "0a"],
	[0x45, 0xc9, "0000 0000000000000000 000000"],
	[0x67, 0x00, "00 01eeffc0004b1200 75fe 07 07 00"],
	[0x6f, 0x07, "00"],
	[0x6f, 0x08, "00"],
	[0x6f, 0x05, "00"],
	[0x6f, 0x0a, "00"],
	[0x4f, 0x80, "000100"],
	[0x60, 0x00, "020000"],
];

test("a co-processor gone mad: no throw, no livelock, bounded output, and a good one is taken up again", () => {
	const random = generator(seed);
	const meter = new ZigbeeMeter(
		{
			device: describeDevice(3),
			scale: chooseScale(3, 300_000, 100_000),
			logicalType: 1,
			channelMask: 0x07ff_f800,
			manufacturerCode: 0,
		},
		new FixedLoad(3, 1_000_000),
		new MemoryStore(),
		{ zigbeeJoined() {}, zigbeeLost() {}, zigbeeJoinFailed() {}, zigbeeMessage() {}, zigbeeSent() {} },
		() => random(1_000) / 1_000,
	);
	const into = new Uint8Array(MT_FRAME_MAX);
	const out = new Uint8Array(64);
	let now = 0;
	let written = 0;
	let awaited: [number, number] | undefined;
	meter.start(now, true);
	for (let round = 0; round < 20_000; round++) {
		now += random(4) === 0 ? random(10_000) : random(50);
		for (let turns = 0; meter.deadlineMilliseconds() <= now; turns++) {
			assert.ok(turns < 50, `seed ${seed}, round ${round}: livelock`);
			meter.tick(now);
			for (let count = meter.transmit(out); count > 0; count = meter.transmit(out)) written += count;
			now += 1;
		}
		const picks = KNOWN.filter(
			([cmd0, cmd1]) => awaited && cmd0 === ((awaited[0] & 0x1f) | 0x60) && cmd1 === awaited[1],
		);
		const from = picks.length > 0 && random(4) > 0 ? picks : KNOWN;
		let pick = from[random(from.length)]!;
		// Mostly sane, or it would reset all the time.
		const isWanted = awaited?.[0] === 0x41;
		if (isWanted && random(4) > 0) pick = KNOWN[0]!;
		else if (pick === KNOWN[0] && random(20) > 0) pick = KNOWN[15]!;
		const [cmd0, cmd1, hex] = pick;
		let data = Buffer.from(hex.replaceAll(" ", ""), "hex");
		if (random(12) === 0) data = data.subarray(0, random(data.length + 1));
		if (random(12) === 0 && data.length > 0) data[random(data.length)] = random(256);
		const length = encodeMtFrame(cmd0, cmd1, data, data.length, into);
		if (random(20) === 0) into[random(length)] = random(256);
		const cut = random(10) === 0 ? random(length) : length;
		meter.receive(now, into.subarray(0, cut), cut);
		let frames = 0;
		for (let count = meter.transmit(out); count > 0; count = meter.transmit(out)) {
			written += count;
			if (out[0] === 0xfe) awaited = [out[2]!, out[3]!];
			assert.ok(++frames < 20, `seed ${seed}, round ${round}: output without end`);
		}
	}
	assert.ok(written > 500, `seed ${seed}: ${written} bytes written`);
	if (meter.machine.isJoined) return;
	// From here on the co-processor does what it should.
	const GOOD: Readonly<Record<number, readonly [number, number, string][]>> = {
		16640: [[0x41, 0x80, "000201020701"]],
		8449: [[0x61, 0x01, "7905"]],
		8450: [[0x61, 0x02, "02010207012a8d3401"]],
		8456: [[0x61, 0x08, "0200"]],
		8455: [[0x61, 0x07, "09"]],
		8457: [[0x61, 0x09, "00"]],
		9216: [[0x64, 0x00, "00"]],
		12039: [[0x6f, 0x07, "00"]],
		12040: [[0x6f, 0x08, "00"]],
		12037: [
			[0x6f, 0x05, "00"],
			[0x45, 0xc0, "07"],
		],
		12042: [
			[0x6f, 0x0a, "00"],
			[0x45, 0xc0, "07"],
		],
		9984: [[0x67, 0x00, "0001eeffc0004b120075fe070700"]],
	};
	const MARK = 0x0d57;
	let mark = "";
	const end = now + 3_600_000;
	while (!meter.machine.isJoined && now < end) {
		now = Math.max(now + 1, Math.min(end, meter.deadlineMilliseconds()));
		meter.tick(now);
		for (let count = meter.transmit(into); count > 0; count = meter.transmit(into))
			for (const [cmd0, cmd1, hex] of GOOD[(into[2]! << 8) | into[3]!] ?? []) {
				// The mark is kept, the item that tells of a network is not there.
				const item = into[4]! | (into[5]! << 8);
				if (cmd1 === 0x07 && cmd0 === 0x61 && item === MARK) mark = Buffer.from(into.subarray(9, 25)).toString("hex");
				const isMark = cmd1 === 0x08 && cmd0 === 0x61 && item === MARK && mark !== "";
				const data = Buffer.from(isMark ? `0010${mark}` : hex, "hex");
				const frame = new Uint8Array(MT_FRAME_MAX);
				meter.receive(now, frame, encodeMtFrame(cmd0, cmd1, data, data.length, frame));
			}
	}
	assert.ok(meter.machine.isJoined, `seed ${seed}: in the network again within an hour`);
});
