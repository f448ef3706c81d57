/// <reference lib="dom" />

/** What is not available is never shown as 0. */
export const NOTHING = "–";

const EPOCH_MILLISECONDS = 946_684_800_000;

const fixed = [0, 1, 2, 3].map(
	(digits) => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);

export function number(value: number, digits: 0 | 1 | 2 | 3 = 0): string {
	// a minus sign as wide as a digit, and no "-0"
	const text = fixed[digits]!.format(value);
	return /[1-9]/.test(text) ? text.replace("-", "−") : text.replace("-", "");
}

type Quantity = number | null | undefined;

function scaled(value: Quantity, unit: string): [string, string] {
	if (value === null || value === undefined) return [NOTHING, ""];
	const magnitude = Math.abs(value);
	if (magnitude >= 999_500_000) return [number(value / 1e9, 2), `M${unit}`];
	if (magnitude >= 99_950_000) return [number(value / 1e6, 1), `k${unit}`];
	if (magnitude >= 999_500) return [number(value / 1e6, 2), `k${unit}`];
	if (magnitude >= 99_950) return [number(value / 1e3, 0), unit];
	return [number(value / 1e3, 1), unit];
}

/** Value and unit apart, for large figures. */
export const powerParts = (milliwatts: Quantity): [string, string] => scaled(milliwatts, "W");

const joined = ([value, unit]: [string, string]): string => (unit ? `${value} ${unit}` : value);

export const power = (milliwatts: Quantity): string => joined(scaled(milliwatts, "W"));
export const reactive = (millivars: Quantity): string => joined(scaled(millivars, "var"));
export const apparent = (millivoltAmperes: Quantity): string => joined(scaled(millivoltAmperes, "VA"));

/** mWh to kWh with three decimals: every digit of a register down to the watt-hour. */
export function energyParts(milliwattHours: Quantity, unit = "kWh"): [string, string] {
	return milliwattHours === null || milliwattHours === undefined
		? [NOTHING, ""]
		: [number(milliwattHours / 1e6, 3), unit];
}
export const energy = (milliwattHours: Quantity, unit = "kWh"): string => joined(energyParts(milliwattHours, unit));

export const voltage = (millivolts: Quantity): string =>
	millivolts == null ? NOTHING : `${number(millivolts / 1000, 1)} V`;

export function current(milliamperes: Quantity): string {
	if (milliamperes == null) return NOTHING;
	return milliamperes < 9995 ? `${number(milliamperes / 1000, 3)} A` : `${number(milliamperes / 1000, 2)} A`;
}

export const frequency = (millihertz: Quantity): string =>
	millihertz == null ? NOTHING : `${number(millihertz / 1000, 3)} Hz`;
export const factor = (permille: Quantity): string => (permille == null ? NOTHING : number(permille / 1000, 3));
export const percent = (permille: Quantity): string => (permille == null ? NOTHING : `${number(permille / 10, 1)} %`);
export const angle = (tenths: Quantity): string => (tenths == null ? NOTHING : `${number(tenths / 10, 1)}°`);
export const count = (value: Quantity): string => (value == null ? NOTHING : number(value));

export function offset(seconds: Quantity): string {
	if (seconds == null) return NOTHING;
	const text = Math.abs(seconds) < 100 ? number(seconds, 1) : number(seconds);
	return `${seconds > 0 && text !== "0.0" ? "+" : ""}${text} s`;
}

export function dateOf(utcSeconds: number): Date {
	return new Date(utcSeconds * 1000 + EPOCH_MILLISECONDS);
}

export const milliseconds = (utcSeconds: number): number => utcSeconds * 1000 + EPOCH_MILLISECONDS;

const two = (value: number): string => String(value).padStart(2, "0");

export function clock(utcSeconds: Quantity, withSeconds = true): string {
	if (utcSeconds == null) return NOTHING;
	const date = dateOf(utcSeconds);
	return `${two(date.getHours())}:${two(date.getMinutes())}${withSeconds ? `:${two(date.getSeconds())}` : ""}`;
}

export function day(utcSeconds: number): string {
	const date = dateOf(utcSeconds);
	return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export function time(utcSeconds: Quantity): string {
	return utcSeconds == null ? NOTHING : `${day(utcSeconds)} ${clock(utcSeconds)}`;
}

/** How long ago, in the largest fitting unit. */
export function ago(utcSeconds: Quantity, nowUtcSeconds: number): string {
	if (utcSeconds == null) return NOTHING;
	return `${duration(Math.max(0, nowUtcSeconds - utcSeconds))} ago`;
}

export function duration(seconds: number): string {
	if (seconds < 90) return `${Math.round(seconds)} s`;
	if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
	if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
	return `${Math.round(seconds / 86_400)} days`;
}

/** Names of codes as people read them: "clockInvalid" to "clock invalid". */
export function words(name: string): string {
	return name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase();
}

/** An EUI-64 in four groups. */
export function identifier(id: string): string {
	return id.replace(/(.{4})(?=.)/g, "$1 ");
}

export function ranges(list: readonly { first: number; next: number }[], most = 6): string {
	if (list.length === 0) return "none";
	const texts = list
		.slice(0, most)
		.map(({ first, next }) => (next === first + 1 ? `${first}` : `${first}–${next - 1}`));
	return texts.join(", ") + (list.length > most ? ` and ${list.length - most} more` : "");
}
