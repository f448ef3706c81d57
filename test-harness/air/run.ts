import { appendFileSync, writeFileSync } from "node:fs";
import { UserError } from "../user-error.js";
import { Random } from "../waveforms/random.js";
import { Air } from "./air.js";
import { RealTimeDriver } from "./clock.js";
import { TcpStick } from "./stick.js";
import { VirtualMeter } from "./virtual-meter.js";

export interface AirOptions {
	readonly port: number;
	readonly meters: number;
	readonly threePhase: number;
	readonly loss: number;
	readonly nv?: string;
	readonly pcap?: string;
	readonly seed?: number;
}

const STICK = "00124b00aa000000";

/** Runs until a signal comes. */
export async function runAir(options: AirOptions): Promise<void> {
	const seed = options.seed ?? Math.floor(Math.random() * 0x1_0000_0000);
	process.stdout.write(`SEED=${seed}\n`);
	const air = new Air(seed);
	air.medium.defaultLink = { lossPerMille: options.loss, lqi: 180, delayMicroseconds: 0 };
	const driver = new RealTimeDriver(air.clock);
	const stick = new TcpStick(air, driver, STICK, options.nv);
	const port = await stick.listen(options.port).catch((error: Error) => {
		throw new UserError(`air: port ${options.port}: ${error.message}`);
	});
	process.stdout.write(`stick at tcp://127.0.0.1:${port}, adapter zstack\n`);
	const random = new Random(seed, "loads");
	const meters = Array.from({ length: options.meters + options.threePhase }, (_, i) => {
		const phaseCount = i < options.meters ? 1 : 3;
		return new VirtualMeter(air, `00124b00bb${(i + 1).toString(16).padStart(6, "0")}`, { phaseCount });
	});
	for (const meter of meters) meter.start();
	const { pcap } = options;
	const capture = pcap ? air.capture() : undefined;
	if (pcap && capture) writeFileSync(pcap, capture.take());
	const said = new Map<VirtualMeter, number>();
	let unknown = 0;
	const second = setInterval(() => {
		for (const meter of meters) {
			const { load } = meter;
			for (let phase = 0; phase < load.phaseCount; phase++) {
				// A load that wanders between -1 and 5 kW.
				const power = load.activePowerMilliwatts[phase]! + random.between(-150_000, 150_000);
				load.activePowerMilliwatts[phase] = Math.max(-1_000_000, Math.min(5_000_000, power));
				load.voltageMillivolts[phase] = 230_000 + random.between(-2_000, 2_000);
			}
			load.advance(1_000);
			for (const line of meter.log.slice(said.get(meter) ?? 0)) process.stdout.write(`${meter.module.name} ${line}\n`);
			said.set(meter, meter.log.length);
		}
		for (const command of stick.module.unknown.slice(unknown)) process.stdout.write(`stick lacks ${command}\n`);
		unknown = stick.module.unknown.length;
		driver.poke();
		stick.save();
		if (pcap && capture) appendFileSync(pcap, capture.take());
	}, 1_000);
	await new Promise<void>((resolve) => {
		process.once("SIGINT", resolve);
		process.once("SIGTERM", resolve);
	});
	clearInterval(second);
	driver.stop();
	await stick.close();
	if (pcap && capture) appendFileSync(pcap, capture.take());
}
