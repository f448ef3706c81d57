import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { UserError } from "./user-error.js";

/**
 * The one command-line program. Each command is loaded when it is asked for, so that `--help` is quick.
 * Exit codes: 0 done and every check held; 1 a check or test failed; 2 could not run (one line on standard error).
 */
export async function main(argv: readonly string[]): Promise<void> {
	const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
		version: string;
	};
	const program = new Command("wattlock")
		.description("Open smart-meter firmware, its key management, and the bench that proves it")
		.version(version)
		.exitOverride()
		.configureOutput({ outputError: (text, write) => write(`wattlock: ${text.replace(/^error: /, "")}`) })
		.showHelpAfterError("(--help lists what is allowed)");

	const { addStart } = await import("./commands/start.js");
	const { addTest, addCheck } = await import("./commands/test.js");
	const { addAccuracy } = await import("./commands/accuracy.js");
	const { addBench } = await import("./commands/bench.js");
	const { addBuild } = await import("./commands/build.js");
	const { addCalibrate } = await import("./commands/calibrate.js");
	const { addLab } = await import("./commands/lab.js");
	const { addModdable } = await import("./commands/moddable.js");
	const { addAir } = await import("./commands/air.js");
	const { addProvision } = await import("./commands/provision.js");
	const { addFirmware } = await import("./commands/firmware.js");
	const { addSize } = await import("./commands/size.js");
	for (const add of [
		addStart,
		addTest,
		addAccuracy,
		addBench,
		addCheck,
		addBuild,
		addCalibrate,
		addLab,
		addModdable,
		addAir,
		addProvision,
		addFirmware,
		addSize,
	]) {
		const command = add(program);
		command
			.exitOverride()
			.configureOutput(program.configureOutput())
			.showHelpAfterError("(--help lists what is allowed)");
	}
	try {
		await program.parseAsync(argv as string[]);
	} catch (error) {
		if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
		if (error instanceof UserError) {
			process.stderr.write(`wattlock: ${error.message}\n`);
			process.exit(2);
		}
		throw error;
	}
}
