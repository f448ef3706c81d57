import { createServer, type Server, type Socket } from "node:net";
import { Aedes } from "aedes";
import mqtt, { type MqttClient } from "mqtt";
import { Status } from "../../../src/bytes/status.js";
import { UnicastType } from "../../../src/key-store/unicast.js";
import { captureCodesOffset, encodeCaptureHeader } from "../../../src/messages/capture.js";
import { createControl, decodeControl, encodeControl } from "../../../src/messages/control.js";
import { Diagnostic, encodeDiagnostic, encodeDiagnosticsHeader } from "../../../src/messages/diagnostics.js";
import { PlainEnvelope } from "../../../src/messages/envelope.js";
import { type EventEntry, encodeEventEntry, encodeEventsHeader } from "../../../src/messages/events.js";
import { createHello, encodeHello, type Hello } from "../../../src/messages/hello.js";
import { Kind, UTC_INVALID, utcField } from "../../../src/messages/kinds.js";
import { encodeProfileHeader, encodeProfileRow, type ProfileRow } from "../../../src/messages/profile.js";
import { createReading, encodeReading, NOT_AVAILABLE, type Reading } from "../../../src/messages/reading.js";
import { encodeRegisterEntry, encodeSnapshotHeader, Unit } from "../../../src/messages/snapshot.js";
import { anchorTopic, downTopic, onlineTopic, upTopic } from "../../../src/messages/topics.js";
import type { FakeKeys } from "./fake-keys.js";

/** A real broker on a free port of the loopback. */
export class TestBroker {
	readonly aedes: Aedes;
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	readonly port: number;

	private constructor(aedes: Aedes, server: Server, sockets: Set<Socket>, port: number) {
		this.aedes = aedes;
		this.#server = server;
		this.#sockets = sockets;
		this.port = port;
	}

	static async start(port = 0): Promise<TestBroker> {
		const aedes = await Aedes.createBroker();
		const sockets = new Set<Socket>();
		const server = createServer({ noDelay: true }, (socket) => {
			sockets.add(socket);
			socket.on("close", () => sockets.delete(socket));
			aedes.handle(socket);
		});
		await new Promise<void>((resolve, reject) => {
			server.once("error", reject);
			server.listen(port, "127.0.0.1", resolve);
		});
		const address = server.address();
		return new TestBroker(aedes, server, sockets, typeof address === "object" && address ? address.port : port);
	}

	get url(): string {
		return `mqtt://127.0.0.1:${this.port}`;
	}

	/** As if its process died. */
	async stop(): Promise<void> {
		for (const socket of this.#sockets) socket.destroy();
		await new Promise<void>((resolve) => this.#server.close(() => resolve()));
		await new Promise<void>((resolve) => this.aedes.close(() => resolve()));
	}
}

/** What a fake meter does wrong. */
export interface Faults {
	/** Requests that it leaves unanswered, counted down. */
	ignoreRequests: number;
	/** Profile messages of an answer that get lost, counted down. */
	loseAnswers: number;
	/** Unasked rows that get lost, counted down. */
	loseRows: number;
	/** Sends every message twice. */
	sendTwice: boolean;
	/** Rows of an answer in reverse order. */
	reverse: boolean;
}

export function row(sequence: number, over: Partial<ProfileRow> = {}): ProfileRow {
	return {
		sequence,
		intervalStartSeconds: 800_000_100 - (800_000_100 % 900) + sequence * 900,
		durationSeconds: 900,
		status: 0,
		tariff: 1,
		activeEnergyImport: 1_000_000 + sequence * 250_000,
		activeEnergyExport: sequence * 10_000,
		reactiveEnergyImport: sequence * 5_000,
		reactiveEnergyExport: sequence * 100,
		...over,
	};
}

/** Says what a meter says, by script, over a real connection. */
export class FakeMeter {
	readonly id: string;
	rows: ProfileRow[] = [];
	events: EventEntry[] = [];
	readonly hello: Hello = createHello();
	readonly faults: Faults = {
		ignoreRequests: 0,
		loseAnswers: 0,
		loseRows: 0,
		sendTwice: false,
		reverse: false,
	};
	/** Kinds and first sequences of the requests that came. */
	readonly requests: { kind: number; first: number; second: number; requestId: number }[] = [];
	/** Time messages that came. */
	readonly times: { requestId: number; utcSeconds: number; milliseconds: number }[] = [];
	readingIndex = 0;
	/** Clock, UTCTime. */
	clock: () => number = () => 800_000_000;
	/** Content of a capture; absent: no answer. */
	captureChannels: { microunitsPerCode: number; codes: number[] }[] | undefined;
	registers: [c: number, d: number, e: number, unit: number, value: number][] = [
		[1, 8, 0, Unit.wattHour, 123_456_789],
		[2, 8, 0, Unit.wattHour, 42],
	];
	/** Present: everything is sealed. */
	keys: FakeKeys | undefined;
	/** Bytes that came down, and those that went up: what somebody at the broker could keep. */
	readonly heard: Buffer[] = [];
	readonly said: Buffer[] = [];
	/** Anchors, beacons and the like. */
	readonly broadcasts: Buffer[] = [];
	#client: MqttClient | undefined;
	readonly #envelope = new PlainEnvelope();
	readonly #message = new Uint8Array(2048);
	readonly #view = new DataView(this.#message.buffer);

	constructor(id: string) {
		this.id = id;
		this.hello.bootCount = 1;
		this.hello.phaseCount = 3;
	}

	async connect(url: string): Promise<void> {
		this.#client = await mqtt.connectAsync(url, {
			clientId: `meter-${this.id}`,
			clean: false,
			reconnectPeriod: 0,
			will: { topic: onlineTopic(this.id), payload: Buffer.from("0"), qos: 1, retain: true },
		});
		this.#client.on("error", () => {});
		this.#client.on("message", (topic, payload) => void this.#onTopic(topic, payload));
		const { keys } = this;
		keys?.disconnected();
		await this.#client.subscribeAsync([downTopic(this.id), ...(keys ? keys.topics() : [])], { qos: 1 });
		await this.#client.publishAsync(onlineTopic(this.id), "1", { qos: 1, retain: true });
		if (keys && !keys.store.isWitnessed) await this.askWitness();
		else await this.sendHello();
	}

	/** CATCHUP-REQ; what follows is done when it is answered. */
	async askWitness(): Promise<void> {
		const question = this.keys!.ask(UnicastType.catchUpRequest);
		if (question.length > 0) await this.sendRaw(question);
	}

	async askTime(): Promise<void> {
		const question = this.keys!.ask(UnicastType.timeRequest);
		if (question.length > 0) await this.sendRaw(question);
	}

	async #onTopic(topic: string, payload: Buffer): Promise<void> {
		const { keys } = this;
		if (!keys) return this.#onDown(payload);
		if (topic === downTopic(this.id)) this.heard.push(payload);
		else this.broadcasts.push(payload);
		if (topic === anchorTopic(keys.domain)) {
			if (keys.anchor(payload)) await this.askWitness();
			return;
		}
		if (topic !== downTopic(this.id)) return;
		const message = keys.receive(payload);
		if (keys.justWitnessed) {
			keys.justWitnessed = false;
			await this.askTime();
			await this.sendHello();
		}
		if (message) await this.#onMessage(message);
	}

	/** Dies without a word: the broker sends the will. */
	cut(): void {
		this.#client?.stream.destroy();
		this.#client?.end(true);
		this.#client = undefined;
	}

	async sendRaw(payload: Uint8Array): Promise<void> {
		this.said.push(Buffer.from(payload));
		for (let times = this.faults.sendTwice ? 2 : 1; times > 0; times--)
			if (this.#client && !this.#client.disconnecting)
				await this.#client.publishAsync(upTopic(this.id), Buffer.from(payload), { qos: 1 });
	}

	async #send(byteLength: number): Promise<void> {
		if (this.keys) {
			const data = this.keys.data(this.#message, byteLength);
			if (data.length > 0) await this.sendRaw(data);
			return;
		}
		const sealed = new Uint8Array(byteLength + 2);
		this.#envelope.seal(this.#message, byteLength, sealed);
		await this.sendRaw(sealed);
	}

	/** Any message, kind first. */
	async sendMessage(message: Uint8Array): Promise<void> {
		this.#message.set(message);
		await this.#send(message.length);
	}

	async sendHello(over: Partial<Hello> = {}): Promise<void> {
		Object.assign(this.hello, {
			profileOldest: this.rows[0]?.sequence ?? 0,
			profileNext: (this.rows[this.rows.length - 1]?.sequence ?? -1) + 1,
			eventOldest: this.events[0]?.sequence ?? 0,
			eventNext: (this.events[this.events.length - 1]?.sequence ?? -1) + 1,
			utcSeconds: utcField(this.clock()),
			...over,
		});
		await this.#send(encodeHello(this.hello, this.#view));
	}

	/** Stores rows and sends each unasked. */
	async addRows(...rows: ProfileRow[]): Promise<void> {
		for (const added of rows) {
			this.rows.push(added);
			if (this.faults.loseRows > 0) this.faults.loseRows--;
			else await this.sendRows(0, [added]);
		}
	}

	async sendRows(requestId: number, rows: readonly ProfileRow[]): Promise<void> {
		const byteLength = encodeProfileHeader(requestId, rows.length, this.#view);
		rows.forEach((each, index) => {
			encodeProfileRow(each, index, this.#view);
		});
		await this.#send(byteLength);
	}

	async addEvents(...events: EventEntry[]): Promise<void> {
		for (const event of events) {
			this.events.push(event);
			await this.sendEvents(0, [event]);
		}
	}

	async sendEvents(requestId: number, events: readonly EventEntry[]): Promise<void> {
		const byteLength = encodeEventsHeader(requestId, events.length, this.#view);
		events.forEach((each, index) => {
			encodeEventEntry(each, index, this.#view);
		});
		await this.#send(byteLength);
	}

	async sendReading(change: (reading: Reading) => void = () => {}): Promise<void> {
		const reading = createReading();
		reading.bootCount = this.hello.bootCount;
		reading.readingIndex = this.readingIndex++;
		reading.utcSeconds = utcField(this.clock());
		reading.frequencyMillihertz = 50_012;
		reading.phaseCount = this.hello.phaseCount;
		const last = this.rows[this.rows.length - 1];
		reading.activeEnergyImport = last?.activeEnergyImport ?? 1_000_000;
		reading.activeEnergyExport = last?.activeEnergyExport ?? 0;
		for (const phase of reading.phases) {
			phase.voltageMillivolts = 230_100;
			phase.currentMilliamperes = 1_000;
			phase.powerMilliwatts = 220_000;
			phase.reactivePowerMillivars = 60_000;
			phase.apparentPowerMillivoltAmperes = 230_100;
			phase.powerFactorPermille = 956;
			phase.phaseAngleTenthsDegree = 150;
			phase.thdVoltagePermille = 12;
			phase.thdCurrentPermille = 40;
		}
		change(reading);
		if (reading.utcSeconds === UTC_INVALID) reading.flags |= 1;
		await this.#send(encodeReading(reading, this.#view));
	}

	async sendControl(kind: number, requestId: number, first = 0, second = 0): Promise<void> {
		const control = createControl();
		Object.assign(control, { kind, requestId, first, second });
		await this.#send(encodeControl(control, this.#view));
	}

	async #onDown(payload: Uint8Array): Promise<void> {
		const opened = new Uint8Array(64);
		if (this.#envelope.open(payload, payload.length, opened) !== Status.ok) throw new Error("bad envelope from above");
		await this.#onMessage(opened.subarray(0, this.#envelope.openedByteLength));
	}

	/** Commands and whatever else a test wants to see; kind first. */
	onOther: (message: Uint8Array) => void | Promise<void> = () => {};

	async #onMessage(message: Uint8Array): Promise<void> {
		const control = createControl();
		const view = new DataView(message.buffer, message.byteOffset, message.length);
		const status = decodeControl(view, message.length, control);
		if (status === Status.badKind) return this.onOther(message);
		if (status !== Status.ok) throw new Error("bad message from above");
		const { kind, requestId, first, second } = control;
		if (kind === Kind.time) {
			this.times.push({ requestId, utcSeconds: first, milliseconds: second });
			return;
		}
		this.requests.push({ kind, first, second, requestId });
		if (this.faults.ignoreRequests > 0) {
			this.faults.ignoreRequests--;
			return;
		}
		await this.#answer(kind, requestId, first, second);
	}

	async #answer(kind: number, requestId: number, first: number, second: number): Promise<void> {
		const within = (each: { sequence: number }): boolean => each.sequence >= first && each.sequence < first + second;
		let found = true;
		if (kind === Kind.profileRequest) {
			const rows = this.rows.filter(within);
			if (this.faults.reverse) rows.reverse();
			found = rows.length > 0;
			for (let at = 0; at < rows.length; at += 20)
				if (this.faults.loseAnswers > 0) this.faults.loseAnswers--;
				else await this.sendRows(requestId, rows.slice(at, at + 20));
		} else if (kind === Kind.eventsRequest) {
			const events = this.events.filter(within);
			found = events.length > 0;
			for (let at = 0; at < events.length; at += 60) await this.sendEvents(requestId, events.slice(at, at + 60));
		} else if (kind === Kind.captureRequest) {
			const channels = this.captureChannels;
			if (!channels) return;
			const rowCount = channels[0]!.codes.length;
			const byteLength = encodeCaptureHeader(
				{
					requestId,
					utcSeconds: utcField(this.clock()),
					rowRateMillihertz: 1_600_000,
					channelCount: channels.length,
					rowCount,
					microunitsPerCode: channels.map((channel) => channel.microunitsPerCode),
				},
				this.#view,
			);
			channels.forEach((channel, index) => {
				channel.codes.forEach((code, at) => {
					this.#view.setInt16(captureCodesOffset(channels.length) + 2 * (at * channels.length + index), code);
				});
			});
			await this.#send(byteLength);
			return;
		} else if (kind === Kind.snapshotRequest) {
			const byteLength = encodeSnapshotHeader(requestId, utcField(this.clock()), this.registers.length, this.#view);
			this.registers.forEach((register, index) => {
				encodeRegisterEntry(...register, index, this.#view);
			});
			await this.#send(byteLength);
			return;
		} else if (kind === Kind.diagnosticsRequest) {
			const entries: [key: number, value: number][] = [
				[Diagnostic.uptimeSeconds, 4711],
				[Diagnostic.bootCount, this.hello.bootCount],
				[Diagnostic.refusals + Status.badLength, 2],
			];
			const refused = new Map<number, number>();
			for (const status of this.keys?.statuses ?? [])
				if (status !== Status.ok) refused.set(status, (refused.get(status) ?? 0) + 1);
			for (const [status, count] of refused) entries.push([Diagnostic.refusals + status, count]);
			const byteLength = encodeDiagnosticsHeader(requestId, entries.length, this.#view);
			entries.forEach(([key, value], index) => {
				encodeDiagnostic(key, value, index, this.#view);
			});
			await this.#send(byteLength);
			return;
		}
		await this.sendControl(Kind.acknowledge, requestId, kind, found ? Status.ok : Status.notFound);
	}

	async close(): Promise<void> {
		const client = this.#client;
		this.#client = undefined;
		if (!client) return;
		await Promise.race([client.endAsync(), new Promise((resolve) => setTimeout(resolve, 1000).unref())]);
		client.end(true);
	}
}

export { NOT_AVAILABLE };

/** Waits for something that real connections bring about. */
export async function until(
	what: string,
	done: () => boolean | Promise<boolean>,
	milliseconds = 30_000,
): Promise<void> {
	const deadline = performance.now() + milliseconds;
	while (!(await done())) {
		if (performance.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
}
