import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
	createUpdateStatus,
	decodeUpdateStatus,
	encodeUpdateData,
	encodeUpdateOffer,
	encodeUpdateOrder,
	FirmwareTarget,
	UPDATE_BLOCK_BYTES,
	UpdateResult,
	UpdateState,
	type UpdateStatus,
} from "../../../src/messages/firmware-update.js";
import { Kind } from "../../../src/messages/kinds.js";
import { STORAGE_SECTORS } from "../../../src/storage/layout.js";
import { buildEngine } from "../../build/engine.js";
import { buildFirmware } from "../../build/firmware.js";
import { LinuxXsTarget } from "../../device/linux-xs.js";
import { ROOT } from "../../root.js";
import { Driver } from "../device/driver.js";
import { bodyOf, type Image, KEY, signImage } from "./world.js";

let driver: Driver;
const archives = new Map<string, Uint8Array>();

before(async () => {
	const { host } = await buildEngine({ sanitize: process.env["WATTLOCK_SANITIZE"] === "1" });
	let builtIn = "";
	for (const name of ["trial-1", "trial-2", "trial-3", "trial-broken"]) {
		const entry = join(ROOT, "test-harness", "unit", "firmware-update", "firmware", `${name}.ts`);
		const { archive } = await buildFirmware({ entry, name: `update-${name}` });
		if (name === "trial-1") builtIn = archive;
		archives.set(name, Uint8Array.from(readFileSync(archive)));
	}
	driver = new Driver(new LinuxXsTarget({ host, archive: builtIn, threads: 2 }));
	await driver.start();
});

after(async () => {
	await driver.target.stop();
});

function imageOf(name: string, minor: number): Image {
	return signImage({ version: [0, minor, 0], target: FirmwareTarget.linuxXs, body: archives.get(name)! });
}

/** A meter on the XS host, with its power switch and a sender. */
class XsMeter {
	readonly #index: number;
	#now = 1000;

	constructor(index: number) {
		this.#index = index;
	}

	/** @returns what its firmware says first, or how the start failed */
	async powerOn(): Promise<string> {
		driver.take(this.#index);
		await driver.powerOn(this.#index, {
			nowMilliseconds: this.#now,
			sectorCount: STORAGE_SECTORS,
			settingsText: JSON.stringify([...KEY.publicKey]),
		});
		const lines = driver.take(this.#index);
		return lines.find((line) => /firmware 0|aborted/.test(line)) ?? lines.join();
	}

	async cut(): Promise<void> {
		await driver.powerCut(this.#index);
	}

	/** @returns everything said meanwhile */
	async send(encode: (into: DataView) => number, milliseconds = 0): Promise<string[]> {
		const bytes = new Uint8Array(2 + 1024);
		const byteLength = encode(new DataView(bytes.buffer, 2));
		new DataView(bytes.buffer).setUint16(0, byteLength);
		driver.target.linkData(this.#index, bytes.subarray(0, 2 + byteLength));
		this.#now += milliseconds;
		await driver.advance(this.#index, this.#now);
		return driver.take(this.#index);
	}

	async status(): Promise<UpdateStatus> {
		const lines = await this.send((into) => encodeUpdateOrder(Kind.updateStatusRequest, 1, 0, into));
		const sent = lines.filter((line) => line.startsWith("sent ")).at(-1) ?? "";
		const bytes = Uint8Array.from(Buffer.from(sent.slice(5), "latin1")).subarray(2);
		const status = createUpdateStatus();
		assert.equal(decodeUpdateStatus(new DataView(bytes.buffer, bytes.byteOffset), bytes.length, status), 0, sent);
		return status;
	}

	/** Up to `verified`. */
	async transfer(image: Image): Promise<void> {
		await this.send((into) => encodeUpdateOffer(1, image.manifest, into));
		for (let at = 0; at < image.signature.length; at += 700) {
			const count = Math.min(700, image.signature.length - at);
			await this.send((into) =>
				encodeUpdateData(Kind.updateSignature, at, image.imageId, image.signature, at, count, into),
			);
		}
		await this.send((into) => encodeUpdateOrder(Kind.updateStatusRequest, 1, 0, into), 5000);
		assert.equal((await this.status()).state, UpdateState.receiving);
		for (let i = image.blockCount - 1; i >= 0; i--) {
			const at = i * UPDATE_BLOCK_BYTES;
			const count = Math.min(UPDATE_BLOCK_BYTES, image.body.length - at);
			await this.send((into) => encodeUpdateData(Kind.updateBlock, i, image.imageId, image.body, at, count, into));
		}
		await this.send((into) => encodeUpdateOrder(Kind.updateStatusRequest, 1, 0, into), 5000);
		assert.equal((await this.status()).state, UpdateState.verified);
	}

	/** The firmware restarts itself: its machine is gone. */
	async activate(image: Image): Promise<void> {
		const lines = await this.send((into) => encodeUpdateOrder(Kind.updateActivate, 1, image.imageId, into));
		assert.match(lines.join(), /aborted 4/);
	}

	async confirm(): Promise<void> {
		const lines = await this.send((into) => {
			into.setUint8(0, 0xff);
			return 1;
		});
		assert.match(lines.join(), /confirmed 0/);
	}
}

test("what was sent, verified and activated is what the machine runs; unconfirmed it is rolled back", async () => {
	const meter = new XsMeter(0);
	assert.match(await meter.powerOn(), /firmware 0\.1\.0 slot 0 state 0/);
	const second = imageOf("trial-2", 2);
	await meter.transfer(second);
	await meter.cut();
	assert.match(await meter.powerOn(), /firmware 0\.1\.0 slot 0 state 6/, "verified, not ordered");
	await meter.activate(second);
	assert.match(await meter.powerOn(), /firmware 0\.2\.0 slot 1 state 8/, "on trial");
	await meter.cut();
	assert.match(await meter.powerOn(), /firmware 0\.1\.0 slot 0 state 0/, "rolled back");
	assert.equal((await meter.status()).result, UpdateResult.rolledBack);

	await meter.transfer(second);
	await meter.activate(second);
	assert.match(await meter.powerOn(), /firmware 0\.2\.0 slot 1 state 8/);
	await meter.confirm();
	await meter.cut();
	assert.match(await meter.powerOn(), /firmware 0\.2\.0 slot 1 state 0/, "it stays");

	const third = imageOf("trial-3", 3);
	await meter.transfer(third);
	await meter.activate(third);
	assert.match(await meter.powerOn(), /firmware 0\.3\.0 slot 2 state 8/);
	await meter.confirm();

	// beside it another meter, on what is built in
	const other = new XsMeter(2);
	assert.match(await other.powerOn(), /firmware 0\.1\.0 slot 0/);
	assert.equal((await meter.status()).minor, 3);
	assert.equal((await other.status()).minor, 1);
	await meter.cut();
	assert.match(await meter.powerOn(), /firmware 0\.3\.0 slot 2 state 0/);
});

test("a trial that is silent is ended by its own clock", async () => {
	const meter = new XsMeter(1);
	await meter.powerOn();
	const image = imageOf("trial-2", 2);
	await meter.transfer(image);
	await meter.activate(image);
	assert.match(await meter.powerOn(), /state 8/);
	const lines = await meter.send((into) => encodeUpdateOrder(Kind.updateStatusRequest, 1, 0, into), 61_000);
	assert.match(lines.join(), /aborted 4/);
	assert.match(await meter.powerOn(), /firmware 0\.1\.0 slot 0 state 0/);
});

test("a firmware that does not load ends its own start and no other meter, and is rolled back", async () => {
	const meter = new XsMeter(3);
	const neighbour = new XsMeter(4);
	await meter.powerOn();
	await neighbour.powerOn();
	const image = imageOf("trial-broken", 2);
	await meter.transfer(image);
	await meter.activate(image);
	assert.match(await meter.powerOn(), /aborted 3 .*does not even load/);
	assert.match(await meter.powerOn(), /firmware 0\.1\.0 slot 0 state 0/);
	assert.equal((await meter.status()).result, UpdateResult.rolledBack);
	assert.equal((await neighbour.status()).minor, 1);
});

test("a body that is no archive of this engine is signed as it may be: it is not started", async () => {
	const meter = new XsMeter(5);
	await meter.powerOn();
	const image = signImage({ target: FirmwareTarget.linuxXs, body: bodyOf(3000, 4) });
	await meter.transfer(image);
	await meter.activate(image);
	assert.match(await meter.powerOn(), /firmware 0\.1\.0 slot 0 state 0/);
	assert.equal((await meter.status()).result, UpdateResult.damaged);
});
