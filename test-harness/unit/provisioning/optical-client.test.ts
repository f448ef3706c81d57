import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { STATUS_COUNT, Status, statusName } from "../../../src/bytes/status.js";
import { OpticalPortMachine, OpticalRequest } from "../../../src/provisioning/optical-port.js";
import { Stage } from "../../../src/provisioning/provisioning-target.js";
import { OpticalClient, OpticalRefusal, OpticalSilence, refusalText } from "../../provisioning/optical-client.js";
import { lineOfBoard, type OpticalLine, openLine, serveLine } from "../../provisioning/optical-line.js";
import { UserError } from "../../user-error.js";
import { fileBytes, METER_ID, MemoryAttempts, ScriptedTarget, sampleFile } from "./samples.js";

/** A light path to a machine; `damage` may lose or change what passes, `undefined` loses it. */
class TestLine implements OpticalLine {
	readonly target = new ScriptedTarget();
	readonly machine = new OpticalPortMachine(this.target, new MemoryAttempts(), 0);
	isClosed = false;
	damage: (bytes: Uint8Array, toMeter: boolean) => Uint8Array | undefined = (bytes) => bytes;
	#received: (bytes: Uint8Array) => void = () => {};
	#closed: (reason: string) => void = () => {};

	send(bytes: Uint8Array): void {
		const question = this.damage(Uint8Array.from(bytes), true);
		if (question === undefined) return;
		const now = performance.now();
		this.machine.receive(now, question, question.length);
		this.machine.tick(now + 5000);
		const into = new Uint8Array(50);
		setImmediate(() => {
			for (let count = this.machine.transmit(into); count > 0; count = this.machine.transmit(into)) {
				const answer = this.damage(into.slice(0, count), false);
				if (answer) this.#received(answer);
			}
		});
	}

	onReceived(listener: (bytes: Uint8Array) => void): void {
		this.#received = listener;
	}

	onClosed(listener: (reason: string) => void): void {
		this.#closed = listener;
	}

	close(): void {
		this.isClosed = true;
	}

	breakDown(): void {
		this.#closed("unplugged");
	}
}

const FILE = fileBytes(sampleFile({ generation: 2 }));
const FAST = { timeoutMilliseconds: 20 } as const;

test("typed answers to every question", async () => {
	const line = new TestLine();
	const client = new OpticalClient(line, FAST);
	line.target.counters.count(Status.badTag);
	await assert.rejects(client.read(9), /no such register/);
	assert.deepEqual(await client.identify(), {
		id: Buffer.from(METER_ID).toString("hex"),
		firmware: "1.2.3",
		keyState: 1,
		generation: 7,
		epoch: 9000,
		failedAttempts: 0,
		refusals: { badTag: { port: 0, keyStore: 1 }, notFound: { port: 1, keyStore: 0 } },
	});
	assert.equal((await client.read(1)).length, 496);
	assert.deepEqual(await client.witness(), {
		headSequence: 0x8000_0001,
		witnessedSequence: 5,
		headTag: "ee".repeat(8),
	});
	assert.equal((await client.provision(FILE)).length, 46);
	assert.equal((await client.reseed(FILE, Buffer.from("seal"))).length, 46);
	assert.equal((await client.decommission(Buffer.from("bye"))).length, 46);
	await client.anchor(Buffer.from("day"));
	assert.deepEqual(line.target.calls, ["provision 2 WLdf", "reseed 2 seal", "decommission bye", "anchor day"]);
	await assert.rejects(client.anchor(Buffer.alloc(600)), /600|604/);
	client.close();
	assert.ok(line.isClosed);
});

test("lost and damaged bytes: the question is repeated, the meter acts once", async () => {
	for (const [name, loses] of [
		["the question is lost", (n: number, toMeter: boolean) => toMeter && n === 1],
		["the answer is lost", (n: number, toMeter: boolean) => !toMeter && n <= 3],
	] as const) {
		const line = new TestLine();
		let questions = 0;
		let answers = 0;
		line.damage = (bytes, toMeter) => (loses(toMeter ? ++questions : ++answers, toMeter) ? undefined : bytes);
		const client = new OpticalClient(line, FAST);
		assert.equal((await client.provision(FILE)).length, 46, name);
		assert.equal(line.target.calls.length, 1, name);
		assert.ok(client.repeats >= 1, name);
	}
	const line = new TestLine();
	let count = 0;
	line.damage = (bytes) => {
		if (count++ < 3) bytes[bytes.length >> 1]! ^= 4;
		return bytes;
	};
	assert.equal((await new OpticalClient(line, FAST).provision(FILE)).length, 46, "changed on the way");
	assert.equal(line.target.calls.length, 1);
});

test("an optical head that echoes is heard through", async () => {
	const line = new TestLine();
	const send = line.send.bind(line);
	let received: (bytes: Uint8Array) => void = () => {};
	const onReceived = line.onReceived.bind(line);
	line.onReceived = (listener) => {
		received = listener;
		onReceived(listener);
	};
	line.send = (bytes) => {
		received(bytes);
		send(bytes);
	};
	assert.equal((await new OpticalClient(line, FAST).identify()).generation, 7);
});

test("silence, and a line that breaks, are one line that says what to do", async () => {
	const line = new TestLine();
	line.damage = () => undefined;
	await assert.rejects(new OpticalClient(line, { timeoutMilliseconds: 5 }).identify(), (error: Error) => {
		assert.ok(error instanceof OpticalSilence && error instanceof UserError);
		assert.match(error.message, /no answer .* 4 attempts: set the optical head on the port/);
		return true;
	});
	const client = new OpticalClient(line, { timeoutMilliseconds: 5000 });
	const pending = client.identify();
	line.breakDown();
	await assert.rejects(pending, /the line to the meter is gone: unplugged/);
	await assert.rejects(client.identify(), /gone/, "and stays so");
});

test("a refusal is thrown with its status, stage and waiting time", async () => {
	const line = new TestLine();
	line.target.answers = Status.badTag;
	const client = new OpticalClient(line, FAST);
	for (let i = 0; i < 3; i++) await assert.rejects(client.decommission(Buffer.from("no")), OpticalRefusal);
	await assert.rejects(client.decommission(Buffer.from("no")), (error: OpticalRefusal) => {
		assert.deepEqual([error.status, error.stage, error.retryAfterSeconds], [Status.badTag, Stage.authorisation, 1]);
		assert.match(error.message, /refuses DECOMMISSION: the authorisation is not this head end's.*next attempt in 1 s/);
		return true;
	});
	await assert.rejects(client.provision(FILE), /too many failed attempts: the meter refuses for another 1 s \(busy\)/);
});

test("every refusal is one line; those that can be expected each have their own", () => {
	const seen = new Map<string, string>();
	const expected: Readonly<Record<number, readonly Status[]>> = {
		[Stage.question]: [Status.busy, Status.notAuthorised, Status.badVersion],
		[Stage.deviceFile]: [
			Status.badLength,
			Status.badKind,
			Status.badVersion,
			Status.badChecksum,
			Status.badValue,
			Status.notFound,
			Status.replayed,
			Status.outOfOrder,
			Status.expired,
		],
		[Stage.authorisation]: [
			Status.badTag,
			Status.notFound,
			Status.notAuthorised,
			Status.replayed,
			Status.outOfOrder,
			Status.clockInvalid,
			Status.timedOut,
			Status.expired,
			Status.badKind,
		],
		[Stage.keyStore]: [Status.corrupt, Status.storageFull, Status.badVersion, Status.noEntropy],
	};
	for (const request of Object.values(OpticalRequest))
		for (const stage of Object.values(Stage))
			for (let status = 1; status < STATUS_COUNT; status++) {
				const text = refusalText(request, status, stage, 7);
				assert.doesNotMatch(text, /\n|undefined/);
				assert.ok(text.length < 200, text);
				if (request !== OpticalRequest.provision || !expected[stage]?.includes(status as Status)) continue;
				const what = text.replace(/; next attempt.*$/, "");
				assert.ok(!what.includes("see docs"), `stage ${stage}, ${statusName(status)}: ${text}`);
				assert.equal(seen.get(what), undefined, text);
				seen.set(what, `${stage} ${status}`);
			}
});

test("--port: loopback TCP and devices; nothing else", async () => {
	await assert.rejects(openLine("tcp:192.0.2.1:4059"), /not on this machine/);
	await assert.rejects(openLine("/nowhere/ttyUSB0"), /there is no port/);
	await assert.rejects(openLine("package.json"), /no serial device/);
	const server = createServer((socket) => socket.resume().end());
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const { port } = server.address() as { port: number };
	const client = new OpticalClient(await openLine(`tcp:127.0.0.1:${port}`), { timeoutMilliseconds: 2000 });
	await assert.rejects(client.identify(), /the line to the meter is gone/);
	client.close();
	await new Promise((resolve) => server.close(resolve));
	await assert.rejects(openLine(`tcp:127.0.0.1:${port}`), /nothing listens/);
});

test("a virtual board's optical port through TCP: one head at a time", async () => {
	const target = new ScriptedTarget();
	const machine = new OpticalPortMachine(target, new MemoryAttempts(), 0);
	const board = { onOptical: undefined as ((bytes: Uint8Array) => void) | undefined };
	const world = {
		opticalData(_board: unknown, bytes: Uint8Array) {
			machine.receive(0, bytes, bytes.length);
			const into = new Uint8Array(100);
			for (let count = machine.transmit(into); count > 0; count = machine.transmit(into))
				board.onOptical?.(into.subarray(0, count));
		},
	};
	const line = lineOfBoard(world, board as never);
	const served = await serveLine(line, 0);
	const first = new OpticalClient(await openLine(`tcp:127.0.0.1:${served.port}`));
	assert.equal((await first.identify()).generation, 7);
	assert.equal((await first.read(1)).length, 496);
	const second = new OpticalClient(await openLine(`tcp:127.0.0.1:${served.port}`));
	await assert.rejects(second.identify(), /the line to the meter is gone/);
	await assert.rejects(serveLine(line, served.port), /is taken/);
	first.close();
	second.close();
	await served.close();
});
