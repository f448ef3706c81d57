import { writeFileSync } from "node:fs";
import { EventStore } from "../../../src/storage/event-store.js";
import { createProfileRow, ProfileStore } from "../../../src/storage/profile-store.js";
import { RecordLog } from "../../../src/storage/record-log.js";
import { RegisterStore } from "../../../src/storage/register-store.js";
import { SettingsStore } from "../../../src/storage/settings-store.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { distinct, hex, survives } from "../../power-cut/log-model.js";

/*
 * Makes the flash images of format version 1: `node --import tsx test-harness/vectors/storage/generate.ts`.
 * Run once; the images are kept as they are, so that every later firmware is shown to read them. A new format version
 * gets files of its own.
 */
const GENERATOR_VERSION = 1;
const SEED = 0x5eed;
const STRICT = Object.freeze({ seed: SEED, writeBytes: 16, writeOnce: true });

/** Everything that is not 0xFF, in lines of 16 bytes: "address: bytes". */
function lines(image: Uint8Array): string[] {
	const found: string[] = [];
	for (let at = 0; at < image.length; at += 16) {
		const line = image.subarray(at, at + 16);
		if (line.some((byte) => byte !== 0xff)) found.push(`${at.toString(16).padStart(5, "0")}: ${hex(line)}`);
	}
	return found;
}

function save(name: string, what: string, flash: FlashSimulator, expected: object): void {
	const file = new URL(`${name}-v1.json`, import.meta.url);
	const { sectorBytes, sectorCount } = flash;
	const vector = {
		source: `generate.ts version ${GENERATOR_VERSION}, seed ${SEED}: ${what}`,
		sectorBytes,
		sectorCount,
		expected,
		image: lines(flash.image),
	};
	writeFileSync(file, `${JSON.stringify(vector, undefined, "\t")}\n`);
}

/** Tears the n-th flash operation of `action`. */
function tear(flash: FlashSimulator, operation: number, tornBytes: number, action: () => void): void {
	flash.powerCut(operation, tornBytes);
	if (survives(action)) throw new Error("no cut happened");
	flash.restart();
}

// Record log: two laps, a torn record, a sector left early, an interrupted erase at the end.
{
	const flash = new FlashSimulator({ ...STRICT, sectorBytes: 256, sectorCount: 5 });
	const open = () => {
		const log = new RecordLog(flash, 0, 5, 0x5665_6374, 30);
		log.open();
		return log;
	};
	const records: Record<number, { version: number; payload: string }> = {};
	let log = open();
	const append = (number: number) => {
		const payload = distinct(number, new Uint8Array(number % 31));
		if (log.append(payload, payload.length, number & 0xff) !== 0) throw new Error("append");
		records[log.nextSequence - 1] = { version: number & 0xff, payload: hex(payload) };
	};
	for (let number = 1; number <= 45; number++) {
		if (number === 30 || number === 38) {
			const payload = distinct(number, new Uint8Array(30));
			tear(flash, 1, 20, () => log.append(payload, 30));
			log = open();
		}
		if (number === 41) log.startSector();
		append(number);
	}
	while (log.nextSequence % 2 === 0) append(log.nextSequence);
	tear(flash, 1, 24, () => {
		log.startSector();
		log.append(new Uint8Array(1), 1);
	});
	log = open();
	const { oldestSequence, newestSequence, nextSequence } = log;
	for (const sequence of Object.keys(records)) if (Number(sequence) < oldestSequence) delete records[Number(sequence)];
	tear(flash, 1, 8, () => {
		log.startSector();
		log.append(new Uint8Array(1), 1);
	});
	save("record-log", "laps, torn records, a sector left early, a torn header", flash, {
		kind: 0x5665_6374,
		recordBytes: 30,
		oldestSequence,
		newestSequence,
		nextSequence,
		records,
	});
}

// Load profile.
{
	const flash = new FlashSimulator({ ...STRICT, sectorBytes: 512, sectorCount: 3 });
	const store = new ProfileStore(flash, { firstSector: 0, sectorCount: 3 });
	store.open();
	const rows: object[] = [];
	for (let i = 0; i < 18; i++) {
		const row = createProfileRow();
		row.intervalStartSeconds = 820_000_000 + i * 900;
		row.durationSeconds = i === 5 ? 611 : 900;
		row.status = i === 5 ? 0x80 : 0;
		row.tariff = 1 + (i % 4);
		row.activeImportMilliwattHours = 0x1f_ffff_ffff_0000 + i;
		row.activeExportMilliwattHours = 5_000_000_000 + i * 3;
		row.reactiveImportMillivarHours = i * 1000;
		row.reactiveExportMillivarHours = 1;
		store.append(row);
		rows.push({ sequence: store.nextSequence - 1, row });
	}
	const { oldestSequence } = store;
	save("profile", "18 rows in 3 sectors of 512 bytes", flash, { rows: rows.slice(oldestSequence - 1) });
}

// Events.
{
	const flash = new FlashSimulator({ ...STRICT, sectorBytes: 512, sectorCount: 3 });
	const store = new EventStore(flash, { firstSector: 0, sectorCount: 3 });
	store.open();
	const events = [
		{ utcSeconds: 0xffff_ffff, code: 1, detail: 0, chain: "ff".repeat(16) },
		{ utcSeconds: 820_000_000, code: 0xfffe, detail: -2_147_483_648, chain: hex(distinct(1, new Uint8Array(16))) },
		{ utcSeconds: 820_000_001, code: 2, detail: 2_147_483_647, chain: hex(distinct(2, new Uint8Array(16))) },
	];
	for (const event of events)
		store.append(event.utcSeconds, event.code, event.detail, new Uint8Array(Buffer.from(event.chain, "hex")));
	save("events", "3 events", flash, { events });
}

// Registers with a row on its way, a torn commit behind it; the profile that does not have the row yet.
{
	const flash = new FlashSimulator({ ...STRICT, sectorCount: 6 });
	const profile = new ProfileStore(flash, { firstSector: 0, sectorCount: 3 });
	const store = new RegisterStore(flash, 60_000, { firstSector: 3, sectorCount: 3 });
	profile.open();
	store.open();
	const row = createProfileRow();
	const registers = new Uint8Array(64);
	for (let i = 1; i <= 4; i++) {
		row.intervalStartSeconds = 820_000_000 + i * 900;
		row.activeImportMilliwattHours = i * 1000;
		store.commitWithRow(0, distinct(i, registers), 64, row, profile);
	}
	store.commitPowerFail(0, distinct(5, registers), 64);
	row.intervalStartSeconds += 900;
	distinct(6, registers);
	tear(flash, 2, 13, () => store.commitWithRow(0, registers, 64, row, profile));
	const again = new RegisterStore(flash, 60_000, { firstSector: 3, sectorCount: 3 });
	again.open();
	const unfinished = distinct(7, new Uint8Array(64));
	tear(flash, 1, 50, () => again.commit(0, unfinished, 64));
	save("registers", "a commit with its row, the row torn in the profile, a torn commit", flash, {
		registers: hex(registers),
		row,
		rowSequence: 6,
	});
}

// Settings: replaced three times, the fourth cut in the erase of the old.
{
	const flash = new FlashSimulator({ ...STRICT, sectorCount: 4 });
	const store = new SettingsStore(flash, { firstSector: 0, sectorCount: 4 });
	store.open();
	for (let i = 1; i <= 3; i++) store.replace(distinct(i, new Uint8Array(50 * i)), 50 * i, i);
	const last = distinct(4, new Uint8Array(200));
	tear(flash, 5, 20, () => store.replace(last, 200, 4));
	save("settings", "a replacement cut in the erase of the old blob", flash, { version: 4, blob: hex(last) });
}
