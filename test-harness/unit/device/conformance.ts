import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "../../device/target.js";
import { Driver, type Lines } from "./driver.js";

/** What differs between hosts of the same engine. */
export interface HostFacts {
	/** 32 on 64 bit, 16 on 32. */
	readonly slotBytes: number;
	readonly chunkHeaderBytes: number;
	/** An endless loop is stopped after 50 M ticks: 3.2 G instructions, 8 s of an emulator. */
	readonly endlessLoops: boolean;
	/** The same host with a collection at every chance. */
	collectOften(): Target;
}

/** The board channel (docs/BOARD.md) and the limits of a machine, the same on every host of XS: tests with the trial firmware. */
export function conformance(driver: () => Driver, facts: HostFacts): void {
	let nextMeter = 0;

	/** A meter of its own for each test. */
	async function meter(how = {}): Promise<number> {
		const index = nextMeter++;
		const end = await driver().powerOn(index, how);
		assert.match(end, /^done/);
		await driver().advance(index, 0);
		driver().take(index);
		return index;
	}

	test("power-on answers with the firmware's deadline in board time", async () => {
		const index = nextMeter++;
		const end = await driver().powerOn(index, { nowMilliseconds: 5000, settingsText: '{"tickEvery":250}' });
		assert.equal(end, "done 5000 5250");
		assert.equal(await driver().advance(index, 5600), "done 5600 5750");
		assert.deepEqual(driver().take(index), ["done 5000 5250", "tick 1 at 250", "tick 2 at 500", "done 5600 5750"]);
	});

	test("a deadline that rounds when board time is added still counts as passed", async () => {
		const index = await meter({ nowMilliseconds: 1e12 + 0.1, settingsText: '{"tickEvery":0.3}' });
		await driver().advance(index, 1e12 + 1);
		const ticks = driver()
			.take(index)
			.filter((line) => line.startsWith("tick"));
		assert.ok(ticks.length >= 2 && ticks.length <= 3, ticks.join());
	});

	test("clock: milliseconds since power-on, real-time clock set and reported", async () => {
		const index = await meter({ nowMilliseconds: 2000, utcSeconds: 500 });
		await driver().advance(index, 3500);
		assert.deepEqual(await driver().ask(index, "time", 3500), ["sent 1500 501.5"]);
		assert.deepEqual(await driver().ask(index, "setTime 777", 3500), ["clockSet 777 3500", "sent ok"]);
		assert.deepEqual(await driver().ask(index, "time", 4000), ["sent 1500 777"]);
		assert.deepEqual(await driver().ask(index, "time", 4000), ["sent 2000 777.5"]);
		const lost = await meter({ utcSeconds: Number.NaN });
		assert.deepEqual(await driver().ask(lost, "time", 1000), ["sent 0 NaN"]);
	});

	test("entropy is ChaCha20 of the seed (RFC 8439 appendix A.1, vectors 1 and 2)", async () => {
		const index = await meter();
		assert.deepEqual(await driver().ask(index, "entropy 4"), ["sent 76b8e0ad"]);
		assert.deepEqual(await driver().ask(index, "entropy 68"), [
			"sent a0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c" +
				"5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee65869f07e7be5551387a",
		]);
	});

	test("link: opened, data in pieces and in order, writable, closed only once", async () => {
		const index = nextMeter++;
		await driver().powerOn(index);
		await driver().advance(index, 1000);
		assert.deepEqual(driver().take(index), ["linkOpen", "done 1000 Infinity", "opened", "done 1000 Infinity"]);
		const bytes = new Uint8Array(2500);
		driver().target.linkData(index, bytes);
		driver().target.linkWritable(index);
		await driver().advance(index, 1000);
		const sent = driver().take(index);
		assert.deepEqual(
			sent.slice(0, 5).map((line) => line.length - 5),
			[512, 512, 512, 512, 452],
		);
		assert.equal(sent[5], "writable");
		assert.deepEqual(await driver().ask(index, "close", 1000), ["linkClose"]);
		await driver().advance(index, 1000);
		driver().target.linkClosed(index);
		driver().target.linkData(index, Buffer.from("time"));
		await driver().advance(index, 1000);
		assert.deepEqual(
			driver()
				.take(index)
				.filter((line) => !line.startsWith("done")),
			["closed"],
		);
	});

	test("the optical port takes bytes and gives them, in pieces; the device key is that of the board", async () => {
		const index = await meter({ deviceKey: new Uint8Array(32).map((_, i) => i) });
		driver().target.opticalData(index, Buffer.from("00ff7e", "hex"));
		driver().target.opticalData(index, new Uint8Array(600));
		await driver().advance(index, 1000);
		const sent = driver()
			.take(index)
			.filter((line) => line.startsWith("opticalSend"));
		assert.equal(sent[0], "opticalSend 00ff7e");
		assert.deepEqual(
			sent.slice(1).map((line) => (line.length - 12) / 2),
			[512, 88],
		);
		assert.deepEqual(await driver().ask(index, "deviceKey", 1000), [
			"sent 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		]);
	});

	test("cryptography in C is the meter's: SHA-256 of abc (FIPS 180-4)", async () => {
		const index = await meter();
		assert.deepEqual(await driver().ask(index, "sha256 616263"), [
			"sent ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		]);
	});

	test("inputs reach the firmware, outputs the board", async () => {
		const index = await meter();
		driver().target.input(index, 2, -40);
		await driver().advance(index, 1000);
		assert.deepEqual(driver().take(index).slice(0, 2), ["output 0 -39", "input 2 -40 -40"]);
	});

	test("flash: erased at first, program clears bits, erase sets them, all of it reported", async () => {
		const index = await meter();
		assert.deepEqual(await driver().ask(index, "geometry"), ["sent 4096 16"]);
		assert.deepEqual(await driver().ask(index, "read 4090 12"), [`sent ${"ff".repeat(12)}`]);
		assert.deepEqual(await driver().ask(index, "program 4094 0ff0aa55"), ["program 4094 0ff0aa55 4", "sent 0"]);
		assert.deepEqual(await driver().ask(index, "program 4094 f0ffff0f"), ["program 4094 f0ffff0f 4", "sent 0"]);
		assert.deepEqual(await driver().ask(index, "read 4094 4"), ["sent 00f0aa05"]);
		assert.deepEqual(await driver().ask(index, "erase 1"), ["erase 1", "sent 0"]);
		assert.deepEqual(await driver().ask(index, "read 4094 4"), ["sent 00f0ffff"]);
		// beyond the partition: a status, nothing else
		for (const command of [
			"read 65535 2",
			"program 65536 00",
			"program -1 00",
			"program 0.5 00",
			"erase 16",
			"erase -1",
		])
			assert.deepEqual(await driver().ask(index, command), ["sent 7"], command);
		// power off and on: the board's content comes back, and only that
		assert.equal(await driver().powerCut(index), "off 3");
		await driver().powerOn(index);
		assert.deepEqual((await driver().ask(index, "read 4094 4")).at(-1), "sent 00f0ffff");
		await driver().powerCut(index);
		driver().images.get(index)!.fill(0xff);
		await driver().powerOn(index);
		assert.deepEqual((await driver().ask(index, "read 4094 4")).at(-1), "sent ffffffff");
	});

	test("power cuts: now, in a torn program, in a torn erase; both sides agree on what is left", async () => {
		const index = await meter();
		await driver().ask(index, "program 8192 0000000000000000");
		driver().target.powerCut(index, 2, 3);
		assert.deepEqual(await driver().ask(index, "program 0 01"), ["program 0 01 1", "sent 0"]);
		const torn = await driver().ask(index, "program 16 0011223344556677");
		assert.deepEqual(torn, ["program 16 001122 3", `program 19 ${(0x33 | 0xaa).toString(16)} 1`, "off 3"]);
		assert.deepEqual([...driver().images.get(index)!.subarray(16, 22)], [0, 0x11, 0x22, 0xbb, 0xff, 0xff]);

		await driver().powerOn(index);
		assert.deepEqual((await driver().ask(index, "read 16 6")).at(-1), "sent 001122bbffff");
		driver().target.powerCut(index, 1, 3);
		const erased = await driver().ask(index, "erase 2");
		assert.equal(erased[0], "erase 2");
		assert.equal(erased.at(-1), "off 1");
		assert.deepEqual(
			[...driver().images.get(index)!.subarray(8190, 8202)],
			[255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 255, 255],
		);

		await driver().powerOn(index);
		// more torn bytes than there are: the operation is done
		driver().target.powerCut(index, 1, 4096);
		assert.deepEqual(await driver().ask(index, "erase 2"), ["opened", "erase 2", "off 1"]);
		assert.deepEqual([...driver().images.get(index)!.subarray(8195, 8200)], [255, 255, 255, 255, 255]);
		// off: every question is answered all the same
		assert.equal(await driver().advance(index, 99_999), "off 0");
		assert.equal(await driver().powerCut(index), "off 0");
		assert.equal((await driver().askStatistics(index)).slotsLive, 0);
	});

	const LAYOUT = { phaseCount: 1, neutralCurrent: false, sampleBytes: 2, samplesPerSecond: 1000 };

	/** Rows whose first byte counts from `first`. */
	function rows(first: number, count: number): Uint8Array {
		const bytes = new Uint8Array(count * 4);
		for (let i = 0; i < count; i++) bytes[i * 4] = first + i;
		return bytes;
	}

	test("samples arrive on the grid of power-on, between timers in order of time, samples first when equal", async () => {
		const index = await meter({ settingsText: JSON.stringify({ layout: LAYOUT, tickEvery: 50 }) });
		driver().target.samples(index, 120, false, rows(0, 120));
		await driver().advance(index, 1100);
		await driver().advance(index, 1200);
		assert.deepEqual(driver().take(index), [
			"samples 50 at 50 first 0 last 49",
			"tick 1 at 50",
			"samples 50 at 100 first 50 last 99",
			"tick 2 at 100",
			"done 1100 1150",
			"samples 20 at 120 first 100 last 119",
			"tick 3 at 150",
			"tick 4 at 200",
			"done 1200 1250",
		]);
		// nothing queued for a while: the next rows take their place on the grid, blocks end on its multiples
		await driver().advance(index, 1210.5);
		driver().target.samples(index, 60, false, rows(0, 60));
		await driver().advance(index, 1270.5);
		assert.deepEqual(driver().take(index).slice(1), [
			"samples 40 at 250 first 0 last 39",
			"tick 5 at 250",
			"samples 20 at 270 first 40 last 59",
			"done 1270.5 1300",
		]);
	});

	test("a repeating block repeats until another is queued, and is replaced at its end", async () => {
		const index = await meter({ settingsText: JSON.stringify({ layout: LAYOUT }) });
		driver().target.samples(index, 30, true, rows(0, 30));
		await driver().advance(index, 1100);
		driver().target.samples(index, 30, true, rows(100, 30));
		await driver().advance(index, 1150);
		driver().target.samples(index, 0, false, rows(0, 0));
		await driver().advance(index, 1400);
		assert.deepEqual(
			driver()
				.take(index)
				.filter((line) => !line.startsWith("done")),
			[
				"samples 50 at 50 first 0 last 19",
				"samples 50 at 100 first 20 last 9",
				"samples 50 at 150 first 10 last 129",
				// ends with the pass that was playing
			],
		);
		const again = await meter({ settingsText: JSON.stringify({ layout: LAYOUT }) });
		driver().target.samples(again, 30, true, rows(0, 30));
		await driver().advance(again, 1010);
		driver().target.samples(again, 10, false, rows(50, 10));
		driver().target.samplesLost(again, 25);
		await driver().advance(again, 1100);
		assert.deepEqual(
			driver()
				.take(again)
				.filter((line) => !line.startsWith("done")),
			["lost 25", "samples 15 at 40 first 25 last 59"],
		);
	});

	test("limits: what does not fit the ESP32-C6 creation aborts that meter and no other", async () => {
		const other = await meter();
		const expected: [string, RegExp][] = [
			["slots 6000", /^aborted 1 memory full/],
			["bytes 80000", new RegExp(`^aborted 1 memory full: chunk of ${80_000 + facts.chunkHeaderBytes} bytes`)],
			["names 40000", /^aborted 1 memory full/],
			["deep 1000", /^aborted 2 stack overflow/],
			["throw of what", /^aborted 3 RangeError: of what/],
			["throwOdd", /^aborted 3 /],
			["reject", /^aborted 3 unhandled rejection: TypeError: rejected/],
			["restart", /^aborted 4 /],
			...(facts.endlessLoops ? ([["loop", /^aborted 5 /]] as [string, RegExp][]) : []),
			["sameDeadline", /^aborted 5 /],
		];
		const index = nextMeter++;
		for (const [command, end] of expected) {
			await driver().powerOn(index);
			await driver().advance(index, 1000);
			assert.match((await driver().ask(index, command, 1001)).at(-1) ?? "", end, command);
			assert.equal(await driver().advance(index, 2000), "off 0", `${command}: the machine is gone`);
		}
		assert.match(
			await driver().powerOn(index, { settingsText: '{"failAtStart":true}' }),
			/^aborted 3 Error: fails at start/,
		);
		assert.match(await driver().powerOn(index, { settingsText: "{" }), /^aborted 3 SyntaxError/);
		assert.deepEqual(await driver().ask(other, "time", 1000), ["sent 0 800000000"]);
	});

	test("limits: a machine grows to exactly the creation, and collects before it gives up", async () => {
		const index = await meter();
		const { slotsLive, slotBytes } = await driver().askStatistics(index);
		assert.equal(slotBytes, facts.slotBytes);
		assert.ok(slotsLive < 100, `${slotsLive} slots live in an idle clone`);
		// an object here is two slots: instance and property
		const most = Math.floor((4927 - slotsLive - 40) / 2);
		assert.deepEqual(await driver().ask(index, `slots ${most}`), ["sent ok"]);
		assert.ok((await driver().askStatistics(index)).slotsLive > 4880);
		assert.deepEqual(await driver().ask(index, "release"), ["sent ok"]);
		assert.deepEqual(await driver().ask(index, "garbage 30000"), ["sent 138890"]);
		assert.deepEqual(await driver().ask(index, "bytes 70000"), ["sent ok"]);
		assert.deepEqual(await driver().ask(index, "release"), ["sent ok"]);
		for (let i = 0; i < 20; i++) assert.deepEqual(await driver().ask(index, "bytes 35000"), ["sent ok"]);
		const statistics = await driver().askStatistics(index);
		assert.ok(statistics.chunkBytesLive > 35_000 && statistics.chunkBytesPeak <= 78_848 + 32);
		assert.ok(statistics.stackPeakSlots > 50 && statistics.stackPeakSlots < 512);
		assert.ok(statistics.meteringTicks > 100_000);
	});

	test("preload: shared state reads everywhere, is read-only where it is frozen and private where it is written", async () => {
		const [first, second] = [await meter(), await meter()];
		const shared = 'sent 3 1 meter 12 {"shared":3,"deadlineMilliseconds":1}';
		assert.deepEqual(await driver().ask(first, "readShared"), [shared]);
		assert.deepEqual(await driver().ask(first, "writeShared"), ["sent 1 1 1233"]);
		assert.deepEqual(await driver().ask(first, "writeShared"), ["sent 2 2 12334"]);
		assert.deepEqual(await driver().ask(second, "writeShared"), ["sent 1 1 1233"]);
		assert.deepEqual(await driver().ask(second, "promise"), ["sent later"]);
		const frozen: [string, RegExp][] = [
			["writeTable", /^aborted 3 TypeError: read-only buffer/],
			["writeMap", /^aborted 3 TypeError: .*read-only/],
			["writeBuiltIn", /^aborted 3 TypeError: set extra/],
		];
		const index = nextMeter++;
		for (const [command, end] of frozen) {
			await driver().powerOn(index);
			await driver().advance(index, 1000);
			assert.match((await driver().ask(index, command)).at(-1) ?? "", end);
		}
		assert.deepEqual(await driver().ask(await meter(), "readShared"), [shared]);
	});

	test("the C kernel is a host object of its machine; the flag of powerOn takes the TypeScript one", async () => {
		const native = await meter();
		const [answer = ""] = await driver().ask(native, "kernel 100");
		assert.match(answer, /^sent HostKernel 100 false/);
		await driver().powerCut(native);
		const twin = await meter({ typeScriptKernel: true });
		assert.match((await driver().ask(twin, "kernel 100"))[0] ?? "", /^sent NoKernel 100 false/);
	});

	test("collecting at every chance changes nothing", async () => {
		const often = new Driver(facts.collectOften());
		await often.start();
		await often.powerOn(0, { settingsText: JSON.stringify({ linkAtStart: true, layout: LAYOUT, tickEvery: 20 }) });
		await often.advance(0, 1000);
		const commands = ["readShared", "writeShared", "writeShared", "promise", "garbage 3000", "slots 700", "names 50"];
		const answers: Lines = [];
		for (const command of commands) answers.push(...(await often.ask(0, command)));
		assert.deepEqual(answers, [
			'sent 3 1 meter 12 {"shared":3,"deadlineMilliseconds":1}',
			"sent 1 1 1233",
			"sent 2 2 12334",
			"sent later",
			"sent 10890",
			"sent ok",
			"sent 50",
		]);
		often.target.samples(0, 100, true, rows(0, 100));
		await often.advance(0, 3000);
		assert.equal(often.take(0).filter((line) => line.startsWith("samples 50")).length, 40);
		await often.target.stop();
		assert.equal(often.failure, "");
	});
}
