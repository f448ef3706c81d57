import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { rv32Skip } from "../../build/rv32.js";
import { buildRv32Image } from "../../build/rv32-image.js";
import { Rv32Target } from "../../device/rv32.js";
import { ROOT } from "../../root.js";
import { conformance } from "./conformance.js";
import { Driver } from "./driver.js";

const skip = rv32Skip();

describe("emulated RV32", { skip }, () => {
	let image = "";
	let driver: Driver;

	before(async () => {
		({ path: image } = await buildRv32Image({
			entry: join(ROOT, "test-harness", "unit", "device", "firmware", "trial.ts"),
			name: "trial",
		}));
		driver = new Driver(new Rv32Target({ image, counters: true }));
		await driver.start();
	});

	after(async () => {
		await driver.target.stop();
	});

	conformance(() => driver, {
		slotBytes: 16,
		chunkHeaderBytes: 8,
		endlessLoops: false,
		collectOften: () => new Rv32Target({ image, collectOften: true }),
	});

	test("a store to where nothing may be written traps, and ends that meter only", async () => {
		const nothing = "store into memory that is read-only or not there";
		const places: [number, string][] = [
			[0x2000_0000, nothing], // code
			[0x2008_0000, nothing], // bytecode or root machine
			[0x8005_0000, nothing], // just behind the RAM
			[0x8100_0000, nothing],
			[0x7fff_fff0, "overflow of the C stack"],
		];
		for (const [address, how] of places) {
			const stray = new Driver(new Rv32Target({ image, strayStore: address }));
			await stray.start();
			const end = await stray.powerOn(0);
			await stray.target.stop();
			assert.match(end, new RegExp(`^aborted 3 ${how}: cause 7 .* value 0x${address.toString(16)}`));
			assert.equal(stray.failure, "");
		}
	});
});
