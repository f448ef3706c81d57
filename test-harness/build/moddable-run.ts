import { spawn } from "node:child_process";
import { once } from "node:events";
import mqtt from "mqtt";
import { Status } from "../../src/bytes/status.js";
import { PlainEnvelope } from "../../src/messages/envelope.js";
import { Kind, MESSAGE_BYTES_MAX } from "../../src/messages/kinds.js";
import { createReading, decodeReading, type Reading } from "../../src/messages/reading.js";
import { upTopic } from "../../src/messages/topics.js";
import { parseSettings } from "../../src/meter/settings.js";
import type { SampleLayout } from "../../src/platform/sample-kernel.js";
import { LinkBridge } from "../board/link-bridge.js";
import { AedesBroker } from "../broker/aedes-broker.js";
import { LinuxXsTarget } from "../device/linux-xs.js";
import type { Statistics, TargetEvents } from "../device/target.js";
import {
	type BlockShape,
	createSpectrum,
	type PhaseShape,
	rowCountFor,
	setHarmonic,
	synthesizeBlock,
} from "../waveforms/block.js";

/** Runs a program that writes text until it ends. */
export async function runProgram(
	program: string,
	onLine: (line: string) => void,
): Promise<{ exitCode: number; lines: readonly string[] }> {
	const child = spawn(program, [], { stdio: ["ignore", "pipe", "pipe"] });
	const lines: string[] = [];
	let rest = "";
	const collect = (text: string): void => {
		const parts = (rest + text).split("\n");
		rest = parts.pop() ?? "";
		for (const line of parts) {
			lines.push(line);
			onLine(line);
		}
	};
	child.stdout.setEncoding("utf8").on("data", collect);
	child.stderr.setEncoding("utf8").on("data", collect);
	const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
	if (rest !== "") collect("\n");
	if (signal !== null) collect(`ended by ${signal}\n`);
	return { exitCode: code ?? 1, lines };
}

const IDENTIFIER = "00124b0000c0ffee";
const START_UTC_SECONDS = 850_000_000;
/** Virtual milliseconds of one step; the network is waited for after each. */
const STEP_MILLISECONDS = 100;
/** Real milliseconds that an answer from the broker may take. */
const NETWORK_MILLISECONDS = 2000;
const AMPERES = 5;
const VOLTS = 230;
/** Current behind its voltage, radians: power factor 0.866. */
const LAG_RADIANS = Math.PI / 6;

/** Ten cycles of 50 Hz: sines of equal size in all phases of the layout, the currents behind their voltages. */
export function threePhases(volts: number, amperes: number, lagRadians: number, layout: SampleLayout): BlockShape {
	const phases = Array.from({ length: layout.phaseCount }, (_, phase): PhaseShape => {
		const voltage = createSpectrum();
		const current = createSpectrum();
		setHarmonic(voltage, 1, volts, 0);
		setHarmonic(current, 1, amperes, lagRadians);
		return { voltage, current, lagRadians: (phase * 2 * Math.PI) / 3 };
	});
	return { phases, rowCount: rowCountFor(50, 10, layout.samplesPerSecond), cycleCount: 10 };
}

export interface MeterRun {
	readonly host: string;
	readonly readings: readonly Reading[];
	/** Active power that the waveform carries, mW, by double-precision sums over the same rows. */
	readonly referenceMilliwatts: number;
	readonly referenceMillivolts: number;
	readonly atBoot: Statistics;
	readonly atEnd: Statistics;
	readonly virtualSeconds: number;
	readonly log: readonly string[];
}

/**
 * The meter itself in a host program that speaks the board channel: three phases of 230 V and 5 A at 50 Hz through its
 * kernel, an MQTT broker in this process over TCP, until so many readings have come.
 */
export async function runMeter(program: string, readingCount: number, virtualSecondsMax: number): Promise<MeterRun> {
	const settingsText = JSON.stringify({
		identifier: IDENTIFIER,
		security: "plain",
		readingSeconds: 2,
		mqtt: { protocolVersion: 4, cleanSession: false, sessionExpirySeconds: 3600, keepAliveSeconds: 60 },
	});
	const settings = parseSettings(settingsText);
	const { layout } = settings;
	const block = synthesizeBlock(layout, settings, threePhases(VOLTS, AMPERES, LAG_RADIANS, layout));

	const broker = new AedesBroker();
	await broker.start();
	const readings: Reading[] = [];
	const envelope = new PlainEnvelope();
	const message = new Uint8Array(MESSAGE_BYTES_MAX);
	const client = await mqtt.connectAsync(broker.url, { protocolVersion: 4 });
	client.on("message", (_topic, payload) => {
		if (envelope.open(payload, payload.length, message) !== Status.ok || message[0] !== Kind.reading) return;
		const reading = createReading();
		const view = new DataView(message.buffer);
		if (decodeReading(view, envelope.openedByteLength, reading) === Status.ok) readings.push(reading);
	});
	await client.subscribeAsync(upTopic(IDENTIFIER), { qos: 1 });

	const target = new LinuxXsTarget({ host: program, archive: "meter" });
	const log: string[] = [];
	let wake: (() => void) | undefined;
	let answer: ((failure?: Error) => void) | undefined;
	let statistics: ((found: Statistics) => void) | undefined;
	const bridge = new LinkBridge(broker, { published: () => {}, upAcknowledged: () => {}, connected: () => {} }, () =>
		wake?.(),
	);
	const fail = (reason: string): void => answer?.(new Error(`${reason}; log: ${log.slice(-5).join(" | ")}`));
	const events: TargetEvents = {
		done: () => answer?.(),
		linkOpen: () => bridge.open(),
		linkSend: (_meter, bytes) => bridge.send(bytes),
		linkClose: () => bridge.close(),
		flashProgram: () => {},
		flashErase: () => {},
		output: () => {},
		log: (_meter, text) => log.push(text),
		aborted: (_meter, reason, text) => fail(`aborted, reason ${reason}: ${text}`),
		poweredOff: () => fail("powered off"),
		statistics: (_meter, found) => statistics?.(found),
		clockSet: () => {},
		opticalSend: () => {},
		failed: (reason) => fail(reason),
	};
	/** Sends what is answered by `done`. */
	const ask = (send: () => void): Promise<void> =>
		new Promise((resolve, reject) => {
			answer = (failure) => (failure ? reject(failure) : resolve());
			send();
		});
	const query = (): Promise<Statistics> =>
		new Promise((resolve) => {
			statistics = resolve;
			target.queryStatistics(0);
		});
	const deliver = (): void => {
		for (const what of bridge.takeWaiting()) {
			if (what === "opened") target.linkOpened(0);
			else if (what === "closed") target.linkClosed(0);
			else if (what === "writable") target.linkWritable(0);
			else target.linkData(0, what);
		}
	};
	/** Lets the network do its work while virtual time stands still. */
	const settle = async (): Promise<void> => {
		const end = Date.now() + NETWORK_MILLISECONDS;
		while (bridge.outstanding > 0 && !bridge.hasWaiting && Date.now() < end)
			await new Promise<void>((resolve) => {
				const timer = setTimeout(resolve, 50);
				wake = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		deliver();
	};

	try {
		await target.start(events);
		await ask(() =>
			target.powerOn(0, {
				nowMilliseconds: 0,
				utcSeconds: START_UTC_SECONDS,
				sectorBytes: 4096,
				sectorCount: 256,
				bootReason: 0,
				typeScriptKernel: false,
				entropySeed: new Uint8Array(32).fill(7),
				deviceKey: new Uint8Array(32).fill(1),
				settingsText,
			}),
		);
		const atBoot = await query();
		target.samples(0, block.rowCount, true, block.rows);
		let now = 0;
		while (readings.length < readingCount && now < virtualSecondsMax * 1000) {
			now += STEP_MILLISECONDS;
			await ask(() => target.advance(0, now));
			await settle();
		}
		return {
			host: target.description,
			readings,
			referenceMilliwatts: (block.reference.sumImport - block.reference.sumExport) * 1000,
			referenceMillivolts: block.voltages[0]! * 1000,
			atBoot,
			atEnd: await query(),
			virtualSeconds: now / 1000,
			log,
		};
	} finally {
		await target.stop();
		bridge.cut();
		await client.endAsync(true);
		await broker.stop();
	}
}
