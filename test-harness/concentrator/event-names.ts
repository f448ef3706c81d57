const names = new Map<number, string>();

/**
 * Takes the names of event codes from the firmware's own table, so that there is one list.
 * @param exported the module `src/metrology/events.ts`; every frozen table of name to number in it counts
 */
export function learnEventNames(exported: Readonly<Record<string, unknown>>): void {
	for (const [tableName, table] of Object.entries(exported)) {
		if (!/event/i.test(tableName) || typeof table !== "object" || table === null) continue;
		for (const [name, code] of Object.entries(table)) if (typeof code === "number") names.set(code, name);
	}
}

/** The name of an event code, null when the firmware's table has none. */
export function eventName(code: number): string | null {
	return names.get(code) ?? null;
}
