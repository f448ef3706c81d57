import assert from "node:assert/strict";
import { test } from "node:test";
import type { LinkEvents } from "../../../src/platform/link.js";
import type { MeterEvents, Platform } from "../../../src/platform/platform.js";
import type { SampleKernel } from "../../../src/platform/sample-kernel.js";
import { InProcessTarget } from "../../device/in-process.js";
import type { PowerOn, TargetEvents } from "../../device/target.js";

const SETTINGS = JSON.stringify({
	identifier: "0000000000000001",
	layout: { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 4000 },
});
const ROW_BYTES = 4;

function powerOn(nowMilliseconds: number): PowerOn {
	return {
		nowMilliseconds,
		utcSeconds: 800_000_000,
		sectorBytes: 256,
		sectorCount: 4,
		bootReason: 0,
		typeScriptKernel: true,
		entropySeed: new Uint8Array(32).fill(7),
		deviceKey: new Uint8Array(32).fill(1),
		settingsText: SETTINGS,
	};
}

/** Starts one machine whose firmware is what `make` gives; all that it says comes back as lines. */
async function start(
	make: (platform: Platform) => Partial<MeterEvents & LinkEvents>,
	nowMilliseconds = 1000,
): Promise<{ target: InProcessTarget; lines: string[] }> {
	const lines: string[] = [];
	const target = new InProcessTarget({
		createSampleKernel: () => undefined as unknown as SampleKernel,
		startMeter: (platform) => ({
			samples() {},
			samplesLost() {},
			inputChanged() {},
			tick() {},
			deadlineMilliseconds: () => Number.POSITIVE_INFINITY,
			linkOpened() {},
			linkReceived() {},
			linkWritable() {},
			opticalReceived() {},
			linkClosed() {},
			...make(platform),
		}),
	});
	const events: TargetEvents = {
		done: (_meter, now) => lines.push(`done ${now}`),
		linkOpen: () => lines.push("linkOpen"),
		linkSend: (_meter, bytes) => lines.push(`linkSend ${bytes.length}`),
		linkClose: () => lines.push("linkClose"),
		flashProgram: (_meter, address, bytes) => lines.push(`program ${address} ${Buffer.from(bytes).toString("hex")}`),
		flashErase: (_meter, sector) => lines.push(`erase ${sector}`),
		output: (_meter, which, value) => lines.push(`output ${which} ${value}`),
		log: (_meter, text) => lines.push(`log ${text}`),
		aborted: (_meter, reason) => lines.push(`aborted ${reason}`),
		poweredOff: (_meter, operations) => lines.push(`poweredOff ${operations}`),
		statistics: () => lines.push("statistics"),
		opticalSend: (_meter, bytes) => lines.push(`opticalSend ${bytes.length}`),
		clockSet: (_meter, utcSeconds, at) => lines.push(`clockSet ${utcSeconds} ${at}`),
		failed: (reason) => lines.push(`failed ${reason}`),
	};
	await target.start(events);
	target.powerOn(0, powerOn(nowMilliseconds));
	return { target, lines };
}

test("blocks come in time order with ticks, samples first, and a repeating block is replaced at its end", async () => {
	const seen: string[] = [];
	let next = 100;
	const { target } = await start((platform) => ({
		samples: (block, rowCount) => {
			const first = new DataView(block.buffer, block.byteOffset).getInt16(0, true);
			seen.push(`${platform.clock.monotonicMilliseconds()}: ${rowCount} rows of ${first}`);
		},
		tick: () => {
			seen.push(`${platform.clock.monotonicMilliseconds()}: tick`);
			next += 100;
		},
		deadlineMilliseconds: () => next,
	}));
	const rows = (value: number, count: number): Uint8Array =>
		new Uint8Array(new Int16Array((count * ROW_BYTES) / 2).fill(value).buffer);
	target.samples(0, 300, true, rows(1, 300));
	target.advance(0, 1120);
	target.samples(0, 200, true, rows(2, 200));
	target.advance(0, 1260);
	assert.deepEqual(seen, [
		"50: 200 rows of 1",
		"100: 200 rows of 1",
		"100: tick",
		"150: 200 rows of 1",
		"200: 200 rows of 2",
		"200: tick",
		"250: 200 rows of 2",
	]);
});

test("a deadline is seen as passed whatever the time of power-on rounds to", async () => {
	for (const powerOnMilliseconds of [0, 0.1, 1 / 3, 1234.567_891, 987_654.321_123]) {
		let ticks = 0;
		let next = 0.1;
		const { target, lines } = await start(
			(platform) => ({
				tick: () => {
					if (platform.clock.monotonicMilliseconds() < next) return;
					ticks++;
					next += 0.7 + ticks * 1e-7;
				},
				deadlineMilliseconds: () => next,
			}),
			powerOnMilliseconds,
		);
		target.advance(0, powerOnMilliseconds + 5000);
		assert.ok(ticks > 4000, `${ticks} ticks, ${lines.at(-1)}`);
	}
});

test("power fails inside a flash operation: torn program, torn erase, and nothing after", async () => {
	let step = 0;
	const make = (platform: Platform): Partial<MeterEvents & LinkEvents> => ({
		inputChanged() {
			step++;
			try {
				if (step === 1) platform.flash.program(0, Uint8Array.of(0x12, 0x34), 2);
				else if (step === 2) platform.flash.program(16, Uint8Array.of(0, 0, 0, 0), 4);
				else platform.flash.erase(0);
			} catch {
				platform.flash.program(100, Uint8Array.of(0), 1); // a firmware that swallows it is off all the same
			}
		},
	});
	const program = await start(make);
	program.target.powerCut(0, 2, 2);
	program.target.input(0, 0, 1);
	program.target.input(0, 0, 1);
	program.target.input(0, 0, 1);
	program.target.advance(0, 2000);
	assert.deepEqual(program.lines.slice(1), ["program 0 1234", "program 16 0000aa", "poweredOff 2", "poweredOff 0"]);

	step = 2;
	const erase = await start(make);
	erase.target.powerCut(0, 1, 250);
	erase.target.input(0, 0, 1);
	assert.deepEqual(erase.lines.slice(1), ["erase 0", `program 250 ${"ff".repeat(6)}`, "poweredOff 1"]);
});

test("flash content loaded before power-on is there; what is programmed is reported and read back", async () => {
	const read = new Uint8Array(4);
	const { target, lines } = await start((platform) => {
		platform.flash.program(512, Uint8Array.of(0x0f), 1);
		platform.flash.read(511, read, 4);
		return {};
	});
	assert.deepEqual([...read], [0xff, 0x0f, 0xff, 0xff]);
	target.powerCut(0, 0, 0);
	target.flashLoad(0, 511, Uint8Array.of(0x55, 0xf0));
	target.powerOn(0, powerOn(5000));
	assert.deepEqual([...read], [0x55, 0x00, 0xff, 0xff]);
	assert.deepEqual(lines, ["program 512 0f", "done 1000", "poweredOff 1", "program 512 0f", "done 5000"]);
});

test("restart, exceptions and a runaway end the machine with their reason", async () => {
	const cases: [number, (platform: Platform) => Partial<MeterEvents & LinkEvents>][] = [
		[4, (platform) => ({ inputChanged: () => platform.board.restart() })],
		[
			3,
			() => ({
				inputChanged: () => {
					throw new TypeError("a bug");
				},
			}),
		],
	];
	for (const [reason, make] of cases) {
		const { target, lines } = await start(make);
		target.input(0, 0, 1);
		target.advance(0, 2000);
		assert.deepEqual(lines, ["done 1000", `aborted ${reason}`, "poweredOff 0"]);
	}
	const { target, lines } = await start(() => ({ deadlineMilliseconds: () => 10 }));
	target.advance(0, 2000);
	assert.deepEqual(lines, ["done 1000", "aborted 5"]);
});

test("entropy is ChaCha20's key stream of the seed, in any pieces (RFC 8439 section 2.3)", async () => {
	const drawn: number[] = [];
	await start((platform) => {
		for (const count of [1, 7, 60]) {
			const bytes = new Uint8Array(count);
			platform.entropy.fill(bytes);
			drawn.push(...bytes);
		}
		return {};
	});
	const again = new Uint8Array(68);
	await start((platform) => {
		platform.entropy.fill(again);
		return {};
	});
	assert.deepEqual(drawn, [...again]);
	assert.ok(new Set(drawn).size > 30);
});

test("closing a connection that the machine has not heard of gives no event; one that is open gives closed", async () => {
	const heard: string[] = [];
	const { target, lines } = await start((platform) => ({
		inputChanged: (_which, value) => (value === 1 ? platform.link.open() : platform.link.close()),
		linkOpened: () => heard.push("opened"),
		linkClosed: () => heard.push("closed"),
		linkReceived: (bytes, byteLength) => heard.push(`received ${bytes.length} ${byteLength}`),
	}));
	target.input(0, 0, 1);
	target.input(0, 0, 1);
	target.input(0, 0, 0);
	target.linkOpened(0); // too late
	target.linkClosed(0);
	target.linkData(0, Uint8Array.of(1));
	target.input(0, 0, 1);
	target.linkOpened(0);
	target.linkData(0, Uint8Array.of(1, 2));
	target.input(0, 0, 0);
	target.linkClosed(0);
	assert.deepEqual(heard, ["opened", "received 2 2", "closed"]);
	assert.deepEqual(lines.slice(1), ["linkOpen", "linkClose", "linkOpen", "linkClose"]);
});
