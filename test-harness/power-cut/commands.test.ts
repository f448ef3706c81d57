import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import type { Actuators } from "../../src/commands/actuators.js";
import { Source } from "../../src/commands/authorisation.js";
import { AuditCode } from "../../src/messages/audit.js";
import {
	CommandKind,
	createLoadLimit,
	createPrices,
	createTariffTable,
	encodeLoadLimit,
	encodePrices,
	encodeTariffTable,
} from "../../src/messages/command.js";
import { Outcome, type Receipt } from "../../src/messages/receipt.js";
import { anchorsInRows, CommandLog, type CreatedCommand } from "../accountability/command-log.js";
import { MeterAudit } from "../accountability/meter-audit.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { seed } from "../seed.js";
import { auditOf, command, FakeDevice, NOW, newFlash, World } from "../unit/commands/world.js";
import { survives } from "./log-model.js";

const TEARS: readonly { tornBytes: number; tear: "prefix" | "scattered"; seed: number }[] = [
	...[0, 1, 16, 33, 64, 240, 4096].map((tornBytes) => ({ tornBytes, tear: "prefix" as const, seed })),
	...[1, 2].map((n) => ({ tornBytes: 0, tear: "scattered" as const, seed: seed + n })),
];

const limit = { ...createLoadLimit(), limitWatts: 3000 };
const prices = createPrices();
prices.validFromSeconds = 0;
prices.tariffCount = 1;
prices.prices[0] = 31_000;
const table = createTariffTable();
table.validFromSeconds = 0;
table.switchCount = 1;
table.tariffs[0] = 2;

interface Life {
	readonly name: string;
	readonly message: Uint8Array;
	/** Whether its effect can be seen now. */
	holds(world: World): boolean;
	/** Its effect is in what survives. */
	readonly survives: boolean;
}

const LIVES: readonly Life[] = [
	{
		name: "disconnect",
		message: command(CommandKind.disconnect, 9, Uint8Array.of(1)),
		holds: ({ device }) => device.relay === false,
		survives: true,
	},
	{
		name: "load limit",
		message: command(CommandKind.loadLimit, 9, (view, at) => encodeLoadLimit(limit, view, at)),
		holds: ({ supply }) => supply.state.loadLimit.limitWatts === 3000,
		survives: true,
	},
	{
		name: "price",
		message: command(CommandKind.price, 9, (view, at) => encodePrices(prices, view, at)),
		holds: ({ supply }) => supply.priceOf(1) === 31_000,
		survives: true,
	},
	{
		name: "tariff calendar",
		message: command(CommandKind.tariffCalendar, 9, (view, at) => encodeTariffTable(table, view, at)),
		holds: ({ supply }) => supply.state.hasCalendar && supply.state.calendar.tariffs[0] === 2,
		survives: true,
	},
	{
		name: "configure",
		message: command(CommandKind.configure, 9, Uint8Array.of(2, 1, 0, 0, 0, 5, 2, 0, 0, 3, 0x84)),
		holds: ({ supply }) => supply.state.readingSeconds === 5 && supply.state.intervalSeconds === 900,
		survives: true,
	},
	{
		name: "profile read",
		message: command(CommandKind.profileRead, 9, Uint8Array.of(0, 0, 0, 1, 0, 1)),
		holds: ({ device }) => device.done.includes("profile 1 1"),
		survives: false,
	},
];

/** Counts what the handler makes the meter do, through all restarts. */
class Counts {
	started = 0;
	ended = 0;

	wrap = (actuators: Actuators): Actuators =>
		new Proxy(actuators, {
			get: (target, name) => {
				const value = Reflect.get(target, name, target) as unknown;
				if (typeof value !== "function") return value;
				const isCounted = name !== "answer" && name !== "holds";
				return (...args: unknown[]) => {
					// A configure command comes as one call for each parameter.
					const isLast = isCounted && (name !== "configure" || args[2] === true);
					if (isLast) this.started++;
					const result = (value as (...all: unknown[]) => unknown).apply(target, args);
					if (isLast) this.ended++;
					return result;
				};
			},
		});
}

const METER = "000d6f0000001234";
let cuts = 0;

for (const life of LIVES)
	test(`${life.name}: a cut at every write of its life, and at every one of the recovery`, () => {
		// A meter with a past: an earlier command, so that blob and log are not empty.
		const past = new World();
		assert.equal(past.send(command(CommandKind.connect, 1, Uint8Array.of(0))), Status.ok);
		const image = past.flash.image;
		for (const options of TEARS)
			for (let operation = 1, finished = false; !finished; operation++) {
				const flash = newFlash({ ...options, image });
				const counts = new Counts();
				const device = new FakeDevice();
				let receipt: Receipt | undefined;
				const open = () => new World(flash, device, new NodeCrypto(), counts.wrap);
				const first = open();
				flash.powerCut(operation, options.tornBytes);
				finished = survives(() => {
					assert.equal(first.send(life.message), Status.ok);
					receipt = first.receipts().find(({ rowSequence }) => rowSequence > 0);
				});
				cuts++;
				assert.equal(receipt !== undefined, finished);
				const cutImage = flash.image;
				const afterCut = { started: counts.started, ended: counts.ended, done: [...device.done], relay: device.relay };
				for (let again = 1, recovered = false; !recovered; again++) {
					const where = `${life.name}, seed ${seed}, ${options.tear} ${options.tornBytes}, cut ${operation}, then ${again}`;
					flash.restart();
					flash.image = cutImage;
					Object.assign(counts, { started: afterCut.started, ended: afterCut.ended });
					device.done = [...afterCut.done];
					device.relay = afterCut.relay;
					flash.powerCut(again, options.tornBytes);
					recovered = survives(() => open());
					cuts++;
					flash.restart();

					const world = open();
					const told = world.receipts();
					// The same command comes again, sealed anew: a head end that heard nothing.
					const status = world.send(life.message);
					const answers = world.receipts();
					const answer = answers.find(({ rowSequence }) => rowSequence > 0);
					assert.ok(answer, `${where}: a receipt`);
					assert.ok(counts.started <= 1, `${where}: started ${counts.started} times`);
					if (finished) assert.equal(status, Status.replayed, where);
					if (answer.outcome === Outcome.executed) {
						assert.equal(answer.status, Status.ok, where);
						assert.equal(counts.ended, 1, `${where}: a receipt "ok" without execution`);
						assert.ok(life.holds(world), `${where}: executed, and it is not seen`);
					} else {
						assert.equal(answer.outcome, Outcome.interrupted, where);
						assert.ok(!finished, `${where}: interrupted after it was done`);
						assert.equal(status, Status.replayed, where);
						if (answer.detail === 1) assert.ok(life.holds(world), `${where}: said to be in force`);
						else if (life.survives) assert.ok(!life.holds(world), `${where}: in force and not said`);
						assert.deepEqual(told[0], answer, `${where}: told unasked`);
					}
					const verdict = auditOf(world).verify();
					assert.equal(verdict.status, "ok", `${where}: ${verdict.text}`);
					assert.equal(verdict.anchoredSequence, world.audit.headSequence, where);

					// And the meter goes on.
					assert.equal(world.send(command(CommandKind.disconnect, 10, Uint8Array.of(2), NOW + 60)), Status.ok, where);
					assert.equal(device.relay, false, where);
					assert.equal(world.send(command(CommandKind.connect, 11, Uint8Array.of(0), NOW + 60)), Status.ok, where);
					assert.equal(device.relay, true, where);
				}
			}
		console.log(`${cuts} cuts so far`);
	});

test("a life of many cuts: nothing twice, every receipt fits the log, every row fits its chain", () => {
	let random = seed;
	const below = (limit: number) => {
		random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fff_ffff;
		return (random >>> 8) % limit;
	};
	const folder = mkdtempSync(join(tmpdir(), "wattlock-life-"));
	try {
		const log = CommandLog.open(join(folder, "life.log"), NOW);
		const audit = new MeterAudit(METER);
		const flash = newFlash({ tear: "scattered", seed });
		const device = new FakeDevice();
		const started = new Map<string, number>();
		let current = "";
		const wrap = (actuators: Actuators): Actuators =>
			new Proxy(actuators, {
				get: (target, name) => {
					const value = Reflect.get(target, name, target) as unknown;
					if (typeof value !== "function") return value;
					return (...args: unknown[]) => {
						if (name !== "answer" && name !== "holds") started.set(current, (started.get(current) ?? 0) + 1);
						return (value as (...all: unknown[]) => unknown).apply(target, args);
					};
				},
			});
		let world = new World(flash, device, new NodeCrypto(), wrap);
		const created: CreatedCommand[] = [];
		const verdicts = new Map<string, number>();
		let lives = 1;
		for (let step = 0; step < 500; step++) {
			world.now += 60_000;
			if (below(4) === 0) flash.powerCut(1 + below(12), 0);
			const alive = survives(() => {
				const what = below(6);
				if (what === 0) world.audit.append(NOW + step, 0x010a, step);
				else if (what === 1) {
					// The concentrator tries the newest id, or the next one.
					const next = command(
						CommandKind.connect,
						1,
						Uint8Array.of(0),
						NOW + 60,
						log.placeOf(log.file.head + below(2)),
					);
					assert.equal(world.send(next, Source.concentrator), Status.notAuthorised);
				} else {
					if (what > 3 || created.length === 0) {
						const kind = below(2) === 0 ? CommandKind.disconnect : CommandKind.connect;
						created.push(
							log.create(NOW + step, "desk", "headEnd", [METER], kind, NOW + 6000, (view, at) => {
								view.setUint8(at, 0);
								return 1;
							}),
						);
					}
					const chosen = created[Math.max(0, created.length - 1 - below(3))]!;
					current = chosen.id;
					log.sent(NOW + step, chosen.id);
					world.send(chosen.bytes);
				}
				for (const receipt of world.receipts()) {
					const verdict = log.receipt(NOW + step, METER, receipt);
					verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
					audit.addAnchor(receipt.headSequence, receipt.headChain, `receipt of step ${step}`);
				}
			});
			if (!alive)
				for (let up = false; !up; ) {
					flash.restart();
					if (below(3) === 0) flash.powerCut(1 + below(3), 0);
					up = survives(() => {
						world = new World(flash, device, new NodeCrypto(), wrap);
						lives++;
					});
				}
			if (step % 20 === 19) {
				flash.restart();
				auditOf(world, audit);
			}
		}
		flash.restart();
		auditOf(world, audit);
		for (const [id, count] of started) assert.ok(count <= 1, `seed ${seed}: ${id} ${count} times`);
		for (const verdict of ["other bytes", "other anchor", "foreign meter", "not there"])
			assert.equal(verdicts.get(verdict) ?? 0, 0, `seed ${seed}: ${verdict}`);
		const verdict = audit.verify();
		assert.equal(verdict.status, "ok", `seed ${seed}: ${verdict.text}`);
		assert.equal(log.checkAnchors(anchorsInRows(METER, audit.rows())).status, "ok", `seed ${seed}`);
		// The relay is where the last command that took effect put it.
		let wanted = true;
		for (const { code, detail, commandId } of audit.rows()) {
			const entry = log.entry(Buffer.from(commandId).toString("hex"), METER);
			const took = code === AuditCode.commandDone || (code === AuditCode.commandInterrupted && detail === 1);
			if (took && entry !== undefined) wanted = entry.kind === CommandKind.connect;
		}
		assert.equal(device.relay, wanted, `seed ${seed}: the relay`);
		console.log(
			`${lives} lives, ${created.length} commands, ${started.size} begun, ${verdict.rowCount} rows, ${[...verdicts].join(" ")}`,
		);
		assert.ok(lives > 30 && started.size > 50, `seed ${seed}: ${lives} lives, ${started.size} begun`);
		log.close();
	} finally {
		rmSync(folder, { recursive: true });
	}
});
