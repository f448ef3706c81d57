import type { CryptoPlatform } from "../../../src/crypto/crypto-platform.js";
import { TypeScriptSampleKernel } from "../../../src/metrology/sample-kernel.js";
import type { Clock } from "../../../src/platform/clock.js";
import type { Link, LinkEvents } from "../../../src/platform/link.js";
import type { MeterEvents } from "../../../src/platform/platform.js";
import type { SampleKernel, SampleLayout } from "../../../src/platform/sample-kernel.js";
import type { FlashSimulator } from "../../board/flash-simulator.js";
import { NodeCrypto } from "../../crypto/node-crypto.js";

/** A platform in memory: time moves when the test says so, the link is a queue of bytes. */
export class TestPlatform implements CryptoPlatform {
	now = 0;
	utcOffset = Number.NaN;
	readonly inputs = new Map<number, number>();
	readonly outputs = new Map<number, number>();
	readonly lines: string[] = [];
	readonly sent: Uint8Array[] = [];
	linkOpen = false;
	linkWanted = false;
	readonly flash: FlashSimulator;

	constructor(flash: FlashSimulator) {
		this.flash = flash;
	}

	readonly clock: Clock = {
		monotonicMilliseconds: () => this.now,
		utcSeconds: () => this.utcOffset + this.now / 1000,
		setUtcSeconds: (utcSeconds) => {
			this.utcOffset = utcSeconds - this.now / 1000;
		},
	};
	entropyByte = 7;
	readonly entropy = { fill: (into: Uint8Array): void => void into.fill(this.entropyByte) };
	readonly crypto = new NodeCrypto();
	readonly deviceKey = {
		copyTo: (into: Uint8Array, offset: number): void => void into.fill(0x5c, offset, offset + 32),
	};
	readonly opticalSent: Uint8Array[] = [];
	readonly opticalPort = {
		send: (bytes: Uint8Array, byteLength: number): number => {
			this.opticalSent.push(bytes.slice(0, byteLength));
			return byteLength;
		},
	};
	readonly link: Link = {
		open: () => {
			this.linkWanted = true;
		},
		send: (bytes, byteLength) => {
			this.sent.push(bytes.slice(0, byteLength));
			return byteLength;
		},
		close: () => {
			this.linkWanted = false;
		},
	};
	bootReason = 0;
	readonly board = {
		bootReason: (): number => this.bootReason,
		input: (which: number): number => this.inputs.get(which) ?? 0,
		setOutput: (which: number, value: number): void => void this.outputs.set(which, value),
		restart: (): never => {
			throw new Error("restart");
		},
	};
	readonly log = { line: (text: string): void => void this.lines.push(text) };

	createSampleKernel(layout: SampleLayout): SampleKernel {
		return new TypeScriptSampleKernel(layout);
	}
}

/** One second of a steady load, int16, whole cycles: 50 Hz, all phases alike, current `lagDegrees` behind the voltage. */
export function secondOfSamples(
	layout: SampleLayout,
	voltageCodes: number,
	currentCodes: number,
	lagDegrees = 0,
): Uint8Array {
	const channelCount = layout.phaseCount * 2 + (layout.neutralCurrent ? 1 : 0);
	const rows = layout.samplesPerSecond;
	const bytes = new Uint8Array(rows * channelCount * 2);
	const view = new DataView(bytes.buffer);
	for (let row = 0; row < rows; row++)
		for (let phase = 0; phase < layout.phaseCount; phase++) {
			const angle = (2 * Math.PI * 50 * row) / rows - (phase * 2 * Math.PI) / 3;
			const at = (row * channelCount + 2 * phase) * 2;
			view.setInt16(at, Math.round(voltageCodes * Math.SQRT2 * Math.sin(angle)), true);
			view.setInt16(
				at + 2,
				Math.round(currentCodes * Math.SQRT2 * Math.sin(angle - (lagDegrees * Math.PI) / 180)),
				true,
			);
		}
	return bytes;
}

/** Feeds `seconds` seconds in blocks of 50 ms, with ticks as the meter asks for them. */
export function runSeconds(
	platform: TestPlatform,
	meter: MeterEvents & LinkEvents,
	layout: SampleLayout,
	second: Uint8Array,
	seconds: number,
): void {
	const rowBytes = second.length / layout.samplesPerSecond;
	const rowsPerBlock = layout.samplesPerSecond / 20;
	for (let s = 0; s < seconds; s++)
		for (let block = 0; block < 20; block++) {
			platform.now += 50;
			const from = block * rowsPerBlock * rowBytes;
			meter.samples(second.subarray(from, from + rowsPerBlock * rowBytes), rowsPerBlock);
			for (let n = 0; meter.deadlineMilliseconds() <= platform.now; n++) {
				if (n === 100) throw new Error("the meter asks for ticks without end");
				meter.tick();
			}
		}
}
