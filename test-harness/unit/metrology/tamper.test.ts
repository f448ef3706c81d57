import assert from "node:assert/strict";
import { test } from "node:test";
import { EventCode, eventName } from "../../../src/metrology/events.js";
import { Detection, type TamperLimits, TamperMonitor } from "../../../src/metrology/tamper.js";
import { Input } from "../../../src/platform/board.js";
import { Bench, TEST_LAYOUT, type Wave } from "./waves.js";

/** A meter with its monitor; events as "name detail". */
class Watched {
	readonly bench: Bench;
	readonly monitor: TamperMonitor;
	readonly events: [number, number][] = [];

	constructor(limits: Partial<TamperLimits> = {}) {
		this.bench = new Bench({ ...TEST_LAYOUT, samplesPerSecond: 2000 });
		this.monitor = new TamperMonitor(limits);
		this.monitor.listener = { tamperEvent: (code, detail) => this.events.push([code, detail]) };
		this.bench.metrology.listener = {
			windowClosed: (metrology) => this.monitor.windowClosed(metrology, this.bench.milliseconds),
			secondClosed: (metrology) => this.monitor.secondClosed(metrology, this.bench.milliseconds),
		};
		this.run(2, {});
		assert.deepEqual(this.names(), []);
	}

	/** All phases 230 V and 5 A, changed by `waves`. */
	run(seconds: number, ...waves: Wave[]): void {
		this.bench.waves = [0, 1, 2].map((p) => ({ amperes: 5, ...waves[p] }));
		this.bench.run(seconds);
	}

	names(): string[] {
		return this.events.map(([code]) => eventName(code));
	}

	input(which: number, value: number): void {
		this.monitor.inputChanged(which, value, this.bench.milliseconds);
	}
}

test("magnetic field: over the limit for 2 s; half of it with even harmonics", () => {
	const meter = new Watched();
	meter.input(Input.magnet, 60_000);
	meter.run(1.5, {});
	assert.deepEqual(meter.names(), []);
	meter.run(3, {});
	assert.deepEqual(meter.names(), ["magneticFieldStart"]);
	assert.ok(meter.monitor.suspected);
	meter.input(Input.magnet, 100);
	meter.run(12, {});
	assert.deepEqual(meter.names(), ["magneticFieldStart", "magneticFieldEnd"]);
	const weak = new Watched();
	weak.input(Input.magnet, 30_000);
	weak.run(5, {});
	assert.deepEqual(weak.names(), [], "half of it alone");
	weak.run(8, { currentHarmonics: [[2, 0.3]] });
	assert.deepEqual(weak.names(), ["magneticFieldStart"]);
});

test("magnetic field: a transformer's inrush and a motor start do not fire it", () => {
	const meter = new Watched();
	meter.input(Input.magnet, 2000);
	meter.run(3, {
		amperes: 40,
		currentHarmonics: [
			[2, 0.6],
			[3, 0.3],
		],
	});
	meter.run(4, { amperes: 35, phi: 70 }, { amperes: 35, phi: 70 }, { amperes: 35, phi: 70 });
	meter.run(5, {});
	assert.deepEqual(
		meter.names().filter((name) => name.startsWith("magnetic")),
		[],
	);
});

test("reverse current: one phase against the others for 60 s; not where export is allowed", () => {
	for (const exportAllowed of [false, true]) {
		const meter = new Watched({ exportAllowed });
		meter.run(50, { phi: 180 });
		assert.deepEqual(meter.names(), []);
		meter.run(20, { phi: 180 });
		assert.deepEqual(meter.events, exportAllowed ? [] : [[EventCode.reverseCurrentStart, 1]]);
		meter.run(70, {});
		assert.equal(meter.events.length, exportAllowed ? 0 : 2);
	}
	const all = new Watched({ exportAllowed: false });
	all.run(70, { phi: 180 }, { phi: 180 }, { phi: 180 });
	assert.deepEqual(all.events, [[EventCode.reverseCurrentStart, 7]]);
});

test("phase association: swapped currents give the order, a capacitive load does not", () => {
	const meter = new Watched();
	meter.run(15, { phi: 20 }, { phi: 140 }, { phi: -100 });
	assert.deepEqual(meter.events, [[EventCode.phaseAssociationStart, 132]]);
	const capacitive = new Watched();
	capacitive.run(15, { phi: -85 }, { phi: -85 }, { phi: -85 });
	assert.deepEqual(capacitive.names(), []);
});

test("neutral missing: voltages float; a distorted but connected neutral does not fire", () => {
	const meter = new Watched();
	const neutral = () => meter.names().filter((name) => name.startsWith("neutral"));
	meter.run(15, { volts: 210 }, { volts: 230 }, { volts: 245 });
	assert.equal(neutral().length, 0, "unbalance alone is below the limit");
	meter.run(15, { volts: 130, angle: 0 }, { volts: 320, angle: 150 }, { volts: 320, angle: 210 });
	assert.deepEqual(neutral(), ["neutralMissingStart"]);
	const distorted = new Watched();
	const third: Wave = { voltageHarmonics: [[3, 0.15]] };
	distorted.run(15, third, third, third);
	assert.deepEqual(
		distorted.names().filter((name) => name.startsWith("neutral")),
		[],
	);
});

test("current difference: 5 % for 30 s; leakage below the limit does not fire, the sensor may look either way", () => {
	const meter = new Watched();
	meter.bench.neutral = { amperes: 5, phi: 180 };
	meter.run(40, {}, { amperes: 0 }, { amperes: 0 });
	assert.deepEqual(meter.names(), [], "the same current, reversed sensor");
	meter.bench.neutral = { amperes: 4.9, phi: 0 };
	meter.run(40, {}, { amperes: 0 }, { amperes: 0 });
	assert.deepEqual(meter.names(), [], "2 %");
	meter.bench.neutral = { amperes: 3, phi: 0 };
	meter.run(40, {}, { amperes: 0 }, { amperes: 0 });
	assert.deepEqual(meter.names(), ["currentDifferenceStart"]);
	assert.ok(Math.abs(meter.events[0]![1] - 2000) < 20);
});

test("covers: opened for 100 ms; contact bounce does not fire", () => {
	const meter = new Watched();
	for (let i = 0; i < 5; i++) {
		meter.input(Input.cover, 1);
		meter.run(0.05, {});
		meter.input(Input.cover, 0);
		meter.run(0.5, {});
	}
	assert.deepEqual(meter.names(), []);
	meter.input(Input.cover, 1);
	meter.input(Input.terminalCover, 1);
	meter.run(1, {});
	assert.deepEqual(meter.names(), ["coverOpened", "terminalCoverOpened"]);
	meter.input(Input.cover, 0);
	meter.run(2, {});
	assert.deepEqual(meter.names(), ["coverOpened", "terminalCoverOpened", "coverClosed"]);
});

test("phase loss: 5 s; a dip does not fire it", () => {
	const meter = new Watched();
	const loss = () => meter.names().filter((name) => name.startsWith("phaseLoss"));
	meter.run(2, { volts: 50 });
	meter.run(5, {});
	assert.deepEqual(loss(), []);
	meter.run(8, {}, { volts: 0 });
	assert.deepEqual(loss(), ["phaseLossStart"]);
	meter.run(8, {});
	assert.deepEqual(loss(), ["phaseLossStart", "phaseLossEnd"]);
	meter.events.length = 0;
	meter.run(10, { volts: 0 }, { volts: 0 }, { volts: 0 });
	assert.deepEqual(loss(), [], "no phase has voltage: an interruption");
});

test("phase sequence L1-L3-L2", () => {
	const meter = new Watched();
	meter.run(10, { angle: 0 }, { angle: 240 }, { angle: 120 });
	assert.deepEqual(meter.names(), ["phaseSequenceStart"]);
});

test("harmonics: THD of a voltage for 60 s; a phase-fired dimmer's current does not fire it", () => {
	const meter = new Watched();
	meter.run(80, {
		currentHarmonics: [
			[3, 0.6],
			[5, 0.3],
		],
	});
	assert.deepEqual(meter.names(), []);
	meter.run(80, { voltageHarmonics: [[3, 0.15]] });
	assert.deepEqual(meter.names(), ["harmonicsStart"]);
});

test("DC injection for 60 s; a half-wave load is noted, not accused; the mean stands still meanwhile", () => {
	const meter = new Watched();
	meter.run(55, { dcAmperes: 1 });
	assert.deepEqual(meter.names(), []);
	assert.ok(meter.bench.metrology.meanFrozen);
	meter.run(10, { dcAmperes: 1 });
	assert.deepEqual(meter.names(), ["dcInjectionStart"]);
	const half = new Watched();
	half.run(80, { halfWave: true });
	assert.deepEqual(half.names(), ["halfWaveLoadStart"]);
	assert.ok(!half.monitor.suspected);
});

test("dip, swell, interruption with their durations; one noisy half cycle does not fire", () => {
	const meter = new Watched();
	meter.run(1, { volts: 180 });
	meter.run(1, {});
	assert.deepEqual(meter.names(), ["dipStart", "dipEnd"]);
	assert.ok(Math.abs((meter.events[0]![1] % 0x100_0000) - 1800) < 20, `${meter.events[0]![1]}`);
	assert.ok(Math.abs(meter.events[1]![1] - 1000) <= 250);
	meter.events.length = 0;
	meter.run(1, {}, { volts: 260 });
	meter.run(1, {});
	assert.deepEqual(meter.names(), ["swellStart", "swellEnd"]);
	assert.equal(Math.floor(meter.events[0]![1] / 0x100_0000), 1, "phase L2");
	meter.events.length = 0;
	meter.run(1, { volts: 0 }, { volts: 0 }, { volts: 0 });
	meter.run(1, {});
	assert.ok(meter.names().includes("interruptionStart") && meter.names().includes("interruptionEnd"));
	assert.equal(meter.monitor.counts[Detection.interruption], 1);
	meter.events.length = 0;
	meter.run(0.01, { volts: 200 });
	meter.run(1, {});
	assert.deepEqual(meter.names(), [], "13 % less for half a cycle");
});
