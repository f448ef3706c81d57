import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { crc32 } from "../../../src/bytes/crc.js";
import { getInt48, getUint48, getUint53, setInt48, setUint48, setUint53 } from "../../../src/bytes/integers.js";
import { STATUS_COUNT, Status, StatusCounters, statusName } from "../../../src/bytes/status.js";
import { seed } from "../../seed.js";

test("crc32: check value of ITU-T V.42, continuation, and zlib's on any bytes", (t) => {
	const digits = Uint8Array.from("123456789", (digit) => digit.charCodeAt(0));
	assert.equal(crc32(digits, 0, 9), 0xcbf43926);
	assert.equal(crc32(digits, 4, 5, crc32(digits, 0, 4)), 0xcbf43926);
	if (typeof zlibCrc32 !== "function") return t.diagnostic("this Node has no zlib.crc32");
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
			assert.equal(crc32(bytes, 0, bytes.length), zlibCrc32(bytes));
		}),
		{ seed },
	);
});

test("integers of 48 and 53 bits survive the round trip, and damage above 2^53 is NaN", () => {
	const view = new DataView(new ArrayBuffer(8));
	fc.assert(
		fc.property(
			fc.maxSafeNat(),
			fc.integer({ min: 0, max: 2 ** 31 }).map((n) => n * 65_535),
			fc.boolean(),
			(wide, middle, negative) => {
				setUint53(view, 0, wide);
				assert.equal(getUint53(view, 0), wide);
				assert.equal(view.getBigUint64(0), BigInt(wide));
				setUint48(view, 0, middle);
				assert.equal(getUint48(view, 0), middle);
				const signed = negative ? 0 - middle : middle;
				setInt48(view, 0, signed);
				assert.equal(getInt48(view, 0), signed);
			},
		),
		{ seed },
	);
	view.setUint32(0, 0x20_0000);
	assert.ok(Number.isNaN(getUint53(view, 0)));
});

test("every status has a number below STATUS_COUNT, a name, and is counted", () => {
	const numbers = Object.values(Status);
	assert.equal(new Set(numbers).size, STATUS_COUNT);
	assert.equal(Math.max(...numbers), STATUS_COUNT - 1);
	assert.equal(statusName(Status.badTag), "badTag");
	assert.equal(statusName(99), "unknown");
	const counters = new StatusCounters();
	assert.equal(counters.count(Status.badTag), Status.badTag);
	assert.equal(counters.counts[Status.badTag], 1);
	counters.counts[Status.ok] = 0xffff_ffff;
	counters.count(Status.ok);
	assert.equal(counters.counts[Status.ok], 0xffff_ffff);
});
