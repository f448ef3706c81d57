import { createInterface } from "node:readline/promises";
import { type Command, InvalidArgumentError } from "commander";
import type { FileCalibrationStore } from "../calibration/file-store.js";
import type { ChipName, SimulatedBench } from "../calibration/simulated-bench.js";
import { progress, progressEnd } from "./build.js";
import { integer, oneOf } from "./options.js";

interface CalibrateOptions {
	readonly chip: ChipName;
	readonly phase?: number;
	readonly seed: number;
	readonly store: string;
	readonly yes: boolean;
}

const CHIP_NAMES = ["ade7953", "atm90e32", "bl0937", "bl0942", "cse7766", "hlw8012", "pzem-004t"] as const;

function say(text: string): void {
	process.stdout.write(`${text}\n`);
}

let shownAt = 0;

/** Progress for a person who watches, some times a second. */
function show(text: string): void {
	if (!process.stderr.isTTY || Date.now() - shownAt < 200) return;
	shownAt = Date.now();
	progress(text);
}

/** Waits for Enter, where somebody is there to press it. @returns false: stop */
async function confirmed(question: string, isUnattended: boolean): Promise<boolean> {
	if (isUnattended || !process.stdin.isTTY) return true;
	const lines = createInterface({ input: process.stdin, output: process.stdout });
	try {
		return !/^[qn]/i.test((await lines.question(`${question} [Enter; q stops] `)).trim());
	} finally {
		lines.close();
	}
}

function describe(point: { readonly currentPermille: number; readonly angleDegrees: number }, amperes: number): string {
	const factor = Math.cos((point.angleDegrees * Math.PI) / 180);
	const side = point.angleDegrees > 0 ? " ind" : point.angleDegrees < 0 ? " cap" : "";
	return `230 V, ${((amperes * point.currentPermille) / 1000).toFixed(2)} A, PF ${factor.toFixed(factor > 0.999 ? 0 : 1)}${side}`;
}

const AIMS = ["gain", "offset", "phase", "verify"] as const;

/** Walks through the points of one phase. @returns whether it was verified */
async function calibratePhase(bench: SimulatedBench, phase: number, isUnattended: boolean): Promise<boolean> {
	const { CalibrationProcedure, CalibrationState, CALIBRATION_POINTS } = await import(
		"../../src/front-end/calibration.js"
	);
	const { BASE } = await import("../calibration/simulated-bench.js");
	const { Status, statusName } = await import("../../src/bytes/status.js");
	const { driver, settleReadings, readings } = bench;
	const procedure = new CalibrationProcedure(driver, phase, BASE, { settleReadings, readings });
	for (let point = procedure.point; point !== undefined; point = procedure.point) {
		const index = procedure.pointIndex;
		const load = describe(point, BASE.currentMilliamperes / 1000);
		const title = `L${phase + 1}  ${index + 1}/${CALIBRATION_POINTS.length}  ${AIMS[point.kind]!.padEnd(6)}  ${load.padEnd(26)}`;
		if (!(await confirmed(`${title} make this load`, isUnattended))) {
			procedure.cancel();
			say("stopped; the corrections of before are in force");
			return false;
		}
		const status = procedure.begin(bench.makeLoad(phase, point));
		if (status !== Status.ok) {
			procedure.cancel(status);
			break;
		}
		bench.measure(procedure, () => show(`${title} ${Math.round(procedure.progressPermille / 10)} %`));
		if (process.stderr.isTTY) progressEnd();
		const error = procedure.errorsPpm[index]!;
		const limit = point.limitPpm > 0 ? `, limit ${(point.limitPpm / 10_000).toFixed(1)} %` : "";
		say(`${title} error ${error >= 0 ? "+" : ""}${(error / 10_000).toFixed(4)} %${limit}`);
	}
	if (procedure.state === CalibrationState.done) {
		const { voltageGainQ24, currentGainQ24, powerGainQ24, ...rest } = procedure.found;
		const percent = (gain: number) => `${(100 * (gain / 2 ** 24 - 1)).toFixed(3)} %`;
		say(
			`L${phase + 1}  U ${percent(voltageGainQ24)}, I ${percent(currentGainQ24)}, P ${percent(powerGainQ24)}, offset ${rest.powerOffsetMilliwatts} mW, delay ${rest.phaseDelayNanoseconds} ns`,
		);
		return true;
	}
	process.stderr.write(
		`wattlock: L${phase + 1} is not calibrated (${statusName(procedure.status)}); the corrections of before are in force\n`,
	);
	return false;
}

async function keep(store: FileCalibrationStore, bench: SimulatedBench, phaseCount: number): Promise<boolean> {
	const { CALIBRATION_BYTES_MAX, storeCalibration } = await import("../../src/front-end/calibration-record.js");
	const { Status, statusName } = await import("../../src/bytes/status.js");
	const calibrations = Array.from({ length: phaseCount }, (_, i) => bench.driver.calibration(i));
	const status = storeCalibration(store, calibrations, new Uint8Array(CALIBRATION_BYTES_MAX));
	if (status === Status.ok) return true;
	process.stderr.write(`wattlock: the corrections are not stored (${statusName(status)})\n`);
	return false;
}

/** Puts what an earlier run stored into the driver. */
async function restore(store: FileCalibrationStore, bench: SimulatedBench, phaseCount: number): Promise<void> {
	const { CALIBRATION_BYTES_MAX, decodeCalibration } = await import("../../src/front-end/calibration-record.js");
	const { createPhaseCalibration } = await import("../../src/front-end/front-end.js");
	const { Status, statusName } = await import("../../src/bytes/status.js");
	const { UserError } = await import("../user-error.js");
	const record = new Uint8Array(CALIBRATION_BYTES_MAX);
	const byteLength = store.load(record);
	if (byteLength === 0) return;
	const calibrations = Array.from({ length: phaseCount }, createPhaseCalibration);
	let status = decodeCalibration(record, byteLength, store.parameterCounter(), calibrations);
	for (let i = 0; i < phaseCount && status === Status.ok; i++)
		status = bench.driver.setCalibration(i, calibrations[i]!);
	if (status !== Status.ok)
		throw new UserError(`the stored corrections cannot be used (${statusName(status)}); give another --store`);
	say(`corrections of sealed counter ${store.parameterCounter()} are in force`);
}

export function addCalibrate(program: Command): Command {
	return program
		.command("calibrate")
		.description(
			"two-point gain, offset, and phase at PF 0.5 of a metering front end, verified where it did not look; on a simulated bench",
		)
		.requiredOption("--chip <name>", `one of ${CHIP_NAMES.join(", ")}`, oneOf(...CHIP_NAMES))
		.option("--phase <number>", "1 to 3; default: all", integer(1, 3))
		.option("--seed <number>", "of the errors that the bench's parts have", integer(0, 4_294_967_295), 1)
		.option("--store <folder>", "keeps calibration.bin, and seal.json with the sealed counter", "out/calibration")
		.option("--yes", "do not wait for a person at each load", false)
		.addHelpText(
			"after",
			"\nLoads: Ib and 0.05 Ib at PF 1, Ib at PF 0.5 ind, then four that verify to a tenth of class 1 (IEC 62053-21).\nChips without a phase register are held to class 1 itself off PF 1. Whatever fails leaves the corrections of before.\nExit codes: 0 verified and stored, 1 not verified or stopped, 2 could not run.",
		)
		.action(async (options: CalibrateOptions) => {
			const { errorsOf, phaseCountOf, SimulatedBench } = await import("../calibration/simulated-bench.js");
			const { FileCalibrationStore } = await import("../calibration/file-store.js");
			const phaseCount = phaseCountOf(options.chip);
			if (options.phase !== undefined && options.phase > phaseCount)
				throw new InvalidArgumentError(`${options.chip} has ${phaseCount} phase${phaseCount > 1 ? "s" : ""}.`);
			say(`SEED=${options.seed}`);
			const errors = Array.from({ length: phaseCount }, (_, i) => errorsOf(options.seed, i, options.chip));
			const bench = new SimulatedBench(options.chip, errors);
			const store = new FileCalibrationStore(options.store);
			await restore(store, bench, phaseCount);
			const phases = options.phase === undefined ? Array.from(errors.keys()) : [options.phase - 1];
			for (const phase of phases)
				if (!(await calibratePhase(bench, phase, options.yes))) {
					process.exitCode = 1;
					return;
				}
			if (!(await keep(store, bench, phaseCount))) process.exitCode = 1;
			else say(`stored in ${options.store}; sealed counter ${store.parameterCounter()}`);
		});
}
