import { writeFileSync } from "node:fs";
import type { KeyStore } from "../../../src/key-store/key-store.js";
import type { FlashSimulator } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { toHex } from "../../crypto/vector-suite.js";
import { TestPart } from "../../unit/key-store/test-part.js";
import {
	attachContent,
	dayValue,
	meterOpen,
	meterSeal,
	newFlash,
	openWorld,
	PROVISIONING,
	Server,
} from "../../unit/key-store/world.js";
import { type JournalImage, sectorsOf } from "./images.js";

/*
 * Makes the flash images of payload version 2: `node --import tsx test-harness/vectors/key-store/generate.ts`. Run once;
 * the images are kept as they are, so that every later firmware is shown to read them. A new version gets a file of its
 * own, and this script then makes that one. journal-v1.json was made in the same way, before version 2 was written.
 */
const DAY = PROVISIONING.epoch;
const images: JournalImage[] = [];

function take(name: string, flash: FlashSimulator, servers: readonly Server[], late: readonly Uint8Array[] = []): void {
	const part = new TestPart();
	const { store } = openWorld(newFlash({ image: flash.image }), new NodeCrypto(), { part });
	const { isProvisioned } = store;
	const headTag = new Uint8Array(8);
	store.journal.copyHeadTag(headTag, 0);
	const updateKey = new Uint8Array(56);
	store.copyUpdateKey(updateKey, 0);
	images.push({
		name,
		sectors: sectorsOf(flash),
		isProvisioned,
		epoch: store.epoch,
		sequence: store.headSequence,
		headTag: toHex(headTag),
		upIndex: [store.upIndex(0), store.upIndex(1)],
		downIndex: [store.downIndex(0), store.downIndex(1)],
		opens: isProvisioned ? [...late, ...servers.map((server) => server.seal("open me"))].map(toHex) : [],
		more: {
			generation: store.generation,
			domain: store.domain,
			shortAddress: store.shortAddress,
			concentrator: store.concentrator,
			calendarRoot: toHex(store.calendar.root),
			calendarFirstEpoch: store.calendar.firstEpoch,
			calendarLevels: store.calendar.levels,
			intervalSeconds: store.intervalSeconds,
			updateKey: toHex(updateKey),
			minimumSecurityVersion: store.minimumSecurityVersion(),
			flashSlotNext: store.flashSlotNext,
			unacknowledged: [store.unacknowledged(0), store.unacknowledged(1)],
			part: toHex(part.state),
		},
		seals: isProvisioned ? ([0, 1] as const).map((branch) => toHex(meterSeal(store, "seal me", branch))) : [],
	});
}

function roll(store: KeyStore, servers: readonly Server[], epoch: number): void {
	store.stageEpoch(epoch, true);
	store.commitEpoch();
	for (const branch of [0, 1] as const) servers[branch]!.unicast.startDay(epoch, dayValue(branch, epoch), 0);
}

const flash = newFlash();
const part = new TestPart();
const { store } = openWorld(flash, new NodeCrypto(), { part });
store.provision(PROVISIONING);
store.witness(0);
const servers = [new Server(0), new Server(1)];
take("provisioned", flash, servers);
for (const server of servers) server.unicast.acknowledge(server.unicast.downIndex);
for (let i = 0; i < 3; i++) {
	servers[0]!.open(meterSeal(store, "up"));
	meterOpen(store, servers[0]!.seal("down"));
}
for (let i = 0; i < 70; i++) meterSeal(store, "up", 1);
meterSeal(store, "", 0, 0x0a);
meterOpen(store, servers[0]!.seal("answer", 0x0b));
store.useFlashSlot(5);
store.raiseSecurityVersion(3);
part.stageGeneration();
store.commitPart();
const late = servers.map((server) => server.seal("late, open me"));
roll(store, servers, DAY + 1);
meterSeal(store, "up");
take("second day, yesterday's receiving chains kept", flash, servers, late);
store.endYesterday();
roll(store, servers, DAY + 400);
take("400 days later", flash, servers);
meterOpen(store, servers[0]!.sealBytes(attachContent(DAY + 400), 0x10));
take("under another concentrator", flash, [servers[0]!.moved(0x1112, 0x1314)]);
store.factoryReset();
take("after a factory reset", flash, servers);

const source = "generate.ts in this folder, payload version 2";
const vectors = { source, deviceKey: "80 to 9f, 32 bytes", sectorBytes: 1024, sectorCount: 5, firstSector: 1, images };
writeFileSync(new URL("journal-v2.json", import.meta.url), `${JSON.stringify(vectors, undefined, "\t")}\n`);
