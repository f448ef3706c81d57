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

	test("a store into flash traps, and ends that meter only", async () => {
		const stray = new Driver(new Rv32Target({ image, strayStore: true }));
		await stray.start();
		assert.match(await stray.powerOn(0), /^aborted 3 store into memory that is read-only or not there: .* value 0x20/);
		await stray.target.stop();
		assert.equal(stray.failure, "");
	});
});
