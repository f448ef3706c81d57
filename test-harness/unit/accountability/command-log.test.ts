import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { Source } from "../../../src/commands/authorisation.js";
import { createAuditHead, decodeAuditHead } from "../../../src/messages/audit.js";
import { CommandKind, createLoadLimit, encodeLoadLimit } from "../../../src/messages/command.js";
import { createReceipt, Outcome } from "../../../src/messages/receipt.js";
import { ChainedFile, verifyChainedFile } from "../../accountability/chained-file.js";
import { anchorsInRows, CommandLog, type CreatedCommand, verifyOwnLog } from "../../accountability/command-log.js";
import { NOW, World } from "../commands/world.js";

const folder = mkdtempSync(join(tmpdir(), "wattlock-command-log-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newPath = () => join(folder, `${++files}.log`);
const METER = "000d6f0000001234";
const OTHER = "000d6f0000005678";

function disconnect(
	log: CommandLog,
	meters: readonly string[] = [METER],
	way: "headEnd" | "headEndBroadcast" = "headEnd",
) {
	return log.create(NOW, "desk", way, meters, CommandKind.disconnect, NOW + 600, (view, at) => {
		view.setUint8(at, 1);
		return 1;
	});
}

/** Sends a command to a meter, and gives the receipt back to the log. */
function carry(log: CommandLog, world: World, created: CreatedCommand) {
	log.sent(NOW, created.id);
	const status = world.send(created.bytes);
	return { status, verdict: log.receipt(NOW + 1, METER, world.receipt()) };
}

function headOf(world: World) {
	const view = new DataView(new ArrayBuffer(64));
	const head = createAuditHead();
	decodeAuditHead(view, world.handler.encodeHead(view), head);
	return head;
}

test("a command's life: created, sent, executed; the same after the log is opened again", () => {
	const path = newPath();
	const world = new World();
	let log = CommandLog.open(path, NOW);
	const created = disconnect(log);
	assert.equal(log.entry(created.id, METER)!.state, "created");
	assert.deepEqual(
		log.due(NOW, 30).map(({ id }) => id),
		[created.id],
	);
	log.sent(NOW, created.id);
	assert.equal(log.entry(created.id, METER)!.state, "sent");
	assert.equal(log.due(NOW + 29, 30).length, 0);
	assert.equal(log.due(NOW + 30, 30).length, 1);
	assert.deepEqual(log.bytesOf(created.id), created.bytes);
	assert.equal(world.send(created.bytes), Status.ok);
	const receipt = world.receipt();
	assert.equal(log.receipt(NOW + 1, METER, receipt), "ok");
	const rows = log.file.head;
	assert.equal(log.receipt(NOW + 2, METER, receipt), "ok");
	assert.equal(log.file.head, rows, "the same again says nothing new");
	const entry = { ...log.entry(created.id, METER)! };
	assert.deepEqual([entry.state, entry.status, entry.rowSequence, entry.detail], ["executed", Status.ok, 2, 0]);
	assert.equal(log.due(NOW + 100, 30).length, 0);
	const view = JSON.stringify(log.view());
	log.close();
	log = CommandLog.open(path, NOW);
	assert.deepEqual(log.entry(created.id, METER), entry);
	assert.equal(JSON.stringify(log.view()), view);
	assert.deepEqual(
		log.anchorsOf(METER).map(({ sequence }) => sequence),
		[2],
	);
	assert.notEqual(disconnect(log).id, created.id);
	log.close();
});

test("states: failed, refused, expired, interrupted, unknown", () => {
	const log = CommandLog.open(newPath(), NOW);
	const world = new World();
	world.device.relayStatus = Status.timedOut;
	const failed = disconnect(log);
	assert.equal(carry(log, world, failed).verdict, "ok");
	assert.equal(log.entry(failed.id, METER)!.state, "failed");
	world.device.relayStatus = Status.ok;
	const expired = disconnect(log);
	world.utcSeconds = NOW + 601;
	assert.equal(carry(log, world, expired).status, Status.expired);
	assert.equal(log.entry(expired.id, METER)!.state, "expired");
	const refused = disconnect(log);
	world.utcSeconds = Number.NaN;
	assert.equal(carry(log, world, refused).status, Status.clockInvalid);
	assert.equal(log.entry(refused.id, METER)!.state, "refused");
	world.utcSeconds = NOW;
	const interrupted = disconnect(log);
	world.flash.powerCut(3, 0);
	assert.throws(() => world.send(interrupted.bytes));
	world.flash.restart();
	const again = new World(world.flash, world.device);
	assert.equal(log.receipt(NOW, METER, again.receipt()), "ok");
	assert.equal(log.entry(interrupted.id, METER)!.state, "interrupted");
	const silent = disconnect(log);
	assert.equal(log.giveUp(NOW + 600, 60).length, 0);
	assert.deepEqual(
		log.giveUp(NOW + 661, 60).map(({ id }) => id),
		[silent.id],
	);
	assert.equal(log.entry(silent.id, METER)!.state, "unknown");
	// A receipt that comes after all is believed.
	assert.equal(carry(log, again, silent).verdict, "ok");
	assert.equal(log.entry(silent.id, METER)!.state, "executed");
	log.close();
});

test("receipts that are not believed, and are written down all the same", () => {
	const log = CommandLog.open(newPath(), NOW);
	const world = new World();
	const created = disconnect(log);
	assert.equal(world.send(created.bytes, Source.concentrator), Status.notAuthorised);
	assert.equal(log.receipt(NOW, METER, world.receipt()), "intruder");
	assert.equal(log.entry(created.id, METER)!.state, "created", "still to be sent");
	world.send(created.bytes);
	const good = world.receipt();
	assert.equal(log.receipt(NOW, OTHER, good), "foreign meter");
	assert.equal(log.receipt(NOW, METER, { ...good, commandId: new Uint8Array(8) }), "foreign command");
	assert.equal(log.receipt(NOW, METER, { ...good, digest: new Uint8Array(16) }), "other bytes");
	assert.equal(log.receipt(NOW, METER, { ...good, senderAnchor: new Uint8Array(16) }), "other anchor");
	assert.equal(log.receipt(NOW, METER, { ...createReceipt(), commandId: good.commandId }), "not there");
	assert.equal(log.entry(created.id, METER)!.state, "created");
	assert.equal(log.receipt(NOW, METER, good), "ok");
	assert.equal(log.entry(created.id, METER)!.state, "executed");
	const verdicts = log.file.rows.filter(({ type }) => type === "receipt").map((row) => row["verdict"]);
	assert.equal(verdicts.length, 7);
	log.close();
});

test("a broadcast: one id, a state for each meter", () => {
	const log = CommandLog.open(newPath(), NOW);
	const created = log.create(
		NOW,
		"desk",
		"headEndBroadcast",
		[METER, OTHER],
		CommandKind.loadLimit,
		NOW + 60,
		(view, at) => encodeLoadLimit({ ...createLoadLimit(), limitWatts: 3000 }, view, at),
	);
	log.sent(NOW, created.id);
	const world = new World();
	assert.equal(world.send(created.bytes, Source.headEndBroadcast), Status.ok);
	assert.equal(log.receipt(NOW, METER, world.receipt()), "ok");
	assert.equal(log.entry(created.id, METER)!.state, "executed");
	assert.equal(log.entry(created.id, OTHER)!.state, "sent");
	log.close();
});

test("our own mistakes are not sent", () => {
	const log = CommandLog.open(newPath(), NOW);
	const rows = log.file.head;
	assert.throws(() => log.create(NOW, "desk", "headEnd", [METER], CommandKind.connect, NOW, () => 0), /badLength/);
	assert.equal(log.file.head, rows);
	log.close();
});

/** A log with a few commands done, and what the meters then hold of it. */
function past() {
	const path = newPath();
	const log = CommandLog.open(path, NOW);
	const world = new World();
	for (let i = 0; i < 3; i++) carry(log, world, disconnect(log));
	log.note(NOW, "meter taken in", { meter: OTHER });
	const anchor = new Uint8Array(28);
	log.encodeAnchorMessage(new DataView(anchor.buffer));
	world.send(anchor);
	const head = headOf(world);
	assert.equal(log.meterHead(NOW, METER, head).status, "ok");
	log.close();
	const bytes = readFileSync(path);
	const anchors = [
		...anchorsInRows(METER, world.rows()),
		{ meter: METER, place: head.held.place, chain: head.held.chain },
	];
	return { path, bytes, anchors, world };
}

test("the head end's own log: every byte changed is found; truncation at every row is found, given what meters hold", () => {
	const { path, bytes, anchors } = past();
	assert.equal(verifyOwnLog(path, anchors).status, "ok");
	assert.equal(anchors.length, 5);
	const heldRows = anchors.map(({ place }) => Buffer.from(place).readUInt32BE(4));
	const ends = [0];
	for (let at = 0; at < bytes.length; at++) if (bytes[at] === 0x0a) ends.push(at + 1);
	// The last line's end is left out: without it the row looks like one that a crash cut off, and nobody holds it yet.
	for (let at = 0; at < bytes.length - 1; at++) {
		const tampered = Buffer.from(bytes);
		tampered[at]! ^= at % 2 === 0 ? 1 : 0x20;
		writeFileSync(path, tampered);
		const verdict = verifyOwnLog(path, anchors);
		assert.notEqual(verdict.status, "ok", `byte ${at}`);
		const row = ends.filter((end) => end <= at).length;
		assert.ok(verdict.sequence >= row && verdict.sequence <= row + 1, `byte ${at} of row ${row}: ${verdict.text}`);
	}
	for (let kept = 0; kept < ends.length - 1; kept++) {
		writeFileSync(path, bytes.subarray(0, ends[kept]));
		const verdict = verifyOwnLog(path, anchors);
		// What was written after the newest anchor went out nobody else has seen.
		const expected = kept < Math.max(...heldRows) ? "truncated" : "ok";
		assert.equal(verdict.status, expected, `${kept} rows kept`);
		if (expected === "truncated") assert.equal(verdict.sequence, kept + 1);
	}
	unlinkSync(path);
	assert.equal(verifyOwnLog(path, anchors).status, "truncated", "gone altogether");
});

test("a log written anew, chain and all, is found by what meters hold", () => {
	const { path, bytes, anchors } = past();
	const rows = bytes
		.toString()
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line.slice(33)) as Record<string, unknown>);
	for (let changed = 1; changed < rows.length; changed++) {
		unlinkSync(path);
		const forged = ChainedFile.open(path);
		for (const [i, { sequence: _, utcSeconds, type, ...fields }] of rows.entries())
			forged.append(utcSeconds as number, type as string, i === changed ? { ...fields, operator: "someone" } : fields);
		forged.close();
		assert.equal(verifyChainedFile(path).status, "ok", "by itself it looks good");
		const newest = Math.max(...anchors.map(({ place }) => Buffer.from(place).readUInt32BE(4)));
		assert.equal(verifyOwnLog(path, anchors).status, changed + 1 <= newest ? "rewritten" : "ok", `row ${changed + 1}`);
	}
});

test("a crash in a write: the torn row is cut off and told; a changed file is not written to", () => {
	const { path, bytes, anchors } = past();
	appendFileSync(path, "0123456789abcdef01");
	assert.equal(verifyOwnLog(path, anchors).status, "ok");
	assert.equal(readFileSync(path).length, bytes.length + 18, "looking changes nothing");
	const log = CommandLog.open(path, NOW);
	assert.equal(log.file.rows.at(-1)!.type, "torn");
	assert.equal(log.checkAnchors(anchors).status, "ok");
	log.close();
	// Every torn length of the last row.
	const last = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1;
	for (let byteLength = last; byteLength < bytes.length; byteLength += 7) {
		writeFileSync(path, bytes);
		truncateSync(path, byteLength);
		const opened = CommandLog.open(path, NOW);
		assert.equal(opened.file.rows.at(-1)!.type, byteLength === last ? "note meter taken in" : "torn");
		opened.close();
		assert.equal(verifyChainedFile(path).status, "ok");
	}
	const tampered = Buffer.from(bytes);
	tampered[100]! ^= 1;
	writeFileSync(path, tampered);
	assert.throws(() => CommandLog.open(path, NOW), /nothing is written/);
});

test("while it runs the log sees what a meter's head says of it", () => {
	const log = CommandLog.open(newPath(), NOW);
	const world = new World();
	carry(log, world, disconnect(log));
	const head = headOf(world);
	assert.equal(log.meterHead(NOW, METER, head).status, "ok");
	assert.equal(
		log.meterHead(NOW, METER, { ...head, held: { ...head.held, chain: new Uint8Array(16) } }).status,
		"rewritten",
	);
	const far = log.placeOf(log.file.head + 5);
	assert.equal(
		log.meterHead(NOW, METER, { ...head, held: { place: far, chain: new Uint8Array(16) } }).status,
		"truncated",
	);
	// Another head end's log is not ours to judge.
	assert.equal(
		log.checkAnchors([{ meter: METER, place: new Uint8Array(8).fill(1), chain: new Uint8Array(16) }]).status,
		"ok",
	);
	log.close();
});

test("a thousand receipts of a broadcast: bytes and time", (t) => {
	const log = CommandLog.open(newPath(), NOW);
	const meters = Array.from({ length: 1000 }, (_, i) => i.toString(16).padStart(16, "0"));
	const created = disconnect(log, meters, "headEndBroadcast");
	const before = readFileSync(log.file.path).length;
	const receipt = { ...createReceipt(), outcome: Outcome.executed, status: Status.ok, rowSequence: 2, headSequence: 2 };
	receipt.commandId.set(Buffer.from(created.id, "hex"));
	receipt.senderAnchor.set(log.file.chain(created.sequence)!);
	receipt.digest.set(Buffer.from(log.file.rows[created.sequence - 1]!["digest"] as string, "hex"));
	const start = process.hrtime.bigint();
	for (const meter of meters) assert.equal(log.receipt(NOW, meter, receipt), "ok");
	const milliseconds = Number(process.hrtime.bigint() - start) / 1e6;
	const perReceipt = (readFileSync(log.file.path).length - before) / 1000;
	t.diagnostic(`${perReceipt.toFixed(0)} B and ${(milliseconds / 1000).toFixed(2)} ms a receipt, synced`);
	assert.equal(log.view().length, 1000);
	log.close();
});
