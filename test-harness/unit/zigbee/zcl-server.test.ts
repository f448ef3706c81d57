import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../../src/bytes/status.js";
import { AddressMode } from "../../../src/zigbee/mt-commands.js";
import { chooseScale } from "../../../src/zigbee/zcl/scale.js";
import { ZclServer } from "../../../src/zigbee/zcl/zcl-server.js";
import type { IncomingMessage } from "../../../src/zigbee/znp-machine.js";
import { describeDevice, FixedLoad, MemoryStore } from "../../air/virtual-meter.js";

export interface Sent {
	readonly mode: number;
	readonly cluster: number;
	readonly bytes: Buffer;
}

/** A server with an output that keeps what it is given. */
export class Bench {
	readonly sent: Sent[] = [];
	readonly load: FixedLoad;
	readonly store: MemoryStore;
	readonly server: ZclServer;
	isFull = false;
	#handle = 0;

	constructor(phaseCount: 1 | 3 = 1, store = new MemoryStore(), scale = chooseScale(phaseCount, 300_000, 100_000)) {
		this.load = new FixedLoad(phaseCount, 1_000_000);
		this.store = store;
		this.server = new ZclServer(
			{
				device: describeDevice(phaseCount),
				scale,
				manufacturerCode: 0x1234,
				evaluationMilliseconds: 1_000,
				timeRequestSeconds: 86_400,
				retryMilliseconds: 2_000,
			},
			this.load,
			this.store,
			{
				send: (mode, _address, _endpoint, cluster, bytes, byteLength) => {
					if (this.isFull) return 0;
					this.sent.push({ mode, cluster, bytes: Buffer.from(bytes.subarray(0, byteLength)) });
					return ++this.#handle;
				},
			},
		);
		this.server.start(0);
	}

	/** Hands over a frame in hexadecimal. @returns the answers in hexadecimal */
	ask(cluster: number, hex: string, now = 0, more: Partial<IncomingMessage> = {}): string[] {
		const payload = Buffer.from(hex.replaceAll(" ", ""), "hex");
		this.sent.length = 0;
		this.server.receive(now, {
			sourceAddress: 0,
			sourceEndpoint: 1,
			targetEndpoint: 1,
			group: 0,
			cluster,
			isBroadcast: false,
			linkQuality: 200,
			payload,
			start: 0,
			byteLength: payload.length,
			...more,
		});
		return this.sent.map(({ bytes }) => bytes.toString("hex"));
	}

	/** Ticks each second up to and at `seconds`. @returns the reports, with their second */
	run(from: number, to: number, change: (second: number) => void = () => {}): { at: number; bytes: Buffer }[] {
		const found: { at: number; bytes: Buffer }[] = [];
		for (let second = from; second <= to; second++) {
			change(second);
			this.sent.length = 0;
			this.server.tick(second * 1_000);
			for (const { mode, bytes } of this.sent) if (mode === AddressMode.bindings) found.push({ at: second, bytes });
		}
		return found;
	}
}

test("read attributes: value, type and status for each record", () => {
	const bench = new Bench();
	bench.load.activeEnergyImportMilliwattHours = 123_456_789_999; // 123,456.789 kWh and a little
	// Total, divisor, one that is not there, demand.
	assert.deepEqual(bench.ask(0x0702, "10 21 00 0000 0203 7777 0004"), [
		"182101" + "00000025" + "15cd5b070000" + "02030022" + "e80300" + "777786" + "0004002a" + "e80300",
	]);
	assert.deepEqual(bench.ask(0x0000, "10 22 00 0500"), [
		"182201" + "05000042" + "03" + Buffer.from("WL1").toString("hex"),
	]);
	assert.equal(bench.load.captureCount, 1, "one window for one answer");
});

test("unknown values are failures, never numbers", () => {
	const bench = new Bench();
	bench.load.activeEnergyImportMilliwattHours = Number.NaN;
	bench.load.voltageMillivolts[0] = Number.NaN;
	assert.deepEqual(bench.ask(0x0702, "10 01 00 0000"), ["180101000001"]);
	assert.deepEqual(bench.ask(0x0b04, "10 01 00 0505"), ["180101050501"]);
	bench.load.activePowerMilliwatts[0] = 0;
	assert.deepEqual(bench.ask(0x0b04, "10 01 00 1005"), ["1801011005002864"], "1 without load");
});

test("an answer that does not fit is cut between records, with the same sequence number", () => {
	const bench = new Bench(3);
	const all = Array.from({ length: 20 }, () => "0000").join("");
	const answers = bench.ask(0x0702, `10 33 00 ${all}`);
	assert.deepEqual(
		answers.map((one) => one.length / 2),
		[73, 73, 63],
	);
	for (const one of answers) assert.ok(one.startsWith("183301"));
});

test("what belongs to other phases or more tariffs is not there", () => {
	assert.deepEqual(new Bench(1).ask(0x0b04, "10 01 00 0b09"), ["1801010b0986"]);
	assert.match(new Bench(3).ask(0x0b04, "10 01 00 0b09")[0]!, /^1801010b090029e803$/);
	assert.deepEqual(new Bench(1).ask(0x0702, "10 01 00 0401"), ["180101040186"], "tariff 3 of 2");
});

test("default responses: errors always, success where wanted, never to a response, nor to a broadcast", () => {
	const bench = new Bench();
	assert.deepEqual(bench.ask(0x0003, "01 05 00 0a00"), ["18050b0000"], "identify, answered");
	assert.equal(bench.load.identifySeconds, 10);
	assert.deepEqual(bench.ask(0x0003, "11 05 00 0a00"), [], "success not wanted");
	assert.deepEqual(
		bench.ask(0x0702, "11 05 0b 0000000000"),
		["18050b0b7e"],
		"supply: not authorised, in spite of the bit",
	);
	assert.deepEqual(bench.ask(0x0702, "01 05 33"), ["18050b3381"]);
	assert.deepEqual(bench.ask(0x0702, "00 05 3f"), ["18050b3f82"]);
	assert.deepEqual(bench.ask(0x0006, "00 05 00 0000"), ["18050b00c3"]);
	assert.deepEqual(bench.ask(0x0702, "00 05 0b 0086"), [], "a default response");
	assert.deepEqual(bench.ask(0x0702, "01 05 33", 0, { isBroadcast: true }), []);
	assert.deepEqual(bench.ask(0x0702, "05 7a11 05 33"), ["1c7a11050b3383"], "another manufacturer's");
	assert.deepEqual(bench.ask(0x0702, "10 05 00 00"), ["18050b0080"], "half an attribute");
});

test("write: identify time only, the rest refused record by record", () => {
	const bench = new Bench();
	assert.deepEqual(bench.ask(0x0003, "10 06 02 0000 21 1e00"), ["18060400"]);
	assert.equal(bench.load.identifySeconds, 30);
	assert.deepEqual(bench.ask(0x0003, "10 07 00 0000", 10_000), ["180701000000" + "21" + "1400"], "20 s are left");
	assert.deepEqual(bench.ask(0x0000, "10 06 02 0700 30 04 9999 20 01"), ["18060488070086" + "9999"]);
	assert.deepEqual(bench.ask(0x0003, "10 06 05 0000 20 01"), [], "no answer asked, wrong type");
});

test("configure reporting: each record judged by itself, the good ones count", () => {
	const bench = new Bench();
	const answers = bench.ask(
		0x0702,
		"10 40 06" +
			"00 0000 25 0a00 e8fd 640000000000" + // good
			"00 7777 25 0a00 e8fd 640000000000" + // no such attribute
			"00 0100 23 0a00 e8fd 64000000" + // wrong width
			"00 0203 22 0a00 e8fd 640000" + // a constant
			"00 0004 2a 6400 0a00 050000" + // minimum above maximum
			"01 0000 0a00" + // reports to us
			"00 0002 18 0000 3c00", // a bit map has no change
	);
	assert.deepEqual(answers, ["184007" + "86007777" + "8d000100" + "8c000203" + "87000004" + "86010000"]);
	assert.equal(bench.server.reporting.count, 2);
	assert.deepEqual(bench.ask(0x0702, "10 41 08 00 0000 00 0002 00 0100 00 0203"), [
		"184109" +
			"00000000" +
			"25" +
			"0a00e8fd" +
			"640000000000" +
			"00000002" +
			"18" +
			"00003c00" +
			"8b000100" +
			"8c000203",
	]);
	assert.deepEqual(bench.ask(0x0702, "10 42 06 00 0000 25 0000 ffff 000000000000"), ["18420700"], "removed");
	assert.equal(bench.server.reporting.count, 1);
	assert.deepEqual(bench.ask(0x0702, "10 43 06 00 0000 25 0a00"), ["18430b0680"], "cut short");
});

test("reports: not before the minimum, always at the maximum, the change counted from the last report", () => {
	const bench = new Bench();
	bench.ask(0x0b04, "10 40 06 00 0b05 29 0a00 3c00 0500"); // 10 s, 60 s, 5 W
	bench.server.online(0);
	let reports = bench.run(1, 125);
	assert.deepEqual(
		reports.map(({ at }) => at),
		[60, 120],
		"constant load",
	);
	reports = bench.run(126, 150, (second) => {
		bench.load.activePowerMilliwatts[0] = 1_000_000 + (second - 125) * 1_000; // 1 W a second
	});
	assert.deepEqual(
		reports.map(({ at }) => at),
		[130, 140, 150],
		"5 W at 130 s, then the minimum holds",
	);
	assert.equal(reports[0]!.bytes.toString("hex").slice(6), "0b0529" + "ed03", "1,005 W");
	reports = bench.run(151, 165, () => {
		bench.load.activePowerMilliwatts[0] = -2_000_000;
	});
	assert.equal(reports[0]!.bytes.readInt16LE(6), -2_000, "export is negative");
	assert.deepEqual(
		reports.map(({ at }) => at),
		[160],
	);
});

test("reports survive a power cut, and what was not delivered comes again", () => {
	const store = new MemoryStore();
	const before = new Bench(1, store);
	before.ask(0x0702, "10 40 06 00 0000 25 0a00 e8fd 640000000000");
	const bench = new Bench(1, store);
	assert.equal(bench.server.reporting.count, 1);
	bench.server.online(0);
	assert.deepEqual(
		bench.run(1, 30).map(({ at }) => at),
		[10],
		"the first after the minimum",
	);
	bench.server.sent(2, Status.linkDown); // handle 1 was the question for the time
	assert.deepEqual(
		bench.run(31, 60).map(({ at }) => at),
		[31],
	);
	bench.isFull = true;
	bench.load.activeEnergyImportMilliwattHours += 500_000;
	assert.equal(bench.run(61, 70).length, 0);
	bench.isFull = false;
	assert.equal(bench.run(71, 75).length, 1, "as soon as there is room");
	store.bytes[0] = 9;
	assert.equal(new Bench(1, store).server.reporting.count, 0, "another version is not read");
});

test("a frame holds what is due of one cluster; sequence numbers go up by one over all clusters", () => {
	const bench = new Bench(3);
	bench.ask(
		0x0702,
		"10 40 06 00 0000 25 0100 0500 000000000000 00 0100 25 0100 0500 000000000000 00 0004 2a 0100 0500 000000",
	);
	for (const id of [
		"0505",
		"0805",
		"0b05",
		"0509",
		"0809",
		"0b09",
		"050a",
		"080a",
		"0b0a",
		"0003",
		"0f05",
		"0f09",
		"0f0a",
	])
		bench.ask(0x0b04, `10 41 06 00 ${id} ${id.startsWith("0b") ? "29" : "21"} 0100 0500 0000`);
	bench.ask(
		0x0b04,
		"10 41 06 00 0403 2b 0100 0500 00000000 00 0503 2b 0100 0500 00000000 00 0603 23 0100 0500 00000000",
	);
	bench.server.online(0);
	const reports = bench.run(1, 60);
	let last = -1;
	for (const { bytes } of reports) {
		assert.ok(bytes.length <= 82, `${bytes.length} bytes`);
		if (last >= 0) assert.equal(bytes[1], (last + 1) & 0xff);
		last = bytes[1]!;
	}
	assert.equal(reports.length, 36, "three frames every five seconds");
});

test("GetProfile: newest first, as many as fit, unknown ones marked", () => {
	const bench = new Bench();
	bench.load.profileEndUtcSeconds = 0x2f00_0000;
	bench.load.profile = [250_400, Number.NaN, 249_600];
	assert.deepEqual(bench.ask(0x0702, "11 50 00 00 00000000 03"), [
		"195000" + "0000002f" + "00" + "03" + "03" + "fa0000ffffff" + "fa0000",
	]);
	assert.deepEqual(bench.ask(0x0702, "11 50 00 05 00000000 03"), ["195000" + "00000000" + "01" + "03" + "00"]);
	assert.deepEqual(bench.ask(0x0702, "11 50 00 01 00000000 03"), ["195000" + "00000000" + "05" + "03" + "00"]);
	bench.load.profile = Array.from({ length: 90 }, () => 1_000);
	const [answer] = bench.ask(0x0702, "11 50 00 00 00000000 5a");
	assert.equal(answer!.length / 2, 82);
});

test("the scale contract: the largest loads fit, beyond them values stand at the limit and the meter says so", () => {
	for (const [phaseCount, voltage, current] of [
		[1, 230_000, 5_000],
		[1, 230_000, 13_000],
		[1, 300_000, 100_000],
		[3, 300_000, 125_000],
		[3, 277_000, 6_000_000],
		[3, 20_000_000, 600_000],
		[3, 400_000, 65_534_000],
	] as const) {
		const scale = chooseScale(phaseCount, voltage, current);
		const bench = new Bench(phaseCount, new MemoryStore(), scale);
		const watts = (voltage / 1_000) * (current / 1_000);
		bench.load.voltageMillivolts.fill(voltage);
		for (const sign of [1, -1]) {
			bench.load.activePowerMilliwatts.fill(sign * watts * 1_000);
			bench.server.values.capture();
			const value = (cluster: number, id: number, type: number): number =>
				bench.server.values.number(cluster, id, type);
			const where = `${phaseCount} × ${voltage} mV × ${current} mA, sign ${sign}`;
			const near = (found: number, wanted: number, step: number, what: string): void =>
				assert.ok(
					Math.abs(found - wanted) <= step / 2 + 1e-6 * Math.abs(wanted),
					`${where}: ${what} ${found}, wanted ${wanted}`,
				);
			const power = scale.phasePowerMultiplier / scale.phasePowerDivisor;
			near(value(0x0b04, 0x050b, 0x29) * power, sign * watts, power, "power");
			const total = scale.totalPowerMultiplier / scale.totalPowerDivisor;
			near(value(0x0b04, 0x0304, 0x2b) * total, sign * watts * phaseCount, total, "total power");
			near(
				(value(0x0702, 0x0400, 0x2a) * 1_000) / scale.meteringDivisor,
				sign * watts * phaseCount,
				1_000 / scale.meteringDivisor,
				"demand",
			);
			near(
				(value(0x0b04, 0x0508, 0x21) * scale.currentMultiplier) / scale.currentDivisor,
				current / 1_000,
				scale.currentMultiplier / scale.currentDivisor,
				"current",
			);
			near(
				(value(0x0b04, 0x0505, 0x21) * scale.voltageMultiplier) / scale.voltageDivisor,
				voltage / 1_000,
				scale.voltageMultiplier / scale.voltageDivisor,
				"voltage",
			);
			assert.ok(Math.abs(value(0x0b04, 0x0304, 0x2b)) <= 8_388_607, `${where}: a host drops more`);
			assert.equal(bench.server.values.saturationCount, 0, where);
		}
	}
	const bench = new Bench();
	bench.load.activePowerMilliwatts[0] = -40_000_000;
	assert.deepEqual(bench.ask(0x0b04, "10 01 00 0b05"), ["1801010b05002901" + "80"], "-32,767 W, never wrapped");
	assert.deepEqual(bench.ask(0x0702, "10 01 00 0002"), ["18010100020018" + "01"], "check meter");
	bench.load.activePowerMilliwatts[0] = 1_000_000;
	assert.deepEqual(bench.ask(0x0702, "10 01 00 0002"), ["18010100020018" + "00"]);
});

test("energy at the ends of its range", () => {
	const bench = new Bench();
	for (const wattHours of [0, 1, 2 ** 32, 2 ** 43]) {
		bench.load.activeEnergyImportMilliwattHours = wattHours * 1_000;
		const [answer] = bench.ask(0x0702, "10 01 00 0000");
		assert.equal(Buffer.from(answer!, "hex").readUIntLE(7, 6), wattHours);
	}
});

test("discovery: attributes and commands", () => {
	const bench = new Bench();
	assert.deepEqual(bench.ask(0x0003, "10 01 0c 0000 ff"), ["18010d01" + "000021" + "fdff21"]);
	assert.deepEqual(bench.ask(0x0003, "10 01 15 0000 01"), ["18011600" + "00002103"]);
	assert.deepEqual(bench.ask(0x0003, "10 01 11 00 ff"), ["18011201" + "000140"]);
	assert.deepEqual(bench.ask(0x0003, "10 01 13 00 ff"), ["18011401" + "00"]);
	let start = 0;
	let found = 0;
	for (;;) {
		const [answer] = bench.ask(0x0b04, `10 01 0c ${Buffer.from([start & 0xff, start >> 8]).toString("hex")} ff`);
		const bytes = Buffer.from(answer!, "hex");
		found += (bytes.length - 4) / 3;
		if (bytes[3] === 1) break;
		start = bytes.readUInt16LE(bytes.length - 3) + 1;
	}
	assert.equal(found, 23, "one phase");
});

test("the reactive registers are ours, and only under our code", () => {
	const bench = new Bench();
	bench.load.reactiveEnergyImportMillivarHours = 42_000;
	assert.deepEqual(bench.ask(0x0702, "10 01 00 00f0"), ["18010100f086"]);
	assert.deepEqual(bench.ask(0x0702, "14 3412 01 00 00f0"), ["1c3412010100f000252a0000000000"]);
});

test("the time: asked when the network is there, taken from its answer only", () => {
	const bench = new Bench();
	bench.server.online(0);
	bench.server.tick(0);
	assert.equal(bench.sent[0]!.bytes.toString("hex"), "1001000000");
	bench.ask(0x000a, "18 07 01 0000 00 e2 78563412");
	assert.ok(Number.isNaN(bench.load.utcSeconds), "not our question");
	bench.ask(0x000a, "18 01 01 0000 00 e2 78563412", 0, { sourceAddress: 7 });
	assert.ok(Number.isNaN(bench.load.utcSeconds), "not from the coordinator");
	bench.ask(0x000a, "18 01 01 0000 00 e2 78563412");
	assert.equal(bench.load.utcSeconds, 0x1234_5678);
	bench.load.utcSeconds = 0;
	bench.ask(0x000a, "18 01 01 0000 00 e2 79563412");
	assert.equal(bench.load.utcSeconds, 0, "an answer counts once");
});
