import { InvalidArgumentError } from "commander";

/** Parser for a whole number within limits; the message says what is allowed. */
export function integer(minimum: number, maximum: number): (text: string) => number {
	return (text) => {
		const value = Number(text);
		if (!Number.isInteger(value) || value < minimum || value > maximum)
			throw new InvalidArgumentError(`Allowed: a whole number from ${minimum} to ${maximum}.`);
		return value;
	};
}

/** Parser for one of a few words. */
export function oneOf(...words: readonly string[]): (text: string) => string {
	return (text) => {
		if (!words.includes(text)) throw new InvalidArgumentError(`Allowed: ${words.join(", ")}.`);
		return text;
	};
}

/** Parser for a comma-separated list of a few words. */
export function listOf(...words: readonly string[]): (text: string) => string[] {
	return (text) => {
		const list = text.split(",").filter((word) => word !== "");
		for (const word of list)
			if (!words.includes(word)) throw new InvalidArgumentError(`Allowed: ${words.join(", ")}, separated by commas.`);
		return list;
	};
}

/** Parser for a speed: "max" or a factor of real time. */
export function speed(text: string): number | "max" {
	if (text === "max") return "max";
	const value = Number(text);
	if (!(value >= 0.1 && value <= 1000)) throw new InvalidArgumentError('Allowed: "max" or a number from 0.1 to 1000.');
	return value;
}
