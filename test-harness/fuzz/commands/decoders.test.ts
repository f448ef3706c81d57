import assert from "node:assert/strict";
import { test } from "node:test";
import { STATUS_COUNT, Status, statusName } from "../../../src/bytes/status.js";
import { Source } from "../../../src/commands/authorisation.js";
import {
	AUDIT_HEADER_BYTES,
	createAnchor,
	createAuditHead,
	createAuditHeader,
	createAuditRequest,
	createAuditRow,
	decodeAnchor,
	decodeAuditHead,
	decodeAuditHeader,
	decodeAuditRequest,
	decodeAuditRow,
	encodeAnchor,
	encodeAuditRequest,
} from "../../../src/messages/audit.js";
import {
	CommandKind,
	checkCommandBody,
	createCommandHeader,
	createDemandResponseEvent,
	createLoadLimit,
	createPrices,
	createTariffTable,
	decodeCommandHeader,
	encodeDemandResponse,
	encodeLoadLimit,
	encodePrices,
	encodeTariffTable,
	readDemandResponse,
	readLoadLimit,
	readPrices,
	readTariffTable,
} from "../../../src/messages/command.js";
import {
	createReceipt,
	decodeReceipt,
	decodeReceiptRequest,
	encodeReceiptRequest,
} from "../../../src/messages/receipt.js";
import { seed } from "../../seed.js";
import { command, idOf, NOW, World } from "../../unit/commands/world.js";
import { generator, mutate } from "../mqtt/frames.js";

const CASES = Number(process.env["FUZZ_CASES"] ?? 20_000);

function made(write: (view: DataView) => number): Uint8Array {
	const view = new DataView(new ArrayBuffer(128));
	return new Uint8Array(view.buffer.slice(0, write(view)));
}

/** One valid message of each kind, and answers of a meter that has some rows. */
function seeds(): Uint8Array[] {
	const table = createTariffTable();
	table.switchCount = 2;
	table.minutes.set([0, 700]);
	table.tariffs.set([1, 2]);
	const prices = createPrices();
	prices.tariffCount = 4;
	const commands = [
		command(CommandKind.connect, 1, Uint8Array.of(0)),
		command(CommandKind.disconnect, 2, Uint8Array.of(1)),
		command(CommandKind.loadLimit, 3, (view, at) =>
			encodeLoadLimit({ ...createLoadLimit(), limitWatts: 3000 }, view, at),
		),
		command(CommandKind.price, 4, (view, at) => encodePrices(prices, view, at)),
		command(CommandKind.tariffCalendar, 5, (view, at) => encodeTariffTable(table, view, at)),
		command(CommandKind.demandResponse, 6, (view, at) => encodeDemandResponse(createDemandResponseEvent(), view, at)),
		command(CommandKind.clock, 7, Uint8Array.of(0, 0, 0, 9)),
		command(CommandKind.configure, 8, Uint8Array.of(1, 1, 0, 0, 0, 9)),
		command(CommandKind.profileRead, 9, Uint8Array.of(0, 0, 0, 1, 0, 1)),
		command(CommandKind.keyMaintenance, 10, Uint8Array.of(1)),
		command(CommandKind.decommission, 11, new Uint8Array(8)),
		made((view) => encodeReceiptRequest(idOf(1), view)),
		made((view) => encodeAuditRequest({ requestId: 1, first: 1, count: 50 }, view)),
		made((view) => encodeAnchor({ place: idOf(1), chain: new Uint8Array(16) }, view)),
	];
	const world = new World();
	for (const message of commands) world.send(message);
	return [...commands, ...world.answers()];
}

test("decoders: any bytes give a status, nothing is read past the end", (t) => {
	const all = seeds();
	const seen = new Array<number>(STATUS_COUNT).fill(0);
	const header = createCommandHeader();
	const auditHeader = createAuditHeader();
	const row = createAuditRow();
	const decoders: ((view: DataView, byteLength: number) => Status)[] = [
		(view, byteLength) => {
			let status = decodeCommandHeader(view, byteLength, header);
			if (status === Status.ok) status = checkCommandBody(header, view);
			if (status !== Status.ok) return status;
			// After `ok` the readers may not fail, nor read the anchor as a body.
			if (header.commandKind === CommandKind.loadLimit) readLoadLimit(view, 16, createLoadLimit());
			if (header.commandKind === CommandKind.price) readPrices(view, 16, createPrices());
			if (header.commandKind === CommandKind.tariffCalendar) readTariffTable(view, 16, createTariffTable());
			if (header.commandKind === CommandKind.demandResponse) readDemandResponse(view, 16, createDemandResponseEvent());
			return status;
		},
		(view, byteLength) => {
			const status = decodeAuditHeader(view, byteLength, auditHeader);
			if (status !== Status.ok) return status;
			let at = AUDIT_HEADER_BYTES;
			for (let i = 0; i < auditHeader.rowCount; i++) at = decodeAuditRow(view, at, row);
			assert.equal(at, byteLength, "the rows fill the message");
			return status;
		},
		(view, byteLength) => decodeReceipt(view, byteLength, createReceipt()),
		(view, byteLength) => decodeReceiptRequest(view, byteLength, new Uint8Array(8)),
		(view, byteLength) => decodeAuditRequest(view, byteLength, createAuditRequest()),
		(view, byteLength) => decodeAnchor(view, byteLength, createAnchor()),
		(view, byteLength) => decodeAuditHead(view, byteLength, createAuditHead()),
	];
	for (let i = 0; i < CASES; i++) {
		const random = generator(seed + i);
		const frame = mutate(all[random(all.length)]!, random);
		// A buffer of exactly its size: a read past the end throws.
		const view = new DataView(frame.slice().buffer);
		try {
			for (const decode of decoders) seen[decode(view, frame.length)]!++;
		} catch (error) {
			throw new Error(`SEED=${seed}, case ${i}: replay with SEED=${seed + i} FUZZ_CASES=1`, { cause: error });
		}
	}
	t.diagnostic(
		seen
			.map((count, status) => `${statusName(status)} ${count}`)
			.filter((text) => !text.endsWith(" 0"))
			.join(", "),
	);
});

test("the handler: any bytes from any source give a status, and the meter obeys afterwards", (t) => {
	const all = seeds();
	const seen = new Array<number>(STATUS_COUNT).fill(0);
	let world = new World();
	for (let i = 0; i < CASES / 10; i++) {
		const random = generator(seed + i);
		const frame = mutate(all[random(all.length)]!, random);
		if (i % 200 === 0) world = new World();
		try {
			world.now += random(1000);
			seen[world.send(frame, random(7), random(8) === 0)]!++;
			world.answers();
		} catch (error) {
			throw new Error(`SEED=${seed}, case ${i}`, { cause: error });
		}
	}
	assert.equal(
		world.send(command(CommandKind.disconnect, 1_000_000, Uint8Array.of(1), NOW + 60)),
		Status.ok,
		"it still obeys",
	);
	assert.equal(world.device.relay, false, "and the relay is open");
	assert.notEqual(
		world.send(command(CommandKind.connect, 1_000_001, Uint8Array.of(0)), Source.concentrator),
		Status.ok,
	);
	t.diagnostic(
		seen
			.map((count, status) => `${statusName(status)} ${count}`)
			.filter((text) => !text.endsWith(" 0"))
			.join(", "),
	);
});
