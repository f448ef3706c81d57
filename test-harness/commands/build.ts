import type { Command } from "commander";
import { UserError } from "../user-error.js";

/** Progress on standard error: one line that is rewritten on a terminal, plain lines elsewhere. */
export function progress(text: string): void {
	if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
	else process.stderr.write(`${text}\n`);
}

export function progressEnd(): void {
	if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
}

/** Builds what is missing or out of date: engine, bytecode compiler, firmware. */
export async function prepare(): Promise<void> {
	const { buildEngine } = await import("../build/engine.js");
	const { buildFirmware } = await import("../build/firmware.js");
	await buildEngine({ onProgress: progress });
	await buildFirmware({ onProgress: progress });
	progressEnd();
}

/** Builds the flash image of the emulated board. */
export async function prepareRv32(): Promise<void> {
	const { buildRv32Image } = await import("../build/rv32-image.js");
	await buildRv32Image({ onProgress: progress });
	progressEnd();
}

export function addBuild(program: Command): Command {
	return program
		.command("build")
		.description("build the engine and the firmware for a host (start and test do it themselves)")
		.argument("[host]", "linux, or rv32: the image of the emulated RV32IMAC board", "linux")
		.action(async (host: string) => {
			if (host !== "linux" && host !== "rv32") throw new UserError(`build knows no ${host}; allowed: linux, rv32`);
			await (host === "rv32" ? prepareRv32() : prepare());
		});
}
