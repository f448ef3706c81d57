import type { Command } from "commander";
import { integer, listOf, oneOf, speed } from "./options.js";

export function addStart(program: Command): Command {
	return program
		.command("start")
		.description("an AMI in miniature: broker, concentrator and virtual meters that run the real firmware")
		.option("--meters <count>", "how many meters", integer(1, 5000), 8)
		.option(
			"--minutes <count>",
			"stop after so many minutes of the meters' time (0: until Ctrl-C)",
			integer(0, 525_600),
			0,
		)
		.option("--speed <factor>", '"max", or times real time', speed, 1)
		.option("--seed <number>", "decides loads, clocks, entropy and chaos; random if absent", integer(0, 4_294_967_295))
		.option("--report <folder>", "write report.html, readings.jsonl and summary.json there")
		.option(
			"--broker <url>",
			'"aedes" (in process), "mosquitto" (Debian\'s, started for the run) or mqtt://host:port',
			"aedes",
		)
		.option("--protocol <version>", "MQTT version: 3.1.1 or 5", oneOf("3.1.1", "5"), "5")
		.option("--port <number>", "HTTP port of the page, 0: any free one", integer(0, 65_535), 8080)
		.option("--store <folder>", "the concentrator's store; live runs keep it in build/store")
		.option(
			"--target <name>",
			"what runs the firmware: linux-xs, in-process",
			oneOf("linux-xs", "in-process"),
			"linux-xs",
		)
		.option("--threads <count>", "threads of the XS host; default: one a core", integer(1, 64))
		.option(
			"--interval <seconds>",
			"load profile interval, divides 3600; default 60 in a live run, else 900",
			integer(60, 3600),
		)
		.option("--step <milliseconds>", "virtual step at --speed max", integer(50, 60_000), 1000)
		.option(
			"--chaos <list>",
			"failures at seeded times: broker,concentrator,power",
			listOf("broker", "concentrator", "power"),
		)
		.option("--update-key <path>", "public.key of `firmware keygen`: the meters take firmware signed with it")
		.option("--plain", "no keys: everything travels in clear, to compare costs with")
		.option(
			"--tesla-interval <seconds>",
			"interval of the broadcast keys; default 60 in a live run, else 900",
			integer(10, 3600),
		)
		.addHelpText(
			"after",
			"\nExit codes: 0 every check in the summary held, 1 a check failed, 2 could not run.\n" +
				"Examples:\n  npm start\n  npm start -- --meters 100 --minutes 60 --speed max --seed 7 --report out/\n" +
				"  npm start -- --meters 24 --minutes 120 --speed max --chaos broker,concentrator,power",
		)
		.action(async (options) => {
			if (options.target === "linux-xs") await (await import("./build.js")).prepare();
			options.interval ??= options.speed === 1 ? 60 : 900;
			const { runStart } = await import("../fleet/start.js");
			process.exitCode = await runStart(options);
		});
}
