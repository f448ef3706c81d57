import { NOT_AVAILABLE, type Reading } from "../messages/reading.js";
import { onlineTopic, stateTopic } from "../messages/topics.js";

/** One sensor of Home Assistant's MQTT discovery. */
interface Sensor {
	readonly key: string;
	readonly name: string;
	readonly unit: string;
	readonly deviceClass: string;
	readonly stateClass: string;
}

function sensor(key: string, name: string, unit: string, deviceClass: string, stateClass = "measurement"): Sensor {
	return Object.freeze({ key, name, unit, deviceClass, stateClass });
}

/** Import and export are `total_increasing` in kWh, which is what the energy panel takes. */
const SENSORS: readonly Sensor[] = Object.freeze([
	sensor("import", "Energy import", "kWh", "energy", "total_increasing"),
	sensor("export", "Energy export", "kWh", "energy", "total_increasing"),
	sensor("power", "Power", "W", "power"),
	sensor("reactive", "Reactive power", "var", "reactive_power"),
	sensor("frequency", "Frequency", "Hz", "frequency"),
	sensor("u1", "Voltage L1", "V", "voltage"),
	sensor("i1", "Current L1", "A", "current"),
	sensor("p1", "Power L1", "W", "power"),
	sensor("u2", "Voltage L2", "V", "voltage"),
	sensor("i2", "Current L2", "A", "current"),
	sensor("p2", "Power L2", "W", "power"),
	sensor("u3", "Voltage L3", "V", "voltage"),
	sensor("i3", "Current L3", "A", "current"),
	sensor("p3", "Power L3", "W", "power"),
]);
const SENSORS_BEFORE_PHASES = 5;
const SENSORS_PER_PHASE = 3;

/** How many discovery messages a meter of so many phases publishes. */
export function sensorCount(phaseCount: number): number {
	return SENSORS_BEFORE_PHASES + SENSORS_PER_PHASE * phaseCount;
}

/** Retained; Home Assistant's default discovery prefix. */
export function discoveryTopic(identifier: string, index: number): string {
	return `homeassistant/sensor/wattlock_${identifier}/${SENSORS[index]!.key}/config`;
}

/**
 * Discovery payload of one sensor, about 450 bytes of ASCII.
 * @see Home Assistant, MQTT sensor: `total_increasing`, `energy`
 */
export function discoveryPayload(identifier: string, index: number, firmware: string): string {
	const { key, name, unit, deviceClass, stateClass } = SENSORS[index]!;
	return JSON.stringify({
		name,
		unique_id: `wattlock_${identifier}_${key}`,
		object_id: `wattlock_${identifier}_${key}`,
		state_topic: stateTopic(identifier),
		value_template: `{{ value_json.${key} }}`,
		unit_of_measurement: unit,
		device_class: deviceClass,
		state_class: stateClass,
		availability_topic: onlineTopic(identifier),
		payload_available: "1",
		payload_not_available: "0",
		device: {
			identifiers: [`wattlock_${identifier}`],
			name: `Wattlock ${identifier.slice(-4)}`,
			manufacturer: "Wattlock",
			model: "Open smart meter",
			sw_version: firmware,
		},
	});
}

/** Thousandths as a decimal number without rounding: 12345 gives "12.345". */
function thousandths(value: number): string {
	const sign = value < 0 ? "-" : "";
	const size = Math.abs(value);
	const whole = Math.floor(size / 1000);
	return `${sign}${whole}.${String(size - whole * 1000).padStart(3, "0")}`;
}

/** mWh as kWh with three digits, rounded down: a total must never step back. */
function kilowattHours(milliwattHours: number): string {
	return thousandths(Math.floor(milliwattHours / 1000));
}

/** State of all sensors as JSON; a power factor that is not available is left out. */
export function statePayload(reading: Reading): string {
	let power = 0;
	let reactive = 0;
	let phases = "";
	for (let index = 0; index < reading.phaseCount; index++) {
		const phase = reading.phases[index as 0 | 1 | 2];
		const n = index + 1;
		power += phase.powerMilliwatts;
		reactive += phase.reactivePowerMillivars;
		phases += `,"u${n}":${thousandths(phase.voltageMillivolts)},"i${n}":${thousandths(phase.currentMilliamperes)},"p${n}":${thousandths(phase.powerMilliwatts)}`;
		if (phase.powerFactorPermille !== NOT_AVAILABLE) phases += `,"pf${n}":${thousandths(phase.powerFactorPermille)}`;
	}
	return (
		`{"import":${kilowattHours(reading.activeEnergyImport)},"export":${kilowattHours(reading.activeEnergyExport)}` +
		`,"power":${thousandths(power)},"reactive":${thousandths(reactive)}` +
		`,"frequency":${thousandths(reading.frequencyMillihertz)}${phases}}`
	);
}
