import { createReading, encodeReading } from "../../../src/messages/reading.js";
import { upTopic } from "../../../src/messages/topics.js";
import { parseSettings } from "../../../src/meter/settings.js";
import { rowBytes, type SampleKernel } from "../../../src/platform/sample-kernel.js";
import type { Firmware } from "../../device/in-process.js";

/** What a trial meter says at the end; keyed by identifier. */
export interface TrialState {
	/** Signed energy of all rows it was given, Wh. */
	wattHours: number;
	rows: number;
	ticks: number;
	connects: number;
	acknowledged: number;
	/** Bytes programmed at address 0 upwards, one for each start. */
	starts: number;
}

const utf8 = new TextEncoder();

function packet(type: number, ...parts: Uint8Array[]): Uint8Array {
	const length = parts.reduce((sum, part) => sum + part.length, 0);
	const header = length < 128 ? [type, length] : [type, (length & 0x7f) | 0x80, length >> 7];
	const all = new Uint8Array(header.length + length);
	all.set(header);
	let at = header.length;
	for (const part of parts) {
		all.set(part, at);
		at += part.length;
	}
	return all;
}

function text(value: string): Uint8Array {
	const bytes = utf8.encode(value);
	const all = new Uint8Array(2 + bytes.length);
	all[1] = bytes.length;
	all.set(bytes, 2);
	return all;
}

/**
 * The least that behaves like a meter: it adds up every product of voltage and current that it is given, speaks MQTT
 * 3.1.1 (connect, one QoS 1 reading every `readingSeconds`, again at the next connection), and leaves a mark in flash at
 * each start.
 */
export function trialFirmware(states: Map<string, TrialState>): Firmware {
	return {
		createSampleKernel: () => undefined as unknown as SampleKernel,
		startMeter(platform, settingsText) {
			const settings = parseSettings(settingsText);
			const state = states.get(settings.identifier) ?? {
				wattHours: 0,
				rows: 0,
				ticks: 0,
				connects: 0,
				acknowledged: 0,
				starts: 0,
			};
			states.set(settings.identifier, state);
			const mark = new Uint8Array(64);
			platform.flash.read(0, mark, mark.length);
			const starts = mark.indexOf(0xff);
			platform.flash.program(starts, Uint8Array.of(starts), 1);
			state.starts = starts + 1;

			const { layout } = settings;
			const columns = rowBytes(layout) / 2;
			const factor =
				(settings.voltageMicrovoltsPerCode * settings.currentMicroamperesPerCode * 1e-12) /
				layout.samplesPerSecond /
				3600;
			const period = settings.readingSeconds * 1000;
			let next = period;
			let open = false;
			let waiting: Uint8Array | undefined;
			let identifier = 0;
			const reading = createReading();
			const send = (bytes: Uint8Array): void => void platform.link.send(bytes, bytes.length);
			platform.link.open();
			return {
				samples(block, rowCount) {
					const codes = new Int16Array(block.slice(0, rowCount * columns * 2).buffer);
					let products = 0;
					for (let row = 0; row < rowCount; row++)
						for (let phase = 0; phase < layout.phaseCount; phase++)
							products += codes[row * columns + 2 * phase]! * codes[row * columns + 2 * phase + 1]!;
					state.wattHours += products * factor;
					state.rows += rowCount;
				},
				samplesLost() {},
				inputChanged() {},
				tick() {
					state.ticks++;
					next += period;
					if (waiting === undefined) {
						reading.readingIndex++;
						reading.bootCount = state.starts;
						reading.utcSeconds = Math.floor(platform.clock.utcSeconds());
						reading.activeEnergyImport = Math.max(0, Math.round(state.wattHours * 1000));
						const message = new Uint8Array(200);
						message[0] = 1;
						const length = encodeReading(reading, new DataView(message.buffer, 2));
						identifier = (identifier % 65_535) + 1;
						waiting = packet(
							0x32,
							text(upTopic(settings.identifier)),
							Uint8Array.of(identifier >> 8, identifier),
							message.subarray(0, length + 2),
						);
						if (open) send(waiting);
					}
					platform.link.open(); // ignored while open
				},
				deadlineMilliseconds: () => next,
				linkOpened() {
					send(
						packet(
							0x10,
							text("MQTT"),
							Uint8Array.of(4, 2, 0, settings.mqtt.keepAliveSeconds),
							text(settings.identifier),
						),
					);
				},
				linkReceived(bytes, byteLength) {
					for (let at = 0; at + 1 < byteLength; at += 2 + bytes[at + 1]!) {
						if (bytes[at]! >> 4 === 2) {
							open = true;
							state.connects++;
							if (waiting !== undefined) send(waiting);
						} else if (bytes[at]! >> 4 === 4) {
							state.acknowledged++;
							waiting = undefined;
						}
					}
				},
				linkWritable() {},
				opticalReceived() {},
				linkClosed() {
					open = false;
				},
			};
		},
	};
}
