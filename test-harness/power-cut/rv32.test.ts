import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Status } from "../../src/bytes/status.js";
import { EnergyRegisters, Netting, REGISTER_BYTES, Register } from "../../src/metrology/registers.js";
import { RegisterStore } from "../../src/storage/register-store.js";
import { ON, Rv32Meter, SECURED_SETTINGS } from "../bench/rv32-meter.js";
import { rv32Skip } from "../build/rv32.js";
import { buildRv32Image } from "../build/rv32-image.js";
import { seed } from "../seed.js";
import { Random } from "../waveforms/random.js";

const skip = rv32Skip();
const CUTS = 10;
/** Of the meter's state, src/meter/meter-state.ts. */
const REGISTERS_AT = 12;
const SETTINGS = JSON.stringify({ ...JSON.parse(SECURED_SETTINGS), registerCommitSeconds: 1 });

/** What is in the flash after a cut. */
function look(meter: Rv32Meter): { energyMilliwattHours: number; head: number; epoch: number; isProvisioned: boolean } {
	const store = new RegisterStore(meter.chip);
	assert.equal(store.open(), Status.ok, "the register log opens");
	const bytes = new Uint8Array(512);
	const status = store.load(bytes);
	const registers = new EnergyRegisters(Netting.vectorSum, 1000);
	if (status === Status.ok)
		assert.equal(registers.decode(new DataView(bytes.buffer), REGISTERS_AT, REGISTER_BYTES), Status.ok, "they decode");
	else assert.ok(status === Status.notFound || status === Status.badChecksum, `registers: status ${status}`);
	const keys = meter.openKeys();
	return {
		energyMilliwattHours: registers.value(Netting.vectorSum, Register.activeImport),
		head: keys.headSequence,
		epoch: keys.epoch,
		isProvisioned: keys.isProvisioned,
	};
}

/** @param cut switches the meter on and ends its power at some moment */
async function survive(meter: Rv32Meter, cuts: number, cut: (now: number) => Promise<number>): Promise<void> {
	meter.provision();
	const epoch = meter.openKeys().epoch;
	let before = { energyMilliwattHours: 0, head: 0 };
	let now = 0;
	for (let i = 0; i < cuts; i++) {
		now = (await cut(now)) + 1000;
		const after = look(meter);
		const where = `SEED=${seed}, cut ${i}: ${JSON.stringify({ before, after })}`;
		assert.ok(after.isProvisioned, `keys are there: ${where}`);
		assert.equal(after.epoch, epoch, where);
		assert.ok(after.head >= before.head, `the journal of keys never goes back: ${where}`);
		assert.ok(after.energyMilliwattHours >= before.energyMilliwattHours, `registers never go back: ${where}`);
		before = after;
	}
	assert.ok(before.energyMilliwattHours > 0, `energy was counted and kept: SEED=${seed}`);
	await meter.powerOn({ nowMilliseconds: now, utcSeconds: ON.utcSeconds + now / 1000, settingsText: SETTINGS });
	assert.ok(meter.isOn, "it starts once more");
}

async function start(meter: Rv32Meter, now: number): Promise<void> {
	await meter.powerOn({ nowMilliseconds: now, utcSeconds: ON.utcSeconds + now / 1000, settingsText: SETTINGS });
	if (meter.isOn) meter.load();
}

test("the emulator ends at a random instruction, in the middle of anything: registers and keys never go back", {
	skip,
}, async () => {
	const random = new Random(seed, "instructions");
	const { path } = await buildRv32Image();
	await Rv32Meter.with({ image: path }, (meter) =>
		survive(meter, CUTS, async (now) => {
			// a start takes 50 M instructions, a second 15 M
			meter.target.cutAfter(0, random.integer(1, 1_500_000));
			await start(meter, now);
			while (meter.isOn) await meter.advance((now += 500));
			return now;
		}),
	);
});

test("a cut at the same instruction leaves the same flash", { skip }, async () => {
	const hundreds = new Random(seed, "twice").integer(550_000, 1_100_000);
	const { path } = await buildRv32Image();
	const left = (): Promise<string> =>
		Rv32Meter.with({ image: path }, async (meter) => {
			meter.provision();
			meter.target.cutAfter(0, hundreds);
			await start(meter, 0);
			for (let now = 500; meter.isOn; now += 500) await meter.advance(now);
			const hash = createHash("sha256");
			for (const { address, bytes } of meter.flash.pieces()) hash.update(`${address} `).update(bytes);
			return hash.digest("hex");
		});
	assert.equal(await left(), await left(), `SEED=${seed}, after ${hundreds} hundred instructions`);
});

// the one test here that no seed repeats: when the signal comes is the system's business
test("the emulator is killed from outside", { skip }, async () => {
	const random = new Random(seed, "milliseconds");
	const { path } = await buildRv32Image();
	await Rv32Meter.with({ image: path }, (meter) =>
		survive(meter, 3, async (now) => {
			await start(meter, now);
			for (let i = 0; i < 4; i++) await meter.advance((now += 500));
			const advanced = meter.advance((now += 2000));
			await new Promise((resolve) => setTimeout(resolve, random.integer(0, 40)));
			await meter.target.killEmulator(0);
			await advanced;
			meter.isOn = false;
			return now;
		}),
	);
});
