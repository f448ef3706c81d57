import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FrameWriter, ToTarget } from "../../board/channel.js";
import { buildEngine } from "../../build/engine.js";
import { buildFirmware } from "../../build/firmware.js";
import { LinuxXsTarget } from "../../device/linux-xs.js";
import { ROOT } from "../../root.js";
import { conformance } from "./conformance.js";
import { Driver } from "./driver.js";

let host = "";
let archive = "";
let driver: Driver;

before(async () => {
	// WATTLOCK_SANITIZE=1: the same with address and undefined-behaviour checks, some 20 times slower
	({ host } = await buildEngine({ sanitize: process.env["WATTLOCK_SANITIZE"] === "1" }));
	({ archive } = await buildFirmware({
		entry: join(ROOT, "test-harness", "unit", "device", "firmware", "trial.ts"),
		name: "trial",
	}));
	driver = new Driver(new LinuxXsTarget({ host, archive, threads: 2 }));
	await driver.start();
});

after(async () => {
	await driver.target.stop();
});

conformance(() => driver, {
	slotBytes: 32,
	chunkHeaderBytes: 16,
	endlessLoops: true,
	collectOften: () => new LinuxXsTarget({ host, archive, threads: 1, collectOften: true }),
});

test("300 meters over two threads, each answered once and in order", async () => {
	const first = 1000;
	const count = 300;
	const indexes = Array.from({ length: count }, (_, i) => first + i);
	await Promise.all(indexes.map((index) => driver.powerOn(index, { settingsText: '{"tickEvery":100}' })));
	for (let step = 1; step <= 5; step++)
		await Promise.all(indexes.map((index) => driver.advance(index, 1000 + step * 200)));
	for (const index of indexes) {
		const lines = driver.take(index);
		assert.equal(lines.filter((line) => line.startsWith("tick")).length, 10);
		assert.equal(lines.at(-1), "done 2000 2100");
	}
	const same = await Promise.all(indexes.map((index) => driver.askStatistics(index)));
	assert.equal(new Set(same.map(({ meteringTicks }) => meteringTicks)).size, 1, "metering is deterministic");
	await Promise.all(indexes.map((index) => driver.powerCut(index)));
});

/** Frames straight into a host. @returns its exit code and what it said */
async function talk(bytes: Uint8Array): Promise<{ code: number | null; said: string }> {
	const child = spawn(host, [archive], { stdio: ["pipe", "ignore", "pipe"] });
	let said = "";
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		said += text;
	});
	child.stdin.on("error", () => {});
	child.stdin.write(bytes);
	const timer = setTimeout(() => child.stdin.end(), 2000);
	const [code] = (await once(child, "close")) as [number | null];
	clearTimeout(timer);
	return { code, said };
}

test("hostile frames end the host with one line and exit code 2", async () => {
	const writer = new FrameWriter();
	const seed = new Uint8Array(32);
	const powerOn = (sectorBytes: number, sectorCount: number): FrameWriter =>
		writer
			.begin(0, ToTarget.powerOn, 66)
			.f64(0)
			.f64(0)
			.u32(sectorBytes)
			.u32(sectorCount)
			.u32(0)
			.u32(0)
			.bytes(seed)
			.bytes(Buffer.from("{}"));
	const cases: [string, Buffer][] = [
		["unknown kind", writer.begin(0, 99, 0).take()],
		["kind 0", writer.begin(0, 0, 0).take()],
		["short advance", writer.begin(0, ToTarget.advance, 4).u32(0).take()],
		["meter beyond all", writer.begin(5_000_000, ToTarget.advance, 8).f64(0).take()],
		["rows that are none", writer.begin(0, ToTarget.samples, 11).u32(2).u32(0).bytes(new Uint8Array(3)).take()],
		["no such input", writer.begin(0, ToTarget.input, 8).u32(77).i32(0).take()],
		["no such link event", writer.begin(0, ToTarget.linkEvent, 1).u8(9).take()],
		["no such query", writer.begin(0, ToTarget.query, 4).u32(9).take()],
		["sectors that are none", powerOn(3000, 4).take()],
		["too much flash", powerOn(4096, 4_000_000).take()],
		["on twice", Buffer.concat([powerOn(4096, 4).take(), powerOn(4096, 4).take()])],
		[
			"loaded beyond flash",
			Buffer.concat([writer.begin(0, ToTarget.flashLoad, 5).u32(16_384).u8(0).take(), powerOn(4096, 4).take()]),
		],
		["endless frame", Buffer.from([0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 3, 0, 0, 0])],
		["reserved bytes", Buffer.from([8, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0])],
	];
	for (const [name, bytes] of cases) {
		const { code, said } = await talk(bytes);
		assert.equal(code, 2, `${name}: ${said}`);
		assert.match(said, /^wattlock-host: protocol: [^\n]+\n$/, name);
	}
	// and the end of the stream is no error, even inside a frame
	assert.deepEqual(await talk(writer.begin(0, ToTarget.advance, 8).f64(0).take().subarray(0, 15)), {
		code: 0,
		said: "",
	});
});

test("a host that dies is reported once, a missing one is explained, stop leaves no process", async () => {
	const target = new LinuxXsTarget({ host, archive, threads: 1 });
	const other = new Driver(target);
	await other.start();
	const id = target.processId!;
	process.kill(id, "SIGKILL");
	assert.match(await other.whenFailed(), /SIGKILL/);
	await target.stop();

	const gone = new LinuxXsTarget({ host: join(ROOT, "build", "no-such-host"), archive });
	await assert.rejects(new Driver(gone).start(), /wattlock build/);
	const empty = new LinuxXsTarget({ host, archive: join(ROOT, "package.json") });
	await assert.rejects(new Driver(empty).start(), /not a firmware archive/);

	const busy = new LinuxXsTarget({ host, archive, threads: 1 });
	const last = new Driver(busy);
	await last.start();
	await last.powerOn(0);
	busy.linkData(0, Buffer.from("loop"));
	const running = busy.processId!;
	await busy.stop();
	assert.throws(() => readFileSync(`/proc/${running}/status`), "the process is gone");
	assert.equal(last.failure, "");
});
