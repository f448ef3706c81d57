import { type ChildProcess, fork } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { EventEntry } from "../../src/messages/events.js";
import type { ProfileRow } from "../../src/messages/profile.js";
import { NOT_AVAILABLE } from "../../src/messages/reading.js";
import { Unit } from "../../src/messages/snapshot.js";
import { EventCode } from "../../src/metrology/events.js";
import type { ProcessReply } from "../head-end/process.js";
import { ROOT } from "../root.js";
import { temporaryFolder } from "../unit/head-end/bench.js";
import { FakeMeter, TestBroker } from "../unit/head-end/fake-meter.js";

/** A house, as far as a page can see it. */
interface House {
	readonly phases: 1 | 3;
	/** W on each phase without the sun. */
	readonly baseWatts: readonly number[];
	/** Peak of the solar plant, W. */
	readonly solarWatts: number;
	/** Angle of the load, degrees, + lagging. */
	readonly lagDegrees: number;
	/** Third harmonic of the current. */
	readonly distortion: number;
}

const HOUSES: readonly House[] = [
	{ phases: 3, baseWatts: [420, 310, 180], solarWatts: 0, lagDegrees: 14, distortion: 0.12 },
	{ phases: 3, baseWatts: [650, 480, 530], solarWatts: 7800, lagDegrees: 9, distortion: 0.05 },
	{ phases: 1, baseWatts: [240], solarWatts: 0, lagDegrees: 22, distortion: 0.3 },
	{ phases: 3, baseWatts: [1800, 2100, 1650], solarWatts: 0, lagDegrees: 31, distortion: 0.04 },
	{ phases: 3, baseWatts: [90, 60, 45], solarWatts: 0, lagDegrees: -18, distortion: 0.22 },
	{ phases: 1, baseWatts: [380], solarWatts: 2400, lagDegrees: 4, distortion: 0.08 },
	{ phases: 3, baseWatts: [3400, 3250, 3600], solarWatts: 0, lagDegrees: 24, distortion: 0.06 },
	{ phases: 3, baseWatts: [510, 740, 260], solarWatts: 5200, lagDegrees: 11, distortion: 0.1 },
];

const CODES = [
	EventCode.powerDown,
	EventCode.powerUp,
	EventCode.clockSet,
	EventCode.tariffChanged,
	EventCode.coverOpened,
	EventCode.coverClosed,
	EventCode.phaseLossStart,
	EventCode.phaseLossEnd,
	EventCode.magneticFieldStart,
	EventCode.magneticFieldEnd,
];

const INTERVAL = 900;
const DAY = 86_400;

/** 0 to 1, the same for the same arguments. */
function noise(...values: number[]): number {
	let state = 0x9e37_79b9;
	for (const value of values) {
		state = Math.imul(state ^ Math.floor(value), 0x85eb_ca6b) >>> 0;
		state = (state ^ (state >>> 13)) >>> 0;
		state = Math.imul(state, 0xc2b2_ae35) >>> 0;
		state = (state ^ (state >>> 16)) >>> 0;
	}
	return state / 2 ** 32;
}

/** W of one phase at a moment of the day. */
function watts(index: number, phase: number, utcSeconds: number): number {
	const house = HOUSES[index]!;
	const hour = (utcSeconds % DAY) / 3600;
	const habit = 0.45 + 0.5 * Math.exp(-(((hour - 7.5) / 1.6) ** 2)) + 0.9 * Math.exp(-(((hour - 19) / 2.4) ** 2));
	const fridge = noise(index, phase, 7) * 90 * (Math.sin(utcSeconds / 600 + index) > 0.2 ? 1 : 0);
	const kettle = noise(index, phase, utcSeconds / 240) > 0.965 ? 1900 : 0;
	const cloud = 0.72 + 0.28 * Math.sin(utcSeconds / 1900 + index) * noise(index, utcSeconds / 420);
	const sun = Math.max(0, Math.sin((Math.PI * (hour - 5.5)) / 13)) ** 1.3 * cloud;
	const jitter = 1 + (noise(index, phase, utcSeconds) - 0.5) * 0.06;
	return house.baseWatts[phase]! * habit * jitter + fridge + kettle - (house.solarWatts / house.phases) * sun;
}

/** A fleet of fake meters over a real broker, and the real head end process on a virtual clock. */
export class DemoFleet {
	readonly folder = temporaryFolder();
	readonly meters: FakeMeter[] = [];
	broker!: TestBroker;
	port = 0;
	now: number;
	#child!: ChildProcess;
	#waiting: ((reply: ProcessReply) => void)[] = [];
	/** A+ and A- of each meter at `now`, mWh. */
	readonly #registers: { imported: number; exported: number; reactive: number }[] = [];

	constructor(startUtcSeconds: number) {
		this.now = startUtcSeconds;
	}

	static async start(options: { days: number; hours: number; readingSeconds: number }): Promise<DemoFleet> {
		const noon = 848_712_600 - (848_712_600 % DAY) + 13.6 * 3600;
		const fleet = new DemoFleet(noon - options.hours * 3600);
		fleet.broker = await TestBroker.start();
		fleet.#child = fork(
			join(ROOT, "test-harness", "head-end", "main.ts"),
			[
				JSON.stringify({
					brokerUrl: fleet.broker.url,
					storePath: join(fleet.folder, "store"),
					httpPort: 0,
					clock: "virtual",
					startUtcSeconds: fleet.now,
					quiet: true,
				}),
			],
			{ cwd: ROOT, execArgv: ["--import", "tsx"] },
		);
		fleet.#child.on("message", (message) => fleet.#waiting.shift()?.(message as ProcessReply));
		const ready = await fleet.#reply();
		if (ready.type !== "ready") throw new Error(JSON.stringify(ready));
		fleet.port = ready.httpPort;
		for (let index = 0; index < HOUSES.length; index++) await fleet.#addMeter(index, options.days);
		const end = fleet.now + options.hours * 3600;
		while (fleet.now < end) await fleet.step(options.readingSeconds);
		for (let turns = 0; turns < 20; turns++) await fleet.step(1, false);
		return fleet;
	}

	#reply(): Promise<ProcessReply> {
		return new Promise((resolve) => {
			this.#waiting.push(resolve);
		});
	}

	async #addMeter(index: number, days: number): Promise<void> {
		const house = HOUSES[index]!;
		const meter = new FakeMeter(
			`70b3d5a1c00${(0x10 + index * 7).toString(16).padStart(2, "0")}${"e1f"[index % 3]}${(index * 5 + 1).toString(16).padStart(2, "0")}`,
		);
		meter.clock = () => this.now;
		meter.hello.phaseCount = house.phases;
		meter.hello.firmwareMinor = 1;
		meter.hello.bootCount = 3 + index;
		meter.hello.netting = 1;
		const registers = { imported: 1.2e9 + index * 3.3e9, exported: house.solarWatts * 4e5, reactive: 2.1e8 };
		this.#registers.push(registers);
		this.meters.push(meter);
		const first = this.now - (this.now % INTERVAL) - days * DAY;
		let sequence = 400 * index;
		for (let start = first; start < this.now - (this.now % INTERVAL); start += INTERVAL) {
			if (index === 3 && start > first + 0.9 * DAY && start < first + 0.97 * DAY) continue; // it was off
			meter.rows.push(this.#row(index, sequence++, start));
		}
		// rows damaged in the flash of one meter
		if (index === 6) meter.rows.splice(meter.rows.length - 60, 9);
		const event = (at: number, code: number, detail = 0): EventEntry => ({
			sequence: meter.events.length,
			utcSeconds: Math.floor(at),
			code,
			detail,
		});
		for (let count = 0; count < 4 + index * 2; count++)
			meter.events.push(
				event(first + (count * days * DAY) / (5 + index * 2), CODES[(count * 3 + index) % CODES.length]!, count),
			);
		meter.captureChannels = [];
		this.#capture(index);
		meter.registers = [
			[1, 8, 0, Unit.wattHour, Math.floor(registers.imported)],
			[1, 8, 1, Unit.wattHour, Math.floor(registers.imported * 0.62)],
			[1, 8, 2, Unit.wattHour, Math.floor(registers.imported) - Math.floor(registers.imported * 0.62)],
			[2, 8, 0, Unit.wattHour, Math.floor(registers.exported)],
			[3, 8, 0, Unit.varHour, Math.floor(registers.reactive)],
			[4, 8, 0, Unit.varHour, 0],
			[9, 8, 0, Unit.voltAmpereHour, Math.floor(registers.imported * 1.04)],
			[1, 6, 0, Unit.watt, 6_312_000],
			[21, 8, 0, Unit.wattHour, Math.floor(registers.imported / 3)],
			[41, 8, 0, Unit.wattHour, Math.floor(registers.imported / 3)],
			[61, 8, 0, Unit.wattHour, Math.floor(registers.imported / 3)],
		];
		await meter.connect(this.broker.url);
	}

	#total(index: number, at: number): number {
		let total = 0;
		for (let phase = 0; phase < HOUSES[index]!.phases; phase++) total += watts(index, phase, at);
		return total;
	}

	#row(index: number, sequence: number, start: number): ProfileRow {
		const registers = this.#registers[index]!;
		for (let at = start; at < start + INTERVAL; at += 60) {
			const milliwattHours = (this.#total(index, at) * 60_000) / 3600;
			if (milliwattHours > 0) registers.imported += milliwattHours;
			else registers.exported -= milliwattHours;
			registers.reactive += Math.abs(milliwattHours) * 0.25;
		}
		const status = index === 4 && sequence % 61 === 0 ? 0x20 : index === 3 && sequence % 88 === 0 ? 0x80 : 0;
		return {
			sequence,
			intervalStartSeconds: start,
			durationSeconds: status === 0x80 ? 512 : INTERVAL,
			status,
			tariff: (start % DAY) / 3600 < 6 ? 2 : 1,
			activeEnergyImport: Math.floor(registers.imported),
			activeEnergyExport: Math.floor(registers.exported),
			reactiveEnergyImport: Math.floor(registers.reactive),
			reactiveEnergyExport: 0,
		};
	}

	/** Two cycles and a bit of the waveform at this moment. */
	#capture(index: number): void {
		const house = HOUSES[index]!;
		const meter = this.meters[index]!;
		const channels: { microunitsPerCode: number; codes: number[] }[] = [];
		const rows = house.phases === 3 ? 69 : 160;
		const begin = noise(index, this.now) * 2 * Math.PI;
		const neutral = new Array<number>(rows).fill(0);
		for (let phase = 0; phase < house.phases; phase++) {
			const power = watts(index, phase, this.now);
			const lag = ((house.lagDegrees + (power < 0 ? 180 : 0)) * Math.PI) / 180;
			const amperes = (Math.SQRT2 * Math.abs(power)) / 230 / Math.cos((house.lagDegrees * Math.PI) / 180);
			const voltages: number[] = [];
			const currents: number[] = [];
			for (let row = 0; row < rows; row++) {
				const turn = begin + (2 * Math.PI * 50 * row) / 1600 - (phase * 2 * Math.PI) / 3;
				const volts = 325 * (Math.sin(turn) + 0.018 * Math.sin(5 * turn) + 0.008 * Math.sin(7 * turn + 1));
				const current =
					amperes *
						(Math.sin(turn - lag) +
							house.distortion * Math.sin(3 * (turn - lag) + 2.6) +
							0.4 * house.distortion * Math.sin(5 * turn)) +
					(noise(index, phase, row, this.now) - 0.5) * 0.03;
				voltages.push(Math.round(volts / 0.0125));
				currents.push(Math.round(current / 0.0035));
				neutral[row]! += current;
			}
			channels.push({ microunitsPerCode: 12_500, codes: voltages }, { microunitsPerCode: 3500, codes: currents });
		}
		if (house.phases === 3)
			channels.push({ microunitsPerCode: 3500, codes: neutral.map((value) => Math.round(value / 0.0035)) });
		meter.captureChannels = channels;
	}

	async sendReading(index: number): Promise<void> {
		const house = HOUSES[index]!;
		const registers = this.#registers[index]!;
		await this.meters[index]!.sendReading((reading) => {
			reading.frequencyMillihertz = Math.round(50_000 + 18 * Math.sin(this.now / 300) + 6 * noise(this.now));
			reading.neutralCurrentMilliamperes =
				house.phases === 3 ? 740 + index * 60 : Math.round((Math.abs(this.#total(index, this.now)) / 230) * 1000);
			for (let phase = 0; phase < house.phases; phase++) {
				const each = reading.phases[phase as 0 | 1 | 2];
				const power = watts(index, phase, this.now);
				const lag = (house.lagDegrees * Math.PI) / 180;
				const apparent = (Math.abs(power) / Math.cos(lag)) * (1 + house.distortion ** 2 / 2);
				each.voltageMillivolts = Math.round(229_000 + 2600 * noise(index, phase, this.now / 30) - power / 8);
				each.powerMilliwatts = Math.round(power * 1000);
				each.reactivePowerMillivars = Math.round(Math.abs(power) * Math.tan(lag) * 1000);
				each.apparentPowerMillivoltAmperes = Math.round(apparent * 1000);
				each.currentMilliamperes = Math.round((apparent / each.voltageMillivolts) * 1e6);
				each.powerFactorPermille = apparent > 2 ? Math.round((1000 * power) / apparent) : NOT_AVAILABLE;
				each.phaseAngleTenthsDegree = Math.round(power < 0 ? 1800 - house.lagDegrees * 10 : house.lagDegrees * 10);
				if (each.phaseAngleTenthsDegree > 1800) each.phaseAngleTenthsDegree -= 3600;
				each.thdVoltagePermille = 19 + phase;
				each.thdCurrentPermille = Math.round(house.distortion * 1070);
			}
			reading.activeEnergyImport = Math.floor(registers.imported);
			reading.activeEnergyExport = Math.floor(registers.exported);
			reading.reactiveEnergyImport = Math.floor(registers.reactive);
			reading.reactiveEnergyExport = 0;
		});
	}

	/** Lets time pass for meters and head end. */
	async step(seconds: number, withReadings = true): Promise<void> {
		this.now += seconds;
		for (let index = 0; index < this.meters.length; index++) {
			const meter = this.meters[index]!;
			const last = meter.rows[meter.rows.length - 1]!;
			for (let start = last.intervalStartSeconds + INTERVAL; start + INTERVAL <= this.now; start += INTERVAL)
				await meter.addRows(this.#row(index, meter.rows[meter.rows.length - 1]!.sequence + 1, start));
			this.#capture(index);
			if (withReadings) await this.sendReading(index);
		}
		const done = this.#reply();
		this.#child.send({ type: "advance", utcSeconds: this.now });
		await done;
	}

	async stop(): Promise<void> {
		const exited = new Promise((resolve) => this.#child.once("exit", resolve));
		this.#child.send({ type: "stop" });
		await exited;
		for (const meter of this.meters) await meter.close();
		await this.broker.stop();
		rmSync(this.folder, { recursive: true, force: true });
	}
}
