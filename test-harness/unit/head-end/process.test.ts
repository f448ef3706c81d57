import assert from "node:assert/strict";
import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import type { MeterCollection } from "../../head-end/fleet-views.js";
import type { ProcessOptions, ProcessReply, ProcessRequest } from "../../head-end/process.js";
import { ROOT } from "../../root.js";
import { seed } from "../../seed.js";
import { START_UTC, temporaryFolder } from "./bench.js";
import { FakeMeter, row, TestBroker, until } from "./fake-meter.js";

const folder = temporaryFolder();
const running = new Set<ChildProcess>();
after(() => {
	for (const child of running) child.kill("SIGKILL");
	rmSync(folder, { recursive: true, force: true });
});
const MAIN = join(ROOT, "test-harness", "head-end", "main.ts");
let count = 0;

/** The real process, forked as a supervisor would. */
class Forked {
	readonly child: ChildProcess;
	stderr = "";
	readonly #replies: ProcessReply[] = [];
	#wake: () => void = () => {};
	readonly exited: Promise<number | null>;

	constructor(options: Partial<ProcessOptions>) {
		this.child = fork(MAIN, [JSON.stringify(options)], {
			cwd: ROOT,
			execArgv: ["--import", "tsx"],
			stdio: ["ignore", "ignore", "pipe", "ipc"],
		});
		running.add(this.child);
		this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
			this.stderr += text;
		});
		this.child.on("message", (message) => {
			this.#replies.push(message as ProcessReply);
			this.#wake();
		});
		this.exited = new Promise((resolve) =>
			this.child.on("exit", (code) => {
				running.delete(this.child);
				this.#wake();
				resolve(code);
			}),
		);
	}

	send(request: ProcessRequest): void {
		this.child.send(request);
	}

	async next<T extends ProcessReply["type"]>(type: T): Promise<Extract<ProcessReply, { type: T }>> {
		while (this.#replies.length === 0) {
			if (this.child.exitCode !== null || this.child.signalCode !== null) throw new Error(`it ended: ${this.stderr}`);
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
		}
		const reply = this.#replies.shift()!;
		assert.equal(reply.type, type, JSON.stringify(reply));
		return reply as Extract<ProcessReply, { type: T }>;
	}

	async advance(utcSeconds: number): Promise<Extract<ProcessReply, { type: "advanced" }>> {
		this.send({ type: "advance", utcSeconds });
		return this.next("advanced");
	}

	async summary(): Promise<MeterCollection[]> {
		this.send({ type: "summary" });
		return (await this.next("summary")).meters;
	}
}

function options(broker: TestBroker, more: Partial<ProcessOptions> = {}): Partial<ProcessOptions> {
	return {
		brokerUrl: broker.url,
		storePath: join(folder, `store-${++count}`),
		httpPort: -1,
		clock: "virtual",
		startUtcSeconds: START_UTC,
		quiet: true,
		...more,
	};
}

test("steps of a virtual clock: all that the broker had accepted is in the answer", async () => {
	const broker = await TestBroker.start();
	const process = new Forked(options(broker));
	assert.equal((await process.next("ready")).httpPort, -1);
	const meter = new FakeMeter("00000000000000aa");
	meter.clock = () => START_UTC;
	await meter.connect(broker.url);
	for (let sequence = 0; sequence < 20; sequence++) await meter.addRows(row(sequence));
	const advanced = await process.advance(START_UTC + 1);
	assert.deepEqual(advanced, {
		type: "advanced",
		utcSeconds: START_UTC + 1,
		received: 21,
		stored: 21,
		pending: 0,
		complete: true,
	});
	await meter.sendControl(0x09, 5);
	await process.advance(START_UTC + 2);
	await until("the time", () => meter.times.length === 1);
	assert.equal(meter.times[0]?.utcSeconds, START_UTC + 2, "the answer carries the time of the step's end");
	meter.faults.loseRows = 1;
	await meter.addRows(row(20));
	process.send({ type: "collect" });
	await process.next("collecting");
	for (let second = 3; (await process.advance(START_UTC + second)).pending > 0; second++)
		await new Promise((resolve) => setTimeout(resolve, 5));
	assert.equal((await process.summary())[0]?.profileNext, 21);
	process.send({ type: "stop" });
	await process.next("stopped");
	assert.equal(await process.exited, 0);
	await meter.close();
	await broker.stop();
});

test("a step while the broker is away ends soon, and the link comes back by itself", async () => {
	const broker = await TestBroker.start();
	const { port } = broker;
	const process = new Forked(options(broker, { quiet: false }));
	await process.next("ready");
	await process.advance(START_UTC + 1);
	await broker.stop();
	const begin = performance.now();
	for (let second = 2; second < 12; second++)
		assert.equal((await process.advance(START_UTC + second)).complete, second < 2);
	assert.ok(performance.now() - begin < 5000, "steps do not wait for a broker that refuses");
	const again = await TestBroker.start(port);
	await until("connected again", async () => (await process.advance(START_UTC + 20)).complete);
	await until("the lines", () => /connection lost[\s\S]*connected/.test(process.stderr));
	process.send({ type: "stop" });
	await process.exited;
	await again.stop();
});

test("kill -9 at any time while rows come in: nothing confirmed is lost, nothing counted twice", async (context) => {
	let state = seed >>> 0;
	const random = (below: number): number => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return Math.floor((state / 2 ** 32) * below);
	};
	const broker = await TestBroker.start();
	const shared = options(broker);
	const meters = [0, 1, 2].map((index) => new FakeMeter(`00000000000000c${index}`));
	let clock = START_UTC;
	for (const meter of meters) {
		meter.clock = () => clock;
		await meter.connect(broker.url);
	}
	let next = 0;
	const rounds = 6;
	for (let round = 0; round < rounds; round++) {
		const process = new Forked({ ...shared, startUtcSeconds: clock });
		await process.next("ready");
		const killAt = random(40);
		for (let burst = 0; burst < 40; burst++) {
			for (const meter of meters) {
				if (random(10) === 0) meter.faults.loseRows = 1;
				const sending = meter.addRows(row(next)).catch(() => {});
				if (burst % 4 === 0) await sending;
				await meter.sendReading();
			}
			next++;
			clock++;
			if (burst === killAt) {
				process.child.kill("SIGKILL");
				break;
			}
			// what it says to have stored must survive
			if (random(4) === 0) await process.advance(clock);
		}
		const known = process.child.killed ? undefined : await process.summary();
		process.child.kill("SIGKILL");
		await process.exited;
		if (known) {
			const restarted = new Forked({ ...shared, startUtcSeconds: clock });
			await restarted.next("ready");
			for (const [index, before] of known.entries()) {
				const found = (await restarted.summary())[index]!;
				assert.ok(found.profileStored >= before.profileStored, "confirmed rows are there");
				assert.ok(found.readings >= before.readings, "confirmed readings are there");
			}
			restarted.child.kill("SIGKILL");
			await restarted.exited;
		}
	}
	const last = new Forked({ ...shared, startUtcSeconds: clock });
	await last.next("ready");
	last.send({ type: "collect" });
	await last.next("collecting");
	for (let steps = 0; steps < 200 && (await last.advance(++clock)).pending > 0; steps++)
		await new Promise((resolve) => setTimeout(resolve, 5));
	for (const found of await last.summary()) {
		assert.equal(found.profileNext, next, "every row is there");
		assert.equal(found.profileStored, next);
		assert.deepEqual(found.missing, []);
		assert.deepEqual(found.gone, []);
		assert.equal(found.conflicts, 0);
		assert.equal(found.series, 0);
		assert.equal(found.monotone.profile, 0);
		assert.equal(found.increments[0], (next - 1) * 250_000, "no interval lost or counted twice");
	}
	context.diagnostic(`${rounds} kills, ${next} rows from each of ${meters.length} meters`);
	last.send({ type: "stop" });
	await last.exited;
	for (const meter of meters) await meter.close();
	await broker.stop();
});

async function refusal(given: Partial<ProcessOptions>): Promise<string> {
	const process = new Forked(given);
	const { message } = await process.next("error");
	assert.equal(await process.exited, 2);
	assert.ok(!message.includes("\n"));
	assert.equal(process.stderr, `${message}\n`, "one line, no stack");
	return message;
}

test("what cannot run says why in one line: options, port, store", async () => {
	const broker = await TestBroker.start();
	assert.match(await refusal({ ...options(broker), brokerUrl: "localhost" }), /brokerUrl must look like mqtt:/);
	assert.match(await refusal({ ...options(broker), httpPort: 70_000 }), /httpPort must be a whole number from 0/);
	const blocker = createServer();
	await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
	const { port } = blocker.address() as { port: number };
	assert.match(await refusal({ ...options(broker), httpPort: port }), new RegExp(`port ${port} .*in use.*--port`));
	blocker.close();
	const taken = options(broker);
	const first = new Forked(taken);
	await first.next("ready");
	assert.match(await refusal(taken), /another process uses it/);
	first.send({ type: "stop" });
	await first.exited;
	const damaged = join(folder, "damaged");
	mkdirSync(damaged);
	writeFileSync(join(damaged, "CURRENT"), "MANIFEST-000009\n");
	assert.match(await refusal({ ...options(broker), storePath: damaged }), /damaged.*repair/);
	await broker.stop();
});

test("alone, without a supervisor: runs in real time, SIGTERM ends it in good order", async () => {
	const broker = await TestBroker.start();
	const child = spawn(
		process.execPath,
		["--import", "tsx", MAIN, JSON.stringify({ brokerUrl: broker.url, storePath: join(folder, "alone"), httpPort: 0 })],
		{ cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] },
	);
	running.add(child);
	let stderr = "";
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		stderr += text;
	});
	const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
	await until("it tells its address", () => /http:\/\/127\.0\.0\.1:\d+\//.test(stderr), 20_000);
	const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(stderr)![0];
	const meter = new FakeMeter("00000000000000dd");
	meter.clock = () => Date.now() / 1000 - 946_684_800;
	await meter.connect(broker.url);
	await meter.addRows(row(0));
	await until("the meter is in the interface", async () => {
		const meters = (await (await fetch(`${url}api/meters`)).json()) as { id: string }[];
		return meters[0]?.id === meter.id;
	});
	child.kill("SIGTERM");
	assert.equal(await exited, 0, stderr);
	running.delete(child);
	await meter.close();
	await broker.stop();
});

test("a store that takes no more: collecting stops with a line, HTTP stays, meters' rows are fetched later", async () => {
	const broker = await TestBroker.start();
	const storePath = join(folder, "small");
	const meter = new FakeMeter("00000000000000ee");
	meter.clock = () => START_UTC;
	await meter.connect(broker.url);
	const given = JSON.stringify({ ...options(broker), storePath, clock: "real", quiet: false, httpPort: 0 });
	// a limit on the size of files stands for the full disk
	const child = spawn(
		"sh",
		["-c", 'trap "" XFSZ; ulimit -f 24; exec "$0" "$@"', process.execPath, "--import", "tsx", MAIN, given],
		{ cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] },
	);
	running.add(child);
	const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
	let stderr = "";
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		stderr += text;
	});
	// the page's bundle would not fit the limit either
	await until("it starts or says why not", () => /http:|rror/.test(stderr), 20_000);
	if (/http:/.test(stderr)) {
		let sequence = 0;
		await until("the disk is full", async () => {
			await meter.addRows(row(sequence++));
			return /disk is full; free some space/.test(stderr);
		});
		const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(stderr)![0];
		const status = (await (await fetch(`${url}api/status`)).json()) as { store: { working: boolean; error: string } };
		assert.equal(status.store.working, false);
		assert.match(status.store.error, /disk is full/);
	}
	child.kill("SIGKILL");
	await exited;
	running.delete(child);
	const after = new Forked({ ...options(broker), storePath });
	await after.next("ready");
	after.send({ type: "collect" });
	await after.next("collecting");
	for (let second = 1; second < 100 && (await after.advance(START_UTC + second)).pending > 0; second++)
		await new Promise((resolve) => setTimeout(resolve, 5));
	const [found] = await after.summary();
	assert.equal(found?.profileNext ?? 0, meter.rows.length);
	assert.deepEqual(found?.missing ?? [], []);
	after.send({ type: "stop" });
	await after.exited;
	await meter.close();
	await broker.stop();
});
