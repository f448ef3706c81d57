import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import type { KeyStore } from "../../src/key-store/key-store.js";
import { type FlashSimulator, PowerCut } from "../board/flash-simulator.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { seed } from "../seed.js";
import { TestPart } from "../unit/key-store/test-part.js";
import {
	AREA,
	attachContent,
	deviceKey,
	meterOpen,
	meterSeal,
	newFlash,
	openWorld,
	PROVISIONING,
	Server,
	type World,
} from "../unit/key-store/world.js";
import { flashOf, loadImages } from "../vectors/key-store/images.js";

const DAY = PROVISIONING.epoch;
const MARK_BYTES = 16;
const TORN: readonly { tornBytes: number; tear: "prefix" | "scattered"; seed: number }[] = [
	...[0, 1, 5, 15, 16, 17, 200, 511, 512, 528, 564, 576, 1024].map((tornBytes) => ({
		tornBytes,
		tear: "prefix" as const,
		seed,
	})),
	...[1, 2, 3, 4, 5].map((n) => ({ tornBytes: 0, tear: "scattered" as const, seed: seed + n })),
];

/** With a part each, so that its bytes are in every record. */
const parts = new WeakMap<KeyStore, TestPart>();

function open(flash: FlashSimulator): World {
	const part = new TestPart();
	const world = openWorld(flash, new NodeCrypto(), { key: deviceKey(), part });
	parts.set(world.store, part);
	return world;
}

/** What can be seen of a store from outside, and must be one of two things after a cut. */
function stateOf(store: KeyStore): string {
	const version = store.minimumSecurityVersion();
	if (!store.isProvisioned) return version === 0 ? "none" : `none, version ${version}`;
	const indices = [store.upIndex(0), store.upIndex(1), store.downIndex(0), store.downIndex(1)];
	const names = [store.generation, store.domain, store.concentrator, store.flashSlotNext, version];
	const part = Buffer.from(parts.get(store)!.state).toString("hex");
	return `day ${store.epoch}, ${indices.join(" ")}, ${names.join(" ")}, part ${part}`;
}

interface Operation {
	readonly name: string;
	/** Flash before, and a server of branch 0 on the same state. */
	prepare(): { image: Uint8Array; server: Server; text: Uint8Array };
	/** Does it. @returns whether it was acted on: the new state must then be there */
	act(store: KeyStore, text: Uint8Array): boolean;
}

function begin(change: (store: KeyStore, server: Server) => void = () => {}): ReturnType<Operation["prepare"]> {
	const flash = newFlash();
	const { store } = open(flash);
	const server = new Server(0);
	assert.equal(store.provision(PROVISIONING), Status.ok);
	store.witness(0);
	change(store, server);
	return { image: flash.image, server, text: server.seal("a message") };
}

const blank = () => ({ image: newFlash().image, server: new Server(0), text: new Uint8Array(0) });
const torn = () => {
	const flash = newFlash();
	flash.powerCut(8, 5); // in the commit: three sectors are erased and marked, the record is written
	assert.throws(() => open(flash).store.provision(PROVISIONING), PowerCut);
	return { ...blank(), image: flash.image };
};
const resetImage = () => {
	const { flash, store } = open(newFlash());
	assert.equal(store.provision(PROVISIONING), Status.ok);
	assert.equal(store.factoryReset(), Status.ok);
	return flash.image;
};
const RENEWAL = Object.freeze({
	...PROVISIONING,
	generation: 2,
	epoch: DAY + 1,
	roots: Uint8Array.from({ length: 64 }, (_, i) => 200 - i),
});
const roll = (epoch: number) => (store: KeyStore) =>
	store.stageEpoch(epoch, true) === Status.ok && store.commitEpoch() === Status.ok;

const OPERATIONS: readonly Operation[] = [
	{ name: "provision", prepare: blank, act: (store) => store.provision(PROVISIONING) === Status.ok },
	{ name: "provision after a cut one", prepare: torn, act: (store) => store.provision(PROVISIONING) === Status.ok },
	{ name: "open a message", prepare: () => begin(), act: (store, text) => meterOpen(store, text) === "a message" },
	{ name: "reserve indices", prepare: () => begin(), act: (store) => meterSeal(store, "up").length > 0 },
	{ name: "roll one day", prepare: () => begin(), act: roll(DAY + 1) },
	{ name: "jump 365 days", prepare: () => begin(), act: roll(DAY + 365) },
	{
		name: "end yesterday",
		prepare: () => begin((store) => assert.ok(roll(DAY + 1)(store))),
		act: (store) => store.endYesterday() === Status.ok,
	},
	{
		name: "renew the keys",
		prepare: () => begin((store) => assert.ok(roll(DAY + 1)(store))),
		act: (store) => store.stageReseed(RENEWAL) === Status.ok && store.commitReseed() === Status.ok,
	},
	{
		name: "another concentrator",
		prepare: () => {
			const { image, server } = begin();
			return { image, server, text: server.sealBytes(attachContent(DAY), 0x10) };
		},
		act: (store, text) => store.openMessage(text, text.length, new Uint8Array(64)) === Status.ok,
	},
	{ name: "use a flash slot", prepare: () => begin(), act: (store) => store.useFlashSlot(3) === Status.ok },
	{ name: "raise the version", prepare: () => begin(), act: (store) => store.raiseSecurityVersion(2) === Status.ok },
	{
		name: "raise the version without keys",
		prepare: () => ({ ...blank(), image: resetImage() }),
		act: (store) => store.raiseSecurityVersion(2) === Status.ok,
	},
	{
		name: "a message of the group",
		prepare: () => begin(),
		act: (store) => {
			parts.get(store)!.stageGeneration();
			return store.commitPart() === Status.ok;
		},
	},
	{
		name: "use a flash slot, from a record of version 1",
		prepare: () => {
			const images = loadImages(1);
			const server = new Server(0);
			return { image: flashOf(images, images.images[0]!).image, server, text: server.seal("a message") };
		},
		act: (store) => store.useFlashSlot(3) === Status.ok,
	},
	{ name: "factory reset", prepare: () => begin(), act: (store) => store.factoryReset() === Status.ok },
];

/** False when power failed in it. */
function survives(action: () => void): boolean {
	try {
		action();
		return true;
	} catch (error) {
		if (error instanceof PowerCut) return false;
		throw error;
	}
}

/** One record and nothing else: all sectors but one are blank behind their mark; the neighbours are as they were. */
function checkFlash(flash: FlashSimulator, before: Uint8Array, where: string): void {
	const { image, sectorBytes } = flash;
	let records = 0;
	for (let sector = 0; sector < flash.sectorCount; sector++) {
		const bytes = image.subarray(sector * sectorBytes, (sector + 1) * sectorBytes);
		if (sector < AREA.firstSector || sector >= AREA.firstSector + AREA.sectorCount)
			assert.ok(Buffer.from(bytes).equals(before.subarray(sector * sectorBytes, (sector + 1) * sectorBytes)), where);
		else if (bytes.subarray(MARK_BYTES).some((byte) => byte !== 0xff)) records++;
	}
	assert.equal(records, 1, `${where}: records, or parts of them, in flash`);
}

let cuts = 0;

for (const { name, prepare, act } of OPERATIONS)
	test(`${name}: a cut at every flash operation, and at every one of the recovery`, () => {
		const { image, server, text } = prepare();
		const before = open(newFlash({ image }));
		const beforeState = stateOf(before.store);
		const beforeHead = before.store.headSequence;
		assert.ok(act(before.store, text));
		const after = stateOf(open(before.flash).store);
		if (name !== "end yesterday") assert.notEqual(after, beforeState);
		const old = Buffer.from(image);

		for (const options of TORN)
			for (let operation = 1, finished = false; !finished; operation++) {
				const flash = newFlash({ ...options, image });
				let acted = false;
				const sent: number[] = [];
				const { store } = open(flash);
				flash.powerCut(operation, options.tornBytes);
				finished = survives(() => {
					acted = act(store, text);
					if (name === "reserve indices") sent.push(store.upIndex(0) - 1);
				});
				cuts++;
				assert.equal(acted, finished);
				for (let again = 1, recovered = false; !recovered; again++) {
					const where = `${name}, seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}, then ${again}`;
					const inner = newFlash({ ...options, image: flash.image });
					inner.powerCut(again, options.tornBytes);
					recovered = survives(() => open(inner));
					cuts++;
					inner.restart();
					const { store: found } = open(inner);
					const state = stateOf(found);
					if (finished) assert.equal(state, after, where);
					else assert.ok(state === beforeState || state === after, `${where}: ${state}`);
					if (found.headSequence > 0) {
						assert.ok(found.headSequence >= beforeHead, where);
						checkFlash(inner, image, where);
						// Nothing of the old record when the new one is there: each block of 16 bytes is looked for.
						if (found.headSequence > beforeHead && beforeHead > 0) {
							const now = Buffer.from(inner.image);
							for (let sector = AREA.firstSector; sector < AREA.firstSector + AREA.sectorCount; sector++)
								for (let at = 32; at < 576; at += 16) {
									const block = old.subarray(sector * 1024 + at, sector * 1024 + at + 16);
									if (!block.every((byte) => byte === 0xff)) assert.equal(now.indexOf(block), -1, where);
								}
						}
					} else assert.equal(beforeHead, 0, where);

					// The meter goes on: no index twice, a message once, and the next change holds.
					if (state.startsWith("none")) {
						assert.equal(found.provision(PROVISIONING), Status.ok, where);
						assert.equal(found.witness(0), Status.ok, where);
						assert.equal(meterOpen(found, new Server(0).seal("new")), "new", where);
						continue;
					}
					for (const index of sent) assert.ok(found.upIndex(0) > index, `${where}: index ${index} again`);
					if (name === "open a message") {
						const answer = meterOpen(found, text);
						assert.equal(answer, state === after ? Status.replayed : "a message", where);
						if (acted) assert.equal(answer, Status.replayed, where);
					} else if (name === "another concentrator") {
						const answer = meterOpen(found, text);
						assert.equal(answer, state === after ? Status.notFound : "", where);
					} else if (found.epoch === DAY && text.length > 0) assert.equal(meterOpen(found, text), "a message", where);
					assert.equal(found.stageEpoch(DAY + 400, true), Status.ok, where);
					assert.equal(found.commitEpoch(), Status.ok, where);
					assert.match(stateOf(open(inner).store), new RegExp(`^day ${DAY + 400}, 64 64 0 0,`), where);
					checkFlash(inner, image, where);
				}
			}
		assert.ok(server.saves > 0);
		console.log(`${cuts} cuts so far`);
	});

test("a life of many cuts: no index twice, no message twice, the head never goes back, wear is even", () => {
	let random = seed;
	const below = (limit: number) => {
		random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fff_ffff;
		return (random >>> 8) % limit;
	};
	const flash = newFlash({ tear: "scattered", seed });
	let { store } = open(flash);
	assert.equal(store.provision(PROVISIONING), Status.ok);
	store.witness(0);
	const server = new Server(0);
	const used = new Set<number>();
	const delivered = new Set<string>();
	const sealed: Uint8Array[] = [];
	let head = store.headSequence;
	for (let step = 0; step < 600; step++) {
		if (below(3) === 0) flash.powerCut(1 + below(5), 0);
		const alive = survives(() => {
			if (below(2) === 0) {
				server.unicast.acknowledge(server.unicast.downIndex);
				const bytes = server.seal(`message ${step}`);
				if (bytes.length > 0) sealed.push(bytes);
				const which = sealed[Math.max(0, sealed.length - 1 - below(4))];
				const answer = which === undefined ? Status.ok : meterOpen(store, which);
				if (typeof answer === "string") {
					assert.ok(!delivered.has(answer), `seed ${seed}: ${answer} twice`);
					delivered.add(answer);
				}
			} else {
				const bytes = meterSeal(store, "x");
				if (bytes.length > 0) {
					const index = bytes[7]! * 256 + bytes[8]!;
					assert.ok(!used.has(index), `seed ${seed}: index ${index} twice`);
					used.add(index);
				}
			}
			assert.ok(store.headSequence >= head);
			head = store.headSequence;
		});
		if (!alive)
			for (let up = false; !up; ) {
				flash.restart();
				if (below(3) === 0) flash.powerCut(1 + below(3), 0);
				up = survives(() => {
					({ store } = open(flash));
				});
				if (up) assert.ok(store.headSequence >= head, `seed ${seed}: the head went back`);
			}
	}
	flash.restart();
	assert.ok(used.size > 20 && delivered.size > 50, `${used.size} sent, ${delivered.size} delivered`);
	const wear = [...flash.wear].slice(AREA.firstSector, AREA.firstSector + AREA.sectorCount);
	console.log(`wear ${wear.join(" ")}, ${used.size} sent, ${delivered.size} delivered`);
	assert.equal(flash.wear[0], 0);
});
