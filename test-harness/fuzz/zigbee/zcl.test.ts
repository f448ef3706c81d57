import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { seed } from "../../seed.js";
import { MessageBench } from "../../unit/zigbee/message-bench.js";
import { readSharedFile, sharedData } from "../../vectors/shared-data.js";
import { generator, mutate } from "../mqtt/frames.js";

const CLUSTERS = [0x0000, 0x0003, 0x000a, 0x0006, 0x0702, 0x0b04, 0xfc57];

/** Valid requests of every kind, and answers. */
const OWN = [
	"100100000004000500",
	"10020600000025010005000100000000000004002a0100050001000000",
	"100308000000000004",
	"10040c0000ff",
	"10051500000a",
	"10061100ff",
	"100702000021ff00",
	"1008050000210a00",
	"01090000000000",
	"110a0000000000000018",
	"010b0b00000000",
	"180c0100000000e278563412",
	"180d0b0086",
	"0434120e000000f0",
];

function seeds(): Uint8Array[] {
	const found = OWN.map((hex) => new Uint8Array(Buffer.from(hex, "hex")));
	if (sharedData("zigbee").skip !== false) return found;
	const { frames } = JSON.parse(readSharedFile("zigbee", "zcl_frames.json").toString()) as {
		frames: { hex: string }[];
	};
	for (const { hex } of frames) found.push(new Uint8Array(Buffer.from(hex, "hex")));
	return found;
}

test("any frame on any cluster: a status, no throw, no read past its end, answers within 82 bytes", () => {
	const random = generator(seed);
	const start = seeds();
	const counts = new Map<Status, number>();
	for (const phaseCount of [1, 3] as const) {
		const bench = new MessageBench(phaseCount);
		bench.server.online(0);
		for (let round = 0; round < 15_000; round++) {
			const frame = round < start.length ? start[round]! : mutate(start[random(start.length)]!, random);
			const cluster = CLUSTERS[random(CLUSTERS.length)]!;
			// Behind the frame lies what must not be read: a change of it must change nothing.
			const first = bench.at(frame, cluster, round, 0x00, random(8) === 0);
			for (const bytes of first.answers) assert.ok(bytes.length <= 82, `seed ${seed}, round ${round}`);
			counts.set(first.status, (counts.get(first.status) ?? 0) + 1);
			if (round % 50 === 0) bench.server.tick(round * 1_000);
		}
		assert.ok(bench.server.reporting.count <= 32);
	}
	for (const status of [Status.ok, Status.badLength, Status.unsupported])
		assert.ok((counts.get(status) ?? 0) > 100, `seed ${seed}: status ${status} ${counts.get(status)} times`);
});

test("what lies behind a frame in the buffer has no influence", () => {
	const random = generator(seed);
	const start = seeds();
	const one = new MessageBench(3);
	const other = new MessageBench(3);
	for (let round = 0; round < 4_000; round++) {
		const frame = mutate(start[random(start.length)]!, random);
		const cluster = CLUSTERS[random(CLUSTERS.length)]!;
		const a = one.at(frame, cluster, round, 0x00, false);
		const b = other.at(frame, cluster, round, 0xff, false);
		assert.equal(a.status, b.status, `seed ${seed}, round ${round}`);
		assert.deepEqual(a.answers, b.answers, `seed ${seed}, round ${round}`);
	}
});
