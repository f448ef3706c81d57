import assert from "node:assert/strict";
import { test } from "node:test";
import { MT_DATA_MAX, MtParser } from "../../../src/zigbee/mt-frame.js";
import { seed } from "../../seed.js";
import { generator } from "../mqtt/frames.js";

test("any bytes: no throw, every frame within its limits, every byte accounted for", () => {
	const random = generator(seed);
	const parser = new MtParser();
	let fed = 0;
	let framed = 0;
	for (let round = 0; round < 20_000; round++) {
		const piece = Uint8Array.from({ length: 1 + random(40) }, () =>
			random(6) === 0 ? 0xfe : random(4) === 0 ? random(8) : random(256),
		);
		fed += piece.length;
		parser.feed(piece, piece.length);
		while (parser.next()) {
			assert.ok(parser.dataLength <= MT_DATA_MAX, `seed ${seed}, round ${round}`);
			framed += parser.dataLength + 5;
		}
		assert.equal(framed + parser.strayByteCount + parser.pendingBytes, fed, `seed ${seed}, round ${round}`);
	}
	assert.ok(framed > 0, "chance makes a few frames");
});
