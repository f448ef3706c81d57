import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ReadingFlag } from "../../../src/messages/reading.js";
import { parseSettings } from "../../../src/meter/settings.js";
import { FrameWriter, ToTarget } from "../../board/channel.js";
import { SparseFlash } from "../../board/sparse-flash.js";
import { buildFirmware } from "../../build/firmware.js";
import {
	buildModdable,
	findModdable,
	generateModdable,
	KNOWN_ANSWERS_MANIFEST,
	METER_MANIFEST,
	type ModdableImage,
} from "../../build/moddable.js";
import { runMeter, runProgram, threePhases } from "../../build/moddable-run.js";
import { InProcessTarget } from "../../device/in-process.js";
import { LinuxXsTarget } from "../../device/linux-xs.js";
import type { Target, TargetEvents } from "../../device/target.js";
import { ROOT } from "../../root.js";
import { tool } from "../../tools.js";
import { loadKnownAnswers } from "../../vectors/known-answers/load.js";
import { synthesizeBlock } from "../../waveforms/block.js";

const { skip } = tool("MODDABLE");
const TARGET = "x-cli-lin";

interface Manifest {
	readonly platforms: Readonly<Record<string, { readonly include?: string; readonly error?: string }>>;
	readonly modules: Readonly<Record<string, string>>;
	readonly preload: readonly string[];
}

/** `wattlock` as a process of its own. */
function wattlock(parameters: readonly string[], moddable: string | undefined): { code: number; stderr: string } {
	const environment: NodeJS.ProcessEnv = { ...process.env };
	delete environment["MODDABLE"];
	if (moddable !== undefined) environment["MODDABLE"] = moddable;
	const { status, stderr } = spawnSync(
		process.execPath,
		[
			"--import",
			"tsx",
			"-e",
			'import("./test-harness/wattlock.ts").then(({ main }) => main(process.argv))',
			"--",
			"x",
		].concat(parameters),
		{ cwd: ROOT, env: environment, encoding: "utf8" },
	);
	return { code: status ?? -1, stderr };
}

test("manifest.json has every room of src, under the name that it has on disk, and preloads it", () => {
	const manifest = JSON.parse(readFileSync(join(ROOT, METER_MANIFEST), "utf8")) as Manifest;
	const rooms = readdirSync(join(ROOT, "src")).filter((room) =>
		readdirSync(join(ROOT, "src", room)).some((file) => file.endsWith(".ts")),
	);
	const mapped = Object.entries(manifest.modules).filter(([name]) => name.startsWith("src/"));
	for (const room of rooms) assert.ok(`src/${room}/*` in manifest.modules, `src/${room} is not in ${METER_MANIFEST}`);
	for (const [name, source] of mapped) assert.equal(source, `./build/moddable/js/${name}`);
	assert.ok(manifest.preload.includes("src/*"));
	assert.ok(manifest.platforms["..."]?.error, "another platform gets a clear error");
	assert.ok(existsSync(join(ROOT, manifest.platforms[TARGET]?.include ?? "")));
});

test("wattlock moddable: one line and exit code 2 when it cannot run", () => {
	const cases: readonly (readonly [readonly string[], string | undefined, RegExp])[] = [
		[["moddable"], undefined, /^wattlock: MODDABLE is not set: .*\n$/],
		[["moddable"], join(ROOT, "docs"), /^wattlock: MODDABLE is .*docs, which holds no Moddable SDK .*\n$/],
		[["moddable", "--target", "esp32"], undefined, /Allowed: x-cli-lin/],
	];
	for (const [parameters, moddable, expected] of cases) {
		const { code, stderr } = wattlock(parameters, moddable);
		assert.equal(code, 2, stderr);
		assert.match(stderr, expected);
	}
});

let meterImage: Promise<ModdableImage> | undefined;

/** The meter's image; built once for all tests here. */
function buildMeter(): Promise<ModdableImage> {
	meterImage ??= (async () => {
		await generateModdable();
		const image = await buildModdable({ sdk: findModdable(), manifest: METER_MANIFEST, target: TARGET });
		return image;
	})();
	return meterImage;
}

test("known answers on the engine of the SDK, preloaded, memory of the ESP32-C6", { skip }, async () => {
	await generateModdable();
	const sdk = findModdable();
	const image = await buildModdable({ sdk, manifest: KNOWN_ANSWERS_MANIFEST, target: TARGET });
	const { exitCode, lines } = await runProgram(image.program, () => {});
	assert.equal(exitCode, 0, lines.join("\n"));
	assert.equal(lines.filter((line) => line.startsWith("ok ")).length, Object.keys(loadKnownAnswers()).length);
});

test("no module of the firmware keeps state: it would be RAM, or read-only when it is written", { skip }, async () => {
	assert.deepEqual((await buildMeter()).linkerWarnings, []);
});

test("another platform than those with a host is refused with a line that says which", { skip }, () => {
	const { folder, tools } = findModdable();
	const { status, stdout, stderr } = spawnSync(
		join(tools, "mcconfig"),
		["-p", "esp32/esp32c6", "-o", join(ROOT, "build", "moddable", "out"), join(ROOT, METER_MANIFEST)],
		{ env: { ...process.env, MODDABLE: folder, PATH: `${tools}:${process.env["PATH"]}` }, encoding: "utf8" },
	);
	assert.notEqual(status, 0);
	assert.match(stdout + stderr, /no host for this platform; allowed: x-cli-lin/);
});

test("the meter runs: waveform, C kernel, MQTT over TCP, readings", { skip }, async () => {
	const run = await runMeter((await buildMeter()).program, 3, 60);
	assert.ok(run.readings.length >= 3, run.log.join("\n"));
	const indexes = run.readings.map(({ readingIndex }) => readingIndex);
	assert.deepEqual(
		indexes,
		[...new Set(indexes)].sort((a, b) => a - b),
		"readings count up",
	);
	const settled = run.readings.filter(({ flags }) => (flags & ReadingFlag.frequencyInvalid) === 0);
	assert.ok(settled.length >= 2, `${settled.length} readings with a frequency`);
	for (const reading of settled) {
		let milliwatts = 0;
		for (const phase of reading.phases) {
			milliwatts += phase.powerMilliwatts;
			assert.ok(
				Math.abs(phase.voltageMillivolts / run.referenceMillivolts - 1) < 1e-4,
				`${phase.voltageMillivolts} mV`,
			);
		}
		assert.ok(Math.abs(milliwatts / run.referenceMilliwatts - 1) < 1e-4, `${milliwatts} mW`);
		assert.equal(reading.frequencyMillihertz, 50_000);
	}
	// What CI stops at: the design's limits for live memory.
	assert.ok(run.atEnd.slotsLive < 3000, `${run.atEnd.slotsLive} slots live`);
	assert.ok(run.atEnd.chunkBytesLive < 48 * 1024, `${run.atEnd.chunkBytesLive} B of chunks live`);
});

const SECTOR_BYTES = 4096;
const SECTOR_COUNT = 256;

test("power cuts and full memory: the machine goes at once, the board's flash is what the meter wrote, and it starts again", {
	skip,
}, async () => {
	const target = new LinuxXsTarget({ host: (await buildMeter()).program, archive: "meter" });
	const flash = new SparseFlash(SECTOR_BYTES, SECTOR_COUNT);
	let answer: ((what: string) => void) | undefined;
	const events: TargetEvents = {
		done: () => answer?.("done"),
		poweredOff: (_meter, operations) => answer?.(`off after ${operations}`),
		aborted: (_meter, reason, text) => answer?.(`aborted ${reason}: ${text}`),
		failed: (reason) => answer?.(`failed: ${reason}`),
		flashProgram: (_meter, address, bytes) => flash.program(address, bytes),
		flashErase: (_meter, sectorIndex) => flash.erase(sectorIndex),
		linkOpen: () => target.linkClosed(0), // no network
		linkSend: () => {},
		linkClose: () => {},
		output: () => {},
		log: () => {},
		statistics: () => {},
		clockSet: () => {},
		opticalSend: () => {},
	};
	const ask = (send: () => void): Promise<string> =>
		new Promise((resolve) => {
			answer = resolve;
			send();
		});
	const settingsText = JSON.stringify({ identifier: "00124b0000c0ffee", security: "plain" });
	const powerOn = (now: number, cutAt: number, tornBytes: number, settings = settingsText): Promise<string> =>
		ask(() => {
			for (const { address, bytes } of flash.pieces()) target.flashLoad(0, address, bytes);
			target.powerOn(0, {
				nowMilliseconds: now,
				utcSeconds: 850_000_000 + now / 1000,
				sectorBytes: SECTOR_BYTES,
				sectorCount: SECTOR_COUNT,
				bootReason: 0,
				typeScriptKernel: false,
				entropySeed: new Uint8Array(32),
				deviceKey: new Uint8Array(32).fill(1),
				settingsText: settings,
			});
			if (cutAt > 0) target.powerCut(0, cutAt, tornBytes);
		});
	await target.start(events);
	try {
		let now = 0;
		let cutInside = 0;
		for (let cycle = 1; cycle <= 12; cycle++) {
			const tornBytes = cycle * 5;
			const started = await powerOn(now, cycle, tornBytes);
			assert.equal(started, "done", `cycle ${cycle}`);
			let ended = started;
			while (ended === "done" && now < cycle * 600_000) {
				now += 10_000;
				ended = await ask(() => target.advance(0, now));
			}
			if (ended === "done") ended = await ask(() => target.powerCut(0, 0, 0));
			else cutInside++;
			assert.match(ended, /^off after \d+$/, `cycle ${cycle}`);
		}
		assert.ok(cutInside >= 8, `${cutInside} of 12 cuts inside a flash operation`);
		// Settings that do not fit the memory of an ESP32-C6: the machine says so, and the next one is whole.
		const long = settingsText.replace("{", `{"note":"${"x".repeat(100_000)}",`);
		assert.match(await powerOn(now, 0, 0, long), /^aborted 1: /);
		assert.match(await powerOn(now, 0, 0, "{"), /^aborted 3: SyntaxError/);
		assert.equal(await powerOn(now, 0, 0), "done");
		assert.equal(await ask(() => target.advance(0, now + 1000)), "done");
	} finally {
		await target.stop();
	}
});

test("hostile frames end the host with one line and exit code 2", { skip }, async () => {
	const { program } = await buildMeter();
	const frame = (kind: number, payloadLength: number, meter = 0): Buffer => {
		const writer = new FrameWriter();
		writer.begin(meter, kind, payloadLength).bytes(Buffer.alloc(payloadLength));
		return Buffer.from(writer.take());
	};
	const tooLong = Buffer.from(frame(ToTarget.samples, 8));
	tooLong.writeUInt32LE(0x7fff_ffff, 0);
	const reserved = Buffer.from(frame(ToTarget.samples, 8));
	reserved[10] = 1;
	const oddRows = Buffer.from(frame(ToTarget.samples, 8 + 7));
	oddRows.writeUInt32LE(2, 12);
	const cases: readonly (readonly [string, Buffer])[] = [
		["unknown kind", frame(99, 0)],
		["kind of the other direction", frame(64, 8)],
		["short powerOn", frame(ToTarget.powerOn, 63)],
		["powerOn without flash", frame(ToTarget.powerOn, 66)],
		["advance with 7 bytes", frame(ToTarget.advance, 7)],
		["length beyond the limit", tooLong],
		["another meter", frame(ToTarget.advance, 8, 1)],
		["reserved bytes", reserved],
		["rows that are not whole", oddRows],
		["stream that ends inside a frame", frame(ToTarget.advance, 8).subarray(0, 15)],
		["input that does not exist", Buffer.from(frame(ToTarget.input, 8)).fill(9, 12, 13)],
	];
	for (const [what, bytes] of cases) {
		const child = spawn(program, [], { stdio: ["pipe", "ignore", "pipe"] });
		let complaint = "";
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			complaint += text;
		});
		child.stdin.on("error", () => {}); // it may have gone already
		child.stdin.end(bytes);
		const [code] = (await once(child, "close")) as [number | null];
		assert.equal(code, 2, `${what}: ${complaint}`);
		assert.match(complaint, /^wattlock: [^\n]+\n$/, what);
	}
});

/** A scene without a network: minutes of waveform, a power cut inside a flash operation, and minutes more. */
async function playScene(target: Target): Promise<{ flash: string; outputs: string; ended: string }> {
	const settingsText = JSON.stringify({ identifier: "00124b0000c0ffee", security: "plain", intervalSeconds: 60 });
	const settings = parseSettings(settingsText);
	const block = synthesizeBlock(settings.layout, settings, threePhases(230, 5, Math.PI / 6, settings.layout));
	const flash = new SparseFlash(SECTOR_BYTES, SECTOR_COUNT);
	const outputs: string[] = [];
	let answer: ((what: string) => void) | undefined;
	await target.start({
		done: () => answer?.("done"),
		poweredOff: () => answer?.("off"),
		aborted: (_meter, reason, text) => answer?.(`aborted ${reason}: ${text}`),
		failed: (reason) => answer?.(`failed: ${reason}`),
		flashProgram: (_meter, address, bytes) => flash.program(address, bytes),
		flashErase: (_meter, sectorIndex) => flash.erase(sectorIndex),
		output: (_meter, which, value) => outputs.push(`${which}=${value}`),
		linkOpen: () => {}, // never answered
		linkSend: () => {},
		linkClose: () => {},
		log: () => {},
		statistics: () => {},
		clockSet: () => {},
		opticalSend: () => {},
	});
	const ask = (send: () => void): Promise<string> =>
		new Promise((resolve) => {
			answer = resolve;
			send();
		});
	const runUntil = async (from: number, until: number): Promise<string> => {
		for (const { address, bytes } of flash.pieces()) target.flashLoad(0, address, bytes);
		let ended = await ask(() =>
			target.powerOn(0, {
				nowMilliseconds: from,
				utcSeconds: 850_000_000 + from / 1000,
				sectorBytes: SECTOR_BYTES,
				sectorCount: SECTOR_COUNT,
				bootReason: 0,
				typeScriptKernel: target.name === "in-process",
				entropySeed: new Uint8Array(32).fill(9),
				deviceKey: new Uint8Array(32).fill(1),
				settingsText,
			}),
		);
		target.samples(0, block.rowCount, true, block.rows);
		if (from === 0) target.powerCut(0, 7, 13);
		for (let now = from + 700; ended === "done" && now <= until; now += 700)
			ended = await ask(() => target.advance(0, now));
		return ended;
	};
	try {
		const first = await runUntil(0, 400_000);
		const second = await runUntil(400_000, 600_000);
		const content = createHash("sha256");
		for (const { address, bytes } of flash.pieces()) content.update(`${address}:`).update(bytes);
		return { flash: content.digest("hex"), outputs: outputs.join(" "), ended: `${first}, ${second}` };
	} finally {
		await target.stop();
	}
}

test("the same scene leaves the same flash and pulses on Node, on XS for Linux and on the SDK's engine", {
	skip,
}, async () => {
	const { archive } = await buildFirmware();
	const onNode = await playScene(new InProcessTarget());
	const onLinux = await playScene(new LinuxXsTarget({ archive, threads: 1 }));
	const onModdable = await playScene(new LinuxXsTarget({ host: (await buildMeter()).program, archive: "meter" }));
	assert.equal(onNode.ended, "off, done");
	assert.ok(onNode.outputs.length > 100, "pulses were counted");
	assert.deepEqual(onLinux, onNode);
	assert.deepEqual(onModdable, onNode);
});
