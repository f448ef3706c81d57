import type { Status } from "../bytes/status.js";
import type { DemandResponseEvent, LoadLimit, Prices, TariffTable } from "../messages/command.js";

/** Which command it is, and when. */
export interface CommandContext {
	/** 8 bytes; valid during the call. */
	readonly commandId: Uint8Array;
	readonly nowMilliseconds: number;
	/** NaN while the clock is not set. */
	readonly utcSeconds: number;
}

/**
 * What commands can make the meter do. `CommandHandler` calls one method for each command, once; between the two rows of
 * the log that stand for "it came" and "it is done". `ok` means that it has happened and survives a power cut, anything
 * else that it has not. Objects handed over are reused: an implementation copies what it keeps.
 */
export interface Actuators {
	/** @param mode `ConnectMode` */
	connect(mode: number, context: CommandContext): Status;
	disconnect(reason: number, context: CommandContext): Status;
	setLoadLimit(limit: LoadLimit, context: CommandContext): Status;
	setPrices(prices: Prices, context: CommandContext): Status;
	setTariffCalendar(table: TariffTable, context: CommandContext): Status;
	demandResponse(event: DemandResponseEvent, context: CommandContext): Status;
	/** Asks for the time now, and lets the answer step the clock by at most so much. */
	synchroniseClock(stepSecondsMax: number, context: CommandContext): Status;
	/** All parameters of one command, or none of them. Called once for each; `isLast` ends the set. */
	configure(parameter: number, value: number, isLast: boolean, context: CommandContext): Status;
	/** Rows are put into the queue of answers. */
	readProfile(firstSequence: number, count: number, context: CommandContext): Status;
	/** Keys are to be destroyed, after the receipt has left. */
	decommission(context: CommandContext): Status;
	/** The command's answer that the receipt carries, of the command that was done last. */
	answer(commandKind: number): number;
	/** Whether what survived the power cut shows the effect of this command. */
	holds(commandId: Uint8Array): boolean;
}
