import assert from "node:assert/strict";
import { randomFillSync } from "node:crypto";
import { test } from "node:test";
import { type Meter, startMeter } from "../../../src/meter/meter.js";
import { createDeviceFile, type DeviceFile, encodeDeviceFile } from "../../../src/provisioning/device-file.js";
import { KeyState } from "../../../src/provisioning/provisioning-target.js";
import { KEY_SECTORS, SECTOR_BYTES } from "../../../src/storage/layout.js";
import { FlashSimulator } from "../../board/flash-simulator.js";
import type { OpenedDeviceFile } from "../../provisioning/device-files.js";
import { decommissionDevice, nextKeys, reseedDevice, writeDevice } from "../../provisioning/operations.js";
import { OpticalClient } from "../../provisioning/optical-client.js";
import type { OpticalLine } from "../../provisioning/optical-line.js";
import { runSeconds, secondOfSamples, TestPlatform } from "../../unit/meter/test-platform.js";
import { TestAuthority } from "../../unit/provisioning/test-authority.js";

const ID = "70b3d50000000001";
const LAYOUT = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 } as const;
const SETTINGS = JSON.stringify({ identifier: ID, security: "secured", layout: LAYOUT, intervalSeconds: 60 });
/** 230 V, 3.5 A, PF 1: 805 W. */
const LOAD = secondOfSamples(LAYOUT, 18_400, 1_000);
const SECONDS = 10;
const EXPECTED_MILLIWATT_HOURS = (805_000 * SECONDS) / 3600;
const DAY = 9_000;

/** The whole meter, and an optical head on its port. Everything that leaves it is kept. */
class Bench implements OpticalLine {
	readonly platform: TestPlatform;
	readonly meter: Meter;
	readonly said: Buffer[] = [];
	#received: (bytes: Uint8Array) => void = () => {};

	constructor(flash: FlashSimulator) {
		this.platform = new TestPlatform(flash);
		this.platform.entropy.fill = (into) => void randomFillSync(into);
		this.meter = startMeter(this.platform, SETTINGS);
		runSeconds(this.platform, this.meter, LAYOUT, LOAD, 2); // the first window
	}

	/** The load of ten seconds must be in the register, whatever happened before. */
	measure(after: string): void {
		const { registers } = this.meter.metrology;
		const before = registers.activeImportMilliwattHours;
		runSeconds(this.platform, this.meter, LAYOUT, LOAD, SECONDS);
		const counted = registers.activeImportMilliwattHours - before;
		assert.ok(
			Math.abs(counted - EXPECTED_MILLIWATT_HOURS) < EXPECTED_MILLIWATT_HOURS / 100,
			`${after}: ${counted} mWh instead of ${EXPECTED_MILLIWATT_HOURS}`,
		);
	}

	send(bytes: Uint8Array): void {
		const question = Uint8Array.from(bytes);
		for (let at = 0; at < question.length; at += 100) {
			const piece = question.subarray(at, at + 100);
			this.meter.opticalReceived(piece, piece.length);
		}
		const answers = this.platform.opticalSent.splice(0);
		setImmediate(() => {
			for (const answer of answers) {
				this.said.push(Buffer.from(answer));
				this.#received(answer);
			}
		});
	}

	onReceived(listener: (bytes: Uint8Array) => void): void {
		this.#received = listener;
	}

	onClosed(): void {}
	close(): void {}
}

function make(action: (into: DeviceFile) => void): OpenedDeviceFile {
	const file = createDeviceFile();
	action(file);
	const bytes = Buffer.alloc(168);
	encodeDeviceFile(file, bytes, 0);
	return { file, bytes };
}

test("foreign files, wrong generations, a day that is over, forged orders, destroyed keys: said clearly, without a secret, and the meter measures on", async () => {
	const flash = new FlashSimulator();
	let bench = new Bench(flash);
	let client = new OpticalClient(bench, { timeoutMilliseconds: 50 });
	const authority = new TestAuthority("owner");
	const thief = new TestAuthority("thief");
	const where = { id: ID, domain: 1, shortAddress: 2, epoch: DAY } as const;
	const texts: string[] = [];
	const files: OpenedDeviceFile[] = [];
	const keep = (device: OpenedDeviceFile) => {
		files.push(device);
		return device;
	};
	const refused = async (promise: Promise<unknown>, expected: RegExp) => {
		await assert.rejects(promise, (error: Error) => {
			texts.push(error.message);
			assert.match(error.message, expected);
			assert.doesNotMatch(error.message, /\n/);
			return true;
		});
		bench.measure(texts.at(-1) ?? "");
	};

	bench.measure("without keys");
	assert.equal((await client.identify()).keyState, KeyState.unprovisioned);
	const foreign = keep(make((into) => authority.add({ ...where, id: "70b3d50000000002", shortAddress: 3 }, into)));
	await refused(client.provision(foreign.bytes), /another meter's.*\(notFound\)/);
	const first = keep(make((into) => authority.add(where, into)));
	assert.deepEqual(await writeDevice(client, first), { isProven: true });
	bench.measure("first keys");

	thief.add(where, createDeviceFile());
	const forged = keep(make((into) => thief.renew(ID, DAY, into)));
	await refused(reseedDevice(client, thief, forged, DAY), /not this head end's.*\(badTag\)/);
	const late = make((into) => {
		authority.add({ ...where, id: "70b3d50000000003", shortAddress: 4 }, into);
		into.id.set(Buffer.from(ID, "hex"));
		into.generation = 2;
		into.epoch = DAY - 1;
	});
	await refused(client.reseed(keep(late).bytes, new Uint8Array(42)), /a day that is over.*\(expired\)/);
	late.file.generation = 3;
	encodeDeviceFile(late.file, late.bytes, 0);
	await refused(client.reseed(late.bytes, new Uint8Array(42)), /not the next one.*\(outOfOrder\)/);
	late.bytes[100]! ^= 1;
	await refused(client.reseed(late.bytes, new Uint8Array(42)), /damaged on its way.*\(badChecksum\)/);
	runSeconds(bench.platform, bench.meter, LAYOUT, LOAD, 3);
	const identity = await client.identify();
	const second = keep(make((into) => nextKeys(authority, identity, DAY, into)));
	assert.deepEqual(await reseedDevice(client, authority, second, DAY), { isProven: true });
	bench.measure("second keys");

	// Power fails, and the sectors of the keys are damaged.
	const image = flash.image;
	const from = KEY_SECTORS.firstSector * SECTOR_BYTES;
	for (let at = from; at < from + KEY_SECTORS.sectorCount * SECTOR_BYTES; at++)
		if (image[at] !== 0xff) image[at]! &= 0x5a;
	const lines = bench.platform.lines.slice();
	const said = bench.said.slice();
	bench = new Bench(new FlashSimulator({ image }));
	client = new OpticalClient(bench, { timeoutMilliseconds: 50 });
	bench.measure("a start with damaged keys");
	assert.equal((await client.identify()).keyState, KeyState.unreadable);
	assert.match(bench.platform.lines.join("\n"), /keys: corrupt; the meter measures/);
	await refused(decommissionDevice(client, authority, ID, DAY), /cannot read its keys: give it new ones/);
	const third = keep(make((into) => authority.renew(ID, DAY, into)));
	assert.deepEqual(await writeDevice(client, third), { isProven: true });
	bench.measure("third keys");
	assert.deepEqual(
		await decommissionDevice(client, authority, ID, DAY),
		{ isProven: false },
		"no witness, no last message",
	);
	bench.measure("decommissioned");
	assert.equal((await client.read(0)).length > 20, true, "the display still shows");

	const binary = Buffer.concat([...said, ...bench.said]);
	const text = [...texts, ...lines, ...bench.platform.lines].join("\n").toLowerCase();
	for (const { file } of files)
		for (let at = 0; at + 6 <= 64; at++) {
			const part = Buffer.from(file.roots.subarray(at, at + 6));
			assert.equal(binary.indexOf(part), -1, `root byte ${at} on the optical port`);
			assert.ok(!text.includes(part.toString("hex")) && !text.includes(part.toString("base64").toLowerCase()));
		}
});
