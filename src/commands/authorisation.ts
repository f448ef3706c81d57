import { CommandKind } from "../messages/command.js";

/** By which authenticated way a message came. */
export const Source = Object.freeze({
	/** Sealed end to end. */
	headEnd: 0,
	/** Sealed under the neighbourhood branch. */
	concentrator: 1,
	/** Under the head end's TESLA chain. */
	headEndBroadcast: 2,
	/** Under the concentrator's TESLA chain. */
	concentratorBroadcast: 3,
	/** A one-time flash command. */
	headEndFlash: 4,
	/** From the technician in front of the meter. */
	optical: 5,
} as const);
export type Source = (typeof Source)[keyof typeof Source];

export const SOURCE_COUNT = 6;

const NAMES: readonly string[] = Object.freeze(Object.keys(Source));

/** The field name of a source, or "unknown". */
export function sourceName(source: number): string {
	return NAMES[source] ?? "unknown";
}

const UNICAST = 1 << Source.headEnd;
const BROADCAST = 1 << Source.headEndBroadcast;
const FLASH = 1 << Source.headEndFlash;
const OPTICAL = 1 << Source.optical;

/**
 * Who may send which command; what is not here is refused. A concentrator may send none, so a stolen one can order
 * nothing. What opens or closes the supply of one customer, or ends the meter, comes end to end or not at all; what is
 * said to a group can be said to all. The optical port may ask and not change.
 */
const MAY_SEND: readonly number[] = Object.freeze(
	Array.from({ length: CommandKind.decommission + 1 }, (_, kind) => {
		switch (kind) {
			case CommandKind.connect:
			case CommandKind.disconnect:
			case CommandKind.clock:
			case CommandKind.decommission:
				return UNICAST;
			case CommandKind.loadLimit:
			case CommandKind.price:
			case CommandKind.tariffCalendar:
			case CommandKind.configure:
				return UNICAST | BROADCAST;
			case CommandKind.demandResponse:
				return UNICAST | BROADCAST | FLASH;
			case CommandKind.profileRead:
			case CommandKind.keyMaintenance:
				return UNICAST | OPTICAL;
			default:
				return 0;
		}
	}),
);

/** Whether a command of this kind is obeyed when it comes from there. */
export function isAuthorised(source: number, commandKind: number): boolean {
	return source >= 0 && source < SOURCE_COUNT && ((MAY_SEND[commandKind] ?? 0) & (1 << source)) !== 0;
}

/**
 * Numbers of logs that are nobody's: commands of the optical port, and those made of flash commands. So neither can use
 * up an id of the head end.
 */
export const OPTICAL_LOG = 0xffff_ffff;
export const FLASH_LOG = 0xffff_fffe;
const RESERVED_LOG = 0xffff_fff0;

function logNumber(commandId: Uint8Array): number {
	return commandId[0]! * 0x100_0000 + commandId[1]! * 0x1_0000 + commandId[2]! * 0x100 + commandId[3]!;
}

/** Whether the id is not of a head end's log. */
export function isReservedLog(commandId: Uint8Array): boolean {
	return logNumber(commandId) >= RESERVED_LOG;
}

/** Whether a command from there may have such an id. */
export function isLogOf(source: number, commandId: Uint8Array): boolean {
	const log = logNumber(commandId);
	if (source === Source.optical) return log === OPTICAL_LOG;
	if (source === Source.headEndFlash) return log === FLASH_LOG;
	return log < RESERVED_LOG;
}

/** Whether questions about receipts and the log are answered. */
export function mayAsk(source: number): boolean {
	return source === Source.headEnd || source === Source.optical;
}

/** Whether its anchor is kept. */
export function mayAnchor(source: number): boolean {
	return source === Source.headEnd;
}

/**
 * Refusals that each source may have in the log in an hour, and thereby receipts of them. Each way has its own, so that
 * a flood on one cannot silence another, nor wear out the flash: at most 5 376 rows a day, 86 sectors of 4 KiB.
 */
export const REFUSALS_AN_HOUR: readonly number[] = Object.freeze([120, 8, 64, 8, 16, 8]);
