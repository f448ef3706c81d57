import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { nextBlockDay } from "../../../src/key-store/odometer.js";
import {
	createDeviceFile,
	DEVICE_FILE_BYTES,
	decodeDeviceFile,
	encodeDeviceFile,
} from "../../../src/provisioning/device-file.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";
import { holdExclusively } from "../../head-end/exclusive-file.js";
import { decodeDelegation, encodeDelegation } from "../../head-end/pipe.js";
import { Registry, type RegistryOptions, registryPath } from "../../head-end/registry.js";
import { FileLock } from "../../provisioning/sealed-file.js";

const folders: string[] = [];
after(() => {
	for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
	const folder = mkdtempSync(join(tmpdir(), "wattlock-registry-"));
	folders.push(folder);
	return folder;
}

const OPTIONS: RegistryOptions = {
	calendarFirstEpoch: 9000,
	calendarLevels: 8,
	calendarRoot: (seed) => createHash("sha256").update(seed).digest().subarray(0, 16),
};
const ID = "0200000000000001";

function newRegistry(folder = newFolder(), options = OPTIONS) {
	const lock = FileLock.ofKeyFile(join(folder, "registry.key"), true);
	return { folder, lock, registry: Registry.create(folder, lock, options) };
}

test("a meter's roots are HORA's: KDF(MK, E or N, id and generation), by node:crypto alone", () => {
	const masterKey = Buffer.alloc(32, 7);
	const { registry } = newRegistry(newFolder(), { ...OPTIONS, random: (count) => Buffer.alloc(count, 7) });
	const file = createDeviceFile();
	registry.addMeter(ID, 1, 2, 9001, file);
	const expected = (label: string, generation: number) =>
		createHash("sha256")
			.update(masterKey)
			.update(label)
			.update(Buffer.from(ID, "hex"))
			.update(Buffer.from([0, generation]))
			.digest("hex");
	assert.equal(Buffer.from(file.roots.subarray(0, 32)).toString("hex"), expected("E", 1), "R_E");
	assert.equal(Buffer.from(file.roots.subarray(32)).toString("hex"), expected("N", 1), "R_N");
	registry.renewMeter(ID, 9002, file);
	assert.equal(Buffer.from(file.roots.subarray(0, 32)).toString("hex"), expected("E", 2), "R_E of generation 2");
	const bytes = new Uint8Array(DEVICE_FILE_BYTES);
	encodeDeviceFile(file, bytes, 0);
	assert.equal(decodeDeviceFile(bytes, 0, bytes.length, createDeviceFile()), 0, "a device file that a meter takes");
});

test("everything is there after opening again, sealed, and for its owner alone", () => {
	const { folder, lock, registry } = newRegistry();
	const file = createDeviceFile();
	registry.addMeter(ID, 1, 0, 9001, file);
	registry.confirmMeter(ID, 1);
	registry.renewMeter(ID, 9005, file);
	registry.addMeter("0200000000000002", 1, 1, 9002, createDeviceFile());
	registry.decommission("0200000000000002");
	registry.setUpdateKey(Buffer.alloc(56, 3));
	const again = Registry.open(folder, lock);
	assert.deepEqual(again.list(), registry.list(), "the same meters");
	assert.deepEqual(again.meter(ID), {
		id: ID,
		domain: 1,
		shortAddress: 0,
		generation: 2,
		epoch: 9005,
		confirmedGeneration: 1,
		confirmedEpoch: 9001,
		state: "active",
		isDecommissioned: false,
	});
	assert.equal(again.meter("0200000000000002")?.state, "decommissioned");
	assert.deepEqual(again.updateKey, new Uint8Array(56).fill(3), "the update key");
	const sealed = readFileSync(registryPath(folder));
	assert.equal(sealed.indexOf(Buffer.from(ID, "hex")), -1, "no identifier in clear");
	assert.equal(sealed.indexOf(Buffer.from(registry.storeKey())), -1, "no secret in clear");
	assert.equal(statSync(registryPath(folder)).mode & 0o777, 0o600, "mode");
	assert.deepEqual(readdirSync(folder).sort(), ["registry.key", "registry.wlsf"], "nothing is left over");
	sealed[60]! ^= 1;
	writeFileSync(registryPath(folder), sealed);
	assert.throws(() => Registry.open(folder, lock), /does not open/, "a flipped bit is noticed");
});

test("rules: no id twice, no address twice, generations follow, days of the calendar, decommissioned is over", () => {
	const { registry } = newRegistry();
	const file = createDeviceFile();
	registry.addMeter(ID, 1, 0, 9000, file);
	assert.throws(() => registry.addMeter(ID, 1, 1, 9000, file), /has keys already/);
	assert.throws(() => registry.addMeter("0200000000000002", 1, 0, 9000, file), /short address/);
	assert.throws(() => registry.addMeter("x", 1, 3, 9000, file), /identifier/);
	assert.throws(() => registry.addMeter("0200000000000002", 0xffff, 3, 9000, file), /domain/);
	assert.throws(() => registry.addMeter("0200000000000002", 1, 3, 8999, file), /calendar/);
	assert.throws(() => registry.addMeter("0200000000000002", 1, 3, 9256, file), /calendar/);
	assert.throws(() => registry.renewMeter("0200000000000009", 9000, file), /knows no meter/);
	assert.throws(() => registry.confirmMeter(ID, 2), /not the newest/);
	registry.decommission(ID);
	registry.decommission(ID);
	assert.throws(() => registry.renewMeter(ID, 9000, file), /decommissioned/);
	registry.addMeter(ID, 2, 0, 9003, file);
	assert.equal(file.generation, 2, "never the same keys again");
	assert.equal(registry.list().length, 1);
});

test("two processes change one registry, and neither undoes the other", () => {
	const { folder, lock, registry } = newRegistry();
	const other = Registry.open(folder, lock);
	registry.addMeter(ID, 1, 0, 9000, createDeviceFile());
	other.addMeter("0200000000000002", 1, 1, 9000, createDeviceFile());
	assert.equal(other.list().length, 2, "the second saw the first's");
	assert.equal(registry.list().length, 1);
	assert.ok(registry.refresh(), "the first is told");
	assert.equal(registry.list().length, 2);
	assert.ok(!registry.refresh(), "nothing more");
	const release = holdExclusively(`${registryPath(folder)}.test`, "the test");
	assert.throws(() => holdExclusively(`${registryPath(folder)}.test`, "the test"), /in use by process/);
	release();
	writeFileSync(`${registryPath(folder)}.test`, "4194304999\n"); // of a process that is no more
	holdExclusively(`${registryPath(folder)}.test`, "the test")();
	writeFileSync(`${registryPath(folder)}.test`, `${process.ppid} 1\n`); // its pid is another one's now
	holdExclusively(`${registryPath(folder)}.test`, "the test")();
	writeFileSync(`${registryPath(folder)}.test`, `${process.ppid}\n`);
	assert.throws(() => holdExclusively(`${registryPath(folder)}.test`, "the test"), /in use by process/);
});

test("a delegated block gives its sixteen days, and no seed is the same for two meters", () => {
	const { registry } = newRegistry();
	const file = createDeviceFile();
	registry.addMeter(ID, 1, 0, 9000, file);
	registry.addMeter("0200000000000002", 1, 1, 9100, createDeviceFile());
	registry.addMeter("0200000000000003", 2, 1, 9000, createDeviceFile());
	const delegated = registry.delegate(1, 9003);
	assert.deepEqual(
		delegated.meters.map(({ id, generation }) => [id, generation]),
		[[ID, 1]],
		"only meters of the domain whose keys have begun",
	);
	assert.deepEqual([delegated.domain, delegated.block, delegated.day], [1, 9003 >> 4, 9003 & 15]);
	const crypto = new NodeCrypto();
	const bytes = new Uint8Array(64);
	bytes.set(delegated.meters[0]!.value, 0);
	nextBlockDay(crypto, bytes, 0, delegated.day, 9007 & 15, 32);
	const value = new Uint8Array(32);
	registry.dayValue(ID, 1, 1, 9007, value, 0);
	assert.deepEqual(bytes.slice(32, 64), value, "a later day's value is that of the meter's own odometer");
	registry.dayValue(ID, 1, 1, 9003, value, 0);
	assert.deepEqual(delegated.meters[0]!.value, value, "it begins today: no earlier day can be had from it");
	const later = registry.delegate(1, 9100);
	assert.notDeepEqual(later.meters[0]!.value, later.meters[1]!.value);
	registry.confirmMeter(ID, 1);
	registry.renewMeter(ID, 9005, file);
	assert.deepEqual(
		registry.delegate(1, 9010).meters.map(({ generation }) => generation),
		[1, 2],
		"old and new keys, until it is known which the meter has",
	);
	registry.confirmMeter(ID, 2);
	assert.equal(registry.delegate(1, 9010).meters.length, 1);
	const again = decodeDelegation(encodeDelegation(later));
	assert.deepEqual(again, later, "on the wire");
});

test("the newest keys are given again until the meter is known to have them", () => {
	const { registry } = newRegistry();
	const file = createDeviceFile();
	registry.addMeter(ID, 1, 2, 9001, file);
	const again = createDeviceFile();
	registry.newestKeys(ID, again);
	assert.deepEqual(again, file);
	registry.confirmMeter(ID, 1);
	assert.throws(() => registry.newestKeys(ID, again), /never given twice/);
	registry.renewMeter(ID, 9002, file);
	registry.newestKeys(ID, again);
	assert.deepEqual(again, file);
});
