import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { Kind } from "../../../src/messages/kinds.js";
import type { DiagnosticsView } from "../../head-end/api.js";
import { Bench, START_EPOCH, START_UTC } from "./bench.js";
import { row, until } from "./fake-meter.js";

async function withBench(run: (bench: Bench) => Promise<void>): Promise<void> {
	const bench = await new Bench(undefined, true).start();
	try {
		await run(bench);
	} finally {
		await bench.close();
	}
}

const pause = (milliseconds = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Steps until the meter has been witnessed and its hello is in. */
async function heard(bench: Bench, id: string): Promise<void> {
	const meter = bench.meters.find((each) => each.id === id)!;
	for (let steps = 0; steps < 50 && !bench.headEnd.has(id); steps++) {
		if (steps % 4 === 3 && !meter.keys!.store.isWitnessed) await meter.askWitness();
		await bench.step(1);
		await pause(5);
	}
	assert.ok(bench.headEnd.has(id), `meter ${id} is heard`);
}

test("witness, time, hello, rows, gaps: everything that works in clear works sealed", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		for (let sequence = 0; sequence < 230; sequence++) meter.rows.push(row(sequence));
		meter.rows.splice(100, 1);
		await meter.connect(bench.broker.url);
		await heard(bench, meter.id);
		await bench.settle();
		await meter.addRows(row(230));
		await bench.settle();
		const summary = bench.summary(meter.id);
		assert.equal(summary.profileNext, 231);
		assert.deepEqual(summary.missing, []);
		assert.deepEqual(summary.gone, [{ first: 100, next: 101 }]);
		assert.ok(
			meter.keys!.witnessedHead >= 1 && meter.keys!.witnessedHead <= meter.keys!.store.headSequence,
			"witnessed",
		);
		assert.ok(Math.abs(meter.keys!.timeSeconds - bench.clock.utcSeconds()) < 60, `time: ${meter.keys!.timeSeconds}`);
		const view = bench.headEnd.views.meterView(meter.id)!.security!;
		assert.equal(view.state, "open");
		assert.equal(view.today, START_EPOCH);
		assert.equal(view.endToEnd!.epoch, START_EPOCH);
		assert.equal(view.confirmedGeneration, 1, "the head end knows that the meter has its keys");
		assert.ok(view.endToEnd!.accepted > 5, "messages were opened");
		assert.equal(view.concentrator!.epoch, START_EPOCH);
		assert.ok(view.concentrator!.witnessedHead >= 1, "a head was witnessed");
		assert.equal(view.anchorEpoch, START_EPOCH);
		assert.deepEqual(view.refusals, {});
		const clear = [...meter.heard, ...meter.said].filter((payload) => payload[0] === 1 && payload[1] === 0);
		assert.deepEqual(clear, [], "nothing went in clear");
		const diagnostics = (await bench.headEnd.ask(meter.id, Kind.diagnosticsRequest)) as DiagnosticsView;
		assert.ok(diagnostics.entries.length > 0, "diagnostics through the secured channel");
	}));

test("commands are repeated as the same bytes until downNext acknowledges them, and not after", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await heard(bench, meter.id);
		await bench.settle();
		const other: string[] = [];
		meter.onOther = (message) => void other.push(Buffer.from(message).toString("hex"));
		meter.cut();
		await until("the will", () => bench.headEnd.state(meter.id) === "offline");
		const message = Uint8Array.of(0x90, 1, 2, 3);
		assert.ok(bench.security.send(meter.id, message, message.length), "sealed");
		await bench.security.flushed();
		assert.equal(bench.security.endToEnd.view(meter.id)!.kept, 1);
		await bench.stopHeadEnd();
		await bench.startHeadEnd();
		assert.equal(bench.security.endToEnd.view(meter.id)!.kept, 1, "kept over a restart");
		const from = meter.heard.length;
		await meter.connect(bench.broker.url);
		await bench.step(1);
		await until("the command", () => other.length > 0);
		await bench.settle();
		await meter.sendReading();
		await bench.step(1);
		assert.deepEqual(other, ["90010203"], "acted on once, though it came more than once");
		const copies = meter.heard.slice(from).filter((payload) => payload[0] === 0x09 && payload.length === 4 + 2 + 18);
		assert.ok(copies.length >= 1, "it came");
		assert.ok(
			copies.every((copy) => copy.equals(copies[0]!)),
			"the same bytes",
		);
		assert.equal(bench.security.endToEnd.view(meter.id)!.kept, 0, "acknowledged");
		for (let seconds = 0; seconds < 120; seconds += 10) await bench.step(10);
		assert.equal(bench.security.endToEnd.view(meter.id)!.kept, 0);
	}));

test("no more than 32 are sealed without an acknowledgement, and answers for the time leave room", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await heard(bench, meter.id);
		await bench.settle();
		await meter.sendReading();
		await bench.step(1);
		const { downNext, acknowledged } = bench.security.endToEnd.view(meter.id)!;
		assert.equal(downNext, acknowledged, "everything so far is acknowledged");
		for (let times = 0; times < 40; times++) {
			await meter.askTime();
			await bench.step(1);
		}
		await pause();
		const afterTimes = bench.security.endToEnd.view(meter.id)!;
		assert.equal(afterTimes.downNext - acknowledged, 24, "answers for the time take no more than 24 of the window");
		const message = Uint8Array.of(0x90, 1, 0, 0);
		let sealed = 0;
		while (bench.security.send(meter.id, message, 4)) sealed++;
		assert.equal(sealed, 8, "and 8 are left for what can be repeated");
		await bench.security.flushed();
		await pause();
		await meter.sendReading();
		await bench.step(1);
		assert.equal(bench.security.endToEnd.view(meter.id)!.kept, 0, "one reading acknowledges all");
		assert.ok(bench.security.send(meter.id, message, 4), "and the window is open again");
	}));

test("a day begins: anchor retained, chains new, yesterday's heard until the end of interval 1", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		const late = await bench.meter();
		await meter.connect(bench.broker.url);
		await late.connect(bench.broker.url);
		await heard(bench, meter.id);
		await heard(bench, late.id);
		await bench.settle();
		late.cut();
		const midnight = (START_EPOCH + 1) * 86_400;
		// sealed before midnight, on its way when the day begins
		const yesterday = late.keys!.data(Uint8Array.of(...new Uint8Array(4)), 4);
		await bench.step(midnight - START_UTC - bench.clock.utcSeconds() + START_UTC - 5);
		await bench.step(10);
		await until("the anchor", () => meter.keys!.store.epoch === START_EPOCH + 1);
		await meter.sendReading();
		await bench.step(1);
		assert.equal(bench.security.endToEnd.view(meter.id)!.epoch, START_EPOCH + 1);
		const before = bench.security.endToEnd.counters.counts[Status.ok]!;
		await bench.servers.receive(`wattlock/v1/${late.id}/up`, yesterday);
		assert.equal(bench.security.endToEnd.counters.counts[Status.ok], before + 1, "yesterday's message is opened");
		await late.connect(bench.broker.url);
		await until("the retained anchor", () => late.keys!.store.epoch === START_EPOCH + 1);
		await bench.step(1);
		await pause();
		await bench.step(1);
		assert.equal(bench.headEnd.state(late.id), "online");
		const tooLate = late.said.findLast((payload) => payload.readUInt16BE(5) === START_EPOCH && payload[0] === 0x08)!;
		await bench.step(1800);
		const timedOut = bench.security.endToEnd.counters.counts[Status.timedOut]!;
		await bench.servers.receive(`wattlock/v1/${late.id}/up`, tooLate);
		assert.equal(bench.security.endToEnd.counters.counts[Status.timedOut], timedOut + 1, "then its keys are gone");
		assert.equal(bench.concentrator.anchorEpoch, START_EPOCH + 1);
		assert.equal(bench.servers.concentrator!.neighbourhood.report(late.id)!.epoch, START_EPOCH + 1);
	}));

test("hostile bytes: replayed, flipped, of another meter, of another day, from nobody; each is counted and changes nothing", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		const other = await bench.meter();
		for (const each of [meter, other]) {
			await each.connect(bench.broker.url);
			await heard(bench, each.id);
		}
		await bench.settle();
		await meter.sendReading();
		await bench.step(1);
		const said = meter.said[meter.said.length - 1]!;
		const { counts } = bench.security.endToEnd.counters;
		const refused = async (status: Status, bytes: Uint8Array, what: string, id = meter.id): Promise<void> => {
			const before = counts[status]!;
			const { stored } = bench.headEnd.messages;
			await bench.servers.receive(`wattlock/v1/${id}/up`, bytes);
			assert.equal(counts[status], before + 1, what);
			assert.equal(bench.headEnd.messages.stored, stored, `${what}: nothing was taken in`);
		};
		await refused(Status.replayed, said, "the same again");
		const next = meter.keys!.data(Uint8Array.of(2, 1, 0, 0), 4);
		const flipped = Buffer.from(next);
		flipped[14]! ^= 4;
		await refused(Status.badTag, flipped, "one bit");
		await refused(Status.notFound, next, "under another meter's topic", other.id);
		const far = Buffer.from(next);
		far.writeUInt16BE(START_EPOCH + 40, 5);
		await refused(Status.clockInvalid, far, "of a day to come");
		far.writeUInt16BE(START_EPOCH - 1, 5);
		await refused(Status.timedOut, far, "of a day that is over");
		far.writeUInt16BE(START_EPOCH, 5);
		far.writeUInt16BE(60_000, 7);
		await refused(Status.outOfOrder, far, "far ahead");
		await refused(Status.notFound, next, "a meter that nobody knows", "00000000000000ff");
		assert.ok(!bench.headEnd.has("00000000000000ff"));
		const before = counts[Status.ok]!;
		await bench.servers.receive(`wattlock/v1/${meter.id}/up`, next);
		assert.equal(counts[Status.ok], before + 1, "and the true one is opened after all that");
		const random = Buffer.alloc(40);
		for (let round = 0; round < 500; round++) {
			for (let i = 0; i < random.length; i++) random[i] = (round * 31 + i * 7) & 0xff;
			random[9] = round & 3;
			await bench.servers.receive(`wattlock/v1/${meter.id}/up`, random.subarray(0, 1 + (round % 40)));
		}
		await meter.sendReading();
		await bench.step(1);
		assert.equal(bench.summary(meter.id).readings, 2, "the meter is heard as before");
	}));

test("flash that was put back: the concentrator tells a larger head, and the meter stays silent", () =>
	withBench(async (bench) => {
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await heard(bench, meter.id);
		await bench.settle();
		const old = meter.keys!.flash.image.slice();
		// Each boot writes records, and the question after it tells their count.
		for (let boots = 0; boots < 4; boots++) {
			await meter.sendReading();
			meter.cut();
			meter.keys!.boot();
			await meter.connect(bench.broker.url);
			await until("the question", () => meter.said.length > 0);
			await bench.step(1);
			await until("the witness", () => meter.keys!.store.isWitnessed);
		}
		await bench.stopHeadEnd();
		await bench.startHeadEnd(); // what was witnessed is on the disk
		meter.cut();
		meter.keys!.putBack(old);
		assert.ok(!meter.keys!.store.isWitnessed, "after a boot");
		await meter.connect(bench.broker.url);
		await bench.step(1);
		await pause();
		const { counts } = bench.concentrator.neighbourhood.counters;
		assert.ok(counts[Status.replayed]! > 0, "it asks under indices that were used");
		assert.ok(!meter.keys!.store.isWitnessed, "and is not answered");
		for (let asked = 0; asked < 400 && !meter.keys!.store.isRolledBack; asked++) {
			await meter.askWitness();
			if (asked % 40 !== 39) continue;
			await bench.step(1);
			await pause();
		}
		assert.ok(meter.keys!.store.isRolledBack, "the meter knows");
		assert.equal(meter.keys!.data(Uint8Array.of(1, 1), 2).length, 0, "and seals nothing");
	}));

test("renewed keys: both generations are heard until the meter shows which it has", () =>
	withBench(async (bench) => {
		const { createDeviceFile } = await import("../../../src/provisioning/device-file.js");
		const { FakeKeys } = await import("./fake-keys.js");
		const meter = await bench.meter();
		await meter.connect(bench.broker.url);
		await heard(bench, meter.id);
		await bench.settle();
		const file = createDeviceFile();
		bench.registry!.renewMeter(meter.id, START_EPOCH, file);
		await bench.step(3);
		await meter.sendReading();
		await bench.step(1);
		assert.equal(bench.summary(meter.id).readings, 1, "the old keys are heard");
		meter.cut();
		meter.keys = new FakeKeys(file);
		await meter.connect(bench.broker.url);
		await bench.step(1);
		await until("the witness", () => meter.keys!.store.isWitnessed);
		await bench.step(1);
		await pause();
		await meter.sendReading();
		await bench.step(1);
		assert.equal(bench.registry!.meter(meter.id)!.confirmedGeneration, 2, "the new keys are known");
		assert.equal(bench.summary(meter.id).readings, 2);
		bench.registry!.decommission(meter.id);
		await bench.step(3);
		await meter.sendReading();
		await bench.step(1);
		assert.equal(bench.summary(meter.id).readings, 2, "after decommissioning nothing is believed");
	}));

test("a technician's authorisation and the head end never seal under one index", () =>
	withBench(async (bench) => {
		const { openAuthority } = await import("../../provisioning/registry-authority.js");
		const { FileLock } = await import("../../provisioning/sealed-file.js");
		const { join } = await import("node:path");
		const meter = await bench.meter();
		await bench.step(3);
		await meter.connect(bench.broker.url);
		await heard(bench, meter.id);
		await bench.settle();
		const lock = FileLock.ofKeyFile(join(bench.registryFolder, "registry.key"), false);
		const authority = openAuthority(bench.registryFolder, lock);
		const message = Uint8Array.of(0xa0, 1);
		const ask = (): Uint8Array => authority.authorise(meter.id, 1, START_EPOCH, message);
		assert.throws(ask, /in use by process/, "while the head end runs");
		const before = bench.security.endToEnd.view(meter.id)!.downNext;
		await bench.stopHeadEnd();
		assert.equal(Buffer.from(ask()).readUInt16BE(7), before, "it goes on where the head end stopped");
		authority.close();
		await bench.startHeadEnd();
		assert.equal(bench.security.endToEnd.view(meter.id)!.downNext, before + 1, "and the head end behind it");
	}));
