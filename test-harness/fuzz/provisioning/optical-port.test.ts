import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "../../../src/bytes/crc.js";
import { STATUS_COUNT, Status } from "../../../src/bytes/status.js";
import {
	createAuthorisation,
	createKeyReceipt,
	decodeAuthorisation,
	decodeKeyReceipt,
} from "../../../src/provisioning/authorisation.js";
import { createDeviceFile, decodeDeviceFile } from "../../../src/provisioning/device-file.js";
import { OpticalPortMachine, OpticalRequest } from "../../../src/provisioning/optical-port.js";
import { seed } from "../../seed.js";
import { newFlash } from "../../unit/key-store/world.js";
import {
	decodeAnswer,
	fileBytes,
	MemoryAttempts,
	question,
	ScriptedTarget,
	sampleFile,
	transmitted,
} from "../../unit/provisioning/samples.js";
import { TestHeadEnd, TestMeter } from "../../unit/provisioning/world.js";

const CASES = Number(process.env["FUZZ_CASES"] ?? 10_000);

let random = seed >>> 0;
function below(limit: number): number {
	random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
	return Math.floor((random / 0x1_0000_0000) * limit);
}

const FILE = fileBytes(sampleFile());
const SESSION: readonly Uint8Array[] = [
	question(OpticalRequest.identify),
	question(OpticalRequest.read, Uint8Array.of(0)),
	question(OpticalRequest.witness),
	question(OpticalRequest.provision, FILE),
	question(OpticalRequest.reseed, new Uint8Array(Buffer.concat([FILE, Buffer.alloc(42, 1)]))),
	question(OpticalRequest.decommission, new Uint8Array(42)),
	question(OpticalRequest.anchor, new Uint8Array(246)),
];

/** A valid question, damaged in one of the ways of a line or of an attacker. */
function mutated(): Uint8Array {
	const bytes = Buffer.from(SESSION[below(SESSION.length)]!);
	switch (below(7)) {
		case 0:
			bytes[below(bytes.length)]! ^= 1 << below(8);
			return bytes;
		case 1:
			return bytes.subarray(0, below(bytes.length));
		case 2:
			return bytes.subarray(below(bytes.length));
		case 3: {
			const at = below(bytes.length);
			return Buffer.concat([bytes.subarray(0, at), Buffer.from([below(256)]), bytes.subarray(at)]);
		}
		case 4:
			return Buffer.from(Array.from({ length: below(700) }, () => below(256)));
		case 5: {
			// a right checksum over any content: what an attacker sends
			const body = Uint8Array.from({ length: below(501) }, () => below(256));
			return question(below(0x100), body, below(0x1_0000), below(4) === 0 ? below(256) : 1);
		}
		default:
			return bytes;
	}
}

test(`${CASES} damaged sessions: an answer is whole, the buffers are bounded, the port listens again`, () => {
	const target = new ScriptedTarget();
	const machine = new OpticalPortMachine(target, new MemoryAttempts(), 0);
	let now = 0;
	let answers = 0;
	for (let i = 0; i < CASES; i++) {
		target.answers = below(3) === 0 ? Status.ok : (below(STATUS_COUNT) as Status);
		const bytes = mutated();
		for (let at = 0; at < bytes.length; ) {
			const piece = bytes.subarray(at, at + 1 + below(300));
			machine.receive(now, piece, piece.length);
			at += piece.length;
			now += below(5) === 0 ? 1600 : below(20);
			machine.tick(now);
			if (below(4) > 0) {
				const sent = transmitted(machine, 1 + below(512));
				if (sent.length === 0) continue;
				assert.ok(sent.length <= 512, `seed ${seed}, case ${i}: an answer of ${sent.length} bytes`);
				assert.ok(decodeAnswer(sent), `seed ${seed}, case ${i}: not an answer`);
				answers++;
			}
		}
	}
	transmitted(machine);
	now += 10_000;
	machine.tick(now);
	transmitted(machine);
	const last = question(OpticalRequest.identify, undefined, 0x1234);
	machine.receive(now, last, last.length);
	assert.equal(decodeAnswer(transmitted(machine))?.sequence, 0x1234, `seed ${seed}: deaf at the end`);
	assert.ok(answers > CASES / 10, `only ${answers} answers`);
	console.log(`${answers} answers, ${target.calls.length} calls, ${machine.falseStarts} false starts`);
});

test("decoders take any bytes", () => {
	const file = createDeviceFile();
	const authorisation = createAuthorisation();
	const receipt = createKeyReceipt();
	for (let i = 0; i < CASES; i++) {
		const bytes = Uint8Array.from({ length: below(180) }, () => below(256));
		if (below(2) === 0) bytes.set(FILE.subarray(0, Math.min(bytes.length, below(168))));
		for (const length of [bytes.length, 168, 26, 22]) {
			const statuses = [
				decodeDeviceFile(bytes, 0, length, file),
				decodeAuthorisation(bytes, 0, length, authorisation),
				decodeKeyReceipt(bytes, 0, length, receipt),
			];
			for (const status of statuses) assert.ok(status >= 0 && status < STATUS_COUNT, `seed ${seed}, case ${i}`);
		}
	}
});

test("a right RESEED with any one bit changed changes nothing, and the right one still works afterwards", () => {
	const first = sampleFile();
	const second = sampleFile({ generation: 2, roots: new Uint8Array(64).fill(0x31) });
	const flash = newFlash();
	assert.equal(new TestMeter(flash).provision(first).status, Status.ok);
	const { image } = flash;
	const authorisation = new TestHeadEnd(first).mayTake(second);
	const body = Buffer.concat([fileBytes(second), authorisation]);
	for (let at = 0; at < body.length; at++)
		for (const mendsChecksum of at < 164 ? [false, true] : [false]) {
			const where = `seed ${seed}, byte ${at}, ${mendsChecksum ? "right" : "old"} checksum`;
			const changed = Buffer.from(body);
			changed[at]! ^= 1 << below(8);
			if (mendsChecksum) changed.writeUInt32BE(crc32(changed, 0, 164), 164);
			const meter = new TestMeter(newFlash({ image }));
			assert.notEqual(meter.ask(OpticalRequest.reseed, changed).status, Status.ok, where);
			assert.equal(meter.keys.generation, 1, where);
			if (at % 16 !== 0) continue;
			const isUsedUp = meter.keys.downIndex(0) > 0;
			const answer = meter.ask(OpticalRequest.reseed, body);
			assert.equal(answer.status, isUsedUp ? Status.replayed : Status.ok, where);
		}
});
