import type { Command } from "commander";
import { integer } from "./options.js";

export function addAir(program: Command): Command {
	return program
		.command("air")
		.description("a virtual Zigbee stick on TCP with virtual meters in its air, for Zigbee2MQTT or any ZNP host")
		.option("--port <number>", "TCP port of the stick on 127.0.0.1, 0: any free one", integer(0, 65_535), 8_881)
		.option("--meters <count>", "single-phase meters that join when the host permits it", integer(0, 50), 1)
		.option("--three-phase <count>", "three-phase meters, likewise", integer(0, 50), 0)
		.option("--loss <permille>", "frames in a thousand that are lost on every link", integer(0, 900), 0)
		.option("--nv <file>", "keeps the stick's memory over restarts")
		.option("--pcap <file>", "records every frame for Wireshark")
		.option("--seed <number>", "decides back-offs, losses and loads; random if absent", integer(0, 4_294_967_295))
		.addHelpText(
			"after",
			"\nZigbee2MQTT: serial: { port: tcp://127.0.0.1:8881, adapter: zstack }. Ends with Ctrl-C.\n" +
				"Example:\n  wattlock air --meters 2 --three-phase 1 --pcap air.pcap",
		)
		.action(async (options) => {
			const { runAir } = await import("../air/run.js");
			await runAir(options);
		});
}
