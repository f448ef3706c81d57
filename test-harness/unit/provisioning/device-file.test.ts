import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { Status, statusName } from "../../../src/bytes/status.js";
import { createDeviceFile, decodeDeviceFile, wipeDeviceFile } from "../../../src/provisioning/device-file.js";
import { fileBytes, sampleFile } from "./samples.js";

test("every field lies where the table says, and comes back", () => {
	const bytes = fileBytes(sampleFile());
	assert.equal(bytes.length, 168);
	const hex = Buffer.from(bytes).toString("hex");
	const expected = [
		"574c6466",
		"01",
		"0e",
		"0384",
		"acde480000000001",
		"0001",
		"0102",
		"0304",
		"2328",
		"231e",
		"0000",
		Buffer.from(Array.from({ length: 64 }, (_, i) => 0x40 + i)).toString("hex"),
		"ca".repeat(16),
		"1b".repeat(56),
	].join("");
	assert.equal(hex.slice(0, -8), expected);
	assert.equal(
		hex.slice(-8),
		(crc32 as (data: Buffer) => number)(Buffer.from(expected, "hex")).toString(16).padStart(8, "0"),
	);
	const shifted = new Uint8Array(200);
	shifted.set(bytes, 32);
	const decoded = createDeviceFile();
	assert.equal(decodeDeviceFile(shifted, 32, 168, decoded), Status.ok);
	assert.deepEqual(decoded, sampleFile());
	wipeDeviceFile(decoded);
	assert.deepEqual(decoded, createDeviceFile());
});

/** The file with some bytes changed and the checksum made right again. */
function changed(...changes: readonly [offset: number, value: number][]): Uint8Array {
	const bytes = fileBytes(sampleFile());
	for (const [offset, value] of changes) bytes[offset] = value;
	const checksum = (crc32 as (data: Uint8Array) => number)(bytes.subarray(0, 164));
	new DataView(bytes.buffer).setUint32(164, checksum);
	return bytes;
}

const into = createDeviceFile();
const decode = (bytes: Uint8Array) => statusName(decodeDeviceFile(bytes, 0, bytes.length, into));

test("each refusal has its own status", () => {
	assert.equal(decode(new Uint8Array(167)), "badLength", "DEV-1");
	assert.equal(decode(new Uint8Array(169)), "badLength", "DEV-1");
	assert.equal(decodeDeviceFile(new Uint8Array(168), 1, 168, into), Status.badLength, "DEV-1: past the end");
	assert.equal(decode(changed([0, 0x58])), "badKind", "DEV-2");
	assert.equal(decode(changed([4, 2])), "badVersion", "DEV-3");
	const damaged = changed();
	damaged[40]! ^= 1;
	assert.equal(decode(damaged), "badChecksum", "DEV-4");
	assert.equal(decode(changed([5, 0])), "badValue", "DEV-5");
	assert.equal(decode(changed([5, 17])), "badValue", "DEV-5");
	assert.equal(decode(changed([6, 0], [7, 0])), "badValue", "DEV-6");
	assert.equal(decode(changed([6, 0xff])), "badValue", "DEV-6");
	assert.equal(decode(changed([16, 0], [17, 0])), "badValue", "DEV-7: generation 0");
	assert.equal(decode(changed([18, 0xff], [19, 0xff])), "badValue", "DEV-7: the head end's domain");
	assert.equal(decode(changed([24, 0x23], [25, 0x29])), "badValue", "DEV-8: before the calendar");
	assert.equal(decode(changed([5, 3])), "badValue", "DEV-8: after the calendar, 10 days with 8 leaves");
	assert.equal(decode(changed([5, 4])), "ok", "10 days with 16 leaves");
	assert.equal(decode(changed([27, 1])), "badValue", "DEV-9");
});
