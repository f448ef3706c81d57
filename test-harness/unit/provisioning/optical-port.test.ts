import assert from "node:assert/strict";
import { test } from "node:test";
import { Status, statusName } from "../../../src/bytes/status.js";
import { AttemptLimit, lockOutSeconds } from "../../../src/provisioning/attempt-limit.js";
import { OpticalFrameReader } from "../../../src/provisioning/optical-frame.js";
import { OpticalPortMachine, OpticalRequest } from "../../../src/provisioning/optical-port.js";
import { Stage } from "../../../src/provisioning/provisioning-target.js";
import {
	ask,
	decodeAnswer,
	fileBytes,
	frameOf,
	METER_ID,
	MemoryAttempts,
	question,
	ScriptedTarget,
	sampleFile,
	transmitted,
} from "./samples.js";

function open(): { target: ScriptedTarget; attempts: MemoryAttempts; machine: OpticalPortMachine } {
	const target = new ScriptedTarget();
	const attempts = new MemoryAttempts();
	return { target, attempts, machine: new OpticalPortMachine(target, attempts, 0) };
}

const FILE = fileBytes(sampleFile({ generation: 2 }));
const text = (value: string) => new Uint8Array(Buffer.from(value));
const join = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

test("IDENTIFY, READ, WITNESS say what the meter says, and nothing else", () => {
	const { machine, target } = open();
	target.counters.count(Status.badTag);
	const identity = ask(machine, 0, question(OpticalRequest.identify, undefined, 0xabcd));
	assert.ok(identity);
	assert.deepEqual(
		[identity.request, identity.sequence, identity.status, identity.stage, identity.retryAfterSeconds],
		[0x81, 0xabcd, 0, 0, 0],
	);
	assert.equal(
		identity.body.toString("hex"),
		`${Buffer.from(METER_ID).toString("hex")}0102030100072328000103${"00000000"}${"00000001"}`,
	);
	assert.equal(ask(machine, 0, question(OpticalRequest.read, Uint8Array.of(0)))?.body.toString("hex"), "2a");
	assert.equal(ask(machine, 0, question(OpticalRequest.read, Uint8Array.of(1)))?.body.length, 496, "a full answer");
	const none = ask(machine, 0, question(OpticalRequest.read, Uint8Array.of(9)));
	assert.equal(statusName(none?.status ?? -1), "notFound");
	assert.equal(none?.stage, Stage.question);
	assert.equal(
		ask(machine, 0, question(OpticalRequest.witness))?.body.toString("hex"),
		"8000000100000005eeeeeeeeeeeeeeee",
	);
	assert.deepEqual(target.calls, []);
});

test("questions that are none", () => {
	const { machine, target, attempts } = open();
	const refused = (frame: Uint8Array) => {
		const answer = ask(machine, 0, frame);
		return `${statusName(answer?.status ?? -1)} ${answer?.stage} ${answer?.body.length}`;
	};
	assert.equal(refused(question(OpticalRequest.identify, undefined, 1, 2)), "badVersion 1 0", "OPT-1");
	assert.equal(refused(question(OpticalRequest.identify, text("x"))), "badLength 1 0", "OPT-2");
	assert.equal(refused(question(OpticalRequest.read)), "badLength 1 0", "OPT-3");
	assert.equal(refused(question(OpticalRequest.read, text("?"))), "notFound 1 0", "OPT-4");
	assert.equal(refused(question(OpticalRequest.witness, text("x"))), "badLength 1 0", "OPT-5");
	assert.equal(refused(question(0)), "unsupported 1 0", "OPT-6");
	assert.equal(refused(question(0x7f)), "unsupported 1 0", "OPT-6");
	assert.equal(refused(question(OpticalRequest.provision, FILE.subarray(1))), "badLength 2 0", "OPT-8");
	assert.equal(refused(question(OpticalRequest.provision, join(FILE, text("x")))), "badLength 2 0", "OPT-9");
	const damaged = FILE.slice();
	damaged[50]! ^= 1;
	assert.equal(refused(question(OpticalRequest.reseed, join(damaged, text("seal")))), "badChecksum 2 0");
	assert.equal(refused(question(OpticalRequest.anchor, new Uint8Array(289))), "badLength 1 0", "OPT-10");
	assert.equal(refused(question(OpticalRequest.decommission, new Uint8Array(289))), "badLength 3 0", "OPT-11");
	assert.deepEqual(target.calls, [], "nothing of that reached the meter");
	assert.equal(attempts.saves, 0, "nor counts as an attempt");
	assert.equal(machine.counters.counts[Status.unsupported], 2);
	assert.equal(ask(machine, 0, frameOf(Uint8Array.of(1, 0x81, 0, 1))), undefined, "an answer is no question");
});

test("PROVISION, RESEED, DECOMMISSION, ANCHOR reach the meter; the answer carries the receipt", () => {
	const { machine, target } = open();
	const receipt = "5a".repeat(46);
	assert.equal(ask(machine, 0, question(OpticalRequest.provision, FILE))?.body.toString("hex"), receipt);
	assert.equal(ask(machine, 0, question(OpticalRequest.reseed, join(FILE, text("seal"))))?.status, Status.ok);
	assert.equal(ask(machine, 0, question(OpticalRequest.decommission, text("bye")))?.body.toString("hex"), receipt);
	assert.equal(ask(machine, 0, question(OpticalRequest.anchor, text("day")))?.body.length, 0);
	assert.deepEqual(target.calls, ["provision 2 WLdf", "reseed 2 seal", "decommission bye", "anchor day"]);
	target.answers = Status.badTag;
	for (const frame of [
		question(OpticalRequest.decommission, text("no")),
		question(OpticalRequest.anchor, text("no")),
	]) {
		const answer = ask(machine, 0, frame);
		assert.deepEqual([answer?.status, answer?.stage, answer?.body.length], [Status.badTag, Stage.authorisation, 0]);
	}
});

test("a question that is repeated is answered again and not acted on again, for 30 s", () => {
	const { machine, target } = open();
	const frame = question(OpticalRequest.provision, FILE, 5);
	const first = ask(machine, 1000, frame);
	assert.deepEqual(ask(machine, 30_999, frame), first);
	assert.equal(target.calls.length, 1);
	assert.equal(machine.repeats, 1);
	ask(machine, 31_000, frame);
	assert.equal(target.calls.length, 2, "30 s later it is a new question");
	ask(machine, 31_000, question(OpticalRequest.provision, FILE, 6));
	assert.equal(target.calls.length, 3, "another sequence is another question");
	ask(machine, 31_000, question(OpticalRequest.identify));
	ask(machine, 31_000, question(OpticalRequest.provision, FILE, 6));
	assert.equal(target.calls.length, 4, "another answer lies in the buffer by then");
});

test("failed attempts are slowed down, kept across restarts, and forgotten after success only", () => {
	assert.deepEqual(
		[0, 1, 2, 3, 4, 5, 6, 14, 15, 16, 17, 255].map(lockOutSeconds),
		[0, 0, 0, 0, 1, 2, 4, 1024, 2048, 3600, 3600, 3600],
	);
	const { machine, target, attempts } = open();
	target.answers = Status.badTag;
	let now = 0;
	let sequence = 0;
	const attempt = (m: OpticalPortMachine) => ask(m, now, question(OpticalRequest.decommission, text("?"), ++sequence));
	for (let failed = 1; failed <= 5; failed++) {
		const answer = attempt(machine);
		assert.equal(answer?.status, Status.badTag);
		assert.equal(answer?.retryAfterSeconds, lockOutSeconds(failed));
		now += 1000 * lockOutSeconds(failed);
	}
	assert.equal(attempts.stored, 5);
	assert.equal(attempt(machine)?.retryAfterSeconds, 4);
	now += 3999;
	const locked = attempt(machine);
	assert.deepEqual([locked?.status, locked?.stage, locked?.retryAfterSeconds], [Status.busy, Stage.question, 1]);
	assert.equal(attempts.stored, 6, "a question during the lock-out neither counts nor reaches the meter");
	assert.equal(target.calls.length, 6);
	assert.equal(ask(machine, now, question(OpticalRequest.identify))?.status, Status.ok, "others are answered");
	assert.equal(ask(machine, now, question(OpticalRequest.identify))?.body[16], 6);

	now = 0; // restart: the clock begins anew, the count does not
	const restarted = new OpticalPortMachine(target, attempts, 0);
	assert.equal(attempt(restarted)?.retryAfterSeconds, 4);
	now = 4000;
	target.answers = Status.ok;
	assert.equal(attempt(restarted)?.status, Status.ok);
	assert.equal(attempts.stored, 0);
	assert.equal(attempt(restarted)?.status, Status.ok);
});

test("an attempt counts before it is looked at: cutting the power in the middle gains nothing", () => {
	const attempts = new MemoryAttempts();
	const target = new ScriptedTarget();
	target.decommission = () => {
		throw new Error("power is off");
	};
	for (let cut = 1; cut <= 3; cut++) {
		assert.throws(() => ask(new OpticalPortMachine(target, attempts, 0), 0, question(OpticalRequest.decommission)));
		assert.equal(attempts.stored, cut);
	}
});

test("a store that lost its count, or holds nonsense, starts at 0", () => {
	for (const found of [Number.NaN, -1, 256]) {
		const limit = new AttemptLimit({ load: () => found, save: () => false }, 0);
		assert.equal(limit.failedAttempts, 0);
		assert.equal(limit.remainingMilliseconds(0), 0);
	}
});

test("half-duplex: what comes while an answer is on its way is dropped and counted", () => {
	const { machine } = open();
	const frame = question(OpticalRequest.identify);
	const both = join(frame, frame);
	machine.receive(0, both, both.length);
	assert.equal(machine.bytesDropped, frame.length);
	machine.receive(0, frame, frame.length);
	assert.equal(machine.bytesDropped, 2 * frame.length);
	assert.ok(decodeAnswer(transmitted(machine, 7)), "whole, in pieces of 7 bytes");
	assert.equal(transmitted(machine).length, 0);
});

test("a false start in noise delays a question, but does not swallow it", () => {
	const { machine } = open();
	const falseStart = Uint8Array.of(0x57, 0x70, 0x01, 0xf0, 9, 9);
	const frame = join(falseStart, question(OpticalRequest.identify, undefined, 77));
	machine.receive(10_000, frame, frame.length);
	assert.equal(transmitted(machine).length, 0, "496 bytes were announced");
	assert.equal(machine.deadlineMilliseconds(), 11_500);
	machine.tick(11_499);
	assert.equal(transmitted(machine).length, 0);
	machine.tick(11_500);
	assert.equal(decodeAnswer(transmitted(machine))?.sequence, 77);
	assert.equal(machine.deadlineMilliseconds(), Number.POSITIVE_INFINITY);
	assert.equal(machine.falseStarts, 1);
});

test("what was dropped is overwritten", () => {
	const reader = new OpticalFrameReader();
	const frame = question(OpticalRequest.provision, FILE);
	reader.take(frame, 0, frame.length);
	assert.ok(reader.payloadBytes > 0);
	reader.next();
	assert.ok(reader.bytes.every((byte) => byte === 0));
	reader.take(frame, 0, frame.length - 1);
	while (reader.pendingBytes > 0) reader.expire();
	assert.ok(reader.bytes.every((byte) => byte === 0));
});
