import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { CONTROL_STATE_BYTES } from "../../../src/commands/control-state.js";
import { DemandResponse, DUTY_PERIOD_SECONDS, ResponsePhase } from "../../../src/commands/demand-response.js";
import { LimiterState, LoadLimiter, TRIP_MEMORY_MILLISECONDS } from "../../../src/commands/load-limiter.js";
import { AuditCode } from "../../../src/messages/audit.js";
import {
	CommandKind,
	createDemandResponseEvent,
	createLoadLimit,
	createPrices,
	createTariffTable,
	type DemandResponseEvent,
	encodeDemandResponse,
	encodeLoadLimit,
	encodePrices,
	encodeTariffTable,
	type LoadLimit,
} from "../../../src/messages/command.js";
import { SettingsStore } from "../../../src/storage/settings-store.js";
import { command, FakeDevice, NOW, newFlash, World } from "./world.js";

const WATT = 1000;

test("the limiter: too much for so long opens, too often stays open", () => {
	const limiter = new LoadLimiter();
	limiter.setRules(10, 60, 3);
	let now = 0;
	const seconds = (count: number, watts: number, limit = 3000 * WATT) => {
		for (let i = 0; i < count; i++) limiter.tick((now += 1000), watts * WATT, limit);
		return limiter.state;
	};
	assert.equal(seconds(5, 3000), LimiterState.watching, "at the limit is not above it");
	assert.equal(seconds(10, 3001), LimiterState.watching, "9 s above it");
	assert.equal(seconds(1, 2999), LimiterState.watching);
	assert.equal(seconds(10, 3001), LimiterState.watching, "a second below it counts anew");
	assert.equal(seconds(1, 3001), LimiterState.open);
	assert.equal(seconds(59, 0), LimiterState.open);
	assert.equal(seconds(1, 0), LimiterState.watching, "60 s later");
	assert.equal(seconds(11, 4000), LimiterState.open);
	assert.equal(seconds(60, 0), LimiterState.watching);
	assert.equal(seconds(11, 4000), LimiterState.locked, "the third time");
	assert.equal(seconds(100_000, 0), LimiterState.locked);
	limiter.release();
	assert.equal(seconds(11, -4000), LimiterState.watching, "export is not above it");
	seconds(11, 4000);
	seconds(60, 0);
	assert.equal(limiter.trips, 1);
	seconds(TRIP_MEMORY_MILLISECONDS / 1000, 0);
	assert.equal(limiter.trips, 0, "forgotten after an hour");
	assert.equal(seconds(11, 4000), LimiterState.open);
	assert.equal(seconds(1, 0, Number.POSITIVE_INFINITY), LimiterState.off, "without a limit it closes");
	limiter.setRules(10, 0, 3);
	assert.equal(seconds(12, 4000), LimiterState.locked, "a reconnection of 0 s is none");
});

test("demand response: its window, its opt-out, its share of the time", () => {
	const event: DemandResponseEvent = {
		...createDemandResponseEvent(),
		startSeconds: NOW,
		durationSeconds: 7200,
		dutyPermille: 250,
		limitWatts: 1500,
	};
	const response = new DemandResponse(100);
	assert.equal(response.phase(event, false, NOW - 1), ResponsePhase.scheduled);
	assert.equal(response.phase(event, false, NOW), ResponsePhase.active);
	assert.equal(response.phase(event, true, NOW), ResponsePhase.optedOut);
	assert.equal(response.phase(event, false, NOW + 7199), ResponsePhase.active);
	assert.equal(response.phase(event, false, NOW + 7200), ResponsePhase.idle);
	assert.equal(response.phase(event, false, Number.NaN), ResponsePhase.idle);
	assert.equal(response.limitMilliwatts(event, ResponsePhase.active), 1_500_000);
	assert.equal(response.limitMilliwatts(event, ResponsePhase.optedOut), Number.POSITIVE_INFINITY);
	let running = 0;
	for (let second = 0; second < DUTY_PERIOD_SECONDS; second++)
		if (response.loadMayRun(event, ResponsePhase.active, NOW + second)) running++;
	assert.equal(running, DUTY_PERIOD_SECONDS / 4);
	assert.ok(response.loadMayRun(event, ResponsePhase.optedOut, NOW));
	const other = new DemandResponse(1000);
	const differs = Array.from({ length: 1800 }, (_, i) => NOW + i).some(
		(at) => response.loadMayRun(event, ResponsePhase.active, at) !== other.loadMayRun(event, ResponsePhase.active, at),
	);
	assert.ok(differs, "not all at once");
});

function limit(world: World, row: number, given: Partial<LoadLimit>): Status {
	const full = { ...createLoadLimit(), ...given };
	return world.send(command(CommandKind.loadLimit, row, (view, at) => encodeLoadLimit(full, view, at)));
}

/** Seconds with this power. */
function run(world: World, seconds: number, watts: number): void {
	for (let i = 0; i < seconds; i++) {
		world.now += 1000;
		world.utcSeconds++;
		world.supply.tick(world.now, world.utcSeconds, watts * WATT);
	}
}

test("a limit with an end and another after it; opened, closed, told in the log", () => {
	const world = new World();
	const rules = { overSeconds: 5, reconnectSeconds: 30, tripsMax: 2 };
	assert.equal(limit(world, 1, { ...rules, limitWatts: 1000, durationSeconds: 600, thenWatts: 5000 }), Status.ok);
	run(world, 6, 2000);
	run(world, 1, 2000);
	assert.equal(world.device.relay, false);
	run(world, 30, 0);
	assert.equal(world.device.relay, true);
	run(world, 560, 500);
	run(world, 20, 4000);
	assert.equal(world.device.relay, true, "4 kW after the first limit is over");
	run(world, 10, 5001);
	assert.equal(world.device.relay, false, "the limit after it");
	assert.equal(world.supply.limiter.state, LimiterState.locked);
	// The lock, and who opened, survive.
	const again = new World(world.flash, world.device);
	run(again, 100, 0);
	assert.equal(world.device.relay, false);
	assert.ok(again.supply.buttonPressed(NOW), "the customer closes");
	assert.equal(world.device.relay, true);
	assert.ok(!again.supply.buttonPressed(NOW), "nothing to do");
	const codes = again.rows().map(({ code }) => code);
	for (const code of [
		AuditCode.loadLimitOpened,
		AuditCode.loadLimitClosed,
		AuditCode.loadLimitLocked,
		AuditCode.customerClosed,
	])
		assert.ok(codes.includes(code), `0x${code.toString(16)} is in the log`);
	assert.equal(limit(again, 2, { limitWatts: 0 }), Status.ok);
	run(again, 100, 60_000);
	assert.equal(world.device.relay, true, "lifted");
});

test("a limit for a time needs a clock", () => {
	const world = new World();
	world.utcSeconds = Number.NaN;
	const full = { ...createLoadLimit(), limitWatts: 1000, durationSeconds: 60 };
	const message = command(CommandKind.loadLimit, 1, (view, at) => encodeLoadLimit(full, view, at), 0xffff_ffff);
	assert.equal(world.send(message), Status.clockInvalid);
	assert.equal(world.supply.state.loadLimit.limitWatts, 0);
});

test("connect by the button: open until it is pressed, also after a restart", () => {
	const world = new World();
	world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1)));
	assert.ok(!world.supply.buttonPressed(NOW), "the button does not undo a disconnect");
	assert.equal(world.send(command(CommandKind.connect, 2, Uint8Array.of(1))), Status.ok);
	assert.equal(world.device.relay, false);
	const again = new World(world.flash, world.device);
	assert.equal(world.device.relay, false);
	assert.ok(again.supply.buttonPressed(NOW));
	assert.equal(world.device.relay, true);
	assert.equal(again.send(command(CommandKind.connect, 3, Uint8Array.of(1))), Status.ok);
	assert.equal(world.device.relay, true, "what is closed stays closed");
});

test("a relay that does not move is told, and tried again each second", () => {
	const world = new World();
	world.device.relayStatus = Status.timedOut;
	assert.equal(world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1))), Status.timedOut);
	const receipt = world.receipt();
	assert.equal(receipt.status, Status.timedOut);
	assert.equal(world.device.relay, true);
	world.device.relayStatus = Status.ok;
	run(world, 1, 0);
	assert.equal(world.device.relay, false);
});

test("prices and calendars: now, later, and what was to come is replaced", () => {
	const world = new World();
	const price = (row: number, validFromSeconds: number, amount: number) => {
		const prices = createPrices();
		prices.validFromSeconds = validFromSeconds;
		prices.tariffCount = 1;
		prices.prices[0] = amount;
		return world.send(command(CommandKind.price, row, (view, at) => encodePrices(prices, view, at)));
	};
	price(1, 0, 30_000);
	price(2, NOW + 60, 40_000);
	price(3, NOW + 100, -500);
	assert.equal(world.supply.priceOf(1), 30_000);
	run(world, 99, 0);
	assert.equal(world.supply.priceOf(1), 30_000);
	run(world, 1, 0);
	assert.equal(world.supply.priceOf(1), -500, "negative prices exist");
	const table = createTariffTable();
	table.validFromSeconds = NOW + 200;
	table.switchCount = 3;
	table.minutes.set([0, 360, 1320]);
	table.tariffs.set([2, 1, 2]);
	world.send(command(CommandKind.tariffCalendar, 4, (view, at) => encodeTariffTable(table, view, at)));
	assert.ok(!world.device.done.includes("calendar 3"));
	run(world, 100, 0);
	assert.ok(world.device.done.includes("calendar 3"));
	world.device.done = [];
	const again = new World(world.flash, world.device);
	again.utcSeconds = NOW + 300;
	run(again, 1, 0);
	assert.deepEqual(world.device.done, ["configuration 0 0", "close", "calendar 3"], "and again after a restart");
});

test("an event limits, may be opted out of, and is ended; another group's is not ours", () => {
	const world = new World();
	const event = (row: number, given: Partial<DemandResponseEvent>) =>
		world.send(
			command(CommandKind.demandResponse, row, (view, at) =>
				encodeDemandResponse(
					{ ...createDemandResponseEvent(), startSeconds: NOW + 10, durationSeconds: 3600, limitWatts: 1000, ...given },
					view,
					at,
				),
			),
		);
	assert.equal(event(1, { group: 5 }), Status.notFound);
	assert.equal(world.send(command(CommandKind.configure, 2, Uint8Array.of(1, 3, 0, 0, 0, 5))), Status.ok);
	assert.equal(event(3, { group: 5, optOutAllowed: true }), Status.ok);
	run(world, 9, 2000);
	assert.equal(world.supply.responsePhase, ResponsePhase.scheduled);
	run(world, 62, 2000);
	assert.equal(world.device.relay, false, "too much for a minute");
	assert.ok(world.supply.buttonPressed(world.utcSeconds), "the first press releases");
	assert.ok(world.supply.buttonPressed(world.utcSeconds), "the second opts out");
	run(world, 120, 9000);
	assert.equal(world.device.relay, true);
	const again = new World(world.flash, world.device);
	again.utcSeconds = NOW + 500;
	run(again, 1, 0);
	assert.equal(again.supply.responsePhase, ResponsePhase.optedOut, "after a restart too");
	assert.equal(event(4, { durationSeconds: 0 }), Status.ok);
	assert.equal(world.supply.responsePhase, ResponsePhase.idle);
});

test("what is set and cannot be read is said, and the supply is closed", () => {
	const world = new World();
	world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1)));
	const { image } = world.flash;
	for (let at = 0; at < 4 * 4096; at++) if (image[at] !== 0xff && at % 4096 >= 40) image[at] = 0x5a;
	const device = new FakeDevice();
	const again = new World(newFlash({ image }), device);
	assert.equal(device.relay, true);
	assert.equal(again.rows().at(-1)!.code, AuditCode.controlStateLost);
});

test("a newer firmware's settings are left as they are", () => {
	const flash = newFlash();
	const store = new SettingsStore(flash, { firstSector: 0, sectorCount: 4 });
	store.open();
	const blob = new Uint8Array(CONTROL_STATE_BYTES + 10).fill(7);
	assert.equal(store.replace(blob, blob.length, 2), Status.ok);
	const world = new World(flash);
	assert.equal(world.send(command(CommandKind.disconnect, 1, Uint8Array.of(1))), Status.badVersion);
	assert.equal(world.device.relay, true);
	store.open();
	const into = new Uint8Array(1024);
	assert.equal(store.load(into), Status.ok);
	assert.deepEqual(into.subarray(0, store.byteLength), blob);
});
