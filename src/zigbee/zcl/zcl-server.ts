import { Status, StatusCounters } from "../../bytes/status.js";
import { AddressMode } from "../mt-commands.js";
import { type IncomingMessage, UNFRAGMENTED_BYTES_MAX } from "../znp-machine.js";
import { AttributeValues, type DeviceDescription } from "./attribute-values.js";
import {
	Access,
	ATTRIBUTE_FIELDS,
	ATTRIBUTES,
	ClusterId,
	findAttribute,
	hasCluster,
	isManufacturerAttribute,
	isOfLaterPhase,
} from "./attributes.js";
import { isAnalog, isSigned, isString, readInteger, typeBytes, writeInteger, ZclType } from "./data-types.js";
import type { MeterData } from "./meter-data.js";
import { type ReportingStore, ReportingTable } from "./reporting.js";
import type { Scale } from "./scale.js";
import { decodeZclHeader, encodeZclHeader, ZclCommand, ZclHeader, ZclStatus } from "./zcl-frame.js";

/** Takes frames to the network; `ZnpMachine.send` is one. */
export interface ZclOutput {
	/** @returns a handle for the outcome, 0 when nothing can be taken now */
	send(mode: number, address: number, endpoint: number, cluster: number, bytes: Uint8Array, byteLength: number): number;
}

export interface ZclServerSettings {
	readonly device: DeviceDescription;
	readonly scale: Scale;
	/** Of our own attributes; 0: they are not served. */
	readonly manufacturerCode: number;
	/** How often a changed value is looked for. */
	readonly evaluationMilliseconds: number;
	/** How often the coordinator's clock is asked for. */
	readonly timeRequestSeconds: number;
	/** How long an attempt to report that failed (nobody bound, table full) is not repeated. */
	readonly retryMilliseconds: number;
}

/** Commands of the clusters. */
const IdentifyCommand = Object.freeze({ identify: 0x00, identifyQuery: 0x01, triggerEffect: 0x40 } as const);
const MeteringCommand = Object.freeze({ getProfile: 0x00, changeSupply: 0x0b, localChangeSupply: 0x0c } as const);

/** Status of a GetProfile answer. */
const ProfileStatus = Object.freeze({
	success: 0,
	undefinedChannel: 1,
	channelNotSupported: 2,
	invalidEndTime: 3,
	moreRequestedThanReturned: 4,
	noIntervals: 5,
} as const);

/** Intervals of one GetProfile answer: 3 header + 7 + 24 * 3 = 82 bytes. */
const PROFILE_INTERVALS_MAX = 24;
const UINT24_UNKNOWN = 0xff_ffff;
const CLUSTERS_OF_READ = Object.freeze([ClusterId.metering, ClusterId.electricalMeasurement] as const);
const MAXIMUM_REMOVE = 0xffff;

/**
 * The server of a meter's endpoint: Basic, Identify, Metering, Electrical Measurement, and the client of Time. It reads
 * frames, answers them, and reports. Frames never exceed what the network carries in one piece (82 bytes): long answers
 * are several frames, cut between records. One sequence counter counts all frames that begin here.
 *
 * After each call of `receive`, `tick` or `sent` the output has what is to be sent. Nothing is allocated after the
 * constructor: about 2.4 KB, of which 1.5 KB are the reporting table.
 */
export class ZclServer {
	readonly counters = new StatusCounters();
	/** Answers that the output had no room for. */
	lostAnswerCount = 0;
	readonly reporting: ReportingTable;
	readonly values: AttributeValues;
	readonly #settings: ZclServerSettings;
	readonly #data: MeterData;
	readonly #output: ZclOutput;
	readonly #header = new ZclHeader();
	readonly #out = new Uint8Array(UNFRAGMENTED_BYTES_MAX);
	readonly #profile = new Float64Array(PROFILE_INTERVALS_MAX);
	#at = 0;
	#sequence = 0;
	#now = 0;
	#evaluateAt = Number.POSITIVE_INFINITY;
	#identifyUntil = Number.NEGATIVE_INFINITY;
	#timeAt = Number.POSITIVE_INFINITY;
	#timeSequence = -1;
	#isOnline = false;

	// The request that is being answered.
	#source = 0;
	#sourceEndpoint = 0;
	#cluster = 0;
	#isSilent = false;

	constructor(settings: ZclServerSettings, data: MeterData, store: ReportingStore, output: ZclOutput) {
		this.#settings = settings;
		this.#data = data;
		this.#output = output;
		this.reporting = new ReportingTable(store);
		this.values = new AttributeValues(data, settings.device, settings.scale);
	}

	/** Takes up the stored configuration. @returns `ok`, or why it begins empty */
	start(nowMilliseconds: number): Status {
		this.#now = nowMilliseconds;
		return this.reporting.load(nowMilliseconds);
	}

	/** The network is there: reports go out from now on, and the coordinator is asked for the time. */
	online(nowMilliseconds: number): void {
		this.#now = nowMilliseconds;
		if (!this.#isOnline) this.#evaluateAt = nowMilliseconds + this.#settings.evaluationMilliseconds;
		this.#isOnline = true;
		this.#timeAt = nowMilliseconds;
	}

	/** The network is gone; the configuration stays. */
	offline(): void {
		this.#isOnline = false;
		this.#evaluateAt = Number.POSITIVE_INFINITY;
		this.#timeAt = Number.POSITIVE_INFINITY;
	}

	/** We left: nobody's configuration any more. */
	forget(): void {
		this.offline();
		this.reporting.count = 0;
		this.reporting.save();
	}

	/** The outcome of a message. */
	sent(handle: number, status: Status): void {
		this.reporting.outcome(handle, status === Status.ok);
	}

	deadlineMilliseconds(): number {
		const identify = this.#identifyUntil === Number.NEGATIVE_INFINITY ? Number.POSITIVE_INFINITY : this.#identifyUntil;
		return Math.min(this.#evaluateAt, this.#timeAt, identify);
	}

	tick(nowMilliseconds: number): void {
		this.#now = nowMilliseconds;
		if (this.#identifyUntil !== Number.NEGATIVE_INFINITY && nowMilliseconds >= this.#identifyUntil) this.#identify(0);
		if (nowMilliseconds >= this.#timeAt) this.#requestTime();
		if (nowMilliseconds >= this.#evaluateAt) {
			this.#evaluateAt = nowMilliseconds + this.#settings.evaluationMilliseconds;
			this.#report();
		}
	}

	/** A message for our endpoint. */
	receive(nowMilliseconds: number, message: IncomingMessage): Status {
		this.#now = nowMilliseconds;
		const header = this.#header;
		const status = decodeZclHeader(message.payload, message.start, message.byteLength, header);
		if (status !== Status.ok) return this.counters.count(status);
		this.#source = message.sourceAddress;
		this.#sourceEndpoint = message.sourceEndpoint;
		this.#cluster = message.cluster;
		this.#isSilent = message.isBroadcast || message.group !== 0;
		this.#at = 0;
		const start = message.start + header.byteLength;
		const end = message.start + message.byteLength;
		if (header.isFromServer) return this.counters.count(this.#fromServer(message.payload, start, end));
		const result = header.isClusterCommand
			? this.#clusterCommand(message.payload, start, end)
			: this.#globalCommand(message.payload, start, end);
		return this.counters.count(result);
	}

	// ---- answers

	/** Begins an answer to the present request. */
	#begin(isClusterCommand: boolean, command: number): void {
		const { manufacturerCode, sequence } = this.#header;
		this.#at = encodeZclHeader(isClusterCommand, true, true, manufacturerCode, sequence, command, this.#out);
	}

	#answer(): void {
		if (this.#isSilent) return;
		const handle = this.#output.send(
			AddressMode.short,
			this.#source,
			this.#sourceEndpoint,
			this.#cluster,
			this.#out,
			this.#at,
		);
		if (handle === 0) this.lostAnswerCount++;
	}

	/** Is there room for so many bytes? If not, what there is goes out, and another frame begins. */
	#room(byteLength: number, command: number): void {
		if (this.#at + byteLength <= this.#out.length) return;
		this.#answer();
		this.#begin(false, command);
	}

	/** Says how a command ended: an error always, a success where the sender wants to know. Never to a broadcast. */
	#defaultResponse(command: number, status: number): Status {
		if (!(this.#header.isDefaultResponseOff && status === ZclStatus.success)) {
			this.#begin(false, ZclCommand.defaultResponse);
			this.#out[this.#at++] = command;
			this.#out[this.#at++] = status;
			this.#answer();
		}
		switch (status) {
			case ZclStatus.success:
				return Status.ok;
			case ZclStatus.malformedCommand:
				return Status.badLength;
			case ZclStatus.notAuthorized:
				return Status.notAuthorised;
			default:
				return Status.unsupported;
		}
	}

	// ---- global commands

	#globalCommand(bytes: Uint8Array, start: number, end: number): Status {
		const { command, manufacturerCode } = this.#header;
		if (command === ZclCommand.defaultResponse) return Status.ok; // never answered
		if (manufacturerCode !== 0 && manufacturerCode !== this.#settings.manufacturerCode)
			return this.#defaultResponse(command, ZclStatus.unsupportedManufacturerGeneralCommand); // ZCL-4
		if (!hasCluster(this.#cluster)) return this.#defaultResponse(command, ZclStatus.unsupportedCluster); // ZCL-5
		switch (command) {
			case ZclCommand.readAttributes:
				return this.#readAttributes(bytes, start, end);
			case ZclCommand.writeAttributes:
			case ZclCommand.writeAttributesUndivided:
			case ZclCommand.writeAttributesNoResponse:
				return this.#writeAttributes(bytes, start, end);
			case ZclCommand.configureReporting:
				return this.#configureReporting(bytes, start, end);
			case ZclCommand.readReportingConfiguration:
				return this.#readReporting(bytes, start, end);
			case ZclCommand.discoverAttributes:
			case ZclCommand.discoverAttributesExtended:
				return this.#discoverAttributes(bytes, start, end);
			case ZclCommand.discoverCommandsReceived:
			case ZclCommand.discoverCommandsGenerated:
				return this.#discoverCommands(bytes, start, end);
			default:
				return this.#defaultResponse(command, ZclStatus.unsupportedGeneralCommand); // ZCL-6
		}
	}

	/** The row of an attribute that this device serves to this frame, -1 for none. */
	#attribute(id: number): number {
		const row = findAttribute(this.#cluster, id);
		return row >= 0 && this.#isServed(row) ? row : -1;
	}

	#isServed(row: number): boolean {
		const cluster = ATTRIBUTES[row]!;
		const id = ATTRIBUTES[row + 1]!;
		const { device } = this.#settings;
		if (device.phaseCount === 1 && isOfLaterPhase(cluster, id)) return false;
		if (cluster === ClusterId.metering && id >= 0x0100 && id <= 0x0107 && (id & 0x0f) >> 1 >= device.tariffCount)
			return false;
		return isManufacturerAttribute(cluster, id) === (this.#header.manufacturerCode !== 0);
	}

	#captureFor(cluster: number): void {
		if (CLUSTERS_OF_READ.includes(cluster as (typeof CLUSTERS_OF_READ)[number])) this.values.capture();
		if (cluster === ClusterId.identify)
			this.values.identifySeconds = Math.max(0, Math.ceil((this.#identifyUntil - this.#now) / 1_000));
	}

	/** Bytes of an attribute's value on the wire. */
	#valueBytes(row: number): number {
		const type = ATTRIBUTES[row + 2]!;
		return isString(type) ? 1 + this.values.text(ATTRIBUTES[row]!, ATTRIBUTES[row + 1]!).length : typeBytes(type);
	}

	/** Writes a value behind what is there. */
	#putValue(row: number, value: number): void {
		const type = ATTRIBUTES[row + 2]!;
		if (!isString(type)) {
			this.#at = writeInteger(this.#out, this.#at, value, typeBytes(type));
			return;
		}
		const text = this.values.text(ATTRIBUTES[row]!, ATTRIBUTES[row + 1]!);
		this.#out[this.#at++] = text.length;
		for (let i = 0; i < text.length; i++) this.#out[this.#at++] = text.charCodeAt(i) & 0x7f;
	}

	#readAttributes(bytes: Uint8Array, start: number, end: number): Status {
		if ((end - start) % 2 !== 0) return this.#defaultResponse(this.#header.command, ZclStatus.malformedCommand); // ZCL-7
		this.#captureFor(this.#cluster);
		this.#begin(false, ZclCommand.readAttributesResponse);
		for (let at = start; at < end; at += 2) {
			const id = bytes[at]! | (bytes[at + 1]! << 8);
			const row = this.#attribute(id);
			let status: number = row < 0 ? ZclStatus.unsupportedAttribute : ZclStatus.success;
			const type = row < 0 ? 0 : ATTRIBUTES[row + 2]!;
			const value = row < 0 || isString(type) ? 0 : this.values.number(this.#cluster, id, type);
			if (Number.isNaN(value)) status = ZclStatus.failure; // not known now: no number that could be taken for one
			this.#room(status === ZclStatus.success ? 4 + this.#valueBytes(row) : 3, ZclCommand.readAttributesResponse);
			this.#at = writeInteger(this.#out, this.#at, id, 2);
			this.#out[this.#at++] = status;
			if (status !== ZclStatus.success) continue;
			this.#out[this.#at++] = type;
			this.#putValue(row, value);
		}
		this.#answer();
		return Status.ok;
	}

	/** Only IdentifyTime may be written; everything else says why not, record by record. */
	#writeAttributes(bytes: Uint8Array, start: number, end: number): Status {
		const { command } = this.#header;
		this.#begin(false, ZclCommand.writeAttributesResponse);
		const empty = this.#at;
		for (let at = start; at < end; ) {
			if (end - at < 4) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-8
			const id = bytes[at]! | (bytes[at + 1]! << 8);
			const type = bytes[at + 2]!;
			const size = isString(type) ? 1 + bytes[at + 3]! : typeBytes(type);
			if (size === 0 || end - at < 3 + size) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-9
			const row = this.#attribute(id);
			let status: number = ZclStatus.success;
			if (row < 0) status = ZclStatus.unsupportedAttribute;
			else if ((ATTRIBUTES[row + 3]! & Access.write) === 0) status = ZclStatus.readOnly;
			else if (ATTRIBUTES[row + 2] !== type) status = ZclStatus.invalidDataType;
			else this.#identify(readInteger(bytes, at + 3, 2, false));
			if (status !== ZclStatus.success) {
				this.#room(3, ZclCommand.writeAttributesResponse);
				this.#out[this.#at++] = status;
				this.#at = writeInteger(this.#out, this.#at, id, 2);
			}
			at += 3 + size;
		}
		if (command === ZclCommand.writeAttributesNoResponse) return Status.ok;
		if (this.#at === empty) this.#out[this.#at++] = ZclStatus.success;
		this.#answer();
		return Status.ok;
	}

	/**
	 * Records: direction, attribute, then for direction 0 type, minimum, maximum, and for analog types the change. Each
	 * is judged by itself; the others of the frame still count.
	 */
	#configureReporting(bytes: Uint8Array, start: number, end: number): Status {
		const { command } = this.#header;
		this.#captureFor(this.#cluster);
		this.#begin(false, ZclCommand.configureReportingResponse);
		const empty = this.#at;
		let hasChanged = false;
		let at = start;
		while (at < end) {
			const direction = bytes[at]!;
			const isOurs = direction === 0;
			if (end - at < (isOurs ? 8 : 5)) break;
			const id = bytes[at + 1]! | (bytes[at + 2]! << 8);
			let status: number;
			if (isOurs) {
				const type = bytes[at + 3]!;
				const size = isAnalog(type) ? typeBytes(type) : 0;
				if (end - at < 8 + size) break;
				status = this.#configure(id, type, bytes, at + 4);
				if (status === ZclStatus.success) hasChanged = true;
				at += 8 + size;
			} else {
				status = ZclStatus.unsupportedAttribute; // we expect no reports
				at += 5;
			}
			if (status === ZclStatus.success) continue;
			this.#room(4, ZclCommand.configureReportingResponse);
			this.#out[this.#at++] = status;
			this.#out[this.#at++] = direction;
			this.#at = writeInteger(this.#out, this.#at, id, 2);
		}
		if (hasChanged) this.reporting.save();
		if (at < end) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-10
		if (this.#at === empty) this.#out[this.#at++] = ZclStatus.success;
		this.#answer();
		return Status.ok;
	}

	#configure(id: number, type: number, bytes: Uint8Array, at: number): number {
		const row = this.#attribute(id);
		if (row < 0) return ZclStatus.unsupportedAttribute;
		if ((ATTRIBUTES[row + 3]! & Access.report) === 0) return ZclStatus.unreportableAttribute;
		if (ATTRIBUTES[row + 2] !== type) return ZclStatus.invalidDataType;
		const minimum = readInteger(bytes, at, 2, false);
		const maximum = readInteger(bytes, at + 2, 2, false);
		if (maximum === MAXIMUM_REMOVE || (minimum === 0xffff && maximum === 0)) {
			this.reporting.remove(row);
			return ZclStatus.success;
		}
		if (maximum !== 0 && minimum > maximum) return ZclStatus.invalidValue;
		let change = isAnalog(type) ? readInteger(bytes, at + 4, typeBytes(type), isSigned(type)) : 0;
		if (change < 0) change = -change;
		const value = this.values.number(this.#cluster, id, type);
		const isTaken = this.reporting.set(row, minimum, maximum, change, value, this.#now);
		return isTaken ? ZclStatus.success : ZclStatus.insufficientSpace;
	}

	#readReporting(bytes: Uint8Array, start: number, end: number): Status {
		if ((end - start) % 3 !== 0) return this.#defaultResponse(this.#header.command, ZclStatus.malformedCommand); // ZCL-11
		const response = ZclCommand.readReportingConfigurationResponse;
		this.#begin(false, response);
		for (let at = start; at < end; at += 3) {
			const direction = bytes[at]!;
			const id = bytes[at + 1]! | (bytes[at + 2]! << 8);
			const attribute = this.#attribute(id);
			const row = attribute < 0 || direction !== 0 ? -1 : this.reporting.find(attribute);
			let status: number = ZclStatus.success;
			if (attribute < 0) status = ZclStatus.unsupportedAttribute;
			else if ((ATTRIBUTES[attribute + 3]! & Access.report) === 0) status = ZclStatus.unreportableAttribute;
			else if (row < 0) status = ZclStatus.notFound;
			const type = attribute < 0 ? 0 : ATTRIBUTES[attribute + 2]!;
			const size = isAnalog(type) ? typeBytes(type) : 0;
			this.#room(status === ZclStatus.success ? 9 + size : 4, response);
			this.#out[this.#at++] = status;
			this.#out[this.#at++] = direction;
			this.#at = writeInteger(this.#out, this.#at, id, 2);
			if (status !== ZclStatus.success) continue;
			this.#out[this.#at++] = type;
			this.#at = writeInteger(this.#out, this.#at, this.reporting.minimumSeconds[row]!, 2);
			this.#at = writeInteger(this.#out, this.#at, this.reporting.maximumSeconds[row]!, 2);
			if (size > 0) this.#at = writeInteger(this.#out, this.#at, this.reporting.change[row]!, size);
		}
		this.#answer();
		return Status.ok;
	}

	/** One frame: as many as were asked for and fit; the asker goes on behind the last. */
	#discoverAttributes(bytes: Uint8Array, start: number, end: number): Status {
		const { command } = this.#header;
		if (end - start < 3) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-12
		const isExtended = command === ZclCommand.discoverAttributesExtended;
		const first = bytes[start]! | (bytes[start + 1]! << 8);
		const size = isExtended ? 4 : 3;
		this.#begin(false, command + 1);
		const isCompleteAt = this.#at++;
		let left = bytes[start + 2]!;
		let isComplete = 1;
		for (let row = 0; row < ATTRIBUTES.length; row += ATTRIBUTE_FIELDS) {
			const id = ATTRIBUTES[row + 1]!;
			if (ATTRIBUTES[row] !== this.#cluster || id < first || !this.#isServed(row)) continue;
			if (left === 0 || this.#at + size > this.#out.length) {
				isComplete = 0;
				break;
			}
			left--;
			this.#at = writeInteger(this.#out, this.#at, id, 2);
			this.#out[this.#at++] = ATTRIBUTES[row + 2]!;
			if (isExtended) this.#out[this.#at++] = ATTRIBUTES[row + 3]!;
		}
		this.#out[isCompleteAt] = isComplete;
		this.#answer();
		return Status.ok;
	}

	#discoverCommands(bytes: Uint8Array, start: number, end: number): Status {
		const { command } = this.#header;
		if (end - start < 2) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-13
		const isReceived = command === ZclCommand.discoverCommandsReceived;
		this.#begin(false, command + 1);
		const isCompleteAt = this.#at++;
		let left = bytes[start + 1]!;
		let isComplete = 1;
		for (let id = bytes[start]!; id <= 0x40; id++) {
			const isKnown = isReceived ? isReceivedCommand(this.#cluster, id) : isGeneratedCommand(this.#cluster, id);
			if (!isKnown) continue;
			if (left-- === 0) {
				isComplete = 0;
				break;
			}
			this.#out[this.#at++] = id;
		}
		this.#out[isCompleteAt] = isComplete;
		this.#answer();
		return Status.ok;
	}

	// ---- cluster commands

	#clusterCommand(bytes: Uint8Array, start: number, end: number): Status {
		const { command, manufacturerCode } = this.#header;
		if (manufacturerCode !== 0) return this.#defaultResponse(command, ZclStatus.unsupportedManufacturerClusterCommand); // ZCL-14
		switch (this.#cluster) {
			case ClusterId.identify:
				return this.#identifyCommand(bytes, start, end);
			case ClusterId.metering:
				if (command === MeteringCommand.getProfile) return this.#getProfile(bytes, start, end);
				// The relay is switched by signed commands alone, never by whoever has the network key.
				if (command === MeteringCommand.changeSupply || command === MeteringCommand.localChangeSupply)
					return this.#defaultResponse(command, ZclStatus.notAuthorized); // ZCL-15
				return this.#defaultResponse(command, ZclStatus.unsupportedClusterCommand); // ZCL-16
			case ClusterId.basic:
				// Reset to factory defaults: reporting of the clusters goes, network, measurements and keys stay.
				if (command !== 0) return this.#defaultResponse(command, ZclStatus.unsupportedClusterCommand); // ZCL-17
				this.reporting.count = 0;
				this.reporting.save();
				return this.#defaultResponse(command, ZclStatus.success);
			case ClusterId.electricalMeasurement:
				return this.#defaultResponse(command, ZclStatus.unsupportedClusterCommand); // ZCL-18
			default:
				return this.#defaultResponse(command, ZclStatus.unsupportedCluster); // ZCL-19
		}
	}

	#identify(seconds: number): void {
		this.#identifyUntil = seconds === 0 ? Number.NEGATIVE_INFINITY : this.#now + seconds * 1_000;
		this.#data.identify(seconds);
	}

	#identifyCommand(bytes: Uint8Array, start: number, end: number): Status {
		const { command } = this.#header;
		switch (command) {
			case IdentifyCommand.identify:
				if (end - start < 2) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-20
				this.#identify(readInteger(bytes, start, 2, false));
				return this.#defaultResponse(command, ZclStatus.success);
			case IdentifyCommand.identifyQuery: {
				const seconds = Math.ceil((this.#identifyUntil - this.#now) / 1_000);
				if (!(seconds > 0)) return this.#defaultResponse(command, ZclStatus.success);
				this.#isSilent = false; // the query is a broadcast, and this is its answer
				this.#begin(true, 0x00);
				this.#at = writeInteger(this.#out, this.#at, seconds, 2);
				this.#answer();
				return Status.ok;
			}
			case IdentifyCommand.triggerEffect:
				if (end - start < 2) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-21
				this.#identify(bytes[start] === 0xfe || bytes[start] === 0xff ? 0 : 3);
				return this.#defaultResponse(command, ZclStatus.success);
			default:
				return this.#defaultResponse(command, ZclStatus.unsupportedClusterCommand); // ZCL-22
		}
	}

	/** Channel, end time, count; the answer has the newest interval first, in the unit of the registers. */
	#getProfile(bytes: Uint8Array, start: number, end: number): Status {
		const { command } = this.#header;
		if (end - start < 6) return this.#defaultResponse(command, ZclStatus.malformedCommand); // ZCL-23
		const channel = bytes[start]!;
		const endUtcSeconds = readInteger(bytes, start + 1, 4, false);
		const wanted = bytes[start + 5]!;
		const period = profilePeriod(this.#data.profileIntervalSeconds);
		let status: number = ProfileStatus.success;
		let count = 0;
		if (channel > 1) status = ProfileStatus.undefinedChannel;
		else if (period < 0) status = ProfileStatus.channelNotSupported;
		else {
			count = this.#data.readProfile(
				channel === 1,
				endUtcSeconds,
				Math.min(wanted, PROFILE_INTERVALS_MAX),
				this.#profile,
			);
			if (count === 0) status = ProfileStatus.noIntervals;
			else if (count < wanted) status = ProfileStatus.moreRequestedThanReturned;
		}
		this.#begin(true, 0x00);
		this.#at = writeInteger(this.#out, this.#at, count > 0 ? this.#data.profileEndUtcSeconds : 0, 4);
		this.#out[this.#at++] = status;
		this.#out[this.#at++] = period < 0 ? 0 : period;
		this.#out[this.#at++] = count;
		const divider = 1_000_000 / this.#settings.scale.meteringDivisor;
		for (let i = 0; i < count; i++) {
			const value = Math.round(this.#profile[i]! / divider);
			const isKnown = value >= 0 && value < UINT24_UNKNOWN;
			this.#at = writeInteger(this.#out, this.#at, isKnown ? value : UINT24_UNKNOWN, 3);
		}
		this.#answer();
		return Status.ok;
	}

	// ---- time client

	#requestTime(): void {
		const out = this.#out;
		this.#sequence = (this.#sequence + 1) & 0xff;
		this.#at = encodeZclHeader(false, false, true, 0, this.#sequence, ZclCommand.readAttributes, out);
		this.#at = writeInteger(out, this.#at, 0x0000, 2);
		const handle = this.#output.send(AddressMode.short, 0, 1, ClusterId.time, out, this.#at);
		const { retryMilliseconds, timeRequestSeconds } = this.#settings;
		this.#timeSequence = handle === 0 ? -1 : this.#sequence;
		this.#timeAt = this.#now + (handle === 0 ? retryMilliseconds : timeRequestSeconds * 1_000);
	}

	/** What a server sends to us as a client: only the answer about the time is expected. */
	#fromServer(bytes: Uint8Array, start: number, end: number): Status {
		const { command, isClusterCommand, sequence } = this.#header;
		if (isClusterCommand || command === ZclCommand.defaultResponse) return Status.ok;
		if (command !== ZclCommand.readAttributesResponse || this.#cluster !== ClusterId.time) return Status.unsupported; // ZCL-24
		if (sequence !== this.#timeSequence || this.#source !== 0) return Status.outOfOrder; // ZCL-25
		this.#timeSequence = -1;
		// Attribute 0x0000, success, UTC time, value.
		if (end - start < 8 || bytes[start] !== 0 || bytes[start + 1] !== 0 || bytes[start + 2] !== 0)
			return Status.badValue; // ZCL-26
		if (bytes[start + 3] !== ZclType.utcTime) return Status.badKind; // ZCL-27
		const seconds = readInteger(bytes, start + 4, 4, false);
		if (seconds === 0xffff_ffff) return Status.clockInvalid; // ZCL-28: the coordinator does not know either
		this.#data.setUtcSeconds(seconds);
		return Status.ok;
	}

	// ---- reports

	/** Sends what is due, all of it from one window. Reports of a cluster share frames. */
	#report(): void {
		const { reporting } = this;
		if (reporting.count === 0) return;
		this.values.capture();
		for (let i = 0; i < CLUSTERS_OF_READ.length; i++) {
			this.#reportCluster(CLUSTERS_OF_READ[i]!, false);
			if (this.#settings.manufacturerCode !== 0) this.#reportCluster(CLUSTERS_OF_READ[i]!, true);
		}
	}

	#reportCluster(cluster: number, isManufacturer: boolean): void {
		const { reporting } = this;
		let first = -1;
		this.#at = 0;
		for (let row = 0; row < reporting.count; row++) {
			const attribute = reporting.attribute[row]!;
			const id = ATTRIBUTES[attribute + 1]!;
			if (ATTRIBUTES[attribute] !== cluster || isManufacturerAttribute(cluster, id) !== isManufacturer) continue;
			const type = ATTRIBUTES[attribute + 2]!;
			const value = this.values.number(cluster, id, type);
			if (!reporting.isDue(row, value, this.#now)) continue;
			const size = 3 + typeBytes(type);
			if (this.#at > 0 && this.#at + size > this.#out.length) {
				if (!this.#sendReport(cluster, first, row)) return;
				this.#at = 0;
			}
			if (this.#at === 0) {
				first = row;
				this.#sequence = (this.#sequence + 1) & 0xff;
				const code = isManufacturer ? this.#settings.manufacturerCode : 0;
				this.#at = encodeZclHeader(false, true, true, code, this.#sequence, ZclCommand.reportAttributes, this.#out);
			}
			this.#at = writeInteger(this.#out, this.#at, id, 2);
			this.#out[this.#at++] = type;
			this.#at = writeInteger(this.#out, this.#at, value, typeBytes(type));
		}
		if (this.#at > 0) this.#sendReport(cluster, first, reporting.count);
	}

	/** The frame with the due rows from `first` to before `end`. @returns false when the output is full */
	#sendReport(cluster: number, first: number, end: number): boolean {
		const { reporting } = this;
		const handle = this.#output.send(AddressMode.bindings, 0, 0, cluster, this.#out, this.#at);
		if (handle === 0) {
			// Nothing is lost: the next evaluation finds the same rows due.
			this.#evaluateAt = Math.min(this.#evaluateAt, this.#now + this.#settings.retryMilliseconds);
			return false;
		}
		const isManufacturer = (this.#out[0]! & 0x04) !== 0;
		for (let row = first; row < end; row++) {
			const attribute = reporting.attribute[row]!;
			const id = ATTRIBUTES[attribute + 1]!;
			if (ATTRIBUTES[attribute] !== cluster || isManufacturerAttribute(cluster, id) !== isManufacturer) continue;
			const value = this.values.number(cluster, id, ATTRIBUTES[attribute + 2]!);
			if (reporting.isDue(row, value, this.#now)) reporting.reported(row, value, this.#now, handle);
		}
		return true;
	}
}

function isReceivedCommand(cluster: number, id: number): boolean {
	switch (cluster) {
		case ClusterId.basic:
			return id === 0;
		case ClusterId.identify:
			return (
				id === IdentifyCommand.identify || id === IdentifyCommand.identifyQuery || id === IdentifyCommand.triggerEffect
			);
		case ClusterId.metering:
			return id === MeteringCommand.getProfile;
		default:
			return false;
	}
}

function isGeneratedCommand(cluster: number, id: number): boolean {
	return id === 0 && (cluster === ClusterId.identify || cluster === ClusterId.metering);
}

/** ProfileIntervalPeriod of an interval; -1 for one that the cluster has no code for. */
function profilePeriod(seconds: number): number {
	switch (seconds) {
		case 86_400:
			return 0;
		case 3_600:
			return 1;
		case 1_800:
			return 2;
		case 900:
			return 3;
		case 600:
			return 4;
		case 450:
			return 5;
		case 300:
			return 6;
		case 150:
			return 7;
		default:
			return -1;
	}
}
