import assert from "node:assert/strict";
import { test } from "node:test";
import type { VirtualBoard } from "../../board/virtual-board.js";
import { planChaos } from "../../fleet/chaos.js";
import { compareEnergy, judgeIntervals } from "../../fleet/checks.js";
import type { Heard } from "../../fleet/monitor.js";
import { runStart } from "../../fleet/start.js";
import type { ProfileRowView } from "../../head-end/api.js";
import { seed } from "../../seed.js";

const START = 1_000_000_800; // on an interval boundary of 900 s

function board(parts: object): VirtualBoard {
	return {
		settings: { intervalSeconds: 900, registerCommitSeconds: 60 },
		reference: { importWattHours: 1000, exportWattHours: 0, rows: 1 },
		powerCuts: 0,
		maximumWatts: 3600,
		onPeriods: [{ from: 0, to: Number.NaN }],
		...parts,
	} as unknown as VirtualBoard;
}

const rows = (...starts: number[]): ProfileRowView[] =>
	starts.map((start) => ({ intervalStartSeconds: START + start }) as ProfileRowView);

test("every interval in which the meter was on needs one row, and only one", () => {
	const on = board({});
	assert.deepEqual(judgeIntervals(on, rows(0, 900), START, START + 2000), { expected: 2, missing: [], doubled: [] });
	assert.deepEqual(judgeIntervals(on, rows(900), START, START + 2000).missing, [START]);
	assert.deepEqual(judgeIntervals(on, rows(0, 900, 900), START, START + 2000).doubled, [START + 900]);
	const cut = board({
		onPeriods: [
			{ from: 0, to: 950_000 }, // 50 s into the second interval: less than a commit period
			{ from: 1_900_000, to: Number.NaN },
		],
	});
	assert.deepEqual(judgeIntervals(cut, rows(0, 1800), START, START + 2800), { expected: 2, missing: [], doubled: [] });
	assert.deepEqual(judgeIntervals(cut, rows(0, 900, 1800), START, START + 2800).missing, []);
	assert.deepEqual(judgeIntervals(cut, rows(0), START, START + 2800).missing, [START + 1800]);
});

test("energy may miss what is declared for a power cut, and may never be too much", () => {
	const options = { stepMilliseconds: 1000, fresh: true };
	const compare = (wattHours: number, powerCuts: number): boolean =>
		compareEnergy(board({ powerCuts }), wattHours * 1000, "import", {} as Heard, options).ok;
	assert.ok(compare(1000.9, 0) && compare(999.1, 0));
	assert.ok(!compare(1001.1, 0) && !compare(998.9, 0));
	assert.ok(compare(940, 1) && !compare(937, 1) && compare(880, 2)); // 3600 W for 61 s are 61 Wh
	assert.ok(!compare(1001.1, 2));
});

test("a plan of failures has every kind asked for, inside the run, and is the seed's", () => {
	const options = { seed, milliseconds: 3_600_000, meters: 20, kinds: ["broker", "concentrator", "power"] as const };
	const plan = planChaos(options);
	for (const kind of options.kinds) assert.ok(plan.some((action) => action.kind === kind));
	for (const { atMilliseconds, tornBytes, awayMilliseconds } of plan) {
		assert.ok(atMilliseconds >= 180_000 && atMilliseconds <= 3_420_000);
		assert.ok(tornBytes >= 0 && tornBytes <= 4096 && awayMilliseconds > 0);
	}
	assert.deepEqual(planChaos(options), plan);
	assert.ok(planChaos({ ...options, kinds: ["power"], meters: 1, milliseconds: 60_000 }).length >= 1);
});

test("what is not allowed is one line that says what is, and exit code 2", async () => {
	const wrong: [object, RegExp][] = [
		[{ meters: 0 }, /--meters: allowed are whole numbers from 1 to 5000/],
		[{ speed: "max" }, /--speed max needs --minutes/],
		[{ speed: 0, minutes: 1 }, /--speed: allowed are "max" or a number/],
		[{ interval: 70 }, /--interval: allowed are .*divide 3600/],
		[{ broker: "kafka" }, /--broker kafka: allowed are aedes, mosquitto, mqtt:\/\/host:port/],
		[
			{ broker: "mqtt://127.0.0.1:1", minutes: 1, speed: "max", target: "in-process" },
			/no broker answers at mqtt:\/\/127/,
		],
		[{ chaos: ["fire"], minutes: 1 }, /--chaos: allowed are broker, concentrator, power/],
		[{ target: "toaster" }, /--target: allowed are linux-xs, in-process/],
		[{ protocol: "4" }, /--protocol: allowed are 3.1.1, 5/],
		[{ report: "/dev/null/x", minutes: 1, speed: "max" }, /--report \/dev\/null\/x: /],
	];
	const write = process.stderr.write;
	for (const [options, expected] of wrong) {
		let said = "";
		process.stderr.write = ((text: string) => {
			said += text;
			return true;
		}) as typeof write;
		try {
			assert.equal(await runStart({ quiet: true, ...options }), 2, JSON.stringify(options));
		} finally {
			process.stderr.write = write;
		}
		assert.match(said, expected);
		assert.equal(said.trimEnd().split("\n").length, 1, said);
	}
});
