import assert from "node:assert/strict";
import { test } from "node:test";
import { Meter, Senders, text } from "./world.js";

test("a broadcast is handed on when its key comes, d intervals later, once", () => {
	const senders = new Senders();
	const meter = new Meter(senders);
	meter.start();
	senders.clock.now += 900;
	const message = senders.headEnd.broadcast(text("price 7"));
	assert.equal(meter.tell(message), "ok");
	assert.equal(meter.tell(message), "replayed", "the same bytes again");
	assert.equal(meter.tell(senders.beacon()), "ok");
	assert.deepEqual(meter.heard, []);
	senders.clock.now += 900;
	assert.equal(meter.tell(senders.beacon()), "ok");
	assert.deepEqual(meter.heard, [], "not before its key");
	senders.clock.now += 900;
	assert.equal(meter.tell(senders.beacon()), "ok");
	const { timing } = senders.headEnd;
	const epoch = timing.epochOf(senders.number);
	const interval = timing.intervalOf(senders.number) - 2;
	assert.deepEqual(meter.heard, [
		{ what: "beacon", name: `${epoch}/${interval}`, payload: "" },
		{ what: "broadcast", name: `0/${epoch}/${interval}/0`, payload: "price 7" },
	]);
	assert.equal(meter.tell(message), "expired");
	assert.equal(meter.heard.length, 2);
});
