import { InvariantError } from "../bytes/status.js";
import type { SampleLayout } from "../platform/sample-kernel.js";

/** What a device is told once, at production or commissioning; JSON on the way in. Every field has a default but the identifier. */
export interface Settings {
	/** EUI-64, 16 lower-case hexadecimal digits. */
	readonly identifier: string;
	readonly layout: SampleLayout;
	/** Physical scale of one code at nominal gain, µV and µA. */
	readonly voltageMicrovoltsPerCode: number;
	readonly currentMicroamperesPerCode: number;
	readonly nominalVoltageMillivolts: number;
	readonly nominalFrequencyHertz: 50 | 60;
	readonly baseCurrentMilliamperes: number;
	readonly maximumCurrentMilliamperes: number;
	/** Which registers are the legal ones; both sets are kept. */
	readonly netting: "perPhase" | "vectorSum";
	/** False: export is reported as reversed current. */
	readonly exportAllowed: boolean;
	/** Pulses a kWh of the metrology LED. */
	readonly meterConstant: number;
	/** Length of a load profile interval, s; divides 3600. */
	readonly intervalSeconds: number;
	/** Registers are committed to flash this often, s: bounds what a power cut without warning loses. */
	readonly registerCommitSeconds: number;
	/** A reading is published this often, s. */
	readonly readingSeconds: number;
	/** Local standard time against UTC, minutes; tariffs switch on local time. */
	readonly utcOffsetMinutes: number;
	/** EU rule for summer time. */
	readonly summerTime: boolean;
	/** Switch points of local time, minutes after midnight, with the tariff from then on; empty: tariff 1 all day. */
	readonly tariffSwitches: readonly { readonly minute: number; readonly tariff: number }[];
	readonly mqtt: {
		readonly protocolVersion: 4 | 5;
		readonly cleanSession: boolean;
		readonly sessionExpirySeconds: number;
		readonly keepAliveSeconds: number;
		readonly username?: string;
		readonly password?: string;
	};
	/** "plain": no keys, nothing is protected; for tests, and to compare costs with. */
	readonly security: "secured" | "plain";
	/** Publish Home Assistant discovery and JSON state. Not protected end to end: it is for the broker of the home. */
	readonly homeAssistant: boolean;
}

/** Settings of a three-phase direct meter, 230 V, 5(60) A. */
export const DEFAULT_SETTINGS: Omit<Settings, "identifier"> = Object.freeze({
	layout: Object.freeze({ phaseCount: 3, neutralCurrent: true, sampleBytes: 2, samplesPerSecond: 4000 } as const),
	voltageMicrovoltsPerCode: 12_500,
	currentMicroamperesPerCode: 3_500,
	nominalVoltageMillivolts: 230_000,
	nominalFrequencyHertz: 50,
	baseCurrentMilliamperes: 5_000,
	maximumCurrentMilliamperes: 60_000,
	netting: "vectorSum",
	exportAllowed: true,
	meterConstant: 1000,
	intervalSeconds: 900,
	registerCommitSeconds: 60,
	readingSeconds: 10,
	utcOffsetMinutes: 60,
	summerTime: true,
	tariffSwitches: Object.freeze([
		Object.freeze({ minute: 360, tariff: 1 }),
		Object.freeze({ minute: 1320, tariff: 2 }),
	]),
	mqtt: Object.freeze({ protocolVersion: 5, cleanSession: false, sessionExpirySeconds: 86_400, keepAliveSeconds: 60 }),
	security: "secured",
	homeAssistant: false,
});

function within(value: unknown, minimum: number, maximum: number, name: string): void {
	if (typeof value !== "number" || !(value >= minimum && value <= maximum))
		throw new InvariantError(`settings: ${name} must be a number from ${minimum} to ${maximum}`);
}

/**
 * Reads the settings that the host passes at start. They come from our own provisioning, so a mistake is a throw: the
 * meter must not start with a wrong scale.
 * @param text JSON object; absent fields take `DEFAULT_SETTINGS`
 */
export function parseSettings(text: string): Settings {
	const given = JSON.parse(text) as Partial<Settings>;
	const settings: Settings = {
		...DEFAULT_SETTINGS,
		identifier: "",
		...given,
		layout: { ...DEFAULT_SETTINGS.layout, ...given.layout },
		mqtt: { ...DEFAULT_SETTINGS.mqtt, ...given.mqtt },
	};
	if (!/^[0-9a-f]{16}$/.test(settings.identifier))
		throw new InvariantError("settings: identifier must be 16 lower-case hexadecimal digits");
	within(settings.layout.phaseCount, 1, 3, "layout.phaseCount");
	within(settings.layout.samplesPerSecond, 1000, 8001, "layout.samplesPerSecond");
	if (settings.layout.sampleBytes !== 2 && settings.layout.sampleBytes !== 3)
		throw new InvariantError("settings: layout.sampleBytes must be 2 or 3");
	within(settings.voltageMicrovoltsPerCode, 1, 1e6, "voltageMicrovoltsPerCode");
	within(settings.currentMicroamperesPerCode, 1, 1e6, "currentMicroamperesPerCode");
	within(settings.intervalSeconds, 60, 3600, "intervalSeconds");
	if (3600 % settings.intervalSeconds !== 0) throw new InvariantError("settings: intervalSeconds must divide 3600");
	within(settings.registerCommitSeconds, 1, 3600, "registerCommitSeconds");
	within(settings.readingSeconds, 1, 3600, "readingSeconds");
	within(settings.meterConstant, 1, 100_000, "meterConstant");
	within(settings.utcOffsetMinutes, -720, 840, "utcOffsetMinutes");
	if (settings.netting !== "perPhase" && settings.netting !== "vectorSum")
		throw new InvariantError('settings: netting must be "perPhase" or "vectorSum"');
	if (settings.security !== "secured" && settings.security !== "plain")
		throw new InvariantError('settings: security must be "secured" or "plain"');
	for (const { minute, tariff } of settings.tariffSwitches) {
		within(minute, 0, 1439, "tariffSwitches.minute");
		within(tariff, 1, 4, "tariffSwitches.tariff");
	}
	return settings;
}
