import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { CALIBRATION_POINTS, CalibrationProcedure, CalibrationState } from "../../../src/front-end/calibration.js";
import {
	CALIBRATION_BYTES_MAX,
	type CalibrationStore,
	decodeCalibration,
	encodeCalibration,
	storeCalibration,
} from "../../../src/front-end/calibration-record.js";
import { createPhaseCalibration, GAIN_ONE_Q24 } from "../../../src/front-end/front-end.js";
import { BASE, CHIPS, errorsOf, SimulatedBench } from "../../calibration/simulated-bench.js";
import { NO_ERRORS } from "../../chips/mains.js";
import { seed } from "../../seed.js";

function calibrate(bench: SimulatedBench, phase: number): CalibrationProcedure {
	const { settleReadings, readings } = bench;
	const procedure = new CalibrationProcedure(bench.driver, phase, BASE, { settleReadings, readings });
	for (let point = procedure.point; point !== undefined; point = procedure.point) {
		assert.equal(procedure.begin(bench.makeLoad(phase, point)), Status.ok);
		bench.measure(procedure);
	}
	return procedure;
}

/** Loads of none of the points. */
const UNSEEN = [
	{ currentPermille: 700, angleDegrees: 0 },
	{ currentPermille: 1500, angleDegrees: 60 },
	{ currentPermille: 250, angleDegrees: 50 },
	{ currentPermille: 4000, angleDegrees: -45 },
];

for (const chip of CHIPS) {
	const phases = chip === "atm90e32" ? 3 : chip === "ade7953" ? 2 : 1;
	test(`calibration of ${chip}: below a tenth of class 1, also where it did not look`, () => {
		const errors = Array.from({ length: phases }, (_, i) => errorsOf(seed, i, chip));
		const bench = new SimulatedBench(chip, errors);
		for (let i = 0; i < phases; i++) {
			const procedure = calibrate(bench, i);
			assert.equal(procedure.state, CalibrationState.done, `phase ${i}: ${procedure.status} ${procedure.errorsPpm}`);
			assert.equal(procedure.progressPermille, 1000);
			if (bench.driver.abilities.phase) {
				const delay = procedure.found.phaseDelayNanoseconds - errors[i]!.currentDelayNanoseconds;
				assert.ok(Math.abs(delay) < 300, `delay of phase ${i} found within ${delay} ns`);
			}
			for (const load of UNSEEN) {
				const { powerMilliwatts } = bench.makeLoad(i, load);
				const ppm = (bench.meanPower(i, bench.readings) / powerMilliwatts - 1) * 1e6;
				// without a phase register what 1.5 µs do at PF 0.5 stays: 0.08 %
				const limit = bench.driver.abilities.phase || load.angleDegrees === 0 ? 1000 : 2000;
				assert.ok(Math.abs(ppm) < limit, `phase ${i}, ${load.currentPermille} at ${load.angleDegrees}: ${ppm} ppm`);
			}
		}
	});
}

test("calibration: any failure leaves the corrections of before", () => {
	const bench = new SimulatedBench("ade7953", [{ ...errorsOf(seed, 0, "ade7953"), currentGain: 0.6 }]);
	const before = { ...bench.driver.calibration(0) };
	const refused = calibrate(bench, 0);
	assert.equal(refused.state, CalibrationState.failed);
	assert.equal(refused.status, Status.badValue);
	assert.deepEqual({ ...bench.driver.calibration(0) }, before);

	const cancelled = new SimulatedBench("atm90e32", [NO_ERRORS, NO_ERRORS, NO_ERRORS]);
	const procedure = new CalibrationProcedure(cancelled.driver, 1, BASE, { settleReadings: 2, readings: 3 });
	procedure.begin(cancelled.makeLoad(1, procedure.point!));
	cancelled.measure(procedure);
	procedure.cancel();
	assert.deepEqual({ ...cancelled.driver.calibration(1) }, createPhaseCalibration());
	assert.equal(procedure.point, undefined);
});

test("calibration: a transformer behind a chip that cannot correct its phase is told, not hidden", () => {
	const bench = new SimulatedBench("bl0942", [{ ...NO_ERRORS, currentDelayNanoseconds: 25_000 }]);
	const procedure = calibrate(bench, 0);
	assert.equal(procedure.state, CalibrationState.failed);
	assert.equal(procedure.status, Status.badTag);
	assert.ok(procedure.errorsPpm[4]! < -10_000, `${procedure.errorsPpm[4]} ppm at PF 0.5`);
	assert.deepEqual({ ...bench.driver.calibration(0) }, createPhaseCalibration());
});

test("calibration: the wrong load, and steps out of order, are refused", () => {
	const bench = new SimulatedBench("atm90e32", [NO_ERRORS, NO_ERRORS, NO_ERRORS]);
	const procedure = new CalibrationProcedure(bench.driver, 0, BASE, { settleReadings: 2, readings: 3 });
	const wrong = bench.makeLoad(0, { currentPermille: 500, angleDegrees: 0 });
	assert.equal(procedure.begin(wrong), Status.badValue);
	const reversed = bench.makeLoad(0, { currentPermille: 1000, angleDegrees: 180 });
	assert.equal(procedure.begin(reversed), Status.badValue);
	assert.equal(procedure.begin(bench.makeLoad(0, procedure.point!)), Status.ok);
	assert.equal(procedure.begin(bench.makeLoad(0, procedure.point!)), Status.outOfOrder);
	assert.equal(procedure.state, CalibrationState.measuring);
});

test("calibration: a front end whose currents are reversed fails at the first point", () => {
	const bench = new SimulatedBench("ade7953", [{ ...NO_ERRORS, currentGain: -1 }]);
	const procedure = calibrate(bench, 0);
	assert.equal(procedure.status, Status.badValue);
	assert.equal(procedure.pointIndex, 0);
});

test("calibration: a second time finds what the first left and stays", () => {
	const bench = new SimulatedBench(
		"atm90e32",
		[0, 1, 2].map((i) => errorsOf(seed, i, "atm90e32")),
	);
	calibrate(bench, 0);
	const first = { ...bench.driver.calibration(0) };
	const again = calibrate(bench, 0);
	assert.equal(again.state, CalibrationState.done);
	assert.ok(Math.abs(again.found.powerGainQ24 / first.powerGainQ24 - 1) < 2e-4, "gain");
	assert.ok(Math.abs(again.found.phaseDelayNanoseconds - first.phaseDelayNanoseconds) < 400, "phase");
});

test("every point that verifies was not used before", () => {
	const used = CALIBRATION_POINTS.filter((point) => point.limitPpm === 0).map(
		(point) => `${point.currentPermille}/${point.angleDegrees}`,
	);
	for (const point of CALIBRATION_POINTS)
		if (point.limitPpm > 0) assert.ok(!used.includes(`${point.currentPermille}/${point.angleDegrees}`), "used");
});

test("calibration record: round trip, every refusal, and the seal before the record", () => {
	const calibrations = [0, 1, 2].map((i) => ({
		voltageGainQ24: GAIN_ONE_Q24 + i,
		currentGainQ24: GAIN_ONE_Q24 - 7 * i,
		powerGainQ24: GAIN_ONE_Q24 + 1000,
		powerOffsetMilliwatts: 100 - 300 * i,
		phaseDelayNanoseconds: 5 - 12_345 * i,
	}));
	const bytes = new Uint8Array(CALIBRATION_BYTES_MAX);
	const into = [0, 1, 2].map(createPhaseCalibration);
	const byteLength = encodeCalibration(calibrations, 9, bytes);
	assert.equal(byteLength, CALIBRATION_BYTES_MAX);
	assert.equal(decodeCalibration(bytes, byteLength, 9, into), Status.ok);
	assert.deepEqual(into, calibrations);
	assert.equal(decodeCalibration(bytes, byteLength, 8, into), Status.rolledBack);
	assert.equal(decodeCalibration(bytes, byteLength, 9, into.slice(0, 2)), Status.badValue);
	assert.equal(decodeCalibration(bytes, byteLength - 1, 9, into), Status.badLength);
	assert.equal(decodeCalibration(bytes, 3, 9, into), Status.badLength);
	for (let bit = 0; bit < 8 * byteLength; bit++) {
		bytes[bit >> 3]! ^= 1 << (bit & 7);
		assert.notEqual(decodeCalibration(bytes, byteLength, 9, into), Status.ok, `bit ${bit}`);
		bytes[bit >> 3]! ^= 1 << (bit & 7);
	}
	const order: string[] = [];
	let counter = 4;
	const store: CalibrationStore = {
		parameterCounter: () => counter,
		raiseParameterCounter: () => {
			counter++;
			order.push("seal");
			return Status.ok;
		},
		replace: (record, length) => {
			order.push("record");
			assert.equal(decodeCalibration(record, length, counter, into), Status.ok);
			return Status.ok;
		},
		load: () => 0,
	};
	assert.equal(storeCalibration(store, calibrations, bytes), Status.ok);
	assert.deepEqual(order, ["seal", "record"]);
	const sealed = { ...store, raiseParameterCounter: () => Status.storageFull };
	assert.equal(storeCalibration(sealed, calibrations, bytes), Status.storageFull);
	assert.deepEqual(order, ["seal", "record"], "nothing is written without the seal");
});
