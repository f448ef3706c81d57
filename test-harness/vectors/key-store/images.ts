import { readFileSync } from "node:fs";
import { FlashSimulator } from "../../board/flash-simulator.js";
import { toHex } from "../../crypto/vector-suite.js";

/** A flash image of the key journal and what a later firmware must find in it. */
export interface JournalImage {
	readonly name: string;
	/** Of each sector that is not blank: its bytes up to the last block that is not. */
	readonly sectors: Readonly<Record<string, string>>;
	readonly isProvisioned: boolean;
	readonly epoch: number;
	readonly sequence: number;
	readonly headTag: string;
	readonly upIndex: readonly number[];
	readonly downIndex: readonly number[];
	/** Messages to the meter that must open, in turn; the text ends in "open me". */
	readonly opens: readonly string[];
	/** What the meter makes of "seal me" next, under type 0x08, on the branches in turn. */
	readonly seals: readonly string[];
	/** From version 2 on. */
	readonly more?: {
		readonly generation: number;
		readonly domain: number;
		readonly shortAddress: number;
		readonly concentrator: number;
		readonly calendarRoot: string;
		readonly calendarFirstEpoch: number;
		readonly calendarLevels: number;
		readonly intervalSeconds: number;
		readonly updateKey: string;
		readonly minimumSecurityVersion: number;
		readonly flashSlotNext: number;
		readonly unacknowledged: readonly number[];
		/** The part of 36 bytes that test-part.ts keeps. */
		readonly part: string;
	};
}

export interface JournalImages {
	readonly source: string;
	readonly sectorBytes: number;
	readonly sectorCount: number;
	readonly images: readonly JournalImage[];
}

export function loadImages(version: number): JournalImages {
	return JSON.parse(readFileSync(new URL(`journal-v${version}.json`, import.meta.url), "utf8")) as JournalImages;
}

export function flashOf({ sectorBytes, sectorCount }: JournalImages, { sectors }: JournalImage): FlashSimulator {
	const image = new Uint8Array(sectorBytes * sectorCount).fill(0xff);
	for (const [sector, hex] of Object.entries(sectors)) image.set(Buffer.from(hex, "hex"), Number(sector) * sectorBytes);
	return new FlashSimulator({ sectorBytes, sectorCount, writeBytes: 16, writeOnce: true, image });
}

export function sectorsOf(flash: FlashSimulator): Record<string, string> {
	const found: Record<string, string> = {};
	const { image, sectorBytes } = flash;
	for (let sector = 0; sector < flash.sectorCount; sector++) {
		const bytes = image.subarray(sector * sectorBytes, (sector + 1) * sectorBytes);
		const last = bytes.findLastIndex((byte) => byte !== 0xff);
		if (last >= 0) found[sector] = toHex(bytes.subarray(0, (last | 15) + 1));
	}
	return found;
}
