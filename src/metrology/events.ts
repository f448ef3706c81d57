/**
 * Codes of the event log. A released code never changes meaning. Most come in pairs: a condition that began (even) and
 * that ended (odd). `detail` is signed 32 bits; its meaning stands with the code. Codes 0x0300 to 0x06FF are those of
 * commands: `AuditCode` in src/messages/audit.ts.
 */
export const EventCode = Object.freeze({
	/** detail: boot count. */
	powerUp: 0x0001,
	/** Supply-fail signal. */
	powerDown: 0x0002,
	/** detail: reason. */
	restart: 0x0003,
	/** detail: step in s. */
	clockSet: 0x0010,
	clockInvalid: 0x0012,
	/** detail: old tariff * 256 + new. */
	tariffChanged: 0x0014,
	/** detail: sealed counter. */
	parametersChanged: 0x0020,
	calibrationChanged: 0x0022,
	firmwareChanged: 0x0024,
	/** Maxima reset at a billing date. */
	demandReset: 0x0026,
	relayOpened: 0x0030,
	relayClosed: 0x0031,
	/** detail: status code. */
	storageError: 0x0040,
	/** detail: rows. */
	samplesLost: 0x0042,
	/** The key store cannot be read, or refuses. detail: status code. */
	keysRefused: 0x0044,
	/** New keys of a day. detail: epoch, days since 2000-01-01. */
	epochChanged: 0x0046,
	/** Keys came, changed or went by the optical port. detail: generation, 0: none. */
	keysChanged: 0x0048,

	/** detail: microtesla. */
	magneticFieldStart: 0x0100,
	magneticFieldEnd: 0x0101,
	/** detail: phases, bit 0 = L1. */
	reverseCurrentStart: 0x0102,
	reverseCurrentEnd: 0x0103,
	/** detail: suggested order of the currents as digits, e.g. 213: L2's current belongs to U1. */
	phaseAssociationStart: 0x0104,
	phaseAssociationEnd: 0x0105,
	/** detail: zero-sequence voltage, mV. */
	neutralMissingStart: 0x0106,
	neutralMissingEnd: 0x0107,
	/** detail: difference, mA. */
	currentDifferenceStart: 0x0108,
	currentDifferenceEnd: 0x0109,
	coverOpened: 0x010a,
	coverClosed: 0x010b,
	terminalCoverOpened: 0x010c,
	terminalCoverClosed: 0x010d,
	/** detail: phases, bit 0 = L1. */
	phaseLossStart: 0x010e,
	phaseLossEnd: 0x010f,
	phaseSequenceStart: 0x0110,
	phaseSequenceEnd: 0x0111,
	/** detail: highest THD of a voltage, permille. */
	harmonicsStart: 0x0112,
	harmonicsEnd: 0x0113,
	/** detail: largest mean current, mA. */
	dcInjectionStart: 0x0114,
	dcInjectionEnd: 0x0115,
	/** A note, no accusation: a load that takes one half wave. detail: mean current, mA. */
	halfWaveLoadStart: 0x0116,
	halfWaveLoadEnd: 0x0117,
	/** Suspicion grade. detail: days. */
	bypassSuspectedStart: 0x0118,
	bypassSuspectedEnd: 0x0119,

	/** detail: phase * 2^24 + lowest one-cycle voltage in units of 0.1 V; of the end: duration in ms. */
	dipStart: 0x0200,
	dipEnd: 0x0201,
	/** detail: phase * 2^24 + highest one-cycle voltage in units of 0.1 V; of the end: duration in ms. */
	swellStart: 0x0202,
	swellEnd: 0x0203,
	/** All phases. detail of the end: duration in ms. */
	interruptionStart: 0x0204,
	interruptionEnd: 0x0205,
} as const);
export type EventCode = (typeof EventCode)[keyof typeof EventCode];

const NAMES = Object.freeze(
	Object.fromEntries(Object.entries(EventCode).map(([name, code]) => [code, name])) as Record<number, string>,
);

/** The field name of an event code, or "unknown". */
export function eventName(code: number): string {
	return NAMES[code] ?? "unknown";
}
