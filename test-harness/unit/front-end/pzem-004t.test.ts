import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { modbusCrc } from "../../../src/front-end/modbus.js";
import { Pzem004t, type Pzem004tConfiguration } from "../../../src/front-end/pzem-004t.js";
import { Bench } from "../../chips/bench.js";
import { Mains } from "../../chips/mains.js";
import { Pzem004tChip } from "../../chips/pzem-004t-chip.js";
import { SerialLine } from "../../chips/serial-line.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

function setUp(name: string, configuration: Pzem004tConfiguration = {}) {
	const mains = new Mains();
	const line = new SerialLine(new Random(seed, name));
	const chip = new Pzem004tChip(mains, line);
	const driver = new Pzem004t({ sensor: { io: line.io } });
	driver.configure(configuration);
	return { mains, line, chip, driver, bench: new Bench(mains, driver, [chip, line]) };
}

test("Modbus CRC: the check value of its catalogue", () => {
	assert.equal(modbusCrc(new TextEncoder().encode("123456789"), 9), 0x4b37);
});

test("PZEM-004T: values, 32-bit values low word first, alarm threshold written once", () => {
	const { mains, driver, bench, chip } = setUp("values", { address: 1, alarmWatts: 17_000 });
	mains.set(0, { voltageVolts: 231.4, currentAmperes: 80 });
	bench.runSeconds(5);
	const phase = driver.reading.phases[0]!;
	assert.equal(phase.voltageMillivolts, 231_400);
	assert.equal(phase.currentMilliamperes, 80_000);
	assert.equal(phase.powerMilliwatts, 18_512_000);
	assert.equal(driver.reading.frequencyMillihertz, 50_000);
	assert.ok(driver.isAlarm, "over 17 kW");
	assert.equal(chip.alarmWatts, 17_000);
	assert.equal(chip.writeCount, 1, "its EEPROM is written once");
	driver.configure({ address: 1, alarmWatts: 17_000 });
	bench.runSeconds(5);
	assert.equal(chip.writeCount, 1, "and not again");
});

test("PZEM-004T: a day within 1 Wh, over the end of the total", () => {
	const { mains, driver, bench, chip } = setUp("day");
	chip.setEnergy(9_999_990);
	const random = new Random(seed, "load");
	for (let quarter = 0; quarter < 96; quarter++) {
		mains.set(0, { voltageVolts: random.between(210, 250), currentAmperes: random.between(0.05, 60) });
		bench.runSeconds(900);
	}
	mains.set(0, { currentAmperes: 0 });
	bench.runSeconds(2);
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(error <= 0.01 && error > -1000, `${error} mWh`);
	assert.equal(driver.resetCount, 0, "a wrap is no reset");
});

test("PZEM-004T: somebody sets its total to 0", () => {
	const { mains, driver, bench, chip } = setUp("reset");
	chip.setEnergy(1_234_567);
	mains.set(0, { currentAmperes: 40 });
	bench.runSeconds(3600);
	chip.setEnergy(0);
	bench.runSeconds(3600);
	assert.equal(driver.resetCount, 1, "found");
	assert.equal(driver.counters.counts[Status.outOfOrder], 1, "first refused, then believed");
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	// a poll of 9.2 kW before the reset, one at the end, and 1 Wh of resolution for each
	assert.ok(error < 1 && error > -2 * (1000 + 9200 / 3.6), `${error} mWh`);
});

test("PZEM-004T: damaged, cut, refused, absent", () => {
	const { mains, driver, bench, chip, line } = setUp("faults");
	mains.set(0, { currentAmperes: 16 });
	bench.runSeconds(2);
	line.faults = { drop: 0.01, flip: 0.01, insert: 0.01, bothWays: true };
	bench.runSeconds(3600);
	line.faults = {};
	chip.exceptionCount = 3;
	bench.runSeconds(10);
	const { counts } = driver.counters;
	assert.ok(counts[Status.badChecksum]! > 100, `${counts[Status.badChecksum]} bad checksums`);
	assert.ok(counts[Status.timedOut]! + counts[Status.badLength]! > 100, "questions lost");
	assert.equal(counts[Status.refusedByPeer], 3, "exceptions");
	const error = bench.counted[0]!.importMilliwattHours - mains.importMilliwattHours[0]!;
	assert.ok(Math.abs(error) < 2000, `${error} mWh`);
	line.isCut = true;
	bench.runSeconds(10);
	assert.ok(!driver.isReady, "cut");
	line.isCut = false;
	bench.runSeconds(3);
	assert.ok(driver.isReady, "back");
	assert.equal(driver.setCalibration(0, { ...driver.calibration(0), phaseDelayNanoseconds: 1 }), Status.unsupported);
});
