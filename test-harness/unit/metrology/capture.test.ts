import assert from "node:assert/strict";
import { test } from "node:test";
import { InvariantError } from "../../../src/bytes/status.js";
import { CaptureRing } from "../../../src/metrology/capture.js";
import { rowBytes, type SampleLayout } from "../../../src/platform/sample-kernel.js";

const LAYOUT: SampleLayout = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 1000 };

/** Rows whose codes count: channel 0 the row, channel 1 its negative. */
function block(layout: SampleLayout, start: number, rows: number): Uint8Array {
	const bytes = new Uint8Array(rows * rowBytes(layout));
	let at = 0;
	for (let r = start; r < start + rows; r++)
		for (const code of [r, -r]) {
			const value = layout.sampleBytes === 2 ? code : code * 256 + 7;
			for (let b = 0; b < layout.sampleBytes; b++) bytes[at++] = (value >> (8 * b)) & 255;
		}
	return bytes;
}

function read(ring: CaptureRing, rowsMax: number): number[] {
	const view = new DataView(new ArrayBuffer(4 * rowsMax));
	const rows = ring.captureInto(view, 0, rowsMax);
	return Array.from({ length: rows }, (_, r) => {
		assert.equal(view.getInt16(4 * r + 2), -view.getInt16(4 * r));
		return view.getInt16(4 * r);
	});
}

test("the last two cycles, newest last, whatever the block sizes", () => {
	for (const sampleBytes of [2, 3] as const) {
		const layout = { ...LAYOUT, sampleBytes };
		const ring = new CaptureRing(layout, 1024);
		let row = 0;
		for (const rows of [7, 1, 50, 23, 300, 11]) {
			ring.record(block(layout, row, rows), rows);
			row += rows;
		}
		const codes = read(ring, 256);
		assert.deepEqual(
			codes,
			Array.from({ length: 45 }, (_, i) => row - 45 + i),
		);
		assert.equal(ring.captureRateMillihertz, 1_000_000);
		const thin = read(ring, 16);
		assert.deepEqual(
			thin,
			Array.from({ length: 15 }, (_, i) => row - 1 - 3 * (14 - i)),
		);
		assert.equal(ring.captureRateMillihertz, 333_333);
		assert.equal(ring.codeFactor, sampleBytes === 2 ? 1 : 256);
	}
});

test("a block longer than its rows, and rows more than the ring", () => {
	const ring = new CaptureRing(LAYOUT, 64 * 4);
	ring.record(block(LAYOUT, 0, 500), 200);
	assert.equal(read(ring, 256).at(-1), 199);
	ring.record(block(LAYOUT, 1000, 90), 90);
	assert.equal(read(ring, 256).at(-1), 1089);
	assert.equal(ring.rows, 64);
});

test("a trigger keeps half from before and half from after, then stands still until released", () => {
	const ring = new CaptureRing(LAYOUT, 64 * 4);
	for (let row = 0; row < 200; row += 10) ring.record(block(LAYOUT, row, 10), 10);
	ring.trigger(42);
	ring.trigger(43);
	for (let row = 200; row < 300; row += 10) ring.record(block(LAYOUT, row, 10), 10);
	assert.equal(ring.triggerCode, 42);
	assert.ok(ring.frozen);
	assert.equal(ring.rowsAfterTrigger, 32);
	assert.deepEqual(
		read(ring, 64),
		Array.from({ length: 64 }, (_, i) => 200 - 32 + i),
	);
	ring.release();
	assert.equal(ring.rows, 0);
	ring.record(block(LAYOUT, 300, 10), 10);
	assert.equal(read(ring, 64).length, 10);
	ring.samplesLost();
	assert.equal(read(ring, 64).length, 0);
});

test("a ring that holds nothing is refused", () => {
	assert.throws(() => new CaptureRing(LAYOUT, 32), InvariantError);
});
