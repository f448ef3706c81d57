import { startMeter } from "../../../src/meter/meter.js";
import { BoardChannel } from "./board-channel.js";

/** Called by main.c once for each machine. @returns the exit code of the process */
export default function main(): number {
	return new BoardChannel(startMeter).run();
}
