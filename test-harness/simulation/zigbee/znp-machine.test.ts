import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { AddressMode, Mt, MtStatus } from "../../../src/zigbee/mt-commands.js";
import { Air } from "../../air/air.js";
import { ScriptedCoordinator } from "../../air/scripted.js";
import { installCodeCheck } from "../../air/security.js";
import { seed } from "../../seed.js";
import { METER, MeterMachine } from "./meter-machine.js";

const CODE = Buffer.concat([Buffer.alloc(16, 0x83), installCodeCheck(Buffer.alloc(16, 0x83))]);
/** A command of a manufacturer's cluster. */
const CLUSTER = 0xfc57;
const TEXT = "\x01\x01\xfehello";

function world(): { air: Air; coordinator: ScriptedCoordinator; meter: MeterMachine } {
	const air = new Air(seed);
	const coordinator = new ScriptedCoordinator(air);
	return { air, coordinator, meter: new MeterMachine(air) };
}

function joined(): ReturnType<typeof world> {
	const all = world();
	all.coordinator.permitJoin(254);
	assert.ok(all.meter.join(), `seed ${seed}: joined`);
	return all;
}

test("a new co-processor is configured, joins, and talks both ways", () => {
	const { air, coordinator, meter } = joined();
	assert.deepEqual(meter.log, ["joined true"]);
	assert.deepEqual(meter.module.unknown, []);
	assert.equal(Buffer.from(meter.machine.extendedAddress).reverse().toString("hex"), METER);
	assert.equal(coordinator.sendZcl(meter.machine.shortAddress, CLUSTER, Buffer.from(TEXT)), 0);
	assert.equal(meter.messages[0]?.bytes.toString(), TEXT);
	const handle = meter.send(AddressMode.short, 0, CLUSTER, TEXT);
	assert.equal(coordinator.waitZcl(CLUSTER, 5)?.toString(), TEXT);
	air.clock.runSeconds(1);
	assert.equal(meter.outcomes.get(handle), Status.ok);
});

test("by install code, into a network that wants one; with a wrong code never", () => {
	for (const isRight of [true, false]) {
		const air = new Air(seed);
		const coordinator = new ScriptedCoordinator(air);
		coordinator.module.node.requiresInstallCode = true;
		coordinator.addInstallCode(METER, CODE);
		coordinator.permitJoin(254);
		const other = Buffer.alloc(16, 9);
		const installCode = isRight ? CODE : Buffer.concat([other, installCodeCheck(other)]);
		const meter = new MeterMachine(air, { installCode });
		assert.equal(meter.join(100), isRight);
		if (!isRight) assert.ok(meter.log.includes(`failed ${Status.refusedByPeer}`), meter.log.join());
	}
});

test("no open network: tries again with growing waits, and joins when one opens", () => {
	const { air, coordinator, meter } = world();
	assert.equal(meter.join(300), false);
	const attempts = meter.log.length;
	assert.ok(attempts >= 4 && attempts <= 12, `seed ${seed}: ${attempts} attempts in 5 minutes`);
	assert.ok(
		meter.log.every((line) => line === `failed ${Status.notFound}`),
		meter.log.join(),
	);
	coordinator.permitJoin(254);
	assert.ok(
		air.clock.runUntilTrue(() => meter.machine.isJoined, 120),
		"joined",
	);
});

test("a restarted firmware finds its network again without joining", () => {
	const { air, meter } = joined();
	meter.host.stop();
	const writes = meter.module.commandCounts.get(Mt.sysNvItemInit) ?? 0;
	meter.module.powerOff();
	const again = new MeterMachine(air, {}, meter.module.image, "00124b00c0ffee01");
	again.start(false);
	assert.ok(
		air.clock.runUntilTrue(() => again.machine.isJoined, 30),
		`seed ${seed}: resumed`,
	);
	assert.ok(
		writes > 0 && again.module.commandCounts.get(Mt.sysNvItemInit) === undefined,
		"nothing is configured again",
	);
	assert.equal(again.machine.shortAddress, meter.machine.shortAddress);
});

test("a co-processor that resets in flight is taken up again, and what was queued arrives", () => {
	const { air, coordinator, meter } = joined();
	const handle = meter.send(AddressMode.short, 0, CLUSTER, TEXT);
	meter.module.crash();
	assert.ok(
		air.clock.runUntilTrue(() => meter.outcomes.has(handle), 30),
		`seed ${seed}: sent`,
	);
	assert.equal(meter.outcomes.get(handle), Status.ok);
	assert.ok(coordinator.waitZcl(CLUSTER, 1), "arrived");
	assert.equal(meter.machine.unexpectedResetCount, 1);
	assert.deepEqual(meter.log, ["joined true", `lost ${Status.linkDown}`, "joined true"]);
});

test("a lost response: asked again; a silent co-processor: reset, and on", () => {
	const { air, meter } = joined();
	// Response and confirmation both; a confirmation alone would do as an answer.
	let toLose = 2;
	meter.module.faults.toHost = (frame) => (toLose > 0 && toLose-- ? undefined : frame);
	let handle = meter.send(AddressMode.short, 0, CLUSTER, TEXT);
	const start = air.clock.nowMilliseconds;
	assert.ok(
		air.clock.runUntilTrue(() => meter.outcomes.get(handle) === Status.ok, 60),
		"sent",
	);
	assert.ok(air.clock.nowMilliseconds - start < 8_000, "after one repetition");
	toLose = 4;
	handle = meter.send(AddressMode.short, 0, CLUSTER, TEXT);
	assert.ok(
		air.clock.runUntilTrue(() => meter.outcomes.get(handle) === Status.ok, 60),
		`seed ${seed}: sent after reset`,
	);
	assert.equal(meter.machine.timeoutCount, 3);
});

test("bad check bytes, stray and split bytes on the line", () => {
	const { air, meter } = joined();
	let count = 0;
	meter.module.faults.toHost = (frame) => {
		count++;
		if (count % 5 === 0) return Uint8Array.of(0xfe, 0x42, ...frame, 0x00); // a stray start byte in front
		if (count % 7 === 0) return Uint8Array.from(frame, (byte, i) => (i === frame.length - 1 ? byte ^ 1 : byte));
		return frame;
	};
	const handles: number[] = [];
	for (let i = 0; i < 8; i++) {
		handles.push(meter.send(AddressMode.short, 0, CLUSTER, TEXT));
		air.clock.runSeconds(40);
	}
	for (const handle of handles) assert.equal(meter.outcomes.get(handle), Status.ok, `seed ${seed}, handle ${handle}`);
});

test("data that cannot be delivered: repeated, then reported; no bound device is reported at once", () => {
	const { air, coordinator, meter } = joined();
	const unbound = meter.send(AddressMode.bindings, 0, CLUSTER, TEXT);
	air.clock.runSeconds(1);
	assert.equal(meter.outcomes.get(unbound), Status.notFound);
	for (const status of [
		MtStatus.macNoAck,
		MtStatus.transactionExpired,
		MtStatus.noRoute,
		MtStatus.channelAccessFailure,
		MtStatus.bufferFull,
	]) {
		meter.module.faults.dataConfirmStatus = () => status;
		const handle = meter.send(AddressMode.short, 0, CLUSTER, TEXT);
		air.clock.runSeconds(2);
		assert.equal(meter.outcomes.get(handle), undefined, "still trying");
		meter.module.faults.dataConfirmStatus = undefined;
		air.clock.runSeconds(20);
		assert.equal(meter.outcomes.get(handle), Status.ok, `status ${status}`);
	}
	meter.module.faults.dataRequestStatus = () => MtStatus.bufferFull;
	const handle = meter.send(AddressMode.short, 0, CLUSTER, TEXT);
	air.clock.runSeconds(30);
	assert.equal(meter.outcomes.get(handle), Status.linkDown, "given up after four");
	assert.ok(coordinator.waitZcl(CLUSTER, 1));
});

test("more messages than slots are refused, and leave in their order", () => {
	const { air, coordinator, meter } = joined();
	const handles = [0, 1, 2, 3, 4, 5].map((i) => {
		const bytes = Buffer.from(`\x01${String.fromCharCode(i)}\xfe`, "latin1");
		return meter.machine.send(AddressMode.short, 0, 1, CLUSTER, bytes, bytes.length);
	});
	assert.deepEqual(
		handles.map((handle) => handle > 0),
		[true, true, true, true, false, false],
	);
	meter.host.turn();
	air.clock.runSeconds(5);
	for (let i = 0; i < 4; i++) assert.equal(coordinator.waitZcl(CLUSTER, 1)?.[1], i);
	assert.equal(meter.machine.send(AddressMode.short, 0, 1, CLUSTER, new Uint8Array(201), 201), 0, "too long");
});

test("long messages: fetched piece by piece, too long ones freed and counted", () => {
	const { air, coordinator, meter } = world();
	const wide = new MeterMachine(air, { messageBytesMax: 230 }, undefined, "00124b00c0ffee02");
	coordinator.permitJoin(254);
	assert.ok(meter.join() && wide.join(), `seed ${seed}: both joined`);
	const long = Buffer.from(Array.from({ length: 228 }, (_, i) => (i < 3 ? [1, 1, 0xfe][i]! : i & 0xff)));
	assert.equal(coordinator.sendZcl(wide.machine.shortAddress, CLUSTER, long), 0);
	air.clock.runSeconds(3);
	assert.deepEqual(wide.messages[0]?.bytes, long);
	assert.equal(coordinator.sendZcl(meter.machine.shortAddress, CLUSTER, long), 0);
	air.clock.runSeconds(3);
	assert.equal(meter.messages.length, 0);
	assert.equal(meter.machine.counters.counts[Status.badLength], 1);
	assert.equal(coordinator.sendZcl(meter.machine.shortAddress, CLUSTER, Buffer.from(TEXT)), 0);
	air.clock.runSeconds(1);
	assert.equal(meter.messages.length, 1, "and the next one comes");
});

test("told to leave: says so, and joins again while it wants a network; leaving by itself it stays out", () => {
	const { air, coordinator, meter } = joined();
	const address = meter.machine.shortAddress;
	coordinator.request(Mt.zdoManagementLeaveRequest, [address & 0xff, address >> 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
	assert.ok(
		air.clock.runUntilTrue(() => meter.log.includes(`lost ${Status.refusedByPeer}`), 10),
		meter.log.join(),
	);
	assert.ok(
		air.clock.runUntilTrue(() => meter.machine.isJoined, 60),
		`seed ${seed}: joined again`,
	);
	meter.machine.leave(air.clock.nowMilliseconds);
	meter.host.turn();
	assert.ok(
		air.clock.runUntilTrue(() => meter.log.at(-1) === `lost ${Status.ok}`, 10),
		meter.log.join(),
	);
	air.clock.runSeconds(300);
	assert.equal(meter.machine.isJoined, false);
});

test("an end device whose parent is silent for minutes comes back by itself", () => {
	const air = new Air(seed);
	const coordinator = new ScriptedCoordinator(air);
	const meter = new MeterMachine(air, { logicalType: 2 });
	coordinator.permitJoin(254);
	assert.ok(meter.join(), `seed ${seed}: joined`);
	air.link(coordinator.module.node, meter.module.node, undefined);
	assert.ok(
		air.clock.runUntilTrue(() => meter.log.at(-1) === `lost ${Status.linkDown}`, 120),
		"orphan",
	);
	const handle = meter.send(AddressMode.short, 0, CLUSTER, TEXT);
	air.clock.runSeconds(200);
	air.link(coordinator.module.node, meter.module.node, {});
	assert.ok(
		air.clock.runUntilTrue(() => meter.machine.isJoined, 200),
		"back",
	);
	air.clock.runSeconds(2);
	assert.equal(meter.outcomes.get(handle), Status.ok, "and sends what waited");
});

test("a co-processor whose memory keeps nothing is not written to without end", () => {
	const { air, meter } = world();
	meter.start();
	// At every boot the mark is gone.
	meter.module.imageChanged = () => {
		delete meter.module.image.items[0x0d57];
	};
	air.clock.runSeconds(600);
	const resets = meter.module.commandCounts.get(Mt.sysResetRequest) ?? 0;
	assert.ok(resets > 4 && resets < 60, `seed ${seed}: ${resets} resets in ten minutes`);
	assert.ok(meter.machine.counters.counts[Status.corrupt]! > 1, "and it is counted");
});
