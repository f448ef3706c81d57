import { Ade7953 } from "../../../src/front-end/ade7953.js";
import { Atm90e32 } from "../../../src/front-end/atm90e32.js";
import { Bl0942 } from "../../../src/front-end/bl0942.js";
import { CalibrationProcedure } from "../../../src/front-end/calibration.js";
import { Cse7766 } from "../../../src/front-end/cse7766.js";
import type { FrontEnd } from "../../../src/front-end/front-end.js";
import { HLW8012, PulseMeter } from "../../../src/front-end/pulse-meter.js";
import { Pzem004t } from "../../../src/front-end/pzem-004t.js";
import { BASE, type ChipName, errorsOf, phaseCountOf, SimulatedBench } from "../../calibration/simulated-bench.js";

/** What the runner is asked, one JSON object a line. */
export type FrontEndRequest =
	| { readonly calibrate: ChipName; readonly seed: number }
	/** Makes so many drivers and keeps them. */
	| { readonly create: DriverName; readonly times: number };
export type DriverName = "ade7953" | "atm90e32" | "bl0942" | "cse7766" | "pulses" | "pzem-004t";

const root = globalThis as unknown as { wattlockStart: (line: string) => string };

/** IO that nothing is connected to. */
class NoIo {
	read(): number {
		return 0;
	}
	write(): void {}
	transfer(): void {}
	close(): void {}
}

function create(driver: DriverName): FrontEnd {
	const sensor = { io: NoIo };
	if (driver === "ade7953") {
		const made = new Ade7953({ spi: sensor });
		made.configure({ dividerRatio: 1000, microohms: [5000] });
		return made;
	}
	if (driver === "atm90e32") {
		const made = new Atm90e32({ sensor });
		made.configure({ voltageGains: [7305, 7305, 7305], currentGains: [27_961, 27_961, 27_961] });
		return made;
	}
	if (driver === "bl0942") {
		const made = new Bl0942({ sensor });
		made.configure({ shuntMicroohms: 1000, dividerRatio: 3824.5 });
		return made;
	}
	if (driver === "cse7766") {
		const made = new Cse7766({ sensor });
		made.configure();
		return made;
	}
	if (driver === "pzem-004t") {
		const made = new Pzem004t({ sensor });
		made.configure();
		return made;
	}
	const made = new PulseMeter({ chip: HLW8012, power: sensor, rms: sensor, select: sensor });
	made.configure({ shuntMicroohms: 1000, dividerRatio: 2821 });
	return made;
}

/** Calibrates the first phase; everything that came out, as text. */
export function calibrateToText(chip: ChipName, seed: number): string {
	const errors = Array.from({ length: phaseCountOf(chip) }, (_, i) => errorsOf(seed, i, chip));
	const bench = new SimulatedBench(chip, errors);
	const { settleReadings, readings } = bench;
	const procedure = new CalibrationProcedure(bench.driver, 0, BASE, { settleReadings, readings });
	for (let point = procedure.point; point !== undefined; point = procedure.point) {
		procedure.begin(bench.makeLoad(0, point));
		bench.measure(procedure);
	}
	return JSON.stringify([
		procedure.state,
		procedure.found,
		[...procedure.errorsPpm].map(Math.round),
		bench.driver.reading,
	]);
}

const kept: FrontEnd[] = [];

root.wattlockStart = (line) => {
	const request = JSON.parse(line) as FrontEndRequest;
	if ("calibrate" in request) return JSON.stringify(calibrateToText(request.calibrate, request.seed));
	for (let i = 0; i < request.times; i++) kept.push(create(request.create));
	return JSON.stringify(kept.length);
};
