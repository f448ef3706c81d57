import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { crc32 } from "../../../src/bytes/crc.js";
import { Status } from "../../../src/bytes/status.js";
import { AuditLog } from "../../../src/commands/audit-log.js";
import { Source } from "../../../src/commands/authorisation.js";
import { CommandKind } from "../../../src/messages/command.js";
import { MESSAGE_BYTES_MAX } from "../../../src/messages/kinds.js";
import { EventStore } from "../../../src/storage/event-store.js";
import { MeterAudit } from "../../accountability/meter-audit.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { command, idOf, NOW } from "../commands/world.js";

const AREA = Object.freeze({ firstSector: 0, sectorCount: 3 });
const FLASH = Object.freeze({ sectorBytes: 1024, sectorCount: 3, writeBytes: 16, writeOnce: true });
/** Records of a sector: slots of 64 bytes behind the header of 32. */
const SLOTS = 15;
const crypto = new NodeCrypto();

function open(image?: Uint8Array, sectorBytes = 1024): AuditLog {
	const flash = new FlashSimulator({ ...FLASH, sectorBytes, ...(image && { image }) });
	const log = new AuditLog(crypto, new EventStore(flash, AREA));
	assert.equal(log.open(), Status.ok);
	return log;
}

/** Row n of a history: events, and each third one a command's. */
function append(log: AuditLog, n: number, detail = n): void {
	const status =
		n % 3 === 0
			? log.appendCommand(NOW + n, 0x0300, detail, idOf(n), new Uint8Array(16).fill(n))
			: log.append(NOW + n, 0x0100 + n, detail);
	assert.equal(status, Status.ok);
}

function history(count: number): { log: AuditLog; image: Uint8Array; heads: Buffer[] } {
	const flash = new FlashSimulator(FLASH);
	const log = new AuditLog(crypto, new EventStore(flash, AREA));
	log.open();
	const heads = [Buffer.alloc(16)];
	for (let n = 1; n <= count; n++) {
		append(log, n);
		heads.push(Buffer.from(log.head));
	}
	return { log, image: flash.image, heads };
}

function messages(log: AuditLog, first = 1): Uint8Array[] {
	const into = new DataView(new ArrayBuffer(MESSAGE_BYTES_MAX));
	const found: Uint8Array[] = [];
	for (let next = first; next < log.nextSequence; next = log.afterSequence) {
		const byteLength = log.encodeRows(1, next, log.nextSequence - next, into);
		if (byteLength > 0) found.push(new Uint8Array(into.buffer.slice(0, byteLength)));
	}
	return found;
}

function audit(log: AuditLog, first = 1, into = new MeterAudit("m")): MeterAudit {
	for (const message of messages(log, first)) assert.equal(into.addMessage(message), Status.ok);
	return into;
}

test("a good log: rows in any order of messages, anchored to its head", () => {
	const { log, heads } = history(14);
	const held = new MeterAudit("m");
	for (const message of [...messages(log, 9), ...messages(log, 1)].reverse()) held.addMessage(message);
	for (const [sequence, chain] of heads.entries()) held.addAnchor(sequence, chain, `receipt ${sequence}`);
	const verdict = held.verify();
	assert.equal(verdict.status, "ok", verdict.text);
	assert.deepEqual([verdict.rowCount, verdict.anchoredSequence, verdict.missing.length], [14, 14, 0]);
	assert.equal(held.rows().length, 14);
	assert.equal(held.view()[0]!["sequence"], 14);
	JSON.stringify([held.view(), verdict]);
});

/** Puts a good checksum behind a record that was tampered with, so that the store takes it for good. */
function mend(image: Uint8Array, slotAt: number): void {
	const view = new DataView(image.buffer);
	const byteLength = view.getUint16(slotAt + 4);
	const kind = Uint8Array.of(0x45, 0x76, 0x65, 0x6e); // "Even"
	view.setUint32(slotAt + 8 + byteLength, crc32(image, slotAt, 8 + byteLength, crc32(kind, 0, 4)));
}

test("every byte of every stored row changed, its checksum mended: found, given the head of before", () => {
	const { image, heads } = history(12);
	let flips = 0;
	let found = 0;
	for (let slot = 0; slot < 12; slot++) {
		const slotAt = 32 + 64 * slot;
		const payloadBytes = new DataView(image.buffer).getUint16(slotAt + 4);
		for (let at = slotAt + 8; at < slotAt + 8 + payloadBytes; at++)
			for (const bit of [1, 0x80]) {
				const tampered = image.slice();
				tampered[at]! ^= bit;
				mend(tampered, slotAt);
				const held = audit(open(tampered));
				held.addAnchor(12, heads[12]!, "receipt");
				const verdict = held.verify();
				flips++;
				if (verdict.status !== "ok") found++;
				assert.equal(verdict.status, "rewritten", `row ${slot + 1}, byte ${at - slotAt - 8}`);
				assert.ok(verdict.sequence >= slot + 1, `row ${slot + 1}: told as ${verdict.sequence}`);
			}
	}
	assert.ok(flips > 700 && found === flips, `${found} of ${flips}`);
});

test("every byte of the log changed without mending: the row is lost, and that is found", () => {
	const { image, heads } = history(12);
	const view = new DataView(image.buffer);
	for (let slot = 0; slot < 12; slot++) {
		const slotAt = 32 + 64 * slot;
		const usedBytes = 12 + view.getUint16(slotAt + 4);
		for (let at = 0; at < 64; at++) {
			const tampered = image.slice();
			tampered[slotAt + at]! ^= 4;
			const log = open(tampered);
			const held = audit(log);
			held.addAnchor(12, heads[12]!, "receipt");
			held.answered(log.headSequence);
			const { status } = held.verify();
			if (at >= usedBytes) assert.equal(status, "ok", `row ${slot + 1}, byte ${at}: behind the record`);
			else if (slot === 0)
				assert.ok(status === "ok" && held.verify().firstSequence === 2, "the oldest row may go: a wrap does the same");
			else assert.notEqual(status, "ok", `row ${slot + 1}, byte ${at}`);
		}
	}
});

test("truncation at every row: found, given an anchor of a later row", () => {
	const { image, heads } = history(12);
	for (let kept = 0; kept < 12; kept++) {
		const cut = image.slice();
		cut.fill(0xff, 32 + 64 * kept, 32 + 64 * SLOTS);
		const log = open(cut);
		assert.equal(log.headSequence, kept);
		// The meter now states an older head than it did.
		const held = audit(log);
		held.addAnchor(12, heads[12]!, "receipt");
		held.addAnchor(log.headSequence, log.head, "hello");
		held.answered(kept);
		const verdict = held.verify();
		assert.equal(verdict.status, "truncated", `${kept} kept`);
		assert.equal(verdict.sequence, kept + 1);
		// It goes on writing: what stands in the place of the rows that are gone is not what was anchored.
		for (let n = kept + 1; n <= 13; n++) append(log, n, -n);
		const later = audit(log);
		later.addAnchor(12, heads[12]!, "receipt");
		later.addAnchor(log.headSequence, log.head, "hello");
		assert.equal(later.verify().status, "rewritten", `${kept} kept, then more`);
		// And who held the rows before sees which one it was.
		const before = audit(open(image));
		audit(log, 1, before);
		assert.deepEqual([before.verify().status, before.verify().sequence], ["rewritten", kept + 1]);
	}
});

test("a whole history written anew, chain and all: found by any anchor behind the change", () => {
	const { heads } = history(12);
	for (let changed = 1; changed <= 12; changed++) {
		const forged = open();
		for (let n = 1; n <= 12; n++) append(forged, n, n === changed ? 0 : n);
		for (let anchored = 1; anchored <= 12; anchored++) {
			const held = audit(forged);
			held.addAnchor(anchored, heads[anchored]!, "receipt");
			assert.equal(held.verify().status, anchored >= changed ? "rewritten" : "ok", `${changed}, ${anchored}`);
		}
	}
});

test("rows taken out of the middle: a gap where the chain does not go on; a torn write is none", () => {
	const { log, heads } = history(12);
	const [whole] = messages(log);
	const held = new MeterAudit("m");
	held.addMessage(whole!.slice());
	// As a meter would send it whose flash lost rows 5 and 6.
	const flash = new FlashSimulator(FLASH);
	const torn = new AuditLog(crypto, new EventStore(flash, AREA));
	torn.open();
	for (let n = 1; n <= 4; n++) append(torn, n);
	flash.powerCut(1, 20);
	assert.throws(() => append(torn, 5));
	flash.restart();
	torn.open();
	for (let n = 5; n <= 9; n++) append(torn, n);
	const withTear = audit(torn);
	assert.equal(withTear.verify().status, "ok", "the chain goes on behind the tear");
	assert.deepEqual(
		withTear.rows().map(({ sequence }) => sequence),
		[1, 2, 3, 4, 6, 7, 8, 9, 10],
	);
	const image = flash.image;
	image.fill(0, 32 + 64 * 6, 32 + 64 * 7); // row 7 is no longer readable
	const lost = audit(open(image)).verify();
	assert.deepEqual([lost.status, lost.sequence], ["gap", 7]);
	assert.deepEqual(lost.missing, [{ first: 7, count: 1 }]);
	held.addAnchor(12, heads[12]!, "receipt");
	assert.equal(held.verify().status, "ok");
});

test("the log wraps: the chain goes on from the oldest row that is kept", () => {
	const { log, heads } = history(80);
	assert.ok(log.oldestSequence > 30, `oldest ${log.oldestSequence}`);
	const held = audit(log);
	held.addAnchor(80, heads[80]!, "receipt");
	const verdict = held.verify();
	assert.equal(verdict.status, "ok", verdict.text);
	assert.equal(verdict.firstSequence, log.oldestSequence);
	// Rows that came before are linked with those that came after the wrap, as far as they meet.
	const early = audit(history(20).log);
	audit(log, 1, early);
	const apart = early.verify();
	assert.deepEqual([apart.status, apart.sequence, apart.missing.length], ["gap", 21, 0]);
	assert.match(apart.text, /overwritten before they came/);
});

test("rows of a firmware before the chain are shown and not vouched for; the chain begins behind them", () => {
	const flash = new FlashSimulator(FLASH);
	const store = new EventStore(flash, AREA);
	store.open();
	store.append(NOW, 1, 1);
	store.append(NOW, 2, 2);
	const log = new AuditLog(crypto, store);
	log.open();
	append(log, 1);
	append(log, 2);
	const held = audit(log);
	const verdict = held.verify();
	assert.equal(verdict.status, "ok", verdict.text);
	assert.equal(verdict.rowCount, 4);
	// The other way round would take the chain away from rows that had one.
	store.append(NOW, 3, 3);
	log.open();
	append(log, 3);
	assert.equal(audit(log).verify().status, "rewritten");
});

test("messages that come late do not look like truncation when their order is known", () => {
	const { log, heads } = history(12);
	const held = audit(log);
	held.addAnchor(12, heads[12]!, "receipt 2", 200);
	held.addAnchor(9, heads[9]!, "receipt 1", 100);
	assert.equal(held.verify().status, "ok");
	held.addAnchor(9, heads[9]!, "receipt 3", 300);
	assert.equal(held.verify().status, "truncated");
});

test("what came is kept in a file, and read again", () => {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-audit-"));
	try {
		const path = join(folder, "m.audit");
		const { log } = history(12);
		audit(log, 1, new MeterAudit("m", path));
		audit(log, 1, new MeterAudit("m", path));
		assert.equal(new MeterAudit("m", path).verify().rowCount, 12);
	} finally {
		rmSync(folder, { recursive: true });
	}
});

test("what is not an audit message is refused", () => {
	const held = new MeterAudit("m");
	assert.equal(held.addMessage(command(CommandKind.connect, Source.headEnd, Uint8Array.of(0))), Status.badLength);
	assert.equal(held.verify().rowCount, 0);
});
