import { Status } from "../../../src/bytes/status.js";
import { type MqttListener, MqttMachine, type MqttSettings } from "../../../src/mqtt/mqtt-machine.js";
import { firmwareBundle } from "./firmware-bundle.js";

/** The machine as Node loads it, and as the firmware has it. */
export interface Build {
	readonly name: string;
	readonly MqttMachine: typeof MqttMachine;
}

export async function builds(): Promise<Build[]> {
	const bundle = await firmwareBundle();
	return [
		{ name: "Node", MqttMachine },
		{ name: "firmware bundle", MqttMachine: bundle.MqttMachine },
	];
}

export const SETTINGS: MqttSettings = Object.freeze({
	clientIdentifier: "meter-1",
	protocolVersion: 4,
	cleanSession: false,
	sessionExpirySeconds: 86_400,
	keepAliveSeconds: 60,
	backOffMinimumMilliseconds: 1_000,
	backOffMaximumMilliseconds: 60_000,
	inFlightMax: 4,
	packetBytesMax: 512,
} as const);

/** Writes down what a machine tells. */
export class Recorder implements MqttListener {
	readonly events: string[] = [];
	connected(sessionPresent: boolean): void {
		this.events.push(`connected ${sessionPresent}`);
	}
	disconnected(status: Status): void {
		this.events.push(`disconnected ${status}`);
	}
	published(handle: number): void {
		this.events.push(`published ${handle}`);
	}
	refused(handle: number, reasonCode: number): void {
		this.events.push(`refused ${handle} ${reasonCode}`);
	}
	message(topic: string, payload: Uint8Array, byteLength: number): void {
		this.events.push(`message ${topic} ${Buffer.from(payload).toString("hex", 0, byteLength)}`);
	}
	subscriptionRefused(topicFilter: string, reasonCode: number): void {
		this.events.push(`subscriptionRefused ${topicFilter} ${reasonCode}`);
	}
	/** What came since the last call. */
	take(): string[] {
		return this.events.splice(0);
	}
}

export const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value, "utf8"));
export const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replace(/\s/g, ""), "hex"));

/** Everything that the machine has to send now. */
export function drain(machine: MqttMachine, pieceBytes = 2_048): Buffer {
	const piece = new Uint8Array(pieceBytes);
	const pieces: Buffer[] = [];
	for (let count = machine.transmit(piece); count > 0; count = machine.transmit(piece))
		pieces.push(Buffer.from(piece.subarray(0, count)));
	return Buffer.concat(pieces);
}

/** Cuts a stream of whole packets. */
export function packets(stream: Buffer): Buffer[] {
	const found: Buffer[] = [];
	for (let at = 0; at < stream.length; ) {
		let size = 0;
		let i = at + 1;
		for (let shift = 0; ; shift += 7) {
			const byte = stream[i++]!;
			size += (byte & 0x7f) << shift;
			if (byte < 0x80) break;
		}
		found.push(stream.subarray(at, i + size));
		at = i + size;
	}
	return found;
}

/** A machine with an open link whose CONNECT has been read. `now` is 10,000. */
export function opened(
	settings: Partial<MqttSettings> = {},
	Machine: typeof MqttMachine = MqttMachine,
): { machine: MqttMachine; recorder: Recorder; connect: Buffer } {
	const recorder = new Recorder();
	const machine = new Machine({ ...SETTINGS, ...settings }, recorder, () => 0.5);
	machine.tick(0);
	machine.tick(5_000);
	if (!machine.wantsLink()) throw new Error("no link wanted");
	machine.linkOpened(10_000);
	return { machine, recorder, connect: drain(machine) };
}

/** The same after CONNACK. */
export function connected(
	settings: Partial<MqttSettings> = {},
	Machine: typeof MqttMachine = MqttMachine,
	sessionPresent = false,
): { machine: MqttMachine; recorder: Recorder } {
	const { machine, recorder } = opened(settings, Machine);
	accept(machine, settings.protocolVersion ?? 4, 10_000, sessionPresent);
	recorder.take();
	return { machine, recorder };
}

/** The broker's CONNACK without properties. */
export function accept(machine: MqttMachine, protocolVersion: 4 | 5, now: number, sessionPresent = false): void {
	const connack = bytes(`20 ${protocolVersion === 5 ? "03" : "02"} ${sessionPresent ? "01" : "00"} 00`);
	const whole = protocolVersion === 5 ? Buffer.concat([connack, Buffer.from([0])]) : connack;
	const status = machine.receive(now, whole, whole.length);
	if (status !== Status.ok) throw new Error(`CONNACK: ${status}`);
}

export const receive = (machine: MqttMachine, now: number, hex: string): Status => {
	const packet = bytes(hex);
	return machine.receive(now, packet, packet.length);
};
