import assert from "node:assert/strict";
import { test } from "node:test";
import { Bl0942 } from "../../../src/front-end/bl0942.js";
import { CALIBRATION_BYTES_MAX, decodeCalibration } from "../../../src/front-end/calibration-record.js";
import { Cse7766 } from "../../../src/front-end/cse7766.js";
import { createPhaseCalibration, type FrontEnd } from "../../../src/front-end/front-end.js";
import type { SerialIo, SerialIoOptions } from "../../../src/front-end/io.js";
import { Pzem004t } from "../../../src/front-end/pzem-004t.js";
import { seed } from "../../seed.js";
import { Random } from "../../waveforms/random.js";

/** A line whose other end is noise: some of it made of true pieces of frames. */
class NoisyEnd {
	readonly #random: Random;
	#queue: number[] = [];
	#options: SerialIoOptions | undefined;

	constructor(random: Random) {
		this.#random = random;
	}

	get io(): new (
		options: SerialIoOptions,
	) => SerialIo {
		const end = this;
		return class {
			constructor(options: SerialIoOptions) {
				end.#options = options;
			}
			read(into: Uint8Array): number {
				const bytes = end.#queue.splice(0, into.length);
				into.set(bytes);
				return bytes.length;
			}
			write(bytes: Uint8Array): void {
				assert.ok(bytes.length <= 16, "the driver keeps to what a UART takes");
				if (end.#random.chance(0.3)) end.#queue.push(...bytes); // an echo
			}
			close(): void {}
		};
	}

	disturb(): void {
		const random = this.#random;
		const heads = [[0x55], [0x55, 0x5a], [0xf2, 0x5a], [0xf8, 0x04, 0x14], [0xf8, 0x84, 0x04], [0x0f, 0, 0]];
		if (random.chance(0.6)) this.#queue.push(...random.pick(heads));
		const count = random.integer(0, 40);
		for (let i = 0; i < count; i++) this.#queue.push(random.chance(0.3) ? 0 : random.integer(0, 255));
		this.#options?.onReadable();
	}
}

const DRIVERS: readonly [string, (end: NoisyEnd) => FrontEnd][] = [
	[
		"BL0942",
		(end) => {
			const driver = new Bl0942({ sensor: { io: end.io } });
			driver.configure({ shuntMicroohms: 1000, dividerRatio: 3824.5 });
			return driver;
		},
	],
	[
		"CSE7766",
		(end) => {
			const driver = new Cse7766({ sensor: { io: end.io } });
			driver.configure();
			return driver;
		},
	],
	[
		"PZEM-004T",
		(end) => {
			const driver = new Pzem004t({ sensor: { io: end.io } });
			driver.configure({ alarmWatts: 1000 });
			return driver;
		},
	],
];

for (const [name, create] of DRIVERS)
	test(`${name}: any bytes are refused with a status; no throw, no standstill, hardly any energy`, () => {
		const random = new Random(seed, name);
		const end = new NoisyEnd(random);
		const driver = create(end);
		let now = 0;
		let energy = 0;
		for (let i = 0; i < 30_000; i++) {
			now += random.integer(1, 120);
			if (random.chance(0.5)) end.disturb();
			driver.tick(now);
			const reading = driver.sample();
			if (reading === undefined) continue;
			const phase = reading.phases[0]!;
			assert.ok(phase.importMilliwattHours >= 0 && phase.exportMilliwattHours >= 0, "goes back");
			energy += phase.importMilliwattHours + phase.exportMilliwattHours;
		}
		let refused = 0;
		for (let code = 1; code < driver.counters.counts.length; code++) refused += driver.counters.counts[code]!;
		assert.ok(refused > 1000, `${refused} refusals`);
		// half an hour at the largest power would be 12.5 kWh
		assert.ok(energy < 1_000_000, `${energy} mWh of noise`);
		assert.ok(driver.deadlineMilliseconds() < now + 5000, "it goes on");
	});

test("calibration record: any bytes are refused", () => {
	const random = new Random(seed, "record");
	const bytes = new Uint8Array(CALIBRATION_BYTES_MAX);
	const into = [createPhaseCalibration()];
	for (let i = 0; i < 20_000; i++) {
		random.bytes(bytes);
		bytes[0] = random.integer(0, 2);
		bytes[1] = random.integer(0, 4);
		bytes[2] = bytes[3] = 0;
		assert.notEqual(decodeCalibration(bytes, random.integer(0, 100), 2 ** 32 - 1, into), 0, "accepted");
	}
	assert.deepEqual(into[0], createPhaseCalibration(), "untouched");
});
