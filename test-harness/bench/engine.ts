import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildEngine } from "../build/engine.js";
import { buildFirmware } from "../build/firmware.js";
import type { Measurement } from "../commands/bench.js";
import { LinuxXsTarget } from "../device/linux-xs.js";
import type { PowerOn, Statistics, TargetEvents } from "../device/target.js";
import { ROOT } from "../root.js";
import { benchCKernel } from "./metrology.js";

/** What the engine costs: memory and time of machines, events and round trips, on this machine. */

const METERS = 1000;
const KIB = 1024;

const ON: PowerOn = {
	nowMilliseconds: 0,
	utcSeconds: 800_000_000,
	sectorBytes: 4096,
	sectorCount: 512,
	bootReason: 0,
	typeScriptKernel: false,
	entropySeed: new Uint8Array(32),
	deviceKey: new Uint8Array(32).fill(1),
	settingsText: "{}",
};

/** MQTT 5 as far as a meter needs it to go on: every request of these packets is granted. */
export function brokerAnswer(bytes: Uint8Array): { answer: Uint8Array; published: boolean } {
	const answer: number[] = [];
	let published = false;
	for (let at = 0; at < bytes.length; ) {
		const [kind, flags] = [bytes[at]! >> 4, bytes[at]! & 15];
		let length = 0;
		let shift = 0;
		do {
			length |= (bytes[++at]! & 127) << shift;
			shift += 7;
		} while (bytes[at]! > 127);
		at++;
		const identifier = kind === 3 ? at + 2 + bytes[at]! * 256 + bytes[at + 1]! : at;
		if (kind === 1) answer.push(0x20, 3, 0, 0, 0);
		if (kind === 8) answer.push(0x90, 4, bytes[identifier]!, bytes[identifier + 1]!, 0, 1);
		if (kind === 3 && (flags & 6) !== 0) answer.push(0x40, 2, bytes[identifier]!, bytes[identifier + 1]!);
		if (kind === 12) answer.push(0xd0, 0);
		published ||= kind === 3;
		at += length;
	}
	return { answer: Uint8Array.from(answer), published };
}

class BenchBoard implements TargetEvents {
	readonly target: LinuxXsTarget;
	readonly ticks: number[] = [];
	/** Metering ticks of meter 0 at the end of the step in which it first published. */
	firstPublishTicks = Number.NaN;
	#published = false;
	readonly #answers = new Map<number, () => void>();
	readonly #statistics = new Map<number, (statistics: Statistics) => void>();
	#failure: ((error: Error) => void) | undefined;
	readonly failed: (reason: string) => void = (reason) => this.#failure?.(new Error(reason));

	constructor(archive: string, threads?: number) {
		this.target = new LinuxXsTarget({ archive, ...(threads === undefined ? {} : { threads }) });
	}

	/** Runs `work` with a started host, and stops it. */
	static async with<T>(archive: string, threads: number, work: (board: BenchBoard) => Promise<T>): Promise<T> {
		const board = new BenchBoard(archive, threads);
		await board.target.start(board);
		try {
			return await Promise.race([
				work(board),
				new Promise<never>((_, reject) => {
					board.#failure = reject;
				}),
			]);
		} finally {
			await board.target.stop();
		}
	}

	#ask(meter: number, question: () => void): Promise<void> {
		return new Promise((resolve) => {
			this.#answers.set(meter, resolve);
			question();
		});
	}

	powerOn(meter: number, options: Partial<PowerOn> = {}): Promise<void> {
		return this.#ask(meter, () => this.target.powerOn(meter, { ...ON, ...options }));
	}

	advance(meter: number, until: number): Promise<void> {
		return this.#ask(meter, () => this.target.advance(meter, until));
	}

	async all(count: number, work: (meter: number) => Promise<void>): Promise<void> {
		await Promise.all(Array.from({ length: count }, (_, meter) => work(meter)));
	}

	statisticsOf(meter: number): Promise<Statistics> {
		return new Promise((resolve) => {
			this.#statistics.set(meter, resolve);
			this.target.queryStatistics(meter);
		});
	}

	/** Resident memory of the host, KiB. */
	residentKibibytes(): number {
		const text = readFileSync(`/proc/${this.target.processId}/smaps_rollup`, "utf8");
		return Number(/^Rss:\s+(\d+)/m.exec(text)?.[1]);
	}

	/** CPU time of the host's threads so far, ms. */
	cpuMilliseconds(): number {
		const tasks = `/proc/${this.target.processId}/task`;
		let nanoseconds = 0;
		for (const task of readdirSync(tasks))
			nanoseconds += Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]);
		return nanoseconds / 1e6;
	}

	done(meter: number, _now: number, _deadline: number, meteringTicks: number): void {
		this.ticks[meter] = meteringTicks;
		if (meter === 0 && this.#published && Number.isNaN(this.firstPublishTicks)) this.firstPublishTicks = meteringTicks;
		this.#answers.get(meter)?.();
	}

	linkOpen(meter: number): void {
		this.target.linkOpened(meter);
	}

	linkSend(meter: number, bytes: Uint8Array): void {
		if (bytes[0] === 0) return; // the trial firmware's echo
		const { answer, published } = brokerAnswer(bytes);
		if (meter === 0) this.#published ||= published;
		if (answer.length > 0) this.target.linkData(meter, answer);
	}

	linkClose(meter: number): void {
		this.target.linkClosed(meter);
	}

	flashProgram(): void {}
	flashErase(): void {}
	output(): void {}
	log(): void {}
	clockSet(): void {}
	opticalSend(): void {}

	aborted(meter: number, reason: number, text: string): void {
		this.failed(`meter ${meter} aborted (${reason}): ${text}`);
	}

	poweredOff(): void {}

	statistics(meter: number, statistics: Statistics): void {
		this.#statistics.get(meter)?.(statistics);
	}
}

/** A second of three phases and neutral, 5 A at 230 V, 50 Hz: 80 rows a cycle. */
export function waveform(): Uint8Array {
	const rows = new Int16Array(800 * 7);
	for (let row = 0; row < 800; row++) {
		for (let phase = 0; phase < 3; phase++) {
			const sine = Math.SQRT2 * Math.sin(2 * Math.PI * (row / 80 - phase / 3));
			rows[row * 7 + phase * 2] = Math.round((230e6 / 12_500) * sine);
			rows[row * 7 + phase * 2 + 1] = Math.round((5e6 / 3_500) * sine);
		}
	}
	return new Uint8Array(rows.buffer);
}

const settings = (meter: number): string =>
	JSON.stringify({ security: "plain", identifier: (0x0a_0000_0000 + meter).toString(16).padStart(16, "0") });

function median(values: number[]): number {
	return values.sort((a, b) => a - b)[values.length >> 1]!;
}

/** The smallest clone: what a machine costs before there is a meter in it. */
async function measureTrial(archive: string): Promise<Measurement[]> {
	return BenchBoard.with(archive, 1, async (board) => {
		const found: Measurement[] = [];
		const base = board.residentKibibytes();
		const cpu = board.cpuMilliseconds();
		await board.all(METERS, (meter) => board.powerOn(meter, { settingsText: '{"linkAtStart":true}' }));
		found.push({
			name: "empty machine: create and start",
			value: ((board.cpuMilliseconds() - cpu) * 1000) / METERS,
			unit: "µs",
			note: "CPU time; clone of the shared machine",
		});
		found.push({
			name: `empty machine: RSS, ${METERS} of them`,
			value: (board.residentKibibytes() - base) / METERS,
			unit: "KiB",
			beat: "26 KiB",
		});
		const { slotsLive, chunkBytesLive } = await board.statisticsOf(0);
		found.push({ name: "empty machine: live slots", value: slotsLive, unit: "slots" });
		found.push({ name: "empty machine: live chunks", value: chunkBytesLive, unit: "B" });

		const trips: number[] = [];
		for (let i = 1; i <= 2000; i++) {
			const from = performance.now();
			await board.advance(0, i / 10);
			trips.push((performance.now() - from) * 1000);
		}
		found.push({ name: "round trip of an advance", value: median(trips), unit: "µs", note: "median, nothing due" });
		found.push({ name: "round trip of an advance, p99", value: trips[Math.floor(trips.length * 0.99)]!, unit: "µs" });

		const calls = 200_000;
		const [before, ticks] = [board.cpuMilliseconds(), board.ticks[0]!];
		// the trial firmware gives back what begins with 0: one frame in, a call of a handler, a host call, a frame out
		for (let i = 0; i < calls; i++) board.target.linkData(0, Uint8Array.of(0));
		await board.advance(0, 201);
		found.push({
			name: "link frame in, handler, link frame out",
			value: ((board.cpuMilliseconds() - before) * 1000) / calls,
			unit: "µs",
			note: `CPU time; ${((board.ticks[0]! - ticks) / calls).toFixed(0)} metering ticks`,
		});

		const steps = 20;
		const start = performance.now();
		for (let i = 0; i < steps; i++) await board.all(METERS, (meter) => board.advance(meter, 300 + i));
		found.push({
			name: "advances of 1,000 meters, one thread",
			value: (METERS * steps * 1000) / (performance.now() - start),
			unit: "1/s",
			note: "two frames each",
		});
		return found;
	});
}

/** Simulated seconds of so many meters. @returns CPU ms a meter and second */
async function simulate(board: BenchBoard, meters: number, fromSecond: number, seconds: number): Promise<number> {
	const cpu = board.cpuMilliseconds();
	for (let second = fromSecond + 1; second <= fromSecond + seconds; second++)
		await board.all(meters, (meter) => board.advance(meter, second * 1000));
	return (board.cpuMilliseconds() - cpu) / meters / seconds;
}

async function startMeters(board: BenchBoard, meters: number, options: Partial<PowerOn> = {}): Promise<void> {
	await board.all(meters, (meter) => board.powerOn(meter, { ...options, settingsText: settings(meter) }));
	const rows = waveform();
	for (let meter = 0; meter < meters; meter++) board.target.samples(meter, 800, true, rows);
}

/** The whole firmware, with a broker that grants everything. */
async function measureFleet(archive: string): Promise<Measurement[]> {
	return BenchBoard.with(archive, 2, async (board) => {
		const base = board.residentKibibytes();
		const cpu = board.cpuMilliseconds();
		await startMeters(board, METERS);
		const create = (board.cpuMilliseconds() - cpu) / METERS;
		const started = (board.residentKibibytes() - base) / METERS;
		await simulate(board, METERS, 0, 15);
		const running = (board.residentKibibytes() - base) / METERS;
		return [
			{ name: "meter: create and start", value: create, unit: "ms", note: "CPU time" },
			{ name: `meter: RSS after start, ${METERS} of them`, value: started, unit: "KiB" },
			{
				name: `meter: RSS after 15 s, ${METERS} of them`,
				value: running,
				unit: "KiB",
				beat: "70 KiB",
				note: "with a broker that grants everything",
			},
			{ name: "meters per GiB", value: Math.floor((KIB * KIB) / running), unit: "meters" },
		];
	});
}

const NATIVE_SECOND = "meter second, kernel in C";

/** @param interpretedMilliseconds what the kernel in TypeScript costs a meter second more than the one in C */
function kernelRatio(interpretedMilliseconds: number): Measurement[] {
	const layout = { phaseCount: 3, neutralCurrent: true, sampleBytes: 2, samplesPerSecond: 4000 } as const;
	const native = benchCKernel(layout);
	if (native === undefined) return [];
	const samples = layout.samplesPerSecond * 7;
	const interpreted = (interpretedMilliseconds * 1e6) / samples + native.nanosecondsPerRow / 7;
	return [
		{ name: "kernel in C", value: native.nanosecondsPerRow / 7, unit: "ns/sample", note: "7 channels, int16, 4 kHz" },
		{ name: "kernel in TypeScript on XS", value: interpreted, unit: "ns/sample" },
		{
			name: "C against TypeScript on XS",
			value: (interpreted * 7) / native.nanosecondsPerRow,
			unit: "times",
			beat: "80",
		},
	];
}

async function measureMeter(archive: string): Promise<Measurement[]> {
	const stages = await BenchBoard.with(archive, 1, async (board) => {
		const found: Measurement[] = [];
		const stage = async (name: string): Promise<void> => {
			const all = await board.statisticsOf(0);
			found.push({ name: `${name}: live slots`, value: all.slotsLive, unit: "slots", note: `peak ${all.slotsPeak}` });
			found.push({
				name: `${name}: live chunks`,
				value: all.chunkBytesLive,
				unit: "B",
				note: `peak ${all.chunkBytesPeak}`,
			});
			found.push({ name: `${name}: stack peak`, value: all.stackPeakSlots, unit: "slots", note: "of 512" });
		};
		await startMeters(board, 1);
		found.push({ name: "start", value: board.ticks[0]!, unit: "ticks", note: "metering ticks of power-on" });
		await stage("started");
		await simulate(board, 1, 0, 60);
		found.push({ name: "boot to first message", value: board.firstPublishTicks, unit: "ticks" });
		await stage("after a minute with a broker");
		const ticks = board.ticks[0]!;
		const native = await simulate(board, 1, 60, 600);
		found.push({ name: "meter second: metering", value: (board.ticks[0]! - ticks) / 600, unit: "ticks" });
		found.push({ name: NATIVE_SECOND, value: native, unit: "ms", note: "CPU time" });
		found.push({ name: "simulated meter-days a second and core", value: 1000 / native / 86_400, unit: "days/s" });
		found.push({ name: "meters in real time a core", value: 1000 / native, unit: "meters" });
		return found;
	});
	const interpreted = await BenchBoard.with(archive, 1, async (board) => {
		await startMeters(board, 1, { typeScriptKernel: true });
		return simulate(board, 1, 0, 5);
	});
	return [
		...stages,
		{
			name: "meter second, kernel in TypeScript",
			value: interpreted,
			unit: "ms",
			note: "CPU time; 4,000 rows of 7 channels",
		},
		...kernelRatio(interpreted - (stages.find(({ name }) => name === NATIVE_SECOND)?.value ?? Number.NaN)),
	];
}

export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	await buildEngine();
	const trial = await buildFirmware({
		entry: join(ROOT, "test-harness", "unit", "device", "firmware", "trial.ts"),
		name: "trial",
	});
	const meter = await buildFirmware();
	onProgress("empty machines");
	const found = await measureTrial(trial.archive);
	onProgress("1,000 meters");
	found.push(...(await measureFleet(meter.archive)));
	onProgress("one meter");
	found.push(...(await measureMeter(meter.archive)));
	found.push({ name: "firmware bytecode", value: meter.modules.reduce((sum, { bytes }) => sum + bytes, 0), unit: "B" });
	return found;
}
