import { Status, type StatusCounters, statusName } from "../../src/bytes/status.js";
import { captureCodesOffset, createCaptureHeader, decodeCaptureHeader } from "../../src/messages/capture.js";
import { Diagnostic, decodeDiagnostic, decodeDiagnosticsHeader } from "../../src/messages/diagnostics.js";
import type { EventEntry } from "../../src/messages/events.js";
import { BootReason, type Hello } from "../../src/messages/hello.js";
import { UTC_INVALID } from "../../src/messages/kinds.js";
import type { ProfileRow } from "../../src/messages/profile.js";
import { NOT_AVAILABLE, type Reading, ReadingFlag } from "../../src/messages/reading.js";
import { decodeRegisterEntry, decodeSnapshotHeader, type RegisterEntry } from "../../src/messages/snapshot.js";
import { eventName } from "../../src/metrology/events.js";
import type {
	CaptureView,
	DiagnosticsView,
	EventView,
	HelloView,
	ProfileRowView,
	ReadingView,
	SnapshotView,
} from "./api.js";

/** UTCTime of the wire for people: null when the meter's clock was invalid. */
export function utcView(utcSeconds: number): number | null {
	return utcSeconds === UTC_INVALID ? null : utcSeconds;
}

function available(value: number): number | null {
	return value === NOT_AVAILABLE ? null : value;
}

/** Names of the set bits of a table such as `ReadingFlag`. */
function bitNames(bits: number, table: Readonly<Record<string, number>>): string[] {
	return Object.entries(table)
		.filter(([, bit]) => (bits & bit) !== 0)
		.map(([name]) => name);
}

export const PROFILE_STATUS_BITS = Object.freeze({
	powerDown: 0x80,
	clockAdjusted: 0x20,
	summerTime: 0x08,
	doubtful: 0x04,
	clockInvalid: 0x02,
	critical: 0x01,
});

export function readingView(reading: Reading, receivedUtcSeconds: number): ReadingView {
	const phases = reading.phases.slice(0, reading.phaseCount);
	let power = 0;
	let reactive = 0;
	let apparent = 0;
	for (const phase of phases) {
		power += phase.powerMilliwatts;
		reactive += phase.reactivePowerMillivars;
		apparent += phase.apparentPowerMillivoltAmperes;
	}
	const known = phases.some((phase) => phase.powerFactorPermille !== NOT_AVAILABLE) && apparent > 0;
	return {
		bootCount: reading.bootCount,
		readingIndex: reading.readingIndex,
		utcSeconds: utcView(reading.utcSeconds),
		receivedUtcSeconds,
		flags: bitNames(reading.flags, ReadingFlag),
		frequencyMillihertz:
			reading.flags & ReadingFlag.frequencyInvalid || reading.frequencyMillihertz === 0
				? null
				: reading.frequencyMillihertz,
		neutralCurrentMilliamperes: reading.neutralCurrentMilliamperes,
		tariff: reading.tariff,
		powerMilliwatts: power,
		reactivePowerMillivars: reactive,
		powerFactorPermille: known ? Math.round((1000 * power) / apparent) : null,
		phases: phases.map((phase) => ({
			...phase,
			powerFactorPermille: available(phase.powerFactorPermille),
			phaseAngleTenthsDegree: available(phase.phaseAngleTenthsDegree),
		})),
		activeEnergyImport: reading.activeEnergyImport,
		activeEnergyExport: reading.activeEnergyExport,
		reactiveEnergyImport: reading.reactiveEnergyImport,
		reactiveEnergyExport: reading.reactiveEnergyExport,
	};
}

const BOOT_REASONS = Object.entries(BootReason);

export function helloView(hello: Hello, receivedUtcSeconds: number): HelloView {
	return {
		receivedUtcSeconds,
		bootCount: hello.bootCount,
		bootReason: BOOT_REASONS.find(([, value]) => value === hello.bootReason)?.[0] ?? `reason ${hello.bootReason}`,
		phaseCount: hello.phaseCount,
		netting: hello.netting === 0 ? "perPhase" : "vectorSum",
		intervalSeconds: hello.intervalSeconds,
		firmware: `${hello.firmwareMajor}.${hello.firmwareMinor}.${hello.firmwarePatch}`,
		parameterCounter: hello.parameterCounter,
		profileOldest: hello.profileOldest,
		profileNext: hello.profileNext,
		eventOldest: hello.eventOldest,
		eventNext: hello.eventNext,
	};
}

/** @param previous the row one sequence before, undefined when it is not here */
export function profileRowView(
	series: number,
	row: ProfileRow,
	receivedUtcSeconds: number,
	previous: ProfileRow | undefined,
): ProfileRowView {
	return {
		series,
		sequence: row.sequence,
		intervalStartSeconds: row.intervalStartSeconds,
		durationSeconds: row.durationSeconds,
		status: row.status,
		statusNames: bitNames(row.status, PROFILE_STATUS_BITS),
		tariff: row.tariff,
		activeEnergyImport: row.activeEnergyImport,
		activeEnergyExport: row.activeEnergyExport,
		reactiveEnergyImport: row.reactiveEnergyImport,
		reactiveEnergyExport: row.reactiveEnergyExport,
		activeEnergyImportIncrement: previous ? row.activeEnergyImport - previous.activeEnergyImport : null,
		activeEnergyExportIncrement: previous ? row.activeEnergyExport - previous.activeEnergyExport : null,
		receivedUtcSeconds,
	};
}

/** Null for a code of a later firmware. */
function knownEventName(code: number): string | null {
	const name = eventName(code);
	return name === "unknown" ? null : name;
}

export function eventView(series: number, entry: EventEntry, receivedUtcSeconds: number): EventView {
	return {
		series,
		sequence: entry.sequence,
		utcSeconds: utcView(entry.utcSeconds),
		receivedUtcSeconds,
		code: entry.code,
		name: knownEventName(entry.code),
		detail: entry.detail,
	};
}

/** Decodes a whole capture. @returns a status other than ok when it does not hold */
export function captureView(from: DataView, byteLength: number): CaptureView | Status {
	const header = createCaptureHeader();
	const status = decodeCaptureHeader(from, byteLength, header);
	if (status !== Status.ok) return status;
	const names = ["U1", "I1", "U2", "I2", "U3", "I3", "IN"];
	const channels = Array.from({ length: header.channelCount }, (_, channel) => {
		const values = new Array<number>(header.rowCount);
		const scale = header.microunitsPerCode[channel]! / 1e6;
		for (let row = 0; row < header.rowCount; row++) {
			const offset = captureCodesOffset(header.channelCount) + 2 * (row * header.channelCount + channel);
			values[row] = Number((from.getInt16(offset) * scale).toFixed(6));
		}
		// an odd count ends with the neutral current
		const neutral = channel === header.channelCount - 1 && header.channelCount % 2 === 1;
		const name = neutral ? "IN" : names[channel]!;
		return { name, unit: name.startsWith("U") ? ("V" as const) : ("A" as const), values };
	});
	return { utcSeconds: utcView(header.utcSeconds), rowsPerSecond: header.rowRateMillihertz / 1000, channels };
}

const UNITS: Readonly<Record<number, string>> = { 27: "W", 29: "var", 30: "Wh", 31: "VAh", 32: "varh" };

const QUANTITIES: Readonly<Record<number, string>> = {
	1: "A+ active import",
	2: "A− active export",
	3: "R+ reactive import",
	4: "R− reactive export",
	5: "R quadrant I",
	6: "R quadrant II",
	7: "R quadrant III",
	8: "R quadrant IV",
	9: "S+ apparent import",
	10: "S− apparent export",
	15: "|A| absolute active",
	16: "A net active",
};

function registerName(entry: RegisterEntry): string | null {
	let quantity = entry.c;
	let phase = "";
	if (entry.c > 20 && entry.c < 80) {
		phase = ` L${Math.floor(entry.c / 20)}`;
		quantity = entry.c % 20;
	}
	const name = QUANTITIES[quantity];
	if (name === undefined) return null;
	const tariff = entry.e === 0 ? "" : `, tariff ${entry.e}`;
	if (entry.d === 8) return `${name}${phase}${tariff}`;
	if (entry.d === 6) return `${name}${phase}, maximum demand${tariff}`;
	if (entry.d === 4) return `${name}${phase}, demand now`;
	if (entry.d === 7) return `${name}${phase}, power now`;
	return null;
}

export function snapshotView(from: DataView, byteLength: number): SnapshotView | Status {
	const header = { requestId: 0, utcSeconds: 0, entryCount: 0 };
	const status = decodeSnapshotHeader(from, byteLength, header);
	if (status !== Status.ok) return status;
	const registers: SnapshotView["registers"] = [];
	const entry: RegisterEntry = { c: 0, d: 0, e: 0, unit: 0, value: 0 };
	for (let index = 0; index < header.entryCount; index++) {
		const entryStatus = decodeRegisterEntry(from, index, entry);
		if (entryStatus !== Status.ok) return entryStatus;
		registers.push({
			obis: `1-0:${entry.c}.${entry.d}.${entry.e}`,
			name: registerName(entry),
			unit: UNITS[entry.unit] ?? `unit ${entry.unit}`,
			value: entry.value,
		});
	}
	return { utcSeconds: utcView(header.utcSeconds), registers };
}

const DIAGNOSTIC_NAMES = Object.entries(Diagnostic);

export function diagnosticsView(
	from: DataView,
	byteLength: number,
	receivedUtcSeconds: number,
): DiagnosticsView | Status {
	const header = { requestId: 0, entryCount: 0 };
	const status = decodeDiagnosticsHeader(from, byteLength, header);
	if (status !== Status.ok) return status;
	const entry = { key: 0, value: 0 };
	const entries: DiagnosticsView["entries"] = [];
	for (let index = 0; index < header.entryCount; index++) {
		decodeDiagnostic(from, index, entry);
		const name =
			entry.key >= Diagnostic.refusals && entry.key < Diagnostic.refusals + 0x100
				? `refusals ${statusName(entry.key - Diagnostic.refusals)}`
				: (DIAGNOSTIC_NAMES.find(([, key]) => key === entry.key)?.[0] ?? `key ${entry.key}`);
		entries.push({ key: entry.key, name, value: entry.value });
	}
	return { receivedUtcSeconds, entries };
}

/** Counters by name, those above zero only; `ok` is no refusal. */
export function refusalsView(counters: StatusCounters): Record<string, number> {
	const refusals: Record<string, number> = {};
	counters.counts.forEach((count, status) => {
		if (count > 0 && status !== Status.ok) refusals[statusName(status)] = count;
	});
	return refusals;
}
