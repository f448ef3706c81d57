import { MqttMachine } from "../../src/mqtt/mqtt-machine.js";
import type { Measurement } from "../commands/bench.js";
import { firmwareBundle } from "../unit/mqtt/firmware-bundle.js";
import { Recorder, SETTINGS } from "../unit/mqtt/machine-harness.js";
import { XsMachine } from "../unit/mqtt/xs-machine.js";

const PAYLOAD = new Uint8Array(64).fill(0x5a);
const TOPIC = "meter/1/reading";

function median(values: number[]): number {
	return values.sort((a, b) => a - b)[values.length >> 1]!;
}

/** Nanoseconds for one call of `work`, median of 15 rounds. */
function nanoseconds(work: () => void): number {
	const rounds: number[] = [];
	for (let round = 0; round < 15; round++) {
		const from = process.hrtime.bigint();
		for (let i = 0; i < 2_000; i++) work();
		rounds.push(Number(process.hrtime.bigint() - from) / 2_000);
	}
	return median(rounds);
}

/** A QoS 1 PUBLISH of 64 bytes: encoded, sent, acknowledged; then one received and acknowledged. */
function onNode(Machine: typeof MqttMachine, name: string): Measurement[] {
	const recorder = new Recorder();
	recorder.message = () => {};
	recorder.published = () => {};
	const machine = new Machine(SETTINGS, recorder, () => 0.5);
	const piece = new Uint8Array(512);
	const drain = (): void => {
		while (machine.transmit(piece) > 0);
	};
	machine.tick(0);
	machine.tick(5_000);
	machine.linkOpened(5_000);
	drain();
	machine.receive(5_000, Uint8Array.of(0x20, 2, 0, 0), 4);
	const puback = Uint8Array.of(0x40, 2, 0, 0);
	const out = nanoseconds(() => {
		const handle = machine.publish(TOPIC, PAYLOAD, 64, 1, false);
		drain();
		puback[2] = handle >> 8;
		puback[3] = handle & 0xff;
		machine.receive(5_001, puback, 4);
	});
	const message = Uint8Array.from([0x32, 2 + 15 + 2 + 64, 0, 15, ...Buffer.from(TOPIC), 0, 7, ...PAYLOAD]);
	const into = nanoseconds(() => {
		machine.receive(5_001, message, message.length);
		drain();
	});
	return [
		{ name: `QoS 1 out, 64 bytes, with PUBACK, ${name}`, value: out / 1_000, unit: "µs" },
		{ name: `QoS 1 in, 64 bytes, with PUBACK, ${name}`, value: into / 1_000, unit: "µs" },
	];
}

async function onXs(): Promise<Measurement[]> {
	const xs = await XsMachine.start();
	try {
		// what the trial itself costs for an empty command is taken off
		await xs.ask("e");
		const before = await xs.statistics();
		const spent = async (command: string, parameter = 0, bytes = new Uint8Array(0)): Promise<number> => {
			const from = xs.ticks;
			await xs.ask(command, parameter, bytes);
			return xs.ticks - from;
		};
		const empty = await spent("e");
		const ticks = async (command: string, parameter = 0, bytes = new Uint8Array(0)): Promise<number> =>
			(await spent(command, parameter, bytes)) - empty;
		const connect = await ticks("n", 4);
		await xs.ask("r", 0, Uint8Array.of(0x20, 2, 0, 0));
		const after = await xs.statistics();
		await xs.ask("p");
		await xs.ask("x");
		const publish = await ticks("p");
		const transmit = await ticks("x");
		const puback = await ticks("r", 0, Uint8Array.of(0x40, 2, 0, 2));
		const message = Uint8Array.from([0x32, 2 + 15 + 2 + 64, 0, 15, ...Buffer.from(TOPIC), 0, 7, ...PAYLOAD]);
		const incoming = await ticks("r", 0, message);
		const busy = await xs.statistics();
		return [
			{ name: "new machine and CONNECT, XS", value: connect, unit: "ticks" },
			{ name: "publish 64 bytes (encode), XS", value: publish, unit: "ticks" },
			{ name: "transmit it, XS", value: transmit, unit: "ticks" },
			{ name: "PUBACK (check, parse), XS", value: puback, unit: "ticks", note: "with the trial's answer in words" },
			{
				name: "PUBLISH of 64 bytes in, PUBACK out, XS",
				value: incoming,
				unit: "ticks",
				note: "with the trial's answer in hexadecimal",
			},
			{
				name: "live slots of a connected machine, XS",
				value: after.slotsLive - before.slotsLive,
				unit: "slots",
				beat: "191 (mqtt-packet alone, after use)",
			},
			{
				name: "live chunks of a connected machine, XS",
				value: after.chunkBytesLive - before.chunkBytesLive,
				unit: "bytes",
				note: "4 slots of 512 and two buffers are 3,072 of it",
			},
			{ name: "peak of slots after use, trial included, XS", value: busy.slotsPeak, unit: "slots" },
			{ name: "stack peak, XS", value: busy.stackPeakSlots, unit: "slots", beat: "192 to 262 (mqtt-packet alone)" },
			{
				name: "bytecode of the trial, mqtt-packet and shims included",
				value: xs.image.modules.reduce((sum, { bytes }) => sum + bytes, 0),
				unit: "bytes",
			},
		];
	} finally {
		await xs.stop();
	}
}

/** Cost of the MQTT client in time and memory. */
export async function measure(onProgress: (text: string) => void): Promise<Measurement[]> {
	onProgress("on Node");
	const bundle = await firmwareBundle();
	const found = [...onNode(MqttMachine, "Node"), ...onNode(bundle.MqttMachine, "Node, firmware bundle")];
	found.push({ name: "bundle with machine, mqtt-packet and shims", value: bundle.sourceBytes, unit: "bytes" });
	const { inFlightMax, packetBytesMax } = SETTINGS;
	found.push({
		name: `buffers, ${inFlightMax} slots of ${packetBytesMax}`,
		value: (inFlightMax + 2) * packetBytesMax + 128 + 80 + inFlightMax * 8,
		unit: "bytes",
	});
	onProgress("on XS");
	found.push(...(await onXs()));
	return found;
}
