import { InvariantError, Status } from "../bytes/status.js";
import type { DeviceDescription } from "./zcl/attribute-values.js";
import { ClusterId } from "./zcl/attributes.js";
import type { MeterData } from "./zcl/meter-data.js";
import type { ReportingStore } from "./zcl/reporting.js";
import type { Scale } from "./zcl/scale.js";
import { ZclServer } from "./zcl/zcl-server.js";
import { type IncomingMessage, type ZnpListener, ZnpMachine } from "./znp-machine.js";

export interface ZigbeeMeterSettings {
	readonly device: DeviceDescription;
	readonly scale: Scale;
	/** 1 router (mains meters), 2 end device. */
	readonly logicalType: 1 | 2;
	/** Bit n stands for channel n, 11 to 26. */
	readonly channelMask: number;
	/** 18 bytes with CRC; absent: the well-known key. */
	readonly installCode?: Uint8Array;
	readonly extendedPanId?: Uint8Array;
	/** Of our own attributes; 0: none. */
	readonly manufacturerCode: number;
	readonly evaluationMilliseconds?: number;
	readonly timeRequestSeconds?: number;
}

/** What becomes known of the network. */
export interface ZigbeeMeterEvents {
	zigbeeJoined(shortAddress: number): void;
	zigbeeLost(status: Status): void;
	zigbeeJoinFailed(status: Status): void;
	/** A message for a cluster that the server does not have; valid only during the call. */
	zigbeeMessage(message: IncomingMessage): void;
	/** The outcome of a message that did not come from the server. */
	zigbeeSent(handle: number, status: Status): void;
}

/** Metering device of Smart Energy; hosts show it as a meter by its clusters. */
const DEVICE_METERING = 0x0501;
const PROFILE_HOME_AUTOMATION = 0x0104;
const MESSAGE_BYTES_MAX = 128;
const OUTGOING_MAX = 4;
const RETRY_MILLISECONDS = 2_000;

/**
 * A meter on Zigbee: co-processor machine and cluster server as one machine of the house style. The host moves bytes,
 * calls `tick` at `deadlineMilliseconds()`, and after every call `transmit` until 0. About 4 KB of buffers.
 */
export class ZigbeeMeter implements ZnpListener {
	readonly machine: ZnpMachine;
	readonly server: ZclServer;
	readonly #events: ZigbeeMeterEvents;
	#now = 0;

	/** @param random uniform in [0, 1), from the host's entropy */
	constructor(
		settings: ZigbeeMeterSettings,
		data: MeterData,
		store: ReportingStore,
		events: ZigbeeMeterEvents,
		random: () => number,
	) {
		const { device } = settings;
		for (const text of [device.manufacturerName, device.modelIdentifier, device.dateCode, device.softwareBuild])
			if (text.length === 0 || text.length > 32) throw new InvariantError("zigbee: text of 1 to 32 bytes");
		this.#events = events;
		this.machine = new ZnpMachine(
			{
				logicalType: settings.logicalType,
				channelMask: settings.channelMask,
				...(settings.installCode ? { installCode: settings.installCode } : {}),
				...(settings.extendedPanId ? { extendedPanId: settings.extendedPanId } : {}),
				endpoint: 1,
				profile: PROFILE_HOME_AUTOMATION,
				device: DEVICE_METERING,
				deviceVersion: 1,
				inputClusters: [ClusterId.basic, ClusterId.identify, ClusterId.metering, ClusterId.electricalMeasurement],
				outputClusters: [ClusterId.time],
				messageBytesMax: MESSAGE_BYTES_MAX,
				outgoingMax: OUTGOING_MAX,
				backOffMinimumMilliseconds: 2_000,
				backOffMaximumMilliseconds: 300_000,
			},
			this,
			random,
		);
		this.server = new ZclServer(
			{
				device,
				scale: settings.scale,
				manufacturerCode: settings.manufacturerCode,
				evaluationMilliseconds: settings.evaluationMilliseconds ?? 1_000,
				timeRequestSeconds: settings.timeRequestSeconds ?? 86_400,
				retryMilliseconds: RETRY_MILLISECONDS,
			},
			data,
			store,
			this.machine,
		);
	}

	/** Wakes the co-processor. With `isJoining` it looks for a network whenever it has none. */
	start(nowMilliseconds: number, isJoining: boolean): void {
		this.#now = nowMilliseconds;
		this.server.start(nowMilliseconds);
		this.machine.start(nowMilliseconds);
		if (isJoining) this.machine.join(nowMilliseconds);
	}

	receive(nowMilliseconds: number, bytes: Uint8Array, byteLength: number): Status {
		this.#now = nowMilliseconds;
		return this.machine.receive(nowMilliseconds, bytes, byteLength);
	}

	tick(nowMilliseconds: number): void {
		this.#now = nowMilliseconds;
		this.machine.tick(nowMilliseconds);
		this.server.tick(nowMilliseconds);
	}

	deadlineMilliseconds(): number {
		return Math.min(this.machine.deadlineMilliseconds(), this.server.deadlineMilliseconds());
	}

	transmit(into: Uint8Array): number {
		return this.machine.transmit(into);
	}

	networkJoined(shortAddress: number): void {
		this.server.online(this.#now);
		this.#events.zigbeeJoined(shortAddress);
	}

	networkLost(status: Status): void {
		if (status === Status.linkDown) this.server.offline();
		else this.server.forget();
		this.#events.zigbeeLost(status);
	}

	joinFailed(status: Status): void {
		this.#events.zigbeeJoinFailed(status);
	}

	message(message: IncomingMessage): void {
		if (message.cluster >= 0xfc00) this.#events.zigbeeMessage(message);
		else this.server.receive(this.#now, message);
	}

	sent(handle: number, status: Status): void {
		this.server.sent(handle, status);
		this.#events.zigbeeSent(handle, status);
	}
}
