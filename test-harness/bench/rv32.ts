import { join } from "node:path";
import { rv32Skip } from "../build/rv32.js";
import { buildRv32Image } from "../build/rv32-image.js";
import type { Measurement } from "../commands/bench.js";
import { ROOT } from "../root.js";
import { PLAIN_SETTINGS, Rv32Meter, SECURED_SETTINGS } from "./rv32-meter.js";

/** Of rv32-firmware.ts, with what docs/DESIGN-CRYPTO.md has for the C alone. */
const OPERATIONS: readonly (readonly [name: string, beat?: string])[] = [
	["nothing"],
	["sha256 64", "9,739 in C"],
	["sha256 1024", "75,378 in C"],
	["kdf", "5,025 in C"],
	["hmac 64", "15,255 in C"],
	["hkdf 32", "42,311 in C"],
	["aes key", "6,323 in C"],
	["aes block"],
	["ccm seal 64", "30,498 in C"],
	["gcm seal 64", "23,492 in C"],
	["cmac 16", "8,527 in C"],
	["key wrap 16"],
	["reading 64, primitives", "46,871 in C"],
	["reading 64, sealed by the key store"],
	["kernel 200 rows, C"],
	["kernel 200 rows, TypeScript"],
];

const MEGAHERTZ = 160;

/** What the count would be as time, said so that nobody takes it for a measurement of a chip. */
function asTime(instructions: number): string {
	return `${(instructions / MEGAHERTZ / 1000).toPrecision(3)} ms at ${MEGAHERTZ} MHz if each took one cycle (computed; emulated RV32)`;
}

async function countOperations(onProgress: (text: string) => void): Promise<Measurement[]> {
	const { path } = await buildRv32Image({
		entry: join(ROOT, "test-harness", "bench", "rv32-firmware.ts"),
		name: "bench",
		onProgress,
	});
	return Rv32Meter.with({ image: path }, async (meter) => {
		await meter.powerOn();
		await meter.advance(0);
		const run = async (name: string, times: number): Promise<{ instructions: number; ticks: number }> => {
			const [before, ticks] = [meter.counters.instructions, meter.ticks];
			meter.target.linkData(0, Buffer.from(`${name}|${times}`));
			await meter.advance(0);
			return { instructions: meter.counters.instructions - before, ticks: meter.ticks - ticks };
		};
		const found: Measurement[] = [];
		for (const [name, beat] of OPERATIONS) {
			onProgress(name);
			await run(name, 2); // what is made at first use
			const [few, many] = [await run(name, 4), await run(name, 24)];
			const instructions = (many.instructions - few.instructions) / 20;
			found.push({
				name,
				value: instructions,
				unit: "instructions",
				...(beat ? { beat } : {}),
				note: `${((many.ticks - few.ticks) / 20).toFixed(0)} metering ticks; ${asTime(instructions)}`,
			});
		}
		return found;
	});
}

async function countMeter(onProgress: (text: string) => void): Promise<Measurement[]> {
	const { path } = await buildRv32Image({ onProgress });
	const seconds = 60;
	const found: Measurement[] = [];
	const ways = [
		{ name: "secured", settingsText: SECURED_SETTINGS, typeScriptKernel: false },
		{ name: "plain", settingsText: PLAIN_SETTINGS, typeScriptKernel: false },
		{ name: "plain, kernel in TypeScript", settingsText: PLAIN_SETTINGS, typeScriptKernel: true },
	];
	for (const { name, settingsText, typeScriptKernel } of ways)
		await Rv32Meter.with({ image: path }, async (meter) => {
			onProgress(name);
			const add = (what: string, value: number, ticks: number): void => {
				const note = `${ticks.toFixed(0)} metering ticks; ${asTime(value)}`;
				found.push({ name: `${what}, ${name}`, value, unit: "instructions", note });
			};
			if (settingsText === SECURED_SETTINGS) meter.provision();
			await meter.powerOn({ settingsText, typeScriptKernel });
			if (!typeScriptKernel) add("boot: reset to first deadline", meter.counters.instructions, meter.ticks);
			meter.load();
			for (let second = 1; second <= 10; second++) await meter.advance(second * 1000);
			const [before, ticks] = [meter.counters.instructions, meter.ticks];
			const count = typeScriptKernel ? 5 : seconds;
			for (let second = 11; second <= 10 + count; second++) await meter.advance(second * 1000);
			add("meter second", (meter.counters.instructions - before) / count, (meter.ticks - ticks) / count);
			if (!typeScriptKernel && meter.published === 0) throw new Error("nothing was published");
		});
	return found;
}

export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	const skip = rv32Skip();
	if (skip) return [{ name: "emulated RV32", value: 0, unit: "", note: skip }];
	return [...(await countMeter(onProgress)), ...(await countOperations(onProgress))];
}
