import { Status, StatusCounters } from "../../../src/bytes/status.js";
import { createDeviceFile, type DeviceFile, encodeDeviceFile } from "../../../src/provisioning/device-file.js";
import { closeFrame, FRAME_PAYLOAD_AT, OpticalFrameReader } from "../../../src/provisioning/optical-frame.js";
import type { OpticalPortMachine } from "../../../src/provisioning/optical-port.js";
import {
	type AttemptStore,
	type MeterIdentity,
	type ProvisioningTarget,
	Stage,
	type WitnessState,
} from "../../../src/provisioning/provisioning-target.js";

export const METER_ID = Uint8Array.from([0xac, 0xde, 0x48, 0, 0, 0, 0, 1]);

/** A device file with every field set. */
export function sampleFile(change: Partial<DeviceFile> = {}): DeviceFile {
	const file = createDeviceFile();
	file.id.set(METER_ID);
	file.roots.forEach((_, i) => {
		file.roots[i] = 0x40 + i;
	});
	file.calendarRoot.fill(0xca);
	file.updateKey.fill(0x1b);
	return Object.assign(file, {
		generation: 1,
		domain: 0x0102,
		shortAddress: 0x0304,
		epoch: 9_000,
		calendarFirstEpoch: 8_990,
		calendarLevels: 14,
		teslaIntervalSeconds: 900,
		...change,
	});
}

export function fileBytes(file: DeviceFile): Uint8Array {
	const bytes = new Uint8Array(168);
	encodeDeviceFile(file, bytes, 0);
	return bytes;
}

/** A whole frame around a payload. */
export function frameOf(payload: Uint8Array): Uint8Array {
	const frame = new Uint8Array(payload.length + 8);
	frame.set(payload, FRAME_PAYLOAD_AT);
	closeFrame(frame, payload.length);
	return frame;
}

export function question(request: number, body: Uint8Array = new Uint8Array(0), sequence = 1, version = 1): Uint8Array {
	return frameOf(Uint8Array.from([version, request, sequence >> 8, sequence & 0xff, ...body]));
}

export interface Answer {
	readonly request: number;
	readonly sequence: number;
	readonly status: number;
	readonly stage: number;
	readonly retryAfterSeconds: number;
	readonly body: Buffer;
}

/** Everything that the machine sends now, a few bytes at a time. */
export function transmitted(machine: OpticalPortMachine, pieceBytes = 64): Buffer {
	const pieces: Buffer[] = [];
	const into = new Uint8Array(pieceBytes);
	for (let count = machine.transmit(into); count > 0; count = machine.transmit(into))
		pieces.push(Buffer.from(into.subarray(0, count)));
	return Buffer.concat(pieces);
}

export function decodeAnswer(frame: Uint8Array): Answer | undefined {
	const reader = new OpticalFrameReader();
	reader.take(frame, 0, frame.length);
	if (reader.payloadBytes === 0) return undefined;
	const payload = Buffer.from(reader.bytes.subarray(FRAME_PAYLOAD_AT, FRAME_PAYLOAD_AT + reader.payloadBytes));
	return {
		request: payload[1]!,
		sequence: payload.readUInt16BE(2),
		status: payload[4]!,
		stage: payload[5]!,
		retryAfterSeconds: payload.readUInt16BE(6),
		body: payload.subarray(8),
	};
}

export function ask(machine: OpticalPortMachine, now: number, frame: Uint8Array): Answer | undefined {
	machine.receive(now, frame, frame.length);
	return decodeAnswer(transmitted(machine));
}

export class MemoryAttempts implements AttemptStore {
	stored = 0;
	saves = 0;
	load(): number {
		return this.stored;
	}
	save(failedAttempts: number): boolean {
		this.stored = failedAttempts;
		this.saves++;
		return true;
	}
}

/** A meter that answers what it is told to, and keeps what it was asked. */
export class ScriptedTarget implements ProvisioningTarget {
	readonly counters = new StatusCounters();
	stage: Stage = Stage.none;
	readonly receipt = new Uint8Array(64).fill(0x5a);
	receiptByteLength = 46;
	answers: Status = Status.ok;
	readonly calls: string[] = [];

	identify(into: MeterIdentity): void {
		into.id.set(METER_ID);
		into.firmwareMajor = 1;
		into.firmwareMinor = 2;
		into.firmwarePatch = 3;
		into.keyState = 1;
		into.generation = 7;
		into.epoch = 9000;
	}

	witness(into: WitnessState): void {
		into.headSequence = 0x8000_0001;
		into.witnessedSequence = 5;
		into.headTag.fill(0xee);
	}

	read(what: number, into: Uint8Array, offset: number, end: number): number {
		if (what === 1) {
			into.fill(0x77, offset, end);
			return end;
		}
		if (what !== 0) return offset;
		into[offset] = 42;
		return offset + 1;
	}

	provision(file: DeviceFile, bytes: Uint8Array, at: number): Status {
		return this.#called(`provision ${file.generation} ${Buffer.from(bytes.subarray(at, at + 4)).toString()}`);
	}

	reseed(file: DeviceFile, _bytes: Uint8Array, _at: number, sealed: Uint8Array, sealedByteLength: number): Status {
		return this.#called(`reseed ${file.generation} ${Buffer.from(sealed.subarray(0, sealedByteLength)).toString()}`);
	}

	decommission(sealed: Uint8Array, byteLength: number): Status {
		return this.#called(`decommission ${Buffer.from(sealed.subarray(0, byteLength)).toString()}`);
	}

	anchor(message: Uint8Array, byteLength: number): Status {
		return this.#called(`anchor ${Buffer.from(message.subarray(0, byteLength)).toString()}`);
	}

	#called(what: string): Status {
		this.calls.push(what);
		this.stage = this.answers === Status.ok ? Stage.none : Stage.authorisation;
		return this.answers;
	}
}
