import assert from "node:assert/strict";
import { test } from "node:test";
import { BROADCAST_OVERHEAD_BYTES } from "../../../src/broadcast/broadcast-messages.js";
import { createAnchor, verifyAnchor } from "../../../src/broadcast/calendar.js";
import { Status } from "../../../src/bytes/status.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { Bench, DOMAIN, START_EPOCH } from "../head-end/bench.js";
import { until } from "../head-end/fake-meter.js";

const BEACON = 0x01;
const ANCHOR = 0x02;
const BCAST = 0x0d;

test("anchors, beacons and broadcasts reach everyone of the domain; an anchor is asked for once an interval", async () => {
	const bench = await new Bench(undefined, true).start();
	try {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		const of = (type: number): Buffer[] => meter.broadcasts.filter((each) => each[0] === type);
		await until("the retained anchor", () => of(ANCHOR).length > 0);
		const anchor = of(ANCHOR)[0]!;
		const into = createAnchor();
		const { store } = meter.keys!;
		const status = verifyAnchor(new NodeCrypto(), store.calendar, anchor, anchor.length, into);
		assert.equal(status, Status.ok, "the meter's own check takes it");
		assert.equal(into.epoch, START_EPOCH);
		for (let interval = 0; interval < 5; interval++) {
			await bench.step(900);
			await bench.step(2);
		}
		assert.ok(of(BEACON).length >= 4, `${of(BEACON).length} beacons in five intervals`);
		const intervals = of(BEACON).map((beacon) => beacon.readUInt16BE(5));
		assert.equal(new Set(intervals).size, intervals.length, "one an interval");
		const last = of(BEACON).at(-1)!;
		assert.notEqual(last[7], 0xff, "it brings a key of the head end");

		bench.security.broadcasting.broadcast(Uint8Array.of(1, 2, 3), DOMAIN);
		await until("the broadcast", () => of(BCAST).length > 0);
		assert.equal(of(BCAST)[0]!.length, BROADCAST_OVERHEAD_BYTES + 3);

		const { anchors } = bench.concentrator.messages;
		const request = Uint8Array.of(3, 0, DOMAIN, 0, 0, 0);
		for (let times = 0; times < 5; times++) await bench.servers.receive(`wattlock/v1/${meter.id}/up`, request);
		assert.equal(bench.concentrator.messages.anchors, anchors + 1, "five questions, one answer");
		await bench.step(900);
		await bench.servers.receive(`wattlock/v1/${meter.id}/up`, request);
		assert.equal(bench.concentrator.messages.anchors, anchors + 2, "and another in the next interval");
	} finally {
		await bench.close();
	}
});
