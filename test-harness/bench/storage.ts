import { METER_STATE_BYTES } from "../../src/meter/meter-state.js";
import { EventStore } from "../../src/storage/event-store.js";
import {
	EVENT_SECTORS,
	PROFILE_SECTORS,
	REGISTER_SECTORS,
	type SectorRange,
	STORAGE_SECTORS,
} from "../../src/storage/layout.js";
import { createProfileRow, ProfileStore } from "../../src/storage/profile-store.js";
import { RegisterStore } from "../../src/storage/register-store.js";
import { SettingsStore } from "../../src/storage/settings-store.js";
import { FlashSimulator } from "../board/flash-simulator.js";
import type { Measurement } from "../commands/bench.js";

/** Erases that a sector of NOR flash bears (design/metrology.md section 3: from general knowledge). */
const ENDURANCE_ERASES = 100_000;
const MINUTES_PER_DAY = 1440;
const EVENTS_PER_DAY = 20;

interface Stores {
	readonly registers: RegisterStore;
	readonly profile: ProfileStore;
	readonly events: EventStore;
	readonly settings: SettingsStore;
}

function openStores(flash: FlashSimulator): Stores {
	const stores: Stores = {
		registers: new RegisterStore(flash),
		profile: new ProfileStore(flash),
		events: new EventStore(flash),
		settings: new SettingsStore(flash),
	};
	for (const store of Object.values(stores) as { open(): number }[]) store.open();
	return stores;
}

function mostWorn(flash: FlashSimulator, area: SectorRange): number {
	return Math.max(...flash.wear.subarray(area.firstSector, area.firstSector + area.sectorCount));
}

/** `days` days at default settings: a commit a minute, a row every 15 minutes, 20 events and no settings a day. */
export function liveThrough(flash: FlashSimulator, days: number, onDay?: (day: number) => void): Stores {
	const stores = openStores(flash);
	const registers = new Uint8Array(METER_STATE_BYTES);
	const row = createProfileRow();
	let minute = 0;
	for (let day = 0; day < days; day++) {
		for (let i = 0; i < MINUTES_PER_DAY; i++, minute++) {
			registers[minute % METER_STATE_BYTES]!++;
			if (minute % 15 === 14) {
				row.intervalStartSeconds = (minute - 14) * 60;
				stores.registers.commitWithRow(minute * 60_000, registers, registers.length, row, stores.profile);
			} else {
				stores.registers.commit(minute * 60_000, registers, registers.length);
			}
			if (i % (MINUTES_PER_DAY / EVENTS_PER_DAY) === 0) stores.events.append(minute * 60, 1, day);
		}
		onDay?.(day);
	}
	return stores;
}

export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	const flash = new FlashSimulator({ sectorCount: STORAGE_SECTORS });
	const days = 365;
	const start = performance.now();
	const stores = liveThrough(flash, days, (day) => {
		if (day % 10 === 0) onProgress(`day ${day} of ${days}`);
	});
	const seconds = (performance.now() - start) / 1000;
	const { counters } = flash;
	const life = (area: SectorRange) => (days / 365 / mostWorn(flash, area)) * ENDURANCE_ERASES;
	const figures: Measurement[] = [
		{ name: "flash programmed a day", value: counters.bytesProgrammed / days, unit: "B", note: "default settings" },
		{ name: "flash erases a day", value: counters.erases / days, unit: "sectors", note: "all areas" },
		{
			name: "most worn register sector",
			value: mostWorn(flash, REGISTER_SECTORS),
			unit: "erases a year",
			note: `${stores.registers.log.counters.erases} over ${REGISTER_SECTORS.sectorCount} sectors`,
		},
		{
			name: "flash life, registers",
			value: life(REGISTER_SECTORS),
			unit: "years",
			note: `${ENDURANCE_ERASES} erases a sector`,
		},
		{ name: "flash life, load profile", value: life(PROFILE_SECTORS), unit: "years" },
		{ name: "flash life, events", value: life(EVENT_SECTORS), unit: "years", note: `${EVENTS_PER_DAY} events a day` },
		{ name: "storage of a simulated year on Node", value: seconds, unit: "s", note: "526 000 commits" },
	];
	stores.settings.replace(new Uint8Array(1024), 1024, 1);
	const onFull = openStores(flash);
	for (const [name, store] of Object.entries(onFull)) {
		const { reads, bytesRead } = store.log.counters;
		figures.push({ name: `open ${name}, reads`, value: reads, unit: "reads", note: `${bytesRead} B, full log` });
	}
	const before = { ...onFull.profile.log.counters };
	const row = createProfileRow();
	const { oldestSequence } = onFull.profile;
	for (let i = 0; i < 1000; i++) onFull.profile.read(oldestSequence + i, row);
	const { reads } = onFull.profile.log.counters;
	figures.push({ name: "read a row in sequence", value: (reads - before.reads) / 1000, unit: "reads" });
	for (let i = 0; i < 1000; i++) onFull.profile.read(oldestSequence + ((i * 7919) % 5900), row);
	figures.push({
		name: "read a row anywhere",
		value: (onFull.profile.log.counters.reads - reads) / 1000,
		unit: "reads",
		note: `binary search over ${PROFILE_SECTORS.sectorCount} sectors`,
	});
	return figures;
}
