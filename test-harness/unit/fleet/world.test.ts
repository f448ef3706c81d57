import assert from "node:assert/strict";
import { test } from "node:test";
import { AedesBroker } from "../../broker/aedes-broker.js";
import { InProcessTarget } from "../../device/in-process.js";
import { planFleet } from "../../fleet/plan.js";
import { World } from "../../fleet/world.js";
import { seed } from "../../seed.js";
import { type TrialState, trialFirmware } from "./trial-firmware.js";

const START = 835_000_000;

function plan(meters: number): ReturnType<typeof planFleet> {
	return planFleet({
		secured: false,
		planSeed: seed,
		seed,
		meters,
		startUtcSeconds: START,
		intervalSeconds: 900,
		readingSeconds: 10,
		registerCommitSeconds: 60,
		mqtt: { protocolVersion: 4, cleanSession: false, sessionExpirySeconds: 86_400, keepAliveSeconds: 60 },
		recorded: false,
		cyclesPerBlock: 50,
	});
}

async function withWorld(
	meters: number,
	run: (world: World, states: Map<string, TrialState>, broker: AedesBroker) => Promise<void>,
): Promise<void> {
	const states = new Map<string, TrialState>();
	const broker = new AedesBroker();
	await broker.start();
	const world = new World({
		seed,
		target: new InProcessTarget(trialFirmware(states)),
		broker,
		boards: plan(meters),
		startUtcSeconds: START,
		powerOnSpreadMilliseconds: 3000,
	});
	try {
		await world.start();
		await run(world, states, broker);
	} finally {
		await world.stop();
		await broker.stop();
	}
}

test("rows that a machine is given are the rows of the reference, through changes of load", async () => {
	await withWorld(6, async (world, states) => {
		for (let second = 0; second < 600; second++) await world.step(1000, true);
		for (const board of world.boards) {
			const state = states.get(board.settings.identifier)!;
			board.account(board.local(world.nowMilliseconds));
			const { importWattHours, exportWattHours, rows } = board.reference;
			const late = rows - state.rows; // less than one block of 50 ms has not been delivered
			assert.ok(late >= 0 && late <= 200, `meter ${board.index}: ${state.rows} rows of ${rows}`);
			// the block that plays is accounted by its mean: the part of a cycle at the end may differ from it
			const lateWattHours = ((late / 4000 + 0.02) * board.maximumWatts) / 3600;
			const error = state.wattHours - (importWattHours - exportWattHours);
			assert.ok(Math.abs(error) <= lateWattHours, `meter ${board.index}: ${error} Wh off`);
			assert.ok(importWattHours + exportWattHours > 1, `meter ${board.index} had no load`);
		}
	});
});

test("virtual time waits for the network: every reading is acknowledged in the step in which it was sent", async () => {
	await withWorld(4, async (world, states) => {
		const sent = new Map<number, number>();
		world.onUp = (board) => void sent.set(board.index, (sent.get(board.index) ?? 0) + 1);
		for (let second = 0; second < 120; second++) {
			await world.step(1000, true);
			for (const board of world.boards)
				assert.equal(states.get(board.settings.identifier)?.acknowledged ?? 0, sent.get(board.index) ?? 0);
		}
		assert.equal(world.counts.settleTimeouts, 0);
		assert.ok(world.counts.upAcknowledged >= 4 * 11);
	});
});

test("power that fails comes back, flash and clock outlive it, the broker may die", async () => {
	await withWorld(3, async (world, states, broker) => {
		for (let second = 0; second < 30; second++) await world.step(1000, true);
		const [first, second, third] = world.boards;
		assert.ok(first && second && third);
		world.cutPower(first, 0, 0, 5000);
		world.cutPower(second, 1, 0, 4000); // the trial meter writes only at its start
		await broker.kill();
		world.peersChanged();
		for (let i = 0; i < 20; i++) await world.step(1000, true);
		assert.equal(first.starts, 2);
		assert.equal(states.get(first.settings.identifier)?.starts, 2);
		assert.equal(second.starts, 1);
		await broker.start();
		world.peersChanged();
		for (let i = 0; i < 40; i++) await world.step(1000, true);
		for (const board of world.boards) assert.ok(board.bridge.isOpen, `meter ${board.index} is back`);
		assert.equal(states.get(third.settings.identifier)?.connects, 2);
		assert.equal(world.counts.settleTimeouts, 0);
		assert.equal(world.timeline.filter(({ what }) => what === "power").length, 1);
		const local = first.local(world.nowMilliseconds);
		assert.ok(Math.abs(first.utcSeconds(local) - world.utcSeconds) < 1.5);
	});
});
