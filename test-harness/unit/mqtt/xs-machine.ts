import { join } from "node:path";
import { buildEngine } from "../../build/engine.js";
import { buildFirmware, type FirmwareImage } from "../../build/firmware.js";
import { LinuxXsTarget } from "../../device/linux-xs.js";
import type { Statistics, TargetEvents } from "../../device/target.js";
import { ROOT } from "../../root.js";

/** The machine on XS, preloaded, in the memory of the ESP32-C6, driven command by command. */
export class XsMachine {
	/** Metering ticks of the last command. */
	ticks = 0;
	readonly image: FirmwareImage;
	readonly #target: LinuxXsTarget;
	#answer = "";
	#done: (() => void) | undefined;
	#failed: ((error: Error) => void) | undefined;
	#statistics: ((statistics: Statistics) => void) | undefined;

	private constructor(image: FirmwareImage, host: string) {
		this.image = image;
		this.#target = new LinuxXsTarget({ host, archive: image.archive, threads: 1 });
	}

	static async start(): Promise<XsMachine> {
		const { host } = await buildEngine();
		const image = await buildFirmware({
			entry: join(ROOT, "test-harness", "unit", "mqtt", "xs-trial.ts"),
			name: "mqtt-trial",
		});
		const machine = new XsMachine(image, host);
		await machine.#start();
		return machine;
	}

	async #start(): Promise<void> {
		const nothing = (): void => {};
		const fail = (reason: string): void => this.#failed?.(new Error(reason));
		const events: TargetEvents = {
			done: (_meter, _now, _deadline, meteringTicks) => {
				this.ticks = meteringTicks;
				this.#done?.();
			},
			aborted: (_meter, reason, text) => fail(`aborted, reason ${reason}: ${text}`),
			failed: fail,
			linkOpen: () => this.#target.linkOpened(0),
			linkSend: (_meter, bytes) => {
				this.#answer += Buffer.from(bytes).toString("latin1");
			},
			statistics: (_meter, statistics) => this.#statistics?.(statistics),
			linkClose: nothing,
			flashProgram: nothing,
			flashErase: nothing,
			output: nothing,
			log: (_meter, text) => fail(text),
			poweredOff: nothing,
			clockSet: nothing,
			opticalSend: nothing,
		};
		await this.#target.start(events);
		await this.#run(() =>
			this.#target.powerOn(0, {
				nowMilliseconds: 0,
				utcSeconds: 0,
				sectorBytes: 4096,
				sectorCount: 16,
				bootReason: 0,
				typeScriptKernel: true,
				entropySeed: new Uint8Array(32),
				deviceKey: new Uint8Array(32).fill(1),
				settingsText: "{}",
			}),
		);
		await this.#run(() => this.#target.advance(0, 0));
	}

	#run(ask: () => void): Promise<void> {
		return new Promise((resolve, reject) => {
			this.#done = resolve;
			this.#failed = reject;
			ask();
		});
	}

	/** @returns what the command answers, and what the machine's listener heard */
	async ask(
		command: string,
		parameter = 0,
		bytes: Uint8Array = new Uint8Array(0),
	): Promise<{ answer: string; events: string }> {
		this.#answer = "";
		await this.#run(() => {
			this.#target.linkData(0, Buffer.concat([Buffer.from([command.charCodeAt(0), parameter]), bytes]));
			this.#target.advance(0, 0);
		});
		const bar = this.#answer.indexOf("|");
		return { answer: this.#answer.slice(0, bar), events: this.#answer.slice(bar + 1) };
	}

	statistics(): Promise<Statistics> {
		return new Promise((resolve) => {
			this.#statistics = resolve;
			this.#target.queryStatistics(0);
		});
	}

	stop(): Promise<void> {
		return this.#target.stop();
	}
}
