import { Ade7953 } from "../../src/front-end/ade7953.js";
import { Atm90e32 } from "../../src/front-end/atm90e32.js";
import { Bl0942 } from "../../src/front-end/bl0942.js";
import {
	type CalibrationPoint,
	type CalibrationProcedure,
	CalibrationState,
	type Reference,
} from "../../src/front-end/calibration.js";
import { Cse7766 } from "../../src/front-end/cse7766.js";
import type { FrontEnd } from "../../src/front-end/front-end.js";
import { BL0937, HLW8012, PulseMeter } from "../../src/front-end/pulse-meter.js";
import { Pzem004t } from "../../src/front-end/pzem-004t.js";
import { Ade7953Chip } from "../chips/ade7953-chip.js";
import { Atm90e32Chip } from "../chips/atm90e32-chip.js";
import type { Device } from "../chips/bench.js";
import { Bl0942Chip } from "../chips/bl0942-chip.js";
import { SpiBus } from "../chips/buses.js";
import { Cse7766Chip } from "../chips/cse7766-chip.js";
import { Mains, type PhaseErrors } from "../chips/mains.js";
import { PulseChipModel } from "../chips/pulse-chip.js";
import { Pzem004tChip } from "../chips/pzem-004t-chip.js";
import { SerialLine } from "../chips/serial-line.js";
import { Random } from "../waveforms/random.js";

export const CHIPS = ["ade7953", "atm90e32", "bl0937", "bl0942", "cse7766", "hlw8012", "pzem-004t"] as const;
export type ChipName = (typeof CHIPS)[number];

export const BASE = { voltageMillivolts: 230_000, currentMilliamperes: 5000 } as const;

/** Chips that correct the phase stand behind current transformers, the others behind shunts. */
export function hasTransformer(chip: ChipName): boolean {
	return chip === "ade7953" || chip === "atm90e32";
}

export function phaseCountOf(chip: ChipName): number {
	if (chip === "atm90e32") return 3;
	return chip === "ade7953" ? 2 : 1;
}

/** Errors as parts of a board have them: 1 to 3 % of gain, tenths of a watt, ±30 µs of a transformer or ±1.5 µs of a shunt. */
export function errorsOf(seed: number, phase: number, chip: ChipName): PhaseErrors {
	const random = new Random(seed, `errors ${phase}`);
	const delay = hasTransformer(chip) ? 30_000 : 1500;
	return {
		voltageGain: 1 + random.between(-0.02, 0.02),
		currentGain: 1 + random.between(-0.03, 0.03),
		currentDelayNanoseconds: Math.round(random.between(-delay, delay)),
		powerOffsetWatts: random.between(-0.3, 0.3),
	};
}

/** One chip with its driver, a reference source that makes any load, and a reference meter that knows the truth. */
export class SimulatedBench {
	readonly driver: FrontEnd;
	/** A reading of pulses needs long for its resolution. */
	readonly readings: number;
	/** CF1 tells current and voltage in turn. */
	readonly settleReadings: number;
	readonly mains: Mains;
	nowMilliseconds = 0;
	readonly #devices: readonly Device[];

	constructor(chip: ChipName, errors: readonly PhaseErrors[]) {
		const mains = new Mains(errors.length, errors);
		this.mains = mains;
		const line = new SerialLine(new Random(1, "line"));
		const bus = new SpiBus(new Random(1, "bus"));
		const isPulses = chip === "hlw8012" || chip === "bl0937";
		this.readings = isPulses ? 600 : 20;
		this.settleReadings = isPulses ? 30 : 5;
		switch (chip) {
			case "ade7953": {
				const microohms = errors.map(() => 5000);
				this.#devices = [new Ade7953Chip(mains, bus, 1000, microohms)];
				const driver = new Ade7953({ spi: { io: bus.io }, channelCount: errors.length === 2 ? 2 : 1 });
				driver.configure({ dividerRatio: 1000, microohms });
				this.driver = driver;
				break;
			}
			case "atm90e32": {
				this.#devices = [new Atm90e32Chip(mains, bus, 7305, 27_961)];
				const driver = new Atm90e32({ sensor: { io: bus.io } });
				driver.configure({ voltageGains: [7305, 7305, 7305], currentGains: [27_961, 27_961, 27_961] });
				this.driver = driver;
				break;
			}
			case "bl0942": {
				this.#devices = [new Bl0942Chip(mains, line, 1000, 3824.5), line];
				const driver = new Bl0942({ sensor: { io: line.io } });
				driver.configure({ shuntMicroohms: 1000, dividerRatio: 3824.5 });
				this.driver = driver;
				break;
			}
			case "cse7766": {
				this.#devices = [new Cse7766Chip(mains, line), line];
				const driver = new Cse7766({ sensor: { io: line.io } });
				driver.configure();
				this.driver = driver;
				break;
			}
			case "pzem-004t": {
				this.#devices = [new Pzem004tChip(mains, line), line];
				const driver = new Pzem004t({ sensor: { io: line.io } });
				driver.configure();
				this.driver = driver;
				break;
			}
			default: {
				const kind = chip === "hlw8012" ? HLW8012 : BL0937;
				const model = new PulseChipModel(mains, kind, 1000, 2821);
				this.#devices = [model];
				const driver = new PulseMeter({
					chip: kind,
					power: { io: model.power },
					rms: { io: model.rms },
					select: { io: model.select },
				});
				driver.configure({ shuntMicroohms: 1000, dividerRatio: 2821 });
				this.driver = driver;
			}
		}
	}

	/** The source makes the load; the other phases stand without current. */
	makeLoad(phase: number, point: Pick<CalibrationPoint, "currentPermille" | "angleDegrees">): Reference {
		for (let i = 0; i < this.mains.loads.length; i++) this.mains.set(i, { voltageVolts: 230, currentAmperes: 0 });
		this.mains.set(phase, {
			currentAmperes: (BASE.currentMilliamperes / 1000) * (point.currentPermille / 1000),
			angleDegrees: point.angleDegrees,
		});
		const { voltageVolts, currentAmperes } = this.mains.loads[phase]!;
		return {
			voltageMillivolts: voltageVolts * 1000,
			currentMilliamperes: currentAmperes * 1000,
			powerMilliwatts: this.mains.watts(phase) * 1000,
			frequencyMillihertz: this.mains.frequencyHertz * 1000,
		};
	}

	/** Runs until the procedure wants another load, or is over. */
	measure(procedure: CalibrationProcedure, onReading: () => void = () => {}): void {
		const end = this.nowMilliseconds + 3_600_000;
		this.#run(end, (reading) => {
			procedure.take(reading);
			onReading();
			return procedure.state !== CalibrationState.measuring;
		});
	}

	/** Runs for so many readings; the mean power of a phase over the last half of them, mW. */
	meanPower(phase: number, readings: number): number {
		let sum = 0;
		let count = 0;
		this.#run(this.nowMilliseconds + 36_000_000, (reading) => {
			count++;
			if (count > readings / 2) sum += reading.phases[phase]!.powerMilliwatts;
			return count === readings;
		});
		return sum / (readings - Math.floor(readings / 2));
	}

	#run(end: number, onReading: (reading: FrontEnd["reading"]) => boolean): void {
		while (this.nowMilliseconds < end) {
			let next = this.driver.deadlineMilliseconds();
			for (const device of this.#devices) next = Math.min(next, device.deadlineMilliseconds());
			if (next > this.nowMilliseconds) this.nowMilliseconds = next;
			this.mains.advance(this.nowMilliseconds);
			for (const device of this.#devices) device.advance(this.nowMilliseconds);
			if (this.driver.deadlineMilliseconds() <= this.nowMilliseconds) this.driver.tick(this.nowMilliseconds);
			const reading = this.driver.sample();
			if (reading !== undefined && onReading(reading)) return;
		}
		throw new Error("the front end gave no reading for an hour of virtual time");
	}
}
