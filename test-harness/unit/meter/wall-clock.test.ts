import assert from "node:assert/strict";
import { test } from "node:test";
import { ClockChange, WallClock } from "../../../src/meter/wall-clock.js";
import type { Clock } from "../../../src/platform/clock.js";

class TestClock implements Clock {
	now = 0;
	#offset = Number.NaN;
	monotonicMilliseconds(): number {
		return this.now;
	}
	utcSeconds(): number {
		return this.#offset + this.now / 1000;
	}
	setUtcSeconds(utcSeconds: number): void {
		this.#offset = utcSeconds - this.now / 1000;
	}
}

test("the first time is set, a large difference steps, a small one is slewed at 1 % and ends exactly", () => {
	const clock = new TestClock();
	const wall = new WallClock(clock);
	assert.equal(wall.correct(1000, 0), ClockChange.firstSet);
	assert.equal(wall.correct(2000, 0), ClockChange.stepped);
	assert.equal(wall.correct(2000.01, 0), ClockChange.none);
	assert.equal(wall.correct(2001, 1), ClockChange.none);
	assert.equal(wall.correct(2001, 0), ClockChange.slewing);
	let previous = wall.utcSeconds();
	for (let second = 1; second <= 120; second++) {
		clock.now = second * 1000;
		wall.tick();
		const advanced = wall.utcSeconds() - previous;
		assert.ok(advanced >= 0.989 && advanced <= 1.011, `advanced ${advanced} s in one second`);
		previous = wall.utcSeconds();
	}
	assert.ok(Math.abs(wall.utcSeconds() - 2121) < 1e-6, `${wall.utcSeconds()}`);
	assert.equal(wall.slewSeconds, 0);
});

test("a negative correction never makes the clock go back", () => {
	const clock = new TestClock();
	const wall = new WallClock(clock);
	wall.correct(1000, 0);
	wall.correct(997.5, 0);
	let previous = wall.utcSeconds();
	for (let second = 1; second <= 400; second++) {
		clock.now = second * 1000;
		wall.tick();
		assert.ok(wall.utcSeconds() > previous);
		previous = wall.utcSeconds();
	}
	assert.ok(Math.abs(wall.utcSeconds() - 1397.5) < 1e-6);
});
