import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { Arena } from "../../../src/key-store/arena.js";
import { Journal } from "../../../src/key-store/journal.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { deviceKey } from "./world.js";

const SECTOR = 512;
const PAYLOAD_MAX = 100;
/** Head of the buffer, payload to a block's end, device key and one key; then the caller's own. */
const ARENA = 32 + 112 + 48;

interface Faults {
	/** Programs, reads and erases for which this says true are refused, or lie. */
	read?: (address: number, byteLength: number) => boolean;
	program?: (address: number) => "refused" | "forgotten" | undefined;
	erase?: (sector: number) => "refused" | "forgotten" | undefined;
}

function journalOn(
	image?: Uint8Array,
	faults: Faults = {},
	area = { firstSector: 0, sectorCount: 3 },
): { journal: Journal; arena: Arena; flash: FlashSimulator; write(text: string): Status; text(): string } {
	const options = { sectorBytes: SECTOR, sectorCount: 3, writeBytes: 16, writeOnce: true };
	const flash = new FlashSimulator(image ? { ...options, image } : options);
	const { read, program, erase } = flash;
	const target = flash as { -readonly [name in "read" | "program" | "erase"]: FlashSimulator[name] };
	target.read = (address, into, byteLength) =>
		faults.read?.(address, byteLength) ? Status.timedOut : read.call(flash, address, into, byteLength);
	target.program = (address, from, byteLength) => {
		const fault = faults.program?.(address);
		if (fault === "refused") return Status.timedOut;
		return fault === "forgotten" ? Status.ok : program.call(flash, address, from, byteLength);
	};
	target.erase = (sector) => {
		const fault = faults.erase?.(sector);
		if (fault === "refused") return Status.timedOut;
		return fault === "forgotten" ? Status.ok : erase.call(flash, sector);
	};
	const arena = new Arena(ARENA + PAYLOAD_MAX);
	const journal = new Journal(new NodeCrypto(), flash, deviceKey(), area, arena, PAYLOAD_MAX);
	const from = arena.slot(PAYLOAD_MAX);
	return {
		journal,
		arena,
		flash,
		write(text) {
			arena.bytes.set(Buffer.from(text), from);
			journal.begin(from, text.length);
			const status = journal.finish(text.length, 7);
			arena.wipe(from, PAYLOAD_MAX);
			assert.ok(
				arena.bytes.every((byte) => byte === 0),
				"the buffer is wiped",
			);
			return status;
		},
		text: () =>
			Buffer.from(arena.bytes.subarray(journal.payload, journal.payload + journal.payloadByteLength)).toString(),
	};
}

/** What a journal finds that is opened on this flash. */
function found(image: Uint8Array): string | Status {
	const { journal, text, arena } = journalOn(image);
	const status = journal.open();
	if (status !== Status.ok) return status;
	const result = `${journal.sequence} ${journal.payloadVersion} ${text()}`;
	journal.release();
	assert.ok(
		arena.bytes.every((byte) => byte === 0),
		"released",
	);
	return result;
}

test("a journal wants its sectors and its room, and says so", () => {
	for (const [firstSector, sectorCount] of [
		[0, 1],
		[-1, 3],
		[1, 3],
		[0, 4],
		[2, 2],
	] as const)
		assert.throws(() => journalOn(undefined, {}, { firstSector, sectorCount }), /two sectors/, `${firstSector}`);
	for (const [firstSector, sectorCount] of [
		[0, 2],
		[1, 2],
		[0, 3],
	] as const)
		assert.equal(journalOn(undefined, {}, { firstSector, sectorCount }).journal.open(), Status.notFound);
	const flash = new FlashSimulator({ sectorBytes: 256, sectorCount: 2 });
	const make = (payload: number) =>
		new Journal(new NodeCrypto(), flash, deviceKey(), { firstSector: 0, sectorCount: 2 }, new Arena(512), payload);
	assert.doesNotThrow(() => make(208));
	assert.throws(() => make(209), /one sector/);
	const { journal } = journalOn();
	assert.throws(() => journal.begin(0, 0), /before open/);
	journal.open();
	assert.throws(() => journal.begin(0, 113), /too long/);
	assert.throws(() => journal.begin(0, -1), /too long/);
	assert.throws(() => journal.finish(113, 1), /too long/);
	assert.doesNotThrow(() => journal.begin(0, 0));
});

test("counters say what was done, and the head names the record", () => {
	const { journal, flash, write } = journalOn();
	const tag = new Uint8Array(10).fill(9);
	assert.equal(journal.open(), Status.notFound);
	journal.copyHeadTag(tag, 1);
	assert.deepEqual([...tag], [9, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
	assert.equal(write("early"), Status.corrupt, "no sector is marked yet");
	assert.equal(journal.open(), Status.notFound);
	assert.equal(journal.eraseAll(), Status.ok);
	assert.deepEqual(
		{ ...journal.counters },
		{ commits: 0, erases: 3, programs: 3, bytesProgrammed: 48, erasesFinished: 0, writeFailures: 0, flashFailures: 0 },
	);
	assert.equal(write("one"), Status.ok);
	assert.equal(write("two"), Status.ok);
	assert.deepEqual(
		{ ...journal.counters },
		{
			commits: 2,
			erases: 4,
			programs: 8,
			bytesProgrammed: 48 + 2 * 48 + 16,
			erasesFinished: 0,
			writeFailures: 0,
			flashFailures: 0,
		},
	);
	journal.copyHeadTag(tag, 0);
	const again = journalOn(flash.image).journal;
	assert.equal(again.open(), Status.ok);
	const same = new Uint8Array(10);
	again.copyHeadTag(same, 0);
	assert.deepEqual(same.subarray(0, 8), tag.subarray(0, 8));
	assert.notDeepEqual(same.subarray(0, 8), new Uint8Array(8));
	assert.equal(found(flash.image), "2 7 two");
	// Marks count erases: three at first, one more for the sector of record 1.
	const counts = [0, 1, 2].map((sector) => new DataView(flash.image.buffer).getUint32(sector * SECTOR + 8));
	assert.deepEqual(counts, [4, 2, 3]);
});

test("a number is never used again: not below one that was skipped to, and none after the last", () => {
	const { journal, flash, write } = journalOn();
	journal.open();
	journal.eraseAll();
	journal.skipTo(41);
	journal.skipTo(7);
	assert.equal(write("a"), Status.ok);
	assert.equal(journal.sequence, 42);
	journal.skipTo(42);
	assert.equal(write("b"), Status.ok);
	assert.equal(found(flash.image), "43 7 b");
	journal.skipTo(0xffff_fffd);
	assert.equal(write("last"), Status.ok);
	assert.equal(write("one more"), Status.storageFull);
	assert.equal(found(flash.image), `${0xffff_fffe} 7 last`);
});

test("a sector that does not take a record is passed over, one that does not take the commit is erased", () => {
	for (const fault of ["refused", "forgotten"] as const)
		for (const at of [32, 16]) {
			let isOn = false;
			const faults: Faults = { program: (address) => (isOn && address === SECTOR + at ? fault : undefined) };
			const { journal, flash, write } = journalOn(undefined, faults);
			journal.open();
			journal.eraseAll();
			assert.equal(write("one"), Status.ok);
			isOn = true;
			const { erases, programs } = { ...journal.counters };
			assert.equal(write("two"), Status.ok, `${fault} at ${at}`);
			assert.equal(found(flash.image), "2 7 two");
			assert.equal(journal.counters.writeFailures, 1);
			assert.equal(journal.counters.flashFailures, fault === "refused" ? 1 : 0);
			assert.equal(journal.counters.erases, erases + (at === 16 ? 2 : 1), "its own, and that of the old one");
			assert.equal(journal.counters.programs, programs + (at === 16 ? 6 : 4));
			assert.equal(new DataView(flash.image.buffer).getUint32(2 * SECTOR + 16), 2, "in the third sector");
		}
});

test("when no sector takes a record the old one stays, and nothing is written until it is opened anew", () => {
	let isOn = false;
	const faults: Faults = { program: (address) => (isOn && address % SECTOR === 32 ? "forgotten" : undefined) };
	const { journal, flash, write } = journalOn(undefined, faults);
	journal.open();
	journal.eraseAll();
	assert.equal(write("one"), Status.ok);
	isOn = true;
	assert.equal(write("two"), Status.corrupt);
	assert.equal(journal.counters.writeFailures, 2);
	isOn = false;
	assert.equal(write("three"), Status.corrupt, "stuck");
	assert.equal(found(flash.image), "1 7 one");
	assert.equal(journal.open(), Status.ok);
	journal.release();
	assert.equal(write("three"), Status.ok);
	assert.equal(found(flash.image), "2 7 three");
});

test("an erase that is refused, or did nothing, stops all changes; a mark that is not kept leaves the sector out", () => {
	for (const fault of ["refused", "forgotten"] as const) {
		let isOn = false;
		const { journal, flash, write } = journalOn(undefined, { erase: () => (isOn ? fault : undefined) });
		journal.open();
		journal.eraseAll();
		assert.equal(write("one"), Status.ok);
		isOn = true;
		assert.equal(write("two"), fault === "refused" ? Status.timedOut : Status.corrupt, fault);
		assert.equal(journal.counters.flashFailures, fault === "refused" ? 1 : 0);
		assert.equal(write("three"), Status.corrupt, "stuck: the old secrets may be there");
		assert.equal(journal.open(), fault === "refused" ? Status.timedOut : Status.corrupt, "nor is it open");
		isOn = false;
		assert.equal(journal.open(), Status.ok);
		assert.equal(journal.counters.erasesFinished, 2, "tried twice, done once");
		journal.release();
		assert.equal(write("three"), Status.ok);
		assert.equal(found(flash.image), "3 7 three");
	}
	let marks = 0;
	let isMarking = false;
	const faults: Faults = {
		program: (address) => (isMarking && address % SECTOR === 0 && marks++ === 0 ? "forgotten" : undefined),
	};
	const { journal, flash, write } = journalOn(undefined, faults);
	journal.open();
	journal.eraseAll();
	assert.equal(write("one"), Status.ok);
	isMarking = true;
	assert.equal(write("two"), Status.ok);
	assert.equal(journal.counters.writeFailures, 1);
	assert.equal(write("three"), Status.ok, "in the third sector");
	assert.equal(write("four"), Status.ok, "not in the first: it has no mark");
	assert.equal(new DataView(flash.image.buffer).getUint32(SECTOR + 16), 4);
	assert.equal(found(flash.image), "4 7 four");
});

test("flash that cannot be read is corrupt, and nothing is erased for it", () => {
	const { journal, flash, write } = journalOn();
	journal.open();
	journal.eraseAll();
	assert.equal(write("a text of several blocks, so that there is something to read"), Status.ok);
	const { image } = flash;
	// mark and commit, the record for its checksum, the record to open it, the blank rest
	for (const [address, from] of [
		[0, 0],
		[32, 0],
		[32, 1],
		[32, 2],
		[32, 3],
		[SECTOR, 0],
		[SECTOR + 16, 0],
	] as const) {
		let reads = 0;
		const {
			journal: other,
			flash: broken,
			arena,
		} = journalOn(image, {
			read: (at) => at === address && reads++ >= from,
		});
		const status = other.open();
		if (address >= SECTOR + 16) assert.equal(status, Status.ok, "not known to be clean: erased");
		else assert.equal(status, Status.corrupt, `at ${address}`);
		other.release();
		assert.ok(
			arena.bytes.every((byte) => byte === 0),
			"nothing is left",
		);
		assert.equal(found(broken.image), "1 7 a text of several blocks, so that there is something to read");
		if (address === 0) {
			assert.equal(other.counters.flashFailures, 1);
			assert.throws(() => other.begin(0, 1), /before open/);
		}
	}
});

test("of two whole records the newer counts, of one whole and one foreign the whole one", () => {
	const { journal, flash, write } = journalOn();
	journal.open();
	journal.eraseAll();
	write("one");
	const first = flash.image;
	write("two");
	const both = flash.image;
	both.set(first.subarray(0, SECTOR), 0);
	const { journal: reader, text, flash: cleaned } = journalOn(both);
	assert.equal(reader.open(), Status.ok);
	assert.equal(text(), "two");
	assert.equal(reader.counters.erasesFinished, 1);
	assert.equal(reader.counters.erases, 1);
	assert.ok(!Buffer.from(cleaned.image).includes(Buffer.from(first.subarray(32, 48))), "the older one is gone");
	// A record of another device with a larger number does not hide ours.
	const options = { sectorBytes: SECTOR, sectorCount: 3 };
	const other = new FlashSimulator(options);
	const arena = new Arena(ARENA);
	const area = { firstSector: 0, sectorCount: 3 };
	const stranger = new Journal(new NodeCrypto(), other, deviceKey(0x11), area, arena, PAYLOAD_MAX);
	stranger.open();
	stranger.eraseAll();
	stranger.skipTo(99);
	stranger.begin(stranger.payload, 0);
	assert.equal(stranger.finish(0, 1), Status.ok);
	const mixed = first.slice();
	mixed.set(other.image.subarray(0, SECTOR), 2 * SECTOR);
	assert.equal(found(mixed), "1 7 one");
	assert.equal(found(other.image), Status.badTag);
});
