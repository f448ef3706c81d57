import assert from "node:assert/strict";
import { test } from "node:test";
import { Status, statusName } from "../../../src/bytes/status.js";
import { AuthorisationKind } from "../../../src/provisioning/authorisation.js";
import { OpticalRequest } from "../../../src/provisioning/optical-port.js";
import { KeyState, Stage } from "../../../src/provisioning/provisioning-target.js";
import { openReceiptOfFile } from "../../provisioning/device-files.js";
import { deviceKey, newFlash } from "../key-store/world.js";
import { type Answer, fileBytes, MemoryAttempts, sampleFile } from "./samples.js";
import { TestHeadEnd, TestMeter } from "./world.js";

const FIRST = sampleFile();
const SECOND = sampleFile({ generation: 2, epoch: 9_010, roots: new Uint8Array(64).fill(0x99) });
const THIRD = sampleFile({ generation: 3, epoch: 9_020, roots: new Uint8Array(64).fill(0x77) });

const opened = (file: typeof FIRST) => ({ file, bytes: Buffer.from(fileBytes(file)) });
const said = ({ status, stage }: Answer) => `${statusName(status)} ${stage}`;
const stateOf = (meter: TestMeter) => meter.ask(OpticalRequest.identify).body.subarray(11, 16).toString("hex");

/** A meter with the keys of `FIRST`, and its head end. */
function begin(): { flash: ReturnType<typeof newFlash>; meter: TestMeter; headEnd: TestHeadEnd } {
	const flash = newFlash();
	const meter = new TestMeter(flash);
	assert.equal(said(meter.provision(FIRST)), "ok 0");
	return { flash, meter, headEnd: new TestHeadEnd(FIRST) };
}

test("a life: keys, new keys, none, keys again; each step proven by the meter itself", () => {
	const flash = newFlash();
	const attempts = new MemoryAttempts();
	let meter = new TestMeter(flash, attempts);
	assert.equal(stateOf(meter), "0000000000", "unprovisioned");
	const first = meter.provision(FIRST);
	assert.equal(openReceiptOfFile(opened(FIRST), first.body)?.request, OpticalRequest.provision);
	assert.equal(openReceiptOfFile(opened(SECOND), first.body), undefined, "a receipt is of one file");
	assert.equal(stateOf(meter), "0100012328");

	meter = new TestMeter(flash, attempts); // power was off
	assert.equal(stateOf(meter), "0100012328");
	const second = meter.reseed(SECOND, new TestHeadEnd(FIRST).mayTake(SECOND));
	assert.equal(said(second), "ok 0");
	assert.equal(openReceiptOfFile(opened(SECOND), second.body)?.request, OpticalRequest.reseed);
	assert.equal(stateOf(meter), "0100022332");
	assert.equal(meter.host.changes, 1);

	meter = new TestMeter(flash, attempts);
	assert.equal(meter.keys.witness(3), Status.ok);
	assert.equal(meter.ask(OpticalRequest.witness).body.readUInt32BE(4), 3);
	const headEnd = new TestHeadEnd(SECOND);
	const last = meter.decommission(headEnd.mayForget());
	assert.equal(said(last), "ok 0");
	const content = new Uint8Array(64);
	assert.equal(headEnd.unicast.openMessage(last.body, last.body.length, content), Status.ok, "the last message");
	assert.equal(content[4], OpticalRequest.decommission);
	assert.equal(stateOf(meter), "0000000000");

	meter = new TestMeter(flash, attempts);
	assert.equal(stateOf(meter), "0000000000");
	assert.equal(said(meter.provision(THIRD)), "ok 0");
	assert.equal(stateOf(meter), "010003233c");
	assert.equal(attempts.stored, 0);
});

test("without a witness of this start the last message is not sealed: its index might have been used", () => {
	const { meter, headEnd } = begin();
	const answer = meter.decommission(headEnd.mayForget());
	assert.equal(said(answer), "ok 0");
	assert.equal(answer.body.length, 0);
});

test("PROVISION is refused by a meter that has keys, for another meter, of a day that is over", () => {
	const { meter } = begin();
	assert.equal(said(meter.provision(SECOND)), `notAuthorised ${Stage.question}`, "PRV-2");
	const empty = new TestMeter();
	const foreign = sampleFile({ id: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) });
	assert.equal(said(empty.provision(foreign)), `notFound ${Stage.deviceFile}`, "PRV-4");
	empty.host.earliest = 9_001;
	assert.equal(said(empty.provision(FIRST)), `expired ${Stage.deviceFile}`, "PRV-5");
});

test("the keys of a newer firmware are not replaced", () => {
	const meter = new TestMeter();
	meter.provisioning.openStatus = Status.badVersion;
	assert.equal(said(meter.provision(FIRST)), `badVersion ${Stage.keyStore}`, "PRV-3");
	assert.equal(stateOf(meter).slice(0, 2), `0${KeyState.newer}`);
});

test("RESEED and DECOMMISSION of a meter without keys", () => {
	const meter = new TestMeter();
	assert.equal(
		said(meter.reseed(SECOND, new TestHeadEnd(FIRST).mayTake(SECOND))),
		`notFound ${Stage.question}`,
		"PRV-6",
	);
	assert.equal(said(meter.decommission(new TestHeadEnd(FIRST).mayForget())), `notFound ${Stage.question}`, "PRV-11");
	assert.equal(said(meter.ask(OpticalRequest.anchor, new Uint8Array(86))), `notFound ${Stage.question}`, "PRV-1");
});

test("a device file that does not fit is refused before the authorisation is used up", () => {
	const foreign = sampleFile({ ...SECOND, id: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) });
	for (const [file, expected] of [
		[foreign, "notFound"],
		[sampleFile({ ...SECOND, generation: 1 }), "replayed"],
		[sampleFile({ ...SECOND, generation: 3 }), "outOfOrder"],
		[sampleFile({ ...SECOND, epoch: 8_999 }), "expired"],
	] as const) {
		const { meter, headEnd } = begin();
		assert.equal(said(meter.reseed(file, headEnd.mayTake(file))), `${expected} ${Stage.deviceFile}`);
		assert.equal(meter.keys.downIndex(0), 0, `${expected}: the authorisation is used up`);
		assert.equal(stateOf(meter), "0100012328");
	}
	const { meter, headEnd } = begin();
	meter.host.earliest = 9_011;
	assert.equal(said(meter.reseed(SECOND, headEnd.mayTake(SECOND))), `expired ${Stage.deviceFile}`, "PRV-10");
});

test("every authorisation but the right one is refused, and the keys stay", () => {
	const refused = (expected: string, make: (headEnd: TestHeadEnd, meter: TestMeter) => Uint8Array): void => {
		const { meter, headEnd } = begin();
		const authorisation = make(headEnd, meter);
		assert.equal(said(meter.reseed(SECOND, authorisation)), `${expected} ${Stage.authorisation}`, expected);
		assert.equal(stateOf(meter), "0100012328", `${expected}: the keys changed`);
	};
	refused("badLength", () => new Uint8Array(0)); // PRV-12
	refused("badLength", () => new Uint8Array(17));
	refused("notAuthorised", () => new TestHeadEnd(FIRST, 1).mayTake(SECOND)); // PRV-13: the concentrator
	refused("badKind", (headEnd) => headEnd.authorisation(AuthorisationKind.reseed, new Uint8Array(20), 0xffff, 0x0b)); // PRV-14
	refused("badLength", (headEnd) => headEnd.seal(new Uint8Array(23))); // PRV-15
	refused("badKind", (headEnd) => headEnd.mayForget()); // PRV-16
	refused("notAuthorised", (headEnd) => headEnd.mayTake(THIRD)); // PRV-17: for another file
	refused("expired", (headEnd) => headEnd.mayTake(SECOND, 9)); // PRV-19: it is interval 10
	refused("expired", (headEnd, meter) => {
		meter.host.intervalNow = Number.POSITIVE_INFINITY;
		return headEnd.mayTake(SECOND, 95);
	});
	refused("badTag", () => new TestHeadEnd(sampleFile({ roots: new Uint8Array(64) })).mayTake(SECOND));
	refused("notFound", () => new TestHeadEnd(sampleFile({ shortAddress: 9 })).mayTake(SECOND));
	refused("clockInvalid", () => new TestHeadEnd(FIRST, 0, 9_001).mayTake(SECOND));
	refused("badKind", (headEnd) => headEnd.seal(new Uint8Array(24))); // ATH-2
	refused("badVersion", (headEnd) => headEnd.seal(Uint8Array.from({ length: 24 }, (_, i) => (i === 2 ? 0xa0 : 2)))); // ATH-3
});

test("an authorisation of yesterday is no longer one", () => {
	const { meter, headEnd } = begin();
	assert.equal(meter.keys.stageEpoch(9_001, true), Status.ok);
	assert.equal(meter.keys.commitEpoch(), Status.ok);
	assert.equal(said(meter.reseed(SECOND, headEnd.mayTake(SECOND))), `expired ${Stage.authorisation}`, "PRV-18");
});

test("an authorisation acts once; one of the same day until its interval is taken", () => {
	const { meter, headEnd } = begin();
	const forget = headEnd.mayForget(2);
	assert.equal(said(meter.decommission(forget)), `notAuthorised ${Stage.authorisation}`, "of another generation");
	assert.equal(said(meter.decommission(forget)), `replayed ${Stage.authorisation}`);
	assert.equal(said(meter.reseed(SECOND, headEnd.mayTake(SECOND, 10))), "ok 0");
});

test("flash of another device: the meter says so, takes a device file and nothing is left of the other's", () => {
	const { flash } = begin();
	const meter = new TestMeter(flash, new MemoryAttempts(), deviceKey(1));
	assert.equal(statusName(meter.provisioning.openStatus), "badTag");
	assert.equal(stateOf(meter), "0200000000", "unreadable");
	assert.equal(said(meter.provision(SECOND)), "ok 0");
	assert.equal(stateOf(meter), "0100022332");
});

test("a damaged record: the meter says so and takes a device file", () => {
	const { flash } = begin();
	const image = flash.image;
	for (let at = 0; at < image.length; at += 16) if (image[at] !== 0xff) image[at + 40]! &= 0x55;
	const meter = new TestMeter(newFlash({ image }));
	assert.equal(statusName(meter.provisioning.openStatus), "corrupt");
	assert.equal(stateOf(meter), "0200000000", "unreadable");
	assert.equal(said(meter.provision(SECOND)), "ok 0");
});

test("flash that was put back: nothing is provisioned over it; the head end may renew or end it", () => {
	for (const ends of [true, false]) {
		const { meter, headEnd } = begin();
		meter.keys.witness(1000);
		assert.equal(stateOf(meter).slice(0, 2), `0${KeyState.rolledBack}`);
		assert.equal(said(meter.provision(SECOND)), `notAuthorised ${Stage.question}`);
		const answer = ends ? meter.decommission(headEnd.mayForget()) : meter.reseed(SECOND, headEnd.mayTake(SECOND));
		assert.equal(said(answer), "ok 0");
		assert.equal(stateOf(meter), ends ? "0000000000" : "0100022332");
		assert.equal(answer.body.length, ends ? 0 : 46, "nothing is sealed under keys that might have been used");
	}
});

test("no byte of a secret in any answer, nor left in the machine", () => {
	const flash = newFlash();
	const meter = new TestMeter(flash);
	const headEnd = new TestHeadEnd(FIRST);
	const answers = [
		meter.provision(FIRST),
		meter.ask(OpticalRequest.identify),
		meter.ask(OpticalRequest.witness),
		meter.reseed(SECOND, headEnd.mayForget()),
		meter.reseed(SECOND, headEnd.mayTake(SECOND)),
		meter.provision(THIRD),
		meter.decommission(new TestHeadEnd(SECOND).mayForget()),
	];
	const all = Buffer.concat(answers.map(({ body }) => body));
	for (const { roots } of [FIRST, SECOND, THIRD])
		for (let at = 0; at + 4 <= 64; at++) assert.equal(all.indexOf(roots.subarray(at, at + 4)), -1, `root byte ${at}`);
	assert.equal(said(answers[6]!), "ok 0");
	assert.ok(
		meter.arena.bytes.every((byte) => byte === 0 || byte === 0xca),
		"more than the calendar's root, which is public, is left in the arena after DECOMMISSION",
	);
});
