import type { Status } from "../../../src/bytes/status.js";
import {
	type IncomingMessage,
	type ZnpListener,
	ZnpMachine,
	type ZnpSettings,
} from "../../../src/zigbee/znp-machine.js";
import type { Air } from "../../air/air.js";
import { MachineHost } from "../../air/machine-host.js";
import { type ModuleImage, ZnpModule } from "../../air/znp-module.js";
import { Random } from "../../waveforms/random.js";

export const METER = "00124b00c0ffee01";

export const SETTINGS: ZnpSettings = {
	logicalType: 1,
	channelMask: 0x07ff_f800,
	endpoint: 1,
	profile: 0x0104,
	device: 0x0053,
	deviceVersion: 1,
	inputClusters: [0x0000, 0x0003, 0x0702, 0x0b04],
	outputClusters: [0x000a, 0x0019],
	messageBytesMax: 200,
	outgoingMax: 4,
	backOffMinimumMilliseconds: 1_000,
	backOffMaximumMilliseconds: 60_000,
};

/** A machine on a virtual co-processor, with everything that it told its listener. */
export class MeterMachine implements ZnpListener {
	readonly machine: ZnpMachine;
	readonly module: ZnpModule;
	readonly host: MachineHost;
	readonly log: string[] = [];
	readonly messages: { cluster: number; source: number; bytes: Buffer }[] = [];
	readonly outcomes = new Map<number, Status>();
	readonly #air: Air;

	constructor(air: Air, settings: Partial<ZnpSettings> = {}, image?: ModuleImage, address = METER) {
		this.#air = air;
		this.module = new ZnpModule(air, address, image);
		const random = new Random(air.seed, "machine");
		this.machine = new ZnpMachine({ ...SETTINGS, ...settings }, this, () => random.unit());
		this.host = new MachineHost(air, this.machine, this.module);
	}

	start(isJoining = true): void {
		this.machine.start(this.#air.clock.nowMilliseconds);
		if (isJoining) this.machine.join(this.#air.clock.nowMilliseconds);
		this.host.turn();
	}

	/** @returns whether it is in the network within so many seconds */
	join(seconds = 60): boolean {
		this.start();
		return this.#air.clock.runUntilTrue(() => this.machine.isJoined, seconds);
	}

	send(mode: number, address: number, cluster: number, text: string): number {
		const bytes = Buffer.from(text);
		const handle = this.machine.send(mode, address, 1, cluster, bytes, bytes.length);
		this.host.turn();
		return handle;
	}

	networkJoined(shortAddress: number): void {
		this.log.push(`joined ${shortAddress === this.module.node.shortAddress}`);
	}
	networkLost(status: Status): void {
		this.log.push(`lost ${status}`);
	}
	joinFailed(status: Status): void {
		this.log.push(`failed ${status}`);
	}
	message(message: IncomingMessage): void {
		this.messages.push({
			cluster: message.cluster,
			source: message.sourceAddress,
			bytes: Buffer.from(message.payload.subarray(message.start, message.start + message.byteLength)),
		});
	}
	sent(handle: number, status: Status): void {
		this.outcomes.set(handle, status);
	}
}
