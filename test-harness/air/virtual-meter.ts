import { Status, statusName } from "../../src/bytes/status.js";
import type { DeviceDescription } from "../../src/zigbee/zcl/attribute-values.js";
import type { MeterData, MeterSnapshot } from "../../src/zigbee/zcl/meter-data.js";
import { REPORTING_BYTES, type ReportingStore } from "../../src/zigbee/zcl/reporting.js";
import { chooseScale, type Scale } from "../../src/zigbee/zcl/scale.js";
import { ZigbeeMeter, type ZigbeeMeterEvents, type ZigbeeMeterSettings } from "../../src/zigbee/zigbee-meter.js";
import { Random } from "../waveforms/random.js";
import type { Air } from "./air.js";
import { MachineHost } from "./machine-host.js";
import { type ModuleImage, ZnpModule } from "./znp-module.js";

/** A load that a test sets, in the units of the snapshot; energy follows it when `advance` is called. */
export class FixedLoad implements MeterData {
	voltageMillivolts: number[];
	/** Import is positive. */
	activePowerMilliwatts: number[];
	reactivePowerMillivars: number[];
	frequencyMillihertz = 50_000;
	activeEnergyImportMilliwattHours = 0;
	activeEnergyExportMilliwattHours = 0;
	reactiveEnergyImportMillivarHours = 0;
	reactiveEnergyExportMillivarHours = 0;
	tariff = 0;
	readonly tariffImportMilliwattHours = [0, 0, 0, 0];
	readonly tariffExportMilliwattHours = [0, 0, 0, 0];
	status = 0;
	profileIntervalSeconds = 900;
	profileEndUtcSeconds = 0;
	/** Import of the intervals, the newest first, mWh. */
	profile: number[] = [];
	utcSeconds = Number.NaN;
	identifySeconds = 0;
	captureCount = 0;

	constructor(phaseCount: 1 | 3, activePowerMilliwatts = 0) {
		this.voltageMillivolts = new Array<number>(phaseCount).fill(230_000);
		this.activePowerMilliwatts = new Array<number>(phaseCount).fill(activePowerMilliwatts);
		this.reactivePowerMillivars = new Array<number>(phaseCount).fill(0);
	}

	get phaseCount(): number {
		return this.voltageMillivolts.length;
	}

	apparentPower(phase: number): number {
		return Math.hypot(this.activePowerMilliwatts[phase]!, this.reactivePowerMillivars[phase]!);
	}

	currentMilliamperes(phase: number): number {
		return (this.apparentPower(phase) / this.voltageMillivolts[phase]!) * 1_000;
	}

	advance(elapsedMilliseconds: number): void {
		let power = 0;
		for (const one of this.activePowerMilliwatts) power += one;
		const energy = (power * elapsedMilliseconds) / 3_600_000;
		if (energy > 0) {
			this.activeEnergyImportMilliwattHours += energy;
			this.tariffImportMilliwattHours[this.tariff]! += energy;
		} else {
			this.activeEnergyExportMilliwattHours -= energy;
			this.tariffExportMilliwattHours[this.tariff]! -= energy;
		}
	}

	capture(into: MeterSnapshot): void {
		this.captureCount++;
		let active = 0;
		let reactive = 0;
		for (let phase = 0; phase < this.phaseCount; phase++) {
			into.voltageMillivolts[phase] = this.voltageMillivolts[phase]!;
			into.currentMilliamperes[phase] = this.currentMilliamperes(phase);
			into.phaseActivePowerMilliwatts[phase] = this.activePowerMilliwatts[phase]!;
			into.phaseReactivePowerMillivars[phase] = this.reactivePowerMillivars[phase]!;
			into.phaseApparentPowerMillivoltamperes[phase] = this.apparentPower(phase);
			active += this.activePowerMilliwatts[phase]!;
			reactive += this.reactivePowerMillivars[phase]!;
		}
		into.activePowerMilliwatts = active;
		into.reactivePowerMillivars = reactive;
		into.apparentPowerMillivoltamperes = Math.hypot(active, reactive);
		into.frequencyMillihertz = this.frequencyMillihertz;
		into.activeEnergyImportMilliwattHours = this.activeEnergyImportMilliwattHours;
		into.activeEnergyExportMilliwattHours = this.activeEnergyExportMilliwattHours;
		into.reactiveEnergyImportMillivarHours = this.reactiveEnergyImportMillivarHours;
		into.reactiveEnergyExportMillivarHours = this.reactiveEnergyExportMillivarHours;
		into.tariffImportMilliwattHours.set(this.tariffImportMilliwattHours);
		into.tariffExportMilliwattHours.set(this.tariffExportMilliwattHours);
		into.status = this.status;
	}

	readProfile(isExport: boolean, endUtcSeconds: number, count: number, into: Float64Array): number {
		if (isExport) return 0;
		const skip =
			endUtcSeconds === 0 || endUtcSeconds >= this.profileEndUtcSeconds
				? 0
				: Math.ceil((this.profileEndUtcSeconds - endUtcSeconds) / this.profileIntervalSeconds);
		const found = this.profile.slice(skip, skip + count);
		into.set(found);
		return found.length;
	}

	setUtcSeconds(utcSeconds: number): void {
		this.utcSeconds = utcSeconds;
	}

	identify(seconds: number): void {
		this.identifySeconds = seconds;
	}
}

/** A store in memory; it outlives the firmware in front of it. */
export class MemoryStore implements ReportingStore {
	bytes = new Uint8Array(0);
	saveCount = 0;

	load(into: Uint8Array): number {
		into.set(this.bytes);
		return this.bytes.length;
	}

	save(bytes: Uint8Array, byteLength: number): void {
		if (byteLength > REPORTING_BYTES) throw new RangeError("reporting configuration");
		this.bytes = bytes.slice(0, byteLength);
		this.saveCount++;
	}
}

export function describeDevice(phaseCount: 1 | 3): DeviceDescription {
	return {
		manufacturerName: "Wattlock",
		modelIdentifier: phaseCount === 1 ? "WL1" : "WL3",
		dateCode: "20260101",
		softwareBuild: "0.1.0",
		serialNumber: "0000000000000001",
		applicationVersion: 1,
		stackVersion: 1,
		hardwareVersion: 1,
		phaseCount,
		tariffCount: 2,
	};
}

export interface VirtualMeterOptions {
	readonly phaseCount?: 1 | 3;
	readonly scale?: Scale;
	readonly installCode?: Uint8Array;
	readonly logicalType?: 1 | 2;
	readonly manufacturerCode?: number;
	readonly image?: ModuleImage;
	readonly store?: MemoryStore;
	readonly load?: FixedLoad;
}

/** The firmware's Zigbee side on a virtual co-processor, with a load to set. */
export class VirtualMeter implements ZigbeeMeterEvents {
	readonly load: FixedLoad;
	readonly store: MemoryStore;
	readonly module: ZnpModule;
	readonly meter: ZigbeeMeter;
	readonly host: MachineHost;
	readonly log: string[] = [];
	readonly #air: Air;

	constructor(air: Air, extendedAddress: string, options: VirtualMeterOptions = {}) {
		const phaseCount = options.phaseCount ?? 1;
		this.#air = air;
		this.load = options.load ?? new FixedLoad(phaseCount);
		this.store = options.store ?? new MemoryStore();
		this.module = new ZnpModule(air, extendedAddress, options.image);
		const random = new Random(air.seed, extendedAddress);
		const settings: ZigbeeMeterSettings = {
			device: describeDevice(phaseCount),
			scale: options.scale ?? chooseScale(phaseCount, 300_000, 100_000),
			logicalType: options.logicalType ?? 1,
			channelMask: 0x07ff_f800,
			...(options.installCode ? { installCode: options.installCode } : {}),
			manufacturerCode: options.manufacturerCode ?? 0,
		};
		this.meter = new ZigbeeMeter(settings, this.load, this.store, this, () => random.unit());
		this.host = new MachineHost(air, this.meter, this.module);
	}

	start(isJoining = true): void {
		this.meter.start(this.#air.clock.nowMilliseconds, isJoining);
		this.host.turn();
	}

	zigbeeJoined(shortAddress: number): void {
		this.log.push(`joined ${shortAddress.toString(16).padStart(4, "0")}`);
	}
	zigbeeLost(status: Status): void {
		this.log.push(`lost ${statusName(status)}`);
	}
	zigbeeJoinFailed(status: Status): void {
		this.log.push(`join failed ${statusName(status)}`);
	}
	zigbeeMessage(): void {}
	zigbeeSent(_handle: number, status: Status): void {
		if (status !== Status.ok) this.log.push(`not sent ${statusName(status)}`);
	}
}
