import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import { createProfileRow, type ProfileRow, ProfileStore } from "../../src/storage/profile-store.js";
import { RegisterStore } from "../../src/storage/register-store.js";
import { SETTINGS_BYTES_MAX, SettingsStore } from "../../src/storage/settings-store.js";
import { FlashSimulator } from "../board/flash-simulator.js";
import { distinct, hex, survives } from "./log-model.js";

const STRICT = Object.freeze({ writeBytes: 16, writeOnce: true });

function blobOf(number: number): Uint8Array {
	const bytes = new Uint8Array(100 + ((number * 331) % 925));
	return distinct(number, bytes);
}

/** The settings in flash: a number of `blobOf`, 0 for none. */
function settingsNumber(flash: FlashSimulator, candidates: readonly number[]): number {
	const store = new SettingsStore(flash);
	assert.equal(store.open(), Status.ok);
	const into = new Uint8Array(SETTINGS_BYTES_MAX);
	const status = store.load(into);
	if (status !== Status.ok) return 0;
	for (const number of candidates)
		if (Buffer.from(into.subarray(0, store.byteLength)).equals(blobOf(number))) {
			assert.equal(store.version, number & 0xff);
			return number;
		}
	assert.fail("settings that were never written");
}

test("settings: old or new after a cut at every operation of a replacement, and of the recovery", () => {
	const torn = [0, 1, 8, 15, 16, 31, 40, 100, 500, 1000, 1039, 1040, 2000, 4096];
	let image: Uint8Array | undefined;
	for (let number = 1; number < 9; number++) {
		for (const tornBytes of torn) {
			for (let operation = 1, finished = false; !finished; operation++) {
				const flash = new FlashSimulator({ ...STRICT, sectorCount: 4, ...(image && { image }) });
				const store = new SettingsStore(flash);
				flash.powerCut(operation, tornBytes);
				finished = survives(() => {
					store.open();
					assert.equal(store.replace(blobOf(number), blobOf(number).length, number), Status.ok);
				});
				for (let again = 1, recovered = false; !recovered; again++) {
					const inner = new FlashSimulator({ ...STRICT, sectorCount: 4, image: flash.image });
					inner.powerCut(again, tornBytes);
					recovered = survives(() => new SettingsStore(inner).open());
					inner.restart();
					const found = settingsNumber(inner, [number - 1, number]);
					if (finished) assert.equal(found, number);
					else assert.ok(found === number - 1 || found === number, `${found}`);
					// With the new ones good, opening has erased the old ones.
					const oldThere = Buffer.from(inner.image).includes(hex(blobOf(number - 1)), 0, "hex");
					if (number > 1) assert.equal(oldThere, found === number - 1);
					// A replacement after it holds, and leaves only itself.
					const later = new SettingsStore(inner);
					later.open();
					assert.equal(later.replace(blobOf(77), blobOf(77).length, 77), Status.ok);
					assert.equal(settingsNumber(inner, [77]), 77);
					assert.equal(
						Buffer.from(inner.image).includes(hex(blobOf(number - 1)), 0, "hex"),
						false,
						"old settings are erased",
					);
				}
			}
		}
		const flash = new FlashSimulator({ ...STRICT, sectorCount: 4, ...(image && { image }) });
		const store = new SettingsStore(flash);
		store.open();
		assert.equal(store.replace(blobOf(number), blobOf(number).length, number), Status.ok);
		image = flash.image;
	}
});

const REGISTERS = Object.freeze({ firstSector: 0, sectorCount: 3 });
const PROFILE = Object.freeze({ firstSector: 3, sectorCount: 3 });
const METER = Object.freeze({ ...STRICT, sectorCount: 6 });
const MINUTES_PER_ROW = 3;

/** The smallest meter: counts minutes, 1 unit each; a row every 3 minutes holds the units of its interval. */
class TinyMeter {
	readonly profile: ProfileStore;
	readonly registers: RegisterStore;
	readonly #bytes = new Uint8Array(300);
	readonly #view = new DataView(this.#bytes.buffer);
	readonly #row = createProfileRow();
	total = 0;
	intervalStart = 0;
	intervalUnits = 0;

	constructor(flash: FlashSimulator) {
		this.profile = new ProfileStore(flash, PROFILE);
		this.registers = new RegisterStore(flash, 60_000, REGISTERS);
		assert.equal(this.profile.open(), Status.ok);
		assert.equal(this.registers.open(), Status.ok);
		const into = new Uint8Array(512);
		const status = this.registers.load(into);
		// A cut in the very first commit leaves a log with a record and no good one.
		const nothingYet = this.registers.log.newestSequence === 0 && this.registers.log.oldestSequence === 1;
		const fresh = status === Status.notFound || (status === Status.badChecksum && nothingYet);
		assert.ok(status === Status.ok || fresh, `status ${status}`);
		if (status === Status.ok) {
			const view = new DataView(into.buffer);
			assert.equal(this.registers.byteLength, 300);
			this.total = view.getUint32(0);
			this.intervalStart = view.getUint32(4);
			this.intervalUnits = view.getUint32(8);
		}
		assert.equal(this.registers.finishRow(this.profile), Status.ok);
	}

	minute(): void {
		this.total++;
		this.intervalUnits++;
		if (this.intervalUnits < MINUTES_PER_ROW) {
			this.#encode();
			assert.equal(this.registers.commit(0, this.#bytes, 300), Status.ok);
			return;
		}
		this.#row.intervalStartSeconds = this.intervalStart;
		this.#row.activeImportMilliwattHours = this.intervalUnits;
		this.intervalStart += MINUTES_PER_ROW;
		this.intervalUnits = 0;
		this.#encode();
		assert.equal(this.registers.commitWithRow(0, this.#bytes, 300, this.#row, this.profile), Status.ok);
	}

	#encode(): void {
		this.#view.setUint32(0, this.total);
		this.#view.setUint32(4, this.intervalStart);
		this.#view.setUint32(8, this.intervalUnits);
	}

	rows(): ProfileRow[] {
		const rows: ProfileRow[] = [];
		for (let sequence = this.profile.oldestSequence; sequence < this.profile.nextSequence; sequence++) {
			const row = createProfileRow();
			const status = this.profile.read(sequence, row);
			if (status === Status.ok) rows.push(row);
			else assert.ok(status === Status.badChecksum || status === Status.notFound, `status ${status}`);
		}
		return rows;
	}

	/** No interval lost or twice; the rows and the running interval add up to the register. */
	checkRows(): void {
		const rows = this.rows();
		let sum = this.intervalUnits;
		for (let i = 0; i < rows.length; i++) {
			const row = rows[i]!;
			assert.equal(row.intervalStartSeconds, rows[0]!.intervalStartSeconds + i * MINUTES_PER_ROW);
			sum += row.activeImportMilliwattHours;
		}
		const first = rows[0]?.intervalStartSeconds ?? this.intervalStart;
		assert.equal(sum, this.total - first);
		if (this.profile.oldestSequence === 1) assert.equal(first, 0);
	}
}

test("registers and profile: a cut at every operation loses at most a period, and no interval is lost or counted twice", () => {
	let cuts = 0;
	const image = new FlashSimulator(METER).image;
	// 45 minutes fill the register sectors more than twice; the turnovers of the profile have their own starts.
	for (const minutesBefore of [0, 3 * 62, 3 * 63, 3 * 189]) {
		const before = new FlashSimulator({ ...METER, image });
		const meter = new TinyMeter(before);
		for (let minute = 0; minute < minutesBefore; minute++) meter.minute();
		const started = meter.total;
		for (const tornBytes of [0, 1, 8, 15, 16, 33, 50, 63, 64, 100, 300, 359, 360, 400, 4096]) {
			for (let operation = 1, finished = false; !finished; operation++) {
				const flash = new FlashSimulator({ ...METER, image: before.image });
				let acknowledged = started;
				flash.powerCut(operation, tornBytes);
				finished = survives(() => {
					const running = new TinyMeter(flash);
					for (let minute = 0; minute < 45; minute++) {
						running.minute();
						acknowledged = running.total;
					}
				});
				flash.restart();
				cuts++;
				for (let again = 1, recovered = false; !recovered; again++) {
					const inner = new FlashSimulator({ ...METER, image: flash.image });
					inner.powerCut(again, tornBytes);
					recovered = survives(() => new TinyMeter(inner));
					inner.restart();
					const after = new TinyMeter(inner);
					assert.ok(after.total >= acknowledged, "an acknowledged commit is lost");
					assert.ok(after.total <= acknowledged + 1, "more than was written");
					after.checkRows();
					for (let minute = 0; minute < 4; minute++) after.minute();
					after.checkRows();
				}
			}
		}
	}
	console.log(`${cuts} cuts`);
});

test("a commit under a failing supply erases nothing, at every fill; a fluttering signal is limited", () => {
	const flash = new FlashSimulator({ ...STRICT, sectorCount: 64 });
	const store = new RegisterStore(flash, 60_000, { firstSector: 0, sectorCount: 64 });
	assert.equal(store.open(), Status.ok);
	const bytes = new Uint8Array(512);
	for (let minute = 0; minute < 1000; minute++) {
		assert.equal(store.commit(minute * 60_000, bytes, 512), Status.ok);
		assert.equal(store.deadlineMilliseconds(), (minute + 1) * 60_000);
		const { erases } = flash.counters;
		assert.equal(store.commitPowerFail(minute * 60_000 + 1000, bytes, 512), Status.ok);
		assert.equal(flash.counters.erases, erases);
		assert.equal(store.commitPowerFail(minute * 60_000 + 2000, bytes, 512), Status.busy);
	}
	assert.equal(store.powerFailCommitsRefused, 1000);
});
