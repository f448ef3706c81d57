import assert from "node:assert/strict";
import { test } from "node:test";
import { Air } from "../../air/air.js";
import { herdsman } from "../../air/herdsman.js";
import { ScriptedCoordinator } from "../../air/scripted.js";
import { installCodeCheck } from "../../air/security.js";
import { VirtualMeter } from "../../air/virtual-meter.js";
import { seed } from "../../seed.js";

const METER = "00124b00c0ffee01";

interface ParsedFrame {
	readonly type: number;
	readonly subsystem: number;
	readonly commandID: number;
	readonly data: Buffer;
}

interface Definition {
	readonly name: string;
	readonly ID: number;
	readonly request?: readonly { name: string; parameterType: number }[];
	readonly zdoClusterId?: number;
}

interface ZclFrame {
	readonly header: { readonly transactionSequenceNumber: number };
	readonly payload: unknown;
	readonly command: { readonly name: string };
}

test("every byte that the firmware writes parses in herdsman's codecs, and holds what we meant", {
	skip: herdsman().skip,
}, () => {
	const { Parser } = herdsman().load("adapter/z-stack/unpi") as {
		Parser: new () => { on(event: "parsed", use: (frame: ParsedFrame) => void): void; write(bytes: Buffer): void };
	};
	const definitions = (
		herdsman().load("adapter/z-stack/znp/definition.js") as { default: Record<number, Definition[]> }
	).default;
	const { ZpiObject } = herdsman().load("adapter/z-stack/znp/zpiObject.js") as {
		ZpiObject: { readParameters(data: Buffer, parameters: unknown): Record<string, unknown> };
	};
	const { Zcl } = herdsman().load("") as {
		Zcl: {
			Header: { fromBuffer(bytes: Buffer): unknown };
			Frame: { fromBuffer(cluster: number, header: unknown, bytes: Buffer, custom: object): ZclFrame };
		};
	};

	const air = new Air(seed);
	const coordinator = new ScriptedCoordinator(air);
	const code = Buffer.alloc(16, 0x21);
	const installCode = Buffer.concat([code, installCodeCheck(code)]);
	coordinator.addInstallCode(METER, installCode);
	coordinator.permitJoin(254);
	const meter = new VirtualMeter(air, METER, { phaseCount: 3, installCode, manufacturerCode: 0x1234 });
	const parser = new Parser();
	const requests = new Map<string, number>();
	const zcl: string[] = [];
	let fed = 0;
	let parsed = 0;
	parser.on("parsed", (frame) => {
		parsed += frame.data.length + 5;
		const definition = definitions[frame.subsystem]?.find(({ ID }) => ID === frame.commandID);
		// Commands of joining devices are not in a coordinator host's table.
		const isJoiners = frame.subsystem === 15 && frame.commandID === 7;
		assert.ok(definition || isJoiners, `command ${frame.subsystem}.${frame.commandID}`);
		const name = definition?.name ?? "bdbSetActiveCentralizedKey";
		requests.set(name, (requests.get(name) ?? 0) + 1);
		if (!definition?.request || definition.zdoClusterId !== undefined) return;
		const payload = ZpiObject.readParameters(frame.data, definition.request);
		if (name !== "dataRequestExt") return;
		const bytes = payload["data"] as Buffer;
		assert.equal(bytes.length, payload["len"]);
		const found = Zcl.Frame.fromBuffer(payload["clusterid"] as number, Zcl.Header.fromBuffer(bytes), bytes, {});
		zcl.push(`${found.command.name} ${JSON.stringify(found.payload)}`);
	});
	meter.host.record = (bytes) => {
		fed += bytes.length;
		parser.write(Buffer.from(bytes));
	};
	meter.load.activePowerMilliwatts = [1_234_000, -5_000, 0];
	meter.load.activeEnergyImportMilliwattHours = 7_000_000;
	meter.start();
	assert.ok(
		air.clock.runUntilTrue(() => meter.meter.machine.isJoined, 60),
		`seed ${seed}: joined`,
	);
	const address = meter.meter.machine.shortAddress;
	assert.equal(coordinator.bind(address, METER, 0x0702), 0);
	assert.equal(coordinator.bind(address, METER, 0x0b04), 0);
	const ask = (cluster: number, hex: string): void => {
		assert.equal(coordinator.sendZcl(address, cluster, Buffer.from(hex.replaceAll(" ", ""), "hex")), 0);
		air.clock.runSeconds(1);
	};
	ask(0x0000, "10 01 00 0000 0100 0200 0300 0700");
	for (const id of ["0400", "0500", "0600", "0040"]) ask(0x0000, `10 02 00 ${id}`);
	ask(
		0x0b04,
		"10 03 00 0000 0003 0403 0503 0603 0505 0805 0b05 1005 0006 0106 0206 0306 0406 0506 0004 0104 0204 0304",
	);
	ask(0x0702, "10 04 00 0000 0100 0600 0001 0101 0002 0402 0003 0103 0203 0303 0403 0603 0803 0004 7777");
	ask(0x0702, "10 05 06 00 0000 25 0100 0a00 010000000000 00 0004 2a 0100 0a00 010000");
	ask(0x0b04, "10 06 06 00 0b05 29 0100 0a00 0100 00 0505 21 0100 0a00 0100 00 7777 21 0100 0a00 0100");
	ask(0x0702, "10 07 08 00 0000 00 0100");
	ask(0x0702, "10 08 0c 0000 ff");
	ask(0x0702, "10 0a 11 00 ff");
	ask(0x0702, "01 0b 33");
	ask(0x0003, "01 0c 00 0a00");
	ask(0x0003, "01 0d 01");
	ask(0x0000, "10 0e 02 0400 42 0141");
	meter.load.profileEndUtcSeconds = 900;
	meter.load.profile = [1_000_000, 2_000_000];
	ask(0x0702, "11 0f 00 00 00000000 02");
	air.clock.runSeconds(30);
	meter.meter.machine.leave(air.clock.nowMilliseconds);
	meter.host.turn();
	air.clock.runSeconds(2);
	assert.equal(parsed, fed, "no byte was passed over");
	for (const name of [
		"resetReq",
		"ping",
		"version",
		"osalNvItemInit",
		"osalNvRead",
		"register",
		"bdbSetActiveCentralizedKey",
		"bdbSetChannel",
		"bdbStartCommissioning",
		"getDeviceInfo",
		"dataRequestExt",
		"mgmtLeaveReq",
	])
		assert.ok(requests.has(name), `${name} was written: ${[...requests.keys()].join()}`);
	const has = (text: string): void =>
		assert.ok(
			zcl.some((line) => line.includes(text)),
			`${text} in\n${zcl.join("\n")}`,
		);
	has('readRsp [{"attrId":4,"status":0,"dataType":66,"attrData":"Wattlock"}]');
	has('{"attrId":1291,"status":0,"dataType":41,"attrData":1234}');
	has('{"attrId":0,"status":0,"dataType":37,"attrData":7000}');
	has('{"attrId":30583,"status":134}');
	has('configReportRsp [{"status":0}]');
	has('configReportRsp [{"status":134,"direction":0,"attrId":30583}]');
	has(
		'readReportConfigRsp [{"status":0,"direction":0,"attrId":0,"dataType":37,"minRepIntval":1,"maxRepIntval":10,"repChange":1}',
	);
	has("report [");
	has('defaultRsp {"cmdId":51,"statusCode":129}');
	has('identifyQueryRsp {"timeout":');
	has('writeRsp [{"status":136,"attrId":4}]');
	has('getProfileRsp {"endTime":900,"status":0,"profileIntervalPeriod":3,"numberOfPeriodsDelivered":2');
	has('read [{"attrId":0}]');
});
