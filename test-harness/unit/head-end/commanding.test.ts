import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BROADCAST_HEADER_BYTES } from "../../../src/broadcast/broadcast-messages.js";
import { Source } from "../../../src/commands/authorisation.js";
import type { AuditView, CommandView } from "../../head-end/api.js";
import { HttpServer } from "../../head-end/server.js";
import { UserError } from "../../user-error.js";
import { IDENTIFIER, World } from "../commands/world.js";
import { Bench, DOMAIN } from "./bench.js";
import { type FakeMeter, until } from "./fake-meter.js";

const ID = Buffer.from(IDENTIFIER).toString("hex");

/** A fake meter whose commands a real handler obeys. */
async function commanded(bench: Bench): Promise<{ meter: FakeMeter; world: World }> {
	const meter = await bench.meter(ID);
	const world = new World();
	const answer = async (): Promise<void> => {
		for (const each of world.answers()) await meter.sendMessage(each);
	};
	meter.onOther = async (message) => {
		world.utcSeconds = bench.clock.utcSeconds();
		world.send(message);
		await answer();
	};
	await bench.step(3);
	await meter.connect(bench.broker.url);
	for (let steps = 0; steps < 40 && !bench.headEnd.has(ID); steps++) {
		await bench.step(1);
		await new Promise((resolve) => setTimeout(resolve, 3));
	}
	await bench.settle();
	return { meter, world };
}

async function withBench(run: (bench: Bench) => Promise<void>): Promise<void> {
	const bench = await new Bench(undefined, true).start();
	try {
		await run(bench);
	} finally {
		await bench.close();
	}
}

async function ended(bench: Bench, id: string): Promise<CommandView> {
	const view = (): CommandView => bench.headEnd.commanding!.commands(ID).find((each) => each.id === id)!;
	for (let steps = 0; steps < 60 && (view().state === "sent" || view().state === "created"); steps++) {
		await bench.step(2);
		await new Promise((resolve) => setTimeout(resolve, 3));
	}
	return view();
}

test("a command is written down, sealed, obeyed, and its receipt matched; the audit fits the chain of both", () =>
	withBench(async (bench) => {
		const { world } = await commanded(bench);
		const commanding = bench.headEnd.commanding!;
		const sent = commanding.sendCommand(ID, { name: "disconnect", reason: 1 }, "test");
		assert.equal(sent.state, "sent");
		const view = await ended(bench, sent.id);
		assert.equal(view.state, "executed", JSON.stringify(view));
		assert.equal(world.device.relay, false, "the relay is open");
		const connected = commanding.sendCommand(ID, { name: "connect" }, "test");
		assert.equal((await ended(bench, connected.id)).state, "executed");
		assert.deepEqual(world.device.done.slice(-2), ["open", "close"], "each once, in order");
		assert.equal(world.device.done.filter((done) => done === "open").length, 1);
		for (let steps = 0; steps < 40 && commanding.auditView(ID).verdict.anchoredSequence < 4; steps++) {
			await bench.step(2);
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
		const audit = commanding.auditView(ID);
		assert.equal(audit.verdict.status, "ok", audit.verdict.text);
		assert.ok(audit.verdict.rowCount >= 4, "received and done, twice");
		assert.equal(audit.own.status, "ok", audit.own.text);
		assert.equal(commanding.commands(ID).length, 2);
		assert.throws(() => commanding.sendCommand(ID, { name: "explode" }, "test"), UserError);
		assert.throws(() => commanding.sendCommand(ID, { name: "loadLimit" }, "test"), /limitWatts/);
		assert.throws(() => commanding.sendCommand(ID, { name: "connect", why: 1 }, "test"), /no field why/);
		assert.throws(() => commanding.sendCommand("00000000000000ee", { name: "connect" }, "test"), /knows no meter/);
	}));

test("a command to a meter that is away survives a restart and is obeyed once when it is back", () =>
	withBench(async (bench) => {
		const { meter, world } = await commanded(bench);
		meter.cut();
		await until("the will", () => bench.headEnd.state(ID) === "offline");
		const { id } = bench.headEnd.commanding!.sendCommand(ID, { name: "loadLimit", limitWatts: 3000 }, "test");
		await bench.security.flushed();
		await bench.stopHeadEnd();
		await bench.startHeadEnd();
		assert.equal(bench.headEnd.commanding!.commands(ID)[0]!.id, id, "the log remembers");
		await meter.connect(bench.broker.url);
		assert.equal((await ended(bench, id)).state, "executed");
		assert.equal(world.audit.headSequence, 2, "received and done: once");
		const late = bench.headEnd.commanding!.sendCommand(ID, { name: "connect" }, "test", 5);
		meter.cut();
		await bench.step(700);
		await bench.step(1);
		assert.ok(["unknown", "executed"].includes((await ended(bench, late.id)).state), "its time is over");
	}));

test("a broadcast command goes over the head end's chain and is answered by each meter", () =>
	withBench(async (bench) => {
		const { meter, world } = await commanded(bench);
		const commanding = bench.headEnd.commanding!;
		const order = { name: "demandResponse", startSeconds: Math.floor(bench.clock.utcSeconds()), durationSeconds: 60 };
		const [view] = commanding.broadcastCommand(DOMAIN, order, "test");
		assert.equal(view!.way, "headEndBroadcast");
		await until("the broadcast", () => meter.broadcasts.some((each) => each[0] === 0x0d));
		const message = meter.broadcasts.find((each) => each[0] === 0x0d)!;
		// what the meter's receiver of broadcasts hands on when the key is disclosed
		world.utcSeconds = bench.clock.utcSeconds();
		world.send(message.subarray(BROADCAST_HEADER_BYTES, message.length - 10), Source.headEndBroadcast);
		for (const each of world.answers()) await meter.sendMessage(each);
		assert.equal((await ended(bench, view!.id)).state, "executed");
	}));

test("a log that somebody rewrote is told, by what the meters hold of it", () =>
	withBench(async (bench) => {
		await commanded(bench);
		const { id } = bench.headEnd.commanding!.sendCommand(ID, { name: "disconnect", reason: 5 }, "test");
		await ended(bench, id);
		for (let steps = 0; steps < 10; steps++) await bench.step(2);
		assert.equal(bench.headEnd.commanding!.ownVerdict().status, "ok");
		const path = join(bench.registryFolder, "commands.log");
		const lines = readFileSync(path, "utf8").split("\n");
		writeFileSync(path, `${lines[0]}\n`); // as if the command had never been ordered
		const verdict = bench.headEnd.commanding!.ownVerdict();
		assert.equal(verdict.status, "truncated", verdict.text);
		assert.match(verdict.text, /holds row 2/);
	}));

test("over HTTP: ordered, listed, audited; mistakes are one line; the security of a meter is shown", () =>
	withBench(async (bench) => {
		await commanded(bench);
		const server = new HttpServer(bench.headEnd);
		await server.listen(0, "127.0.0.1");
		try {
			const url = `http://127.0.0.1:${server.port}/api/meters/${ID}`;
			const post = (body: unknown): Promise<Response> =>
				fetch(`${url}/commands`, {
					method: "POST",
					headers: { "content-type": "application/json" },
					body: JSON.stringify(body),
				});
			const accepted = await post({ name: "disconnect", reason: 2 });
			assert.equal(accepted.status, 202);
			const { id } = (await accepted.json()) as CommandView;
			assert.equal((await ended(bench, id)).state, "executed");
			const listed = (await (await fetch(`${url}/commands`)).json()) as CommandView[];
			assert.equal(listed[0]!.id, id);
			assert.equal(listed[0]!.statusName, "ok");
			const wrong = await post({ name: "loadLimit", limitWatts: -1 });
			assert.equal(wrong.status, 400);
			assert.match(((await wrong.json()) as { error: string }).error, /limitWatts/);
			assert.equal((await post({})).status, 400);
			const audit = (await (await fetch(`${url}/audit`)).json()) as AuditView;
			assert.equal(audit.own.status, "ok");
			const view = (await (await fetch(url)).json()) as { security: { state: string } };
			assert.equal(view.security.state, "open");
		} finally {
			await server.close();
		}
	}));
