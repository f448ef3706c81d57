import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Air } from "../../air/air.js";
import { RealTimeDriver } from "../../air/clock.js";
import { herdsman } from "../../air/herdsman.js";
import { HerdsmanPeer, until } from "../../air/herdsman-peer.js";
import { DEFAULT_LINK_KEY, installCodeCheck, installCodeKey } from "../../air/security.js";
import { TcpStick } from "../../air/stick.js";
import { complaints, tshark } from "../../air/tshark.js";
import { FixedLoad, VirtualMeter } from "../../air/virtual-meter.js";
import { seed } from "../../seed.js";

const STICK = "00124b0011223344";
const SINGLE = "00124b00c0ffee01";
const THREE = "00124b00c0ffee03";
/** Virtual seconds in a real one. */
const SPEED = 10;
const INSTALL_CODE = Buffer.concat([Buffer.alloc(16, 0x83), installCodeCheck(Buffer.alloc(16, 0x83))]);

/** What an installer would add to Zigbee2MQTT for three phases; the generated definition has no phases B and C. */
function threePhaseDefinition(): object {
	const extend = herdsman().loadConverters("/lib/modernExtend") as {
		electricityMeter(options: object): object;
		identify(): object;
	};
	return {
		zigbeeModel: ["WL3"],
		model: "WL3",
		vendor: "Wattlock",
		description: "Meter, three phases",
		extend: [
			extend.identify(),
			extend.electricityMeter({
				threePhase: true,
				producedEnergy: true,
				acFrequency: true,
				powerFactor: true,
				apparentPower: true,
			}),
		],
	};
}

test("zigbee-herdsman and its converters: form, join, interview, configure, report, resume", {
	skip: herdsman().skip,
	timeout: 120_000,
}, async (context) => {
	const folder = mkdtempSync(join(tmpdir(), "air-"));
	const air = new Air(seed);
	const capture = air.capture();
	const driver = new RealTimeDriver(air.clock, SPEED);
	let stick = new TcpStick(air, driver, STICK, join(folder, "stick.json"));
	const port = await stick.listen(0);
	await until(() => air.clock.nowMilliseconds > 500, 2);
	const peer = new HerdsmanPeer(port, folder);
	const peers = [peer];
	context.after(async () => {
		driver.stop();
		for (const one of peers) {
			// Either may have happened already. An open permit would keep the process.
			await one.controller.permitJoin(0).catch(() => {});
			await one.controller.stop().catch(() => {});
		}
		await stick.close();
		rmSync(folder, { recursive: true, force: true });
	});
	assert.equal(await peer.controller.start(), "reset", "a new network");
	await peer.controller.permitJoin(250);

	// One phase: the generated definition must do, without a word from us.
	const load = new FixedLoad(1, 2_345_000);
	load.activeEnergyImportMilliwattHours = 123_456_889_000;
	load.profileEndUtcSeconds = 800_000_100;
	load.profile = Array.from({ length: 30 }, (_, i) => 250_000 + i * 1_000);
	const single = new VirtualMeter(air, SINGLE, { load });
	const interviews = [peer.interview(SINGLE), peer.interview(THREE)] as const;
	single.start();
	const device = await interviews[0];
	assert.equal(device.interviewState, "SUCCESSFUL");
	assert.equal(device.modelID, "WL1");
	assert.equal(device.powerSource, "Mains (single phase)");
	assert.equal(device.softwareBuildID, "0.1.0");
	const generated = await peer.configure(device);
	assert.equal(generated.generated, true);
	const exposed = generated.exposes.map(({ name, property }) => name ?? property).sort();
	assert.deepEqual(exposed, ["current", "energy", "identify", "power", "voltage"]);
	assert.equal(single.meter.server.reporting.count, 4);
	assert.deepEqual(
		device
			.getEndpoint(1)
			.binds.map(({ cluster }) => cluster.ID)
			.sort(),
		[0x0702, 0x0b04],
	);

	// Import: what is published is the truth within one step of the scale.
	const publishes = async (meter: VirtualMeter, address: string, wanted: Record<string, number>): Promise<void> => {
		const isThere = await until(
			() =>
				Object.entries(wanted).every(
					([name, value]) => Math.abs((peer.state(address)[name] ?? Number.NaN) - value) < 1e-6,
				),
			8,
		);
		assert.ok(
			isThere,
			`seed ${seed}: ${JSON.stringify(peer.state(address))}, wanted ${JSON.stringify(wanted)}, ${meter.log.join()}`,
		);
	};
	load.activePowerMilliwatts = [3_456_789];
	load.voltageMillivolts = [236_040];
	load.activeEnergyImportMilliwattHours += 1_000_000;
	await publishes(single, SINGLE, { power: 3_457, voltage: 236, current: 14.64, energy: 123_457.889 });
	// Export: the sign.
	load.activePowerMilliwatts = [-4_600_000];
	await publishes(single, SINGLE, { power: -4_600, current: 19.49 });
	// GetProfile of the load profile: 24 of 30 fit.
	const profile = await device.getEndpoint(1).command("seMetering", "getProfile", {
		intervalChannel: 0,
		endTime: 0,
		numberOfPeriods: 30,
	});
	assert.equal(profile["status"], 4);
	assert.equal(profile["profileIntervalPeriod"], 3);
	assert.equal(profile["endTime"], 800_000_100);
	const intervals = [...(profile["intervals"] as Iterable<number>)];
	assert.deepEqual(
		intervals,
		Array.from({ length: 24 }, (_, i) => 250 + i),
	);
	// The Time cluster of the host.
	assert.ok(Math.abs(load.utcSeconds - (Date.now() / 1_000 - 946_684_800)) < 60, `clock ${load.utcSeconds}`);

	// Three phases, joined by install code, with the definition that an installer adds.
	peer.converters.addExternalDefinition(threePhaseDefinition());
	await peer.controller.addInstallCode(`${THREE}|${INSTALL_CODE.toString("hex")}`);
	const three = new VirtualMeter(air, THREE, { phaseCount: 3, installCode: INSTALL_CODE });
	three.load.activeEnergyExportMilliwattHours = 5_000_000;
	three.start();
	const second = await interviews[1];
	assert.equal(second.modelID, "WL3");
	await peer.controller.permitJoin(0);
	const ours = await peer.configure(second);
	assert.notEqual(ours.generated, true);
	three.load.activePowerMilliwatts = [1_000_000, -2_000_000, 31_000_000];
	three.load.reactivePowerMillivars = [0, 0, 6_000_000];
	three.load.voltageMillivolts = [224_900, 236_200, 241_300];
	three.load.frequencyMillihertz = 51_120;
	three.load.activeEnergyImportMilliwattHours = 7_777_000_000;
	three.load.activeEnergyExportMilliwattHours = 8_888_000;
	await publishes(three, THREE, {
		power: 1_000,
		power_phase_b: -2_000,
		power_phase_c: 31_000,
		voltage: 224.9,
		voltage_phase_b: 236.2,
		voltage_phase_c: 241.3,
		current: 4.45,
		current_phase_b: 8.47,
		current_phase_c: 130.85,
		energy: 7_777,
		produced_energy: 8.888,
		ac_frequency: 51.12,
	});

	// The host restarts: it finds its network as it left it, and reports go on.
	const before = stick.module.commandCounts.get(0x0f05);
	await peer.controller.stop();
	const again = new HerdsmanPeer(port, folder);
	peers.push(again);
	assert.equal(await again.controller.start(), "resumed");
	assert.equal(stick.module.commandCounts.get(0x0f05), before, "no second formation");
	await again.configure(again.controller.getDeviceByIeeeAddr(`0x${SINGLE}`)!);
	load.activePowerMilliwatts = [500_000];
	assert.ok(
		await until(() => again.state(SINGLE)["power"] === 500, 8),
		`seed ${seed}: ${JSON.stringify(again.state(SINGLE))}`,
	);
	// The user removes the device: it leaves.
	await again.controller.getDeviceByIeeeAddr(`0x${THREE}`)!.removeFromNetwork();
	assert.ok(await until(() => three.log.at(-1) === "lost refusedByPeer", 5), three.log.join());
	assert.equal(three.meter.server.reporting.count, 0, "nobody's configuration is kept");

	assert.deepEqual(peer.complaints.concat(again.complaints), []);
	for (const module of [stick.module, single.module, three.module]) assert.deepEqual(module.unknown, [], module.name);
	await again.controller.stop();
	await stick.close();
	// A stick that was unplugged keeps its network.
	stick = new TcpStick(air, driver, STICK, join(folder, "stick.json"));
	assert.equal(stick.module.image.network?.panId, 0x1a62);
	if (!tshark.skip) {
		// The network key is read from the capture itself, by the keys that carried it.
		const keys = [DEFAULT_LINK_KEY, installCodeKey(INSTALL_CODE)!].map((key) => key.toString("hex"));
		assert.deepEqual(complaints(capture.bytes(), keys), []);
	}
});
