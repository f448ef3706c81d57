import assert from "node:assert/strict";
import { test } from "node:test";
import { Kind } from "../../../src/messages/kinds.js";
import { upTopic } from "../../../src/messages/topics.js";
import type { CaptureView, DiagnosticsView, SnapshotView } from "../../head-end/api.js";
import type { AskError } from "../../head-end/asking.js";
import { LIMITS } from "../../head-end/limits.js";
import { seed } from "../../seed.js";
import { Bench, START_UTC } from "./bench.js";
import { row, TestBroker, until } from "./fake-meter.js";

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

test("rows lost on the way are seen at the next row and fetched; the sum of increments is that of the registers", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0), row(1));
		meter.faults.loseRows = 3;
		await meter.addRows(row(2), row(3), row(4), row(5));
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.profileNext, 6);
		assert.deepEqual(summary.missing, []);
		assert.deepEqual(summary.increments, [5 * 250_000, 5 * 10_000, 5 * 5_000, 5 * 100]);
		assert.deepEqual(summary.lastRowRegisters, [2_250_000, 50_000, 25_000, 500]);
	}));

test("the last row lost is found without a later one, from the meter's own clock", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		const start = row(0).intervalStartSeconds;
		await meter.addRows(row(0));
		meter.faults.loseRows = 1;
		await meter.addRows(row(1));
		for (let elapsed = 900; elapsed < 1900; elapsed += 30) {
			meter.clock = () => start + elapsed;
			await meter.sendReading();
			await bench.step(30);
		}
		await bench.settle();
		assert.equal(bench.summary(meter.id).profileNext, 2);
	}));

test("a meter that was connected before the head end first started: rows older than the first seen are found", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		for (let sequence = 30; sequence < 250; sequence++) meter.rows.push(row(sequence));
		await bench.link.stop(); // nobody hears the hello
		await meter.connect(bench.broker.url);
		bench.link.resume();
		await bench.link.barrier(5000);
		await meter.addRows(row(250));
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.profileFirst, 30);
		assert.equal(summary.profileStored, 221);
		assert.deepEqual(summary.missing, []);
	}));

test("collect asks for what no later row would show", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		meter.faults.loseRows = 2;
		await meter.addRows(row(0), row(1));
		await bench.settle();
		assert.equal(bench.summary(meter.id).profileNext, 0);
		bench.headEnd.collect();
		await bench.settle();
		assert.equal(bench.summary(meter.id).profileNext, 2);
		assert.deepEqual(bench.summary(meter.id).missing, []);
	}));

test("duplicates and rows out of order are stored once", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		meter.faults.sendTwice = true;
		meter.faults.reverse = true;
		for (let sequence = 0; sequence < 45; sequence++) meter.rows.push(row(sequence));
		await meter.connect(bench.broker.url);
		await meter.addRows(row(45), row(46));
		await meter.sendReading();
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.profileStored, 47);
		assert.equal(summary.increments[0], 46 * 250_000);
		assert.equal(summary.conflicts, 0);
		assert.equal(summary.readings, 1);
		assert.ok(summary.duplicatesIgnored >= 48, `${summary.duplicatesIgnored}`);
		const view = await bench.headEnd.views.profileView(meter.id, 0, Number.POSITIVE_INFINITY);
		assert.deepEqual(
			view?.rows.map((each) => each.sequence),
			Array.from({ length: 47 }, (_, sequence) => sequence),
		);
	}));

test("requests that stay unanswered are repeated, ever more rarely; lost answers are asked for again", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		for (let sequence = 0; sequence < 60; sequence++) meter.rows.push(row(sequence));
		meter.faults.ignoreRequests = 4;
		meter.faults.loseAnswers = 3;
		await meter.connect(bench.broker.url);
		await bench.step(1);
		let asked = 0;
		const at: number[] = [];
		for (let steps = 0; steps < 260 && bench.summary(meter.id).missing.length > 0; steps++) {
			if (meter.requests.length > asked) at.push(bench.clock.utcSeconds());
			asked = meter.requests.length;
			await bench.step(1);
			await new Promise((resolve) => setTimeout(resolve, 2));
		}
		await bench.settle();
		assert.deepEqual(bench.summary(meter.id).missing, []);
		const pauses = at.slice(1, 5).map((time, index) => time - at[index]!);
		for (let index = 1; index < 4; index++)
			assert.ok(pauses[index]! > pauses[index - 1]!, `pauses between attempts: ${pauses}`);
		assert.ok(meter.requests.length < 12, `${meter.requests.length} requests`);
	}));

test("rows that the meter does not hold any more stay a hole that is told", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		for (let sequence = 0; sequence < 10; sequence++) meter.rows.push(row(sequence));
		meter.rows.splice(4, 2); // rows 4 and 5 are damaged in its flash
		await meter.connect(bench.broker.url);
		await bench.settle();
		let summary = bench.summary(meter.id);
		assert.deepEqual(summary.gone, [{ first: 4, next: 6 }]);
		assert.deepEqual(summary.missing, []);
		assert.equal(summary.increments[0], 6 * 250_000, "nothing is interpolated over the hole");
		// and rows older than what a later hello tells
		await meter.sendHello({ profileNext: 20 });
		meter.rows = [row(15), row(16), row(17), row(18), row(19)];
		await meter.sendHello();
		await bench.settle();
		summary = bench.summary(meter.id);
		assert.deepEqual(summary.gone, [
			{ first: 4, next: 6 },
			{ first: 10, next: 15 },
		]);
		// a hole that is filled after all is no hole
		await meter.sendRows(0, [row(4)]);
		await bench.settle();
		assert.deepEqual(bench.summary(meter.id).gone[0], { first: 5, next: 6 });
	}));

test("a row with a known sequence and other content is kept as a conflict and overwrites nothing", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0), row(1), row(2));
		const forged = row(1, { activeEnergyImport: 9_999_999 });
		await meter.sendRows(0, [forged]);
		await meter.sendRows(0, [forged]);
		await meter.sendRows(0, [row(1, { activeEnergyImport: 1 })]);
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.conflicts, 3);
		assert.equal(summary.increments[0], 500_000);
		const view = await bench.headEnd.views.profileView(meter.id, 0, Number.POSITIVE_INFINITY);
		assert.equal(view?.rows[1]?.activeEnergyImport, row(1).activeEnergyImport);
		assert.deepEqual(
			view?.conflicts.map((each) => [each.sequence, each.activeEnergyImport]),
			[
				[1, 9_999_999],
				[1, 1],
			],
		);
		assert.equal(bench.headEnd.views.meterView(meter.id)?.health, "bad");
	}));

test("registers that go back are flagged, in rows and in readings", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0), row(1), row(2, { activeEnergyImport: 5 }), row(3));
		await meter.sendReading((reading) => {
			reading.activeEnergyImport = 5_000;
		});
		await meter.sendReading((reading) => {
			reading.activeEnergyImport = 4_999;
		});
		meter.hello.bootCount++;
		await meter.sendHello();
		meter.readingIndex = 0;
		await meter.sendReading((reading) => {
			reading.activeEnergyImport = 4_000;
		});
		await bench.settle();
		assert.deepEqual(bench.summary(meter.id).monotone, { profile: 1, readings: 1, readingsAfterRestart: 1 });
		// rows that come late are compared with their neighbours on both sides
		await meter.sendRows(0, [row(5), row(6)]);
		await meter.sendRows(0, [row(4, { activeEnergyImport: row(6).activeEnergyImport })]);
		await bench.step();
		assert.equal(bench.summary(meter.id).monotone.profile, 2);
	}));

test("storage that was replaced starts a new series; the rows of the old one stay", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0), row(1), row(2), row(3));
		await bench.settle();
		meter.rows = [row(0, { activeEnergyImport: 7 }), row(1, { activeEnergyImport: 8 })];
		meter.hello.bootCount = 1;
		await meter.sendHello();
		await meter.addRows(row(2, { activeEnergyImport: 9 })); // while the question is open
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.series, 1);
		assert.equal(summary.seriesStarts[1]?.reason, "storage replaced");
		assert.equal(summary.conflicts, 0);
		assert.equal(summary.profileFirst, 0);
		assert.equal(summary.profileNext, 3);
		assert.deepEqual(summary.missing, []);
		assert.equal(summary.increments[0], 2);
		const view = await bench.headEnd.views.profileView(meter.id, 0, Number.POSITIVE_INFINITY);
		assert.deepEqual(
			view?.rows.map((each) => [each.series, each.sequence]),
			[
				[0, 0],
				[0, 1],
				[0, 2],
				[0, 3],
				[1, 0],
				[1, 1],
				[1, 2],
			],
		);
	}));

test("storage that lost its last rows continues as a new series, without fetching the old rows again", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		for (let sequence = 0; sequence < 6; sequence++) await meter.addRows(row(sequence));
		await bench.settle();
		meter.rows.length = 4; // 4 and 5 never reached its flash
		meter.hello.bootCount++;
		await meter.sendHello();
		await bench.settle();
		await meter.addRows(row(4, { activeEnergyImport: row(4).activeEnergyImport + 1 }));
		await meter.sendRows(0, [row(3)]); // a late duplicate of the series before
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.series, 1);
		assert.equal(summary.seriesStarts[1]?.reason, "tail lost");
		assert.equal(summary.profileFirst, 4);
		assert.equal(summary.profileNext, 5);
		assert.equal(summary.conflicts, 0);
		assert.deepEqual(summary.missing, []);
	}));

test("an old hello that comes late opens no new series", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0), row(1), row(2));
		await meter.sendHello({ profileNext: 1 });
		meter.rows.push(row(3));
		await meter.sendRows(0, [row(3)]);
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.series, 0);
		assert.equal(summary.profileNext, 4);
		assert.deepEqual(summary.missing, []);
		assert.ok(!bench.headEnd.views.meterView(meter.id)?.profile.checkingSeries);
	}));

test("events are collected like rows: gaps, duplicates, conflicts", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		const event = (sequence: number, detail = sequence) => ({
			sequence,
			utcSeconds: 800_000_000 + sequence,
			code: 7,
			detail,
		});
		for (let sequence = 0; sequence < 150; sequence++) meter.events.push(event(sequence));
		await meter.connect(bench.broker.url);
		await bench.settle();
		meter.events.push(event(150), event(151));
		await meter.addEvents(event(152));
		await meter.sendEvents(0, [event(152)]);
		await meter.sendEvents(0, [event(152, -1)]);
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.eventsStored, 153);
		assert.deepEqual(summary.eventsMissing, []);
		assert.equal(summary.eventConflicts, 1);
		const events = await bench.headEnd.views.eventsView(meter.id);
		assert.deepEqual(
			events?.map((each) => each.detail),
			Array.from({ length: 153 }, (_, sequence) => sequence),
		);
	}));

test("time: answered with the request's number; sent unasked when a clock is off by more than 3 s", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.sendControl(Kind.timeRequest, 77);
		await bench.step(1);
		await until("the time", () => meter.times.length === 1);
		assert.deepEqual(meter.times[0], { requestId: 77, utcSeconds: START_UTC + 1, milliseconds: 0 });
		let offset = 2;
		meter.clock = () => bench.clock.utcSeconds() + 1 + offset;
		for (let elapsed = 0; elapsed < 1000; elapsed += 1) {
			if (elapsed % 10 === 0) await meter.sendReading();
			await bench.step(1);
		}
		assert.equal(meter.times.length, 1, "2 s are left to the meter");
		assert.equal(bench.summary(meter.id).clockOffsetSeconds, 2);
		offset = -6; // the stamps tell whole seconds, and the clock of this test moves in steps of one
		for (let elapsed = 0; elapsed < 1000; elapsed += 1) {
			if (elapsed % 10 === 0) await meter.sendReading();
			await bench.step(1);
		}
		assert.equal(meter.times.length, 2);
		assert.equal(meter.times[1]?.requestId, 0);
	}));

test("hostile bytes are refused with a counted status, never a throw, and enrol nobody", () =>
	withBench(async (bench) => {
		const random = (() => {
			let state = seed >>> 0;
			return (below: number): number => {
				state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
				return Math.floor((state / 2 ** 32) * below);
			};
		})();
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0), row(1));
		const stranger = "ffffffffffffffff";
		for (let round = 0; round < 3000; round++) {
			const payload = new Uint8Array(random(round % 50 === 0 ? 3000 : 120));
			for (let index = 0; index < payload.length; index++) payload[index] = random(256);
			// well-formed in part; the stranger's version is always wrong, since a valid message would rightly enrol it
			const kind = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0x81][random(10)]!;
			if (round % 3 !== 0) payload.set([1, 0, kind, round % 2 === 0 ? 1 : 2].slice(0, payload.length));
			await bench.headEnd.receive(upTopic(round % 2 === 0 ? meter.id : stranger), payload);
		}
		for (const topic of ["wattlock/v1/x/up", "wattlock/v1/00/up", "other", upTopic("G".repeat(16)), ""])
			await bench.headEnd.receive(topic, new Uint8Array([1, 0, 1, 1]));
		await bench.headEnd.receive(upTopic(meter.id), new Uint8Array([1, 7, 2, 1])); // an envelope of another scheme
		// sequences out of all proportion
		await meter.sendRows(0, [row(0xffff_fffe)]);
		await meter.sendHello({ profileNext: 0xffff_ffff });
		await meter.sendHello({ profileOldest: 9, profileNext: 3 });
		await meter.addRows(row(2));
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.profileNext, 3);
		assert.equal(summary.profileStored, 3);
		assert.ok(!bench.headEnd.has(stranger));
		const { refusals } = bench.headEnd.views.statusView();
		for (const name of ["badLength", "badVersion", "badKind", "badValue", "unsupported", "outOfOrder"])
			assert.ok((refusals[name] ?? 0) > 0, `${name}: ${JSON.stringify(refusals)}`);
	}));

test("only meters of the list are enrolled", () =>
	withBench(
		async (bench) => {
			const listed = await bench.meter("00000000000000aa");
			const other = await bench.meter("00000000000000bb");
			await listed.connect(bench.broker.url);
			await other.connect(bench.broker.url);
			await bench.settle();
			assert.deepEqual(bench.headEnd.ids(), ["00000000000000aa"]);
			assert.equal(bench.headEnd.messages.notEnrolled, 1);
		},
		["00000000000000aa"],
	));

test("a restart rebuilds every position from the store and goes on", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0), row(1));
		meter.faults.loseRows = 2;
		await meter.addRows(row(2), row(3));
		meter.faults.ignoreRequests = 1;
		await meter.addRows(row(4));
		await meter.addEvents({ sequence: 0, utcSeconds: 800_000_000, code: 3, detail: 0 });
		await meter.sendRows(0, [row(1, { tariff: 2 })]);
		for (let count = 0; count < 5; count++) await meter.sendReading();
		await bench.step();
		const before = bench.summary(meter.id);
		assert.deepEqual(before.missing, [{ first: 2, next: 4 }]);
		await bench.stopHeadEnd();
		await meter.addRows(row(5)); // kept by the broker for our session
		await bench.startHeadEnd();
		await bench.settle();
		const after = bench.summary(meter.id);
		assert.deepEqual(after.missing, []);
		assert.equal(after.profileNext, 6);
		assert.equal(after.profileStored, 6);
		assert.equal(after.conflicts, 1);
		assert.equal(after.readings, 5);
		assert.equal(after.eventsStored, 1);
		assert.equal(after.increments[0], 5 * 250_000);
		assert.deepEqual(after.lastRegisters, before.lastRegisters);
	}));

test("a broker that dies and comes back: the link returns, and what was missed is fetched", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0));
		await bench.settle();
		const { port } = bench.broker;
		await bench.broker.stop();
		await until("the link is down", () => !bench.link.connected);
		meter.cut();
		meter.rows.push(row(1), row(2));
		assert.equal(await bench.link.barrier(3000), false);
		bench.broker = await TestBroker.start(port);
		assert.equal(await bench.link.barrier(3000), true);
		await meter.connect(bench.broker.url);
		await bench.settle();
		assert.equal(bench.summary(meter.id).profileNext, 3);
		assert.deepEqual(bench.summary(meter.id).missing, []);
		assert.ok(bench.lines.some((line) => /connection lost/.test(line)));
		assert.ok(bench.lines.some((line) => /: connected/.test(line)));
	}));

test("one meter with much to fetch does not keep the others waiting, and requests stay within their limits", () =>
	withBench(async (bench) => {
		const meters = await Promise.all(Array.from({ length: 12 }, () => bench.meter()));
		for (const [index, meter] of meters.entries())
			for (let sequence = 0; sequence < (index === 0 ? 9000 : 100); sequence++) meter.rows.push(row(sequence));
		for (const meter of meters) await meter.connect(bench.broker.url);
		const others = meters.slice(1).map((meter) => meter.id);
		for (let steps = 0; others.some((id) => bench.summary(id).missing.length > 0); steps++) {
			assert.ok(steps < 60, "the others are done long before");
			await bench.step(1);
			await new Promise((resolve) => setTimeout(resolve, 10));
			assert.ok(bench.headEnd.views.statusView().requests.outstanding <= LIMITS.outstandingMax);
		}
		assert.notDeepEqual(bench.summary(meters[0]!.id).missing, []);
		await bench.settle();
		assert.deepEqual(bench.summary(meters[0]!.id).missing, []);
	}));

test("a meter's will shows at once, and nobody asks a meter that is away", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await meter.addRows(row(0));
		await bench.settle();
		assert.equal(bench.headEnd.state(meter.id), "online");
		meter.cut();
		await until("the will", () => bench.headEnd.state(meter.id) === "offline");
		const { sent } = bench.headEnd.messages;
		bench.headEnd.collect();
		await bench.step(400);
		assert.equal(bench.headEnd.messages.sent, sent);
		await assert.rejects(bench.headEnd.ask(meter.id, Kind.captureRequest), /not connected/);
	}));

test("capture, snapshot and diagnostics are asked and answered; no answer is told after 10 s", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await bench.settle();
		const snapshot = (await bench.headEnd.ask(meter.id, Kind.snapshotRequest)) as SnapshotView;
		assert.deepEqual(snapshot.registers[0], {
			obis: "1-0:1.8.0",
			name: "A+ active import",
			unit: "Wh",
			value: 123_456_789,
		});
		const diagnostics = (await bench.headEnd.ask(meter.id, Kind.diagnosticsRequest)) as DiagnosticsView;
		assert.deepEqual(
			diagnostics.entries.map((entry) => entry.name),
			["uptimeSeconds", "bootCount", "refusals badLength"],
		);
		meter.captureChannels = [
			{ microunitsPerCode: 12_500, codes: [0, 26_000, -26_000] },
			{ microunitsPerCode: 3_500, codes: [0, 1000, -1000] },
			{ microunitsPerCode: 3_500, codes: [1, 2, 3] },
		];
		const both = await Promise.all([
			bench.headEnd.ask(meter.id, Kind.captureRequest),
			bench.headEnd.ask(meter.id, Kind.captureRequest),
		]);
		assert.equal(both[0], both[1], "callers share one request");
		assert.deepEqual((both[0] as CaptureView).channels, [
			{ name: "U1", unit: "V", values: [0, 325, -325] },
			{ name: "I1", unit: "A", values: [0, 3.5, -3.5] },
			{ name: "IN", unit: "A", values: [0.0035, 0.007, 0.0105] },
		]);
		meter.captureChannels = undefined;
		const unanswered = bench.headEnd.ask(meter.id, Kind.captureRequest);
		const told = assert.rejects(unanswered, (error: AskError) => error.reason === "timedOut");
		for (let steps = 0; steps < 11; steps++) await bench.step(1);
		await told;
	}));
