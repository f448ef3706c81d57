import assert from "node:assert/strict";
import { test } from "node:test";
import type { AttackKind, AttackView } from "../../head-end/api.js";
import { ATTACK_KINDS } from "../../head-end/attacks.js";
import { HttpServer } from "../../head-end/server.js";
import { Bench } from "./bench.js";
import { until } from "./fake-meter.js";

/** What the meter must have refused each with. */
const REFUSED: Readonly<Record<AttackKind, Readonly<Record<string, number>>>> = {
	replay: { replayed: 1 },
	tamper: { badTag: 2 },
	forge: { badTag: 1, notAuthorised: 1 },
	stale: { clockInvalid: 1, timedOut: 1, outOfOrder: 1 },
	foreign: { notFound: 1, badTag: 1 },
};

test("five attacks through the broker: the meter refuses each, says with what, and works on", async () => {
	const bench = await new Bench(undefined, true).start();
	try {
		const meters = [await bench.meter(), await bench.meter()];
		await bench.step(3);
		for (const meter of meters) {
			await meter.connect(bench.broker.url);
			await bench.step(1);
			await until("the witness", () => meter.keys!.store.isWitnessed);
			await bench.settle();
			await meter.sendReading();
		}
		await bench.step(1);
		const victim = meters[0]!;
		const obeyed: Uint8Array[] = [];
		victim.onOther = (message) => void obeyed.push(message);
		const server = new HttpServer(bench.headEnd);
		await server.listen(0, "127.0.0.1");
		const post = (body: unknown): Promise<Response> =>
			fetch(`http://127.0.0.1:${server.port}/api/attacks`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: JSON.stringify(body),
			});
		try {
			for (const kind of ATTACK_KINDS) {
				const answer = await post({ meter: victim.id, kind });
				const view = (await answer.json()) as AttackView;
				assert.equal(answer.status, 200, JSON.stringify(view));
				assert.deepEqual(view.refused, REFUSED[kind], `${kind}: ${JSON.stringify(view.refused)}`);
				assert.ok(view.held, `${kind} was refused`);
				assert.ok(view.why.length > 20 && view.sent.length > 0, "it is told what and why");
			}
			assert.deepEqual(obeyed, [], "no command came of any of them");
			assert.equal((await post({ meter: victim.id, kind: "magic" })).status, 400);
			assert.equal((await post({ meter: "x", kind: "replay" })).status, 404);
		} finally {
			await server.close();
		}
		await victim.sendReading();
		await bench.step(1);
		assert.equal(bench.summary(victim.id).readings, 2, "and the meter is heard as before");
	} finally {
		await bench.close();
	}
});
