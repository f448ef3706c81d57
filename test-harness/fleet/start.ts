import { execFileSync } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DEFAULT_SETTINGS } from "../../src/meter/settings.js";
import type { Broker } from "../broker/broker.js";
import { openBroker } from "../broker/open-broker.js";
import { InProcessTarget } from "../device/in-process.js";
import type { Target } from "../device/target.js";
import type { DiagnosticsView, ProfileRowView, ProfileView } from "../head-end/api.js";
import type { MeterCollection } from "../head-end/fleet-views.js";
import type { SecurityFiles } from "../head-end/process.js";
import { calendarRoot } from "../provisioning/calendar-root.js";
import { writeReport } from "../reports/report.js";
import type { RunResult } from "../reports/run-result.js";
import { ROOT } from "../root.js";
import { readPublicKey } from "../signer/signer-folder.js";
import { UserError } from "../user-error.js";
import { Auditor } from "./auditor.js";
import { CHAOS_KINDS, Chaos, type ChaosKind, planChaos } from "./chaos.js";
import { type Check, compareEnergy, judge, judgeIntervals, type MeterResult } from "./checks.js";
import { ConcentratorProcess } from "./concentrator-process.js";
import { FleetKeys } from "./keys.js";
import { Screen, tableLines } from "./live-table.js";
import { Monitor } from "./monitor.js";
import { planFleet } from "./plan.js";
import { World } from "./world.js";

/** What `wattlock start` was asked for; absent fields take the defaults below. */
export interface StartOptions {
	/** Default 8. */
	readonly meters?: number;
	/** Meters' time, 0: until Ctrl-C. Default 0. */
	readonly minutes?: number;
	/** 1: real time; another number: virtual time, so many times faster; "max": as fast as it goes. Default 1. */
	readonly speed?: number | "max";
	/** Random if absent; printed first. */
	readonly seed?: number;
	/** Folder for report.html, readings.jsonl, summary.json. */
	readonly report?: string;
	/** "aedes" (default), "mosquitto", mqtt://host:port */
	readonly broker?: string;
	/** "5" (default where the broker speaks it) or "3.1.1". */
	readonly protocol?: string;
	/** Port of the page, 0: any free one. Default 8080 in real time, none otherwise. */
	readonly port?: number;
	/** Folder of the concentrator's store, and of the meters' flash in real time. */
	readonly store?: string;
	/** "linux-xs" (default) or "in-process". */
	readonly target?: string;
	readonly threads?: number;
	/** Load profile interval, s. Default 900. */
	readonly interval?: number;
	/** Virtual step, ms. Default 1000. */
	readonly step?: number;
	readonly stepMilliseconds?: number;
	readonly chaos?: readonly string[];
	/** No keys: everything travels in clear, to compare costs with. Default false. */
	readonly plain?: boolean;
	/** Interval of the TESLA chains, s. Default 900, in real time 60. */
	readonly teslaInterval?: number;
	/** File or folder of the public key of firmware; absent: the meters take no firmware. */
	readonly updateKey?: string;
	/** Use recorded waveforms where the shared data are there. Default true. */
	readonly recorded?: boolean;
	/** No lines but errors. */
	readonly quiet?: boolean;
}

/** UTCTime 0 as a Unix time, s. */
const UTC_EPOCH_UNIX_SECONDS = 946_684_800;
/** Virtual runs begin on a summer morning, so that the sun shines on a short one. */
const VIRTUAL_START_UTC_SECONDS = Date.UTC(2026, 5, 15, 9) / 1000 - UTC_EPOCH_UNIX_SECONDS;
/** The loads end this long before an interval does, so that the last row holds everything. */
const UNLOADED_SECONDS = 30;
/** Virtual time given to stragglers after the end. */
const FINISH_SECONDS_MAX = 600;
const LIVE_STEP_MILLISECONDS = 100;
const PORT_DEFAULT = 8080;
/** A kept store of a live run ends with its calendar. */
const LIVE_CALENDAR_DAYS = 500;
/** Of the one concentrator. */
const DOMAIN = 1;

/** Exit codes of `wattlock start`; the help text says the same. */
export const EXIT_CHECKS_HELD = 0;
export const EXIT_CHECK_FAILED = 1;
export const EXIT_COULD_NOT_RUN = 2;

/** A run with its settings worked out. */
interface Run {
	readonly options: StartOptions;
	readonly meters: number;
	readonly minutes: number;
	readonly isRealTime: boolean;
	/** Times real time; Infinity: no waiting. */
	readonly speed: number;
	readonly seed: number;
	readonly intervalSeconds: number;
	readonly stepMilliseconds: number;
	readonly startUtcSeconds: number;
	readonly kinds: readonly ChaosKind[];
	readonly broker: Broker;
	readonly protocolVersion: 4 | 5;
	readonly store: string;
	readonly isStoreKept: boolean;
	/** Decides the meters; a kept store keeps it. */
	readonly planSeed: number;
	/** The meters' flash is empty. */
	readonly isFresh: boolean;
	readonly say: (line: string) => void;
}

/**
 * Runs an AMI in miniature: broker, concentrator, meters.
 * @returns exit code: 0 every check held (or ended by Ctrl-C in real time), 1 a check failed, 2 could not run
 */
export async function runStart(options: StartOptions): Promise<number> {
	let asked = false;
	const stop = { isAsked: (): boolean => asked };
	const onSignal = (): void => {
		if (asked) process.exit(130);
		asked = true;
	};
	process.on("SIGINT", onSignal);
	process.on("SIGTERM", onSignal);
	try {
		return await runWorld(prepare(options), stop);
	} catch (error) {
		if (!(error instanceof UserError)) throw error;
		process.stderr.write(`wattlock: ${error.message}\n`);
		return EXIT_COULD_NOT_RUN;
	} finally {
		process.off("SIGINT", onSignal);
		process.off("SIGTERM", onSignal);
	}
}

/** @throws UserError for what is not allowed */
function prepare(options: StartOptions): Run {
	const meters = wholeNumber(options.meters ?? 8, 1, 5000, "--meters");
	const minutes = options.minutes ?? 0;
	if (!(minutes >= 0 && minutes <= 525_600)) throw new UserError("--minutes: allowed are 0 to 525600");
	const speed = options.speed ?? 1;
	if (speed !== "max" && !(speed >= 0.1 && speed <= 1000))
		throw new UserError('--speed: allowed are "max" or a number from 0.1 to 1000');
	const isRealTime = speed === 1;
	if (speed === "max" && minutes === 0) throw new UserError("--speed max needs --minutes: how long to run");
	const seed = wholeNumber(options.seed ?? Math.floor(Math.random() * 0x1_0000_0000), 0, 0xffff_ffff, "--seed");
	const intervalSeconds = wholeNumber(options.interval ?? 900, 60, 3600, "--interval");
	if (3600 % intervalSeconds !== 0)
		throw new UserError("--interval: allowed are whole seconds from 60 to 3600 that divide 3600");
	const stepMilliseconds = wholeNumber(options.stepMilliseconds ?? options.step ?? 1000, 50, 60_000, "--step");
	const kinds = (options.chaos ?? []).map((kind) => {
		if (!CHAOS_KINDS.includes(kind as ChaosKind))
			throw new UserError(`--chaos: allowed are ${CHAOS_KINDS.join(", ")}, separated by commas`);
		return kind as ChaosKind;
	});
	if (kinds.length > 0 && minutes === 0) throw new UserError("--chaos needs --minutes: how long to run");
	const target = options.target ?? "linux-xs";
	if (target !== "linux-xs" && target !== "in-process")
		throw new UserError("--target: allowed are linux-xs, in-process");
	const broker = openBroker(options.broker ?? "aedes");
	if (kinds.includes("broker") && !broker.mayBeKilled)
		throw new UserError("--chaos broker: a broker that is not ours cannot be killed; allowed with aedes, mosquitto");
	const protocol = options.protocol ?? "5";
	if (protocol !== "5" && protocol !== "3.1.1") throw new UserError("--protocol: allowed are 3.1.1, 5");
	// aedes speaks 3.1.1 only; 5 is what is asked for when nothing is
	const protocolVersion = protocol === "5" && broker.versions.includes(5) ? 5 : 4;
	const report = options.report;
	if (report !== undefined) {
		try {
			mkdirSync(report, { recursive: true });
			writeFileSync(join(report, "readings.jsonl"), "");
		} catch (error) {
			throw new UserError(`--report ${report}: ${(error as Error).message}`);
		}
	}

	const isStoreKept = options.store !== undefined || isRealTime;
	const store = resolve(
		options.store ?? (isRealTime ? join(ROOT, "build", "store") : mkdtempSync(join(tmpdir(), "wattlock-"))),
	);
	const noteFile = join(store, "fleet.json");
	let planSeed = seed;
	let isFresh = true;
	if (isStoreKept) {
		try {
			mkdirSync(store, { recursive: true });
			if (existsSync(noteFile)) {
				planSeed = (JSON.parse(readFileSync(noteFile, "utf8")) as { planSeed: number }).planSeed;
				isFresh = false;
			} else {
				writeFileSync(noteFile, `${JSON.stringify({ planSeed, isRealTime })}\n`);
			}
		} catch (error) {
			throw new UserError(`--store ${store}: ${(error as Error).message}`);
		}
		if (!isFresh && !isRealTime)
			throw new UserError(`--store ${store} was used before, and virtual time begins anew: name an empty folder`);
	}
	let startUtcSeconds = Date.now() / 1000 - UTC_EPOCH_UNIX_SECONDS;
	if (!isRealTime) {
		const end = VIRTUAL_START_UTC_SECONDS + minutes * 60 + UNLOADED_SECONDS;
		startUtcSeconds = Math.ceil(end / intervalSeconds) * intervalSeconds - UNLOADED_SECONDS - minutes * 60;
	}
	return {
		options,
		meters,
		minutes,
		isRealTime,
		speed: speed === "max" ? Number.POSITIVE_INFINITY : speed,
		seed,
		intervalSeconds,
		stepMilliseconds,
		startUtcSeconds,
		kinds,
		broker,
		protocolVersion,
		store,
		isStoreKept,
		planSeed,
		isFresh,
		say: options.quiet ? () => {} : (line) => void process.stdout.write(`${line}\n`),
	};
}

function wholeNumber(value: number, minimum: number, maximum: number, name: string): number {
	if (!Number.isInteger(value) || value < minimum || value > maximum)
		throw new UserError(`${name}: allowed are whole numbers from ${minimum} to ${maximum}`);
	return value;
}

async function createTarget(run: Run): Promise<Target> {
	if (run.options.target === "in-process") return new InProcessTarget();
	const { LinuxXsTarget } = await import("../device/linux-xs.js");
	return new LinuxXsTarget(run.options.threads === undefined ? {} : { threads: run.options.threads });
}

/** The page is always there in real time; in virtual time only when a port was named. */
function pagePort(run: Run): number {
	const port = run.options.port;
	if (run.isRealTime) return port ?? PORT_DEFAULT;
	return port === undefined || port === PORT_DEFAULT ? 0 : port;
}

async function runWorld(run: Run, stop: { isAsked: () => boolean }): Promise<number> {
	const { broker, say } = run;
	say(`SEED=${run.seed}`);
	const target = await createTarget(run);
	const concentratorStore = join(run.store, "concentrator");
	mkdirSync(concentratorStore, { recursive: true });
	let world: World | undefined;
	let concentrator: ConcentratorProcess | undefined;
	let keys: FleetKeys | undefined;
	const record =
		run.options.report === undefined ? undefined : createWriteStream(join(run.options.report, "readings.jsonl"));
	let recordError: Error | undefined;
	record?.on("error", (error) => {
		recordError = error;
	});
	let isStopped = false;
	const stopAll = async (): Promise<void> => {
		if (isStopped) return;
		isStopped = true;
		if (run.isRealTime && world?.failure === undefined) await world?.powerDown();
		await Promise.all([world === undefined ? target.stop() : world.stop(), concentrator?.stop()]);
		await broker.stop();
		keys?.close();
		if (record !== undefined && recordError === undefined) await new Promise<void>((done) => record.end(() => done()));
		if (!run.isStoreKept) rmSync(run.store, { recursive: true, force: true });
	};
	try {
		await broker.start();
		keys = openKeys(run);
		concentrator = new ConcentratorProcess({
			brokerUrl: broker.url,
			storePath: concentratorStore,
			httpPort: pagePort(run),
			clock: run.isRealTime ? "real" : "virtual",
			startUtcSeconds: run.startUtcSeconds,
			quiet: true,
			...(keys === undefined ? {} : { security: securityFiles(run, keys) }),
		});
		let lostConcentrator: string | undefined;
		concentrator.onUnexpectedEnd = (how) => {
			lostConcentrator = how;
		};
		world = makeWorld(run, target, concentrator);
		keys?.provision(world.boards);
		await concentrator.start();
		await world.start();
		const monitor = new Monitor(
			world,
			Math.max(2000, (run.minutes * 60_000) / 500),
			world.boards.flatMap((board) => (keys === undefined ? [] : [new Auditor(keys.audited(board))])),
			record === undefined ? undefined : (line) => void record.write(`${line}\n`),
		);
		const chaos = new Chaos(
			world,
			broker,
			concentrator,
			planChaos({ seed: run.seed, milliseconds: run.minutes * 60_000, meters: run.meters, kinds: run.kinds }),
		);
		say(
			`${run.meters} meters on ${target.description}; ${broker.name}, MQTT ${run.protocolVersion === 5 ? "5" : "3.1.1"}` +
				(run.kinds.length > 0 ? `; failures of ${run.kinds.join(", ")}` : ""),
		);
		if (run.isRealTime || pagePort(run) > 0) say(`page: http://127.0.0.1:${concentrator.httpPort}/`);
		const driver = new Driver(run, world, monitor, chaos, concentrator, stop, () => {
			if (stop.isAsked()) return; // Ctrl-C of a terminal goes to the children too
			if (lostConcentrator !== undefined) throw new UserError(`the concentrator ended: ${lostConcentrator}`);
			if (!broker.isRunning && !chaos.isBrokerAway) throw new UserError(`the broker ${broker.name} ended`);
			if (recordError !== undefined) throw new UserError(`readings.jsonl: ${recordError.message}`);
		});
		await driver.run();
		const wasInterrupted = stop.isAsked();
		if (wasInterrupted && !run.isRealTime) {
			await stopAll();
			throw new UserError("interrupted: the checks were not made");
		}
		if (wasInterrupted || (run.isRealTime && run.minutes === 0)) return EXIT_CHECKS_HELD;
		const wallSeconds = driver.wallSeconds;
		await driver.finish();
		const result = await collectResult(run, world, monitor, chaos, concentrator, driver, target, wallSeconds);
		await stopAll();
		if (run.options.report !== undefined) await writeReport(run.options.report, result);
		printChecks(result.checks, say);
		if (run.options.report !== undefined) say(`report: ${join(run.options.report, "report.html")}`);
		return result.checks.every(({ ok }) => ok) ? EXIT_CHECKS_HELD : EXIT_CHECK_FAILED;
	} catch (error) {
		if (stop.isAsked() && run.isRealTime) return EXIT_CHECKS_HELD; // the children heard Ctrl-C before us
		if (error instanceof UserError || world?.failure === undefined) throw error;
		throw new UserError(world.failure.message);
	} finally {
		await stopAll();
	}
}

/** The registry of a secured run, new or that of a kept store. */
function openKeys(run: Run): FleetKeys | undefined {
	const { plain, teslaInterval, updateKey } = run.options;
	if (plain === true) return undefined;
	return new FleetKeys({
		folder: join(run.store, "head-end"),
		epoch: Math.floor(run.startUtcSeconds / 86_400),
		days: run.isRealTime ? LIVE_CALENDAR_DAYS : Math.ceil(run.minutes / 1440) + 1,
		teslaIntervalSeconds: teslaInterval ?? (run.isRealTime ? 60 : 900),
		domain: DOMAIN,
		calendarRoot,
		...(updateKey === undefined ? {} : { updateKey: readPublicKey(updateKey) }),
		...(run.isStoreKept ? {} : { seed: run.seed }),
	});
}

function securityFiles(run: Run, keys: FleetKeys): SecurityFiles {
	return {
		registryPath: join(run.store, "head-end"),
		keyFile: keys.keyFile,
		concentratorPath: join(run.store, "concentrator-keys"),
	};
}

function makeWorld(run: Run, target: Target, concentrator: ConcentratorProcess): World {
	const { broker } = run;
	const world = new World({
		seed: run.seed,
		target,
		broker,
		concentrator,
		boards: planFleet({
			planSeed: run.planSeed,
			seed: run.seed,
			meters: run.meters,
			startUtcSeconds: run.startUtcSeconds,
			intervalSeconds: run.intervalSeconds,
			readingSeconds: run.isRealTime && run.meters <= 32 ? 1 : DEFAULT_SETTINGS.readingSeconds,
			registerCommitSeconds: DEFAULT_SETTINGS.registerCommitSeconds,
			mqtt: {
				...DEFAULT_SETTINGS.mqtt,
				protocolVersion: run.protocolVersion,
				// brokers count real seconds: a large fleet in virtual time may be slower than they
				keepAliveSeconds: run.isRealTime ? 60 : Math.max(60, Math.min(3600, run.meters)),
				...(broker.username === undefined ? {} : { username: broker.username }),
				...(broker.password === undefined ? {} : { password: broker.password }),
			},
			secured: run.options.plain !== true,
			recorded: run.options.recorded ?? true,
			// 50 cycles set the frequency to 13 mHz; for a large fleet 20 cycles (31 mHz) are less to make and to move
			cyclesPerBlock: run.meters > 32 ? 20 : 50,
		}),
		startUtcSeconds: run.startUtcSeconds,
		powerOnSpreadMilliseconds: run.isRealTime ? 2000 : 10_000,
	});
	if (run.isStoreKept && run.isRealTime) {
		const folder = join(run.store, "flash");
		mkdirSync(folder, { recursive: true });
		for (const board of world.boards) board.flash.attachFile(join(folder, `${board.settings.identifier}.bin`));
	}
	return world;
}

/** Moves the world on, and shows how far it is. */
class Driver {
	/** Real time of the main part, s. */
	wallSeconds = 0;
	readonly #run: Run;
	readonly #world: World;
	readonly #monitor: Monitor;
	readonly #chaos: Chaos;
	readonly #concentrator: ConcentratorProcess;
	readonly #stop: { isAsked: () => boolean };
	readonly #check: () => void;
	readonly #screen = new Screen();
	readonly #collections = new Map<string, MeterCollection>();
	#began = 0;
	#drawDue = 0;
	#collecting: Promise<void> | undefined;

	constructor(
		run: Run,
		world: World,
		monitor: Monitor,
		chaos: Chaos,
		concentrator: ConcentratorProcess,
		stop: { isAsked: () => boolean },
		check: () => void,
	) {
		this.#run = run;
		this.#world = world;
		this.#monitor = monitor;
		this.#chaos = chaos;
		this.#concentrator = concentrator;
		this.#stop = stop;
		this.#check = check;
	}

	/** The main part: until the time is over or Ctrl-C. */
	async run(): Promise<void> {
		const end = this.#run.minutes === 0 ? Number.POSITIVE_INFINITY : this.#run.minutes * 60_000;
		this.#began = performance.now();
		while (this.#world.nowMilliseconds < end && !this.#stop.isAsked()) {
			await this.#chaos.apply();
			await this.#step(Math.min(this.#run.stepMilliseconds, end - this.#world.nowMilliseconds));
			this.#show(end);
		}
		this.wallSeconds = (performance.now() - this.#began) / 1000;
		this.#screen.keep();
	}

	/** Everything comes back, the loads end, every meter gets the time to tell all that it has. */
	async finish(): Promise<void> {
		const world = this.#world;
		await this.#chaos.end();
		world.unload();
		const seconds = this.#run.isRealTime ? 12 : UNLOADED_SECONDS + 15;
		const until = world.nowMilliseconds + seconds * 1000;
		while (world.nowMilliseconds < until) await this.#step(this.#run.stepMilliseconds);
		await this.#concentrator.collect();
		const deadline = world.nowMilliseconds + (this.#run.isRealTime ? 20 : FINISH_SECONDS_MAX) * 1000;
		while (world.nowMilliseconds < deadline) {
			for (let i = 0; i < 5; i++) await this.#step(this.#run.stepMilliseconds);
			if (await this.#isComplete()) break;
		}
	}

	/** Steps on while `answers` come in; for questions that meters answer in their own time. */
	async while(answers: Promise<unknown>, secondsMax: number): Promise<void> {
		let isDone = false;
		void answers.then(() => {
			isDone = true;
		});
		const deadline = this.#world.nowMilliseconds + secondsMax * 1000;
		while (!isDone && this.#world.nowMilliseconds < deadline) {
			this.#world.peersChanged();
			await this.#step(Math.min(1000, this.#run.stepMilliseconds));
			await sleep(5);
		}
	}

	async #isComplete(): Promise<boolean> {
		const collections = await this.#concentrator.summary();
		if (collections === undefined || collections.length < this.#run.meters) return false;
		if (!this.#run.isRealTime && (this.#world.lastAdvanced?.pending ?? 1) > 0) return false;
		if (!this.#world.boards.every((board) => board.isOn && board.bridge.isOpen)) return false;
		return collections.every(({ missing, eventsMissing }) => missing.length === 0 && eventsMissing.length === 0);
	}

	async #step(milliseconds: number): Promise<void> {
		const { isRealTime, speed } = this.#run;
		if (isRealTime) {
			const elapsed = performance.now() - this.#began;
			await this.#world.step(Math.max(1, elapsed - this.#world.nowMilliseconds), false);
			this.#monitor.sample();
			this.#check();
			await this.#world.idleUntil(this.#began + this.#world.nowMilliseconds + LIVE_STEP_MILLISECONDS);
			return;
		}
		await this.#world.step(milliseconds, true);
		this.#monitor.sample();
		this.#check();
		const ahead = this.#world.nowMilliseconds / speed - (performance.now() - this.#began);
		if (ahead > 1) await sleep(ahead);
	}

	#show(end: number): void {
		const now = performance.now();
		if (now < this.#drawDue || this.#run.options.quiet) return;
		this.#drawDue = now + (this.#run.isRealTime ? 1000 : 250);
		if (this.#run.isRealTime) this.#showTable();
		else this.#showProgress(now, end);
	}

	#showTable(): void {
		this.#collecting ??= this.#concentrator.summary(2000).then((collections) => {
			for (const collection of collections ?? []) this.#collections.set(collection.id, collection);
			this.#collecting = undefined;
		});
		const online = this.#world.boards.filter(({ bridge }) => bridge.isOpen).length;
		const lines = tableLines(this.#world, this.#monitor, this.#collections, this.#screen.rows - 4);
		const seconds = Math.floor(this.#world.nowMilliseconds / 1000);
		lines.push(
			"",
			`${clockText(seconds)}  ${online} of ${this.#run.meters} online  ` +
				`page http://127.0.0.1:${this.#concentrator.httpPort}/  Ctrl-C ends`,
		);
		this.#screen.draw(lines, 10_000);
	}

	#showProgress(now: number, end: number): void {
		const virtual = this.#world.nowMilliseconds;
		const wall = (now - this.#began) / 1000;
		const rate = (this.#run.meters * virtual) / 86_400_000 / Math.max(0.001, wall);
		const left = end === Number.POSITIVE_INFINITY ? "" : `  ETA ${((end / virtual - 1) * wall).toFixed(0)} s`;
		const total = end === Number.POSITIVE_INFINITY ? "" : ` of ${clockText(end / 1000)}`;
		this.#screen.draw(
			[
				`virtual ${clockText(virtual / 1000)}${total}  ${rate.toPrecision(3)} meter-days/s  ` +
					`${(virtual / 1000 / Math.max(0.001, wall)).toFixed(1)} × real time${left}`,
			],
			5000,
		);
	}
}

function clockText(seconds: number): string {
	const part = (value: number): string => String(Math.floor(value)).padStart(2, "0");
	return `${part(seconds / 3600)}:${part((seconds / 60) % 60)}:${part(seconds % 60)}`;
}

async function collectResult(
	run: Run,
	world: World,
	monitor: Monitor,
	chaos: Chaos,
	concentrator: ConcentratorProcess,
	driver: Driver,
	target: Target,
	wallSeconds: number,
): Promise<RunResult> {
	const collections = new Map((await concentrator.summary())?.map((one) => [one.id, one]));
	const diagnostics = new Map<string, Record<string, number>>();
	await driver.while(
		Promise.all(
			world.boards.map(async ({ settings }) => {
				const view = (await concentrator.http(`/api/meters/${settings.identifier}/diagnostics`, "POST")) as
					| DiagnosticsView
					| undefined;
				if (view === undefined) return;
				diagnostics.set(settings.identifier, Object.fromEntries(view.entries.map(({ name, value }) => [name, value])));
			}),
		),
		run.isRealTime ? 15 : 60,
	);
	const meters: MeterResult[] = [];
	for (const board of world.boards) {
		const { identifier } = board.settings;
		board.account(board.local(world.nowMilliseconds));
		const collection = collections.get(identifier) ?? null;
		const profile = (await concentrator.http(`/api/meters/${identifier}/profile`)) as ProfileView | undefined;
		const since = run.startUtcSeconds - run.intervalSeconds;
		const rows = (profile?.rows ?? []).filter(({ intervalStartSeconds }) => intervalStartSeconds >= since);
		const intervals = judgeIntervals(board, rows, run.startUtcSeconds, world.utcSeconds - 10);
		const heard = monitor.heard[board.index]!;
		const options = {
			stepMilliseconds: run.isRealTime ? LIVE_STEP_MILLISECONDS : run.stepMilliseconds,
			fresh: run.isFresh,
		};
		const [plus, minus] = collection?.lastRegisters ?? [];
		const held = run.isRealTime ? collection?.lastRowRegisters : collection?.lastRegisters;
		const difference = (register: 0 | 1): number | null =>
			held && rows.length > 0 ? held[register]! - sumOfIncrements(rows, register, run.isFresh) : null;
		meters.push({
			identifier,
			phases: board.settings.layout.phaseCount,
			netting: board.settings.netting,
			load: board.load.description,
			starts: board.starts,
			powerCuts: board.powerCuts,
			readings: heard.readings,
			import: plus === undefined ? null : compareEnergy(board, plus, "import", heard, options),
			export: minus === undefined ? null : compareEnergy(board, minus, "export", heard, options),
			intervalsExpected: profile === undefined ? Number.NaN : intervals.expected,
			intervalsMissing: intervals.missing,
			intervalsDoubled: intervals.doubled,
			rows,
			sumDifferenceImport: difference(0),
			sumDifferenceExport: difference(1),
			clockErrorSeconds: board.utcSeconds(board.local(world.nowMilliseconds)) - world.utcSeconds,
			flashErases: board.flash.erases,
			flashProgrammedBytes: board.flash.programmedBytes,
			linkConnects: board.bridge.connects,
			collection,
			diagnostics: diagnostics.get(identifier) ?? null,
		});
	}
	const checks = judge(world, monitor, meters, {
		registersStandStill: !run.isRealTime,
		fresh: run.isFresh,
		withChaos: run.kinds.length > 0,
	});
	return {
		seed: run.seed,
		command: process.argv.slice(2).join(" "),
		versions: {
			wattlock: (JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string }).version,
			commit: commitOf(),
			node: process.version,
			target: `${target.name}: ${target.description}`,
			broker: `${run.broker.name}, MQTT ${run.protocolVersion === 5 ? "5" : "3.1.1"}`,
		},
		startUtcSeconds: run.startUtcSeconds,
		virtualSeconds: run.minutes * 60,
		wallSeconds,
		isRealTime: run.isRealTime,
		meterDaysPerSecond: (run.meters * run.minutes) / 1440 / wallSeconds,
		stepMilliseconds: run.isRealTime ? LIVE_STEP_MILLISECONDS : run.stepMilliseconds,
		intervalSeconds: run.intervalSeconds,
		chaos: chaos.counts,
		timeline: world.timeline,
		power: monitor.power,
		online: monitor.online,
		counts: world.counts,
		meters,
		checks,
	};
}

/**
 * Energy of all intervals, mWh: what each row's register is above that of the row before. The first row of a new meter
 * counts from zero; of an older one its register is where the sum begins.
 */
function sumOfIncrements(rows: readonly ProfileRowView[], register: 0 | 1, fresh: boolean): number {
	const field = register === 0 ? "activeEnergyImport" : "activeEnergyExport";
	const inOrder = [...rows].sort((a, b) => a.sequence - b.sequence);
	let sum = fresh ? 0 : inOrder[0]![field];
	let before = sum;
	for (const row of inOrder) {
		sum += row[field] - before;
		before = row[field];
	}
	return sum;
}

/** The commit of this tree, marked when there are changes; empty where git or its folder is not. */
function commitOf(): string {
	try {
		const git = (...parts: string[]): string =>
			execFileSync("git", ["-C", ROOT, ...parts], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
		return (
			git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") === "" ? "" : "+")
		);
	} catch {
		return "";
	}
}

function printChecks(checks: readonly Check[], say: (line: string) => void): void {
	for (const check of checks) {
		const measured = check.measured === null ? "not evaluated" : String(Number(check.measured.toPrecision(4)));
		const limit = `${check.relation} ${check.limit} ${check.unit}`;
		say(
			`${check.ok ? "held  " : "FAILED"}  ${check.name}: ${measured} (${limit})${check.note === "" ? "" : `, ${check.note}`}`,
		);
	}
	const failed = checks.filter(({ ok }) => !ok).length;
	say(failed === 0 ? `all ${checks.length} checks held` : `${failed} of ${checks.length} checks failed`);
}
