import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FirmwareTarget, UPDATE_BLOCK_BYTES } from "../../src/messages/firmware-update.js";
import { DEFAULT_SETTINGS } from "../../src/meter/settings.js";
import { FIRMWARE_MINOR, FIRMWARE_VERSION, SECURITY_VERSION } from "../../src/meter/version.js";
import { FIRMWARE_A_SECTORS, KEY_SECTORS, SECTOR_BYTES, type SectorRange } from "../../src/storage/layout.js";
import { openBroker } from "../broker/open-broker.js";
import { buildEngine } from "../build/engine.js";
import { buildFirmware, bundleFirmware } from "../build/firmware.js";
import { LinuxXsTarget } from "../device/linux-xs.js";
import { Auditor } from "../fleet/auditor.js";
import { compareEnergy } from "../fleet/checks.js";
import { ConcentratorProcess } from "../fleet/concentrator-process.js";
import { FleetKeys } from "../fleet/keys.js";
import { Monitor } from "../fleet/monitor.js";
import { planFleet } from "../fleet/plan.js";
import { World } from "../fleet/world.js";
import type { MeterSummaryView, MeterView } from "../head-end/api.js";
import { sendFirmware } from "../head-end/sending-firmware.js";
import type { ImageView, UpdateView } from "../head-end/updates.js";
import { calendarRoot } from "../provisioning/calendar-root.js";
import { ROOT } from "../root.js";
import { seed } from "../seed.js";
import { KEY, signImage } from "../unit/firmware-update/world.js";

/** 2026-06-15T09:00:00Z. */
const START_UTC_SECONDS = 834_829_200;
const METERS = 2;
const STEP_MILLISECONDS = 1000;
/** The one that loses power in the middle of the transfer, inside a flash operation. */
const CUT_METER = 1;
const OFF_MILLISECONDS = 45_000;
const SECONDS_MAX = 900;

const folder = mkdtempSync(join(tmpdir(), "wattlock-update-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Flash operations of each meter in one area. */
class CountingWorld extends World {
	readonly erases = new Map<string, number>();
	readonly programmedBytes = new Map<string, number>();

	static area(address: number): string {
		const within = ({ firstSector, sectorCount }: SectorRange): boolean =>
			address >= firstSector * SECTOR_BYTES && address < (firstSector + sectorCount) * SECTOR_BYTES;
		if (within(KEY_SECTORS)) return "keys";
		return address >= FIRMWARE_A_SECTORS.firstSector * SECTOR_BYTES ? "image" : "other";
	}

	override flashErase(meter: number, sectorIndex: number): void {
		const name = `${meter} ${CountingWorld.area(sectorIndex * SECTOR_BYTES)}`;
		this.erases.set(name, (this.erases.get(name) ?? 0) + 1);
		super.flashErase(meter, sectorIndex);
	}

	override flashProgram(meter: number, address: number, bytes: Uint8Array): void {
		const name = `${meter} ${CountingWorld.area(address)}`;
		this.programmedBytes.set(name, (this.programmedBytes.get(name) ?? 0) + bytes.length);
		super.flashProgram(meter, address, bytes);
	}
}

/** The present firmware under the next minor version: one number of the bundle is another. */
async function nextFirmware(compiler: string): Promise<Uint8Array> {
	const text = await bundleFirmware(join(ROOT, "hosts", "linux", "main.ts"));
	const before = `var FIRMWARE_MINOR = ${FIRMWARE_MINOR};`;
	assert.equal(text.split(before).length, 2, `the bundle has "${before}" once`);
	const source = join(folder, "next.js");
	const archive = join(folder, "next.wlxa");
	writeFileSync(source, text.replace(before, `var FIRMWARE_MINOR = ${FIRMWARE_MINOR + 1};`));
	const { status, stderr } = spawnSync(compiler, ["-o", archive, `main=${source}`], { encoding: "utf8" });
	assert.equal(status, 0, stderr);
	return Uint8Array.from(readFileSync(archive));
}

test("two meters on XS get new firmware over the head end; power and head end fail in the middle", async (context) => {
	const began = process.cpuUsage();
	const { host, compiler } = await buildEngine();
	const { archive } = await buildFirmware();
	const body = await nextFirmware(compiler);
	const version = [0, FIRMWARE_MINOR + 1, 0] as const;
	const image = signImage({ version, target: FirmwareTarget.linuxXs, securityVersion: SECURITY_VERSION, body });

	// ---- a fleet whose registry has the signer's key
	const broker = openBroker("aedes");
	await broker.start();
	const keys = new FleetKeys({
		folder: join(folder, "head-end"),
		epoch: Math.floor(START_UTC_SECONDS / 86_400),
		days: 1,
		teslaIntervalSeconds: 900,
		domain: 1,
		calendarRoot,
		updateKey: KEY.publicKey,
		seed: seed >>> 0,
	});
	mkdirSync(join(folder, "store"));
	const headEnd = new ConcentratorProcess({
		brokerUrl: broker.url,
		storePath: join(folder, "store"),
		httpPort: 0,
		clock: "virtual",
		startUtcSeconds: START_UTC_SECONDS,
		quiet: true,
		security: {
			registryPath: join(folder, "head-end"),
			keyFile: keys.keyFile,
			concentratorPath: join(folder, "concentrator"),
		},
	});
	const world = new CountingWorld({
		seed: seed >>> 0,
		target: new LinuxXsTarget({ host, archive, threads: METERS }),
		broker,
		concentrator: headEnd,
		boards: planFleet({
			planSeed: seed >>> 0,
			seed: seed >>> 0,
			meters: METERS,
			startUtcSeconds: START_UTC_SECONDS,
			intervalSeconds: 60,
			readingSeconds: 10,
			registerCommitSeconds: DEFAULT_SETTINGS.registerCommitSeconds,
			mqtt: { ...DEFAULT_SETTINGS.mqtt, protocolVersion: 4, keepAliveSeconds: 600 },
			secured: true,
			recorded: false,
			cyclesPerBlock: 20,
		}),
		startUtcSeconds: START_UTC_SECONDS,
		powerOnSpreadMilliseconds: 3000,
	});
	keys.provision(world.boards);
	await headEnd.start();
	await world.start();
	const monitor = new Monitor(
		world,
		STEP_MILLISECONDS,
		world.boards.map((board) => new Auditor(keys.audited(board))),
	);
	const ids = world.boards.map(({ settings }) => settings.identifier);

	const http = async (method: string, path: string, given?: Uint8Array | object): Promise<unknown> => {
		const bytes = given instanceof Uint8Array;
		const answer = await fetch(`http://127.0.0.1:${headEnd.httpPort}${path}`, {
			method,
			...(given === undefined
				? {}
				: {
						body: bytes ? (given as Uint8Array<ArrayBuffer>) : JSON.stringify(given),
						headers: { "content-type": bytes ? "application/octet-stream" : "application/json" },
					}),
		});
		const result = (await answer.json()) as { error?: string };
		if (!answer.ok) throw new Error(`${answer.status} ${result.error}`);
		return result;
	};
	const step = async (): Promise<void> => {
		await world.step(STEP_MILLISECONDS, true);
		monitor.sample();
	};
	const meterView = async (id: string): Promise<MeterView> => (await http("GET", `/api/meters/${id}`)) as MeterView;
	const update = async (id: string): Promise<UpdateView> =>
		(await http("GET", `/api/meters/${id}/firmware`)) as UpdateView;

	try {
		for (let i = 0; i < 90; i++) {
			await step();
			const meters = (await http("GET", "/api/meters")) as MeterSummaryView[];
			if (i > 20 && meters.length === METERS && meters.every(({ reading }) => reading !== null)) break;
		}
		for (const id of ids) assert.equal((await meterView(id)).hello?.firmware, FIRMWARE_VERSION, `${id} before`);

		// ---- what nobody signed for this fleet is not even kept
		const file = Buffer.concat([image.manifest, image.signature, image.body]);
		const spoiled = Buffer.from(file);
		spoiled[spoiled.length - 1]! ^= 1;
		await assert.rejects(http("POST", "/api/firmware", spoiled), /400 no meter would take .* not what was signed/);
		const kept = (await http("POST", "/api/firmware", file)) as ImageView;
		assert.equal(kept.firmware, version.join("."));
		world.erases.clear();
		world.programmedBytes.clear();
		const orderedAt = world.nowMilliseconds;
		const lines: string[] = [];
		const sent = sendFirmware({
			bytes: file,
			url: `http://127.0.0.1:${headEnd.httpPort}/`,
			activate: true,
			wait: true,
			say: (line) => lines.push(line),
			progress: () => {},
			progressEnd: () => {},
			pollMilliseconds: 100,
		});
		sent.catch(() => {}); // looked at in the end
		while (!lines.some((line) => line.startsWith("ordered"))) await sleep(10);

		// ---- the transfer, with a power cut for one meter and a kill -9 of the head end
		const endedAt = new Map<string, number>();
		let wasCut = false;
		let wasKilled = false;
		while (endedAt.size < METERS) {
			assert.ok(
				world.nowMilliseconds < orderedAt + SECONDS_MAX * 1000,
				`SEED=${seed}: ${JSON.stringify(await Promise.all(ids.map(update)))}`,
			);
			world.peersChanged(); // the head end's own second counts, too
			await step();
			for (const [index, id] of ids.entries()) {
				const view = await update(id);
				if (view.isEnded && !endedAt.has(id)) endedAt.set(id, world.nowMilliseconds);
				if (view.blocksMissing === null) continue;
				const done = 1 - view.blocksMissing / view.blockCount;
				if (!wasCut && index === CUT_METER && done > 0.4) {
					wasCut = true;
					world.cutPower(world.boards[index]!, 5, 3, OFF_MILLISECONDS);
				} else if (wasCut && !wasKilled && index !== CUT_METER && done > 0.6) {
					wasKilled = true;
					await headEnd.kill();
					await headEnd.start(world.utcSeconds);
					world.peersChanged();
				}
			}
		}
		assert.ok(wasCut && wasKilled, "both failures were made");
		assert.equal(await sent, 0, lines.join("\n"));
		assert.equal(lines.filter((line) => /: confirmed \(/.test(line)).length, METERS, lines.join("\n"));

		// ---- both run the new firmware for good, and have measured without a gap
		for (const board of world.boards) world.cutPower(board, 0, 0, 5000);
		for (let i = 0; i < 40; i++) await step();
		world.unload();
		for (let i = 0; i < 75; i++) await step();
		await headEnd.collect();
		for (let i = 0; i < 20; i++) await step();
		for (const [index, id] of ids.entries()) {
			const board = world.boards[index]!;
			const said = `SEED=${seed} ${id}`;
			const view = await update(id);
			const meter = await meterView(id);
			assert.equal(view.phase, "confirmed", `${said}: ${JSON.stringify(view)}`);
			assert.equal(meter.hello?.firmware, version.join("."), `${said}: after one more power cut`);
			assert.equal(meter.monotone.profile + meter.monotone.readings, 0, `${said}: registers went back`);
			assert.equal(meter.conflicts + meter.profileMissing + meter.series, 0, `${said}: rows`);
			assert.equal(board.powerCuts, index === CUT_METER ? 2 : 1, `${said}: power cuts`);
			for (const direction of ["import", "export"] as const) {
				const register = direction === "import" ? meter.reading!.activeEnergyImport : meter.reading!.activeEnergyExport;
				const energy = compareEnergy(board, register, direction, monitor.heard[index]!, {
					stepMilliseconds: STEP_MILLISECONDS,
					fresh: true,
				});
				assert.ok(energy.ok, `${said} ${direction}: ${JSON.stringify(energy)}`);
			}
			const minutes = (endedAt.get(id)! - orderedAt) / 60_000;
			assert.ok(view.commands < 1.25 * view.blockCount, `${said}: ${view.commands} commands`);
			context.diagnostic(
				`${id}: ${body.length} bytes, ${Math.ceil(body.length / UPDATE_BLOCK_BYTES)} blocks, ${view.blocks} sent; ` +
					`${view.commands} commands of ${view.commandBytes} bytes, ${view.statuses} statuses, ${view.held} held, ` +
					`refusals ${JSON.stringify(view.refusals)}; ${minutes.toFixed(1)} minutes; erases: ` +
					`${world.erases.get(`${index} keys`)} keys, ${world.erases.get(`${index} image`)} image, ` +
					`${world.erases.get(`${index} other`) ?? 0} other; bytes programmed: ` +
					`${world.programmedBytes.get(`${index} keys`)} keys, ${world.programmedBytes.get(`${index} image`)} image`,
			);
		}
		assert.equal(monitor.keyReuses, 0, "keys that sealed two messages");
		assert.equal(
			world.counts.aborted.reduce((sum, count, reason) => sum + (reason === 4 ? 0 : count), 0),
			0,
			"aborts",
		);
		assert.equal(world.counts.aborted[4], METERS, "each restarted itself once");
		assert.equal(world.counts.settleTimeouts, 0, "steps in which the network did not run empty");
	} finally {
		await world.stop();
		await headEnd.stop();
		await broker.stop();
		keys.close();
	}
	const used = process.cpuUsage(began);
	context.diagnostic(`${((used.user + used.system) / 1e6).toFixed(1)} s of CPU in this process`);
});
