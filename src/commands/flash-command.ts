import {
	CHAIN_BYTES,
	COMMAND_ID_BYTES,
	CommandKind,
	createDemandResponseEvent,
	encodeCommandAnchor,
	encodeCommandHeader,
	encodeDemandResponse,
	NO_TIME,
} from "../messages/command.js";
import { FLASH_LOG } from "./authorisation.js";

/**
 * The command that a verified flash command stands for, to be given to `CommandHandler.receive` with
 * `Source.headEndFlash`. Level 0 ends the event that runs; 1 to 255 begin one at once: controlled loads run for
 * 1 - level/255 of the time, until the slot's window is over. Called once in years, so it may allocate.
 * @param slot names the command: a slot is used once
 * @param endSeconds UTCTime of the end of the slot's window
 * @returns bytes of the command, 48
 */
export function encodeFlashCommand(
	slot: number,
	level: number,
	utcSeconds: number,
	endSeconds: number,
	into: DataView,
): number {
	const commandId = new Uint8Array(COMMAND_ID_BYTES);
	const id = new DataView(commandId.buffer);
	id.setUint32(0, FLASH_LOG);
	id.setUint32(4, slot);
	encodeCommandHeader(CommandKind.demandResponse, commandId, NO_TIME, into);
	const event = createDemandResponseEvent();
	event.startSeconds = Math.floor(utcSeconds);
	event.durationSeconds = level === 0 ? 0 : Math.max(1, Math.floor(endSeconds) - event.startSeconds);
	event.dutyPermille = 1000 - Math.round((1000 * level) / 255);
	return encodeCommandAnchor(new Uint8Array(CHAIN_BYTES), encodeDemandResponse(event, into, 16), into);
}
