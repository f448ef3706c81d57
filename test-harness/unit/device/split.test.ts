import assert from "node:assert/strict";
import { test } from "node:test";
import { SplitTarget } from "../../device/split.js";
import type { Target, TargetEvents } from "../../device/target.js";

/** Writes down what it is asked. */
class Listed {
	readonly calls: string[] = [];
	readonly target: Target;

	constructor(name: Target["name"], fails = false) {
		this.target = new Proxy({} as Target, {
			get: (_, property) => {
				if (property === "name") return name;
				if (property === "description") return `${name} host`;
				return (...parameters: unknown[]) => {
					this.calls.push(`${String(property)} ${typeof parameters[0] === "number" ? parameters[0] : ""}`.trim());
					return fails && property === "start" ? Promise.reject(new Error("no")) : Promise.resolve();
				};
			},
		});
	}
}

test("the first meters are on one target, the others on another, and every call goes to the right one", async () => {
	const [first, others] = [new Listed("rv32"), new Listed("linux-xs")];
	const target = new SplitTarget(first.target, 2, others.target);
	assert.equal(target.name, "linux-xs");
	assert.equal(target.description, "linux-xs host; 2 meters on rv32 host");
	await target.start({} as TargetEvents);
	const methods = Object.getOwnPropertyNames(SplitTarget.prototype).filter(
		(name) => !["constructor", "description", "start", "stop"].includes(name),
	);
	assert.equal(methods.length, 13);
	for (const name of methods)
		for (const meter of [0, 1, 2, 9]) (target as unknown as Record<string, (meter: number) => void>)[name]!(meter);
	await target.stop();
	const expected = (meters: readonly number[]): string[] => [
		"start",
		...methods.flatMap((name) => meters.map((meter) => `${name} ${meter}`)),
		"stop",
	];
	assert.deepEqual(first.calls, expected([0, 1]));
	assert.deepEqual(others.calls, expected([2, 9]));
});

test("when the second cannot start the first is stopped", async () => {
	const [first, others] = [new Listed("rv32"), new Listed("linux-xs", true)];
	await assert.rejects(new SplitTarget(first.target, 1, others.target).start({} as TargetEvents), /no/);
	assert.deepEqual(first.calls, ["start", "stop"]);
});
