import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Status } from "../../../src/bytes/status.js";
import {
	AUDIT_HEADER_BYTES,
	type AuditRow,
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
	encodeAuditHead,
	encodeAuditHeader,
	encodeAuditRequest,
	encodeAuditRow,
	encodeChainInput,
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
	encodeCommandAnchor,
	encodeCommandHeader,
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
	encodeReceipt,
	encodeReceiptRequest,
} from "../../../src/messages/receipt.js";
import { seed } from "../../seed.js";
import { auditRow, chain, id, limit, prices, receipt, response, table, u16, u32 } from "./arbitraries.js";

const view = new DataView(new ArrayBuffer(4096));

/** The whole command that a body makes, and what its decoder says. */
function framed(kind: number, bodyBytes: number, commandId: Uint8Array, notAfter: number, anchor: Uint8Array): Status {
	encodeCommandHeader(kind, commandId, notAfter, view);
	const byteLength = encodeCommandAnchor(anchor, bodyBytes, view);
	const header = createCommandHeader();
	const status = decodeCommandHeader(view, byteLength, header);
	if (status !== Status.ok) return status;
	assert.deepEqual(header, { commandKind: kind, commandId, notAfterSeconds: notAfter, bodyBytes, anchor });
	return checkCommandBody(header, view);
}

test("commands with a structure: what goes in comes out", () => {
	fc.assert(
		fc.property(id, u32, chain, limit, prices, table, response, (commandId, notAfter, anchor, l, p, t, r) => {
			const frame = (kind: number, bodyBytes: number) => framed(kind, bodyBytes, commandId, notAfter, anchor);
			assert.equal(frame(CommandKind.loadLimit, encodeLoadLimit(l, view, 16)), Status.ok, "load limit");
			const readL = createLoadLimit();
			readLoadLimit(view, 16, readL);
			assert.deepEqual(readL, { ...l });
			assert.equal(frame(CommandKind.price, encodePrices(p, view, 16)), Status.ok, "price");
			const readP = createPrices();
			readPrices(view, 16, readP);
			assert.deepEqual(readP, { ...p });
			assert.equal(frame(CommandKind.tariffCalendar, encodeTariffTable(t, view, 16)), Status.ok, "calendar");
			const readT = createTariffTable();
			readTariffTable(view, 16, readT);
			assert.deepEqual(readT, { ...t });
			assert.equal(frame(CommandKind.demandResponse, encodeDemandResponse(r, view, 16)), Status.ok, "response");
			const readR = createDemandResponseEvent();
			readDemandResponse(view, 16, readR);
			assert.deepEqual(readR, { ...r });
		}),
		{ seed },
	);
});

test("receipt, requests, anchor, head: what goes in comes out", () => {
	fc.assert(
		fc.property(receipt, id, chain, u32, u32, u16, (given, place, value, a, b, c) => {
			const decoded = createReceipt();
			assert.equal(decodeReceipt(view, encodeReceipt(given, view), decoded), Status.ok);
			assert.deepEqual(decoded, { ...given });
			const asked = new Uint8Array(8);
			assert.equal(decodeReceiptRequest(view, encodeReceiptRequest(place, view), asked), Status.ok);
			assert.deepEqual(asked, place);
			const request = createAuditRequest();
			const wanted = { requestId: c, first: a, count: 1 + (b % 0xffff) };
			assert.equal(decodeAuditRequest(view, encodeAuditRequest(wanted, view), request), Status.ok);
			assert.deepEqual(request, wanted);
			const anchor = createAnchor();
			assert.equal(decodeAnchor(view, encodeAnchor({ place, chain: value }, view), anchor), Status.ok);
			assert.deepEqual(anchor, { place, chain: value });
			const head = createAuditHead();
			const stated = { oldest: a, sequence: b, chain: value, held: { place, chain: value } };
			assert.equal(decodeAuditHead(view, encodeAuditHead(stated, view), head), Status.ok);
			assert.deepEqual(head, stated);
		}),
		{ seed },
	);
});

test("audit rows: what goes in comes out, and the content of each is in its chain input", () => {
	fc.assert(
		fc.property(
			fc.array(auditRow, { minLength: 1, maxLength: 60 }),
			fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 60, maxLength: 60 }),
			chain,
			(rows, steps, firstChain) => {
				let sequence = 0;
				const given: AuditRow[] = rows.map((row, i) => ({ ...row, sequence: (sequence += steps[i]!) }));
				encodeAuditHeader({ requestId: 7, oldest: 1, firstChain, rowCount: given.length }, view);
				let at = AUDIT_HEADER_BYTES;
				for (const row of given) at = encodeAuditRow(row, view, at);
				const header = createAuditHeader();
				assert.equal(decodeAuditHeader(view, at, header), Status.ok);
				assert.deepEqual(header, { requestId: 7, oldest: 1, firstChain, rowCount: given.length });
				at = AUDIT_HEADER_BYTES;
				const input = new DataView(new ArrayBuffer(64));
				for (const row of given) {
					const decoded = createAuditRow();
					at = decodeAuditRow(view, at, decoded);
					assert.deepEqual(decoded, row);
					const byteLength = encodeChainInput(firstChain, row, input);
					assert.ok(byteLength <= 55, "one compression");
				}
			},
		),
		{ seed },
	);
});
