import type { Command } from "commander";
import type { Statistics } from "../device/target.js";
import { progress, progressEnd } from "./build.js";
import { oneOf } from "./options.js";

const READINGS = 3;
const VIRTUAL_SECONDS_MAX = 60;
/** Part of the reference by which a reading of the smoke run may differ; the accuracy suite is for the rest. */
const DIFFERENCE_MAX = 0.001;

function memoryLine(when: string, found: Statistics): string {
	return (
		`memory ${when}: ${found.slotsLive} slots live of 4928, ${found.chunkBytesLive} B of chunks live of 78848, ` +
		`stack at most ${found.stackPeakSlots} of 512 slots`
	);
}

export function addModdable(program: Command): Command {
	return program
		.command("moddable")
		.description("build with the Moddable SDK of $MODDABLE and run on its engine: known answers, then the meter")
		.option("--target <platform>", "platform of the SDK; allowed: x-cli-lin", oneOf("x-cli-lin"), "x-cli-lin")
		.option("--generate", "only write what manifest.json needs below build/moddable, for mcconfig by hand", false)
		.action(async ({ target, generate }: { target: string; generate: boolean }) => {
			const { buildModdable, findModdable, generateModdable, KNOWN_ANSWERS_MANIFEST, METER_MANIFEST } = await import(
				"../build/moddable.js"
			);
			const { runMeter, runProgram } = await import("../build/moddable-run.js");
			if (generate) {
				await generateModdable();
				return;
			}
			const sdk = findModdable();
			await generateModdable();
			const build = async (manifest: string): Promise<string> => {
				const image = await buildModdable({ sdk, manifest, target, onProgress: progress });
				progressEnd();
				for (const line of image.linkerWarnings) process.stdout.write(`${line}\n`);
				if (image.linkerWarnings.length > 0) process.exitCode = 1;
				return image.program;
			};
			process.exitCode = 0;
			const write = (line: string): void => {
				process.stdout.write(`${line}\n`);
			};

			write("known answers, preloaded, memory of the ESP32-C6:");
			const answers = await runProgram(await build(KNOWN_ANSWERS_MANIFEST), write);
			if (answers.exitCode !== 0) process.exitCode = 1;

			const run = await runMeter(await build(METER_MANIFEST), READINGS, VIRTUAL_SECONDS_MAX);
			write(`meter on ${run.host}, ${run.virtualSeconds} virtual seconds, MQTT over TCP:`);
			write(memoryLine("after boot", run.atBoot));
			write(memoryLine("at the end", run.atEnd));
			const reference = run.referenceMilliwatts;
			for (const reading of run.readings) {
				const [phase] = reading.phases;
				let milliwatts = 0;
				for (const { powerMilliwatts } of reading.phases) milliwatts += powerMilliwatts;
				const holds = Math.abs(milliwatts / reference - 1) <= DIFFERENCE_MAX;
				if (!holds) process.exitCode = 1;
				write(
					`${holds ? "ok  " : "FAIL"} reading ${reading.readingIndex}: ${(phase.voltageMillivolts / 1000).toFixed(3)} V, ` +
						`${(phase.currentMilliamperes / 1000).toFixed(3)} A, ${(milliwatts / 1000).toFixed(3)} W ` +
						`(reference ${(reference / 1000).toFixed(3)} W), ${(reading.frequencyMillihertz / 1000).toFixed(3)} Hz`,
				);
			}
			if (run.readings.length < READINGS) {
				write(`FAIL ${run.readings.length} of ${READINGS} readings`);
				for (const line of run.log.slice(-10)) write(`     ${line}`);
				process.exitCode = 1;
			}
		});
}
