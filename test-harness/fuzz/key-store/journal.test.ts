import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "../../../src/bytes/crc.js";
import { STATUS_COUNT, Status, statusName } from "../../../src/bytes/status.js";
import type { KeyStore } from "../../../src/key-store/key-store.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { seed } from "../../seed.js";
import { TestPart } from "../../unit/key-store/test-part.js";
import { AREA, meterOpen, newFlash, openWorld, PROVISIONING, Server } from "../../unit/key-store/world.js";
import { flashOf, loadImages } from "../../vectors/key-store/images.js";
import { generator } from "../mqtt/frames.js";

/** `FUZZ_CASES` for a longer run. */
const CASES = Number(process.env["FUZZ_CASES"] ?? 3000);
const SECTOR = 1024;
const KIND = Buffer.from("Keys");

function stateOf(store: KeyStore, part: TestPart): string {
	const indices = [0, 1].flatMap((branch) => [store.upIndex(branch as 0 | 1), store.downIndex(branch as 0 | 1)]);
	const names = [store.isProvisioned, store.epoch, store.generation, store.headSequence, store.flashSlotNext];
	return `${names.join(" ")} ${indices.join(" ")} ${Buffer.from(part.state).toString("hex")}`;
}

/** Makes both checksums of a sector right again, so that what is behind them is reached. */
function repair(image: Uint8Array, sector: number): void {
	const at = sector * SECTOR;
	const view = new DataView(image.buffer, image.byteOffset + at, SECTOR);
	view.setUint32(12, crc32(image, at, 12));
	const bodyBytes = 16 + Math.ceil(view.getUint16(20) / 16) * 16;
	if (32 + bodyBytes <= SECTOR) view.setUint32(24, crc32(image, at + 32, bodyBytes));
	view.setUint32(28, crc32(image, at + 16, 12, crc32(KIND, 0, 4)));
}

function change(image: Uint8Array, random: (below: number) => number): void {
	const sector = AREA.firstSector + random(AREA.sectorCount);
	const at = sector * SECTOR;
	switch (random(8)) {
		case 0:
			image[at + random(64)]! ^= 1 << random(8);
			break;
		case 1:
			image[at + random(SECTOR)] = random(256);
			break;
		case 2:
			image.fill(random(2) === 0 ? 0xff : random(256), at + random(SECTOR), at + SECTOR);
			break;
		case 3: // a sector in another one's place
			image.copyWithin((AREA.firstSector + random(AREA.sectorCount)) * SECTOR, at, at + SECTOR);
			break;
		case 4:
			for (let i = 0; i < SECTOR; i++) image[at + i] = random(256);
			if (random(2) === 0) image.set(KIND, at);
			break;
		default: {
			// a field of mark or commit, with checksums that say it is right
			const field = [4, 8, 16, 20, 21, 22, 23, 32, 48][random(9)]!;
			image[at + field] = random(2) === 0 ? random(256) : image[at + field]! + 1;
			repair(image, sector);
		}
	}
}

test("journal: any content of flash opens to a state that was written, or to none, with a status", () => {
	const random = generator(seed);
	const sources = [1, 2].flatMap((version) => {
		const images = loadImages(version);
		return images.images.map((image) => flashOf(images, image).image);
	});
	const open = (image: Uint8Array) => {
		const part = new TestPart();
		const flash = newFlash({ image });
		return { ...openWorld(flash, new NodeCrypto(), { part, isUnwitnessed: true }), part };
	};
	const written = new Set(
		sources.map((image) => {
			const { store, part } = open(image);
			return stateOf(store, part);
		}),
	);
	const seen = new Array<number>(STATUS_COUNT).fill(0);
	for (let i = 0; i < CASES; i++) {
		const image = sources[random(sources.length)]!.slice();
		if (random(4) === 0) {
			// two stores of one device in one area
			const other = sources[random(sources.length)]!;
			const at = (AREA.firstSector + random(AREA.sectorCount)) * SECTOR;
			image.set(other.subarray(at, at + SECTOR), at);
		}
		for (let count = random(4); count > 0; count--) change(image, random);
		const where = `seed ${seed}, case ${i}`;
		const { store, flash, part, arena } = open(image);
		const status = store.counters.counts.findIndex((count) => count > 0) as Status;
		assert.ok(status >= 0, where);
		seen[status]!++;
		if (status === Status.ok) {
			assert.ok(written.has(stateOf(store, part)), `${where}: a state that nobody wrote`);
			const again = open(flash.image);
			assert.equal(stateOf(again.store, again.part), stateOf(store, part), where);
		} else {
			assert.ok(
				arena.bytes.every((byte) => byte === 0),
				`${where}: secrets are left after ${statusName(status)}`,
			);
			assert.equal(part.state.length, 0, where);
			if (!(status === Status.badLength || status === Status.badVersion))
				assert.ok(Buffer.from(image).equals(flash.image), `${where}: ${statusName(status)} changed flash`);
		}
		for (const sector of [0, 4])
			assert.ok(
				Buffer.from(flash.image.subarray(sector * SECTOR, (sector + 1) * SECTOR)).every((byte) => byte === 0xff),
				`${where}: a neighbour was written`,
			);
		if (i % 10 > 0) continue;
		// There is a way out of everything: new keys, if need be after a reset.
		if (store.provision(PROVISIONING) === Status.busy) assert.equal(store.factoryReset(), Status.ok, where);
		if (!store.isProvisioned) assert.equal(store.provision(PROVISIONING), Status.ok, where);
		assert.equal(store.witness(0), Status.ok, where);
		assert.equal(meterOpen(store, new Server(0).seal("works")), "works", where);
	}
	console.log(seen.flatMap((count, status) => (count > 0 ? [`${statusName(status)} ${count}`] : [])).join(", "));
	assert.ok(
		seen[Status.ok]! > CASES / 20 && seen[Status.badTag]! > CASES / 100 && seen[Status.corrupt]! > CASES / 100,
		"all paths",
	);
});
