import type { Command } from "commander";

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

export function addBuild(program: Command): Command {
	return program
		.command("build")
		.description("build the engine and the firmware for the Linux host (start and test do it themselves)")
		.action(async () => {
			await prepare();
		});
}
