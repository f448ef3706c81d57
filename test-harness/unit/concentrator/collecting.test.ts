import assert from "node:assert/strict";
import { test } from "node:test";
import { Bench } from "./bench.js";
import { row } from "./fake-meter.js";

async function withBench(run: (bench: Bench) => Promise<void>, allow?: string[]): Promise<void> {
	const bench = await new Bench(allow).start();
	try {
		await run(bench);
	} finally {
		await bench.close();
	}
}

test("a new meter is enrolled by its hello and all rows that it holds are fetched", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		for (let sequence = 10; sequence < 300; sequence++) meter.rows.push(row(sequence));
		await meter.connect(bench.broker.url);
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.profileFirst, 10);
		assert.equal(summary.profileNext, 300);
		assert.equal(summary.profileStored, 290);
		assert.deepEqual(summary.missing, []);
		assert.equal(summary.increments[0], 289 * 250_000);
		assert.deepEqual(
			meter.requests.map((request) => [request.first, request.second]),
			[
				[10, 100],
				[110, 100],
				[210, 90],
			],
		);
	}));
