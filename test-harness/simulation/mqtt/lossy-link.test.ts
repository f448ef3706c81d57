import assert from "node:assert/strict";
import { test } from "node:test";
import type { MqttSettings } from "../../../src/mqtt/mqtt-machine.js";
import { seed } from "../../seed.js";
import { SETTINGS } from "../../unit/mqtt/machine-harness.js";
import { generator, type Weather, World } from "./world.js";

const HOUR = 3_600_000;
const HOURS = Number(process.env["SIMULATED_HOURS"] ?? 6);
const FAIR: Weather = {
	lossEveryMilliseconds: Number.POSITIVE_INFINITY,
	halfOpenPerMille: 0,
	latencyMilliseconds: 5,
	bytesPerSecond: 1e6,
	restartEveryMilliseconds: Number.POSITIVE_INFINITY,
	restartMilliseconds: 0,
};

interface Case {
	readonly name: string;
	readonly weather: Weather;
	/** The broker keeps sessions over a restart. */
	readonly keepSessions: boolean;
	readonly settings: Partial<MqttSettings>;
}

const CASES: readonly Case[] = [
	{ name: "a fair link", weather: FAIR, keepSessions: true, settings: {} },
	{
		name: "links lost each minute, one in three half-open",
		weather: { ...FAIR, latencyMilliseconds: 700, lossEveryMilliseconds: 60_000, halfOpenPerMille: 333 },
		keepSessions: true,
		settings: {},
	},
	{
		name: "a slow link of 60 bytes/s, lost each three minutes",
		weather: {
			...FAIR,
			bytesPerSecond: 60,
			latencyMilliseconds: 900,
			lossEveryMilliseconds: 180_000,
			halfOpenPerMille: 200,
		},
		keepSessions: true,
		settings: {},
	},
	{
		name: "a broker that restarts each ten minutes and keeps sessions",
		weather: {
			...FAIR,
			restartEveryMilliseconds: 600_000,
			restartMilliseconds: 20_000,
			latencyMilliseconds: 700,
			lossEveryMilliseconds: 120_000,
			halfOpenPerMille: 333,
		},
		keepSessions: true,
		settings: {},
	},
	{
		name: "a broker that restarts each ten minutes and forgets sessions",
		weather: { ...FAIR, restartEveryMilliseconds: 600_000, restartMilliseconds: 20_000 },
		keepSessions: false,
		settings: {},
	},
	{
		name: "clean sessions over links lost each minute",
		weather: { ...FAIR, latencyMilliseconds: 700, lossEveryMilliseconds: 60_000, halfOpenPerMille: 333 },
		keepSessions: true,
		settings: { cleanSession: true },
	},
];

/** Each body once, at its first place. */
const firsts = (bodies: string[]): string[] => [...new Set(bodies)];

for (const protocolVersion of [4, 5] as const)
	for (const { name, weather, keepSessions, settings } of CASES)
		test(`MQTT ${protocolVersion === 4 ? "3.1.1" : "5"}, ${name}: QoS 1 at least once and in order`, (t) => {
			const world = new World(
				seed,
				{ ...SETTINGS, protocolVersion, keepAliveSeconds: 30, ...settings },
				weather,
				keepSessions,
			);
			const { timeline, broker, machine } = world;
			const random = generator(seed + 1);
			const waiting: [string, string][] = [];
			let made = 0;
			let commands = 0;
			let commandAttempts = 0;
			let refusedByWindow = 0;
			const offer = (): void => {
				while (waiting.length > 0) {
					if (!world.publish(...waiting[0]!)) {
						refusedByWindow++;
						return;
					}
					waiting.shift();
				}
			};
			const produce = (): void => {
				if (timeline.now > HOURS * HOUR) return;
				made++;
				waiting.push([made % 3 === 0 ? "event" : "reading", `message ${made}`]);
				timeline.after(random() < 0.6 ? random() * 300 : random() * 40_000, produce); // in bursts
			};
			const command = (): void => {
				if (timeline.now > HOURS * HOUR) return;
				commandAttempts++;
				if (broker.sessions.get("meter-1")?.filters.has("command"))
					broker.queueToClients("command", `command ${++commands}`);
				timeline.after(random() * 60_000, command);
			};
			timeline.after(0, produce);
			timeline.after(0, command);
			const poll = (): void => {
				offer();
				timeline.after(1_000, poll);
			};
			poll();
			timeline.runUntil(HOURS * HOUR);
			world.weather = FAIR; // the network heals; an hour is enough for everything to arrive
			broker.isUp = true;
			timeline.runUntil((HOURS + 1) * HOUR);

			assert.equal(waiting.length, 0, "nothing is stuck");
			assert.equal(world.outstanding, 0);
			assert.ok(commands > commandAttempts * 0.7, `subscribed for ${commands} of ${commandAttempts} commands`);
			assert.equal(world.published.size, made, "each message was acknowledged");
			let copies = 0;
			for (const [topic, bodies] of world.accepted) {
				const received = broker.received.filter((entry) => entry.topic === topic).map(({ body }) => body);
				assert.deepEqual(firsts(received), bodies, `${topic}: all, in order`);
				copies += received.length - bodies.length;
			}
			assert.deepEqual(
				firsts(world.delivered),
				world.delivered.length === 0 ? [] : firsts([...world.delivered].sort(byNumber)),
				"commands in order",
			);
			if (keepSessions && settings.cleanSession !== true)
				assert.equal(firsts(world.delivered).length, commands, "no command is lost");
			if (Number.isFinite(weather.lossEveryMilliseconds))
				assert.ok(copies > 0 && machine.resentCount > 0, "the weather was bad enough");
			t.diagnostic(
				`${made} messages, ${copies} came twice, ${machine.connectionCount} connections, ${refusedByWindow} times a full window, ` +
					`${commands} commands, ${world.delivered.length} deliveries, ends ${JSON.stringify(tally(world.ended))}`,
			);
		});

const byNumber = (a: string, b: string): number => Number(a.slice(8)) - Number(b.slice(8));

function tally(values: number[]): Record<string, number> {
	const counts: Record<string, number> = {};
	for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
	return counts;
}
