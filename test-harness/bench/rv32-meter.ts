import { Status } from "../../src/bytes/status.js";
import { KeyStore } from "../../src/key-store/key-store.js";
import type { DeviceKey } from "../../src/platform/device-key.js";
import type { NorFlash } from "../../src/platform/flash.js";
import { SparseFlash } from "../board/sparse-flash.js";
import { NodeCrypto } from "../crypto/node-crypto.js";
import { type Rv32Counters, type Rv32Options, Rv32Target } from "../device/rv32.js";
import type { PowerOn, Statistics, TargetEvents } from "../device/target.js";
import { scenarioProvisioning } from "../key-store/scenario.js";
import { brokerAnswer, waveform } from "./engine.js";

/** How it is switched on, unless told otherwise. */
export const ON: PowerOn = {
	nowMilliseconds: 0,
	utcSeconds: 800_000_000,
	sectorBytes: 4096,
	sectorCount: 384,
	bootReason: 0,
	typeScriptKernel: false,
	entropySeed: new Uint8Array(32),
	deviceKey: new Uint8Array(32).fill(1),
	settingsText: "{}",
};

const IDENTIFIER = Buffer.from(scenarioProvisioning(1, 0).id).toString("hex");
export const SECURED_SETTINGS = JSON.stringify({ security: "secured", identifier: IDENTIFIER });
/** A meter without keys: everything travels in clear. */
export const PLAIN_SETTINGS = JSON.stringify({ security: "plain", identifier: IDENTIFIER });

/** One emulated board with a broker that grants everything: for what is measured of it. */
export class Rv32Meter implements TargetEvents {
	readonly target: Rv32Target;
	ticks = 0;
	/** Messages published so far. */
	published = 0;
	/** How often it has opened its link. */
	connections = 0;
	deadline = Number.NaN;
	readonly flash = new SparseFlash(ON.sectorBytes, ON.sectorCount);
	/** False after a power cut, which ends any wait. */
	isOn = false;
	#answer: (() => void) | undefined;
	#statistics: ((statistics: Statistics) => void) | undefined;
	#fail: ((error: Error) => void) | undefined;

	constructor(options: Rv32Options) {
		this.target = new Rv32Target({ ...options, counters: true });
	}

	/** Runs `work` with a started target, and stops it. */
	static async with<T>(options: Rv32Options, work: (meter: Rv32Meter) => Promise<T>): Promise<T> {
		const meter = new Rv32Meter(options);
		await meter.target.start(meter);
		try {
			return await Promise.race([
				work(meter),
				new Promise<never>((_, reject) => {
					meter.#fail = reject;
				}),
			]);
		} finally {
			await meter.target.stop();
		}
	}

	#ask(question: () => void): Promise<void> {
		return new Promise((resolve) => {
			this.#answer = resolve;
			question();
		});
	}

	/** What its flash holds, for someone who has the chip in hand. */
	get chip(): NorFlash {
		const { flash } = this;
		return {
			sectorBytes: flash.sectorBytes,
			sectorCount: flash.sectorCount,
			read(address, into, byteLength) {
				flash.read(address, into, byteLength);
				return Status.ok;
			},
			program(address, from, byteLength) {
				flash.program(address, from.subarray(0, byteLength));
				return Status.ok;
			},
			erase(sectorIndex) {
				flash.erase(sectorIndex);
				return Status.ok;
			},
		};
	}

	/** The keys in flash, opened as the meter would. */
	openKeys(): KeyStore {
		const fuses: DeviceKey = { copyTo: (into, offset) => into.set(ON.deviceKey, offset) };
		const store = new KeyStore(new NodeCrypto(), this.chip, fuses);
		const status = store.open();
		if (status !== Status.ok && status !== Status.notFound) throw new Error(`keys do not open: ${status}`);
		return store;
	}

	/** Puts keys into the flash, as a factory does before the first start. */
	provision(): void {
		const epoch = Math.floor(ON.utcSeconds / 86_400);
		const status = this.openKeys().provision({ ...scenarioProvisioning(1, epoch), calendarFirstEpoch: epoch });
		if (status !== Status.ok) throw new Error(`not provisioned: ${status}`);
	}

	powerOn(options: Partial<PowerOn> = {}): Promise<void> {
		this.isOn = true;
		for (const { address, bytes } of this.flash.pieces()) this.target.flashLoad(0, address, bytes);
		return this.#ask(() => this.target.powerOn(0, { ...ON, ...options }));
	}

	advance(untilMilliseconds: number): Promise<void> {
		return this.#ask(() => this.target.advance(0, untilMilliseconds));
	}

	/** A load of 5 A on three phases, for ever. */
	load(): void {
		this.target.samples(0, 800, true, waveform());
	}

	statisticsNow(): Promise<Statistics> {
		return new Promise((resolve) => {
			this.#statistics = resolve;
			this.target.queryStatistics(0);
		});
	}

	get counters(): Rv32Counters {
		const counters = this.target.counters(0);
		if (!counters) throw new Error("the board has not answered yet");
		return counters;
	}

	done(_meter: number, _now: number, deadline: number, ticks: number): void {
		this.ticks = ticks;
		this.deadline = deadline;
		this.#answer?.();
	}

	linkOpen(): void {
		this.connections++;
		this.target.linkOpened(0);
	}

	linkSend(_meter: number, bytes: Uint8Array): void {
		const { answer, published } = brokerAnswer(bytes);
		if (published) this.published++;
		if (answer.length > 0) this.target.linkData(0, answer);
	}

	linkClose(): void {
		this.target.linkClosed(0);
	}

	aborted(_meter: number, reason: number, text: string): void {
		this.#fail?.(new Error(`aborted (${reason}): ${text}`));
	}

	failed(reason: string): void {
		this.#fail?.(new Error(reason));
	}

	statistics(_meter: number, statistics: Statistics): void {
		this.#statistics?.(statistics);
	}

	flashProgram(_meter: number, address: number, bytes: Uint8Array): void {
		this.flash.program(address, bytes);
	}

	flashErase(_meter: number, sectorIndex: number): void {
		this.flash.erase(sectorIndex);
	}

	poweredOff(): void {
		this.isOn = false;
		this.#answer?.();
	}

	output(): void {}
	log(): void {}
	clockSet(): void {}
	opticalSend(): void {}
}
