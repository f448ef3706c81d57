import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import {
	FLASH_LOG,
	isAuthorised,
	OPTICAL_LOG,
	REFUSALS_AN_HOUR,
	SOURCE_COUNT,
	Source,
	sourceName,
} from "../../../src/commands/authorisation.js";
import { COMMAND_LIFETIME_SECONDS_MAX, RECEIPTS_WAITING_MAX } from "../../../src/commands/command-handler.js";
import { encodeFlashCommand } from "../../../src/commands/flash-command.js";
import {
	AuditCode,
	createAuditHead,
	decodeAuditHead,
	encodeAnchor,
	encodeAuditRequest,
} from "../../../src/messages/audit.js";
import {
	COMMAND_BYTES_MAX,
	CommandKind,
	commandName,
	createDemandResponseEvent,
	createLoadLimit,
	createPrices,
	createTariffTable,
	encodeDemandResponse,
	encodeLoadLimit,
	encodePrices,
	encodeTariffTable,
	NO_TIME,
} from "../../../src/messages/command.js";
import { Kind } from "../../../src/messages/kinds.js";
import { encodeReceiptRequest, Outcome } from "../../../src/messages/receipt.js";
import { commandDigest } from "../../accountability/command-log.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { ROOT } from "../../root.js";
import { auditOf, command, FakeDevice, IDENTIFIER, idOf, NOW, newFlash, World } from "./world.js";

const table = createTariffTable();
table.validFromSeconds = 0;
table.switchCount = 2;
table.minutes.set([360, 1320]);
table.tariffs.set([1, 2]);
const prices = createPrices();
prices.validFromSeconds = 0;
prices.tariffCount = 2;
prices.prices.set([31_000, 22_000]);

/** One good command of each kind. */
function oneOfEach(firstRow = 1, log?: number): Map<number, Uint8Array> {
	let row = firstRow;
	const make = (kind: number, body: Parameters<typeof command>[2]) =>
		command(kind, row++, body, NOW + 60, log === undefined ? undefined : idOf(row, log));
	return new Map<number, Uint8Array>([
		[CommandKind.connect, make(CommandKind.connect, Uint8Array.of(0))],
		[CommandKind.disconnect, make(CommandKind.disconnect, Uint8Array.of(3))],
		[
			CommandKind.loadLimit,
			make(CommandKind.loadLimit, (view, at) => encodeLoadLimit({ ...createLoadLimit(), limitWatts: 2000 }, view, at)),
		],
		[CommandKind.price, make(CommandKind.price, (view, at) => encodePrices(prices, view, at))],
		[CommandKind.tariffCalendar, make(CommandKind.tariffCalendar, (view, at) => encodeTariffTable(table, view, at))],
		[
			CommandKind.demandResponse,
			make(CommandKind.demandResponse, (view, at) =>
				encodeDemandResponse({ ...createDemandResponseEvent(), startSeconds: NOW, durationSeconds: 60 }, view, at),
			),
		],
		[CommandKind.clock, make(CommandKind.clock, Uint8Array.of(0, 0, 0, 60))],
		[CommandKind.configure, make(CommandKind.configure, Uint8Array.of(1, 1, 0, 0, 0, 30))],
		[CommandKind.profileRead, make(CommandKind.profileRead, Uint8Array.of(0, 0, 0, 1, 0, 8))],
		[CommandKind.keyMaintenance, make(CommandKind.keyMaintenance, Uint8Array.of(1))],
		[CommandKind.decommission, make(CommandKind.decommission, IDENTIFIER)],
	]);
}

/** Log number that a source's commands must have. */
function logOf(source: number): number | undefined {
	if (source === Source.optical) return OPTICAL_LOG;
	return source === Source.headEndFlash ? FLASH_LOG : undefined;
}

test("every kind from every source: obeyed when the table says so, else refused, and a receipt in both cases", () => {
	for (let source = 0; source < SOURCE_COUNT; source++)
		for (const [kind, message] of oneOfEach(1, logOf(source))) {
			const world = new World();
			const before = [...world.device.done];
			const where = `${commandName(kind)} from ${sourceName(source)}`;
			const status = world.send(message, source);
			const receipt = world.receipt();
			assert.deepEqual(Buffer.from(receipt.digest), commandDigest(message), where);
			if (isAuthorised(source, kind)) {
				assert.equal(status, Status.ok, where);
				assert.equal(receipt.outcome, Outcome.executed, where);
				assert.equal(receipt.endedSeconds, NOW, where);
				assert.equal(receipt.rowSequence, receipt.headSequence, where);
			} else {
				assert.equal(status, Status.notAuthorised, where);
				assert.equal(receipt.outcome, Outcome.refused, where);
				assert.equal(receipt.status, Status.notAuthorised, where);
				assert.equal((receipt.detail >>> 16) & 0xff, source, where);
				assert.deepEqual(world.device.done, before, `${where}: nothing is done`);
			}
		}
});

test("a stolen concentrator can order nothing, by no way", () => {
	for (const source of [Source.concentrator, Source.concentratorBroadcast])
		for (let kind = 0; kind < 256; kind++) assert.ok(!isAuthorised(source, kind), `${sourceName(source)} ${kind}`);
	for (let kind = 0; kind < 256; kind++) assert.ok(!isAuthorised(SOURCE_COUNT, kind), "no such source");
});

test("the table in docs/DESIGN-COMMANDS.md is the one of the code", () => {
	const text = readFileSync(join(ROOT, "docs/DESIGN-COMMANDS.md"), "utf8");
	for (const [name, kind] of Object.entries(CommandKind)) {
		const cells = Object.values(Source).map((source) => (isAuthorised(source, kind) ? "yes" : "–"));
		const row = text
			.split("\n")
			.map((line) => line.replace(/\s*\|\s*/g, "|"))
			.find((line) => line.startsWith(`|${name}|`) && line.split("|").length === SOURCE_COUNT + 3);
		assert.equal(row, `|${name}|${cells.join("|")}|`);
	}
});

test("each command reaches its place", () => {
	const world = new World();
	const messages = oneOfEach();
	const send = (kind: number) => world.send(messages.get(kind)!);
	assert.equal(send(CommandKind.disconnect), Status.ok);
	assert.equal(world.device.relay, false);
	assert.equal(world.receipt().detail, 0, "the receipt tells the relay: open");
	assert.equal(send(CommandKind.connect), Status.ok);
	assert.equal(world.device.relay, true);
	assert.equal(world.receipt().detail, 1, "closed");
	send(CommandKind.loadLimit);
	assert.equal(world.supply.state.loadLimit.limitWatts, 2000);
	send(CommandKind.price);
	assert.deepEqual(
		[1, 2, 3].map((tariff) => world.supply.priceOf(tariff)),
		[31_000, 22_000, Number.NaN],
	);
	send(CommandKind.tariffCalendar);
	send(CommandKind.clock);
	send(CommandKind.configure);
	send(CommandKind.profileRead);
	send(CommandKind.decommission);
	assert.deepEqual(world.device.done.slice(4), [
		"calendar 2",
		"clock 60",
		"configuration 30 0",
		"profile 1 8",
		"decommission",
	]);
	send(CommandKind.demandResponse);
	world.supply.tick(world.now, NOW, 0);
	assert.equal(world.supply.responsePhase, 2);
	world.answers();
	send(CommandKind.keyMaintenance);
	assert.equal(world.receipt().detail, 77, "the head of the key journal");
	assert.equal(auditOf(world).verify().status, "ok");
});

test("the same again, however it comes: not done again, and the same receipt", () => {
	const world = new World();
	const message = command(CommandKind.profileRead, 4, Uint8Array.of(0, 0, 0, 1, 0, 8));
	assert.equal(world.send(message), Status.ok);
	const first = world.receipt();
	const rows = world.rows().length;
	for (const [source, isExpired] of [
		[Source.headEnd, false],
		[Source.headEnd, true],
	] as const) {
		assert.equal(world.send(message, source, isExpired), Status.replayed);
		assert.deepEqual(world.receipt(), first);
	}
	// Other bytes under the same id: the head end sees by the digest that they were not obeyed.
	const other = command(CommandKind.disconnect, 4, Uint8Array.of(1));
	assert.equal(world.send(other), Status.replayed);
	assert.notDeepEqual(Buffer.from(world.receipt().digest), commandDigest(other));
	assert.equal(world.device.relay, true);
	assert.equal(world.rows().length, rows, "a repetition writes nothing");
	assert.equal(world.device.done.filter((what) => what.startsWith("profile")).length, 1);
	const again = new World(world.flash, world.device);
	again.answers();
	assert.equal(again.send(message), Status.replayed, "nor after a restart");
	assert.equal(again.receipt().outcome, Outcome.executed);
});

test("a concentrator that uses an id first does not keep the head end from using it, nor its receipt", () => {
	const world = new World();
	const message = command(CommandKind.disconnect, 4, Uint8Array.of(1));
	assert.equal(world.send(message, Source.concentrator), Status.notAuthorised);
	assert.equal(world.receipt().status, Status.notAuthorised);
	assert.equal(world.send(message), Status.ok);
	assert.equal(world.receipt().outcome, Outcome.executed);
	assert.equal(world.send(message, Source.concentratorBroadcast), Status.notAuthorised);
	assert.equal(world.receipt().outcome, Outcome.executed, "the true receipt stays");
	// Nor can the optical port or a flash command take an id of a head end's log, or the other way round.
	const read = command(CommandKind.profileRead, 9, Uint8Array.of(0, 0, 0, 1, 0, 8));
	assert.equal(world.send(read, Source.optical), Status.notAuthorised);
	assert.equal(world.send(read), Status.ok);
	const optical = command(CommandKind.profileRead, 9, Uint8Array.of(0, 0, 0, 1, 0, 8), NO_TIME, idOf(9, OPTICAL_LOG));
	assert.equal(world.send(optical), Status.notAuthorised);
	assert.equal(world.send(optical, Source.optical), Status.ok);
});

test("time: expired by its interval, by its second, not at all; far ahead; without a clock", () => {
	const world = new World();
	const send = (row: number, notAfter: number, isExpired = false) => {
		const status = world.send(command(CommandKind.clock, row, Uint8Array.of(0, 0, 0, 9), notAfter), 0, isExpired);
		const receipt = world.receipt();
		assert.equal(receipt.status, status);
		assert.equal(receipt.outcome, status === Status.ok ? Outcome.executed : Outcome.refused);
		return status;
	};
	assert.equal(send(1, NO_TIME, true), Status.expired);
	assert.equal(send(2, NOW - 1), Status.expired);
	assert.equal(send(3, NOW), Status.ok);
	assert.equal(send(4, NO_TIME), Status.ok);
	assert.equal(send(5, NOW + COMMAND_LIFETIME_SECONDS_MAX), Status.ok);
	assert.equal(send(6, NOW + COMMAND_LIFETIME_SECONDS_MAX + 1), Status.badValue);
	world.utcSeconds = Number.NaN;
	assert.equal(send(7, NOW), Status.clockInvalid);
	assert.equal(send(8, NO_TIME), Status.ok);
	assert.equal(world.device.done.filter((what) => what === "clock 9").length, 4);
});

test("what is not a good command is refused, and nothing is done", () => {
	const cases: [string, Uint8Array, number][] = [
		["too short", new Uint8Array(31), Status.badKind],
		["no command", Uint8Array.of(Kind.command, 1), Status.badLength],
		["longer than any", new Uint8Array(COMMAND_BYTES_MAX + 1).fill(Kind.command), Status.badLength],
		["a kind that is not known", command(12, 1, new Uint8Array(1)), Status.notAuthorised],
		["a mode that is not known", command(CommandKind.connect, 1, Uint8Array.of(2)), Status.badValue],
		["a body that is too long", command(CommandKind.connect, 1, Uint8Array.of(0, 0)), Status.badLength],
		["another meter's decommission", command(CommandKind.decommission, 1, idOf(1)), Status.badValue],
		[
			"an interval that does not divide the hour",
			command(CommandKind.configure, 1, Uint8Array.of(1, 2, 0, 0, 0, 61)),
			Status.badValue,
		],
		[
			"one bad parameter of two",
			command(CommandKind.configure, 1, Uint8Array.of(2, 1, 0, 0, 0, 5, 9, 0, 0, 0, 1)),
			Status.badValue,
		],
	];
	for (const [name, message, expected] of cases) {
		const world = new World();
		const before = world.device.done.length;
		assert.equal(world.send(message), expected, name);
		assert.equal(world.device.done.length, before, name);
		assert.equal(world.handler.counters.counts[expected], 1, `${name}: counted`);
	}
	const version = command(CommandKind.connect, 1, Uint8Array.of(0));
	version[1] = 2;
	assert.equal(new World().send(version), Status.badVersion);
});

test("a flood of refusals: so many rows an hour from each way, then a count; the others are still heard", () => {
	const world = new World();
	const rows = () => world.rows().length;
	const flood = (count: number, source: number) => {
		for (let i = 0; i < count; i++) world.send(command(CommandKind.disconnect, 1000 + i, Uint8Array.of(1)), source);
	};
	flood(500, Source.concentrator);
	assert.equal(rows(), REFUSALS_AN_HOUR[Source.concentrator]!);
	assert.ok(world.receipts().length <= RECEIPTS_WAITING_MAX, "and no more receipts than that");
	assert.equal(world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1), NOW - 9)), Status.expired);
	assert.equal(world.receipt().status, Status.expired, "the head end's own refusal is told");
	assert.equal(world.send(command(CommandKind.disconnect, 2, Uint8Array.of(1))), Status.ok);
	world.now += 3_600_000;
	const before = rows();
	flood(1, Source.concentrator);
	assert.equal(rows(), before + 2);
	const counted = world.rows().at(-2)!;
	assert.equal(counted.code, AuditCode.refusalsDropped);
	assert.equal(counted.detail, (Source.concentrator << 24) | (500 - REFUSALS_AN_HOUR[Source.concentrator]!));
	const total = REFUSALS_AN_HOUR.reduce((sum, count) => sum + count) * 24;
	assert.equal(total, 5376, "as authorisation.ts says");
	assert.equal(Math.ceil(total / 63), 86);
});

test("receipts wait until they are on their way, and can be asked for again", () => {
	const world = new World();
	const into = new DataView(new ArrayBuffer(1024));
	world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1)));
	assert.equal(world.handler.transmit(into), 76);
	assert.equal(world.handler.transmit(into), 76, "still there: it could not be sealed");
	world.handler.transmitted();
	assert.equal(world.handler.transmit(into), 0);
	const request = new Uint8Array(12);
	encodeReceiptRequest(idOf(1), new DataView(request.buffer));
	assert.equal(world.send(request), Status.ok);
	assert.equal(world.receipt().outcome, Outcome.executed);
	encodeReceiptRequest(idOf(2), new DataView(request.buffer));
	world.send(request);
	const unknown = world.receipt();
	assert.equal(unknown.outcome, Outcome.unknown);
	assert.deepEqual(unknown.commandId, idOf(2));
	for (const source of [Source.concentrator, Source.concentratorBroadcast, Source.headEndBroadcast])
		assert.equal(world.send(request, source), Status.notAuthorised);
	for (let row = 10; row < 10 + RECEIPTS_WAITING_MAX + 3; row++)
		world.send(command(CommandKind.clock, row, Uint8Array.of(0, 0, 0, 9)));
	const waiting = world.receipts();
	assert.equal(waiting.length, RECEIPTS_WAITING_MAX);
	assert.deepEqual(waiting[0]!.commandId, idOf(13), "the oldest gave way");
});

test("rows on request, in messages that fit; anchors are kept, and told after a restart", () => {
	const world = new World();
	for (let row = 1; row <= 30; row++) world.send(command(CommandKind.clock, row, Uint8Array.of(0, 0, 0, 9)));
	world.answers();
	const request = new Uint8Array(10);
	encodeAuditRequest({ requestId: 9, first: 1, count: 1000 }, new DataView(request.buffer));
	assert.equal(world.send(request, Source.concentrator), Status.notAuthorised);
	assert.equal(world.send(request), Status.ok);
	assert.equal(world.send(request), Status.busy, "one at a time");
	const messages = world.answers();
	assert.ok(messages.every((message) => message[0] === Kind.audit && message.length <= 1000));
	assert.equal(
		messages.reduce((sum, message) => sum + message[24]!, 0),
		60,
	);

	const anchor = new Uint8Array(28);
	encodeAnchor({ place: idOf(40), chain: new Uint8Array(16).fill(40) }, new DataView(anchor.buffer));
	assert.equal(world.send(anchor, Source.concentrator), Status.notAuthorised);
	assert.equal(world.send(anchor), Status.ok);
	assert.equal(world.send(anchor), Status.busy, "not in the log again so soon");
	const headOf = (bytes: Uint8Array) => {
		const head = createAuditHead();
		assert.equal(decodeAuditHead(new DataView(bytes.buffer), bytes.length, head), Status.ok);
		return head;
	};
	const head = headOf(world.answers()[0]!);
	assert.deepEqual(head.held, { place: idOf(40), chain: new Uint8Array(16).fill(40) });
	assert.equal(head.sequence, 61);
	const again = new World(world.flash);
	again.answers();
	again.handler.announceHead();
	assert.deepEqual(headOf(again.answers()[0]!), head);
});

test("a log that cannot be written: nothing is done", () => {
	const flash = newFlash();
	const device = new FakeDevice();
	const world = new World(flash, device);
	const program = flash.program.bind(flash);
	let failing = true;
	flash.program = (address, from, byteLength) =>
		failing && address >= 4 * 4096 ? Status.corrupt : program(address, from, byteLength);
	assert.notEqual(world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1))), Status.ok);
	assert.equal(device.relay, true, "the relay has not moved");
	assert.equal(world.answers().length, 0);
	failing = false;
	assert.equal(world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1))), Status.ok);
});

test("settings that cannot be written: told as failed, and as it was before", () => {
	const flash = newFlash();
	const world = new World(flash);
	world.send(command(CommandKind.clock, 9, Uint8Array.of(0, 0, 0, 9)));
	world.answers();
	const erase = flash.erase.bind(flash);
	flash.erase = (sector) => (sector < 4 ? Status.corrupt : erase(sector));
	const program = flash.program.bind(flash);
	flash.program = (address, from, byteLength) =>
		address < 4 * 4096 ? Status.corrupt : program(address, from, byteLength);
	assert.notEqual(world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1))), Status.ok);
	const receipt = world.receipt();
	assert.equal(receipt.outcome, Outcome.executed);
	assert.notEqual(receipt.status, Status.ok);
	assert.equal(world.device.relay, true);
	assert.equal(world.supply.state.isDisconnected, false);
});

test("a flash command becomes a demand-response event, once for a slot", () => {
	const world = new World();
	const view = new DataView(new ArrayBuffer(64));
	const flash = (slot: number, level: number) =>
		world.send(
			new Uint8Array(view.buffer.slice(0, encodeFlashCommand(slot, level, NOW, NOW + 1800, view))),
			Source.headEndFlash,
		);
	assert.equal(flash(1, 255), Status.ok);
	assert.equal(world.supply.state.demandResponse.dutyPermille, 0);
	assert.equal(world.supply.loadMayRun, false);
	assert.equal(flash(1, 10), Status.replayed);
	assert.equal(flash(2, 0), Status.ok);
	assert.equal(world.supply.loadMayRun, true);
	const held = createAuditHead();
	const byteLength = world.handler.encodeHead(new DataView(view.buffer));
	decodeAuditHead(view, byteLength, held);
	assert.deepEqual(held.held.place, new Uint8Array(8), "it brings no anchor");
});

test("figures of a command: flash, compressions, bytes", (t) => {
	const crypto = new NodeCrypto();
	let hashes = 0;
	const sha256 = crypto.sha256.bind(crypto);
	crypto.sha256 = (...args) => {
		hashes += 1 + Math.floor((args[2] + 8) / 64);
		sha256(...args);
	};
	const world = new World(newFlash(), new FakeDevice(), crypto);
	for (let row = 1; row <= 6; row++) world.send(command(CommandKind.disconnect, row, Uint8Array.of(1)));
	for (const [name, message] of [
		["disconnect", command(CommandKind.disconnect, 20, Uint8Array.of(1))],
		["profile read", command(CommandKind.profileRead, 21, Uint8Array.of(0, 0, 0, 1, 0, 8))],
	] as const) {
		world.flash.resetCounters();
		hashes = 0;
		assert.equal(world.send(message), Status.ok);
		const { programs, bytesProgrammed, erases } = world.flash.counters;
		t.diagnostic(
			`${name}: ${message.length} B, ${bytesProgrammed} B in ${programs} programs, ${erases} erases, ${hashes} compressions`,
		);
		assert.ok(bytesProgrammed <= 704 && erases <= 1 && hashes <= 4, name);
	}
});
