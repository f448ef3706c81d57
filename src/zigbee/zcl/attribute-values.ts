import { ClusterId, REACTIVE_ENERGY_EXPORT, REACTIVE_ENERGY_IMPORT } from "./attributes.js";
import { saturate, typeBytes } from "./data-types.js";
import { type MeterData, MeterSnapshot, MeterStatusBit } from "./meter-data.js";
import type { Scale } from "./scale.js";

/** What a meter says of itself; constant for its life, but for the software. */
export interface DeviceDescription {
	/** At most 32 bytes of ASCII each. An empty model is no answer to a host. */
	readonly manufacturerName: string;
	readonly modelIdentifier: string;
	/** YYYYMMDD of making. */
	readonly dateCode: string;
	readonly softwareBuild: string;
	readonly serialNumber: string;
	readonly applicationVersion: number;
	readonly stackVersion: number;
	readonly hardwareVersion: number;
	readonly phaseCount: 1 | 3;
	/** Tariffs that have registers, 0 to 4. */
	readonly tariffCount: number;
}

const REVISION = 0xfffd;
const KILOWATT_HOURS = 0;
/** Mains, single phase or three phases. */
const POWER_SOURCE = Object.freeze({ 1: 1, 3: 2 } as const);
/** Active, reactive and apparent of AC, and the phases. */
const MEASUREMENT_TYPE = Object.freeze({ 1: 0x0f, 3: 0x3f } as const);

/** Turns snapshots into attribute values. Saturated values are counted and show as "check meter" in the status. */
export class AttributeValues {
	readonly snapshot = new MeterSnapshot();
	saturationCount = 0;
	identifySeconds = 0;
	readonly #data: MeterData;
	readonly #device: DeviceDescription;
	readonly #scale: Scale;
	#isSaturated = false;

	constructor(data: MeterData, device: DeviceDescription, scale: Scale) {
		this.#data = data;
		this.#device = device;
		this.#scale = scale;
	}

	/** Takes a new window. */
	capture(): void {
		this.#data.capture(this.snapshot);
		const { snapshot } = this;
		this.#isSaturated = false;
		// A power that does not fit is known before the status is read.
		this.number(ClusterId.metering, 0x0400, 0x2a);
		for (let phase = 0; phase < this.#device.phaseCount; phase++) {
			const base = phase === 0 ? 0x0500 : 0x0800 + 0x100 * phase;
			this.number(ClusterId.electricalMeasurement, base + 0x05, 0x21);
			this.number(ClusterId.electricalMeasurement, base + 0x08, 0x21);
			this.number(ClusterId.electricalMeasurement, base + 0x0b, 0x29);
		}
		if (this.#isSaturated) snapshot.status |= MeterStatusBit.checkMeter;
	}

	/** An integer within its type, NaN when it is not known. */
	number(cluster: number, id: number, type: number): number {
		const value = this.#value(cluster, id);
		if (Number.isNaN(value) || typeBytes(type) > 6) return value;
		const limited = saturate(value, type);
		if (limited !== value) {
			this.#isSaturated = true;
			this.saturationCount++;
		}
		return limited;
	}

	/** A string attribute. */
	text(cluster: number, id: number): string {
		const device = this.#device;
		if (cluster === ClusterId.metering) return device.serialNumber;
		switch (id) {
			case 0x0004:
				return device.manufacturerName;
			case 0x0005:
				return device.modelIdentifier;
			case 0x0006:
				return device.dateCode;
			default:
				return device.softwareBuild;
		}
	}

	#value(cluster: number, id: number): number {
		if (id === REVISION) return 1;
		switch (cluster) {
			case ClusterId.basic:
				return this.#basic(id);
			case ClusterId.identify:
				return this.identifySeconds;
			case ClusterId.metering:
				return this.#metering(id);
			default:
				return this.#electrical(id);
		}
	}

	#basic(id: number): number {
		const device = this.#device;
		switch (id) {
			case 0x0000:
				return 8; // the library's revision 8
			case 0x0001:
				return device.applicationVersion;
			case 0x0002:
				return device.stackVersion;
			case 0x0003:
				return device.hardwareVersion;
			default:
				return POWER_SOURCE[device.phaseCount];
		}
	}

	/** A register in kWh over the divisor: rounded down, as a register shows it. */
	#energy(milliwattHours: number): number {
		return Math.floor(milliwattHours / (1_000_000 / this.#scale.meteringDivisor));
	}

	#metering(id: number): number {
		const { snapshot } = this;
		if (id >= 0x0100 && id <= 0x0107) {
			const tariff = (id & 0x0f) >> 1;
			if (tariff >= this.#device.tariffCount) return Number.NaN;
			return this.#energy(
				(id & 1) === 0 ? snapshot.tariffImportMilliwattHours[tariff]! : snapshot.tariffExportMilliwattHours[tariff]!,
			);
		}
		switch (id) {
			case 0x0000:
				return this.#energy(snapshot.activeEnergyImportMilliwattHours);
			case 0x0001:
				return this.#energy(snapshot.activeEnergyExportMilliwattHours);
			case REACTIVE_ENERGY_IMPORT:
				return this.#energy(snapshot.reactiveEnergyImportMillivarHours);
			case REACTIVE_ENERGY_EXPORT:
				return this.#energy(snapshot.reactiveEnergyExportMillivarHours);
			case 0x0006:
				return powerFactor(snapshot.activePowerMilliwatts, snapshot.apparentPowerMillivoltamperes);
			case 0x0200:
				return snapshot.status & 0xff;
			case 0x0204:
				return snapshot.extendedStatus;
			case 0x0300:
				return KILOWATT_HOURS;
			case 0x0301:
				return 1;
			case 0x0302:
				return this.#scale.meteringDivisor;
			case 0x0303: // digits left of the point, suppressing leading zeros; right of it as the divisor says
				return formatting(12, this.#scale.meteringDivisor);
			case 0x0304:
				return formatting(7, this.#scale.meteringDivisor);
			case 0x0306:
				return 0; // electricity
			default:
				return Math.round(snapshot.activePowerMilliwatts / (1_000_000 / this.#scale.meteringDivisor));
		}
	}

	#electrical(id: number): number {
		const { snapshot } = this;
		const scale = this.#scale;
		const totalPower = scale.totalPowerDivisor / scale.totalPowerMultiplier / 1_000;
		switch (id) {
			case 0x0000:
				return MEASUREMENT_TYPE[this.#device.phaseCount];
			case 0x0300:
				return Math.round(snapshot.frequencyMillihertz / 10);
			case 0x0303:
				return this.#current(snapshot.neutralCurrentMilliamperes);
			case 0x0304:
				return Math.round(snapshot.activePowerMilliwatts * totalPower);
			case 0x0305:
				return Math.round(snapshot.reactivePowerMillivars * totalPower);
			case 0x0306:
				return Math.round(snapshot.apparentPowerMillivoltamperes * totalPower);
			case 0x0400:
				return 1;
			case 0x0401:
				return 100;
			case 0x0402:
				return scale.totalPowerMultiplier;
			case 0x0403:
				return scale.totalPowerDivisor;
			case 0x0600:
				return scale.voltageMultiplier;
			case 0x0601:
				return scale.voltageDivisor;
			case 0x0602:
				return scale.currentMultiplier;
			case 0x0603:
				return scale.currentDivisor;
			case 0x0604:
				return scale.phasePowerMultiplier;
			case 0x0605:
				return scale.phasePowerDivisor;
			default:
				return this.#phase(id >> 8 === 0x05 ? 0 : (id >> 8) - 0x08, id & 0xff);
		}
	}

	#current(milliamperes: number): number {
		const scale = this.#scale;
		return Math.round((milliamperes * scale.currentDivisor) / scale.currentMultiplier / 1_000);
	}

	#phase(phase: number, low: number): number {
		const { snapshot } = this;
		const scale = this.#scale;
		const power = scale.phasePowerDivisor / scale.phasePowerMultiplier / 1_000;
		switch (low) {
			case 0x05:
				return Math.round(
					(snapshot.voltageMillivolts[phase]! * scale.voltageDivisor) / scale.voltageMultiplier / 1_000,
				);
			case 0x08:
				return this.#current(snapshot.currentMilliamperes[phase]!);
			case 0x0b:
				return Math.round(snapshot.phaseActivePowerMilliwatts[phase]! * power);
			case 0x0e:
				return Math.round(snapshot.phaseReactivePowerMillivars[phase]! * power);
			case 0x0f:
				return Math.round(snapshot.phaseApparentPowerMillivoltamperes[phase]! * power);
			default:
				return powerFactor(
					snapshot.phaseActivePowerMilliwatts[phase]!,
					snapshot.phaseApparentPowerMillivoltamperes[phase]!,
				);
		}
	}
}

/**
 * Hundredths, never outside -100 to 100, where a host drops the whole attribute. Without load it is 1 by convention: a
 * failure here would make a host throw away the other attributes of the same answer.
 */
function powerFactor(active: number, apparent: number): number {
	if (apparent === 0) return 100;
	return Math.max(-100, Math.min(100, Math.round((active / apparent) * 100)));
}

/** Digits right of the point in bits 0-2, left of it in bits 3-6, bit 7: leading zeros are not shown. */
function formatting(digits: number, divisor: number): number {
	const right = Math.round(Math.log10(divisor));
	return 0x80 | ((digits - right) << 3) | right;
}
