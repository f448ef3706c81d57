import { join } from "node:path";
import { herdsman } from "./herdsman.js";

/** What these tests use of zigbee-herdsman's device. */
export interface PeerDevice {
	readonly ieeeAddr: string;
	readonly networkAddress: number;
	readonly modelID: string;
	readonly manufacturerName: string;
	readonly powerSource: string;
	readonly softwareBuildID: string;
	readonly interviewState: string;
	readonly endpoints: { readonly ID: number; readonly inputClusters: number[] }[];
	getEndpoint(id: number): PeerEndpoint;
	removeFromNetwork(): Promise<void>;
}

export interface PeerEndpoint {
	command(cluster: string, command: string, payload: object): Promise<Record<string, unknown>>;
	read(cluster: string, attributes: (string | number)[]): Promise<Record<string, unknown>>;
	configureReporting(cluster: string, items: object[]): Promise<void>;
	readonly binds: { readonly cluster: { readonly ID: number } }[];
}

interface PeerMessage {
	readonly type: string;
	readonly cluster: string;
	readonly device: PeerDevice;
	readonly data: Record<string, unknown>;
}

interface Definition {
	readonly model: string;
	readonly generated?: boolean;
	readonly exposes: { name?: string; property?: string }[];
	readonly fromZigbee: {
		cluster: string;
		type: string | string[];
		convert(
			definition: Definition,
			message: PeerMessage,
			publish: (part: object) => void,
			options: object,
			meta: object,
		): object | undefined;
	}[];
	configure?(device: PeerDevice, coordinator: PeerEndpoint, definition: Definition): Promise<void>;
}

interface Controller {
	start(): Promise<string>;
	stop(): Promise<void>;
	permitJoin(seconds: number): Promise<void>;
	addInstallCode(code: string): Promise<void>;
	getDevicesByType(type: string): PeerDevice[];
	getDeviceByIeeeAddr(address: string): PeerDevice | undefined;
	on(event: "message", use: (message: PeerMessage) => void): void;
	on(event: "deviceInterview", use: (event: { status: string; device: PeerDevice }) => void): void;
	on(event: "deviceLeave", use: (event: { ieeeAddr: string }) => void): void;
}

interface Converters {
	findByDevice(device: PeerDevice, generate: boolean): Promise<Definition>;
	addExternalDefinition(definition: object): void;
	setLogger(logger: object): void;
}

/** zigbee-herdsman with its converters in front of a stick: the part of Zigbee2MQTT below MQTT. */
export class HerdsmanPeer {
	readonly controller: Controller;
	readonly converters: Converters;
	/** What Zigbee2MQTT would publish, by device. */
	readonly states = new Map<string, Record<string, number>>();
	/** Warnings and errors of the peer's own log. */
	readonly complaints: string[] = [];
	readonly left: string[] = [];
	readonly #interviewed = new Map<string, (device: PeerDevice) => void>();
	readonly #definitions = new Map<string, Definition>();

	constructor(port: number, folder: string) {
		const { Controller, setLogger } = herdsman().load("") as {
			Controller: new (options: object) => Controller;
			setLogger(logger: object): void;
		};
		const note = (message: unknown): void => {
			this.complaints.push(String(typeof message === "function" ? message() : message));
		};
		const logger = { debug() {}, info() {}, warning: note, error: note };
		setLogger(logger);
		this.converters = herdsman().loadConverters("") as Converters;
		this.converters.setLogger(logger);
		this.controller = new Controller({
			network: {
				panID: 0x1a62,
				extendedPanID: [0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd],
				channelList: [15],
				networkKey: Array.from({ length: 16 }, (_, i) => i + 1),
			},
			serialPort: { path: `tcp://127.0.0.1:${port}`, adapter: "zstack" },
			databasePath: join(folder, "database.db"),
			databaseBackupPath: undefined,
			backupPath: join(folder, "backup.json"),
			adapter: {},
			acceptJoiningDeviceHandler: undefined,
		});
		this.controller.on("deviceInterview", ({ status, device }) => {
			if (status === "started") return;
			this.#interviewed.get(device.ieeeAddr)?.(device);
		});
		this.controller.on("deviceLeave", ({ ieeeAddr }) => this.left.push(ieeeAddr));
		this.controller.on("message", (message) => this.#convert(message));
	}

	/** A device's interview. */
	interview(extendedAddress: string): Promise<PeerDevice> {
		return new Promise((resolve) => this.#interviewed.set(`0x${extendedAddress}`, resolve));
	}

	/** Finds or makes the definition, and configures the device as Zigbee2MQTT does. */
	async configure(device: PeerDevice): Promise<Definition> {
		const definition = await this.converters.findByDevice(device, true);
		this.#definitions.set(device.ieeeAddr, definition);
		const coordinator = this.controller.getDevicesByType("Coordinator")[0]!.getEndpoint(1);
		await definition.configure?.(device, coordinator, definition);
		return definition;
	}

	state(extendedAddress: string): Record<string, number> {
		return this.states.get(`0x${extendedAddress}`) ?? {};
	}

	#convert(message: PeerMessage): void {
		const { device, cluster, type } = message;
		const definition = this.#definitions.get(device.ieeeAddr);
		if (!definition) return;
		const state = this.states.get(device.ieeeAddr) ?? {};
		this.states.set(device.ieeeAddr, state);
		for (const converter of definition.fromZigbee) {
			if (converter.cluster !== cluster || ![converter.type].flat().includes(type)) continue;
			const meta = { device, state, deviceExposesChanged() {} };
			Object.assign(
				state,
				converter.convert(definition, message, () => {}, {}, meta),
			);
		}
	}
}

/** Waits in real time. */
export async function until(isDone: () => boolean, secondsMax: number): Promise<boolean> {
	for (let waited = 0; waited < secondsMax * 1_000; waited += 20) {
		if (isDone()) return true;
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
	return isDone();
}
