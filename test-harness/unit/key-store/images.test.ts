import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { NobleCrypto } from "../../../src/crypto/noble-crypto.js";
import { toHex } from "../../crypto/vector-suite.js";
import { flashOf, loadImages } from "../../vectors/key-store/images.js";
import { TestPart } from "./test-part.js";
import { meterOpen, meterSeal, openWorld, PROVISIONING } from "./world.js";

for (const version of [1, 2]) {
	const images = loadImages(version);
	for (const image of images.images)
		test(`a flash image of version ${version}, ${image.name}: opens, goes on, and is written back as version 2`, () => {
			const flash = flashOf(images, image);
			const before = Buffer.from(flash.image);
			const part = new TestPart();
			const { store } = openWorld(flash, new NobleCrypto(), { part });
			assert.equal(store.journal.payloadVersion, version, "version");
			assert.equal(store.isProvisioned, image.isProvisioned, "provisioned");
			assert.equal(store.epoch, image.epoch, "epoch");
			assert.equal(store.headSequence, image.sequence, "sequence");
			const tag = new Uint8Array(8);
			store.journal.copyHeadTag(tag, 0);
			assert.equal(toHex(tag), image.headTag, "head tag");
			assert.deepEqual([store.upIndex(0), store.upIndex(1)], image.upIndex, "up");
			assert.deepEqual([store.downIndex(0), store.downIndex(1)], image.downIndex, "down");
			const updateKey = new Uint8Array(56);
			store.copyUpdateKey(updateKey, 0);
			const { more } = image;
			const { calendar } = store;
			if (more === undefined) {
				assert.equal(calendar.levels, 0, "version 1 has no calendar");
				assert.equal(store.unacknowledged(0), 0, "what was sent before is past");
				assert.equal(part.state.length, 0, "and no part");
			} else
				assert.deepEqual(
					{
						generation: store.generation,
						domain: store.domain,
						shortAddress: store.shortAddress,
						concentrator: store.concentrator,
						calendarRoot: toHex(calendar.root),
						calendarFirstEpoch: calendar.firstEpoch,
						calendarLevels: calendar.levels,
						intervalSeconds: store.intervalSeconds,
						updateKey: toHex(updateKey),
						minimumSecurityVersion: store.minimumSecurityVersion(),
						flashSlotNext: store.flashSlotNext,
						unacknowledged: [store.unacknowledged(0), store.unacknowledged(1)],
						part: toHex(part.state),
					},
					more,
				);
			assert.ok(before.equals(flash.image), "opening a whole image changes nothing");
			for (const [branch, wanted] of image.seals.entries())
				assert.equal(toHex(meterSeal(store, "seal me", branch as 0 | 1)), wanted, `sealed on branch ${branch}`);
			for (const sealed of image.opens)
				assert.match(String(meterOpen(store, Buffer.from(sealed, "hex"))), /open me$/, "opened");
			if (!image.isProvisioned) assert.equal(store.provision(PROVISIONING), Status.ok, "provisioned anew");
			assert.ok(store.headSequence > image.sequence, "something was written");
			const again = openWorld(flash, new NobleCrypto(), { part: new TestPart() }).store;
			assert.equal(again.journal.payloadVersion, 2, "written as version 2");
			assert.equal(again.downIndex(0), store.downIndex(0), "with what was opened");
			assert.equal(again.minimumSecurityVersion(), more?.minimumSecurityVersion ?? 0, "the version stays");
		});
}
