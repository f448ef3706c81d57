import assert from "node:assert/strict";
import { test } from "node:test";
import { createReading, NOT_AVAILABLE } from "../../../src/messages/reading.js";
import { discoveryPayload, discoveryTopic, sensorCount, statePayload } from "../../../src/meter/home-assistant.js";

const IDENTIFIER = "70b3d5000000002a";

test("discovery: import and export are what the energy panel takes", () => {
	for (const index of [0, 1]) {
		const payload = JSON.parse(discoveryPayload(IDENTIFIER, index, "0.1.0"));
		assert.equal(payload.device_class, "energy");
		assert.equal(payload.state_class, "total_increasing");
		assert.equal(payload.unit_of_measurement, "kWh");
		assert.equal(payload.availability_topic, `wattlock/v1/${IDENTIFIER}/online`);
	}
});

test("discovery: unique topics and identifiers, every value template names a field of the state, all fit a packet", () => {
	const reading = createReading();
	reading.phaseCount = 3;
	const state = JSON.parse(statePayload(reading));
	const topics = new Set<string>();
	for (let index = 0; index < sensorCount(3); index++) {
		const text = discoveryPayload(IDENTIFIER, index, "0.1.0");
		assert.ok(text.length <= 700, `${text.length} bytes`);
		topics.add(discoveryTopic(IDENTIFIER, index));
		const key = /value_json\.(\w+)/.exec(JSON.parse(text).value_template)?.[1] ?? "";
		assert.ok(key in state, key);
	}
	assert.equal(topics.size, 14);
	assert.equal(sensorCount(1), 8);
});

test("state: thousandths are exact, energy rounds down, sign kept, PF left out when not available", () => {
	const reading = createReading();
	reading.phaseCount = 1;
	reading.activeEnergyImport = 12_345_678_999;
	reading.activeEnergyExport = 999;
	reading.frequencyMillihertz = 49_987;
	reading.phases[0].voltageMillivolts = 230_001;
	reading.phases[0].powerMilliwatts = -1_234_567;
	reading.phases[0].powerFactorPermille = NOT_AVAILABLE;
	const state = JSON.parse(statePayload(reading));
	assert.equal(state.import, 12_345.678);
	assert.equal(state.export, 0);
	assert.equal(state.power, -1234.567);
	assert.equal(state.frequency, 49.987);
	assert.equal(state.u1, 230.001);
	assert.ok(!("pf1" in state));
	reading.phases[0].powerFactorPermille = -999;
	assert.equal(JSON.parse(statePayload(reading)).pf1, -0.999);
});
